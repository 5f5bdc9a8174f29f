/* Orphans: devices that a satellite made and that the cluster neither wants nor has deleted (a resource of a state that was not restored, of
 * a node that was taken out and came back). They are kept until somebody says that they go: that is a tombstone, like for anything else that is
 * deleted, so that the satellite removes what carries that uuid, and nothing else. */
#include <string.h>

#include "controller/op/op_internal.h"

static const struct obs_orphan *find(const struct obs_rsc *o, const char *uuid)
{
        for (uint32_t i = 0; i < o->orphans_n; i++)
                if (op_same(o->orphans[i].uuid, uuid)) return &o->orphans[i];
        return NULL;
}

static bool in_use(const struct obs_rsc *o, const char *uuid)
{
        for (uint32_t i = 0; i < o->orphans_n; i++)
                if (op_same(o->orphans[i].uuid, uuid) && o->orphans[i].in_use) return true;
        return false;
}

static struct api_rc *orphan_rc(struct op *op, enum apirc_code code, const struct node *n, const char *rsc,
        const char *uuid, const char *text)
{
        struct api_rc *rc = op_rc(op, code,
                "What was made for resource '%.48s', uuid %.36s, on node '%s' %s.", rsc, uuid, n->name, text);
        op_rc_ref(op, rc, "Node", n->name);
        return rc;
}

/* Is a resource or a snapshot of the cluster made of it after all? */
static bool is_known(struct op *op, const char *node, const char *rsc, const char *uuid)
{
        struct idx_snap_node at, key = { .node_name = node, .rsc_name = rsc };
        struct row_scan s;
        struct rsc r;
        bool known = op_find_rsc(op, rsc, node, &r) && r.uuid != NULL && op_same(r.uuid, uuid);
        row_scan_open(&s, op->tx, &idx_snap_node_type, &key, 2);
        while (!known && row_scan_next(&s, op->arena, &at)) {
                struct snap x,
                        snap_key = { .rsc_name = at.rsc_name, .snap_name = at.snap_name, .node_name = node };
                known = row_get(op->tx, &snap_type, &snap_key, op->arena, &x) == 0 && x.uuid != NULL &&
                        op_same(x.uuid, uuid);
        }
        row_scan_close(&s);
        return known;
}

void op_orphan_delete(struct op *op)
{
        const char *rsc = op->params[1], *uuid = op->params[2];
        struct node n;
        struct obs_rsc o;
        if (!op_need_node(op, op->params[0], &n)) return;
        if (!op_node_surely_online(op, n.name)) {
                op_rc(op, RC_FAIL_NOT_CONNECTED, "No active connection to satellite '%s'.", n.name);
                return;
        }
        const struct obs_orphan *x = op_observed_rsc(op, rsc, n.name, &o) ? find(&o, uuid) : NULL;
        if (x == NULL || is_known(op, n.name, rsc, x->uuid)) {
                struct api_rc *rc = orphan_rc(op, RC_FAIL_NOT_FOUND_RSC, &n, rsc, uuid, "is no orphan");
                op_rc_explain(op, rc, "The node has nothing with that mark, or the cluster knows it.", NULL,
                        "'outrigger orphan list' shows what there is.");
                return;
        }
        if (in_use(&o, x->uuid)) {
                struct api_rc *rc = orphan_rc(op, RC_FAIL_IN_USE, &n, rsc, x->uuid, "is in use");
                op_rc_explain(op, rc, "Somebody has its device open, or has mounted it.", NULL,
                        "End its use first.");
                return;
        }
        struct tombstone t = { 0 };
        SET(&t, tombstone, node_name, n.name);
        SET(&t, tombstone, rsc_name, o.rsc_name);
        SET(&t, tombstone, uuid, x->uuid);
        SET(&t, tombstone, revision, op->index);
        row_put(op->tx, &tombstone_type, &t);
        op_wait_rsc(op, n.name, o.rsc_name, true);
        struct rsc same;
        if (op_find_rsc(
                    op, o.rsc_name, n.name, &same)) { /* what the node says of that name is about this one */
                struct wait_item *w = &op->reply->waits[op->reply->waits_n - 1];
                SET(w, wait_item, tombstone, t.uuid);
        }
        orphan_rc(op, RC_DELETED, &n, rsc, x->uuid, "is removed");
}
