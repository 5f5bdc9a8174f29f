/* What is due for resource definitions because of time, or of what satellites say: see tend.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/op/op_auto.h"
#include "controller/op/tend.h"

#define SWEEP_RSCS_MAX 64

/* One definition with all that decides about it. */
struct subject {
        struct rsc_dfn rd;
        struct rsc_grp rg;
        struct strmap ctrl;
        struct rsc rscs[SWEEP_RSCS_MAX];
        uint32_t rscs_n;
        bool proposed; /* what was seen is not true any more when that is carried out */
};

static bool load(struct look *l, struct subject *s)
{
        struct rsc key = { .rsc_name = s->rd.name };
        struct ctrl_props c;
        struct row_scan scan;
        struct rsc_grp g = { .name = s->rd.rsc_grp_name };
        s->rg = (struct rsc_grp){ 0 };
        if (g.name != NULL && row_get(l->args->wanted, &rsc_grp_type, &g, l->arena, &s->rg) != 0)
                s->rg = (struct rsc_grp){ 0 };
        if (row_get_single(l->args->wanted, &ctrl_props_type, l->arena, &c) != 0) return false;
        s->ctrl = c.props;
        s->rscs_n = 0;
        row_scan_open(&scan, l->args->wanted, &rsc_type, &key, 1);
        while (s->rscs_n < SWEEP_RSCS_MAX && row_scan_next(&scan, l->arena, &s->rscs[s->rscs_n])) s->rscs_n++;
        row_scan_close(&scan);
        return s->rscs_n > 0;
}

static const char *prop_of(struct look *l, const struct subject *s, const struct rsc *r, const char *key)
{
        struct node n = { .name = r->node_name };
        if (row_get(l->args->wanted, &node_type, &n, l->arena, &n) != 0) n.props = (struct strmap){ 0 };
        return op_prop_chain(key, &r->props, &n.props, &s->rd.props, &s->rg.props, &s->ctrl, NULL);
}

static void propose_step(struct look *l, struct subject *s, const struct rsc *r, enum rsc_step_kind kind)
{
        struct rsc_step body = { 0 };
        char about[96];
        uint32_t n = l->n;
        SET(&body, rsc_step, rsc_name, r->rsc_name);
        SET(&body, rsc_step, node_name, r->node_name);
        SET(&body, rsc_step, revision, r->revision);
        SET(&body, rsc_step, kind, kind);
        /* With the time: what could not be done when it was first due may be possible later. */
        snprintf(about, sizeof about, "%llu %s %lld", (unsigned long long)r->revision,
                enum_name(&rsc_step_kind_enum, kind), (long long)l->args->wall_ms);
        reconcile_propose_effective(l, "/internal/rsc-step", &rsc_step_type, &body, "rsc-step",
                arena_printf(l->arena, "%s/%s", r->rsc_name, r->node_name), about);
        s->proposed = s->proposed || l->n > n;
}

/* ---- auto-diskful ---- */

static bool used_for_long(struct look *l, const struct subject *s, const struct rsc *r)
{
        struct obs_rsc o;
        const char *minutes = prop_of(l, s, r, "DrbdOptions/auto-diskful");
        if (!op_given(minutes) || strtoll(minutes, NULL, 10) < 0) return false;
        if (tend_status(l, r->node_name) != conn_status_ONLINE || !tend_observed(l, r, &o) || !o.in_use)
                return false;
        if (!HAS(&o, obs_rsc, in_use_since_ms) || !HAS(&o, obs_rsc, in_use_since_mono_ms)) return false;
        return tend_passed(l, o.in_use_since_ms, o.in_use_since_mono_ms, strtoll(minutes, NULL, 10));
}

/* ---- disks that were lost ---- */

/* What is said of an older row may be over: the user has just told the node to take the disk again. */
static bool has_lost_disk(struct look *l, const struct rsc *r)
{
        struct obs_rsc o;
        if ((r->flags & rsc_flag_DISKLESS) != 0 || tend_status(l, r->node_name) != conn_status_ONLINE)
                return false;
        if (!tend_carried_out(l, r, true) || !tend_observed(l, r, &o)) return false;
        return op_lost_disk(&o);
}

