/* Views of resource groups, resource definitions, volume definitions. */
#include "controller/view/view_internal.h"

/* ---- resource groups ---- */

void view_rg_list(struct view *v)
{
        struct view_list l;
        struct rsc_grp g = { 0 };
        struct rsc_grp dflt;
        view_default_rg(v, &dflt);
        bool stored = row_exists(v->tx, &rsc_grp_type, &dflt);
        list_open(&l, v, &rsc_grp_type, &g, 0);
        if (!stored && query_admits(v->query, "resource_groups", dflt.name) &&
                view_props_match(v, &dflt.props) && list_admits(&l))
                list_put(&l, &rsc_grp_type, &dflt);
        while (list_next(&l, &g)) {
                if (!query_admits(v->query, "resource_groups", g.name) || !view_props_match(v, &g.props))
                        continue;
                if (list_admits(&l)) list_put(&l, &rsc_grp_type, &g);
        }
        list_close(&l);
}

void view_rg_get(struct view *v)
{
        struct rsc_grp g;
        if (view_need_rg(v, v->params[0], &g)) view_obj(v, &rsc_grp_type, &g);
}

void view_vg_list(struct view *v)
{
        struct rsc_grp g;
        struct view_list l;
        struct vlm_grp vg;
        if (!view_need_rg(v, v->params[0], &g)) return;
        struct vlm_grp key = { .rsc_grp_name = g.name };
        list_open(&l, v, &vlm_grp_type, &key, 1);
        while (list_next(&l, &vg))
                if (list_admits(&l)) list_put(&l, &vlm_grp_type, &vg);
        list_close(&l);
}

void view_vg_get(struct view *v)
{
        struct rsc_grp g;
        struct vlm_grp vg = { 0 };
        if (!view_need_rg(v, v->params[0], &g)) return;
        vg.rsc_grp_name = g.name;
        if (view_number(v->params[1], &vg.volume_number) && view_row(v, &vlm_grp_type, &vg, v->arena, &vg))
                view_obj(v, &vlm_grp_type, &vg);
        else
                view_refuse(v, RC_FAIL_NOT_FOUND_VLM_GRP,
                        "There is no volume group %s in resource group '%s'.", v->params[1], g.name);
}

/* ---- volume definitions ---- */

void view_fill_vd(const struct rsc_dfn *rd, const struct vlm_dfn *vd, struct arena *a, struct vd_view *ret)
{
        *ret = (struct vd_view){ 0 };
        SET(ret, vd_view, volume_number, vd->volume_number);
        SET(ret, vd_view, size_kib, vd->size_kib);
        SET(ret, vd_view, props, vd->props);
        /* that a volume may shrink is for satellites */
        SET(ret, vd_view, flags, vd->flags & ~(uint64_t)vlm_dfn_flag_RESIZE_SHRINK);
        SET(ret, vd_view, uuid, vd->uuid);
        struct vd_layer *layers = arena_alloc(a, (rd->layer_stack_n + 1) * sizeof *layers);
        for (uint32_t i = 0; i < rd->layer_stack_n; i++) {
                SET(&layers[i], vd_layer, type, rd->layer_stack[i]);
                if (strcasecmp(rd->layer_stack[i], "DRBD") != 0 || !HAS(vd, vlm_dfn, drbd_minor)) continue;
                struct vd_layer_data *d = arena_new(a, struct vd_layer_data);
                SET(d, vd_layer_data, volume_number, vd->volume_number);
                SET(d, vd_layer_data, minor_number, vd->drbd_minor);
                SET(&layers[i], vd_layer, data, d);
        }
        SET_N(ret, vd_view, layer_data, layers, rd->layer_stack_n);
}

void view_vd_list(struct view *v)
{
        struct rsc_dfn rd;
        struct view_list l;
        struct vlm_dfn vd;
        struct vd_view out;
        if (!view_need_rd(v, v->params[0], &rd)) return;
        struct vlm_dfn key = { .rsc_name = rd.name };
        list_open(&l, v, &vlm_dfn_type, &key, 1);
        while (list_next(&l, &vd)) {
                if (!list_admits(&l)) continue;
                view_fill_vd(&rd, &vd, &l.arena, &out);
                list_put(&l, &vd_view_type, &out);
        }
        list_close(&l);
}

