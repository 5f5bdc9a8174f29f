/* What raftctl can ask. Verbs that change something go through the replicated operations of join_op.h, so
 * that they work on any member. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raftctl/admin_int.h"
#include "raftctl/join_op.h"
#include "wire/codec/codec.h"
#include "wire/net/join_token.h"

enum {
        VERB_ARENA = 512 << 10,
        OP_MS = 20000,
        TTL_MS = 3600000,
        TTL_MAX_S = 2592000, /* 30 days */
        EXPIRY_WARN_DAYS = 30,
        TOKEN_ADDRESSES_MAX = 8,
};

/* One request on its way. */
struct call {
        struct admin *admin;
        uint64_t number;
        struct arena arena;
        struct admin_request q;
        struct admin_reply r;
};

static void answer(struct call *c)
{
        if (!c->admin->closing) admin_reply_to(c->admin, c->number, &c->r);
        arena_done(&c->arena);
        free(c);
}

static void refuse(struct call *c, int err, const char *text, const char *remedy)
{
        SET(&c->r, admin_reply, err, err);
        SET(&c->r, admin_reply, text, text);
        SET(&c->r, admin_reply, remedy, remedy);
        answer(c);
}

static void refuse_driver(struct call *c, int err, const char *why)
{
        const char *remedy = "look at 'raftctl status'";
        if (err == E_NO_QUORUM)
                remedy = "bring the other controllers back; 'raftctl status' shows which are missing";
        if (err == E_NOT_LEADER) remedy = "ask on the leader; 'raftctl status' shows which that is";
        if (err == E_UNSUPPORTED)
                remedy = "the leader runs an older release that does not know this: finish the upgrade, or "
                         "hand "
                         "leadership to a member of the new release with 'raftctl transfer'";
        if (err == E_UNKNOWN_OUTCOME)
                remedy = "it may or may not have happened: look at 'raftctl status', then repeat it";
        refuse(c, err, why != NULL && why[0] != '\0' ? why : err_text(err), remedy);
}

/* ---- status ---- */

#define ROLE_VOTER "voter"

static const char *role_text(const struct driver_member *d)
{
        if (d == NULL) return "not in the configuration yet";
        return d->role == MEMBER_VOTER ? ROLE_VOTER : d->role == MEMBER_STANDBY ? "stand-by" : "spare";
}

static const char *own_state(enum driver_state s)
{
        switch (s) {
        case DRIVER_FOLLOWER: return "follower";
        case DRIVER_CANDIDATE: return "candidate";
        case DRIVER_LEADER: return "leader";
        case DRIVER_IDLE: return "waiting to be added";
        }
        return "?";
}

static const char *state_text(
        const struct driver_status *s, const struct driver_member *d, uint64_t id, bool up)
{
        if (id == s->id) return own_state(s->state);
        if (id == s->leader_id) return "leader";
        if (!up) return "unreachable";
        if (d != NULL && d->receiving_snapshot) return "receiving snapshot";
        if (d != NULL && d->catching_up) return "catching up";
        return "follower";
}

static const char *row_note(struct call *c, const struct member_row *r)
{
        if (r->took_over[0] != '\0') return arena_printf(&c->arena, "took over the vote of %s", r->took_over);
        if (r->stayed_away) return "stayed away: another member took over its vote";
        return r->held ? "held: votes only when it is promoted by hand" : "";
}

