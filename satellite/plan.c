#include "satellite/plan_internal.h"

#include <string.h>
#include <strings.h>

#include "satellite/base/wanted.h"
#include "satellite/plan_internal.h"
#include "wire/codec/codec.h"
#include "wire/def/layer_size.h"

static const char *const step_names[STEP_N] = { "adopt", "create", "attach", "grow", "shrink", "refresh",
        "detach", "remove", "make", "open", "stretch", "close", "erase", "fill", "format", "settle",
        "dissolve", "hold", "let go", "snapshot", "restore", "replace", "keep" };

const char *step_name(enum step_kind kind) { return step_names[kind]; }

/* A backed volume that is wanted, with its place found out. */
struct target {
        const struct sat_vlm *v;
        const struct plan_pool *pool;
        char backing_id[BACKING_ID_SIZE];
        uint64_t size_kib; /* rounded up to what the provider can do */
};

struct step *plan_add_step(struct planner *p, enum step_kind kind, uint64_t group, const struct dev *d)
{
        assert(p->out->steps_n < p->steps_cap);
        struct step *s = &p->out->steps[p->out->steps_n++];
        /* What a volume's layers need beside it goes with the volume. */
        if (group < GROUP_WHOLE) group = extra_volume(group);
        *s = (struct step){ .kind = kind, .group = group, .dev = *d };
        return s;
}

static void add_step(
        struct planner *p, enum step_kind kind, uint64_t group, const struct dev *d, uint64_t size_kib)
{
        plan_add_step(p, kind, group, d)->size_kib = size_kib;
}

struct trouble *plan_add_trouble(struct planner *p, int64_t volume)
{
        assert(p->out->troubles_n < p->troubles_cap);
        struct trouble *t = &p->out->troubles[p->out->troubles_n++];
        *t = (struct trouble){ .volume = volume };
        return t;
}

int plan_volume_trouble(
        struct planner *p, uint64_t volume, struct trouble **ret, enum trouble_code code, const char *text)
{
        const struct layer_extra_desc *x = extra_is(volume) ? layer_extra_desc(extra_of(volume)) : NULL;
        *ret = plan_add_trouble(p, (int64_t)extra_volume(volume));
        trouble_set(*ret, E_INVALID, code, "Resource %s, volume %llu%s%s: %s", p->in->rsc_name,
                (unsigned long long)extra_volume(volume), x != NULL ? ", " : "", x != NULL ? x->part : "",
                text);
        (*ret)->volume = (int64_t)extra_volume(volume);
        return E_INVALID;
}

const struct plan_pool *plan_pool_find(const struct plan_pool *pools, uint32_t n, const char *name)
{
        for (uint32_t i = 0; name != NULL && i < n; i++)
                if (strcasecmp(pools[i].name, name) == 0) return &pools[i];
        return NULL;
}

static bool is_gone_uuid(const struct plan_input *in, const char *uuid)
{
        for (uint32_t i = 0; i < in->gone_n; i++)
                if (uuid_same(in->gone[i].uuid, uuid)) return true;
        return false;
}

bool plan_is_gone(const struct sat_gone *g, const struct dev *devs, uint32_t devs_n,
        const struct layer_whole *wholes, uint32_t wholes_n)
{
        for (uint32_t i = 0; i < wholes_n; i++)
                if (!wholes[i].looked ||
                        (wholes[i].exists && plan_whole_is_of(&wholes[i], g->uuid, devs, devs_n)))
                        return false;
        for (uint32_t i = 0; i < devs_n; i++) {
                const struct dev *d = &devs[i];
                if (!uuid_same(d->uuid, g->uuid)) continue;
                if (d->unknown || d->exists || d->attached) return false;
        }
        return true;
}

static void take_away(struct planner *p, const struct dev *d)
{
        bool erase =
                d->exists && !d->unfilled && plan_layers_to_erase(d); /* nothing was ever up above that */
        plan_layers_down(
                p, &(struct fall){
                           .d = d, .erase = erase, .detach = d->attached || erase, .remove = d->exists });
}

