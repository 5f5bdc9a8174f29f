/* Receiving the state: chunks go into the store's spare state as they arrive; the core hears of the snapshot
 * only when all of it is there and verified. Then a job switches to it (jobs.c). A new begin replaces a
 * transfer that is under way.
 *
 * Failures: damage (the sender is told, it starts again), silence (given up), the store (fatal there). The
 * store has one call out at a time; if the transfer changes meanwhile, its answer only starts the new one. */
#include <stdlib.h>
#include <string.h>

#include "raftctl/driver_int.h"

void snap_recv_init(struct driver *d) { list_init(&d->recv.chunks); }

static void drop_chunks(struct driver *d)
{
        while (!list_empty(&d->recv.chunks)) {
                struct snap_chunk *c = list_first(&d->recv.chunks, struct snap_chunk, node);
                list_remove(&c->node);
                free(c);
        }
}

void snap_recv_drop(struct driver *d)
{
        drop_chunks(d);
        d->recv.state = RECV_IDLE;
}

void snap_recv_close(struct driver *d)
{
        drop_chunks(d);
        free(d->recv.writing);
        buf_done(&d->recv.conf);
}

static void ack(struct driver *d, uint64_t to, uint64_t transfer, uint64_t seq, int err)
{
        struct rf_snap_ack m = { 0 };

        SET(&m, rf_snap_ack, transfer, transfer);
        SET(&m, rf_snap_ack, seq, seq);
        if (err < 0) SET(&m, rf_snap_ack, err, err);
        peer_send(d, to, CHANNEL_BULK, raft_frame_SNAP_ACK, &m);
}

static void begun(void *arg, int err);
static void written(void *arg, int err);

static void next_chunk(struct driver *d)
{
        struct snap_recv *r = &d->recv;

        if (r->busy || r->state != RECV_LOADING || list_empty(&r->chunks)) return;
        r->writing = list_first(&r->chunks, struct snap_chunk, node);
        list_remove(&r->writing->node);
        r->busy = true;
        d->store->ops->install_chunk(d->store, BLOB(r->writing->data, r->writing->n), written, d);
}

static void begin(struct driver *d)
{
        d->recv.busy = true;
        d->recv.restart = false;
        d->store->ops->install_begin(d->store, begun, d);
}

/* Would the log be cut below what is committed? It has then all that the snapshot would bring. */
static bool takes_back(const struct driver *d, uint64_t index)
{
        return index <= d->applied.index || (guard_on(GUARD_KEEP) && index <= raft_commit_index(&d->raft));
}

/* Everything is there: now the core may know. */
static void loaded(struct driver *d)
{
        struct snap_recv *r = &d->recv;
        struct raft_message msg = { .type = RAFT_INSTALL_SNAPSHOT };
        struct raft_event e = { .type = RAFT_RECEIVE };
        struct raft_install_snapshot *is = &msg.install_snapshot;

        r->state = RECV_IDLE;
        if (d->installing || (d->raft.state == RAFT_LEADER && r->term == raft_current_term(&d->raft))) return;
        /* It came by the log meanwhile: the core answers that where it knows the entry, and would install it where not. */
        if (guard_on(GUARD_KEEP) && takes_back(d, r->index) && step_term_of(d, r->index) < r->last_term)
                return;
        if (conf_decode(buf_blob(&r->conf), &is->conf) < 0) return;
        is->term = r->term;
        is->last_index = r->index;
        is->last_term = r->last_term;
        is->conf_index = r->conf_index;
        is->data.base = raft_malloc(1); /* a token: the data is in the spare state */
        is->data.len = 1;
        msg.server_id = r->from;
        msg.server_address = "-";
        e.receive.message = &msg;
        if (r->term >= raft_current_term(&d->raft)) d->leader_heard_ms = drv_now(d);
        (void)step_core(d, &e);
}

