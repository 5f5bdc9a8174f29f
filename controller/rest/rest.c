/* The REST server as a whole: configuration, start, coming and going with the quorum, end.
 *
 * State: SERVING -> AWAY when the quorum has been missing for leave_ms, and back when it is there again;
 * QUIESCED and CLOSING on demand; STOPPED when no connection is left and the HTTP threads have ended. */
#include "controller/rest/rest.h"

#include <stdlib.h>
#include <string.h>

#include <netinet/in.h>
#include <sys/un.h>

#include "controller/rest/rest_internal.h"
#include "wire/base/log.h"

/* The time that answers get after the grace of rest_close has passed. */
#define LAST_WORDS_MS 1000

void rest_config_init(struct rest_config *c)
{
        *c = (struct rest_config){ .http_listen = "127.0.0.1:3370",
                .threads = 2,
                .limits = { .connections_max = 2000,
                        .connections_per_ip_max = 1000,
                        .unix_connections_max = 64,
                        .body_bytes_max = 1U << 20,
                        .head_ms = 15000,
                        .body_ms = 60000,
                        .send_ms = 120000,
                        .idle_ms = 75000,
                        .hold_ms = 60000,
                        .wait_ms = 300000,
                        .ready_ms = 15000,
                        .again_ms = 1000,
                        .unhealthy_ms = 5000,
                        .leave_ms = 15000 } };
}

static char *copy(const char *s) { return s ? xstrdup(s) : NULL; }

static void copy_config(struct rest_config *c)
{
        c->member = copy(c->member);
        c->http_listen = copy(c->http_listen);
        c->https_listen = copy(c->https_listen);
        c->unix_path = copy(c->unix_path);
        c->tls.cert_pem = copy(c->tls.cert_pem);
        c->tls.key_pem = copy(c->tls.key_pem);
        c->tls.ca_pem = copy(c->tls.ca_pem);
        c->config_dir = copy(c->config_dir);
        c->log_level = copy(c->log_level);
}

static void free_rest(struct rest *r)
{
        struct rest_config *c = &r->config;
        const char *strings[] = { c->member, c->http_listen, c->https_listen, c->unix_path, c->tls.cert_pem,
                c->tls.key_pem, c->tls.ca_pem, c->config_dir, c->log_level };
        for (size_t i = 0; i < ARRAY_LEN(strings); i++) free((void *)(uintptr_t)strings[i]);
        metrics_free(r->metrics);
        rest_streams_done(r);
        pthread_mutex_destroy(&r->conns_mutex);
        pthread_mutex_destroy(&r->status_mutex);
        free(r->by_fd);
        free(r);
}

void rest_settle(struct rest *r)
{
        if (--r->live > 0) return;
        assert(r->state == REST_STOPPED);
        rest_closed_fn *cb = r->closed_cb;
        void *arg = r->closed_arg;
        free_rest(r);
        if (cb) cb(arg);
}

/* ---- status ---- */

static void publish(struct rest *r)
{
        struct driver_status s;
        memset(&s, 0, sizeof s);
        r->config.backend->status(r->config.backend_arg, &s);
        atomic_store(&r->pub_index, s.applied_index);
        atomic_store(&r->pub_term, s.term);
        uint64_t since = s.has_quorum ? 0 : MAX(s.no_quorum_since_ms, 1);
        atomic_store(&r->pub_no_quorum_since_ms, since);
        pthread_mutex_lock(&r->status_mutex);
        r->status = s;
        pthread_mutex_unlock(&r->status_mutex);
}

static int open_tcp(struct rest *r, struct fail *f)
{
        int err = rest_listener_open(&r->listeners[REST_HTTP], f);
        int err2 = rest_listener_open(&r->listeners[REST_HTTPS], err ? NULL : f);
        return err ? err : err2;
}

static void leave(struct rest *r, enum rest_state state)
{
        r->state = state;
        atomic_store(&r->leaving_tcp, true);
        rest_listener_close(&r->listeners[REST_HTTP]);
        rest_listener_close(&r->listeners[REST_HTTPS]);
}

static int come_back(struct rest *r, struct fail *f)
{
        r->state = REST_SERVING;
        atomic_store(&r->leaving_tcp, false);
        return open_tcp(r, f);
}

