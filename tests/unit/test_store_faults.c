/* The LMDB store over a disk that fails, or loses its power, at every single call of a workload: each job is there
 * as a whole or not at all, what was acknowledged is there, an error stops everything after it, and a disk that
 * was full only delays.
 *
 * DISK_LONG=1 in the environment: more seeds. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/disk_shim.h"
#include "tests/lib/store_bed.h"

enum { JOBS = 16, EARLIER = 6, SEED = 20261, STEPS = JOBS + 1 /* then a snapshot */, CHUNKS_MAX = 8 };
enum { EXIT_DONE = 0, EXIT_FAILED = 2, EXIT_OPEN_FAILED = 3, EXIT_WENT_ON = 4 };

struct progress { /* shared with the child */
        unsigned acked;
        int err;
        uint64_t calls, first_call; /* first_call: of the first job */
};

struct rig {
        char dir[64], base[64];
        struct progress *progress;
        struct model *after[STEPS + 1]; /* what is there after so many steps */
        struct buf chunks[CHUNKS_MAX];
        unsigned chunks_n, earlier;
        unsigned runs, crashed, failed, whole, waited, harmless;
};

/* ---- what is done ---- */

static void on_chunk(void *arg, int err) { *(int *)arg = err; }

/* Lets the loop run, so that a job may wait for room. */
static int await_result(struct bed *b, const int *result)
{
        while (*result == 1) uv_run(&b->loop, UV_RUN_ONCE);
        return *result;
}

static int step_job(struct bed *b, struct store_job *job)
{
        int result = 1;
        job->data = &result;
        job->done_cb = on_job;
        b->s->ops->submit(b->s, job);
        return await_result(b, &result);
}

static struct store_job install_job(const struct model *m)
{
        struct snapshot_meta meta = { m->snapshot_index, m->snapshot_term, 1, BLOB("conf", 4) };
        return (struct store_job){ .install = true,
                .set_snapshot = true,
                .snapshot = meta,
                .set_vote = true,
                .term = m->term,
                .voted_for = m->voted_for };
}

static int step_install(struct rig *rig, struct bed *b)
{
        int result = 1;
        b->s->ops->install_begin(b->s, on_chunk, &result);
        int err = await_result(b, &result);
        for (unsigned i = 0; err == 0 && i < rig->chunks_n; i++) {
                result = 1;
                b->s->ops->install_chunk(b->s, buf_blob(&rig->chunks[i]), on_chunk, &result);
                err = await_result(b, &result);
        }
        if (err == E_NO_SPACE) return step_install(rig, b); /* the leader sends it again */
        struct store_job job = install_job(rig->after[STEPS]);
        return err != 0 ? err : step_job(b, &job);
}

/* The child: all steps, until one fails. */
static void work(struct rig *rig, const struct disk_fault *fault, bool then_crash)
{
        struct bed b = { .lmdb = true };
        struct arena a = { 0 };
        struct store_start st;
        struct fail f = { 0 };
        struct model *m = model_new();
        alarm(60);
        rng_state = SEED;
        for (unsigned i = 0; i < rig->earlier; i++) (void)next_job(m);
        snprintf(b.dir, sizeof b.dir, "%s", rig->dir);
        disk_shim_arm(rig->dir, fault);
        int err = bed_try_open(&b, &f);
        if (err == 0) err = b.s->ops->load(b.s, &a, &st, &f);
        rig->progress->first_call = disk_shim_calls() + 1;
        int code = err == 0 ? EXIT_DONE : EXIT_OPEN_FAILED;
        for (unsigned i = rig->earlier; err == 0 && i < STEPS; i++) {
                struct store_job job = { 0 };
                if (i < JOBS) job = next_job(m);
                err = i < JOBS ? step_job(&b, &job) : step_install(rig, &b);
                rig->progress->acked += err == 0;
        }
        rig->progress->err = err;
        rig->progress->calls = disk_shim_calls();
        if (err != 0 && code == EXIT_DONE) {
                struct store_job more = { .set_vote = true, .term = 1000 };
                code = step_job(&b, &more) == err ? EXIT_FAILED : EXIT_WENT_ON;
        }
        if (then_crash) disk_shim_crash();
        _exit(code);
}

/* ---- around it ---- */

