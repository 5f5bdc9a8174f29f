/* DRBD's metadata against a program that plays drbdmeta (drbd_bed.h): made with its first generation ids, inside and beside a volume, lost, somebody
 * else's, cleared. What the real one writes test_drbd_rules compares. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "satellite/drbd/drbd_md.h"
#include "satellite/drbd/drbd_super.h"
#include "satellite/drbd/layer_drbd.h"
#include "tests/unit/drbd_bed.h"
#include "wire/codec/codec.h"

/* A device that cannot be read is not one whose metadata is missing. */
static void test_unreadable(void **st)
{
        struct bed b;
        struct arena a = { 0 };
        struct trouble t = { 0 };
        struct layer_dev d = { .type = layer_type_DRBD, .made = true };
        bed_set_up(DRBD_GEN_9);
        bed_init(&b, "unreadable");
        struct layer_vol v = bed_volume(&b, bed_file("nothing"));
        v.made = true;
        assert_int_not_equal(layer_drbd.probe(&v, &a, &d, &t), 0);
        bed_disk("now", "unreadable", "Diskless");
        assert_ok(layer_drbd.probe(&v, &a, &d, &t));
        assert_true(d.open);
        arena_done(&a);
        bed_tear_down();
}

static void test_make(void **st)
{
        struct bed b;
        struct trouble t = { 0 };
        char path[160];
        bed_set_up(DRBD_GEN_84);
        bed_init(&b, "make");
        snprintf(path, sizeof path, "%s", bed_file("device"));
        bed_put("device", "", 0600);
        assert_int_equal(truncate(path, 1 << 20), 0);
        struct layer_vol v = bed_volume(&b, path);
        assert_ok(layer_drbd.make(&v, &t));
        const char *said = bed_asked();
        assert_non_null(strstr(said, "create-md\n"));
        assert_non_null(strstr(said, "set-gi"));
        /* it was there, and is gone: not made again */
        v.made = true;
        assert_int_equal(layer_drbd.make(&v, &t), E_NOT_FOUND);
        assert_non_null(strstr(t.message, "metadata is missing"));
        /* somebody else's */
        v.made = false;
        int fd = open(path, O_WRONLY);
        assert_int_equal(pwrite(fd, "\x53\xef", 2, 1024 + 56), 2); /* ext4 */
        assert_int_equal(pwrite(fd, "\x01", 1, 1024 + 76), 1);
        close(fd);
        (void)bed_asked();
        if (layer_drbd.make(&v, &t) == 0) skip(); /* this libblkid wants more of a superblock */
        assert_string_equal(bed_asked(), "");
        assert_non_null(strstr(t.message, "something else"));
        bed_tear_down();
}

