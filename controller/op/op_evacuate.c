/* Taking nodes out of service and back: evacuate (its resources move while it works), evict (it is gone, and others take over), restore.
 *
 * A resource that is to move has the flag EVACUATE, which makes it count as no replica; another one is placed at once, where that is
 * possible. The leader's reconciler deletes it when enough others are up to date (controller/op/tend.h). One of an evicted node has the
 * flag EVICTED: its peers forget it, and the node is not connected until it is restored. */
#include <stdlib.h>

#include "controller/op/op_disk.h"
#include "controller/op/op_place.h"
#include "controller/op/op_quorum.h"
#include "controller/op/saga.h"

static struct api_rc *node_rc(struct op *op, enum apirc_code code, const struct node *n, const char *done)
{
        struct api_rc *rc = op_rc(op, code, "Node '%s' %s.", n->name, done);
        op_rc_ref(op, rc, "Node", n->name);
        return rc;
}

static void stays(struct op *op, const struct rsc *r, const char *why, const char *remedy)
{
        struct api_rc *rc = op_rc(op, RC_WARN_NOT_EVACUATING, "Resource '%s' stays on node '%s': %s.",
                r->rsc_name, r->node_name, why);
        op_rc_explain(op, rc, NULL, NULL, remedy);
        op_rc_ref(op, rc, "RscDfn", r->rsc_name);
        op_rc_ref(op, rc, "Node", r->node_name);
}

static uint32_t others_with_disk(struct op *op, const struct rsc *r)
{
        struct rsc *rscs;
        uint32_t n = op_list_rscs(op, r->rsc_name, &rscs), count = 0;
        for (uint32_t i = 0; i < n; i++)
                count += !op_same(rscs[i].node_name, r->node_name) && op_is_replica(&rscs[i]);
        return count;
}

/* All nodes but those. */
static void allow_all_but(struct op *op, const char *const *not_these, uint32_t n, struct select_filter *f)
{
        struct node row = { 0 };
        struct row_scan s;
        uint64_t max = row_count(op->tx, &node_type, &row, 0);
        const char **names = arena_alloc(op->arena, (max + 1) * sizeof *names);
        uint32_t count = 0;
        row_scan_open(&s, op->tx, &node_type, &row, 0);
        while (count < max && row_scan_next(&s, op->arena, &row))
                if (!op_in_list(row.name, not_these, n) &&
                        (f->node_name_list_n == 0 ||
                                op_in_list(row.name, f->node_name_list, f->node_name_list_n)))
                        names[count++] = row.name;
        row_scan_close(&s);
        SET_N(f, select_filter, node_name_list, names, count);
}

/* So many replicas there are to be, as far as they can be placed. Returns how many there are not. */
static uint32_t fill_up(struct op *op, struct rsc_dfn *rd, const struct rsc *r, int64_t wanted,
        const struct node_evacuate_body *where)
{
        struct rsc_grp g = { 0 };
        struct select_filter want = { 0 };
        uint32_t have = others_with_disk(op, r);
        (void)op_find_rg(op, rd->rsc_grp_name, &g);
        struct select_filter *f = op_filter_merge(op, g.select_filter, &want);
        UNSET(f, select_filter, diskless_on_remaining);
        f->diskless_on_remaining = false;
        if (where != NULL && where->target_n != 0)
                SET_N(f, select_filter, node_name_list, where->target, where->target_n);
        if (where != NULL && where->do_not_target_n != 0)
                allow_all_but(op, where->do_not_target, where->do_not_target_n, f);
        if (have >= wanted) return 0;
        SET(f, select_filter, place_count, wanted);
        UNSET(f, select_filter, additional_place_count);
        f->additional_place_count = 0;
        if (f->node_name_list_n == 0 && where != NULL && where->do_not_target_n != 0)
                return (uint32_t)(wanted - have);
        return op_place_rd(op, rd, f, true) < 0 ? (uint32_t)(wanted - have) : 0;
}

int64_t op_replicas_wanted(struct op *op, const struct rsc_dfn *rd)
{
        struct rsc_grp g;
        if (!op_find_rg(op, rd->rsc_grp_name, &g) || g.select_filter == NULL) return PLACE_COUNT_DEFAULT;
        const struct select_filter *f = g.select_filter;
        return HAS(f, select_filter, place_count) ? f->place_count : PLACE_COUNT_DEFAULT;
}

