/* Automatic snapshots, see auto_snap.h. */
#include "controller/op/auto_snap.h"

#include <stdlib.h>
#include <string.h>

#include "controller/op/saga.h"
#include "controller/op/ship.h"

#define RUN_EVERY "AutoSnapshot/RunEvery"
#define KEEP "AutoSnapshot/Keep"
#define NEXT_ID "AutoSnapshot/NextAutoId"
#define EVERY_MAX_MIN (10LL * 366 * 24 * 60)
#define NAME_TRIES 1000u

/* ---- when ---- */

int64_t auto_snap_next(int64_t due_ms, int64_t every_ms, int64_t now_ms)
{
        return now_ms - due_ms <= every_ms / 4 ? due_ms + every_ms : now_ms + every_ms;
}

static bool is_absurd(int64_t due_ms, int64_t every_ms, int64_t now_ms)
{
        return due_ms > now_ms + every_ms + AUTO_SNAP_SLACK_MS;
}

bool auto_snap_is_due(int64_t due_ms, int64_t every_ms, int64_t now_ms)
{
        return due_ms <= now_ms || is_absurd(due_ms, every_ms, now_ms);
}

static const char *effective(struct op *op, const struct rsc_dfn *rd, const char *key)
{
        struct rsc_grp g = { 0 };
        (void)op_find_rg(op, rd->rsc_grp_name, &g);
        return op_prop_chain(key, &rd->props, &g.props, op_ctrl_props(op), NULL);
}

/* 0: none. */
static int64_t every_of(struct op *op, const struct rsc_dfn *rd)
{
        const char *v = effective(op, rd, RUN_EVERY);
        int64_t min = v != NULL ? strtoll(v, NULL, 10) : 0;
        return min <= 0 ? 0 : MIN(min, EVERY_MAX_MIN) * 60000;
}

static void put(struct op *op, struct auto_snap *a, int64_t due_ms, int64_t every_ms)
{
        SET(a, auto_snap, due_ms, due_ms);
        SET(a, auto_snap, every_ms, every_ms);
        row_put(op->tx, &auto_snap_type, a);
}

void op_auto_snap_touch(struct op *op, const struct rsc_dfn *rd)
{
        struct auto_snap a, key = { .rsc_name = rd->name };
        int64_t every = every_of(op, rd), now = op->req->wall_ms;
        bool have = row_get(op->tx, &auto_snap_type, &key, op->arena, &a) == 0;
        if (every == 0) {
                if (have) (void)row_del(op->tx, &auto_snap_type, &key);
                return;
        }
        if (have && a.every_ms == every) return;
        if (!have) {
                a = (struct auto_snap){ 0 };
                SET(&a, auto_snap, rsc_name, rd->name);
        }
        /* A shorter interval counts at once, a longer one after the next time. */
        put(op, &a, have ? MIN(a.due_ms, now + every) : now + every, every);
}

static bool concerns(const struct prop_mod *mod)
{
        bool yes = mod->delete_props_n + mod->delete_namespaces_n != 0;
        for (uint32_t i = 0; !yes && i < mod->override_props.n; i++)
                yes = strstr(mod->override_props.kv[2 * (size_t)i], "AutoSnapshot") != NULL;
        return yes;
}

void op_auto_snap_touch_group(struct op *op, const char *group, const struct prop_mod *mod)
{
        struct idx_grp_rsc_dfn key = { .rsc_grp_name = group }, at;
        struct row_scan s;
        if (!concerns(mod)) return;
        row_scan_open(&s, op->tx, &idx_grp_rsc_dfn_type, &key, group != NULL ? 1 : 0);
        while (row_scan_next(&s, op->arena, &at)) {
                struct rsc_dfn rd;
                if (op_find_rd(op, at.rsc_name, &rd)) op_auto_snap_touch(op, &rd);
        }
        row_scan_close(&s);
}

