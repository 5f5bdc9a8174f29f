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

/* Returns the number of findings, each reported, or a negative error when a directory could not be looked at
 * (also reported). summaries: n of them, or NULL. */
int check_members(const char *const *dirs, unsigned n, store_report_fn *report, void *arg,
        struct store_summary *summaries) MUST_USE;

#endif
