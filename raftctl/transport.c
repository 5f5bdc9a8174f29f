/* Links between members, see transport.h. Handling of the first words (hello) is in transport_hello.c.
 *
 * Happy path of a dial: due -> conn_connect -> opened(0) -> HELLO -> HELLO_REPLY(0) -> up. Of an accepted
 * one: accepted -> HELLO -> checks -> HELLO_REPLY(0) -> up. Failures: no connection, refusal, silence: the
 * attempt is given up, `trouble` says why, the next one is due after RETRY_MIN_MS .. RETRY_MAX_MS (a refusal
 * for good: REFUSED_MS). */
#include "raftctl/transport.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "raftctl/transport_int.h"
#include "wire/net/kinds.h"

enum {
        RETRY_MIN_MS = 30,
        RETRY_MAX_MS = 100,
        REFUSED_MS = 1000,
        SILENCE_MS = 5000,
        JOIN_MS = 40000,
        JOIN_FRAME_MAX = 16 << 10,
        ANONYMOUS_MAX = 32 /* peers without certificate at a time */
};

/* ---- the object's end ---- */

static void settle(struct transport *t)
{
        assert(t->live > 0);
        if (--t->live > 0) return;
        assert(t->closing);
        void (*cb)(void *) = t->closed_cb;
        void *arg = t->closed_arg;
        tls_ctx_unref(t->ctx);
        free(t);
        cb(arg);
}

static void on_listener_closed(struct listener *l) { settle(l->data); }
static void on_timer_closed(uv_handle_t *h) { settle(h->data); }

/* ---- ends: one for each connection ---- */

static void on_dial_closed(struct conn *c)
{
        struct end *e = c->data;
        struct transport *t = e->t;
        free(e);
        settle(t);
}

/* The end is not used any more from here on. */
void transport_end_drop(struct end *e)
{
        if (e->link != NULL && e->link->out == e) e->link->out = NULL;
        if (e->link != NULL && e->link->up == e) e->link->up = NULL;
        e->link = NULL;
        list_remove(&e->node);
        if (e->inbound) {
                listener_drop(e->conn);
                free(e);
        } else if (!e->conn->closing) {
                conn_close(e->conn, on_dial_closed);
        }
}

static uint64_t now_ms(const struct transport *t) { return t->env->now_ms(t->env); }

static void trouble_set(struct peer *p, const char *text)
{
        (void)snprintf(p->trouble, sizeof p->trouble, "%s", text);
}

/* ---- time ---- */

static void on_due(uv_timer_t *h);

void transport_arm(struct transport *t)
{
        if (t->closing) return;
        uint64_t now = now_ms(t), first = now + SILENCE_MS / 2;
        LIST_FOREACH(it, &t->peers)
        {
                struct peer *p = container_of(it, struct peer, node);
                for (unsigned ch = 0; ch < CHANNEL_N; ch++)
                        if (p->link[ch].due_ms != 0) first = MIN(first, p->link[ch].due_ms);
        }
        int rc = uv_timer_start(&t->timer, on_due, first > now ? first - now : 0, 0);
        assert(rc == 0);
}

void transport_retry(struct link *l, bool refused)
{
        struct transport *t = l->peer->t;
        uint64_t jitter = env_random_u64(t->env) % (RETRY_MAX_MS - RETRY_MIN_MS + 1);
        l->due_ms =
                l->peer->address[0] == '\0' ? 0 : now_ms(t) + (refused ? REFUSED_MS : RETRY_MIN_MS) + jitter;
        transport_arm(t);
}

static void dial_failed(struct link *l, const char *why, bool refused)
{
        trouble_set(l->peer, why);
        l->last_failed = true;
        if (l->out != NULL) transport_end_drop(l->out);
        if (l->up == NULL) transport_retry(l, refused);
}

/* ---- callbacks of connections ---- */

