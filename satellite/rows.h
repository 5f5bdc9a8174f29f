/* The rows that the satellite reports: made from units and pools, on demand.
 *
 * Threads: loop thread. Ownership: rows live in the caller's arena and share strings with the unit or pool.
 */
#ifndef SATELLITE_ROWS_H
#define SATELLITE_ROWS_H

#include "satellite/drbd/drbd_events.h"
#include "satellite/pool.h"
#include "satellite/unit.h"

/* drbd: what the kernel says of it; NULL: nothing. E_TOO_LARGE when the arena is too small. */
int row_of_unit(const struct unit *u, const struct drbd_resource *drbd, const char *node_name,
        struct arena *a, struct obs_rsc *ret) MUST_USE;
int row_of_pool(const struct pool *p, const char *node_name, struct arena *a, struct obs_pool *ret) MUST_USE;
/* Makes the row again; when it differs from the last one, that is replaced and *gen_of_row = ++*gen. True
 * then. */
bool row_refresh_unit(struct unit *u, const struct drbd_resource *drbd, const char *node_name, uint64_t *gen);
bool row_refresh_pool(struct pool *p, const char *node_name, uint64_t *gen);

#endif
