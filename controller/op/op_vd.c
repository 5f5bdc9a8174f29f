/* Volume definitions, and properties of volumes. */
#include <string.h>

#include "controller/op/op_crypt.h"
#include "controller/op/op_disk.h"
#include "controller/op/op_extra.h"
#include "controller/op/saga.h"
#include "wire/base/sabotage.h"

static const char *number_text(struct op *op, uint64_t n)
{
        return arena_printf(op->arena, "%llu", (unsigned long long)n);
}

static struct api_rc *vd_rc(
        struct op *op, enum apirc_code code, unsigned verb, const struct vlm_dfn *vd, const char *done)
{
        struct api_rc *rc = op_rc_as(op, code, verb, RC_OBJ_VLM_DFN,
                "Volume definition %llu of resource definition '%s' %s.",
                (unsigned long long)vd->volume_number, vd->rsc_name, done);
        op_rc_ref(op, rc, "RscDfn", vd->rsc_name);
        op_rc_ref(op, rc, "VlmNr", number_text(op, vd->volume_number));
        return rc;
}

/* ---- minors ---- */

bool op_minor_taken(struct op *op, uint64_t minor)
{
        struct idx_minor key = { .minor = minor };
        return row_count(op->tx, &idx_minor_type, &key, 1) != 0 && !SABOTAGE(MINOR_UNCHECKED);
}

int64_t op_free_minor(struct op *op)
{
        uint64_t lo = 1000, hi = 49999;
        const char *range = strmap_get(op_ctrl_props(op), "MinorNrAutoRange");
        if (op_given(range)) (void)prop_range(range, DRBD_MINOR_MAX, &lo, &hi);
        for (uint64_t m = lo; m <= hi; m++)
                if (!op_minor_taken(op, m)) return (int64_t)m;
        op_rc(op, RC_FAIL_POOL_EXHAUSTED_MINOR_NR, "There is no free DRBD minor number from %llu to %llu.",
                (unsigned long long)lo, (unsigned long long)hi);
        return -1;
}

/* ---- create ---- */

static bool pick_number(struct op *op, const struct rsc_dfn *rd, const struct vd_args *args, uint64_t *ret)
{
        struct vlm_dfn vd;
        if (args->has_number) {
                if (args->number < 0 || args->number > VLM_NR_MAX) {
                        op_rc_as(op, RC_FAIL_INVLD_VLM_NR, RC_OP_CREATE, RC_OBJ_VLM_DFN,
                                "%lld is not a volume number: 0 to %d.", (long long)args->number, VLM_NR_MAX);
                        return false;
                }
                *ret = (uint64_t)args->number;
                if (!op_find_vd(op, rd->name, *ret, &vd)) return true;
                vd_rc(op, RC_FAIL_EXISTS_VLM_DFN, RC_OP_CREATE, &vd, "exists already");
                return false;
        }
        for (*ret = 0; *ret <= VLM_NR_MAX; (*ret)++)
                if (!op_find_vd(op, rd->name, *ret, &vd)) return true;
        op_rc(op, RC_FAIL_POOL_EXHAUSTED_VLM_NR, "Resource definition '%s' has no free volume number.",
                rd->name);
        return false;
}

static bool size_ok(struct op *op, int64_t size_kib)
{
        if (size_kib >= 1 && (uint64_t)size_kib <= VLM_SIZE_MAX_KIB) return true;
        (void)op_rc_as(op, RC_FAIL_INVLD_VLM_SIZE, op->route->op_bits & RC_OP_DELETE, RC_OBJ_VLM_DFN,
                "%lld KiB is not a size of a volume.", (long long)size_kib);
        return false;
}

