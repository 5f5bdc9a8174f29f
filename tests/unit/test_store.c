/* Both stores against one reference: random jobs, restarts, snapshots from one to the other, jobs that do not
 * fit; and what only the memory store can do: crash on demand. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/store_bed.h"

static void random_jobs(bool lmdb, uint32_t seed, unsigned steps)
{
        struct bed b;
        struct model *m = model_new();
        rng_state = seed * 2654435761u;
        bed_init(&b, lmdb);
        expect_load(&b, m);
        for (unsigned i = 0; i < steps; i++) {
                random_job(&b, m);
                if (i % 7 == 0) expect_read_log(&b, m);
                if (i % 16 != 0) continue;
                expect_state(&b, m);
                bed_close(&b);
                bed_open(&b);
                expect_load(&b, m);
                expect_state(&b, m);
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
        expect_load(&to, old);                                /* nothing is visible yet */
        expect_state(&to, old);
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
        expect_state(&to, m);
        assert_same_content(before, ref); /* the reader of before is not disturbed */
        to.s->ops->read_end(to.s, before);
        kv_mem_end(ref);
        expect_read_log(&to, m);
        bed_close(&to);
        bed_open(&to);
        expect_load(&to, m);
        for (int i = 0; i < 20; i++) random_job(&to, m);
        expect_state(&to, m);
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
        expect_load(&b, m); /* nothing of it is there */
        expect_state(&b, m);
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
                expect_load(&b, m);
                expect_state(&b, m);
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
        expect_load(&b, m);
        store_mem_set_full(b.mem, true);
        assert_true(b.s->ops->is_full(b.s));
        store_mem_set_full(b.mem, false);
        assert_true(store_mem_damage_log(b.mem, m->last));
        assert_int_equal(b.s->ops->load(b.s, &a, &st, &f), E_CORRUPT);
        arena_done(&a);
        bed_done(&b);
        model_free(m);
}

/* ---- readers on other threads ---- */

struct reader {
        pthread_t thread;
        struct store *s;
        atomic_bool *stop;
        uint64_t views_n;
        const char *wrong;
};

/* Each view is one state: the hash that it holds does not change while it is open, and never goes back. */
static void *read_views(void *arg)
{
        struct reader *r = arg;
        uint64_t last = 0;
        while (!atomic_load(r->stop) && r->wrong == NULL) {
                struct tx *tx;
                struct applied first, again;
                if (r->s->ops->read_begin(r->s, &tx) != 0) {
                        r->wrong = "read_begin";
                        return NULL;
                }
                if (applied_get(tx, &first) != 0) r->wrong = "applied state";
                struct tx_cursor c;
                int err = tx_seek(tx, &c, BLOB("\0", 1));
                while (err == 0) err = tx_next(tx, &c);
                tx_close(tx, &c);
                if (err != E_NOT_FOUND) r->wrong = "walk";
                if (applied_get(tx, &again) != 0 || memcmp(&first, &again, sizeof first) != 0)
                        r->wrong = "it changed";
                if (first.index < last) r->wrong = "it went back";
                last = first.index;
                __atomic_fetch_add(&r->views_n, 1, __ATOMIC_RELAXED);
                r->s->ops->read_end(r->s, tx);
        }
        return NULL;
}

static void test_readers(void **state)
{
        (void)state;
        struct bed b, source;
        struct model *m = model_new(), *ahead = model_new();
        struct snapshot_meta meta;
        struct reader readers[3] = { 0 };
        atomic_bool stop = false;
        rng_state = 12;
        bed_init(&b, true);
        bed_init(&source, false);
        fill(&source, ahead, 400);
        expect_load(&b, m);
        for (int i = 0; i < 3; i++) {
                readers[i].s = b.s;
                readers[i].stop = &stop;
                assert_int_equal(pthread_create(&readers[i].thread, NULL, read_views, &readers[i]), 0);
        }
        for (int i = 0; i < 60; i++) random_job(&b, m);
        assert_int_equal(transfer(&source, &b, -1, &meta), 0); /* and while the state is switched */
        struct store_job job = { .install = true, .set_snapshot = true, .snapshot = meta };
        assert_int_equal(run_job(&b, &job), 0);
        for (int i = 0; i < 3; i++) /* a busy machine may not have run one of them yet */
                for (int k = 0; k < 60000 && __atomic_load_n(&readers[i].views_n, __ATOMIC_RELAXED) == 0; k++)
                        usleep(1000);
        usleep(20000);
        atomic_store(&stop, true);
        for (int i = 0; i < 3; i++) {
                pthread_join(readers[i].thread, NULL);
                if (readers[i].wrong != NULL) fail_msg("a reader: %s", readers[i].wrong);
                assert_true(readers[i].views_n > 0);
        }
        expect_state(&b, ahead);
        bed_done(&b);
        bed_done(&source);
        model_free(m);
        model_free(ahead);
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
                cmocka_unit_test(test_readers),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
