/* Taking a device back from bcache, in a sysfs of the test's own with hooks that do what the kernel and udev would: it lets go some time
 * after it was told to, udev registers what still has a superblock again, a cache goes by its set, somebody else keeps it. The layer's
 * superblocks, by a make-bcache of the test's own: made, made half, another volume's. */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "satellite/base/bcache_sys.h"
#include "satellite/base/exec.h"
#include "satellite/layer/layer.h"

#define UUID_1 "11111111-2222-4000-8000-000000000001"
#define UUID_2 "99999999-2222-4000-8000-000000000001"

static char top[64], dir[128];
static struct {
        bool listed;      /* the kernel shows it in sysfs */
        bool held;        /* and has it open */
        unsigned slow;    /* attempts to open it that still fail after it was stopped */
        unsigned again;   /* times that udev registers it again */
        bool other;       /* somebody else has it open */
        unsigned stopped; /* counted */
        char by[64];      /* what was written last */
        unsigned opened;
} kernel;

/* A command for something below the device's directory. */
static void run(const char *command, const char *below)
{
        char line[300];
        snprintf(line, sizeof line, "%s %s%s", command, dir, below);
        assert_int_equal(system(line), 0);
}

static void enlist(bool cache)
{
        run("mkdir -p", "/bcache");
        run("touch", "/bcache/stop");
        if (cache) {
                run("mkdir", "/bcache/set");
                run("touch", "/bcache/set/stop");
        }
        kernel.listed = kernel.held = true;
}

static void delist(void)
{
        run("rm -r", "/bcache");
        kernel.listed = false;
}

static bool number_of(const char *path, unsigned *major, unsigned *minor)
{
        *major = 254;
        *minor = 7;
        return strcmp(path, "/dev/vg/volume") == 0;
}

static void wrote(const char *path, const char *text)
{
        assert_string_equal(text, "1");
        snprintf(kernel.by, sizeof kernel.by, "%s", path + strlen(dir));
        kernel.stopped++;
        delist();
}

static int open_alone(const char *path)
{
        assert_string_equal(path, "/dev/vg/volume");
        kernel.opened++;
        if (kernel.other) return EBUSY;
        if (kernel.listed) return EBUSY;
        if (kernel.held && kernel.slow > 0) {
                kernel.slow--;
                return EBUSY;
        }
        if (kernel.held && kernel.again > 0) {
                kernel.again--;
                enlist(false);
                return EBUSY;
        }
        kernel.held = false;
        return 0;
}

static int setup(void **state)
{
        (void)state;
        memset(&kernel, 0, sizeof kernel);
        snprintf(top, sizeof top, "/tmp/outrigger-bcache-XXXXXX");
        assert_non_null(mkdtemp(top));
        snprintf(dir, sizeof dir, "%s/dev/block/254:7", top);
        run("mkdir -p", "");
        bcache_world = (struct bcache_world){
                .sys = top, .open_alone = open_alone, .wrote = wrote, .number_of = number_of
        };
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        char line[100];
        snprintf(line, sizeof line, "rm -r %s", top);
        assert_int_equal(system(line), 0);
        return 0;
}

static int let_go(void) { return bcache_let_go("/dev/vg/volume", 1000); }

static void test_nobody_has_it(void **state)
{
        (void)state;
        assert_false(bcache_has("/dev/vg/volume"));
        assert_false(bcache_has("/dev/vg/another"));
        assert_false(bcache_has(NULL));
        assert_int_equal(let_go(), 0);
        assert_int_equal(kernel.stopped, 0);
}

static void test_backing(void **state)
{
        (void)state;
        enlist(false);
        assert_true(bcache_has("/dev/vg/volume"));
        assert_int_equal(let_go(), 0);
        assert_string_equal(kernel.by, "/bcache/stop");
        assert_int_equal(kernel.stopped, 1);
}

static void test_cache_goes_by_its_set(void **state)
{
        (void)state;
        enlist(true);
        assert_int_equal(let_go(), 0);
        assert_string_equal(kernel.by, "/bcache/set/stop");
        assert_int_equal(kernel.stopped, 1);
}

/* The directory in sysfs is gone long before the device is closed. */
static void test_slow(void **state)
{
        (void)state;
        kernel.slow = 4;
        enlist(false);
        assert_int_equal(let_go(), 0);
        assert_int_equal(kernel.stopped, 1);
        assert_false(kernel.held);
        assert_int_equal(kernel.opened, 6);
}