static bool set_minor(struct op *op, const struct rsc_dfn *rd, const struct vd_args *args, struct vlm_dfn *vd)
{
        if (args->minor >= 0) {
                if (args->minor > DRBD_MINOR_MAX || op_minor_taken(op, (uint64_t)args->minor)) {
                        op_rc(op, RC_FAIL_INVLD_MINOR_NR, "The DRBD minor number %lld is not free.",
                                (long long)args->minor);
                        return false;
                }
                SET(vd, vlm_dfn, drbd_minor, args->minor);
        } else if (RD_HAS_LAYER(rd, "DRBD")) {
                int64_t minor = op_free_minor(op);
                if (minor < 0) return false;
                SET(vd, vlm_dfn, drbd_minor, minor);
        }
        return true;
}

/* Has the pool room for so much more? Only pools that are not thin promise what they have. */
static bool has_room(
        struct op *op, const char *node, const char *pool, enum provider_kind kind, uint64_t more_kib)
{
        struct obs_pool o;
        if (op_is_thin(kind) || kind == provider_kind_DISKLESS) return true;
        if (!op_observed_pool(op, node, pool, &o) || !HAS(&o, obs_pool, free_kib)) return true;
        if (o.free_kib > 0 && (uint64_t)o.free_kib >= more_kib) return true;
        struct api_rc *rc = op_rc(op, RC_FAIL_NOT_ENOUGH_FREE_SPACE,
                "Storage pool '%s' on node '%s' has not enough free space.", pool, node);
        op_rc_explain(op, rc, NULL,
                arena_printf(op->arena, "%lld KiB are free, %llu KiB more are needed.", (long long)o.free_kib,
                        (unsigned long long)more_kib),
                NULL);
        return false;
}

/* Every resource that is there already gets the new volume, in the pool of its other volumes. */
static bool add_to_rscs(struct op *op, const struct rsc_dfn *rd, struct vlm_dfn *vd)
{
        struct rsc *rscs;
        struct stor_pool p;
        unsigned others = 0;
        uint32_t n = op_list_rscs(op, rd->name, &rscs);
        for (uint32_t i = 0; i < n; i++) {
                struct rsc *r = &rscs[i], old = *r;
                struct vlm *vlms = arena_alloc(op->arena, (r->volumes_n + 1) * sizeof *vlms),
                           *v = &vlms[r->volumes_n];
                const char *pool = op_prop_chain("StorPoolName", &r->props, &vd->props, &rd->props, NULL);
                if (r->volumes_n != 0) memcpy(vlms, r->volumes, r->volumes_n * sizeof *vlms);
                if (pool == NULL) pool = r->volumes_n != 0 ? vlms[0].storage_pool_name : DFLT_STOR_POOL;
                if ((r->flags & rsc_flag_DISKLESS) != 0) pool = DFLT_DISKLESS_POOL;
                if (!op_find_pool(op, r->node_name, pool, &p)) {
                        op_rc(op, RC_FAIL_NOT_FOUND_STOR_POOL, "There is no storage pool '%s' on node '%s'.",
                                pool, r->node_name);
                        return false;
                }
                uint64_t size_kib = op_extra_data_kib(op, rd, r, vd, true);
                if (!has_room(op, r->node_name, p.storage_pool_name, p.provider_kind, size_kib)) return false;
                *v = (struct vlm){ 0 };
                SET(v, vlm, volume_number, vd->volume_number);
                SET(v, vlm, storage_pool_name, p.storage_pool_name);
                SET(v, vlm, provider_kind, p.provider_kind);
                SET(v, vlm, uuid, op_uuid(op));
                SET(v, vlm, size_kib, size_kib);
                MARK(v, vlm, props);
                if (RD_HAS_LAYER(rd, "DRBD") && (r->flags & rsc_flag_DISKLESS) == 0)
                        op_drbd_replica(op, vd, r->node_name, others++, v);
                SET_N(r, rsc, volumes, vlms, r->volumes_n + 1);
                op_put_rsc(op, &old, r);
                op_wait_rsc(op, r->node_name, r->rsc_name, false);
        }
        return true;
}

