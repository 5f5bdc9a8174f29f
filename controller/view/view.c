/* Running views, and what they share: refusals, lists, lookups. */
#include "controller/view/view.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/view/view_internal.h"
#include "state/level.h"

void view_refuse(struct view *v, enum apirc_code code, const char *fmt, ...)
{
        char line[1024];
        struct api_rc rc;
        va_list args;
        va_start(args, fmt);
        if (vsnprintf(line, sizeof line, fmt, args) < 0) line[0] = '\0';
        va_end(args);
        buf_reset(v->out);
        apirc_init(&rc, code, v->route->op_bits, v->route->object_bits, line, v->wall_ms, v->arena);
        apirc_render(&rc, 1, v->out);
        v->status = apirc_http_status(&rc, 1, 200);
}

void view_obj(struct view *v, const struct type_desc *t, const void *o) { enc_json(t, o, JSON_API, v->out); }
void view_raw(struct view *v, const char *json) { buf_put_str(v->out, json); }

static bool decode_body(struct view *v, struct blob body)
{
        struct fail f = { 0 };
        void *o = arena_alloc(v->arena, v->route->body_type->size);
        v->body = o;
        if (v->route->form != FORM_OBJ) return true;
        if (dec_json(v->route->body_type, body, v->arena, o, &f) == 0) return true;
        view_refuse(v, RC_FAIL_API_CALL_PARSE, "The body of the request cannot be read: %s", f.text);
        return false;
}

void view_run(struct view *v, struct blob body)
{
        v->status = v->route->status;
        unsigned since = route_since(v->route);
        if (since > LEVEL_FIRST && since > state_level(v->tx, NULL))
                view_refuse(v, RC_FAIL_INVLD_REQUEST,
                        "%s needs feature level %u, and the cluster is at %u: see 'raftctl level'.",
                        v->route->pattern, since, state_level(v->tx, NULL));
        else if (decode_body(v, body)) v->route->view(v);
        int err = v->tx->err != 0 ? v->tx->err : v->out->err;
        if (err == 0) return;
        buf_reset(v->out);
        v->out->err = 0;
        view_refuse(v, RC_FAIL_IMPL_ERROR, "The answer cannot be made: %s.", err_text(err));
}

void view_lacks(struct view *v)
{
        view_refuse(v, v->route->lacks, "Not implemented in this version: %s.", v->route->summary);
}

/* ---- rows ---- */

bool view_row(struct view *v, const struct type_desc *t, const void *key, struct arena *a, void *ret)
{
        return row_get(v->tx, t, key, a, ret) == 0;
}

bool view_observed(struct view *v, const struct type_desc *t, const void *key, struct arena *a, void *ret)
{
        return v->observed != NULL && row_get(v->observed, t, key, a, ret) == 0;
}

bool view_need_node(struct view *v, const char *name, struct node *ret)
{
        struct node key = { .name = name };
        if (view_row(v, &node_type, &key, v->arena, ret)) return true;
        view_refuse(v, RC_FAIL_NOT_FOUND_NODE, "There is no node '%s'.", name);
        return false;
}

bool view_need_rd(struct view *v, const char *name, struct rsc_dfn *ret)
{
        struct rsc_dfn key = { .name = name };
        if (view_row(v, &rsc_dfn_type, &key, v->arena, ret)) return true;
        view_refuse(v, RC_FAIL_NOT_FOUND_RSC_DFN, "There is no resource definition '%s'.", name);
        return false;
}

void view_default_rg(struct view *v, struct rsc_grp *ret)
{
        struct select_filter *f = arena_new(v->arena, struct select_filter);
        *ret = (struct rsc_grp){ 0 };
        SET(f, select_filter, place_count, 2);
        SET(ret, rsc_grp, name, "DfltRscGrp");
        SET(ret, rsc_grp, description, "Default resource group");
        SET(ret, rsc_grp, select_filter, f);
        MARK(ret, rsc_grp, props);
}

bool view_need_rg(struct view *v, const char *name, struct rsc_grp *ret)
{
        struct rsc_grp key = { .name = name };
        if (view_row(v, &rsc_grp_type, &key, v->arena, ret)) return true;
        if (strcasecmp(name, "DfltRscGrp") == 0) {
                view_default_rg(v, ret);
                return true;
        }
        view_refuse(v, RC_FAIL_NOT_FOUND_RSC_GRP, "There is no resource group '%s'.", name);
        return false;
}

bool view_number(const char *s, uint64_t *ret)
{
        char *end;
        if (*s < '0' || *s > '9') return false;
        errno = 0;
        *ret = strtoull(s, &end, 10);
        return *end == '\0' && errno == 0;
}

/* ---- lists ---- */

void list_open(
        struct view_list *l, struct view *v, const struct type_desc *t, const void *key, unsigned n_fields)
{
        *l = (struct view_list){ .v = v, .first = true };
        l->skip = query_u64(v->query, "offset");
        l->left = query_u64(v->query, "limit");
        if (l->left == 0) l->left = UINT64_MAX;
        row_scan_open(&l->scan, v->tx, t, key, n_fields);
        buf_put_str(v->out, "[");
}

bool list_next(struct view_list *l, void *ret)
{
        if (l->left == 0) return false;
        arena_reset(&l->arena);
        return row_scan_next(&l->scan, &l->arena, ret);
}

bool list_admits(struct view_list *l)
{
        if (l->skip != 0) {
                l->skip--;
                return false;
        }
        return l->left != 0;
}

void list_put(struct view_list *l, const struct type_desc *t, const void *o)
{
        if (!l->first) buf_put_str(l->v->out, ",");
        l->first = false;
        enc_json(t, o, JSON_API, l->v->out);
        l->left--;
}

void list_close(struct view_list *l)
{
        row_scan_close(&l->scan);
        arena_done(&l->arena);
        buf_put_str(l->v->out, "]");
}

static bool prop_matches(const char *filter, const struct strmap *props)
{
        const char *eq = strchr(filter, '=');
        if (eq == NULL) return strmap_get(props, filter) != NULL;
        for (uint32_t i = 0; i < props->n; i++) {
                const char *key = props->kv[2 * (size_t)i];
                if (strlen(key) == (size_t)(eq - filter) && strncmp(key, filter, (size_t)(eq - filter)) == 0)
                        return strcmp(props->kv[2 * (size_t)i + 1], eq + 1) == 0;
        }
        return false;
}

bool view_props_match(const struct view *v, const struct strmap *props)
{
        for (uint32_t i = 0; i < v->query->n; i++) {
                if (strcasecmp(v->query->kv[2 * (size_t)i], "props") != 0) continue;
                if (!prop_matches(v->query->kv[2 * (size_t)i + 1], props)) return false;
        }
        return true;
}