static void not_at(struct planner *p, uint64_t volume, const char *place)
{
        struct trouble *t;
        plan_volume_trouble(p, volume, &t, TROUBLE_POOL, "its storage cannot be looked at.");
        trouble_cause(t, "The place %s is not usable; the pool's own report says why.", place);
        trouble_fix(t, "Mend the pool; the satellite goes on by itself.");
}

static void not_looked(struct planner *p, const struct dev *d) { not_at(p, d->volume_number, d->place); }

/* Devices of deleted resources. A uuid that is wanted as well is kept: the cluster contradicts itself. Snapshots go first: not every
 * storage lets go of a volume that has some. */
static void plan_gone(struct planner *p)
{
        const struct plan_input *in = p->in;
        for (uint32_t i = 0; i < 2 * in->devs_n; i++) {
                const struct dev *d = &in->devs[i % in->devs_n];
                if ((d->snap_name != NULL) != (i < in->devs_n)) continue;
                if (d->uuid == NULL || !is_gone_uuid(in, d->uuid)) continue;
                if (in->want != NULL && uuid_same(in->want->uuid, d->uuid)) continue;
                if (d->unknown) not_looked(p, d);
                else take_away(p, d);
        }
        plan_whole_down(p, true);
        plan_fall(p);
}

static bool layers_known(struct planner *p)
{
        const struct sat_rsc *r = p->in->want;
        for (uint32_t i = 0; HAS(r, sat_rsc, layer_stack) && i < r->layer_stack_n; i++) {
                int type = enum_parse(&layer_type_enum, r->layer_stack[i]);
                if (type == layer_type_STORAGE) continue;
                if (i < LAYERS_MAX && type >= 0 && layer_by_type((enum layer_type)type) != NULL) continue;
                struct trouble *t = plan_add_trouble(p, TROUBLE_NO_VOLUME);
                trouble_set(t, E_UNSUPPORTED, TROUBLE_NO_LAYER,
                        "Resource %s: layer %s is not supported by this version of the satellite.",
                        p->in->rsc_name, r->layer_stack[i]);
                trouble_cause(
                        t, "Its layers are to be built from the top down to STORAGE, and this one cannot.");
                trouble_fix(t, "Delete the resource and create it with the layer list \"storage\", or "
                               "upgrade the satellite.");
                return false;
        }
        return true;
}

static uint64_t round_up(uint64_t size_kib, uint64_t granule_kib)
{
        return (size_kib + granule_kib - 1) / granule_kib * granule_kib;
}

uint64_t plan_storage_kib(const struct planner *p, const struct sat_vlm *v, uint64_t net_kib)
{
        const struct sat_rsc *r = p->in->want;
        uint32_t layers = HAS(r, sat_rsc, layer_stack) ? r->layer_stack_n : 0;
        unsigned slots = HAS(r, sat_rsc, drbd) ? (unsigned)r->drbd->peer_slots : 0;
        if (wanted_extra(r, EXTRA_DRBD_META, v->volume_number) != NULL) slots = SLOTS_ELSEWHERE;
        return stack_storage_kib(r->layer_stack, layers, net_kib, slots);
}

