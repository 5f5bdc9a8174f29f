/* Life of a connection. TLS and frames are in conn_io.c.
 *
 * Happy path: connect (or accept) -> handshake, by conn_pump() with each arriving piece -> opened(0) ->
 * frames. Failures: connect refused, unreachable      -> on_connected(err)     -> opened(err) nothing happens
 * in time           -> on_deadline           -> opened(E_TIMEOUT); in READY: end(TIMEOUT), because there the
 * deadline is that of a half-sent frame bad certificate, garbage          -> conn_pump             -> an
 * alert is sent as far as the kernel takes it at once, opened(E_AUTH or E_TLS) the other side goes away ->
 * on_read(EOF or error) -> opened(E_CLOSED) or end(FIN, RESET, TIMEOUT) a write fails                     ->
 * conn_on_written       -> the same as a reset closed by the owner at any time   -> callbacks only settle; an
 * unanswered opened() gets E_CANCELED Debts (live): the three handles from a successful open on; connect,
 * write and shutdown requests while submitted. */
#include "wire/net/conn.h"

#include <arpa/inet.h>
#include <gnutls/gnutls.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/net/conn_internal.h"
#include "wire/net/tls_internal.h"

enum { RX_SIZE = 65536 };

#define TO(s) (1U << CONN_##s)
static const unsigned allowed[CONN_STATE_N] = {
        [CONN_IDLE] = TO(CONNECTING) | TO(HANDSHAKE) | TO(CLOSED),
        [CONN_CONNECTING] = TO(HANDSHAKE) | TO(ENDED) | TO(CLOSED),
        [CONN_HANDSHAKE] = TO(READY) | TO(ENDED) | TO(CLOSED),
        [CONN_READY] = TO(FINISHING) | TO(ENDED) | TO(CLOSED),
        [CONN_FINISHING] = TO(ENDED) | TO(CLOSED),
        [CONN_ENDED] = TO(CLOSED),
        [CONN_CLOSED] = 0,
};
#undef TO

void conn_move(struct conn *c, enum conn_state next)
{
        assert(allowed[c->state] & 1U << next);
        c->state = next;
}

const char *conn_end_name(enum conn_end why)
{
        static const char *const names[CONN_END_N] = {
                [CONN_END_FIN] = "closed by the other side",
                [CONN_END_RESET] = "reset by the other side",
                [CONN_END_TIMEOUT] = "timed out",
                [CONN_END_TLS] = "TLS failure",
                [CONN_END_PROTOCOL] = "protocol violation",
                [CONN_END_FINISHED] = "finished",
        };
        return (unsigned)why < CONN_END_N ? names[why] : "?";
}

void conn_options_init(struct conn_options *o)
{
        *o = (struct conn_options){
                .handshake_ms = 5000,
                .frame_ms = 30000,
                .finish_ms = 3000,
                .user_timeout_ms = 10000,
                .keepalive_s = 5,
                .frame_max_bytes = 16 << 20,
                .anonymous_max_bytes = 16 << 10,
                .high_water_bytes = 32 << 20,
        };
}

void conn_deadline_clear(struct conn *c) { (void)uv_timer_stop(&c->timer); }

static void on_deadline(uv_timer_t *t)
{
        struct conn *c = t->data;
        if (c->closing || c->state == CONN_ENDED) return;
        if (c->state == CONN_FINISHING)
                conn_over(c, CONN_END_FINISHED, 0, "the other side did not say goodbye in time");
        else if (c->state == CONN_READY)
                conn_over(
                        c, CONN_END_TIMEOUT, E_TIMEOUT, "a frame began but did not become complete in time");
        else if (c->state == CONN_CONNECTING) conn_over(c, CONN_END_TIMEOUT, E_TIMEOUT, "no answer in time");
        else conn_over(c, CONN_END_TIMEOUT, E_TIMEOUT, "the TLS handshake was not complete in time");
}

void conn_deadline_set(struct conn *c, unsigned ms)
{
        int rc = uv_timer_start(&c->timer, on_deadline, ms, 0);
        assert(rc == 0); /* fails for a closing handle only */
}

/* The single place where the object ends. Every callback that pays a debt calls this last and touches c no
 * more. */
static void settle(struct conn *c)
{
        assert(c->live > 0);
        if (--c->live > 0) return;
        assert(c->closing);
        if (c->tls != NULL) gnutls_deinit(c->tls);
        c->tls = NULL;
        tls_ctx_unref(c->ctx);
        c->ctx = NULL;
        free(c->rx);
        c->rx = NULL;
        buf_done(&c->in);
        buf_done(&c->out);
        buf_done(&c->sealed);
        buf_done(&c->flight);
        conn_move(c, CONN_CLOSED);
        if (c->opened_due) {
                c->opened_due = false;
                (void)fail_set(&c->fault, E_CANCELED, "closed by ourselves");
                c->ops->opened(c, E_CANCELED);
        }
        c->closed_cb(c);
}

