/* The passes of a source file: the descriptors, and tables of them. The includer defines TYPES_DEF and ENUMS_DEF
 * as for decl_pass.h, which comes first, and DEF_TABLE, the prefix of the tables' names (see types.h). No include guard. */

#define EBEGIN static const char *const XCAT(T, _names)[] = {
#define E(ident) #ident,
#define ENAMED(ident, json) json,
#define ESINCE(level, ident, json) json,
#define EEND \
        } \
        ;
#define FBEGIN
#define F(ident, bits)
#define FSINCE(level, ident, bits)
#define FEND
#include ENUMS_DEF
#include "wire/def/undef_pass.h"

#define EBEGIN static const uint8_t XCAT(T, _since)[] = {
#define E(ident) LEVEL_FIRST,
#define ENAMED(ident, json) LEVEL_FIRST,
#define ESINCE(level, ident, json) (level),
#define EEND \
        } \
        ; \
        const struct enum_desc XCAT(T, _enum) = { XSTR(T), XCAT(T, _N), XCAT(T, _names), XCAT(T, _since) };
#define FBEGIN static const struct flag_name XCAT(T, _flag_names)[] = {
#define F(ident, bits) { (bits), #ident, LEVEL_FIRST },
#define FSINCE(level, ident, bits) { (bits), #ident, (level) },
#define FEND \
        } \
        ; \
        const struct flags_desc XCAT(T, _flags) = { XSTR(T), ARRAY_LEN(XCAT(T, _flag_names)), \
                XCAT(T, _flag_names) };
#include ENUMS_DEF
#include "wire/def/undef_pass.h"

#define TYPE_(since_, type_id, json, doc) static const struct field_desc XCAT(T, _fields)[XCAT(T, _FIELDS_N) + 1] = {
#define FIELD_(tag_, kind_, decl, m, count_at, json, fl, sub_, doc_) \
        { .tag = (tag_), \
                .kind = FK_##kind_, \
                .flags = (fl), \
                .off = offsetof(struct T, m), \
                .off_n = (count_at), \
                .name = (json), \
                .sub = (sub_), \
                .doc = (doc_) },
#define RESERVED(tag)
#define END \
        { \
                0 \
        } \
        } \
        ;
#include "wire/def/fields_pass.h"
#include TYPES_DEF
#include "wire/def/undef_pass.h"

#define TYPE_(since_, type_id, json, doc_) \
        const struct type_desc XCAT(T, _type) = { \
                .name = (json), \
                .ident = XSTR(T), \
                .doc = (doc_), \
                .id = (type_id), \
                .since = (since_), \
                .n_fields = XCAT(T, _FIELDS_N), \
                .size = sizeof(struct T), \
                .fields = XCAT(T, _fields), \
        };
#define FIELD_(tag, kind, decl, m, off_n, json, fl, sub, doc)
#define RESERVED(tag)
#define END
#include "wire/def/fields_pass.h"
#include TYPES_DEF
#include "wire/def/undef_pass.h"

#define TYPE_(since_, type_id, json, doc) &XCAT(T, _type),
#define FIELD_(tag, kind, decl, m, off_n, json, fl, sub, doc)
#define RESERVED(tag)
#define END
const struct type_desc *const XCAT(DEF_TABLE, _all)[] = {
#include "wire/def/fields_pass.h"
#include TYPES_DEF
#include "wire/def/undef_pass.h"
        NULL,
};
const uint32_t XCAT(DEF_TABLE, _n) = ARRAY_LEN(XCAT(DEF_TABLE, _all)) - 1;

/* A duplicate type id is a duplicate case. */
#define TYPE_(since_, type_id, json, doc) \
        case (type_id): return &XCAT(T, _type);
#define FIELD_(tag, kind, decl, m, off_n, json, fl, sub, doc)
#define RESERVED(tag)
#define END
const struct type_desc *XCAT(DEF_TABLE, _by_id)(unsigned id)
{
        switch (id) {
#include "wire/def/fields_pass.h"
#include TYPES_DEF
#include "wire/def/undef_pass.h"
        default: return NULL;
        }
}
