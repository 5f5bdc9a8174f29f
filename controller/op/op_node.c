/* Nodes: create, modify, delete, lost, reconnect, restore, evacuate. Addresses are in op_netif.c. */
#include "controller/op/op_disk.h"
#include "controller/op/op_netif.h"
#include "wire/base/log.h"

static bool is_satellite(enum node_type t) { return t == node_type_SATELLITE || t == node_type_COMBINED; }

static bool parse_type(struct op *op, const char *text, enum node_type *ret)
{
        int v = enum_parse(&node_type_enum, text);
        if (v < 0) {
                op_rc(op, RC_FAIL_INVLD_NODE_TYPE, "'%.32s' is not a node type.", text);
                return false;
        }
        *ret = (enum node_type)v;
        if (is_satellite(*ret) || *ret == node_type_CONTROLLER || *ret == node_type_AUXILIARY) return true;
        op_rc(op, RC_FAIL_INVLD_NODE_TYPE, "Nodes of type %s are not implemented in this version.",
                enum_name(&node_type_enum, (unsigned)v));
        return false;
}

static struct api_rc *node_rc(struct op *op, enum apirc_code code, const struct node *n, const char *done)
{
        struct api_rc *rc = op_rc(op, code, "Node '%s' %s.", n->name, done);
        op_rc_explain(op, rc, NULL,
                arena_printf(op->arena, "UUID of node '%s': %s", n->name, op_text(n->uuid)), NULL);
        op_rc_ref(op, rc, "Node", n->name);
        return rc;
}

static void make_diskless_pool(struct op *op, const char *node)
{
        struct stor_pool p = { 0 };
        op_ensure_spd(op, DFLT_DISKLESS_POOL);
        SET(&p, stor_pool, node_name, node);
        SET(&p, stor_pool, storage_pool_name, DFLT_DISKLESS_POOL);
        SET(&p, stor_pool, provider_kind, provider_kind_DISKLESS);
        SET(&p, stor_pool, uuid, op_uuid(op));
        SET(&p, stor_pool, revision, op->index);
        MARK(&p, stor_pool, props);
        row_put(op->tx, &stor_pool_type, &p);
}

void op_node_create(struct op *op)
{
        const struct node_body *b = OP_BODY(op, node_body);
        const char *why = name_check(NAME_NODE, b->name);
        struct node n = { 0 }, old;
        enum node_type type = node_type_SATELLITE;
        if (why != NULL) {
                op_rc(op, RC_FAIL_INVLD_NODE_NAME, "'%.64s' is not a node name: %s.", op_text(b->name), why);
                return;
        }
        if (op_find_node(op, b->name, &old)) {
                struct api_rc *rc = op_rc(op, RC_FAIL_EXISTS_NODE, "Node '%s' exists already.", old.name);
                op_rc_ref(op, rc, "Node", old.name);
                if ((old.flags & node_flag_DELETE) != 0)
                        op_rc_explain(op, rc,
                                "It is being deleted, and its satellite has yet to remove its resources.",
                                NULL, "If the machine is gone for ever, tell so: node lost.");
                return;
        }
        if (op_given(b->type) && !parse_type(op, b->type, &type)) return;
        SET(&n, node, name, b->name);
        SET(&n, node, type, type);
        SET(&n, node, uuid, op_uuid(op));
        SET(&n, node, revision, op->index);
        if (!op_props_new(op, PS_N, &b->props, &n.props)) return;
        MARK(&n, node, props);
        if (b->net_interfaces_n == 0) {
                op_rc(op, RC_FAIL_MISSING_NETCOM, "Node '%s' needs at least one network interface.", b->name);
                return;
        }
        for (uint32_t i = 0; i < b->net_interfaces_n; i++)
                if (!op_netif_add(op, &n, &b->net_interfaces[i], is_satellite(type))) return;
        if (is_satellite(type)) make_diskless_pool(op, n.name);
        row_put(op->tx, &node_type, &n);
        node_rc(op, RC_CREATED, &n, "created");
}

/* A node that keeps volumes must stay a satellite. */
static bool may_become(struct op *op, const struct node *n, enum node_type type)
{
        struct idx_rsc_node rkey = { .node_name = n->name };
        struct stor_pool pkey = { .node_name = n->name };
        if (is_satellite(type)) return true;
        if (row_count(op->tx, &idx_rsc_node_type, &rkey, 1) != 0 ||
                row_count(op->tx, &stor_pool_type, &pkey, 1) > 1) {
                op_rc(op, RC_FAIL_INVLD_NODE_TYPE,
                        "Node '%s' has storage pools or resources: it must be a satellite.", n->name);
                return false;
        }
        return true;
}

