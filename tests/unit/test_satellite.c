/* The satellite in process, over real TLS on loopback, with real loop devices: what it does with wanted
 * states. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "satellite/base/trouble.h"
#include "satellite/provider/loopdev.h"
#include "satellite/provider/provider.h"
#include "tests/unit/sat_bed.h"
#include "wire/codec/codec.h"

#define U1 "00000000-0000-4000-8000-000000000001"
#define U2 "00000000-0000-4000-8000-000000000002"

static int setup(void **state)
{
        struct bed *b = xnew(struct bed);
        bed_init(b);
        bed_start(b);
        *state = b;
        return 0;
}

static int teardown(void **state)
{
        bed_done(*state);
        free(*state);
        return 0;
}

static uint64_t device_kib(const char *device)
{
        uint64_t bytes = 0;
        int fd = open(device, O_RDONLY);
        if (fd >= 0 && ioctl(fd, BLKGETSIZE64, &bytes) != 0) bytes = 0;
        if (fd >= 0) close(fd);
        return bytes / 1024;
}

static void put_text(const char *path, const char *text, int flags)
{
        int fd = open(path, O_WRONLY | flags, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
        assert_int_equal(fsync(fd), 0);
        close(fd);
}

static void check_text(const char *path, const char *text)
{
        char got[64] = "";
        int fd = open(path, O_RDONLY);
        assert_true(fd >= 0);
        assert_int_equal(read(fd, got, strlen(text)), strlen(text));
        close(fd);
        assert_string_equal(got, text);
}

static bool has_code(const struct api_rc *rcs, uint32_t n, unsigned code)
{
        for (uint32_t i = 0; i < n; i++)
                if (((uint64_t)rcs[i].ret_code & 0x7fff) == code && rcs[i].message != NULL) return true;
        return false;
}

/* Sends a whole wanted state of one resource. */
static int want_one(struct ctl *c, struct bed *b, uint64_t term, uint64_t rev, const char *uuid, unsigned n,
        uint64_t kib, const char *pool)
{
        struct wish x;
        wish_init(&x, b, term, rev);
        if (uuid != NULL) wish_rsc(&x, "r", uuid, n, kib, pool);
        int err = ctl_want(c, &x.w);
        wish_done(&x);
        return err;
}

/* ---- life of a resource ---- */

static bool has_pools(struct ctl *c, const void *arg)
{
        return c->pools_n == 2 && HAS(&c->pools[0], obs_pool, free_kib) &&
               HAS(&c->pools[1], obs_pool, free_kib);
}

/* Revision 11 has three volumes; then one goes, then the resource, then its tombstone. */
static void end_of_life(struct ctl *c, struct bed *b)
{
        struct wish x;
        char device[32];
        wish_init(&x, b, 1, 12);
        wish_base(&x, 11);
        wish_rsc(&x, "r", U1, 2, 8192, "thick"); /* volume 2 is no more */
        assert_int_equal(ctl_want(c, &x.w), 0);
        wish_done(&x);
        const struct obs_rsc *r = ctl_await(c, "r", 12, sat_step_state_DONE);
        assert_int_equal(r->volumes_n, 2);
        assert_false(path_exists(bed_image(b, "r", 2)));

        wish_init(&x, b, 1, 13);
        wish_base(&x, 12);
        wish_gone(&x, "r", U1, 2, "thick");
        assert_int_equal(ctl_want(c, &x.w), 0);
        wish_done(&x);
        ctl_await_gone(c, "r", U1);
        assert_true(ctl_row(c, "r")->gone);
        assert_false(path_exists(bed_image(b, "r", 0)));
        assert_false(bed_loop_of(bed_image(b, "r", 0), device));

        wish_init(&x, b, 1, 14);
        wish_base(&x, 13);
        wish_confirm(&x, U1);
        assert_int_equal(ctl_want(c, &x.w), 0);
        wish_done(&x);
        RUN_WHILE(&b->loop, ctl_row(c, "r") != NULL);
        assert_null(ctl_row(c, "r")); /* dropped */
}

