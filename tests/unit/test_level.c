/* Feature levels: what is left out below a level, indexes that come with one, what a release refuses, and that the
 * declarations and docs/upgrades.md agree. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raftctl/level.h"
#include "raftctl/store_lmdb_internal.h"
#include "state/kv_mem.h"
#include "state/level.h"
#include "state/overlay.h"
#include "state/table.h"
#include "tests/lib/test.h"

/* The types that only tests know, beside the real ones. */
#undef TYPES_DEF
#undef ENUMS_DEF
#include "tests/lib/kinds.h"

/* ---- values ---- */

static void test_nothing_new(void **state)
{
        struct kind_leveled o = { 0 };
        const char *name = "x";
        SET(&o, kind_leveled, name, "a");
        SET(&o, kind_leveled, shade, kind_shade_PALE);
        SET(&o, kind_leveled, bits, kind_bit_OLD);
        assert_int_equal(obj_level(&kind_leveled_type, &o), LEVEL_FIRST);
        assert_int_equal(obj_strip(&kind_leveled_type, &o, 1, &name), 0);
        assert_null(name);
        assert_true(HAS(&o, kind_leveled, shade) && o.bits == kind_bit_OLD);
}

static void test_fields_are_left_out(void **state)
{
        struct kind_leveled o = { 0 }, inner[2] = { 0 };
        struct buf low = { 0 }, high = { 0 };
        const char *name;
        SET(&inner[0], kind_leveled, name, "b");
        SET(&inner[1], kind_leveled, name, "c");
        SET(&inner[1], kind_leveled, later, "deep");
        SET(&o, kind_leveled, name, "a");
        SET_N(&o, kind_leveled, inner, inner, 2);
        assert_int_equal(obj_level(&kind_leveled_type, &o), 3);
        assert_int_equal(enc_msgpack(&kind_leveled_type, &o, &high), 0);
        assert_int_equal(obj_strip(&kind_leveled_type, &o, 2, &name), 0);
        assert_string_equal(name, "later");
        assert_int_equal(obj_level(&kind_leveled_type, &o), LEVEL_FIRST);
        assert_false(HAS(&inner[1], kind_leveled, later));
        assert_int_equal(enc_msgpack(&kind_leveled_type, &o, &low), 0);
        assert_true(low.n < high.n);
        buf_done(&low);
        buf_done(&high);
}

static void test_flags_and_enums(void **state)
{
        struct kind_leveled o = { 0 };
        const char *name;
        SET(&o, kind_leveled, name, "a");
        SET(&o, kind_leveled, bits, kind_bit_BOTH);
        assert_int_equal(obj_level(&kind_leveled_type, &o), 2);
        assert_int_equal(obj_strip(&kind_leveled_type, &o, 1, &name), 0);
        assert_int_equal(o.bits, kind_bit_OLD); /* the bit that an older release knows too stays */
        SET(&o, kind_leveled, shade, kind_shade_NEON);
        assert_int_equal(obj_level(&kind_leveled_type, &o), 2);
        assert_int_equal(obj_strip(&kind_leveled_type, &o, 1, &name), E_LEVEL);
        assert_string_equal(name, "neon");
        assert_int_equal(obj_strip(&kind_leveled_type, &o, 2, &name), 0);
}

static void test_types(void **state)
{
        struct kind_new o = { 0 };
        const char *name;
        SET(&o, kind_new, name, "a");
        assert_int_equal(obj_level(&kind_new_type, &o), 2);
        assert_int_equal(obj_strip(&kind_new_type, &o, 1, &name), E_LEVEL);
        assert_int_equal(obj_strip(&kind_new_type, &o, 2, &name), 0);
}

/* ---- the declarations of this build ---- */

static void test_declarations_fit(void **state)
{
        for (uint32_t i = 0; i < types_n; i++) {
                assert_true(types_all[i]->since <= LEVEL_MAX);
                for (unsigned k = 0; k < types_all[i]->n_fields; k++)
                        assert_true(field_since(&types_all[i]->fields[k]) <= LEVEL_MAX);
        }
#ifndef NEXT_LEVEL /* what the next release could add is not in this one */
        assert_int_equal(LEVEL_MAX, 1);
        assert_null(types_by_id(99));
        assert_null(types_by_id(149));
#endif
}

/* ---- the state ---- */

static void put_cluster(struct tx *tx, unsigned level)
{
        struct cluster c = { 0 };
        SET(&c, cluster, uuid, "u");
        SET(&c, cluster, feature_level, level);
        assert_int_equal(row_put(tx, &cluster_type, &c), 0);
}

