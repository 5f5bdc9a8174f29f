/* Making, signing and reading certificates with GnuTLS. Files are in pki_file.c. */
#include "wire/net/pki.h"

#include <arpa/inet.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "wire/net/pki_internal.h"

#define URN_PREFIX "urn:outrigger:"
enum { SERIAL_SIZE = 16, DAY_S = 86400, CN_MAX = 64, SAN_MAX = 64 };

static const char *const role_names[PKI_ROLE_N] = {
        [PKI_CONTROLLER] = "controller",
        [PKI_WITNESS] = "witness",
        [PKI_SATELLITE] = "satellite",
        [PKI_CLIENT] = "client",
};

const char *pki_role_name(enum pki_role role) { return (unsigned)role < PKI_ROLE_N ? role_names[role] : "?"; }

int pki_role_parse(const char *name, enum pki_role *ret)
{
        for (unsigned i = 0; i < PKI_ROLE_N; i++)
                if (strcasecmp(name, role_names[i]) == 0) {
                        *ret = (enum pki_role)i;
                        return 0;
                }
        return E_INVALID;
}

static bool is_alnum(char c)
{
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool pki_name_valid(const char *name)
{
        if (name == NULL || !is_alnum(name[0])) return false;
        size_t n = 0;
        for (; name[n] != '\0'; n++)
                if (n >= PKI_NAME_MAX || (!is_alnum(name[n]) && strchr("._-", name[n]) == NULL)) return false;
        return true;
}

static bool uuid_valid(const char *s)
{
        if (s == NULL || strlen(s) != PKI_UUID_SIZE - 1) return false;
        for (size_t i = 0; s[i] != '\0'; i++)
                if (i == 8 || i == 13 || i == 18 || i == 23 ? s[i] != '-'
                                                            : strchr("0123456789abcdef", s[i]) == NULL)
                        return false;
        return true;
}

void pem_done(struct pem *p)
{
        if (p->text != NULL) secret_wipe(p->text, p->n);
        free(p->text);
        *p = (struct pem){ 0 };
}

int pem_set(struct pem *p, struct blob text)
{
        if (text.n > PKI_PEM_MAX) return E_TOO_LARGE;
        char *copy = xmalloc(text.n + 1);
        if (text.n > 0) memcpy(copy, text.p, text.n);
        copy[text.n] = '\0';
        pem_done(p);
        *p = (struct pem){ copy, text.n };
        return 0;
}

int pki_fail(struct fail *f, int err, const char *what, int rc)
{
        return fail_set(f, err, "%s: %s", what, gnutls_strerror(rc));
}

/* Takes d: copies it into ret and wipes the original. */
static int pem_take(struct pem *ret, gnutls_datum_t *d)
{
        int rc = pem_set(ret, (struct blob){ d->data, d->size });
        if (d->data != NULL) secret_wipe(d->data, d->size);
        gnutls_free(d->data);
        d->data = NULL;
        return rc;
}

static gnutls_datum_t pem_datum(const struct pem *p)
{
        return (gnutls_datum_t){ (unsigned char *)p->text, (unsigned)p->n };
}

int pki_import_crt(const struct pem *p, gnutls_x509_crt_t *ret, struct fail *f)
{
        gnutls_x509_crt_t crt = NULL;
        gnutls_datum_t d = pem_datum(p);
        int rc = p->n == 0 ? GNUTLS_E_NO_CERTIFICATE_FOUND : gnutls_x509_crt_init(&crt);
        if (rc == 0) rc = gnutls_x509_crt_import(crt, &d, GNUTLS_X509_FMT_PEM);
        if (rc != 0) {
                if (crt != NULL) gnutls_x509_crt_deinit(crt);
                return pki_fail(f, E_FORMAT, "the certificate cannot be read", rc);
        }
        *ret = crt;
        return 0;
}

static int import_key(const struct pem *p, gnutls_x509_privkey_t *ret, struct fail *f)
{
        gnutls_x509_privkey_t key = NULL;
        gnutls_datum_t d = pem_datum(p);
        int rc = p->n == 0 ? GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE : gnutls_x509_privkey_init(&key);
        if (rc == 0) rc = gnutls_x509_privkey_import(key, &d, GNUTLS_X509_FMT_PEM);
        if (rc != 0) {
                if (key != NULL) gnutls_x509_privkey_deinit(key);
                return pki_fail(f, E_FORMAT, "the private key cannot be read", rc);
        }
        *ret = key;
        return 0;
}

int pki_make_key(struct pem *ret_key, struct fail *f)
{
        gnutls_x509_privkey_t key = NULL;
        gnutls_datum_t out = { 0 };
        int rc = gnutls_x509_privkey_init(&key);
        if (rc == 0)
                rc = gnutls_x509_privkey_generate(
                        key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
        if (rc == 0)
                rc = gnutls_x509_privkey_export2_pkcs8(
                        key, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &out);
        if (key != NULL) gnutls_x509_privkey_deinit(key);
        if (rc != 0) return pki_fail(f, E_TLS, "no key was made", rc);
        return pem_take(ret_key, &out);
}

/* What a CA and a leaf have in common: version, random positive serial, validity, common name. */
static int set_basics(gnutls_x509_crt_t crt, const char *cn, uint64_t now_s, uint32_t days)
{
        uint8_t serial[SERIAL_SIZE];
        int rc = gnutls_x509_crt_set_version(crt, 3);
        if (rc == 0) rc = gnutls_rnd(GNUTLS_RND_NONCE, serial, sizeof serial);
        serial[0] = (uint8_t)((serial[0] & 0x7f) | 0x01);
        if (rc == 0) rc = gnutls_x509_crt_set_serial(crt, serial, sizeof serial);
        /* a day back: clocks of machines that join differ */
        if (rc == 0)
                rc = gnutls_x509_crt_set_activation_time(crt, (time_t)(now_s > DAY_S ? now_s - DAY_S : 0));
        if (rc == 0) rc = gnutls_x509_crt_set_expiration_time(crt, (time_t)(now_s + (uint64_t)days * DAY_S));
        size_t cn_n = strlen(cn);
        if (rc == 0)
                rc = gnutls_x509_crt_set_dn_by_oid(
                        crt, GNUTLS_OID_X520_COMMON_NAME, 0, cn, (unsigned)MIN(cn_n, (size_t)CN_MAX));
        return rc;
}

static int set_key_ids(gnutls_x509_crt_t crt, gnutls_x509_crt_t issuer)
{
        uint8_t id[64];
        size_t n = sizeof id;
        int rc = gnutls_x509_crt_get_key_id(crt, 0, id, &n);
        if (rc == 0) rc = gnutls_x509_crt_set_subject_key_id(crt, id, n);
        if (issuer == NULL || rc != 0) return rc;
        n = sizeof id;
        rc = gnutls_x509_crt_get_key_id(issuer, 0, id, &n);
        if (rc == 0) rc = gnutls_x509_crt_set_authority_key_id(crt, id, n);
        return rc;
}

static int make_ca_crt(const char *uuid, uint64_t now_s, gnutls_x509_privkey_t key, gnutls_datum_t *ret)
{
        char cn[CN_MAX];
        gnutls_x509_crt_t crt = NULL;
        (void)snprintf(cn, sizeof cn, "outrigger %s", uuid);
        int rc = gnutls_x509_crt_init(&crt);
        if (rc == 0) rc = set_basics(crt, cn, now_s, PKI_CA_DAYS);
        if (rc == 0) rc = gnutls_x509_crt_set_key(crt, key);
        if (rc == 0) rc = gnutls_x509_crt_set_basic_constraints(crt, 1, 0);
        if (rc == 0) rc = gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN);
        if (rc == 0) rc = set_key_ids(crt, NULL);
        if (rc == 0) rc = gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0);
        if (rc == 0) rc = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, ret);
        if (crt != NULL) gnutls_x509_crt_deinit(crt);
        return rc;
}

