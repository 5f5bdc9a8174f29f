/* Snapshots, volumes made from them, and held I/O. See plan.h for the rules. */
#include <string.h>
#include <strings.h>

#include "satellite/base/wanted.h"
#include "satellite/layer/hold.h"
#include "satellite/plan_internal.h"
#include "wire/codec/codec.h"
#include "wire/def/layer_size.h"

void plan_snap_room(const struct plan_input *in, uint32_t *steps, uint32_t *troubles)
{
        uint32_t volumes = 0;
        for (uint32_t i = 0; i < in->snaps_n; i++) volumes += in->snaps[i].volumes_n;
        *steps = volumes + 2;
        *troubles = volumes;
}

/* ---- holding ---- */

static const char *wanted_hold(const struct plan_input *in)
{
        const struct sat_rsc *r = in->want;
        return r != NULL && HAS(r, sat_rsc, hold) && r->hold[0] != '\0' ? r->hold : NULL;
}

static void add_hold(struct planner *p, enum step_kind kind, uint64_t group, const char *saga)
{
        struct dev none = { .rsc_name = p->in->rsc_name,
                .uuid = p->in->want->uuid,
                .kind = provider_kind_DISKLESS,
                .place = "",
                .backing_id = "" };
        struct step *s = plan_add_step(p, kind, group, &none);
        s->want = p->in->want;
        s->saga = saga;
}

/* The same, unless this node has given it up. */
static const char *hold_to_keep(const struct plan_input *in)
{
        const char *wanted = wanted_hold(in);
        return wanted != NULL && uuid_same(wanted, in->given_up) ? NULL : wanted;
}

bool plan_lets_go(const struct plan_input *in)
{
        /* of a resource that goes nothing is left that could hold */
        return in->want != NULL && in->held != NULL && !uuid_same(in->held, hold_to_keep(in));
}

void plan_hold(struct planner *p)
{
        const struct plan_input *in = p->in;
        const char *wanted = hold_to_keep(in);
        if (plan_lets_go(in)) add_hold(p, STEP_LET_GO, GROUP_LET_GO, in->held);
        if (wanted != NULL && !uuid_same(in->held, wanted)) add_hold(p, STEP_HOLD, GROUP_SNAP, wanted);
}

/* ---- snapshots ---- */

static void snap_trouble(struct planner *p, const struct sat_snap *s, uint64_t volume, enum trouble_code code,
        const char *text, const char *cause, const char *fix)
{
        struct trouble *t = plan_add_trouble(p, (int64_t)volume);
        trouble_set(t, E_INVALID, code, "Snapshot %s of resource %s, volume %llu: %s", s->snap_name,
                p->in->rsc_name, (unsigned long long)volume, text);
        t->volume = (int64_t)volume;
        trouble_of_snapshot(t, s->snap_name);
        trouble_cause(t, "%s", cause);
        trouble_fix(t, "%s", fix);
}

static const struct dev *dev_at_place(
        const struct plan_input *in, enum provider_kind kind, const char *place, const char *id)
{
        for (uint32_t i = 0; i < in->devs_n; i++)
                if (dev_same_place(&in->devs[i], kind, place, id)) return &in->devs[i];
        return NULL;
}

static const struct dev *volume_of(const struct plan_input *in, uint64_t number)
{
        for (uint32_t i = 0; in->want != NULL && i < in->devs_n; i++) {
                const struct dev *d = &in->devs[i];
                if (d->exists && uuid_same(d->uuid, in->want->uuid) && d->volume_number == number) return d;
        }
        return NULL;
}

static bool is_inactive(const struct sat_rsc *r)
{
        return HAS(r, sat_rsc, flags) && (r->flags & rsc_flag_INACTIVE) != 0;
}

/* Is it the moment to take it? Held for its saga (at the latest by a step before), or down. */
static bool may_take(const struct plan_input *in, const struct sat_snap *s)
{
        if (is_inactive(in->want)) return true;
        return uuid_same(wanted_hold(in), s->take) && !uuid_same(in->given_up, s->take);
}

static bool layers_all_made(const struct dev *d)
{
        for (uint32_t i = 0; i < d->layers_n; i++)
                if (!d->layers[i].made) return false;
        return true;
}

static const struct strmap *props_of(const struct sat_rsc *r, uint64_t volume)
{
        for (uint32_t i = 0; i < r->volumes_n; i++)
                if (r->volumes[i].volume_number == volume) return &r->volumes[i].props;
        return NULL;
}

/* Is the volume a copy that is not whole? */
static bool is_copied_yet(const struct sat_rsc *r, const struct dev *d)
{
        for (uint32_t i = 0; i < r->volumes_n; i++)
                if (r->volumes[i].volume_number == d->volume_number && wanted_is_copied(r, &r->volumes[i]))
                        return !d->filled;
        return false;
}