static void copy(const char *from, const char *to, const char *name)
{
        char path[128];
        static uint8_t data[1 << 20];
        snprintf(path, sizeof path, "%s/%s", from, name);
        int in = open(path, O_RDONLY);
        if (in < 0) return;
        ssize_t n = read(in, data, sizeof data);
        snprintf(path, sizeof path, "%s/%s", to, name);
        int out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        assert_true(n >= 0 && n < (ssize_t)sizeof data && write(out, data, (size_t)n) == n);
        close(in);
        close(out);
}

static void renew_dir(struct rig *rig)
{
        remove_dir(rig->dir);
        assert_int_equal(mkdir(rig->dir, 0700), 0);
        copy(rig->base, rig->dir, "member.mdb");
        copy(rig->base, rig->dir, "seq");
}

static int run_child(struct rig *rig, const struct disk_fault *fault, bool then_crash)
{
        int status;
        *rig->progress = (struct progress){ .acked = rig->earlier };
        renew_dir(rig);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) work(rig, fault, then_crash);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!WIFEXITED(status))
                fail_msg("call %llu: signal %d", (unsigned long long)fault->at, WTERMSIG(status));
        return WEXITSTATUS(status);
}

/* Opens what is there now. */
static void check_promises(struct rig *rig, const char *what)
{
        struct bed b = { .lmdb = true };
        struct fail f = { 0 };
        unsigned acked = rig->progress->acked;
        bool same = false;
        snprintf(b.dir, sizeof b.dir, "%s", rig->dir);
        if (bed_try_open(&b, &f) != 0)
                fail_msg("%s: %u acknowledged, does not open: %s", what, acked, f.text);
        int err = bed_compare(&b, rig->after[acked], &same);
        if (err == 0 && !same && acked < STEPS) {
                err = bed_compare(&b, rig->after[acked + 1], &same);
                rig->whole += same;
        }
        if (err != 0 || !same)
                fail_msg("%s: %u acknowledged: %s", what, acked, err ? err_text(err) : "not that");
        bed_close(&b);
}

static void try_fault(struct rig *rig, const struct disk_fault *fault, bool then_crash)
{
        static const char *const names[] = { "sound", "EIO", "ENOSPC", "short write", "crash before",
                "crash after" };
        char what[160];
        int code = run_child(rig, fault, then_crash);
        bool crashes = fault->kind == DISK_CRASH_BEFORE || fault->kind == DISK_CRASH_AFTER;
        bool known = code == EXIT_DONE || code == EXIT_FAILED || code == EXIT_OPEN_FAILED ||
                     code == EXIT_WENT_ON || code == DISK_EXIT_CRASHED;
        snprintf(what, sizeof what, "%s at call %llu, seed %llu, grain %u%s", names[fault->kind],
                (unsigned long long)fault->at, (unsigned long long)fault->seed, fault->grain,
                then_crash ? ", then a crash" : "");
        if (!known) fail_msg("%s: it ended with %d", what, code);
        if (code == EXIT_WENT_ON) fail_msg("%s: a job after a failed one did not fail", what);
        /* What the writer does when it is idle, at the very end, may come too late to be hit. */
        if (crashes && code != DISK_EXIT_CRASHED && rig->progress->acked < STEPS)
                fail_msg("%s: it ended with %d", what, code);
        if (code == EXIT_FAILED && rig->progress->err != E_STORAGE)
                fail_msg("%s: failed with %s", what, err_text(rig->progress->err));
        rig->runs++;
        rig->crashed += code == DISK_EXIT_CRASHED;
        rig->failed += code == EXIT_FAILED || code == EXIT_OPEN_FAILED;
        if (code == EXIT_DONE) {
                assert_int_equal(rig->progress->acked, STEPS);
                rig->waited += fault->kind == DISK_ENOSPC;
                rig->harmless += fault->kind != DISK_ENOSPC;
        }
        check_promises(rig, what);
}

static void donor(struct rig *rig)
{
        struct bed from;
        struct snapshot_reader r;
        struct model *m = model_new();
        bool last = false;
        rng_state = 99;
        bed_init(&from, false);
        fill(&from, m, 60);
        assert_int_equal(snapshot_open(&r, from.s, 1, BLOB("conf", 4)), 0);
        while (!last) {
                assert_true(rig->chunks_n < CHUNKS_MAX);
                assert_int_equal(snapshot_next(&r, &rig->chunks[rig->chunks_n++], &last), 0);
        }
        m->snapshot_index = m->last = r.meta.index;
        m->snapshot_term = r.meta.term;
        m->first = m->last + 1;
        m->term = 50;
        m->voted_for = 2;
        snapshot_close(&r);
        bed_done(&from);
        rig->after[STEPS] = m;
}

