/* What the leader tells a satellite of the backups that it is to send or to receive: with the keys of the bucket, for memory only.
 *
 * Threads, ownership: as sat_keys.h. */
#ifndef CONTROLLER_SAT_SAT_SHIPS_H
#define CONTROLLER_SAT_SAT_SHIPS_H

#include "state/table.h"
#include "wire/def/types.h"

/* All of that node. E_LOCKED: there are some, and the keys cannot be opened now. */
int sat_ships_build(
        struct tx *tx, const char *node_name, uint64_t term, struct arena *a, struct sat_ships *ret) MUST_USE;
void sat_ships_wipe(struct sat_ships *m);

#endif
