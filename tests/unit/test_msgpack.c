/* wire/codec: msgpack both ways, over the types of tests/lib/kinds.def. */
#include "tests/lib/test.h"

#include <msgpack.h>

#include "tests/lib/gen.h"
#include "tests/lib/kinds.h"

static struct arena arena;
static struct buf bytes;
static struct fail why;

static int before(void **state)
{
        bytes = (struct buf){ 0 };
        why = (struct fail){ 0 };
        return 0;
}

static int after(void **state)
{
        arena_done(&arena);
        buf_done(&bytes);
        return 0;
}

static struct blob encode(const struct type_desc *t, const void *o)
{
        buf_reset(&bytes);
        assert_ok(enc_msgpack(t, o, &bytes));
        return buf_blob(&bytes);
}

#define RAW(text) BLOB(text, sizeof(text) - 1)

/* ---- round trips ---- */

static void every_kind_comes_back(void **state)
{
        struct kind_leaf leaves[2] = { { 0 }, { 0 } }, child = { 0 };
        SET(&child, kind_leaf, name, "below");
        SET(&leaves[0], kind_leaf, name, "one");
        SET(&leaves[1], kind_leaf, name, "two");
        SET_N(&leaves[1], kind_leaf, children, &child, 1);
        struct kind_all o = { 0 }, back;
        SET(&o, kind_all, flag, true);
        SET(&o, kind_all, temp, INT64_MIN);
        SET(&o, kind_all, size, UINT64_MAX);
        SET(&o, kind_all, ratio, 0.1);
        SET(&o, kind_all, text, "t\xc3\xa4xt");
        SET(&o, kind_all, bytes, BLOB("\0\xff", 2));
        SET(&o, kind_all, color, kind_color_LIGHT_BLUE);
        SET(&o, kind_all, flags, kind_flag_DRBD_DISKLESS | kind_flag_HIGH);
        SET(&o, kind_all, leaf, &leaves[0]);
        SET_N(&o, kind_all, leaves, leaves, 2);
        const char *words[] = { "a", "" };
        SET_N(&o, kind_all, words, words, 2);
        uint64_t numbers[] = { 0, 300 };
        SET_N(&o, kind_all, numbers, numbers, 2);
        const char *kv[] = { "Aux/a", "1", "Aux/b", "2" };
        SET(&o, kind_all, props, ((struct strmap){ kv, 2 }));
        const char *keys[] = { "x", "y" };
        int64_t vals[] = { -1, 1 };
        SET(&o, kind_all, counts, ((struct intmap){ keys, vals, 2 }));
        SET(&o, kind_all, named, ((struct objmap){ keys, leaves, 2 }));
        struct blob in = encode(&kind_all_type, &o);
        assert_ok(dec_msgpack(&kind_all_type, in, DEC_STRICT, &arena, &back, &why));
        assert_true(back.has == o.has);
        assert_true(back.flag);
        assert_true(back.temp == INT64_MIN && back.size == UINT64_MAX && back.ratio == 0.1);
        assert_string_equal(back.text, o.text);
        assert_blob_equal(back.bytes, o.bytes);
        assert_int_equal(back.color, kind_color_LIGHT_BLUE);
        assert_true(back.flags == o.flags);
        assert_string_equal(back.leaf->name, "one");
        assert_int_equal(back.leaves_n, 2);
        assert_string_equal(back.leaves[1].children[0].name, "below");
        assert_string_equal(back.words[0], "a");
        assert_string_equal(back.words[1], "");
        assert_true(back.numbers_n == 2 && back.numbers[1] == 300);
        assert_string_equal(strmap_get(&back.props, "Aux/b"), "2");
        int64_t x = 0;
        assert_true(intmap_get(&back.counts, "x", &x) && x == -1);
        struct kind_leaf *y = objmap_get(&kind_leaf_type, &back.named, "y");
        assert_string_equal(y->name, "two");
        assert_true(obj_equal(&kind_all_type, &o, &back));
}

