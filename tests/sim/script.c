/* Scenarios that chance does not bring about, each played with many seeds on an otherwise calm cluster: who is cut off
 * from whom at which step of the protocol, who dies and who comes back.
 *
 *   old-term    figure 8 of the Raft paper: an entry of an older term is on a majority, but nothing of the leader's own
 *               term is. It is not committed: another member with a newer last term may still replace it.
 *   non-voter   a leader is stopped, and goes on when the others have another one and have written: a member without a
 *               vote, or a removed one, still takes it for the leader, and must not help it to answer a read.
 *   damage      chunks of a snapshot are damaged on their way: refused, asked for again, in the end the same rows.
 *   alone       a candidate is cut off between the question in advance and the vote: it raises its term no further,
 *               and when it comes back it deposes nobody.
 *   hub         the only member with links to a majority has an older log than all whose votes it needs.
 *
 * A play can miss its point (somebody else was elected first); so many of the plays must be to the point. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

#define EVERYBODY ((1u << NODES_MAX) - 1)
#define BIT(n) (1u << (n)->slot)
#define FAR_AWAY_MS 600000
/* Time goes on until cond holds, for so long at most. */
#define UNTIL(s, ms, cond)                                                         \
        do {                                                                       \
                uint64_t end_ms_ = (s)->now + (ms);                                \
                while (!(s)->failed && !(cond) && (s)->now < end_ms_) sim_turn(s); \
        } while (0)

static void spend(struct sim *s, uint64_t ms) { UNTIL(s, ms, false); }

/* Only members of the same group hear each other; who is in none hears nobody. */
static void groups(struct sim *s, unsigned one, unsigned two)
{
        for (unsigned a = 0; a < s->nodes_n; a++)
                for (unsigned b = 0; b < s->nodes_n; b++) {
                        unsigned both = 1u << a | 1u << b;
                        s->cut[a][b] = a != b && (one & both) != both && (two & both) != both;
                }
}

static struct sim_node *ready_leader(struct sim *s)
{
        struct sim_node *l = sim_leader(s);
        return l && l->driver->ready ? l : NULL;
}

static bool all_at(struct sim *s, uint64_t index)
{
        for (unsigned i = 0; i < s->nodes_n; i++)
                if (!s->nodes[i].up || s->nodes[i].driver->applied.index < index) return false;
        return true;
}

/* ---- old-term ---- */

static bool durable(const struct sim_node *n, uint64_t index)
{
        return store_mem_last_index(n->store) >= index;
}

/* The first leader's first entry gets to one other member only; returns that, or NULL. */
static struct sim_node *half_written(struct sim *s, struct sim_node **ret_leader, uint64_t *ret_index)
{
        struct sim_node *a, *b;

        UNTIL(s, 10000, sim_leader(s) != NULL);
        a = sim_leader(s);
        if (!a) return NULL;
        b = &s->nodes[(a->slot + 1 + sim_below(s, 4)) % 5];
        groups(s, BIT(a) | BIT(b), EVERYBODY & ~(BIT(a) | BIT(b)));
        *ret_leader = a;
        *ret_index = raft_last_index(&a->driver->raft);
        if (raft_commit_index(&a->driver->raft) >= *ret_index) return NULL;
        UNTIL(s, 300, durable(a, *ret_index) && durable(b, *ret_index));
        return durable(a, *ret_index) && durable(b, *ret_index) ? b : NULL;
}

/* Another leader, of the other three, writes its first entry for itself alone and dies. */
static struct sim_node *rival(struct sim *s, uint64_t index)
{
        struct sim_node *e;

        UNTIL(s, 10000, sim_leader(s) != NULL);
        e = sim_leader(s);
        if (!e) return NULL;
        groups(s, 0, 0);
        UNTIL(s, 300, durable(e, index));
        if (!durable(e, index) || raft_last_index(&e->driver->raft) != index) return NULL;
        node_crash(e, FAR_AWAY_MS);
        return e;
}

