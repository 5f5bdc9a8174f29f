#include "satellite/ship/ship_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "wire/base/buf.h"
#include "wire/base/macros.h"
#include "wire/base/mem.h"
#include "wire/base/sodium_once.h"

#define MAGIC "ORLINK1\n"
#define MAGIC_N 8u
#define HEAD crypto_secretstream_xchacha20poly1305_HEADERBYTES
#define SEAL crypto_secretstream_xchacha20poly1305_ABYTES
#define RECORD_MAX (SHIP_CHUNK + 1 + SEAL)
#define SLICE_MS 250
#define CONNECT_MS 10000u
#define LINGER_MS 5000u

void ship_keys_make(struct ship_keys *k)
{
        sodium_once();
        crypto_kx_keypair(k->own, k->secret);
}

static uint64_t now_ms(void)
{
        struct timespec t;
        (void)clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Until fd is ready, or until_ms. 0, E_TIMEOUT or E_CANCELED. */
static int wait_for(int fd, short events, const atomic_bool *cancel, uint64_t until_ms)
{
        for (;;) {
                struct pollfd p = { .fd = fd, .events = events };
                if (cancel != NULL && atomic_load(cancel)) return E_CANCELED;
                int n = poll(&p, 1, SLICE_MS);
                if (n > 0) return 0;
                if (n < 0 && errno != EINTR) return -errno;
                if (now_ms() >= until_ms) return E_TIMEOUT;
        }
}

static int told(struct fail *f, int err)
{
        if (err == E_TIMEOUT) return fail_set(f, err, "nothing has come through the connection for too long");
        if (err == E_CANCELED) return fail_set(f, err, "it was stopped");
        if (err == E_CLOSED) return fail_set(f, err, "the connection was lost");
        return fail_set(f, E_CLOSED, "the connection was lost: %s", err_text(err));
}

static int write_all(struct ship_link *l, const void *data, size_t n, struct fail *f)
{
        const uint8_t *p = data;
        while (n > 0) {
                int err = wait_for(l->fd, POLLOUT, l->cancel, now_ms() + SHIP_STALL_MS);
                if (err != 0) return told(f, err);
                ssize_t done = send(l->fd, p, n, MSG_NOSIGNAL);
                if (done < 0 && (errno == EINTR || errno == EAGAIN)) continue;
                if (done < 0) return told(f, -errno);
                p += done;
                n -= (size_t)done;
        }
        return 0;
}

static int read_all(struct ship_link *l, void *data, size_t n, struct fail *f)
{
        uint8_t *p = data;
        while (n > 0) {
                uint64_t until = l->hello_until != 0 ? l->hello_until : now_ms() + SHIP_STALL_MS;
                int err = wait_for(l->fd, POLLIN, l->cancel, until);
                if (err == 0 && l->hello_until != 0 && now_ms() >= until) err = E_TIMEOUT;
                if (err != 0) return told(f, err);
                ssize_t got = recv(l->fd, p, n, 0);
                if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
                if (got <= 0) return told(f, got < 0 ? -errno : E_CLOSED);
                p += got;
                n -= (size_t)got;
        }
        return 0;
}

/* ---- records ---- */

int ship_send(struct ship_link *l, enum ship_type type, const void *data, size_t n, struct fail *f)
{
        bool last = type == SHIP_ALL || type == SHIP_DONE || type == SHIP_REFUSED;
        uint8_t *plain = l->out, *sealed = l->out + 1 + SHIP_CHUNK;
        unsigned long long length = 0;
        if (n > SHIP_CHUNK) return fail_set(f, E_TOO_LARGE, "a record is too long");
        plain[0] = (uint8_t)type;
        if (n != 0) memcpy(plain + 1, data, n);
        if (crypto_secretstream_xchacha20poly1305_push(&l->tx, sealed + 4, &length, plain, n + 1, NULL, 0,
                    last ? crypto_secretstream_xchacha20poly1305_TAG_FINAL : 0) != 0)
                return fail_set(f, E_PROTOCOL, "a record cannot be encrypted");
        for (unsigned i = 0; i < 4; i++) sealed[i] = (uint8_t)(length >> (8 * (3 - i)));
        return write_all(l, sealed, 4 + (size_t)length, f);
}

int ship_recv(
        struct ship_link *l, enum ship_type *ret_type, const uint8_t **ret, size_t *ret_n, struct fail *f)
{
        uint8_t head[4], *plain = l->in + RECORD_MAX, tag = 0;
        unsigned long long n = 0;
        if (l->ended) return fail_set(f, E_CLOSED, "the other side has ended its stream");
        int err = read_all(l, head, sizeof head, f);
        if (err != 0) return err;
        size_t length = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
        if (length <= SEAL || length > RECORD_MAX)
                return fail_set(f, E_PROTOCOL, "a record has an impossible length");
        err = read_all(l, l->in, length, f);
        if (err != 0) return err;
        if (crypto_secretstream_xchacha20poly1305_pull(&l->rx, plain, &n, &tag, l->in, length, NULL, 0) !=
                        0 ||
                n == 0)
                return fail_set(
                        f, E_AUTH, "what came is not from the other side of the shipment, or is damaged");
        l->ended = tag == crypto_secretstream_xchacha20poly1305_TAG_FINAL;
        *ret_type = (enum ship_type)plain[0];
        bool last = plain[0] == SHIP_ALL || plain[0] == SHIP_DONE || plain[0] == SHIP_REFUSED;
        if (last != l->ended) return fail_set(f, E_PROTOCOL, "a stream does not end as it must");
        *ret = plain + 1;
        *ret_n = (size_t)n - 1;
        return 0;
}

/* ---- beginning ---- */

static int begin_keys(const struct ship_peer *p, bool client, uint8_t rx[crypto_kx_SESSIONKEYBYTES],
        uint8_t tx[crypto_kx_SESSIONKEYBYTES], struct fail *f)
{
        uint8_t peer[SHIP_KEY];
        size_t n = 0;
        if (p->peer_key == NULL ||
                sodium_hex2bin(peer, sizeof peer, p->peer_key, strlen(p->peer_key), NULL, &n, NULL) != 0 ||
                n != sizeof peer)
                return fail_set(f, E_INVALID, "the other side's key is none");
        int bad = client ? crypto_kx_client_session_keys(rx, tx, p->keys->own, p->keys->secret, peer)
                         : crypto_kx_server_session_keys(rx, tx, p->keys->own, p->keys->secret, peer);
        return bad == 0 ? 0 : fail_set(f, E_AUTH, "the other side's key cannot be used");
}

static int send_head(struct ship_link *l, const uint8_t *tx, struct fail *f)
{
        uint8_t head[MAGIC_N + HEAD];
        memcpy(head, MAGIC, MAGIC_N);
        crypto_secretstream_xchacha20poly1305_init_push(&l->tx, head + MAGIC_N, tx);
        return write_all(l, head, sizeof head, f);
}

static int recv_head(struct ship_link *l, const uint8_t *rx, struct fail *f)
{
        uint8_t head[MAGIC_N + HEAD];
        int err = read_all(l, head, sizeof head, f);
        if (err != 0) return err;
        if (memcmp(head, MAGIC, MAGIC_N) != 0 ||
                crypto_secretstream_xchacha20poly1305_init_pull(&l->rx, head + MAGIC_N, rx) != 0)
                return fail_set(f, E_PROTOCOL, "the other side speaks something else");
        return 0;
}

static int recv_hello(struct ship_link *l, const char *uuid, struct fail *f)
{
        enum ship_type type;
        const uint8_t *data;
        size_t n;
        int err = ship_recv(l, &type, &data, &n, f);
        if (err != 0) return err;
        if (type == SHIP_HELLO && n == strlen(uuid) && memcmp(data, uuid, n) == 0) return 0;
        return fail_set(f, E_AUTH, "the other side is about another shipment");
}

static int begin(struct ship_link *l, const struct ship_peer *p, bool client, struct fail *f)
{
        uint8_t rx[crypto_kx_SESSIONKEYBYTES], tx[crypto_kx_SESSIONKEYBYTES];
        l->hello_until = now_ms() + (p->hello_ms != 0 ? p->hello_ms : SHIP_HELLO_MS);
        int err = begin_keys(p, client, rx, tx, f);
        if (err == 0 && client) err = send_head(l, tx, f);
        if (err == 0 && client) err = ship_send(l, SHIP_HELLO, p->uuid, strlen(p->uuid), f);
        if (err == 0) err = recv_head(l, rx, f);
        if (err == 0) err = recv_hello(l, p->uuid, f);
        if (err == 0 && !client) err = send_head(l, tx, f);
        if (err == 0 && !client) err = ship_send(l, SHIP_HELLO, p->uuid, strlen(p->uuid), f);
        l->hello_until = 0;
        secret_wipe(rx, sizeof rx);
        secret_wipe(tx, sizeof tx);
        return err;
}

static void keep_alive(int fd)
{
        int one = 1, idle_s = 20, every_s = 10, count = 4, dead_ms = (int)SHIP_STALL_MS;
        (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof every_s);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &dead_ms, sizeof dead_ms);
}

