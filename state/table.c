/* Typed rows, see table.h. */
#include "state/table.h"

#include <string.h>

#include "state/level.h"

static int key_of(const struct type_desc *t, const void *key_obj, struct buf *out)
{
        enc_key(t, key_obj, out);
        return out->err;
}

int row_decode(const struct type_desc *t, struct blob key, struct blob value, struct arena *a, void *ret_obj,
        struct fail *f)
{
        memset(ret_obj, 0, t->size);
        int err = dec_msgpack(t, value, DEC_STRICT, a, ret_obj, f);
        if (err == E_FORMAT) return err;
        if (err == E_LIMIT || err == E_TOO_LARGE || err == -ENOMEM)
                return fail_set(f, E_LIMIT, "out of row memory");
        if (err != 0) return E_CORRUPT;
        struct buf own = { 0 };
        bool same = key_of(t, ret_obj, &own) == 0 && blob_cmp(buf_blob(&own), key) == 0;
        buf_done(&own);
        return same ? 0 : fail_set(f, E_CORRUPT, "%s: row under another row's key", t->name);
}

static int decode_sticky(struct tx *tx, const struct type_desc *t, struct blob key, struct blob value,
        struct arena *a, void *ret)
{
        struct fail f;
        return tx_fail(tx, row_decode(t, key, value, a, ret, &f));
}

int row_get(struct tx *tx, const struct type_desc *t, const void *key_obj, struct arena *a, void *ret_obj)
{
        struct buf key = { 0 };
        struct blob value;
        int err = tx->err != 0 ? tx->err : key_of(t, key_obj, &key);
        if (err == 0) err = tx_get(tx, buf_blob(&key), &value);
        if (err == 0) err = decode_sticky(tx, t, buf_blob(&key), value, a, ret_obj);
        buf_done(&key);
        return err;
}

bool row_exists(struct tx *tx, const struct type_desc *t, const void *key_obj)
{
        struct buf key = { 0 };
        struct blob value;
        bool there = key_of(t, key_obj, &key) == 0 && tx_get(tx, buf_blob(&key), &value) == 0;
        buf_done(&key);
        return there;
}

/* Index rows follow the change from what is stored under key to obj (NULL: deleted). */
static int follow(struct tx *tx, const struct type_desc *t, struct blob key, const void *obj)
{
        struct arena a = { 0 };
        struct blob value;
        void *old = NULL;
        int err = tx_get(tx, key, &value);
        if (err == 0) {
                old = arena_alloc(&a, t->size);
                err = decode_sticky(tx, t, key, value, &a, old);
        } else if (err == E_NOT_FOUND) {
                err = 0;
        }
        if (err == 0) err = index_update(tx, t, old, obj, &a);
        arena_done(&a);
        return err;
}

/* Are the key fields that are set marked as present too? Else the row would lie under another row's key. */
static bool key_is_marked(const struct type_desc *t, const void *obj)
{
        static const char zero[16];
        uint64_t has;
        memcpy(&has, obj, sizeof has);
        for (unsigned i = 0; i < t->n_fields; i++) {
                const struct field_desc *f = &t->fields[i];
                size_t size = f->kind == FK_BOOL   ? sizeof(bool)
                              : f->kind == FK_ENUM ? sizeof(unsigned)
                              : f->kind == FK_STR  ? sizeof(char *)
                                                   : sizeof(uint64_t);
                if (!(f->flags & FF_KEY) || (has >> i & 1) != 0) continue;
                if (memcmp((const char *)obj + f->off, zero, size) != 0) return false;
        }
        return true;
}

/* A row that could not be read again (a required field is missing) must not be stored: it would fail on every
 * member, for ever. */
static int proof_read(const struct type_desc *t, struct blob key, struct blob value)
{
        struct arena a = { 0 };
        struct fail f;
        int err = row_decode(t, key, value, &a, arena_alloc(&a, t->size), &f);
        arena_done(&a);
        return err != 0 ? E_INVALID : 0;
}

/* The row's bytes. What came after the level of the state is left out: members of the release before could not
 * read it. */
static int encode(struct tx *tx, const struct type_desc *t, const void *obj, struct buf *out)
{
        unsigned need = obj_level(t, obj);
        if (need == LEVEL_FIRST || t->id > STORED_ID_MAX) return enc_msgpack(t, obj, out);
        int err;
        unsigned level = state_level(tx, &err);
        if (err != 0 || need <= level) return err != 0 ? err : enc_msgpack(t, obj, out);
        struct arena a = { 0 };
        const char *name;
        void *copy = arena_alloc(&a, t->size);
        err = obj_copy(t, obj, &a, copy);
        if (err == 0) err = obj_strip(t, copy, level, &name);
        if (err == 0) err = enc_msgpack(t, copy, out);
        arena_done(&a);
        return err;
}

