/* The clients of the jepsen-like run: each has one request in flight, at one member, and writes what it saw into a history.
 *
 * usage: load --history FILE --seed N [--clients N] [--rate N] [--timeout-ms N] [--keys N] [--per-key N] [--prefix TEXT] [--stale]
 *             ADDRESS:PORT...
 *
 * Commands on stdin: "rate N" (operations a second of all clients; 0 = as fast as it goes), "stats" (prints and resets the
 * counters), "stop" (no new operations; ends when those under way have an outcome).
 *
 * A line of the history is one operation, written when its outcome is known:
 *   {"c":CLIENT,"m":MEMBER,"k":KIND,"key":KEY,"op":OP,"v":VALUE,"s":START,"e":END,"r":RESULT,"i":INDEX,"t":TERM,"n":TRIES}
 * KIND kv: an entry of a key-value store (op write, read). KIND rd: a resource definition with a property (create,
 * write, read, delete). v: what was written or read; values are never written twice. r: ok; absent, exists: so the member
 * said; fail: the member said that nothing happened, or nothing was sent; unknown: nobody said anything. Times are
 * CLOCK_MONOTONIC in ns. An unknown outcome has no end. A client whose operation came to an unknown outcome never
 * acts again: its place is taken by a new one.
 *
 * Every write has an Idempotency-Key. With every second one a client whose connection breaks asks again, at the next
 * member, with that key: it is still one operation. One thread, one epoll. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MEMBERS_MAX 9
#define CLIENTS_MAX 512
#define KEYS_MAX 64
#define TRIES_MAX 4
#define MS INT64_C(1000000)

enum kind { KV, RD };
enum op { READ, WRITE, CREATE, DELETE };
enum result { OK, ABSENT, EXISTS, FAIL, UNKNOWN };
enum state { IDLE, CONNECTING, WAITING, RESTING };

static const char *const kind_names[] = { "kv", "rd" };
static const char *const op_names[] = { "read", "write", "create", "delete" };
static const char *const result_names[] = { "ok", "absent", "exists", "fail", "unknown" };

struct key {
        enum kind kind;
        unsigned serial, left;
};

struct client {
        int fd;
        enum state state;
        unsigned number, member, home, tries; /* home: where every second client returns to */
        bool has_op, asks_again;
        bool sent, earlier; /* of this operation something may have arrived; by an attempt before this one */
        enum kind kind;
        enum op op;
        unsigned key;
        int64_t value, start_ns, deadline_ns, rest_until_ns, timeout_ns;
        char out[1024], in[16384];
        size_t out_n, out_at, in_n;
};

static struct sockaddr_in members[MEMBERS_MAX];
static unsigned members_n, clients_n = 24, keys_n = 8, per_key = 400, next_client, next_serial;
static unsigned timeout_ms = 5000;
static uint64_t seed = 1, random_state;
static const char *prefix = "";
static struct client *clients;
static struct key keys[KEYS_MAX];
static int64_t next_value = 1;
static FILE *history;
static int epoll_fd;
static bool stopping, stale;
static double rate, credit;
static uint64_t counts[5], total[5];
static int64_t worst_ns, last_ok_ns, worst_gap_ns;

static int64_t now_ns(void)
{
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static uint64_t random_u64(void)
{
        uint64_t z = random_state += UINT64_C(0x9E3779B97F4A7C15);
        z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
        return z ^ z >> 31;
}

static unsigned below(unsigned n) { return (unsigned)(random_u64() % n); }

static __attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...)
{
        va_list args;
        va_start(args, format);
        fputs("load: ", stderr);
        vfprintf(stderr, format, args);
        fputc('\n', stderr);
        va_end(args);
        exit(2);
}

/* ---- operations ---- */

static void key_renew(struct key *k)
{
        k->kind = below(2) ? KV : RD;
        k->serial = next_serial++;
        k->left = per_key / 2 + below(per_key + 1);
}

static void op_choose(struct client *c)
{
        struct key *k = &keys[below(keys_n)];
        if (k->left == 0) key_renew(k);
        k->left--;
        unsigned dice = below(100);
        c->kind = k->kind;
        c->key = k->serial;
        if (k->kind == KV) c->op = dice < 50 ? READ : WRITE;
        else c->op = dice < 40 ? READ : dice < 70 ? WRITE : dice < 88 ? CREATE : DELETE;
        c->value = c->op == WRITE || c->op == CREATE ? next_value++ : 0;
        c->has_op = true;
        c->tries = 0;
        c->sent = c->earlier = false;
        c->asks_again = c->op != READ && below(2);
        c->start_ns = now_ns();
        c->deadline_ns = c->start_ns + c->timeout_ns;
}

