/* Seeded bugs: each line of sabotage.def is one that the tests must find (make sabotage). Only a build that was
 * configured with --enable-sabotage contains any; there OUTRIGGER_SABOTAGE in the environment chooses one, or none.
 * In every other build SABOTAGE() is a constant and no code, no name and no text of them is left
 * (contrib/dev/check-sabotage looks).
 *
 * Threads: chosen before main, then only read. */
#ifndef WIRE_BASE_SABOTAGE_H
#define WIRE_BASE_SABOTAGE_H

#include <stdbool.h>

#ifdef ENABLE_SABOTAGE
enum sabotage {
        SABOTAGE_NONE,
#define BUG(name, what, finder) SABOTAGE_##name,
#include "wire/base/sabotage.def"
#undef BUG
        SABOTAGE_N
};
extern enum sabotage sabotage_chosen;
#define SABOTAGE(name) (sabotage_chosen == SABOTAGE_##name)
/* Behind the version of each program. */
const char *sabotage_notice(void);
#define SABOTAGE_NOTICE sabotage_notice()
#else
#define SABOTAGE(name) false
#define SABOTAGE_NOTICE ""
#endif

#endif
