/* Inside the REST server (controller/rest/rest*.c only).
 *
 * Threads: the fields of struct conn and struct rest say whose they are. An exchange (one request and its
 * answer) lives in its connection and is owned by the HTTP thread, except from loopq_push to the resume of
 * its connection: then it is the loop's. libmicrohttpd does not look at a suspended connection, so it cannot
 * end meanwhile, even when the client is gone; that shows after the resume. */
#ifndef CONTROLLER_REST_REST_INTERNAL_H
#define CONTROLLER_REST_REST_INTERNAL_H

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <zlib.h>

#include "controller/base/loopq.h"
#include "controller/base/route.h"
#include "controller/rest/metrics.h"
#include "controller/rest/rest.h"
#include "controller/view/events.h"
#include "wire/base/buf.h"
#include "wire/base/list.h"
#include "wire/base/mem.h"

/* A request head (request line and headers) may be this large; libmicrohttpd gets twice that for a
 * connection. */
#define REST_HEAD_MAX ((size_t)16 << 10)
#define REST_POOL_BYTES ((size_t)48 << 10)
#define REST_URI_MAX ((size_t)12 << 10)
/* What is read and thrown away of a body that is too large, so that its sender gets to see the answer. */
#define REST_DISCARD_MAX ((uint64_t)16 << 20)
/* Answers from this size on are compressed when the client accepts it. */
#define REST_GZIP_MIN 1000
#define REST_ANSWER_MAX ((size_t)256 << 20)
#define REST_ARENA_MAX ((size_t)256 << 20)
#define REST_TICK_MS 100
#define REST_RANDOM_N 64
#define REST_SWEEP_MS 1000
/* The back end's own deadline comes first; this much later the REST layer answers by itself. */
#define REST_GUARD_MS 5000
#define REST_IP_BUCKETS 1024
#define REST_THREADS_MAX 16
#define REST_USER_MAX 64 /* as in rest_backend.authorize */

enum conn_phase {
        CONN_IDLE,      /* waits for a request head */
        CONN_RECEIVING, /* head seen, body coming */
        CONN_WORKING,   /* complete; nothing is expected of the client */
        CONN_SENDING,   /* answer queued */
        CONN_STREAMING, /* events: ends when the client or the listener goes, or when nothing is taken any more */
};

enum exchange_step {
        X_NEW,     /* no head yet */
        X_BODY,    /* head looked at, body coming */
        X_OUT,     /* the thread's that asks a bucket */
        X_BACK,    /* and back: answered, or a write that goes on */
        X_LOOP,    /* the loop's */
        X_DONE,    /* back from the loop, to be answered */
        X_ANSWERED /* answer queued */
};
enum exchange_kind { X_LOCAL, X_READ, X_WRITE };

/* What travels to the loop. */
enum post_kind { POST_EXCHANGE, POST_REPORT };
struct post {
        struct loopq_node q;
        enum post_kind kind;
};
/* An error report on its way to the leader; nobody waits for it. Freed by the loop. */
struct report_post {
        struct post post;
        struct buf encoded; /* struct request */
        uint8_t id[REQUEST_ID_SIZE];
};

struct exchange {
        struct post post;
        struct list active;    /* rest.active while it is the loop's */
        struct list call_node; /* call.exchanges while a callback is owed */
        struct conn *conn;
        struct MHD_Connection *mhd;
        enum exchange_step step;
        enum exchange_kind kind;
        uint64_t start_ms, deadline_ms;
        uint64_t start_ns;

        /* the request */
        struct buf uri; /* byte-exact, NUL-terminated path, NUL, query */
        const char *path, *query_text;
        char method[16];
        struct buf body;
        uint64_t discarded;
        bool too_large, head_too_large, gzip, async, cors;
        const struct route *route;
        struct route_match match;
        struct query query;
        struct arena arena;
        uint8_t id[REQUEST_ID_SIZE];
        struct buf encoded;    /* struct request */
        struct stream *stream; /* of events; NULL = none. Not the exchange's: its response frees it */

        /* what came back */
        int err;
        uint64_t index, term;
        struct reply reply;
        struct api_rc *waited; /* entries of the satellites' work, in the arena */
        uint32_t waited_n;
        bool waiting;            /* for satellites */
        uint64_t again_until_ms; /* a refusal that is asked again (reply.ask_again); 0 = there was none */
        char report_id[96];      /* "" = no error report was written */

        /* the answer */
        unsigned status;
        struct buf answer;
        const char *content_type;
        const char *allow; /* of 405 */
        bool close, preflight, stale;
        uint64_t stale_ms;
};

