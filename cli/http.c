/* libcurl behind cli/http.h. */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/http.h"
#include "wire/base/buf.h"

#define CONTROLLERS_MAX 16
#define ANSWER_LIMIT_BYTES ((size_t)256 << 20)
#define CONNECT_TIMEOUT_S 3L
#define PROGRESS_AFTER_S 2
#define LOCAL_SOCKET "/run/outrigger/rest.sock"

struct http {
        CURL *curl;
        struct http_options options;
        char *urls[CONTROLLERS_MAX]; /* "unix:PATH" or a base URL without trailing slash */
        int urls_n;
        int current; /* the one that answered last */
        char *cert, *key, *ca;
        time_t started, told;
        bool showed_progress;
};

static bool is_port(const char *text, size_t n)
{
        unsigned long port = 0;
        for (size_t i = 0; i < n && port <= UINT16_MAX; i++) {
                if (text[i] < '0' || text[i] > '9') return false;
                port = port * 10 + (unsigned long)(text[i] - '0');
        }
        return port > 0 && port <= UINT16_MAX;
}

/* linstor://h, linstor+ssl://h, http(s)://h[:port], h, h:port, [v6]:port -> base URL. */
static char *base_url(const char *word)
{
        const char *scheme = "http", *rest = word;
        if (strncmp(word, "linstor://", 10) == 0) rest = word + 10;
        else if (strncmp(word, "linstor+ssl://", 14) == 0) scheme = "https", rest = word + 14;
        else if (strncmp(word, "http://", 7) == 0) rest = word + 7;
        else if (strncmp(word, "https://", 8) == 0) scheme = "https", rest = word + 8;
        else if (strstr(word, "://") != NULL) return NULL;
        size_t n = strlen(rest);
        while (n > 0 && rest[n - 1] == '/') n--;
        if (n == 0) return NULL;
        const char *bracket = memchr(rest, ']', n);
        const char *tail = bracket != NULL ? bracket : rest;
        const char *port = memchr(tail, ':', n - (size_t)(tail - rest));
        if (bracket == NULL && strchr(rest, ':') != strrchr(rest, ':')) /* a bare IPv6 address */
                return xasprintf(
                        "%s://[%.*s]:%d", scheme, (int)n, rest, strcmp(scheme, "https") == 0 ? 3371 : 3370);
        if (port != NULL && !is_port(port + 1, n - (size_t)(port + 1 - rest))) return NULL;
        if (port != NULL) return xasprintf("%s://%.*s", scheme, (int)n, rest);
        return xasprintf("%s://%.*s:%d", scheme, (int)n, rest, strcmp(scheme, "https") == 0 ? 3371 : 3370);
}

/* PATH when it can be read, else NULL. dir may begin with ~. */
static char *readable(const char *dir, const char *name)
{
        const char *home = getenv("HOME");
        if (dir[0] == '~' && (home == NULL || home[0] == '\0')) return NULL;
        char *path =
                dir[0] == '~' ? xasprintf("%s%s/%s", home, dir + 1, name) : xasprintf("%s/%s", dir, name);
        if (access(path, R_OK) == 0) return path;
        free(path);
        return NULL;
}

/* raftctl client-cert writes these. They belong together: all come from the first place that has a
 * certificate with its key. What an option names is taken from there instead. */
static void find_certificates(struct http *h)
{
        static const char *const places[] = { "~/.config/outrigger", "/etc/outrigger" };
        const struct http_options *o = &h->options;
        char *cert = NULL, *key = NULL, *ca = NULL;
        for (size_t i = 0; i < ARRAY_LEN(places) && (cert == NULL || key == NULL); i++) {
                free(cert);
                free(key);
                free(ca);
                cert = readable(places[i], "client.crt");
                key = readable(places[i], "client.key");
                ca = readable(places[i], "ca.crt");
        }
        bool pair = cert != NULL && key != NULL && o->cert == NULL && o->key == NULL;
        h->cert = o->cert != NULL ? xstrdup(o->cert) : pair ? xstrdup(cert) : NULL;
        h->key = o->key != NULL ? xstrdup(o->key) : pair ? xstrdup(key) : NULL;
        h->ca = o->ca != NULL ? xstrdup(o->ca) : ca != NULL ? xstrdup(ca) : NULL;
        free(cert);
        free(key);
        free(ca);
}

