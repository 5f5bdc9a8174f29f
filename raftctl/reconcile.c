/* The Raft configuration follows the replicated member table. Level-triggered: the leader compares both and
 * makes the one change that comes first; nothing is remembered, so a new leader just goes on.
 *
 *   in the configuration, not in the table -> REMOVE      in the table only -> ADD (as a spare)
 *   spare                                  -> STANDBY     stand-by that may vote, with a link -> PROMOTE
 * (catches up first) voter that may not vote                -> DEMOTE
 *
 * Each round begins with a linearizable read: a leader that has not applied everything yet must not take an
 * old table for the truth, or it would remove members that have just joined. */
#include <stdio.h>
#include <string.h>

#include "raftctl/member_int.h"

enum { PERIOD_MS = 1000, SOON_MS = 20, READ_MS = 5000, CHANGE_MS = 60000 };

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

static const struct member_row *find_row(const struct member_row *rows, uint32_t n, uint64_t id)
{
        for (uint32_t i = 0; i < n; i++)
                if (rows[i].raft_id == id) return &rows[i];
        return NULL;
}

static const struct driver_member *find_conf(const struct driver_status *s, uint64_t id)
{
        for (uint32_t i = 0; i < s->members_n; i++)
                if (s->members[i].id == id) return &s->members[i];
        return NULL;
}

static bool decide_role(const struct member_row *r, const struct driver_member *c, enum member_change *ret)
{
        if (c->role == MEMBER_SPARE) *ret = CHANGE_STANDBY;
        else if (c->role == MEMBER_STANDBY && !r->standby && c->link_up) *ret = CHANGE_PROMOTE;
        else if (c->role == MEMBER_VOTER && r->standby) *ret = CHANGE_DEMOTE;
        else return false;
        return true;
}

/* The one change that comes first. */
static bool decide(struct local_member *m, const struct driver_status *s, const struct member_row *rows,
        uint32_t n, enum member_change *ret, uint64_t *ret_id, const char **ret_address)
{
        *ret_address = NULL;
        for (uint32_t i = 0; i < s->members_n; i++)
                if (find_row(rows, n, s->members[i].id) == NULL) {
                        *ret = CHANGE_REMOVE;
                        *ret_id = s->members[i].id;
                        return true;
                }
        for (uint32_t i = 0; i < n; i++) {
                const struct driver_member *c = find_conf(s, rows[i].raft_id);
                *ret_id = rows[i].raft_id;
                *ret_address = rows[i].address;
                if (c == NULL) {
                        *ret = CHANGE_ADD;
                        return true;
                }
                if (decide_role(&rows[i], c, ret)) return true;
        }
        return false;
}

static void on_read(void *arg, int err, uint64_t index, uint64_t term)
{
        struct local_member *m = arg;
        struct driver_status s;
        struct member_row rows[MEMBER_ROWS_MAX];
        enum member_change change;
        uint64_t id;
        const char *address;
        bool table;
        if (m->closing || err != 0) {
                idle(m);
                return;
        }
        driver_status(m->driver, &s);
        uint32_t n = member_rows(m, rows, &table);
        if (s.state != DRIVER_LEADER || !table || !decide(m, &s, rows, n, &change, &id, &address)) {
                idle(m);
                return;
        }
        driver_change(m->driver, change, id, address, member_now_ms(m) + CHANGE_MS, on_change, m);
}

static void on_timer(uv_timer_t *t)
{
        struct local_member *m = t->data;
        struct driver_status s;
        if (m->closing || m->fatal || m->driver == NULL || m->reconcile.busy) return;
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
