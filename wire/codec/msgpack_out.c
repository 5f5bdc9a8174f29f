/* msgpack out, packed by msgpack-c: a map of tag -> value with ascending tags. msgpack-c picks the shortest
 * form of integers, strings and headers; maps are kept sorted by their owners, which is checked here. So
 * equal values have equal bytes. */
#include <msgpack.h>

#include "wire/codec/access.h"

static int on_bytes(void *out, const char *p, size_t n)
{
        buf_put(out, p, n); /* errors stick in the buffer */
        return 0;
}

static void pack_obj(msgpack_packer *pk, const struct type_desc *t, const void *o);

static void pack_bytes_of_str(msgpack_packer *pk, const char *s)
{
        size_t n = s != NULL ? strlen(s) : 0;
        msgpack_pack_str(pk, n);
        if (n != 0) msgpack_pack_str_body(pk, s, n);
}

/* Keys ascend, or the bytes would not be canonical. */
static void pack_key(msgpack_packer *pk, const char *last, const char *key)
{
        struct buf *out = pk->data;
        if (key == NULL || (last != NULL && strcmp(last, key) >= 0)) {
                if (out->err == 0) out->err = E_INVALID;
                return;
        }
        pack_bytes_of_str(pk, key);
}

static void pack_strmap(msgpack_packer *pk, const struct strmap *m)
{
        msgpack_pack_map(pk, m->n);
        for (uint32_t i = 0; i < m->n; i++) {
                pack_key(pk, i > 0 ? m->kv[2 * (size_t)i - 2] : NULL, m->kv[2 * (size_t)i]);
                pack_bytes_of_str(pk, m->kv[2 * (size_t)i + 1]);
        }
}

static void pack_intmap(msgpack_packer *pk, const struct intmap *m)
{
        msgpack_pack_map(pk, m->n);
        for (uint32_t i = 0; i < m->n; i++) {
                pack_key(pk, i > 0 ? m->keys[i - 1] : NULL, m->keys[i]);
                msgpack_pack_int64(pk, m->vals[i]);
        }
}

static void pack_objmap(msgpack_packer *pk, const struct type_desc *t, const struct objmap *m)
{
        msgpack_pack_map(pk, m->n);
        for (uint32_t i = 0; i < m->n; i++) {
                pack_key(pk, i > 0 ? m->keys[i - 1] : NULL, m->keys[i]);
                pack_obj(pk, t, elem(t, m->vals, i));
        }
}

static void pack_list(msgpack_packer *pk, const struct field_desc *f, const void *p, uint32_t n)
{
        const void *array = get_ptr(p);
        msgpack_pack_array(pk, n);
        for (uint32_t i = 0; i < n; i++) {
                if (f->kind == FK_LIST) pack_obj(pk, f->sub, elem(f->sub, array, i));
                else if (f->kind == FK_STRS) pack_bytes_of_str(pk, ((const char *const *)array)[i]);
                else msgpack_pack_uint64(pk, ((const uint64_t *)array)[i]);
        }
}

static void pack_value(msgpack_packer *pk, const struct field_desc *f, const void *o)
{
        const void *p = member(o, f);
        switch ((enum field_kind)f->kind) {
        case FK_BOOL:
                if (get_bool(p)) msgpack_pack_true(pk);
                else msgpack_pack_false(pk);
                break;
        case FK_I64: msgpack_pack_int64(pk, get_i64(p)); break;
        case FK_U64:
        case FK_FLAGS: msgpack_pack_uint64(pk, get_u64(p)); break;
        case FK_F64: msgpack_pack_double(pk, get_f64(p)); break;
        case FK_ENUM: msgpack_pack_uint64(pk, get_enum(p)); break;
        case FK_STR: pack_bytes_of_str(pk, get_str(p)); break;
        case FK_BIN: {
                struct blob b = get_blob(p);
                msgpack_pack_bin(pk, b.n);
                if (b.n != 0) msgpack_pack_bin_body(pk, b.p, b.n);
                break;
        }
        case FK_OBJ: pack_obj(pk, f->sub, get_ptr(p)); break;
        case FK_LIST:
        case FK_STRS:
        case FK_U64S: pack_list(pk, f, p, count_get(o, f)); break;
        case FK_MAP: pack_strmap(pk, p); break;
        case FK_IMAP: pack_intmap(pk, p); break;
        case FK_OMAP: pack_objmap(pk, f->sub, p); break;
        }
}

static void pack_obj(msgpack_packer *pk, const struct type_desc *t, const void *o)
{
        uint64_t stored = 0;
        for (unsigned i = 0; i < t->n_fields; i++)
                if (!(t->fields[i].flags & FF_OBSERVED) && is_present(o, &t->fields[i], i))
                        stored |= UINT64_C(1) << i;
        msgpack_pack_map(pk, (size_t)__builtin_popcountll(stored));
        for (; stored != 0; stored &= stored - 1) {
                const struct field_desc *f = &t->fields[__builtin_ctzll(stored)];
                msgpack_pack_uint16(pk, f->tag);
                pack_value(pk, f, o);
        }
}

int enc_msgpack(const struct type_desc *t, const void *o, struct buf *out)
{
        msgpack_packer pk;
        msgpack_packer_init(&pk, out, on_bytes);
        pack_obj(&pk, t, o);
        return out->err;
}