/* Finds out where a wanted volume belongs and how large it is to be. 0, or E_INVALID with a trouble added. */
static int resolve(struct planner *p, const struct sat_vlm *v, bool extra, struct target *ret)
{
        struct trouble *t;
        *ret = (struct target){ .v = v };
        if (extra_is(v->volume_number) != extra ||
                (extra && layer_extra_desc(extra_of(v->volume_number)) == NULL))
                return plan_volume_trouble(p, v->volume_number, &t, TROUBLE_INVALID_VOLUME_NUMBER,
                        "volume numbers end at 65535.");
        if (v->size_kib == 0 || v->size_kib > SIZE_KIB_MAX)
                return plan_volume_trouble(
                        p, v->volume_number, &t, TROUBLE_INVALID_SIZE, "no volume can have that size.");
        if (backing_id_of(p->in->rsc_name, v, ret->backing_id) != 0)
                return plan_volume_trouble(p, v->volume_number, &t, TROUBLE_INVALID_VOLUME_NUMBER,
                        "its name is not fit for a device.");
        ret->pool = plan_pool_find(p->in->pools, p->in->pools_n, v->storage_pool_name);
        if (ret->pool == NULL) {
                plan_volume_trouble(
                        p, v->volume_number, &t, TROUBLE_POOL, "its storage pool is not known here.");
                trouble_cause(t, "The cluster wants it in pool %s, but has not told this node of the pool.",
                        v->storage_pool_name);
                trouble_fix(t, "Create the storage pool on this node.");
                return E_INVALID;
        }
        const struct provider *prov = provider_by_kind(ret->pool->kind);
        if (prov == NULL || !prov->backed) {
                plan_volume_trouble(
                        p, v->volume_number, &t, TROUBLE_NO_PROVIDER, "its storage pool cannot hold it.");
                trouble_cause(t, "%s is not supported by this version of the satellite.",
                        enum_name(&provider_kind_enum, ret->pool->kind));
                trouble_fix(t, "Use a pool of a kind that the node lists as supported.");
                return E_INVALID;
        }
        if (ret->pool->place == NULL) {
                plan_volume_trouble(
                        p, v->volume_number, &t, TROUBLE_POOL, "its storage pool cannot be used.");
                trouble_cause(t, "The report of pool %s says why.", ret->pool->name);
                return E_INVALID;
        }
        uint64_t kib = extra ? v->size_kib : plan_storage_kib(p, v, v->size_kib);
        ret->size_kib = round_up(kib, prov->allocation_kib);
        return 0;
}

static const struct dev *dev_at(const struct plan_input *in, const struct target *g)
{
        for (uint32_t i = 0; i < in->devs_n; i++)
                if (dev_same_place(&in->devs[i], g->pool->kind, g->pool->place, g->backing_id))
                        return &in->devs[i];
        return NULL;
}

/* Does the device belong to the wanted volume? */
bool plan_is_its(const struct plan_input *in, const struct dev *d, const struct sat_vlm *v)
{
        return uuid_same(d->uuid, in->want->uuid) && d->volume_number == v->volume_number &&
               dev_is_volume(d, v->uuid);
}

/* A device of the same volume at another place than the wanted one. */
static const struct dev *dev_elsewhere(const struct plan_input *in, const struct target *g)
{
        for (uint32_t i = 0; i < in->devs_n; i++) {
                const struct dev *d = &in->devs[i];
                if (!plan_is_its(in, d, g->v)) continue;
                if (dev_same_place(d, g->pool->kind, g->pool->place, g->backing_id)) continue;
                if (d->exists || d->attached || d->unknown || d->made) return d;
        }
        return NULL;
}

/* The device at the wanted place is there and ours. */
static void plan_present(struct planner *p, const struct target *g, const struct dev *d, bool active)
{
        uint64_t group = g->v->volume_number;
        uint64_t size_kib = d->granule_kib > 1 ? round_up(g->size_kib, d->granule_kib) : g->size_kib;
        bool may_shrink = HAS(g->v, sat_vlm, may_shrink) && g->v->may_shrink && d->layers_n == 0;
        bool changed = false;
        if (d->raw) add_step(p, STEP_CREATE, group, d, size_kib);
        if (d->vlm_uuid == NULL && g->v->uuid != NULL && g->v->uuid[0] != '\0') {
                struct dev named = *d;
                named.vlm_uuid = g->v->uuid;
                add_step(p, STEP_ADOPT, group, &named, 0);
        }
        if (d->size_kib < size_kib) {
                add_step(p, STEP_GROW, group, d, size_kib);
                changed = true;
        } else if (d->size_kib > size_kib && may_shrink) {
                /* Down meanwhile: that alone is refused when anybody has the device open. */
                if (d->attached) add_step(p, STEP_DETACH, group, d, 0);
                add_step(p, STEP_SHRINK, group, d, size_kib);
                if (active) add_step(p, STEP_ATTACH, group, d, 0);
                return;
        }
        if (!active) {
                plan_layers_down(p, &(struct fall){ .d = d, .detach = d->attached, .v = g->v });
                return;
        }
        changed |= d->device_kib != d->size_kib;
        if (!d->attached) add_step(p, STEP_ATTACH, group, d, 0);
        else if (changed) add_step(p, STEP_REFRESH, group, d, 0);
        plan_layers_up(p, d, g->v, changed);
}

