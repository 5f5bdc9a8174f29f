/* Opening, closing, the calls in and the callbacks out. Every call in does its own part between drv_enter and
 * drv_leave; the outermost drv_leave runs the pump (everything that may now go on), sends what the vote held
 * back, and calls back. */
#include <stdlib.h>
#include <string.h>

#include "raftctl/driver_int.h"
#include "raftctl/level.h"
#include "wire/base/sabotage.h"

uint64_t drv_random(struct driver *d)
{
        d->rng ^= d->rng << 13;
        d->rng ^= d->rng >> 7;
        d->rng ^= d->rng << 17;
        return d->rng;
}

void drv_scan_at(struct driver *d, uint64_t ms)
{
        if (ms < d->scan_ms) d->scan_ms = ms;
}

struct done *drv_done(struct driver *d, enum done_kind kind, int err, void *arg)
{
        struct done *done = xnew(struct done);

        done->kind = kind;
        done->err = err;
        done->arg = arg;
        list_push_back(&d->done, &done->node);
        return done;
}

void drv_fatal(struct driver *d, int err, const char *why)
{
        if (d->fatal) return;
        d->fatal = err;
        d->fatal_why = why;
        d->state_changed = true;
}

uint64_t drv_leader(const struct driver *d)
{
        if (d->leading) return d->id;
        return d->raft.state == RAFT_FOLLOWER && d->started ? d->raft.follower_state.current_leader.id : 0;
}

/* ---- roles ---- */

static void lead_begin(struct driver *d)
{
        const struct entry *last = log_cache_get(&d->log, raft_last_index(&d->raft));

        d->leading = true;
        d->ready = false;
        d->lead_term = raft_current_term(&d->raft);
        d->lead_ms = drv_now(d);
        d->heard_term = d->lead_term; /* what it has stored counts for itself */
        d->refused_n = 0;
        d->handover_ms = 0;
        d->progress_ms = d->lead_ms;
        /* The core's own no-op serves, if it made one. */
        d->barrier_index = last && last->term == d->lead_term ? last->index : 0;
        for (unsigned i = 0; i < d->peers_n; i++) {
                d->peers[i].hash_good = d->peers[i].hash_bad = 0;
                d->peers[i].full = false;
                d->peers[i].starved_ms = d->peers[i].match_seen = 0;
                d->peers[i].snap = (struct snap_send){ 0 };
        }
        snap_recv_drop(d);
}

static void lead_end(struct driver *d)
{
        d->leading = d->ready = false;
        batch_lost(d);
        member_lost(d);
        snap_send_stop_all(d);
        read_leader_changed(d);
}

static void role_check(struct driver *d)
{
        bool leader_now = d->raft.state == RAFT_LEADER;
        uint64_t term = raft_current_term(&d->raft), leader;

        if (d->leading && (!leader_now || term != d->lead_term)) lead_end(d);
        if (leader_now && !d->leading) lead_begin(d);
        leader = drv_leader(d);
        if (leader != d->seen_leader || term != d->seen_term || (int)d->raft.state != d->seen_state) {
                if (leader != d->seen_leader || term != d->seen_term) {
                        forward_leader_changed(d);
                        if (!d->leading) read_leader_changed(d);
                }
                d->seen_leader = leader;
                d->seen_term = term;
                d->seen_state = d->raft.state;
                d->state_changed = true;
        }
        if (d->leading && d->barrier_index == 0)
                (void)step_submit(d, LOG_BARRIER, BLOB(NULL, 0), &d->barrier_index);
        /* Evaluation needs everything that was held at the election, the barrier last of all. */
        if (d->leading && !d->ready && d->barrier_index != 0 && d->applied.index >= d->barrier_index) {
                if (d->store->ops->read_begin(d->store, &d->view) < 0)
                        drv_fatal(d, E_STORAGE, "no view of the state");
                else d->ready = true;
        }
}