static void evacuate_rsc(struct op *op, struct rsc *r, const struct node_evacuate_body *b)
{
        struct rsc_dfn rd;
        if (!op_find_rd(op, r->rsc_name, &rd)) return;
        if (!RD_HAS_LAYER(&rd, "DRBD")) {
                stays(op, r, "without the layer DRBD nobody could copy its data",
                        "Copy the data, then delete the resource.");
                return;
        }
        bool diskless = (r->flags & rsc_flag_DISKLESS) != 0 && (r->flags & RSC_REMOVING) == 0;
        if (diskless && !op_in_use(op, r)) return op_drop_rsc(op, &rd, r);
        SET(r, rsc, flags, r->flags | rsc_flag_EVACUATE);
        SET(r, rsc, revision, op->index);
        row_put(op->tx, &rsc_type, r);
        op_settle_later(op, rd.name);
        if (diskless) {
                stays(op, r, "it is in use", "It goes when nobody uses it any more.");
                return;
        }
        if (fill_up(op, &rd, r, op_replicas_wanted(op, &rd), b) != 0)
                stays(op, r, "there is no node for another replica",
                        "Add a node or space, and run resource-group adjust: it goes when its replacement is "
                        "up to date.");
}

void op_node_evacuate(struct op *op)
{
        const struct node_evacuate_body *b = OP_BODY(op, node_evacuate_body);
        struct node n, other;
        struct rsc *rscs;
        if (!op_need_node(op, op->params[0], &n)) return;
        for (uint32_t i = 0; i < b->target_n; i++)
                if (!op_need_node(op, b->target[i], &other)) return;
        if ((n.flags & node_flag_DELETE) != 0) {
                node_rc(op, RC_FAIL_INVLD_REQUEST, &n, "is being deleted, or evicted");
                return;
        }
        SET(&n, node, flags, n.flags | node_flag_EVACUATE);
        row_put(op->tx, &node_type, &n);
        uint32_t rscs_n = op_list_rscs_of_node(op, n.name, &rscs);
        for (uint32_t i = 0; i < rscs_n && !op_failed(op); i++) evacuate_rsc(op, &rscs[i], b);
        node_rc(op, RC_MODIFIED, &n, "is being evacuated: nothing will be placed on it");
}

void op_evacuated(struct op *op, struct rsc_dfn *rd, const struct rsc *r)
{
        if ((r->flags & rsc_flag_EVACUATE) != 0 && !op_in_use(op, r)) op_drop_rsc(op, rd, r);
}

/* ---- evict ---- */

static void evict_rsc(struct op *op, struct rsc *r)
{
        struct rsc_dfn rd;
        uint64_t before = (r->flags & rsc_flag_INACTIVE) != 0 ? rsc_flag_INACTIVE_BEFORE_EVICTION : 0;
        if (!op_find_rd(op, r->rsc_name, &rd)) return;
        bool drbd = RD_HAS_LAYER(&rd, "DRBD"), diskless = (r->flags & rsc_flag_DISKLESS) != 0;
        SET(r, rsc, flags, r->flags | rsc_flag_EVICTED | before);
        SET(r, rsc, revision, op->index);
        row_put(op->tx, &rsc_type, r);
        if (!drbd) {
                stays(op, r, "without the layer DRBD nobody else has its data", "Restore the node.");
                return;
        }
        op_touch_rd(op, rd.name);
        if (diskless) return;
        const struct strmap none = { 0 };
        struct rsc_grp g;
        const struct strmap *rg_props = op_find_rg(op, rd.rsc_grp_name, &g) ? &g.props : &none;
        const char *min = op_prop_chain(
                "DrbdOptions/AutoEvictMinReplicaCount", &rd.props, rg_props, op_ctrl_props(op), NULL);
        int64_t wanted = min != NULL ? strtoll(min, NULL, 10) : op_replicas_wanted(op, &rd);
        if (fill_up(op, &rd, r, wanted, NULL) != 0)
                stays(op, r, "there is no node for another replica",
                        "Add a node or space, and run resource-group adjust.");
}

static void evict(struct op *op, struct node *n)
{
        struct rsc *rscs;
        SET(n, node, flags, n->flags | node_flag_EVICTED);
        row_put(op->tx, &node_type, n);
        uint32_t rscs_n = op_list_rscs_of_node(op, n->name, &rscs);
        for (uint32_t i = 0; i < rscs_n && !op_failed(op); i++) evict_rsc(op, &rscs[i]);
        node_rc(op, RC_MODIFIED, n, "evicted: it is not connected until it is restored");
}

