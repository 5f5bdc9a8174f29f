/* ZFS pools out of disks, see disk_pool.h.
 *
 * zpool puts a partition table on each disk before the pool is made, in one call of the kernel, with our property. When it dies in
 * between, disks have that table with nothing in it: in phase MAKE, which began with empty disks, such a disk is gone on with. zpool
 * runs without -f, so that it refuses disks on which it finds anything. */
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "satellite/base/wipe.h"
#include "satellite/provider/disk_pool.h"
#include "satellite/provider/zfs_cmd.h"
#include "satellite/provider/zfs_options.h"

#define MADE_MARK "outrigger:made"

struct found {
        bool pool, ours;
};

static int look(struct disk_job *j, struct found *ret, struct trouble *t)
{
        struct zfs_args c = { 0 };
        const char *out = "";
        struct trouble own;
        ZFS_ARGS(&c, "zfs", "get", "-H", "-o", "value", MADE_MARK, j->want->place);
        int err = zfs_output(&c, j->arena, &out, &own);
        *ret = (struct found){ 0 };
        if (err == E_NOT_FOUND && own.code == TROUBLE_POOL && exec_exists("zfs")) return 0;
        if (err != 0) {
                if (t != NULL) *t = own;
                return err;
        }
        size_t n = strcspn(out, "\n");
        ret->pool = true;
        ret->ours = n == strlen(j->want->uuid) && strncmp(out, j->want->uuid, n) == 0;
        return 0;
}

static int parse(struct disk_job *j, struct zfs_options *o, struct trouble *t)
{
        struct fail f = { 0 };
        const char *text = disk_job_words(j, j->want->zpool_arguments, j->want->zpool_arguments_n);
        return zpool_options_parse(text, j->arena, o, &f) == 0 ? 0
                                                               : disk_job_bad_option(t, "zpool create", &f);
}

int disk_pool_zfs_check(struct disk_job *j, struct trouble *t)
{
        struct zfs_options o;
        struct found f;
        int err = parse(j, &o, t);
        if (err == 0) err = look(j, &f, t);
        if (err != 0 || f.ours) return err;
        return f.pool ? disk_job_taken(t, "ZFS pool", j->want->place) : disk_job_look(j, false, t);
}

int disk_pool_zfs_make(struct disk_job *j, struct trouble *t)
{
        struct zfs_args c = { 0 };
        struct zfs_options o;
        struct found f;
        int err = parse(j, &o, t);
        if (err == 0) err = look(j, &f, t);
        if (err != 0 || f.ours) return err;
        if (f.pool) return disk_job_taken(t, "ZFS pool", j->want->place);
        err = disk_job_look(j, true, t);
        if (err != 0) return err;
        ZFS_ARGS(&c, "zpool", "create", "-m", "none", "-O",
                arena_printf(j->arena, "%s=%s", MADE_MARK, j->want->uuid));
        for (unsigned i = 0; i < o.n; i++) zfs_arg(&c, o.words[i]);
        zfs_arg(&c, j->want->place);
        for (uint32_t i = 0; i < j->want->devices_n; i++) zfs_arg(&c, j->real[i]);
        j->began = true;
        return zfs_run(&c, j->arena, t);
}

/* The disk is as it was: its empty partition table goes. */
static bool clear(const char *path)
{
        int fd;
        if (wipe_device(path) != 0 || (fd = open(path, O_RDWR | O_CLOEXEC)) < 0) return false;
        (void)ioctl(fd, BLKRRPART);
        close(fd);
        return true;
}

bool disk_pool_zfs_undo(struct disk_job *j)
{
        struct found f;
        bool clean = true;
        if (look(j, &f, NULL) != 0 || f.ours) return false;
        for (uint32_t i = 0; i < j->want->devices_n; i++)
                if (j->real[i] != NULL && disk_is_zfs_begun(j->real[i]))
                        clean = j->began && clear(j->real[i]) && clean;
        return clean;
}
