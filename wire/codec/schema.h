/* The form of a declaration. Files under wire/def are included several times; each pass
 * (wire/def/decl_pass.h, wire/def/desc_pass.h) turns the same lines into structs, presence bits, uniqueness
 * checks and descriptors. The engine in wire/codec sees descriptors only and knows no type by name.
 *
 *   #define T netif
 *   TYPE(12, "NetInterface", "An address of a node.")
 *           STR (1, name, "name", FF_REQ, "unique within the node")
 *           RESERVED(2)                                    a tag that was used once
 *           LIST(3, netif_stat, stats, "stats", FF_NONE, "counters, newest first")
 *   END
 *   #undef T
 *
 * Scalars and string containers: KIND(tag, member, "json", flags, "doc") with BOOL I64 U64 F64 STR BIN MAP
 * IMAP STRS U64S. With a sub type: KIND(tag, sub, member, "json", flags, "doc") with ENUM FLAGS OBJ LIST
 * OMAP. Tags ascend within a type and are never used twice; there are 64 fields at most.
 *
 * What a later release adds says the feature level (wire/def/versions.h) from which on it is stored: a field
 * has SINCE(n) among its flags, a type begins with TYPE_SINCE(n, id, ...), an enum value is ESINCE(n, NAME,
 * "json"), a flag FSINCE(n, NAME, bits). Such fields are never required and never part of a key.
 *
 * Threads: constants. Ownership: descriptors are static; what structs point to belongs to whoever made them,
 * as a rule to one arena. */
#ifndef WIRE_CODEC_SCHEMA_H
#define WIRE_CODEC_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/base/macros.h"
#include "wire/base/mem.h"

enum field_kind {
        FK_BOOL,  /* bool m                                */
        FK_I64,   /* int64_t m                             */
        FK_U64,   /* uint64_t m                            */
        FK_F64,   /* double m; replies only, never stored  */
        FK_STR,   /* const char *m                         */
        FK_BIN,   /* struct blob m; base64 in JSON         */
        FK_ENUM,  /* enum e m                              */
        FK_FLAGS, /* uint64_t m; names of set bits in JSON */
        FK_OBJ,   /* struct t *m                           */
        FK_LIST,  /* struct t *m; uint32_t m_n             */
        FK_STRS,  /* const char **m; uint32_t m_n          */
        FK_U64S,  /* uint64_t *m; uint32_t m_n             */
        FK_MAP,   /* struct strmap m                       */
        FK_IMAP,  /* struct intmap m                       */
        FK_OMAP,  /* struct objmap m                       */
};

enum field_flag {
        FF_NONE = 0,
        FF_KEY = 1 << 0,      /* part of the LMDB key, in declaration order */
        FF_REQ = 1 << 1,      /* decoding fails when absent */
        FF_SECRET = 1 << 2,   /* never in JSON, dumps or logs */
        FF_ALWAYS = 1 << 3,   /* in JSON even when unset or empty (client compatibility) */
        FF_NOCASE = 1 << 4,   /* key string: compared and keyed upper-cased, display form kept in the value */
        FF_OBSERVED = 1 << 5, /* filled in for replies; never stored, ignored in input */
        FF_INTERNAL = 1 << 6, /* stored, never in JSON */
};
/* Among the flags: the feature level from which on the field is stored; none = from the first on. */
#define SINCE(level) ((level) << 8)
#define LEVEL_FIRST 1

/* n pairs, kv[2*i] key, kv[2*i+1] value; sorted by key (strcmp), keys unique. */
struct strmap {
        const char **kv;
        uint32_t n;
};
struct intmap {
        const char **keys;
        int64_t *vals;
        uint32_t n;
};
struct objmap {
        const char **keys;
        void *vals; /* array of the sub type */
        uint32_t n;
};

struct enum_desc {
        const char *name;
        uint32_t n;
        const char *const *names;
        const uint8_t *since; /* feature levels of the values, by number */
};
struct flag_name {
        uint64_t bits; /* shown when all of them are set */
        const char *name;
        unsigned since; /* feature level */
};
struct flags_desc {
        const char *name;
        uint32_t n;
        const struct flag_name *flags;
};
struct type_desc;
struct field_desc {
        uint16_t tag; /* wire and disk identity; never reused */
        uint8_t kind; /* enum field_kind */
        uint16_t flags;
        uint32_t off;     /* of the member */
        uint32_t off_n;   /* of the element count (FK_LIST, FK_STRS, FK_U64S) */
        const char *name; /* JSON name */
        const void *sub;  /* enum_desc, flags_desc or type_desc */
        const char *doc;
};
struct type_desc {
        const char *name;  /* OpenAPI schema name */
        const char *ident; /* name of the C struct */
        const char *doc;
        uint16_t id; /* table id when stored; unique, never reused */
        uint16_t n_fields;
        uint16_t since; /* feature level from which on there are rows of it */
        uint32_t size;
        const struct field_desc *fields; /* ascending tag; the n-th one owns presence bit n */
};

/* Every generated struct begins with `uint64_t has`, the presence bits.
 *   HAS(o, node, props)                is the field present?
 *   SET(o, node, type, NODE_SATELLITE) assign and mark present
 *   SET_N(o, node, ifs, array, n)      the same for a list and its count
 *   MARK(o, node, props)               mark as present what was assigned otherwise
 *   UNSET(o, node, secret)             */
#define HAS_BIT(T_, m_) (UINT64_C(1) << T_##_ord_##m_)
#define HAS(o, T_, m_) (((o)->has & HAS_BIT(T_, m_)) != 0)
/* Each evaluates what it is given once. */
#define SET(o, T_, m_, v_)                       \
        ({                                       \
                __auto_type set_to_ = (o);       \
                set_to_->has |= HAS_BIT(T_, m_); \
                set_to_->m_ = (v_);              \
        })
#define SET_N(o, T_, m_, v_, n_)                 \
        ({                                       \
                __auto_type set_to_ = (o);       \
                set_to_->has |= HAS_BIT(T_, m_); \
                set_to_->m_ = (v_);              \
                set_to_->m_##_n = (n_);          \
        })
#define MARK(o, T_, m_) ((o)->has |= HAS_BIT(T_, m_))
#define UNSET(o, T_, m_) ((o)->has &= ~HAS_BIT(T_, m_))

#endif
