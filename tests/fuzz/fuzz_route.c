/* Request lines: a NUL between method, path and query. A route that is found has the parameters of its
 * pattern, and fixed parts that are in the path; a query is pairs of strings. */
#include <string.h>
#include <strings.h>

#include "controller/base/route.h"
#include "tests/fuzz/fuzz.h"
#include "wire/base/mem.h"

static const char *part(const uint8_t **p, size_t *n, struct arena *a)
{
        size_t k = strnlen((const char *)*p, *n);
        const char *s = arena_strndup(a, (const char *)*p, k);
        *p += k;
        *n -= k;
        if (*n > 0) {
                (*p)++;
                (*n)--;
        }
        return s;
}

static unsigned braces(const char *pattern)
{
        unsigned n = 0;
        for (; *pattern != '\0'; pattern++) n += *pattern == '{';
        return n;
}

static void check_match(
        const struct route *r, const char *method, const char *path, const struct route_match *m)
{
        FUZZ_CHECK(strcmp(r->method, method) == 0 ||
                   (strcmp(method, "HEAD") == 0 && strcmp(r->method, "GET") == 0));
        FUZZ_CHECK(m->params_n == braces(r->pattern) && m->params_n <= ROUTE_PARAMS_MAX &&
                   m->params[m->params_n] == NULL);
        FUZZ_CHECK(m->path_known && path[0] == '/');
        size_t decoded = 0;
        for (unsigned i = 0; i < m->params_n; i++) decoded += strlen(m->params[i]);
        FUZZ_CHECK(decoded <= strlen(path));
        FUZZ_CHECK(r == &routes[r->id]);
}

static void check_query(const char *raw, struct arena *a)
{
        struct query q;
        query_parse(raw, a, &q);
        for (uint32_t i = 0; i < 2 * q.n; i++) FUZZ_CHECK(strlen(q.kv[i]) <= strlen(raw));
        for (uint32_t i = 0; i < q.n; i++) {
                FUZZ_CHECK(query_get(&q, q.kv[2 * i]) != NULL);
                FUZZ_CHECK(q.kv[2 * i + 1][0] == '\0' || query_admits(&q, q.kv[2 * i], q.kv[2 * i + 1]));
                (void)query_u64(&q, q.kv[2 * i]);
                (void)query_bool(&q, q.kv[2 * i], false);
        }
        FUZZ_CHECK(q.n > 0 || query_get(&q, "offset") == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct arena a = { 0 };
        struct route_match m = { 0 };
        const char *method = part(&data, &size, &a), *path = part(&data, &size, &a),
                   *query = part(&data, &size, &a);
        const struct route *r = route_find(method, path, &a, &m);
        if (r != NULL) {
                check_match(r, method, path, &m);
                FUZZ_CHECK(strncmp(r->pattern, "/internal/", 10) != 0);
        }
        const struct route *any = route_find_any(method, path, &a, &m);
        FUZZ_CHECK(r == NULL || r == any);
        if (any != NULL) check_match(any, method, path, &m);
        check_query(query, &a);
        arena_done(&a);
        return 0;
}
