/* The core: feeding events to raft_step, carrying out what its updates demand, and the guards that stand
 * between.
 *
 * Order after each step, before the next one: vote and term into the next store job (frames are held from
 * then on until it is durable), entries into the log cache and the next job, a snapshot to install, messages.
 * State and commit index are looked at by the pump. Memory that the core shares comes from its own allocator;
 * entry data is copied at once. */
#include <stdlib.h>
#include <string.h>

#include "raftctl/driver_int.h"
#include "wire/base/sabotage.h"

#define ADDRESS "-" /* the core hands addresses through; frames go by id */

uint64_t step_term_of(const struct driver *d, uint64_t index)
{
        const struct entry *e = log_cache_get(&d->log, index);

        if (e) return e->term;
        if (index == d->applied.index) return d->applied.term;
        return index == d->snapshot_index ? d->snapshot_term : 0;
}

void step_send_entries(
        struct driver *d, uint64_t to, enum raft_frame kind, const struct raft_append_entries *a)
{
        uint64_t prev = a->prev_log_index, prev_term = a->prev_log_term, left = a->n_entries;
        struct rf_entry entries[APPEND_MAX];
        struct arena scratch = { 0 };

        do {
                struct rf_append f = { 0 };
                struct log_entry *rows = NULL;
                uint32_t rows_n = 0, n = 0;
                size_t bytes = 0;
                if (left > 0 && !log_cache_get(&d->log, prev + 1)) {
                        uint64_t until = MIN(prev + left, d->log.first - 1);
                        if (d->store->ops->read_log(d->store, prev + 1, until, FRAME_APPEND_BYTES, &scratch,
                                    &rows, &rows_n) < 0)
                                break; /* trimmed meanwhile: the core will find that a snapshot is needed */
                }
                while (n < left && n < d->append_entries && (n == 0 || bytes < FRAME_APPEND_BYTES)) {
                        struct entry *e = rows ? NULL : log_cache_get(&d->log, prev + 1 + n);
                        struct blob data = rows && n < rows_n ? rows[n].data
                                           : e                ? BLOB(e->data, e->n)
                                                              : BLOB(NULL, 0);
                        if (rows ? n >= rows_n : !e) break;
                        entries[n] = (struct rf_entry){ 0 };
                        SET(&entries[n], rf_entry, term, rows ? rows[n].term : e->term);
                        SET(&entries[n], rf_entry, type, rows ? rows[n].type : e->type);
                        SET(&entries[n], rf_entry, data, data);
                        bytes += data.n;
                        n++;
                }
                if (left > 0 && n == 0) break;
                SET(&f, rf_append, term, a->term);
                SET(&f, rf_append, prev_index, prev);
                SET(&f, rf_append, prev_term, prev_term);
                SET(&f, rf_append, commit, a->leader_commit);
                SET(&f, rf_append, epoch, d->epoch);
                if (n) SET(&f, rf_append, entries, entries);
                f.entries_n = n;
                peer_send(d, to, CHANNEL_RAFT, kind, &f);
                prev += n;
                if (n) prev_term = entries[n - 1].term;
                left -= n;
        } while (left > 0);
        arena_done(&scratch);
}

void step_tell_commit(struct driver *d, uint64_t to)
{
        raft_index match = 0;
        uint64_t term;
        struct rf_append f = { 0 };

        if (raft_match_index(&d->raft, to, &match) != 0 || match == 0) return;
        term = step_term_of(d, match);
        if (term == 0) return;
        SET(&f, rf_append, term, d->lead_term);
        SET(&f, rf_append, prev_index, match);
        SET(&f, rf_append, prev_term, term);
        SET(&f, rf_append, commit, raft_commit_index(&d->raft));
        SET(&f, rf_append, epoch, d->epoch);
        peer_send(d, to, CHANNEL_RAFT, raft_frame_APPEND, &f);
}

