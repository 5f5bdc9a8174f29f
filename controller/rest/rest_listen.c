/* Listening sockets of the REST server. They belong to the loop, not to libmicrohttpd, so that closing one
 * refuses connects at once while everything that was accepted goes on. */
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "controller/rest/rest_internal.h"
#include "wire/base/log.h"

#define BACKLOG 1024
#define ACCEPT_BATCH 64
#define PORT_HTTP 3370
#define PORT_HTTPS 3371
/* A handshake that had begun is over by then, or its client is far away and slow. */
#define LEAVE_MS 150
#define SYN_RECV "03" /* a handshake, in the kernel's table of sockets */
/* Of a TCP header. */
#define FLAGS_AT 13
#define SYN_ACK_MASK 0x12
#define SYN 0x02

static int parse_unix(struct listener *l, const char *text, struct fail *f)
{
        struct sockaddr_un *un = (struct sockaddr_un *)&l->addr;
        un->sun_family = AF_UNIX;
        int n = snprintf(un->sun_path, sizeof un->sun_path, "%s", text);
        if (n < 0 || (size_t)n >= sizeof un->sun_path)
                return fail_set(f, E_CONFIG, "path of the unix socket is too long: %s", text);
        l->addr_n = sizeof *un;
        return 0;
}

int rest_listener_parse(struct listener *l, const char *text, struct fail *f)
{
        if (!text || !*text) return 0;
        l->configured = true;
        if (l->which == REST_UNIX) return parse_unix(l, text, f);
        char host[64];
        unsigned long port = l->which == REST_HTTPS ? PORT_HTTPS : PORT_HTTP;
        const char *close = strrchr(text, ']'), *colon = strrchr(text, ':'), *p = text;
        bool bare_v6 = close == NULL && colon != NULL && strchr(text, ':') != colon;
        if (colon != NULL && (bare_v6 || colon < close)) colon = NULL;
        size_t n = colon ? (size_t)(colon - text) : strlen(text);
        if (n >= 2 && p[0] == '[' && p[n - 1] == ']') {
                p++;
                n -= 2;
        }
        char *end = NULL;
        if (colon) port = strtoul(colon + 1, &end, 10);
        if ((colon && (end == colon + 1 || *end)) || port > 65535 || n == 0 || n >= sizeof host)
                return fail_set(f, E_CONFIG, "not an address and port: %s", text);
        memcpy(host, p, n);
        host[n] = 0;
        if (uv_ip4_addr(host, (int)port, (struct sockaddr_in *)&l->addr) == 0) {
                l->addr_n = sizeof(struct sockaddr_in);
                return 0;
        }
        if (uv_ip6_addr(host, (int)port, (struct sockaddr_in6 *)&l->addr) == 0) {
                l->addr_n = sizeof(struct sockaddr_in6);
                return 0;
        }
        return fail_set(f, E_CONFIG, "not an IPv4 or IPv6 address: %s", host);
}

/* The peer of the unix socket must be root, or whoever runs this program. */
static bool peer_allowed(int fd)
{
        struct ucred cred;
        socklen_t n = sizeof cred;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) != 0) return false;
        return cred.uid == 0 || cred.uid == geteuid();
}

static void pause_accepting(struct listening *g)
{
        if (!g->paused) uv_poll_stop(&g->poll);
        g->paused = true;
}

static void accept_some(struct listening *g, unsigned max)
{
        struct rest *r = g->l->rest;
        for (unsigned i = 0; i < max; i++) {
                if (!rest_conn_room(r, g->l->which)) {
                        pause_accepting(g);
                        return;
                }
                struct sockaddr_storage sa;
                socklen_t sa_n = sizeof sa;
                int fd = accept4(g->fd, (struct sockaddr *)&sa, &sa_n, SOCK_NONBLOCK | SOCK_CLOEXEC);
                if (fd < 0) {
                        if (errno == EINTR || errno == ECONNABORTED) continue;
                        if (errno != EAGAIN) {
                                log_warn("rest", "accept: %s", strerror(errno));
                                pause_accepting(g);
                        }
                        return;
                }
                if (g->l->which == REST_UNIX && !peer_allowed(fd)) {
                        close(fd);
                        continue;
                }
                rest_conn_add(r, g->l->which, fd, (struct sockaddr *)&sa, sa_n);
        }
}

/* Has somebody begun to connect and is not connected yet? True as well when that cannot be told. */
static bool handshakes(const struct listener *l)
{
        bool v6 = l->addr.ss_family == AF_INET6, yes = false;
        char line[512], local[96], state[8];
        unsigned port = ntohs(v6 ? ((const struct sockaddr_in6 *)&l->addr)->sin6_port
                                 : ((const struct sockaddr_in *)&l->addr)->sin_port);
        FILE *f = fopen(v6 ? "/proc/self/net/tcp6" : "/proc/self/net/tcp", "re");
        if (!f) return true;
        while (!yes && fgets(line, sizeof line, f)) {
                /* "0: ADDRESS:PORT ADDRESS:PORT STATE ...", in hexadecimal */
                if (sscanf(line, " %*[^:]: %90s %*s %7s", local, state) != 2) continue;
                const char *colon = strrchr(local, ':');
                yes = colon && strtoul(colon + 1, NULL, 16) == port && strcmp(state, SYN_RECV) == 0;
        }
        (void)fclose(f);
        return yes;
}

