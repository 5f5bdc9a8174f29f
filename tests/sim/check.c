/* What must always hold, checked after every call into a driver, on the parts that may have changed:
 *   election safety           one leader in a term
 *   log matching, commitment  a committed index has one term and content, on every member, for ever
 *   commitment by a majority  what a leader commits is durable on a majority of the voters
 *   monotonic commit          a process never takes its commit index back
 *   leader completeness       a leader holds the newest entry known to be committed
 *   state machine safety      the applied state's hash is that of the committed entries; equal index, equal rows
 *   exactly once, durability  versions of registers (work.c)
 *   linearizability           a read or write begun after another one ended sees it
 * and after healing: everything converges, every request is answered. */
#include <stdlib.h>
#include <string.h>

#include "raftctl/log_only.h"
#include "state/table.h"
#include "state/writeset_internal.h"
#include "tests/sim/sim.h"

static uint64_t hash_of(const struct entry *e)
{
        uint64_t h = 1469598103934665603u ^ e->type;
        for (size_t i = 0; i < e->n; i++) h = (h ^ e->data[i]) * 1099511628211u;
        return h | 1;
}

static void check_leader(struct sim_node *n)
{
        struct sim *s = n->sim;
        struct driver *d = n->driver;
        uint64_t term = raft_current_term(&d->raft);

        if (d->raft.state != RAFT_LEADER || n->leader_term_seen == term || term >= COMMITS_MAX) return;
        n->leader_term_seen = term;
        s->elections_n++;
        profile_leader(n);
        sim_note(s, "leader %llu in term %llu", (unsigned long long)n->id, (unsigned long long)term);
        if (s->leader_of[term] && s->leader_of[term] != n->id)
                sim_fail(s, "two leaders in term %llu: %llu and %llu", (unsigned long long)term,
                        (unsigned long long)s->leader_of[term], (unsigned long long)n->id);
        s->leader_of[term] = n->id;
        if (s->commit_max && step_term_of(d, s->commit_max) != s->commit_max_term &&
                s->commit_max > d->snapshot_index && s->commit_max_term < term)
                sim_fail(s, "leader %llu of term %llu lacks the committed entry %llu",
                        (unsigned long long)n->id, (unsigned long long)term,
                        (unsigned long long)s->commit_max);
}

/* What the state's index and hash must be after e, worked out apart from state/apply.c. */
static void chain(struct sim *s, const struct entry *e)
{
        struct applied_seen *before = &s->applieds[e->index - 1], *g = &s->applieds[e->index];
        struct writeset ws;
        struct arena a;

        *g = *before;
        s->chain_n = e->index;
        if (e->type != LOG_COMMAND) return;
        if (writeset_decode(BLOB(e->data, e->n), &a, &ws) < 0)
                sim_fail(s, "entry %llu is no write-set", (unsigned long long)e->index);
        else if (ws.base_index == before->ws) {
                crypto_generichash_state st;
                g->ws = e->index;
                crypto_generichash_init(&st, NULL, 0, 32);
                crypto_generichash_update(&st, before->hash, 32);
                crypto_generichash_update(&st, e->data, e->n);
                crypto_generichash_final(&st, g->hash, 32);
        }
        arena_done(&a);
}

/* Can a majority of c's voters have the entry on their disks? Of one that has lost its disk since nobody knows. */
static bool durable_in(struct sim *s, const struct raft_configuration *c, uint64_t index, uint64_t term)
{
        unsigned lack = 0;

        for (unsigned i = 0; i < c->n; i++) {
                const struct sim_node *n = node_by_id(s, c->servers[i].id);
                if (c->servers[i].role != RAFT_VOTER || !n || store_mem_applied(n->store).index >= index)
                        continue;
                lack += store_mem_term_of(n->store, index) != term;
        }
        return conf_voters(c) - lack > conf_voters(c) / 2;
}

static void check_durable(struct sim_node *n, uint64_t index, uint64_t term)
{
        const struct raft *r = &n->driver->raft;

        /* A change of the members may have begun since it was committed. */
        if (r->state != RAFT_LEADER || durable_in(n->sim, &r->configuration, index, term) ||
                durable_in(n->sim, &r->configuration_committed, index, term))
                return;
        sim_fail(n->sim, "leader %llu has committed entry %llu, which is not on a majority of disks",
                (unsigned long long)n->id, (unsigned long long)index);
}

