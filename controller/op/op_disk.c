/* Adding and removing disks, migrating, deactivating: see op_disk.h. */
#include "controller/op/op_disk.h"

#include <string.h>

#include "controller/op/op_auto.h"
#include "controller/op/saga.h"

static struct api_rc *disk_rc(struct op *op, enum apirc_code code, const struct rsc *r, const char *done)
{
        struct api_rc *rc =
                op_rc(op, code, "Resource '%s' on node '%s' %s.", r->rsc_name, r->node_name, done);
        op_rc_ref(op, rc, "RscDfn", r->rsc_name);
        op_rc_ref(op, rc, "Node", r->node_name);
        return rc;
}

bool op_disks_still(struct op *op, const char *rsc_name)
{
        struct rsc *rscs;
        uint32_t n = op_list_rscs(op, rsc_name, &rscs);
        for (uint32_t i = 0; i < n; i++) {
                if ((rscs[i].flags & (RSC_ADDING | RSC_REMOVING)) == 0) continue;
                disk_rc(op, RC_FAIL_RSC_BUSY, &rscs[i],
                        (rscs[i].flags & RSC_ADDING) != 0 ? "is getting a disk" : "is losing its disk");
                return false;
        }
        return true;
}

bool op_up_to_date(struct op *op, const struct rsc *r)
{
        struct obs_rsc o;
        uint32_t good = 0;
        if ((r->flags & (rsc_flag_DISKLESS | rsc_flag_INACTIVE)) != 0) return false;
        if (!op_node_online(op, r->node_name) || !op_observed_rsc(op, r->rsc_name, r->node_name, &o))
                return false;
        if (o.uuid == NULL || r->uuid == NULL || strcmp(o.uuid, r->uuid) != 0) return false;
        for (uint32_t i = 0; i < o.volumes_n; i++)
                good += o.volumes[i].disk_state != NULL && strcmp(o.volumes[i].disk_state, "UpToDate") == 0;
        return good >= r->volumes_n;
}

bool op_skips_disk(struct op *op, const struct rsc_dfn *rd, const struct rsc *r)
{
        static const struct strmap none;
        struct rsc_grp g;
        struct node n;
        struct stor_pool p;
        const struct strmap *group = op_find_rg(op, rd->rsc_grp_name, &g) ? &g.props : &none;
        const struct strmap *node = op_find_node(op, r->node_name, &n) ? &n.props : &none;
        for (uint32_t i = 0; i < r->volumes_n; i++)
                if (op_find_pool(op, r->node_name, op_text(r->volumes[i].storage_pool_name), &p) &&
                        prop_bool(strmap_get(&p.props, PROP_SKIP_DISK), false))
                        return true;
        return prop_bool(
                op_prop_chain(PROP_SKIP_DISK, &r->props, node, &rd->props, group, op_ctrl_props(op), NULL),
                false);
}

/* ---- adding ---- */

static bool needs_drbd(struct op *op, const struct rsc_dfn *rd)
{
        if (RD_HAS_LAYER(rd, "DRBD")) return true;
        struct api_rc *rc = op_rc(op, RC_FAIL_INVLD_LAYER_STACK,
                "Resource '%s' has not the layer DRBD: its disks cannot be added or removed.", rd->name);
        op_rc_explain(op, rc, "Without replication a disk has nowhere to get its data from.", NULL,
                "Create or delete the resource on that node instead.");
        op_rc_ref(op, rc, "RscDfn", rd->name);
        return false;
}

static bool source_ok(struct op *op, const struct rsc_dfn *rd, const struct rsc *r, const char *from)
{
        struct rsc source;
        if (!op_need_rsc(op, rd->name, from, &source)) return false;
        if ((source.flags & (rsc_flag_DISKLESS | RSC_REMOVING)) == 0 &&
                !op_same(source.node_name, r->node_name))
                return true;
        disk_rc(op, RC_FAIL_INVLD_REQUEST, &source, "has no disk that could be migrated");
        return false;
}