struct http *http_open(const struct http_options *options)
{
        struct http *h = xnew(struct http);
        h->options = *options;
        h->started = time(NULL);
        if (options->controllers == NULL || options->controllers[0] == 0) {
                if (access(LOCAL_SOCKET, W_OK) == 0) h->urls[h->urls_n++] = xstrdup("unix:" LOCAL_SOCKET);
                h->urls[h->urls_n++] = base_url("localhost");
        }
        char *copy = xstrdup(options->controllers == NULL ? "" : options->controllers), *rest = copy, *word;
        while ((word = strsep(&rest, ", ")) != NULL) {
                if (word[0] == 0 || h->urls_n == CONTROLLERS_MAX) continue;
                char *url = strncmp(word, "unix:", 5) == 0 ? xstrdup(word) : base_url(word);
                if (url == NULL) {
                        fprintf(stderr,
                                "outrigger: \"%s\" is no controller address; use host, host:port or "
                                "http(s)://host:port\n",
                                word);
                        free(copy);
                        http_close(h);
                        return NULL;
                }
                h->urls[h->urls_n++] = url;
        }
        free(copy);
        find_certificates(h);
        (void)curl_global_init(CURL_GLOBAL_DEFAULT);
        h->curl = curl_easy_init();
        if (h->curl == NULL) abort();
        return h;
}

void http_close(struct http *h)
{
        if (h == NULL) return;
        if (h->curl != NULL) curl_easy_cleanup(h->curl);
        for (int i = 0; i < h->urls_n; i++) free(h->urls[i]);
        free(h->cert);
        free(h->key);
        free(h->ca);
        free(h);
}

char *http_escape(const char *text)
{
        static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~";
        struct buf b = { 0 };
        for (; *text != 0; text++) {
                if (strchr(plain, *text) != NULL) buf_put_u8(&b, (unsigned char)*text);
                else buf_printf(&b, "%%%02X", (unsigned)(unsigned char)*text);
        }
        return (char *)(buf_cstr(&b) != NULL ? b.p : NULL);
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
        struct buf *b = arg;
        buf_put(b, p, size * n);
        return b->err == 0 ? size * n : 0;
}

void http_progress(struct http *h, const char *what, time_t began)
{
        time_t now = time(NULL), waited = now - began;
        if (what == NULL && h->showed_progress) {
                fprintf(stderr, "\r\x1b[K");
                h->showed_progress = false;
        }
        if (what == NULL || !h->options.progress || waited < PROGRESS_AFTER_S || now == h->told) return;
        h->told = now;
        h->showed_progress = true;
        fprintf(stderr, "\r%s: %lld s \x1b[K", what, (long long)waited);
}

static int on_progress(void *arg, curl_off_t dt, curl_off_t dn, curl_off_t ut, curl_off_t un)
{
        struct http *h = arg;
        http_progress(h, "waiting for the satellites", h->started);
        return 0;
}

static char *url_of(const char *base, const char *path, const json_t *query)
{
        struct buf b = { 0 };
        buf_printf(&b, "%s%s", strncmp(base, "unix:", 5) == 0 ? "http://localhost" : base, path);
        size_t i;
        json_t *pair;
        json_array_foreach(query, i, pair)
        {
                char *k = http_escape(json_string_value(json_array_get(pair, 0)));
                char *v = http_escape(json_string_value(json_array_get(pair, 1)));
                buf_printf(&b, "%c%s=%s", i == 0 && strchr(path, '?') == NULL ? '?' : '&', k, v);
                free(k);
                free(v);
        }
        return (char *)(buf_cstr(&b) != NULL ? b.p : NULL);
}

