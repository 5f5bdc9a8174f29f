/* Settings: defaults, file, command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "wire/codec/config.h"

struct settings {
        char *a_text;
        uint64_t a_num;
        bool b_on;
        char *b_level, *b_one, *b_many, *b_short;
};
static const struct config_key keys[] = {
        { "a", "text", CONFIG_STR, "hello", 0, 0, "words", offsetof(struct settings, a_text) },
        { "a", "num", CONFIG_NUM, "50", 10, 1000, "a number", offsetof(struct settings, a_num) },
        { "b", "on", CONFIG_BOOL, "true", 0, 0, "yes or no", offsetof(struct settings, b_on) },
        { "b", "level", CONFIG_LEVEL, "INFO", 0, 0, "loudness", offsetof(struct settings, b_level) },
        { "b", "one", CONFIG_ADDR, "127.0.0.1:3370", 0, 0, "an address", offsetof(struct settings, b_one) },
        { "b", "many", CONFIG_ADDR, "", 0, 3, "some addresses", offsetof(struct settings, b_many) },
        { "b", "short", CONFIG_STR, "abc", 1, 5, "a short word", offsetof(struct settings, b_short) },
};
static const struct config_table strict = { keys, ARRAY_LEN(keys), false };
static const struct config_table lax = { keys, ARRAY_LEN(keys), true };

static int read_text(const struct config_table *t, struct settings *s, const char *text, struct fail *f)
{
        char path[] = "/tmp/test_config.XXXXXX";
        int fd = mkstemp(path);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
        close(fd);
        int err = config_read(t, s, path, f);
        unlink(path);
        return err;
}

static void test_file(void **state)
{
        struct settings s = { 0 };
        struct fail f = { 0 };
        config_init(&strict, &s);
        assert_string_equal(s.a_text, "hello");
        assert_int_equal(s.a_num, 50);
        assert_true(s.b_on);
        assert_int_equal(
                read_text(&strict, &s, "[a]\n# note\ntext = two words\nnum=1000\n[b]\non = off\n", &f), 0);
        assert_string_equal(s.a_text, "two words");
        assert_int_equal(s.a_num, 1000);
        assert_false(s.b_on);
        static const char *const bad[] = { "[a]\nnum = 1001\n", "[a]\nnum = 9\n", "[a]\nnum = -1\n",
                "[a]\nnum = 1x\n", "[a]\nnum =\n", "[a]\nnum = 99999999999999999999999\n",
                "[b]\non = maybe\n", "[a]\nnone = 1\n", "[c]\ntext = x\n", "[a]\nno equals sign\n",
                "[b]\nlevel = LOUD\n", "[b]\none = localhost:1\n", "[b]\nshort =\n",
                "[b]\nshort = abcdef\n" };
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
                assert_int_equal(read_text(&strict, &s, bad[i], &f), E_CONFIG);
                assert_non_null(strstr(f.text, ":2: "));
        }
        assert_int_equal(s.a_num, 1000); /* the good value stays */
        assert_int_equal(read_text(&lax, &s, "[c]\ntext = x\n[a]\nnum=11\n", &f), 0);
        assert_int_equal(s.a_num, 11);
        assert_int_equal(config_read(&strict, &s, "/nonexistent/file", &f), E_NOT_FOUND);
        config_done(&strict, &s);
        assert_null(s.a_text);
}

static void test_set(void **state)
{
        struct settings s = { 0 };
        struct fail f = { 0 };
        config_init(&strict, &s);
        assert_int_equal(config_set(&lax, &s, "a.text=x=y.z", &f), 0);
        assert_string_equal(s.a_text, "x=y.z");
        assert_int_equal(config_set(&strict, &s, "a.num=10", &f), 0);
        static const char *const bad[] = { "", "a", "a.num", "a=1.num", "c.x=1", "a.x=1", "a.num=x", "a.=1",
                ".num=1" };
        for (size_t i = 0; i < ARRAY_LEN(bad); i++)
                assert_int_equal(config_set(&lax, &s, bad[i], &f), E_CONFIG);
        char *longest = xasprintf("a.%0100d=1", 0);
        assert_int_equal(config_set(&lax, &s, longest, &f), E_CONFIG);
        free(longest);
        config_done(&strict, &s);
}

