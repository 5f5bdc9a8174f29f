/* Drawing requests from shapes, see op_gen.h. */
#include "tests/lib/op_gen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/op/op.h"
#include "state/check.h"
#include "state/table.h"
#include "wire/def/types.h"

/* $x in a shape is one of the words of x. */
static const struct {
        char letter;
        const char *words[8]; /* NULL-terminated */
} choices[] = {
        { 'n', { "node-a", "node-b", "node-c" } },
        { 'r', { "rsc-a", "rsc-b", "rsc-c" } },
        { 'p', { "pool-a", "pool-a", "pool-b", "DfltDisklessStorPool" } },
        { 'g', { "grp-a", "grp-b", "DfltRscGrp" } },
        { 'k', { "kvs-a", "kvs-b" } },
        { 'v', { "0", "1", "2" } },
        { 's', { "4096", "10000", "65536", "1", "1048576", "4100" } },
        { 'd', { "1", "2", "3", "4" } },
        { 'b', { "true", "false" } },
        { 'f', { "FILE_THIN", "FILE", "LVM", "LVM_THIN", "ZFS" } },
        { 'l', { "[\"STORAGE\"]", "[\"DRBD\",\"STORAGE\"]" } },
        { 'o', { "7000", "7001", "7002", "9000", "70000" } },
        { 'x', { "Aux/a", "Aux/b", "Aux/b/c", "AutoplaceTarget" } },
        { 'y', { "true", "false", "text", "" } },
        { 'F', { "DISKLESS", "DRBD_DISKLESS", "INACTIVE", "TIE_BREAKER" } },
        { 'e', { "my volume", "v/1", "x" } },
};

#define PROPS "{\"override_props\":{\"$x\":\"$y\"},\"delete_props\":[\"$x\"]}"
static const struct {
        unsigned weight;
        const char *method, *path, *body;
} shapes[] = {
        { 16, "POST", "/v1/nodes",
                "{\"name\":\"$n\",\"type\":\"Satellite\",\"net_interfaces\":[{\"name\":\"default\","
                "\"address\":\"10.0.0.$d\"}]}" },
        { 2, "PUT", "/v1/nodes/$n", PROPS },
        { 1, "DELETE", "/v1/nodes/$n", "" },
        { 1, "DELETE", "/v1/nodes/$n/lost", "" },
        { 1, "PUT", "/v1/nodes/$n/evacuate", "{}" },
        { 1, "PUT", "/v1/nodes/$n/evict", "" },
        { 1, "PUT", "/v1/nodes/$n/restore", "{\"delete_resources\":$b}" },
        { 2, "POST", "/v1/nodes/$n/net-interfaces", "{\"name\":\"nic$d\",\"address\":\"10.1.0.$d\"}" },
        { 1, "PUT", "/v1/nodes/$n/net-interfaces/nic$d", "{\"address\":\"10.1.1.$d\",\"is_active\":$b}" },
        { 1, "DELETE", "/v1/nodes/$n/net-interfaces/nic$d", "" },
        { 1, "PUT", "/v1/node-connections/$n/$n", PROPS },
        { 16, "POST", "/v1/nodes/$n/storage-pools",
                "{\"storage_pool_name\":\"$p\",\"provider_kind\":\"$f\",\"props\":{\"StorDriver/"
                "StorPoolName\":\"vg/thin\"}}" },
        { 2, "PUT", "/v1/nodes/$n/storage-pools/$p", PROPS },
        { 1, "DELETE", "/v1/nodes/$n/storage-pools/$p", "" },
        { 1, "POST", "/v1/storage-pool-definitions", "{\"storage_pool_name\":\"$p\"}" },
        { 1, "DELETE", "/v1/storage-pool-definitions/$p", "" },
        { 4, "POST", "/v1/resource-groups",
                "{\"name\":\"$g\",\"select_filter\":{\"place_count\":$d,\"layer_stack\":$l}}" },
        { 2, "PUT", "/v1/resource-groups/$g",
                "{\"select_filter\":{\"place_count\":$d,\"storage_pool_list\":[\"$p\"]}}" },
        { 2, "DELETE", "/v1/resource-groups/$g", "" },
        { 2, "POST", "/v1/resource-groups/$g/volume-groups", "{\"volume_number\":$v}" },
        { 1, "DELETE", "/v1/resource-groups/$g/volume-groups/$v", "" },
        { 6, "POST", "/v1/resource-groups/$g/spawn",
                "{\"resource_definition_name\":\"$r\",\"volume_sizes\":[$s],\"partial\":$b,\"definitions_"
                "only\":$b}" },
        { 3, "POST", "/v1/resource-groups/$g/adjust", "{}" },
        { 12, "POST", "/v1/resource-definitions",
                "{\"resource_definition\":{\"name\":\"$r\",\"resource_group_name\":\"$g\",\"external_name\":"
                "\"$e\"}}" },
        { 4, "POST", "/v1/resource-definitions",
                "{\"drbd_port\":$o,\"resource_definition\":{\"name\":\"$r\"}}" },
        { 3, "PUT", "/v1/resource-definitions/$r", PROPS },
        { 2, "PUT", "/v1/resource-definitions/$r",
                "{\"drbd_port\":$o,\"layer_stack\":$l,\"resource_group\":\"$g\"}" },
        { 2, "DELETE", "/v1/resource-definitions/$r", "" },
        { 12, "POST", "/v1/resource-definitions/$r/volume-definitions",
                "{\"volume_definition\":{\"size_kib\":$s,\"volume_number\":$v},\"drbd_minor_number\":100$"
                "d}" },
        { 4, "POST", "/v1/resource-definitions/$r/volume-definitions",
                "{\"volume_definition\":{\"size_kib\":$s}}" },
        { 4, "PUT", "/v1/resource-definitions/$r/volume-definitions/$v", "{\"size_kib\":$s}" },
        { 3, "DELETE", "/v1/resource-definitions/$r/volume-definitions/$v", "" },
        { 6, "POST", "/v1/resource-definitions/$r/autoplace",
                "{\"select_filter\":{\"place_count\":$d,\"storage_pool\":\"$p\"}}" },
        { 2, "POST", "/v1/resource-definitions/$r/autoplace", "{\"diskless_on_remaining\":$b}" },
        { 24, "POST", "/v1/resource-definitions/$r/resources/$n",
                "{\"resource\":{\"props\":{\"StorPoolName\":\"$p\"}}}" },
        { 3, "POST", "/v1/resource-definitions/$r/resources/$n",
                "{\"resource\":{\"flags\":[\"$F\"]},\"drbd_tcp_ports\":[$o],\"drbd_node_id\":$d,\"layer_"
                "list\":$l}" },
        { 2, "POST", "/v1/resource-definitions/$r/resources",
                "[{\"resource\":{\"node_name\":\"$n\"}},{\"resource\":{\"node_name\":\"$n\",\"props\":{"
                "\"StorPoolName\":\"$p\"}}}]" },
        { 3, "POST", "/v1/resource-definitions/$r/resources/$n/make-available", "{\"diskful\":$b}" },
        { 4, "PUT", "/v1/resource-definitions/$r/resources/$n", PROPS },
        { 6, "DELETE", "/v1/resource-definitions/$r/resources/$n", "" },
        { 4, "PUT", "/v1/resource-definitions/$r/resources/$n/volumes/$v", PROPS },
        { 6, "PUT", "/v1/resource-definitions/$r/resource-connections/$n/$n", PROPS },
        { 4, "PUT", "/v1/key-value-store/$k", PROPS },
        { 1, "DELETE", "/v1/key-value-store/$k", "" },
        { 1, "POST", "/v1/controller/properties", PROPS },
        { 1, "POST", "/internal/error-report",
                "{\"reports\":[{\"filename\":\"r$d\",\"node_name\":\"$n\"}]}" },
        { 8, "CONFIRM", "$n", "" },
};

