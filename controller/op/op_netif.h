/* Addresses of nodes, for the operations on nodes. See op_internal.h. */
#ifndef CONTROLLER_OP_OP_NETIF_H
#define CONTROLLER_OP_OP_NETIF_H

#include "controller/op/op_internal.h"

/* Adds an address to n, which the caller stores. needs_port: a satellite, whose first address carries its
 * connection. false: refused. */
bool op_netif_add(struct op *op, struct node *n, const struct netif_body *b, bool needs_port);
/* What properties say of interfaces: PrefNic and NVMe/PrefNic name one that the node has. false: refused. */
bool op_nic_props_ok(struct op *op, const char *node, const struct strmap *props);
/* Paths/NAME/NODE of a connection of two nodes: NODE is one of them and has that interface. false: refused. */
bool op_path_props_ok(struct op *op, const char *node_a, const char *node_b, const struct strmap *props);
/* Do properties change how others reach the node's resources? */
bool op_nic_props_any(const struct prop_mod *mod);
/* Makes the named address the one of the satellite. false: refused. */
bool op_netif_activate(struct op *op, struct node *n, const char *name);

#endif
