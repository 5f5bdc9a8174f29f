/* What the kernel says of a block device's queue.
 *
 * Threads: any; blocks. Ownership: nothing is kept. */
#ifndef SATELLITE_BASE_QUEUE_H
#define SATELLITE_BASE_QUEUE_H

#include <stdint.h>
#include <sys/types.h>

/* Granularity of the device's discards, in bytes: 0 when it takes none, -1 when it cannot be found out. path: of the device. */
int64_t queue_discard_bytes(const char *path);
/* The same of a device by its number, sys in the place of /sys. For partitions that of the whole disk. */
int64_t queue_discard_of(const char *sys, dev_t dev);

#endif
