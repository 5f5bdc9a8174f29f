/* The one way from the HTTP threads into the loop: a bounded queue of intrusive nodes with many producers and
 * one consumer. Producers push without locks; the first push after a drain wakes the loop, so that a burst
 * costs one wake-up.
 *
 * Threads: loopq_push on any thread; everything else on the loop thread. Ownership: a node belongs to the
 * queue from a push that returned 0 until the drain callback got it; the queue never allocates. */
#ifndef CONTROLLER_BASE_LOOPQ_H
#define CONTROLLER_BASE_LOOPQ_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "wire/base/macros.h"

struct loopq_node {
        struct loopq_node *next;
};

struct loopq;
/* One batch in the order of the pushes, linked by next, NULL-terminated. The nodes are the callee's
 * afterwards. */
typedef void loopq_drain_fn(void *arg, struct loopq_node *first, unsigned n);
typedef void loopq_closed_fn(void *arg);

struct loopq {
        _Atomic(struct loopq_node *) head; /* newest first */
        atomic_uint pending;               /* pushed and not yet drained */
        unsigned limit;
        uv_async_t async;
        loopq_drain_fn *drain_cb;
        loopq_closed_fn *closed_cb;
        void *arg;
        bool closing;
};

/* limit: how many nodes may wait. 0 or a libuv error, after which the queue needs no close. */
int loopq_open(
        struct loopq *q, uv_loop_t *loop, unsigned limit, loopq_drain_fn *drain_cb, void *arg) MUST_USE;
/* E_LIMIT when full: the node stays the caller's. */
int loopq_push(struct loopq *q, struct loopq_node *n) MUST_USE;
/* Hands over what is queued now, without waiting for the wake-up. */
void loopq_drain(struct loopq *q);
/* Nobody may push any more. What is queued is drained first; closed_cb comes from the loop. */
void loopq_close(struct loopq *q, loopq_closed_fn *closed_cb);

#endif