/* earlier: so many jobs are there before the faults begin; 0: the store is new. */
static void rig_init(struct rig *rig, unsigned earlier)
{
        bool shm = access("/dev/shm", W_OK) == 0;
        *rig = (struct rig){ .earlier = earlier };
        snprintf(rig->base, sizeof rig->base, "%s/test_store.XXXXXX", shm ? "/dev/shm" : "/tmp");
        assert_non_null(mkdtemp(rig->base));
        snprintf(rig->dir, sizeof rig->dir, "%.50s.run", rig->base);
        rig->progress =
                mmap(NULL, sizeof *rig->progress, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        for (unsigned n = 0; n <= JOBS; n++) {
                rng_state = SEED;
                rig->after[n] = model_new();
                for (unsigned i = 0; i < n; i++) (void)next_job(rig->after[n]);
        }
        donor(rig);
        if (earlier == 0) return;
        struct bed b = { .lmdb = true };
        struct model *m = model_new();
        snprintf(b.dir, sizeof b.dir, "%s", rig->base);
        bed_open(&b);
        expect_load(&b, m);
        rng_state = SEED;
        for (unsigned i = 0; i < earlier; i++) random_job(&b, m);
        bed_close(&b);
        model_free(m);
}

static void rig_done(struct rig *rig)
{
        for (unsigned n = 0; n <= STEPS; n++) model_free(rig->after[n]);
        for (unsigned i = 0; i < rig->chunks_n; i++) buf_done(&rig->chunks[i]);
        munmap(rig->progress, sizeof *rig->progress);
        remove_dir(rig->dir);
        remove_dir(rig->base);
}

static unsigned seeds(void) { return getenv("DISK_LONG") != NULL ? 40 : 1; }

static void each_call(struct rig *rig, uint64_t from, uint64_t calls)
{
        static const unsigned grains[] = { 0, 512, 4096 };
        for (uint64_t at = from; at <= calls; at++) {
                for (unsigned kind = DISK_EIO; kind < DISK_FAULTS_N; kind++) {
                        for (unsigned seed = 1; seed <= seeds(); seed++) {
                                struct disk_fault fault = { kind, at, at * 1000 + seed,
                                        grains[(at + seed) % 3] };
                                bool crashes = kind == DISK_CRASH_BEFORE || kind == DISK_CRASH_AFTER;
                                try_fault(rig, &fault, false);
                                if (!crashes) try_fault(rig, &fault, true);
                        }
                }
        }
}

static void test_every_call(void **state)
{
        (void)state;
        struct rig rig;
        rig_init(&rig, EARLIER);
        assert_int_equal(run_child(&rig, &(struct disk_fault){ 0 }, false), EXIT_DONE);
        uint64_t calls = rig.progress->calls, first = rig.progress->first_call;
        assert_true(calls > 60);
        check_promises(&rig, "sound");
        each_call(&rig, 1, calls);
        print_message("%u faults at %llu calls (%llu of them of opening): %u crashes, %u errors, %u full "
                      "disks waited for, "
                      "%u without effect; %u times a job was there that nobody had acknowledged\n",
                rig.runs, (unsigned long long)calls, (unsigned long long)(first - 1), rig.crashed, rig.failed,
                rig.waited, rig.harmless, rig.whole);
        assert_true(rig.crashed > 100 && rig.failed > 100 && rig.waited > 50 && rig.whole > 5);
        rig_done(&rig);
}

/* The same while the store is being made. */
static void test_new_store(void **state)
{
        (void)state;
        struct rig rig;
        rig_init(&rig, 0);
        assert_int_equal(run_child(&rig, &(struct disk_fault){ 0 }, false), EXIT_DONE);
        uint64_t first = rig.progress->first_call;
        assert_true(first > 5);
        each_call(&rig, 1, first + 8);
        print_message("%u faults at %llu calls: %u crashes, %u errors\n", rig.runs,
                (unsigned long long)first + 8, rig.crashed, rig.failed);
        rig_done(&rig);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_new_store),
                cmocka_unit_test(test_every_call),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
