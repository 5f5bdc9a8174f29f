/* Taking a device back from bcache, in a sysfs of the test's own with hooks that do what the kernel and udev would: it lets go some time
 * after it was told to, udev registers what still has a superblock again, a cache goes by its set, somebody else keeps it. */
#include "tests/lib/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "satellite/base/bcache_sys.h"

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

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_nobody_has_it, setup, teardown),
                cmocka_unit_test_setup_teardown(test_backing, setup, teardown),
                cmocka_unit_test_setup_teardown(test_cache_goes_by_its_set, setup, teardown),
                cmocka_unit_test_setup_teardown(test_slow, setup, teardown),
                cmocka_unit_test_setup_teardown(test_registered_again, setup, teardown),
                cmocka_unit_test_setup_teardown(test_in_use, setup, teardown),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
