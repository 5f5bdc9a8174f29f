/* Operations and views: requests, answers, and the state after each of them (tests/unit/ops_cases.def). */
#include "tests/lib/test.h"

#include "controller/base/apirc.h"
#include "controller/base/route.h"
#include "controller/sat/sat_keys.h"
#include "controller/sat/sat_wanted.h"
#include "state/table.h"
#include "tests/lib/ops_world.h"

struct step {
        const char *world; /* not NULL: begins a new one */
        const char *method, *path, *body;
        unsigned status;
        const char *code, *has, *lacks;
};
static const struct step steps[] = {
#define WORLD(name) { .world = (name) },
#define S(method, path, body, status, code, has, lacks) \
        { NULL, method, path, body, status, code, has, lacks },
#include "tests/unit/ops_cases.def"
#include "tests/unit/ops_disk_cases.def"
#include "tests/unit/ops_ship_cases.def"
#include "tests/unit/ops_tend_cases.def"
#undef WORLD
#undef S
};

static void print_step(const struct step *s, struct ops_world *w)
{
        print_error("%s %s %s\n  -> %u %s\n", s->method, s->path, s->body, w->status, buf_cstr(&w->body));
}

static bool step_ok(const struct step *s, struct ops_world *w, int err)
{
        const char *text = buf_cstr(&w->body);
        bool refused = w->status >= 400;
        if (w->status != s->status) return false;
        if (s->has != NULL && strstr(text, s->has) == NULL) return false;
        if (s->lacks != NULL && strstr(text, s->lacks) != NULL) return false;
        if (strstr(text, "null") != NULL && strstr(text, ":null") != NULL) return false;
        if (s->code == NULL) return true;
        bool by_news = strstr(text, "something has it open") != NULL ||
                       strstr(text, "is being made from it") != NULL;
        if (w->reply.ask_again != by_news) return false; /* what satellites say may be old */
        if (refused != (err != 0))
                return false; /* what was refused must not be kept, and the other way round */
        return w->reply.rcs_n != 0 && strcmp(apirc_name(w->reply.rcs[0].ret_code), s->code) == 0;
}

static void test_cases(void **state)
{
        struct ops_world w;
        bool open = false;
        unsigned bad = 0;
        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
                const struct step *s = &steps[i];
                if (s->world != NULL) {
                        if (open) ops_world_close(&w);
                        ops_world_open(&w);
                        open = true;
                        continue;
                }
                if (ops_world_observe(&w, s->method, s->path, s->body)) continue;
                int err = ops_world_call(&w, s->method, s->path, s->body);
                bool ok = step_ok(s, &w, err);
                if (!ok) print_step(s, &w);
                int findings = ops_world_check(&w);
                if (findings != 0) print_step(s, &w);
                bad += !ok || findings != 0;
        }
        ops_world_close(&w);
        assert_int_equal(bad, 0);
}

/* Every write of the table with every body cut short, and every path: refused or carried out, the state stays
 * sound. */
static void test_torn_bodies(void **state)
{
        struct ops_world w;
        (void)state;
        ops_world_open(&w);
        for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
                const struct step *s = &steps[i];
                if (s->world != NULL || ops_world_observe(&w, s->method, s->path, s->body)) continue;
                char *body = strdup(s->body);
                size_t n = strlen(body);
                for (size_t cut = 1; cut < 4 && cut < n; cut++) {
                        body[n - cut] = '\0';
                        (void)ops_world_call(&w, s->method, s->path, body);
                        assert_true(w.status >= 400 || n < 3);
                }
                free(body);
                (void)ops_world_call(&w, s->method, s->path, s->body);
        }
        assert_int_equal(ops_world_check(&w), 0);
        ops_world_close(&w);
}

/* ---- routes ---- */

static void test_routes(void **state)
{
        struct arena a = { 0 };
        struct route_match m;
        (void)state;
        const struct route *r = route_find("GET", "/v1/files/%252Fetc%252Fx+y/?", &a, &m);
        assert_non_null(r);
        assert_string_equal(m.params[0], "/etc/x y");
        r = route_find("DELETE", "/v1/controller/properties/a/b%2Fc", &a, &m);
        assert_int_equal(r->id, ROUTE_ctrl_prop_delete);
        assert_string_equal(m.params[0], "a/b/c");
        r = route_find("GET", "/v1/nodes/properties/info", &a, &m);
        assert_int_equal(r->id, ROUTE_node_props_info);
        r = route_find("GET", "/v1/nodes/net-interfaces/net-interfaces", &a, &m);
        assert_int_equal(r->id, ROUTE_netif_list);
        assert_string_equal(m.params[0], "net-interfaces");
        r = route_find("POST", "/v1/resource-groups/adjustall", &a, &m);
        assert_int_equal(r->id, ROUTE_rg_adjust_all);
        assert_null(route_find("POST", "/internal/error-report", &a, &m));
        assert_non_null(route_find_any("POST", "/internal/error-report", &a, &m));
        assert_null(route_find("GET", "//v1/nodes", &a, &m));
        assert_null(route_find("GET", "/v1/nodes/%00", &a, &m));
        assert_null(route_find("GET", "/v1/nodes/%zz", &a, &m));
        assert_null(route_find("PATCH", "/v1/nodes", &a, &m));
        assert_true(m.path_known);
        assert_null(route_find("GET", "/v1/nodes/a/b/c/d/e/f/g/h/i/j/k/l/m", &a, &m));
        assert_false(m.path_known);
        assert_int_equal(route_find("HEAD", "/v1/nodes", &a, &m)->id, ROUTE_node_list);
        struct query q;
        query_parse("a=1&b=x+y%21&a=2&c&=z&%41=q&", &a, &q);
        assert_int_equal(q.n, 5);
        assert_string_equal(query_get(&q, "b"), "x y!");
        assert_string_equal(query_get(&q, "c"), "");
        assert_true(query_admits(&q, "a", "2"));
        assert_false(query_admits(&q, "a", "3"));
        assert_true(query_admits(&q, "nope", "3"));
        assert_int_equal(query_u64(&q, "a"), 1);
        arena_done(&a);
}

