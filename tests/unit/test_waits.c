/* Waiting until satellites have done what was asked for, on stores in memory. */
#include "controller/waits.h"

#include "tests/unit/satellites_bed.h"

static int setup(void **state)
{
        int err = bed_setup(state);
        PUT(fx->wanted, node, .name = "alpha");
        return err;
}
#define WAIT_TEST(name) cmocka_unit_test_setup_teardown(name, setup, bed_teardown)

static int view_begin(void *arg, struct waits_view *ret)
{
        *ret = (struct waits_view){
                .wanted = kv_mem_read(fx->wanted), .observed = kv_mem_read(fx->observed), .index = fx->applied
        };
        return 0;
}
static void view_end(void *arg, struct waits_view *view)
{
        kv_mem_end(view->wanted);
        kv_mem_end(view->observed);
}
static const struct waits_ops waits_ops = { .view_begin = view_begin, .view_end = view_end };

static void on_waited(void *arg, const struct api_rc *rcs, uint32_t n)
{
        fx->answers++;
        fx->last_n = n;
        for (uint32_t i = 0; i < n && i < ARRAY_LEN(fx->last); i++)
                assert_ok(obj_copy(&api_rc_type, &rcs[i], &fx->arena, &fx->last[i]));
}

static struct wait_item item(const char *rsc, uint64_t revision, bool gone)
{
        struct wait_item i = { 0 };
        SET(&i, wait_item, node_name, "alpha");
        SET(&i, wait_item, rsc_name, rsc);
        SET(&i, wait_item, revision, revision);
        SET(&i, wait_item, gone, gone);
        return i;
}

static void poke(struct waits *w)
{
        waits_poke(w, "ALPHA");
        waits_tick(w);
}

static void test_wait_done_and_failed(void **state)
{
        struct waits *w = waits_new(&fx->env, &waits_ops, NULL);
        struct wait_item items[2] = { item("r1", 5, false), item("r2", 5, false) };
        assert_ok(write_observed(do_online, NULL));
        report_rsc(obs("r1", 4, sat_step_state_DONE), true, 4);
        waits_add(w, items, 2, 100000, 60000, on_waited, NULL);
        assert_int_equal(fx->answers, 0); /* never from inside */
        assert_int_equal(waits_deadline_ms(w), 0);
        waits_tick(w);
        report_rsc(obs("r1", 5, sat_step_state_RUNNING), false, 5);
        poke(w);
        report_rsc(obs("r1", 5, sat_step_state_DONE), false, 5);
        poke(w);
        assert_int_equal(fx->answers, 0);
        assert_int_equal(waits_deadline_ms(w), 60000);
        struct obs_rsc *bad = obs("r2", 6, sat_step_state_FAILED);
        struct api_rc rc = { 0 };
        SET(&rc, api_rc, ret_code, apirc_value(RC_FAIL_UNKNOWN_ERROR, 0, 0));
        SET(&rc, api_rc, message, "no room");
        SET_N(bad, obs_rsc, reports, &rc, 1);
        report_rsc(bad, false, 6);
        waits_poke(w, "other-node");
        waits_tick(w);
        assert_int_equal(fx->answers, 0);
        poke(w);
        assert_int_equal(fx->answers, 1);
        assert_int_equal(fx->last_n, 1);
        assert_string_equal(fx->last[0].message, "no room");
        assert_int_equal(waits_count(w), 0);
        assert_true(waits_deadline_ms(w) == UINT64_MAX);
        waits_free(w);
}

