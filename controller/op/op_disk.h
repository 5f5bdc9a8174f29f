/* Disks of resources that stay: added, removed, moved to another node; quorum and tie breaker that follow from who has one.
 *
 *   add      DRBD_DISKLESS|DISK_ADD_REQUESTED|DISK_ADDING: the pool has promised the space, and the peers make room for a
 *            disk; -> (DISK_ADDED) none of them: the node makes its disk
 *   remove   DRBD_DISKLESS|DISK_REMOVE_REQUESTED|DISK_REMOVING: the node removes its disk, the pool counts it still;
 *            -> (DISK_REMOVED) DRBD_DISKLESS: the peers hear of it
 *   migrate  the property MigrateFrom of the new one; -> (MIGRATED) when that is up to date the old one goes
 *
 * The arrows are written by op_int_rsc_step(), which the leader's reconciler proposes (controller/op/tend.h): the flags are all that
 * there is to remember, so it does not matter who leads, or dies, in between.
 *
 * Threads, purity: see op.h. */
#ifndef CONTROLLER_OP_OP_DISK_H
#define CONTROLLER_OP_OP_DISK_H

#include "controller/op/op_internal.h"
#include "controller/op/sat_drbd.h"
#include "state/index.h"

/* Who wanted a resource to have a disk: a property of it. */
#define PROP_DISKFUL_BY "DiskfulBy"
#define BY_USER "user"
#define BY_AUTO_PLACER "auto-placer"
#define BY_AUTO_DISKFUL "auto-diskful"
#define BY_MAKE_AVAILABLE "make-available"

struct disk_args {
        const char *pool; /* NULL = look up */
        const char *by;
        const char *migrate_from; /* NULL = from nowhere */
};
/* A diskless resource is to have a disk. r is as stored. false: refused. */
bool op_disk_add(struct op *op, struct rsc_dfn *rd, struct rsc *r, const struct disk_args *args);
/* One with a disk is to lose it. more: flags that it has then, such as TIE_BREAKER; client: it is then no voter. */
void op_disk_remove(struct op *op, struct rsc_dfn *rd, struct rsc *r, uint64_t more, bool client);
/* Refuses (false) while a disk of the resource definition comes or goes. */
bool op_disks_still(struct op *op, const char *rsc_name);
/* Deletes a resource of which has been checked that it may go. */
void op_drop_rsc(struct op *op, struct rsc_dfn *rd, const struct rsc *r);
/* Diskless ones: is it a tie breaker, is it a voter? */
void op_set_role(struct op *op, struct rsc *r, bool tie_breaker, bool client);
/* Brings a deactivated one up. false: refused. */
bool op_activate(struct op *op, struct rsc *r);
/* One that is evacuated goes, unless somebody uses it. */
void op_evacuated(struct op *op, struct rsc_dfn *rd, const struct rsc *r);
/* The connections were tried once more (controller/op/op_resolve.c). r is as stored. */
void op_resolved(struct op *op, struct rsc *r);
/* How many replicas its group wants. */
int64_t op_replicas_wanted(struct op *op, const struct rsc_dfn *rd);
/* Are its disks skipped, by a property of any level? */
bool op_skips_disk(struct op *op, const struct rsc_dfn *rd, const struct rsc *r);
/* Is its data whole, as far as its satellite says? */
bool op_up_to_date(struct op *op, const struct rsc *r);

#endif
