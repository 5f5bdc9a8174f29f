/* Views of nodes, addresses, storage pools and connections. */
#include "controller/view/view_internal.h"

/* ---- nodes ---- */

void view_fill_node(struct view *v, struct node *n, struct arena *a)
{
        view_node_observed(v->observed, n, a);
}

void view_node_list(struct view *v)
{
        struct view_list l;
        struct node n = { 0 };
        list_open(&l, v, &node_type, &n, 0);
        while (list_next(&l, &n)) {
                if (!query_admits(v->query, "nodes", n.name) || !view_props_match(v, &n.props) ||
                        !list_admits(&l))
                        continue;
                view_fill_node(v, &n, &l.arena);
                list_put(&l, &node_type, &n);
        }
        list_close(&l);
}

void view_node_get(struct view *v)
{
        struct node n;
        if (!view_need_node(v, v->params[0], &n)) return;
        view_fill_node(v, &n, v->arena);
        view_obj(v, &node_type, &n);
}

void view_netif_list(struct view *v)
{
        struct node n;
        if (!view_need_node(v, v->params[0], &n)) return;
        uint64_t skip = query_u64(v->query, "offset"), limit = query_u64(v->query, "limit");
        uint32_t from = (uint32_t)MIN(skip, n.net_interfaces_n), left = n.net_interfaces_n - from;
        if (limit != 0 && limit < left) left = (uint32_t)limit;
        /* A node without interfaces has no array at all: nothing may be added to a null pointer. */
        const struct netif *page = left != 0 ? &n.net_interfaces[from] : NULL;
        enc_json_list(&netif_type, page, left, JSON_API, v->out);
}

void view_netif_get(struct view *v)
{
        struct node n;
        if (!view_need_node(v, v->params[0], &n)) return;
        for (uint32_t i = 0; i < n.net_interfaces_n; i++)
                if (strcasecmp(n.net_interfaces[i].name, v->params[1]) == 0) {
                        view_obj(v, &netif_type, &n.net_interfaces[i]);
                        return;
                }
        view_refuse(v, RC_FAIL_NOT_FOUND_NET_IF, "Node '%s' has no network interface '%s'.", n.name,
                v->params[1]);
}

/* ---- storage pools ---- */

void view_spd_list(struct view *v)
{
        struct view_list l;
        struct stor_pool_dfn d = { 0 };
        list_open(&l, v, &stor_pool_dfn_type, &d, 0);
        while (list_next(&l, &d))
                if (list_admits(&l)) list_put(&l, &stor_pool_dfn_type, &d);
        list_close(&l);
}

void view_spd_get(struct view *v)
{
        struct stor_pool_dfn d = { .storage_pool_name = v->params[0] };
        if (view_row(v, &stor_pool_dfn_type, &d, v->arena, &d)) view_obj(v, &stor_pool_dfn_type, &d);
        else
                view_refuse(v, RC_FAIL_NOT_FOUND_STOR_POOL_DFN, "There is no storage pool definition '%s'.",
                        v->params[0]);
}

static const char *provisioning(enum provider_kind kind)
{
        switch (kind) {
        case provider_kind_LVM_THIN:
        case provider_kind_ZFS_THIN:
        case provider_kind_FILE_THIN:
        case provider_kind_STORAGE_SPACES_THIN: return "Thin";
        case provider_kind_LVM:
        case provider_kind_ZFS:
        case provider_kind_FILE:
        case provider_kind_SPDK:
        case provider_kind_REMOTE_SPDK:
        case provider_kind_EBS_TARGET:
        case provider_kind_EBS_INIT:
        case provider_kind_STORAGE_SPACES: return "Fat";
        case provider_kind_DISKLESS:
        case provider_kind_N: break;
        }
        return NULL;
}

