/* Addresses of nodes. At most one is active: the connection of the satellite. */
#include "controller/op/op_netif.h"

#include <string.h>

static struct netif *find(const struct node *n, const char *name)
{
        for (uint32_t i = 0; i < n->net_interfaces_n; i++)
                if (op_same(n->net_interfaces[i].name, name)) return &n->net_interfaces[i];
        return NULL;
}

static void set_active(struct op *op, struct node *n, struct netif *active)
{
        for (uint32_t i = 0; i < n->net_interfaces_n; i++)
                SET(&n->net_interfaces[i], netif, is_active, &n->net_interfaces[i] == active);
        if (active != NULL) strmap_set(&n->props, "CurStltConnName", active->name, op->arena);
        else (void)strmap_del(&n->props, "CurStltConnName", op->arena);
        MARK(n, node, props);
}

bool op_netif_activate(struct op *op, struct node *n, const char *name)
{
        struct netif *i = find(n, name);
        if (i == NULL) {
                op_rc(op, RC_FAIL_NOT_FOUND_NET_IF, "Node '%s' has no network interface '%.32s'.", n->name,
                        name);
                return false;
        }
        if (!HAS(i, netif, satellite_port)) {
                op_rc(op, RC_FAIL_MISSING_PROPS_NETCOM_PORT,
                        "Network interface '%s' of node '%s' has no satellite port.", i->name, n->name);
                return false;
        }
        set_active(op, n, i);
        return true;
}

/* Takes over what the body has. false: refused. */
static bool fill(struct op *op, struct netif *i, const struct netif_body *b)
{
        if (op_given(b->address) && !name_is_address(b->address)) {
                op_rc(op, RC_FAIL_INVLD_NET_ADDR, "'%.64s' is not an IP address.", b->address);
                return false;
        }
        if (op_given(b->address)) SET(i, netif, address, b->address);
        if (HAS(b, netif_body, satellite_port)) {
                if (b->satellite_port < 1 || b->satellite_port > 65535) {
                        op_rc(op, RC_FAIL_INVLD_NET_PORT, "%lld is not a TCP port.",
                                (long long)b->satellite_port);
                        return false;
                }
                SET(i, netif, satellite_port, b->satellite_port);
        }
        if (op_given(b->encryption_type)) {
                int v = enum_parse(&encryption_type_enum, b->encryption_type);
                if (v < 0) {
                        op_rc(op, RC_FAIL_INVLD_NET_TYPE,
                                "'%.32s' is not a kind of connection: PLAIN or SSL.", b->encryption_type);
                        return false;
                }
                SET(i, netif, encryption, (enum encryption_type)v);
        }
        return true;
}

bool op_netif_add(struct op *op, struct node *n, const struct netif_body *b, bool needs_port)
{
        const char *why = name_check(NAME_NETIF, b->name);
        struct netif i = { 0 };
        if (why != NULL) {
                op_rc(op, RC_FAIL_INVLD_NET_NAME, "'%.64s' is not a name of a network interface: %s.",
                        op_text(b->name), why);
                return false;
        }
        if (find(n, b->name) != NULL) {
                op_rc(op, RC_FAIL_EXISTS_NET_IF, "Node '%s' has a network interface '%s' already.", n->name,
                        b->name);
                return false;
        }
        if (!op_given(b->address)) {
                op_rc(op, RC_FAIL_INVLD_NET_ADDR, "Network interface '%s' needs an IP address.", b->name);
                return false;
        }
        SET(&i, netif, name, b->name);
        SET(&i, netif, uuid, op_uuid(op));
        if (!fill(op, &i, b)) return false;
        bool first = n->net_interfaces_n == 0;
        if (HAS(&i, netif, satellite_port) || (first && needs_port)) {
                if (!HAS(&i, netif, encryption)) SET(&i, netif, encryption, encryption_type_PLAIN);
                if (!HAS(&i, netif, satellite_port))
                        SET(&i, netif, satellite_port,
                                i.encryption == encryption_type_SSL ? SATELLITE_TLS_PORT : SATELLITE_PORT);
        }
        struct netif *all = arena_alloc(op->arena, (n->net_interfaces_n + 1) * sizeof *all);
        if (!first) memcpy(all, n->net_interfaces, n->net_interfaces_n * sizeof *all);
        all[n->net_interfaces_n] = i;
        SET_N(n, node, net_interfaces, all, n->net_interfaces_n + 1);
        bool active = false;
        for (uint32_t k = 0; k + 1 < n->net_interfaces_n; k++) active |= all[k].is_active;
        struct netif *mine = &all[n->net_interfaces_n - 1];
        if (HAS(mine, netif, satellite_port) && (b->is_active || !active)) set_active(op, n, mine);
        return true;
}

static struct api_rc *netif_rc(
        struct op *op, enum apirc_code code, const struct node *n, const char *name, const char *done)
{
        struct api_rc *rc = op_rc(op, code, "Network interface '%s' of node '%s' %s.", name, n->name, done);
        op_rc_ref(op, rc, "Node", n->name);
        op_rc_ref(op, rc, "NetIf", name);
        return rc;
}

