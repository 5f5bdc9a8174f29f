/* What libmicrohttpd calls: request line, head, body, and again after a resume.
 *
 * The happy path of a request: rest_on_uri (request line) - rest_on_request with step X_NEW (head) - X_BODY
 * for each piece of the body - X_BODY at its end: local requests are answered, others are suspended and
 * pushed (X_LOOP) - the loop sets X_DONE and resumes - rest_on_request renders and queues the answer -
 * rest_on_completed. Failures: a head or body that is too large is read to its end, within reason, and
 * answered with an error and "Connection: close"; a body beyond that is answered or cut at once. A client
 * that leaves while its request is suspended is noticed when the answer is sent; rest_on_completed comes all
 * the same. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "controller/rest/rest_internal.h"
#include "wire/codec/codec.h"

/* What a connection keeps for its next request. */
#define KEEP_BYTES ((size_t)16 << 10)

static void reset_buf(struct buf *b)
{
        if (b->cap > KEEP_BYTES) buf_done(b);
        else buf_reset(b);
}

void rest_exchange_reset(struct exchange *x)
{
        reset_buf(&x->uri);
        reset_buf(&x->body);
        reset_buf(&x->encoded);
        reset_buf(&x->answer);
        if (x->arena.used_bytes > KEEP_BYTES) arena_done(&x->arena);
        else arena_reset(&x->arena);
        x->arena.limit_bytes = REST_ARENA_MAX;
        x->step = X_NEW;
        x->kind = X_LOCAL;
        x->path = x->query_text = NULL;
        x->discarded = 0;
        x->too_large = x->head_too_large = x->gzip = x->async = x->cors = false;
        x->route = NULL;
        x->query = (struct query){ 0 };
        x->err = 0;
        x->index = x->term = 0;
        x->reply = (struct reply){ 0 };
        x->waited = NULL;
        x->waited_n = 0;
        x->waiting = false;
        x->report_id[0] = 0;
        x->status = 0;
        x->content_type = "application/json";
        x->allow = NULL;
        x->close = x->preflight = x->stale = false;
        x->stale_ms = 0;
}

void rest_exchange_done(struct exchange *x)
{
        buf_done(&x->uri);
        buf_done(&x->body);
        buf_done(&x->encoded);
        buf_done(&x->answer);
        arena_done(&x->arena);
}

