/* See store_bed.h. */
#include "tests/lib/store_bed.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "state/overlay.h"
#include "wire/codec/codec.h"
#include "wire/def/types.h"

uint32_t rng_state;
uint32_t rnd(uint32_t n)
{
        rng_state ^= rng_state << 13;
        rng_state ^= rng_state >> 17;
        rng_state ^= rng_state << 5;
        return rng_state % n;
}

/* ---- a store of either kind ---- */

void remove_dir(const char *dir)
{
        DIR *d = opendir(dir);
        if (d == NULL) return;
        for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
                char path[512];
                snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
                (void)unlink(path);
        }
        closedir(d);
        (void)rmdir(dir);
}

int bed_try_open(struct bed *b, struct fail *f)
{
        if (!b->lmdb) {
                if (b->mem == NULL) b->mem = store_mem_new();
                b->s = store_mem_store(b->mem);
                return 0;
        }
        assert_int_equal(uv_loop_init(&b->loop), 0);
        struct store_lmdb_config config = {
                .dir = b->dir, .map_bytes = UINT64_C(1) << 30, .reserve_bytes = 1, .room_try_ms = 1
        };
        int err = store_lmdb_open(&b->loop, &config, &b->s, f);
        if (err != 0) assert_int_equal(uv_loop_close(&b->loop), 0);
        return err;
}

void bed_open(struct bed *b)
{
        struct fail f = { 0 };
        if (bed_try_open(b, &f) != 0) fail_msg("open: %s", f.text);
}

void bed_init(struct bed *b, bool lmdb)
{
        *b = (struct bed){ .lmdb = lmdb };
        if (lmdb) {
                snprintf(b->dir, sizeof b->dir, "/tmp/test_store.XXXXXX");
                assert_non_null(mkdtemp(b->dir));
        }
        bed_open(b);
}

static void on_closed(void *arg) { ++*(unsigned *)arg; }

void bed_close(struct bed *b)
{
        b->closed_n = 0;
        b->s->ops->close(b->s, on_closed, &b->closed_n);
        if (b->lmdb) {
                uv_run(&b->loop, UV_RUN_DEFAULT);
                assert_int_equal(uv_loop_close(&b->loop), 0);
        } else {
                store_mem_run(b->mem);
        }
        assert_int_equal(b->closed_n, 1);
        b->s = NULL;
}

void bed_done(struct bed *b)
{
        if (b->s != NULL) bed_close(b);
        if (b->lmdb) remove_dir(b->dir);
        store_mem_free(b->mem);
}

void on_job(struct store_job *job, int err) { *(int *)job->data = err; }

int run_job(struct bed *b, struct store_job *job)
{
        int result = 1;
        job->data = &result;
        job->done_cb = on_job;
        b->s->ops->submit(b->s, job);
        b->s->ops->drain(b->s);
        assert_int_not_equal(result, 1);
        return result;
}

/* ---- entries ---- */

/* The write-set of index: some puts, some deletes, the same for the same arguments. */
struct log_entry make_entry(struct arena *a, uint64_t index, uint64_t term, uint64_t base)
{
        static struct kv_mem *empty;
        if (empty == NULL) empty = kv_mem_new();
        struct tx *tx = kv_mem_read(empty);
        struct overlay *o = overlay_new(tx);
        for (unsigned i = 0; i < 4; i++) {
                char name[32], text[64];
                const char *kv[] = { "text", text };
                struct buf key = { 0 }, value = { 0 };
                struct kvs row = { 0 };
                snprintf(name, sizeof name, "key%04u", (unsigned)((index * 7 + i * 31 + term) % 300));
                snprintf(text, sizeof text, "value of %llu in %llu", (unsigned long long)index,
                        (unsigned long long)term);
                SET(&row, kvs, name, name);
                SET(&row, kvs, props, ((struct strmap){ kv, 1 }));
                enc_key(&kvs_type, &row, &key);
                assert_int_equal(enc_msgpack(&kvs_type, &row, &value), 0);
                if (i == 3) overlay_load_del(o, buf_blob(&key));
                else overlay_load_put(o, buf_blob(&key), buf_blob(&value));
                buf_done(&key);
                buf_done(&value);
        }
        struct buf out = { 0 };
        assert_int_equal(writeset_encode(o, base, &out), 0);
        struct log_entry e = { .index = index, .term = term, .type = LOG_COMMAND };
        e.data = BLOB(arena_memdup(a, out.p, out.n), out.n);
        buf_done(&out);
        overlay_free(o);
        kv_mem_end(tx);
        return e;
}

