/* What the satellite remembers across restarts: struct sat_state in files of its directory, each written
 * whole to a temporary file, synced and renamed. A frame of magic, length and BLAKE2b checksum goes around
 * the msgpack form.
 *
 *   satellite.state   everything
 *   satellite.term    the cluster and the highest term alone, so that fencing survives damage of the big file
 *
 * A damaged file is moved aside to NAME.damaged-<wall clock ms>; the satellite goes on with an empty wanted
 * state, which by the rules of plan.h never removes anything.
 *
 * Threads: everything blocks (start-up, or a pool thread); one caller at a time for each directory.
 * Ownership: results live in the caller's arena. */
#ifndef SATELLITE_STATE_H
#define SATELLITE_STATE_H

#include "wire/base/buf.h"
#include "wire/base/env.h"
#include "wire/base/err.h"
#include "wire/def/types.h"

#define STATE_FILE_MAX ((size_t)64 << 20)

/* 0, also when there is nothing yet (*ret is empty then). E_CORRUPT or E_FORMAT: damaged, or written by
 * something newer; moved aside, f tells the story, and *ret holds the term if that file was good. Anything
 * else: the disk could not be read, and the satellite must not go on. */
int state_load(
        const char *dir, struct env *env, struct arena *a, struct sat_state *ret, struct fail *f) MUST_USE;
/* The framed bytes of a state, to be written by a pool thread. E_TOO_LARGE. */
int state_encode(const struct sat_state *s, struct buf *out) MUST_USE;
/* Makes the files durable: first the term, when term_only is not NULL, then the state. -errno or E_NO_SPACE.
 */
int state_write(
        const char *dir, const struct buf *term_only, const struct buf *whole, struct fail *f) MUST_USE;
/* The directory is made when it is missing, and locked: E_BUSY when another process has it. The descriptor
 * keeps the lock until it is closed. */
int state_lock(const char *dir, int *ret_fd, struct fail *f) MUST_USE;

#endif