static void follow_quorum(struct rest *r)
{
        uint64_t now = r->env->now_ms(r->env), since = atomic_load(&r->pub_no_quorum_since_ms);
        bool lost = since && now >= since + r->config.limits.leave_ms;
        struct fail f = { 0 };
        if (r->state == REST_SERVING && lost) {
                log_warn("rest", "no quorum for %u ms: TCP listeners are closed", r->config.limits.leave_ms);
                leave(r, REST_AWAY);
        } else if (r->state == REST_AWAY && !since) {
                log_info("rest", "quorum is back: TCP listeners are opened");
                if (come_back(r, &f)) log_error("rest", "%s", f.text);
        } else if (r->state == REST_SERVING) {
                /* One that could not be opened is tried again. */
                if (open_tcp(r, &f)) log_debug("rest", "%s", f.text);
        }
}

void rest_on_state(struct rest *r)
{
        if (r->state == REST_STOPPED || r->backend_gone) return;
        publish(r);
        follow_quorum(r);
}

/* ---- the end ---- */

static void on_handle_closed(uv_handle_t *handle) { rest_settle(handle->data); }
static void on_queue_closed(void *arg) { rest_settle(arg); }

/* Runs in the timer's callback, when no connection and no exchange is left. */
static void stop(struct rest *r)
{
        rest_workers_stop(r);
        r->state = REST_STOPPED;
        loopq_close(&r->queue, on_queue_closed);
        uv_timer_stop(&r->tick);
        uv_close((uv_handle_t *)&r->tick, on_handle_closed);
        uv_close((uv_handle_t *)&r->flush, on_handle_closed);
}

/* On TCP, be it about to end. */
static bool is_listening(const struct rest *r)
{
        return r->listeners[REST_HTTP].listening || r->listeners[REST_HTTPS].listening;
}

static void tick_drained(struct rest *r)
{
        rest_drained_fn *cb = r->drained_cb;
        if (!cb || rest_conn_count(r, true) != 0 || is_listening(r)) return;
        r->drained_cb = NULL;
        cb(r->drained_arg);
}

static void tick_closing(struct rest *r)
{
        uint64_t now = r->env->now_ms(r->env);
        if (now >= r->close_deadline_ms) rest_abandon_late(r, true);
        rest_conn_sweep(r, true, true, now >= r->close_deadline_ms + LAST_WORDS_MS);
        if (rest_conn_count(r, false) == 0 && !is_listening(r) && list_empty(&r->active) &&
                list_empty(&r->done))
                stop(r);
}

static void on_tick(uv_timer_t *timer)
{
        struct rest *r = timer->data;
        uint64_t now = r->env->now_ms(r->env);
        rest_on_state(r);
        rest_look_at_held(r);
        rest_ask_again(r);
        bool leaving = atomic_load(&r->leaving_tcp);
        rest_streams_tick(r);
        for (unsigned i = 0; i < REST_LISTENERS_N; i++) rest_listener_tick(&r->listeners[i]);
        if (r->state == REST_CLOSING) {
                tick_drained(r);
                tick_closing(r);
                return;
        }
        if (leaving || now >= r->last_sweep_ms + REST_SWEEP_MS) {
                r->last_sweep_ms = now;
                rest_conn_sweep(r, leaving, false, false);
                rest_abandon_late(r, false);
        }
        tick_drained(r);
}

void rest_quiesce(struct rest *r, rest_drained_fn *drained_cb, void *arg)
{
        if (r->state == REST_SERVING || r->state == REST_AWAY) leave(r, REST_QUIESCED);
        r->drained_cb = drained_cb;
        r->drained_arg = arg;
}

int rest_reopen(struct rest *r, struct fail *f)
{
        if (r->state != REST_QUIESCED) return 0;
        r->drained_cb = NULL;
        return come_back(r, f);
}

void rest_close(struct rest *r, unsigned grace_ms, rest_closed_fn *closed_cb, void *arg)
{
        assert(r->state != REST_CLOSING && r->state != REST_STOPPED);
        leave(r, REST_CLOSING);
        atomic_store(&r->leaving_all, true);
        rest_listener_close(&r->listeners[REST_UNIX]);
        r->close_deadline_ms = r->env->now_ms(r->env) + grace_ms;
        r->closed_cb = closed_cb;
        r->closed_arg = arg;
}

void rest_backend_gone(struct rest *r) { r->backend_gone = true; }