void auto_snap_look(struct look *l)
{
        struct row_scan s;
        struct auto_snap a;
        row_scan_open(&s, l->args->wanted, &auto_snap_type, NULL, 0);
        while (look_goes_on(l) && row_scan_next(&s, l->arena, &a)) {
                if (!auto_snap_is_due(a.due_ms, a.every_ms, l->args->wall_ms)) continue;
                struct auto_snap_due body = { 0 };
                SET(&body, auto_snap_due, rsc_name, a.rsc_name);
                SET(&body, auto_snap_due, due_ms, a.due_ms);
                reconcile_propose(l, "/internal/auto-snapshot", &auto_snap_due_type, &body, "auto-snapshot",
                        a.rsc_name,
                        arena_printf(l->arena, "%lld %s", (long long)a.due_ms,
                                a.due_ms <= l->args->wall_ms ? "due" : "absurd"));
        }
        row_scan_close(&s);
}

/* ---- taking one ---- */

/* All nodes with a disk are there; else the reason. */
static const char *why_not(struct op *op, const char *rsc_name)
{
        struct rsc *rscs;
        uint32_t n = op_list_rscs(op, rsc_name, &rscs), disks = 0;
        for (uint32_t i = 0; i < n; i++) {
                if ((rscs[i].flags & (rsc_flag_DISKLESS | rsc_flag_INACTIVE)) != 0) continue;
                disks++;
                if (!op_node_surely_online(op, rscs[i].node_name))
                        return arena_printf(op->arena, "Node '%s' is not connected.", rscs[i].node_name);
        }
        return disks == 0 ? "No node has a disk of it." : NULL;
}

/* A name that is free, and the number after it. NULL: there is none. */
static const char *pick_name(struct op *op, const struct rsc_dfn *rd, uint64_t *ret_next)
{
        const char *v = strmap_get(&rd->props, NEXT_ID);
        uint64_t id = 0;
        struct snap_dfn d;
        if (v != NULL) (void)op_parse_number(v, &id);
        for (uint32_t i = 0; i < NAME_TRIES; i++, id++) {
                const char *name = arena_printf(op->arena, AUTO_SNAP_PREFIX "%05llu", (unsigned long long)id);
                *ret_next = id + 1;
                if (!op_find_snap_dfn(op, rd->name, name, &d)) return name;
        }
        return NULL;
}

static const char *first_error(const struct reply *r)
{
        for (uint32_t i = 0; i < r->rcs_n; i++)
                if (apirc_severity(r->rcs[i].ret_code) == APIRC_ERROR) return r->rcs[i].message;
        return "It was refused.";
}

/* As an operation within this one: when it is refused, nothing of it stays, and this one goes on. NULL, or the reason. */
static const char *make(struct op *op, const struct snap_args *args)
{
        struct reply reply = { 0 };
        struct snap *snaps;
        struct op part = *op;
        part.reply = &reply;
        part.rcs_cap = part.waits_cap = 0;
        bool made = op_make_snap(&part, args);
        op->random_count = part.random_count;
        op->early |= part.early;
        op->doubtful |= part.doubtful;
        if (made) return NULL;
        uint32_t n = op_list_snaps(op, args->rsc_name, args->snap_name, &snaps);
        for (uint32_t i = 0; i < n; i++) (void)row_del(op->tx, &snap_type, &snaps[i]);
        struct snap_dfn key = { .rsc_name = args->rsc_name, .snap_name = args->snap_name };
        (void)row_del(op->tx, &snap_dfn_type, &key);
        return first_error(&reply);
}

static const char *take(struct op *op, struct rsc_dfn *rd)
{
        uint64_t next;
        struct reply reply = { 0 };
        struct op part = *op;
        const char *why = why_not(op, rd->name);
        if (why != NULL) return why;
        part.reply = &reply;
        part.rcs_cap = part.waits_cap = 0;
        if (!op_saga_free(&part, rd->name)) return first_error(&reply);
        const char *name = pick_name(op, rd, &next);
        if (name == NULL) return "No name is free: " NEXT_ID " is behind.";
        struct snap_args args = {
                .rsc_name = rd->name, .snap_name = name, .flags = snap_dfn_flag_AUTO_SNAPSHOT
        };
        why = make(op, &args);
        if (why != NULL) return why;
        strmap_set(&rd->props, NEXT_ID, arena_printf(op->arena, "%llu", (unsigned long long)next), op->arena);
        MARK(rd, rsc_dfn, props);
        row_put(op->tx, &rsc_dfn_type, rd);
        struct saga_item item = { 0 };
        SET(&item, saga_item, rsc_name, rd->name);
        SET(&item, saga_item, snap_name, name);
        op_saga_begin(op, saga_kind_SNAPSHOT, &item, 1, NULL, false);
        return NULL;
}

