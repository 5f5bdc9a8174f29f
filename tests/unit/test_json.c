/* wire/codec: JSON both ways, over the types of tests/lib/kinds.def. */
#include "tests/lib/test.h"

#include <locale.h>
#include <math.h>

#include "tests/lib/gen.h"
#include "tests/lib/kinds.h"

static struct arena arena;
static struct buf out;
static struct fail why;
static struct kind_all all;

static int before(void **state)
{
        out = (struct buf){ 0 };
        why = (struct fail){ 0 };
        all = (struct kind_all){ 0 };
        return 0;
}

static int after(void **state)
{
        arena_done(&arena);
        buf_done(&out);
        return 0;
}

static struct blob text_blob(const char *s) { return BLOB(s, strlen(s)); }

static int read_all(const char *json)
{
        return dec_json(&kind_all_type, text_blob(json), &arena, &all, &why);
}

static const char *show(const struct type_desc *t, const void *o, enum json_mode mode)
{
        buf_reset(&out);
        enc_json(t, o, mode, &out);
        assert_int_equal(out.err, 0);
        return buf_cstr(&out);
}

/* ---- both ways ---- */

static const char every_kind[] =
        "{\"flag\":true,\"temp\":-5,\"size\":7,\"ratio\":0.1,\"text\":\"t\\\"\",\"bytes\":\"AP8=\","
        "\"color\":\"light-blue\",\"flags\":[\"DISKLESS\",\"DRBD_DISKLESS\"],\"leaf\":{\"name\":\"one\"},"
        "\"leaves\":[{\"name\":\"two\",\"children\":[{\"name\":\"three\",\"port\":3}]},{\"name\":\"four\"}],"
        "\"words\":[\"a\",\"\"],\"numbers\":[1,2],\"props\":{\"a\":\"1\",\"b\":\"2\"},\"counts\":{\"x\":-1},"
        "\"named\":{\"k\":{\"name\":\"five\"}}}";

static void every_kind_both_ways(void **state)
{
        assert_ok(read_all(every_kind));
        assert_true(all.flag && all.temp == -5 && all.size == 7 && all.ratio == 0.1);
        assert_string_equal(all.text, "t\"");
        assert_blob_equal(all.bytes, BLOB("\0\xff", 2));
        assert_int_equal(all.color, kind_color_LIGHT_BLUE);
        assert_true(all.flags == kind_flag_DRBD_DISKLESS);
        assert_string_equal(all.leaves[0].children[0].name, "three");
        assert_string_equal(strmap_get(&all.props, "b"), "2");
        assert_string_equal(((struct kind_leaf *)objmap_get(&kind_leaf_type, &all.named, "k"))->name, "five");
        assert_string_equal(show(&kind_all_type, &all, JSON_API), every_kind);
        assert_string_equal(show(&kind_all_type, &all, JSON_DUMP), every_kind);
}

static void through_msgpack_and_back(void **state)
{
        struct buf mp = { 0 };
        struct kind_all back;
        assert_ok(read_all(every_kind));
        assert_ok(enc_msgpack(&kind_all_type, &all, &mp));
        assert_ok(dec_msgpack(&kind_all_type, buf_blob(&mp), DEC_STRICT, &arena, &back, &why));
        assert_string_equal(show(&kind_all_type, &back, JSON_API), every_kind);
        buf_done(&mp);
}

static void random_values_come_back(void **state)
{
        for (uint64_t seed = 0; seed < 500; seed++) {
                struct test_rng r = { seed };
                struct kind_all o;
                gen_obj(&kind_all_type, &r, 4, &arena, &o);
                const char *json = show(&kind_all_type, &o, JSON_DUMP);
                if (read_all(json) != 0)
                        fail_msg("seed %llu: %s: %s", (unsigned long long)seed, why.text, json);
                if (!obj_equal(&kind_all_type, &o, &all))
                        fail_msg("seed %llu: differs: %s", (unsigned long long)seed, json);
                arena_reset(&arena);
        }
}

static void members_keep_the_order_of_the_declaration(void **state)
{
        assert_ok(read_all(
                "{\"size\":1,\"unknown\":[{}],\"flag\":false,\"props\":{\"z\":1,\"b\":\"2\",\"a\":null}}"));
        assert_string_equal(show(&kind_all_type, &all, JSON_API),
                "{\"flag\":false,\"size\":1,\"props\":{\"b\":\"2\",\"z\":\"1\"}}");
}