static void test_addresses(void **state)
{
        struct settings s = { 0 };
        struct fail f = { 0 };
        static const char *const good[] = { "", "1.2.3.4", "1.2.3.4:1", "[::]:3371", "[::1]", "::1",
                "fe80::2", "255.255.255.255:65535" };
        static const char *const bad[] = { "x", "1.2.3", "1.2.3.4:", "1.2.3.4:0", "1.2.3.4:65536",
                "1.2.3.4:x", "1.2.3.4:99999999", "[::1", "[::1]:", "[::1]x", "::1]", "[]", "[]:1", ":1",
                "1.2.3.4:1:2", "1.2.3.4 1.2.3.5", "[1.2.3.4]:5", "1.2.3.4:+5",
                "1111111111111111111111111111111111111111111111111111111111111111111111111111" };
        char line[128];
        config_init(&strict, &s);
        for (size_t i = 0; i < ARRAY_LEN(good); i++) {
                (void)snprintf(line, sizeof line, "b.one=%s", good[i]);
                assert_int_equal(config_set(&strict, &s, line, &f), 0);
                assert_string_equal(s.b_one, good[i]);
        }
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
                (void)snprintf(line, sizeof line, "b.one=%s", bad[i]);
                assert_int_equal(config_set(&strict, &s, line, &f), E_CONFIG);
                assert_non_null(strstr(f.text, "b.one"));
                assert_non_null(strstr(f.text, "IP address"));
        }
        assert_int_equal(config_set(&strict, &s, "b.many= 1.2.3.4:5, [::1]:6  1.1.1.1 ", &f), 0);
        assert_int_equal(config_set(&strict, &s, "b.many=1.1.1.1 1.1.1.2 1.1.1.3 1.1.1.4", &f), E_CONFIG);
        assert_int_equal(config_set(&strict, &s, "b.many=1.1.1.1 nonsense", &f), E_CONFIG);
        config_done(&strict, &s);
}

/* The words of a refusal: where, which key, what was there, what is allowed. */
static void test_refusals(void **state)
{
        struct settings s = { 0 };
        struct fail f = { 0 };
        config_init(&strict, &s);
        assert_int_equal(read_text(&strict, &s, "\n[a]\n\nnum = 7\n", &f), E_CONFIG);
        assert_non_null(strstr(f.text, ":4: a.num is '7', but must be: a number from 10 to 1000"));
        f = (struct fail){ 0 };
        assert_int_equal(read_text(&strict, &s, "[b]\nlevel = 3\n", &f), E_CONFIG);
        assert_non_null(strstr(f.text, "must be: ERROR, WARN, INFO, DEBUG or TRACE"));
        f = (struct fail){ 0 };
        assert_int_equal(read_text(&strict, &s, "[a]\nnam = 3\n", &f), E_CONFIG);
        assert_non_null(strstr(f.text, "there is no setting a.nam; there is: text num"));
        f = (struct fail){ 0 };
        assert_int_equal(read_text(&strict, &s, "[d]\nx = 3\n", &f), E_CONFIG);
        assert_non_null(strstr(f.text, "there is no setting d.x; there is: [a] [b]"));
        config_done(&strict, &s);
}

static void test_texts(void **state)
{
        struct buf b = { 0 };
        struct settings s = { 0 };
        struct fail f = { 0 };
        config_init(&strict, &s);
        config_sample(&strict, &b);
        assert_int_equal(read_text(&strict, &s, buf_cstr(&b), &f), 0); /* a sample is a valid file */
        assert_int_equal(s.a_num, 50);
        buf_reset(&b);
        config_help(&strict, &b);
        for (size_t i = 0; i < ARRAY_LEN(keys); i++) assert_non_null(strstr(buf_cstr(&b), keys[i].doc));
        buf_done(&b);
        config_done(&strict, &s);
}

static void test_environment(void **state)
{
        static const struct config_variable variables[] = { { "TEST_CONFIG_NUM", "a.num" },
                { "TEST_CONFIG_TEXT", "a.text" } };
        struct settings s = { 0 };
        struct fail f = { 0 };
        (void)state;
        config_init(&strict, &s);
        assert_int_equal(config_environment(&strict, &s, variables, 2, &f), 0);
        assert_int_equal(s.a_num, 50);
        assert_int_equal(setenv("TEST_CONFIG_NUM", "", 1), 0);
        assert_int_equal(setenv("TEST_CONFIG_TEXT", "a = b.c", 1), 0);
        assert_int_equal(config_environment(&strict, &s, variables, 2, &f), 0);
        assert_int_equal(s.a_num, 50);
        assert_string_equal(s.a_text, "a = b.c");
        assert_int_equal(setenv("TEST_CONFIG_NUM", "5", 1), 0);
        assert_int_equal(config_environment(&strict, &s, variables, 2, &f), E_CONFIG);
        assert_non_null(strstr(f.text, "TEST_CONFIG_NUM in the environment"));
        assert_non_null(strstr(f.text, "10 to 1000"));
        assert_int_equal(unsetenv("TEST_CONFIG_NUM"), 0);
        config_done(&strict, &s);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_file),
                cmocka_unit_test(test_set),
                cmocka_unit_test(test_addresses),
                cmocka_unit_test(test_environment),
                cmocka_unit_test(test_refusals),
                cmocka_unit_test(test_texts),
        };
        return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
