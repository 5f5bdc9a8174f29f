/* Requests and error reports on their way to the leader. HTTP threads. */
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/rest/rest_internal.h"
#include "wire/base/log.h"
#include "wire/codec/codec.h"
#include "wire/def/versions.h"

/* At most so many error reports in a window: a member with a broken disk must not flood the cluster's log. */
#define REPORTS_MAX 10
#define REPORT_WINDOW_MS 60000

/* 8 bytes of this incarnation, 8 of a counter; the high byte tells the threads apart. */
static void next_id(struct worker *w, uint8_t id[REQUEST_ID_SIZE])
{
        uint64_t n = (uint64_t)(w->no + 1) << 56 | ++w->request_counter;
        memcpy(id, w->rest->incarnation, 8);
        for (unsigned i = 0; i < 8; i++) id[8 + i] = (uint8_t)(n >> (56 - 8 * i));
}

static uint64_t next_random(struct worker *w)
{
        struct env *env = w->rest->env;
        if (w->random_left == 0) {
                env->random(env, w->random, sizeof w->random);
                w->random_left = REST_RANDOM_N;
        }
        uint64_t *at = &w->random[--w->random_left], v = *at;
        *at = 0;
        return v;
}

static int encode(struct worker *w, struct request *q, struct buf *out)
{
        struct rest *r = w->rest;
        SET(q, request, wall_ms, (int64_t)r->env->wall_ms(r->env));
        SET(q, request, seed, next_random(w));
        if (r->config.member) SET(q, request, member, r->config.member);
        return enc_msgpack(&request_type, q, out);
}

int rest_request_encode(struct exchange *x, const char *idempotency_key)
{
        struct conn *c = x->conn;
        struct request q = { 0 };
        SET(&q, request, method, x->method);
        SET(&q, request, path, x->path);
        if (*x->query_text) SET(&q, request, query, x->query_text);
        if (x->body.n) SET(&q, request, body, buf_blob(&x->body));
        if (c->user[0]) SET(&q, request, user, c->user);
        if (idempotency_key && *idempotency_key)
                crypto_generichash(x->id, sizeof x->id, (const unsigned char *)idempotency_key,
                        strlen(idempotency_key), NULL, 0);
        else next_id(c->worker, x->id);
        return encode(c->worker, &q, &x->encoded);
}

static bool may_report(struct rest *r, uint64_t *ret_number)
{
        uint64_t now = r->env->now_ms(r->env), window = atomic_load(&r->report_window_ms);
        if (now - window >= REPORT_WINDOW_MS &&
                atomic_compare_exchange_strong(&r->report_window_ms, &window, now))
                atomic_store(&r->report_window_n, 0);
        *ret_number = atomic_fetch_add(&r->reports, 1);
        return atomic_fetch_add(&r->report_window_n, 1) < REPORTS_MAX;
}

static void fill(struct exchange *x, struct error_report *e, int err, const char *what)
{
        struct rest *r = x->conn->rest;
        const char *member = r->config.member ? r->config.member : "controller";
        SET(e, error_report, filename, x->report_id);
        SET(e, error_report, node_name, member);
        SET(e, error_report, error_time, (int64_t)r->env->wall_ms(r->env));
        SET(e, error_report, module, "CONTROLLER");
        SET(e, error_report, version, SOFTWARE_VERSION);
        SET(e, error_report, exception, x->route ? x->route->name : "request");
        SET(e, error_report, exception_message, err_text(err));
        SET(e, error_report, origin_method, x->method);
        SET(e, error_report, text,
                arena_printf(&x->arena, "%s: %s (%d)\nRequest: %s %.*s", what, err_text(err), err, x->method,
                        512, x->path));
}

void rest_report(struct exchange *x, int err, const char *what)
{
        struct rest *r = x->conn->rest;
        uint64_t number;
        bool allowed = may_report(r, &number);
        snprintf(x->report_id, sizeof x->report_id, "ErrorReport-%" PRIX64 "-%.32s-%06" PRIu64,
                r->env->wall_ms(r->env) / 1000, r->config.member ? r->config.member : "controller", number);
        log_error("rest", "%s: %s: %s %.200s: %s", x->report_id, what, x->method, x->path, err_text(err));
        if (!allowed) return;
        struct error_report e = { 0 };
        struct error_reports_body body = { 0 };
        struct request q = { 0 };
        struct buf json = { 0 };
        struct report_post *post = xnew(struct report_post);
        fill(x, &e, err, what);
        SET_N(&body, error_reports_body, reports, &e, 1);
        enc_json(&error_reports_body_type, &body, JSON_DUMP, &json);
        SET(&q, request, method, "POST");
        SET(&q, request, path, "/internal/error-report");
        SET(&q, request, body, buf_blob(&json));
        post->post.kind = POST_REPORT;
        next_id(x->conn->worker, post->id);
        if (json.err || encode(x->conn->worker, &q, &post->encoded) || loopq_push(&r->queue, &post->post.q)) {
                buf_done(&post->encoded);
                free(post);
        }
        buf_done(&json);
}
