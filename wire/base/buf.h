/* Growable byte buffer with a sticky error: writers are straight lines, the caller checks `err` once at the end. */
#ifndef WIRE_BASE_BUF_H
#define WIRE_BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

#include "wire/base/mem.h"

/* Zero-initialised is a valid empty buffer. */
struct buf {
        uint8_t *p;
        size_t n;           /* bytes used */
        size_t cap;         /* bytes allocated */
        size_t limit_bytes; /* 0 = unlimited; passing it sets err = E_TOO_LARGE */
        int err;            /* 0 or a negative error (wire/base/err.h); sticky */
};

void buf_done(struct buf *b);
void buf_reset(struct buf *b); /* n = 0, err = 0, memory kept */
/* Moves the bytes out (to be released with free()); the buffer is empty afterwards. */
uint8_t *buf_take(struct buf *b, size_t *ret_n);
void buf_put(struct buf *b, const void *p, size_t n);
void buf_put_u8(struct buf *b, unsigned v);
void buf_put_be(struct buf *b, uint64_t v, unsigned width_bytes);
void buf_put_str(struct buf *b, const char *s); /* without the terminating NUL */
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Room for n more bytes at the returned address, NULL on error; call buf_advance with what was used. */
uint8_t *buf_reserve(struct buf *b, size_t n);
void buf_advance(struct buf *b, size_t n);
/* A NUL-terminated view (the NUL is not counted in n). Valid until the next write. */
const char *buf_cstr(struct buf *b);
static inline struct blob buf_blob(const struct buf *b) { return (struct blob){ b->p, b->n }; }

#endif
