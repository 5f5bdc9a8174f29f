/* Linearizable reads without a write and without a clock. The leader notes its commit index, asks the voters
 * whether its term is still theirs, and when a majority has said so the index is good: a state at least that
 * new may be read. Other members ask the leader for such an index; all wait until they have applied that far.
 *
 * Sound because terms only rise and are durable before they are spoken: a newer leader that committed
 * anything before the read began had a majority in a newer term, and the two majorities share a voter. It
 * needs S2 (majorities of successive configurations meet) and the own barrier committed (the commit index is
 * then not behind what was acknowledged before). */
#include <stdlib.h>

#include "raftctl/driver_int.h"
#include "wire/base/sabotage.h"

void driver_read(struct driver *d, uint64_t deadline_ms, driver_read_fn *cb, void *arg)
{
        drv_enter(d);
        d->holding = true;
        if (d->reads_n >= READS_MAX || d->fatal) {
                drv_done(d, DONE_READ, d->fatal ? E_CANCELED : E_LIMIT, arg)->read_cb = cb;
        } else {
                struct read *r = xnew(struct read);
                *r = (struct read){ .deadline_ms = deadline_ms, .cb = cb, .arg = arg };
                list_push_back(&d->reads_new, &r->node);
                d->reads_n++;
                drv_scan_at(d, deadline_ms);
        }
        d->dirty = true;
        drv_leave(d);
}

static void finish(struct driver *d, struct read *r, int err)
{
        struct done *done = drv_done(d, DONE_READ, err, r->arg);

        done->read_cb = r->cb;
        done->index = r->index;
        done->term = r->term;
        list_remove(&r->node);
        d->reads_n--;
        free(r);
}

static void move_all(struct list *from, struct list *to)
{
        LIST_FOREACH_SAFE(it, nx, from)
        {
                list_remove(it);
                list_push_back(to, it);
        }
}

static void index_known(struct driver *d, struct list *reads, uint64_t index, uint64_t term)
{
        LIST_FOREACH(it, reads)
        {
                struct read *r = container_of(it, struct read, node);
                r->index = index;
                r->term = term;
        }
        move_all(reads, &d->reads_applying);
        d->dirty = true;
}

/* ---- leader ---- */

static bool can_confirm(const struct driver *d)
{
        if (SABOTAGE(READ_BEFORE_BARRIER)) return d->leading;
        return d->leading && d->barrier_index != 0 && raft_commit_index(&d->raft) >= d->barrier_index;
}

static void ask_voters(struct driver *d)
{
        const struct raft_configuration *c = &d->raft.configuration;
        struct rf_confirm m = { 0 };

        SET(&m, rf_confirm, term, d->lead_term);
        SET(&m, rf_confirm, epoch, d->epoch);
        for (unsigned i = 0; i < c->n; i++)
                if (c->servers[i].role == RAFT_VOTER && c->servers[i].id != d->id)
                        peer_send(d, c->servers[i].id, CHANNEL_RAFT, raft_frame_CONFIRM, &m);
        for (unsigned i = 0; SABOTAGE(READ_FROM_REMOVED) && i < d->peers_n; i++)
                if (!conf_is_voter(c, d->peers[i].id))
                        peer_send(d, d->peers[i].id, CHANNEL_RAFT, raft_frame_CONFIRM, &m);
}

static uint64_t removed_epoch(const struct driver *d) /* of no voter, for READ_FROM_REMOVED */
{
        uint64_t e = 0;
        for (unsigned i = 0; i < d->peers_n; i++)
                if (!conf_is_voter(&d->raft.configuration, d->peers[i].id) &&
                        d->peers[i].epoch_acked_term == d->lead_term)
                        e = MAX(e, d->peers[i].epoch_acked);
        return e;
}

static uint64_t confirmed_epoch(struct driver *d)
{
        const struct raft_configuration *c = &d->raft.configuration;
        uint64_t epochs[CONF_MEMBERS_MAX];
        unsigned n = 0;

        for (unsigned i = 0; i < c->n; i++) {
                const struct peer *p;
                uint64_t e = 0;
                if (c->servers[i].role != RAFT_VOTER) continue;
                if (c->servers[i].id == d->id) e = d->epoch;
                else if ((p = peer_find(d, c->servers[i].id)) && p->epoch_acked_term == d->lead_term)
                        e = p->epoch_acked;
                if (SABOTAGE(READ_FROM_REMOVED)) e = MAX(e, removed_epoch(d));
                unsigned at = n++;
                while (at > 0 && epochs[at - 1] < e) {
                        epochs[at] = epochs[at - 1];
                        at--;
                }
                epochs[at] = e;
        }
        return n ? epochs[n / 2] : 0; /* descending: a majority has at least this one */
}

