/* The frames of a connection, behind TLS: bytes arrive in pieces of any size, frames come out whole, in order
 * and within the limit, and nothing else does. conn_io.c is compiled in, because its parser of frames is its
 * own affair. */
#include <string.h>

#include "tests/fuzz/input.h"

/* NOLINTNEXTLINE: its static functions are what is tested */
#include "wire/net/conn_io.c"

enum { FRAME_MAX = 300 };

struct taken {
        const uint8_t *all; /* the stream */
        size_t at, n;
        unsigned pause_every, frames;
        bool over;
};

static void on_frame(struct conn *c, unsigned kind, struct blob payload)
{
        struct taken *t = c->data;
        size_t len = payload.n + 2;
        FUZZ_CHECK(!t->over && payload.n <= FRAME_MAX && t->n - t->at >= 4 + len);
        const uint8_t *h = t->all + t->at;
        FUZZ_CHECK(((size_t)h[0] << 24 | (size_t)h[1] << 16 | (size_t)h[2] << 8 | h[3]) == len);
        FUZZ_CHECK(kind == ((unsigned)h[4] << 8 | h[5]));
        FUZZ_CHECK(payload.n == 0 || memcmp(h + CONN_HEADER_SIZE, payload.p, payload.n) == 0);
        t->at += 4 + len;
        t->frames++;
        if (t->pause_every != 0 && t->frames % t->pause_every == 0) c->paused = true;
}
static void on_end(struct conn *c, enum conn_end why)
{
        struct taken *t = c->data;
        FUZZ_CHECK(why == CONN_END_PROTOCOL && !t->over);
        t->over = true;
}
static void on_opened(struct conn *c, int err) { FUZZ_CHECK(err == 0 && c->data == NULL); }
static const struct conn_ops ops = { .opened = on_opened, .frame = on_frame, .end = on_end };

/* Does the stream end, after the frames that came out, within a frame that may come? */
static bool rest_is_partial(const struct taken *t)
{
        const uint8_t *h = t->all + t->at;
        size_t n = t->n - t->at;
        if (n < CONN_HEADER_SIZE) return true;
        size_t len = (size_t)h[0] << 24 | (size_t)h[1] << 16 | (size_t)h[2] << 8 | h[3];
        return len >= 2 && len - 2 <= FRAME_MAX && n < len + 4;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct input in = { data, size };
        struct conn c = { 0 };
        uv_loop_t loop;
        unsigned piece = 1 + input_below(&in, 64);
        struct taken t = { .pause_every = input_below(&in, 4) };
        FUZZ_CHECK(uv_loop_init(&loop) == 0);
        FUZZ_CHECK(uv_timer_init(&loop, &c.timer) == 0 && uv_prepare_init(&loop, &c.turn) == 0);
        FUZZ_CHECK(uv_tcp_init(&loop, &c.tcp) == 0);
        conn_options_init(&c.options);
        conn_set_frame_max(&c, FRAME_MAX);
        c.ops = &ops;
        c.data = &t;
        c.state = CONN_READY;
        t.all = in.p;
        t.n = in.n;
        while (in.n > 0 && !t.over) {
                struct blob b = input_take(&in, piece);
                buf_put(&c.in, b.p, b.n);
                FUZZ_CHECK(c.in.err == 0);
                while (!deliver(&c) && !t.over) c.paused = false;
                c.paused = false;
        }
        FUZZ_CHECK(t.over || rest_is_partial(&t));
        FUZZ_CHECK(t.over || c.frames_in == t.frames);
        buf_done(&c.in);
        uv_close((uv_handle_t *)&c.timer, NULL);
        uv_close((uv_handle_t *)&c.turn, NULL);
        uv_close((uv_handle_t *)&c.tcp, NULL);
        (void)uv_run(&loop, UV_RUN_DEFAULT);
        FUZZ_CHECK(uv_loop_close(&loop) == 0);
        return 0;
}
