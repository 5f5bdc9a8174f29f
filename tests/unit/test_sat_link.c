/* Sessions with satellites over real TLS on one loop: a made-up satellite that can be told to misbehave. And
 * the rules of asynchronous code: closed after any number of loop turns, everything ends. */
#include "tests/lib/test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "controller/sat/sat_link.h"
#include "state/kv_mem.h"
#include "state/writeset.h"
#include "tests/unit/net_help.h"

struct bed {
        uv_loop_t loop;
        struct creds controller, satellite;
        struct kv_mem *wanted;
        struct observed *observed;
        struct tls_ctx *client_ctx, *server_ctx;
        struct sat_link *link;
        struct listener listener;
        bool listening, link_closed, listener_closed;
        uint16_t port;
        char dir[64];
        struct arena arena;
        /* the member */
        bool leading;
        uint64_t term, index;
        /* the satellite */
        struct conn *peer;
        const char *name;   /* in its hello reply */
        int64_t refuse;     /* err of its hello reply */
        int64_t next_reply; /* err of its next wanted reply */
        bool mute, no_report;
        unsigned sessions, wanted_n, full_n, pings;
        struct sat_wanted last; /* in arena */
};
static struct bed *b;

/* ---- the satellite ---- */

static void send_to(const struct type_desc *t, const void *msg)
{
        struct buf out = { 0 };
        assert_ok(enc_msgpack(t, msg, &out));
        assert_ok(conn_send(b->peer, t->id, buf_blob(&out)));
        buf_done(&out);
}

static void send_report(const char *rsc, bool full)
{
        struct sat_report r = { 0 };
        struct obs_rsc row = { 0 };
        SET(&r, sat_report, seq, 1);
        SET(&r, sat_report, full, full);
        SET(&row, obs_rsc, rsc_name, rsc);
        SET(&row, obs_rsc, in_use, true);
        if (rsc != NULL) SET_N(&r, sat_report, resources, &row, 1);
        send_to(&sat_report_type, &r);
}

static void on_hello(struct blob payload)
{
        struct sat_hello h;
        struct sat_hello_reply r = { 0 };
        assert_ok(dec_msgpack(&sat_hello_type, payload, DEC_TOLERANT, &b->arena, &h, NULL));
        assert_string_equal(h.cluster_uuid, CLUSTER_A);
        assert_string_equal(h.controller, "c1");
        SET(&r, sat_hello_reply, node_name, b->name);
        SET(&r, sat_hello_reply, uname, "host");
        SET(&r, sat_hello_reply, err, b->refuse);
        SET(&r, sat_hello_reply, text, "because");
        send_to(&sat_hello_reply_type, &r);
        if (b->refuse == 0 && !b->no_report) send_report("r1", true);
}

static void on_wanted(struct blob payload)
{
        struct sat_wanted_reply r = { 0 };
        assert_ok(dec_msgpack(&sat_wanted_type, payload, DEC_STRICT, &b->arena, &b->last, NULL));
        b->wanted_n++;
        if (!HAS(&b->last, sat_wanted, base_revision)) b->full_n++;
        SET(&r, sat_wanted_reply, revision, b->last.revision);
        SET(&r, sat_wanted_reply, highest_term, b->last.term);
        SET(&r, sat_wanted_reply, err, b->next_reply);
        b->next_reply = 0;
        send_to(&sat_wanted_reply_type, &r);
}

static void on_peer_frame(struct conn *c, unsigned kind, struct blob payload)
{
        if (b->mute) return;
        if (kind == sat_hello_type.id) on_hello(payload);
        if (kind == sat_wanted_type.id) on_wanted(payload);
        if (kind == sat_ping_type.id) b->pings++;
}
static void on_peer_end(struct conn *c, enum conn_end why)
{
        if (b->peer == c) b->peer = NULL;
        listener_drop(c);
}
static const struct conn_ops peer_ops = { .frame = on_peer_frame, .end = on_peer_end };

static void on_accepted(struct listener *l, struct conn *c)
{
        b->sessions++;
        b->peer = c;
        conn_set_ops(c, &peer_ops, NULL);
}
static const struct listener_ops listener_ops = { .accepted = on_accepted };

static void start_satellite(void)
{
        struct fail f = { 0 };
        struct listener_config lc = { .ctx = b->server_ctx };
        struct sockaddr_storage at;
        conn_options_init(&lc.conn);
        assert_ok(conn_parse_address(test_loopback(), b->port, &lc.address));
        assert_ok(listener_open(&b->listener, &b->loop, &lc, &listener_ops, &f));
        listener_address(&b->listener, &at);
        b->port = ntohs(((struct sockaddr_in *)&at)->sin_port);
        b->listening = true;
        b->listener_closed = false;
}
static void on_listener_closed(struct listener *l) { b->listener_closed = true; }
static void stop_satellite(void)
{
        if (!b->listening) return;
        b->listening = false;
        b->peer = NULL;
        listener_close(&b->listener, on_listener_closed);
        run_until(&b->loop, &b->listener_closed, 5000);
}

