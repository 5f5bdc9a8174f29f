/* The store in memory, see store_mem.h. Durable content on one side, a queue of pieces of work on the other;
 * a piece moves to the durable side as a whole, or not at all. */
#include "raftctl/store_mem.h"

#include <stdlib.h>
#include <string.h>

#include "raftctl/job_internal.h"
#include "raftctl/log_only.h"
#include "raftctl/snapshot.h"
#include "state/checksum.h"
#include "state/kv_mem.h"
#include "wire/base/list.h"
#include "wire/base/sodium_once.h"

struct row {
        uint64_t term, sum;
        uint8_t *data;
        size_t n;
        uint8_t type;
};
struct disk { /* what survives a crash */
        uint64_t term, voted_for;
        struct snapshot_meta snapshot; /* conf is owned */
        uint64_t first;                /* index of rows[0] */
        struct row *rows;
        size_t rows_n, rows_cap;
        struct kv_mem *kv[2];
        unsigned current;
};
enum piece_kind { PIECE_JOB, PIECE_INSTALL_BEGIN, PIECE_INSTALL_CHUNK, PIECE_CLOSE };
struct piece {
        struct list link;
        enum piece_kind kind;
        bool done; /* durable or failed: only the callback is due */
        int err;
        struct store_job *job;
        uint8_t *chunk;
        size_t chunk_n;
        void (*cb)(void *arg, int err);
        void (*closed_cb)(void *arg);
        void *arg;
};
struct store_mem {
        struct store store;
        struct disk disk;
        struct list queue;
        size_t queue_n;
        bool down;  /* crashed, not loaded since: the dying user's calls count for nothing */
        int broken; /* an error happened: everything fails until load */
        bool full, log_only;
        struct snapshot_parser parser;
        struct tx **views;
        size_t views_n, views_cap;
        uint64_t syncs_n;
        void (*wakeup_cb)(void *arg);
        void *wakeup_arg;
};

static struct store_mem *mem_of(struct store *s) { return container_of(s, struct store_mem, store); }

/* ---- the log ---- */

static uint64_t row_sum(uint64_t index, const struct row *r)
{
        uint64_t key[3] = { index, r->term, r->type };
        return checksum64(BLOB(key, sizeof key), BLOB(r->data, r->n));
}

static uint64_t log_last(const struct disk *d)
{
        return d->rows_n != 0 ? d->first + d->rows_n - 1 : d->snapshot.index;
}

static void log_append(struct disk *d, const struct log_entry *e)
{
        if (d->rows_n == d->rows_cap) {
                d->rows_cap = d->rows_cap != 0 ? d->rows_cap * 2 : 64;
                d->rows = xrealloc(d->rows, d->rows_cap * sizeof d->rows[0]);
        }
        if (d->rows_n == 0) d->first = e->index;
        struct row *r = &d->rows[d->rows_n++];
        *r = (struct row){ .term = e->term, .type = e->type, .n = e->data.n };
        r->data = xmemdup(e->data.p, e->data.n);
        r->sum = row_sum(e->index, r);
}

/* Keeps rows with from <= index < to. */
static void log_keep(struct disk *d, uint64_t from, uint64_t to)
{
        size_t kept = 0;
        uint64_t first = d->first;
        for (size_t i = 0; i < d->rows_n; i++) {
                uint64_t index = d->first + i;
                if (index < from || index >= to) {
                        free(d->rows[i].data);
                        continue;
                }
                if (kept == 0) first = index;
                d->rows[kept++] = d->rows[i];
        }
        d->first = first;
        d->rows_n = kept;
}

static struct row *log_row(const struct disk *d, uint64_t index)
{
        if (d->rows_n == 0 || index < d->first || index - d->first >= d->rows_n) return NULL;
        return &d->rows[index - d->first];
}

static void set_snapshot(struct disk *d, const struct snapshot_meta *meta)
{
        uint8_t *conf = xmemdup(meta->conf.p, meta->conf.n);
        free((void *)d->snapshot.conf.p);
        d->snapshot = *meta;
        d->snapshot.conf = BLOB(conf, meta->conf.n);
}

/* ---- making pieces durable ---- */

static int read_applied(struct kv_mem *kv, struct applied *ret)
{
        struct tx *tx = kv_mem_read(kv);
        int err = applied_get(tx, ret);
        kv_mem_end(tx);
        return err;
}

