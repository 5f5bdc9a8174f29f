/* Resources: creating on a named node, deleting, making available, modifying. Automatic placement is in
 * op_place.c. */
#include <string.h>

#include "controller/op/op_disk.h"
#include "controller/op/op_extra.h"
#include "controller/op/op_netif.h"
#include "controller/op/op_nvme.h"
#include "controller/op/op_quorum.h"
#include "controller/op/saga.h"
#include "state/place.h"
#include "wire/base/sabotage.h"

static struct api_rc *rsc_rc(struct op *op, enum apirc_code code, unsigned verb, const char *rsc,
        const char *node, const char *done)
{
        struct api_rc *rc =
                op_rc_as(op, code, verb, RC_OBJ_RSC, "Resource '%s' on node '%s' %s.", rsc, node, done);
        op_rc_ref(op, rc, "RscDfn", rsc);
        op_rc_ref(op, rc, "Node", node);
        return rc;
}

/* ---- what DRBD needs ---- */

static bool pick_node_id(struct op *op, const struct rsc_dfn *rd, int64_t wanted, struct rsc *r)
{
        struct rsc *rscs;
        struct idx_tombstone_rsc tkey = { .rsc_name = rd->name }, it;
        struct row_scan s;
        uint32_t taken = 0;
        uint32_t n = op_list_rscs(op, rd->name, &rscs);
        for (uint32_t i = 0; i < n; i++)
                if (HAS(&rscs[i], rsc, drbd_node_id) && !SABOTAGE(NODE_ID_UNCHECKED))
                        taken |= UINT32_C(1) << (rscs[i].drbd_node_id & 31);
        row_scan_open(&s, op->tx, &idx_tombstone_rsc_type, &tkey, 1);
        while (row_scan_next(&s, op->arena, &it)) {
                struct tombstone t = { .node_name = it.node_name, .rsc_name = it.rsc_name, .uuid = it.uuid };
                if (row_get(op->tx, &tombstone_type, &t, op->arena, &t) == 0 &&
                        HAS(&t, tombstone, drbd_node_id) && !SABOTAGE(NODE_ID_FREED_EARLY))
                        taken |= UINT32_C(1) << (t.drbd_node_id & 31);
        }
        row_scan_close(&s);
        int64_t id = wanted < 0 ? drbd_node_id_free(taken) : wanted;
        if (id < 0 || id >= DRBD_NODE_IDS) {
                op_rc(op, wanted < 0 ? RC_FAIL_POOL_EXHAUSTED_NODE_ID : RC_FAIL_INVLD_NODE_ID,
                        "There is no free DRBD node id for resource '%s'.", rd->name);
                return false;
        }
        if ((taken >> id & 1) != 0) {
                op_rc(op, RC_FAIL_INVLD_NODE_ID, "The DRBD node id %lld of resource '%s' is taken.",
                        (long long)id, rd->name);
                return false;
        }
        SET(r, rsc, drbd_node_id, id);
        return true;
}

static bool port_taken(struct op *op, const char *node, uint64_t port)
{
        struct idx_port key = { .node_name = node, .port = port };
        return row_count(op->tx, &idx_port_type, &key, 2) != 0 && !SABOTAGE(PORT_UNCHECKED);
}

