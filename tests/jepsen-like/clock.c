/* A preloaded library: clocks that jump and drift. Compiled by `run`. OUTRIGGER_CLOCK names a file of struct clock, which the
 * driver of the test maps and changes while the process runs. CLOCK_MONOTONIC and CLOCK_BOOTTIME run at another rate and never
 * go back; CLOCK_REALTIME is that, and jumps besides. Threads: any. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct clock {
        volatile uint64_t seq;            /* odd while the rest is being changed */
        volatile int64_t true_ns, own_ns; /* at true_ns of CLOCK_MONOTONIC the clock said own_ns */
        volatile int64_t ppm;             /* and goes so many millionths as fast since */
        volatile int64_t jump_ns;         /* of CLOCK_REALTIME */
};
static struct clock *map;

static __attribute__((constructor)) void begin(void)
{
        const char *path = getenv("OUTRIGGER_CLOCK");
        int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        if (fd < 0) return;
        void *p = mmap(NULL, sizeof *map, PROT_READ, MAP_SHARED, fd, 0);
        close(fd);
        if (p != MAP_FAILED) map = p;
}

static int64_t true_now(clockid_t id)
{
        struct timespec t = { 0 };
        syscall(SYS_clock_gettime, id, &t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* What the clock says more than the true one, without the jump. */
static int64_t ahead_ns(int64_t *ret_jump)
{
        for (;;) {
                uint64_t seq = map->seq;
                __sync_synchronize();
                int64_t now = true_now(CLOCK_MONOTONIC), from = map->true_ns, own = map->own_ns;
                int64_t ppm = map->ppm;
                *ret_jump = map->jump_ns;
                __sync_synchronize();
                if (seq % 2 == 0 && seq == map->seq)
                        return own + (int64_t)((__int128)(now - from) * ppm / 1000000) - now;
        }
}

int clock_gettime(clockid_t id, struct timespec *t)
{
        int64_t jump = 0;
        if (!map ||
                (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE && id != CLOCK_MONOTONIC &&
                        id != CLOCK_MONOTONIC_COARSE && id != CLOCK_MONOTONIC_RAW && id != CLOCK_BOOTTIME))
                return (int)syscall(SYS_clock_gettime, id, t);
        int64_t v = true_now(id) + ahead_ns(&jump);
        if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) v += jump;
        t->tv_sec = v / 1000000000;
        t->tv_nsec = v % 1000000000;
        return 0;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
        struct timespec t;
        (void)zone;
        clock_gettime(CLOCK_REALTIME, &t);
        tv->tv_sec = t.tv_sec;
        tv->tv_usec = t.tv_nsec / 1000;
        return 0;
}

time_t time(time_t *ret)
{
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        if (ret) *ret = t.tv_sec;
        return t.tv_sec;
}