static void test_wait_offline(void **state)
{
        struct waits *w = waits_new(&fx->env, &waits_ops, NULL);
        struct wait_item items[2] = { item("r1", 5, false), item("r2", 5, true) };
        assert_ok(write_observed(do_online, "power is off"));
        waits_add(w, items, 2, 100000, 60000, on_waited, NULL);
        waits_tick(w);
        assert_int_equal(fx->answers, 0); /* a moment of grace */
        assert_int_equal(waits_deadline_ms(w), fx->now_ms + WAITS_OFFLINE_GRACE_MS);
        fx->now_ms += WAITS_OFFLINE_GRACE_MS;
        waits_tick(w);
        assert_int_equal(fx->answers, 1);
        assert_int_equal(fx->last_n, 1); /* one entry for each node */
        assert_int_equal(fx->last[0].ret_code, apirc_value(RC_WARN_NOT_CONNECTED, 0, 0));
        assert_contains(fx->last[0].message, "alpha");
        assert_contains(fx->last[0].details, "power is off");
        waits_free(w);
}

static void test_wait_comes_back_in_time(void **state)
{
        struct waits *w = waits_new(&fx->env, &waits_ops, NULL);
        struct wait_item i = item("r1", 5, false);
        assert_ok(write_observed(do_online, "gone for a moment"));
        waits_add(w, &i, 1, 100000, 60000, on_waited, NULL);
        waits_tick(w);
        assert_ok(write_observed(do_online, NULL));
        poke(w);
        fx->now_ms += 2 * WAITS_OFFLINE_GRACE_MS;
        waits_tick(w);
        assert_int_equal(fx->answers, 0);
        report_rsc(obs("r1", 5, sat_step_state_DONE), false, 5);
        poke(w);
        assert_int_equal(fx->answers, 1);
        assert_int_equal(fx->last_n, 0);
        waits_free(w);
}

static void test_wait_deadline(void **state)
{
        struct waits *w = waits_new(&fx->env, &waits_ops, NULL);
        struct wait_item items[2] = { item("r1", 5, false), item("r2", 5, true) };
        assert_ok(write_observed(do_online, NULL));
        waits_add(w, items, 2, 9000, 5000, on_waited, NULL);
        waits_tick(w);
        fx->now_ms = 5000;
        waits_tick(w);
        assert_int_equal(fx->answers, 0);
        assert_int_equal(waits_deadline_ms(w), 9000);
        fx->now_ms = 9000;
        waits_tick(w);
        assert_int_equal(fx->answers, 1);
        assert_int_equal(fx->last_n, 2);
        assert_int_equal(fx->last[0].ret_code, apirc_value(RC_WARN_STLT_NOT_UPDATED, 0, 0));
        waits_add(w, items, 2, 99999, 99999, on_waited, NULL);
        waits_expire(w); /* the member leaves */
        assert_int_equal(waits_deadline_ms(w), 0);
        waits_tick(w);
        assert_int_equal(fx->answers, 2);
        assert_int_equal(fx->last_n, 2);
        waits_add(w, items, 2, 99999, 99999, on_waited, NULL);
        waits_free(w); /* answers what waits */
        assert_int_equal(fx->answers, 3);
        assert_int_equal(fx->last_n, 0);
}

/* What takes its time is waited for as long as a deletion. */
static void test_wait_slow(void **state)
{
        struct waits *w = waits_new(&fx->env, &waits_ops, NULL);
        struct wait_item i = item("r1", 5, false);
        SET(&i, wait_item, slow, true);
        assert_ok(write_observed(do_online, NULL));
        waits_add(w, &i, 1, 9000, 5000, on_waited, NULL);
        waits_tick(w);
        fx->now_ms = 5000;
        assert_int_equal(waits_deadline_ms(w), 9000);
        waits_tick(w);
        assert_int_equal(fx->answers, 0);
        report_rsc(obs("r1", 5, sat_step_state_DONE), false, 5);
        poke(w);
        assert_int_equal(fx->answers, 1);
        assert_int_equal(fx->last_n, 0);
        waits_free(w);
}

static enum wait_verdict look(const struct wait_item *i)
{
        struct api_rc *rcs = NULL;
        uint32_t n = 0;
        struct waits_view view;
        assert_ok(view_begin(NULL, &view));
        enum wait_verdict v = wait_item_look(&view, i, &fx->arena, &rcs, &n);
        view_end(NULL, &view);
        return v;
}

