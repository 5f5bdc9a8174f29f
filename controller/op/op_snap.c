/* Snapshots: creating, deleting, changing. How one is taken: saga.h. */
#include <string.h>

#include "controller/op/op_disk.h"
#include "controller/op/op_extra.h"
#include "controller/op/saga.h"
#include "controller/op/ship.h"
#include "wire/def/layer_size.h"

#define SNAPSHOTS_OF_REQUEST_MAX 100

/* ---- finding ---- */

bool op_find_snap_dfn(struct op *op, const char *rsc, const char *snap, struct snap_dfn *ret)
{
        struct snap_dfn key = { .rsc_name = rsc, .snap_name = snap };
        return row_get(op->tx, &snap_dfn_type, &key, op->arena, ret) == 0;
}

bool op_need_snap_dfn(struct op *op, const char *rsc, const char *snap, struct snap_dfn *ret)
{
        if (op_find_snap_dfn(op, rsc, snap, ret)) return true;
        struct api_rc *rc = op_rc(op, RC_FAIL_NOT_FOUND_SNAPSHOT_DFN,
                "There is no snapshot '%s' of resource definition '%s'.", op_text(snap), op_text(rsc));
        op_rc_ref(op, rc, "RscDfn", op_text(rsc));
        op_rc_ref(op, rc, "Snapshot", op_text(snap));
        return false;
}

bool op_find_snap(struct op *op, const char *rsc, const char *snap, const char *node, struct snap *ret)
{
        struct snap key = { .rsc_name = rsc, .snap_name = snap, .node_name = node };
        return row_get(op->tx, &snap_type, &key, op->arena, ret) == 0;
}

uint32_t op_list_snaps(struct op *op, const char *rsc, const char *snap, struct snap **ret)
{
        struct snap key = { .rsc_name = rsc, .snap_name = snap };
        struct row_scan s;
        uint32_t n = 0, max = (uint32_t)row_count(op->tx, &snap_type, &key, 2);
        *ret = arena_alloc(op->arena, (max + 1) * sizeof **ret);
        row_scan_open(&s, op->tx, &snap_type, &key, 2);
        while (n < max && row_scan_next(&s, op->arena, &(*ret)[n])) n++;
        row_scan_close(&s);
        return n;
}

const char *snap_backing_id(const char *vlm_id, const char *snap_name, struct arena *a)
{
        return arena_printf(a, "%s_%s", vlm_id, snap_name);
}

const char *vlm_backing_id(
        const char *rsc_name, const struct vlm *v, const struct strmap *vd_props, struct arena *a)
{
        const char *override = strmap_get(vd_props, "OverrideVlmId");
        if (op_given(override)) return override;
        return arena_printf(a, "%s_%05llu", rsc_name, (unsigned long long)v->volume_number);
}

bool op_source_volume(const struct snap *s, struct vlm *v, struct arena *a)
{
        for (uint32_t i = 0; i < s->volumes_n; i++) {
                const struct snap_vlm *from = &s->volumes[i];
                if (from->volume_number != v->volume_number) continue;
                SET(v, vlm, source_rsc, s->rsc_name);
                SET(v, vlm, source_snap, s->snap_name);
                SET(v, vlm, source_uuid, s->uuid);
                SET(v, vlm, source_id, snap_backing_id(from->vlm_id, s->snap_name, a));
                return true;
        }
        return false;
}

void op_source_layers(const struct snap_dfn *d, const struct rsc_dfn *rd, struct vlm *v)
{
        bool same = d->layer_stack_n == rd->layer_stack_n;
        for (uint32_t i = 0; same && i < d->layer_stack_n; i++)
                same = op_same(d->layer_stack[i], rd->layer_stack[i]);
        if (!same && d->layer_stack_n != 0) SET_N(v, vlm, source_layers, d->layer_stack, d->layer_stack_n);
}

/* ---- what may be taken ---- */

static bool kind_takes(enum provider_kind k)
{
        return k == provider_kind_LVM_THIN || k == provider_kind_FILE || k == provider_kind_FILE_THIN ||
               k == provider_kind_ZFS || k == provider_kind_ZFS_THIN;
}