static void print_curl(const char *method, const char *url, const char *body)
{
        printf("curl -X %s", method);
        if (body != NULL) printf(" -H 'Content-Type: application/json' -d '%s'", body);
        printf(" '%s'\n", url);
}

static void set_request(struct http *h, const char *base, const char *url, const char *method,
        const char *body, struct curl_slist *headers, struct buf *into)
{
        CURL *c = h->curl;
        curl_easy_reset(c);
        curl_easy_setopt(c, CURLOPT_URL, url);
        curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
        curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
        if (strncmp(base, "unix:", 5) == 0) curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, base + 5);
        if (body != NULL) curl_easy_setopt(c, CURLOPT_POSTFIELDS, body);
        curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(c, CURLOPT_WRITEDATA, into);
        curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
        curl_easy_setopt(c, CURLOPT_TIMEOUT, h->options.timeout_s);
        curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
        curl_easy_setopt(c, CURLOPT_XFERINFODATA, h);
        curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, "");
        if (h->ca != NULL) curl_easy_setopt(c, CURLOPT_CAINFO, h->ca);
        if (h->cert != NULL) curl_easy_setopt(c, CURLOPT_SSLCERT, h->cert);
        if (h->key != NULL) curl_easy_setopt(c, CURLOPT_SSLKEY, h->key);
}

/* Nothing was sent: another controller may be tried, also for a write. */
static bool never_arrived(CURLcode rc)
{
        return rc == CURLE_COULDNT_CONNECT || rc == CURLE_COULDNT_RESOLVE_HOST ||
               rc == CURLE_SSL_CONNECT_ERROR || rc == CURLE_PEER_FAILED_VERIFICATION ||
               rc == CURLE_SSL_CERTPROBLEM || rc == CURLE_SSL_CACERT_BADFILE;
}

/* Reads may be asked again anywhere; writes carry one Idempotency-Key, so that they may be, too. */
static bool ask_another(CURLcode rc)
{
        return never_arrived(rc) || rc == CURLE_GOT_NOTHING || rc == CURLE_RECV_ERROR ||
               rc == CURLE_SEND_ERROR;
}

static struct curl_slist *headers_new(void)
{
        unsigned char id[16];
        char line[64];
        int at = snprintf(line, sizeof line, "Idempotency-Key: ");
        if (getentropy(id, sizeof id) != 0) abort();
        for (size_t i = 0; i < sizeof id; i++)
                at += snprintf(line + at, sizeof line - (size_t)at, "%02x", id[i]);
        struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
        headers = curl_slist_append(headers, "Expect:");
        return curl_slist_append(headers, line);
}

/* A controller was reached, but one side did not like the other's certificate. */
static void explain_tls(const struct http *h)
{
        if (h->cert == NULL || h->key == NULL)
                fprintf(stderr,
                        "outrigger: https needs a client certificate, and none was found: make one with "
                        "`raftctl "
                        "client-cert NAME` on a controller, and put client.crt, client.key and ca.crt into "
                        "~/.config/outrigger or /etc/outrigger\n");
        else
                fprintf(stderr,
                        "outrigger: the certificate used is %s; it must be one of the cluster that is asked, "
                        "and not "
                        "expired: `raftctl client-cert NAME` on a controller makes a new one\n",
                        h->cert);
}

/* What to do when nobody has answered. */
static void explain(const struct http *h, enum cli_exit result, bool reads, bool tls)
{
        if (result == EXIT_TIMEOUT)
                fprintf(stderr,
                        "outrigger: %s`raftctl status` on a controller tells whether there is a quorum\n",
                        reads ? ""
                              : "a change that was sent may still be carried out: look before you repeat "
                                "it. ");
        else if (result == EXIT_CONNECT && tls) explain_tls(h);
        else if (result == EXIT_CONNECT)
                fprintf(stderr,
                        "outrigger: is outrigger-controller running there? Other members can be asked with "
                        "--controllers A,B,C or LS_CONTROLLERS, where http.listen or https.listen lets "
                        "them; `raftctl status` on one of them shows all\n");
}

