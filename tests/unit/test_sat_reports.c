/* Which failures of a satellite become error reports, and which are left out. */
#include "tests/lib/test.h"

#include "satellite/base/reports.h"

struct fixture {
        struct report_log log;
        uint64_t gen, now_ms;
};

static int setup(void **state)
{
        struct fixture *fx = xnew(struct fixture);
        fx->now_ms = 1000;
        *state = fx;
        return 0;
}

static int teardown(void **state)
{
        free(*state);
        return 0;
}

static bool add(struct fixture *fx, const char *object, int err, int64_t volume)
{
        struct trouble t;
        trouble_set(&t, err, TROUBLE_NO_SPACE, "It failed at %llu.", (unsigned long long)fx->now_ms);
        trouble_cause(&t, "no room");
        trouble_fix(&t, "make room");
        t.volume = volume;
        return reports_add(&fx->log, object, &t, fx->now_ms, 5000 + fx->now_ms, &fx->gen);
}

static uint32_t count(struct fixture *fx, bool full, uint64_t after)
{
        struct arena a = { 0 };
        struct error_report *r;
        uint32_t n;
        assert_int_equal(reports_fill(&fx->log, "alpha", full, after, fx->now_ms, &a, &r, &n), 0);
        arena_done(&a);
        return n;
}

static void test_once(void **state)
{
        struct fixture *fx = *state;
        assert_true(add(fx, "resource r", E_NO_SPACE, 0));
        assert_false(add(fx, "resource r", E_NO_SPACE, 0)); /* the text differs, the failure does not */
        assert_true(add(fx, "resource r", E_NO_SPACE, 1));
        assert_true(add(fx, "resource r", E_BUSY, 0));
        assert_true(add(fx, "resource s", E_NO_SPACE, 0));
        assert_int_equal(fx->gen, 4);
        fx->now_ms += 100 * REPORTS_REPEAT_MS;
        assert_false(add(fx, "resource r", E_NO_SPACE, 0)); /* still the same one */
}

static void test_again(void **state)
{
        struct fixture *fx = *state;
        assert_true(add(fx, "resource r", E_NO_SPACE, 0));
        reports_well(&fx->log, "resource s");
        assert_false(add(fx, "resource r", E_NO_SPACE, 0));
        reports_well(&fx->log, "resource r");
        fx->now_ms += REPORTS_REPEAT_MS - 1;
        assert_false(add(fx, "resource r", E_NO_SPACE, 0)); /* comes and goes */
        reports_well(&fx->log, "resource r");
        fx->now_ms++;
        assert_true(add(fx, "resource r", E_NO_SPACE, 0));
        assert_int_equal(fx->log.known_n, 1);
        reports_well(&fx->log, "resource r");
        assert_int_equal(fx->log.known_n, 0);
}

static void test_rate(void **state)
{
        struct fixture *fx = *state;
        char name[32];
        unsigned said = 0;
        for (unsigned i = 0; i < 100; i++) {
                snprintf(name, sizeof name, "resource r%u", i);
                said += add(fx, name, E_NO_SPACE, 0);
        }
        assert_int_equal(said, REPORTS_BURST);
        fx->now_ms += REPORTS_EVERY_MS - 1;
        assert_false(add(fx, "resource x", E_NO_SPACE, 0));
        fx->now_ms++;
        assert_true(add(fx, "resource y", E_NO_SPACE, 0));
        assert_false(add(fx, "resource z", E_NO_SPACE, 0));
        struct arena a = { 0 };
        struct error_report *r;
        uint32_t n;
        assert_int_equal(reports_fill(&fx->log, "alpha", false, REPORTS_BURST, fx->now_ms, &a, &r, &n), 0);
        assert_int_equal(n, 1);
        assert_contains(r[0].text, "81 more failures");
        arena_done(&a);
        fx->now_ms += 1000 * REPORTS_EVERY_MS; /* no more than a burst is saved up */
        said = 0;
        for (unsigned i = 200; i < 300; i++) {
                snprintf(name, sizeof name, "resource r%u", i);
                said += add(fx, name, E_NO_SPACE, 0);
        }
        assert_int_equal(said, REPORTS_BURST);
}

/* More objects than are remembered: the oldest are forgotten, nothing else happens. */
static void test_many(void **state)
{
        struct fixture *fx = *state;
        char name[32];
        for (unsigned i = 0; i < 3 * REPORTS_KNOWN; i++) {
                snprintf(name, sizeof name, "resource r%u", i);
                fx->now_ms += REPORTS_EVERY_MS;
                assert_true(add(fx, name, E_NO_SPACE, 0));
                assert_false(add(fx, name, E_NO_SPACE, 0));
        }
        assert_int_equal(fx->log.known_n, REPORTS_KNOWN);
        assert_int_equal(count(fx, false, 0), REPORTS_KEPT);
        for (unsigned i = 0; i < 3 * REPORTS_KNOWN; i++) {
                snprintf(name, sizeof name, "resource r%u", i);
                reports_well(&fx->log, name);
        }
        assert_int_equal(fx->log.known_n, 0);
}

static void test_fill(void **state)
{
        struct fixture *fx = *state;
        struct arena a = { 0 };
        struct error_report *r;
        uint32_t n;
        assert_int_equal(count(fx, true, 0), 0);
        assert_true(add(fx, "resource r", E_NO_SPACE, 0));
        assert_true(add(fx, "pool p", E_NO_SPACE, -1));
        assert_int_equal(reports_fill(&fx->log, "alpha", false, 0, fx->now_ms, &a, &r, &n), 0);
        assert_int_equal(n, 2);
        assert_string_equal(r[0].node_name, "alpha");
        assert_string_equal(r[0].module, "SATELLITE");
        assert_int_equal(r[0].error_time, 6000);
        assert_contains(r[0].text, "resource r on node alpha");
        assert_contains(r[0].text, "no room");
        assert_contains(r[0].text, "make room");
        assert_true(strcmp(r[0].filename, r[1].filename) < 0); /* key order is age */
        char longest[300];
        memset(longest, 'n', sizeof longest);
        longest[sizeof longest - 1] = '\0';
        assert_int_equal(reports_fill(&fx->log, longest, false, 0, fx->now_ms, &a, &r, &n), 0);
        assert_true(strlen(r[0].filename) <= 128);
        arena_done(&a);
        assert_int_equal(count(fx, false, 1), 1);
        assert_int_equal(count(fx, false, 2), 0);
        assert_int_equal(count(fx, true, 2), 2); /* a new session */
        fx->now_ms += REPORTS_RESEND_MS + 1;
        assert_int_equal(count(fx, true, 2), 0); /* old ones were sent, or are of no interest any more */
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = { T(test_once), T(test_again), T(test_rate), T(test_many),
                T(test_fill) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
