/* The declarations as text, one line each, for people and for the golden list of tags.
 *
 * Threads: pure. Ownership: lines are appended to the caller's buffer. */
#ifndef TESTS_LIB_DEF_DUMP_H
#define TESTS_LIB_DEF_DUMP_H

#include "tests/lib/test.h"
#include "wire/base/buf.h"

/* What the wire and the disk depend on, unsorted:
 *   type TYPE ID JSONNAME
 *   field TYPE TAG KIND[:SUB] JSONNAME        or   field TYPE TAG RESERVED
 *   enum ENUM VALUE NAME
 *   flag SET BITS NAME */
void def_dump_tags(struct buf *out);
/* The same with flags and descriptions. */
void def_dump_all(struct buf *out);

/* Compares lists of tags: each golden line must be there still, or its field be RESERVED now; when
 * is_complete is set, there may be no new line either. Explains the first ten differences in out; returns
 * their number. */
unsigned def_tags_compare(const char *golden, const char *now, bool is_complete, struct buf *out);

#endif
