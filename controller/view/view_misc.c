/* Views of properties, counts, the key-value store, error reports, and of what does not exist yet. */
#include "controller/base/vault.h"
#include "controller/view/view_internal.h"

/* ---- properties ---- */

void view_ctrl_props(struct view *v)
{
        struct ctrl_props c;
        struct cluster cluster;
        if (row_get_single(v->tx, &ctrl_props_type, v->arena, &c) != 0) return;
        if (row_get_single(v->tx, &cluster_type, v->arena, &cluster) == 0 && cluster.uuid != NULL)
                strmap_set(&c.props, "Cluster/LocalID", cluster.uuid,
                        v->arena); /* for remotes of other clusters */
        view_raw(v, "{");
        for (uint32_t i = 0; i < c.props.n; i++) {
                if (i != 0) view_raw(v, ",");
                enc_json_str(c.props.kv[2 * (size_t)i], v->out);
                view_raw(v, ":");
                enc_json_str(c.props.kv[2 * (size_t)i + 1], v->out);
        }
        view_raw(v, "}");
}

void view_ctrl_props_info(struct view *v) { props_info(PS_C, v->out); }
void view_node_props_info(struct view *v) { props_info(PS_N, v->out); }
void view_spd_props_info(struct view *v) { props_info(PS_SPD, v->out); }
void view_pool_props_info(struct view *v) { props_info(PS_SP, v->out); }
void view_rg_props_info(struct view *v) { props_info(PS_RD, v->out); }
void view_vg_props_info(struct view *v) { props_info(PS_VD, v->out); }
void view_rd_props_info(struct view *v) { props_info(PS_RD, v->out); }
void view_vd_props_info(struct view *v) { props_info(PS_VD, v->out); }
void view_rsc_props_info(struct view *v) { props_info(PS_R, v->out); }
void view_vlm_props_info(struct view *v) { props_info(PS_V, v->out); }
void view_rsc_conn_props_info(struct view *v) { props_info(PS_RC, v->out); }
void view_proxy_props_info(struct view *v) { props_info(PS_PX, v->out); }

void view_ctrl_props_info_all(struct view *v)
{
        static const struct {
                const char *name;
                enum prop_scope scope;
        } kinds[] = { { "CONTROLLER", PS_C }, { "NODE", PS_N }, { "STORAGEPOOL", PS_SP },
                { "STORAGEPOOL_DEFINITION", PS_SPD }, { "RESOURCE_GROUP", PS_RD },
                { "RESOURCE_DEFINITION", PS_RD }, { "RESOURCE", PS_R }, { "VOLUME_GROUP", PS_VD },
                { "VOLUME_DEFINITION", PS_VD }, { "VOLUME", PS_V }, { "RESOURCE_CONNECTION", PS_RC },
                { "NODE_CONNECTION", PS_NC }, { "DRBD_PROXY", PS_PX } };
        view_raw(v, "{");
        for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
                buf_printf(v->out, "%s\"%s\":", i != 0 ? "," : "", kinds[i].name);
                props_info(kinds[i].scope, v->out);
        }
        view_raw(v, "}");
}

/* ---- counts ---- */

static void count(struct view *v, const struct type_desc *t, uint64_t more)
{
        struct count_view c = { 0 };
        void *key = arena_alloc(v->arena, t->size);
        SET(&c, count_view, count, row_count(v->tx, t, key, 0) + more);
        view_obj(v, &count_view_type, &c);
}

void view_stats_node(struct view *v) { count(v, &node_type, 0); }
void view_stats_rd(struct view *v) { count(v, &rsc_dfn_type, 0); }
void view_stats_rsc(struct view *v) { count(v, &rsc_type, 0); }
void view_stats_pool(struct view *v) { count(v, &stor_pool_type, 0); }
void view_stats_report(struct view *v) { count(v, &error_report_type, 0); }

void view_stats_rg(struct view *v)
{
        struct rsc_grp dflt;
        view_default_rg(v, &dflt);
        count(v, &rsc_grp_type, row_exists(v->tx, &rsc_grp_type, &dflt) ? 0 : 1);
}

/* ---- key-value store ---- */

void view_kvs_list(struct view *v)
{
        struct view_list l;
        struct kvs k = { 0 };
        list_open(&l, v, &kvs_type, &k, 0);
        while (list_next(&l, &k))
                if (list_admits(&l)) list_put(&l, &kvs_type, &k);
        list_close(&l);
}

void view_kvs_get(struct view *v)
{
        struct kvs k = { .name = v->params[0] };
        if (view_row(v, &kvs_type, &k, v->arena, &k)) enc_json_list(&kvs_type, &k, 1, JSON_API, v->out);
        else view_refuse(v, RC_FAIL_NOT_FOUND_KVS, "There is no key-value store '%s'.", v->params[0]);
}

/* ---- error reports ---- */

void view_report_list(struct view *v)
{
        struct view_list l;
        struct error_report r = { 0 };
        uint64_t since = query_u64(v->query, "since"), to = query_u64(v->query, "to");
        bool content = query_bool(v->query, "withContent", false);
        list_open(&l, v, &error_report_type, &r, 0);
        while (list_next(&l, &r)) {
                uint64_t t = r.error_time > 0 ? (uint64_t)r.error_time : 0;
                if (t < since || (to != 0 && t > to) || !query_admits(v->query, "node", r.node_name))
                        continue;
                if (!list_admits(&l)) continue;
                if (!content) UNSET(&r, error_report, text);
                list_put(&l, &error_report_type, &r);
        }
        list_close(&l);
}

