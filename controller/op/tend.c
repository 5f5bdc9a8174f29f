/* What is due for resources, see tend.h. */
#include "controller/op/tend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/observed_rows.h"
#include "controller/op/op_internal.h"
#include "state/index.h"

#define MINUTES_MAX (INT64_C(100) * 366 * 24 * 60)

/* ---- what is known ---- */

enum conn_status tend_status(struct look *l, const char *node)
{
        struct obs_node n;
        if (observed_node_get(l->args->observed, node, l->arena, &n) != 0) return conn_status_UNKNOWN;
        return n.connection_status;
}

bool tend_observed(struct look *l, const struct rsc *r, struct obs_rsc *ret)
{
        struct obs_rsc key = { .node_name = r->node_name, .rsc_name = r->rsc_name };
        if (row_get(l->args->observed, &obs_rsc_type, &key, l->arena, ret) != 0) return false;
        return ret->uuid == NULL || r->uuid == NULL || strcmp(ret->uuid, r->uuid) == 0;
}

bool tend_carried_out(struct look *l, const struct rsc *r, bool may_fail)
{
        struct obs_rsc o;
        if (!tend_observed(l, r, &o) || o.revision < r->revision) return false;
        return o.state == sat_step_state_DONE || (may_fail && o.state == sat_step_state_FAILED);
}

bool tend_up_to_date(struct look *l, const struct rsc *r)
{
        struct obs_rsc o;
        uint32_t good = 0;
        if ((r->flags & (rsc_flag_DISKLESS | rsc_flag_INACTIVE)) != 0 || !tend_observed(l, r, &o))
                return false;
        if (tend_status(l, r->node_name) != conn_status_ONLINE) return false;
        for (uint32_t i = 0; i < o.volumes_n; i++)
                good += o.volumes[i].disk_state != NULL && strcmp(o.volumes[i].disk_state, "UpToDate") == 0;
        return good >= r->volumes_n;
}

bool tend_passed(const struct look *l, int64_t since_ms, int64_t since_mono_ms, int64_t minutes)
{
        int64_t ms = MIN(MAX(minutes, 0), MINUTES_MAX) * 60000;
        return l->args->wall_ms - since_ms >= ms && l->args->mono_ms - since_mono_ms >= ms;
}

/* ---- one resource ---- */

static void propose_step(struct look *l, const struct rsc *r, enum rsc_step_kind kind)
{
        struct rsc_step body = { 0 };
        char about[64];
        SET(&body, rsc_step, rsc_name, r->rsc_name);
        SET(&body, rsc_step, node_name, r->node_name);
        SET(&body, rsc_step, revision, r->revision);
        SET(&body, rsc_step, kind, kind);
        snprintf(about, sizeof about, "%llu %s", (unsigned long long)r->revision,
                enum_name(&rsc_step_kind_enum, kind));
        reconcile_propose(l, "/internal/rsc-step", &rsc_step_type, &body, "rsc-step",
                arena_printf(l->arena, "%s/%s", r->rsc_name, r->node_name), about);
}

/* Peers that are away hear of it when they come back; of one that this member has not tried yet nothing is known. */
static bool peers_are_ready(struct look *l, const struct rsc *r)
{
        struct rsc x, key = { .rsc_name = r->rsc_name };
        struct row_scan s;
        bool ready = true;
        row_scan_open(&s, l->args->wanted, &rsc_type, &key, 1);
        while (ready && row_scan_next(&s, l->arena, &x)) {
                enum conn_status status = tend_status(l, x.node_name);
                bool own = strcmp(x.node_name, r->node_name) == 0;
                if (status == conn_status_ONLINE) ready = tend_carried_out(l, &x, true);
                else ready = !own && status != conn_status_UNKNOWN;
        }
        row_scan_close(&s);
        return ready;
}

static bool in_use(struct look *l, const struct rsc *r)
{
        struct obs_rsc o;
        /* Of a node that is online and has said nothing yet nobody knows. */
        if (!tend_observed(l, r, &o)) return tend_status(l, r->node_name) == conn_status_ONLINE;
        return o.in_use;
}

static int64_t replicas_wanted(struct look *l, const char *rsc_name)
{
        struct rsc_dfn rd, key = { .name = rsc_name };
        struct rsc_grp g, gkey = { 0 };
        if (row_get(l->args->wanted, &rsc_dfn_type, &key, l->arena, &rd) != 0) return PLACE_COUNT_DEFAULT;
        gkey.name = rd.rsc_grp_name;
        if (gkey.name == NULL || row_get(l->args->wanted, &rsc_grp_type, &gkey, l->arena, &g) != 0)
                return PLACE_COUNT_DEFAULT;
        bool set = g.select_filter != NULL && HAS(g.select_filter, select_filter, place_count);
        return set ? g.select_filter->place_count : PLACE_COUNT_DEFAULT;
}

/* Nobody uses it, and as many others as the group wants have all the data. */
static bool may_leave(struct look *l, const struct rsc *r)
{
        struct rsc x, key = { .rsc_name = r->rsc_name };
        struct row_scan s;
        int64_t good = 0;
        if (in_use(l, r)) return false;
        if ((r->flags & rsc_flag_DISKLESS) != 0) return true;
        row_scan_open(&s, l->args->wanted, &rsc_type, &key, 1);
        while (row_scan_next(&s, l->arena, &x))
                good += (x.flags & rsc_flag_EVACUATE) == 0 && tend_up_to_date(l, &x);
        row_scan_close(&s);
        return good >= MAX(replicas_wanted(l, r->rsc_name), 1);
}