static bool pick_ports(struct op *op, const struct node *n, const struct rsc_dfn *rd,
        const struct rsc_args *args, struct rsc *r)
{
        uint64_t lo = 7000, hi = 7999;
        uint64_t want = args->drbd_port_count > 0 ? (uint64_t)args->drbd_port_count : 1, got = 0;
        const char *range = op_prop_chain("TcpPortAutoRange", &n->props, op_ctrl_props(op), NULL);
        if (range != NULL) (void)prop_range(range, 65535, &lo, &hi);
        if (args->drbd_ports_n != 0) want = args->drbd_ports_n;
        if (want > 32) {
                op_rc(op, RC_FAIL_INVLD_TCP_PORT, "A resource cannot have more than 32 TCP ports.");
                return false;
        }
        uint64_t *ports = arena_alloc(op->arena, want * sizeof *ports);
        for (uint32_t i = 0; i < args->drbd_ports_n; i++) {
                uint64_t port = args->drbd_ports[i];
                if (port < 1 || port > 65535 || port_taken(op, n->name, port)) {
                        op_rc(op, RC_FAIL_INVLD_TCP_PORT, "The TCP port %llu of node '%s' is not free.",
                                (unsigned long long)port, n->name);
                        return false;
                }
                ports[got++] = port;
        }
        if (got == 0 && HAS(rd, rsc_dfn, drbd_port) && !port_taken(op, n->name, (uint64_t)rd->drbd_port))
                ports[got++] = (uint64_t)rd->drbd_port;
        for (uint64_t p = lo; got < want && p <= hi; p++)
                if (!port_taken(op, n->name, p) && (got == 0 || ports[0] != p)) ports[got++] = p;
        if (got < want) {
                op_rc(op, RC_FAIL_POOL_EXHAUSTED_TCP_PORT,
                        "Node '%s' has no free TCP port from %llu to %llu.", n->name, (unsigned long long)lo,
                        (unsigned long long)hi);
                return false;
        }
        SET_N(r, rsc, drbd_tcp_ports, ports, (uint32_t)want);
        return true;
}

static bool equip_drbd(
        struct op *op, const struct node *n, struct rsc_dfn *rd, const struct rsc_args *args, struct rsc *r)
{
        struct rsc key = { .rsc_name = rd->name };
        uint64_t peers = row_count(op->tx, &rsc_type, &key, 1);
        if (HAS(rd, rsc_dfn, drbd_peer_slots) &&
                !drbd_slots_fit((unsigned)peers, (unsigned)rd->drbd_peer_slots)) {
                op_rc(op, RC_FAIL_INSUFFICIENT_PEER_SLOTS, "Resource '%s' has room for %lld peers only.",
                        rd->name, (long long)rd->drbd_peer_slots);
                return false;
        }
        return op_drbd_admits(op, rd, n->name, args->flags) && pick_node_id(op, rd, args->drbd_node_id, r) &&
               pick_ports(op, n, rd, args, r);
}

/* ---- volumes ---- */

/* The pool of a volume: what the autoplacer chose, else the property of whatever is closest, else the default
 * name. */
static bool pick_pool(struct op *op, const struct node *n, const struct rsc_dfn *rd, const struct vlm_dfn *vd,
        const struct rsc_args *args, const struct strmap *props, struct stor_pool *ret)
{
        struct rsc_grp g = { 0 };
        struct vlm_grp vg = { .rsc_grp_name = rd->rsc_grp_name, .volume_number = vd->volume_number };
        const char *name = args->pool;
        if ((args->flags & rsc_flag_DISKLESS) != 0) name = DFLT_DISKLESS_POOL;
        if (name == NULL) {
                (void)op_find_rg(op, rd->rsc_grp_name, &g);
                if (row_get(op->tx, &vlm_grp_type, &vg, op->arena, &vg) != 0) vg = (struct vlm_grp){ 0 };
                name = op_prop_chain(
                        "StorPoolName", props, &vd->props, &rd->props, &vg.props, &g.props, &n->props, NULL);
        }
        if (op_find_pool(op, n->name, name != NULL ? name : DFLT_STOR_POOL, ret)) return true;
        struct api_rc *rc = name == NULL
                                    ? op_rc(op, RC_FAIL_NOT_FOUND_DFLT_STOR_POOL,
                                              "Node '%s' has no storage pool '%s', which is the default.",
                                              n->name, DFLT_STOR_POOL)
                                    : op_rc(op, RC_FAIL_NOT_FOUND_STOR_POOL,
                                              "There is no storage pool '%s' on node '%s'.", name, n->name);
        op_rc_explain(op, rc, NULL, NULL, "Create it, or name another one with the property StorPoolName.");
        op_rc_ref(op, rc, "StorPoolDfn", name != NULL ? name : DFLT_STOR_POOL);
        op_rc_ref(op, rc, "Node", n->name);
        return false;
}

