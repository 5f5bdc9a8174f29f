/* Shipping to other clusters: at the sender `backup ship`, and what the other cluster answered; at the receiver the request of the
 * sender, which is repeated in each round and whenever its answer was lost. What happens then: ship.h, l2l.h. */
#include <string.h>

#include "controller/op/op_backup.h"
#include "controller/op/op_remote.h"
#include "controller/op/saga.h"
#include "controller/op/ship.h"
#include "controller/op/ship_base.h"

#define VOLUMES_MAX 4096u

/* ---- sender ---- */

static void fill_target(const struct backup_ship_body *b, const char *snap, struct ship_target *t)
{
        SET(t, ship_target, rsc_name, op_given(b->dst_rsc_name) ? b->dst_rsc_name : b->src_rsc_name);
        SET(t, ship_target, snap_name, op_given(b->dst_snap_name) ? b->dst_snap_name : snap);
        if (op_given(b->dst_node_name)) SET(t, ship_target, node_name, b->dst_node_name);
        if (op_given(b->dst_net_if_name)) SET(t, ship_target, net_if_name, b->dst_net_if_name);
        if (op_given(b->dst_stor_pool)) SET(t, ship_target, stor_pool, b->dst_stor_pool);
        SET(t, ship_target, stor_pool_rename, b->stor_pool_rename);
        if (op_given(b->dst_rsc_grp)) SET(t, ship_target, rsc_grp, b->dst_rsc_grp);
        SET(t, ship_target, download_only, HAS(b, backup_ship_body, download_only) && b->download_only);
        SET(t, ship_target, force_restore, HAS(b, backup_ship_body, force_restore) && b->force_restore);
}

/* Says what is known by now about how much is sent. The snapshot may not have been taken yet: what is there is compared with its volumes. */
static void note_bases(struct op *op, struct ship *s)
{
        const char **ids;
        if (!s->incremental) return;
        if (ship_bases(op->tx, s, op->arena, &ids) == 0) {
                SET(s, ship, note,
                        arena_printf(op->arena,
                                "Everything is sent: node '%s' has no other snapshot of these volumes.",
                                s->node_name));
                return;
        }
        struct snap_dfn d;
        if (!ship_base_find(op->tx, s, ids[0], op->arena, &d)) return;
        op_rc(op, RC_INFO_NOOP,
                "Only what has changed is sent if the other cluster still has snapshot '%s' or an earlier "
                "one, "
                "else "
                "everything: 'outrigger backup shipments' says which.",
                d.snap_name);
}

static void put_send(struct op *op, const struct remote *r, const struct snap_dfn *d, const char *node,
        struct ship_target *target, bool incremental, struct ship *ret)
{
        struct ship s = { 0 };
        struct ship_vlm *vlms = arena_alloc(op->arena, (d->volumes_n + 1) * sizeof *vlms);
        for (uint32_t i = 0; i < d->volumes_n; i++) {
                vlms[i] = (struct ship_vlm){ 0 };
                SET(&vlms[i], ship_vlm, volume_number, d->volumes[i].volume_number);
                SET(&vlms[i], ship_vlm, size_kib, d->volumes[i].size_kib);
                SET(&vlms[i], ship_vlm, key, "");
        }
        SET(&s, ship, uuid, op_uuid(op));
        SET(&s, ship, kind, ship_kind_SEND);
        SET(&s, ship, phase, ship_phase_WAIT);
        SET(&s, ship, rsc_name, d->rsc_name);
        SET(&s, ship, snap_name, d->snap_name);
        SET(&s, ship, snap_uuid, d->uuid);
        SET(&s, ship, node_name, node);
        SET(&s, ship, remote_name, r->name);
        SET_N(&s, ship, volumes, vlms, d->volumes_n);
        SET(&s, ship, since_ms, op->req->wall_ms);
        SET(&s, ship, begun_ms, op->req->wall_ms);
        SET(&s, ship, round, 0);
        SET(&s, ship, target, target);
        SET(&s, ship, incremental, incremental);
        *ret = s;
}

