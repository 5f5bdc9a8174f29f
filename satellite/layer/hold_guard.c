#include "satellite/layer/hold_guard.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "satellite/base/exec.h"
#include "satellite/layer/hold.h"
#include "wire/base/list.h"
#include "wire/base/log.h"
#include "wire/codec/codec.h"

#define LOG "hold"
#define EARLIER_MS 10000u
#define LOOK_MS 50
#define DONE 'd' /* the last byte of a guard that is not needed any more */
#define LOCK_FD 3
#define INPUT_MAX 65536 /* what a pipe takes without a reader */

struct guard {
        struct list at;
        char *name;
        pid_t pid;
        int fd; /* the guard's standard input */
};
static struct list guards = { &guards, &guards };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *program; /* NULL: there are to be no guards */
static unsigned guard_ms;
static int lock_fd = -1; /* every guard has it as well: the lock is theirs until the last one has ended */

/* ---- the satellite's side ---- */

int hold_guard_enable(const char *dir, const char *path, unsigned timeout_ms)
{
        static const struct timespec pause = { .tv_nsec = LOOK_MS * 1000000L };
        char file[PATH_MAX];
        int n = snprintf(file, sizeof file, "%s/hold-guard.lock", dir);
        if (n < 0 || n >= (int)sizeof file) return -ENAMETOOLONG;
        int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0) return -errno;
        unsigned waited_ms = 0;
        while (flock(fd, LOCK_EX | LOCK_NB) != 0 && waited_ms < EARLIER_MS) {
                (void)nanosleep(&pause, NULL);
                waited_ms += LOOK_MS;
        }
        if (waited_ms >= EARLIER_MS) log_warn(LOG, "guards of an earlier satellite are still at work");
        if (lock_fd >= 0) close(lock_fd);
        lock_fd = fd;
        program = path != NULL ? path : "/proc/self/exe";
        guard_ms = timeout_ms != 0 ? timeout_ms : 2 * HOLD_MAX_MS;
        return 0;
}

static struct guard *find(const char *name)
{
        LIST_FOREACH(i, &guards)
        {
                struct guard *g = container_of(i, struct guard, at);
                if (strcmp(g->name, name) == 0) return g;
        }
        return NULL;
}

/* 0 or a positive errno. */
static int spawn(int input, pid_t *ret)
{
        char ms[16];
        const char *argv[] = { "outrigger-satellite", HOLD_GUARD_WORD, exec_path(), ms, NULL };
        const char *env[] = { "LC_ALL=C", NULL };
        const int fds[LOCK_FD + 1] = { input, -1, -1, lock_fd };
        snprintf(ms, sizeof ms, "%u", guard_ms);
        return exec_spawn(program, argv, env, fds, LOCK_FD + 1, ret);
}

/* What letting go needs to know, and no secrets. */
static int describe(const struct sat_rsc *r, struct buf *out)
{
        struct arena a = { 0 };
        struct sat_rsc few = { 0 };
        struct sat_vlm *vlms = arena_array(&a, struct sat_vlm, r->volumes_n + 1);
        if (vlms == NULL) return E_TOO_LARGE;
        for (uint32_t i = 0; i < r->volumes_n; i++) {
                SET(&vlms[i], sat_vlm, volume_number, r->volumes[i].volume_number);
                SET(&vlms[i], sat_vlm, size_kib, r->volumes[i].size_kib);
                if (HAS(&r->volumes[i], sat_vlm, backing_id))
                        SET(&vlms[i], sat_vlm, backing_id, r->volumes[i].backing_id);
        }
        SET(&few, sat_rsc, rsc_name, r->rsc_name);
        SET(&few, sat_rsc, uuid, r->uuid);
        SET(&few, sat_rsc, revision, r->revision);
        SET_N(&few, sat_rsc, layer_stack, r->layer_stack, r->layer_stack_n);
        SET_N(&few, sat_rsc, volumes, vlms, r->volumes_n);
        int err = enc_msgpack(&sat_rsc_type, &few, out);
        arena_done(&a);
        if (err == 0 && out->err != 0) err = out->err;
        return err == 0 && out->n >= INPUT_MAX - sizeof(uint32_t) ? E_TOO_LARGE : err;
}

static int tell(int fd, const struct buf *text)
{
        struct buf out = { 0 };
        buf_put_be(&out, text->n, sizeof(uint32_t));
        buf_put(&out, text->p, text->n);
        ssize_t n = out.err == 0 ? write(fd, out.p, out.n) : -1;
        int err = n >= 0 && (size_t)n == out.n ? 0 : out.err != 0 ? out.err : n < 0 ? -errno : E_TOO_LARGE;
        buf_done(&out);
        return err;
}

