/* Storage pools and their definitions. */
#include "controller/op/op_internal.h"
#include "controller/op/op_netif.h"

/* ---- definitions ---- */

static bool find_spd(struct op *op, const char *name, struct stor_pool_dfn *ret)
{
        struct stor_pool_dfn key = { .storage_pool_name = name };
        return op_given(name) && row_get(op->tx, &stor_pool_dfn_type, &key, op->arena, ret) == 0;
}

static bool need_spd(struct op *op, const char *name, struct stor_pool_dfn *ret)
{
        if (find_spd(op, name, ret)) return true;
        struct api_rc *rc =
                op_rc(op, RC_FAIL_NOT_FOUND_STOR_POOL_DFN, "There is no storage pool definition '%s'.", name);
        op_rc_ref(op, rc, "StorPoolDfn", name);
        return false;
}

bool op_pool_name_ok(struct op *op, const char *name)
{
        const char *why = name_check(NAME_POOL, name);
        if (why == NULL) return true;
        op_rc(op, RC_FAIL_INVLD_STOR_POOL_NAME, "'%.64s' is not a name of a storage pool: %s.", op_text(name),
                why);
        return false;
}

void op_spd_create(struct op *op)
{
        const struct spd_body *b = OP_BODY(op, spd_body);
        struct stor_pool_dfn d = { 0 };
        if (!op_pool_name_ok(op, b->storage_pool_name)) return;
        if (find_spd(op, b->storage_pool_name, &d)) {
                op_rc(op, RC_FAIL_EXISTS_STOR_POOL_DFN, "Storage pool definition '%s' exists already.",
                        d.storage_pool_name);
                return;
        }
        d = (struct stor_pool_dfn){ 0 };
        SET(&d, stor_pool_dfn, storage_pool_name, b->storage_pool_name);
        SET(&d, stor_pool_dfn, uuid, op_uuid(op));
        if (!op_props_new(op, PS_SPD, &b->props, &d.props)) return;
        MARK(&d, stor_pool_dfn, props);
        row_put(op->tx, &stor_pool_dfn_type, &d);
        struct api_rc *rc =
                op_rc(op, RC_CREATED, "Storage pool definition '%s' created.", d.storage_pool_name);
        op_rc_ref(op, rc, "StorPoolDfn", d.storage_pool_name);
}

void op_spd_modify(struct op *op)
{
        struct stor_pool_dfn d;
        if (!need_spd(op, op->params[0], &d)) return;
        if (!op_props_modify(op, PS_SPD, &d.props, OP_BODY(op, prop_mod), NULL)) return;
        MARK(&d, stor_pool_dfn, props);
        row_put(op->tx, &stor_pool_dfn_type, &d);
        struct api_rc *rc =
                op_rc(op, RC_MODIFIED, "Storage pool definition '%s' modified.", d.storage_pool_name);
        op_rc_ref(op, rc, "StorPoolDfn", d.storage_pool_name);
}

void op_spd_delete(struct op *op)
{
        struct stor_pool_dfn d;
        if (!need_spd(op, op->params[0], &d)) return;
        struct idx_pool_node key = { .storage_pool_name = d.storage_pool_name };
        if (row_count(op->tx, &idx_pool_node_type, &key, 1) != 0) {
                op_rc(op, RC_FAIL_IN_USE, "Storage pool definition '%s' has storage pools.",
                        d.storage_pool_name);
                return;
        }
        (void)row_del(op->tx, &stor_pool_dfn_type, &d);
        struct api_rc *rc =
                op_rc(op, RC_DELETED, "Storage pool definition '%s' deleted.", d.storage_pool_name);
        op_rc_ref(op, rc, "StorPoolDfn", d.storage_pool_name);
}

/* ---- pools ---- */

static struct api_rc *pool_rc(
        struct op *op, enum apirc_code code, const struct stor_pool *p, const char *done)
{
        struct api_rc *rc = op_rc(
                op, code, "Storage pool '%s' on node '%s' %s.", p->storage_pool_name, p->node_name, done);
        op_rc_ref(op, rc, "StorPoolDfn", p->storage_pool_name);
        op_rc_ref(op, rc, "Node", p->node_name);
        return rc;
}

