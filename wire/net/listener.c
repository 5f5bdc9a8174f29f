/* Accepting: one allocation for each connection, owned here from accept to close.
 *
 * A connection is on one of three lists: handshaking -> lent -> closing_list; it is freed in
 * on_conn_closed(). */
#include "wire/net/listener.h"

#include <stdlib.h>
#include <string.h>

enum { BACKLOG = 128, HANDSHAKES_DEFAULT = 64, CONNECTIONS_DEFAULT = 1024 };

struct accepted {
        struct conn conn; /* first */
        struct list link;
        struct listener *listener;
        bool dropped;
};

static void settle(struct listener *l)
{
        assert(l->live > 0);
        if (--l->live > 0) return;
        assert(l->closing);
        tls_ctx_unref(l->config.ctx);
        l->config.ctx = NULL;
        l->closed_cb(l);
}

static void on_listener_closed(uv_handle_t *h) { settle(h->data); }

static void on_conn_closed(struct conn *c)
{
        struct accepted *a = container_of(c, struct accepted, conn);
        struct listener *l = a->listener;
        list_remove(&a->link);
        l->total_n--;
        free(a);
        settle(l);
}

static void drop(struct accepted *a, bool was_handshaking)
{
        if (a->dropped) return;
        a->dropped = true;
        if (was_handshaking) a->listener->handshaking_n--;
        else a->listener->lent_n--;
        list_remove(&a->link);
        list_push_back(&a->listener->closing_list, &a->link);
        conn_close(&a->conn, on_conn_closed);
}

void listener_drop(struct conn *c)
{
        struct accepted *a = container_of(c, struct accepted, conn);
        assert(!a->dropped);
        drop(a, false);
}

static void on_opened(struct conn *c, int err)
{
        struct accepted *a = container_of(c, struct accepted, conn);
        struct listener *l = a->listener;
        struct fail full = { 0 };
        if (a->dropped) return; /* E_CANCELED of a connection that we close */
        if (err == 0 && l->lent_n >= l->config.connections_max)
                err = fail_set(&full, E_LIMIT, "there are %u connections already", l->lent_n);
        if (err != 0) {
                char address[64];
                l->refused_count++;
                conn_peer_address(c, address, sizeof address);
                if (l->ops->refused != NULL && !l->closing)
                        l->ops->refused(l, address, full.err != 0 ? &full : conn_fault(c));
                drop(a, true);
                return;
        }
        l->handshaking_n--;
        l->lent_n++;
        l->accepted_count++;
        list_remove(&a->link);
        list_push_back(&l->lent, &a->link);
        l->ops->accepted(l, c);
}

/* Until the user takes over. */
static void on_early_frame(struct conn *c, unsigned kind, struct blob payload) {}

static void on_early_end(struct conn *c, enum conn_end why)
{
        drop(container_of(c, struct accepted, conn), false);
}

static const struct conn_ops early_ops = {
        .opened = on_opened, .frame = on_early_frame, .end = on_early_end
};

static void on_connection(uv_stream_t *s, int status)
{
        struct listener *l = s->data;
        if (l->closing || status != 0) return;
        struct accepted *a = xnew(struct accepted);
        list_init(&a->link);
        a->listener = l;
        int err = conn_accept(&a->conn, s, l->config.ctx, &l->config.conn, &early_ops);
        l->live++;
        l->total_n++;
        l->handshaking_n++;
        list_push_back(&l->handshaking, &a->link);
        if (err != 0) {
                l->refused_count++;
                drop(a, true);
        } else if (l->handshaking_n > l->config.handshakes_max) {
                l->pushed_out_count++;
                drop(list_first(&l->handshaking, struct accepted, link), true);
        }
}

int listener_open(struct listener *l, uv_loop_t *loop, const struct listener_config *config,
        const struct listener_ops *ops, struct fail *f)
{
        void *data = l->data;
        char text[64];
        *l = (struct listener){ .data = data, .ops = ops, .config = *config };
        (void)tls_ctx_ref(l->config.ctx);
        if (l->config.handshakes_max == 0) l->config.handshakes_max = HANDSHAKES_DEFAULT;
        if (l->config.connections_max == 0) l->config.connections_max = CONNECTIONS_DEFAULT;
        list_init(&l->handshaking);
        list_init(&l->lent);
        list_init(&l->closing_list);
        int rc = uv_tcp_init(loop, &l->tcp);
        assert(rc == 0);
        l->tcp.data = l;
        l->live = 1;
        rc = uv_tcp_bind(&l->tcp, (const struct sockaddr *)&config->address, 0);
        if (rc == 0) rc = uv_listen((uv_stream_t *)&l->tcp, BACKLOG, on_connection);
        if (rc == 0) return 0;
        conn_format_address(&config->address, text, sizeof text);
        return fail_set(f, rc, "cannot listen on %s: %s", text, uv_strerror(rc));
}

void listener_address(const struct listener *l, struct sockaddr_storage *ret)
{
        int n = sizeof *ret;
        memset(ret, 0, sizeof *ret);
        (void)uv_tcp_getsockname(&l->tcp, (struct sockaddr *)ret, &n);
}

void listener_set_ctx(struct listener *l, struct tls_ctx *ctx)
{
        struct tls_ctx *old = l->config.ctx;
        l->config.ctx = tls_ctx_ref(ctx);
        tls_ctx_unref(old);
}

void listener_close(struct listener *l, listener_closed_fn *cb)
{
        assert(!l->closing);
        l->closing = true;
        l->closed_cb = cb;
        LIST_FOREACH_SAFE(it, nx, &l->handshaking) drop(container_of(it, struct accepted, link), true);
        LIST_FOREACH_SAFE(it, nx, &l->lent) drop(container_of(it, struct accepted, link), false);
        uv_close((uv_handle_t *)&l->tcp, on_listener_closed);
}