static int begin(const struct sat_rsc *r)
{
        struct buf text = { 0 };
        int ends[2];
        pid_t pid = 0;
        int err = describe(r, &text);
        if (err == 0 && pipe2(ends, O_CLOEXEC) != 0) err = -errno;
        else if (err == 0) {
                /* the guard's end lies above its own descriptors */
                int input = fcntl(ends[0], F_DUPFD_CLOEXEC, LOCK_FD + 1);
                close(ends[0]);
                err = input < 0 ? -errno : tell(ends[1], &text);
                if (err == 0) err = -spawn(input, &pid);
                if (input >= 0) close(input);
                if (err != 0) close(ends[1]);
        }
        buf_done(&text);
        if (err != 0) return err;
        struct guard *g = xnew(struct guard);
        *g = (struct guard){ .name = xstrdup(r->rsc_name), .pid = pid, .fd = ends[1] };
        list_push_back(&guards, &g->at);
        return 0;
}

int hold_guard_begin(const struct sat_rsc *r, struct trouble *t)
{
        if (program == NULL) return 0;
        pthread_mutex_lock(&lock);
        int err = find(r->rsc_name) != NULL ? 0 : begin(r);
        pthread_mutex_unlock(&lock);
        if (err == 0) return 0;
        trouble_set(t, err, TROUBLE_UNKNOWN, "Resource %s: its I/O is not suspended.", r->rsc_name);
        trouble_cause(t, "Nobody could let it go if this satellite died: %s.", err_text(err));
        trouble_fix(t, "The satellite tries again by itself.");
        return err;
}

void hold_guard_end(const char *rsc_name)
{
        pthread_mutex_lock(&lock);
        struct guard *g = find(rsc_name);
        if (g != NULL) list_remove(&g->at);
        pthread_mutex_unlock(&lock);
        if (g == NULL) return;
        (void)!write(g->fd, &(char){ DONE }, 1); /* one that has ended needs no word */
        close(g->fd);
        while (waitpid(g->pid, NULL, 0) < 0 && errno == EINTR) {
        }
        free(g->name);
        free(g);
}

/* ---- the guard ---- */

/* Until n bytes are there. False: the other end has closed, or the time is over. */
static bool read_all(void *to, size_t n, const struct timespec *until)
{
        uint8_t *p = to;
        while (n > 0) {
                struct timespec now;
                (void)clock_gettime(CLOCK_MONOTONIC, &now);
                int64_t left_ms = (int64_t)(until->tv_sec - now.tv_sec) * 1000;
                struct pollfd in = { STDIN_FILENO, POLLIN, 0 };
                if (left_ms <= 0) return false;
                int rc = poll(&in, 1, (int)left_ms);
                if (rc < 0 && errno != EINTR) return false;
                if (rc <= 0) continue;
                ssize_t got = read(STDIN_FILENO, p, n);
                if (got == 0 || (got < 0 && errno != EINTR)) return false;
                if (got < 0) continue;
                p += got;
                n -= (size_t)got;
        }
        return true;
}

static int read_resource(struct arena *a, struct sat_rsc *ret, const struct timespec *until)
{
        uint8_t head[4];
        struct fail f = { 0 };
        if (!read_all(head, sizeof head, until)) return E_PROTOCOL;
        uint32_t n = (uint32_t)head[0] << 24 | (uint32_t)head[1] << 16 | (uint32_t)head[2] << 8 | head[3];
        uint8_t *text = n < INPUT_MAX ? arena_try(a, n + 1) : NULL;
        if (text == NULL || !read_all(text, n, until)) return E_PROTOCOL;
        return dec_msgpack(&sat_rsc_type, BLOB(text, n), DEC_STRICT, a, ret, &f);
}

int hold_guard_main(int argc, char **argv)
{
        struct arena a = { 0 };
        struct sat_rsc r = { 0 };
        struct timespec until;
        struct trouble t = { 0 };
        char done = 0;
        if (argc != 2) return EXIT_FAILURE;
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        unsigned ms = (unsigned)strtoul(argv[1], NULL, 10);
        until.tv_sec += (time_t)(ms + 999) / 1000;
        exec_set_path(argv[0]);
        if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) log_debug(LOG, "memory of a guard cannot be locked");
        int err = read_resource(&a, &r, &until);
        if (err != 0 || (read_all(&done, 1, &until) && done == DONE)) {
                arena_done(&a);
                return err == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
        }
        err = hold_set(&r, false, &t);
        if (err == 0)
                log_warn(LOG, "%s: its I/O goes on: the satellite that had suspended it is gone", r.rsc_name);
        else log_error(LOG, "%s %s", t.message, t.cause);
        arena_done(&a);
        return err == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
