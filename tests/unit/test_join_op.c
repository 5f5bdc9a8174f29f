/* The replicated operations about tokens and members, on a state in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "raftctl/join_op.h"
#include "state/kv_mem.h"
#include "state/table.h"
#include "wire/codec/codec.h"
#include "wire/net/join_token.h"
#include "wire/net/pki.h"

enum { NOW = 1000000 };

static struct kv_mem *kv;
static uint64_t wall_ms;
static char last_text[512];

/* Returns the outcome's error. Writes of refused operations are dropped, as the driver does. */
static int run(const char *path, const struct type_desc *type, const void *body)
{
        struct buf req = { 0 }, reply = { 0 };
        struct arena a = { 0 };
        struct op_outcome out = { 0 };
        assert_int_equal(join_op_encode(path, type, body, wall_ms, "m", &req), 0);
        assert_true(join_op_is(buf_blob(&req)));
        struct tx *tx = kv_mem_write(kv);
        int rc = join_op_evaluate(tx, buf_blob(&req), NULL, &reply);
        if (rc == 0) assert_int_equal(kv_mem_commit(tx), 0);
        else kv_mem_end(tx);
        assert_int_equal(dec_msgpack(&op_outcome_type, buf_blob(&reply), DEC_STRICT, &a, &out, NULL), 0);
        assert_int_equal(rc, out.err == 0 ? 0 : E_INVALID);
        last_text[0] = '\0';
        if (out.err != 0) {
                assert_non_null(out.text);
                (void)snprintf(last_text, sizeof last_text, "%s; %s", out.text, out.remedy);
        }
        int err = (int)out.err;
        buf_done(&req);
        buf_done(&reply);
        arena_done(&a);
        return err;
}

static int token(const char *id, enum cert_role role, const char *name, const char *secret)
{
        uint8_t hash[TOKEN_HASH_SIZE];
        struct token_op op = { 0 };
        token_hash(BLOB(secret, strlen(secret)), hash);
        SET(&op, token_op, id, id);
        SET(&op, token_op, secret_hash, BLOB(hash, sizeof hash));
        SET(&op, token_op, role, role);
        if (name != NULL) SET(&op, token_op, name, name);
        SET(&op, token_op, expires_ms, NOW + 3600000);
        return run(JOIN_OP_TOKEN, &token_op_type, &op);
}

static int join(const char *id, const char *secret, enum cert_role role, const char *name, uint64_t raft_id,
        const char *pin)
{
        uint8_t hash[TOKEN_HASH_SIZE];
        struct join_op op = { 0 };
        if (id != NULL) {
                token_hash(BLOB(secret, strlen(secret)), hash);
                SET(&op, join_op, token_id, id);
                SET(&op, join_op, secret_hash, BLOB(hash, sizeof hash));
        }
        SET(&op, join_op, name, name);
        SET(&op, join_op, role, role);
        SET(&op, join_op, address, "10.0.0.1:3372");
        SET(&op, join_op, raft_id, raft_id);
        SET(&op, join_op, key_pin, pin);
        SET(&op, join_op, fingerprint, pin);
        return run(JOIN_OP_JOIN, &join_op_type, &op);
}

static int member(const char *name, bool remove, bool standby)
{
        struct member_op op = { 0 };
        SET(&op, member_op, name, name);
        if (remove) SET(&op, member_op, remove, true);
        SET(&op, member_op, standby, standby);
        return run(JOIN_OP_MEMBERS, &member_op_type, &op);
}

static uint64_t id_of(const char *name)
{
        struct arena a = { 0 };
        struct member m = { .name = name };
        struct tx *tx = kv_mem_read(kv);
        uint64_t id = row_get(tx, &member_type, &m, &a, &m) == 0 ? m.raft_id : 0;
        kv_mem_end(tx);
        arena_done(&a);
        return id;
}