static void test_life(void **state)
{
        struct bed *b = *state;
        struct ctl c;
        ctl_open(&c, b, "c1");
        assert_string_equal(c.hello.node_name, NODE);
        assert_int_equal(c.hello.storage_providers_n, 3);
        assert_int_equal(c.hello.resource_layers_n, 1);
        const struct str_list *why = objmap_get(&str_list_type, &c.hello.unsupported_providers, "SPDK");
        assert_non_null(why);
        assert_contains(why->items[0], "SPDK is not supported");
        assert_int_equal(want_one(&c, b, 1, 10, U1, 3, 4096, "thick"), 0);
        assert_int_equal(c.reply.revision, 10);
        const struct obs_rsc *r = ctl_await(&c, "r", 10, sat_step_state_DONE);
        assert_int_equal(r->volumes_n, 3);
        assert_int_equal(r->reports_n, 0);
        for (unsigned i = 0; i < 3; i++) {
                struct stat st;
                assert_string_equal(r->volumes[i].disk_state, "Created");
                assert_int_equal(device_kib(r->volumes[i].device_path), 4096);
                assert_string_equal(r->volumes[i].backing_device, bed_image(b, "r", i));
                assert_int_equal(stat(bed_image(b, "r", i), &st), 0);
                assert_int_equal(st.st_size, 4096 * 1024);
                assert_true(st.st_blocks >= 4096 * 2); /* thick */
        }
        assert_true(ctl_wait(&c, has_pools, NULL, 5000));
        struct statvfs v;
        assert_int_equal(statvfs(b->pool, &v), 0);
        assert_int_equal(c.pools[0].total_kib, v.f_blocks * v.f_frsize / 1024);
        put_text(r->volumes[0].device_path, "precious", 0);

        assert_int_equal(want_one(&c, b, 1, 11, U1, 3, 8192, "thick"), 0);
        r = ctl_await(&c, "r", 11, sat_step_state_DONE);
        for (unsigned i = 0; i < 3; i++) assert_int_equal(device_kib(r->volumes[i].device_path), 8192);
        check_text(r->volumes[0].device_path, "precious");

        char device[32];
        snprintf(device, sizeof device, "%s", r->volumes[0].device_path);
        ctl_close(&c);
        bed_stop(b);
        check_text(device, "precious"); /* stopping leaves devices alone */
        bed_start(b);
        ctl_open(&c, b, "c1");
        assert_int_equal(c.hello.revision, 11);
        r = ctl_await(&c, "r", 11, sat_step_state_DONE);
        assert_string_equal(r->volumes[0].device_path, device);

        end_of_life(&c, b);
        ctl_close(&c);
}

/* As after a reboot: no devices, no controller. */
static void test_boot(void **state)
{
        struct bed *b = *state;
        struct ctl c;
        ctl_open(&c, b, "c1");
        assert_int_equal(want_one(&c, b, 1, 5, U1, 2, 1024, "thin"), 0);
        const struct obs_rsc *r = ctl_await(&c, "r", 5, sat_step_state_DONE);
        put_text(r->volumes[1].device_path, "kept", 0);
        ctl_close(&c);
        bed_stop(b);
        bed_release_loops(b);
        char device[32];
        assert_false(bed_loop_of(bed_image(b, "r", 1), device));
        bed_start(b);
        RUN_WHILE(&b->loop, !bed_loop_of(bed_image(b, "r", 1), device));
        check_text(device, "kept");
        /* Somebody releases a device behind our back: the next scan finds out. */
        bed_release_loops(b);
        RUN_WHILE(&b->loop, !bed_loop_of(bed_image(b, "r", 1), device));
        check_text(device, "kept");
}

static void test_in_use(void **state)
{
        struct bed *b = *state;
        struct ctl c;
        struct wish x;
        ctl_open(&c, b, "c1");
        assert_int_equal(want_one(&c, b, 1, 5, U1, 1, 1024, "thin"), 0);
        const struct obs_rsc *r = ctl_await(&c, "r", 5, sat_step_state_DONE);
        for (int exclusive = 0; exclusive < 2;
                exclusive++) { /* a program that has it open; a mount or the like */
                int fd = open(r->volumes[0].device_path, O_RDONLY | (exclusive ? O_EXCL : 0));
                assert_true(fd >= 0);
                wish_init(&x, b, 1, 6 + 2 * (unsigned)exclusive);
                wish_gone(&x, "r", U1, 1, "thin");
                assert_int_equal(ctl_want(&c, &x.w), 0);
                r = ctl_await(&c, "r", x.w.revision, sat_step_state_FAILED);
                assert_true(has_code(r->volumes[0].reports, r->volumes[0].reports_n, TROUBLE_IN_USE));
                assert_non_null(r->volumes[0].reports[0].correction);
                assert_false(r->gone);
                assert_true(path_exists(bed_image(b, "r", 0)));
                char device[32];
                assert_true(bed_loop_of(bed_image(b, "r", 0), device));
                wish_done(&x);
                close(fd);
                if (exclusive) break;
                /* Tried again by itself. Then made anew, for the second round. */
                ctl_await_gone(&c, "r", U1);
                assert_int_equal(want_one(&c, b, 1, 7, U1, 1, 1024, "thin"), 0);
                r = ctl_await(&c, "r", 7, sat_step_state_DONE);
        }
        ctl_await_gone(&c, "r", U1); /* tried again by itself */
        assert_false(path_exists(bed_image(b, "r", 0)));
        ctl_close(&c);
}

