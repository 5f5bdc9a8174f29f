/* Elections beyond what the core does: when to stand, when to try again, and how a member that the others
 * need as their leader comes to the entries that it lacks.
 *
 * Happy path: silence for the core's timer, or a link that the leader's process closed -> question in advance
 * -> vote -> leader. A refusal shortens the wait for the next round (RETRY), more so in the first rounds: two
 * that stood at the same time, or a voter that heard the leader a moment longer. Each round begins with the
 * question in advance: nobody's term rises because somebody cannot hear the leader.
 *
 * Lessons (LEARN): where links are missing, the only member with a majority around it may have an older log
 * than those whose votes it needs, and they reach nobody but it. Nothing in Raft helps them. So a voter that
 * has no leader and is asked by a member with an older log sends it the entries that it lacks.
 *
 * Why that is safe. What A takes over makes its log equal to a prefix of what X had, and more up to date than
 * its own was. (1) No entry that is or will be committed is lost: let e be committed in term U, with A's
 * acknowledgement. A's last term was then U or later, and so is the last term of X's prefix. Equal to U: both
 * are prefixes of the log of U's leader and X's is the longer one. Later than U: the leader of that later
 * term was elected by a majority, one of which had acknowledged e before; it had e, and so has every log with
 * an entry of its making. (2) What A has told a leader stays true: in a term in which A has taken entries
 * from a leader (heard_term) a lesson only adds to its log, and the core's match index, which it reports, is
 * left where it was. In a term of which A has heard no leader it has told nobody anything. (3) Lessons do not
 * move the commit index, renew no leader's lease, and give no votes. */
#include <stdlib.h>

#include "raftctl/driver_int.h"

#define LESSON_ENTRIES 64
#define BACKOFF_MAX 4 /* doublings */

/* ---- when to stand ---- */

static bool may_stand(const struct driver *d)
{
        return d->raft.state == RAFT_FOLLOWER && conf_is_voter(&d->raft.configuration, d->id);
}

/* Makes a follower stand for election after delay_ms, unless a leader is heard before. */
static void stand_after(struct driver *d, uint64_t now, uint64_t delay_ms)
{
        struct raft *r = &d->raft;

        r->follower_state.current_leader.id = 0;
        r->election_timer_start =
                now + delay_ms - r->follower_state.randomized_election_timeout; /* may wrap, and back */
        step_set_timer(d, now);
        d->dirty = true;
}

void elect_early(struct driver *d)
{
        uint64_t now = drv_now(d), jitter = d->heartbeat_ms / 5 + drv_random(d) % MAX(1, 2 * d->heartbeat_ms);

        if (!may_stand(d)) return;
        if (d->fast_ms != 0 && now < d->fast_ms + d->election_ms) return;
        d->fast_ms = now;
        stand_after(d, now, jitter);
}

/* A member that has just started knows no leader. When all of them start together there is none, and nothing
 * is gained by a whole election timeout; when there is one, it is heard before, or the question in advance is
 * refused. */
void elect_first(struct driver *d)
{
        uint64_t delay_ms = 2 * d->heartbeat_ms + drv_random(d) % MAX(1, 4 * d->heartbeat_ms);

        if (!guard_on(GUARD_FAST) || d->lazy || !may_stand(d)) return;
        if (conf_is_sole_voter(&d->raft.configuration, d->id)) return;
        stand_after(d, drv_now(d), delay_ms);
}

/* ---- again ---- */

void elect_round(struct driver *d, uint64_t now)
{
        struct raft *r = &d->raft;

        d->round_ms = now;
        d->round_refused = false;
        if (!guard_on(GUARD_RETRY) || r->state != RAFT_CANDIDATE) return;
        /* The core goes on with votes, in a new term each time, and with the old leader's permission. */
        r->candidate_state.in_pre_vote = true;
        r->candidate_state.disrupt_leader = false;
}