void op_netif_create(struct op *op)
{
        const struct netif_body *b = OP_BODY(op, netif_body);
        struct node n;
        if (!op_need_node(op, op->params[0], &n) || !op_netif_add(op, &n, b, false)) return;
        if (b->is_active) SET(&n, node, revision, op->index);
        row_put(op->tx, &node_type, &n);
        netif_rc(op, RC_CREATED, &n, b->name, "created");
}

void op_netif_modify(struct op *op)
{
        const struct netif_body *b = OP_BODY(op, netif_body);
        struct node n;
        if (!op_need_node(op, op->params[0], &n)) return;
        struct netif *i = find(&n, op->params[1]);
        if (i == NULL) {
                op_rc(op, RC_FAIL_NOT_FOUND_NET_IF, "Node '%s' has no network interface '%s'.", n.name,
                        op->params[1]);
                return;
        }
        if (!fill(op, i, b)) return;
        if (b->is_active && !op_netif_activate(op, &n, i->name)) return;
        if (i->is_active) SET(&n, node, revision, op->index); /* the satellite is somewhere else now */
        row_put(op->tx, &node_type, &n);
        op_drbd_touch_node(op, n.name, NULL);
        netif_rc(op, RC_MODIFIED, &n, i->name, "modified");
}

void op_netif_delete(struct op *op)
{
        struct node n;
        if (!op_need_node(op, op->params[0], &n)) return;
        struct netif *i = find(&n, op->params[1]);
        if (i == NULL) {
                op_rc(op, RC_WARN_NOT_FOUND, "Node '%s' has no network interface '%s'.", n.name,
                        op->params[1]);
                return;
        }
        const char *name = i->name;
        bool was_active = i->is_active;
        uint32_t left = (uint32_t)(&n.net_interfaces[n.net_interfaces_n] - (i + 1));
        memmove(i, i + 1, left * sizeof *i);
        SET_N(&n, node, net_interfaces, n.net_interfaces, n.net_interfaces_n - 1);
        netif_rc(op, RC_DELETED, &n, name, "deleted");
        if (was_active) {
                struct netif *next = NULL;
                for (uint32_t k = 0; k < n.net_interfaces_n && next == NULL; k++)
                        if (HAS(&n.net_interfaces[k], netif, satellite_port)) next = &n.net_interfaces[k];
                set_active(op, &n, next);
                SET(&n, node, revision, op->index);
                if (next == NULL)
                        op_rc(op, RC_WARN_NO_STLT_CONN_DEFINED,
                                "Node '%s' has no address of its satellite any more.", n.name);
        }
        row_put(op->tx, &node_type, &n);
        op_drbd_touch_node(op, n.name, NULL);
}

/* ---- properties that name interfaces ---- */

static bool has_netif(struct op *op, const char *node, const char *netif, const char *key)
{
        struct node n;
        if (!op_find_node(op, node, &n)) return true;
        for (uint32_t i = 0; i < n.net_interfaces_n; i++)
                if (op_same(n.net_interfaces[i].name, netif)) return true;
        struct api_rc *rc = op_rc(op, RC_FAIL_INVLD_PROP,
                "The value '%.64s' is not valid for the property '%.128s': node '%s' has no such network "
                "interface.",
                netif, key, n.name);
        op_rc_explain(op, rc, NULL, NULL,
                "Create the interface first (node interface create), or name another one.");
        op_rc_ref(op, rc, "Node", n.name);
        return false;
}

bool op_nic_props_ok(struct op *op, const char *node, const struct strmap *props)
{
        static const char *const keys[] = { "PrefNic", "NVMe/PrefNic" };
        for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
                const char *netif = strmap_get(props, keys[i]);
                if (op_given(netif) && !has_netif(op, node, netif, keys[i])) return false;
        }
        return true;
}

bool op_path_props_ok(struct op *op, const char *node_a, const char *node_b, const struct strmap *props)
{
        for (uint32_t i = 0; i < props->n; i++) {
                const char *key = props->kv[2 * (size_t)i], *slash = strrchr(key, '/');
                if (strncmp(key, "Paths/", 6) != 0 || slash == NULL) continue;
                if (!op_same(slash + 1, node_a) && !op_same(slash + 1, node_b)) {
                        op_rc(op, RC_FAIL_INVLD_PROP,
                                "The property '%.128s' names neither '%s' nor '%s': a path has an interface "
                                "of both.",
                                key, node_a, node_b);
                        return false;
                }
                if (!has_netif(op, slash + 1, props->kv[2 * (size_t)i + 1], key)) return false;
        }
        return true;
}

bool op_nic_props_any(const struct prop_mod *mod)
{
        static const char *const keys[] = { "PrefNic", "NVMe/PrefNic", "Linstor/Drbd/OutsideAddress" };
        bool any = mod->delete_namespaces_n != 0;
        for (size_t i = 0; i < ARRAY_LEN(keys); i++)
                any = any || strmap_get(&mod->override_props, keys[i]) != NULL ||
                      op_in_list(keys[i], mod->delete_props, mod->delete_props_n);
        return any;
}
