#include "raftctl/policy.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "raftctl/voters.h"

const struct driver_member *policy_find(const struct driver_status *s, uint64_t id)
{
        for (uint32_t i = 0; i < s->members_n; i++)
                if (s->members[i].id == id) return &s->members[i];
        return NULL;
}

static const struct member_row *row_of(const struct member_row *rows, uint32_t n, uint64_t id)
{
        for (uint32_t i = 0; i < n; i++)
                if (rows[i].raft_id == id) return &rows[i];
        return NULL;
}

bool policy_answers(const struct policy_view *v, const struct driver_member *m)
{
        if (m->id == v->status->id) return true;
        return m->link_up && m->last_contact_ms != 0 && v->now_ms < m->last_contact_ms + v->alive_ms;
}

static bool is_voter(const struct driver_member *m) { return m->role == MEMBER_VOTER; }

static bool majority(unsigned answering, unsigned voters) { return 2 * answering > voters; }

/* Would a majority answer in the configuration without that voter (gone) or with it as one (come)? */
static bool step_keeps_quorum(const struct policy_view *v, uint64_t gone, uint64_t come)
{
        const struct driver_status *s = v->status;
        unsigned voters = 0, answering = 0;
        for (uint32_t i = 0; i < s->members_n; i++) {
                const struct driver_member *m = &s->members[i];
                if ((!is_voter(m) && m->id != come) || m->id == gone) continue;
                voters++;
                answering += policy_answers(v, m);
        }
        return majority(answering, voters);
}

bool policy_keeps_quorum(const struct policy_view *v, const struct member_row *rows, uint32_t n,
        uint64_t gone, struct policy_quorum *ret)
{
        size_t at = 0;
        *ret = (struct policy_quorum){ 0 };
        for (uint32_t i = 0; i < n; i++) {
                const struct driver_member *m = policy_find(v->status, rows[i].raft_id);
                if (rows[i].standby || rows[i].raft_id == gone || m == NULL || !is_voter(m)) continue;
                ret->voters++;
                if (policy_answers(v, m)) {
                        ret->answering++;
                        continue;
                }
                int k = snprintf(ret->missing + at, sizeof ret->missing - at, "%s%s", at > 0 ? ", " : "",
                        rows[i].name);
                if (k > 0 && (size_t)k < sizeof ret->missing - at) at += (size_t)k;
                else ret->missing[at] = '\0';
        }
        return majority(ret->answering, ret->voters);
}

/* ---- the next change ---- */

static bool caught_up(const struct policy_view *v, const struct driver_member *m)
{
        return policy_answers(v, m) && !m->receiving_snapshot &&
               m->match_index + POLICY_LAG_MAX >= v->status->last_index && m->match_index > 0;
}

static bool step(struct policy_step *ret, enum member_change change, uint64_t id, const char *address)
{
        *ret = (struct policy_step){ .change = change, .id = id, .address = address };
        return true;
}

static bool wait_for(struct policy_step *ret, const struct member_row *r, const char *what)
{
        if (ret->waits) return false; /* the first one is said */
        ret->waits = true;
        (void)snprintf(
                ret->why, sizeof ret->why, "'%.60s' %s", r != NULL ? r->name : "a removed member", what);
        return false;
}

static bool is_forced(const uint64_t *forced, uint32_t n, uint64_t id)
{
        for (uint32_t i = 0; i < n; i++)
                if (forced[i] == id) return true;
        return false;
}

/* Those that lose their place or vote. first: only those whose going costs no answering voter. */
static bool next_going(const struct policy_view *v, const struct member_row *rows, uint32_t n,
        const uint64_t *forced, uint32_t forced_n, bool first, struct policy_step *ret)
{
        const struct driver_status *s = v->status;
        for (uint32_t i = 0; i < s->members_n; i++) {
                const struct driver_member *m = &s->members[i];
                const struct member_row *r = row_of(rows, n, m->id);
                bool goes = r == NULL, demoted = r != NULL && r->standby && is_voter(m);
                if (!goes && !demoted) continue;
                if (first && is_voter(m) && policy_answers(v, m)) continue;
                bool force = demoted ? r->forced : is_forced(forced, forced_n, m->id);
                if (is_voter(m) && !force && !step_keeps_quorum(v, m->id, 0)) {
                        (void)wait_for(ret, r, "keeps its vote: without it there would be no quorum");
                        continue;
                }
                return step(ret, goes ? CHANGE_REMOVE : CHANGE_DEMOTE, m->id, NULL);
        }
        return false;
}

static bool next_coming(
        const struct policy_view *v, const struct member_row *rows, uint32_t n, struct policy_step *ret)
{
        for (uint32_t i = 0; i < n; i++) {
                const struct driver_member *m = policy_find(v->status, rows[i].raft_id);
                if (m == NULL) return step(ret, CHANGE_ADD, rows[i].raft_id, rows[i].address);
                if (m->role == MEMBER_SPARE) return step(ret, CHANGE_STANDBY, m->id, NULL);
        }
        for (uint32_t i = 0; i < n; i++) {
                const struct driver_member *m = policy_find(v->status, rows[i].raft_id);
                if (m == NULL || m->role != MEMBER_STANDBY || rows[i].standby) continue;
                if (!caught_up(v, m)) {
                        (void)wait_for(ret, &rows[i],
                                policy_answers(v, m)
                                        ? "is catching up"
                                        : "does not answer: it becomes a voter when it is there");
                        continue;
                }
                if (!step_keeps_quorum(v, 0, m->id)) {
                        (void)wait_for(ret, &rows[i], "waits until more voters answer");
                        continue;
                }
                return step(ret, CHANGE_PROMOTE, m->id, NULL);
        }
        return false;
}

