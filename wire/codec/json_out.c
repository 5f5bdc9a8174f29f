/* JSON out, written straight into the buffer. */
#include <math.h>
#include <sodium.h>
#include <string.h>

#include "wire/codec/access.h"
#include "wire/codec/json_internal.h"

static void put_obj(struct buf *out, const struct type_desc *t, const void *o, enum json_mode mode);

static void put_char(struct buf *out, char c)
{
        uint8_t *p = buf_reserve(out, 1);
        if (p == NULL) return;
        *p = (uint8_t)c;
        buf_advance(out, 1);
}

#define PUT_LITERAL(out, text) buf_put((out), (text), sizeof(text) - 1)

/* ---- strings ---- */

/* Bytes of the UTF-8 sequence at s, 0 when it is none (overlong forms, surrogates, beyond U+10FFFF included).
 */
static unsigned utf8_bytes(const unsigned char *s)
{
        unsigned n = s[0] < 0x80   ? 1
                     : s[0] < 0xc2 ? 0
                     : s[0] < 0xe0 ? 2
                     : s[0] < 0xf0 ? 3
                     : s[0] < 0xf5 ? 4
                                   : 0;
        for (unsigned i = 1; i < n; i++)
                if ((s[i] & 0xc0) != 0x80) return 0; /* stops at the NUL too */
        if (s[0] == 0xe0 && s[1] < 0xa0) return 0;
        if (s[0] == 0xed && s[1] > 0x9f) return 0;
        if (s[0] == 0xf0 && s[1] < 0x90) return 0;
        if (s[0] == 0xf4 && s[1] > 0x8f) return 0;
        return n;
}

static void put_escape(struct buf *out, unsigned char c)
{
        static const char hex[] = "0123456789abcdef";
        switch (c) {
        case '"': PUT_LITERAL(out, "\\\""); break;
        case '\\': PUT_LITERAL(out, "\\\\"); break;
        case '\n': PUT_LITERAL(out, "\\n"); break;
        case '\r': PUT_LITERAL(out, "\\r"); break;
        case '\t': PUT_LITERAL(out, "\\t"); break;
        default:
                PUT_LITERAL(out, "\\u00");
                put_char(out, hex[c >> 4]);
                put_char(out, hex[c & 0x0f]);
        }
}

void enc_json_str(const char *text, struct buf *out)
{
        const unsigned char *s = (const unsigned char *)text, *start = s;
        put_char(out, '"');
        while (*s != '\0') {
                if (*s >= 0x20 && *s < 0x7f && *s != '"' && *s != '\\') {
                        s++;
                        continue;
                }
                unsigned n = utf8_bytes(s);
                if (n > 1) {
                        s += n;
                        continue;
                }
                buf_put(out, start, (size_t)(s - start));
                if (n == 0) PUT_LITERAL(out, "\xef\xbf\xbd"); /* U+FFFD */
                else put_escape(out, *s);
                start = ++s;
        }
        buf_put(out, start, (size_t)(s - start));
        put_char(out, '"');
}

static void put_text(struct buf *out, const char *s) { enc_json_str(s != NULL ? s : "", out); }

/* ---- numbers, bytes, names ---- */

static void put_u64_text(struct buf *out, uint64_t v)
{
        char text[20];
        size_t at = sizeof text;
        do text[--at] = (char)('0' + v % 10);
        while ((v /= 10) != 0);
        buf_put(out, text + at, sizeof text - at);
}

static void put_unsigned(struct buf *out, uint64_t v)
{
        if (v > INT64_MAX) put_char(out, '"');
        put_u64_text(out, v);
        if (v > INT64_MAX) put_char(out, '"');
}

static void put_signed(struct buf *out, int64_t v)
{
        if (v < 0) put_char(out, '-');
        put_u64_text(out, v < 0 ? -(uint64_t)v : (uint64_t)v);
}

/* JSON knows no infinity: such a value is null, that is, absent. */
static void put_double(struct buf *out, double d)
{
        char text[F64_TEXT_BYTES] = "null";
        if (isfinite(d)) f64_text(d, text);
        buf_put_str(out, text);
}

