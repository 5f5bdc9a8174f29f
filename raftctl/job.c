/* Rules of a store job, see job_internal.h. */
#include "raftctl/job_internal.h"

#include "raftctl/log_only.h"
#include "state/level.h"
#include "wire/base/sabotage.h"

static int check_apply(const struct store_job *job, uint64_t applied, uint64_t last, uint64_t *ret_applied)
{
        for (uint32_t i = 0; i < job->apply_n; i++) {
                uint64_t index = job->apply[i].index;
                if (index <= applied) continue; /* repeats are skipped */
                if (index != applied + 1) return E_INVALID;
                applied = index;
        }
        *ret_applied = applied;
        return applied <= last ? 0 : E_INVALID;
}

int job_check(
        const struct store_job *job, const struct job_log *log, uint64_t applied_index, uint64_t *ret_last)
{
        uint64_t last = log->last, snapshot = log->snapshot_index, applied;
        if (job->install) {
                if (!job->set_snapshot || job->truncate_from != 0) return E_INVALID;
                if (job->snapshot.index != applied_index) return E_INVALID;
                snapshot = last = job->snapshot.index;
        }
        if (job->truncate_from != 0) {
                if (job->truncate_from <= applied_index || job->truncate_from <= snapshot) return E_INVALID;
                if (job->truncate_from <= last) last = job->truncate_from - 1;
        }
        for (uint32_t i = 0; i < job->entries_n; i++)
                if (job->entries[i].index != ++last || job->entries[i].term == 0) return E_INVALID;
        int err = check_apply(job, applied_index, last, &applied);
        if (err != 0) return err;
        if (job->set_snapshot) {
                if (job->snapshot.index < snapshot || job->snapshot.index > applied) return E_INVALID;
                snapshot = job->snapshot.index;
        }
        if (job->trim_to > snapshot) return E_INVALID;
        *ret_last = last;
        return 0;
}

int job_apply(const struct store_job *job, struct tx *tx, bool log_only, struct applied *ret)
{
        for (uint32_t i = 0; i < job->apply_n; i++) {
                const struct log_entry *e = &job->apply[i], *c = e;
                enum apply_result result;
                if (SABOTAGE(APPLY_ORDER) && (i ^ 1u) < job->apply_n) c = &job->apply[i ^ 1u];
                struct blob data = c->type == LOG_COMMAND ? c->data : (struct blob){ 0 };
                int err = writeset_apply_some(
                        tx, e->index, e->term, data, log_only ? log_only_keeps : NULL, &result);
                if (err != 0) return err;
                if (job->apply_results != NULL) job->apply_results[i] = result;
        }
        int err = job_level(job, tx);
        return err != 0 ? err : applied_get(tx, ret);
}

int job_level(const struct store_job *job, struct tx *tx)
{
        int err;
        if (job->level_max == 0 || SABOTAGE(LEVEL_UNCHECKED)) return 0;
        return state_level(tx, &err) > job->level_max ? E_LEVEL : err;
}
