#include "raftctl/join_op.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "raftctl/level.h"
#include "raftctl/voters.h"
#include "state/level.h"
#include "state/table.h"
#include "wire/codec/codec.h"
#include "wire/net/join_token.h"
#include "wire/net/pki.h"

enum {
        ARENA_MAX = 4 << 20,
        KEEP_EXPIRED_MS = 86400000,
        RETURN_EVERY_MS = 5000, /* a machine that restarts in a circle must not keep the cluster busy */
        FORMER_IDS_MAX = 16     /* for each name; older ones are denied by the member table alone */
};
#define KEEP_REMOVED_MS ((uint64_t)(PKI_LEAF_DAYS + 1) * 86400000)

struct join_eval {
        struct tx *tx;
        struct arena arena;
        struct request req;
        struct op_outcome out;
        join_op_raise_fn *raise;
        void *arg;
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

static void sweep_removed(struct join_eval *e)
{
        struct row_scan s;
        struct removed_member old = { 0 };
        row_scan_open(&s, e->tx, &removed_member_type, &old, 0);
        while (row_scan_next(&s, &e->arena, &old))
                if (old.removed_ms < e->req.wall_ms &&
                        (uint64_t)e->req.wall_ms - (uint64_t)old.removed_ms > KEEP_REMOVED_MS)
                        (void)row_del(e->tx, &removed_member_type, &old);
        row_scan_close(&s);
}

/* Notes that m may not come back, and forgets those whose certificates have expired by now. */
static int put_removed(struct join_eval *e, const struct member *m)
{
        struct removed_member r = { 0 };
        sweep_removed(e);
        SET(&r, removed_member, raft_id, m->raft_id);
        SET(&r, removed_member, name, m->name);
        if (m->fingerprint != NULL) SET(&r, removed_member, fingerprint, m->fingerprint);
        SET(&r, removed_member, removed_ms, e->req.wall_ms);
        return row_put(e->tx, &removed_member_type, &r);
}

/* m goes on under another id: the former one may not come back, its certificate stays good. The row is without a
 * fingerprint. */
static int put_former_id(struct join_eval *e, const struct member *m)
{
        struct row_scan s;
        struct removed_member r = { 0 }, oldest = { 0 }, add = { 0 };
        uint32_t n = 0;
        row_scan_open(&s, e->tx, &removed_member_type, &r, 0);
        while (row_scan_next(&s, &e->arena, &r)) {
                if (r.fingerprint != NULL || r.name == NULL || strcmp(r.name, m->name) != 0) continue;
                if (n++ == 0 || r.removed_ms < oldest.removed_ms) oldest = r;
        }
        row_scan_close(&s);
        if (n >= FORMER_IDS_MAX) (void)row_del(e->tx, &removed_member_type, &oldest);
        SET(&add, removed_member, raft_id, m->raft_id);
        SET(&add, removed_member, name, m->name);
        SET(&add, removed_member, removed_ms, e->req.wall_ms);
        return row_put(e->tx, &removed_member_type, &add);
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

static void count_voters(struct join_eval *e, struct voters *v)
{
        struct row_scan s;
        struct member m = { 0 };
        *v = (struct voters){ 0 };
        row_scan_open(&s, e->tx, &member_type, &m, 0);
        while (row_scan_next(&s, &e->arena, &m))
                if (!m.standby) voters_add(v, m.role == cert_role_CONTROLLER, m.is_volatile);
        row_scan_close(&s);
}

/* After the rows were changed: are the voters still a sound set? */
static int check_voters(struct join_eval *e, const struct voters *before, const char *name)
{
        struct voters after;
        count_voters(e, &after);
        const char *why = voters_worse(before, &after);
        if (why == NULL) return 0;
        return refuse(e, E_INVALID, arena_printf(&e->arena, "not with '%s' so: %s", name, why),
                voters_lack_lasting(&after) > voters_lack_lasting(before)
                        ? "let another controller, or a witness with a disk, join first; a volatile witness "
                          "that is not "
                          "needed any more goes by 'raftctl remove'"
                        : "let another controller join first, or remove a witness");
}

/* Somebody who is known by the certificate alone: the member of that name, with that very certificate. */
static int check_return(struct join_eval *e, const struct join_op *op, bool exists, const struct member *m)
{
        if (!exists || m->role != op->role || m->fingerprint == NULL || op->fingerprint == NULL ||
                strcmp(m->fingerprint, op->fingerprint) != 0)
                return refuse(e, E_AUTH,
                        arena_printf(&e->arena, "'%s' is not a %s of this cluster (any more)", op->name,
                                pki_role_name((enum pki_role)op->role)),
                        "join with a token");
        if (m->raft_id != op->raft_id && m->returned_ms <= e->req.wall_ms &&
                e->req.wall_ms - m->returned_ms < RETURN_EVERY_MS)
                return refuse(e, E_BUSY,
                        arena_printf(&e->arena, "'%s' came back less than %d s ago", op->name,
                                RETURN_EVERY_MS / 1000),
                        "it is tried again; if it stays, look why that machine restarts");
        return 0;
}

static int check_member(struct join_eval *e, const struct join_op *op, bool exists, const struct member *m)
{
        int err = 0;
        if (op->raft_id == 0 || op->raft_id >> 63 != 0 || op->address == NULL || op->address[0] == '\0')
                return refuse(e, E_INVALID, "the request lacks a member id or an address",
                        "use this version's 'raftctl join'");
        if (op->token_id == NULL) err = check_return(e, op, exists, m);
        else if (exists && m->raft_id != op->raft_id)
                err = refuse(e, E_EXISTS,
                        arena_printf(&e->arena, "a member named '%s' exists already", op->name),
                        arena_printf(&e->arena,
                                "choose another name, or, if that machine is gone for good, 'raftctl remove "
                                "%s' first",
                                op->name));
        if (err != 0) return err;
        if (op->is_volatile && op->role != cert_role_WITNESS)
                return refuse(
                        e, E_INVALID, "only a witness can do without a disk", "join without --volatile");
        if (is_removed(e, op->raft_id, op->fingerprint))
                return refuse(e, E_AUTH,
                        arena_printf(&e->arena, "this machine was a member, '%s', and was removed", op->name),
                        "move its data directory away, and join with a new token");
        if (id_taken(e, op->raft_id, op->name))
                return refuse(e, E_EXISTS, "another member has this id",
                        "move the data directory away and join anew");
        return 0;
}

static int put_member(struct join_eval *e, const struct join_op *op)
{
        struct member m = { 0 };
        struct voters before;
        SET(&m, member, name, op->name);
        int err = row_get(e->tx, &member_type, &m, &e->arena, &m);
        if (err != 0 && err != E_NOT_FOUND) return err;
        bool exists = err == 0;
        err = check_member(e, op, exists, &m);
        if (err != 0) return err;
        if (!exists) {
                m = (struct member){ 0 };
                SET(&m, member, name, op->name);
                SET(&m, member, joined_ms, e->req.wall_ms);
        }
        if (op->token_id == NULL && m.raft_id != op->raft_id) {
                err = put_former_id(e, &m);
                if (err != 0) return err;
                SET(&m, member, returned_ms, e->req.wall_ms);
        }
        SET(&m, member, raft_id, op->raft_id);
        SET(&m, member, address, op->address);
        SET(&m, member, role, op->role);
        SET(&m, member, is_volatile, op->is_volatile);
        if (op->fingerprint != NULL) SET(&m, member, fingerprint, op->fingerprint);
        count_voters(e, &before);
        err = row_put(e->tx, &member_type, &m);
        return err != 0 ? err : check_voters(e, &before, op->name);
}

/* A member whose release does not fit would have to stop at once. Satellites may be of an older one. */
static int check_release(struct join_eval *e, const struct join_op *op)
{
        char text[200];
        struct release theirs = { .level_min = (unsigned)MAX(MIN(op->level_min, UINT8_MAX), LEVEL_FIRST),
                .level_max = (unsigned)MAX(MIN(op->level_max, UINT8_MAX), LEVEL_FIRST) };
        struct release ours = { .level = state_level(e->tx, NULL), .level_max = LEVEL_MAX };
        (void)snprintf(theirs.software, sizeof theirs.software, "%s",
                op->software != NULL ? op->software : "of that machine");
        if (release_refuse(&ours, &theirs, text, sizeof text) == NULL) return 0;
        return refuse(e, E_LEVEL, arena_strdup(&e->arena, text),
                "install the same release as on the other members; the token can still be used");
}

static int eval_join(struct join_eval *e, const struct join_op *op)
{
        struct join_token t = { 0 };
        struct cluster c = { 0 };
        if (op->role == cert_role_CLIENT)
                return refuse(e, E_INVALID, "clients do not join", "use 'raftctl client-cert'");
        int err = op->token_id != NULL ? check_token(e, op, &t) : 0;
        if (err == 0 && op->token_id == NULL && op->role == cert_role_SATELLITE)
                err = refuse(
                        e, E_AUTH, "no token was given", "make one with 'raftctl token create' on a member");
        if (err == 0 && op->role != cert_role_SATELLITE) err = check_release(e, op);
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
        struct voters before;
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
        count_voters(e, &before);
        if (op->remove) {
                err = put_removed(e, &m);
                if (err == 0) err = row_del(e->tx, &member_type, &m);
        } else {
                SET(&m, member, standby, op->standby);
                err = row_put(e->tx, &member_type, &m);
        }
        return err != 0 ? err : check_voters(e, &before, op->name);
}

static bool known_path(const char *path)
{
        return strcmp(path, JOIN_OP_TOKEN) == 0 || strcmp(path, JOIN_OP_JOIN) == 0 ||
               strcmp(path, JOIN_OP_MEMBERS) == 0 || strcmp(path, LEVEL_OP) == 0;
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
        struct level_op level = { 0 };
        int err;
        if (strcmp(e->req.path, JOIN_OP_TOKEN) == 0) {
                err = dec_msgpack(&token_op_type, e->req.body, DEC_TOLERANT, &e->arena, &token, &f);
                if (err == 0) return eval_token(e, &token);
        } else if (strcmp(e->req.path, JOIN_OP_JOIN) == 0) {
                err = dec_msgpack(&join_op_type, e->req.body, DEC_TOLERANT, &e->arena, &join, &f);
                if (err == 0) return eval_join(e, &join);
        } else if (strcmp(e->req.path, LEVEL_OP) == 0) {
                err = dec_msgpack(&level_op_type, e->req.body, DEC_TOLERANT, &e->arena, &level, &f);
                if (err == 0 && e->raise != NULL) return e->raise(e->arg, e->tx, &level, &e->arena, &e->out);
        } else {
                err = dec_msgpack(&member_op_type, e->req.body, DEC_TOLERANT, &e->arena, &member, &f);
                if (err == 0) return eval_member(e, &member);
        }
        return refuse(e, err, arena_printf(&e->arena, "the request cannot be read: %s", f.text), "");
}

int join_op_evaluate(
        struct tx *tx, struct blob request, join_op_raise_fn *raise, void *arg, struct buf *ret_reply)
{
        struct join_eval e = { .tx = tx, .raise = raise, .arg = arg };
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
