/* wire/codec: keys, maps, copies, merging, names, schemas, over the types of tests/lib/kinds.def. */
#include "tests/lib/test.h"

#include <jansson.h>

#include "tests/lib/gen.h"
#include "tests/lib/kinds.h"

static struct arena arena;
static struct buf out;
static struct fail why;

static int before(void **state)
{
        out = (struct buf){ 0 };
        why = (struct fail){ 0 };
        return 0;
}

static int after(void **state)
{
        arena_done(&arena);
        buf_done(&out);
        return 0;
}

/* ---- keys ---- */

static struct kind_marked marked(const char *name, uint64_t number, int64_t offset)
{
        struct kind_marked o = { 0 };
        SET(&o, kind_marked, name, name);
        SET(&o, kind_marked, number, number);
        SET(&o, kind_marked, offset, offset);
        return o;
}

static void keys_are_known(void **state)
{
        struct kind_marked o = marked("Node-a\xc3\xa4", 1, -1);
        enc_key(&kind_marked_type, &o, &out);
        assert_blob_equal(buf_blob(&out),
                BLOB("\x23\x2bNODE-A\xc3\xa4\0\0\0\0\0\0\0\0\1\x7f\xff\xff\xff\xff\xff\xff\xff", 27));
        buf_reset(&out);
        enc_key_prefix(&kind_marked_type, &o, 1, &out);
        assert_blob_equal(buf_blob(&out), BLOB("\x23\x2bNODE-A\xc3\xa4\0", 11));
        buf_reset(&out);
        enc_key_prefix(&kind_marked_type, &o, 0, &out);
        assert_blob_equal(buf_blob(&out), BLOB("\x23\x2b", 2));
        buf_reset(&out);
        o = (struct kind_marked){ .name = "left over", .number = 5 };
        enc_key(&kind_marked_type, &o, &out); /* a key to look for: presence does not matter */
        assert_blob_equal(buf_blob(&out), BLOB("\x23\x2bLEFT OVER\0\0\0\0\0\0\0\0\5\x80\0\0\0\0\0\0\0", 28));
        buf_reset(&out);
        enc_key_str(&out, "aB", true);
        enc_key_str(&out, "aB", false);
        enc_key_u64(&out, 258);
        assert_blob_equal(buf_blob(&out), BLOB("AB\0aB\0\0\0\0\0\0\0\1\2", 14));
}

static int cmp_fields(const struct kind_marked *a, const struct kind_marked *b)
{
        int c = strcmp(a->name, b->name);
        if (c != 0) return c;
        if (a->number != b->number) return a->number < b->number ? -1 : 1;
        return (a->offset > b->offset) - (a->offset < b->offset);
}

static void order_of_keys_is_order_of_fields(void **state)
{
        static const char *const names[] = { "", "A", "A ", "AA", "B", "\xc3\x84" };
        static const uint64_t numbers[] = { 0, 1, 255, 256, UINT64_MAX };
        static const int64_t offsets[] = { INT64_MIN, -256, -1, 0, 1, INT64_MAX };
        struct kind_marked o[ARRAY_LEN(names) * ARRAY_LEN(numbers) * ARRAY_LEN(offsets)];
        struct buf keys[ARRAY_LEN(o)];
        size_t n = 0;
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
                for (size_t j = 0; j < ARRAY_LEN(numbers); j++)
                        for (size_t k = 0; k < ARRAY_LEN(offsets); k++)
                                o[n++] = marked(names[i], numbers[j], offsets[k]);
        for (size_t i = 0; i < n; i++) {
                keys[i] = (struct buf){ 0 };
                enc_key(&kind_marked_type, &o[i], &keys[i]);
        }
        for (size_t i = 0; i < n; i++) {
                for (size_t j = 0; j < n; j++) {
                        int want = cmp_fields(&o[i], &o[j]),
                            got = blob_cmp(buf_blob(&keys[i]), buf_blob(&keys[j]));
                        assert_int_equal((want > 0) - (want < 0), (got > 0) - (got < 0));
                }
        }
        for (size_t i = 0; i < n; i++) buf_done(&keys[i]);
}

/* ---- maps ---- */