static void test_shrink(void **state)
{
        struct bed *b = *state;
        struct ctl c;
        ctl_open(&c, b, "c1");
        assert_int_equal(want_one(&c, b, 1, 5, U1, 1, 4096, "thin"), 0);
        const struct obs_rsc *r = ctl_await(&c, "r", 5, sat_step_state_DONE);
        put_text(r->volumes[0].device_path, "kept", 0);
        int fd = open(r->volumes[0].device_path, O_RDONLY); /* as a virtual machine does, not exclusively */
        assert_true(fd >= 0);
        struct wish x;
        wish_init(&x, b, 1, 6);
        wish_rsc(&x, "r", U1, 1, 1024, "thin");
        SET(&x.w.resources[0].volumes[0], sat_vlm, may_shrink, true);
        assert_int_equal(ctl_want(&c, &x.w), 0);
        wish_done(&x);
        r = ctl_await(&c, "r", 6, sat_step_state_FAILED);
        assert_true(has_code(r->volumes[0].reports, r->volumes[0].reports_n, TROUBLE_IN_USE));
        assert_int_equal(device_kib(r->volumes[0].device_path), 4096);
        struct stat st;
        assert_int_equal(stat(bed_image(b, "r", 0), &st), 0);
        assert_int_equal(st.st_size, 4096 * 1024);
        close(fd);
        r = ctl_await(&c, "r", 6, sat_step_state_DONE); /* tried again by itself */
        assert_int_equal(device_kib(r->volumes[0].device_path), 1024);
        check_text(r->volumes[0].device_path, "kept");
        ctl_close(&c);
}

static int want_volume(struct ctl *c, struct bed *b, uint64_t rev, const char *vlm_uuid, const char *pool)
{
        struct wish x;
        wish_init(&x, b, 1, rev);
        wish_rsc(&x, "r", U1, 1, 1024, pool);
        if (vlm_uuid != NULL) SET(&x.w.resources[0].volumes[0], sat_vlm, uuid, vlm_uuid);
        int err = ctl_want(c, &x.w);
        wish_done(&x);
        return err;
}

/* A volume that was deleted and made anew under the same number, all while nobody could tell the node. */
static void test_volume_replaced(void **state)
{
        struct bed *b = *state;
        struct ctl c;
        ctl_open(&c, b, "c1");
        assert_int_equal(want_volume(&c, b, 5, NULL, "thin"), 0); /* an older controller's */
        const struct obs_rsc *r = ctl_await(&c, "r", 5, sat_step_state_DONE);
        put_text(r->volumes[0].device_path, "one's", 0);
        assert_int_equal(want_volume(&c, b, 6, "v-1", "thin"), 0); /* takes the volume over */
        r = ctl_await(&c, "r", 6, sat_step_state_DONE);
        check_text(r->volumes[0].device_path, "one's");
        assert_int_equal(want_volume(&c, b, 7, NULL, "thin"), 0); /* the older one leads again */
        r = ctl_await(&c, "r", 7, sat_step_state_DONE);
        check_text(r->volumes[0].device_path, "one's");
        ctl_close(&c);
        bed_stop(b);
        char path[128];
        snprintf(path, sizeof path, "%s/satellite.state", b->state);
        assert_int_equal(unlink(path), 0); /* the mark tells */
        bed_start(b);
        ctl_open(&c, b, "c1");
        assert_int_equal(want_volume(&c, b, 8, "v-2", "thin"), 0);
        r = ctl_await(&c, "r", 8, sat_step_state_DONE);
        char text[8] = "";
        int fd = open(r->volumes[0].device_path, O_RDONLY);
        assert_int_equal(read(fd, text, 5), 5);
        assert_memory_equal(text, "\0\0\0\0\0", 5);
        int writer = open(r->volumes[0].device_path, O_WRONLY);
        assert_int_equal(write(writer, "two's", 5), 5);
        close(writer);
        /* In use: neither removed nor shown as the new one. */
        assert_int_equal(want_volume(&c, b, 9, "v-3", "thin"), 0);
        r = ctl_await(&c, "r", 9, sat_step_state_FAILED);
        assert_string_equal(r->volumes[0].disk_state, "Failed");
        assert_null(r->volumes[0].device_path);
        assert_int_equal(pread(fd, text, 5, 0), 5);
        assert_memory_equal(text, "two's", 5);
        close(fd);
        r = ctl_await(&c, "r", 9, sat_step_state_DONE);
        fd = open(r->volumes[0].device_path, O_RDONLY);
        assert_int_equal(read(fd, text, 5), 5);
        close(fd);
        assert_memory_equal(text, "\0\0\0\0\0", 5);
        ctl_close(&c);
}

