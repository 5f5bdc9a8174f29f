/* The leader's evaluation. Requests that arrive while batches are on their way are evaluated together, on a
 * layer above those of the batches; the layer's changes are one log entry. Answers are given when the entry
 * is committed; a batch that wrote nothing is answered when everything it saw is committed and a majority has
 * confirmed the leadership.
 *
 * Happy path: batch_add (queue) -> batch_fill (evaluate, submit) -> batch_commit (answer) -> batch_applied
 * (drop the layer). Leadership lost: batch_lost sends every request back to look for the new leader with the
 * same id. */
#include <stdlib.h>
#include <string.h>

#include "raftctl/driver_int.h"
#include "wire/base/sabotage.h"

/* ---- requests that are known ---- */

static unsigned bucket_of(const uint8_t *id)
{
        uint64_t h = 1469598103934665603u;
        for (unsigned i = 0; i < REQUEST_ID_SIZE; i++) h = (h ^ id[i]) * 1099511628211u;
        return (unsigned)(h >> 32) % OP_BUCKETS;
}

struct op *batch_op_find(struct driver *d, const uint8_t *id)
{
        struct op *op = d->ops_hash[bucket_of(id)];
        while (op && memcmp(op->id, id, REQUEST_ID_SIZE) != 0) op = op->hash_next;
        return op;
}

static void op_free(struct driver *d, struct op *op)
{
        struct op **at = &d->ops_hash[bucket_of(op->id)];

        while (*at != op) at = &(*at)->hash_next;
        *at = op->hash_next;
        LIST_FOREACH_SAFE(it, nx, &op->waiters)
        {
                struct waiter *w = container_of(it, struct waiter, node);
                if (w->request) w->request->waiter = NULL;
                list_remove(it);
                free(w);
        }
        if (op->state == OP_QUEUED) d->queue_n--;
        list_remove(&op->node);
        free(op->reply);
        free(op);
}

static void reply_peer(struct driver *d, const struct waiter *w, const struct op *op, int err, bool untouched)
{
        struct rf_forward_reply m = { 0 };

        SET(&m, rf_forward_reply, attempt, w->attempt);
        if (err < 0) {
                SET(&m, rf_forward_reply, err, err);
                SET(&m, rf_forward_reply, untouched, untouched);
        } else {
                SET(&m, rf_forward_reply, index, op->index);
                SET(&m, rf_forward_reply, term, op->term);
                SET(&m, rf_forward_reply, reply, BLOB(op->reply, op->reply_n));
        }
        peer_send(d, w->peer, CHANNEL_RAFT, raft_frame_FORWARD_REPLY, &m);
}

/* The outcome is certain: op->err, or op->reply. */
static void op_answer(struct driver *d, struct op *op)
{
        LIST_FOREACH_SAFE(it, nx, &op->waiters)
        {
                struct waiter *w = container_of(it, struct waiter, node);
                if (w->request) {
                        struct drv_request *r = w->request;
                        r->waiter = NULL;
                        w->request = NULL;
                        forward_finish(d, r, op->err, op->index, op->term, BLOB(op->reply, op->reply_n));
                } else {
                        reply_peer(d, w, op, op->err, true);
                }
        }
        op_free(d, op);
}

/* Not decided here: whoever waits looks for the leader again. */
static void op_give_back(struct driver *d, struct op *op, int err)
{
        bool untouched = op->state != OP_PROPOSED;

        LIST_FOREACH_SAFE(it, nx, &op->waiters)
        {
                struct waiter *w = container_of(it, struct waiter, node);
                if (w->request) {
                        struct drv_request *r = w->request;
                        r->waiter = NULL;
                        w->request = NULL;
                        if (!untouched) r->uncertain++;
                        forward_again(d, r);
                } else {
                        reply_peer(d, w, op, err, untouched);
                }
        }
        op_free(d, op);
}

void batch_forget_waiter(struct driver *d, struct waiter *w)
{
        if (w->request) w->request->waiter = NULL;
        list_remove(&w->node);
        free(w);
}

void batch_add(struct driver *d, const uint8_t *id, struct blob request, uint64_t deadline_ms, uint64_t since,
        struct drv_request *local, uint64_t peer, uint64_t attempt)
{
        struct op *op = batch_op_find(d, id);
        struct waiter *w;