/* row: NULL for those that are not in the table (any more). */
static void fill_member(struct call *c, struct admin_member *o, const struct driver_status *s, uint64_t id,
        const struct member_row *row, const char *name, const char *address, const char *kind)
{
        struct local_member *m = c->admin->m;
        const struct driver_member *d = NULL;
        struct transport_peer p;
        for (uint32_t i = 0; i < s->members_n; i++)
                if (s->members[i].id == id) d = &s->members[i];
        transport_peer_info(m->transport, id, &p);
        bool self = id == s->id, up = self || p.up;
        SET(o, admin_member, name, arena_strdup(&c->arena, name));
        SET(o, admin_member, raft_id, id);
        SET(o, admin_member, address, arena_strdup(&c->arena, address));
        SET(o, admin_member, kind, kind);
        SET(o, admin_member, role, role_text(d));
        SET(o, admin_member, state, state_text(s, d, id, up));
        if (row != NULL && row->zone[0] != '\0')
                SET(o, admin_member, zone, arena_strdup(&c->arena, row->zone));
        if (row != NULL && row_note(c, row)[0] != '\0') SET(o, admin_member, note, row_note(c, row));
        SET(o, admin_member, is_self, self);
        SET(o, admin_member, is_leader, id == s->leader_id);
        SET(o, admin_member, link_up, up);
        struct release *release = d != NULL ? arena_memdup(&c->arena, &d->release, sizeof *release) : NULL;
        if (release != NULL && release->level_max != 0) {
                SET(o, admin_member, software, release->software);
                SET(o, admin_member, level_min, release->level_min);
                SET(o, admin_member, level_max, release->level_max);
        }
        if (s->state == DRIVER_LEADER && d != NULL) {
                uint64_t match = self ? s->last_index : d->match_index;
                SET(o, admin_member, match_index, match);
                SET(o, admin_member, lag, s->last_index > match ? s->last_index - match : 0);
        }
        uint64_t now = member_now_ms(m);
        if (d != NULL && !self && d->last_contact_ms != 0 && d->last_contact_ms <= now)
                SET(o, admin_member, contact_ms, (int64_t)(now - d->last_contact_ms));
        if (p.rtt_us != 0) SET(o, admin_member, rtt_us, p.rtt_us);
        if (!up && p.trouble[0] != '\0') SET(o, admin_member, trouble, arena_strdup(&c->arena, p.trouble));
}

static void fill_members(struct call *c, struct admin_status *o, const struct driver_status *s)
{
        struct member_row rows[MEMBER_ROWS_MAX];
        bool table, self_seen = false;
        uint32_t n = member_rows(c->admin->m, rows, &table), k = 0;
        struct admin_member *list = arena_array(&c->arena, struct admin_member, n + s->members_n + 1);
        if (list == NULL) return;
        for (uint32_t i = 0; i < n; i++) {
                fill_member(c, &list[k++], s, rows[i].raft_id, &rows[i], rows[i].name, rows[i].address,
                        pki_role_name((enum pki_role)rows[i].role));
                self_seen |= rows[i].raft_id == s->id;
        }
        for (uint32_t i = 0; i < s->members_n; i++) {
                bool seen = false;
                for (uint32_t j = 0; j < n; j++) seen |= rows[j].raft_id == s->members[i].id;
                if (seen) continue;
                fill_member(
                        c, &list[k++], s, s->members[i].id, NULL, "", s->members[i].address, "being removed");
                self_seen |= s->members[i].id == s->id;
        }
        const struct member_identity *me = &c->admin->m->identity;
        if (!self_seen) fill_member(c, &list[k++], s, s->id, NULL, me->name, me->address, "");
        SET(o, admin_status, members, list);
        o->members_n = k;
}

static void fill_level(struct call *c, struct admin_status *o)
{
        struct local_member *m = c->admin->m;
        struct admin_satellite *list = NULL;
        member_level_look(m);
        SET(o, admin_status, level, m->level.now);
        SET(o, admin_status, level_next, m->level.next);
        if (member_level_due_s(m) >= 0) SET(o, admin_status, level_due_s, member_level_due_s(m));
        if (m->level.note[0] != '\0')
                SET(o, admin_status, level_note, arena_strdup(&c->arena, m->level.note));
        if (m->hooks->satellites == NULL) return;
        uint32_t n = m->hooks->satellites(m->arg, &c->arena, &list);
        SET_N(o, admin_status, satellites, list, n);
}

static void warn(struct call *c, struct admin_status *o, const char *text)
{
        const char **w = arena_array(&c->arena, const char *, o->warnings_n + 1);
        if (w == NULL) return;
        if (o->warnings_n > 0) memcpy(w, o->warnings, o->warnings_n * sizeof *w);
        w[o->warnings_n] = text;
        SET(o, admin_status, warnings, w);
        o->warnings_n++;
}