static void on_opened(struct conn *c, int err)
{
        struct end *e = c->data;
        struct link *l = e->link;
        if (l == NULL || err == E_CANCELED) return;
        const struct pki_identity *id = conn_identity(c);
        if (err != 0) {
                dial_failed(l, conn_fault(c)->text, err == E_AUTH);
        } else if (id == NULL || (id->role != PKI_CONTROLLER && id->role != PKI_WITNESS)) {
                dial_failed(l, "the other side is not a member", true);
        } else {
                e->stranger = e->t->ops->check(e->t->arg, l->peer->id, id) == PEER_DENIED;
                e->who = *id;
                transport_hello_send(e);
        }
}

void transport_tell(struct transport *t, uint64_t peer, enum raft_channel channel, bool up, bool reset)
{
        if (channel == CHANNEL_RAFT) t->ops->link(t->arg, peer, up, reset);
        else if (t->ops->bulk != NULL) t->ops->bulk(t->arg, peer, up);
}

void transport_link_lost(struct link *l, bool reset)
{
        struct transport *t = l->peer->t;
        uint64_t id = l->peer->id;
        enum raft_channel channel = l->channel;
        if (l->up != NULL) transport_end_drop(l->up);
        transport_retry(l, false);
        transport_tell(t, id, channel, false, reset); /* last */
}

static void on_end(struct conn *c, enum conn_end why)
{
        struct end *e = c->data;
        struct link *l = e->link;
        if (l == NULL) {
                if (e->inbound) transport_end_drop(e);
        } else if (l->up == e) {
                trouble_set(l->peer, conn_end_name(why));
                transport_link_lost(l, why == CONN_END_FIN || why == CONN_END_RESET);
        } else {
                dial_failed(l, conn_fault(c)->text[0] != '\0' ? conn_fault(c)->text : conn_end_name(why),
                        conn_fault(c)->err == E_AUTH);
        }
}

static void on_first_frame(struct end *e, unsigned kind, struct blob payload)
{
        const struct pki_identity *id = conn_identity(e->conn);
        struct transport *t = e->t;
        if (kind == KIND_JOIN && payload.n <= JOIN_FRAME_MAX && !e->joining) {
                char address[64];
                conn_peer_address(e->conn, address, sizeof address);
                e->joining = true;
                e->deadline_ms = now_ms(t) + JOIN_MS;
                t->ops->join(t->arg, e->caller, id, address, payload);
        } else if (kind == KIND_HELLO && id != NULL && !e->joining) {
                transport_hello_accept(e, payload);
        } else {
                transport_end_drop(e);
        }
}

static void on_frame(struct conn *c, unsigned kind, struct blob payload)
{
        struct end *e = c->data;
        struct link *l = e->link;
        if (l != NULL && l->up == e) {
                if (kind == KIND_SECRET) {
                        if (e->t->ops->secret != NULL && e->who.role == PKI_CONTROLLER)
                                e->t->ops->secret(e->t->arg, l->peer->id, payload);
                } else if (kind == KIND_RAFT)
                        e->t->ops->receive(e->t->arg, l->peer->id, l->channel, payload); /* last */
        } else if (l != NULL && kind == KIND_HELLO_REPLY) {
                transport_hello_reply(e, payload);
        } else if (e->inbound && l == NULL) {
                on_first_frame(e, kind, payload);
        }
}

static const struct conn_ops conn_ops = { .opened = on_opened, .frame = on_frame, .end = on_end };

/* Strangers push strangers out, the oldest first, but for those whose join is under way. false: there is no
 * room. */
static bool room_for_anonymous(struct transport *t)
{
        struct end *oldest = NULL;
        unsigned n = 0;
        LIST_FOREACH(it, &t->ends)
        {
                struct end *e = container_of(it, struct end, node);
                if (!e->inbound || conn_identity(e->conn) != NULL) continue;
                n++;
                if (oldest == NULL && !e->joining) oldest = e;
        }
        if (n < ANONYMOUS_MAX) return true;
        if (oldest != NULL) transport_end_drop(oldest);
        return oldest != NULL;
}

