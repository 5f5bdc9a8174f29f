#include "controller/rest/openapi.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "controller/base/build_info.h"
#include "controller/base/route.h"
#include "wire/base/mem.h"
#include "wire/codec/codec.h"

/* Schemas that the document refers to, in order of discovery. */
struct schemas {
        const struct type_desc **types;
        uint32_t n;
};

static void need(struct schemas *s, const struct type_desc *t)
{
        for (uint32_t i = 0; i < s->n; i++)
                if (s->types[i] == t || strcmp(s->types[i]->name, t->name) == 0) return;
        s->types = xrealloc(s->types, (s->n + 1) * sizeof *s->types);
        s->types[s->n++] = t;
}

/* Those that the needed ones refer to; the list grows meanwhile. */
static void close_over(struct schemas *s)
{
        for (uint32_t i = 0; i < s->n; i++) {
                const struct type_desc *t = s->types[i];
                for (uint16_t f = 0; f < t->n_fields; f++) {
                        const struct field_desc *d = &t->fields[f];
                        if (d->kind == FK_OBJ || d->kind == FK_LIST || d->kind == FK_OMAP) need(s, d->sub);
                }
        }
}

static bool is_shown(const struct route *r) { return strncmp(r->pattern, "/internal", 9) != 0; }

/* The next "{name}" or "{name...}" at or behind p: its name, and where the text goes on. */
static const char *next_param(const char *p, char name[64])
{
        p = strchr(p, '{');
        if (!p) return NULL;
        size_t n = strcspn(p + 1, "}.");
        if (n >= 64) n = 63;
        memcpy(name, p + 1, n);
        name[n] = 0;
        return strchr(p, '}') + 1;
}

/* OpenAPI has no "rest of the path": such a parameter is shown as one segment. */
static void put_path(const char *pattern, struct buf *out)
{
        char path[512];
        size_t n = 0;
        for (const char *p = pattern; *p && n + 1 < sizeof path; p++) {
                if (strncmp(p, "...}", 4) == 0) p += 3;
                path[n++] = *p;
        }
        path[n] = 0;
        enc_json_str(path, out);
}

static void put_params(const struct route *r, struct buf *out)
{
        char name[64];
        bool first = true;
        buf_put_str(out, "\"parameters\":[");
        for (const char *p = r->pattern; (p = next_param(p, name)) != NULL; first = false) {
                buf_put_str(out, first ? "{\"name\":" : ",{\"name\":");
                enc_json_str(name, out);
                buf_put_str(out, ",\"in\":\"path\",\"required\":true,\"schema\":{\"type\":\"string\"}}");
        }
        if (r->kind == ROUTE_READ) {
                if (!first) buf_put_u8(out, ',');
                buf_put_str(out, "{\"name\":\"consistency\",\"in\":\"query\",\"description\":\"stale: answer "
                                 "at once from what "
                                 "this member has\",\"schema\":{\"type\":\"string\",\"enum\":[\"stale\"]}}");
        } else if (r->kind == ROUTE_WRITE) {
                if (!first) buf_put_u8(out, ',');
                buf_put_str(out,
                        "{\"name\":\"async\",\"in\":\"query\",\"description\":\"do not wait for the "
                        "satellites\","
                        "\"schema\":{\"type\":\"boolean\"}},{\"name\":\"Idempotency-Key\",\"in\":\"header\","
                        "\"description\":\"repetitions with the same key are carried out once\","
                        "\"schema\":{\"type\":\"string\"}}");
        }
        buf_put_u8(out, ']');
}

static void put_ref(const struct type_desc *t, struct buf *out)
{
        buf_printf(out, "{\"$ref\":\"#/components/schemas/%s\"}", t->name);
}

static void put_body(const struct route *r, struct buf *out)
{
        if (r->form == FORM_NONE || r->body_type->n_fields == 0) return;
        buf_put_str(out, ",\"requestBody\":{\"content\":{\"application/json\":{\"schema\":");
        if (r->form == FORM_LIST) buf_put_str(out, "{\"type\":\"array\",\"items\":");
        put_ref(r->body_type, out);
        if (r->form == FORM_LIST) buf_put_u8(out, '}');
        buf_put_str(out, "}}}");
}

static void put_responses(const struct route *r, struct buf *out)
{
        static const char entries[] =
                "{\"content\":{\"application/json\":{\"schema\":{\"type\":\"array\",\"items\":{\"$ref\":"
                "\"#/components/schemas/ApiCallRc\"}}}},\"description\":";
        unsigned status = r->status ? r->status : 200;
        buf_printf(out, ",\"responses\":{\"%u\":", status);
        if (r->kind == ROUTE_WRITE) buf_printf(out, "%s\"What was done.\"}", entries);
        else buf_put_str(out, "{\"description\":\"The answer.\"}");
        buf_printf(out, ",\"default\":%s\"What went wrong.\"}}", entries);
}

static void put_operation(const struct route *r, struct buf *out)
{
        char method[16];
        size_t n = strlen(r->method);
        for (size_t i = 0; i <= n && i < sizeof method; i++)
                method[i] =
                        r->method[i] >= 'A' && r->method[i] <= 'Z' ? (char)(r->method[i] + 32) : r->method[i];
        enc_json_str(method, out);
        buf_put_str(out, ":{\"operationId\":");
        enc_json_str(r->name, out);
        buf_put_str(out, ",\"summary\":");
        enc_json_str(r->summary ? r->summary : "", out);
        buf_put_u8(out, ',');
        put_params(r, out);
        put_body(r, out);
        put_responses(r, out);
        buf_put_u8(out, '}');
}

/* The first route with this pattern writes its path with the methods of all. */
static bool seen_before(unsigned i)
{
        for (unsigned k = 0; k < i; k++)
                if (is_shown(&routes[k]) && strcmp(routes[k].pattern, routes[i].pattern) == 0) return true;
        return false;
}

static void put_paths(struct buf *out)
{
        bool first = true;
        for (unsigned i = 0; i < ROUTE_N; i++) {
                if (!is_shown(&routes[i]) || seen_before(i)) continue;
                if (!first) buf_put_u8(out, ',');
                first = false;
                put_path(routes[i].pattern, out);
                buf_put_str(out, ":{");
                put_operation(&routes[i], out);
                for (unsigned k = i + 1; k < ROUTE_N; k++) {
                        if (strcmp(routes[k].pattern, routes[i].pattern) != 0) continue;
                        buf_put_u8(out, ',');
                        put_operation(&routes[k], out);
                }
                buf_put_u8(out, '}');
        }
}

int openapi_render(struct buf *out)
{
        struct schemas s = { 0 };
        need(&s, &api_rc_type);
        for (unsigned i = 0; i < ROUTE_N; i++)
                if (is_shown(&routes[i]) && routes[i].form != FORM_NONE && routes[i].body_type->n_fields)
                        need(&s, routes[i].body_type);
        close_over(&s);
        buf_put_str(out, "{\"openapi\":\"3.0.3\",\"info\":{\"title\":\"Outrigger\",\"description\":"
                         "\"Replicated storage; "
                         "compatible with LINSTOR's REST API.\",\"version\":\"" BUILD_REST_API_VERSION
                         "\"},\"paths\":{");
        put_paths(out);
        buf_put_str(out, "},\"components\":{\"schemas\":{");
        for (uint32_t i = 0; i < s.n; i++) {
                if (i) buf_put_u8(out, ',');
                enc_json_str(s.types[i]->name, out);
                buf_put_u8(out, ':');
                enc_schema(s.types[i], out);
        }
        buf_put_str(out, "}}}");
        free(s.types);
        return out->err;
}