/* Both kinds are also written as whole requests, so that a value has two halves that must stay together. */
static void request_make(struct client *c)
{
        char path[120], body[200] = "";
        const char *method = "GET";
        unsigned k = c->key;
        int64_t v = c->value;
        if (c->kind == KV) snprintf(path, sizeof path, "/v1/key-value-store/kv%s%u", prefix, k);
        else snprintf(path, sizeof path, "/v1/resource-definitions/rd%s%u", prefix, k);
        if (c->op == WRITE) {
                const char *p = c->kind == KV ? "" : "Aux/";
                method = "PUT";
                snprintf(body, sizeof body,
                        "{\"override_props\":{\"%sv\":\"%" PRId64 "\",\"%sw\":\"%" PRId64 "\"}}", p, v, p, v);
        } else if (c->op == CREATE) {
                method = "POST";
                snprintf(path, sizeof path, "/v1/resource-definitions");
                snprintf(body, sizeof body,
                        "{\"resource_definition\":{\"name\":\"rd%s%u\",\"props\":{\"Aux/v\":\"%" PRId64
                        "\",\"Aux/w\":\"%" PRId64 "\"}}}",
                        prefix, k, v, v);
        } else if (c->op == DELETE) method = "DELETE";
        if (c->op == READ && stale) strcat(path, "?consistency=stale");
        char idempotency[100] = "";
        if (c->op != READ)
                snprintf(idempotency, sizeof idempotency, "Idempotency-Key: %" PRIu64 "-%u-%" PRId64 "\r\n",
                        seed, c->number, c->start_ns);
        c->out_n = (size_t)snprintf(c->out, sizeof c->out,
                "%s %s HTTP/1.1\r\nHost: x\r\n%sContent-Type: application/json\r\nContent-Length: "
                "%zu\r\n\r\n%s",
                method, path, idempotency, strlen(body), body);
        c->out_at = c->in_n = 0;
}

static void history_write(const struct client *c, enum result r, int64_t end, uint64_t index, uint64_t term)
{
        counts[r]++;
        total[r]++;
        if (c->op == READ && r >= FAIL) return; /* says nothing */
        fprintf(history,
                "{\"c\":%u,\"m\":%u,\"k\":\"%s\",\"key\":\"%s%s%u\",\"op\":\"%s\",\"v\":%" PRId64
                ",\"s\":%" PRId64,
                c->number, c->member + 1, kind_names[c->kind], kind_names[c->kind], prefix, c->key,
                op_names[c->op], c->value, c->start_ns);
        if (r != UNKNOWN) fprintf(history, ",\"e\":%" PRId64, end);
        fprintf(history, ",\"r\":\"%s\",\"i\":%" PRIu64 ",\"t\":%" PRIu64 ",\"n\":%u}\n", result_names[r],
                index, term, c->tries);
}

static void op_end(struct client *c, enum result r, uint64_t index, uint64_t term)
{
        int64_t end = now_ns();
        if (r < FAIL) {
                if (end - c->start_ns > worst_ns) worst_ns = end - c->start_ns;
                if (last_ok_ns && end - last_ok_ns > worst_gap_ns) worst_gap_ns = end - last_ok_ns;
                last_ok_ns = end;
        }
        history_write(c, r, end, index, term);
        c->has_op = false;
        c->state = c->fd >= 0 ? IDLE : RESTING;
        if (r == UNKNOWN) c->number = next_client++;
}

/* ---- connections ---- */

static void conn_close(struct client *c)
{
        if (c->fd >= 0) close(c->fd);
        c->fd = -1;
}

/* The attempt came to nothing. Another one follows if the client asks again; else the outcome is what is known. */
static void attempt_failed(struct client *c)
{
        int64_t now = now_ns();
        conn_close(c);
        c->rest_until_ns = now + (20 + below(80)) * MS;
        c->state = RESTING;
        if (!c->has_op) return;
        /* Not too late: the members keep the last 8192 answers only. */
        bool again = c->asks_again && c->tries < TRIES_MAX && now < c->start_ns + 1500 * MS;
        if (again) {
                c->earlier = c->sent;
                c->member = (c->member + 1) % members_n;
                return;
        }
        op_end(c, c->sent ? UNKNOWN : FAIL, 0, 0);
        if (c->home == MEMBERS_MAX && below(2)) c->member = below(members_n);
        c->state = RESTING;
}