/* ---- the member ---- */

static struct tx *wanted_begin(void *arg) { return kv_mem_read(b->wanted); }
static void wanted_end(void *arg, struct tx *tx) { kv_mem_end(tx); }
static bool leading(void *arg, uint64_t *ret_term)
{
        *ret_term = b->term;
        return b->leading;
}
static const struct sat_link_ops ops = {
        .wanted_begin = wanted_begin, .wanted_end = wanted_end, .leading = leading
};

/* Commits a row, as the next index; tells the sessions as the member would. */
static void put(const struct type_desc *t, const void *row, const struct sat_change *c)
{
        struct tx *tx = kv_mem_write(b->wanted);
        struct applied ap = { .index = ++b->index, .term = b->term };
        assert_ok(row_put(tx, t, row));
        assert_ok(applied_put(tx, &ap));
        assert_ok(kv_mem_commit(tx));
        if (b->link != NULL) sat_link_change(b->link, c);
}

static void put_node(const char *address, const char *fingerprint)
{
        struct node n = { 0 };
        struct netif i = { 0 };
        SET(&i, netif, name, "default");
        SET(&i, netif, address, address);
        SET(&i, netif, satellite_port, b->port);
        SET(&i, netif, is_active, true);
        SET(&n, node, name, "Node-A");
        SET(&n, node, type, node_type_SATELLITE);
        if (fingerprint != NULL) SET(&n, node, cert_fingerprint, fingerprint);
        if (address != NULL) SET_N(&n, node, net_interfaces, &i, 1);
        put(&node_type, &n, &(struct sat_change){ .kind = SAT_CHANGE_ALL, .node_name = "NODE-A" });
}

static void put_pool(void)
{
        struct stor_pool p = { 0 };
        SET(&p, stor_pool, node_name, "node-a");
        SET(&p, stor_pool, storage_pool_name, "pool1");
        SET(&p, stor_pool, provider_kind, provider_kind_FILE_THIN);
        put(&stor_pool_type, &p, &(struct sat_change){ .kind = SAT_CHANGE_HEAD, .node_name = "NODE-A" });
}

static void open_link(void)
{
        struct sat_link_config c = { .loop = &b->loop,
                .env = env_real(),
                .ctx = b->client_ctx,
                .cluster_uuid = CLUSTER_A,
                .controller = "c1",
                .observed = b->observed,
                .ops = &ops };
        assert_ok(sat_link_open(&c, &b->link));
}
static void on_link_closed(void *arg) { b->link_closed = true; }

static int setup(void **state)
{
        struct fail f = { 0 };
        b = xnew(struct bed);
        b->name = "node-a";
        b->term = 1;
        b->leading = true;
        assert_ok(uv_loop_init(&b->loop));
        creds_ca(&b->controller, CLUSTER_A);
        b->satellite = (struct creds){ 0 };
        assert_ok(pem_set(&b->satellite.ca, BLOB(b->controller.ca.text, b->controller.ca.n)));
        assert_ok(pem_set(&b->satellite.ca_key, BLOB(b->controller.ca_key.text, b->controller.ca_key.n)));
        creds_leaf(&b->controller, CLUSTER_A, PKI_CONTROLLER, "c1", 0);
        creds_leaf(&b->satellite, CLUSTER_A, PKI_SATELLITE, "node-a", 0);
        b->client_ctx = creds_ctx(&b->controller, CLUSTER_A, false);
        b->server_ctx = creds_ctx(&b->satellite, CLUSTER_A, false);
        b->wanted = kv_mem_new();
        strcpy(b->dir, "/tmp/outrigger-link-XXXXXX");
        assert_non_null(mkdtemp(b->dir));
        assert_ok(observed_open(b->dir, NULL, NULL, &b->observed, &f));
        start_satellite();
        return 0;
}

static int teardown(void **state)
{
        if (b->link != NULL) {
                sat_link_close(b->link, on_link_closed, NULL);
                run_until(&b->loop, &b->link_closed, 5000);
        }
        stop_satellite();
        loop_end(&b->loop);
        tls_ctx_unref(b->client_ctx);
        tls_ctx_unref(b->server_ctx);
        creds_done(&b->controller);
        creds_done(&b->satellite);
        observed_close(b->observed);
        kv_mem_free(b->wanted);
        arena_done(&b->arena);
        char cmd[128];
        snprintf(cmd, sizeof cmd, "%s/observed.mdb", b->dir);
        unlink(cmd);
        strcat(cmd, "-lock");
        unlink(cmd);
        rmdir(b->dir);
        free(b);
        return 0;
}

