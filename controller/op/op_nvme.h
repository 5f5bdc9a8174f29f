/* What resources with the layer NVME may be: one target, which has the storage, and one initiator, which uses it from another node.
 *
 * Threads and ownership: as op_internal.h. */
#ifndef CONTROLLER_OP_OP_NVME_H
#define CONTROLLER_OP_OP_NVME_H

#include "controller/op/op_internal.h"

/* May a resource with these flags be made? Definitions without the layer may have any but those of an initiator. false: refused. */
bool op_nvme_admits(struct op *op, const struct rsc_dfn *rd, const char *node, uint64_t flags);
/* The part of the stack that a node with these flags has to support: what is below NVME is the target's. */
uint32_t op_nvme_layers_needed(const struct rsc_dfn *rd, uint64_t flags);

#endif
