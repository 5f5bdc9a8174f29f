/* One session with one satellite.
 *
 * Happy path: IDLE -> (retry_ms) conn_connect -> DIALING -> on_opened(0): identity checked, hello sent ->
 * HELLO -> hello reply -> SYNC, status CONNECTED -> full report -> ONLINE. Failures: conn_connect fails at
 * once, on_opened(err), a refused hello, silence, a protocol violation, on_end: all go through
 * session_fail(): status and problem are recorded, the connection is closed -> CLOSING -> on_closed -> IDLE
 * with the next pause. A removed session is freed in on_closed, or at once when it is IDLE. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "controller/sat/sat_link_internal.h"
#include "wire/base/log.h"
#include "wire/def/versions.h"

/* Terms of a restored or recovered cluster are at least so far above (TAKEOVER_STEP in raftctl/takeover.h). */
#define HISTORY_STEP UINT64_C(1000000)

#define LOG "satellites"

static const struct conn_ops session_ops;

static uint64_t now(const struct sat_session *s) { return s->link->config.env->now_ms(s->link->config.env); }

static void move(struct sat_session *s, enum session_state to)
{
        static const unsigned successors[SESSION_STATE_N] = {
                [SESSION_IDLE] = 1U << SESSION_DIALING,
                [SESSION_DIALING] = 1U << SESSION_HELLO | 1U << SESSION_CLOSING,
                [SESSION_HELLO] = 1U << SESSION_SYNC | 1U << SESSION_CLOSING,
                [SESSION_SYNC] = 1U << SESSION_ONLINE | 1U << SESSION_CLOSING,
                [SESSION_ONLINE] = 1U << SESSION_CLOSING,
                [SESSION_CLOSING] = 1U << SESSION_IDLE,
        };
        assert((successors[s->state] >> to & 1) != 0);
        s->state = to;
        s->state_since_ms = now(s);
}

/* ---- what is told to the observed store ---- */

struct status_write {
        struct sat_session *s;
        enum conn_status status;
        const char *problem;
        const struct sat_hello_reply *hello; /* NULL or what the satellite said of itself */
        const struct sat_report *report;     /* NULL or what it reported */
        bool unknown, forget;
};

static int write_status(void *arg, struct tx *tx, struct arena *a)
{
        const struct status_write *w = arg;
        const char *name = w->s->node_name;
        struct env *env = w->s->link->config.env;
        if (w->forget) return observed_forget(tx, name, a);
        struct obs_clock now = { .wall_ms = env->wall_ms(env), .mono_ms = env->now_ms(env) };
        int err = 0;
        if (w->hello != NULL) err = observed_hello(tx, name, w->hello, a);
        if (err == 0 && w->report != NULL) err = observed_report(tx, name, w->report, now, a);
        if (err == 0 && w->unknown) err = observed_unknown(tx, name, a);
        if (err == 0) err = observed_status(tx, name, w->status, w->problem, now, a, NULL);
        return err;
}

static int tell(struct sat_session *s, const struct status_write *w)
{
        int err = observed_write(s->link->config.observed, s->node_name, write_status, (void *)w);
        if (err != 0) {
                log_error(LOG, "%s: cannot record what it reports: %s", s->node_name, err_text(err));
                return err;
        }
        if (!w->forget && w->status != s->last_status) {
                s->last_status = w->status;
                log_info(LOG, "%s: %s%s%s", s->node_name, enum_name(&conn_status_enum, w->status),
                        w->problem != NULL ? ": " : "", w->problem != NULL ? w->problem : "");
        }
        return 0;
}

/* ---- ends ---- */

static void session_free(struct sat_session *s)
{
        struct sat_link *l = s->link;
        list_remove(&s->at);
        sat_dirty_done(&s->dirty);
        free(s->node_name);
        free(s->fingerprint);
        free(s);
        sat_link_settle(l);
}

static void plan_retry(struct sat_session *s)
{
        struct env *env = s->link->config.env;
        unsigned jitter = (unsigned)(env_random_u64(env) % (s->pause_ms / 2 + 1));
        s->retry_ms = now(s) + s->pause_ms - s->pause_ms / 4 + jitter;
        s->pause_ms = MIN(s->pause_ms * 2, SAT_RETRY_MAX_MS);
}

static void on_closed(struct conn *c)
{
        struct sat_session *s = c->data;
        move(s, SESSION_IDLE);
        if (s->removed) session_free(s);
        else plan_retry(s);
}

