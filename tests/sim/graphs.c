/* Links cut in every shape. For each directed graph of a cluster's links, with each member as the leader when
 * the cut comes: wherever some member has links in both directions with a majority (itself counted), writes
 * go on within 5 s, at every member that has such a link with the leader; leadership then stays where it is;
 * and 5 s after the links are whole again every member writes.
 *
 * Two kinds of network: "packets", where a link that carries one way goes on to do so, which is harsher than
 * any TCP; and "tcp", where a link that has lost one way is dead on both sides after TCP's user timeout. */
#include <stdlib.h>

#include "tests/sim/sim.h"

enum { WITHIN_MS = 5000, STEADY_MS = 3000, TCP_DEAD_MS = 1500 };

struct run {
        struct sim *s;
        unsigned n, leader;
        uint32_t graph;
        bool tcp;
        uint64_t cut_ms, wrote_ms; /* writes stood still until then */
};

static bool carries(const struct run *r, unsigned from, unsigned to)
{
        unsigned bit = from * (r->n - 1) + (to < from ? to : to - 1);
        return (r->graph >> bit & 1) != 0;
}
static bool both_ways(const struct run *r, unsigned a, unsigned b)
{
        return a == b || (carries(r, a, b) && carries(r, b, a));
}
static bool is_hub(const struct run *r, unsigned a)
{
        unsigned n = 0;
        for (unsigned b = 0; b < r->n; b++) n += both_ways(r, a, b);
        return n > r->n / 2;
}
static bool can_write(const struct run *r)
{
        for (unsigned a = 0; a < r->n; a++)
                if (is_hub(r, a)) return true;
        return false;
}

static struct sim_node *leader_of(struct sim *s)
{
        struct sim_node *best = NULL;
        for (unsigned i = 0; i < s->nodes_n; i++) {
                struct sim_node *n = &s->nodes[i];
                if (!n->driver->leading || !n->driver->ready) continue;
                if (!best || n->driver->lead_term > best->driver->lead_term) best = n;
        }
        return best;
}

static void spend(struct run *r, uint64_t ms)
{
        uint64_t until = r->s->now + ms;
        while (!r->s->failed && r->s->now < until) sim_turn(r->s);
}

/* Has that member acknowledged a write that began at since or later? */
static bool wrote_since(const struct run *r, unsigned member, uint64_t since)
{
        return r->s->clients[member].wrote_begun_ms >= since;
}

static void on_transferred(void *arg, int err, const char *why) {}

static void make_leader(struct run *r)
{
        struct sim *s = r->s;
        uint64_t limit = s->now + 20000;
        struct sim_node *l;

        while (!s->failed && s->now < limit) {
                spend(r, 100);
                l = leader_of(s);
                if (!l) continue;
                if (l->slot == r->leader) return;
                driver_change(l->driver, CHANGE_TRANSFER, s->nodes[r->leader].id, NULL, s->now + 1000,
                        on_transferred, NULL);
                node_after(l);
        }
        sim_fail(s, "member %u does not get to lead", r->leader);
}

static void set_links(struct run *r, bool whole)
{
        struct sim *s = r->s;
        for (unsigned a = 0; a < r->n; a++)
                for (unsigned b = 0; b < r->n; b++) s->cut[a][b] = a != b && !whole && !carries(r, a, b);
        for (unsigned a = 0; a < r->n && r->tcp; a++) {
                for (unsigned b = 0; b < a; b++) {
                        if (both_ways(r, a, b)) continue;
                        if (whole) net_connect(s, a, b);
                        else net_break_later(s, a, b, s->now + TCP_DEAD_MS + sim_below(s, 200));
                }
        }
}

static bool all_wrote(const struct run *r, uint64_t since, bool everywhere)
{
        const struct sim_node *l = leader_of(r->s);
        if (!l) return false;
        for (unsigned i = 0; i < r->n; i++)
                if ((everywhere || both_ways(r, l->slot, i)) && !wrote_since(r, i, since)) return false;
        return true;
}

static void expect_writes(struct run *r, uint64_t since, bool everywhere, const char *when)
{
        struct sim *s = r->s;
        while (!s->failed && s->now < since + WITHIN_MS && !all_wrote(r, since, everywhere)) sim_turn(s);
        if (!s->failed && !all_wrote(r, since, everywhere))
                sim_fail(s, "no write within %u ms after the links were %s", WITHIN_MS, when);
}

static void judge_cut(struct run *r)
{
        struct sim *s = r->s;
        uint64_t terms, steady;

        if (!can_write(r)) {
                spend(r, WITHIN_MS);
                return;
        }
        expect_writes(r, r->cut_ms, false, "cut");
        r->wrote_ms = s->now;
        spend(r, r->cut_ms + WITHIN_MS > s->now ? r->cut_ms + WITHIN_MS - s->now : 0);
        terms = s->elections_n;
        steady = s->now;
        spend(r, STEADY_MS);
        if (s->failed) return;
        if (s->elections_n != terms) sim_fail(s, "leadership does not come to rest");
        else if (!all_wrote(r, steady + STEADY_MS / 2, false)) sim_fail(s, "writes stand still again");
}

