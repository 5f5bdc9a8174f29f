/* Write-sets between overlay and log entry, see writeset.h. */
#include "state/writeset.h"

#include <string.h>

#include "state/writeset_internal.h"
#include "wire/codec/codec.h"
#include "wire/def/types.h"

struct collector {
        struct ws_change *changes;
        uint32_t n;
        bool meta;
};

static void collect(void *arg, struct blob key, struct blob value, bool deleted)
{
        struct collector *c = arg;
        struct ws_change *ch = &c->changes[c->n++];
        if (writeset_key_is_meta(key)) c->meta = true;
        SET(ch, ws_change, key, key);
        if (!deleted) SET(ch, ws_change, value, value);
}

bool writeset_key_is_meta(struct blob key) { return key.n < 2 || memcmp(key.p, STATE_META_PREFIX, 2) == 0; }

int writeset_encode(struct overlay *o, uint64_t base_index, struct buf *out)
{
        struct arena a;
        struct writeset ws = { 0 };
        size_t n = overlay_count(o);
        int err = overlay_tx(o)->err;
        if (err != 0) return err;
        arena_init(&a, n * sizeof(struct ws_change) + 4096);
        struct collector c = { .changes = n != 0 ? arena_array(&a, struct ws_change, n) : NULL };
        if (n > UINT32_MAX || (n != 0 && c.changes == NULL)) {
                err = E_LIMIT;
                goto out;
        }
        overlay_visit(o, collect, &c);
        assert(c.n == n);
        SET(&ws, writeset, version, WRITESET_VERSION);
        SET(&ws, writeset, base_index, base_index);
        SET(&ws, writeset, changes, c.changes);
        ws.changes_n = c.n;
        err = c.meta ? E_INVALID : enc_msgpack(&writeset_type, &ws, out);
        if (err == 0) err = out->err;
out:
        arena_done(&a);
        return err;
}

int writeset_decode(struct blob data, struct arena *a, struct writeset *ret)
{
        struct fail f;
        memset(ret, 0, sizeof *ret);
        /* what a byte of input may cost: a change of 4 bytes becomes a struct and two aligned copies */
        arena_init(a, 64 * data.n + (1 << 16));
        int err = dec_msgpack(&writeset_type, data, DEC_STRICT, a, ret, &f);
        if (err != 0) return err == E_FORMAT || err == -ENOMEM ? err : E_CORRUPT;
        if (ret->version != WRITESET_VERSION) return E_FORMAT;
        for (uint32_t i = 0; i < ret->changes_n; i++) {
                const struct ws_change *c = &ret->changes[i];
                bool ordered = i == 0 || blob_cmp(ret->changes[i - 1].key, c->key) < 0;
                if (!ordered || writeset_key_is_meta(c->key) || c->key.n > TX_KEY_MAX) return E_CORRUPT;
                if (c->value.n > TX_VALUE_MAX) return E_CORRUPT;
        }
        return 0;
}

int writeset_load(struct overlay *o, struct blob data, uint64_t *ret_base_index)
{
        struct arena a;
        struct writeset ws;
        int err = writeset_decode(data, &a, &ws);
        if (err == 0) {
                for (uint32_t i = 0; i < ws.changes_n; i++) {
                        const struct ws_change *c = &ws.changes[i];
                        if (HAS(c, ws_change, value)) overlay_load_put(o, c->key, c->value);
                        else overlay_load_del(o, c->key);
                }
                *ret_base_index = ws.base_index;
                err = overlay_tx(o)->err;
        }
        arena_done(&a);
        return err;
}