static const char *choose(char letter, uint64_t r)
{
        for (size_t i = 0; i < ARRAY_LEN(choices); i++) {
                unsigned n = 0;
                if (choices[i].letter != letter) continue;
                while (n < ARRAY_LEN(choices[i].words) && choices[i].words[n] != NULL) n++;
                return choices[i].words[r % n];
        }
        abort();
}

static void expand(struct buf *out, const char *shape, uint64_t (*random)(void *arg), void *arg)
{
        buf_reset(out);
        for (const char *p = shape; *p != '\0'; p++) {
                if (*p == '$') buf_put_str(out, choose(*++p, random(arg)));
                else buf_put_u8(out, (uint8_t)*p);
        }
}

void op_gen_draw(struct op_gen *g, uint64_t (*random)(void *arg), void *arg)
{
        unsigned total = 0;
        size_t i = 0;
        for (size_t k = 0; k < ARRAY_LEN(shapes); k++) total += shapes[k].weight;
        uint64_t at = random(arg) % total;
        while (at >= shapes[i].weight) at -= shapes[i++].weight;
        g->method = shapes[i].method;
        expand(&g->path, shapes[i].path, random, arg);
        expand(&g->body, shapes[i].body, random, arg);
}

void op_gen_done(struct op_gen *g)
{
        buf_done(&g->path);
        buf_done(&g->body);
}

void op_gen_write(const struct op_gen *g, struct buf *out)
{
        buf_put_str(out, g->method);
        buf_put_u8(out, 0);
        buf_put(out, g->path.p, g->path.n);
        buf_put_u8(out, 0);
        buf_put(out, g->body.p, g->body.n);
}

bool op_gen_read(struct op_gen *g, struct blob in)
{
        static const char *const methods[] = { "POST", "PUT", "DELETE", "PATCH", "CONFIRM" };
        const uint8_t *a = memchr(in.p, 0, in.n),
                      *b = a != NULL ? memchr(a + 1, 0, in.n - (size_t)(a + 1 - in.p)) : NULL;
        if (b == NULL) return false;
        g->method = NULL;
        for (size_t i = 0; i < ARRAY_LEN(methods); i++)
                if (strcmp(methods[i], (const char *)in.p) == 0) g->method = methods[i];
        buf_reset(&g->path);
        buf_reset(&g->body);
        buf_put(&g->path, a + 1, (size_t)(b - a - 1));
        buf_put(&g->body, b + 1, in.n - (size_t)(b + 1 - in.p));
        return g->method != NULL;
}

