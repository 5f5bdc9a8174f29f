/* Steps for what is stacked on a backing device; the rules are in satellite/layer/layer.h. */
#include <string.h>

#include "satellite/base/wanted.h"
#include "satellite/layer/format.h"
#include "satellite/plan_internal.h"
#include "wire/codec/codec.h"

static void add(
        struct planner *p, enum step_kind kind, const struct dev *d, uint32_t layer, const struct sat_vlm *v)
{
        struct step *s = plan_add_step(p, kind, d->volume_number, d);
        s->layer = layer;
        s->vlm = v;
        s->props = v == NULL ? NULL : &v->props;
        s->want = v == NULL ? NULL : p->in->want;
}

static const char *name_of(const struct layer_dev *l) { return enum_name(&layer_type_enum, l->type); }

static void is_foreign(struct planner *p, const struct dev *d, const struct layer_dev *l)
{
        struct trouble *t;
        plan_volume_trouble(p, d->volume_number, &t, TROUBLE_EXISTS, "something else is on its device.");
        trouble_cause(t, "%s is to hold the layer %s, but holds: %s.",
                d->backing_path != NULL ? d->backing_path : d->backing_id, name_of(l),
                l->found != NULL ? l->found : "unknown data");
        trouble_fix(
                t, "Nothing was done to it. If that is not needed, delete the resource and create it again.");
}

static void is_emptied(struct planner *p, const struct dev *d, const struct layer_dev *l)
{
        struct trouble *t;
        plan_volume_trouble(p, d->volume_number, &t, TROUBLE_POOL, "its metadata is missing.");
        trouble_cause(t,
                "%s had the metadata of the layer %s. It is not made again, because that would destroy what "
                "is left of "
                "the data.",
                d->backing_path != NULL ? d->backing_path : d->backing_id, name_of(l));
        trouble_fix(t, "Restore it from a backup (LUKS: 'cryptsetup luksHeaderRestore'). If the data is lost "
                       "for good, "
                       "delete the resource from this node.");
}

void plan_layers_up(struct planner *p, const struct dev *d, const struct sat_vlm *v, bool grew)
{
        struct rise *r = &p->rises[p->rises_n++];
        *r = (struct rise){ .d = arena_memdup(p->arena, d, sizeof *d), .v = v, .grew = grew };
}

static void is_broken(struct planner *p, const struct dev *d, const struct layer_dev *l)
{
        struct trouble *t;
        plan_volume_trouble(p, d->volume_number, &t, TROUBLE_POOL, "its device is failing.");
        trouble_cause(t, "Layer %s, %s: %s.", name_of(l),
                l->device_path != NULL ? l->device_path : "its device", l->broken);
        trouble_fix(t,
                "Look into the kernel log, and mend or replace the disk of the cache. What was only in "
                "the cache is lost with it: restore the volume from another replica or a backup.");
}

/* What is wrong with the layer of one volume, if anything. */
static bool is_stuck(struct planner *p, const struct dev *d, const struct layer_dev *l)
{
        if (l->open && l->broken != NULL) {
                is_broken(p, d, l);
                return true;
        }
        if (l->open || !l->looked) return false;
        if (l->foreign) is_foreign(p, d, l);
        else if (l->made && !l->exists && !l->raw) is_emptied(p, d, l);
        else return false;
        return true;
}

static void make_one(struct planner *p, struct rise *r, uint32_t i)
{
        const struct layer_dev *l = &r->d->layers[i];
        r->stuck = r->stuck || is_stuck(p, r->d, l);
        if (r->stuck) return;
        bool half = l->raw && l->open && !layer_is_whole(l->type); /* udev brings up what it finds */
        bool there = l->open || (l->looked ? l->exists : l->made);
        if (!there || half) add(p, STEP_MAKE, r->d, i, r->v);
        if (!l->open && !layer_is_whole(l->type)) add(p, STEP_OPEN, r->d, i, r->v);
}

static void stretch_one(struct planner *p, struct rise *r, uint32_t i)
{
        const struct layer_dev *l = &r->d->layers[i];
        bool grows = r->grew || l->lags;
        if (r->stuck || !l->open || (!grows && !l->dated)) return;
        add(p, STEP_STRETCH, r->d, i, r->v);
        r->grew = grows;
}

static bool any_stuck(const struct planner *p)
{
        for (uint32_t i = 0; i < p->rises_n; i++)
                if (p->rises[i].stuck) return true;
        return false;
}

/* Does every wanted volume with storage come up in this plan? */
static bool all_rise(const struct planner *p)
{
        const struct sat_rsc *r = p->in->want;
        for (uint32_t i = 0; i < r->volumes_n; i++) {
                bool rises = !wanted_is_backed(r, &r->volumes[i]);
                for (uint32_t k = 0; !rises && k < p->rises_n; k++)
                        rises = p->rises[k].v->volume_number == r->volumes[i].volume_number;
                if (!rises) return false;
        }
        return true;
}

/* What it was made of had other layers: its data is taken over before anything above layer i - 1 comes up, in a round of its own. One
 * that has layer i is filled, whatever is remembered. */
static void fill_one(struct planner *p, struct rise *r, uint32_t i)
{
        const struct dev *d = r->d;
        if (r->stuck || d->filled || !HAS(r->v, sat_vlm, source_layers)) return;
        if (i < d->layers_n && d->layers[i].open) return;
        add(p, STEP_FILL, d, i, r->v);
        p->out->steps[p->out->steps_n - 1].src = plan_source(p, r->v, d);
        r->stuck = true; /* not without it */
}

