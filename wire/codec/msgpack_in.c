/* msgpack in: our own reader. msgpack-c (which packs, see msgpack_out.c, and reads our bytes back in the
 * tests) builds a tree first, sized by what array and map headers claim: 24 bytes for each element that a
 * five-byte header promises; to be safe it needs a pass that bounds everything beforehand. That pass is most
 * of a reader, so this reads straight into the structs, without the tree.
 *
 * measure() goes over the input once: every length within the bytes that are there, nesting bounded, each
 * claimed element at least one byte. The readers after it check bounds all the same. */
#include "wire/codec/access.h"
#include "wire/codec/maps.h"
#include "wire/codec/path.h"

/* Containers in containers: an object and its list or map on each level, and a little for what is skipped. */
#define RAW_DEPTH_MAX (2 * CODEC_DEPTH_MAX + 4)

enum token_type {
        TOKEN_NIL,
        TOKEN_BOOL,  /* u                                  */
        TOKEN_UINT,  /* u                                  */
        TOKEN_INT,   /* i, negative                        */
        TOKEN_FLOAT, /* d                                  */
        TOKEN_STR,   /* u bytes at p                       */
        TOKEN_BIN,   /* u bytes at p                       */
        TOKEN_EXT,   /* u bytes at p; we have none: skipped */
        TOKEN_ARRAY, /* u elements follow                  */
        TOKEN_MAP,   /* u pairs follow                     */
};

struct token {
        enum token_type type;
        uint64_t u;
        int64_t i;
        double d;
        const uint8_t *p;
};

struct reader {
        const uint8_t *p, *end;
        enum dec_mode mode;
        unsigned depth;
        struct arena *a;
        struct path path;
};

/* ---- tokens ---- */

static size_t left(const struct reader *r) { return (size_t)(r->end - r->p); }

static int get_be(struct reader *r, unsigned width, uint64_t *ret)
{
        if (left(r) < width) return E_TRUNCATED;
        uint64_t v = 0;
        for (unsigned i = 0; i < width; i++) v = v << 8 | *r->p++;
        *ret = v;
        return 0;
}

static int get_body(struct reader *r, struct token *t, enum token_type type, uint64_t n)
{
        if (n > left(r)) return E_TRUNCATED;
        t->type = type;
        t->u = n;
        t->p = r->p;
        r->p += n;
        return 0;
}

static int get_sized_body(
        struct reader *r, struct token *t, enum token_type type, unsigned width, unsigned extra)
{
        uint64_t n;
        int err = get_be(r, width, &n);
        return err != 0 ? err : get_body(r, t, type, n + extra);
}

/* A header that promises more elements than bytes follow lies. */
static int get_count(struct reader *r, struct token *t, enum token_type type, unsigned width, uint64_t n)
{
        if (width != 0) {
                int err = get_be(r, width, &n);
                if (err != 0) return err;
        }
        t->type = type;
        t->u = n;
        return n * (type == TOKEN_MAP ? 2 : 1) > left(r) ? E_TRUNCATED : 0;
}

static int get_uint(struct reader *r, struct token *t, unsigned width)
{
        t->type = TOKEN_UINT;
        return get_be(r, width, &t->u);
}

static int get_int(struct reader *r, struct token *t, unsigned width)
{
        uint64_t v;
        int err = get_be(r, width, &v);
        if (err != 0) return err;
        unsigned shift = 64 - 8 * width;
        t->i = (int64_t)(v << shift) >> shift; /* arithmetic: extends the sign */
        t->type = t->i < 0 ? TOKEN_INT : TOKEN_UINT;
        t->u = (uint64_t)t->i;
        return 0;
}

static int get_float(struct reader *r, struct token *t, unsigned width)
{
        uint64_t v;
        int err = get_be(r, width, &v);
        if (err != 0) return err;
        t->type = TOKEN_FLOAT;
        if (width == sizeof(float)) {
                uint32_t bits = (uint32_t)v;
                float f;
                memcpy(&f, &bits, sizeof f);
                t->d = (double)f;
        } else {
                memcpy(&t->d, &v, sizeof t->d);
        }
        return 0;
}