static void test_registered_again(void **state)
{
        (void)state;
        kernel.again = 3;
        enlist(false);
        assert_int_equal(let_go(), 0);
        assert_int_equal(kernel.stopped, 4);
        assert_false(bcache_has("/dev/vg/volume"));
}

/* What is open elsewhere is not ours to stop. */
static void test_in_use(void **state)
{
        (void)state;
        kernel.other = true;
        assert_int_equal(let_go(), EBUSY);
        assert_int_equal(kernel.stopped, 0);
        assert_int_equal(kernel.opened, 11);
}

/* ---- superblocks ---- */

/* As make-bcache does it: a set's uuid of its own unless it is given one. */
static const char program[] =
        "#!/usr/bin/python3\n"
        "import os, sys, uuid\n"
        "args = sys.argv[1:]\n"
        "if '-C' in args and os.path.exists(os.path.dirname(sys.argv[0]) + '/no-cache'): sys.exit('no')\n"
        "of = uuid.UUID(args[args.index('--cset-uuid') + 1]) if '--cset-uuid' in args else uuid.uuid4()\n"
        "magic = bytes.fromhex('c68573f64e1a45ca8265f57f48ba6d81')\n"
        "with open(args[-1], 'r+b') as f:\n"
        "    f.seek(4096 + 24)\n"
        "    f.write(magic + bytes(16) + of.bytes)\n";

static const char *in_top(const char *name, char out[128])
{
        snprintf(out, 128, "%s/%s", top, name);
        return out;
}

static void put_file(const char *name, const char *text, size_t size)
{
        char path[128];
        int fd = open(in_top(name, path), O_WRONLY | O_CREAT | O_TRUNC, 0700);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
        if (size > 0) assert_int_equal(ftruncate(fd, (off_t)size), 0);
        close(fd);
}

static struct layer_dev probe(const struct layer_vol *v, struct arena *a)
{
        struct layer_dev l = { .type = layer_type_BCACHE };
        struct trouble t;
        assert_int_equal(layer_bcache.probe(v, a, &l, &t), 0);
        assert_true(l.looked);
        return l;
}

static void test_superblocks(void **state)
{
        (void)state;
        struct arena a = { 0 };
        struct trouble t;
        char data[128], cache[128], refusing[128];
        struct strmap props = { 0 };
        struct dev extra = { .exists = true, .attached = true, .device_path = in_top("cache", cache) };
        struct dev d = { .rsc_name = "r", .vlm_uuid = UUID_1, .extras = { [EXTRA_BCACHE] = &extra } };
        struct layer_vol v = { .dev = &d, .below_path = in_top("data", data), .props = &props };
        exec_set_path(top);
        put_file("make-bcache", program, 0);
        put_file("data", "", 1 << 20);
        put_file("cache", "", 1 << 20);
        struct layer_dev l = probe(&v, &a);
        assert_false(l.exists || l.raw || l.foreign);
        /* only the first of the two is made: that is seen, and the second attempt goes on with it */
        put_file("no-cache", "", 0);
        assert_int_not_equal(layer_bcache.make(&v, &t), 0);
        l = probe(&v, &a);
        assert_true(l.raw);
        assert_false(l.exists || l.foreign);
        assert_int_equal(unlink(in_top("no-cache", refusing)), 0);
        assert_int_equal(layer_bcache.make(&v, &t), 0);
        l = probe(&v, &a);
        assert_true(l.exists);
        assert_false(l.raw || l.foreign);
        assert_int_equal(layer_bcache.make(&v, &t), 0);
        /* it is another volume's */
        d.vlm_uuid = UUID_2;
        assert_true(probe(&v, &a).foreign);
        assert_int_not_equal(layer_bcache.make(&v, &t), 0);
        /* a cache that was there once is not made again */
        d.vlm_uuid = UUID_1;
        put_file("cache", "", 1 << 20);
        v.made = true;
        assert_int_not_equal(layer_bcache.make(&v, &t), 0);
        assert_false(probe(&v, &a).exists);
        exec_set_path(NULL);
        arena_done(&a);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_nobody_has_it, setup, teardown),
                cmocka_unit_test_setup_teardown(test_backing, setup, teardown),
                cmocka_unit_test_setup_teardown(test_cache_goes_by_its_set, setup, teardown),
                cmocka_unit_test_setup_teardown(test_slow, setup, teardown),
                cmocka_unit_test_setup_teardown(test_registered_again, setup, teardown),
                cmocka_unit_test_setup_teardown(test_in_use, setup, teardown),
                cmocka_unit_test_setup_teardown(test_superblocks, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
