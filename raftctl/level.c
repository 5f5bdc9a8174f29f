/* Feature levels, see level.h. */
#include "raftctl/level.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "raftctl/conf.h"
#include "raftctl/driver_int.h"
#include "state/level.h"
#include "state/table.h"

/* Read once for each index: a read leaves its mark in the store's lock file, and an idle witness writes nothing. */
static unsigned own_level(struct driver *d)
{
        struct tx *tx;
        if (d->level_seen != 0 && d->level_seen_at == d->applied.index) return d->level_seen;
        if (d->store->ops->read_begin(d->store, &tx) < 0) return LEVEL_FIRST;
        d->level_seen = state_level(tx, NULL);
        d->level_seen_at = d->applied.index;
        d->store->ops->read_end(d->store, tx);
        return d->level_seen;
}

void driver_release(struct driver *d, struct release *ret)
{
        *ret = (struct release){
                .level_min = d->level_min, .level_max = d->level_max, .level = own_level(d)
        };
        (void)snprintf(ret->software, sizeof ret->software, "%s", SOFTWARE_VERSION);
}

/* ---- what this release cannot be part of ---- */

int level_start(struct driver *d, struct fail *f)
{
        unsigned level = own_level(d);
        if (level > d->level_max)
                return fail_set(f, E_LEVEL,
                        "the state here is of feature level %u, and this release (%s) knows levels up to %u "
                        "only: going back to it is not possible any more. Nothing was changed; install the "
                        "release that ran here before, or a newer one",
                        level, SOFTWARE_VERSION, d->level_max);
        if (level < d->level_min && d->applied.index > 0)
                return fail_set(f, E_LEVEL,
                        "the state here is of feature level %u, and this release (%s) needs level %u at "
                        "least: a release was left out. Nothing was changed; install the one before it, and "
                        "raise the level with 'raftctl level raise' before the next upgrade",
                        level, SOFTWARE_VERSION, d->level_min);
        return 0;
}

const char *level_gone(struct driver *d)
{
        (void)snprintf(d->level_why, sizeof d->level_why,
                "the cluster's feature level is above %u, the highest that this release (%s) knows: install "
                "the release that the other members run",
                d->level_max, SOFTWARE_VERSION);
        return d->level_why;
}

void driver_peer_release(struct driver *d, uint64_t peer, const struct release *r)
{
        struct peer *p = peer_get(d, peer);

        if (!p || d->fatal) return;
        drv_enter(d);
        p->release = *r;
        if (r->level > d->level_max) drv_fatal(d, E_LEVEL, level_gone(d));
        d->state_changed = true;
        drv_leave(d);
}

const char *release_refuse(
        const struct release *ours, const struct release *theirs, char *text, size_t text_n)
{
        if (theirs->level_max < ours->level)
                (void)snprintf(text, text_n,
                        "the cluster is at feature level %u, release %s knows levels up to %u: install a "
                        "newer "
                        "one",
                        ours->level, theirs->software, theirs->level_max);
        else if (theirs->level > ours->level_max)
                (void)snprintf(text, text_n,
                        "this member runs release %s, which is too old for feature level %u", ours->software,
                        theirs->level);
        else if (theirs->level_min > ours->level) /* or this member has not heard of the raise yet */
                (void)snprintf(text, text_n,
                        "the cluster is at feature level %u, release %s needs %u: 'raftctl level raise' "
                        "first",
                        ours->level, theirs->software, theirs->level_min);
        else return NULL;
        return text;
}

/* ---- raising ---- */

static int judge(struct driver *d, uint64_t id, const char *name, unsigned to, struct fail *f)
{
        const struct peer *p = peer_find(d, id);

        if (id == d->id)
                return to <= d->level_max ? 0
                                          : fail_set(f, E_LEVEL,
                                                    "'%s', the leader, runs release %s, which knows feature "
                                                    "levels up to "
                                                    "%u: upgrade it first",
                                                    name, SOFTWARE_VERSION, d->level_max);
        if (!p || !p->link_up || p->release.level_max == 0)
                return fail_set(f, E_NOT_FOUND,
                        "'%s' is not reachable, so its release is not known: bring it back, or remove it "
                        "from "
                        "the cluster with 'raftctl remove'",
                        name);
        if (p->release.level_max < to)
                return fail_set(f, E_LEVEL,
                        "'%s' runs release %s, which knows feature levels up to %u: upgrade it first", name,
                        p->release.software[0] ? p->release.software : "?", p->release.level_max);
        return 0;
}

int driver_level_check(struct driver *d, struct tx *tx, unsigned to, struct fail *f)
{
        const struct raft_configuration *c = &d->raft.configuration;
        struct row_scan s;
        struct arena a = { 0 };
        struct member m = { 0 };
        uint64_t seen[CONF_MEMBERS_MAX];
        unsigned n = 0;
        int err = 0;

        row_scan_open(&s, tx, &member_type, NULL, 0);
        while (err == 0 && row_scan_next(&s, &a, &m)) {
                err = judge(d, m.raft_id, m.name, to, f);
                if (n < ARRAY_LEN(seen)) seen[n++] = m.raft_id;
        }
        row_scan_close(&s);
        arena_done(&a);
        /* those that are only in the configuration: they are being removed, or there is no table */
        for (unsigned i = 0; i < c->n && err == 0; i++) {
                char name[24];
                bool known = false;
                for (unsigned k = 0; k < n; k++) known |= seen[k] == c->servers[i].id;
                (void)snprintf(name, sizeof name, "%016" PRIx64, (uint64_t)c->servers[i].id);
                if (!known) err = judge(d, c->servers[i].id, name, to, f);
        }
        return err == 0 && tx->err != 0 ? fail_set(f, tx->err, "the member table cannot be read") : err;
}

static int refuse(struct op_outcome *ret, int err, const char *text, const char *remedy)
{
        SET(ret, op_outcome, err, err);
        SET(ret, op_outcome, text, text);
        SET(ret, op_outcome, remedy, remedy);
        return E_INVALID;
}

int level_op_evaluate(
        struct driver *d, struct tx *tx, const struct level_op *op, struct arena *a, struct op_outcome *ret)
{
        struct fail f = { 0 };
        int err;
        unsigned level = state_level(tx, &err), to = (unsigned)MIN(op->to, UINT8_MAX);
        if (err != 0) return tx_fail(tx, err);
        if (to == level) return 0; /* somebody was faster */
        if (to < level)
                return refuse(ret, E_INVALID,
                        arena_printf(a, "the feature level is %u already, and it never falls", level),
                        "releases that do not know it cannot be used in this cluster any more");
        err = driver_level_check(d, tx, to, &f);
        if (err != 0)
                return refuse(ret, err,
                        arena_printf(a, "the feature level cannot be raised to %u: %s", to, f.text),
                        "'raftctl level' shows who runs what");
        return state_level_raise(tx, to);
}
