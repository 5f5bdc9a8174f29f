/* Holding the I/O of a resource, so that snapshots on several nodes are of one point in time, and hold what was written before them:
 * layers that can do that register here. Where none of a resource's layers can, holding it is nothing but a note.
 *
 * What is held is given up when nobody says how it goes on: HOLD_MAX_MS after it began, and when the satellite
 * starts. When the satellite ends or dies meanwhile, its guard lets go (hold_guard.h). Such a hold is never taken up again; the controllers see it and undo what it was for.
 *
 * Threads: hold_register() before any other thread runs; hold_set() blocks, in pool threads; the others any.
 * Ownership: nothing is kept but the pointer to the layer, which is static. */
#ifndef SATELLITE_LAYER_HOLD_H
#define SATELLITE_LAYER_HOLD_H

#include "satellite/base/trouble.h"
#include "wire/def/types.h"

#define HOLD_MAX_MS 60000u /* longer than the controllers wait for all nodes to hold */

struct hold_layer {
        const char *layer; /* as in layer stacks */
        /* hold: I/O is suspended when it returns 0; else it runs again. Both idempotent, also across restarts. */
        int (*set)(const struct sat_rsc *r, bool hold, struct trouble *t);
};
extern const struct hold_layer hold_luks;
/* Once more is the same. */
void hold_register(const struct hold_layer *l);
/* Can one of the layers hold I/O? */
bool hold_possible(const struct sat_rsc *r);
/* 0, or the error of the first layer that cannot; after a failure to hold all runs again, as far as it can be brought to. */
int hold_set(const struct sat_rsc *r, bool hold, struct trouble *t) MUST_USE;

#endif
