#include "satellite/ship/ship_stream.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAGIC "ORSHIP1\n"
#define MAGIC_DIFF "ORSHIP2\n"
#define ZEROS UINT32_C(0x80000000)
#define BLOCK 4096u /* what is compared at once */

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

/* Of n bytes the blocks that are not all zeros; those side by side become one record. */
static int emit_filled(struct out *o, uint64_t offset, const uint8_t *p, size_t n)
{
        size_t from = 0;
        int err = 0;
        for (size_t at = 0; at < n && err == 0; at += BLOCK) {
                if (!sodium_is_zero(p + at, MIN(n - at, (size_t)BLOCK))) continue;
                if (at > from) err = emit_run(o, offset + from, p + from, at - from);
                from = MIN(at + BLOCK, n);
        }
        return err != 0 || from == n ? err : emit_run(o, offset + from, p + from, n - from);
}

static int emit_data(struct out *o, int fd, uint8_t *p, uint64_t begin, uint64_t end)
{
        int err = 0;
        while (begin < end && err == 0) {
                size_t n = (size_t)MIN(end - begin, (uint64_t)SHIP_RUN_MAX);
                err = read_run(fd, p, n, begin);
                if (err == 0) err = emit_filled(o, begin, p, n);
                begin += n;
        }
        return err;
}

static int emit_head(struct out *o, const char *magic, uint64_t size_bytes)
{
        uint8_t head[SHIP_HEAD];
        crypto_generichash_init(&o->hash, NULL, 0, SHIP_HASH);
        memcpy(head, magic, 8);
        put_be(head + 8, size_bytes, 8);
        return emit(o, head, sizeof head);
}

static int emit_end(struct out *o)
{
        uint8_t end[SHIP_RECORD + SHIP_HASH];
        put_be(end, UINT64_MAX, 8);
        put_be(end + 8, SHIP_HASH, 4);
        crypto_generichash_final(&o->hash, end + SHIP_RECORD, SHIP_HASH);
        return o->put(o->arg, end, sizeof end);
}

int ship_stream_write(int fd, uint64_t size_bytes, ship_put_fn *put, void *arg)
{
        struct out o = { .put = put, .arg = arg };
        uint8_t *p = malloc(SHIP_RUN_MAX);
        uint64_t at = 0, to = 1;
        if (p == NULL) return E_LIMIT;
        int err = emit_head(&o, MAGIC, size_bytes);
        while (err == 0 && at < size_bytes) {
                err = next_data(fd, at, size_bytes, &at, &to);
                if (err != 0 || to == at) break;
                err = emit_data(&o, fd, p, at, to);
                at = to;
        }
        free(p);
        return err != 0 ? err : emit_end(&o);
}

/* ---- differences ---- */

enum block { SAME, DATA, ZERO };

static enum block compare(const uint8_t *now, const uint8_t *then, size_t n)
{
        if (memcmp(now, then, n) == 0) return SAME;
        return sodium_is_zero(now, n) ? ZERO : DATA;
}

static int emit_block(struct out *o, enum block kind, uint64_t offset, const uint8_t *p, size_t n)
{
        uint8_t record[SHIP_RECORD];
        if (n == 0 || kind == SAME) return 0;
        if (kind == DATA) return emit_run(o, offset, p, n);
        put_be(record, offset, 8);
        put_be(record + 8, ZEROS | n, 4);
        return emit(o, record, sizeof record);
}

/* n bytes at offset; blocks of one kind become one record. */
static int emit_changes(struct out *o, uint64_t offset, const uint8_t *now, const uint8_t *then, size_t n)
{
        size_t from = 0;
        enum block kind = SAME;
        int err = 0;
        for (size_t at = 0; at < n && err == 0; at += BLOCK) {
                enum block next = compare(now + at, then + at, MIN(n - at, (size_t)BLOCK));
                if (next == kind) continue;
                err = emit_block(o, kind, offset + from, now + from, at - from);
                from = at;
                kind = next;
        }
        return err != 0 ? err : emit_block(o, kind, offset + from, now + from, n - from);
}

/* The next part in which either has data, as far as that is of one piece in the one that begins. *ret_end = *ret_begin: none. */
static int next_of_both(int fd, int base, uint64_t at, uint64_t size, uint64_t *ret_begin, uint64_t *ret_end)
{
        uint64_t begin, end;
        int err = next_data(fd, at, size, ret_begin, ret_end);
        if (err == 0) err = next_data(base, at, size, &begin, &end);
        if (err != 0 || begin == end) return err;
        if (*ret_begin != *ret_end && *ret_begin <= begin) return 0;
        *ret_begin = begin;
        *ret_end = end;
        return 0;
}

