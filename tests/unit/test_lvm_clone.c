/* Clones of thick volumes by planner, runner and provider, with tests/lib/fake_lvm for the programs of LVM and files for devices: what the clone
 * holds, a satellite that dies at every fault point, no room, a snapshot that became invalid, copies that are stopped. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "satellite/base/bcache_sys.h"
#include "satellite/base/exec.h"
#include "satellite/base/inject.h"
#include "satellite/base/wipe.h"
#include "satellite/provider/copies.h"
#include "satellite/provider/lvm_target.h"
#include "satellite/run.h"
#include "wire/codec/codec.h"
#include "wire/def/layer_size.h"

#define U_DATA "00000000-0000-4000-8000-000000000001"
#define U_COPY "00000000-0000-4000-8000-000000000002"
#define V_DATA "00000000-0000-4000-8000-000000000011"
#define V_COPY "00000000-0000-4000-8000-000000000012"
#define SNAP "00000000-0000-4000-8000-000000000021"
#define SAGA "00000000-0000-4000-8000-000000000031"
#define SIZE_KIB 8192u
#define ROOM "41943040" /* ten extents: the volume has two, a snapshot of it three, a clone two */
#define DIED 99

static bool other_layers; /* the clone is made as if another layer had been above its source (run_fill.h) */
static char dir[40];
static struct arena said;
static const struct plan_pool pool = { .name = "thick", .kind = provider_kind_LVM, .place = "vg" };

/* What the satellite remembers between rounds, of two resources. */
static struct memory {
        struct arena arena;
        struct dev devs[8];
        uint32_t n;
} remembered[2];

static const char *fake(const char *const *words)
{
        struct exec_cmd c = { .argv = words };
        struct exec_result r;
        struct trouble t;
        if (exec_run(&c, &said, &r, &t) != 0) fail_msg("%s: %s %s", words[0], t.message, t.cause);
        return r.out;
}
#define FAKE(...) fake((const char *const[]){ __VA_ARGS__, NULL })

static const char *path_of(const char *name)
{
        static char path[100];
        snprintf(path, sizeof path, "%s/dev/vg/%s", dir, name);
        return path;
}

static const char *log_path(void)
{
        static char path[60];
        snprintf(path, sizeof path, "%s/log", dir);
        return path;
}

static const char *log_text(void)
{
        static char text[4096];
        FILE *f = fopen(log_path(), "re");
        assert_non_null(f);
        text[fread(text, 1, sizeof text - 1, f)] = '\0';
        fclose(f);
        return text;
}

static int open_ok(const char *path)
{
        (void)path;
        return 0;
}

static int setup(void **state)
{
        other_layers = false;
        static const char *const programs[] = { "lvs", "vgs", "pvs", "lvcreate", "lvchange", "lvextend",
                "lvreduce", "lvremove" };
        size_t n;
        char *text = test_file("tests/lib/fake_lvm", &n);
        (void)state;
        assert_non_null(text);
        snprintf(dir, sizeof dir, "/tmp/outrigger-lvm-XXXXXX");
        assert_non_null(mkdtemp(dir));
        for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
                char path[80];
                snprintf(path, sizeof path, "%s/%s", dir, programs[i]);
                FILE *f = fopen(path, "we");
                assert_non_null(f);
                assert_int_equal(fwrite(text, 1, n, f), n);
                assert_int_equal(fclose(f), 0);
                assert_int_equal(chmod(path, 0700), 0);
        }
        free(text);
        exec_set_path(dir);
        char devices[60];
        snprintf(devices, sizeof devices, "%s/dev", dir);
        static char kept[60];
        memcpy(kept, devices, sizeof kept);
        lvm_set_dev_dir(kept);
        wipe_take_files(true);
        bcache_world.open_alone = open_ok;
        FAKE("lvs", "_make", "vg", ROOM);
        copies_open();
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        copies_close();
        exec_set_path("/bin:/usr/bin");
        FAKE("rm", "-rf", dir);
        exec_set_path(NULL);
        lvm_set_dev_dir(NULL);
        wipe_take_files(false);
        arena_done(&said);
        for (unsigned i = 0; i < 2; i++) {
                arena_done(&remembered[i].arena);
                remembered[i] = (struct memory){ 0 };
        }
        return 0;
}