bool op_disk_add(struct op *op, struct rsc_dfn *rd, struct rsc *r, const struct disk_args *args)
{
        struct rsc old = *r;
        struct node n;
        struct rsc_args make = { .node = r->node_name, .pool = args->pool, .drbd_node_id = -1 };
        if (!needs_drbd(op, rd) || !op_need_node(op, r->node_name, &n) || !op_node_ok(op, &n, rd))
                return false;
        if (args->migrate_from != NULL && !source_ok(op, rd, r, args->migrate_from)) return false;
        if (args->pool != NULL) strmap_set(&r->props, "StorPoolName", args->pool, op->arena);
        if (!op_make_volumes(op, &n, rd, &make, r)) return false;
        uint64_t flags =
                r->flags & ~((uint64_t)(rsc_flag_TIE_BREAKER & ~rsc_flag_DRBD_DISKLESS) | RSC_REMOVING);
        SET(r, rsc, flags, flags | rsc_flag_DRBD_DISKLESS | RSC_ADDING);
        UNSET(r, rsc, drbd_client);
        strmap_set(&r->props, PROP_DISKFUL_BY, args->by, op->arena);
        if (args->migrate_from != NULL)
                strmap_set(&r->props, PROP_MIGRATE_FROM, args->migrate_from, op->arena);
        MARK(r, rsc, props);
        op_put_rsc(op, &old, r);
        op_touch_rd(op, rd->name); /* peers make room for it */
        op_wait_settled(op, r->node_name, r->rsc_name);
        return !op_failed(op);
}

static void disk_added(struct op *op, struct rsc *r)
{
        struct rsc old = *r;
        SET(r, rsc, flags, r->flags & ~(uint64_t)(RSC_ADDING | rsc_flag_TIE_BREAKER));
        op_put_rsc(op, &old, r);
        op_touch_rd(op, r->rsc_name);
        disk_rc(op, RC_MODIFIED, r, "has room for its disk at its peers");
}

/* ---- removing ---- */

static void to_diskless_volumes(struct op *op, struct rsc *r)
{
        struct vlm *vlms = arena_alloc(op->arena, (r->volumes_n + 1) * sizeof *vlms);
        for (uint32_t i = 0; i < r->volumes_n; i++) {
                const struct vlm *was = &r->volumes[i];
                struct vlm *v = &vlms[i];
                *v = (struct vlm){ 0 };
                SET(v, vlm, volume_number, was->volume_number);
                SET(v, vlm, storage_pool_name, DFLT_DISKLESS_POOL);
                SET(v, vlm, provider_kind, provider_kind_DISKLESS);
                SET(v, vlm, uuid, op_uuid(op));
                SET(v, vlm, size_kib, was->size_kib);
                MARK(v, vlm, props);
        }
        SET_N(r, rsc, volumes, vlms, r->volumes_n);
        (void)strmap_del(&r->props, PROP_DISKFUL_BY, op->arena);
        (void)strmap_del(&r->props, PROP_MIGRATE_FROM, op->arena);
        (void)strmap_del(&r->props, "StorPoolName", op->arena);
        (void)strmap_del(&r->props, PROP_SKIP_DISK, op->arena); /* it was about that disk */
        MARK(r, rsc, props);
}

void op_disk_remove(struct op *op, struct rsc_dfn *rd, struct rsc *r, uint64_t more, bool client)
{
        struct rsc old = *r;
        uint64_t flags = r->flags & ~(uint64_t)(RSC_ADDING | rsc_flag_INACTIVE | rsc_flag_EVACUATE |
                                                rsc_flag_AUTO_DISKFUL);
        SET(r, rsc, flags, flags | rsc_flag_DRBD_DISKLESS | RSC_REMOVING | more);
        if (client) SET(r, rsc, drbd_client, true);
        (void)strmap_del(&r->props, PROP_MIGRATE_FROM, op->arena);
        MARK(r, rsc, props);
        op_put_rsc(op, &old, r);
        op_touch_rd(op, rd->name);
        op_wait_settled(op, r->node_name, r->rsc_name);
}