/* Of what is made from a snapshot DRBD must find the metadata of the same moment; only what is on the very device is in it. */
static bool meta_ok(struct op *op, const struct rsc *r)
{
        if (!op_extra_has_meta(r)) return true;
        struct api_rc *rc = op_rc(op, RC_FAIL_SNAPSHOTS_NOT_SUPPORTED,
                "Resource '%s' has DRBD's metadata in a storage pool of its own on node '%s': snapshots of "
                "it are "
                "not implemented in this version.",
                r->rsc_name, r->node_name);
        op_rc_explain(op, rc, "The property StorPoolNameDrbdMeta named that pool when the volume was made.",
                NULL, "Make the replicas anew without the property, one node after the other.");
        op_rc_ref(op, rc, "Node", r->node_name);
        return false;
}

/* A clone in a thick pool takes all of its space at once, and one of thick LVM is copied from a classic snapshot, for which there must be
 * room meanwhile. For all volumes in the pool of the first of them. */
static bool room_to_copy(struct op *op, const struct rsc *r, const struct vlm *first)
{
        struct obs_pool o;
        uint64_t need_kib = 0;
        bool copied = first->provider_kind == provider_kind_LVM;
        if (!op_observed_pool(op, r->node_name, first->storage_pool_name, &o) || !HAS(&o, obs_pool, free_kib))
                return true;
        for (uint32_t i = 0; i < r->volumes_n; i++)
                if (op_same(op_text(r->volumes[i].storage_pool_name), op_text(first->storage_pool_name)))
                        need_kib +=
                                (copied ? cow_store_kib(r->volumes[i].size_kib) : 0) + r->volumes[i].size_kib;
        if (o.free_kib < 0 || (uint64_t)o.free_kib >= need_kib) return true;
        struct api_rc *rc = op_rc(op, RC_FAIL_NOT_ENOUGH_FREE_SPACE,
                "Storage pool '%s' on node '%s' has not enough free space to clone resource '%s'.",
                first->storage_pool_name, r->node_name, r->rsc_name);
        op_rc_explain(op, rc,
                arena_printf(op->arena, "%s: %llu KiB are needed, %lld KiB are free.",
                        copied ? "Volumes of thick LVM are copied, and until that is done they need as much "
                                 "again for what is written to them"
                               : "Volumes in a thick pool take all of their space at once",
                        (unsigned long long)need_kib, (long long)o.free_kib),
                NULL,
                copied ? "Extend the volume group or free space in it; or use a pool of a thin kind."
                       : "Extend the pool or free space in it; or use a pool of a thin kind.");
        op_rc_ref(op, rc, "StorPoolDfn", first->storage_pool_name);
        op_rc_ref(op, rc, "Node", r->node_name);
        return false;
}

static bool pools_ok(struct op *op, const struct rsc *r, bool for_clone)
{
        if (!meta_ok(op, r)) return false;
        for (uint32_t i = 0; i < r->volumes_n; i++) {
                const struct vlm *v = &r->volumes[i];
                struct obs_pool o;
                if (for_clone && !op_is_thin(v->provider_kind) && !room_to_copy(op, r, v)) return false;
                if (for_clone && v->provider_kind == provider_kind_LVM) continue;
                bool seen = op_observed_pool(op, r->node_name, v->storage_pool_name, &o) &&
                            HAS(&o, obs_pool, supports_snapshots);
                if (kind_takes(v->provider_kind) && (!seen || o.supports_snapshots)) continue;
                struct api_rc *rc = op_rc(op, RC_FAIL_SNAPSHOTS_NOT_SUPPORTED,
                        "Storage pool '%s' on node '%s' has no snapshots.", op_text(v->storage_pool_name),
                        r->node_name);
                op_rc_explain(op, rc,
                        arena_printf(op->arena, "It is of kind %s.",
                                enum_name(&provider_kind_enum, v->provider_kind)),
                        NULL, "Use a pool of a thin kind.");
                op_rc_ref(op, rc, "Node", r->node_name);
                return false;
        }
        return true;
}

