/* The REST server in one process with its loop: start and end at any moment, what goes to the leader,
 * documents. What clients do over the wire is in tests/e2e/http. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <jansson.h>
#include <sodium.h>

#include "controller/base/route.h"
#include "controller/rest/metrics.h"
#include "controller/rest/openapi.h"
#include "state/kv_mem.h"
#include "state/table.h"
#include "tests/lib/rest_fake.h"
#include "tests/lib/test.h"

struct bed {
        uv_loop_t loop;
        struct rest_fake fake;
        struct rest_config config;
        struct rest *rest;
        unsigned closed, drained;
        bool close_fake_first;
        char listen[48];
};

static void on_closed(void *arg)
{
        struct bed *b = arg;
        b->closed++;
        if (!b->fake.closed) rest_fake_close(&b->fake);
}

static void bed_init(struct bed *b)
{
        memset(b, 0, sizeof *b);
        assert_int_equal(uv_loop_init(&b->loop), 0);
        rest_fake_open(&b->fake, &b->loop, env_real());
        rest_config_init(&b->config);
        b->config.loop = &b->loop;
        b->config.env = env_real();
        b->config.member = "c1";
        snprintf(b->listen, sizeof b->listen, "%s:0", test_loopback());
        b->config.http_listen = b->listen;
        b->config.backend = &rest_fake_backend;
        b->config.backend_arg = &b->fake;
        b->config.waiter = &rest_fake_waiter;
        b->config.waiter_arg = &b->fake;
}

static void bed_open(struct bed *b)
{
        struct fail f = { 0 };
        bed_init(b);
        if (rest_open(&b->config, &b->rest, &f) != 0) fail_msg("%s", f.text);
}

/* Runs to the end; nothing may be left. */
static void bed_end(struct bed *b)
{
        uv_run(&b->loop, UV_RUN_DEFAULT);
        assert_int_equal(b->closed, 1);
        assert_int_equal(uv_loop_close(&b->loop), 0);
}

static int dial(struct bed *b, const char *text)
{
        struct sockaddr_in sa = { .sin_family = AF_INET,
                .sin_port = htons((uint16_t)rest_port(b->rest, REST_HTTP)),
                .sin_addr.s_addr = inet_addr(test_loopback()) };
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
        assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
        return fd;
}

/* What has come until the server closes, with the loop running meanwhile. */
static void read_all(struct bed *b, int fd, char *text, size_t size)
{
        size_t n = 0;
        for (unsigned turn = 0; turn < 100000; turn++) {
                ssize_t got = recv(fd, text + n, size - 1 - n, MSG_DONTWAIT);
                if (got == 0) break;
                if (got > 0) n += (size_t)got;
                else uv_run(&b->loop, UV_RUN_NOWAIT);
                if (got < 0) usleep(200);
        }
        text[n] = 0;
        close(fd);
}

/* Until the server has sent that; it stays to be read. */
static void await_text(struct bed *b, int fd, const char *part)
{
        char text[4096] = "";
        for (unsigned turn = 0; turn < 100000 && strstr(text, part) == NULL; turn++) {
                ssize_t got = recv(fd, text, sizeof text - 1, MSG_DONTWAIT | MSG_PEEK);
                text[MAX(got, 0)] = 0;
                uv_run(&b->loop, UV_RUN_NOWAIT);
                usleep(200);
        }
        assert_contains(text, part);
}

static void turns(struct bed *b, unsigned n)
{
        while (n-- > 0) {
                uv_run(&b->loop, UV_RUN_NOWAIT);
                usleep(1000);
        }
}

static void lose_backend(struct bed *b)
{
        if (b->closed) return;
        rest_backend_gone(b->rest);
        rest_fake_close(&b->fake);
}

/* ---- start and end ---- */

