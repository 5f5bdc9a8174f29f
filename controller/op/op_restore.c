/* What is made from snapshots: volume definitions, resources, the resource itself as it was (rollback), clones. */
#include <string.h>

#include "controller/base/props.h"
#include "controller/op/op_crypt.h"
#include "controller/op/op_quorum.h"
#include "controller/op/saga.h"
#include "controller/op/sat_drbd.h"
#include "wire/codec/codec.h"
#include "wire/def/layer_size.h"

/* ---- restore ---- */

/* Not the name of the backing, nor what was counted of the replicas. */
static bool is_taken_over(const char *key)
{
        return strcmp(key, "OverrideVlmId") != 0 && strcmp(key, DRBD_PROP_WINNER) != 0 &&
               strncmp(key, "Internal/", strlen("Internal/")) != 0;
}

bool op_restore_vds(struct op *op, const struct snap_dfn *d, struct rsc_dfn *rd)
{
        for (uint32_t i = 0; i < d->volumes_n; i++) {
                const struct snap_vlm_dfn *v = &d->volumes[i];
                struct strmap props = { 0 };
                for (uint32_t k = 0; k < v->vd_props.n; k++)
                        if (is_taken_over(v->vd_props.kv[2 * (size_t)k]))
                                strmap_set(&props, v->vd_props.kv[2 * (size_t)k],
                                        v->vd_props.kv[2 * (size_t)k + 1], op->arena);
                struct vd_args args = { .has_number = true,
                        .number = (int64_t)v->volume_number,
                        .size_kib = (int64_t)v->size_kib,
                        .props = &props,
                        .flags = v->flags,
                        .minor = -1 };
                struct vlm_dfn vd;
                if (!op_make_vd(op, rd, &args, &vd)) return false;
        }
        return true;
}

static bool need_good(struct op *op, const char *rsc, const char *snap, struct snap_dfn *ret)
{
        if (!op_need_snap_dfn(op, rsc, snap, ret)) return false;
        if ((ret->flags & snap_dfn_flag_SUCCESSFUL) != 0) return true;
        op_rc(op, RC_FAIL_NOT_FOUND_SNAPSHOT, "Snapshot '%s' of resource '%s' has not been taken (yet).",
                ret->snap_name, ret->rsc_name);
        return false;
}

void op_snap_restore_vd(struct op *op)
{
        const struct snap_restore_body *b = OP_BODY(op, snap_restore_body);
        struct snap_dfn d;
        struct rsc_dfn rd;
        if (!need_good(op, op->params[0], op->params[1], &d) || !op_need_rd(op, b->to_resource, &rd)) return;
        if (!op_restore_vds(op, &d, &rd)) return;
        struct api_rc *rc = op_rc(op, RC_CREATED,
                "Volume definitions of snapshot '%s' restored to resource '%s'.", d.snap_name, rd.name);
        op_rc_ref(op, rc, "RscDfn", rd.name);
}

/* Of the resource itself; of another one the volume definitions are to be restored. */
static void explain_back(struct op *op, struct api_rc *rc, const struct snap_dfn *d, const struct rsc_dfn *rd)
{
        if (!op_same(d->rsc_name, rd->name)) return;
        op_rc_explain(op, rc, "Its volumes were added, deleted or resized since the snapshot was taken.",
                NULL,
                "Restore the snapshot to a new resource definition: 'snapshot volume-definition restore', "
                "then "
                "'snapshot resource restore'.");
}

static bool sizes_ok(struct op *op, const struct snap_dfn *d, const struct rsc_dfn *rd)
{
        struct vlm_dfn *vds;
        uint32_t n = op_list_vds(op, rd->name, &vds);
        bool same = n == d->volumes_n;
        if (!same) {
                struct api_rc *rc = op_rc(op, RC_FAIL_INVLD_VLM_COUNT,
                        "Resource definition '%s' has %u volume definitions, the snapshot has %u.", rd->name,
                        n, d->volumes_n);
                explain_back(op, rc, d, rd);
                return false;
        }
        bool clone = (rd->flags & rsc_dfn_flag_CLONING) != 0; /* may be larger: sizes_of_devices() */
        for (uint32_t i = 0; i < n; i++) {
                const struct snap_vlm_dfn *v = &d->volumes[i];
                bool fits = vds[i].size_kib == v->size_kib || (clone && vds[i].size_kib > v->size_kib);
                if (vds[i].volume_number == v->volume_number && fits) continue;
                struct api_rc *rc = op_rc(op, RC_FAIL_INVLD_VLM_SIZES,
                        "Volume definition %llu of resource definition '%s' is not that of the snapshot: "
                        "%llu KiB, "
                        "not %llu.",
                        (unsigned long long)vds[i].volume_number, rd->name,
                        (unsigned long long)vds[i].size_kib, (unsigned long long)v->size_kib);
                op_rc_explain(op, rc, "It was resized, or is another one.", NULL,
                        "Restore the volume definitions, too, to a new resource definition.");
                explain_back(op, rc, d, rd);
                return false;
        }
        return true;
}

