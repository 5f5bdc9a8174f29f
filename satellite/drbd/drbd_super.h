/* DRBD's superblock, for looking, and for being rid of it: making and changing it is drbdmeta's.
 *
 * Threads: any; blocks. Ownership: plain values. */
#ifndef SATELLITE_DRBD_DRBD_SUPER_H
#define SATELLITE_DRBD_DRBD_SUPER_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/def/drbd_rules.h"

struct drbd_super {
        enum drbd_gen gen;
        uint64_t current; /* generation id */
        unsigned peers;   /* slots */
};
#define DRBD_JUST_CREATED 4 /* the generation id that create-md writes */

/* The device may have grown since DRBD last saw it: last_kib is its size then (0 = unknown). 1: there is one; 0: none; a negative
 * errno: the device cannot be read. */
int drbd_super_read(const char *path, uint64_t last_kib, struct drbd_super *ret);
/* Of a device that is DRBD's no more: writes zeros over the superblock at its end, if there is one; bitmaps: over everything that goes
 * with it. Synced. 0 or a negative errno; -EBUSY: somebody has the device open exclusively. */
int drbd_super_clear(const char *path, bool bitmaps);
/* The same of a device that has nothing but metadata: it begins with that. */
int drbd_super_read_beside(const char *path, struct drbd_super *ret);
/* What drbd-utils noted of the device when it was last attached, for a minor; 0: nothing. KiB. */
uint64_t drbd_super_last_kib(uint64_t minor);
/* From the 4 KiB of a superblock. For tests. */
bool drbd_super_parse(const uint8_t block[4096], struct drbd_super *ret);

#endif
