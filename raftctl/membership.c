/* Changes of the configuration, one at a time, and handing leadership over.
 *
 * Happy path of a promotion: driver_change -> the member has what the log held when that was asked for -> the
 * new configuration as an entry -> committed -> answered. Failures: leadership lost (unknown outcome, unless the
 * entry was committed first), the member does not get that far within some election timeouts, the deadline passes.
 *
 * The core's own catching up is not used: its rounds begin anew as long as clients write and each takes longer than an
 * election timeout, ten times five seconds at most, and for so long it takes no other change, a removal for instance. */
#include <string.h>

#include "raftctl/driver_int.h"

void member_finish(struct driver *d, int err, const char *why)
{
        struct done *done;

        if (!d->change.active) return;
        d->change.active = false;
        done = drv_done(d, DONE_CHANGE, err, d->change.arg);
        done->change_cb = d->change.cb;
        done->why = why;
}

static void submit_conf(struct driver *d, struct raft_configuration *c)
{
        struct buf b = { 0 };
        int err;

        conf_encode(c, &b);
        raft_configuration_close(c);
        err = step_submit(d, LOG_CHANGE, buf_blob(&b), &d->change.index);
        buf_done(&b);
        if (err < 0) member_finish(d, err, "the change was not accepted");
        else d->change.submitted = true;
}

static void submit_role(struct driver *d, int role)
{
        struct raft_configuration c;

        conf_with_role(&d->raft.configuration, d->change.id, role, &c);
        submit_conf(d, &c);
}

/* The voter with most of the log; a witness only where there is nobody else, and never from another witness. */
static uint64_t best_of(struct driver *d, bool log_only)
{
        const struct raft_configuration *c = &d->raft.configuration;
        uint64_t best = 0, best_match = 0, now = drv_now(d);

        for (unsigned i = 0; i < c->n; i++) {
                const struct peer *p = peer_find(d, c->servers[i].id);
                raft_index match;
                if (c->servers[i].role != RAFT_VOTER || !p || p->full || p->heard_ms + d->election_ms < now)
                        continue;
                if (p->log_only != log_only || raft_match_index(&d->raft, p->id, &match) != 0) continue;
                if (best == 0 || match > best_match) {
                        best = p->id;
                        best_match = match;
                }
        }
        return best;
}

static uint64_t best_target(struct driver *d)
{
        uint64_t best = best_of(d, false);

        return best == 0 && !d->log_only ? best_of(d, true) : best;
}

static int transfer(struct driver *d, uint64_t target)
{
        struct raft_event e = { .type = RAFT_TRANSFER };

        e.transfer.server_id = target;
        return step_core(d, &e);
}

static void start_transfer(struct driver *d)
{
        uint64_t target = d->change.id ? d->change.id : best_target(d);

        if (target == 0) member_finish(d, E_NOT_FOUND, "no other voter is up");
        else if (transfer(d, target) != 0) member_finish(d, E_INVALID, "not another voter");
        else d->change.transferring = true;
}

static void start_promotion(struct driver *d)
{
        struct change *ch = &d->change;

        ch->catching_up = true;
        ch->catch_up_index = raft_last_index(&d->raft);
        ch->catch_up_until_ms = drv_now(d) + CATCH_UP_TIMEOUTS * (uint64_t)d->election_ms;
        drv_scan_at(d, ch->catch_up_until_ms);
        member_pump(d);
}

static void start_role(struct driver *d, const struct raft_server *s)
{
        bool voter = s->role == RAFT_VOTER;

        switch (d->change.what) {
        case CHANGE_STANDBY:
                if (voter) member_finish(d, E_INVALID, "demote a voter instead");
                else if (s->role == RAFT_STANDBY) member_finish(d, 0, "");
                else submit_role(d, RAFT_STANDBY);
                break;
        case CHANGE_PROMOTE:
                if (voter) member_finish(d, 0, "");
                else if (s->role == RAFT_SPARE)
                        member_finish(d, E_INVALID, "a spare becomes a standby first");
                else start_promotion(d);
                break;
        case CHANGE_DEMOTE:
                if (s->role == RAFT_SPARE) member_finish(d, 0, "");
                else submit_role(d, voter ? RAFT_STANDBY : RAFT_SPARE);
                break;
        case CHANGE_ADD:
        case CHANGE_REMOVE:
        case CHANGE_TRANSFER:
        default: break;
        }
}

static void start_change(struct driver *d, const char *address)
{
        const struct raft_configuration *c = &d->raft.configuration;
        const struct raft_server *s = conf_find(c, d->change.id);
        enum member_change what = d->change.what;
        struct raft_configuration next;
        int err;

        if (what == CHANGE_TRANSFER) {
                start_transfer(d);
        } else if (what == CHANGE_ADD) {
                err = conf_with_member(c, d->change.id, address, RAFT_SPARE, &next);
                if (err < 0)
                        member_finish(d, err,
                                err == E_EXISTS ? "id or address is in use"
                                                : "not a member's id and address");
                else submit_conf(d, &next);
        } else if (!s) {
                member_finish(d, E_NOT_FOUND, "no such member");
        } else if (conf_is_sole_voter(c, d->change.id) && (what == CHANGE_REMOVE || what == CHANGE_DEMOTE)) {
                member_finish(d, E_INVALID, "the last voter stays");
        } else if (d->change.id == d->id && s->role == RAFT_VOTER &&
                   (what == CHANGE_REMOVE || what == CHANGE_DEMOTE)) {
                /* If it did that itself and died before the entry got out, it would neither vote nor stand
                 * for election, though the others may need its vote: the new leader does it. */
                d->change.hand_over = true;
                d->change.id = 0;
                start_transfer(d);
        } else if (what == CHANGE_REMOVE) {
                conf_without(c, d->change.id, &next);
                submit_conf(d, &next);
        } else {
                start_role(d, s);
        }
}

