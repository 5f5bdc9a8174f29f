/* Controllers that were removed: their sessions end, they get no new ones, also after a restart of the satellite; others,
 * also unknown ones, are let in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "tests/unit/sat_bed.h"
#include "wire/codec/codec.h"

static const char *fingerprint(const struct creds *c, char hex[2 * PKI_PIN_SIZE + 1])
{
        struct pki_identity id;
        struct fail f = { 0 };
        assert_int_equal(pki_identity(&c->cert, &id, &f), 0);
        return sodium_bin2hex(hex, 2 * PKI_PIN_SIZE + 1, id.fingerprint, sizeof id.fingerprint);
}

/* by tells that `gone` was removed, or, without one, nothing of controllers. */
static int tell(struct ctl *by, struct bed *b, uint64_t term, uint64_t revision, const struct creds *gone)
{
        char own[2 * PKI_PIN_SIZE + 1], other[2 * PKI_PIN_SIZE + 1];
        struct sat_controller list[2] = { 0 };
        struct wish x;
        wish_init(&x, b, term, revision);
        if (gone != NULL) {
                SET(&list[0], sat_controller, name, "c2");
                SET(&list[0], sat_controller, fingerprint, fingerprint(&by->creds, own));
                SET(&list[1], sat_controller, name, "c1");
                SET(&list[1], sat_controller, fingerprint, fingerprint(gone, other));
                SET(&list[1], sat_controller, removed, true);
                SET_N(&x.w, sat_wanted, controllers, list, 2);
        }
        int err = ctl_want(by, &x.w);
        wish_done(&x);
        return err;
}

static bool is_over(struct ctl *c, const void *arg) { return c->ended; }

static void is_refused(struct bed *b, const struct creds *who)
{
        struct ctl again;
        ctl_dial_as(&again, b, who);
        assert_int_equal(again.opened_err, 0);
        ctl_hello(&again, CLUSTER_A, NODE);
        assert_true(ctl_wait(&again, is_over, NULL, 3000));
        assert_true(again.hello_seen);
        assert_int_equal(again.hello.err, E_AUTH);
        assert_non_null(strstr(again.hello.text, "removed"));
        ctl_close(&again);
}

static void test_removed(void **state)
{
        struct bed *b = *state;
        struct ctl c1, c2, c3;
        ctl_open(&c1, b, "c1");
        ctl_open(&c2, b, "c2");
        assert_int_equal(tell(&c2, b, 5, 10, NULL), 0);
        run_for(&b->loop, 100);
        assert_false(c1.ended);
        assert_int_equal(tell(&c1, b, 4, 11, &c2.creds), E_FENCED); /* not by a deposed leader */
        assert_int_equal(tell(&c2, b, 5, 12, &c1.creds), 0);
        assert_true(ctl_wait(&c1, is_over, NULL, 3000));
        assert_false(c2.ended);
        is_refused(b, &c1.creds);
        ctl_open(&c3, b, "c1"); /* another one of that name, of which nobody has told: it is new */
        ctl_close(&c3);
        bed_stop(b);
        bed_start(b);
        is_refused(b, &c1.creds);
        ctl_close(&c2);
        ctl_open(&c2, b, "c2");
        assert_int_equal(
                tell(&c2, b, 6, 13, NULL), 0); /* a leader of an older release: what is known stays */
        is_refused(b, &c1.creds);
        ctl_close(&c1);
        ctl_close(&c2);
}

static int setup(void **state)
{
        struct bed *b = xnew(struct bed);
        bed_init(b);
        bed_start(b);
        *state = b;
        return 0;
}

static int teardown(void **state)
{
        bed_done(*state);
        free(*state);
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(test_removed, setup, teardown) };
        return cmocka_run_group_tests_name("sat_removed", tests, NULL, NULL);
}
