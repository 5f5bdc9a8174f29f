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

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "raftctl/store_lmdb_parts.h"

enum { ROOM_AGE_MS = 1000 };

/* ---- loop: completions ---- */

void store_free(struct store_lmdb *s)
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

void store_on_async_closed(uv_handle_t *h)
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
        uv_close((uv_handle_t *)&s->async, store_on_async_closed);
        return false;
}

void store_on_async(uv_async_t *h)
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

int store_copy_entry(const struct log_entry *e, struct arena *a, struct log_entry *ret)
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
                err = store_copy_entry(&e, a, &out[n]);
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

const struct store_ops store_lmdb_ops = {
        .load = store_lmdb_load,
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
