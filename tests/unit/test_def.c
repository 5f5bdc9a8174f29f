/* wire/def: properties of every declared type, and the golden list of what the wire and the disk depend on.
 */
#include "tests/lib/test.h"

#include "tests/lib/def_dump.h"
#include "tests/lib/gen.h"
#include "wire/codec/codec.h"
#include "wire/def/types.h"

enum { SEEDS = 40, DEPTH = 3 };

static void table_is_consistent(void **state)
{
        assert_true(types_n > 0);
        assert_null(types_all[types_n]);
        for (uint32_t i = 0; i < types_n; i++) {
                const struct type_desc *t = types_all[i];
                assert_ptr_equal(types_by_id(t->id), t);
                for (uint32_t j = 0; j < i; j++) {
                        if (strcmp(t->name, types_all[j]->name) == 0)
                                fail_msg("%s and %s are both named %s", t->ident, types_all[j]->ident,
                                        t->name);
                }
        }
        assert_null(types_by_id(0));
        assert_null(types_by_id(UINT16_MAX + 1U));
}

static void fields_have_names_of_their_own(void **state)
{
        for (uint32_t i = 0; i < types_n; i++) {
                const struct type_desc *t = types_all[i];
                for (unsigned j = 0; j < t->n_fields; j++) {
                        const struct field_desc *f = &t->fields[j];
                        if (f->name[0] == '\0' && t->n_fields > 1)
                                fail_msg("%s: field %u has no name", t->ident, f->tag);
                        for (unsigned k = 0; k < j; k++) {
                                if (strcmp(f->name, t->fields[k].name) == 0)
                                        fail_msg("%s: two fields are named %s", t->ident, f->name);
                        }
                }
        }
}

/* Every type, many values: the same bytes after a round trip, whichever way it is read. */
static void every_type_survives_msgpack(void **state)
{
        for (uint32_t i = 0; i < types_n; i++) {
                const struct type_desc *t = types_all[i];
                for (uint64_t seed = 0; seed < SEEDS; seed++) {
                        struct arena a = { 0 };
                        struct buf x = { 0 }, y = { 0 };
                        struct fail why;
                        struct test_rng r = { seed };
                        void *o = arena_alloc(&a, t->size), *back = arena_alloc(&a, t->size);
                        gen_obj(t, &r, DEPTH, &a, o);
                        assert_ok(enc_msgpack(t, o, &x));
                        enum dec_mode mode = seed % 2 != 0 ? DEC_STRICT : DEC_TOLERANT;
                        if (dec_msgpack(t, buf_blob(&x), mode, &a, back, &why) != 0)
                                fail_msg("%s, seed %llu: %s", t->ident, (unsigned long long)seed, why.text);
                        assert_ok(enc_msgpack(t, back, &y));
                        assert_blob_equal(buf_blob(&x), buf_blob(&y));
                        buf_done(&x);
                        buf_done(&y);
                        arena_done(&a);
                }
        }
}

static void every_type_survives_json(void **state)
{
        for (uint32_t i = 0; i < types_n; i++) {
                const struct type_desc *t = types_all[i];
                if (!gen_json_complete(t)) continue;
                for (uint64_t seed = 0; seed < SEEDS; seed++) {
                        struct arena a = { 0 };
                        struct buf x = { 0 }, y = { 0 };
                        struct fail why;
                        struct test_rng r = { seed };
                        void *o = arena_alloc(&a, t->size), *back = arena_alloc(&a, t->size);
                        gen_obj(t, &r, DEPTH, &a, o);
                        enc_json(t, o, JSON_API, &x);
                        if (dec_json_reply(t, buf_blob(&x), &a, back, &why) != 0)
                                fail_msg("%s, seed %llu: %s: %s", t->ident, (unsigned long long)seed,
                                        why.text, buf_cstr(&x));
                        enc_json(t, back, JSON_API, &y);
                        assert_string_equal(buf_cstr(&x), buf_cstr(&y));
                        buf_done(&x);
                        buf_done(&y);
                        arena_done(&a);
                }
        }
}

