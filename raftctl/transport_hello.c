/* The first words on a link: who calls, for which channel, and which of two calls stays. */
#include <stdio.h>
#include <string.h>

#include "raftctl/level.h"
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
        uint64_t id = l->peer->id;
        enum raft_channel channel = l->channel;
        if (channel == CHANNEL_RAFT) {
                flush_waiting(l->peer);
                transport_tell(t, id, CHANNEL_BULK, l->peer->link[CHANNEL_BULK].up != NULL, false);
        }
        transport_tell(t, id, channel, true, false); /* last */
}

/* Histories of a cluster (raftctl/takeover.h) do not mix. */
static bool own_lineage(struct transport *t, uint64_t *ret)
{
        return t->ops->lineage != NULL && t->ops->lineage(t->arg, ret);
}

static void own_release(const struct transport *t, struct release *ret)
{
        *ret = (struct release){ .level_min = LEVEL_MIN, .level_max = LEVEL_MAX, .level = LEVEL_FIRST };
        if (t->ops->release != NULL) t->ops->release(t->arg, ret);
}

static unsigned level_of(uint64_t told) { return (unsigned)MAX(MIN(told, UINT8_MAX), LEVEL_FIRST); }

static void release_set(struct release *r, uint64_t min, uint64_t max, uint64_t level, const char *software)
{
        *r = (struct release){
                .level_min = level_of(min), .level_max = level_of(max), .level = level_of(level)
        };
        (void)snprintf(r->software, sizeof r->software, "%s", software != NULL ? software : "");
}

void transport_hello_send(struct end *e)
{
        struct link *l = e->link;
        struct peer_hello h = { 0 };
        struct release r;
        own_release(e->t, &r);
        SET(&h, peer_hello, version, TRANSPORT_VERSION);
        SET(&h, peer_hello, version_min, TRANSPORT_VERSION_MIN);
        SET(&h, peer_hello, level_min, r.level_min);
        SET(&h, peer_hello, level_max, r.level_max);
        SET(&h, peer_hello, level, r.level);
        SET(&h, peer_hello, software, r.software);
        SET(&h, peer_hello, from, e->t->id);
        SET(&h, peer_hello, to, l->peer->id);
        SET(&h, peer_hello, channel, (uint64_t)l->channel);
        SET(&h, peer_hello, incarnation, e->t->incarnation);
        SET(&h, peer_hello, dial, l->dial);
        uint64_t epoch = 0;
        if (own_lineage(e->t, &epoch)) SET(&h, peer_hello, lineage, epoch);
        /* a failed send ends the connection, or the deadline of the call does */
        (void)send_obj(e, KIND_HELLO, &peer_hello_type, &h);
}

static void answer(struct end *e, int err, const char *text, uint64_t void_dial)
{
        struct peer_hello_reply r = { 0 };
        struct release own;
        SET(&r, peer_hello_reply, err, err == E_REMOVED ? E_AUTH : err);
        if (text != NULL) SET(&r, peer_hello_reply, text, text);
        SET(&r, peer_hello_reply, incarnation, e->t->incarnation);
        own_release(e->t, &own);
        SET(&r, peer_hello_reply, version, TRANSPORT_VERSION); /* there is one only: nothing to choose */
        SET(&r, peer_hello_reply, level_min, own.level_min);
        SET(&r, peer_hello_reply, level_max, own.level_max);
        SET(&r, peer_hello_reply, level, own.level);
        SET(&r, peer_hello_reply, software, own.software);
        if (void_dial != 0) SET(&r, peer_hello_reply, void_dial, void_dial);
        if (err == E_REMOVED) SET(&r, peer_hello_reply, removed, true);
        uint64_t epoch = 0;
        if (own_lineage(e->t, &epoch)) SET(&r, peer_hello_reply, lineage, epoch);
        int sent = send_obj(e, KIND_HELLO_REPLY, &peer_hello_reply_type, &r);
        if (err == 0) return;
        if (sent == 0) conn_finish(e->conn); /* on_end drops it */
        else transport_end_drop(e);
}

/* The versions of the protocol: two ranges that meet. An old hello has no range. */
static bool version_fits(const struct peer_hello *h)
{
        uint64_t least = HAS(h, peer_hello, version_min) ? h->version_min : h->version;
        return h->version >= TRANSPORT_VERSION_MIN && least <= TRANSPORT_VERSION;
}

static int judge_release(struct transport *t, const struct release *theirs, const char **ret_text)
{
        struct release ours;
        own_release(t, &ours);
        *ret_text = release_refuse(&ours, theirs, t->refusal, sizeof t->refusal);
        return *ret_text == NULL ? 0 : E_LEVEL;
}

/* The last thing to be done with a refused link: the member may have to stop. */
static void tell_release(struct transport *t, uint64_t peer, const struct release *r)
{
        if (t->ops->peer_release != NULL) t->ops->peer_release(t->arg, peer, r);
}