int pki_make_ca(
        const char *cluster_uuid, uint64_t now_s, struct pem *ret_cert, struct pem *ret_key, struct fail *f)
{
        struct pem key_pem = { 0 };
        gnutls_x509_privkey_t key = NULL;
        gnutls_datum_t out = { 0 };
        if (!uuid_valid(cluster_uuid)) return fail_set(f, E_INVALID, "'%s' is not a UUID", cluster_uuid);
        int err = pki_make_key(&key_pem, f);
        if (err == 0) err = import_key(&key_pem, &key, f);
        if (err == 0) {
                int rc = make_ca_crt(cluster_uuid, now_s, key, &out);
                err = rc == 0 ? pem_take(ret_cert, &out) : pki_fail(f, E_TLS, "the CA was not made", rc);
        }
        if (err == 0) err = pem_set(ret_key, BLOB(key_pem.text, key_pem.n));
        if (key != NULL) gnutls_x509_privkey_deinit(key);
        pem_done(&key_pem);
        return err;
}

int pki_make_csr(const struct pem *key_pem, const char *name, struct pem *ret_csr, struct fail *f)
{
        gnutls_x509_privkey_t key = NULL;
        gnutls_x509_crq_t crq = NULL;
        gnutls_datum_t out = { 0 };
        int err = import_key(key_pem, &key, f);
        if (err != 0) return err;
        int rc = gnutls_x509_crq_init(&crq);
        if (rc == 0) rc = gnutls_x509_crq_set_version(crq, 1);
        if (rc == 0)
                rc = gnutls_x509_crq_set_dn_by_oid(crq, GNUTLS_OID_X520_COMMON_NAME, 0, name,
                        (unsigned)MIN(strlen(name), (size_t)CN_MAX));
        if (rc == 0) rc = gnutls_x509_crq_set_key(crq, key);
        if (rc == 0) rc = gnutls_x509_crq_sign2(crq, key, GNUTLS_DIG_SHA256, 0);
        if (rc == 0) rc = gnutls_x509_crq_export2(crq, GNUTLS_X509_FMT_PEM, &out);
        if (crq != NULL) gnutls_x509_crq_deinit(crq);
        gnutls_x509_privkey_deinit(key);
        if (rc != 0) return pki_fail(f, E_TLS, "no signing request was made", rc);
        return pem_take(ret_csr, &out);
}

