/* A back end for the REST server without Raft: it answers from memory, at once or as the query of a request
 * says, and counts what it is asked. The operations and views of the route table are replaced by echoes
 * (rest_fake_routes.c).
 *
 * What a request may say in its query: fake_ms=N (answer later), fake_err=N (fail with that error),
 * fake_waits=N (that many wait items; fake_saga: of a saga; fake_fails: which fail), fake_status=N, fake_garbage (an answer that cannot be decoded),
 * fake_never (no answer), fake_again=N (the first N submits are refused, and to be asked again).
 *
 * Threads: all calls on the loop thread; the view callbacks on any. Ownership: the caller's struct;
 * rest_fake_close answers what is pending with E_CANCELED. */
#ifndef TESTS_LIB_REST_FAKE_H
#define TESTS_LIB_REST_FAKE_H

#include "controller/rest/rest.h"
#include "state/kv_mem.h"
#include "wire/base/list.h"

struct rest_fake {
        uv_loop_t *loop;
        struct env *env;
        struct list pending; /* waits for its time, for the quorum, or for ever */
        uv_timer_t timer;
        uv_idle_t idle;
        bool quorum;
        uint64_t no_quorum_since_ms;
        uint64_t index, term;
        bool no_term; /* answers name their index only, as when their entry has left the log */
        unsigned submits, reads, reports, waits, canceled;
        uint8_t last_id[REQUEST_ID_SIZE];
        struct kv_mem *wanted; /* what views show; NULL = nothing. The test's. */
        bool closed;
};

void rest_fake_open(struct rest_fake *f, uv_loop_t *loop, struct env *env);
void rest_fake_quorum(struct rest_fake *f, bool quorum);
/* Closes its handles too; run the loop afterwards. */
void rest_fake_close(struct rest_fake *f);

extern const struct rest_backend rest_fake_backend; /* arg: struct rest_fake */
extern const struct rest_waiter rest_fake_waiter;

#endif
