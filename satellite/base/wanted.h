/* Questions about what a node has been told (sat_rsc, sat_vlm of wire/def/msg_sat.def).
 *
 * Threads: any. Ownership: nothing is kept. */
#ifndef SATELLITE_BASE_WANTED_H
#define SATELLITE_BASE_WANTED_H

#include "wire/def/layer_extra.h"
#include "wire/def/types.h"

/* Has the volume a backing device on this node? */
bool wanted_is_backed(const struct sat_rsc *r, const struct sat_vlm *v);
/* Are its disks to be left alone? */
bool wanted_skips_disk(const struct sat_rsc *r);
/* Is it a volume that is to be a copy of what had other layers, in a place of its own? Else it is new, or shares what it is made from. */
bool wanted_is_copied(const struct sat_rsc *r, const struct sat_vlm *v);
/* The wanted device of that kind beside the volume (wire/def/layer_extra.h); NULL: there is to be none. */
const struct sat_vlm *wanted_extra(const struct sat_rsc *r, enum layer_extra extra, uint64_t volume_number);

#endif