static void check_commits(struct sim_node *n)
{
        struct sim *s = n->sim;
        struct driver *d = n->driver;
        uint64_t commit = raft_commit_index(&d->raft), upto = MIN(commit, d->log.last);

        if (commit < n->commit_high)
                sim_fail(s, "node %llu takes its commit index back: %llu after %llu",
                        (unsigned long long)n->id, (unsigned long long)commit,
                        (unsigned long long)n->commit_high);
        n->commit_high = commit;
        if (upto >= COMMITS_MAX) {
                s->end_ms = MIN(s->end_ms, s->now);
                return;
        }
        for (uint64_t i = MAX(n->committed_seen + 1, d->log.first); i <= upto; i++) {
                const struct entry *e = log_cache_get(&d->log, i);
                uint64_t h = hash_of(e);
                if (s->commits[i].term == 0) {
                        s->commits[i] = (struct committed){ e->term, h };
                        check_durable(n, i, e->term);
                        if (i == s->chain_n + 1) chain(s, e);
                        if (i > s->commit_max) {
                                s->commit_max = i;
                                s->commit_max_term = e->term;
                        }
                } else if (s->commits[i].term != e->term || s->commits[i].hash != h) {
                        sim_fail(s, "node %llu has committed another entry at %llu (term %llu, before %llu)",
                                (unsigned long long)n->id, (unsigned long long)i, (unsigned long long)e->term,
                                (unsigned long long)s->commits[i].term);
                        return;
                }
                n->committed_seen = i;
        }
}

static void check_applied(struct sim_node *n)
{
        struct sim *s = n->sim;
        const struct applied *a = &n->driver->applied;
        const struct applied_seen *g;

        if (a->index == n->applied_seen || a->index >= COMMITS_MAX) return;
        n->applied_seen = a->index;
        release_check(n);
        g = &s->applieds[a->index];
        if (a->index > s->chain_n)
                sim_fail(s, "node %llu has applied %llu, which nobody has committed",
                        (unsigned long long)n->id, (unsigned long long)a->index);
        else if (g->ws != a->writeset_index || memcmp(g->hash, a->hash, sizeof(g->hash)) != 0)
                sim_fail(s, "node %llu has another state at index %llu than the log makes",
                        (unsigned long long)n->id, (unsigned long long)a->index);
}

void check_node(struct sim_node *n)
{
        if (!n->driver->started) return;
        check_leader(n);
        check_commits(n);
        check_applied(n);
}

/* ---- clients ---- */

static void learn(struct sim *s, unsigned key, uint64_t version, uint64_t value)
{
        struct known *k = &s->known[key];

        while (version >= k->values_cap) {
                uint64_t cap = k->values_cap ? k->values_cap * 2 : 64;
                k->values = xrealloc(k->values, cap * sizeof(uint64_t));
                memset(k->values + k->values_cap, 0, (cap - k->values_cap) * sizeof(uint64_t));
                k->values_cap = cap;
        }
        if (version == 0) return;
        if (k->values[version] == 0) k->values[version] = value;
        else if (k->values[version] != value)
                sim_fail(s, "register %u has two values for version %llu", key, (unsigned long long)version);
        k->version = MAX(k->version, version);
}

void check_ack(struct sim *s, struct client *c, const struct work_reply *r, uint64_t index)
{
        bool write = !c->reading && s->work->is_write(&c->op);
        unsigned long long v = r->version, floor = c->floor_version;

        if (write ? v <= floor : v < floor)
                sim_fail(s, "%s of register %u is stale: version %llu after %llu", write ? "write" : "read",
                        c->op.key, v, floor);
        if (write ? index <= c->floor_index : index < c->floor_index)
                sim_fail(s, "stale index %llu after %llu", (unsigned long long)index,
                        (unsigned long long)c->floor_index);
        if (write && r->executions != 1)
                sim_fail(s, "an operation was executed %llu times", (unsigned long long)r->executions);
        learn(s, c->op.key, r->version, r->value);
        s->known_index = MAX(s->known_index, index);
        if (c->reading) s->reads_n++;
        else if (!write) s->refusals_n++;
        else s->writes_n++;
        if (!write) return;
        if (s->acked_n == s->acked_cap) {
                s->acked_cap = s->acked_cap ? s->acked_cap * 2 : 256;
                s->acked = xrealloc(s->acked, s->acked_cap * sizeof(*s->acked));
        }
        s->acked[s->acked_n++] = c->op;
}