/* No name of a secret field is ever followed by its value. */
static void no_type_shows_its_secrets(void **state)
{
        unsigned secrets = 0;
        for (uint32_t i = 0; i < types_n; i++) {
                const struct type_desc *t = types_all[i];
                for (unsigned j = 0; j < t->n_fields; j++) {
                        const struct field_desc *f = &t->fields[j];
                        if (!(f->flags & FF_SECRET)) continue;
                        secrets++;
                        struct arena a = { 0 };
                        struct buf x = { 0 };
                        struct test_rng r = { 1 };
                        void *o = arena_alloc(&a, t->size);
                        gen_obj(t, &r, 1, &a, o);
                        uint64_t all = t->n_fields == 64 ? UINT64_MAX : (UINT64_C(1) << t->n_fields) - 1;
                        memcpy(o, &all, sizeof all);
                        enc_json(t, o, JSON_DUMP, &x);
                        enc_json(t, o, JSON_API, &x);
                        char *member = xasprintf("\"%s\":", f->name);
                        assert_lacks(buf_cstr(&x), member);
                        free(member);
                        buf_done(&x);
                        arena_done(&a);
                }
        }
        assert_true(secrets > 0);
}

/* ---- golden tags ---- */

static void tags_are_as_they_were(void **state)
{
        struct buf now = { 0 }, said = { 0 };
        size_t n;
        char *golden = test_file("tests/golden/tags.txt", &n);
        assert_non_null(golden);
        def_dump_tags(&now);
        if (def_tags_compare(golden, buf_cstr(&now), true, &said) != 0)
                fail_msg("tags are append-only; \"make update-golden\" accepts this:\n%s", buf_cstr(&said));
        free(golden);
        buf_done(&now);
        buf_done(&said);
}

static void changed_tags_are_noticed(void **state)
{
        static const char golden[] = "field node 1 STR name\nfield node 2 U64 port\nenum color 0 RED\n";
        static const struct {
                const char *now, *said;
                unsigned n;
        } cases[] = {
                { golden, "", 0 },
                { "enum color 0 RED\nfield node 2 U64 port\nfield node 1 STR name\n", "", 0 },
                { "field node 1 STR name\nfield node 2 RESERVED\nenum color 0 RED\n", "", 0 },
                { "field node 1 STR name\nenum color 0 RED\n", "removed: field node 2 U64 port", 1 },
                { "field node 1 STR name\nfield node 2 I64 port\nenum color 0 RED\n",
                        "removed: field node 2 U64 port", 1 },
                { "field node 1 STR name\nfield node 2 U64 port2\nenum color 0 RED\n",
                        "removed: field node 2 U64 port", 1 },
                { "field node 1 STR name\nfield node 20 RESERVED\nenum color 0 RED\n", "node 2 U64", 1 },
                { "field node 1 STR name\nfield node 2 U64 port\nenum color 0 BLUE\n", "color 0 RED", 1 },
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct buf said = { 0 };
                assert_int_equal(def_tags_compare(golden, cases[i].now, false, &said), cases[i].n);
                assert_contains(buf_cstr(&said), cases[i].said);
                buf_done(&said);
        }
        struct buf said = { 0 };
        assert_int_equal(def_tags_compare("", golden, true, &said), 3);
        assert_contains(buf_cstr(&said), "not in tests/golden/tags.txt: enum color 0 RED");
        buf_done(&said);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(table_is_consistent),
                cmocka_unit_test(fields_have_names_of_their_own),
                cmocka_unit_test(every_type_survives_msgpack),
                cmocka_unit_test(every_type_survives_json),
                cmocka_unit_test(no_type_shows_its_secrets),
                cmocka_unit_test(tags_are_as_they_were),
                cmocka_unit_test(changed_tags_are_noticed),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
