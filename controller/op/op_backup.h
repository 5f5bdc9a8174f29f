/* What backups in buckets (op_backup.c) and shipments to other clusters (op_ship.c) have in common.
 *
 * Threads, purity: as op.h. Functions that return false have refused the operation. */
#ifndef CONTROLLER_OP_OP_BACKUP_H
#define CONTROLLER_OP_OP_BACKUP_H

#include "controller/op/op_internal.h"

#define OP_BACKUP_KINDS "LVM_THIN, ZFS, ZFS_THIN, FILE or FILE_THIN"
/* Can volumes in pools of that kind be shipped? */
bool op_backup_kind(enum provider_kind k);
/* An entry about a resource and its snapshot. */
void op_backup_rc(struct op *op, enum apirc_code code, const char *rsc, const char *snap, const char *text);
/* The node that sends it: as asked, or the first that can. */
bool op_backup_source(struct op *op, const struct rsc_dfn *rd, const char *asked, struct rsc *ret);
/* Have both the same volumes, of the same sizes? */
bool op_backup_same_volumes(const struct snap_dfn *a, const struct snap_dfn *b);
/* back_YYYYMMDD_HHMMSS, now. */
const char *op_backup_stamp(struct op *op);
/* Are its layers such that it can be shipped? */
bool op_backup_stack(struct op *op, const struct rsc_dfn *rd);
/* The description of s, with the sizes of its volumes as they are by now. */
const char *op_backup_sizes(struct op *op, const struct ship *s);
/* The pool that the volume goes to. */
const char *op_backup_pool_name(const struct backup_restore_body *b, const struct backup_vlm *v);
bool op_backup_pool(struct op *op, const char *node, const char *name, struct stor_pool *ret);
/* Makes the snapshot that is to be received, and what it is of; fills in s. into: the resource definition that it is added to; NULL: a
 * new one. */
bool op_backup_target(struct op *op, const struct backup_restore_body *b, const struct node *node,
        struct rsc_dfn *into, struct ship *s);

#endif
