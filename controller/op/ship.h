/* Backups on their way. A row says what is shipped, where, by which node, and how far it is; so it does not matter who leads.
 *
 *   UPLOAD    WAIT (the snapshot is being taken) -> RUN (its node sends it) -> gone: the backup is in the bucket
 *   DOWNLOAD  RUN (its node makes the snapshot out of the objects) -> gone: the resource was made of it
 *   SEND      WAIT -> ASK (its node has made a key; the other cluster is asked to receive, controller/l2l.h, and on which base,
 *             ship_base.h) -> RUN (its node sends it) -> DONE: the other cluster has it; a lost connection, or a satellite that was
 *             restarted: RUN -> ASK, in the next round
 *   RECEIVE   RUN (its node listens and makes the snapshot) -> DONE, so that the sender can ask
 *   DONE      stays for a while, so that the list says how it was
 *   any       -> FAILED, which stays for a while, so that the list says why; an error report is kept
 *
 * The satellite is told of ASK and RUN (controller/sat/sat_ships.h) and reports how it ended; the leader's reconciler proposes the next step,
 * naming the phase that it was about. A satellite that was restarted begins anew; one that stays away, or does not take it up, fails it;
 * that time is counted by the leader's own clock (reconcile.h), so a new leader waits longer, never less.
 *
 * Threads, purity: as reconcile.h and op.h. */
#ifndef CONTROLLER_OP_SHIP_H
#define CONTROLLER_OP_SHIP_H

#include "controller/op/op_internal.h"
#include "controller/op/reconcile_internal.h"

#define SHIP_AWAY_MS 60000    /* without a connection to the satellite */
#define SHIP_IDLE_MS 600000   /* that it does not take it up: the cluster may be locked */
#define SHIP_FAILED_MS 600000 /* that a failed one is shown */
#define SHIP_ROUNDS 8         /* how often a shipment to another cluster is begun */
#define SHIP_VERSION 1        /* of this way of shipping to another cluster */

/* What it is called in texts. */
const char *ship_word(const struct ship *s);
/* Is it still on its way? */
static inline bool ship_is_live(const struct ship *s)
{
        return s->phase != ship_phase_FAILED && s->phase != ship_phase_DONE;
}
/* Does it make a snapshot here, or (false) send one away? */
static inline bool ship_is_incoming(const struct ship *s)
{
        return s->kind == ship_kind_DOWNLOAD || s->kind == ship_kind_RECEIVE;
}

/* What is due for them. */
void ship_look(struct look *l);
/* Is the snapshot being shipped? */
bool op_ship_has(struct op *op, const char *rsc, const char *snap);
/* Is the snapshot being shipped? snap NULL: any of the resource's. Refuses (true) then. */
bool op_ship_busy(struct op *op, const char *rsc, const char *snap);
/* Does a backup that is under way use the remote? */
bool op_ship_uses(struct op *op, const char *remote);
/* The node has to look again at what is shipped: its snapshot was touched. */
void op_ship_touch(struct op *op, const struct ship *s);
/* Takes back what was made for one that came in; the row itself is the caller's. */
void op_ship_undo(struct op *op, const struct ship *s);
/* The row goes on, and its node hears of it. */
void op_ship_enter(struct op *op, struct ship *s, enum ship_phase phase);
/* It cannot be: takes back what was made, and keeps an error report. */
void op_ship_fail(struct op *op, struct ship *s, const char *why);
/* SEND: from the beginning, in the next round. */
void op_ship_again(struct op *op, struct ship *s);
/* The other cluster has it: shown for a while, unless its remote is to go. */
void op_ship_sent(struct op *op, struct ship *s);
/* It is over. The last shipment of a remote that is to go takes it along. */
void op_ship_drop(struct op *op, const struct ship *s);

#endif
