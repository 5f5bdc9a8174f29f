#include "satellite/provider/loopdev.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define ATTACH_TRIES 64
#define NODE_WAIT_MS 2000    /* for udev or devtmpfs to make the node of a new device */
#define RELEASE_WAIT_MS 1000 /* for probing programs such as blkid to close it again */
#define POLL_MS 20
#define LOOP_MAJOR_N 7
#define LOOP_BLOCK_SIZE \
        512 /* bytes; fixed, so that a file system in it does not see it change with the host */

static void sleep_ms(long ms)
{
        struct timespec ts = { .tv_nsec = ms * 1000000L };
        nanosleep(&ts, NULL);
}

static bool has_holders(unsigned number)
{
        char path[64];
        snprintf(path, sizeof path, "/sys/block/loop%u/holders", number);
        DIR *d = opendir(path);
        if (d == NULL) return false;
        bool found = false;
        const struct dirent *e;
        while (!found && (e = readdir(d)) != NULL) found = e->d_name[0] != '.';
        closedir(d);
        return found;
}

/* The loop devices that are mounted. */
static int read_mounts(struct arena *a, struct loop_table *ret)
{
        FILE *f = fopen("/proc/self/mountinfo", "re");
        if (f == NULL) return 0;
        char *line = NULL;
        size_t size = 0;
        uint32_t cap = 0;
        int err = 0;
        while (err == 0 && getline(&line, &size, f) > 0) {
                unsigned maj, min;
                if (sscanf(line, "%*u %*u %u:%u", &maj, &min) != 2 || maj != LOOP_MAJOR_N) continue;
                if (ret->mounted_n == cap) {
                        uint32_t more = cap == 0 ? 32 : cap * 2;
                        unsigned *bigger = arena_array(a, unsigned, more);
                        if (bigger == NULL) err = E_TOO_LARGE;
                        else if (cap > 0) memcpy(bigger, ret->mounted, cap * sizeof *bigger);
                        if (err != 0) break;
                        ret->mounted = bigger;
                        cap = more;
                }
                ret->mounted[ret->mounted_n++] = min;
        }
        free(line);
        fclose(f);
        return err;
}

int loop_table_read(struct arena *a, struct loop_table *ret)
{
        *ret = (struct loop_table){ 0 };
        int err = looptab_refresh(true);
        if (err == 0) err = looptab_copy(a, &ret->entries, &ret->n);
        return err == 0 ? read_mounts(a, ret) : err;
}

static bool is_mounted(const struct loop_table *table, unsigned number)
{
        struct arena a = { 0 };
        struct loop_table now = { 0 };
        bool found = false;
        if (table == NULL && read_mounts(&a, &now) == 0) table = &now;
        for (uint32_t i = 0; table != NULL && !found && i < table->mounted_n; i++)
                found = table->mounted[i] == number;
        arena_done(&a);
        return found;
}

/* Does fd, a loop device, have the inode? */
static bool bound_to(int fd, const struct stat *st)
{
        struct loop_info64 info;
        memset(&info, 0, sizeof info);
        if (ioctl(fd, LOOP_GET_STATUS64, &info) != 0) return false;
        return info.lo_inode == (uint64_t)st->st_ino && info.lo_device == (uint64_t)st->st_dev;
}

/* table: with what is mounted, or NULL to find out. */
static void fill_state(const struct loop_table *table, unsigned number, bool deleted, struct loop_state *ret)
{
        char path[64], text[32];
        snprintf(ret->path, sizeof ret->path, "/dev/loop%u", number);
        snprintf(path, sizeof path, "/sys/block/loop%u/size", number);
        ret->size_kib = looptab_line(path, text, sizeof text) > 0 ? strtoull(text, NULL, 10) / 2 : 0;
        ret->deleted = deleted;
        ret->in_use = has_holders(number) || is_mounted(table, number);
}

static const char *base_name(const char *path)
{
        const char *slash = strrchr(path, '/');
        return slash == NULL ? path : slash + 1;
}

