/* Writes that depend on each other, for guests: whether a replica, a snapshot or what came back after a crash is of one point in time.
 *
 *   writer run LOG DEVICE...    block i goes to each device in turn, and only when it is durable there block i to the next, then block
 *                               i+1 to the first, round a ring of blocks, until it is ended. LOG is a small file in memory
 *   writer stat LOG             "ACKED WORST_MS ERROR": blocks that all devices have, the longest that a write took, errno of the end
 *   writer check DEVICE...      "LAST..." of the devices; status 1 when there is a moment at which they cannot have been like that:
 *                               a block that is missing before the last one, or one device ahead of an earlier one
 *
 * Each start of `run` begins behind what it finds, as a new sequence. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096u
#define RING 256u
#define DEVICES_MAX 8
#define PAUSE_NS 5000000L
#define MAGIC UINT64_C(0x6f75747269676765)
#define WORDS (BLOCK / sizeof(uint64_t))

enum { AT_MAGIC, AT_DEVICE, AT_FIRST, AT_NUMBER, AT_FILL };

struct log {
        uint64_t acked, worst_us, error;
};

static uint64_t mix(uint64_t x)
{
        x ^= x >> 31;
        x *= UINT64_C(0x9e3779b97f4a7c15);
        return x ^ x >> 29;
}

static void fill(uint64_t *b, uint64_t device, uint64_t first, uint64_t number)
{
        b[AT_MAGIC] = MAGIC;
        b[AT_DEVICE] = device;
        b[AT_FIRST] = first;
        b[AT_NUMBER] = number;
        for (size_t i = AT_FILL; i < WORDS; i++) b[i] = mix(number * WORDS + i + device);
}

static bool is_whole(const uint64_t *b, uint64_t device)
{
        if (b[AT_MAGIC] != MAGIC || b[AT_DEVICE] != device) return false;
        for (size_t i = AT_FILL; i < WORDS; i++)
                if (b[i] != mix(b[AT_NUMBER] * WORDS + i + device)) return false;
        return true;
}

static uint64_t *room(size_t blocks)
{
        void *p = NULL;
        if (posix_memalign(&p, BLOCK, blocks * BLOCK) != 0) abort();
        return p;
}

static int fail(const char *what)
{
        fprintf(stderr, "writer: %s: %s\n", what, strerror(errno));
        return 2;
}

static uint64_t now_us(void)
{
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* The last block of a device, and the first of its sequence; 0 when there is none. */
static int look(const char *path, uint64_t device, uint64_t *ring, uint64_t *ret_first, uint64_t *ret_last)
{
        int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : pread(fd, ring, (size_t)RING * BLOCK, 0);
        if (fd >= 0) close(fd);
        if (n != (ssize_t)RING * BLOCK) return -1;
        *ret_first = *ret_last = 0;
        for (uint64_t i = 0; i < RING; i++) {
                const uint64_t *b = ring + i * WORDS;
                if (!is_whole(b, device) || b[AT_NUMBER] % RING != i || b[AT_NUMBER] <= *ret_last) continue;
                *ret_last = b[AT_NUMBER];
                *ret_first = b[AT_FIRST];
        }
        return 0;
}

static struct log *open_log(const char *path, bool fresh)
{
        int fd = open(path, fresh ? O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC : O_RDWR | O_CLOEXEC, 0600);
        void *p = MAP_FAILED;
        if (fd >= 0 && ftruncate(fd, sizeof(struct log)) == 0)
                p = mmap(NULL, sizeof(struct log), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (fd >= 0) close(fd);
        return p == MAP_FAILED ? NULL : p;
}

static int write_on(struct log *log, const int *fds, int n, uint64_t first)
{
        static const struct timespec pause = { .tv_nsec = PAUSE_NS };
        uint64_t *block = room(1);
        for (uint64_t number = first;; number++) {
                for (int i = 0; i < n; i++) {
                        uint64_t began = now_us();
                        fill(block, (uint64_t)i, first, number);
                        if (pwrite(fds[i], block, BLOCK, (off_t)(number % RING * BLOCK)) != (ssize_t)BLOCK) {
                                log->error = errno != 0 ? (uint64_t)errno : EIO;
                                free(block);
                                return fail("write");
                        }
                        if (now_us() - began > log->worst_us) log->worst_us = now_us() - began;
                }
                log->acked = number;
                (void)nanosleep(&pause, NULL);
        }
}

static int run(int argc, char **argv)
{
        int fds[DEVICES_MAX], n = 0;
        uint64_t first, last, next = 1, *ring = room(RING);
        for (; n < argc - 3 && n < DEVICES_MAX; n++) {
                if (look(argv[3 + n], (uint64_t)n, ring, &first, &last) != 0) return fail(argv[3 + n]);
                if (last >= next) next = last + 1;
                fds[n] = open(argv[3 + n], O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
                if (fds[n] < 0) return fail(argv[3 + n]);
        }
        free(ring);
        struct log *log = open_log(argv[2], true);
        return log == NULL ? fail(argv[2]) : write_on(log, fds, n, next);
}

static int print_log(const char *path)
{
        const struct log *log = open_log(path, false);
        if (log == NULL) return fail(path);
        printf("%llu %llu %llu\n", (unsigned long long)log->acked, (unsigned long long)log->worst_us / 1000,
                (unsigned long long)log->error);
        return 0;
}

static int check(int argc, char **argv)
{
        uint64_t *ring = room(RING), before = 0, begun = 0, status = 0;
        for (int d = 0; d < argc - 2; d++) {
                uint64_t first, last;
                if (look(argv[2 + d], (uint64_t)d, ring, &first, &last) != 0) return fail(argv[2 + d]);
                printf("%llu ", (unsigned long long)last);
                uint64_t from = last >= RING ? last - RING + 2 : 1; /* the oldest may be being replaced */
                if (from < first) from = first;
                for (uint64_t i = from; i <= last && last > 0; i++) {
                        const uint64_t *b = ring + i % RING * WORDS;
                        if (is_whole(b, (uint64_t)d) && b[AT_NUMBER] == i) continue;
                        printf("(lacks %llu) ", (unsigned long long)i);
                        status = 1;
                        break;
                }
                /* A sequence that has only just begun may not have reached the later devices. */
                if (d > 0 && (last > before || (last + 1 < before && before > begun))) status = 1;
                before = last;
                begun = first;
        }
        printf("%s\n", status == 0 ? "consistent" : "NOT CONSISTENT");
        free(ring);
        return (int)status;
}

int main(int argc, char **argv)
{
        if (argc > 3 && strcmp(argv[1], "run") == 0) return run(argc, argv);
        if (argc == 3 && strcmp(argv[1], "stat") == 0) return print_log(argv[2]);
        if (argc > 2 && strcmp(argv[1], "check") == 0) return check(argc, argv);
        fprintf(stderr, "usage: writer run LOG DEVICE... | stat LOG | check DEVICE...\n");
        return 2;
}
