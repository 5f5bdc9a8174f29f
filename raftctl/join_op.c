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
        const struct policy_view *view;          /* NULL = not known */
        struct member_row rows[MEMBER_ROWS_MAX]; /* scratch */
        struct member replaced;                  /* by the one who joins; without a name: nobody */
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

/* ---- who answers, who votes ---- */

static bool answers(const struct join_eval *e, uint64_t id)
{
        const struct driver_member *m = e->view != NULL ? policy_find(e->view->status, id) : NULL;
        return m != NULL && policy_answers(e->view, m);
}

/* Refuses to take the vote of m where no majority of the voters that remain answers. */
static int check_quorum(struct join_eval *e, const struct member *m, bool force)
{
        struct policy_quorum q;
        const struct driver_member *d = e->view != NULL ? policy_find(e->view->status, m->raft_id) : NULL;
        if (d == NULL || d->role != MEMBER_VOTER) return 0;
        uint32_t n = policy_rows(e->tx, e->rows);
        if (policy_keeps_quorum(e->view, e->rows, n, m->raft_id, &q)) return 0;
        if (q.voters == 0)
                return refuse(e, E_INVALID,
                        arena_printf(&e->arena,
                                "'%s' is the only voter: without it nobody could decide anything", m->name),
                        "let another controller join, and wait until 'raftctl status' shows it as voter");
        if (force) return 0;
        return refuse(e, E_NO_QUORUM,
                arena_printf(&e->arena,
                        "without '%s' only %u of %u voters would answer: that is no majority, and nothing "
                        "could be "
                        "changed any more (no answer from: %s)",
                        m->name, q.answering, q.voters, q.missing),
                arena_printf(&e->arena,
                        "start %s again, or remove what is gone for good first ('raftctl remove NAME'); "
                        "--force does it all the same, and the cluster stands still until they are back",
                        q.missing));
}

static unsigned voting_rows(struct join_eval *e, uint32_t *ret_rows)
{
        unsigned k = 0;
        uint32_t n = policy_rows(e->tx, e->rows);
        for (uint32_t i = 0; i < n; i++) k += !e->rows[i].standby;
        if (ret_rows != NULL) *ret_rows = n;
        return k;
}

/* What the administrator should know about the number of voters that there are now. */
static void note_voters(struct join_eval *e)
{
        unsigned n = voting_rows(e, NULL);
        if (n == 1)
                SET(&e->out, op_outcome, note,
                        "one voter remains: when it is away nothing can be changed, and only its disk is "
                        "sure to hold everything");
        else if (n % 2 == 0)
                SET(&e->out, op_outcome, note,
                        arena_printf(&e->arena, "%u voters bear the loss of %u, no more than %u would", n,
                                n / 2 - 1, n - 1));
}

/* ---- tokens ---- */

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

