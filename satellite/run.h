/* One round of work on one resource: look, plan, do the steps, look again.
 *
 * Self-contained: the struct holds copies of all it needs, in its own arena, and gets the outcome. Threads:
 * run_init() and run_done() by the owner, run_resource() by one pool thread in between, run_stop() from any.
 */
#ifndef SATELLITE_RUN_H
#define SATELLITE_RUN_H

#include <stdatomic.h>

#include "satellite/observe.h"

struct run {
        struct arena arena;
        struct plan_input in; /* everything in the arena */
        atomic_bool stop;     /* after the current step */
        /* Outcome. */
        int err;    /* 0, or the first failure */
        bool more;  /* stopped early, or there is more to do */
        bool waits; /* for copies (provider/copies.h) */
        bool orphan;
        bool filled;              /* a volume was filled: to be remembered before the next round */
        struct trouble *troubles; /* of failed steps, and what planning still has to say */
        uint32_t troubles_n;
        uint32_t failed_n; /* the first so many are of failed steps */
        uint32_t steps_done;
};

/* Copies the input. E_TOO_LARGE when it is beyond reason. */
int run_init(struct run *r, const struct plan_input *in) MUST_USE;
void run_done(struct run *r);
/* in.devs is what is there afterwards. */
void run_resource(struct run *r);
static inline void run_stop(struct run *r) { atomic_store(&r->stop, true); }

/* Deep copies, for the owner of what is remembered. */
void dev_copy(struct arena *a, const struct dev *d, struct dev *ret);

#endif
