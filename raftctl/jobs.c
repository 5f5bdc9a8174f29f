/* Store jobs. One is in flight; what comes meanwhile collects and becomes the next one: vote and term,
 * truncation, new entries, committed entries to apply, the snapshot row - one transaction, one sync. */
#include <stdlib.h>
#include <string.h>

#include "raftctl/driver_int.h"
#include "raftctl/level.h"
#include "wire/base/sabotage.h"

static void job_done(struct store_job *sj, int err);
static void persisted(struct driver *d, const struct job *j);

void jobs_init(struct driver *d)
{
        d->job.sj.data = d;
        d->job_no = 1;
}

void jobs_done(struct driver *d)
{
        struct job *j = &d->job;

        for (uint32_t i = 0; i < j->pins_n; i++) entry_unref(j->pins[i]);
        free(j->pins);
        free(j->entries);
        free(j->apply);
        free(j->results);
        buf_done(&j->conf);
        if (d->installing) raft_configuration_close(&d->install_meta.configuration);
}

/* job_no is the number of the job that is collecting. */
void jobs_vote(struct driver *d)
{
        d->vote_dirty = true;
        d->gate_no = d->job_no;
        d->dirty = true;
}

void jobs_entries(struct driver *d, const struct raft_update *u)
{
        uint64_t from = u->entries.index;

        assert(from <= d->log.last + 1);
        if (from <= d->store_last) {
                d->truncate_from = d->truncate_from ? MIN(d->truncate_from, from) : from;
                d->store_last = from - 1;
        }
        if (from <= d->log.last) log_cache_truncate(&d->log, from);
        for (unsigned i = 0; i < u->entries.n; i++) {
                const struct raft_entry *e = &u->entries.batch[i];
                log_cache_append(&d->log,
                        entry_new(from + i, e->term, (uint8_t)e->type, BLOB(e->buf.base, e->buf.len)));
        }
        raft_free(u->entries.batch[0].batch);
}

void jobs_install(struct driver *d, const struct raft_update *u)
{
        d->installing = true;
        d->install_ready = true;
        d->install_meta = u->snapshot.metadata;
        raft_free(u->snapshot.chunk.base);
        d->truncate_from = 0;
        /* N2: from this moment the old entries mean nothing, though the commit index may already be beyond
         * them. */
        if (guard_on(GUARD_N2)) log_cache_reset(&d->log, d->install_meta.index + 1);
        d->store_last = d->log.last;
}

/* ---- building ---- */

static void pin(struct job *j, struct entry *e)
{
        if (j->pins_n == j->pins_cap) {
                j->pins_cap = j->pins_cap ? j->pins_cap * 2 : 64;
                j->pins = xrealloc(j->pins, j->pins_cap * sizeof(struct entry *));
        }
        j->pins[j->pins_n++] = entry_ref(e);
}

static void put_entry(struct log_entry **array, uint32_t *n, uint32_t *cap, const struct entry *e)
{
        if (*n == *cap) {
                *cap = *cap ? *cap * 2 : 64;
                *array = xrealloc(*array, *cap * sizeof(**array));
        }
        (*array)[(*n)++] = (struct log_entry){ e->index, e->term, e->type, BLOB(e->data, e->n) };
}

static void build_entries(struct driver *d, struct job *j)
{
        size_t bytes = 0;

        j->sj.truncate_from = d->truncate_from;
        d->truncate_from = 0;
        j->from = d->store_last + 1;
        while (d->store_last < d->log.last && j->sj.entries_n < JOB_ENTRIES_MAX && bytes < d->job_bytes) {
                struct entry *e = log_cache_get(&d->log, d->store_last + 1);
                if (!e) break;
                put_entry(&j->entries, &j->sj.entries_n, &j->entries_cap, e);
                pin(j, e);
                bytes += e->n;
                d->store_last++;
        }
        j->to = d->store_last;
        d->bytes_since_snapshot += bytes;
        d->log_bytes += bytes;
}

static uint64_t apply_target(const struct driver *d)
{
        if (d->installing && guard_on(GUARD_N2)) return 0;
        return MIN(raft_commit_index(&d->raft), d->store_last);
}

static void build_apply(struct driver *d, struct job *j)
{
        uint64_t target = apply_target(d), at = d->applied.index;
        size_t bytes = 0;

        /* A stop at each multiple of HASH_EVERY, where members can compare their hashes. */
        target = MIN(target, (at / HASH_EVERY + 1) * HASH_EVERY);
        while (at < target && bytes < d->job_bytes) {
                struct entry *e = log_cache_get(&d->log, at + 1);
                if (!e) break;
                put_entry(&j->apply, &j->sj.apply_n, &j->apply_cap, e);
                pin(j, e);
                bytes += e->n;
                at++;
        }
        if (j->sj.apply_n == 0) return;
        j->results = xrealloc(j->results, j->apply_cap * sizeof(*j->results));
        j->sj.apply_results = j->results;
}

