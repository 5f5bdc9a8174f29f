/* The admin socket's connections. What is asked is in admin_verbs.c.
 *
 * Happy path: connect -> credentials checked -> one frame -> dispatched -> answered by number -> closed by
 * the client. Each client has CLIENT_MS for everything. Debts: of the admin: its pipe and each client; of a
 * client: pipe, timer, a write. */
#include "raftctl/admin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raftctl/admin_int.h"
#include "wire/codec/codec.h"

enum { CLIENT_MS = 120000, BACKLOG = 8, PART_MS = 30000 };

static void settle(struct admin *a)
{
        assert(a->live > 0);
        if (--a->live > 0) return;
        assert(a->closing);
        void (*cb)(void *) = a->closed_cb;
        void *arg = a->closed_arg;
        free(a);
        cb(arg);
}

static void client_settle(struct admin_client *c)
{
        assert(c->live > 0);
        if (--c->live > 0) return;
        struct admin *a = c->admin;
        list_remove(&c->node);
        a->clients_n--;
        buf_done(&c->in);
        if (c->out.p != NULL) secret_wipe(c->out.p, c->out.n);
        buf_done(&c->out);
        free(c);
        settle(a);
}

static void on_client_closed(uv_handle_t *h) { client_settle(h->data); }

static void part_done(struct admin_client *c, int err)
{
        void (*next)(void *, int) = c->next;
        c->next = NULL;
        if (next != NULL) next(c->next_arg, err);
}

static void client_close(struct admin_client *c)
{
        if (c->closing) return;
        c->closing = true;
        part_done(c, E_CLOSED);
        uv_close((uv_handle_t *)&c->pipe, on_client_closed);
        uv_close((uv_handle_t *)&c->timer, on_client_closed);
}

static void on_timeout(uv_timer_t *t) { client_close(t->data); }

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
        struct admin_client *c = h->data;
        *ret = uv_buf_init((char *)c->rx, sizeof c->rx);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
        struct admin_client *c = s->data;
        if (c->closing || n == 0) return;
        if (n < 0 || c->asked) { /* gone, or it says more than one thing */
                client_close(c);
                return;
        }
        buf_put(&c->in, c->rx, (size_t)n);
        if (c->in.err != 0) {
                client_close(c);
                return;
        }
        if (c->in.n < CONN_HEADER_SIZE) return;
        const uint8_t *h = c->in.p;
        uint32_t len = (uint32_t)h[0] << 24 | (uint32_t)h[1] << 16 | (uint32_t)h[2] << 8 | h[3];
        if (len < 2 || len > ADMIN_FRAME_MAX || h[4] != 0 || h[5] != ADMIN_REQUEST ||
                c->in.n > (size_t)len + 4) {
                client_close(c);
                return;
        }
        if (c->in.n < (size_t)len + 4) return;
        c->asked = true;
        admin_dispatch(c->admin, c->number, BLOB(h + CONN_HEADER_SIZE, len - 2));
}

static bool allowed(uv_pipe_t *p)
{
        struct ucred u;
        socklen_t n = sizeof u;
        int fd;
        if (uv_fileno((uv_handle_t *)p, &fd) != 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &u, &n) != 0)
                return false;
        return u.uid == 0 || u.uid == geteuid();
}

static void on_connection(uv_stream_t *s, int status)
{
        struct admin *a = s->data;
        if (a->closing || status != 0) return;
        struct admin_client *c = xnew(struct admin_client);
        c->admin = a;
        c->number = ++a->last_number;
        c->in.limit_bytes = ADMIN_FRAME_MAX + CONN_HEADER_SIZE;
        int rc = uv_pipe_init(s->loop, &c->pipe, 0);
        if (rc == 0) rc = uv_timer_init(s->loop, &c->timer);
        assert(rc == 0);
        c->pipe.data = c->timer.data = c->write.data = c;
        c->live = 2;
        a->live++;
        a->clients_n++;
        list_push_back(&a->clients, &c->node);
        rc = uv_accept(s, (uv_stream_t *)&c->pipe);
        if (rc == 0) rc = uv_timer_start(&c->timer, on_timeout, CLIENT_MS, 0);
        if (rc == 0) rc = uv_read_start((uv_stream_t *)&c->pipe, on_alloc, on_read);
        if (rc != 0 || a->clients_n > ADMIN_CLIENTS_MAX || !allowed(&c->pipe)) client_close(c);
}

