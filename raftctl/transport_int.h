/* Inside of the transport: peers, their links, and the connections ("ends") that make them. */
#ifndef RAFTCTL_TRANSPORT_INT_H
#define RAFTCTL_TRANSPORT_INT_H

#include "raftctl/transport.h"
#include "wire/base/list.h"

enum { WAITING_MAX = 2, WAITING_BYTES = 4096 };

struct peer;

/* One connection, from its start to its end. */
struct end {
        struct transport *t;
        struct link *link; /* NULL: accepted and not introduced yet, or given up */
        struct conn *conn; /* &own, or the listener's */
        bool inbound, joining;
        bool stranger;           /* not whom we dialed: it is only asked of its history */
        uint64_t caller;         /* accepted ones: number for transport_reply */
        uint64_t deadline_ms;    /* accepted ones without a link: to say something sensible */
        struct pki_identity who; /* by its certificate; zeroed before it is known */
        struct list node;        /* transport.ends */
        struct conn own;
};

struct link {
        struct peer *peer;
        enum raft_channel channel;
        struct end *up;  /* carries frames */
        struct end *out; /* our call that is not answered yet */
        uint64_t due_ms; /* to dial, or to give the call up; 0 = nothing is due */
        uint64_t dial;   /* number of our last call */
        bool last_failed;
        uint64_t their_incarnation,
                their_void_dial; /* calls of that incarnation up to this number do not count */
};

struct waiting {
        struct buf frame;
        uint64_t since_ms;
};

struct peer {
        struct transport *t;
        uint64_t id;
        char address[128]; /* "" = unknown: it dials us */
        struct link link[CHANNEL_N];
        struct waiting waiting[WAITING_MAX];
        uint64_t dropped;
        char trouble[160];
        struct list node;
};

struct transport {
        uv_loop_t *loop;
        uint64_t id, incarnation, last_caller, dials;
        const struct transport_ops *ops;
        void *arg;
        struct env *env;
        struct tls_ctx *ctx;
        unsigned election_ms;
        struct listener listener;
        uv_timer_t timer;
        struct list peers, ends;
        uint32_t peers_n;
        char refusal[200]; /* why the last link was refused */
        bool closing;
        unsigned live; /* listener, timer, outgoing ends */
        void (*closed_cb)(void *arg);
        void *closed_arg;
};

/* ---- transport.c ---- */
void transport_end_drop(struct end *e);
void transport_arm(struct transport *t);
void transport_retry(struct link *l, bool refused);
/* Tells the member of a link; the last thing that a function does with a peer: the callback may remove it. */
void transport_tell(struct transport *t, uint64_t peer, enum raft_channel channel, bool up, bool reset);
void transport_link_lost(struct link *l, bool reset);
struct peer *transport_peer_find(const struct transport *t, uint64_t id);
struct peer *transport_peer_make(struct transport *t, uint64_t id);

/* ---- transport_hello.c ---- */
void transport_hello_send(struct end *e);
void transport_hello_accept(struct end *e, struct blob payload);
void transport_hello_reply(struct end *e, struct blob payload);

#endif