static void pump(struct driver *d)
{
        while (d->dirty && d->started && !d->fatal) {
                d->dirty = false;
                step_conf_commit(d);
                role_check(d);
                batch_commit(d);
                member_pump(d);
                forward_pump(d);
                if (!d->collecting) batch_fill(d);
                else if (batch_can_fill(d)) d->fill_due = true;
                member_hand_over(d, drv_now(d));
                read_pump(d);
                snap_send_pump(d);
                jobs_pump(d);
        }
        peer_flush(d);
}

/* ---- callbacks ---- */

static void call_done(struct done *done)
{
        switch (done->kind) {
        case DONE_REQUEST:
                done->reply_cb(
                        done->arg, done->err, done->index, done->term, BLOB(done->reply, done->reply_n));
                break;
        case DONE_READ: done->read_cb(done->arg, done->err, done->index, done->term); break;
        case DONE_CHANGE: done->change_cb(done->arg, done->err, done->why); break;
        default: break;
        }
        free(done->reply);
        free(done);
}

static void deliver(struct driver *d)
{
        if (d->applied_told != d->applied.index) {
                d->applied_told = d->applied.index;
                if (d->ops.on_applied) d->ops.on_applied(d->arg, d->applied.index);
        }
        if (d->state_changed) {
                d->state_changed = false;
                if (d->ops.on_state) d->ops.on_state(d->arg);
        }
        while (!list_empty(&d->done)) {
                struct done *done = list_first(&d->done, struct done, node);
                list_remove(&done->node);
                call_done(done);
        }
        if (d->fatal && !d->fatal_told) {
                d->fatal_told = true;
                d->ops.on_fatal(d->arg, d->fatal, d->fatal_why);
        }
}

static bool undelivered(const struct driver *d)
{
        return !list_empty(&d->done) || d->state_changed || d->applied_told != d->applied.index ||
               (d->fatal && !d->fatal_told);
}

void drv_enter(struct driver *d) { d->depth++; }

void drv_leave(struct driver *d)
{
        if (d->depth == 1) {
                pump(d);
                /* A call of the user is never answered from inside: the next tick is due at once. */
                while (!d->holding && !d->closing && undelivered(d)) {
                        deliver(d);
                        d->holding = false;
                        pump(d);
                }
                d->holding = d->collecting = false;
        }
        d->depth--;
}

/* ---- calls in ---- */

uint64_t driver_deadline_ms(const struct driver *d)
{
        uint64_t due = MIN(d->scan_ms, jobs_due(d));

        if (undelivered(d)) return drv_now(d);
        if (d->fatal) return UINT64_MAX;
        if ((d->dirty || d->fill_due) && d->started) return drv_now(d);
        return d->started ? MIN(due, d->timer_ms) : due;
}

void driver_tick(struct driver *d)
{
        uint64_t now = drv_now(d);

        drv_enter(d);
        d->dirty = true;
        d->fill_due = false;
        if (d->started && !d->fatal && now >= d->timer_ms) step_timeout(d, now);
        if (now >= d->scan_ms) {
                d->scan_ms = UINT64_MAX;
                forward_expire(d, now);
                batch_expire(d, now);
                read_expire(d, now);
                member_expire(d, now);
                snap_send_tick(d, now);
                snap_recv_tick(d, now);
        }
        drv_leave(d);
}

void driver_receive(struct driver *d, uint64_t from, enum raft_channel channel, struct blob frame)
{
        struct frame_header h;
        struct peer *p;
        void *msg;

        if (!d->started || d->fatal || (unsigned)channel >= CHANNEL_N || frame_header(frame, &h) < 0) return;
        p = peer_get(d, from);
        if (!p || !peer_in_order(d, p, channel, &h)) return;
        arena_reset(&d->rx);
        if (frame_decode(frame, &h, &d->rx, &msg, NULL) < 0) return;
        drv_enter(d);
        d->dirty = true;
        d->collecting = true;
        step_receive(d, p, h.kind, msg);
        drv_leave(d);
}

