#include "wire/net/s3.h"

#include "wire/net/s3_curl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STALL_S 30L
#define CONNECT_MS 10000L
#define ANSWER_MAX ((size_t)8 << 20)

struct call {
        const struct s3_curl *lib;
        const struct s3_target *target;
        const char *method, *key;
        struct s3_query query[4];
        uint32_t query_n;
        const char *base; /* scheme and host of the request, for messages */
        struct blob body;
        bool bulk; /* no deadline but that it goes on */
        bool stubborn;
        /* what comes back */
        struct buf answer;
        size_t answer_max;
        s3_sink_fn *sink;
        void *sink_arg;
        int sink_err;
        CURL *curl;
        char etag[128];
};

/* ---- answers ---- */

static const char *unescape(const char *s, size_t n, struct arena *a)
{
        static const struct {
                const char *entity;
                char c;
        } table[] = { { "&amp;", '&' }, { "&lt;", '<' }, { "&gt;", '>' }, { "&quot;", '"' },
                { "&apos;", '\'' }, { "&#34;", '"' }, { "&#39;", '\'' } };
        char *out = arena_alloc(a, n + 1), *p = out;
        for (size_t i = 0; i < n;) {
                size_t step = 1;
                char c = s[i];
                for (size_t k = 0; c == '&' && k < ARRAY_LEN(table); k++) {
                        size_t m = strlen(table[k].entity);
                        if (n - i < m || strncmp(s + i, table[k].entity, m) != 0) continue;
                        c = table[k].c;
                        step = m;
                        break;
                }
                *p++ = c;
                i += step;
        }
        *p = '\0';
        return out;
}

uint32_t s3_xml_all(const char *xml, const char *element, struct arena *a, const char ***ret)
{
        const char *open = arena_printf(a, "<%s>", element), *close = arena_printf(a, "</%s>", element);
        uint32_t n = 0, cap = 0;
        const char **list = NULL;
        for (const char *p = xml; (p = strstr(p, open)) != NULL;) {
                p += strlen(open);
                const char *end = strstr(p, close);
                if (end == NULL) break;
                if (n == cap) {
                        cap = cap != 0 ? 2 * cap : 64;
                        const char **more = arena_alloc(a, cap * sizeof *more);
                        if (n != 0) memcpy(more, list, n * sizeof *more);
                        list = more;
                }
                list[n++] = unescape(p, (size_t)(end - p), a);
                p = end;
        }
        *ret = list;
        return n;
}

static const char *xml_one(struct buf *b, const char *element, struct arena *a)
{
        const char **list;
        return s3_xml_all(buf_cstr(b), element, a, &list) != 0 ? list[0] : NULL;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
        struct call *c = arg;
        long status = 0;
        (void)c->lib->curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
        if (c->sink != NULL && status >= 200 && status < 300) {
                c->sink_err = c->sink(c->sink_arg, (const uint8_t *)data, size * n);
                return c->sink_err == 0 ? size * n : 0;
        }
        if (c->answer.n + size * n > c->answer_max) {
                c->sink_err = E_TOO_LARGE;
                return 0;
        }
        buf_put(&c->answer, data, size * n);
        return c->answer.err == 0 ? size * n : 0;
}

static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
        struct call *c = arg;
        size_t len = size * n;
        if (len < 5 || strncasecmp(data, "ETag:", 5) != 0) return len;
        size_t from = 5;
        while (from < len && data[from] == ' ') from++;
        while (len > from && (data[len - 1] == '\r' || data[len - 1] == '\n')) len--;
        if (len - from < sizeof c->etag) {
                memcpy(c->etag, data + from, len - from);
                c->etag[len - from] = '\0';
        }
        return size * n;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t d, curl_off_t e)
{
        const struct call *c = arg;
        (void)a, (void)b, (void)d, (void)e;
        return !c->stubborn && c->target->cancel != NULL && atomic_load(c->target->cancel);
}

/* ---- one request ---- */

static struct curl_slist *headers(const struct call *c, const char *host, const char *path, struct arena *a)
{
        char hash[S3_HASH_HEX];
        s3_sha256(c->body, hash);
        struct s3_signing s = { .method = c->method,
                .host = host,
                .path = path,
                .query = c->query,
                .query_n = c->query_n,
                .body_hash = hash,
                .region = c->target->region,
                .access_key = c->target->access_key,
                .secret_key = c->target->secret_key,
                .time = s3_time((int64_t)time(NULL), a) };
        const char *lines[] = { arena_printf(a, "Authorization: %s", s3_authorization(&s, a)),
                arena_printf(a, "x-amz-content-sha256: %s", hash), arena_printf(a, "x-amz-date: %s", s.time),
                "Expect:", "Content-Type: application/octet-stream" };
        struct curl_slist *list = NULL;
        for (size_t i = 0; i < ARRAY_LEN(lines); i++) list = c->lib->curl_slist_append(list, lines[i]);
        return list;
}

