/* Links between members: one for each pair and channel, whoever dials first; identities; nothing old after a
 * new link. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "raftctl/transport_int.h"
#include "tests/unit/net_help.h"

enum { NODES = 3 };

static struct creds ca;
static uv_loop_t loop;
static struct node_side {
        struct creds creds;
        struct transport *t;
        uint64_t id;
        char name[8], address[64];
        unsigned ups, downs, resets;
        bool up_to[NODES];
        unsigned frames[NODES][CHANNEL_N];
        uint32_t last[NODES][CHANNEL_N];
        uint64_t denied_id;
        bool closed, ordered;
} n[NODES];

static unsigned index_of(uint64_t id)
{
        for (unsigned i = 0; i < NODES; i++)
                if (n[i].id == id) return i;
        fail_msg("frame or link of an unknown member");
        return 0;
}

static void on_receive(void *arg, uint64_t from, enum raft_channel channel, struct blob frame)
{
        struct node_side *s = arg;
        unsigned i = index_of(from);
        uint32_t number;
        assert_true(frame.n >= 5);
        memcpy(&number, frame.p + 1, 4);
        if (number <= s->last[i][channel]) s->ordered = false;
        s->last[i][channel] = number;
        s->frames[i][channel]++;
}

static void on_link(void *arg, uint64_t peer, bool up, bool reset)
{
        struct node_side *s = arg;
        unsigned i = index_of(peer);
        assert_true(s->up_to[i] != up); /* strictly alternating */
        s->up_to[i] = up;
        if (up) s->ups++;
        else s->downs++;
        if (reset) s->resets++;
}

static enum transport_known on_check(void *arg, uint64_t id, const struct pki_identity *who)
{
        const char *name = who->name;
        struct node_side *s = arg;
        if (id == s->denied_id) return PEER_DENIED;
        for (unsigned i = 0; i < NODES; i++) {
                if (strcmp(n[i].name, name) == 0) return n[i].id == id ? PEER_KNOWN : PEER_DENIED;
                if (n[i].id == id) return PEER_DENIED;
        }
        return PEER_UNKNOWN;
}

static void on_join(
        void *arg, uint64_t caller, const struct pki_identity *id, const char *address, struct blob request)
{
}

static const struct transport_ops ops = {
        .receive = on_receive, .link = on_link, .check = on_check, .join = on_join
};

static void start(unsigned i, bool again)
{
        struct fail f = { 0 };
        struct transport_config c = { .id = n[i].id, .election_ms = 300, .env = env_real() };
        struct sockaddr_storage at;
        char any[32];
        (void)snprintf(any, sizeof any, "127.0.0.%u", i + 1);
        assert_int_equal(conn_parse_address(again ? n[i].address : any, 0, &c.listen), 0);
        c.ctx = creds_ctx(&n[i].creds, CLUSTER_A, true);
        if (transport_open(&loop, &c, &ops, &n[i], &n[i].t, &f) != 0) fail_msg("%s", f.text);
        tls_ctx_unref(c.ctx);
        transport_address(n[i].t, &at);
        conn_format_address(&at, n[i].address, sizeof n[i].address);
        n[i].ordered = true;
        n[i].closed = false;
        n[i].denied_id = 0;
        memset(n[i].up_to, 0, sizeof n[i].up_to);
        memset(n[i].last, 0, sizeof n[i].last);
        memset(n[i].frames, 0, sizeof n[i].frames);
        n[i].ups = n[i].downs = n[i].resets = 0;
}

static void on_closed(void *arg) { ((struct node_side *)arg)->closed = true; }

static void stop(unsigned i)
{
        if (n[i].t == NULL) return;
        transport_close(n[i].t, on_closed, &n[i]);
        n[i].t = NULL;
        run_until(&loop, &n[i].closed, 5000);
}

static void meet(unsigned a, unsigned b) { transport_peer_set(n[a].t, n[b].id, n[b].address); }

