/* The durable store, see store_lmdb.h.
 *
 * Happy path: submit queues a piece; the writer thread carries it out as one synced transaction and puts it
 * on the done list; uv_async brings it to the loop, where its callback runs. Failures: an error of a piece is
 * kept in `broken`, and every later piece fails with it untried. A damaged snapshot chunk is the sender's
 * fault and breaks nothing. A piece for which there is no room waits, and is tried anew from its beginning:
 * the library gave up its transaction, so nothing of it counts, and nothing that it wrote lies in a page that
 * a committed one uses. Idle, the writer empties the state that is not current any more, a bounded number
 * of rows at a time. */
#include "raftctl/store_lmdb.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "raftctl/job_internal.h"
#include "raftctl/log_only.h"
#include "raftctl/snapshot.h"
#include "raftctl/store_lmdb_internal.h"
#include "wire/base/list.h"

enum { CLEAR_ROWS = 4096, ROOM_AGE_MS = 1000, ROOM_TRY_MS = 200 };

enum piece_kind { PIECE_JOB, PIECE_INSTALL_BEGIN, PIECE_INSTALL_CHUNK, PIECE_CLOSE };
struct piece {
        struct list link;
        enum piece_kind kind;
        int err;
        struct store_job *job;
        uint8_t *chunk;
        size_t chunk_n;
        void (*cb)(void *arg, int err);
        void (*closed_cb)(void *arg);
        void *arg;
};
struct store_lmdb {
        struct store store;
        struct kv_lmdb *kv;
        int lock_fd, seq_fd;
        uint64_t reserve_bytes;
        unsigned room_try_ms;
        bool log_only;

        /* loop thread */
        uv_loop_t *loop;
        uv_async_t async;
        bool loaded; /* a job before load would not know the log */
        bool closing;
        uint64_t room_asked_ms;
        void (*closed_cb)(void *arg);
        void *closed_arg;

        /* both, under mutex */
        pthread_mutex_t mutex;
        pthread_cond_t todo_cond, done_cond, leave_cond;
        struct list todo, done;
        size_t pending_n; /* pieces queued and not yet called back */
        bool room_wanted;
        bool leaving; /* what waits for room fails at once */

        /* writer thread; load sets it up before the first piece */
        pthread_t writer;
        uint64_t log_first, log_last, snapshot_index;
        int broken;
        bool spare_dirty; /* the other state holds rows that nobody needs */
        struct snapshot_parser parser;
        struct buf scratch;

        atomic_bool full, waiting;
};

static struct store_lmdb *lmdb_of(struct store *s) { return container_of(s, struct store_lmdb, store); }

static enum member_db other(enum member_db db) { return db == DB_STATE0 ? DB_STATE1 : DB_STATE0; }

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
        if (job->install) current = other(current);
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
        *ret_spare = other(*ret_spare);
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

static void measure_room(struct store_lmdb *s)
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
        measure_room(s);
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
                if (room) measure_room(s);
                if (clear) clear_idle(s);
                pthread_mutex_lock(&s->mutex);
        }
}

static void *writer_main(void *arg)
{
        struct store_lmdb *s = arg;
        bool closed = false;
        pthread_mutex_lock(&s->mutex);
        while (!closed) {
                struct piece *p = next_piece(s);
                list_remove(&p->link);
                pthread_mutex_unlock(&s->mutex);
                run_piece(s, p);
                closed = p->kind == PIECE_CLOSE;
                pthread_mutex_lock(&s->mutex);
                list_push_back(&s->done, &p->link);
                pthread_cond_signal(&s->done_cond);
                uv_async_send(&s->async);
        }
        pthread_mutex_unlock(&s->mutex);
        return NULL;
}

/* ---- loop: completions ---- */

static void store_free(struct store_lmdb *s)
{
        kv_lmdb_close(s->kv);
        if (s->seq_fd >= 0) close(s->seq_fd);
        close(s->lock_fd);
        pthread_mutex_destroy(&s->mutex);
        pthread_cond_destroy(&s->todo_cond);
        pthread_cond_destroy(&s->done_cond);
        pthread_cond_destroy(&s->leave_cond);
        buf_done(&s->scratch);
        free(s);
}

static void on_async_closed(uv_handle_t *h)
{
        struct store_lmdb *s = container_of(h, struct store_lmdb, async);
        void (*cb)(void *arg) = s->closed_cb;
        void *arg = s->closed_arg;
        store_free(s);
        if (cb != NULL) cb(arg);
}

