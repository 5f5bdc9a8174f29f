/* What is made from a snapshot with other layers than its own (sat_vlm.source_layers): what is below the wanted layers becomes what was
 * below those of then.
 *
 * DRBD added or left out, all else the same (stacks_share()): the data is shared with the snapshot, for DRBD's metadata lies behind it. The
 * backing was made large enough for both. What is where metadata will be is no superblock; what was metadata becomes zeros.
 *
 * Any other layer added or left out: the volume is a new one, and the data is copied (provider/copies.h), from the device of the snapshot's
 * volume below its layers of the whole resource to that of the new volume. The snapshot is read by a volume aside (provider/aside.h), or
 * itself where it can be, with its own layers above, opened with the keys that the new volume has. The copy goes on beside the rounds.
 *
 * Done once, in a round of its own, before the first layer of the whole resource, or anybody, uses it. That is on disk
 * (dev.filled, the state file) before the next round begins; until then it is begun again, whenever a satellite dies. What a satellite that
 * died has left open is closed when it is started (run_fill_sweep()); a volume aside is used again, or goes with its snapshot.
 *
 * Threads: run_fill_sweep() before rounds begin; the others block, in pool threads. Ownership: everything is borrowed. */
#ifndef SATELLITE_RUN_FILL_H
#define SATELLITE_RUN_FILL_H

#include "satellite/plan.h"

/* FILL. E_PENDING: the copy is under way. */
int run_fill_step(const struct step *s, struct trouble *t) MUST_USE;
/* Ends copies into volumes of the resource that are not wanted as such any more. */
void run_fill_stop(const struct plan_input *in);
/* Nobody copies yet: what is open for that is of a satellite that died. */
void run_fill_sweep(void);

#endif