static void set_up(struct call *c, const char *url, struct curl_slist *list)
{
        CURL *h = c->curl;
        (void)c->lib->curl_easy_setopt(h, CURLOPT_URL, url);
        (void)c->lib->curl_easy_setopt(h, CURLOPT_HTTPHEADER, list);
        (void)c->lib->curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, c->method);
        if (strcmp(c->method, "PUT") == 0 || strcmp(c->method, "POST") == 0) {
                (void)c->lib->curl_easy_setopt(
                        h, CURLOPT_POSTFIELDS, c->body.n != 0 ? (const char *)c->body.p : "");
                (void)c->lib->curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->body.n);
        }
        (void)c->lib->curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
        (void)c->lib->curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
        (void)c->lib->curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
        (void)c->lib->curl_easy_setopt(h, CURLOPT_LOW_SPEED_LIMIT, 1L);
        (void)c->lib->curl_easy_setopt(h, CURLOPT_LOW_SPEED_TIME, STALL_S);
        if (!c->bulk) (void)c->lib->curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)c->target->timeout_ms);
        (void)c->lib->curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
        (void)c->lib->curl_easy_setopt(h, CURLOPT_WRITEDATA, c);
        (void)c->lib->curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
        (void)c->lib->curl_easy_setopt(h, CURLOPT_HEADERDATA, c);
        (void)c->lib->curl_easy_setopt(h, CURLOPT_NOPROGRESS, 0L);
        (void)c->lib->curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, on_progress);
        (void)c->lib->curl_easy_setopt(h, CURLOPT_XFERINFODATA, c);
}

static int transport_error(struct call *c, CURLcode code, struct fail *f)
{
        if (c->sink_err != 0) {
                if (f->err != 0) return c->sink_err;
                return fail_set(f, c->sink_err, "the object '%s' cannot be taken", c->key);
        }
        if (code == CURLE_ABORTED_BY_CALLBACK) return fail_set(f, E_CANCELED, "it was stopped");
        int err = code == CURLE_OPERATION_TIMEDOUT ? E_TIMEOUT : E_PROTOCOL;
        return fail_set(f, err, "%s: %s", c->base, c->lib->curl_easy_strerror(code));
}

static int status_error(struct call *c, long status, struct fail *f)
{
        struct arena a = { 0 };
        const char *code = xml_one(&c->answer, "Code", &a), *text = xml_one(&c->answer, "Message", &a);
        int err = status == 404 ? E_NOT_FOUND : status == 401 || status == 403 ? E_AUTH : E_PROTOCOL;
        (void)fail_set(f, err, "%s answered %ld to %s '%.200s'%s%.100s%s%.200s", c->base, status, c->method,
                c->key, code != NULL ? ": " : "", code != NULL ? code : "", text != NULL ? ": " : "",
                text != NULL ? text : "");
        arena_done(&a);
        return err;
}

/* https://host[:port]; the bucket stands in front of the host, or in the path. */
static void address(
        const struct call *c, struct arena *a, const char **host, const char **path, const char **base)
{
        const struct s3_target *t = c->target;
        const char *scheme = strncmp(t->endpoint, "http://", 7) == 0 ? "http://" : "https://";
        const char *rest = strstr(t->endpoint, "://") != NULL ? strstr(t->endpoint, "://") + 3 : t->endpoint;
        const char *bare = arena_strndup(a, rest, strcspn(rest, "/"));
        *host = t->path_style ? bare : arena_printf(a, "%s.%s", t->bucket, bare);
        const char *key = s3_escape(c->key, true, a);
        *path = t->path_style ? arena_printf(a, "/%s%s%s", s3_escape(t->bucket, false, a),
                                        *key != '\0' ? "/" : "", key)
                              : arena_printf(a, "/%s", key);
        *base = arena_printf(a, "%s%s", scheme, *host);
}

