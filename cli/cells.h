/* Columns whose text the CLI derives from several fields, as LINSTOR's client does. All return malloc'ed text
 * or NULL. */
#ifndef CLI_CELLS_H
#define CLI_CELLS_H

#include "cli/verb.h"

char *cell_node_addresses(const json_t *node);
char *cell_node_state(const json_t *node);
char *cell_pool_name(const json_t *pool);
char *cell_disk_size(const json_t *disk);
char *cell_disk_nodes(const json_t *disk);
char *cell_pool_free(const json_t *pool);
char *cell_pool_total(const json_t *pool);
char *cell_pool_state(const json_t *pool);
char *cell_pool_shared(const json_t *pool);
char *cell_rsc_layers(const json_t *rsc);
char *cell_rsc_usage(const json_t *rsc);
char *cell_resolve_role(const json_t *row);
char *cell_resolve_out(const json_t *row);
char *cell_rsc_conns(const json_t *rsc);
char *cell_rsc_state(const json_t *rsc);
char *cell_created(const json_t *rsc);
char *cell_vlm_allocated(const json_t *vlm);
char *cell_vlm_in_use(const json_t *vlm);
char *cell_size(const json_t *row);
char *cell_size_max(const json_t *info);
char *cell_size_available(const json_t *info);
char *cell_size_capacity(const json_t *info);
char *cell_gross(const json_t *row);
char *cell_minor(const json_t *row);
char *cell_dfn_state(const json_t *row);
char *cell_select_filter(const json_t *rg);
char *cell_snap_volumes(const json_t *snap);
char *cell_snap_created(const json_t *snap);
char *cell_snap_state(const json_t *snap);
char *cell_report_time(const json_t *report);

json_t *rows_props(json_t *answer, struct cli_call *call);
json_t *rows_volumes(json_t *answer, struct cli_call *call);
json_t *rows_volume_definitions(json_t *answer, struct cli_call *call);
json_t *rows_one(json_t *answer, struct cli_call *call);
json_t *rows_named_props(json_t *answer, struct cli_call *call);

#endif
