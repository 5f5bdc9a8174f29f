/* The REST server: HTTP on a TCP address (loopback by default), HTTPS with client certificates, and a unix
 * socket for root. It accepts requests, finds their route and hands them on: local ones are answered on the
 * spot, reads run on the HTTP thread once the member is known to be up to date, writes go to the leader and
 * wait for the satellites.
 *
 * What its clients taught (each has a test): no redirect; no 503; a request is held while there is no leader;
 * a member that has lost its quorum closes its TCP listeners, so that clients go elsewhere, and opens them
 * again later; nothing that was accepted is dropped.
 *
 * Threads: rest_* functions are called on the loop thread. The HTTP threads call only what struct
 * rest_backend says. A request is owned by one thread at a time: the HTTP thread hands it over through loopq
 * and gets it back by the resume of its connection, exactly once. Ownership: configuration is copied; backend
 * and waiter must outlive the closed callback. */
#ifndef CONTROLLER_REST_REST_H
#define CONTROLLER_REST_REST_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "raftctl/driver.h"
#include "state/tx.h"
#include "wire/base/env.h"
#include "wire/def/types.h"

/* A read view of this member: released by view_end on the same thread. */
struct rest_view {
        struct tx *wanted;
        struct tx *observed; /* NULL: nothing is known about the satellites */
        uint64_t index;      /* applied index of wanted */
        void *impl;
};

/* What the member does for the REST layer; the composition root has the real one, tests one in memory. */
struct rest_backend {
        /* Loop thread. As driver_submit: cb exactly once, never from inside the call, E_CANCELED at the
         * latest when the back end closes. The request is copied. */
        void (*submit)(void *arg, const uint8_t id[REQUEST_ID_SIZE], struct blob request,
                uint64_t deadline_ms, driver_reply_fn *cb, void *cb_arg);
        /* Loop thread. As driver_read. */
        void (*read)(void *arg, uint64_t deadline_ms, driver_read_fn *cb, void *cb_arg);
        /* Loop thread; called a few times a second and for each scrape's worth of answers: cheap. */
        void (*status)(void *arg, struct driver_status *ret);
        /* HTTP threads, concurrently. 0 or a negative error. */
        int (*view_begin)(void *arg, struct rest_view *ret);
        void (*view_end)(void *arg, struct rest_view *view);
        /* Loop thread; may be NULL. Is there a satellite of which this member does not know yet whether it can be
         * reached? Reads whose answer depends on that wait. */
        bool (*satellites_untried)(void *arg);
        /* HTTP threads; may be NULL. Decides whether a holder of this certificate (DER, chain already
         * verified against the cluster's CA) may use the API. 0 or E_AUTH. user: name for the request, "" by
         * default. */
        int (*authorize)(void *arg, struct blob cert_der, char user[64]);
};

/* Entries that the satellites' work added; rcs are borrowed for the duration of the call, n may be 0. */
typedef void rest_waited_fn(void *cb_arg, const struct api_rc *rcs, uint32_t n);
/* How the answer of a write waits for satellites. */
struct rest_waiter {
        /* Loop thread. cb exactly once, never from inside the call: when every item is carried out, or its
         * node is known to be offline (an entry WARN NOT_CONNECTED for it), or its deadline passed (a timeout
         * entry). items stay valid until cb. ready_ms: deadline for resources to become ready; deadline_ms:
         * for everything else. Both env->now_ms instants. */
        void (*wait)(void *arg, const struct wait_item *items, uint32_t n, uint64_t deadline_ms,
                uint64_t ready_ms, rest_waited_fn *cb, void *cb_arg);
};

/* PEM texts: certificate with chain, its key, and the CA whose client certificates are accepted. */
struct rest_tls {
        const char *cert_pem, *key_pem, *ca_pem;
};