static void send_result(struct driver *d, const struct raft_message *m)
{
        const struct raft_append_entries_result *r = &m->append_entries_result;
        const struct peer *p = peer_find(d, m->server_id);
        struct rf_append_result f = { 0 };

        SET(&f, rf_append_result, term, r->term);
        SET(&f, rf_append_result, rejected, SABOTAGE(ACK_HOLE) ? 0 : r->rejected);
        /* When the term is refused the core leaves the field unset. */
        uint64_t last = raft_last_index(&d->raft);
        SET(&f, rf_append_result, last_index, d->stale_append ? last : MIN(r->last_log_index, last));
        if (SABOTAGE(ACK_HOLE) && r->rejected) f.last_index = r->rejected;
        if (p && p->epoch_seen_term == r->term) SET(&f, rf_append_result, epoch, p->epoch_seen);
        if (d->store->ops->is_full(d->store)) SET(&f, rf_append_result, full, true);
        if (d->log_only) SET(&f, rf_append_result, log_only, true);
        hash_fill(d, &f);
        peer_send(d, m->server_id, CHANNEL_RAFT, raft_frame_APPEND_RESULT, &f);
}

static void send_vote(struct driver *d, const struct raft_message *m)
{
        struct rf_vote f = { 0 };

        SET(&f, rf_vote, term, m->request_vote.term);
        SET(&f, rf_vote, last_index, m->request_vote.last_log_index);
        SET(&f, rf_vote, last_term, m->request_vote.last_log_term);
        SET(&f, rf_vote, disrupt, m->request_vote.disrupt_leader);
        SET(&f, rf_vote, pre, m->request_vote.pre_vote);
        SET(&f, rf_vote, commit, raft_commit_index(&d->raft));
        peer_send(d, m->server_id, CHANNEL_RAFT, raft_frame_VOTE, &f);
}

static void send_vote_result(struct driver *d, const struct raft_message *m)
{
        struct rf_vote_result f = { 0 };

        SET(&f, rf_vote_result, term, m->request_vote_result.term);
        /* P1: the core echoes the term of the question. A candidate with the longest log and an old term
         * would never learn that it must raise its term, and nobody else can be elected. */
        if (guard_on(GUARD_P1) && m->request_vote_result.pre_vote && !m->request_vote_result.vote_granted)
                f.term = MAX(f.term, raft_current_term(&d->raft));
        SET(&f, rf_vote_result, granted, m->request_vote_result.vote_granted);
        SET(&f, rf_vote_result, pre, m->request_vote_result.pre_vote);
        peer_send(d, m->server_id, CHANNEL_RAFT, raft_frame_VOTE_RESULT, &f);
}

static void send_timeout_now(struct driver *d, const struct raft_message *m)
{
        struct rf_timeout_now f = { 0 };

        SET(&f, rf_timeout_now, term, m->timeout_now.term);
        SET(&f, rf_timeout_now, last_index, m->timeout_now.last_log_index);
        SET(&f, rf_timeout_now, last_term, m->timeout_now.last_log_term);
        peer_send(d, m->server_id, CHANNEL_RAFT, raft_frame_TIMEOUT_NOW, &f);
}

static void send_message(struct driver *d, const struct raft_message *m)
{
        switch ((unsigned)m->type) {
        case RAFT_APPEND_ENTRIES:
                step_send_entries(d, m->server_id, raft_frame_APPEND, &m->append_entries);
                break;
        case RAFT_APPEND_ENTRIES_RESULT: send_result(d, m); break;
        case RAFT_REQUEST_VOTE: send_vote(d, m); break;
        case RAFT_REQUEST_VOTE_RESULT: send_vote_result(d, m); break;
        case RAFT_INSTALL_SNAPSHOT: snap_send_start(d, m->server_id, m->install_snapshot.last_index); break;
        case RAFT_TIMEOUT_NOW: send_timeout_now(d, m); break;
        default: break;
        }
}

void step_set_timer(struct driver *d, uint64_t now)
{
        uint64_t t = raft_timeout(&d->raft);

        /* L4: after a demotion to spare the core's timeout stays in the past. */
        if (t <= now && guard_on(GUARD_L4)) t = now + MAX(1, d->heartbeat_ms / 2);
        d->timer_ms = t;
}