static void fill_zone_warnings(struct call *c, struct admin_status *o, const struct driver_status *s)
{
        struct member_row rows[MEMBER_ROWS_MAX];
        struct policy_zone z;
        bool table;
        uint32_t n = member_rows(c->admin->m, rows, &table);
        for (unsigned i = 0; policy_zone_risk(s, rows, n, i, &z); i++)
                warn(c, o,
                        arena_printf(&c->arena,
                                "the loss of zone '%s' would lose the quorum: %u of the %u voters stand "
                                "there; put "
                                "a controller or a witness into another zone",
                                z.name, z.voters, z.of));
}

/* The quorum stands, but only just: some are away, and with one more it is gone. */
static void fill_spare_warning(struct call *c, struct admin_status *o, uint32_t voters)
{
        uint32_t away = 0;
        for (uint32_t i = 0; i < o->members_n; i++) {
                const struct admin_member *x = &o->members[i];
                away += x->role != NULL && strcmp(x->role, ROLE_VOTER) == 0 && !x->link_up;
        }
        if (away > 0 && voters - away == voters / 2 + 1)
                warn(c, o,
                        arena_printf(&c->arena,
                                "%u of the %u voters %s not answer: when one more is lost, nothing can be "
                                "changed",
                                away, voters, away == 1 ? "does" : "do"));
}

static void fill_warnings(struct call *c, struct admin_status *o, const struct driver_status *s)
{
        struct local_member *m = c->admin->m;
        uint32_t voters = 0;
        for (uint32_t i = 0; i < s->members_n; i++) voters += s->members[i].role == MEMBER_VOTER;
        if (!s->has_quorum)
                warn(c, o, "no quorum: nothing can be changed until a majority of the voters is reachable");
        if (voters == 1)
                warn(c, o,
                        "one voter only: its disk holds the only copy of the state; let two more controllers "
                        "join");
        if (voters == 2)
                warn(c, o,
                        "two voters: the loss of either stops all changes; add a third controller or a "
                        "witness");
        if (voters > 2 && voters % 2 == 0)
                warn(c, o,
                        arena_printf(&c->arena,
                                "%u voters bear the loss of %u, no more than %u would: add one, or demote "
                                "one",
                                voters, voters / 2 - 1, voters - 1));
        if (s->has_quorum) fill_spare_warning(c, o, voters);
        fill_zone_warnings(c, o, s);
        for (uint32_t i = 0; i < s->members_n; i++) {
                char name[PKI_NAME_MAX + 1];
                if (!s->members[i].starved) continue;
                member_name_of(m, s->members[i].id, name);
                warn(c, o,
                        arena_printf(&c->arena,
                                "'%s' lacks entries that the log of this witness does not hold any more: "
                                "bring back a "
                                "controller that has them",
                                name));
        }
        if (s->disk_full) warn(c, o, "the disk is full: no changes are taken, make room");
        if (m->level.next > m->level.now)
                warn(c, o,
                        arena_printf(&c->arena,
                                "all members know feature level %u, the cluster is at %u: see 'raftctl "
                                "level'",
                                m->level.next, m->level.now));
        if (m->reconcile.last[0] != '\0')
                warn(c, o,
                        arena_printf(&c->arena, "the last change of the configuration failed: %s",
                                m->reconcile.last));
        if (s->state == DRIVER_LEADER && m->reconcile.waits[0] != '\0')
                warn(c, o, arena_printf(&c->arena, "a change is waiting: %s", m->reconcile.waits));
        int64_t left = o->expires_ms - (int64_t)m->env->wall_ms(m->env);
        if (left < (int64_t)EXPIRY_WARN_DAYS * 86400000)
                warn(c, o,
                        "the certificate of this member expires within 30 days: remove it and let it join "
                        "anew");
}