struct rest_limits {
        unsigned connections_max; /* TCP, in total (2000); beyond it new ones wait in the kernel's queue */
        unsigned connections_per_ip_max; /* (1000); beyond it new ones are closed */
        unsigned unix_connections_max;   /* (64) */
        unsigned body_bytes_max;         /* (1 MiB) */
        unsigned head_ms;                /* from connect to a complete request head (15000) */
        unsigned body_ms;                /* from the head to the end of the body (60000) */
        unsigned send_ms;                /* from the answer to its last byte (120000) */
        unsigned idle_ms;                /* between two requests of a connection (75000) */
        unsigned hold_ms;                /* how long a request waits for a leader (60000) */
        unsigned wait_ms;                /* how long an answer waits for satellites (300000) */
        unsigned ready_ms;               /* how long it waits for a resource to become ready (15000) */
        unsigned
                again_ms; /* how long a refusal by news that may be old is kept back, and asked again (1000) */
        unsigned unhealthy_ms; /* without quorum: /health says so (5000) */
        unsigned leave_ms;     /* without quorum: TCP listeners close (15000) */
};

struct rest_config {
        uv_loop_t *loop;
        struct env *env;
        const char *member;       /* name of this member, for requests and error reports */
        const char *http_listen;  /* "127.0.0.1:3370", "[::]:3370"; port 0 = any; NULL or "" = none */
        const char *https_listen; /* the same with 3371; needs tls */
        const char *unix_path;    /* NULL or "" = none */
        struct rest_tls tls;
        const char *config_dir; /* for GET /v1/controller/config */
        const char *log_level;
        unsigned threads; /* HTTP threads; 0 = 2 */
        struct rest_limits limits;
        const struct rest_backend *backend;
        void *backend_arg;
        const struct rest_waiter *waiter; /* NULL: answers never wait */
        void *waiter_arg;
};
/* Everything at its default; loop, env, member and backend remain to be set. */
void rest_config_init(struct rest_config *c);

struct rest;
/* Starts the HTTP threads and listens. E_CONFIG, E_TLS or a negative errno with the reason in f. */
int rest_open(const struct rest_config *config, struct rest **ret, struct fail *f) MUST_USE;
/* Leaves gracefully: listeners close at once, idle connections are closed, what is in flight is finished and
 * answered with "Connection: close". drained_cb (may be NULL) comes from the loop when no TCP connection is
 * left. The unix socket stays open. rest_reopen undoes it; a member that merely lost its quorum does both by
 * itself. */
typedef void rest_drained_fn(void *arg);
void rest_quiesce(struct rest *r, rest_drained_fn *drained_cb, void *arg);
/* 0, or why a listener could not be opened (it is tried again by itself). */
int rest_reopen(struct rest *r, struct fail *f);
/* Stops: quiesce, then after grace_ms everything that is still in flight is answered as "outcome unknown".
 * closed_cb comes from the loop when the HTTP threads have ended and every callback that the back end and the
 * waiter owe has come; until then read views may be opened. r is gone when closed_cb runs. Once. */
typedef void rest_closed_fn(void *arg);
void rest_close(struct rest *r, unsigned grace_ms, rest_closed_fn *closed_cb, void *arg);

/* From here on submit, read, status and wait are not called any more: what would need them is answered with
 * E_CANCELED. To be called before the driver is closed, when that happens before closed_cb. */
void rest_backend_gone(struct rest *r);

/* Makes the REST layer look at the back end's status now; for driver_ops.on_state. */
void rest_on_state(struct rest *r);

/* The replicated or the observed state has changed: streams of events look again. Any thread, cheap. */
void rest_on_change(struct rest *r);

enum rest_listener { REST_HTTP, REST_HTTPS, REST_UNIX, REST_LISTENERS_N };
/* 0 when it is closed. For the unix socket: 1 when it is open. */
unsigned rest_port(const struct rest *r, enum rest_listener which);

struct rest_stats {
        unsigned connections, in_flight;
        uint64_t accepted, refused_per_ip, cut_slow, requests, answers_4xx, answers_5xx;
};
/* Any thread. */
void rest_stats(struct rest *r, struct rest_stats *ret);

#endif