static void test_wait_gone(void **state)
{
        struct wait_item i = item("r1", 5, true);
        assert_ok(write_observed(do_online, NULL));
        report_rsc(obs("r1", 4, sat_step_state_DONE), true, 4);
        assert_int_equal(look(&i), WAIT_PENDING);
        report_rsc(obs("r1", 5, sat_step_state_RUNNING), false, 5);
        assert_int_equal(look(&i), WAIT_PENDING);
        report_rsc(obs("r1", 5, sat_step_state_FAILED), false, 5);
        assert_int_equal(look(&i), WAIT_FAILED);
        struct obs_rsc *g = obs("r1", 5, sat_step_state_DONE);
        SET(g, obs_rsc, gone, true);
        report_rsc(g, false, 5);
        assert_int_equal(look(&i), WAIT_DONE);
        report_rsc(NULL, true, 5); /* confirmed and dropped meanwhile */
        assert_int_equal(look(&i), WAIT_DONE);
        /* Names and numbers are free only when the tombstone is gone: a newer one is somebody else's. */
        PUT(fx->wanted, tombstone, .node_name = "alpha", .rsc_name = "r1", .uuid = "u9", .revision = 9);
        assert_int_equal(look(&i), WAIT_DONE);
        PUT(fx->wanted, tombstone, .node_name = "alpha", .rsc_name = "r1", .uuid = "u5", .revision = 5);
        assert_int_equal(look(&i), WAIT_PENDING);
        DEL(fx->wanted, tombstone, .node_name = "alpha", .rsc_name = "r1", .uuid = "u5");
        assert_int_equal(look(&i), WAIT_DONE);
        fx->applied = 4; /* satellites tell sooner than this member applies */
        assert_int_equal(look(&i), WAIT_PENDING);
        fx->applied = 5;
        assert_int_equal(look(&i), WAIT_DONE);
        report_rsc(NULL, true, 4); /* it has not heard of it */
        assert_int_equal(look(&i), WAIT_PENDING);
        report_rsc(obs("r1", 8, sat_step_state_RUNNING), true, 8); /* made anew since */
        assert_int_equal(look(&i), WAIT_DONE);
}

/* The node itself is deleted when its satellite has removed the last resource: its rows go, and so does its session. */
static void test_wait_node_deleted(void **state)
{
        struct wait_item gone = item("r1", 5, true), made = item("r1", 5, false), tomb = gone;
        (void)state;
        SET(&tomb, wait_item, tombstone, "u5");
        assert_ok(write_observed(do_online, NULL));
        assert_int_equal(look(&gone), WAIT_PENDING);
        DEL(fx->wanted, node, .name = "alpha");
        assert_int_equal(look(&gone), WAIT_DONE);
        assert_int_equal(look(&tomb), WAIT_DONE);
        assert_int_equal(look(&made), WAIT_DONE);
        fx->applied = 4; /* or this member does not know the node yet */
        assert_int_equal(look(&gone), WAIT_PENDING);
}

static const char *said(const struct wait_item *i)
{
        struct api_rc *rcs = NULL;
        uint32_t n = 0;
        struct waits_view view;
        assert_ok(view_begin(NULL, &view));
        assert_int_equal(wait_item_look(&view, i, &fx->arena, &rcs, &n), WAIT_FAILED);
        view_end(NULL, &view);
        assert_int_equal(n, 1);
        return rcs[0].message;
}

