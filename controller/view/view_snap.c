/* Views of snapshots and clones. */
#include <string.h>

#include "controller/view/view_internal.h"

/* ---- parts ---- */

static const struct obs_snap *seen(struct view *v, const struct snap *s, struct arena *a, struct obs_rsc *o)
{
        struct obs_rsc key = { .node_name = s->node_name, .rsc_name = s->rsc_name };
        if (!view_observed(v, &obs_rsc_type, &key, a, o)) return NULL;
        for (uint32_t i = 0; i < o->snapshots_n; i++)
                if (strcmp(o->snapshots[i].uuid, s->uuid) == 0) return &o->snapshots[i];
        return NULL;
}

static void fill_node(struct view *v, const struct snap *s, struct arena *a, struct snap_node_view *ret)
{
        struct obs_rsc o;
        const struct obs_snap *x = seen(v, s, a, &o);
        *ret = (struct snap_node_view){ 0 };
        SET(ret, snap_node_view, snapshot_name, s->snap_name);
        SET(ret, snap_node_view, node_name, s->node_name);
        if (HAS(s, snap, create_timestamp)) SET(ret, snap_node_view, create_timestamp, s->create_timestamp);
        SET(ret, snap_node_view, flags, s->flags);
        SET(ret, snap_node_view, uuid, s->uuid);
        SET(ret, snap_node_view, snapshot_props, s->props);
        SET(ret, snap_node_view, resource_props, s->rsc_props);
        struct snap_vlm_view *vlms = arena_alloc(a, (s->volumes_n + 1) * sizeof *vlms);
        for (uint32_t i = 0; i < s->volumes_n; i++) {
                SET(&vlms[i], snap_vlm_view, uuid, s->volumes[i].uuid);
                SET(&vlms[i], snap_vlm_view, vlm_nr, s->volumes[i].volume_number);
                SET(&vlms[i], snap_vlm_view, volume_props, s->volumes[i].vlm_props);
                if (x != NULL && x->state == sat_step_state_FAILED)
                        SET(&vlms[i], snap_vlm_view, state, "Failed");
        }
        SET_N(ret, snap_node_view, snapshot_volumes, vlms, s->volumes_n);
}

static void fill_vds(const struct snap_dfn *d, struct arena *a, struct snap_view *ret)
{
        struct snap_vd_view *vds = arena_alloc(a, (d->volumes_n + 1) * sizeof *vds);
        for (uint32_t i = 0; i < d->volumes_n; i++) {
                SET(&vds[i], snap_vd_view, volume_number, d->volumes[i].volume_number);
                SET(&vds[i], snap_vd_view, size_kib, d->volumes[i].size_kib);
                SET(&vds[i], snap_vd_view, volume_definition_props, d->volumes[i].vd_props);
        }
        SET_N(ret, snap_view, volume_definitions, vds, d->volumes_n);
}

/* false: the query names other nodes. */
static bool fill(struct view *v, const struct snap_dfn *d, struct arena *a, struct snap_view *ret)
{
        struct snap key = { .rsc_name = d->rsc_name, .snap_name = d->snap_name }, s;
        struct row_scan scan;
        uint32_t n = 0, max = (uint32_t)row_count(v->tx, &snap_type, &key, 2);
        bool wanted = query_get(v->query, "nodes") == NULL;
        *ret = (struct snap_view){ 0 };
        struct snap_node_view *list = arena_alloc(a, (max + 1) * sizeof *list);
        const char **nodes = arena_alloc(a, (max + 1) * sizeof *nodes);
        row_scan_open(&scan, v->tx, &snap_type, &key, 2);
        while (n < max && row_scan_next(&scan, a, &s)) {
                wanted = wanted || query_admits(v->query, "nodes", s.node_name);
                nodes[n] = s.node_name;
                fill_node(v, &s, a, &list[n++]);
        }
        row_scan_close(&scan);
        SET(ret, snap_view, name, d->snap_name);
        SET(ret, snap_view, resource_name, d->rsc_name);
        SET_N(ret, snap_view, nodes, nodes, n);
        SET(ret, snap_view, props, d->props);
        SET(ret, snap_view, snapshot_definition_props, d->props);
        SET(ret, snap_view, resource_definition_props, d->rd_props);
        SET(ret, snap_view, flags, d->flags);
        SET(ret, snap_view, uuid, d->uuid);
        SET_N(ret, snap_view, snapshots, list, n);
        fill_vds(d, a, ret);
        return wanted;
}

/* ---- views ---- */

static void list(struct view *v, const struct snap_dfn *key, unsigned n_fields)
{
        struct view_list l;
        struct snap_dfn d;
        struct snap_view out;
        list_open(&l, v, &snap_dfn_type, key, n_fields);
        while (list_next(&l, &d)) {
                if (!query_admits(v->query, "resources", d.rsc_name) ||
                        !query_admits(v->query, "snapshots", d.snap_name))
                        continue;
                if (fill(v, &d, &l.arena, &out) && list_admits(&l)) list_put(&l, &snap_view_type, &out);
        }
        list_close(&l);
}

void view_snap_view(struct view *v) { list(v, &(struct snap_dfn){ 0 }, 0); }

void view_snap_list(struct view *v)
{
        struct rsc_dfn rd;
        if (view_need_rd(v, v->params[0], &rd)) list(v, &(struct snap_dfn){ .rsc_name = rd.name }, 1);
}

void view_snap_get(struct view *v)
{
        struct rsc_dfn rd;
        if (!view_need_rd(v, v->params[0], &rd)) return;
        struct snap_dfn d = { .rsc_name = rd.name, .snap_name = v->params[1] };
        struct snap_view out;
        if (!view_row(v, &snap_dfn_type, &d, v->arena, &d)) {
                view_refuse(v, RC_FAIL_NOT_FOUND_SNAPSHOT_DFN,
                        "There is no snapshot '%s' of resource definition '%s'.", v->params[1], rd.name);
                return;
        }
        (void)fill(v, &d, v->arena, &out);
        view_obj(v, &snap_view_type, &out);
}

void view_rd_clone_status(struct view *v)
{
        struct rsc_dfn rd, clone;
        struct clone_status s = { 0 };
        if (!view_need_rd(v, v->params[0], &rd) || !view_need_rd(v, v->params[1], &clone)) return;
        const char *status = (clone.flags & rsc_dfn_flag_FAILED) != 0    ? "FAILED"
                             : (clone.flags & rsc_dfn_flag_CLONING) != 0 ? "CLONING"
                                                                         : "COMPLETE";
        SET(&s, clone_status, status, status);
        view_obj(v, &clone_status_type, &s);
}
