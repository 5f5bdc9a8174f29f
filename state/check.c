/* The check of the state, see check.h: each row by itself, its references, its index rows; then what rows
 * share. */
#include "state/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "state/check_internal.h"
#include "state/kv_mem.h"
#include "state/table.h"
#include "state/writeset_internal.h"
#include "wire/def/types.h"

void check_finding(struct checker *c, const char *fmt, ...)
{
        char line[1024];
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(line, sizeof line, fmt, ap);
        va_end(ap);
        c->found++;
        if (c->report != NULL) c->report(c->arg, line);
}

const char *check_key_text(struct blob key, struct arena *a)
{
        struct buf b = { 0 };
        const struct type_desc *t = key.n >= 2 ? types_by_id((unsigned)(key.p[0] << 8 | key.p[1])) : NULL;
        buf_put_str(&b, t != NULL ? t->ident : "row");
        buf_put_u8(&b, ' ');
        for (size_t i = 2; i < key.n && b.n < 200; i++) {
                if (key.p[i] == 0) {
                        if (i + 1 < key.n && key.p[i + 1] != 0) buf_put_u8(&b, '/');
                } else if (key.p[i] > 0x20 && key.p[i] < 0x7f) {
                        buf_put_u8(&b, key.p[i]);
                } else {
                        buf_printf(&b, "\\x%02x", (unsigned)key.p[i]);
                }
        }
        const char *s = arena_strndup(a, buf_cstr(&b), b.n);
        buf_done(&b);
        return s;
}

/* Damage of one row must not hide the others: it is reported, and the view goes on. */
static int forgive(struct checker *c, int err, struct blob key)
{
        if (err == 0 || err == E_NOT_FOUND) return err;
        c->tx->err = 0;
        if (err == E_CORRUPT) {
                struct arena a = { 0 };
                check_finding(c, "%s is damaged", check_key_text(key, &a));
                arena_done(&a);
        } else {
                c->err = err;
        }
        return err;
}

int check_get(struct checker *c, struct blob key, struct blob *ret_value)
{
        return forgive(c, tx_get(c->tx, key, ret_value), key);
}

int check_load(struct checker *c, const struct type_desc *t, struct blob key, struct arena *a, void **ret_obj)
{
        struct blob value;
        struct fail f;
        int err = check_get(c, key, &value);
        if (err != 0) return err;
        *ret_obj = arena_alloc(a, t->size);
        return row_decode(t, key, value, a, *ret_obj, &f) == 0 ? 0 : E_CORRUPT;
}

void check_each(struct checker *c, const struct type_desc *t, const void *key_obj, unsigned n,
        check_visit_fn *fn, void *arg)
{
        struct buf prefix = { 0 };
        struct tx_cursor cur;
        struct arena a = { 0 };
        uint64_t copy[128] = { UINT64_MAX };
        assert(t->size <= sizeof copy);
        if (key_obj != NULL) memcpy((char *)copy + 8, (const char *)key_obj + 8, t->size - 8);
        enc_key_prefix(t, copy, n, &prefix);
        int err = forgive(c, tx_seek(c->tx, &cur, buf_blob(&prefix)), buf_blob(&prefix));
        bool more = true;
        while (more && c->err == 0 && err != E_NOT_FOUND) {
                if (cur.key.n < prefix.n || memcmp(cur.key.p, prefix.p, prefix.n) != 0) break;
                if (err == 0) {
                        struct fail f;
                        arena_reset(&a);
                        struct checked_row row = { t, cur.key, cur.value, arena_alloc(&a, t->size) };
                        if (row_decode(t, row.key, row.value, &a, row.obj, &f) == 0) more = fn(arg, &row, &a);
                }
                err = tx_next(c->tx, &cur);
                if (err != 0 && err != E_NOT_FOUND) err = forgive(c, err, cur.key);
        }
        tx_close(c->tx, &cur);
        arena_done(&a);
        buf_done(&prefix);
}

bool check_key_decode(const struct type_desc *t, struct blob key, struct arena *a, void *obj)
{
        size_t at = 2;
        uint64_t all = UINT64_MAX;
        memcpy(obj, &all, sizeof all);
        for (unsigned i = 0; i < t->n_fields; i++) {
                const struct field_desc *f = &t->fields[i];
                if (!(f->flags & FF_KEY)) continue;
                if (f->kind == FK_STR) {
                        const uint8_t *end = at < key.n ? memchr(key.p + at, 0, key.n - at) : NULL;
                        if (end == NULL) return false;
                        const char *s =
                                arena_strndup(a, (const char *)key.p + at, (size_t)(end - key.p) - at);
                        memcpy((char *)obj + f->off, &s, sizeof s);
                        at = (size_t)(end - key.p) + 1;
                } else if (f->kind == FK_U64) {
                        uint64_t v = 0;
                        if (key.n < at + 8) return false;
                        for (int k = 0; k < 8; k++) v = v << 8 | key.p[at++];
                        memcpy((char *)obj + f->off, &v, sizeof v);
                } else {
                        return false; /* no group has such a key */
                }
        }
        return at == key.n;
}

