/* What automatic placement and the size queries share. See op_internal.h and state/place.h. */
#ifndef CONTROLLER_OP_OP_PLACE_H
#define CONTROLLER_OP_OP_PLACE_H

#include "controller/op/op_internal.h"
#include "state/place.h"

struct place_ctx {
        const char *const *stack; /* layers that nodes must have */
        uint32_t stack_n;
        struct place_node *nodes;
        struct node *rows; /* of the same nodes */
        uint32_t nodes_n;
        struct place_pool *pools;
        uint32_t pools_n;
        bool mixing;
        bool diskless; /* set by the caller: nodes for a resource without a disk are looked for */
        const struct strmap *ctrl, *rd_props, *rg_props;
};
/* Fills the context but for the stack. rd and rg may be NULL. */
void place_gather(struct op *op, struct place_ctx *c, const struct rsc_dfn *rd, const struct rsc_grp *rg,
        const struct select_filter *f);
/* Does it count as a replica? */
bool op_is_replica(const struct rsc *r);
/* As place_run, with what is promised but not made yet taken into account. */
int place_search(struct op *op, struct place_ctx *c, const struct select_filter *f, uint32_t count,
        uint64_t size_kib, bool diskless, struct place_result *ret, struct fail *fail) MUST_USE;
/* The same for other questions to the autoplacer: no replicas, no size. */
void place_input_of(struct place_ctx *c, const struct select_filter *f, struct place_input *ret);
/* For a query about sizes: rules out nodes that lack pools for what the layers need beside volumes of the group (or NULL). */
void place_query(struct op *op, struct place_ctx *c, const char *rg);
/* The largest volume of the group that the pool can take, after place_search(): its estimate, or less, where DRBD's metadata goes to
 * a pool that has no room for more. */
uint64_t place_max_kib(struct op *op, struct place_ctx *c, const char *rg, const struct place_pool *p);
/* What was wanted, and what was wrong with each node and pool. */
const char *place_explain(struct op *op, const struct place_ctx *c, const struct select_filter *f,
        uint32_t count, uint64_t size_kib);
/* Oversubscription of a pool: the common ratio, of free space, of the total. */
void place_ratios(const struct stor_pool *p, const struct strmap *spd, const struct strmap *ctrl,
        double *ret_max, double *ret_free, double *ret_total);

#endif
