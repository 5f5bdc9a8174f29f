/* What the API shows of a node besides its row. Threads: any. Used by views and by streams of events. */
#include "controller/view/view_internal.h"

/* Older clients do not know every state. */
static enum conn_status shown_status(enum conn_status s)
{
        if (s == conn_status_AUTHENTICATED) return conn_status_CONNECTED;
        if (s == conn_status_DUPLICATE_UNAME) return conn_status_OFFLINE;
        return s;
}

void view_node_observed(struct tx *observed, struct node *n, struct arena *a)
{
        struct obs_node key = { .node_name = n->name }, o;
        bool satellite = n->type == node_type_SATELLITE || n->type == node_type_COMBINED;
        SET(n, node, connection_status, satellite ? conn_status_OFFLINE : conn_status_UNKNOWN);
        if (observed == NULL || row_get(observed, &obs_node_type, &key, a, &o) != 0) return;
        SET(n, node, connection_status, shown_status(o.connection_status));
        SET_N(n, node, storage_providers, o.storage_providers, o.storage_providers_n);
        SET_N(n, node, resource_layers, o.resource_layers, o.resource_layers_n);
        SET(n, node, unsupported_providers, o.unsupported_providers);
        SET(n, node, unsupported_layers, o.unsupported_layers);
        SET(n, node, platform, "LINUX");
        if (view_given(o.os_variant)) SET(n, node, os_variant, o.os_variant);
        if (view_given(o.problem)) SET(n, node, connection_problem, o.problem);
}