static int open_link(struct ship_link *l, const struct ship_peer *p, int fd, bool client, struct fail *f)
{
        *l = (struct ship_link){ .fd = fd, .cancel = p->cancel };
        l->in = malloc(2 * RECORD_MAX);
        l->out = malloc(1 + SHIP_CHUNK + 4 + RECORD_MAX);
        keep_alive(fd);
        int err = l->in == NULL || l->out == NULL ? fail_set(f, E_LIMIT, "no memory for a connection")
                                                  : begin(l, p, client, f);
        if (err != 0) ship_link_close(l, false);
        return err;
}

static struct addrinfo *look_up(const char *address, unsigned port, bool passive)
{
        struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                .ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0) },
                        *found = NULL;
        char text[16];
        snprintf(text, sizeof text, "%u", port);
        return getaddrinfo(address, text, &hints, &found) == 0 ? found : NULL;
}

static int try_connect(const struct addrinfo *a, const atomic_bool *cancel)
{
        int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), failed = 0;
        socklen_t n = sizeof failed;
        if (fd < 0) return -errno;
        int err = connect(fd, a->ai_addr, a->ai_addrlen) == 0 || errno == EINPROGRESS ? 0 : -errno;
        if (err == 0) err = wait_for(fd, POLLOUT, cancel, now_ms() + CONNECT_MS);
        if (err == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &n) != 0) err = -errno;
        if (err == 0 && failed != 0) err = -failed;
        if (err == 0) return fd;
        close(fd);
        return err;
}

