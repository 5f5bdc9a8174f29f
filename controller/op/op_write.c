/* Writing resources with everything that hangs on them, see op_internal.h. */
#include <string.h>

#include "controller/op/op_extra.h"
#include "controller/op/op_quorum.h"

void op_pool_usage(struct op *op, const char *node, const struct vlm *vlms, uint32_t n, int sign)
{
        for (uint32_t i = 0; i < n; i++) {
                const struct vlm *v = &vlms[i];
                if (!op_given(v->storage_pool_name) || v->provider_kind == provider_kind_DISKLESS) continue;
                struct pool_usage key = { .node_name = node, .storage_pool_name = v->storage_pool_name }, u;
                if (row_get(op->tx, &pool_usage_type, &key, op->arena, &u) != 0) {
                        u = (struct pool_usage){ 0 };
                        SET(&u, pool_usage, node_name, node);
                        SET(&u, pool_usage, storage_pool_name, v->storage_pool_name);
                }
                uint64_t kib = v->size_kib < u.reserved_kib ? v->size_kib : u.reserved_kib;
                SET(&u, pool_usage, reserved_kib,
                        sign > 0 ? u.reserved_kib + v->size_kib : u.reserved_kib - kib);
                SET(&u, pool_usage, volumes, sign > 0 ? u.volumes + 1 : u.volumes - (u.volumes != 0));
                if (u.volumes == 0) (void)row_del(op->tx, &pool_usage_type, &key);
                else row_put(op->tx, &pool_usage_type, &u);
        }
}

void op_put_rsc(struct op *op, const struct rsc *old, struct rsc *r)
{
        if (!op_extra_fit(op, old, r)) return; /* nothing of a refused operation is written */
        if (old != NULL) {
                op_pool_usage(op, old->node_name, old->volumes, old->volumes_n, -1);
                op_pool_usage(op, old->node_name, old->extras, old->extras_n, -1);
        }
        op_pool_usage(op, r->node_name, r->volumes, r->volumes_n, 1);
        op_pool_usage(op, r->node_name, r->extras, r->extras_n, 1);
        SET(r, rsc, revision, op->index);
        row_put(op->tx, &rsc_type, r);
}

void op_touch_rd(struct op *op, const char *rsc)
{
        struct rsc *rscs;
        uint32_t n = op_list_rscs(op, rsc, &rscs);
        op_settle_later(op, rsc);
        for (uint32_t i = 0; i < n; i++) {
                SET(&rscs[i], rsc, revision, op->index);
                row_put(op->tx, &rsc_type, &rscs[i]);
                op_wait_rsc(op, rscs[i].node_name, rscs[i].rsc_name, false);
        }
}

/* The volumes keep counting in the sums of their pools until the tombstone goes. */
void op_bury_rsc(struct op *op, const struct rsc_dfn *rd, const struct rsc *r)
{
        struct tombstone t = { 0 };
        SET(&t, tombstone, node_name, r->node_name);
        SET(&t, tombstone, rsc_name, r->rsc_name);
        SET(&t, tombstone, uuid, op_text(r->uuid));
        SET_N(&t, tombstone, volumes, r->volumes, r->volumes_n);
        if (r->extras_n != 0) SET_N(&t, tombstone, extras, r->extras, r->extras_n);
        SET_N(&t, tombstone, layer_stack, rd->layer_stack, rd->layer_stack_n);
        if (RD_HAS_LAYER(rd, "DRBD")) {
                struct vlm_dfn *vds;
                uint32_t n = op_list_vds(op, rd->name, &vds), m = 0;
                uint64_t *minors = arena_alloc(op->arena, (n + 1) * sizeof *minors);
                for (uint32_t i = 0; i < n; i++)
                        if (HAS(&vds[i], vlm_dfn, drbd_minor)) minors[m++] = (uint64_t)vds[i].drbd_minor;
                SET_N(&t, tombstone, drbd_minors, minors, m);
                SET_N(&t, tombstone, drbd_tcp_ports, r->drbd_tcp_ports, r->drbd_tcp_ports_n);
                if (HAS(r, rsc, drbd_node_id)) SET(&t, tombstone, drbd_node_id, r->drbd_node_id);
        }
        SET(&t, tombstone, revision, op->index);
        (void)row_del(op->tx, &rsc_type, r);
        row_put(op->tx, &tombstone_type, &t);
        op_wait_rsc(op, r->node_name, r->rsc_name, true);
}

static void remove_conns_of_rd(struct op *op, const char *rsc)
{
        struct rsc_conn key = { .rsc_name = rsc }, c;
        struct row_scan s;
        row_scan_open(&s, op->tx, &rsc_conn_type, &key, 1);
        while (row_scan_next(&s, op->arena, &c)) (void)row_del(op->tx, &rsc_conn_type, &c);
        row_scan_close(&s);
}