static uint64_t clock_ns(void)
{
        struct timespec ts;
        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

/* "http://host/path" is the path only. */
static const char *origin_form(const char *uri)
{
        if (*uri == '/') return uri;
        const char *p = strstr(uri, "://");
        if (!p) return uri;
        p = strchr(p + 3, '/');
        return p ? p : "/";
}

void *rest_on_uri(void *cls, const char *uri, struct MHD_Connection *mhd)
{
        const union MHD_ConnectionInfo *info =
                MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
        struct conn *c = info ? info->socket_context : NULL;
        if (!c) return NULL;
        struct exchange *x = &c->x;
        rest_exchange_reset(x);
        x->start_ns = clock_ns();
        size_t n = strlen(uri);
        if (n > REST_URI_MAX) {
                x->head_too_large = true;
                uri = "/";
        }
        uri = origin_form(uri);
        n = strcspn(uri, "?");
        buf_put(&x->uri, uri, n);
        buf_put_u8(&x->uri, 0);
        if (uri[n] == '?') buf_put_str(&x->uri, uri + n + 1);
        buf_put_u8(&x->uri, 0);
        x->path = (const char *)x->uri.p;
        x->query_text = x->path + n + 1;
        return c;
}

/* ---- head ---- */

static const char *header(struct exchange *x, const char *name)
{
        return MHD_lookup_connection_value(x->mhd, MHD_HEADER_KIND, name);
}

/* gzip is among the accepted encodings and not with q=0. */
static bool accepts_gzip(const char *v)
{
        while (v && (v = strcasestr(v, "gzip")) != NULL) {
                v += 4;
                const char *p = v + strspn(v, " \t");
                if (*p != ';') return *p == 0 || *p == ',';
                p += 1 + strspn(p + 1, " \t");
                if (strncasecmp(p, "q=0", 3) != 0) return true;
                p += 3;
                if (*p == '.') p += 1 + strspn(p + 1, "0");
                return *p >= '1' && *p <= '9';
        }
        return false;
}

static void check_size(struct exchange *x)
{
        const union MHD_ConnectionInfo *info =
                MHD_get_connection_info(x->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
        if (info && info->header_size > REST_HEAD_MAX) x->head_too_large = true;
        const char *length = header(x, MHD_HTTP_HEADER_CONTENT_LENGTH);
        uint64_t n = length ? strtoull(length, NULL, 10) : 0;
        if (n > x->conn->rest->config.limits.body_bytes_max) x->too_large = true;
        /* Nobody waits for the end of a body that cannot be taken, nor asks for one that is yet to be sent.
         */
        if (x->too_large && (n > REST_DISCARD_MAX || header(x, MHD_HTTP_HEADER_EXPECT))) x->close = true;
}

static void refuse_too_large(struct exchange *x)
{
        x->close = true;
        if (x->head_too_large)
                rest_error(x, 431, RC_FAIL_INVLD_REQUEST, "The request line and headers are too long.",
                        "At most 12 KiB for the address and 16 KiB in total are accepted.",
                        "Use fewer filters or shorter names.");
        else
                rest_error(x, 413, RC_FAIL_INVLD_REQUEST, "The body of the request is too large.",
                        "At most 1 MiB is accepted.", "Split the request.");
}

static enum MHD_Result on_head(struct exchange *x, const char *method)
{
        struct conn *c = x->conn;
        struct rest *r = c->rest;
        rest_conn_phase(c, CONN_RECEIVING);
        atomic_fetch_add_explicit(&c->requests, 1, memory_order_relaxed);
        x->start_ms = atomic_load_explicit(&c->since_ms, memory_order_relaxed);
        x->deadline_ms = x->start_ms + r->config.limits.hold_ms;
        size_t n = strlen(method);
        memcpy(x->method, n < sizeof x->method ? method : "?", n < sizeof x->method ? n + 1 : 2);
        x->gzip = accepts_gzip(header(x, MHD_HTTP_HEADER_ACCEPT_ENCODING));
        x->cors = header(x, MHD_HTTP_HEADER_ORIGIN) != NULL;
        check_size(x);
        if (c->worker->tls && !c->checked) {
                c->auth_err = rest_tls_check(c, x->mhd);
                c->checked = true;
        }
        x->step = X_BODY;
        if (!(x->too_large && x->close)) return MHD_YES;
        refuse_too_large(x);
        return rest_send(x);
}

static enum MHD_Result on_body(struct exchange *x, const char *data, size_t n)
{
        size_t max = x->conn->rest->config.limits.body_bytes_max;
        if (!x->too_large && x->body.n + n > max) {
                x->too_large = true;
                x->discarded = x->body.n;
                buf_done(&x->body);
        }
        if (!x->too_large) {
                buf_put(&x->body, data, n);
                return x->body.err ? MHD_NO : MHD_YES;
        }
        x->discarded += n;
        return x->discarded > REST_DISCARD_MAX ? MHD_NO : MHD_YES;
}

/* ---- whole request ---- */

static enum MHD_Result hand_over(struct exchange *x)
{
        x->step = X_LOOP;
        x->post.kind = POST_EXCHANGE;
        MHD_suspend_connection(x->mhd);
        if (loopq_push(&x->conn->rest->queue, &x->post.q) == 0) return MHD_YES; /* x is the loop's now */
        x->err = E_LIMIT;
        x->step = X_DONE;
        MHD_resume_connection(x->mhd);
        return MHD_YES;
}

/* What is no JSON at all, or not of the declared shape, does not bother the leader. */
static bool check_body(struct exchange *x)
{
        const struct route *route = x->route;
        struct fail f = { 0 };
        int err = 0;
        uint32_t n;
        void *list;
        if (route->form == FORM_OBJ)
                err = dec_json(route->body_type, buf_blob(&x->body), &x->arena,
                        arena_alloc(&x->arena, route->body_type->size), &f);
        else if (route->form == FORM_LIST)
                err = dec_json_list(route->body_type, buf_blob(&x->body), &x->arena, &list, &n, &f);
        if (err)
                rest_error(x, 400, RC_FAIL_API_CALL_PARSE, f.text, "The body of the request is malformed.",
                        NULL);
        return err == 0;
}

static enum MHD_Result submit_write(struct exchange *x)
{
        x->kind = X_WRITE;
        x->async = query_bool(&x->query, "async", false);
        if (rest_secret_is(x->route) && !rest_secret_prepare(x)) return rest_send(x);
        if (!check_body(x)) return rest_send(x);
        x->err = rest_request_encode(x, header(x, "Idempotency-Key"));
        if (!x->err) return hand_over(x);
        rest_render(x);
        return rest_send(x);
}

static enum MHD_Result dispatch(struct exchange *x)
{
        const struct route *route = x->route;
        if (rest_remote_is(route)) { /* with the newest state, like any read; then the bucket is asked */
                x->kind = X_READ;
                return hand_over(x);
        }
        switch (route->kind) {
        case ROUTE_LOCAL:
                if (route->id == ROUTE_events_promotion) return rest_stream_send(x, EVENTS_PROMOTION);
                if (route->id == ROUTE_events_nodes) return rest_stream_send(x, EVENTS_NODES);
                rest_local(x);
                return rest_send(x);
        case ROUTE_READ: {
                const char *consistency = query_get(&x->query, "consistency");
                x->kind = X_READ;
                if (!consistency || strcasecmp(consistency, "stale") != 0) return hand_over(x);
                x->stale = true;
                rest_render(x);
                return rest_send(x);
        }
        case ROUTE_WRITE: break;
        }
        return submit_write(x);
}

static bool is_preflight(struct exchange *x)
{
        return x->cors && strcmp(x->method, "OPTIONS") == 0 && header(x, "Access-Control-Request-Method");
}

static enum MHD_Result on_whole(struct exchange *x)
{
        rest_conn_phase(x->conn, CONN_WORKING);
        if (x->conn->auth_err) {
                x->close = true;
                rest_error(x, 403, RC_FAIL_ACC_DENIED_COMMAND, "The client certificate may not use this API.",
                        "It is not of this cluster, or not of a client.", NULL);
        } else if (x->head_too_large || x->too_large) {
                refuse_too_large(x);
        } else if (is_preflight(x)) {
                rest_preflight(x);
        } else {
                x->route = route_find(x->method, x->path, &x->arena, &x->match);
                query_parse(x->query_text, &x->arena, &x->query);
                if (x->route) return dispatch(x);
                rest_unknown(x);
        }
        return rest_send(x);
}

enum MHD_Result rest_on_request(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
        const char *version, const char *data, size_t *data_n, void **con_cls)
{
        struct conn *c = *con_cls;
        if (!c) return MHD_NO;
        struct exchange *x = &c->x;
        enum MHD_Result result = MHD_NO;
        switch (x->step) {
        case X_NEW: x->mhd = mhd; return on_head(x, method);
        case X_BODY:
                if (*data_n == 0) return on_whole(x);
                result = on_body(x, data, *data_n);
                *data_n = 0;
                return result;
        case X_BACK: return x->status != 0 ? rest_send(x) : submit_write(x);
        case X_DONE:
                if (!x->err && x->kind == X_READ && rest_remote_is(x->route)) return rest_remote_begin(x);
                rest_render(x);
                return rest_send(x);
        case X_OUT:
        case X_LOOP:
        case X_ANSWERED: break;
        }
        return result;
}

void rest_on_completed(
        void *cls, struct MHD_Connection *mhd, void **con_cls, enum MHD_RequestTerminationCode why)
{
        struct worker *w = cls;
        struct conn *c = *con_cls;
        *con_cls = NULL;
        if (!c) return;
        struct exchange *x = &c->x;
        bool streamed = x->stream != NULL;
        rest_stream_end(x);
        if (x->step == X_ANSWERED && !streamed)
                metrics_request(w->rest->metrics, w->no, x->route ? (unsigned)x->route->id : ROUTE_N,
                        x->status, clock_ns() - x->start_ns);
        rest_exchange_reset(x);
        rest_conn_phase(c, CONN_IDLE);
}
