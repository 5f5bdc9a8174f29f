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
        const struct strmap *vd, *rsc, *rd, *vg, *rg, *node, *ctrl;
};
/* Of a volume: its layers, how large DRBD's device (or the top) is to be, and DRBD's peer slots. */
struct extra_stack {
        const char *const *layers;
        uint32_t n;
        uint64_t net_kib;
        unsigned slots;
};
/* What such a volume needs when it is made, into out (EXTRA_N elements). Returns how many. *ret_data_kib: how large its storage is;
 * that depends on where DRBD's metadata is. */
uint32_t op_extra_wants(const struct extra_stack *s, const struct extra_levels *l, struct extra_want *out,
        uint64_t *ret_data_kib);
/* How large the storage of r's volume of vd is to be: of one that is made now (fresh), or as its metadata was laid out then. */
uint64_t op_extra_data_kib(
        struct op *op, const struct rsc_dfn *rd, const struct rsc *r, const struct vlm_dfn *vd, bool fresh);
/* Is DRBD's metadata of some volume on a device of its own? */
bool op_extra_has_meta(const struct rsc *r);
/* Makes r->extras fit r->volumes: what is there stays as it is (DRBD's metadata grows with its volume), what is missing is chosen, what
 * belongs to no volume goes. old: as stored before, or NULL. false: refused. */
bool op_extra_fit(struct op *op, const struct rsc *old, struct rsc *r);

#endif
