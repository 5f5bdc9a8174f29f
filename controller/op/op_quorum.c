/* Quorum and tie breaker follow from who is in a resource: see op_quorum.h. The rules are in wire/def/drbd_rules.h. */
#include "controller/op/op_quorum.h"

#include <stdio.h>
#include <string.h>

#include "controller/op/op_disk.h"
#include "controller/op/op_place.h"
#include "controller/op/sat_drbd.h"

#define PROP_QUORUM "DrbdOptions/Resource/quorum"
#define PROP_QUORUM_SET_BY "Internal/Drbd/QuorumSetBy"
#define PROP_AUTO_ADD "DrbdOptions/auto-add-quorum-tiebreaker"
#define BY_US "linstor"
#define DRBD_QUORUM_KERNEL 0x090013 /* 9.0.19: diskless nodes vote from there on */

struct settling {
        struct rsc_dfn rd;
        struct rsc_grp rg;
        const struct strmap *ctrl;
};

static bool load(struct op *op, const char *rsc_name, struct settling *s)
{
        *s = (struct settling){ .ctrl = op_ctrl_props(op) };
        if (!op_find_rd(op, rsc_name, &s->rd) || !RD_HAS_LAYER(&s->rd, "DRBD")) return false;
        if (!op_find_rg(op, s->rd.rsc_grp_name, &s->rg)) s->rg = (struct rsc_grp){ 0 };
        return true;
}

static bool is_ours(const struct rsc_dfn *rd)
{
        const char *by = strmap_get(&rd->props, PROP_QUORUM_SET_BY);
        return by != NULL && strcmp(by, BY_US) == 0;
}

/* What a user set, or NULL. */
static const char *users_quorum(const struct settling *s)
{
        static const struct strmap none;
        return op_prop_chain(
                PROP_QUORUM, is_ours(&s->rd) ? &none : &s->rd.props, &s->rg.props, s->ctrl, NULL);
}

enum drbd_knows { KNOWS_NOT_SAID, KNOWS_8, KNOWS_NO_QUORUM, KNOWS_QUORUM };
static enum drbd_knows drbd_of(struct op *op, const char *node)
{
        struct obs_node o;
        if (!op_observed_node(op, node, &o) || o.drbd_kernel == 0) return KNOWS_NOT_SAID;
        if (o.drbd_kernel < 0x090000) return KNOWS_8;
        return o.drbd_kernel >= DRBD_QUORUM_KERNEL ? KNOWS_QUORUM : KNOWS_NO_QUORUM;
}

/* Of a node that has not said which DRBD it has nothing is concluded, but that nothing new is begun with it. */
static bool all_know_quorum(struct op *op, const char *rsc_name)
{
        struct rsc *rscs;
        uint32_t n = op_list_rscs(op, rsc_name, &rscs);
        for (uint32_t i = 0; i < n; i++)
                if (drbd_of(op, rscs[i].node_name) != KNOWS_QUORUM) return false;
        return true;
}

/* Without: a resource that does not count, or NULL. */
static struct drbd_members members_of(struct op *op, const struct settling *s, const struct rsc *without)
{
        struct rsc *rscs;
        struct drbd_members m;
        uint32_t n = op_list_rscs(op, s->rd.name, &rscs), left = 0;
        for (uint32_t i = 0; i < n; i++)
                if (without == NULL || !op_same(rscs[i].node_name, without->node_name))
                        rscs[left++] = rscs[i];
        sat_drbd_members(rscs, left, &m);
        for (uint32_t i = 0; i < left; i++) {
                enum drbd_knows knows = drbd_of(op, rscs[i].node_name);
                m.old = m.old || knows == KNOWS_8;
                m.no_quorum = m.no_quorum || knows == KNOWS_NO_QUORUM;
        }
        return m;
}

static struct drbd_tb_input input_of(struct op *op, const struct settling *s, const struct rsc *without)
{
        const char *enabled = op_prop_chain(PROP_AUTO_ADD, &s->rd.props, &s->rg.props, s->ctrl, NULL);
        return (struct drbd_tb_input){ .m = members_of(op, s, without),
                .enabled = prop_bool(enabled, true),
                .quorum = users_quorum(s) };
}

static struct api_rc *tb_rc(
        struct op *op, enum apirc_code code, const struct settling *s, const char *node, const char *done)
{
        struct api_rc *rc = op_rc_as(op, code, RC_OP_MODIFY, RC_OBJ_RSC,
                "Tie breaker of resource '%s'%s%s%s %s.", s->rd.name, node != NULL ? " on node '" : "",
                node != NULL ? node : "", node != NULL ? "'" : "", done);
        op_rc_ref(op, rc, "RscDfn", s->rd.name);
        if (node != NULL) op_rc_ref(op, rc, "Node", node);
        return rc;
}

/* ---- the tie breaker ---- */