/* ---- the end ---- */

static struct sim_node *settled_leader(struct sim *s)
{
        struct sim_node *l = NULL;

        for (unsigned i = 0; i < s->nodes_n; i++) {
                struct sim_node *n = &s->nodes[i];
                if (n->up && !n->witness && n->driver->leading && n->driver->ready &&
                        (!l || n->driver->lead_term > l->driver->lead_term))
                        l = n;
        }
        return l;
}

bool check_converged(struct sim *s)
{
        struct sim_node *l = settled_leader(s);
        const struct raft_configuration *c;
        uint64_t index;

        if (!l || l->driver->raft.configuration_uncommitted_index || s->change_pending) return false;
        index = raft_last_index(&l->driver->raft);
        if (l->driver->applied.index != index) return false;
        c = &l->driver->raft.configuration;
        for (unsigned i = 0; i < c->n; i++) {
                struct sim_node *n = node_by_id(s, c->servers[i].id);
                if (!n || n->forever_dead || c->servers[i].role == RAFT_SPARE) continue;
                if (!n->up || n->driver->applied.index != index || n->driver->installing) return false;
        }
        return true;
}

/* The next pair that both keep. */
static int next_kept(struct tx *tx, struct tx_cursor *c, bool some, int err)
{
        while (err == 0 && some && !log_only_keeps(c->key)) err = tx_next(tx, c);
        return err;
}

/* Row by row: members that have converged hold the same, their own rows included; witnesses what they keep. */
static void check_contents(struct sim *s, struct sim_node *a, struct sim_node *b)
{
        struct store *sa = store_mem_store(a->store), *sb = store_mem_store(b->store);
        struct tx *ta, *tb;
        struct tx_cursor ca, cb;
        static const uint8_t lowest[] = { 0 };
        bool some = a->witness || b->witness;
        int ea, eb;

        if (sa->ops->read_begin(sa, &ta) < 0 || sb->ops->read_begin(sb, &tb) < 0) abort();
        ea = next_kept(ta, &ca, some, tx_seek(ta, &ca, BLOB(lowest, 1)));
        eb = next_kept(tb, &cb, some, tx_seek(tb, &cb, BLOB(lowest, 1)));
        while (ea == 0 && eb == 0 && blob_cmp(ca.key, cb.key) == 0 && blob_cmp(ca.value, cb.value) == 0) {
                ea = next_kept(ta, &ca, some, tx_next(ta, &ca));
                eb = next_kept(tb, &cb, some, tx_next(tb, &cb));
        }
        if (ea != E_NOT_FOUND || eb != E_NOT_FOUND)
                sim_fail(s, "nodes %llu and %llu have applied the same and hold another row of type %u",
                        (unsigned long long)a->id, (unsigned long long)b->id,
                        row_type_id(ea == 0 ? ca.key : cb.key));
        tx_close(ta, &ca);
        tx_close(tb, &cb);
        sa->ops->read_end(sa, ta);
        sb->ops->read_end(sb, tb);
}

void check_final(struct sim *s)
{
        struct sim_node *l = settled_leader(s);
        struct store *store = store_mem_store(l->store);
        uint64_t writes[KEYS_N] = { 0 };
        struct tx *tx;

        for (unsigned i = 0; i < s->nodes_n; i++) {
                struct sim_node *n = &s->nodes[i];
                if (n->up && n != l && n->driver->applied.index == l->driver->applied.index)
                        check_contents(s, l, n);
        }
        if (store->ops->read_begin(store, &tx) < 0) {
                sim_fail(s, "no view");
                return;
        }
        for (size_t i = 0; i < s->acked_n; i++) {
                writes[s->acked[i].key]++;
                if (s->work->executions(tx, &s->acked[i]) != 1)
                        sim_fail(s, "an acknowledged write of register %u is there %llu times",
                                s->acked[i].key, (unsigned long long)s->work->executions(tx, &s->acked[i]));
        }
        for (unsigned k = 0; k < KEYS_N; k++) {
                struct work_reply r;
                s->work->read(tx, k, &r);
                if (r.version != writes[k])
                        sim_fail(s, "register %u has version %llu after %llu writes", k,
                                (unsigned long long)r.version, (unsigned long long)writes[k]);
        }
        store->ops->read_end(store, tx);
}