static void close_conn(struct sat_session *s)
{
        if (s->state == SESSION_IDLE || s->state == SESSION_CLOSING) return;
        move(s, SESSION_CLOSING);
        s->in_flight = false;
        s->has_acked = false;
        sat_dirty_add(&s->dirty, &(struct sat_change){ .kind = SAT_CHANGE_ALL });
        conn_close(&s->conn, on_closed);
}

static void session_fail(struct sat_session *s, enum conn_status status, const char *problem)
{
        s->tried = true;
        (void)tell(
                s, &(struct status_write){ .s = s, .status = status, .problem = problem, .unknown = true });
        close_conn(s);
}

static void session_lost(struct sat_session *s, const char *why)
{
        struct arena a = { 0 };
        session_fail(s, conn_status_OFFLINE, problem_lost(&a, s, why));
        arena_done(&a);
}

/* ---- sending ---- */

static int send_msg(struct sat_session *s, const struct type_desc *t, const void *msg)
{
        struct buf b = { 0 };
        int err = enc_msgpack(t, msg, &b);
        if (err == 0) err = conn_send(&s->conn, t->id, buf_blob(&b));
        buf_done(&b);
        return err;
}

static void send_hello(struct sat_session *s)
{
        struct sat_hello h = { 0 };
        SET(&h, sat_hello, cluster_uuid, s->link->config.cluster_uuid);
        SET(&h, sat_hello, controller, s->link->config.controller);
        SET(&h, sat_hello, node_name, s->node_name);
        SET(&h, sat_hello, version, SOFTWARE_VERSION);
        SET(&h, sat_hello, level_min, LEVEL_MIN);
        SET(&h, sat_hello, level, LEVEL_MAX);
        int err = send_msg(s, &sat_hello_type, &h);
        if (err != 0) session_lost(s, err_text(err));
}

bool session_can_send(const struct sat_session *s)
{
        return (s->state == SESSION_SYNC || s->state == SESSION_ONLINE) && !s->in_flight && !s->removed;
}

int session_send_wanted(struct sat_session *s, const struct sat_wanted *w)
{
        int err = send_msg(s, &sat_wanted_type, w);
        if (err == E_BUSY) return err;
        if (err != 0) {
                log_error(LOG, "%s: cannot send its wanted state: %s", s->node_name, err_text(err));
                session_lost(s, err_text(err));
                return err;
        }
        s->in_flight = true;
        s->sent_ms = now(s);
        return 0;
}

static int send_secret(struct sat_session *s, const struct type_desc *t, const void *msg)
{
        struct buf b = { 0 };
        int err = enc_msgpack(t, msg, &b);
        if (err == 0) err = conn_send(&s->conn, t->id, buf_blob(&b));
        if (b.p != NULL) secret_wipe(b.p, b.n);
        buf_done(&b);
        if (err != 0 && err != E_BUSY) session_lost(s, err_text(err));
        return err;
}

int session_send_keys(struct sat_session *s, const struct sat_keys *k)
{
        return send_secret(s, &sat_keys_type, k);
}

int session_send_ships(struct sat_session *s, const struct sat_ships *m)
{
        return send_secret(s, &sat_ships_type, m);
}

/* ---- receiving ---- */

/* The node can do something else than when the session began. What it is to do may depend on that. */
static void on_news(struct sat_session *s, const struct sat_hello_reply *r)
{
        enum conn_status status = s->state == SESSION_ONLINE ? conn_status_ONLINE : conn_status_CONNECTED;
        if (r->err != 0 || strcasecmp(r->node_name, s->node_name) != 0) {
                session_lost(s, "it says that it is another one by now");
                return;
        }
        log_info(LOG, "%s: what it can do has changed", s->node_name);
        sat_dirty_add(&s->dirty, &(struct sat_change){ .kind = SAT_CHANGE_ALL });
        (void)tell(s, &(struct status_write){ .s = s, .status = status, .hello = r });
        sat_link_want_flush(s->link);
}