static struct obs_node seen(void)
{
        struct obs_node n;
        struct tx *tx = observed_begin(b->observed);
        assert_ok(observed_node_get(tx, "node-a", &b->arena, &n));
        observed_end(tx);
        return n;
}
static void wait_status(enum conn_status want)
{
        RUN_WHILE(&b->loop, seen().connection_status != want);
        if (seen().connection_status == want) return;
        struct obs_node n = seen();
        fail_msg("is %s (%s), not %s", enum_name(&conn_status_enum, n.connection_status),
                n.problem ? n.problem : "", enum_name(&conn_status_enum, want));
}
static void wait_problem(const char *part)
{
        for (int i = 0; i < 6000; i++) {
                const char *problem = seen().problem;
                if (problem != NULL && strstr(problem, part) != NULL) return;
                run_for(&b->loop, 10);
        }
        assert_contains(seen().problem, part);
}
static void wait_wanted(unsigned n)
{
        RUN_WHILE(&b->loop, b->wanted_n < n);
        assert_int_equal(b->wanted_n, n);
}

/* ---- tests ---- */

static void test_session(void **state)
{
        put_node(test_loopback(), NULL);
        open_link();
        wait_status(conn_status_ONLINE);
        assert_string_equal(seen().uname, "host");
        wait_wanted(1);
        assert_int_equal(b->full_n, 1);
        assert_int_equal(b->last.term, 1);
        put_pool();
        wait_wanted(2);
        assert_int_equal(b->full_n, 1); /* a difference */
        assert_int_equal(b->last.pools_n, 1);
        assert_int_equal(b->last.base_revision, 1);
        b->next_reply = E_STALE;
        put_pool();
        wait_wanted(4); /* refused, then everything */
        assert_int_equal(b->full_n, 2);
        /* It ends: unknown is what may change, the rest stays. Then it comes back by itself. */
        stop_satellite();
        wait_status(conn_status_OFFLINE);
        assert_non_null(seen().problem);
        struct obs_rsc r, key = { .node_name = "node-a", .rsc_name = "r1" };
        struct tx *tx = observed_begin(b->observed);
        assert_ok(row_get(tx, &obs_rsc_type, &key, &b->arena, &r));
        observed_end(tx);
        assert_false(HAS(&r, obs_rsc, in_use));
        start_satellite();
        wait_status(conn_status_ONLINE);
        wait_wanted(5);
        assert_int_equal(b->full_n, 3);
        assert_null(seen().problem);
}

/* The node can do something else by now: recorded without a new session, and it gets everything that it is to do. */
static void test_news(void **state)
{
        static const char *layers[] = { "STORAGE", "DRBD" };
        struct sat_hello_reply r = { 0 };
        put_node(test_loopback(), NULL);
        open_link();
        wait_status(conn_status_ONLINE);
        wait_wanted(1);
        assert_int_equal(seen().resource_layers_n, 0);
        SET(&r, sat_hello_reply, node_name, "node-a");
        SET(&r, sat_hello_reply, err, 0);
        SET(&r, sat_hello_reply, drbd_kernel, 0x08040b);
        SET_N(&r, sat_hello_reply, resource_layers, layers, 2);
        send_to(&sat_hello_reply_type, &r);
        wait_wanted(2);
        assert_int_equal(b->full_n, 2);
        assert_int_equal(seen().resource_layers_n, 2);
        assert_int_equal(seen().drbd_kernel, 0x08040b);
        assert_int_equal(seen().connection_status, conn_status_ONLINE);
        assert_int_equal(b->sessions, 1);
        /* Another node's name, or a refusal: that is no news. */
        SET(&r, sat_hello_reply, node_name, "node-b");
        send_to(&sat_hello_reply_type, &r);
        RUN_WHILE(&b->loop, b->sessions == 1);
        wait_status(conn_status_ONLINE);
        wait_wanted(3);
        SET(&r, sat_hello_reply, node_name, "node-a");
        SET(&r, sat_hello_reply, err, E_AUTH);
        send_to(&sat_hello_reply_type, &r);
        RUN_WHILE(&b->loop, b->sessions == 2);
        assert_int_equal(b->sessions, 3);
}

