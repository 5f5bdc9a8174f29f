/* Ending a split brain: two nodes have written on their own, and DRBD does not join them any more (StandAlone). Somebody has to say whose
 * data is kept. The others are marked: drbd_discard_for, they give their changes up; all are marked drbd_resolve, they try connections anew
 * that DRBD has given up. A satellite does so once for each request, and the leader's reconciler takes the marks back when it has
 * (controller/op/tend.h), or after some minutes: a node that comes back late may have other data by then.
 *
 * Only the changes of a Secondary can be given up, and only those of a node that is there: both are looked at first. */
#include <string.h>

#include "controller/op/op_disk.h"
#include "controller/op/saga.h"

struct side {
        struct rsc *r;
        struct obs_rsc o;
        bool online, known; /* known: o is of this very resource, and DRBD runs there */
};

static struct api_rc *side_rc(struct op *op, enum apirc_code code, const struct rsc *r, const char *what)
{
        struct api_rc *rc =
                op_rc(op, code, "Resource '%s' on node '%s' %s.", r->rsc_name, r->node_name, what);
        op_rc_ref(op, rc, "RscDfn", r->rsc_name);
        op_rc_ref(op, rc, "Node", r->node_name);
        return rc;
}

static uint32_t look(struct op *op, const char *rsc_name, struct side **ret)
{
        struct rsc *rscs;
        uint32_t n = op_list_rscs(op, rsc_name, &rscs);
        struct side *m = arena_alloc(op->arena, (n + 1) * sizeof *m);
        for (uint32_t i = 0; i < n; i++) {
                m[i] = (struct side){ .r = &rscs[i] };
                m[i].online = op_node_surely_online(op, rscs[i].node_name);
                if (!m[i].online || !op_observed_rsc(op, rsc_name, rscs[i].node_name, &m[i].o)) continue;
                const char *uuid = m[i].o.uuid;
                m[i].known = HAS(&m[i].o, obs_rsc, drbd) && uuid != NULL && rscs[i].uuid != NULL &&
                             strcmp(uuid, rscs[i].uuid) == 0;
        }
        *ret = m;
        return n;
}

/* Has m given up its connection with the other one (NULL: with any)? */
static bool has_given_up(const struct side *m, const struct side *other)
{
        for (uint32_t i = 0; m->known && i < m->o.drbd->peers_n; i++) {
                const struct obs_drbd_peer *p = &m->o.drbd->peers[i];
                if (other != NULL && !op_same(p->name, other->r->node_name)) continue;
                if (strcmp(op_text(p->connection), "StandAlone") == 0) return true;
        }
        return false;
}

static bool has_disk(const struct side *m)
{
        return (m->r->flags & (rsc_flag_DISKLESS | rsc_flag_INACTIVE)) == 0;
}

/* Data that is to be kept must be there. */
static bool may_be_kept(struct op *op, const struct side *m)
{
        const char *why = NULL;
        if (!m->online) why = "cannot be reached";
        else if (!has_disk(m)) why = "has no disk";
        else if (!m->known) why = "is not up";
        for (uint32_t i = 0; why == NULL && i < m->o.volumes_n; i++) {
                const char *disk = op_text(m->o.volumes[i].disk_state);
                if (strcmp(disk, "UpToDate") != 0 && strcmp(disk, "Consistent") != 0 &&
                        strcmp(disk, "Outdated") != 0)
                        why = "has no whole data";
        }
        if (why == NULL) return true;
        struct api_rc *rc = side_rc(op, RC_FAIL_INVLD_REQUEST, m->r, why);
        op_rc_explain(op, rc, "The data of a node can be kept only if it is whole and there.", NULL,
                "Keep that of another node, or bring this one back first.");
        return false;
}

static bool may_be_discarded(struct op *op, const struct side *m)
{
        struct api_rc *rc;
        if (m->known && !m->o.in_use) return true;
        if (m->known) {
                rc = side_rc(op, RC_FAIL_IN_USE, m->r, "is in use: its changes cannot be given up");
                op_rc_explain(op, rc, "DRBD gives up the changes of a Secondary only.", NULL,
                        "Unmount it there, or end what uses it, and repeat this; or keep the data of that "
                        "node.");
        } else {
                rc = side_rc(op, RC_FAIL_NOT_CONNECTED, m->r, "cannot be reached, or is not up");
                op_rc_explain(op, rc, NULL, NULL, "Bring it back, and repeat this.");
        }
        return false;
}