void op_node_modify(struct op *op)
{
        const struct node_modify *b = OP_BODY(op, node_modify);
        struct node n;
        struct prop_mod mod = OP_PROP_MOD(b);
        if (!op_need_node(op, op->params[0], &n)) return;
        const char *active = strmap_get(&mod.override_props, "CurStltConnName");
        if (active != NULL && !op_netif_activate(op, &n, active)) return;
        if (op_given(b->node_type)) {
                enum node_type type;
                if (!parse_type(op, b->node_type, &type) || !may_become(op, &n, type)) return;
                if (is_satellite(type) && !is_satellite(n.type)) make_diskless_pool(op, n.name);
                SET(&n, node, type, type);
        }
        if (!op_nic_props_ok(op, n.name, &mod.override_props)) return;
        if (!op_props_modify(op, PS_N, &n.props, &mod, NULL)) return;
        MARK(&n, node, props);
#ifdef NEXT_LEVEL
        if (b->next_note != NULL) SET(&n, node, next_note, b->next_note);
#endif
        if (active != NULL) SET(&n, node, revision, op->index);
        row_put(op->tx, &node_type, &n);
        if (op_nic_props_any(&mod)) op_drbd_touch_node(op, n.name, NULL);
        node_rc(op, RC_MODIFIED, &n, "modified");
}

void op_node_config_set(struct op *op)
{
        const struct satellite_config *b = OP_BODY(op, satellite_config);
        const char *text = b->log == NULL                    ? NULL
                           : op_given(b->log->level_linstor) ? b->log->level_linstor
                                                             : b->log->level;
        enum log_level level;
        struct node n;
        if (!op_need_node(op, op->params[0], &n)) return;
        if (!op_given(text) || log_level_parse(text, &level) != 0) {
                op_rc(op, RC_FAIL_INVLD_CONF,
                        "Of a satellite's configuration only the log level can be changed: ERROR, WARN, "
                        "INFO, DEBUG or "
                        "TRACE.");
                return;
        }
        SET(&n, node, log_level, log_level_name(level));
        row_put(op->tx, &node_type, &n);
        node_rc(op, RC_MODIFIED, &n, "modified: its satellite has another log level, also after a restart");
}

/* Nothing that is in use may be lost, nor the last disk of those who have none. */
static bool may_delete(struct op *op, const struct node *n, const struct rsc *r)
{
        struct rsc *peers;
        uint32_t peers_n = op_list_rscs(op, r->rsc_name, &peers), disks = 0, diskless = 0;
        if (op_in_use(op, r)) {
                op_rc(op, RC_FAIL_NODE_HAS_USED_RSC, "Resource '%s' is in use on node '%s'.", r->rsc_name,
                        n->name);
                return false;
        }
        for (uint32_t i = 0; i < peers_n; i++) {
                if (op_same(peers[i].node_name, n->name)) continue;
                if ((peers[i].flags & rsc_flag_TIE_BREAKER) == rsc_flag_TIE_BREAKER) continue;
                if ((peers[i].flags & rsc_flag_DISKLESS) != 0) diskless++;
                else disks++;
        }
        if ((r->flags & rsc_flag_DISKLESS) != 0 || disks != 0 || diskless == 0) return true;
        op_rc(op, RC_FAIL_NODE_HAS_USED_RSC,
                "Node '%s' has the last disk of resource '%s', which diskless nodes use.", n->name,
                r->rsc_name);
        return false;
}

uint32_t op_list_rscs_of_node(struct op *op, const char *node, struct rsc **ret)
{
        struct idx_rsc_node key = { .node_name = node }, row;
        uint32_t n = 0;
        struct row_scan s;
        uint64_t max = row_count(op->tx, &idx_rsc_node_type, &key, 1);
        *ret = arena_array(op->arena, struct rsc, max + 1);
        row_scan_open(&s, op->tx, &idx_rsc_node_type, &key, 1);
        while (*ret != NULL && n < max && row_scan_next(&s, op->arena, &row))
                if (op_find_rsc(op, row.rsc_name, node, &(*ret)[n])) n++;
        row_scan_close(&s);
        return n;
}

static void node_absent(struct op *op)
{
        struct api_rc *rc = op_rc(op, RC_WARN_NOT_FOUND, "There is no node '%s'.", op->params[0]);
        op_rc_ref(op, rc, "Node", op->params[0]);
}

