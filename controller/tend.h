/* Tending resources: what is due for one because of what satellites report. Level-triggered like everything in reconcile.h: the rows
 * say where a resource is going, the observed store how far it is; the answer is the next write (op_int_rsc_step).
 *
 *   a disk is to come     its peers have made room for it, and its node is there      -> DISK_ADDED
 *   a disk is to go       its node has removed it                                     -> DISK_REMOVED
 *   MigrateFrom           all volumes are up to date                                  -> MIGRATED
 *   EVACUATE              nobody uses it, others have the data as often as wanted     -> EVACUATED
 *
 * Threads, purity: as reconcile.h. */
#ifndef CONTROLLER_TEND_H
#define CONTROLLER_TEND_H

#include "controller/reconcile_internal.h"

#define AUTO_EVICT_AFTER_MIN 720
#define AUTO_EVICT_MAX_PERCENT 34
/* A satellite that has been away for longer than AutoEvictAfterTime, by the wall clock and by this member's own one, is evicted: one at a time, not while more than
 * AutoEvictMaxDisconnectedNodes percent are away, nor while another node's DRBD is connected with it. */
void tend_nodes(struct look *l);
/* Resources that are on their way somewhere (idx_rsc_busy). */
void tend_busy(struct look *l);

#endif