/* The wall clock may have been put back: one mark too early gone is better than one too late. */
static int64_t resolve_known_ms(struct look *l, const struct rsc *r)
{
        return reconcile_known_ms(l, "resolve", arena_printf(l->arena, "%s/%s", r->rsc_name, r->node_name),
                arena_printf(l->arena, "%llu", (unsigned long long)r->drbd_resolve));
}

static void look_one(struct look *l, const struct rsc *r)
{
        if (HAS(r, rsc, drbd_resolve)) {
                bool late = l->args->wall_ms - r->drbd_resolve_ms > RESOLVE_MS ||
                            resolve_known_ms(l, r) > RESOLVE_MS;
                if (late || tend_carried_out(l, r, true)) propose_step(l, r, rsc_step_kind_RESOLVED);
        } else if ((r->flags & RSC_ADDING) != 0) {
                if (peers_are_ready(l, r)) propose_step(l, r, rsc_step_kind_DISK_ADDED);
        } else if ((r->flags & RSC_REMOVING) != 0) {
                if (tend_status(l, r->node_name) == conn_status_ONLINE && tend_carried_out(l, r, false))
                        propose_step(l, r, rsc_step_kind_DISK_REMOVED);
        } else if ((r->flags & rsc_flag_EVACUATE) != 0) {
                if (may_leave(l, r)) propose_step(l, r, rsc_step_kind_EVACUATED);
        } else if (strmap_get(&r->props, PROP_MIGRATE_FROM) != NULL) {
                if (tend_up_to_date(l, r)) propose_step(l, r, rsc_step_kind_MIGRATED);
        }
}

void tend_busy(struct look *l)
{
        struct row_scan s;
        struct idx_rsc_busy at;
        row_scan_open(&s, l->args->wanted, &idx_rsc_busy_type, NULL, 0);
        while (look_goes_on(l) && row_scan_next(&s, l->arena, &at)) {
                struct rsc r, key = { .rsc_name = at.rsc_name, .node_name = at.node_name };
                if (row_get(l->args->wanted, &rsc_type, &key, l->arena, &r) == 0) look_one(l, &r);
        }
        row_scan_close(&s);
}

/* ---- nodes that are away ---- */

static const char *text_prop(struct look *l, const struct strmap *node, const char *key)
{
        struct ctrl_props c;
        const char *v = node != NULL ? strmap_get(node, key) : NULL;
        if (v == NULL && row_get_single(l->args->wanted, &ctrl_props_type, l->arena, &c) == 0)
                v = strmap_get(&c.props, key);
        return v;
}

static int64_t number_prop(struct look *l, const struct strmap *node, const char *key, int64_t fallback)
{
        const char *v = text_prop(l, node, key);
        return v != NULL ? strtoll(v, NULL, 10) : fallback;
}

/* Does a neighbour still hear its DRBD? Then it runs, and only we do not reach it. */
static bool has_neighbours(struct look *l, const char *node)
{
        struct row_scan s;
        struct obs_rsc o;
        bool found = false;
        row_scan_open(&s, l->args->observed, &obs_rsc_type, NULL, 0);
        while (!found && row_scan_next(&s, l->arena, &o)) {
                if (!HAS(&o, obs_rsc, drbd) || strcmp(o.node_name, node) == 0) continue;
                for (uint32_t i = 0; i < o.drbd->peers_n && !found; i++) {
                        const struct obs_drbd_peer *p = &o.drbd->peers[i];
                        found = p->connection != NULL && strcmp(p->connection, "Connected") == 0 &&
                                op_same(p->name, node) && tend_status(l, o.node_name) == conn_status_ONLINE;
                }
        }
        row_scan_close(&s);
        return found;
}

static bool is_due(struct look *l, const struct node *n, const struct obs_node *o)
{
        int64_t after_min = number_prop(l, &n->props, "DrbdOptions/AutoEvictAfterTime", AUTO_EVICT_AFTER_MIN);
        if ((n->flags & (node_flag_EVICTED | node_flag_EVACUATE)) != 0) return false;
        if (!prop_bool(text_prop(l, &n->props, "DrbdOptions/AutoEvictAllowEviction"), true)) return false;
        if (!HAS(o, obs_node, since_ms) || !HAS(o, obs_node, since_mono_ms)) return false;
        return tend_passed(l, o->since_ms, o->since_mono_ms, after_min);
}

void tend_nodes(struct look *l)
{
        struct row_scan s;
        struct node n, due = { 0 };
        int64_t all = 0, away = 0, due_since = 0;
        row_scan_open(&s, l->args->wanted, &node_type, NULL, 0);
        while (row_scan_next(&s, l->arena, &n)) {
                struct obs_node o;
                if (n.type != node_type_SATELLITE && n.type != node_type_COMBINED) continue;
                if ((n.flags & node_flag_EVICTED) == node_flag_EVICTED) continue;
                all++;
                if (observed_node_get(l->args->observed, n.name, l->arena, &o) != 0) continue;
                if (o.connection_status != conn_status_OFFLINE) continue;
                away++;
                if (due.name != NULL || !is_due(l, &n, &o)) continue;
                due = n;
                due_since = o.since_ms;
        }
        row_scan_close(&s);
        if (due.name == NULL || !look_goes_on(l)) return;
        int64_t most =
                number_prop(l, NULL, "DrbdOptions/AutoEvictMaxDisconnectedNodes", AUTO_EVICT_MAX_PERCENT);
        if (away * 100 > most * all || has_neighbours(l, due.name)) return;
        struct node_evict_due body = { 0 };
        SET(&body, node_evict_due, node_name, due.name);
        SET(&body, node_evict_due, since_ms, due_since);
        reconcile_propose(l, "/internal/node-evict", &node_evict_due_type, &body, "evict", due.name,
                arena_printf(l->arena, "%lld", (long long)due_since));
}
