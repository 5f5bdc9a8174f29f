/* Resource groups and volume groups. Spawning and adjusting are in op_spawn.c. */
#include <regex.h>
#include <string.h>

#include "controller/op/auto_snap.h"
#include "controller/op/op_quorum.h"

/* ---- select filters ---- */

static bool pools_ok(struct op *op, const char *const *names, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++) {
                if (name_check(NAME_POOL, names[i]) == NULL) continue;
                op_rc(op, RC_FAIL_INVLD_STOR_POOL_NAME, "'%.64s' is not a name of a storage pool.", names[i]);
                return false;
        }
        return true;
}

static bool providers_ok(struct op *op, struct select_filter *f)
{
        for (uint32_t i = 0; i < f->provider_list_n; i++) {
                int kind = enum_parse(&provider_kind_enum, f->provider_list[i]);
                if (kind < 0) {
                        op_rc(op, RC_FAIL_INVLD_PROVIDER, "'%.32s' is not a kind of storage pool.",
                                f->provider_list[i]);
                        return false;
                }
                f->provider_list[i] = enum_name(&provider_kind_enum, (unsigned)kind);
        }
        return true;
}

static bool regex_ok(struct op *op, const char *pattern)
{
        regex_t re;
        if (!op_given(pattern)) return true;
        if (regcomp(&re, pattern, REG_EXTENDED | REG_ICASE | REG_NOSUB) == 0) {
                regfree(&re);
                return true;
        }
        op_rc(op, RC_FAIL_INVLD_REQUEST, "'%.64s' is not a regular expression.", pattern);
        return false;
}

bool op_filter_check(struct op *op, struct select_filter *f)
{
        if (HAS(f, select_filter, place_count) && (f->place_count < 1 || f->place_count > 32)) {
                op_rc(op, RC_FAIL_INVLD_PLACE_COUNT, "The place count must be 1 to 32, not %lld.",
                        (long long)f->place_count);
                return false;
        }
        if (HAS(f, select_filter, additional_place_count) &&
                (f->additional_place_count < 0 || f->additional_place_count > 32)) {
                op_rc(op, RC_FAIL_INVLD_PLACE_COUNT, "The additional place count must be 0 to 32, not %lld.",
                        (long long)f->additional_place_count);
                return false;
        }
        for (uint32_t i = 0; i < f->x_replicas_on_different.n; i++) {
                if (f->x_replicas_on_different.vals[i] >= 1) continue;
                op_rc(op, RC_FAIL_INVLD_PLACE_COUNT,
                        "At least one replica must be allowed for each value of '%.64s'.",
                        f->x_replicas_on_different.keys[i]);
                return false;
        }
        if (op_given(f->storage_pool) && !pools_ok(op, &f->storage_pool, 1)) return false;
        if (!pools_ok(op, f->storage_pool_list, f->storage_pool_list_n)) return false;
        if (!providers_ok(op, f) || !regex_ok(op, f->not_place_with_rsc_regex)) return false;
        if (f->layer_stack_n != 0) {
                const char **stack;
                uint32_t n;
                if (!op_layer_stack(op, f->layer_stack, f->layer_stack_n, &stack, &n)) return false;
                SET_N(f, select_filter, layer_stack, stack, n);
        }
        return true;
}

/* What is empty is not set: it is absent when read back. The list of pools and its older form mirror each
 * other. */
