/* How long a mutual TLS handshake takes and how many frames a second pass, over loopback, both ends on one
 * thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "wire/net/listener.h"

#define CLUSTER "11111111-2222-3333-4444-555555555555"
enum { HANDSHAKES = 200 };

static struct {
        uv_loop_t loop;
        struct listener listener;
        struct conn client;
        struct conn *server;
        struct tls_ctx *ctx;
        uint64_t frames, bytes;
        bool opened, accepted, closed, gone;
} b;

static void on_opened(struct conn *c, int err)
{
        if (err != 0) {
                (void)fprintf(stderr, "opened: %s\n", conn_fault(c)->text);
                exit(1);
        }
        b.opened = true;
}
static void on_frame(struct conn *c, unsigned kind, struct blob payload)
{
        b.frames++;
        b.bytes += payload.n;
}
static void on_end(struct conn *c, enum conn_end why)
{
        if (c == b.server) {
                listener_drop(c);
                b.server = NULL;
                b.gone = true;
        }
}
static const struct conn_ops ops = { .opened = on_opened, .frame = on_frame, .end = on_end };
static void on_accepted(struct listener *l, struct conn *c)
{
        b.server = c;
        b.accepted = true;
        conn_set_ops(c, &ops, NULL);
}
static const struct listener_ops lops = { .accepted = on_accepted };
static void on_closed(struct conn *c) { b.closed = true; }
static void on_listener_closed(struct listener *l) {}

static void must(int err, const struct fail *f)
{
        if (err == 0) return;
        (void)fprintf(stderr, "%s: %s\n", err_text(err), f->text);
        exit(1);
}

static void make_ctx(void)
{
        struct fail f = { 0 };
        struct pem ca = { 0 }, ca_key = { 0 }, key = { 0 }, csr = { 0 }, cert = { 0 };
        struct pki_subject s = {
                .cluster = CLUSTER, .role = PKI_CONTROLLER, .name = "a", .now_s = (uint64_t)time(NULL)
        };
        must(pki_make_ca(CLUSTER, s.now_s, &ca, &ca_key, &f), &f);
        must(pki_make_key(&key, &f), &f);
        must(pki_make_csr(&key, "a", &csr, &f), &f);
        must(pki_sign(&ca, &ca_key, &csr, &s, &cert, &f), &f);
        struct tls_config config = { .ca = &ca, .cert = &cert, .key = &key, .cluster = CLUSTER };
        must(tls_ctx_new(&config, &b.ctx, &f), &f);
        pem_done(&ca);
        pem_done(&ca_key);
        pem_done(&key);
        pem_done(&csr);
        pem_done(&cert);
}

static void open_pair(const struct conn_options *o)
{
        struct fail f = { 0 };
        struct sockaddr_storage to;
        listener_address(&b.listener, &to);
        b.opened = b.accepted = b.closed = b.gone = false;
        must(conn_connect(&b.client, &b.loop, &to, b.ctx, o, &ops), &f);
        while (!b.opened || !b.accepted) uv_run(&b.loop, UV_RUN_ONCE);
}
static void close_pair(void)
{
        conn_close(&b.client, on_closed);
        while (!b.closed || !b.gone) uv_run(&b.loop, UV_RUN_ONCE);
}

static void frames(size_t size, uint64_t count)
{
        uint8_t *p = xcalloc(1, size);
        b.frames = b.bytes = 0;
        uint64_t t0 = uv_hrtime(), sent = 0;
        while (b.frames < count) {
                while (sent < count && conn_send(&b.client, 1, BLOB(p, size)) == 0) sent++;
                uv_run(&b.loop, UV_RUN_ONCE);
        }
        double s = (double)(uv_hrtime() - t0) / 1e9;
        printf("frames of %7zu bytes: %10.0f a second, %8.1f MB/s\n", size, (double)count / s,
                (double)b.bytes / s / 1e6);
        free(p);
}

int main(void)
{
        struct fail f = { 0 };
        struct conn_options o;
        uv_loop_init(&b.loop);
        make_ctx();
        conn_options_init(&o);
        o.high_water_bytes = 4 << 20;
        struct listener_config lc = { .conn = o, .ctx = b.ctx };
        must(conn_parse_address("127.0.0.1", 0, &lc.address), &f);
        must(listener_open(&b.listener, &b.loop, &lc, &lops, &f), &f);
        uint64_t t0 = uv_hrtime();
        for (unsigned i = 0; i < HANDSHAKES; i++) {
                open_pair(&o);
                close_pair();
        }
        printf("connect + handshake + close, both ends on one thread: %.2f ms\n",
                (double)(uv_hrtime() - t0) / 1e6 / HANDSHAKES);
        open_pair(&o);
        frames(64, 300000);
        frames(256, 300000);
        frames(4096, 100000);
        frames(65536, 10000);
        frames(1 << 20, 500);
        close_pair();
        listener_close(&b.listener, on_listener_closed);
        uv_run(&b.loop, UV_RUN_DEFAULT);
        tls_ctx_unref(b.ctx);
        return uv_loop_close(&b.loop);
}