static void disk_removed(struct op *op, struct rsc *r)
{
        struct rsc old = *r;
        SET(r, rsc, flags, r->flags & ~(uint64_t)RSC_REMOVING);
        to_diskless_volumes(op, r);
        op_put_rsc(op, &old, r);
        op_touch_rd(op, r->rsc_name);
        disk_rc(op, RC_MODIFIED, r, "has lost its disk");
}

/* What was promised is given back; the node has made nothing yet. */
static void stop_adding(struct op *op, struct rsc *r)
{
        struct rsc old = *r;
        SET(r, rsc, flags, r->flags & ~(uint64_t)(RSC_ADDING | rsc_flag_AUTO_DISKFUL));
        to_diskless_volumes(op, r);
        op_put_rsc(op, &old, r);
        op_touch_rd(op, r->rsc_name);
        disk_rc(op, RC_MODIFIED, r, "gets no disk: what had begun was taken back");
}

static bool others_have_data(struct op *op, const struct rsc *r)
{
        struct rsc *rscs;
        uint32_t n = op_list_rscs(op, r->rsc_name, &rscs), left = 0;
        for (uint32_t i = 0; i < n; i++) {
                const struct rsc *x = &rscs[i];
                if (op_same(x->node_name, r->node_name) || !op_node_online(op, x->node_name)) continue;
                if (prop_bool(strmap_get(&x->props, PROP_SKIP_DISK), false)) continue;
                left += (x->flags & (rsc_flag_DISKLESS | rsc_flag_INACTIVE)) == 0;
        }
        if (left > 0) return true;
        struct api_rc *rc =
                disk_rc(op, RC_FAIL_INSUFFICIENT_REPLICA_COUNT, r, "has the only disk that can be reached");
        op_rc_explain(
                op, rc, NULL, NULL, "Add a disk on another node first, and wait until it is up to date.");
        return false;
}

void op_drop_rsc(struct op *op, struct rsc_dfn *rd, const struct rsc *r)
{
        op_bury_rsc(op, rd, r);
        if (RD_HAS_LAYER(rd, "DRBD")) op_touch_rd(op, rd->name);
}

/* ---- what the leader finds due ---- */

static void migrated(struct op *op, struct rsc_dfn *rd, struct rsc *r)
{
        struct rsc source;
        const char *from = strmap_get(&r->props, PROP_MIGRATE_FROM);
        bool found = from != NULL && op_find_rsc(op, rd->name, from, &source);
        (void)strmap_del(&r->props, PROP_MIGRATE_FROM, op->arena);
        MARK(r, rsc, props);
        SET(r, rsc, revision, op->index);
        row_put(op->tx, &rsc_type, r);
        if (!found || (source.flags & (rsc_flag_DISKLESS | RSC_REMOVING)) != 0) return;
        if (op_in_use(op, &source)) op_disk_remove(op, rd, &source, 0, false); /* I/O goes on without it */
        else op_drop_rsc(op, rd, &source);
}