static void on_written(uv_write_t *w, int err)
{
        struct admin_client *c = w->data;
        if (err != 0) client_close(c);
        if (!c->closing && c->next != NULL) {
                c->writing = false;
                part_done(c, 0);
        }
        client_settle(c);
}

static struct admin_client *find_client(struct admin *a, uint64_t number)
{
        LIST_FOREACH(it, &a->clients)
        {
                struct admin_client *c = container_of(it, struct admin_client, node);
                if (c->number == number && !c->closing && !c->writing) return c;
        }
        return NULL;
}

static void send_frame(struct admin_client *c, enum admin_kind kind, struct blob content)
{
        buf_reset(&c->out);
        buf_put_be(&c->out, content.n + 2, 4);
        buf_put_be(&c->out, kind, 2);
        buf_put(&c->out, content.p, content.n);
        uv_buf_t v = uv_buf_init((char *)c->out.p, (unsigned)c->out.n);
        int err = c->out.err;
        if (err == 0) err = uv_write(&c->write, (uv_stream_t *)&c->pipe, &v, 1, on_written);
        if (err == 0) {
                c->writing = true;
                c->live++;
        } else {
                client_close(c);
        }
}

void admin_part_to(
        struct admin *a, uint64_t number, struct blob content, void (*next)(void *arg, int err), void *arg)
{
        struct admin_client *c = find_client(a, number);
        if (c == NULL) {
                next(arg, E_CLOSED);
                return;
        }
        c->next = next;
        c->next_arg = arg;
        int rc = uv_timer_start(&c->timer, on_timeout, PART_MS, 0);
        assert(rc == 0);
        send_frame(c, ADMIN_PART, content);
}

void admin_reply_to(struct admin *a, uint64_t number, const struct admin_reply *r)
{
        struct admin_client *c = find_client(a, number);
        struct buf body = { 0 };
        if (c == NULL) return;
        if (enc_msgpack(&admin_reply_type, r, &body) == 0) send_frame(c, ADMIN_REPLY, buf_blob(&body));
        else client_close(c);
        if (body.p != NULL) secret_wipe(body.p, body.n);
        buf_done(&body);
}

int admin_open(struct local_member *m, const char *run_dir, struct admin **ret, struct fail *f)
{
        struct admin *a = xnew(struct admin);
        *ret = a;
        a->m = m;
        list_init(&a->clients);
        int rc = uv_pipe_init(m->loop, &a->pipe, 0);
        assert(rc == 0);
        a->pipe.data = a;
        a->live = 1;
        int n = snprintf(a->path, sizeof a->path, "%s/" ADMIN_SOCKET, run_dir);
        if (n < 0 || (size_t)n >= sizeof a->path)
                return fail_set(f, E_TOO_LARGE, "path too long: %.100s", run_dir);
        if (mkdir(run_dir, 0755) != 0 && errno != EEXIST)
                return fail_set(f, -errno, "%s: %s", run_dir, strerror(errno));
        (void)unlink(a->path); /* the store's lock has made sure that no other member lives here */
        mode_t old = umask(0177);
        rc = uv_pipe_bind(&a->pipe, a->path);
        (void)umask(old);
        a->bound = rc == 0;
        if (rc == 0) rc = uv_listen((uv_stream_t *)&a->pipe, BACKLOG, on_connection);
        return rc == 0 ? 0 : fail_set(f, rc, "%s: %s", a->path, uv_strerror(rc));
}

static void on_pipe_closed(uv_handle_t *h) { settle(h->data); }

void admin_close(struct admin *a, void (*cb)(void *arg), void *arg)
{
        assert(!a->closing);
        a->closing = true;
        a->closed_cb = cb;
        a->closed_arg = arg;
        LIST_FOREACH_SAFE(it, nx, &a->clients) client_close(container_of(it, struct admin_client, node));
        if (a->bound) (void)unlink(a->path);
        uv_close((uv_handle_t *)&a->pipe, on_pipe_closed);
}