static void strmaps_stay_sorted(void **state)
{
        struct strmap m = { 0 }, old;
        struct test_rng r = { 5 };
        const char *model[64] = { 0 };
        for (int step = 0; step < 3000; step++) {
                unsigned k = (unsigned)test_rng_below(&r, ARRAY_LEN(model));
                const char *key = arena_printf(&arena, "key/%u", k);
                if (test_rng_below(&r, 3) != 0) {
                        model[k] = arena_printf(&arena, "v%d", step);
                        old = m;
                        strmap_set(&m, key, model[k], &arena);
                        assert_true(old.kv != m.kv); /* whoever holds a copy keeps what it had */
                } else {
                        assert_int_equal(strmap_del(&m, key, &arena), model[k] != NULL);
                        model[k] = NULL;
                }
                for (uint32_t i = 1; i < m.n; i++) assert_true(strcmp(m.kv[2 * (i - 1)], m.kv[2 * i]) < 0);
                uint32_t present = 0;
                for (unsigned i = 0; i < ARRAY_LEN(model); i++) {
                        const char *got = strmap_get(&m, arena_printf(&arena, "key/%u", i));
                        if (model[i] == NULL) assert_null(got);
                        else assert_string_equal(got, model[i]);
                        present += model[i] != NULL;
                }
                assert_int_equal(m.n, present);
        }
}

static void namespaces_are_deleted_whole(void **state)
{
        struct strmap m = { 0 };
        static const char *const keys[] = { "Aux", "Aux!", "Aux/a", "Aux/b/c", "Aux0", "Auxx/a", "B/Aux/a",
                "a" };
        for (size_t i = 0; i < ARRAY_LEN(keys); i++) strmap_set(&m, keys[i], "1", &arena);
        assert_int_equal(strmap_del_namespace(&m, "Aux", &arena), 3);
        assert_int_equal(m.n, 5);
        assert_string_equal(m.kv[0], "Aux!");
        assert_string_equal(m.kv[2], "Aux0");
        assert_string_equal(m.kv[4], "Auxx/a");
        assert_int_equal(strmap_del_namespace(&m, "nothing", &arena), 0);
        assert_int_equal(strmap_del_namespace(&m, "B", &arena), 1);
        assert_int_equal(m.n, 4);
}

static void strmaps_merge(void **state)
{
        struct strmap a = { 0 }, b = { 0 };
        strmap_set(&a, "a", "1", &arena);
        strmap_set(&a, "c", "1", &arena);
        strmap_set(&b, "b", "2", &arena);
        strmap_set(&b, "c", "2", &arena);
        strmap_set(&b, "d", "2", &arena);
        strmap_merge(&a, &(struct strmap){ 0 }, &arena);
        assert_int_equal(a.n, 2);
        strmap_merge(&a, &b, &arena);
        static const char *const want[] = { "a", "1", "b", "2", "c", "2", "d", "2" };
        assert_int_equal(a.n, 4);
        for (size_t i = 0; i < ARRAY_LEN(want); i++) assert_string_equal(a.kv[i], want[i]);
        struct strmap empty = { 0 };
        strmap_merge(&empty, &b, &arena);
        assert_int_equal(empty.n, 3);
}

static void intmaps_and_objmaps(void **state)
{
        struct intmap m = { 0 };
        int64_t v = 0;
        intmap_set(&m, "b", 2, &arena);
        intmap_set(&m, "a", 1, &arena);
        intmap_set(&m, "c", 3, &arena);
        intmap_set(&m, "b", -2, &arena);
        assert_int_equal(m.n, 3);
        assert_string_equal(m.keys[0], "a");
        assert_true(intmap_get(&m, "b", &v) && v == -2);
        assert_true(intmap_get(&m, "c", &v) && v == 3);
        assert_false(intmap_get(&m, "d", &v));
        struct objmap o = { 0 };
        static const char *const keys[] = { "m", "a", "z", "m" };
        for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
                struct kind_leaf *leaf = objmap_add(&kind_leaf_type, &o, keys[i], &arena);
                SET(leaf, kind_leaf, name, keys[i]);
                SET(leaf, kind_leaf, port, leaf->port + 1);
        }
        assert_int_equal(o.n, 3);
        const struct kind_leaf *leaf = objmap_get(&kind_leaf_type, &o, "m");
        assert_true(leaf->port == 2);
        leaf = objmap_get(&kind_leaf_type, &o, "z");
        assert_string_equal(leaf->name, "z");
        assert_null(objmap_get(&kind_leaf_type, &o, "q"));
        struct kind_all all = { 0 };
        SET(&all, kind_all, counts, m);
        SET(&all, kind_all, named, o);
        assert_ok(enc_msgpack(&kind_all_type, &all, &out)); /* that is, sorted */
}

/* ---- copies, equality, merging ---- */

