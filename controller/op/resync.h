/* resync-after: the resyncs of the volumes that share a pool follow each other, in the order of their minors, so that one disk does not
 * serve many resyncs at once. As in LINSTOR each volume has a property that names the one before it; the first has none. Without that:
 * DrbdOptions/auto-resync-after-disable of the controller.
 *
 * The leader's reconciler looks at some pools in each look, and proposes a pool whose chain is not as it should be; a volume that was
 * made or removed is in line some seconds later. Until then a name of a resource that is not on the node is left out of what its
 * satellite is told (controller/op/sat_drbd.h).
 *
 * Threads, purity: as reconcile.h. Ownership: results live in the arena. */
#ifndef CONTROLLER_OP_RESYNC_H
#define CONTROLLER_OP_RESYNC_H

#include "controller/op/reconcile_internal.h"

#define PROP_RESYNC_AFTER "DrbdOptions/Disk/resync-after"
#define RESYNC_STEP_MAX 200 /* volumes that one operation changes */
#define RESYNC_POOLS 8      /* of one look */

struct resync_link {
        uint64_t minor, volume_number;
        const char *rsc_name;
        const char *now, *want; /* NULL: nothing */
};
/* The volumes with DRBD in a pool, by minor. Storage errors stick to tx. */
int resync_chain(struct tx *tx, const char *node, const char *pool, struct arena *a, struct resync_link **ret,
        uint32_t *ret_n) MUST_USE;
/* Some of the pools (args->sweep). */
void resync_look(struct look *l);

#endif