void driver_link(struct driver *d, uint64_t peer, bool up, bool reset)
{
        struct peer *p = peer_get(d, peer);

        if (!p || d->fatal) return;
        drv_enter(d);
        d->dirty = true;
        p->link_up = p->link_fresh = up;
        if (!up) snap_send_stop(d, p);
        if (d->started && drv_leader(d) == peer) {
                forward_leader_changed(d);
                read_leader_changed(d);
                if (!up && reset && guard_on(GUARD_FAST)) elect_early(d);
        }
        d->state_changed = true;
        drv_leave(d);
}

void driver_bulk(struct driver *d, uint64_t peer, bool up)
{
        struct peer *p = peer_get(d, peer);

        if (!p || d->fatal || p->bulk_down == !up) return;
        drv_enter(d);
        d->dirty = true;
        p->bulk_down = !up;
        if (!up) snap_send_stop(d, p);
        drv_leave(d);
}

/* ---- opening ---- */

static void s3_done(struct store_job *sj, int err)
{
        struct driver *d = sj->data;

        if (d->fatal) return;
        drv_enter(d);
        d->job.busy = false;
        d->durable_no = d->job.no;
        if (err < 0) drv_fatal(d, err, "the store failed");
        else step_start(d);
        d->dirty = true;
        drv_leave(d);
}

/* S3, at the start: the core of a sole voter leads at once, in the term that it finds. */
static bool s3_needed(struct driver *d, struct blob conf)
{
        struct raft_configuration c;
        bool sole;

        if (conf.n == 0 || !guard_on(GUARD_S3) || conf_decode(conf, &c) < 0) return false;
        sole = conf_is_sole_voter(&c, d->id);
        raft_configuration_close(&c);
        return sole;
}

static int check_start(const struct store_start *s, struct blob *ret_conf, struct fail *f)
{
        uint64_t next = s->entries_n ? s->entries[0].index : 0;

        *ret_conf = s->snapshot.conf;
        if (s->snapshot.index && conf_check(s->snapshot.conf) < 0)
                return fail_set(f, E_CORRUPT, "the snapshot's configuration is damaged");
        if (s->entries_n && (next == 0 || next > s->snapshot.index + 1))
                return fail_set(f, E_CORRUPT, "the log begins behind the snapshot");
        for (uint64_t i = 0; i < s->entries_n; i++) {
                const struct log_entry *e = &s->entries[i];
                if (e->index != next + i || e->term == 0 || e->term > s->term)
                        return fail_set(f, E_CORRUPT, "the log has a hole or a term from the future");
                if (e->type != LOG_CHANGE) continue;
                if (conf_check(e->data) < 0)
                        return fail_set(f, E_CORRUPT, "a configuration in the log is damaged");
                if (e->index > s->snapshot.conf_index) *ret_conf = e->data;
        }
        if (!s->snapshot.index && s->entries_n && s->entries[0].type != LOG_CHANGE)
                return fail_set(f, E_CORRUPT, "the log does not begin with a configuration");
        if (s->applied.index > MAX(s->snapshot.index, s->entries_n ? next + s->entries_n - 1 : 0))
                return fail_set(f, E_CORRUPT, "the state is ahead of the log");
        if (s->applied.index < s->snapshot.index)
                return fail_set(f, E_CORRUPT, "the state is behind the snapshot");
        return 0;
}

static struct driver *driver_new(const struct driver_config *config)
{
        struct driver *d = xnew(struct driver);
        struct list *lists[] = { &d->held, &d->queue, &d->later, &d->batches, &d->noops, &d->waiting,
                &d->sent, &d->reads_new, &d->reads_asked, &d->reads_applying, &d->read_batches,
                &d->remotes_new, &d->done };

