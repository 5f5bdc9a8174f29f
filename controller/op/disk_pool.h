/* Pools that satellites make out of disks: POST /v1/physical-storage/{node}.
 *
 *   CHECK  the satellite looks: the disks are empty and nobody's, the name is free, it has the programs
 *   MAKE   it makes the pool; what an interrupted attempt of this very row left is taken over
 *   FAILED it could not, and has undone what it had begun; stays for a minute, so that whoever waits can say why
 *
 * The row (disk_pool) goes when the pool is made; the storage pool that was asked for is written in the same step. Level-triggered as
 * everything in reconcile.h: the row says the phase, the satellite reports how it ended (obs_disk_pools), and the leader's reconciler
 * proposes /internal/disk-pool-step, which names uuid and phase, so that it has its effect once. A satellite that is away begins when
 * it comes back.
 *
 * Threads, purity: as reconcile.h and op.h. */
#ifndef CONTROLLER_OP_DISK_POOL_H
#define CONTROLLER_OP_DISK_POOL_H

#include "controller/op/reconcile_internal.h"

#define DISK_POOL_FAILED_MS 60000
#define DISK_POOL_DISKS_MAX 64

void disk_pools_look(struct look *l);

#endif