void op_node_delete(struct op *op)
{
        struct node n;
        struct rsc *rscs;
        struct rsc_dfn rd;
        if (!op_find_node(op, op->params[0], &n)) return node_absent(op);
        if ((n.flags & node_flag_EVICTED) == node_flag_EVICTED) {
                op_rc(op, RC_WARN_NODE_EVICTED, "Node '%s' is evicted: restore it, or declare it lost.",
                        n.name);
                return;
        }
        uint32_t rscs_n = op_list_rscs_of_node(op, n.name, &rscs);
        for (uint32_t i = 0; i < rscs_n; i++)
                if (!may_delete(op, &n, &rscs[i])) return;
        SET(&n, node, flags, n.flags | node_flag_DELETE); /* no place for a tie breaker any more */
        row_put(op->tx, &node_type, &n);
        for (uint32_t i = 0; i < rscs_n; i++)
                if (op_find_rd(op, rscs[i].rsc_name, &rd)) op_drop_rsc(op, &rd, &rscs[i]);
        struct tombstone key = { .node_name = n.name };
        if (row_count(op->tx, &tombstone_type, &key, 1) == 0) {
                op_remove_node(op, &n);
                node_rc(op, RC_DELETED, &n, "deleted");
                return;
        }
        /* The row goes with the last tombstone: until then the satellite must be told what to remove. */
        if (!op_node_online(op, n.name)) {
                struct api_rc *rc =
                        op_rc(op, RC_WARN_NOT_CONNECTED, "No active connection to satellite '%s'.", n.name);
                op_rc_explain(op, rc,
                        "Its resources can be removed when it is back; until then the node stays.", NULL,
                        "If it never comes back, declare it lost.");
                op_rc_ref(op, rc, "Node", n.name);
        }
        node_rc(op, RC_DELETED, &n, "will be deleted as soon as its satellite has removed its resources");
}

void op_node_lost(struct op *op)
{
        struct node n;
        struct rsc *rscs;
        if (!op_find_node(op, op->params[0], &n)) return node_absent(op);
        if (op_node_surely_online(op, n.name)) {
                struct api_rc *rc = op_rc(op, RC_FAIL_EXISTS_NODE_CONN, "Node '%s' is connected.", n.name);
                op_rc_explain(op, rc, "Lost is for a node that will not come back.", NULL,
                        "Delete it instead, which removes its resources too.");
                return;
        }
        uint32_t rscs_n = op_list_rscs_of_node(op, n.name, &rscs);
        for (uint32_t i = 0; i < rscs_n; i++) {
                (void)row_del(op->tx, &rsc_type, &rscs[i]);
                op_touch_rd(op, rscs[i].rsc_name);
        }
        op_remove_node(op, &n);
        node_rc(op, RC_DELETED, &n, "forgotten");
}

void op_node_reconnect(struct op *op)
{
        struct node n;
        if (!op_need_node(op, op->params[0], &n)) return;
        SET(&n, node, revision, op->index);
        row_put(op->tx, &node_type, &n);
        node_rc(op, RC_MODIFIED, &n, "will be connected anew");
}

/* ---- internal: what satellites tell ---- */

void op_int_satellite_confirm(struct op *op)
{
        const struct satellite_confirm *b = OP_BODY(op, satellite_confirm);
        struct tombstone key = { .node_name = b->node_name }, t;
        struct node n;
        struct row_scan s;
        uint32_t left = 0, gone = 0;
        row_scan_open(&s, op->tx, &tombstone_type, &key, 1);
        while (row_scan_next(&s, op->arena, &t)) {
                if (!op_in_list(t.uuid, b->uuids, b->uuids_n)) {
                        left++;
                        continue;
                }
                op_pool_usage(op, t.node_name, t.volumes, t.volumes_n, -1);
                op_pool_usage(op, t.node_name, t.extras, t.extras_n, -1);
                (void)row_del(op->tx, &tombstone_type, &t);
                gone++;
        }
        row_scan_close(&s);
        struct idx_rsc_node rkey = { .node_name = b->node_name };
        if (left == 0 && op_find_node(op, b->node_name, &n) &&
                (n.flags & node_flag_EVICTED) == node_flag_DELETE &&
                row_count(op->tx, &idx_rsc_node_type, &rkey, 1) == 0)
                op_remove_node(op, &n);
        op_rc(op, RC_DELETED, "Node '%s' has removed %u deleted resources.", b->node_name, gone);
}

void op_int_satellite_joined(struct op *op)
{
        const struct satellite_joined *b = OP_BODY(op, satellite_joined);
        struct node n;
        if (!op_need_node(op, b->node_name, &n)) return;
        SET(&n, node, cert_fingerprint, b->cert_fingerprint);
        SET(&n, node, revision, op->index);
        row_put(op->tx, &node_type, &n);
        node_rc(op, RC_MODIFIED, &n, "has joined");
}
