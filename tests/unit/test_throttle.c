/* Limits of devices (satellite/throttle.h): control groups of the test's own. Its files keep every line that was written; the last one of
 * a device counts, as the kernel's only one would. Devices: whatever block devices /dev has; skipped (77) without any. */
#include "tests/lib/test.h"

#include <dirent.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "satellite/throttle.h"

static char block_dev[300], block_id[32];

static bool find_block_device(void)
{
        DIR *d = opendir("/dev");
        const struct dirent *e;
        while (d != NULL && block_dev[0] == '\0' && (e = readdir(d)) != NULL) {
                char path[300];
                struct stat st;
                snprintf(path, sizeof path, "/dev/%s", e->d_name);
                if (stat(path, &st) != 0 || !S_ISBLK(st.st_mode)) continue;
                (void)strcpy(block_dev, path);
                snprintf(block_id, sizeof block_id, "%u:%u", major(st.st_rdev), minor(st.st_rdev));
        }
        if (d != NULL) closedir(d);
        return block_dev[0] != '\0';
}

struct bed {
        char root[64];
        struct throttle_mark marks[16];
        uint32_t marks_n;
        struct throttle_want want;
        struct arena a;
};

static const char *put_file(struct bed *b, const char *name, const char *text)
{
        const char *path = arena_printf(&b->a, "%s/%s", b->root, name);
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        fputs(text, f);
        fclose(f);
        return path;
}

static void make_dir(struct bed *b, const char *name)
{
        assert_int_equal(mkdir(arena_printf(&b->a, "%s/%s", b->root, name), 0700), 0);
}

static const char *text_of(struct bed *b, const char *name)
{
        static char text[4096];
        FILE *f = fopen(arena_printf(&b->a, "%s/%s", b->root, name), "r");
        assert_non_null(f);
        text[fread(text, 1, sizeof text - 1, f)] = '\0';
        fclose(f);
        return text;
}

static void bed_open(struct bed *b)
{
        *b = (struct bed){ .root = "/tmp/throttle-XXXXXX" };
        assert_non_null(mkdtemp(b->root));
        b->want = (struct throttle_want){
                .rsc_name = "r", .volume_number = 3, .lowest = block_dev, .top = block_dev
        };
}

static void bed_close(struct bed *b)
{
        char cmd[128];
        snprintf(cmd, sizeof cmd, "rm -rf %s", b->root);
        assert_int_equal(system(cmd), 0);
        arena_done(&b->a);
}

static void version_1(struct bed *b)
{
        make_dir(b, "blkio");
        put_file(b, "blkio/blkio.throttle.read_bps_device", "");
        put_file(b, "blkio/blkio.throttle.write_bps_device", "");
        put_file(b, "blkio/blkio.throttle.read_iops_device", "");
        put_file(b, "blkio/blkio.throttle.write_iops_device", "");
}

static void version_2(struct bed *b)
{
        put_file(b, "cgroup.controllers", "cpu io\n");
        make_dir(b, "system.slice");
        put_file(b, "system.slice/io.max", "");
        make_dir(b, "user.slice");
        put_file(b, "user.slice/io.max", "");
        make_dir(b, "no.io");
}

/* One look, as the manager has it: marks that are missing are noted (durable), those that are over go. Returns how many were missing. */
static uint32_t look_once(struct bed *b, bool wanted)
{
        struct throttle_job j = { .root = b->root,
                .wants = &b->want,
                .wants_n = wanted,
                .marks = b->marks,
                .marks_n = b->marks_n };
        uint32_t n = 0;
        b->want.trouble = (struct trouble){ 0 };
        assert_ok(throttle_run(&j, &b->a));
        for (uint32_t i = 0; i < b->marks_n; i++)
                if (!j.over[i]) b->marks[n++] = b->marks[i];
        for (uint32_t i = 0; i < j.missing_n; i++) b->marks[n++] = j.missing[i];
        b->marks_n = n;
        assert_true(n <= ARRAY_LEN(b->marks));
        return j.missing_n;
}