static void on_accepted(struct listener *ls, struct conn *c)
{
        struct transport *t = ls->data;
        const struct pki_identity *id = conn_identity(c);
        if (id == NULL && !room_for_anonymous(t)) {
                listener_drop(c);
                return;
        }
        struct end *e = xnew(struct end);
        e->t = t;
        e->conn = c;
        e->inbound = true;
        e->caller = ++t->last_caller;
        e->deadline_ms = now_ms(t) + SILENCE_MS;
        if (id != NULL) e->who = *id;
        list_push_back(&t->ends, &e->node);
        conn_set_ops(c, &conn_ops, e);
}

static const struct listener_ops listener_ops = { .accepted = on_accepted };

/* ---- dialing ---- */

static void options(const struct transport *t, struct conn_options *o)
{
        conn_options_init(o);
        o->handshake_ms = MAX(1000, 2 * t->election_ms);
        o->user_timeout_ms = 3 * t->election_ms;
        o->keepalive_s = 1;
        o->frame_max_bytes = TRANSPORT_FRAME_MAX_BYTES;
        o->anonymous_max_bytes = JOIN_FRAME_MAX;
        o->high_water_bytes = TRANSPORT_QUEUE_BYTES;
}

static void dial(struct link *l)
{
        struct transport *t = l->peer->t;
        struct conn_options o;
        struct sockaddr_storage to;
        if (conn_parse_address(l->peer->address, RAFT_PORT, &to) != 0) {
                dial_failed(l, "the address is not usable", true);
                return;
        }
        options(t, &o);
        struct end *e = xnew(struct end);
        e->t = t;
        e->link = l;
        e->conn = &e->own;
        e->own.data = e;
        list_push_back(&t->ends, &e->node);
        t->live++;
        l->out = e;
        l->dial = ++t->dials; /* never repeats in this incarnation, even if the peer was removed and came back
                               */
        l->due_ms = now_ms(t) + o.handshake_ms + t->election_ms; /* the reply to the hello included */
        int err = conn_connect(e->conn, t->loop, &to, t->ctx, &o, &conn_ops);
        if (err != 0) dial_failed(l, err_text(err), false);
}

static void link_due(struct link *l)
{
        l->due_ms = 0;
        if (l->up != NULL) return;
        if (l->out != NULL) dial_failed(l, "no answer in time", false);
        else dial(l);
}

static void on_due(uv_timer_t *h)
{
        struct transport *t = h->data;
        uint64_t now = now_ms(t);
        LIST_FOREACH(it, &t->peers)
        {
                struct peer *p = container_of(it, struct peer, node);
                for (unsigned ch = 0; ch < CHANNEL_N; ch++)
                        if (p->link[ch].due_ms != 0 && p->link[ch].due_ms <= now) link_due(&p->link[ch]);
        }
        LIST_FOREACH_SAFE(it, nx, &t->ends)
        {
                struct end *e = container_of(it, struct end, node);
                if (e->inbound && e->link == NULL && e->deadline_ms <= now) transport_end_drop(e);
        }
        transport_arm(t);
}

/* ---- peers ---- */

struct peer *transport_peer_find(const struct transport *t, uint64_t id)
{
        LIST_FOREACH(it, &t->peers)
        {
                struct peer *p = container_of(it, struct peer, node);
                if (p->id == id) return p;
        }
        return NULL;
}

struct peer *transport_peer_make(struct transport *t, uint64_t id)
{
        if (t->peers_n >= TRANSPORT_PEERS_MAX) return NULL;
        struct peer *p = xnew(struct peer);
        p->t = t;
        p->id = id;
        for (unsigned ch = 0; ch < CHANNEL_N; ch++) {
                p->link[ch].peer = p;
                p->link[ch].channel = (enum raft_channel)ch;
        }
        list_push_back(&t->peers, &p->node);
        t->peers_n++;
        return p;
}

