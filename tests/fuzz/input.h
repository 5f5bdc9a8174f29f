/* Takes a fuzz input apart into numbers, byte ranges and strings; when it is used up there are zeros and
 * empty ranges.
 *
 * Threads: one. Ownership: ranges point into the input. */
#ifndef TESTS_FUZZ_INPUT_H
#define TESTS_FUZZ_INPUT_H

#include "tests/fuzz/fuzz.h"
#include "wire/base/mem.h"

struct input {
        const uint8_t *p;
        size_t n;
};

/* width_bytes bytes, big-endian */
static inline uint64_t input_be(struct input *in, unsigned width_bytes)
{
        uint64_t v = 0;
        for (unsigned i = 0; i < width_bytes; i++) {
                v = v << 8 | (in->n > 0 ? in->p[0] : 0);
                if (in->n > 0) {
                        in->p++;
                        in->n--;
                }
        }
        return v;
}
static inline unsigned input_u8(struct input *in) { return (unsigned)input_be(in, 1); }
/* 0 .. n-1; n at most 256 */
static inline unsigned input_below(struct input *in, unsigned n) { return input_u8(in) % n; }

/* The next n bytes, or what is left. */
static inline struct blob input_take(struct input *in, size_t n)
{
        struct blob b = BLOB(in->p, n < in->n ? n : in->n);
        in->p += b.n;
        in->n -= b.n;
        return b;
}
/* Two bytes of length, then that many. */
static inline struct blob input_blob(struct input *in) { return input_take(in, (size_t)input_be(in, 2)); }
/* A byte of length, then that many up to a NUL, as a string in the arena. */
static inline const char *input_str(struct input *in, struct arena *a)
{
        struct blob b = input_take(in, input_u8(in));
        return arena_strndup(a, b.n > 0 ? (const char *)b.p : "", b.n);
}

#endif