static void fill_all(struct planner *p, uint32_t i)
{
        for (uint32_t k = 0; k < p->rises_n; k++) fill_one(p, &p->rises[k], i);
}

/* The file system that the properties ask for, above the layers below `above`. Not on what was made from a snapshot, not on what is in
 * use. Above a layer of the whole resource only where its device can be taken, by the node whose data is what counts. */
static void format_one(struct planner *p, const struct rise *r, uint32_t above)
{
        const struct dev *d = r->d;
        if (r->stuck || d->formatted || HAS(r->v, sat_vlm, source_id) || !format_wanted(&r->v->props)) return;
        if (d->attached && dev_top_in_use(d)) return;
        for (uint32_t i = 0; i < above; i++) {
                const struct layer *l = layer_by_type(d->layers[i].type);
                if (layer_is_whole(d->layers[i].type) && (l->take == NULL || !r->v->drbd_winner)) return;
        }
        add(p, STEP_FORMAT, d, above, r->v);
}

/* On what is about to be exported; what is exported already belongs to another node. */
static void format_exports(struct planner *p, enum layer_type type, uint32_t i)
{
        const struct layer *kind = layer_by_type(type);
        if (kind == NULL || !kind->exports) return;
        for (uint32_t k = 0; k < p->rises_n; k++)
                if (i + 1 == p->rises[k].d->layers_n && !p->rises[k].d->layers[i].open)
                        format_one(p, &p->rises[k], i);
}

void plan_rise(struct planner *p)
{
        struct layer_dev *l;
        uint32_t n;
        const struct sat_rsc *r = p->in->want;
        if (!HAS(r, sat_rsc, layer_stack) ||
                layers_of_stack(r->layer_stack, r->layer_stack_n, p->arena, &l, &n) != 0)
                n = 0;
        uint32_t fill_at = 0;
        while (fill_at < n && !layer_is_whole(l[fill_at].type)) fill_at++;
        for (uint32_t i = 0; i < n; i++) {
                bool whole = layer_is_whole(l[i].type);
                if (i == fill_at) fill_all(p, i);
                if (whole && (plan_whole_foreign(p, l[i].type) || !all_rise(p) || any_stuck(p))) return;
                for (uint32_t k = 0; k < p->rises_n; k++)
                        if (i < p->rises[k].d->layers_n) make_one(p, &p->rises[k], i);
                if (whole && any_stuck(p)) return;
                if (whole) format_exports(p, l[i].type, i);
                if (whole) plan_settle(p, l[i].type);
                for (uint32_t k = 0; k < p->rises_n; k++)
                        if (i < p->rises[k].d->layers_n) stretch_one(p, &p->rises[k], i);
        }
        if (fill_at == n) fill_all(p, n);
        for (uint32_t k = 0; k < p->rises_n; k++) format_one(p, &p->rises[k], p->rises[k].d->layers_n);
}

/* May it have left something on the device below that has to be erased? Where nobody could look: it may. */
static bool leaves_traces(const struct layer_dev *l)
{
        const struct layer *kind = layer_by_type(l->type);
        if (kind == NULL || kind->erase == NULL) return false;
        return !l->looked || l->exists || l->raw;
}

bool plan_layers_to_erase(const struct dev *d) { return d->layers_n > 0 && leaves_traces(&d->layers[0]); }

void plan_layers_down(struct planner *p, const struct fall *f)
{
        p->falls[p->falls_n] = *f;
        p->falls[p->falls_n++].d = arena_memdup(p->arena, f->d, sizeof *f->d);
}

static void lower_one(struct planner *p, const struct fall *f, uint32_t i)
{
        const struct dev *d = f->d;
        const struct layer_dev *l = &d->layers[i];
        /* What a closed layer holds cannot be reached, and goes with that layer. */
        bool reachable = i == 0 || d->layers[i - 1].open;
        if (l->open && !layer_is_whole(l->type)) add(p, STEP_CLOSE, d, i, f->v);
        if (f->erase && reachable && leaves_traces(l)) add(p, STEP_ERASE, d, i, NULL);
}

void plan_fall(struct planner *p)
{
        for (uint32_t k = 0; k < p->falls_n; k++) {
                const struct fall *f = &p->falls[k];
                if (f->erase && !f->d->attached) plan_add_step(p, STEP_ATTACH, f->d->volume_number, f->d);
        }
        for (uint32_t i = LAYERS_MAX; i-- > 0;) {
                for (uint32_t k = 0; k < p->falls_n; k++) {
                        const struct layer_dev *l =
                                i < p->falls[k].d->layers_n ? &p->falls[k].d->layers[i] : NULL;
                        if (l == NULL || !l->open || !layer_is_whole(l->type)) continue;
                        plan_unsettle(p, l->type);
                        break;
                }
                for (uint32_t k = 0; k < p->falls_n; k++)
                        if (i < p->falls[k].d->layers_n) lower_one(p, &p->falls[k], i);
        }
        for (uint32_t k = 0; k < p->falls_n; k++) {
                const struct fall *f = &p->falls[k];
                if (f->detach) plan_add_step(p, STEP_DETACH, f->d->volume_number, f->d);
                if (f->remove) plan_add_step(p, STEP_REMOVE, f->d->volume_number, f->d);
        }
        p->falls_n = 0;
}

struct layer_dev *plan_layers_fresh(struct planner *p, const struct dev *d)
{
        if (d->layers_n == 0) return NULL;
        struct layer_dev *fresh = arena_alloc(p->arena, d->layers_n * sizeof *fresh);
        for (uint32_t i = 0; i < d->layers_n; i++) fresh[i].type = d->layers[i].type;
        return fresh;
}
