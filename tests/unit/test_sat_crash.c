/* The satellite as a program, ended (as by kill -9) at every fault point, then started again: it finishes
 * what was wanted, loses nothing and leaves nothing behind. */
#include "tests/lib/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/sat_bed.h"
#include "wire/codec/codec.h"

#define U1 "00000000-0000-4000-8000-000000000001"
#define U2 "00000000-0000-4000-8000-000000000002"

#define U3 "00000000-0000-4000-8000-000000000007"
#define U4 "00000000-0000-4000-8000-000000000008"

#define U5 "00000000-0000-4000-8000-000000000009"
#define U6 "00000000-0000-4000-8000-00000000000a"

#define SNAP "00000000-0000-4000-8000-000000000003"
#define SAGA "00000000-0000-4000-8000-000000000004"
#define VLM "00000000-0000-4000-8000-000000000005"
#define VLM_OLD "00000000-0000-4000-8000-000000000006"
#define VLM_BACK "00000000-0000-4000-8000-000000000009"
#define STAGES 10

#define INJECT(name, doc) #name,
static const char *const points[] = {
#include "wire/def/inject.def"
};
#undef INJECT

static void wish_snapshot(struct wish *x, struct sat_rsc *r, bool take)
{
        struct sat_snap *s = arena_new(&x->arena, struct sat_snap);
        struct sat_vlm *v = arena_new(&x->arena, struct sat_vlm);
        SET(v, sat_vlm, volume_number, 0);
        SET(v, sat_vlm, size_kib, 1024);
        SET(v, sat_vlm, storage_pool_name, "thin");
        SET(v, sat_vlm, backing_id, "two_00000_snap");
        SET(s, sat_snap, rsc_name, "two");
        SET(s, sat_snap, snap_name, "snap");
        SET(s, sat_snap, uuid, SNAP);
        SET(s, sat_snap, revision, 1);
        SET_N(s, sat_snap, volumes, v, 1);
        SET_N(&x->w, sat_wanted, snapshots, s, 1);
        if (take) {
                SET(s, sat_snap, take, SAGA);
                SET(r, sat_rsc, hold, SAGA);
                return;
        }
        SET(&r->volumes[0], sat_vlm, uuid, VLM);
        SET(&r->volumes[0], sat_vlm, source_id, "two_00000_snap");
        SET(&r->volumes[0], sat_vlm, source_uuid, SNAP);
        SET(&r->volumes[0], sat_vlm, in_place, true);
}

/* What tells DRBD 9's metadata, at the end of a device of 1 MiB. */
#define SUPER_AT (1024 * 1024 - 4096)

/* One from the same snapshot, but without DRBD: as if that had been above it. copied: and another layer below that, so that it is a copy. */
static void wish_without(struct wish *x, const char *name, const char *uuid, bool copied)
{
        static const char *was[] = { "DRBD", "STORAGE" }, *was_more[] = { "DRBD", "NVME", "STORAGE" };
        wish_rsc(x, name, uuid, 1, copied ? SUPER_AT / 1024 : 1024, "thin");
        struct sat_vlm *v = x->w.resources[x->w.resources_n - 1].volumes;
        SET(v, sat_vlm, uuid, uuid);
        SET(v, sat_vlm, source_id, "two_00000_snap");
        SET(v, sat_vlm, source_uuid, SNAP);
        if (copied) SET_N(v, sat_vlm, source_layers, was_more, 3);
        else SET_N(v, sat_vlm, source_layers, was, 2);
}

/* What is wanted at each stage of a history: create, write, grow, delete and create anew, take a snapshot, (write again,) roll
 * back, clone with other layers, twice take down and become a volume with another uuid, with nothing to copy. Whole lists. */