static void test_close_after_turns(void **state)
{
        static const char *const requests[] = { "", "POST /v1/nodes HT",
                "POST /v1/nodes HTTP/1.1\r\nHost: x\r\n\r\n",
                "POST /v1/nodes?fake_ms=50 HTTP/1.1\r\nHost: x\r\n\r\n",
                "POST /v1/nodes?fake_never HTTP/1.1\r\nHost: x\r\n\r\n",
                "GET /v1/nodes HTTP/1.1\r\nHost: x\r\n\r\n" };
        for (unsigned i = 0; i < 2 * ARRAY_LEN(requests); i++)
                for (unsigned k = 0; k < 2; k++) {
                        struct bed b;
                        bed_open(&b);
                        const char *text = requests[i / 2];
                        int fd = dial(&b, text);
                        turns(&b, k * 8);
                        rest_close(b.rest, 0, on_closed, &b);
                        turns(&b, k);
                        /* The back end may end before, or has to when it owes an answer. */
                        if (i % 2 || strstr(text, "never")) lose_backend(&b);
                        bed_end(&b);
                        close(fd);
                }
}

static void test_bad_configuration(void **state)
{
        static const char *const bad[] = { "3370", "localhost:3370", "127.0.0.1:", "127.0.0.1:99999",
                "[::1:3370", ":1", "127.0.0.1:80x" };
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
                struct bed b;
                struct fail f = { 0 };
                bed_init(&b);
                b.config.http_listen = bad[i];
                assert_err(rest_open(&b.config, &b.rest, &f), E_CONFIG);
                assert_contains(f.text, "not a");
                rest_fake_close(&b.fake);
                uv_run(&b.loop, UV_RUN_DEFAULT);
                assert_int_equal(uv_loop_close(&b.loop), 0);
        }
}

static void test_open_fails(void **state)
{
        struct bed a, b;
        struct fail f = { 0 };
        char address[48];
        bed_open(&a);
        bed_init(&b);
        snprintf(address, sizeof address, "%s:%u", test_loopback(), rest_port(a.rest, REST_HTTP));
        b.config.http_listen = address;
        assert_err(rest_open(&b.config, &b.rest, &f), -EADDRINUSE);
        assert_contains(f.text, "http listener");
        b.config.http_listen = "127.0.0.1:0";
        b.config.https_listen = "127.0.0.1:0";
        assert_err(rest_open(&b.config, &b.rest, &f), E_CONFIG);
        b.config.tls = (struct rest_tls){ "junk", "junk", "junk" };
        assert_err(rest_open(&b.config, &b.rest, &f), E_TLS);
        rest_fake_close(&b.fake);
        uv_run(&b.loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(&b.loop), 0);
        rest_close(a.rest, 0, on_closed, &a);
        bed_end(&a);
}

static void on_drained_close(void *arg)
{
        struct bed *b = arg;
        b->drained++;
        assert_int_equal(rest_port(b->rest, REST_HTTP), 0);
        rest_close(b->rest, 0, on_closed, b);
}

static void test_close_from_drained(void **state)
{
        struct bed b;
        bed_open(&b);
        rest_quiesce(b.rest, on_drained_close, &b);
        bed_end(&b);
        assert_int_equal(b.drained, 1);
}

static void test_reopen_keeps_port(void **state)
{
        struct bed b;
        struct fail f = { 0 };
        bed_open(&b);
        unsigned port = rest_port(b.rest, REST_HTTP);
        for (unsigned i = 0; i < 3; i++) {
                rest_quiesce(b.rest, NULL, NULL);
                assert_int_equal(rest_port(b.rest, REST_HTTP), 0);
                turns(&b, i * 200); /* before, and after the socket is really closed */
                assert_ok(rest_reopen(b.rest, &f));
                assert_int_equal(rest_port(b.rest, REST_HTTP), port);
        }
        rest_close(b.rest, 0, on_closed, &b);
        bed_end(&b);
}

/* ---- what goes to the leader ---- */

