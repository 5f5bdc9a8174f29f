/* Members of two releases. In some seeds each start of a process may be of the release before or after, as when an
 * administrator upgrades and goes back; an operation now and then asks for the raise of the feature level. What must hold:
 * no member ever has a state above what its release knows; whoever is too old stops or does not start, its data as they
 * were, and goes on after an upgrade; the states of both releases have the same hash.
 *
 * The administrator is careless, not mad: after the raise he sets few members back, and mends what has stopped. */
#include "raftctl/level.h"
#include "state/level.h"
#include "tests/sim/sim.h"

enum { OLD = 1, NEW = 2 };

static unsigned state_of(struct sim_node *n)
{
        struct store *store = store_mem_store(n->store);
        struct tx *tx;
        unsigned level = OLD;

        if (store->ops->read_begin(store, &tx) < 0) return level;
        level = state_level(tx, NULL);
        store->ops->read_end(store, tx);
        return level;
}

void release_draw(struct sim_node *n)
{
        struct sim *s = n->sim;

        if (!s->releases) n->knows = OLD;
        else if (n->knows == 0) n->knows = OLD + sim_below(s, 2);
        else if (s->healed) n->knows = NEW;
        else if (n->set_back) n->knows = OLD;
        else n->knows = sim_chance(s, s->level > OLD ? 100 : 300) ? OLD : NEW;
        n->set_back = false;
        sim_note(s, "%llu is of level %u, its state of %u", (unsigned long long)n->id, n->knows, state_of(n));
}

bool release_refused(struct sim_node *n, int err)
{
        struct event *e;

        if (err != E_LEVEL || state_of(n) <= n->knows) return false;
        sim_note(n->sim, "%llu is too old to start", (unsigned long long)n->id);
        n->up = false;
        e = sim_event(n->sim, n->sim->now + 5 + sim_below(n->sim, 300), EV_REBOOT, 0);
        e->a = n->slot;
        e->x = n->boot;
        return true;
}

bool release_stopped(struct sim_node *n, int err)
{
        struct event *e;

        if (err != E_LEVEL || n->knows > OLD || !n->sim->releases) return false;
        n->fatal = n->too_old = true;
        e = sim_event(n->sim, n->sim->now, EV_CRASH, 0);
        e->a = n->slot;
        e->x = n->boot;
        return true;
}

void release_meet(struct sim *s, unsigned a, unsigned b)
{
        struct sim_node *n = &s->nodes[a], *peer = &s->nodes[b];
        struct release r;

        if (!s->releases || !peer->up) return;
        driver_release(peer->driver, &r);
        driver_peer_release(n->driver, peer->id, &r);
}

/* In the very moment of the raise somebody is set back: it can only stop, before its state is one that it does not know. */
static void set_one_back(struct sim_node *n)
{
        struct sim *s = n->sim;
        struct sim_node *x = &s->nodes[sim_below(s, s->nodes_n)];
        struct event *e;

        if (x == n || !x->up || x->forever_dead) return;
        x->set_back = true;
        e = sim_event(s, s->now + sim_below(s, 10), EV_CRASH, 0);
        e->a = x->slot;
        e->x = x->boot;
}

void release_raise(struct sim_node *n, struct tx *tx)
{
        struct sim *s = n->sim;
        struct fail f;

        if (!s->releases || !sim_chance(s, 30) || state_level(tx, NULL) >= NEW) return;
        if (driver_level_check(n->driver, tx, NEW, &f) != 0) return;
        if (n->knows < NEW) sim_fail(s, "a leader of the older release raises the level");
        if (state_level_raise(tx, NEW) != 0) sim_fail(s, "the level cannot be raised");
        sim_note(s, "%llu raises the level", (unsigned long long)n->id);
        if (sim_below(s, 3)) set_one_back(n);
}

void release_check(struct sim_node *n)
{
        struct sim *s = n->sim;
        unsigned level;

        if (!s->releases) return;
        level = state_of(n);
        if (level >= NEW && s->level < NEW) s->raises_n++;
        s->level = MAX(s->level, level);
        if (level > n->knows)
                sim_fail(s, "node %llu has a state of level %u and knows %u", (unsigned long long)n->id,
                        level, n->knows);
}