        if (!op) {
                unsigned b = bucket_of(id);
                op = xmalloc(sizeof(*op) + request.n);
                *op = (struct op){ .deadline_ms = deadline_ms,
                        .since = since,
                        .state = OP_QUEUED,
                        .hash_next = d->ops_hash[b] };
                memcpy(op->id, id, REQUEST_ID_SIZE);
                if (request.n) memcpy(op + 1, request.p, request.n);
                op->request = BLOB(op + 1, request.n);
                list_init(&op->waiters);
                d->ops_hash[b] = op;
                list_push_back(&d->queue, &op->node);
                d->queue_n++;
                drv_scan_at(d, deadline_ms);
        }
        if (deadline_ms > op->deadline_ms) op->deadline_ms = deadline_ms;
        if (since < op->since) op->since = since;
        if (!local) {
                LIST_FOREACH(it, &op->waiters)
                {
                        struct waiter *old = container_of(it, struct waiter, node);
                        if (!old->request && old->peer == peer) {
                                old->attempt = attempt;
                                return;
                        }
                }
        }
        w = xnew(struct waiter);
        *w = (struct waiter){ .request = local, .peer = peer, .attempt = attempt };
        if (local) local->waiter = w;
        list_push_back(&op->waiters, &w->node);
        d->dirty = true;
}

/* ---- evaluation ---- */

/* Counts writes on their way to the layer: a request that wrote nothing needs no entry. */
struct counting_tx {
        struct tx tx;
        struct tx *inner;
        uint64_t writes_n;
};
static int counting_result(struct tx *tx, int err)
{
        tx->err = container_of(tx, struct counting_tx, tx)->inner->err;
        return err;
}
static struct tx *inner_of(struct tx *tx) { return container_of(tx, struct counting_tx, tx)->inner; }
static int counting_get(struct tx *tx, struct blob key, struct blob *ret_value)
{
        return counting_result(tx, tx_get(inner_of(tx), key, ret_value));
}
static int counting_put(struct tx *tx, struct blob key, struct blob value)
{
        container_of(tx, struct counting_tx, tx)->writes_n++;
        return counting_result(tx, tx_put(inner_of(tx), key, value));
}
static int counting_del(struct tx *tx, struct blob key)
{
        int err = tx_del(inner_of(tx), key);
        if (err == 0) container_of(tx, struct counting_tx, tx)->writes_n++;
        return counting_result(tx, err);
}
static int counting_seek(struct tx *tx, struct tx_cursor *c, struct blob from)
{
        return counting_result(tx, tx_seek(inner_of(tx), c, from));
}
static int counting_next(struct tx *tx, struct tx_cursor *c)
{
        return counting_result(tx, tx_next(inner_of(tx), c));
}
static void counting_close(struct tx *tx, struct tx_cursor *c) { tx_close(inner_of(tx), c); }
static const struct tx_ops counting_ops = { .get = counting_get,
        .put = counting_put,
        .del = counting_del,
        .seek = counting_seek,
        .next = counting_next,
        .close = counting_close };

static struct batch *top_layer(struct driver *d)
{
        return list_empty(&d->batches) ? NULL : container_of(d->batches.prev, struct batch, node);
}

/* true = it wrote something. */
static bool evaluate(struct driver *d, struct overlay *layer, struct op *op, uint64_t index)
{
        struct counting_tx c = { .tx.ops = &counting_ops, .inner = overlay_tx(layer) };
        struct buf reply = { 0 };
        int err;

        overlay_savepoint(layer);
        err = d->ops.evaluate(d->arg, &c.tx, op->request, index, &reply);
        if (err == 0 && c.writes_n > 0)
                err = request_record(overlay_tx(layer), op->id, index, buf_blob(&reply));
        if (err == 0 && overlay_tx(layer)->err) err = overlay_tx(layer)->err;
        if (err < 0 && !SABOTAGE(KEEP_REFUSED)) overlay_rollback(layer);
        else overlay_release(layer);
        op->err = err == E_INVALID ? 0 : err; /* a refusal is an answer */
        op->reply = buf_take(&reply, &op->reply_n);
        if (op->err < 0) op->reply_n = 0;
        if (overlay_tx(layer)->err) drv_fatal(d, overlay_tx(layer)->err, "the state cannot be read");
        return err == 0 && c.writes_n > 0;
}

/* A request that was carried out before, by this leader or another one. */
static bool answer_known(struct driver *d, struct tx *tx, struct op *op)
{
        struct blob reply;
        uint64_t index;

        arena_reset(&d->eval);
        if (SABOTAGE(FORGET_REQUESTS) || request_find(tx, op->id, &index, &reply, &d->eval) != 0)
                return false;
        op->index = index;
        op->term = step_term_of(d, index);
        op->reply = reply.n ? xmemdup(reply.p, reply.n) : NULL;
        op->reply_n = reply.n;
        if (index <= raft_commit_index(&d->raft)) {
                op_answer(d, op);
        } else { /* cannot be: it would still be in a batch; asking again is always right */
                op_give_back(d, op, E_BUSY);
        }
        return true;
}

/* It may have been carried out so long ago that its answer has been dropped from the table: evaluated once more it
 * could take effect twice. */