struct conn {
        struct list node; /* rest.conns, under conns_mutex */
        struct rest *rest;
        struct worker *worker;
        enum rest_listener listener;
        int fd;
        uint8_t ip[16]; /* v4 mapped into v6 */
        /* written by the HTTP thread, read by the sweep */
        atomic_int phase;
        _Atomic uint64_t since_ms;
        atomic_uint requests;
        bool cut;               /* shut down by the sweep; under conns_mutex */
        bool gone;              /* the last sweep saw that the peer has closed */
        uint64_t gone_since_ms; /* since_ms at that sweep */
        uint64_t stop_ms;       /* of a sweep that has told its stream of events to end; 0 = none */
        /* HTTP thread */
        bool checked;             /* certificate looked at */
        int auth_err;             /* what came of it */
        char user[REST_USER_MAX]; /* of the certificate */
        struct exchange x;
};

/* One HTTP thread: a libmicrohttpd daemon without a listening socket, fed by the loop's accept. */
struct worker {
        struct rest *rest;
        struct MHD_Daemon *daemon;
        unsigned no; /* over all workers: slot of the metrics */
        bool tls;
        atomic_uint conns;
        /* HTTP thread */
        uint64_t request_counter;
        uint64_t
                random[REST_RANDOM_N]; /* fetched ahead, wiped when used: one system call for many requests */
        unsigned random_left;
        z_stream z;
        bool z_ready;
};

/* One debt of the back end or the waiter. */
struct call {
        struct rest *rest;
        struct list exchanges; /* of those that still want the answer */
};

struct listener {
        struct rest *rest;
        enum rest_listener which;
        bool configured;
        struct sockaddr_storage addr; /* with the port that was bound first */
        socklen_t addr_n;
        struct listening *listening; /* NULL = closed */
};
/* An open listening socket: freed when its handle is closed. */
struct listening {
        struct listener *l;
        uv_poll_t poll;
        int fd;
        bool paused;       /* at a limit */
        uint64_t leave_ms; /* when it is closed; 0 = it is open */
};

enum rest_state {
        REST_SERVING,
        REST_AWAY,     /* no quorum for long: TCP listeners closed */
        REST_QUIESCED, /* on demand */
        REST_CLOSING,
        REST_STOPPED, /* HTTP threads ended, handles closing */
};

struct ip_count {
        struct ip_count *next;
        uint8_t ip[16];
        unsigned n;
};

/* Streams of events (rest_events.c). */
#define REST_STREAMS_MAX 256
struct rest_streams {
        pthread_mutex_t mutex;
        struct events *events[EVENTS_KINDS_N]; /* made by the first reader */
        uint64_t seen[EVENTS_KINDS_N];         /* value of `changes` before their last look */
        struct list list;                      /* struct stream */
        unsigned n;
        uint64_t beat_ms; /* last tick at which all were woken */
        atomic_uint_least64_t changes;
};

struct rest {
        struct rest_config config; /* strings are copies */
        struct env *env;
        uint8_t incarnation[8];
        struct metrics *metrics;
        struct worker workers[2 * REST_THREADS_MAX]; /* plain ones, then those of TLS */
        unsigned plain_n, tls_n;

        /* loop */
        enum rest_state state;
        struct listener listeners[REST_LISTENERS_N];
        struct loopq queue;
        uv_timer_t tick;
        uv_idle_t flush;    /* active while done is not empty */
        struct list active; /* exchanges that are the loop's */
        struct list held;   /* reads that wait until each satellite was tried, linked by exchange.call_node */
        struct list again;  /* refusals that are asked again at the next tick, linked the same way */
        struct list done;   /* to be resumed before the loop sleeps, all at once; linked by exchange.active */
        bool backend_gone;
        unsigned live; /* handles and calls that are owed */
        uint64_t last_sweep_ms, close_deadline_ms;
        rest_drained_fn *drained_cb;
        void *drained_arg;
        rest_closed_fn *closed_cb;
        void *closed_arg;

        /* any thread */
        atomic_bool leaving_tcp, leaving_all;                         /* answers say "Connection: close" */
        _Atomic uint64_t pub_index, pub_term, pub_no_quorum_since_ms; /* 0 = has quorum */
        _Atomic uint64_t reports, report_window_ms, report_window_n;  /* numbers and limits error reports */
        pthread_mutex_t status_mutex;
        struct driver_status status;

        struct rest_streams streams;

        pthread_mutex_t conns_mutex; /* the rest of this struct */
        struct list conns;
        unsigned conns_n[REST_LISTENERS_N];
        struct conn **by_fd;
        size_t by_fd_n;
        struct ip_count *ips[REST_IP_BUCKETS];
        uint64_t accepted, refused_per_ip, cut_slow;
};

/* ---- rest.c ---- */
/* Loop thread: one debt less; at zero after rest_close, r is gone. */
void rest_settle(struct rest *r);

/* ---- rest_listen.c: loop thread ---- */
int rest_listener_parse(struct listener *l, const char *text, struct fail *f);
int rest_listener_open(struct listener *l, struct fail *f);
/* No new ones from now on; it is gone some ticks later. Opening it meanwhile takes that back. */
void rest_listener_close(struct listener *l);
/* At once. */
void rest_listener_abort(struct listener *l);
/* Goes on after a pause at a limit; closes when it is time. */
void rest_listener_tick(struct listener *l);

