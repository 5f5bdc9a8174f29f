/* The HTTP threads: one libmicrohttpd daemon each. The library's own pool cannot be fed with accepted
 * sockets, so the pool is ours. */
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "controller/rest/rest_internal.h"
#include "wire/base/log.h"

#define PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:%SERVER_PRECEDENCE"

__attribute__((format(printf, 2, 0))) static void on_log(void *arg, const char *fmt, va_list ap)
{
        char line[256];
        int n = vsnprintf(line, sizeof line, fmt, ap);
        while (n > 0 && (size_t)n < sizeof line && line[n - 1] == '\n') line[--n] = 0;
        log_debug("rest", "%s", line);
}

/* Paths and queries are wanted byte-exact. */
static size_t keep_escapes(void *arg, struct MHD_Connection *mhd, char *s) { return strlen(s); }

/* Before the handshake: a client without a certificate of the cluster's CA does not get through it. */
void rest_tls_require(struct MHD_Connection *mhd)
{
        const union MHD_ConnectionInfo *info =
                MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
        gnutls_session_t s = info ? info->tls_session : NULL;
        if (!s) return;
        gnutls_certificate_server_set_request(s, GNUTLS_CERT_REQUIRE);
        gnutls_session_set_verify_cert(s, NULL, 0);
}

/* A second look when the first request arrives, independent of what the library made of the handshake. */
int rest_tls_check(struct conn *c, struct MHD_Connection *mhd)
{
        const union MHD_ConnectionInfo *info =
                MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
        gnutls_session_t s = info ? info->tls_session : NULL;
        unsigned status = 0, n = 0;
        if (!s || gnutls_certificate_verify_peers2(s, &status) != GNUTLS_E_SUCCESS || status != 0)
                return E_AUTH;
        const gnutls_datum_t *chain = gnutls_certificate_get_peers(s, &n);
        if (!chain || n == 0) return E_AUTH;
        const struct rest_config *config = &c->rest->config;
        if (!config->backend->authorize) return 0;
        return config->backend->authorize(config->backend_arg, BLOB(chain[0].data, chain[0].size), c->user);
}

static struct MHD_Daemon *start(struct worker *w)
{
        const struct rest_tls *tls = &w->rest->config.tls;
        unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME |
                         MHD_USE_ERROR_LOG;
        struct MHD_OptionItem secure[] = {
                { MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)tls->cert_pem },
                { MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)tls->key_pem },
                { MHD_OPTION_HTTPS_MEM_TRUST, 0, (void *)(uintptr_t)tls->ca_pem },
                { MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)PRIORITIES },
                { MHD_OPTION_END, 0, NULL },
        };
        struct MHD_OptionItem plain[] = { { MHD_OPTION_END, 0, NULL } };
        if (w->tls) flags |= MHD_USE_TLS;
        return MHD_start_daemon(flags, 0, NULL, NULL, rest_on_request, w, MHD_OPTION_EXTERNAL_LOGGER, on_log,
                NULL, MHD_OPTION_CONNECTION_LIMIT, 1U << 20, MHD_OPTION_CONNECTION_TIMEOUT, 0U,
                MHD_OPTION_CONNECTION_MEMORY_LIMIT, REST_POOL_BYTES, MHD_OPTION_UNESCAPE_CALLBACK,
                keep_escapes, NULL, MHD_OPTION_URI_LOG_CALLBACK, rest_on_uri, w, MHD_OPTION_NOTIFY_COMPLETED,
                rest_on_completed, w, MHD_OPTION_NOTIFY_CONNECTION, rest_on_connection, w, MHD_OPTION_ARRAY,
                w->tls ? secure : plain, MHD_OPTION_END);
}

int rest_workers_start(struct rest *r, struct fail *f)
{
        sigset_t all, before;
        int err = 0;
        sigfillset(&all);
        /* The threads inherit the mask: signals are the loop's. */
        pthread_sigmask(SIG_SETMASK, &all, &before);
        for (unsigned i = 0; i < r->plain_n + r->tls_n && !err; i++) {
                struct worker *w = &r->workers[i];
                w->rest = r;
                w->no = i;
                w->tls = i >= r->plain_n;
                w->daemon = start(w);
                if (w->daemon) continue;
                err = w->tls ? fail_set(f, E_TLS, "HTTPS cannot start: check certificate, key and CA")
                             : fail_set(f, E_CONFIG, "libmicrohttpd cannot start a thread");
        }
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return err;
}

void rest_workers_stop(struct rest *r)
{
        for (unsigned i = 0; i < r->plain_n + r->tls_n; i++) {
                struct worker *w = &r->workers[i];
                if (w->daemon) MHD_stop_daemon(w->daemon);
                w->daemon = NULL;
                if (w->z_ready) deflateEnd(&w->z);
                w->z_ready = false;
        }
}