static bool answer_forgotten(struct driver *d, struct tx *tx, struct op *op)
{
        uint64_t index;

        if (op->since == NEVER_TRIED || request_forgotten(tx, &index) != 0 || index <= op->since)
                return false;
        op->err = E_UNKNOWN_OUTCOME;
        op_answer(d, op);
        return true;
}

static void batch_free(struct driver *d, struct batch *b)
{
        overlay_free(b->layer);
        list_remove(&b->node);
        free(b);
}

/* Back into the queue, in order. */
static void requeue(struct driver *d, struct batch *b)
{
        while (!list_empty(&b->ops)) {
                struct op *op = container_of(b->ops.prev, struct op, node);
                list_remove(&op->node);
                free(op->reply);
                op->reply = NULL;
                op->reply_n = 0;
                op->state = OP_QUEUED;
                d->queue_n++;
                list_push_front(&d->queue, &op->node);
        }
}

/* It is still in the queue, for whoever counts. */
static void put_off(struct driver *d, struct op *op)
{
        free(op->reply);
        op->reply = NULL;
        op->reply_n = 0;
        op->err = 0;
        op->state = OP_QUEUED;
        d->queue_n++;
        list_remove(&op->node);
        if (list_empty(&d->later)) d->later_ms = drv_now(d) + LATER_MS;
        list_push_back(&d->later, &op->node);
        drv_scan_at(d, d->later_ms);
}

static void propose(struct driver *d, struct batch *b, uint64_t base_index)
{
        struct buf out = { 0 };
        int err = writeset_encode(b->layer, base_index, &out);
        uint64_t index = 0;

        if (err == 0) err = step_submit(d, LOG_COMMAND, buf_blob(&out), &index);
        buf_done(&out);
        if (err < 0) {
                requeue(d, b);
                batch_free(d, b);
                return;
        }
        b->index = index;
        LIST_FOREACH(it, &b->ops)
        {
                struct op *op = container_of(it, struct op, node);
                op->state = OP_PROPOSED;
                op->index = index - SABOTAGE(ANSWER_OTHER_INDEX);
                op->term = d->lead_term;
        }
        list_push_back(&d->batches, &b->node);
        d->batches_n++;
}

/* Nothing was written: no entry, but the answers depend on what was seen. */
static void park(struct driver *d, struct batch *b, uint64_t seen_index)
{
        overlay_free(b->layer);
        b->layer = NULL;
        b->index = SABOTAGE(ANSWER_ON_DROPPED) ? 0 : seen_index;
        b->epoch = read_epoch_for_noop(d);
        LIST_FOREACH(it, &b->ops) container_of(it, struct op, node)->state = OP_NOOP;
        list_push_back(&d->noops, &b->node);
}

static void build(struct driver *d)
{
        struct batch *top = top_layer(d), *b = xnew(struct batch);
        struct tx *base = top ? overlay_tx(top->layer) : d->view;
        uint64_t index = raft_last_index(&d->raft) + 1, base_index, writes_n = 0, n = 0;
        size_t bytes = 0;
        struct applied ap;

        base_index = top ? top->index : applied_get(d->view, &ap) == 0 ? ap.writeset_index : 0;
        list_init(&b->ops);
        list_init(&b->node);
        b->layer = overlay_new(base);
        while (!list_empty(&d->queue) && n < BATCH_OPS_MAX && bytes < BATCH_BYTES_MAX && !d->fatal) {
                struct op *op = list_first(&d->queue, struct op, node);
                if (answer_known(d, overlay_tx(b->layer), op)) continue;
                if (answer_forgotten(d, overlay_tx(b->layer), op)) continue;
                list_remove(&op->node);
                d->queue_n--;
                op->state = OP_NOOP;
                list_push_back(&b->ops, &op->node);
                writes_n += evaluate(d, b->layer, op, index);
                if (op->err == E_BUSY) {
                        put_off(d, op);
                        continue;
                }
                bytes = overlay_bytes(b->layer);
                n++;
        }
        if (d->fatal || n == 0) {
                requeue(d, b);
                batch_free(d, b);
        } else if (writes_n == 0) {
                park(d, b, MAX(d->barrier_index, top ? top->index : 0));
        } else {
                propose(d, b, base_index);
        }
}

/* A second batch goes on its way while the first is being written, but not a small one: each costs every
 * member a transaction, and what would have been in it is in the next. */
bool batch_can_fill(const struct driver *d)
{
        if (list_empty(&d->queue) || d->batches_n >= BATCHES_IN_FLIGHT) return false;
        return d->batches_n == 0 || d->queue_n >= BATCH_OPS_WORTH;
}