static void place_tie_breaker(struct op *op, struct settling *s)
{
        struct place_ctx c = { .diskless = true };
        struct place_result res = { 0 };
        struct select_filter nothing = { 0 };
        struct select_filter *f = op_filter_merge(op, s->rg.select_filter, &nothing);
        struct fail fail = { 0 };
        UNSET(f, select_filter, storage_pool_list);
        f->storage_pool_list_n = 0;
        UNSET(f, select_filter, provider_list);
        f->provider_list_n = 0;
        UNSET(f, select_filter, x_replicas_on_different);
        f->x_replicas_on_different.n = 0;
        op_effective_stack(op, &s->rd, &c.stack, &c.stack_n);
        place_gather(op, &c, &s->rd, &s->rg, f);
        for (uint32_t i = 0; i < c.nodes_n; i++)
                if (c.nodes[i].why == NULL && drbd_of(op, c.nodes[i].name) != KNOWS_QUORUM)
                        c.nodes[i].why = "its DRBD knows no quorum, or is not known";
        if (place_search(op, &c, f, 1, 0, true, &res, &fail) != 0 || res.n == 0) {
                struct api_rc *rc = tb_rc(op, RC_WARN_NOT_ENOUGH_NODES_FOR_TIE_BREAKER, s, NULL,
                        "cannot be placed: there are not enough nodes");
                op_rc_explain(op, rc, NULL, place_explain(op, &c, f, 1, 0), NULL);
                return;
        }
        struct rsc_args args = { .node = c.nodes[c.pools[res.pools[0]].node].name,
                .flags = rsc_flag_TIE_BREAKER,
                .drbd_node_id = -1 };
        uint32_t before = op->reply->rcs_n;
        if (!op_make_rsc(op, &s->rd, &args)) return;
        op->reply->rcs_n = before; /* it is told by one entry of its own */
        tb_rc(op, RC_INFO_TIE_BREAKER_CREATED, s, args.node, "created");
}

/* One of them whose node can hear of it. */
static void remove_tie_breaker(struct op *op, struct settling *s)
{
        struct rsc *rscs;
        uint32_t n = op_list_rscs(op, s->rd.name, &rscs);
        for (uint32_t i = 0; i < n; i++) {
                const struct rsc *r = &rscs[i];
                if ((r->flags & rsc_flag_TIE_BREAKER) != rsc_flag_TIE_BREAKER) continue;
                if ((r->flags & (RSC_ADDING | RSC_REMOVING)) != 0 || op_in_use(op, r)) continue;
                if (!op_node_online(op, r->node_name)) continue;
                op_drop_rsc(op, &s->rd, r);
                tb_rc(op, RC_INFO_TIE_BREAKER_DELETING, s, r->node_name, "is not needed any more: deleted");
                return;
        }
}

bool op_stays_as_tie_breaker(struct op *op, struct rsc_dfn *rd, struct rsc *r)
{
        struct settling s;
        struct node n;
        if (!load(op, rd->name, &s) || (r->flags & rsc_flag_TIE_BREAKER) == rsc_flag_TIE_BREAKER)
                return false;
        if ((r->flags & (rsc_flag_INACTIVE | rsc_flag_EVACUATE | RSC_ADDING | RSC_REMOVING)) != 0)
                return false;
        if (!op_find_node(op, r->node_name, &n) || n.flags != 0 || !op_node_online(op, n.name)) return false;
        struct drbd_tb_input in = input_of(op, &s, r);
        in.leaving = true;
        if (drbd_tie_breaker(&in) != DRBD_TB_TAKE) return false;
        if ((r->flags & rsc_flag_DISKLESS) != 0) op_set_role(op, r, true, false);
        else op_disk_remove(op, rd, r, rsc_flag_TIE_BREAKER, false);
        tb_rc(op, RC_INFO_TIE_BREAKER_TAKEOVER, &s, r->node_name,
                "is made of the resource that was to be deleted");
        return true;
}

void op_refuse_tie_breaker(struct op *op, struct rsc_dfn *rd)
{
        strmap_set(&rd->props, PROP_AUTO_ADD, "false", op->arena);
        MARK(rd, rsc_dfn, props);
        row_put(op->tx, &rsc_dfn_type, rd);
        struct api_rc *rc = op_rc_as(op, RC_INFO_PROP_SET, RC_OP_MODIFY, RC_OBJ_RSC_DFN,
                "The tie breaker was deleted by hand: '%s' of resource definition '%s' is now 'false'.",
                PROP_AUTO_ADD, rd->name);
        op_rc_ref(op, rc, "RscDfn", rd->name);
}

/* ---- quorum ---- */

void op_quorum_by_user(struct op *op, struct rsc_dfn *rd, const struct prop_mod *mod)
{
        if (strmap_get(&mod->override_props, PROP_QUORUM) != NULL)
                strmap_set(&rd->props, PROP_QUORUM_SET_BY, "user", op->arena);
        else if (strmap_get(&rd->props, PROP_QUORUM) == NULL)
                (void)strmap_del(&rd->props, PROP_QUORUM_SET_BY, op->arena);
}

