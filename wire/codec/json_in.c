/* JSON in, parsed by jansson. nesting() looks at the text first, because jansson's own limit is far above
 * what any of our types needs. Coercion of scalars is in json_scalar.c. */
#include <stdio.h>
#include <string.h>

#include "wire/codec/access.h"
#include "wire/codec/json_internal.h"
#include "wire/codec/maps.h"

#define RAW_DEPTH_MAX (2 * CODEC_DEPTH_MAX + 4)

struct json_reader {
        bool is_reply; /* FF_OBSERVED fields are read */
        unsigned depth;
        struct arena *a;
        struct path path;
};

static int dec_obj(struct json_reader *r, const struct type_desc *t, const json_t *v, void *o);

static int full(struct json_reader *r) { return path_fail(&r->path, E_TOO_LARGE, "too large"); }

/* ---- containers ---- */

static int dec_elem(struct json_reader *r, const struct field_desc *f, const json_t *v, void *p)
{
        const char *s = NULL;
        uint64_t u = 0;
        int err;
        if (f->kind == FK_LIST) return dec_obj(r, f->sub, v, p);
        if (f->kind == FK_STRS) {
                err = json_to_str(&r->path, v, r->a, &s);
                put_str(p, s);
        } else {
                err = json_to_u64(&r->path, v, &u);
                put_u64(p, u);
        }
        return err;
}

static int dec_list(struct json_reader *r, const struct field_desc *f, const json_t *v, void *o)
{
        if (!json_is_array(v)) return json_mismatch(&r->path, v, "a list");
        const struct type_desc *sub = f->sub;
        size_t n = json_array_size(v);
        size_t width = f->kind == FK_LIST   ? sub->size
                       : f->kind == FK_STRS ? sizeof(char *)
                                            : sizeof(uint64_t);
        char *array = n != 0 ? arena_array_try(r->a, n, width) : NULL;
        if (n > UINT32_MAX || (n != 0 && array == NULL)) return full(r);
        int err = 0;
        for (size_t i = 0; i < n && err == 0; i++) {
                path_push_idx(&r->path, (uint32_t)i);
                err = dec_elem(r, f, json_array_get(v, i), array + i * width);
                path_pop(&r->path);
        }
        put_ptr(member_w(o, f), array);
        count_set(o, f, (uint32_t)n);
        return err;
}

/* One value of a map; at is its place. */
static int dec_map_value(struct json_reader *r, const struct field_desc *f, const json_t *v, void *at)
{
        const char *s = NULL;
        int64_t i = 0;
        int err;
        if (f->kind == FK_OMAP) return dec_obj(r, f->sub, v, at);
        if (f->kind == FK_MAP) {
                err = json_to_str(&r->path, v, r->a, &s);
                put_str(at, s);
        } else {
                err = json_to_i64(&r->path, v, &i);
                put_i64(at, i);
        }
        return err;
}

/* Members into arrays of keys and values, of which each next one is stride further. Nulls are left out. */
static int dec_pairs(struct json_reader *r, const struct field_desc *f, const json_t *v, const char **keys,
        unsigned key_stride, char *vals, size_t val_stride, uint32_t *ret_n)
{
        uint32_t n = 0;
        int err = 0;
        for (void *it = json_object_iter((json_t *)v); it != NULL && err == 0;
                it = json_object_iter_next((json_t *)v, it)) {
                const json_t *value = json_object_iter_value(it);
                const char *key = json_object_iter_key(it);
                if (json_is_null(value)) continue;
                path_push(&r->path, key);
                const char *copy = arena_memdup(r->a, key, strlen(key) + 1);
                err = copy == NULL ? full(r) : dec_map_value(r, f, value, vals + n * val_stride);
                path_pop(&r->path);
                keys[(size_t)n++ * key_stride] = copy;
        }
        *ret_n = n;
        return err;
}

