/* Shared by wire/net's own files: GnuTLS objects out of PEM, identities out of GnuTLS objects. */
#ifndef WIRE_NET_PKI_INTERNAL_H
#define WIRE_NET_PKI_INTERNAL_H

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "wire/net/pki.h"

/* fail_set with GnuTLS's text behind ours. Returns err. */
int pki_fail(struct fail *f, int err, const char *what, int rc);
/* *ret is set on success only and belongs to the caller (gnutls_x509_crt_deinit). */
int pki_import_crt(const struct pem *p, gnutls_x509_crt_t *ret, struct fail *f) MUST_USE;
/* Identity, fingerprint and expiry of a certificate. E_FORMAT when it is none of ours. */
int pki_identity_of(gnutls_x509_crt_t crt, struct pki_identity *ret, struct fail *f) MUST_USE;

#endif