static void plan_take(struct planner *p, const struct sat_snap *s, const struct sat_vlm *v,
        const struct plan_pool *pool, const struct dev *at)
{
        const struct plan_input *in = p->in;
        const struct dev *src = volume_of(in, v->volume_number);
        if (provider_by_kind(pool->kind)->snapshot == NULL) {
                snap_trouble(p, s, v->volume_number, TROUBLE_NO_PROVIDER, "its pool has no snapshots.",
                        "Pools of that kind cannot take snapshots.", "Use a pool of a thin kind.");
        } else if (src == NULL) {
                snap_trouble(p, s, v->volume_number, TROUBLE_POOL, "there is no volume to take it of.",
                        "The volume is not there (yet).", "Take the snapshot when the volume is ready.");
        } else if (src->unfilled || is_copied_yet(in->want, src)) {
                snap_trouble(p, s, v->volume_number, TROUBLE_POOL, "there is no volume to take it of.",
                        "The volume is a clone that is still being copied.",
                        "Take the snapshot when the volume is ready.");
        } else if (!layers_all_made(src)) {
                snap_trouble(p, s, v->volume_number, TROUBLE_POOL, "there is no volume to take it of.",
                        "A layer of the volume has not been made yet.",
                        "Take the snapshot when the volume is ready.");
        } else if (!may_take(in, s)) {
                snap_trouble(p, s, v->volume_number, TROUBLE_UNKNOWN, "its moment is over.",
                        "The I/O of the resource is not suspended (any more).", "Take it again.");
        } else if (!is_inactive(in->want) || !src->attached) { /* else: when it is down */
                struct dev fresh = { .rsc_name = in->rsc_name,
                        .uuid = s->uuid,
                        .snap_name = s->snap_name,
                        .vlm_uuid = v->uuid,
                        .volume_number = v->volume_number,
                        .pool = pool->name,
                        .kind = pool->kind,
                        .place = pool->place,
                        .backing_id = at->backing_id,
                        .props = props_of(in->want, v->volume_number) };
                struct step *step = plan_add_step(p, STEP_SNAPSHOT, GROUP_SNAP, &fresh);
                step->src = src;
                step->quiet = hold_possible(in->want) || !src->attached;
        }
}

static void plan_snap_volume(struct planner *p, const struct sat_snap *s, const struct sat_vlm *v)
{
        char id[BACKING_ID_SIZE];
        const struct plan_input *in = p->in;
        const struct plan_pool *pool = plan_pool_find(in->pools, in->pools_n, v->storage_pool_name);
        bool take = HAS(s, sat_snap, take) && s->take[0] != '\0';
        const struct dev *d = NULL;
        if (pool != NULL && pool->place != NULL && provider_by_kind(pool->kind) != NULL &&
                backing_id_of(in->rsc_name, v, id) == 0)
                d = dev_at_place(in, pool->kind, pool->place, id);
        bool mine = d != NULL && uuid_same(d->uuid, s->uuid);
        if (d == NULL || d->unknown)
                snap_trouble(p, s, v->volume_number, TROUBLE_POOL, "its storage cannot be looked at.",
                        "The pool's own report says why.", "Mend the pool; the satellite goes on by itself.");
        else if (mine && d->exists) return;
        else if (mine && d->made)
                snap_trouble(p, s, v->volume_number, TROUBLE_UNKNOWN, "it is gone.",
                        "Its backing was there once, and was deleted by somebody else.",
                        "Delete the snapshot.");
        else if (d->exists && take)
                snap_trouble(p, s, v->volume_number, TROUBLE_EXISTS, "something else has its name.",
                        d->backing_path != NULL ? d->backing_path : d->backing_id,
                        "Nothing was done to it. Move it away, or name the snapshot otherwise.");
        else if (take) plan_take(p, s, v, pool, d);
}

void plan_snapshots(struct planner *p)
{
        for (uint32_t i = 0; i < p->in->snaps_n; i++)
                for (uint32_t k = 0; k < p->in->snaps[i].volumes_n; k++)
                        plan_snap_volume(p, &p->in->snaps[i], &p->in->snaps[i].volumes[k]);
}

enum sat_step_state plan_snap_state(
        const struct sat_snap *s, const struct dev *devs, uint32_t devs_n, bool troubled)
{
        uint32_t there = 0;
        for (uint32_t k = 0; k < s->volumes_n; k++)
                for (uint32_t i = 0; i < devs_n; i++)
                        if (devs[i].exists && uuid_same(devs[i].uuid, s->uuid) &&
                                devs[i].volume_number == s->volumes[k].volume_number) {
                                there++;
                                break;
                        }
        if (there == s->volumes_n) return sat_step_state_DONE;
        return troubled ? sat_step_state_FAILED : sat_step_state_PENDING;
}

