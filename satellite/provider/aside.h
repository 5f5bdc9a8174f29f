/* Volumes aside: made of a snapshot (or empty, to become one) for as long as somebody reads or writes them, beside the snapshot, in the same
 * pool. One has the mark of the snapshot that it is about, so that what a satellite that died has left goes with that at the latest; its name
 * follows from what it is for, so that the next attempt finds it.
 *
 * Threads: pool threads, all block but aside_of(). Ownership: everything is borrowed. Errors: negative, with the explanation. */
#ifndef SATELLITE_PROVIDER_ASIDE_H
#define SATELLITE_PROVIDER_ASIDE_H

#include "satellite/provider/provider.h"

/* The volume with that name beside d, whose mark it has. It reserves nothing. */
void aside_of(const struct dev *d, const char *id, struct dev *ret);
/* Fills it with the snapshot, whose size is kib; nothing when it is there. */
int aside_restore(const struct dev *snap, uint64_t kib, const struct dev *aside, struct trouble *t) MUST_USE;
/* Brings its device up. *ret: as it is then, in the arena. */
int aside_attach(const struct dev *aside, struct arena *a, struct dev *ret, struct trouble *t) MUST_USE;
/* Nothing of it is left; udev may hold it for a moment. E_BUSY: somebody else does. */
int aside_remove(const struct dev *aside, struct trouble *t);

#endif
