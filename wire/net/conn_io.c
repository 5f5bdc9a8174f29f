/* TLS and frames. GnuTLS never touches the socket: it pulls from rx and pushes into sealed.
 *
 *   network -> rx -> (TLS) -> in -> frame()        conn_send() -> out -> (TLS) -> sealed -> flight -> network
 */
#include <gnutls/gnutls.h>
#include <string.h>

#include "wire/net/conn_internal.h"
#include "wire/net/tls_internal.h"

enum {
        RECORD_MAX = 16384,     /* plaintext bytes of one TLS record */
        SEAL_BYTES = 256 << 10, /* encrypted at most per write, so that one peer does not hold up the loop */
        KEEP_BYTES = 256 << 10, /* buffers above that size are given back when they are empty */
};

/* ---- transport functions ---- */

static ssize_t on_pull(gnutls_transport_ptr_t p, void *out, size_t n)
{
        struct conn *c = p;
        size_t have = c->rx_n - c->rx_pos;
        if (have == 0) {
                if (c->eof) return 0;
                gnutls_transport_set_errno(c->tls, EAGAIN);
                return -1;
        }
        n = MIN(n, have);
        memcpy(out, c->rx + c->rx_pos, n);
        c->rx_pos += n;
        return (ssize_t)n;
}

static int on_pull_timeout(gnutls_transport_ptr_t p, unsigned ms)
{
        struct conn *c = p;
        return c->rx_n > c->rx_pos || c->eof ? 1 : 0;
}

static ssize_t on_push(gnutls_transport_ptr_t p, const void *data, size_t n)
{
        struct conn *c = p;
        buf_put(&c->sealed, data, n);
        if (c->sealed.err == 0) return (ssize_t)n;
        gnutls_transport_set_errno(c->tls, ENOMEM);
        return -1;
}

void conn_tls_setup(struct conn *c)
{
        gnutls_transport_set_ptr(c->tls, c);
        gnutls_transport_set_pull_function(c->tls, on_pull);
        gnutls_transport_set_pull_timeout_function(c->tls, on_pull_timeout);
        gnutls_transport_set_push_function(c->tls, on_push);
}

/* ---- in ---- */

/* Tells the other side why, as far as the kernel takes it at once; then it is over. */
static void tls_failed(struct conn *c, int rc)
{
        if (!c->writing && gnutls_alert_send_appropriate(c->tls, rc) == 0 && c->sealed.n > 0) {
                uv_buf_t b = uv_buf_init((char *)c->sealed.p, (unsigned)c->sealed.n);
                (void)uv_try_write((uv_stream_t *)&c->tcp, &b, 1);
        }
        if (c->peer.fail.err != 0) {
                c->fault = c->peer.fail;
                conn_over(c, CONN_END_TLS, E_AUTH, "certificate refused");
        } else if (rc == GNUTLS_E_FATAL_ALERT_RECEIVED) {
                gnutls_alert_description_t a = gnutls_alert_get(c->tls);
                bool cert = a == GNUTLS_A_BAD_CERTIFICATE || a == GNUTLS_A_CERTIFICATE_UNKNOWN ||
                            a == GNUTLS_A_CERTIFICATE_REQUIRED || a == GNUTLS_A_UNKNOWN_CA ||
                            a == GNUTLS_A_ACCESS_DENIED || a == GNUTLS_A_CERTIFICATE_EXPIRED;
                (void)fail_set(&c->fault, cert ? E_AUTH : E_TLS, "the other side refused us: %s",
                        gnutls_alert_get_name(a));
                conn_over(c, CONN_END_TLS, c->fault.err, "");
        } else if (c->eof && (rc == GNUTLS_E_PREMATURE_TERMINATION || rc == GNUTLS_E_PULL_ERROR)) {
                conn_over(c, CONN_END_FIN, E_CLOSED, "closed by the other side");
        } else {
                conn_over(c, CONN_END_TLS, E_TLS, gnutls_strerror(rc));
        }
}

