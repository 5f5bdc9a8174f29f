/* Feature levels, see level.h. */
#include "state/level.h"

#include "state/table.h"
#include "wire/def/types.h"

enum { ROW_ARENA = 64 << 10 };

unsigned state_level(struct tx *tx, int *ret_err)
{
        struct cluster c = { 0 };
        struct buf key = { 0 };
        struct blob value;
        struct arena a;
        struct fail f;
        unsigned level = LEVEL_FIRST;
        arena_init(&a, ROW_ARENA);
        enc_key_prefix(&cluster_type, &c, 0, &key);
        int err = key.err != 0 ? key.err : tx_get(tx, buf_blob(&key), &value);
        /* tolerant: a release that is too old for this state must still be able to say so */
        if (err == 0) err = dec_msgpack(&cluster_type, value, DEC_TOLERANT, &a, &c, &f);
        if (err == 0 && HAS(&c, cluster, feature_level) && c.feature_level > level)
                level = (unsigned)MIN(c.feature_level, UINT16_MAX);
        buf_done(&key);
        arena_done(&a);
        if (ret_err != NULL) *ret_err = err == E_NOT_FOUND ? 0 : err;
        return level;
}

/* Index rows of every object of type t, as of the level that the state has by now. */
static int index_all(struct tx *tx, const struct type_desc *t, unsigned from, unsigned to)
{
        struct row_scan s;
        struct arena a = { 0 };
        row_scan_open(&s, tx, t, NULL, 0);
        for (;;) {
                arena_reset(&a);
                void *obj = arena_alloc(&a, t->size);
                if (!row_scan_next(&s, &a, obj)) break;
                if (index_catch_up(tx, t, obj, from, to, &a) != 0) break;
        }
        row_scan_close(&s);
        arena_done(&a);
        return tx->err;
}

int state_level_raise(struct tx *tx, unsigned to)
{
        struct cluster c;
        struct arena a;
        unsigned from = state_level(tx, NULL);
        if (to <= from || to > UINT8_MAX) return E_INVALID;
        arena_init(&a, ROW_ARENA);
        int err = row_get_single(tx, &cluster_type, &a, &c);
        if (err == 0) {
                SET(&c, cluster, feature_level, to);
                err = row_put(tx, &cluster_type, &c);
        }
        for (uint32_t i = 0; i < types_n && err == 0; i++)
                if (index_is_new(types_all[i], from, to)) err = index_all(tx, types_all[i], from, to);
        arena_done(&a);
        return err;
}