/* The bytes 0xc0 to 0xdf: what does not fit into the first byte. */
static int next_long(struct reader *r, struct token *t, unsigned c)
{
        switch (c) {
        case 0xc0: t->type = TOKEN_NIL; return 0;
        case 0xc2:
        case 0xc3:
                t->type = TOKEN_BOOL;
                t->u = c & 1;
                return 0;
        case 0xc4: return get_sized_body(r, t, TOKEN_BIN, 1, 0);
        case 0xc5: return get_sized_body(r, t, TOKEN_BIN, 2, 0);
        case 0xc6: return get_sized_body(r, t, TOKEN_BIN, 4, 0);
        case 0xc7: return get_sized_body(r, t, TOKEN_EXT, 1, 1);
        case 0xc8: return get_sized_body(r, t, TOKEN_EXT, 2, 1);
        case 0xc9: return get_sized_body(r, t, TOKEN_EXT, 4, 1);
        case 0xca: return get_float(r, t, 4);
        case 0xcb: return get_float(r, t, 8);
        case 0xcc:
        case 0xcd:
        case 0xce:
        case 0xcf: return get_uint(r, t, 1U << (c - 0xcc));
        case 0xd0:
        case 0xd1:
        case 0xd2:
        case 0xd3: return get_int(r, t, 1U << (c - 0xd0));
        case 0xd4:
        case 0xd5:
        case 0xd6:
        case 0xd7:
        case 0xd8: return get_body(r, t, TOKEN_EXT, (1U << (c - 0xd4)) + 1);
        case 0xd9: return get_sized_body(r, t, TOKEN_STR, 1, 0);
        case 0xda: return get_sized_body(r, t, TOKEN_STR, 2, 0);
        case 0xdb: return get_sized_body(r, t, TOKEN_STR, 4, 0);
        case 0xdc: return get_count(r, t, TOKEN_ARRAY, 2, 0);
        case 0xdd: return get_count(r, t, TOKEN_ARRAY, 4, 0);
        case 0xde: return get_count(r, t, TOKEN_MAP, 2, 0);
        case 0xdf: return get_count(r, t, TOKEN_MAP, 4, 0);
        default: return E_INVALID; /* 0xc1 is no msgpack */
        }
}

static int next_token(struct reader *r, struct token *t)
{
        if (r->p == r->end) return E_TRUNCATED;
        unsigned c = *r->p++;
        if (c < 0x80) {
                t->type = TOKEN_UINT;
                t->u = c;
                return 0;
        }
        if (c < 0x90) return get_count(r, t, TOKEN_MAP, 0, c & 0x0f);
        if (c < 0xa0) return get_count(r, t, TOKEN_ARRAY, 0, c & 0x0f);
        if (c < 0xc0) return get_body(r, t, TOKEN_STR, c & 0x1f);
        if (c < 0xe0) return next_long(r, t, c);
        t->type = TOKEN_INT;
        t->i = (int64_t)c - 0x100;
        return 0;
}

/* Passes over one value of whatever type. */
static int skip(struct reader *r)
{
        uint64_t todo[RAW_DEPTH_MAX + 1] = { 1 }; /* values still to come on each level */
        unsigned level = 0;
        for (;;) {
                while (todo[level] == 0) {
                        if (level == 0) return 0;
                        level--;
                }
                todo[level]--;
                struct token t;
                int err = next_token(r, &t);
                if (err != 0) return err;
                if (t.type != TOKEN_ARRAY && t.type != TOKEN_MAP) continue;
                if (level == RAW_DEPTH_MAX) return E_TOO_LARGE;
                todo[++level] = t.type == TOKEN_MAP ? 2 * t.u : t.u;
        }
}

/* One whole value and nothing behind it? */
static int measure(struct reader *r)
{
        const uint8_t *start = r->p;
        int err = skip(r);
        if (err == E_TOO_LARGE) return path_fail(&r->path, err, "nested too deeply");
        if (err == E_TRUNCATED) return path_fail(&r->path, err, "the data ends too early");
        if (err != 0) return path_fail(&r->path, err, "not msgpack");
        if (r->p != r->end) return path_fail(&r->path, E_INVALID, "%zu bytes after the end", left(r));
        r->p = start;
        return 0;
}

