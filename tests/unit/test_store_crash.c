/* The LMDB store: SIGKILL at random moments, damaged and replaced files, a full disk, a second process. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/store_bed.h"

/* Appends and applies one entry at a time and acknowledges each through fd; ends by being killed. */
static void write_until_killed(const char *dir, int fd)
{
        struct bed b = { .lmdb = true };
        struct arena a = { .limit_bytes = (size_t)1 << 30 };
        struct store_start st;
        struct fail f = { 0 };
        snprintf(b.dir, sizeof b.dir, "%s", dir);
        if (bed_try_open(&b, &f) != 0 || b.s->ops->load(b.s, &a, &st, &f) != 0) _exit(1);
        uint64_t index = st.entries_n != 0 ? st.entries[st.entries_n - 1].index : st.snapshot.index;
        uint64_t base = st.applied.writeset_index;
        for (;;) {
                struct log_entry e = make_entry(&a, ++index, 1, base);
                struct store_job job = {
                        .set_vote = true, .term = 1, .voted_for = index, .entries = &e, .entries_n = 1
                };
                job.apply = &e;
                job.apply_n = 1;
                if (index % 16 == 0) {
                        job.set_snapshot = true;
                        job.snapshot = (struct snapshot_meta){ index, 1, 1, BLOB("conf", 4) };
                        job.trim_to = index - 8;
                }
                int result = 1;
                job.data = &result;
                job.done_cb = on_job;
                b.s->ops->submit(b.s, &job);
                b.s->ops->drain(b.s);
                if (result != 0) _exit(2);
                base = index;
                if (write(fd, &index, sizeof index) != (ssize_t)sizeof index) _exit(3);
        }
}

/* Everything acknowledged is there, and the state is what the log says. */
static void check_after_kill(struct bed *b, struct model *m, uint64_t acked)
{
        struct arena a = { 0 };
        struct store_start st;
        struct fail f = { 0 };
        bed_open(b);
        if (b->s->ops->load(b->s, &a, &st, &f) != 0) fail_msg("load: %s", f.text);
        uint64_t last = st.entries_n != 0 ? st.entries[st.entries_n - 1].index : st.snapshot.index;
        assert_true(last == acked || last == acked + 1);
        assert_int_equal(st.applied.index, last);
        assert_int_equal(st.voted_for, last);
        while (m->applied.index < last) {
                struct log_entry e =
                        make_entry(&m->arena, m->applied.index + 1, 1, m->applied.writeset_index);
                model_apply(m, &e);
                m->log[e.index] = e;
        }
        for (uint64_t i = 0; i < st.entries_n; i++)
                assert_same_entry(&st.entries[i], &m->log[st.entries[i].index]);
        assert_same_applied(&st.applied, &m->applied);
        expect_state(b, m);
        arena_done(&a);
        bed_close(b);
}

static void test_killed(void **state)
{
        (void)state;
        struct bed b;
        struct model *m = model_new();
        uint64_t acked = 0;
        rng_state = 4242;
        bed_init(&b, true);
        bed_close(&b);
        for (int round = 0; round < 12 && acked + 500 < ENTRIES_MAX; round++) {
                int fds[2];
                assert_int_equal(pipe(fds), 0);
                pid_t pid = fork();
                assert_true(pid >= 0);
                if (pid == 0) {
                        close(fds[0]);
                        write_until_killed(b.dir, fds[1]);
                }
                close(fds[1]);
                uint64_t index, stop = acked + 1 + rnd(40);
                while (acked < stop && read(fds[0], &index, sizeof index) == (ssize_t)sizeof index)
                        acked = index;
                usleep(rnd(2000));
                kill(pid, SIGKILL);
                int status;
                assert_int_equal(waitpid(pid, &status, 0), pid);
                assert_true(WIFSIGNALED(status));
                while (read(fds[0], &index, sizeof index) == (ssize_t)sizeof index) acked = index;
                close(fds[0]);
                check_after_kill(&b, m, acked);
                acked = m->applied.index;
        }
        bed_done(&b);
        model_free(m);
}