static void plan_foreign(struct planner *p, const struct target *g, const struct dev *d)
{
        struct trouble *t;
        plan_volume_trouble(p, g->v->volume_number, &t, TROUBLE_EXISTS,
                "something else has the name of its backing device.");
        if (d->uuid == NULL)
                trouble_cause(t, "%s exists, but carries no mark of Outrigger.", d->backing_path);
        else
                trouble_cause(t,
                        "%s belongs to resource %s, volume %llu, uuid %s, which the cluster has not deleted.",
                        d->backing_path, d->rsc_name, (unsigned long long)d->volume_number, d->uuid);
        trouble_fix(t, "Nothing was done to it. %s if it is not needed; the satellite tries again by itself.",
                d->uuid == NULL ? "Move it away"
                                : "Remove it with 'outrigger orphan delete' ('orphan list' shows it), or "
                                  "move it away,");
}

static void plan_missing(struct planner *p, const struct target *g, const struct dev *d)
{
        struct trouble *t;
        if (d->attached) {
                plan_volume_trouble(p, g->v->volume_number, &t, TROUBLE_UNKNOWN,
                        "its backing was deleted by somebody else.");
                trouble_cause(t,
                        "%s was removed while %s is attached to it; the data lives until the device is "
                        "released.",
                        d->backing_path, d->device_path);
                trouble_fix(t, "Copy the data from %s to another volume now, then delete this resource.",
                        d->device_path);
                return;
        }
        plan_volume_trouble(p, g->v->volume_number, &t, TROUBLE_POOL, "its backing device is missing.");
        trouble_cause(t,
                "%s/%s was there before. It is not made again, because that would hide the loss of data.",
                d->place, d->backing_id);
        trouble_fix(t, "Mount the file system that holds it. If the data is lost for good, delete the "
                       "resource from this node.");
}

/* The volume is to live at another place. Without a layer that would copy the data over, that is refused. */
static void plan_moved(struct planner *p, const struct target *g, const struct dev *old, bool active)
{
        struct trouble *t;
        if (old->unknown) {
                not_looked(p, old);
                return;
        }
        if (!old->exists) {
                plan_missing(p, g, old);
                return;
        }
        plan_volume_trouble(
                p, g->v->volume_number, &t, TROUBLE_EXISTS, "it cannot be moved to another pool.");
        trouble_cause(t, "It is at %s/%s, and no layer above STORAGE would copy its data to %s.", old->place,
                old->backing_id, g->pool->place);
        trouble_fix(t, "Set its pool back; or make a new resource in the other pool, copy the data, and "
                       "delete this one.");
        if (!active || !old->exists) return;
        if (!old->attached) add_step(p, STEP_ATTACH, g->v->volume_number, old, 0);
        plan_layers_up(p, old, g->v, false);
}

static void plan_create(struct planner *p, const struct target *g, const struct dev *d, bool active)
{
        struct dev fresh = {
                .rsc_name = p->in->rsc_name,
                .uuid = p->in->want->uuid,
                .vlm_uuid = g->v->uuid,
                .volume_number = g->v->volume_number,
                .pool = g->pool->name,
                .kind = g->pool->kind,
                .place = g->pool->place,
                .backing_id = d->backing_id,
                .props = &g->v->props,
                .layers = plan_layers_fresh(p, d),
                .layers_n = d->layers_n,
        };
        memcpy(fresh.extras, d->extras, sizeof fresh.extras);
        if (HAS(g->v, sat_vlm, source_id) && !wanted_is_copied(p->in->want, g->v)) {
                plan_from_source(p, g->v, &fresh, d, g->size_kib, active);
                return;
        }
        if (HAS(g->v, sat_vlm, source_id) && !plan_can_copy(p, g->v, &fresh)) return;
        add_step(p, STEP_CREATE, g->v->volume_number, &fresh, g->size_kib);
        if (!active) return;
        add_step(p, STEP_ATTACH, g->v->volume_number, &fresh, 0);
        plan_layers_up(p, &fresh, g->v, false);
}