/* ---- volumes from snapshots ---- */

bool plan_is_replaced(const struct plan_input *in, const struct dev *d)
{
        if (in->want == NULL || !uuid_same(d->uuid, in->want->uuid)) return false;
        for (uint32_t i = 0; i < in->want->volumes_n; i++) {
                const struct sat_vlm *v = &in->want->volumes[i];
                if (v->volume_number != d->volume_number) continue;
                return HAS(v, sat_vlm, in_place) && v->in_place && wanted_is_backed(in->want, v) &&
                       !dev_is_volume(d, v->uuid);
        }
        return false;
}

const struct dev *plan_source(const struct planner *p, const struct sat_vlm *v, const struct dev *d)
{
        const struct dev *src = dev_at_place(p->in, d->kind, d->place, v->source_id);
        bool right = src != NULL && src->exists && (!src->marked || uuid_same(src->uuid, v->source_uuid));
        return right ? src : NULL;
}

/* Storage for what the source has room for, and for what the wanted layers write beside that. What DRBD leaves of a device is taken as
 * if its metadata had one slot only: rather too much. */
static uint64_t room_kib(const struct planner *p, const struct sat_vlm *v, const struct dev *src)
{
        uint64_t net_kib = stack_net_kib(v->source_layers, v->source_layers_n, src->size_kib, 1);
        return plan_storage_kib(p, v, MAX(net_kib, v->size_kib));
}

/* What its layers wrote is in the snapshot: it is not made anew, and missed when it is not there. */
static void inherit_layers(const struct sat_vlm *v, const struct dev *fresh)
{
        for (uint32_t i = 0; i < fresh->layers_n; i++)
                fresh->layers[i].made =
                        !HAS(v, sat_vlm, source_layers) ||
                        stack_has(v->source_layers, v->source_layers_n, fresh->layers[i].type);
}

/* Is the older volume the one that the snapshot was taken of, and has been down since? */
static bool is_same(const struct sat_vlm *v, const struct dev *old)
{
        return HAS(v, sat_vlm, same_uuid) && old->vlm_uuid != NULL && old->vlm_uuid[0] != '\0' &&
               uuid_same(old->vlm_uuid, v->same_uuid);
}

static void no_source(struct planner *p, const struct sat_vlm *v, const struct dev *fresh)
{
        struct trouble *t = plan_add_trouble(p, (int64_t)v->volume_number);
        trouble_set(t, E_NOT_FOUND, TROUBLE_POOL,
                "Resource %s, volume %llu: the snapshot that it is to be made from cannot be used.",
                p->in->rsc_name, (unsigned long long)v->volume_number);
        t->volume = (int64_t)v->volume_number;
        trouble_cause(t, "%s/%s is not there, is another one's, or cannot be looked at.", fresh->place,
                v->source_id);
        trouble_fix(t, "Delete the resource, and make it from a snapshot that is there.");
}

bool plan_can_copy(struct planner *p, const struct sat_vlm *v, const struct dev *fresh)
{
        if (plan_source(p, v, fresh) != NULL) return true;
        no_source(p, v, fresh);
        return false;
}

void plan_from_source(struct planner *p, const struct sat_vlm *v, const struct dev *fresh,
        const struct dev *old, uint64_t size_kib, bool active)
{
        const struct dev *src = plan_source(p, v, fresh);
        bool replace = old->exists && plan_is_replaced(p->in, old);
        const struct provider *prov = provider_by_kind(fresh->kind);
        if (replace && prov->keep != NULL && !old->attached && is_same(v, old)) {
                plan_add_step(p, STEP_KEEP, v->volume_number, fresh)->old = old;
                if (active) plan_add_step(p, STEP_ATTACH, v->volume_number, fresh);
                return;
        }
        if (src == NULL || prov->restore == NULL || (replace && prov->replace == NULL)) {
                no_source(p, v, fresh);
                return;
        }
        if (replace && old->attached && old->layers_n > 0) {
                plan_layers_down(p, &(struct fall){ .d = old, .detach = true });
                return; /* when it is down */
        }
        if (replace && old->attached) plan_add_step(p, STEP_DETACH, v->volume_number, old);
        inherit_layers(v, fresh);
        if (HAS(v, sat_vlm, source_layers)) size_kib = MAX(size_kib, room_kib(p, v, src));
        struct step *s = plan_add_step(p, replace ? STEP_REPLACE : STEP_RESTORE, v->volume_number, fresh);
        s->size_kib = MAX(size_kib, src->size_kib);
        s->src = src;
        s->old = replace ? old : NULL;
        if (active) plan_add_step(p, STEP_ATTACH, v->volume_number, fresh);
}
