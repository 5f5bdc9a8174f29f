#include "controller/sat/sat_nvme.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool has_layer(const struct rsc_dfn *rd)
{
        for (uint32_t i = 0; i < rd->layer_stack_n; i++)
                if (strcasecmp(rd->layer_stack[i], "NVME") == 0) return true;
        return false;
}

/* The resource with the storage; false: there is none. */
static bool find_target(struct tx *tx, const struct rsc_dfn *rd, struct arena *a, struct rsc *ret)
{
        struct row_scan s;
        struct rsc key = { .rsc_name = rd->name };
        bool found = false;
        row_scan_open(&s, tx, &rsc_type, &key, 1);
        while (!found && row_scan_next(&s, a, ret))
                found = (ret->flags & (rsc_flag_DISKLESS | rsc_flag_DELETE)) == 0;
        row_scan_close(&s);
        return found;
}

static const struct netif *netif_find(const struct node *n, const char *name)
{
        for (uint32_t i = 0; name != NULL && i < n->net_interfaces_n; i++)
                if (strcasecmp(n->net_interfaces[i].name, name) == 0) return &n->net_interfaces[i];
        return NULL;
}

static const char *address_of(struct tx *tx, const struct rsc_dfn *rd, const struct rsc *target,
        const struct node *n, struct arena *a)
{
        struct ctrl_props ctrl = { 0 };
        struct rsc_grp g = { .name = rd->rsc_grp_name };
        struct stor_pool p = { .node_name = target->node_name,
                .storage_pool_name = target->volumes_n != 0 ? target->volumes[0].storage_pool_name : "" };
        if (row_get_single(tx, &ctrl_props_type, a, &ctrl) != 0) ctrl = (struct ctrl_props){ 0 };
        if (rd->rsc_grp_name == NULL || row_get(tx, &rsc_grp_type, &g, a, &g) != 0) g = (struct rsc_grp){ 0 };
        if (p.storage_pool_name == NULL || row_get(tx, &stor_pool_type, &p, a, &p) != 0)
                p = (struct stor_pool){ 0 };
        const struct strmap *const levels[] = { &target->props, &p.props, &rd->props, &g.props, &n->props,
                &ctrl.props };
        const struct netif *found = NULL;
        for (size_t i = 0; i < ARRAY_LEN(levels) && found == NULL; i++)
                found = netif_find(n, strmap_get(levels[i], "NVMe/PrefNic"));
        if (found == NULL) found = netif_find(n, "default");
        if (found == NULL && n->net_interfaces_n > 0) found = &n->net_interfaces[0];
        return found != NULL && found->address != NULL ? found->address : "";
}

int sat_nvme_put(
        struct tx *tx, const struct rsc_dfn *rd, const struct rsc *r, struct arena *a, struct sat_rsc *sr)
{
        struct rsc target;
        struct node n;
        if (!has_layer(rd)) return 0;
        struct sat_nvme *x = arena_new(a, struct sat_nvme);
        const char *port = strmap_get(&sr->props, "NVMe/Port");
        const char *transport = strmap_get(&sr->props, "NVMe/TRType");
        SET(x, sat_nvme, host_nqn, r->node_name);
        SET(x, sat_nvme, transport, transport != NULL && strcasecmp(transport, "tcp") == 0 ? "tcp" : "rdma");
        SET(x, sat_nvme, port, port != NULL ? strtoull(port, NULL, 10) : NVME_PORT_DEFAULT);
        SET(x, sat_nvme, address, "");
        if (find_target(tx, rd, a, &target)) {
                struct node key = { .name = target.node_name };
                int err = row_get(tx, &node_type, &key, a, &n);
                if (err != 0) return err;
                SET(x, sat_nvme, target, target.node_name);
                SET(x, sat_nvme, address, address_of(tx, rd, &target, &n, a));
        }
        SET(sr, sat_rsc, nvme, x);
        return tx->err;
}
