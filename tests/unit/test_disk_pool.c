/* Pools out of disks, with programs of the test's own: what is refused, that nothing is touched then, deaths at every point, and that an
 * attempt that fails leaves the disks as they were. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "satellite/base/exec.h"
#include "satellite/base/inject.h"
#include "satellite/base/signature.h"
#include "satellite/provider/disk_pool.h"
#include "wire/codec/codec.h"

#define UUID "00000000-0000-4000-8000-000000000001"
#define OTHER "00000000-0000-4000-8000-000000000002"
#define DISK_BYTES (2LL << 30)
#define DISKS 3
#define DIED 99

static char top[64], sys_dir[96], dev_dir[96], proc_dir[96], bin_dir[96];
static struct disk_pool_env env = { sys_dir, dev_dir, proc_dir, true };
static const char *const programs[] = { "pvcreate", "vgcreate", "lvcreate", "pvs", "vgs", "lvs", "vgremove",
        "pvremove", "zfs", "zpool", "lvchange", "lvremove", "lvextend", "lvreduce", "lvrename",
        "thin_check" };

static void write_file(const char *text, size_t n, const char *path)
{
        char part[256];
        snprintf(part, sizeof part, "%s", path);
        for (char *p = part + 1; (p = strchr(p, '/')) != NULL; p++) {
                *p = '\0';
                if (mkdir(part, 0700) != 0) assert_int_equal(errno, EEXIST);
                *p = '/';
        }
        int fd = open(path, O_WRONLY | O_CREAT, 0700);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, n), (ssize_t)n);
        close(fd);
}

#define PUT(text, ...)                                      \
        do {                                                \
                char path_[256];                            \
                snprintf(path_, sizeof path_, __VA_ARGS__); \
                write_file(text, strlen(text), path_);      \
        } while (0)

static const char *disk(unsigned i)
{
        static char path[DISKS + 2][160];
        snprintf(path[i], sizeof path[i], "%s/sd%c", dev_dir, 'a' + (int)i);
        return path[i];
}

static int set_up(void **state)
{
        (void)state;
        snprintf(top, sizeof top, "/tmp/outrigger-disk-pool-XXXXXX");
        assert_non_null(mkdtemp(top));
        snprintf(sys_dir, sizeof sys_dir, "%s/sys", top);
        snprintf(dev_dir, sizeof dev_dir, "%s/dev", top);
        snprintf(proc_dir, sizeof proc_dir, "%s/proc", top);
        snprintf(bin_dir, sizeof bin_dir, "%s/bin", top);
        size_t n;
        char *text = test_file("tests/lib/fake_disks", &n);
        assert_non_null(text);
        for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
                char path[160];
                snprintf(path, sizeof path, "%s/%s", bin_dir, programs[i]);
                write_file(text, n, path);
        }
        free(text);
        for (unsigned i = 0; i < DISKS; i++) {
                char size[32];
                snprintf(size, sizeof size, "%lld\n", DISK_BYTES / 512);
                PUT(size, "%s/class/block/sd%c/size", sys_dir, 'a' + (int)i);
                PUT("8:0\n", "%s/class/block/sd%c/dev", sys_dir, 'a' + (int)i);
                PUT("", "%s/sd%c", dev_dir, 'a' + (int)i);
                assert_int_equal(truncate(disk(i), DISK_BYTES), 0);
        }
        exec_set_path(bin_dir);
        return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
        return remove(path);
}

static int tear_down(void **state)
{
        (void)state;
        exec_set_path(NULL);
        nftw(top, remove_one, 8, FTW_DEPTH | FTW_PHYS);
        return 0;
}

static void fault(const char *text)
{
        char path[160];
        snprintf(path, sizeof path, "%s/fault", bin_dir);
        unlink(path);
        if (text != NULL) PUT(text, "%s/fault", bin_dir);
}

/* Does the file in bin hold the text? */
static bool says(const char *file, const char *text)
{
        char path[160], *all;
        size_t n = 0;
        snprintf(path, sizeof path, "%s/%s", bin_dir, file);
        FILE *f = fopen(path, "re");
        if (f == NULL) return false;
        all = calloc(1, 1 << 20);
        n = fread(all, 1, (1 << 20) - 1, f);
        fclose(f);
        bool found = n > 0 && strstr(all, text) != NULL;
        free(all);
        return found;
}

static bool blank(unsigned i) { return signature_of(disk(i)) == NULL; }

struct wish {
        enum provider_kind kind;
        const char *place, *uuid;
        const char *devices[DISKS + 1];
        const char *vg_argument, *lv_argument, *zpool_argument;
};