static unsigned trailing(const struct driver *d, uint64_t index)
{
        unsigned min = guard_on(GUARD_L1) ? TRAILING_MIN : 1, n = MAX(d->trailing_entries, min);
        size_t bytes = 0;

        /* Fewer when they are large, never fewer than the floor. */
        for (unsigned k = 0; k < n && k < index; k++) {
                const struct entry *e = log_cache_get(&d->log, index - k);
                if (!e || (bytes += e->n) > d->snapshot_bytes) return MAX(k, min);
        }
        return n;
}

/* Entries behind the snapshot at index that stay for members that are there and lack them, within bounds. A member that
 * takes so long for a snapshot that the log has left it behind would need another one, and so on for ever. */
static unsigned kept(struct driver *d, uint64_t index, unsigned trailing)
{
        uint64_t bound = index, from = snap_keep_from(d);

        for (unsigned i = KEEP_POINTS; i-- > 0;) {
                const struct log_point *k = &d->keep_points[i];
                if (k->index == 0 || d->log_bytes - k->bytes > KEEP_BYTES_TIMES * d->snapshot_bytes) break;
                bound = k->index;
        }
        memmove(d->keep_points, d->keep_points + 1, (KEEP_POINTS - 1) * sizeof(d->keep_points[0]));
        d->keep_points[KEEP_POINTS - 1] = (struct log_point){ index, d->log_bytes };
        from = MAX(from, bound);
        return from < index ? MAX(trailing, (unsigned)(index - from)) : trailing;
}

/* log_only: everything up to the snapshot before the last two; so the log holds three to four times what makes a
 * snapshot due, in bytes and in entries. Unlike trailing(), it needs nothing of what has left the cache. */
static uint64_t trim_point(struct driver *d, uint64_t index)
{
        uint64_t to = d->trim_points[0];

        memmove(d->trim_points, d->trim_points + 1, (TRIM_POINTS - 1) * sizeof(d->trim_points[0]));
        d->trim_points[TRIM_POINTS - 1] = index;
        return to;
}

static bool snapshot_due(const struct driver *d)
{
        uint64_t index = d->applied.index;

        if (d->installing || index <= d->snapshot_index || index > raft_commit_index(&d->raft)) return false;
        return index - d->snapshot_index >= d->snapshot_entries ||
               d->bytes_since_snapshot >= d->snapshot_bytes;
}

/* A local snapshot is a row: index, term and members as of the applied state, and old log rows deleted. */
static void build_snapshot(struct driver *d, struct job *j)
{
        const struct raft_configuration *c;
        uint64_t conf_index, index = d->applied.index;

        if (!snapshot_due(d) || !step_conf_at(d, index, &c, &conf_index) || !log_cache_get(&d->log, index))
                return;
        buf_reset(&j->conf);
        conf_encode(c, &j->conf);
        j->with_snapshot = true;
        j->trailing =
                d->log_only ? (unsigned)(index - trim_point(d, index)) : kept(d, index, trailing(d, index));
        j->sj.set_snapshot = true;
        j->sj.snapshot = (struct snapshot_meta){ index, d->applied.term, conf_index, buf_blob(&j->conf) };
        j->sj.trim_to = index > j->trailing ? index - j->trailing : 0;
        d->bytes_since_snapshot = 0;
}

static void build_install(struct driver *d, struct job *j)
{
        const struct raft_snapshot_metadata *m = &d->install_meta;

        buf_reset(&j->conf);
        conf_encode(&m->configuration, &j->conf);
        j->is_install = true;
        j->sj.install = true;
        j->sj.set_snapshot = true;
        j->sj.snapshot =
                (struct snapshot_meta){ m->index, m->term, m->configuration_index, buf_blob(&j->conf) };
        d->install_ready = false;
}

static bool apply_wanted(struct driver *d, uint64_t now)
{
        if (apply_target(d) <= d->applied.index) {
                d->apply_due_ms = 0;
                return false;
        }
        if (d->apply_due_ms == 0) d->apply_due_ms = now + APPLY_LAZY_MS;
        return d->apply_now || now >= d->apply_due_ms;
}

uint64_t jobs_due(const struct driver *d)
{
        if (d->job.busy || d->apply_due_ms == 0) return UINT64_MAX;
        return d->apply_due_ms;
}