int step_core(struct driver *d, struct raft_event *e)
{
        struct raft_update u = { 0 };
        int rv;

        if (d->fatal) return RAFT_SHUTDOWN;
        e->time = drv_now(d);
        rv = raft_step(&d->raft, e, &u);
        d->dirty = true;
        if (rv != 0) {
                if (e->type != RAFT_SUBMIT && e->type != RAFT_TRANSFER)
                        drv_fatal(d, E_CORRUPT,
                                rv == RAFT_SHUTDOWN ? "a committed entry conflicts with the leader's"
                                                    : "the core failed");
                return rv;
        }
        if (u.flags & (RAFT_UPDATE_CURRENT_TERM | RAFT_UPDATE_VOTED_FOR)) jobs_vote(d);
        if (u.flags & (RAFT_UPDATE_ENTRIES)) jobs_entries(d, &u);
        if (u.flags & (RAFT_UPDATE_SNAPSHOT)) jobs_install(d, &u);
        if (u.flags & (RAFT_UPDATE_MESSAGES))
                for (unsigned i = 0; i < u.messages.n; i++) send_message(d, &u.messages.batch[i]);
        step_set_timer(d, e->time);
        return 0;
}

int step_submit(struct driver *d, uint8_t type, struct blob data, uint64_t *ret_index)
{
        static const uint8_t nothing[8];
        struct raft_entry entry = { .term = raft_current_term(&d->raft), .type = (enum raft_entry_type)type };
        struct raft_event e = { .type = RAFT_SUBMIT };
        uint64_t index = raft_last_index(&d->raft) + 1;
        int rv;

        /* The core looks into the data of changes only; a token stands for the batch that it might free. */
        entry.buf.base = (void *)(uintptr_t)(data.n ? data.p : nothing);
        entry.buf.len = data.n ? data.n : sizeof(nothing);
        entry.batch = raft_malloc(1);
        e.submit.entries = &entry;
        e.submit.n = 1;
        rv = step_core(d, &e);
        if (rv != 0) {
                raft_free(entry.batch);
                return rv == RAFT_NOTLEADER    ? E_NOT_LEADER
                       : rv == RAFT_CANTCHANGE ? E_BUSY
                       : rv == RAFT_NOSPACE    ? E_NO_SPACE
                                               : E_INVALID;
        }
        if (ret_index) *ret_index = index;
        return 0;
}

/* S3: a sole voter elects itself without a new term, and could so lead a term in which it, or the leader that
 * made it the sole voter, has sent entries before. */
static void sole_voter_term(struct driver *d)
{
        struct raft *r = &d->raft;

        if (!guard_on(GUARD_S3) || r->state != RAFT_FOLLOWER || !conf_is_sole_voter(&r->configuration, d->id))
                return;
        if (r->snapshot.installing || r->last_stored < raft_last_index(r)) return;
        r->current_term++;
        r->voted_for = d->id;
        jobs_vote(d);
}

/* A witness stands late, so that somebody who keeps the state does before. Not when it has seen that nobody else can
 * win; and not soon after it has led in vain. */
static bool waits(const struct driver *d, uint64_t now)
{
        if (!d->lazy || d->raft.state != RAFT_FOLLOWER || conf_is_sole_voter(&d->raft.configuration, d->id))
                return false;
        if (now < d->aside_ms) return true;
        if (d->needed_ms != 0 && now < d->needed_ms + 2 * d->election_ms) return false;
        return now < d->leader_heard_ms + 3 * d->election_ms;
}

/* A member may take a new term at any time, as if it had heard of it; the core follows when it hears of one. */
void step_aside(struct driver *d)
{
        struct raft_message msg = { .type = RAFT_APPEND_ENTRIES_RESULT };
        struct raft_event e = { .type = RAFT_RECEIVE };

        d->aside_ms = drv_now(d) + ASIDE_FOR * (uint64_t)d->election_ms;
        d->needed_ms = 0;
        for (unsigned i = 0; i < d->raft.configuration.n; i++)
                if (d->raft.configuration.servers[i].id != d->id)
                        msg.server_id = d->raft.configuration.servers[i].id;
        if (msg.server_id == 0) return;
        msg.server_address = ADDRESS;
        msg.append_entries_result.version = 2;
        msg.append_entries_result.term = raft_current_term(&d->raft) + 1;
        e.receive.message = &msg;
        (void)step_core(d, &e);
}

