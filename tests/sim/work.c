/* The simulator's own workload: registers with versions. Each write raises the version by one and counts its
 * executions, so that a lost, repeated or stale effect shows in the reply or in the end. Refusals write
 * first, so that a rollback that forgets something shows as well. */
#include <string.h>

#include "tests/sim/sim.h"

enum { WORK_WRITE, WORK_NOOP, WORK_REFUSE };
#define REQUEST_BYTES (2 + 8 + REQUEST_ID_SIZE)

static uint64_t get64(const uint8_t *p)
{
        uint64_t v = 0;
        for (unsigned i = 0; i < 8; i++) v = v << 8 | p[i];
        return v;
}
static void put64(uint8_t *p, uint64_t v)
{
        for (unsigned i = 0; i < 8; i++) p[i] = (uint8_t)(v >> (56 - 8 * i));
}

struct reg_key {
        uint8_t k[4];
};
static struct reg_key reg_key(unsigned key) { return (struct reg_key){ { 0x72, 0, 0, (uint8_t)key } }; }
struct exec_key {
        uint8_t k[2 + REQUEST_ID_SIZE];
};
static struct exec_key exec_key(const uint8_t *id)
{
        struct exec_key k = { { 0x78, 0 } };
        memcpy(k.k + 2, id, REQUEST_ID_SIZE);
        return k;
}

static uint64_t exec_count(struct tx *tx, const uint8_t *id)
{
        struct exec_key k = exec_key(id);
        struct blob v;
        return tx_get(tx, BLOB(k.k, sizeof(k.k)), &v) == 0 && v.n == 8 ? get64(v.p) : 0;
}

static void read_register(struct tx *tx, unsigned key, struct work_reply *ret)
{
        struct reg_key k = reg_key(key);
        struct blob v;

        *ret = (struct work_reply){ 0 };
        if (tx_get(tx, BLOB(k.k, sizeof(k.k)), &v) != 0 || v.n != 16) return;
        ret->version = get64(v.p);
        ret->value = get64(v.p + 8);
}

static void put_reply(struct buf *out, const struct work_reply *r)
{
        buf_put_u8(out, r->refused);
        buf_put_be(out, r->version, 8);
        buf_put_be(out, r->value, 8);
        buf_put_be(out, r->executions, 8);
}

static int evaluate(void *arg, struct tx *tx, struct blob request, uint64_t index, struct buf *ret_reply)
{
        unsigned kind = request.p[0], key = request.p[1];
        struct reg_key rk = reg_key(key);
        struct exec_key ek = exec_key(request.p + 10);
        struct work_reply r;
        uint8_t row[16], count[8];

        read_register(tx, key, &r);
        if (kind != WORK_NOOP) {
                put64(row, r.version + 1);
                put64(row + 8, get64(request.p + 2));
                put64(count, exec_count(tx, request.p + 10) + 1);
                (void)tx_put(tx, BLOB(rk.k, sizeof(rk.k)), BLOB(row, sizeof(row)));
                (void)tx_put(tx, BLOB(ek.k, sizeof(ek.k)), BLOB(count, sizeof(count)));
        }
        if (kind == WORK_WRITE) {
                r.version++;
                r.value = get64(request.p + 2);
                r.executions = get64(count);
        }
        r.refused = kind == WORK_REFUSE;
        put_reply(ret_reply, &r);
        return r.refused ? E_INVALID : 0;
}

static void draw(struct work_op *op, uint64_t (*random)(void *arg), void *arg, struct buf *ret_request)
{
        unsigned k = (unsigned)(random(arg) % 20);

        op->kind = k < 15 ? WORK_WRITE : k < 18 ? WORK_NOOP : WORK_REFUSE;
        op->key = (unsigned)(random(arg) % KEYS_N);
        op->value = random(arg);
        put64(op->id, random(arg));
        put64(op->id + 8, random(arg));
        buf_reset(ret_request);
        buf_put_u8(ret_request, op->kind);
        buf_put_u8(ret_request, op->key);
        buf_put_be(ret_request, op->value, 8);
        buf_put(ret_request, op->id, REQUEST_ID_SIZE);
        if (k == 0) { /* now and then a large one */
                static const uint8_t zero[20000];
                buf_put(ret_request, zero, (size_t)(random(arg) % sizeof(zero)));
        }
}

static bool is_write(const struct work_op *op) { return op->kind == WORK_WRITE; }

static bool decode(struct blob reply, struct work_reply *ret)
{
        if (reply.n != 25) return false;
        *ret = (struct work_reply){ reply.p[0] != 0, get64(reply.p + 1), get64(reply.p + 9),
                get64(reply.p + 17) };
        return true;
}

static uint64_t executions(struct tx *tx, const struct work_op *op) { return exec_count(tx, op->id); }

const struct workload workload_registers = { "registers", evaluate, draw, is_write, decode, read_register,
        executions };
const struct sim_program sim_program = { "sim", &workload_registers, 100, 5, NULL };
