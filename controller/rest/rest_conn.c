/* Connections: who may come in, and the sweep that cuts those that take too long. libmicrohttpd's own limits
 * and timeouts are not used: an inactivity timeout never ends a client that sends one byte every few seconds,
 * and a limit for each thread is none in total. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controller/rest/rest_internal.h"
#include "wire/base/log.h"

/* While there is no room, a connection that idles this long makes some. */
#define CROWDED_IDLE_MS 1000
/* For the end of a stream of events to be taken. */
#define STREAM_END_MS 1000
/* An idle connection is not cut in the very moment in which its next request may be on the way. */
#define DROP_IDLE_MS 50

static void key_of(const struct sockaddr *sa, uint8_t ip[16])
{
        memset(ip, 0, 16);
        if (sa->sa_family == AF_INET6) {
                memcpy(ip, &((const struct sockaddr_in6 *)sa)->sin6_addr, 16);
        } else if (sa->sa_family == AF_INET) {
                ip[10] = ip[11] = 0xff;
                memcpy(ip + 12, &((const struct sockaddr_in *)sa)->sin_addr, 4);
        }
}

static struct ip_count **ip_slot(struct rest *r, const uint8_t ip[16])
{
        uint32_t h = 2166136261U;
        for (unsigned i = 0; i < 16; i++) h = (h ^ ip[i]) * 16777619U;
        struct ip_count **at = &r->ips[h % REST_IP_BUCKETS];
        while (*at && memcmp((*at)->ip, ip, 16) != 0) at = &(*at)->next;
        return at;
}

static bool ip_take(struct rest *r, const uint8_t ip[16])
{
        struct ip_count **at = ip_slot(r, ip);
        if (!*at) {
                *at = xnew(struct ip_count);
                memcpy((*at)->ip, ip, 16);
        }
        if ((*at)->n >= r->config.limits.connections_per_ip_max) return false;
        (*at)->n++;
        return true;
}

static void ip_give(struct rest *r, const uint8_t ip[16])
{
        struct ip_count **at = ip_slot(r, ip), *c = *at;
        if (!c || --c->n > 0) return;
        *at = c->next;
        free(c);
}

/* conns_mutex held. */
static void forget(struct conn *c)
{
        struct rest *r = c->rest;
        list_remove(&c->node);
        r->conns_n[c->listener]--;
        if (c->listener != REST_UNIX) ip_give(r, c->ip);
        if (r->by_fd[c->fd] == c) r->by_fd[c->fd] = NULL;
}

static void conn_free(struct conn *c)
{
        rest_exchange_done(&c->x);
        free(c);
}

static void table_reach(struct rest *r, int fd)
{
        if ((size_t)fd < r->by_fd_n) return;
        size_t n = (size_t)fd + 64;
        r->by_fd = xrealloc(r->by_fd, n * sizeof *r->by_fd);
        memset(r->by_fd + r->by_fd_n, 0, (n - r->by_fd_n) * sizeof *r->by_fd);
        r->by_fd_n = n;
}

bool rest_conn_room(struct rest *r, enum rest_listener which)
{
        const struct rest_limits *lim = &r->config.limits;
        pthread_mutex_lock(&r->conns_mutex);
        bool room = which == REST_UNIX
                            ? r->conns_n[REST_UNIX] < lim->unix_connections_max
                            : r->conns_n[REST_HTTP] + r->conns_n[REST_HTTPS] < lim->connections_max;
        pthread_mutex_unlock(&r->conns_mutex);
        return room;
}

static struct worker *worker_for(struct rest *r, enum rest_listener which)
{
        struct worker *w = r->workers + (which == REST_HTTPS ? r->plain_n : 0), *best = w;
        unsigned n = which == REST_HTTPS ? r->tls_n : r->plain_n;
        for (unsigned i = 1; i < n; i++)
                if (atomic_load(&w[i].conns) < atomic_load(&best->conns)) best = &w[i];
        return best;
}