static int work(const struct wish *w, enum disk_pool_phase phase, struct trouble *t)
{
        struct sat_disk_pool p = { 0 };
        uint32_t n = 0;
        const char *vg = w->vg_argument, *lv = w->lv_argument, *zpool = w->zpool_argument;
        while (w->devices[n] != NULL) n++;
        SET(&p, sat_disk_pool, uuid, w->uuid != NULL ? w->uuid : UUID);
        SET(&p, sat_disk_pool, place, w->place);
        SET(&p, sat_disk_pool, provider_kind, w->kind);
        SET(&p, sat_disk_pool, phase, phase);
        SET_N(&p, sat_disk_pool, devices, (const char **)w->devices, n);
        if (vg != NULL) SET_N(&p, sat_disk_pool, vg_arguments, &vg, 1);
        if (lv != NULL) SET_N(&p, sat_disk_pool, lv_arguments, &lv, 1);
        if (zpool != NULL) SET_N(&p, sat_disk_pool, zpool_arguments, &zpool, 1);
        *t = (struct trouble){ 0 };
        return disk_pool_work(&env, &p, t);
}

#define LVM_ON(...) ((struct wish){ .kind = provider_kind_LVM, .place = "vg", .devices = { __VA_ARGS__ } })
#define THIN_ON(...) \
        ((struct wish){ .kind = provider_kind_LVM_THIN, .place = "vg/thin", .devices = { __VA_ARGS__ } })
#define ZFS_ON(...) ((struct wish){ .kind = provider_kind_ZFS, .place = "tank", .devices = { __VA_ARGS__ } })

static void expect(const struct wish *w, enum disk_pool_phase phase, int err, const char *text)
{
        struct trouble t;
        int got = work(w, phase, &t);
        if (got != err) fail_msg("%d instead of %d: %s %s", got, err, t.message, t.cause);
        if (text != NULL && strstr(t.message, text) == NULL && strstr(t.cause, text) == NULL)
                fail_msg("'%s' is not in: %s %s", text, t.message, t.cause);
        if (err != 0) assert_true(t.correction[0] != '\0');
}

static void test_made(void **state)
{
        struct wish thin = THIN_ON(disk(0), disk(1));
        (void)state;
        thin.lv_argument = "--chunksize=128k";
        thin.vg_argument = "-s 8m";
        expect(&thin, disk_pool_phase_CHECK, 0, NULL);
        assert_false(says("log", "create"));
        expect(&thin, disk_pool_phase_MAKE, 0, NULL);
        assert_true(says("log", "--physicalextentsize 8m --addtag outrigger-made:" UUID " vg "));
        assert_true(says("log", "--chunksize 128k --yes --type thin-pool --extents 100%FREE"));
        assert_false(blank(0) || blank(1));
        fault("lvcreate fail"); /* it is there: nothing is done */
        expect(&thin, disk_pool_phase_MAKE, 0, NULL);
        expect(&thin, disk_pool_phase_CHECK, 0, NULL);
        fault(NULL);
        struct wish other = LVM_ON(disk(2));
        other.uuid = OTHER;
        expect(&other, disk_pool_phase_CHECK, E_EXISTS, "volume group vg already");
        expect(&other, disk_pool_phase_MAKE, E_EXISTS, NULL);
        assert_true(blank(2));
        other.place = "vg2";
        expect(&other, disk_pool_phase_MAKE, 0, NULL);
        struct wish third = LVM_ON(disk(2));
        third.place = "vg3";
        third.uuid = "00000000-0000-4000-8000-000000000003";
        expect(&third, disk_pool_phase_CHECK, E_INVALID, "another signature");
        assert_true(says("state", "'vg'") && says("state", "'vg2'") && !says("state", "'vg3'"));
}

static void test_made_zfs(void **state)
{
        struct wish zfs = ZFS_ON(disk(0), disk(1));
        (void)state;
        zfs.zpool_argument = "-o ashift=12 -O compression=lz4";
        expect(&zfs, disk_pool_phase_CHECK, 0, NULL);
        expect(&zfs, disk_pool_phase_MAKE, 0, NULL);
        assert_true(says("log",
                "zpool create -m none -O outrigger:made=" UUID " -o ashift=12 -O compression=lz4 tank "));
        expect(&zfs, disk_pool_phase_MAKE, 0, NULL);
        zfs.uuid = OTHER;
        expect(&zfs, disk_pool_phase_MAKE, E_EXISTS, "ZFS pool tank already");
}