static void on_hello_reply(struct sat_session *s, const struct sat_hello_reply *r, struct arena *a)
{
        enum conn_status status;
        if (s->state == SESSION_SYNC || s->state == SESSION_ONLINE) {
                on_news(s, r);
                return;
        }
        if (s->state != SESSION_HELLO) {
                session_lost(s, "a hello reply out of turn");
                return;
        }
        if (r->err != 0) {
                const char *problem = problem_refused(a, s, (int)r->err, r->text, &status);
                session_fail(s, status, problem);
                return;
        }
        uint64_t knows = HAS(r, sat_hello_reply, level) ? r->level : LEVEL_FIRST;
        if (knows < LEVEL_MIN || (HAS(r, sat_hello_reply, level_min) && r->level_min > LEVEL_MAX)) {
                session_fail(s, conn_status_VERSION_MISMATCH, problem_level(a, s, r->version, knows));
                return;
        }
        s->level = (unsigned)MIN(knows, UINT8_MAX);
        if (strcasecmp(r->node_name, s->node_name) != 0) {
                session_fail(s, conn_status_HOSTNAME_MISMATCH, problem_name(a, s, r->node_name));
                return;
        }
        move(s, SESSION_SYNC);
        s->fenced_term = 0;
        sat_dirty_add(&s->dirty, &(struct sat_change){ .kind = SAT_CHANGE_ALL });
        (void)tell(s, &(struct status_write){ .s = s, .status = conn_status_CONNECTED, .hello = r });
        sat_link_want_flush(s->link);
}

static void on_report(struct sat_session *s, const struct sat_report *r)
{
        if (s->state != SESSION_SYNC && s->state != SESSION_ONLINE) {
                session_lost(s, "a report out of turn");
                return;
        }
        enum conn_status status =
                s->state == SESSION_ONLINE || r->full ? conn_status_ONLINE : conn_status_CONNECTED;
        if (tell(s, &(struct status_write){ .s = s, .status = status, .report = r }) != 0) {
                session_lost(s, "its report cannot be stored");
                return;
        }
        if (s->state == SESSION_SYNC && r->full) {
                move(s, SESSION_ONLINE);
                s->tried = true;
                s->pause_ms = SAT_RETRY_FIRST_MS;
        }
}

static void on_wanted_reply(struct sat_session *s, const struct sat_wanted_reply *r)
{
        if (!s->in_flight) return; /* of an answer that we gave up */
        s->in_flight = false;
        uint64_t term = 0;
        switch (r->err) {
        case 0:
                s->acked_revision = r->revision;
                s->has_acked = true;
                break;
        case E_FENCED:
                /* Somebody leads in a newer term. We will hear of it ourselves; until then there is nothing
                 * to say. */
                (void)s->link->config.ops->leading(s->link->config.arg, &term);
                s->fenced_term = MAX(term, 1);
                sat_dirty_add(&s->dirty, &(struct sat_change){ .kind = SAT_CHANGE_ALL });
                if (term > 0 && r->highest_term >= term + HISTORY_STEP)
                        log_warn(LOG,
                                "%s: obeys a cluster that was restored or recovered without this one (it has "
                                "heard of "
                                "term %llu, ours is %llu): this one must not go on",
                                s->node_name, (unsigned long long)r->highest_term, (unsigned long long)term);
                else
                        log_info(LOG, "%s: has heard of term %llu, ours is %llu", s->node_name,
                                (unsigned long long)r->highest_term, (unsigned long long)term);
                break;
        default:
                if (r->err != E_STALE)
                        log_warn(LOG, "%s: did not take its wanted state: %s", s->node_name,
                                r->text != NULL ? r->text : err_text((int)r->err));
                if (r->err != E_STALE) s->failed_ms = now(s);
                sat_dirty_add(&s->dirty, &(struct sat_change){ .kind = SAT_CHANGE_ALL });
                break;
        }
        sat_link_want_flush(s->link);
}

static void on_message(struct sat_session *s, unsigned kind, const void *msg, struct arena *a)
{
        if (kind == sat_hello_reply_type.id) on_hello_reply(s, msg, a);
        else if (kind == sat_report_type.id) on_report(s, msg);
        else if (kind == sat_wanted_reply_type.id) on_wanted_reply(s, msg);
        else if (kind == sat_ping_type.id) {
                struct sat_pong pong = { 0 };
                SET(&pong, sat_pong, seq, ((const struct sat_ping *)msg)->seq);
                (void)send_msg(s, &sat_pong_type, &pong); /* a full queue carries enough signs of life */
        }
}

static const struct type_desc *message_type(unsigned kind)
{
        static const struct type_desc *const known[] = { &sat_hello_reply_type, &sat_report_type,
                &sat_wanted_reply_type, &sat_ping_type, &sat_pong_type };
        for (size_t i = 0; i < ARRAY_LEN(known); i++)
                if (known[i]->id == kind) return known[i];
        return NULL;
}

