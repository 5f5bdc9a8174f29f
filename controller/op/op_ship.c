/* Shipping to other clusters: at the sender `backup ship`, and what the other cluster answered; at the receiver the request of the
 * sender, which is repeated in each round and whenever its answer was lost. What happens then: ship.h, l2l.h. */
#include <string.h>

#include "controller/op/op_backup.h"
#include "controller/op/op_remote.h"
#include "controller/op/saga.h"
#include "controller/op/ship.h"

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

static void put_send(struct op *op, const struct remote *r, const struct snap_dfn *d, const char *node,
        struct ship_target *target)
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
        row_put(op->tx, &ship_type, &s);
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
        put_send(op, &r, &d, from.node_name, &target);
        if (is_new) {
                struct saga_item item = { 0 };
                SET(&item, saga_item, rsc_name, rd.name);
                SET(&item, saga_item, snap_name, d.snap_name);
                op_saga_begin(op, saga_kind_SNAPSHOT, &item, 1, NULL, true);
        }
        op_backup_rc(op, RC_CREATED, rd.name, d.snap_name,
                arena_printf(op->arena,
                        "Shipping of resource '%s' to resource '%s' of remote '%s' begins: snapshot '%s', "
                        "sent by "
                        "node '%s'.",
                        rd.name, target.rsc_name, r.name, d.snap_name, from.node_name));
        if (!HAS(b, backup_ship_body, allow_incremental) || b->allow_incremental)
                op_rc(op, RC_INFO_NOOP,
                        "All of it is sent: shipping only what has changed is not implemented yet.");
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
        else if (HAS(b, ship_answer, done)) {
                op_ship_touch(op, &s);
                op_ship_drop(op, &s);
        } else if (b->own_key != NULL && b->peer_key != NULL && b->address != NULL) {
                SET(&s, ship, own_key, b->own_key);
                SET(&s, ship, peer_key, b->peer_key);
                SET(&s, ship, address, b->address);
                SET(&s, ship, port, b->port);
                op_ship_enter(op, &s, ship_phase_RUN);
        }
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
                .volumes_n = b->volumes_n };
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
        op_rc_explain(op, rc, "A pool of kind FILE or FILE_THIN is needed.", NULL,
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

static void put_receive(struct op *op, const struct shipment_body *b)
{
        struct remote r;
        struct node node;
        struct ship s = { 0 };
        struct backup_restore_body want;
        struct snap_dfn d;
        const char *address;
        if (!trusted(op, b->cluster_id, &r)) return;
        if (HAS(b->target, ship_target, force_restore) && b->target->force_restore) {
                op_rc(op, RC_FAIL_INVLD_BACKUP_CONFIG,
                        "A resource that is there is not replaced in this version.");
                return;
        }
        as_restore(op, b, &want);
        if (!pick_target(op, b, &want, &node) || !address_of(op, &node, b->target->net_if_name, &address) ||
                !op_backup_target(op, &want, &node, &s))
                return;
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
        SET(&s, ship, download_only, HAS(b->target, ship_target, download_only) && b->target->download_only);
        row_put(op->tx, &ship_type, &s);
        op_backup_rc(op, RC_CREATED, s.rsc_name, s.snap_name,
                arena_printf(op->arena, "Node '%s' prepares to receive snapshot '%s' of resource '%s'.",
                        node.name, s.snap_name, s.rsc_name));
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
