/* Kinds of trouble that chance alone brings together too rarely. Each is a behaviour of some seeds:
 *   churn         members die at the moments that count: just elected, just voted; frames get lost meanwhile
 *   crowd         so many clients that one batch is evaluated on top of another
 *   small frames  a few entries in each, so that part of what belongs together arrives
 *   clocks        the wall clock jumps, on each member by itself
 *   waves         crowds of which all ask for nothing that writes for a while: batches without an entry above others
 *   pauses        processes stop and go on as if nothing had been
 *   corrupt       a row of a log goes bad while the member is down; one member at a time
 *   releases      members of two releases, and raises of the feature level (release.c)
 *   two links     the link for snapshots and that for Raft are made, fail and are cut each by itself
 *   damage        bytes of snapshots change on the way */
#include "tests/sim/sim.h"

bool profile_churn_only;

void profile_draw(struct sim *s)
{
        unsigned kind = sim_below(s, profile_churn_only ? 3 : 12);

        s->clocks = sim_below(s, 3) == 0;
        if (s->clocks)
                s->leftover_permille =
                        0; /* L1 orders incarnations by the clock or the connection: one must hold */
        s->damage = sim_below(s, 3) == 0;
        s->pauses = sim_below(s, 3) == 0;
        s->releases = sim_below(s, 3) == 0;
        s->corrupt = sim_below(s, 3) == 0 && s->volatiles + s->witnesses == 0 && kind >= 3;
        s->two_links =
                s->seed * UINT64_C(0x9E3779B97F4A7C15) >> 62 == 0; /* no draw: what other seeds do stays */
        if (s->two_links) s->rate = 1; /* logs grow beyond what those lack who come back: snapshots */
        if (sim_below(s, 4) == 0) s->append_entries = 1 + sim_below(s, 3);
        if (kind < 3) {
                s->churn = s->faults = true;
                s->membership = s->sole_start = false;
                s->volatiles = s->witnesses = 0;
                s->drop_permille = sim_below(s, 300);
                s->target_voters = sim_below(s, 2) ? 5 : 3;
        } else if (kind == 3) {
                s->clients_n = CLIENTS_MAX - sim_below(s, CLIENTS_MAX / 3);
                s->rate = 2;
                s->waves = sim_below(s, 2) == 0;
        }
}

static void crash_within(struct sim_node *n, unsigned ms)
{
        struct sim *s = n->sim;
        struct event *e = sim_event(s, s->now + sim_below(s, ms), EV_CRASH, 0);

        e->a = n->slot;
        e->x = n->boot;
}

void profile_crash(struct sim *s, const struct event *e)
{
        struct sim_node *n = &s->nodes[e->a];

        if (n->up && n->boot == e->x && (!s->healed || n->too_old))
                node_crash(n, n->set_back ? 1 : 3 + sim_below(s, 60));
}

void profile_leader(struct sim_node *n)
{
        struct sim *s = n->sim;

        if (s->churn && !s->healed && sim_below(s, 3)) crash_within(n, sim_below(s, 2) ? 15 : 120);
}

void profile_after(struct sim_node *n)
{
        struct sim *s = n->sim;
        uint64_t vote = raft_voted_for(&n->driver->raft);

        if (!s->churn || s->healed || n->vote_seen == vote) return;
        n->vote_seen = vote;
        if (vote != 0 && sim_below(s, 8) == 0) crash_within(n, 12);
}

void profile_clock(struct sim *s)
{
        struct sim_node *n = &s->nodes[sim_below(s, s->nodes_n)];

        if (!s->clocks || sim_below(s, 3)) return;
        n->wall_offset_ms = (int64_t)sim_below(s, 7200000) - 3600000;
        s->faults_n++;
}

/* Only where nothing but the content is: the frame is well formed, what it carries is not. */
void profile_damage(struct sim *s, struct event *e)
{
        if (e->channel != CHANNEL_BULK || e->n < 1000 || e->data[0] != raft_frame_SNAP_CHUNK) return;
        if (s->damage_n) s->damage_n--;
        else if (!s->damage || s->healed || !sim_chance(s, 150)) return;
        s->faults_n++;
        e->data[e->n / 4 + sim_below(s, (unsigned)(e->n / 2))] ^= 1;
}

bool profile_calm_wave(const struct sim *s) { return s->waves && s->now / 32 % 2 == 1; }

void profile_pause(struct sim *s, struct sim_node *n)
{
        if (!n->up || s->now < n->paused_until) return;
        s->faults_n++;
        n->paused_until = s->now + (sim_below(s, 2) ? sim_below(s, s->election_ms) : sim_below(s, 1200));
        sim_note(s, "%llu is stopped until %llu", (unsigned long long)n->id,
                (unsigned long long)n->paused_until);
}

/* What one member loses the others have: no second one before it is replaced, or entries are gone that nobody promised to keep. */
static bool can_lose(struct sim *s, uint64_t id)
{
        const struct sim_node *l = sim_leader(s);
        const struct raft_configuration *c;

        if (!l || !l->driver->ready || l->driver->raft.configuration_uncommitted_index || s->change_pending)
                return false;
        c = &l->driver->raft.configuration;
        for (unsigned i = 0; i < c->n; i++) {
                const struct sim_node *n = node_by_id(s, c->servers[i].id);
                if (!n || n->forever_dead) return false;
        }
        return conf_find(c, id) && conf_voters(c) >= 3;
}

void profile_corrupt(struct sim_node *n)
{
        struct sim *s = n->sim;
        uint64_t first = store_mem_first_index(n->store), last = store_mem_last_index(n->store);

        if (!s->corrupt || s->healed || s->lost || last < first || sim_below(s, 3) || !can_lose(s, n->id))
                return;
        if (!store_mem_damage_log(n->store, first + sim_below(s, (unsigned)(last - first + 1)))) return;
        sim_note(s, "the log of %llu goes bad", (unsigned long long)n->id);
        n->bad_log = true;
        s->lost = n->id;
        s->lost_n++;
}

bool profile_corrupted(struct sim_node *n, int err)
{
        struct sim *s = n->sim;

        if (!n->bad_log) return false;
        n->bad_log = n->up = false;
        if (err != E_CORRUPT) {
                sim_fail(s, "node %llu starts with a damaged log", (unsigned long long)n->id);
                if (err == 0) driver_close(n->driver);
        } else {
                node_reborn(n);
        }
        return true;
}

void profile_mended(struct sim *s, const struct sim_node *l)
{
        if (!s->lost || !l->driver->ready || l->driver->raft.configuration_uncommitted_index) return;
        if (!conf_find(&l->driver->raft.configuration, s->lost) && !node_by_id(s, s->lost)) s->lost = 0;
}
