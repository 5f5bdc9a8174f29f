/* Who may talk to us: own certificate, trusted CA and the rules about the other side, shared by many
 * connections. TLS 1.3 only, no tickets, no resumption, no early data, no renegotiation; certificates of one
 * cluster's CA whose identity (wire/net/pki.h) names that cluster.
 *
 * Expiry is checked against env's wall clock. The begin of validity is not: a machine without a battery clock
 * boots in the past, and a certificate that "is not valid yet" proves nothing bad.
 *
 * Ownership: counted references; each connection holds one. Threads: one loop thread (the count is not
 * atomic). */
#ifndef WIRE_NET_TLS_H
#define WIRE_NET_TLS_H

#include "wire/base/env.h"
#include "wire/net/pki.h"

struct tls_ctx;

struct tls_config {
        const struct pem *ca; /* trust anchor; NULL = pin */
        const uint8_t *pin; /* fingerprint of the CA that the peer must bring along (joining); with ca NULL */
        const struct pem *cert, *key; /* own; NULL = show none (joining, or pure clients) */
        const char
                *cluster; /* uuid that the peer must belong to; NULL = the one that its CA says (joining) */
        unsigned roles;   /* PKI_ROLE_BIT()s that are let in; 0 = all */
        bool allow_anonymous; /* accepting side: a client without certificate is let in (it may only join) */
        struct env *env;      /* wall clock; NULL = env_real() */
};
/* Everything is copied. E_FORMAT, E_AUTH (key and certificate do not match), E_TLS. */
int tls_ctx_new(const struct tls_config *config, struct tls_ctx **ret, struct fail *f) MUST_USE;
struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx);
void tls_ctx_unref(struct tls_ctx *ctx); /* NULL is fine */

/* What the handshake found out about the other side. */
struct tls_peer {
        bool checked; /* the certificate, or its absence, was judged */
        bool present; /* it has a certificate, and it was accepted: id is valid */
        struct pki_identity id;
        struct fail fail;    /* why it was not accepted */
        struct tls_ctx *ctx; /* private */
        bool we_serve;       /* private: it is the client */
};

#endif