static void test_same_name(void **state)
{
        struct bed *b = *state;
        struct ctl c;
        struct wish x;
        ctl_open(&c, b, "c1");
        assert_int_equal(want_one(&c, b, 1, 5, U1, 1, 1024, "thin"), 0);
        const struct obs_rsc *r = ctl_await(&c, "r", 5, sat_step_state_DONE);
        put_text(r->volumes[0].device_path, "old", 0);
        assert_int_equal(
                want_one(&c, b, 1, 6, U2, 1, 1024, "thin"), 0); /* the cluster has not deleted the old one */
        r = ctl_await(&c, "r", 6, sat_step_state_FAILED);
        assert_true(has_code(r->volumes[0].reports, r->volumes[0].reports_n, TROUBLE_EXISTS));
        check_text(bed_image(b, "r", 0), "old");
        wish_init(&x, b, 1, 7);
        wish_gone(&x, "r", U1, 1, "thin");
        wish_rsc(&x, "r", U2, 1, 1024, "thin");
        assert_int_equal(ctl_want(&c, &x.w), 0);
        wish_done(&x);
        r = ctl_await(&c, "r", 7, sat_step_state_DONE);
        assert_string_equal(r->uuid, U2);
        assert_int_equal(r->gone_uuids_n, 1);
        assert_string_equal(r->gone_uuids[0], U1);
        assert_false(r->gone);
        char zero[3] = "xxx";
        int fd = open(r->volumes[0].device_path, O_RDONLY);
        assert_int_equal(read(fd, zero, 3), 3);
        close(fd);
        assert_memory_equal(zero, "\0\0\0", 3);
        ctl_close(&c);
}

/* ---- what must never be touched ---- */

static void test_orphan(void **state)
{
        struct bed *b = *state;
        struct ctl c;
        struct wish x;
        ctl_open(&c, b, "c1");
        assert_int_equal(want_one(&c, b, 1, 5, U1, 1, 1024, "thin"), 0);
        const struct obs_rsc *r = ctl_await(&c, "r", 5, sat_step_state_DONE);
        put_text(r->volumes[0].device_path, "kept", 0);
        assert_int_equal(want_one(&c, b, 1, 6, NULL, 0, 0, NULL), 0); /* everything, and r is not in it */
        RUN_WHILE(&b->loop, (r = ctl_row(&c, "r")) == NULL || !r->orphan);
        assert_true(r != NULL && r->orphan && !r->gone);
        assert_true(has_code(r->volumes[0].reports, r->volumes[0].reports_n, TROUBLE_WARN_STORAGE));
        check_text(r->volumes[0].device_path, "kept");
        assert_int_equal(r->orphans_n, 1);
        assert_string_equal(r->orphans[0].uuid, U1);
        assert_string_equal(r->orphans[0].device_path, r->volumes[0].device_path);
        assert_true(r->orphans[0].volume_number == 0 && r->orphans[0].backing_device != NULL);
        bed_stop(b);
        bed_start(b);
        ctl_close(&c);
        ctl_open(&c, b, "c1");
        r = ctl_await(&c, "r", 0, sat_step_state_DONE);
        assert_true(r->orphan);
        wish_init(&x, b, 1, 7);
        wish_gone(&x, "r", U2, 1, "thin"); /* another uuid: not that one */
        assert_int_equal(ctl_want(&c, &x.w), 0);
        ctl_await_gone(&c, "r", U2);
        assert_true(path_exists(bed_image(b, "r", 0)));
        x.w.revision = 8;
        x.w.gone[0].uuid = U1;
        x.w.gone[0].volumes_n = 0; /* as 'orphan delete' has it: the uuid says enough */
        assert_int_equal(ctl_want(&c, &x.w), 0);
        wish_done(&x);
        ctl_await_gone(&c, "r", U1);
        assert_false(path_exists(bed_image(b, "r", 0)));
        ctl_close(&c);
}

static void test_foreign(void **state)
{
        struct bed *b = *state;
        struct ctl c;
        ctl_open(&c, b, "c1");
        put_text(bed_image(b, "r", 0), "somebody's", O_CREAT);
        assert_int_equal(want_one(&c, b, 1, 5, U1, 1, 1024, "thick"), 0);
        const struct obs_rsc *r = ctl_await(&c, "r", 5, sat_step_state_FAILED);
        assert_true(has_code(r->volumes[0].reports, r->volumes[0].reports_n, TROUBLE_EXISTS));
        struct wish x;
        wish_init(&x, b, 1, 6);
        wish_gone(&x, "r", U1, 1, "thick");
        assert_int_equal(ctl_want(&c, &x.w), 0);
        wish_done(&x);
        ctl_await_gone(&c, "r", U1); /* nothing of ours is left */
        check_text(bed_image(b, "r", 0), "somebody's");
        assert_int_equal(unlink(bed_image(b, "r", 0)), 0);
        assert_int_equal(want_one(&c, b, 1, 7, U2, 1, 1024, "thick"), 0);
        ctl_await(&c, "r", 7, sat_step_state_DONE);
        ctl_close(&c);
}

