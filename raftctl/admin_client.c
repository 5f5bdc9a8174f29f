/* The asking side of the admin socket: blocking, for programs. */
#include <limits.h>
#include <poll.h>
#include <stdio.h>
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
                        "with --set node.run_dir=DIR",
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

static int exchange(int fd, const struct admin_request *q, uint64_t until_ms, struct arena *a,
        struct admin_reply *ret, struct fail *f)
{
        struct buf body = { 0 }, frame = { 0 };
        uint8_t head[CONN_HEADER_SIZE];
        int err = enc_msgpack(&admin_request_type, q, &body);
        buf_put_be(&frame, body.n + 2, 4);
        buf_put_be(&frame, ADMIN_REQUEST, 2);
        buf_put(&frame, body.p, body.n);
        if (err == 0) err = frame.err;
        if (err == 0) err = write_all(fd, buf_blob(&frame), until_ms);
        buf_done(&body);
        buf_done(&frame);
        if (err == 0) err = read_exactly(fd, head, sizeof head, until_ms);
        if (err != 0) return fail_set(f, err, "the controller did not answer: %s", err_text(err));
        uint32_t len = (uint32_t)head[0] << 24 | (uint32_t)head[1] << 16 | (uint32_t)head[2] << 8 | head[3];
        if (len < 2 || len > ADMIN_FRAME_MAX || head[4] != 0 || head[5] != ADMIN_REPLY)
                return fail_set(
                        f, E_PROTOCOL, "the controller's answer cannot be understood (another version?)");
        uint8_t *p = arena_try(a, len);
        if (p == NULL) return fail_set(f, E_LIMIT, "the controller's answer is too large");
        err = read_exactly(fd, p, len - 2, until_ms);
        if (err != 0) return fail_set(f, err, "the controller did not answer: %s", err_text(err));
        return dec_msgpack(&admin_reply_type, BLOB(p, len - 2), DEC_TOLERANT, a, ret, f);
}

int admin_ask(const char *run_dir, const struct admin_request *request, unsigned timeout_ms, struct arena *a,
        struct admin_reply *ret, struct fail *f)
{
        *ret = (struct admin_reply){ 0 };
        int fd = connect_to(run_dir, f);
        if (fd < 0) return fd;
        int err = exchange(fd, request, env_real()->now_ms(env_real()) + timeout_ms, a, ret, f);
        (void)close(fd);
        return err;
}