static int add_address(gnutls_x509_crt_t crt, const char *address)
{
        uint8_t ip[16];
        if (inet_pton(AF_INET, address, ip) == 1)
                return gnutls_x509_crt_set_subject_alt_name(
                        crt, GNUTLS_SAN_IPADDRESS, ip, 4, GNUTLS_FSAN_APPEND);
        if (inet_pton(AF_INET6, address, ip) == 1)
                return gnutls_x509_crt_set_subject_alt_name(
                        crt, GNUTLS_SAN_IPADDRESS, ip, 16, GNUTLS_FSAN_APPEND);
        if (!pki_name_valid(address)) return GNUTLS_E_INVALID_REQUEST;
        return gnutls_x509_crt_set_subject_alt_name(
                crt, GNUTLS_SAN_DNSNAME, address, (unsigned)strlen(address), GNUTLS_FSAN_APPEND);
}

static int set_names(gnutls_x509_crt_t crt, const struct pki_subject *s)
{
        char urn[sizeof URN_PREFIX + PKI_UUID_SIZE + 16 + PKI_NAME_MAX + 4];
        int n = snprintf(urn, sizeof urn, URN_PREFIX "%s:%s:%s", s->cluster, pki_role_name(s->role), s->name);
        int rc = gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_URI, urn, (unsigned)n, GNUTLS_FSAN_SET);
        for (uint32_t i = 0; rc == 0 && i < s->addresses_n; i++) rc = add_address(crt, s->addresses[i]);
        return rc;
}

