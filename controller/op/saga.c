/* How far a saga is, see saga.h. */
#include "controller/op/saga.h"

#include <string.h>

#include "controller/base/observed_rows.h"

#define HOLD_MS 30000  /* for all nodes to hold; below HOLD_MAX_MS of satellites */
#define DOWN_MS 120000 /* nobody uses it */
#define TAKE_MS 600000
#define COPY_MS 3600000 /* and what copying takes, where nothing is shared */
#define COPY_KIB_PER_MS 4
#define FAILED_MS 60000

static const struct {
        int64_t limit_ms;
        bool limit_fails; /* else it is over */
        bool holds;
} phases[saga_phase_N] = {
        [saga_phase_SUSPEND] = { HOLD_MS, true, true },
        [saga_phase_TAKE] = { TAKE_MS, true, true },
        [saga_phase_RESUME] = { HOLD_MS, false, false },
        [saga_phase_DOWN] = { DOWN_MS, true, false },
        [saga_phase_SWAP] = { TAKE_MS, true, false },
        [saga_phase_COPY] = { COPY_MS, true, false },
        [saga_phase_UNDO_RESUME] = { HOLD_MS, false, false },
        [saga_phase_UNDO_UP] = { DOWN_MS, false, false },
        [saga_phase_UNDO_SWAP] = { TAKE_MS, true, false },
        [saga_phase_FAILED] = { FAILED_MS, false, false },
};

bool saga_holds(const struct saga *s) { return s->kind != saga_kind_ROLLBACK && phases[s->phase].holds; }

struct look {
        const struct saga_view *v;
        const struct saga *s;
        const char *reason;
};

static enum saga_verdict fails(struct look *l, const char *node, const char *why)
{
        l->reason = arena_printf(l->v->arena, "Node '%s': %s", node, why);
        return SAGA_FAILS;
}

static bool is_online(const struct look *l, const char *node)
{
        struct obs_node n;
        return observed_node_get(l->v->observed, node, l->v->arena, &n) == 0 &&
               n.connection_status == conn_status_ONLINE;
}

/* The first error, with its cause and its remedy: this is all that the user gets to see of it. NULL: none. */
static const char *first_report(const struct look *l, const struct api_rc *rcs, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++) {
                const char *cause = rcs[i].cause, *fix = rcs[i].correction;
                if (apirc_severity(rcs[i].ret_code) != APIRC_ERROR) continue;
                return arena_printf(l->v->arena, "%s%s%s%s%s", rcs[i].message, cause != NULL ? " " : "",
                        cause != NULL ? cause : "", fix != NULL ? " " : "", fix != NULL ? fix : "");
        }
        return NULL;
}

static const char *why_failed(const struct look *l, const struct obs_rsc *o)
{
        const char *why = first_report(l, o->reports, o->reports_n);
        for (uint32_t i = 0; why == NULL && i < o->volumes_n; i++)
                why = first_report(l, o->volumes[i].reports, o->volumes[i].reports_n);
        return why != NULL ? why : "A step failed.";
}

/* The resource as its satellite sees it. false: nothing is known. */
static bool observed(const struct look *l, const char *rsc, const char *node, struct obs_rsc *ret)
{
        struct obs_rsc key = { .node_name = node, .rsc_name = rsc };
        return row_get(l->v->observed, &obs_rsc_type, &key, l->v->arena, ret) == 0;
}

/* ---- one resource on one node, by phase ---- */

static enum saga_verdict look_held(struct look *l, const struct rsc *r, const struct obs_rsc *o, bool online)
{
        if (o->held != NULL && strcmp(o->held, l->s->uuid) == 0 && online) return SAGA_OVER;
        if (o->hold_over != NULL && strcmp(o->hold_over, l->s->uuid) == 0)
                return fails(l, r->node_name, "It has let I/O go on by itself.");
        if (!online) return fails(l, r->node_name, "The connection was lost.");
        if (o->revision >= r->revision && o->state == sat_step_state_FAILED)
                return fails(l, r->node_name, why_failed(l, o));
        return SAGA_WAIT;
}

static enum saga_verdict look_resumed(
        const struct look *l, const struct rsc *r, const struct obs_rsc *o, bool online)
{
        if (!online) return SAGA_OVER; /* it resumes by itself */
        bool held = o->held != NULL && strcmp(o->held, l->s->uuid) == 0;
        return o->revision >= r->revision && !held ? SAGA_OVER : SAGA_WAIT;
}

static enum saga_verdict look_down(struct look *l, const struct rsc *r, const struct obs_rsc *o, bool online)
{
        bool down = true;
        if (!online) return fails(l, r->node_name, "The connection was lost.");
        if (o->revision < r->revision) return SAGA_WAIT;
        for (uint32_t i = 0; i < o->volumes_n; i++) down = down && o->volumes[i].device_path == NULL;
        if (down && o->state == sat_step_state_DONE) return SAGA_OVER;
        return o->state == sat_step_state_FAILED ? fails(l, r->node_name, why_failed(l, o)) : SAGA_WAIT;
}

static enum saga_verdict look_done(struct look *l, const struct rsc *r, const struct obs_rsc *o, bool online)
{
        if (o->revision < r->revision || !online) return SAGA_WAIT;
        if (o->state == sat_step_state_DONE) return SAGA_OVER;
        return o->state == sat_step_state_FAILED ? fails(l, r->node_name, why_failed(l, o)) : SAGA_WAIT;
}

static enum saga_verdict look_settled(
        const struct look *l, const struct rsc *r, const struct obs_rsc *o, bool online)
{
        (void)l;
        if (!online) return SAGA_OVER;
        bool settled = o->state == sat_step_state_DONE || o->state == sat_step_state_FAILED;
        return o->revision >= r->revision && settled ? SAGA_OVER : SAGA_WAIT;
}

