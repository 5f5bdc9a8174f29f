/* How long writes stand still when the leader's process is killed: election 500 ms, heartbeat 50 ms, three
 * members, links of a few milliseconds. With reset the peers see the connection close, without it they only
 * hear silence (power lost). */
#include <stdlib.h>

#include "tests/sim/sim.h"

static int compare(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
        return x < y ? -1 : x > y;
}

static struct sim_node *leader_of(struct sim *s)
{
        for (unsigned i = 0; i < s->nodes_n; i++)
                if (s->nodes[i].up && s->nodes[i].driver->leading && s->nodes[i].driver->ready)
                        return &s->nodes[i];
        return NULL;
}

static uint64_t one(uint64_t seed, bool reset)
{
        struct sim *s = sim_new(seed, sim_program.work);
        struct sim_node *l;
        uint64_t killed, done;

        sim_calm(s);
        sim_begin(s, 3);
        while (!s->failed && (s->now < 5000 + sim_below(s, 100) || !leader_of(s))) sim_turn(s);
        l = leader_of(s);
        killed = s->now;
        for (unsigned i = 0; i < 3 && !reset; i++) s->nodes[i].link[l->slot] = false; /* nobody is told */
        node_crash(l, 60000);
        done = s->commit_max;
        while (!s->failed && s->now < killed + 20000 && (s->commit_max == done || !leader_of(s))) sim_turn(s);
        done = s->failed ? UINT64_MAX : s->now - killed;
        sim_free(s);
        return done;
}

bool failover_measure(unsigned n, bool reset, uint64_t *ret_median)
{
        uint64_t *ms = xcalloc(n, sizeof(*ms));

        for (unsigned i = 0; i < n; i++) ms[i] = one(i + 1, reset);
        qsort(ms, n, sizeof(*ms), compare);
        printf("leader killed, %s: writes again after min %llu, median %llu, p90 %llu, p99 %llu, max %llu ms "
               "(%u runs)\n",
                reset ? "links reset" : "silence", (unsigned long long)ms[0], (unsigned long long)ms[n / 2],
                (unsigned long long)ms[n * 9 / 10], (unsigned long long)ms[n * 99 / 100],
                (unsigned long long)ms[n - 1], n);
        bool ok = ms[n * 99 / 100] < (reset ? 500 : 2000);
        *ret_median = ms[n / 2];
        free(ms);
        return ok;
}