int ship_stream_diff(int fd, int base, uint64_t size_bytes, ship_put_fn *put, void *arg)
{
        struct out o = { .put = put, .arg = arg };
        uint8_t *p = malloc(2 * (size_t)SHIP_RUN_MAX), *q = p + SHIP_RUN_MAX;
        uint64_t at = 0;
        if (p == NULL) return E_LIMIT;
        int err = emit_head(&o, MAGIC_DIFF, size_bytes);
        while (err == 0 && at < size_bytes) {
                uint64_t end;
                err = next_of_both(fd, base, at, size_bytes, &at, &end);
                if (err != 0 || end == at) break;
                while (at < end && err == 0) {
                        size_t n = (size_t)MIN(end - at, (uint64_t)SHIP_RUN_MAX);
                        err = read_run(fd, p, n, at);
                        if (err == 0) err = read_run(base, q, n, at);
                        if (err == 0) err = emit_changes(&o, at, p, q, n);
                        at += n;
                }
        }
        free(p);
        return err != 0 ? err : emit_end(&o);
}

uint64_t ship_stream_max(uint64_t size_bytes)
{
        /* A run for each 4 KiB at worst, as file systems make holes. */
        return SHIP_HEAD + SHIP_RECORD + SHIP_HASH + size_bytes + (size_bytes / 4096 + 1) * SHIP_RECORD;
}

/* ---- receiving ---- */

void ship_in_open(struct ship_in *in, int fd, uint64_t size_bytes, bool differs)
{
        *in = (struct ship_in){ .fd = fd, .size_bytes = size_bytes, .differs = differs };
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

/* What was there goes, as a hole where that can be. */
static int write_zeros(int fd, uint64_t n, uint64_t at)
{
        static const uint8_t zeros[65536];
        int err = 0;
        if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)n) == 0) return 0;
        while (n > 0 && err == 0) {
                size_t k = (size_t)MIN(n, (uint64_t)sizeof zeros);
                err = write_run(fd, zeros, k, at);
                at += k;
                n -= k;
        }
        return err;
}

static int take_head(struct ship_in *in, const uint8_t *p)
{
        const char *magic = in->differs ? MAGIC_DIFF : MAGIC;
        if (memcmp(p, magic, 8) != 0 || get_be(p + 8, 8) != in->size_bytes) return E_CORRUPT;
        in->headed = true;
        crypto_generichash_update(&in->hash, p, SHIP_HEAD);
        return 0;
}

/* Takes the first record of p. *ret_used 0: it is not whole yet. */
static int take(struct ship_in *in, const uint8_t *p, size_t n, size_t *ret_used)
{
        uint8_t hash[SHIP_HASH];
        *ret_used = 0;
        if (!in->headed) {
                if (n >= SHIP_HEAD) *ret_used = SHIP_HEAD;
                return n < SHIP_HEAD ? 0 : take_head(in, p);
        }
        if (in->ended) return E_CORRUPT;
        if (n < SHIP_RECORD) return 0;
        uint64_t offset = get_be(p, 8), length = get_be(p + 8, 4);
        bool end = offset == UINT64_MAX, zeros = !end && in->differs && (length & ZEROS) != 0;
        uint64_t bytes = zeros ? 0 : length; /* that follow */
        if (zeros) length &= ~(uint64_t)ZEROS;
        if (end ? length != SHIP_HASH : length == 0 || length > SHIP_RUN_MAX) return E_CORRUPT;
        if (!end && (offset < in->next || offset > in->size_bytes || length > in->size_bytes - offset))
                return E_CORRUPT;
        if (n < SHIP_RECORD + bytes) return 0;
        *ret_used = SHIP_RECORD + (size_t)bytes;
        if (end) {
                crypto_generichash_final(&in->hash, hash, sizeof hash);
                in->ended = true;
                return sodium_memcmp(hash, p + SHIP_RECORD, sizeof hash) == 0 ? 0 : E_CORRUPT;
        }
        crypto_generichash_update(&in->hash, p, *ret_used);
        in->next = offset + length;
        if (zeros) return write_zeros(in->fd, length, offset);
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
