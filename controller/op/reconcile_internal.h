/* What the parts of a look share, see reconcile.h. */
#ifndef CONTROLLER_OP_RECONCILE_INTERNAL_H
#define CONTROLLER_OP_RECONCILE_INTERNAL_H

#include "controller/op/reconcile.h"

struct look {
        const struct reconcile_args *args;
        struct arena *arena;
        struct reconcile_action *actions;
        uint32_t n;
        int err;
};
/* Adds a proposal; more than RECONCILE_MAX are dropped. kind, subject and more make its id: the same ones never have their effect
 * twice. */
void reconcile_propose(struct look *l, const char *path, const struct type_desc *t, const void *body,
        const char *kind, const char *subject, const char *more);
/* The same, unless it would be refused, or change nothing: it is tried on a copy of the state. For what is looked at over and over. */
void reconcile_propose_effective(struct look *l, const char *path, const struct type_desc *t,
        const void *body, const char *kind, const char *subject, const char *more);
/* For how long has this leader known it, by its own clock? kind, subject and more say what; 0 = since now. */
int64_t reconcile_known_ms(struct look *l, const char *kind, const char *subject, const char *more);
static inline bool look_goes_on(const struct look *l) { return l->n < RECONCILE_MAX && l->err == 0; }

#endif