static void on_frame(struct conn *c, unsigned kind, struct blob payload)
{
        struct sat_session *s = c->data;
        if (s->state == SESSION_CLOSING || s->state == SESSION_IDLE) return;
        s->last_heard_ms = now(s);
        const struct type_desc *t = message_type(kind);
        if (t == NULL) return; /* something newer */
        struct arena a = { 0 };
        struct fail f = { 0 };
        void *msg = arena_alloc(&a, t->size);
        int err = dec_msgpack(t, payload, DEC_TOLERANT, &a, msg, &f);
        if (err != 0) {
                log_warn(LOG, "%s: %s: %s", s->node_name, t->name, f.text);
                session_lost(s, "it does not speak the protocol");
        } else {
                on_message(s, kind, msg, &a);
        }
        arena_done(&a);
}

/* ---- the connection ---- */

static bool fingerprint_matches(const struct sat_session *s, const uint8_t actual[PKI_PIN_SIZE])
{
        char hex[2 * PKI_PIN_SIZE + 1];
        if (s->fingerprint == NULL || s->fingerprint[0] == '\0') return true;
        sodium_bin2hex(hex, sizeof hex, actual, PKI_PIN_SIZE);
        return strcasecmp(hex, s->fingerprint) == 0;
}

static void on_opened(struct conn *c, int err)
{
        struct sat_session *s = c->data;
        struct arena a = { 0 };
        enum conn_status status;
        if (s->state != SESSION_DIALING) return;
        const struct pki_identity *id = err == 0 ? conn_identity(c) : NULL;
        if (err == 0 && (id == NULL || id->role != PKI_SATELLITE)) err = E_AUTH;
        if (err != 0) {
                const char *problem = problem_dial(&a, s, err, conn_fault(c)->text, &status);
                session_fail(s, status, problem);
        } else if (strcasecmp(id->name, s->node_name) != 0) {
                session_fail(s, conn_status_HOSTNAME_MISMATCH, problem_name(&a, s, id->name));
        } else if (!fingerprint_matches(s, id->fingerprint)) {
                session_fail(s, conn_status_AUTHENTICATION_ERROR, problem_fingerprint(&a, s));
        } else {
                s->last_heard_ms = now(s);
                s->next_ping_ms = now(s) + SAT_PING_MS;
                move(s, SESSION_HELLO);
                send_hello(s);
        }
        arena_done(&a);
}

static void on_end(struct conn *c, enum conn_end why)
{
        struct sat_session *s = c->data;
        if (s->state == SESSION_CLOSING || s->state == SESSION_IDLE) return;
        const char *text = conn_fault(c)->text;
        session_lost(s, text[0] != '\0' ? text : conn_end_name(why));
}

static void on_writable(struct conn *c)
{
        struct sat_session *s = c->data;
        sat_link_want_flush(s->link);
}

static const struct conn_ops session_ops = {
        .opened = on_opened, .frame = on_frame, .writable = on_writable, .end = on_end
};

static void dial(struct sat_session *s)
{
        struct conn_options o;
        conn_options_init(&o);
        move(s, SESSION_DIALING);
        s->dialed_ms = now(s);
        s->conn.data = s;
        int err = conn_connect(
                &s->conn, s->link->config.loop, &s->address, s->link->config.ctx, &o, &session_ops);
        if (err == 0) return;
        struct arena a = { 0 };
        enum conn_status status;
        const char *problem = problem_dial(&a, s, err, err_text(err), &status);
        session_fail(s, status, problem);
        arena_done(&a);
}

/* ---- what sat_link.c calls ---- */

struct sat_session *session_new(struct sat_link *l, const char *node_name)
{
        struct sat_session *s = xnew(struct sat_session);
        s->link = l;
        s->node_name = xstrdup(node_name);
        s->pause_ms = SAT_RETRY_FIRST_MS;
        s->last_status = conn_status_UNKNOWN;
        s->try_ms = now(s);
        sat_dirty_add(&s->dirty, &(struct sat_change){ .kind = SAT_CHANGE_ALL });
        list_push_back(&l->sessions, &s->at);
        l->live++;
        return s;
}

void session_try(struct sat_session *s)
{
        s->try_ms = now(s);
        s->tried = s->state == SESSION_ONLINE || !s->has_address;
        if (s->state == SESSION_IDLE) s->retry_ms = s->try_ms;
}