/* A stream of events ends with its last chunk when the member has lost the quorum, and when it stops. */
static void test_streams_end(void **state)
{
        static const char ask[] =
                "GET /v1/events/nodes HTTP/1.1\r\nHost: x\r\nLast-Event-ID: current\r\n\r\n";
        for (unsigned stops = 0; stops < 2; stops++) {
                struct bed b;
                struct fail f = { 0 };
                char text[4096];
                bed_init(&b);
                b.config.limits.leave_ms = 50;
                if (rest_open(&b.config, &b.rest, &f) != 0) fail_msg("%s", f.text);
                int fd = dial(&b, ask);
                await_text(&b, fd, "the state as it is now");
                if (stops) rest_close(b.rest, 100, on_closed, &b);
                else rest_fake_quorum(&b.fake, false);
                read_all(&b, fd, text, sizeof text);
                assert_contains(text, "HTTP/1.1 200");
                assert_contains(text, "text/event-stream");
                assert_contains(text, "the state as it is now");
                size_t n = strlen(text);
                assert_true(n > 5);
                assert_string_equal(text + n - 5, "0\r\n\r\n");
                if (!stops) rest_close(b.rest, 100, on_closed, &b);
                bed_end(&b);
        }
}

/* A new client looks at the state before the tick that would wake those who wait: they are woken all the same. */
static void test_streams_wake(void **state)
{
        static const char ask[] = "GET /v1/events/nodes HTTP/1.1\r\nHost: x\r\n\r\n";
        struct bed b;
        struct fail f = { 0 };
        char text[4096] = "";
        bed_init(&b);
        b.fake.wanted = kv_mem_new();
        if (rest_open(&b.config, &b.rest, &f) != 0) fail_msg("%s", f.text);
        int waits = dial(&b, ask), looks = dial(&b, "");
        await_text(&b, waits, ":\n\n");
        turns(&b, 500); /* it has nothing to read and is suspended */
        struct node n = { 0 };
        SET(&n, node, name, "late");
        struct tx *tx = kv_mem_write(b.fake.wanted);
        row_put(tx, &node_type, &n);
        assert_ok(kv_mem_commit(tx));
        rest_on_change(b.rest);
        assert_int_equal(send(looks, ask, strlen(ask), 0), strlen(ask)); /* no turn of the loop: no tick */
        for (unsigned i = 0; i < 50000 && strstr(text, ":\n\n") == NULL; i++) {
                ssize_t got = recv(looks, text, sizeof text - 1, MSG_DONTWAIT | MSG_PEEK);
                text[MAX(got, 0)] = 0;
                usleep(200);
        }
        assert_contains(text, "text/event-stream");
        uint64_t began = env_real()->now_ms(env_real());
        await_text(&b, waits, "node-create");
        assert_true(env_real()->now_ms(env_real()) - began < 10000); /* the next beat would wake it, too */
        close(waits);
        close(looks);
        rest_close(b.rest, 100, on_closed, &b);
        bed_end(&b);
        kv_mem_free(b.fake.wanted);
}

