/* What else is on a device: file systems, partition tables, other signatures that libblkid knows.
 *
 * Threads: any; blocks. */
#ifndef SATELLITE_BASE_SIGNATURE_H
#define SATELLITE_BASE_SIGNATURE_H

/* 1: something, 0: nothing that is known, -EIO: it cannot be looked at. */
int signature_look(const char *path);
/* In words (static); NULL: nothing that is known. What cannot be looked at counts as something. */
const char *signature_of(const char *path);

#endif
