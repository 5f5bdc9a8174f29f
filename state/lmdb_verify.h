/* Reads a whole LMDB file (format 1: library 0.9) by itself and checks its structure before the library
 * touches it: the library trusts its pages, and damage would make it crash or lose rows in silence. Found
 * are: pages that are not what they claim, nodes outside of their page, keys out of order, separators that
 * lead astray, pages used twice or used and free, a file that ends too early, wrong row counts. Contents are
 * covered by the rows' checksums. The meta pages have no checksum, and damage could make the older one look newer:
 * so each transaction also writes its number into a row of the main database, which has to agree.
 *
 * Threads: pure but for reading the file; nobody may write to it meanwhile. */
#ifndef STATE_LMDB_VERIFY_H
#define STATE_LMDB_VERIFY_H

#include <stdint.h>

#include "wire/base/err.h"

/* 0: sound, or there is no file yet, or it is empty. E_CORRUPT (f names the page), E_FORMAT, E_STORAGE
 * (cannot be read). Time: one read of every page in use. Where pointers do not have 64 bits it checks
 * nothing. */
int lmdb_verify(const char *path, struct fail *f) MUST_USE;

/* The row of the main database that holds the number of the transaction. It may be missing in files of older
 * versions. What it cannot tell is a newest meta page that was damaged into an older one: the caller has to know
 * the number of a transaction that must be there (raftctl's DIR/seq). */
#define LMDB_TXN_KEY "txn"
enum { LMDB_TXN_ROW_SIZE = 16 };
void lmdb_txn_row(uint64_t txnid, uint8_t ret[LMDB_TXN_ROW_SIZE]);

#endif
