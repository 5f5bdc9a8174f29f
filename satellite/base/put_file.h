/* Small files that are replaced whole.
 *
 * Threads: any; blocks. Ownership: nothing is kept. */
#ifndef SATELLITE_BASE_PUT_FILE_H
#define SATELLITE_BASE_PUT_FILE_H

#include "satellite/base/trouble.h"
#include "wire/base/buf.h"

/* Writes text to path, for the owner only: PATH.tmp, synced, renamed. */
int put_file(const char *path, const struct buf *text, struct trouble *t) MUST_USE;

#endif
