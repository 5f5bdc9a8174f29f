/* What is due for resources, see tend.h. */
#include "controller/tend.h"

#include <stdio.h>
#include <string.h>

#include "controller/observed_rows.h"
#include "state/index.h"

/* ---- what is known ---- */

static enum conn_status status_of(struct look *l, const char *node)
{
        struct obs_node n;
        if (observed_node_get(l->args->observed, node, l->arena, &n) != 0) return conn_status_UNKNOWN;
        return n.connection_status;
}

/* What the satellite said of this very resource. */
static bool observed(struct look *l, const struct rsc *r, struct obs_rsc *ret)
{
        struct obs_rsc key = { .node_name = r->node_name, .rsc_name = r->rsc_name };
        if (row_get(l->args->observed, &obs_rsc_type, &key, l->arena, ret) != 0) return false;
        return ret->uuid == NULL || r->uuid == NULL || strcmp(ret->uuid, r->uuid) == 0;
}

/* Has its node carried out what the row says now? may_fail: or tried to. */
static bool carried_out(struct look *l, const struct rsc *r, bool may_fail)
{
        struct obs_rsc o;
        if (!observed(l, r, &o) || o.revision < r->revision) return false;
        return o.state == sat_step_state_DONE || (may_fail && o.state == sat_step_state_FAILED);
}

static bool up_to_date(struct look *l, const struct rsc *r)
{
        struct obs_rsc o;
        uint32_t good = 0;
        if ((r->flags & (rsc_flag_DISKLESS | rsc_flag_INACTIVE)) != 0 || !observed(l, r, &o)) return false;
        if (status_of(l, r->node_name) != conn_status_ONLINE) return false;
        for (uint32_t i = 0; i < o.volumes_n; i++)
                good += o.volumes[i].disk_state != NULL && strcmp(o.volumes[i].disk_state, "UpToDate") == 0;
        return good >= r->volumes_n;
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
                enum conn_status status = status_of(l, x.node_name);
                bool own = strcmp(x.node_name, r->node_name) == 0;
                if (status == conn_status_ONLINE) ready = carried_out(l, &x, true);
                else ready = !own && status != conn_status_UNKNOWN;
        }
        row_scan_close(&s);
        return ready;
}

static void look_one(struct look *l, const struct rsc *r)
{
        if ((r->flags & RSC_ADDING) != 0) {
                if (peers_are_ready(l, r)) propose_step(l, r, rsc_step_kind_DISK_ADDED);
        } else if ((r->flags & RSC_REMOVING) != 0) {
                if (status_of(l, r->node_name) == conn_status_ONLINE && carried_out(l, r, false))
                        propose_step(l, r, rsc_step_kind_DISK_REMOVED);
        } else if (strmap_get(&r->props, PROP_MIGRATE_FROM) != NULL) {
                if (up_to_date(l, r)) propose_step(l, r, rsc_step_kind_MIGRATED);
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