/* What the snapshot holds opens with the keys of then; and a key that nobody can open makes no device. */
static bool keys_ready(struct op *op, const struct snap_dfn *d)
{
        return !op_has_layer((const char *const *)d->layer_stack, d->layer_stack_n, "LUKS") ||
               op_crypt_ready(op);
}

/* The snapshot's keys become keys of before. */
static void keep_own(struct op *op, const struct snap_vlm_dfn *v, struct vlm_dfn *vd)
{
        uint32_t n = HAS(v, snap_vlm_dfn, luks_olds) ? v->luks_olds_n : 0;
        struct old_key *olds = arena_alloc(op->arena, (n + 1) * sizeof *olds);
        if (n > 0) memcpy(olds, v->luks_olds, n * sizeof *olds);
        olds[n] = (struct old_key){ 0 };
        SET(&olds[n], old_key, key, v->luks_key);
        SET_N(vd, vlm_dfn, luks_olds, olds, n + 1);
}

static void take_over_key(const struct snap_vlm_dfn *v, struct vlm_dfn *vd)
{
        SET(vd, vlm_dfn, luks_key, v->luks_key);
        SET(vd, vlm_dfn, luks_weak, HAS(v, snap_vlm_dfn, luks_weak) && v->luks_weak);
        UNSET(vd, vlm_dfn, luks_key_id);
        UNSET(vd, vlm_dfn, luks_olds);
        if (HAS(v, snap_vlm_dfn, luks_key_id)) SET(vd, vlm_dfn, luks_key_id, v->luks_key_id);
        if (HAS(v, snap_vlm_dfn, luks_olds)) SET_N(vd, vlm_dfn, luks_olds, v->luks_olds, v->luks_olds_n);
}

void op_restore_keys(struct op *op, const struct snap_dfn *d, const char *rsc_name, bool own)
{
        for (uint32_t i = 0; i < d->volumes_n; i++) {
                const struct snap_vlm_dfn *v = &d->volumes[i];
                struct vlm_dfn vd;
                if (!HAS(v, snap_vlm_dfn, luks_key) || !op_find_vd(op, rsc_name, v->volume_number, &vd))
                        continue;
                if (own && HAS(&vd, vlm_dfn, luks_key_id)) keep_own(op, v, &vd);
                else take_over_key(v, &vd);
                row_put(op->tx, &vlm_dfn_type, &vd);
        }
}

/* A layer that wrote into the snapshot must be there to read it, and one that did not would find something else. */
static bool layer_ok(struct op *op, const struct snap_dfn *d, const struct rsc_dfn *rd, enum layer_type layer)
{
        const char *name = enum_name(&layer_type_enum, layer);
        bool then = op_has_layer((const char *const *)d->layer_stack, d->layer_stack_n, name);
        if (then == RD_HAS_LAYER(rd, name)) return true;
        struct api_rc *rc = op_rc(op, RC_FAIL_INVLD_LAYER_STACK,
                "Resource definition '%s' %s the layer %s, snapshot '%s' of resource '%s' %s.", rd->name,
                then ? "lacks" : "has", name, d->snap_name, d->rsc_name,
                then ? "was taken below it" : "knows nothing of it");
        op_rc_explain(op, rc, NULL, NULL, "Restore it to a resource definition with the same layers.");
        return false;
}