static const struct sat_vlm *wanted_volume(const struct sat_rsc *r, uint64_t number)
{
        for (uint32_t i = 0; i < r->volumes_n; i++)
                if (r->volumes[i].volume_number == number) return &r->volumes[i];
        for (uint32_t i = 0; i < r->extras_n; i++)
                if (r->extras[i].volume_number == number) return &r->extras[i];
        return NULL;
}

/* A volume of the wanted resource that is no longer wanted itself. */
static bool is_dropped(const struct plan_input *in, const struct dev *d)
{
        if (!uuid_same(d->uuid, in->want->uuid)) return false;
        const struct sat_vlm *v = wanted_volume(in->want, d->volume_number);
        return v == NULL || !wanted_is_backed(in->want, v) || !dev_is_volume(d, v->uuid);
}

/* Have other parts of the plan taken the device away, or said why they cannot? */
static bool goes_away(const struct plan_input *in, const struct dev *d)
{
        return is_gone_uuid(in, d->uuid) || is_dropped(in, d);
}

static void plan_volume(struct planner *p, const struct target *g, bool active)
{
        const struct plan_input *in = p->in;
        const struct dev *d = dev_at(in, g), *old = dev_elsewhere(in, g);
        bool mine = d != NULL && plan_is_its(in, d, g->v);
        bool old_left = old != NULL && (old->exists || old->attached || old->unknown);
        if (old_left || (old != NULL && !(mine && d->exists))) plan_moved(p, g, old, active);
        else if (d == NULL)
                not_at(p, g->v->volume_number, g->pool->place); /* the caller did not look at the place */
        else if (d->unknown) not_looked(p, d);
        else if (mine && d->exists && d->unfilled) plan_create(p, g, d, active);
        else if (mine && d->exists) plan_present(p, g, d, active);
        else if (mine && (d->attached || d->made)) plan_missing(p, g, d);
        else if ((d->exists || d->attached) && !goes_away(in, d)) plan_foreign(p, g, d);
        else plan_create(p, g, d, active);
}

/* Volumes that the wanted resource no longer has, has without storage, or has replaced by others. */
static void plan_dropped(struct planner *p)
{
        const struct plan_input *in = p->in;
        for (uint32_t i = 0; i < in->devs_n; i++) {
                const struct dev *d = &in->devs[i];
                if (!is_dropped(in, d) || plan_is_replaced(in, d)) continue;
                if (d->unknown) not_looked(p, d);
                else take_away(p, d);
        }
}

/* A resource that is to be down has a layer of the whole up: nothing but that goes down now, for all volumes at once. */
static bool plan_down_first(struct planner *p)
{
        const struct plan_input *in = p->in;
        bool up = false;
        if (plan_is_active(in)) return false;
        for (uint32_t i = 0; i < in->devs_n; i++)
                up = up || (uuid_same(in->devs[i].uuid, in->want->uuid) && dev_whole_open(&in->devs[i]));
        for (uint32_t i = 0; up && i < in->devs_n; i++) {
                const struct dev *d = &in->devs[i];
                if (!uuid_same(d->uuid, in->want->uuid) || d->unknown) continue;
                const struct sat_vlm *v = wanted_volume(in->want, d->volume_number);
                if (!is_dropped(in, d) || plan_is_replaced(in, d))
                        plan_layers_down(p, &(struct fall){ .d = d, .detach = d->attached, .v = v });
        }
        return up;
}

/* Made for a snapshot that is wanted, while that is shipped (satellite/ship/ship_dev.h). */
static bool is_of_snapshot(const struct plan_input *in, const struct dev *d)
{
        for (uint32_t i = 0; i < in->snaps_n; i++)
                if (uuid_same(in->snaps[i].uuid, d->uuid)) return true;
        return false;
}