static void begun(void *arg, int err)
{
        struct driver *d = arg;

        if (d->fatal) return;
        drv_enter(d);
        d->recv.busy = false;
        if (err < 0) {
                drv_fatal(d, err, "the store cannot receive a snapshot");
        } else if (d->recv.restart) {
                begin(d);
        } else if (d->recv.state == RECV_STARTING) {
                d->recv.state = RECV_LOADING;
                next_chunk(d);
        }
        d->dirty = true;
        drv_leave(d);
}

static void written(void *arg, int err)
{
        struct driver *d = arg;
        struct snap_recv *r = &d->recv;
        bool last = r->writing->last;

        if (d->fatal) return;
        drv_enter(d);
        r->busy = false;
        free(r->writing);
        r->writing = NULL;
        if (r->restart) {
                begin(d);
        } else if (r->state != RECV_LOADING) {
                /* given up meanwhile */
        } else if (err == E_CORRUPT || err == E_FORMAT || err == E_NO_SPACE) {
                ack(d, r->from, r->transfer, r->seq_written, err);
                snap_recv_drop(d);
        } else if (err < 0) {
                drv_fatal(d, err, "the store failed");
        } else {
                ack(d, r->from, r->transfer, ++r->seq_written, 0);
                if (last) loaded(d);
                else next_chunk(d);
        }
        d->dirty = true;
        drv_leave(d);
}

void snap_on_begin(struct driver *d, struct peer *p, const struct rf_snap_begin *m)
{
        struct snap_recv *r = &d->recv;

        if (m->term < raft_current_term(&d->raft)) {
                ack(d, p->id, m->transfer, 0, E_STALE);
                return;
        }
        if (m->log_only && !d->log_only) { /* it would be a state without its rows */
                ack(d, p->id, m->transfer, 0, E_INVALID);
                return;
        }
        /* While one installs the core would lose track of a second one; the leader asks again. */
        if (d->installing || takes_back(d, m->index)) {
                ack(d, p->id, m->transfer, 0, E_BUSY);
                return;
        }
        drop_chunks(d);
        r->state = RECV_STARTING;
        r->from = p->id;
        r->transfer = m->transfer;
        r->term = m->term;
        r->index = m->index;
        r->last_term = m->last_term;
        r->conf_index = m->conf_index;
        r->seq_in = r->seq_written = 0;
        r->heard_ms = drv_now(d);
        buf_reset(&r->conf);
        buf_put(&r->conf, m->conf.p, m->conf.n);
        drv_scan_at(d, r->heard_ms + 20 * (uint64_t)d->election_ms);
        if (r->busy) r->restart = true;
        else begin(d);
}

void snap_on_chunk(struct driver *d, struct peer *p, const struct rf_snap_chunk *m)
{
        struct snap_recv *r = &d->recv;
        struct snap_chunk *c;

        if ((r->state != RECV_STARTING && r->state != RECV_LOADING) || r->from != p->id ||
                r->transfer != m->transfer)
                return;
        r->heard_ms = drv_now(d);
        if (m->seq != r->seq_in + 1 || m->seq > r->seq_written + SNAP_WINDOW) {
                ack(d, p->id, m->transfer, r->seq_written, E_PROTOCOL);
                snap_recv_drop(d);
                return;
        }
        r->seq_in = m->seq;
        c = xmalloc(sizeof(*c) + m->data.n);
        *c = (struct snap_chunk){ .seq = m->seq, .last = m->last, .n = m->data.n };
        if (m->data.n) memcpy(c->data, m->data.p, m->data.n);
        list_push_back(&r->chunks, &c->node);
        next_chunk(d);
}

void snap_recv_tick(struct driver *d, uint64_t now)
{
        uint64_t until = d->recv.heard_ms + 20 * (uint64_t)d->election_ms;

        if (d->recv.state == RECV_IDLE) return;
        if (now >= until) snap_recv_drop(d);
        else drv_scan_at(d, until);
}