void batch_fill(struct driver *d)
{
        if (!d->leading || !d->ready || d->fatal || raft_transferee(&d->raft) != 0) return;
        if (d->ops.evaluate == NULL) return;          /* a witness: its owner hands leadership over */
        if (d->store->ops->is_full(d->store)) return; /* membership.c hands over or refuses */
        while (d->leading && !d->fatal && batch_can_fill(d)) {
                uint32_t before = d->queue_n;
                build(d);
                if (d->queue_n >= before) return; /* the core refused */
        }
}

/* ---- outcomes ---- */

void batch_commit(struct driver *d)
{
        uint64_t commit = raft_commit_index(&d->raft);

        if (!d->leading) return;
        LIST_FOREACH(it, &d->batches)
        {
                struct batch *b = container_of(it, struct batch, node);
                if (b->answered) continue;
                if (b->index > commit && !SABOTAGE(ANSWER_BEFORE_COMMIT)) break;
                b->answered = true;
                d->batches_n--;
                while (!list_empty(&b->ops)) op_answer(d, list_first(&b->ops, struct op, node));
                d->dirty = true;
        }
        LIST_FOREACH_SAFE(it, nx, &d->noops)
        {
                struct batch *b = container_of(it, struct batch, node);
                if (!b->confirmed || b->index > commit) continue;
                while (!list_empty(&b->ops)) {
                        struct op *op = list_first(&b->ops, struct op, node);
                        op->index = commit;
                        op->term = d->lead_term;
                        op_answer(d, op);
                }
                batch_free(d, b);
        }
}

void batch_noop_confirmed(struct driver *d, uint64_t epoch)
{
        LIST_FOREACH(it, &d->noops)
        {
                struct batch *b = container_of(it, struct batch, node);
                if (b->epoch > epoch || b->confirmed) continue;
                b->confirmed = true;
                d->dirty = true;
        }
}

void batch_applied(struct driver *d)
{
        struct tx *old = d->view;

        if (!d->leading || !d->view) return;
        batch_commit(d);
        while (!list_empty(&d->batches)) {
                struct batch *b = list_first(&d->batches, struct batch, node);
                if (b->index > d->applied.index) break;
                batch_free(d, b);
        }
        d->view = NULL;
        if (d->store->ops->read_begin(d->store, &d->view) < 0) {
                drv_fatal(d, E_STORAGE, "no view of the state");
        } else if (!list_empty(&d->batches)) {
                overlay_rebase(list_first(&d->batches, struct batch, node)->layer, d->view);
        }
        d->store->ops->read_end(d->store, old);
}

/* Within a term each write-set names the one before it: nothing of ours can be refused. */
void batch_refused(struct driver *d, uint64_t index)
{
        LIST_FOREACH(it, &d->batches)
        if (container_of(it, struct batch, node)->index == index)
                drv_fatal(d, E_CORRUPT, "a committed write-set of this leader was refused");
}

void batch_lost(struct driver *d)
{
        while (!list_empty(&d->batches)) {
                struct batch *b = list_first(&d->batches, struct batch, node);
                while (!list_empty(&b->ops))
                        op_give_back(d, list_first(&b->ops, struct op, node), E_NOT_LEADER);
                batch_free(d, b);
        }
        while (!list_empty(&d->noops)) {
                struct batch *b = list_first(&d->noops, struct batch, node);
                while (!list_empty(&b->ops))
                        op_give_back(d, list_first(&b->ops, struct op, node), E_NOT_LEADER);
                batch_free(d, b);
        }
        while (!list_empty(&d->later)) op_give_back(d, list_first(&d->later, struct op, node), E_NOT_LEADER);
        while (!list_empty(&d->queue)) op_give_back(d, list_first(&d->queue, struct op, node), E_NOT_LEADER);
        d->batches_n = 0;
        if (d->view) d->store->ops->read_end(d->store, d->view);
        d->view = NULL;
}

void batch_refuse(struct driver *d, struct op *op) { op_answer(d, op); }

void batch_expire(struct driver *d, uint64_t now)
{
        if (!list_empty(&d->later) && now < d->later_ms) drv_scan_at(d, d->later_ms);
        while (!list_empty(&d->later) && now >= d->later_ms) {
                struct op *op = container_of(d->later.prev, struct op, node);
                list_remove(&op->node);
                list_push_front(&d->queue, &op->node);
                d->dirty = true;
        }
        for (unsigned i = 0; i < 2; i++) LIST_FOREACH_SAFE(it, nx, i == 0 ? &d->queue : &d->later)
                {
                        struct op *op = container_of(it, struct op, node);
                        if (op->deadline_ms > now) {
                                drv_scan_at(d, op->deadline_ms);
                        } else {
                                op->err = E_NO_QUORUM;
                                op_answer(d, op);
                        }
                }
}