static int run(struct call *c, struct fail *f)
{
        struct arena a = { 0 };
        const char *host, *path, *base;
        long status = 0;
        if (c->answer_max == 0) c->answer_max = ANSWER_MAX;
        c->lib = s3_curl(f);
        if (c->lib == NULL) return E_UNSUPPORTED;
        c->curl = c->lib->curl_easy_init();
        if (c->curl == NULL) return fail_set(f, E_LIMIT, "no memory for a request");
        address(c, &a, &host, &path, &base);
        c->base = base;
        const char *query = s3_query_text(c->query, c->query_n, &a);
        struct curl_slist *list = headers(c, host, path, &a);
        set_up(c, arena_printf(&a, "%s%s%s%s", base, path, *query != '\0' ? "?" : "", query), list);
        CURLcode code = c->lib->curl_easy_perform(c->curl);
        int err = code != CURLE_OK ? transport_error(c, code, f) : 0;
        if (err == 0) {
                (void)c->lib->curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
                if (status < 200 || status > 299) err = status_error(c, status, f);
        }
        c->lib->curl_slist_free_all(list);
        c->lib->curl_easy_cleanup(c->curl);
        arena_done(&a);
        return err;
}

/* ---- objects ---- */

int s3_get(const struct s3_target *t, const char *key, size_t max_bytes, struct buf *ret, struct fail *f)
{
        struct call c = { .target = t, .method = "GET", .key = key, .answer_max = max_bytes };
        int err = run(&c, f);
        if (err == 0) buf_put(ret, c.answer.p, c.answer.n);
        buf_done(&c.answer);
        return err != 0 ? err : ret->err;
}

int s3_read(const struct s3_target *t, const char *key, s3_sink_fn *sink, void *arg, struct fail *f)
{
        struct call c = {
                .target = t, .method = "GET", .key = key, .bulk = true, .sink = sink, .sink_arg = arg
        };
        int err = run(&c, f);
        buf_done(&c.answer);
        return err;
}

int s3_put(const struct s3_target *t, const char *key, struct blob data, struct fail *f)
{
        struct call c = { .target = t, .method = "PUT", .key = key, .body = data };
        int err = run(&c, f);
        buf_done(&c.answer);
        return err;
}

int s3_delete(const struct s3_target *t, const char *key, struct fail *f)
{
        struct call c = { .target = t, .method = "DELETE", .key = key };
        int err = run(&c, f);
        buf_done(&c.answer);
        return err == E_NOT_FOUND ? 0 : err;
}

static int list_page(const struct s3_target *t, const char *prefix, const char *next, uint32_t max,
        struct buf *ret, struct fail *f)
{
        struct call c = { .target = t, .method = "GET", .key = "" };
        char keys[16];
        snprintf(keys, sizeof keys, "%u", max != 0 ? MIN(max, 1000U) : 1000U);
        c.query[c.query_n++] = (struct s3_query){ "list-type", "2" };
        c.query[c.query_n++] = (struct s3_query){ "max-keys", keys };
        c.query[c.query_n++] = (struct s3_query){ "prefix", prefix };
        if (next != NULL) c.query[c.query_n++] = (struct s3_query){ "continuation-token", next };
        int err = run(&c, f);
        if (err == 0) buf_put(ret, c.answer.p, c.answer.n);
        buf_done(&c.answer);
        return err;
}

int s3_list(const struct s3_target *t, const char *prefix, uint32_t max, struct arena *a,
        struct s3_object **ret, uint32_t *ret_n, struct fail *f)
{
        const char *next = NULL;
        uint32_t n = 0, cap = 0;
        *ret = NULL;
        do {
                struct buf page = { 0 };
                const char **keys, **sizes;
                int err = list_page(t, prefix, next, max, &page, f);
                if (err != 0) {
                        buf_done(&page);
                        return err;
                }
                uint32_t keys_n = s3_xml_all(buf_cstr(&page), "Key", a, &keys);
                uint32_t sizes_n = s3_xml_all(buf_cstr(&page), "Size", a, &sizes);
                next = xml_one(&page, "NextContinuationToken", a);
                buf_done(&page);
                if (n + keys_n > S3_OBJECTS_MAX)
                        return fail_set(
                                f, E_TOO_LARGE, "the bucket has more than %u objects", S3_OBJECTS_MAX);
                if (n + keys_n > cap) {
                        cap = 2 * (n + keys_n);
                        struct s3_object *more = arena_alloc(a, cap * sizeof *more);
                        if (n != 0) memcpy(more, *ret, n * sizeof *more);
                        *ret = more;
                }
                for (uint32_t i = 0; i < keys_n; i++)
                        (*ret)[n++] =
                                (struct s3_object){ keys[i], i < sizes_n ? strtoull(sizes[i], NULL, 10) : 0 };
        } while (next != NULL && (max == 0 || n < max));
        *ret_n = n;
        return 0;
}

