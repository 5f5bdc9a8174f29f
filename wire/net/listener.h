/* Accepts framed TLS connections with limits, so that slow or garbage peers cost bounded time and memory.
 *
 * Limits: `handshakes_max` connections in the handshake (a newer one pushes the oldest out: honest handshakes
 * take milliseconds), `connections_max` beyond the handshake (a newer one is refused: only those who got
 * through a handshake can use these up), deadlines of struct conn_options. Ownership: the listener owns its
 * connections. accepted() lends one to the user, who takes it over with conn_set_ops() and gives it back with
 * listener_drop(), in or after end() or at any other time, and forgets it then. listener_close() closes those
 * that were not given back, without telling their users: users go first. Threads: loop thread only. */
#ifndef WIRE_NET_LISTENER_H
#define WIRE_NET_LISTENER_H

#include "wire/base/list.h"
#include "wire/net/conn.h"

struct listener;

struct listener_ops {
        /* The handshake is through; conn_identity(c) is NULL where anonymous peers are allowed. Must take the
         * connection over (conn_set_ops) or drop it before returning. */
        void (*accepted)(struct listener *l, struct conn *c);
        /* A connection failed before accepted(): for counting and logging. NULL allowed. */
        void (*refused)(struct listener *l, const char *address, const struct fail *why);
};
typedef void listener_closed_fn(struct listener *l);

struct listener_config {
        struct sockaddr_storage address;
        struct tls_ctx *ctx; /* a reference is taken */
        struct conn_options conn;
        unsigned handshakes_max;  /* 0 = 64 */
        unsigned connections_max; /* 0 = 1024 */
};

struct listener {
        void *data; /* for the caller */
        /* private below */
        const struct listener_ops *ops;
        struct listener_config config;
        uv_tcp_t tcp;
        struct list handshaking, lent, closing_list;
        unsigned handshaking_n, lent_n, total_n;
        bool closing;
        unsigned live; /* the handle and every connection */
        uint64_t accepted_count, refused_count, pushed_out_count;
        listener_closed_fn *closed_cb;
};

/* l->data is kept. -EADDRINUSE and the like: listener_close() is still required. */
int listener_open(struct listener *l, uv_loop_t *loop, const struct listener_config *config,
        const struct listener_ops *ops, struct fail *f) MUST_USE;
/* The address that it listens on (port 0 resolved). */
void listener_address(const struct listener *l, struct sockaddr_storage *ret);
/* Connections accepted from now on use another context (renewed certificate). */
void listener_set_ctx(struct listener *l, struct tls_ctx *ctx);
void listener_drop(struct conn *c);
/* Once; asynchronous; the memory may be freed from cb on. */
void listener_close(struct listener *l, listener_closed_fn *cb);

#endif
