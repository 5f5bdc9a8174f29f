#include "satellite/session.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "satellite/caps.h"
#include "satellite/ship/ships.h"
#include "wire/base/log.h"
#include "wire/codec/codec.h"
#include "wire/def/versions.h"

#define HELLO_MS 5000
#define SILENCE_MS 5000
#define PING_MS 1000
#define PUSH_MS 20
#define LOG "session"

struct session_server {
        uv_loop_t *loop;
        struct env *env;
        struct manager *manager;
        char *node_name, *cluster_uuid, *version;
        struct listener listeners[SESSION_LISTENERS_MAX];
        uint32_t listeners_n;
        struct list sessions;
        uint32_t sessions_n;
        uv_timer_t tick, push;
        bool push_set, closing;
        unsigned live; /* handles and listeners */
        session_closed_fn *closed;
        void *arg;
};

enum session_state {
        SESSION_HELLO, /* waits for the hello */
        SESSION_READY,
        SESSION_REFUSED /* the refusal is on its way; nothing is read any more */
};

struct session {
        struct list at;
        struct session_server *server;
        struct conn *conn;
        enum session_state state;
        char controller[PKI_NAME_MAX + 1];
        char fingerprint[2 * PKI_PIN_SIZE + 1]; /* of its certificate */
        uint64_t began_ms, heard_ms, ping_seq, report_seq;
        /* SESSION_READY: what this controller has been told. */
        bool needs_full;
        uint64_t gen, revision, full_epoch, caps;
        /* A wanted state was taken and its reply is due; 0 = none. */
        uint64_t reply_seq, reply_revision;
};

static uint64_t now(const struct session_server *s) { return s->env->now_ms(s->env); }

static void session_end(struct session *s)
{
        list_remove(&s->at);
        s->server->sessions_n--;
        listener_drop(s->conn);
        free(s);
}

static int send_msg(struct session *s, const struct type_desc *t, const void *msg)
{
        struct buf b = { 0 };
        int err = enc_msgpack(t, msg, &b);
        if (err == 0) err = conn_send(s->conn, t->id, buf_blob(&b));
        buf_done(&b);
        return err;
}

/* ---- replies to wanted states ---- */

static int send_wanted_reply(struct session *s, int err, uint64_t revision, const char *text)
{
        struct sat_wanted_reply r = { 0 };
        SET(&r, sat_wanted_reply, revision, revision);
        SET(&r, sat_wanted_reply, highest_term, manager_highest_term(s->server->manager));
        SET(&r, sat_wanted_reply, err, err);
        if (text != NULL) SET(&r, sat_wanted_reply, text, text);
        return send_msg(s, &sat_wanted_reply_type, &r);
}

/* The reply that is due, when the state is durable or cannot be made so. */
static void try_reply(struct session *s)
{
        struct manager *m = s->server->manager;
        if (s->reply_seq == 0) return;
        int durable = manager_durable(m, s->reply_seq);
        if (durable == 0) return;
        int err = durable > 0 ? send_wanted_reply(s, 0, s->reply_revision, NULL)
                              : send_wanted_reply(s, durable, manager_revision(m),
                                        "the satellite cannot write its state to disk");
        if (err != E_BUSY) s->reply_seq = 0; /* E_BUSY: writable() comes back here */
}

static void on_wanted(struct session *s, const struct sat_wanted *w)
{
        struct fail f = { 0 };
        uint64_t seq = 0;
        int err = manager_take(s->server->manager, w, &seq, &f);
        if (err == 0) {
                s->reply_seq = seq;
                s->reply_revision = w->revision;
                try_reply(s);
                return;
        }
        if (err != E_STALE) log_warn(LOG, "%s: wanted state refused: %s", s->controller, f.text);
        if (send_wanted_reply(s, err, manager_revision(s->server->manager), f.text) != 0) session_end(s);
}

/* ---- reports ---- */

static void fill_hello(struct session_server *server, struct arena *a, struct sat_hello_reply *r)
{
        struct manager *m = server->manager;
        SET(r, sat_hello_reply, node_name, server->node_name);
        SET(r, sat_hello_reply, version, server->version);
        SET(r, sat_hello_reply, level_min, LEVEL_MIN);
        SET(r, sat_hello_reply, level, LEVEL_MAX);
        SET(r, sat_hello_reply, revision, manager_revision(m));
        SET(r, sat_hello_reply, highest_term, manager_highest_term(m));
        SET(r, sat_hello_reply, err, 0);
        caps_fill(a, r);
}

/* The hello reply once more, when the node can do something else by now. An older controller does not expect it: it
 * ends the session, connects again, and knows then. */