/* The old entry reaches c, and nothing behind it; the leader hears of that. */
static bool on_a_majority(struct sim *s, struct sim_node *c, uint64_t index)
{
        struct sim_node *l;
        raft_index match = 0;

        UNTIL(s, 10000, sim_leader(s) != NULL);
        l = sim_leader(s);
        if (!l || l == c || raft_last_index(&c->driver->raft) >= index) return false;
        UNTIL(s, 1000, raft_last_index(&c->driver->raft) >= index);
        if (raft_last_index(&c->driver->raft) != index) return false;
        for (unsigned i = 0; i < s->nodes_n; i++) s->cut[i][c->slot] = true;
        for (uint64_t end = s->now + 200; !s->failed && s->now < end && match < index; sim_turn(s))
                if (!l->driver->leading || raft_match_index(&l->driver->raft, c->id, &match) != 0)
                        return false;
        spend(s, 5);
        return match == index;
}

static bool play_old_term(struct sim *s)
{
        struct sim_node *a, *b, *e, *c = NULL, *d = NULL;
        uint64_t index, term;

        s->clients_n = 0;
        s->append_entries = 1;
        sim_begin(s, 5);
        if (!(b = half_written(s, &a, &index))) return false;
        node_crash(a, FAR_AWAY_MS);
        node_crash(b, FAR_AWAY_MS);
        if (!(e = rival(s, index))) return false;
        term = store_mem_term_of(e->store, index);
        for (unsigned i = 0; i < 5; i++) {
                if (!s->nodes[i].up) continue;
                if (c) d = &s->nodes[i];
                else c = &s->nodes[i];
        }
        if (!c || !d) return false;
        groups(s, BIT(a) | BIT(b) | BIT(c), 0);
        node_boot(a);
        node_boot(b);
        if (!on_a_majority(s, c, index) && !s->failed) return false;
        node_crash(a, FAR_AWAY_MS);
        node_crash(b, FAR_AWAY_MS);
        groups(s, BIT(c) | BIT(d) | BIT(e), 0);
        node_boot(e);
        UNTIL(s, 10000, s->commit_max > index);
        if (!s->failed && s->commits[index].term != term) return false;
        groups(s, EVERYBODY, 0);
        node_boot(a);
        node_boot(b);
        UNTIL(s, 10000, all_at(s, index + 1));
        if (!all_at(s, index + 1)) sim_fail(s, "they do not come together again");
        return true;
}

/* ---- non-voter ---- */

struct outcome {
        bool done;
        int err;
};
static void on_changed(void *arg, int err, const char *why)
{
        struct outcome *o = arg;
        o->done = true;
        o->err = err;
}

/* One member without a vote, or removed; NULL: it did not come to that. */
static struct sim_node *without_vote(struct sim *s, struct sim_node *l)
{
        struct outcome *o = xnew(struct outcome); /* the driver may answer when the simulation ends */
        struct sim_node *x = &s->nodes[(l->slot + 1 + sim_below(s, 3)) % 4];
        bool ok;

        driver_change(l->driver, sim_below(s, 2) ? CHANGE_DEMOTE : CHANGE_REMOVE, x->id, NULL, s->now + 5000,
                on_changed, o);
        node_after(l);
        UNTIL(s, 6000, o->done);
        if (!o->done) {
                sim_fail(s, "a change of the members gets no answer");
                return NULL;
        }
        ok = o->err == 0;
        free(o);
        spend(s, 100);
        return ok && ready_leader(s) == l ? x : NULL;
}

static bool play_non_voter(struct sim *s)
{
        struct sim_node *l, *x, *next;
        uint64_t writes;

        s->clients_n = 12;
        s->rate = 20;
        for (unsigned i = 0; i < s->clients_n; i++) s->clients[i].pinned = true;
        sim_begin(s, 4);
        UNTIL(s, 10000, ready_leader(s) && s->writes_n > 20);
        if (!(l = ready_leader(s)) || !(x = without_vote(s, l))) return false;
        groups(s, BIT(l) | BIT(x), EVERYBODY & ~(BIT(l) | BIT(x)));
        l->paused_until = s->now + 2000 + sim_below(s, 1000);
        UNTIL(s, 1900, ready_leader(s) != NULL);
        next = ready_leader(s);
        writes = s->writes_n;
        spend(s, l->paused_until - s->now);
        if (!next || s->writes_n < writes + 3 || !l->driver->leading) return s->failed;
        spend(s, 700); /* an election timeout, and a bit */
        groups(s, EVERYBODY, 0);
        spend(s, 3500); /* what waited has its answer */
        return true;
}