/* The snapshot: one that is there already, on a node that can send it, or a new one. *ret_new: its saga is to be begun. */
static bool take(struct op *op, const struct rsc_dfn *rd, const struct backup_ship_body *b, const char *name,
        struct rsc *from, struct snap_dfn *ret, bool *ret_new)
{
        struct snap *snaps;
        const char *asked = b->src_node_name;
        *ret_new = !op_find_snap_dfn(op, rd->name, name, ret);
        if (*ret_new) {
                if (!op_backup_source(op, rd, asked, from)) return false;
                const char *nodes[] = { from->node_name };
                struct snap_args args = {
                        .rsc_name = rd->name, .snap_name = name, .nodes = nodes, .nodes_n = 1
                };
                return op_make_snap(op, &args) && op_find_snap_dfn(op, rd->name, name, ret);
        }
        uint32_t n = op_list_snaps(op, rd->name, name, &snaps);
        for (uint32_t i = 0; i < n; i++) {
                bool fits = op_given(asked) ? op_same(asked, snaps[i].node_name) : true;
                for (uint32_t k = 0; k < snaps[i].volumes_n; k++)
                        fits = fits && op_backup_kind(snaps[i].volumes[k].provider_kind);
                if (!fits || !op_node_surely_online(op, snaps[i].node_name)) continue;
                *from = (struct rsc){ .rsc_name = rd->name, .node_name = snaps[i].node_name };
                return true;
        }
        op_rc(op, RC_FAIL_INVLD_BACKUP_CONFIG,
                "No node that is connected can send snapshot '%s' of resource '%s'.", name, rd->name);
        return false;
}

void op_backup_ship(struct op *op)
{
        const struct backup_ship_body *b = OP_BODY(op, backup_ship_body);
        struct remote r;
        struct rsc_dfn rd;
        struct rsc from;
        struct snap_dfn d;
        struct ship_target target = { 0 };
        struct ship s;
        bool is_new;
        const char *snap = op_given(b->src_snap_name) ? b->src_snap_name : op_backup_stamp(op);
        if (!op_need_remote(op, op->params[0], remote_kind_LINSTOR, &r) ||
                !op_need_rd(op, b->src_rsc_name, &rd) || !op_backup_stack(op, &rd) ||
                !take(op, &rd, b, snap, &from, &d, &is_new))
                return;
        if (d.volumes_n == 0) {
                op_rc(op, RC_FAIL_INVLD_BACKUP_CONFIG, "Resource '%s' has no volumes.", rd.name);
                return;
        }
        fill_target(b, d.snap_name, &target);
        const char *why = name_check(NAME_RSC, target.rsc_name);
        if (why != NULL) {
                op_rc(op, RC_FAIL_INVLD_RSC_NAME, "'%.64s' is not a name of a resource: %s.", target.rsc_name,
                        why);
                return;
        }
        bool incremental = !HAS(b, backup_ship_body, allow_incremental) || b->allow_incremental;
        put_send(op, &r, &d, from.node_name, &target, incremental, &s);
        if (is_new) {
                struct saga_item item = { 0 };
                SET(&item, saga_item, rsc_name, rd.name);
                SET(&item, saga_item, snap_name, d.snap_name);
                op_saga_begin(op, saga_kind_SNAPSHOT, &item, 1, NULL, true);
        }
        struct api_rc *rc = op_rc(op, RC_CREATED,
                "Shipping of resource '%s' to resource '%s' of remote '%s' begins: snapshot '%s', sent by "
                "node '%s'.",
                rd.name, target.rsc_name, r.name, d.snap_name, from.node_name);
        op_rc_ref(op, rc, "RscDfn", rd.name);
        op_rc_ref(op, rc, "Snapshot", d.snap_name);
        op_rc_ref(op, rc, "Shipment", s.uuid);
        note_bases(op, &s);
        if (s.note != NULL) op_rc(op, RC_INFO_NOOP, "%s", s.note);
        row_put(op->tx, &ship_type, &s);
}

