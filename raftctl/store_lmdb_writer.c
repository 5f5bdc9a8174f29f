/* The thread that writes, see store_lmdb_parts.h and the head of store_lmdb.c: one piece after the other, each one
 * synced transaction. */
#include <stdlib.h>
#include <string.h>

#include "raftctl/job_internal.h"
#include "raftctl/log_only.h"
#include "raftctl/store_lmdb_parts.h"

enum { CLEAR_ROWS = 4096 };

/* ---- writer: one job ---- */

/* What a job changes in the writer's memory, once it is durable. */
struct after {
        uint64_t first, last, snapshot_index;
};

static int write_log(struct store_lmdb *s, const struct store_job *job, struct tx *log, struct after *after)
{
        int err = 0;
        if (job->install && s->log_last >= s->log_first)
                err = member_log_delete(log, s->log_first, s->log_last);
        else if (job->truncate_from != 0 && job->truncate_from <= s->log_last)
                err = member_log_delete(log, job->truncate_from, s->log_last);
        for (uint32_t i = 0; err == 0 && i < job->entries_n; i++)
                err = member_log_put(log, &job->entries[i], &s->scratch);
        if (job->install || s->log_first > s->log_last) after->first = after->last - job->entries_n + 1;
        if (err == 0 && job->trim_to >= after->first) {
                uint64_t to = MIN(job->trim_to, after->last);
                err = member_log_delete(log, after->first, to);
                after->first = to + 1;
        }
        return err;
}

static int write_job(struct store_lmdb *s, struct store_job *job, struct kv_lmdb_txn *t, struct after *after)
{
        struct tx *meta = kv_lmdb_tx(t, DB_META);
        enum member_db current;
        int err = member_current(meta, &current);
        if (err != 0) return err;
        if (job->install) current = store_other(current);
        struct tx *state = kv_lmdb_tx(t, current);
        err = applied_get(state, &job->applied);
        if (err != 0) return err;
        if (job->install && (!s->parser.finished || job->applied.term != job->snapshot.term))
                return E_INVALID;
        if (job->install && (err = job_level(job, state)) != 0) return err;
        struct job_log log = { s->log_first, s->log_last, s->snapshot_index };
        err = job_check(job, &log, job->applied.index, &after->last);
        if (err == 0) err = write_log(s, job, kv_lmdb_tx(t, DB_LOG), after);
        if (err == 0 && job->set_vote) err = member_put_vote(meta, job->term, job->voted_for);
        if (err == 0 && job->install) err = member_put_current(meta, current);
        if (err == 0 && job->apply_n != 0) err = job_apply(job, state, s->log_only, &job->applied);
        if (err == 0 && job->set_snapshot) {
                err = member_put_snapshot(meta, &job->snapshot);
                after->snapshot_index = job->snapshot.index;
        }
        return err;
}

static int run_job(struct store_lmdb *s, struct store_job *job)
{
        struct kv_lmdb_txn *t;
        struct after after = { s->log_first, s->log_last, s->snapshot_index };
        int err = kv_lmdb_write(s->kv, &t);
        if (err != 0) return err;
        err = write_job(s, job, t, &after);
        if (err != 0) {
                kv_lmdb_end(t);
                return err;
        }
        err = kv_lmdb_commit(t);
        if (err != 0) return err;
        member_seq_put(s->seq_fd, kv_lmdb_last_txn(s->kv));
        s->log_first = after.first;
        s->log_last = after.last;
        s->snapshot_index = after.snapshot_index;
        if (job->install) {
                s->parser = (struct snapshot_parser){ 0 };
                s->spare_dirty = true;
        }
        return 0;
}

/* ---- writer: the state that is not current ---- */

static int begin_spare(struct store_lmdb *s, struct kv_lmdb_txn **ret_txn, enum member_db *ret_spare)
{
        int err = kv_lmdb_write(s->kv, ret_txn);
        if (err != 0) return err;
        err = member_current(kv_lmdb_tx(*ret_txn, DB_META), ret_spare);
        *ret_spare = store_other(*ret_spare);
        if (err != 0) kv_lmdb_end(*ret_txn);
        return err;
}

static int clear_some(struct store_lmdb *s, bool *ret_more)
{
        struct kv_lmdb_txn *t;
        enum member_db spare = DB_STATE1;
        int err = begin_spare(s, &t, &spare);
        if (err != 0) return err;
        err = kv_lmdb_clear(t, spare, CLEAR_ROWS, ret_more);
        if (err != 0) {
                kv_lmdb_end(t);
                return err;
        }
        return kv_lmdb_commit(t);
}

