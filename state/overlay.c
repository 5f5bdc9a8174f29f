/* Ordered change set over a base view, see overlay.h. A skip list of records in an arena: records are never
 * unlinked, a rollback only resets what they say (SLOT_NONE: as if absent), so addresses stay valid and undo
 * is a walk over a journal. Tower heights come from a counter, not from chance: the same operations build the
 * same list. */
#include "state/overlay.h"
#include "wire/base/sabotage.h"

#include <stdlib.h>
#include <string.h>

enum { HEIGHT_MAX = 12 };
enum slot { SLOT_NONE, SLOT_PUT, SLOT_DEL };

struct rec {
        uint64_t head; /* first 8 bytes of the key, big-endian: most comparisons end here */
        struct blob key;
        uint8_t *value;
        uint32_t value_n, value_cap;
        uint32_t epoch; /* journaled in this savepoint when equal to overlay.epoch */
        uint8_t slot;   /* enum slot */
        uint8_t height;
        struct rec *next[];
};
struct undo {
        struct rec *rec;
        uint8_t *value;
        uint32_t value_n, value_cap;
        uint8_t slot;
};
/* A merged cursor; kept in a free list because scans are frequent. */
struct cursor {
        struct tx_cursor base;
        struct rec *rec;      /* the next one of ours, SLOT_NONE skipped */
        bool base_ok;         /* base stands on a pair */
        bool on_rec, on_base; /* which of them the current pair is */
        struct cursor *next_free;
};
struct overlay {
        struct tx tx;
        struct tx *base;
        struct arena arena;
        struct rec *head[HEIGHT_MAX];
        unsigned height;
        uint64_t made_n; /* records ever, for the tower heights */
        size_t count, bytes;
        bool saved; /* inside a savepoint */
        uint32_t epoch;
        int saved_err;
        struct undo *undo;
        size_t undo_n, undo_cap;
        struct cursor *free_cursors;
};

static uint64_t key_head(struct blob key)
{
        uint64_t v = 0;
        size_t n = MIN(key.n, (size_t)8);
        for (size_t i = 0; i < n; i++) v |= (uint64_t)key.p[i] << (56 - 8 * i);
        return v;
}

static int rec_cmp(const struct rec *r, uint64_t head, struct blob key)
{
        if (r->head != head) return r->head < head ? -1 : 1;
        return blob_cmp(r->key, key);
}

/* The first record with a key >= key; prev[] gets the link before it at each level, when given. */
static struct rec *find(struct overlay *o, struct blob key, bool *ret_equal, struct rec ***prev)
{
        uint64_t head = key_head(key);
        struct rec **links = o->head, *r = NULL;
        int c = 1;
        for (unsigned level = o->height; level-- > 0;) {
                for (r = links[level]; r != NULL && (c = rec_cmp(r, head, key)) < 0; r = links[level])
                        links = r->next;
                if (prev != NULL) prev[level] = &links[level];
        }
        *ret_equal = r != NULL && c == 0;
        return r;
}

/* 1 with 3/4, 2 with 3/16, … over any run of the counter. */
static unsigned next_height(struct overlay *o)
{
        uint64_t x = ++o->made_n * UINT64_C(0x9E3779B97F4A7C15); /* scatter, then count zero pairs */
        unsigned h = 1;
        x ^= x >> 31;
        while (h < HEIGHT_MAX && (x & 3) == 0) {
                h++;
                x >>= 2;
        }
        return h;
}

/* The record of key, made when needed; NULL at the memory limit. */
static struct rec *find_or_add(struct overlay *o, struct blob key)
{
        struct rec **prev[HEIGHT_MAX];
        bool equal;
        struct rec *r = find(o, key, &equal, prev);
        if (equal) return r;
        unsigned height = next_height(o);
        r = arena_try(&o->arena, sizeof *r + height * sizeof r->next[0] + key.n);
        if (r == NULL) return NULL;
        uint8_t *copy = (uint8_t *)&r->next[height];
        memcpy(copy, key.p, key.n);
        r->key = BLOB(copy, key.n);
        r->head = key_head(key);
        r->height = (uint8_t)height;
        for (; o->height < height; o->height++) prev[o->height] = &o->head[o->height];
        for (unsigned i = 0; i < height; i++) {
                r->next[i] = *prev[i];
                *prev[i] = r;
        }
        return r;
}