/* ---- one row ---- */

/* Decodes the row and checks its form. false: it has none. */
static bool check_form(struct checker *c, struct checked_row *row, struct arena *a)
{
        struct fail f = { 0 };
        const struct type_desc *t = row->type;
        unsigned id = (unsigned)(row->key.p[0] << 8 | row->key.p[1]);
        if (t == NULL || id > STORED_ID_MAX) {
                check_finding(c, "%s: rows of type %u are unknown", check_key_text(row->key, a), id);
                return false;
        }
        row->obj = arena_alloc(a, t->size);
        int err = row_decode(t, row->key, row->value, a, row->obj, &f);
        if (err != 0) {
                check_finding(c, "%s cannot be decoded: %s", check_key_text(row->key, a), f.text);
                return false;
        }
        struct buf again = { 0 };
        if (enc_msgpack(t, row->obj, &again) != 0 || blob_cmp(buf_blob(&again), row->value) != 0)
                check_finding(c, "%s is not in canonical form", check_key_text(row->key, a));
        buf_done(&again);
        return true;
}

/* The index rows of an object are there. expected, if any, collects them. */
static void check_forward(
        struct checker *c, const struct checked_row *row, struct arena *a, struct tx *expected)
{
        struct index_rows rows;
        if (!index_has(row->type)) return;
        int err = index_extract(c->tx, row->type, row->obj, a, &rows);
        if (err != 0) {
                c->err = err;
                return;
        }
        for (uint32_t i = 0; i < rows.n; i++) {
                struct blob value;
                const struct index_row *r = &rows.rows[i];
                err = check_get(c, r->key, &value);
                if (err == E_NOT_FOUND)
                        check_finding(c, "%s lacks its index row %s", check_key_text(row->key, a),
                                check_key_text(r->key, a));
                else if (err == 0 && blob_cmp(value, r->value) != 0)
                        check_finding(c, "%s: its index row %s belongs to another",
                                check_key_text(row->key, a), check_key_text(r->key, a));
                if (expected != NULL) (void)tx_put(expected, r->key, r->value);
        }
}

static bool is_applied_row(struct blob key)
{
        return key.n == 3 && memcmp(key.p, STATE_META_PREFIX "a", 3) == 0;
}

static void check_row(struct checker *c, struct checked_row *row, struct arena *a, struct tx *expected)
{
        if (writeset_key_is_meta(row->key)) {
                if (!is_applied_row(row->key))
                        check_finding(c, "%s: a meta row that nobody knows", check_key_text(row->key, a));
                return;
        }
        row->type = types_by_id((unsigned)(row->key.p[0] << 8 | row->key.p[1]));
        if (!check_form(c, row, a)) return;
        check_refs_of(c, row, a);
        check_forward(c, row, a, expected);
}

/* ---- everything ---- */

/* Every row that is in an index, or should not be. */
static void check_backward(
        struct checker *c, const struct checked_row *row, struct arena *a, struct tx *expected)
{
        struct blob want;
        if (row->type == NULL || !index_is(row->type)) return;
        if (tx_get(expected, row->key, &want) != 0)
                check_finding(c, "%s: an index row without an object", check_key_text(row->key, a));
}

static void walk(struct checker *c, struct tx *expected, bool backward)
{
        struct tx_cursor cur;
        struct arena a = { 0 };
        static const uint8_t lowest[] = { 0 };
        int err = forgive(c, tx_seek(c->tx, &cur, BLOB(lowest, sizeof lowest)), cur.key);
        while (c->err == 0 && err != E_NOT_FOUND) {
                arena_reset(&a);
                struct checked_row row = { .key = cur.key, .value = cur.value };
                if (err == 0 && backward) {
                        row.type = cur.key.n >= 2 ? types_by_id((unsigned)(cur.key.p[0] << 8 | cur.key.p[1]))
                                                  : NULL;
                        check_backward(c, &row, &a, expected);
                } else if (err == 0) {
                        check_row(c, &row, &a, expected);
                }
                err = tx_next(c->tx, &cur);
                if (err != 0 && err != E_NOT_FOUND)
                        err = backward ? (c->tx->err = 0, err) : forgive(c, err, cur.key);
        }
        tx_close(c->tx, &cur);
        arena_done(&a);
}

