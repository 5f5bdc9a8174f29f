/* The list of orphans, see op_orphan.c. */
#include "controller/view/view_internal.h"

static void put_row(struct view_list *l, const struct obs_rsc *r, const struct obs_orphan *o)
{
        struct orphan_row row = { 0 };
        SET(&row, orphan_row, node_name, r->node_name);
        SET(&row, orphan_row, rsc_name, view_text(r->rsc_name));
        SET(&row, orphan_row, uuid, view_text(o->uuid));
        SET(&row, orphan_row, volume_number, o->volume_number);
        if (view_given(o->backing_device)) SET(&row, orphan_row, backing_device, o->backing_device);
        if (view_given(o->device_path)) SET(&row, orphan_row, device_path, o->device_path);
        if (HAS(o, obs_orphan, allocated_kib)) SET(&row, orphan_row, allocated_size_kib, o->allocated_kib);
        SET(&row, orphan_row, in_use, o->in_use);
        list_put(l, &orphan_row_type, &row);
}

static void put_node(struct view_list *l, const struct node *n)
{
        struct obs_rsc r, key = { .node_name = n->name };
        struct row_scan s;
        struct arena a = { 0 };
        row_scan_open(&s, l->v->observed, &obs_rsc_type, &key, 1);
        while (row_scan_next(&s, &a, &r)) {
                for (uint32_t i = 0; i < r.orphans_n; i++)
                        if (list_admits(l)) put_row(l, &r, &r.orphans[i]);
                arena_reset(&a);
        }
        row_scan_close(&s);
        arena_done(&a);
}

void view_orphan_list(struct view *v)
{
        struct view_list l;
        struct node n = { 0 };
        list_open(&l, v, &node_type, &n, 0);
        while (list_next(&l, &n))
                if (v->observed != NULL && query_admits(v->query, "nodes", n.name)) put_node(&l, &n);
        list_close(&l);
}
