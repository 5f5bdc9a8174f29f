/* Writes a snapshot stream (raftctl/snapshot.h) as a member would send it.
 *
 * Threads: one. Ownership: the caller's buf. */
#ifndef TESTS_FUZZ_STREAM_H
#define TESTS_FUZZ_STREAM_H

#include <sodium.h>

#include "wire/base/buf.h"

static inline void stream_pair(struct buf *out, struct blob key, struct blob value)
{
        buf_put_be(out, key.n, 4);
        buf_put_be(out, value.n, 4);
        buf_put(out, key.p, key.n);
        buf_put(out, value.p, value.n);
}
static inline void stream_begin(struct buf *out)
{
        static const uint8_t header[8] = { 'O', 'R', 'S', 'T', 'A', 'T', 'E', 1 };
        stream_pair(out, BLOB(NULL, 0), BLOB(header, sizeof header));
}
/* out holds the whole stream so far. */
static inline void stream_end(struct buf *out, uint64_t pairs)
{
        crypto_generichash_state st;
        uint8_t hash[32];
        crypto_generichash_init(&st, NULL, 0, sizeof hash);
        crypto_generichash_update(&st, out->p, out->n);
        crypto_generichash_final(&st, hash, sizeof hash);
        buf_put_be(out, 0, 4);
        buf_put_be(out, 8 + sizeof hash, 4);
        buf_put_be(out, pairs, 8);
        buf_put(out, hash, sizeof hash);
}

#endif