static int push_caps(struct session *s, struct arena *a)
{
        uint64_t caps = manager_caps(s->server->manager);
        struct sat_hello_reply r = { 0 };
        if (caps == 0 || caps == s->caps) return 0;
        fill_hello(s->server, a, &r);
        int err = send_msg(s, &sat_hello_reply_type, &r);
        if (err == 0) s->caps = caps;
        return err;
}

/* Sends what this controller does not know yet. False when the session has ended. */
static bool push(struct session *s)
{
        struct manager *m = s->server->manager;
        struct arena a = { .limit_bytes = ARENA_LIMIT_DEFAULT * 2 };
        struct sat_report r;
        uint64_t gen = s->gen, epoch = manager_full_epoch(m), revision = manager_revision(m);
        bool full = s->needs_full || s->full_epoch != epoch, any = false;
        int err = push_caps(s, &a);
        if (err == 0) err = manager_report(m, full, &gen, &a, &r, &any);
        if (err == 0 && (any || s->revision != revision)) {
                SET(&r, sat_report, seq, s->report_seq + 1);
                err = send_msg(s, &sat_report_type, &r);
        }
        arena_done(&a);
        if (err == E_BUSY) return true; /* writable() comes back here */
        if (err != 0) {
                log_error(LOG, "%s: its report cannot be sent: %s", s->controller, err_text(err));
                session_end(s);
                return false;
        }
        s->report_seq += any || s->revision != revision;
        s->needs_full = false;
        s->gen = gen;
        s->full_epoch = epoch;
        s->revision = revision;
        return true;
}

static void push_all(struct session_server *server)
{
        uint64_t least = UINT64_MAX;
        LIST_FOREACH_SAFE(i, n, &server->sessions)
        {
                struct session *s = container_of(i, struct session, at);
                if (s->state != SESSION_READY) continue;
                try_reply(s);
                if (push(s)) least = MIN(least, s->gen);
        }
        manager_reported(server->manager, least);
}

static void on_push(uv_timer_t *t)
{
        struct session_server *s = container_of(t, struct session_server, push);
        s->push_set = false;
        if (!s->closing) push_all(s);
}

/* Those that were removed while they were linked. */
static void end_removed(struct session_server *server)
{
        LIST_FOREACH_SAFE(i, n, &server->sessions)
        {
                struct session *s = container_of(i, struct session, at);
                if (s->state != SESSION_READY || !manager_controller_removed(server->manager, s->fingerprint))
                        continue;
                log_info(LOG, "%s: was removed from the cluster, the session is closed", s->controller);
                session_end(s);
        }
}

void session_server_changed(struct session_server *s)
{
        if (s->closing) return;
        end_removed(s);
        LIST_FOREACH_SAFE(i, n, &s->sessions) try_reply(container_of(i, struct session, at));
        if (!s->push_set) s->push_set = uv_timer_start(&s->push, on_push, PUSH_MS, 0) == 0;
}

/* ---- hello ---- */

static void refuse(struct session *s, int err, const char *text)
{
        struct sat_hello_reply r = { 0 };
        SET(&r, sat_hello_reply, node_name, s->server->node_name);
        SET(&r, sat_hello_reply, err, err);
        SET(&r, sat_hello_reply, text, text);
        log_warn(LOG, "%s: session refused: %s", s->controller, text);
        s->state = SESSION_REFUSED;
        if (send_msg(s, &sat_hello_reply_type, &r) != 0) session_end(s);
        else conn_finish(s->conn);
}

/* An older session of the same controller is of a connection that is dead by now. */
static void replace_older(struct session *s)
{
        LIST_FOREACH_SAFE(i, n, &s->server->sessions)
        {
                struct session *other = container_of(i, struct session, at);
                if (other != s && other->state == SESSION_READY &&
                        strcasecmp(other->controller, s->controller) == 0)
                        session_end(other);
        }
}

static void on_hello(struct session *s, const struct sat_hello *h)
{
        struct session_server *server = s->server;
        struct manager *m = server->manager;
        struct arena a = { 0 };
        if (manager_controller_removed(m, s->fingerprint))
                refuse(s, E_AUTH,
                        arena_printf(&a, "controller %s was removed from the cluster", s->controller));
        else if (strcasecmp(h->cluster_uuid, server->cluster_uuid) != 0)
                refuse(s, E_AUTH,
                        arena_printf(&a, "this satellite belongs to cluster %s", server->cluster_uuid));
        else if (strcasecmp(h->node_name, server->node_name) != 0)
                refuse(s, E_INVALID,
                        arena_printf(
                                &a, "this satellite is node %s, not %s", server->node_name, h->node_name));
        else if (HAS(h, sat_hello, level_min) && h->level_min > LEVEL_MAX)
                refuse(s, E_LEVEL,
                        arena_printf(&a,
                                "its release %s knows feature levels up to %d, and that of the controller, "
                                "%s, "
                                "works with %llu and above: upgrade the satellite",
                                server->version, LEVEL_MAX, h->version != NULL ? h->version : "?",
                                (unsigned long long)h->level_min));
        else {
                struct sat_hello_reply r = { 0 };
                fill_hello(server, &a, &r);
                s->caps = caps_mark(&r);
                s->state = SESSION_READY;
                s->needs_full = true;
                replace_older(s);
                log_info(LOG, "%s: connected", s->controller);
                if (send_msg(s, &sat_hello_reply_type, &r) != 0) session_end(s);
                else push(s);
        }
        arena_done(&a);
}