int row_put(struct tx *tx, const struct type_desc *t, const void *obj)
{
        struct buf key = { 0 }, value = { 0 };
        int err = tx->err != 0 ? tx->err : key_of(t, obj, &key);
        if (err == 0) err = encode(tx, t, obj, &value);
        if (err == 0) err = value.err;
        if (err == 0 && key.n > TX_KEY_MAX) err = E_TOO_LARGE;
        if (err == 0 && !key_is_marked(t, obj)) err = E_INVALID;
        if (err == 0) err = proof_read(t, buf_blob(&key), buf_blob(&value));
        if (err == 0 && index_has(t)) err = follow(tx, t, buf_blob(&key), obj);
        if (err == 0) err = tx_put(tx, buf_blob(&key), buf_blob(&value));
        buf_done(&key);
        buf_done(&value);
        return tx_fail(tx, err);
}

int row_del(struct tx *tx, const struct type_desc *t, const void *key_obj)
{
        struct buf key = { 0 };
        int err = tx->err != 0 ? tx->err : key_of(t, key_obj, &key);
        if (err == 0 && index_has(t)) err = follow(tx, t, buf_blob(&key), NULL);
        if (err == 0) err = tx_del(tx, buf_blob(&key));
        buf_done(&key);
        return err;
}

void row_scan_open(
        struct row_scan *s, struct tx *tx, const struct type_desc *t, const void *key_obj, unsigned n_fields)
{
        struct buf prefix = { 0 };
        *s = (struct row_scan){ .tx = tx, .type = t, .open = true };
        assert(key_obj != NULL || n_fields == 0);
        enc_key_prefix(t, key_obj, n_fields, &prefix);
        if (prefix.err != 0) (void)tx_fail(tx, prefix.err);
        if (prefix.err != 0 || prefix.n > sizeof s->prefix) {
                s->open = false; /* such a key cannot be stored: nothing to see */
        } else {
                memcpy(s->prefix, prefix.p, prefix.n);
                s->prefix_n = (uint32_t)prefix.n;
        }
        buf_done(&prefix);
}

void row_scan_after(struct row_scan *s, const void *key_obj, unsigned n_fields)
{
        struct buf key = { 0 };
        enc_key_prefix(s->type, key_obj, n_fields, &key);
        if (key.err != 0) (void)tx_fail(s->tx, key.err);
        if (key.err != 0 || key.n > TX_KEY_MAX) {
                s->open = false;
        } else {
                memcpy(s->last, key.p, key.n);
                s->last_n = (uint32_t)key.n;
        }
        buf_done(&key);
}

static int scan_seek(struct row_scan *s)
{
        if (s->started) tx_close(s->tx, &s->cursor);
        struct blob from = BLOB(s->prefix, s->prefix_n);
        if (s->last_n > 0) { /* the smallest key behind the last one */
                s->last[s->last_n] = 0;
                from = BLOB(s->last, s->last_n + 1);
        }
        s->started = true;
        s->write_count = s->tx->write_count;
        return tx_seek(s->tx, &s->cursor, from);
}

/* Moves to the next pair below the prefix; false at the end or after an error. */
static bool scan_step(struct row_scan *s)
{
        if (!s->open) return false;
        bool reseek = !s->started || s->write_count != s->tx->write_count;
        int err = reseek ? scan_seek(s) : tx_next(s->tx, &s->cursor);
        struct blob key = s->cursor.key;
        if (err != 0 || key.n < s->prefix_n || memcmp(key.p, s->prefix, s->prefix_n) != 0) {
                row_scan_close(s);
                return false;
        }
        memcpy(s->last, key.p, key.n);
        s->last_n = (uint32_t)key.n;
        return true;
}

bool row_scan_next(struct row_scan *s, struct arena *a, void *ret_obj)
{
        if (!scan_step(s)) return false;
        if (decode_sticky(s->tx, s->type, s->cursor.key, s->cursor.value, a, ret_obj) == 0) return true;
        row_scan_close(s);
        return false;
}

void row_scan_close(struct row_scan *s)
{
        if (s->started) tx_close(s->tx, &s->cursor);
        s->started = s->open = false;
}

uint64_t row_count(struct tx *tx, const struct type_desc *t, const void *key_obj, unsigned n_fields)
{
        struct row_scan s;
        uint64_t n = 0;
        row_scan_open(&s, tx, t, key_obj, n_fields);
        while (scan_step(&s)) n++;
        row_scan_close(&s);
        return n;
}

int row_get_single(struct tx *tx, const struct type_desc *t, struct arena *a, void *ret_obj)
{
        struct buf key = { 0 };
        struct blob value;
        memset(ret_obj, 0, t->size);
        enc_key_prefix(t, ret_obj, 0, &key);
        int err = key.err != 0 ? key.err : tx_get(tx, buf_blob(&key), &value);
        if (err == 0) err = decode_sticky(tx, t, buf_blob(&key), value, a, ret_obj);
        buf_done(&key);
        return err == E_NOT_FOUND ? 0 : err;
}