void step_timeout(struct driver *d, uint64_t now)
{
        struct raft_event e = { .type = RAFT_TIMEOUT };

        if (d->raft.state != RAFT_LEADER && now >= raft_timeout(&d->raft)) {
                if (waits(d, now)) {
                        d->raft.election_timer_start = now;
                        step_set_timer(d, now);
                        return;
                }
                sole_voter_term(d);
                elect_round(d, now);
        }
        (void)step_core(d, &e);
}

void step_conf_commit(struct driver *d)
{
        while (!d->fatal && d->started) {
                uint64_t index = d->raft.configuration_uncommitted_index;
                struct raft_event e = { .type = RAFT_CONFIGURATION };
                if (index == 0 || (d->installing && guard_on(GUARD_N2))) return;
                if (index > MAX(raft_commit_index(&d->raft), d->applied.index)) return;
                e.configuration.index = index;
                conf_copy(&d->raft.configuration, &e.configuration.conf);
                (void)step_core(d, &e);
                d->state_changed = true;
                if (d->raft.configuration_uncommitted_index == index) return;
        }
}

bool step_conf_at(
        const struct driver *d, uint64_t index, const struct raft_configuration **ret, uint64_t *ret_index)
{
        const struct raft *r = &d->raft;

        if (r->configuration_uncommitted_index != 0 && r->configuration_uncommitted_index <= index) {
                *ret = &r->configuration;
                *ret_index = r->configuration_uncommitted_index;
                return true;
        }
        if (r->configuration_committed_index == 0 || r->configuration_committed_index > index) return false;
        *ret = &r->configuration_committed;
        *ret_index = r->configuration_committed_index;
        return true;
}

/* ---- receiving ---- */

static void receive(struct driver *d, struct raft_message *m, uint64_t from)
{
        struct raft_event e = { .type = RAFT_RECEIVE };

        m->server_id = from;
        m->server_address = ADDRESS;
        e.receive.message = m;
        (void)step_core(d, &e);
}

/* One piece of an append; the data stays in the receive arena, a token stands for the batch. */
static void receive_append(struct driver *d, struct peer *p, const struct rf_append *m, uint64_t prev,
        uint64_t prev_term, uint32_t from, uint32_t to)
{
        struct raft_message msg = { .type = RAFT_APPEND_ENTRIES };
        struct raft_append_entries *a = &msg.append_entries;
        struct raft_entry *entries = NULL;
        uint32_t n = to - from;

        a->term = m->term;
        a->prev_log_index = prev;
        a->prev_log_term = prev_term;
        a->leader_commit = m->commit;
        a->n_entries = n;
        /* C1: the core moves its commit index back to the end of a message that says of a higher one. */
        if (guard_on(GUARD_C1) && prev + n < raft_commit_index(&d->raft))
                a->leader_commit = MIN(m->commit, raft_commit_index(&d->raft));
        if (n) {
                void *token = raft_malloc(1);
                entries = xcalloc(n, sizeof(*entries));
                for (uint32_t i = 0; i < n; i++) {
                        const struct rf_entry *e = &m->entries[from + i];
                        entries[i].term = e->term;
                        entries[i].type = (enum raft_entry_type)e->type;
                        entries[i].buf.base = (void *)(uintptr_t)e->data.p;
                        entries[i].buf.len = e->data.n;
                        entries[i].batch = token;
                }
        }
        a->entries = entries;
        receive(d, &msg, p->id);
        free(entries);
}

/* S1: the core files a change of the configuration under the index of the first new entry of its message. */
static void receive_split(struct driver *d, struct peer *p, const struct rf_append *m, uint64_t prev,
        uint64_t prev_term, uint32_t from)
{
        uint32_t n = m->entries_n, at = from;

        do {
                uint32_t to = at;
                if (to < n) to++;
                while (to < n && (m->entries[to].type != LOG_CHANGE || !guard_on(GUARD_S1))) to++;
                receive_append(d, p, m, prev, prev_term, at, to);
                prev += to - at;
                if (to > at) prev_term = m->entries[to - 1].term;
                at = to;
        } while (at < n && !d->fatal);
}

