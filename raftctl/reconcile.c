/* The Raft configuration follows the replicated member table. Level-triggered: the leader compares both and
 * makes the one change that policy.h says is next; nothing is remembered, so a new leader just goes on. When
 * there is nothing to change it looks for voters that stay away and stand-bys that may take over.
 *
 * Each round begins with a linearizable read: a leader that has not applied everything yet must not take an
 * old table for the truth, or it would remove members that have just joined. */
#include <stdio.h>
#include <string.h>

#include "raftctl/join_op.h"
#include "raftctl/member_int.h"
#include "wire/base/log.h"

#define LOG "members"
enum {
        PERIOD_MS = 1000,
        SOON_MS = 20,
        READ_MS = 5000,
        CHANGE_MS = 10000,
        TRANSFER_MS = 8000,
        ALIVE_ELECTIONS = 3
};

static void on_timer(uv_timer_t *t);

static void arm(struct local_member *m, unsigned ms)
{
        if (m->closing) return;
        int rc = uv_timer_start(&m->reconcile.timer, on_timer, ms, 0);
        assert(rc == 0);
}

static void idle(struct local_member *m)
{
        m->reconcile.busy = false;
        arm(m, m->reconcile.again ? SOON_MS : PERIOD_MS);
        m->reconcile.again = false;
}

/* ---- the configuration ---- */

static void on_change(void *arg, int err, const char *why)
{
        struct local_member *m = arg;
        if (err != 0)
                (void)snprintf(
                        m->reconcile.last, sizeof m->reconcile.last, "%s", why != NULL ? why : err_text(err));
        else {
                m->reconcile.last[0] = '\0';
                m->reconcile.again = true;
        }
        idle(m);
}

static void change(struct local_member *m, const struct policy_step *step)
{
        static const char *const doing[] = { [CHANGE_ADD] = "comes in",
                [CHANGE_STANDBY] = "becomes a stand-by",
                [CHANGE_PROMOTE] = "becomes a voter",
                [CHANGE_DEMOTE] = "becomes a stand-by, without a vote",
                [CHANGE_REMOVE] = "goes",
                [CHANGE_TRANSFER] = "" };
        char name[PKI_NAME_MAX + 1];
        member_name_of(m, step->id, name);
        log_info(LOG, "member %s (%016llx) %s", name[0] != '\0' ? name : "that was removed",
                (unsigned long long)step->id, doing[step->change]);
        driver_change(
                m->driver, step->change, step->id, step->address, member_now_ms(m) + CHANGE_MS, on_change, m);
}

/* ---- stand-bys ---- */

static void on_taken_over(void *arg, int err, const struct op_outcome *out)
{
        struct local_member *m = arg;
        if (err != 0 || out->err != 0)
                log_warn(LOG, "no stand-by took over: %s",
                        err != 0            ? err_text(err)
                        : out->text != NULL ? out->text
                                            : "refused");
        m->reconcile.again |= err == 0 && out->err == 0;
        idle(m);
}

static bool take_over(
        struct local_member *m, const struct policy_view *view, const struct member_row *rows, uint32_t n)
{
        struct policy_takeover t;
        struct member_op op = { 0 };
        if (!policy_takeover(view, rows, n, m->promote_after_ms, &t)) return false;
        log_warn(LOG,
                "voter %s has not been heard of for %llu s: stand-by %s takes over its vote; %s stays a "
                "stand-by when it comes back",
                t.voter->name, (unsigned long long)t.away_ms / 1000, t.standby->name, t.voter->name);
        SET(&op, member_op, name, t.standby->name);
        SET(&op, member_op, raft_id, t.standby->raft_id);
        SET(&op, member_op, takes_over, t.voter->name);
        SET(&op, member_op, from_id, t.voter->raft_id);
        member_submit(m, JOIN_OP_MEMBERS, &member_op_type, &op, CHANGE_MS, on_taken_over, m);
        return true;
}

/* ---- zones ---- */

