/* The asking side of joining. Two forms.
 *
 * join_run(): makes a request for a certificate, asks the members that the token names, one after the other, and
 * stores the result. Blocking, on a loop of its own: for programs (`raftctl join`, `outrigger-satellite join`). The
 * connection is TLS 1.3 without a certificate of ours; the member's CA must be the one whose pin the token holds, so
 * the secret is never shown to anybody else. Threads: any one.
 *
 * join_ask_*: any join_request, to given addresses, on the caller's loop, without touching a disk: for members that
 * come back by their certificate (raftctl/rejoin.c). Threads: that of the loop. */
#ifndef WIRE_NET_JOIN_CLIENT_H
#define WIRE_NET_JOIN_CLIENT_H

#include <uv.h>

#include "wire/def/types.h"
#include "wire/net/pki_dir.h"
#include "wire/net/tls.h"

struct join_config {
        const char *token;
        const char *dir;         /* data directory: DIR/pki is written */
        const char *name;        /* of this machine */
        enum cert_role role;     /* what this program is; must be what the token is for */
        const char *address;     /* host:port where others reach it; NULL = none */
        const char *zone;        /* where a member stands; NULL = not said */
        bool standby;            /* a member that is not to vote at first */
        uint64_t raft_id;        /* controllers and witnesses */
        bool is_volatile;        /* a witness without a disk */
        const char *const *sans; /* more names and addresses for the certificate */
        uint32_t sans_n;
        unsigned timeout_ms; /* in total; 0 = 30 s */
};
/* What came back; pieces live in the arena that the caller gave. */
struct join_result {
        const char *cluster;
        struct join_member *members;
        uint32_t members_n;
};
/* 0 = the certificate is stored. E_EXISTS: this directory has joined before. E_AUTH: refused, or not the
 * cluster of the token. E_TIMEOUT: nobody answered. The text in f has cause and remedy. */
int join_run(
        const struct join_config *config, struct arena *a, struct join_result *ret, struct fail *f) MUST_USE;

/* ---- on a loop ---- */
struct join_asking {
        const char *const
                *addresses; /* host:port, asked in turn, again and again; at least one; borrowed until done */
        uint32_t addresses_n;
        struct tls_ctx *ctx;  /* a reference is taken */
        struct blob request;  /* join_request in msgpack; copied */
        const char *stranger; /* what it means when all of them are of another cluster; borrowed until done */
        unsigned timeout_ms;  /* in total; 0 = until it is answered or canceled */
};
/* Once, from the loop, when every handle is closed; the object is gone then. err: 0 and the reply, borrowed; or why
 * not, with the last fault: a refusal's text, E_TIMEOUT, E_CANCELED. */
typedef void join_ask_fn(void *arg, int err, const struct join_reply *reply, const struct fail *fault);
struct join_ask;
/* Never fails at once: what is wrong comes by cb. */
struct join_ask *join_ask_open(uv_loop_t *loop, const struct join_asking *asking, join_ask_fn *cb, void *arg);
/* The same on a loop of its own; the reply lives in the arena. */
int join_ask_blocking(
        const struct join_asking *asking, struct arena *a, struct join_reply *ret, struct fail *f) MUST_USE;
void join_ask_cancel(struct join_ask *j);
/* What went wrong with the last attempt, "" before; for messages while it goes on. */
const char *join_ask_trouble(const struct join_ask *j);

#endif
