/* What the REST server needs of the member: struct rest_backend and struct rest_waiter on driver, store and
 * observed store. The view functions run on HTTP threads. */
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>

#include "controller/app_internal.h"
#include "raftctl/store_lmdb.h"

/* ---- calls that come after the member has closed ---- */

struct late_call {
        struct list at;
        driver_reply_fn *reply_cb; /* one of the two */
        driver_read_fn *read_cb;
        void *cb_arg;
};

static void answer_late(struct app *a, driver_reply_fn *reply_cb, driver_read_fn *read_cb, void *cb_arg)
{
        struct late_call *c = xnew(struct late_call);
        c->reply_cb = reply_cb;
        c->read_cb = read_cb;
        c->cb_arg = cb_arg;
        list_push_back(&a->late, &c->at);
        (void)uv_timer_start(
                &a->late_timer, app_late_answer, 0, 0); /* open until the REST server is closed */
}

void app_late_answer(uv_timer_t *t)
{
        struct app *a = t->data;
        while (!list_empty(&a->late)) {
                struct late_call *c = list_first(&a->late, struct late_call, at);
                list_remove(&c->at);
                if (c->reply_cb != NULL) c->reply_cb(c->cb_arg, E_CANCELED, 0, 0, BLOB(NULL, 0));
                if (c->read_cb != NULL) c->read_cb(c->cb_arg, E_CANCELED, 0, 0);
                free(c);
        }
}

/* ---- loop thread ---- */

static void backend_submit(void *arg, const uint8_t id[REQUEST_ID_SIZE], struct blob request,
        uint64_t deadline_ms, driver_reply_fn *cb, void *cb_arg)
{
        struct app *a = arg;
        if (a->phase >= APP_PARTS) answer_late(a, cb, NULL, cb_arg);
        else driver_submit(member_driver(a->member), id, request, deadline_ms, cb, cb_arg);
}

static void backend_read(void *arg, uint64_t deadline_ms, driver_read_fn *cb, void *cb_arg)
{
        struct app *a = arg;
        if (a->phase >= APP_PARTS) answer_late(a, NULL, cb, cb_arg);
        else driver_read(member_driver(a->member), deadline_ms, cb, cb_arg);
}

static void backend_status(void *arg, struct driver_status *ret)
{
        struct app *a = arg;
        if (a->phase >= APP_PARTS) *ret = (struct driver_status){ .state = DRIVER_IDLE };
        else driver_status(member_driver(a->member), ret);
}

static bool backend_satellites_untried(void *arg)
{
        const struct app *a = arg;
        return a->phase < APP_PARTS && a->link != NULL && sat_link_any_untried(a->link);
}

/* ---- HTTP threads ---- */

static int backend_view_begin(void *arg, struct rest_view *ret)
{
        struct app *a = arg;
        struct applied ap;
        *ret = (struct rest_view){ 0 };
        atomic_fetch_add(&a->views_open, 1);
        int err = atomic_load(&a->views_refused) ? E_CANCELED : 0;
        if (err == 0) err = store_lmdb_read_begin(member_store(a->member), &ret->wanted);
        if (err != 0) {
                atomic_fetch_sub(&a->views_open, 1);
                return err;
        }
        ret->observed = observed_begin(a->observed);
        if (applied_get(ret->wanted, &ap) == 0) ret->index = ap.index;
        return 0;
}

static void backend_view_end(void *arg, struct rest_view *view)
{
        struct app *a = arg;
        observed_end(view->observed);
        struct store *s = member_store(a->member);
        s->ops->read_end(s, view->wanted);
        atomic_fetch_sub(&a->views_open, 1);
}

/* The chain is verified; what is left is who it is. Satellites and witnesses have no business here. */
static int backend_authorize(void *arg, struct blob cert_der, char user[64])
{
        const gnutls_datum_t der = { .data = (unsigned char *)cert_der.p, .size = (unsigned)cert_der.n };
        gnutls_datum_t text;
        struct pem pem = { 0 };
        struct pki_identity id;
        struct fail f;
        if (gnutls_pem_base64_encode2("CERTIFICATE", &der, &text) != GNUTLS_E_SUCCESS) return E_AUTH;
        int err = pem_set(&pem, BLOB(text.data, text.size));
        gnutls_free(text.data);
        if (err == 0) err = pki_identity(&pem, &id, &f);
        pem_done(&pem);
        if (err != 0 || id.role != PKI_CLIENT) return E_AUTH; /* machines have no business here */
        size_t n = strnlen(id.name, 63);
        memcpy(user, id.name, n);
        user[n] = '\0';
        return 0;
}

const struct rest_backend app_backend = {
        .submit = backend_submit,
        .read = backend_read,
        .status = backend_status,
        .view_begin = backend_view_begin,
        .view_end = backend_view_end,
        .satellites_untried = backend_satellites_untried,
        .authorize = backend_authorize,
};

/* ---- answers that wait for satellites ---- */

static void on_waits_timer(uv_timer_t *t)
{
        struct app *a = t->data;
        waits_tick(a->waits);
        app_waits_arm(a);
}

void app_waits_arm(struct app *a)
{
        uint64_t at = waits_deadline_ms(a->waits), now = a->env->now_ms(a->env);
        if (at == UINT64_MAX) (void)uv_timer_stop(&a->waits_timer);
        else (void)uv_timer_start(&a->waits_timer, on_waits_timer, at > now ? at - now : 0, 0);
}

static void waiter_wait(void *arg, const struct wait_item *items, uint32_t n, uint64_t deadline_ms,
        uint64_t ready_ms, rest_waited_fn *cb, void *cb_arg)
{
        struct app *a = arg;
        if (a->phase >= APP_CLOSING)
                deadline_ms = ready_ms = 0; /* what is not done by now is answered as late */
        waits_add(a->waits, items, n, deadline_ms, ready_ms, cb, cb_arg);
        app_waits_arm(a);
}

const struct rest_waiter app_waiter = { .wait = waiter_wait };

static int waits_view_begin(void *arg, struct waits_view *ret)
{
        struct app *a = arg;
        int err = store_lmdb_read_begin(member_store(a->member), &ret->wanted);
        if (err != 0) return err;
        struct applied ap;
        ret->index = applied_get(ret->wanted, &ap) == 0 ? ap.index : 0;
        ret->observed = observed_begin(a->observed);
        if (ret->observed != NULL) return 0;
        member_store(a->member)->ops->read_end(member_store(a->member), ret->wanted);
        return E_STORAGE;
}

static void waits_view_end(void *arg, struct waits_view *view)
{
        struct app *a = arg;
        observed_end(view->observed);
        member_store(a->member)->ops->read_end(member_store(a->member), view->wanted);
}
const struct waits_ops app_waits_ops = { .view_begin = waits_view_begin, .view_end = waits_view_end };
