/* Between conn.c (life, deadlines, sockets) and conn_io.c (TLS, frames). */
#ifndef WIRE_NET_CONN_INTERNAL_H
#define WIRE_NET_CONN_INTERNAL_H

#include "wire/net/conn.h"

/* ---- conn_io.c ---- */
void conn_tls_setup(struct conn *c);
/* Works through what has arrived: handshake, then frames. May end or close the connection. */
void conn_pump(struct conn *c);
/* Encrypts queued frames and starts a write, unless one is under way. */
void conn_flush(struct conn *c);

/* ---- conn.c ---- */
void conn_move(struct conn *c, enum conn_state next);
/* The handshake is through: answers opened(0). */
void conn_opened(struct conn *c);
/* The connection is over: answers opened(err), or calls end(why). The text is in c->fault. No-op when it was
 * over. */
void conn_over(struct conn *c, enum conn_end why, int err, const char *text);
void conn_on_written(uv_write_t *w, int err);
/* Starts and stops reading; harmless when it is so already. */
void conn_read_start(struct conn *c);
void conn_read_stop(struct conn *c);
/* FINISHING, and everything queued has left: the next step of saying goodbye. */
void conn_goodbye(struct conn *c);
/* Runs conn_flush(), and what else waits, at the end of this loop turn. */
void conn_arm(struct conn *c);
void conn_deadline_set(struct conn *c, unsigned ms);
void conn_deadline_clear(struct conn *c);

#endif