void view_vd_get(struct view *v)
{
        struct rsc_dfn rd;
        struct vlm_dfn vd = { 0 };
        struct vd_view out;
        if (!view_need_rd(v, v->params[0], &rd)) return;
        vd.rsc_name = rd.name;
        if (!view_number(v->params[1], &vd.volume_number) ||
                !view_row(v, &vlm_dfn_type, &vd, v->arena, &vd)) {
                view_refuse(v, RC_FAIL_NOT_FOUND_VLM_DFN,
                        "There is no volume definition %s in resource definition '%s'.", v->params[1],
                        rd.name);
                return;
        }
        view_fill_vd(&rd, &vd, v->arena, &out);
        view_obj(v, &vd_view_type, &out);
}

/* ---- resource definitions ---- */

struct rd_layer_data *view_drbd_dfn(const struct rsc_dfn *rd, struct arena *a)
{
        struct rd_layer_data *d = arena_new(a, struct rd_layer_data);
        SET(d, rd_layer_data, peer_slots, HAS(rd, rsc_dfn, drbd_peer_slots) ? rd->drbd_peer_slots : 7);
        SET(d, rd_layer_data, al_stripes, 1);
        SET(d, rd_layer_data, al_stripe_size_kib, 32);
        if (HAS(rd, rsc_dfn, drbd_port)) SET(d, rd_layer_data, port, rd->drbd_port);
        SET(d, rd_layer_data, transport_type,
                view_given(rd->drbd_transport_type) ? rd->drbd_transport_type : "IP");
        SET(d, rd_layer_data, down, false);
        return d;
}

static void embed_vds(struct view *v, const struct rsc_dfn *rd, struct arena *a, struct rd_view *ret)
{
        struct vlm_dfn key = { .rsc_name = rd->name }, vd;
        struct row_scan s;
        uint32_t n = 0, max = (uint32_t)row_count(v->tx, &vlm_dfn_type, &key, 1);
        struct vd_view *list = arena_alloc(a, (max + 1) * sizeof *list);
        row_scan_open(&s, v->tx, &vlm_dfn_type, &key, 1);
        while (n < max && row_scan_next(&s, a, &vd)) view_fill_vd(rd, &vd, a, &list[n++]);
        row_scan_close(&s);
        SET_N(ret, rd_view, volume_definitions, list, n);
}

static void fill_rd(
        struct view *v, const struct rsc_dfn *rd, bool with_vds, struct arena *a, struct rd_view *ret)
{
        *ret = (struct rd_view){ 0 };
        SET(ret, rd_view, name, rd->name);
        if (view_given(rd->external_name)) SET(ret, rd_view, external_name, rd->external_name);
        SET(ret, rd_view, props, rd->props);
        SET(ret, rd_view, flags, rd->flags);
        SET(ret, rd_view, uuid, rd->uuid);
        SET(ret, rd_view, resource_group_name, rd->rsc_grp_name);
        struct rd_layer *layers = arena_alloc(a, (rd->layer_stack_n + 1) * sizeof *layers);
        for (uint32_t i = 0; i < rd->layer_stack_n; i++) {
                SET(&layers[i], rd_layer, type, rd->layer_stack[i]);
                if (strcasecmp(rd->layer_stack[i], "DRBD") == 0)
                        SET(&layers[i], rd_layer, data, view_drbd_dfn(rd, a));
        }
        SET_N(ret, rd_view, layer_data, layers, rd->layer_stack_n);
        if (with_vds) embed_vds(v, rd, a, ret);
}

void view_rd_list(struct view *v)
{
        struct view_list l;
        struct rsc_dfn rd = { 0 };
        struct rd_view out;
        bool with_vds = query_bool(v->query, "with_volume_definitions", false);
        list_open(&l, v, &rsc_dfn_type, &rd, 0);
        while (list_next(&l, &rd)) {
                if (!query_admits(v->query, "resource_definitions", rd.name) ||
                        !view_props_match(v, &rd.props))
                        continue;
                if (!list_admits(&l)) continue;
                fill_rd(v, &rd, with_vds, &l.arena, &out);
                list_put(&l, &rd_view_type, &out);
        }
        list_close(&l);
}

void view_rd_get(struct view *v)
{
        struct rsc_dfn rd;
        struct rd_view out;
        if (!view_need_rd(v, v->params[0], &rd)) return;
        fill_rd(v, &rd, query_bool(v->query, "with_volume_definitions", false), v->arena, &out);
        view_obj(v, &rd_view_type, &out);
}