/* ---- frames ---- */

static const struct type_desc *message_type(unsigned kind)
{
        static const struct type_desc *const known[] = { &sat_hello_type, &sat_wanted_type, &sat_ping_type,
                &sat_pong_type, &sat_keys_type, &sat_ships_type };
        for (size_t i = 0; i < ARRAY_LEN(known); i++)
                if (known[i]->id == kind) return known[i];
        return NULL;
}

/* s may be gone afterwards. */
static void on_message(struct session *s, unsigned kind, const void *msg)
{
        if (s->state == SESSION_HELLO && kind == sat_hello_type.id) on_hello(s, msg);
        else if (s->state == SESSION_READY && kind == sat_wanted_type.id) on_wanted(s, msg);
        else if (s->state == SESSION_READY && kind == sat_keys_type.id)
                manager_take_keys(s->server->manager, msg);
        else if (s->state == SESSION_READY && kind == sat_ships_type.id)
                manager_take_ships(s->server->manager, msg);
        else if (s->state == SESSION_READY && kind == sat_ping_type.id) {
                struct sat_pong pong = { 0 };
                SET(&pong, sat_pong, seq, ((const struct sat_ping *)msg)->seq);
                int err = send_msg(s, &sat_pong_type, &pong);
                if (err != 0 && err != E_BUSY) session_end(s); /* a full queue carries enough signs of life */
        } else if (kind != sat_pong_type.id || s->state != SESSION_READY) {
                log_warn(LOG, "%s: message %u out of turn", s->controller, kind);
                session_end(s);
        }
}

/* Nothing of the keys stays in the memory that is about to be used again. The frame is our own connection's buffer. */
static void wipe_blob(struct blob b)
{
        if (b.n > 0) secret_wipe((void *)(uintptr_t)b.p, b.n);
}

static void wipe_keys(const struct sat_keys *k, struct blob frame)
{
        for (uint32_t i = 0; i < k->keys_n; i++) {
                wipe_blob(k->keys[i].key);
                for (uint32_t j = 0; j < k->keys[i].olds_n; j++) wipe_blob(k->keys[i].olds[j].key);
        }
        secret_wipe((void *)(uintptr_t)frame.p, frame.n);
}

static void wipe_ships(const struct sat_ships *m, struct blob frame)
{
        for (uint32_t i = 0; i < m->ships_n; i++) ships_wipe_one(&m->ships[i]);
        secret_wipe((void *)(uintptr_t)frame.p, frame.n);
}

static void on_frame(struct conn *c, unsigned kind, struct blob payload)
{
        struct session *s = c->data;
        if (s->state == SESSION_REFUSED) return;
        s->heard_ms = now(s->server);
        const struct type_desc *t = message_type(kind);
        if (t == NULL && s->state == SESSION_READY) return; /* something newer */
        struct arena a = { 0 };
        struct fail f = { 0 };
        void *msg = t == NULL ? NULL : arena_alloc(&a, t->size);
        int err = t == NULL ? fail_set(&f, E_PROTOCOL, "no hello")
                            : dec_msgpack(t, payload, DEC_TOLERANT, &a, msg, &f);
        if (err == 0) on_message(s, kind, msg);
        else {
                log_warn(LOG, "%s: it does not speak the protocol: %s", s->controller, f.text);
                session_end(s);
        }
        if (t == &sat_keys_type) wipe_keys(msg, payload);
        if (t == &sat_ships_type) wipe_ships(msg, payload);
        arena_done(&a);
}

static void on_writable(struct conn *c)
{
        struct session *s = c->data;
        if (s->state != SESSION_READY) return;
        try_reply(s);
        push(s);
}

static void on_end(struct conn *c, enum conn_end why)
{
        struct session *s = c->data;
        if (s->state == SESSION_READY)
                log_info(LOG, "%s: disconnected: %s", s->controller, conn_end_name(why));
        session_end(s);
}

/* Connections come to us open. */
static void on_opened(struct conn *c, int err) {}

static const struct conn_ops session_ops = {
        .opened = on_opened, .frame = on_frame, .writable = on_writable, .end = on_end
};

