/* Erases a LUKS header: metadata and keyslots, from the end to the beginning, so that an interrupted erasure is recognised and goes
 * on. Threads: any; blocks. */
#ifndef SATELLITE_LAYER_LUKS_ERASE_H
#define SATELLITE_LAYER_LUKS_ERASE_H

#include <stdbool.h>

/* Is there anything of a LUKS header: its first or its second magic? fd: of a device or a file. */
bool luks_has_header(int fd);
/* The block device or file at path; one without a header is left alone. Synced. 0 or a positive errno; EBUSY when somebody has the
 * device open exclusively. */
int luks_erase(const char *path);

#endif