static void journal(struct overlay *o, struct rec *r)
{
        if (!o->saved || r->epoch == o->epoch) return;
        if (o->undo_n == o->undo_cap) {
                o->undo_cap = o->undo_cap != 0 ? o->undo_cap * 2 : 64;
                o->undo = xrealloc(o->undo, o->undo_cap * sizeof o->undo[0]);
        }
        o->undo[o->undo_n++] = (struct undo){ r, r->value, r->value_n, r->value_cap, r->slot };
        r->epoch = o->epoch;
        r->value = NULL; /* the old bytes belong to the journal now */
        r->value_cap = 0;
}

/* What the counters say about r goes in or out. */
static void account(struct overlay *o, const struct rec *r, bool in)
{
        if (r->slot == SLOT_NONE) return;
        size_t bytes = r->key.n + (r->slot == SLOT_PUT ? r->value_n : 0);
        o->count += in ? 1 : (size_t)-1;
        o->bytes += in ? bytes : (size_t)-bytes;
}

static int change(struct overlay *o, struct blob key, struct blob value, enum slot slot)
{
        struct rec *r = find_or_add(o, key);
        if (r == NULL) return E_LIMIT;
        if (SABOTAGE(FIRST_WRITE_WINS) && r->slot == SLOT_PUT && r->epoch != o->epoch) return 0;
        bool fresh_value = slot == SLOT_PUT && (r->value_cap < value.n || (o->saved && r->epoch != o->epoch));
        uint8_t *p = NULL;
        size_t cap = MAX(value.n, (size_t)16);
        if (fresh_value && (p = arena_try(&o->arena, cap)) == NULL) return E_LIMIT;
        account(o, r, false);
        if (p != NULL && value.n != 0) memcpy(p, value.p, value.n); /* value may point into the old bytes */
        journal(o, r);
        if (p != NULL) {
                r->value = p;
                r->value_cap = (uint32_t)cap;
        } else if (slot == SLOT_PUT && value.n != 0) {
                memmove(r->value, value.p, value.n);
        }
        r->value_n = slot == SLOT_PUT ? (uint32_t)value.n : 0;
        r->slot = (uint8_t)slot;
        account(o, r, true);
        return 0;
}

/* ---- struct tx ---- */

static int o_get(struct tx *tx, struct blob key, struct blob *ret_value)
{
        struct overlay *o = (struct overlay *)tx;
        bool equal;
        struct rec *r = find(o, key, &equal, NULL);
        if (!equal || r->slot == SLOT_NONE) return tx_get(o->base, key, ret_value);
        if (r->slot == SLOT_DEL) return E_NOT_FOUND;
        *ret_value = BLOB(r->value, r->value_n);
        return 0;
}

static int o_put(struct tx *tx, struct blob key, struct blob value)
{
        return change((struct overlay *)tx, key, value, SLOT_PUT);
}

static int o_del(struct tx *tx, struct blob key)
{
        struct blob old;
        int err = o_get(tx, key, &old);
        if (err != 0) return err;
        return change((struct overlay *)tx, key, (struct blob){ 0 }, SLOT_DEL);
}

static struct rec *skip_none(struct rec *r)
{
        while (r != NULL && r->slot == SLOT_NONE) r = r->next[0];
        return r;
}

/* Moves to the smaller of the two heads; ours wins on equal keys, our deletions hide the base's pair. */
static int settle(struct overlay *o, struct cursor *m, struct tx_cursor *c)
{
        for (;;) {
                int cmp = m->rec == NULL ? 1 : m->base_ok ? blob_cmp(m->rec->key, m->base.key) : -1;
                if (m->rec == NULL && !m->base_ok) return E_NOT_FOUND;
                m->on_rec = cmp <= 0;
                m->on_base = cmp >= 0;
                if (!m->on_rec) {
                        c->key = m->base.key;
                        c->value = m->base.value;
                        return 0;
                }
                if (m->rec->slot == SLOT_PUT) {
                        c->key = m->rec->key;
                        c->value = BLOB(m->rec->value, m->rec->value_n);
                        return 0;
                }
                if (m->on_base) {
                        int err = tx_next(o->base, &m->base);
                        if (err != 0 && err != E_NOT_FOUND) return err;
                        m->base_ok = err == 0;
                }
                m->rec = skip_none(m->rec->next[0]);
        }
}