/* The provider itself refuses as well, whatever it is asked: no mark, another uuid's, another volume's, no
 * regular file. */
static void test_provider_refuses(void **state)
{
        struct bed *b = *state;
        const struct provider *p = &provider_file_thin;
        struct dev mine = { .rsc_name = "p",
                .uuid = U1,
                .kind = provider_kind_FILE_THIN,
                .place = b->pool,
                .backing_id = "p_00000" };
        struct dev other = mine, second = mine, link = mine, unmarked = mine;
        other.uuid = U2;
        second.volume_number = 1;
        link.backing_id = "l_00000";
        unmarked.backing_id = "u_00000";
        assert_int_equal(p->create(&mine, 64, NULL), 0);
        assert_int_equal(p->create(&mine, 64, NULL), 0); /* once more is fine */
        assert_int_equal(symlink("p_00000.img", bed_image(b, "l", 0)), 0);
        put_text(bed_image(b, "u", 0), "somebody's", O_CREAT);
        const struct dev *const wrong[] = { &other, &second, &link, &unmarked };
        for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
                struct trouble t = { 0 };
                assert_int_equal(p->create(wrong[i], 64, &t), E_EXISTS);
                assert_int_equal(p->resize(wrong[i], 128, &t), E_EXISTS);
                assert_int_equal(p->attach(wrong[i], &t), E_EXISTS);
                assert_int_equal(p->remove(wrong[i], &t), E_EXISTS);
                assert_true(t.message[0] != '\0' && t.cause[0] != '\0' && t.correction[0] != '\0');
        }
        check_text(bed_image(b, "u", 0), "somebody's");
        assert_int_equal(p->remove(&mine, NULL), 0);
        assert_int_equal(p->remove(&mine, NULL), 0);
        assert_false(path_exists(bed_image(b, "p", 0)));
}

/* The directory is not there (not mounted): nothing is made, nothing counts as gone; all goes on when it is
 * back. */
static void test_pool_away(void **state)
{
        struct bed *b = *state;
        struct ctl c;
        struct wish x;
        char away[120], aside[120];
        snprintf(away, sizeof away, "%s-away", b->pool);
        snprintf(aside, sizeof aside, "%s-aside", b->pool);
        ctl_open(&c, b, "c1");
        assert_int_equal(want_one(&c, b, 1, 5, U1, 1, 1024, "thin"), 0);
        ctl_await(&c, "r", 5, sat_step_state_DONE);
        bed_release_loops(b);
        assert_int_equal(rename(b->pool, away), 0);
        wish_init(&x, b, 1, 6);
        wish_rsc(&x, "r", U1, 1, 1024, "thin");
        wish_rsc(&x, "n", U2, 1, 1024, "thick");
        assert_int_equal(ctl_want(&c, &x.w), 0);
        const struct obs_rsc *r = ctl_await(&c, "r", 6, sat_step_state_FAILED);
        assert_true(has_code(r->volumes[0].reports, r->volumes[0].reports_n, TROUBLE_POOL));
        ctl_await(&c, "n", 6, sat_step_state_FAILED);
        RUN_WHILE(&b->loop, c.pools_n != 2 || c.pools[0].reports_n != 1);
        assert_true(c.pools_n == 2 && c.pools[0].reports_n == 1);
        assert_non_null(c.pools[0].reports[0].correction);
        assert_false(HAS(&c.pools[0], obs_pool, free_kib));
        /* An empty directory in its place: what was there once is not made again. */
        assert_int_equal(mkdir(b->pool, 0700), 0);
        run_for(&b->loop, 600);
        r = ctl_await(&c, "r", 6, sat_step_state_FAILED);
        assert_false(path_exists(bed_image(b, "r", 0)));
        ctl_await(&c, "n", 6, sat_step_state_DONE);
        assert_int_equal(rename(bed_image(b, "n", 0), aside), 0);
        bed_release_loops(b);
        assert_int_equal(rmdir(b->pool), 0);
        x.w.revision = 7;
        x.w.resources_n = 0;
        wish_gone(&x, "r", U1, 1, "thin");
        assert_int_equal(ctl_want(&c, &x.w), 0);
        wish_done(&x);
        r = ctl_await(&c, "r", 7, sat_step_state_FAILED);
        assert_false(r->gone);
        assert_int_equal(rename(away, b->pool), 0);
        ctl_await_gone(&c, "r", U1);
        assert_false(path_exists(bed_image(b, "r", 0)));
        assert_int_equal(unlink(aside), 0);
        ctl_close(&c);
}