static int set_usage(gnutls_x509_crt_t crt, enum pki_role role)
{
        int rc = gnutls_x509_crt_set_basic_constraints(crt, 0, -1);
        if (rc == 0) rc = gnutls_x509_crt_set_key_usage(crt, GNUTLS_KEY_DIGITAL_SIGNATURE);
        if (rc == 0) rc = gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_CLIENT, 0);
        if (rc == 0 && role != PKI_CLIENT)
                rc = gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER, 0);
        return rc;
}

/* The public key of a request whose own signature is right. */
static int csr_pubkey(const struct pem *csr, gnutls_pubkey_t *ret, struct fail *f)
{
        gnutls_x509_crq_t crq = NULL;
        gnutls_pubkey_t pub = NULL;
        gnutls_datum_t d = pem_datum(csr);
        unsigned bits = 0;
        int rc = csr->n == 0 ? GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE : gnutls_x509_crq_init(&crq);
        if (rc == 0) rc = gnutls_x509_crq_import(crq, &d, GNUTLS_X509_FMT_PEM);
        if (rc == 0) rc = gnutls_x509_crq_verify(crq, 0);
        if (rc == 0) rc = gnutls_pubkey_init(&pub);
        if (rc == 0) rc = gnutls_pubkey_import_x509_crq(pub, crq, 0);
        if (rc == 0 && (gnutls_pubkey_get_pk_algorithm(pub, &bits) != GNUTLS_PK_ECDSA || bits != 256))
                rc = GNUTLS_E_UNSUPPORTED_SIGNATURE_ALGORITHM;
        if (crq != NULL) gnutls_x509_crq_deinit(crq);
        if (rc != 0) {
                if (pub != NULL) gnutls_pubkey_deinit(pub);
                return pki_fail(f, E_INVALID, "the certificate signing request is not usable", rc);
        }
        *ret = pub;
        return 0;
}

static int sign_leaf(gnutls_x509_crt_t ca, gnutls_x509_privkey_t ca_key, gnutls_pubkey_t pub,
        const struct pki_subject *s, gnutls_datum_t *ret)
{
        gnutls_x509_crt_t crt = NULL;
        int rc = gnutls_x509_crt_init(&crt);
        if (rc == 0) rc = set_basics(crt, s->name, s->now_s, s->days != 0 ? s->days : PKI_LEAF_DAYS);
        if (rc == 0) rc = gnutls_x509_crt_set_pubkey(crt, pub);
        if (rc == 0) rc = set_names(crt, s);
        if (rc == 0) rc = set_usage(crt, s->role);
        if (rc == 0) rc = set_key_ids(crt, ca);
        if (rc == 0) rc = gnutls_x509_crt_sign2(crt, ca, ca_key, GNUTLS_DIG_SHA256, 0);
        if (rc == 0) rc = gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, ret);
        if (crt != NULL) gnutls_x509_crt_deinit(crt);
        return rc;
}

int pki_sign(const struct pem *ca_cert, const struct pem *ca_key, const struct pem *csr,
        const struct pki_subject *s, struct pem *ret_cert, struct fail *f)
{
        gnutls_x509_crt_t ca = NULL;
        gnutls_x509_privkey_t key = NULL;
        gnutls_pubkey_t pub = NULL;
        gnutls_datum_t out = { 0 };
        if (!uuid_valid(s->cluster)) return fail_set(f, E_INVALID, "'%s' is not a UUID", s->cluster);
        if (!pki_name_valid(s->name))
                return fail_set(f, E_INVALID,
                        "'%s' is not a valid name: letters, digits, '.', '_' and '-' only", s->name);
        if ((unsigned)s->role >= PKI_ROLE_N) return fail_set(f, E_INVALID, "unknown role");
        if (s->addresses_n > PKI_ADDRESSES_MAX)
                return fail_set(f, E_LIMIT, "more than %d addresses in one certificate", PKI_ADDRESSES_MAX);
        int err = pki_import_crt(ca_cert, &ca, f);
        if (err == 0) err = import_key(ca_key, &key, f);
        if (err == 0) err = csr_pubkey(csr, &pub, f);
        if (err == 0) {
                int rc = sign_leaf(ca, key, pub, s, &out);
                if (rc == GNUTLS_E_INVALID_REQUEST)
                        err = fail_set(f, E_INVALID,
                                "an address of '%s' is neither an IP address nor a host name", s->name);
                else err = rc == 0 ? pem_take(ret_cert, &out) : pki_fail(f, E_TLS, "signing failed", rc);
        }
        if (pub != NULL) gnutls_pubkey_deinit(pub);
        if (key != NULL) gnutls_x509_privkey_deinit(key);
        if (ca != NULL) gnutls_x509_crt_deinit(ca);
        return err;
}