/* Of a clone with other layers: what was metadata is none any more; what is data is in nobody's way. */
static void test_clear(void **st)
{
        static const uint8_t super[4096] = {
                [60] = 0x83, [61] = 0x74, [62] = 0x02, [63] = 0x6d, [15] = 77, [91] = 7
        };
        enum { KIB = 1024 };
        uint8_t got[KIB * 1024];
        char path[160];
        struct bed b;
        struct trouble t = { 0 };
        bed_set_up(DRBD_GEN_9);
        bed_init(&b, "clear");
        snprintf(path, sizeof path, "%s", bed_file("device"));
        bed_put("device", "", 0600);
        uint64_t usable;
        assert_ok(drbd_usable_kib(&(struct drbd_md){ .peers = 7 }, KIB, &usable));
        for (unsigned bitmaps = 0; bitmaps < 2; bitmaps++) {
                int fd = open(path, O_RDWR | O_TRUNC);
                memset(got, 0xab, sizeof got);
                memcpy(got + sizeof got - sizeof super, super, sizeof super);
                assert_int_equal(pwrite(fd, got, sizeof got, 0), sizeof got);
                for (unsigned again = 0; again < 2; again++) {
                        assert_ok(drbd_md_clear(path, bitmaps == 1, &t));
                        assert_int_equal(pread(fd, got, sizeof got, 0), sizeof got);
                        uint64_t data = bitmaps == 1 ? usable * 1024 : sizeof got - sizeof super;
                        for (uint64_t i = 0; i < sizeof got; i++)
                                assert_int_equal(got[i], i < data ? 0xab : 0);
                }
                close(fd);
        }
        struct drbd_super found;
        assert_int_equal(drbd_super_read(path, 0, &found), 0);
        assert_true(drbd_md_clear("/no/such/device", true, &t) < 0);
        /* a file system on it */
        int fd = open(path, O_WRONLY | O_TRUNC);
        assert_int_equal(ftruncate(fd, KIB * 1024), 0);
        assert_int_equal(pwrite(fd, "SWAPSPACE2", 10, 4086), 10);
        assert_int_equal(pwrite(fd, "\x01\0\0\0\xff\0\0\0", 8, 1024), 8);
        close(fd);
        struct layer_vol v = bed_volume(&b, path);
        struct arena a = { 0 };
        struct layer_dev d = { .type = layer_type_DRBD };
        assert_ok(layer_drbd.probe(&v, &a, &d, &t));
        assert_true(d.foreign);
        assert_int_equal(layer_drbd.make(&v, &t), E_EXISTS);
        b.dev.filled = true;
        d = (struct layer_dev){ .type = layer_type_DRBD };
        assert_ok(layer_drbd.probe(&v, &a, &d, &t));
        assert_true(d.looked && !d.foreign && !d.exists);
        (void)bed_asked();
        assert_ok(layer_drbd.make(&v, &t));
        assert_contains(bed_asked(), "create-md 7\n");
        /* the others of a clone begin with the same; one that comes later does not */
        static const char *was[] = { "DRBD", "STORAGE" };
        static const char *force[] = { "DrbdOptions/ForceInitialSync", "True" };
        b.vlm.props = (struct strmap){ .kv = force, .n = 1 };
        UNSET(&b.vlm, sat_vlm, drbd_winner);
        b.vlm.drbd_winner = false;
        SET(&b.vlm, sat_vlm, drbd_zeroed, true);
        assert_ok(layer_drbd.make(&v, &t));
        assert_null(strstr(bed_asked(), "restore-md"));
        SET_N(&b.vlm, sat_vlm, source_layers, was, 2);
        assert_ok(layer_drbd.make(&v, &t));
        assert_contains(bed_asked(), "restore-md");
        arena_done(&a);
        bed_tear_down();
}