/* ---- rest_conn.c ---- */
/* Loop thread. Hands an accepted socket to an HTTP thread; closes it when it may not come in. */
void rest_conn_add(
        struct rest *r, enum rest_listener which, int fd, const struct sockaddr *sa, socklen_t sa_n);
bool rest_conn_room(struct rest *r, enum rest_listener which);
/* Loop thread. Cuts connections that are too slow, or idle for too long (at once: idle ones of TCP or of
 * all). */
void rest_conn_sweep(struct rest *r, bool drop_idle_tcp, bool drop_idle_unix, bool drop_all);
unsigned rest_conn_count(struct rest *r, bool tcp_only);
void rest_conn_phase(struct conn *c, enum conn_phase phase);

/* HTTP threads: MHD_NotifyConnectionCallback. */
void rest_on_connection(void *cls, struct MHD_Connection *mhd, void **socket_context,
        enum MHD_ConnectionNotificationCode what);

/* ---- rest_worker.c ---- */
void rest_tls_require(struct MHD_Connection *mhd);
/* 0 or E_AUTH; fills the connection's user. */
int rest_tls_check(struct conn *c, struct MHD_Connection *mhd);
int rest_workers_start(struct rest *r, struct fail *f);
/* No connection may be left. Blocks until the threads have ended. */
void rest_workers_stop(struct rest *r);

/* ---- rest_http.c: HTTP threads ---- */
enum MHD_Result rest_on_request(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
        const char *version, const char *data, size_t *data_n, void **con_cls);
void *rest_on_uri(void *cls, const char *uri, struct MHD_Connection *mhd);
void rest_on_completed(
        void *cls, struct MHD_Connection *mhd, void **con_cls, enum MHD_RequestTerminationCode why);
void rest_exchange_reset(struct exchange *x);
void rest_exchange_done(struct exchange *x);

/* ---- rest_local.c: HTTP threads. Fill status and answer of the exchange ---- */
void rest_local(struct exchange *x);
void rest_preflight(struct exchange *x);
/* No such path, or not with this method. */
void rest_unknown(struct exchange *x);
/* One error entry, and the status. cause and correction may be NULL. */
void rest_error(struct exchange *x, unsigned status, enum apirc_code code, const char *message,
        const char *cause, const char *correction);

/* ---- rest_answer.c: HTTP threads ---- */
/* Renders the outcome of a read or a write into status and answer. */
void rest_render(struct exchange *x);
enum MHD_Result rest_send(struct exchange *x);

/* The headers of every answer; n: bytes of the body, 0 when they are not known. */
void rest_headers(struct exchange *x, struct MHD_Response *m, size_t n, bool zipped);

/* ---- rest_events.c ---- */
void rest_streams_init(struct rest *r);
void rest_streams_done(struct rest *r);
/* Loop thread: wakes streams for which there may be something, and ends those whose listener is leaving. */
void rest_streams_tick(struct rest *r);
/* HTTP threads. Answers with a stream, or with an error when there are too many. */
enum MHD_Result rest_stream_send(struct exchange *x, enum events_kind kind);
/* HTTP threads: the request is over. */
void rest_stream_end(struct exchange *x);
/* Loop thread, conns_mutex held: the client is gone, or the stream has to go; it ends soon. */
void rest_stream_stop(struct conn *c);

/* ---- rest_loop.c ---- */
void rest_drain(void *arg, struct loopq_node *first, unsigned n); /* loopq_drain_fn */
void rest_on_flush(uv_idle_t *idle);
/* Those whose deadline passed though the back end promised to answer earlier; all of them when all is set. */
void rest_abandon_late(struct rest *r, bool all);
/* Reads that waited until each satellite was tried go on. */
void rest_look_at_held(struct rest *r);
/* What was refused for news that may have been old is asked again. */
void rest_ask_again(struct rest *r);

/* ---- rest_request.c: HTTP threads ---- */
/* Builds struct request and its id. 0 or E_TOO_LARGE. */
int rest_request_encode(struct exchange *x, const char *idempotency_key);
/* Sends an error report on its way and notes its id in the exchange. */
void rest_report(struct exchange *x, int err, const char *what);

/* ---- rest_remote.c ---- */
/* Has a bucket to be asked first? */
bool rest_remote_is(const struct route *route);
/* Suspends the connection; the exchange comes back with the step X_BACK, and a status when it is answered. */
enum MHD_Result rest_remote_begin(struct exchange *x);

/* ---- rest_secret.c ---- */
/* Does its request bring a passphrase? */
bool rest_secret_is(const struct route *route);
/* Puts keys in the place of passphrases. Blocks for some 100 ms. false: the answer says why not. */
bool rest_secret_prepare(struct exchange *x);

#endif
