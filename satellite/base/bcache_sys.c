#include "satellite/base/bcache_sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#define POLL_MS 100

struct bcache_world bcache_world = { .sys = "/sys" };

static bool number_of(const char *path, unsigned *ret_major, unsigned *ret_minor)
{
        struct stat st;
        if (stat(path, &st) != 0 || !S_ISBLK(st.st_mode)) return false;
        *ret_major = major(st.st_rdev);
        *ret_minor = minor(st.st_rdev);
        return true;
}

bool bcache_block_dir(const char *path, char out[BCACHE_DIR_SIZE])
{
        unsigned of_kind, number;
        bool (*ask)(const char *, unsigned *, unsigned *) =
                bcache_world.number_of != NULL ? bcache_world.number_of : number_of;
        if (path == NULL || !ask(path, &of_kind, &number)) return false;
        (void)snprintf(out, BCACHE_DIR_SIZE, "%s/dev/block/%u:%u", bcache_world.sys, of_kind, number);
        return true;
}

bool bcache_has(const char *path)
{
        char dir[BCACHE_DIR_SIZE], own[BCACHE_DIR_SIZE + 8];
        if (!bcache_block_dir(path, dir)) return false;
        (void)snprintf(own, sizeof own, "%s/bcache", dir);
        return access(own, F_OK) == 0;
}

int bcache_put(const char *path, const char *text)
{
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0) return errno;
        ssize_t n = write(fd, text, strlen(text));
        int err = n == (ssize_t)strlen(text) ? 0 : n < 0 ? errno : EIO;
        close(fd);
        if (err == 0 && bcache_world.wrote != NULL) bcache_world.wrote(path, text);
        return err;
}

/* For reading: closing what was open for writing would make udev look at it, and register it again. */
static int open_alone(const char *path)
{
        if (bcache_world.open_alone != NULL) return bcache_world.open_alone(path);
        int fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
        if (fd < 0) return errno;
        close(fd);
        return 0;
}

/* A cache is stopped by its set, a backing device by itself. */
static void stop(const char *path)
{
        char dir[BCACHE_DIR_SIZE], file[BCACHE_DIR_SIZE + 24];
        if (!bcache_block_dir(path, dir)) return;
        (void)snprintf(file, sizeof file, "%s/bcache/set/stop", dir);
        if (bcache_put(file, "1") == 0) return;
        (void)snprintf(file, sizeof file, "%s/bcache/stop", dir);
        (void)bcache_put(file, "1");
}

int bcache_let_go(const char *path, unsigned limit_ms)
{
        int err = open_alone(path);
        for (unsigned ms = 0; err == EBUSY && ms < limit_ms; ms += POLL_MS) {
                if (bcache_has(path)) stop(path);
                struct timespec t = { .tv_nsec = POLL_MS * 1000000L };
                (void)nanosleep(&t, NULL);
                err = open_alone(path);
        }
        return err;
}