static bool pool_ok(
        struct op *op, const struct rsc_dfn *rd, const struct stor_pool *p, bool diskless, uint64_t size_kib)
{
        struct obs_node on;
        struct obs_pool o;
        const char *kind = enum_name(&provider_kind_enum, p->provider_kind);
        if (diskless) return true;
        if (p->provider_kind == provider_kind_DISKLESS) {
                op_rc(op, RC_FAIL_INVLD_STOR_DRIVER, "Storage pool '%s' on node '%s' is diskless.",
                        p->storage_pool_name, p->node_name);
                return false;
        }
        if (op_observed_node(op, p->node_name, &on) && on.storage_providers_n != 0 &&
                !op_in_list(kind, on.storage_providers, on.storage_providers_n)) {
                op_rc(op, RC_FAIL_STLT_DOES_NOT_SUPPORT_PROVIDER, "Node '%s' cannot provide %s volumes.",
                        p->node_name, kind);
                return false;
        }
        if (op_is_thin(p->provider_kind) || !op_observed_pool(op, p->node_name, p->storage_pool_name, &o))
                return true;
        if (!HAS(&o, obs_pool, free_kib) || (o.free_kib >= 0 && (uint64_t)o.free_kib >= size_kib))
                return true;
        struct api_rc *rc = op_rc(op, RC_FAIL_NOT_ENOUGH_FREE_SPACE,
                "Storage pool '%s' on node '%s' has not enough free space for resource '%s'.",
                p->storage_pool_name, p->node_name, rd->name);
        op_rc_explain(op, rc, NULL,
                arena_printf(op->arena, "%lld KiB are free, %llu KiB are needed.", (long long)o.free_kib,
                        (unsigned long long)size_kib),
                NULL);
        return false;
}

/* Volumes of different families of providers have different sizes for the same request: not all versions of DRBD join these. */
static bool may_mix(
        struct op *op, const struct rsc_dfn *rd, const char *node_a, const char *node_b, const char **ret_old)
{
        *ret_old = NULL;
        if (!prop_bool(op_prop_chain("AllowMixingStoragePoolDriver", &rd->props, op_ctrl_props(op), NULL),
                    false))
                return false;
        if (!RD_HAS_LAYER(rd, "DRBD")) return true;
        if (!op_drbd_joins_sizes(op, node_a)) *ret_old = node_a;
        else if (!op_drbd_joins_sizes(op, node_b)) *ret_old = node_b;
        return *ret_old == NULL;
}

static bool kinds_ok(struct op *op, const struct rsc_dfn *rd, const struct rsc *r, enum provider_kind kind,
        const struct rsc *other, enum provider_kind its)
{
        const char *old = NULL;
        bool can = place_kinds_can_mix(its, kind);
        if (op_kinds_mix(its, kind) || (can && may_mix(op, rd, r->node_name, other->node_name, &old)))
                return true;
        struct api_rc *rc = op_rc(op, RC_FAIL_SP_MIXING_NOT_ALLOWED,
                "Resource '%s' has %s volumes on node '%s': %s volumes cannot be mixed with them.", rd->name,
                enum_name(&provider_kind_enum, its), other->node_name, enum_name(&provider_kind_enum, kind));
        if (old != NULL)
                op_rc_explain(op, rc,
                        arena_printf(op->arena,
                                "The DRBD of node '%s' cannot join devices whose sizes differ.", old),
                        NULL, "Install DRBD 9.1.18 or newer of 9.1, or 9.2.7 or newer, there.");
        else
                op_rc_explain(op, rc, "What they make of one size differs a little.", NULL,
                        can ? "Use pools of one family, or set the property AllowMixingStoragePoolDriver."
                            : "Use pools of one family.");
        op_rc_ref(op, rc, "RscDfn", rd->name);
        return false;
}