void view_report_get(struct view *v)
{
        struct error_report r = { .filename = v->params[0] };
        if (view_row(v, &error_report_type, &r, v->arena, &r))
                enc_json_list(&error_report_type, &r, 1, JSON_API, v->out);
        else {
                view_refuse(v, RC_FAIL_UNKNOWN_ERROR, "There is no error report '%s'.", v->params[0]);
                v->status = 404; /* LINSTOR has no code for it */
        }
}

/* ---- space ---- */

static void space_line(
        struct buf *text, const char *node, const char *pool, uint64_t total_kib, uint64_t free_kib)
{
        const double gib = 1024.0 * 1024.0;
        uint64_t used_kib = total_kib > free_kib ? total_kib - free_kib : 0;
        buf_printf(text, "%-20s %-20s %14.2f GiB %14.2f GiB %14.2f GiB\n", node, pool,
                (double)total_kib / gib, (double)used_kib / gib, (double)free_kib / gib);
}

void view_space_report(struct view *v)
{
        struct buf text = { 0 };
        struct arena a = { 0 };
        struct row_scan s;
        struct stor_pool p = { 0 };
        uint64_t total_kib = 0, free_kib = 0;
        uint32_t silent = 0;
        buf_printf(&text, "%-20s %-20s %18s %18s %18s\n", "Node", "Storage pool", "Total", "Used", "Free");
        row_scan_open(&s, v->tx, &stor_pool_type, &p, 0);
        while (row_scan_next(&s, &a, &p)) {
                if (p.provider_kind == provider_kind_DISKLESS) continue;
                view_fill_pool(v, &p, &a);
                if (!HAS(&p, stor_pool, total_capacity)) {
                        silent++;
                } else {
                        space_line(&text, p.node_name, p.storage_pool_name, (uint64_t)p.total_capacity,
                                (uint64_t)p.free_capacity);
                        total_kib += (uint64_t)p.total_capacity;
                        free_kib += (uint64_t)p.free_capacity;
                }
                arena_reset(&a);
        }
        row_scan_close(&s);
        space_line(&text, "all", "", total_kib, free_kib);
        if (silent != 0) buf_printf(&text, "Storage pools whose space is not known: %u\n", silent);
        view_raw(v, "{\"reportText\":");
        enc_json_str(buf_cstr(&text), v->out);
        view_raw(v, "}");
        if (text.err != 0) v->out->err = text.err;
        arena_done(&a);
        buf_done(&text);
}

/* ---- operations in phases ---- */

static void put_operation(struct view_list *l, const struct saga *s)
{
        struct operation_row row = { 0 };
        const char **resources = arena_alloc(l->v->arena, (s->items_n + 1) * sizeof *resources);
        const char **snapshots = arena_alloc(l->v->arena, (s->items_n + 1) * sizeof *snapshots);
        for (uint32_t i = 0; i < s->items_n; i++) {
                resources[i] = view_text(s->items[i].rsc_name);
                snapshots[i] = view_text(s->items[i].snap_name);
        }
        SET(&row, operation_row, uuid, view_text(s->uuid));
        SET(&row, operation_row, kind, enum_name(&saga_kind_enum, s->kind));
        SET(&row, operation_row, phase, enum_name(&saga_phase_enum, s->phase));
        SET_N(&row, operation_row, resources, resources, s->items_n);
        SET_N(&row, operation_row, snapshots, snapshots, s->items_n);
        SET_N(&row, operation_row, nodes, s->nodes, s->nodes_n);
        SET(&row, operation_row, since, s->since_ms);
        if (view_given(s->target)) SET(&row, operation_row, target, s->target);
        if (view_given(s->reason)) SET(&row, operation_row, reason, s->reason);
        list_put(l, &operation_row_type, &row);
}

void view_operation_list(struct view *v)
{
        struct view_list l;
        struct saga s = { 0 };
        list_open(&l, v, &saga_type, &s, 0);
        while (list_next(&l, &s))
                if (list_admits(&l)) put_operation(&l, &s);
        list_close(&l);
}

/* ---- what does not exist yet: nothing to list ---- */

void view_passphrase_status(struct view *v)
{
        struct cluster c = { 0 };
        struct passphrase_status_view out = { 0 };
        if (row_get_single(v->tx, &cluster_type, v->arena, &c) != 0) c = (struct cluster){ 0 };
        SET(&out, passphrase_status_view, status,
                !vault_is_made(&c) ? "unset"
                : vault_open(&c)   ? "unlocked"
                                   : "locked");
        view_obj(v, &passphrase_status_view_type, &out);
}

void view_backup_queue(struct view *v) { view_raw(v, "{\"node_queues\":[],\"snap_queues\":[]}"); }
void view_schedule_list(struct view *v) { view_raw(v, "{\"data\":[]}"); }
void view_schedule_by_rsc(struct view *v) { view_raw(v, "{\"data\":[]}"); }
void view_schedule_by_rsc_one(struct view *v) { view_raw(v, "{\"data\":[]}"); }
