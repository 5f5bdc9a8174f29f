/* What zfs and zpool print (samples of OpenZFS 2.1), options, marks, the names of pools; and the providers where the programs fail:
 * hanging, garbage, busy, no space, no pool. */
#include "tests/lib/test.h"

#include <string.h>

#include "satellite/provider/zfs_cmd.h"
#include "satellite/provider/zfs_options.h"
#include "tests/unit/zfs_bed.h"
#include "wire/codec/codec.h"

#define UUID "aaaaaaaa-0000-4000-8000-000000000001"
#define OTHER "bbbbbbbb-0000-4000-8000-000000000001"
#define VLM "11111111-0000-4000-8000-000000000001"
#define OWNER UUID ":3:" VLM ":data"

/* ---- tables ---- */

static void test_list(void **state)
{
        (void)state;
        static const char text[] =
                "tank/p\tfilesystem\t-\t-\t-\t98304\t1\t-\t-\t-\t-\t-\t-\n"
                "tank/p/data_00003\tvolume\t104857600\t16384\t108150784\t57344\t12\t-\tdev\t-\t-\t" OWNER
                "\t-\n"
                "tank/p/data_00003@s\tsnapshot\t104857600\t-\t-\t57344\t13\ton\t-\t-\ttank/p/a,tank/p/"
                "b\t" OWNER "\t" OWNER ":s\n"
                "tank/p/a\tvolume\t104857600\t16384\tnone\t57344\t14\t-\tnone\ttank/p/data_00003@s\t-\t-\t-\n"
                "tank/p/with blank\tvolume\t8192\t8192\t0\t0\t18446744073709551615\t-\tdefault\t-\t\tsome "
                "text\t-\n";
        struct arena a = { 0 };
        struct zfs_row *r;
        uint32_t n;
        const char *line = NULL;
        assert_int_equal(zfs_parse_list(text, &a, &r, &n, &line), 0);
        assert_int_equal(n, 5);
        assert_true(r[0].type == ZFS_FILESYSTEM && r[0].mark == NULL);
        assert_true(r[1].type == ZFS_VOLUME && !r[1].hidden && r[1].origin == NULL);
        assert_int_equal(r[1].volsize_bytes, 104857600);
        assert_int_equal(r[1].block_bytes, 16384);
        assert_int_equal(r[1].reserved_bytes, 108150784);
        assert_string_equal(r[1].mark, OWNER);
        /* a snapshot shows its volume's mark as well, which is not its own */
        assert_true(r[2].type == ZFS_SNAPSHOT && r[2].deferred);
        assert_string_equal(r[2].mark, OWNER ":s");
        assert_string_equal(r[2].clones, "tank/p/a,tank/p/b");
        assert_true(r[3].hidden && r[3].reserved_bytes == 0 && r[3].mark == NULL);
        assert_string_equal(r[3].origin, "tank/p/data_00003@s");
        assert_string_equal(zfs_child_of(&r[1], "tank/p"), "data_00003");
        assert_null(zfs_child_of(&r[1], "tank"));
        assert_null(zfs_child_of(&r[0], "tank/p"));
        assert_null(zfs_child_of(&r[1], "tank/p/d"));
        assert_string_equal(zfs_snapshot_of(&r[2]), "s");
        assert_null(zfs_snapshot_of(&r[1]));
        assert_int_equal(zfs_parse_list("", &a, &r, &n, &line), 0);
        assert_int_equal(n, 0);
        arena_done(&a);
}