static void test_token_rules(void **state)
{
        assert_int_equal(token("t1", cert_role_CONTROLLER, NULL, "s1"), 0);
        assert_int_equal(token("t1", cert_role_CONTROLLER, NULL, "s1"), E_EXISTS);
        assert_int_equal(join("t1", "wrong", cert_role_CONTROLLER, "a", 5, "p"), E_AUTH);
        char wrong[512];
        (void)snprintf(wrong, sizeof wrong, "%s", last_text);
        assert_int_equal(join("none", "s1", cert_role_CONTROLLER, "a", 5, "p"), E_AUTH);
        assert_string_equal(wrong, last_text); /* an unknown id and a wrong secret look the same */
        assert_int_equal(join("none", "", cert_role_CONTROLLER, "a", 5, "p"), E_AUTH);
        assert_int_equal(join("t1", "s1", cert_role_SATELLITE, "a", 5, "p"), E_AUTH); /* role */
        assert_int_equal(id_of("a"), 0); /* nothing was used up or made */
        assert_int_equal(join("t1", "s1", cert_role_CONTROLLER, "a", 5, "p"), 0);
        assert_int_equal(id_of("a"), 5);
        assert_int_equal(join("t1", "s1", cert_role_CONTROLLER, "a", 5, "p"), 0); /* the answer got lost */
        assert_int_equal(join("t1", "s1", cert_role_CONTROLLER, "a", 5, "other"), E_AUTH); /* another key */
        assert_int_equal(join("t1", "s1", cert_role_CONTROLLER, "b", 6, "p"), E_AUTH);
        assert_non_null(strstr(last_text, "was used by 'a'"));
        assert_int_equal(token("t2", cert_role_CONTROLLER, "only", "s2"), 0);
        assert_int_equal(join("t2", "s2", cert_role_CONTROLLER, "b", 6, "q"), E_AUTH);
        wall_ms = NOW + 3600000;
        assert_int_equal(join("t2", "s2", cert_role_CONTROLLER, "only", 6, "q"), E_AUTH);
        assert_non_null(strstr(last_text, "expired"));
        wall_ms = NOW + 3599999;
        assert_int_equal(join("t2", "s2", cert_role_CONTROLLER, "only", 6, "q"), 0);
}

static void test_ids(void **state)
{
        assert_int_equal(token("t3", cert_role_CONTROLLER, NULL, "s3"), 0);
        assert_int_equal(
                join("t3", "s3", cert_role_CONTROLLER, "A", 77, "r"), E_EXISTS);         /* names: any case */
        assert_int_equal(join("t3", "s3", cert_role_CONTROLLER, "c", 5, "r"), E_EXISTS); /* an id in use */
        assert_int_equal(join("t3", "s3", cert_role_CONTROLLER, "c", 0, "r"), E_INVALID);
        assert_int_equal(join("t3", "s3", cert_role_CONTROLLER, "c", UINT64_C(1) << 63, "r"), E_INVALID);
        assert_int_equal(join("t3", "s3", cert_role_CLIENT, "c", 7, "r"), E_INVALID);
        assert_int_equal(join("t3", "s3", cert_role_CONTROLLER, "c", 7, "r"), 0); /* still unused till here */
}

static unsigned removed_rows(void)
{
        struct row_scan s;
        struct arena a = { 0 };
        struct removed_member r = { 0 };
        unsigned n = 0;
        struct tx *tx = kv_mem_read(kv);
        row_scan_open(&s, tx, &removed_member_type, &r, 0);
        while (row_scan_next(&s, &a, &r)) n++;
        row_scan_close(&s);
        kv_mem_end(tx);
        arena_done(&a);
        return n;
}

