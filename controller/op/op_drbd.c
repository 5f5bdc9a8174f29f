/* What operations note for DRBD: which replica of a volume was the first one (controller/op/sat_drbd.h), and whom a change concerns. */
#include <stdlib.h>

#include "controller/op/op_internal.h"
#include "controller/op/sat_drbd.h"
#include "wire/def/drbd_rules.h"

void op_drbd_replica(struct op *op, struct vlm_dfn *vd, const char *node, unsigned others, struct vlm *v)
{
        const char *last = strmap_get(&vd->props, DRBD_PROP_REPLICAS);
        unsigned long long n = others == 0 ? 1 : 1 + (last != NULL ? strtoull(last, NULL, 10) : others);
        if (n == 1) strmap_set(&vd->props, DRBD_PROP_WINNER, node, op->arena);
        strmap_set(&vd->props, DRBD_PROP_REPLICAS, arena_printf(op->arena, "%llu", n), op->arena);
        MARK(vd, vlm_dfn, props);
        row_put(op->tx, &vlm_dfn_type, vd);
        strmap_set(&v->props, DRBD_PROP_REPLICA, arena_printf(op->arena, "%llu", n), op->arena);
        MARK(v, vlm, props);
}

unsigned op_drbd_diskful(struct op *op, const char *rsc_name)
{
        struct rsc *rscs;
        unsigned count = 0;
        uint32_t n = op_list_rscs(op, rsc_name, &rscs);
        for (uint32_t i = 0; i < n; i++) count += (rscs[i].flags & rsc_flag_DISKLESS) == 0;
        return count;
}

bool op_drbd_old(struct op *op, const char *node)
{
        struct obs_node o;
        return op_observed_node(op, node, &o) && o.drbd_kernel != 0 && o.drbd_kernel < 0x090000;
}

bool op_drbd_joins_sizes(struct op *op, const char *node)
{
        struct obs_node o;
        return op_observed_node(op, node, &o) && drbd_joins_sizes((uint32_t)o.drbd_kernel);
}

bool op_drbd_admits(struct op *op, const struct rsc_dfn *rd, const char *node, uint64_t flags)
{
        struct rsc *rscs;
        struct drbd_members m;
        struct fail f = { 0 };
        uint32_t n = op_list_rscs(op, rd->name, &rscs);
        sat_drbd_members(rscs, n, &m);
        if ((flags & rsc_flag_DISKLESS) == 0) m.diskful++;
        else if ((flags & rsc_flag_TIE_BREAKER) == rsc_flag_TIE_BREAKER) m.tie_breakers++;
        else m.diskless++;
        m.old = op_drbd_old(op, node);
        for (uint32_t i = 0; i < n && !m.old; i++) m.old = op_drbd_old(op, rscs[i].node_name);
        if (drbd_members_check(&m, &f) == 0) return true;
        struct api_rc *rc = op_rc(op, RC_FAIL_STLT_DOES_NOT_SUPPORT_LAYER,
                "Node '%s' cannot become a member of resource '%s'.", node, rd->name);
        op_rc_explain(op, rc, arena_strdup(op->arena, f.text), NULL,
                "Install the module of DRBD 9 on the nodes of the resource, or use two nodes with disks.");
        op_rc_ref(op, rc, "Node", node);
        return false;
}

void op_drbd_touch_node(struct op *op, const char *node, const char *with)
{
        struct idx_rsc_node key = { .node_name = node }, row;
        uint64_t max = row_count(op->tx, &idx_rsc_node_type, &key, 1), n = 0;
        const char **names = arena_array(op->arena, const char *, max + 1);
        struct row_scan s;
        struct rsc_dfn rd;
        struct rsc r;
        row_scan_open(&s, op->tx, &idx_rsc_node_type, &key, 1);
        while (names != NULL && n < max && row_scan_next(&s, op->arena, &row)) names[n++] = row.rsc_name;
        row_scan_close(&s);
        for (uint64_t i = 0; i < n; i++) {
                if (!op_find_rd(op, names[i], &rd)) continue;
                if (!RD_HAS_LAYER(&rd, "DRBD") && !(with == NULL && RD_HAS_LAYER(&rd, "NVME"))) continue;
                if (with == NULL || op_find_rsc(op, rd.name, with, &r)) op_touch_rd(op, rd.name);
        }
}