/* Exit code of a child that opens a damaged copy: damage found, or everything as it was, or wrong data. */
enum { FOUND = 0, HARMLESS = 2, WRONG = 3 };
static int open_damaged(const char *dir, struct model *m)
{
        struct bed b = { .lmdb = true };
        struct arena a = { 0 };
        struct store_start st;
        struct fail f = { 0 };
        struct tx *tx, *ref = kv_mem_read(m->state);
        struct tx_cursor c, r;
        snprintf(b.dir, sizeof b.dir, "%s", dir);
        if (bed_try_open(&b, &f) != 0) return FOUND;
        if (b.s->ops->load(b.s, &a, &st, &f) != 0) return FOUND;
        if (st.entries_n != m->last - m->first + 1 || st.term != m->term) return WRONG;
        if (st.voted_for != m->voted_for || st.snapshot.index != m->snapshot_index) return WRONG;
        for (uint64_t i = 0; i < st.entries_n; i++) {
                const struct log_entry *e = &m->log[m->first + i];
                if (e->term != st.entries[i].term || blob_cmp(e->data, st.entries[i].data) != 0) return WRONG;
        }
        if (b.s->ops->read_begin(b.s, &tx) != 0) return FOUND;
        int err = tx_seek(tx, &c, BLOB("\0", 1)), want = tx_seek(ref, &r, BLOB("\0", 1));
        while (err == 0 && want == 0) {
                if (blob_cmp(c.key, r.key) != 0 || blob_cmp(c.value, r.value) != 0) return WRONG;
                err = tx_next(tx, &c);
                want = tx_next(ref, &r);
        }
        if (err != want) return err == E_CORRUPT ? FOUND : WRONG;
        return HARMLESS;
}

static void try_damage(const char *dir, struct model *m, unsigned *counts)
{
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                alarm(20);
                _exit(open_damaged(dir, m));
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (WIFSIGNALED(status)) fail_msg("a damaged file killed its reader: signal %d", WTERMSIG(status));
        if (WEXITSTATUS(status) == WRONG) fail_msg("a damaged file gave wrong data");
        assert_true(WEXITSTATUS(status) == FOUND || WEXITSTATUS(status) == HARMLESS);
        counts[WEXITSTATUS(status)]++;
}

static void test_damaged(void **state)
{
        (void)state;
        struct bed b;
        struct model *m = model_new();
        unsigned counts[3] = { 0 };
        rng_state = 31337;
        bed_init(&b, true);
        fill(&b, m, 120);
        bed_close(&b);
        char path[128];
        snprintf(path, sizeof path, "%s/member.mdb", b.dir);
        int fd = open(path, O_RDWR);
        struct stat st;
        assert_int_equal(fstat(fd, &st), 0);
        size_t size = (size_t)st.st_size;
        uint8_t *whole = xmalloc(size), *hurt = xmalloc(size);
        assert_int_equal(pread(fd, whole, size, 0), (ssize_t)size);
        for (unsigned i = 0; i < 240; i++) {
                size_t left = size;
                memcpy(hurt, whole, size);
                if (i % 6 == 0) left = rnd((uint32_t)size);
                else if (i % 6 == 1)
                        memset(hurt + rnd((uint32_t)size / 4096) * (size_t)4096, (int)rnd(2) * 0xff, 4096);
                else if (i % 6 == 2)
                        hurt[rnd(2) * 4096 + rnd(160)] ^= (uint8_t)(1u << rnd(8)); /* the meta pages */
                else hurt[rnd((uint32_t)size)] ^= (uint8_t)(1u << rnd(8));
                assert_int_equal(ftruncate(fd, 0), 0);
                assert_int_equal(pwrite(fd, hurt, left, 0), (ssize_t)left);
                try_damage(b.dir, m, counts);
        }
        assert_true(counts[FOUND] > 50);
        assert_true(counts[HARMLESS] > 0);
        free(whole);
        free(hurt);
        close(fd);
        bed_done(&b);
        model_free(m);
}

/* An old copy of the file in the place of the newer one. */
static void test_replaced_by_old(void **state)
{
        (void)state;
        struct bed b;
        struct model *m = model_new();
        struct fail f = { 0 };
        char cmd[300];
        rng_state = 8;
        bed_init(&b, true);
        fill(&b, m, 10);
        bed_close(&b);
        snprintf(cmd, sizeof cmd, "cp %s/member.mdb %s/old", b.dir, b.dir);
        assert_int_equal(system(cmd), 0);
        bed_open(&b);
        fill(&b, m, 10);
        bed_close(&b);
        snprintf(cmd, sizeof cmd, "mv %s/old %s/member.mdb", b.dir, b.dir);
        assert_int_equal(system(cmd), 0);
        assert_int_equal(bed_try_open(&b, &f), E_CORRUPT);
        assert_non_null(strstr(f.text, "old copy"));
        bed_done(&b);
        model_free(m);
}

