/* The simulator with the controller's own operations: requests as a busy cluster gets them
 * (tests/lib/op_gen.h) between counted writes to the key-value store, which stand for the registers of
 * work.c.
 *
 * Each evaluation's changes are checked against the invariants of the state when they are made; the whole
 * state of every member when a seed ends. sim_ops [--seeds N] [--first S] [--seconds T] [--trace] */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "state/table.h"
#include "tests/lib/op_gen.h"
#include "tests/sim/sim.h"
#include "wire/def/types.h"

enum { WORK_COUNT, WORK_REQUEST };
#define HEAD_BYTES (2 + 8 + REQUEST_ID_SIZE)
#define REPLY_BYTES 25

static uint64_t get64(const uint8_t *p)
{
        uint64_t v = 0;
        for (unsigned i = 0; i < 8; i++) v = v << 8 | p[i];
        return v;
}

/* Instances of the key-value store: one for a register, one for each counted write. */
struct name {
        char s[48];
};
static struct name register_name(unsigned key)
{
        struct name n;
        (void)snprintf(n.s, sizeof n.s, "register-%u", key);
        return n;
}
static struct name write_name(const uint8_t *id)
{
        struct name n;
        (void)snprintf(n.s, sizeof n.s, "write-%016llx%016llx", (unsigned long long)get64(id),
                (unsigned long long)get64(id + 8));
        return n;
}

static void read_register(struct tx *tx, unsigned key, struct work_reply *ret)
{
        struct name n = register_name(key);
        *ret = (struct work_reply){ .version = op_gen_number(tx, n.s, "version"),
                .value = op_gen_number(tx, n.s, "value") };
}

static uint64_t executions(struct tx *tx, const struct work_op *op)
{
        return op_gen_number(tx, write_name(op->id).s, "n");
}

static bool shares(const uint64_t *a, uint32_t n, uint64_t v)
{
        for (uint32_t i = 0; i < n; i++)
                if (a[i] == v) return true;
        return false;
}

/* What a node still holds of a deleted resource is nobody else's: ports, minors, node ids. From the rows themselves,
 * not by their indexes. */
static const char *given_away(struct tx *tx, struct arena *a, const struct tombstone *t)
{
        struct row_scan scan;
        struct rsc r;
        struct vlm_dfn v;
        const char *what = NULL;
        row_scan_open(&scan, tx, &rsc_type, NULL, 0);
        while (row_scan_next(&scan, a, &r)) {
                bool same_node = strcasecmp(r.node_name, t->node_name) == 0;
                bool same_rsc = strcasecmp(r.rsc_name, t->rsc_name) == 0;
                for (uint32_t i = 0; same_node && i < r.drbd_tcp_ports_n; i++)
                        if (shares(t->drbd_tcp_ports, t->drbd_tcp_ports_n, r.drbd_tcp_ports[i]))
                                what = "port";
                if (same_rsc && HAS(&r, rsc, drbd_node_id) && HAS(t, tombstone, drbd_node_id) &&
                        r.drbd_node_id == t->drbd_node_id)
                        what = "node id";
        }
        row_scan_close(&scan);
        row_scan_open(&scan, tx, &vlm_dfn_type, NULL, 0);
        while (row_scan_next(&scan, a, &v))
                if (HAS(&v, vlm_dfn, drbd_minor) && strcasecmp(v.rsc_name, t->rsc_name) != 0 &&
                        shares(t->drbd_minors, t->drbd_minors_n, (uint64_t)v.drbd_minor))
                        what = "minor";
        row_scan_close(&scan);
        return what;
}

static void check_tombstones(struct sim *s, struct tx *tx)
{
        struct arena a = { 0 };
        struct row_scan scan;
        struct tombstone t;
        row_scan_open(&scan, tx, &tombstone_type, NULL, 0);
        while (row_scan_next(&scan, &a, &t)) {
                const char *what = given_away(tx, &a, &t);
                if (what)
                        sim_fail(s, "a %s of the deleted resource %s on %s was given away before it is gone",
                                what, t.rsc_name, t.node_name);
        }
        row_scan_close(&scan);
        arena_done(&a);
}