static void confirm(struct driver *d)
{
        uint64_t epoch = SABOTAGE(READ_UNCONFIRMED) ? d->epoch : confirmed_epoch(d);

        while (!list_empty(&d->read_batches)) {
                struct read_batch *b = list_first(&d->read_batches, struct read_batch, node);
                if (b->epoch > epoch) break;
                index_known(d, &b->reads, b->index, d->lead_term);
                LIST_FOREACH_SAFE(it, nx, &b->remotes)
                {
                        struct remote_read *rr = container_of(it, struct remote_read, node);
                        struct rf_read_reply m = { 0 };
                        SET(&m, rf_read_reply, seq, rr->seq);
                        SET(&m, rf_read_reply, index, b->index);
                        SET(&m, rf_read_reply, term, d->lead_term);
                        step_tell_commit(d, rr->peer);
                        peer_send(d, rr->peer, CHANNEL_RAFT, raft_frame_READ_REPLY, &m);
                        list_remove(it);
                        free(rr);
                }
                list_remove(&b->node);
                free(b);
        }
        if (!list_empty(&d->noops)) batch_noop_confirmed(d, epoch);
}

void read_ack(struct driver *d, struct peer *p, uint64_t term, uint64_t epoch)
{
        if (!d->leading || term != d->lead_term || epoch > d->epoch) return;
        if (p->epoch_acked_term != term) p->epoch_acked = 0;
        p->epoch_acked_term = term;
        if (epoch <= p->epoch_acked) return;
        p->epoch_acked = epoch;
        if (!list_empty(&d->read_batches) || !list_empty(&d->noops)) confirm(d);
}

uint64_t read_epoch_for_noop(struct driver *d)
{
        d->epoch++;
        ask_voters(d);
        d->dirty = true;
        return d->epoch;
}

static void open_batch(struct driver *d)
{
        struct read_batch *b = xnew(struct read_batch);

        list_init(&b->reads);
        list_init(&b->remotes);
        b->epoch = ++d->epoch;
        b->index = raft_commit_index(&d->raft);
        move_all(&d->reads_new, &b->reads);
        move_all(&d->remotes_new, &b->remotes);
        list_push_back(&d->read_batches, &b->node);
        ask_voters(d);
        confirm(d); /* a sole voter needs nobody */
}

/* ---- the others ---- */

static void ask_leader(struct driver *d, uint64_t leader)
{
        struct rf_read m = { 0 };

        d->read_asked = true;
        d->read_asked_ms = drv_now(d);
        SET(&m, rf_read, seq, ++d->read_seq);
        peer_send(d, leader, CHANNEL_RAFT, raft_frame_READ, &m);
        move_all(&d->reads_new, &d->reads_asked);
        drv_scan_at(d, d->read_asked_ms + d->election_ms);
}

void read_on_ask(struct driver *d, struct peer *p, const struct rf_read *m)
{
        struct remote_read *rr;

        if (!d->leading) {
                struct rf_read_reply r = { 0 };
                SET(&r, rf_read_reply, seq, m->seq);
                SET(&r, rf_read_reply, err, E_NOT_LEADER);
                peer_send(d, p->id, CHANNEL_RAFT, raft_frame_READ_REPLY, &r);
                return;
        }
        LIST_FOREACH(it, &d->remotes_new) /* the newest question of a member is the one it waits for */
        if (container_of(it, struct remote_read, node)->peer == p->id) {
                container_of(it, struct remote_read, node)->seq = m->seq;
                return;
        }
        rr = xnew(struct remote_read);
        rr->peer = p->id;
        rr->seq = m->seq;
        list_push_back(&d->remotes_new, &rr->node);
        d->dirty = true;
}

