/* The properties StorDriver/ZfscreateOptions and ZfsSnapshotOptions: options of `zfs create` and `zfs snapshot`, as LINSTOR hands
 * them on. They are split at blanks, and only those that set a property or the block size are taken: nothing else can be smuggled
 * into the command, and none of the properties that the satellite itself relies on.
 *
 * Pure. Threads: any. Ownership: words live in the arena. */
#ifndef SATELLITE_PROVIDER_ZFS_OPTIONS_H
#define SATELLITE_PROVIDER_ZFS_OPTIONS_H

#include <stdbool.h>

#include "wire/base/err.h"
#include "wire/base/mem.h"

#define ZFS_BLOCK_MAX (UINT64_C(128) << 10) /* bytes, of a volume */

struct zfs_options {
        const char **words; /* for the command: "-o", "property=value", ... */
        unsigned n;
        uint64_t block_bytes; /* volblocksize that they ask for, 0 = none */
};

/* text NULL: none. create: -b, -s and volblocksize are allowed as well. E_INVALID with the option in f. */
int zfs_options_parse(
        const char *text, bool create, struct arena *a, struct zfs_options *ret, struct fail *f) MUST_USE;
/* Options of `zpool create`: -o with a property of pools, -O with one of file systems. */
int zpool_options_parse(const char *text, struct arena *a, struct zfs_options *ret, struct fail *f) MUST_USE;

#endif