/* No two routes may answer the same request. */
static void test_routes_unique(void **state)
{
        (void)state;
        for (unsigned i = 0; i < ROUTE_N; i++) {
                assert_true(routes[i].kind != ROUTE_WRITE || routes[i].op != NULL);
                assert_true(routes[i].kind != ROUTE_READ || routes[i].view != NULL);
                for (unsigned k = i + 1; k < ROUTE_N; k++)
                        if (strcmp(routes[i].pattern, routes[k].pattern) == 0 &&
                                strcmp(routes[i].method, routes[k].method) == 0)
                                fail_msg("%s and %s", routes[i].name, routes[k].name);
        }
}

static void test_codes(void **state)
{
        struct arena a = { 0 };
        (void)state;
        assert_true(apirc_value(RC_CREATED, RC_OP_CREATE, RC_OBJ_RSC) == 0x1340001);
        assert_true(apirc_value(RC_FAIL_NOT_FOUND_RSC_DFN, 0, 0) == INT64_C(-4611686018427387603));
        assert_true(apirc_value(RC_WARN_NOT_FOUND, 0, 0) == INT64_C(-9223372036854772808));
        assert_true(
                apirc_value(RC_FAIL_API_CALL_PARSE, RC_OP_CREATE, RC_OBJ_RSC) == (int64_t)0xCFFFFFFFFFFFFFFD);
        static const struct {
                enum apirc_code code;
                unsigned status;
        } map[] = { { RC_CREATED, 201 }, { RC_WARN_NOT_FOUND, 201 }, { RC_INFO_NOOP, 201 },
                { RC_FAIL_NOT_FOUND_NODE, 404 }, { RC_FAIL_ACC_DENIED_NODE, 403 }, { RC_FAIL_SIGN_IN, 403 },
                { RC_FAIL_SIGN_IN_MISSING_CREDENTIALS, 401 }, { RC_FAIL_EXISTS_NODE, 500 },
                { RC_FAIL_IN_USE, 500 }, { RC_FAIL_API_CALL_PARSE, 400 } };
        for (size_t i = 0; i < ARRAY_LEN(map); i++) {
                struct api_rc rc = { .ret_code = apirc_value(map[i].code, RC_OP_CREATE, RC_OBJ_NODE) };
                assert_int_equal(apirc_http_status(&rc, 1, 201), map[i].status);
        }
        assert_string_equal(apirc_time(&a, 1700000000123), "2023-11-14T22:13:20.123+00:00");
        assert_string_equal(apirc_time(&a, 951782400000), "2000-02-29T00:00:00.000+00:00");
        arena_done(&a);
}