static void test_witness_comes_back(void **state)
{
        assert_int_equal(token("t4", cert_role_WITNESS, NULL, "s4"), 0);
        assert_int_equal(join("t4", "s4", cert_role_WITNESS, "w", 40, "wpin"), 0);
        assert_int_equal(
                join(NULL, NULL, cert_role_WITNESS, "w", 41, "other"), E_AUTH); /* another certificate */
        assert_int_equal(join(NULL, NULL, cert_role_WITNESS, "w", 41, "wpin"), 0);
        assert_int_equal(id_of("w"), 41);                                          /* the former id is gone */
        assert_int_equal(join(NULL, NULL, cert_role_WITNESS, "w", 41, "wpin"), 0); /* the answer got lost */
        assert_int_equal(join(NULL, NULL, cert_role_WITNESS, "w", 42, "wpin"), E_BUSY); /* in a circle */
        wall_ms += 5000;
        assert_int_equal(join(NULL, NULL, cert_role_WITNESS, "w", 40, "wpin"), E_AUTH); /* a former id */
        assert_int_equal(join(NULL, NULL, cert_role_WITNESS, "w", 42, "wpin"), 0);
        for (uint64_t i = 0; i < 40; i++) { /* former ids are kept, but not without end */
                wall_ms += 5000;
                assert_int_equal(join(NULL, NULL, cert_role_WITNESS, "w", 1000 + i, "wpin"), 0);
        }
        assert_int_equal(removed_rows(), 16);
        wall_ms = NOW;
        assert_int_equal(join(NULL, NULL, cert_role_CONTROLLER, "a", 50, "q"), E_AUTH);
        assert_int_equal(join(NULL, NULL, cert_role_WITNESS, "a", 50, "p"), E_AUTH); /* not a witness */
        assert_int_equal(id_of("a"), 5);
        assert_int_equal(member("w", true, false), 0);
        assert_int_equal(join(NULL, NULL, cert_role_WITNESS, "w", 42, "wpin"), E_AUTH); /* removed for good */
}

static void test_controller_comes_back(void **state)
{
        assert_int_equal(join(NULL, NULL, cert_role_CONTROLLER, "a", 6000, "p"), 0);
        assert_int_equal(id_of("a"), 6000);
        assert_int_equal(join(NULL, NULL, cert_role_CONTROLLER, "nobody", 6001, "n"), E_AUTH);
        assert_int_equal(join(NULL, NULL, cert_role_SATELLITE, "a", 6001, "p"), E_AUTH);
}

static int join_volatile(const char *token, const char *name, uint64_t raft_id)
{
        uint8_t hash[TOKEN_HASH_SIZE];
        struct join_op op = { 0 };
        token_hash(BLOB(token, strlen(token)), hash);
        SET(&op, join_op, token_id, token);
        SET(&op, join_op, secret_hash, BLOB(hash, sizeof hash));
        SET(&op, join_op, name, name);
        SET(&op, join_op, role, cert_role_WITNESS);
        SET(&op, join_op, address, "10.0.0.1:3372");
        SET(&op, join_op, raft_id, raft_id);
        SET(&op, join_op, is_volatile, true);
        SET(&op, join_op, fingerprint, name);
        SET(&op, join_op, key_pin, name);
        return run(JOIN_OP_JOIN, &join_op_type, &op);
}

static void test_sound_voters(void **state)
{
        /* three controllers: a, only, c */
        for (const char *const *t = (const char *const[]){ "v1", "v2", "v3", "v4", "v5", NULL }; *t != NULL;
                t++)
                assert_int_equal(token(*t, cert_role_WITNESS, NULL, *t), 0);
        assert_int_equal(join_volatile("v1", "v1", 101), 0);
        assert_int_equal(join_volatile("v2", "v2", 102), 0); /* 3 of 5 keep their votes */
        assert_int_equal(join_volatile("v3", "v3", 103), E_INVALID);
        assert_non_null(strstr(last_text, "volatile"));
        assert_non_null(strstr(last_text, "another controller"));
        assert_int_equal(join("v4", "v4", cert_role_WITNESS, "w4", 104, "w4"), 0); /* 4 of 6, 3 controllers */
        assert_int_equal(join("v5", "v5", cert_role_WITNESS, "w5", 105, "w5"), E_INVALID);
        assert_non_null(strstr(last_text, "no state"));
        assert_int_equal(member("c", true, false), E_INVALID);
        assert_int_equal(member("c", false, true), E_INVALID);
        assert_int_equal(id_of("c"), 7);
        assert_int_equal(member("v2", true, false), 0);
        assert_int_equal(member("w4", true, false), 0);
        assert_int_equal(member("v1", true, false), 0);
}