static bool linked(unsigned a, unsigned b)
{
        struct peer *p = transport_peer_find(n[a].t, n[b].id), *q = transport_peer_find(n[b].t, n[a].id);
        if (p == NULL || q == NULL) return false;
        for (unsigned ch = 0; ch < CHANNEL_N; ch++)
                if (p->link[ch].up == NULL || q->link[ch].up == NULL) return false;
        return n[a].up_to[b] && n[b].up_to[a];
}

static void wait_linked(unsigned a, unsigned b)
{
        RUN_WHILE(&loop, !linked(a, b));
        assert_true(linked(a, b));
}

static uint32_t sequence;
static void say(unsigned a, unsigned b, enum raft_channel channel, uint8_t kind, size_t size)
{
        uint8_t *f = xcalloc(1, size);
        sequence++;
        f[0] = kind;
        memcpy(f + 1, &sequence, 4);
        transport_send(n[a].t, n[b].id, channel, BLOB(f, size));
        free(f);
}

/* Both dial at the same moment, many times: exactly one connection for each channel survives, and it stays.
 */
static void test_simultaneous(void **state)
{
        for (unsigned round = 0; round < 15; round++) {
                start(0, false);
                start(1, false);
                meet(0, 1);
                for (unsigned i = 0; i < round; i++) uv_run(&loop, UV_RUN_NOWAIT);
                meet(1, 0);
                wait_linked(0, 1);
                run_for(&loop, 150);
                assert_true(linked(0, 1));
                assert_int_equal(n[0].ups, 1); /* no flapping */
                assert_int_equal(n[1].ups, 1);
                assert_int_equal(n[0].t->listener.total_n + n[1].t->listener.total_n, CHANNEL_N);
                stop(0);
                stop(1);
        }
}

static void test_frames_in_order(void **state)
{
        start(0, false);
        start(1, false);
        meet(0, 1);
        wait_linked(0, 1);
        for (unsigned i = 0; i < 500; i++) {
                say(0, 1, CHANNEL_RAFT, 3, 5 + i * 7);
                say(0, 1, CHANNEL_BULK, 16, 20000);
                say(1, 0, CHANNEL_RAFT, 4, 30);
        }
        RUN_WHILE(&loop, n[1].frames[0][CHANNEL_BULK] < 500 || n[1].frames[0][CHANNEL_RAFT] < 500 ||
                                 n[0].frames[1][CHANNEL_RAFT] < 500);
        assert_int_equal(n[1].frames[0][CHANNEL_RAFT], 500);
        assert_int_equal(n[1].frames[0][CHANNEL_BULK], 500);
        assert_int_equal(n[0].frames[1][CHANNEL_RAFT], 500);
        assert_true(n[0].ordered && n[1].ordered);
        stop(0);
        stop(1);
}

/* A bulk queue that does not move must not hold up the other channel, and is bounded. */
static void test_bulk_is_apart_and_bounded(void **state)
{
        start(0, false);
        start(1, false);
        meet(0, 1);
        wait_linked(0, 1);
        conn_pause(transport_peer_find(n[1].t, n[0].id)->link[CHANNEL_BULK].up->conn);
        for (unsigned i = 0; i < 48; i++) say(0, 1, CHANNEL_BULK, 16, 1 << 20);
        say(0, 1, CHANNEL_RAFT, 3, 64);
        RUN_WHILE(&loop, n[1].frames[0][CHANNEL_RAFT] < 1);
        assert_int_equal(n[1].frames[0][CHANNEL_RAFT], 1);
        struct peer *p = transport_peer_find(n[0].t, n[1].id);
        assert_true(p->dropped > 0);
        assert_true(
                conn_queued_bytes(p->link[CHANNEL_BULK].up->conn) <= TRANSPORT_QUEUE_BYTES + (1 << 20) + 6);
        stop(0);
        stop(1);
}

