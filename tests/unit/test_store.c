/* Both stores against one reference: random jobs, restarts, snapshots from one to the other. For the LMDB
 * store also: SIGKILL at random moments, a full disk, damaged files, a second process. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "raftctl/snapshot.h"
#include "raftctl/store_lmdb.h"
#include "raftctl/store_mem.h"
#include "state/kv_mem.h"
#include "state/overlay.h"

static uint32_t rng_state;
static uint32_t rnd(uint32_t n)
{
        rng_state ^= rng_state << 13;
        rng_state ^= rng_state >> 17;
        rng_state ^= rng_state << 5;
        return rng_state % n;
}

/* ---- a store of either kind ---- */

struct bed {
        bool lmdb;
        struct store *s;
        struct store_mem *mem;
        uv_loop_t loop;
        char dir[64];
        unsigned closed_n;
};

static void remove_dir(const char *dir)
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

static int bed_try_open(struct bed *b, struct fail *f)
{
        if (!b->lmdb) {
                if (b->mem == NULL) b->mem = store_mem_new();
                b->s = store_mem_store(b->mem);
                return 0;
        }
        assert_int_equal(uv_loop_init(&b->loop), 0);
        struct store_lmdb_config config = {
                .dir = b->dir, .map_bytes = UINT64_C(1) << 30, .reserve_bytes = 1
        };
        int err = store_lmdb_open(&b->loop, &config, &b->s, f);
        if (err != 0) assert_int_equal(uv_loop_close(&b->loop), 0);
        return err;
}

static void bed_open(struct bed *b)
{
        struct fail f = { 0 };
        if (bed_try_open(b, &f) != 0) fail_msg("open: %s", f.text);
}

static void bed_init(struct bed *b, bool lmdb)
{
        *b = (struct bed){ .lmdb = lmdb };
        if (lmdb) {
                snprintf(b->dir, sizeof b->dir, "/tmp/test_store.XXXXXX");
                assert_non_null(mkdtemp(b->dir));
        }
        bed_open(b);
}

static void on_closed(void *arg) { ++*(unsigned *)arg; }

static void bed_close(struct bed *b)
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

static void bed_done(struct bed *b)
{
        if (b->s != NULL) bed_close(b);
        if (b->lmdb) remove_dir(b->dir);
        store_mem_free(b->mem);
}

static void on_job(struct store_job *job, int err) { *(int *)job->data = err; }