void assert_same_entry(const struct log_entry *a, const struct log_entry *b)
{
        assert_int_equal(a->index, b->index);
        assert_int_equal(a->term, b->term);
        assert_int_equal(a->type, b->type);
        assert_int_equal(blob_cmp(a->data, b->data), 0);
}

void assert_same_applied(const struct applied *a, const struct applied *b)
{
        assert_int_equal(a->index, b->index);
        assert_int_equal(a->term, b->term);
        assert_int_equal(a->writeset_index, b->writeset_index);
        assert_memory_equal(a->hash, b->hash, 32);
}

void assert_same_content(struct tx *a, struct tx *b)
{
        struct tx_cursor ca, cb;
        int ea = tx_seek(a, &ca, BLOB("\0", 1)), eb = tx_seek(b, &cb, BLOB("\0", 1));
        while (ea == 0 && eb == 0) {
                assert_int_equal(blob_cmp(ca.key, cb.key), 0);
                assert_int_equal(blob_cmp(ca.value, cb.value), 0);
                ea = tx_next(a, &ca);
                eb = tx_next(b, &cb);
        }
        assert_int_equal(ea, E_NOT_FOUND);
        assert_int_equal(eb, E_NOT_FOUND);
        tx_close(a, &ca);
        tx_close(b, &cb);
}

/* ---- the reference ---- */

struct model *model_new(void)
{
        struct model *m = xnew(struct model);
        m->first = 1;
        m->term = 1;
        m->arena.limit_bytes = (size_t)1 << 30;
        m->state = kv_mem_new();
        return m;
}

void model_free(struct model *m)
{
        kv_mem_free(m->state);
        arena_done(&m->arena);
        free(m);
}

static uint64_t base_of(const struct model *m, uint64_t index)
{
        for (uint64_t i = index - 1; i > m->applied.index; i--)
                if (m->log[i].type == LOG_COMMAND) return i;
        return m->applied.writeset_index;
}

void model_apply(struct model *m, const struct log_entry *e)
{
        enum apply_result result;
        struct tx *tx = kv_mem_write(m->state);
        struct blob data = e->type == LOG_COMMAND ? e->data : (struct blob){ 0 };
        assert_int_equal(writeset_apply(tx, e->index, e->term, data, &result), 0);
        assert_int_equal(result, APPLY_DONE);
        assert_int_equal(applied_get(tx, &m->applied), 0);
        assert_int_equal(kv_mem_commit(tx), 0);
}

void expect_state(struct bed *b, struct model *m)
{
        struct tx *tx, *ref = kv_mem_read(m->state);
        assert_int_equal(b->s->ops->read_begin(b->s, &tx), 0);
        assert_same_content(tx, ref);
        b->s->ops->read_end(b->s, tx);
        kv_mem_end(ref);
}

void expect_load(struct bed *b, struct model *m)
{
        struct arena a = { 0 };
        struct store_start st;
        struct fail f = { 0 };
        if (b->s->ops->load(b->s, &a, &st, &f) != 0) fail_msg("load: %s", f.text);
        assert_int_equal(st.term, m->begun ? m->term : 0);
        assert_int_equal(st.voted_for, m->voted_for);
        assert_int_equal(st.snapshot.index, m->snapshot_index);
        assert_int_equal(st.snapshot.term, m->snapshot_term);
        if (m->snapshot_index != 0) assert_memory_equal(st.snapshot.conf.p, "conf", 4);
        assert_same_applied(&st.applied, &m->applied);
        assert_int_equal(st.entries_n, m->last - m->first + 1);
        for (uint64_t i = 0; i < st.entries_n; i++) assert_same_entry(&st.entries[i], &m->log[m->first + i]);
        arena_done(&a);
}

static bool same_state(struct bed *b, struct model *m, int *ret_err)
{
        struct tx *tx, *ref = kv_mem_read(m->state);
        struct tx_cursor c = { 0 }, r = { 0 };
        *ret_err = b->s->ops->read_begin(b->s, &tx);
        if (*ret_err != 0) return false;
        int err = tx_seek(tx, &c, BLOB("\0", 1)), want = tx_seek(ref, &r, BLOB("\0", 1));
        bool same = true;
        while (same && err == 0 && want == 0) {
                same = blob_cmp(c.key, r.key) == 0 && blob_cmp(c.value, r.value) == 0;
                err = tx_next(tx, &c);
                want = tx_next(ref, &r);
        }
        tx_close(tx, &c);
        tx_close(ref, &r);
        b->s->ops->read_end(b->s, tx);
        kv_mem_end(ref);
        *ret_err = err == E_NOT_FOUND ? 0 : err;
        return same && err == want;
}