void view_fill_pool(struct view *v, struct stor_pool *p, struct arena *a)
{
        struct obs_pool key = { .node_name = p->node_name, .storage_pool_name = p->storage_pool_name }, o;
        struct strmap traits = { 0 };
        bool snapshots = false;
        if (p->provider_kind == provider_kind_DISKLESS) {
                SET(p, stor_pool, free_capacity, INT64_MAX);
                SET(p, stor_pool, total_capacity, INT64_MAX);
        } else if (view_observed(v, &obs_pool_type, &key, a, &o)) {
                snapshots = o.supports_snapshots;
                if (HAS(&o, obs_pool, free_kib) && HAS(&o, obs_pool, total_kib)) {
                        SET(p, stor_pool, free_capacity, o.free_kib);
                        SET(p, stor_pool, total_capacity, o.total_kib);
                }
                SET_N(p, stor_pool, reports, o.reports, o.reports_n);
                if (o.allocation_kib != 0)
                        strmap_set(&traits, "AllocationUnit",
                                arena_printf(a, "%llu", (unsigned long long)o.allocation_kib), a);
        }
        strmap_set(&traits, "SupportsSnapshots", snapshots ? "true" : "false", a);
        if (provisioning(p->provider_kind) != NULL)
                strmap_set(&traits, "Provisioning", provisioning(p->provider_kind), a);
        SET(p, stor_pool, static_traits, traits);
        SET(p, stor_pool, supports_snapshots, snapshots);
        SET(p, stor_pool, free_space_mgr_name,
                view_given(p->shared_space) ? p->shared_space
                                            : arena_printf(a, "%s:%s", p->node_name, p->storage_pool_name));
}

static void list_pools(struct view *v, const struct stor_pool *key, unsigned n_fields)
{
        struct view_list l;
        struct stor_pool p;
        list_open(&l, v, &stor_pool_type, key, n_fields);
        while (list_next(&l, &p)) {
                if (!query_admits(v->query, "nodes", p.node_name)) continue;
                if (!query_admits(v->query, "storage_pools", p.storage_pool_name)) continue;
                if (!view_props_match(v, &p.props) || !list_admits(&l)) continue;
                view_fill_pool(v, &p, &l.arena);
                list_put(&l, &stor_pool_type, &p);
        }
        list_close(&l);
}

void view_pool_list(struct view *v) { list_pools(v, &(struct stor_pool){ 0 }, 0); }

void view_pool_list_node(struct view *v)
{
        struct node n;
        if (view_need_node(v, v->params[0], &n)) list_pools(v, &(struct stor_pool){ .node_name = n.name }, 1);
}

void view_pool_get(struct view *v)
{
        struct node n;
        if (!view_need_node(v, v->params[0], &n)) return;
        struct stor_pool p = { .node_name = n.name, .storage_pool_name = v->params[1] };
        if (!view_row(v, &stor_pool_type, &p, v->arena, &p)) {
                view_refuse(v, RC_FAIL_NOT_FOUND_STOR_POOL, "There is no storage pool '%s' on node '%s'.",
                        v->params[1], n.name);
                return;
        }
        view_fill_pool(v, &p, v->arena);
        view_obj(v, &stor_pool_type, &p);
}

/* ---- connections ---- */

static void put_conn(struct view_list *l, const char *a, const char *b, const struct strmap *props)
{
        struct conn_view c = { 0 };
        SET(&c, conn_view, node_a, a);
        SET(&c, conn_view, node_b, b);
        SET(&c, conn_view, props, *props);
        list_put(l, &conn_view_type, &c);
}

void view_node_conn_list(struct view *v)
{
        struct view_list l;
        struct node_conn c = { 0 };
        const char *a = query_get(v->query, "node_a"), *b = query_get(v->query, "node_b");
        list_open(&l, v, &node_conn_type, &c, 0);
        while (list_next(&l, &c)) {
                bool has_a = !view_given(a) || strcasecmp(a, c.node_a) == 0 || strcasecmp(a, c.node_b) == 0;
                bool has_b = !view_given(b) || strcasecmp(b, c.node_a) == 0 || strcasecmp(b, c.node_b) == 0;
                if (has_a && has_b && list_admits(&l)) put_conn(&l, c.node_a, c.node_b, &c.props);
        }
        list_close(&l);
}

static void sort_pair(const char **a, const char **b)
{
        if (strcasecmp(*a, *b) <= 0) return;
        const char *t = *a;
        *a = *b;
        *b = t;
}

/* A list with one element, whose properties may be none. */
void view_node_conn_get(struct view *v)
{
        struct node na, nb;
        if (!view_need_node(v, v->params[0], &na) || !view_need_node(v, v->params[1], &nb)) return;
        struct node_conn c = { .node_a = na.name, .node_b = nb.name };
        sort_pair(&c.node_a, &c.node_b);
        struct conn_view out = { 0 };
        (void)view_row(v, &node_conn_type, &c, v->arena, &c);
        SET(&out, conn_view, node_a, c.node_a);
        SET(&out, conn_view, node_b, c.node_b);
        SET(&out, conn_view, props, c.props);
        enc_json_list(&conn_view_type, &out, 1, JSON_API, v->out);
}