static void test_no_space(void **state)
{
        struct bed *b = *state;
        struct ctl c;
        ctl_open(&c, b, "c1");
        assert_int_equal(want_one(&c, b, 1, 5, U1, 1, UINT64_C(1) << 42, "thick"), 0); /* 4 PiB */
        const struct obs_rsc *r = ctl_await(&c, "r", 5, sat_step_state_FAILED);
        assert_true(has_code(r->volumes[0].reports, r->volumes[0].reports_n, TROUBLE_NO_SPACE) ||
                    has_code(r->volumes[0].reports, r->volumes[0].reports_n, TROUBLE_INVALID_SIZE));
        assert_false(path_exists(bed_image(b, "r", 0)));
        assert_int_equal(c.error_reports_n, 1);
        assert_contains(c.error_text, "cannot be made");
        assert_contains(c.error_text, "Correction:");
        run_for(&b->loop, 400); /* tried again, and not reported again */
        assert_int_equal(c.error_reports_n, 1);
        assert_int_equal(want_one(&c, b, 1, 6, U1, 1, 1024, "thick"), 0); /* another size: tried at once */
        ctl_await(&c, "r", 6, sat_step_state_DONE);
        ctl_close(&c);
}

/* ---- fencing and the state file ---- */

static void test_fencing(void **state)
{
        struct bed *b = *state;
        struct ctl c1, c2;
        ctl_open(&c1, b, "c1");
        ctl_open(&c2, b, "c2");
        assert_int_equal(want_one(&c1, b, 5, 10, U1, 1, 1024, "thin"), 0);
        assert_int_equal(want_one(&c2, b, 4, 11, NULL, 0, 0, NULL), E_FENCED);
        assert_int_equal(c2.reply.highest_term, 5);
        ctl_await(&c2, "r", 10, sat_step_state_DONE); /* every controller sees everything */
        assert_int_equal(want_one(&c1, b, 5, 9, NULL, 0, 0, NULL), E_STALE);
        struct wish x;
        wish_init(&x, b, 5, 12);
        wish_base(&x, 11);
        assert_int_equal(ctl_want(&c1, &x.w), E_STALE);
        SET(&x.w, sat_wanted, cluster_uuid, CLUSTER_B);
        assert_int_equal(ctl_want(&c1, &x.w), E_AUTH);
        wish_done(&x);
        assert_int_equal(want_one(&c2, b, 6, 13, U1, 1, 1024, "thin"), 0);
        assert_int_equal(want_one(&c1, b, 5, 14, NULL, 0, 0, NULL), E_FENCED);
        ctl_close(&c1);
        ctl_close(&c2);
        bed_stop(b);
        bed_start(b);
        ctl_open(&c1, b, "c1");
        assert_int_equal(c1.hello.highest_term, 6);
        assert_int_equal(want_one(&c1, b, 5, 15, NULL, 0, 0, NULL), E_FENCED);
        assert_true(path_exists(bed_image(b, "r", 0)));
        ctl_close(&c1);
}

static void state_path(struct bed *b, char out[128]) { snprintf(out, 128, "%s/satellite.state", b->state); }

static void test_damage(void **state)
{
        struct bed *b = *state;
        struct ctl c;
        char path[128], device[32];
        state_path(b, path);
        ctl_open(&c, b, "c1");
        assert_int_equal(want_one(&c, b, 7, 10, U1, 2, 1024, "thin"), 0);
        ctl_await(&c, "r", 10, sat_step_state_DONE);
        ctl_close(&c);
        bed_stop(b);
        struct stat st;
        assert_int_equal(stat(path, &st), 0);
        int fd = open(path, O_RDWR);
        char byte;
        assert_int_equal(pread(fd, &byte, 1, st.st_size / 2), 1);
        byte = (char)(byte ^ 0x10);
        assert_int_equal(pwrite(fd, &byte, 1, st.st_size / 2), 1);
        close(fd);
        bed_start(b);
        ctl_open(&c, b, "c1");
        assert_int_equal(c.hello.revision, 0);
        assert_int_equal(c.hello.highest_term, 7); /* kept in a file of its own */
        assert_int_equal(c.error_reports_n, 1);
        assert_contains(c.error_text, "damaged");
        assert_true(bed_loop_of(bed_image(b, "r", 1), device));
        assert_int_equal(want_one(&c, b, 6, 11, NULL, 0, 0, NULL), E_FENCED);
        struct wish x;
        wish_init(&x, b, 7, 12);
        wish_base(&x, 10);
        assert_int_equal(ctl_want(&c, &x.w), E_STALE);
        wish_done(&x);
        assert_int_equal(
                want_one(&c, b, 7, 12, NULL, 0, 0, NULL), 0); /* pools alone: the marks tell the rest */
        const struct obs_rsc *r = ctl_await(&c, "r", 0, sat_step_state_DONE);
        assert_true(r->orphan);
        assert_int_equal(want_one(&c, b, 7, 13, U1, 2, 1024, "thin"), 0);
        r = ctl_await(&c, "r", 13, sat_step_state_DONE);
        assert_false(r->orphan);
        assert_int_equal(r->volumes_n, 2);
        ctl_close(&c);
}