/* A clone may have others: clone_layers_ok(). */
static bool layers_ok(struct op *op, const struct snap_dfn *d, const struct rsc_dfn *rd)
{
        if (rd->layer_stack_n == 0 || (rd->flags & rsc_dfn_flag_CLONING) != 0) return true;
        return layer_ok(op, d, rd, layer_type_LUKS) && layer_ok(op, d, rd, layer_type_DRBD);
}

static bool snap_has(const struct snap_dfn *d, const char *layer)
{
        return op_has_layer((const char *const *)d->layer_stack, d->layer_stack_n, layer);
}

/* Is the clone a copy, because it has other layers than its source? Else it shares what lies below them. */
static bool is_copy(const struct snap_dfn *d, const struct rsc_dfn *clone)
{
        return d->layer_stack_n != 0 && clone->layer_stack_n != 0 &&
               !stacks_share((const char *const *)d->layer_stack, d->layer_stack_n,
                       (const char *const *)clone->layer_stack, clone->layer_stack_n);
}

/* DRBD's metadata comes with the snapshot: it has room for so many peers, and its size follows from that. */
static void take_over_slots(struct op *op, const struct snap_dfn *d, struct rsc_dfn *rd)
{
        struct rsc_dfn from;
        if (!op_has_layer((const char *const *)d->layer_stack, d->layer_stack_n, "DRBD")) return;
        if (rd->layer_stack_n != 0 && !RD_HAS_LAYER(rd, "DRBD")) return;
        if (!op_find_rd(op, d->rsc_name, &from) || !HAS(&from, rsc_dfn, drbd_peer_slots)) return;
        SET(rd, rsc_dfn, drbd_peer_slots, from.drbd_peer_slots);
        row_put(op->tx, &rsc_dfn_type, rd);
}

bool op_restore_rscs(
        struct op *op, const struct snap_dfn *d, struct rsc_dfn *rd, const char *const *nodes, uint32_t n)
{
        struct snap *snaps;
        struct rsc key = { .rsc_name = rd->name };
        uint32_t snaps_n = op_list_snaps(op, d->rsc_name, d->snap_name, &snaps);
        if (row_count(op->tx, &rsc_type, &key, 1) != 0) {
                op_rc(op, RC_FAIL_EXISTS_RSC, "Resource definition '%s' has resources already.", rd->name);
                return false;
        }
        if (!sizes_ok(op, d, rd) || !layers_ok(op, d, rd)) return false;
        op_restore_keys(op, d, rd->name, (rd->flags & rsc_dfn_flag_CLONING) != 0);
        take_over_slots(op, d, rd);
        for (uint32_t i = 0; i < n; i++) {
                struct snap s;
                if (op_find_snap(op, d->rsc_name, d->snap_name, nodes[i], &s)) continue;
                op_rc(op, RC_FAIL_NOT_FOUND_SNAPSHOT, "Snapshot '%s' of resource '%s' is not on node '%s'.",
                        d->snap_name, d->rsc_name, nodes[i]);
                return false;
        }
        for (uint32_t i = 0; i < snaps_n; i++) {
                if (n != 0 && !op_in_list(snaps[i].node_name, nodes, n)) continue;
                struct rsc_args args = { .node = snaps[i].node_name,
                        .drbd_node_id = HAS(&snaps[i], snap, drbd_node_id) ? snaps[i].drbd_node_id : -1,
                        .source = &snaps[i],
                        .source_dfn = d };
                if (rd->layer_stack_n == 0) {
                        args.layer_list = d->layer_stack;
                        args.layer_list_n = d->layer_stack_n;
                }
                if (!op_make_rsc(op, rd, &args)) return false;
        }
        return true;
}

/* Pools cannot change: a snapshot shares blocks with what is made from it. */
static void note_renames(struct op *op, const struct strmap *rename)
{
        for (uint32_t i = 0; i < rename->n; i++) {
                const char *from = rename->kv[2 * (size_t)i], *to = rename->kv[2 * (size_t)i + 1];
                if (op_same(from, to)) continue;
                op_rc(op, RC_WARN_STORPOOL_RENAME_NOT_ALLOWED,
                        "Storage pool '%s' is not renamed to '%s': a snapshot is restored in its own pool.",
                        from, to);
        }
}

