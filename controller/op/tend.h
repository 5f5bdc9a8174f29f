/* Tending resources: what is due for one because of what satellites report. Level-triggered like everything in reconcile.h: the rows
 * say where a resource is going, the observed store how far it is; the answer is the next write (op_int_rsc_step).
 *
 *   a disk is to come     its peers have made room for it, and its node is there      -> DISK_ADDED
 *   a disk is to go       its node has removed it                                     -> DISK_REMOVED
 *   MigrateFrom           all volumes are up to date                                  -> MIGRATED
 *   a resolve             its node has carried it out, or could not; or 5 min are over -> RESOLVED
 *   EVACUATE              nobody uses it, others have the data as often as wanted     -> EVACUATED
 *
 * Other things are due for resources that are not on their way anywhere. All definitions are looked at in turn, some in each look:
 *
 *   a diskless one        in use for as long as auto-diskful says                     -> AUTO_DISKFUL
 *   AUTO_DISKFUL          it is up to date: a replica too many may go                 -> AUTO_DISKFUL_OVER
 *   one with a disk       DRBD has lost it                                            -> SKIP_DISK
 *   a definition          its quorum, tie breaker or computed options would change    -> rsc-settle
 *   an encrypted volume   every node has said that it has the present key     -> volume-definition-rekeyed
 *   a definition          replicas are missing, or too many (each BalanceResourcesInterval) -> rsc-balance
 *
 * These are proposed only if they would be carried out and change something: they are tried on a copy of the state first.
 *
 * Threads, purity: as reconcile.h. */
#ifndef CONTROLLER_OP_TEND_H
#define CONTROLLER_OP_TEND_H

#include "controller/op/reconcile_internal.h"

#define RESOLVE_MS INT64_C(300000) /* who was away for longer may have other data by then */
#define AUTO_EVICT_AFTER_MIN 720
#define AUTO_EVICT_MAX_PERCENT 34
#define BALANCE_INTERVAL_S 3600
/* A satellite that has been away for longer than AutoEvictAfterTime, by the wall clock and by this member's own one, is evicted: one at a time, not while more than
 * AutoEvictMaxDisconnectedNodes percent are away, nor while another node's DRBD is connected with it. */
void tend_nodes(struct look *l);
/* Resources that are on their way somewhere (idx_rsc_busy). */
void tend_busy(struct look *l);
/* Some of the definitions (args->sweep): those with DRBD, and those with LUKS whose keys are being changed. */
void tend_sweep(struct look *l);

/* ---- what is known, for tend_*.c ---- */
enum conn_status tend_status(struct look *l, const char *node);
/* What the satellite said of this very resource. */
bool tend_observed(struct look *l, const struct rsc *r, struct obs_rsc *ret);
/* Has its node carried out what the row says now? may_fail: or tried to. */
bool tend_carried_out(struct look *l, const struct rsc *r, bool may_fail);
/* All its volumes, and its node is there. */
bool tend_up_to_date(struct look *l, const struct rsc *r);
/* Have so many minutes passed since then, by both clocks? The wall clock alone may leap by hours when somebody sets it. */
bool tend_passed(const struct look *l, int64_t since_ms, int64_t since_mono_ms, int64_t minutes);

#endif
