/* What the loop devices of this machine are bound to, as far as the process knows: sysfs has one file for
 * each device, and reading them all for each look at one image costs more than everything else.
 *
 * looptab_refresh(true) reads them all, bound or not. looptab_refresh(false) reads one list, of the devices
 * with a size, and of those only what the table does not know, or knows with another size. A device that a
 * stranger binds anew, to a file of the same size as before, is therefore found by the next full one only.
 * Names in the table are candidates and no more: who acts on one asks the device itself (loopdev.h).
 *
 * Threads: any, all block; one lock inside. Ownership: the table is the process's; copies are the caller's.
 */
#ifndef SATELLITE_PROVIDER_LOOPTAB_H
#define SATELLITE_PROVIDER_LOOPTAB_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "wire/base/err.h"
#include "wire/base/mem.h"

#define LOOP_FILE_SIZE (PATH_MAX + 32)

struct loop_entry {
        unsigned number;
        const char *file; /* as the kernel shows it, without the mark of deleted files */
        bool deleted;
};

/* The content of a small sysfs file without the newline. Length, or -1. */
ssize_t looptab_line(const char *path, char *out, size_t size);
/* The file of a device, asked now; false when it is not bound. */
bool looptab_file(unsigned number, char out[LOOP_FILE_SIZE], bool *ret_deleted);
/* The number in "loopN" or "/dev/loopN"; false for anything else. */
bool looptab_number(const char *name, unsigned *ret);

/* -errno when the machine's devices cannot be listed; no loop devices at all are no error. */
int looptab_refresh(bool all) MUST_USE;
/* The same for one device, which has just been bound or released. */
void looptab_update(unsigned number);
/* The first device from *number on whose file is at path, or (path without '/') has that name. False at the
 * end. */
bool looptab_next(const char *path, unsigned *number);
/* All of them, in the arena. E_TOO_LARGE. */
int looptab_copy(struct arena *a, struct loop_entry **ret, uint32_t *ret_n) MUST_USE;

#endif