static bool mixing_ok(struct op *op, const struct rsc_dfn *rd, const struct rsc *r)
{
        struct rsc *rscs;
        uint32_t n = op_list_rscs(op, rd->name, &rscs);
        for (uint32_t i = 0; i < n; i++)
                for (uint32_t a = 0; a < rscs[i].volumes_n; a++)
                        for (uint32_t b = 0; b < r->volumes_n; b++)
                                if (!kinds_ok(op, rd, r, r->volumes[b].provider_kind, &rscs[i],
                                            rscs[i].volumes[a].provider_kind))
                                        return false;
        return true;
}

static const char *pool_of_source(const struct snap *s, uint64_t number)
{
        for (uint32_t i = 0; i < s->volumes_n; i++)
                if (s->volumes[i].volume_number == number) return s->volumes[i].storage_pool_name;
        return NULL;
}

bool op_make_volumes(struct op *op, const struct node *n, const struct rsc_dfn *rd,
        const struct rsc_args *args, struct rsc *r)
{
        struct vlm_dfn *vds;
        uint32_t vds_n = op_list_vds(op, rd->name, &vds);
        struct vlm *vlms = arena_alloc(op->arena, (vds_n + 1) * sizeof *vlms);
        bool diskless = (args->flags & rsc_flag_DISKLESS) != 0;
        bool drbd = RD_HAS_LAYER(rd, "DRBD") && !diskless;
        unsigned others = drbd ? op_drbd_diskful(op, rd->name) : 0;
        uint64_t sum_kib = 0;
        for (uint32_t i = 0; i < vds_n; i++) {
                struct stor_pool p;
                struct vlm *v = &vlms[i];
                struct rsc_args here = *args;
                here.pool = args->source != NULL ? pool_of_source(args->source, vds[i].volume_number)
                                                 : args->pool;
                uint64_t storage_kib = op_extra_data_kib(op, rd, r, &vds[i], args->source == NULL);
                sum_kib += storage_kib;
                if (!pick_pool(op, n, rd, &vds[i], &here, &r->props, &p)) return false;
                if (!pool_ok(op, rd, &p, diskless, sum_kib)) return false;
                SET(v, vlm, volume_number, vds[i].volume_number);
                SET(v, vlm, storage_pool_name, p.storage_pool_name);
                SET(v, vlm, provider_kind, p.provider_kind);
                SET(v, vlm, uuid, op_uuid(op));
                SET(v, vlm, size_kib, storage_kib);
                MARK(v, vlm, props);
                if (drbd) op_drbd_replica(op, &vds[i], n->name, others, v);
                if (args->source != NULL && op_source_volume(args->source, v, op->arena))
                        op_source_layers(args->source_dfn, rd, v);
        }
        SET_N(r, rsc, volumes, vlms, vds_n);
        return diskless || mixing_ok(op, rd, r);
}

/* ---- create ---- */

bool op_node_ok(struct op *op, const struct node *n, const struct rsc_dfn *rd)
{
        if ((n->flags & (node_flag_EVACUATE | node_flag_DELETE)) != 0) {
                op_rc(op, RC_FAIL_EVACUATING, "Node '%s' is being %s.", n->name,
                        (n->flags & node_flag_DELETE) != 0 ? "deleted" : "evacuated");
                return false;
        }
        if (n->type == node_type_CONTROLLER || n->type == node_type_AUXILIARY) {
                op_rc(op, RC_FAIL_INVLD_NODE_TYPE, "Node '%s' is of type %s: it cannot have resources.",
                        n->name, enum_name(&node_type_enum, n->type));
                return false;
        }
        const char *lacks = op_layers_lacking(op, n->name, rd->layer_stack, rd->layer_stack_n);
        if (lacks == NULL) return true;
        struct api_rc *rc = op_rc(op, RC_FAIL_STLT_DOES_NOT_SUPPORT_LAYER,
                "Node '%s' does not support all layers of resource '%s'.", n->name, rd->name);
        op_rc_explain(op, rc, arena_printf(op->arena, "Missing on node '%s': %s", n->name, lacks), NULL,
                "Install what is missing, or use a layer list that the node supports.");
        op_rc_ref(op, rc, "Node", n->name);
        return false;
}