/* A passphrase waits for the layer as long as the stack is not decided. That data is not encrypted after all is nobody's wish. */
static bool set_key(struct op *op, const struct rsc_dfn *rd, bool encrypted, const struct vd_args *args,
        struct vlm_dfn *vd)
{
        if (!encrypted && !op_given(args->passphrase)) return true;
        if (encrypted || rd->layer_stack_n == 0) return op_crypt_volume(op, vd, args->passphrase);
        struct api_rc *rc = op_rc(op, RC_FAIL_INVLD_LAYER_STACK,
                "A passphrase is given, but resource definition '%s' has not the layer LUKS.", rd->name);
        op_rc_explain(op, rc, NULL, NULL,
                "Make the resource definition with a layer list such as LUKS,STORAGE, or give no "
                "passphrase.");
        return false;
}

bool op_make_vd(struct op *op, struct rsc_dfn *rd, const struct vd_args *args, struct vlm_dfn *ret)
{
        const char *const *stack;
        uint32_t stack_n;
        uint64_t number;
        *ret = (struct vlm_dfn){ 0 };
        if (!size_ok(op, args->size_kib) || !pick_number(op, rd, args, &number)) return false;
        SET(ret, vlm_dfn, rsc_name, rd->name);
        SET(ret, vlm_dfn, volume_number, number);
        SET(ret, vlm_dfn, size_kib, (uint64_t)args->size_kib);
        SET(ret, vlm_dfn, flags, args->flags);
        SET(ret, vlm_dfn, uuid, op_uuid(op));
        if (!op_props_new(op, PS_VD, args->props, &ret->props)) return false;
        op_effective_stack(op, rd, &stack, &stack_n);
        if (op_has_layer(stack, stack_n, "DRBD") && strmap_get(&ret->props, "DrbdCurrentGi") == NULL)
                strmap_set(&ret->props, "DrbdCurrentGi",
                        arena_printf(op->arena, "%016llX", (unsigned long long)op_random(op) & ~1ULL),
                        op->arena);
        MARK(ret, vlm_dfn, props);
        if (!set_minor(op, rd, args, ret)) return false;
        if (!set_key(op, rd, op_has_layer(stack, stack_n, "LUKS"), args, ret)) return false;
        vd_rc(op, RC_CREATED, RC_OP_CREATE, ret, "created");
        row_put(op->tx, &vlm_dfn_type, ret);
        return add_to_rscs(op, rd, ret);
}

void op_vd_create(struct op *op)
{
        const struct vd_create *b = OP_BODY(op, vd_create);
        static const struct vd_body nothing;
        const struct vd_body *v = b->volume_definition != NULL ? b->volume_definition : &nothing;
        struct vd_args args = { .has_number = HAS(v, vd_body, volume_number),
                .number = v->volume_number,
                .size_kib = v->size_kib,
                .props = &v->props,
                .minor = HAS(b, vd_create, drbd_minor_number) ? b->drbd_minor_number : -1,
                .passphrase = HAS(b, vd_create, passphrase) ? b->passphrase : NULL };
        struct rsc_dfn rd;
        struct vlm_dfn vd;
        if (!op_need_rd(op, op->params[0], &rd) || !op_disks_still(op, rd.name)) return;
        if (!op_flags_modify(
                    op, &vlm_dfn_flag_flags, vlm_dfn_flag_GROSS_SIZE, v->flags, v->flags_n, &args.flags))
                return;
        (void)op_make_vd(op, &rd, &args, &vd);
}

/* ---- resize ---- */

static bool room_to_grow(
        struct op *op, const struct rsc *rscs, uint32_t n, uint64_t number, uint64_t more_kib)
{
        for (uint32_t i = 0; i < n; i++)
                for (uint32_t k = 0; k < rscs[i].volumes_n; k++) {
                        const struct vlm *v = &rscs[i].volumes[k];
                        if (v->volume_number == number &&
                                !has_room(op, rscs[i].node_name, v->storage_pool_name, v->provider_kind,
                                        more_kib))
                                return false;
                }
        return true;
}

