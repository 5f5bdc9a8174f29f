/* Does a block device belong to somebody? Threads: any; may block where the device does not answer. */
#ifndef SATELLITE_BASE_CLAIM_H
#define SATELLITE_BASE_CLAIM_H

#include <stdbool.h>

/* Is it mounted, below another device, or opened for itself (open(2), O_EXCL)? False also when it cannot be looked at, and when programs
 * that do not claim it have it open. Nothing is written, so that udev does not look at it afterwards. */
bool device_is_claimed(const char *path);

#endif