/* The older flag names no kind: it follows from the layers. */
static bool widen_diskless(struct op *op, const struct rsc_dfn *rd, uint64_t *flags)
{
        if ((*flags & rsc_flag_DISKLESS) == 0) return true;
        if (RD_HAS_LAYER(rd, "DRBD")) *flags |= rsc_flag_DRBD_DISKLESS;
        else if (RD_HAS_LAYER(rd, "NVME")) {
                if ((*flags & rsc_flag_DRBD_DISKLESS) != rsc_flag_DRBD_DISKLESS)
                        *flags |= rsc_flag_NVME_INITIATOR;
        } else {
                op_rc(op, RC_FAIL_INVLD_LAYER_STACK,
                        "Resource '%s' has neither the layer DRBD nor NVME: it cannot be used without a "
                        "disk.",
                        rd->name);
                return false;
        }
        return true;
}

/* A diskless resource that is there already: gets the disk that is asked for, or stays, as one that is wanted. */
static bool convert(struct op *op, struct rsc_dfn *rd, struct rsc *r, const struct rsc_args *args)
{
        bool want_disk = (args->flags & rsc_flag_DISKLESS) == 0;
        bool tie_breaker = (r->flags & rsc_flag_TIE_BREAKER) == rsc_flag_TIE_BREAKER;
        bool moving = (r->flags & (RSC_ADDING | RSC_REMOVING)) != 0;
        struct disk_args add = { .pool = args->pool,
                .by = args->diskful_by != NULL ? args->diskful_by : BY_USER };
        if (!moving && want_disk && (r->flags & rsc_flag_DRBD_DISKLESS) == rsc_flag_DRBD_DISKLESS) {
                const char *pool = args->props != NULL ? strmap_get(args->props, "StorPoolName") : NULL;
                if (add.pool == NULL && op_given(pool)) add.pool = pool;
                if (!op_disk_add(op, rd, r, &add)) return false;
                rsc_rc(op, RC_CREATED, RC_OP_CREATE, rd->name, r->node_name, "was diskless: it gets a disk");
                return true;
        }
        if (!moving && !want_disk && tie_breaker &&
                (args->flags & rsc_flag_TIE_BREAKER) != rsc_flag_TIE_BREAKER) {
                op_set_role(op, r, false, args->drbd_client);
                rsc_rc(op, RC_CREATED, RC_OP_CREATE, rd->name, r->node_name,
                        "was a tie breaker: it is now a diskless resource that is wanted");
                return true;
        }
        rsc_rc(op, RC_FAIL_EXISTS_RSC, RC_OP_CREATE, rd->name, r->node_name, "exists already");
        return false;
}