void op_int_rsc_step(struct op *op)
{
        const struct rsc_step *b = OP_BODY(op, rsc_step);
        struct rsc_dfn rd;
        struct rsc r;
        if (!op_find_rd(op, b->rsc_name, &rd) || !op_find_rsc(op, rd.name, b->node_name, &r) ||
                r.revision != b->revision) {
                op_rc(op, RC_MODIFIED, "The resource has gone on already.");
                return;
        }
        switch (b->kind) {
        case rsc_step_kind_DISK_ADDED:
                if ((r.flags & RSC_ADDING) != 0) disk_added(op, &r);
                break;
        case rsc_step_kind_DISK_REMOVED:
                if ((r.flags & RSC_REMOVING) != 0) disk_removed(op, &r);
                break;
        case rsc_step_kind_MIGRATED: migrated(op, &rd, &r); break;
        case rsc_step_kind_RESOLVED: op_resolved(op, &r); break;
        case rsc_step_kind_EVACUATED: op_evacuated(op, &rd, &r); break;
        case rsc_step_kind_AUTO_DISKFUL: op_auto_diskful(op, &rd, &r); break;
        case rsc_step_kind_SKIP_DISK: op_skip_lost_disk(op, &rd, &r); break;
        case rsc_step_kind_AUTO_DISKFUL_OVER: op_auto_diskful_over(op, &rd, &r); break;
        case rsc_step_kind_N: break;
        }
        op_rc(op, RC_MODIFIED, "Resource '%s' on node '%s' goes on.", r.rsc_name, r.node_name);
}

/* ---- toggle disk ---- */

static void again(struct op *op, const struct rsc *r)
{
        op_touch_rd(op, r->rsc_name);
        op_wait_settled(op, r->node_name, r->rsc_name);
        disk_rc(op, RC_MODIFIED, r, "is on its way there already: the satellites try again");
}

static void into_diskful(struct op *op, struct rsc_dfn *rd, struct rsc *r, const struct disk_args *args)
{
        if ((r->flags & RSC_ADDING) != 0) return again(op, r);
        if ((r->flags & rsc_flag_DISKLESS) == 0) {
                disk_rc(op, RC_INFO_NOOP, r, "has a disk already");
                return;
        }
        bool back = (r->flags & RSC_REMOVING) != 0;
        if (op_disk_add(op, rd, r, args))
                disk_rc(op, RC_MODIFIED, r,
                        back ? "gets a disk in the place of the one that was going" : "gets a disk");
}

/* As what it stays when it has no disk. */
struct role {
        bool tie_breaker, client;
};
void op_set_role(struct op *op, struct rsc *r, bool tie_breaker, bool client)
{
        uint64_t flags = r->flags & ~(uint64_t)(rsc_flag_TIE_BREAKER & ~rsc_flag_DRBD_DISKLESS);
        SET(r, rsc, flags, tie_breaker ? flags | rsc_flag_TIE_BREAKER : flags);
        if (client) SET(r, rsc, drbd_client, true);
        else {
                UNSET(r, rsc, drbd_client);
                r->drbd_client = false;
        }
        row_put(op->tx, &rsc_type, r);
        op_touch_rd(op, r->rsc_name);
}

static void into_diskless(struct op *op, struct rsc_dfn *rd, struct rsc *r, struct role role)
{
        uint64_t more = role.tie_breaker ? rsc_flag_TIE_BREAKER : 0;
        if (!needs_drbd(op, rd)) return;
        if ((r->flags & RSC_REMOVING) != 0) return again(op, r);
        if ((r->flags & RSC_ADDING) != 0) return stop_adding(op, r);
        if ((r->flags & rsc_flag_DISKLESS) != 0) {
                bool is_tb = (r->flags & rsc_flag_TIE_BREAKER) == rsc_flag_TIE_BREAKER;
                if (is_tb == role.tie_breaker && r->drbd_client == role.client) {
                        disk_rc(op, RC_INFO_NOOP, r, "is diskless already");
                        return;
                }
                op_set_role(op, r, role.tie_breaker, role.client);
                disk_rc(op, RC_MODIFIED, r,
                        role.tie_breaker ? "is a tie breaker"
                        : role.client    ? "is a client"
                                         : "is diskless");
                return;
        }
        if (!others_have_data(op, r)) return;
        op_disk_remove(op, rd, r, more, role.client);
        disk_rc(op, RC_MODIFIED, r, "loses its disk");
}

static bool need_both(struct op *op, struct rsc_dfn *rd, struct rsc *r)
{
        return op_need_rd(op, op->params[0], rd) && op_need_rsc(op, rd->name, op->params[1], r) &&
               op_saga_free(op, rd->name);
}

