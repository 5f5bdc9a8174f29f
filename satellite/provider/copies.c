#include "satellite/provider/copies.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <linux/fs.h>

#include "satellite/base/inject.h"
#include "wire/base/list.h"
#include "wire/base/log.h"
#include "wire/base/mem.h"

#define LOG "copies"
#define ALIGNMENT 4096
#define STOP_S 10 /* for one chunk */
#define OPEN_TRIES 50

struct copy {
        struct list at;
        char *whose; /* NULL: it has no name */
        char *from, *to;
        uint64_t bytes;
        struct copy_fault fault;
        atomic_bool stop;
        bool ended; /* its thread touches it no more */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended = PTHREAD_COND_INITIALIZER;
static struct list copies = { &copies, &copies };
static unsigned running;
static atomic_uint ended_n;
static bool closing;

/* ---- one copy ---- */

/* Past the page cache where that is possible: files of tests may be where it is not. A descriptor or a negative errno. */
static int open_direct(const char *path, int flags)
{
        int fd = open(path, flags | O_DIRECT | O_CLOEXEC);
        if (fd < 0 && errno == EINVAL) fd = open(path, flags | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

/* Nobody else may use the target. Those who only look whether somebody does have it for a moment. */
static int open_alone(const struct copy *c)
{
        static const struct timespec pause = { .tv_nsec = 100 * 1000000L };
        int fd = -EBUSY;
        for (unsigned i = 0; fd == -EBUSY && i < OPEN_TRIES && !atomic_load(&c->stop); i++) {
                if (i > 0) (void)nanosleep(&pause, NULL);
                fd = open_direct(c->to, O_WRONLY | O_EXCL);
        }
        return fd;
}

/* 0 or a positive errno. */
static int size_of(int fd, uint64_t *ret)
{
        struct stat st;
        if (fstat(fd, &st) != 0) return errno;
        *ret = (uint64_t)st.st_size;
        if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, ret) != 0) return errno;
        return 0;
}

/* Reads or writes n bytes at `at`. 0 or a positive errno; EIO: the device ends before that. */
static int transfer(int fd, char *buffer, uint64_t n, uint64_t at, bool writing)
{
        for (uint64_t done = 0; done < n;) {
                ssize_t k = writing ? pwrite(fd, buffer + done, n - done, (off_t)(at + done))
                                    : pread(fd, buffer + done, n - done, (off_t)(at + done));
                if (k < 0 && errno == EINTR) continue;
                if (k <= 0) return k < 0 ? errno : EIO;
                done += (uint64_t)k;
        }
        return 0;
}

/* 0 or a positive errno, which is in c->fault as well. */
static int fault(struct copy *c, int number, bool reading, uint64_t at)
{
        if (number != 0) c->fault = (struct copy_fault){ .number = number, .reading = reading, .at = at };
        return number;
}

static int copy_all(struct copy *c, int from, int to, char *buffer, uint64_t to_bytes)
{
        int err = 0;
        for (uint64_t at = 0, n; err == 0 && at < to_bytes; at += n) {
                n = MIN(COPY_CHUNK, to_bytes - at);
                uint64_t data = at < c->bytes ? MIN(n, c->bytes - at) : 0;
                if (atomic_load(&c->stop)) return fault(c, ECANCELED, true, at);
                err = fault(c, transfer(from, buffer, data, at, false), true, at);
                memset(buffer + data, 0, n - data); /* written in whole sectors of the target */
                if (err == 0) err = fault(c, transfer(to, buffer, n, at, true), false, at);
                inject_point(INJECT_COPYING);
        }
        return err != 0 ? err : fault(c, fsync(to) == 0 ? 0 : errno, false, to_bytes);
}

static void copy_run(struct copy *c)
{
        uint64_t to_bytes = 0;
        char *buffer = aligned_alloc(ALIGNMENT, COPY_CHUNK);
        int from = open_direct(c->from, O_RDONLY), to = open_alone(c);
        if (buffer == NULL) (void)fault(c, ENOMEM, true, 0);
        else if (from < 0) (void)fault(c, -from, true, 0);
        else if (to < 0) (void)fault(c, -to, false, 0);
        else if (fault(c, size_of(to, &to_bytes), false, 0) == 0 && to_bytes < c->bytes)
                (void)fault(c, ENOSPC, false, to_bytes);
        else if (c->fault.number == 0) (void)copy_all(c, from, to, buffer, to_bytes);
        if (from >= 0) close(from);
        if (to >= 0) close(to);
        free(buffer);
}

static void *copy_thread(void *arg)
{
        struct copy *c = arg;
        struct timespec begin, end;
        clock_gettime(CLOCK_MONOTONIC, &begin);
        log_info(LOG, "%s: being copied from %s, %llu MiB", c->to, c->from,
                (unsigned long long)(c->bytes >> 20));
        copy_run(c);
        clock_gettime(CLOCK_MONOTONIC, &end);
        log_info(LOG, "%s: %s after %lld s", c->to,
                c->fault.number == 0 ? "copied" : strerror(c->fault.number),
                (long long)(end.tv_sec - begin.tv_sec));
        pthread_mutex_lock(&lock);
        c->ended = true;
        running--;
        atomic_fetch_add(&ended_n, 1);
        pthread_cond_broadcast(&ended);
        pthread_mutex_unlock(&lock);
        return NULL;
}

/* ---- all of them; with the lock ---- */

static struct copy *find_to(const char *path)
{
        LIST_FOREACH(i, &copies)
        {
                struct copy *c = container_of(i, struct copy, at);
                if (strcmp(c->to, path) == 0) return c;
        }
        return NULL;
}

static struct copy *find_named(const char *whose)
{
        LIST_FOREACH(i, &copies)
        {
                struct copy *c = container_of(i, struct copy, at);
                if (c->whose != NULL && strcmp(c->whose, whose) == 0) return c;
        }
        return NULL;
}

static struct copy *find_any(const char *what)
{
        struct copy *c = find_named(what);
        if (c == NULL) c = find_to(what);
        if (c != NULL) return c;
        LIST_FOREACH(i, &copies)
        {
                c = container_of(i, struct copy, at);
                if (strcmp(c->from, what) == 0) return c;
        }
        return NULL;
}

static void forget(struct copy *c)
{
        assert(c->ended);
        list_remove(&c->at);
        free(c->whose);
        free(c->from);
        free(c->to);
        free(c);
}

static int begin(const char *whose, const char *from, const char *to, uint64_t bytes)
{
        pthread_t thread;
        if (closing) return E_CANCELED;
        if (running >= COPIES_AT_ONCE) return E_BUSY;
        struct copy *c = xnew(struct copy);
        c->whose = whose != NULL ? xstrdup(whose) : NULL;
        c->from = xstrdup(from);
        c->to = xstrdup(to);
        c->bytes = bytes;
        list_push_back(&copies, &c->at);
        running++;
        if (pthread_create(&thread, NULL, copy_thread, c) == 0) {
                (void)pthread_detach(thread);
                return E_PENDING;
        }
        running--;
        c->ended = true;
        forget(c);
        return E_LIMIT;
}

/* How it ended, once. */
static int take_result(struct copy *c, struct copy_fault *ret)
{
        if (!c->ended) return E_PENDING;
        *ret = c->fault;
        forget(c);
        return ret->number == 0 ? 0 : E_STORAGE;
}

int copies_ask(
        const char *whose, const char *from, const char *to, uint64_t bytes, struct copy_fault *ret_fault)
{
        *ret_fault = (struct copy_fault){ 0 };
        pthread_mutex_lock(&lock);
        struct copy *c = find_to(to);
        bool other = c != NULL && (atomic_load(&c->stop) || strcmp(c->from, from) != 0 || c->bytes != bytes);
        if (other) atomic_store(&c->stop, true); /* of something else, which has gone meanwhile */
        if (other && c->ended) {
                forget(c);
                c = NULL;
        }
        int err = c == NULL ? begin(whose, from, to, bytes) : take_result(c, ret_fault);
        pthread_mutex_unlock(&lock);
        return err;
}

int copies_result(const char *whose, struct copy_fault *ret_fault)
{
        *ret_fault = (struct copy_fault){ 0 };
        pthread_mutex_lock(&lock);
        struct copy *c = find_named(whose);
        int err = c == NULL ? E_NOT_FOUND : take_result(c, ret_fault);
        pthread_mutex_unlock(&lock);
        return err;
}

int copies_stop(const char *what, bool *ret_any)
{
        struct timespec until;
        struct copy *c;
        int late = 0;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += STOP_S;
        *ret_any = false;
        pthread_mutex_lock(&lock);
        while (late == 0 && (c = find_any(what)) != NULL) {
                *ret_any = true;
                atomic_store(&c->stop, true);
                if (c->ended) forget(c);
                else late = pthread_cond_clockwait(&ended, &lock, CLOCK_MONOTONIC, &until);
        }
        int err = find_any(what) == NULL ? 0 : E_BUSY;
        pthread_mutex_unlock(&lock);
        return err;
}

bool copies_full(void)
{
        pthread_mutex_lock(&lock);
        bool full = running >= COPIES_AT_ONCE;
        pthread_mutex_unlock(&lock);
        return full;
}

unsigned copies_ended(void) { return atomic_load(&ended_n); }

void copies_open(void)
{
        pthread_mutex_lock(&lock);
        closing = false;
        pthread_mutex_unlock(&lock);
}

void copies_stop_all(void)
{
        pthread_mutex_lock(&lock);
        closing = true;
        LIST_FOREACH(i, &copies) atomic_store(&container_of(i, struct copy, at)->stop, true);
        pthread_mutex_unlock(&lock);
}

void copies_close(void)
{
        copies_stop_all();
        pthread_mutex_lock(&lock);
        while (running > 0) pthread_cond_wait(&ended, &lock);
        LIST_FOREACH_SAFE(i, next, &copies) forget(container_of(i, struct copy, at));
        pthread_mutex_unlock(&lock);
}