void step_feed(struct driver *d, struct peer *p, const struct rf_append *m)
{
        receive_split(d, p, m, m->prev_index, m->prev_term, 0);
}

/* KEEP: the core guards its commit index, which begins anew at each start; what is applied was committed as well. Entries
 * that say otherwise come from a cluster that has lost them, or of which this member is no part any more. */
static bool contradicts(const struct driver *d, const struct rf_append *m)
{
        uint64_t kept = MAX(raft_commit_index(&d->raft), d->applied.index), index = m->prev_index;

        if (!guard_on(GUARD_KEEP) || d->installing || m->term < raft_current_term(&d->raft)) return false;
        if (index >= kept || step_term_of(d, index) != m->prev_term) return false;
        for (uint32_t i = 0; i < m->entries_n && ++index <= kept; i++) {
                uint64_t term = step_term_of(d, index);
                if (term != 0 && term != m->entries[i].term) return true;
        }
        return false;
}

static void on_append(struct driver *d, struct peer *p, const struct rf_append *m)
{
        uint64_t prev = m->prev_index, prev_term = m->prev_term, offset = d->raft.trail.offset;
        struct rf_append cut = *m;
        uint32_t from = 0;

        if (d->raft.state == RAFT_LEADER && m->term == raft_current_term(&d->raft))
                return; /* cannot be; the core would break */
        if (contradicts(d, m)) {
                drv_fatal(d, E_CORRUPT, "the leader's log contradicts what was committed here");
                return;
        }
        if (m->term >= raft_current_term(&d->raft)) {
                elect_leader_heard(d);
                d->heard_term = m->term;
                p->epoch_seen = m->epoch;
                p->epoch_seen_term = m->term;
        }
        if (d->store->ops->is_full(d->store)) cut.entries_n = 0;
        /* L1: what lies below the snapshot is committed and equal; the core would refuse it for ever. */
        if (guard_on(GUARD_L1) && prev < offset && d->raft.trail.snapshot.index >= offset) {
                uint64_t to = d->raft.trail.snapshot.index;
                from = (uint32_t)MIN(to - prev, cut.entries_n);
                prev = to;
                prev_term = d->raft.trail.snapshot.term;
                if (prev_term > m->term) return;
                if (from < cut.entries_n && cut.entries[from].term < prev_term) return; /* nonsense */
        }
        d->stale_append = m->term < raft_current_term(&d->raft);
        receive_split(d, p, &cut, prev, prev_term, from);
        d->stale_append = false;
}

/* For COMMIT_OLD_TERM and, with standbys, STANDBY_COUNTS. */
static void commit_by_count(struct driver *d, bool standbys)
{
        const struct raft_configuration *c = &d->raft.configuration;
        raft_index at[CONF_MEMBERS_MAX] = { 0 };

        for (unsigned i = 0; i < c->n; i++)
                if (c->servers[i].role == RAFT_VOTER || standbys)
                        (void)raft_match_index(&d->raft, c->servers[i].id, &at[i]);
        for (unsigned i = 0; i < c->n; i++) {
                unsigned n = 0;
                for (unsigned k = 0; k < c->n; k++) n += at[k] >= at[i];
                if (n > conf_voters(c) / 2 && (!standbys || step_term_of(d, at[i]) == d->lead_term))
                        d->raft.commit_index = MAX(d->raft.commit_index, at[i]);
        }
}

static void on_result(struct driver *d, struct peer *p, const struct rf_append_result *m)
{
        struct raft_message msg = { .type = RAFT_APPEND_ENTRIES_RESULT };
        raft_index match = 0;

        p->full = m->full;
        p->log_only = m->log_only;
        msg.append_entries_result.version = 2;
        msg.append_entries_result.term = m->term;
        msg.append_entries_result.rejected = m->rejected;
        msg.append_entries_result.last_log_index = m->last_index;
        /* L1: a stale rejection below the match index would make the count of entries in flight wrap. */
        if (guard_on(GUARD_L1) && m->rejected > 0 && d->raft.state == RAFT_LEADER &&
                m->term == raft_current_term(&d->raft)) {
                (void)raft_match_index(&d->raft, p->id, &match);
                if (m->rejected <= match) return;
        }
        if (m->rejected > 0) snap_on_refusal(d, p, &msg.append_entries_result);
        receive(d, &msg, p->id);
        if (d->leading && raft_match_index(&d->raft, p->id, &match) == 0) snap_on_match(d, p, match);
        if ((SABOTAGE(COMMIT_OLD_TERM) || SABOTAGE(STANDBY_COUNTS)) && d->leading)
                commit_by_count(d, SABOTAGE(STANDBY_COUNTS));
        if (d->leading && m->term == d->lead_term) {
                read_ack(d, p, m->term, m->epoch);
                hash_on_report(d, p, m);
        }
}

