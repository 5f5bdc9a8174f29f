/* Resource definitions. */
#include <sodium.h>
#include <string.h>

#include "controller/op/auto_snap.h"
#include "controller/op/op_crypt.h"
#include "controller/op/op_quorum.h"
#include "wire/base/sabotage.h"

#define DRBD_SECRET_BYTES 15

static struct api_rc *rd_rc(
        struct op *op, enum apirc_code code, unsigned verb, const struct rsc_dfn *rd, const char *done)
{
        struct api_rc *rc =
                op_rc_as(op, code, verb, RC_OBJ_RSC_DFN, "Resource definition '%s' %s.", rd->name, done);
        if (rd->uuid != NULL)
                op_rc_explain(op, rc, NULL,
                        arena_printf(op->arena, "UUID of resource definition '%s': %s", rd->name, rd->uuid),
                        NULL);
        op_rc_ref(op, rc, "RscDfn", rd->name);
        return rc;
}

/* ---- layers ---- */

static const char *const default_stack[] = { "DRBD", "STORAGE" };

void op_effective_stack(struct op *op, const struct rsc_dfn *rd, const char *const **ret, uint32_t *ret_n)
{
        struct rsc_grp g = { .name = rd->rsc_grp_name };
        *ret = rd->layer_stack;
        *ret_n = rd->layer_stack_n;
        if (*ret_n != 0) return;
        if (op_given(g.name) && row_get(op->tx, &rsc_grp_type, &g, op->arena, &g) == 0 &&
                g.select_filter != NULL) {
                *ret = g.select_filter->layer_stack;
                *ret_n = g.select_filter->layer_stack_n;
        }
        if (*ret_n != 0) return;
        *ret = default_stack;
        *ret_n = ARRAY_LEN(default_stack);
}

/* A secret that only the stored row knows: drawn apart from the numbers that become visible. */
static const char *make_secret(struct op *op)
{
        uint64_t raw[2] = { op_random(op), op_random(op) };
        char *out = arena_alloc(
                op->arena, sodium_base64_ENCODED_LEN(DRBD_SECRET_BYTES, sodium_base64_VARIANT_ORIGINAL));
        return sodium_bin2base64(out,
                sodium_base64_ENCODED_LEN(DRBD_SECRET_BYTES, sodium_base64_VARIANT_ORIGINAL),
                (const unsigned char *)raw, DRBD_SECRET_BYTES, sodium_base64_VARIANT_ORIGINAL);
}

/* With DRBD come a secret and minors. */
static bool equip_drbd(struct op *op, struct rsc_dfn *rd)
{
        struct vlm_dfn *vds;
        if (!RD_HAS_LAYER(rd, "DRBD")) return true;
        if (!op_given(rd->drbd_secret)) SET(rd, rsc_dfn, drbd_secret, make_secret(op));
        if (!HAS(rd, rsc_dfn, drbd_peer_slots)) {
                struct rsc_grp g = { 0 };
                (void)op_find_rg(op, rd->rsc_grp_name, &g);
                const char *slots =
                        op_prop_chain("PeerSlotsNewResource", &rd->props, &g.props, op_ctrl_props(op), NULL);
                uint64_t n = DRBD_PEER_SLOTS_DEFAULT;
                if (slots != NULL) (void)op_parse_number(slots, &n);
                if (HAS(&g, rsc_grp, peer_slots)) n = (uint64_t)g.peer_slots;
                SET(rd, rsc_dfn, drbd_peer_slots, (int64_t)n);
        }
        uint32_t n = op_list_vds(op, rd->name, &vds);
        for (uint32_t i = 0; i < n; i++) {
                if (HAS(&vds[i], vlm_dfn, drbd_minor)) continue;
                int64_t minor = op_free_minor(op);
                if (minor < 0) return false;
                SET(&vds[i], vlm_dfn, drbd_minor, minor);
                row_put(op->tx, &vlm_dfn_type, &vds[i]);
        }
        return true;
}

bool op_decide_stack(struct op *op, struct rsc_dfn *rd, const char *const *wanted, uint32_t n)
{
        const char **stack;
        uint32_t stack_n;
        if (n == 0 && rd->layer_stack_n != 0) return true;
        if (n == 0) op_effective_stack(op, rd, &wanted, &n);
        if (!op_layer_stack(op, wanted, n, &stack, &stack_n)) return false;
        bool same = rd->layer_stack_n == stack_n;
        for (uint32_t i = 0; same && i < stack_n; i++) same = op_same(stack[i], rd->layer_stack[i]);
        if (same) return true;
        struct rsc key = { .rsc_name = rd->name };
        if (rd->layer_stack_n != 0 && row_count(op->tx, &rsc_type, &key, 1) != 0) {
                op_rc(op, RC_FAIL_INVLD_LAYER_STACK,
                        "The layers of resource definition '%s' cannot change while it has resources.",
                        rd->name);
                return false;
        }
        if (op_has_layer(stack, stack_n, "LUKS") && (!op_crypt_ready(op) || !op_crypt_volumes(op, rd)))
                return false;
        SET_N(rd, rsc_dfn, layer_stack, stack, stack_n);
        if (!equip_drbd(op, rd)) return false;
        row_put(op->tx, &rsc_dfn_type, rd);
        return true;
}

