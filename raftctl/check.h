/* Compares the data directories of several members, offline: `raftctl check DIR...`.
 *
 * Each by itself (store_lmdb_check); then each two: the same cluster, different members; entries of equal
 * index and term are equal, and so are all before them; what both have applied is the same; equal states at
 * equal applied index, and where one is ahead, its hash is what the other's becomes by the log. Threads:
 * blocking, no state. */
#ifndef RAFTCTL_CHECK_H
#define RAFTCTL_CHECK_H

#include "raftctl/store_lmdb.h"

#define CHECK_MEMBERS_MAX 16

/* What to do with these directories when the cluster does not come back by itself. */
struct check_verdict {
        bool sound[CHECK_MEMBERS_MAX];
        uint64_t epoch[CHECK_MEMBERS_MAX]; /* of the state's last restore or recovery (raftctl/takeover.h) */
        bool past[CHECK_MEMBERS_MAX];      /* of an earlier history than another one here */
        int newest;                        /* the sound one with the newest log, -1 = none */
        unsigned voters, voters_here;      /* by its configuration; sound and of the same history */
        uint64_t committed;                /* at least up to here: a member has applied it */
};

/* Returns the number of findings, each reported, or a negative error when a directory is in use (also reported). summaries: n of them, or NULL; a directory that cannot be read is a finding, and the others
 * are compared all the same. verdict may be NULL. */
int check_members(const char *const *dirs, unsigned n, store_report_fn *report, void *arg,
        struct store_summary *summaries, struct check_verdict *verdict) MUST_USE;

#endif
