/* What happens to the replicas of a resource by itself: a diskless one that is in use for long gets a disk, a replica too many
 * goes, one that is missing comes. When it is due is for the leader's reconciler to find (controller/op/tend.h).
 *
 * Which replica goes (unplacing): the one that breaks most of what the group wants (nodes, pools, providers, layers, resources it
 * is not to be beside, rules for the properties of nodes), one point more when it is not up to date, and one when its node is not
 * ready; of those alike the one whose pool the autoplacer likes least. Never one that is in use, or on its way somewhere, and
 * never one without which fewer than wanted would be up to date.
 *
 * Threads, purity: see op.h. */
#ifndef CONTROLLER_OP_OP_AUTO_H
#define CONTROLLER_OP_OP_AUTO_H

#include "controller/op/op_disk.h"

/* A diskless resource that is in use gets a disk on its node, marked AUTO_DISKFUL. Refused when that is not possible (now). */
void op_auto_diskful(struct op *op, struct rsc_dfn *rd, struct rsc *r);
/* Its disk is up to date: the mark goes, and (auto-diskful-allow-cleanup) replicas too many with it. Nothing as long as those
 * cannot go yet. */
void op_auto_diskful_over(struct op *op, struct rsc_dfn *rd, struct rsc *r);

/* DRBD has lost the disk of one that has one: it is skipped from now on (SkipDisk), until a user takes that back. */
void op_skip_lost_disk(struct op *op, const struct rsc_dfn *rd, struct rsc *r);
bool op_lost_disk(const struct obs_rsc *o);

#endif