/* Is the device's file the one that is looked for? path matters when st is NULL. */
static int check(const struct loop_table *table, unsigned number, const struct stat *st, const char *path,
        struct loop_state *ret)
{
        char file[LOOP_FILE_SIZE];
        bool deleted;
        if (!looptab_file(number, file, &deleted)) return E_NOT_FOUND;
        if (st == NULL) {
                if (!deleted || strcmp(file, path) != 0) return E_NOT_FOUND;
        } else {
                char device[LOOP_PATH_SIZE];
                snprintf(device, sizeof device, "/dev/loop%u", number);
                int fd = open(device, O_RDONLY | O_CLOEXEC);
                bool same = fd >= 0 && bound_to(fd, st);
                if (fd >= 0) close(fd);
                if (!same) return E_NOT_FOUND;
        }
        fill_state(table, number, deleted, ret);
        return 0;
}

int loop_check(const char *device_path, const struct stat *st, struct loop_state *ret)
{
        unsigned number;
        if (!looptab_number(device_path, &number)) return E_NOT_FOUND;
        return check(NULL, number, st, NULL, ret);
}

/* First those at the path, so that devices of others, with files of the same name elsewhere, are left alone;
 * then those with the name: the path may have changed since. */
static int find_known(const struct stat *st, const char *path, struct loop_state *ret)
{
        for (unsigned i = 0; looptab_next(path, &i); i++)
                if (check(NULL, i, st, path, ret) == 0) return 0;
        if (st == NULL) return E_NOT_FOUND;
        for (unsigned i = 0; looptab_next(base_name(path), &i); i++)
                if (check(NULL, i, st, path, ret) == 0) return 0;
        return E_NOT_FOUND;
}

int loop_find(const struct stat *st, const char *path, struct loop_state *ret)
{
        if (find_known(st, path, ret) == 0) return 0;
        int err = looptab_refresh(false);
        return err != 0 ? err : find_known(st, path, ret);
}

int loop_find_in(
        const struct loop_table *table, const struct stat *st, const char *path, struct loop_state *ret)
{
        const char *base = base_name(path);
        for (int exact = 1; exact >= 0; exact--)
                for (uint32_t i = 0; i < table->n; i++) {
                        const struct loop_entry *e = &table->entries[i];
                        if (strcmp(base_name(e->file), base) != 0) continue;
                        if ((strcmp(e->file, path) == 0) != (exact == 1)) continue;
                        if (check(table, e->number, st, path, ret) == 0) return 0;
                }
        return E_NOT_FOUND;
}

/* Opens the node of a device that the kernel may have made just now. */
static int open_node(const char *device_path)
{
        for (int waited = 0;; waited += POLL_MS) {
                int fd = open(device_path, O_RDWR | O_CLOEXEC);
                if (fd >= 0 || (errno != ENOENT && errno != ENXIO) || waited >= NODE_WAIT_MS) return fd;
                sleep_ms(POLL_MS);
        }
}

/* 0 or a positive errno. */
static int bind_old(int loop, int fd, const struct loop_config *config)
{
        if (ioctl(loop, LOOP_SET_FD, fd) != 0) return errno;
        struct loop_info64 info = config->info;
        info.lo_flags = 0;
        if (ioctl(loop, LOOP_SET_STATUS64, &info) != 0) {
                int err = errno;
                ioctl(loop, LOOP_CLR_FD);
                return err;
        }
        if (ioctl(loop, LOOP_SET_DIRECT_IO, 1UL) != 0) return 0; /* a matter of speed only */
        return 0;
}

static int bind_loop(int loop, int fd, const char *file_path)
{
        struct loop_config config;
        memset(&config, 0, sizeof config);
        config.fd = (uint32_t)fd;
        config.block_size = LOOP_BLOCK_SIZE;
        config.info.lo_flags = LO_FLAGS_DIRECT_IO;
        snprintf((char *)config.info.lo_file_name, sizeof config.info.lo_file_name, "%s", file_path);
        if (ioctl(loop, LOOP_CONFIGURE, &config) == 0) return 0;
        if (errno == EBUSY) return EBUSY;
        if (errno == ENOTTY) return bind_old(loop, fd, &config);
        /* Some kernels refuse direct I/O instead of doing without. */
        config.info.lo_flags = 0;
        if (ioctl(loop, LOOP_CONFIGURE, &config) == 0) return 0;
        return errno == EINVAL ? bind_old(loop, fd, &config) : errno;
}