static void watch(struct client *c, uint32_t events, int how)
{
        struct epoll_event e = { .events = events, .data.ptr = c };
        if (epoll_ctl(epoll_fd, how, c->fd, &e) != 0) die("epoll: %s", strerror(errno));
}

static void conn_open(struct client *c)
{
        int one = 1;
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (c->fd < 0) die("socket: %s", strerror(errno));
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        c->state = CONNECTING;
        struct sockaddr_in *to = &members[c->member];
        if (connect(c->fd, (struct sockaddr *)to, sizeof *to) != 0 && errno != EINPROGRESS) {
                attempt_failed(c);
                return;
        }
        watch(c, EPOLLIN | EPOLLOUT, EPOLL_CTL_ADD);
}

static void request_send(struct client *c)
{
        c->state = WAITING;
        while (c->out_at < c->out_n) {
                ssize_t n = send(c->fd, c->out + c->out_at, c->out_n - c->out_at, MSG_NOSIGNAL);
                if (n > 0) {
                        c->sent = true;
                        c->out_at += (size_t)n;
                        continue;
                }
                if (errno == EAGAIN) {
                        watch(c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
                        return;
                }
                attempt_failed(c);
                return;
        }
        watch(c, EPOLLIN, EPOLL_CTL_MOD);
}

static void attempt_begin(struct client *c)
{
        c->tries++;
        request_make(c);
        if (c->fd >= 0) request_send(c);
        else conn_open(c);
}

/* ---- answers ---- */

static const char *header_find(const char *in, const char *end, const char *name)
{
        size_t n = strlen(name);
        for (const char *p = strstr(in, "\r\n"); p && p < end; p = strstr(p + 2, "\r\n"))
                if (strncasecmp(p + 2, name, n) == 0) return p + 2 + n;
        return NULL;
}

static uint64_t header_u64(const char *in, const char *end, const char *name)
{
        const char *p = header_find(in, end, name);
        return p ? strtoull(p, NULL, 10) : 0;
}

static int64_t prop(const char *body, const char *name)
{
        const char *p = strstr(body, name);
        return p ? strtoll(p + strlen(name), NULL, 10) : -1;
}

static enum result result_of_read(struct client *c, unsigned status, const char *body)
{
        if (status == 404) {
                c->value = 0;
                return ABSENT;
        }
        if (status != 200) return UNKNOWN;
        int64_t v = prop(body, c->kind == KV ? "\"v\":\"" : "\"Aux/v\":\"");
        int64_t w = prop(body, c->kind == KV ? "\"w\":\"" : "\"Aux/w\":\"");
        if (v < 0 || v != w)
                fprintf(stderr, "load: half a write was read: %s%u: %.300s\n", kind_names[c->kind], c->key,
                        body);
        c->value = v == w ? v : -2; /* nobody ever writes that: the judge will see it */
        return OK;
}

static enum result result_of(struct client *c, unsigned status, const char *body)
{
        if (c->op == READ) return result_of_read(c, status, body);
        if (strstr(body, "was not carried out")) return FAIL;
        if (c->op == CREATE && strstr(body, "exists already")) return EXISTS;
        if (c->op != CREATE && strstr(body, "There is no ")) return ABSENT;
        return status == 200 || status == 201 ? OK : UNKNOWN;
}

static void answer_take(struct client *c, char *body, size_t body_n)
{
        char saved = body[body_n];
        body[body_n] = '\0';
        unsigned status = (unsigned)strtoul(c->in + 9, NULL, 10);
        uint64_t index = header_u64(c->in, body, "X-Outrigger-Index:");
        uint64_t term = header_u64(c->in, body, "X-Outrigger-Term:");
        const char *connection = header_find(c->in, body, "Connection:");
        enum result r = result_of(c, status, body);
        if (r == UNKNOWN && !strstr(body, "not known") && !strstr(body, "not answered"))
                fprintf(stderr, "load: %s%u %s: %u %.200s\n", kind_names[c->kind], c->key, op_names[c->op],
                        status, body);
        body[body_n] = saved;
        if (connection && strncasecmp(connection, " close", 6) == 0) conn_close(c);
        if (r == UNKNOWN && c->asks_again && c->tries < TRIES_MAX) {
                attempt_failed(c);
                return;
        }
        /* Nothing is kept of a refusal: an earlier attempt may still be carried out. */
        if (r != OK && c->earlier) r = UNKNOWN;
        op_end(c, r, index, term);
        if (c->fd < 0 || r >= FAIL) {
                conn_close(c);
                c->rest_until_ns = now_ns() + 20 * MS;
                c->state = RESTING;
        }
}

static void answer_read(struct client *c)
{
        ssize_t n = recv(c->fd, c->in + c->in_n, sizeof c->in - 1 - c->in_n, 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) {
                attempt_failed(c);
                return;
        }
        c->in_n += (size_t)n;
        c->in[c->in_n] = '\0';
        char *end = strstr(c->in, "\r\n\r\n");
        if (!end) return;
        size_t body_n = header_u64(c->in, end, "Content-Length:");
        size_t head_n = (size_t)(end + 4 - c->in);
        if (head_n + body_n >= sizeof c->in) die("an answer is too long: %.300s", c->in);
        if (c->in_n < head_n + body_n) return;
        answer_take(c, end + 4, body_n);
}

static void on_event(struct client *c, uint32_t events)
{
        if (c->fd < 0) return;
        if (c->state == CONNECTING) {
                int err = 0;
                socklen_t n = sizeof err;
                getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &n);
                if (err || (events & (EPOLLHUP | EPOLLERR))) attempt_failed(c);
                else if (events & EPOLLOUT) request_send(c);
        } else if (c->state == WAITING) {
                if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) answer_read(c);
                else if (events & EPOLLOUT) request_send(c);
        } else { /* an idle connection has nothing to say: its member closes it */
                conn_close(c);
                c->state = RESTING;
                c->rest_until_ns = now_ns() + 20 * MS;
        }
}