void op_snap_restore_rsc(struct op *op)
{
        const struct snap_restore_body *b = OP_BODY(op, snap_restore_body);
        struct snap_dfn d;
        struct rsc_dfn rd;
        if (!need_good(op, op->params[0], op->params[1], &d) || !op_need_rd(op, b->to_resource, &rd)) return;
        if (!keys_ready(op, &d)) return;
        note_renames(op, &b->stor_pool_rename);
        if (!op_restore_rscs(op, &d, &rd, (const char *const *)b->nodes, b->nodes_n)) return;
        struct api_rc *rc = op_rc(op, RC_CREATED, "Snapshot '%s' of resource '%s' restored to resource '%s'.",
                d.snap_name, d.rsc_name, rd.name);
        op_rc_ref(op, rc, "RscDfn", rd.name);
}

/* ---- rollback ---- */

static const char *temp_name(struct op *op, const char *what)
{
        return arena_printf(op->arena, "%s-%08llx", what, (unsigned long long)(op_random(op) & 0xFFFFFFFF));
}

/* DRBD's metadata knows its node and its peers by numbers. */
static bool same_node_id(struct op *op, const struct rsc *r, const struct snap *s)
{
        if (!HAS(s, snap, drbd_node_id) || !HAS(r, rsc, drbd_node_id)) return true;
        if (s->drbd_node_id == r->drbd_node_id) return true;
        struct api_rc *rc = op_rc(op, RC_FAIL_INVLD_RSC_STATE,
                "Resource '%s' on node '%s' has another DRBD node id now (%lld) than in snapshot '%s' "
                "(%lld).",
                r->rsc_name, r->node_name, (long long)r->drbd_node_id, s->snap_name,
                (long long)s->drbd_node_id);
        op_rc_explain(op, rc, "It was deleted and made anew since the snapshot was taken.", NULL,
                "Restore the snapshot to a new resource definition.");
        return false;
}

static bool may_roll_back(struct op *op, const struct snap_dfn *d)
{
        struct rsc *rscs;
        uint32_t n = op_list_rscs(op, d->rsc_name, &rscs);
        for (uint32_t i = 0; i < n; i++) {
                const struct rsc *r = &rscs[i];
                struct snap s;
                if (op_in_use(op, r)) {
                        struct api_rc *rc = op_rc(op, RC_FAIL_IN_USE, "Resource '%s' is in use on node '%s'.",
                                r->rsc_name, r->node_name);
                        op_explain_use(op, rc, r);
                        op_rc_ref(op, rc, "Node", r->node_name);
                        return false;
                }
                if (!op_node_online(op, r->node_name)) {
                        struct api_rc *rc = op_rc(op, RC_FAIL_NOT_CONNECTED,
                                "No active connection to satellite '%s': a resource is rolled back on all of "
                                "its nodes.",
                                r->node_name);
                        op_rc_ref(op, rc, "Node", r->node_name);
                        return false;
                }
                if ((r->flags & rsc_flag_INACTIVE) != 0) {
                        struct api_rc *rc = op_rc(op, RC_FAIL_INVLD_RSC_STATE,
                                "Resource '%s' is deactivated on node '%s'.", r->rsc_name, r->node_name);
                        op_rc_explain(op, rc, "A resource is rolled back on all of its nodes.", NULL,
                                "Activate it first, or delete it.");
                        return false;
                }
                if ((r->flags & rsc_flag_DISKLESS) != 0) continue;
                if (op_find_snap(op, d->rsc_name, d->snap_name, r->node_name, &s)) {
                        if (!same_node_id(op, r, &s)) return false;
                        continue;
                }
                struct api_rc *rc = op_rc(op, RC_FAIL_NOT_FOUND_SNAPSHOT,
                        "Snapshot '%s' of resource '%s' is not on node '%s', which has a disk.", d->snap_name,
                        d->rsc_name, r->node_name);
                op_rc_explain(op, rc, NULL, NULL, "Delete the resource from that node first.");
                return false;
        }
        struct rsc_dfn rd = { .name = d->rsc_name };
        if (!sizes_ok(op, d, &rd)) return false;
        return !op_find_rd(op, d->rsc_name, &rd) || layers_ok(op, d, &rd);
}

