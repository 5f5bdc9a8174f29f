/* The applied state as a stream of chunks, for a member that is too far behind the log.
 *
 * The stream: a header record, then every pair of the state in key order (the applied state's own rows among
 * them, so that index and hash travel with what they describe), then a trailer with the number of pairs and
 * the BLAKE2b of all that went before. Chunks are cut between records; each is checked when it arrives, the
 * whole at the trailer. Record: u32 key size, u32 value size (big-endian), key, value. Header and trailer
 * have key size 0.
 *
 * Threads: reader and parser belong to one thread each at a time. */
#ifndef RAFTCTL_SNAPSHOT_H
#define RAFTCTL_SNAPSHOT_H

#include <sodium.h>

#include "raftctl/store.h"

#define SNAPSHOT_CHUNK_BYTES ((size_t)256 << 10)

/* ---- sending ---- */
struct snapshot_reader {
        struct store *store;
        struct tx *tx;
        struct applied applied;       /* of the view that is being sent */
        struct snapshot_meta meta;    /* as given to snapshot_open; conf is a copy */
        uint8_t last[TX_KEY_MAX + 1]; /* where to go on */
        size_t last_n;
        uint64_t pairs_n;
        bool started, finished;
        bool log_only; /* for a witness: of the state only what raftctl/log_only.h says */
        crypto_generichash_state hash;
};
/* Opens a view of the applied state. conf and conf_index: the configuration in force at the applied index,
 * from the driver (borrowed, copied). E_NOT_FOUND when nothing was applied yet. After a failure nothing needs
 * closing. */
int snapshot_open(struct snapshot_reader *r, struct store *s, uint64_t conf_index, struct blob conf) MUST_USE;
/* Replaces the content of out by the next chunk, SNAPSHOT_CHUNK_BYTES or a little more. *ret_last: that was
 * the end. E_NOT_FOUND after the end. */
int snapshot_next(struct snapshot_reader *r, struct buf *out, bool *ret_last) MUST_USE;
void snapshot_close(struct snapshot_reader *r);

/* ---- receiving ---- */
struct snapshot_parser {
        uint64_t pairs_n;
        uint8_t last[TX_KEY_MAX];
        size_t last_n;
        bool started, finished;
        crypto_generichash_state hash;
};
typedef int snapshot_pair_fn(void *arg, struct blob key, struct blob value);
void snapshot_parser_init(struct snapshot_parser *p);
/* Takes one chunk, calls fn for each pair in strictly ascending key order. E_CORRUPT (structure, order, hash,
 * data after the end), E_FORMAT (another version), or what fn returned. After an error start again from the
 * beginning. */
int snapshot_parse(struct snapshot_parser *p, struct blob chunk, snapshot_pair_fn *fn, void *arg) MUST_USE;

#endif