static int dec_map(struct json_reader *r, const struct field_desc *f, const json_t *v, void *p)
{
        if (!json_is_object(v)) return json_mismatch(&r->path, v, "an object");
        size_t n = json_object_size(v);
        if (n == 0) return 0; /* the struct is zeroed: an empty map */
        const struct type_desc *sub = f->sub;
        size_t width = f->kind == FK_OMAP  ? sub->size
                       : f->kind == FK_MAP ? 2 * sizeof(char *)
                                           : sizeof(int64_t);
        char *vals = arena_array_try(r->a, n, width);
        const char **keys = f->kind == FK_MAP ? (const char **)vals : arena_array(r->a, const char *, n);
        if (n > UINT32_MAX || vals == NULL || keys == NULL) return full(r);
        uint32_t used;
        int err;
        if (f->kind == FK_MAP) {
                err = dec_pairs(r, f, v, keys, 2, vals + sizeof(char *), width, &used);
                if (err != 0) return err;
                struct strmap *m = p;
                *m = (struct strmap){ keys, used };
                return strmap_sort(m, r->a) == 0 ? 0 : full(r);
        }
        err = dec_pairs(r, f, v, keys, 1, vals, width, &used);
        if (err != 0) return err;
        if (f->kind == FK_IMAP) {
                struct intmap *m = p;
                *m = (struct intmap){ keys, (int64_t *)(void *)vals, used };
                err = intmap_sort(m, r->a);
        } else {
                struct objmap *m = p;
                *m = (struct objmap){ keys, vals, used };
                err = objmap_sort(sub, m, r->a);
        }
        return err == 0 ? 0 : full(r);
}

/* ---- names ---- */

static int dec_enum(struct json_reader *r, const struct enum_desc *e, const json_t *v, void *p)
{
        if (!json_is_string(v)) return json_mismatch(&r->path, v, "a name");
        int n = enum_parse(e, json_string_value(v));
        if (n < 0) {
                char what[sizeof r->path.fail->text] = "one of";
                for (uint32_t i = 0; i < e->n; i++) {
                        size_t at = strlen(what);
                        (void)snprintf(what + at, sizeof what - at, "%s %s", i > 0 ? "," : "", e->names[i]);
                }
                return json_mismatch(&r->path, v, what);
        }
        put_enum(p, (unsigned)n);
        return 0;
}

/* "-NAME" is a request to clear, which only flags_apply() can do: here it has nothing to clear. */
static int dec_flags(struct json_reader *r, const struct flags_desc *d, const json_t *v, void *p)
{
        if (!json_is_array(v)) return json_mismatch(&r->path, v, "a list of names");
        uint64_t bits = 0;
        for (size_t i = 0; i < json_array_size(v); i++) {
                const json_t *name = json_array_get(v, i);
                const char *s = json_string_value(name);
                uint64_t b = s != NULL ? flags_parse(d, s + (s[0] == '-')) : 0;
                if (b == 0) {
                        path_push_idx(&r->path, (uint32_t)i);
                        return json_mismatch(&r->path, name, "the name of a flag");
                }
                if (s[0] != '-') bits |= b;
        }
        put_u64(p, bits);
        return 0;
}

/* ---- fields and objects ---- */

static int dec_sub(struct json_reader *r, const struct field_desc *f, const json_t *v, void *p)
{
        const struct type_desc *sub = f->sub;
        void *o = arena_try(r->a, sub->size);
        if (o == NULL) return full(r);
        put_ptr(p, o);
        return dec_obj(r, sub, v, o);
}

static int dec_value(struct json_reader *r, const struct field_desc *f, const json_t *v, void *o)
{
        void *p = member_w(o, f);
        const struct path *path = &r->path;
        switch ((enum field_kind)f->kind) {
        case FK_BOOL: return json_to_bool(path, v, p);
        case FK_I64: return json_to_i64(path, v, p);
        case FK_U64: return json_to_u64(path, v, p);
        case FK_F64: return json_to_f64(path, v, p);
        case FK_STR: return json_to_str(path, v, r->a, p);
        case FK_BIN: return json_to_bin(path, v, r->a, p);
        case FK_ENUM: return dec_enum(r, f->sub, v, p);
        case FK_FLAGS: return dec_flags(r, f->sub, v, p);
        case FK_OBJ: return dec_sub(r, f, v, p);
        case FK_LIST:
        case FK_STRS:
        case FK_U64S: return dec_list(r, f, v, o);
        case FK_MAP:
        case FK_IMAP:
        case FK_OMAP: return dec_map(r, f, v, p);
        }
        return E_INVALID;
}

static int dec_fields(struct json_reader *r, const struct type_desc *t, const json_t *v, void *o)
{
        unsigned ignored = FF_INTERNAL | (r->is_reply ? 0U : (unsigned)FF_OBSERVED);
        for (unsigned i = 0; i < t->n_fields; i++) {
                const struct field_desc *f = &t->fields[i];
                if (f->flags & ignored) continue;
                const json_t *m = json_object_get(v, f->name);
                path_push(&r->path, f->name);
                int err = 0;
                if (m != NULL && !json_is_null(m)) {
                        err = dec_value(r, f, m, o);
                        has_add(o, i);
                } else if ((f->flags & (FF_REQ | FF_OBSERVED)) == FF_REQ) {
                        err = path_fail(&r->path, E_INVALID, "is missing");
                }
                path_pop(&r->path);
                if (err != 0) return err;
        }
        return 0;
}