bool op_make_rsc(struct op *op, struct rsc_dfn *rd, const struct rsc_args *args_in)
{
        struct rsc_args args = *args_in;
        struct node n;
        struct rsc r = { 0 }, old;
        if (!op_need_node(op, args.node, &n)) return false;
        if (op_find_rsc(op, rd->name, n.name, &old)) return convert(op, rd, &old, &args);
        if (!op_decide_stack(op, rd, args.layer_list, args.layer_list_n)) return false;
        if (!widen_diskless(op, rd, &args.flags) || !op_nvme_admits(op, rd, n.name, args.flags)) return false;
        struct rsc_dfn part = *rd;
        part.layer_stack_n = op_nvme_layers_needed(rd, args.flags);
        if (!op_node_ok(op, &n, &part)) return false;
        SET(&r, rsc, rsc_name, rd->name);
        SET(&r, rsc, node_name, n.name);
        SET(&r, rsc, uuid, op_uuid(op));
        SET(&r, rsc, create_timestamp, op->req->wall_ms);
        if (args.flags != 0) SET(&r, rsc, flags, args.flags);
        if (args.drbd_client) SET(&r, rsc, drbd_client, true);
        if (!op_props_new(op, PS_R, args.props, &r.props)) return false;
        if (args.pool != NULL) strmap_set(&r.props, "StorPoolName", args.pool, op->arena);
        if (RD_HAS_LAYER(rd, "DRBD") && (args.flags & rsc_flag_DISKLESS) == 0)
                strmap_set(&r.props, PROP_DISKFUL_BY, args.diskful_by != NULL ? args.diskful_by : BY_USER,
                        op->arena);
        MARK(&r, rsc, props);
        if (!op_make_volumes(op, &n, rd, &args, &r)) return false;
        if (RD_HAS_LAYER(rd, "DRBD")) {
                if (!equip_drbd(op, &n, rd, &args, &r)) return false;
                op_touch_rd(op, rd->name); /* peers must connect to the new one */
        }
        op_put_rsc(op, NULL, &r);
        op_wait_rsc(op, n.name, rd->name, false);
        rsc_rc(op, RC_CREATED, RC_OP_CREATE, rd->name, n.name, "created");
        return !op_failed(op);
}

static void create_one(struct op *op, struct rsc_dfn *rd, const struct rsc_create *b, const char *node)
{
        static const struct rsc_body nothing;
        const struct rsc_body *r = b->resource != NULL ? b->resource : &nothing;
        struct rsc_args args = { .node = node != NULL ? node : r->node_name,
                .props = &r->props,
                .layer_list = b->layer_list,
                .layer_list_n = b->layer_list_n,
                .drbd_node_id = HAS(b, rsc_create, drbd_node_id) ? b->drbd_node_id : -1,
                .drbd_ports = b->drbd_tcp_ports,
                .drbd_ports_n = b->drbd_tcp_ports_n,
                .drbd_port_count = b->drbd_tcp_port_count };
        const uint64_t allowed = rsc_flag_DRBD_DISKLESS | rsc_flag_NVME_INITIATOR | rsc_flag_TIE_BREAKER;
        if (!op_flags_modify(op, &rsc_flag_flags, allowed, r->flags, r->flags_n, &args.flags)) return;
        if (b->drbd_client) args.flags |= rsc_flag_DRBD_DISKLESS;
        args.drbd_client = b->drbd_client;
        (void)op_make_rsc(op, rd, &args);
}

void op_rsc_create(struct op *op)
{
        const struct rsc_create *list = op->body;
        struct rsc_dfn rd;
        if (!op_need_rd(op, op->params[0], &rd)) return;
        for (uint32_t i = 0; i < op->body_n && !op_failed(op); i++) create_one(op, &rd, &list[i], NULL);
        if (op->body_n == 0) op_rc(op, RC_FAIL_INVLD_REQUEST, "The list of resources to create is empty.");
}

void op_rsc_create_on(struct op *op)
{
        struct rsc_dfn rd;
        if (op_need_rd(op, op->params[0], &rd)) create_one(op, &rd, OP_BODY(op, rsc_create), op->params[1]);
}

/* ---- modify, delete ---- */

