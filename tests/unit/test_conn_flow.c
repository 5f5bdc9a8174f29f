/* Pauses, back pressure, and what is left in buffers while the socket is silent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/net_pair.h"

/* The helper's own clock: a wait that is over before the loop turns must not make that turn wait for ever.
 * (It once did: the loop slept until a TCP timeout woke it.) */
static void test_short_wait_after_long_work(void **state)
{
        struct pair p;
        pair_open(&p, &good, false, 0);
        uv_update_time(&p.loop);
        uint64_t t0 = uv_hrtime();
        while (uv_hrtime() - t0 < 20000000) {
        }
        alarm(20); /* a loop without an end is a failure, too */
        run_for(&p.loop, 2);
        alarm(0);
        assert_true(uv_hrtime() - t0 < 5000000000);
        pair_end(&p);
}

/* Frames that came in one record, with the socket silent since: each resume delivers the next one. */
static void test_pause_at_each_frame(void **state)
{
        struct pair p;
        static uint8_t body[40000];
        unsigned sent = 0;
        pair_open(&p, &good, false, 0);
        p.server.pause_at_frame = true;
        pair_connect(&p, &good, CLUSTER_A);
        run_until(&p.loop, &p.was_accepted, 3000);
        for (; sent < 60; sent++) /* small ones share a record, large ones need several */
                assert_int_equal(conn_send(p.client.c, 1, BLOB(body, sent % 7 == 6 ? sizeof body : sent)), 0);
        for (unsigned i = 0; i < sent; i++) {
                RUN_WHILE(&p.loop, p.server.frames <= i);
                assert_int_equal(p.server.frames, i + 1);
                run_for(&p.loop, 1);
                assert_int_equal(p.server.frames, i + 1); /* no more before it is resumed */
                conn_resume(p.server.c);
        }
        assert_false(p.server.while_paused);
        pair_end(&p);
}

/* A pause from opened() on holds, even for frames that came with the last bytes of the handshake. */
static void test_pause_at_open(void **state)
{
        struct pair p;
        pair_open(&p, &good, false, 0);
        p.server.pause_at_open = p.client.pause_at_open = true;
        pair_connect(&p, &good, CLUSTER_A);
        run_until(&p.loop, &p.client.opened, 3000);
        for (int i = 0; i < 3; i++) assert_int_equal(conn_send(p.client.c, 1, BLOB("abc", 3)), 0);
        run_until(&p.loop, &p.was_accepted, 3000);
        assert_int_equal(conn_send(p.server.c, 1, BLOB("abc", 3)), 0);
        run_for(&p.loop, 30);
        assert_int_equal(p.server.frames + p.client.frames, 0);
        conn_resume(p.server.c);
        conn_resume(p.client.c);
        RUN_WHILE(&p.loop, p.server.frames + p.client.frames < 4);
        assert_int_equal(p.server.frames, 3);
        assert_int_equal(p.client.frames, 1);
        pair_end(&p);
}

/* What was sent before a goodbye is delivered, although the reader was paused when that came. */
static void test_paused_over_the_end(void **state)
{
        struct pair p;
        pair_open(&p, &good, false, 0);
        p.server.pause_at_frame = true;
        pair_connect(&p, &good, CLUSTER_A);
        run_until(&p.loop, &p.was_accepted, 3000);
        for (int i = 0; i < 5; i++) assert_int_equal(conn_send(p.client.c, 1, BLOB("abc", 3)), 0);
        conn_finish(p.client.c);
        run_for(&p.loop, 30);
        assert_int_equal(p.server.frames, 1);
        assert_false(p.server.ended);
        p.server.pause_at_frame = false;
        conn_resume(p.server.c);
        run_until(&p.loop, &p.server.done, 3000);
        assert_int_equal(p.server.frames, 5);
        assert_int_equal(p.server.why, CONN_END_FIN);
        pair_end(&p);
}

/* A pause before the handshake is through does not stop it. */
static void test_pause_before_open(void **state)
{
        struct pair p;
        pair_open(&p, &good, false, 0);
        pair_connect(&p, &good, CLUSTER_A);
        conn_pause(p.client.c);
        run_until(&p.loop, &p.was_accepted, 3000);
        assert_int_equal(conn_send(p.server.c, 1, BLOB("abc", 3)), 0);
        run_for(&p.loop, 30);
        assert_true(p.client.opened);
        assert_int_equal(p.client.frames, 0);
        conn_resume(p.client.c);
        RUN_WHILE(&p.loop, p.client.frames < 1);
        assert_int_equal(p.client.frames, 1);
        pair_end(&p);
}

static void test_back_pressure(void **state)
{
        struct pair p;
        static uint8_t chunk[65536];
        unsigned sent = 0;
        pair_open(&p, &good, false, 0);
        p.options.high_water_bytes = 1 << 20;
        p.server.pause_at_frame = true;
        uint64_t t0 = uv_hrtime();
        pair_connect(&p, &good, CLUSTER_A);
        run_until(&p.loop, &p.was_accepted, 3000);
        /* the reader is paused inside the first frame: kernel buffers fill, then the queue does, then it is
         * busy */
        for (int round = 0; round < 60; round++) {
                while (conn_send(p.client.c, 1, BLOB(chunk, sizeof chunk)) == 0) sent++;
                assert_true(conn_queued_bytes(p.client.c) <= (1 << 20) + sizeof chunk + 6);
                run_for(&p.loop, 2);
        }
        while (conn_send(p.client.c, 1, BLOB(chunk, sizeof chunk)) == 0) sent++;
        assert_int_equal(p.server.frames, 1);
        assert_true(sent > 16 && sent < 4000);
        if (p.client.ended || p.server.ended)
                fail_msg("ended early after %u ms: client %s, server %s (%s)",
                        (unsigned)((uv_hrtime() - t0) / 1000000), p.client.text, p.server.text,
                        conn_end_name(p.server.why));
        assert_int_equal(conn_send(p.client.c, 1, BLOB(chunk, 1)), E_BUSY);
        unsigned before = p.client.writable;
        p.server.pause_at_frame = false;
        conn_resume(p.server.c);
        RUN_WHILE(&p.loop, p.server.frames < sent);
        assert_int_equal(p.server.frames, sent);
        assert_true(p.client.writable > before);
        pair_end(&p);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_short_wait_after_long_work),
                cmocka_unit_test(test_pause_at_each_frame),
                cmocka_unit_test(test_pause_at_open),
                cmocka_unit_test(test_paused_over_the_end),
                cmocka_unit_test(test_pause_before_open),
                cmocka_unit_test(test_back_pressure),
        };
        return cmocka_run_group_tests_name("conn flow", tests, pair_setup, pair_teardown);
}
