/* See disk_shim.h. The functions of the C library that are defined here come before the library's own. */
#include "tests/lib/disk_shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "wire/base/mem.h"

enum { FILES_MAX = 8, SECTOR = 512 };

struct change { /* of a file, not durable */
        struct change *next;
        bool truncates;
        size_t at, n; /* or the new size, in n */
        uint8_t data[];
};
struct tracked {
        dev_t dev;
        ino_t ino;
        char path[PATH_MAX];
        uint8_t *durable;
        size_t durable_n;
        struct change *first, **end;
};

static struct {
        pthread_mutex_t mutex;
        bool armed, gone;
        char dir[PATH_MAX];
        struct disk_fault fault;
        uint64_t calls, coin;
        struct tracked files[FILES_MAX];
        unsigned files_n;
} shim = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static struct {
        ssize_t (*pwrite)(int, const void *, size_t, off_t);
        ssize_t (*write)(int, const void *, size_t);
        int (*ftruncate)(int, off_t);
        int (*fsync)(int);
        int (*fdatasync)(int);
} real;

__attribute__((constructor)) static void find_real(void)
{
        *(void **)&real.pwrite = dlsym(RTLD_NEXT, "pwrite");
        *(void **)&real.write = dlsym(RTLD_NEXT, "write");
        *(void **)&real.ftruncate = dlsym(RTLD_NEXT, "ftruncate");
        *(void **)&real.fsync = dlsym(RTLD_NEXT, "fsync");
        *(void **)&real.fdatasync = dlsym(RTLD_NEXT, "fdatasync");
}

