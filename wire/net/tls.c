/* Credentials and the judgement about a peer's certificate chain. */
#include "wire/net/tls.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "wire/base/buf.h"
#include "wire/net/pki_internal.h"
#include "wire/net/tls_internal.h"

#define TLS_PRIORITY                                                                            \
        "NONE:+VERS-TLS1.3:+AES-256-GCM:+AES-128-GCM:+CHACHA20-POLY1305:+AEAD:+SHA384:+SHA256:" \
        "+GROUP-X25519:+GROUP-SECP256R1:+ECDHE-ECDSA:+SIGN-ECDSA-SECP256R1-SHA256:+CTYPE-X509:+COMP-NULL"
enum { CHAIN_MAX = 4, HANDSHAKE_MESSAGE_MAX = 32768 };

struct tls_ctx {
        unsigned refs;
        gnutls_certificate_credentials_t cred;
        gnutls_priority_t priority;
        gnutls_x509_crt_t ca; /* NULL = by pin */
        uint8_t pin[PKI_PIN_SIZE];
        char cluster[PKI_UUID_SIZE]; /* "" = any */
        unsigned roles;
        bool allow_anonymous;
        struct env *env;
};

static int set_own(struct tls_ctx *ctx, const struct tls_config *c, struct fail *f)
{
        if (c->cert == NULL) return 0;
        int err = c->ca != NULL ? pki_check(c->ca, c->cert, c->key, f) : 0;
        if (err != 0) return err;
        /* the CA goes along, so that someone who joins can compare it with the pin */
        struct buf chain = { 0 };
        buf_put(&chain, c->cert->text, c->cert->n);
        if (c->ca != NULL) buf_put(&chain, c->ca->text, c->ca->n);
        if (chain.err != 0) return fail_set(f, chain.err, "certificate chain: %s", err_text(chain.err));
        gnutls_datum_t d = { chain.p, (unsigned)chain.n };
        gnutls_datum_t k = { (unsigned char *)c->key->text, (unsigned)c->key->n };
        int rc = gnutls_certificate_set_x509_key_mem(ctx->cred, &d, &k, GNUTLS_X509_FMT_PEM);
        buf_done(&chain);
        return rc < 0 ? pki_fail(f, E_TLS, "the own certificate is not usable", rc) : 0;
}

static gnutls_x509_crt_t find_pinned(struct tls_ctx *ctx, gnutls_x509_crt_t *chain, unsigned n)
{
        for (unsigned i = 0; i < n; i++) {
                uint8_t fp[PKI_PIN_SIZE];
                size_t size = sizeof fp;
                if (gnutls_x509_crt_get_fingerprint(chain[i], GNUTLS_DIG_SHA256, fp, &size) == 0 &&
                        memcmp(fp, ctx->pin, sizeof fp) == 0)
                        return chain[i];
        }
        return NULL;
}

static int judge_identity(struct tls_ctx *ctx, struct tls_peer *p)
{
        uint64_t now_s = ctx->env->wall_ms(ctx->env) / 1000;
        if (ctx->cluster[0] != '\0' && strcmp(p->id.cluster, ctx->cluster) != 0)
                return fail_set(&p->fail, E_AUTH,
                        "the certificate of %s '%s' belongs to another cluster (%s, this is %s)",
                        pki_role_name(p->id.role), p->id.name, p->id.cluster, ctx->cluster);
        if (ctx->roles != 0 && (ctx->roles & PKI_ROLE_BIT(p->id.role)) == 0)
                return fail_set(&p->fail, E_AUTH, "a certificate of role %s ('%s') is not let in here",
                        pki_role_name(p->id.role), p->id.name);
        if (now_s <= p->id.expires_s) return 0;
        char when[32] = "";
        time_t t = (time_t)p->id.expires_s;
        struct tm tm;
        if (gmtime_r(&t, &tm) != NULL) (void)strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", &tm);
        return fail_set(&p->fail, E_AUTH,
                "the certificate of '%s' expired on %s: check the clock of this machine, or join that one "
                "anew",
                p->id.name, when);
}

static int judge_chain(struct tls_ctx *ctx, struct tls_peer *p, gnutls_x509_crt_t *chain, unsigned n)
{
        unsigned status = 0;
        gnutls_x509_crt_t ca = ctx->ca != NULL ? ctx->ca : find_pinned(ctx, chain, n);
        if (ca == NULL || ca == chain[0])
                return fail_set(&p->fail, E_AUTH, "the peer's CA is not the one that the token names");
        /* one level only: the CA signs machines and clients, nobody else signs anything */
        int rc = gnutls_x509_crt_verify(chain[0], &ca, 1, GNUTLS_VERIFY_DISABLE_TIME_CHECKS, &status);
        if (rc != 0 || status != 0)
                return fail_set(
                        &p->fail, E_AUTH, "the peer's certificate is not signed by this cluster's CA");
        if (gnutls_x509_crt_check_key_purpose(
                    chain[0], p->we_serve ? GNUTLS_KP_TLS_WWW_CLIENT : GNUTLS_KP_TLS_WWW_SERVER, 0) == 0)
                return fail_set(
                        &p->fail, E_AUTH, "the peer's certificate is not made for this side of a connection");
        int err = pki_identity_of(chain[0], &p->id, &p->fail);
        return err != 0 ? err : judge_identity(ctx, p);
}

