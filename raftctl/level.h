/* The cluster's feature level, as members see it. It rises by the operation LEVEL_OP, which the leader allows when
 * every member runs, is linked, and has said that its release knows the level. A release that does not know the
 * level of its state, of a peer's, or of a committed entry, stops: before anything is written that it could
 * not read.
 *
 * Threads: the driver's. Ownership: nothing is kept. */
#ifndef RAFTCTL_LEVEL_H
#define RAFTCTL_LEVEL_H

#include "raftctl/driver.h"
#include "wire/def/types.h"

/* Path of the replicated operation, body level_op. */
#define LEVEL_OP "/internal/level"

/* This member's release and the level of its state. */
void driver_release(struct driver *d, struct release *ret);
/* What a peer said when the link was made, before driver_link. The member stops when the peer's state is of a level
 * that this release does not know. */
void driver_peer_release(struct driver *d, uint64_t peer, const struct release *r);
/* Do the two fit? NULL, or why a link is refused, in text. */
const char *release_refuse(
        const struct release *ours, const struct release *theirs, char *text, size_t text_n);

/* Could this leader raise the level to `to` now? tx: the state, with the member table. 0; E_LEVEL or E_NOT_FOUND: f says
 * which member is in the way, and what to do. */
int driver_level_check(struct driver *d, struct tx *tx, unsigned to, struct fail *f) MUST_USE;
/* Carries the operation out on the leader, in its evaluation. 0, E_INVALID (refused: ret says why), or a storage error. */
int level_op_evaluate(struct driver *d, struct tx *tx, const struct level_op *op, struct arena *a,
        struct op_outcome *ret) MUST_USE;

/* ---- for the driver ---- */
/* At the start: E_LEVEL with cause and remedy when this release cannot hold the state. */
int level_start(struct driver *d, struct fail *f) MUST_USE;
/* Why the member stops after E_LEVEL of its store. */
const char *level_gone(struct driver *d);

#endif