/* ---- values ---- */

static int dec_obj(struct reader *r, const struct type_desc *t, void *o);

static const char *token_name(enum token_type type)
{
        static const char *const names[] = { "nil", "a boolean", "a number", "a negative number",
                "a fraction", "a string", "bytes", "an extension", "an array", "a map" };
        return names[type];
}

static int full(struct reader *r) { return path_fail(&r->path, E_TOO_LARGE, "too large"); }

/* Reads a token that has to be of this type. */
static int expect(struct reader *r, enum token_type type, struct token *t)
{
        int err = next_token(r, t);
        if (err != 0) return path_fail(&r->path, err, "%s", err_text(err));
        if (t->type == type) return 0;
        return path_fail(&r->path, E_INVALID, "expected %s, got %s", token_name(type), token_name(t->type));
}

static int dec_str(struct reader *r, const char **ret)
{
        struct token t;
        int err = expect(r, TOKEN_STR, &t);
        if (err != 0) return err;
        if (memchr(t.p, '\0', t.u) != NULL) return path_fail(&r->path, E_INVALID, "a string with a NUL");
        char *s = arena_try(r->a, t.u + 1);
        if (s == NULL) return full(r);
        memcpy(s, t.p, t.u);
        *ret = s;
        return 0;
}

static int dec_i64(struct reader *r, int64_t *ret)
{
        struct token t;
        int err = next_token(r, &t);
        if (err != 0) return path_fail(&r->path, err, "%s", err_text(err));
        if (t.type == TOKEN_INT) *ret = t.i;
        else if (t.type == TOKEN_UINT && t.u <= INT64_MAX) *ret = (int64_t)t.u;
        else return path_fail(&r->path, E_INVALID, "expected a signed number, got %s", token_name(t.type));
        return 0;
}

static int dec_f64(struct reader *r, double *ret)
{
        struct token t;
        int err = next_token(r, &t);
        if (err != 0) return path_fail(&r->path, err, "%s", err_text(err));
        if (t.type == TOKEN_FLOAT) *ret = t.d;
        else if (t.type == TOKEN_UINT) *ret = (double)t.u;
        else if (t.type == TOKEN_INT) *ret = (double)t.i;
        else return path_fail(&r->path, E_INVALID, "expected a number, got %s", token_name(t.type));
        return 0;
}

/* A value that a newer version may know: an error in the log, absent elsewhere. */
static int dec_enum(struct reader *r, const struct enum_desc *e, void *p, bool *ret_present)
{
        struct token t;
        int err = expect(r, TOKEN_UINT, &t);
        if (err != 0) return err;
        if (t.u < e->n) put_enum(p, (unsigned)t.u);
        else if (r->mode == DEC_STRICT)
                return path_fail(
                        &r->path, E_FORMAT, "unknown value %llu of %s", (unsigned long long)t.u, e->name);
        else *ret_present = false;
        return 0;
}

static int dec_list(struct reader *r, const struct field_desc *f, void *o)
{
        struct token t;
        int err = expect(r, TOKEN_ARRAY, &t);
        if (err != 0) return err;
        const struct type_desc *sub = f->sub;
        uint32_t n = (uint32_t)t.u;
        size_t width = f->kind == FK_LIST   ? sub->size
                       : f->kind == FK_STRS ? sizeof(char *)
                                            : sizeof(uint64_t);
        char *array = n != 0 ? arena_array_try(r->a, n, width) : NULL;
        if (n != 0 && array == NULL) return full(r);
        for (uint32_t i = 0; i < n && err == 0; i++) {
                path_push_idx(&r->path, i);
                void *p = array + i * width;
                if (f->kind == FK_LIST) {
                        err = dec_obj(r, sub, p);
                } else if (f->kind == FK_STRS) {
                        const char *s = NULL;
                        err = dec_str(r, &s);
                        put_str(p, s);
                } else {
                        err = expect(r, TOKEN_UINT, &t);
                        put_u64(p, t.u);
                }
                path_pop(&r->path);
        }
        put_ptr(member_w(o, f), array);
        count_set(o, f, n);
        return err;
}