static void verb_status(struct call *c)
{
        struct local_member *m = c->admin->m;
        struct admin_status *o = arena_new(&c->arena, struct admin_status);
        struct driver_status s;
        struct pki_identity cert = { 0 };
        char leader[PKI_NAME_MAX + 1] = "", hex[65];
        driver_status(m->driver, &s);
        if (s.leader_id != 0) member_name_of(m, s.leader_id, leader);
        if (pki_identity(&m->pki.cert, &cert, NULL) != 0) cert.expires_s = 0; /* it was readable at start */
        SET(o, admin_status, cluster, m->identity.cluster);
        SET(o, admin_status, name, m->identity.name);
        SET(o, admin_status, raft_id, m->identity.raft_id);
        SET(o, admin_status, state, own_state(s.state));
        SET(o, admin_status, term, s.term);
        SET(o, admin_status, leader, arena_strdup(&c->arena, leader));
        SET(o, admin_status, has_quorum, s.has_quorum);
        SET(o, admin_status, last_index, s.last_index);
        SET(o, admin_status, commit_index, s.commit_index);
        SET(o, admin_status, applied_index, s.applied_index);
        SET(o, admin_status, snapshot_index, s.snapshot_index);
        SET(o, admin_status, state_hash,
                arena_strdup(&c->arena, sodium_bin2hex(hex, sizeof hex, s.state_hash, 32)));
        SET(o, admin_status, hash_index, s.hash_index);
        SET(o, admin_status, disk_full, s.disk_full);
        SET(o, admin_status, expires_ms, (int64_t)cert.expires_s * 1000);
        fill_members(c, o, &s);
        fill_level(c, o);
        fill_warnings(c, o, &s);
        SET(&c->r, admin_reply, status, o);
        answer(c);
}

static void verb_timing(struct call *c)
{
        struct local_member *m = c->admin->m;
        struct admin_timing *o = arena_new(&c->arena, struct admin_timing);
        uint64_t ids[TRANSPORT_PEERS_MAX], rtt = 0;
        uint32_t n = transport_peers(m->transport, ids, TRANSPORT_PEERS_MAX);
        for (uint32_t i = 0; i < n; i++) {
                struct transport_peer p;
                transport_peer_info(m->transport, ids[i], &p);
                rtt = MAX(rtt, p.rtt_us);
        }
        SET(o, admin_timing, rtt_max_us, rtt);
        SET(o, admin_timing, election_ms, m->election_ms);
        SET(o, admin_timing, heartbeat_ms, m->heartbeat_ms);
        SET(&c->r, admin_reply, timing, o);
        answer(c);
}

/* ---- changes ---- */

static void on_outcome(void *arg, int err, const struct op_outcome *out)
{
        struct call *c = arg;
        if (err != 0) {
                refuse_driver(c, err, NULL);
        } else if (out->err != 0) {
                refuse(c, (int)out->err, arena_strdup(&c->arena, out->text != NULL ? out->text : "refused"),
                        arena_strdup(&c->arena, out->remedy != NULL ? out->remedy : ""));
        } else {
                if (out->note != NULL && out->note[0] != '\0')
                        SET(&c->r, admin_reply, note, arena_strdup(&c->arena, out->note));
                answer(c);
        }
}

static void on_token(void *arg, int err, const struct op_outcome *out)
{
        struct call *c = arg;
        if (err != 0 || out->err != 0) UNSET(&c->r, admin_reply, token);
        on_outcome(arg, err, out);
}

/* Own address first: it is certainly up. */
static void token_addresses(struct call *c, struct join_ticket *t)
{
        struct local_member *m = c->admin->m;
        struct member_row rows[MEMBER_ROWS_MAX];
        bool table;
        uint32_t n = member_rows(m, rows, &table), k = 0;
        const char **list = arena_array(&c->arena, const char *, TOKEN_ADDRESSES_MAX);
        if (list == NULL) return;
        list[k++] = m->identity.address;
        for (uint32_t i = 0; i < n && k < TOKEN_ADDRESSES_MAX; i++)
                if (rows[i].raft_id != m->identity.raft_id && rows[i].role == cert_role_CONTROLLER)
                        list[k++] = arena_strdup(&c->arena, rows[i].address);
        SET(t, join_ticket, addresses, list);
        t->addresses_n = k;
}