/* ---- uploads in parts ---- */

static int abort_one(const struct s3_target *t, const char *key, const char *id, struct fail *f)
{
        struct call c = { .target = t, .method = "DELETE", .key = key, .stubborn = true };
        c.query[c.query_n++] = (struct s3_query){ "uploadId", id };
        int err = run(&c, f);
        buf_done(&c.answer);
        return err == E_NOT_FOUND ? 0 : err;
}

static int abort_earlier(struct s3_upload *u, struct fail *f)
{
        struct call c = { .target = u->target, .method = "GET", .key = "" };
        const char **keys, **ids;
        c.query[c.query_n++] = (struct s3_query){ "uploads", "" };
        c.query[c.query_n++] = (struct s3_query){ "prefix", u->key };
        int err = run(&c, f);
        uint32_t n = err == 0 ? s3_xml_all(buf_cstr(&c.answer), "UploadId", &u->arena, &ids) : 0;
        uint32_t keys_n = err == 0 ? s3_xml_all(buf_cstr(&c.answer), "Key", &u->arena, &keys) : 0;
        for (uint32_t i = 0; i < n && i < keys_n && err == 0; i++)
                if (strcmp(keys[i], u->key) == 0) err = abort_one(u->target, u->key, ids[i], f);
        buf_done(&c.answer);
        return err;
}

int s3_upload_begin(struct s3_upload *u, const struct s3_target *t, const char *key, struct fail *f)
{
        *u = (struct s3_upload){ .target = t, .key = key };
        int err = abort_earlier(u, f);
        struct call c = { .target = t, .method = "POST", .key = key };
        c.query[c.query_n++] = (struct s3_query){ "uploads", "" };
        if (err == 0) err = run(&c, f);
        if (err == 0) u->id = xml_one(&c.answer, "UploadId", &u->arena);
        buf_done(&c.answer);
        if (err == 0 && u->id == NULL) err = fail_set(f, E_PROTOCOL, "%s names no upload", t->endpoint);
        if (err != 0) arena_done(&u->arena);
        return err;
}

int s3_upload_part(struct s3_upload *u, struct blob data, struct fail *f)
{
        char number[16];
        struct call c = { .target = u->target, .method = "PUT", .key = u->key, .body = data, .bulk = true };
        if (u->parts_n == S3_PARTS_MAX) return fail_set(f, E_TOO_LARGE, "the upload has too many parts");
        snprintf(number, sizeof number, "%u", u->parts_n + 1);
        c.query[c.query_n++] = (struct s3_query){ "partNumber", number };
        c.query[c.query_n++] = (struct s3_query){ "uploadId", u->id };
        int err = run(&c, f);
        buf_done(&c.answer);
        if (err == 0 && c.etag[0] == '\0')
                err = fail_set(f, E_PROTOCOL, "%s gave a part no tag", u->target->endpoint);
        if (err == 0) u->etags[u->parts_n++] = arena_strdup(&u->arena, c.etag);
        return err;
}

int s3_upload_end(struct s3_upload *u, struct fail *f)
{
        struct buf xml = { 0 };
        buf_put_str(&xml, "<CompleteMultipartUpload>");
        for (uint32_t i = 0; i < u->parts_n; i++)
                buf_printf(
                        &xml, "<Part><PartNumber>%u</PartNumber><ETag>%s</ETag></Part>", i + 1, u->etags[i]);
        buf_put_str(&xml, "</CompleteMultipartUpload>");
        struct call c = {
                .target = u->target, .method = "POST", .key = u->key, .body = buf_blob(&xml), .bulk = true
        };
        c.query[c.query_n++] = (struct s3_query){ "uploadId", u->id };
        int err = xml.err != 0 ? xml.err : run(&c, f);
        /* It may fail although the answer began with 200. */
        if (err == 0 && strstr(buf_cstr(&c.answer), "<Error>") != NULL) err = status_error(&c, 200, f);
        buf_done(&c.answer);
        buf_done(&xml);
        if (err != 0) {
                s3_upload_abort(u);
                return err;
        }
        arena_done(&u->arena);
        return 0;
}

void s3_upload_abort(struct s3_upload *u)
{
        struct fail f = { 0 };
        (void)abort_one(u->target, u->key, u->id, &f);
        arena_done(&u->arena);
}