static void look_rsc(struct look *l, struct subject *s, const struct rsc *r)
{
        uint64_t busy = RSC_ADDING | RSC_REMOVING | rsc_flag_INACTIVE | rsc_flag_EVACUATE | rsc_flag_DELETE;
        if ((r->flags & busy) != 0 || s->proposed) return;
        if ((r->flags & rsc_flag_DRBD_DISKLESS) == rsc_flag_DRBD_DISKLESS) {
                if (used_for_long(l, s, r)) propose_step(l, s, r, rsc_step_kind_AUTO_DISKFUL);
        } else if ((r->flags & rsc_flag_AUTO_DISKFUL) != 0) {
                if (tend_up_to_date(l, r)) propose_step(l, s, r, rsc_step_kind_AUTO_DISKFUL_OVER);
        }
        if (!s->proposed && has_lost_disk(l, r)) propose_step(l, s, r, rsc_step_kind_SKIP_DISK);
}

/* ---- the definition ---- */

static void propose_about(struct look *l, struct subject *s, const char *path, const char *kind)
{
        struct rsc_settle body = { 0 };
        char when[24];
        uint32_t n = l->n;
        SET(&body, rsc_settle, rsc_name, s->rd.name);
        snprintf(when, sizeof when, "%lld", (long long)l->args->wall_ms);
        reconcile_propose_effective(l, path, &rsc_settle_type, &body, kind, s->rd.name, when);
        s->proposed = s->proposed || l->n > n;
}

/* Keys of before of encrypted volumes: does every node have the present one? The operation looks. */
static void look_keys(struct look *l, const struct rsc_dfn *rd)
{
        struct vlm_dfn vd, key = { .rsc_name = rd->name };
        struct row_scan scan;
        row_scan_open(&scan, l->args->wanted, &vlm_dfn_type, &key, 1);
        while (look_goes_on(l) && row_scan_next(&scan, l->arena, &vd)) {
                struct vd_rekeyed body = { 0 };
                char when[24];
                if (!HAS(&vd, vlm_dfn, luks_olds)) continue;
                SET(&body, vd_rekeyed, rsc_name, vd.rsc_name);
                SET(&body, vd_rekeyed, volume_number, vd.volume_number);
                SET(&body, vd_rekeyed, key_id, vd.luks_key_id);
                snprintf(when, sizeof when, "%lld", (long long)l->args->wall_ms);
                reconcile_propose_effective(l, "/internal/volume-definition-rekeyed", &vd_rekeyed_type, &body,
                        "rekeyed",
                        arena_printf(l->arena, "%s/%llu", vd.rsc_name, (unsigned long long)vd.volume_number),
                        when);
        }
        row_scan_close(&scan);
}

static void look_rd(struct look *l, struct subject *s)
{
        if (RD_HAS_LAYER(&s->rd, "LUKS")) look_keys(l, &s->rd);
        if (!RD_HAS_LAYER(&s->rd, "DRBD") || !load(l, s)) return;
        s->proposed = false;
        for (uint32_t i = 0; i < s->rscs_n; i++) look_rsc(l, s, &s->rscs[i]);
        if (!s->proposed) propose_about(l, s, "/internal/rsc-settle", "settle");
        if (!s->proposed && l->args->sweep->balancing)
                propose_about(l, s, "/internal/rsc-balance", "balance");
}

/* A pass begins: is it one that balances? */
static void begin_pass(struct look *l)
{
        struct reconcile_sweep *w = l->args->sweep;
        struct ctrl_props c;
        const char *s = row_get_single(l->args->wanted, &ctrl_props_type, l->arena, &c) == 0
                                ? strmap_get(&c.props, "BalanceResourcesInterval")
                                : NULL;
        int64_t interval_s = s != NULL ? strtoll(s, NULL, 10) : BALANCE_INTERVAL_S;
        int64_t ms = MIN(MAX(interval_s, 1), INT64_C(366) * 24 * 3600) * 1000;
        w->balancing = w->began_ms != 0 && l->args->mono_ms - w->began_ms >= ms;
        if (w->began_ms == 0 || w->balancing) w->began_ms = MAX(l->args->mono_ms, 1);
}

void tend_sweep(struct look *l)
{
        struct reconcile_sweep *w = l->args->sweep;
        struct subject *s = arena_new(l->arena, struct subject);
        struct row_scan scan;
        struct rsc_dfn after = { .name = w->at };
        bool more = true;
        if (w->at[0] == '\0') begin_pass(l);
        row_scan_open(&scan, l->args->wanted, &rsc_dfn_type, NULL, 0);
        if (w->at[0] != '\0') row_scan_after(&scan, &after, 1);
        for (uint32_t i = 0; i < w->max && look_goes_on(l); i++) {
                more = row_scan_next(&scan, l->arena, &s->rd);
                if (!more) break;
                look_rd(l, s);
                snprintf(w->at, sizeof w->at, "%s", s->rd.name);
        }
        row_scan_close(&scan);
        if (!more) w->at[0] = '\0';
}
