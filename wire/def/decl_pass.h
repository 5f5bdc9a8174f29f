/* The passes of a header: enums, flag constants, structs, presence bits, checks and extern descriptors. The
 * includer defines TYPES_DEF and ENUMS_DEF, the files that hold the declarations (types.h; tests bring their own).
 * No include guard. */
#include "wire/codec/schema.h"

/* enum T { T_NAME..., T_N } and enum { T_FLAG = bits } */
#define EBEGIN enum T {
#define E(ident) XCAT(T, _##ident),
#define ENAMED(ident, json) XCAT(T, _##ident),
#define ESINCE(level, ident, json) XCAT(T, _##ident),
#define EEND \
        XCAT(T, _N) \
        } \
        ; \
        _Static_assert(sizeof(enum T) == sizeof(unsigned), "the engine reads enums as unsigned"); \
        extern const struct enum_desc XCAT(T, _enum);
#define FBEGIN extern const struct flags_desc XCAT(T, _flags);
#define F(ident, bits) \
        enum { XCAT(T, _##ident) = (bits) }; \
        _Static_assert((bits) > 0, "write bit 31 and above as UINT64_C(1) << n");
#define FSINCE(level, ident, bits) F(ident, bits)
#define FEND
#include ENUMS_DEF
#include "wire/def/undef_pass.h"

/* Names first, so that a type may refer to one that is declared later, or to itself. */
#define TYPE_(since_, type_id, json, doc) \
        struct T; \
        extern const struct type_desc XCAT(T, _type);
#define FIELD_(tag, kind, decl, m, off_n, json, fl, sub, doc)
#define RESERVED(tag)
#define END
#include "wire/def/fields_pass.h"
#include TYPES_DEF
#include "wire/def/undef_pass.h"

#define TYPE_(since_, type_id, json, doc) \
        struct T { \
                uint64_t has;
#define FIELD_(tag, kind, decl, m, off_n, json, fl, sub, doc) decl
#define RESERVED(tag)
#define END \
        } \
        ;
#include "wire/def/fields_pass.h"
#include TYPES_DEF
#include "wire/def/undef_pass.h"

/* T_ord_member: the number of its presence bit. */
#define TYPE_(since_, type_id, json, doc) enum {
#define FIELD_(tag, kind, decl, m, off_n, json, fl, sub, doc) XCAT(T, _ord_##m),
#define RESERVED(tag)
#define END \
        XCAT(T, _FIELDS_N) \
        } \
        ; \
        _Static_assert(XCAT(T, _FIELDS_N) <= 64, "there are 64 presence bits");
#include "wire/def/fields_pass.h"
#include TYPES_DEF
#include "wire/def/undef_pass.h"

/* T_tag_member, and T_min_member: an enumerator without a value is one more than the last, here the least tag
 * that may come next. */
#define TYPE_(since_, type_id, json, doc) enum { XCAT(T, _min) = 0,
#define FIELD_(tag, kind, decl, m, off_n, json, fl, sub, doc) XCAT(T, _min_##m), XCAT(T, _tag_##m) = (tag),
#define RESERVED(tag) XCAT(T, _min_rsv##tag), XCAT(T, _rsv##tag) = (tag),
#define END \
        } \
        ;
#include "wire/def/fields_pass.h"
#include TYPES_DEF
#include "wire/def/undef_pass.h"

#define TYPE_(since_, type_id, json, doc) _Static_assert((type_id) > 0 && (type_id) <= UINT16_MAX, "type id");
#define FIELD_(tag, kind, decl, m, off_n, json, fl, sub, doc) \
        _Static_assert((tag) >= XCAT(T, _min_##m) && (tag) <= UINT16_MAX, "tags ascend: " json); \
        _Static_assert(!((fl)&FF_KEY) || FK_IS_KEY_(kind), "a key field is a string or an integer: " json); \
        _Static_assert(!((fl)&FF_NOCASE) || FK_##kind == FK_STR, "only strings have a case: " json); \
        _Static_assert(!((fl)&FF_KEY) || !((fl)&FF_OBSERVED), "keys are stored: " json); \
        _Static_assert((fl) < SINCE(2) || !((fl) & (FF_KEY | FF_REQ)), "older rows do not have it: " json);
#define FK_IS_KEY_(kind) \
        (FK_##kind == FK_STR || FK_##kind == FK_U64 || FK_##kind == FK_I64 || FK_##kind == FK_ENUM || \
                FK_##kind == FK_BOOL)
#define RESERVED(tag) _Static_assert((tag) >= XCAT(T, _min_rsv##tag), "tags ascend: reserved " #tag);
#define END
#include "wire/def/fields_pass.h"
#include TYPES_DEF
#include "wire/def/undef_pass.h"
#undef FK_IS_KEY_
