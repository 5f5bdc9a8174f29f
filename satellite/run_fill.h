/* What is made from a snapshot with other layers than its own (sat_vlm.source_layers): what is below the wanted layers becomes what was
 * below those of then.
 *
 * DRBD added or left out: the data is shared with the snapshot, for DRBD's metadata lies behind it. The backing was made large enough
 * for both. What is where metadata will be is no superblock; what was metadata becomes zeros.
 *
 * Done once, in a round of its own, before the first layer of the whole resource, or anybody, uses it. That is on disk
 * (dev.filled, the state file) before the next round begins; until then it is begun again, whenever a satellite dies.
 *
 * Threads: blocks, in pool threads. Ownership: everything is borrowed. */
#ifndef SATELLITE_RUN_FILL_H
#define SATELLITE_RUN_FILL_H

#include "satellite/plan.h"

/* FILL. */
int run_fill_step(const struct step *s, struct trouble *t) MUST_USE;

#endif