/* How a saga has failed. The safety snapshot of a rollback stays only where the resource is not what it was. */
static void test_wait_saga(void **state)
{
        struct wait_item i = item(NULL, 5, false);
        struct saga_item of = { 0 };
        struct saga s = { 0 };
        (void)state;
        UNSET(&i, wait_item, rsc_name);
        SET(&i, wait_item, saga, "u1");
        SET(&of, saga_item, rsc_name, "r1");
        SET(&of, saga_item, snap_name, "safety");
        SET(&s, saga, uuid, "u1");
        SET(&s, saga, kind, saga_kind_CLONE); /* put_row() takes none that is zero */
        SET(&s, saga, phase, saga_phase_TAKE);
        SET_N(&s, saga, items, &of, 1);
        put_row(fx->wanted, &saga_type, &s, false);
        assert_int_equal(look(&i), WAIT_PENDING);
        SET(&s, saga, phase, saga_phase_FAILED);
        put_row(fx->wanted, &saga_type, &s, false);
        assert_string_equal(said(&i), "The snapshot of resource 'r1' was not taken.");
        SET(&s, saga, kind, saga_kind_ROLLBACK);
        put_row(fx->wanted, &saga_type, &s, false);
        assert_string_equal(said(&i), "Resource 'r1' was not rolled back: it is as it was before.");
        PUT(fx->wanted, snap_dfn, .rsc_name = "r1", .snap_name = "safety");
        assert_contains(said(&i), "is not yet what it was before");
        put_row(fx->wanted, &saga_type, &s, true);
        assert_int_equal(look(&i), WAIT_DONE);
}

/* Snapshots of the resource stay on the node: its row stays as well, and its revision is none once the tombstone is forgotten. */
static void test_wait_gone_with_snapshots(void **state)
{
        struct wait_item i = item("r1", 5, true);
        struct obs_snap snap = { 0 };
        SET(&snap, obs_snap, snap_name, "s1");
        SET(&snap, obs_snap, uuid, "u1");
        SET(&snap, obs_snap, revision, 3);
        SET(&snap, obs_snap, state, 0);
        assert_ok(write_observed(do_online, NULL));
        PUT(fx->wanted, tombstone, .node_name = "alpha", .rsc_name = "r1", .uuid = "u5", .revision = 5);
        struct obs_rsc *r = obs("r1", 0, sat_step_state_DONE);
        SET_N(r, obs_rsc, snapshots, &snap, 1);
        report_rsc(r, true, 6);
        assert_int_equal(look(&i), WAIT_PENDING); /* this member has not applied that it is forgotten */
        DEL(fx->wanted, tombstone, .node_name = "alpha", .rsc_name = "r1", .uuid = "u5");
        assert_int_equal(look(&i), WAIT_DONE);
        fx->applied = 4;
        assert_int_equal(look(&i), WAIT_PENDING);
        fx->applied = 5;
        struct obs_vlm v = { 0 };
        SET(&v, obs_vlm, volume_number, 0);
        SET_N(r, obs_rsc, volumes, &v, 1); /* it was not even told to delete */
        report_rsc(r, true, 6);
        assert_int_equal(look(&i), WAIT_PENDING);
}

static void test_wait_pool(void **state)
{
        struct wait_item i = { 0 };
        SET(&i, wait_item, node_name, "alpha");
        SET(&i, wait_item, pool_name, "pool1");
        SET(&i, wait_item, revision, 5);
        assert_ok(write_observed(do_online, NULL));
        assert_int_equal(look(&i), WAIT_PENDING);
        struct obs_pool p = { 0 };
        struct sat_report rep = { 0 };
        SET(&p, obs_pool, storage_pool_name, "POOL1");
        SET(&p, obs_pool, revision, 4);
        SET_N(&rep, sat_report, pools, &p, 1);
        assert_ok(write_observed(do_report, &rep));
        assert_int_equal(look(&i), WAIT_PENDING);
        SET(&p, obs_pool, revision, 5);
        assert_ok(write_observed(do_report, &rep));
        assert_int_equal(look(&i), WAIT_DONE);
}

int main(void)
{
        const struct CMUnitTest tests[] = { WAIT_TEST(test_wait_done_and_failed),
                WAIT_TEST(test_wait_offline), WAIT_TEST(test_wait_comes_back_in_time),
                WAIT_TEST(test_wait_deadline), WAIT_TEST(test_wait_slow), WAIT_TEST(test_wait_gone),
                WAIT_TEST(test_wait_node_deleted), WAIT_TEST(test_wait_gone_with_snapshots),
                WAIT_TEST(test_wait_saga), WAIT_TEST(test_wait_pool) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
