/* Making a directory of our own, on a machine where nothing of ours is yet.
 *
 * Threads: any; no state. Ownership: nothing is kept. */
#ifndef WIRE_BASE_DIR_H
#define WIRE_BASE_DIR_H

#include "wire/base/err.h"

/* The directories above PATH, with mode 0755, where they are missing. Synced: they are still there after the power
 * failed. 0, -errno, E_TOO_LARGE; f (may be NULL) names the one that could not be made. */
int dir_make_above(const char *path, struct fail *f) MUST_USE;
/* PATH itself with mode 0700, and what is missing above it. 0 also when it is there already. Errors as above. */
int dir_make(const char *path, struct fail *f) MUST_USE;

#endif