static void on_handle_closed(uv_handle_t *h) { settle(h->data); }

void conn_opened(struct conn *c)
{
        conn_deadline_clear(c);
        conn_move(c, CONN_READY);
        if (c->paused) conn_read_stop(c); /* since before the handshake, which goes on in a pause */
        c->opened_due = false;
        c->ops->opened(c, 0);
}

void conn_over(struct conn *c, enum conn_end why, int err, const char *text)
{
        if (c->closing || c->state == CONN_ENDED || c->state == CONN_IDLE) return;
        if (c->fault.err == 0) (void)fail_set(&c->fault, err, "%s", text);
        conn_read_stop(c);
        (void)uv_prepare_stop(&c->turn);
        conn_deadline_clear(c);
        conn_move(c, CONN_ENDED);
        if (c->opened_due) {
                c->opened_due = false;
                c->ops->opened(c, err != 0 ? err : E_CLOSED);
        } else {
                c->ops->end(c, why);
        }
}

static void on_turn(uv_prepare_t *h)
{
        struct conn *c = h->data;
        (void)uv_prepare_stop(h);
        if (c->resumed && !c->closing) {
                c->resumed = false;
                conn_pump(c);
        }
        if (!c->closing) conn_flush(c);
}

void conn_arm(struct conn *c)
{
        if (c->closing) return;
        int rc = uv_prepare_start(&c->turn, on_turn);
        assert(rc == 0);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
        struct conn *c = h->data;
        assert(c->rx_pos == c->rx_n); /* reading is stopped while something is left */
        c->rx_pos = c->rx_n = 0;
        *ret = uv_buf_init((char *)c->rx, RX_SIZE);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
        struct conn *c = s->data;
        if (c->closing || c->state == CONN_ENDED || n == 0) return;
        if (n > 0) {
                c->rx_n = (size_t)n;
                c->bytes_in += (uint64_t)n;
                conn_pump(c);
        } else if (n == UV_EOF) {
                conn_read_stop(c);
                c->eof = true;
                conn_pump(c); /* ends it */
        } else if (n == UV_ETIMEDOUT) {
                conn_over(c, CONN_END_TIMEOUT, E_TIMEOUT, "the other side does not answer any more");
        } else {
                conn_over(c, CONN_END_RESET, E_CLOSED, "the connection was reset");
        }
}

void conn_read_start(struct conn *c)
{
        if (c->reading || c->eof) return;
        int rc = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
        if (rc == 0) c->reading = true;
        else conn_over(c, CONN_END_RESET, rc, uv_strerror(rc));
}

void conn_read_stop(struct conn *c)
{
        if (!c->reading) return;
        c->reading = false;
        (void)uv_read_stop((uv_stream_t *)&c->tcp);
}

static void start_tls(struct conn *c)
{
        conn_move(c, CONN_HANDSHAKE);
        conn_read_start(c);
        if (!c->closing && c->state == CONN_HANDSHAKE) conn_pump(c);
}

static void set_socket_options(struct conn *c)
{
        int fd = -1;
        unsigned ms = c->options.user_timeout_ms;
        (void)uv_tcp_nodelay(&c->tcp, 1);
        if (c->options.keepalive_s > 0) (void)uv_tcp_keepalive(&c->tcp, 1, c->options.keepalive_s);
        if (ms > 0 && uv_fileno((uv_handle_t *)&c->tcp, &fd) == 0)
                (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
}

static void on_connected(uv_connect_t *r, int err)
{
        struct conn *c = r->data;
        if (!c->closing && c->state == CONN_CONNECTING) {
                if (err == 0) start_tls(c);
                else conn_over(c, CONN_END_RESET, err, uv_strerror(err));
        }
        settle(c);
}

static void finish_step(struct conn *c)
{
        if (c->shut && c->eof) conn_over(c, CONN_END_FINISHED, 0, "finished");
}

static void on_shutdown(uv_shutdown_t *r, int err)
{
        struct conn *c = r->data;
        if (!c->closing && c->state == CONN_FINISHING) {
                c->shut = true;
                if (err != 0) c->eof = true;
                finish_step(c);
        }
        settle(c);
}

void conn_goodbye(struct conn *c)
{
        if (!c->goodbye_said) {
                c->goodbye_said = true;
                (void)gnutls_bye(c->tls, GNUTLS_SHUT_WR);
                conn_arm(c);
        } else if (!c->shutting) {
                c->shutting = true;
                if (uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shutdown) == 0) c->live++;
                else conn_over(c, CONN_END_FINISHED, 0, "finished");
        }
}