static void fill_rsc_conn(
        struct view *v, const char *rsc, const char *a, const char *b, struct conn_view *ret)
{
        struct rsc_conn c = { .rsc_name = rsc, .node_a = a, .node_b = b };
        sort_pair(&c.node_a, &c.node_b);
        *ret = (struct conn_view){ 0 };
        (void)view_row(v, &rsc_conn_type, &c, v->arena, &c);
        SET(ret, conn_view, node_a, c.node_a);
        SET(ret, conn_view, node_b, c.node_b);
        SET(ret, conn_view, props, c.props);
}

/* Every pair of nodes that has the resource. */
void view_rsc_conn_list(struct view *v)
{
        struct rsc_dfn rd;
        struct rsc r;
        struct row_scan s;
        uint32_t n = 0, max;
        bool first = true;
        if (!view_need_rd(v, v->params[0], &rd)) return;
        struct rsc key = { .rsc_name = rd.name };
        max = (uint32_t)row_count(v->tx, &rsc_type, &key, 1);
        const char **nodes = arena_alloc(v->arena, (max + 1) * sizeof *nodes);
        row_scan_open(&s, v->tx, &rsc_type, &key, 1);
        while (n < max && row_scan_next(&s, v->arena, &r)) nodes[n++] = r.node_name;
        row_scan_close(&s);
        view_raw(v, "[");
        for (uint32_t i = 0; i < n; i++)
                for (uint32_t k = i + 1; k < n; k++) {
                        struct conn_view c;
                        fill_rsc_conn(v, rd.name, nodes[i], nodes[k], &c);
                        if (!first) view_raw(v, ",");
                        first = false;
                        view_obj(v, &conn_view_type, &c);
                }
        view_raw(v, "]");
}

void view_rsc_conn_list_old(struct view *v) { view_rsc_conn_list(v); }

void view_rsc_conn_get(struct view *v)
{
        struct rsc_dfn rd;
        struct node na, nb;
        struct conn_view c;
        if (!view_need_rd(v, v->params[0], &rd) || !view_need_node(v, v->params[1], &na) ||
                !view_need_node(v, v->params[2], &nb))
                return;
        struct rsc ka = { .rsc_name = rd.name, .node_name = na.name },
                   kb = { .rsc_name = rd.name, .node_name = nb.name };
        if (!row_exists(v->tx, &rsc_type, &ka) || !row_exists(v->tx, &rsc_type, &kb)) {
                view_refuse(v, RC_FAIL_NOT_FOUND_RSC, "Resource '%s' is not on both nodes.", rd.name);
                return;
        }
        fill_rsc_conn(v, rd.name, na.name, nb.name, &c);
        view_obj(v, &conn_view_type, &c);
}
/* ---- configuration ---- */

static const struct netif *active_netif(const struct node *n)
{
        const char *name = strmap_get(&n->props, "CurStltConnName");
        for (uint32_t i = 0; i < n->net_interfaces_n; i++)
                if (name == NULL || strcasecmp(n->net_interfaces[i].name, name) == 0)
                        return &n->net_interfaces[i];
        return NULL;
}

void view_node_config(struct view *v)
{
        struct node n;
        struct obs_node o = { 0 };
        struct satellite_config c = { 0 };
        struct satellite_log log = { 0 };
        struct satellite_net net = { 0 };
        if (!view_need_node(v, v->params[0], &n)) return;
        bool known =
                view_observed(v, &obs_node_type, &(struct obs_node){ .node_name = n.name }, v->arena, &o);
        if (!known || o.connection_status != conn_status_ONLINE) {
                view_refuse(v, RC_FAIL_NOT_CONNECTED, "The satellite of node '%s' is not connected.", n.name);
                return;
        }
        if (o.log_level != NULL) SET(&log, satellite_log, level, o.log_level);
        if (o.log_level != NULL) SET(&log, satellite_log, level_linstor, o.log_level);
        const struct netif *at = active_netif(&n);
        if (at != NULL) SET(&net, satellite_net, bind_address, at->address);
        if (at != NULL && HAS(at, netif, satellite_port))
                SET(&net, satellite_net, port, (int64_t)at->satellite_port);
        SET(&net, satellite_net, com_type, "ssl");
        SET(&c, satellite_config, log, &log);
        SET(&c, satellite_config, override_node_name, n.name);
        SET(&c, satellite_config, remote_spdk, false);
        SET(&c, satellite_config, ebs, false);
        SET(&c, satellite_config, special_satellite, false);
        SET(&c, satellite_config, net, &net);
        view_obj(v, &satellite_config_type, &c);
}
