/* Keys of encrypted volumes for a satellite: opened with the master key, while the vault has it.
 *
 * Threads: loop thread. Ownership: everything in the arena; sat_keys_wipe() before it goes. */
#ifndef CONTROLLER_SAT_SAT_KEYS_H
#define CONTROLLER_SAT_SAT_KEYS_H

#include "state/table.h"
#include "wire/def/types.h"

/* Keys of the volumes with the layer LUKS in w. What cannot be opened is left out: its satellite says that it lacks the key.
 * E_LIMIT when the arena is too small. */
int sat_keys_build(struct tx *tx, const struct sat_wanted *w, struct arena *a, struct sat_keys *ret) MUST_USE;
void sat_keys_wipe(struct sat_keys *k);

#endif