static void look(struct bed *b, bool wanted)
{
        while (look_once(b, wanted) > 0) continue;
}

static const char *line(struct bed *b, const char *after)
{
        return arena_printf(&b->a, "%s%s", block_id, after);
}

static void test_values(void **state)
{
        (void)state;
        assert_int_equal(throttle_value(NULL, THROTTLE_READ), 0);
        assert_int_equal(throttle_value("", THROTTLE_READ), 0);
        assert_int_equal(throttle_value("-5", THROTTLE_READ), 0);
        assert_int_equal(throttle_value("5x", THROTTLE_READ), 0);
        assert_int_equal(throttle_value("99999999999999999999", THROTTLE_READ), 0);
        assert_int_equal(throttle_value("5000000000", THROTTLE_WRITE), 5000000000);
        assert_int_equal(throttle_value("5000000000", THROTTLE_READ_IOPS), UINT32_MAX);
        assert_string_equal(throttle_key(THROTTLE_WRITE_IOPS), "sys/fs/blkio_throttle_write_iops");
}

static void test_version_1(void **state)
{
        struct bed b;
        (void)state;
        bed_open(&b);
        version_1(&b);
        b.want.value[THROTTLE_READ] = 1000;
        b.want.value[THROTTLE_WRITE_IOPS] = 7;
        assert_int_equal(look_once(&b, true), 2); /* nothing is written that was not marked before */
        assert_string_equal(text_of(&b, "blkio/blkio.throttle.read_bps_device"), "");
        look(&b, true);
        assert_string_equal(text_of(&b, "blkio/blkio.throttle.read_bps_device"), line(&b, " 1000\n"));
        assert_string_equal(text_of(&b, "blkio/blkio.throttle.write_iops_device"), line(&b, " 7\n"));
        assert_string_equal(text_of(&b, "blkio/blkio.throttle.write_bps_device"), "");
        look(&b, true); /* nothing to do */
        assert_string_equal(text_of(&b, "blkio/blkio.throttle.read_bps_device"), line(&b, " 1000\n"));
        /* Another value takes the place of the first at once: no moment without a limit. */
        b.want.value[THROTTLE_READ] = 2000;
        look(&b, true);
        assert_string_equal(text_of(&b, "blkio/blkio.throttle.read_bps_device"),
                arena_printf(&b.a, "%s 1000\n%s 2000\n", block_id, block_id));
        look(&b, true);
        assert_int_equal(b.marks_n, 2);
        look(&b, false);
        assert_contains(text_of(&b, "blkio/blkio.throttle.read_bps_device"),
                arena_printf(&b.a, "2000\n%s 0\n", block_id));
        assert_string_equal(text_of(&b, "blkio/blkio.throttle.write_iops_device"),
                arena_printf(&b.a, "%s 7\n%s 0\n", block_id, block_id));
        assert_int_equal(b.marks_n, 0);
        bed_close(&b);
}

static void test_version_2(void **state)
{
        struct bed b;
        (void)state;
        bed_open(&b);
        version_2(&b);
        b.want.lowest = NULL; /* the volume's own device counts here */
        b.want.value[THROTTLE_WRITE] = 4096;
        b.want.value[THROTTLE_READ_IOPS] = 9;
        look(&b, true);
        const char *want = arena_printf(&b.a, "%s wbps=4096\n%s riops=9\n", block_id, block_id);
        assert_string_equal(text_of(&b, "system.slice/io.max"), want);
        assert_string_equal(text_of(&b, "user.slice/io.max"), want);
        /* A group that is new gets them with the next look. */
        make_dir(&b, "machine.slice");
        put_file(&b, "machine.slice/io.max", "");
        look(&b, true);
        assert_string_equal(text_of(&b, "machine.slice/io.max"), want);
        assert_string_equal(text_of(&b, "user.slice/io.max"), want);
        /* The kernel's own form, with words of others. */
        put_file(&b, "user.slice/io.max", line(&b, " rbps=5 wbps=4096 riops=9 wiops=max\n"));
        look(&b, false);
        assert_string_equal(text_of(&b, "user.slice/io.max"),
                arena_printf(&b.a, "%s rbps=5 wbps=4096 riops=9 wiops=max\n%s wbps=max\n%s riops=max\n",
                        block_id, block_id, block_id));
        assert_int_equal(b.marks_n, 0);
        bed_close(&b);
}

