/* Makes a pool out of disks: a volume group, with a thin pool in it, or a ZFS pool. See controller/op/disk_pool.h for the phases.
 *
 * Nothing is ever wiped to make room: a disk that is used, or on which libblkid finds anything, is refused, and the programs are run
 * without the options that would let them overwrite a signature. What is made carries the uuid of the wanted pool (physical volumes: a
 * PV UUID that follows from it; volume groups and thin pools: a tag; ZFS pools: a property), so that an attempt that was interrupted
 * is gone on with, by this very row and no other. An attempt that fails is undone; only things with that mark are touched then.
 *
 * Threads: blocks, in pool threads. Ownership: want is borrowed. */
#ifndef SATELLITE_PROVIDER_DISK_POOL_H
#define SATELLITE_PROVIDER_DISK_POOL_H

#include "satellite/provider/disks.h"

#define DISK_POOL_DISKS_MAX 64

struct disk_pool_env {
        const char *sys, *dev, *proc; /* "/sys", "/dev", "/proc"; others in tests */
        bool fakes;                   /* tests: it does not matter what the node lacks for the kind */
};
/* CHECK: 0 when it could be made. MAKE: 0 when it is there. Idempotent. Else explained in t. */
int disk_pool_work(
        const struct disk_pool_env *env, const struct sat_disk_pool *want, struct trouble *t) MUST_USE;

/* ---- shared by its parts ---- */
struct disk_job {
        const struct disk_pool_env *env;
        const struct sat_disk_pool *want;
        struct arena *arena;
        const char **
                real; /* paths of the disks, in order of want->devices; set for those that are free or already ours */
        bool *ours; /* taken by an earlier attempt: not looked at again */
        bool began; /* this attempt has changed disks */
};
/* All disks that are not ours are free, and no two are the same. */
int disk_job_look(struct disk_job *j, bool zfs_begun, struct trouble *t) MUST_USE;
/* The arguments as one text, for the parsers of options. */
const char *disk_job_words(struct disk_job *j, const char **words, uint32_t n);
int disk_job_bad_option(struct trouble *t, const char *program, const struct fail *f);
int disk_job_taken(struct trouble *t, const char *what, const char *name);

/* disk_pool_lvm.c, disk_pool_zfs.c: check, make, and undo what failed (returns false: something is left). */
int disk_pool_lvm_check(struct disk_job *j, struct trouble *t) MUST_USE;
int disk_pool_lvm_make(struct disk_job *j, struct trouble *t) MUST_USE;
bool disk_pool_lvm_undo(struct disk_job *j);
int disk_pool_zfs_check(struct disk_job *j, struct trouble *t) MUST_USE;
int disk_pool_zfs_make(struct disk_job *j, struct trouble *t) MUST_USE;
bool disk_pool_zfs_undo(struct disk_job *j);

#endif
