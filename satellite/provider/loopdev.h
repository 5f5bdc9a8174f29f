/* Loop devices, by ioctl and sysfs. A device belongs to a file when both name the same inode; names alone
 * prove nothing.
 *
 * Threads: any; everything blocks. Ownership: tables live in the caller's arena. */
#ifndef SATELLITE_PROVIDER_LOOPDEV_H
#define SATELLITE_PROVIDER_LOOPDEV_H

#include <sys/stat.h>

#include "satellite/base/trouble.h"
#include "satellite/provider/looptab.h"

#define LOOP_PATH_SIZE 32 /* "/dev/loop" and a number */

struct loop_table {
        struct loop_entry *entries;
        uint32_t n;
        unsigned *mounted; /* their numbers, in the satellite's mount namespace */
        uint32_t mounted_n;
};
/* Every bound loop device of the machine, all read anew. Empty when there are none. */
int loop_table_read(struct arena *a, struct loop_table *ret) MUST_USE;

struct loop_state {
        char path[LOOP_PATH_SIZE];
        uint64_t size_kib;
        bool in_use;  /* has holders, or is mounted in the satellite's mount namespace */
        bool deleted; /* its file has been deleted */
};
/* The device of the file at path (as the kernel shows it: without symbolic links). st NULL: the file is gone,
 * the device of its deleted inode is looked for. E_NOT_FOUND when there is none; another error: the devices
 * could not be listed. */
int loop_find(const struct stat *st, const char *path, struct loop_state *ret) MUST_USE;
/* The same within a table that was read just now: for listings. */
int loop_find_in(const struct loop_table *table, const struct stat *st, const char *path,
        struct loop_state *ret) MUST_USE;
/* The same for one known device. */
int loop_check(const char *device_path, const struct stat *st, struct loop_state *ret) MUST_USE;

/* Binds fd to a free device, with direct I/O when the file system can. */
int loop_attach(int fd, const char *file_path, char ret_device[LOOP_PATH_SIZE], struct trouble *t) MUST_USE;
/* The device takes over the file's size. */
int loop_refresh(const char *device_path, struct trouble *t) MUST_USE;
/* E_BUSY and the device as it was, when somebody has it open. st as above. 0 when it is gone already. */
int loop_detach(const char *device_path, const struct stat *st, struct trouble *t) MUST_USE;
/* E_BUSY when somebody holds the device exclusively (mounts, holders, swap, targets). A short exclusive open:
 * only for moments in which the device is about to be changed. */
int loop_check_idle(const char *device_path, struct trouble *t) MUST_USE;

#endif