static void test_restart_is_seen(void **state)
{
        start(0, false);
        start(1, false);
        meet(0, 1);
        wait_linked(0, 1);
        stop(1);
        RUN_WHILE(&loop, n[0].downs == 0);
        assert_int_equal(n[0].downs, 1);
        assert_int_equal(n[0].resets, 1);
        /* while it is away: only the newest of each of two small kinds waits, and not for long */
        for (unsigned i = 0; i < 20; i++) {
                say(0, 1, CHANNEL_RAFT, 1, 40);
                say(0, 1, CHANNEL_RAFT, 3, 40);
                say(0, 1, CHANNEL_RAFT, 3, WAITING_BYTES + 1);
        }
        start(1, true);
        wait_linked(0, 1);
        run_for(&loop, 50);
        assert_true(n[1].frames[0][CHANNEL_RAFT] <= 2);
        assert_true(n[1].ordered);
        stop(0);
        stop(1);
}

static void test_wrong_names(void **state)
{
        start(0, false);
        start(1, false);
        start(2, false);
        /* 0 believes that 1 lives where 2 does */
        transport_peer_set(n[0].t, n[1].id, n[2].address);
        struct transport_peer info;
        RUN_WHILE(&loop, (transport_peer_info(n[0].t, n[1].id, &info),
                                 strstr(info.trouble, "another member") == NULL));
        assert_int_equal(n[0].ups + n[2].ups, 0);
        assert_true(info.known && !info.up);
        assert_non_null(strstr(info.trouble, "another member"));
        meet(0, 1); /* the right address: heals */
        wait_linked(0, 1);
        /* 2 with the certificate of another name than its id's */
        char keep[8];
        memcpy(keep, n[2].name, sizeof keep);
        (void)snprintf(n[2].name, sizeof n[2].name, "zed");
        meet(2, 0);
        run_for(&loop, 300);
        assert_false(n[0].up_to[2]);
        memcpy(n[2].name, keep, sizeof keep);
        wait_linked(0, 2);
        /* the table changes: the link goes */
        n[0].denied_id = n[2].id;
        transport_recheck(n[0].t);
        assert_false(n[0].up_to[2]);
        run_for(&loop, 300);
        assert_false(n[0].up_to[2]);
        n[0].denied_id = 0;
        transport_peer_remove(n[0].t, n[1].id);
        assert_false(n[0].up_to[1]);
        stop(0);
        stop(1);
        stop(2);
}

/* A14: closed after any number of turns. */
static void test_close_schedules(void **state)
{
        for (unsigned turns = 0; turns < 30; turns++) {
                start(0, false);
                start(1, false);
                meet(0, 1);
                meet(1, 0);
                for (unsigned i = 0; i < turns; i++) {
                        if (i % 3 == 2) run_for(&loop, 1); /* an idle loop would wait long in UV_RUN_ONCE */
                        else uv_run(&loop, UV_RUN_NOWAIT);
                }
                stop(turns % 2);
                for (unsigned i = 0; i < 5; i++) uv_run(&loop, UV_RUN_NOWAIT);
                stop(1 - turns % 2);
        }
}

static int setup(void **state)
{
        creds_ca(&ca, CLUSTER_A);
        for (unsigned i = 0; i < NODES; i++) {
                n[i].id = 1000 + i * 7;
                (void)snprintf(n[i].name, sizeof n[i].name, "n%u", i);
                if (pem_set(&n[i].creds.ca, BLOB(ca.ca.text, ca.ca.n)) != 0 ||
                        pem_set(&n[i].creds.ca_key, BLOB(ca.ca_key.text, ca.ca_key.n)) != 0)
                        return -1;
                creds_leaf(&n[i].creds, CLUSTER_A, i == 2 ? PKI_WITNESS : PKI_CONTROLLER, n[i].name, 0);
        }
        return uv_loop_init(&loop);
}

static int teardown(void **state)
{
        for (unsigned i = 0; i < NODES; i++) {
                stop(i);
                creds_done(&n[i].creds);
        }
        creds_done(&ca);
        uv_run(&loop, UV_RUN_DEFAULT);
        return uv_loop_close(&loop);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_simultaneous),
                cmocka_unit_test(test_frames_in_order),
                cmocka_unit_test(test_bulk_is_apart_and_bounded),
                cmocka_unit_test(test_restart_is_seen),
                cmocka_unit_test(test_wrong_names),
                cmocka_unit_test(test_close_schedules),
        };
        return cmocka_run_group_tests_name("transport", tests, setup, teardown);
}