/* true when the RAFT link was up. */
static bool peer_cut(struct peer *p)
{
        bool was_up = p->link[CHANNEL_RAFT].up != NULL;
        for (unsigned ch = 0; ch < CHANNEL_N; ch++) {
                struct link *l = &p->link[ch];
                if (l->out != NULL) transport_end_drop(l->out);
                if (l->up != NULL) transport_end_drop(l->up);
        }
        return was_up;
}

static void peer_free(struct peer *p)
{
        list_remove(&p->node);
        p->t->peers_n--;
        for (unsigned i = 0; i < WAITING_MAX; i++) buf_done(&p->waiting[i].frame);
        free(p);
}

void transport_peer_set(struct transport *t, uint64_t id, const char *address)
{
        struct peer *p = transport_peer_find(t, id);
        if (id == t->id || t->closing) return;
        if (p != NULL && strcmp(p->address, address) == 0) return;
        if (p == NULL && (p = transport_peer_make(t, id)) == NULL) return;
        bool first = p->address[0] == '\0';
        (void)snprintf(p->address, sizeof p->address, "%s", address);
        bool was_up = !first && peer_cut(p);
        for (unsigned ch = 0; ch < CHANNEL_N; ch++)
                if (p->link[ch].up == NULL) p->link[ch].due_ms = now_ms(t);
        transport_arm(t);
        if (was_up) t->ops->link(t->arg, id, false, false);
}

void transport_peer_remove(struct transport *t, uint64_t id)
{
        struct peer *p = transport_peer_find(t, id);
        if (p == NULL) return;
        bool was_up = peer_cut(p);
        peer_free(p);
        if (was_up) t->ops->link(t->arg, id, false, false);
}

static bool denied(const struct peer *p)
{
        for (unsigned ch = 0; ch < CHANNEL_N; ch++) {
                const struct end *e = p->link[ch].up;
                if (e != NULL && p->t->ops->check(p->t->arg, p->id, &e->who) == PEER_DENIED) return true;
        }
        return false;
}

void transport_recheck(struct transport *t)
{
        uint64_t ids[TRANSPORT_PEERS_MAX];
        uint32_t n = transport_peers(t, ids, TRANSPORT_PEERS_MAX);
        for (uint32_t i = 0; i < n; i++) {
                struct peer *p = transport_peer_find(t, ids[i]);
                if (p == NULL || !denied(p)) continue;
                trouble_set(p, "it was removed, or its certificate is not that of this member");
                bool was_up = peer_cut(p);
                for (unsigned ch = 0; ch < CHANNEL_N; ch++) transport_retry(&p->link[ch], true);
                if (was_up) t->ops->link(t->arg, ids[i], false, false);
        }
}

uint32_t transport_peers(const struct transport *t, uint64_t *ret_ids, uint32_t n)
{
        uint32_t i = 0;
        LIST_FOREACH(it, &t->peers) if (i < n) ret_ids[i++] = container_of(it, struct peer, node)->id;
        return i;
}

void transport_peer_info(const struct transport *t, uint64_t id, struct transport_peer *ret)
{
        const struct peer *p = transport_peer_find(t, id);
        *ret = (struct transport_peer){ .known = p != NULL };
        if (p == NULL) return;
        const struct end *e = p->link[CHANNEL_RAFT].up;
        ret->up = e != NULL;
        ret->dropped = p->dropped;
        if (e == NULL) {
                (void)snprintf(ret->trouble, sizeof ret->trouble, "%s", p->trouble);
                return;
        }
        struct tcp_info info = { 0 };
        socklen_t n = sizeof info;
        int fd;
        if (uv_fileno((const uv_handle_t *)&e->conn->tcp, &fd) == 0 &&
                getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) == 0)
                ret->rtt_us = info.tcpi_rtt;
}

/* ---- frames ---- */