static void test_request_ids(void **state)
{
        struct bed b;
        char text[4096];
        uint8_t first[REQUEST_ID_SIZE], want[REQUEST_ID_SIZE];
        bed_open(&b);
        read_all(&b, dial(&b, "POST /v1/nodes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), text,
                sizeof text);
        memcpy(first, b.fake.last_id, sizeof first);
        read_all(&b, dial(&b, "POST /v1/nodes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), text,
                sizeof text);
        /* Same incarnation, another number. */
        assert_memory_equal(first, b.fake.last_id, 8);
        assert_memory_not_equal(first, b.fake.last_id, sizeof first);
        for (unsigned i = 0; i < 2; i++) {
                read_all(&b,
                        dial(&b, "POST /v1/nodes HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k-1\r\nConnection: "
                                 "close\r\n\r\n"),
                        text, sizeof text);
                crypto_generichash(want, sizeof want, (const unsigned char *)"k-1", 3, NULL, 0);
                assert_memory_equal(b.fake.last_id, want, sizeof want);
        }
        assert_contains(text, "201 Created");
        assert_int_equal(b.fake.submits, 4);
        rest_close(b.rest, 0, on_closed, &b);
        bed_end(&b);
}

/* Index and term of an answer are those of its entry; when only the index is known, no term is better than another one. */
static void test_index_and_term(void **state)
{
        const char *post = "POST /v1/nodes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        struct bed b;
        char text[4096];
        bed_open(&b);
        b.fake.index = 41; /* counted on by each write */
        b.fake.term = 9;
        read_all(&b, dial(&b, post), text, sizeof text);
        assert_contains(text, "X-Outrigger-Index: 42\r\n");
        assert_contains(text, "X-Outrigger-Term: 9\r\n");
        b.fake.no_term = true;
        read_all(&b, dial(&b, post), text, sizeof text);
        assert_contains(text, "201 Created");
        assert_contains(text, "X-Outrigger-Index: 43\r\n");
        assert_null(strstr(text, "X-Outrigger-Term:"));
        rest_close(b.rest, 0, on_closed, &b);
        bed_end(&b);
}

/* What fails after all takes back what was said at first; where something else fails, both are true. */
static void test_taken_back(void **state)
{
        static const struct {
                const char *query;
                bool created, failed, warned;
        } rows[] = { { "fake_waits=1", true, false, true }, { "fake_waits=1&fake_saga", true, false, true },
                { "fake_waits=1&fake_fails", true, true, false },
                { "fake_waits=2&fake_fails&fake_saga", false, true, false } };
        struct bed b;
        char text[4096];
        (void)state;
        bed_open(&b);
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                char ask[200];
                snprintf(ask, sizeof ask,
                        "POST /v1/nodes?%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", rows[i].query);
                read_all(&b, dial(&b, ask), text, sizeof text);
                assert_contains(text, rows[i].failed ? " 500 " : " 201 ");
                assert_int_equal(strstr(text, "POST /v1/nodes") != NULL, rows[i].created);
                assert_int_equal(strstr(text, "it was not done") != NULL, rows[i].failed);
                assert_int_equal(strstr(text, "the node is offline") != NULL, rows[i].warned);
        }
        rest_close(b.rest, 0, on_closed, &b);
        bed_end(&b);
}

/* A refusal that rests on what satellites have said may be old news: it is asked again for a moment, not for ever. */
static void test_asked_again(void **state)
{
        struct bed b;
        char text[4096];
        bed_init(&b);
        b.config.limits.again_ms = 500;
        struct fail f = { 0 };
        assert_ok(rest_open(&b.config, &b.rest, &f));
        read_all(&b, dial(&b, "POST /v1/nodes?fake_again=3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
                text, sizeof text);
        assert_contains(text, "201 Created");
        assert_int_equal(b.fake.submits, 4);
        b.fake.submits = 0;
        uint64_t before = b.config.env->now_ms(b.config.env);
        read_all(&b,
                dial(&b, "POST /v1/nodes?fake_again=1000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
                text, sizeof text);
        assert_contains(text, " 500 ");
        assert_true(b.config.env->now_ms(b.config.env) - before >= 500);
        assert_in_range(b.fake.submits, 2, 2 + 10);
        /* the back end goes while one is kept back: it is answered as it was refused */
        int fd = dial(&b, "POST /v1/nodes?fake_again=1000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        for (unsigned n = b.fake.submits; b.fake.submits == n;) turns(&b, 1);
        turns(&b, 3);
        rest_close(b.rest, 500, on_closed, &b);
        lose_backend(&b);
        read_all(&b, fd, text, sizeof text);
        assert_contains(text, " 500 ");
        bed_end(&b);
}

static void test_guard(void **state)
{
        /* A back end that breaks its promise: the request is answered all the same. */
        struct bed b;
        char text[4096];
        bed_init(&b);
        b.config.limits.hold_ms = 1;
        struct fail f = { 0 };
        assert_ok(rest_open(&b.config, &b.rest, &f));
        read_all(&b, dial(&b, "POST /v1/nodes?fake_never HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
                text, sizeof text);
        assert_contains(text, "HTTP/1.1 500");
        assert_contains(text, "not known");
        rest_close(b.rest, 0, on_closed, &b);
        lose_backend(&b);
        bed_end(&b);
}

/* ---- documents ---- */

static void check_refs(json_t *v, json_t *schemas)
{
        const char *key;
        json_t *sub;
        size_t i;
        if (json_is_array(v)) json_array_foreach(v, i, sub) check_refs(sub, schemas);
        if (!json_is_object(v)) return;
        const char *ref = json_string_value(json_object_get(v, "$ref"));
        if (ref) {
                assert_int_equal(strncmp(ref, "#/components/schemas/", 21), 0);
                if (!json_object_get(schemas, ref + 21)) fail_msg("%s is not there", ref);
        }
        json_object_foreach(v, key, sub) check_refs(sub, schemas);
}

static void test_openapi(void **state)
{
        struct buf out = { 0 };
        json_error_t e;
        const char *path, *method;
        json_t *item, *op, *p;
        unsigned operations = 0, shown = 0;
        size_t i;
        assert_ok(openapi_render(&out));
        json_t *doc = json_loadb((const char *)out.p, out.n, JSON_REJECT_DUPLICATES, &e);
        if (!doc) fail_msg("%s at %d", e.text, e.position);
        check_refs(doc, json_object_get(json_object_get(doc, "components"), "schemas"));
        json_object_foreach(json_object_get(doc, "paths"), path, item)
        {
                json_object_foreach(item, method, op)
                {
                        operations++;
                        assert_non_null(json_object_get(op, "responses"));
                        json_array_foreach(json_object_get(op, "parameters"), i, p)
                        {
                                char name[80];
                                if (strcmp(json_string_value(json_object_get(p, "in")), "path") != 0)
                                        continue;
                                snprintf(name, sizeof name, "{%s}",
                                        json_string_value(json_object_get(p, "name")));
                                assert_contains(path, name);
                        }
                }
        }
        for (unsigned k = 0; k < ROUTE_N; k++) shown += strncmp(routes[k].pattern, "/internal", 9) != 0;
        assert_int_equal(operations, shown);
        json_decref(doc);
        buf_done(&out);
}

static void put_rows(struct tx *tx, struct tx *observed)
{
        struct node n = { 0 };
        struct netif nif = { 0 };
        struct rsc_dfn d = { 0 };
        struct rsc r = { 0 };
        struct vlm v = { 0 };
        struct obs_rsc o = { 0 };
        struct obs_vlm ov = { 0 };
        SET(&nif, netif, name, "default");
        SET(&nif, netif, address, "10.0.0.1");
        SET(&nif, netif, satellite_port, 3366);
        SET(&n, node, name, "n1");
        SET_N(&n, node, net_interfaces, &nif, 1);
        row_put(tx, &node_type, &n);
        SET(&d, rsc_dfn, name, "r1");
        SET(&d, rsc_dfn, rsc_grp_name, "g");
        row_put(tx, &rsc_dfn_type, &d);
        SET(&r, rsc, rsc_name, "r1");
        SET(&r, rsc, node_name, "n1");
        SET(&v, vlm, volume_number, 0);
        SET(&v, vlm, storage_pool_name, "p\"1");
        SET_N(&r, rsc, volumes, &v, 1);
        row_put(tx, &rsc_type, &r);
        SET(&ov, obs_vlm, volume_number, 0);
        SET(&ov, obs_vlm, disk_state, "UpToDate");
        SET(&ov, obs_vlm, allocated_kib, 4);
        SET(&o, obs_rsc, node_name, "n1");
        SET(&o, obs_rsc, rsc_name, "r1");
        SET(&o, obs_rsc, in_use, true);
        SET_N(&o, obs_rsc, volumes, &ov, 1);
        row_put(observed, &obs_rsc_type, &o);
}

static void test_metrics(void **state)
{
        struct kv_mem *wanted = kv_mem_new(), *observed = kv_mem_new();
        struct tx *tx = kv_mem_write(wanted), *otx = kv_mem_write(observed);
        struct metrics *m = metrics_new(2);
        struct driver_status s = {
                .id = 1, .term = 4, .leader_id = 1, .commit_index = 9, .state = DRIVER_LEADER
        };
        struct buf out = { 0 };
        put_rows(tx, otx);
        assert_ok(kv_mem_commit(tx));
        assert_ok(kv_mem_commit(otx));
        metrics_request(m, 0, ROUTE_node_list, 200, 2000000);
        metrics_request(m, 1, ROUTE_node_list, 500, 70000000000);
        struct metrics_input in = { .wanted = kv_mem_read(wanted),
                .observed = kv_mem_read(observed),
                .status = &s,
                .resources = true,
                .storage_pools = true,
                .error_reports = true };
        assert_ok(metrics_render(m, &in, &out));
        const char *text = buf_cstr(&out);
        static const char *const lines[] = { "\nlinstor_resource_definition_count 1\n",
                "\nlinstor_node_state{node=\"n1\",address=\"10.0.0.1\",port=\"3366\",encryption=\"PLAIN\","
                "nodetype=\"CONTROLLER\"} 6\n",
                "\nlinstor_resource_definition_resource_count{name=\"r1\",resource_group=\"g\"} 1\n",
                "\nlinstor_resource_state{name=\"r1\",node=\"n1\"} 1\n",
                "\nlinstor_volume_state{resource=\"r1\",node=\"n1\",volume=\"0\",device_path=\"\",storage_"
                "pool=\"p\\\"1\"} 1\n",
                "storage_pool=\"p\\\"1\"} 4096\n", "\noutrigger_raft_term 4\n",
                "\noutrigger_raft_is_leader 1\n", "\noutrigger_raft_zones_critical 0\n",
                "_bucket{apicall=\"node_list\",le=\"0.001\"} 0\n",
                "_bucket{apicall=\"node_list\",le=\"0.0025\"} 1\n",
                "_bucket{apicall=\"node_list\",le=\"60\"} 1\n",
                "_bucket{apicall=\"node_list\",le=\"+Inf\"} 2\n", "_sum{apicall=\"node_list\"} 70.002\n",
                "{class=\"5xx\"} 1\n", "\nprocess_open_fds " };
        for (size_t i = 0; i < ARRAY_LEN(lines); i++) assert_contains(text, lines[i]);
        buf_reset(&out);
        in.resources = false;
        assert_ok(metrics_render(m, &in, &out));
        assert_lacks(buf_cstr(&out), "linstor_volume_state");
        kv_mem_end(in.wanted);
        kv_mem_end(in.observed);
        kv_mem_free(wanted);
        kv_mem_free(observed);
        metrics_free(m);
        buf_done(&out);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_close_after_turns),
                cmocka_unit_test(test_bad_configuration),
                cmocka_unit_test(test_open_fails),
                cmocka_unit_test(test_close_from_drained),
                cmocka_unit_test(test_reopen_keeps_port),
                cmocka_unit_test(test_streams_end),
                cmocka_unit_test(test_streams_wake),
                cmocka_unit_test(test_request_ids),
                cmocka_unit_test(test_index_and_term),
                cmocka_unit_test(test_taken_back),
                cmocka_unit_test(test_asked_again),
                cmocka_unit_test(test_guard),
                cmocka_unit_test(test_openapi),
                cmocka_unit_test(test_metrics),
        };
        return cmocka_run_group_tests_name("rest", tests, NULL, NULL);
}