int ship_connect(
        struct ship_link *l, const struct ship_peer *p, const char *address, unsigned port, struct fail *f)
{
        struct addrinfo *a = look_up(address, port, false);
        if (a == NULL) return fail_set(f, E_INVALID, "'%.64s' is not an address", address);
        int fd = try_connect(a, p->cancel);
        freeaddrinfo(a);
        if (fd == E_CANCELED) return told(f, fd);
        if (fd < 0)
                return fail_set(
                        f, E_CLOSED, "%s, port %u, cannot be reached: %s", address, port, err_text(fd));
        return open_link(l, p, fd, true, f);
}

static int bind_one(const struct addrinfo *a)
{
        int one = 1, fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) return -errno;
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, 8) == 0) return fd;
        int err = -errno;
        close(fd);
        return err;
}

int ship_listen(const char *address, unsigned from, unsigned to, unsigned *ret_port, struct fail *f)
{
        int err = -EADDRINUSE;
        for (unsigned port = from; port <= to && port <= 65535; port++) {
                struct addrinfo *a = look_up(address, port, true);
                int fd = a != NULL ? bind_one(a) : -EADDRNOTAVAIL;
                if (a != NULL) freeaddrinfo(a);
                if (fd == -EADDRNOTAVAIL && address != NULL) { /* behind a translation of addresses */
                        address = NULL;
                        port--;
                        continue;
                }
                if (fd >= 0) *ret_port = port;
                if (fd >= 0) return fd;
                err = fd;
                if (fd != -EADDRINUSE && fd != -EACCES) break;
        }
        return fail_set(f, E_LIMIT, "no port of %u-%u can be listened at: %s", from, to, err_text(err));
}

int ship_accept(
        struct ship_link *l, const struct ship_peer *p, int listening, unsigned wait_ms, struct fail *f)
{
        uint64_t until = now_ms() + wait_ms;
        for (;;) {
                struct fail ignored = { 0 };
                int err = wait_for(listening, POLLIN, p->cancel, until);
                if (err == E_TIMEOUT) return fail_set(f, err, "nobody has connected");
                if (err != 0) return told(f, err);
                int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
                if (fd < 0) continue;
                err = open_link(l, p, fd, false, &ignored);
                if (err == 0 || err == E_CANCELED || err == E_LIMIT) {
                        *f = ignored;
                        return err;
                }
        }
}

void ship_link_close(struct ship_link *l, bool linger)
{
        if (l->fd >= 0 && linger) {
                uint64_t until = now_ms() + LINGER_MS;
                (void)shutdown(l->fd, SHUT_WR);
                while (wait_for(l->fd, POLLIN, l->cancel, until) == 0 &&
                        recv(l->fd, l->in, RECORD_MAX, 0) > 0) {
                }
        }
        if (l->fd >= 0) close(l->fd);
        if (l->in != NULL) secret_wipe(l->in, 2 * RECORD_MAX);
        if (l->out != NULL) secret_wipe(l->out, 1 + SHIP_CHUNK);
        free(l->in);
        free(l->out);
        secret_wipe(&l->rx, sizeof l->rx);
        secret_wipe(&l->tx, sizeof l->tx);
        l->fd = -1;
        l->in = l->out = NULL;
}
