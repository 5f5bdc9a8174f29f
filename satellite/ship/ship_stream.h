/* The content of one volume as a stream, sparse: what is a hole, or zeros, is left out.
 *
 *   head     8 bytes "ORSHIP1\n", then the size in bytes (64 bits, big-endian like all numbers here)
 *   data     offset (64), length (32, 1 .. SHIP_RUN_MAX), then so many bytes; offsets ascend, nothing overlaps or passes the size
 *   end      offset = all ones (64), 32 (32), BLAKE2b-256 of everything before this record
 *
 * What has changed since another snapshot (the base) is a stream of its own, a difference: "ORSHIP2\n" in its head, and besides data
 *
 *   zeros    offset (64), length with the highest bit set (32): so many bytes are zero now, and were not
 *
 * Anything else is damage. Whoever receives writes into an empty (all zero) image; a difference, into what its base holds.
 *
 * Threads: any, one per stream. Ownership: descriptors and sinks are the caller's. */
#ifndef SATELLITE_SHIP_SHIP_STREAM_H
#define SATELLITE_SHIP_SHIP_STREAM_H

#include <sodium.h>
#include <stdbool.h>

#include "wire/base/buf.h"
#include "wire/base/err.h"

#define SHIP_RUN_MAX (1u << 20)
#define SHIP_HEAD 16u
#define SHIP_RECORD 12u
#define SHIP_HASH 32u

/* Takes the next bytes of the stream; what it returns other than 0 ends it. */
typedef int ship_put_fn(void *arg, const void *data, size_t n);
/* Writes the stream of the first size_bytes of fd. 0, an error of put, or -errno. */
int ship_stream_write(int fd, uint64_t size_bytes, ship_put_fn *put, void *arg) MUST_USE;
/* The difference to the first size_bytes of base: both are read where either of them has data. */
int ship_stream_diff(int fd, int base, uint64_t size_bytes, ship_put_fn *put, void *arg) MUST_USE;
/* The most that a stream of so many bytes takes. */
uint64_t ship_stream_max(uint64_t size_bytes);

struct ship_in {
        int fd;
        uint64_t size_bytes, next; /* next: offsets begin there at least */
        struct buf pending;        /* what is no whole record yet */
        bool differs;              /* it must be a difference; else it must be none */
        bool headed, ended;
        crypto_generichash_state hash;
};
/* size_bytes: what the stream must say; differs: a difference to what fd holds. */
void ship_in_open(struct ship_in *in, int fd, uint64_t size_bytes, bool differs);
/* E_CORRUPT, or -errno of writing. */
int ship_in_feed(struct ship_in *in, const void *data, size_t n) MUST_USE;
/* 0 when the stream was whole. Frees, in any case. */
int ship_in_close(struct ship_in *in) MUST_USE;

#endif
