/* From what DRBD says (satellite/drbd/drbd_events.h) to the row that controllers get.
 *
 * Threads: pure. Ownership: the row's new parts live in the arena, with copies of all words. */
#ifndef SATELLITE_DRBD_DRBD_ROWS_H
#define SATELLITE_DRBD_DRBD_ROWS_H

#include "satellite/drbd/drbd_events.h"
#include "wire/def/types.h"

/* Sets drbd, in_use and the disk states of those volumes that row has. wanted has the names of the peers; one that it does not know
 * (by node id; DRBD 8.4 has a single peer without one) is called as DRBD calls it. E_TOO_LARGE: the arena is full. */
int drbd_rows_fill(const struct drbd_resource *r, const struct sat_drbd *wanted, struct arena *a,
        struct obs_rsc *row) MUST_USE;

#endif