/* A new leader has not reached a satellite yet: what depends on it is put off and leaves no trace, the rest goes on. */
static void test_untried(void **state)
{
        static const char *const pool = "{\"storage_pool_name\":\"pool1\",\"provider_kind\":\"FILE_THIN\","
                                        "\"props\":{\"StorDriver/StorPoolName\":\"/var/pool\"}}";
        static const char *const spawn = "{\"resource_definition_name\":\"r1\",\"volume_sizes\":[1000]}";
        struct ops_world w;
        (void)state;
        ops_world_open(&w);
        for (unsigned i = 1; i <= 2; i++) {
                char text[256];
                snprintf(text, sizeof text,
                        "{\"name\":\"n%u\",\"type\":\"Satellite\",\"net_interfaces\":[{\"name\":\"default\","
                        "\"address\":\"10.0.0.%u\"}]}",
                        i, i);
                assert_int_equal(ops_world_call(&w, "POST", "/v1/nodes", text), 0);
                snprintf(text, sizeof text, "/v1/nodes/n%u/storage-pools", i);
                assert_int_equal(ops_world_call(&w, "POST", text, pool), 0);
        }
        assert_int_equal(ops_world_call(&w, "POST", "/v1/resource-groups",
                                 "{\"name\":\"rg\",\"select_filter\":{\"place_count\":1,\"layer_stack\":["
                                 "\"STORAGE\"]}}"),
                0);
        assert_int_equal(ops_world_call(&w, "POST", "/v1/resource-groups/rg/volume-groups", "{}"), 0);
        assert_true(ops_world_observe(&w, "NODE", "n1", "STORAGE"));
        assert_true(ops_world_observe(&w, "POOL", "n1/pool1", "500000/1000000"));
        w.untried = "n2";
        /* The first node alone would do; but the choice is not to depend on who leads since when. */
        assert_int_equal(ops_world_call(&w, "POST", "/v1/resource-groups/rg/spawn", spawn), E_BUSY);
        assert_int_equal(ops_world_call(&w, "DELETE", "/v1/nodes/n2/lost", ""), E_BUSY);
        assert_int_equal(
                ops_world_call(&w, "PUT", "/v1/nodes/n2", "{\"override_props\":{\"Aux/a\":\"b\"}}"), 0);
        assert_int_equal(ops_world_call(&w, "GET", "/v1/resource-definitions/r1", ""), 0);
        assert_int_equal(w.status, 404);
        w.untried = NULL;
        w.retried = "n2";
        /* One that was seen to be away: placement does without it, and only what is refused waits for one more try. */
        assert_int_equal(ops_world_call(&w, "POST", "/v1/resource-groups/rg/spawn",
                                 "{\"resource_definition_name\":\"r0\",\"volume_sizes\":[1000]}"),
                0);
        assert_int_equal(ops_world_call(&w, "POST", "/v1/resource-groups/rg/spawn",
                                 "{\"resource_definition_name\":\"r2\",\"volume_sizes\":[90000000]}"),
                E_BUSY);
        assert_int_equal(ops_world_call(&w, "DELETE", "/v1/nodes/n2/lost", ""), E_BUSY);
        w.retried = NULL;
        assert_int_equal(ops_world_call(&w, "POST", "/v1/resource-groups/rg/spawn",
                                 "{\"resource_definition_name\":\"r2\",\"volume_sizes\":[90000000]}"),
                E_INVALID);
        assert_true(ops_world_observe(&w, "NODE", "n2", "STORAGE"));
        assert_true(ops_world_observe(&w, "POOL", "n2/pool1", "1000000/1000000"));
        assert_int_equal(ops_world_call(&w, "POST", "/v1/resource-groups/rg/spawn", spawn), 0);
        assert_non_null(strstr((const char *)w.body.p, "n2"));
        assert_int_equal(ops_world_call(&w, "DELETE", "/v1/nodes/n2/lost", ""), E_INVALID); /* connected */
        ops_world_close(&w);
}

/* ---- snapshots of encrypted volumes ---- */

/* The key of the volume definition 0, copied. */
static size_t key_of(struct ops_world *w, const char *rsc, uint8_t out[256])
{
        struct arena a = { 0 };
        struct tx *tx = kv_mem_read(w->wanted);
        struct vlm_dfn vd, key = { .rsc_name = rsc, .volume_number = 0 };
        size_t n = 0;
        if (row_get(tx, &vlm_dfn_type, &key, &a, &vd) == 0 && HAS(&vd, vlm_dfn, luks_key)) {
                n = vd.luks_key.n;
                assert_true(n <= 256);
                memcpy(out, vd.luks_key.p, n);
        }
        kv_mem_end(tx);
        arena_done(&a);
        return n;
}

static void post(struct ops_world *w, const char *path, const char *body, unsigned status)
{
        (void)ops_world_call(w, "POST", path, body);
        if (w->status != status) fail_msg("%s: %u: %.*s", path, w->status, (int)w->body.n, (char *)w->body.p);
}

static void make_encrypted(struct ops_world *w)
{
        post(w, "/v1/nodes",
                "{\"name\":\"n1\",\"type\":\"Satellite\",\"net_interfaces\":[{\"name\":\"default\","
                "\"address\":\"10.0.0.1\"}]}",
                201);
        assert_true(ops_world_observe(w, "NODE", "n1", "STORAGE,LUKS"));
        post(w, "/v1/nodes/n1/storage-pools",
                "{\"storage_pool_name\":\"thin\",\"provider_kind\":\"FILE_THIN\",\"props\":{\"StorDriver/"
                "FileDir\":\"/p\"}}",
                201);
        assert_true(ops_world_observe(w, "POOL", "n1/thin", "1000000/1000000"));
        post(w, "/v1/encryption/passphrase",
                "{\"kek\":\"0000000000000000000000000000000000000000000000000000000000000000\","
                "\"salt\":\"11111111111111111111111111111111\"}",
                201);
        static const char *const names[] = { "src", "other", "plain" };
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
                char text[200];
                snprintf(text, sizeof text,
                        "{\"resource_definition\":{\"name\":\"%s\",\"layer_data\":[%s{\"type\":\"STORAGE\"}]}"
                        "}",
                        names[i], i < 2 ? "{\"type\":\"LUKS\"}," : "");
                post(w, "/v1/resource-definitions", text, 201);
                snprintf(text, sizeof text, "/v1/resource-definitions/%s/volume-definitions", names[i]);
                post(w, text, "{\"volume_definition\":{\"size_kib\":1024}}", 200);
        }
        post(w, "/v1/resource-definitions/src/resources/n1",
                "{\"resource\":{\"props\":{\"StorPoolName\":\"thin\"}}}", 201);
}

static void sagas_end(struct ops_world *w, unsigned phases)
{
        while (phases-- > 0) assert_true(ops_world_observe(w, "SAGA", "", "over"));
}