static void tidy_filter(struct op *op, struct select_filter *f)
{
#define DROP_EMPTY_LIST(m) \
        if (f->m##_n == 0) UNSET(f, select_filter, m)
#define DROP_EMPTY_STR(m) \
        if (!op_given(f->m)) UNSET(f, select_filter, m)
        if (f->storage_pool_list_n == 0 && op_given(f->storage_pool)) {
                const char **one = arena_alloc(op->arena, sizeof *one);
                one[0] = f->storage_pool;
                SET_N(f, select_filter, storage_pool_list, one, 1);
        }
        f->storage_pool = NULL;
        UNSET(f, select_filter, storage_pool);
        if (f->storage_pool_list_n == 1) SET(f, select_filter, storage_pool, f->storage_pool_list[0]);
        DROP_EMPTY_LIST(node_name_list);
        DROP_EMPTY_LIST(storage_pool_list);
        DROP_EMPTY_LIST(storage_pool_diskless_list);
        DROP_EMPTY_LIST(not_place_with_rsc);
        DROP_EMPTY_LIST(replicas_on_same);
        DROP_EMPTY_LIST(replicas_on_different);
        DROP_EMPTY_LIST(layer_stack);
        DROP_EMPTY_LIST(provider_list);
        DROP_EMPTY_STR(not_place_with_rsc_regex);
        DROP_EMPTY_STR(diskless_type);
        if (f->x_replicas_on_different.n == 0) UNSET(f, select_filter, x_replicas_on_different);
        UNSET(f, select_filter, additional_place_count);
        UNSET(f, select_filter, overprovision);
#undef DROP_EMPTY_LIST
#undef DROP_EMPTY_STR
}

/* Members of a patch take over, also when they are empty. */
static void patch_filter(struct op *op, struct select_filter *f, const struct select_filter *patch)
{
        struct select_filter p = *patch;
        bool list = HAS(&p, select_filter, storage_pool_list), one = HAS(&p, select_filter, storage_pool);
        if (one || list) { /* whichever is given replaces both */
                f->storage_pool = NULL;
                SET_N(f, select_filter, storage_pool_list, NULL, 0);
        }
        if (list && p.storage_pool_list_n != 0) UNSET(&p, select_filter, storage_pool);
        if (HAS(&p, select_filter, x_replicas_on_different))
                f->x_replicas_on_different = (struct intmap){ 0 };
        obj_merge(&select_filter_type, f, &p, op->arena);
        tidy_filter(op, f);
}

struct select_filter *op_filter_merge(
        struct op *op, const struct select_filter *group, const struct select_filter *request)
{
        struct select_filter *f = arena_new(op->arena, struct select_filter);
        static const struct select_filter empty;
        if (group == NULL) group = &empty;
        if (request == NULL) request = &empty;
        *f = *group;
#define TAKE_LIST(m) \
        if (request->m##_n != 0) SET_N(f, select_filter, m, request->m, request->m##_n)
#define TAKE(m, given) \
        if (given) SET(f, select_filter, m, request->m)
        TAKE(place_count, HAS(request, select_filter, place_count));
        TAKE(additional_place_count, HAS(request, select_filter, additional_place_count));
        TAKE_LIST(node_name_list);
        TAKE_LIST(storage_pool_list);
        if (request->storage_pool_list_n == 0 && op_given(request->storage_pool)) {
                const char **one = arena_alloc(op->arena, sizeof *one);
                one[0] = request->storage_pool;
                SET_N(f, select_filter, storage_pool_list, one, 1);
        }
        TAKE_LIST(storage_pool_diskless_list);
        TAKE_LIST(not_place_with_rsc);
        TAKE(not_place_with_rsc_regex, op_given(request->not_place_with_rsc_regex));
        TAKE_LIST(replicas_on_same);
        TAKE_LIST(replicas_on_different);
        TAKE(x_replicas_on_different, request->x_replicas_on_different.n != 0);
        TAKE_LIST(layer_stack);
        TAKE_LIST(provider_list);
        TAKE(diskless_on_remaining, HAS(request, select_filter, diskless_on_remaining));
        TAKE(diskless_type, op_given(request->diskless_type));
        TAKE(overprovision, HAS(request, select_filter, overprovision));
        TAKE(port_count, HAS(request, select_filter, port_count));
#undef TAKE_LIST
#undef TAKE
        return f;
}

/* ---- resource groups ---- */

static struct api_rc *rg_rc(struct op *op, enum apirc_code code, const char *name, const char *done)
{
        struct api_rc *rc = op_rc(op, code, "Resource group '%s' %s.", name, done);
        op_rc_ref(op, rc, "RscGrp", name);
        return rc;
}

static bool peer_slots_ok(struct op *op, int64_t slots)
{
        if (slots >= 1 && slots <= 31) return true;
        op_rc(op, RC_FAIL_INVLD_PROP, "The number of peer slots must be 1 to 31, not %lld.",
                (long long)slots);
        return false;
}

void op_rg_create(struct op *op)
{
        const struct rsc_grp_body *b = OP_BODY(op, rsc_grp_body);
        const char *why = name_check(NAME_RSC_GRP, b->name);
        struct rsc_grp g = { 0 };
        if (why != NULL) {
                op_rc(op, RC_FAIL_INVLD_RSC_GRP_NAME, "'%.64s' is not a name of a resource group: %s.",
                        op_text(b->name), why);
                return;
        }
        g.name = b->name;
        if (row_exists(op->tx, &rsc_grp_type, &g)) {
                rg_rc(op, RC_FAIL_EXISTS_RSC_GRP, b->name, "exists already");
                return;
        }
        struct select_filter *f = arena_new(op->arena, struct select_filter);
        SET(f, select_filter, place_count, PLACE_COUNT_DEFAULT);
        if (b->select_filter != NULL) {
                if (!op_filter_check(op, b->select_filter)) return;
                patch_filter(op, f, b->select_filter);
        }
        SET(&g, rsc_grp, name, b->name);
        SET(&g, rsc_grp, uuid, op_uuid(op));
        SET(&g, rsc_grp, select_filter, f);
        if (op_given(b->description)) SET(&g, rsc_grp, description, b->description);
        if (HAS(b, rsc_grp_body, peer_slots)) {
                if (!peer_slots_ok(op, b->peer_slots)) return;
                SET(&g, rsc_grp, peer_slots, b->peer_slots);
        }
        if (!op_props_new(op, PS_RD, &b->props, &g.props)) return;
        MARK(&g, rsc_grp, props);
        row_put(op->tx, &rsc_grp_type, &g);
        rg_rc(op, RC_CREATED, g.name, "created");
}

void op_rg_modify(struct op *op)
{
        const struct rsc_grp_modify *b = OP_BODY(op, rsc_grp_modify);
        struct rsc_grp g;
        struct prop_mod mod = OP_PROP_MOD(b);
        if (!op_need_rg(op, op->params[0], &g)) return;
        if (b->select_filter != NULL) {
                if (!op_filter_check(op, b->select_filter)) return;
                if (g.select_filter == NULL)
                        SET(&g, rsc_grp, select_filter, arena_new(op->arena, struct select_filter));
                patch_filter(op, g.select_filter, b->select_filter);
        }
        if (HAS(b, rsc_grp_modify, description)) {
                if (op_given(b->description)) SET(&g, rsc_grp, description, b->description);
                else UNSET(&g, rsc_grp, description);
        }
        if (HAS(b, rsc_grp_modify, peer_slots)) {
                if (!peer_slots_ok(op, b->peer_slots)) return;
                SET(&g, rsc_grp, peer_slots, b->peer_slots);
        }
        if (!op_props_modify(op, PS_RD, &g.props, &mod, NULL)) return;
        MARK(&g, rsc_grp, props);
        row_put(op->tx, &rsc_grp_type, &g);
        op_settle_group(op, g.name, &mod);
        op_auto_snap_touch_group(op, g.name, &mod);
        rg_rc(op, RC_MODIFIED, g.name, "modified");
}

void op_rg_delete(struct op *op)
{
        struct rsc_grp g = { .name = op->params[0] };
        if (row_get(op->tx, &rsc_grp_type, &g, op->arena, &g) != 0) {
                rg_rc(op, RC_WARN_NOT_FOUND, op->params[0], "does not exist");
                return;
        }
        struct idx_grp_rsc_dfn key = { .rsc_grp_name = g.name };
        uint64_t used = row_count(op->tx, &idx_grp_rsc_dfn_type, &key, 1);
        if (used != 0) {
                struct api_rc *rc = rg_rc(op, RC_FAIL_EXISTS_RSC_DFN, g.name, "has resource definitions");
                op_rc_explain(op, rc,
                        arena_printf(
                                op->arena, "It has %llu resource definitions.", (unsigned long long)used),
                        NULL, "Delete them, or move them to another group, first.");
                return;
        }
        struct vlm_grp vkey = { .rsc_grp_name = g.name }, v;
        struct row_scan s;
        row_scan_open(&s, op->tx, &vlm_grp_type, &vkey, 1);
        while (row_scan_next(&s, op->arena, &v)) (void)row_del(op->tx, &vlm_grp_type, &v);
        row_scan_close(&s);
        (void)row_del(op->tx, &rsc_grp_type, &g);
        rg_rc(op, RC_DELETED, g.name, "deleted");
}

/* ---- volume groups ---- */

static struct api_rc *vg_rc(
        struct op *op, enum apirc_code code, const char *rg, uint64_t number, const char *done)
{
        struct api_rc *rc = op_rc(op, code, "Volume group %llu of resource group '%s' %s.",
                (unsigned long long)number, rg, done);
        op_rc_ref(op, rc, "RscGrp", rg);
        op_rc_ref(op, rc, "VlmGrp", arena_printf(op->arena, "%llu", (unsigned long long)number));
        return rc;
}

static bool find_vg(struct op *op, const char *rg, uint64_t number, struct vlm_grp *ret)
{
        struct vlm_grp key = { .rsc_grp_name = rg, .volume_number = number };
        return row_get(op->tx, &vlm_grp_type, &key, op->arena, ret) == 0;
}

void op_vg_create(struct op *op)
{
        const struct vlm_grp_body *b = OP_BODY(op, vlm_grp_body);
        struct rsc_grp g;
        struct vlm_grp v = { 0 };
        uint64_t number = 0;
        if (!op_need_rg(op, op->params[0], &g)) return;
        if (HAS(b, vlm_grp_body, volume_number)) {
                if (b->volume_number < 0 || b->volume_number > VLM_NR_MAX) {
                        op_rc(op, RC_FAIL_INVLD_VLM_NR, "%lld is not a volume number.",
                                (long long)b->volume_number);
                        return;
                }
                number = (uint64_t)b->volume_number;
                if (find_vg(op, g.name, number, &v)) {
                        vg_rc(op, RC_FAIL_EXISTS_VLM_GRP, g.name, number, "exists already");
                        return;
                }
        } else {
                while (number <= VLM_NR_MAX && find_vg(op, g.name, number, &v)) number++;
                if (number > VLM_NR_MAX) {
                        op_rc(op, RC_FAIL_POOL_EXHAUSTED_VLM_NR,
                                "Resource group '%s' has no free volume number.", g.name);
                        return;
                }
        }
        v = (struct vlm_grp){ 0 };
        SET(&v, vlm_grp, rsc_grp_name, g.name);
        SET(&v, vlm_grp, volume_number, number);
        SET(&v, vlm_grp, uuid, op_uuid(op));
        uint64_t flags = 0;
        if (!op_flags_modify(op, &vlm_grp_flag_flags, vlm_grp_flag_GROSS_SIZE, b->flags, b->flags_n, &flags))
                return;
        SET(&v, vlm_grp, flags, flags);
        if (!op_props_new(op, PS_VD, &b->props, &v.props)) return;
        MARK(&v, vlm_grp, props);
        row_put(op->tx, &vlm_grp_type, &v);
        vg_rc(op, RC_CREATED, g.name, number, "created");
}

static bool need_vg(struct op *op, struct rsc_grp *g, struct vlm_grp *v)
{
        uint64_t number;
        if (!op_need_rg(op, op->params[0], g)) return false;
        if (!op_parse_number(op->params[1], &number)) {
                op_rc(op, RC_FAIL_INVLD_VLM_NR, "'%s' is not a volume number.", op->params[1]);
                return false;
        }
        if (find_vg(op, g->name, number, v)) return true;
        vg_rc(op, op->route->op_bits == RC_OP_DELETE ? RC_WARN_NOT_FOUND : RC_FAIL_NOT_FOUND_VLM_GRP, g->name,
                number, "does not exist");
        return false;
}

void op_vg_modify(struct op *op)
{
        const struct vlm_grp_modify *b = OP_BODY(op, vlm_grp_modify);
        struct rsc_grp g;
        struct vlm_grp v;
        struct prop_mod mod = OP_PROP_MOD(b);
        if (!need_vg(op, &g, &v)) return;
        uint64_t flags = v.flags;
        if (!op_flags_modify(op, &vlm_grp_flag_flags, vlm_grp_flag_GROSS_SIZE, b->flags, b->flags_n, &flags))
                return;
        SET(&v, vlm_grp, flags, flags);
        if (!op_props_modify(op, PS_VD, &v.props, &mod, NULL)) return;
        MARK(&v, vlm_grp, props);
        row_put(op->tx, &vlm_grp_type, &v);
        vg_rc(op, RC_MODIFIED, g.name, v.volume_number, "modified");
}

void op_vg_delete(struct op *op)
{
        struct rsc_grp g;
        struct vlm_grp v;
        if (!need_vg(op, &g, &v)) return;
        (void)row_del(op->tx, &vlm_grp_type, &v);
        vg_rc(op, RC_DELETED, g.name, v.volume_number, "deleted");
}