static void test_bad_lines(void **state)
{
        (void)state;
        static const char *const bad[] = {
                "x",
                "a\tvolume\t8192\t8192\t0\t0\t1\t-\tdev\t-\t-\t-",       /* a field is missing */
                "a\tvolume\t8192\t8192\t0\t0\t1\t-\tdev\t-\t-\t-\t-\t-", /* one too many */
                "a\tvolume\t-1\t8192\t0\t0\t1\t-\tdev\t-\t-\t-\t-",      /* sizes are not negative */
                "a\tvolume\t8K\t8192\t0\t0\t1\t-\tdev\t-\t-\t-\t-",      /* -p was asked for */
                "a\tvolume\t8192.0\t8192\t0\t0\t1\t-\tdev\t-\t-\t-\t-",
                "a\tvolume\t-\t8192\t0\t0\t1\t-\tdev\t-\t-\t-\t-", /* a volume has a size */
                "a\tvolume\t8192\t-\t0\t0\t1\t-\tdev\t-\t-\t-\t-",
                "a\tvolume\t99999999999999999999\t8192\t0\t0\t1\t-\tdev\t-\t-\t-\t-",
                "a\tvolume\t8192\t8192\t0\t0\t-\t-\tdev\t-\t-\t-\t-",
                "a@b\tvolume\t8192\t8192\t0\t0\t1\t-\tdev\t-\t-\t-\t-", /* that is a snapshot's name */
                "a\tsnapshot\t8192\t-\t-\t0\t1\toff\t-\t-\t\t-\t-",
                "a\tbookmark\t8192\t-\t-\t0\t1\toff\t-\t-\t\t-\t-",
                "\tvolume\t8192\t8192\t0\t0\t1\t-\tdev\t-\t-\t-\t-",
                " a volume 8192 8192 0 0 1 - dev - - - -",
                "internal error: Invalid argument",
        };
        struct arena a = { 0 };
        struct zfs_row *r;
        struct zfs_space *s;
        struct zpool_row *p;
        uint32_t n;
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
                const char *line = NULL;
                assert_int_equal(zfs_parse_list(bad[i], &a, &r, &n, &line), E_PROTOCOL);
                assert_string_equal(line, bad[i]);
                assert_int_equal(zfs_parse_space(bad[i], &a, &s, &n, &line), E_PROTOCOL);
                assert_int_equal(zpool_parse_list(bad[i], &a, &p, &n, &line), E_PROTOCOL);
        }
        arena_done(&a);
}

static void test_pools(void **state)
{
        (void)state;
        struct arena a = { 0 };
        struct zpool_row *p;
        struct zfs_space *s;
        uint32_t n;
        const char *line;
        assert_int_equal(
                zpool_parse_list("tank\t1073741824\tONLINE\ngone\t-\tUNAVAIL\n", &a, &p, &n, &line), 0);
        assert_int_equal(n, 2);
        assert_true(p[0].size_bytes == 1073741824 && p[1].size_bytes == 0);
        assert_string_equal(p[1].health, "UNAVAIL");
        assert_int_equal(zfs_parse_space("tank\t1\t2\t0\ntank/p\t3\t4\t5\n", &a, &s, &n, &line), 0);
        assert_true(s[0].quota_bytes == 0 && s[1].quota_bytes == 5 && s[1].available_bytes == 4);
        /* free space that is not known is not none */
        assert_int_equal(zfs_parse_space("tank\t1\t-\t0\n", &a, &s, &n, &line), E_PROTOCOL);
        arena_done(&a);
}

static void test_marks(void **state)
{
        (void)state;
        struct arena a = { 0 };
        char mark[ZFS_MARK_SIZE];
        struct dev d = { .uuid = UUID, .vlm_uuid = VLM, .volume_number = 3, .rsc_name = "data" }, r = { 0 };
        assert_int_equal(zfs_write_mark(&d, mark), 0);
        assert_string_equal(mark, OWNER);
        assert_true(zfs_read_mark(mark, &a, &r));
        assert_string_equal(r.uuid, UUID);
        assert_string_equal(r.vlm_uuid, VLM);
        assert_string_equal(r.rsc_name, "data");
        assert_true(r.volume_number == 3 && r.snap_name == NULL);
        d.snap_name = "s1";
        d.vlm_uuid = NULL;
        assert_int_equal(zfs_write_mark(&d, mark), 0);
        assert_true(zfs_read_mark(mark, &a, &r));
        assert_string_equal(r.snap_name, "s1");
        assert_null(r.vlm_uuid);
        static const char *const bad[] = { "", "-", UUID, UUID ":x::data",
                UUID ":3:", UUID ":3::", ":3::data", UUID ":3::data:", UUID ":3::data:s:more",
                UUID ":-1::data", UUID ":4294967296::data" };
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_false(zfs_read_mark(bad[i], &a, &r));
        assert_false(zfs_read_mark(NULL, &a, &r));
        static const char *const names[] = { "a:b", "a b", "a\tb", "a\nb", "\xc3\xa4" };
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                d.rsc_name = names[i];
                assert_int_equal(zfs_write_mark(&d, mark), E_INVALID);
        }
        arena_done(&a);
}

/* ---- properties ---- */