static void test_lock(void **state)
{
        struct bed *b = *state;
        struct fail f = { 0 };
        assert_int_equal(bed_start_err(b, &f), E_BUSY);
        assert_contains(f.text, "another satellite");
}

/* A file system without extended attributes: what is ours stands in the state file alone. */
static void test_no_marks(void **state)
{
        struct bed *b = *state;
        struct ctl c;
        struct wish x;
        if (mount("none", b->pool, "ramfs", 0, NULL) != 0) {
                print_message("ramfs cannot be mounted here: %s\n", strerror(errno));
                skip();
        }
        ctl_open(&c, b, "c1");
        assert_int_equal(want_one(&c, b, 1, 5, U1, 1, 1024, "thin"), 0);
        const struct obs_rsc *r = ctl_await(&c, "r", 5, sat_step_state_DONE);
        put_text(r->volumes[0].device_path, "kept", 0);
        ctl_close(&c);
        run_for(&b->loop, 200); /* that it was made is saved as well */
        bed_stop(b);
        bed_release_loops(b);
        bed_start(b);
        ctl_open(&c, b, "c1");
        assert_int_equal(want_one(&c, b, 1, 6, U1, 1, 2048, "thin"), 0);
        r = ctl_await(&c, "r", 6, sat_step_state_DONE);
        check_text(r->volumes[0].device_path, "kept");
        assert_int_equal(device_kib(r->volumes[0].device_path), 2048);
        put_text(bed_image(b, "s", 0), "somebody's", O_CREAT);
        wish_init(&x, b, 1, 7);
        wish_rsc(&x, "s", U2, 1, 1024, "thin");
        wish_gone(&x, "r", U1, 1, "thin");
        assert_int_equal(ctl_want(&c, &x.w), 0);
        wish_done(&x);
        ctl_await_gone(&c, "r", U1);
        assert_false(path_exists(bed_image(b, "r", 0)));
        ctl_await(&c, "s", 7, sat_step_state_FAILED);
        check_text(bed_image(b, "s", 0), "somebody's");
        ctl_close(&c);
        bed_stop(b);
        assert_int_equal(umount2(b->pool, MNT_DETACH), 0);
}

/* Closed after any number of turns of the loop, with work, saves, scans and sessions under way: it ends,
 * once, in order. */
static void test_close(void **state)
{
        struct bed *b = *state;
        for (unsigned turns = 0; turns < 24; turns++) {
                struct ctl c;
                struct wish x;
                ctl_open(&c, b, "c1");
                wish_init(&x, b, 1, 5 + turns);
                wish_rsc(&x, "r", U1, 2, 1024 + 64 * turns, "thin");
                ctl_send(&c, &sat_wanted_type, &x.w);
                wish_done(&x);
                for (unsigned i = 0; i < turns; i++) uv_run(&b->loop, UV_RUN_ONCE);
                bed_stop(b);
                ctl_close(&c);
                bed_start(b);
                for (unsigned i = 0; i < turns; i++) uv_run(&b->loop, UV_RUN_NOWAIT);
                if (turns % 2 == 0) {
                        bed_stop(b);
                        bed_start(b);
                }
        }
}

/* ---- the protocol ---- */

static bool is_over(struct ctl *c, const void *arg) { return c->ended; }

static void test_refusals(void **state)
{
        struct bed *b = *state;
        struct ctl c;
        struct creds other;
        ctl_dial(&c, b, "x", PKI_SATELLITE, &b->ca); /* not a controller */
        if (c.opened_err == 0) {
                ctl_hello(&c, CLUSTER_A, NODE);
                RUN_WHILE(&b->loop, !c.ended);
                assert_true(c.ended);
        }
        assert_false(c.hello_seen);
        ctl_close(&c);
        creds_ca(&other, CLUSTER_A);
        ctl_dial(&c, b, "c1", PKI_CONTROLLER, &other); /* another CA */
        assert_int_not_equal(c.opened_err, 0);
        ctl_close(&c);
        creds_done(&other);
        static const struct {
                const char *cluster, *node;
                int err;
        } hellos[] = { { CLUSTER_B, NODE, E_AUTH }, { CLUSTER_A, "node-b", E_INVALID } };
        for (size_t i = 0; i < ARRAY_LEN(hellos); i++) {
                ctl_dial(&c, b, "c1", PKI_CONTROLLER, &b->ca);
                assert_int_equal(c.opened_err, 0);
                ctl_hello(&c, hellos[i].cluster, hellos[i].node);
                ctl_wait(&c, is_over, NULL, 3000);
                assert_true(c.ended && c.hello_seen);
                assert_int_equal(c.hello.err, hellos[i].err);
                assert_int_equal(c.reports_n, 0);
                ctl_close(&c);
        }
}

