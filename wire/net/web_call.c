#include "wire/net/web_call.h"

#include <string.h>

#include "wire/base/mem.h"
#include "wire/net/s3_curl.h"

#define CONNECT_MS 5000L

struct run {
        const struct web_call *call;
        struct buf *answer;
        int err;
};

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
        struct run *r = arg;
        if (r->answer->n + size * n > WEB_ANSWER_MAX) r->err = E_TOO_LARGE;
        else buf_put(r->answer, data, size * n);
        return r->err == 0 && r->answer->err == 0 ? size * n : 0;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t d, curl_off_t e)
{
        const struct run *r = arg;
        (void)a, (void)b, (void)d, (void)e;
        return r->call->cancel != NULL && atomic_load(r->call->cancel);
}

static void set_up(
        const struct s3_curl *lib, CURL *h, struct run *r, const char *url, struct curl_slist *list)
{
        const struct web_call *c = r->call;
        (void)lib->curl_easy_setopt(h, CURLOPT_URL, url);
        (void)lib->curl_easy_setopt(h, CURLOPT_HTTPHEADER, list);
        (void)lib->curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, c->method);
        if (c->body.n != 0) {
                (void)lib->curl_easy_setopt(h, CURLOPT_POSTFIELDS, (const char *)c->body.p);
                (void)lib->curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->body.n);
        }
        (void)lib->curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
        (void)lib->curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
        (void)lib->curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
        (void)lib->curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)c->timeout_ms);
        (void)lib->curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
        (void)lib->curl_easy_setopt(h, CURLOPT_WRITEDATA, r);
        (void)lib->curl_easy_setopt(h, CURLOPT_NOPROGRESS, 0L);
        (void)lib->curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, on_progress);
        (void)lib->curl_easy_setopt(h, CURLOPT_XFERINFODATA, r);
}

static int call_one(
        const struct s3_curl *lib, struct run *r, const char *base, long *ret_status, struct fail *f)
{
        struct arena a = { 0 };
        CURL *h = lib->curl_easy_init();
        if (h == NULL) return fail_set(f, E_LIMIT, "no memory for a request");
        struct curl_slist *list = lib->curl_slist_append(NULL, "Content-Type: application/json");
        list = lib->curl_slist_append(list, "Expect:");
        buf_reset(r->answer);
        set_up(lib, h, r, arena_printf(&a, "%s%s", base, r->call->path), list);
        CURLcode code = lib->curl_easy_perform(h);
        (void)lib->curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, ret_status);
        int err = code == CURLE_OK                    ? 0
                  : r->err != 0                       ? r->err
                  : code == CURLE_ABORTED_BY_CALLBACK ? E_CANCELED
                  : code == CURLE_OPERATION_TIMEDOUT  ? E_TIMEOUT
                                                      : E_CLOSED;
        if (err != 0) (void)fail_set(f, err, "%.120s: %s", base, lib->curl_easy_strerror(code));
        lib->curl_slist_free_all(list);
        lib->curl_easy_cleanup(h);
        arena_done(&a);
        return err;
}

int web_call(const struct web_call *c, struct buf *ret, long *ret_status, struct fail *f)
{
        const struct s3_curl *lib = s3_curl(f);
        struct run r = { .call = c, .answer = ret };
        struct arena a = { 0 };
        int err = lib == NULL ? E_UNSUPPORTED : E_CLOSED;
        for (const char *p = c->urls; lib != NULL && err != 0 && err != E_CANCELED;) {
                size_t n = strcspn(p, ",");
                const char *base = arena_strndup(&a, p, n > 0 && p[n - 1] == '/' ? n - 1 : n);
                err = call_one(lib, &r, base, ret_status, f);
                if (err == 0 && *ret_status == 503 && p[n] == ',')
                        err = E_CLOSED; /* another one may have a leader */
                if (p[n] == '\0') break;
                p += n + 1;
        }
        arena_done(&a);
        return err;
}