void op_snap_rollback(struct op *op)
{
        struct snap_dfn d;
        if (!need_good(op, op->params[0], op->params[1], &d) || !op_saga_free(op, d.rsc_name)) return;
        if (!may_roll_back(op, &d) || !keys_ready(op, &d)) return;
        struct snap_args args = { .rsc_name = d.rsc_name,
                .snap_name = temp_name(op, "safety"),
                .flags = snap_dfn_flag_SAFETY_SNAPSHOT };
        if (!op_make_snap(op, &args)) return;
        struct saga_item item = { 0 };
        SET(&item, saga_item, rsc_name, d.rsc_name);
        SET(&item, saga_item, snap_name, args.snap_name);
        op_saga_begin(op, saga_kind_ROLLBACK, &item, 1, d.snap_name, true);
        struct api_rc *rc = op_rc(
                op, RC_MODIFIED, "Resource '%s' rolled back to snapshot '%s'.", d.rsc_name, d.snap_name);
        op_rc_ref(op, rc, "RscDfn", d.rsc_name);
        op_rc_ref(op, rc, "Snapshot", d.snap_name);
}

/* ---- clone ---- */

/* A clone shares what lies below the layers with its source: that serves with DRBD as well as without it, for the metadata is behind the
 * data. With any other layer added or left out it is a copy, from the device of one stack to that of the other (satellite/run_fill.h).
 * What NVMe exports belongs to other nodes, which nobody has told of the clone. */
static bool clone_layers_ok(
        struct op *op, const struct rsc_dfn *from, const char *const *stack, uint32_t n, const char *clone)
{
        bool added = op_has_layer(stack, n, "NVME");
        if (from->layer_stack_n == 0 || added == RD_HAS_LAYER(from, "NVME")) return true;
        struct api_rc *rc = op_rc(op, RC_FAIL_INVLD_LAYER_STACK,
                "Resource definition '%s' cannot be cloned to '%s' %s the layer NVME.", from->name,
                op_text(clone), added ? "with" : "without");
        op_rc_explain(op, rc, "Which nodes are its target and its initiators is not known of a clone.", NULL,
                "Clone it with that layer as its source has it.");
        op_rc_ref(op, rc, "RscDfn", from->name);
        return false;
}

/* Without DRBD each node has data of its own; with it all have the same. */
static bool one_source(struct op *op, const struct snap_dfn *d, const struct rsc_dfn *clone)
{
        struct snap *snaps;
        uint32_t n = op_list_snaps(op, d->rsc_name, d->snap_name, &snaps);
        if (n < 2) return true;
        struct api_rc *rc = op_rc(op, RC_FAIL_INVLD_LAYER_STACK,
                "Resource definition '%s' cannot be cloned to '%s' with the layer DRBD: it is on %u nodes.",
                d->rsc_name, clone->name, n);
        op_rc_explain(op, rc,
                "Without DRBD each of its nodes has data of its own, and the clone would have those of one "
                "only.",
                NULL,
                "Take a snapshot on the node whose data is wanted, restore it to a resource definition with "
                "the same layers, and clone that.");
        op_rc_ref(op, rc, "RscDfn", d->rsc_name);
        return false;
}

/* The device of the source is as large as its storage made it, and may be used up to its end. */
static bool whole_size(struct op *op, const struct rsc_dfn *clone)
{
        if (!prop_bool(strmap_get(&clone->props, "DrbdOptions/ExactSize"), false)) return true;
        struct api_rc *rc = op_rc(op, RC_FAIL_INVLD_PROP,
                "Resource definition '%s' has the property DrbdOptions/ExactSize: what it is cloned from may "
                "be larger than that.",
                clone->name);
        op_rc_explain(op, rc, "DRBD would cut off the rest of the data.", NULL,
                "Clone it without that property ('delete_props').");
        return false;
}

/* What is made of data has no zeros that every later replica begins with. */
static void sync_later_ones(struct op *op, const struct rsc_dfn *clone)
{
        struct vlm_dfn *vds;
        uint32_t n = op_list_vds(op, clone->name, &vds);
        for (uint32_t i = 0; i < n; i++) {
                strmap_set(&vds[i].props, "DrbdOptions/ForceInitialSync", "True", op->arena);
                MARK(&vds[i], vlm_dfn, props);
                row_put(op->tx, &vlm_dfn_type, &vds[i]);
        }
}