/* ---- time ---- */

static void client_turn(struct client *c, int64_t now)
{
        if (c->has_op && now >= c->deadline_ns) {
                c->asks_again = false;
                attempt_failed(c);
        }
        if (c->state == RESTING && now >= c->rest_until_ns) {
                if (c->has_op) attempt_begin(c);
                else c->state = IDLE;
        }
        if (c->state != IDLE || stopping) return;
        if (rate > 0 && credit < 1) return;
        credit -= 1;
        if (c->home < MEMBERS_MAX && c->member != c->home) {
                conn_close(c);
                c->member = c->home;
        }
        op_choose(c);
        attempt_begin(c);
}

static void stats_print(void)
{
        int64_t now = now_ns();
        if (last_ok_ns && now - last_ok_ns > worst_gap_ns) worst_gap_ns = now - last_ok_ns;
        printf("{\"ok\":%" PRIu64 ",\"absent\":%" PRIu64 ",\"exists\":%" PRIu64 ",\"fail\":%" PRIu64
               ",\"unknown\":%" PRIu64 ",\"worst_ms\":%" PRId64 ",\"gap_ms\":%" PRId64 ",\"total\":%" PRIu64
               "}\n",
                counts[OK], counts[ABSENT], counts[EXISTS], counts[FAIL], counts[UNKNOWN], worst_ns / MS,
                worst_gap_ns / MS, total[OK] + total[ABSENT] + total[EXISTS] + total[FAIL] + total[UNKNOWN]);
        fflush(stdout);
        fflush(history);
        memset(counts, 0, sizeof counts);
        worst_ns = worst_gap_ns = 0;
        last_ok_ns = now;
}

static void command_read(void)
{
        static char line[200];
        static size_t n;
        ssize_t got = read(0, line + n, sizeof line - 1 - n);
        if (got <= 0) {
                stopping = true;
                epoll_ctl(epoll_fd, EPOLL_CTL_DEL, 0, NULL);
                return;
        }
        n += (size_t)got;
        line[n] = '\0';
        for (char *end; (end = strchr(line, '\n')) != NULL;) {
                *end = '\0';
                if (strncmp(line, "rate ", 5) == 0) rate = strtod(line + 5, NULL);
                else if (strcmp(line, "stats") == 0) stats_print();
                else if (strcmp(line, "stop") == 0) stopping = true;
                else die("no such command: %s", line);
                n = strlen(end + 1);
                memmove(line, end + 1, n + 1);
        }
}

