/* How often a round asks LVM: once before it and once after, however many volumes there are, and not for what somebody has claimed. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "satellite/base/claim.h"
#include "satellite/base/exec.h"
#include "satellite/layer/layer.h"
#include "satellite/run.h"
#include "wire/codec/codec.h"

#define UUID "aaaaaaaa-0000-4000-8000-000000000001"
#define V0 "11111111-0000-4000-8000-000000000000"
#define V1 "11111111-0000-4000-8000-000000000001"

/* ---- a layer that the test plays ---- */

static unsigned settles;

static int play_probe(const struct layer_vol *v, struct arena *a, struct layer_dev *d, struct trouble *t)
{
        d->looked = d->exists = true;
        d->open = settles > 0;
        return 0;
}
static int play_nothing(const struct layer_vol *v, struct trouble *t) { return 0; }
static int play_look(const struct layer_rsc *r, struct arena *a, struct layer_whole *w, struct trouble *t)
{
        w->exists = w->settled = settles > 0;
        w->uuid = UUID;
        return 0;
}
static int play_settle(const struct layer_rsc *r, struct trouble *t)
{
        assert_int_equal(r->seats_n, 2);
        for (uint32_t i = 0; i < r->seats_n; i++) assert_non_null(r->seats[i].below_path);
        settles++;
        return 0;
}
static int play_dissolve(const struct layer_rsc *r, struct trouble *t) { return 0; }
static const struct layer player = { .type = layer_type_NVME,
        .probe = play_probe,
        .make = play_nothing,
        .grow = play_nothing,
        .look = play_look,
        .settle = play_settle,
        .dissolve = play_dissolve };

/* ---- a volume group with both volumes ---- */

static char dir[] = "/tmp/outrigger-looks-XXXXXX";

static void put_lvs(const char *open)
{
        char path[64], text[2048];
        snprintf(path, sizeof path, "%s/lvs", dir);
        snprintf(text, sizeof text,
                "#!/bin/sh\necho look >>%s/looks\n"
                "case \"$*\" in *r_00001*) ;; *) echo "
                "'r_00000|8388608|-wi-ao----|active|%s||||4194304|/dev/vg0/r_00000|outrigger:" UUID ":0:" V0
                ":r||' ;; esac\n"
                "case \"$*\" in *r_00000*) ;; *) echo "
                "'r_00001|8388608|-wi-ao----|active|%s||||4194304|/dev/vg0/r_00001|outrigger:" UUID ":1:" V1
                ":r||' ;; esac\n",
                dir, open, open);
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        assert_true(fputs(text, f) >= 0 && fclose(f) == 0 && chmod(path, 0755) == 0);
}

static unsigned looks(void)
{
        char path[64];
        struct stat st = { 0 };
        snprintf(path, sizeof path, "%s/looks", dir);
        (void)stat(path, &st);
        (void)unlink(path);
        return (unsigned)st.st_size / 5;
}

static int setup(void **state)
{
        static char search[128];
        assert_non_null(mkdtemp(dir));
        snprintf(search, sizeof search, "%s:/usr/bin:/bin", dir);
        exec_set_path(search);
        layer_replace(layer_type_NVME, &player);
        return 0;
}

static int teardown(void **state)
{
        char command[64];
        layer_replace(layer_type_NVME, NULL);
        exec_set_path(NULL);
        snprintf(command, sizeof command, "rm -r %s", dir);
        return system(command);
}

/* One round of a resource with two volumes below a layer of the whole; the number of looks. */
static unsigned round_of(uint32_t expected_steps)
{
        static const char *stack[] = { "NVME", "STORAGE" };
        struct sat_vlm v[2] = { 0 };
        struct sat_rsc r = { 0 };
        struct run run;
        for (uint64_t i = 0; i < 2; i++) {
                SET(&v[i], sat_vlm, volume_number, i);
                SET(&v[i], sat_vlm, uuid, i == 0 ? V0 : V1);
                SET(&v[i], sat_vlm, size_kib, 8192);
                SET(&v[i], sat_vlm, storage_pool_name, "thick");
        }
        SET(&r, sat_rsc, rsc_name, "r");
        SET(&r, sat_rsc, uuid, UUID);
        SET_N(&r, sat_rsc, layer_stack, stack, 2);
        SET_N(&r, sat_rsc, volumes, v, 2);
        const struct plan_pool pools[] = { { "thick", provider_kind_LVM, "vg0" } };
        struct plan_input in = { .rsc_name = "r", .want = &r, .pools = pools, .pools_n = 1 };
        assert_ok(run_init(&run, &in));
        run_resource(&run);
        if (run.troubles_n > 0) print_message("%s %s\n", run.troubles[0].message, run.troubles[0].cause);
        assert_int_equal(run.err, 0);
        assert_int_equal(run.steps_done, expected_steps);
        run_done(&run);
        return looks();
}

static void test_rounds(void **state)
{
        put_lvs("");
        settles = 0;
        assert_int_equal(round_of(1), 2); /* before the step, which knows what was seen, and after it */
        assert_int_equal(round_of(0), 1);
        put_lvs("open"); /* and nobody has claimed it: perhaps only for a moment */
        assert_int_equal(round_of(0), 3);
}

static void test_claimed(void **state)
{
        char file[64], loop[32];
        struct loop_config c = { 0 };
        snprintf(file, sizeof file, "%s/image", dir);
        int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
        if (control < 0) skip();
        int number = ioctl(control, LOOP_CTL_GET_FREE),
            image = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        close(control);
        snprintf(loop, sizeof loop, "/dev/loop%d", number);
        int fd = open(loop, O_RDWR | O_CLOEXEC);
        if (fd < 0) skip();
        assert_true(image >= 0 && ftruncate(image, 1 << 20) == 0);
        c.fd = (uint32_t)image;
        c.info.lo_flags = LO_FLAGS_AUTOCLEAR;
        assert_int_equal(ioctl(fd, LOOP_CONFIGURE, &c), 0);
        assert_false(device_is_claimed(loop)); /* it is open */
        int own = open(loop, O_RDONLY | O_EXCL | O_CLOEXEC);
        assert_true(own >= 0);
        assert_true(device_is_claimed(loop));
        close(own);
        assert_false(device_is_claimed(loop));
        close(fd);
        close(image);
        assert_false(device_is_claimed("/dev/nothing-like-that"));
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_rounds), cmocka_unit_test(test_claimed) };
        return cmocka_run_group_tests(tests, setup, teardown);
}