static void wait_tried(void)
{
        RUN_WHILE(&b->loop, sat_link_untried(b->link, "NODE-A"));
        assert_false(sat_link_untried(b->link, "NODE-A")); /* it stays so */
}

/* Whether a satellite can be reached is open until the first try of this leader has ended, well or badly. */
static void test_untried(void **state)
{
        put_node(test_loopback(), NULL);
        open_link();
        assert_true(sat_link_untried(b->link, "node-a"));
        assert_true(sat_link_any_untried(b->link));
        wait_tried();
        assert_false(sat_link_any_untried(b->link));
        assert_int_equal(seen().connection_status, conn_status_ONLINE);
        stop_satellite();
        wait_status(conn_status_OFFLINE);
        assert_false(sat_link_untried(b->link, "node-a"));
        run_for(&b->loop, 1000); /* the pauses grow */
        b->term = 2;
        sat_link_on_state(b->link);
        assert_true(sat_link_untried(b->link, "node-a")); /* a new leader wants to know */
        wait_tried();
        assert_int_not_equal(seen().connection_status, conn_status_ONLINE);
        start_satellite();
        b->term = 3;
        sat_link_on_state(b->link);
        wait_tried();
        assert_int_equal(seen().connection_status, conn_status_ONLINE);
        b->term = 4;
        sat_link_on_state(b->link);
        assert_false(sat_link_untried(b->link, "node-a"));
}

static void wait_retried(void)
{
        bool still = true;
        RUN_WHILE(&b->loop, (still = sat_link_retry(b->link, "NODE-A", 1)));
        assert_false(still);
}

/* A satellite came back in a pause between two dials: who needs it does not wait for the next one. */
static void test_retry(void **state)
{
        put_node(test_loopback(), NULL);
        open_link();
        wait_status(conn_status_ONLINE);
        assert_false(sat_link_retry(b->link, "node-a", 1));
        assert_false(sat_link_retry(b->link, "node-b", 1)); /* there is none */
        stop_satellite();
        wait_status(conn_status_OFFLINE);
        run_for(&b->loop, 3000); /* the pauses grow to seconds */
        uint64_t began_ns = uv_hrtime();
        bool again = false;
        RUN_WHILE(&b->loop, !(again = sat_link_retry(b->link, "node-a", 1)));
        assert_true(again);
        wait_retried();
        assert_int_not_equal(seen().connection_status, conn_status_ONLINE);
        again = sat_link_retry(b->link, "node-a", 1);
        /* it has just been tried; unless this machine stood still for longer than that counts */
        assert_true(!again || uv_hrtime() - began_ns > UINT64_C(490000000));
        start_satellite();
        /* A later request does not believe that try. */
        assert_true(seen().connection_status == conn_status_ONLINE || sat_link_retry(b->link, "node-a", 2));
        wait_retried();
        assert_int_equal(seen().connection_status, conn_status_ONLINE);
}

static void test_follower_is_silent(void **state)
{
        b->leading = false;
        put_node(test_loopback(), NULL);
        open_link();
        wait_status(conn_status_ONLINE);
        put_pool();
        run_for(&b->loop, 400);
        assert_int_equal(b->wanted_n, 0);
        /* Elected, but it has not applied an entry of its term yet: what it knows may be old. */
        b->leading = true;
        b->term = 2;
        sat_link_on_state(b->link);
        run_for(&b->loop, 400);
        assert_int_equal(b->wanted_n, 0);
        put_pool();
        wait_wanted(1);
        assert_int_equal(b->last.term, 2);
        assert_int_equal(b->full_n, 1);
}

static void test_fenced(void **state)
{
        put_node(test_loopback(), NULL);
        open_link();
        b->next_reply = E_FENCED;
        wait_wanted(1);
        run_for(&b->loop, 400);
        put_pool();
        run_for(&b->loop, 400);
        assert_int_equal(b->wanted_n, 1); /* nothing more to say in this term */
        b->term = 9;
        put_pool();
        sat_link_on_state(b->link);
        wait_wanted(2);
        assert_int_equal(b->last.term, 9);
}