static void test_options(void **state)
{
        (void)state;
        static const struct {
                const char *text;
                bool create;
                int words; /* -1 = refused */
                uint64_t block;
        } rows[] = {
                { NULL, true, 0, 0 },
                { "  \t", true, 0, 0 },
                { "-o compression=lz4", true, 2, 0 },
                { "-ocompression=lz4 -b 64K", true, 4, 65536 },
                { "-s -o volblocksize=32768", true, 2, 32768 },
                { "-b8k", true, 2, 8192 },
                { "-o com.example:note=a", false, 2, 0 },
                { "-s", false, -1, 0 },
                { "-b 8k", false, -1, 0 },
                { "-o volblocksize=8k", false, -1, 0 },
                { "-o", true, -1, 0 },
                { "-o compression", true, -1, 0 },
                { "-o =x", true, -1, 0 },
                { "-b", true, -1, 0 },
                { "-b 3000", true, -1, 0 },
                { "-b 1M", true, -1, 0 },
                { "-b -8192", true, -1, 0 },
                { "-b 256", true, -1, 0 },
                { "-p", true, -1, 0 },
                { "-V 1G", true, -1, 0 },
                { "tank/other", true, -1, 0 },
                { "; reboot", true, -1, 0 },
                { "$(reboot)", true, -1, 0 },
                { "-o volmode=full", true, -1, 0 },
                { "-o refreservation=none", true, -1, 0 },
                { "-o outrigger:volume=x", true, -1, 0 },
                { "-o mountpoint=/", true, -1, 0 },
        };
        struct arena a = { 0 };
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                struct zfs_options o;
                struct fail f = { 0 };
                int err = zfs_options_parse(rows[i].text, rows[i].create, &a, &o, &f);
                if (rows[i].words < 0) {
                        assert_int_equal(err, E_INVALID);
                        assert_true(f.text[0] != '\0');
                        continue;
                }
                assert_int_equal(err, 0);
                assert_int_equal(o.n, rows[i].words);
                assert_int_equal(o.block_bytes, rows[i].block);
        }
        arena_done(&a);
}

static void test_places(void **state)
{
        (void)state;
        static const struct {
                const char *key, *value;
                bool fits;
        } rows[] = {
                { "StorDriver/StorPoolName", "tank", true },
                { "StorDriver/StorPoolName", "tank/a/b-c_d.e:f", true },
                { "StorDriver/ZPool", "tank", true },
                { "StorDriver/ZPoolThin", "tank/thin", true },
                { "StorDriver/StorPoolName", "", false },
                { "StorDriver/StorPoolName", "/tank", false },
                { "StorDriver/StorPoolName", "tank/", false },
                { "StorDriver/StorPoolName", "tank//a", false },
                { "StorDriver/StorPoolName", "tank/..", false },
                { "StorDriver/StorPoolName", "tank@snap", false },
                { "StorDriver/StorPoolName", "tank/a#b", false },
                { "StorDriver/StorPoolName", "tank a", false },
                { "StorDriver/StorPoolName", "-r", false },
                { "StorDriver/StorPoolName", "0tank", false },
                { "Other", "tank", false },
        };
        struct arena a = { 0 };
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                struct strmap props = { 0 };
                struct trouble t = { 0 };
                const char *got = NULL;
                strmap_set(&props, rows[i].key, rows[i].value, &a);
                int err = provider_zfs.place(&props, &a, &got, &t);
                assert_int_equal(err, rows[i].fits ? 0 : E_CONFIG);
                if (rows[i].fits) assert_string_equal(got, rows[i].value);
                else assert_true(t.message[0] != '\0' && t.cause[0] != '\0' && t.correction[0] != '\0');
        }
        arena_done(&a);
}

/* ---- programs that fail ---- */

static struct dev volume(const char *id)
{
        return (struct dev){ .rsc_name = "data",
                .uuid = UUID,
                .vlm_uuid = VLM,
                .kind = provider_kind_ZFS,
                .place = BED_PLACE,
                .backing_id = id };
}

/* What every trouble must have. */
static void told(const struct trouble *t, int err, const char *part)
{
        assert_int_equal(t->err, err);
        assert_true(t->message[0] != '\0' && t->correction[0] != '\0');
        if (strstr(t->message, part) == NULL) assert_contains(t->cause, part);
}

