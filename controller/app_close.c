/* Leaving in order, see enum app_phase. Callbacks of the parts only set a flag: they may come from deep
 * inside of what is to be closed. A timer of our own looks at the flags and goes on. */
#include <stdlib.h>
#include <unistd.h>

#include "controller/app_internal.h"
#include "wire/base/log.h"

static void on_handle_closed(uv_handle_t *h)
{
        struct app *a = h->data;
        assert(a->handles > 0);
        if (--a->handles > 0) return;
        app_closed_fn *cb = a->closed_cb;
        void *arg = a->closed_arg;
        free(a);
        cb(arg);
}

static void close_handles(struct app *a)
{
        waits_free(a->waits);
        observed_close(a->observed);
        tls_ctx_unref(a->satellite_tls);
        pki_dir_done(&a->pki);
        uv_handle_t *handles[] = { (uv_handle_t *)&a->waits_timer, (uv_handle_t *)&a->reconcile_timer,
                (uv_handle_t *)&a->phase_timer, (uv_handle_t *)&a->late_timer,
                (uv_handle_t *)&a->unlock_timer };
        for (size_t i = 0; i < ARRAY_LEN(handles); i++) uv_close(handles[i], on_handle_closed);
}

static void on_rest_closed(void *arg)
{
        struct app *a = arg;
        a->rest = NULL;
        a->rest_closed = true;
}
static void on_member_closed(void *arg)
{
        struct app *a = arg;
        a->member = NULL;
        a->member_closed = true;
}
static void on_link_closed(void *arg)
{
        struct app *a = arg;
        a->link = NULL;
        a->link_closed = true;
}
static void on_drained(void *arg)
{
        struct app *a = arg;
        a->drained = true;
}
static void on_transferred(void *arg, int err, const char *why)
{
        struct app *a = arg;
        if (err == 0) log_info(APP_LOG, "leadership is handed over");
        else log_warn(APP_LOG, "leadership could not be handed over: %s", why != NULL ? why : err_text(err));
        a->transferred = true;
}

static void enter(struct app *a, enum app_phase phase)
{
        a->phase = phase;
        switch (phase) {
        case APP_CLOSING:
                if (a->waits != NULL) {
                        waits_expire(a->waits);
                        app_waits_arm(a);
                }
                if (a->rest != NULL) rest_close(a->rest, APP_GRACE_MS, on_rest_closed, a);
                else a->rest_closed = true;
                break;
        case APP_DRAINING: atomic_store(&a->views_refused, true); break;
        case APP_PARTS:
                if (a->link != NULL) sat_link_close(a->link, on_link_closed, a);
                else a->link_closed = true;
                if (a->member != NULL) member_close(a->member, on_member_closed, a);
                else a->member_closed = true;
                app_l2l_close(a);
                break;
        case APP_HANDLES: close_handles(a); break;
        case APP_RUNNING:
        case APP_LEAVING:
        case APP_PHASE_N: break;
        }
}

/* May the next phase begin? */
static bool is_over(const struct app *a, uint64_t spent_ms)
{
        switch (a->phase) {
        case APP_LEAVING: return (a->transferred && a->drained) || spent_ms > APP_DRAIN_MS;
        case APP_CLOSING: return a->rest_closed || spent_ms > APP_DRAIN_MS + 2 * APP_GRACE_MS;
        case APP_DRAINING: return atomic_load(&a->views_open) == 0 && !a->deriving;
        case APP_PARTS:
                return a->rest_closed && a->link_closed && a->l2l_closed && a->member_closed &&
                       list_empty(&a->late);
        case APP_RUNNING:
        case APP_HANDLES:
        case APP_PHASE_N: break;
        }
        return false;
}

static void step(struct app *a)
{
        if (is_over(a, a->env->now_ms(a->env) - a->leave_ms)) enter(a, a->phase + 1);
}

static void on_phase_timer(uv_timer_t *t)
{
        struct app *a = t->data;
        if (a->phase > APP_LEAVING && a->env->now_ms(a->env) - a->leave_ms > APP_GIVE_UP_MS) {
                log_error(APP_LOG, "something does not close; leaving without it");
                _exit(EXIT_FAILURE); /* what is acknowledged is on disk */
        }
        step(a);
}

void app_close(struct app *a, app_closed_fn *closed_cb, void *arg)
{
        assert(a->phase == APP_RUNNING);
        a->closed_cb = closed_cb;
        a->closed_arg = arg;
        a->phase = APP_LEAVING;
        app_crypt_close(a);
        a->leave_ms = a->env->now_ms(a->env);
        (void)uv_timer_start(&a->phase_timer, on_phase_timer, 10, 10);
        if (a->rest != NULL) rest_quiesce(a->rest, on_drained, a);
        else a->drained = true;
        uint64_t to = a->member != NULL && a->leading ? app_successor(a) : 0;
        if (to != 0)
                driver_change(member_driver(a->member), CHANGE_TRANSFER, to, NULL,
                        a->leave_ms + APP_TRANSFER_MS, on_transferred, a);
        else a->transferred = true;
}