void read_on_reply(struct driver *d, struct peer *p, const struct rf_read_reply *m)
{
        if (!d->read_asked || m->seq != d->read_seq) return;
        d->read_asked = false;
        if (m->err == 0) {
                index_known(d, &d->reads_asked, m->index, m->term);
        } else {
                move_all(&d->reads_asked, &d->reads_new);
                d->hold_ms = MAX(d->hold_ms, drv_now(d) + RETRY_MS);
        }
        d->dirty = true;
}

void read_on_confirm(struct driver *d, struct peer *p, const struct rf_confirm *m)
{
        struct rf_confirm_ack a = { 0 };

        /* The own term, spoken only when it is durable (peer_send). */
        SET(&a, rf_confirm_ack, term, raft_current_term(&d->raft));
        SET(&a, rf_confirm_ack, epoch, m->epoch);
        peer_send(d, p->id, CHANNEL_RAFT, raft_frame_CONFIRM_ACK, &a);
}

/* ---- both ---- */

void read_pump(struct driver *d)
{
        uint64_t leader = drv_leader(d), now = drv_now(d);

        if (d->fatal) return;
        if (SABOTAGE(READ_LOCAL) && !list_empty(&d->reads_new))
                index_known(d, &d->reads_new, d->applied.index, d->applied.term);
        if (can_confirm(d)) {
                if (!list_empty(&d->reads_new) || !list_empty(&d->remotes_new)) open_batch(d);
        } else if (leader != 0 && leader != d->id && !d->read_asked && !list_empty(&d->reads_new)) {
                if (now >= d->hold_ms) ask_leader(d, leader);
                else drv_scan_at(d, d->hold_ms);
        }
        if (d->leading && !list_empty(&d->noops)) confirm(d); /* a sole voter needs nobody */
        d->apply_now = d->leading && !d->ready;
        LIST_FOREACH_SAFE(it, nx, &d->reads_applying)
        {
                struct read *r = container_of(it, struct read, node);
                if (r->index <= d->applied.index && !d->installing) {
                        r->index = d->applied.index;
                        finish(d, r, 0);
                } else {
                        d->apply_now = true;
                }
        }
}

/* Whatever was asked is asked again. */
void read_leader_changed(struct driver *d)
{
        d->read_asked = false;
        move_all(&d->reads_asked, &d->reads_new);
        while (!list_empty(&d->read_batches)) {
                struct read_batch *b = list_first(&d->read_batches, struct read_batch, node);
                move_all(&b->reads, &d->reads_new);
                move_all(&b->remotes, &d->remotes_new);
                list_remove(&b->node);
                free(b);
        }
        LIST_FOREACH_SAFE(it, nx, &d->remotes_new)
        {
                struct remote_read *rr = container_of(it, struct remote_read, node);
                struct rf_read_reply m = { 0 };
                SET(&m, rf_read_reply, seq, rr->seq);
                SET(&m, rf_read_reply, err, E_NOT_LEADER);
                peer_send(d, rr->peer, CHANNEL_RAFT, raft_frame_READ_REPLY, &m);
                list_remove(it);
                free(rr);
        }
}

static void expire_list(struct driver *d, struct list *l, uint64_t now)
{
        LIST_FOREACH_SAFE(it, nx, l)
        {
                struct read *r = container_of(it, struct read, node);
                if (r->deadline_ms > now) drv_scan_at(d, r->deadline_ms);
                else finish(d, r, E_NO_QUORUM);
        }
}

void read_expire(struct driver *d, uint64_t now)
{
        if (d->read_asked) {
                if (now >= d->read_asked_ms + d->election_ms) { /* lost on the way */
                        d->read_asked = false;
                        move_all(&d->reads_asked, &d->reads_new);
                        d->dirty = true;
                } else {
                        drv_scan_at(d, d->read_asked_ms + d->election_ms);
                }
        }
        expire_list(d, &d->reads_new, now);
        expire_list(d, &d->reads_asked, now);
        expire_list(d, &d->reads_applying, now);
        LIST_FOREACH(it, &d->read_batches)
        expire_list(d, &container_of(it, struct read_batch, node)->reads, now);
}

void read_close(struct driver *d)
{
        read_leader_changed(d);
        while (!list_empty(&d->reads_new))
                finish(d, list_first(&d->reads_new, struct read, node), E_CANCELED);
        while (!list_empty(&d->reads_applying))
                finish(d, list_first(&d->reads_applying, struct read, node), E_CANCELED);
}