/* What was encrypted with a key opens with that key only: it goes along, wherever the snapshot goes. */
static void test_keys_of_snapshots(void **state)
{
        struct ops_world w;
        uint8_t src[256], other[256];
        (void)state;
        ops_world_open(&w);
        make_encrypted(&w);
        size_t n = key_of(&w, "src", src);
        assert_true(n > 32 && key_of(&w, "other", other) == n && memcmp(src, other, n) != 0);
        post(&w, "/v1/resource-definitions/src/snapshots", "{\"name\":\"s1\"}", 201);
        sagas_end(&w, 3);
        post(&w, "/v1/resource-definitions/src/snapshot-restore-resource/s1", "{\"to_resource\":\"plain\"}",
                500);
        assert_non_null(memmem(w.body.p, w.body.n, "lacks the layer LUKS", 20));
        post(&w, "/v1/resource-definitions/src/snapshot-restore-resource/s1", "{\"to_resource\":\"other\"}",
                200);
        assert_int_equal(key_of(&w, "other", other), n);
        assert_memory_equal(src, other, n);
        assert_true(ops_world_observe(&w, "RSC", "other/n1", "created"));
        post(&w, "/v1/resource-definitions/src/clone", "{\"name\":\"twin\"}", 201);
        sagas_end(&w, 4);
        assert_int_equal(key_of(&w, "twin", other), n);
        assert_memory_equal(src, other, n);
        assert_int_equal(ops_world_check(&w), 0);
        ops_world_close(&w);
}

/* ---- clones with other layers ---- */

static void make_pair(struct ops_world *w)
{
        char text[300];
        for (unsigned i = 1; i <= 2; i++) {
                snprintf(text, sizeof text,
                        "{\"name\":\"n%u\",\"type\":\"Satellite\",\"net_interfaces\":[{\"name\":\"default\","
                        "\"address\":\"10.0.0.%u\"}]}",
                        i, i);
                post(w, "/v1/nodes", text, 201);
                snprintf(text, sizeof text, "n%u", i);
                assert_true(ops_world_observe(w, "NODE", text, "STORAGE,LUKS,DRBD"));
                snprintf(text, sizeof text, "/v1/nodes/n%u/storage-pools", i);
                post(w, text,
                        "{\"storage_pool_name\":\"thin\",\"provider_kind\":\"LVM_THIN\",\"props\":{"
                        "\"StorDriver/StorPoolName\":\"vg/thin\"}}",
                        201);
                snprintf(text, sizeof text, "n%u/thin", i);
                assert_true(ops_world_observe(w, "POOL", text, "1000000/1000000"));
        }
}

/* nodes: how many get a replica. */
static void make_source(struct ops_world *w, const char *name, const char *layers, unsigned nodes)
{
        char path[200], text[300];
        snprintf(text, sizeof text, "{\"resource_definition\":{\"name\":\"%s\",\"layer_data\":[%s]}}", name,
                layers);
        post(w, "/v1/resource-definitions", text, 201);
        snprintf(path, sizeof path, "/v1/resource-definitions/%s/volume-definitions", name);
        post(w, path, "{\"volume_definition\":{\"size_kib\":10240}}", 200);
        for (unsigned i = 1; i <= nodes; i++) {
                snprintf(path, sizeof path, "/v1/resource-definitions/%s/resources/n%u", name, i);
                post(w, path, "{\"resource\":{\"props\":{\"StorPoolName\":\"thin\"}}}", 201);
        }
        assert_true(ops_world_observe(w, "WORK", "", ""));
        assert_true(ops_world_observe(w, "SYNC", "", ""));
}

/* What a satellite is told of volume 0: the layers of its source, "" for its own. *ret: the whole volume, in the world's arena. */
static const char *told(struct ops_world *w, const char *rsc, const char *node, struct sat_vlm *ret)
{
        static char text[100];
        struct arena *a = &w->arena;
        struct sat_wanted full;
        struct tx *tx = kv_mem_read(w->wanted);
        const struct sat_wanted_args args = { .node_name = node, .revision = 1, .term = 1 };
        text[0] = '\0';
        assert_int_equal(sat_wanted_full(tx, &args, a, &full), 0);
        kv_mem_end(tx);
        for (uint32_t i = 0; i < full.resources_n; i++) {
                if (strcmp(full.resources[i].rsc_name, rsc) != 0) continue;
                *ret = full.resources[i].volumes[0];
                for (uint32_t k = 0; HAS(ret, sat_vlm, source_layers) && k < ret->source_layers_n; k++)
                        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", k != 0 ? "," : "",
                                ret->source_layers[k]);
                return text;
        }
        return NULL;
}

static void clone(struct ops_world *w, const char *from, const char *body, const char *refused)
{
        char path[200];
        snprintf(path, sizeof path, "/v1/resource-definitions/%s/clone", from);
        post(w, path, body, refused == NULL ? 201 : 500);
        if (refused != NULL && memmem(w->body.p, w->body.n, refused, strlen(refused)) == NULL)
                fail_msg("%.*s", (int)w->body.n, (char *)w->body.p);
        assert_int_equal(ops_world_check(w), 0);
}

