/* Inside of the admin socket: clients and calls. */
#ifndef RAFTCTL_ADMIN_INT_H
#define RAFTCTL_ADMIN_INT_H

#include "raftctl/admin.h"
#include "raftctl/member_int.h"

struct admin_client {
        struct admin *admin;
        uint64_t number; /* calls find the client again by it: it may be gone */
        uv_pipe_t pipe;
        uv_timer_t timer;
        uv_write_t write;
        struct buf in, out;
        uint8_t rx[4096];
        bool asked, closing, writing;
        /* of an answer in parts: next is called when a part has left, with an error when the client has gone */
        void (*next)(void *arg, int err);
        void *next_arg;
        unsigned live;
        struct list node;
};

struct admin {
        struct local_member *m;
        uv_pipe_t pipe;
        char path[108];
        struct list clients;
        unsigned clients_n, live;
        uint64_t last_number;
        bool closing, bound;
        void (*closed_cb)(void *arg);
        void *closed_arg;
};

/* ---- admin.c ---- */
/* Answers the client with that number, if it is still there. */
void admin_reply_to(struct admin *a, uint64_t number, const struct admin_reply *r);
/* Sends one part. next is called once, perhaps before this returns: 0 when it has left and the client is there for
 * the next part, else an error. Content is copied. */
void admin_part_to(
        struct admin *a, uint64_t number, struct blob content, void (*next)(void *arg, int err), void *arg);
/* ---- admin_backup.c ---- */
/* Answers a BACKUP request wholly. */
void admin_backup(struct admin *a, uint64_t number, bool stale);
/* ---- admin_verbs.c ---- */
void admin_dispatch(struct admin *a, uint64_t number, struct blob request);

#endif
