/* A new history of the cluster that begins with one member: after a restore from a backup, and after a lost
 * majority. All other members are noted as removed, tokens are void, the term jumps, and a row of type lineage says
 * what happened. The log is cut behind it, so that whoever joins takes the state with that row at once.
 *
 * The jump: satellites refuse terms below the highest they know, and the lost history may have gone on for a while.
 * The new term is the wall clock in seconds, or a million above what is known, whichever is more: of several
 * restores the last one wins, and no history can catch up by elections. Links between members of different
 * histories are refused, and the one of the earlier history stops (transport_hello.c).
 *
 * Threads: blocking, for programs; the store belongs to the caller's loop. */
#ifndef RAFTCTL_TAKEOVER_H
#define RAFTCTL_TAKEOVER_H

#include "raftctl/member.h"

#define TAKEOVER_STEP UINT64_C(1000000)

struct takeover {
        const char *kind; /* "restored" or "recovered" */
        const char *name, *address, *fingerprint;
        uint64_t raft_id;
        uint64_t above_term;       /* the new term is above this as well; 0 = nothing more is known */
        int64_t now_ms, backup_ms; /* wall clock; backup_ms 0 = none */
};
uint64_t takeover_epoch(uint64_t known_term, uint64_t above_term, int64_t now_ms);
/* The epoch of the last restore or recovery in that state, 0 = none. *ret_known: there is a state at all. */
int lineage_get(struct tx *tx, uint64_t *ret_epoch, bool *ret_known) MUST_USE;
/* One transaction: everything in the store's log is applied, then the new history begins. start is what the store
 * has loaded; *ret_index and *ret_term: where the new history begins. */
int takeover_commit(struct store *store, const struct store_start *start, const struct takeover *t,
        uint64_t *ret_index, uint64_t *ret_term, struct fail *f) MUST_USE;

#endif
