/* Answers: what came of a request as status and JSON, and its way out. HTTP threads. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/rest/rest_internal.h"
#include "controller/view/view.h"
#include "wire/base/log.h"
#include "wire/codec/codec.h"

/* Why a request could not be carried out, for the user. */
static const struct outcome {
        int err;
        const char *message, *cause, *correction;
} outcomes[] = {
        { E_NO_QUORUM, "The request was not carried out: the controllers have no leader.",
                "Less than a majority of the controllers can reach each other.",
                "Bring controllers or the network back; 'raftctl status' on this member shows who is "
                "missing." },
        { E_UNKNOWN_OUTCOME, "It is not known whether the request was carried out.",
                "The controllers lost their leader while the request was under way and found no new one in "
                "time, "
                "or this one lost the others for so long that they no longer keep the answer.",
                "Look whether the change is there before repeating it. A repetition with the same "
                "Idempotency-Key "
                "is carried out once at most." },
        { E_CANCELED, "It is not known whether the request was carried out.",
                "This controller is being stopped.",
                "Look whether the change is there before repeating it at another controller." },
        { E_LIMIT, "The request was not carried out: too many requests are waiting.",
                "This controller is overloaded.", "Try again later." },
        { E_BUSY, "The request was not carried out: the controller is busy.", NULL, "Try again later." },
        { E_TOO_LARGE, "The request or its answer is too large.", NULL, "Use filters, or limit and offset." },
        { E_NO_SPACE, "The request was not carried out: no space is left on the disk of the controllers.",
                "The file system of the controllers' data directory is full.",
                "Free space on it; the controllers go on by themselves." },
};

static void fail_outcome(struct exchange *x)
{
        /* A read has no outcome that could matter later. */
        if (x->kind != X_WRITE && (x->err == E_CANCELED || x->err == E_UNKNOWN_OUTCOME)) {
                rest_error(x, 500, RC_FAIL_UNKNOWN_ERROR, "The request was not answered.",
                        "This controller is being stopped.", "Ask another controller.");
                return;
        }
        for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
                const struct outcome *o = &outcomes[i];
                if (o->err != x->err) continue;
                rest_error(x, 500, RC_FAIL_UNKNOWN_ERROR, o->message, o->cause, o->correction);
                return;
        }
        rest_report(x, x->err, x->kind == X_WRITE ? "a write failed" : "a read failed");
        rest_error(x, 500, RC_FAIL_IMPL_ERROR, "An internal error occurred.", err_text(x->err),
                "The error report says more.");
}

/* A saga that fails takes everything back, and so does a pool out of disks; also what the first part of the answer said of it. */
static bool taken_back(const struct exchange *x)
{
        bool saga = false, failed = false;
        for (uint32_t i = 0; i < x->reply.waits_n; i++)
                saga |= x->reply.waits[i].saga != NULL || x->reply.waits[i].disk_pool != NULL;
        for (uint32_t i = 0; i < x->waited_n; i++)
                failed |= apirc_severity(x->waited[i].ret_code) == APIRC_ERROR;
        return saga && failed;
}

static void render_write(struct exchange *x)
{
        const struct reply *reply = &x->reply;
        x->status = reply->status >= 200 && reply->status <= 599 ? (unsigned)reply->status : 200;
        if (reply->json.n) {
                buf_put(&x->answer, reply->json.p, reply->json.n);
                return;
        }
        if (x->waited_n == 0) {
                apirc_render(reply->rcs, reply->rcs_n, &x->answer);
                return;
        }
        bool back = taken_back(x);
        uint32_t n = 0;
        struct api_rc *all = arena_array(&x->arena, struct api_rc, reply->rcs_n + x->waited_n);
        if (!all) {
                x->answer.err = E_TOO_LARGE;
                return;
        }
        for (uint32_t i = 0; i < reply->rcs_n; i++)
                if (!back || apirc_severity(reply->rcs[i].ret_code) != APIRC_SUCCESS)
                        all[n++] = reply->rcs[i];
        memcpy(all + n, x->waited, x->waited_n * sizeof *all);
        n += x->waited_n;
        if (x->status < 400) x->status = apirc_http_status(x->waited, x->waited_n, x->status);
        apirc_render(all, n, &x->answer);
}

static int render_read(struct exchange *x)
{
        struct rest *r = x->conn->rest;
        const struct rest_backend *b = r->config.backend;
        struct rest_view v = { 0 };
        int err = b->view_begin(r->config.backend_arg, &v);
        if (err) return err;
        struct view view = { .tx = v.wanted,
                .observed = v.observed,
                .route = x->route,
                .params = x->match.params,
                .query = &x->query,
                .arena = &x->arena,
                .out = &x->answer,
                .wall_ms = r->env->wall_ms(r->env) };
        view_run(&view, buf_blob(&x->body));
        x->status = view.status;
        x->index = v.index;
        err = v.wanted->err;
        if (!err && v.observed) err = v.observed->err;
        b->view_end(r->config.backend_arg, &v);
        return err;
}