static void copies_are_equal_and_apart(void **state)
{
        for (uint64_t seed = 0; seed < 200; seed++) {
                struct test_rng r = { seed };
                struct arena first = { 0 };
                struct kind_all o, copy;
                struct buf want = { 0 };
                gen_obj(&kind_all_type, &r, 4, &first, &o);
                assert_ok(enc_msgpack(&kind_all_type, &o, &want));
                assert_ok(obj_copy(&kind_all_type, &o, &arena, &copy));
                assert_true(obj_equal(&kind_all_type, &o, &copy));
                arena_done(&first); /* a sanitizer sees who still looks at it */
                buf_reset(&out);
                assert_ok(enc_msgpack(&kind_all_type, &copy, &out));
                assert_blob_equal(buf_blob(&out), buf_blob(&want));
                buf_done(&want);
        }
}

static void copies_keep_to_the_limit(void **state)
{
        struct test_rng r = { 11 };
        struct kind_all o, copy;
        gen_obj(&kind_all_type, &r, 4, &arena, &o);
        int err = E_TOO_LARGE;
        for (size_t limit = 16; err != 0 && limit < 100000; limit += 16) {
                struct arena small;
                arena_init(&small, limit);
                err = obj_copy(&kind_all_type, &o, &small, &copy);
                arena_done(&small);
                if (err != 0) assert_int_equal(err, E_TOO_LARGE);
        }
        assert_int_equal(err, 0);
}

static void equality_sees_values_and_presence(void **state)
{
        struct kind_all a = { 0 }, b = { 0 };
        assert_true(obj_equal(&kind_all_type, &a, &b));
        b.size = 5; /* not present */
        assert_true(obj_equal(&kind_all_type, &a, &b));
        MARK(&b, kind_all, size);
        assert_false(obj_equal(&kind_all_type, &a, &b));
        SET(&a, kind_all, size, 5);
        assert_true(obj_equal(&kind_all_type, &a, &b));
        UNSET(&b, kind_all, size);
        SET(&a, kind_all, size, 0);
        assert_false(obj_equal(&kind_all_type, &a, &b));
}

static void patches_take_over_what_they_have(void **state)
{
        struct kind_all o, patch, old;
        static const char base[] =
                "{\"flag\":true,\"size\":1,\"text\":\"t\",\"leaf\":{\"name\":\"n\",\"port\":1},"
                "\"words\":[\"a\",\"b\"],\"props\":{\"a\":\"1\",\"b\":\"1\"}}";
        static const char change[] = "{\"size\":2,\"temp\":0,\"leaf\":{\"name\":\"m\"},\"words\":[\"c\"],"
                                     "\"props\":{\"b\":\"2\",\"c\":\"2\"}}";
        static const char want[] =
                "{\"flag\":true,\"temp\":0,\"size\":2,\"text\":\"t\",\"leaf\":{\"name\":\"m\",\"port\":1},"
                "\"words\":[\"c\"],\"props\":{\"a\":\"1\",\"b\":\"2\",\"c\":\"2\"}}";
        assert_ok(dec_json(&kind_all_type, BLOB(base, sizeof base - 1), &arena, &o, &why));
        assert_ok(dec_json(&kind_all_type, BLOB(change, sizeof change - 1), &arena, &patch, &why));
        old = o;
        obj_merge(&kind_all_type, &o, &patch, &arena);
        enc_json(&kind_all_type, &o, JSON_API, &out);
        assert_string_equal(buf_cstr(&out), want);
        buf_reset(&out);
        enc_json(&kind_all_type, &old, JSON_API, &out); /* what it pointed to is as it was */
        assert_string_equal(buf_cstr(&out), base);
}

static void merging_into_nothing_is_the_patch(void **state)
{
        for (uint64_t seed = 0; seed < 100; seed++) {
                struct test_rng r = { seed };
                struct kind_all o = { 0 }, patch;
                gen_obj(&kind_all_type, &r, 3, &arena, &patch);
                obj_merge(&kind_all_type, &o, &patch, &arena);
                assert_true(obj_equal(&kind_all_type, &o, &patch));
                obj_merge(&kind_all_type, &o, &patch, &arena);
                assert_true(obj_equal(&kind_all_type, &o, &patch));
        }
}

/* ---- names ---- */