/* ---- create ---- */

static const char *pick_name(struct op *op, const char *external)
{
        char *base = name_derive_rsc(external, op->arena);
        const char *name = base;
        struct rsc_dfn rd;
        for (unsigned i = 1; op_find_rd(op, name, &rd); i++)
                name = arena_printf(op->arena, "%.40s_%u", base, i);
        return name;
}

static bool names_ok(struct op *op, const struct rd_args *args, const char **ret_name)
{
        struct rsc_dfn old;
        struct idx_external_name x = { .external_name = args->external_name };
        *ret_name = args->name;
        if (op_given(args->external_name)) {
                if (strlen(args->external_name) > EXTERNAL_NAME_MAX) {
                        op_rc(op, RC_FAIL_INVLD_EXT_NAME, "The external name is longer than %d bytes.",
                                EXTERNAL_NAME_MAX);
                        return false;
                }
                if (row_exists(op->tx, &idx_external_name_type, &x) && !SABOTAGE(EXTERNAL_NAME_UNCHECKED)) {
                        op_rc(op, RC_FAIL_EXISTS_EXT_NAME,
                                "A resource definition has the external name '%.64s' already.",
                                args->external_name);
                        return false;
                }
                if (!op_given(*ret_name)) *ret_name = pick_name(op, args->external_name);
        }
        const char *why = name_check(NAME_RSC, *ret_name);
        if (why != NULL) {
                op_rc_as(op, RC_FAIL_INVLD_RSC_NAME, RC_OP_CREATE, RC_OBJ_RSC_DFN,
                        "'%.64s' is not a name of a resource: %s.", op_text(*ret_name), why);
                return false;
        }
        if (!op_find_rd(op, *ret_name, &old) || SABOTAGE(NAME_UNCHECKED)) return true;
        rd_rc(op, RC_FAIL_EXISTS_RSC_DFN, RC_OP_CREATE, &old, "exists already");
        return false;
}

bool op_make_rd(struct op *op, const struct rd_args *args, struct rsc_dfn *ret)
{
        struct rsc_grp g;
        const char *name;
        *ret = (struct rsc_dfn){ 0 };
        if (!names_ok(op, args, &name)) return false;
        if (!op_need_rg(op, op_given(args->rg_name) ? args->rg_name : DFLT_RSC_GRP, &g)) return false;
        if (args->drbd_port < 0 || args->drbd_port > 65535) {
                op_rc(op, RC_FAIL_INVLD_RSC_PORT, "%lld is not a TCP port.", (long long)args->drbd_port);
                return false;
        }
        if (args->drbd_peer_slots < 0 || args->drbd_peer_slots > 31) {
                op_rc(op, RC_FAIL_INVLD_PROP, "The number of peer slots must be 1 to 31, not %lld.",
                        (long long)args->drbd_peer_slots);
                return false;
        }
        SET(ret, rsc_dfn, name, name);
        SET(ret, rsc_dfn, uuid, op_uuid(op));
        SET(ret, rsc_dfn, rsc_grp_name, g.name);
        if (op_given(args->external_name)) SET(ret, rsc_dfn, external_name, args->external_name);
        if (args->drbd_port != 0) SET(ret, rsc_dfn, drbd_port, args->drbd_port);
        if (args->drbd_peer_slots != 0) SET(ret, rsc_dfn, drbd_peer_slots, args->drbd_peer_slots);
        if (op_given(args->drbd_secret)) SET(ret, rsc_dfn, drbd_secret, args->drbd_secret);
        if (op_given(args->drbd_transport)) SET(ret, rsc_dfn, drbd_transport_type, args->drbd_transport);
        if (!op_props_new(op, PS_RD, args->props, &ret->props)) return false;
        MARK(ret, rsc_dfn, props);
        rd_rc(op, RC_CREATED, RC_OP_CREATE, ret, "created");
        if (args->layer_stack_n != 0 && !op_decide_stack(op, ret, args->layer_stack, args->layer_stack_n))
                return false;
        row_put(op->tx, &rsc_dfn_type, ret);
        op_auto_snap_touch(op, ret);
        return !op_failed(op);
}