/* ---- the start ---- */

static int parse_listeners(struct rest *r, struct fail *f)
{
        const char *text[] = { r->config.http_listen, r->config.https_listen, r->config.unix_path };
        for (unsigned i = 0; i < REST_LISTENERS_N; i++) {
                struct listener *l = &r->listeners[i];
                l->rest = r;
                l->which = (enum rest_listener)i;
                int err = rest_listener_parse(l, text[i], f);
                if (err) return err;
        }
        const struct rest_tls *tls = &r->config.tls;
        if (r->listeners[REST_HTTPS].configured && !(tls->cert_pem && tls->key_pem && tls->ca_pem))
                return fail_set(f, E_CONFIG, "HTTPS needs a certificate, a key and the cluster's CA");
        r->plain_n = MIN(r->config.threads ? r->config.threads : 2, REST_THREADS_MAX);
        r->tls_n = r->listeners[REST_HTTPS].configured ? r->plain_n : 0;
        return 0;
}

static int start(struct rest *r, struct fail *f)
{
        uv_loop_t *loop = r->config.loop;
        int err = loopq_open(&r->queue, loop, 2 * r->config.limits.connections_max + 1024, rest_drain, r);
        if (err) return fail_set(f, err, "event loop: %s", err_text(err));
        r->live++;
        /* These two cannot fail. */
        uv_timer_init(loop, &r->tick);
        uv_idle_init(loop, &r->flush);
        r->tick.data = r->flush.data = r;
        r->live += 2;
        uv_timer_start(&r->tick, on_tick, REST_TICK_MS, REST_TICK_MS);
        publish(r);
        err = rest_workers_start(r, f);
        if (!err) err = open_tcp(r, f);
        if (!err) err = rest_listener_open(&r->listeners[REST_UNIX], f);
        return err;
}

int rest_open(const struct rest_config *config, struct rest **ret, struct fail *f)
{
        struct rest *r = xnew(struct rest);
        r->config = *config;
        copy_config(&r->config);
        r->env = config->env;
        list_init(&r->active);
        list_init(&r->done);
        list_init(&r->held);
        list_init(&r->again);
        list_init(&r->conns);
        pthread_mutex_init(&r->conns_mutex, NULL);
        pthread_mutex_init(&r->status_mutex, NULL);
        rest_streams_init(r);
        r->env->random(r->env, r->incarnation, sizeof r->incarnation);
        int err = parse_listeners(r, f);
        if (!err) {
                r->metrics = metrics_new(r->plain_n + r->tls_n);
                err = start(r, f);
        }
        if (!err) {
                *ret = r;
                return 0;
        }
        if (r->live == 0) {
                free_rest(r);
                return err;
        }
        /* The handles have to be closed by the loop: the rest of r goes with the last of them. */
        for (unsigned i = 0; i < REST_LISTENERS_N; i++) rest_listener_abort(&r->listeners[i]);
        stop(r);
        return err;
}

/* ---- questions ---- */

unsigned rest_port(const struct rest *r, enum rest_listener which)
{
        const struct listener *l = &r->listeners[which];
        if (!l->listening || l->listening->leave_ms) return 0;
        if (l->addr.ss_family == AF_INET) return ntohs(((const struct sockaddr_in *)&l->addr)->sin_port);
        if (l->addr.ss_family == AF_INET6) return ntohs(((const struct sockaddr_in6 *)&l->addr)->sin6_port);
        return 1;
}

void rest_stats(struct rest *r, struct rest_stats *ret)
{
        *ret = (struct rest_stats){ 0 };
        pthread_mutex_lock(&r->conns_mutex);
        for (unsigned i = 0; i < REST_LISTENERS_N; i++) ret->connections += r->conns_n[i];
        ret->accepted = r->accepted;
        ret->refused_per_ip = r->refused_per_ip;
        ret->cut_slow = r->cut_slow;
        LIST_FOREACH(it, &r->conns)
        {
                struct conn *c = container_of(it, struct conn, node);
                ret->in_flight += atomic_load_explicit(&c->phase, memory_order_relaxed) == CONN_WORKING;
        }
        pthread_mutex_unlock(&r->conns_mutex);
        metrics_totals(r->metrics, &ret->requests, &ret->answers_4xx, &ret->answers_5xx);
}
