#include "wire/base/dir.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where the name of the last part begins; 0 when there is nothing above it. */
static size_t last_part(const char *path)
{
        size_t n = strlen(path);
        while (n > 0 && path[n - 1] == '/') n--;
        while (n > 0 && path[n - 1] != '/') n--;
        return n;
}

static int sync_dir(const char *path, struct fail *f)
{
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int err = fd >= 0 && fsync(fd) == 0 ? 0 : fail_set(f, -errno, "%.200s: %s", path, strerror(errno));
        if (fd >= 0) (void)close(fd);
        return err;
}

/* One directory below one that exists. */
static int make_one(const char *path, mode_t mode, struct fail *f)
{
        char above[PATH_MAX];
        size_t n = last_part(path);
        if (mkdir(path, mode) != 0)
                return errno == EEXIST
                               ? 0
                               : fail_set(f, -errno, "%.200s cannot be made: %s", path, strerror(errno));
        (void)snprintf(above, sizeof above, "%.*s", n > 0 ? (int)n : 1, n > 0 ? path : ".");
        return sync_dir(above, f);
}

int dir_make_above(const char *path, struct fail *f)
{
        char part[PATH_MAX];
        if (strlen(path) >= sizeof part) return fail_set(f, E_TOO_LARGE, "path too long: %.100s", path);
        size_t end = last_part(path);
        int err = 0;
        for (size_t i = 1; i < end && err == 0; i++) {
                if (path[i] != '/' || path[i - 1] == '/') continue;
                (void)snprintf(part, sizeof part, "%.*s", (int)i, path);
                err = make_one(part, 0755, f);
        }
        return err;
}

int dir_make(const char *path, struct fail *f)
{
        int err = dir_make_above(path, f);
        return err != 0 ? err : make_one(path, 0700, f);
}
