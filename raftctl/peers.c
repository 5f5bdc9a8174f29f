/* Frames out and in. Out: while a vote or term is not durable, frames to everybody wait in order (held), but what clients ask of
 * the leader; AppendEntries are not held back by the entries' own durability. In: each peer's frames in order and once
 * (L1). */
#include <stdlib.h>
#include <string.h>

#include "raftctl/driver_int.h"
#include "wire/base/sabotage.h"

struct peer *peer_find(struct driver *d, uint64_t id)
{
        for (unsigned i = 0; i < d->peers_n; i++)
                if (d->peers[i].id == id) return &d->peers[i];
        return NULL;
}

struct peer *peer_get(struct driver *d, uint64_t id)
{
        struct peer *p = peer_find(d, id);

        if (p) return p;
        if (id == 0 || id == d->id) return NULL;
        if (d->peers_n < PEERS_MAX) {
                p = &d->peers[d->peers_n++];
        } else {
                for (unsigned i = 0; i < d->peers_n && !p; i++)
                        if (!d->peers[i].snap.active && !conf_find(&d->raft.configuration, d->peers[i].id))
                                p = &d->peers[i];
                if (!p) return NULL;
        }
        *p = (struct peer){ .id = id };
        return p;
}

/* What a member's clients ask of the leader says nothing of its own term, vote or log: it need not wait until those are durable,
 * which on a full disk may be long. */
static bool is_ask(enum raft_frame kind) { return kind == raft_frame_FORWARD || kind == raft_frame_READ; }

/* The sequence number is given here, since asks overtake what waits. */
static void send_now(struct driver *d, struct peer *p, enum raft_channel channel, uint8_t *frame, size_t n)
{
        frame_set_seq(frame, ++p->seq_out[channel]);
        d->ops.send(d->arg, p->id, channel, BLOB(frame, n));
}

void peer_send(
        struct driver *d, uint64_t to, enum raft_channel channel, enum raft_frame kind, const void *msg)
{
        struct peer *p = peer_get(d, to);
        struct frame_header h = { .kind = kind, .incarnation = d->incarnation };
        struct held_frame *f;

        if (!p || d->fatal) return;
        frame_encode(&d->frame, &h, msg);
        if (SABOTAGE(SPEAK_BEFORE_SYNC) || is_ask(kind) ||
                (list_empty(&d->held) && d->gate_no <= d->durable_no)) {
                send_now(d, p, channel, d->frame.p, d->frame.n);
                return;
        }
        if (d->held_n >= HELD_MAX) return; /* lost, as on any link: heartbeats bring others */
        f = xmalloc(sizeof(*f) + d->frame.n);
        *f = (struct held_frame){ .to = to, .job_no = d->gate_no, .channel = channel, .n = d->frame.n };
        memcpy(f->data, d->frame.p, d->frame.n);
        list_push_back(&d->held, &f->node);
        d->held_n++;
}

void peer_flush(struct driver *d)
{
        while (!list_empty(&d->held)) {
                struct held_frame *f = list_first(&d->held, struct held_frame, node);
                if (f->job_no > d->durable_no || d->fatal) return;
                struct peer *p = peer_find(d, f->to);
                list_remove(&f->node);
                d->held_n--;
                if (p) send_now(d, p, f->channel, f->data, f->n);
                free(f);
        }
}

/* L1: the core stalls or worse when frames come twice, late or from a former connection. Incarnations rise
 * with the wall clock; should that have gone back, a new connection lets any other incarnation in once. */
bool peer_in_order(struct driver *d, struct peer *p, enum raft_channel channel, const struct frame_header *h)
{
        if (!guard_on(GUARD_L1)) return true;
        if (h->incarnation != p->incarnation) {
                if (h->incarnation < p->incarnation && (SABOTAGE(CLOCK_ORDER) || !p->link_fresh))
                        return false;
                p->incarnation = h->incarnation;
                memset(p->seq_in, 0, sizeof(p->seq_in));
        }
        p->link_fresh = false;
        if (h->seq <= p->seq_in[channel]) return false;
        p->seq_in[channel] = h->seq;
        return true;
}