/* Can this node have pools of that kind? */
static bool kind_ok(struct op *op, const struct node *n, enum provider_kind kind)
{
        struct obs_node o;
        const char *name = enum_name(&provider_kind_enum, kind);
        if (kind == provider_kind_DISKLESS) return true;
        if (n->type == node_type_CONTROLLER || n->type == node_type_AUXILIARY) {
                op_rc(op, RC_FAIL_INVLD_STOR_DRIVER,
                        "Node '%s' is of type %s: it can only have DISKLESS pools.", n->name,
                        enum_name(&node_type_enum, n->type));
                return false;
        }
        if (!op_observed_node(op, n->name, &o) || o.storage_providers_n == 0) return true; /* not known yet */
        if (op_in_list(name, o.storage_providers, o.storage_providers_n)) return true;
        struct api_rc *rc = op_rc(op, RC_FAIL_STLT_DOES_NOT_SUPPORT_PROVIDER,
                "Node '%s' cannot provide %s pools.", n->name, name);
        for (uint32_t i = 0; i < o.unsupported_providers.n; i++) {
                const struct str_list *why = (const struct str_list *)o.unsupported_providers.vals + i;
                if (op_same(o.unsupported_providers.keys[i], name) && why->items_n != 0)
                        op_rc_explain(op, rc, why->items[0], NULL, NULL);
        }
        return false;
}

static const char *first_of(const struct strmap *props, const char *const keys[])
{
        for (unsigned i = 0; keys[i] != NULL; i++)
                if (op_given(strmap_get(props, keys[i]))) return strmap_get(props, keys[i]);
        return NULL;
}

/* Where the pool is: older properties are taken over into the one that is looked at. */
static bool normalise_place(struct op *op, struct stor_pool *p)
{
        static const char *const lvm[] = { "StorDriver/LvmVg", NULL };
        static const char *const zfs[] = { "StorDriver/ZPool", "StorDriver/ZPoolThin", NULL };
        static const char *const zfs_thin[] = { "StorDriver/ZPoolThin", "StorDriver/ZPool", NULL };
        static const char *const file[] = { "StorDriver/FileDir", NULL };
        const char *const *old = NULL, *key = "StorDriver/StorPoolName";
        if (p->provider_kind == provider_kind_LVM || p->provider_kind == provider_kind_LVM_THIN) old = lvm;
        if (p->provider_kind == provider_kind_ZFS) old = zfs;
        if (p->provider_kind == provider_kind_ZFS_THIN) old = zfs_thin;
        if (p->provider_kind == provider_kind_FILE || p->provider_kind == provider_kind_FILE_THIN) old = file;
        if (old == NULL || op_given(strmap_get(&p->props, key))) return true;
        const char *place = first_of(&p->props, old), *thin = strmap_get(&p->props, "StorDriver/ThinPool");
        if (place == NULL || (p->provider_kind == provider_kind_LVM_THIN && !op_given(thin))) {
                struct api_rc *rc = op_rc(op, RC_FAIL_MISSING_PROPS,
                        "Storage pool '%s' needs the property %s.", p->storage_pool_name, key);
                op_rc_explain(op, rc, NULL, NULL,
                        "Set it to the volume group, volume group/thin pool, zpool or directory that the "
                        "pool uses.");
                return false;
        }
        if (p->provider_kind == provider_kind_LVM_THIN) place = arena_printf(op->arena, "%s/%s", place, thin);
        strmap_set(&p->props, key, place, op->arena);
        return true;
}

static bool shared_ok(struct op *op, const char *space, enum provider_kind kind)
{
        const char *why;
        if (space == NULL) return true;
        why = name_check(NAME_SHARED_SPACE, space);
        if (why != NULL) {
                op_rc(op, RC_FAIL_INVLD_FREE_SPACE_MGR_NAME, "'%.64s' is not a name of a shared space: %s.",
                        space, why);
                return false;
        }
        if (kind == provider_kind_LVM || kind == provider_kind_DISKLESS || kind == provider_kind_REMOTE_SPDK)
                return true;
        op_rc(op, RC_FAIL_INVLD_STOR_DRIVER, "Pools of kind %s cannot share their space with other nodes.",
                enum_name(&provider_kind_enum, kind));
        return false;
}

bool op_pool_new(struct op *op, const struct node *n, const struct pool_args *args, struct stor_pool *ret)
{
        if (!op_pool_name_ok(op, args->name)) return false;
        if (op_find_pool(op, n->name, args->name, ret)) {
                op_rc(op, RC_FAIL_EXISTS_STOR_POOL, "Storage pool '%s' exists already on node '%s'.",
                        ret->storage_pool_name, n->name);
                return false;
        }
        if (!kind_ok(op, n, args->kind) || !shared_ok(op, args->shared_space, args->kind)) return false;
        *ret = (struct stor_pool){ 0 };
        SET(ret, stor_pool, node_name, n->name);
        SET(ret, stor_pool, storage_pool_name, args->name);
        SET(ret, stor_pool, provider_kind, args->kind);
        SET(ret, stor_pool, uuid, op_uuid(op));
        SET(ret, stor_pool, external_locking, args->external_locking);
        if (args->shared_space != NULL) SET(ret, stor_pool, shared_space, args->shared_space);
        if (!op_props_new(op, PS_SP, args->props, &ret->props) || !normalise_place(op, ret)) return false;
        MARK(ret, stor_pool, props);
        return true;
}