static int run_job(struct bed *b, struct store_job *job)
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
static struct log_entry make_entry(struct arena *a, uint64_t index, uint64_t term, uint64_t base)
{
        static struct kv_mem *empty;
        if (empty == NULL) empty = kv_mem_new();
        struct tx *tx = kv_mem_read(empty);
        struct overlay *o = overlay_new(tx);
        for (unsigned i = 0; i < 4; i++) {
                char key[32], value[64];
                int n = snprintf(key, sizeof key, "key%04u", (unsigned)((index * 7 + i * 31 + term) % 300));
                int m = snprintf(value, sizeof value, "value of %llu in %llu", (unsigned long long)index,
                        (unsigned long long)term);
                if (i == 3) overlay_load_del(o, BLOB(key, (size_t)n));
                else overlay_load_put(o, BLOB(key, (size_t)n), BLOB(value, (size_t)m));
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

static void assert_same_entry(const struct log_entry *a, const struct log_entry *b)
{
        assert_int_equal(a->index, b->index);
        assert_int_equal(a->term, b->term);
        assert_int_equal(a->type, b->type);
        assert_int_equal(blob_cmp(a->data, b->data), 0);
}

static void assert_same_applied(const struct applied *a, const struct applied *b)
{
        assert_int_equal(a->index, b->index);
        assert_int_equal(a->term, b->term);
        assert_int_equal(a->writeset_index, b->writeset_index);
        assert_memory_equal(a->hash, b->hash, 32);
}

static void assert_same_content(struct tx *a, struct tx *b)
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

enum { ENTRIES_MAX = 3000 };
struct model {
        struct arena arena;
        struct log_entry log[ENTRIES_MAX]; /* by index */
        uint64_t first, last, term, voted_for;
        uint64_t snapshot_index, snapshot_term;
        bool begun; /* the term was written once */
        struct applied applied;
        struct kv_mem *state;
};

static struct model *model_new(void)
{
        struct model *m = xnew(struct model);
        m->first = 1;
        m->term = 1;
        m->arena.limit_bytes = (size_t)1 << 30;
        m->state = kv_mem_new();
        return m;
}

static void model_free(struct model *m)
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

static void model_apply(struct model *m, const struct log_entry *e)
{
        enum apply_result result;
        struct tx *tx = kv_mem_write(m->state);
        struct blob data = e->type == LOG_COMMAND ? e->data : (struct blob){ 0 };
        assert_int_equal(writeset_apply(tx, e->index, e->term, data, &result), 0);
        assert_int_equal(result, APPLY_DONE);
        assert_int_equal(applied_get(tx, &m->applied), 0);
        assert_int_equal(kv_mem_commit(tx), 0);
}

static void check_state(struct bed *b, struct model *m)
{
        struct tx *tx, *ref = kv_mem_read(m->state);
        assert_int_equal(b->s->ops->read_begin(b->s, &tx), 0);
        assert_same_content(tx, ref);
        b->s->ops->read_end(b->s, tx);
        kv_mem_end(ref);
}

static void check_load(struct bed *b, struct model *m)
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

static void check_read_log(struct bed *b, struct model *m)
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

/* One random job that a driver could make. */
static void random_job(struct bed *b, struct model *m)
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
        assert_int_equal(run_job(b, &job), 0);
        if (job.apply_n != 0) assert_same_applied(&job.applied, &m->applied);
}

static void random_jobs(bool lmdb, uint32_t seed, unsigned steps)
{
        struct bed b;
        struct model *m = model_new();
        rng_state = seed * 2654435761u;
        bed_init(&b, lmdb);
        check_load(&b, m);
        for (unsigned i = 0; i < steps; i++) {
                random_job(&b, m);
                if (i % 7 == 0) check_read_log(&b, m);
                if (i % 16 != 0) continue;
                check_state(&b, m);
                bed_close(&b);
                bed_open(&b);
                check_load(&b, m);
                check_state(&b, m);
        }
        bed_done(&b);
        model_free(m);
}

static void test_random_mem(void **state)
{
        (void)state;
        for (uint32_t seed = 1; seed <= 10; seed++) random_jobs(false, seed, 300);
}

static void test_random_lmdb(void **state)
{
        (void)state;
        for (uint32_t seed = 1; seed <= 2; seed++) random_jobs(true, seed, 200);
}

/* ---- snapshots ---- */

static void on_chunk(void *arg, int err) { *(int *)arg = err; }

/* Sends the state of from to to; flip: damage that chunk. Returns the first error of a chunk. */
static int transfer(struct bed *from, struct bed *to, int flip, struct snapshot_meta *ret_meta)
{
        struct snapshot_reader r;
        struct buf chunk = { 0 };
        bool last = false;
        int result = 1;
        assert_int_equal(snapshot_open(&r, from->s, 1, BLOB("conf", 4)), 0);
        *ret_meta = r.meta;
        ret_meta->conf = BLOB("conf", 4);
        to->s->ops->install_begin(to->s, on_chunk, &result);
        to->s->ops->drain(to->s);
        assert_int_equal(result, 0);
        for (int i = 0; !last && result == 0; i++) {
                assert_int_equal(snapshot_next(&r, &chunk, &last), 0);
                if (i == flip) chunk.p[chunk.n / 2] ^= 4;
                result = 1;
                to->s->ops->install_chunk(to->s, buf_blob(&chunk), on_chunk, &result);
                to->s->ops->drain(to->s);
        }
        if (last) assert_int_equal(snapshot_next(&r, &chunk, &last), E_NOT_FOUND);
        snapshot_close(&r);
        buf_done(&chunk);
        return result;
}

static void fill(struct bed *b, struct model *m, unsigned jobs)
{
        check_load(b, m);
        for (unsigned i = 0; i < jobs; i++) random_job(b, m);
        while (m->applied.index == 0) random_job(b, m);
}

static void snapshot_between(bool from_lmdb, bool to_lmdb)
{
        struct bed from, to;
        struct model *m = model_new(), *old = model_new();
        struct snapshot_meta meta;
        rng_state = 99;
        bed_init(&from, from_lmdb);
        bed_init(&to, to_lmdb);
        fill(&from, m, 300);
        fill(&to, old, 20);
        struct tx *before, *ref = kv_mem_read(old->state);
        assert_int_equal(to.s->ops->read_begin(to.s, &before), 0);
        assert_int_equal(transfer(&from, &to, 0, &meta), E_CORRUPT);
        assert_int_equal(transfer(&from, &to, -1, &meta), 0); /* a damaged transfer breaks nothing */
        check_load(&to, old);                                 /* nothing is visible yet */
        check_state(&to, old);
        struct store_job job = { .install = true, .set_snapshot = true, .snapshot = meta };
        m->log[meta.index + 1] = make_entry(&m->arena, meta.index + 1, m->term, m->applied.writeset_index);
        job.entries = job.apply = &m->log[meta.index + 1]; /* and goes on in the same job */
        job.entries_n = job.apply_n = 1;
        job.set_vote = true;
        job.term = m->term;
        job.voted_for = m->voted_for = 3;
        assert_int_equal(run_job(&to, &job), 0);
        model_apply(m, job.apply);
        m->first = m->last = meta.index + 1;
        m->snapshot_index = meta.index;
        m->snapshot_term = meta.term;
        check_state(&to, m);
        assert_same_content(before, ref); /* the reader of before is not disturbed */
        to.s->ops->read_end(to.s, before);
        kv_mem_end(ref);
        check_read_log(&to, m);
        bed_close(&to);
        bed_open(&to);
        check_load(&to, m);
        for (int i = 0; i < 20; i++) random_job(&to, m);
        check_state(&to, m);
        bed_done(&to);
        bed_done(&from);
        model_free(m);
        model_free(old);
}

static void test_snapshot(void **state)
{
        (void)state;
        snapshot_between(false, true);
        snapshot_between(true, false);
        snapshot_between(true, true);
}

/* ---- jobs that do not fit ---- */

static void refuse(bool lmdb, struct store_job *job)
{
        struct bed b;
        struct model *m = model_new();
        rng_state = 5;
        bed_init(&b, lmdb);
        fill(&b, m, 30);
        assert_int_equal(run_job(&b, job), E_INVALID);
        struct store_job fine = { .set_vote = true, .term = 100 };
        assert_int_equal(run_job(&b, &fine), E_INVALID); /* and nothing after it */
        bed_close(&b);
        bed_open(&b);
        check_load(&b, m); /* nothing of it is there */
        check_state(&b, m);
        bed_done(&b);
        model_free(m);
}

static void test_refused_jobs(void **state)
{
        (void)state;
        for (int lmdb = 0; lmdb <= 1; lmdb++) {
                struct log_entry far = { .index = 100000, .term = 1, .type = LOG_BARRIER };
                refuse(lmdb != 0, &(struct store_job){ .entries = &far, .entries_n = 1 });
                refuse(lmdb != 0, &(struct store_job){ .apply = &far, .apply_n = 1 });
                refuse(lmdb != 0, &(struct store_job){ .truncate_from = 1 });
                refuse(lmdb != 0, &(struct store_job){ .trim_to = 100000 });
                refuse(lmdb != 0, &(struct store_job){ .install = true, .set_snapshot = true });
        }
}

/* ---- the memory store's crashes ---- */

static bool keep_some(void *arg) { return (*(int *)arg)-- > 0; }

static void test_mem_crash(void **state)
{
        (void)state;
        for (int keep = 0; keep <= 3; keep++) {
                struct bed b;
                struct model *m = model_new();
                rng_state = 17;
                bed_init(&b, false);
                fill(&b, m, 20);
                struct store_job jobs[3] = { 0 };
                struct tx *view;
                int called = 1, left = keep;
                assert_int_equal(b.s->ops->read_begin(b.s, &view), 0);
                uint64_t voted = m->voted_for;
                for (uint64_t i = 0; i < 3; i++) {
                        jobs[i] = (struct store_job){ .set_vote = true,
                                .term = m->term,
                                .voted_for = 10 + i,
                                .done_cb = on_job,
                                .data = &called };
                        b.s->ops->submit(b.s, &jobs[i]);
                }
                assert_int_equal(store_mem_pending(b.mem), 3);
                store_mem_crash(b.mem, keep_some, &left);
                assert_int_equal(called, 1);   /* nobody was told */
                b.s->ops->read_end(b.s, view); /* what the dying driver still does is ignored */
                b.s->ops->submit(b.s, &jobs[0]);
                assert_int_equal(store_mem_pending(b.mem), 0);
                m->voted_for = keep > 0 ? 9 + (uint64_t)keep : voted;
                check_load(&b, m);
                check_state(&b, m);
                bed_done(&b);
                model_free(m);
        }
}

static void test_mem_faults(void **state)
{
        (void)state;
        struct bed b;
        struct model *m = model_new();
        struct arena a = { 0 };
        struct store_start st;
        struct fail f = { 0 };
        rng_state = 21;
        bed_init(&b, false);
        fill(&b, m, 20);
        struct store_job job = { .set_vote = true, .term = 50 };
        int result = 1;
        job.done_cb = on_job;
        job.data = &result;
        b.s->ops->submit(b.s, &job);
        assert_true(store_mem_commit(b.mem, E_STORAGE));
        assert_int_equal(result, 1);
        assert_true(store_mem_deliver(b.mem));
        assert_int_equal(result, E_STORAGE);
        assert_int_equal(run_job(&b, &job), E_STORAGE);
        check_load(&b, m);
        store_mem_set_full(b.mem, true);
        assert_true(b.s->ops->is_full(b.s));
        store_mem_set_full(b.mem, false);
        assert_true(store_mem_damage_log(b.mem, m->last));
        assert_int_equal(b.s->ops->load(b.s, &a, &st, &f), E_CORRUPT);
        arena_done(&a);
        bed_done(&b);
        model_free(m);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_random_mem),
                cmocka_unit_test(test_random_lmdb),
                cmocka_unit_test(test_snapshot),
                cmocka_unit_test(test_refused_jobs),
                cmocka_unit_test(test_mem_crash),
                cmocka_unit_test(test_mem_faults),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
