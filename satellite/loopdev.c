#include "satellite/loopdev.h"

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

#define DELETED_MARK " (deleted)"
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

/* The content of a small sysfs file without the newline. Length, or -1. */
static ssize_t read_line(const char *path, char *out, size_t size)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) return -1;
        ssize_t n = read(fd, out, size - 1);
        close(fd);
        if (n < 0) return -1;
        if (n > 0 && out[n - 1] == '\n') n--;
        out[n] = '\0';
        return n;
}

/* The file of loop device `number`; false when it is not bound. */
static bool backing_file(unsigned number, char out[PATH_MAX + 32], bool *ret_deleted)
{
        char path[64];
        snprintf(path, sizeof path, "/sys/block/loop%u/loop/backing_file", number);
        ssize_t n = read_line(path, out, PATH_MAX + 32);
        if (n <= 0) return false;
        size_t mark = sizeof DELETED_MARK - 1;
        *ret_deleted = (size_t)n > mark && strcmp(out + n - mark, DELETED_MARK) == 0;
        if (*ret_deleted) out[(size_t)n - mark] = '\0';
        return true;
}

/* The number in "loopN" or "/dev/loopN"; false for anything else. */
static bool loop_number(const char *name, unsigned *ret)
{
        if (strncmp(name, "/dev/", 5) == 0) name += 5;
        if (strncmp(name, "loop", 4) != 0 || name[4] < '0' || name[4] > '9') return false;
        char *end;
        unsigned long n = strtoul(name + 4, &end, 10);
        if (*end != '\0' || n > 1U << 20) return false;
        *ret = (unsigned)n;
        return true;
}

int loop_table_read(struct arena *a, struct loop_table *ret)
{
        *ret = (struct loop_table){ 0 };
        DIR *d = opendir("/sys/block");
        if (d == NULL) return errno == ENOENT ? 0 : -errno;
        uint32_t cap = 0;
        const struct dirent *e;
        char file[PATH_MAX + 32];
        while ((e = readdir(d)) != NULL) {
                struct loop_entry entry;
                if (!loop_number(e->d_name, &entry.number)) continue;
                if (!backing_file(entry.number, file, &entry.deleted)) continue;
                entry.file = arena_strdup(a, file);
                if (ret->n == cap) {
                        uint32_t more = cap == 0 ? 32 : cap * 2;
                        struct loop_entry *bigger = arena_array(a, struct loop_entry, more);
                        if (bigger == NULL) {
                                closedir(d);
                                return E_TOO_LARGE;
                        }
                        if (ret->n > 0) memcpy(bigger, ret->entries, ret->n * sizeof *bigger);
                        ret->entries = bigger;
                        cap = more;
                }
                ret->entries[ret->n++] = entry;
        }
        closedir(d);
        return 0;
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

static bool is_mounted(unsigned number)
{
        FILE *f = fopen("/proc/self/mountinfo", "re");
        if (f == NULL) return false;
        char *line = NULL;
        size_t cap = 0;
        bool found = false;
        while (!found && getline(&line, &cap, f) > 0) {
                unsigned id, parent, maj, min;
                found = sscanf(line, "%u %u %u:%u", &id, &parent, &maj, &min) == 4 && maj == LOOP_MAJOR_N &&
                        min == number;
        }
        free(line);
        fclose(f);
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

static void fill_state(unsigned number, bool deleted, struct loop_state *ret)
{
        char path[64], text[32];
        snprintf(ret->path, sizeof ret->path, "/dev/loop%u", number);
        snprintf(path, sizeof path, "/sys/block/loop%u/size", number);
        ret->size_kib = read_line(path, text, sizeof text) > 0 ? strtoull(text, NULL, 10) / 2 : 0;
        ret->deleted = deleted;
        ret->in_use = has_holders(number) || is_mounted(number);
}

static const char *base_name(const char *path)
{
        const char *slash = strrchr(path, '/');
        return slash == NULL ? path : slash + 1;
}

int loop_check(const char *device_path, const struct stat *st, struct loop_state *ret)
{
        unsigned number;
        if (!loop_number(device_path, &number)) return E_NOT_FOUND;
        char file[PATH_MAX + 32];
        bool deleted;
        if (!backing_file(number, file, &deleted)) return E_NOT_FOUND;
        int fd = open(device_path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) return E_NOT_FOUND;
        bool same = bound_to(fd, st);
        close(fd);
        if (!same) return E_NOT_FOUND;
        fill_state(number, deleted, ret);
        return 0;
}

int loop_find(const struct loop_table *table, const struct stat *st, const char *path, struct loop_state *ret)
{
        const char *base = base_name(path);
        for (uint32_t i = 0; i < table->n; i++) {
                const struct loop_entry *e = &table->entries[i];
                if (st == NULL) {
                        if (!e->deleted || strcmp(e->file, path) != 0) continue;
                        fill_state(e->number, true, ret);
                        return 0;
                }
                if (strcmp(base_name(e->file), base) != 0) continue;
                char device[LOOP_PATH_SIZE];
                snprintf(device, sizeof device, "/dev/loop%u", e->number);
                if (loop_check(device, st, ret) == 0) return 0;
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
        char file[PATH_MAX + 32];
        bool deleted;
        for (int waited = 0; waited < RELEASE_WAIT_MS; waited += POLL_MS) {
                if (!backing_file(number, file, &deleted)) return 0;
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
        char file[PATH_MAX + 32];
        bool deleted;
        if (!loop_number(device_path, &number))
                return trouble_errno(t, EINVAL, "%s is no loop device", device_path);
        if (!backing_file(number, file, &deleted)) return 0;
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