static void role_of_replaced(struct call *c)
{
        struct member_row rows[MEMBER_ROWS_MAX];
        bool table;
        uint32_t n = member_rows(c->admin->m, rows, &table);
        for (uint32_t i = 0; i < n; i++)
                if (strcasecmp(rows[i].name, c->q.replaces) == 0) c->q.role = rows[i].role;
}

static void verb_token(struct call *c)
{
        struct local_member *m = c->admin->m;
        uint8_t secret[TOKEN_SECRET_SIZE], hash[TOKEN_HASH_SIZE], pin[PKI_PIN_SIZE], raw_id[8];
        char id[17];
        struct join_ticket t = { 0 };
        struct token_op op = { 0 };
        struct buf text = { 0 };
        struct fail f = { 0 };
        int64_t ttl = HAS(&c->q, admin_request, ttl_ms) ? c->q.ttl_ms : TTL_MS;
        if (c->q.replaces != NULL && !HAS(&c->q, admin_request, role)) role_of_replaced(c);
        if (c->q.role == cert_role_CLIENT || ttl <= 0 || ttl / 1000 > TTL_MAX_S) {
                refuse(c, E_INVALID,
                        "tokens are for the roles controller, witness and satellite, and live up to 30 days",
                        "see 'raftctl help token'");
                return;
        }
        if (c->q.name != NULL && c->q.name[0] != '\0' && !pki_name_valid(c->q.name)) {
                refuse(c, E_INVALID, "not a valid name", "letters, digits, '.', '_' and '-' only");
                return;
        }
        m->env->random(m->env, secret, sizeof secret);
        m->env->random(m->env, raw_id, sizeof raw_id);
        (void)sodium_bin2hex(id, sizeof id, raw_id, sizeof raw_id);
        token_hash(BLOB(secret, sizeof secret), hash);
        int err = pki_fingerprint(&m->pki.ca, pin, &f);
        int64_t expires = (int64_t)m->env->wall_ms(m->env) + ttl;
        token_addresses(c, &t);
        SET(&t, join_ticket, pin, BLOB(pin, sizeof pin));
        SET(&t, join_ticket, id, id);
        SET(&t, join_ticket, secret, BLOB(secret, sizeof secret));
        SET(&t, join_ticket, expires_ms, expires);
        SET(&t, join_ticket, role, c->q.role);
        if (c->q.name != NULL && c->q.name[0] != '\0') SET(&t, join_ticket, name, c->q.name);
        SET(&t, join_ticket, cluster, m->identity.cluster);
        if (err == 0) err = token_encode(&t, &text);
        if (err == 0) SET(&c->r, admin_reply, token, arena_strdup(&c->arena, buf_cstr(&text)));
        if (text.p != NULL) secret_wipe(text.p, text.n);
        buf_done(&text);
        secret_wipe(secret, sizeof secret);
        if (err != 0) {
                refuse(c, err, err_text(err), "");
                return;
        }
        SET(&op, token_op, id, id);
        SET(&op, token_op, secret_hash, BLOB(hash, sizeof hash));
        SET(&op, token_op, role, c->q.role);
        if (c->q.name != NULL) SET(&op, token_op, name, c->q.name);
        SET(&op, token_op, expires_ms, expires);
        if (c->q.replaces != NULL) SET(&op, token_op, replaces, c->q.replaces);
        if (c->q.force) SET(&op, token_op, force, true);
        member_submit(m, JOIN_OP_TOKEN, &token_op_type, &op, OP_MS, on_token, c);
}

static void verb_member(struct call *c)
{
        struct member_op op = { 0 };
        SET(&op, member_op, name, c->q.name != NULL ? c->q.name : "");
        if (c->q.verb == admin_verb_SET_ZONE) SET(&op, member_op, zone, c->q.zone != NULL ? c->q.zone : "");
        else if (c->q.verb == admin_verb_REMOVE) SET(&op, member_op, remove, true);
        else SET(&op, member_op, standby, c->q.verb == admin_verb_DEMOTE);
        if (c->q.force) SET(&op, member_op, force, true);
        if (c->q.hold) SET(&op, member_op, hold, true);
        member_submit(c->admin->m, JOIN_OP_MEMBERS, &member_op_type, &op, OP_MS, on_outcome, c);
}