        for (unsigned i = 0; i < ARRAY_LEN(lists); i++) list_init(lists[i]);
        d->store = config->store;
        d->env = config->env;
        d->ops = *config->ops;
        d->arg = config->arg;
        d->id = config->id;
        d->name = xstrdup(config->name ? config->name : "");
        d->address = xstrdup(config->address ? config->address : "-");
        d->election_ms = config->election_ms ? config->election_ms : 500;
        d->heartbeat_ms = config->heartbeat_ms ? config->heartbeat_ms : 50;
        d->snapshot_entries = config->snapshot_entries ? config->snapshot_entries : 4096;
        d->snapshot_bytes = config->snapshot_bytes ? config->snapshot_bytes : (size_t)16 << 20;
        d->trailing_entries = config->trailing_entries ? config->trailing_entries : 512;
        d->append_entries = config->append_entries ? MIN(config->append_entries, APPEND_MAX) : APPEND_MAX;
        d->lazy = config->lazy;
        d->level_min = config->level_min ? config->level_min : LEVEL_MIN;
        d->level_max = config->level_max ? config->level_max : LEVEL_MAX;
        d->log_only = config->log_only;
        d->cache_bytes = config->cache_bytes ? config->cache_bytes : LOG_CACHE_BYTES;
        d->job_bytes = config->job_bytes ? config->job_bytes : JOB_BYTES_MAX;
        d->rng = config->seed | 1;
        d->scan_ms = UINT64_MAX;
        d->incarnation = d->env->wall_ms(d->env) << 16 | (env_random_u64(d->env) & 0xffff);
        d->transfer_no = d->incarnation >> 8;
        d->attempt = d->incarnation >> 8; /* answers to a former process are not taken for ours */
        d->read_seq = d->incarnation >> 8;
        jobs_init(d);
        snap_recv_init(d);
        return d;
}

int driver_open(const struct driver_config *config, struct driver **ret, struct fail *f)
{
        struct driver *d;
        struct blob conf = { 0 };
        int err;

        conf_heap_init();
        d = driver_new(config);
        d->start_arena.limit_bytes = (size_t)1 << 40;
        err = d->store->ops->load(d->store, &d->start_arena, &d->start, f);
        if (err == 0) err = check_start(&d->start, &conf, f);
        if (err == 0) err = level_start(d, f);
        if (err < 0) {
                arena_done(&d->start_arena);
                free(d->name);
                free(d->address);
                free(d);
                return err;
        }
        d->applied = d->start.applied;
        if (SABOTAGE(APPLY_TWICE)) d->applied.index = d->start.snapshot.index;
        d->applied_told = d->applied.index;
        hash_note(d, &d->applied);
        if (raft_init(&d->raft, NULL, NULL, d->id, d->address) != 0) abort();
        raft_seed(&d->raft, (unsigned)config->seed);
        raft_set_election_timeout(&d->raft, d->election_ms);
        raft_set_heartbeat_timeout(&d->raft, d->heartbeat_ms);
        raft_set_install_snapshot_timeout(&d->raft, 30000);
        raft_set_pre_vote(&d->raft, true);
        raft_set_capacity_threshold(&d->raft, 0);
        d->seen_state = -1;
        if (s3_needed(d, conf)) {
                d->start.term++;
                d->start.voted_for = d->id;
                d->job.sj = (struct store_job){ .set_vote = true,
                        .term = d->start.term,
                        .voted_for = d->id,
                        .done_cb = s3_done,
                        .data = d };
                d->job.busy = true;
                d->job.no = d->job_no++;
                d->store->ops->submit(d->store, &d->job.sj);
        } else {
                drv_enter(d);
                d->holding = true;
                step_start(d);
                d->dirty = true;
                drv_leave(d);
        }
        *ret = d;
        return 0;
}

void driver_close(struct driver *d)
{
        if (!d) return;
        d->depth++;
        d->closing = true;
        if (!d->fatal) d->fatal = E_CANCELED;
        d->fatal_told = true;
        d->leading = false;
        batch_lost(d);
        snap_send_stop_all(d);
        member_finish(d, E_CANCELED, "closed");
        forward_close(d);
        read_close(d);
        while (!list_empty(&d->done)) {
                struct done *done = list_first(&d->done, struct done, node);
                list_remove(&done->node);
                call_done(done);
        }
        while (!list_empty(&d->held)) {
                struct held_frame *h = list_first(&d->held, struct held_frame, node);
                list_remove(&h->node);
                free(h);
        }
        raft_close(&d->raft, NULL);
        jobs_done(d);
        snap_recv_close(d);
        log_cache_done(&d->log);
        arena_done(&d->rx);
        arena_done(&d->eval);
        arena_done(&d->start_arena);
        buf_done(&d->frame);
        free(d->name);
        free(d->address);
        free(d);
}