static void test_life(void **state)
{
        (void)state;
        const struct provider *p = &provider_zfs;
        struct arena a = { 0 };
        struct trouble t = { 0 };
        struct strmap props = { 0 };
        struct pool_info before, info;
        zfs_bed_init();
        strmap_set(&props, "StorDriver/ZfscreateOptions", "-o compression=lz4 -b 64K", &a);
        struct dev d = volume("data_00000");
        d.props = &props;
        assert_int_equal(p->pool_info(BED_PLACE, &before, &t), 0);
        assert_int_equal(before.total_kib, 65536);
        assert_true(before.snapshots && before.free_kib < before.total_kib);
        /* a size is rounded up to whole blocks, those of the options */
        assert_int_equal(p->create(&d, 1000, &t), 0);
        struct dev seen = volume("data_00000");
        assert_int_equal(p->probe(&seen, &a, &t), 0);
        assert_true(seen.exists && seen.marked && !seen.raw && !seen.attached);
        assert_int_equal(seen.size_kib, 1024);
        assert_int_equal(seen.granule_kib, 64);
        assert_int_equal(p->attach(&d, &t), 0);
        assert_int_equal(p->resize(&d, 1025, &t), 0);
        assert_int_equal(p->probe(&seen, &a, &t), 0);
        assert_true(seen.attached && seen.size_kib == 1088 && seen.device_kib == 1088);
        assert_int_equal(p->resize(&d, 512, &t), 0);
        /* thick: what is reserved is no longer free */
        assert_int_equal(p->pool_info(BED_PLACE, &info, &t), 0);
        assert_true(info.free_kib + 400 < before.free_kib);
        char *log = zfs_bed_log();
        assert_contains(log, "create -o compression=lz4 -b 64K -o volmode=none -o outrigger:volume=" UUID
                             ":0:" VLM ":data -V 1048576 " BED_PLACE "/data_00000");
        free(log);
        assert_int_equal(p->remove(&d, &t), 0);
        assert_int_equal(p->remove(&d, &t), 0);
        assert_int_equal(p->probe(&seen, &a, &t), 0);
        assert_false(seen.exists || seen.unknown);
        zfs_bed_done();
        arena_done(&a);
}

static void test_busy(void **state)
{
        (void)state;
        const struct provider *p = &provider_zfs_thin;
        struct trouble t = { 0 };
        zfs_bed_init();
        struct dev d = volume("data_00000");
        d.kind = provider_kind_ZFS_THIN;
        assert_int_equal(p->create(&d, 1024, &t), 0);
        assert_int_equal(p->attach(&d, &t), 0);
        zfs_bed_open(BED_PLACE "/data_00000", true);
        assert_int_equal(p->detach(&d, &t), E_BUSY);
        told(&t, E_BUSY, "data_00000");
        assert_int_equal(p->remove(&d, &t), E_BUSY);
        zfs_bed_open(BED_PLACE "/data_00000", false);
        /* busy for a moment (udev looks at it): tried again */
        assert_int_equal(p->detach(&d, &t), 0);
        zfs_bed_fault("destroy", "busy", 2);
        assert_int_equal(p->remove(&d, &t), 0);
        assert_null(strstr(
                FAKE("list", "-Hp", "-r", "-d", "2", "-t", "volume", "-o", "name", BED_PLACE), "data"));
        zfs_bed_done();
}

static void test_failures(void **state)
{
        (void)state;
        static const struct {
                const char *verb, *kind;
                int err;
                enum trouble_code code;
                const char *says;
        } rows[] = {
                { "create", "full", E_NO_SPACE, TROUBLE_NO_SPACE, "out of space" },
                { "list", "gone", E_NOT_FOUND, TROUBLE_POOL, "no such pool" },
                { "list", "suspended", E_STORAGE, TROUBLE_POOL, "suspended" },
                { "list", "garbage", E_PROTOCOL, TROUBLE_POOL, "the moon is full" },
                { "list", "hang", E_TIMEOUT, TROUBLE_POOL, "zfs" },
                { "create", "hang", E_TIMEOUT, TROUBLE_POOL, "zfs" },
        };
        const struct provider *p = &provider_zfs;
        zfs_bed_init();
        struct dev d = volume("data_00000");
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                struct trouble t = { 0 };
                zfs_set_deadline(strcmp(rows[i].kind, "hang") == 0 ? 5000 : 60000);
                zfs_bed_fault(rows[i].verb, rows[i].kind, 1);
                assert_int_equal(p->create(&d, 1024, &t), rows[i].err);
                told(&t, rows[i].err, rows[i].says);
                assert_int_equal(t.code, rows[i].code);
                zfs_bed_fault("nothing", "busy", 0);
                assert_null(
                        strstr(FAKE("list", "-Hp", "-r", "-d", "2", "-t", "volume", "-o", "name", BED_PLACE),
                                "data"));
        }
        zfs_set_deadline(60000);
        zfs_bed_done();
}

