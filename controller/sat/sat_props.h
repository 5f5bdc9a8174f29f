/* Effective properties as satellites need them: what is set closer to the object wins. What satellites must
 * never see (keys of the encryption, tokens) is left out.
 *
 *   resource: controller < node < resource group < resource definition < resource
 *   volume:   controller < node < group < resource definition < volume group < volume definition < resource <
 * volume pool:     controller < node < pool definition < pool
 *
 * Pure functions of a view; results live in the arena. */
#ifndef CONTROLLER_SAT_SAT_PROPS_H
#define CONTROLLER_SAT_SAT_PROPS_H

#include "state/table.h"
#include "wire/def/types.h"

struct sat_props {
        struct strmap node; /* controller < node */
};
int sat_props_node(struct tx *tx, const struct node *node, struct arena *a, struct sat_props *ret) MUST_USE;
/* Storage errors stick to tx. */
struct strmap sat_props_pool(
        struct tx *tx, const struct sat_props *p, const struct stor_pool *pool, struct arena *a);
struct strmap sat_props_rsc(struct tx *tx, const struct sat_props *p, const struct rsc_dfn *rd,
        const struct rsc *r, struct arena *a);
struct strmap sat_props_vlm(struct tx *tx, const struct sat_props *p, const struct rsc_dfn *rd,
        const struct vlm_dfn *vd, const struct rsc *r, const struct vlm *v, struct arena *a);

/* Limits of the volume (sys/fs/): its own, its definition's, its group's, then those of the resource, its definition, its group. The pool's
 * properties, which come last, are the satellite's to look at. */
struct strmap sat_props_throttle(struct tx *tx, const struct rsc_dfn *rd, const struct vlm_dfn *vd,
        const struct rsc *r, const struct vlm *v, struct arena *a);

#endif