static enum saga_verdict look_one(struct look *l, const struct rsc *r)
{
        struct obs_rsc o = { 0 };
        bool online = is_online(l, r->node_name);
        (void)observed(l, r->rsc_name, r->node_name, &o);
        switch (l->s->phase) {
        case saga_phase_SUSPEND: return look_held(l, r, &o, online);
        case saga_phase_RESUME:
        case saga_phase_UNDO_RESUME: return look_resumed(l, r, &o, online);
        case saga_phase_DOWN: return look_down(l, r, &o, online);
        case saga_phase_SWAP:
        case saga_phase_COPY:
        case saga_phase_UNDO_SWAP: return look_done(l, r, &o, online);
        case saga_phase_UNDO_UP: return look_settled(l, r, &o, online);
        case saga_phase_TAKE: /* only whether it still holds */
                if (o.hold_over != NULL && strcmp(o.hold_over, l->s->uuid) == 0)
                        return fails(l, r->node_name, "it has let I/O go on by itself");
                return SAGA_OVER;
        case saga_phase_FAILED:
        case saga_phase_N: break;
        }
        return SAGA_OVER;
}

/* ---- all of them ---- */

static bool takes_part(const struct saga *s, const char *node)
{
        return op_in_list(node, (const char *const *)s->nodes, s->nodes_n);
}

static enum saga_verdict worse(enum saga_verdict a, enum saga_verdict b)
{
        if (a == SAGA_FAILS || b == SAGA_FAILS) return SAGA_FAILS;
        return a == SAGA_WAIT || b == SAGA_WAIT ? SAGA_WAIT : SAGA_OVER;
}

static enum saga_verdict look_rscs(struct look *l, const char *rsc_name, bool all)
{
        struct rsc r, key = { .rsc_name = rsc_name };
        struct row_scan s;
        enum saga_verdict v = SAGA_OVER;
        row_scan_open(&s, l->v->wanted, &rsc_type, &key, 1);
        while (v != SAGA_FAILS && row_scan_next(&s, l->v->arena, &r))
                if (all || takes_part(l->s, r.node_name)) v = worse(v, look_one(l, &r));
        row_scan_close(&s);
        return v;
}

static enum saga_verdict look_snap(struct look *l, const struct snap *s)
{
        struct obs_rsc o = { 0 };
        (void)observed(l, s->rsc_name, s->node_name, &o);
        for (uint32_t i = 0; i < o.snapshots_n; i++) {
                const struct obs_snap *x = &o.snapshots[i];
                if (strcmp(x->uuid, s->uuid) != 0) continue;
                if (x->state == sat_step_state_DONE) return SAGA_OVER;
                if (x->state != sat_step_state_FAILED || x->revision < s->revision) continue;
                const char *why = first_report(l, x->reports, x->reports_n);
                return fails(l, s->node_name, why != NULL ? why : "the snapshot cannot be taken");
        }
        return is_online(l, s->node_name) ? SAGA_WAIT : fails(l, s->node_name, "The connection was lost.");
}

static enum saga_verdict look_snaps(struct look *l, const struct saga_item *item)
{
        struct snap x, key = { .rsc_name = item->rsc_name, .snap_name = item->snap_name };
        struct row_scan s;
        enum saga_verdict v = SAGA_OVER;
        uint32_t n = 0;
        row_scan_open(&s, l->v->wanted, &snap_type, &key, 2);
        while (v != SAGA_FAILS && row_scan_next(&s, l->v->arena, &x)) {
                v = worse(v, look_snap(l, &x));
                n++;
        }
        row_scan_close(&s);
        if (n == 0) {
                l->reason = "There is no node left that could take it.";
                return SAGA_FAILS;
        }
        return v;
}

/* Copying takes as long as it takes: slower than COPY_KIB_PER_MS no disk is that works. Nodes copy side by side. */
static int64_t limit_ms(const struct look *l)
{
        struct rsc r, key = { .rsc_name = l->s->target };
        struct row_scan s;
        int64_t limit = phases[l->s->phase].limit_ms;
        uint64_t most_kib = 0;
        if (l->s->phase != saga_phase_COPY) return limit;
        row_scan_open(&s, l->v->wanted, &rsc_type, &key, 1);
        while (row_scan_next(&s, l->v->arena, &r)) {
                uint64_t kib = 0;
                for (uint32_t i = 0; i < r.volumes_n; i++) kib += r.volumes[i].size_kib;
                most_kib = MAX(most_kib, kib);
        }
        row_scan_close(&s);
        return limit + (int64_t)(most_kib / COPY_KIB_PER_MS);
}

enum saga_verdict saga_look(const struct saga_view *v, const struct saga *s, const char **ret_reason)
{
        struct look l = { .v = v, .s = s };
        enum saga_verdict verdict = SAGA_OVER;
        if (s->phase == saga_phase_FAILED) verdict = SAGA_WAIT;
        else if (s->phase == saga_phase_COPY) verdict = look_rscs(&l, s->target, true);
        else
                for (uint32_t i = 0; i < s->items_n && verdict != SAGA_FAILS; i++) {
                        verdict = worse(verdict, look_rscs(&l, s->items[i].rsc_name, false));
                        if (s->phase == saga_phase_TAKE && verdict != SAGA_FAILS)
                                verdict = worse(verdict, look_snaps(&l, &s->items[i]));
                }
        if (verdict == SAGA_WAIT && v->known_ms > limit_ms(&l)) {
                verdict = phases[s->phase].limit_fails ? SAGA_FAILS : SAGA_OVER;
                l.reason = "It took too long.";
        }
        *ret_reason = l.reason;
        return verdict;
}
