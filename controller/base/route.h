/* The route table: which request is which operation. Declared once in wire/def/route.def; a line there
 * without its function does not link.
 *
 * READ routes are answered by view_<id>() on any member from a read transaction (a POST or OPTIONS may be a
 * read, with a body: view_run() decodes it). WRITE routes go to the leader, where op_evaluate() runs
 * op_<id>(). LOCAL routes are the HTTP layer's own: op and view are NULL, tell them apart by id. Operations
 * that do not exist yet are READ routes whose view answers with an error list.
 *
 * Threads: constants and pure functions. Ownership: what is decoded goes into the caller's arena. */
#ifndef CONTROLLER_BASE_ROUTE_H
#define CONTROLLER_BASE_ROUTE_H

#include <stdbool.h>

#include "controller/base/apirc.h"
#include "wire/codec/schema.h"

struct op;
struct view;
typedef void op_fn(struct op *op);
typedef void view_fn(struct view *v);

enum route_kind { ROUTE_READ, ROUTE_WRITE, ROUTE_LOCAL };
enum route_form { FORM_NONE, FORM_OBJ, FORM_LIST };

enum route_id {
#define READ(id, method, pattern, body, form, status, object, summary) ROUTE_##id,
#define WRITE(id, method, pattern, body, form, status, op, object, summary) ROUTE_##id,
#define LOCAL(id, method, pattern, summary) ROUTE_##id,
#define LACKS(id, method, pattern, op, object, code, what) ROUTE_##id,
#include "wire/def/route.def"
#undef READ
#undef WRITE
#undef LOCAL
#undef LACKS
        ROUTE_N
};

#define READ(id, method, pattern, body, form, status, object, summary) view_fn view_##id;
#define WRITE(id, method, pattern, body, form, status, op, object, summary) op_fn op_##id;
#define LOCAL(id, method, pattern, summary)
#define LACKS(id, method, pattern, op, object, code, what)
#include "wire/def/route.def"
#undef READ
#undef WRITE
#undef LOCAL
#undef LACKS
/* The view of every LACKS line. */
view_fn view_lacks;

struct route {
        enum route_id id;
        const char *name; /* the id as text */
        const char *method;
        const char *pattern;
        enum route_kind kind;
        const struct type_desc *body_type; /* never NULL; an empty type when form is FORM_NONE */
        enum route_form form;
        unsigned status;       /* HTTP status of success */
        unsigned op_bits;      /* enum apirc_op */
        unsigned object_bits;  /* enum apirc_object */
        enum apirc_code lacks; /* of LACKS lines: the code of the refusal */
        const char *summary;   /* of LACKS lines: what is missing */
        op_fn *op;             /* ROUTE_WRITE */
        view_fn *view;         /* ROUTE_READ */
};
extern const struct route routes[ROUTE_N]; /* by id */
/* The feature level from which on there is such an operation. */
unsigned route_since(const struct route *r);
/* Does its answer depend on which satellites can be reached? */
bool route_needs_satellites(const struct route *r);

#define ROUTE_PARAMS_MAX 4
struct route_match {
        const char *params[ROUTE_PARAMS_MAX + 1]; /* decoded, in order of the pattern, NULL after the last */
        unsigned params_n;
        bool path_known; /* some route has this path: answer 405, not 404 */
};
/* The route of an HTTP request, or NULL. path: percent-encoded, may end in a slash or a query, which is
 * ignored. HEAD finds GET routes. Internal routes are not found. Malformed encodings and NUL bytes match
 * nothing. */
const struct route *route_find(
        const char *method, const char *path, struct arena *a, struct route_match *ret);
/* The same with the internal routes, for what does not come over HTTP. */
const struct route *route_find_any(
        const char *method, const char *path, struct arena *a, struct route_match *ret);

/* Decoded query: pairs in order, keys may repeat. */
struct query {
        const char **kv; /* 2 n strings; a key without = has the value "" */
        uint32_t n;
};
/* raw: what follows the ?, NULL is fine. Malformed escapes are taken as they are. */
void query_parse(const char *raw, struct arena *a, struct query *ret);
/* The first value of key, or NULL. */
const char *query_get(const struct query *q, const char *key);
bool query_bool(const struct query *q, const char *key, bool fallback);
/* 0 when absent or malformed. */
uint64_t query_u64(const struct query *q, const char *key);
/* Is the filter absent, or does one of its values equal name in any case? */
bool query_admits(const struct query *q, const char *key, const char *name);

#endif
