/* Rules for names, the property catalogue. */
#include "tests/lib/test.h"

#include "controller/base/names.h"
#include "controller/base/props.h"

static void test_names(void **state)
{
        char long_name[300];
        (void)state;
        static const struct {
                enum name_kind kind;
                const char *name;
                bool ok;
        } cases[] = { { NAME_NODE, "a1", true }, { NAME_NODE, "1.2-x.example", true },
                { NAME_NODE, "a", false }, { NAME_NODE, ".ab", false }, { NAME_NODE, "ab-", false },
                { NAME_NODE, "a_b", false }, { NAME_NODE, "a..b", false }, { NAME_RSC, "pm-0123abcd", true },
                { NAME_RSC, "_1a", true }, { NAME_RSC, "1a", false }, { NAME_RSC, "__", false },
                { NAME_RSC, "a b", false }, { NAME_RSC, "ALL", false }, { NAME_RSC, "proxy", false },
                { NAME_RSC_GRP, "all", true }, { NAME_POOL, "ab", false }, { NAME_POOL, "abc", true },
                { NAME_NETIF, "eth0", true }, { NAME_SHARED_SPACE, "1", true },
                { NAME_SHARED_SPACE, "a.b", true }, { NAME_SHARED_SPACE, ".b", false },
                { NAME_KVS, "__gui__settings", true }, { NAME_RSC, "", false }, { NAME_RSC, NULL, false },
                { NAME_RSC, "a\xC3\xA4", false } };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++)
                if ((name_check(cases[i].kind, cases[i].name) == NULL) != cases[i].ok)
                        fail_msg("%s", cases[i].name);
        memset(long_name, 'a', sizeof long_name);
        long_name[48] = '\0';
        assert_null(name_check(NAME_RSC, long_name));
        long_name[48] = 'a';
        long_name[49] = '\0';
        assert_non_null(name_check(NAME_RSC, long_name));
        long_name[49] = 'a';
        long_name[64] = '\0';
        assert_non_null(name_check(NAME_NODE, long_name)); /* one label of 64 */
        assert_true(name_is_address("10.0.0.1") && name_is_address("fe80::1"));
        assert_false(name_is_address("host") || name_is_address("10.0.0.256") || name_is_address(NULL));
}

static void test_derived(void **state)
{
        struct arena a = { 0 };
        (void)state;
        static const char *const texts[] = { "my vol", "1", "----", "\xC3\xA4\xC3\xB6", "all", "proxy", "x",
                "a very long external name that does not fit into the space of a resource name" };
        for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
                const char *n = name_derive_rsc(texts[i], &a);
                if (name_check(NAME_RSC, n) != NULL)
                        fail_msg("%s from %s: %s", n, texts[i], name_check(NAME_RSC, n));
        }
        arena_done(&a);
}

static void check(enum prop_scope scope, const char *key, const char *value, const char *stored)
{
        struct arena a = { 0 };
        struct fail f = { 0 };
        const char *out;
        int err = prop_check(scope, key, value, &a, &out, &f);
        if ((err == 0) != (stored != NULL)) fail_msg("%s = %s: %d %s", key, value, err, f.text);
        if (err == 0) assert_string_equal(out, stored);
        arena_done(&a);
}

/* What a pattern admits, and is no range all the same: the pattern would explain nothing. */
static void test_range_said(void **state)
{
        struct arena a = { 0 };
        struct fail f = { 0 };
        const char *out;
        (void)state;
        assert_int_equal(prop_check(PS_C, "TcpPortAutoRange", "9-1", &a, &out, &f), E_INVALID);
        assert_contains(f.text, "lower number");
        f = (struct fail){ 0 };
        assert_int_equal(prop_check(PS_C, "TcpPortAutoRange", "9", &a, &out, &f), E_INVALID);
        assert_contains(f.text, "regex");
        arena_done(&a);
}

