/* Growable byte buffer, see buf.h. Grows by doubling; never beyond limit_bytes. */
#include "wire/base/buf.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/base/err.h"

enum { BUF_MIN = 64 };

void buf_done(struct buf *b)
{
        free(b->p);
        *b = (struct buf){ .limit_bytes = b->limit_bytes };
}

void buf_reset(struct buf *b)
{
        b->n = 0;
        b->err = 0;
}

uint8_t *buf_take(struct buf *b, size_t *ret_n)
{
        uint8_t *p = b->p;
        if (ret_n != NULL) *ret_n = b->n;
        *b = (struct buf){ .limit_bytes = b->limit_bytes };
        return p;
}

/* Makes room for n more bytes. The limit is the caller's matter: terminating NULs do not count. */
static bool grow(struct buf *b, size_t n)
{
        size_t need;
        if (__builtin_add_overflow(b->n, n, &need) || need > SIZE_MAX / 2) {
                b->err = E_TOO_LARGE;
                return false;
        }
        size_t cap = b->cap != 0 ? b->cap : BUF_MIN;
        while (cap < need) cap *= 2;
        if (cap == b->cap) return true;
        uint8_t *p = realloc(b->p, cap);
        if (p == NULL) {
                b->err = -ENOMEM;
                return false;
        }
        b->p = p;
        b->cap = cap;
        return true;
}

uint8_t *buf_reserve(struct buf *b, size_t n)
{
        if (b->err != 0) return NULL;
        if (b->limit_bytes != 0 && (b->n > b->limit_bytes || n > b->limit_bytes - b->n)) {
                b->err = E_TOO_LARGE;
                return NULL;
        }
        if ((b->p == NULL || n > b->cap - b->n) && !grow(b, n)) return NULL;
        return b->p + b->n;
}

void buf_advance(struct buf *b, size_t n)
{
        assert(n <= b->cap - b->n);
        b->n += n;
}

void buf_put(struct buf *b, const void *p, size_t n)
{
        if (n == 0) return;
        uint8_t *q = buf_reserve(b, n);
        if (q == NULL) return;
        memcpy(q, p, n);
        b->n += n;
}

void buf_put_u8(struct buf *b, unsigned v)
{
        uint8_t c = (uint8_t)v;
        buf_put(b, &c, 1);
}

void buf_put_be(struct buf *b, uint64_t v, unsigned width_bytes)
{
        uint8_t c[8];
        assert(width_bytes <= sizeof c);
        for (unsigned i = 0; i < width_bytes; i++) c[i] = (uint8_t)(v >> (8 * (width_bytes - 1 - i)));
        buf_put(b, c, width_bytes);
}

void buf_put_str(struct buf *b, const char *s) { buf_put(b, s, strlen(s)); }

void buf_printf(struct buf *b, const char *fmt, ...)
{
        va_list ap, again;
        va_start(ap, fmt);
        va_copy(again, ap);
        int n = vsnprintf(NULL, 0, fmt, ap);
        va_end(ap);
        if (n < 0) {
                if (b->err == 0) b->err = E_INVALID;
        } else if (buf_reserve(b, (size_t)n) != NULL &&
                   (b->cap - b->n > (size_t)n || grow(b, (size_t)n + 1))) {
                /* one byte more than reserved: vsnprintf writes its NUL there */
                (void)vsnprintf((char *)b->p + b->n, (size_t)n + 1, fmt, again);
                b->n += (size_t)n;
        }
        va_end(again);
}

const char *buf_cstr(struct buf *b)
{
        if (b->p == NULL || b->n == b->cap) {
                int err = b->err;
                if (!grow(b, 1)) return "";
                b->err = err;
        }
        b->p[b->n] = '\0';
        return (const char *)b->p;
}