/* A replica that lacks data is no copy of anything. */
static bool is_whole(struct op *op, const struct rsc *r, bool named, bool *ret_skip)
{
        struct obs_rsc o;
        *ret_skip = false;
        if (!HAS(r, rsc, drbd_node_id) || !op_observed_rsc(op, r->rsc_name, r->node_name, &o)) return true;
        for (uint32_t i = 0; i < o.volumes_n && !*ret_skip; i++)
                *ret_skip =
                        op_given(o.volumes[i].disk_state) && !op_same(o.volumes[i].disk_state, "UpToDate");
        if (!*ret_skip) return true;
        struct api_rc *rc = op_rc(op, named ? RC_FAIL_SNAPSHOT_NOT_UPTODATE : RC_WARN_NOT_CONNECTED,
                "Resource '%s' on node '%s' is not up to date: it takes no part in the snapshot.",
                r->rsc_name, r->node_name);
        op_rc_ref(op, rc, "Node", r->node_name);
        return !named;
}

/* May this resource be part of it? named: the request asked for this node. *ret_skip: leave it out. false: refused. */
static bool member_ok(struct op *op, const struct rsc *r, bool named, bool for_clone, bool *ret_skip)
{
        bool diskless = (r->flags & rsc_flag_DISKLESS) != 0;
        struct node n;
        *ret_skip = true;
        if (diskless && named) {
                op_rc(op, RC_FAIL_SNAPSHOTS_NOT_SUPPORTED, "Resource '%s' on node '%s' has no disk.",
                        r->rsc_name, r->node_name);
                return false;
        }
        if (diskless) return true;
        if ((r->flags & rsc_flag_INACTIVE) != 0) {
                struct api_rc *rc = op_rc(op, named ? RC_FAIL_INVLD_RSC_STATE : RC_WARN_RSC_DEACTIVATED,
                        "Resource '%s' is deactivated on node '%s': it takes no part in the snapshot.",
                        r->rsc_name, r->node_name);
                op_rc_explain(op, rc, "Its devices are down.", NULL,
                        "To have it in the snapshot: 'outrigger resource activate', then take it again.");
                op_rc_ref(op, rc, "Node", r->node_name);
                return !named;
        }
        if (op_find_node(op, r->node_name, &n) && (n.flags & node_flag_EVACUATE) != 0 && !named) {
                op_rc(op, RC_WARN_NODE_EVICTED, "Node '%s' is being evacuated: it is left out.", n.name);
                return true;
        }
        struct rsc_dfn rd;
        if (op_find_rd(op, r->rsc_name, &rd) && op_skips_disk(op, &rd, r)) {
                op_rc(op, RC_FAIL_SNAPSHOT_NOT_UPTODATE, "The disk of resource '%s' on node '%s' is skipped.",
                        r->rsc_name, r->node_name);
                return false;
        }
        if (!op_node_surely_online(op, r->node_name)) {
                struct api_rc *rc = op_rc(op, named ? RC_FAIL_NOT_CONNECTED : RC_WARN_NOT_CONNECTED,
                        "No active connection to satellite '%s': it takes no part in the snapshot.",
                        r->node_name);
                op_rc_ref(op, rc, "Node", r->node_name);
                return !named;
        }
        if (!is_whole(op, r, named, ret_skip)) return false;
        return *ret_skip || pools_ok(op, r, for_clone);
}

/* Whoever writes must be able to hold its I/O. Of a node whose satellite is away its DRBD peers know whether it writes. */
static bool writers_ok(struct op *op, const struct rsc *rscs, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++) {
                struct obs_rsc o;
                if (!op_observed_rsc(op, rscs[i].rsc_name, rscs[i].node_name, &o) || !HAS(&o, obs_rsc, drbd))
                        continue;
                for (uint32_t k = 0; k < o.drbd->peers_n; k++) {
                        const struct obs_drbd_peer *p = &o.drbd->peers[k];
                        if (!op_same(op_text(p->role), "Primary") ||
                                !op_same(op_text(p->connection), "Connected") ||
                                op_node_surely_online(op, p->name))
                                continue;
                        struct api_rc *rc = op_rc(op, RC_FAIL_NOT_CONNECTED,
                                "No active connection to satellite '%s', where resource '%s' is in use: its "
                                "I/O cannot be suspended.",
                                p->name, rscs[i].rsc_name);
                        op_rc_ref(op, rc, "Node", p->name);
                        return false;
                }
        }
        return true;
}

