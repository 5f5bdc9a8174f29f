#include "controller/base/loopq.h"

#include <assert.h>

#include "wire/base/err.h"

static void on_wake(uv_async_t *async)
{
        struct loopq *q = async->data;
        if (!q->closing) loopq_drain(q);
}

int loopq_open(struct loopq *q, uv_loop_t *loop, unsigned limit, loopq_drain_fn *drain_cb, void *arg)
{
        atomic_init(&q->head, NULL);
        atomic_init(&q->pending, 0);
        q->limit = limit;
        q->drain_cb = drain_cb;
        q->closed_cb = NULL;
        q->arg = arg;
        q->closing = false;
        q->async.data = q;
        return uv_async_init(loop, &q->async, on_wake);
}

int loopq_push(struct loopq *q, struct loopq_node *n)
{
        if (atomic_fetch_add_explicit(&q->pending, 1, memory_order_relaxed) >= q->limit) {
                atomic_fetch_sub_explicit(&q->pending, 1, memory_order_relaxed);
                return E_LIMIT;
        }
        struct loopq_node *head = atomic_load_explicit(&q->head, memory_order_relaxed);
        do {
                n->next = head;
        } while (!atomic_compare_exchange_weak_explicit(
                &q->head, &head, n, memory_order_release, memory_order_relaxed));
        /* head is what was there before: whoever pushed onto a non-empty queue knows that a wake-up is on its
         * way. */
        if (!head) uv_async_send(&q->async);
        return 0;
}

void loopq_drain(struct loopq *q)
{
        struct loopq_node *n = atomic_exchange_explicit(&q->head, NULL, memory_order_acquire);
        struct loopq_node *first = NULL;
        unsigned count = 0;
        while (n) {
                struct loopq_node *next = n->next;
                n->next = first;
                first = n;
                n = next;
                count++;
        }
        if (!first) return;
        atomic_fetch_sub_explicit(&q->pending, count, memory_order_relaxed);
        q->drain_cb(q->arg, first, count);
}

static void on_closed(uv_handle_t *handle)
{
        struct loopq *q = handle->data;
        q->closed_cb(q->arg);
}

void loopq_close(struct loopq *q, loopq_closed_fn *closed_cb)
{
        assert(!q->closing);
        loopq_drain(q);
        q->closing = true;
        q->closed_cb = closed_cb;
        uv_close((uv_handle_t *)&q->async, on_closed);
}
