#include "raftctl/join_op.h"

#include <inttypes.h>
#include <sodium.h>
#include <string.h>
#include <time.h>

#include "state/table.h"
#include "wire/codec/codec.h"
#include "wire/net/join_token.h"
#include "wire/net/pki.h"

enum { ARENA_MAX = 4 << 20, KEEP_EXPIRED_MS = 86400000 };
#define KEEP_REMOVED_MS ((uint64_t)(PKI_LEAF_DAYS + 1) * 86400000)

struct join_eval {
        struct tx *tx;
        struct arena arena;
        struct request req;
        struct op_outcome out;
};

static int refuse(struct join_eval *e, int err, const char *text, const char *remedy)
{
        SET(&e->out, op_outcome, err, err);
        SET(&e->out, op_outcome, text, text);
        SET(&e->out, op_outcome, remedy, remedy);
        return E_INVALID;
}

static const char *when(struct join_eval *e, int64_t ms)
{
        time_t t = (time_t)(ms / 1000);
        struct tm tm;
        char text[32] = "?";
        if (gmtime_r(&t, &tm) != NULL) (void)strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &tm);
        return arena_strdup(&e->arena, text);
}

static void sweep_tokens(struct join_eval *e)
{
        struct row_scan s;
        struct join_token t = { 0 };
        row_scan_open(&s, e->tx, &join_token_type, &t, 0);
        while (row_scan_next(&s, &e->arena, &t))
                if (t.expires_ms < e->req.wall_ms &&
                        (uint64_t)e->req.wall_ms - (uint64_t)t.expires_ms > KEEP_EXPIRED_MS)
                        (void)row_del(e->tx, &join_token_type, &t);
        row_scan_close(&s);
}

static int eval_token(struct join_eval *e, const struct token_op *op)
{
        struct join_token t = { 0 };
        sweep_tokens(e);
        SET(&t, join_token, id, op->id);
        if (row_exists(e->tx, &join_token_type, &t))
                return refuse(e, E_EXISTS, "a token of this id exists already", "create another one");
        if (op->secret_hash.n != TOKEN_HASH_SIZE || op->expires_ms <= e->req.wall_ms)
                return refuse(
                        e, E_INVALID, "the token would not be usable", "give a time to live above zero");
        SET(&t, join_token, secret_hash, op->secret_hash);
        SET(&t, join_token, role, op->role);
        SET(&t, join_token, name, op->name != NULL ? op->name : "");
        SET(&t, join_token, expires_ms, op->expires_ms);
        return row_put(e->tx, &join_token_type, &t);
}

static int check_token(struct join_eval *e, const struct join_op *op, struct join_token *t)
{
        static const uint8_t nothing[TOKEN_HASH_SIZE];
        SET(t, join_token, id, op->token_id);
        bool found = row_get(e->tx, &join_token_type, t, &e->arena, t) == 0;
        const uint8_t *want = found && t->secret_hash.n == TOKEN_HASH_SIZE ? t->secret_hash.p : nothing;
        bool right = op->secret_hash.n == TOKEN_HASH_SIZE &&
                     sodium_memcmp(want, op->secret_hash.p, TOKEN_HASH_SIZE) == 0;
        if (!found || !right) /* the same words for both: ids cannot be probed */
                return refuse(e, E_AUTH,
                        "this token is not known here (mistyped, made long ago, or of another cluster)",
                        "make a new one with 'raftctl token create' on a member");
        if (t->used_by != NULL && t->used_by[0] != '\0') {
                if (strcmp(t->used_by, op->name) == 0 && t->used_key_pin != NULL && op->key_pin != NULL &&
                        strcmp(t->used_key_pin, op->key_pin) == 0)
                        return 0; /* the answer got lost: the same key asks again */
                return refuse(e, E_AUTH,
                        arena_printf(&e->arena, "this token was used by '%s' on %s; each one works once",
                                t->used_by, when(e, t->used_ms)),
                        "make a new one with 'raftctl token create' on a member; if nobody was meant to use "
                        "it, remove that member");
        }
        if (t->expires_ms <= e->req.wall_ms)
                return refuse(e, E_AUTH,
                        arena_printf(&e->arena, "this token expired on %s", when(e, t->expires_ms)),
                        "make a new one with 'raftctl token create' on a member");
        if (t->role != op->role)
                return refuse(e, E_AUTH, "this token is for another role",
                        "make one with 'raftctl token create --role'");
        if (t->name != NULL && t->name[0] != '\0' && strcmp(t->name, op->name) != 0)
                return refuse(e, E_AUTH, arena_printf(&e->arena, "this token is for '%s' only", t->name),
                        "join under that name, or make a token without --name");
        return 0;
}