void op_rsc_modify(struct op *op)
{
        const struct rsc_modify *b = OP_BODY(op, rsc_modify);
        struct rsc r;
        struct prop_mod mod = OP_PROP_MOD(b);
        bool matters;
        if (!op_need_rsc(op, op->params[0], op->params[1], &r)) return;
        bool role = HAS(b, rsc_modify, drbd_tiebreaker) || HAS(b, rsc_modify, drbd_client);
        if (role && (r.flags & rsc_flag_DRBD_DISKLESS) != rsc_flag_DRBD_DISKLESS) {
                rsc_rc(op, RC_FAIL_INVLD_RSC_STATE, RC_OP_MODIFY, r.rsc_name, r.node_name,
                        "is not diskless: it is neither a tie breaker nor a client");
                return;
        }
        if (!op_nic_props_ok(op, r.node_name, &mod.override_props)) return;
        if (!op_props_modify(op, PS_R, &r.props, &mod, &matters)) return;
        MARK(&r, rsc, props);
        if (matters) {
                SET(&r, rsc, revision, op->index);
                op_wait_rsc(op, r.node_name, r.rsc_name, false);
        }
        row_put(op->tx, &rsc_type, &r);
        if (op_nic_props_any(&mod)) op_touch_rd(op, r.rsc_name); /* it is in the peers' files, too */
        if (role) op_set_role(op, &r, b->drbd_tiebreaker, b->drbd_client && !b->drbd_tiebreaker);
        rsc_rc(op, RC_MODIFIED, RC_OP_MODIFY, r.rsc_name, r.node_name, "modified");
}

/* Somebody without a disk may be reading from this one. */
static bool is_last_disk(struct op *op, const struct rsc *r)
{
        struct rsc *rscs;
        uint32_t n = op_list_rscs(op, r->rsc_name, &rscs), disks = 0, diskless = 0;
        for (uint32_t i = 0; i < n; i++) {
                if ((rscs[i].flags & rsc_flag_TIE_BREAKER) == rsc_flag_TIE_BREAKER) continue;
                if ((rscs[i].flags & rsc_flag_DISKLESS) != 0) diskless++;
                else disks++;
        }
        return (r->flags & rsc_flag_DISKLESS) == 0 && disks == 1 && diskless != 0;
}

void op_rsc_delete(struct op *op)
{
        struct rsc_dfn rd;
        struct rsc r;
        if (!op_find_rd(op, op->params[0], &rd) || !op_find_rsc(op, rd.name, op->params[1], &r)) {
                rsc_rc(op, RC_WARN_NOT_FOUND, RC_OP_DELETE, op->params[0], op->params[1], "does not exist");
                return;
        }
        if (op_in_use(op, &r)) {
                op_explain_use(op,
                        rsc_rc(op, RC_FAIL_IN_USE, RC_OP_DELETE, r.rsc_name, r.node_name, "is in use"), &r);
                return;
        }
        if (!op_saga_free(op, rd.name)) return;
        if (is_last_disk(op, &r)) {
                struct api_rc *rc = rsc_rc(op, RC_FAIL_IN_USE, RC_OP_DELETE, r.rsc_name, r.node_name,
                        "has the last disk, which diskless nodes use");
                op_rc_explain(op, rc, NULL, NULL, "Delete the diskless resources first.");
                return;
        }
        bool keep = query_bool(op->query, "keep_tiebreaker", false);
        if (op_stays_as_tie_breaker(op, &rd, &r)) return;
        if ((r.flags & rsc_flag_TIE_BREAKER) == rsc_flag_TIE_BREAKER && !keep) op_refuse_tie_breaker(op, &rd);
        op_drop_rsc(op, &rd, &r);
        rsc_rc(op, RC_DELETED, RC_OP_DELETE, r.rsc_name, r.node_name, "deleted");
}

/* ---- make available ---- */

