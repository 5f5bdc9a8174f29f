/* A guard for held I/O: a process beside the satellite that lets it go when the satellite cannot. Held I/O belongs to the kernel of one
 * node: when the satellite is killed nobody else, on this node or another, would resume it.
 *
 * One guard for each resource that is held, begun before its I/O is suspended. It ends without doing anything when it is told that
 * the I/O runs again; when the satellite's end of the pipe closes, or after twice HOLD_MAX_MS, it lets go. A satellite that starts waits
 * for guards of an earlier one, so that none of them lets go what is held anew.
 *
 * The program is the satellite's own, as `outrigger-satellite hold-guard PATH`: PATH is where it looks for programs; what is held comes by
 * standard input.
 *
 * Threads: enable before any other; begin and end block, any thread. Ownership: nothing is kept of what is passed in but program. */
#ifndef SATELLITE_LAYER_HOLD_GUARD_H
#define SATELLITE_LAYER_HOLD_GUARD_H

#include "satellite/base/trouble.h"
#include "wire/def/types.h"

#define HOLD_GUARD_WORD "hold-guard" /* of the command line */

/* From now on there are guards. dir: the satellite's; program: the satellite, NULL: this one; timeout_ms: when a guard lets go
 * although the satellite is there, 0: twice HOLD_MAX_MS. Waits up to 10 s for guards of before. 0, -errno. */
int hold_guard_enable(const char *dir, const char *program, unsigned timeout_ms) MUST_USE;
/* Has a guard for the resource, once. 0, also when there are to be no guards; -errno, explained. */
int hold_guard_begin(const struct sat_rsc *r, struct trouble *t) MUST_USE;
/* Its I/O runs again. */
void hold_guard_end(const char *rsc_name);
/* The guard itself: its arguments after the word. The layers that can hold are registered. Returns the exit status. */
int hold_guard_main(int argc, char **argv);

#endif