bool session_retry(struct sat_session *s, int64_t wall_ms)
{
        uint64_t since_ms = now(s) - s->dialed_ms;
        bool believed = wall_ms <= s->asked_wall_ms && since_ms < SAT_RETRIED_MS;
        switch (s->state) {
        case SESSION_IDLE:
                if (!s->has_address || s->removed) return false;
                if (s->retry_ms > now(s) && believed) return false;
                s->asked_wall_ms = MAX(s->asked_wall_ms, wall_ms);
                s->retry_ms = MIN(s->retry_ms, now(s));
                return true;
        case SESSION_CLOSING: return !s->removed && !believed;
        case SESSION_DIALING: return since_ms < SAT_AGAIN_MS;
        case SESSION_HELLO: /* it is there, be it slow: soon it is online */
        case SESSION_SYNC: return since_ms < SAT_TRY_MS;
        case SESSION_ONLINE:
        case SESSION_STATE_N: break;
        }
        return false;
}

static const struct netif *active_netif(const struct node *node)
{
        const struct netif *with_port = NULL;
        for (uint32_t i = 0; i < node->net_interfaces_n; i++) {
                const struct netif *n = &node->net_interfaces[i];
                if (n->is_active) return n;
                if (with_port == NULL && HAS(n, netif, satellite_port)) with_port = n;
        }
        return with_port;
}

static bool parse_netif(const struct netif *n, struct sockaddr_storage *ret)
{
        unsigned port = HAS(n, netif, satellite_port) && n->satellite_port > 0 && n->satellite_port <= 65535
                                ? (unsigned)n->satellite_port
                                : SAT_PORT;
        struct arena a = { 0 };
        const char *bracket = strchr(n->address, ':') != NULL && n->address[0] != '[' ? "[" : "";
        const char *text = arena_printf(&a, "%s%s%s", bracket, n->address, bracket[0] != '\0' ? "]" : "");
        memset(ret, 0, sizeof *ret);
        bool good = conn_parse_address(text, port, ret) == 0;
        arena_done(&a);
        return good;
}

void session_set_node(struct sat_session *s, const struct node *node)
{
        struct sockaddr_storage to;
        const struct netif *n = active_netif(node);
        free(s->fingerprint);
        s->fingerprint = node->cert_fingerprint != NULL ? xstrdup(node->cert_fingerprint) : NULL;
        bool good = n != NULL && n->address != NULL && parse_netif(n, &to);
        if (!good) {
                struct arena a = { 0 };
                s->has_address = false;
                session_fail(s, conn_status_NO_STLT_CONN, problem_no_address(&a, s->node_name));
                arena_done(&a);
                return;
        }
        bool same = s->has_address && memcmp(&to, &s->address, sizeof to) == 0 &&
                    s->node_revision == node->revision;
        s->node_revision = node->revision;
        if (same) return;
        s->has_address = true;
        s->address = to;
        conn_format_address(&to, s->address_text, sizeof s->address_text);
        session_redial(s);
}

void session_redial(struct sat_session *s)
{
        s->pause_ms = SAT_RETRY_FIRST_MS;
        s->retry_ms = now(s);
        if (s->state != SESSION_IDLE && s->state != SESSION_CLOSING) session_lost(s, "it is dialed anew");
        s->try_ms = now(s);
        s->tried = false;
}

void session_remove(struct sat_session *s, bool forget)
{
        if (s->removed) return;
        s->removed = true;
        if (forget) (void)tell(s, &(struct status_write){ .s = s, .forget = true });
        if (s->state == SESSION_IDLE) session_free(s);
        else close_conn(s);
}

static void ping(struct sat_session *s, uint64_t now_ms)
{
        struct sat_ping p = { 0 };
        SET(&p, sat_ping, seq, ++s->ping_seq);
        s->next_ping_ms = now_ms + SAT_PING_MS;
        int err = send_msg(s, &sat_ping_type, &p);
        if (err != 0 && err != E_BUSY) session_lost(s, err_text(err));
}

void session_tick(struct sat_session *s, uint64_t now_ms)
{
        switch (s->state) {
        case SESSION_IDLE:
                if (s->has_address && now_ms >= s->retry_ms && !s->removed) dial(s);
                break;
        case SESSION_HELLO:
                if (now_ms - s->state_since_ms > SAT_HELLO_MS) session_lost(s, "no answer to the greeting");
                break;
        case SESSION_SYNC:
        case SESSION_ONLINE:
                if (now_ms - s->last_heard_ms > SAT_SILENCE_MS) session_lost(s, "it has been silent for 5 s");
                else if (s->in_flight && now_ms - s->sent_ms > SAT_REPLY_MS)
                        session_lost(s, "it did not confirm its wanted state");
                else if (now_ms >= s->next_ping_ms) ping(s, now_ms);
                break;
        case SESSION_DIALING: /* conn has a deadline of its own */
        case SESSION_CLOSING:
        case SESSION_STATE_N: break;
        }
}
