/* Values: names of enums and flags, copies, equality, merging. */
#include <strings.h>

#include "wire/codec/access.h"

/* ---- enums and flags ---- */

const char *enum_name(const struct enum_desc *e, unsigned v) { return v < e->n ? e->names[v] : "?"; }

int enum_parse(const struct enum_desc *e, const char *name)
{
        for (uint32_t i = 0; i < e->n; i++)
                if (strcasecmp(e->names[i], name) == 0) return (int)i;
        return -1;
}

uint64_t flags_parse(const struct flags_desc *d, const char *name)
{
        for (uint32_t i = 0; i < d->n; i++)
                if (strcasecmp(d->flags[i].name, name) == 0) return d->flags[i].bits;
        return 0;
}

int flags_apply(
        const struct flags_desc *d, const char *const *names, uint32_t n, uint64_t *value, struct fail *f)
{
        uint64_t v = *value;
        for (uint32_t i = 0; i < n; i++) {
                bool clear = names[i][0] == '-';
                uint64_t bits = flags_parse(d, names[i] + clear);
                if (bits == 0) return fail_set(f, E_INVALID, "unknown flag \"%s\"", names[i]);
                v = clear ? v & ~bits : v | bits;
        }
        *value = v;
        return 0;
}

/* ---- copies ---- */

static int copy_str(const char **p, struct arena *a)
{
        if (*p == NULL) return 0;
        *p = arena_memdup(a, *p, strlen(*p) + 1);
        return *p != NULL ? 0 : E_TOO_LARGE;
}

/* Replaces n strings by copies. */
static int copy_strs(const char **p, size_t n, struct arena *a)
{
        int err = 0;
        for (size_t i = 0; i < n && err == 0; i++) err = copy_str(&p[i], a);
        return err;
}

/* Replaces *p, n elements of the given width, by a copy. Nothing to do for an empty array. */
static int copy_array(void *pp, size_t n, size_t width, struct arena *a)
{
        if (n == 0) return 0;
        void *copy = arena_array_try(a, n, width);
        if (copy == NULL) return E_TOO_LARGE;
        memcpy(copy, get_ptr(pp), n * width);
        put_ptr(pp, copy);
        return 0;
}

/* Replaces the array of t at *pp by a deep copy. */
static int copy_objs(const struct type_desc *t, void *pp, size_t n, struct arena *a)
{
        const void *from = get_ptr(pp);
        if (n == 0) return 0;
        void *to = arena_array_try(a, n, t->size);
        if (to == NULL) return E_TOO_LARGE;
        put_ptr(pp, to);
        int err = 0;
        for (uint32_t i = 0; i < n && err == 0; i++) err = obj_copy(t, elem(t, from, i), a, elem_w(t, to, i));
        return err;
}

static int copy_list(const struct field_desc *f, void *o, struct arena *a)
{
        void *p = member_w(o, f);
        uint32_t n = count_get(o, f);
        if (f->kind == FK_LIST) return copy_objs(f->sub, p, n, a);
        int err = copy_array(p, n, f->kind == FK_STRS ? sizeof(char *) : sizeof(uint64_t), a);
        if (err == 0 && f->kind == FK_STRS) err = copy_strs(get_ptr(p), n, a);
        return err;
}

static int copy_map(const struct field_desc *f, void *p, struct arena *a)
{
        if (f->kind == FK_MAP) {
                struct strmap *m = p;
                int err = copy_array(&m->kv, 2 * (size_t)m->n, sizeof m->kv[0], a);
                return err != 0 ? err : copy_strs(m->kv, 2 * (size_t)m->n, a);
        }
        if (f->kind == FK_IMAP) {
                struct intmap *m = p;
                int err = copy_array(&m->keys, m->n, sizeof m->keys[0], a);
                if (err == 0) err = copy_array(&m->vals, m->n, sizeof m->vals[0], a);
                return err != 0 ? err : copy_strs(m->keys, m->n, a);
        }
        struct objmap *m = p;
        int err = copy_array(&m->keys, m->n, sizeof m->keys[0], a);
        if (err == 0) err = copy_objs(f->sub, &m->vals, m->n, a);
        return err != 0 ? err : copy_strs(m->keys, m->n, a);
}

