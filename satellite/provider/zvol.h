/* The block devices of ZFS volumes. The kernel calls them /dev/zdN, in the order in which they turn up; udev's rule of ZFS makes the
 * stable name /dev/zvol/POOL/NAME, a moment later or, where no udev runs, never. What a device is, is asked of itself.
 *
 * Threads: all functions block, any thread; zvol_set_world() before any other. Ownership: plain values. */
#ifndef SATELLITE_PROVIDER_ZVOL_H
#define SATELLITE_PROVIDER_ZVOL_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/base/err.h"
#include "wire/base/macros.h"

#define ZVOL_DIR "/dev/zvol"
#define ZVOL_PATH_SIZE 320

struct zvol {
        char path[ZVOL_PATH_SIZE]; /* its stable name when linked, else as node */
        char node[64];             /* /dev/zdN */
        bool linked;               /* the stable name leads to it */
        bool in_use;               /* it has holders or is mounted */
        uint64_t size_kib;
};

/* name: POOL/PATH. 0, E_NOT_FOUND, or -errno. */
int zvol_find(const char *name, struct zvol *ret) MUST_USE;
/* Waits until the device is there under its stable name, which is made here when udev does not within a moment. E_TIMEOUT: there is no
 * device; -errno. */
int zvol_wait(const char *name, unsigned timeout_ms, struct zvol *ret) MUST_USE;
/* Waits until there is no such device any more; takes a stale name away. E_TIMEOUT. */
int zvol_wait_gone(const char *name, unsigned timeout_ms) MUST_USE;
/* What a test puts in the place of the kernel's devices; NULL = those. */
struct zvol_world {
        int (*find)(const char *name, struct zvol *ret);
        int (*link)(const char *name, const char *node); /* node NULL: take the name away */
};
void zvol_set_world(const struct zvol_world *w);

#endif
