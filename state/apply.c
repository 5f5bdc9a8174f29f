/* Applying committed entries, see writeset.h: the same few lines on every member, so that they cannot
 * diverge. */
#include <sodium.h>
#include <string.h>

#include "state/table.h"
#include "state/writeset_internal.h"
#include "wire/base/sabotage.h"
#include "wire/def/types.h"

/* Row of the applied state: three big-endian numbers and the hash. */
enum { APPLIED_SIZE = 3 * 8 + 32 };
static const uint8_t applied_key[] = { 0, 0, 'a' };

static uint64_t get_be64(const uint8_t *p)
{
        uint64_t v = 0;
        for (int i = 0; i < 8; i++) v = v << 8 | p[i];
        return v;
}

static void put_be64(uint8_t *p, uint64_t v)
{
        for (int i = 0; i < 8; i++) p[i] = (uint8_t)(v >> (56 - 8 * i));
}

int applied_get(struct tx *tx, struct applied *ret)
{
        struct blob row;
        memset(ret, 0, sizeof *ret);
        int err = tx_get(tx, BLOB(applied_key, sizeof applied_key), &row);
        if (err == E_NOT_FOUND) return 0;
        if (err != 0) return err;
        if (row.n != APPLIED_SIZE) return tx_fail(tx, E_CORRUPT);
        ret->index = get_be64(row.p);
        ret->term = get_be64(row.p + 8);
        ret->writeset_index = get_be64(row.p + 16);
        memcpy(ret->hash, row.p + 24, sizeof ret->hash);
        return 0;
}

int applied_put(struct tx *tx, const struct applied *ap)
{
        uint8_t row[APPLIED_SIZE];
        put_be64(row, ap->index);
        put_be64(row + 8, ap->term);
        put_be64(row + 16, ap->writeset_index);
        memcpy(row + 24, ap->hash, sizeof ap->hash);
        return tx_put(tx, BLOB(applied_key, sizeof applied_key), BLOB(row, sizeof row));
}

static void chain(uint8_t hash[32], struct blob data)
{
        crypto_generichash_state st;
        crypto_generichash_init(&st, NULL, 0, 32);
        crypto_generichash_update(&st, hash, SABOTAGE(HASH_NOT_CHAINED) ? 0 : 32);
        crypto_generichash_update(&st, data.p, data.n);
        crypto_generichash_final(&st, hash, 32);
}

static int apply_rows(struct tx *tx, const struct writeset *ws, writeset_keep_fn *keep)
{
        for (uint32_t i = 0; i < ws->changes_n; i++) {
                const struct ws_change *c = &ws->changes[i];
                int err;
                if (SABOTAGE(APPLY_NO_INDEX) && row_type_id(c->key) == idx_port_type.id) continue;
                if (keep != NULL && !keep(c->key)) continue;
                if (HAS(c, ws_change, value)) err = tx_put(tx, c->key, c->value);
                else err = tx_del(tx, c->key);
                if (err != 0 && err != E_NOT_FOUND) return err; /* deleting what is not there is fine */
        }
        return 0;
}

int writeset_apply_some(struct tx *tx, uint64_t index, uint64_t term, struct blob data,
        writeset_keep_fn *keep, enum apply_result *ret_result)
{
        struct applied ap;
        *ret_result = APPLY_DONE;
        int err = applied_get(tx, &ap);
        const bool again = SABOTAGE(APPLY_TWICE) && index <= ap.index;
        if (err != 0 || (index <= ap.index && !again)) return err;
        if (index != ap.index + 1 && !again) return E_INVALID;
        ap.index = index;
        ap.term = term;
        if (data.n > 0) {
                struct arena a;
                struct writeset ws;
                err = writeset_decode(data, &a, &ws);
                if (err == 0 && ws.base_index != ap.writeset_index && !again) {
                        *ret_result = APPLY_REFUSED;
                } else if (err == 0) {
                        err = apply_rows(tx, &ws, keep);
                        ap.writeset_index = index;
                        chain(ap.hash, data);
                }
                arena_done(&a);
        }
        return err != 0 ? err : applied_put(tx, &ap);
}

int writeset_apply(
        struct tx *tx, uint64_t index, uint64_t term, struct blob data, enum apply_result *ret_result)
{
        return writeset_apply_some(tx, index, term, data, NULL, ret_result);
}
