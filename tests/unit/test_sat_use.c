/* Who uses a resource, as the satellite reports it: what is beside a volume does not count, and of layers of whole resources it is found by
 * looking now and then, without anything else that happens. */
#include "tests/lib/test.h"

#include <stdatomic.h>

#include "satellite/layer/layer.h"
#include "satellite/rows.h"
#include "tests/unit/sat_bed.h"
#include "wire/codec/codec.h"
#include "wire/def/layer_extra.h"

#define U1 "aaaaaaaa-0000-4000-8000-000000000001"
#define V1 "11111111-0000-4000-8000-000000000001"

/* ---- a layer that the test plays; its functions run in pool threads ---- */

static atomic_bool there, away, used;
static atomic_uint settles;

static int play_look(const struct layer_rsc *r, struct arena *a, struct layer_whole *w, struct trouble *t)
{
        if (!there) return 0;
        struct layer_top *top = arena_new(a, struct layer_top);
        *top = (struct layer_top){ .device_path = "/dev/nvme9n1", .size_kib = 1024, .in_use = used };
        w->exists = true;
        w->uuid = U1;
        w->settled = r->want != NULL && !away;
        w->tops = top;
        w->tops_n = 1;
        return 0;
}
static int play_settle(const struct layer_rsc *r, struct trouble *t)
{
        there = true;
        away = false;
        settles++;
        return 0;
}
static int play_dissolve(const struct layer_rsc *r, struct trouble *t)
{
        there = false;
        return 0;
}
static const struct layer player = {
        .type = layer_type_NVME, .look = play_look, .settle = play_settle, .dissolve = play_dissolve
};

static void want_initiator(struct ctl *c, struct bed *b, uint64_t revision)
{
        static const char *stack[] = { "NVME", "STORAGE" };
        struct sat_nvme nvme = { 0 };
        struct wish x;
        wish_init(&x, b, 1, revision);
        wish_rsc(&x, "r", U1, 1, 1024, "thin");
        struct sat_rsc *r = &x.w.resources[0];
        SET(r, sat_rsc, flags, rsc_flag_NVME_INITIATOR);
        SET_N(r, sat_rsc, layer_stack, stack, 2);
        SET(&nvme, sat_nvme, host_nqn, "n2");
        SET(&nvme, sat_nvme, transport, "tcp");
        SET(&nvme, sat_nvme, address, "10.0.0.1");
        SET(&nvme, sat_nvme, port, 4420);
        SET(r, sat_rsc, nvme, &nvme);
        assert_int_equal(ctl_want(c, &x.w), 0);
        wish_done(&x);
}

static bool says(struct ctl *c, const void *arg)
{
        const struct obs_rsc *r = ctl_row(c, "r");
        return r != NULL && r->in_use == *(const bool *)arg && r->state == sat_step_state_DONE;
}

static void test_looks(void **state)
{
        static const bool yes = true, no = false;
        struct bed b;
        struct ctl c;
        layer_replace(layer_type_NVME, &player);
        bed_init(&b);
        bed_start(&b);
        ctl_open(&c, &b, "c1");
        want_initiator(&c, &b, 5);
        const struct obs_rsc *r = ctl_await(&c, "r", 5, sat_step_state_DONE);
        assert_false(r->in_use);
        assert_string_equal(r->volumes[0].device_path, "/dev/nvme9n1");
        assert_int_equal(settles, 1);
        used = true;
        assert_true(ctl_wait(&c, says, &yes, 10000));
        used = false;
        assert_true(ctl_wait(&c, says, &no, 10000));
        assert_int_equal(settles, 1); /* looking alone changes nothing */
        away = true;
        RUN_WHILE(&b.loop, settles < 2);
        assert_true(ctl_wait(&c, says, &no, 10000));
        there = false;
        RUN_WHILE(&b.loop, settles < 3);
        ctl_close(&c);
        bed_done(&b);
        layer_replace(layer_type_NVME, NULL);
}

/* A cache is held open by the device that it belongs to. */
static void test_caches(void **state)
{
        struct layer_dev layer = { .type = layer_type_WRITECACHE, .open = true, .size_kib = 1024 };
        struct dev devs[2] = { 0 };
        char name[] = "r";
        struct unit u = { .name = name, .devs = devs, .devs_n = 2 };
        struct arena a = { 0 };
        struct obs_rsc row;
        for (unsigned i = 0; i < 2; i++)
                devs[i] = (struct dev){ .rsc_name = "r",
                        .uuid = U1,
                        .vlm_uuid = V1,
                        .pool = i == 0 ? "thick" : "fast",
                        .kind = provider_kind_LVM,
                        .place = i == 0 ? "vg0" : "vg1",
                        .backing_id = i == 0 ? "r_00000" : "r.cache_00000",
                        .volume_number = i == 0 ? 0 : EXTRA_NUMBER(EXTRA_WRITECACHE, 0),
                        .exists = true,
                        .attached = true,
                        .in_use = true, /* both, by device-mapper */
                        .device_path = "/dev/mapper/x" };
        layer.device_path = "/dev/mapper/linstor_writecache_r_00000";
        devs[0].layers = &layer;
        devs[0].layers_n = 1;
        assert_ok(row_of_unit(&u, NULL, "n1", &a, &row));
        assert_false(row.in_use);
        layer.in_use = true;
        assert_ok(row_of_unit(&u, NULL, "n1", &a, &row));
        assert_true(row.in_use);
        arena_done(&a);
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_caches), cmocka_unit_test(test_looks) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
