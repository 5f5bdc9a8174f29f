/* Micro benchmark of the state and the stores: bench_state [DIR]. DIR is where the durable store writes; it
 * should be on the disk that is meant. Prints one line for each measurement. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "raftctl/store_lmdb.h"
#include "state/check.h"
#include "state/kv_mem.h"
#include "state/table.h"
#include "wire/def/types.h"

static double now_s(void)
{
        struct timespec ts;
        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void line(const char *what, double n, double seconds)
{
        printf("%-44s %12.0f /s  %10.3f us each\n", what, n / seconds, seconds / n * 1e6);
}

static void must(int err, const char *what)
{
        if (err == 0) return;
        fprintf(stderr, "%s: %s\n", what, err_text(err));
        exit(1);
}

static uint64_t scatter(uint64_t i) { return (i * UINT64_C(0x9E3779B97F4A7C15)) >> 32; }

static void bench_overlay(void)
{
        enum { N = 500000, BATCH = 64 };
        struct kv_mem *kv = kv_mem_new();
        struct tx *base = kv_mem_read(kv);
        uint8_t key[24] = { 0 }, value[120] = { 7 };
        struct blob got;
        double start = now_s();
        struct overlay *o = overlay_new(base);
        for (uint64_t i = 0; i < N; i++) {
                uint64_t k = scatter(i);
                memcpy(key + 8, &k, 8);
                (void)tx_put(overlay_tx(o), BLOB(key, sizeof key), BLOB(value, sizeof value));
        }
        must(overlay_tx(o)->err, "overlay");
        line("overlay: puts, one layer of 500000", N, now_s() - start);
        start = now_s();
        for (uint64_t i = 0; i < N; i++) {
                uint64_t k = scatter(i);
                memcpy(key + 8, &k, 8);
                must(tx_get(overlay_tx(o), BLOB(key, sizeof key), &got), "get");
        }
        line("overlay: gets, one layer of 500000", N, now_s() - start);
        overlay_free(o);
        start = now_s();
        for (uint64_t i = 0; i < N / BATCH; i++) { /* as evaluate does: a savepoint around each operation */
                o = overlay_new(base);
                for (uint64_t j = 0; j < BATCH; j++) {
                        uint64_t k = scatter(i * BATCH + j);
                        memcpy(key + 8, &k, 8);
                        overlay_savepoint(o);
                        (void)tx_put(overlay_tx(o), BLOB(key, sizeof key), BLOB(value, sizeof value));
                        overlay_release(o);
                }
                overlay_free(o);
        }
        line("overlay: puts, a layer and savepoints per 64", N, now_s() - start);
        kv_mem_end(base);
        kv_mem_free(kv);
}

static void put_object(struct tx *tx, unsigned i)
{
        char name[32], node[32];
        struct vlm v = { 0 };
        struct rsc r = { 0 };
        uint64_t port = 7000 + i;
        snprintf(name, sizeof name, "pvc-%08x", (unsigned)scatter(i / 3));
        snprintf(node, sizeof node, "node-%u", i % 3);
        SET(&v, vlm, volume_number, 0);
        SET(&v, vlm, storage_pool_name, "pool");
        SET(&v, vlm, size_kib, 1048576);
        SET(&r, rsc, rsc_name, name);
        SET(&r, rsc, node_name, node);
        SET(&r, rsc, drbd_node_id, i % 3);
        SET_N(&r, rsc, volumes, &v, 1);
        SET_N(&r, rsc, drbd_tcp_ports, &port, 1);
        (void)row_put(tx, &rsc_type, &r);
}

static void bench_rows(void)
{
        enum { N = 30000 };
        struct kv_mem *kv = kv_mem_new();
        struct tx *base = kv_mem_read(kv);
        struct overlay *o = overlay_new(base);
        double start = now_s();
        for (unsigned i = 0; i < N; i++) put_object(overlay_tx(o), i);
        must(overlay_tx(o)->err, "rows");
        line("table: resources put, three index rows each", N, now_s() - start);
        struct arena a = { 0 };
        struct rsc r;
        struct row_scan s;
        unsigned n = 0;
        start = now_s();
        row_scan_open(&s, overlay_tx(o), &rsc_type, NULL, 0);
        while (row_scan_next(&s, &a, &r)) {
                arena_reset(&a);
                n++;
        }
        row_scan_close(&s);
        line("table: resources scanned and decoded", n, now_s() - start);
        arena_done(&a);
        overlay_free(o);
        kv_mem_end(base);
        kv_mem_free(kv);
}

