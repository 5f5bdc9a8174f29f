/* The guards around the Raft core, each named after the hole that it closes (guards.def). Nothing in the
 * programs switches one off: guards_off is for tests only.
 *
 * Threads: guards_off is set before any driver runs. */
#ifndef RAFTCTL_GUARDS_H
#define RAFTCTL_GUARDS_H

#include <stdbool.h>
#include <stdint.h>

enum guard {
#define GUARD(name, doc) GUARD_##name,
#include "raftctl/guards.def"
#undef GUARD
        GUARD_N
};
extern uint32_t guards_off; /* bit mask, 0 in every program */

#ifdef ENABLE_SABOTAGE
bool guard_skipped(enum guard g); /* a seeded bug, see wire/base/sabotage.h */
#define GUARD_SKIPPED(g) guard_skipped(g)
#else
#define GUARD_SKIPPED(g) false
#endif
static inline bool guard_on(enum guard g) { return (guards_off & (1u << g)) == 0 && !GUARD_SKIPPED(g); }
const char *guard_name(enum guard g);
/* The guard of that name, -1 when there is none. */
int guard_parse(const char *name);

#endif