static int commit_job(struct store_mem *m, struct store_job *job)
{
        struct disk *d = &m->disk;
        unsigned target = job->install ? 1 - d->current : d->current;
        uint64_t last;
        if (m->full && job->entries_n != 0) return E_NO_SPACE;
        if (job->install && !m->parser.finished) return E_INVALID;
        int err = read_applied(d->kv[target], &job->applied);
        if (err != 0) return err;
        if (job->install && job->applied.term != job->snapshot.term) return E_INVALID;
        if (job->install) {
                struct tx *tx = kv_mem_read(d->kv[target]);
                err = job_level(job, tx);
                kv_mem_end(tx);
                if (err != 0) return err;
        }
        struct job_log log = { .first = d->first, .last = log_last(d), .snapshot_index = d->snapshot.index };
        err = job_check(job, &log, job->applied.index, &last);
        if (err != 0) return err;
        if (job->apply_n != 0) {
                struct tx *tx = kv_mem_write(d->kv[target]);
                err = tx_fail(tx, job_apply(job, tx, m->log_only, &job->applied));
                int commit_err = kv_mem_commit(tx);
                if (err == 0) err = commit_err;
                if (err != 0) return err;
        }
        /* nothing below can fail */
        if (job->set_vote) {
                d->term = job->term;
                d->voted_for = job->voted_for;
        }
        if (job->install) {
                log_keep(d, 0, 0);
                kv_mem_clear(d->kv[d->current]);
                d->current = target;
                m->parser.finished = false;
        }
        if (job->truncate_from != 0) log_keep(d, 0, job->truncate_from);
        for (uint32_t i = 0; i < job->entries_n; i++) log_append(d, &job->entries[i]);
        if (job->set_snapshot) set_snapshot(d, &job->snapshot);
        if (job->trim_to != 0) log_keep(d, job->trim_to + 1, UINT64_MAX);
        return 0;
}

static int install_pair(void *arg, struct blob key, struct blob value) { return tx_put(arg, key, value); }

static int install_kept_pair(void *arg, struct blob key, struct blob value)
{
        return log_only_keeps(key) ? tx_put(arg, key, value) : 0;
}

static int commit_chunk(struct store_mem *m, struct blob chunk)
{
        struct tx *tx = kv_mem_write(m->disk.kv[1 - m->disk.current]);
        int err = snapshot_parse(&m->parser, chunk, m->log_only ? install_kept_pair : install_pair, tx);
        if (err != 0) {
                kv_mem_end(tx);
                return err;
        }
        return kv_mem_commit(tx);
}

static int commit_piece(struct store_mem *m, struct piece *p)
{
        switch (p->kind) {
        case PIECE_JOB: return commit_job(m, p->job);
        case PIECE_INSTALL_BEGIN:
                kv_mem_clear(m->disk.kv[1 - m->disk.current]);
                snapshot_parser_init(&m->parser);
                return 0;
        case PIECE_INSTALL_CHUNK: return commit_chunk(m, BLOB(p->chunk, p->chunk_n));
        case PIECE_CLOSE: return 0;
        }
        return E_INVALID;
}

/* A damaged chunk is the sender's fault and ends only that transfer; everything else ends the member. */
static bool is_fatal(const struct piece *p, int err)
{
        return err != 0 && !(p->kind == PIECE_INSTALL_CHUNK && (err == E_CORRUPT || err == E_FORMAT));
}

/* ---- struct store ---- */

static int copy_row(uint64_t index, const struct row *r, struct arena *a, struct log_entry *ret)
{
        *ret = (struct log_entry){ .index = index, .term = r->term, .type = r->type };
        if (row_sum(index, r) != r->sum) return E_CORRUPT;
        uint8_t *p = arena_try(a, r->n + 1);
        if (p == NULL) return E_LIMIT;
        memcpy(p, r->data, r->n);
        ret->data = BLOB(p, r->n);
        return 0;
}

static int mem_load(struct store *s, struct arena *a, struct store_start *ret, struct fail *f)
{
        struct store_mem *m = mem_of(s);
        const struct disk *d = &m->disk;
        m->down = false;
        m->broken = 0;
        *ret = (struct store_start){ .term = d->term, .voted_for = d->voted_for, .snapshot = d->snapshot };
        ret->snapshot.conf =
                BLOB(arena_memdup(a, d->snapshot.conf.p, d->snapshot.conf.n), d->snapshot.conf.n);
        int err = read_applied(d->kv[d->current], &ret->applied);
        if (err != 0) return fail_set(f, err, "memory store: applied state");
        if (d->rows_n == 0) return 0;
        ret->entries = arena_array(a, struct log_entry, d->rows_n);
        if (ret->entries == NULL) return fail_set(f, E_LIMIT, "memory store: the log exceeds the arena");
        for (size_t i = 0; i < d->rows_n; i++) {
                err = copy_row(d->first + i, &d->rows[i], a, &ret->entries[i]);
                if (err != 0)
                        return fail_set(
                                f, err, "memory store: log row %llu", (unsigned long long)(d->first + i));
                ret->entries_n++;
        }
        return 0;
}

