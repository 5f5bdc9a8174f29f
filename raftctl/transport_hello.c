/* The first words on a link: who calls, for which channel, and which of two calls stays. */
#include <stdio.h>
#include <string.h>

#include "raftctl/transport_int.h"
#include "wire/codec/codec.h"
#include "wire/def/types.h"
#include "wire/net/kinds.h"

enum { HELLO_ARENA = 16 << 10 };

static int send_obj(struct end *e, unsigned kind, const struct type_desc *type, const void *o)
{
        struct buf b = { 0 };
        int err = enc_msgpack(type, o, &b);
        if (err == 0) err = conn_send(e->conn, kind, buf_blob(&b));
        buf_done(&b);
        return err;
}

/* What waited for the link, unless it is too old to be of use. */
static void flush_waiting(struct peer *p)
{
        uint64_t now = p->t->env->now_ms(p->t->env);
        struct link *l = &p->link[CHANNEL_RAFT];
        /* the older one first */
        unsigned first = p->waiting[0].since_ms <= p->waiting[1].since_ms ? 0 : 1;
        for (unsigned i = 0; i < WAITING_MAX; i++) {
                struct waiting *w = &p->waiting[(first + i) % WAITING_MAX];
                if (w->frame.n > 0 && now - w->since_ms <= p->t->election_ms &&
                        conn_send(l->up->conn, KIND_RAFT, buf_blob(&w->frame)) != 0)
                        p->dropped++;
                buf_reset(&w->frame);
        }
}

static void link_up(struct link *l, struct end *e)
{
        struct transport *t = l->peer->t;
        e->link = l;
        l->up = e;
        if (l->out == e) l->out = NULL;
        l->due_ms = 0;
        l->last_failed = false;
        l->peer->trouble[0] = '\0';
        if (l->channel != CHANNEL_RAFT) return;
        flush_waiting(l->peer);
        t->ops->link(t->arg, l->peer->id, true, false); /* last: it may change peers */
}

void transport_hello_send(struct end *e)
{
        struct link *l = e->link;
        struct peer_hello h = { 0 };
        SET(&h, peer_hello, version, TRANSPORT_VERSION);
        SET(&h, peer_hello, from, e->t->id);
        SET(&h, peer_hello, to, l->peer->id);
        SET(&h, peer_hello, channel, (uint64_t)l->channel);
        SET(&h, peer_hello, incarnation, e->t->incarnation);
        SET(&h, peer_hello, dial, l->dial);
        /* a failed send ends the connection, or the deadline of the call does */
        (void)send_obj(e, KIND_HELLO, &peer_hello_type, &h);
}

static void answer(struct end *e, int err, const char *text, uint64_t void_dial)
{
        struct peer_hello_reply r = { 0 };
        SET(&r, peer_hello_reply, err, err);
        if (text != NULL) SET(&r, peer_hello_reply, text, text);
        SET(&r, peer_hello_reply, incarnation, e->t->incarnation);
        if (void_dial != 0) SET(&r, peer_hello_reply, void_dial, void_dial);
        int sent = send_obj(e, KIND_HELLO_REPLY, &peer_hello_reply_type, &r);
        if (err == 0) return;
        if (sent == 0) conn_finish(e->conn); /* on_end drops it */
        else transport_end_drop(e);
}

static int judge(struct end *e, const struct peer_hello *h, const char **ret_text)
{
        struct transport *t = e->t;
        const struct pki_identity *id = conn_identity(e->conn);
        if (h->version != TRANSPORT_VERSION || h->channel >= CHANNEL_N) {
                *ret_text = "another version of the protocol";
                return E_FORMAT;
        }
        if (id->role != PKI_CONTROLLER && id->role != PKI_WITNESS) {
                *ret_text = "the certificate is not that of a controller or witness";
                return E_AUTH;
        }
        if (h->to != t->id) {
                *ret_text = "another member lives at this address now";
                return E_STALE;
        }
        if (h->from == t->id || h->from == 0 || t->ops->check(t->arg, h->from, id) == PEER_DENIED) {
                *ret_text =
                        "this member was removed, or its id does not belong to the name in its certificate";
                return E_AUTH;
        }
        return 0;
}

/* Which call stays. 0 = this one. */
static int arbitrate(const struct link *l, const struct peer_hello *h)
{
        if (h->incarnation == l->their_incarnation && h->dial <= l->their_void_dial) return E_STALE;
        if (l->out != NULL && l->peer->t->id < l->peer->id && !l->last_failed) return E_BUSY;
        return 0;
}

static void take_call(struct end *e, struct link *l, const struct peer_hello *h)
{
        struct transport *t = e->t;
        uint64_t id = l->peer->id;
        enum raft_channel channel = l->channel;
        if (l->out != NULL) transport_end_drop(l->out);
        if (l->up != NULL) {
                bool died = h->incarnation != l->their_incarnation;
                transport_end_drop(l->up);
                if (channel == CHANNEL_RAFT) t->ops->link(t->arg, id, false, died);
                struct peer *p = transport_peer_find(t, id); /* the callback may have removed it */
                if (p == NULL) {
                        answer(e, E_STALE, "not a member any more", 0);
                        return;
                }
                l = &p->link[channel];
        }
        l->their_incarnation = h->incarnation;
        l->their_void_dial = h->dial;
        e->link = l; /* before the answer: the connection is a link's now */
        answer(e, 0, NULL, l->dial);
        link_up(l, e);
}

void transport_hello_accept(struct end *e, struct blob payload)
{
        struct arena a;
        struct peer_hello h = { 0 };
        const char *text = "busy: the other direction is being set up";
        arena_init(&a, HELLO_ARENA);
        int err = dec_msgpack(&peer_hello_type, payload, DEC_TOLERANT, &a, &h, NULL);
        arena_done(&a); /* the hello holds numbers only */
        if (err != 0) {
                transport_end_drop(e);
                return;
        }
        err = judge(e, &h, &text);
        struct peer *p = err == 0 ? transport_peer_find(e->t, h.from) : NULL;
        if (err == 0 && p == NULL && (p = transport_peer_make(e->t, h.from)) == NULL) {
                err = E_LIMIT;
                text = "too many members";
        }
        if (err == 0) err = arbitrate(&p->link[h.channel], &h);
        if (err != 0) answer(e, err, text, 0);
        else take_call(e, &p->link[h.channel], &h);
}

void transport_hello_reply(struct end *e, struct blob payload)
{
        struct link *l = e->link;
        struct arena a;
        struct peer_hello_reply r = { 0 };
        struct fail f = { 0 };
        arena_init(&a, HELLO_ARENA);
        int err = dec_msgpack(&peer_hello_reply_type, payload, DEC_TOLERANT, &a, &r, &f);
        if (err == 0 && r.err == 0) {
                if (r.incarnation != l->their_incarnation) l->their_void_dial = 0;
                l->their_incarnation = r.incarnation;
                l->their_void_dial = MAX(l->their_void_dial, r.void_dial);
                arena_done(&a);
                link_up(l, e);
                return;
        }
        if (err == 0) err = (int)r.err;
        (void)snprintf(l->peer->trouble, sizeof l->peer->trouble, "refused: %.140s",
                r.text != NULL ? r.text : f.text);
        arena_done(&a);
        l->last_failed = err != E_BUSY && err != E_STALE;
        transport_end_drop(e);
        if (l->up == NULL) transport_retry(l, err == E_AUTH || err == E_FORMAT);
}
