/* Turns every line of a type declaration into one call of the hook FIELD_, which a pass (decl_pass.h, desc_pass.h, the
 * dump of tests) defines together with TYPE_, END and RESERVED:
 *
 *   FIELD_(tag, KIND, declaration of the member, member, offset of the count, "json", flags, sub descriptor, doc)
 *
 * TYPE_ is TYPE and TYPE_SINCE alike: TYPE_(since, id, "json", doc).
 *
 * No include guard: a pass includes it, then the declarations, then undef_pass.h. */
#define TYPE(type_id, json, doc) TYPE_(LEVEL_FIRST, type_id, json, doc)
#define TYPE_SINCE(level, type_id, json, doc) TYPE_(level, type_id, json, doc)
#define BOOL(tag, m, json, fl, doc) FIELD_(tag, BOOL, bool m;, m, 0, json, fl, NULL, doc)
#define I64(tag, m, json, fl, doc) FIELD_(tag, I64, int64_t m;, m, 0, json, fl, NULL, doc)
#define U64(tag, m, json, fl, doc) FIELD_(tag, U64, uint64_t m;, m, 0, json, fl, NULL, doc)
#define F64(tag, m, json, fl, doc) FIELD_(tag, F64, double m;, m, 0, json, fl, NULL, doc)
#define STR(tag, m, json, fl, doc) FIELD_(tag, STR, const char *m;, m, 0, json, fl, NULL, doc)
#define BIN(tag, m, json, fl, doc) FIELD_(tag, BIN, struct blob m;, m, 0, json, fl, NULL, doc)
#define MAP(tag, m, json, fl, doc) FIELD_(tag, MAP, struct strmap m;, m, 0, json, fl, NULL, doc)
#define IMAP(tag, m, json, fl, doc) FIELD_(tag, IMAP, struct intmap m;, m, 0, json, fl, NULL, doc)
#define STRS(tag, m, json, fl, doc) \
        FIELD_(tag, STRS, const char **m; uint32_t m##_n;, m, offsetof(struct T, m##_n), json, fl, NULL, doc)
#define U64S(tag, m, json, fl, doc) \
        FIELD_(tag, U64S, uint64_t *m; uint32_t m##_n;, m, offsetof(struct T, m##_n), json, fl, NULL, doc)
#define ENUM(tag, e, m, json, fl, doc) FIELD_(tag, ENUM, enum e m;, m, 0, json, fl, &e##_enum, doc)
#define FLAGS(tag, e, m, json, fl, doc) FIELD_(tag, FLAGS, uint64_t m;, m, 0, json, fl, &e##_flags, doc)
#define OBJ(tag, t, m, json, fl, doc) FIELD_(tag, OBJ, struct t *m;, m, 0, json, fl, &t##_type, doc)
#define LIST(tag, t, m, json, fl, doc) \
        FIELD_(tag, LIST, struct t *m; uint32_t m##_n;, m, offsetof(struct T, m##_n), json, fl, &t##_type, doc)
#define OMAP(tag, t, m, json, fl, doc) FIELD_(tag, OMAP, struct objmap m;, m, 0, json, fl, &t##_type, doc)
