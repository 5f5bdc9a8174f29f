/* A volume of DRBD gets as large as what is below it.
 *
 * Peers grow at different times, and DRBD is as large as the smallest of what is below. A resize that has brought nothing is not tried
 * again until the device below or the number of connected peers changes.
 *
 * DRBD 8.4 resizes only where one side is primary. Where none is, one of the nodes takes the resource for that moment (drbd_take.h), for
 * some rounds, as neither knows when the other has grown. Where two nodes shake hands that have both grown what is below, DRBD 8.4 grows
 * as well, but leaves the new part out of sync and lets it be ("No resync, but N bits in bitmap"): what was in sync when its growth began
 * is synchronised then, as a whole, from where it is used if it is.
 *
 * Threads: pool threads; drbd_grow() blocks. Ownership: everything is borrowed for the call. */
#ifndef SATELLITE_DRBD_DRBD_GROW_H
#define SATELLITE_DRBD_DRBD_GROW_H

#include "satellite/drbd/drbd_events.h"
#include "satellite/layer/layer.h"

/* Has drbd_grow() something to do? dev: of r, as it is now. */
bool drbd_grow_due(const struct layer_vol *v, const struct drbd_resource *r, const struct drbd_device *dev);
/* 0 also when it has to wait for a peer; E_BUSY during a resync; else negative, explained. */
int drbd_grow(const struct layer_vol *v, struct trouble *t) MUST_USE;
/* Nothing is left of the resource. */
void drbd_grow_forget(const char *rsc_name);

#endif
