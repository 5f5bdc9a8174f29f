/* One member: its process, its disk, its clock. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

static uint64_t env_now(struct env *env) { return container_of(env, struct sim_node, env)->sim->now; }
static uint64_t env_wall(struct env *env)
{
        const struct sim_node *n = container_of(env, struct sim_node, env);
        return n->sim->now + 1700000000000u + (uint64_t)n->wall_offset_ms;
}
static void env_random(struct env *env, void *p, size_t n)
{
        uint8_t *b = p;
        for (size_t i = 0; i < n; i++)
                b[i] = (uint8_t)(sim_random(container_of(env, struct sim_node, env)->sim) >> 16);
}

static void op_send(void *arg, uint64_t to, enum raft_channel channel, struct blob frame)
{
        net_send(arg, to, channel, frame);
}
static int op_evaluate(void *arg, struct tx *tx, struct blob request, uint64_t index, struct buf *ret_reply)
{
        struct sim_node *n = arg;
        release_raise(n, tx);
        return n->sim->work->evaluate(n, tx, request, index, ret_reply);
}
static void op_fatal(void *arg, int err, const char *why)
{
        struct sim_node *n = arg;
        if (release_stopped(n, err)) return;
        sim_fail(n->sim, "node %llu stopped: %s (%s)", (unsigned long long)n->id, why, err_text(err));
        n->fatal = true;
}
static const struct driver_ops ops = { .send = op_send, .evaluate = op_evaluate, .on_fatal = op_fatal };
static const struct driver_ops witness_ops = { .send = op_send, .on_fatal = op_fatal };

/* ---- disk ---- */

static void disk_next(struct sim_node *n)
{
        struct sim *s = n->sim;
        struct event *e;
        unsigned ms;

        if (n->disk_busy || store_mem_pending(n->store) == 0) return;
        n->disk_busy = true;
        ms = sim_below(s, 3) * MAX(1, n->disk_slow);
        if (sim_chance(s, 15)) ms += sim_below(s, 120);
        if (s->slow_disks && sim_chance(s, 3)) ms += sim_below(s, 900);
        e = sim_event(s, s->now + 1 + ms, EV_DISK, 0);
        e->a = n->slot;
        e->x = n->boot;
}

static void disk_wakeup(void *arg)
{
        struct sim_node *n = arg;
        if (n->up) disk_next(n);
}

void node_disk(struct sim_node *n, const struct event *e)
{
        if (!n->up || e->x != n->boot) return;
        if (e->kind == EV_DISK) {
                struct event *call;
                (void)store_mem_commit(n->store, 0);
                call = sim_event(n->sim, n->sim->now + sim_below(n->sim, 2), EV_DISK_CALL, 0);
                call->a = n->slot;
                call->x = n->boot;
                return;
        }
        n->disk_busy = false;
        (void)store_mem_deliver(n->store);
        disk_next(n);
        node_after(n);
}

/* ---- life ---- */

struct sim_node *node_by_id(struct sim *s, uint64_t id)
{
        for (unsigned i = 0; i < s->nodes_n; i++)
                if (s->nodes[i].id == id) return &s->nodes[i];
        return NULL;
}

static void new_disk(struct sim_node *n)
{
        n->store = store_mem_new();
        if (n->witness) store_mem_set_log_only(n->store);
        store_mem_set_wakeup(n->store, disk_wakeup, n);
}

static void new_id(struct sim_node *n)
{
        n->id = n->sim->next_id++;
        (void)snprintf(n->address, sizeof(n->address), "n%llu:1", (unsigned long long)n->id);
}

struct sim_node *node_new(struct sim *s, bool is_volatile, bool witness)
{
        struct sim_node *n = &s->nodes[s->nodes_n];

        assert(s->nodes_n < NODES_MAX);
        *n = (struct sim_node){ .env = { env_now, env_wall, env_random },
                .sim = s,
                .slot = s->nodes_n,
                .used = true,
                .is_volatile = is_volatile,
                .witness = witness };
        s->nodes_n++;
        n->disk_slow = s->slow_disks ? 1 + sim_below(s, 4) : 1;
        new_id(n);
        new_disk(n);
        return n;
}

void node_reborn(struct sim_node *n)
{
        store_mem_free(n->store);
        if (guard_on(GUARD_ID)) new_id(n);
        new_disk(n);
        node_boot(n);
}

void node_boot(struct sim_node *n)
{
        struct sim *s = n->sim;
        struct driver_config c = { .id = n->id,
                .name = n->address,
                .address = n->address,
                .election_ms = s->election_ms,
                .heartbeat_ms = s->heartbeat_ms,
                .seed = sim_random(s),
                .store = store_mem_store(n->store),
                .env = &n->env,
                .ops = n->witness ? &witness_ops : &ops,
                .arg = n,
                .lazy = n->witness,
                .log_only = n->witness,
                .snapshot_entries = n->witness ? 15 : 40,
                .snapshot_bytes = 1 << 20,
                .trailing_entries = 16,
                .append_entries = s->append_entries };
        struct fail f;
        int err;

        n->boot++;
        n->up = true;
        n->disk_busy = false;
        n->committed_seen = n->leader_term_seen = 0;
        n->paused_until = n->commit_high = 0;
        n->fatal = n->too_old = false;
        release_draw(n);
        c.level_max = n->knows;
        n->applied_seen = 0;
        sim_note(s, "boot %llu", (unsigned long long)n->id);
        if ((err = driver_open(&c, &n->driver, &f)) < 0 && release_refused(n, err)) return;
        if (profile_corrupted(n, err)) return;
        if (err < 0) {
                sim_fail(s, "node %llu does not open: %s", (unsigned long long)n->id, f.text);
                n->up = false;
                return;
        }
        disk_next(n);
        for (unsigned i = 0; i < s->nodes_n; i++)
                if (i != n->slot && s->nodes[i].up) net_connect(s, n->slot, i);
        node_after(n);
}

static bool keep(void *arg) { return sim_below(arg, 2) == 0; }

void node_crash(struct sim_node *n, unsigned down_ms)
{
        struct sim *s = n->sim;
        struct driver *d = n->driver;
        struct event *e;

        sim_note(s, "crash %llu", (unsigned long long)n->id);
        s->crashes_n++;
        n->up = false;
        n->driver = NULL;
        drv_process_dies(d);
        store_mem_crash(n->store, keep, s);
        driver_close(d);
        for (unsigned i = 0; i < s->nodes_n; i++) {
                n->link[i] = n->bulk[i] = false;
                if (i != n->slot) net_break(s, n->slot, i, true);
        }
        if (n->forever_dead) return;
        profile_corrupt(n);
        e = sim_event(s, s->now + down_ms, EV_REBOOT, 0);
        e->a = n->slot;
        e->x = n->boot;
}

void node_after(struct sim_node *n)
{
        if (!n->up) return;
        if (!n->sim->failed) check_node(n);
        profile_after(n);
        n->deadline = driver_deadline_ms(n->driver);
}

void node_tick(struct sim_node *n)
{
        struct sim *s = n->sim;

        if (n->spin_at != s->now) {
                n->spin_at = s->now;
                n->spin_n = 0;
        }
        if (++n->spin_n > 500)
                sim_fail(s, "node %llu spins: its timer stays in the past", (unsigned long long)n->id);
        driver_tick(n->driver);
        node_after(n);
}