static bool pump_handshake(struct conn *c)
{
        int rc;
        do rc = gnutls_handshake(c->tls);
        while (rc == GNUTLS_E_WARNING_ALERT_RECEIVED || rc == GNUTLS_E_INTERRUPTED);
        if (rc == GNUTLS_E_AGAIN) {
                conn_flush(c);
                if (c->eof)
                        conn_over(c, CONN_END_FIN, E_CLOSED, "closed by the other side during the handshake");
                return false;
        }
        if (rc != 0 || !tls_accepted(c->ctx, &c->peer)) {
                tls_failed(c, rc != 0 ? rc : GNUTLS_E_CERTIFICATE_REQUIRED);
                return false;
        }
        if (!c->peer.present) {
                conn_set_frame_max(c, MIN(c->options.anonymous_max_bytes, c->options.frame_max_bytes));
        }
        conn_flush(c);
        if (c->closing || c->state != CONN_HANDSHAKE) return false;
        conn_opened(c);
        return !c->closing && c->state == CONN_READY;
}

/* Hands out complete frames. false: stop, because of a pause, a close or an end. */
static bool deliver(struct conn *c)
{
        size_t pos = 0;
        bool go_on = !c->paused;
        while (go_on && c->in.n - pos >= CONN_HEADER_SIZE) {
                const uint8_t *h = c->in.p + pos;
                uint32_t len = (uint32_t)h[0] << 24 | (uint32_t)h[1] << 16 | (uint32_t)h[2] << 8 | h[3];
                if (len < 2 || len - 2 > c->options.frame_max_bytes) {
                        conn_over(c, CONN_END_PROTOCOL, E_PROTOCOL,
                                "a frame is larger than allowed, or malformed");
                        return false;
                }
                if (c->in.n - pos < (size_t)len + 4) break;
                pos += (size_t)len + 4;
                c->frames_in++;
                if (c->state == CONN_READY)
                        c->ops->frame(c, (unsigned)(h[4] << 8 | h[5]), BLOB(h + CONN_HEADER_SIZE, len - 2));
                if (c->closing || c->state == CONN_ENDED) return false;
                go_on = !c->paused;
        }
        if (pos > 0) {
                memmove(c->in.p, c->in.p + pos, c->in.n - pos);
                c->in.n -= pos;
        }
        if (c->in.n == 0 && c->in.cap > KEEP_BYTES) buf_done(&c->in);
        return go_on;
}

/* One record more into `in`. 1 = something came, 0 = nothing there, -1 = over. */
static int decrypt(struct conn *c)
{
        uint8_t *to = buf_reserve(&c->in, RECORD_MAX);
        if (to == NULL) {
                conn_over(c, CONN_END_PROTOCOL, c->in.err, "no memory for a frame");
                return -1;
        }
        ssize_t rc;
        do rc = gnutls_record_recv(c->tls, to, RECORD_MAX);
        while (rc == GNUTLS_E_INTERRUPTED || rc == GNUTLS_E_WARNING_ALERT_RECEIVED);
        if (rc > 0) {
                buf_advance(&c->in, (size_t)rc);
                return 1;
        }
        if (rc == GNUTLS_E_AGAIN && !c->eof) return 0;
        if (rc == 0 || c->eof) {
                c->eof = true;
                if (c->state != CONN_FINISHING)
                        conn_over(c, CONN_END_FIN, E_CLOSED, "closed by the other side");
                else if (c->shut) conn_over(c, CONN_END_FINISHED, 0, "finished");
                return -1;
        }
        tls_failed(c, (int)rc);
        return -1;
}

static void watch_frame(struct conn *c)
{
        bool partial = c->in.n > 0, watched = uv_is_active((uv_handle_t *)&c->timer);
        if (!partial && watched) conn_deadline_clear(c);
        else if (partial && !watched) conn_deadline_set(c, c->options.frame_ms);
}

void conn_pump(struct conn *c)
{
        if (c->state == CONN_HANDSHAKE && !pump_handshake(c)) return;
        if (c->state != CONN_READY && c->state != CONN_FINISHING) return;
        for (;;) {
                uint64_t frames = c->frames_in;
                if (!deliver(c)) break;
                if (c->frames_in != frames && c->state == CONN_READY)
                        conn_deadline_clear(c); /* the next frame has its own deadline */
                int rc = decrypt(c);
                if (rc < 0) return;
                if (rc == 0) {
                        conn_read_start(c);
                        break;
                }
        }
        if (!c->closing && c->state == CONN_READY && !c->paused) watch_frame(c);
}