/* DRBD comes and goes: the data is shared, metadata is made anew where it comes, and later replicas are sent everything. */
static void test_clone_drbd(void **state)
{
        struct ops_world w;
        struct sat_vlm v;
        (void)state;
        ops_world_open(&w);
        make_pair(&w);
        make_source(&w, "single", "{\"type\":\"STORAGE\"}", 1);
        make_source(&w, "apart", "{\"type\":\"STORAGE\"}", 2);
        make_source(&w, "pair", "{\"type\":\"DRBD\"},{\"type\":\"STORAGE\"}", 2);
        clone(&w, "single", "{\"name\":\"more\",\"layer_list\":[\"DRBD\",\"STORAGE\"]}", NULL);
        sagas_end(&w, 3);
        assert_string_equal(told(&w, "more", "n1", &v), "STORAGE");
        assert_true(HAS(&v, sat_vlm, source_id) && HAS(&v, sat_vlm, drbd_minor) && v.drbd_winner);
        assert_false(HAS(&v, sat_vlm, drbd_initialized) && v.drbd_initialized);
        assert_string_equal(strmap_get(&v.props, "DrbdOptions/ForceInitialSync"), "True");
        assert_null(told(&w, "more", "n2", &v));
        sagas_end(&w, 1);
        assert_string_equal(
                told(&w, "more", "n1", &v), ""); /* it is over: a satellite does not begin again */
        post(&w, "/v1/resource-definitions/more/resources/n2",
                "{\"resource\":{\"props\":{\"StorPoolName\":\"thin\"}}}", 201);
        assert_string_equal(told(&w, "more", "n2", &v), "");
        assert_string_equal(strmap_get(&v.props, "DrbdOptions/ForceInitialSync"), "True");
        /* it goes */
        clone(&w, "pair", "{\"name\":\"less\",\"layer_list\":[\"STORAGE\"]}", NULL);
        sagas_end(&w, 3);
        assert_string_equal(told(&w, "less", "n2", &v), "DRBD,STORAGE");
        assert_false(HAS(&v, sat_vlm, drbd_minor));
        assert_null(strmap_get(&v.props, "DrbdOptions/ForceInitialSync"));
        assert_string_equal(told(&w, "less", "n1", &v), "DRBD,STORAGE");
        sagas_end(&w, 1);
        /* the same layers, in other words */
        clone(&w, "pair", "{\"name\":\"same\",\"layer_list\":[\"DRBD\"]}", NULL);
        sagas_end(&w, 3);
        assert_string_equal(told(&w, "same", "n1", &v), "");
        assert_null(strmap_get(&v.props, "DrbdOptions/ForceInitialSync"));
        (void)ops_world_call(&w, "GET", "/v1/resource-definitions/same", "");
        assert_non_null(memmem(
                w.body.p, w.body.n, "QuorumSetBy\":\"linstor", 21)); /* decided anew, not as a user's */
        sagas_end(&w, 1);
        /* refused: data of several nodes, data that would be cut off, layers between */
        clone(&w, "apart", "{\"name\":\"no\",\"layer_list\":[\"DRBD\",\"STORAGE\"]}", "it is on 2 nodes");
        clone(&w, "single",
                "{\"name\":\"no\",\"layer_list\":[\"DRBD\",\"STORAGE\"],\"override_props\":{\"DrbdOptions/"
                "ExactSize\":\"true\"}}",
                "ExactSize");
        clone(&w, "pair", "{\"name\":\"no\",\"layer_list\":[\"DRBD\",\"NVME\",\"STORAGE\"]}",
                "with the layer NVME");
        (void)ops_world_call(&w, "GET", "/v1/resource-definitions/no", "");
        assert_int_equal(w.status, 404); /* what is refused has made nothing */
        ops_world_close(&w);
}

/* Is the node sent a key for volume 0 of the resource? *ret: it, and how many of before. */
static bool key_sent(
        struct ops_world *w, const char *rsc, const char *node, uint8_t ret[256], uint32_t *ret_olds)
{
        struct sat_wanted full;
        struct sat_keys keys;
        bool found = false;
        struct tx *tx = kv_mem_read(w->wanted);
        const struct sat_wanted_args args = { .node_name = node, .revision = 1, .term = 1 };
        assert_int_equal(sat_wanted_full(tx, &args, &w->arena, &full), 0);
        assert_int_equal(sat_keys_build(tx, &full, &w->arena, &keys), 0);
        kv_mem_end(tx);
        for (uint32_t i = 0; i < keys.keys_n; i++) {
                if (strcmp(keys.keys[i].rsc_name, rsc) != 0) continue;
                found = true;
                assert_true(keys.keys[i].key.n <= 256);
                memset(ret, 0, 256);
                memcpy(ret, keys.keys[i].key.p, keys.keys[i].key.n);
                *ret_olds = keys.keys[i].olds_n;
        }
        sat_keys_wipe(&keys);
        return found;
}