int loop_attach(int fd, const char *file_path, char ret_device[LOOP_PATH_SIZE], struct trouble *t)
{
        int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
        if (control < 0) {
                int err = trouble_errno(
                        t, errno, "There are no loop devices on this machine (/dev/loop-control)");
                trouble_fix(
                        t, "Load the kernel module: modprobe loop. A container needs the devices handed in.");
                return err;
        }
        int err = EBUSY;
        for (int i = 0; i < ATTACH_TRIES && err == EBUSY; i++) {
                int number = ioctl(control, LOOP_CTL_GET_FREE);
                if (number < 0) {
                        err = errno;
                        break;
                }
                snprintf(ret_device, LOOP_PATH_SIZE, "/dev/loop%d", number);
                int loop = open_node(ret_device);
                if (loop < 0) {
                        err = errno;
                        break;
                }
                err = bind_loop(loop, fd, file_path); /* EBUSY: somebody else was faster */
                close(loop);
                if (err == 0) looptab_update((unsigned)number);
        }
        close(control);
        if (err == 0) return 0;
        return trouble_errno(t, err, "%s cannot be made a loop device", file_path);
}

int loop_refresh(const char *device_path, struct trouble *t)
{
        int fd = open(device_path, O_RDWR | O_CLOEXEC);
        if (fd < 0) return trouble_errno(t, errno, "%s cannot be opened", device_path);
        int err = ioctl(fd, LOOP_SET_CAPACITY) == 0 ? 0 : errno;
        close(fd);
        return err == 0 ? 0 : trouble_errno(t, err, "%s does not take over the new size", device_path);
}

static int busy(const char *device_path, struct trouble *t)
{
        trouble_errno(t, EBUSY, "%s is in use", device_path);
        return E_BUSY;
}

int loop_check_idle(const char *device_path, struct trouble *t)
{
        for (int waited = 0;; waited += POLL_MS) {
                int fd = open(device_path, O_RDONLY | O_EXCL | O_CLOEXEC);
                if (fd >= 0) {
                        close(fd);
                        return 0;
                }
                if (errno == ENXIO || errno == ENOENT) return 0;
                if (errno != EBUSY) return trouble_errno(t, errno, "%s cannot be opened", device_path);
                if (waited >= RELEASE_WAIT_MS) return busy(device_path, t);
                sleep_ms(POLL_MS);
        }
}

/* Clearing a device that others have open only marks it to be cleared by the last of them. Takes that mark
 * back. */
static void keep_bound(const char *device_path)
{
        int fd = open(device_path, O_RDWR | O_CLOEXEC);
        if (fd < 0) return;
        struct loop_info64 info;
        if (ioctl(fd, LOOP_GET_STATUS64, &info) == 0) {
                info.lo_flags &= ~(uint32_t)LO_FLAGS_AUTOCLEAR;
                if (ioctl(fd, LOOP_SET_STATUS64, &info) != 0)
                        info.lo_flags = 0; /* it goes with its last user */
        }
        close(fd);
}

/* After LOOP_CLR_FD: the kernel releases the device when its last user closes it. */
static int await_release(const char *device_path, unsigned number, const struct stat *st, struct trouble *t)
{
        char file[LOOP_FILE_SIZE];
        bool deleted;
        for (int waited = 0; waited < RELEASE_WAIT_MS; waited += POLL_MS) {
                if (!looptab_file(number, file, &deleted)) {
                        looptab_update(number);
                        return 0;
                }
                sleep_ms(POLL_MS);
        }
        struct loop_state state;
        if (st != NULL && loop_check(device_path, st, &state) != 0) return 0; /* another file has it by now */
        keep_bound(device_path);
        return busy(device_path, t);
}

int loop_detach(const char *device_path, const struct stat *st, struct trouble *t)
{
        unsigned number;
        char file[LOOP_FILE_SIZE];
        bool deleted;
        if (!looptab_number(device_path, &number))
                return trouble_errno(t, EINVAL, "%s is no loop device", device_path);
        if (!looptab_file(number, file, &deleted)) return 0;
        int err = loop_check_idle(device_path, t);
        if (err != 0) return err;
        int fd = open(device_path, O_RDWR | O_EXCL | O_CLOEXEC);
        if (fd < 0)
                return errno == EBUSY ? busy(device_path, t)
                                      : trouble_errno(t, errno, "open %s", device_path);
        if (st != NULL ? !bound_to(fd, st) : !deleted) {
                close(fd);
                return 0; /* another file has it by now: not ours to touch */
        }
        err = ioctl(fd, LOOP_CLR_FD) == 0 || errno == ENXIO ? 0 : errno;
        close(fd);
        if (err != 0) return trouble_errno(t, err, "%s cannot be released", device_path);
        return await_release(device_path, number, st, t);
}