static bool may_shrink(struct op *op, const struct rsc_dfn *rd, const struct rsc *rscs, uint32_t n)
{
        for (uint32_t i = 0; i < rd->layer_stack_n; i++) {
                if (op_same(rd->layer_stack[i], "STORAGE") || n == 0) continue;
                op_rc(op, RC_FAIL_INVLD_VLM_SIZE, "The layer %s of resource definition '%s' cannot shrink.",
                        rd->layer_stack[i], rd->name);
                return false;
        }
        for (uint32_t i = 0; i < n; i++)
                for (uint32_t k = 0; k < rscs[i].volumes_n; k++) {
                        enum provider_kind kind = rscs[i].volumes[k].provider_kind;
                        if (kind != provider_kind_STORAGE_SPACES &&
                                kind != provider_kind_STORAGE_SPACES_THIN && kind != provider_kind_EBS_INIT &&
                                kind != provider_kind_EBS_TARGET)
                                continue;
                        op_rc(op, RC_FAIL_INVLD_VLM_SIZE, "Volumes of kind %s cannot shrink.",
                                enum_name(&provider_kind_enum, kind));
                        return false;
                }
        return true;
}

/* false: refused. */
static bool resize(struct op *op, const struct rsc_dfn *rd, struct vlm_dfn *vd, int64_t size_kib)
{
        struct rsc *rscs;
        if (!size_ok(op, size_kib)) return false;
        uint64_t size = (uint64_t)size_kib;
        if (size == vd->size_kib) {
                op_rc(op, RC_WARN_VLMDFN_RESIZE_SAME_SIZE, "The volume definition has that size already.");
                return true;
        }
        uint32_t n = op_list_rscs(op, rd->name, &rscs);
        uint64_t flags = vd->flags & ~(uint64_t)vlm_dfn_flag_RESIZE_SHRINK;
        if (size > vd->size_kib && !room_to_grow(op, rscs, n, vd->volume_number, size - vd->size_kib))
                return false;
        if (size < vd->size_kib) {
                if (!may_shrink(op, rd, rscs, n)) return false;
                flags |= vlm_dfn_flag_RESIZE_SHRINK; /* tells satellites that it is meant */
        }
        SET(vd, vlm_dfn, flags, flags);
        SET(vd, vlm_dfn, size_kib, size);
        row_put(op->tx, &vlm_dfn_type, vd); /* what is beside the volumes follows from it */
        for (uint32_t i = 0; i < n; i++) {
                struct rsc *r = &rscs[i], old = *r;
                struct vlm *vlms = arena_alloc(op->arena, (r->volumes_n + 1) * sizeof *vlms);
                if (r->volumes_n != 0) memcpy(vlms, r->volumes, r->volumes_n * sizeof *vlms);
                for (uint32_t k = 0; k < r->volumes_n; k++)
                        if (vlms[k].volume_number == vd->volume_number)
                                SET(&vlms[k], vlm, size_kib, op_extra_data_kib(op, rd, r, vd, false));
                SET_N(r, rsc, volumes, vlms, r->volumes_n);
                op_put_rsc(op, &old, r);
                op_wait_rsc(op, r->node_name, r->rsc_name, false);
        }
        return true;
}