/* ---- damage ---- */

static bool play_damage(struct sim *s)
{
        struct sim_node *l, *f;
        uint64_t installs, upto;

        s->clients_n = 12;
        s->rate = 4;
        sim_begin(s, 3);
        UNTIL(s, 10000, ready_leader(s));
        if (!(l = ready_leader(s))) return false;
        f = &s->nodes[(l->slot + 1 + sim_below(s, 2)) % 3];
        groups(s, EVERYBODY & ~BIT(f), 0);
        upto = s->commit_max + 400 + sim_below(s, 100);
        UNTIL(s, 60000, s->commit_max >= upto);
        installs = s->installs_n;
        s->damage_n = 1 + sim_below(s, 3);
        groups(s, EVERYBODY, 0);
        UNTIL(s, 20000, f->driver->applied.index >= upto && s->damage_n == 0);
        s->healed = s->quiet = true;
        UNTIL(s, 20000, client_all_idle(s) && check_converged(s));
        if (!s->failed && !check_converged(s)) sim_fail(s, "the snapshot does not get there");
        if (!s->failed) check_final(s);
        return s->installs_n > installs && s->damage_n == 0;
}

/* ---- two-links ---- */

/* Each of a pair's links is one of its own: the one for snapshots ends while a snapshot is on it, up to three times, under load; the
 * other one stays. */
static bool play_two_links(struct sim *s)
{
        struct sim_node *l, *f;
        uint64_t upto, installs, n = 1 + sim_below(s, 3);

        s->clients_n = 12;
        s->rate = 4;
        s->two_links = true;
        sim_begin(s, 3);
        UNTIL(s, 10000, ready_leader(s));
        if (!(l = ready_leader(s))) return false;
        f = &s->nodes[(l->slot + 1 + sim_below(s, 2)) % 3];
        groups(s, EVERYBODY & ~BIT(f), 0);
        upto = s->commit_max + 400 + sim_below(s, 100);
        UNTIL(s, 60000, s->commit_max >= upto);
        groups(s, EVERYBODY, 0);
        for (uint64_t i = 0; i < n; i++) {
                installs = s->installs_n;
                UNTIL(s, 8000, s->installs_n > installs || f->driver->applied.index >= upto);
                if (s->failed || ready_leader(s) != l) return s->failed;
                if (f->driver->applied.index >= upto) return i > 0; /* it was quicker */
                if (s->installs_n == installs) {
                        sim_fail(s, "no snapshot is sent within 8 s of the link's return");
                        return true;
                }
                spend(s, sim_below(s, 3));
                net_bulk_again(s, l->slot, f->slot, 5 + sim_below(s, 1500));
        }
        UNTIL(s, 8000, f->driver->applied.index >= upto);
        if (!s->failed && f->driver->applied.index < upto)
                sim_fail(s, "the snapshot does not get there within 8 s");
        return true;
}

/* ---- alone ---- */

static struct sim_node *asks_for_votes(struct sim *s)
{
        for (unsigned i = 0; i < s->nodes_n; i++) {
                struct sim_node *n = &s->nodes[i];
                const struct raft *r = n->up ? &n->driver->raft : NULL;
                if (r && r->state == RAFT_CANDIDATE && !r->candidate_state.in_pre_vote) return n;
        }
        return NULL;
}

static bool play_alone(struct sim *s)
{
        struct sim_node *l, *c, *next;
        uint64_t term, elections;

        s->clients_n = 6;
        s->rate = 40;
        sim_begin(s, 3);
        UNTIL(s, 10000, ready_leader(s) && s->writes_n > 5);
        if (!(l = ready_leader(s))) return false;
        node_crash(l, 1000);
        UNTIL(s, 3000, asks_for_votes(s));
        if (!(c = asks_for_votes(s))) return false;
        groups(s, EVERYBODY & ~BIT(c), 0);
        term = raft_current_term(&c->driver->raft);
        UNTIL(s, 6000, (next = ready_leader(s)) && next != c);
        spend(s, 5000);
        if (s->failed || !(next = ready_leader(s)) || next == c) return false;
        if (raft_current_term(&c->driver->raft) > term + 1)
                sim_fail(s, "a member whom nobody answers goes from term %llu to %llu",
                        (unsigned long long)term, (unsigned long long)raft_current_term(&c->driver->raft));
        elections = s->elections_n;
        groups(s, EVERYBODY, 0);
        spend(s, 2000);
        if (s->elections_n != elections || ready_leader(s) != next)
                sim_fail(s, "a member that comes back deposes the leader");
        if (!s->failed && !all_at(s, next->driver->applied.index - 20)) sim_fail(s, "it is not fed again");
        return true;
}