/* The other cluster has made ready, and has named the base that it has, if any. One that has gone here meanwhile is not offered again. */
static void go_on(struct op *op, const struct ship_answer *b, struct ship *s)
{
        struct snap_dfn base;
        if (b->base_id != NULL) {
                if (!ship_base_find(op->tx, s, b->base_id, op->arena, &base)) {
                        if (s->round < SHIP_ROUNDS) op_ship_again(op, s);
                        else op_ship_fail(op, s, "The snapshot that it was to be based on is gone.");
                        return;
                }
                SET(s, ship, base_id, b->base_id);
                SET(s, ship, base_snap, base.snap_name);
        }
        if (b->note != NULL) SET(s, ship, note, b->note);
        SET(s, ship, own_key, b->own_key);
        SET(s, ship, peer_key, b->peer_key);
        SET(s, ship, address, b->address);
        SET(s, ship, port, b->port);
        op_ship_enter(op, s, ship_phase_RUN);
}

void op_int_ship_answer(struct op *op)
{
        const struct ship_answer *b = OP_BODY(op, ship_answer);
        struct ship key = { .uuid = b->uuid }, s;
        op_rc(op, RC_MODIFIED, "The shipment goes on.");
        if (row_get(op->tx, &ship_type, &key, op->arena, &s) != 0 || s.kind != ship_kind_SEND ||
                s.round != b->round)
                return;
        if (HAS(b, ship_answer, told)) {
                SET(&s, ship, told, true);
                row_put(op->tx, &ship_type, &s);
        }
        if (s.phase != ship_phase_ASK) return;
        if (b->reason != NULL) op_ship_fail(op, &s, b->reason);
        else if (HAS(b, ship_answer, done)) op_ship_sent(op, &s);
        else if (b->own_key != NULL && b->peer_key != NULL && b->address != NULL) go_on(op, b, &s);
}

/* ---- receiver ---- */

/* A remote with the sender's cluster id says that it may. */
static bool trusted(struct op *op, const char *cluster_id, struct remote *ret)
{
        struct row_scan s;
        bool found = false;
        row_scan_open(&s, op->tx, &remote_type, NULL, 0);
        while (!found && row_scan_next(&s, op->arena, ret))
                found = ret->kind == remote_kind_LINSTOR && (ret->flags & remote_flag_MARK_DELETED) == 0 &&
                        op_given(cluster_id) && op_same(op_text(ret->cluster_id), cluster_id);
        row_scan_close(&s);
        if (found) return true;
        struct api_rc *rc = op_rc(op, RC_FAIL_BACKUP_UNKNOWN_CLUSTER,
                "This cluster takes nothing from cluster '%.64s'.", op_text(cluster_id));
        op_rc_explain(op, rc, "No remote of kind LINSTOR has that cluster id.", NULL,
                "On the receiving cluster: 'outrigger remote create linstor NAME URL --cluster-id ID', with "
                "the "
                "sender's id ('outrigger controller list-properties' there: Cluster/LocalID).");
        return false;
}

static bool body_ok(struct op *op, const struct shipment_body *b)
{
        if (b->version > SHIP_VERSION) {
                op_rc(op, RC_FAIL_BACKUP_INCOMPATIBLE_VERSION,
                        "The sender ships in a way (%lld) that this cluster does not know yet.",
                        (long long)b->version);
                return false;
        }
        bool good = op_given(b->uuid) && strlen(b->uuid) <= 64 && op_given(b->key) && strlen(b->key) == 64 &&
                    b->round > 0 && b->target != NULL && b->volumes_n > 0 && b->volumes_n <= VOLUMES_MAX &&
                    op_given(b->snap_uuid) && strlen(b->snap_uuid) <= 64;
        if (good && name_check(NAME_SNAPSHOT, op_text(b->target->snap_name)) == NULL) return true;
        op_rc(op, RC_FAIL_INVLD_REQUEST, "The request for a shipment is incomplete.");
        return false;
}