static void random_values_come_back(void **state)
{
        for (uint64_t seed = 0; seed < 500; seed++) {
                struct test_rng r = { seed };
                struct kind_all o, back;
                struct buf again = { 0 };
                gen_obj(&kind_all_type, &r, 4, &arena, &o);
                struct blob in = encode(&kind_all_type, &o);
                if (dec_msgpack(&kind_all_type, in, DEC_STRICT, &arena, &back, &why) != 0)
                        fail_msg("seed %llu: %s", (unsigned long long)seed, why.text);
                assert_ok(enc_msgpack(&kind_all_type, &back, &again));
                assert_blob_equal(buf_blob(&again), in);
                buf_done(&again);
                arena_reset(&arena);
        }
}

/* ---- canonical bytes ---- */

static void bytes_are_known(void **state)
{
        struct kind_all o = { 0 };
        assert_blob_equal(encode(&kind_all_type, &o), RAW("\x80"));
        SET(&o, kind_all, flag, false);
        SET(&o, kind_all, temp, -33);
        SET(&o, kind_all, size, 200);
        SET(&o, kind_all, text, "ab");
        SET(&o, kind_all, color, kind_color_GREEN);
        SET(&o, kind_all, named, ((struct objmap){ 0 })); /* tag 300 */
        assert_blob_equal(encode(&kind_all_type, &o), RAW("\x86\x01\xc2\x02\xd0\xdf\x03\xcc\xc8\x05\xa2"
                                                          "ab\x07\x01\xcd\x01\x2c\x80"));
}

static void integers_are_shortest(void **state)
{
        static const struct {
                int64_t v;
                size_t n;
        } cases[] = { { 0, 1 }, { 127, 1 }, { 128, 2 }, { 255, 2 }, { 256, 3 }, { 65535, 3 }, { 65536, 5 },
                { UINT32_MAX, 5 }, { (int64_t)UINT32_MAX + 1, 9 }, { INT64_MAX, 9 }, { -1, 1 }, { -32, 1 },
                { -33, 2 }, { -128, 2 }, { -129, 3 }, { -32768, 3 }, { -32769, 5 }, { INT32_MIN, 5 },
                { (int64_t)INT32_MIN - 1, 9 }, { INT64_MIN, 9 } };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct kind_all o = { 0 }, back;
                SET(&o, kind_all, temp, cases[i].v);
                struct blob in = encode(&kind_all_type, &o);
                assert_int_equal(in.n, 2 + cases[i].n);
                assert_ok(dec_msgpack(&kind_all_type, in, DEC_STRICT, &arena, &back, &why));
                assert_true(back.temp == cases[i].v);
        }
}

/* What msgpack-c itself makes of our bytes. */
static void the_library_reads_our_bytes(void **state)
{
        for (uint64_t seed = 0; seed < 50; seed++) {
                struct test_rng r = { seed };
                struct kind_all o;
                gen_obj(&kind_all_type, &r, 4, &arena, &o);
                struct blob in = encode(&kind_all_type, &o);
                msgpack_unpacked u;
                msgpack_unpacked_init(&u);
                size_t at = 0;
                assert_int_equal(
                        msgpack_unpack_next(&u, (const char *)in.p, in.n, &at), MSGPACK_UNPACK_SUCCESS);
                assert_int_equal(at, in.n);
                assert_int_equal(u.data.type, MSGPACK_OBJECT_MAP);
                assert_int_equal(u.data.via.map.size, __builtin_popcountll(o.has));
                struct buf again = { 0 };
                msgpack_sbuffer s;
                msgpack_sbuffer_init(&s);
                msgpack_packer pk;
                msgpack_packer_init(&pk, &s, msgpack_sbuffer_write);
                assert_int_equal(msgpack_pack_object(&pk, u.data), 0);
                buf_put(&again, s.data, s.size);
                assert_blob_equal(buf_blob(&again), in);
                buf_done(&again);
                msgpack_sbuffer_destroy(&s);
                msgpack_unpacked_destroy(&u);
                arena_reset(&arena);
        }
}