/* The largest device that a node says the source's volume has. */
static uint64_t device_kib(struct op *op, const struct snap *snaps, uint32_t n, uint64_t number)
{
        uint64_t kib = 0;
        for (uint32_t i = 0; i < n; i++) {
                struct obs_rsc o;
                if (!op_observed_rsc(op, snaps[i].rsc_name, snaps[i].node_name, &o)) continue;
                for (uint32_t k = 0; k < o.volumes_n; k++)
                        if (o.volumes[k].volume_number == number && HAS(&o.volumes[k], obs_vlm, usable_kib))
                                kib = MAX(kib, o.volumes[k].usable_kib);
        }
        return kib;
}

/* A device is at least as large as its definition says, rounded up by what is below it, and may be used up to its end. What a clone with other
 * layers is made of is that large: so is its definition, so that all of the data finds room, and replicas that come later are as large. */
static void sizes_of_devices(struct op *op, const struct snap_dfn *d, const struct rsc_dfn *clone)
{
        struct vlm_dfn *vds;
        struct snap *snaps;
        uint32_t n = op_list_vds(op, clone->name, &vds),
                 snaps_n = op_list_snaps(op, d->rsc_name, d->snap_name, &snaps);
        for (uint32_t i = 0; i < n; i++) {
                uint64_t kib = device_kib(op, snaps, snaps_n, vds[i].volume_number);
                if (kib <= vds[i].size_kib) continue;
                SET(&vds[i], vlm_dfn, size_kib, kib);
                row_put(op->tx, &vlm_dfn_type, &vds[i]);
        }
}

/* DRBD's metadata is made anew. */
static bool clone_gets_drbd(struct op *op, const struct snap_dfn *d, const struct rsc_dfn *clone)
{
        bool had = snap_has(d, "DRBD");
        if (!RD_HAS_LAYER(clone, "DRBD") || d->layer_stack_n == 0 || (had && !is_copy(d, clone))) return true;
        if (!had && (!one_source(op, d, clone) || !whole_size(op, clone))) return false;
        sync_later_ones(op, clone);
        return true;
}

struct strmap op_props_taken_over(struct op *op, enum prop_scope scope, const struct strmap *from)
{
        struct strmap props = { 0 };
        for (uint32_t i = 0; i < from->n; i++) {
                const char *key = from->kv[2 * (size_t)i], *value = from->kv[2 * (size_t)i + 1], *stored;
                struct fail ignored = { 0 };
                if (is_taken_over(key) && prop_check(scope, key, value, op->arena, &stored, &ignored) == 0)
                        strmap_set(&props, key, stored, op->arena);
        }
        struct rsc_dfn rd = { .props = *from };
        op_quorum_not_ours(op, &rd, &props);
        return props;
}

static bool clone_rd(
        struct op *op, const struct rsc_dfn *from, const struct clone_body *b, struct rsc_dfn *ret)
{
        struct strmap props = op_props_taken_over(op, PS_RD, &from->props);
        struct prop_mod mod = OP_PROP_MOD(b);
        if (!op_props_modify(op, PS_RD, &props, &mod, NULL)) return false;
        struct rd_args args = { .name = b->name,
                .external_name = b->external_name,
                .rg_name = op_given(b->resource_group) ? b->resource_group : from->rsc_grp_name,
                .props = &props };
        const char *const *stack = b->layer_list_n != 0 ? b->layer_list : from->layer_stack;
        uint32_t n = b->layer_list_n != 0 ? b->layer_list_n : from->layer_stack_n;
        if (n != 0 && !op_layer_stack(op, stack, n, &args.layer_stack, &args.layer_stack_n)) return false;
        const char *name = op_given(b->name) ? b->name : b->external_name;
        if (n != 0 && !clone_layers_ok(op, from, args.layer_stack, args.layer_stack_n, name)) return false;
        if (!op_make_rd(op, &args, ret)) return false;
        SET(ret, rsc_dfn, flags, ret->flags | rsc_dfn_flag_CLONING);
        row_put(op->tx, &rsc_dfn_type, ret);
        return true;
}

