/* The DRBD part of what a satellite is to have: peers with addresses, ports and node ids, the options that hold at each place, who
 * begins with which generation ids. Computed from the replicated state each time, like the rest of sat_wanted.h.
 *
 * A node's name for DRBD is its host name: the property NodeUname where it is set, else the node's name. Its address is that of the
 * interface that PrefNic names (pool < resource < definition < group < node < controller: the first wins from the left), else of `default`,
 * else of its first one. Linstor/Drbd/OutsideAddress, by the same levels, is what its peers dial in
 * the place of that when it is behind NAT: an interface's name, or an address. Paths/NAME/NODE of a resource connection or node connection name interfaces for paths of their own.
 *
 * Pure functions of a view; results live in the arena. */
#ifndef CONTROLLER_OP_SAT_DRBD_H
#define CONTROLLER_OP_SAT_DRBD_H

#include "state/table.h"
#include "wire/def/types.h"

/* The first diskful replica of a volume that nobody else has: its data is what counts. Kept as properties, so that it holds whoever
 * leads: how many there ever were (volume definition), and which of them one is (volume). */
#define DRBD_PROP_REPLICAS "Internal/Drbd/Replicas"
#define DRBD_PROP_REPLICA "Internal/Drbd/Replica"
#define DRBD_PROP_WINNER "Linstor/Drbd/InitialUptoDateOn"

/* Fills in sr->drbd and the fields drbd_* of its volumes, which are those of r. Storage errors stick to tx. */
int sat_drbd_put(struct tx *tx, const struct rsc_dfn *rd, const struct rsc *r, struct arena *a,
        struct sat_rsc *sr) MUST_USE;
/* The user, or the leader when DRBD had lost it, has given its disks up: what is below DRBD is left alone. */
#define PROP_SKIP_DISK "DrbdOptions/SkipDisk"
/* Do its peers treat it as one without a disk? */
bool sat_drbd_diskless(const struct rsc *r);
/* Who is in it, as the rules count (wire/def/drbd_rules.h). rscs: all resources of one definition. */
struct drbd_members;
void sat_drbd_members(const struct rsc *rscs, uint32_t n, struct drbd_members *ret);

#endif