void op_vd_modify(struct op *op)
{
        const struct vd_modify *b = OP_BODY(op, vd_modify);
        struct rsc_dfn rd;
        struct vlm_dfn vd;
        struct prop_mod mod = OP_PROP_MOD(b);
        bool matters;
        if (!op_need_rd(op, op->params[0], &rd) || !op_need_vd(op, rd.name, op->params[1], &vd)) return;
        uint64_t flags = vd.flags;
        if (!op_flags_modify(op, &vlm_dfn_flag_flags, vlm_dfn_flag_GROSS_SIZE, b->flags, b->flags_n, &flags))
                return;
        SET(&vd, vlm_dfn, flags, flags);
        if (HAS(b, vd_modify, size_kib) && !op_saga_free(op, rd.name)) return;
        if (HAS(b, vd_modify, size_kib) && !resize(op, &rd, &vd, b->size_kib)) return;
        if (!op_props_modify(op, PS_VD, &vd.props, &mod, &matters)) return;
        MARK(&vd, vlm_dfn, props);
        row_put(op->tx, &vlm_dfn_type, &vd);
        if (matters) op_touch_rd(op, rd.name);
        vd_rc(op, RC_MODIFIED, RC_OP_MODIFY, &vd, "modified");
}

/* ---- delete ---- */

void op_vd_delete(struct op *op)
{
        struct rsc_dfn rd;
        struct vlm_dfn vd;
        struct rsc *rscs;
        uint64_t number;
        if (!op_need_rd(op, op->params[0], &rd)) return;
        if (!op_parse_number(op->params[1], &number) || !op_find_vd(op, rd.name, number, &vd)) {
                op_rc(op, RC_WARN_NOT_FOUND, "There is no volume definition %s in resource definition '%s'.",
                        op->params[1], rd.name);
                return;
        }
        if (!op_saga_free(op, rd.name) || !op_disks_still(op, rd.name)) return;
        uint32_t n = op_list_rscs(op, rd.name, &rscs);
        for (uint32_t i = 0; i < n; i++) {
                if (!op_in_use(op, &rscs[i])) continue;
                op_explain_use(op,
                        op_rc(op, RC_FAIL_IN_USE, "Resource '%s' is in use on node '%s'.", rd.name,
                                rscs[i].node_name),
                        &rscs[i]);
                return;
        }
        for (uint32_t i = 0; i < n; i++) {
                struct rsc *r = &rscs[i], old = *r;
                struct vlm *vlms = arena_alloc(op->arena, (r->volumes_n + 1) * sizeof *vlms);
                uint32_t m = 0;
                for (uint32_t k = 0; k < r->volumes_n; k++)
                        if (r->volumes[k].volume_number != number) vlms[m++] = r->volumes[k];
                SET_N(r, rsc, volumes, vlms, m);
                op_put_rsc(op, &old, r);
                op_wait_rsc(op, r->node_name, r->rsc_name, false);
        }
        (void)row_del(op->tx, &vlm_dfn_type, &vd);
        vd_rc(op, RC_DELETED, RC_OP_DELETE, &vd, "deleted");
}

/* ---- volumes ---- */

void op_vlm_modify(struct op *op)
{
        struct rsc r;
        uint64_t number;
        bool matters;
        if (!op_need_rsc(op, op->params[0], op->params[1], &r)) return;
        struct vlm *v = NULL;
        for (uint32_t i = 0; op_parse_number(op->params[2], &number) && i < r.volumes_n; i++)
                if (r.volumes[i].volume_number == number) v = &r.volumes[i];
        if (v == NULL) {
                op_rc(op, RC_FAIL_NOT_FOUND_VLM, "Resource '%s' on node '%s' has no volume %s.", r.rsc_name,
                        r.node_name, op->params[2]);
                return;
        }
        if (!op_props_modify(op, PS_V, &v->props, OP_BODY(op, prop_mod), &matters)) return;
        MARK(v, vlm, props);
        if (matters) {
                SET(&r, rsc, revision, op->index);
                op_wait_rsc(op, r.node_name, r.rsc_name, false);
        }
        row_put(op->tx, &rsc_type, &r);
        struct api_rc *rc = op_rc(op, RC_MODIFIED, "Volume %s of resource '%s' on node '%s' modified.",
                op->params[2], r.rsc_name, r.node_name);
        op_rc_ref(op, rc, "RscDfn", r.rsc_name);
        op_rc_ref(op, rc, "Node", r.node_name);
        op_rc_ref(op, rc, "VlmNr", op->params[2]);
}
