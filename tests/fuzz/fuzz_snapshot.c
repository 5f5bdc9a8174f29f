/* Snapshot streams: chunks as they come, or pairs made into a stream that is cut anywhere and perhaps
 * damaged. Pairs come out in ascending order; a stream ends well only when it is whole. */
#include <string.h>

#include "raftctl/snapshot.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/stream.h"

struct taken {
        struct buf keys; /* key after key, each with its length, then the value likewise */
        uint8_t last[TX_KEY_MAX];
        size_t last_n, pairs;
        size_t fail_at; /* 0 = never */
};

static void put(struct buf *out, struct blob b)
{
        buf_put_be(out, b.n, 4);
        buf_put(out, b.p, b.n);
}

static int on_pair(void *arg, struct blob key, struct blob value)
{
        struct taken *t = arg;
        FUZZ_CHECK(key.n > 0 && key.n <= TX_KEY_MAX && value.n <= TX_VALUE_MAX);
        FUZZ_CHECK(t->pairs == 0 || blob_cmp(BLOB(t->last, t->last_n), key) < 0);
        memcpy(t->last, key.p, key.n);
        t->last_n = key.n;
        t->pairs++;
        put(&t->keys, key);
        put(&t->keys, value);
        return t->pairs == t->fail_at ? E_STORAGE : 0;
}

static void raw(struct input *in)
{
        struct taken t = { .fail_at = input_u8(in) };
        struct snapshot_parser p;
        int err = 0;
        snapshot_parser_init(&p);
        while (err == 0 && in->n > 0) err = snapshot_parse(&p, input_blob(in), on_pair, &t);
        FUZZ_CHECK(err == 0 || err == E_CORRUPT || err == E_FORMAT || err == E_STORAGE);
        FUZZ_CHECK((err == E_STORAGE) == (t.fail_at != 0 && t.pairs >= t.fail_at));
        FUZZ_CHECK(!p.finished || err != 0 || t.pairs == p.pairs_n);
        buf_done(&t.keys);
}

/* Ascending pairs of the input as a whole stream; *ret_cut[i]: where records end. */
static uint64_t build(
        struct input *in, struct buf *stream, struct buf *want, size_t cuts[64], unsigned *ret_cuts)
{
        uint64_t pairs = 0;
        struct blob last = { 0 };
        stream_begin(stream);
        *ret_cuts = 0;
        while (in->n > 0 && *ret_cuts < 62) {
                struct blob key = input_take(in, 1 + input_below(in, 40)),
                            value = input_take(in, input_u8(in));
                if (key.n == 0 || (pairs > 0 && blob_cmp(last, key) >= 0)) continue;
                cuts[(*ret_cuts)++] = stream->n;
                stream_pair(stream, key, value);
                put(want, key);
                put(want, value);
                last = key;
                pairs++;
        }
        cuts[(*ret_cuts)++] = stream->n;
        stream_end(stream, pairs);
        return pairs;
}

static void whole(struct input *in)
{
        struct taken t = { 0 };
        struct buf stream = { 0 }, want = { 0 };
        size_t cuts[64], at = 0;
        unsigned n_cuts, damage = (unsigned)input_be(in, 2), every = 1 + input_below(in, 8);
        bool damaged = (damage & 1) != 0;
        struct snapshot_parser p;
        int err = 0;
        uint64_t pairs = build(in, &stream, &want, cuts, &n_cuts);
        if (damaged) stream.p[(damage >> 1) % stream.n] ^= (uint8_t)(1u << every % 8);
        snapshot_parser_init(&p);
        for (unsigned i = 0; i < n_cuts && err == 0; i++) {
                if (i % every != 0) continue;
                err = snapshot_parse(&p, BLOB(stream.p + at, cuts[i] - at), on_pair, &t);
                FUZZ_CHECK(err != 0 || !p.finished);
                at = cuts[i];
        }
        if (err == 0) err = snapshot_parse(&p, BLOB(stream.p + at, stream.n - at), on_pair, &t);
        if (damaged) {
                FUZZ_CHECK(err != 0 || !p.finished);
        } else {
                FUZZ_CHECK(err == 0 && p.finished && t.pairs == pairs);
                FUZZ_CHECK(blob_cmp(buf_blob(&t.keys), buf_blob(&want)) == 0);
                FUZZ_CHECK(snapshot_parse(&p, BLOB("\0", 1), on_pair, &t) == E_CORRUPT);
        }
        buf_done(&stream);
        buf_done(&want);
        buf_done(&t.keys);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct input in = { data, size };
        if (input_below(&in, 2) == 0) raw(&in);
        else whole(&in);
        return 0;
}
