/* Typed access to the members of a struct that only its descriptor describes. For wire/codec only.
 *
 * Threads: pure. Ownership: nothing is allocated here. */
#ifndef WIRE_CODEC_ACCESS_H
#define WIRE_CODEC_ACCESS_H

#include <string.h>

#include "wire/codec/codec.h"

static inline const void *member(const void *o, const struct field_desc *f)
{
        return (const char *)o + f->off;
}
static inline void *member_w(void *o, const struct field_desc *f) { return (char *)o + f->off; }
static inline uint64_t has_get(const void *o)
{
        uint64_t v;
        memcpy(&v, o, sizeof v);
        return v;
}
static inline void has_set(void *o, uint64_t v) { memcpy(o, &v, sizeof v); }
static inline bool has_bit(const void *o, unsigned ord) { return (has_get(o) >> ord & 1) != 0; }
static inline void has_add(void *o, unsigned ord) { has_set(o, has_get(o) | UINT64_C(1) << ord); }

/* Loads and stores through memcpy: no assumption on how the compiler sees the member's type. */
#define ACCESS_(name, type)                          \
        static inline type get_##name(const void *p) \
        {                                            \
                type v;                              \
                memcpy(&v, p, sizeof v);             \
                return v;                            \
        }                                            \
        static inline void put_##name(void *p, type v) { memcpy(p, &v, sizeof v); }
ACCESS_(bool, bool)
ACCESS_(i64, int64_t)
ACCESS_(u64, uint64_t)
ACCESS_(f64, double)
ACCESS_(enum, unsigned)
ACCESS_(str, const char *)
ACCESS_(ptr, void *)
ACCESS_(blob, struct blob)
#undef ACCESS_

static inline uint32_t count_get(const void *o, const struct field_desc *f)
{
        uint32_t n;
        memcpy(&n, (const char *)o + f->off_n, sizeof n);
        return n;
}
static inline void count_set(void *o, const struct field_desc *f, uint32_t n)
{
        memcpy((char *)o + f->off_n, &n, sizeof n);
}

/* Element i of an array of t. */
static inline const void *elem(const struct type_desc *t, const void *array, uint32_t i)
{
        return (const char *)array + (size_t)i * t->size;
}
static inline void *elem_w(const struct type_desc *t, void *array, uint32_t i)
{
        return (char *)array + (size_t)i * t->size;
}

/* Marked present, and not a string or an object whose pointer is NULL, which counts as absent everywhere. */
static inline bool is_present(const void *o, const struct field_desc *f, unsigned ord)
{
        if (!has_bit(o, ord)) return false;
        if (f->kind == FK_STR) return get_str(member(o, f)) != NULL;
        if (f->kind == FK_OBJ) return get_ptr(member(o, f)) != NULL;
        return true;
}

/* A type whose only field has no name stands for the value of that field in JSON: {"k": ["a"]} as an OMAP of
 * such. */
static inline bool is_bare(const struct type_desc *t)
{
        return t->n_fields == 1 && t->fields[0].name[0] == '\0';
}

#endif
