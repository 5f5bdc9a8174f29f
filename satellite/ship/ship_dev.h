/* Snapshots as something to read from and to write into, whatever storage they are in. Where the provider has them as files (read,
 * receive), these are used. Elsewhere a volume beside them is made for the time: to read, one that is restored from the snapshot; to
 * receive, an empty one, or one restored from the base, of which the snapshot is taken when all has been written. It has the mark of the
 * snapshot that it is about, so that what a satellite that died has left goes with that at the latest, and a name that follows from the
 * shipment, so that the next attempt takes it away first.
 *
 * Threads: the job's. Ownership: the caller closes what it has opened. Errors: negative, with the explanation. */
#ifndef SATELLITE_SHIP_SHIP_DEV_H
#define SATELLITE_SHIP_SHIP_DEV_H

#include "satellite/ship/ship_job.h"

#define SHIP_ASIDE_SIZE 64

struct ship_source {
        int fd;
        uint64_t kib;
        bool aside; /* a volume was made for it */
        struct dev temp;
        char id[SHIP_ASIDE_SIZE];
};
/* Can snapshots in pools of that kind be read and made? */
bool ship_dev_can(const struct provider *p);
/* The size of a snapshot as it is. */
int ship_source_size(
        const struct ship_volume *v, const struct dev *d, uint64_t *ret_kib, struct trouble *t) MUST_USE;
/* is_base: of two that the volume has open at once. */
int ship_source_open(const struct ship_volume *v, const struct dev *d, bool is_base, struct ship_source *ret,
        struct trouble *t) MUST_USE;
void ship_source_close(struct ship_source *s);
/* Makes v's snapshot, unless it is there (then fill is not called); over a copy of its base, if it has one. */
int ship_receive(struct ship_volume *v, provider_fill_fn *fill, void *arg, struct trouble *t) MUST_USE;

#endif