void conn_on_written(uv_write_t *w, int err)
{
        struct conn *c = w->data;
        c->writing = false;
        buf_reset(&c->flight);
        if (!c->closing &&
                (c->state == CONN_READY || c->state == CONN_FINISHING || c->state == CONN_HANDSHAKE)) {
                if (err != 0) conn_over(c, CONN_END_RESET, E_CLOSED, uv_strerror(err));
                else if (c->was_busy && c->state == CONN_READY &&
                         conn_queued_bytes(c) < c->options.high_water_bytes / 2) {
                        c->was_busy = false;
                        if (c->ops->writable != NULL) c->ops->writable(c);
                }
                if (!c->closing && c->state != CONN_ENDED) conn_flush(c);
        }
        settle(c);
}

/* libuv writes without MSG_NOSIGNAL: a peer that is gone must be an error, not the end of the process. A
 * handler that the program has set itself is left alone. */
static void ignore_sigpipe(void)
{
        static atomic_flag done = ATOMIC_FLAG_INIT;
        struct sigaction old;
        if (atomic_flag_test_and_set(&done)) return;
        if (sigaction(SIGPIPE, NULL, &old) == 0 && old.sa_handler == SIG_DFL) (void)signal(SIGPIPE, SIG_IGN);
}

static int init(struct conn *c, uv_loop_t *loop, struct tls_ctx *ctx, const struct conn_options *options,
        const struct conn_ops *ops, bool server)
{
        void *data = c->data;
        ignore_sigpipe();
        *c = (struct conn){ .data = data, .ops = ops, .options = *options };
        c->connect.data = c->write.data = c->shutdown.data = c;
        int rc = uv_tcp_init(loop, &c->tcp);
        if (rc == 0) rc = uv_timer_init(loop, &c->timer);
        if (rc == 0) rc = uv_prepare_init(loop, &c->turn);
        assert(rc == 0); /* without flags these cannot fail */
        c->tcp.data = c->timer.data = c->turn.data = c;
        c->live = 3;
        c->ctx = tls_ctx_ref(ctx);
        c->rx = xmalloc(RX_SIZE);
        c->in.limit_bytes = (size_t)CONN_HEADER_SIZE + options->frame_max_bytes + 2 * RX_SIZE;
        rc = tls_session_new(ctx, server, &c->peer, &c->tls, &c->fault);
        if (rc == 0) conn_tls_setup(c);
        return rc;
}

int conn_connect(struct conn *c, uv_loop_t *loop, const struct sockaddr_storage *to, struct tls_ctx *ctx,
        const struct conn_options *options, const struct conn_ops *ops)
{
        int rc = init(c, loop, ctx, options, ops, false);
        if (rc == 0) rc = uv_tcp_connect(&c->connect, &c->tcp, (const struct sockaddr *)to, on_connected);
        if (rc != 0) return rc;
        c->live++;
        c->opened_due = true;
        conn_move(c, CONN_CONNECTING);
        set_socket_options(c);
        conn_deadline_set(c, options->handshake_ms);
        return 0;
}

int conn_accept(struct conn *c, uv_stream_t *server, struct tls_ctx *ctx, const struct conn_options *options,
        const struct conn_ops *ops)
{
        int rc = init(c, server->loop, ctx, options, ops, true);
        if (rc == 0) rc = uv_accept(server, (uv_stream_t *)&c->tcp);
        if (rc == 0) rc = uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
        if (rc != 0) return rc;
        c->reading = true;
        c->opened_due = true;
        conn_move(c, CONN_HANDSHAKE);
        set_socket_options(c);
        conn_deadline_set(c, options->handshake_ms);
        return 0;
}

void conn_set_ops(struct conn *c, const struct conn_ops *ops, void *data)
{
        c->ops = ops;
        c->data = data;
}

void conn_pause(struct conn *c)
{
        if (c->closing || c->paused) return;
        c->paused = true;
        c->resumed = false;
        if (c->state != CONN_READY) return;
        conn_read_stop(c);
        conn_deadline_clear(c);
}

void conn_resume(struct conn *c)
{
        if (c->closing || !c->paused) return;
        c->paused = false;
        if (c->state != CONN_READY) return;
        c->resumed =
                true; /* what is left over is delivered from the loop, and reading starts again after it */
        conn_arm(c);
}

void conn_finish(struct conn *c)
{
        if (c->closing || c->state != CONN_READY) return;
        conn_move(c, CONN_FINISHING);
        conn_deadline_set(c, c->options.finish_ms);
        c->paused = false;
        c->resumed = true;
        conn_arm(c);
}

void conn_close(struct conn *c, conn_closed_fn *cb)
{
        assert(!c->closing);
        c->closing = true;
        c->closed_cb = cb;
        uv_close((uv_handle_t *)&c->turn, on_handle_closed);
        uv_close((uv_handle_t *)&c->timer, on_handle_closed);
        /* pending connect, write and shutdown requests complete with ECANCELED first */
        uv_close((uv_handle_t *)&c->tcp, on_handle_closed);
}
