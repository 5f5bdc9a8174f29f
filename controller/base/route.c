/* Matching of requests against the route table, see route.h. */
#include "controller/base/route.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SEGMENTS_MAX 12

const struct route routes[ROUTE_N] = {
#define READ(id_, method_, pattern_, body_, form_, status_, object_, summary_) \
        [ROUTE_##id_] = { .id = ROUTE_##id_,                                   \
                .name = #id_,                                                  \
                .method = #method_,                                            \
                .pattern = (pattern_),                                         \
                .kind = ROUTE_READ,                                            \
                .body_type = &body_##_type,                                    \
                .form = FORM_##form_,                                          \
                .status = (status_),                                           \
                .object_bits = RC_OBJ_##object_,                               \
                .summary = (summary_),                                         \
                .view = view_##id_ },
#define WRITE(id_, method_, pattern_, body_, form_, status_, verb_, object_, summary_) \
        [ROUTE_##id_] = { .id = ROUTE_##id_,                                           \
                .name = #id_,                                                          \
                .method = #method_,                                                    \
                .pattern = (pattern_),                                                 \
                .kind = ROUTE_WRITE,                                                   \
                .body_type = &body_##_type,                                            \
                .form = FORM_##form_,                                                  \
                .status = (status_),                                                   \
                .op_bits = RC_OP_##verb_,                                              \
                .object_bits = RC_OBJ_##object_,                                       \
                .summary = (summary_),                                                 \
                .op = op_##id_ },
#define LOCAL(id_, method_, pattern_, summary_) \
        [ROUTE_##id_] = { .id = ROUTE_##id_,    \
                .name = #id_,                   \
                .method = #method_,             \
                .pattern = (pattern_),          \
                .kind = ROUTE_LOCAL,            \
                .body_type = &none_type,        \
                .status = 200,                  \
                .summary = (summary_) },
#define LACKS(id_, method_, pattern_, verb_, object_, code_, what_) \
        [ROUTE_##id_] = { .id = ROUTE_##id_,                        \
                .name = #id_,                                       \
                .method = #method_,                                 \
                .pattern = (pattern_),                              \
                .kind = ROUTE_READ,                                 \
                .body_type = &none_type,                            \
                .status = 500,                                      \
                .op_bits = RC_OP_##verb_,                           \
                .object_bits = RC_OBJ_##object_,                    \
                .lacks = RC_##code_,                                \
                .summary = (what_),                                 \
                .view = view_lacks },
#include "wire/def/route.def"
#undef READ
#undef WRITE
#undef LOCAL
#undef LACKS
};

/* Levels above the first. */
static const uint8_t since[ROUTE_N + 1] = {
#define READ_SINCE(level, id, ...) [ROUTE_##id] = (level),
#define WRITE_SINCE(level, id, ...) [ROUTE_##id] = (level),
#define READ(...)
#define WRITE(...)
#define LOCAL(...)
#define LACKS(...)
#include "wire/def/route.def"
#undef READ
#undef WRITE
#undef LOCAL
#undef LACKS
};

unsigned route_since(const struct route *r) { return MAX(since[r->id], LEVEL_FIRST); }

bool route_needs_satellites(const struct route *r)
{
        return r->id == ROUTE_rg_size_info || r->id == ROUTE_rg_max_volume_size ||
               r->id == ROUTE_rg_size_info_all || r->id == ROUTE_max_volume_size;
}

/* ---- percent encoding ---- */

static int hex_digit(char c)
{
        if (c >= '0' && c <= '9') return c - '0';
        if (c >= 'a' && c <= 'f') return c - 'a' + 10;
        if (c >= 'A' && c <= 'F') return c - 'A' + 10;
        return -1;
}

/* NULL: a malformed escape (unless lenient) or an encoded NUL. */
static char *decode(const char *s, size_t n, bool plus_is_blank, bool lenient, struct arena *a)
{
        char *out = arena_try(a, n + 1);
        if (out == NULL) return NULL;
        size_t o = 0;
        for (size_t i = 0; i < n; i++) {
                char c = s[i];
                if (c == '+' && plus_is_blank) c = ' ';
                if (c == '%') {
                        int hi = i + 1 < n ? hex_digit(s[i + 1]) : -1;
                        int lo = i + 2 < n ? hex_digit(s[i + 2]) : -1;
                        if (hi >= 0 && lo >= 0 && (hi | lo) != 0) {
                                c = (char)(hi << 4 | lo);
                                i += 2;
                        } else if (!lenient) {
                                return NULL;
                        }
                }
                out[o++] = c;
        }
        out[o] = '\0';
        return out;
}

/* ---- paths ---- */

struct segment {
        const char *p;
        size_t n;
};

/* Splits at slashes; a trailing slash and empty segments at the end are dropped. Returns SEGMENTS_MAX + 1
 * when there are more. */
static unsigned split(const char *path, size_t path_n, struct segment out[SEGMENTS_MAX])
{
        unsigned n = 0;
        const char *end = path + path_n, *p = path;
        while (end > p && end[-1] == '/') end--;
        while (p < end) {
                if (*p == '/') p++;
                const char *slash = memchr(p, '/', (size_t)(end - p));
                const char *stop = slash != NULL ? slash : end;
                if (n == SEGMENTS_MAX) return SEGMENTS_MAX + 1;
                out[n++] = (struct segment){ p, (size_t)(stop - p) };
                p = stop;
        }
        return n;
}

static bool is_param(struct segment s) { return s.n > 2 && s.p[0] == '{'; }
static bool is_rest(struct segment s)
{
        return is_param(s) && s.n > 5 && memcmp(s.p + s.n - 4, "...}", 4) == 0;
}

static size_t segment_n(const char *p) { return strcspn(p, "/"); }

/* Does the path fit the pattern? ret_fixed: bit set of fixed segments, the first one highest: more is better.
 * Asked for every route with every request: most end at the first letter of their second segment. */
static bool fits(const char *pattern, const struct segment *path, unsigned path_n, unsigned *ret_fixed)
{
        const char *p = pattern;
        unsigned i = 0, fixed = 0;
        for (; p[0] == '/'; i++) {
                p++;
                if (i >= path_n) return false;
                if (*p == '{') {
                        struct segment s = { p, segment_n(p) };
                        if (is_rest(s)) {
                                *ret_fixed = fixed;
                                return true;
                        }
                        if (path[i].n == 0) return false;
                        p += s.n;
                        continue;
                }
                if (p[0] != path[i].p[0] || strncmp(p, path[i].p, path[i].n) != 0) return false;
                p += path[i].n;
                if (*p != '/' && *p != '\0') return false;
                fixed |= 1U << (SEGMENTS_MAX - i);
        }
        *ret_fixed = fixed;
        return i == path_n;
}

/* File names are absolute paths: some clients encode them twice, some write + for a blank. */
static const char *decode_param(struct segment pat, const char *p, size_t n, struct arena *a)
{
        bool is_file = pat.n == 6 && memcmp(pat.p, "{file}", 6) == 0;
        const char *s = decode(p, n, is_file, false, a);
        if (is_file && s != NULL && strncasecmp(s, "%2F", 3) == 0) s = decode(s, strlen(s), true, false, a);
        return s;
}

static bool take_params(const struct route *r, const struct segment *path, unsigned path_n, struct arena *a,
        struct route_match *ret)
{
        struct segment pat[SEGMENTS_MAX];
        unsigned n = split(r->pattern, strlen(r->pattern), pat);
        for (unsigned i = 0; i < n; i++) {
                if (!is_param(pat[i])) continue;
                const char *p = path[i].p;
                size_t bytes = path[i].n;
                if (is_rest(pat[i])) bytes = (size_t)(path[path_n - 1].p + path[path_n - 1].n - p);
                const char *s = decode_param(pat[i], p, bytes, a);
                if (s == NULL || ret->params_n == ROUTE_PARAMS_MAX) return false;
                ret->params[ret->params_n++] = s;
        }
        return true;
}

const struct route *route_find_any(
        const char *method, const char *path, struct arena *a, struct route_match *ret)
{
        *ret = (struct route_match){ 0 };
        struct segment seg[SEGMENTS_MAX];
        unsigned n = split(path, strcspn(path, "?#"), seg), best_fixed = 0;
        const struct route *best = NULL;
        if (path[0] != '/' || n == 0 || n > SEGMENTS_MAX) return NULL;
        if (strcmp(method, "HEAD") == 0) method = "GET";
        for (unsigned i = 0; i < ROUTE_N; i++) {
                unsigned fixed;
                if (!fits(routes[i].pattern, seg, n, &fixed)) continue;
                ret->path_known = true;
                if (strcmp(routes[i].method, method) != 0) continue;
                if (best != NULL && fixed <= best_fixed) continue;
                best = &routes[i];
                best_fixed = fixed;
        }
        if (best == NULL || !take_params(best, seg, n, a, ret)) return NULL;
        return best;
}

const struct route *route_find(const char *method, const char *path, struct arena *a, struct route_match *ret)
{
        const struct route *r = NULL;
        *ret = (struct route_match){ 0 };
        if (strncmp(path, "/internal", 9) != 0) r = route_find_any(method, path, a, ret);
        return r;
}

/* ---- queries ---- */

void query_parse(const char *raw, struct arena *a, struct query *ret)
{
        *ret = (struct query){ 0 };
        if (raw == NULL || raw[0] == '\0') return;
        uint32_t max = 1;
        for (const char *p = raw; *p != '\0'; p++) max += *p == '&';
        ret->kv = arena_array(a, const char *, (size_t)2 * max);
        if (ret->kv == NULL) return;
        for (const char *p = raw; *p != '\0';) {
                size_t n = strcspn(p, "&");
                const char *eq = memchr(p, '=', n);
                size_t key_n = eq != NULL ? (size_t)(eq - p) : n;
                if (key_n != 0) {
                        const char *key = decode(p, key_n, true, true, a);
                        const char *value = eq != NULL ? decode(eq + 1, n - key_n - 1, true, true, a) : "";
                        if (key == NULL || value == NULL) return;
                        ret->kv[2 * (size_t)ret->n] = key;
                        ret->kv[2 * (size_t)ret->n + 1] = value;
                        ret->n++;
                }
                p += n;
                if (*p == '&') p++;
        }
}

const char *query_get(const struct query *q, const char *key)
{
        for (uint32_t i = 0; i < q->n; i++)
                if (strcasecmp(q->kv[2 * (size_t)i], key) == 0) return q->kv[2 * (size_t)i + 1];
        return NULL;
}

bool query_bool(const struct query *q, const char *key, bool fallback)
{
        const char *v = query_get(q, key);
        if (v == NULL) return fallback;
        return v[0] == '\0' || strcasecmp(v, "true") == 0 || strcasecmp(v, "yes") == 0 || strcmp(v, "1") == 0;
}

uint64_t query_u64(const struct query *q, const char *key)
{
        const char *v = query_get(q, key);
        if (v == NULL || *v < '0' || *v > '9') return 0;
        char *end;
        errno = 0;
        unsigned long long n = strtoull(v, &end, 10);
        return *end == '\0' && errno == 0 ? n : 0;
}

bool query_admits(const struct query *q, const char *key, const char *name)
{
        bool filtered = false;
        for (uint32_t i = 0; i < q->n; i++) {
                if (strcasecmp(q->kv[2 * (size_t)i], key) != 0) continue;
                if (q->kv[2 * (size_t)i + 1][0] == '\0') continue;
                filtered = true;
                if (name != NULL && strcasecmp(q->kv[2 * (size_t)i + 1], name) == 0) return true;
        }
        return !filtered;
}