/* ---- create ---- */

static void put_snap(struct op *op, const struct snap_args *args, const struct rsc *r)
{
        struct snap s = { 0 };
        struct snap_vlm *vlms = arena_alloc(op->arena, (r->volumes_n + 1) * sizeof *vlms);
        for (uint32_t i = 0; i < r->volumes_n; i++) {
                const struct vlm *v = &r->volumes[i];
                struct vlm_dfn vd = { 0 };
                (void)op_find_vd(op, r->rsc_name, v->volume_number, &vd);
                SET(&vlms[i], snap_vlm, volume_number, v->volume_number);
                SET(&vlms[i], snap_vlm, storage_pool_name, v->storage_pool_name);
                SET(&vlms[i], snap_vlm, provider_kind, v->provider_kind);
                SET(&vlms[i], snap_vlm, uuid, op_uuid(op));
                SET(&vlms[i], snap_vlm, vlm_id, vlm_backing_id(r->rsc_name, v, &vd.props, op->arena));
                SET(&vlms[i], snap_vlm, vlm_props, v->props);
                SET(&vlms[i], snap_vlm, size_kib, v->size_kib);
                if (HAS(v, vlm, uuid)) SET(&vlms[i], snap_vlm, of_uuid, v->uuid);
        }
        SET(&s, snap, rsc_name, r->rsc_name);
        SET(&s, snap, snap_name, args->snap_name);
        SET(&s, snap, node_name, r->node_name);
        SET(&s, snap, uuid, op_uuid(op));
        SET(&s, snap, rsc_props, r->props);
        if (HAS(r, rsc, drbd_node_id)) SET(&s, snap, drbd_node_id, r->drbd_node_id);
        SET_N(&s, snap, volumes, vlms, r->volumes_n);
        SET(&s, snap, revision, op->index);
        row_put(op->tx, &snap_type, &s);
}

static bool put_snaps(struct op *op, const struct snap_args *args)
{
        struct rsc *rscs;
        uint32_t n = op_list_rscs(op, args->rsc_name, &rscs), taken = 0;
        for (uint32_t i = 0; i < args->nodes_n; i++) {
                struct rsc r;
                if (!op_need_rsc(op, args->rsc_name, args->nodes[i], &r)) return false;
        }
        if (!writers_ok(op, rscs, n)) return false;
        for (uint32_t i = 0; i < n; i++) {
                bool named = op_in_list(rscs[i].node_name, args->nodes, args->nodes_n), skip;
                if (args->nodes_n != 0 && !named) continue;
                if (!member_ok(op, &rscs[i], named, args->for_clone, &skip)) return false;
                if (skip) continue;
                put_snap(op, args, &rscs[i]);
                taken++;
        }
        if (taken != 0) return true;
        struct api_rc *rc = op_rc(op, RC_FAIL_NOT_CONNECTED,
                "Resource '%s' has no disk on a node that is connected.", args->rsc_name);
        if (n == 0)
                op_rc_explain(op, rc, "It is on no node at all.", NULL,
                        "Place it first: 'outrigger resource create'.");
        return false;
}

