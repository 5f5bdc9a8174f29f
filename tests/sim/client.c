/* Clients: one operation or read at a time each, at random members, with the same request id until it is
 * answered. */
#include <string.h>

#include "tests/sim/sim.h"

struct call {
        struct sim *sim;
        unsigned no;
};

static uint64_t draw_random(void *arg) { return sim_random(arg); }

static void again(struct sim *s, struct client *c, unsigned ms)
{
        struct event *e = sim_event(s, s->now + ms, EV_CLIENT, 0);
        e->a = c->no;
}

static struct client *client_of(void *arg, struct sim **ret_sim)
{
        struct client *c = arg;
        *ret_sim = (struct sim *)((char *)(c - c->no) - offsetof(struct sim, clients));
        return c;
}

static void finished(struct sim *s, struct client *c)
{
        c->busy = false;
        c->node = NODES_MAX;
        again(s, c, 1 + sim_below(s, s->rate));
}

static void on_reply(void *arg, int err, uint64_t index, uint64_t term, struct blob reply)
{
        struct sim *s;
        struct client *c = client_of(arg, &s);
        struct work_reply r;

        if (c->node == NODES_MAX) sim_fail(s, "client %u: answered twice", c->no);
        c->node = NODES_MAX;
        if (err != 0) {
                if (err == E_UNKNOWN_OUTCOME) s->unknown_n++;
                if (err != E_UNKNOWN_OUTCOME && err != E_NO_QUORUM && err != E_CANCELED)
                        sim_fail(s, "client %u: %s", c->no, err_text(err));
                again(s, c, 5 + sim_below(s, 20));
                return;
        }
        if (!s->work->decode(reply, &r)) {
                sim_fail(s, "client %u: a reply of %zu bytes", c->no, reply.n);
                return;
        }
        check_ack(s, c, &r, index);
        c->wrote_begun_ms = c->began_ms;
        finished(s, c);
}

static void on_read(void *arg, int err, uint64_t index, uint64_t term)
{
        struct sim *s;
        struct client *c = client_of(arg, &s);
        struct sim_node *n = &s->nodes[c->node];
        struct work_reply r;
        struct tx *tx;

        if (err != 0) {
                c->node = NODES_MAX;
                if (err != E_NO_QUORUM && err != E_CANCELED)
                        sim_fail(s, "client %u: read: %s", c->no, err_text(err));
                again(s, c, 5 + sim_below(s, 20));
                return;
        }
        if (store_mem_store(n->store)->ops->read_begin(store_mem_store(n->store), &tx) < 0) {
                sim_fail(s, "no view");
                return;
        }
        s->work->read(tx, c->op.key, &r);
        store_mem_store(n->store)->ops->read_end(store_mem_store(n->store), tx);
        check_ack(s, c, &r, index);
        finished(s, c);
}

/* In the end clients ask members that get the log only: one that was removed without hearing of it, or is not fed
 * yet, can just wait for its deadline. */
static bool worth_asking(struct sim *s, const struct sim_node *n)
{
        const struct sim_node *l = NULL;
        const struct raft_server *m;

        if (!n->up || n->fatal || n->witness || s->now < n->paused_until) return false;
        for (unsigned i = 0; i < s->nodes_n && s->healed; i++) {
                const struct sim_node *x = &s->nodes[i];
                if (x->up && x->driver->leading && (!l || x->driver->lead_term > l->driver->lead_term)) l = x;
        }
        if (!l) return true;
        m = conf_find(&l->driver->raft.configuration, n->id);
        return m && m->role != RAFT_SPARE;
}

void client_event(struct sim *s, unsigned no)
{
        struct client *c = &s->clients[no];
        struct sim_node *n;
        uint64_t deadline;

        if (s->failed) return;
        if (!c->busy) {
                if (s->quiet) return;
                c->busy = true;
                c->reading = sim_below(s, 4) == 0;
                do s->work->draw(&c->op, draw_random, s, &c->request);
                while (profile_calm_wave(s) && s->work->is_write(&c->op));
                c->floor_version = s->known[c->op.key].version;
                c->floor_index = s->known_index;
                c->began_ms = s->now;
        }
        n = &s->nodes[c->pinned ? c->no % s->nodes_n : sim_below(s, s->nodes_n)];
        if (!worth_asking(s, n)) {
                again(s, c, 5);
                return;
        }
        c->node = n->slot;
        deadline = s->now + 200 + sim_below(s, 3000);
        if (c->reading) driver_read(n->driver, deadline, on_read, c);
        else driver_submit(n->driver, c->op.id, buf_blob(&c->request), deadline, on_reply, c);
        node_after(n);
}

bool client_all_idle(const struct sim *s)
{
        for (unsigned i = 0; i < s->clients_n; i++)
                if (s->clients[i].busy) return false;
        return true;
}