void drv_process_dies(struct driver *d)
{
        snap_send_stop_all(d);
        if (d->view) d->store->ops->read_end(d->store, d->view);
        d->view = NULL;
        if (!d->fatal) d->fatal = E_CANCELED;
        d->fatal_told = true;
}

/* ---- status ---- */

static bool heard(const struct driver *d, uint64_t ms) { return ms != 0 && drv_now(d) < ms + d->election_ms; }

static bool has_quorum(const struct driver *d)
{
        const struct raft_configuration *c = &d->raft.configuration;
        unsigned n = 0;

        if (!d->leading) return drv_leader(d) != 0 && heard(d, d->leader_heard_ms);
        for (unsigned i = 0; i < c->n; i++) {
                const struct peer *p = peer_find((struct driver *)(uintptr_t)d, c->servers[i].id);
                if (c->servers[i].role == RAFT_VOTER)
                        n += c->servers[i].id == d->id || (p && heard(d, p->heard_ms));
        }
        return n > conf_voters(c) / 2;
}

static void member_status(struct driver *d, const struct raft_server *s, struct driver_member *ret)
{
        const struct peer *p = peer_find((struct driver *)(uintptr_t)d, s->id);
        raft_index match = 0;

        *ret = (struct driver_member){ .id = s->id, .role = conf_role_from_core(s->role) };
        strncpy(ret->address, s->address, sizeof(ret->address) - 1);
        if (d->leading) {
                if (raft_match_index(&d->raft, s->id, &match) == 0) ret->match_index = match;
                ret->catching_up = d->change.active && d->change.catching_up && d->change.id == s->id;
        }
        if (s->id == d->id) {
                driver_release(d, &ret->release);
                ret->link_up = true;
                ret->last_contact_ms = drv_now(d);
        } else if (p) {
                ret->release = p->release;
                ret->link_up = p->link_up;
                ret->last_contact_ms = p->heard_ms;
                ret->receiving_snapshot = p->snap.active;
                ret->log_only = p->log_only;
                ret->starved = p->starved_ms != 0 && drv_now(d) < p->starved_ms + STARVED_MS &&
                               (d->leading || drv_leader(d) == 0);
        }
}

void driver_status(struct driver *d, struct driver_status *ret)
{
        struct driver *w = (struct driver *)(uintptr_t)d;

        *ret = (struct driver_status){
                .id = d->id, .term = raft_current_term(&d->raft), .leader_id = drv_leader(d)
        };
        ret->last_index = d->started ? raft_last_index(&w->raft) : 0;
        ret->commit_index = raft_commit_index(&d->raft);
        ret->applied_index = d->applied.index;
        ret->snapshot_index = d->snapshot_index;
        ret->state = d->leading                        ? DRIVER_LEADER
                     : d->raft.state == RAFT_CANDIDATE ? DRIVER_CANDIDATE
                                                       : DRIVER_FOLLOWER;
        if (!conf_find(&d->raft.configuration, d->id)) ret->state = d->leading ? DRIVER_LEADER : DRIVER_IDLE;
        memcpy(ret->state_hash, d->applied.hash, sizeof(ret->state_hash));
        ret->hash_index = d->applied.writeset_index;
        ret->has_quorum = has_quorum(d);
        if (ret->has_quorum) w->no_quorum_since_ms = 0;
        else if (w->no_quorum_since_ms == 0) w->no_quorum_since_ms = drv_now(d);
        ret->no_quorum_since_ms = w->no_quorum_since_ms;
        ret->disk_full = d->store->ops->is_full(d->store);
        for (unsigned i = 0; i < d->raft.configuration.n && i < ARRAY_LEN(ret->members); i++)
                member_status(d, &d->raft.configuration.servers[i], &ret->members[ret->members_n++]);
}