static void test_problems(void **state)
{
        /* Another name in the hello reply. */
        b->name = "node-b";
        put_node(test_loopback(), NULL);
        open_link();
        wait_status(conn_status_HOSTNAME_MISMATCH);
        assert_contains(seen().problem, "node-b");
        assert_contains(seen().problem, "raftctl token create --role satellite");
        /* It refuses. */
        b->name = "node-a";
        b->refuse = E_AUTH;
        wait_status(conn_status_AUTHENTICATION_ERROR);
        assert_contains(seen().problem, "because");
        b->refuse = E_FORMAT;
        wait_status(conn_status_VERSION_MISMATCH);
        b->refuse = 0;
        wait_status(conn_status_ONLINE);
        /* It has joined again since with another certificate. */
        put_node(test_loopback(), "00ff");
        b->peer = NULL;
        put_node("127.0.0.2", "00ff");                       /* another address: dialed anew */
        wait_problem("systemctl start outrigger-satellite"); /* nothing listens there */
        assert_int_equal(seen().connection_status, conn_status_OFFLINE);
        put_node(test_loopback(), "00ff");
        wait_status(conn_status_AUTHENTICATION_ERROR);
        assert_contains(seen().problem, "another certificate");
        put_node(NULL, NULL);
        wait_status(conn_status_NO_STLT_CONN);
}

static void test_foreign_certificate(void **state)
{
        struct creds other;
        tls_ctx_unref(b->server_ctx);
        creds_ca(&other, CLUSTER_B);
        creds_leaf(&other, CLUSTER_B, PKI_SATELLITE, "node-a", 0);
        b->server_ctx = creds_ctx(&other, CLUSTER_B, true);
        listener_set_ctx(&b->listener, b->server_ctx);
        put_node(test_loopback(), NULL);
        open_link();
        wait_status(conn_status_AUTHENTICATION_ERROR);
        assert_contains(seen().problem, "outrigger-satellite join");
        creds_done(&other);
}

static void test_wrong_role(void **state)
{
        tls_ctx_unref(b->server_ctx);
        creds_leaf(&b->satellite, CLUSTER_A, PKI_CLIENT, "node-a", 0);
        b->server_ctx = creds_ctx(&b->satellite, CLUSTER_A, false);
        listener_set_ctx(&b->listener, b->server_ctx);
        put_node(test_loopback(), NULL);
        open_link();
        wait_status(conn_status_AUTHENTICATION_ERROR);
        assert_int_equal(b->wanted_n, 0);
}

static void test_silence(void **state)
{
        put_node(test_loopback(), NULL);
        open_link();
        wait_status(conn_status_ONLINE);
        RUN_WHILE(&b->loop, b->pings < 1);
        assert_true(b->pings >= 1); /* and it never answers them */
        b->no_report = true;        /* so that it does not come back at once */
        wait_status(conn_status_OFFLINE);
        assert_contains(seen().problem, "silent");
        wait_status(conn_status_CONNECTED);
}

static void test_garbage(void **state)
{
        put_node(test_loopback(), NULL);
        open_link();
        wait_status(conn_status_ONLINE);
        b->no_report = true;
        assert_ok(conn_send(b->peer, sat_report_type.id, BLOB("\xc1", 1)));
        wait_status(conn_status_OFFLINE);
        assert_contains(seen().problem, "protocol");
        wait_status(conn_status_CONNECTED);
        assert_ok(conn_send(b->peer, 9999, BLOB("x", 1))); /* something newer: skipped */
        send_report(NULL, true);
        wait_status(conn_status_ONLINE);
}

static void test_node_goes(void **state)
{
        put_node(test_loopback(), NULL);
        open_link();
        wait_status(conn_status_ONLINE);
        struct node key = { .name = "node-a" };
        struct tx *tx = kv_mem_write(b->wanted);
        assert_ok(row_del(tx, &node_type, &key));
        assert_ok(kv_mem_commit(tx));
        sat_link_change(b->link, &(struct sat_change){ .kind = SAT_CHANGE_ALL, .node_name = "NODE-A" });
        wait_status(conn_status_UNKNOWN);
        RUN_WHILE(&b->loop, b->peer != NULL);
        assert_null(b->peer);
}

/* Closed after 0, 1, 2, ... turns of the loop: dialing, in the handshake, greeting, online. */
static void test_close_any_time(void **state)
{
        put_node(test_loopback(), NULL);
        for (int turns = 0; turns < 60; turns++) {
                b->link_closed = false;
                open_link();
                for (int i = 0; i < turns; i++) {
                        uv_run(&b->loop, UV_RUN_NOWAIT);
                        usleep(300);
                }
                sat_link_close(b->link, on_link_closed, NULL);
                assert_false(b->link_closed); /* never from inside */
                run_until(&b->loop, &b->link_closed, 5000);
                b->link = NULL;
        }
        assert_true(b->sessions > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
        const struct CMUnitTest tests[] = { TEST(test_session), TEST(test_untried), TEST(test_retry),
                TEST(test_news), TEST(test_follower_is_silent), TEST(test_fenced), TEST(test_problems),
                TEST(test_foreign_certificate), TEST(test_wrong_role), TEST(test_silence), TEST(test_garbage),
                TEST(test_node_goes), TEST(test_close_any_time) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