/* `urn:outrigger:<uuid>:<role>:<name>`, strictly. */
static int parse_urn(const char *urn, struct pki_identity *ret)
{
        char role[16];
        const char *p = urn + strlen(URN_PREFIX);
        const char *colon = strchr(p, ':');
        if (colon == NULL || colon - p != PKI_UUID_SIZE - 1) return E_FORMAT;
        memcpy(ret->cluster, p, PKI_UUID_SIZE - 1);
        ret->cluster[PKI_UUID_SIZE - 1] = '\0';
        p = colon + 1;
        colon = strchr(p, ':');
        if (colon == NULL || (size_t)(colon - p) >= sizeof role) return E_FORMAT;
        memcpy(role, p, (size_t)(colon - p));
        role[colon - p] = '\0';
        if (!uuid_valid(ret->cluster) || pki_role_parse(role, &ret->role) != 0 || !pki_name_valid(colon + 1))
                return E_FORMAT;
        (void)snprintf(ret->name, sizeof ret->name, "%s", colon + 1);
        return 0;
}

int pki_identity_of(gnutls_x509_crt_t crt, struct pki_identity *ret, struct fail *f)
{
        unsigned found = 0;
        *ret = (struct pki_identity){ 0 };
        for (unsigned i = 0; i < SAN_MAX; i++) {
                char san[512];
                size_t n = sizeof san - 1;
                int type = gnutls_x509_crt_get_subject_alt_name(crt, i, san, &n, NULL);
                if (type == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) break;
                if (type == GNUTLS_E_SHORT_MEMORY_BUFFER) continue;
                if (type < 0) return pki_fail(f, E_FORMAT, "the certificate's names cannot be read", type);
                san[n] = '\0';
                if (type != GNUTLS_SAN_URI || strlen(san) != n ||
                        strncmp(san, URN_PREFIX, strlen(URN_PREFIX)) != 0)
                        continue;
                if (parse_urn(san, ret) != 0 || ++found > 1)
                        return fail_set(f, E_FORMAT,
                                "the certificate's identity '%.200s' is malformed or not the only one", san);
        }
        if (found == 0)
                return fail_set(f, E_FORMAT, "the certificate does not belong to an Outrigger cluster");
        ret->expires_s = (uint64_t)gnutls_x509_crt_get_expiration_time(crt);
        size_t n = sizeof ret->fingerprint;
        int rc = gnutls_x509_crt_get_fingerprint(crt, GNUTLS_DIG_SHA256, ret->fingerprint, &n);
        return rc == 0 ? 0 : pki_fail(f, E_FORMAT, "no fingerprint", rc);
}

int pki_identity(const struct pem *cert, struct pki_identity *ret, struct fail *f)
{
        gnutls_x509_crt_t crt = NULL;
        int err = pki_import_crt(cert, &crt, f);
        if (err != 0) return err;
        err = pki_identity_of(crt, ret, f);
        gnutls_x509_crt_deinit(crt);
        return err;
}

int pki_fingerprint(const struct pem *cert, uint8_t ret[PKI_PIN_SIZE], struct fail *f)
{
        gnutls_x509_crt_t crt = NULL;
        size_t n = PKI_PIN_SIZE;
        int err = pki_import_crt(cert, &crt, f);
        if (err != 0) return err;
        int rc = gnutls_x509_crt_get_fingerprint(crt, GNUTLS_DIG_SHA256, ret, &n);
        gnutls_x509_crt_deinit(crt);
        return rc == 0 ? 0 : pki_fail(f, E_FORMAT, "no fingerprint", rc);
}

