/* What is stacked on a backing device, as the runner and the observer see it: looks at the layers of a device, carries out a step
 * of one layer.
 *
 * Threads: layers_probe(), wholes_look() and run_*_step() block, in pool threads; the others are pure. Ownership: results live in the caller's
 * arena. */
#ifndef SATELLITE_RUN_LAYERS_H
#define SATELLITE_RUN_LAYERS_H

#include "satellite/plan.h"

/* Gives ret copies of d's layers. */
void layers_copy(struct arena *a, const struct dev *d, struct dev *ret);
/* Looks at every layer of a device that was probed. What cannot be looked at is not `looked`. */
void layers_probe(struct dev *d, struct arena *a);
/* Copies of what was seen of whole resources. */
void wholes_copy(struct arena *a, const struct layer_whole *from, uint32_t n, struct layer_whole **ret);
/* Looks at the layers of whole resources that devs, want or gone of the input have: fills in wholes. E_TOO_LARGE. */
int wholes_look(struct plan_input *in, struct arena *a) MUST_USE;
/* FORMAT. */
int run_format_step(const struct step *s, struct trouble *t) MUST_USE;
/* SETTLE and DISSOLVE. */
int run_whole_step(const struct step *s, struct trouble *t) MUST_USE;
/* MAKE and what follows, of one volume. */
int run_layer_step(const struct step *s, struct trouble *t) MUST_USE;
/* Finds the device below the step's layer as it is now; *d becomes a copy that was looked at, in the arena. v->below_path NULL: it is
 * down. */
int layers_below(const struct step *s, struct dev *d, struct arena *a, struct layer_vol *v,
        struct trouble *t) MUST_USE;
/* Is the same remembered of both? */
bool layers_same_record(const struct dev *a, const struct dev *b);
/* Has a layer been made? The device itself does not say that when it was emptied. */
bool layers_any_made(const struct dev *d);

#endif