static struct piece *enqueue(struct store_mem *m, enum piece_kind kind)
{
        struct piece *p = xnew(struct piece);
        p->kind = kind;
        list_push_back(&m->queue, &p->link);
        if (m->queue_n++ == 0 && m->wakeup_cb != NULL) m->wakeup_cb(m->wakeup_arg);
        return p;
}

static void mem_submit(struct store *s, struct store_job *job)
{
        struct store_mem *m = mem_of(s);
        if (m->down) return;
        enqueue(m, PIECE_JOB)->job = job;
}

static void mem_install_begin(struct store *s, void (*cb)(void *arg, int err), void *arg)
{
        struct store_mem *m = mem_of(s);
        if (m->down) return;
        struct piece *p = enqueue(m, PIECE_INSTALL_BEGIN);
        p->cb = cb;
        p->arg = arg;
}

static void mem_install_chunk(struct store *s, struct blob chunk, void (*cb)(void *arg, int err), void *arg)
{
        struct store_mem *m = mem_of(s);
        if (m->down) return;
        struct piece *p = enqueue(m, PIECE_INSTALL_CHUNK);
        p->chunk = xmemdup(chunk.p, chunk.n);
        p->chunk_n = chunk.n;
        p->cb = cb;
        p->arg = arg;
}

static void mem_close(struct store *s, void (*cb)(void *arg), void *arg)
{
        struct store_mem *m = mem_of(s);
        if (m->down) return;
        struct piece *p = enqueue(m, PIECE_CLOSE);
        p->closed_cb = cb;
        p->arg = arg;
}

static int mem_read_log(struct store *s, uint64_t from, uint64_t to, size_t max_bytes, struct arena *a,
        struct log_entry **ret_entries, uint32_t *ret_n)
{
        const struct disk *d = &mem_of(s)->disk;
        if (log_row(d, from) == NULL || to < from) return E_NOT_FOUND;
        uint64_t n = MIN(to - from + 1, d->first + d->rows_n - from);
        struct log_entry *out = arena_array(a, struct log_entry, n);
        if (out == NULL) return E_LIMIT;
        size_t bytes = 0;
        uint32_t i = 0;
        for (; i < n; i++) {
                const struct row *r = log_row(d, from + i);
                if (i > 0 && bytes + r->n > max_bytes) break;
                int err = copy_row(from + i, r, a, &out[i]);
                if (err != 0) return err;
                bytes += r->n;
        }
        *ret_entries = out;
        *ret_n = i;
        return 0;
}

static int mem_read_begin(struct store *s, struct tx **ret_tx)
{
        struct store_mem *m = mem_of(s);
        if (m->views_n == m->views_cap) {
                m->views_cap = m->views_cap != 0 ? m->views_cap * 2 : 8;
                m->views = xrealloc(m->views, m->views_cap * sizeof m->views[0]);
        }
        *ret_tx = m->views[m->views_n++] = kv_mem_read(m->disk.kv[m->disk.current]);
        return 0;
}

/* A view that a crash has ended already is ignored. */
static void mem_read_end(struct store *s, struct tx *tx)
{
        struct store_mem *m = mem_of(s);
        for (size_t i = 0; i < m->views_n; i++) {
                if (m->views[i] != tx) continue;
                m->views[i] = m->views[--m->views_n];
                kv_mem_end(tx);
                return;
        }
}

static bool mem_is_full(struct store *s) { return mem_of(s)->full; }

static void mem_drain(struct store *s) { store_mem_run(mem_of(s)); }

static const struct store_ops mem_ops = {
        .load = mem_load,
        .submit = mem_submit,
        .read_log = mem_read_log,
        .read_begin = mem_read_begin,
        .read_end = mem_read_end,
        .install_begin = mem_install_begin,
        .install_chunk = mem_install_chunk,
        .is_full = mem_is_full,
        .close = mem_close,
        .drain = mem_drain,
};

/* ---- the owner's side ---- */

struct store_mem *store_mem_new(void)
{
        struct store_mem *m = xnew(struct store_mem);
        sodium_once();
        m->store.ops = &mem_ops;
        list_init(&m->queue);
        m->disk.kv[0] = kv_mem_new();
        m->disk.kv[1] = kv_mem_new();
        return m;
}

