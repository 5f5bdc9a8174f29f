/* Shared by sat_link.c (all sessions) and sat_session.c (one). Threads: loop thread. */
#ifndef CONTROLLER_SAT_SAT_LINK_INTERNAL_H
#define CONTROLLER_SAT_SAT_LINK_INTERNAL_H

#include "controller/sat/sat_link.h"
#include "wire/base/list.h"
#include "wire/net/conn.h"

#define SAT_TICK_MS 250
#define SAT_PING_MS 1000
#define SAT_SILENCE_MS 5000
#define SAT_RETRY_FIRST_MS 200
#define SAT_RETRY_MAX_MS 10000
#define SAT_HELLO_MS 5000  /* for the hello reply */
#define SAT_TRY_MS 5000    /* a first try is waited for that long */
#define SAT_RETRIED_MS 500 /* what a dial younger than that found out is believed */
#define SAT_AGAIN_MS 1000  /* one more dial is waited for that long */
#define SAT_REPLY_MS 30000 /* for the reply to a wanted state */

enum session_state {
        SESSION_IDLE,    /* no connection; dials at retry_ms, if there is an address */
        SESSION_DIALING, /* TCP and TLS */
        SESSION_HELLO,   /* waits for the hello reply */
        SESSION_SYNC,    /* waits for the full report */
        SESSION_ONLINE,
        SESSION_CLOSING, /* the connection is being closed; then IDLE, or gone */
        SESSION_STATE_N
};

struct sat_session {
        struct list at; /* in sat_link.sessions */
        struct sat_link *link;
        enum session_state state;
        bool removed; /* no longer a node: freed when the connection is closed */
        /* from the node row */
        char *node_name;
        char *fingerprint; /* of the certificate it joined with, NULL when unknown */
        bool has_address;
        struct sockaddr_storage address;
        char address_text[128];
        uint64_t node_revision; /* another one: the user wants the session to start anew */
        /* dialing */
        uint64_t retry_ms;     /* IDLE: when to dial */
        unsigned pause_ms;     /* before the next dial */
        int64_t asked_wall_ms; /* the newest request that a dial was begun for */
        uint64_t dialed_ms;    /* when the last dial began */
        bool tried;            /* since try_ms it has been online, or a try has failed */
        uint64_t try_ms;       /* made, or this member began to lead */
        /* the connection; valid from DIALING to CLOSING */
        struct conn conn;
        uint64_t state_since_ms, last_heard_ms, next_ping_ms, ping_seq;
        enum conn_status last_status; /* told to the observed store last */
        /* what the satellite was told; leader only */
        struct sat_dirty dirty;
        bool has_ships; /* it was told of some */
        bool in_flight;
        uint64_t sent_ms, acked_revision;
        unsigned level;       /* highest feature level that the satellite knows, from its hello reply */
        bool has_acked;       /* acked_revision is of this session */
        uint64_t fenced_term; /* it knows a newer leader than this term of ours; 0 = no */
        uint64_t failed_ms;   /* the state could not be built then */
};

struct sat_link {
        struct sat_link_config config;
        struct list sessions;
        uv_timer_t tick, flush;
        unsigned live; /* handles and sessions */
        bool closing, nodes_changed;
        uint64_t term;   /* that we led last; sessions were told everything in it */
        uint64_t try_ms; /* opened, or began to lead */
        sat_link_closed_fn *closed_cb;
        void *closed_arg;
};

/* ---- sat_session.c ---- */
struct sat_session *session_new(struct sat_link *l, const char *node_name);
/* Takes over what the node row says; dials anew when the address changed. */
void session_set_node(struct sat_session *s, const struct node *node);
/* Not a node any more, or the link closes: ends the connection and then frees the session. */
void session_remove(struct sat_session *s, bool forget);
void session_tick(struct sat_session *s, uint64_t now_ms);
/* Ends the connection, if any, and dials again now. */
void session_redial(struct sat_session *s);
/* sat_link_retry(); the caller sees to it that an idle session is looked at. */
bool session_retry(struct sat_session *s, int64_t wall_ms);
/* A new leader wants to know whether it can be reached. */
void session_try(struct sat_session *s);
/* Takes part in the flush? */
bool session_can_send(const struct sat_session *s);
/* Encodes and sends one wanted state. 0, E_BUSY (later), or an error that ended the session. */
int session_send_wanted(struct sat_session *s, const struct sat_wanted *w);
/* The same for keys; nothing of them is left in our memory. */
int session_send_keys(struct sat_session *s, const struct sat_keys *k);
/* The same for backups. */
int session_send_ships(struct sat_session *s, const struct sat_ships *m);

/* ---- sat_link.c ---- */
void sat_link_want_flush(struct sat_link *l);
/* A session is gone. */
void sat_link_settle(struct sat_link *l);

/* ---- sat_problem.c: what users read; texts live in the arena ---- */
const char *problem_no_address(struct arena *a, const char *node_name);
/* Dialing failed with err; fault: the connection's explanation. *ret_status: what the node is shown as. */
const char *problem_dial(struct arena *a, const struct sat_session *s, int err, const char *fault,
        enum conn_status *ret_status);
const char *problem_name(struct arena *a, const struct sat_session *s, const char *actual);
const char *problem_fingerprint(struct arena *a, const struct sat_session *s);
const char *problem_refused(struct arena *a, const struct sat_session *s, int err, const char *text,
        enum conn_status *ret_status);
/* The releases have no feature level in common; level: the highest that the satellite knows. */
const char *problem_level(struct arena *a, const struct sat_session *s, const char *version, uint64_t level);
const char *problem_lost(struct arena *a, const struct sat_session *s, const char *why);

#endif
