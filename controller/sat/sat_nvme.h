/* The NVMe part of what a satellite is to have: transport, address and port of the target.
 *
 * The host's name is that of its node, as with LINSTOR. The address is that of the interface which
 * NVMe/PrefNic names (resource of the target < its pool < definition < group < node < controller: the first wins from the left),
 * else of `default`, else of the node's first one. Port and transport follow NVMe/Port (4420) and NVMe/TRType (rdma, as LINSTOR).
 *
 * Pure functions of a view; results live in the arena. */
#ifndef CONTROLLER_SAT_SAT_NVME_H
#define CONTROLLER_SAT_SAT_NVME_H

#include "controller/sat/sat_props.h"

#define NVME_PORT_DEFAULT 4420u

/* Fills in sr->nvme when the stack has the layer; sr->props are filled in already. Storage errors stick to tx. */
int sat_nvme_put(struct tx *tx, const struct rsc_dfn *rd, const struct rsc *r, struct arena *a,
        struct sat_rsc *sr) MUST_USE;

#endif