static struct conn *enter(struct rest *r, enum rest_listener which, int fd, const struct sockaddr *sa)
{
        struct conn *c = xnew(struct conn), *stale = NULL;
        c->rest = r;
        c->listener = which;
        c->fd = fd;
        c->x.conn = c;
        key_of(sa, c->ip);
        rest_conn_phase(c, CONN_IDLE);
        pthread_mutex_lock(&r->conns_mutex);
        bool allowed = which == REST_UNIX || ip_take(r, c->ip);
        if (allowed) {
                table_reach(r, fd);
                /* One that the library refused without a word (no memory). */
                stale = r->by_fd[fd];
                if (stale) forget(stale);
                r->by_fd[fd] = c;
                list_push_back(&r->conns, &c->node);
                r->conns_n[which]++;
                r->accepted++;
        } else {
                r->refused_per_ip++;
        }
        pthread_mutex_unlock(&r->conns_mutex);
        if (stale) {
                atomic_fetch_sub(&stale->worker->conns, 1);
                conn_free(stale);
        }
        if (allowed) return c;
        free(c);
        return NULL;
}

void rest_conn_add(
        struct rest *r, enum rest_listener which, int fd, const struct sockaddr *sa, socklen_t sa_n)
{
        struct conn *c = enter(r, which, fd, sa);
        if (!c) {
                close(fd);
                return;
        }
        struct worker *w = worker_for(r, which);
        c->worker = w;
        atomic_fetch_add(&w->conns, 1);
        /* The library closes the socket itself when it fails. */
        if (MHD_add_connection(w->daemon, fd, sa, sa_n) == MHD_YES) return;
        log_warn("rest", "a connection could not be taken over");
        pthread_mutex_lock(&r->conns_mutex);
        forget(c);
        pthread_mutex_unlock(&r->conns_mutex);
        atomic_fetch_sub(&w->conns, 1);
        conn_free(c);
}

void rest_on_connection(void *cls, struct MHD_Connection *mhd, void **socket_context,
        enum MHD_ConnectionNotificationCode what)
{
        struct worker *w = cls;
        struct rest *r = w->rest;
        struct conn *c = *socket_context;
        if (what == MHD_CONNECTION_NOTIFY_STARTED) {
                const union MHD_ConnectionInfo *info =
                        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
                pthread_mutex_lock(&r->conns_mutex);
                c = r->by_fd[info->connect_fd];
                pthread_mutex_unlock(&r->conns_mutex);
                *socket_context = c;
                if (w->tls) rest_tls_require(mhd);
                return;
        }
        if (!c) return;
        *socket_context = NULL;
        pthread_mutex_lock(&r->conns_mutex);
        forget(c);
        pthread_mutex_unlock(&r->conns_mutex);
        atomic_fetch_sub(&w->conns, 1);
        conn_free(c);
}

void rest_conn_phase(struct conn *c, enum conn_phase phase)
{
        struct env *env = c->rest->env;
        atomic_store_explicit(&c->since_ms, env->now_ms(env), memory_order_relaxed);
        atomic_store_explicit(&c->phase, (int)phase, memory_order_release);
}

static uint64_t patience_ms(const struct rest *r, const struct conn *c, enum conn_phase phase, bool crowded)
{
        const struct rest_limits *lim = &r->config.limits;
        switch (phase) {
        case CONN_IDLE:
                if (atomic_load_explicit(&c->requests, memory_order_relaxed) == 0) return lim->head_ms;
                return crowded && c->listener != REST_UNIX ? MIN(CROWDED_IDLE_MS, lim->idle_ms)
                                                           : lim->idle_ms;
        case CONN_RECEIVING: return lim->body_ms;
        case CONN_SENDING:
        case CONN_STREAMING: return lim->send_ms; /* a beat comes more often than that */
        case CONN_WORKING: break;
        }
        return UINT64_MAX;
}

static bool nothing_received(int fd)
{
        int n = 0;
        return ioctl(fd, FIONREAD, &n) == 0 && n == 0;
}

