/* Running zfs and zpool for the ZFS providers: arguments without a shell, deadlines, errors told in terms of pools, tables read.
 *
 * Threads: all functions block, any thread. Ownership: results live in the arena. */
#ifndef SATELLITE_PROVIDER_ZFS_CMD_H
#define SATELLITE_PROVIDER_ZFS_CMD_H

#include "satellite/base/exec.h"
#include "satellite/provider/zfs_report.h"

#define ZFS_ARGS_MAX 192

/* A command that grows; argv[0] is the program. */
struct zfs_args {
        const char *argv[ZFS_ARGS_MAX + 1];
        unsigned n;
};
void zfs_arg(struct zfs_args *c, const char *word);
#define ZFS_ARGS(c, ...)                                                                    \
        do {                                                                                \
                const char *const words_[] = { __VA_ARGS__ };                               \
                for (size_t w_ = 0; w_ < ARRAY_LEN(words_); w_++) zfs_arg((c), words_[w_]); \
        } while (0)

/* How long a program may take; for tests. Before any other thread starts. */
void zfs_set_deadline(unsigned ms);
/* Runs it. 0; E_BUSY: the dataset is in use (after some tries); E_NO_SPACE; E_NOT_FOUND: no such pool or dataset;
 * E_EXISTS: the name is taken, or snapshots or clones depend on it; E_PROGRAM and what exec_try() says, all explained in t. */
int zfs_run(const struct zfs_args *c, struct arena *a, struct trouble *t) MUST_USE;

/* The same once, and what it printed. */
int zfs_output(const struct zfs_args *c, struct arena *a, const char **ret, struct trouble *t) MUST_USE;

/* Everything of the place: itself, its volumes, and their snapshots. */
int zfs_list(const char *place, struct arena *a, struct zfs_row **ret, uint32_t *ret_n,
        struct trouble *t) MUST_USE;
/* Space of the place and of the pool that it is in; each zeroed when it was not said. */
int zfs_space_of(const char *place, struct arena *a, struct zfs_space *at, struct zfs_space *root,
        struct trouble *t) MUST_USE;
/* Is the pool of the place there, and does it work? E_NOT_FOUND, E_STORAGE. warning (zeroed before): it works, but is not whole. */
int zpool_check(const char *place, struct arena *a, struct trouble *warning, struct trouble *t) MUST_USE;
/* Only what the kernel says without a lock: E_STORAGE when the pool is suspended, so that nobody gets stuck in it. */
int zpool_check_quick(const char *place, struct arena *a, struct trouble *t) MUST_USE;

#endif
