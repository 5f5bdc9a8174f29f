/* Raising the feature level: by command, or by the leader itself when all members have known the next one long
 * enough. Until then everybody can go back to the release before (docs/upgrades.md).
 *
 * Once a second each member looks what its links say; only the leader's clock counts. It starts anew when another
 * member leads, and when somebody comes back with an older release; a member that is away only delays the raise. */
#include <stdio.h>
#include <string.h>

#include "raftctl/level.h"
#include "raftctl/member_int.h"
#include "state/level.h"
#include "wire/base/log.h"

enum { PERIOD_MS = 1000, RAISE_MS = 10000 };
#define LOG "level"

void member_level_look(struct local_member *m)
{
        struct member_level *l = &m->level;
        struct driver_status s;
        struct fail f = { 0 };
        struct tx *tx;
        if (m->driver == NULL) return;
        driver_status(m->driver, &s);
        /* Reading leaves a mark in the store's lock file: an idle witness writes nothing. */
        if (m->witness && s.state != DRIVER_LEADER && l->now != 0 && l->looked_at == s.applied_index) return;
        l->looked_at = s.applied_index;
        if (m->store->ops->read_begin(m->store, &tx) != 0) return;
        unsigned next = l->now = state_level(tx, NULL);
        int err = 0;
        while (next < LEVEL_MAX && (err = driver_level_check(m->driver, tx, next + 1, &f)) == 0) next++;
        m->store->ops->read_end(m->store, tx);
        (void)snprintf(l->note, sizeof l->note, "%s", err != 0 ? f.text : "");
        if (s.state != DRIVER_LEADER || err == E_LEVEL || next != l->next) l->since_ms = 0;
        l->next = next;
        if (s.state == DRIVER_LEADER && next > l->now && l->since_ms == 0) l->since_ms = member_now_ms(m);
}

int64_t member_level_due_s(const struct local_member *m)
{
        const struct member_level *l = &m->level;
        if (m->level_raise_ms == 0 || l->since_ms == 0 || l->next <= l->now) return -1;
        uint64_t now = member_now_ms(m), due = l->since_ms + m->level_raise_ms;
        return due > now ? (int64_t)((due - now) / 1000) : 0;
}

void member_level_raise(struct local_member *m, unsigned to, unsigned timeout_ms, member_op_fn *cb, void *arg)
{
        struct level_op op = { 0 };
        SET(&op, level_op, to, to);
        member_submit(m, LEVEL_OP, &level_op_type, &op, timeout_ms, cb, arg);
}

static void on_raised(void *arg, int err, const struct op_outcome *out)
{
        struct local_member *m = arg;
        m->level.busy = false;
        m->level.since_ms = 0;
        if (m->closing) return;
        if (err != 0 || out->err != 0)
                log_warn(LOG, "the feature level was not raised: %s",
                        out->text != NULL ? out->text : err_text(err));
        else log_info(LOG, "the feature level is %u from now on", m->level.next);
}

static void on_timer(uv_timer_t *t)
{
        struct local_member *m = t->data;
        struct member_level *l = &m->level;
        if (m->closing || m->fatal || m->driver == NULL) return;
        member_level_look(m);
        if (l->busy || member_level_due_s(m) != 0) return;
        l->busy = true;
        log_info(LOG, "all members have known feature level %u for %llu s: it is raised", l->next,
                (unsigned long long)(m->level_raise_ms / 1000));
        member_level_raise(m, l->next, RAISE_MS, on_raised, m);
}

void member_level_open(struct local_member *m)
{
        int rc = uv_timer_init(m->loop, &m->level.timer);
        if (rc == 0) rc = uv_timer_start(&m->level.timer, on_timer, PERIOD_MS, PERIOD_MS);
        assert(rc == 0);
        m->level.timer.data = m;
        m->live++;
}
