/* What else is on a device: file systems, partition tables, other signatures that libblkid knows.
 *
 * Threads: any; blocks. */
#ifndef SATELLITE_SIGNATURE_H
#define SATELLITE_SIGNATURE_H

/* In words (static); NULL: nothing that is known. */
const char *signature_of(const char *path);

#endif
