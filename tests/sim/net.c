/* Connections between pairs of processes: in order or not at all, reset when a process dies. A cut drops
 * frames, also in one direction only. Now and then a frame of a former connection still arrives (guard L1).
 */
#include <string.h>

#include "tests/sim/sim.h"

void net_send(struct sim_node *from, uint64_t to, enum raft_channel channel, struct blob frame)
{
        struct sim *s = from->sim;
        struct sim_node *n = node_by_id(s, to);
        struct event *e;
        uint64_t at;

        if (!n || !n->used || !from->link[n->slot]) return;
        if (s->cut[from->slot][n->slot] || sim_chance(s, s->drop_permille)) {
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
        e->x = s->generation[from->slot][n->slot];
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
        if (s->cut[e->a][e->b]) {
                s->drops_n++;
                return;
        }
        if (e->x != UINT64_MAX && (e->x != s->generation[e->a][e->b] || !to->link[e->a])) return;
        driver_receive(to->driver, e->from, e->channel, BLOB(e->data, e->n));
        node_after(to);
}

static void tell(struct sim *s, unsigned node, unsigned peer, bool up, bool reset, uint64_t at)
{
        struct event *e = sim_event(s, at, EV_LINK, 0);

        e->a = node;
        e->b = peer;
        e->up = up;
        e->reset = reset;
        e->x = s->generation[node][peer];
}

void net_link(struct sim *s, const struct event *e)
{
        struct sim_node *n = &s->nodes[e->a];

        if (!n->up || e->x != s->generation[e->a][e->b]) return;
        n->link[e->b] = e->up;
        if (e->up) release_meet(s, e->a, e->b);
        driver_link(n->driver, s->nodes[e->b].id, e->up, e->reset);
        node_after(n);
}

void net_connect(struct sim *s, unsigned a, unsigned b)
{
        uint64_t g = ++s->generation[a][b], at = s->now + 1 + sim_below(s, 30);

        s->generation[b][a] = g;
        tell(s, a, b, true, false, at);
        tell(s, b, a, true, false, at);
}

/* The connection ends; b sees that a closed it when reset_at_b. */
void net_break(struct sim *s, unsigned a, unsigned b, bool reset_at_b)
{
        uint64_t g = ++s->generation[a][b];

        s->generation[b][a] = g;
        if (s->nodes[b].up && s->nodes[b].link[a])
                tell(s, b, a, false, reset_at_b, s->now + 1 + sim_below(s, 3));
        if (s->nodes[a].up && s->nodes[a].link[b]) tell(s, a, b, false, false, s->now);
}

void net_break_later(struct sim *s, unsigned a, unsigned b, uint64_t at)
{
        tell(s, a, b, false, false, at);
        tell(s, b, a, false, false, at);
}
