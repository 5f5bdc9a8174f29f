#include "satellite/provider/zvol.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define ZVOL_NAME_SIZE 256
#define ZVOL_GET_NAME \
        _IOR(0x12, 125, char[ZVOL_NAME_SIZE]) /* of ZFS: the name of the volume behind a device */
#define LOOK_EVERY_MS 100
#define UDEV_MS 3000 /* after that the stable name is made here */
#define SECTORS_PER_KIB 2

static void stable_name(const char *name, char out[ZVOL_PATH_SIZE])
{
        snprintf(out, ZVOL_PATH_SIZE, ZVOL_DIR "/%s", name);
}

static bool is_device_of(const char *path, const char *name)
{
        char real[ZVOL_NAME_SIZE] = "";
        int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0) return false;
        bool same = ioctl(fd, ZVOL_GET_NAME, real) == 0 && strncmp(real, name, sizeof real) == 0;
        close(fd);
        return same;
}

/* First line of a file of the device in sysfs. */
static bool sysfs_line(dev_t number, const char *file, char *out, size_t size)
{
        char path[128];
        snprintf(path, sizeof path, "/sys/dev/block/%u:%u/%s", major(number), minor(number), file);
        FILE *f = fopen(path, "re");
        if (f == NULL) return false;
        bool got = fgets(out, (int)size, f) != NULL;
        fclose(f);
        return got;
}

static bool has_holders(dev_t number)
{
        char path[128];
        snprintf(path, sizeof path, "/sys/dev/block/%u:%u/holders", major(number), minor(number));
        DIR *d = opendir(path);
        bool found = false;
        for (struct dirent *e; d != NULL && !found && (e = readdir(d)) != NULL;) found = e->d_name[0] != '.';
        if (d != NULL) closedir(d);
        return found;
}

static bool is_mounted(dev_t number)
{
        FILE *f = fopen("/proc/self/mountinfo", "re");
        char *line = NULL;
        size_t cap = 0;
        bool found = false;
        while (f != NULL && !found && getline(&line, &cap, f) > 0) {
                unsigned maj, min;
                found = sscanf(line, "%*d %*d %u:%u", &maj, &min) == 2 && makedev(maj, min) == number;
        }
        free(line);
        if (f != NULL) fclose(f);
        return found;
}

/* 0 when path leads to the device of the volume. */
static int look_at(const char *path, const char *name, struct zvol *ret)
{
        struct stat st;
        char text[32], real[ZVOL_PATH_SIZE];
        ssize_t n = readlink(path, real, sizeof real - 1);
        if (stat(path, &st) != 0) return errno == ENOENT ? E_NOT_FOUND : -errno;
        if (!S_ISBLK(st.st_mode) || !is_device_of(path, name)) return E_NOT_FOUND;
        real[n > 0 ? n : 0] = '\0';
        const char *base = n > 0 ? strrchr(real, '/') : strrchr(path, '/');
        snprintf(ret->node, sizeof ret->node, "/dev/%.32s", base != NULL ? base + 1 : real);
        snprintf(ret->path, sizeof ret->path, "%s", path);
        ret->size_kib = sysfs_line(st.st_rdev, "size", text, sizeof text)
                                ? strtoull(text, NULL, 10) / SECTORS_PER_KIB
                                : 0;
        ret->in_use = has_holders(st.st_rdev) || is_mounted(st.st_rdev);
        return 0;
}

static int find_real(const char *name, struct zvol *ret)
{
        char path[ZVOL_PATH_SIZE];
        *ret = (struct zvol){ 0 };
        stable_name(name, path);
        ret->linked = look_at(path, name, ret) == 0;
        if (ret->linked) return 0;
        DIR *d = opendir("/sys/block");
        if (d == NULL) return -errno;
        int err = E_NOT_FOUND;
        for (struct dirent *e; err != 0 && (e = readdir(d)) != NULL;) {
                if (strncmp(e->d_name, "zd", 2) != 0) continue;
                snprintf(path, sizeof path, "/dev/%.32s", e->d_name);
                err = look_at(path, name, ret) == 0 ? 0 : E_NOT_FOUND;
        }
        closedir(d);
        return err;
}

/* As udev's rule would. */
static int link_real(const char *name, const char *node)
{
        char path[ZVOL_PATH_SIZE];
        stable_name(name, path);
        if (unlink(path) != 0 && errno != ENOENT) return -errno;
        if (node == NULL) return 0;
        for (char *p = path + strlen("/dev/"); (p = strchr(p, '/')) != NULL; p++) {
                *p = '\0';
                if (mkdir(path, 0755) != 0 && errno != EEXIST) return -errno;
                *p = '/';
        }
        return symlink(node, path) == 0 || errno == EEXIST ? 0 : -errno;
}

static const struct zvol_world real_world = { .find = find_real, .link = link_real };
static const struct zvol_world *world = &real_world;

void zvol_set_world(const struct zvol_world *w) { world = w != NULL ? w : &real_world; }

int zvol_find(const char *name, struct zvol *ret) { return world->find(name, ret); }

static void pause_a_moment(void)
{
        static const struct timespec t = { .tv_nsec = LOOK_EVERY_MS * 1000000L };
        (void)nanosleep(&t, NULL);
}

int zvol_wait(const char *name, unsigned timeout_ms, struct zvol *ret)
{
        unsigned there_ms = 0;
        for (unsigned waited = 0;; waited += LOOK_EVERY_MS) {
                int err = zvol_find(name, ret);
                if (err == 0 && ret->linked) return 0;
                if (err == 0 && there_ms >= UDEV_MS) {
                        err = world->link(name, ret->node);
                        return err != 0 ? err : zvol_find(name, ret);
                }
                if (err != 0 && err != E_NOT_FOUND) return err;
                if (err != 0 && waited >= timeout_ms) return E_TIMEOUT;
                there_ms += err == 0 ? LOOK_EVERY_MS : 0;
                pause_a_moment();
        }
}

int zvol_wait_gone(const char *name, unsigned timeout_ms)
{
        struct zvol z;
        for (unsigned waited = 0;; waited += LOOK_EVERY_MS) {
                int err = zvol_find(name, &z);
                if (err == E_NOT_FOUND) return world->link(name, NULL);
                if (err != 0) return err;
                if (waited >= timeout_ms) return E_TIMEOUT;
                pause_a_moment();
        }
}
