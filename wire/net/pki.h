/* Certificates of a cluster: one CA (ECDSA P-256), one certificate for each machine and each REST client. Who
 * somebody is stands in one SAN URI, `urn:outrigger:<cluster-uuid>:<role>:<name>`; everything else in a
 * certificate is for show.
 *
 * Ownership: a struct pem belongs to whoever declared it; pem_done() wipes it. Private keys are never logged
 * and never part of an error text. Threads: any; no shared state. Errors: 0 or negative (wire/base/err.h),
 * cause in struct fail. */
#ifndef WIRE_NET_PKI_H
#define WIRE_NET_PKI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/base/err.h"
#include "wire/base/mem.h"

#define PKI_NAME_MAX 127 /* characters */
#define PKI_UUID_SIZE 37 /* bytes with the NUL */
#define PKI_PIN_SIZE 32  /* bytes of a fingerprint: SHA-256 of the DER form */
#define PKI_PEM_MAX 16384
#define PKI_ADDRESSES_MAX 20
#define PKI_CA_DAYS 10950
#define PKI_LEAF_DAYS 3650

enum pki_role { PKI_CONTROLLER, PKI_WITNESS, PKI_SATELLITE, PKI_CLIENT, PKI_ROLE_N };
#define PKI_ROLE_BIT(role) (1U << (role))
/* "controller", ...; never NULL. */
const char *pki_role_name(enum pki_role role);
/* Any case. 0 or E_INVALID. */
int pki_role_parse(const char *name, enum pki_role *ret) MUST_USE;
/* Letters, digits, '.', '_', '-'; starts with a letter or digit; 1 .. PKI_NAME_MAX characters. */
bool pki_name_valid(const char *name);

/* PEM text with a NUL behind it (not counted in n). Zeroed is valid and empty. */
struct pem {
        char *text;
        size_t n;
};
void pem_done(struct pem *p);
/* Copies; the old content is wiped. E_TOO_LARGE above PKI_PEM_MAX. */
int pem_set(struct pem *p, struct blob text) MUST_USE;

/* What a certificate says about its holder. */
struct pki_identity {
        char cluster[PKI_UUID_SIZE];
        enum pki_role role;
        char name[PKI_NAME_MAX + 1];
        uint8_t fingerprint[PKI_PIN_SIZE];
        uint64_t expires_s; /* seconds since the epoch */
};

/* A self-signed CA for the cluster, valid for PKI_CA_DAYS from now_s on. */
int pki_make_ca(const char *cluster_uuid, uint64_t now_s, struct pem *ret_cert, struct pem *ret_key,
        struct fail *f) MUST_USE;
int pki_make_key(struct pem *ret_key, struct fail *f) MUST_USE;
/* A certificate signing request for the key; name is only a label, the signer decides about names. */
int pki_make_csr(const struct pem *key, const char *name, struct pem *ret_csr, struct fail *f) MUST_USE;

struct pki_subject {
        const char *cluster; /* uuid */
        enum pki_role role;
        const char *name;
        const char *const *addresses; /* DNS names and IP literals, for HTTPS clients that check them */
        uint32_t addresses_n;         /* at most PKI_ADDRESSES_MAX */
        uint64_t now_s;
        uint32_t days; /* 0 = PKI_LEAF_DAYS */
};
/* Takes only the public key from the request, after checking that its sender holds the private one. E_INVALID
 * for a bad request, name or address. */
int pki_sign(const struct pem *ca_cert, const struct pem *ca_key, const struct pem *csr,
        const struct pki_subject *s, struct pem *ret_cert, struct fail *f) MUST_USE;

/* Reads the identity out of a certificate; nothing is verified. E_FORMAT when it is none of ours. */
int pki_identity(const struct pem *cert, struct pki_identity *ret, struct fail *f) MUST_USE;
/* SHA-256 of the (first) certificate: the pin when it is the CA's. */
int pki_fingerprint(const struct pem *cert, uint8_t ret[PKI_PIN_SIZE], struct fail *f) MUST_USE;
/* SHA-256 of the certificate's public key: the same for every certificate of one key. */
int pki_key_pin(const struct pem *cert, uint8_t ret[PKI_PIN_SIZE], struct fail *f) MUST_USE;
/* 0 when cert is signed by ca and key belongs to cert (key NULL: not checked). E_AUTH else. */
int pki_check(const struct pem *ca, const struct pem *cert, const struct pem *key, struct fail *f) MUST_USE;

/* ---- files ---- */
/* Writes atomically: temporary file, fsync, rename, fsync of the directory. mode 0600 for everything that
 * holds a key. */
int pki_file_write(const char *path, struct blob content, unsigned mode, struct fail *f) MUST_USE;
int pki_save(const char *path, const struct pem *p, struct fail *f) MUST_USE;
/* E_NOT_FOUND when there is no such file. A key file that others may read is refused with E_AUTH. */
int pki_load(const char *path, struct pem *ret, struct fail *f) MUST_USE;
int pki_load_key(const char *path, struct pem *ret, struct fail *f) MUST_USE;

#endif