/* Runs one callback that is due; false = none. */
static bool deliver(struct store_lmdb *s)
{
        pthread_mutex_lock(&s->mutex);
        struct piece *p = list_empty(&s->done) ? NULL : list_first(&s->done, struct piece, link);
        if (p != NULL) {
                list_remove(&p->link);
                s->pending_n--;
        }
        pthread_mutex_unlock(&s->mutex);
        if (p == NULL) return false;
        struct piece call = *p;
        free(p->chunk);
        free(p);
        switch (call.kind) {
        case PIECE_JOB: call.job->done_cb(call.job, call.err); return true;
        case PIECE_INSTALL_BEGIN:
        case PIECE_INSTALL_CHUNK: call.cb(call.arg, call.err); return true;
        case PIECE_CLOSE: break;
        }
        pthread_join(s->writer, NULL);
        s->closed_cb = call.closed_cb;
        s->closed_arg = call.arg;
        uv_close((uv_handle_t *)&s->async, on_async_closed);
        return false;
}

static void on_async(uv_async_t *h)
{
        struct store_lmdb *s = container_of(h, struct store_lmdb, async);
        while (deliver(s)) {
        }
}

static void enqueue(struct store_lmdb *s, struct piece piece)
{
        struct piece *p = xmemdup(&piece, sizeof piece);
        assert(!s->closing);
        s->closing = p->kind == PIECE_CLOSE;
        pthread_mutex_lock(&s->mutex);
        list_push_back(&s->todo, &p->link);
        s->pending_n++;
        if (s->closing) s->leaving = true;
        if (s->closing) pthread_cond_signal(&s->leave_cond);
        pthread_cond_signal(&s->todo_cond);
        pthread_mutex_unlock(&s->mutex);
}

/* ---- struct store ---- */

static void lmdb_submit(struct store *store, struct store_job *job)
{
        assert(lmdb_of(store)->loaded);
        enqueue(lmdb_of(store), (struct piece){ .kind = PIECE_JOB, .job = job });
}

static void lmdb_install_begin(struct store *store, void (*cb)(void *arg, int err), void *arg)
{
        enqueue(lmdb_of(store), (struct piece){ .kind = PIECE_INSTALL_BEGIN, .cb = cb, .arg = arg });
}

static void lmdb_install_chunk(
        struct store *store, struct blob chunk, void (*cb)(void *arg, int err), void *arg)
{
        enqueue(lmdb_of(store), (struct piece){ .kind = PIECE_INSTALL_CHUNK,
                                        .chunk = xmemdup(chunk.p, chunk.n),
                                        .chunk_n = chunk.n,
                                        .cb = cb,
                                        .arg = arg });
}

static void lmdb_close(struct store *store, void (*cb)(void *arg), void *arg)
{
        enqueue(lmdb_of(store), (struct piece){ .kind = PIECE_CLOSE, .closed_cb = cb, .arg = arg });
}

static void lmdb_drain(struct store *store)
{
        struct store_lmdb *s = lmdb_of(store);
        for (;;) {
                pthread_mutex_lock(&s->mutex);
                bool idle = s->pending_n == 0;
                s->leaving = !idle;
                pthread_cond_signal(&s->leave_cond);
                while (!idle && list_empty(&s->done)) pthread_cond_wait(&s->done_cond, &s->mutex);
                s->leaving = false;
                pthread_mutex_unlock(&s->mutex);
                if (idle || !deliver(s)) return;
        }
}

/* Never blocks: the writer measures, at most once a second, what the next call then says. */
static bool lmdb_is_full(struct store *store)
{
        struct store_lmdb *s = lmdb_of(store);
        uint64_t now_ms = uv_now(s->loop);
        if (now_ms - s->room_asked_ms >= ROOM_AGE_MS) {
                s->room_asked_ms = now_ms;
                pthread_mutex_lock(&s->mutex);
                s->room_wanted = true;
                pthread_cond_signal(&s->todo_cond);
                pthread_mutex_unlock(&s->mutex);
        }
        return atomic_load(&s->full) || atomic_load(&s->waiting);
}

int store_lmdb_read_begin(struct store *store, struct tx **ret)
{
        struct kv_lmdb_txn *t;
        enum member_db current;
        int err = kv_lmdb_read(lmdb_of(store)->kv, &t);
        if (err != 0) return err;
        err = member_current(kv_lmdb_tx(t, DB_META), &current);
        if (err != 0) {
                kv_lmdb_end(t);
                return err;
        }
        *ret = kv_lmdb_tx(t, current);
        return 0;
}

