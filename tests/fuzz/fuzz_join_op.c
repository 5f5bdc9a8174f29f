/* Operations about tokens and members, one after another: of few names and tokens so that they meet, or any
 * bytes. The state stays sound, a token works for one key, ids of members stay unique, a refusal says why. */
#include <string.h>

#include "raftctl/join_op.h"
#include "state/check.h"
#include "state/kv_mem.h"
#include "state/table.h"
#include "tests/fuzz/input.h"

enum { STEPS_MAX = 40 };
static const char *const names[] = { "m1", "m2", "m3", "" }, *const tokens[] = { "t1", "t2", NULL, "t3" };
static uint8_t secrets[3][32];

static struct blob hash_of(struct input *in)
{
        unsigned k = input_below(in, 8);
        memset(secrets[1], 1, sizeof secrets[1]);
        return k < 6    ? BLOB(secrets[0], 32)
               : k == 6 ? BLOB(secrets[1], 32)
                        : BLOB(secrets[0], input_below(in, 32));
}
static int64_t time_of(struct input *in)
{
        unsigned k = input_below(in, 8);
        if (k < 4) return 1700000000000 + (int64_t)k * 80000000;
        return k == 4 ? INT64_MAX - (int64_t)input_u8(in) : k == 5 ? INT64_MIN : (int64_t)input_be(in, 8);
}

/* true: it may make a token, and sweep out one that had its id. */
static bool draw(struct input *in, struct arena *a, struct buf *out)
{
        unsigned what = input_below(in, 8);
        int64_t now = time_of(in);
        const char *name = names[input_below(in, 4)], *token = tokens[input_below(in, 4)];
        if (what < 2) {
                struct token_op op = { 0 };
                SET(&op, token_op, id, token != NULL ? token : "t4");
                SET(&op, token_op, secret_hash, hash_of(in));
                SET(&op, token_op, role, (enum cert_role)input_below(in, 4));
                if (input_below(in, 2) != 0) SET(&op, token_op, name, name);
                SET(&op, token_op, expires_ms, time_of(in));
                FUZZ_CHECK(join_op_encode(JOIN_OP_TOKEN, &token_op_type, &op, (uint64_t)now & INT64_MAX, "m",
                                   out) == 0);
        } else if (what < 6) {
                struct join_op op = { 0 };
                if (token != NULL) SET(&op, join_op, token_id, token);
                SET(&op, join_op, secret_hash, hash_of(in));
                SET(&op, join_op, name, name);
                SET(&op, join_op, role, (enum cert_role)input_below(in, 4));
                if (input_below(in, 4) != 0) SET(&op, join_op, address, "10.0.0.1:3372");
                if (input_below(in, 8) != 0) SET(&op, join_op, raft_id, 1 + input_below(in, 4));
                if (input_below(in, 4) != 0) SET(&op, join_op, key_pin, name);
                SET(&op, join_op, fingerprint, input_below(in, 4) != 0 ? name : input_str(in, a));
                FUZZ_CHECK(join_op_encode(JOIN_OP_JOIN, &join_op_type, &op, (uint64_t)now & INT64_MAX, "m",
                                   out) == 0);
        } else if (what == 6) {
                struct member_op op = { 0 };
                SET(&op, member_op, name, name);
                SET(&op, member_op, remove, input_below(in, 2) != 0);
                SET(&op, member_op, standby, input_below(in, 2) != 0);
                FUZZ_CHECK(join_op_encode(JOIN_OP_MEMBERS, &member_op_type, &op, (uint64_t)now & INT64_MAX,
                                   "m", out) == 0);
        } else {
                struct request r = { 0 };
                static const char *const paths[] = { JOIN_OP_TOKEN, JOIN_OP_JOIN, JOIN_OP_MEMBERS };
                if (input_below(in, 2) != 0) {
                        struct blob any = input_blob(in);
                        buf_put(out, any.p, any.n);
                        return true;
                }
                SET(&r, request, method, "POST");
                SET(&r, request, path, paths[input_below(in, 3)]);
                SET(&r, request, body, input_blob(in));
                SET(&r, request, wall_ms, now);
                SET(&r, request, seed, 0);
                FUZZ_CHECK(enc_msgpack(&request_type, &r, out) == 0);
        }
        return what < 2 || what == 7;
}

static void print(void *arg, const char *text)
{
        (void)arg;
        (void)fprintf(stderr, "state: %s\n", text);
}

/* Tokens and their users: whoever used one is not replaced. */
static void check_tokens(struct tx *before, struct tx *after)
{
        struct row_scan s;
        struct arena a = { 0 };
        struct join_token t, was;
        row_scan_open(&s, after, &join_token_type, NULL, 0);
        while (row_scan_next(&s, &a, &t)) {
                if (row_get(before, &join_token_type, &t, &a, &was) != 0 || was.used_by == NULL ||
                        was.used_by[0] == '\0')
                        continue;
                FUZZ_CHECK(t.used_by != NULL && strcmp(t.used_by, was.used_by) == 0);
        }
        row_scan_close(&s);
        arena_done(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct input in = { data, size };
        struct kv_mem *kv = kv_mem_new();
        struct buf request = { 0 }, reply = { 0 };
        struct arena a = { 0 };
        for (unsigned i = 0; i < STEPS_MAX && in.n > 0; i++) {
                struct op_outcome out = { 0 };
                buf_reset(&request);
                buf_reset(&reply);
                bool makes_token = draw(&in, &a, &request);
                (void)join_op_is(buf_blob(&request));
                struct tx *before = kv_mem_read(kv), *tx = kv_mem_write(kv);
                int err = join_op_evaluate(tx, buf_blob(&request), NULL, &reply);
                if (err == 0 || err == E_INVALID) {
                        FUZZ_CHECK(dec_msgpack(&op_outcome_type, buf_blob(&reply), DEC_STRICT, &a, &out,
                                           NULL) == 0);
                        FUZZ_CHECK((err == 0) == (out.err == 0) &&
                                   (err == 0 || (out.text != NULL && out.text[0] != '\0')));
                } else {
                        FUZZ_CHECK(tx->err != 0); /* a key that is too long, an index that is taken */
                }
                if (err == 0) {
                        FUZZ_CHECK(state_check(tx, print, NULL) == 0);
                        if (!makes_token) check_tokens(before, tx);
                        FUZZ_CHECK(kv_mem_commit(tx) == 0);
                } else {
                        kv_mem_end(tx);
                }
                kv_mem_end(before);
        }
        kv_mem_free(kv);
        buf_done(&request);
        buf_done(&reply);
        arena_done(&a);
        return 0;
}