/* Why that one gave no answer, in words for the user. */
static const char *why(const struct http *h, int at, CURLcode rc, const char *problem)
{
        if (strncmp(h->urls[at], "unix:", 5) == 0 && rc == CURLE_COULDNT_CONNECT)
                return "no controller runs on this machine";
        return problem[0] != 0 ? problem : curl_easy_strerror(rc);
}

/* The request went out, and no answer came in time. */
static bool waited_in_vain(struct http *h, CURLcode rc)
{
        double sent_s = 0;
        return rc == CURLE_OPERATION_TIMEDOUT &&
               curl_easy_getinfo(h->curl, CURLINFO_PRETRANSFER_TIME, &sent_s) == CURLE_OK && sent_s > 0;
}

static enum cli_exit try_all(struct http *h, const char *method, const char *path, const json_t *query,
        const char *body, struct buf *into, int *ret_at)
{
        struct curl_slist *headers = headers_new();
        enum cli_exit result = EXIT_CONNECT;
        char first_problem[CURL_ERROR_SIZE + 256] = "";
        bool tls = false, late = false,
             named = h->options.controllers != NULL && h->options.controllers[0] != 0;
        for (int k = 0; k < h->urls_n && result == EXIT_CONNECT; k++) {
                int at = (h->current + k) % h->urls_n;
                char *url = url_of(h->urls[at], path, query);
                char problem[CURL_ERROR_SIZE] = "";
                buf_reset(into);
                into->limit_bytes = ANSWER_LIMIT_BYTES;
                set_request(h, h->urls[at], url, method, body, headers, into);
                curl_easy_setopt(h->curl, CURLOPT_ERRORBUFFER, problem);
                h->started = time(NULL);
                CURLcode rc = curl_easy_perform(h->curl);
                http_progress(h, NULL, 0);
                if (rc == CURLE_OK) {
                        h->current = *ret_at = at;
                        result = EXIT_OK;
                } else {
                        size_t used = strlen(first_problem);
                        tls |= rc != CURLE_COULDNT_CONNECT && strncmp(url, "https:", 6) == 0;
                        (void)snprintf(first_problem + used, sizeof first_problem - used, "%s%s: %s",
                                used > 0 ? "; " : "", h->urls[at], why(h, at, rc, problem));
                        /* the socket and the port of this machine are one controller: it is asked once */
                        late |= waited_in_vain(h, rc);
                        if (late && !named) result = EXIT_TIMEOUT;
                        else if (!ask_another(rc) && rc != CURLE_OPERATION_TIMEDOUT) result = EXIT_UNEXPECTED;
                }
                free(url);
        }
        if (result == EXIT_CONNECT && late) result = EXIT_TIMEOUT;
        if (result != EXIT_OK) fprintf(stderr, "outrigger: no controller answered: %s\n", first_problem);
        explain(h, result, strcmp(method, "GET") == 0, tls);
        curl_slist_free_all(headers);
        return result;
}

enum cli_exit http_call(struct http *h, const char *method, const char *path, const json_t *query,
        const json_t *body, struct http_answer *ret)
{
        struct buf into = { 0 };
        int at = 0;
        char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY);
        *ret = (struct http_answer){ 0 };
        if (h->options.curl) {
                char *url = url_of(h->urls[0], path, query);
                print_curl(method, url, text);
                free(url);
                free(text);
                return EXIT_OK;
        }
        enum cli_exit result = try_all(h, method, path, query, text, &into, &at);
        free(text);
        if (result != EXIT_OK) {
                buf_done(&into);
                return result;
        }
        (void)curl_easy_getinfo(h->curl, CURLINFO_RESPONSE_CODE, &ret->status);
        ret->where = h->urls[at];
        ret->json = json_loadb((const char *)into.p, into.n, JSON_DECODE_ANY, NULL);
        ret->text = into.n > 0 ? xasprintf("%.*s", (int)into.n, (const char *)into.p) : xstrdup("");
        buf_done(&into);
        return EXIT_OK;
}
