/* Reads a whole LMDB file (format 1: library 0.9) by itself and checks its structure before the library
 * touches it: the library trusts its pages, and damage would make it crash or lose rows in silence. Found
 * are: pages that are not what they claim, nodes outside of their page, keys out of order, separators that
 * lead astray, pages used twice or used and free, a file that ends too early, wrong row counts. Contents are
 * covered by the rows' checksums.
 *
 * Threads: pure but for reading the file; nobody may write to it meanwhile. */
#ifndef STATE_LMDB_VERIFY_H
#define STATE_LMDB_VERIFY_H

#include "wire/base/err.h"

/* 0: sound, or there is no file yet, or it is empty. E_CORRUPT (f names the page), E_FORMAT, E_STORAGE
 * (cannot be read). Time: one read of every page in use. Where pointers do not have 64 bits it checks
 * nothing. */
int lmdb_verify(const char *path, struct fail *f) MUST_USE;

#endif
