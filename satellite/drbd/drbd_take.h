/* Taking a DRBD resource for this node for a moment (Primary), to make a file system or to grow it, and giving it back.
 *
 * A mark in a file says that it was us who took it: a satellite that dies in between gives it back when it looks at the resource
 * again. Who uses it meanwhile keeps it: DRBD refuses then, and the mark goes.
 *
 * Threads: those that work on the resource; blocks. */
#ifndef SATELLITE_DRBD_DRBD_TAKE_H
#define SATELLITE_DRBD_DRBD_TAKE_H

#include <stdbool.h>

#include "satellite/base/trouble.h"

/* 0: it is ours. 1: somebody uses it, here or on another node. Else negative, explained. */
int drbd_take(const char *rsc_name, struct trouble *t) MUST_USE;
int drbd_give_back(const char *rsc_name, struct trouble *t) MUST_USE;
/* Gives back what an earlier satellite took. Quiet: what cannot be done now is done at the next look. */
void drbd_give_back_left(const char *rsc_name);
/* Nothing is left of the resource. */
void drbd_take_forget(const char *rsc_name);

#endif
