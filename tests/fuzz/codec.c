/* Properties of the codec for any input, see codec.h. */
#include "tests/fuzz/codec.h"

#include <jansson.h>

#include "tests/lib/gen.h"

/* The bytes of o are taken by the strict decoder and come out again. */
static void check_stored(const struct type_desc *t, const void *o, struct arena *a)
{
        struct buf x = { 0 }, y = { 0 };
        struct fail why;
        void *back = arena_alloc(a, t->size);
        FUZZ_CHECK(enc_msgpack(t, o, &x) == 0);
        int err = dec_msgpack(t, buf_blob(&x), DEC_STRICT, a, back, &why);
        if (err != E_TOO_LARGE) { /* of the arena */
                FUZZ_CHECK(err == 0);
                FUZZ_CHECK(enc_msgpack(t, back, &y) == 0);
                FUZZ_CHECK(blob_cmp(buf_blob(&x), buf_blob(&y)) == 0);
                FUZZ_CHECK(obj_equal(t, o, back));
        }
        buf_done(&x);
        buf_done(&y);
}

static void check_is_json(const struct type_desc *t, const void *o, enum json_mode mode)
{
        struct buf x = { 0 };
        enc_json(t, o, mode, &x);
        FUZZ_CHECK(x.err == 0);
        json_t *v = json_loadb((const char *)x.p, x.n, JSON_DECODE_ANY, NULL);
        FUZZ_CHECK(v != NULL);
        json_decref(v);
        buf_done(&x);
}

/* What the API would answer is understood and answered alike. */
static void check_answer(const struct type_desc *t, const void *o, struct arena *a)
{
        struct buf x = { 0 }, y = { 0 };
        struct fail why;
        void *back = arena_alloc(a, t->size);
        enc_json(t, o, JSON_API, &x);
        int err = dec_json_reply(t, buf_blob(&x), a, back, &why);
        if (err != E_TOO_LARGE) {
                FUZZ_CHECK(err == 0);
                enc_json(t, back, JSON_API, &y);
                FUZZ_CHECK(blob_cmp(buf_blob(&x), buf_blob(&y)) == 0);
        }
        buf_done(&x);
        buf_done(&y);
}

void fuzz_msgpack(const uint8_t *data, size_t size, enum dec_mode mode)
{
        if (size < FUZZ_TYPE_BYTES) return;
        const struct type_desc *t = fuzz_type(data);
        struct blob in = BLOB(data + FUZZ_TYPE_BYTES, size - FUZZ_TYPE_BYTES);
        struct arena a, more = { 0 };
        struct fail why = { 0 };
        arena_init(&a, FUZZ_ARENA_BYTES);
        void *o = arena_alloc(&a, t->size);
        int err = dec_msgpack(t, in, mode, &a, o, &why);
        if (err == 0) {
                check_stored(t, o, &more);
                check_is_json(t, o, JSON_API);
                check_is_json(t, o, JSON_DUMP);
                void *copy = arena_alloc(&more, t->size);
                if (obj_copy(t, o, &more, copy) == 0) FUZZ_CHECK(obj_equal(t, o, copy));
        } else {
                FUZZ_CHECK(why.err == err && why.text[0] != '\0');
        }
        arena_done(&a);
        arena_done(&more);
}

void fuzz_json(const uint8_t *data, size_t size)
{
        if (size < FUZZ_TYPE_BYTES) return;
        const struct type_desc *t = fuzz_type(data);
        struct blob in = BLOB(data + FUZZ_TYPE_BYTES, size - FUZZ_TYPE_BYTES);
        struct arena a, more = { 0 };
        struct fail why = { 0 };
        arena_init(&a, FUZZ_ARENA_BYTES);
        void *o = arena_alloc(&a, t->size);
        int err = dec_json_reply(t, in, &a, o, &why);
        if (err == 0) {
                check_is_json(t, o, JSON_DUMP);
                if (gen_json_complete(t)) {
                        check_answer(t, o, &more);
                        check_stored(t, o, &more);
                }
        } else {
                FUZZ_CHECK(why.err == err && why.text[0] != '\0');
        }
        arena_done(&a);
        arena_done(&more);
}
