#include "tests/unit/net_help.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

void creds_ca(struct creds *c, const char *cluster)
{
        struct fail f = { 0 };
        *c = (struct creds){ 0 };
        assert_int_equal(pki_make_ca(cluster, (uint64_t)time(NULL), &c->ca, &c->ca_key, &f), 0);
}

void creds_leaf(struct creds *c, const char *cluster, enum pki_role role, const char *name, uint64_t now_s)
{
        static const char *const addresses[] = { "127.0.0.1", "localhost" };
        struct fail f = { 0 };
        struct pem csr = { 0 };
        struct pki_subject s = { .cluster = cluster,
                .role = role,
                .name = name,
                .addresses = addresses,
                .addresses_n = 2,
                .now_s = now_s != 0 ? now_s : (uint64_t)time(NULL),
                .days = now_s != 0 ? 1 : 0 };
        assert_int_equal(pki_make_key(&c->key, &f), 0);
        assert_int_equal(pki_make_csr(&c->key, name, &csr, &f), 0);
        assert_int_equal(pki_sign(&c->ca, &c->ca_key, &csr, &s, &c->cert, &f), 0);
        pem_done(&csr);
}

void creds_done(struct creds *c)
{
        pem_done(&c->ca);
        pem_done(&c->ca_key);
        pem_done(&c->cert);
        pem_done(&c->key);
}

struct tls_ctx *creds_ctx(const struct creds *c, const char *cluster, bool anonymous)
{
        struct fail f = { 0 };
        struct tls_ctx *ctx = NULL;
        struct tls_config config = { .ca = &c->ca,
                .cert = c->cert.n > 0 ? &c->cert : NULL,
                .key = c->cert.n > 0 ? &c->key : NULL,
                .cluster = cluster,
                .allow_anonymous = anonymous };
        int err = tls_ctx_new(&config, &ctx, &f);
        if (err != 0) fail_msg("tls_ctx_new: %s", f.text);
        return ctx;
}

static void on_tick(uv_timer_t *t) {}

/* The clock is read here, and the timer repeats: one that fires at the start of a loop turn (libuv's idea of
 * the time is old after a long computation) would leave that turn's poll without an end. */
static void wait_for(uv_loop_t *loop, const bool *flag, unsigned ms, bool must)
{
        uv_timer_t t;
        uint64_t end_ns = uv_hrtime() + (uint64_t)ms * 1000000;
        uint64_t tick_ms = MIN(MAX(ms, 1u), 10u);
        uv_update_time(loop);
        uv_timer_init(loop, &t);
        uv_timer_start(&t, on_tick, tick_ms, tick_ms);
        while (uv_hrtime() < end_ns && (flag == NULL || !*flag)) uv_run(loop, UV_RUN_ONCE);
        uv_close((uv_handle_t *)&t, NULL);
        uv_run(loop, UV_RUN_NOWAIT); /* the close callback */
        if (must && (flag == NULL || !*flag)) fail_msg("nothing happened within %u ms", ms);
}

void run_until(uv_loop_t *loop, const bool *flag, unsigned ms)
{
        wait_for(loop, flag, MAX(ms, 60000u), true);
}

void run_for(uv_loop_t *loop, unsigned ms) { wait_for(loop, NULL, ms, false); }

void loop_end(uv_loop_t *loop)
{
        uv_run(loop, UV_RUN_DEFAULT);
        assert_int_equal(uv_loop_close(loop), 0);
}