/* Each gets its connection closed; the satellite goes on. */
static void test_garbage(void **state)
{
        struct bed *b = *state;
        struct ctl c;
        struct test_rng rng = { 42 };
        struct sat_ping ping = { .seq = 1 };
        MARK(&ping, sat_ping, seq);
        for (unsigned i = 0; i < 12; i++) {
                uint8_t bytes[200];
                for (size_t k = 0; k < sizeof bytes; k++) bytes[k] = (uint8_t)test_rng_next(&rng);
                bytes[0] = (uint8_t)(0x81 + i); /* a map, so that some of it is understood */
                ctl_dial(&c, b, "c1", PKI_CONTROLLER, &b->ca);
                if (i % 3 != 0) ctl_hello(&c, CLUSTER_A, NODE);
                unsigned kind = i % 3 == 2 ? sat_wanted_type.id : sat_hello_type.id;
                int err = i % 4 == 3 ? (ctl_send(&c, &sat_hello_reply_type,
                                                &(struct sat_hello_reply){ .has = 1, .node_name = "x" }),
                                               ctl_send(&c, &sat_hello_type, &(struct sat_hello){ 0 }), 0)
                                     : conn_send(&c.conn, kind, BLOB(bytes, sizeof bytes));
                assert_int_equal(err, 0);
                ctl_wait(&c, is_over, NULL, 3000);
                assert_true(c.ended);
                ctl_close(&c);
        }
        ctl_dial(&c, b, "c1", PKI_CONTROLLER, &b->ca);
        ctl_send(&c, &sat_ping_type, &ping); /* no hello before it */
        ctl_wait(&c, is_over, NULL, 3000);
        assert_true(c.ended);
        ctl_close(&c);
        ctl_open(&c, b, "c1");
        ctl_close(&c);
}

static bool was_pinged(struct ctl *c, const void *arg) { return c->pings_n >= 2; }

static void test_silence(void **state)
{
        struct bed *b = *state;
        struct ctl c, mute, older;
        ctl_open(&older, b, "c1");
        ctl_open(&c, b, "C1"); /* the same controller again: the older session ends */
        ctl_wait(&older, is_over, NULL, 1000);
        assert_true(older.ended);
        ctl_close(&older);
        ctl_dial(&mute, b, "c2", PKI_CONTROLLER, &b->ca); /* never says hello */
        assert_true(ctl_wait(&c, was_pinged, NULL, 4000));
        assert_false(mute.ended);
        ctl_wait(&mute, is_over, NULL, 4500);
        assert_true(mute.ended);
        assert_false(c.ended); /* answers its pings */
        ctl_close(&mute);
        ctl_close(&c);
}

static void test_bad_names(void **state)
{
        struct bed *b = *state;
        struct ctl c;
        struct wish x;
        ctl_open(&c, b, "c1");
        wish_init(&x, b, 1, 5);
        wish_rsc(&x, "../../etc/passwd", U1, 1, 8, "thin");
        assert_int_equal(ctl_want(&c, &x.w), E_INVALID);
        x.w.resources[0].rsc_name = "fine";
        SET(&x.w.resources[0].volumes[0], sat_vlm, backing_id, "../evil");
        assert_int_equal(ctl_want(&c, &x.w), 0);
        const struct obs_rsc *r = ctl_await(&c, "fine", 5, sat_step_state_FAILED);
        assert_int_equal(r->volumes[0].reports_n, 1);
        wish_done(&x);
        ctl_close(&c);
}

/* With an argument: only the tests of that name. */
int main(int argc, char **argv)
{
        bed_need_loops();
        if (argc > 1) cmocka_set_test_filter(argv[1]);
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = { T(test_life), T(test_boot), T(test_in_use), T(test_shrink),
                T(test_volume_replaced), T(test_same_name), T(test_orphan), T(test_foreign),
                T(test_provider_refuses), T(test_pool_away), T(test_no_space), T(test_fencing),
                T(test_damage), T(test_lock), T(test_no_marks), T(test_close), T(test_refusals),
                T(test_garbage), T(test_silence), T(test_bad_names) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