static void on_vote(struct driver *d, struct peer *p, const struct rf_vote *m)
{
        struct raft_message msg = { .type = RAFT_REQUEST_VOTE };
        struct raft_server *self;
        int role;

        /* N5: the core refuses votes as long as it remembers a leader, not as long as it hears one. */
        if (guard_on(GUARD_N5) && d->raft.state == RAFT_FOLLOWER &&
                drv_now(d) >= d->leader_heard_ms + d->election_ms)
                d->raft.follower_state.current_leader.id = 0;
        msg.request_vote.version = 2;
        msg.request_vote.term = m->term;
        msg.request_vote.candidate_id = p->id;
        msg.request_vote.last_log_index = m->last_index;
        msg.request_vote.last_log_term = SABOTAGE(VOTE_BEHIND) ? m->term : m->last_term;
        msg.request_vote.disrupt_leader = m->disrupt;
        msg.request_vote.pre_vote = m->pre;
        if (d->lazy && d->raft.state == RAFT_FOLLOWER) {
                uint64_t last = raft_last_index(&d->raft), last_term = step_term_of(d, last);
                bool newer = last_term > m->last_term || (last_term == m->last_term && last > m->last_index);
                if (newer && conf_is_voter(&d->raft.configuration, p->id)) d->needed_ms = drv_now(d);
        }
        /* V1: the core of a standby refuses to vote, yet a leader that has made it a voter and lost its place
         * before the entry got out cannot be elected without it, and nobody else can. The candidate's
         * configuration decides whose vote counts. */
        self = (struct raft_server *)(uintptr_t)conf_find(&d->raft.configuration, d->id);
        role = self ? self->role : 0;
        if (self && guard_on(GUARD_V1)) self->role = RAFT_VOTER;
        receive(d, &msg, p->id);
        if (self) self->role = role;
        elect_teach(d, p, m);
}

static void on_vote_result(struct driver *d, struct peer *p, const struct rf_vote_result *m)
{
        struct raft_message msg = { .type = RAFT_REQUEST_VOTE_RESULT };

        msg.request_vote_result.version = 2;
        msg.request_vote_result.term = m->term;
        msg.request_vote_result.vote_granted = m->granted;
        msg.request_vote_result.pre_vote = m->pre;
        receive(d, &msg, p->id);
        if (!m->granted && !d->fatal) elect_refused(d);
}

static void on_timeout_now(struct driver *d, struct peer *p, const struct rf_timeout_now *m)
{
        struct raft_message msg = { .type = RAFT_TIMEOUT_NOW };

        /* S3: it would lead the same term; let the timer do it. */
        if (guard_on(GUARD_S3) && conf_is_sole_voter(&d->raft.configuration, d->id)) {
                if (d->raft.state == RAFT_FOLLOWER) d->raft.election_timer_start = 0;
                return;
        }
        msg.timeout_now.term = m->term;
        msg.timeout_now.last_log_index = m->last_index;
        msg.timeout_now.last_log_term = m->last_term;
        receive(d, &msg, p->id);
}

static void on_confirm_ack(struct driver *d, struct peer *p, const struct rf_confirm_ack *m)
{
        read_ack(d, p, m->term, m->epoch);
}