static bool lmdb_is_damaged(struct store *store) { return kv_lmdb_damaged(lmdb_of(store)->kv); }

static void lmdb_read_end(struct store *store, struct tx *tx)
{
        (void)store;
        kv_lmdb_end(kv_lmdb_txn_of(tx));
}

static int copy_entry(const struct log_entry *e, struct arena *a, struct log_entry *ret)
{
        uint8_t *p = arena_try(a, e->data.n + 1);
        if (p == NULL) return E_LIMIT;
        if (e->data.n != 0) memcpy(p, e->data.p, e->data.n);
        *ret = *e;
        ret->data = BLOB(p, e->data.n);
        return 0;
}

static int lmdb_read_log(struct store *store, uint64_t from, uint64_t to, size_t max_bytes, struct arena *a,
        struct log_entry **ret_entries, uint32_t *ret_n)
{
        enum { ENTRIES_MAX = 4096 };
        struct kv_lmdb_txn *t;
        struct tx_cursor c;
        struct log_entry e;
        if (to < from) return E_NOT_FOUND;
        uint32_t n = 0, max_n = (uint32_t)MIN(to - from + 1, (uint64_t)ENTRIES_MAX);
        struct log_entry *out = arena_array(a, struct log_entry, max_n);
        if (out == NULL) return E_LIMIT;
        int err = kv_lmdb_read(lmdb_of(store)->kv, &t);
        if (err != 0) return err;
        struct tx *log = kv_lmdb_tx(t, DB_LOG);
        size_t bytes = 0;
        for (err = member_log_seek(log, &c, from, &e); err == 0 && n < max_n;
                err = member_log_next(log, &c, &e)) {
                if (e.index != from + n) {
                        err = n == 0 ? E_NOT_FOUND : E_CORRUPT;
                        break;
                }
                if (n > 0 && bytes + e.data.n > max_bytes) break;
                err = copy_entry(&e, a, &out[n]);
                if (err != 0) break;
                bytes += e.data.n;
                n++;
        }
        tx_close(log, &c);
        kv_lmdb_end(t);
        if (err != 0 && (err != E_NOT_FOUND || n == 0)) return err;
        *ret_entries = out;
        *ret_n = n;
        return 0;
}

/* ---- starting ---- */

static int load_log(struct store_lmdb *s, struct tx *log, struct log_verifier *v, struct arena *a,
        struct store_start *ret, struct fail *f)
{
        struct tx_cursor c;
        struct log_entry e;
        uint64_t cap = 0;
        int err = member_log_seek(log, &c, 0, &e);
        for (; err == 0; err = member_log_next(log, &c, &e)) {
                const char *why = log_verify_row(v, &e);
                if (why != NULL) {
                        err = fail_set(f, E_CORRUPT, "member.mdb: log row %llu: %s",
                                (unsigned long long)e.index, why);
                        break;
                }
                if (ret->entries_n == cap) {
                        cap = cap != 0 ? cap * 2 : 1024;
                        struct log_entry *more = arena_array(a, struct log_entry, cap);
                        if (more == NULL) err = E_LIMIT;
                        if (err == 0 && ret->entries_n != 0)
                                memcpy(more, ret->entries, ret->entries_n * sizeof more[0]);
                        if (err == 0) ret->entries = more;
                }
                if (err == 0) err = copy_entry(&e, a, &ret->entries[ret->entries_n]);
                if (err != 0) break;
                ret->entries_n++;
        }
        tx_close(log, &c);
        if (err == E_NOT_FOUND) {
                s->log_first = v->first;
                s->log_last = v->last;
                return 0;
        }
        if (err == E_LIMIT)
                return fail_set(f, err, "member.mdb: the log exceeds the memory given to load it");
        if (f == NULL || f->err == 0)
                (void)fail_set(f, err, "member.mdb: log row %llu: %s", (unsigned long long)(v->last + 1),
                        err_text(err));
        return err;
}

