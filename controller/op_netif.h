/* Addresses of nodes, for the operations on nodes. See op_internal.h. */
#ifndef CONTROLLER_OP_NETIF_H
#define CONTROLLER_OP_NETIF_H

#include "controller/op_internal.h"

/* Adds an address to n, which the caller stores. needs_port: a satellite, whose first address carries its
 * connection. false: refused. */
bool op_netif_add(struct op *op, struct node *n, const struct netif_body *b, bool needs_port);
/* Makes the named address the one of the satellite. false: refused. */
bool op_netif_activate(struct op *op, struct node *n, const char *name);

#endif