/* ---- what is shown ---- */

static void empty_forms_are_left_out(void **state)
{
        assert_ok(read_all(
                "{\"text\":\"\",\"bytes\":\"\",\"flags\":[],\"leaves\":[],\"words\":[],\"numbers\":[],"
                "\"props\":{},\"counts\":{},\"named\":{},\"flag\":false,\"size\":0}"));
        assert_string_equal(show(&kind_all_type, &all, JSON_API), "{\"flag\":false,\"size\":0}");
        assert_string_equal(show(&kind_all_type, &all, JSON_DUMP),
                "{\"flag\":false,\"size\":0,\"text\":\"\",\"bytes\":\"\",\"flags\":[],\"leaves\":[],"
                "\"words\":[],"
                "\"numbers\":[],\"props\":{},\"counts\":{},\"named\":{}}");
}

static void marked_fields_are_always_there(void **state)
{
        struct kind_marked o = {
                .props.n = 7, .label = "left over", .leaves_n = 3
        }; /* none of them present */
        SET(&o, kind_marked, name, "");
        assert_string_equal(show(&kind_marked_type, &o, JSON_API),
                "{\"name\":\"\",\"props\":{},\"leaves\":[],\"color\":\"RED\",\"flags\":[],\"on\":false,"
                "\"label\":\"\",\"level\":0}");
        assert_string_equal(show(&kind_marked_type, &o, JSON_DUMP), "{\"name\":\"\"}");
}

static void secrets_are_never_shown(void **state)
{
        struct kind_marked o = { 0 };
        assert_ok(dec_json(&kind_marked_type,
                text_blob("{\"name\":\"n\",\"token\":\"hush\",\"state\":\"S\",\"serial\":\"I\",\"hint\":"
                          "\"h\"}"),
                &arena, &o, &why));
        assert_string_equal(o.token, "hush");
        assert_false(HAS(&o, kind_marked, state)); /* observed and internal: not from clients */
        assert_false(HAS(&o, kind_marked, serial));
        SET(&o, kind_marked, state, "S");
        SET(&o, kind_marked, serial, "I");
        assert_lacks(show(&kind_marked_type, &o, JSON_API), "hush");
        assert_contains(show(&kind_marked_type, &o, JSON_API), "\"state\":\"S\"");
        assert_lacks(show(&kind_marked_type, &o, JSON_API), "serial");
        assert_lacks(show(&kind_marked_type, &o, JSON_DUMP), "hush");
        assert_contains(show(&kind_marked_type, &o, JSON_DUMP), "\"serial\":\"I\"");
}

static void clients_read_observed_fields(void **state)
{
        struct kind_marked o, *list;
        uint32_t n;
        assert_ok(dec_json_reply(
                &kind_marked_type, text_blob("{\"name\":\"n\",\"state\":\"S\"}"), &arena, &o, &why));
        assert_string_equal(o.state, "S");
        assert_ok(dec_json_reply_list(&kind_marked_type, text_blob("[{\"name\":\"n\",\"state\":\"S\"}]"),
                &arena, (void **)&list, &n, &why));
        assert_int_equal(n, 1);
        assert_string_equal(list[0].state, "S");
}