/* Gives o, a flat copy of a struct, memory of its own for one field. */
static int copy_field(const struct field_desc *f, void *o, struct arena *a)
{
        void *p = member_w(o, f);
        struct blob b;
        int err;
        const char *s;
        switch ((enum field_kind)f->kind) {
        case FK_STR:
                s = get_str(p);
                err = copy_str(&s, a);
                put_str(p, s);
                return err;
        case FK_BIN:
                b = get_blob(p);
                if (b.n == 0) return 0;
                put_blob(p, BLOB(arena_memdup(a, b.p, b.n), b.n));
                return get_blob(p).p != NULL ? 0 : E_TOO_LARGE;
        case FK_OBJ: return get_ptr(p) != NULL ? copy_objs(f->sub, p, 1, a) : 0;
        case FK_LIST:
        case FK_STRS:
        case FK_U64S: return copy_list(f, o, a);
        case FK_MAP:
        case FK_IMAP:
        case FK_OMAP: return copy_map(f, p, a);
        case FK_BOOL:
        case FK_I64:
        case FK_U64:
        case FK_F64:
        case FK_ENUM:
        case FK_FLAGS: return 0;
        }
        return E_INVALID;
}

int obj_copy(const struct type_desc *t, const void *o, struct arena *a, void *ret_o)
{
        memcpy(ret_o, o, t->size);
        int err = 0;
        for (unsigned i = 0; i < t->n_fields && err == 0; i++)
                if (has_bit(o, i)) err = copy_field(&t->fields[i], ret_o, a);
        return err;
}

/* ---- equality, merging ---- */

bool obj_equal(const struct type_desc *t, const void *a, const void *b)
{
        struct buf x = { 0 }, y = { 0 };
        bool equal = enc_msgpack(t, a, &x) == 0 && enc_msgpack(t, b, &y) == 0 &&
                     blob_cmp(buf_blob(&x), buf_blob(&y)) == 0;
        buf_done(&x);
        buf_done(&y);
        return equal;
}

/* Bytes that a field takes in its struct, the count of a list aside. */
static size_t member_bytes(const struct field_desc *f)
{
        switch ((enum field_kind)f->kind) {
        case FK_BOOL: return sizeof(bool);
        case FK_ENUM: return sizeof(unsigned);
        case FK_I64:
        case FK_U64:
        case FK_FLAGS: return sizeof(uint64_t);
        case FK_F64: return sizeof(double);
        case FK_STR:
        case FK_OBJ:
        case FK_LIST:
        case FK_STRS:
        case FK_U64S: return sizeof(void *);
        case FK_BIN: return sizeof(struct blob);
        case FK_MAP: return sizeof(struct strmap);
        case FK_IMAP: return sizeof(struct intmap);
        case FK_OMAP: return sizeof(struct objmap);
        }
        return 0;
}

static void take_over(const struct field_desc *f, void *o, const void *patch)
{
        memcpy(member_w(o, f), member(patch, f), member_bytes(f));
        if (f->kind == FK_LIST || f->kind == FK_STRS || f->kind == FK_U64S)
                count_set(o, f, count_get(patch, f));
}

void obj_merge(const struct type_desc *t, void *o, const void *patch, struct arena *a)
{
        for (unsigned i = 0; i < t->n_fields; i++) {
                const struct field_desc *f = &t->fields[i];
                if (!is_present(patch, f, i)) continue;
                bool both = is_present(o, f, i);
                if (both && f->kind == FK_MAP) {
                        strmap_merge(member_w(o, f), member(patch, f), a);
                } else if (both && f->kind == FK_OBJ) {
                        const struct type_desc *sub = f->sub;
                        void *own = arena_alloc(a, sub->size); /* others may look at the one that is there */
                        memcpy(own, get_ptr(member(o, f)), sub->size);
                        obj_merge(sub, own, get_ptr(member(patch, f)), a);
                        put_ptr(member_w(o, f), own);
                } else {
                        take_over(f, o, patch);
                }
                has_add(o, i);
        }
}
