/* Replicated operations about tokens and members, evaluated on the leader (evaluate_fn of raftctl/driver.h).
 * Requests are struct request with these paths; bodies are msgpack of wire/def/msg_join.def; the reply is
 * msgpack of op_outcome.
 *
 *   /internal/token    token_op    makes a token known; unused ones that expired a day ago are swept out
 *   /internal/transfer member_op   hands leadership over (join_op_transfer)
 *   /internal/join     join_op     uses a token up: known, unexpired, unused (or used by the same key before:
 * then it is the same join again), right role and name. Controllers and witnesses get their row in the member
 * table. Without a token: a member that lost its memory comes back with the same certificate and gets a new id; the
 * former one is kept as removed. Not more often than every 5 s (E_BUSY). Both refuse sets of voters that are
 * not sound (raftctl/voters.h).
 *   /internal/members  member_op   removes
 * a row, marks it as stand-by or as voter, names its zone, or lets a stand-by take over the vote of a voter
 * that stays away; whoever is removed is kept in a table of its own, so that neither id nor certificate comes
 * back. A token may say whom the one who uses it replaces: that member is removed in the same write.
 *
 * What would leave no majority of answering voters is refused unless forced; only the leader knows who
 * answers, so it evaluates with what it sees.
 *
 * The configuration follows the table by raftctl/reconcile.c. No secret is in a request: the member that a
 * joiner talks to hashes it. Purity: a function of (tx, request, view). Threads: loop thread of the leader. */
#ifndef RAFTCTL_JOIN_OP_H
#define RAFTCTL_JOIN_OP_H

#include "raftctl/policy.h"
#include "state/tx.h"
#include "wire/base/buf.h"
#include "wire/def/types.h"

#define JOIN_OP_TOKEN "/internal/token"
#define JOIN_OP_JOIN "/internal/join"
#define JOIN_OP_MEMBERS "/internal/members"
#define JOIN_OP_TRANSFER "/internal/transfer"

/* Is it for us? Decodes the path only. */
bool join_op_is(struct blob request);
/* What only the leader's process knows. */
typedef int join_op_raise_fn(
        void *arg, struct tx *tx, const struct level_op *op, struct arena *a, struct op_outcome *ret);
struct join_context {
        const struct policy_view
                *view;           /* NULL = it is not known who answers, and nothing is refused for that */
        join_op_raise_fn *raise; /* carries LEVEL_OP out (raftctl/level.h); NULL = it is refused */
        void *arg;
};
/* 0 = keep the writes; E_INVALID = refused, the reply says why. ctx: NULL = as if empty. */
int join_op_evaluate(
        struct tx *tx, struct blob request, const struct join_context *ctx, struct buf *ret_reply);
/* member_op: name = who is to lead, empty = the best one; from_id = the leader that is meant, 0 = whoever leads.
 * Writes nothing. 0: *ret_id is the member that leadership is to go to, 0 = the best one, the leader's own when
 * there is nothing to do. Refused: as above. */
bool join_op_is_transfer(struct blob request);
int join_op_transfer(struct tx *tx, struct blob request, const struct policy_view *view, uint64_t *ret_id,
        struct buf *ret_reply);
/* Encodes a request. body_type: one of the above. */
int join_op_encode(const char *path, const struct type_desc *body_type, const void *body, uint64_t wall_ms,
        const char *member, struct buf *out);

#endif
