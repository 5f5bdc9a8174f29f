/* Running the programs of lvm2: arguments without a shell, deadlines, errors told in terms of pools.
 *
 * Our own devices and DRBD's are never scanned for physical volumes: those inside belong to the guests that use the volumes.
 *
 * Threads: all functions block, any thread. Ownership: results live in the arena. */
#ifndef SATELLITE_PROVIDER_LVM_CMD_H
#define SATELLITE_PROVIDER_LVM_CMD_H

#include "satellite/base/exec.h"

#define LVM_NO_SCAN                                                                            \
        "devices{filter=[\"r|^/dev/drbd|\",\"r|^/dev/zd|\",\"r|^/dev/nbd|\",\"r|^/dev/mapper/" \
        "(Linstor-Crypt|linstor_(write)?cache)[-_]|\",\"r|^/dev/bcache|\"]}"
#define LVM_ARGS_MAX 32

/* argv[0] is the program, NULL at the end. 0; E_NO_SPACE; E_BUSY: in use; E_PROGRAM and what exec_try() says, all explained in t. ret may
 * be NULL. */
int lvm_run(struct arena *a, struct exec_result *ret, struct trouble *t, const char *const *argv) MUST_USE;
/* The same with the arguments of program, a NULL at their end; those that are to be left out are "". */
int lvm(struct arena *a, struct exec_result *ret, struct trouble *t, const char *program, ...) MUST_USE;
/* Explains a line that the program printed; returns err. */
int lvm_not_understood(struct trouble *t, const char *program, int err, const char *line);

#endif