static void find_orphans(struct planner *p)
{
        const struct plan_input *in = p->in;
        for (uint32_t i = 0; i < in->devs_n; i++) {
                const struct dev *d = &in->devs[i];
                if (d->uuid == NULL || d->snap_name != NULL || is_gone_uuid(in, d->uuid)) continue;
                if (in->want != NULL && uuid_same(d->uuid, in->want->uuid)) continue;
                if (is_of_snapshot(in, d)) continue;
                if (d->rsc_name != NULL && strcasecmp(d->rsc_name, in->rsc_name) != 0) continue;
                if (!d->exists && !d->attached) continue;
                p->out->orphan = true;
                if (in->want != NULL) continue; /* said as a foreign device where it is in the way */
                struct trouble *t;
                plan_volume_trouble(
                        p, d->volume_number, &t, TROUBLE_WARN_STORAGE, "the cluster does not know it.");
                t->err = E_NOT_FOUND;
                trouble_cause(t,
                        "%s was made here for uuid %s, but is neither wanted nor deleted. It is kept as it "
                        "is.",
                        d->backing_path != NULL ? d->backing_path : d->backing_id, d->uuid);
                if (!d->marked)
                        trouble_fix(t, "Copy what you need, and remove it by hand: nothing on it proves that "
                                       "it is ours.");
                else
                        trouble_fix(t,
                                "Copy what you need. To be rid of it: outrigger orphan delete NODE %s %s.",
                                p->in->rsc_name, d->uuid);
        }
}

static void plan_volumes(
        struct planner *p, const struct sat_vlm *volumes, uint32_t n, bool extras, bool active)
{
        for (uint32_t i = 0; i < n; i++) {
                const struct sat_vlm *v = &volumes[i];
                struct target g;
                if (wanted_volume(p->in->want, v->volume_number) != v)
                        continue; /* named twice: the first counts */
                if (wanted_is_backed(p->in->want, v) && resolve(p, v, extras, &g) == 0)
                        plan_volume(p, &g, active);
        }
}

int plan_resource(const struct plan_input *in, struct arena *a, struct plan *ret)
{
        uint32_t volumes = in->want == NULL ? 0 : in->want->volumes_n + in->want->extras_n;
        uint32_t snap_steps, snap_troubles;
        plan_snap_room(in, &snap_steps, &snap_troubles);
        struct planner p = { .in = in,
                .out = ret,
                .arena = a,
                .steps_cap = PLAN_STEPS_MAX * (in->devs_n + volumes) + snap_steps + 4 * LAYERS_MAX +
                             2 * in->wholes_n,
                .troubles_cap = 3 * in->devs_n + 2 * volumes + 1 + LAYERS_MAX + snap_troubles,
                .rises = arena_array(a, struct rise, volumes + 1),
                .falls = arena_array(a, struct fall, in->devs_n + volumes + 1) };
        *ret = (struct plan){ 0 };
        ret->steps = arena_array(a, struct step, p.steps_cap);
        ret->troubles = arena_array(a, struct trouble, p.troubles_cap);
        if ((ret->steps == NULL && p.steps_cap > 0) || ret->troubles == NULL || p.rises == NULL ||
                p.falls == NULL)
                return E_TOO_LARGE;
        plan_hold(&p);
        plan_gone(&p);
        find_orphans(&p);
        plan_snapshots(&p);
        if (in->want == NULL) return 0;
        if (!layers_known(&p)) return 0;
        plan_dropped(&p);
        bool active = plan_is_active(in), down_first = plan_down_first(&p);
        plan_fall(&p);
        if (down_first) return 0;
        if (active && wanted_skips_disk(in->want)) {
                plan_settle_skipping(&p);
                return 0;
        }
        /* What a layer has beside the volume comes first: DRBD grows with its metadata. */
        plan_volumes(&p, in->want->extras, in->want->extras_n, true, active);
        plan_volumes(&p, in->want->volumes, in->want->volumes_n, false, active);
        if (!active) plan_whole_down(&p, false);
        plan_fall(&p);
        if (active) plan_rise(&p);
        return 0;
}