void op_quorum_not_ours(struct op *op, const struct rsc_dfn *rd, struct strmap *props)
{
        if (is_ours(rd)) (void)strmap_del(props, PROP_QUORUM, op->arena);
}

static void set_quorum(struct op *op, struct settling *s)
{
        struct drbd_members m = members_of(op, s, NULL);
        const char *now = strmap_get(&s->rd.props, PROP_QUORUM);
        if (users_quorum(s) != NULL) {
                if (!is_ours(&s->rd)) return;
                (void)strmap_del(&s->rd.props, PROP_QUORUM, op->arena);
                (void)strmap_del(&s->rd.props, PROP_QUORUM_SET_BY, op->arena);
        } else {
                const char *want = drbd_auto_quorum(&m);
                if (m.diskful + m.diskless + m.tie_breakers == 0) return;
                if (now != NULL && strcmp(now, want) == 0 && is_ours(&s->rd)) return;
                strmap_set(&s->rd.props, PROP_QUORUM, want, op->arena);
                strmap_set(&s->rd.props, PROP_QUORUM_SET_BY, BY_US, op->arena);
        }
        MARK(&s->rd, rsc_dfn, props);
        row_put(op->tx, &rsc_dfn_type, &s->rd);
        op_touch_rd(op, s->rd.name);
}

/* ---- when ---- */

void op_settle_later(struct op *op, const char *rsc_name)
{
        if (op->settling) return;
        for (uint32_t i = 0; i < op->settle_n; i++)
                if (op_same(op->settle[i], rsc_name)) return;
        if (op->settle_n == op->settle_cap) {
                uint32_t cap = op->settle_cap != 0 ? 2 * op->settle_cap : 8;
                const char **more = arena_alloc(op->arena, cap * sizeof *more);
                if (op->settle_n != 0) memcpy(more, op->settle, op->settle_n * sizeof *more);
                op->settle = more;
                op->settle_cap = cap;
        }
        op->settle[op->settle_n++] = arena_strdup(op->arena, rsc_name);
}

static void settle_one(struct op *op, const char *rsc_name)
{
        struct settling s;
        if (!load(op, rsc_name, &s)) return;
        struct drbd_tb_input in = input_of(op, &s, NULL);
        switch (drbd_tie_breaker(&in)) {
        case DRBD_TB_ADD:
                if (all_know_quorum(op, rsc_name)) place_tie_breaker(op, &s);
                break;
        case DRBD_TB_REMOVE: remove_tie_breaker(op, &s); break;
        case DRBD_TB_KEEP:
        case DRBD_TB_TAKE: break;
        }
        if (!op_failed(op) && load(op, rsc_name, &s)) set_quorum(op, &s);
        if (!op_failed(op) && load(op, rsc_name, &s)) op_verify_settle(op, &s.rd, &s.rg.props, s.ctrl);
        if (!op_failed(op) && load(op, rsc_name, &s)) op_discard_settle(op, &s.rd, &s.rg, s.ctrl);
}

/* The leader has heard of all its nodes which DRBD they have. */
static bool all_have_said(struct op *op, const char *rsc_name)
{
        struct rsc *rscs;
        uint32_t n = op_list_rscs(op, rsc_name, &rscs);
        for (uint32_t i = 0; i < n; i++)
                if (drbd_of(op, rscs[i].node_name) == KNOWS_NOT_SAID) return false;
        return true;
}

void op_int_rsc_settle(struct op *op)
{
        const struct rsc_settle *b = OP_BODY(op, rsc_settle);
        struct rsc_dfn rd;
        if (!op_find_rd(op, b->rsc_name, &rd) || !all_have_said(op, rd.name)) return;
        op_rc(op, RC_MODIFIED, "Resource definition '%s' is brought in line.", rd.name);
        op_settle_later(op, rd.name);
}

void op_settle(struct op *op)
{
        op->settling = true;
        for (uint32_t i = 0; i < op->settle_n && !op_failed(op); i++) settle_one(op, op->settle[i]);
}

void op_settle_group(struct op *op, const char *group, const struct prop_mod *mod)
{
        struct idx_grp_rsc_dfn key = { .rsc_grp_name = group }, at;
        struct row_scan s;
        bool matters = mod == NULL || mod->delete_props_n + mod->delete_namespaces_n != 0 ||
                       strmap_get(&mod->override_props, PROP_QUORUM) != NULL ||
                       strmap_get(&mod->override_props, PROP_AUTO_ADD) != NULL;
        if (!matters) return;
        row_scan_open(&s, op->tx, &idx_grp_rsc_dfn_type, &key, group != NULL ? 1 : 0);
        while (row_scan_next(&s, op->arena, &at)) op_settle_later(op, at.rsc_name);
        row_scan_close(&s);
}