static void test_level_of_state(void **state)
{
        struct kv_mem *kv = kv_mem_new();
        struct tx *tx = kv_mem_write(kv);
        int err = 1;
        assert_int_equal(state_level(tx, &err), LEVEL_FIRST);
        assert_int_equal(err, 0);
        put_cluster(tx, 1);
        assert_int_equal(state_level_raise(tx, 1), E_INVALID);
        assert_int_equal(state_level_raise(tx, 2), 0);
        assert_int_equal(state_level(tx, &err), 2);
        assert_int_equal(state_level_raise(tx, 1), E_INVALID); /* it never falls */
        assert_int_equal(state_level(tx, &err), 2);
        kv_mem_end(tx);
        kv_mem_free(kv);
}

/* A cluster row of a release that has more fields must still say its level. */
static void test_level_of_unknown_row(void **state)
{
        static const uint8_t value[] = { 0x82, 4, 7, 0xcd, 0x03, 0xe8, 0xa1, 'x' }; /* {4: 7, 1000: "x"} */
        struct kv_mem *kv = kv_mem_new();
        struct tx *tx = kv_mem_write(kv);
        struct cluster c = { 0 };
        struct buf key = { 0 };
        int err = 1;
        enc_key_prefix(&cluster_type, &c, 0, &key);
        assert_int_equal(tx_put(tx, buf_blob(&key), BLOB(value, sizeof value)), 0);
        assert_int_equal(state_level(tx, &err), 7);
        assert_int_equal(err, 0);
        buf_done(&key);
        kv_mem_end(tx);
        kv_mem_free(kv);
}

/* ---- releases ---- */

static void test_releases(void **state)
{
        static const struct {
                struct release ours, theirs;
                const char *say; /* NULL: they fit */
        } cases[] = {
                { { 1, 1, 1, "A" }, { 1, 1, 1, "A" }, NULL },
                { { 1, 1, 1, "A" }, { 1, 2, 1, "B" }, NULL },
                { { 1, 2, 1, "B" }, { 1, 1, 1, "A" }, NULL },
                { { 1, 2, 2, "B" }, { 1, 1, 1, "A" }, "release A knows levels up to 1: install a newer" },
                { { 1, 1, 1, "A" }, { 1, 2, 2, "B" }, "this member runs release A, which is too old" },
                { { 1, 2, 1, "B" }, { 2, 3, 1, "C" }, "release C needs 2: 'raftctl level raise' first" },
                { { 2, 3, 2, "C" }, { 1, 2, 2, "B" }, NULL },
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                char text[200] = "";
                const char *said = release_refuse(&cases[i].ours, &cases[i].theirs, text, sizeof text);
                if (cases[i].say == NULL) assert_null(said);
                else assert_non_null(strstr(said, cases[i].say));
        }
}

/* ---- the page ---- */

static void test_page_has_every_version(void **state)
{
        static const struct {
                const char *name;
                int value;
        } versions[] = { { "LEVEL_MIN", LEVEL_MIN }, { "LEVEL_MAX", LEVEL_MAX },
                { "MEMBER_FORMAT", MEMBER_FORMAT }, { "SAT_STATE_FORMAT", SAT_STATE_FORMAT },
                { "WRITESET_VERSION", WRITESET_VERSION }, { "CONF_VERSION", CONF_VERSION },
                { "SNAPSHOT_VERSION", SNAPSHOT_VERSION }, { "TRANSPORT_VERSION_MIN", TRANSPORT_VERSION_MIN },
                { "TRANSPORT_VERSION", TRANSPORT_VERSION } };
        static char page[64 << 10];
        const char *dir = getenv("srcdir");
        char path[512];
        (void)snprintf(path, sizeof path, "%s/docs/upgrades.md", dir != NULL ? dir : ".");
        FILE *f = fopen(path, "r");
        assert_non_null(f);
        size_t n = fread(page, 1, sizeof page - 1, f);
        (void)fclose(f);
        page[n] = '\0';
        for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
                char want[80];
                (void)snprintf(want, sizeof want, "`%s` = %d", versions[i].name, versions[i].value);
                if (strstr(page, want) == NULL) fail_msg("docs/upgrades.md lacks %s", want);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_nothing_new),
                cmocka_unit_test(test_fields_are_left_out),
                cmocka_unit_test(test_flags_and_enums),
                cmocka_unit_test(test_types),
                cmocka_unit_test(test_declarations_fit),
                cmocka_unit_test(test_level_of_state),
                cmocka_unit_test(test_level_of_unknown_row),
                cmocka_unit_test(test_releases),
                cmocka_unit_test(test_page_has_every_version),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