/* As a restoration would ask for it. */
static void as_restore(struct op *op, const struct shipment_body *b, struct backup_restore_body *ret)
{
        const struct ship_target *t = b->target;
        *ret = (struct backup_restore_body){ .target_rsc_name = t->rsc_name,
                .snap_name = t->snap_name,
                .dst_rsc_grp = t->rsc_grp,
                .volumes = b->volumes,
                .volumes_n = b->volumes_n,
                .props = b->props };
        for (uint32_t i = 0; i < b->volumes_n; i++) {
                const char *from = op_given(b->volumes[i].storage_pool_name) ? b->volumes[i].storage_pool_name
                                                                             : DFLT_STOR_POOL;
                const char *to = strmap_get(&t->stor_pool_rename, from);
                if (to == NULL && op_given(t->stor_pool)) to = t->stor_pool;
                if (to != NULL) strmap_set(&ret->stor_pool_map, from, to, op->arena);
        }
}

/* What is free in the fullest of the pools that it needs; -1: it cannot be there. */
static int64_t room_on(struct op *op, const char *node, const struct backup_restore_body *b)
{
        int64_t room = INT64_MAX;
        for (uint32_t i = 0; i < b->volumes_n; i++) {
                const char *pool = op_backup_pool_name(b, &b->volumes[i]);
                struct stor_pool p;
                struct obs_pool o;
                if (!op_find_pool(op, node, pool, &p) || !op_backup_kind(p.provider_kind)) return -1;
                bool seen = op_observed_pool(op, node, pool, &o) && HAS(&o, obs_pool, free_kib);
                room = MIN(room, seen ? o.free_kib : 0);
        }
        return room;
}

/* What a base on one of our nodes must be. Its definition may be smaller here than what the storage made of it. */
static void wanted_shape(struct op *op, const struct backup_restore_body *want, struct ship_shape *ret)
{
        ret->n = want->volumes_n;
        ret->volumes = arena_alloc(op->arena, (want->volumes_n + 1) * sizeof *ret->volumes);
        for (uint32_t i = 0; i < want->volumes_n; i++)
                ret->volumes[i] = (struct ship_shape_vlm){ .number = want->volumes[i].volume_number,
                        .pool = op_backup_pool_name(want, &want->volumes[i]) };
}

/* A node that has the snapshot with that id. */
static bool base_on_node(struct op *op, const struct shipment_body *b, const struct ship_shape *shape,
        const char *id, struct snap_dfn *ret, struct node *ret_node)
{
        struct row_scan scan;
        struct snap_dfn key = { .rsc_name = b->target->rsc_name };
        bool found = false;
        row_scan_open(&scan, op->tx, &snap_dfn_type, &key, 1);
        while (!found && row_scan_next(&scan, op->arena, ret)) {
                struct snap *snaps;
                uint32_t n =
                        ship_base_is(ret, id) ? op_list_snaps(op, ret->rsc_name, ret->snap_name, &snaps) : 0;
                for (uint32_t i = 0; i < n && !found; i++) {
                        const char *name = snaps[i].node_name;
                        if (op_given(b->target->node_name) && !op_same(b->target->node_name, name)) continue;
                        found = op_node_surely_online(op, name) && op_find_node(op, name, ret_node) &&
                                (ret_node->flags & (node_flag_EVICTED | node_flag_EVACUATE)) == 0 &&
                                ship_base_fits(op->tx, ret, name, shape, op->arena);
                }
        }
        row_scan_close(&scan);
        return found;
}

/* The first of the sender's bases that is here, and the node that has it. */
static bool pick_base(struct op *op, const struct shipment_body *b, const struct backup_restore_body *want,
        struct ship *s, struct node *ret_node)
{
        struct ship_shape shape;
        wanted_shape(op, want, &shape);
        for (uint32_t i = 0; i < b->bases_n && i < SHIP_BASES_MAX; i++) {
                struct snap_dfn d;
                if (!base_on_node(op, b, &shape, b->bases[i], &d, ret_node)) continue;
                SET(s, ship, base_id, b->bases[i]);
                SET(s, ship, base_snap, d.snap_name);
                return true;
        }
        return false;
}