static int judge(struct end *e, const struct peer_hello *h, const char **ret_text)
{
        struct transport *t = e->t;
        const struct pki_identity *id = conn_identity(e->conn);
        if (!version_fits(h) || h->channel >= CHANNEL_N) {
                *ret_text = "another version of the protocol";
                return E_FORMAT;
        }
        if (id->role != PKI_CONTROLLER && id->role != PKI_WITNESS) {
                *ret_text = "the certificate is not that of a controller or witness";
                return E_AUTH;
        }
        uint64_t epoch = 0;
        if (HAS(h, peer_hello, lineage) && own_lineage(t, &epoch) && h->lineage != epoch) {
                *ret_text = h->lineage < epoch
                                    ? "this cluster was restored or recovered since, without that member"
                                    : "this member belongs to an earlier history of the cluster";
                return E_STALE;
        }
        if (h->to != t->id) {
                *ret_text = "another member lives at this address now";
                return E_STALE;
        }
        if (h->from == t->id || h->from == 0 || t->ops->check(t->arg, h->from, id) == PEER_DENIED) {
                *ret_text =
                        "this member was removed, or its id does not belong to the name in its certificate";
                return t->ops->removed != NULL && t->ops->removed(t->arg, h->from) ? E_REMOVED : E_AUTH;
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
                transport_tell(t, id, channel, false, died);
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

/* The last thing that a function does: the callback may close the transport. */
static void heard_lineage(struct transport *t, uint64_t theirs)
{
        uint64_t epoch = 0;
        if (own_lineage(t, &epoch) && theirs > epoch) t->ops->outdated(t->arg, theirs);
}

void transport_hello_accept(struct end *e, struct blob payload)
{
        struct arena a;
        struct peer_hello h = { 0 };
        const char *text = NULL;
        struct transport *t = e->t;
        struct release theirs;
        arena_init(&a, HELLO_ARENA);
        int err = dec_msgpack(&peer_hello_type, payload, DEC_TOLERANT, &a, &h, NULL);
        release_set(&theirs, h.level_min, h.level_max, h.level, err == 0 ? h.software : NULL);
        arena_done(&a); /* the rest of the hello is numbers */
        h.software = NULL;
        if (err != 0) {
                transport_end_drop(e);
                return;
        }
        err = judge(e, &h, &text);
        if (err == 0) err = judge_release(e->t, &theirs, &text);
        struct peer *p = err == 0 ? transport_peer_find(e->t, h.from) : NULL;
        if (err == 0 && p == NULL && (p = transport_peer_make(e->t, h.from)) == NULL) {
                err = E_LIMIT;
                text = "too many members";
        }
        if (err == 0 && (err = arbitrate(&p->link[h.channel], &h)) != 0)
                text = "busy: the other direction is being set up";
        if (err != 0) {
                answer(e, err, text, 0);
                if (err == E_LEVEL) tell_release(t, h.from, &theirs);
                if (HAS(&h, peer_hello, lineage)) heard_lineage(t, h.lineage);
                return;
        }
        tell_release(t, h.from, &theirs);
        take_call(e, &p->link[h.channel], &h);
}

void transport_hello_reply(struct end *e, struct blob payload)
{
        struct link *l = e->link;
        struct arena a;
        struct peer_hello_reply r = { 0 };
        struct transport *t = e->t;
        uint64_t id = l->peer->id;
        struct release theirs;
        struct fail f = { 0 };
        arena_init(&a, HELLO_ARENA);
        int err = dec_msgpack(&peer_hello_reply_type, payload, DEC_TOLERANT, &a, &r, &f);
        release_set(&theirs, r.level_min, r.level_max, r.level, err == 0 ? r.software : NULL);
        uint64_t history = err == 0 && HAS(&r, peer_hello_reply, lineage) ? r.lineage : 0;
        bool stranger = e->stranger;
        if (err == 0 && r.err == 0 && !stranger) {
                if (r.incarnation != l->their_incarnation) l->their_void_dial = 0;
                l->their_incarnation = r.incarnation;
                l->their_void_dial = MAX(l->their_void_dial, r.void_dial);
                arena_done(&a);
                tell_release(t, id, &theirs);
                link_up(l, e);
                return;
        }
        bool removed = err == 0 && r.removed;
        if (err == 0) err = (int)r.err;
        if (stranger) err = E_AUTH;
        (void)snprintf(l->peer->trouble, sizeof l->peer->trouble, "%s%.140s", stranger ? "" : "refused: ",
                stranger         ? "another member, or one that was removed, answers at this address"
                : r.text != NULL ? r.text
                                 : f.text);
        arena_done(&a);
        l->last_failed = err != E_BUSY && err != E_STALE;
        transport_end_drop(e);
        if (l->up == NULL) transport_retry(l, err == E_AUTH || err == E_FORMAT || err == E_LEVEL);
        if (err == E_LEVEL) tell_release(t, id, &theirs);
        heard_lineage(t, history);
        if (removed && t->ops->told_removed != NULL) t->ops->told_removed(t->arg, id);
}