void step_receive(struct driver *d, struct peer *p, enum raft_frame kind, const void *msg)
{
        p->heard_ms = drv_now(d);
        switch ((unsigned)kind) {
        case raft_frame_VOTE: on_vote(d, p, msg); break;
        case raft_frame_VOTE_RESULT: on_vote_result(d, p, msg); break;
        case raft_frame_APPEND: on_append(d, p, msg); break;
        case raft_frame_APPEND_RESULT: on_result(d, p, msg); break;
        case raft_frame_TIMEOUT_NOW: on_timeout_now(d, p, msg); break;
        case raft_frame_CONFIRM: read_on_confirm(d, p, msg); break;
        case raft_frame_CONFIRM_ACK: on_confirm_ack(d, p, msg); break;
        case raft_frame_READ: read_on_ask(d, p, msg); break;
        case raft_frame_READ_REPLY: read_on_reply(d, p, msg); break;
        case raft_frame_FORWARD: forward_on_request(d, p, msg); break;
        case raft_frame_FORWARD_REPLY: forward_on_reply(d, p, msg); break;
        case raft_frame_LESSON: elect_on_lesson(d, p, msg); break;
        case raft_frame_FENCE: hash_on_fence(d, msg); break;
        case raft_frame_SNAP_BEGIN: snap_on_begin(d, p, msg); break;
        case raft_frame_SNAP_CHUNK: snap_on_chunk(d, p, msg); break;
        case raft_frame_SNAP_ACK: snap_on_ack(d, p, msg); break;
        default: break;
        }
}

/* ---- start ---- */

/* Where snapshots would have been taken, had this process written the log: it stays bounded over restarts. */
static void trim_points(struct driver *d, const struct store_start *s)
{
        size_t bytes = 0, n = 0;

        for (uint64_t i = 0; i < s->entries_n && s->entries[i].index <= s->snapshot.index; i++) {
                bytes += s->entries[i].data.n;
                if (bytes < d->snapshot_bytes && ++n < d->snapshot_entries) continue;
                bytes = n = 0;
                memmove(d->trim_points, d->trim_points + 1, (TRIM_POINTS - 1) * sizeof(d->trim_points[0]));
                d->trim_points[TRIM_POINTS - 1] = s->entries[i].index;
        }
}

void step_start(struct driver *d)
{
        struct raft_event e = { .type = RAFT_START };
        struct raft_snapshot_metadata meta = { 0 };
        struct store_start *s = &d->start;
        struct raft_entry *entries = NULL;
        uint64_t start_index = s->entries_n ? s->entries[0].index : s->snapshot.index + 1;

        log_cache_reset(&d->log, start_index);
        if (s->entries_n) entries = xcalloc(s->entries_n, sizeof(*entries));
        if (SABOTAGE(CUT_TAIL) && s->entries_n > 1) s->entries_n--;
        for (uint64_t i = 0; i < s->entries_n; i++) {
                const struct log_entry *le = &s->entries[i];
                entries[i].term = le->term;
                entries[i].type = (enum raft_entry_type)le->type;
                entries[i].buf.base = (void *)(uintptr_t)le->data.p;
                entries[i].buf.len = le->data.n;
                if (le->data.p == NULL && le->data.n != 0) { /* left out */
                        log_cache_reset(&d->log, le->index + 1);
                        continue;
                }
                log_cache_append(&d->log, entry_new(le->index, le->term, le->type, le->data));
                log_cache_evict(&d->log, s->applied.index, d->cache_bytes);
        }
        if (d->log_only) trim_points(d, s);
        d->store_last = d->log.last;
        d->snapshot_index = s->snapshot.index;
        d->snapshot_term = s->snapshot.term;
        if (s->snapshot.index) {
                meta.index = s->snapshot.index;
                meta.term = s->snapshot.term;
                meta.configuration_index = s->snapshot.conf_index;
                if (conf_decode(s->snapshot.conf, &meta.configuration) < 0)
                        abort(); /* driver_open has checked it */
                e.start.metadata = &meta;
        }
        e.start.term = s->term;
        e.start.voted_for = s->voted_for;
        e.start.start_index = start_index;
        e.start.entries = entries;
        e.start.n_entries = (unsigned)s->entries_n;
        d->started = true;
        d->leader_heard_ms = drv_now(d);
        d->heard_term = s->term;
        (void)step_core(d, &e);
        elect_first(d);
        free(entries);
        arena_done(&d->start_arena);
}
