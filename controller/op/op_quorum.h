/* Quorum and tie breaker: what a resource with DRBD has of them follows from who is in it, and is brought in line at the end of each
 * operation that changed that. As LINSTOR shows it: the property quorum of the definition, with who set it (Internal/Drbd/QuorumSetBy:
 * "linstor" or "user"; what a user set stays), and a resource with the flag TIE_BREAKER, which goes when it is not needed.
 *
 * Threads, purity: see op.h. */
#ifndef CONTROLLER_OP_OP_QUORUM_H
#define CONTROLLER_OP_OP_QUORUM_H

#include "controller/op/op_internal.h"

/* Remembers the definition for op_settle(), which runs when the operation is over and was not refused. */
void op_settle_later(struct op *op, const char *rsc_name);
void op_settle(struct op *op);
/* All definitions of a group (NULL: of all groups), when the change of properties has to do with it (NULL: it has). */
void op_settle_group(struct op *op, const char *group, const struct prop_mod *mod);
/* A resource that was to be deleted, and may be: does it stay, as the tie breaker that would be missing? */
bool op_stays_as_tie_breaker(struct op *op, struct rsc_dfn *rd, struct rsc *r);
/* A tie breaker was deleted by hand: no other is wanted. Stores rd. */
void op_refuse_tie_breaker(struct op *op, struct rsc_dfn *rd);
/* op_options.c: the algorithm for verification; part of settling. Stores rd when it changes. */
void op_verify_settle(struct op *op, struct rsc_dfn *rd, const struct strmap *rg, const struct strmap *ctrl);
/* op_discard.c: how coarse discards may be, as all devices below DRBD allow; part of settling. */
void op_discard_settle(
        struct op *op, const struct rsc_dfn *rd, const struct rsc_grp *rg, const struct strmap *ctrl);
/* May the user set that one? false: refused. */
bool op_verify_by_user(struct op *op, const struct rsc_dfn *rd, const struct prop_mod *mod);
/* From copies of a definition's properties: takes the quorum away that no user has set. */
void op_quorum_not_ours(struct op *op, const struct rsc_dfn *rd, struct strmap *props);
/* Properties of a definition were changed by a user: is the quorum theirs now? */
void op_quorum_by_user(struct op *op, struct rsc_dfn *rd, const struct prop_mod *mod);

#endif