/* Who is connected with whom, and what everybody is at. */
static void explain(struct run *r)
{
        for (unsigned a = 0; a < r->n; a++) {
                const struct driver *d = r->s->nodes[a].driver;
                printf("  %u%s: state %u, term %llu, last %llu (term %llu), commit %llu; both ways:", a,
                        is_hub(r, a) ? " (has a majority)" : "", d->raft.state,
                        (unsigned long long)raft_current_term(&d->raft),
                        (unsigned long long)d->raft.last_stored,
                        (unsigned long long)step_term_of(d, d->raft.last_stored),
                        (unsigned long long)raft_commit_index(&d->raft));
                for (unsigned b = 0; b < r->n; b++)
                        if (a != b && both_ways(r, a, b)) printf(" %u", b);
                printf("\n");
        }
}

static bool run_one(struct run *r, uint64_t seed)
{
        struct sim *s = sim_new(seed, sim_program.work);

        r->s = s;
        sim_calm(s);
        s->clients_n = r->n;
        s->rate = 40;
        for (unsigned i = 0; i < r->n; i++) s->clients[i].pinned = true;
        sim_begin(s, r->n);
        make_leader(r);
        spend(r, 100 + sim_below(s, 100));
        r->cut_ms = s->now;
        set_links(r, false);
        judge_cut(r);
        if (!s->failed) {
                uint64_t healed = s->now;
                set_links(r, true);
                expect_writes(r, healed, true, "mended");
        }
        if (s->failed)
                printf("%u members, graph %#x, leader %u, %s, seed %llu FAILED %llu ms after the cut: %s\n",
                        r->n, r->graph, r->leader, r->tcp ? "tcp" : "packets", (unsigned long long)seed,
                        (unsigned long long)(s->now - r->cut_ms), s->why);
        if (s->failed) explain(r);
        bool ok = !s->failed;
        r->wrote_ms = ok && r->wrote_ms ? r->wrote_ms - r->cut_ms : 0;
        sim_free(s);
        return ok;
}

struct tally {
        unsigned ok, failed, writing_n;
        uint64_t *pauses;
};

static void one_graph(struct tally *t, unsigned n, uint32_t graph, uint64_t seed)
{
        for (unsigned k = 0; k < 2 * n; k++) {
                struct run r = { .n = n, .leader = k / 2, .graph = graph, .tcp = k % 2 == 1 };
                if (run_one(&r, seed)) t->ok++;
                else t->failed++;
                if (r.wrote_ms) t->pauses[t->writing_n++] = r.wrote_ms;
        }
}

static int compare(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
        return x < y ? -1 : x > y;
}

static void tell(struct tally *t, unsigned n, unsigned graphs)
{
        if (t->writing_n == 0) return;
        qsort(t->pauses, t->writing_n, sizeof(*t->pauses), compare);
        printf("%u members, %u graphs: %u runs with a connected majority; all its members write again after "
               "median "
               "%llu, p99 %llu, max %llu ms\n",
                n, graphs, t->writing_n, (unsigned long long)t->pauses[t->writing_n / 2],
                (unsigned long long)t->pauses[(t->writing_n - 1) * 99 / 100],
                (unsigned long long)t->pauses[t->writing_n - 1]);
}

bool graphs_measure(unsigned five_n, uint64_t seed)
{
        struct tally three = { .pauses = xcalloc(64 * 6, sizeof(uint64_t)) };
        struct tally five = { .pauses = xcalloc((size_t)five_n * 10 + 1, sizeof(uint64_t)) };
        uint64_t x = seed * 0x9E3779B97F4A7C15u | 1;

        for (uint32_t g = 0; g < 64; g++) one_graph(&three, 3, g, seed + g);
        tell(&three, 3, 64);
        for (unsigned i = 0; i < five_n;) {
                struct run r = { .n = 5 };
                unsigned missing = i % 12; /* links that are gone, at most */
                r.graph = (1u << 20) - 1;
                for (unsigned k = 0; k <= missing; k++) {
                        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
                        r.graph &= ~(1u << (x >> 20) % 20);
                }
                if (!can_write(&r)) continue;
                one_graph(&five, 5, r.graph, seed + 1000 + i);
                i++;
        }
        tell(&five, 5, five_n);
        printf("%u passed, %u failed\n", three.ok + five.ok, three.failed + five.failed);
        free(three.pauses);
        free(five.pauses);
        return three.failed + five.failed == 0;
}