static void log_zones(
        struct local_member *m, const struct driver_status *s, const struct member_row *rows, uint32_t n)
{
        char text[sizeof m->reconcile.zones] = "";
        struct policy_zone z;
        size_t at = 0;
        for (unsigned i = 0; policy_zone_risk(s, rows, n, i, &z); i++) {
                int k = snprintf(text + at, sizeof text - at, "%s'%s' (%u of %u voters)", i > 0 ? ", " : "",
                        z.name, z.voters, z.of);
                if (k < 0 || (size_t)k >= sizeof text - at) break;
                at += (size_t)k;
        }
        if (strcmp(text, m->reconcile.zones) == 0) return;
        if (text[0] != '\0') log_warn(LOG, "the loss of one zone would lose the quorum: %s", text);
        else log_info(LOG, "the loss of one zone would not lose the quorum any more");
        memcpy(m->reconcile.zones, text, sizeof text);
}

/* ---- each round ---- */

/* The core gives a transfer up after one election timeout, whatever kept the other one: a vote that its disk was slow to store, an
 * entry that was on its way. Whoever asked waits longer than that. */
static void on_transferred(void *arg, int err, const char *why)
{
        struct local_member *m = arg;
        struct driver_status s;
        driver_status(m->driver, &s);
        if (err != 0 && s.state == DRIVER_LEADER && member_now_ms(m) < m->reconcile.transfer_until_ms) {
                m->reconcile.transfer = m->reconcile.again = true;
        } else if (err != 0) {
                log_warn(LOG, "leadership stays here: %s", why != NULL ? why : err_text(err));
        }
        idle(m);
}

void reconcile_transfer(struct local_member *m, uint64_t to)
{
        m->reconcile.transfer = true;
        m->reconcile.transfer_to = to;
        m->reconcile.transfer_until_ms = member_now_ms(m) + TRANSFER_MS;
        reconcile_kick(m);
}

struct policy_view member_view(struct local_member *m, struct driver_status *s)
{
        driver_status(m->driver, s);
        if (s->state != DRIVER_LEADER) m->reconcile.lead_term = 0;
        else if (m->reconcile.lead_term != s->term) {
                m->reconcile.lead_term = s->term;
                m->reconcile.leading_since_ms = member_now_ms(m);
        }
        return (struct policy_view){ .status = s,
                .now_ms = member_now_ms(m),
                .alive_ms = ALIVE_ELECTIONS * m->election_ms,
                .leading_since_ms = m->reconcile.leading_since_ms };
}

static bool look(struct local_member *m)
{
        struct driver_status s;
        struct member_row rows[MEMBER_ROWS_MAX];
        struct policy_step step;
        uint64_t forced[MEMBER_ROWS_MAX];
        bool table;
        struct policy_view view = member_view(m, &s);
        uint32_t n = member_rows(m, rows, &table), forced_n = member_forced(m, forced);
        if (s.state != DRIVER_LEADER || !table) return false;
        if (m->reconcile.transfer) {
                m->reconcile.transfer = false;
                driver_change(m->driver, CHANGE_TRANSFER, m->reconcile.transfer_to, NULL,
                        member_now_ms(m) + CHANGE_MS, on_transferred, m);
                return true;
        }
        bool due = policy_next(&view, rows, n, forced, forced_n, &step);
        (void)snprintf(m->reconcile.waits, sizeof m->reconcile.waits, "%s", due ? step.why : "");
        if (due && !step.waits) {
                change(m, &step);
                return true;
        }
        log_zones(m, &s, rows, n);
        return take_over(m, &view, rows, n);
}

static void on_read(void *arg, int err, uint64_t index, uint64_t term)
{
        struct local_member *m = arg;
        if (m->closing || err != 0 || !look(m)) idle(m);
}

static void on_timer(uv_timer_t *t)
{
        struct local_member *m = t->data;
        struct driver_status s;
        if (m->closing || m->fatal || m->driver == NULL || m->reconcile.busy) return;
        if (m->witness) witness_look(m);
        driver_status(m->driver, &s);
        if (s.state != DRIVER_LEADER) {
                arm(m, PERIOD_MS);
                return;
        }
        m->reconcile.busy = true;
        driver_read(m->driver, member_now_ms(m) + READ_MS, on_read, m);
}

void reconcile_open(struct local_member *m)
{
        int rc = uv_timer_init(m->loop, &m->reconcile.timer);
        assert(rc == 0);
        m->reconcile.timer.data = m;
        m->live++;
}

void reconcile_kick(struct local_member *m)
{
        if (m->reconcile.busy) m->reconcile.again = true;
        else if (!m->closing && (!uv_is_active((uv_handle_t *)&m->reconcile.timer) ||
                                        uv_timer_get_due_in(&m->reconcile.timer) > SOON_MS))
                arm(m, SOON_MS);
}
