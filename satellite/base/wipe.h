/* Overwrites what tells programs what a device holds: file system and LUKS headers and partition tables at its beginning, DRBD
 * and RAID metadata and backup partition tables at its end.
 *
 * Threads: any; blocks. */
#ifndef SATELLITE_BASE_WIPE_H
#define SATELLITE_BASE_WIPE_H

#include <stdbool.h>
#include <stdint.h>

#define WIPE_HEAD_BYTES 65536
#define WIPE_TAIL_BYTES 4096
/* size_bytes: of the file or device. Synced. 0 or a positive errno; a full thin pool or file system (ENOSPC) is none: nothing is
 * stored there that could be wiped. */
int wipe_fd(int fd, uint64_t size_bytes);
/* The block device at path; EBUSY when anything has it open exclusively. */
int wipe_device(const char *path);
/* The first so many bytes of it, or all. */
int wipe_device_head(const char *path, uint64_t bytes);
/* Files are devices, too. For tests, before any other thread starts. */
void wipe_take_files(bool take);

#endif
