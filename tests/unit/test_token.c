/* Tokens as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/net/join_token.h"

static char *make(size_t secret_n)
{
        static const char *addresses[] = { "10.0.0.1:3372", "[fd00::2]:3372" };
        static const uint8_t bytes[64] = { 1, 2, 3 };
        struct join_ticket t = { 0 };
        struct buf b = { 0 };
        SET(&t, join_ticket, addresses, addresses);
        t.addresses_n = 2;
        SET(&t, join_ticket, pin, BLOB(bytes, 32));
        SET(&t, join_ticket, id, "0123456789abcdef");
        SET(&t, join_ticket, secret, BLOB(bytes, secret_n));
        SET(&t, join_ticket, expires_ms, 1700000000000);
        SET(&t, join_ticket, role, cert_role_SATELLITE);
        SET(&t, join_ticket, cluster, "11111111-2222-3333-4444-555555555555");
        assert_int_equal(token_encode(&t, &b), 0);
        char *s = xstrdup(buf_cstr(&b));
        buf_done(&b);
        return s;
}

static int decode(const char *text, struct arena *a, struct join_ticket *t)
{
        struct fail f = { 0 };
        *t = (struct join_ticket){ 0 };
        int err = token_decode(text, a, t, &f);
        if (err != 0) assert_non_null(strstr(f.text, "raftctl token create")); /* always with the remedy */
        return err;
}

static void test_round_trip(void **state)
{
        struct arena a = { 0 };
        struct join_ticket t;
        char *s = make(TOKEN_SECRET_SIZE);
        for (const char *p = s; *p != '\0'; p++)
                assert_non_null(
                        strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", *p));
        assert_int_equal(decode(s, &a, &t), 0);
        assert_int_equal(t.addresses_n, 2);
        assert_string_equal(t.addresses[1], "[fd00::2]:3372");
        assert_int_equal(t.role, cert_role_SATELLITE);
        char *padded = xasprintf("  %.20s\n %s \n", s, s + 20); /* as mail programs break it */
        assert_int_equal(decode(padded, &a, &t), 0);
        assert_string_equal(t.id, "0123456789abcdef");
        free(padded);
        free(s);
        arena_done(&a);
}

static void test_refused(void **state)
{
        struct arena a = { 0 };
        struct join_ticket t;
        char *s = make(TOKEN_SECRET_SIZE);
        size_t n = strlen(s);
        assert_int_equal(decode("", &a, &t), E_INVALID);
        assert_int_equal(decode("hello world!", &a, &t), E_INVALID);
        for (size_t cut = 1; cut < n; cut++) { /* every truncation, as of a line that was not copied whole */
                char c = s[n - cut];
                s[n - cut] = '\0';
                assert_int_equal(decode(s, &a, &t), E_INVALID);
                s[n - cut] = c;
        }
        free(s);
        s = make(TOKEN_SECRET_SIZE - 1);
        assert_int_equal(decode(s, &a, &t), E_INVALID);
        free(s);
        char *big = xmalloc(TOKEN_TEXT_MAX + 2);
        memset(big, 'A', TOKEN_TEXT_MAX + 1);
        big[TOKEN_TEXT_MAX + 1] = '\0';
        assert_int_equal(decode(big, &a, &t), E_INVALID);
        free(big);
        arena_done(&a);
}

static void test_hash(void **state)
{
        uint8_t x[TOKEN_HASH_SIZE], y[TOKEN_HASH_SIZE];
        token_hash(BLOB("a", 1), x);
        token_hash(BLOB("a", 1), y);
        assert_memory_equal(x, y, sizeof x);
        token_hash(BLOB("b", 1), y);
        assert_memory_not_equal(x, y, sizeof x);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_round_trip),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_hash),
        };
        return cmocka_run_group_tests_name("token", tests, NULL, NULL);
}
