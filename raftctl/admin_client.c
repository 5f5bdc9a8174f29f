/* The asking side of the admin socket: blocking, for programs. */
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "raftctl/admin.h"
#include "wire/codec/codec.h"

static int connect_to(const char *run_dir, struct fail *f)
{
        struct sockaddr_un a = { .sun_family = AF_UNIX };
        int n = snprintf(a.sun_path, sizeof a.sun_path, "%s/" ADMIN_SOCKET, run_dir);
        if (n < 0 || (size_t)n >= sizeof a.sun_path)
                return fail_set(f, E_TOO_LARGE, "path too long: %.100s", run_dir);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0) return fail_set(f, -errno, "socket: %s", strerror(errno));
        if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0) return fd;
        int err = errno;
        (void)close(fd);
        if (err == ENOENT || err == ECONNREFUSED)
                return fail_set(f, E_NOT_FOUND,
                        "no controller runs here (nothing listens at %s): start it, or give its directory "
                        "with --run-dir DIR (controller.run_dir)",
                        a.sun_path);
        if (err == EACCES || err == EPERM)
                return fail_set(f, E_AUTH, "%s: permission denied: run this as root", a.sun_path);
        return fail_set(f, -err, "%s: %s", a.sun_path, strerror(err));
}

static int wait_for(int fd, short events, uint64_t until_ms)
{
        for (;;) {
                uint64_t now = env_real()->now_ms(env_real());
                if (now >= until_ms) return E_TIMEOUT;
                struct pollfd p = { .fd = fd, .events = events };
                int rc = poll(&p, 1, (int)MIN(until_ms - now, (uint64_t)INT_MAX));
                if (rc > 0) return 0;
                if (rc < 0 && errno != EINTR) return -errno;
        }
}

static int write_all(int fd, struct blob b, uint64_t until_ms)
{
        while (b.n > 0) {
                int err = wait_for(fd, POLLOUT, until_ms);
                if (err != 0) return err;
                ssize_t w = send(fd, b.p, b.n, MSG_NOSIGNAL | MSG_DONTWAIT);
                if (w < 0 && errno != EINTR && errno != EAGAIN) return -errno;
                if (w > 0) b = BLOB(b.p + w, b.n - (size_t)w);
        }
        return 0;
}

static int read_exactly(int fd, uint8_t *p, size_t n, uint64_t until_ms)
{
        while (n > 0) {
                int err = wait_for(fd, POLLIN, until_ms);
                if (err != 0) return err;
                ssize_t r = recv(fd, p, n, MSG_DONTWAIT);
                if (r == 0) return E_CLOSED;
                if (r < 0 && errno != EINTR && errno != EAGAIN) return -errno;
                if (r > 0) {
                        p += r;
                        n -= (size_t)r;
                }
        }
        return 0;
}

struct asking {
        int fd;
        unsigned timeout_ms;
        uint64_t until_ms;
        admin_part_fn *fn; /* NULL: no parts are expected */
        void *arg;
};

static int ask(struct asking *x, const struct admin_request *q)
{
        struct buf body = { 0 }, frame = { 0 };
        int err = enc_msgpack(&admin_request_type, q, &body);
        buf_put_be(&frame, body.n + 2, 4);
        buf_put_be(&frame, ADMIN_REQUEST, 2);
        buf_put(&frame, body.p, body.n);
        if (err == 0) err = frame.err;
        if (err == 0) err = write_all(x->fd, buf_blob(&frame), x->until_ms);
        buf_done(&body);
        buf_done(&frame);
        return err;
}

static int no_answer(struct fail *f, int err)
{
        return fail_set(f, err, "the controller did not answer: %s", err_text(err));
}

/* The size of a frame's content, and its kind. */
static int read_head(struct asking *x, size_t *ret_n, enum admin_kind *ret_kind, struct fail *f)
{
        uint8_t head[CONN_HEADER_SIZE];
        int err = read_exactly(x->fd, head, sizeof head, x->until_ms);
        if (err != 0) return no_answer(f, err);
        uint32_t len = (uint32_t)head[0] << 24 | (uint32_t)head[1] << 16 | (uint32_t)head[2] << 8 | head[3];
        bool part = x->fn != NULL && head[5] == ADMIN_PART;
        if (len < 2 || len > (part ? ADMIN_PART_MAX : ADMIN_FRAME_MAX) || head[4] != 0 ||
                (head[5] != ADMIN_REPLY && !part))
                return fail_set(
                        f, E_PROTOCOL, "the controller's answer cannot be understood (another version?)");
        *ret_n = len - 2;
        *ret_kind = part ? ADMIN_PART : ADMIN_REPLY;
        return 0;
}

static int read_part(struct asking *x, size_t n, struct fail *f)
{
        uint8_t *p = xmalloc(n + 1);
        int err = read_exactly(x->fd, p, n, x->until_ms);
        if (err != 0) (void)no_answer(f, err);
        if (err == 0) err = x->fn(x->arg, BLOB(p, n));
        secret_wipe(p, n);
        free(p);
        return err;
}

static int exchange(struct asking *x, const struct admin_request *q, struct arena *a, struct admin_reply *ret,
        struct fail *f)
{
        enum admin_kind kind = ADMIN_PART;
        size_t n = 0;
        int err = ask(x, q);
        if (err != 0) return no_answer(f, err);
        while ((err = read_head(x, &n, &kind, f)) == 0 && kind == ADMIN_PART) {
                err = read_part(x, n, f);
                if (err != 0) return err;
                x->until_ms = env_real()->now_ms(env_real()) + x->timeout_ms;
        }
        if (err != 0) return err;
        uint8_t *p = arena_try(a, n + 2);
        if (p == NULL) return fail_set(f, E_LIMIT, "the controller's answer is too large");
        err = read_exactly(x->fd, p, n, x->until_ms);
        if (err != 0) return no_answer(f, err);
        return dec_msgpack(&admin_reply_type, BLOB(p, n), DEC_TOLERANT, a, ret, f);
}

int admin_ask_parts(const char *run_dir, const struct admin_request *request, unsigned timeout_ms,
        admin_part_fn *fn, void *arg, struct arena *a, struct admin_reply *ret, struct fail *f)
{
        *ret = (struct admin_reply){ 0 };
        struct asking x = { .fd = connect_to(run_dir, f), .timeout_ms = timeout_ms, .fn = fn, .arg = arg };
        if (x.fd < 0) return x.fd;
        x.until_ms = env_real()->now_ms(env_real()) + timeout_ms;
        int err = exchange(&x, request, a, ret, f);
        (void)close(x.fd);
        return err;
}

int admin_ask(const char *run_dir, const struct admin_request *request, unsigned timeout_ms, struct arena *a,
        struct admin_reply *ret, struct fail *f)
{
        return admin_ask_parts(run_dir, request, timeout_ms, NULL, NULL, a, ret, f);
}
