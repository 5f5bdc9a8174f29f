/* The certificates of one machine in its data directory: DIR/pki/{ca.crt,node.crt,node.key,ca.key} and
 * DIR/identity.
 *
 * Ownership: pki_dir_done() wipes. Threads: any. */
#ifndef WIRE_NET_PKI_DIR_H
#define WIRE_NET_PKI_DIR_H

#include "wire/net/pki.h"

struct pki_dir {
        struct pem ca, cert, key;
        struct pem ca_key; /* empty but on controllers */
};
/* Reads what is there and checks that it belongs together. E_NOT_FOUND: this machine never joined (or was
 * founded). E_AUTH: the pieces do not match. */
int pki_dir_load(const char *dir, struct pki_dir *ret, struct fail *f) MUST_USE;
/* Makes DIR and DIR/pki (0700) and writes all of them. */
int pki_dir_save(const char *dir, const struct pki_dir *d, struct fail *f) MUST_USE;
/* The machine's private key: the one that is there, or a new one that is written at once, so that an
 * interrupted join can be repeated with the same key. */
int pki_dir_key(const char *dir, struct pem *ret, struct fail *f) MUST_USE;
void pki_dir_done(struct pki_dir *d);

#endif
