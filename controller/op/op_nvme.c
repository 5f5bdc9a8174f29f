#include "controller/op/op_nvme.h"

#define IS(flags, flag) (((flags)&rsc_flag_##flag) == rsc_flag_##flag)

uint32_t op_nvme_layers_needed(const struct rsc_dfn *rd, uint64_t flags)
{
        if (!IS(flags, NVME_INITIATOR)) return rd->layer_stack_n;
        uint32_t n = 0;
        while (n < rd->layer_stack_n && !op_same(rd->layer_stack[n], "NVME")) n++;
        return n < rd->layer_stack_n ? n + 1 : n;
}

static bool refuse(struct op *op, enum apirc_code code, const struct rsc_dfn *rd, const char *node,
        const char *what, const char *fix)
{
        struct api_rc *rc =
                op_rc(op, code, "Resource '%s' cannot be created on node '%s': %s.", rd->name, node, what);
        op_rc_explain(op, rc, NULL, NULL, fix);
        op_rc_ref(op, rc, "RscDfn", rd->name);
        op_rc_ref(op, rc, "Node", node);
        return false;
}

bool op_nvme_admits(struct op *op, const struct rsc_dfn *rd, const char *node, uint64_t flags)
{
        struct rsc *rscs;
        const char *target = NULL, *initiator = NULL;
        bool wants = IS(flags, NVME_INITIATOR);
        if (!RD_HAS_LAYER(rd, "NVME"))
                return !wants || refuse(op, RC_FAIL_INVLD_LAYER_STACK, rd, node,
                                         "it has no layer NVME, and so no initiator",
                                         "Define it with a layer list like nvme,storage.");
        if (!op_same(rd->layer_stack[0], "NVME"))
                return refuse(op, RC_FAIL_INVLD_LAYER_STACK, rd, node,
                        "layers above NVME are not supported by this version",
                        "Put the other layers below NVME: nvme,luks,storage.");
        if ((flags & rsc_flag_DISKLESS) != 0 && !wants)
                return refuse(op, RC_FAIL_INVLD_LAYER_STACK, rd, node, "it has no layer DRBD",
                        "Without a disk it can be an NVMe initiator (--nvme-initiator).");
        uint32_t n = op_list_rscs(op, rd->name, &rscs);
        for (uint32_t i = 0; i < n; i++) {
                if (IS(rscs[i].flags, NVME_INITIATOR)) initiator = rscs[i].node_name;
                else target = rscs[i].node_name;
        }
        if (wants && target == NULL)
                return refuse(op, RC_FAIL_MISSING_NVME_TARGET, rd, node, "it has no NVMe target yet",
                        "Create it first on the node that is to have the storage.");
        if (wants && initiator != NULL)
                return refuse(op, RC_FAIL_EXISTS_NVME_INITIATOR_PER_RSC_DFN, rd, node,
                        arena_printf(op->arena, "node '%s' is its NVMe initiator already", initiator),
                        "Delete that one first: an NVMe resource has one target and one initiator.");
        if (!wants && target != NULL)
                return refuse(op, RC_FAIL_EXISTS_NVME_TARGET_PER_RSC_DFN, rd, node,
                        arena_printf(op->arena, "node '%s' is its NVMe target already", target),
                        "Use it from this node as an NVMe initiator (--nvme-initiator).");
        return true;
}