static void put_base64(struct buf *out, struct blob b)
{
        put_char(out, '"');
        size_t n = b.n > SIZE_MAX / 2 ? 0 : sodium_base64_encoded_len(b.n, sodium_base64_VARIANT_ORIGINAL);
        char *p = b.n != 0 ? (char *)buf_reserve(out, n) : NULL;
        if (p != NULL) {
                (void)sodium_bin2base64(p, n, b.p, b.n, sodium_base64_VARIANT_ORIGINAL);
                buf_advance(out, n - 1); /* n counts the NUL */
        }
        put_char(out, '"');
}

static void put_flags(struct buf *out, const struct flags_desc *d, uint64_t bits)
{
        bool first = true;
        put_char(out, '[');
        for (uint32_t i = 0; i < d->n; i++) {
                if ((bits & d->flags[i].bits) != d->flags[i].bits) continue;
                if (!first) put_char(out, ',');
                first = false;
                enc_json_str(d->flags[i].name, out);
        }
        put_char(out, ']');
}

static bool shows_flag(const struct flags_desc *d, uint64_t bits)
{
        for (uint32_t i = 0; i < d->n; i++)
                if ((bits & d->flags[i].bits) == d->flags[i].bits) return true;
        return false;
}

/* ---- containers ---- */

static void put_list(struct buf *out, const struct field_desc *f, const void *o, enum json_mode mode)
{
        const void *array = get_ptr(member(o, f));
        uint32_t n = count_get(o, f);
        if (f->kind == FK_LIST) {
                enc_json_list(f->sub, array, n, mode, out);
                return;
        }
        put_char(out, '[');
        for (uint32_t i = 0; i < n; i++) {
                if (i > 0) put_char(out, ',');
                if (f->kind == FK_STRS) put_text(out, ((const char *const *)array)[i]);
                else put_unsigned(out, ((const uint64_t *)array)[i]);
        }
        put_char(out, ']');
}

static void put_map_key(struct buf *out, uint32_t i, const char *key)
{
        if (i > 0) put_char(out, ',');
        put_text(out, key);
        put_char(out, ':');
}

static void put_map(struct buf *out, const struct field_desc *f, const void *p, enum json_mode mode)
{
        put_char(out, '{');
        if (f->kind == FK_MAP) {
                const struct strmap *m = p;
                for (uint32_t i = 0; i < m->n; i++) {
                        put_map_key(out, i, m->kv[2 * (size_t)i]);
                        put_text(out, m->kv[2 * (size_t)i + 1]);
                }
        } else if (f->kind == FK_IMAP) {
                const struct intmap *m = p;
                for (uint32_t i = 0; i < m->n; i++) {
                        put_map_key(out, i, m->keys[i]);
                        put_signed(out, m->vals[i]);
                }
        } else {
                const struct objmap *m = p;
                for (uint32_t i = 0; i < m->n; i++) {
                        put_map_key(out, i, m->keys[i]);
                        put_obj(out, f->sub, elem(f->sub, m->vals, i), mode);
                }
        }
        put_char(out, '}');
}

/* ---- objects ---- */

static void put_value(struct buf *out, const struct field_desc *f, const void *o, enum json_mode mode)
{
        const void *p = member(o, f);
        switch ((enum field_kind)f->kind) {
        case FK_BOOL: buf_put_str(out, get_bool(p) ? "true" : "false"); break;
        case FK_I64: put_signed(out, get_i64(p)); break;
        case FK_U64: put_unsigned(out, get_u64(p)); break;
        case FK_F64: put_double(out, get_f64(p)); break;
        case FK_STR: put_text(out, get_str(p)); break;
        case FK_BIN: put_base64(out, get_blob(p)); break;
        case FK_ENUM: enc_json_str(enum_name(f->sub, get_enum(p)), out); break;
        case FK_FLAGS: put_flags(out, f->sub, get_u64(p)); break;
        case FK_OBJ:
                if (get_ptr(p) == NULL) PUT_LITERAL(out, "null");
                else put_obj(out, f->sub, get_ptr(p), mode);
                break;
        case FK_LIST:
        case FK_STRS:
        case FK_U64S: put_list(out, f, o, mode); break;
        case FK_MAP:
        case FK_IMAP:
        case FK_OMAP: put_map(out, f, p, mode); break;
        }
}