static void put_dfn(struct op *op, const struct snap_args *args, const struct rsc_dfn *rd)
{
        struct snap_dfn d = { 0 };
        struct vlm_dfn *vds;
        uint32_t n = op_list_vds(op, rd->name, &vds);
        struct snap_vlm_dfn *vlms = arena_alloc(op->arena, (n + 1) * sizeof *vlms);
        for (uint32_t i = 0; i < n; i++) {
                SET(&vlms[i], snap_vlm_dfn, volume_number, vds[i].volume_number);
                SET(&vlms[i], snap_vlm_dfn, size_kib, vds[i].size_kib);
                SET(&vlms[i], snap_vlm_dfn, vd_props, vds[i].props);
                SET(&vlms[i], snap_vlm_dfn, flags, vds[i].flags & vlm_dfn_flag_GROSS_SIZE);
                if (HAS(&vds[i], vlm_dfn, luks_key)) SET(&vlms[i], snap_vlm_dfn, luks_key, vds[i].luks_key);
                if (HAS(&vds[i], vlm_dfn, luks_weak))
                        SET(&vlms[i], snap_vlm_dfn, luks_weak, vds[i].luks_weak);
                if (HAS(&vds[i], vlm_dfn, luks_key_id))
                        SET(&vlms[i], snap_vlm_dfn, luks_key_id, vds[i].luks_key_id);
                if (HAS(&vds[i], vlm_dfn, luks_olds))
                        SET_N(&vlms[i], snap_vlm_dfn, luks_olds, vds[i].luks_olds, vds[i].luks_olds_n);
        }
        SET(&d, snap_dfn, rsc_name, rd->name);
        SET(&d, snap_dfn, snap_name, args->snap_name);
        SET(&d, snap_dfn, uuid, op_uuid(op));
        if (args->flags != 0) SET(&d, snap_dfn, flags, args->flags);
        if (args->props != NULL) SET(&d, snap_dfn, props, *args->props);
        SET(&d, snap_dfn, rd_props, rd->props);
        SET_N(&d, snap_dfn, volumes, vlms, n);
        SET_N(&d, snap_dfn, layer_stack, rd->layer_stack, rd->layer_stack_n);
        SET(&d, snap_dfn, create_timestamp, op->req->wall_ms);
        row_put(op->tx, &snap_dfn_type, &d);
}

static void name_refs(struct op *op, struct api_rc *rc, const char *rsc, const char *snap)
{
        op_rc_ref(op, rc, "RscDfn", rsc);
        op_rc_ref(op, rc, "Snapshot", snap);
}

/* Layers that can hold I/O, whose metadata may be in what is made from the snapshot, and that keep nothing of the data elsewhere. */
static bool stack_ok(struct op *op, const struct rsc_dfn *rd)
{
        for (uint32_t i = 0; i < rd->layer_stack_n; i++) {
                if (op_same(rd->layer_stack[i], "STORAGE") || op_same(rd->layer_stack[i], "LUKS") ||
                        op_same(rd->layer_stack[i], "DRBD"))
                        continue;
                op_rc(op, RC_FAIL_SNAPSHOTS_NOT_SUPPORTED,
                        "Resource '%s' has the layer %s: snapshots of it are not implemented in this "
                        "version.",
                        rd->name, rd->layer_stack[i]);
                return false;
        }
        return true;
}

bool op_make_snap(struct op *op, const struct snap_args *args)
{
        struct rsc_dfn rd;
        struct snap_dfn old;
        if (!op_need_rd(op, args->rsc_name, &rd)) return false;
        const char *why = name_check(NAME_SNAPSHOT, op_text(args->snap_name));
        if (why != NULL) {
                op_rc(op, RC_FAIL_INVLD_SNAPSHOT_NAME, "'%.64s' is not a name of a snapshot: %s.",
                        op_text(args->snap_name), why);
                return false;
        }
        if (op_find_snap_dfn(op, rd.name, args->snap_name, &old)) {
                name_refs(op,
                        op_rc(op, RC_FAIL_EXISTS_SNAPSHOT_DFN, "Resource '%s' has a snapshot '%s' already.",
                                rd.name, old.snap_name),
                        rd.name, old.snap_name);
                return false;
        }
        if (!op_saga_free(op, rd.name) || !stack_ok(op, &rd)) return false;
        struct snap_args own = *args;
        own.rsc_name = rd.name;
        put_dfn(op, &own, &rd);
        return put_snaps(op, &own);
}