/* Encryption comes and goes: the clone is a copy. Who decrypts has the source's key until that is done; who encrypts has one of its own. */
static void test_clone_luks(void **state)
{
        struct ops_world w;
        struct sat_vlm v;
        uint8_t sealed[256], src[256], sent[256];
        uint32_t olds;
        (void)state;
        ops_world_open(&w);
        make_encrypted(&w);
        assert_true(ops_world_observe(&w, "WORK", "", ""));
        assert_true(key_sent(&w, "src", "n1", src, &olds));
        clone(&w, "src", "{\"name\":\"bare\",\"layer_list\":[\"STORAGE\"]}", NULL);
        sagas_end(&w, 3);
        assert_string_equal(told(&w, "bare", "n1", &v), "LUKS,STORAGE");
        assert_true(key_sent(&w, "bare", "n1", sent, &olds));
        assert_memory_equal(src, sent, sizeof src);
        sagas_end(&w, 1);
        assert_string_equal(told(&w, "bare", "n1", &v), "");
        assert_false(key_sent(&w, "bare", "n1", sent, &olds));
        assert_int_equal(key_of(&w, "bare", sealed), 0);
        assert_true(ops_world_observe(&w, "RSC", "bare/n1", "created"));
        /* back again: a key of its own, not the first one's */
        clone(&w, "bare", "{\"name\":\"safe\",\"layer_list\":[\"LUKS\",\"STORAGE\"]}", NULL);
        sagas_end(&w, 3);
        assert_string_equal(told(&w, "safe", "n1", &v), "STORAGE");
        assert_true(key_sent(&w, "safe", "n1", sent, &olds));
        assert_memory_not_equal(src, sent, sizeof src);
        assert_int_equal(olds, 0);
        sagas_end(&w, 1);
        assert_true(key_sent(&w, "safe", "n1", sent, &olds));
        assert_true(ops_world_observe(&w, "RSC", "safe/n1", "created"));
        clone(&w, "bare",
                "{\"name\":\"named\",\"layer_list\":[\"LUKS\",\"STORAGE\"],\"volume_passphrases\":[\"own "
                "words\"]}",
                NULL);
        sagas_end(&w, 3);
        assert_true(key_sent(&w, "named", "n1", sent, &olds));
        assert_string_equal((char *)sent, "own words");
        sagas_end(&w, 1);
        /* one that fails does not keep the key either */
        clone(&w, "src", "{\"name\":\"lost\",\"layer_list\":[\"STORAGE\"]}", NULL);
        sagas_end(&w, 3);
        assert_true(key_sent(&w, "lost", "n1", sent, &olds));
        assert_true(ops_world_observe(&w, "SAGA", "", "fails"));
        assert_int_equal(key_of(&w, "lost", sealed), 0);
        assert_int_equal(ops_world_check(&w), 0);
        ops_world_close(&w);
}

/* With DRBD in both: its metadata is made anew, the replicas begin alike on any storage, and later ones are sent everything. */
static void test_clone_copied_drbd(void **state)
{
        struct ops_world w;
        struct sat_vlm v;
        (void)state;
        ops_world_open(&w);
        make_encrypted(&w);
        static const char *const nodes[] = { "n1", "n2" };
        post(&w, "/v1/nodes",
                "{\"name\":\"n2\",\"type\":\"Satellite\",\"net_interfaces\":[{\"name\":\"default\","
                "\"address\":\"10.0.0.2\"}]}",
                201);
        for (size_t i = 0; i < ARRAY_LEN(nodes); i++) {
                char text[100];
                assert_true(ops_world_observe(&w, "NODE", nodes[i], "STORAGE,LUKS,DRBD"));
                snprintf(text, sizeof text, "/v1/nodes/%s/storage-pools", nodes[i]);
                post(&w, text,
                        "{\"storage_pool_name\":\"file\",\"provider_kind\":\"FILE\",\"props\":{\"StorDriver/"
                        "FileDir\":\"/f\"}}",
                        201);
                snprintf(text, sizeof text, "%s/file", nodes[i]);
                assert_true(ops_world_observe(&w, "POOL", text, "1000000/1000000"));
        }
        post(&w, "/v1/resource-definitions",
                "{\"resource_definition\":{\"name\":\"pair\",\"layer_data\":[{\"type\":\"DRBD\"},{\"type\":"
                "\"STORAGE\"}]}}",
                201);
        post(&w, "/v1/resource-definitions/pair/volume-definitions",
                "{\"volume_definition\":{\"size_kib\":10240}}", 200);
        for (size_t i = 0; i < ARRAY_LEN(nodes); i++) {
                char text[100];
                snprintf(text, sizeof text, "/v1/resource-definitions/pair/resources/%s", nodes[i]);
                post(&w, text, "{\"resource\":{\"props\":{\"StorPoolName\":\"file\"}}}", 201);
        }
        assert_true(ops_world_observe(&w, "WORK", "", ""));
        assert_true(ops_world_observe(&w, "SYNC", "", ""));
        assert_string_equal(told(&w, "pair", "n1", &v), "");
        assert_false(HAS(&v, sat_vlm, drbd_zeroed) && v.drbd_zeroed); /* thick files */
        clone(&w, "pair", "{\"name\":\"safe\",\"layer_list\":[\"DRBD\",\"LUKS\",\"STORAGE\"]}", NULL);
        sagas_end(&w, 3);
        for (size_t i = 0; i < ARRAY_LEN(nodes); i++) {
                assert_string_equal(told(&w, "safe", nodes[i], &v), "DRBD,STORAGE");
                assert_true(v.drbd_zeroed);
                assert_string_equal(strmap_get(&v.props, "DrbdOptions/ForceInitialSync"), "True");
        }
        sagas_end(&w, 1);
        assert_int_equal(ops_world_check(&w), 0);
        ops_world_close(&w);
}

/* ---- clocks ---- */

static uint64_t disk_pools(struct ops_world *w)
{
        struct tx *tx = kv_mem_read(w->wanted);
        uint64_t n = row_count(tx, &disk_pool_type, &(struct disk_pool){ 0 }, 0);
        kv_mem_end(tx);
        return n;
}

