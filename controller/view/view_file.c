/* Views of external files, and of what satellites say of them. */
#include <string.h>

#include "controller/view/view_internal.h"
#include "wire/codec/codec.h"
#include "wire/def/ext_path.h"

void view_file_list(struct view *v)
{
        bool content = query_bool(v->query, "content", false);
        struct view_list l;
        struct ext_file f = { 0 };
        list_open(&l, v, &ext_file_type, &f, 0);
        while (list_next(&l, &f)) {
                if (!content) UNSET(&f, ext_file, content);
                if (list_admits(&l)) list_put(&l, &ext_file_type, &f);
        }
        list_close(&l);
}

static bool need_file(struct view *v, const char *path, struct ext_file *ret)
{
        struct ext_file key = { .path = path };
        if (view_row(v, &ext_file_type, &key, v->arena, ret)) return true;
        view_refuse(v, RC_FAIL_NOT_FOUND_EXT_FILE, "External file '%.300s' does not exist.", path);
        return false;
}

void view_file_get(struct view *v)
{
        struct ext_file f;
        if (need_file(v, v->params[0], &f)) view_obj(v, &ext_file_type, &f);
}

/* What the node's satellite said last; false: refused. */
static bool need_report(struct view *v, struct obs_files *ret)
{
        struct node n;
        struct obs_node o;
        if (!view_need_node(v, v->params[1], &n)) return false;
        bool online =
                view_observed(v, &obs_node_type, &(struct obs_node){ .node_name = n.name }, v->arena, &o) &&
                o.connection_status == conn_status_ONLINE;
        if (online &&
                view_observed(v, &obs_files_type, &(struct obs_files){ .node_name = n.name }, v->arena, ret))
                return true;
        view_refuse(v, RC_FAIL_NOT_CONNECTED, "The satellite of node '%s' is not connected.", n.name);
        return false;
}

void view_file_check(struct view *v)
{
        struct obs_files o;
        struct ext_file_check out = { 0 };
        const char *path = v->params[0];
        if (!need_report(v, &o)) return;
        SET(&out, ext_file_check, allowed,
                ext_path_problem(path) == NULL && ext_path_allowed(view_text(o.allowed), path));
        view_obj(v, &ext_file_check_type, &out);
}

void view_file_status(struct view *v)
{
        struct obs_files o;
        struct ext_file f;
        struct ext_file_status out = { 0 };
        if (!need_file(v, v->params[0], &f) || !need_report(v, &o)) return;
        SET(&out, ext_file_status, content_match, false);
        for (uint32_t i = 0; i < o.files_n; i++) {
                if (strcmp(o.files[i].path, f.path) != 0) continue;
                if (o.files[i].actual_path != NULL)
                        SET(&out, ext_file_status, actual_path, o.files[i].actual_path);
                SET(&out, ext_file_status, content_match, o.files[i].content_match);
        }
        view_obj(v, &ext_file_status_type, &out);
}