static void names_of_enums_and_flags(void **state)
{
        assert_string_equal(enum_name(&kind_color_enum, kind_color_LIGHT_BLUE), "light-blue");
        assert_string_equal(enum_name(&kind_color_enum, 99), "?");
        assert_int_equal(enum_parse(&kind_color_enum, "green"), kind_color_GREEN);
        assert_int_equal(enum_parse(&kind_color_enum, "gree"), -1);
        assert_true(flags_parse(&kind_flag_flags, "drbd_diskless") == kind_flag_DRBD_DISKLESS);
        assert_true(flags_parse(&kind_flag_flags, "") == 0);
        uint64_t v = kind_flag_HIGH;
        static const char *const names[] = { "DRBD_DISKLESS", "delete", "-high", "-DISKLESS" };
        assert_ok(flags_apply(&kind_flag_flags, names, ARRAY_LEN(names), &v, &why));
        assert_true(v == (kind_flag_DELETE | 1 << 8));
        static const char *const bad[] = { "-DELETE", "-WHAT" };
        assert_err(flags_apply(&kind_flag_flags, bad, ARRAY_LEN(bad), &v, &why), E_INVALID);
        assert_string_equal(why.text, "unknown flag \"-WHAT\"");
        assert_true(v == (kind_flag_DELETE | 1 << 8));
}

/* ---- schema, tables ---- */

static void schemas_say_what_is_declared(void **state)
{
        enc_schema(&kind_marked_type, &out);
        const char *s = buf_cstr(&out);
        assert_contains(s,
                "{\"type\":\"object\",\"description\":\"Every field flag.\",\"properties\":{\"name\":"
                "{\"type\":\"string\",\"description\":\"first key\"},");
        assert_contains(s, "\"token\":{\"type\":\"string\",\"writeOnly\":true,");
        assert_contains(s, "\"state\":{\"type\":\"string\",\"readOnly\":true,");
        assert_contains(
                s, "\"leaves\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/components/schemas/KindLeaf\"},");
        assert_contains(s, "\"required\":[\"name\"]}");
        assert_lacks(s, "serial"); /* internal */
        for (uint32_t i = 0; i < kinds_n; i++) {
                buf_reset(&out);
                enc_schema(kinds_all[i], &out);
                json_t *v = json_loadb((const char *)out.p, out.n, 0, NULL);
                assert_non_null(v);
                if (kinds_all[i] == &kind_bare_type) {
                        assert_string_equal(
                                buf_cstr(&out), "{\"type\":\"array\",\"items\":{\"type\":\"string\"}}");
                        json_decref(v);
                        continue;
                }
                size_t n = json_object_size(json_object_get(v, "properties"));
                assert_int_equal(n, kinds_all[i]->n_fields - (kinds_all[i] == &kind_marked_type ? 1 : 0));
                json_decref(v);
        }
}

static void tables_find_types(void **state)
{
        assert_int_equal(kinds_n, 9);
        assert_null(kinds_all[kinds_n]);
        assert_ptr_equal(kinds_by_id(9003), &kind_marked_type);
        assert_null(kinds_by_id(1));
        assert_string_equal(kind_all_type.ident, "kind_all");
        assert_string_equal(kind_all_type.name, "KindAll");
        assert_int_equal(kind_all_tag_named, 300);
        assert_int_equal(kind_empty_type.n_fields, 0);
}

/* An object that is an expression with an effect. */
static void objects_are_evaluated_once(void **state)
{
        struct kind_leaf leaves[3] = { 0 }, *leaf = leaves;
        struct kind_all all[3] = { 0 }, *next = all;
        static const char *words[] = { "a", "b" };
        SET(leaf++, kind_leaf, port, 7);
        assert_ptr_equal(leaf, leaves + 1);
        assert_true(HAS(&leaves[0], kind_leaf, port) && leaves[0].port == 7 && leaves[1].has == 0);
        SET_N(next++, kind_all, words, words, 2);
        assert_ptr_equal(next, all + 1);
        assert_true(HAS(&all[0], kind_all, words) && all[0].words_n == 2 && all[1].has == 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, before, after)
int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(keys_are_known),
                TEST(objects_are_evaluated_once),
                TEST(order_of_keys_is_order_of_fields),
                TEST(strmaps_stay_sorted),
                TEST(namespaces_are_deleted_whole),
                TEST(strmaps_merge),
                TEST(intmaps_and_objmaps),
                TEST(copies_are_equal_and_apart),
                TEST(copies_keep_to_the_limit),
                TEST(equality_sees_values_and_presence),
                TEST(patches_take_over_what_they_have),
                TEST(merging_into_nothing_is_the_patch),
                TEST(names_of_enums_and_flags),
                TEST(schemas_say_what_is_declared),
                TEST(tables_find_types),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