static int run(struct sim *s, const struct op_gen *g, struct tx *tx, uint64_t seed, uint64_t index)
{
        int found = 0, err = op_gen_run(g, tx, seed, index, &found);
        if (found != 0)
                sim_fail(s, "an operation broke the state: %s %.*s %.*s", g->method, (int)g->path.n,
                        (const char *)g->path.p, (int)g->body.n, (const char *)g->body.p);
        if (err == 0) check_tombstones(s, tx);
        s->operations_n++;
        s->operations_refused_n += err != 0;
        return err;
}

static int put_number(struct sim *s, struct tx *tx, const char *instance, uint64_t index, const char *fmt,
        uint64_t a, uint64_t b)
{
        struct op_gen g = { .method = "PUT" };
        buf_printf(&g.path, "/v1/key-value-store/%s", instance);
        if (strcmp(fmt, "n") == 0)
                buf_printf(&g.body, "{\"override_props\":{\"n\":\"%llu\"}}", (unsigned long long)a);
        else
                buf_printf(&g.body, "{\"override_props\":{\"version\":\"%llu\",\"value\":\"%llu\"}}",
                        (unsigned long long)a, (unsigned long long)b);
        int err = run(s, &g, tx, a, index);
        op_gen_done(&g);
        return err;
}

static int evaluate(void *arg, struct tx *tx, struct blob request, uint64_t index, struct buf *ret_reply)
{
        unsigned kind = request.p[0], key = request.p[1];
        uint64_t value = get64(request.p + 2);
        const uint8_t *id = request.p + 10;
        struct work_reply r;
        struct sim *s = ((struct sim_node *)arg)->sim;
        int err;
        read_register(tx, key, &r);
        if (kind == WORK_COUNT) {
                struct name n = write_name(id);
                r.executions = op_gen_number(tx, n.s, "n") + 1;
                r.version++;
                r.value = value;
                err = put_number(s, tx, n.s, index, "n", r.executions, 0);
                if (err == 0)
                        err = put_number(s, tx, register_name(key).s, index, "register", r.version, value);
        } else {
                struct op_gen g = { 0 };
                err = op_gen_read(&g, BLOB(request.p + HEAD_BYTES, request.n - HEAD_BYTES))
                              ? run(s, &g, tx, value, index)
                              : E_INVALID;
                op_gen_done(&g);
        }
        buf_put_u8(ret_reply, err != 0);
        buf_put_be(ret_reply, r.version, 8);
        buf_put_be(ret_reply, r.value, 8);
        buf_put_be(ret_reply, r.executions, 8);
        return err;
}

static void draw(struct work_op *op, uint64_t (*random)(void *arg), void *arg, struct buf *ret_request)
{
        op->kind = random(arg) % 4 == 0 ? WORK_COUNT : WORK_REQUEST;
        op->key = (unsigned)(random(arg) % KEYS_N);
        op->value = random(arg) >> 1;
        for (unsigned i = 0; i < REQUEST_ID_SIZE; i++) op->id[i] = (uint8_t)random(arg);
        buf_reset(ret_request);
        buf_put_u8(ret_request, op->kind);
        buf_put_u8(ret_request, op->key);
        buf_put_be(ret_request, op->value, 8);
        buf_put(ret_request, op->id, REQUEST_ID_SIZE);
        if (op->kind == WORK_REQUEST) {
                struct op_gen g = { 0 };
                op_gen_draw(&g, random, arg);
                op_gen_write(&g, ret_request);
                op_gen_done(&g);
        }
}

static bool is_write(const struct work_op *op) { return op->kind == WORK_COUNT; }

static bool decode(struct blob reply, struct work_reply *ret)
{
        if (reply.n != REPLY_BYTES) return false;
        *ret = (struct work_reply){ reply.p[0] != 0, get64(reply.p + 1), get64(reply.p + 9),
                get64(reply.p + 17) };
        return true;
}

static const struct workload workload_ops = { "ops", evaluate, draw, is_write, decode, read_register,
        executions };

/* The whole state of every member that runs. */
static void check_members(struct sim *s)
{
        for (unsigned i = 0; i < s->nodes_n; i++) {
                struct store *store = store_mem_store(s->nodes[i].store);
                struct tx *tx;
                int n;
                if (!s->nodes[i].up || store->ops->read_begin(store, &tx) < 0) continue;
                n = op_gen_check(tx);
                store->ops->read_end(store, tx);
                if (n != 0)
                        sim_fail(s, "the state of node %llu has %d faults",
                                (unsigned long long)s->nodes[i].id, n);
        }
}

const struct sim_program sim_program = { "sim_ops", &workload_ops, 300, 2, check_members };