static bool busy(void)
{
        for (unsigned i = 0; i < clients_n; i++)
                if (clients[i].has_op) return true;
        return false;
}

static void run(void)
{
        int64_t last = now_ns();
        while (!stopping || busy()) {
                struct epoll_event events[64];
                int n = epoll_wait(epoll_fd, events, 64, rate > 0 ? 5 : 20);
                for (int i = 0; i < n; i++) {
                        if (events[i].data.ptr) on_event(events[i].data.ptr, events[i].events);
                        else command_read();
                }
                int64_t now = now_ns();
                credit += rate * (double)(now - last) / 1e9;
                if (credit > clients_n || rate <= 0) credit = clients_n;
                last = now;
                unsigned first = below(clients_n);
                for (unsigned i = 0; i < clients_n; i++) client_turn(&clients[(first + i) % clients_n], now);
        }
}

/* ---- start ---- */

static void member_add(const char *text)
{
        char address[64];
        const char *colon = strchr(text, ':');
        if (members_n == MEMBERS_MAX || !colon || (size_t)(colon - text) >= sizeof address)
                die("bad: %s", text);
        memcpy(address, text, (size_t)(colon - text));
        address[colon - text] = '\0';
        struct sockaddr_in *a = &members[members_n++];
        *a = (struct sockaddr_in){ .sin_family = AF_INET,
                .sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10)) };
        if (inet_pton(AF_INET, address, &a->sin_addr) != 1) die("not an address: %s", text);
}

static unsigned number(const char *text, unsigned max)
{
        unsigned long n = text ? strtoul(text, NULL, 10) : 0;
        if (n == 0 || n > max) die("1 to %u, not %s", max, text ? text : "nothing");
        return (unsigned)n;
}

static void arguments(int argc, char **argv)
{
        for (int i = 1; i < argc; i++) {
                const char *value = i + 1 < argc ? argv[i + 1] : NULL;
                if (argv[i][0] != '-') {
                        member_add(argv[i]);
                        continue;
                }
                if (strcmp(argv[i], "--stale") == 0) {
                        stale = true; /* reads may be stale: to see that the judges notice */
                        continue;
                }
                if (!value) die("%s needs a value", argv[i]);
                if (strcmp(argv[i], "--history") == 0) history = fopen(value, "w");
                else if (strcmp(argv[i], "--seed") == 0) seed = strtoull(value, NULL, 10);
                else if (strcmp(argv[i], "--clients") == 0) clients_n = number(value, CLIENTS_MAX);
                else if (strcmp(argv[i], "--prefix") == 0) prefix = value;
                else if (strcmp(argv[i], "--rate") == 0) rate = strtod(value, NULL);
                else if (strcmp(argv[i], "--timeout-ms") == 0) timeout_ms = number(value, 600000);
                else if (strcmp(argv[i], "--keys") == 0) keys_n = number(value, KEYS_MAX);
                else if (strcmp(argv[i], "--per-key") == 0) per_key = number(value, 1000000);
                else die("no such option: %s", argv[i]);
                i++;
        }
        if (!history || members_n == 0)
                die("--history FILE that can be written, and ADDRESS:PORT... are needed");
}

int main(int argc, char **argv)
{
        arguments(argc, argv);
        random_state = seed;
        static char buffer[1 << 20];
        setvbuf(history, buffer, _IOFBF, sizeof buffer);
        epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        struct epoll_event e = { .events = EPOLLIN };
        if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &e) != 0) die("epoll: %s", strerror(errno));
        clients = calloc(clients_n, sizeof *clients);
        if (!clients) die("out of memory");
        for (unsigned i = 0; i < keys_n; i++) key_renew(&keys[i]);
        for (unsigned i = 0; i < clients_n; i++) {
                /* Every third one is patient: it waits as long as a member holds a request. */
                int64_t patience = i % 3 == 2 ? 12 : 1;
                clients[i] = (struct client){ .fd = -1,
                        .number = next_client++,
                        .member = i % members_n,
                        .home = i / members_n % 2 ? MEMBERS_MAX : i % members_n,
                        .timeout_ns = (int64_t)timeout_ms * patience * MS };
        }
        run();
        stats_print();
        if (ferror(history) || fclose(history) != 0) die("the history could not be written");
        free(clients);
        return 0;
}
