/* What one Raft command entry holds: the rows that an evaluated batch puts and deletes, and the index that it
 * was evaluated on. Followers need none of the business logic; two versions can sit in one cluster.
 *
 * Format (canonical msgpack of type writeset, wire/def/obj_state.def): version, base_index, changes in key
 * order. */
#ifndef STATE_WRITESET_H
#define STATE_WRITESET_H

#include "state/overlay.h"
#include "wire/base/buf.h"
#include "wire/def/versions.h"

/* Keys that begin with these two bytes (below every type id) are the store's own: the applied state. They
 * travel in snapshots, never in a write-set. */
#define STATE_META_PREFIX "\0\0"

/* Appends the encoded changes of the overlay. base_index: index of the last write-set entry below (0 = none).
 * 0, the overlay's sticky error, E_LIMIT, E_INVALID (a change of a meta key). */
int writeset_encode(struct overlay *o, uint64_t base_index, struct buf *out);

/* State after an apply; lives in the same transaction as the rows (meta keys, state/apply.c). */
struct applied {
        uint64_t index;          /* last Raft entry applied, of any kind */
        uint64_t term;           /* its term */
        uint64_t writeset_index; /* last entry whose write-set took effect: the base of the next one */
        uint8_t hash[32]; /* chained over each write-set that took effect: BLAKE2b(hash || entry bytes) */
};
/* Reads the applied state (zero when empty). */
int applied_get(struct tx *tx, struct applied *ret);
int applied_put(struct tx *tx, const struct applied *ap);

enum apply_result {
        APPLY_DONE,
        APPLY_REFUSED, /* another write-set came between base_index and this one: nothing was changed, on no
                          member */
};
/* Applies one committed entry: rows, applied state and hash, in the caller's write transaction. Entries at or
 * below the applied index are skipped (APPLY_DONE). data is empty for entries that are not commands
 * (barriers, changes). A negative return is E_FORMAT (a newer version's entry: the member must halt),
 * E_CORRUPT (no write-set at all), E_INVALID (index leaves a hole) or a storage error; the transaction must
 * then be dropped. */
int writeset_apply(
        struct tx *tx, uint64_t index, uint64_t term, struct blob data, enum apply_result *ret_result);
/* The same for a member that keeps some rows only: those whose key keep() says true of. NULL = all. Index, term and
 * hash are the same. */
typedef bool writeset_keep_fn(struct blob key);
int writeset_apply_some(struct tx *tx, uint64_t index, uint64_t term, struct blob data,
        writeset_keep_fn *keep, enum apply_result *ret_result);
/* Loads the changes of an encoded write-set into an empty overlay layer. E_FORMAT, E_CORRUPT, E_LIMIT. */
int writeset_load(struct overlay *o, struct blob data, uint64_t *ret_base_index);

#endif