static void close_now(struct listener *l);

static void on_readable(uv_poll_t *poll, int status, int events)
{
        struct listening *g = poll->data;
        if (uv_is_closing((uv_handle_t *)poll)) return;
        accept_some(g, ACCEPT_BATCH);
        if (g->leave_ms && !handshakes(g->l)) close_now(g->l); /* that was the last one */
}

static int bind_socket(struct listener *l, int fd)
{
        int one = 1, zero = 0;
        if (l->addr.ss_family == AF_UNIX) {
                const char *path = ((struct sockaddr_un *)&l->addr)->sun_path;
                unlink(path);
                mode_t mask = umask(0177);
                int rc = bind(fd, (struct sockaddr *)&l->addr, l->addr_n);
                umask(mask);
                return rc == 0 ? 0 : -errno;
        }
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (l->addr.ss_family == AF_INET6) setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
        if (bind(fd, (struct sockaddr *)&l->addr, l->addr_n) != 0) return -errno;
        /* The port that port 0 became is kept, for opening it again. */
        socklen_t n = sizeof l->addr;
        return getsockname(fd, (struct sockaddr *)&l->addr, &n) == 0 ? 0 : -errno;
}

int rest_listener_open(struct listener *l, struct fail *f)
{
        static const char *const names[] = { "http", "https", "unix" };
        if (!l->configured) return 0;
        if (l->listening) {
                /* The kernel wants an integer that it does not look at; a filter that stays would drop all calls. */
                int unused = 0;
                if (l->listening->leave_ms && setsockopt(l->listening->fd, SOL_SOCKET, SO_DETACH_FILTER,
                                                      &unused, sizeof unused) != 0)
                        log_warn("rest", "calls are still dropped: %s", strerror(errno));
                l->listening->leave_ms = 0;
                return 0;
        }
        int fd = socket(l->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) return fail_set(f, -errno, "socket: %s", strerror(errno));
        int err = bind_socket(l, fd);
        if (err == 0 && listen(fd, BACKLOG) != 0) err = -errno;
        struct listening *g = xnew(struct listening);
        if (err == 0) err = uv_poll_init(l->rest->config.loop, &g->poll, fd);
        if (err) {
                close(fd);
                free(g);
                return fail_set(f, err, "%s listener: %s", names[l->which], err_text(err));
        }
        g->fd = fd;
        g->l = l;
        g->poll.data = g;
        uv_poll_start(&g->poll, UV_READABLE, on_readable);
        l->listening = g;
        l->rest->live++;
        return 0;
}

static void on_closed(uv_handle_t *handle)
{
        struct listening *g = handle->data;
        struct rest *r = g->l->rest;
        free(g);
        rest_settle(r);
}

static void close_now(struct listener *l)
{
        struct listening *g = l->listening;
        g->paused = true;
        accept_some(g, BACKLOG);
        l->listening = NULL;
        uv_poll_stop(&g->poll);
        uv_close((uv_handle_t *)&g->poll, on_closed);
        if (l->which == REST_UNIX) unlink(((struct sockaddr_un *)&l->addr)->sun_path);
        /* uv_poll_stop took it out of the loop's set already. */
        close(g->fd);
}

static bool refuse_new(int fd)
{
        struct sock_filter code[] = {
                BPF_STMT(BPF_LD | BPF_B | BPF_ABS, FLAGS_AT),
                BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SYN_ACK_MASK),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYN, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, 0),
                BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        };
        struct sock_fprog program = { .len = ARRAY_LEN(code), .filter = code };
        return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0;
}

/* New calls are dropped, not refused, as long as handshakes are under way: whoever is dropped calls again a
 * second later, so that is kept as short as it can be. */
void rest_listener_close(struct listener *l)
{
        struct listening *g = l->listening;
        if (!g || g->leave_ms) return;
        g->leave_ms = l->rest->env->now_ms(l->rest->env) + LEAVE_MS;
        if (l->which == REST_UNIX || !refuse_new(g->fd) || !handshakes(l)) close_now(l);
}

void rest_listener_abort(struct listener *l)
{
        if (l->listening) close_now(l);
}

void rest_listener_tick(struct listener *l)
{
        struct listening *g = l->listening;
        if (!g) return;
        if (g->leave_ms && (l->rest->env->now_ms(l->rest->env) >= g->leave_ms || !handshakes(l))) {
                close_now(l);
                return;
        }
        if (!g->paused) return;
        g->paused = false;
        uv_poll_start(&g->poll, UV_READABLE, on_readable);
}
