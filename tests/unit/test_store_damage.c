/* A store's files with each byte damaged in turn, cut at each offset, and with each sector replaced: what is damaged is
 * found, or makes no difference; wrong data never comes out, and nobody crashes.
 *
 * DISK_LONG=1 in the environment: every byte and every offset; else a sample of them. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/store_bed.h"

enum { EARLIER = 24, LATER = 3, BATCH = 64, SECTOR = 512 };
enum outcome { NOT_RUN, FOUND, HARMLESS, WRONG, OUTCOMES_N };

struct damage {
        enum { FLIP, CUT, GARBAGE, ZEROS } kind;
        size_t at;
        uint8_t mask;
};
struct rig {
        char dir[64], path[128], other_path[128];
        const char *file;
        uint8_t *whole, *other; /* other: the file that is not damaged */
        size_t size, other_size;
        struct model *now, *later; /* later: after LATER more jobs */
        uint32_t rng;
        unsigned char *outcomes; /* shared with the children */
        unsigned counts[OUTCOMES_N];
};

static bool all(void) { return getenv("DISK_LONG") != NULL; }

static void put_file(const char *path, const uint8_t *data, size_t n)
{
        int fd = open(path, O_WRONLY);
        assert_true(fd >= 0 && ftruncate(fd, (off_t)n) == 0 && pwrite(fd, data, n, 0) == (ssize_t)n);
        close(fd);
}

static uint8_t *get_file(const char *path, size_t *ret_n)
{
        struct stat st;
        int fd = open(path, O_RDONLY);
        assert_true(fd >= 0 && fstat(fd, &st) == 0);
        uint8_t *data = xmalloc((size_t)st.st_size);
        assert_int_equal(pread(fd, data, (size_t)st.st_size, 0), st.st_size);
        close(fd);
        *ret_n = (size_t)st.st_size;
        return data;
}

static void put_back(const struct rig *rig, const uint8_t *data, size_t n)
{
        put_file(rig->path, data, n);
        put_file(rig->other_path, rig->other, rig->other_size);
}

static void hurt(const struct rig *rig, const struct damage *d, uint8_t *copy)
{
        size_t n = rig->size, end = MIN(d->at + SECTOR, n);
        memcpy(copy, rig->whole, n);
        switch (d->kind) {
        case FLIP: copy[d->at] ^= d->mask; break;
        case CUT: n = d->at; break;
        case GARBAGE:
                for (size_t i = d->at; i < end; i++) copy[i] = (uint8_t)rnd(256);
                break;
        case ZEROS: memset(copy + d->at, 0, end - d->at); break;
        }
        put_back(rig, copy, n);
}

/* Damage that makes no difference now must make none later: it is written to, and read again. */
static enum outcome go_on(struct rig *rig, struct bed *b)
{
        struct model *m = model_new();
        struct fail f = { 0 };
        bool same = false;
        rng_state = 4711;
        for (unsigned i = 0; i < EARLIER; i++) (void)next_job(m);
        for (unsigned i = 0; i < LATER; i++) {
                struct store_job job = next_job(m);
                if (run_job(b, &job) != 0) return FOUND;
        }
        bed_close(b);
        int err = bed_try_open(b, &f);
        if (err != 0) return FOUND;
        err = bed_compare(b, rig->later, &same);
        model_free(m);
        return err != 0 ? FOUND : same ? HARMLESS : WRONG;
}

static enum outcome open_damaged(struct rig *rig)
{
        struct bed b = { .lmdb = true };
        struct fail f = { 0 };
        bool same = false;
        snprintf(b.dir, sizeof b.dir, "%s", rig->dir);
        if (bed_try_open(&b, &f) != 0) return FOUND;
        int err = bed_compare(&b, rig->now, &same);
        enum outcome out = err != 0 ? FOUND : same ? HARMLESS : WRONG;
        if (out == HARMLESS) out = go_on(rig, &b);
        if (b.s != NULL) bed_close(&b);
        return out;
}

static void child(struct rig *rig, const struct damage *d, unsigned from, unsigned n)
{
        uint8_t *copy = xmalloc(rig->size);
        alarm(120);
        for (unsigned i = from; i < n; i++) {
                rng_state = (uint32_t)d[i].at + 1;
                hurt(rig, &d[i], copy);
                rig->outcomes[i] = (unsigned char)open_damaged(rig);
        }
        _exit(0);
}

