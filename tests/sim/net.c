/* Connections between pairs of processes, one for Raft and one for snapshots: in order or not at all, reset when a process
 * dies. A cut drops frames, also in one direction only. Now and then a frame of a former connection still arrives (guard
 * L1). In some seeds (two_links) each of the two is made, fails and is cut by itself; else they are one. */
#include <string.h>

#include "tests/sim/sim.h"

static enum raft_channel link_of(const struct sim *s, enum raft_channel channel)
{
        return s->two_links ? channel : CHANNEL_RAFT;
}

static bool is_up(const struct sim *s, const struct sim_node *n, unsigned peer, enum raft_channel channel)
{
        return link_of(s, channel) == CHANNEL_BULK ? n->bulk[peer] : n->link[peer];
}

static bool is_cut(const struct sim *s, unsigned a, unsigned b, enum raft_channel channel)
{
        return s->cut[a][b] || (channel == CHANNEL_BULK && s->bulk_cut[a][b]);
}

void net_send(struct sim_node *from, uint64_t to, enum raft_channel channel, struct blob frame)
{
        struct sim *s = from->sim;
        struct sim_node *n = node_by_id(s, to);
        struct event *e;
        uint64_t at;

        if (!n || !n->used || !is_up(s, from, n->slot, channel)) return;
        if (is_cut(s, from->slot, n->slot, channel) || sim_chance(s, s->drop_permille)) {
                s->drops_n++;
                return;
        }
        at = s->now + 1 + sim_below(s, s->delay_ms) + (sim_chance(s, 20) ? sim_below(s, 40) : 0) +
             frame.n / 100000;
        at = MAX(at, s->fifo[from->slot][n->slot][channel]);
        s->fifo[from->slot][n->slot][channel] = at;
        e = sim_event(s, at, EV_FRAME, frame.n);
        e->a = from->slot;
        e->b = n->slot;
        e->channel = channel;
        e->x = s->generation[from->slot][n->slot][link_of(s, channel)];
        e->from = from->id;
        e->to = to;
        memcpy(e->data, frame.p, frame.n);
        profile_damage(s, e);
        if (frame.n > FRAME_HEADER_BYTES && frame.p[0] == raft_frame_SNAP_BEGIN) s->installs_n++;
        if (frame.n > FRAME_HEADER_BYTES && frame.p[0] == raft_frame_LESSON) s->lessons_n++;
        if (s->leftover_permille && !s->healed &&
                sim_chance(s, s->leftover_permille / 10)) { /* a copy that a dead connection holds */
                struct event *late = sim_event(s, at + sim_below(s, 400), EV_FRAME, frame.n);
                late->a = e->a;
                late->b = e->b;
                late->channel = channel;
                late->x = UINT64_MAX;
                late->from = e->from;
                late->to = e->to;
                memcpy(late->data, frame.p, frame.n);
        }
}

void net_deliver(struct sim *s, const struct event *e)
{
        struct sim_node *to = &s->nodes[e->b];

        if (!to->up || to->id != e->to) return;
        if (is_cut(s, e->a, e->b, e->channel)) {
                s->drops_n++;
                return;
        }
        if (e->x != UINT64_MAX && (e->x != s->generation[e->a][e->b][link_of(s, e->channel)] ||
                                          !is_up(s, to, e->a, e->channel)))
                return;
        driver_receive(to->driver, e->from, e->channel, BLOB(e->data, e->n));
        node_after(to);
}

static void tell(struct sim *s, unsigned node, unsigned peer, enum raft_channel channel, bool up, bool reset,
        uint64_t at)
{
        struct event *e = sim_event(s, at, EV_LINK, 0);

        e->a = node;
        e->b = peer;
        e->channel = channel;
        e->up = up;
        e->reset = reset;
        e->x = s->generation[node][peer][channel];
}

void net_link(struct sim *s, const struct event *e)
{
        struct sim_node *n = &s->nodes[e->a];
        uint64_t peer = s->nodes[e->b].id;

        if (!n->up || e->x != s->generation[e->a][e->b][e->channel]) return;
        if (e->channel == CHANNEL_BULK) {
                n->bulk[e->b] = e->up;
                driver_bulk(n->driver, peer, e->up);
                node_after(n);
                return;
        }
        n->link[e->b] = e->up;
        if (e->up) release_meet(s, e->a, e->b);
        if (e->up && s->two_links) driver_bulk(n->driver, peer, n->bulk[e->b]);
        driver_link(n->driver, peer, e->up, e->reset);
        node_after(n);
}

static void connect_one(struct sim *s, unsigned a, unsigned b, enum raft_channel channel, uint64_t at)
{
        uint64_t g = ++s->generation[a][b][channel];

        s->generation[b][a][channel] = g;
        tell(s, a, b, channel, true, false, at);
        tell(s, b, a, channel, true, false, at);
}

void net_connect(struct sim *s, unsigned a, unsigned b)
{
        connect_one(s, a, b, CHANNEL_RAFT, s->now + 1 + sim_below(s, 30));
        if (!s->two_links) return;
        connect_one(s, a, b, CHANNEL_BULK, s->now + 1 + sim_below(s, sim_below(s, 5) ? 30 : 1500));
}

static void break_one(struct sim *s, unsigned a, unsigned b, enum raft_channel channel, bool reset_at_b)
{
        uint64_t g = ++s->generation[a][b][channel];

        s->generation[b][a][channel] = g;
        if (s->nodes[b].up && is_up(s, &s->nodes[b], a, channel))
                tell(s, b, a, channel, false, reset_at_b, s->now + 1 + sim_below(s, 3));
        if (s->nodes[a].up && is_up(s, &s->nodes[a], b, channel))
                tell(s, a, b, channel, false, false, s->now);
}

/* The connections end; b sees that a closed them when reset_at_b. */
void net_break(struct sim *s, unsigned a, unsigned b, bool reset_at_b)
{
        break_one(s, a, b, CHANNEL_RAFT, reset_at_b);
        if (s->two_links) break_one(s, a, b, CHANNEL_BULK, reset_at_b);
}

void net_break_later(struct sim *s, unsigned a, unsigned b, uint64_t at)
{
        for (unsigned c = 0; c < (s->two_links ? CHANNEL_N : 1); c++) {
                tell(s, a, b, (enum raft_channel)c, false, false, at);
                tell(s, b, a, (enum raft_channel)c, false, false, at);
        }
}

void net_bulk_again(struct sim *s, unsigned a, unsigned b, unsigned away_ms)
{
        break_one(s, a, b, CHANNEL_BULK, sim_below(s, 2) == 0);
        connect_one(s, a, b, CHANNEL_BULK, s->now + away_ms);
}

void net_flap_one(struct sim *s, unsigned a, unsigned b)
{
        enum raft_channel channel = sim_below(s, 3) ? CHANNEL_BULK : CHANNEL_RAFT;

        break_one(s, a, b, channel, sim_below(s, 2) == 0);
        connect_one(s, a, b, channel, s->now + 5 + sim_below(s, sim_below(s, 2) ? 50 : 2000));
}

void net_cut_bulk(struct sim *s)
{
        unsigned a = sim_below(s, s->nodes_n), b = sim_below(s, s->nodes_n);

        if (a == b) return;
        s->faults_n++;
        s->bulk_cut[a][b] = true;
        if (sim_below(s, 2)) s->bulk_cut[b][a] = true;
}
