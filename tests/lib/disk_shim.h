/* The disk below a directory, simulated at every single call: a program that links tests/lib/disk_shim.c has its
 * writes and syncs, and those of the libraries in it, pass through here. Each call can fail, or be the last one
 * before the power goes; what was not synced is then lost or torn.
 *
 * Files are seen as the kernel's cache shows them, also through memory maps; what would survive is kept aside.
 * Threads: any. Ownership: one shim for the process; nothing is freed. */
#ifndef TESTS_LIB_DISK_SHIM_H
#define TESTS_LIB_DISK_SHIM_H

#include <stdint.h>

enum disk_fault_kind {
        DISK_SOUND,
        DISK_EIO,    /* half is written, then an error; a failed sync loses what it should have written */
        DISK_ENOSPC, /* as EIO */
        DISK_SHORT,  /* half is written, and that is what the call returns */
        DISK_CRASH_BEFORE, /* the power goes before the call */
        DISK_CRASH_AFTER,
        DISK_FAULTS_N
};
#define DISK_EXIT_CRASHED 99 /* exit code of the process after a crash */

struct disk_fault {
        enum disk_fault_kind kind;
        uint64_t at; /* the number of the call, from 1 on */
        uint64_t seed;
        unsigned grain; /* of what survives: 512 or 4096 bytes; 0 = nothing unsynced does */
};
/* From now on, for files below dir. Calls are counted from here. */
void disk_shim_arm(const char *dir, const struct disk_fault *fault);
/* Calls since then. */
uint64_t disk_shim_calls(void);
/* The power goes now: the files become what survives. */
void disk_shim_crash(void);

#endif