void op_node_evict(struct op *op)
{
        struct node n;
        if (!op_need_node(op, op->params[0], &n)) return;
        if (op_node_surely_online(op, n.name)) {
                node_rc(op, RC_FAIL_EXISTS_NODE_CONN, &n, "is connected");
                return;
        }
        if ((n.flags & node_flag_DELETE) != 0) {
                node_rc(op, RC_FAIL_INVLD_REQUEST, &n, "is being deleted, or evicted already");
                return;
        }
        evict(op, &n);
}

/* The leader's reconciler found that it is due. */
void op_int_node_evict(struct op *op)
{
        const struct node_evict_due *b = OP_BODY(op, node_evict_due);
        struct node n;
        if (!op_find_node(op, b->node_name, &n) || (n.flags & node_flag_DELETE) != 0 ||
                op_node_surely_online(op, n.name))
                op_rc(op, RC_MODIFIED, "Node '%s' is not to be evicted any more.", b->node_name);
        else evict(op, &n);
}

/* ---- restore ---- */

static void restore_rsc(struct op *op, struct rsc *r, bool drop)
{
        struct rsc_dfn rd;
        uint64_t flags = r->flags & ~(uint64_t)rsc_flag_EVACUATE;
        bool evicted = (flags & rsc_flag_EVICTED) == rsc_flag_EVICTED;
        if (!op_find_rd(op, r->rsc_name, &rd)) return;
        if (drop && (evicted || flags != r->flags)) return op_drop_rsc(op, &rd, r);
        if (evicted) flags &= ~(uint64_t)rsc_flag_EVICTED;
        if ((flags & rsc_flag_INACTIVE_BEFORE_EVICTION) != 0) flags |= rsc_flag_INACTIVE;
        flags &= ~(uint64_t)rsc_flag_INACTIVE_BEFORE_EVICTION;
        if (flags == r->flags) return;
        SET(r, rsc, flags, flags);
        SET(r, rsc, revision, op->index);
        row_put(op->tx, &rsc_type, r);
        if (RD_HAS_LAYER(&rd, "DRBD")) op_touch_rd(op, rd.name);
}

/* One that is being taken, sent, or made a resource of refuses the whole. */
static void delete_snaps(struct op *op, const struct node *n)
{
        struct idx_snap_node key = { .node_name = n->name }, *at;
        uint64_t max = row_count(op->tx, &idx_snap_node_type, &key, 1);
        struct row_scan s;
        uint32_t count = 0;
        at = arena_array(op->arena, struct idx_snap_node, max + 1);
        row_scan_open(&s, op->tx, &idx_snap_node_type, &key, 1);
        while (at != NULL && count < max && row_scan_next(&s, op->arena, &at[count])) count++;
        row_scan_close(&s);
        for (uint32_t i = 0; i < count && !op_failed(op); i++) {
                struct snap_dfn d;
                if (op_find_snap_dfn(op, at[i].rsc_name, at[i].snap_name, &d) && op_snap_may_go(op, &d))
                        op_bury_snap(op, &d, n->name);
        }
}

void op_node_restore(struct op *op)
{
        const struct node_restore_body *b = OP_BODY(op, node_restore_body);
        struct node n;
        struct rsc *rscs;
        if (!op_need_node(op, op->params[0], &n)) return;
        bool evicted = (n.flags & node_flag_EVICTED) == node_flag_EVICTED;
        if (!evicted && (n.flags & node_flag_EVACUATE) == 0) {
                node_rc(op, RC_FAIL_INVLD_REQUEST, &n, "is neither evicted nor evacuated");
                return;
        }
        if (evicted) n.flags &= ~(uint64_t)node_flag_EVICTED;
        SET(&n, node, flags, n.flags & ~(uint64_t)node_flag_EVACUATE);
        SET(&n, node, revision, op->index);
        row_put(op->tx, &node_type, &n);
        uint32_t rscs_n = op_list_rscs_of_node(op, n.name, &rscs);
        for (uint32_t i = 0; i < rscs_n && !op_failed(op); i++)
                restore_rsc(op, &rscs[i], b->delete_resources);
        if (b->delete_snapshots && !op_failed(op)) delete_snaps(op, &n);
        if (op_failed(op)) return;
        node_rc(op, RC_MODIFIED, &n, "restored");
}