static void observed_fields_are_not_stored(void **state)
{
        struct kind_marked o = { 0 }, back;
        SET(&o, kind_marked, name, "n");
        SET(&o, kind_marked, state, "online");
        SET(&o, kind_marked, serial, "internal");
        SET(&o, kind_marked, token, "secret");
        struct blob in = encode(&kind_marked_type, &o);
        assert_null(memmem(in.p, in.n, "online", 6));
        assert_ok(dec_msgpack(&kind_marked_type, in, DEC_STRICT, &arena, &back, &why));
        assert_false(HAS(&back, kind_marked, state));
        assert_string_equal(back.serial, "internal");
        assert_string_equal(back.token, "secret");
        /* and when somebody sends one: */
        in = RAW("\x82\x01\xa1n\x07\xa6online");
        assert_ok(dec_msgpack(&kind_marked_type, in, DEC_STRICT, &arena, &back, &why));
        assert_false(HAS(&back, kind_marked, state));
}

static void unsorted_maps_are_refused_when_encoding(void **state)
{
        const char *kv[] = { "b", "1", "a", "2" };
        struct kind_all o = { 0 };
        SET(&o, kind_all, props, ((struct strmap){ kv, 2 }));
        assert_err(enc_msgpack(&kind_all_type, &o, &bytes), E_INVALID);
        buf_reset(&bytes);
        kv[2] = "b"; /* twice the same */
        assert_err(enc_msgpack(&kind_all_type, &o, &bytes), E_INVALID);
}

static void null_pointers_are_absent(void **state)
{
        struct kind_all o = { 0 };
        MARK(&o, kind_all, text);
        MARK(&o, kind_all, leaf);
        MARK(&o, kind_all, leaves);
        assert_blob_equal(encode(&kind_all_type, &o), RAW("\x81\x0a\x90"));
}

/* ---- bad input ---- */

static void every_truncation_is_refused(void **state)
{
        for (uint64_t seed = 0; seed < 20; seed++) {
                struct test_rng r = { seed };
                struct kind_all o, back;
                gen_obj(&kind_all_type, &r, 3, &arena, &o);
                struct blob in = encode(&kind_all_type, &o);
                for (size_t n = 0; n < in.n; n++) {
                        uint8_t *exact = xmemdup(in.p, n); /* so that a sanitizer sees the end */
                        int err = dec_msgpack(
                                &kind_all_type, BLOB(exact, n), DEC_TOLERANT, &arena, &back, &why);
                        free(exact);
                        assert_int_equal(err, E_TRUNCATED);
                }
                arena_reset(&arena);
        }
        struct kind_all back;
        assert_err(dec_msgpack(&kind_all_type, BLOB(NULL, 0), DEC_STRICT, &arena, &back, &why), E_TRUNCATED);
}

static void every_changed_byte_is_survived(void **state)
{
        struct test_rng r = { 7 };
        struct kind_all o, back;
        gen_obj(&kind_all_type, &r, 3, &arena, &o);
        struct blob in = encode(&kind_all_type, &o);
        unsigned refused = 0;
        for (size_t i = 0; i < in.n; i++) {
                for (unsigned bit = 0; bit < 8; bit++) {
                        uint8_t *copy = xmemdup(in.p, in.n);
                        copy[i] ^= (uint8_t)(1U << bit);
                        struct arena a = { 0 };
                        int err = dec_msgpack(&kind_all_type, BLOB(copy, in.n), DEC_STRICT, &a, &back, &why);
                        if (err != 0) refused++;
                        arena_done(&a);
                        free(copy);
                }
        }
        assert_true(refused > in.n);
}

static void lying_counts_are_refused(void **state)
{
        static const struct {
                const char *what;
                struct blob in;
        } cases[] = {
                { "map32", RAW("\xdf\xff\xff\xff\xff") },
                { "map16", RAW("\xde\xff\xff\x01\xc2") },
                { "fixmap", RAW("\x8f\x01\xc2") },
                { "list of objects", RAW("\x81\x0a\xdd\xff\xff\xff\xff") },
                { "strings", RAW("\x81\x0b\xdc\xff\xff\xa0") },
                { "numbers", RAW("\x81\x0c\xdd\x00\x10\x00\x00\x01") },
                { "string", RAW("\x81\x05\xdb\xff\xff\xff\xff") },
                { "bytes", RAW("\x81\x06\xc6\xff\xff\xff\xff") },
                { "properties", RAW("\x81\x0e\xdf\x7f\xff\xff\xff") },
                { "unknown array", RAW("\x81\x70\xdd\xff\xff\xff\xff") },
                { "unknown extension", RAW("\x81\x70\xc9\xff\xff\xff\xff\x01") },
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct kind_all back;
                int err = dec_msgpack(&kind_all_type, cases[i].in, DEC_TOLERANT, &arena, &back, &why);
                if (err != E_TRUNCATED) fail_msg("%s: %s", cases[i].what, err_text(err));
                assert_int_equal(arena.used_bytes, 0); /* refused before anything was allocated */
        }
}

