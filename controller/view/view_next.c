/* What the next release could add, built with --enable-next-level only: reads of a table, of an index that came with the
 * level, and of a field on its way to the satellite and back. */
#include "controller/view/view_internal.h"

void view_next_marks(struct view *v)
{
        struct view_list l;
        struct next_mark m;
        list_open(&l, v, &next_mark_type, NULL, 0);
        while (list_next(&l, &m))
                if (list_admits(&l)) list_put(&l, &next_mark_type, &m);
        list_close(&l);
}

void view_next_uuid(struct view *v)
{
        struct idx_next_uuid key = { .uuid = v->params[0] }, row;
        if (view_row(v, &idx_next_uuid_type, &key, v->arena, &row)) view_obj(v, &idx_next_uuid_type, &row);
        else view_refuse(v, RC_FAIL_NOT_FOUND_NODE, "No node has that uuid.");
}

void view_next_note(struct view *v)
{
        struct obs_node key = { .node_name = v->params[0] }, row;
        if (view_observed(v, &obs_node_type, &key, v->arena, &row)) view_obj(v, &obs_node_type, &row);
        else view_refuse(v, RC_FAIL_NOT_FOUND_NODE, "Nothing is known of that node.");
}