/* What is wrong with a pool is told as such; nothing is concluded about what is in it. */
static void test_pool_troubles(void **state)
{
        (void)state;
        static const char *const bad[] = { "SUSPENDED", "FAULTED", "UNAVAIL", "REMOVED", "SOMETHING_NEW" };
        struct arena a = { 0 };
        struct pool_info info;
        zfs_bed_init();
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
                struct trouble t = { 0 };
                FAKE("_health", bad[i]);
                assert_int_equal(provider_zfs.pool_info(BED_PLACE, &info, &t), E_STORAGE);
                told(&t, E_STORAGE, bad[i]);
        }
        struct trouble t = { 0 };
        FAKE("_health", "DEGRADED");
        assert_int_equal(provider_zfs.pool_info(BED_PLACE, &info, &t), 0);
        assert_int_equal(t.err, 0);
        told(&info.warning, E_STORAGE, "degraded");
        FAKE("_health", "ONLINE");
        assert_int_equal(provider_zfs.pool_info(BED_PLACE, &info, &t), 0);
        assert_int_equal(info.warning.err, 0);
        struct dev d = volume("data_00000");
        d.place = "tank/nowhere";
        assert_int_equal(provider_zfs.probe(&d, &a, &t), E_NOT_FOUND);
        assert_true(d.unknown && !d.exists);
        told(&t, E_NOT_FOUND, "does not exist");
        assert_int_equal(provider_zfs.pool_info("tank/nowhere", &info, &t), E_NOT_FOUND);
        zfs_bed_fault("list", "garbage", 1);
        struct dev *devs;
        uint32_t n;
        assert_int_equal(provider_zfs.list(BED_PLACE, &a, &devs, &n, &t), E_PROTOCOL);
        zfs_bed_done();
        arena_done(&a);
}

/* What is not ours is seen, and left alone by everything. */
static void test_foreign(void **state)
{
        (void)state;
        static const char *const marks[] = { "outrigger:volume=" OTHER ":0:" VLM ":data",
                "com.example:note=precious" };
        const struct provider *p = &provider_zfs;
        struct arena a = { 0 };
        for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
                zfs_bed_init();
                struct trouble t = { 0 };
                struct dev d = volume("data_00000"), seen = d;
                FAKE("create", "-o", marks[i], "-V", "1048576", BED_PLACE "/data_00000");
                FAKE("_write", BED_PLACE "/data_00000", "precious");
                assert_int_equal(p->probe(&seen, &a, &t), 0);
                assert_true(seen.exists && seen.marked == (i == 0));
                assert_int_equal(p->create(&d, 1024, &t), E_EXISTS);
                told(&t, E_EXISTS, "data_00000");
                assert_int_equal(p->resize(&d, 2048, &t), E_EXISTS);
                assert_int_equal(p->attach(&d, &t), E_EXISTS);
                assert_int_equal(p->detach(&d, &t), E_EXISTS);
                assert_int_equal(p->remove(&d, &t), E_EXISTS);
                assert_int_equal(p->adopt(&d, &t), E_EXISTS);
                assert_string_equal(FAKE("_read", BED_PLACE "/data_00000"), "precious");
                /* and a name like those of what is to go, without a mark, is no reason to destroy it */
                FAKE("create", "-s", "-V", "1048576", BED_PLACE "/.deleted.1.x");
                assert_int_equal(p->tidy(BED_PLACE, &t), 0);
                FAKE("list", "-Hp", "-t", "volume", "-o", "name", BED_PLACE "/.deleted.1.x");
                zfs_bed_done();
        }
        arena_done(&a);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_list),
                cmocka_unit_test(test_bad_lines),
                cmocka_unit_test(test_pools),
                cmocka_unit_test(test_marks),
                cmocka_unit_test(test_options),
                cmocka_unit_test(test_places),
                cmocka_unit_test(test_life),
                cmocka_unit_test(test_busy),
                cmocka_unit_test(test_failures),
                cmocka_unit_test(test_pool_troubles),
                cmocka_unit_test(test_foreign),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
