/* For tests of wire/net: a listener and a client of cluster A on one loop, and what happened to each side.
 *
 * Threads: one. Ownership: struct pair is the test's; pair_end() closes everything in it. */
#ifndef TESTS_UNIT_NET_PAIR_H
#define TESTS_UNIT_NET_PAIR_H

#include "tests/unit/net_help.h"

extern struct creds good; /* cluster A, controller "alpha"; from pair_setup() */
int pair_setup(void **state);
int pair_teardown(void **state);

enum hook { HOOK_NONE, HOOK_OPENED, HOOK_FRAME, HOOK_END, HOOK_N };

struct side {
        struct conn *c;
        bool opened, ended, closed, taken, heap;
        int opened_err;
        enum conn_end why;
        int end_err;
        char text[256];
        unsigned frames, writable;
        size_t bytes;
        uint32_t sum;
        enum hook close_in;
        bool echo, pause_at_frame, pause_at_open;
        bool while_paused; /* a frame came all the same */
        bool done;         /* ended or failed to open */
};

struct pair {
        uv_loop_t loop;
        struct listener listener;
        struct sockaddr_storage address;
        struct conn_options options;
        struct side client, server;
        unsigned accepted, refused;
        int refused_err;
        char refused_text[256];
        bool was_accepted, was_refused, listener_closed;
};

extern const struct conn_ops side_ops;
void side_close(struct side *s);
uint32_t sum_of(struct blob b);
/* handshakes_max 0 = the listener's default. Deadlines are short. */
void pair_open(struct pair *p, const struct creds *server, bool anonymous, unsigned handshakes_max);
void pair_connect(struct pair *p, const struct creds *client, const char *cluster);
void pair_on_listener_closed(struct listener *l);
/* Fails the test when anything is left on the loop. */
void pair_end(struct pair *p);

#endif