static void test_members(void **state)
{
        assert_int_equal(member("nobody", true, false), E_NOT_FOUND);
        assert_int_equal(member("c", true, false), 0);
        assert_int_equal(member("only", false, true), 0);
        assert_int_equal(member("a", true, false), E_INVALID); /* the last that may vote */
        assert_int_equal(member("a", false, true), E_INVALID);
        assert_int_equal(member("only", false, false), 0);
        assert_int_equal(member("a", true, false), 0);
        assert_int_equal(id_of("a"), 0);
}

/* Whoever was removed: neither with the old id, nor with the old certificate; but under the old name as a new
 * one. */
static void test_removed_members(void **state)
{
        unsigned rows = removed_rows();
        assert_true(rows > 3); /* w, c, a, and former ids */
        assert_int_equal(token("t5", cert_role_CONTROLLER, NULL, "s5"), 0);
        assert_int_equal(join("t1", "s1", cert_role_CONTROLLER, "a", 5, "p"), E_AUTH); /* its used token */
        assert_int_equal(join("t5", "s5", cert_role_CONTROLLER, "a", 5, "new"), E_AUTH);
        assert_non_null(strstr(last_text, "was removed"));
        assert_int_equal(join("t5", "s5", cert_role_CONTROLLER, "a", 90, "p"), E_AUTH);
        assert_int_equal(join("t5", "s5", cert_role_CONTROLLER, "a", 90, "new"), 0);
        assert_int_equal(id_of("a"), 90);
        assert_int_equal(token("t6", cert_role_WITNESS, NULL, "s6"), 0);
        assert_int_equal(join("t6", "s6", cert_role_WITNESS, "w", 91, "new witness"), 0);
        assert_int_equal(
                join(NULL, NULL, cert_role_WITNESS, "w", 92, "wpin"), E_AUTH); /* the first w comes back */
        assert_int_equal(id_of("w"), 91);
        assert_int_equal(member("w", true, false), 0);
        assert_int_equal(removed_rows(), rows + 1);
}

static void test_removed_members_are_swept(void **state)
{
        wall_ms = NOW + (uint64_t)(PKI_LEAF_DAYS + 2) * 86400000;
        assert_int_equal(member("only", true, false), 0);
        assert_int_equal(removed_rows(), 1); /* the others' certificates have expired */
}

static void test_old_tokens_are_swept(void **state)
{
        struct join_token t = { .id = "t2" };
        struct tx *tx = kv_mem_read(kv);
        assert_true(row_exists(tx, &join_token_type, &t));
        kv_mem_end(tx);
        wall_ms = NOW + UINT64_C(100000000);
        struct token_op op = { 0 };
        uint8_t hash[TOKEN_HASH_SIZE] = { 0 };
        SET(&op, token_op, id, "t9");
        SET(&op, token_op, secret_hash, BLOB(hash, sizeof hash));
        SET(&op, token_op, role, cert_role_WITNESS);
        SET(&op, token_op, expires_ms, (int64_t)wall_ms + 1);
        assert_int_equal(run(JOIN_OP_TOKEN, &token_op_type, &op), 0);
        tx = kv_mem_read(kv);
        assert_false(row_exists(tx, &join_token_type, &t));
        kv_mem_end(tx);
}

static int setup(void **state)
{
        kv = kv_mem_new();
        wall_ms = NOW;
        return 0;
}

static int teardown(void **state)
{
        kv_mem_free(kv);
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_token_rules),
                cmocka_unit_test(test_ids),
                cmocka_unit_test(test_witness_comes_back),
                cmocka_unit_test(test_controller_comes_back),
                cmocka_unit_test(test_sound_voters),
                cmocka_unit_test(test_members),
                cmocka_unit_test(test_removed_members),
                cmocka_unit_test(test_old_tokens_are_swept),
                cmocka_unit_test(test_removed_members_are_swept),
        };
        return cmocka_run_group_tests_name("join_op", tests, setup, teardown);
}