int state_check(struct tx *tx, state_check_report_fn *report, void *arg)
{
        struct checker c = { .tx = tx, .report = report, .arg = arg };
        if (tx->err != 0) return tx->err;
        struct kv_mem *kv = kv_mem_new();
        struct tx *expected = kv_mem_write(kv);
        walk(&c, expected, false);
        if (c.err == 0) walk(&c, expected, true);
        if (c.err == 0) check_groups_all(&c);
        kv_mem_end(expected);
        kv_mem_free(kv);
        return c.err != 0 ? c.err : c.found;
}

/* ---- what was touched ---- */

struct yields {
        struct blob key, value; /* value.p NULL: any */
        bool found;
        struct tx *tx;
};

static bool visit_yields(void *arg, struct checked_row *row, struct arena *a)
{
        struct yields *y = arg;
        struct index_rows rows;
        if (index_extract(y->tx, row->type, row->obj, a, &rows) != 0) return false;
        for (uint32_t i = 0; i < rows.n; i++) {
                if (blob_cmp(rows.rows[i].key, y->key) != 0) continue;
                if (y->value.p == NULL || blob_cmp(rows.rows[i].value, y->value) == 0) y->found = true;
        }
        return !y->found;
}

/* Does an object exist that the index row follows from? */
static bool has_source(struct checker *c, const struct checked_row *row)
{
        struct yields y = { .key = row->key, .value = row->value, .tx = c->tx };
        const struct type_desc *t;
        for (unsigned i = 0; !y.found && (t = index_source(row->type, i)) != NULL; i++)
                check_each(c, t, NULL, 0, visit_yields, &y);
        return y.found;
}

static void check_key(struct checker *c, struct blob key)
{
        struct arena a = { 0 };
        struct checked_row row = { .key = key };
        int err = check_get(c, key, &row.value);
        row.type = key.n >= 2 ? types_by_id((unsigned)(key.p[0] << 8 | key.p[1])) : NULL;
        if (err == 0) {
                check_row(c, &row, &a, NULL);
                if (row.obj != NULL) check_groups_of(c, row.type, row.obj, false);
        } else if (err == E_NOT_FOUND && row.type != NULL) {
                check_refs_to(c, row.type, key);
                void *gone = arena_alloc(&a, row.type->size);
                if (check_key_decode(row.type, key, &a, gone)) check_groups_of(c, row.type, gone, true);
        }
        if (row.type != NULL && index_is(row.type) && (err == 0) != has_source(c, &row))
                check_finding(c,
                        err == 0 ? "%s: an index row without an object" : "%s: an index row is missing",
                        check_key_text(key, &a));
        arena_done(&a);
}

int state_check_keys(
        struct tx *tx, const struct blob *keys, size_t n, state_check_report_fn *report, void *arg)
{
        struct checker c = { .tx = tx, .report = report, .arg = arg };
        if (tx->err != 0) return tx->err;
        for (size_t i = 0; i < n && c.err == 0; i++) check_key(&c, keys[i]);
        return c.err != 0 ? c.err : c.found;
}

struct key_list {
        struct blob *keys;
        size_t n;
};

static void collect_key(void *arg, struct blob key, struct blob value, bool deleted)
{
        struct key_list *l = arg;
        (void)value;
        (void)deleted;
        l->keys[l->n++] = key;
}

int state_check_changes(struct overlay *o, state_check_report_fn *report, void *arg)
{
        struct arena a = { .limit_bytes = overlay_count(o) * sizeof(struct blob) + 4096 };
        struct key_list l = { .keys = arena_array(&a, struct blob, overlay_count(o) + 1) };
        int found = E_LIMIT;
        if (l.keys != NULL) {
                overlay_visit(o, collect_key, &l);
                found = state_check_keys(overlay_tx(o), l.keys, l.n, report, arg);
        }
        arena_done(&a);
        return found;
}

int state_check_writeset(struct tx *tx, struct blob data, state_check_report_fn *report, void *arg)
{
        struct arena a, keys = { .limit_bytes = 16 * data.n + 4096 };
        struct writeset ws;
        int found = writeset_decode(data, &a, &ws);
        struct blob *list = found == 0 ? arena_array(&keys, struct blob, ws.changes_n + 1u) : NULL;
        if (found == 0 && list == NULL) found = E_LIMIT;
        if (found == 0) {
                for (uint32_t i = 0; i < ws.changes_n; i++) list[i] = ws.changes[i].key;
                found = state_check_keys(tx, list, ws.changes_n, report, arg);
        }
        arena_done(&keys);
        arena_done(&a);
        return found;
}