int pki_key_pin(const struct pem *cert, uint8_t ret[PKI_PIN_SIZE], struct fail *f)
{
        gnutls_x509_crt_t crt = NULL;
        size_t n = PKI_PIN_SIZE;
        int err = pki_import_crt(cert, &crt, f);
        if (err != 0) return err;
        int rc = gnutls_x509_crt_get_key_id(crt, GNUTLS_KEYID_USE_SHA256, ret, &n);
        gnutls_x509_crt_deinit(crt);
        return rc == 0 ? 0 : pki_fail(f, E_FORMAT, "no key id", rc);
}

/* The file has the public half as well: whether the secret one is undamaged, only a signature shows. */
static bool signs_for(gnutls_x509_privkey_t key, gnutls_x509_crt_t crt)
{
        static unsigned char text[] = "outrigger";
        const gnutls_datum_t data = { text, sizeof text - 1 };
        gnutls_datum_t signature = { 0 };
        gnutls_privkey_t secret = NULL;
        gnutls_pubkey_t open = NULL;
        int rc = gnutls_privkey_init(&secret);
        if (rc == 0) rc = gnutls_pubkey_init(&open);
        if (rc == 0) rc = gnutls_privkey_import_x509(secret, key, 0);
        if (rc == 0) rc = gnutls_pubkey_import_x509(open, crt, 0);
        gnutls_digest_algorithm_t digest = GNUTLS_DIG_SHA256;
        if (rc == 0) rc = gnutls_pubkey_get_preferred_hash_algorithm(open, &digest, NULL);
        if (rc == 0) rc = gnutls_privkey_sign_data(secret, digest, 0, &data, &signature);
        if (rc == 0)
                rc = gnutls_pubkey_verify_data2(open,
                        gnutls_pk_to_sign(
                                (gnutls_pk_algorithm_t)gnutls_pubkey_get_pk_algorithm(open, NULL), digest),
                        0, &data, &signature);
        gnutls_free(signature.data);
        if (open != NULL) gnutls_pubkey_deinit(open);
        if (secret != NULL) gnutls_privkey_deinit(secret);
        return rc >= 0;
}

static int key_matches(gnutls_x509_crt_t crt, const struct pem *key_pem, struct fail *f)
{
        gnutls_x509_privkey_t key = NULL;
        uint8_t a[64], b[64];
        size_t an = sizeof a, bn = sizeof b;
        int err = import_key(key_pem, &key, f);
        if (err != 0) return err;
        int rc = gnutls_x509_crt_get_key_id(crt, 0, a, &an);
        if (rc == 0) rc = gnutls_x509_privkey_get_key_id(key, 0, b, &bn);
        if (rc != 0 || an != bn || memcmp(a, b, an) != 0)
                err = fail_set(f, E_AUTH, "the private key does not belong to the certificate");
        else if (!signs_for(key, crt))
                err = fail_set(
                        f, E_AUTH, "the private key is damaged: what it signs does not fit its certificate");
        gnutls_x509_privkey_deinit(key);
        return err;
}

int pki_check(const struct pem *ca_pem, const struct pem *cert, const struct pem *key, struct fail *f)
{
        gnutls_x509_crt_t ca = NULL, crt = NULL;
        unsigned status = 0;
        int err = pki_import_crt(ca_pem, &ca, f);
        if (err == 0) err = pki_import_crt(cert, &crt, f);
        if (err == 0) {
                int rc = gnutls_x509_crt_verify(crt, &ca, 1, GNUTLS_VERIFY_DISABLE_TIME_CHECKS, &status);
                if (rc != 0 || status != 0)
                        err = fail_set(f, E_AUTH, "the certificate is not signed by this cluster's CA");
        }
        if (err == 0 && key != NULL) err = key_matches(crt, key, f);
        if (crt != NULL) gnutls_x509_crt_deinit(crt);
        if (ca != NULL) gnutls_x509_crt_deinit(ca);
        return err;
}
