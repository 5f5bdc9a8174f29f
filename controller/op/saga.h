/* Sagas: long operations in which order matters (snapshots of several nodes at one point in time, rolling back, cloning).
 *
 *   SNAPSHOT  SUSPEND -> TAKE -> RESUME -> done          fails: UNDO_RESUME -> FAILED
 *   CLONE     SUSPEND -> TAKE -> RESUME -> COPY -> done  fails: UNDO_RESUME -> FAILED; COPY fails: FAILED
 *   ROLLBACK  DOWN -> TAKE -> SWAP -> done               fails: UNDO_UP -> FAILED; SWAP fails: UNDO_SWAP -> FAILED
 *
 * SUSPEND: every node holds the I/O of the resources. TAKE: every node that is to have the snapshot takes it. RESUME: I/O runs
 * again. DOWN: nobody uses the resource, its devices are down; TAKE then takes the safety snapshot. SWAP: the volumes are made anew
 * from the snapshot; UNDO_SWAP: from the safety snapshot. COPY: the clones are made. FAILED stays for a minute, so that whoever
 * waits can say why.
 *
 * The row says the phase; saga_look() compares it with what satellites report and says whether it is over; the leader's
 * reconciler then proposes /internal/saga-step, which is op_int_saga_step(): it names the phase that it was about, so that it has
 * its effect once. Deadlines count by the leader's own clock, since it has known of the phase. So it does not matter who leads, or dies, between any two phases. I/O is never left suspended: each phase has a
 * deadline, and satellites give up by themselves (satellite/layer/hold.h).
 *
 * Threads, purity: as reconcile.h and op.h. */
#ifndef CONTROLLER_OP_SAGA_H
#define CONTROLLER_OP_SAGA_H

#include "controller/op/op_internal.h"

/* ---- looking: any member ---- */
enum saga_verdict { SAGA_WAIT, SAGA_OVER, SAGA_FAILS };
struct saga_view {
        struct tx *wanted, *observed;
        int64_t known_ms; /* for how long the leader has known that the saga is in its phase, by its own clock */
        struct arena *arena;
};
/* Is the phase over? *ret_reason: of SAGA_FAILS. */
enum saga_verdict saga_look(const struct saga_view *v, const struct saga *s, const char **ret_reason);
/* Is I/O to be held in this phase? */
bool saga_holds(const struct saga *s);

/* ---- operations ---- */
/* Refuses (false) when a saga is on its way for the resource definition. */
bool op_saga_free(struct op *op, const char *rsc_name);
/* Writes the saga of the items, whose snap_dfn rows are there, and lets the answer wait for its end. */
void op_saga_begin(struct op *op, enum saga_kind kind, const struct saga_item *items, uint32_t n,
        const char *target, bool wait);

/* ---- op_snap.c: parts of snapshots ---- */
struct snap_args {
        const char *rsc_name, *snap_name;
        const char **nodes; /* none: wherever there is a disk */
        uint32_t nodes_n;
        const struct strmap *props;
        uint64_t flags;
        bool for_clone; /* it goes when the clone has been made: volumes of thick LVM take part, too */
};
/* Makes the rows of a snapshot that is to be taken. false: refused. */
bool op_make_snap(struct op *op, const struct snap_args *args);
/* Removes a snapshot from one node (NULL: from all, and with it the definition), leaving tombstones. */
void op_bury_snap(struct op *op, const struct snap_dfn *d, const char *node);
/* Is nothing being done with it? Else it refuses. */
bool op_snap_may_go(struct op *op, const struct snap_dfn *d);
/* Is a resource still being made from it? */
bool op_snap_is_source(struct op *op, const struct snap_dfn *d);
bool op_find_snap_dfn(struct op *op, const char *rsc, const char *snap, struct snap_dfn *ret);
bool op_need_snap_dfn(struct op *op, const char *rsc, const char *snap, struct snap_dfn *ret);
bool op_find_snap(struct op *op, const char *rsc, const char *snap, const char *node, struct snap *ret);
/* Of one snapshot, in order of nodes. */
uint32_t op_list_snaps(struct op *op, const char *rsc, const char *snap, struct snap **ret);
/* Name of the backing of a volume's snapshot. */
const char *snap_backing_id(const char *vlm_id, const char *snap_name, struct arena *a);
/* Name of the backing of a volume. */
const char *vlm_backing_id(
        const char *rsc_name, const struct vlm *v, const struct strmap *vd_props, struct arena *a);
/* The volume is to be made from the snapshot; false: the snapshot has none of that number. */
bool op_source_volume(const struct snap *s, struct vlm *v, struct arena *a);
/* Notes the snapshot's layers at a volume of rd that is made from it, where rd has others. */
void op_source_layers(const struct snap_dfn *d, const struct rsc_dfn *rd, struct vlm *v);

/* ---- op_restore.c ---- */
/* Copies the volume definitions of the snapshot to rd. false: refused. */
bool op_restore_vds(struct op *op, const struct snap_dfn *d, struct rsc_dfn *rd);
/* What users have set of these properties of a definition, for another one that is made from it: not what only the cluster sets. */
struct strmap op_props_taken_over(struct op *op, enum prop_scope scope, const struct strmap *from);
/* The volume definitions of the resource take over the keys of the snapshot's volumes. */
/* own: a volume that was given a passphrase of its own since keeps it, and those of then become keys of before. */
void op_restore_keys(struct op *op, const struct snap_dfn *d, const char *rsc_name, bool own);
/* Makes resources of rd from the snapshot. false: refused. */
bool op_restore_rscs(
        struct op *op, const struct snap_dfn *d, struct rsc_dfn *rd, const char *const *nodes, uint32_t n);

/* Resources of rd from the snapshot, on every node that has it; all or none. The operation goes on in any case. NULL: done (or to be
 * asked again, when op->early or op->doubtful is set); else why not. */
const char *op_restore_try(struct op *op, const struct snap_dfn *d, struct rsc_dfn *rd);

#endif
