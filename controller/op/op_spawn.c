/* Making resources from their group: spawn, autoplace, adjust. */
#include "controller/op/op_internal.h"

/* ---- spawn ---- */

static uint32_t list_vgs(struct op *op, const char *rg, struct vlm_grp **ret)
{
        struct vlm_grp key = { .rsc_grp_name = rg };
        struct row_scan s;
        uint32_t n = 0, max = (uint32_t)row_count(op->tx, &vlm_grp_type, &key, 1);
        *ret = arena_alloc(op->arena, (max + 1) * sizeof **ret);
        row_scan_open(&s, op->tx, &vlm_grp_type, &key, 1);
        while (n < max && row_scan_next(&s, op->arena, &(*ret)[n])) n++;
        row_scan_close(&s);
        return n;
}

/* One volume definition for each size, numbered as the volume groups are. */
static bool spawn_volumes(
        struct op *op, struct rsc_dfn *rd, const char *rg, const struct rsc_grp_spawn_body *b)
{
        struct vlm_grp *vgs;
        uint32_t vgs_n = list_vgs(op, rg, &vgs);
        if (vgs_n != b->volume_sizes_n && !b->partial) {
                struct api_rc *rc = op_rc(op, RC_FAIL_INVLD_VLM_SIZES,
                        "Resource group '%s' has %u volume groups, but %u sizes are given.", rg, vgs_n,
                        b->volume_sizes_n);
                op_rc_explain(op, rc, NULL, NULL,
                        "Give one size for each volume group, or ask for a partial spawn.");
                return false;
        }
        for (uint32_t i = 0; i < b->volume_sizes_n; i++) {
                struct vlm_dfn vd;
                bool from_vg = i < vgs_n;
                struct vd_args args = { .has_number = from_vg,
                        .number = from_vg ? (int64_t)vgs[i].volume_number : 0,
                        .size_kib = b->volume_sizes[i] > INT64_MAX ? -1 : (int64_t)b->volume_sizes[i],
                        .flags = from_vg ? vgs[i].flags : 0,
                        .passphrase = i < b->volume_passphrases_n ? b->volume_passphrases[i] : NULL,
                        .minor = -1 };
                if (!op_make_vd(op, rd, &args, &vd)) return false;
        }
        return true;
}

void op_rg_spawn(struct op *op)
{
        const struct rsc_grp_spawn_body *b = OP_BODY(op, rsc_grp_spawn_body);
        struct rsc_grp g;
        struct rsc_dfn rd;
        if (!op_need_rg(op, op->params[0], &g)) return;
        if (b->select_filter != NULL && !op_filter_check(op, b->select_filter)) return;
        struct select_filter *f = op_filter_merge(op, g.select_filter, b->select_filter);
        struct rd_args args = { .name = b->resource_definition_name,
                .external_name = b->resource_definition_external_name,
                .rg_name = g.name,
                .props = &b->resource_definition_props,
                .drbd_peer_slots = HAS(b, rsc_grp_spawn_body, peer_slots) ? b->peer_slots : g.peer_slots,
                .layer_stack = b->select_filter != NULL ? b->select_filter->layer_stack : NULL,
                .layer_stack_n = b->select_filter != NULL ? b->select_filter->layer_stack_n : 0 };
        if (!op_make_rd(op, &args, &rd) || !spawn_volumes(op, &rd, g.name, b)) return;
        if (b->definitions_only) {
                op_rc(op, RC_INFO_NO_RSC_SPAWNED,
                        "Only the definitions of '%s' were made, no resource was placed.", rd.name);
                return;
        }
        (void)op_place_rd(op, &rd, f, false);
}

/* ---- autoplace ---- */

void op_rd_autoplace(struct op *op)
{
        const struct autoplace_body *b = OP_BODY(op, autoplace_body);
        struct rsc_dfn rd;
        struct rsc_grp g = { 0 };
        if (!op_need_rd(op, op->params[0], &rd)) return;
        if (b->select_filter != NULL && !op_filter_check(op, b->select_filter)) return;
        (void)op_find_rg(op, rd.rsc_grp_name, &g);
        struct select_filter *f = op_filter_merge(op, g.select_filter, b->select_filter);
        if (HAS(b, autoplace_body, diskless_on_remaining))
                SET(f, select_filter, diskless_on_remaining, b->diskless_on_remaining);
        const struct select_filter *r = b->select_filter;
        if (b->layer_list_n != 0 && !op_decide_stack(op, &rd, b->layer_list, b->layer_list_n)) return;
        if (b->layer_list_n == 0 && r != NULL && r->layer_stack_n != 0 &&
                !op_decide_stack(op, &rd, r->layer_stack, r->layer_stack_n))
                return;
        (void)op_place_rd(op, &rd, f, false);
}

/* ---- adjust ---- */

struct adjusted {
        unsigned made;  /* resources */
        unsigned tries; /* definitions that lacked some; bounded */
};

/* Adds what the resource definitions of a group lack. */
static void adjust_group(struct op *op, const struct rsc_grp *g, struct adjusted *done)
{
        const struct rsc_grp_adjust_body *b = OP_BODY(op, rsc_grp_adjust_body);
        struct select_filter *f = op_filter_merge(op, g->select_filter, b->select_filter);
        struct idx_grp_rsc_dfn key = { .rsc_grp_name = g->name }, row;
        struct row_scan s;
        struct rsc_dfn rd;
        row_scan_open(&s, op->tx, &idx_grp_rsc_dfn_type, &key, 1);
        while (!op_failed(op) && done->tries < ADJUST_MAX && row_scan_next(&s, op->arena, &row)) {
                struct vlm_dfn vkey = { .rsc_name = row.rsc_name };
                if (!op_find_rd(op, row.rsc_name, &rd) || row_count(op->tx, &vlm_dfn_type, &vkey, 1) == 0)
                        continue;
                int made = op_place_rd(op, &rd, f, true);
                done->tries += made != 0;
                if (made > 0) done->made += (unsigned)made;
        }
        row_scan_close(&s);
}

static void say_more(struct op *op, const struct adjusted *done)
{
        if (done->tries >= ADJUST_MAX)
                op_rc(op, RC_WARN_NO_EFFECT,
                        "Only %d resource definitions are adjusted at a time: ask again.", ADJUST_MAX);
}

static bool adjust_body_ok(struct op *op)
{
        const struct rsc_grp_adjust_body *b = OP_BODY(op, rsc_grp_adjust_body);
        return b->select_filter == NULL || op_filter_check(op, b->select_filter);
}

void op_rg_adjust(struct op *op)
{
        struct rsc_grp g;
        struct adjusted done = { 0 };
        if (!op_need_rg(op, op->params[0], &g) || !adjust_body_ok(op)) return;
        adjust_group(op, &g, &done);
        struct api_rc *rc = op_rc(
                op, RC_MODIFIED, "Resource group '%s' adjusted: %u resources created.", g.name, done.made);
        op_rc_ref(op, rc, "RscGrp", g.name);
        say_more(op, &done);
}

void op_rg_adjust_all(struct op *op)
{
        struct rsc_grp g = { 0 };
        struct row_scan s;
        struct adjusted done = { 0 };
        if (!adjust_body_ok(op)) return;
        row_scan_open(&s, op->tx, &rsc_grp_type, &g, 0);
        while (!op_failed(op) && row_scan_next(&s, op->arena, &g)) adjust_group(op, &g, &done);
        row_scan_close(&s);
        op_rc(op, RC_MODIFIED, "All resource groups adjusted: %u resources created.", done.made);
        say_more(op, &done);
}
