/* Faults, and the administrator who adds, promotes, demotes, removes and hands over. */
#include <stdlib.h>
#include <string.h>

#include "raftctl/voters.h"
#include "tests/sim/sim.h"

/* ---- membership ---- */

struct sim_node *sim_leader(struct sim *s)
{
        struct sim_node *best = NULL;

        for (unsigned i = 0; i < s->nodes_n; i++) {
                struct sim_node *n = &s->nodes[i];
                if (!n->up || s->now < n->paused_until || !n->driver->leading) continue;
                if (!best || n->driver->lead_term > best->driver->lead_term) best = n;
        }
        return best;
}

struct asked {
        struct sim *sim;
        enum member_change what;
        uint64_t id;
};
static void on_change(void *arg, int err, const char *why)
{
        struct asked *a = arg;
        struct sim_node *n = node_by_id(a->sim, a->id);

        sim_note(a->sim, "change %d of %llu: %d %s", (int)a->what, (unsigned long long)a->id, err, why);
        a->sim->change_pending = false;
        if (err == 0) a->sim->changes_n++;
        if (err == 0 && a->what == CHANGE_REMOVE && n && sim_below(a->sim, 2)) n->crash_wanted = true;
        free(a);
}

static void ask(struct sim_node *l, enum member_change what, uint64_t id, const char *address)
{
        struct asked *a = xnew(struct asked);

        *a = (struct asked){ l->sim, what, id };
        l->sim->change_pending = true;
        sim_note(l->sim, "ask %llu for change %d of %llu", (unsigned long long)l->id, (int)what,
                (unsigned long long)id);
        driver_change(
                l->driver, what, id, address, l->sim->now + 1000 + sim_below(l->sim, 3000), on_change, a);
        node_after(l);
}

/* Would the voters be a sound set with this one more, or less (raftctl/voters.h)? Dead ids count as volatile. */
static bool sound(struct sim *s, const struct raft_configuration *c, uint64_t plus, uint64_t minus)
{
        struct voters v = { 0 };

        for (unsigned i = 0; i < c->n; i++) {
                const struct raft_server *x = &c->servers[i];
                const struct sim_node *n = node_by_id(s, x->id);
                if ((x->role != RAFT_VOTER && x->id != plus) || x->id == minus) continue;
                voters_add(&v, n && !n->witness && !n->is_volatile, !n || n->is_volatile);
        }
        return voters_lack_lasting(&v) == 0 && voters_lack_controllers(&v) == 0;
}

static bool add_member(struct sim *s, struct sim_node *l)
{
        const struct raft_configuration *c = &l->driver->raft.configuration;
        unsigned volatiles = 0, witnesses = 0;
        struct sim_node *n = NULL;

        for (unsigned i = 0; i < s->nodes_n; i++) {
                struct sim_node *x = &s->nodes[i];
                bool in = conf_find(c, x->id) != NULL;
                volatiles += x->is_volatile && !x->forever_dead;
                witnesses += x->witness && !x->is_volatile && in;
                /* one that was made before but is not a member: never one that was */
                if (x->up && !x->forever_dead && !in && raft_last_index(&x->driver->raft) == 0) n = x;
        }
        if (!n) {
                bool is_volatile = volatiles < s->volatiles && c->n >= 2;
                if (s->nodes_n >= NODES_MAX) return false;
                n = node_new(s, is_volatile, is_volatile ? sim_below(s, 4) != 0 : witnesses < s->witnesses);
                node_boot(n);
        }
        ask(l, CHANGE_ADD, n->id, n->address);
        return true;
}

static bool shrink(struct sim *s, struct sim_node *l)
{
        const struct raft_configuration *c = &l->driver->raft.configuration;
        const struct raft_server *v = &c->servers[sim_below(s, c->n)];

        for (unsigned i = 0; i < c->n; i++) {
                const struct sim_node *n = node_by_id(s, c->servers[i].id);
                if (!n || n->forever_dead) return false;
        }
        if (s->nodes_n + 1 >= NODES_MAX || s->lost) return false;
        if (v->role == RAFT_VOTER && (conf_voters(c) <= 1 || !sound(s, c, 0, v->id))) return false;
        ask(l, sim_below(s, 2) ? CHANGE_REMOVE : CHANGE_DEMOTE, v->id, NULL);
        return true;
}

static void change_something(struct sim *s, struct sim_node *l)
{
        const struct raft_configuration *c = &l->driver->raft.configuration;

        for (unsigned i = 0; i < c->n; i++) {
                const struct sim_node *n = node_by_id(s, c->servers[i].id);
                if ((!n || n->forever_dead) && !conf_is_sole_voter(c, c->servers[i].id)) {
                        ask(l, CHANGE_REMOVE, c->servers[i].id, NULL);
                        return;
                }
        }
        for (unsigned i = 0; i < c->n; i++) {
                if (c->servers[i].role == RAFT_SPARE) {
                        ask(l, CHANGE_STANDBY, c->servers[i].id, NULL);
                        return;
                }
                if (c->servers[i].role == RAFT_STANDBY && conf_voters(c) < s->target_voters &&
                        sound(s, c, c->servers[i].id, 0) && sim_below(s, 3)) {
                        ask(l, CHANGE_PROMOTE, c->servers[i].id, NULL);
                        return;
                }
        }
        if (c->n < s->target_voters && add_member(s, l)) return;
        if (s->membership && sim_below(s, 4) == 0 && shrink(s, l)) return;
        if (s->transfers && sim_below(s, 3) == 0) ask(l, CHANGE_TRANSFER, 0, NULL);
}