static void make_diskful(struct op *op, struct rsc_dfn *rd, const struct node *n)
{
        const struct rsc_make_available_body *b = OP_BODY(op, rsc_make_available_body);
        struct rsc_grp g;
        const char *nodes[] = { n->name };
        struct select_filter want = { 0 };
        if (!op_find_rg(op, rd->rsc_grp_name, &g)) return;
        struct select_filter *f = op_filter_merge(op, g.select_filter, &want);
        SET_N(f, select_filter, node_name_list, nodes, 1);
        SET(f, select_filter, additional_place_count, 1);
        if (b->layer_list_n != 0 && !op_decide_stack(op, rd, b->layer_list, b->layer_list_n)) return;
        UNSET(f, select_filter, diskless_on_remaining);
        struct rsc r;
        if (op_place_rd(op, rd, f, false) > 0 && RD_HAS_LAYER(rd, "DRBD") &&
                op_find_rsc(op, rd->name, n->name, &r)) {
                strmap_set(&r.props, PROP_DISKFUL_BY, BY_MAKE_AVAILABLE, op->arena);
                MARK(&r, rsc, props);
                row_put(op->tx, &rsc_type, &r);
        }
        for (uint32_t i = 0; i < op->reply->rcs_n; i++) {
                struct api_rc *rc = &op->reply->rcs[i];
                if (apirc_severity(rc->ret_code) == APIRC_ERROR && apirc_number(rc->ret_code) == 996)
                        rc->message = arena_printf(op->arena,
                                "Autoplacer could not find diskful storage pool on node '%s' for resource "
                                "'%s'.",
                                n->name, rd->name);
        }
}

/* It is there: whatever keeps it from being used, or from having the disk that is asked for, is mended. */
static void make_usable(struct op *op, struct rsc_dfn *rd, struct rsc *r, bool diskful)
{
        struct node n;
        bool diskless = (r->flags & rsc_flag_DISKLESS) != 0;
        if ((r->flags & rsc_flag_INACTIVE) != 0) {
                if (op_activate(op, r))
                        rsc_rc(op, RC_CREATED, RC_OP_CREATE, r->rsc_name, r->node_name, "activated");
                return;
        }
        if ((r->flags & RSC_ADDING) != 0 || (diskless && diskful)) {
                if ((r->flags & RSC_ADDING) != 0) op_wait_settled(op, r->node_name, r->rsc_name);
                else if (op_need_node(op, r->node_name, &n)) make_diskful(op, rd, &n);
                if (op_failed(op)) return;
                rsc_rc(op, RC_CREATED, RC_OP_CREATE, r->rsc_name, r->node_name, "gets a disk");
                return;
        }
        if ((r->flags & rsc_flag_TIE_BREAKER) == rsc_flag_TIE_BREAKER) {
                op_set_role(op, r, false, false);
                rsc_rc(op, RC_CREATED, RC_OP_CREATE, r->rsc_name, r->node_name,
                        "was a tie breaker: it is now a diskless resource that is wanted");
                return;
        }
        rsc_rc(op, RC_CREATED, RC_OP_CREATE, r->rsc_name, r->node_name, "is available already");
}

void op_rsc_make_available(struct op *op)
{
        const struct rsc_make_available_body *b = OP_BODY(op, rsc_make_available_body);
        struct rsc_dfn rd;
        struct node n;
        struct rsc r;
        struct rsc key;
        if (!op_need_rd(op, op->params[0], &rd) || !op_need_node(op, op->params[1], &n)) return;
        key = (struct rsc){ .rsc_name = rd.name };
        bool exists = op_find_rsc(op, rd.name, n.name, &r);
        if (exists) return make_usable(op, &rd, &r, b->diskful);
        if (b->diskful || row_count(op->tx, &rsc_type, &key, 1) == 0) return make_diskful(op, &rd, &n);
        struct rsc_args args = { .node = n.name,
                .flags = rsc_flag_DISKLESS,
                .layer_list = b->layer_list,
                .layer_list_n = b->layer_list_n,
                .drbd_node_id = -1,
                .drbd_ports = b->drbd_tcp_ports,
                .drbd_ports_n = b->drbd_tcp_ports_n };
        (void)op_make_rsc(op, &rd, &args);
}