static void strings_are_escaped(void **state)
{
        static const struct {
                const char *in, *want;
        } cases[] = {
                { "", "\"\"" },
                { "a/b", "\"a/b\"" },
                { "\"\\\n\r\t\b\x1f\x7f", "\"\\\"\\\\\\n\\r\\t\\u0008\\u001f\\u007f\"" },
                { "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x9a\xa3", "\"\xc3\xa4 \xe2\x82\xac \xf0\x9f\x9a\xa3\"" },
                { "a\xff"
                  "b",
                        "\"a\xef\xbf\xbd"
                        "b\"" },
                { "\xc3", "\"\xef\xbf\xbd\"" },
                { "\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },
                { "\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\"" },                 /* overlong */
                { "\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" }, /* surrogate */
                { "\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                buf_reset(&out);
                enc_json_str(cases[i].in, &out);
                assert_string_equal(buf_cstr(&out), cases[i].want);
        }
}

static void numbers_survive(void **state)
{
        assert_err(
                read_all("{\"size\":18446744073709551615}"), E_INVALID); /* no parser has to keep it bare */
        SET(&all, kind_all, size, UINT64_MAX);
        SET(&all, kind_all, temp, INT64_MIN);
        const char *json = show(&kind_all_type, &all, JSON_API);
        assert_string_equal(json, "{\"temp\":-9223372036854775808,\"size\":\"18446744073709551615\"}");
        assert_ok(read_all(json));
        assert_true(all.size == UINT64_MAX && all.temp == INT64_MIN);
        static const struct {
                double d;
                const char *want;
        } cases[] = { { 0.1, "{\"ratio\":0.1}" }, { -0.0, "{\"ratio\":0}" }, { 1e300, "{\"ratio\":1e+300}" },
                { 1.0 / 3, "{\"ratio\":0.3333333333333333}" }, { 100, "{\"ratio\":100}" }, { NAN, "{}" },
                { -INFINITY, "{}" } };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                all = (struct kind_all){ 0 };
                SET(&all, kind_all, ratio, cases[i].d);
                assert_string_equal(show(&kind_all_type, &all, JSON_API), cases[i].want);
        }
        assert_string_equal(show(&kind_all_type, &all, JSON_DUMP), "{\"ratio\":null}");
}

/* A program that has called setlocale() must not write decimal commas. */
static void numbers_do_not_know_the_locale(void **state)
{
        static const char *const names[] = { "de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "C.UTF-8" };
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
                if (setlocale(LC_NUMERIC, names[i]) != NULL) break;
        SET(&all, kind_all, ratio, 2.5);
        assert_string_equal(show(&kind_all_type, &all, JSON_API), "{\"ratio\":2.5}");
        assert_ok(read_all("{\"ratio\":\"3.25\"}"));
        assert_true(all.ratio == 3.25);
        (void)setlocale(LC_NUMERIC, "C");
}

/* ---- what is understood ---- */

static void scalars_are_coerced(void **state)
{
        assert_ok(read_all(
                "{\"flag\":\"TRUE\",\"temp\":\"-12\",\"size\":\"+7\",\"ratio\":\"1e3\",\"text\":12,"
                "\"color\":\"Light-Blue\",\"flags\":[\"delete\",\"-HIGH\"],\"words\":[1,true,\"x\",0.5],"
                "\"numbers\":[\"5\",6.0],\"props\":{\"a\":false},\"counts\":{\"x\":\"3\"}}"));
        assert_true(all.flag && all.temp == -12 && all.size == 7 && all.ratio == 1000);
        assert_string_equal(all.text, "12");
        assert_int_equal(all.color, kind_color_LIGHT_BLUE);
        assert_true(all.flags == kind_flag_DELETE);
        assert_string_equal(all.words[0], "1");
        assert_string_equal(all.words[1], "true");
        assert_string_equal(all.words[3], "0.5");
        assert_true(all.numbers[0] == 5 && all.numbers[1] == 6);
        assert_string_equal(strmap_get(&all.props, "a"), "false");
        assert_ok(read_all("{\"flag\":0,\"size\":5.0,\"ratio\":3,\"temp\":-0}"));
        assert_true(
                HAS(&all, kind_all, flag) && !all.flag && all.size == 5 && all.ratio == 3 && all.temp == 0);
}

static void null_and_nothing_are_absent(void **state)
{
        static const char *const empty[] = { "", " \n\t", "{}",
                "{\"flag\":null,\"leaf\":null,\"words\":null}" };
        for (size_t i = 0; i < ARRAY_LEN(empty); i++) {
                assert_ok(read_all(empty[i]));
                assert_true(all.has == 0);
        }
        assert_ok(dec_json(&kind_all_type, BLOB(NULL, 0), &arena, &all, &why));
        assert_ok(read_all("{\"size\":1,\"size\":2}")); /* the last one counts */
        assert_true(all.size == 2);
}

static void faults_are_explained(void **state)
{
        static const struct {
                const char *json, *text, *field;
        } cases[] = {
                { "{\"size\":\"abc\"}", "size: expected a number, got \"abc\"", "size" },
                { "{\"size\":-1}", "size: expected a number of 0 or more, got -1", "size" },
                { "{\"size\":1.5}", "size: expected a whole number, got 1.5", "size" },
                { "{\"size\":1e30}", "size: expected a whole number, got 1e+30", "size" },
                { "{\"size\":\"18446744073709551616\"}",
                        "size: expected a number, got \"18446744073709551616\"", "size" },
                { "{\"size\":\"\"}", "size: expected a number, got \"\"", "size" },
                { "{\"size\":\"1 \"}", "size: expected a number, got \"1 \"", "size" },
                { "{\"size\":true}", "size: expected a number, got true", "size" },
                { "{\"temp\":\"9223372036854775808\"}",
                        "temp: expected a 64-bit number, got \"9223372036854775808\"", "temp" },
                { "{\"temp\":{}}", "temp: expected a number, got an object", "temp" },
                { "{\"ratio\":\"1,5\"}", "ratio: expected a number, got \"1,5\"", "ratio" },
                { "{\"flag\":2}", "flag: expected true or false, got 2", "flag" },
                { "{\"flag\":[]}", "flag: expected true or false, got a list", "flag" },
                { "{\"text\":[]}", "text: expected a string, got a list", "text" },
                { "{\"bytes\":\"?\"}", "bytes: expected base64", "bytes" },
                { "{\"bytes\":1}", "bytes: expected base64, got 1", "bytes" },
                { "{\"color\":\"pink\"}", "color: expected one of RED, GREEN, light-blue, got \"pink\"",
                        "color" },
                { "{\"color\":1}", "color: expected a name, got 1", "color" },
                { "{\"flags\":\"DELETE\"}", "flags: expected a list of names, got \"DELETE\"", "flags" },
                { "{\"flags\":[\"DELETE\",\"X\"]}", "flags[1]: expected the name of a flag, got \"X\"",
                        "flags[1]" },
                { "{\"leaf\":\"x\"}", "leaf: expected an object, got \"x\"", "leaf" },
                { "{\"leaf\":{\"port\":1}}", "leaf.name: is missing", "leaf.name" },
                { "{\"leaves\":{}}", "leaves: expected a list, got an object", "leaves" },
                { "{\"leaves\":[{\"name\":\"a\"},{\"name\":\"b\",\"port\":\"x\"}]}",
                        "leaves[1].port: expected a number, got \"x\"", "leaves[1].port" },
                { "{\"words\":[null]}", "words[0]: expected a string, got null", "words[0]" },
                { "{\"props\":{\"Aux/k\":[]}}", "props.Aux/k: expected a string, got a list", "props.Aux/k" },
                { "{\"named\":{\"k\":{}}}", "named.k.name: is missing", "named.k.name" },
                { "[]", "expected an object, got a list", "" },
                { "7", "expected an object, got 7", "" },
                { "{\"size\":", "not JSON: line 1, column 8: ", "" },
                { "{} x", "not JSON: line 1, column 4: ", "" },
                { "{\"text\":\"\\u0000\"}", "not JSON: line 1, ", "" },
                { "{\"text\":\"\xff\"}", "not JSON: line 1, ", "" },
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                why = (struct fail){ 0 };
                assert_err(read_all(cases[i].json), E_INVALID);
                if (strncmp(why.text, cases[i].text, strlen(cases[i].text)) != 0)
                        fail_msg("%s: %s", cases[i].json, why.text);
                assert_string_equal(why.field, cases[i].field);
                assert_int_equal(why.err, E_INVALID);
                assert_err(dec_json(&kind_all_type, text_blob(cases[i].json), &arena, &all, NULL), E_INVALID);
        }
}

static void long_values_are_shortened(void **state)
{
        char json[1000];
        (void)snprintf(json, sizeof json, "{\"size\":\"%0600d\"}", 0);
        json[9] = 'x';
        assert_err(read_all(json), E_INVALID);
        assert_string_equal(
                why.text, "size: expected a number, got \"x000000000000000000000000000000000000000\"...");
}

static void a_type_without_a_name_is_its_value(void **state)
{
        static const char json[] = "{\"lists\":{\"LUKS\":[\"no cryptsetup\",\"no key\"],\"NVME\":[]}}";
        struct kind_bares o;
        assert_ok(dec_json(&kind_bares_type, text_blob(json), &arena, &o, &why));
        const struct kind_bare *luks = objmap_get(&kind_bare_type, &o.lists, "LUKS");
        assert_int_equal(luks->items_n, 2);
        assert_string_equal(luks->items[1], "no key");
        assert_string_equal(show(&kind_bares_type, &o, JSON_API), json);
        assert_err(
                dec_json(&kind_bares_type, text_blob("{\"lists\":{\"a\":{}}}"), &arena, &o, &why), E_INVALID);
        assert_string_equal(why.text, "lists.a: expected a list, got an object");
}

static void lists_at_the_top(void **state)
{
        struct kind_leaf *list = NULL;
        uint32_t n = 9;
        assert_ok(dec_json_list(&kind_leaf_type, text_blob("[{\"name\":\"a\"},{\"name\":\"b\"}]"), &arena,
                (void **)&list, &n, &why));
        assert_int_equal(n, 2);
        assert_string_equal(list[1].name, "b");
        buf_reset(&out);
        enc_json_list(&kind_leaf_type, list, n, JSON_API, &out);
        assert_string_equal(buf_cstr(&out), "[{\"name\":\"a\"},{\"name\":\"b\"}]");
        assert_ok(dec_json_list(
                &kind_leaf_type, text_blob("{\"name\":\"c\"}"), &arena, (void **)&list, &n, &why));
        assert_int_equal(n, 1);
        assert_string_equal(list[0].name, "c");
        assert_ok(dec_json_list(&kind_leaf_type, text_blob("[]"), &arena, (void **)&list, &n, &why));
        assert_int_equal(n, 0);
        assert_err(dec_json_list(&kind_leaf_type, text_blob("[{\"name\":\"a\"},{}]"), &arena, (void **)&list,
                           &n, &why),
                E_INVALID);
        assert_string_equal(why.text, "[1].name: is missing");
}

static void nesting_is_limited(void **state)
{
        for (int depth = CODEC_DEPTH_MAX; depth <= CODEC_DEPTH_MAX + 1; depth++) {
                struct kind_leaf leaf;
                buf_reset(&out);
                for (int i = 1; i < depth; i++) buf_put_str(&out, "{\"name\":\"x\",\"children\":[");
                buf_put_str(&out, "{\"name\":\"[[{{\"}");
                for (int i = 1; i < depth; i++) buf_put_str(&out, "]}");
                int err = dec_json(&kind_leaf_type, buf_blob(&out), &arena, &leaf, &why);
                assert_int_equal(err, depth == CODEC_DEPTH_MAX ? 0 : E_TOO_LARGE);
        }
        buf_reset(&out);
        for (int i = 0; i < 100000; i++) buf_put_u8(&out, '[');
        assert_err(dec_json(&kind_all_type, buf_blob(&out), &arena, &all, &why), E_TOO_LARGE);
        /* brackets in strings do not count */
        buf_reset(&out);
        buf_put_str(&out, "{\"text\":\"\\\"");
        for (int i = 0; i < 1000; i++) buf_put_u8(&out, '[');
        buf_put_str(&out, "\"}");
        assert_ok(dec_json(&kind_all_type, buf_blob(&out), &arena, &all, &why));
}

static void memory_is_limited(void **state)
{
        int err = E_TOO_LARGE;
        for (size_t limit = 16; err != 0 && limit < 100000; limit += 16) {
                struct arena small;
                arena_init(&small, limit);
                err = dec_json(&kind_all_type, text_blob(every_kind), &small, &all, &why);
                arena_done(&small);
                if (err != 0) assert_int_equal(err, E_TOO_LARGE);
        }
        assert_int_equal(err, 0);
}

static void every_truncation_is_refused(void **state)
{
        size_t size = sizeof every_kind - 1;
        for (size_t n = 1; n < size; n++) {
                char *exact = xmemdup(every_kind, n);
                assert_err(dec_json(&kind_all_type, BLOB(exact, n), &arena, &all, &why), E_INVALID);
                free(exact);
        }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, before, after)
int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(every_kind_both_ways),
                TEST(through_msgpack_and_back),
                TEST(random_values_come_back),
                TEST(members_keep_the_order_of_the_declaration),
                TEST(empty_forms_are_left_out),
                TEST(marked_fields_are_always_there),
                TEST(secrets_are_never_shown),
                TEST(clients_read_observed_fields),
                TEST(strings_are_escaped),
                TEST(numbers_survive),
                TEST(numbers_do_not_know_the_locale),
                TEST(scalars_are_coerced),
                TEST(null_and_nothing_are_absent),
                TEST(faults_are_explained),
                TEST(long_values_are_shortened),
                TEST(a_type_without_a_name_is_its_value),
                TEST(lists_at_the_top),
                TEST(nesting_is_limited),
                TEST(memory_is_limited),
                TEST(every_truncation_is_refused),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