/* The modules are loaded when a pool is looked at, not when snapshots are taken at once (provider_lvm.c). */
static void test_modules(void **state)
{
        (void)state;
        char path[80], asked[80], text[200];
        struct pool_info info;
        struct trouble t;
        snprintf(path, sizeof path, "%s/modprobe", dir);
        snprintf(asked, sizeof asked, "%s/asked", dir);
        FILE *f = fopen(path, "we");
        assert_non_null(f);
        assert_true(fprintf(f, "#!/bin/sh\necho \"$@\" >>%s\n", asked) > 0);
        assert_int_equal(fclose(f), 0);
        assert_int_equal(chmod(path, 0700), 0);
        for (unsigned i = 0; i < 2; i++) {
                assert_int_equal(provider_lvm.pool_info("vg", &info, &t), 0);
                (void)provider_lvm_thin.pool_info("vg/none", &info, &t);
        }
        f = fopen(asked, "re");
        assert_non_null(f);
        text[fread(text, 1, sizeof text - 1, f)] = '\0';
        fclose(f);
        assert_string_equal(text, "dm_snapshot\ndm_thin_pool\n");
}

/* ---- what is wanted ---- */

enum stage { MADE, TAKEN, CLONED, UNSNAPPED, CLONE_GONE, ALL_GONE, STAGES };

static struct sat_vlm *volume(struct arena *a, const char *backing_id, const char *uuid)
{
        struct sat_vlm *v = arena_new(a, struct sat_vlm);
        SET(v, sat_vlm, volume_number, 0);
        SET(v, sat_vlm, size_kib, SIZE_KIB);
        SET(v, sat_vlm, storage_pool_name, "thick");
        SET(v, sat_vlm, backing_id, backing_id);
        if (uuid != NULL) SET(v, sat_vlm, uuid, uuid);
        return v;
}

static void wish(enum stage s, struct arena *a, struct plan_input *in)
{
        static const char *was[] = { "NVME", "STORAGE" };
        bool copy = s == CLONED || s == CLONE_GONE, take = s == TAKEN;
        struct sat_rsc *r = arena_new(a, struct sat_rsc);
        struct sat_snap *snap = arena_new(a, struct sat_snap);
        struct sat_gone *gone = arena_array(a, struct sat_gone, 2);
        struct sat_vlm *v = volume(a, copy ? "copy_00000" : "data_00000", copy ? V_COPY : V_DATA);
        in->rsc_name = copy ? "copy" : "data";
        SET(r, sat_rsc, rsc_name, in->rsc_name);
        SET(r, sat_rsc, uuid, copy ? U_COPY : U_DATA);
        if (copy) SET(v, sat_vlm, source_id, "data_00000_clone");
        if (copy) SET(v, sat_vlm, source_uuid, SNAP);
        if (copy && other_layers) SET_N(v, sat_vlm, source_layers, was, 2);
        SET_N(r, sat_rsc, volumes, v, 1);
        if (take) SET(r, sat_rsc, hold, SAGA);
        if (s != CLONE_GONE && s != ALL_GONE) in->want = r;
        if (take) {
                SET(snap, sat_snap, rsc_name, "data");
                SET(snap, sat_snap, snap_name, "clone");
                SET(snap, sat_snap, uuid, SNAP);
                SET(snap, sat_snap, take, SAGA);
                SET_N(snap, sat_snap, volumes, volume(a, "data_00000_clone", NULL), 1);
                in->snaps = snap;
                in->snaps_n = 1;
        }
        if (s == UNSNAPPED || s == CLONE_GONE || s == ALL_GONE) {
                const char *id = s == CLONE_GONE ? "copy_00000"
                                 : s == ALL_GONE ? "data_00000"
                                                 : "data_00000_clone";
                SET(&gone[0], sat_gone, rsc_name, in->rsc_name);
                SET(&gone[0], sat_gone, uuid, s == CLONE_GONE ? U_COPY : s == ALL_GONE ? U_DATA : SNAP);
                SET_N(&gone[0], sat_gone, volumes, volume(a, id, NULL), 1);
                in->gone = gone;
                in->gone_n = 1;
        }
}

