/* Shared by the files of the planner: plan.c (backings), plan_layers.c (what is stacked on them). Threads and ownership: see plan.h. */
#ifndef SATELLITE_PLAN_INTERNAL_H
#define SATELLITE_PLAN_INTERNAL_H

#include "satellite/plan.h"

#define PLAN_STEPS_MAX (5 + 3 * LAYERS_MAX) /* for one device */

struct planner {
        const struct plan_input *in;
        struct plan *out;
        struct arena *arena;
        uint32_t steps_cap, troubles_cap;
};

struct step *plan_add_step(struct planner *p, enum step_kind kind, uint64_t group, const struct dev *d);
/* "Resource r, volume n: text"; the caller adds cause and remedy. Returns E_INVALID. */
int plan_volume_trouble(
        struct planner *p, uint64_t volume, struct trouble **ret, enum trouble_code code, const char *text);

/* plan_layers.c. The backing is up, or a step before brings it up; grew: it is larger than it was. */
void plan_layers_up(struct planner *p, const struct dev *d, const struct strmap *props, bool grew);
/* erase: the volume goes for good; the backing is up, or a step before brings it up. */
void plan_layers_down(struct planner *p, const struct dev *d, bool erase);
/* Is there a layer that leaves something which has to be erased before the backing goes? */
bool plan_layers_to_erase(const struct dev *d);
/* The same layers for a backing that is about to be made: nothing is there yet. */
struct layer_dev *plan_layers_fresh(struct planner *p, const struct dev *d);

#endif
