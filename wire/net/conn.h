/* A framed, mutually authenticated TLS 1.3 connection over libuv TCP.
 *
 * Frame: u32 big-endian length of what follows | u16 big-endian kind | payload. The length is checked against
 * the connection's maximum before anything is allocated, and memory grows with what has arrived, not with
 * what was promised.
 *
 * Happy path:   conn_connect() or conn_accept() -> CONNECTING -> HANDSHAKE -> READY: opened(c, 0) once, then
 * frame() as they come, then end() once when the other side or the network ends it. Sync failure:
 * conn_connect() != 0: no callback will fire; conn_close() is still required. Failure:      opened(c, err)
 * once; conn_fault() has the text. The connection is idle and MUST still be closed. End:          end(c, why)
 * once, after opened(c, 0) only, and never after conn_close(). Close:        conn_close() once, from any
 * state and inside any callback. An unanswered opened() then fires with E_CANCELED right before closed_cb.
 * Both are always asynchronous; closed_cb is last. Queued frames are lost. Finish:       conn_finish() sends
 * what is queued, says goodbye, and leads to end(c, CONN_END_FINISHED) (or another end). Ownership:    the
 * caller owns struct conn; the memory may be freed from closed_cb on, not before. Payloads handed to frame()
 * are borrowed for the call. Payloads given to conn_send() are copied. Threads:      loop thread only. */
#ifndef WIRE_NET_CONN_H
#define WIRE_NET_CONN_H

#include <uv.h>

#include "wire/base/buf.h"
#include "wire/net/tls.h"

#define CONN_HEADER_SIZE 6 /* bytes: length and kind */

struct conn;

enum conn_end {
        CONN_END_FIN,      /* the other side closed in order */
        CONN_END_RESET,    /* the connection was reset */
        CONN_END_TIMEOUT,  /* no answer on TCP level, or a frame that did not become complete in time */
        CONN_END_TLS,      /* record damage or another TLS failure */
        CONN_END_PROTOCOL, /* an oversize or malformed frame */
        CONN_END_FINISHED, /* our own conn_finish() is complete */
        CONN_END_N
};
const char *conn_end_name(enum conn_end why);

struct conn_ops {
        /* err: 0, E_TIMEOUT, E_AUTH (certificate), E_TLS, E_CLOSED, -errno, E_CANCELED. */
        void (*opened)(struct conn *c, int err);
        void (*frame)(struct conn *c, unsigned kind, struct blob payload);
        /* The send queue fell below half of the high-water mark after conn_send() said E_BUSY. NULL allowed.
         */
        void (*writable)(struct conn *c);
        void (*end)(struct conn *c, enum conn_end why);
};
typedef void conn_closed_fn(struct conn *c);

struct conn_options {
        unsigned handshake_ms;        /* connect and handshake together */
        unsigned frame_ms;            /* a frame that has begun must be complete after that time */
        unsigned finish_ms;           /* conn_finish() gives up after that time */
        unsigned user_timeout_ms;     /* TCP_USER_TIMEOUT; 0 = the system's */
        unsigned keepalive_s;         /* idle time before TCP probes; 0 = off */
        uint32_t frame_max_bytes;     /* of a frame's payload */
        uint32_t anonymous_max_bytes; /* the same for a peer without certificate */
        size_t high_water_bytes;      /* of queued frames; conn_send() says E_BUSY above */
};
void conn_options_init(struct conn_options *o);

enum conn_state {
        CONN_IDLE,
        CONN_CONNECTING,
        CONN_HANDSHAKE,
        CONN_READY,
        CONN_FINISHING,
        CONN_ENDED,
        CONN_CLOSED,
        CONN_STATE_N
};

struct conn {
        void *data; /* for the caller */
        /* private below */
        const struct conn_ops *ops;
        struct conn_options options;
        enum conn_state state;
        bool closing, opened_due, reading, paused, resumed, eof, writing, was_busy;
        bool goodbye_said, shutting, shut; /* in this order, in FINISHING */
        unsigned live; /* open handles + submitted requests that still owe us a callback */
        struct tls_ctx *ctx;
        struct gnutls_session_int *tls;
        struct tls_peer peer;
        struct fail fault;
        uv_tcp_t tcp;
        uv_timer_t timer;  /* the deadline of the state, or of a frame in READY */
        uv_prepare_t turn; /* active while something waits for the end of this loop turn */
        uv_connect_t connect;
        uv_write_t write;
        uv_shutdown_t shutdown;
        uint8_t *rx; /* bytes from the network, not yet seen by TLS */
        size_t rx_pos, rx_n;
        struct buf in;  /* decrypted, not yet a frame */
        struct buf out; /* framed, not yet encrypted, from out_pos on */
        size_t out_pos;
        struct buf sealed; /* encrypted, not yet given to the network */
        struct buf flight; /* given to the network (writing) */
        uint64_t frames_in, frames_out, bytes_in, bytes_out;
        conn_closed_fn *closed_cb;
};

/* Splits "1.2.3.4:3372", "[::1]:3372", or a literal without port. E_INVALID for host names: names are not
 * looked up. */
int conn_parse_address(const char *text, unsigned default_port, struct sockaddr_storage *ret) MUST_USE;
/* "1.2.3.4:3372" into out. */
void conn_format_address(const struct sockaddr_storage *a, char *out, size_t size_bytes);

/* c->data is kept, everything else is initialised. A reference to ctx is taken. */
int conn_connect(struct conn *c, uv_loop_t *loop, const struct sockaddr_storage *to, struct tls_ctx *ctx,
        const struct conn_options *options, const struct conn_ops *ops) MUST_USE;
/* In the connection callback of a listening stream. */
int conn_accept(struct conn *c, uv_stream_t *server, struct tls_ctx *ctx, const struct conn_options *options,
        const struct conn_ops *ops) MUST_USE;
/* Another owner takes over; in or after opened(). */
void conn_set_ops(struct conn *c, const struct conn_ops *ops, void *data);
void conn_set_frame_max(struct conn *c, uint32_t bytes);

/* Queues one frame; it leaves at the end of this loop turn, together with others. E_BUSY: the queue is above
 * its high-water mark (nothing was queued, writable() will tell). E_CLOSED: not ready, or ended. E_TOO_LARGE.
 */
int conn_send(struct conn *c, unsigned kind, struct blob payload) MUST_USE;
/* Bytes that have not left yet. */
size_t conn_queued_bytes(const struct conn *c);
/* No more frame() until conn_resume(); the kernel then slows the other side down. Inside frame() and opened()
 * as well; before opened() the handshake goes on, and the frames wait. A
 * pause that keeps the other side's data waiting for longer than its user_timeout_ms ends the connection
 * there (E_TIMEOUT): pause briefly, or give both sides user_timeout_ms 0. */
void conn_pause(struct conn *c);
void conn_resume(struct conn *c);
void conn_finish(struct conn *c);
void conn_close(struct conn *c, conn_closed_fn *cb);

/* From opened(c, 0) on; NULL for a peer without certificate. */
const struct pki_identity *conn_identity(const struct conn *c);
/* Why opened() or end() came. */
const struct fail *conn_fault(const struct conn *c);
/* "1.2.3.4:5678" of the other side, "?" when unknown. */
void conn_peer_address(const struct conn *c, char *out, size_t size_bytes);

#endif