static void test_locked(void **state)
{
        (void)state;
        struct bed b, again = { .lmdb = true };
        struct fail f = { 0 };
        struct stat st;
        char path[128];
        bed_init(&b, true);
        snprintf(again.dir, sizeof again.dir, "%s", b.dir);
        assert_int_equal(bed_try_open(&again, &f), E_BUSY);
        assert_non_null(strstr(f.text, "in use"));
        snprintf(path, sizeof path, "%s/member.mdb", b.dir);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        struct store_identity id = { .member_id = 77, .cluster_uuid = "some-uuid" }, got;
        assert_int_equal(store_lmdb_set_identity(b.s, &id), 0);
        assert_int_equal(store_lmdb_set_identity(b.s, &id), 0);
        bed_close(&b);
        bed_open(&b);
        assert_int_equal(store_lmdb_identity(b.s, &got), 0);
        assert_int_equal(got.member_id, 77);
        assert_string_equal(got.cluster_uuid, "some-uuid");
        id.member_id = 78;
        assert_int_equal(store_lmdb_set_identity(b.s, &id), E_EXISTS);
        bed_done(&b);
}

/* Writes until there is no room; the error says so, and what was acknowledged is there. */
static void fill_up(struct bed *b, uint64_t map_bytes)
{
        struct arena a = { 0 };
        struct store_start st;
        struct fail f = { 0 };
        struct store_lmdb_config config = { .dir = b->dir, .map_bytes = map_bytes };
        static uint8_t big[100000];
        uint64_t index = 0;
        int err = 0;
        assert_int_equal(uv_loop_init(&b->loop), 0);
        assert_int_equal(store_lmdb_open(&b->loop, &config, &b->s, &f), 0);
        assert_int_equal(b->s->ops->load(b->s, &a, &st, &f), 0);
        assert_true(b->s->ops->is_full(b->s)); /* less than the reserve from the start */
        while (err == 0) {
                struct log_entry e = {
                        .index = index + 1, .term = 1, .type = LOG_CHANGE, .data = BLOB(big, sizeof big)
                };
                struct store_job job = { .entries = &e, .entries_n = 1, .set_vote = true, .term = 1 };
                err = run_job(b, &job);
                index += err == 0;
                assert_true(index < 2000);
        }
        assert_int_equal(err, E_NO_SPACE);
        assert_true(index > 10);
        bed_close(b);
        assert_int_equal(uv_loop_init(&b->loop), 0);
        assert_int_equal(store_lmdb_open(&b->loop, &config, &b->s, &f), 0);
        assert_int_equal(b->s->ops->load(b->s, &a, &st, &f), 0);
        assert_int_equal(st.entries_n, index);
        arena_done(&a);
}

static void test_map_full(void **state)
{
        (void)state;
        struct bed b = { .lmdb = true, .dir = "/tmp/test_store.XXXXXX" };
        assert_non_null(mkdtemp(b.dir));
        fill_up(&b, (uint64_t)8 << 20);
        bed_done(&b);
}

/* A file system of its own, in a mount namespace of its own: where that is allowed. */
static void test_disk_full(void **state)
{
        (void)state;
        struct bed b = { .lmdb = true, .dir = "/tmp/test_store.XXXXXX" };
        assert_non_null(mkdtemp(b.dir));
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
                        _exit(77);
                if (mount("none", b.dir, "tmpfs", 0, "size=6m") != 0) _exit(77);
                fill_up(&b, 0);
                bed_close(&b);
                _exit(0);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        remove_dir(b.dir);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77) skip();
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_killed),
                cmocka_unit_test(test_damaged),
                cmocka_unit_test(test_replaced_by_old),
                cmocka_unit_test(test_locked),
                cmocka_unit_test(test_map_full),
                cmocka_unit_test(test_disk_full),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