/* The leader is asked, wherever it is; that leadership has moved is seen in the status. */
static void verb_transfer(struct call *c)
{
        struct local_member *m = c->admin->m;
        struct driver_status s;
        struct member_op op = { 0 };
        driver_status(m->driver, &s);
        SET(&op, member_op, name, c->q.name != NULL ? c->q.name : "");
        if (s.leader_id != 0) SET(&op, member_op, from_id, s.leader_id);
        member_submit(m, JOIN_OP_TRANSFER, &member_op_type, &op, OP_MS, on_outcome, c);
}

static void verb_level(struct call *c)
{
        struct local_member *m = c->admin->m;
        uint64_t to = c->q.level;
        member_level_look(m);
        if (!HAS(&c->q, admin_request, level) && m->level.next <= m->level.now) {
                refuse(c, m->level.note[0] != '\0' ? E_LEVEL : E_EXISTS,
                        m->level.note[0] != '\0'
                                ? arena_printf(&c->arena, "the feature level cannot be raised above %u: %s",
                                          m->level.now, m->level.note)
                                : arena_printf(&c->arena,
                                          "the feature level is %u, the highest that this release knows",
                                          m->level.now),
                        "'raftctl level' shows who runs what");
                return;
        }
        if (!HAS(&c->q, admin_request, level)) to = m->level.next;
        SET(&c->r, admin_reply, text, arena_printf(&c->arena, "%u", (unsigned)MIN(to, UINT8_MAX)));
        member_level_raise(m, (unsigned)MIN(to, UINT8_MAX), OP_MS, on_outcome, c);
}

static void verb_client_cert(struct call *c)
{
        struct local_member *m = c->admin->m;
        struct pem csr = { 0 }, cert = { 0 };
        struct fail f = { 0 };
        int err = pem_set(
                &csr, BLOB(c->q.csr != NULL ? c->q.csr : "", c->q.csr != NULL ? strlen(c->q.csr) : 0));
        if (err != 0) (void)fail_set(&f, err, "%s", err_text(err));
        if (err == 0) err = member_sign(m, &csr, PKI_CLIENT, c->q.name, c->q.sans, c->q.sans_n, &cert, &f);
        if (err == 0) {
                SET(&c->r, admin_reply, cert, arena_strdup(&c->arena, cert.text));
                SET(&c->r, admin_reply, ca, m->pki.ca.text);
        }
        pem_done(&csr);
        pem_done(&cert);
        if (err != 0) refuse(c, err, arena_strdup(&c->arena, f.text), "");
        else answer(c);
}

void admin_dispatch(struct admin *a, uint64_t number, struct blob request)
{
        struct fail f = { 0 };
        struct call *c = xnew(struct call);
        c->admin = a;
        c->number = number;
        arena_init(&c->arena, VERB_ARENA);
        int err = dec_msgpack(&admin_request_type, request, DEC_TOLERANT, &c->arena, &c->q, &f);
        if (err != 0 || a->m->driver == NULL) {
                refuse(c, E_PROTOCOL, "the request cannot be understood",
                        "use the raftctl of the same version");
                return;
        }
        switch (c->q.verb) {
        case admin_verb_STATUS: verb_status(c); return;
        case admin_verb_TOKEN_CREATE: verb_token(c); return;
        case admin_verb_REMOVE:
        case admin_verb_PROMOTE:
        case admin_verb_SET_ZONE:
        case admin_verb_DEMOTE: verb_member(c); return;
        case admin_verb_TRANSFER: verb_transfer(c); return;
        case admin_verb_CLIENT_CERT: verb_client_cert(c); return;
        case admin_verb_CHECK_TIMING: verb_timing(c); return;
        case admin_verb_LEVEL_RAISE: verb_level(c); return;
        case admin_verb_BACKUP:
                admin_backup(a, number, c->q.stale);
                arena_done(&c->arena);
                free(c);
                return;
        case admin_verb_N: break;
        }
        refuse(c, E_UNSUPPORTED, "this controller does not know that request",
                "use the raftctl of the same version");
}
