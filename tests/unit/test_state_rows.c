/* Typed rows, indexes, write-sets, the request table, and the check of the invariants with a planted fault of
 * each kind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "state/check.h"
#include "state/kv_mem.h"
#include "state/request.h"
#include "state/table.h"
#include "state/writeset.h"
#include "wire/def/types.h"

/* A base view and a layer to write to. */
struct bench {
        struct kv_mem *kv;
        struct tx *base;
        struct overlay *o;
        struct tx *tx;
};

static void begin(struct bench *b)
{
        b->base = kv_mem_read(b->kv);
        b->o = overlay_new(b->base);
        b->tx = overlay_tx(b->o);
}

static void drop(struct bench *b)
{
        overlay_free(b->o);
        kv_mem_end(b->base);
}

static struct applied apply(struct bench *b, uint64_t index, struct blob data, enum apply_result want)
{
        struct applied ap;
        enum apply_result got;
        struct tx *w = kv_mem_write(b->kv);
        assert_int_equal(writeset_apply(w, index, 1, data, &got), 0);
        assert_int_equal(got, want);
        assert_int_equal(applied_get(w, &ap), 0);
        assert_int_equal(kv_mem_commit(w), 0);
        return ap;
}

/* Publishes the layer as entry index. */
static void commit(struct bench *b, uint64_t index, uint64_t base_index)
{
        struct buf out = { 0 };
        assert_int_equal(writeset_encode(b->o, base_index, &out), 0);
        drop(b);
        apply(b, index, buf_blob(&out), APPLY_DONE);
        buf_done(&out);
        begin(b);
}

static void print_finding(void *arg, const char *text)
{
        (void)arg;
        print_message("  %s\n", text);
}

enum { TEXT_SIZE = 8192 };
static void keep_finding(void *arg, const char *text)
{
        size_t n = strlen(arg);
        snprintf((char *)arg + n, TEXT_SIZE - n, "%s\n", text);
}