struct sweep {
        struct rest *r;
        uint64_t now_ms;
        bool crowded, drop_idle_tcp, drop_idle_unix, drop_all;
};

/* conns_mutex held. gone: the peer has closed, as of this sweep. */
static bool must_cut(const struct sweep *s, struct conn *c, bool gone)
{
        enum conn_phase phase = (enum conn_phase)atomic_load_explicit(&c->phase, memory_order_acquire);
        uint64_t since = atomic_load_explicit(&c->since_ms, memory_order_relaxed);
        uint64_t age = s->now_ms > since ? s->now_ms - since : 0;
        bool drop_idle = c->listener == REST_UNIX ? s->drop_idle_unix : s->drop_idle_tcp;
        bool reads = phase == CONN_IDLE || phase == CONN_RECEIVING;
        if (phase == CONN_STREAMING && (gone || drop_idle) && c->stop_ms == 0) {
                c->stop_ms = s->now_ms;
                rest_stream_stop(c);
        }
        /* Seen twice without anything having happened in between: the library has missed it. */
        bool stuck = gone && reads && c->gone_since_ms == since && c->gone && nothing_received(c->fd);
        c->gone = gone && reads;
        c->gone_since_ms = since;
        if (age > patience_ms(s->r, c, phase, s->crowded)) {
                if (phase != CONN_IDLE || atomic_load(&c->requests) == 0) s->r->cut_slow++;
                return true;
        }
        if (phase == CONN_STREAMING && c->stop_ms != 0) return s->now_ms >= c->stop_ms + STREAM_END_MS;
        if (drop_idle && phase == CONN_IDLE && age >= DROP_IDLE_MS && nothing_received(c->fd)) return true;
        /* One that waits for its answer is suspended and has to be answered before it can end. */
        return stuck || (s->drop_all && phase != CONN_WORKING);
}

/* libmicrohttpd 0.9 misses the end of a connection that arrives together with its last bytes: one look at all
 * of them finds these. */
static struct pollfd *look_at_all(struct rest *r, nfds_t *ret_n)
{
        nfds_t n = 0;
        LIST_FOREACH(it, &r->conns) n++;
        struct pollfd *fds = xcalloc(n + 1, sizeof *fds);
        n = 0;
        LIST_FOREACH(it, &r->conns)
        fds[n++] = (struct pollfd){ .fd = container_of(it, struct conn, node)->fd, .events = POLLRDHUP };
        if (poll(fds, n, 0) < 0) memset(fds, 0, n * sizeof *fds);
        *ret_n = n;
        return fds;
}

void rest_conn_sweep(struct rest *r, bool drop_idle_tcp, bool drop_idle_unix, bool drop_all)
{
        struct sweep s = { .r = r,
                .now_ms = r->env->now_ms(r->env),
                .crowded = !rest_conn_room(r, REST_HTTP),
                .drop_idle_tcp = drop_idle_tcp,
                .drop_idle_unix = drop_idle_unix,
                .drop_all = drop_all };
        nfds_t n, i = 0;
        pthread_mutex_lock(&r->conns_mutex);
        struct pollfd *fds = look_at_all(r, &n);
        LIST_FOREACH(it, &r->conns)
        {
                struct conn *c = container_of(it, struct conn, node);
                bool gone = (fds[i++].revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
                if (c->cut || !must_cut(&s, c, gone)) continue;
                c->cut = true;
                shutdown(c->fd, SHUT_RDWR);
        }
        pthread_mutex_unlock(&r->conns_mutex);
        free(fds);
}

unsigned rest_conn_count(struct rest *r, bool tcp_only)
{
        pthread_mutex_lock(&r->conns_mutex);
        unsigned n = r->conns_n[REST_HTTP] + r->conns_n[REST_HTTPS];
        if (!tcp_only) n += r->conns_n[REST_UNIX];
        pthread_mutex_unlock(&r->conns_mutex);
        return n;
}