static bool make_of_body(
        struct op *op, const char *rsc_name, const struct snap_body *b, struct saga_item *ret)
{
        struct strmap props = { 0 };
        struct rsc_dfn rd;
        if (!op_need_rd(op, rsc_name, &rd)) return false;
        const struct strmap *asked =
                b->snapshot_definition_props.n != 0 ? &b->snapshot_definition_props : &b->props;
        if (!op_props_new(op, PS_RD, asked, &props)) return false;
        struct snap_args args = { .rsc_name = rd.name,
                .snap_name = b->name,
                .nodes = b->nodes,
                .nodes_n = b->nodes_n,
                .props = &props };
        if (!op_make_snap(op, &args)) return false;
        SET(ret, saga_item, rsc_name, rd.name);
        SET(ret, saga_item, snap_name, b->name);
        name_refs(op, op_rc(op, RC_CREATED, "Snapshot '%s' of resource '%s' created.", b->name, rd.name),
                rd.name, b->name);
        return true;
}

void op_snap_create(struct op *op)
{
        struct saga_item item = { 0 };
        if (make_of_body(op, op->params[0], OP_BODY(op, snap_body), &item))
                op_saga_begin(op, saga_kind_SNAPSHOT, &item, 1, NULL, true);
}

void op_snap_multi(struct op *op)
{
        const struct snap_multi_body *b = OP_BODY(op, snap_multi_body);
        if (b->snapshots_n == 0 || b->snapshots_n > SNAPSHOTS_OF_REQUEST_MAX) {
                op_rc(op, RC_FAIL_INVLD_REQUEST, "The request names no snapshot, or more than %d.",
                        SNAPSHOTS_OF_REQUEST_MAX);
                return;
        }
        struct saga_item *items = arena_alloc(op->arena, b->snapshots_n * sizeof *items);
        for (uint32_t i = 0; i < b->snapshots_n; i++) {
                if (!op_given(b->snapshots[i].resource_name)) {
                        op_rc(op, RC_FAIL_INVLD_REQUEST, "Snapshot '%.64s' names no resource.",
                                op_text(b->snapshots[i].name));
                        return;
                }
                if (!make_of_body(op, b->snapshots[i].resource_name, &b->snapshots[i], &items[i])) return;
        }
        op_saga_begin(op, saga_kind_SNAPSHOT, items, b->snapshots_n, NULL, true);
}

/* ---- modify ---- */

void op_snap_modify(struct op *op)
{
        struct snap_dfn d;
        if (!op_need_snap_dfn(op, op->params[0], op->params[1], &d)) return;
        if (!op_props_modify(op, PS_RD, &d.props, OP_BODY(op, prop_mod), NULL)) return;
        MARK(&d, snap_dfn, props);
        row_put(op->tx, &snap_dfn_type, &d);
        name_refs(op,
                op_rc(op, RC_MODIFIED, "Snapshot '%s' of resource '%s' modified.", d.snap_name, d.rsc_name),
                d.rsc_name, d.snap_name);
}

/* ---- delete ---- */

static void wait_gone(struct op *op, const struct snap *s)
{
        op_wait_rsc(op, s->node_name, s->uuid, true);
        struct wait_item *w = &op->reply->waits[op->reply->waits_n - 1];
        SET(w, wait_item, rsc_name, s->rsc_name);
        SET(w, wait_item, tombstone, s->uuid);
}

static void bury_one(struct op *op, const struct snap *s)
{
        struct tombstone t = { 0 };
        struct vlm *vlms = arena_alloc(op->arena, (s->volumes_n + 1) * sizeof *vlms);
        for (uint32_t i = 0; i < s->volumes_n; i++) {
                const struct snap_vlm *v = &s->volumes[i];
                SET(&vlms[i], vlm, volume_number, v->volume_number);
                SET(&vlms[i], vlm, storage_pool_name, v->storage_pool_name);
                SET(&vlms[i], vlm, provider_kind, v->provider_kind);
                SET(&vlms[i], vlm, uuid, v->uuid);
                SET(&vlms[i], vlm, size_kib, 0); /* it shares the pool's space with its volume */
                SET(&vlms[i], vlm, source_id, snap_backing_id(v->vlm_id, s->snap_name, op->arena));
        }
        SET(&t, tombstone, node_name, s->node_name);
        SET(&t, tombstone, rsc_name, s->rsc_name);
        SET(&t, tombstone, uuid, s->uuid);
        SET(&t, tombstone, snap_name, s->snap_name);
        SET_N(&t, tombstone, volumes, vlms, s->volumes_n);
        const char **stack = arena_alloc(op->arena, sizeof *stack); /* no layer was ever up above it */
        stack[0] = enum_name(&layer_type_enum, layer_type_STORAGE);
        SET_N(&t, tombstone, layer_stack, stack, 1);
        SET(&t, tombstone, revision, op->index);
        op_pool_usage(op, s->node_name, vlms, s->volumes_n, 1);
        (void)row_del(op->tx, &snap_type, s);
        row_put(op->tx, &tombstone_type, &t);
        wait_gone(op, s);
}

