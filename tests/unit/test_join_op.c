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
static struct join_context ctx;

/* Returns the outcome's error. Writes of refused operations are dropped, as the driver does. */
static int run(const char *path, const struct type_desc *type, const void *body)
{
        struct buf req = { 0 }, reply = { 0 };
        struct arena a = { 0 };
        struct op_outcome out = { 0 };
        assert_int_equal(join_op_encode(path, type, body, wall_ms, "m", &req), 0);
        assert_true(join_op_is(buf_blob(&req)));
        struct tx *tx = kv_mem_write(kv);
        int rc = join_op_evaluate(tx, buf_blob(&req), &ctx, &reply);
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
        assert_non_null(strstr(last_text, "keep their vote"));
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

/* ---- who answers ---- */

static struct driver_status seen;
static struct policy_view view = { .status = &seen, .now_ms = 100000, .alive_ms = 1500 };

/* Members of the configuration by id; those below 1000 answer. */
static void voters_are(uint64_t a, uint64_t b, uint64_t c)
{
        const uint64_t ids[] = { a, b, c };
        seen = (struct driver_status){ .id = a, .leader_id = a, .state = DRIVER_LEADER };
        for (unsigned i = 0; i < ARRAY_LEN(ids) && ids[i] != 0; i++)
                seen.members[seen.members_n++] = (struct driver_member){ .id = ids[i],
                        .role = MEMBER_VOTER,
                        .link_up = ids[i] < 1000,
                        .last_contact_ms = ids[i] < 1000 ? 99900 : 100 };
}

/* A return that waited for a leader while the former store was put back: that member goes on as it is. */
static void test_return_of_one_who_answers(void **state)
{
        assert_int_equal(token("back", cert_role_CONTROLLER, NULL, "back"), 0);
        assert_int_equal(join("back", "back", cert_role_CONTROLLER, "back", 300, "backpin"), 0);
        voters_are(5, 300, 1001);
        ctx.view = &view;
        assert_int_equal(join(NULL, NULL, cert_role_CONTROLLER, "back", 1300, "backpin"), E_BUSY);
        assert_non_null(strstr(last_text, "answers under its former id"));
        assert_int_equal(id_of("back"), 300);
        assert_int_equal(join(NULL, NULL, cert_role_CONTROLLER, "back", 300, "backpin"), 0); /* the same id */
        view.now_ms += 5000; /* it is not heard of any more */
        assert_int_equal(join(NULL, NULL, cert_role_CONTROLLER, "back", 1300, "backpin"), 0);
        assert_int_equal(id_of("back"), 1300);
        view.now_ms -= 5000;
        ctx.view = NULL;
        assert_int_equal(member("back", true, false), 0);
}

static int change(const char *name, const struct member_op *what)
{
        struct member_op op = *what;
        SET(&op, member_op, name, name);
        return run(JOIN_OP_MEMBERS, &member_op_type, &op);
}
#define CHANGE(name, field, value)                  \
        ({                                          \
                struct member_op op_ = { 0 };       \
                SET(&op_, member_op, field, value); \
                change(name, &op_);                 \
        })

static int force(const char *name, bool remove)
{
        struct member_op op = { 0 };
        SET(&op, member_op, force, true);
        SET(&op, member_op, remove, remove);
        SET(&op, member_op, standby, !remove);
        return change(name, &op);
}

static const struct member *row(const char *name)
{
        static struct arena a;
        static struct member m;
        arena_done(&a);
        a = (struct arena){ 0 };
        m = (struct member){ .name = name };
        struct tx *tx = kv_mem_read(kv);
        int err = row_get(tx, &member_type, &m, &a, &m);
        kv_mem_end(tx);
        return err == 0 ? &m : NULL;
}

static int replacing(const char *id, const char *replaces, enum cert_role role, bool force)
{
        uint8_t hash[TOKEN_HASH_SIZE];
        struct token_op op = { 0 };
        token_hash(BLOB("s", 1), hash);
        SET(&op, token_op, id, id);
        SET(&op, token_op, secret_hash, BLOB(hash, sizeof hash));
        SET(&op, token_op, role, role);
        SET(&op, token_op, expires_ms, (int64_t)wall_ms + 3600000);
        SET(&op, token_op, replaces, replaces);
        if (force) SET(&op, token_op, force, true);
        return run(JOIN_OP_TOKEN, &token_op_type, &op);
}

static void refused(int err, int expect, const char *text)
{
        if (err != expect || strstr(last_text, text) == NULL)
                fail_msg("%d: %s, not: %s", err, last_text, text);
}

static void test_quorum(void **state)
{
        ctx.view = &view;
        const char *names[] = { "q1", "q2", "q3" };
        const uint64_t ids[] = { 501, 502, 1503 };
        for (unsigned i = 0; i < 3; i++) {
                assert_int_equal(token(names[i], cert_role_CONTROLLER, NULL, "s"), 0);
                assert_int_equal(join(names[i], "s", cert_role_CONTROLLER, names[i], ids[i], names[i]), 0);
        }
        (void)member("a", true, false); /* what the tests before have left */
        voters_are(501, 502, 1503);
        refused(CHANGE("q2", remove, true), E_NO_QUORUM, "without 'q2' only 1 of 2 voters would answer");
        refused(CHANGE("q1", standby, true), E_NO_QUORUM, "no answer from: q3");
        refused(CHANGE("q1", standby, true), E_NO_QUORUM, "--force");
        assert_non_null(row("q2"));
        assert_int_equal(force("q2", false), 0);
        assert_true(row("q2")->standby && row("q2")->forced);
        assert_int_equal(CHANGE("q2", standby, false), 0);
        assert_false(row("q2")->standby || row("q2")->forced);
        assert_int_equal(CHANGE("q3", standby, true), 0); /* the dead one may go */
        assert_int_equal(CHANGE("q3", standby, false), 0);
        voters_are(501, 0, 0); /* the others are in the table only */
        refused(CHANGE("q1", remove, true), E_INVALID, "is the only voter");
        refused(force("q1", true), E_INVALID, "is the only voter"); /* not even so */
}

static void test_replacing(void **state)
{
        voters_are(501, 502, 1503);
        refused(replacing("r0", "nobody", cert_role_CONTROLLER, false), E_NOT_FOUND, "to replace");
        refused(replacing("r0", "q3", cert_role_WITNESS, false), E_INVALID, "is a controller");
        refused(replacing("r0", "q2", cert_role_CONTROLLER, false), E_EXISTS, "it is not dead");
        assert_int_equal(replacing("r1", "Q3", cert_role_CONTROLLER, false), 0);
        assert_int_equal(CHANGE("q3", zone, "left"), 0);
        assert_int_equal(id_of("q3"), 1503); /* it is there until the other one comes */
        voters_are(501, 502, 503);
        seen.members[2].id = 1503; /* it is back */
        refused(join("r1", "s", cert_role_CONTROLLER, "q3", 600, "r1"), E_EXISTS, "answers again");
        voters_are(501, 502, 1503);
        assert_int_equal(join("r1", "s", cert_role_CONTROLLER, "q3", 600, "r1"), 0); /* under the same name */
        assert_int_equal(id_of("q3"), 600);
        assert_string_equal(row("q3")->zone, "left");
        assert_int_equal(join("r1", "s", cert_role_CONTROLLER, "q3", 600, "r1"), 0); /* the answer got lost */
        assert_int_equal(id_of("q3"), 600);
        assert_int_equal(replacing("r2", "q2", cert_role_CONTROLLER, true), 0);
        refused(join("r1", "s", cert_role_CONTROLLER, "q3", 601, "r2"), E_AUTH, "was used by");
        assert_int_equal(CHANGE("q2", remove, true), 0);
        assert_int_equal(token("r3", cert_role_CONTROLLER, NULL, "s"), 0);
        assert_int_equal(join("r3", "s", cert_role_CONTROLLER, "q2", 700, "r3"), 0);
        assert_int_equal(
                join("r2", "s", cert_role_CONTROLLER, "q4", 701, "r2"), 0); /* that q2 is gone already */
        assert_int_equal(id_of("q2"), 700);
}

static void test_takes_over(void **state)
{
        struct member_op op = { 0 };
        voters_are(501, 700, 600);
        seen.members[2].last_contact_ms = 1;
        SET(&op, member_op, takes_over, "q3");
        SET(&op, member_op, raft_id, 701);
        SET(&op, member_op, from_id, 600);
        refused(change("q4", &op), E_STALE, "changed meanwhile"); /* no stand-by */
        struct member_op hold = { 0 };
        SET(&hold, member_op, standby, true);
        SET(&hold, member_op, hold, true);
        assert_int_equal(change("q4", &hold), 0);
        refused(change("q4", &op), E_STALE, "changed meanwhile"); /* held */
        assert_int_equal(CHANGE("q4", standby, true), 0);
        seen.members[2].last_contact_ms = 99900;
        refused(change("q4", &op), E_STALE, "changed meanwhile"); /* it answers */
        seen.members[2].last_contact_ms = 1;
        assert_int_equal(change("q4", &op), 0);
        assert_false(row("q4")->standby);
        assert_string_equal(row("q4")->took_over, "q3");
        assert_true(row("q3")->standby && row("q3")->stayed_away);
        refused(change("q4", &op), E_STALE, "changed meanwhile"); /* once */
        assert_int_equal(CHANGE("q3", standby, false), 0);
        assert_false(row("q3")->stayed_away);
}

static void test_limits(void **state)
{
        char id[16];
        refused(CHANGE("q4", zone, "no zone"), E_INVALID, "not a valid name");
        assert_int_equal(CHANGE("q4", zone, ""), 0);
        unsigned voters = 0, rows = 0;
        for (unsigned i = 0; i < POLICY_MEMBERS_MAX; i++) {
                (void)snprintf(id, sizeof id, "x%u", i);
                assert_int_equal(token(id, cert_role_CONTROLLER, NULL, "s"), 0);
                int err = join(id, "s", cert_role_CONTROLLER, id, 800 + i, id);
                if (err != 0) {
                        refused(err, E_LIMIT, "members already");
                        break;
                }
                rows++;
                voters += !row(id)->standby;
        }
        assert_true(rows > voters && rows < POLICY_MEMBERS_MAX); /* the eighth does not vote */
        refused(CHANGE(id, standby, false), E_NOT_FOUND, "no member");
        (void)snprintf(id, sizeof id, "x%u", rows - 1);
        refused(CHANGE(id, standby, false), E_LIMIT, "there are 7 voters");
}

static int transfer(const char *name, uint64_t from, uint64_t *ret_id)
{
        struct buf req = { 0 }, reply = { 0 };
        struct arena a = { 0 };
        struct op_outcome out = { 0 };
        struct member_op op = { 0 };
        SET(&op, member_op, name, name);
        SET(&op, member_op, from_id, from);
        assert_int_equal(join_op_encode(JOIN_OP_TRANSFER, &member_op_type, &op, wall_ms, "m", &req), 0);
        assert_true(join_op_is(buf_blob(&req)) && join_op_is_transfer(buf_blob(&req)));
        struct tx *tx = kv_mem_read(kv);
        int rc = join_op_transfer(tx, buf_blob(&req), &view, ret_id, &reply);
        kv_mem_end(tx);
        assert_int_equal(dec_msgpack(&op_outcome_type, buf_blob(&reply), DEC_STRICT, &a, &out, NULL), 0);
        assert_int_equal(rc, out.err == 0 ? 0 : E_INVALID);
        (void)snprintf(last_text, sizeof last_text, "%s", out.text != NULL ? out.text : "");
        int err = (int)out.err;
        buf_done(&req);
        buf_done(&reply);
        arena_done(&a);
        return err;
}

static void test_transfers(void **state)
{
        uint64_t id;
        voters_are(501, 700, 600);
        seen.members[2].last_contact_ms = 1;
        assert_int_equal(transfer("q2", 501, &id), 0);
        assert_int_equal(id, 700);
        assert_int_equal(transfer("", 501, &id), 0);
        assert_int_equal(id, 0); /* the best one */
        assert_int_equal(transfer("", 700, &id), 0);
        assert_int_equal(id, 501); /* leadership has moved since it was asked for: nothing to do */
        refused(transfer("q3", 501, &id), E_INVALID, "does not answer");
        refused(transfer("q4", 501, &id), E_INVALID, "is not a voter");
        refused(transfer("nobody", 501, &id), E_NOT_FOUND, "no member named");
        ctx.view = NULL;
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
                cmocka_unit_test(test_return_of_one_who_answers),
                cmocka_unit_test(test_members),
                cmocka_unit_test(test_removed_members),
                cmocka_unit_test(test_quorum),
                cmocka_unit_test(test_replacing),
                cmocka_unit_test(test_takes_over),
                cmocka_unit_test(test_limits),
                cmocka_unit_test(test_transfers),
                cmocka_unit_test(test_old_tokens_are_swept),
                cmocka_unit_test(test_removed_members_are_swept),
        };
        return cmocka_run_group_tests_name("join_op", tests, setup, teardown);
}