bool policy_next(const struct policy_view *v, const struct member_row *rows, uint32_t n,
        const uint64_t *forced, uint32_t forced_n, struct policy_step *ret)
{
        *ret = (struct policy_step){ 0 };
        return next_going(v, rows, n, forced, forced_n, true, ret) || next_coming(v, rows, n, ret) ||
               next_going(v, rows, n, forced, forced_n, false, ret) || ret->waits;
}

/* ---- stand-bys ---- */

static unsigned voters_in_zone(const struct member_row *rows, uint32_t n, const char *zone)
{
        unsigned k = 0;
        for (uint32_t i = 0; i < n; i++) k += !rows[i].standby && strcasecmp(rows[i].zone, zone) == 0;
        return k;
}

/* Is a the better one to take over from the absent one? */
static bool better(const struct member_row *rows, uint32_t n, const struct member_row *absent,
        const struct member_row *a, const struct member_row *b)
{
        bool az = strcasecmp(a->zone, absent->zone) == 0, bz = strcasecmp(b->zone, absent->zone) == 0;
        bool ac = a->role == cert_role_CONTROLLER, bc = b->role == cert_role_CONTROLLER;
        unsigned an = voters_in_zone(rows, n, a->zone), bn = voters_in_zone(rows, n, b->zone);
        if (ac != bc) return ac;
        if (az != bz) return az;
        if (an != bn) return an < bn;
        return a->raft_id < b->raft_id;
}

static bool sound(
        const struct member_row *rows, uint32_t n, const struct member_row *from, const struct member_row *to)
{
        struct voters before = { 0 }, after = { 0 };
        for (uint32_t i = 0; i < n; i++) {
                const struct member_row *r = &rows[i];
                bool controller = r->role == cert_role_CONTROLLER;
                if (!r->standby) voters_add(&before, controller, r->is_volatile);
                if (r != from && (!r->standby || r == to)) voters_add(&after, controller, r->is_volatile);
        }
        return voters_worse(&before, &after) == NULL;
}

static uint64_t away_ms_of(const struct policy_view *v, const struct driver_member *m)
{
        uint64_t since = m->last_contact_ms > v->leading_since_ms ? m->last_contact_ms : v->leading_since_ms;
        if (m->id == v->status->id || policy_answers(v, m) || v->now_ms < since) return 0;
        return v->now_ms - since;
}

bool policy_takeover(const struct policy_view *v, const struct member_row *rows, uint32_t n, uint64_t away_ms,
        struct policy_takeover *ret)
{
        struct policy_step s;
        *ret = (struct policy_takeover){ 0 };
        if (away_ms == 0 || (policy_next(v, rows, n, NULL, 0, &s) && !s.waits)) return false;
        for (uint32_t i = 0; i < n; i++) {
                const struct driver_member *m = policy_find(v->status, rows[i].raft_id);
                uint64_t away = m != NULL && is_voter(m) && !rows[i].standby ? away_ms_of(v, m) : 0;
                if (away < away_ms || away <= ret->away_ms) continue;
                ret->voter = &rows[i];
                ret->away_ms = away;
        }
        for (uint32_t i = 0; ret->voter != NULL && i < n; i++) {
                const struct driver_member *m = policy_find(v->status, rows[i].raft_id);
                if (!rows[i].standby || rows[i].held || m == NULL || m->role != MEMBER_STANDBY) continue;
                if (!caught_up(v, m) || !sound(rows, n, ret->voter, &rows[i])) continue;
                if (ret->standby == NULL || better(rows, n, ret->voter, &rows[i], ret->standby))
                        ret->standby = &rows[i];
        }
        return ret->voter != NULL && ret->standby != NULL;
}

/* ---- zones ---- */

static const char *voter_zone(const struct driver_status *s, const struct member_row *r)
{
        const struct driver_member *m = policy_find(s, r->raft_id);
        return m != NULL && is_voter(m) && r->zone[0] != '\0' ? r->zone : NULL;
}

bool policy_zone_risk(const struct driver_status *s, const struct member_row *rows, uint32_t n, unsigned i,
        struct policy_zone *ret)
{
        unsigned voters = 0, zoned = 0;
        for (uint32_t k = 0; k < s->members_n; k++) voters += is_voter(&s->members[k]);
        for (uint32_t k = 0; k < n; k++) zoned += voter_zone(s, &rows[k]) != NULL;
        if (voters < 2 || zoned < 2) return false;
        for (uint32_t k = 0; k < n; k++) {
                const char *z = voter_zone(s, &rows[k]);
                unsigned in = 0;
                bool seen = false;
                for (uint32_t j = 0; z != NULL && j < n; j++) {
                        const char *other = voter_zone(s, &rows[j]);
                        bool same = other != NULL && strcasecmp(other, z) == 0;
                        in += same;
                        seen |= same && j < k;
                }
                if (z == NULL || seen || majority(voters - in, voters)) continue;
                if (i-- > 0) continue;
                *ret = (struct policy_zone){ z, in, voters };
                return true;
        }
        return false;
}