void op_bury_snap(struct op *op, const struct snap_dfn *d, const char *node)
{
        struct snap *snaps;
        uint32_t n = op_list_snaps(op, d->rsc_name, d->snap_name, &snaps), left = 0;
        for (uint32_t i = 0; i < n; i++) {
                if (node == NULL || op_same(node, snaps[i].node_name)) bury_one(op, &snaps[i]);
                else left++;
        }
        if (left == 0) (void)row_del(op->tx, &snap_dfn_type, d);
}

/* A resource that is still being made from the snapshot. */
static bool find_source(struct op *op, const struct snap_dfn *d, struct idx_source *at)
{
        struct idx_source key = { .source_rsc = d->rsc_name, .source_snap = d->snap_name };
        struct row_scan s;
        bool found = false;
        row_scan_open(&s, op->tx, &idx_source_type, &key, 2);
        while (!found && row_scan_next(&s, op->arena, at)) {
                struct obs_rsc o;
                struct rsc r;
                if (!op_find_rsc(op, at->rsc_name, at->node_name, &r)) continue;
                if (!op_observed_rsc(op, at->rsc_name, at->node_name, &o)) o = (struct obs_rsc){ 0 };
                uint32_t made = 0;
                for (uint32_t i = 0; i < o.volumes_n; i++) made += op_given(o.volumes[i].backing_device);
                found = made < r.volumes_n || o.uuid == NULL || r.uuid == NULL || strcmp(o.uuid, r.uuid) != 0;
        }
        row_scan_close(&s);
        return found;
}

bool op_snap_is_source(struct op *op, const struct snap_dfn *d)
{
        struct idx_source at;
        return find_source(op, d, &at);
}

static bool is_source(struct op *op, const struct snap_dfn *d)
{
        struct idx_source at;
        if (!find_source(op, d, &at)) return false;
        struct api_rc *rc = op_rc(op, RC_FAIL_IN_USE,
                "Snapshot '%s' of resource '%s' is in use: resource '%s' on node '%s' is being made from it.",
                d->snap_name, d->rsc_name, at.rsc_name, at.node_name);
        op_rc_explain(op, rc, NULL, NULL, "Wait until that is ready, or delete that resource.");
        op_ask_again(op);
        return true;
}

bool op_snap_may_go(struct op *op, const struct snap_dfn *d)
{
        return op_saga_free(op, d->rsc_name) && !is_source(op, d) &&
               !op_ship_busy(op, d->rsc_name, d->snap_name);
}

void op_snap_delete(struct op *op)
{
        struct snap_dfn d;
        uint32_t asked = 0;
        if (!op_find_snap_dfn(op, op->params[0], op->params[1], &d)) {
                name_refs(op,
                        op_rc(op, RC_WARN_NOT_FOUND, "There is no snapshot '%s' of resource definition '%s'.",
                                op->params[1], op->params[0]),
                        op->params[0], op->params[1]);
                return;
        }
        if (!op_snap_may_go(op, &d)) return;
        for (uint32_t i = 0; i < op->query->n; i++) {
                if (strcmp(op->query->kv[2 * (size_t)i], "nodes") != 0) continue;
                asked++;
                op_bury_snap(op, &d, op->query->kv[2 * (size_t)i + 1]);
        }
        if (asked == 0) op_bury_snap(op, &d, NULL);
        name_refs(op,
                op_rc(op, RC_DELETED, "Snapshot '%s' of resource '%s' deleted.", d.snap_name, d.rsc_name),
                d.rsc_name, d.snap_name);
}