void store_mem_free(struct store_mem *m)
{
        if (m == NULL) return;
        assert(list_empty(&m->queue) && m->views_n == 0);
        log_keep(&m->disk, 0, 0);
        free(m->disk.rows);
        free((void *)m->disk.snapshot.conf.p);
        kv_mem_free(m->disk.kv[0]);
        kv_mem_free(m->disk.kv[1]);
        free(m->views);
        free(m);
}

struct store *store_mem_store(struct store_mem *m) { return &m->store; }

void store_mem_set_wakeup(struct store_mem *m, void (*cb)(void *arg), void *arg)
{
        m->wakeup_cb = cb;
        m->wakeup_arg = arg;
}

size_t store_mem_pending(const struct store_mem *m) { return m->queue_n; }

static struct piece *next_volatile(const struct store_mem *m)
{
        LIST_FOREACH(it, &m->queue)
        {
                struct piece *p = container_of(it, struct piece, link);
                if (!p->done) return p;
        }
        return NULL;
}

size_t store_mem_next_bytes(const struct store_mem *m)
{
        const struct piece *p = next_volatile(m);
        if (p == NULL) return 0;
        size_t bytes = p->chunk_n;
        for (uint32_t i = 0; p->job != NULL && i < p->job->entries_n; i++) bytes += p->job->entries[i].data.n;
        return bytes;
}

bool store_mem_commit(struct store_mem *m, int err)
{
        struct piece *p = next_volatile(m);
        if (p == NULL) return false;
        if (err == 0) err = m->broken;
        if (err == 0) {
                err = commit_piece(m, p);
                m->syncs_n++;
        }
        p->done = true;
        p->err = err;
        if (m->broken == 0 && is_fatal(p, err)) m->broken = err;
        return true;
}

static void piece_free(struct store_mem *m, struct piece *p)
{
        list_remove(&p->link);
        m->queue_n--;
        free(p->chunk);
        free(p);
}

bool store_mem_deliver(struct store_mem *m)
{
        if (list_empty(&m->queue)) return false;
        struct piece *p = list_first(&m->queue, struct piece, link);
        if (!p->done) return false;
        struct piece call = *p; /* the callback may queue more, or crash the store */
        piece_free(m, p);
        switch (call.kind) {
        case PIECE_JOB: call.job->done_cb(call.job, call.err); break;
        case PIECE_INSTALL_BEGIN:
        case PIECE_INSTALL_CHUNK: call.cb(call.arg, call.err); break;
        case PIECE_CLOSE: call.closed_cb(call.arg); break;
        }
        return true;
}

bool store_mem_step(struct store_mem *m)
{
        if (list_empty(&m->queue)) return false;
        if (!list_first(&m->queue, struct piece, link)->done) (void)store_mem_commit(m, 0);
        return store_mem_deliver(m);
}

void store_mem_run(struct store_mem *m)
{
        while (store_mem_step(m)) {
        }
}

void store_mem_crash(struct store_mem *m, bool (*keep)(void *arg), void *arg)
{
        while (next_volatile(m) != NULL && keep != NULL && keep(arg)) (void)store_mem_commit(m, 0);
        while (!list_empty(&m->queue)) piece_free(m, list_first(&m->queue, struct piece, link));
        while (m->views_n > 0) kv_mem_end(m->views[--m->views_n]);
        m->parser = (struct snapshot_parser){ 0 };
        m->down = true;
}

void store_mem_set_log_only(struct store_mem *m) { m->log_only = true; }

void store_mem_set_full(struct store_mem *m, bool full) { m->full = full; }

bool store_mem_damage_log(struct store_mem *m, uint64_t index)
{
        struct row *r = log_row(&m->disk, index);
        if (r != NULL) r->sum ^= 1;
        return r != NULL;
}

uint64_t store_mem_first_index(const struct store_mem *m)
{
        return m->disk.rows_n != 0 ? m->disk.first : m->disk.snapshot.index + 1;
}

uint64_t store_mem_last_index(const struct store_mem *m) { return log_last(&m->disk); }

uint64_t store_mem_term_of(const struct store_mem *m, uint64_t index)
{
        const struct row *r = log_row(&m->disk, index);
        return r != NULL ? r->term : 0;
}

struct applied store_mem_applied(const struct store_mem *m)
{
        struct applied ap = { 0 };
        (void)read_applied(m->disk.kv[m->disk.current], &ap);
        return ap;
}

uint64_t store_mem_sync_count(const struct store_mem *m) { return m->syncs_n; }
