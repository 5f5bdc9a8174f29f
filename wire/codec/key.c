/* LMDB keys, see codec.h. The order of the bytes is the order of the fields. */
#include <limits.h>

#include "wire/codec/access.h"

enum { TYPE_ID_BYTES = 2 };

void enc_key_str(struct buf *out, const char *s, bool nocase)
{
        size_t n = s != NULL ? strlen(s) : 0;
        uint8_t *p = buf_reserve(out, n + 1);
        if (p == NULL) return;
        for (size_t i = 0; i < n; i++) {
                char c = s[i];
                p[i] = (uint8_t)(nocase && c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
        }
        p[n] = '\0';
        buf_advance(out, n + 1);
}

void enc_key_u64(struct buf *out, uint64_t v) { buf_put_be(out, v, sizeof v); }

/* Presence does not matter, so that { .name = "x" } is a key to look for. The passes refuse key fields of
 * other kinds. */
static void put_key_field(struct buf *out, const struct field_desc *f, const void *o)
{
        const void *p = member(o, f);
        if (f->kind == FK_STR) {
                enc_key_str(out, get_str(p), (f->flags & FF_NOCASE) != 0);
                return;
        }
        uint64_t v = 0;
        if (f->kind == FK_BOOL) v = get_bool(p);
        else if (f->kind == FK_ENUM) v = get_enum(p);
        else v = get_u64(p);
        if (f->kind == FK_I64) v ^= UINT64_C(1) << 63; /* negative numbers first */
        enc_key_u64(out, v);
}

void enc_key_prefix(const struct type_desc *t, const void *o, unsigned n_fields, struct buf *out)
{
        buf_put_be(out, t->id, TYPE_ID_BYTES);
        for (unsigned i = 0; i < t->n_fields && n_fields > 0; i++) {
                if (!(t->fields[i].flags & FF_KEY)) continue;
                put_key_field(out, &t->fields[i], o);
                n_fields--;
        }
}

void enc_key(const struct type_desc *t, const void *o, struct buf *out)
{
        enc_key_prefix(t, o, UINT_MAX, out);
}