#define PUT(b, T_, ...)                                                 \
        do {                                                            \
                struct T_ o_ = { .has = UINT64_MAX, __VA_ARGS__ };      \
                assert_int_equal(row_put((b)->tx, &T_##_type, &o_), 0); \
        } while (0)

static void put_node(struct bench *b, const char *name)
{
        struct node n = { 0 };
        struct stor_pool p = { 0 };
        SET(&n, node, name, name);
        SET(&n, node, cert_fingerprint, name);
        assert_int_equal(row_put(b->tx, &node_type, &n), 0);
        SET(&p, stor_pool, node_name, name);
        SET(&p, stor_pool, storage_pool_name, "pool");
        SET(&p, stor_pool, provider_kind, provider_kind_LVM);
        assert_int_equal(row_put(b->tx, &stor_pool_type, &p), 0);
}

static void put_rsc(struct bench *b, const char *rd, const char *node, int64_t id, uint64_t port)
{
        struct vlm v = { 0 };
        struct rsc r = { 0 };
        SET(&v, vlm, volume_number, 0);
        SET(&v, vlm, storage_pool_name, "Pool");
        SET(&v, vlm, provider_kind, provider_kind_LVM);
        SET(&v, vlm, size_kib, 1000);
        SET(&r, rsc, rsc_name, rd);
        SET(&r, rsc, node_name, node);
        SET(&r, rsc, drbd_node_id, id);
        SET_N(&r, rsc, volumes, &v, 1);
        SET_N(&r, rsc, drbd_tcp_ports, &port, 1);
        assert_int_equal(row_put(b->tx, &rsc_type, &r), 0);
}

static void put_rd(struct bench *b, const char *name, int64_t minor, const char *external)
{
        struct rsc_dfn d = { 0 };
        struct vlm_dfn v = { 0 };
        SET(&d, rsc_dfn, name, name);
        SET(&d, rsc_dfn, rsc_grp_name, "grp");
        if (external != NULL) SET(&d, rsc_dfn, external_name, external);
        assert_int_equal(row_put(b->tx, &rsc_dfn_type, &d), 0);
        SET(&v, vlm_dfn, rsc_name, name);
        SET(&v, vlm_dfn, volume_number, 0);
        SET(&v, vlm_dfn, drbd_minor, minor);
        assert_int_equal(row_put(b->tx, &vlm_dfn_type, &v), 0);
}

static void put_usage(struct bench *b, const char *node, uint64_t kib, uint64_t volumes)
{
        struct pool_usage u = { 0 };
        SET(&u, pool_usage, node_name, node);
        SET(&u, pool_usage, storage_pool_name, "pool");
        SET(&u, pool_usage, reserved_kib, kib);
        SET(&u, pool_usage, volumes, volumes);
        assert_int_equal(row_put(b->tx, &pool_usage_type, &u), 0);
}

/* Two nodes, two resources, a tombstone, requests: sound. */
static void fill(struct bench *b)
{
        struct stor_pool_dfn spd = { 0 };
        struct rsc_grp g = { 0 };
        struct tombstone t = { 0 };
        struct vlm v = { 0 };
        uint64_t minor = 1009, port = 7009;
        b->kv = kv_mem_new();
        begin(b);
        SET(&spd, stor_pool_dfn, storage_pool_name, "POOL");
        assert_int_equal(row_put(b->tx, &stor_pool_dfn_type, &spd), 0);
        SET(&g, rsc_grp, name, "Grp");
        assert_int_equal(row_put(b->tx, &rsc_grp_type, &g), 0);
        put_node(b, "alpha");
        put_node(b, "Beta");
        put_rd(b, "one", 1000, "first of all");
        put_rd(b, "two", 1001, NULL);
        put_rsc(b, "one", "alpha", 0, 7000);
        put_rsc(b, "one", "beta", 1, 7000);
        put_rsc(b, "two", "ALPHA", 0, 7001);
        SET(&v, vlm, volume_number, 0);
        SET(&v, vlm, storage_pool_name, "pool");
        SET(&v, vlm, provider_kind, provider_kind_LVM);
        SET(&v, vlm, size_kib, 500);
        SET(&t, tombstone, node_name, "beta");
        SET(&t, tombstone, rsc_name, "gone");
        SET(&t, tombstone, uuid, "u-1");
        SET_N(&t, tombstone, volumes, &v, 1);
        SET_N(&t, tombstone, drbd_minors, &minor, 1);
        SET_N(&t, tombstone, drbd_tcp_ports, &port, 1);
        SET(&v, vlm, volume_number, 0);
        put_usage(b, "alpha", 2000, 2);
        put_usage(b, "beta", 1500, 2);
        put_rd(b, "gone", 1009, NULL); /* defined again under its old name */
        assert_int_equal(row_put(b->tx, &tombstone_type, &t), 0);
        for (uint8_t i = 0; i < 5; i++) {
                uint8_t id[REQUEST_ID_SIZE] = { 9, i };
                assert_int_equal(request_record(b->tx, id, 1, BLOB("answer", 6)), 0);
        }
        assert_int_equal(state_check_changes(b->o, print_finding, NULL), 0);
        commit(b, 1, 0);
        assert_int_equal(state_check(b->base, print_finding, NULL), 0);
}

static void done(struct bench *b)
{
        drop(b);
        kv_mem_free(b->kv);
}

/* ---- rows and indexes ---- */

static void test_rows(void **state)
{
        (void)state;
        struct bench b;
        struct arena a = { 0 };
        struct node n;
        fill(&b);
        assert_int_equal(row_get(b.tx, &node_type, &(struct node){ .name = "BETA" }, &a, &n), 0);
        assert_string_equal(n.name, "Beta"); /* as it was written */
        assert_int_equal(row_get(b.tx, &node_type, &(struct node){ .name = "gamma" }, &a, &n), E_NOT_FOUND);
        assert_true(row_exists(b.tx, &rsc_type, &(struct rsc){ .rsc_name = "ONE", .node_name = "Alpha" }));
        assert_int_equal(row_count(b.tx, &rsc_type, NULL, 0), 3);
        assert_int_equal(row_count(b.tx, &rsc_type, &(struct rsc){ .rsc_name = "one" }, 1), 2);
        assert_int_equal(
                row_count(b.tx, &idx_rsc_node_type, &(struct idx_rsc_node){ .node_name = "alpha" }, 1), 2);
        assert_int_equal(row_count(b.tx, &idx_minor_type, &(struct idx_minor){ .minor = 1009 }, 1), 2);
        assert_int_equal(
                row_count(b.tx, &idx_grp_rsc_dfn_type, &(struct idx_grp_rsc_dfn){ .rsc_grp_name = "grp" }, 1),
                3);
        struct idx_external_name x;
        assert_int_equal(row_get(b.tx, &idx_external_name_type,
                                 &(struct idx_external_name){ .external_name = "first of all" }, &a, &x),
                0);
        assert_string_equal(x.rsc_name, "one");
        assert_int_equal(
                row_del(b.tx, &rsc_type, &(struct rsc){ .rsc_name = "one", .node_name = "alpha" }), 0);
        assert_int_equal(row_del(b.tx, &rsc_type, &(struct rsc){ .rsc_name = "one", .node_name = "alpha" }),
                E_NOT_FOUND);
        assert_int_equal(
                row_count(b.tx, &idx_rsc_node_type, &(struct idx_rsc_node){ .node_name = "alpha" }, 1), 1);
        struct request_ring single;
        assert_int_equal(row_get_single(b.tx, &request_ring_type, &a, &single), 0);
        assert_int_equal(single.next, 5);
        assert_int_equal(row_get_single(b.tx, &cluster_type, &a, &(struct cluster){ 0 }), 0);
        arena_done(&a);
        done(&b);
}

/* Deleting and inserting while a scan is open: each row that stays is seen once. */
static void test_scan_with_writes(void **state)
{
        (void)state;
        struct bench b = { .kv = kv_mem_new() };
        struct arena a = { 0 };
        struct row_scan s;
        struct kvs row;
        unsigned seen = 0;
        begin(&b);
        for (unsigned i = 0; i < 50; i++) {
                char name[16];
                snprintf(name, sizeof name, "n%02u", i);
                PUT(&b, kvs, .name = name);
                if (i == 25) commit(&b, 1, 0);
        }
        row_scan_open(&s, b.tx, &kvs_type, NULL, 0);
        while (row_scan_next(&s, &a, &row)) {
                unsigned i = (unsigned)(row.name[1] - '0') * 10 + (unsigned)(row.name[2] - '0');
                assert_int_equal(i, seen * 2);
                char name[16];
                assert_int_equal(row_del(b.tx, &kvs_type, &row), 0);
                snprintf(name, sizeof name, "n%02u", i + 1); /* the next one is never seen */
                assert_int_equal(row_del(b.tx, &kvs_type, &(struct kvs){ .name = name }), 0);
                seen++;
        }
        row_scan_close(&s);
        assert_int_equal(seen, 25);
        assert_int_equal(row_count(b.tx, &kvs_type, NULL, 0), 0);
        arena_done(&a);
        done(&b);
}

static void test_row_errors(void **state)
{
        (void)state;
        struct bench b;
        struct arena a = { 0 };
        struct node n;
        fill(&b);
        overlay_savepoint(b.o);
        struct rsc_dfn d = { 0 };
        SET(&d, rsc_dfn, name, "three");
        SET(&d, rsc_dfn, external_name, "first of all");
        assert_int_equal(row_put(b.tx, &rsc_dfn_type, &d), E_EXISTS); /* a unique index */
        assert_int_equal(b.tx->err, E_EXISTS);
        overlay_rollback(b.o);
        assert_int_equal(overlay_count(b.o), 0);
        char name[600];
        memset(name, 'x', sizeof name - 1);
        name[sizeof name - 1] = '\0';
        assert_int_equal(row_get(b.tx, &node_type, &(struct node){ .name = name }, &a, &n), E_NOT_FOUND);
        assert_int_equal(row_count(b.tx, &node_type, &(struct node){ .name = name }, 1), 0);
        SET(&n, node, name, name);
        n = (struct node){ .has = HAS_BIT(node, name), .name = name };
        assert_int_equal(row_put(b.tx, &node_type, &n), E_TOO_LARGE);
        assert_int_equal(b.tx->err, E_TOO_LARGE);
        drop(&b);
        begin(&b);
        struct vlm v = { 0 }; /* without its number, which is required */
        struct rsc r = { 0 };
        SET(&r, rsc, rsc_name, "two");
        SET(&r, rsc, node_name, "beta");
        SET_N(&r, rsc, volumes, &v, 1);
        assert_int_equal(row_put(b.tx, &rsc_type, &r), E_INVALID);
        assert_int_equal(overlay_count(b.o), 0);
        arena_done(&a);
        done(&b);
}

/* ---- write-sets ---- */

static void test_writeset(void **state)
{
        (void)state;
        struct bench b;
        struct buf out = { 0 }, again = { 0 };
        uint64_t base;
        fill(&b);
        put_node(&b, "gamma");
        assert_int_equal(
                row_del(b.tx, &rsc_type, &(struct rsc){ .rsc_name = "one", .node_name = "alpha" }), 0);
        assert_int_equal(writeset_encode(b.o, 1, &out), 0);
        struct overlay *copy = overlay_new(b.base);
        assert_int_equal(writeset_load(copy, buf_blob(&out), &base), 0);
        assert_int_equal(base, 1);
        assert_int_equal(writeset_encode(copy, 1, &again), 0);
        assert_int_equal(blob_cmp(buf_blob(&out), buf_blob(&again)), 0);
        overlay_free(copy);
        struct applied before, barrier, refused, after;
        assert_int_equal(applied_get(b.base, &before), 0);
        drop(&b);
        barrier = apply(&b, 2, (struct blob){ 0 }, APPLY_DONE); /* a barrier moves the index only */
        assert_int_equal(barrier.index, 2);
        assert_int_equal(barrier.writeset_index, 1);
        assert_memory_equal(barrier.hash, before.hash, 32);
        after = apply(&b, 3, buf_blob(&out), APPLY_DONE);
        assert_int_equal(after.writeset_index, 3);
        assert_memory_not_equal(after.hash, before.hash, 32);
        refused = apply(&b, 4, buf_blob(&out), APPLY_REFUSED); /* evaluated on 1, but 3 came between */
        assert_int_equal(refused.index, 4);
        assert_int_equal(refused.writeset_index, 3);
        assert_memory_equal(refused.hash, after.hash, 32);
        apply(&b, 3, buf_blob(&out), APPLY_DONE); /* a replay */
        begin(&b);
        assert_true(row_exists(b.tx, &node_type, &(struct node){ .name = "gamma" }));
        assert_int_equal(
                row_count(b.tx, &idx_rsc_node_type, &(struct idx_rsc_node){ .node_name = "alpha" }, 1), 1);
        drop(&b);
        buf_done(&out);
        buf_done(&again);
        kv_mem_free(b.kv);
}

/* Whatever is wrong with an entry, nothing of it is applied. */
static void test_writeset_refused(void **state)
{
        (void)state;
        struct bench b;
        struct buf out = { 0 };
        enum apply_result result;
        fill(&b);
        put_node(&b, "gamma");
        assert_int_equal(writeset_encode(b.o, 1, &out), 0);
        for (size_t n = 1; n < out.n; n++) {
                struct tx *w = kv_mem_write(b.kv);
                assert_true(writeset_apply(w, 2, 1, BLOB(out.p, n), &result) < 0);
                kv_mem_end(w);
        }
        struct ws_change ch[2] = { 0 };
        struct writeset ws = { 0 };
        SET(&ws, writeset, version, WRITESET_VERSION + 1);
        SET(&ws, writeset, base_index, 1);
        SET_N(&ws, writeset, changes, ch, 2);
        SET(&ch[0], ws_change, key, BLOB("b", 1));
        SET(&ch[1], ws_change, key, BLOB("a", 1));
        const int want[] = { E_FORMAT, E_CORRUPT, E_CORRUPT };
        for (int i = 0; i < 3; i++) {
                if (i == 1) SET(&ws, writeset, version, WRITESET_VERSION);
                if (i == 2)
                        SET(&ch[0], ws_change, key, BLOB("\0\0a", 3)),
                                SET(&ch[1], ws_change, key, BLOB("zz", 2));
                buf_reset(&out);
                assert_int_equal(enc_msgpack(&writeset_type, &ws, &out), 0);
                struct tx *w = kv_mem_write(b.kv);
                assert_int_equal(writeset_apply(w, 2, 1, buf_blob(&out), &result), want[i]);
                assert_int_equal(writeset_apply(w, 9, 1, buf_blob(&out), &result), E_INVALID);
                kv_mem_end(w);
        }
        buf_done(&out);
        done(&b);
}

/* ---- the request table ---- */

static void test_requests(void **state)
{
        (void)state;
        struct bench b = { .kv = kv_mem_new() };
        struct arena a = { 0 };
        uint64_t index;
        struct blob reply;
        begin(&b);
        for (uint32_t i = 0; i < REQUEST_TABLE_MAX + 10; i++) {
                uint8_t id[REQUEST_ID_SIZE] = { 1, 2, 3, 4, 5, 6, 7, 8 };
                memcpy(id + 12, &i, sizeof i);
                assert_int_equal(request_find(b.tx, id, &index, &reply, &a), E_NOT_FOUND);
                assert_int_equal(request_record(b.tx, id, 100 + i, BLOB(&i, sizeof i)), 0);
                assert_int_equal(request_record(b.tx, id, 7, BLOB("other", 5)), E_EXISTS);
                assert_int_equal(request_find(b.tx, id, &index, &reply, &a), 0);
                assert_int_equal(index, 100 + i);
                assert_int_equal(blob_cmp(reply, BLOB(&i, sizeof i)), 0);
                arena_reset(&a);
        }
        assert_int_equal(row_count(b.tx, &request_row_type, NULL, 0), REQUEST_TABLE_MAX);
        assert_int_equal(row_count(b.tx, &request_slot_type, NULL, 0), REQUEST_TABLE_MAX);
        for (uint32_t i = 0; i < 12; i++) { /* the first ten are forgotten */
                uint8_t id[REQUEST_ID_SIZE] = { 1, 2, 3, 4, 5, 6, 7, 8 };
                memcpy(id + 12, &i, sizeof i);
                assert_int_equal(request_find(b.tx, id, &index, &reply, &a), i < 10 ? E_NOT_FOUND : 0);
        }
        assert_int_equal(state_check(b.tx, print_finding, NULL), 0);
        assert_int_equal(b.tx->err, 0);
        arena_done(&a);
        done(&b);
}

/* ---- planted faults ---- */

static void raw_del(struct bench *b, const struct type_desc *t, const void *obj)
{
        struct buf key = { 0 };
        enc_key(t, obj, &key);
        assert_int_equal(tx_del(b->tx, buf_blob(&key)), 0);
        buf_done(&key);
}

static void raw_put(struct bench *b, const struct type_desc *t, const void *obj)
{
        struct buf key = { 0 }, value = { 0 };
        enc_key(t, obj, &key);
        assert_int_equal(enc_msgpack(t, obj, &value), 0);
        assert_int_equal(tx_put(b->tx, buf_blob(&key), buf_blob(&value)), 0);
        buf_done(&key);
        buf_done(&value);
}

#define ALL .has = UINT64_MAX
static void fault_node_gone(struct bench *b)
{
        (void)row_del(b->tx, &node_type, &(struct node){ .name = "beta" });
}
static void fault_pool_gone(struct bench *b)
{
        (void)row_del(b->tx, &stor_pool_type,
                &(struct stor_pool){ .node_name = "alpha", .storage_pool_name = "pool" });
}
static void fault_group_gone(struct bench *b)
{
        (void)row_del(b->tx, &rsc_grp_type, &(struct rsc_grp){ .name = "grp" });
}
static void fault_volume_gone(struct bench *b)
{
        (void)row_del(b->tx, &vlm_dfn_type, &(struct vlm_dfn){ .rsc_name = "one", .volume_number = 0 });
}
static void fault_dangling(struct bench *b)
{
        PUT(b, rsc_conn, .rsc_name = "one", .node_a = "alpha", .node_b = "nobody", .uuid = "");
}
static void fault_index_lost(struct bench *b)
{
        raw_del(b, &idx_rsc_node_type, &(struct idx_rsc_node){ ALL, .node_name = "beta", .rsc_name = "one" });
}
static void fault_index_extra(struct bench *b)
{
        raw_put(b, &idx_rsc_node_type, &(struct idx_rsc_node){ ALL, .node_name = "beta", .rsc_name = "two" });
}
static void fault_index_value(struct bench *b)
{
        raw_put(b, &idx_external_name_type,
                &(struct idx_external_name){ ALL, .external_name = "first of all", .rsc_name = "two" });
}
static void fault_minor(struct bench *b) { put_rd(b, "two", 1000, NULL); }
static void fault_minor_of_tombstone(struct bench *b) { put_rd(b, "two", 1009, NULL); }
static void fault_minor_twice(struct bench *b)
{
        struct vlm_dfn v = { 0 };
        SET(&v, vlm_dfn, rsc_name, "one");
        SET(&v, vlm_dfn, volume_number, 1);
        SET(&v, vlm_dfn, drbd_minor, 1000);
        assert_int_equal(row_put(b->tx, &vlm_dfn_type, &v), 0);
}
static void fault_port(struct bench *b) { put_rsc(b, "two", "alpha", 0, 7000); }
static void fault_node_id(struct bench *b) { put_rsc(b, "one", "beta", 0, 7000); }
static void fault_sum(struct bench *b) { put_usage(b, "alpha", 1999, 2); }
static void fault_sum_volumes(struct bench *b) { put_usage(b, "alpha", 2000, 1); }
static void fault_sum_lost(struct bench *b)
{
        (void)row_del(b->tx, &pool_usage_type,
                &(struct pool_usage){ .node_name = "beta", .storage_pool_name = "pool" });
}
static void fault_sum_forgotten(struct bench *b)
{
        (void)row_del(b->tx, &rsc_type, &(struct rsc){ .rsc_name = "two", .node_name = "alpha" });
}
static void fault_wrong_key(struct bench *b)
{
        struct buf value = { 0 };
        struct kvs o = { .has = HAS_BIT(kvs, name), .name = "a" };
        static const uint8_t key[] = { 0, 22, 'B', 0 };
        assert_int_equal(enc_msgpack(&kvs_type, &o, &value), 0);
        (void)tx_put(b->tx, BLOB(key, sizeof key), buf_blob(&value));
        buf_done(&value);
}
static void fault_not_canonical(struct bench *b)
{
        /* {1: "a"} with a length of two bytes where one is enough */
        static const uint8_t key[] = { 0, 22, 'A', 0 }, value[] = { 0x81, 0x01, 0xd9, 0x01, 'a' };
        (void)tx_put(b->tx, BLOB(key, sizeof key), BLOB(value, sizeof value));
}
static void fault_garbage(struct bench *b)
{
        static const uint8_t key[] = { 0, 22, 'A', 0 };
        (void)tx_put(b->tx, BLOB(key, sizeof key), BLOB("\xc1", 1));
}
static void fault_unknown_field(struct bench *b)
{
        static const uint8_t key[] = { 0, 22, 'A', 0 }, value[] = { 0x82, 0x01, 0xa1, 'a', 0x3f, 0x01 };
        (void)tx_put(b->tx, BLOB(key, sizeof key), BLOB(value, sizeof value));
}
static void fault_unknown_type(struct bench *b)
{
        static const uint8_t key[] = { 0x7f, 0xff, 'A', 0 };
        (void)tx_put(b->tx, BLOB(key, sizeof key), BLOB("\x80", 1));
}
static void fault_not_stored(struct bench *b)
{
        static const uint8_t key[] = { 1, 44 }; /* 300: an answer, never a row */
        (void)tx_put(b->tx, BLOB(key, sizeof key), BLOB("\x80", 1));
}
static void fault_slot_lost(struct bench *b)
{
        raw_del(b, &request_slot_type, &(struct request_slot){ ALL, .slot = 2 });
}
static void fault_slot_wrong(struct bench *b)
{
        raw_put(b, &request_slot_type, &(struct request_slot){ ALL, .slot = 2, .id_hi = 1, .id_lo = 1 });
}
static void fault_request_lost(struct bench *b)
{
        raw_del(b, &request_row_type, &(struct request_row){ ALL, .id_hi = UINT64_C(0x0902) << 48 });
}

/* Does the incremental check see it as well? Not what shows only in what was not changed. */
static const struct fault {
        const char *name, *text; /* text: in the finding */
        void (*plant)(struct bench *b);
        bool full_only;
} faults[] = {
        { "node gone", "beta", fault_node_gone, false },
        { "pool gone", "stor_pool", fault_pool_gone, false },
        { "group gone", "rsc_grp", fault_group_gone, false },
        { "volume definition gone", "vlm_dfn", fault_volume_gone, false },
        { "dangling reference", "NOBODY", fault_dangling, false },
        { "index row lost", "idx_rsc_node", fault_index_lost, false },
        { "index row extra", "without an object", fault_index_extra, false },
        { "index row of another", "idx_external_name", fault_index_value, false },
        { "minor of another", "minor 1000", fault_minor, false },
        { "minor of a tombstone", "minor 1009", fault_minor_of_tombstone, false },
        { "minor twice", "minor 1000", fault_minor_twice, false },
        { "port of another", "port 7000", fault_port, false },
        { "node id twice", "node id 0", fault_node_id, false },
        { "sum wrong", "pool", fault_sum, false },
        { "sum of volumes wrong", "pool", fault_sum_volumes, false },
        { "sum lost", "pool", fault_sum_lost, false },
        { "sum forgotten", "pool", fault_sum_forgotten, false },
        { "wrong key", "key", fault_wrong_key, false },
        { "not canonical", "canonical", fault_not_canonical, false },
        { "garbage", "decoded", fault_garbage, false },
        { "unknown field", "decoded", fault_unknown_field, false },
        { "unknown type", "unknown", fault_unknown_type, false },
        { "type that is not stored", "unknown", fault_not_stored, false },
        { "slot lost", "slot", fault_slot_lost, false },
        { "slot of another", "slot", fault_slot_wrong, false },
        { "request lost", "request", fault_request_lost, true },
};

static void test_faults(void **state)
{
        (void)state;
        struct bench b;
        fill(&b);
        for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
                const struct fault *f = &faults[i];
                static char text[TEXT_SIZE];
                text[0] = '\0';
                drop(&b);
                begin(&b);
                f->plant(&b);
                int found = state_check(b.tx, keep_finding, text);
                if (found <= 0) fail_msg("%s: not found", f->name);
                if (strcasestr(text, f->text) == NULL) fail_msg("%s: \"%s\"", f->name, text);
                if (!f->full_only && state_check_changes(b.o, NULL, NULL) <= 0)
                        fail_msg("%s: not found by its keys", f->name);
                struct buf out = { 0 };
                assert_int_equal(writeset_encode(b.o, 1, &out), 0);
                if (!f->full_only) assert_true(state_check_writeset(b.tx, buf_blob(&out), NULL, NULL) > 0);
                buf_done(&out);
        }
        done(&b);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_rows),
                cmocka_unit_test(test_scan_with_writes),
                cmocka_unit_test(test_row_errors),
                cmocka_unit_test(test_writeset),
                cmocka_unit_test(test_writeset_refused),
                cmocka_unit_test(test_requests),
                cmocka_unit_test(test_faults),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