/* S2: the core accepts a change before anything of the leader's own term is committed; two leaders could then
 * have configurations whose majorities do not meet. */
static bool settled(const struct driver *d)
{
        if (d->raft.configuration_uncommitted_index != 0 || raft_transferee(&d->raft) != 0) return false;
        return !guard_on(GUARD_S2) ||
               (d->barrier_index != 0 && raft_commit_index(&d->raft) >= d->barrier_index);
}

void driver_change(struct driver *d, enum member_change change, uint64_t id, const char *address,
        uint64_t deadline_ms, driver_change_fn *cb, void *arg)
{
        int err = d->fatal                          ? E_CANCELED
                  : !d->leading                     ? E_NOT_LEADER
                  : d->change.active || !settled(d) ? E_BUSY
                                                    : 0;

        drv_enter(d);
        d->holding = true;
        if (err < 0) {
                struct done *done = drv_done(d, DONE_CHANGE, err, arg);
                done->change_cb = cb;
                done->why = err == E_BUSY ? "another change is under way" : err_text(err);
        } else {
                d->change = (struct change){ .active = true,
                        .what = change,
                        .id = id,
                        .deadline_ms = deadline_ms,
                        .cb = cb,
                        .arg = arg };
                drv_scan_at(d, deadline_ms);
                start_change(d, address);
        }
        d->dirty = true;
        drv_leave(d);
}

void member_pump(struct driver *d)
{
        struct change *ch = &d->change;
        raft_index match = 0;

        if (!ch->active || d->fatal) return;
        if (ch->transferring) {
                uint64_t leader = drv_leader(d);
                if (leader != 0 && leader != d->id)
                        member_finish(d, ch->hand_over ? E_NOT_LEADER : 0,
                                ch->hand_over ? "leadership was handed over first: ask the new leader" : "");
                else if (d->leading && raft_transferee(&d->raft) == 0)
                        member_finish(d, E_TIMEOUT, "the other member did not take over");
                return;
        }
        if (!d->leading) return;
        if (ch->submitted) {
                if (raft_commit_index(&d->raft) >= ch->index &&
                        d->raft.configuration_uncommitted_index != ch->index)
                        member_finish(d, 0, "");
                return;
        }
        if (!ch->catching_up) return;
        if (raft_match_index(&d->raft, ch->id, &match) != 0) {
                member_finish(d, E_NOT_FOUND, "no such member");
        } else if (match >= ch->catch_up_index) {
                ch->catching_up = false;
                submit_role(d, RAFT_VOTER);
        }
}

void member_lost(struct driver *d)
{
        struct change *ch = &d->change;

        if (!ch->active || ch->transferring) return;
        if (!ch->submitted) member_finish(d, E_NOT_LEADER, "leadership was lost");
        else if (raft_commit_index(&d->raft) >= ch->index) member_finish(d, 0, "");
        else member_finish(d, E_UNKNOWN_OUTCOME, "leadership was lost");
}

void member_expire(struct driver *d, uint64_t now)
{
        if (!d->change.active) return;
        if (d->change.catching_up && now >= d->change.catch_up_until_ms)
                member_finish(d, E_TIMEOUT, "the member does not catch up");
        else if (d->change.catching_up)
                drv_scan_at(d, MIN(d->change.catch_up_until_ms, d->change.deadline_ms));
        else if (now < d->change.deadline_ms) drv_scan_at(d, d->change.deadline_ms);
        else member_finish(d, d->change.submitted ? E_UNKNOWN_OUTCOME : E_TIMEOUT, "deadline passed");
}

/* Has a member that keeps the state got further since the last look? */
static void note_progress(struct driver *d, uint64_t now)
{
        for (unsigned i = 0; i < d->peers_n; i++) {
                struct peer *p = &d->peers[i];
                raft_index match;
                if (p->log_only || raft_match_index(&d->raft, p->id, &match) != 0 || match <= p->match_seen)
                        continue;
                p->match_seen = match;
                d->progress_ms = now;
        }
}

/* A full disk or a witness: somebody else should lead. A witness that nobody takes over from, and that brings nobody
 * further, makes room for those who may do without it. */
void member_hand_over(struct driver *d, uint64_t now)
{
        bool full;
        uint64_t target;

        if (!d->leading || d->fatal || raft_transferee(&d->raft) != 0) return;
        full = d->store->ops->is_full(d->store);
        if (!full && !d->lazy) return;
        /* One that became full before it had applied its barrier never gets ready: it hands over all the same. */
        target = d->ready || full ? best_target(d) : 0;
        if (target == 0 && full) {
                while (!list_empty(&d->queue)) {
                        struct op *op = list_first(&d->queue, struct op, node);
                        op->err = E_NO_SPACE;
                        batch_refuse(d, op);
                }
                return;
        }
        if (d->lazy) {
                uint64_t until;
                note_progress(d, now);
                until = d->progress_ms + ASIDE_AFTER * (uint64_t)d->election_ms;
                if (now >= until) {
                        step_aside(d);
                        return;
                }
                drv_scan_at(d, until);
        }
        if (d->handover_ms > now) drv_scan_at(d, d->handover_ms);
        if (target == 0 || now < d->handover_ms || d->change.active) return;
        d->handover_ms = now + d->election_ms;
        drv_scan_at(d, d->handover_ms);
        (void)transfer(d, target);
}