static void clear(struct rsc *r)
{
        UNSET(r, rsc, drbd_resolve);
        UNSET(r, rsc, drbd_discard_for);
        UNSET(r, rsc, drbd_resolve_ms);
        r->drbd_resolve = 0;
        r->drbd_discard_for = r->drbd_resolve_ms = 0;
}

/* keep: the one in whose favour its own changes are given up; NULL: they are not. */
static void mark(struct op *op, struct rsc *r, const struct rsc *keep)
{
        clear(r);
        SET(r, rsc, drbd_resolve, op->index);
        if (keep != NULL) SET(r, rsc, drbd_discard_for, keep->drbd_node_id);
        SET(r, rsc, drbd_resolve_ms, (int64_t)op_now_ms(op));
        row_put(op->tx, &rsc_type, r);
}

/* DRBD is watched for some seconds until it is joined, and only after other work on that node: longer than resources usually take. */
static void wait_for_it(struct op *op, const struct rsc_dfn *rd)
{
        op_touch_rd(op, rd->name);
        for (uint32_t i = 0; i < op->reply->waits_n; i++) SET(&op->reply->waits[i], wait_item, slow, true);
}

static void try_again(struct op *op, const struct rsc_dfn *rd, struct side *m, uint32_t n)
{
        uint32_t given_up = 0;
        for (uint32_t i = 0; i < n; i++) given_up += has_given_up(&m[i], NULL);
        if (given_up == 0) {
                op_rc(op, RC_INFO_NOOP, "No connection of resource '%s' needs that.", rd->name);
                return;
        }
        for (uint32_t i = 0; i < n; i++) mark(op, m[i].r, NULL);
        wait_for_it(op, rd);
        struct api_rc *rc =
                op_rc(op, RC_MODIFIED, "Connections of resource '%s' are tried once more.", rd->name);
        op_rc_explain(op, rc, NULL, NULL,
                "If they are given up again, nodes have written on their own: say whose data is kept.");
        op_rc_ref(op, rc, "RscDfn", rd->name);
}

static void keep_one(struct op *op, const struct rsc_dfn *rd, struct side *m, uint32_t n, struct side *keep)
{
        uint32_t losers = 0;
        if (!may_be_kept(op, keep)) return;
        for (uint32_t i = 0; i < n; i++) {
                if (&m[i] == keep || !has_disk(&m[i])) continue;
                if (!has_given_up(&m[i], keep) && !has_given_up(keep, &m[i])) continue;
                if (!may_be_discarded(op, &m[i])) return;
                mark(op, m[i].r, keep->r);
                side_rc(op, RC_MODIFIED, m[i].r, "gives up its own changes");
                losers++;
        }
        if (losers == 0) {
                side_rc(op, RC_INFO_NOOP, keep->r, "is not separated from any other");
                return;
        }
        for (uint32_t i = 0; i < n; i++)
                if (!HAS(m[i].r, rsc, drbd_resolve) || m[i].r->drbd_resolve != op->index)
                        mark(op, m[i].r, NULL);
        wait_for_it(op, rd);
}

void op_rd_resolve(struct op *op)
{
        const char *name = OP_BODY(op, resolve_body)->keep;
        struct rsc_dfn rd;
        struct rsc r;
        struct side *m, *keep = NULL;
        if (!op_need_rd(op, op->params[0], &rd)) return;
        if (!RD_HAS_LAYER(&rd, "DRBD")) {
                op_rc(op, RC_FAIL_INVLD_LAYER_STACK, "Resource '%s' has not the layer DRBD.", rd.name);
                return;
        }
        if (op_given(name) && !op_need_rsc(op, rd.name, name, &r)) return;
        if (!op_saga_free(op, rd.name) || !op_disks_still(op, rd.name)) return;
        uint32_t n = look(op, rd.name, &m);
        for (uint32_t i = 0; op_given(name) && i < n; i++)
                if (op_same(m[i].r->node_name, name)) keep = &m[i];
        if (keep != NULL) keep_one(op, &rd, m, n, keep);
        else try_again(op, &rd, m, n);
}

void op_resolved(struct op *op, struct rsc *r)
{
        clear(r);
        SET(r, rsc, revision, op->index);
        row_put(op->tx, &rsc_type, r);
}