static bool same_start(const struct store_start *st, const struct model *m)
{
        if (st->term != (m->begun ? m->term : 0) || st->voted_for != m->voted_for) return false;
        if (st->snapshot.index != m->snapshot_index || st->snapshot.term != m->snapshot_term) return false;
        if (st->applied.index != m->applied.index || memcmp(st->applied.hash, m->applied.hash, 32) != 0)
                return false;
        if (st->entries_n != m->last - m->first + 1) return false;
        for (uint64_t i = 0; i < st->entries_n; i++) {
                const struct log_entry *a = &st->entries[i], *b = &m->log[m->first + i];
                if (a->index != b->index || a->term != b->term || a->type != b->type) return false;
                if (blob_cmp(a->data, b->data) != 0) return false;
        }
        return true;
}

int bed_compare(struct bed *b, struct model *m, bool *ret_same)
{
        struct arena a = { 0 };
        struct store_start st;
        int err = b->s->ops->load(b->s, &a, &st, NULL);
        *ret_same = err == 0 && same_start(&st, m);
        if (*ret_same) *ret_same = same_state(b, m, &err);
        arena_done(&a);
        return err == E_CORRUPT || err == E_FORMAT || err == E_STORAGE ? err : 0;
}

void expect_read_log(struct bed *b, struct model *m)
{
        struct arena a = { 0 };
        struct log_entry *e;
        uint32_t n = 0;
        if (m->first > 1)
                assert_int_equal(
                        b->s->ops->read_log(b->s, m->first - 1, m->last, 1000, &a, &e, &n), E_NOT_FOUND);
        assert_int_equal(b->s->ops->read_log(b->s, m->last + 1, m->last + 1, 1000, &a, &e, &n), E_NOT_FOUND);
        if (m->last >= m->first) {
                uint64_t from = m->first + rnd((uint32_t)(m->last - m->first + 1));
                assert_int_equal(b->s->ops->read_log(b->s, from, m->last, rnd(3000), &a, &e, &n), 0);
                assert_true(n >= 1 && n <= m->last - from + 1);
                for (uint32_t i = 0; i < n; i++) assert_same_entry(&e[i], &m->log[from + i]);
        }
        arena_done(&a);
}

struct store_job next_job(struct model *m)
{
        struct store_job job = { 0 };
        if (!m->begun || rnd(6) == 0) {
                m->term += m->begun && rnd(2) == 0;
                m->begun = true;
                m->voted_for = rnd(4);
                job.set_vote = true;
                job.term = m->term;
                job.voted_for = m->voted_for;
        }
        if (m->last > m->applied.index && rnd(8) == 0) {
                job.truncate_from = m->applied.index + 1 + rnd((uint32_t)(m->last - m->applied.index));
                m->last = job.truncate_from - 1;
        }
        uint32_t n = m->last + 6 < ENTRIES_MAX ? rnd(6) : 0;
        job.entries = &m->log[m->last + 1];
        job.entries_n = n;
        for (uint32_t i = 0; i < n; i++) {
                uint64_t index = m->last + 1;
                m->log[index] = make_entry(&m->arena, index, m->term, base_of(m, index));
                if (rnd(10) == 0) m->log[index].type = LOG_BARRIER;
                m->last++;
        }
        if (m->last > m->applied.index && rnd(3) != 0) {
                uint64_t from = m->applied.index + 1;
                job.apply = &m->log[from];
                job.apply_n = 1 + rnd((uint32_t)(m->last - from + 1));
                for (uint32_t i = 0; i < job.apply_n; i++) model_apply(m, &job.apply[i]);
        }
        if (m->applied.index > m->snapshot_index && rnd(12) == 0) {
                m->snapshot_index = m->applied.index;
                m->snapshot_term = m->applied.term;
                job.set_snapshot = true;
                job.snapshot =
                        (struct snapshot_meta){ m->snapshot_index, m->snapshot_term, 1, BLOB("conf", 4) };
                job.trim_to = m->snapshot_index - rnd((uint32_t)MIN(m->snapshot_index, (uint64_t)20));
                m->first = MAX(m->first, job.trim_to + 1);
        }
        return job;
}

void random_job(struct bed *b, struct model *m)
{
        struct store_job job = next_job(m);
        assert_int_equal(run_job(b, &job), 0);
        if (job.apply_n != 0) assert_same_applied(&job.applied, &m->applied);
}

void fill(struct bed *b, struct model *m, unsigned jobs)
{
        expect_load(b, m);
        for (unsigned i = 0; i < jobs; i++) random_job(b, m);
        while (m->applied.index == 0) random_job(b, m);
}