void op_rd_create(struct op *op)
{
        const struct rd_create *b = OP_BODY(op, rd_create);
        static const struct rd_body nothing;
        const struct rd_body *d = b->resource_definition != NULL ? b->resource_definition : &nothing;
        struct rd_args args = { .name = d->name,
                .external_name = d->external_name,
                .rg_name = d->resource_group_name,
                .props = &d->props,
                .drbd_port = b->drbd_port,
                .drbd_peer_slots = b->drbd_peer_slots,
                .drbd_secret = b->drbd_secret,
                .drbd_transport = b->drbd_transport_type };
        struct rsc_dfn rd;
        args.layer_stack = arena_array(op->arena, const char *, d->layer_data_n + 1);
        for (uint32_t i = 0; args.layer_stack != NULL && i < d->layer_data_n; i++)
                args.layer_stack[args.layer_stack_n++] = op_text(d->layer_data[i].type);
        if (!op_make_rd(op, &args, &rd)) return;
        for (uint32_t i = 0; i < d->volume_definitions_n; i++) {
                const struct vd_body *v = &d->volume_definitions[i];
                struct vd_args va = { .has_number = HAS(v, vd_body, volume_number),
                        .number = v->volume_number,
                        .size_kib = v->size_kib,
                        .props = &v->props,
                        .minor = -1 };
                struct vlm_dfn vd;
                if (!op_flags_modify(op, &vlm_dfn_flag_flags, vlm_dfn_flag_GROSS_SIZE, v->flags, v->flags_n,
                            &va.flags))
                        return;
                if (!op_make_vd(op, &rd, &va, &vd)) return;
        }
}

/* ---- modify, delete ---- */

static bool move_to_group(struct op *op, struct rsc_dfn *rd, const char *group)
{
        struct rsc_grp g;
        if (!op_need_rg(op, group, &g)) return false;
        SET(rd, rsc_dfn, rsc_grp_name, g.name);
        return true;
}

void op_rd_modify(struct op *op)
{
        const struct rd_modify *b = OP_BODY(op, rd_modify);
        struct rsc_dfn rd;
        struct prop_mod mod = OP_PROP_MOD(b);
        bool matters;
        if (!op_need_rd(op, op->params[0], &rd)) return;
        if (op_given(b->resource_group) && !move_to_group(op, &rd, b->resource_group)) return;
        if (b->layer_stack_n != 0 && !op_decide_stack(op, &rd, b->layer_stack, b->layer_stack_n)) return;
        if (HAS(b, rd_modify, drbd_port)) {
                if (b->drbd_port < 1 || b->drbd_port > 65535) {
                        op_rc(op, RC_FAIL_INVLD_RSC_PORT, "%lld is not a TCP port.", (long long)b->drbd_port);
                        return;
                }
                SET(&rd, rsc_dfn, drbd_port, b->drbd_port);
        }
        if (HAS(b, rd_modify, drbd_peer_slots)) {
                if (b->drbd_peer_slots < 1 || b->drbd_peer_slots > 31) {
                        op_rc(op, RC_FAIL_INVLD_PROP, "The number of peer slots must be 1 to 31, not %lld.",
                                (long long)b->drbd_peer_slots);
                        return;
                }
                SET(&rd, rsc_dfn, drbd_peer_slots, b->drbd_peer_slots);
        }
        if (!op_verify_by_user(op, &rd, &mod)) return;
        if (!op_props_modify(op, PS_RD, &rd.props, &mod, &matters)) return;
        op_quorum_by_user(op, &rd, &mod);
        MARK(&rd, rsc_dfn, props);
        row_put(op->tx, &rsc_dfn_type, &rd);
        op_auto_snap_touch(op, &rd);
        if (matters) op_touch_rd(op, rd.name);
        op_settle_later(op, rd.name);
        rd_rc(op, RC_MODIFIED, RC_OP_MODIFY, &rd, "modified");
}

void op_rd_delete(struct op *op)
{
        struct rsc_dfn rd;
        struct rsc *rscs;
        if (!op_find_rd(op, op->params[0], &rd)) {
                struct api_rc *rc =
                        op_rc(op, RC_WARN_NOT_FOUND, "There is no resource definition '%s'.", op->params[0]);
                op_rc_ref(op, rc, "RscDfn", op->params[0]);
                return;
        }
        struct snap_dfn key = { .rsc_name = rd.name };
        uint64_t snaps = row_count(op->tx, &snap_dfn_type, &key, 1);
        if (snaps != 0) {
                struct api_rc *rc = op_rc(op, RC_FAIL_EXISTS_SNAPSHOT_DFN,
                        "Resource definition '%s' has %llu snapshots.", rd.name, (unsigned long long)snaps);
                op_rc_explain(op, rc, NULL, NULL, "Delete them first.");
                op_rc_ref(op, rc, "RscDfn", rd.name);
                return;
        }
        uint32_t n = op_list_rscs(op, rd.name, &rscs);
        for (uint32_t i = 0; i < n; i++) {
                if (!op_in_use(op, &rscs[i])) continue;
                struct api_rc *rc = op_rc(op, RC_FAIL_IN_USE, "Resource '%s' is in use on node '%s'.",
                        rd.name, rscs[i].node_name);
                op_explain_use(op, rc, &rscs[i]);
                op_rc_ref(op, rc, "RscDfn", rd.name);
                op_rc_ref(op, rc, "Node", rscs[i].node_name);
                return;
        }
        op_remove_rd(op, &rd);
        rd_rc(op, RC_DELETED, RC_OP_DELETE, &rd, "deleted");
}
