/* How coarse DRBD may discard: properties of each volume definition that follow from the devices below DRBD on all nodes, as in LINSTOR.
 *
 *   DrbdOptions/Disk/rs-discard-granularity   a resync discards what is zero in blocks of that size: the coarsest of all nodes, from 4 KiB to
 *                                             1 MiB; none where a node takes no discards
 *   DrbdOptions/Disk/discard-granularity      what DRBD's own device offers: the coarsest of all nodes; 0 where a node takes no discards
 *
 * Satellites report what their devices say. While one with a disk has not said it, nothing changes. Who sets one of them switches its
 * automatism off at that place (prop_auto_of() in controller/base/props.h); the property of the automatism, set to true, switches it on again. */
#include <stdio.h>
#include <string.h>

#include "controller/op/op_disk.h"
#include "controller/op/op_quorum.h"

#define RS_MIN 4096u
#define RS_MAX 1048576u
#define OWN_MAX 134217728u

struct grains {
        uint64_t least, most; /* bytes */
};

/* false: not all have said it. */
static bool gather(struct op *op, const struct rsc_dfn *rd, uint64_t number, struct grains *ret)
{
        struct rsc *rscs;
        uint32_t n = op_list_rscs(op, rd->name, &rscs), count = 0;
        *ret = (struct grains){ .least = UINT64_MAX };
        for (uint32_t i = 0; i < n; i++) {
                const struct rsc *r = &rscs[i];
                const struct obs_vlm *v = NULL;
                struct obs_rsc o;
                if ((r->flags & (rsc_flag_DISKLESS | rsc_flag_DELETE | rsc_flag_INACTIVE)) != 0) continue;
                if (op_skips_disk(op, rd, r)) continue;
                if (!op_observed_rsc(op, r->rsc_name, r->node_name, &o)) return false;
                for (uint32_t k = 0; k < o.volumes_n; k++)
                        if (o.volumes[k].volume_number == number) v = &o.volumes[k];
                if (v == NULL || !HAS(v, obs_vlm, discard_bytes)) return false;
                ret->least = MIN(ret->least, v->discard_bytes);
                ret->most = MAX(ret->most, v->discard_bytes);
                count++;
        }
        return count > 0;
}

/* NULL: no property. */
static const char *rs_value(struct op *op, const struct grains *g)
{
        if (g->least == 0) return NULL;
        return arena_printf(op->arena, "%llu", (unsigned long long)MIN(MAX(g->most, RS_MIN), RS_MAX));
}
static const char *own_value(struct op *op, const struct grains *g)
{
        if (g->least == 0) return "0";
        return arena_printf(op->arena, "%llu", (unsigned long long)MIN(g->most, OWN_MAX));
}

static const struct {
        const char *key;
        const char *(*value)(struct op *op, const struct grains *g);
} options[] = { { "DrbdOptions/Disk/rs-discard-granularity", rs_value },
        { "DrbdOptions/Disk/discard-granularity", own_value } };

static bool settle_one(struct op *op, const struct rsc_dfn *rd, const struct rsc_grp *rg,
        const struct strmap *ctrl, struct vlm_dfn *vd, size_t i)
{
        static const struct strmap none;
        struct vlm_grp vg = { .rsc_grp_name = rg->name, .volume_number = vd->volume_number };
        const char *by = prop_auto_of(options[i].key), *now = strmap_get(&vd->props, options[i].key),
                   *want = NULL;
        bool has_vg = rg->name != NULL && row_get(op->tx, &vlm_grp_type, &vg, op->arena, &vg) == 0;
        struct grains g;
        if (prop_bool(op_prop_chain(
                              by, &vd->props, &rd->props, has_vg ? &vg.props : &none, &rg->props, ctrl, NULL),
                    true)) {
                if (!gather(op, rd, vd->volume_number, &g)) return false;
                want = options[i].value(op, &g);
        } else if (!prop_bool(strmap_get(&vd->props, by), true)) return false; /* it is the user's */
        if (now == NULL ? want == NULL : want != NULL && strcmp(now, want) == 0) return false;
        if (want != NULL) strmap_set(&vd->props, options[i].key, want, op->arena);
        else (void)strmap_del(&vd->props, options[i].key, op->arena);
        return true;
}

void op_discard_settle(
        struct op *op, const struct rsc_dfn *rd, const struct rsc_grp *rg, const struct strmap *ctrl)
{
        struct vlm_dfn *vds;
        uint32_t n = op_list_vds(op, rd->name, &vds);
        bool any = false;
        for (uint32_t i = 0; i < n; i++) {
                bool changed = false;
                for (size_t k = 0; k < ARRAY_LEN(options); k++)
                        if (settle_one(op, rd, rg, ctrl, &vds[i], k)) changed = true;
                if (!changed) continue;
                MARK(&vds[i], vlm_dfn, props);
                row_put(op->tx, &vlm_dfn_type, &vds[i]);
                any = true;
        }
        if (any) op_touch_rd(op, rd->name);
}
