/* Devices that layers need beside the volumes (wire/def/layer_extra.h): which pools of a node they go to, and how large they are.
 *
 * Threads and ownership: as op_internal.h; what is returned is in the arena. */
#ifndef CONTROLLER_OP_OP_EXTRA_H
#define CONTROLLER_OP_OP_EXTRA_H

#include "controller/op/op_internal.h"
#include "wire/def/layer_extra.h"

/* Does the stack have a layer that needs such devices? */
bool op_extra_needed(const char *const *stack, uint32_t n);

/* One device as the properties want it. */
struct extra_want {
        enum layer_extra extra;
        const char *pool_prop; /* that names the pool */
        const char *pool;      /* NULL: it is not set */
        uint64_t size_kib;
};
/* Whose properties decide; the nearest one first. NULLs are none. */
struct extra_levels {
        const struct strmap *vd, *rd, *vg, *rg, *node, *ctrl;
};
/* What a volume of data_kib needs, into out (EXTRA_N elements). Returns how many. */
uint32_t op_extra_wants(const char *const *stack, uint32_t n, const struct extra_levels *l, uint64_t data_kib,
        struct extra_want *out);
/* Makes r->extras fit r->volumes: what is there stays as it is, what is missing is chosen, what belongs to no volume goes. false:
 * refused. */
bool op_extra_fit(struct op *op, struct rsc *r);

#endif
