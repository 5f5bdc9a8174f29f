/* The virtual clock, the queue of events, and what a seed decides. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

uint64_t sim_random(struct sim *s)
{
        s->rng ^= s->rng << 13;
        s->rng ^= s->rng >> 7;
        s->rng ^= s->rng << 17;
        return s->rng * 2685821657736338717u >> 11;
}

void sim_fail(struct sim *s, const char *fmt, ...)
{
        va_list ap;

        if (s->failed) return;
        s->failed = true;
        va_start(ap, fmt);
        (void)vsnprintf(s->why, sizeof(s->why), fmt, ap);
        va_end(ap);
}

void sim_note(struct sim *s, const char *fmt, ...)
{
        char line[256];
        va_list ap;
        int n;

        if (!s->tracing) return;
        va_start(ap, fmt);
        n = vsnprintf(line, sizeof(line), fmt, ap);
        va_end(ap);
        if (n > 0) printf("%8llu %s\n", (unsigned long long)s->now, line);
}

/* ---- the queue ---- */

static bool before(const struct event *a, const struct event *b)
{
        return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static void push(struct sim *s, struct event *e)
{
        size_t i;

        if (s->heap_n == s->heap_cap) {
                s->heap_cap = s->heap_cap ? s->heap_cap * 2 : 256;
                s->heap = xrealloc(s->heap, s->heap_cap * sizeof(struct event *));
        }
        for (i = s->heap_n++; i > 0 && before(e, s->heap[(i - 1) / 2]); i = (i - 1) / 2)
                s->heap[i] = s->heap[(i - 1) / 2];
        s->heap[i] = e;
}

struct event *sim_event(struct sim *s, uint64_t at, enum event_kind kind, size_t n)
{
        struct event *e = xmalloc(sizeof(*e) + n);

        *e = (struct event){ .at = at, .seq = ++s->seq, .kind = kind, .n = n };
        push(s, e);
        return e;
}

static struct event *pop(struct sim *s)
{
        struct event *top = s->heap[0], *last = s->heap[--s->heap_n];
        size_t i = 0;

        for (;;) {
                size_t c = 2 * i + 1;
                if (c >= s->heap_n) break;
                if (c + 1 < s->heap_n && before(s->heap[c + 1], s->heap[c])) c++;
                if (!before(s->heap[c], last)) break;
                s->heap[i] = s->heap[c];
                i = c;
        }
        if (s->heap_n) s->heap[i] = last;
        return top;
}

static void mix(struct sim *s, uint64_t v) { s->trace = (s->trace ^ v) * 1099511628211u; }

static void dispatch(struct sim *s, struct event *e)
{
        mix(s, e->at * 31 + e->kind * 7 + e->a * 3 + e->b);
        for (size_t i = 0; i < e->n; i += 8) mix(s, e->data[i]);
        if (s->tracing)
                sim_note(s, "event %u %u %u x%llu n%zu", e->kind, e->a, e->b, (unsigned long long)e->x, e->n);
        switch (e->kind) {
        case EV_FRAME: net_deliver(s, e); break;
        case EV_LINK: net_link(s, e); break;
        case EV_DISK:
        case EV_DISK_CALL: node_disk(&s->nodes[e->a], e); break;
        case EV_CLIENT: client_event(s, e->a); break;
        case EV_FAULT: fault_event(s); break;
        case EV_ADMIN: admin_event(s); break;
        case EV_REBOOT:
                if (s->nodes[e->a].up || s->nodes[e->a].boot != e->x) break;
                if (s->nodes[e->a].is_volatile) node_reborn(&s->nodes[e->a]);
                else node_boot(&s->nodes[e->a]);
                break;
        case EV_CRASH: profile_crash(s, e); break;
        default: break;
        }
}

/* ---- a seed ---- */

static void found(struct sim *s, unsigned n)
{
        struct driver_founder f[NODES_MAX];
        struct fail why;

        for (unsigned i = 0; i < n; i++) {
                struct sim_node *node = node_new(s, false, n - i <= s->witnesses && n > 2 * s->witnesses);
                f[i] = (struct driver_founder){ node->id, node->address,
                        i == 0 || !s->sole_start ? MEMBER_VOTER : MEMBER_STANDBY };
        }
        for (unsigned i = 0; i < n; i++) {
                struct sim_node *node = &s->nodes[i];
                if (driver_found(store_mem_store(node->store), f, n, BLOB(NULL, 0),
                            (void (*)(void *))store_mem_run, node->store, &why) < 0)
                        sim_fail(s, "cannot found: %s", why.text);
        }
        for (unsigned i = 0; i < n; i++) node_boot(&s->nodes[i]);
}

struct sim *sim_new(uint64_t seed, const struct workload *work)
{
        struct sim *s = xnew(struct sim);

        s->seed = seed;
        s->rng = seed * 0x9E3779B97F4A7C15u + 88172645463325252u;
        for (unsigned i = 0; i < 8; i++) (void)sim_random(s);
        s->work = work;
        s->now = 1000;
        s->trace = 1469598103934665603u;
        s->next_id = 100;
        s->commits = xcalloc(COMMITS_MAX, sizeof(*s->commits));
        s->applieds = xcalloc(COMMITS_MAX, sizeof(*s->applieds));
        s->leader_of = xcalloc(COMMITS_MAX, sizeof(*s->leader_of));
        s->drop_permille = sim_below(s, 3) ? sim_below(s, 30) : 0;
        s->delay_ms = 1 + sim_below(s, 5);
        s->leftover_permille = sim_below(s, 2) ? 100 : 0;
        s->faults = sim_below(s, 20) != 0;
        s->membership = sim_below(s, 2) == 0;
        s->transfers = sim_below(s, 3) == 0;
        s->resets = sim_below(s, 2) == 0;
        s->sole_start = sim_below(s, 5) == 0;
        s->slow_disks = sim_below(s, 3) == 0;
        s->rate = 1 + sim_below(s, 12);
        s->election_ms = 150;
        s->heartbeat_ms = 25;
        s->target_voters = sim_below(s, 4) == 0 ? 5 : 3;
        /* as two controllers and a witness; three controllers and two witnesses; each witness with a disk or without */
        if (sim_below(s, 3) == 0) {
                unsigned both = 1 + (s->target_voters == 5 ? sim_below(s, 2) : 0);
                s->volatiles = sim_below(s, both + 1);
                s->witnesses = both - s->volatiles;
        }
        s->clients_n = 3 + sim_below(s, 8);
        profile_draw(s);
        return s;
}

void sim_calm(struct sim *s)
{
        s->faults = s->membership = s->transfers = s->sole_start = s->slow_disks = false;
        s->corrupt = s->two_links = s->releases = s->churn = s->clocks = s->damage = s->waves = s->pauses =
                false;
        s->volatiles = s->witnesses = s->append_entries = 0;
        s->drop_permille = s->leftover_permille = 0;
        s->delay_ms = 2;
        s->election_ms = 500;
        s->heartbeat_ms = 50;
        s->end_ms = UINT64_MAX;
}

static uint64_t next_due(struct sim *s, struct sim_node **ret_node)
{
        uint64_t at = s->heap_n ? s->heap[0]->at : UINT64_MAX;

        *ret_node = NULL;
        for (unsigned i = 0; i < s->nodes_n; i++) {
                struct sim_node *n = &s->nodes[i];
                uint64_t due = MAX(n->deadline, n->paused_until);
                if (n->up && due < at) {
                        at = due;
                        *ret_node = n;
                }
        }
        return at;
}

/* Its process is stopped: what comes for it waits, in its order. */
static bool put_off(struct sim *s, struct event *e)
{
        const struct sim_node *n = &s->nodes[e->kind == EV_FRAME ? e->b : e->a];

        if (e->kind != EV_FRAME && e->kind != EV_LINK && e->kind != EV_DISK_CALL) return false;
        if (!n->up || s->now >= n->paused_until) return false;
        e->at = n->paused_until;
        push(s, e);
        return true;
}

void sim_turn(struct sim *s)
{
        struct sim_node *n;
        uint64_t at = next_due(s, &n);

        if (at == UINT64_MAX) {
                sim_fail(s, "nothing left to do");
                return;
        }
        s->now = MAX(at, s->now);
        if (n) {
                mix(s, s->now * 31 + n->slot);
                node_tick(n);
        } else {
                struct event *e = pop(s);
                if (put_off(s, e)) return;
                dispatch(s, e);
                free(e);
        }
}

/* What everybody is at, for a seed that does not end well. */
static void dump(struct sim *s)
{
        for (unsigned i = 0; i < s->nodes_n; i++) {
                struct sim_node *n = &s->nodes[i];
                const struct raft_configuration *c;
                if (!n->up) {
                        sim_note(s, "%llu is %s", (unsigned long long)n->id,
                                n->forever_dead ? "gone" : "down");
                        continue;
                }
                c = &n->driver->raft.configuration;
                sim_note(s,
                        "%llu state %u term %llu leader %llu last %llu stored %llu commit %llu applied %llu "
                        "snapshot %llu installing %d barrier %llu queue %u batches %u busy %d recv %d "
                        "uncommitted %llu",
                        (unsigned long long)n->id, n->driver->raft.state,
                        (unsigned long long)raft_current_term(&n->driver->raft),
                        (unsigned long long)drv_leader(n->driver),
                        (unsigned long long)raft_last_index(&n->driver->raft),
                        (unsigned long long)n->driver->raft.last_stored,
                        (unsigned long long)raft_commit_index(&n->driver->raft),
                        (unsigned long long)n->driver->applied.index,
                        (unsigned long long)n->driver->snapshot_index, n->driver->installing,
                        (unsigned long long)n->driver->barrier_index, n->driver->queue_n,
                        n->driver->batches_n, n->driver->job.busy, (int)n->driver->recv.state,
                        (unsigned long long)n->driver->raft.configuration_uncommitted_index);
                LIST_FOREACH(it, &n->driver->noops)
                {
                        const struct batch *b = container_of(it, struct batch, node);
                        sim_note(s, "    parked: epoch %llu of %llu, confirmed %d, index %llu",
                                (unsigned long long)b->epoch, (unsigned long long)n->driver->epoch,
                                b->confirmed, (unsigned long long)b->index);
                }
                for (unsigned k = 0; k < c->n; k++)
                        sim_note(s, "    %llu role %d", (unsigned long long)c->servers[k].id,
                                c->servers[k].role);
        }
        for (unsigned i = 0; i < s->clients_n; i++)
                if (s->clients[i].busy)
                        sim_note(s, "client %u waits at %u (%s) since %llu", i, s->clients[i].node,
                                s->clients[i].reading ? "read" : "write",
                                (unsigned long long)s->clients[i].began_ms);
}

static void run(struct sim *s);

void sim_run(struct sim *s)
{
        run(s);
        if (s->failed) dump(s);
}

void sim_begin(struct sim *s, unsigned n)
{
        found(s, n);
        (void)sim_event(s, s->now + 50, EV_FAULT, 0);
        (void)sim_event(s, s->now + 300, EV_ADMIN, 0);
        for (unsigned i = 0; i < s->clients_n; i++) {
                struct event *e = sim_event(s, s->now + 100 + i, EV_CLIENT, 0);
                s->clients[i].no = i;
                e->a = i;
        }
}

static void run(struct sim *s)
{
        sim_begin(s, s->sole_start ? 1 + sim_below(s, 3) : s->target_voters - s->volatiles);
        while (!s->failed && s->now < s->end_ms) sim_turn(s);
        if (s->failed) return;
        sim_note(s, "healing");
        s->healed = true;
        fault_heal(s);
        s->limit_ms = s->now + 20000;
        while (!s->failed && s->now < s->limit_ms) {
                uint64_t until = s->now + 50;
                while (!s->failed && s->now < until) sim_turn(s);
                if (!s->quiet && s->now > s->end_ms + 500) s->quiet = true;
                if (s->quiet && client_all_idle(s) && check_converged(s)) break;
        }
        if (!s->failed && s->now >= s->limit_ms) {
                if (!client_all_idle(s)) sim_fail(s, "a client waits 20 s after healing");
                else sim_fail(s, "members have not converged 20 s after healing");
        }
        if (!s->failed) check_final(s);
}

void sim_free(struct sim *s)
{
        for (unsigned i = 0; i < s->nodes_n; i++) {
                struct sim_node *n = &s->nodes[i];
                if (n->up) {
                        n->up = false;
                        drv_process_dies(n->driver);
                        store_mem_crash(n->store, NULL, NULL);
                        driver_close(n->driver);
                }
                store_mem_free(n->store);
        }
        while (s->heap_n) free(pop(s));
        free(s->heap);
        for (unsigned i = 0; i < CLIENTS_MAX; i++) buf_done(&s->clients[i].request);
        for (unsigned i = 0; i < KEYS_N; i++) free(s->known[i].values);
        free(s->acked);
        free(s->commits);
        free(s->applieds);
        free(s->leader_of);
        free(s);
}