/* ---- hub ---- */

static bool play_hub(struct sim *s)
{
        struct sim_node *l, *h;
        uint64_t upto;

        s->clients_n = 5;
        s->rate = 20;
        for (unsigned i = 0; i < s->clients_n; i++) s->clients[i].pinned = true;
        sim_begin(s, 5);
        UNTIL(s, 10000, ready_leader(s) && s->writes_n > 5);
        if (!(l = ready_leader(s))) return false;
        h = &s->nodes[(l->slot + 1 + sim_below(s, 4)) % 5];
        groups(s, EVERYBODY & ~BIT(h), 0);
        upto = s->commit_max + 10 + sim_below(s, 100);
        UNTIL(s, 10000, s->commit_max >= upto);
        spend(s, 300); /* all of the others have it */
        groups(s, 0, 0);
        spend(s, 2000);
        if (s->failed || sim_leader(s) || raft_last_index(&h->driver->raft) >= upto) return s->failed;
        for (unsigned i = 0; i < 5; i++) s->cut[i][h->slot] = s->cut[h->slot][i] = false;
        upto = s->writes_n + 10;
        UNTIL(s, 5000, s->writes_n >= upto);
        if (s->writes_n < upto) sim_fail(s, "the hub of a majority does not lead within 5 s");
        groups(s, EVERYBODY, 0);
        s->healed = s->quiet = true;
        UNTIL(s, 20000, client_all_idle(s) && check_converged(s));
        if (!s->failed && !check_converged(s)) sim_fail(s, "they do not come together again");
        if (!s->failed) check_final(s);
        return true;
}

/* ---- all of them ---- */

static const struct {
        const char *name;
        bool (*play)(struct sim *s);
        unsigned percent; /* of the plays are to the point, at least */
} scripts[] = {
        { "old-term", play_old_term, 10 },
        { "non-voter", play_non_voter, 10 },
        { "damage", play_damage, 50 },
        { "two-links", play_two_links, 50 },
        { "alone", play_alone, 50 },
        { "hub", play_hub, 50 },
};

static bool play(unsigned no, uint64_t seed, unsigned *ret_n)
{
        struct sim *s = sim_new(seed, sim_program.work);
        bool ok;

        sim_calm(s);
        *ret_n += scripts[no].play(s) || s->failed;
        ok = !s->failed;
        if (!ok)
                printf("seed %llu FAILED at %llu ms: scenario %s: %s\n  replay: sim --first %llu --scripts 1 "
                       "--script "
                       "%s\n",
                        (unsigned long long)seed, (unsigned long long)s->now, scripts[no].name, s->why,
                        (unsigned long long)seed, scripts[no].name);
        sim_free(s);
        return ok;
}

bool scripts_play(unsigned n, uint64_t first, const char *only)
{
        unsigned passed = 0, failed = 0;

        for (unsigned no = 0; no < ARRAY_LEN(scripts); no++) {
                unsigned to_the_point = 0, bad = 0;
                if (only && strcmp(only, scripts[no].name) != 0) continue;
                for (uint64_t seed = first; seed < first + n; seed++) bad += !play(no, seed, &to_the_point);
                printf("scenario %s: %u plays, %u of them to the point\n", scripts[no].name, n, to_the_point);
                passed += n - bad;
                failed += bad;
                if (to_the_point * 100 >= n * scripts[no].percent) continue;
                printf("seed %llu FAILED: scenario %s misses its point\n", (unsigned long long)first,
                        scripts[no].name);
                failed++;
        }
        printf("%u passed, %u failed\n", passed, failed);
        return failed == 0 && passed > 0;
}