/* The first of several that are left out in a row is reported. */
static void left_out(struct op *op, struct auto_snap *a, const char *why)
{
        SET(a, auto_snap, left_out, a->left_out + 1);
        SET(a, auto_snap, reason, why);
        if (a->left_out > 1) return;
        op_report(op, "AutoSnapshotException",
                arena_printf(op->arena,
                        "No automatic snapshot of resource '%s' was taken: %s It is tried again each %lld "
                        "minutes; "
                        "the next report follows when one was taken and another is left out.",
                        a->rsc_name, why, (long long)(a->every_ms / 60000)));
}

void op_int_auto_snap(struct op *op)
{
        const struct auto_snap_due *b = OP_BODY(op, auto_snap_due);
        struct auto_snap a, key = { .rsc_name = b->rsc_name };
        struct rsc_dfn rd;
        int64_t now = op->req->wall_ms;
        bool have = row_get(op->tx, &auto_snap_type, &key, op->arena, &a) == 0;
        if (!have || a.due_ms != b->due_ms || !op_find_rd(op, b->rsc_name, &rd)) {
                op_rc(op, RC_MODIFIED, "It has been seen to already.");
                return;
        }
        if (!auto_snap_is_due(a.due_ms, a.every_ms, now)) {
                op_rc(op, RC_FAIL_INVLD_REQUEST, "It is not due.");
                return;
        }
        if (is_absurd(a.due_ms, a.every_ms, now)) {
                put(op, &a, now + a.every_ms, a.every_ms);
                op_rc(op, RC_MODIFIED, "The clock was set back: the interval begins anew.");
                return;
        }
        const char *why = take(op, &rd);
        if (why != NULL) {
                left_out(op, &a, why);
                op_rc(op, RC_MODIFIED, "No automatic snapshot of '%s' was taken: %s", rd.name, why);
        } else {
                UNSET(&a, auto_snap, left_out);
                UNSET(&a, auto_snap, reason);
                op_rc(op, RC_CREATED, "An automatic snapshot of '%s' is being taken.", rd.name);
        }
        put(op, &a, auto_snap_next(a.due_ms, a.every_ms, now), a.every_ms);
}

/* ---- keeping some ---- */

/* Numbers grow, clocks may be set back: age goes by the name. */
static int by_name(const void *a, const void *b)
{
        const char *x = ((const struct snap_dfn *)a)->snap_name, *y = ((const struct snap_dfn *)b)->snap_name;
        size_t nx = strlen(x), ny = strlen(y);
        return nx != ny ? (nx < ny ? -1 : 1) : strcasecmp(x, y);
}

void op_auto_snap_prune(struct op *op, const struct snap_dfn *taken)
{
        struct rsc_dfn rd;
        struct snap_dfn key = { .rsc_name = taken->rsc_name };
        struct row_scan s;
        if (!op_find_rd(op, taken->rsc_name, &rd)) return;
        const char *v = effective(op, &rd, KEEP);
        int64_t keep = v != NULL ? strtoll(v, NULL, 10) : AUTO_SNAP_KEEP_DEFAULT;
        uint64_t max = row_count(op->tx, &snap_dfn_type, &key, 1);
        if (keep <= 0 || max <= (uint64_t)keep) return;
        struct snap_dfn *list = arena_alloc(op->arena, max * sizeof *list);
        uint64_t n = 0;
        row_scan_open(&s, op->tx, &snap_dfn_type, &key, 1);
        while (n < max && row_scan_next(&s, op->arena, &list[n])) {
                const uint64_t need = snap_dfn_flag_AUTO_SNAPSHOT | snap_dfn_flag_SUCCESSFUL;
                if ((list[n].flags & need) == need && !op_given(list[n].saga)) n++;
        }
        row_scan_close(&s);
        if (n != 0) qsort(list, n, sizeof *list, by_name);
        for (uint64_t i = 0, left = n; i < n && left > (uint64_t)keep; i++) {
                if (op_same(list[i].snap_name, taken->snap_name) || op_snap_is_source(op, &list[i]) ||
                        op_ship_has(op, list[i].rsc_name, list[i].snap_name))
                        continue;
                op_bury_snap(op, &list[i], NULL);
                left--;
        }
}
