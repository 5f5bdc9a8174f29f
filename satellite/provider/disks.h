/* Disks of the node that nobody uses: candidates for storage pools.
 *
 * A disk is free when it is a whole device of its own kind (no partition, nothing that the kernel makes out of others: loop, device
 * mapper, md, DRBD, ZFS volumes, RAM), can be written, has at least DISK_MIN_BYTES, no partitions, no holders, is not mounted, not swapped
 * to, and libblkid finds neither a signature nor a partition table on it. What cannot be looked at is not free.
 *
 * Threads: blocks, in pool threads. Ownership: results live in the arena. */
#ifndef SATELLITE_PROVIDER_DISKS_H
#define SATELLITE_PROVIDER_DISKS_H

#include "satellite/base/trouble.h"
#include "wire/base/mem.h"
#include "wire/def/types.h"

#define DISK_MIN_BYTES (UINT64_C(1) << 30)
#define DISKS_MAX 4096

/* By name. sys: "/sys", dev: "/dev", proc: "/proc", others in tests. 0, E_TOO_LARGE, or -errno when sys cannot be read. */
int disks_free(const char *sys, const char *dev, const char *proc, struct arena *a, struct obs_disk **ret,
        uint32_t *ret_n) MUST_USE;
#define DISK_NAME_MAX 256
/* Why no pool can be made of the device at path (a link is followed): "it has partitions"; NULL: one can. zfs_begun: a partition table
 * as zpool makes it, with nothing in the partitions, is no hindrance. real: the device's own path, or empty. Static text. Opens the
 * device exclusively for a moment. */
const char *disk_hindrance(const char *sys, const char *dev, const char *proc, const char *path,
        bool zfs_begun, char real[DISK_NAME_MAX]);
/* Has it a partition table as zpool makes it, with nothing in the partitions? */
bool disk_is_zfs_begun(const char *path);

#endif
