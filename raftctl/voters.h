/* Which sets of voters are sound, where some keep less than others. Pure.
 *
 *   controller         keeps the state, the log and its vote
 *   witness            keeps its vote and the newest part of the log
 *   volatile witness   keeps nothing: each start is another member
 *
 * Two rules, for n voters. (1) Those who keep their vote are a majority by themselves: after all volatile ones have
 * restarted at once, the rest can still commit the removal of their former ids. (2) Every majority holds a controller,
 * so each committed entry is on the disk of a member that keeps the whole state: at least half of the voters are
 * controllers. Threads: any. */
#ifndef RAFTCTL_VOTERS_H
#define RAFTCTL_VOTERS_H

#include <stdbool.h>
#include <stdint.h>

struct voters {
        uint32_t n, controllers, volatiles;
};

void voters_add(struct voters *v, bool controller, bool is_volatile);
/* How many members that keep their vote are missing by rule 1. 0 = sound. */
uint32_t voters_lack_lasting(const struct voters *v);
/* How many controllers are missing by rule 2. 0 = sound. */
uint32_t voters_lack_controllers(const struct voters *v);
/* Is `after` worse than `before` by one of the rules? NULL, or what is wrong (a constant). A set that was unsound may
 * be changed for the better. */
const char *voters_worse(const struct voters *before, const struct voters *after);

#endif
