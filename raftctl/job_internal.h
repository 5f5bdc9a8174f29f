/* What both stores do alike with a job: the rules that it must keep, and its state part.
 * Ownership: everything is borrowed. Threads: pure. */
#ifndef RAFTCTL_JOB_INTERNAL_H
#define RAFTCTL_JOB_INTERNAL_H

#include "raftctl/store.h"

/* What the log holds before the job: rows first..last, last = snapshot_index when there are none. */
struct job_log {
        uint64_t first, last;
        uint64_t snapshot_index;
};
/* Does the job fit? No holes, nothing applied is cut off, nothing beyond the snapshot is trimmed.
 * applied_index: before the job, after the switch for an install. On success *ret_last is the last index
 * after the job. E_INVALID otherwise: the driver has a bug, and the store stays as it was. */
int job_check(const struct store_job *job, const struct job_log *log, uint64_t applied_index,
        uint64_t *ret_last) MUST_USE;
/* tx is the state after the job: may this release hold it? 0, E_LEVEL, or why the level cannot be read. */
int job_level(const struct store_job *job, struct tx *tx) MUST_USE;
/* Applies job->apply to tx, fills job->applied and apply_results. log_only: a witness's store. */
int job_apply(const struct store_job *job, struct tx *tx, bool log_only, struct applied *ret) MUST_USE;

#endif