static void remember(struct memory *m, const struct run *r)
{
        struct arena fresh = { 0 };
        uint32_t n = 0;
        for (uint32_t i = 0; i < r->in.devs_n; i++) {
                if (r->in.devs[i].uuid == NULL) continue;
                assert_true(n < ARRAY_LEN(m->devs));
                dev_copy(&fresh, &r->in.devs[i], &m->devs[n++]);
        }
        arena_done(&m->arena);
        m->arena = fresh;
        m->n = n;
}

/* Rounds until nothing is left to do, or the first that fails: its trouble. *ret_waited: some found a copy under way. */
static struct trouble run_stage(enum stage s, bool *ret_waited)
{
        static const struct timespec pause = { .tv_nsec = 20 * 1000000L };
        struct memory *m = &remembered[s == CLONED || s == CLONE_GONE];
        struct trouble t = { 0 };
        bool held = false, done = false;
        for (unsigned i = 0; !done; i++) {
                struct arena a = { 0 };
                struct plan_input in = { .pools = &pool,
                        .pools_n = 1,
                        .devs = m->devs,
                        .devs_n = m->n,
                        .held = held ? SAGA : NULL };
                struct run r;
                wish(s, &a, &in);
                assert_int_equal(run_init(&r, &in), 0);
                run_resource(&r);
                held = r.in.held != NULL;
                if (r.err != 0) t = r.troubles[0];
                if (ret_waited != NULL) *ret_waited |= r.waits;
                remember(m, &r);
                done = r.err != 0 || (r.steps_done == 0 && !r.waits);
                bool idle = r.waits && r.steps_done == 0;
                run_done(&r);
                arena_done(&a);
                if (idle) (void)nanosleep(&pause, NULL);
                assert_true(i < 3000);
        }
        return t;
}

static void must_run(enum stage s)
{
        struct trouble t = run_stage(s, NULL);
        if (t.err != 0) fail_msg("stage %d: %s %s", s, t.message, t.cause);
}

/* ---- data ---- */

