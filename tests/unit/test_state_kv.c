/* The ordered stores against a reference model: a flat sorted array, copied whole where a snapshot is wanted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "state/kv_mem.h"
#include "state/overlay.h"

enum { KEYS = 400, STEPS = 6000 };
/* model[i]: the value of key i, 0 = absent */
struct model {
        uint32_t value[KEYS];
};

static uint32_t rng_state;
static uint32_t rnd(uint32_t n)
{
        rng_state ^= rng_state << 13;
        rng_state ^= rng_state >> 17;
        rng_state ^= rng_state << 5;
        return rng_state % n;
}

/* Keys of different lengths, in the order of i: shared prefixes longer than 8 bytes among them. */
static struct blob key_of(uint32_t i, char out[40])
{
        int n = snprintf(out, 40, i % 2 != 0 ? "key%05u-with-a-tail" : "key%05u", i);
        return BLOB(out, (size_t)n);
}

static struct blob value_of(uint32_t v, uint8_t out[64])
{
        memset(out, (int)(v & 0xff), 64);
        memcpy(out, &v, sizeof v);
        return BLOB(out, v % 5 == 0 ? sizeof v : sizeof v + v % 59);
}

static void check_same(struct tx *tx, const struct model *m)
{
        char kb[40];
        uint8_t vb[64];
        struct blob got;
        for (uint32_t i = 0; i < KEYS; i++) {
                int err = tx_get(tx, key_of(i, kb), &got);
                assert_int_equal(err, m->value[i] != 0 ? 0 : E_NOT_FOUND);
                if (err == 0) assert_int_equal(blob_cmp(got, value_of(m->value[i], vb)), 0);
        }
        uint32_t from = rnd(KEYS), i = from;
        struct tx_cursor c;
        int err = tx_seek(tx, &c, key_of(from, kb));
        for (; i < KEYS; i++) {
                if (m->value[i] == 0) continue;
                assert_int_equal(err, 0);
                assert_int_equal(blob_cmp(c.key, key_of(i, kb)), 0);
                assert_int_equal(blob_cmp(c.value, value_of(m->value[i], vb)), 0);
                err = tx_next(tx, &c);
        }
        assert_int_equal(err, E_NOT_FOUND);
        tx_close(tx, &c);
        assert_int_equal(tx->err, 0);
}

static void random_op(struct tx *tx, struct model *m)
{
        char kb[40];
        uint8_t vb[64];
        uint32_t i = rnd(KEYS), v = rnd(100000) + 1;
        if (rnd(5) < 3) {
                assert_int_equal(tx_put(tx, key_of(i, kb), value_of(v, vb)), 0);
                m->value[i] = v;
        } else {
                assert_int_equal(tx_del(tx, key_of(i, kb)), m->value[i] != 0 ? 0 : E_NOT_FOUND);
                m->value[i] = 0;
        }
}

static size_t model_count(const struct model *m)
{
        size_t n = 0;
        for (uint32_t i = 0; i < KEYS; i++) n += m->value[i] != 0;
        return n;
}

static void test_kv_mem_model(void **state)
{
        (void)state;
        rng_state = 7;
        struct kv_mem *kv = kv_mem_new();
        struct model now = { 0 }, snap[4];
        struct tx *view[4] = { 0 };
        for (int step = 0; step < STEPS / 20; step++) {
                struct model next = now;
                struct tx *tx = kv_mem_write(kv);
                for (uint32_t k = 0; k < 20; k++) random_op(tx, &next);
                if (step % 16 == 0) check_same(tx, &next);
                if (rnd(4) == 0) {
                        kv_mem_end(tx);
                } else {
                        assert_int_equal(kv_mem_commit(tx), 0);
                        now = next;
                }
                uint32_t s = rnd(4);
                if (view[s] != NULL) {
                        check_same(view[s], &snap[s]);
                        kv_mem_end(view[s]);
                }
                view[s] = kv_mem_read(kv);
                snap[s] = now;
                assert_int_equal(kv_mem_count(kv), model_count(&now));
        }
        struct kv_mem *copy = kv_mem_clone(kv);
        kv_mem_clear(kv);
        for (int s = 0; s < 4; s++) {
                if (view[s] == NULL) continue;
                check_same(view[s], &snap[s]);
                kv_mem_end(view[s]);
        }
        struct tx *tx = kv_mem_read(copy);
        check_same(tx, &now);
        assert_int_equal(tx_put(tx, BLOB("a", 1), BLOB("b", 1)), E_INVALID);
        kv_mem_end(tx);
        kv_mem_free(copy);
        kv_mem_free(kv);
}