static int load_in(
        struct store_lmdb *s, struct kv_lmdb_txn *t, struct arena *a, struct store_start *ret, struct fail *f)
{
        struct member_meta meta;
        uint64_t spare_n = 0;
        int err = member_meta_get(kv_lmdb_tx(t, DB_META), &meta);
        if (err != 0) return fail_set(f, err, "member.mdb: meta: %s", err_text(err));
        err = applied_get(kv_lmdb_tx(t, meta.current), &ret->applied);
        if (err != 0)
                return fail_set(
                        f, err, "member.mdb: %s: applied state: %s", member_dbs[meta.current], err_text(err));
        ret->term = meta.term;
        ret->voted_for = meta.voted_for;
        ret->snapshot = meta.snapshot;
        ret->snapshot.conf =
                BLOB(arena_memdup(a, meta.snapshot.conf.p, meta.snapshot.conf.n), meta.snapshot.conf.n);
        struct log_verifier v = { .applied_index = ret->applied.index };
        err = load_log(s, kv_lmdb_tx(t, DB_LOG), &v, a, ret, f);
        if (err != 0) return err;
        const char *why = log_verify_end(&v, &meta, &ret->applied);
        if (why != NULL) return fail_set(f, E_CORRUPT, "member.mdb: %s", why);
        s->snapshot_index = meta.snapshot.index;
        if (v.first == 0) {
                s->log_first = s->snapshot_index + 1;
                s->log_last = s->snapshot_index;
        }
        err = kv_lmdb_count(t, other(meta.current), &spare_n);
        if (!s->parser.started) s->spare_dirty = spare_n != 0; /* else a snapshot is being received into it */
        return err;
}

static int lmdb_load(struct store *store, struct arena *a, struct store_start *ret, struct fail *f)
{
        struct store_lmdb *s = lmdb_of(store);
        struct kv_lmdb_txn *t;
        struct fail local = { 0 };
        *ret = (struct store_start){ 0 };
        int err = kv_lmdb_read(s->kv, &t);
        if (err != 0) return fail_set(f, err, "member.mdb: %s", err_text(err));
        pthread_mutex_lock(&s->mutex); /* the writer idles, but it looks at what is set here */
        assert(s->pending_n == 0);
        err = load_in(s, t, a, ret, &local);
        pthread_cond_signal(&s->todo_cond);
        pthread_mutex_unlock(&s->mutex);
        kv_lmdb_end(t);
        s->loaded = err == 0;
        if (err != 0 && f != NULL) *f = local;
        return err;
}

static const struct store_ops lmdb_ops = {
        .load = lmdb_load,
        .submit = lmdb_submit,
        .read_log = lmdb_read_log,
        .read_begin = store_lmdb_read_begin,
        .read_end = lmdb_read_end,
        .install_begin = lmdb_install_begin,
        .install_chunk = lmdb_install_chunk,
        .is_full = lmdb_is_full,
        .is_damaged = lmdb_is_damaged,
        .close = lmdb_close,
        .drain = lmdb_drain,
};

/* The names of new files must survive a power failure as well. */
static int sync_dir(const char *dir, const char *below, struct fail *f)
{
        char *path = xasprintf("%s%s", dir, below);
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;
        bool foreign =
                fd < 0 && errno == EACCES; /* a parent that is not ours to read: made and synced by others */
        if (!foreign && (fd < 0 || fsync(fd) != 0))
                err = fail_set(f, E_STORAGE, "%s: %s", path, strerror(errno));
        if (fd >= 0) close(fd);
        free(path);
        return err;
}

/* A new store is made under another name: it is there as a whole or not at all. */
static int make_new(const struct kv_lmdb_config *config, bool log_only, struct fail *f)
{
        struct kv_lmdb_config c = *config;
        struct kv_lmdb *kv;
        struct kv_lmdb_txn *t;
        if (access(config->path, F_OK) == 0) return 0;
        char *path = xasprintf("%s.new", config->path), *lock = xasprintf("%s.new-lock", config->path);
        (void)unlink(path); /* of an attempt that was interrupted */
        c.path = path;
        int err = kv_lmdb_open(&c, &kv, f);
        if (err == 0) {
                err = kv_lmdb_write(kv, &t);
                if (err == 0) {
                        (void)member_put_format(kv_lmdb_tx(t, DB_META)); /* sticks */
                        if (log_only) (void)member_put_log_only(kv_lmdb_tx(t, DB_META));
                        err = kv_lmdb_commit(t);
                }
                if (err != 0) (void)fail_set(f, err, "%s: %s", path, err_text(err));
                kv_lmdb_close(kv);
        }
        if (err == 0 && rename(path, config->path) != 0)
                err = fail_set(f, E_STORAGE, "%s: %s", config->path, strerror(errno));
        (void)unlink(lock);
        free(path);
        free(lock);
        return err;
}

