/* Deactivating: the devices of a resource go down and its data stay; activating brings them up again. */
#include "controller/op/op_disk.h"
#include "controller/op/saga.h"

static struct api_rc *active_rc(struct op *op, enum apirc_code code, const struct rsc *r, const char *done)
{
        struct api_rc *rc =
                op_rc(op, code, "Resource '%s' on node '%s' %s.", r->rsc_name, r->node_name, done);
        op_rc_ref(op, rc, "RscDfn", r->rsc_name);
        op_rc_ref(op, rc, "Node", r->node_name);
        return rc;
}

static void set_flags(struct op *op, struct rsc *r, uint64_t flags)
{
        struct rsc_dfn rd;
        SET(r, rsc, flags, flags);
        SET(r, rsc, revision, op->index);
        row_put(op->tx, &rsc_type, r);
        if (op_find_rd(op, r->rsc_name, &rd) && RD_HAS_LAYER(&rd, "DRBD")) op_touch_rd(op, rd.name);
        op_wait_rsc(op, r->node_name, r->rsc_name, false);
}

/* Of the resources in one shared space, one may be active. */
static bool alone_in_space(struct op *op, const struct rsc *r, const char *space)
{
        struct rsc *rscs;
        uint32_t n = op_list_rscs(op, r->rsc_name, &rscs);
        for (uint32_t i = 0; i < n; i++) {
                const struct rsc *x = &rscs[i];
                if (op_same(x->node_name, r->node_name) || (x->flags & rsc_flag_INACTIVE) != 0) continue;
                for (uint32_t k = 0; k < x->volumes_n; k++) {
                        struct stor_pool p;
                        if (!op_find_pool(op, x->node_name, x->volumes[k].storage_pool_name, &p)) continue;
                        if (!op_given(p.shared_space) || !op_same(p.shared_space, space)) continue;
                        struct api_rc *rc =
                                active_rc(op, RC_FAIL_ONLY_ONE_ACT_RSC_PER_SHARED_STOR_POOL_ALLOWED, x,
                                        "is active in the same shared space");
                        op_rc_explain(op, rc, NULL, NULL, "Deactivate that one first.");
                        return false;
                }
        }
        return true;
}

static bool may_be_active(struct op *op, const struct rsc *r)
{
        if ((r->flags & rsc_flag_EVICTED) == rsc_flag_EVICTED ||
                (r->flags & rsc_flag_INACTIVE_PERMANENTLY) == rsc_flag_INACTIVE_PERMANENTLY) {
                struct api_rc *rc = active_rc(op, RC_FAIL_INVLD_RSC_STATE, r,
                        (r->flags & rsc_flag_EVICTED) == rsc_flag_EVICTED ? "is on an evicted node"
                                                                          : "is inactive for good");
                op_rc_explain(
                        op, rc, NULL, NULL, "Restore the node, or delete the resource and create it anew.");
                return false;
        }
        for (uint32_t i = 0; i < r->volumes_n; i++) {
                struct stor_pool p;
                if (!op_find_pool(op, r->node_name, r->volumes[i].storage_pool_name, &p)) continue;
                if (op_given(p.shared_space) && !alone_in_space(op, r, p.shared_space)) return false;
        }
        return true;
}

bool op_activate(struct op *op, struct rsc *r)
{
        if (!may_be_active(op, r)) return false;
        set_flags(op, r, r->flags & ~(uint64_t)rsc_flag_INACTIVE);
        return true;
}

void op_rsc_activate(struct op *op)
{
        struct rsc r;
        if (!op_need_rsc(op, op->params[0], op->params[1], &r) || !op_saga_free(op, r.rsc_name)) return;
        if ((r.flags & rsc_flag_INACTIVE) == 0) active_rc(op, RC_INFO_NOOP, &r, "is active already");
        else if (op_activate(op, &r)) active_rc(op, RC_MODIFIED, &r, "activated");
}

void op_rsc_deactivate(struct op *op)
{
        struct rsc r;
        if (!op_need_rsc(op, op->params[0], op->params[1], &r) || !op_saga_free(op, r.rsc_name)) return;
        if ((r.flags & rsc_flag_INACTIVE) != 0) {
                active_rc(op, RC_INFO_NOOP, &r, "is inactive already");
                return;
        }
        if (op_in_use(op, &r)) {
                op_explain_use(op, active_rc(op, RC_FAIL_IN_USE, &r, "is in use"), &r);
                return;
        }
        if ((r.flags & (RSC_ADDING | RSC_REMOVING)) != 0) {
                (void)op_disks_still(op, r.rsc_name);
                return;
        }
        set_flags(op, &r, r.flags | rsc_flag_INACTIVE);
        active_rc(op, RC_MODIFIED, &r, "deactivated: its data stay");
}