static void on_accepted(struct listener *l, struct conn *c)
{
        struct session_server *server = l->data;
        const struct pki_identity *id = conn_identity(c);
        if (id == NULL || id->role != PKI_CONTROLLER || server->sessions_n >= SESSIONS_MAX) {
                listener_drop(c);
                return;
        }
        struct session *s = xnew(struct session);
        s->server = server;
        s->conn = c;
        s->state = SESSION_HELLO;
        memcpy(s->controller, id->name, sizeof s->controller);
        (void)sodium_bin2hex(s->fingerprint, sizeof s->fingerprint, id->fingerprint, sizeof id->fingerprint);
        s->began_ms = s->heard_ms = now(server);
        list_push_back(&server->sessions, &s->at);
        server->sessions_n++;
        conn_set_ops(c, &session_ops, s);
}

static void on_refused(struct listener *l, const char *address, const struct fail *why)
{
        log_info(LOG, "%s: not let in: %s", address, why->text);
}

static const struct listener_ops listener_ops = { .accepted = on_accepted, .refused = on_refused };

/* ---- time ---- */

static void on_tick(uv_timer_t *t)
{
        struct session_server *server = container_of(t, struct session_server, tick);
        uint64_t at = now(server);
        if (server->closing) return;
        LIST_FOREACH_SAFE(i, n, &server->sessions)
        {
                struct session *s = container_of(i, struct session, at);
                bool mute = s->state == SESSION_HELLO ? at - s->began_ms > HELLO_MS
                                                      : at - s->heard_ms > SILENCE_MS;
                if (mute) {
                        log_info(LOG, "%s: silent, the session is closed", s->controller);
                        session_end(s);
                        continue;
                }
                if (s->state != SESSION_READY) continue;
                struct sat_ping ping = { 0 };
                SET(&ping, sat_ping, seq, ++s->ping_seq);
                int err = send_msg(s, &sat_ping_type, &ping);
                if (err != 0 && err != E_BUSY) session_end(s);
        }
        if (server->sessions_n == 0) manager_reported(server->manager, UINT64_MAX);
}

/* ---- life ---- */

static void settle(struct session_server *s)
{
        assert(s->live > 0);
        if (--s->live > 0) return;
        session_closed_fn *closed = s->closed;
        void *arg = s->arg;
        free(s->node_name);
        free(s->cluster_uuid);
        free(s->version);
        free(s);
        if (closed != NULL) closed(arg);
}

static void on_timer_closed(uv_handle_t *h) { settle(h->data); }

static void on_listener_closed(struct listener *l) { settle(l->data); }

static int open_listeners(struct session_server *s, const struct session_config *c, struct fail *f)
{
        for (uint32_t i = 0; i < c->addresses_n; i++) {
                struct listener_config lc = {
                        .address = c->addresses[i], .ctx = c->ctx, .connections_max = SESSIONS_MAX
                };
                conn_options_init(&lc.conn);
                struct listener *l = &s->listeners[i];
                l->data = s;
                s->listeners_n++;
                s->live++;
                int err = listener_open(l, c->loop, &lc, &listener_ops, f);
                if (err != 0) return err;
        }
        return 0;
}

int session_server_open(const struct session_config *c, struct session_server **ret, struct fail *f)
{
        assert(c->addresses_n > 0 && c->addresses_n <= SESSION_LISTENERS_MAX);
        struct session_server *s = xnew(struct session_server);
        s->loop = c->loop;
        s->env = c->env;
        s->node_name = xstrdup(c->node_name);
        s->cluster_uuid = xstrdup(c->cluster_uuid);
        s->version = xstrdup(c->version);
        list_init(&s->sessions);
        uv_timer_init(c->loop, &s->tick); /* cannot fail */
        uv_timer_init(c->loop, &s->push);
        s->tick.data = s->push.data = s;
        s->live = 2;
        int err = open_listeners(s, c, f);
        if (err == 0) err = uv_timer_start(&s->tick, on_tick, PING_MS, PING_MS);
        if (err == 0) *ret = s;
        else session_server_close(s, NULL, NULL);
        return err;
}

void session_server_set_manager(struct session_server *s, struct manager *m) { s->manager = m; }

void session_server_close(struct session_server *s, session_closed_fn *closed, void *arg)
{
        assert(!s->closing);
        s->closing = true;
        s->closed = closed;
        s->arg = arg;
        LIST_FOREACH_SAFE(i, n, &s->sessions) session_end(container_of(i, struct session, at));
        uv_close((uv_handle_t *)&s->tick, on_timer_closed);
        uv_close((uv_handle_t *)&s->push, on_timer_closed);
        for (uint32_t i = 0; i < s->listeners_n; i++) listener_close(&s->listeners[i], on_listener_closed);
}

void session_server_address(const struct session_server *s, uint32_t i, struct sockaddr_storage *ret)
{
        listener_address(&s->listeners[i], ret);
}