/* A pool that could not be made is remembered for a minute of the leader's own clock, whatever is done to the other one. */
static void test_failed_disk_pool(void **state)
{
        struct ops_world w;
        (void)state;
        ops_world_open(&w);
        post(&w, "/v1/nodes",
                "{\"name\":\"n1\",\"type\":\"Satellite\",\"net_interfaces\":[{\"name\":\"default\","
                "\"address\":\"10.0.0.1\"}]}",
                201);
        assert_true(ops_world_observe(&w, "NODE", "n1", "STORAGE"));
        post(&w, "/v1/physical-storage/n1",
                "{\"provider_kind\":\"LVM\",\"device_paths\":[\"/dev/sdb\"],\"pool_name\":\"vg\"}", 201);
        assert_true(ops_world_observe(&w, "MADE", "n1", "FAILED"));
        assert_true(ops_world_observe(&w, "TEND", "", "twice"));
        assert_true(ops_world_observe(&w, "JUMP", "", "86400"));
        assert_true(ops_world_observe(&w, "TEND", "", "twice"));
        assert_int_equal(disk_pools(&w), 1);
        assert_true(ops_world_observe(&w, "JUMP", "", "-90000"));
        assert_true(ops_world_observe(&w, "LATER", "", "59"));
        assert_true(ops_world_observe(&w, "TEND", "", "twice"));
        assert_int_equal(disk_pools(&w), 1);
        assert_true(ops_world_observe(&w, "LATER", "", "2"));
        assert_true(ops_world_observe(&w, "TEND", "", "twice"));
        assert_int_equal(disk_pools(&w), 0);
        ops_world_close(&w);
}

/* ---- the passphrase of one volume ---- */

#define VD0 "/v1/resource-definitions/src/volume-definitions/0"

static unsigned olds_of(struct ops_world *w, const char *rsc, uint64_t *ret_id)
{
        struct arena a = { 0 };
        struct tx *tx = kv_mem_read(w->wanted);
        struct vlm_dfn vd, key = { .rsc_name = rsc, .volume_number = 0 };
        assert_int_equal(row_get(tx, &vlm_dfn_type, &key, &a, &vd), 0);
        unsigned n = HAS(&vd, vlm_dfn, luks_olds) ? vd.luks_olds_n : 0;
        *ret_id = vd.luks_key_id;
        kv_mem_end(tx);
        arena_done(&a);
        return n;
}

/* What the answer has to hold; NULL: anything. */
static void rekey(struct ops_world *w, const char *text, unsigned status, const char *words)
{
        char body[700];
        snprintf(body, sizeof body, "{\"new_passphrase\":\"%s\"}", text);
        (void)ops_world_call(w, "PUT", VD0 "/encryption-passphrase", body);
        if (w->status != status) fail_msg("%u: %.*s", w->status, (int)w->body.n, (char *)w->body.p);
        if (words != NULL) assert_non_null(memmem(w->body.p, w->body.n, words, strlen(words)));
        assert_int_equal(ops_world_check(w), 0);
}

/* A clone with a passphrase of its own: the source's opens it until its header has the new one. */
static void test_clone_passphrase(void **state)
{
        static const char *const path = "/v1/resource-definitions/src/clone";
        struct ops_world w;
        uint8_t src[256], twin[256];
        uint64_t id;
        (void)state;
        ops_world_open(&w);
        make_encrypted(&w);
        assert_true(ops_world_observe(&w, "WORK", "", ""));
        size_t n = key_of(&w, "src", src);
        post(&w, path, "{\"name\":\"twin\",\"volume_passphrases\":[\"a\",\"b\"]}", 500);
        assert_non_null(memmem(w.body.p, w.body.n, "2 passphrases are given for 1", 29));
        post(&w, path, "{\"name\":\"twin\",\"layer_list\":[\"NVME\",\"LUKS\",\"STORAGE\"]}", 500);
        assert_non_null(memmem(w.body.p, w.body.n, "with the layer NVME", 19));
        post(&w, path,
                "{\"name\":\"twin\",\"layer_list\":[\"STORAGE\"],\"volume_passphrases\":[\"own words\"]}",
                500);
        assert_non_null(memmem(w.body.p, w.body.n, "not encrypted", 13));
        (void)ops_world_call(&w, "GET", "/v1/resource-definitions/twin", "");
        assert_int_equal(w.status, 404); /* what is refused has made nothing */
        (void)ops_world_call(&w, "GET", "/v1/resource-definitions/src/snapshots", "");
        assert_null(memmem(w.body.p, w.body.n, "clone-", 6));
        post(&w, path, "{\"name\":\"twin\",\"layer_list\":[\"LUKS\"],\"volume_passphrases\":[\"own words\"]}",
                201);
        sagas_end(&w, 4);
        assert_true(key_of(&w, "twin", twin) != n || memcmp(src, twin, n) != 0);
        assert_int_equal(olds_of(&w, "twin", &id), 1);
        assert_true(id != 0);
        assert_int_equal(olds_of(&w, "src", &id), 0);
        assert_true(ops_world_observe(&w, "WORK", "", ""));
        assert_true(ops_world_observe(&w, "TEND", "", "twice"));
        assert_int_equal(olds_of(&w, "twin", &id), 0);
        /* None is given: as the source's. */
        post(&w, path, "{\"name\":\"same\",\"volume_passphrases\":[\"\"]}", 201);
        sagas_end(&w, 4);
        assert_int_equal(key_of(&w, "same", twin), n);
        assert_memory_equal(src, twin, n);
        assert_int_equal(ops_world_check(&w), 0);
        ops_world_close(&w);
}

