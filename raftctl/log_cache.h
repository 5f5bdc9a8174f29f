/* The tail of the log in memory: every entry that is not durable or not applied yet, and as many older ones
 * as fit the limit, so that followers that keep up never cost a read from disk.
 *
 * Ownership: entries are counted; the cache holds one reference, a store job in flight another. Threads: one.
 */
#ifndef RAFTCTL_LOG_CACHE_H
#define RAFTCTL_LOG_CACHE_H

#include "raftctl/store.h"

#define LOG_CACHE_BYTES ((size_t)4 << 20)

struct entry {
        uint32_t refs;
        uint8_t type; /* enum log_entry_type */
        uint64_t index, term;
        size_t n;
        uint8_t data[];
};
struct entry *entry_new(uint64_t index, uint64_t term, uint8_t type, struct blob data);
struct entry *entry_ref(struct entry *e);
void entry_unref(struct entry *e); /* NULL is fine */

struct log_cache {
        struct entry **slots; /* index modulo cap */
        uint64_t cap;         /* power of two */
        uint64_t first, last; /* last + 1 == first when empty */
        size_t bytes;
};
/* Zero-initialised, then reset, is a valid empty cache. */
void log_cache_reset(struct log_cache *c, uint64_t next_index);
void log_cache_done(struct log_cache *c);
/* Takes the reference; e->index is last + 1. */
void log_cache_append(struct log_cache *c, struct entry *e);
/* Drops from and everything above. */
void log_cache_truncate(struct log_cache *c, uint64_t from);
/* Drops the oldest entries at and below upto while more than limit_bytes are held. */
void log_cache_evict(struct log_cache *c, uint64_t upto, size_t limit_bytes);
/* NULL when not held. Borrowed. */
struct entry *log_cache_get(const struct log_cache *c, uint64_t index);

#endif
