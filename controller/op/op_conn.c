/* Connections between nodes, and of resources between nodes: properties only. Unordered: stored with the
 * lesser name first, gone when no property is left. */
#include "controller/op/op_internal.h"
#include "controller/op/op_netif.h"

/* The names of both nodes as they are spelled, in key order. */
static bool need_pair(struct op *op, const char *a, const char *b, const char **ret_a, const char **ret_b)
{
        struct node na, nb;
        if (!op_need_node(op, a, &na) || !op_need_node(op, b, &nb)) return false;
        if (op_same(na.name, nb.name)) {
                op_rc(op, RC_FAIL_INVLD_NODE_NAME, "A connection needs two nodes, not '%s' twice.", na.name);
                return false;
        }
        bool swap = strcasecmp(na.name, nb.name) > 0;
        *ret_a = swap ? nb.name : na.name;
        *ret_b = swap ? na.name : nb.name;
        return true;
}

void op_node_conn_modify(struct op *op)
{
        struct node_conn c = { 0 };
        const char *a, *b;
        if (!need_pair(op, op->params[0], op->params[1], &a, &b)) return;
        SET(&c, node_conn, node_a, a);
        SET(&c, node_conn, node_b, b);
        if (row_get(op->tx, &node_conn_type, &c, op->arena, &c) != 0) SET(&c, node_conn, uuid, op_uuid(op));
        bool matters;
        if (!op_path_props_ok(op, a, b, &OP_BODY(op, prop_mod)->override_props)) return;
        if (!op_props_modify(op, PS_NC, &c.props, OP_BODY(op, prop_mod), &matters)) return;
        MARK(&c, node_conn, props);
        if (c.props.n == 0) (void)row_del(op->tx, &node_conn_type, &c);
        else row_put(op->tx, &node_conn_type, &c);
        if (matters) op_drbd_touch_node(op, a, b);
        struct api_rc *rc = op_rc(op, RC_MODIFIED, "Connection between nodes '%s' and '%s' modified.", a, b);
        op_rc_ref(op, rc, "FirstNode", a);
        op_rc_ref(op, rc, "SecondNode", b);
}

void op_rsc_conn_modify(struct op *op)
{
        struct rsc_dfn rd;
        struct rsc r;
        struct rsc_conn c = { 0 };
        const char *a, *b;
        if (!op_need_rd(op, op->params[0], &rd) || !need_pair(op, op->params[1], op->params[2], &a, &b))
                return;
        if (!op_need_rsc(op, rd.name, a, &r) || !op_need_rsc(op, rd.name, b, &r)) return;
        SET(&c, rsc_conn, rsc_name, rd.name);
        SET(&c, rsc_conn, node_a, a);
        SET(&c, rsc_conn, node_b, b);
        if (row_get(op->tx, &rsc_conn_type, &c, op->arena, &c) != 0) SET(&c, rsc_conn, uuid, op_uuid(op));
        bool matters;
        if (!op_path_props_ok(op, a, b, &OP_BODY(op, prop_mod)->override_props)) return;
        if (!op_props_modify(op, PS_RC, &c.props, OP_BODY(op, prop_mod), &matters)) return;
        MARK(&c, rsc_conn, props);
        if (c.props.n == 0) (void)row_del(op->tx, &rsc_conn_type, &c);
        else row_put(op->tx, &rsc_conn_type, &c);
        if (matters && RD_HAS_LAYER(&rd, "DRBD")) op_touch_rd(op, rd.name);
        struct api_rc *rc = op_rc(op, RC_MODIFIED,
                "Connection of resource '%s' between nodes '%s' and '%s' modified.", rd.name, a, b);
        op_rc_ref(op, rc, "RscDfn", rd.name);
        op_rc_ref(op, rc, "FirstNode", a);
        op_rc_ref(op, rc, "SecondNode", b);
}