/* Ascending inserts and removal from the left: the pattern of a ring. */
static void test_kv_mem_ring(void **state)
{
        (void)state;
        struct kv_mem *kv = kv_mem_new();
        for (uint64_t i = 1; i <= 5000; i++) {
                struct tx *tx = kv_mem_write(kv);
                uint64_t be = __builtin_bswap64(i), old = __builtin_bswap64(i - 100);
                assert_int_equal(tx_put(tx, BLOB(&be, 8), BLOB(&i, 8)), 0);
                if (i > 100) assert_int_equal(tx_del(tx, BLOB(&old, 8)), 0);
                assert_int_equal(kv_mem_commit(tx), 0);
        }
        assert_int_equal(kv_mem_count(kv), 100);
        struct tx *tx = kv_mem_read(kv);
        struct tx_cursor c;
        uint64_t n = 0;
        assert_int_equal(tx_seek(tx, &c, BLOB("\0", 1)), 0);
        do {
                uint64_t want = 4901 + n++;
                assert_memory_equal(c.value.p, &want, 8);
        } while (tx_next(tx, &c) == 0);
        tx_close(tx, &c);
        assert_int_equal(n, 100);
        kv_mem_end(tx);
        kv_mem_free(kv);
}

static void apply_change(void *arg, struct blob key, struct blob value, bool deleted)
{
        struct tx *tx = arg;
        if (deleted) (void)tx_del(tx, key);
        else (void)tx_put(tx, key, value);
}

/* Two layers over a store, with savepoints; then the layers are applied to the store and must give the same.
 */
static void test_overlay_model(void **state)
{
        (void)state;
        for (uint32_t seed = 1; seed <= 12; seed++) {
                rng_state = seed * 2654435761u;
                struct kv_mem *kv = kv_mem_new();
                struct model m = { 0 };
                struct tx *w = kv_mem_write(kv);
                for (int i = 0; i < 300; i++) random_op(w, &m);
                assert_int_equal(kv_mem_commit(w), 0);
                struct tx *base = kv_mem_read(kv);
                struct model below = m;
                struct overlay *low = overlay_new(base), *top = overlay_new(overlay_tx(low));
                for (int i = 0; i < 200; i++) random_op(overlay_tx(low), &m);
                check_same(overlay_tx(low), &m);
                struct model middle = m;
                for (int round = 0; round < 60; round++) {
                        struct model saved = m;
                        size_t count = overlay_count(top), bytes = overlay_bytes(top);
                        overlay_savepoint(top);
                        uint32_t n = rnd(30);
                        for (uint32_t i = 0; i < n; i++) random_op(overlay_tx(top), &m);
                        if (rnd(2) == 0) {
                                overlay_rollback(top);
                                m = saved;
                                assert_int_equal(overlay_count(top), count);
                                assert_int_equal(overlay_bytes(top), bytes);
                        } else {
                                overlay_release(top);
                        }
                        for (uint32_t i = rnd(4); i > 0; i--) random_op(overlay_tx(top), &m);
                        if (round % 8 == 0) check_same(overlay_tx(top), &m);
                }
                check_same(overlay_tx(top), &m);
                check_same(overlay_tx(low), &middle);
                check_same(base, &below);
                w = kv_mem_write(kv);
                overlay_visit(low, apply_change, w);
                overlay_visit(top, apply_change, w);
                check_same(w, &m);
                assert_int_equal(kv_mem_commit(w), 0);
                struct tx *newer = kv_mem_read(kv);
                overlay_rebase(top, newer);
                check_same(overlay_tx(top), &m);
                overlay_free(top);
                overlay_free(low);
                kv_mem_end(newer);
                kv_mem_end(base);
                kv_mem_free(kv);
        }
}

static void test_sticky(void **state)
{
        (void)state;
        struct kv_mem *kv = kv_mem_new();
        struct tx *base = kv_mem_read(kv);
        struct overlay *o = overlay_new(base);
        struct tx *tx = overlay_tx(o);
        uint8_t big[TX_KEY_MAX + 1] = { 1 };
        struct blob v;
        assert_int_equal(tx_get(tx, BLOB(big, sizeof big), &v), E_NOT_FOUND);
        assert_int_equal(tx_put(tx, BLOB(big, TX_KEY_MAX), BLOB("x", 1)), 0);
        overlay_savepoint(o);
        assert_int_equal(tx_put(tx, BLOB("k", 1), BLOB("x", 1)), 0);
        assert_int_equal(tx_put(tx, BLOB(big, sizeof big), BLOB("x", 1)), E_TOO_LARGE);
        assert_int_equal(tx_get(tx, BLOB("k", 1), &v), E_TOO_LARGE); /* sticks */
        assert_int_equal(tx_put(tx, BLOB("l", 1), BLOB("x", 1)), E_TOO_LARGE);
        overlay_rollback(o);
        assert_int_equal(tx_get(tx, BLOB("k", 1), &v), E_NOT_FOUND);
        assert_int_equal(overlay_count(o), 1);
        assert_int_equal(tx_put(tx, BLOB("e", 1), (struct blob){ 0 }), 0);
        assert_int_equal(tx_get(tx, BLOB("e", 1), &v), 0);
        assert_int_equal(v.n, 0);
        overlay_free(o);
        kv_mem_end(base);
        kv_mem_free(kv);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_kv_mem_model),
                cmocka_unit_test(test_kv_mem_ring),
                cmocka_unit_test(test_overlay_model),
                cmocka_unit_test(test_sticky),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
