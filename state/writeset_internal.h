/* Shared by writeset.c, apply.c and the checks: the decoded and validated form of a write-set.
 * Ownership: the caller's arena. Threads: pure. */
#ifndef STATE_WRITESET_INTERNAL_H
#define STATE_WRITESET_INTERNAL_H

#include "state/writeset.h"

struct writeset;
bool writeset_key_is_meta(struct blob key);
/* Initialises the arena with a limit that fits data, and decodes: version known, keys ascending, none of them
 * meta. The caller calls arena_done in any case. E_FORMAT, E_CORRUPT. */
int writeset_decode(struct blob data, struct arena *a, struct writeset *ret) MUST_USE;

#endif
