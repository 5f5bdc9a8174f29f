/* A busy small cluster: the bytes are the choices of tests/lib/op_gen.h, so that the search is about meetings
 * of sensible requests. The state stays sound after each of them, a refusal changes nothing, and every answer
 * is JSON. */
#include <jansson.h>
#include <string.h>

#include "tests/fuzz/input.h"
#include "tests/lib/op_gen.h"
#include "tests/lib/ops_world.h"

enum { STEPS_MAX = 40 };

static void must(struct ops_world *w, const char *method, const char *path, const char *body)
{
        if (ops_world_observe(w, method, path, body)) return;
        (void)ops_world_call(w, method, path, body);
        if (w->status < 400) return;
        (void)fprintf(stderr, "%s %s %s: %u %s\n", method, path, body, w->status, buf_cstr(&w->body));
        abort();
}

static const char thick[] = "{\"storage_pool_name\":\"pool-a\",\"provider_kind\":\"LVM\","
                            "\"props\":{\"StorDriver/StorPoolName\":\"vg\"}}";
static const char thin[] = "{\"storage_pool_name\":\"pool-a\",\"provider_kind\":\"FILE_THIN\","
                           "\"props\":{\"StorDriver/StorPoolName\":\"/p\"}}";

/* Three nodes with a pool, a group, a resource on two of them, another that is being removed. */
static void seed(struct ops_world *w)
{
        static struct ops_world first;
        if (first.wanted == NULL) {
                static const char *const nodes[] = { "node-a", "node-b", "node-c" };
                ops_world_open(&first);
                for (size_t i = 0; i < ARRAY_LEN(nodes); i++) {
                        char body[200], path[64];
                        (void)snprintf(body, sizeof body,
                                "{\"name\":\"%s\",\"type\":\"Satellite\",\"net_interfaces\":"
                                "[{\"name\":\"default\",\"address\":\"10.0.0.%zu\"}]}",
                                nodes[i], i);
                        must(&first, "POST", "/v1/nodes", body);
                        must(&first, "NODE", nodes[i], i == 2 ? "STORAGE" : "DRBD,STORAGE");
                        (void)snprintf(path, sizeof path, "/v1/nodes/%s/storage-pools", nodes[i]);
                        must(&first, "POST", path, i == 1 ? thick : thin);
                        (void)snprintf(path, sizeof path, "%s/pool-a", nodes[i]);
                        must(&first, "POOL", path, "1000000/2000000");
                }
                must(&first, "PUT", "/v1/resource-groups/DfltRscGrp",
                        "{\"select_filter\":{\"layer_stack\":[\"storage\"]}}");
                must(&first, "POST", "/v1/resource-groups",
                        "{\"name\":\"grp-a\",\"select_filter\":{\"place_count\":2,\"layer_stack\":[\"DRBD\","
                        "\"STORAGE\"]}}");
                must(&first, "POST", "/v1/resource-definitions",
                        "{\"resource_definition\":{\"name\":\"rsc-a\",\"volume_definitions\":[{\"size_kib\":"
                        "4096}]}}");
                must(&first, "POST", "/v1/resource-definitions",
                        "{\"resource_definition\":{\"name\":\"rsc-b\",\"volume_definitions\":[{\"size_kib\":"
                        "4096}]}}");
                must(&first, "POST", "/v1/resource-definitions/rsc-a/resources/node-a",
                        "{\"resource\":{\"props\":{\"StorPoolName\":\"pool-a\"}}}");
                must(&first, "POST", "/v1/resource-definitions/rsc-b/resources/node-c",
                        "{\"resource\":{\"props\":{\"StorPoolName\":\"pool-a\"}}}");
                must(&first, "RSC", "rsc-a/node-a", "in_use");
                must(&first, "DELETE", "/v1/resource-definitions/rsc-b/resources/node-c", "");
                must(&first, "PUT", "/v1/key-value-store/kvs-a", "{\"override_props\":{\"a\":\"b\"}}");
                FUZZ_CHECK(ops_world_check(&first) == 0);
                arena_done(&first.arena);
        }
        *w = (struct ops_world){ .wanted = kv_mem_clone(first.wanted),
                .observed = kv_mem_clone(first.observed),
                .index = first.index,
                .seed = first.seed };
}

static void step(struct ops_world *w, const char *method, const char *path, const char *body)
{
        size_t rows = kv_mem_count(w->wanted);
        uint64_t index = w->index;
        if (ops_world_observe(w, method, path, body)) {
                FUZZ_CHECK(ops_world_check(w) == 0);
                return;
        }
        int err = ops_world_call(w, method, path, body);
        if (err != 0) FUZZ_CHECK(w->status >= 400 && kv_mem_count(w->wanted) == rows && w->index == index);
        if (w->index != index) FUZZ_CHECK(ops_world_check(w) == 0 && w->status < 400);
        if (w->body.n == 0) return;
        json_t *v = json_loadb((const char *)w->body.p, w->body.n, JSON_DECODE_ANY, NULL);
        FUZZ_CHECK(v != NULL);
        json_decref(v);
}

static uint64_t random_of(void *arg) { return input_u8(arg); }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct input in = { data, size };
        struct ops_world w;
        struct op_gen g = { 0 };
        seed(&w);
        for (unsigned i = 0; i < STEPS_MAX && in.n > 0; i++) {
                op_gen_draw(&g, random_of, &in);
                step(&w, g.method, buf_cstr(&g.path), buf_cstr(&g.body));
        }
        op_gen_done(&g);
        ops_world_close(&w);
        return 0;
}
