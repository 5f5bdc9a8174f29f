/* Which disks count as free: a /sys, /dev and /proc of the test's own. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "satellite/base/queue.h"
#include "satellite/provider/disks.h"
#include "wire/codec/codec.h"

#define GIB (1024LL << 20)

static char top[] = "/tmp/outrigger-disks-XXXXXX";

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
        return remove(path);
}

PRINTF_LIKE(4, 5)
static void write_file(const char *text, size_t n, long long at, const char *fmt, ...)
{
        char path[512];
        va_list ap;
        va_start(ap, fmt);
        int len = snprintf(path, sizeof path, "%s/", top);
        vsnprintf(path + len, sizeof path - (size_t)len, fmt, ap);
        va_end(ap);
        for (char *p = path + strlen(top) + 1; (p = strchr(p, '/')) != NULL; p++) {
                *p = '\0';
                if (mkdir(path, 0700) != 0) assert_int_equal(errno, EEXIST);
                *p = '/';
        }
        int fd = open(path, O_WRONLY | O_CREAT, 0600);
        assert_true(fd >= 0);
        assert_int_equal(pwrite(fd, text, n, at), (ssize_t)n);
        close(fd);
}

/* A disk of that many GiB, blank. */
static void add_disk(const char *name, long long gib)
{
        char text[64], path[512];
        snprintf(text, sizeof text, "%lld\n", gib * GIB / 512);
        write_file(text, strlen(text), 0, "sys/class/block/%s/size", name);
        snprintf(text, sizeof text, "8:%d\n", name[2]);
        write_file(text, strlen(text), 0, "sys/class/block/%s/dev", name);
        write_file("0\n", 2, 0, "sys/class/block/%s/queue/rotational", name);
        write_file("", 0, 0, "dev/%s", name);
        snprintf(path, sizeof path, "%s/dev/%s", top, name);
        assert_int_equal(truncate(path, gib * GIB), 0);
}

#define SYS(text, ...) write_file(text, sizeof(text) - 1, 0, "sys/class/block/" __VA_ARGS__)

static uint32_t look(struct arena *a, struct obs_disk **ret)
{
        char sys[64], dev[64], proc[64];
        uint32_t n;
        snprintf(sys, sizeof sys, "%s/sys", top);
        snprintf(dev, sizeof dev, "%s/dev", top);
        snprintf(proc, sizeof proc, "%s/proc", top);
        assert_int_equal(disks_free(sys, dev, proc, a, ret, &n), 0);
        return n;
}

static void test_free_disks(void **state)
{
        static const char *const used[] = { "sdb", "sdc", "sdd", "sde", "sdf", "sdg", "sdh", "sdi", "sdj",
                "sdk" };
        static const char dos[] = { 0, 0, 0x20, 0, (char)0x83, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0 };
        struct arena a = { 0 };
        struct obs_disk *d;
        char swaps[200];
        (void)state;
        assert_non_null(mkdtemp(top));
        add_disk("sda", 2);
        for (size_t i = 0; i < ARRAY_LEN(used); i++) add_disk(used[i], 2);
        assert_int_equal(look(&a, &d), 1 + ARRAY_LEN(used));
        write_file("LUKS\xba\xbe\0\1", 8, 0, "dev/sdb");
        SYS("1\n", "sdc/sdc1/partition");
        write_file("36 35 8:100 / /mnt rw - ext4 /dev/x rw\n", 39, 0, "proc/self/mountinfo"); /* 'd' */
        SYS("1\n", "sde/ro");
        SYS("", "sdf/holders/dm-0");
        SYS("", "sdg/slaves/sdx");
        SYS("1\n", "sdh/hidden");
        snprintf(swaps, sizeof swaps, "Filename Type\n%s/dev/sdi partition 1 0 -2\n", top);
        write_file(swaps, strlen(swaps), 0, "proc/swaps");
        write_file(dos, sizeof dos, 446, "dev/sdj");
        write_file("\x55\xaa", 2, 510, "dev/sdj");
        char path[512];
        snprintf(path, sizeof path, "%s/dev/sdk", top);
        unlink(path); /* cannot be looked at */
        add_disk("loop0", 2);
        add_disk("dm-0", 2);
        add_disk("drbd1000", 2);
        add_disk("sdz", 0);
        SYS("1\n", "sda/queue/rotational");
        SYS("  Big Disk  \n", "sda/device/model");
        SYS("S123\n", "sda/device/serial");
        SYS("naa.5\n", "sda/device/wwid");
        for (uint32_t n = look(&a, &d), i = 1; i < n; i++) fail_msg("%s is free as well", d[i].device);
        snprintf(path, sizeof path, "%s/dev/sda", top);
        assert_string_equal(d[0].device, path);
        assert_true(d[0].size == 2 * GIB && d[0].rotational);
        assert_string_equal(d[0].model, "Big Disk");
        assert_string_equal(d[0].serial, "S123");
        assert_string_equal(d[0].wwn, "naa.5");
        uint32_t n;
        assert_int_equal(disks_free("/nonexistent", "/dev", "/proc", &a, &d, &n), -ENOENT);
        arena_done(&a);
        nftw(top, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* What a device says of discards; a partition has no queue of its own. */
static void test_discard(void **state)
{
        static const struct {
                const char *dir, *granularity, *most;
                unsigned minor;
                int64_t want;
        } rows[] = { { "8:1/queue", "4096\n", "2147450880\n", 1, 4096 },
                { "8:2/queue", "512\n", "0\n", 2, 0 }, { "8:3/queue", "0\n", "0\n", 3, 0 },
                { "8:4/queue", "nonsense\n", "1\n", 4, -1 }, { "8:5/queue", "-1\n", "1\n", 5, -1 },
                { "8:6/queue", "65536", "1048576", 6, 65536 } };
        char sys[64];
        (void)state;
        (void)strcpy(top, "/tmp/outrigger-disks-XXXXXX");
        assert_non_null(mkdtemp(top));
        snprintf(sys, sizeof sys, "%s/sys", top);
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                write_file(rows[i].granularity, strlen(rows[i].granularity), 0,
                        "sys/dev/block/%s/discard_granularity", rows[i].dir);
                write_file(rows[i].most, strlen(rows[i].most), 0, "sys/dev/block/%s/discard_max_bytes",
                        rows[i].dir);
                assert_int_equal(queue_discard_of(sys, makedev(8, rows[i].minor)), rows[i].want);
        }
        assert_int_equal(queue_discard_of(sys, makedev(8, 9)), -1);
        write_file("8192\n", 5, 0, "sys/dev/block/disk/queue/discard_granularity");
        write_file("1\n", 2, 0, "sys/dev/block/disk/queue/discard_max_bytes");
        write_file("1\n", 2, 0, "sys/dev/block/disk/sda1/partition");
        char from[128];
        snprintf(from, sizeof from, "%s/sys/dev/block/8:10", top);
        assert_int_equal(symlink("disk/sda1", from), 0);
        assert_int_equal(queue_discard_of(sys, makedev(8, 10)), 8192);
        assert_int_equal(queue_discard_bytes("/dev/null"), -1);
        assert_int_equal(nftw(top, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_free_disks),
                cmocka_unit_test(test_discard) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
