/* Options of DRBD that follow from what the nodes of a resource have in common: which algorithm its verification uses.
 *
 * verify-alg: the first of a list of algorithms that the kernels of all nodes offer is kept in a property of the definition
 * (DrbdOptions/auto-verify-alg), and is used where nobody has set another one. While a node has not said what it has, nothing changes. */
#include <string.h>

#include "controller/op/op_quorum.h"

#define PROP_AUTO_VERIFY "DrbdOptions/auto-verify-alg"
#define PROP_VERIFY "DrbdOptions/Net/verify-alg"
#define PROP_VERIFY_OFF "DrbdOptions/auto-verify-algo-disable"
#define PROP_VERIFY_LIST "DrbdOptions/auto-verify-algo-allowed-list"
#define PROP_VERIFY_USER_LIST "DrbdOptions/auto-verify-algo-allowed-user-list"
#define VERIFY_LIST                                                                                     \
        "crct10dif-pclmul;crct10dif-generic;crc32c-intel;crc32c-generic;sha384-generic;sha512-generic;" \
        "sha256-generic;md5-generic;windrbd"

enum offers { OFFERS, OFFERS_NOT, OFFERS_NOT_SAID };

static enum offers node_offers(struct op *op, const char *node, const char *alg)
{
        struct obs_node o;
        if (!op_observed_node(op, node, &o) || o.hashes_n == 0) return OFFERS_NOT_SAID;
        return op_in_list(alg, o.hashes, o.hashes_n) ? OFFERS : OFFERS_NOT;
}

/* The first node that lacks it; *ret_unknown: one has not said. */
static const char *who_lacks(struct op *op, const char *rsc_name, const char *alg, bool *ret_unknown)
{
        struct rsc *rscs;
        uint32_t n = op_list_rscs(op, rsc_name, &rscs);
        for (uint32_t i = 0; i < n; i++) {
                enum offers o = node_offers(op, rscs[i].node_name, alg);
                if (o == OFFERS_NOT) return rscs[i].node_name;
                if (o == OFFERS_NOT_SAID) *ret_unknown = true;
        }
        return NULL;
}

/* NULL: they have none in common. */
static const char *common_alg(struct op *op, const char *rsc_name, const char *list, bool *ret_unknown)
{
        char *copy = arena_strdup(op->arena, list), *rest = NULL;
        for (char *alg = strtok_r(copy, "; ", &rest); alg != NULL; alg = strtok_r(NULL, "; ", &rest))
                if (who_lacks(op, rsc_name, alg, ret_unknown) == NULL) return alg;
        return NULL;
}

void op_verify_settle(struct op *op, struct rsc_dfn *rd, const struct strmap *rg, const struct strmap *ctrl)
{
        struct rsc key = { .rsc_name = rd->name };
        const char *now = strmap_get(&rd->props, PROP_AUTO_VERIFY), *want = NULL;
        const char *list = op_prop_chain(PROP_VERIFY_USER_LIST, ctrl, NULL);
        bool unknown = false;
        if (list == NULL) list = op_prop_chain(PROP_VERIFY_LIST, ctrl, NULL);
        if (list == NULL) list = VERIFY_LIST;
        if (row_count(op->tx, &rsc_type, &key, 1) == 0) return;
        if (!prop_bool(op_prop_chain(PROP_VERIFY_OFF, &rd->props, rg, ctrl, NULL), false))
                want = common_alg(op, rd->name, list, &unknown);
        if (unknown || (now == NULL ? want == NULL : want != NULL && strcmp(now, want) == 0)) return;
        if (want != NULL) strmap_set(&rd->props, PROP_AUTO_VERIFY, want, op->arena);
        else (void)strmap_del(&rd->props, PROP_AUTO_VERIFY, op->arena);
        MARK(rd, rsc_dfn, props);
        row_put(op->tx, &rsc_dfn_type, rd);
        op_touch_rd(op, rd->name);
}

bool op_verify_by_user(struct op *op, const struct rsc_dfn *rd, const struct prop_mod *mod)
{
        const char *alg = strmap_get(&mod->override_props, PROP_VERIFY);
        bool unknown = false;
        const char *lacks = op_given(alg) ? who_lacks(op, rd->name, alg, &unknown) : NULL;
        if (lacks == NULL) return true;
        struct api_rc *rc = op_rc(op, RC_FAIL_INVLD_PROP,
                "Resource '%s' cannot be verified with '%s': the kernel of node '%s' does not offer it.",
                rd->name, alg, lacks);
        op_rc_explain(op, rc, NULL, NULL,
                "Load the kernel's module for it there, or choose one that /proc/crypto shows on all nodes.");
        op_rc_ref(op, rc, "RscDfn", rd->name);
        op_rc_ref(op, rc, "Node", lacks);
        return false;
}
