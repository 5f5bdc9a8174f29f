/* Steps for what is stacked on a backing device; the rules are in satellite/layer.h. */
#include <string.h>

#include "satellite/plan_internal.h"
#include "wire/codec/codec.h"

static void add(struct planner *p, enum step_kind kind, const struct dev *d, uint32_t layer,
        const struct strmap *props)
{
        struct step *s = plan_add_step(p, kind, d->volume_number, d);
        s->layer = layer;
        s->props = props;
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

void plan_layers_up(struct planner *p, const struct dev *d, const struct strmap *props, bool grew)
{
        for (uint32_t i = 0; i < d->layers_n; i++) {
                const struct layer_dev *l = &d->layers[i];
                if (!l->open && l->looked && l->foreign) {
                        is_foreign(p, d, l);
                        return;
                }
                if (!l->open && l->looked && l->made && !l->exists && !l->raw) {
                        is_emptied(p, d, l);
                        return;
                }
                bool there = l->open || (l->looked ? l->exists : l->made);
                if (!there) add(p, STEP_MAKE, d, i, props);
                if (!l->open) add(p, STEP_OPEN, d, i, props);
                else if (grew || l->lags) {
                        add(p, STEP_STRETCH, d, i, props);
                        grew = true;
                }
        }
}

/* May it have left something on the device below that has to be erased? Where nobody could look: it may. */
static bool leaves_traces(const struct layer_dev *l)
{
        const struct layer *kind = layer_by_type(l->type);
        if (kind == NULL || kind->erase == NULL) return false;
        return !l->looked || l->exists || l->raw;
}

bool plan_layers_to_erase(const struct dev *d) { return d->layers_n > 0 && leaves_traces(&d->layers[0]); }

void plan_layers_down(struct planner *p, const struct dev *d, bool erase)
{
        for (uint32_t i = d->layers_n; i-- > 0;) {
                const struct layer_dev *l = &d->layers[i];
                /* What a closed layer holds cannot be reached, and goes with that layer. */
                bool reachable = i == 0 || d->layers[i - 1].open;
                if (l->open) add(p, STEP_CLOSE, d, i, NULL);
                if (erase && reachable && leaves_traces(l)) add(p, STEP_ERASE, d, i, NULL);
        }
}

struct layer_dev *plan_layers_fresh(struct planner *p, const struct dev *d)
{
        if (d->layers_n == 0) return NULL;
        struct layer_dev *fresh = arena_alloc(p->arena, d->layers_n * sizeof *fresh);
        for (uint32_t i = 0; i < d->layers_n; i++) fresh[i].type = d->layers[i].type;
        return fresh;
}