/* Keys that do not ascend are sorted, or refused where bytes have to be canonical. */
static int check_order(struct reader *r, const char *last, const char *key)
{
        if (r->mode != DEC_STRICT || last == NULL || strcmp(last, key) < 0) return 0;
        return path_fail(&r->path, E_FORMAT, "keys out of order at \"%s\"", key);
}

static int dec_strmap(struct reader *r, struct strmap *m)
{
        struct token t;
        *m = (struct strmap){ 0 };
        int err = expect(r, TOKEN_MAP, &t);
        if (err != 0 || t.u == 0) return err;
        const char **kv = arena_array(r->a, const char *, 2 * t.u);
        if (kv == NULL) return full(r);
        for (uint64_t i = 0; i < 2 * t.u && err == 0; i += 2) {
                err = dec_str(r, &kv[i]);
                if (err == 0) err = check_order(r, i > 0 ? kv[i - 2] : NULL, kv[i]);
                if (err == 0) err = dec_str(r, &kv[i + 1]);
        }
        if (err != 0) return err;
        *m = (struct strmap){ kv, (uint32_t)t.u };
        return strmap_sort(m, r->a) == 0 ? 0 : full(r);
}

static int dec_intmap(struct reader *r, struct intmap *m)
{
        struct token t;
        *m = (struct intmap){ 0 };
        int err = expect(r, TOKEN_MAP, &t);
        if (err != 0 || t.u == 0) return err;
        *m = (struct intmap){ arena_array(r->a, const char *, t.u), arena_array(r->a, int64_t, t.u),
                (uint32_t)t.u };
        if (m->keys == NULL || m->vals == NULL) return full(r);
        for (uint32_t i = 0; i < m->n && err == 0; i++) {
                err = dec_str(r, &m->keys[i]);
                if (err == 0) err = check_order(r, i > 0 ? m->keys[i - 1] : NULL, m->keys[i]);
                if (err == 0) err = dec_i64(r, &m->vals[i]);
        }
        if (err != 0) return err;
        return intmap_sort(m, r->a) == 0 ? 0 : full(r);
}

static int dec_objmap(struct reader *r, const struct type_desc *sub, struct objmap *m)
{
        struct token t;
        *m = (struct objmap){ 0 };
        int err = expect(r, TOKEN_MAP, &t);
        if (err != 0 || t.u == 0) return err;
        *m = (struct objmap){ arena_array(r->a, const char *, t.u), arena_array_try(r->a, t.u, sub->size),
                (uint32_t)t.u };
        if (m->keys == NULL || m->vals == NULL) return full(r);
        for (uint32_t i = 0; i < m->n && err == 0; i++) {
                err = dec_str(r, &m->keys[i]);
                if (err == 0) err = check_order(r, i > 0 ? m->keys[i - 1] : NULL, m->keys[i]);
                if (err != 0) break;
                path_push(&r->path, m->keys[i]);
                err = dec_obj(r, sub, elem_w(sub, m->vals, i));
                path_pop(&r->path);
        }
        if (err != 0) return err;
        return objmap_sort(sub, m, r->a) == 0 ? 0 : full(r);
}

static int dec_sub(struct reader *r, const struct field_desc *f, void *p)
{
        const struct type_desc *sub = f->sub;
        void *o = arena_try(r->a, sub->size);
        if (o == NULL) return full(r);
        put_ptr(p, o);
        return dec_obj(r, sub, o);
}

