/* The loop's part of a request: from the queue to the back end, to the waiter, and back to the HTTP thread.
 *
 * Everything that the back end or the waiter owes is a struct call; an exchange that is answered without it
 * (late, closing) takes itself off the call, and the late callback finds nobody. All reads of one batch share
 * one call. */
#include <stdlib.h>
#include <string.h>

#include "controller/rest/rest_internal.h"
#include "wire/base/log.h"
#include "wire/codec/codec.h"

static struct call *call_new(struct rest *r)
{
        struct call *call = xnew(struct call);
        call->rest = r;
        list_init(&call->exchanges);
        r->live++;
        return call;
}

/* The last statement of every callback. */
static void call_end(struct call *call)
{
        struct rest *r = call->rest;
        assert(list_empty(&call->exchanges));
        free(call);
        rest_settle(r);
}

/* The exchange goes back to its HTTP thread, at the end of this turn of the loop. */
static void finish(struct exchange *x, int err)
{
        struct rest *r = x->conn->rest;
        x->err = err;
        x->step = X_DONE;
        list_remove(&x->call_node);
        list_remove(&x->active);
        if (list_empty(&r->done)) uv_idle_start(&r->flush, rest_on_flush);
        list_push_back(&r->done, &x->active);
}

void rest_on_flush(uv_idle_t *idle)
{
        struct rest *r = idle->data;
        uv_idle_stop(idle);
        while (!list_empty(&r->done)) {
                struct exchange *x = list_first(&r->done, struct exchange, active);
                list_remove(&x->active);
                MHD_resume_connection(x->mhd); /* from here on x is the HTTP thread's */
        }
}

static struct exchange *only(struct call *call)
{
        return list_empty(&call->exchanges) ? NULL : list_first(&call->exchanges, struct exchange, call_node);
}

static int copy_entries(struct exchange *x, const struct api_rc *rcs, uint32_t n)
{
        x->waited = arena_array(&x->arena, struct api_rc, n);
        if (!x->waited) return E_TOO_LARGE;
        for (uint32_t i = 0; i < n; i++) {
                int err = obj_copy(&api_rc_type, &rcs[i], &x->arena, &x->waited[i]);
                if (err) return err;
        }
        x->waited_n = n;
        return 0;
}

static void on_waited(void *arg, const struct api_rc *rcs, uint32_t n)
{
        struct call *call = arg;
        struct exchange *x = only(call);
        if (x) finish(x, n ? copy_entries(x, rcs, n) : 0);
        call_end(call);
}

static void wait_for_satellites(struct exchange *x)
{
        struct rest *r = x->conn->rest;
        const struct rest_limits *lim = &r->config.limits;
        uint64_t now = r->env->now_ms(r->env);
        struct call *call = call_new(r);
        x->waiting = true;
        x->deadline_ms = now + lim->wait_ms;
        list_push_back(&call->exchanges, &x->call_node);
        r->config.waiter->wait(r->config.waiter_arg, x->reply.waits, x->reply.waits_n, x->deadline_ms,
                now + MIN(lim->ready_ms, lim->wait_ms), on_waited, call);
}

/* A leader of the release before does not know what came later. */
static void explain_unknown(struct exchange *x)
{
        struct reply *r = &x->reply;
        unsigned need = x->route != NULL ? route_since(x->route) : LEVEL_FIRST;
        if (need == LEVEL_FIRST || r->rcs_n != 1 || !apirc_is(r->rcs[0].ret_code, RC_FAIL_API_CALL_UNKNOWN))
                return;
        SET(&r->rcs[0], api_rc, message,
                arena_printf(&x->arena,
                        "%s %s needs feature level %u, and the leader runs a release that does not know it.",
                        x->method, x->path, need));
        apirc_level(&r->rcs[0]);
}

/* Is the refusal kept to oneself for now? */
static bool hold_back(struct exchange *x)
{
        struct rest *r = x->conn->rest;
        uint64_t now = r->env->now_ms(r->env);
        if (!x->reply.ask_again || r->backend_gone) return false;
        if (x->again_until_ms == 0) x->again_until_ms = MIN(now + r->config.limits.again_ms, x->deadline_ms);
        if (now >= x->again_until_ms) return false;
        list_push_back(&r->again, &x->call_node);
        return true;
}

static void on_reply(void *arg, int err, uint64_t index, uint64_t term, struct blob reply)
{
        struct call *call = arg;
        struct exchange *x = only(call);
        if (x) {
                struct fail f = { 0 };
                list_remove(&x->call_node);
                x->index = index;
                x->term = term;
                if (!err) err = dec_msgpack(&reply_type, reply, DEC_TOLERANT, &x->arena, &x->reply, &f);
                if (!err) explain_unknown(x);
                if (f.err) log_error("rest", "answer of %s %.200s: %s", x->method, x->path, f.text);
                bool wait = !err && x->reply.waits_n && !x->async && call->rest->config.waiter &&
                            !call->rest->backend_gone;
                if (wait) wait_for_satellites(x);
                else if (err != 0 || !hold_back(x)) finish(x, err);
        }
        call_end(call);
}

