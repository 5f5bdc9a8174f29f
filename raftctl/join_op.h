/* Replicated operations about tokens and members, evaluated on the leader (evaluate_fn of raftctl/driver.h).
 * Requests are struct request with these paths; bodies are msgpack of wire/def/msg_join.def; the reply is
 * msgpack of op_outcome.
 *
 *   /internal/token    token_op    makes a token known; unused ones that expired a day ago are swept out
 *   /internal/join     join_op     uses a token up: known, unexpired, unused (or used by the same key before:
 * then it is the same join again), right role and name. Controllers and witnesses get their row in the member
 * table. Without a token: a member that lost its memory comes back with the same certificate and gets a new id; the
 * former one is kept as removed. Not more often than every 5 s (E_BUSY). Both refuse sets of voters that are
 * not sound (raftctl/voters.h). /internal/members  member_op removes
 * a row, or marks it as stand-by; whoever is removed is kept in a table of its own, so that
 * neither id nor certificate comes back
 *
 * The configuration follows the table by raftctl/reconcile.c. No secret is in a request: the member that a
 * joiner talks to hashes it. Purity: a function of (tx, request). Threads: loop thread of the leader. */
#ifndef RAFTCTL_JOIN_OP_H
#define RAFTCTL_JOIN_OP_H

#include "state/tx.h"
#include "wire/base/buf.h"
#include "wire/def/types.h"

#define JOIN_OP_TOKEN "/internal/token"
#define JOIN_OP_JOIN "/internal/join"
#define JOIN_OP_MEMBERS "/internal/members"

/* Is it for us? Decodes the path only. */
bool join_op_is(struct blob request);
/* 0 = keep the writes; E_INVALID = refused, the reply says why. raise: carries LEVEL_OP out (raftctl/level.h); NULL: it is
 * refused. */
typedef int join_op_raise_fn(
        void *arg, struct tx *tx, const struct level_op *op, struct arena *a, struct op_outcome *ret);
int join_op_evaluate(
        struct tx *tx, struct blob request, join_op_raise_fn *raise, void *arg, struct buf *ret_reply);
/* Encodes a request. body_type: one of the above. */
int join_op_encode(const char *path, const struct type_desc *body_type, const void *body, uint64_t wall_ms,
        const char *member, struct buf *out);

#endif