/* ---- carrying out ---- */

static void confirm_body(struct tx *tx, const char *node, struct buf *out)
{
        struct tombstone key = { .node_name = node }, t;
        struct row_scan s;
        struct arena a = { 0 };
        unsigned n = 0;
        buf_printf(out, "{\"node_name\":\"%s\",\"uuids\":[", node);
        row_scan_open(&s, tx, &tombstone_type, &key, 1);
        while (row_scan_next(&s, &a, &t)) buf_printf(out, "%s\"%s\"", n++ != 0 ? "," : "", t.uuid);
        row_scan_close(&s);
        buf_put_str(out, "]}");
        arena_done(&a);
}

void op_gen_encode(const struct op_gen *g, struct tx *tx, uint64_t seed, struct buf *out)
{
        struct request r = { 0 };
        struct buf body = { 0 }, path = { 0 };
        buf_put(&path, g->path.p, g->path.n);
        bool confirm = strcmp(g->method, "CONFIRM") == 0;
        if (confirm) confirm_body(tx, buf_cstr(&path), &body);
        SET(&r, request, method, confirm ? "POST" : g->method);
        SET(&r, request, path, confirm ? "/internal/satellite-confirm" : buf_cstr(&path));
        SET(&r, request, query, "");
        SET(&r, request, body, confirm ? buf_blob(&body) : buf_blob(&g->body));
        SET(&r, request, wall_ms, 1700000000000);
        SET(&r, request, seed, seed);
        if (enc_msgpack(&request_type, &r, out) != 0) abort();
        buf_done(&body);
        buf_done(&path);
}

static void print(void *arg, const char *text)
{
        (void)arg;
        (void)fprintf(stderr, "state: %s\n", text);
}

/* What has a name keeps its uuid as long as it exists: whoever makes a second one of that name replaces the first. */
struct identity {
        struct tx *before;
        struct arena a;
        int changed_n;
};
#define UUIDS_OF(type, key, was, is, x)                                                    \
        do {                                                                               \
                struct type old_, new_;                                                    \
                if (row_type_id(key) != type##_type.id) break;                             \
                if (row_decode(&type##_type, key, was, &(x)->a, &old_, NULL) < 0) abort(); \
                if (row_decode(&type##_type, key, is, &(x)->a, &new_, NULL) < 0) abort();  \
                if (strcmp(old_.uuid, new_.uuid) == 0) break;                              \
                (void)fprintf(stderr, "state: a %s was replaced by another one\n", #type); \
                (x)->changed_n++;                                                          \
        } while (0)
static void keeps_uuid(void *arg, struct blob key, struct blob value, bool deleted)
{
        struct identity *x = arg;
        struct blob was;
        if (deleted || tx_get(x->before, key, &was) != 0) return;
        UUIDS_OF(node, key, was, value, x);
        UUIDS_OF(stor_pool, key, was, value, x);
        UUIDS_OF(rsc_grp, key, was, value, x);
        UUIDS_OF(rsc_dfn, key, was, value, x);
        UUIDS_OF(rsc, key, was, value, x);
}

static void hand_on(void *arg, struct blob key, struct blob value, bool deleted)
{
        if (deleted) (void)tx_del(arg, key);
        else (void)tx_put(arg, key, value);
}

int op_gen_run(const struct op_gen *g, struct tx *tx, uint64_t seed, uint64_t index, int *ret_findings)
{
        struct buf request = { 0 }, reply = { 0 };
        struct overlay *o = overlay_new(tx);
        struct reply r = { 0 };
        struct arena a = { 0 };
        op_gen_encode(g, tx, seed, &request);
        int err = op_evaluate(NULL, overlay_tx(o), buf_blob(&request), index, &reply);
        *ret_findings = err == 0 ? state_check_changes(o, print, NULL) : 0;
        struct identity x = { .before = tx };
        if (err == 0) overlay_visit(o, keeps_uuid, &x);
        *ret_findings += x.changed_n;
        arena_done(&x.a);
        if (dec_msgpack(&reply_type, buf_blob(&reply), DEC_STRICT, &a, &r, NULL) != 0) abort();
        if ((err != 0) != (r.status >= 400)) *ret_findings = 1; /* the answer and the effect disagree */
        overlay_visit(o, hand_on, tx);
        overlay_free(o);
        arena_done(&a);
        buf_done(&request);
        buf_done(&reply);
        return err;
}

int op_gen_check(struct tx *tx) { return state_check(tx, print, NULL); }

uint64_t op_gen_number(struct tx *tx, const char *instance, const char *key)
{
        struct kvs row = { .name = instance };
        struct arena a = { 0 };
        uint64_t v = 0;
        if (row_get(tx, &kvs_type, &row, &a, &row) == 0) {
                const char *text = strmap_get(&row.props, key);
                v = text != NULL ? strtoull(text, NULL, 10) : 0;
        }
        arena_done(&a);
        return v;
}