/* May the volume have it? The key that its header has now stays beside it until the header has the new one. */
static bool own_passphrase_ok(
        struct op *op, const struct rsc_dfn *clone, const struct snap_vlm_dfn *v, const char *passphrase)
{
        if (!op_passphrase_ok(op, passphrase)) return false;
        bool encrypted =
                clone->layer_stack_n != 0 ? RD_HAS_LAYER(clone, "LUKS") : HAS(v, snap_vlm_dfn, luks_key);
        if (!encrypted) {
                op_rc(op, RC_FAIL_INVLD_LAYER_STACK,
                        "A passphrase is given for volume %llu of '%s', which is not encrypted.",
                        (unsigned long long)v->volume_number, clone->name);
                return false;
        }
        if (!HAS(v, snap_vlm_dfn, luks_olds) || v->luks_olds_n < LUKS_OLDS_MAX) return true;
        struct api_rc *rc = op_rc(op, RC_FAIL_RSC_BUSY,
                "The passphrase of volume %llu is being changed, for the %uth time.",
                (unsigned long long)v->volume_number, v->luks_olds_n);
        op_rc_explain(op, rc, "Some node has been away since the first of them.", NULL,
                "Bring that node back, and repeat this; or clone it without a passphrase.");
        return false;
}

/* volume_passphrases: in the order of the volumes; an empty one leaves the source's. */
static bool clone_passphrases(
        struct op *op, const struct clone_body *b, const struct snap_dfn *d, const struct rsc_dfn *clone)
{
        if (b->volume_passphrases_n > d->volumes_n) {
                op_rc(op, RC_FAIL_INVLD_VLM_COUNT, "%u passphrases are given for %u volumes.",
                        b->volume_passphrases_n, d->volumes_n);
                return false;
        }
        for (uint32_t i = 0; i < b->volume_passphrases_n; i++) {
                const char *passphrase = b->volume_passphrases[i];
                const struct snap_vlm_dfn *v = &d->volumes[i];
                struct vlm_dfn vd;
                if (!op_given(passphrase)) continue;
                if (!own_passphrase_ok(op, clone, v, passphrase)) return false;
                if (!op_find_vd(op, clone->name, v->volume_number, &vd)) return false;
                UNSET(&vd, vlm_dfn, luks_key);
                if (!op_crypt_volume(op, &vd, passphrase)) return false;
                if (HAS(v, snap_vlm_dfn, luks_key)) SET(&vd, vlm_dfn, luks_key_id, op->index);
                row_put(op->tx, &vlm_dfn_type, &vd);
        }
        return true;
}

void op_rd_clone(struct op *op)
{
        const struct clone_body *b = OP_BODY(op, clone_body);
        struct rsc_dfn rd, clone;
        struct snap_dfn d;
        if (!op_need_rd(op, op->params[0], &rd) || !clone_rd(op, &rd, b, &clone)) return;
        struct snap_args args = {
                .rsc_name = rd.name, .snap_name = temp_name(op, "clone"), .for_clone = true
        };
        if (!op_make_snap(op, &args) || !op_find_snap_dfn(op, rd.name, args.snap_name, &d)) return;
        if (!layers_ok(op, &d, &clone) || !keys_ready(op, &d) || !op_restore_vds(op, &d, &clone)) return;
        if (!clone_passphrases(op, b, &d, &clone) || !clone_gets_drbd(op, &d, &clone)) return;
        bool gets_drbd = RD_HAS_LAYER(&clone, "DRBD") && d.layer_stack_n != 0 && !snap_has(&d, "DRBD");
        if (gets_drbd || is_copy(&d, &clone)) sizes_of_devices(op, &d, &clone);
        struct saga_item item = { 0 };
        SET(&item, saga_item, rsc_name, rd.name);
        SET(&item, saga_item, snap_name, args.snap_name);
        op_saga_begin(op, saga_kind_CLONE, &item, 1, clone.name, false);
        struct clone_started started = { 0 };
        struct buf json = { 0 };
        SET(&started, clone_started, location,
                arena_printf(op->arena, "/v1/resource-definitions/%s/clone/%s", rd.name, clone.name));
        SET(&started, clone_started, source_name, rd.name);
        SET(&started, clone_started, clone_name, clone.name);
        SET_N(&started, clone_started, messages, op->reply->rcs, op->reply->rcs_n);
        enc_json(&clone_started_type, &started, JSON_API, &json);
        uint8_t *copy = arena_alloc(op->arena, json.n + 1);
        if (json.n > 0) memcpy(copy, json.p, json.n);
        SET(op->reply, reply, json, BLOB(copy, json.n));
        buf_done(&json);
}