static int import_chain(const gnutls_datum_t *raw, unsigned n, gnutls_x509_crt_t *chain, struct tls_peer *p)
{
        for (unsigned i = 0; i < n; i++) {
                int rc = gnutls_x509_crt_init(&chain[i]);
                if (rc == 0) rc = gnutls_x509_crt_import(chain[i], &raw[i], GNUTLS_X509_FMT_DER);
                if (rc != 0) return pki_fail(&p->fail, E_AUTH, "the peer's certificate cannot be read", rc);
        }
        return 0;
}

/* Called by GnuTLS in the handshake. 0 = go on. */
static int on_verify(gnutls_session_t s)
{
        struct tls_peer *p = gnutls_session_get_ptr(s);
        gnutls_x509_crt_t chain[CHAIN_MAX] = { NULL };
        unsigned n = 0;
        const gnutls_datum_t *raw = gnutls_certificate_get_peers(s, &n);
        if (raw == NULL || n == 0) return tls_accepted(p->ctx, p) ? 0 : GNUTLS_E_CERTIFICATE_REQUIRED;
        p->checked = true;
        int err;
        if (n > CHAIN_MAX) err = fail_set(&p->fail, E_AUTH, "the peer's certificate chain is too long");
        else err = import_chain(raw, n, chain, p);
        if (err == 0) err = judge_chain(p->ctx, p, chain, n);
        p->present = err == 0;
        for (unsigned i = 0; i < CHAIN_MAX; i++)
                if (chain[i] != NULL) gnutls_x509_crt_deinit(chain[i]);
        return err == 0 ? 0 : GNUTLS_E_CERTIFICATE_ERROR;
}

bool tls_accepted(struct tls_ctx *ctx, struct tls_peer *p)
{
        if (p->present) return true;
        if (p->checked) return false;
        if (p->we_serve && ctx->allow_anonymous) return true;
        (void)fail_set(&p->fail, E_AUTH, "the peer showed no certificate");
        return false;
}

int tls_session_new(
        struct tls_ctx *ctx, bool server, struct tls_peer *peer, gnutls_session_t *ret, struct fail *f)
{
        gnutls_session_t s = NULL;
        *peer = (struct tls_peer){ .ctx = ctx, .we_serve = server };
        int rc = gnutls_init(&s, (server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NONBLOCK |
                                         GNUTLS_NO_TICKETS | GNUTLS_NO_SIGNAL);
        if (rc != 0) return pki_fail(f, E_TLS, "no TLS session", rc);
        rc = gnutls_priority_set(s, ctx->priority);
        if (rc == 0) rc = gnutls_credentials_set(s, GNUTLS_CRD_CERTIFICATE, ctx->cred);
        if (rc != 0) {
                gnutls_deinit(s);
                return pki_fail(f, E_TLS, "no TLS session", rc);
        }
        gnutls_session_set_ptr(s, peer);
        gnutls_handshake_set_max_packet_length(s, HANDSHAKE_MESSAGE_MAX);
        gnutls_handshake_set_timeout(s, GNUTLS_INDEFINITE_TIMEOUT); /* the connection has its own deadline */
        /* REQUEST even where a certificate is a must: the verdict, with its text, is ours */
        if (server) gnutls_certificate_server_set_request(s, GNUTLS_CERT_REQUEST);
        *ret = s;
        return 0;
}

static int ctx_fill(struct tls_ctx *ctx, const struct tls_config *c, struct fail *f)
{
        const char *bad = NULL;
        int rc = gnutls_certificate_allocate_credentials(&ctx->cred);
        if (rc == 0) rc = gnutls_priority_init(&ctx->priority, TLS_PRIORITY, &bad);
        if (rc != 0) return pki_fail(f, E_TLS, "TLS cannot be set up", rc);
        gnutls_certificate_set_verify_function(ctx->cred, on_verify);
        if (c->ca != NULL) {
                int err = pki_import_crt(c->ca, &ctx->ca, f);
                if (err != 0) return err;
        } else {
                memcpy(ctx->pin, c->pin, sizeof ctx->pin);
        }
        if (c->cluster != NULL) {
                if (strlen(c->cluster) >= sizeof ctx->cluster)
                        return fail_set(f, E_INVALID, "'%s' is not a UUID", c->cluster);
                memcpy(ctx->cluster, c->cluster, strlen(c->cluster) + 1);
        }
        return set_own(ctx, c, f);
}

int tls_ctx_new(const struct tls_config *config, struct tls_ctx **ret, struct fail *f)
{
        if (config->ca == NULL && config->pin == NULL)
                return fail_set(f, E_INVALID, "neither a CA nor its pin is given");
        if ((config->cert == NULL) != (config->key == NULL))
                return fail_set(f, E_INVALID, "a certificate needs its key");
        struct tls_ctx *ctx = xnew(struct tls_ctx);
        ctx->refs = 1;
        ctx->roles = config->roles;
        ctx->allow_anonymous = config->allow_anonymous;
        ctx->env = config->env != NULL ? config->env : env_real();
        int err = ctx_fill(ctx, config, f);
        if (err != 0) {
                tls_ctx_unref(ctx);
                return err;
        }
        *ret = ctx;
        return 0;
}

struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx)
{
        ctx->refs++;
        return ctx;
}

void tls_ctx_unref(struct tls_ctx *ctx)
{
        if (ctx == NULL) return;
        assert(ctx->refs > 0);
        if (--ctx->refs > 0) return;
        if (ctx->ca != NULL) gnutls_x509_crt_deinit(ctx->ca);
        if (ctx->priority != NULL) gnutls_priority_deinit(ctx->priority);
        if (ctx->cred != NULL) gnutls_certificate_free_credentials(ctx->cred);
        free(ctx);
}