/* Notes that m may not come back, and forgets those whose certificates have expired by now. */
static int put_removed(struct join_eval *e, const struct member *m)
{
        struct row_scan s;
        struct removed_member old = { 0 }, r = { 0 };
        row_scan_open(&s, e->tx, &removed_member_type, &old, 0);
        while (row_scan_next(&s, &e->arena, &old))
                if (old.removed_ms < e->req.wall_ms &&
                        (uint64_t)e->req.wall_ms - (uint64_t)old.removed_ms > KEEP_REMOVED_MS)
                        (void)row_del(e->tx, &removed_member_type, &old);
        row_scan_close(&s);
        SET(&r, removed_member, raft_id, m->raft_id);
        SET(&r, removed_member, name, m->name);
        if (m->fingerprint != NULL) SET(&r, removed_member, fingerprint, m->fingerprint);
        SET(&r, removed_member, removed_ms, e->req.wall_ms);
        return row_put(e->tx, &removed_member_type, &r);
}

static bool is_removed(struct join_eval *e, uint64_t id, const char *fingerprint)
{
        struct row_scan s;
        struct removed_member r = { 0 };
        bool yes = false;
        row_scan_open(&s, e->tx, &removed_member_type, &r, 0);
        while (row_scan_next(&s, &e->arena, &r))
                yes |= r.raft_id == id || (fingerprint != NULL && r.fingerprint != NULL &&
                                                  strcmp(r.fingerprint, fingerprint) == 0);
        row_scan_close(&s);
        return yes;
}

/* The id must not be, or have been, anybody else's. */
static bool id_taken(struct join_eval *e, uint64_t id, const char *but_name)
{
        struct row_scan s;
        struct member m = { 0 };
        bool taken = false;
        row_scan_open(&s, e->tx, &member_type, &m, 0);
        while (row_scan_next(&s, &e->arena, &m))
                if (m.raft_id == id && strcmp(m.name, but_name) != 0) taken = true;
        row_scan_close(&s);
        return taken;
}

static int put_member(struct join_eval *e, const struct join_op *op)
{
        struct member m = { 0 };
        SET(&m, member, name, op->name);
        int err = row_get(e->tx, &member_type, &m, &e->arena, &m);
        if (err != 0 && err != E_NOT_FOUND) return err;
        bool exists = err == 0, returns = op->token_id == NULL;
        if (op->raft_id == 0 || op->raft_id >> 63 != 0 || op->address == NULL || op->address[0] == '\0')
                return refuse(e, E_INVALID, "the request lacks a member id or an address",
                        "use this version's 'raftctl join'");
        if (returns && (!exists || m.role != cert_role_WITNESS))
                return refuse(e, E_AUTH,
                        arena_printf(&e->arena, "'%s' is not a witness of this cluster (any more)", op->name),
                        "join with a token");
        if (!returns && exists && m.raft_id != op->raft_id)
                return refuse(e, E_EXISTS,
                        arena_printf(&e->arena, "a member named '%s' exists already", op->name),
                        arena_printf(&e->arena,
                                "choose another name, or, if that machine is gone for good, 'raftctl remove "
                                "%s' first",
                                op->name));
        if (is_removed(e, op->raft_id, op->fingerprint))
                return refuse(e, E_AUTH,
                        arena_printf(&e->arena, "this machine was a member, '%s', and was removed", op->name),
                        "move its data directory away, and join with a new token");
        if (id_taken(e, op->raft_id, op->name))
                return refuse(e, E_EXISTS, "another member has this id",
                        "move the data directory away and join anew");
        if (!exists) {
                m = (struct member){ 0 };
                SET(&m, member, name, op->name);
                SET(&m, member, joined_ms, e->req.wall_ms);
        }
        SET(&m, member, raft_id, op->raft_id);
        SET(&m, member, address, op->address);
        SET(&m, member, role, op->role);
        if (op->fingerprint != NULL) SET(&m, member, fingerprint, op->fingerprint);
        return row_put(e->tx, &member_type, &m);
}

static int eval_join(struct join_eval *e, const struct join_op *op)
{
        struct join_token t = { 0 };
        struct cluster c = { 0 };
        if (op->role == cert_role_CLIENT)
                return refuse(e, E_INVALID, "clients do not join", "use 'raftctl client-cert'");
        int err = op->token_id != NULL ? check_token(e, op, &t) : 0;
        if (err == 0 && op->token_id == NULL && op->role != cert_role_WITNESS)
                err = refuse(
                        e, E_AUTH, "no token was given", "make one with 'raftctl token create' on a member");
        if (err == 0 && op->role != cert_role_SATELLITE) err = put_member(e, op);
        if (err == 0 && op->token_id != NULL && (t.used_by == NULL || t.used_by[0] == '\0')) {
                SET(&t, join_token, used_by, op->name);
                SET(&t, join_token, used_ms, e->req.wall_ms);
                SET(&t, join_token, used_key_pin, op->key_pin != NULL ? op->key_pin : "");
                err = row_put(e->tx, &join_token_type, &t);
        }
        if (err == 0 && row_get_single(e->tx, &cluster_type, &e->arena, &c) == 0 && c.uuid != NULL)
                SET(&e->out, op_outcome, cluster, c.uuid);
        return err;
}