/* What somebody else has set, or changed meanwhile, is not taken back. */
static void test_others(void **state)
{
        struct bed b;
        (void)state;
        bed_open(&b);
        version_1(&b);
        put_file(&b, "blkio/blkio.throttle.read_bps_device", line(&b, " 500\n"));
        look(&b, false);
        b.want.value[THROTTLE_WRITE] = 800;
        look(&b, true);
        put_file(&b, "blkio/blkio.throttle.write_bps_device", line(&b, " 900\n"));
        look(&b, false);
        assert_string_equal(text_of(&b, "blkio/blkio.throttle.read_bps_device"), line(&b, " 500\n"));
        assert_string_equal(text_of(&b, "blkio/blkio.throttle.write_bps_device"), line(&b, " 900\n"));
        assert_int_equal(b.marks_n, 0);
        /* While it is wanted it is brought in line again. */
        look(&b, true);
        assert_contains(text_of(&b, "blkio/blkio.throttle.write_bps_device"), line(&b, " 800\n"));
        bed_close(&b);
}

/* A mark of a satellite that died: before it wrote, and after. */
static void test_restart(void **state)
{
        struct bed b;
        (void)state;
        bed_open(&b);
        version_1(&b);
        b.want.value[THROTTLE_READ] = 1000;
        assert_int_equal(look_once(&b, true), 1);
        look(&b, false);
        assert_string_equal(text_of(&b, "blkio/blkio.throttle.read_bps_device"), "");
        assert_int_equal(b.marks_n, 0);
        look(&b, true);
        look(&b, false); /* the property went while nobody looked */
        assert_contains(text_of(&b, "blkio/blkio.throttle.read_bps_device"), line(&b, " 0\n"));
        bed_close(&b);
}

static void test_troubles(void **state)
{
        struct bed b;
        (void)state;
        bed_open(&b);
        b.want.value[THROTTLE_READ] = 1000;
        look(&b, true);
        assert_int_equal(b.want.trouble.volume, 3);
        assert_contains(b.want.trouble.cause, "neither the blkio controller");
        put_file(&b, "cgroup.controllers", "cpu\n");
        look(&b, true);
        assert_contains(b.want.trouble.cause, "io is not enabled");
        assert_contains(b.want.trouble.correction, "+io");
        make_dir(&b, "blkio"); /* version 1 wins; its file is a directory: it cannot be written */
        make_dir(&b, "blkio/blkio.throttle.read_bps_device");
        look(&b, true);
        assert_contains(b.want.trouble.message, "blkio_throttle_read cannot be set");
        assert_int_equal(b.want.trouble.code, TROUBLE_WARN_STORAGE);
        /* A device that is not there, and what is no device: nothing to do, nothing to say. */
        b.want.lowest = "/dev/null";
        look(&b, true);
        assert_int_equal(b.want.trouble.err, 0);
        b.want.lowest = "/dev/there-is-none";
        look(&b, true);
        assert_int_equal(b.want.trouble.err, 0);
        bed_close(&b);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_values),
                cmocka_unit_test(test_version_1),
                cmocka_unit_test(test_version_2),
                cmocka_unit_test(test_others),
                cmocka_unit_test(test_restart),
                cmocka_unit_test(test_troubles),
        };
        if (!find_block_device()) return 77;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