/* Right after the start nobody has been reached: that is not yet a reason to call pools unusable. */
static bool must_wait(const struct rest *r, const struct exchange *x)
{
        const struct rest_backend *b = r->config.backend;
        return !r->backend_gone && b->satellites_untried != NULL && route_needs_satellites(x->route) &&
               b->satellites_untried(r->config.backend_arg);
}

static void on_read(void *arg, int err, uint64_t index, uint64_t term)
{
        struct call *call = arg;
        while (!list_empty(&call->exchanges)) {
                struct exchange *x = list_first(&call->exchanges, struct exchange, call_node);
                x->index = index;
                x->term = term;
                if (err != 0 || !must_wait(call->rest, x)) {
                        finish(x, err);
                        continue;
                }
                list_remove(&x->call_node);
                list_push_back(&call->rest->held, &x->call_node);
        }
        call_end(call);
}

void rest_look_at_held(struct rest *r)
{
        LIST_FOREACH_SAFE(it, nx, &r->held)
        {
                struct exchange *x = container_of(it, struct exchange, call_node);
                if (!must_wait(r, x)) finish(x, 0);
        }
}

static void submit(struct rest *r, struct exchange *x)
{
        struct call *call = call_new(r);
        list_push_back(&call->exchanges, &x->call_node);
        r->config.backend->submit(
                r->config.backend_arg, x->id, buf_blob(&x->encoded), x->deadline_ms, on_reply, call);
}

void rest_ask_again(struct rest *r)
{
        LIST_FOREACH_SAFE(it, nx, &r->again)
        {
                struct exchange *x = container_of(it, struct exchange, call_node);
                if (r->backend_gone) {
                        finish(x, 0); /* as it was answered */
                        continue;
                }
                list_remove(&x->call_node);
                x->reply = (struct reply){ 0 };
                submit(r, x);
        }
}

static void submit_report(struct rest *r, struct report_post *post)
{
        uint64_t deadline_ms = r->env->now_ms(r->env) + r->config.limits.hold_ms;
        if (!r->backend_gone)
                r->config.backend->submit(r->config.backend_arg, post->id, buf_blob(&post->encoded),
                        deadline_ms, on_reply, call_new(r));
        buf_done(&post->encoded);
        free(post);
}

void rest_drain(void *arg, struct loopq_node *first, unsigned n)
{
        struct rest *r = arg;
        struct call *reads = NULL;
        uint64_t deadline_ms = 0;
        for (struct loopq_node *next; first; first = next) {
                next = first->next;
                struct post *post = container_of(first, struct post, q);
                if (post->kind == POST_REPORT) {
                        submit_report(r, container_of(post, struct report_post, post));
                        continue;
                }
                struct exchange *x = container_of(post, struct exchange, post);
                list_push_back(&r->active, &x->active);
                list_init(&x->call_node);
                if (r->backend_gone) {
                        finish(x, E_CANCELED);
                        continue;
                }
                if (x->kind == X_WRITE) {
                        submit(r, x);
                        continue;
                }
                if (!reads) reads = call_new(r);
                list_push_back(&reads->exchanges, &x->call_node);
                deadline_ms = MAX(deadline_ms, x->deadline_ms);
        }
        if (reads) r->config.backend->read(r->config.backend_arg, deadline_ms, on_read, reads);
}

/* The write is done; only the satellites' part is open. */
static void finish_unconfirmed(struct exchange *x)
{
        struct env *env = x->conn->rest->env;
        x->waited = arena_new(&x->arena, struct api_rc);
        x->waited_n = 1;
        apirc_init(x->waited, RC_WARN_STLT_NOT_UPDATED, 0, 0,
                "The change is recorded, but the satellites have not confirmed it in time.",
                env->wall_ms(env), &x->arena);
        finish(x, 0);
}

void rest_abandon_late(struct rest *r, bool all)
{
        uint64_t now = r->env->now_ms(r->env);
        LIST_FOREACH_SAFE(it, nx, &r->active)
        {
                struct exchange *x = container_of(it, struct exchange, active);
                if (!all && now <= x->deadline_ms + REST_GUARD_MS) continue;
                if (x->waiting) finish_unconfirmed(x);
                else if (x->kind == X_WRITE) finish(x, all ? E_CANCELED : E_UNKNOWN_OUTCOME);
                else finish(x, all ? E_CANCELED : E_NO_QUORUM);
        }
}