static int dec_obj(struct json_reader *r, const struct type_desc *t, const json_t *v, void *o)
{
        if (is_bare(t)) {
                has_add(o, 0);
                return dec_value(r, &t->fields[0], v, o);
        }
        if (!json_is_object(v)) return json_mismatch(&r->path, v, "an object");
        if (r->depth == CODEC_DEPTH_MAX) return path_fail(&r->path, E_TOO_LARGE, "nested too deeply");
        r->depth++;
        int err = dec_fields(r, t, v, o);
        r->depth--;
        return err;
}

/* ---- documents ---- */

static bool is_blank(struct blob in)
{
        for (size_t i = 0; i < in.n; i++)
                if (memchr(" \t\r\n", in.p[i], 4) == NULL) return false;
        return true;
}

/* The deepest nesting of brackets in the text, strings aside. */
static unsigned nesting(struct blob in)
{
        unsigned depth = 0, deepest = 0;
        bool in_string = false;
        for (size_t i = 0; i < in.n; i++) {
                uint8_t c = in.p[i];
                if (in_string) {
                        if (c == '\\') i++;
                        else if (c == '"') in_string = false;
                } else if (c == '"') {
                        in_string = true;
                } else if (c == '{' || c == '[') {
                        if (++depth > deepest) deepest = depth;
                } else if ((c == '}' || c == ']') && depth > 0) {
                        depth--;
                }
        }
        return deepest;
}

/* An empty text is an empty object. NULL on failure. */
static json_t *parse(struct blob in, struct fail *f, int *ret_err)
{
        if (is_blank(in)) return json_object();
        if (nesting(in) > RAW_DEPTH_MAX) {
                *ret_err = fail_set(f, E_TOO_LARGE, "JSON: nested too deeply");
                return NULL;
        }
        json_error_t e;
        json_t *v = json_loadb((const char *)in.p, in.n, JSON_DECODE_ANY, &e);
        if (v == NULL)
                *ret_err =
                        fail_set(f, E_INVALID, "not JSON: line %d, column %d: %s", e.line, e.column, e.text);
        return v;
}

static int decode(const struct type_desc *t, struct blob in, bool is_reply, struct arena *a, void *ret_o,
        struct fail *f)
{
        struct json_reader r = { .is_reply = is_reply, .a = a, .path.fail = f };
        memset(ret_o, 0, t->size);
        int err = 0;
        json_t *v = parse(in, f, &err);
        if (v == NULL) return err;
        err = dec_obj(&r, t, v, ret_o);
        json_decref(v);
        return err;
}

static int decode_list(const struct type_desc *t, struct blob in, bool is_reply, struct arena *a,
        void **ret_array, uint32_t *ret_n, struct fail *f)
{
        struct json_reader r = { .is_reply = is_reply, .a = a, .path.fail = f };
        int err = 0;
        json_t *v = parse(in, f, &err);
        if (v == NULL) return err;
        bool is_list = json_is_array(v);
        size_t n = is_list ? json_array_size(v) : 1;
        void *array = n != 0 ? arena_array_try(a, n, t->size) : NULL;
        if (n > UINT32_MAX || (n != 0 && array == NULL)) err = full(&r);
        for (uint32_t i = 0; i < n && err == 0; i++) {
                if (is_list) path_push_idx(&r.path, i);
                err = dec_obj(&r, t, is_list ? json_array_get(v, i) : v, elem_w(t, array, i));
                if (is_list) path_pop(&r.path);
        }
        json_decref(v);
        if (err != 0) return err;
        *ret_array = array;
        *ret_n = (uint32_t)n;
        return 0;
}

int dec_json(const struct type_desc *t, struct blob in, struct arena *a, void *ret_o, struct fail *f)
{
        return decode(t, in, false, a, ret_o, f);
}

int dec_json_reply(const struct type_desc *t, struct blob in, struct arena *a, void *ret_o, struct fail *f)
{
        return decode(t, in, true, a, ret_o, f);
}

int dec_json_list(const struct type_desc *t, struct blob in, struct arena *a, void **ret_array,
        uint32_t *ret_n, struct fail *f)
{
        return decode_list(t, in, false, a, ret_array, ret_n, f);
}

int dec_json_reply_list(const struct type_desc *t, struct blob in, struct arena *a, void **ret_array,
        uint32_t *ret_n, struct fail *f)
{
        return decode_list(t, in, true, a, ret_array, ret_n, f);
}
