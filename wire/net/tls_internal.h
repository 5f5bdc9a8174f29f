/* Between wire/net/tls.c and wire/net/conn.c. */
#ifndef WIRE_NET_TLS_INTERNAL_H
#define WIRE_NET_TLS_INTERNAL_H

#include <gnutls/gnutls.h>

#include "wire/net/tls.h"

/* A non-blocking session; the caller sets transport functions and deinits it. The session keeps pointers to
 * ctx and peer: both must outlive it. */
int tls_session_new(struct tls_ctx *ctx, bool server, struct tls_peer *peer, gnutls_session_t *ret,
        struct fail *f) MUST_USE;
/* After a handshake that succeeded: false when the peer must not stay (anonymous where that is not allowed).
 */
bool tls_accepted(struct tls_ctx *ctx, struct tls_peer *peer);

#endif
