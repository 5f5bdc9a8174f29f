/* Copies of whole block devices, which take as long as the disk needs: each by a thread of its own, so that neither rounds of work nor
 * other resources wait for it.
 *
 * Whoever wants one asks for it, again and again: the first time begins it, E_PENDING says that it is under way, and whoever asks after its end is told how it ended, once. It is read and written past the page cache, in order, and flushed at its
 * end; what the target has beyond the source is filled with zeros. A copy dies with the process, and leaves nothing that knows of it: the
 * target must carry a mark of its own until the end was told.
 *
 * Threads: any, all functions. Ownership: everything is borrowed for the call. */
#ifndef SATELLITE_PROVIDER_COPIES_H
#define SATELLITE_PROVIDER_COPIES_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/base/err.h"

#define COPIES_AT_ONCE 4
#define COPY_CHUNK ((uint64_t)1 << 20)

/* How a copy failed. */
struct copy_fault {
        int number; /* errno, positive */
        bool reading;
        uint64_t at; /* byte */
};

/* bytes: of the source. whose: a name for it, or NULL. 0: the target is whole and flushed. E_PENDING. E_BUSY: it has not begun, for as many as
 * may be are under way. E_CANCELED: none are made any more. E_STORAGE: it failed, ret_fault says how; asking again begins anew. */
int copies_ask(const char *whose, const char *from, const char *to, uint64_t bytes,
        struct copy_fault *ret_fault) MUST_USE;
/* The same of one that has begun, by its name. E_NOT_FOUND: there is none. */
int copies_result(const char *whose, struct copy_fault *ret_fault) MUST_USE;
/* Stops the one that has this name, or reads or writes this path, and forgets how it ended. *ret_any: there was one. E_BUSY: it does not stop,
 * because a disk does not answer; it will when that does. */
int copies_stop(const char *what, bool *ret_any) MUST_USE;
/* Are as many under way as may be? */
bool copies_full(void);
/* Grows with each copy that ends: those who were told E_PENDING may ask again. */
unsigned copies_ended(void);
/* From now on none is begun; those that run stop. copies_close() waits for them, and forgets all. */
void copies_open(void);
void copies_stop_all(void);
void copies_close(void);

#endif
