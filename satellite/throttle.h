/* Limits of bandwidth and operations for devices (properties sys/fs/blkio_throttle_*), written to the kernel's control groups.
 *
 * Version 1, as LINSTOR: blkio.throttle.* of the root group, for the lowest device of a volume on the node. Version 2: the root group has
 * no limits, and what kernel threads write for DRBD is counted there; so io.max of each group directly below the root, for the volume's
 * own device.
 *
 * A limit that somebody else set for a device is left alone: only what is marked is taken back, and only while it still has the marked
 * value. Marks must be durable before a limit is written, so that a satellite that dies in between knows what it did.
 *
 * Threads: throttle_run() blocks, in a pool thread; the others are pure. Ownership: results live in the caller's arena.
 * Units: bytes and operations per second. */
#ifndef SATELLITE_THROTTLE_H
#define SATELLITE_THROTTLE_H

#include "satellite/base/trouble.h"
#include "wire/base/mem.h"

enum throttle_which { THROTTLE_READ, THROTTLE_WRITE, THROTTLE_READ_IOPS, THROTTLE_WRITE_IOPS, THROTTLE_N };
#define THROTTLE_PREFIX "sys/fs/"
#define THROTTLE_ROOT "/sys/fs/cgroup"

/* The property's name. */
const char *throttle_key(enum throttle_which which);
/* What a property asks for: 0 = no limit (also for NULL and what is no number above 0). */
uint64_t throttle_value(const char *text, enum throttle_which which);

/* A limit that was set, or is about to be. */
struct throttle_mark {
        unsigned major, minor;
        enum throttle_which which;
        uint64_t value;
};

/* A volume with limits. */
struct throttle_want {
        const char *rsc_name;
        uint64_t volume_number;
        const char *lowest, *top; /* paths of its devices */
        uint64_t value[THROTTLE_N];
        struct trouble trouble; /* out */
};

struct throttle_job {
        const char *root; /* THROTTLE_ROOT, or another place where control groups are mounted */
        struct throttle_want *wants;
        uint32_t wants_n;
        const struct throttle_mark *marks; /* durable */
        uint32_t marks_n;
        /* Out. */
        struct throttle_mark *missing; /* to be marked; nothing was done for them yet */
        uint32_t missing_n;
        bool *over; /* for each mark: nothing of it is left */
};
/* Brings the kernel in line. Failures are in wants[].trouble. E_TOO_LARGE: the arena is too small. */
int throttle_run(struct throttle_job *job, struct arena *a) MUST_USE;

#endif