void op_pool_put(struct op *op, struct stor_pool *p)
{
        op_ensure_spd(op, p->storage_pool_name);
        SET(p, stor_pool, revision, op->index);
        row_put(op->tx, &stor_pool_type, p);
}

void op_pool_create(struct op *op)
{
        const struct stor_pool_body *b = OP_BODY(op, stor_pool_body);
        struct node n;
        struct stor_pool p;
        if (!op_need_node(op, op->params[0], &n)) return;
        int kind = op_given(b->provider_kind) ? enum_parse(&provider_kind_enum, b->provider_kind) : -1;
        if (kind < 0) {
                op_rc(op, RC_FAIL_INVLD_PROVIDER, "'%.32s' is not a kind of storage pool.",
                        op_text(b->provider_kind));
                return;
        }
        struct pool_args args = { .name = b->storage_pool_name,
                .kind = (enum provider_kind)kind,
                .props = &b->props,
                .shared_space = op_given(b->shared_space) ? b->shared_space : NULL,
                .external_locking = b->external_locking };
        if (!op_pool_new(op, &n, &args, &p)) return;
        op_pool_put(op, &p);
        if (kind != provider_kind_DISKLESS) op_wait_pool(op, n.name, p.storage_pool_name);
        pool_rc(op, RC_CREATED, &p, "created");
}

static bool need_pool(struct op *op, struct stor_pool *ret)
{
        struct node n;
        if (!op_need_node(op, op->params[0], &n)) return false;
        if (op_find_pool(op, n.name, op->params[1], ret)) return true;
        struct api_rc *rc = op_rc(op, RC_FAIL_NOT_FOUND_STOR_POOL,
                "There is no storage pool '%s' on node '%s'.", op->params[1], n.name);
        op_rc_ref(op, rc, "StorPoolDfn", op->params[1]);
        op_rc_ref(op, rc, "Node", n.name);
        return false;
}

static uint64_t pool_volumes(struct op *op, const struct stor_pool *p)
{
        struct idx_pool_rsc key = { .node_name = p->node_name, .storage_pool_name = p->storage_pool_name };
        struct idx_pool_snap snap = { .node_name = p->node_name, .storage_pool_name = p->storage_pool_name };
        return row_count(op->tx, &idx_pool_rsc_type, &key, 2) +
               row_count(op->tx, &idx_pool_snap_type, &snap, 2);
}

void op_pool_modify(struct op *op)
{
        struct stor_pool p;
        bool matters;
        if (!need_pool(op, &p)) return;
        const char *place = op_text(strmap_get(&p.props, "StorDriver/StorPoolName"));
        if (!op_nic_props_ok(op, p.node_name, &OP_BODY(op, prop_mod)->override_props)) return;
        if (!op_props_modify(op, PS_SP, &p.props, OP_BODY(op, prop_mod), &matters)) return;
        if (!op_same(place, op_text(strmap_get(&p.props, "StorDriver/StorPoolName"))) &&
                pool_volumes(op, &p) != 0) {
                op_rc(op, RC_FAIL_IN_USE, "Storage pool '%s' on node '%s' has volumes: it cannot be moved.",
                        p.storage_pool_name, p.node_name);
                return;
        }
        MARK(&p, stor_pool, props);
        if (matters && p.provider_kind != provider_kind_DISKLESS) {
                SET(&p, stor_pool, revision, op->index);
                op_wait_pool(op, p.node_name, p.storage_pool_name);
        }
        row_put(op->tx, &stor_pool_type, &p);
        if (op_nic_props_any(OP_BODY(op, prop_mod))) op_drbd_touch_node(op, p.node_name, NULL);
        pool_rc(op, RC_MODIFIED, &p, "modified");
}

void op_pool_delete(struct op *op)
{
        struct stor_pool p;
        if (!op_find_pool(op, op->params[0], op->params[1], &p)) {
                op_rc(op, RC_WARN_NOT_FOUND, "There is no storage pool '%s' on node '%s'.", op->params[1],
                        op->params[0]);
                return;
        }
        if (op_same(p.storage_pool_name, DFLT_DISKLESS_POOL)) {
                op_rc(op, RC_FAIL_INVLD_STOR_POOL_NAME, "The default diskless pool cannot be deleted.");
                return;
        }
        uint64_t used = pool_volumes(op, &p);
        if (used != 0) {
                op_rc(op, RC_FAIL_IN_USE,
                        "Storage pool '%s' on node '%s' is used by %llu resources and snapshots.",
                        p.storage_pool_name, p.node_name, (unsigned long long)used);
                return;
        }
        (void)row_del(op->tx, &stor_pool_type, &p);
        pool_rc(op, RC_DELETED, &p, "deleted");
}