static void add_n2(struct ops_world *w)
{
        post(w, "/v1/nodes",
                "{\"name\":\"n2\",\"type\":\"Satellite\",\"net_interfaces\":[{\"name\":\"default\","
                "\"address\":\"10.0.0.2\"}]}",
                201);
        assert_true(ops_world_observe(w, "NODE", "n2", "STORAGE,LUKS"));
        post(w, "/v1/nodes/n2/storage-pools",
                "{\"storage_pool_name\":\"thin\",\"provider_kind\":\"FILE_THIN\",\"props\":{\"StorDriver/"
                "FileDir\":\"/p\"}}",
                201);
        assert_true(ops_world_observe(w, "POOL", "n2/thin", "1000000/1000000"));
        post(w, "/v1/resource-definitions/src/resources/n2",
                "{\"resource\":{\"props\":{\"StorPoolName\":\"thin\"}}}", 201);
        assert_true(ops_world_observe(w, "WORK", "", ""));
}

/* Keys of before stay until every node has said that it has the present one, however many there are by then, and whoever leads. */
static void test_passphrase(void **state)
{
        struct ops_world w;
        uint64_t first, id;
        uint8_t before[256], after[256];
        char longest[600] = { 0 }, text[16];
        (void)state;
        ops_world_open(&w);
        make_encrypted(&w);
        add_n2(&w);
        (void)ops_world_call(&w, "PUT",
                "/v1/resource-definitions/plain/volume-definitions/0/encryption-passphrase",
                "{\"new_passphrase\":\"x\"}");
        assert_true(w.status == 500 && memmem(w.body.p, w.body.n, "is not encrypted", 16) != NULL);
        memset(longest, 'x', 513);
        rekey(&w, "", 500, "1 to 512 bytes");
        rekey(&w, longest, 500, "1 to 512 bytes");
        size_t n = key_of(&w, "src", before);
        rekey(&w, "alpha", 200, "is changed");
        assert_true(key_of(&w, "src", after) != n || memcmp(before, after, n) != 0);
        assert_int_equal(olds_of(&w, "src", &first), 1);
        assert_true(ops_world_observe(&w, "TEND", "", "twice"));
        assert_int_equal(olds_of(&w, "src", &id), 1);
        assert_true(ops_world_observe(&w, "WORK", "", ""));
        assert_true(ops_world_observe(&w, "FORGET", "", "")); /* a new leader has heard of nothing yet */
        assert_true(ops_world_observe(&w, "TEND", "", ""));
        assert_int_equal(olds_of(&w, "src", &id), 1);
        assert_true(ops_world_observe(&w, "WORK", "", ""));
        assert_true(ops_world_observe(&w, "TEND", "", "twice"));
        assert_int_equal(olds_of(&w, "src", &id), 0);
        assert_true(id == first && id != 0);
        rekey(&w, "alpha", 200, "already");
        assert_true(ops_world_observe(&w, "OFFLINE", "n2", ""));
        for (unsigned i = 1; i <= 8; i++) {
                snprintf(text, sizeof text, "beta%u", i);
                rekey(&w, text, 200, "cannot be reached now: its volume keeps the old passphrase");
                assert_true(ops_world_observe(&w, "WORK", "", ""));
                assert_true(ops_world_observe(&w, "TEND", "", ""));
                assert_int_equal(olds_of(&w, "src", &id), i);
        }
        rekey(&w, "gamma", 500, "8 earlier passphrases");
        rekey(&w, "beta3", 200, "is changed"); /* one of before: it is not kept twice */
        assert_int_equal(olds_of(&w, "src", &id), 8);
        assert_true(ops_world_observe(&w, "NODE", "n2", "STORAGE,LUKS"));
        post(&w, "/v1/resource-definitions/src/snapshots", "{\"name\":\"s1\"}", 201);
        rekey(&w, "beta9", 500, "is busy");
        sagas_end(&w, 3);
        assert_true(ops_world_observe(&w, "WORK", "", ""));
        assert_true(ops_world_observe(&w, "TEND", "", "twice"));
        assert_int_equal(olds_of(&w, "src", &id), 0);
        /* Some volumes of then open with older ones: what is made from the snapshot gets those, too. */
        post(&w, "/v1/resource-definitions/src/snapshot-restore-resource/s1", "{\"to_resource\":\"other\"}",
                200);
        assert_int_equal(olds_of(&w, "other", &first), 8);
        assert_int_equal(first, id);
        assert_true(ops_world_observe(&w, "WORK", "", ""));
        assert_true(ops_world_observe(&w, "TEND", "", ""));
        assert_int_equal(olds_of(&w, "other", &id), 0);
        assert_int_equal(ops_world_check(&w), 0);
        ops_world_close(&w);
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_codes), cmocka_unit_test(test_routes),
                cmocka_unit_test(test_routes_unique), cmocka_unit_test(test_cases),
                cmocka_unit_test(test_torn_bodies), cmocka_unit_test(test_untried),
                cmocka_unit_test(test_keys_of_snapshots), cmocka_unit_test(test_failed_disk_pool),
                cmocka_unit_test(test_passphrase), cmocka_unit_test(test_clone_passphrase),
                cmocka_unit_test(test_clone_drbd), cmocka_unit_test(test_clone_luks),
                cmocka_unit_test(test_clone_copied_drbd) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