static bool stack_stays(struct op *op, const struct rsc_dfn *rd, const char **list, uint32_t n)
{
        const char **stack;
        uint32_t stack_n;
        if (n == 0) return true;
        if (!op_layer_stack(op, list, n, &stack, &stack_n)) return false;
        bool same = stack_n == rd->layer_stack_n;
        for (uint32_t i = 0; same && i < stack_n; i++) same = op_same(stack[i], rd->layer_stack[i]);
        if (!same)
                op_rc(op, RC_FAIL_INVLD_LAYER_STACK,
                        "The layers of resource '%s' cannot be changed any more.", rd->name);
        return same;
}

static void toggle_diskful(
        struct op *op, const char *pool, const char *from, const char **layers, uint32_t layers_n)
{
        struct rsc_dfn rd;
        struct rsc r;
        struct disk_args args = { .pool = op_given(pool) ? pool : NULL,
                .by = BY_USER,
                .migrate_from = op_given(from) ? from : NULL };
        if (need_both(op, &rd, &r) && stack_stays(op, &rd, layers, layers_n))
                into_diskful(op, &rd, &r, &args);
}

static void toggle_diskless(struct op *op, struct role role)
{
        struct rsc_dfn rd;
        struct rsc r;
        if (need_both(op, &rd, &r)) into_diskless(op, &rd, &r, role);
}

void op_rsc_toggle_disk(struct op *op)
{
        const struct toggle_disk_body *b = OP_BODY(op, toggle_disk_body);
        const char *what = op_text(b->operation);
        if (op_same(what, "INTO_DRBD_DISKFUL"))
                toggle_diskful(op, b->storage_pool, b->migrate_from, b->layer_list, b->layer_list_n);
        else if (op_same(what, "INTO_DRBD_DISKLESS")) toggle_diskless(op, (struct role){ 0 });
        else if (op_same(what, "INTO_DRBD_CLIENT")) toggle_diskless(op, (struct role){ .client = true });
        else if (op_same(what, "INTO_DRBD_TIEBREAKER"))
                toggle_diskless(op, (struct role){ .tie_breaker = true });
        else op_rc(op, RC_FAIL_INVLD_REQUEST, "'%.32s' is nothing that a resource can become.", what);
}

void op_rsc_toggle_diskless(struct op *op) { toggle_diskless(op, (struct role){ 0 }); }

void op_rsc_toggle_diskless_pool(struct op *op)
{
        struct stor_pool p;
        if (op_find_pool(op, op->params[1], op->params[2], &p) && p.provider_kind != provider_kind_DISKLESS) {
                op_rc(op, RC_FAIL_INVLD_STOR_DRIVER, "Storage pool '%s' on node '%s' is not diskless.",
                        op->params[2], op->params[1]);
                return;
        }
        toggle_diskless(op, (struct role){ 0 });
}

void op_rsc_toggle_diskful(struct op *op)
{
        const struct toggle_diskful_body *b = OP_BODY(op, toggle_diskful_body);
        toggle_diskful(op, NULL, NULL, b->layer_list, b->layer_list_n);
}

void op_rsc_toggle_diskful_pool(struct op *op)
{
        const struct toggle_diskful_body *b = OP_BODY(op, toggle_diskful_body);
        toggle_diskful(op, op->params[2], NULL, b->layer_list, b->layer_list_n);
}

void op_rsc_migrate_disk(struct op *op)
{
        const struct toggle_diskful_body *b = OP_BODY(op, toggle_diskful_body);
        toggle_diskful(op, NULL, op->params[2], b->layer_list, b->layer_list_n);
}

void op_rsc_migrate_disk_pool(struct op *op)
{
        const struct toggle_diskful_body *b = OP_BODY(op, toggle_diskful_body);
        toggle_diskful(op, op->params[3], op->params[2], b->layer_list, b->layer_list_n);
}