void elect_refused(struct driver *d)
{
        struct raft *r = &d->raft;
        uint64_t now = drv_now(d), wait_ms, due;

        if (!guard_on(GUARD_RETRY) || d->lazy || d->round_refused || drv_leader(d) != 0) return;
        if (r->state != RAFT_CANDIDATE && !may_stand(d)) return;
        d->round_refused = true;
        /* Longer than the round has taken so far: slow disks make slow votes. */
        wait_ms = MAX(MAX(1, d->heartbeat_ms), 2 * (now - d->round_ms)) << MIN(d->refused_n, BACKOFF_MAX);
        d->refused_n++;
        due = now + wait_ms + drv_random(d) % wait_ms;
        if (due >= raft_timeout(r)) return;
        if (r->state == RAFT_FOLLOWER) {
                stand_after(d, now, due - now);
                return;
        }
        r->election_timer_start = due - r->candidate_state.randomized_election_timeout;
        step_set_timer(d, now);
}

void elect_leader_heard(struct driver *d)
{
        d->leader_heard_ms = drv_now(d);
        d->refused_n = 0;
        d->learning = false;
}

/* ---- lessons ---- */

static bool newer(uint64_t term, uint64_t index, uint64_t than_term, uint64_t than_index)
{
        return term != than_term ? term > than_term : index > than_index;
}

static bool leaderless(const struct driver *d)
{
        return d->raft.state != RAFT_LEADER && drv_leader(d) == 0 && !d->installing;
}

void elect_teach(struct driver *d, struct peer *p, const struct rf_vote *m)
{
        uint64_t last = raft_last_index(&d->raft), from = m->last_index;

        if (!guard_on(GUARD_LEARN) || !m->pre || !leaderless(d)) return;
        if (!conf_is_voter(&d->raft.configuration, p->id)) return;
        if (!newer(step_term_of(d, last), last, m->last_term, m->last_index)) return;
        /* From its end when that is ours as well, else from where it is sure. */
        if (from == 0 || step_term_of(d, from) != m->last_term) from = m->commit;
        if (from == 0 || from >= last || step_term_of(d, from) == 0) return;
        step_send_entries(d, p->id, raft_frame_LESSON,
                &(struct raft_append_entries){ .term = raft_current_term(&d->raft),
                        .prev_log_index = from,
                        .prev_log_term = step_term_of(d, from),
                        .n_entries = (unsigned)MIN(last - from, LESSON_ENTRIES) });
}

void elect_on_lesson(struct driver *d, struct peer *p, const struct rf_append *m)
{
        struct raft *r = &d->raft;
        uint64_t last = raft_last_index(r), end = m->prev_index + m->entries_n;
        struct rf_append lesson = *m;
        raft_index match;
        bool adds, bumps = m->term > raft_current_term(r);

        if (!guard_on(GUARD_LEARN) || m->entries_n == 0 || !leaderless(d)) return;
        if (d->store->ops->is_full(d->store) || !conf_find(&r->configuration, d->id)) return;
        if (!newer(m->entries[m->entries_n - 1].term, end, step_term_of(d, last), last)) return;
        /* What is committed is not touched, and the place where it begins must be the same. */
        if (m->prev_index == 0 || m->prev_index < raft_commit_index(r)) return;
        if (m->prev_index > last || step_term_of(d, m->prev_index) != m->prev_term) return;
        adds = m->prev_index == last;
        if (!adds && !bumps && d->heard_term >= raft_current_term(r)) return;
        match = r->state == RAFT_FOLLOWER && !bumps ? r->follower_state.match : 0;
        lesson.term = MAX(m->term, raft_current_term(r));
        lesson.commit = 0;
        d->learning = true;
        step_feed(d, p, &lesson);
        if (d->fatal || r->state != RAFT_FOLLOWER) return;
        r->follower_state.current_leader.id = 0; /* it is none */
        r->follower_state.match = match;
}

void elect_stored(struct driver *d)
{
        if (!d->learning || d->raft.last_stored < raft_last_index(&d->raft)) return;
        d->learning = false;
        if (!leaderless(d) || !may_stand(d)) return;
        stand_after(d, drv_now(d), 1 + drv_random(d) % MAX(1, d->heartbeat_ms / 5));
}
