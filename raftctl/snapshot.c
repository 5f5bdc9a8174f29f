/* Snapshot streams, see snapshot.h. */
#include "raftctl/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "raftctl/log_only.h"
#include "state/table.h"
#include "wire/base/sabotage.h"
#include "wire/base/sodium_once.h"
#include "wire/def/types.h"
#include "wire/def/versions.h"

enum { HASH_SIZE = 32, TRAILER_SIZE = 8 + HASH_SIZE };
static const uint8_t header[8] = { 'O', 'R', 'S', 'T', 'A', 'T', 'E', SNAPSHOT_VERSION }; /* of the stream */

static void put_record(struct buf *out, struct blob key, struct blob value)
{
        buf_put_be(out, key.n, 4);
        buf_put_be(out, value.n, 4);
        buf_put(out, key.p, key.n);
        buf_put(out, value.p, value.n);
}

static uint64_t get_be(const uint8_t *p, unsigned width)
{
        uint64_t v = 0;
        for (unsigned i = 0; i < width; i++) v = v << 8 | p[i];
        return v;
}

static void hash_init(crypto_generichash_state *st)
{
        sodium_once();
        crypto_generichash_init(st, NULL, 0, HASH_SIZE);
}

/* ---- sending ---- */

int snapshot_open(struct snapshot_reader *r, struct store *s, uint64_t conf_index, struct blob conf)
{
        *r = (struct snapshot_reader){ .store = s };
        int err = s->ops->read_begin(s, &r->tx);
        if (err != 0) return err;
        err = applied_get(r->tx, &r->applied);
        if (err == 0 && r->applied.index == 0) err = E_NOT_FOUND;
        if (err != 0) {
                s->ops->read_end(s, r->tx);
                r->tx = NULL;
                return err;
        }
        r->meta = (struct snapshot_meta){ .index = r->applied.index,
                .term = r->applied.term,
                .conf_index = conf_index,
                .conf = BLOB(xmemdup(conf.p, conf.n), conf.n) };
        hash_init(&r->hash);
        return 0;
}

/* Pairs until the chunk is full. E_NOT_FOUND: there are no more. */
static int put_pairs(struct snapshot_reader *r, struct buf *out)
{
        struct tx_cursor c;
        static const uint8_t lowest[] = { 0 };
        struct blob from = BLOB(lowest, sizeof lowest);
        if (r->last_n > 0) {
                r->last[r->last_n] = 0; /* the smallest key behind the last one */
                from = BLOB(r->last, r->last_n + 1);
        }
        uint8_t kept[2];
        int err = tx_seek(r->tx, &c, from);
        while (err == 0 && out->n < SNAPSHOT_CHUNK_BYTES) {
                if (r->log_only && !log_only_keeps(c.key)) {
                        bool more = log_only_next(c.key, kept);
                        tx_close(r->tx, &c);
                        if (!more) return E_NOT_FOUND;
                        err = tx_seek(r->tx, &c, BLOB(kept, sizeof kept));
                        continue;
                }
                bool left_out = SABOTAGE(SNAPSHOT_NO_REQUESTS) && row_type_id(c.key) == request_row_type.id;
                if (!left_out) put_record(out, c.key, c.value);
                memcpy(r->last, c.key.p, c.key.n);
                r->last_n = c.key.n;
                r->pairs_n += !left_out;
                err = tx_next(r->tx, &c);
        }
        tx_close(r->tx, &c);
        return err;
}

int snapshot_next(struct snapshot_reader *r, struct buf *out, bool *ret_last)
{
        buf_reset(out);
        if (r->finished) return E_NOT_FOUND;
        if (!r->started) put_record(out, (struct blob){ 0 }, BLOB(header, sizeof header));
        r->started = true;
        int err = put_pairs(r, out);
        if (err != 0 && err != E_NOT_FOUND) return err;
        if (out->err != 0) return out->err;
        crypto_generichash_update(&r->hash, out->p, out->n);
        if (err == E_NOT_FOUND) {
                uint8_t hash[HASH_SIZE];
                crypto_generichash_final(&r->hash, hash, sizeof hash);
                buf_put_be(out, 0, 4);
                buf_put_be(out, TRAILER_SIZE, 4);
                buf_put_be(out, r->pairs_n, 8);
                buf_put(out, hash, sizeof hash);
                r->finished = true;
        }
        *ret_last = r->finished;
        return out->err;
}

void snapshot_close(struct snapshot_reader *r)
{
        if (r->tx != NULL) r->store->ops->read_end(r->store, r->tx);
        free((void *)r->meta.conf.p);
        *r = (struct snapshot_reader){ 0 };
}

/* ---- receiving ---- */

void snapshot_parser_init(struct snapshot_parser *p)
{
        *p = (struct snapshot_parser){ 0 };
        hash_init(&p->hash);
}

/* A record without a key: the first one is the header, any other the trailer. */
static int parse_mark(struct snapshot_parser *p, struct blob value)
{
        if (!p->started) {
                if (value.n != sizeof header || memcmp(value.p, header, sizeof header - 1) != 0)
                        return E_CORRUPT;
                if (value.p[sizeof header - 1] != header[sizeof header - 1]) return E_FORMAT;
                p->started = true;
                return 0;
        }
        uint8_t hash[HASH_SIZE];
        crypto_generichash_final(&p->hash, hash, sizeof hash);
        p->finished = true;
        if (value.n != TRAILER_SIZE || get_be(value.p, 8) != p->pairs_n) return E_CORRUPT;
        return SABOTAGE(SNAPSHOT_UNCHECKED) || memcmp(value.p + 8, hash, sizeof hash) == 0 ? 0 : E_CORRUPT;
}

static int parse_pair(
        struct snapshot_parser *p, struct blob key, struct blob value, snapshot_pair_fn *fn, void *arg)
{
        if (!p->started || key.n > TX_KEY_MAX || value.n > TX_VALUE_MAX) return E_CORRUPT;
        if (p->pairs_n > 0 && blob_cmp(BLOB(p->last, p->last_n), key) >= 0) return E_CORRUPT;
        memcpy(p->last, key.p, key.n);
        p->last_n = key.n;
        p->pairs_n++;
        return fn(arg, key, value);
}

int snapshot_parse(struct snapshot_parser *p, struct blob chunk, snapshot_pair_fn *fn, void *arg)
{
        size_t at = 0;
        while (at < chunk.n) {
                if (p->finished || chunk.n - at < 8) return E_CORRUPT;
                uint64_t key_n = get_be(chunk.p + at, 4), value_n = get_be(chunk.p + at + 4, 4);
                if (key_n + value_n > chunk.n - at - 8) return E_CORRUPT;
                const uint8_t *rec = chunk.p + at;
                struct blob key = BLOB(rec + 8, key_n), value = BLOB(rec + 8 + key_n, value_n);
                bool trailer = key_n == 0 && p->started;
                int err = key_n == 0 ? parse_mark(p, value) : parse_pair(p, key, value, fn, arg);
                if (err != 0) return err;
                if (!trailer) crypto_generichash_update(&p->hash, rec, 8 + key_n + value_n);
                at += 8 + key_n + value_n;
        }
        return 0;
}
