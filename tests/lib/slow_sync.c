/* Preloaded into a program (LD_PRELOAD): every sync of a file takes SLOW_SYNC_MS longer, and leaves a byte in a
 * file of this process in SLOW_SYNC_DIR, so that a test can count them. Threads: any. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int counter = -1;
static long stall_ms;

static void begin(void)
{
        const char *ms = getenv("SLOW_SYNC_MS"), *dir = getenv("SLOW_SYNC_DIR");
        char path[4096];

        stall_ms = ms ? strtol(ms, NULL, 10) : 0;
        if (!dir) return;
        (void)snprintf(path, sizeof(path), "%s/%d", dir, (int)getpid());
        counter = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void stall(void)
{
        struct timespec left;
        int saved = errno;

        (void)pthread_once(&once, begin);
        if (counter >= 0 && write(counter, "s", 1) < 0) abort();
        left = (struct timespec){ .tv_sec = stall_ms / 1000, .tv_nsec = stall_ms % 1000 * 1000000 };
        while (nanosleep(&left, &left) != 0 && errno == EINTR) {
        }
        errno = saved;
}

/* The function of that name behind this one. */
static void *next(const char *name)
{
        void *f = dlsym(RTLD_NEXT, name);
        if (!f) abort();
        return f;
}

int fdatasync(int fd)
{
        stall();
        return ((int (*)(int))next("fdatasync"))(fd);
}

int fsync(int fd)
{
        stall();
        return ((int (*)(int))next("fsync"))(fd);
}

int msync(void *p, size_t n, int flags)
{
        if (flags & MS_SYNC) stall();
        return ((int (*)(void *, size_t, int))next("msync"))(p, n, flags);
}