static int token_replaces(struct join_eval *e, const struct token_op *op, struct join_token *t)
{
        struct member m = { 0 };
        SET(&m, member, name, op->replaces);
        int err = row_get(e->tx, &member_type, &m, &e->arena, &m);
        if (err == E_NOT_FOUND)
                return refuse(e, E_NOT_FOUND,
                        arena_printf(&e->arena, "there is no member named '%s' to replace", op->replaces),
                        "'raftctl status' shows their names; if it was removed already, make a token without "
                        "--replaces");
        if (err != 0) return err;
        if (m.role != op->role)
                return refuse(e, E_INVALID,
                        arena_printf(&e->arena, "'%s' is a %s: only a %s replaces it", m.name,
                                pki_role_name((enum pki_role)m.role), pki_role_name((enum pki_role)m.role)),
                        "leave --role out, or add the new machine first and remove the old one then");
        if (answers(e, m.raft_id) && !op->force)
                return refuse(e, E_EXISTS, arena_printf(&e->arena, "'%s' answers: it is not dead", m.name),
                        arena_printf(&e->arena,
                                "to exchange a member that works, let the new one join first and then "
                                "'raftctl "
                                "remove %s'; --force removes it when the new one joins",
                                m.name));
        SET(t, join_token, replaces, m.name);
        SET(t, join_token, replaces_id, m.raft_id);
        SET(t, join_token, forced, op->force);
        return 0;
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
        if (op->replaces != NULL && op->replaces[0] != '\0') {
                int err = token_replaces(e, op, &t);
                if (err != 0) return err;
        }
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
static int put_removed(struct join_eval *e, const struct member *m, bool forced, const char *by)
{
        struct removed_member r = { 0 };
        sweep_removed(e);
        SET(&r, removed_member, raft_id, m->raft_id);
        SET(&r, removed_member, name, m->name);
        if (m->fingerprint != NULL) SET(&r, removed_member, fingerprint, m->fingerprint);
        SET(&r, removed_member, removed_ms, e->req.wall_ms);
        if (forced) SET(&r, removed_member, forced, true);
        if (by != NULL) SET(&r, removed_member, replaced_by, by);
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

/* A new row: what it takes over from the one it replaces, and whether it may vote. */
static int new_member(struct join_eval *e, const struct join_op *op, struct member *m)
{
        uint32_t rows;
        unsigned voters = voting_rows(e, &rows);
        const struct member *old = &e->replaced;
        if (rows >= POLICY_MEMBERS_MAX)
                return refuse(e, E_LIMIT, arena_printf(&e->arena, "there are %u members already", rows),
                        "remove those that are not needed any more with 'raftctl remove NAME'");
        *m = (struct member){ 0 };
        SET(m, member, name, op->name);
        SET(m, member, joined_ms, e->req.wall_ms);
        if (old->zone != NULL) SET(m, member, zone, old->zone);
        if (old->held) SET(m, member, held, true);
        SET(m, member, standby, op->standby || old->standby || voters >= POLICY_VOTERS_MAX);
        return 0;
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
        return refuse(e, E_INVALID, arena_printf(&e->arena, "refused for '%s': %s", name, why),
                voters_lack_lasting(&after) > voters_lack_lasting(before)
                        ? "let another controller, or a witness with a disk, join first"
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
        /* A request that waited for a leader may come after the former store was put back. */
        if (m->raft_id != op->raft_id && answers(e, m->raft_id))
                return refuse(e, E_BUSY,
                        arena_printf(&e->arena, "'%s' answers under its former id: it has not lost its store",
                                op->name),
                        "it is tried again; two machines must not run with the same certificate");
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
                                "choose another name, or, if that machine is gone for good, join with a "
                                "token of "
                                "'raftctl token create --replaces %s'",
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
        if (!exists && (err = new_member(e, op, &m)) != 0) return err;
        if (op->zone != NULL && op->zone[0] != '\0') SET(&m, member, zone, op->zone);
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

/* The member that the token names goes in the same write. One of that name that is another one by now, or none,
 * is no reason to refuse: what was wanted has happened. */
static int replace(struct join_eval *e, const struct join_token *t, const struct join_op *op)
{
        struct member *old = &e->replaced, key = { 0 };
        if (t->replaces == NULL || t->replaces[0] == '\0') return 0;
        SET(&key, member, name, t->replaces);
        int err = row_get(e->tx, &member_type, &key, &e->arena, old);
        if (err == E_NOT_FOUND || (err == 0 && old->raft_id != t->replaces_id)) {
                *old = (struct member){ 0 };
                return 0;
        }
        if (err == 0 && answers(e, old->raft_id) && !t->forced)
                err = refuse(e, E_EXISTS,
                        arena_printf(&e->arena, "'%s', which this token replaces, answers again", old->name),
                        "if it is to go all the same, make a token with --force");
        if (err == 0) err = check_quorum(e, old, t->forced);
        if (err == 0) err = put_removed(e, old, t->forced, op->name);
        return err != 0 ? err : row_del(e->tx, &member_type, old);
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
        if (err == 0 && op->role != cert_role_SATELLITE) err = replace(e, &t, op);
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

static int find_member(struct join_eval *e, const char *name, struct member *ret)
{
        *ret = (struct member){ 0 };
        SET(ret, member, name, name);
        int err = row_get(e->tx, &member_type, ret, &e->arena, ret);
        if (err != E_NOT_FOUND) return err;
        return refuse(e, E_NOT_FOUND, arena_printf(&e->arena, "there is no member named '%s'", name),
                "'raftctl status' shows their names");
}

static int last_controller(struct join_eval *e, const struct member *m)
{
        return refuse(e, E_INVALID,
                arena_printf(&e->arena, "'%s' is the last controller that may vote", m->name),
                "let another controller join first");
}

static int set_zone(struct join_eval *e, struct member *m, const char *zone)
{
        if (zone[0] != '\0' && (strlen(zone) > POLICY_ZONE_MAX || !pki_name_valid(zone)))
                return refuse(e, E_INVALID, "not a valid name of a zone",
                        "up to 63 letters, digits, '.', '_' and '-'; '' for none");
        SET(m, member, zone, zone);
        return row_put(e->tx, &member_type, m);
}

/* The vote of a voter that stays away goes to a stand-by, in one write: their number stays the same. */
static int take_over(struct join_eval *e, const struct member_op *op, struct member *m)
{
        struct member from;
        struct voters before;
        int err = find_member(e, op->takes_over, &from);
        if (err != 0) return err;
        if (m->raft_id != op->raft_id || from.raft_id != op->from_id || !m->standby || m->held ||
                from.standby || answers(e, from.raft_id))
                return refuse(e, E_STALE, "the members have changed meanwhile", "look at 'raftctl status'");
        if (from.role == cert_role_CONTROLLER && m->role != cert_role_CONTROLLER &&
                other_controllers(e, from.name) == 0)
                return last_controller(e, &from);
        SET(&from, member, standby, true);
        SET(&from, member, stayed_away, true);
        SET(&from, member, forced, false);
        SET(&from, member, took_over, "");
        count_voters(e, &before);
        err = row_put(e->tx, &member_type, &from);
        SET(m, member, standby, false);
        SET(m, member, stayed_away, false);
        SET(m, member, took_over, from.name);
        if (err == 0) err = row_put(e->tx, &member_type, m);
        return err != 0 ? err : check_voters(e, &before, m->name);
}

static int set_role(struct join_eval *e, const struct member_op *op, struct member *m)
{
        if (!op->standby && m->standby && voting_rows(e, NULL) >= POLICY_VOTERS_MAX)
                return refuse(e, E_LIMIT,
                        arena_printf(
                                &e->arena, "there are %d voters, and more are of no use", POLICY_VOTERS_MAX),
                        "'raftctl demote NAME' another one first");
        SET(m, member, standby, op->standby);
        SET(m, member, held, op->standby && op->hold);
        SET(m, member, forced, op->standby && op->force);
        SET(m, member, stayed_away, false);
        SET(m, member, took_over, "");
        return row_put(e->tx, &member_type, m);
}

static int eval_member(struct join_eval *e, const struct member_op *op)
{
        struct member m;
        struct voters before;
        int err = find_member(e, op->name, &m);
        if (err != 0) return err;
        if (HAS(op, member_op, zone)) return set_zone(e, &m, op->zone);
        if (HAS(op, member_op, takes_over)) return take_over(e, op, &m);
        if ((op->remove || op->standby) && m.role == cert_role_CONTROLLER &&
                other_controllers(e, m.name) == 0)
                return last_controller(e, &m);
        if ((op->remove || op->standby) && (err = check_quorum(e, &m, op->force)) != 0) return err;
        count_voters(e, &before);
        if (op->remove) {
                err = put_removed(e, &m, op->force, NULL);
                if (err == 0) err = row_del(e->tx, &member_type, &m);
        } else {
                err = set_role(e, op, &m);
        }
        if (err == 0) err = check_voters(e, &before, op->name);
        if (err == 0) note_voters(e);
        return err;
}

/* ---- handing leadership over ---- */

static int eval_transfer(struct join_eval *e, const struct member_op *op, uint64_t *ret_id)
{
        const struct driver_status *s = e->view->status;
        struct member m;
        *ret_id = s->id;
        if (op->from_id != 0 && op->from_id != s->id) return 0; /* asked twice: it has been done */
        if (op->name == NULL || op->name[0] == '\0') {
                *ret_id = 0;
                return 0;
        }
        int err = find_member(e, op->name, &m);
        const struct driver_member *d = err == 0 ? policy_find(s, m.raft_id) : NULL;
        if (err != 0) return err;
        if (d == NULL || d->role != MEMBER_VOTER)
                return refuse(e, E_INVALID,
                        arena_printf(&e->arena, "'%s' is not a voter: it cannot lead", m.name),
                        arena_printf(&e->arena, "'raftctl promote %s' first", m.name));
        if (m.role == cert_role_WITNESS)
                return refuse(e, E_INVALID,
                        arena_printf(&e->arena, "'%s' is a witness: it would hand leadership over at once",
                                m.name),
                        "name a controller");
        if (!policy_answers(e->view, d))
                return refuse(e, E_INVALID, arena_printf(&e->arena, "'%s' does not answer", m.name),
                        "'raftctl status' shows who does");
        *ret_id = m.raft_id;
        return 0;
}

static bool path_of(struct blob request, const char *const *paths, size_t n)
{
        struct arena a;
        struct request r = { 0 };
        bool yes = false;
        arena_init(&a, ARENA_MAX + 2 * request.n);
        if (dec_msgpack(&request_type, request, DEC_TOLERANT, &a, &r, NULL) == 0)
                for (size_t i = 0; i < n; i++) yes |= strcmp(r.path, paths[i]) == 0;
        arena_done(&a);
        return yes;
}

bool join_op_is(struct blob request)
{
        static const char *const own[] = { JOIN_OP_TOKEN, JOIN_OP_JOIN, JOIN_OP_MEMBERS, JOIN_OP_TRANSFER,
                LEVEL_OP };
        return path_of(request, own, ARRAY_LEN(own));
}

bool join_op_is_transfer(struct blob request)
{
        static const char *const own[] = { JOIN_OP_TRANSFER };
        return path_of(request, own, ARRAY_LEN(own));
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
        } else if (strcmp(e->req.path, JOIN_OP_MEMBERS) != 0) {
                return refuse(e, E_UNSUPPORTED, "nothing is written for this", "");
        } else {
                err = dec_msgpack(&member_op_type, e->req.body, DEC_TOLERANT, &e->arena, &member, &f);
                if (err == 0) return eval_member(e, &member);
        }
        return refuse(e, err, arena_printf(&e->arena, "the request cannot be read: %s", f.text), "");
}

static int finish(struct join_eval *e, int err, struct buf *ret_reply)
{
        if (err == 0 || err == E_INVALID) { /* others: storage, sticks to tx as well */
                int enc = enc_msgpack(&op_outcome_type, &e->out, ret_reply);
                if (enc != 0) err = enc;
        }
        arena_done(&e->arena);
        return err;
}

int join_op_evaluate(
        struct tx *tx, struct blob request, const struct join_context *ctx, struct buf *ret_reply)
{
        struct join_eval e = { .tx = tx };
        if (ctx != NULL) e.view = ctx->view, e.raise = ctx->raise, e.arg = ctx->arg;
        struct fail f = { 0 };
        arena_init(&e.arena, ARENA_MAX + 2 * request.n);
        int err = dec_msgpack(&request_type, request, DEC_TOLERANT, &e.arena, &e.req, &f);
        err = err == 0 ? dispatch(&e) : refuse(&e, err, "the request cannot be read", "");
        return finish(&e, err, ret_reply);
}

int join_op_transfer(struct tx *tx, struct blob request, const struct policy_view *view, uint64_t *ret_id,
        struct buf *ret_reply)
{
        struct join_eval e = { .tx = tx, .view = view };
        struct member_op op = { 0 };
        arena_init(&e.arena, ARENA_MAX + 2 * request.n);
        int err = dec_msgpack(&request_type, request, DEC_TOLERANT, &e.arena, &e.req, NULL);
        if (err == 0) err = dec_msgpack(&member_op_type, e.req.body, DEC_TOLERANT, &e.arena, &op, NULL);
        err = err == 0 ? eval_transfer(&e, &op, ret_id) : refuse(&e, err, "the request cannot be read", "");
        return finish(&e, err, ret_reply);
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