static void keep(struct peer *p, struct blob frame)
{
        struct waiting *w = NULL;
        for (unsigned i = 0; i < WAITING_MAX; i++) {
                struct waiting *x = &p->waiting[i];
                if (x->frame.n > 0 && x->frame.p[0] == frame.p[0]) {
                        w = x;
                        break;
                }
                if (w == NULL || x->since_ms < w->since_ms) w = x;
        }
        if (w->frame.n > 0) p->dropped++;
        buf_reset(&w->frame);
        buf_put(&w->frame, frame.p, frame.n);
        w->since_ms = now_ms(p->t);
}

void transport_send(struct transport *t, uint64_t to, enum raft_channel channel, struct blob frame)
{
        struct peer *p = transport_peer_find(t, to);
        if (p == NULL || frame.n == 0 || t->closing) return;
        struct link *l = &p->link[channel];
        if (l->up == NULL) {
                if (channel == CHANNEL_RAFT && frame.n <= WAITING_BYTES) keep(p, frame);
                else p->dropped++;
        } else if (conn_send(l->up->conn, KIND_RAFT, frame) != 0) {
                p->dropped++;
        }
}

void transport_send_secret(struct transport *t, uint64_t to, struct blob secret)
{
        struct peer *p = transport_peer_find(t, to);
        struct end *e = p == NULL || t->closing ? NULL : p->link[CHANNEL_RAFT].up;
        if (e == NULL || e->who.role != PKI_CONTROLLER) return;
        if (conn_send(e->conn, KIND_SECRET, secret) != 0) p->dropped++;
}

void transport_reply(struct transport *t, uint64_t caller, struct blob reply)
{
        LIST_FOREACH(it, &t->ends)
        {
                struct end *e = container_of(it, struct end, node);
                if (!e->inbound || e->caller != caller) continue;
                if (conn_send(e->conn, KIND_JOIN_REPLY, reply) == 0) conn_finish(e->conn);
                else transport_end_drop(e);
                return;
        }
}

/* ---- open and close ---- */

int transport_open(uv_loop_t *loop, const struct transport_config *config, const struct transport_ops *ops,
        void *arg, struct transport **ret, struct fail *f)
{
        struct listener_config lc = {
                .address = config->listen, .ctx = config->ctx, .handshakes_max = 32, .connections_max = 256
        };
        struct transport *t = xnew(struct transport);
        t->loop = loop;
        t->id = config->id;
        t->ops = ops;
        t->arg = arg;
        t->env = config->env;
        t->election_ms = config->election_ms;
        t->ctx = tls_ctx_ref(config->ctx);
        t->incarnation = env_random_u64(t->env);
        list_init(&t->peers);
        list_init(&t->ends);
        int rc = uv_timer_init(loop, &t->timer);
        assert(rc == 0);
        t->timer.data = t->listener.data = t;
        t->live = 2; /* listener and timer */
        options(t, &lc.conn);
        rc = listener_open(&t->listener, loop, &lc, &listener_ops, f);
        *ret = t;
        if (rc == 0) transport_arm(t);
        return rc;
}

void transport_address(const struct transport *t, struct sockaddr_storage *ret)
{
        listener_address(&t->listener, ret);
}

void transport_close(struct transport *t, void (*cb)(void *arg), void *arg)
{
        assert(!t->closing);
        t->closing = true;
        t->closed_cb = cb;
        t->closed_arg = arg;
        LIST_FOREACH_SAFE(it, nx, &t->ends) transport_end_drop(container_of(it, struct end, node));
        LIST_FOREACH_SAFE(it, nx, &t->peers) peer_free(container_of(it, struct peer, node));
        listener_close(&t->listener, on_listener_closed);
        uv_close((uv_handle_t *)&t->timer, on_timer_closed);
}

bool transport_peer_dialed(const struct transport *t, uint64_t id)
{
        const struct peer *p = transport_peer_find(t, id);
        return p != NULL && p->address[0] != '\0';
}