/* The forms that API replies leave out. */
static bool is_empty(const struct field_desc *f, const void *o)
{
        const void *p = member(o, f);
        switch ((enum field_kind)f->kind) {
        case FK_STR: return get_str(p) == NULL || *get_str(p) == '\0';
        case FK_BIN: return get_blob(p).n == 0;
        case FK_FLAGS: return !shows_flag(f->sub, get_u64(p));
        case FK_LIST:
        case FK_STRS:
        case FK_U64S: return count_get(o, f) == 0;
        case FK_MAP: return ((const struct strmap *)p)->n == 0;
        case FK_IMAP: return ((const struct intmap *)p)->n == 0;
        case FK_OMAP: return ((const struct objmap *)p)->n == 0;
        case FK_F64: return !isfinite(get_f64(p));
        case FK_BOOL:
        case FK_I64:
        case FK_U64:
        case FK_ENUM:
        case FK_OBJ: return false;
        }
        return false;
}

/* A required field is shown even when it is empty: what we say, we must understand. */
static bool is_shown(const struct field_desc *f, unsigned ord, const void *o, enum json_mode mode)
{
        if (f->flags & FF_SECRET) return false;
        if (mode == JSON_DUMP) return is_present(o, f, ord);
        if (f->flags & FF_INTERNAL) return false;
        if (f->flags & FF_ALWAYS) return true;
        if (!is_present(o, f, ord)) return false;
        return (f->flags & FF_REQ) || !is_empty(f, o);
}

/* The empty form of an FF_ALWAYS field that is absent; its member may hold anything. */
static void put_absent(struct buf *out, const struct field_desc *f)
{
        switch ((enum field_kind)f->kind) {
        case FK_BOOL: PUT_LITERAL(out, "false"); break;
        case FK_I64:
        case FK_U64:
        case FK_F64: PUT_LITERAL(out, "0"); break;
        case FK_STR:
        case FK_BIN: PUT_LITERAL(out, "\"\""); break;
        case FK_ENUM: enc_json_str(enum_name(f->sub, 0), out); break;
        case FK_OBJ: PUT_LITERAL(out, "null"); break;
        case FK_FLAGS:
        case FK_LIST:
        case FK_STRS:
        case FK_U64S: PUT_LITERAL(out, "[]"); break;
        case FK_MAP:
        case FK_IMAP:
        case FK_OMAP: PUT_LITERAL(out, "{}"); break;
        }
}

static void put_field(
        struct buf *out, const struct field_desc *f, unsigned ord, const void *o, enum json_mode mode)
{
        if (is_present(o, f, ord)) put_value(out, f, o, mode);
        else put_absent(out, f);
}

static void put_obj(struct buf *out, const struct type_desc *t, const void *o, enum json_mode mode)
{
        bool first = true;
        if (is_bare(t)) {
                put_field(out, &t->fields[0], 0, o, mode);
                return;
        }
        put_char(out, '{');
        for (unsigned i = 0; i < t->n_fields; i++) {
                const struct field_desc *f = &t->fields[i];
                if (!is_shown(f, i, o, mode)) continue;
                if (!first) put_char(out, ',');
                first = false;
                enc_json_str(f->name, out);
                put_char(out, ':');
                put_field(out, f, i, o, mode);
        }
        put_char(out, '}');
}

void enc_json(const struct type_desc *t, const void *o, enum json_mode mode, struct buf *out)
{
        put_obj(out, t, o, mode);
}

void enc_json_list(
        const struct type_desc *t, const void *array, uint32_t n, enum json_mode mode, struct buf *out)
{
        put_char(out, '[');
        for (uint32_t i = 0; i < n; i++) {
                if (i > 0) put_char(out, ',');
                put_obj(out, t, elem(t, array, i), mode);
        }
        put_char(out, ']');
}
