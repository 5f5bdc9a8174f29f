/* Automatic snapshots: AutoSnapshot/RunEvery (minutes; definition, then group, then controller) and AutoSnapshot/Keep, as LINSTOR has them.
 *
 * Each definition that has them owns a row that says when the next one is due. It is made, and goes, in the operation that changed the
 * properties. The leader's reconciler proposes what is due, naming that time: so neither a leader that died after its proposal nor
 * its successor takes a second one. Whatever comes of it, the row says the next time in the same write, one interval later: nothing is
 * made up for after a pause, and a refusal is not asked again at once. A clock that was set back by more than CLOCK_SLACK_MS
 * makes the row's time absurd; it begins anew from now. The snapshot is an ordinary saga; when that has ended well, the oldest ones
 * beyond Keep go in the same write.
 *
 * Threads, purity: see op.h and reconcile.h. */
#ifndef CONTROLLER_OP_AUTO_SNAP_H
#define CONTROLLER_OP_AUTO_SNAP_H

#include "controller/op/op_internal.h"
#include "controller/op/reconcile_internal.h"

#define AUTO_SNAP_KEEP_DEFAULT 10
#define AUTO_SNAP_SLACK_MS 60000 /* by which clocks of controllers may differ */
#define AUTO_SNAP_PREFIX "autoSnap"

/* The properties that count for this definition may have changed: its row follows. */
void op_auto_snap_touch(struct op *op, const struct rsc_dfn *rd);
/* The same for all definitions of a group (NULL: of all groups), when the change has to do with it. */
void op_auto_snap_touch_group(struct op *op, const char *group, const struct prop_mod *mod);
/* An automatic snapshot was taken: those beyond Keep go, unless something is being made of them. */
void op_auto_snap_prune(struct op *op, const struct snap_dfn *taken);
/* What is due now. */
void auto_snap_look(struct look *l);

/* When the next one is due: on the grid, unless this one is late by more than a quarter of the interval. Milliseconds. */
int64_t auto_snap_next(int64_t due_ms, int64_t every_ms, int64_t now_ms);
/* Is there something to do about a row: is it due, or absurd? */
bool auto_snap_is_due(int64_t due_ms, int64_t every_ms, int64_t now_ms);

#endif