/* Each page says where it is, and by whom it was written. */
static void put_data(const char *name, char who)
{
        char page[4096];
        int fd = open(path_of(name), O_WRONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        for (uint64_t i = 0; i < SIZE_KIB / 4; i++) {
                memset(page, who, sizeof page);
                memcpy(page, &i, sizeof i);
                assert_int_equal(pwrite(fd, page, sizeof page, (off_t)(i * sizeof page)), sizeof page);
        }
        close(fd);
}

static void has_data(const char *name, char who)
{
        char page[4096], want[4096];
        int fd = open(path_of(name), O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        for (uint64_t i = 0; i < SIZE_KIB / 4; i++) {
                memset(want, who, sizeof want);
                memcpy(want, &i, sizeof i);
                assert_int_equal(pread(fd, page, sizeof page, (off_t)(i * sizeof page)), sizeof page);
                assert_memory_equal(page, want, sizeof page);
        }
        close(fd);
}

static const char *lvs(void) { return FAKE("lvs", "--noheadings", "vg"); }

static struct dev seen(unsigned of, const char *backing_id)
{
        struct dev found = { 0 };
        for (uint32_t i = 0; i < remembered[of].n; i++)
                if (strcmp(remembered[of].devs[i].backing_id, backing_id) == 0)
                        found = remembered[of].devs[i];
        if (found.backing_id == NULL) fail_msg("nothing is known of %s", backing_id);
        return found;
}

/* ---- a life ---- */

static bool dies_at(enum stage s, const char *point)
{
        struct fail f = { 0 };
        int status = 0;
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
                if (inject_arm(point, &f) != 0) _exit(1);
                _exit(run_stage(s, NULL).err != 0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == DIED));
        return WEXITSTATUS(status) == DIED;
}

static void live(enum stage dies, const char *point, bool reboots)
{
        for (enum stage s = MADE; s < STAGES; s++) {
                if (s == dies && point != NULL && !dies_at(s, point))
                        fail_msg("stage %d does not reach %s", s, point);
                if (s == dies && reboots) FAKE("lvs", "_down");
                must_run(s);
                if (s == MADE) put_data("data_00000", 'a');
                if (s == TAKEN) put_data("data_00000", 'b'); /* what the clone must not have */
                if (s == CLONED || s == UNSNAPPED) has_data("copy_00000", 'a');
                if (s < ALL_GONE && s >= TAKEN) has_data("data_00000", 'b');
                assert_null(s >= CLONED ? strstr(lvs(), LVM_TAG_COPY) : NULL);
        }
        assert_string_equal(lvs(), "");
}

static void test_life(void **state)
{
        (void)state;
        live(STAGES, NULL, false);
}

static void test_life_copied(void **state)
{
        (void)state;
        other_layers = true;
        live(STAGES, NULL, false);
}

static const struct {
        enum stage stage;
        const char *point;
        bool reboots;
} deaths[] = {
        { TAKEN, "lvm_created", false },
        { CLONED, "lvm_created", false },
        { CLONED, "lvm_wiped", false },
        { CLONED, "copying:3", false },
        { CLONED, "copying:5", true },
        { CLONED, "lvm_copied", false },
        { CLONED, "lvm_attached", true },
        { UNSNAPPED, "lvm_removed", false },
        { CLONE_GONE, "lvm_detached", false },
        { CLONED, "fill_copied", false },
        { CLONED, "fill_copied", true },
};

static void test_killed(void **state)
{
        (void)state;
        for (size_t i = 0; i < 2 * ARRAY_LEN(deaths); i++) {
                other_layers = i >= ARRAY_LEN(deaths);
                const char *point = deaths[i % ARRAY_LEN(deaths)].point;
                if (strcmp(point, other_layers ? "lvm_copied" : "fill_copied") == 0) continue;
                live(deaths[i % ARRAY_LEN(deaths)].stage, point, deaths[i % ARRAY_LEN(deaths)].reboots);
                for (unsigned k = 0; k < 2; k++) {
                        arena_done(&remembered[k].arena);
                        remembered[k] = (struct memory){ 0 };
                }
        }
}

/* ---- what is seen on the way ---- */

static void test_seen(void **state)
{
        struct trouble t = { 0 };
        struct arena a = { 0 };
        struct dev *list;
        uint32_t n;
        bool waited = false;
        (void)state;
        must_run(MADE);
        must_run(TAKEN);
        struct dev snap = seen(0, "data_00000_clone");
        assert_true(snap.exists && !snap.attached && snap.device_path == NULL);
        assert_int_equal(snap.size_kib, SIZE_KIB); /* not the store's */
        assert_int_equal(snap.allocated_kib, SIZE_KIB + 4096);
        assert_string_equal(snap.snap_name, "clone");
        assert_int_equal(provider_lvm.list("vg", &a, &list, &n, &t), 0);
        assert_int_equal(n, 2);
        /* A volume with a snapshot stays as it is, and says why. */
        struct dev data = seen(0, "data_00000");
        assert_int_equal(provider_lvm.resize(&data, 2 * SIZE_KIB, &t), E_BUSY);
        assert_contains(t.message, "snapshot");
        assert_true(t.cause[0] != '\0' && t.correction[0] != '\0');
        assert_int_equal(provider_lvm.detach(&data, &t), 0);
        assert_int_equal(provider_lvm.remove(&data, &t), E_BUSY);
        assert_contains(lvs(), "data_00000|");
        assert_int_equal(run_stage(CLONED, &waited).err, 0);
        assert_true(waited);
        struct dev copy = seen(1, "copy_00000");
        assert_true(copy.exists && copy.attached && !copy.unfilled && !copy.raw);
        arena_done(&a);
}

/* One round: the clone is there, is nobody's to use, and can be deleted at once. */
static void test_deleted_meanwhile(void **state)
{
        struct trouble t = { 0 };
        (void)state;
        must_run(MADE);
        must_run(TAKEN);
        struct dev src = seen(0, "data_00000_clone");
        struct dev copy = { .rsc_name = "copy",
                .uuid = U_COPY,
                .vlm_uuid = V_COPY,
                .kind = provider_kind_LVM,
                .place = "vg",
                .backing_id = "copy_00000" };
        struct arena a = { 0 };
        assert_int_equal(provider_lvm.restore(&src, &copy, SIZE_KIB, &t), E_PENDING);
        assert_int_equal(provider_lvm.probe(&copy, &a, &t), 0);
        assert_true(copy.exists && copy.unfilled && !copy.raw && !copy.in_use);
        assert_int_equal(
                provider_lvm.create(&copy, SIZE_KIB, &t), E_NOT_FOUND); /* never taken for an empty one */
        assert_int_equal(provider_lvm.remove(&copy, &t), 0);
        must_run(UNSNAPPED);
        must_run(ALL_GONE);
        assert_string_equal(lvs(), "");
        arena_done(&a);
}

static void test_no_room(void **state)
{
        (void)state;
        must_run(MADE);
        FAKE("lvcreate", "--name", "ballast", "--size", "16384k", "--addtag", "theirs",
                "vg"); /* leaves four extents of five */
        struct trouble t = run_stage(TAKEN, NULL);
        assert_int_equal(t.code, TROUBLE_NO_SPACE);
        assert_contains(t.cause, "20480 KiB are needed");
        assert_contains(t.correction, "vgextend");
        assert_null(strstr(lvs(), "data_00000_clone"));
}

/* I/O is held meanwhile: lvs is asked only when lvcreate has refused. */
static void test_taken_once(void **state)
{
        struct trouble t = { 0 };
        (void)state;
        must_run(MADE);
        must_run(TAKEN);
        struct dev src = seen(0, "data_00000"), snap = seen(0, "data_00000_clone");
        assert_int_equal(provider_lvm.remove(&snap, &t), 0);
        assert_int_equal(truncate(log_path(), 0), 0);
        assert_int_equal(provider_lvm.snapshot(&src, &snap, false, &t), 0);
        assert_contains(log_text(), "lvcreate");
        assert_null(strstr(log_text(), "lvs"));
        /* It is there already: from an attempt whose end nobody saw, which serves, and has left no room; or somebody else's. */
        FAKE("lvcreate", "--name", "ballast", "--size", "4096k", "--addtag", "theirs", "vg");
        put_data("data_00000_clone", 'z');
        assert_int_equal(provider_lvm.snapshot(&src, &snap, false, &t), 0);
        has_data("data_00000_clone", 'z');
        snap.uuid = U_COPY;
        snap.made = false;
        assert_int_equal(provider_lvm.snapshot(&src, &snap, false, &t), E_EXISTS);
        assert_contains(t.message, "does not belong to this volume");
        has_data("data_00000_clone", 'z');
}

static void test_invalid(void **state)
{
        (void)state;
        must_run(MADE);
        must_run(TAKEN);
        FAKE("lvs", "_break", "data_00000_clone");
        struct trouble t = run_stage(CLONED, NULL);
        assert_int_equal(t.err, E_STORAGE);
        assert_contains(t.cause, "invalid");
        assert_contains(lvs(), LVM_TAG_COPY); /* it is not taken for made */
        must_run(CLONE_GONE);
        must_run(UNSNAPPED);
        must_run(ALL_GONE);
        assert_string_equal(lvs(), "");
}

/* ---- copies alone ---- */

static void make_file(const char *name, uint64_t bytes)
{
        int fd = open(path_of(name), O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
        close(fd);
}

static int ask(uint64_t bytes, struct copy_fault *f)
{
        char from[100];
        snprintf(from, sizeof from, "%s", path_of("from"));
        return copies_ask(NULL, from, path_of("to"), bytes, f);
}

static int ask_to_the_end(uint64_t bytes, struct copy_fault *f)
{
        static const struct timespec pause = { .tv_nsec = 5 * 1000000L };
        int err;
        while ((err = ask(bytes, f)) == E_PENDING) (void)nanosleep(&pause, NULL);
        return err;
}

static void test_copies(void **state)
{
        struct copy_fault f;
        struct stat st;
        bool any;
        (void)state;
        make_file("from", UINT64_C(1) << 30); /* a hole */
        make_file("to", UINT64_C(1) << 30);
        assert_int_equal(ask(UINT64_C(1) << 30, &f), E_PENDING);
        assert_int_equal(copies_stop(path_of("from"), &any), 0);
        assert_true(any);
        assert_int_equal(stat(path_of("to"), &st), 0);
        assert_true((uint64_t)st.st_blocks * 512 < UINT64_C(1) << 30); /* cut off */
        assert_int_equal(copies_stop(path_of("from"), &any), 0);
        assert_false(any);
        /* shorter than it says; and a target that is too small */
        make_file("from", 1 << 20);
        make_file("to", 3 << 20);
        unsigned before = copies_ended();
        assert_int_equal(ask_to_the_end(2 << 20, &f), E_STORAGE);
        assert_true(copies_ended() != before && f.reading && f.number == EIO && f.at == 1 << 20);
        make_file("to", 4096);
        assert_int_equal(ask_to_the_end(1 << 20, &f), E_STORAGE);
        assert_true(!f.reading && f.number == ENOSPC);
        /* what the target has more is zero */
        make_file("to", 3 << 20);
        int fd = open(path_of("to"), O_RDWR | O_CLOEXEC);
        char c = 'x';
        assert_int_equal(pwrite(fd, &c, 1, 5 << 19), 1);
        assert_int_equal(ask_to_the_end(1 << 20, &f), 0);
        assert_int_equal(pread(fd, &c, 1, 5 << 19), 1);
        assert_int_equal(c, 0);
        close(fd);
        copies_stop_all();
        assert_int_equal(ask(1 << 20, &f), E_CANCELED);
}

/* The store never has to take more than its size: for each chunk of the volume one, one of exceptions for 4096, a header, and the next area. */
static void test_store(void **state)
{
        static const uint64_t sizes[] = { 4, 64, 65, 4096, 4095 * 64, 4096 * 64, 4097 * 64, UINT64_C(1) << 30,
                UINT64_C(1) << 40 };
        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
                uint64_t chunks = (sizes[i] + COW_CHUNK_KIB - 1) / COW_CHUNK_KIB,
                         areas = (chunks + 4095) / 4096;
                assert_true(cow_store_kib(sizes[i]) >= (1 + chunks + areas + 1) * COW_CHUNK_KIB);
                assert_true(cow_store_kib(sizes[i]) <= sizes[i] + sizes[i] / 4096 + 6 * COW_CHUNK_KIB);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(
                        test_modules, setup, teardown), /* first: they are loaded once */
                cmocka_unit_test(test_store),
                cmocka_unit_test_setup_teardown(test_copies, setup, teardown),
                cmocka_unit_test_setup_teardown(test_life, setup, teardown),
                cmocka_unit_test_setup_teardown(test_life_copied, setup, teardown),
                cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
                cmocka_unit_test_setup_teardown(test_seen, setup, teardown),
                cmocka_unit_test_setup_teardown(test_deleted_meanwhile, setup, teardown),
                cmocka_unit_test_setup_teardown(test_no_room, setup, teardown),
                cmocka_unit_test_setup_teardown(test_taken_once, setup, teardown),
                cmocka_unit_test_setup_teardown(test_invalid, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