/* Checks that the environment is not older than it was, and its format. */
static int prepare(struct store_lmdb *s, const char *dir, struct fail *f)
{
        struct kv_lmdb_txn *t;
        struct member_meta meta;
        int err = member_seq_open(dir, true, &s->seq_fd);
        if (err != 0) return fail_set(f, err, "%s/seq: %s", dir, strerror(errno));
        if (member_seq_get(s->seq_fd) > kv_lmdb_last_txn(s->kv))
                return fail_set(f, E_CORRUPT, "%s/member.mdb: damaged, or replaced by an old copy", dir);
        err = kv_lmdb_read(s->kv, &t);
        if (err == 0) {
                err = member_meta_get(kv_lmdb_tx(t, DB_META), &meta);
                bool used = err == 0 && (meta.term != 0 || meta.snapshot.index != 0);
                kv_lmdb_end(t);
                if (used && meta.log_only && !s->log_only)
                        return fail_set(f, E_CONFIG,
                                "%s holds a witness's log, without the state: start with --witness", dir);
        }
        return err == 0 ? 0 : fail_set(f, err, "%s/member.mdb: %s", dir, err_text(err));
}

static int start_thread(struct store_lmdb *s, uv_loop_t *loop, struct fail *f)
{
        int rv = uv_async_init(loop, &s->async, on_async);
        if (rv != 0) return fail_set(f, rv, "event loop: %s", err_text(rv));
        rv = pthread_create(&s->writer, NULL, writer_main, s);
        if (rv == 0) return 0;
        uv_close((uv_handle_t *)&s->async, on_async_closed); /* frees s */
        return fail_set(f, -rv, "writer thread: %s", strerror(rv));
}

int store_lmdb_open(
        uv_loop_t *loop, const struct store_lmdb_config *config, struct store **ret, struct fail *f)
{
        int lock_fd;
        int err = member_lock(config->dir, true, &lock_fd, f);
        if (err != 0) return err;
        struct store_lmdb *s = xnew(struct store_lmdb);
        s->store.ops = &lmdb_ops;
        s->lock_fd = lock_fd;
        s->seq_fd = -1;
        s->loop = loop;
        s->log_only = config->log_only;
        s->reserve_bytes = config->reserve_bytes != 0 ? config->reserve_bytes : STORE_LMDB_RESERVE_BYTES;
        s->room_try_ms = config->room_try_ms != 0 ? MIN(config->room_try_ms, 999u) : ROOM_TRY_MS;
        pthread_mutex_init(&s->mutex, NULL);
        pthread_cond_init(&s->todo_cond, NULL);
        pthread_cond_init(&s->done_cond, NULL);
        pthread_condattr_t monotonic;
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&s->leave_cond, &monotonic);
        pthread_condattr_destroy(&monotonic);
        list_init(&s->todo);
        list_init(&s->done);
        char *path = xasprintf("%s/member.mdb", config->dir);
        struct kv_lmdb_config kc = {
                .path = path, .dbs = member_dbs, .dbs_n = DB_N, .map_bytes = config->map_bytes
        };
        err = make_new(&kc, config->log_only, f);
        if (err == 0) err = kv_lmdb_open(&kc, &s->kv, f);
        free(path);
        if (err == 0) err = prepare(s, config->dir, f);
        if (err == 0) err = sync_dir(config->dir, "", f);
        if (err == 0) err = sync_dir(config->dir, "/..", f);
        if (err != 0) {
                store_free(s);
                return err;
        }
        measure_room(s);
        err = start_thread(s, loop, f);
        if (err == 0) *ret = &s->store;
        return err;
}

/* ---- identity ---- */

int store_lmdb_identity(struct store *store, struct store_identity *ret)
{
        struct kv_lmdb_txn *t;
        struct member_meta meta;
        int err = kv_lmdb_read(lmdb_of(store)->kv, &t);
        if (err != 0) return err;
        err = member_meta_get(kv_lmdb_tx(t, DB_META), &meta);
        kv_lmdb_end(t);
        if (err == 0) *ret = meta.identity;
        return err;
}

int store_lmdb_set_identity(struct store *store, const struct store_identity *identity)
{
        struct kv_lmdb_txn *t;
        struct store_identity old;
        int err = store_lmdb_identity(store, &old);
        if (err != 0) return err;
        bool same =
                old.member_id == identity->member_id && strcmp(old.cluster_uuid, identity->cluster_uuid) == 0;
        if (same) return 0;
        if (old.member_id != 0) return E_EXISTS;
        err = kv_lmdb_write(lmdb_of(store)->kv, &t);
        if (err != 0) return err;
        (void)member_put_identity(kv_lmdb_tx(t, DB_META), identity); /* sticks */
        return kv_lmdb_commit(t);
}
