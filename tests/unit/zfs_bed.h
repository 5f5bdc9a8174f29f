/* The programs of ZFS replaced by tests/lib/fake_zfs, in a directory of its own, and the devices by what that says.
 *
 * Threads: one. Ownership: bed_done() frees. */
#ifndef TESTS_UNIT_ZFS_BED_H
#define TESTS_UNIT_ZFS_BED_H

#include "satellite/base/exec.h"
#include "satellite/provider/provider.h"

#define BED_POOL_BYTES (UINT64_C(64) << 20)
#define BED_PLACE "tank/p"

/* A pool tank with a dataset tank/p. */
void zfs_bed_init(void);
void zfs_bed_done(void);
/* Runs `zfs WORDS...`; what it prints, until the next call. Fails the test unless it succeeds. */
const char *zfs_bed_run(const char *const *words);
#define FAKE(...) zfs_bed_run((const char *const[]){ "zfs", __VA_ARGS__, NULL })
/* The next `count` commands of the verb go wrong; kinds as in tests/lib/fake_zfs. */
void zfs_bed_fault(const char *verb, const char *kind, unsigned count);
/* Somebody has the volume's device open, or not. */
void zfs_bed_open(const char *name, bool open);
/* The commands that were run, one a line. Frees: caller. */
char *zfs_bed_log(void);

#endif