static void run_batch(struct rig *rig, const struct damage *d, unsigned n)
{
        static const char *const kinds[] = { "flipped", "cut", "garbage", "zeros" };
        int status;
        memset(rig->outcomes, NOT_RUN, BATCH);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) child(rig, d, 0, n);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        for (unsigned i = 0; i < n; i++) {
                enum outcome out = rig->outcomes[i];
                rig->counts[out]++;
                if (out == FOUND || out == HARMLESS) continue;
                fail_msg("%s: %s at %zu (mask %02x): %s", rig->file, kinds[d[i].kind], d[i].at, d[i].mask,
                        out == WRONG ? "wrong data" : "its reader died");
        }
        put_back(rig, rig->whole, rig->size);
}

static void rig_init(struct rig *rig, const char *file)
{
        struct bed b = { .lmdb = true };
        *rig = (struct rig){ .file = file };
        bool shm = access("/dev/shm", W_OK) == 0;
        snprintf(rig->dir, sizeof rig->dir, "%s/test_store.XXXXXX", shm ? "/dev/shm" : "/tmp");
        assert_non_null(mkdtemp(rig->dir));
        snprintf(rig->path, sizeof rig->path, "%s/%s", rig->dir, file);
        snprintf(b.dir, sizeof b.dir, "%s", rig->dir);
        bed_open(&b);
        rig->now = model_new();
        expect_load(&b, rig->now);
        rng_state = 4711;
        for (unsigned i = 0; i < EARLIER; i++) random_job(&b, rig->now);
        bed_close(&b);
        rig->later = model_new();
        rng_state = 4711;
        for (unsigned i = 0; i < EARLIER + LATER; i++) (void)next_job(rig->later);
        snprintf(rig->other_path, sizeof rig->other_path, "%s/%s", rig->dir,
                strcmp(file, "seq") == 0 ? "member.mdb" : "seq");
        rig->whole = get_file(rig->path, &rig->size);
        rig->other = get_file(rig->other_path, &rig->other_size);
        rig->outcomes = mmap(NULL, BATCH, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static void rig_done(struct rig *rig, const char *what)
{
        print_message("%s, %zu bytes, %s: %u found, %u without effect\n", rig->file, rig->size, what,
                rig->counts[FOUND], rig->counts[HARMLESS]);
        model_free(rig->now);
        model_free(rig->later);
        munmap(rig->outcomes, BATCH);
        free(rig->whole);
        free(rig->other);
        remove_dir(rig->dir);
}

/* Each step-th place, by batches; the meta pages always whole. */
static void sweep(struct rig *rig, struct damage like, size_t step, size_t always)
{
        struct damage d[BATCH];
        unsigned n = 0;
        for (size_t at = 0; at < rig->size; at += at < always || all() ? 1 : step) {
                d[n] = like;
                d[n].at = at;
                if (like.kind == FLIP && like.mask == 0) d[n].mask = (uint8_t)(1u << (at * 5 % 8));
                if (++n < BATCH) continue;
                run_batch(rig, d, n);
                n = 0;
        }
        run_batch(rig, d, n);
}

static void test_flips(void **state)
{
        (void)state;
        struct rig rig;
        rig_init(&rig, "member.mdb");
        for (unsigned round = 0; round < (all() ? 3u : 1u); round++) {
                sweep(&rig, (struct damage){ .kind = FLIP, .mask = round == 1 ? 0xff : 0 }, 61,
                        all() ? 0 : 168);
                sweep(&rig, (struct damage){ .kind = FLIP, .mask = (uint8_t)(round == 2 ? 0x01 : 0x02) }, 61,
                        0);
        }
        assert_true(rig.counts[FOUND] > 100 && rig.counts[HARMLESS] > 100);
        rig_done(&rig, "a byte flipped");
}

static void test_cuts(void **state)
{
        (void)state;
        struct rig rig;
        rig_init(&rig, "member.mdb");
        sweep(&rig, (struct damage){ .kind = CUT }, 173, 0);
        assert_int_equal(rig.counts[HARMLESS], 0);
        rig_done(&rig, "cut");
}

static void test_sectors(void **state)
{
        (void)state;
        struct rig rig;
        rig_init(&rig, "member.mdb");
        for (size_t at = 0; at + SECTOR <= rig.size; at += SECTOR) {
                struct damage d[2] = { { .kind = GARBAGE, .at = at }, { .kind = ZEROS, .at = at } };
                run_batch(&rig, d, 2);
        }
        rig_done(&rig, "a sector replaced");
}

static void test_seq(void **state)
{
        (void)state;
        struct rig rig;
        rig_init(&rig, "seq");
        sweep(&rig, (struct damage){ .kind = FLIP, .mask = 0 }, 1, 0);
        sweep(&rig, (struct damage){ .kind = CUT }, 1, 0);
        assert_int_equal(rig.counts[FOUND], 0);
        rig_done(&rig, "flipped and cut");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_flips),
                cmocka_unit_test(test_cuts),
                cmocka_unit_test(test_sectors),
                cmocka_unit_test(test_seq),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