void admin_event(struct sim *s)
{
        struct sim_node *l;

        if (s->healed) return;
        (void)sim_event(s, s->now + 20 + sim_below(s, 300), EV_ADMIN, 0);
        for (unsigned i = 0; i < s->nodes_n; i++) {
                struct sim_node *n = &s->nodes[i];
                if (!n->crash_wanted || !n->up) continue;
                n->crash_wanted = false; /* removed for good: it is switched off */
                n->forever_dead = true;
                node_crash(n, 0);
        }
        l = sim_leader(s);
        if (l) profile_mended(s, l);
        if (!l || s->change_pending) return;
        if (!s->membership && !s->sole_start && !s->transfers && !s->corrupt && s->volatiles == 0) return;
        change_something(s, l);
}

/* ---- faults ---- */

/* The leader and those without a vote by themselves: nobody there may decide anything. */
static void partition_leader(struct sim *s, const struct sim_node *l)
{
        const struct raft_configuration *c = &l->driver->raft.configuration;

        for (unsigned i = 0; i < s->nodes_n; i++)
                for (unsigned k = 0; k < s->nodes_n; k++) {
                        bool with_i = &s->nodes[i] == l || !conf_is_voter(c, s->nodes[i].id);
                        bool with_k = &s->nodes[k] == l || !conf_is_voter(c, s->nodes[k].id);
                        s->cut[i][k] = with_i != with_k;
                }
}

static void partition(struct sim *s)
{
        unsigned kind = sim_below(s, 5), a = sim_below(s, s->nodes_n);
        struct sim_node *l = sim_leader(s);

        s->faults_n++;
        memset(s->cut, 0, sizeof(s->cut));
        if (kind == 4) {
                if (l) partition_leader(s, l);
                return;
        }
        for (unsigned i = 0; i < s->nodes_n; i++) {
                if (kind == 3) { /* two halves */
                        for (unsigned k = 0; k < s->nodes_n; k++)
                                if ((i + a) % 2 != (k + a) % 2) s->cut[i][k] = true;
                } else if (i != a) {
                        if (kind != 1) s->cut[a][i] = true;
                        if (kind != 2) s->cut[i][a] = true;
                }
        }
}

static void flap(struct sim *s)
{
        unsigned a = sim_below(s, s->nodes_n), b = sim_below(s, s->nodes_n);

        if (a == b || !s->nodes[a].up || !s->nodes[b].up) return;
        s->faults_n++;
        if (s->two_links && sim_below(s, 3)) {
                net_flap_one(s, a, b);
                return;
        }
        net_break(s, a, b, sim_below(s, 2) == 0);
        net_connect(s, a, b);
}

static void crash_one(struct sim *s)
{
        struct sim_node *n = &s->nodes[sim_below(s, s->nodes_n)];

        for (unsigned i = 0; i < s->nodes_n && s->volatiles && sim_below(s, 2); i++)
                if (s->nodes[i].is_volatile && s->nodes[i].up) n = &s->nodes[i]; /* those more often */
        if (n->up) node_crash(n, 10 + sim_below(s, sim_below(s, 3) ? 300 : 1500));
}

/* Mostly the leader, often cut off meanwhile: when it goes on it leads for all it knows, and another one does. */
static void pause_one(struct sim *s)
{
        struct sim_node *l = sim_leader(s), *n = &s->nodes[sim_below(s, s->nodes_n)];

        if (l && sim_below(s, 4)) n = l;
        if (n == l && sim_below(s, 2)) partition_leader(s, l);
        profile_pause(s, n);
}

/* Little else, so that much is written, and who was away needs a snapshot over a link that is not to be relied on. */
static void link_fault(struct sim *s, unsigned k)
{
        struct sim_node *n = &s->nodes[sim_below(s, s->nodes_n)];

        if (k < 45) {
                flap(s);
        } else if (k < 60) {
                net_cut_bulk(s);
        } else if (k < 85) {
                memset(s->cut, 0, sizeof(s->cut));
                memset(s->bulk_cut, 0, sizeof(s->bulk_cut));
        } else if (n->up && n != sim_leader(s)) {
                node_crash(n, 1500 + sim_below(s, 3000));
        }
}

void fault_event(struct sim *s)
{
        unsigned k = sim_below(s, 100);

        if (s->healed) return;
        (void)sim_event(s, s->now + 30 + sim_below(s, 500), EV_FAULT, 0);
        profile_clock(s);
        if (!s->faults) return;
        if (s->two_links && sim_below(s, 4)) {
                link_fault(s, k);
                return;
        }
        if (k < 25) {
                partition(s);
        } else if (k < 50) {
                memset(s->cut, 0, sizeof(s->cut));
                memset(s->bulk_cut, 0, sizeof(s->bulk_cut));
        } else if (k < 78) {
                crash_one(s);
        } else if (k < 82) {
                for (unsigned i = 0; i < s->nodes_n; i++)
                        if (s->nodes[i].up) node_crash(&s->nodes[i], 10 + sim_below(s, 200));
        } else if (s->pauses && k >= 90) {
                pause_one(s);
        } else if (s->resets) {
                flap(s);
        }
}

void fault_heal(struct sim *s)
{
        memset(s->cut, 0, sizeof(s->cut));
        memset(s->bulk_cut, 0, sizeof(s->bulk_cut));
        s->drop_permille = 0;
        for (unsigned i = 0; i < s->nodes_n; i++)
                if (s->nodes[i].used && !s->nodes[i].up && !s->nodes[i].forever_dead) {
                        if (s->nodes[i].is_volatile) node_reborn(&s->nodes[i]);
                        else node_boot(&s->nodes[i]);
                }
}
