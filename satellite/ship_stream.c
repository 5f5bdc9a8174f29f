#include "satellite/ship_stream.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAGIC "ORSHIP1\n"

struct out {
        ship_put_fn *put;
        void *arg;
        crypto_generichash_state hash;
};

static void put_be(uint8_t *p, uint64_t v, unsigned n)
{
        for (unsigned i = 0; i < n; i++) p[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
}

static uint64_t get_be(const uint8_t *p, unsigned n)
{
        uint64_t v = 0;
        for (unsigned i = 0; i < n; i++) v = v << 8 | p[i];
        return v;
}

static int emit(struct out *o, const void *data, size_t n)
{
        crypto_generichash_update(&o->hash, data, n);
        return o->put(o->arg, data, n);
}

static int emit_run(struct out *o, uint64_t offset, const uint8_t *data, size_t n)
{
        uint8_t head[SHIP_RECORD];
        put_be(head, offset, 8);
        put_be(head + 8, n, 4);
        int err = emit(o, head, sizeof head);
        return err != 0 ? err : emit(o, data, n);
}

static int read_run(int fd, uint8_t *p, size_t n, uint64_t at)
{
        while (n > 0) {
                ssize_t got = pread(fd, p, n, (off_t)at);
                if (got < 0 && errno == EINTR) continue;
                if (got <= 0) return got < 0 ? -errno : E_TRUNCATED;
                p += got;
                at += (uint64_t)got;
                n -= (size_t)got;
        }
        return 0;
}

/* The next run of data from `at` on; *ret_end = at: there is none. */
static int next_data(int fd, uint64_t at, uint64_t size, uint64_t *ret_begin, uint64_t *ret_end)
{
        off_t begin = lseek(fd, (off_t)at, SEEK_DATA);
        *ret_begin = *ret_end = at;
        if (begin < 0 && errno == ENXIO) return 0;
        if (begin < 0 && errno != EINVAL) return -errno;
        if (begin < 0) begin = (off_t)at; /* a file system that does not know holes */
        if ((uint64_t)begin >= size) return 0;
        off_t end = lseek(fd, begin, SEEK_HOLE);
        *ret_begin = (uint64_t)begin;
        *ret_end = end < 0 ? size : MIN((uint64_t)end, size);
        return 0;
}

static int emit_data(struct out *o, int fd, uint8_t *p, uint64_t begin, uint64_t end)
{
        int err = 0;
        while (begin < end && err == 0) {
                size_t n = (size_t)MIN(end - begin, (uint64_t)SHIP_RUN_MAX);
                err = read_run(fd, p, n, begin);
                if (err == 0 && !sodium_is_zero(p, n)) err = emit_run(o, begin, p, n);
                begin += n;
        }
        return err;
}

int ship_stream_write(int fd, uint64_t size_bytes, ship_put_fn *put, void *arg)
{
        struct out o = { .put = put, .arg = arg };
        uint8_t head[SHIP_HEAD], end[SHIP_RECORD + SHIP_HASH], *p = malloc(SHIP_RUN_MAX);
        uint64_t at = 0, to = 1;
        if (p == NULL) return E_LIMIT;
        crypto_generichash_init(&o.hash, NULL, 0, SHIP_HASH);
        memcpy(head, MAGIC, 8);
        put_be(head + 8, size_bytes, 8);
        int err = emit(&o, head, sizeof head);
        while (err == 0 && at < size_bytes) {
                err = next_data(fd, at, size_bytes, &at, &to);
                if (err != 0 || to == at) break;
                err = emit_data(&o, fd, p, at, to);
                at = to;
        }
        free(p);
        if (err != 0) return err;
        put_be(end, UINT64_MAX, 8);
        put_be(end + 8, SHIP_HASH, 4);
        crypto_generichash_final(&o.hash, end + SHIP_RECORD, SHIP_HASH);
        return put(arg, end, sizeof end);
}

uint64_t ship_stream_max(uint64_t size_bytes)
{
        /* A run for each 4 KiB at worst, as file systems make holes. */
        return SHIP_HEAD + SHIP_RECORD + SHIP_HASH + size_bytes + (size_bytes / 4096 + 1) * SHIP_RECORD;
}

/* ---- receiving ---- */

void ship_in_open(struct ship_in *in, int fd, uint64_t size_bytes)
{
        *in = (struct ship_in){ .fd = fd, .size_bytes = size_bytes };
        crypto_generichash_init(&in->hash, NULL, 0, SHIP_HASH);
}

static int write_run(int fd, const uint8_t *p, size_t n, uint64_t at)
{
        while (n > 0) {
                ssize_t done = pwrite(fd, p, n, (off_t)at);
                if (done < 0 && errno == EINTR) continue;
                if (done < 0) return -errno;
                p += done;
                at += (uint64_t)done;
                n -= (size_t)done;
        }
        return 0;
}

/* Takes the first record of p. *ret_used 0: it is not whole yet. */
static int take(struct ship_in *in, const uint8_t *p, size_t n, size_t *ret_used)
{
        uint8_t hash[SHIP_HASH];
        *ret_used = 0;
        if (!in->headed) {
                if (n < SHIP_HEAD) return 0;
                if (memcmp(p, MAGIC, 8) != 0 || get_be(p + 8, 8) != in->size_bytes) return E_CORRUPT;
                in->headed = true;
                crypto_generichash_update(&in->hash, p, *ret_used = SHIP_HEAD);
                return 0;
        }
        if (in->ended) return E_CORRUPT;
        if (n < SHIP_RECORD) return 0;
        uint64_t offset = get_be(p, 8), length = get_be(p + 8, 4);
        bool end = offset == UINT64_MAX;
        if (end ? length != SHIP_HASH : length == 0 || length > SHIP_RUN_MAX) return E_CORRUPT;
        if (!end && (offset < in->next || offset > in->size_bytes || length > in->size_bytes - offset))
                return E_CORRUPT;
        if (n < SHIP_RECORD + length) return 0;
        *ret_used = SHIP_RECORD + (size_t)length;
        if (end) {
                crypto_generichash_final(&in->hash, hash, sizeof hash);
                in->ended = true;
                return sodium_memcmp(hash, p + SHIP_RECORD, sizeof hash) == 0 ? 0 : E_CORRUPT;
        }
        crypto_generichash_update(&in->hash, p, *ret_used);
        in->next = offset + length;
        return write_run(in->fd, p + SHIP_RECORD, (size_t)length, offset);
}

int ship_in_feed(struct ship_in *in, const void *data, size_t n)
{
        buf_put(&in->pending, data, n);
        if (in->pending.err != 0) return in->pending.err;
        size_t at = 0, used = 1;
        int err = 0;
        while (err == 0 && used > 0 && at < in->pending.n) {
                err = take(in, in->pending.p + at, in->pending.n - at, &used);
                at += used;
        }
        memmove(in->pending.p, in->pending.p + at, in->pending.n - at);
        in->pending.n -= at;
        return err;
}

int ship_in_close(struct ship_in *in)
{
        bool whole = in->ended && in->pending.n == 0;
        buf_done(&in->pending);
        return whole ? 0 : E_TRUNCATED;
}