static bool coin(void)
{
        shim.coin += 0x9E3779B97F4A7C15u;
        uint64_t z = (shim.coin ^ (shim.coin >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        return (z >> 40) & 1;
}

/* ---- files ---- */

static void read_whole(int fd, struct tracked *t, size_t n)
{
        char self[64];
        (void)snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
        int in = open(self, O_RDONLY | O_CLOEXEC);
        t->durable = xmalloc(n + 1);
        t->durable_n = n;
        if (in < 0 || pread(in, t->durable, n, 0) != (ssize_t)n) abort();
        close(in);
}

/* The file of a descriptor; NULL: none of ours. What it holds when it is first seen counts as durable. */
static struct tracked *tracked_of(int fd)
{
        while (shim.gone) pause(); /* without power nobody gets further; the mutex stays taken */
        struct stat st;
        char self[64], path[PATH_MAX];
        if (!shim.armed || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) return NULL;
        for (unsigned i = 0; i < shim.files_n; i++)
                if (shim.files[i].ino == st.st_ino && shim.files[i].dev == st.st_dev) return &shim.files[i];
        (void)snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(self, path, sizeof path - 1);
        if (n <= 0) return NULL;
        path[n] = '\0';
        if (strncmp(path, shim.dir, strlen(shim.dir)) != 0) return NULL;
        if (shim.files_n == FILES_MAX) abort();
        struct tracked *t = &shim.files[shim.files_n++];
        t->dev = st.st_dev;
        t->ino = st.st_ino;
        memcpy(t->path, path, sizeof path);
        t->end = &t->first;
        read_whole(fd, t, (size_t)st.st_size);
        return t;
}

static void change_add(struct tracked *t, bool truncates, size_t at, const void *p, size_t n)
{
        struct change *c = xcalloc(1, sizeof *c + (truncates ? 0 : n));
        c->truncates = truncates;
        c->at = at;
        c->n = n;
        if (!truncates) memcpy(c->data, p, n);
        *t->end = c;
        t->end = &c->next;
}

static void resize(struct tracked *t, size_t n)
{
        t->durable = xrealloc(t->durable, n + 1);
        if (n > t->durable_n) memset(t->durable + t->durable_n, 0, n - t->durable_n);
        t->durable_n = n;
}

static void make_durable(struct tracked *t, size_t at, const uint8_t *p, size_t n)
{
        if (at + n > t->durable_n) resize(t, at + n);
        memcpy(t->durable + at, p, n);
}

/* Everything that was changed becomes durable, or is forgotten. */
static void settle(struct tracked *t, bool durable)
{
        while (t->first != NULL) {
                struct change *c = t->first;
                t->first = c->next;
                if (durable && c->truncates) resize(t, c->n);
                else if (durable) make_durable(t, c->at, c->data, c->n);
                free(c);
        }
        t->end = &t->first;
}

/* ---- the end ---- */

static void survive(struct tracked *t, const struct change *c, size_t grain)
{
        for (size_t done = 0; done < c->n;) {
                size_t at = c->at + done, part = MIN(c->n - done, grain - at % grain);
                if (coin()) make_durable(t, at, c->data + done, part);
                done += part;
        }
}

/* As a new file in the place of the old one: the store's other thread still has that mapped, and a file that shrinks
 * under a mapping kills who reads it. */
static void put_durable(struct tracked *t)
{
        char next[PATH_MAX + 16], *new = strstr(t->path, ".new");
        if (access(t->path, F_OK) != 0 && new != NULL) *new = '\0'; /* it has its final name by now */
        if (access(t->path, F_OK) != 0) return;
        (void)snprintf(next, sizeof next, "%s.durable", t->path);
        int fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (fd < 0 || real.pwrite(fd, t->durable, t->durable_n, 0) != (ssize_t)t->durable_n) abort();
        close(fd);
        if (rename(next, t->path) != 0) abort();
}

static void crash_locked(void)
{
        for (unsigned i = 0; i < shim.files_n; i++) {
                struct tracked *t = &shim.files[i];
                for (const struct change *c = t->first; c != NULL && shim.fault.grain != 0; c = c->next) {
                        if (!c->truncates) survive(t, c, shim.fault.grain);
                        else if (coin()) resize(t, c->n);
                }
                put_durable(t);
        }
        shim.gone = true;
}

void disk_shim_crash(void)
{
        pthread_mutex_lock(&shim.mutex);
        crash_locked();
        pthread_mutex_unlock(&shim.mutex);
}

void disk_shim_arm(const char *dir, const struct disk_fault *fault)
{
        pthread_mutex_lock(&shim.mutex);
        (void)snprintf(shim.dir, sizeof shim.dir, "%s/", dir);
        shim.fault = *fault;
        shim.coin = fault->seed;
        shim.armed = true;
        pthread_mutex_unlock(&shim.mutex);
}

uint64_t disk_shim_calls(void)
{
        pthread_mutex_lock(&shim.mutex);
        uint64_t n = shim.calls;
        pthread_mutex_unlock(&shim.mutex);
        return n;
}

/* ---- the calls ---- */

static void leave_if(enum disk_fault_kind now, enum disk_fault_kind kind)
{
        if (now != kind) return;
        crash_locked();
        _exit(DISK_EXIT_CRASHED);
}

/* Which fault this call has. */
static enum disk_fault_kind fault_now(void)
{
        enum disk_fault_kind kind = ++shim.calls == shim.fault.at ? shim.fault.kind : DISK_SOUND;
        leave_if(kind, DISK_CRASH_BEFORE);
        return kind;
}

static int code_of(enum disk_fault_kind kind)
{
        return kind == DISK_EIO ? EIO : kind == DISK_ENOSPC ? ENOSPC : 0;
}

static ssize_t write_locked(int fd, struct tracked *t, const uint8_t *p, size_t n, off_t at)
{
        enum disk_fault_kind kind = fault_now();
        int code = code_of(kind);
        if ((code != 0 || kind == DISK_SHORT) && n > 1) n /= 2;
        ssize_t done = real.pwrite(fd, p, n, at);
        if (done <= 0) return done;
        bool at_once = (fcntl(fd, F_GETFL) & O_DSYNC) != 0;
        if (!at_once) change_add(t, false, (size_t)at, p, (size_t)done);
        else if (code == 0) make_durable(t, (size_t)at, p, (size_t)done);
        leave_if(kind, DISK_CRASH_AFTER);
        errno = code;
        return code != 0 ? -1 : done;
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at)
{
        pthread_mutex_lock(&shim.mutex);
        struct tracked *t = tracked_of(fd);
        ssize_t done = t != NULL ? write_locked(fd, t, p, n, at) : real.pwrite(fd, p, n, at);
        pthread_mutex_unlock(&shim.mutex);
        return done;
}

ssize_t write(int fd, const void *p, size_t n)
{
        struct iovec v = { (void *)(uintptr_t)p, n };
        return writev(fd, &v, 1);
}

ssize_t writev(int fd, const struct iovec *v, int count)
{
        size_t n = 0;
        for (int i = 0; i < count; i++) n += v[i].iov_len;
        uint8_t *whole = xmalloc(n + 1), *p = whole;
        for (int i = 0; i < count; i++) {
                memcpy(p, v[i].iov_base, v[i].iov_len);
                p += v[i].iov_len;
        }
        pthread_mutex_lock(&shim.mutex);
        struct tracked *t = tracked_of(fd);
        ssize_t done;
        if (t == NULL) {
                done = real.write(fd, whole, n);
        } else {
                off_t at = lseek(fd, 0, SEEK_CUR);
                done = write_locked(fd, t, whole, n, at);
                if (done > 0) (void)lseek(fd, done, SEEK_CUR);
        }
        int code = errno;
        pthread_mutex_unlock(&shim.mutex);
        free(whole);
        errno = code;
        return done;
}

static int sync_file(int fd, int (*sync)(int))
{
        pthread_mutex_lock(&shim.mutex);
        struct tracked *t = tracked_of(fd);
        if (t == NULL) {
                pthread_mutex_unlock(&shim.mutex);
                return sync(fd);
        }
        enum disk_fault_kind kind = fault_now();
        int code = code_of(kind);
        settle(t, code == 0);
        leave_if(kind, DISK_CRASH_AFTER);
        pthread_mutex_unlock(&shim.mutex);
        errno = code;
        return code != 0 ? -1 : 0;
}

int fsync(int fd) { return sync_file(fd, real.fsync); }
int fdatasync(int fd) { return sync_file(fd, real.fdatasync); }

int ftruncate(int fd, off_t size)
{
        pthread_mutex_lock(&shim.mutex);
        struct tracked *t = tracked_of(fd);
        if (t == NULL) {
                pthread_mutex_unlock(&shim.mutex);
                return real.ftruncate(fd, size);
        }
        enum disk_fault_kind kind = fault_now();
        int code = code_of(kind), rc = code != 0 ? -1 : real.ftruncate(fd, size);
        if (rc == 0) change_add(t, true, 0, NULL, (size_t)size);
        leave_if(kind, DISK_CRASH_AFTER);
        pthread_mutex_unlock(&shim.mutex);
        if (code != 0) errno = code;
        return rc;
}