static void structure_is_checked(void **state)
{
        static const struct {
                struct blob in;
                int strict, tolerant;
                const char *text;
        } cases[] = {
                { RAW("\x80\x80"), E_INVALID, E_INVALID, "1 bytes after the end" },
                { RAW("\xc1"), E_INVALID, E_INVALID, "not msgpack" },
                { RAW("\x90"), E_INVALID, E_INVALID, "expected a map, got an array" },
                { RAW("\x81\xa1k\x01"), E_INVALID, E_INVALID, "expected a number, got a string" },
                { RAW("\x81\x05\x01"), E_INVALID, E_INVALID, "text: expected a string, got a number" },
                { RAW("\x81\x05\xa2z\0"), E_INVALID, E_INVALID, "text: a string with a NUL" },
                { RAW("\x81\x03\xff"), E_INVALID, E_INVALID,
                        "size: expected a number, got a negative number" },
                { RAW("\x81\x02\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), E_INVALID, E_INVALID, "temp: " },
                { RAW("\x81\x0a\x92\x81\x01\xa1x\x81\x01\xc3"), E_INVALID, E_INVALID, "leaves[1].name: " },
                { RAW("\x81\x0a\x91\x80"), E_INVALID, E_INVALID, "leaves[0]: name is missing" },
                { RAW("\x81\x03\xc0"), E_INVALID, 0, "size: expected a number, got nil" },
                { RAW("\x81\x70\x01"), E_FORMAT, 0, "KindAll has no field 112 in this version" },
                { RAW("\x81\x0d\x01"), E_FORMAT, 0, "KindAll has no field 13 in this version" },
                { RAW("\x81\x07\x03"), E_FORMAT, 0, "color: unknown value 3 of kind_color" },
                { RAW("\x82\x03\x01\x01\xc3"), E_FORMAT, 0, "field 1 out of order" },
                { RAW("\x82\x03\x01\x03\x02"), E_FORMAT, 0, "field 3 out of order" },
                { RAW("\x81\x0e\x82\xa1z\xa1z\xa1"
                      "a\xa1z"),
                        E_FORMAT, 0, "props: keys out of order at \"a\"" },
                { RAW("\x81\x0f\x82\xa1z\x01\xa1z\x02"), E_FORMAT, 0, "counts: keys out of order at \"z\"" },
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct kind_all back;
                why = (struct fail){ 0 };
                assert_err(dec_msgpack(&kind_all_type, cases[i].in, DEC_TOLERANT, &arena, &back, &why),
                        cases[i].tolerant);
                assert_err(dec_msgpack(&kind_all_type, cases[i].in, DEC_STRICT, &arena, &back, &why),
                        cases[i].strict);
                assert_contains(why.text, cases[i].text);
                assert_int_equal(why.err, cases[i].strict);
                assert_err(dec_msgpack(&kind_all_type, cases[i].in, DEC_STRICT, &arena, &back, NULL),
                        cases[i].strict);
        }
}

static void tolerant_reading_makes_it_canonical(void **state)
{
        struct kind_all back;
        assert_ok(dec_msgpack(&kind_all_type,
                RAW("\x84\x0e\x83\xa1z\xa1"
                    "1\xa1"
                    "a\xa1"
                    "2\xa1z\xa1"
                    "3\x70\x92\xc7\x01\x05x\x81\x01\xca\0\0\0\0\x03\x01\x03\xcf\0\0\0\0\0\0\0\x02"),
                DEC_TOLERANT, &arena, &back, &why));
        assert_int_equal(back.props.n, 2);
        assert_string_equal(back.props.kv[0], "a");
        assert_string_equal(strmap_get(&back.props, "z"), "3"); /* the last one counts */
        assert_true(back.size == 2);
        assert_blob_equal(encode(&kind_all_type, &back), RAW("\x82\x03\x02\x0e\x82\xa1"
                                                             "a\xa1"
                                                             "2\xa1z\xa1"
                                                             "3"));
}

static void versions_skip_what_they_do_not_know(void **state)
{
        struct test_rng r = { 3 };
        struct kind_all o;
        struct kind_old back;
        gen_obj(&kind_all_type, &r, 3, &arena, &o);
        SET(&o, kind_all, flag, true);
        SET(&o, kind_all, size, 5);
        SET(&o, kind_all, text, "new");
        struct blob in = encode(&kind_all_type, &o);
        assert_ok(dec_msgpack(&kind_old_type, in, DEC_TOLERANT, &arena, &back, &why));
        assert_true(back.flag);
        assert_true(back.size == 5);
        assert_err(dec_msgpack(&kind_old_type, in, DEC_STRICT, &arena, &back, &why), E_FORMAT);
}

/* depth maps of tag 2 (children) in each other, each in a list of one */
static struct blob nest(unsigned depth)
{
        buf_reset(&bytes);
        for (unsigned i = 1; i < depth; i++) buf_put(&bytes, "\x82\x01\xa1x\x02\x91", 6);
        buf_put(&bytes, "\x81\x01\xa1x", 4);
        return buf_blob(&bytes);
}

static void nesting_is_limited(void **state)
{
        struct kind_leaf back;
        struct blob in = nest(CODEC_DEPTH_MAX);
        assert_ok(dec_msgpack(&kind_leaf_type, in, DEC_STRICT, &arena, &back, &why));
        in = nest(CODEC_DEPTH_MAX + 1);
        assert_err(dec_msgpack(&kind_leaf_type, in, DEC_STRICT, &arena, &back, &why), E_TOO_LARGE);
        in = nest(10000);
        assert_err(dec_msgpack(&kind_leaf_type, in, DEC_STRICT, &arena, &back, &why), E_TOO_LARGE);
        buf_reset(&bytes); /* arrays in an unknown field */
        buf_put(&bytes, "\x81\x70", 2);
        for (int i = 0; i < 100000; i++) buf_put_u8(&bytes, 0x91);
        buf_put_u8(&bytes, 0x90);
        assert_err(dec_msgpack(&kind_leaf_type, buf_blob(&bytes), DEC_TOLERANT, &arena, &back, &why),
                E_TOO_LARGE);
        assert_string_equal(why.text, "nested too deeply");
}

static void memory_is_limited(void **state)
{
        struct arena small;
        struct kind_all o, back;
        struct test_rng r = { 11 };
        gen_obj(&kind_all_type, &r, 3, &arena, &o);
        struct blob in = encode(&kind_all_type, &o);
        size_t need = 0;
        int err = E_TOO_LARGE;
        for (size_t limit = 16; err != 0 && limit < 100000; limit += 16) {
                arena_init(&small, limit);
                err = dec_msgpack(&kind_all_type, in, DEC_STRICT, &small, &back, &why);
                need = small.used_bytes;
                arena_done(&small);
                if (err != 0) assert_int_equal(err, E_TOO_LARGE);
        }
        assert_int_equal(err, 0);
        assert_true(need > 16);
}

static void buffer_limits_stick(void **state)
{
        struct kind_all o = { 0 };
        SET(&o, kind_all, text, "0123456789");
        struct buf small = { .limit_bytes = 8 };
        assert_err(enc_msgpack(&kind_all_type, &o, &small), E_TOO_LARGE);
        buf_done(&small);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, before, after)
int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(every_kind_comes_back),
                TEST(random_values_come_back),
                TEST(bytes_are_known),
                TEST(integers_are_shortest),
                TEST(the_library_reads_our_bytes),
                TEST(observed_fields_are_not_stored),
                TEST(unsorted_maps_are_refused_when_encoding),
                TEST(null_pointers_are_absent),
                TEST(every_truncation_is_refused),
                TEST(every_changed_byte_is_survived),
                TEST(lying_counts_are_refused),
                TEST(structure_is_checked),
                TEST(tolerant_reading_makes_it_canonical),
                TEST(versions_skip_what_they_do_not_know),
                TEST(nesting_is_limited),
                TEST(memory_is_limited),
                TEST(buffer_limits_stick),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
