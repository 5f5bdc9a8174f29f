/* Kernel modules.
 *
 * Threads: any but the loop's; blocks, for 15 s at most. */
#ifndef SATELLITE_BASE_MODPROBE_H
#define SATELLITE_BASE_MODPROBE_H

#include "satellite/base/trouble.h"

/* Loads the module; one that somebody else is just loading is waited for. 0 also when it is there already, or is no module of this kernel
 * but a part of it; else as exec_run(), explained in t (may be NULL). */
int modprobe(const char *module, struct trouble *t);
/* The same where what is missing shows itself later: a failure is only told in the log. */
void modprobe_try(const char *module);

#endif