static bool pick_target(struct op *op, const struct shipment_body *b, const struct backup_restore_body *want,
        struct node *ret)
{
        struct row_scan s;
        struct node n;
        int64_t best = -1;
        if (op_given(b->target->node_name)) {
                if (!op_need_node(op, b->target->node_name, ret)) return false;
                if (op_node_surely_online(op, ret->name)) return true;
                op_rc(op, RC_FAIL_NOT_CONNECTED, "No active connection to satellite '%s'.", ret->name);
                return false;
        }
        row_scan_open(&s, op->tx, &node_type, NULL, 0);
        while (row_scan_next(&s, op->arena, &n)) {
                int64_t room = room_on(op, n.name, want);
                if (room <= best || (n.flags & (node_flag_EVICTED | node_flag_EVACUATE)) != 0) continue;
                if (!op_node_surely_online(op, n.name)) continue;
                best = room;
                *ret = n;
        }
        row_scan_close(&s);
        if (best >= 0) return true;
        const char *pool = op_backup_pool_name(want, &want->volumes[0]);
        struct api_rc *rc = op_rc(op, RC_FAIL_NOT_ENOUGH_NODES,
                "No node of this cluster can receive it: none that is connected has storage pool '%s'.",
                pool);
        op_rc_explain(op, rc, "A pool of kind " OP_BACKUP_KINDS " is needed.", NULL,
                "Name another one: '--target-storage-pool', or '--storpool-rename OLD=NEW'.");
        return false;
}

static bool address_of(struct op *op, const struct node *n, const char *wanted, const char **ret)
{
        const struct netif *found = NULL;
        const char *name = op_given(wanted) ? wanted : "default";
        for (uint32_t i = 0; i < n->net_interfaces_n && found == NULL; i++)
                if (op_same(n->net_interfaces[i].name, name)) found = &n->net_interfaces[i];
        if (found == NULL && !op_given(wanted) && n->net_interfaces_n > 0) found = &n->net_interfaces[0];
        if (found != NULL && op_given(found->address)) {
                *ret = found->address;
                return true;
        }
        op_rc(op, RC_FAIL_NOT_FOUND_NET_IF, "Node '%s' has no network interface '%s'.", n->name, name);
        return false;
}

/* What the sender's user has to know. A resource that is there stays as it is. */
static const char *note_of(
        struct op *op, const struct shipment_body *b, const struct ship *s, bool *download_only)
{
        struct rsc key = { .rsc_name = s->rsc_name };
        const char *note = "";
        if (s->base_id == NULL && b->bases_n > 0)
                note = arena_printf(op->arena,
                        "Everything is sent: resource definition '%s' of the other cluster has none of the "
                        "snapshots "
                        "that the changes could be based on.",
                        s->rsc_name);
        if (*download_only || row_count(op->tx, &rsc_type, &key, 1) == 0) return note;
        *download_only = true;
        return arena_printf(op->arena,
                "%s%sResource '%s' is there already in the other cluster: it gets the snapshot, and stays as "
                "it "
                "is.",
                note, note[0] != '\0' ? " " : "", s->rsc_name);
}