static int run_install_begin(struct store_lmdb *s)
{
        bool more = true;
        int err = 0;
        while (err == 0 && more) err = clear_some(s, &more);
        s->spare_dirty = false;
        snapshot_parser_init(&s->parser);
        return err;
}

static int install_pair(void *arg, struct blob key, struct blob value) { return tx_put(arg, key, value); }

static int install_kept_pair(void *arg, struct blob key, struct blob value)
{
        return log_only_keeps(key) ? tx_put(arg, key, value) : 0;
}

static int run_install_chunk(struct store_lmdb *s, struct blob chunk)
{
        struct kv_lmdb_txn *t;
        enum member_db spare = DB_STATE1;
        int err = begin_spare(s, &t, &spare);
        if (err != 0) return err;
        err = snapshot_parse(
                &s->parser, chunk, s->log_only ? install_kept_pair : install_pair, kv_lmdb_tx(t, spare));
        if (err != 0) {
                kv_lmdb_end(t);
                return err;
        }
        return kv_lmdb_commit(t);
}

/* ---- writer: the thread ---- */

void store_measure_room(struct store_lmdb *s)
{
        struct kv_lmdb_room room;
        if (kv_lmdb_room(s->kv, &room) != 0) return; /* the next job will tell */
        bool full = room.disk_free_bytes < s->reserve_bytes || room.map_free_bytes < s->reserve_bytes ||
                    room.map_free_bytes < room.map_bytes / 10;
        atomic_store(&s->full, full);
}

/* Until the next try; false: nobody wants to wait any more. */
static bool wait_for_room(struct store_lmdb *s)
{
        struct timespec until;
        atomic_store(&s->waiting, true);
        store_measure_room(s);
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += s->room_try_ms * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_mutex_lock(&s->mutex);
        while (!s->leaving && pthread_cond_timedwait(&s->leave_cond, &s->mutex, &until) == 0) {
        }
        bool go_on = !s->leaving;
        pthread_mutex_unlock(&s->mutex);
        return go_on;
}

static void run_piece(struct store_lmdb *s, struct piece *p)
{
        p->err = s->broken;
        if (p->err != 0) return;
        switch (p->kind) {
        case PIECE_JOB:
                do p->err = run_job(s, p->job);
                while (p->err == E_NO_SPACE && wait_for_room(s));
                break;
        case PIECE_INSTALL_BEGIN:
                do p->err = run_install_begin(s);
                while (p->err == E_NO_SPACE && wait_for_room(s));
                break;
        case PIECE_INSTALL_CHUNK:
                p->err = run_install_chunk(s, BLOB(p->chunk, p->chunk_n));
                if (p->err == E_CORRUPT || p->err == E_FORMAT || p->err == E_NO_SPACE) return;
                break;
        case PIECE_CLOSE: break;
        }
        atomic_store(&s->waiting, false);
        s->broken = p->err;
}

/* Nobody waits for it: without room it has time. */
static void clear_idle(struct store_lmdb *s)
{
        int err = clear_some(s, &s->spare_dirty);
        if (err == E_NO_SPACE) s->spare_dirty = false; /* the next start, or the next snapshot, goes on */
        else s->broken = err;
}

/* Waits for a piece; does what is due meanwhile when there is none. Called and returns with the mutex held.
 */
static struct piece *next_piece(struct store_lmdb *s)
{
        for (;;) {
                if (!list_empty(&s->todo)) return list_first(&s->todo, struct piece, link);
                bool room = s->room_wanted, clear = s->spare_dirty && s->broken == 0;
                if (!room && !clear) {
                        pthread_cond_wait(&s->todo_cond, &s->mutex);
                        continue;
                }
                s->room_wanted = false;
                pthread_mutex_unlock(&s->mutex);
                if (room) store_measure_room(s);
                if (clear) clear_idle(s);
                pthread_mutex_lock(&s->mutex);
        }
}

void *store_writer_main(void *arg)
{
        struct store_lmdb *s = arg;
        bool closed = false;
        pthread_mutex_lock(&s->mutex);
        while (!closed) {
                struct piece *p = next_piece(s);
                list_remove(&p->link);
                pthread_mutex_unlock(&s->mutex);
                run_piece(s, p);
                if (s->log_only) kv_lmdb_unload(s->kv);
                closed = p->kind == PIECE_CLOSE;
                pthread_mutex_lock(&s->mutex);
                list_push_back(&s->done, &p->link);
                pthread_cond_signal(&s->done_cond);
                uv_async_send(&s->async);
        }
        pthread_mutex_unlock(&s->mutex);
        return NULL;
}
