/* What the changes of a snapshot may be based on, when it is shipped to another cluster: a snapshot that is on both sides. A snapshot that
 * was received holds what the one that it was made of held, and remembers that one's uuid (origin); so both are known by either uuid.
 *
 *   sender    offers the ids of all earlier snapshots that its node has of the same volumes, the newest first
 *   receiver  takes the first of which a connected node has its own, in the resource definition that is shipped to
 *
 * Threads, purity: as op.h; all lives in the arena. */
#ifndef CONTROLLER_OP_SHIP_BASE_H
#define CONTROLLER_OP_SHIP_BASE_H

#include "state/table.h"
#include "wire/def/types.h"

#define SHIP_BASES_MAX 64u /* ids that are offered */

/* What the volumes of a base must be. */
struct ship_shape {
        uint32_t n;
        struct ship_shape_vlm {
                uint64_t number, size_kib; /* 0: any, for what an id stands for has one size */
                const char *pool;          /* where the base is; NULL: it cannot be */
        } * volumes;
};
/* What a snapshot on a node is like. false: it is not there. */
bool ship_shape_of(struct tx *tx, const char *rsc, const char *snap, const char *node, struct arena *a,
        struct ship_shape *ret);
/* Does the node have this snapshot, whole, and of that shape? */
bool ship_base_fits(struct tx *tx, const struct snap_dfn *d, const char *node, const struct ship_shape *shape,
        struct arena *a);
/* Is it known by that id? */
bool ship_base_is(const struct snap_dfn *d, const char *id);
/* The ids that a sender offers for s; *ret NULL when none. Returns how many. */
uint32_t ship_bases(struct tx *tx, const struct ship *s, struct arena *a, const char ***ret);
/* The snapshot of s's resource with that id, on its node. */
bool ship_base_find(
        struct tx *tx, const struct ship *s, const char *id, struct arena *a, struct snap_dfn *ret);

#endif
