#include "tests/unit/net_pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct creds good;

/* ---- one side of a connection, with what happened to it ---- */

static void on_side_closed(struct conn *c)
{
        struct side *s = c->data;
        assert_false(s->closed);
        s->closed = true;
        memset(c, 0xdd, sizeof *c);
        free(c);
        s->c = NULL;
}

void side_close(struct side *s)
{
        if (s->c == NULL) return;
        struct conn *c = s->c;
        if (s->taken) {
                s->c = NULL;
                listener_drop(c);
        } else if (!c->closing) {
                conn_close(c, on_side_closed);
        }
}

static void on_opened(struct conn *c, int err)
{
        struct side *s = c->data;
        assert_false(s->opened);
        assert_false(s->closed);
        s->opened = true;
        s->opened_err = err;
        if (err != 0) {
                (void)snprintf(s->text, sizeof s->text, "%s", conn_fault(c)->text);
                s->done = true;
        }
        if (s->pause_at_open) conn_pause(c);
        if (s->close_in == HOOK_OPENED) side_close(s);
}

uint32_t sum_of(struct blob b)
{
        uint32_t h = 2166136261u;
        for (size_t i = 0; i < b.n; i++) h = (h ^ b.p[i]) * 16777619u;
        return h;
}

static void on_frame(struct conn *c, unsigned kind, struct blob payload)
{
        struct side *s = c->data;
        assert_false(s->closed || s->ended);
        s->while_paused |= c->paused;
        s->frames++;
        s->bytes += payload.n;
        s->sum ^= sum_of(payload) + kind;
        if (s->echo) assert_int_equal(conn_send(c, kind + 1, payload), 0);
        if (s->pause_at_frame) conn_pause(c);
        if (s->close_in == HOOK_FRAME) side_close(s);
}

static void on_writable(struct conn *c) { ((struct side *)c->data)->writable++; }

static void on_end(struct conn *c, enum conn_end why)
{
        struct side *s = c->data;
        assert_false(s->ended || s->closed);
        s->ended = s->done = true;
        s->why = why;
        s->end_err = conn_fault(c)->err;
        (void)snprintf(s->text, sizeof s->text, "%s", conn_fault(c)->text);
        if (s->close_in == HOOK_END) side_close(s);
}

const struct conn_ops side_ops = { on_opened, on_frame, on_writable, on_end };

/* ---- a listener and a client on one loop ---- */

static void on_accepted(struct listener *l, struct conn *c)
{
        struct pair *p = l->data;
        p->accepted++;
        if (p->server.c != NULL || p->accepted > 1) { /* only the first one is looked at */
                listener_drop(c);
                return;
        }
        p->was_accepted = true;
        p->server.c = c;
        p->server.taken = p->server.opened = true;
        conn_set_ops(c, &side_ops, &p->server);
        if (p->server.pause_at_open) conn_pause(c);
        if (p->server.close_in == HOOK_OPENED) side_close(&p->server);
}

static void on_refused(struct listener *l, const char *address, const struct fail *why)
{
        struct pair *p = l->data;
        p->refused++;
        p->was_refused = true;
        p->refused_err = why->err;
        (void)snprintf(p->refused_text, sizeof p->refused_text, "%s", why->text);
}

static const struct listener_ops listener_ops = { on_accepted, on_refused };

void pair_on_listener_closed(struct listener *l)
{
        struct pair *p = l->data;
        assert_false(p->listener_closed);
        p->listener_closed = true;
}

void pair_open(struct pair *p, const struct creds *server, bool anonymous, unsigned handshakes_max)
{
        struct fail f = { 0 };
        *p = (struct pair){ 0 };
        assert_int_equal(uv_loop_init(&p->loop), 0);
        if (p->options.handshake_ms == 0) conn_options_init(&p->options);
        p->options.handshake_ms = 2000;
        p->options.frame_max_bytes = 4 << 20;
        struct listener_config config = { .conn = p->options, .handshakes_max = handshakes_max };
        config.conn.handshake_ms = 20000; /* as below; tests of that deadline have another one */
        config.conn.frame_ms = 20000;     /* a busy machine, with sanitizers */
        assert_int_equal(conn_parse_address("127.0.0.1:0", 0, &config.address),
                E_INVALID); /* port 0 is not for users */
        assert_int_equal(conn_parse_address("127.0.0.1", 0, &config.address), 0);
        config.ctx = creds_ctx(server, CLUSTER_A, anonymous);
        p->listener.data = p;
        assert_int_equal(listener_open(&p->listener, &p->loop, &config, &listener_ops, &f), 0);
        tls_ctx_unref(config.ctx);
        listener_address(&p->listener, &p->address);
}

void pair_connect(struct pair *p, const struct creds *client, const char *cluster)
{
        struct tls_ctx *ctx = creds_ctx(client, cluster, false);
        p->client.c = xnew(struct conn);
        p->client.c->data = &p->client;
        assert_int_equal(conn_connect(p->client.c, &p->loop, &p->address, ctx, &p->options, &side_ops), 0);
        tls_ctx_unref(ctx);
}

void pair_end(struct pair *p)
{
        side_close(&p->client);
        side_close(&p->server);
        listener_close(&p->listener, pair_on_listener_closed);
        loop_end(&p->loop);
        assert_true(p->listener_closed);
        assert_int_equal(p->listener.total_n, 0);
        assert_int_equal(p->listener.handshaking_n, 0);
}

int pair_setup(void **state)
{
        creds_ca(&good, CLUSTER_A);
        creds_leaf(&good, CLUSTER_A, PKI_CONTROLLER, "alpha", 0);
        return 0;
}

int pair_teardown(void **state)
{
        creds_done(&good);
        return 0;
}