static void put_receive(struct op *op, const struct shipment_body *b)
{
        struct remote r;
        struct node node;
        struct ship s = { 0 };
        struct backup_restore_body want;
        struct snap_dfn d;
        struct rsc_dfn rd;
        const char *address;
        if (!trusted(op, b->cluster_id, &r)) return;
        if (HAS(b->target, ship_target, force_restore) && b->target->force_restore) {
                op_rc(op, RC_FAIL_INVLD_BACKUP_CONFIG,
                        "A resource that is there is not replaced in this version.");
                return;
        }
        as_restore(op, b, &want);
        bool into = op_find_rd(op, op_text(b->target->rsc_name), &rd);
        if (!pick_base(op, b, &want, &s, &node) && !pick_target(op, b, &want, &node)) return;
        if (!address_of(op, &node, b->target->net_if_name, &address) ||
                !op_backup_target(op, &want, &node, into ? &rd : NULL, &s))
                return;
        bool download_only = HAS(b->target, ship_target, download_only) && b->target->download_only;
        const char *note = note_of(op, b, &s, &download_only);
        if (note[0] != '\0') SET(&s, ship, note, note);
        if (op_find_snap_dfn(op, s.rsc_name, s.snap_name, &d)) {
                SET(&d, snap_dfn, origin, b->snap_uuid);
                row_put(op->tx, &snap_dfn_type, &d);
        }
        SET(&s, ship, uuid, b->uuid);
        SET(&s, ship, kind, ship_kind_RECEIVE);
        SET(&s, ship, phase, ship_phase_RUN);
        SET(&s, ship, node_name, node.name);
        SET(&s, ship, remote_name, r.name);
        SET(&s, ship, cluster_id, b->cluster_id);
        SET(&s, ship, address, address);
        SET(&s, ship, round, b->round);
        SET(&s, ship, peer_key, b->key);
        SET(&s, ship, since_ms, op->req->wall_ms);
        SET(&s, ship, begun_ms, op->req->wall_ms);
        SET(&s, ship, download_only, download_only);
        row_put(op->tx, &ship_type, &s);
        op_backup_rc(op, RC_CREATED, s.rsc_name, s.snap_name,
                arena_printf(op->arena, "Node '%s' prepares to receive snapshot '%s' of resource '%s'.",
                        node.name, s.snap_name, s.rsc_name));
        if (download_only)
                op_rc(op, RC_WARN_BACKUP_DL_ONLY, "The snapshot is received; no resource is made of it.");
}

static bool is_offered(const struct shipment_body *b, const char *id)
{
        bool yes = false;
        for (uint32_t i = 0; i < b->bases_n; i++) yes = yes || strcmp(b->bases[i], id) == 0;
        return yes;
}

void op_shipment_ask(struct op *op)
{
        const struct shipment_body *b = OP_BODY(op, shipment_body);
        struct ship key = { .uuid = op_text(b->uuid) }, s;
        if (!body_ok(op, b)) return;
        if (row_get(op->tx, &ship_type, &key, op->arena, &s) != 0) {
                put_receive(op, b);
                return;
        }
        if (s.kind != ship_kind_RECEIVE || !op_same(op_text(s.cluster_id), op_text(b->cluster_id))) {
                op_rc(op, RC_FAIL_INVLD_REQUEST, "There is another shipment of that id.");
                return;
        }
        if (ship_is_live(&s) && b->round > s.round) {
                if (s.base_id != NULL && !is_offered(b, s.base_id)) {
                        s.base_id = s.base_snap = NULL;
                        UNSET(&s, ship, base_id);
                        UNSET(&s, ship, base_snap);
                }
                SET(&s, ship, round, b->round);
                SET(&s, ship, peer_key, b->key);
                op_ship_enter(op, &s, ship_phase_RUN);
        }
        op_backup_rc(op, RC_MODIFIED, s.rsc_name, s.snap_name, "The shipment is known.");
}

void op_shipment_stop(struct op *op)
{
        struct ship key = { .uuid = op->params[0] }, s;
        if (row_get(op->tx, &ship_type, &key, op->arena, &s) != 0 || s.kind != ship_kind_RECEIVE ||
                !ship_is_live(&s)) {
                op_rc(op, RC_WARN_NOT_FOUND, "There is no such shipment on its way.");
                return;
        }
        op_ship_touch(op, &s);
        op_ship_undo(op, &s);
        op_ship_drop(op, &s);
        op_backup_rc(op, RC_DELETED, s.rsc_name, s.snap_name,
                arena_printf(op->arena, "Receiving of resource '%s' stopped: its sender has given up.",
                        s.rsc_name));
}