static void wish_stage(struct wish *x, struct bed *b, unsigned stage)
{
        wish_init(x, b, 1, 10 + stage);
        if (stage < 2) {
                wish_rsc(x, "one", U1, 2, stage == 0 ? 1024 : 2048, "thick");
                wish_rsc(x, "two", U1, 1, 1024, "thin");
                SET(&x->w.resources[1].volumes[0], sat_vlm, uuid, VLM_OLD);
                return;
        }
        wish_gone(x, "one", U1, 2, "thick");
        wish_rsc(x, "one", U2, 1, 1024, "thin");
        wish_rsc(x, "two", U1, 1, 1024, "thin");
        SET(&x->w.resources[x->w.resources_n - 1].volumes[0], sat_vlm, uuid, VLM_OLD);
        if (stage >= 3) wish_snapshot(x, &x->w.resources[x->w.resources_n - 1], stage == 3);
        if (stage < 5) return;
        wish_without(x, "three", U3, false);
        wish_without(x, "four", U4, false);
        wish_without(x, "five", U5, true);
        wish_without(x, "six", U6, true);
        for (uint32_t i = 0; i < x->w.resources_n && stage > 5; i++) {
                struct sat_rsc *r = &x->w.resources[i];
                if (strcmp(r->rsc_name, "two") != 0) continue;
                bool back = stage == 7 || stage == 8;
                SET(&r->volumes[0], sat_vlm, uuid, back ? VLM_BACK : VLM);
                SET(&r->volumes[0], sat_vlm, same_uuid, back ? VLM : VLM_BACK);
                if (stage % 2 == 0) SET(r, sat_rsc, flags, rsc_flag_INACTIVE);
        }
}

static const uint8_t super[] = { 0x83, 0x74, 0x02, 0x6d }, none[4];

static const char *const clones[] = { "three", "four", "five", "six" };

static bool is_dead(struct bed *b) { return b->pid == 0 || bed_wait_exit(b, 0) != -1; }

/* True when the stage was reached; false when the program died on the way. */
static bool reach(struct bed *b, struct ctl *c, unsigned stage)
{
        struct wish x;
        wish_stage(&x, b, stage);
        int err = ctl_want(c, &x.w);
        wish_done(&x);
        if (err != 0) return false;
        for (unsigned waited = 0; waited < 10000; waited += 10) {
                const struct obs_rsc *one = ctl_row(c, "one"), *two = ctl_row(c, "two");
                bool done = one != NULL && two != NULL && one->revision == 10 + stage &&
                            two->revision == 10 + stage && one->state == sat_step_state_DONE &&
                            two->state == sat_step_state_DONE;
                bool taken = stage < 3 || (two != NULL && two->snapshots_n == 1 &&
                                                  two->snapshots[0].state == sat_step_state_DONE);
                for (size_t i = 0; i < ARRAY_LEN(clones) && stage >= 5; i++) {
                        const struct obs_rsc *o = ctl_row(c, clones[i]);
                        done = done && o != NULL && o->revision == 10 + stage &&
                               o->state == sat_step_state_DONE;
                }
                if (done && taken && (stage < 2 || one->gone_uuids_n == 1)) return true;
                if (c->ended) return false;
                run_for(&b->loop, 10);
        }
        for (uint32_t i = 0; i < c->rows_n; i++) {
                const struct obs_rsc *r = &c->rows[i];
                const struct obs_vlm *v = r->volumes_n > 0 ? &r->volumes[0] : NULL;
                print_error("%s: state %d %s %s\n", r->rsc_name, (int)r->state,
                        v != NULL && v->reports_n > 0 ? v->reports[0].message : "",
                        v != NULL && v->reports_n > 0 ? v->reports[0].cause : "");
        }
        fail_msg("stage %u is not reached", stage);
        return false;
}

static void check_end(struct bed *b, struct ctl *c)
{
        DIR *d = opendir(b->pool);
        const struct dirent *e;
        unsigned files = 0;
        while ((e = readdir(d)) != NULL)
                files += e->d_name[0] != '.' || strncmp(e->d_name, ".outrigger", 10) == 0;
        closedir(d);
        assert_int_equal(files, 7); /* volumes and a snapshot: nothing that was beside them for a while */
        char device[32];
        static const char *const names[] = { "two", "three", "four", "five", "six" };
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                char got[9] = "";
                uint8_t end[8];
                int fd = open(ctl_row(c, names[i])->volumes[0].device_path, O_RDONLY);
                assert_int_equal(read(fd, got, 8), 8);
                assert_string_equal(got, "precious");
                /* metadata of the layer that the clones lack is gone from them, and was not copied */
                bool copied = i >= 3;
                assert_int_equal(pread(fd, end, 8, SUPER_AT + 60), copied ? 0 : 8);
                if (!copied) assert_int_equal(memcmp(end, i == 0 ? super : none, 4), 0);
                close(fd);
        }
        assert_true(bed_loop_of(bed_image(b, "one", 0), device));
        assert_false(bed_loop_of(bed_image(b, "one", 1), device));
}