static int dec_value(struct reader *r, const struct field_desc *f, void *o, bool *ret_present)
{
        void *p = member_w(o, f);
        struct token t = { 0 };
        const char *s = NULL;
        int64_t i = 0;
        double d = 0;
        int err = 0;
        switch ((enum field_kind)f->kind) {
        case FK_BOOL:
                err = expect(r, TOKEN_BOOL, &t);
                put_bool(p, t.u != 0);
                return err;
        case FK_I64:
                err = dec_i64(r, &i);
                put_i64(p, i);
                return err;
        case FK_U64:
        case FK_FLAGS:
                err = expect(r, TOKEN_UINT, &t);
                put_u64(p, t.u);
                return err;
        case FK_F64:
                err = dec_f64(r, &d);
                put_f64(p, d);
                return err;
        case FK_STR:
                err = dec_str(r, &s);
                put_str(p, s);
                return err;
        case FK_BIN:
                put_blob(p, (struct blob){ 0 });
                err = expect(r, TOKEN_BIN, &t);
                if (err != 0 || t.u == 0) return err;
                put_blob(p, BLOB(arena_memdup(r->a, t.p, t.u), t.u));
                return get_blob(p).p != NULL ? 0 : full(r);
        case FK_ENUM: return dec_enum(r, f->sub, p, ret_present);
        case FK_OBJ: return dec_sub(r, f, p);
        case FK_LIST:
        case FK_STRS:
        case FK_U64S: return dec_list(r, f, o);
        case FK_MAP: return dec_strmap(r, p);
        case FK_IMAP: return dec_intmap(r, p);
        case FK_OMAP: return dec_objmap(r, f->sub, p);
        }
        return E_INVALID;
}

/* ---- objects ---- */

/* Reads the tag of the next pair; refuses disorder where bytes have to be canonical. */
static int dec_tag(struct reader *r, uint64_t last, uint64_t *ret)
{
        struct token t;
        int err = expect(r, TOKEN_UINT, &t);
        if (err != 0) return err;
        *ret = t.u;
        if (r->mode != DEC_STRICT || t.u > last) return 0;
        return path_fail(&r->path, E_FORMAT, "field %llu out of order", (unsigned long long)t.u);
}

static int dec_field(struct reader *r, const struct field_desc *f, unsigned ord, void *o)
{
        bool is_nil = r->mode == DEC_TOLERANT && r->p < r->end && *r->p == 0xc0;
        if ((f->flags & FF_OBSERVED) || is_nil) return skip(r);
        bool present = true;
        path_push(&r->path, f->name);
        int err = dec_value(r, f, o, &present);
        path_pop(&r->path);
        if (err == 0 && present) has_add(o, ord);
        return err;
}

static int dec_fields(struct reader *r, const struct type_desc *t, void *o, uint64_t n)
{
        unsigned ord = 0;
        uint64_t tag = 0;
        for (uint64_t i = 0; i < n; i++) {
                uint64_t last = tag;
                int err = dec_tag(r, last, &tag);
                if (err != 0) return err;
                if (tag < last) ord = 0;
                while (ord < t->n_fields && t->fields[ord].tag < tag) ord++;
                if (ord < t->n_fields && t->fields[ord].tag == tag)
                        err = dec_field(r, &t->fields[ord], ord, o);
                else if (r->mode == DEC_TOLERANT) err = skip(r);
                else
                        err = path_fail(&r->path, E_FORMAT, "%s has no field %llu in this version", t->name,
                                (unsigned long long)tag);
                if (err != 0) return err;
        }
        return 0;
}

static int dec_obj(struct reader *r, const struct type_desc *t, void *o)
{
        struct token map;
        int err = expect(r, TOKEN_MAP, &map);
        if (err != 0) return err;
        if (r->depth == CODEC_DEPTH_MAX) return path_fail(&r->path, E_TOO_LARGE, "nested too deeply");
        r->depth++;
        err = dec_fields(r, t, o, map.u);
        r->depth--;
        for (unsigned i = 0; i < t->n_fields && err == 0; i++)
                if ((t->fields[i].flags & (FF_REQ | FF_OBSERVED)) == FF_REQ && !has_bit(o, i))
                        err = path_fail(&r->path, E_INVALID, "%s is missing", t->fields[i].name);
        return err;
}

int dec_msgpack(const struct type_desc *t, struct blob in, enum dec_mode mode, struct arena *a, void *ret_o,
        struct fail *f)
{
        static const uint8_t nothing[1];
        if (in.n == 0) in.p = nothing;
        struct reader r = { .p = in.p, .end = in.p + in.n, .mode = mode, .a = a, .path.fail = f };
        memset(ret_o, 0, t->size);
        int err = measure(&r);
        return err != 0 ? err : dec_obj(&r, t, ret_o);
}