static uint32_t other_controllers(struct join_eval *e, const char *name)
{
        struct row_scan s;
        struct member m = { 0 };
        uint32_t n = 0;
        row_scan_open(&s, e->tx, &member_type, &m, 0);
        while (row_scan_next(&s, &e->arena, &m))
                if (m.role == cert_role_CONTROLLER && !m.standby && strcmp(m.name, name) != 0) n++;
        row_scan_close(&s);
        return n;
}

static int eval_member(struct join_eval *e, const struct member_op *op)
{
        struct member m = { 0 };
        SET(&m, member, name, op->name);
        int err = row_get(e->tx, &member_type, &m, &e->arena, &m);
        if (err == E_NOT_FOUND)
                return refuse(e, E_NOT_FOUND,
                        arena_printf(&e->arena, "there is no member named '%s'", op->name),
                        "'raftctl status' shows their names");
        if (err != 0) return err;
        if ((op->remove || op->standby) && m.role == cert_role_CONTROLLER &&
                other_controllers(e, m.name) == 0)
                return refuse(e, E_INVALID,
                        arena_printf(&e->arena, "'%s' is the last controller that may vote", m.name),
                        "let another controller join first");
        if (op->remove) {
                err = put_removed(e, &m);
                return err != 0 ? err : row_del(e->tx, &member_type, &m);
        }
        SET(&m, member, standby, op->standby);
        return row_put(e->tx, &member_type, &m);
}

static bool known_path(const char *path)
{
        return strcmp(path, JOIN_OP_TOKEN) == 0 || strcmp(path, JOIN_OP_JOIN) == 0 ||
               strcmp(path, JOIN_OP_MEMBERS) == 0;
}

bool join_op_is(struct blob request)
{
        struct arena a;
        struct request r = { 0 };
        arena_init(&a, ARENA_MAX + 2 * request.n);
        bool yes = dec_msgpack(&request_type, request, DEC_TOLERANT, &a, &r, NULL) == 0 && known_path(r.path);
        arena_done(&a);
        return yes;
}

static int dispatch(struct join_eval *e)
{
        struct fail f = { 0 };
        struct token_op token = { 0 };
        struct join_op join = { 0 };
        struct member_op member = { 0 };
        int err;
        if (strcmp(e->req.path, JOIN_OP_TOKEN) == 0) {
                err = dec_msgpack(&token_op_type, e->req.body, DEC_TOLERANT, &e->arena, &token, &f);
                if (err == 0) return eval_token(e, &token);
        } else if (strcmp(e->req.path, JOIN_OP_JOIN) == 0) {
                err = dec_msgpack(&join_op_type, e->req.body, DEC_TOLERANT, &e->arena, &join, &f);
                if (err == 0) return eval_join(e, &join);
        } else {
                err = dec_msgpack(&member_op_type, e->req.body, DEC_TOLERANT, &e->arena, &member, &f);
                if (err == 0) return eval_member(e, &member);
        }
        return refuse(e, err, arena_printf(&e->arena, "the request cannot be read: %s", f.text), "");
}

int join_op_evaluate(struct tx *tx, struct blob request, struct buf *ret_reply)
{
        struct join_eval e = { .tx = tx };
        struct fail f = { 0 };
        arena_init(&e.arena, ARENA_MAX + 2 * request.n);
        int err = dec_msgpack(&request_type, request, DEC_TOLERANT, &e.arena, &e.req, &f);
        err = err == 0 ? dispatch(&e) : refuse(&e, err, "the request cannot be read", "");
        if (err != 0 && err != E_INVALID) { /* storage: sticks to tx as well */
                arena_done(&e.arena);
                return err;
        }
        int enc = enc_msgpack(&op_outcome_type, &e.out, ret_reply);
        arena_done(&e.arena);
        return enc != 0 ? enc : err;
}

int join_op_encode(const char *path, const struct type_desc *body_type, const void *body, uint64_t wall_ms,
        const char *member, struct buf *out)
{
        struct buf b = { 0 };
        struct request r = { 0 };
        int err = enc_msgpack(body_type, body, &b);
        SET(&r, request, method, "POST");
        SET(&r, request, path, path);
        SET(&r, request, body, buf_blob(&b));
        SET(&r, request, wall_ms, (int64_t)wall_ms);
        SET(&r, request, seed, 0);
        SET(&r, request, member, member);
        if (err == 0) err = enc_msgpack(&request_type, &r, out);
        buf_done(&b);
        return err;
}