/* ---- out ---- */

size_t conn_queued_bytes(const struct conn *c) { return c->out.n - c->out_pos + c->flight.n; }

int conn_send(struct conn *c, unsigned kind, struct blob payload)
{
        if (c->closing || c->state != CONN_READY) return E_CLOSED;
        if (payload.n > UINT32_MAX / 2) return E_TOO_LARGE;
        if (conn_queued_bytes(c) >= c->options.high_water_bytes) {
                c->was_busy = true;
                return E_BUSY;
        }
        buf_put_be(&c->out, payload.n + 2, 4);
        buf_put_be(&c->out, kind, 2);
        buf_put(&c->out, payload.p, payload.n);
        if (c->out.err != 0) return c->out.err;
        c->frames_out++;
        if (!c->writing) conn_arm(c);
        return 0;
}

/* out -> sealed, up to SEAL_BYTES */
static int seal(struct conn *c)
{
        while (c->out_pos < c->out.n && c->sealed.n < SEAL_BYTES) {
                size_t n = MIN(c->out.n - c->out_pos, (size_t)RECORD_MAX);
                ssize_t rc = gnutls_record_send(c->tls, c->out.p + c->out_pos, n);
                if (rc == GNUTLS_E_INTERRUPTED) continue;
                if (rc <= 0) return (int)rc;
                c->out_pos += (size_t)rc;
        }
        if (c->out_pos == c->out.n) {
                c->out_pos = 0;
                buf_reset(&c->out);
                if (c->out.cap > KEEP_BYTES) buf_done(&c->out);
        } else if (c->out_pos > c->out.n / 2) {
                memmove(c->out.p, c->out.p + c->out_pos, c->out.n - c->out_pos);
                c->out.n -= c->out_pos;
                c->out_pos = 0;
        }
        return 0;
}

/* The kernel takes small amounts at once, which spares the loop another turn for the callback. true: all is
 * written. What it did not take, and errors, are left to uv_write. */
static bool write_now(struct conn *c)
{
        if (c->state != CONN_READY || c->was_busy || c->out.n != 0) return false;
        uv_buf_t v = uv_buf_init((char *)c->sealed.p, (unsigned)c->sealed.n);
        int rc = uv_try_write((uv_stream_t *)&c->tcp, &v, 1);
        if (rc <= 0) return false;
        c->bytes_out += (uint64_t)rc;
        memmove(c->sealed.p, c->sealed.p + rc, c->sealed.n - (size_t)rc);
        c->sealed.n -= (size_t)rc;
        return c->sealed.n == 0;
}

void conn_flush(struct conn *c)
{
        if (c->closing || c->writing || c->state == CONN_ENDED || c->state == CONN_IDLE ||
                c->state == CONN_CONNECTING)
                return;
        if (c->state != CONN_HANDSHAKE) {
                int rc = seal(c);
                if (rc != 0) {
                        conn_over(c, CONN_END_TLS, E_TLS, gnutls_strerror(rc));
                        return;
                }
        }
        if (c->sealed.n == 0) {
                if (c->state == CONN_FINISHING) conn_goodbye(c);
                return;
        }
        if (write_now(c)) return;
        struct buf b = c->flight;
        c->flight = c->sealed;
        c->sealed = b;
        uv_buf_t v = uv_buf_init((char *)c->flight.p, (unsigned)c->flight.n);
        int rc = uv_write(&c->write, (uv_stream_t *)&c->tcp, &v, 1, conn_on_written);
        if (rc != 0) {
                conn_over(c, CONN_END_RESET, E_CLOSED, uv_strerror(rc));
                return;
        }
        c->writing = true;
        c->bytes_out += c->flight.n;
        c->live++;
}

/* ---- small ones ---- */

void conn_set_frame_max(struct conn *c, uint32_t bytes)
{
        c->options.frame_max_bytes = bytes;
        c->in.limit_bytes = (size_t)CONN_HEADER_SIZE + bytes + 8 * RECORD_MAX;
}

const struct pki_identity *conn_identity(const struct conn *c)
{
        return c->peer.present ? &c->peer.id : NULL;
}

const struct fail *conn_fault(const struct conn *c) { return &c->fault; }