struct done {
        int err;
};
static void on_done(struct store_job *job, int err) { ((struct done *)job->data)->err = err; }

/* Jobs that each append and apply one write-set of ops resources. */
static uint64_t bench_jobs(struct store *s, uint64_t index, unsigned jobs, unsigned ops)
{
        struct kv_mem *kv = kv_mem_new();
        struct tx *base = kv_mem_read(kv);
        char what[64];
        double spent = 0;
        for (unsigned i = 0; i < jobs; i++) {
                struct buf data = { 0 };
                struct done done = { 1 };
                struct overlay *o = overlay_new(base);
                for (unsigned k = 0; k < ops; k++) put_object(overlay_tx(o), (unsigned)index * ops + k);
                must(writeset_encode(o, index, &data), "encode");
                struct log_entry e = { ++index, 1, LOG_COMMAND, buf_blob(&data) };
                struct store_job job = { .set_vote = true, .term = 1, .entries = &e, .entries_n = 1 };
                job.apply = &e;
                job.apply_n = 1;
                job.done_cb = on_done;
                job.data = &done;
                double start = now_s();
                s->ops->submit(s, &job);
                s->ops->drain(s);
                spent += now_s() - start;
                must(done.err, "job");
                overlay_free(o);
                buf_done(&data);
        }
        snprintf(what, sizeof what, "lmdb: jobs of %u operations, synced", ops);
        line(what, jobs, spent);
        kv_mem_end(base);
        kv_mem_free(kv);
        return index;
}

static void bench_reads(struct store *s)
{
        enum { N = 200000 };
        struct tx *tx;
        struct arena a = { 0 };
        struct rsc r;
        char name[32];
        snprintf(name, sizeof name, "pvc-%08x", (unsigned)scatter(0));
        double start = now_s();
        for (unsigned i = 0; i < N; i++) {
                must(s->ops->read_begin(s, &tx), "read");
                s->ops->read_end(s, tx);
        }
        line("lmdb: read_begin and read_end", N, now_s() - start);
        start = now_s();
        for (unsigned i = 0; i < N; i++) {
                must(s->ops->read_begin(s, &tx), "read");
                must(row_get(tx, &rsc_type, &(struct rsc){ .rsc_name = name, .node_name = "node-0" }, &a, &r),
                        "row");
                s->ops->read_end(s, tx);
                arena_reset(&a);
        }
        line("lmdb: one resource read in a view of its own", N, now_s() - start);
        arena_done(&a);
}

static void on_closed(void *arg) { *(bool *)arg = true; }

static void bench_store(const char *dir)
{
        uv_loop_t loop;
        struct store *s;
        struct fail f;
        struct arena a = { .limit_bytes = (size_t)1 << 30 };
        struct store_start st;
        bool closed = false;
        struct store_lmdb_config config = { .dir = dir };
        uv_loop_init(&loop);
        for (int round = 0; round < 2; round++) {
                double start = now_s();
                int err = store_lmdb_open(&loop, &config, &s, &f);
                if (err != 0) fprintf(stderr, "%s\n", f.text);
                must(err, "open");
                must(s->ops->load(s, &a, &st, &f), "load");
                printf("%-44s %12.1f ms (%llu entries)\n",
                        round == 0 ? "lmdb: open and load, empty" : "lmdb: open and load again",
                        (now_s() - start) * 1e3, (unsigned long long)st.entries_n);
                if (round == 0) {
                        uint64_t index = bench_jobs(s, st.applied.index, 500, 1);
                        index = bench_jobs(s, index, 300, 64);
                        bench_reads(s);
                }
                s->ops->close(s, on_closed, &closed);
                uv_run(&loop, UV_RUN_DEFAULT);
        }
        uv_loop_close(&loop);
        arena_done(&a);
}

int main(int argc, char **argv)
{
        char dir[] = "/tmp/bench_state.XXXXXX", cmd[64];
        bench_overlay();
        bench_rows();
        if (argc > 1) {
                bench_store(argv[1]);
                return 0;
        }
        if (mkdtemp(dir) == NULL) return 1;
        bench_store(dir);
        snprintf(cmd, sizeof cmd, "rm -r %s", dir);
        return system(cmd) != 0;
}
