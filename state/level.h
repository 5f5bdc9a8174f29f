/* The cluster's feature level: what the rows of the state may hold. It stands in the cluster row and only rises,
 * by a replicated operation, when every member runs a release that knows the next level (raftctl/level.h decides
 * that). Below level n nothing that was declared SINCE(n) is stored, so a member of the release before can
 * read every row, whoever leads; index rows of an index that came with level n are made by the raise itself.
 *
 * Threads: pure functions of a tx. Ownership: nothing is kept. */
#ifndef STATE_LEVEL_H
#define STATE_LEVEL_H

#include "state/tx.h"

/* The level of this state; LEVEL_FIRST before there is a cluster row. An unreadable row is reported by *ret_err
 * (may be NULL): damage, or the storage. Fields of the row that this release does not know do not matter. */
unsigned state_level(struct tx *tx, int *ret_err);
/* Raises it to `to` and makes the rows of indexes that came meanwhile. 0; E_INVALID when it is not a rise; an error
 * that sticks to tx. Who calls it has made sure that every member knows that level. */
int state_level_raise(struct tx *tx, unsigned to);

#endif