static void write_super(struct ctl *c)
{
        int fd = open(ctl_row(c, "two")->volumes[0].device_path, O_WRONLY);
        assert_int_equal(pwrite(fd, super, sizeof super, SUPER_AT + 60), sizeof super);
        assert_int_equal(fsync(fd), 0);
        close(fd);
}

/* Goes through the history; restarts the program without the fault once it has died. */
static void history(struct bed *b, const char *fault)
{
        struct ctl c;
        bool died = false;
        bed_spawn(b, fault);
        ctl_open(&c, b, "c1");
        for (unsigned stage = 0; stage < STAGES;) {
                if (reach(b, &c, stage)) {
                        if (stage == 0) write_super(&c);
                        if (stage == 0 || stage == 3) {
                                int fd = open(ctl_row(&c, "two")->volumes[0].device_path, O_WRONLY);
                                assert_int_equal(write(fd, stage == 0 ? "precious" : "scribble", 8), 8);
                                assert_int_equal(fsync(fd), 0);
                                close(fd);
                        }
                        stage++;
                        continue;
                }
                assert_false(died);
                died = true;
                assert_int_equal(bed_wait_exit(b, 5000), 99);
                ctl_close(&c);
                bed_spawn(b, NULL);
                ctl_open(&c, b, "c1");
        }
        if (!died) fail_msg("%s was never reached", fault);
        check_end(b, &c);
        ctl_close(&c);
        assert_int_equal(kill(b->pid, SIGTERM), 0);
        assert_int_equal(bed_wait_exit(b, 12000), 0);
}

static void test_points(void **state)
{
        for (size_t i = 0; i < ARRAY_LEN(points); i++) {
                if (strncmp(points[i], "LVM_", 4) == 0 || strncmp(points[i], "LUKS_", 5) == 0 ||
                        strncmp(points[i], "ZFS_", 4) == 0 || strncmp(points[i], "DRBD_", 5) == 0 ||
                        strncmp(points[i], "CACHE_", 6) == 0 || strncmp(points[i], "DISK_POOL_", 10) == 0 ||
                        strncmp(points[i], "BCACHE_", 7) == 0 || strncmp(points[i], "NVME_", 5) == 0 ||
                        strcmp(points[i], "FILL_OPENED") == 0)
                        continue; /* those need a kernel with device-mapper or DRBD: tests/vm; or are in test_zfs_crash, test_disk_pool */
                for (unsigned count = 1; count <= 2; count++) {
                        struct bed b;
                        char fault[64];
                        snprintf(fault, sizeof fault, "%s:%u", points[i], count);
                        for (char *p = fault; *p != '\0'; p++)
                                if (*p >= 'A' && *p <= 'Z') *p = (char)(*p + 32);
                        bed_init(&b);
                        history(&b, fault);
                        bed_done(&b);
                }
        }
}

/* Killed from outside at arbitrary moments. */
static void test_kills(void **state)
{
        struct test_rng rng = { 7 };
        struct bed b;
        struct ctl c;
        bed_init(&b);
        for (unsigned i = 0; i < 8; i++) {
                bed_spawn(&b, NULL);
                ctl_open(&c, &b, "c1");
                struct wish x;
                wish_stage(&x, &b, 0);
                ctl_send(&c, &sat_wanted_type, &x.w);
                wish_done(&x);
                run_for(&b.loop, (unsigned)test_rng_below(&rng, 30));
                kill(b.pid, SIGKILL);
                assert_int_equal(bed_wait_exit(&b, 5000), 128 + SIGKILL);
                ctl_close(&c);
        }
        bed_spawn(&b, NULL);
        ctl_open(&c, &b, "c1");
        assert_true(reach(&b, &c, 0));
        assert_false(is_dead(&b));
        ctl_close(&c);
        bed_done(&b);
}

int main(void)
{
        bed_need_loops();
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_points), cmocka_unit_test(test_kills) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