static uint64_t stale_ms(struct rest *r)
{
        uint64_t since = atomic_load(&r->pub_no_quorum_since_ms), now = r->env->now_ms(r->env);
        return since && now > since ? now - since : 0;
}

void rest_render(struct exchange *x)
{
        x->answer.limit_bytes = REST_ANSWER_MAX;
        if (!x->err && x->kind == X_READ) x->err = render_read(x);
        else if (!x->err) render_write(x);
        if (!x->err && x->answer.err) x->err = x->answer.err;
        if (x->stale) x->stale_ms = stale_ms(x->conn->rest);
        if (x->err) fail_outcome(x);
}

/* ---- the way out ---- */

/* Replaces the answer by its compressed form; leaves it alone when that fails. */
static bool compress_answer(struct exchange *x)
{
        struct worker *w = x->conn->worker;
        if (!w->z_ready) {
                if (deflateInit2(&w->z, 3, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) return false;
                w->z_ready = true;
        }
        deflateReset(&w->z);
        struct buf out = { 0 };
        size_t bound = deflateBound(&w->z, (uLong)x->answer.n);
        w->z.next_in = x->answer.p;
        w->z.avail_in = (uInt)x->answer.n;
        w->z.next_out = buf_reserve(&out, bound);
        w->z.avail_out = (uInt)bound;
        if (!w->z.next_out || deflate(&w->z, Z_FINISH) != Z_STREAM_END) {
                buf_done(&out);
                return false;
        }
        buf_advance(&out, bound - w->z.avail_out);
        buf_done(&x->answer);
        x->answer = out;
        return true;
}

static void add(struct MHD_Response *m, const char *name, const char *value)
{
        if (MHD_add_response_header(m, name, value) != MHD_YES)
                log_warn("rest", "header %s was not added", name);
}

static void add_u64(struct MHD_Response *m, const char *name, uint64_t v)
{
        char text[24];
        snprintf(text, sizeof text, "%" PRIu64, v);
        add(m, name, text);
}

static bool leaves(struct exchange *x)
{
        struct rest *r = x->conn->rest;
        if (x->conn->listener != REST_UNIX && atomic_load_explicit(&r->leaving_tcp, memory_order_relaxed))
                return true;
        return atomic_load_explicit(&r->leaving_all, memory_order_relaxed);
}

void rest_headers(struct exchange *x, struct MHD_Response *m, size_t n, bool zipped)
{
        struct rest *r = x->conn->rest;
        add_u64(m, "X-Outrigger-Index", x->index ? x->index : atomic_load(&r->pub_index));
        /* An answer that was kept for long knows the index of its entry, but no term: today's would be another entry's. */
        if (x->kind != X_WRITE || x->term || !x->index)
                add_u64(m, "X-Outrigger-Term", x->term ? x->term : atomic_load(&r->pub_term));
        add(m, "Cache-Control", "no-store");
        if (n) add(m, "Content-Type", x->content_type);
        if (zipped) add(m, "Content-Encoding", "gzip");
        if (n >= REST_GZIP_MIN) add(m, "Vary", "Accept-Encoding");
        if (x->stale) add_u64(m, "X-Outrigger-Stale-Ms", x->stale_ms);
        if (x->allow) add(m, "Allow", x->allow);
        if (x->cors) {
                add(m, "Access-Control-Allow-Origin", "*");
                add(m, "Access-Control-Allow-Credentials", "true");
                add(m, "Access-Control-Expose-Headers",
                        "X-Outrigger-Index, X-Outrigger-Term, X-Outrigger-Stale-Ms");
        }
        if (x->preflight) {
                add(m, "Access-Control-Allow-Methods", "GET, POST, PUT, DELETE, PATCH, OPTIONS, HEAD");
                add(m, "Access-Control-Allow-Headers",
                        "origin, content-type, accept, authorization, idempotency-key");
                add(m, "Access-Control-Max-Age", "86400");
        }
        if (x->close || leaves(x)) add(m, "Connection", "close");
}

enum MHD_Result rest_send(struct exchange *x)
{
        rest_conn_phase(x->conn, CONN_SENDING);
        size_t plain_n = x->answer.n;
        bool zipped = x->gzip && plain_n >= REST_GZIP_MIN && compress_answer(x);
        size_t n;
        void *p = buf_take(&x->answer, &n);
        struct MHD_Response *m =
                MHD_create_response_from_buffer(n, p, p ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
        if (!m) {
                free(p);
                return MHD_NO;
        }
        rest_headers(x, m, plain_n, zipped);
        x->step = X_ANSWERED;
        enum MHD_Result result = MHD_queue_response(x->mhd, x->status, m);
        MHD_destroy_response(m);
        return result;
}