/* Metadata on a device of its own: nowhere else, also while that is down; what is on either device is kept. */
static void test_make_beside(void **st)
{
        for (unsigned i = 0; i < 2; i++) {
                struct bed b;
                struct trouble t = { 0 };
                char path[160], meta[160], want[700];
                struct dev x = { .exists = true };
                struct sat_vlm extra = { 0 };
                bed_set_up(i == 0 ? DRBD_GEN_84 : DRBD_GEN_9);
                bed_init(&b, "beside");
                snprintf(path, sizeof path, "%s", bed_file("device"));
                snprintf(meta, sizeof meta, "%s", bed_file("meta"));
                bed_put("device", "", 0600);
                bed_put("meta", "", 0600);
                assert_int_equal(truncate(path, 1 << 20) | truncate(meta, 1 << 20), 0);
                SET(&extra, sat_vlm, volume_number, EXTRA_NUMBER(EXTRA_DRBD_META, 0));
                SET_N(&b.want, sat_rsc, extras, &extra, 1);
                struct layer_vol v = bed_volume(&b, path);
                b.seat.below_path = path;
                for (unsigned known = 0; known < 2; known++) {
                        b.dev.extras[EXTRA_DRBD_META] = known == 1 ? &x : NULL;
                        assert_int_equal(layer_drbd.make(&v, &t), E_NOT_FOUND);
                        assert_int_equal(layer_drbd.settle(&b.r, &t), E_NOT_FOUND);
                        assert_non_null(strstr(t.message, "the device of its metadata is down"));
                        assert_string_equal(bed_asked(), "");
                }
                struct arena a = { 0 };
                struct layer_dev d = { .type = layer_type_DRBD, .made = true };
                v.made = true;
                assert_ok(layer_drbd.probe(&v, &a, &d, &t));
                assert_false(d.looked || d.open); /* the planner goes by what is remembered */
                v.made = false;
                x.attached = true;
                x.device_path = meta;
                assert_ok(layer_drbd.make(&v, &t));
                const char *said = bed_asked();
                snprintf(want, sizeof want, "drbdmeta --force 1000 %s %s flex-external create-md",
                        i == 0 ? "v08" : "v09", meta);
                assert_contains(said, want);
                assert_true(strstr(said, "internal") == NULL && strstr(said, path) == NULL);
                assert_ok(layer_drbd.settle(&b.r, &t));
                snprintf(want, sizeof want, "meta-disk \"%s\";", meta);
                assert_contains(bed_get("drbd/res/beside.res"), want);
                v.made = true;
                assert_int_equal(layer_drbd.make(&v, &t), E_NOT_FOUND);
                assert_non_null(strstr(t.message, "metadata is missing"));
                uint8_t super[4096] = { [60] = 0x83, [61] = 0x74, [62] = 0x02, [63] = 0x6d, [15] = 77 };
                int fd = open(meta, O_WRONLY);
                assert_int_equal(pwrite(fd, super, sizeof super, 0), sizeof super);
                close(fd);
                (void)bed_asked();
                assert_ok(layer_drbd.make(&v, &t));
                assert_string_equal(bed_asked(), "");
                assert_ok(layer_drbd.probe(&v, &a, &d, &t));
                assert_true(d.looked && d.exists);
                assert_string_equal(d.meta_path, meta);
                arena_done(&a);
                bed_tear_down();
        }
}

/* The ids of all slots at once, from a file that drbdmeta can read and that is gone afterwards. */
static void test_make_9(void **st)
{
        struct bed b;
        struct trouble t = { 0 };
        char path[160], want[600];
        bed_set_up(DRBD_GEN_9);
        bed_init(&b, "make9");
        snprintf(path, sizeof path, "%s", bed_file("device"));
        bed_put("device", "", 0600);
        assert_int_equal(truncate(path, 1 << 20), 0);
        struct layer_vol v = bed_volume(&b, path);
        assert_ok(layer_drbd.make(&v, &t));
        snprintf(want, sizeof want,
                "drbdmeta --force 1000 v09 %s internal create-md 7\n"
                "drbdmeta --force 1000 v09 %s internal restore-md %s/drbd/make9.conf.1000.md\n",
                path, path, bed_dir);
        assert_string_equal(bed_asked(), want);
        assert_contains(bed_get("restored"), "version \"v09\";\nmax-peers 7;\n");
        assert_contains(bed_get("restored"), "bitmap-uuid 0x1234567890ABCDE0;");
        assert_false(bed_has("drbd/make9.conf.1000.md"));
        /* neither the winner nor zeroed: everything is sent to it */
        SET(&b.vlm, sat_vlm, drbd_initialized, true);
        assert_ok(layer_drbd.make(&v, &t));
        snprintf(want, sizeof want, "drbdmeta --force 1000 v09 %s internal create-md 7\n", path);
        assert_string_equal(bed_asked(), want);
        SET(&b.vlm, sat_vlm, drbd_zeroed, true);
        bed_put("fail", "restore-md", 0644);
        assert_int_equal(layer_drbd.make(&v, &t), E_PROGRAM);
        assert_non_null(strstr(t.cause, "no restore-md today"));
        assert_false(bed_has("drbd/make9.conf.1000.md"));
        bed_tear_down();
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_unreadable), cmocka_unit_test(test_make),
                cmocka_unit_test(test_clear), cmocka_unit_test(test_make_beside),
                cmocka_unit_test(test_make_9) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