static void test_values(void **state)
{
        (void)state;
        check(PS_C, "BalanceResourcesEnabled", "Yes", "true");
        check(PS_C, "BalanceResourcesEnabled", "FALSE", "false");
        check(PS_C, "BalanceResourcesEnabled", "1", NULL);
        check(PS_RD, "DrbdOptions/Net/allow-two-primaries", "true", "yes");
        check(PS_RD, "AutoSnapshot/Keep", "-5", "-5");
        check(PS_RD, "AutoSnapshot/Keep", "5x", NULL);
        check(PS_RD, "AutoSnapshot/Keep", "99999999999999999999", NULL);
        check(PS_RD, "DrbdOptions/Net/timeout", "600", "600");
        check(PS_RD, "DrbdOptions/Net/timeout", "601", NULL);
        check(PS_RD, "DrbdOptions/Net/timeout", "", NULL);
        check(PS_RD, "DrbdOptions/Resource/quorum", "OFF", "off");
        check(PS_RD, "DrbdOptions/Resource/quorum", "of", NULL);
        check(PS_SP, "MaxOversubscriptionRatio", "1000.0", "1000.0");
        check(PS_SP, "MaxOversubscriptionRatio", "1000.1", NULL);
        check(PS_SP, "MaxOversubscriptionRatio", "1e2", NULL);
        check(PS_SP, "MaxOversubscriptionRatio", "nan", NULL);
        check(PS_SP, "Autoplacer/MinThinFreeSpace", "10 GiB", "10 GiB");
        check(PS_SP, "Autoplacer/MinThinFreeSpace", "10 parsec", NULL);
        check(PS_VD, "DrbdCurrentGi", "0123456789ABCDEF", "0123456789ABCDEF");
        check(PS_VD, "DrbdCurrentGi", "0123456789ABCDEG", NULL);
        check(PS_C, "TcpPortAutoRange", "7000-7999", "7000-7999");
        check(PS_C, "TcpPortAutoRange", "7000-70000", NULL);
        check(PS_C, "TcpPortAutoRange", "0-7000", NULL);
        check(PS_N, "Aux/anything", "goes", "goes");
        check(PS_N, "TcpPortsBlockedNot", "x", NULL);
        check(PS_R, "MinorNrAutoRange", "1-2", NULL); /* not there */
        check(PS_KVS, "what ever", "x", "x");
        check(PS_NC, "Paths/p/n1", "nic", "nic");
        check(PS_RD, "Paths/p/n1", "nic", NULL);
        check(PS_RD, "files/etc/x", "True", "True");
}

/* Every documented default is a value that its own rule admits. */
static void test_defaults(void **state)
{
        static const struct {
                const char *key, *dflt;
                unsigned scopes;
        } all[] = {
#define PROP(key, type, values, dflt, unit, scopes) { key, dflt, scopes },
#include "wire/def/props.def"
#undef PROP
        };
        static const char *const exempt[] = { "DrbdOptions/ProxyCompression/contexts",
                "DrbdOptions/Disk/discard-granularity", "Writecache/Options/AutocommitBlocks",
                "Writecache/Options/WritebackJobs", NULL };
        struct arena a = { 0 };
        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(all); i++) {
                const char *out;
                struct fail f = { 0 };
                bool skip = all[i].dflt[0] == '\0';
                for (size_t k = 0; exempt[k] != NULL; k++) skip |= strcmp(exempt[k], all[i].key) == 0;
                unsigned scope = all[i].scopes & -all[i].scopes;
                assert_int_not_equal(scope, 0);
                for (size_t k = i + 1; k < ARRAY_LEN(all); k++)
                        if (strcmp(all[k].key, all[i].key) == 0 && (all[k].scopes & all[i].scopes) != 0)
                                fail_msg("%s is there twice", all[i].key);
                if (!skip && prop_check((enum prop_scope)scope, all[i].key, all[i].dflt, &a, &out, &f) != 0)
                        fail_msg("%s = %s: %s", all[i].key, all[i].dflt, f.text);
        }
        arena_done(&a);
}

static void test_helpers(void **state)
{
        struct arena a = { 0 };
        uint64_t lo, hi;
        (void)state;
        assert_string_equal(prop_key("//a///b/", &a), "a/b");
        assert_null(prop_key("///", &a));
        assert_int_equal(prop_size_kib("10%", 5000), 500);
        assert_int_equal(prop_size_kib("2", 5000), 2);
        assert_int_equal(prop_size_kib("1.5MiB", 0), 1536);
        assert_int_equal(prop_size_kib("4096b", 0), 4);
        assert_true(prop_range("5-9", 10, &lo, &hi) && lo == 5 && hi == 9);
        assert_false(prop_range("5-19", 10, &lo, &hi) || prop_range("5", 10, &lo, &hi) ||
                     prop_range("-5-9", 10, &lo, &hi));
        assert_false(prop_matters("Aux/x"));
        assert_true(prop_matters("StorDriver/LvcreateOptions"));
        arena_done(&a);
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_names), cmocka_unit_test(test_derived),
                cmocka_unit_test(test_range_said), cmocka_unit_test(test_values),
                cmocka_unit_test(test_defaults), cmocka_unit_test(test_helpers) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
