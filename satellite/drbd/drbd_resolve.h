/* Connections that DRBD has given up, most often after a split brain: tried once more, as the controllers ask (sat_drbd.resolve), and with
 * this node's changes given up where they say so (sat_drbd.discard_for).
 *
 * Threads: any; drbd_resolve() blocks, for some seconds. Ownership: nothing is kept. */
#ifndef SATELLITE_DRBD_DRBD_RESOLVE_H
#define SATELLITE_DRBD_DRBD_RESOLVE_H

#include "satellite/base/trouble.h"
#include "wire/def/types.h"

/* conf: of drbdadm. 0: every peer is connected, or is tried on; E_BUSY: in use here, or given up again; else what a program said last. */
int drbd_resolve(const struct sat_rsc *want, const char *conf, struct trouble *t) MUST_USE;
/* E_BUSY, and t says that the resource is in use on this node. */
int drbd_in_use(const char *name, struct trouble *t);

#endif
