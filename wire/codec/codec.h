/* The engine: walks descriptors, for every declared type alike.
 *
 * Ownership: encoders append to a struct buf; decoders allocate everything from the arena, nothing points
 * into the input. Errors: 0 or a negative error; decoders explain in struct fail which field. Threads: pure.
 */
#ifndef WIRE_CODEC_CODEC_H
#define WIRE_CODEC_CODEC_H

#include "wire/base/buf.h"
#include "wire/base/err.h"
#include "wire/codec/schema.h"

/* Nesting that decoders accept. */
#define CODEC_DEPTH_MAX 16

/* ---- msgpack (msgpack-c behind it): map of tag -> value, ascending tags, shortest integers, sorted maps, so
 * equal values have equal bytes. FF_OBSERVED fields are left out. ---- */
/* Returns out->err: E_INVALID when a map was not sorted by key, or what buf.h says. */
int enc_msgpack(const struct type_desc *t, const void *o, struct buf *out);

enum dec_mode {
        DEC_TOLERANT, /* unknown tags are skipped: satellites, clients, other members' messages */
        DEC_STRICT,   /* unknown tags fail with E_FORMAT: log and stored state */
};
int dec_msgpack(const struct type_desc *t, struct blob in, enum dec_mode mode, struct arena *a, void *ret_o,
        struct fail *f) MUST_USE;

/* ---- JSON: members in the order of the declaration; a U64 above INT64_MAX is a string, because few parsers
 * keep it; bytes that are not UTF-8 become U+FFFD ---- */
enum json_mode {
        JSON_API,  /* null, empty strings, lists and maps are left out unless FF_ALWAYS; no secrets, no
                      FF_INTERNAL */
        JSON_DUMP, /* everything that is present but secrets: for offline tools and tests */
};
void enc_json(const struct type_desc *t, const void *o, enum json_mode mode, struct buf *out);
void enc_json_list(
        const struct type_desc *t, const void *array, uint32_t n, enum json_mode mode, struct buf *out);
void enc_json_str(const char *s, struct buf *out); /* quoted and escaped */
/* Scalars are coerced (numbers and booleans from strings, strings from numbers and booleans), enum and flag
 * names in any case, null is absent, unknown members are ignored, and so are FF_OBSERVED and FF_INTERNAL
 * ones. Empty input is an empty object. */
int dec_json(
        const struct type_desc *t, struct blob in, struct arena *a, void *ret_o, struct fail *f) MUST_USE;
/* A top-level array of t; a single object is taken as an array of one. */
int dec_json_list(const struct type_desc *t, struct blob in, struct arena *a, void **ret_array,
        uint32_t *ret_n, struct fail *f) MUST_USE;
/* For clients, who read what a controller answered: FF_OBSERVED fields too. */
int dec_json_reply(
        const struct type_desc *t, struct blob in, struct arena *a, void *ret_o, struct fail *f) MUST_USE;
int dec_json_reply_list(const struct type_desc *t, struct blob in, struct arena *a, void **ret_array,
        uint32_t *ret_n, struct fail *f) MUST_USE;

/* ---- LMDB keys: 2 bytes big-endian type id, then the FF_KEY fields in declaration order. Strings end in one
 * NUL (they cannot hold one; presence bits do not matter, so { .name = "x" } is a key to look for), FF_NOCASE
 * ones are upper-cased, integers are 8 bytes big-endian; so memcmp order is field order. ---- */
void enc_key(const struct type_desc *t, const void *o, struct buf *out);
/* The first n_fields key fields only: the prefix of a scan. n_fields 0 = the whole table. */
void enc_key_prefix(const struct type_desc *t, const void *o, unsigned n_fields, struct buf *out);
void enc_key_str(struct buf *out, const char *s, bool nocase);
void enc_key_u64(struct buf *out, uint64_t v);

/* ---- values ---- */
/* Deep copy into the arena. */
int obj_copy(const struct type_desc *t, const void *o, struct arena *a, void *ret_o) MUST_USE;
/* Canonical equality (of the msgpack form). */
bool obj_equal(const struct type_desc *t, const void *a, const void *b);
/* Takes over each field that is present in patch: the PUT of LINSTOR's API. Objects that both have are merged
 * field by field, FK_MAP per key, all else is replaced. o shares memory with patch afterwards; nothing that o
 * pointed to is changed. */
void obj_merge(const struct type_desc *t, void *o, const void *patch, struct arena *a);
/* Flags as a modify request names them: NAME sets, -NAME clears, any case, in order. Leaves *value alone and
 * explains when a name is unknown (E_INVALID). */
int flags_apply(const struct flags_desc *d, const char *const *names, uint32_t n, uint64_t *value,
        struct fail *f) MUST_USE;
/* The bits of one name, any case; 0 when unknown. */
uint64_t flags_parse(const struct flags_desc *d, const char *name);
/* The name of enum value v, "?" when out of range. */
const char *enum_name(const struct enum_desc *e, unsigned v);
/* Any case. -1 when unknown. */
int enum_parse(const struct enum_desc *e, const char *name);

/* ---- struct strmap: the property map. Changes make new arrays in the arena, so that copies of the struct
 * keep what they had; keys and values are copied. They cost O(n) each and abort at the arena's limit:
 * strmap_merge takes many. ---- */
const char *strmap_get(const struct strmap *m, const char *key); /* NULL when absent */
void strmap_set(struct strmap *m, const char *key, const char *value, struct arena *a);
bool strmap_del(struct strmap *m, const char *key, struct arena *a); /* true when it was there */
/* Deletes every key that is ns itself or below "ns/". Returns how many. */
uint32_t strmap_del_namespace(struct strmap *m, const char *ns, struct arena *a);

/* Takes over every pair of more; one pass, for many keys at once. Keys and values are shared, not copied. */
void strmap_merge(struct strmap *m, const struct strmap *more, struct arena *a);

/* ---- struct intmap, struct objmap ---- */
bool intmap_get(const struct intmap *m, const char *key, int64_t *ret_value);
void intmap_set(struct intmap *m, const char *key, int64_t value, struct arena *a);
void *objmap_get(const struct type_desc *t, const struct objmap *m, const char *key); /* NULL when absent */
/* The value of key to be filled in: the one that is there (in place), or a new zeroed one. */
void *objmap_add(const struct type_desc *t, struct objmap *m, const char *key, struct arena *a);

/* ---- feature levels (SINCE, TYPE_SINCE, ESINCE, FSINCE in the declarations) ---- */
/* The level from which on a field is stored. */
unsigned field_since(const struct field_desc *f);
/* The lowest level at which every member can read o: LEVEL_FIRST unless something in it came later. Observed
 * fields do not count: they are never stored. */
unsigned obj_level(const struct type_desc *t, const void *o);
/* Takes fields and flags out of o, in place, that came after that level. *ret_name: one of them, NULL when there was
 * none. E_LEVEL: the whole type, or the value of an enum, came later, *ret_name says which; it has no older form. */
int obj_strip(const struct type_desc *t, void *o, unsigned level, const char **ret_name) MUST_USE;

/* ---- description ---- */
/* JSON schema object (OpenAPI 3) of one type, references as #/components/schemas/NAME. */
void enc_schema(const struct type_desc *t, struct buf *out);

#endif