/* Every reason not to take a disk; none is changed. */
static void test_refused(void **state)
{
        char link[160], loop[160];
        (void)state;
        snprintf(link, sizeof link, "%s/by-id", dev_dir);
        snprintf(loop, sizeof loop, "%s/none", dev_dir);
        assert_int_equal(symlink(disk(0), link), 0);
        expect(&LVM_ON(disk(0), link), disk_pool_phase_CHECK, E_INVALID, "named twice");
        expect(&LVM_ON(loop), disk_pool_phase_CHECK, E_INVALID, "no such device");
        expect(&LVM_ON("/etc/passwd"), disk_pool_phase_CHECK, E_INVALID, "no physical disk");
        expect(&LVM_ON(sys_dir), disk_pool_phase_CHECK, E_INVALID, "no physical disk");
        expect(&((struct wish){ .kind = provider_kind_LVM, .place = "vg" }), disk_pool_phase_CHECK, E_INVALID,
                NULL);
        PUT("1\n", "%s/class/block/sdb/sdb1/partition", sys_dir);
        expect(&LVM_ON(disk(0), disk(1)), disk_pool_phase_MAKE, E_INVALID, "it has partitions");
        PUT("", "%s/class/block/sdc/holders/dm-0", sys_dir);
        expect(&LVM_ON(disk(0), disk(2)), disk_pool_phase_MAKE, E_INVALID, "other devices are made of it");
        int fd = open(disk(0), O_WRONLY);
        assert_int_equal(pwrite(fd, "LUKS\xba\xbe\0\1", 8, 0), 8);
        expect(&LVM_ON(disk(0)), disk_pool_phase_MAKE, E_INVALID, "another signature");
        expect(&ZFS_ON(disk(0)), disk_pool_phase_MAKE, E_INVALID, "another signature");
        close(fd);
        assert_false(says("log", "create "));
        struct wish bad = LVM_ON(disk(0));
        bad.vg_argument = "--shared";
        expect(&bad, disk_pool_phase_CHECK, E_INVALID, "--shared");
        bad = ZFS_ON(disk(0));
        bad.zpool_argument = "-R /etc";
        expect(&bad, disk_pool_phase_CHECK, E_INVALID, "-R");
        bad.zpool_argument = "-o cachefile=/etc/passwd";
        expect(&bad, disk_pool_phase_CHECK, E_INVALID, "cachefile");
        bad.zpool_argument = "-f";
        expect(&bad, disk_pool_phase_CHECK, E_INVALID, "-f");
        bad = LVM_ON(disk(0));
        bad.place = "../vg";
        expect(&bad, disk_pool_phase_CHECK, E_CONFIG, NULL);
}

/* What was begun is undone; programs that print garbage or fail change nothing. */
static void test_fails(void **state)
{
        static const char *const faults[] = { "pvcreate fail", "vgcreate fail", "vgcreate late",
                "lvcreate fail", "pvs garbage", "vgs garbage", "vgs fail", "pvcreate late" };
        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
                struct trouble t;
                fault(faults[i]);
                int err = work(&THIN_ON(disk(0), disk(1)), disk_pool_phase_MAKE, &t);
                if (err == 0) fail_msg("%s: it went well", faults[i]);
                fault(NULL);
                if (!blank(0) || !blank(1) || says("state", "/sda"))
                        fail_msg("%s: something is left", faults[i]);
        }
        fault("zpool late");
        expect(&ZFS_ON(disk(0), disk(1)), disk_pool_phase_MAKE, E_PROGRAM, NULL);
        fault(NULL);
        expect(&ZFS_ON(disk(0)), disk_pool_phase_CHECK, E_INVALID,
                NULL); /* a file cannot be wiped like a device: told */
}

/* The satellite dies at a point, and begins again. */
static void die_and_go_on(const struct wish *w, const char *spec)
{
        pid_t pid = fork();
        if (pid == 0) {
                struct trouble t;
                struct fail f;
                if (inject_arm(spec, &f) != 0) _exit(1);
                (void)work(w, disk_pool_phase_MAKE, &t);
                _exit(0);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != DIED) fail_msg("%s: it did not die there", spec);
        /* another row must not take over what this one began */
        struct wish other = *w;
        other.uuid = OTHER;
        struct trouble t;
        assert_int_not_equal(work(&other, disk_pool_phase_CHECK, &t), 0);
        assert_int_not_equal(work(&other, disk_pool_phase_MAKE, &t), 0);
        expect(w, disk_pool_phase_MAKE, 0, NULL);
}

static void test_dies(void **state)
{
        static const char *const points[] = { "disk_pool_pv:1", "disk_pool_pv:2", "disk_pool_vg:1",
                "disk_pool_made:1" };
        for (size_t i = 0; i < ARRAY_LEN(points); i++) {
                if (i > 0) set_up(state);
                die_and_go_on(&THIN_ON(disk(0), disk(1)), points[i]);
                tear_down(state);
        }
        set_up(state);
        die_and_go_on(&ZFS_ON(disk(0), disk(1)), "disk_pool_made:1");
        tear_down(state);
        /* zpool dies between its partition tables and the pool: in MAKE it is gone on with, in CHECK the disks count as used */
        set_up(state);
        fault("zpool late");
        struct trouble t;
        assert_int_not_equal(work(&ZFS_ON(disk(0), disk(1)), disk_pool_phase_MAKE, &t), 0);
        fault(NULL);
        assert_true(disk_is_zfs_begun(disk(0)));
        expect(&ZFS_ON(disk(0), disk(1)), disk_pool_phase_CHECK, E_INVALID, NULL);
        expect(&ZFS_ON(disk(0), disk(1)), disk_pool_phase_MAKE, 0, NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_made, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_made_zfs, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_fails, set_up, tear_down),
                cmocka_unit_test_setup_teardown(test_dies, set_up, tear_down),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