void op_remove_rd(struct op *op, const struct rsc_dfn *rd)
{
        struct rsc *rscs;
        struct vlm_dfn *vds;
        uint32_t n = op_list_rscs(op, rd->name, &rscs);
        for (uint32_t i = 0; i < n; i++) op_bury_rsc(op, rd, &rscs[i]);
        n = op_list_vds(op, rd->name, &vds);
        for (uint32_t i = 0; i < n; i++) (void)row_del(op->tx, &vlm_dfn_type, &vds[i]);
        remove_conns_of_rd(op, rd->name);
        (void)row_del(op->tx, &auto_snap_type, &(struct auto_snap){ .rsc_name = rd->name });
        (void)row_del(op->tx, &rsc_dfn_type, rd);
}

static void remove_conns_of_node(struct op *op, const char *node)
{
        struct node_conn nc = { 0 };
        struct rsc_conn rc = { 0 };
        struct row_scan s;
        row_scan_open(&s, op->tx, &node_conn_type, &nc, 0);
        while (row_scan_next(&s, op->arena, &nc))
                if (op_same(nc.node_a, node) || op_same(nc.node_b, node))
                        (void)row_del(op->tx, &node_conn_type, &nc);
        row_scan_close(&s);
        row_scan_open(&s, op->tx, &rsc_conn_type, &rc, 0);
        while (row_scan_next(&s, op->arena, &rc))
                if (op_same(rc.node_a, node) || op_same(rc.node_b, node))
                        (void)row_del(op->tx, &rsc_conn_type, &rc);
        row_scan_close(&s);
}

/* What nobody has any more is no snapshot. */
static void remove_snaps_of_node(struct op *op, const char *node)
{
        struct idx_snap_node key = { .node_name = node }, at;
        struct row_scan s;
        row_scan_open(&s, op->tx, &idx_snap_node_type, &key, 1);
        while (row_scan_next(&s, op->arena, &at)) {
                struct snap x = { .rsc_name = at.rsc_name, .snap_name = at.snap_name, .node_name = node };
                struct snap_dfn d = { .rsc_name = at.rsc_name, .snap_name = at.snap_name };
                (void)row_del(op->tx, &snap_type, &x);
                if (row_count(op->tx, &snap_type, &x, 2) != 0 ||
                        row_get(op->tx, &snap_dfn_type, &d, op->arena, &d) != 0)
                        continue;
                if (!op_given(d.saga)) (void)row_del(op->tx, &snap_dfn_type, &d);
        }
        row_scan_close(&s);
}

void op_remove_node(struct op *op, const struct node *n)
{
        struct stor_pool pkey = { .node_name = n->name }, p;
        struct pool_usage ukey = { .node_name = n->name }, u;
        struct tombstone tkey = { .node_name = n->name }, t;
        struct disk_pool dkey = { .node_name = n->name }, d;
        struct row_scan s;
        row_scan_open(&s, op->tx, &tombstone_type, &tkey, 1);
        while (row_scan_next(&s, op->arena, &t)) (void)row_del(op->tx, &tombstone_type, &t);
        row_scan_close(&s);
        remove_snaps_of_node(op, n->name);
        row_scan_open(&s, op->tx, &stor_pool_type, &pkey, 1);
        while (row_scan_next(&s, op->arena, &p)) (void)row_del(op->tx, &stor_pool_type, &p);
        row_scan_close(&s);
        row_scan_open(&s, op->tx, &pool_usage_type, &ukey, 1);
        while (row_scan_next(&s, op->arena, &u)) (void)row_del(op->tx, &pool_usage_type, &u);
        row_scan_close(&s);
        row_scan_open(&s, op->tx, &disk_pool_type, &dkey, 1);
        while (row_scan_next(&s, op->arena, &d)) (void)row_del(op->tx, &disk_pool_type, &d);
        row_scan_close(&s);
        remove_conns_of_node(op, n->name);
        (void)row_del(op->tx, &node_type, n);
}

void op_ensure_spd(struct op *op, const char *pool)
{
        struct stor_pool_dfn d = { .storage_pool_name = pool };
        if (row_exists(op->tx, &stor_pool_dfn_type, &d)) return;
        d = (struct stor_pool_dfn){ 0 };
        SET(&d, stor_pool_dfn, storage_pool_name, pool);
        SET(&d, stor_pool_dfn, uuid, op_uuid(op));
        MARK(&d, stor_pool_dfn, props);
        row_put(op->tx, &stor_pool_dfn_type, &d);
}