void jobs_pump(struct driver *d)
{
        struct job *j = &d->job;
        uint64_t now = drv_now(d);

        if (d->fatal || !d->started) return;
        if (j->busy) return;
        if (!d->vote_dirty && d->truncate_from == 0 && d->store_last >= d->log.last && !d->install_ready &&
                !apply_wanted(d, now) && !snapshot_due(d))
                return;
        j->sj = (struct store_job){ .data = d, .done_cb = job_done, .level_max = d->level_max };
        j->with_snapshot = j->is_install = false;
        j->from = 1;
        j->to = 0;
        if (d->vote_dirty) {
                j->sj.set_vote = true;
                j->sj.term = SABOTAGE(TERM_NOT_WRITTEN) ? d->start.term : raft_current_term(&d->raft);
                j->sj.voted_for = SABOTAGE(VOTE_NOT_WRITTEN) ? 0 : raft_voted_for(&d->raft);
        }
        if (d->install_ready && (guard_on(GUARD_N2) || apply_target(d) <= d->applied.index)) {
                build_install(d, j);
        } else {
                build_entries(d, j);
                build_apply(d, j);
                build_snapshot(d, j);
        }
        if (!j->sj.set_vote && !j->sj.truncate_from && !j->sj.entries_n && !j->sj.apply_n &&
                !j->sj.set_snapshot && !j->sj.install)
                return;
        d->vote_dirty = false;
        j->sj.entries = j->entries;
        j->sj.apply = j->apply;
        j->busy = true;
        j->no = d->job_no++;
        d->store->ops->submit(d->store, &j->sj);
        if (SABOTAGE(ACK_BEFORE_SYNC) && j->sj.entries_n) persisted(d, j);
}

/* ---- finished ---- */

/* Tells the core what is durable: only entries that the log still holds with that term. */
static void persisted(struct driver *d, const struct job *j)
{
        struct raft_event e = { .type = RAFT_PERSISTED_ENTRIES };
        uint64_t last = 0;

        for (uint32_t i = 0; i < j->sj.entries_n; i++) {
                const struct entry *now = log_cache_get(&d->log, j->entries[i].index);
                if (!now || now->term != j->entries[i].term) break;
                last = now->index;
        }
        if (last <= d->raft.last_stored) return;
        e.persisted_entries.index = last;
        (void)step_core(d, &e);
        elect_stored(d);
}

static void applied(struct driver *d, struct job *j)
{
        d->applied = j->sj.applied;
        d->apply_due_ms = 0;
        hash_note(d, &d->applied);
        for (uint32_t i = 0; i < j->sj.apply_n; i++)
                if (j->results[i] == APPLY_REFUSED) batch_refused(d, j->apply[i].index);
        batch_applied(d);
}

static void snapshot_taken(struct driver *d, const struct job *j)
{
        struct raft_event e = { .type = RAFT_SNAPSHOT };

        if (d->installing) return;
        d->snapshot_index = j->sj.snapshot.index;
        d->snapshot_term = j->sj.snapshot.term;
        e.snapshot.metadata.index = j->sj.snapshot.index;
        e.snapshot.metadata.term = j->sj.snapshot.term;
        e.snapshot.metadata.configuration_index = j->sj.snapshot.conf_index;
        if (conf_decode(j->sj.snapshot.conf, &e.snapshot.metadata.configuration) < 0) abort();
        e.snapshot.trailing = j->trailing;
        (void)step_core(d, &e);
}

static void installed(struct driver *d, const struct job *j)
{
        struct raft_event e = { .type = RAFT_PERSISTED_SNAPSHOT };

        d->installing = false;
        d->applied = j->sj.applied;
        d->snapshot_index = d->install_meta.index;
        d->snapshot_term = d->install_meta.term;
        d->bytes_since_snapshot = 0;
        memset(d->trim_points, 0, sizeof(d->trim_points));
        memset(d->keep_points, 0, sizeof(d->keep_points));
        memset(d->hashes, 0, sizeof(d->hashes));
        hash_note(d, &d->applied);
        log_cache_reset(&d->log, d->snapshot_index + 1);
        d->store_last = d->snapshot_index;
        if (d->applied.index != d->snapshot_index) {
                raft_configuration_close(&d->install_meta.configuration);
                drv_fatal(d, E_CORRUPT, "an installed snapshot is not at its own index");
                return;
        }
        e.persisted_snapshot.metadata = d->install_meta; /* the core takes the configuration */
        e.persisted_snapshot.last = true;
        (void)step_core(d, &e);
        d->state_changed = true;
}

static void job_done(struct store_job *sj, int err)
{
        struct driver *d = sj->data;
        struct job *j = &d->job;

        if (d->fatal) return;
        drv_enter(d);
        if (err < 0) {
                drv_fatal(d, err, err == E_LEVEL ? level_gone(d) : "the store failed");
        } else {
                j->busy = false;
                d->durable_no = j->no;
                if (j->is_install) {
                        installed(d, j);
                } else if (!d->installing || !guard_on(GUARD_N2)) {
                        if (j->sj.entries_n && !d->installing) persisted(d, j);
                        if (j->sj.apply_n) applied(d, j);
                        if (j->with_snapshot) snapshot_taken(d, j);
                }
                for (uint32_t i = 0; i < j->pins_n; i++) entry_unref(j->pins[i]);
                j->pins_n = 0;
                log_cache_evict(&d->log, MIN(d->applied.index, d->raft.last_stored), d->cache_bytes);
        }
        d->dirty = true;
        drv_leave(d);
}