static int o_seek(struct tx *tx, struct tx_cursor *c, struct blob from)
{
        struct overlay *o = (struct overlay *)tx;
        struct cursor *m = o->free_cursors;
        if (m != NULL) o->free_cursors = m->next_free;
        else m = arena_try(&o->arena, sizeof *m);
        if (m == NULL) return E_LIMIT;
        *m = (struct cursor){ 0 };
        c->impl = m;
        int err = tx_seek(o->base, &m->base, from);
        if (err != 0 && err != E_NOT_FOUND) return err;
        m->base_ok = err == 0;
        bool equal;
        m->rec = skip_none(find(o, from, &equal, NULL));
        return settle(o, m, c);
}

static int o_next(struct tx *tx, struct tx_cursor *c)
{
        struct overlay *o = (struct overlay *)tx;
        struct cursor *m = c->impl;
        if (m == NULL) return E_NOT_FOUND;
        if (m->on_base && m->base_ok) {
                int err = tx_next(o->base, &m->base);
                if (err != 0 && err != E_NOT_FOUND) return err;
                m->base_ok = err == 0;
        }
        if (m->on_rec && m->rec != NULL) m->rec = skip_none(m->rec->next[0]);
        return settle(o, m, c);
}

static void o_close(struct tx *tx, struct tx_cursor *c)
{
        struct overlay *o = (struct overlay *)tx;
        struct cursor *m = c->impl;
        if (m == NULL) return;
        tx_close(o->base, &m->base);
        m->next_free = o->free_cursors;
        o->free_cursors = m;
}

static const struct tx_ops overlay_ops = {
        .get = o_get, .put = o_put, .del = o_del, .seek = o_seek, .next = o_next, .close = o_close
};

/* ---- the layer ---- */

struct overlay *overlay_new(struct tx *base)
{
        struct overlay *o = xnew(struct overlay);
        o->tx.ops = &overlay_ops;
        o->base = base;
        arena_init(&o->arena, OVERLAY_BYTES_MAX);
        return o;
}

void overlay_free(struct overlay *o)
{
        if (o == NULL) return;
        arena_done(&o->arena);
        free(o->undo);
        free(o);
}

struct tx *overlay_tx(struct overlay *o) { return &o->tx; }

void overlay_rebase(struct overlay *o, struct tx *base)
{
        o->base = base;
        o->tx.write_count++;
}

void overlay_savepoint(struct overlay *o)
{
        assert(!o->saved);
        o->saved = true;
        o->saved_err = o->tx.err;
        o->epoch++;
        o->undo_n = 0;
}

void overlay_rollback(struct overlay *o)
{
        assert(o->saved);
        while (o->undo_n > 0) {
                const struct undo *u = &o->undo[--o->undo_n];
                struct rec *r = u->rec;
                account(o, r, false);
                r->value = u->value;
                r->value_n = u->value_n;
                r->value_cap = u->value_cap;
                r->slot = u->slot;
                account(o, r, true);
        }
        o->saved = false;
        o->tx.err = o->saved_err;
        o->tx.write_count++;
}

void overlay_release(struct overlay *o)
{
        assert(o->saved);
        o->saved = false;
        o->undo_n = 0;
}

size_t overlay_count(const struct overlay *o) { return o->count; }
size_t overlay_bytes(const struct overlay *o) { return o->bytes; }

void overlay_visit(struct overlay *o, overlay_visit_fn *fn, void *arg)
{
        for (struct rec *r = skip_none(o->head[0]); r != NULL; r = skip_none(r->next[0]))
                fn(arg, r->key, r->slot == SLOT_PUT ? BLOB(r->value, r->value_n) : (struct blob){ 0 },
                        r->slot == SLOT_DEL);
}

void overlay_load_put(struct overlay *o, struct blob key, struct blob value)
{
        (void)tx_put(&o->tx, key, value);
}

/* Without a look at the base: a write-set may delete what was put and deleted again within one batch. */
void overlay_load_del(struct overlay *o, struct blob key)
{
        if (o->tx.err != 0) return;
        o->tx.write_count++;
        (void)tx_fail(&o->tx, change(o, key, (struct blob){ 0 }, SLOT_DEL));
}
