/* A file system for tests that loses what was not synced.
 *
 *   lossyfs BACKING MOUNTPOINT SOCKET
 *
 * shows the directory BACKING at MOUNTPOINT. Writes stay in memory until the file is synced; names that were
 * made, renamed or removed are undone by a crash until their directory is synced. A failed sync loses what it
 * should have written, as kernels do: it still reads back, and a later sync does not write it. Reads through
 * memory maps work.
 *
 * SOCKET (unix, stream) takes one command a connection and answers a line:
 *   crash MODE SEED   drop: nothing unsynced survives; torn512, torn4096: each 512 or 4096 bytes survive or
 *                     not by the seed, names up to some point; keep: everything survives. The process ends.
 *   fail KIND N ERRNO [always]   the N-th read, write or sync from now fails with that number; N = 0: none
 *   short N           the N-th write from now writes half of what it should
 *   at [PATH]         from now on only calls on that file fail or are short, and are counted for it
 *   room BYTES        ENOSPC when all files together would be larger; 0: no limit
 *   stall MS          each sync takes that much longer
 *   flip PATH OFFSET MASK   damages one byte behind everybody's back, also for those who have it mapped
 *   count             "read N write N sync N failed N used N": calls, failed syncs, bytes
 *
 * Threads: libfuse's, and one for the socket; everything below is under one mutex. */
#define FUSE_USE_VERSION 31
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <fuse.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "wire/base/list.h"
#include "wire/base/mem.h"

enum { PAGE = 4096, SECTOR = 512, BUCKETS = 1024, HIDDEN_N = 7 };
#define HIDDEN ".lossy-" /* backups of removed files, at the top of BACKING */

struct page {
        struct page *next;
        uint64_t no;
        uint8_t unsynced, lost; /* a bit for each sector */
        uint8_t data[PAGE];
};
struct file {
        struct list link;
        char *path; /* NULL: removed */
        int fd;
        off_t size;  /* as programs see it */
        off_t valid; /* what BACKING has above this reads as zeros */
        struct page *pages[BUCKETS];
};
enum op_kind { OP_CREATE, OP_MKDIR, OP_UNLINK, OP_RENAME };
struct dir_op { /* not synced yet */
        struct list link;
        enum op_kind kind;
        char *path, *to, *backup; /* backup NULL: there was nothing */
};
enum call { CALL_READ, CALL_WRITE, CALL_SYNC, CALL_SHORT, CALLS };
static const char *const call_names[] = { "read", "write", "sync" };

static struct {
        pthread_mutex_t mutex;
        int root;
        struct fuse *fuse;
        struct list files, ops;
        unsigned backups;
        uint64_t count[CALLS], fail_in[CALLS], stall_ms, room, used, failed_syncs;
        int fail_errno[CALLS];
        bool fail_always[CALLS];
        char at[256]; /* "": anywhere */
        const char *socket_path;
} fs = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static void lock(void) { pthread_mutex_lock(&fs.mutex); }
static int unlock(int result)
{
        pthread_mutex_unlock(&fs.mutex);
        return result;
}

/* Relative to BACKING. */
static const char *rel(const char *path) { return path[1] != '\0' ? path + 1 : "."; }

/* 0, or the error that this call has to give. f NULL: a directory. */
static int injected(enum call c, const struct file *f)
{
        if (c != CALL_SHORT) fs.count[c]++;
        if (fs.at[0] != '\0' && (f == NULL || f->path == NULL || strcmp(f->path, fs.at) != 0)) return 0;
        if (fs.fail_in[c] == 0) return 0;
        if (fs.fail_in[c] > 1) {
                fs.fail_in[c]--;
                return 0;
        }
        if (!fs.fail_always[c]) fs.fail_in[c] = 0;
        return -fs.fail_errno[c];
}

/* ---- content ---- */

static struct page **slot(struct file *f, uint64_t no)
{
        struct page **p = &f->pages[no % BUCKETS];
        while (*p != NULL && (*p)->no != no) p = &(*p)->next;
        return p;
}

/* What is on the disk, zeros where there is nothing. */
static int read_backing(struct file *f, off_t offset, uint8_t *p, size_t n)
{
        memset(p, 0, n);
        if (offset >= f->valid) return 0;
        if ((off_t)n > f->valid - offset) n = (size_t)(f->valid - offset);
        return pread(f->fd, p, n, offset) < 0 ? -errno : 0;
}

static int page_get(struct file *f, uint64_t no, struct page **ret)
{
        struct page **p = slot(f, no);
        if (*p == NULL) {
                struct page *made = xnew(struct page);
                int err = read_backing(f, (off_t)no * PAGE, made->data, PAGE);
                if (err != 0) {
                        free(made);
                        return err;
                }
                made->no = no;
                *p = made;
        }
        *ret = *p;
        return 0;
}

static int content_read(struct file *f, uint8_t *p, size_t n, off_t offset)
{
        if (offset >= f->size) return 0;
        if ((off_t)n > f->size - offset) n = (size_t)(f->size - offset);
        for (size_t done = 0; done < n;) {
                uint64_t at = (uint64_t)offset + done;
                size_t in = at % PAGE, part = MIN(n - done, PAGE - in);
                const struct page *page = *slot(f, at / PAGE);
                int err = 0;
                if (page != NULL) memcpy(p + done, page->data + in, part);
                else err = read_backing(f, (off_t)at, p + done, part);
                if (err != 0) return err;
                done += part;
        }
        return (int)n;
}

static int content_write(struct file *f, const uint8_t *p, size_t n, off_t offset)
{
        for (size_t done = 0; done < n;) {
                uint64_t at = (uint64_t)offset + done;
                size_t in = at % PAGE, part = MIN(n - done, PAGE - in);
                struct page *page;
                int err = page_get(f, at / PAGE, &page);
                if (err != 0) return err;
                memcpy(page->data + in, p + done, part);
                for (size_t s = in / SECTOR; s <= (in + part - 1) / SECTOR; s++) {
                        page->unsynced |= (uint8_t)(1u << s);
                        page->lost &= (uint8_t) ~(1u << s);
                }
                done += part;
        }
        if (offset + (off_t)n > f->size) {
                fs.used += (uint64_t)(offset + (off_t)n - f->size);
                f->size = offset + (off_t)n;
        }
        return 0;
}

static void content_truncate(struct file *f, off_t size)
{
        fs.used += (uint64_t)size - (uint64_t)f->size;
        for (size_t b = 0; b < BUCKETS; b++) {
                for (struct page **p = &f->pages[b]; *p != NULL;) {
                        struct page *page = *p;
                        off_t start = (off_t)page->no * PAGE;
                        if (start >= size) {
                                *p = page->next;
                                free(page);
                                continue;
                        }
                        if (start + PAGE > size)
                                memset(page->data + (size - start), 0, (size_t)(start + PAGE - size));
                        p = &page->next;
                }
        }
        f->size = size;
        f->valid = MIN(f->valid, size);
}

/* Writes one piece of a page to the disk, as far as the file reaches. */
static void put(const struct file *f, const struct page *page, size_t from, size_t n)
{
        off_t at = (off_t)page->no * PAGE + (off_t)from;
        if (at >= f->size) return;
        if ((off_t)n > f->size - at) n = (size_t)(f->size - at);
        if (pwrite(f->fd, page->data + from, n, at) != (ssize_t)n) abort(); /* a test cannot go on */
}

static void put_page(struct file *f, struct page *page)
{
        for (size_t s = 0; s < PAGE / SECTOR; s++)
                if (page->unsynced & (1u << s)) put(f, page, s * SECTOR, SECTOR);
        page->unsynced = 0;
}

/* Makes size and content durable. */
static int content_sync(struct file *f)
{
        int err = injected(CALL_SYNC, f);
        if (err != 0) fs.failed_syncs++;
        if (err == 0 && (ftruncate(f->fd, f->valid) != 0 || ftruncate(f->fd, f->size) != 0)) err = -errno;
        for (size_t b = 0; b < BUCKETS; b++) {
                for (struct page **p = &f->pages[b]; *p != NULL;) {
                        struct page *page = *p;
                        if (err != 0) {
                                page->lost |= page->unsynced;
                                page->unsynced = 0;
                        } else {
                                put_page(f, page);
                        }
                        if (page->lost != 0) {
                                p = &page->next;
                                continue;
                        }
                        *p = page->next;
                        free(page);
                }
        }
        if (err == 0) f->valid = f->size;
        return err;
}

static void file_free(struct file *f)
{
        for (size_t b = 0; b < BUCKETS; b++) {
                while (f->pages[b] != NULL) {
                        struct page *page = f->pages[b];
                        f->pages[b] = page->next;
                        free(page);
                }
        }
        close(f->fd);
        list_remove(&f->link);
        free(f->path);
        free(f);
}

static struct file *file_find(const char *path)
{
        LIST_FOREACH(it, &fs.files)
        {
                struct file *f = container_of(it, struct file, link);
                if (f->path != NULL && strcmp(f->path, path) == 0) return f;
        }
        return NULL;
}

static int file_get(const char *path, int flags, mode_t mode, struct file **ret)
{
        struct stat st;
        *ret = file_find(path);
        if (*ret != NULL) return 0;
        int fd = openat(fs.root, rel(path), O_RDWR | O_CLOEXEC | flags, mode);
        if (fd < 0) return -errno;
        if (fstat(fd, &st) != 0) {
                int err = -errno;
                close(fd);
                return err;
        }
        struct file *f = xnew(struct file);
        f->fd = fd;
        f->path = xstrdup(path);
        f->size = f->valid = st.st_size;
        list_push_back(&fs.files, &f->link);
        *ret = f;
        return 0;
}

/* ---- names ---- */

static void op_add(enum op_kind kind, const char *path, const char *to, char *backup)
{
        struct dir_op *op = xnew(struct dir_op);
        op->kind = kind;
        op->path = xstrdup(path);
        op->to = to != NULL ? xstrdup(to) : NULL;
        op->backup = backup;
        list_push_back(&fs.ops, &op->link);
}

static void op_free(struct dir_op *op)
{
        if (op->backup != NULL) (void)unlinkat(fs.root, op->backup, 0);
        list_remove(&op->link);
        free(op->path);
        free(op->to);
        free(op->backup);
        free(op);
}

/* Moves what has that name aside. */
static int set_aside(const char *path, char **ret_backup)
{
        struct stat st = { 0 };
        char *backup = xasprintf(HIDDEN "%u", ++fs.backups);
        (void)fstatat(fs.root, rel(path), &st, AT_SYMLINK_NOFOLLOW);
        if (renameat(fs.root, rel(path), fs.root, backup) != 0) {
                int err = -errno;
                free(backup);
                *ret_backup = NULL;
                return err;
        }
        struct file *f = file_find(path);
        fs.used -= (uint64_t)(f != NULL ? f->size : st.st_size);
        if (f != NULL) {
                free(f->path);
                f->path = NULL;
        }
        *ret_backup = backup;
        return 0;
}

static void op_undo(struct dir_op *op)
{
        switch (op->kind) {
        case OP_CREATE: (void)unlinkat(fs.root, rel(op->path), 0); break;
        case OP_MKDIR: (void)unlinkat(fs.root, rel(op->path), AT_REMOVEDIR); break;
        case OP_RENAME: (void)renameat(fs.root, rel(op->to), fs.root, rel(op->path)); break;
        case OP_UNLINK: break;
        }
        if (op->backup != NULL)
                (void)renameat(fs.root, op->backup, fs.root, rel(op->to != NULL ? op->to : op->path));
        free(op->backup);
        op->backup = NULL;
        op_free(op);
}

static bool in_dir(const char *path, const char *dir)
{
        size_t n = strlen(dir);
        if (n == 1) return strchr(path + 1, '/') == NULL;
        return strncmp(path, dir, n) == 0 && path[n] == '/' && strchr(path + n + 1, '/') == NULL;
}

/* ---- a crash ---- */

static uint64_t coin_state;
static bool coin(void)
{
        coin_state += 0x9E3779B97F4A7C15u;
        uint64_t z = (coin_state ^ (coin_state >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        return (z >> 40) & 1;
}

static void crash_file(struct file *f, size_t grain)
{
        if (coin() && ftruncate(f->fd, f->valid) != 0) abort();
        if (coin() && ftruncate(f->fd, f->size) != 0) abort();
        for (size_t b = 0; b < BUCKETS; b++) {
                for (struct page *p = f->pages[b]; p != NULL; p = p->next) {
                        bool whole = coin();
                        for (size_t s = 0; s < PAGE / SECTOR; s++) {
                                bool survives = grain == PAGE ? whole : coin();
                                if (survives && (p->unsynced & (1u << s))) put(f, p, s * SECTOR, SECTOR);
                        }
                }
        }
}

static const char *crash(const char *mode, uint64_t seed)
{
        bool drop = strcmp(mode, "drop") == 0, keep = strcmp(mode, "keep") == 0;
        size_t grain = strcmp(mode, "torn512") == 0 ? SECTOR : strcmp(mode, "torn4096") == 0 ? PAGE : 0;
        if (!drop && !keep && grain == 0) return "unknown mode";
        coin_state = seed;
        LIST_FOREACH(it, &fs.files)
        {
                struct file *f = container_of(it, struct file, link);
                fs.fail_in[CALL_SYNC] = 0;
                if (keep) (void)content_sync(f);
                else if (!drop) crash_file(f, grain);
        }
        while (!keep && !list_empty(&fs.ops) && (drop || coin()))
                op_undo(container_of(fs.ops.prev, struct dir_op, link));
        while (!list_empty(&fs.ops)) op_free(list_first(&fs.ops, struct dir_op, link));
        return "crashed";
}

/* ---- calls of the kernel ---- */

static struct file *file_of(const struct fuse_file_info *fi) { return (struct file *)(uintptr_t)fi->fh; }

static int fs_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
        lock();
        struct file *f = fi != NULL && fi->fh != 0 ? file_of(fi) : file_find(path);
        int rc = f != NULL ? fstat(f->fd, st) : fstatat(fs.root, rel(path), st, AT_SYMLINK_NOFOLLOW);
        if (rc != 0) return unlock(-errno);
        if (f != NULL) {
                st->st_size = f->size;
                st->st_blocks = (f->size + SECTOR - 1) / SECTOR;
        }
        return unlock(0);
}

static int fs_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t offset,
        struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
        (void)offset, (void)fi, (void)flags;
        int fd = openat(fs.root, rel(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
        if (d == NULL) return -errno;
        for (struct dirent *e = readdir(d); e != NULL; e = readdir(d))
                if (strncmp(e->d_name, HIDDEN, HIDDEN_N) != 0) (void)fill(buf, e->d_name, NULL, 0, 0);
        closedir(d);
        return 0;
}

static int fs_open(const char *path, struct fuse_file_info *fi)
{
        struct file *f;
        lock();
        int err = file_get(path, 0, 0, &f);
        if (err == 0 && (fi->flags & O_TRUNC)) content_truncate(f, 0);
        fi->fh = (uint64_t)(uintptr_t)f;
        fi->keep_cache = 1;
        return unlock(err);
}

static int fs_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
        struct file *f;
        lock();
        int err = file_get(path, O_CREAT | O_EXCL, mode, &f);
        if (err == 0) op_add(OP_CREATE, path, NULL, NULL);
        fi->fh = (uint64_t)(uintptr_t)f;
        return unlock(err);
}

static int fs_read(const char *path, char *p, size_t n, off_t offset, struct fuse_file_info *fi)
{
        (void)path;
        lock();
        struct file *f = file_of(fi);
        int err = injected(CALL_READ, f);
        return unlock(err != 0 ? err : content_read(f, (uint8_t *)p, n, offset));
}

/* How much of a write there is room for, or -ENOSPC. */
static int fits(const struct file *f, size_t n, off_t offset)
{
        off_t grows = offset + (off_t)n - f->size;
        if (fs.room == 0 || grows <= 0 || fs.used + (uint64_t)grows <= fs.room) return (int)n;
        uint64_t over = fs.used + (uint64_t)grows - fs.room;
        return over >= n ? -ENOSPC : (int)(n - over);
}

static int fs_write(const char *path, const char *p, size_t n, off_t offset, struct fuse_file_info *fi)
{
        (void)path;
        lock();
        struct file *f = file_of(fi);
        int err = injected(CALL_WRITE, f), size = fits(f, n, offset);
        if (err != 0 || size < 0) return unlock(err != 0 ? err : size);
        if (injected(CALL_SHORT, f) != 0 && size > 1) size /= 2;
        err = content_write(f, (const uint8_t *)p, (size_t)size, offset);
        if (err == 0 && (fi->flags & O_DSYNC)) err = content_sync(f);
        return unlock(err != 0 ? err : size);
}

static int fs_fsync(const char *path, int datasync, struct fuse_file_info *fi)
{
        (void)path, (void)datasync;
        struct timespec t = { (time_t)(fs.stall_ms / 1000), (long)(fs.stall_ms % 1000) * 1000000 };
        if (fs.stall_ms != 0) (void)nanosleep(&t, NULL);
        lock();
        return unlock(content_sync(file_of(fi)));
}

static int fs_fsyncdir(const char *path, int datasync, struct fuse_file_info *fi)
{
        (void)datasync, (void)fi;
        lock();
        int err = injected(CALL_SYNC, NULL);
        for (struct list *it = fs.ops.next, *next; err == 0 && it != &fs.ops; it = next) {
                struct dir_op *op = container_of(it, struct dir_op, link);
                next = it->next;
                if (in_dir(op->path, path) || (op->to != NULL && in_dir(op->to, path))) op_free(op);
        }
        return unlock(err);
}

static int fs_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
        struct file *f = NULL;
        lock();
        int err = 0;
        if (fi != NULL && fi->fh != 0) f = file_of(fi);
        else err = file_get(path, 0, 0, &f);
        if (err == 0) content_truncate(f, size);
        return unlock(err);
}

static int fs_mkdir(const char *path, mode_t mode)
{
        lock();
        if (mkdirat(fs.root, rel(path), mode) != 0) return unlock(-errno);
        op_add(OP_MKDIR, path, NULL, NULL);
        return unlock(0);
}

static int fs_unlink(const char *path)
{
        char *backup;
        lock();
        int err = set_aside(path, &backup);
        if (err == 0) op_add(OP_UNLINK, path, NULL, backup);
        return unlock(err);
}

/* A directory is empty when it goes; that it comes back after a crash is not modelled. */
static int fs_rmdir(const char *path) { return unlinkat(fs.root, rel(path), AT_REMOVEDIR) == 0 ? 0 : -errno; }

static void move_paths(const char *from, const char *to)
{
        size_t n = strlen(from);
        LIST_FOREACH(it, &fs.files)
        {
                struct file *f = container_of(it, struct file, link);
                if (f->path == NULL || strncmp(f->path, from, n) != 0) continue;
                if (f->path[n] != '\0' && f->path[n] != '/') continue;
                char *path = xasprintf("%s%s", to, f->path + n);
                free(f->path);
                f->path = path;
        }
}

static int fs_rename(const char *from, const char *to, unsigned flags)
{
        char *backup = NULL;
        if (flags != 0) return -EINVAL;
        lock();
        int err = set_aside(to, &backup);
        if (err != 0 && err != -ENOENT) return unlock(err);
        if (renameat(fs.root, rel(from), fs.root, rel(to)) != 0) return unlock(-errno);
        move_paths(from, to);
        op_add(OP_RENAME, from, to, backup);
        return unlock(0);
}

static int fs_chmod(const char *path, mode_t mode, struct fuse_file_info *fi)
{
        (void)fi;
        return fchmodat(fs.root, rel(path), mode, 0) == 0 ? 0 : -errno;
}

static int fs_statfs(const char *path, struct statvfs *st)
{
        (void)path;
        if (fstatvfs(fs.root, st) != 0) return -errno;
        lock();
        if (fs.room != 0) {
                uint64_t left = fs.room > fs.used ? fs.room - fs.used : 0;
                st->f_bavail = st->f_bfree = left / st->f_frsize;
        }
        return unlock(0);
}

/* ---- the socket ---- */

static const char *flip(const char *path, off_t offset, unsigned mask)
{
        struct file *f;
        uint8_t byte;
        if (file_get(path, 0, 0, &f) != 0 || offset >= f->size) return "no such byte";
        struct page *page = *slot(f, (uint64_t)offset / PAGE);
        if (page != NULL) page->data[offset % PAGE] ^= (uint8_t)mask;
        if (pread(f->fd, &byte, 1, offset) == 1) {
                byte ^= (uint8_t)mask;
                if (pwrite(f->fd, &byte, 1, offset) != 1) return strerror(errno);
        }
        return NULL;
}

static enum call call_of(const char *name)
{
        for (unsigned c = 0; c < CALL_SHORT; c++)
                if (strcmp(name, call_names[c]) == 0) return (enum call)c;
        return CALLS;
}

static void command(const char *line, char *answer, size_t size, bool *ret_ends, char *invalidate)
{
        char word[256], always[16] = "";
        uint64_t a = 0;
        int64_t offset = 0;
        int number = 0;
        unsigned mask;
        const char *text = "ok";
        if (sscanf(line, "crash %255s %" SCNu64, word, &a) == 2) {
                text = crash(word, a);
                *ret_ends = true;
        } else if (sscanf(line, "fail %255s %" SCNu64 " %d %15s", word, &a, &number, always) >= 3) {
                enum call c = call_of(word);
                if (c == CALLS) {
                        text = "unknown call";
                } else {
                        fs.fail_in[c] = a;
                        fs.fail_errno[c] = number;
                        fs.fail_always[c] = strcmp(always, "always") == 0;
                }
        } else if (sscanf(line, "short %" SCNu64, &a) == 1) {
                fs.fail_in[CALL_SHORT] = a;
                fs.fail_errno[CALL_SHORT] = EIO;
        } else if (strncmp(line, "at", 2) == 0) {
                fs.at[0] = '\0';
                (void)sscanf(line, "at %255s", fs.at);
        } else if (sscanf(line, "flip %255s %" SCNd64 " %u", word, &offset, &mask) == 3) {
                text = flip(word, offset, mask);
                if (text == NULL) memcpy(invalidate, word, sizeof word);
                if (text == NULL) text = "ok";
        } else if (sscanf(line, "room %" SCNu64, &a) == 1) {
                fs.room = a;
        } else if (sscanf(line, "stall %" SCNu64, &a) == 1) {
                fs.stall_ms = a;
        } else if (strncmp(line, "count", 5) == 0) {
                (void)snprintf(answer, size,
                        "read %" PRIu64 " write %" PRIu64 " sync %" PRIu64 " failed %" PRIu64 " used %" PRIu64
                        "\n",
                        fs.count[CALL_READ], fs.count[CALL_WRITE], fs.count[CALL_SYNC], fs.failed_syncs,
                        fs.used);
                return;
        } else {
                text = "unknown command";
        }
        (void)snprintf(answer, size, "%s\n", text);
}

static void serve(int fd)
{
        char line[512] = "", answer[256], invalidate[256] = "";
        bool ends = false;
        ssize_t n = read(fd, line, sizeof line - 1);
        if (n <= 0) return;
        lock();
        command(line, answer, sizeof answer, &ends, invalidate);
        (void)unlock(0);
        if (invalidate[0] != '\0') (void)fuse_invalidate_path(fs.fuse, invalidate);
        if (write(fd, answer, strlen(answer)) < 0) ends = true;
        if (ends) _exit(0);
}

static void *control(void *arg)
{
        int listener = *(int *)arg;
        for (;;) {
                int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
                if (fd < 0) return NULL;
                serve(fd);
                close(fd);
        }
}

static int listen_at(const char *path)
{
        struct sockaddr_un a = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || strlen(path) >= sizeof a.sun_path) return -1;
        memcpy(a.sun_path, path, strlen(path) + 1);
        (void)unlink(path);
        return bind(fd, (const struct sockaddr *)&a, sizeof a) == 0 && listen(fd, 8) == 0 ? fd : -1;
}

static void *fs_init(struct fuse_conn_info *conn, struct fuse_config *cfg)
{
        static int listener;
        pthread_t thread;
        (void)conn;
        cfg->use_ino = 1;
        cfg->hard_remove = 1;
        cfg->kernel_cache = 1;
        fs.fuse = fuse_get_context()->fuse;
        listener = listen_at(fs.socket_path);
        if (listener < 0 || pthread_create(&thread, NULL, control, &listener) != 0) {
                perror(fs.socket_path);
                exit(1);
        }
        return NULL;
}

static void fs_destroy(void *data)
{
        (void)data;
        while (!list_empty(&fs.files)) {
                struct file *f = list_first(&fs.files, struct file, link);
                fs.fail_in[CALL_SYNC] = 0;
                (void)content_sync(f);
                file_free(f);
        }
        while (!list_empty(&fs.ops)) op_free(list_first(&fs.ops, struct dir_op, link));
}

static const struct fuse_operations operations = { .getattr = fs_getattr,
        .readdir = fs_readdir,
        .open = fs_open,
        .create = fs_create,
        .read = fs_read,
        .write = fs_write,
        .fsync = fs_fsync,
        .fsyncdir = fs_fsyncdir,
        .truncate = fs_truncate,
        .mkdir = fs_mkdir,
        .unlink = fs_unlink,
        .rmdir = fs_rmdir,
        .rename = fs_rename,
        .chmod = fs_chmod,
        .statfs = fs_statfs,
        .init = fs_init,
        .destroy = fs_destroy };

static int add_size(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        (void)path, (void)ftw;
        if (type == FTW_F) fs.used += (uint64_t)st->st_size;
        return 0;
}

int main(int argc, char **argv)
{
        if (argc != 4) {
                (void)fprintf(stderr, "usage: lossyfs BACKING MOUNTPOINT SOCKET\n");
                return 2;
        }
        fs.root = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fs.root < 0 || nftw(argv[1], add_size, 16, FTW_PHYS) != 0) {
                perror(argv[1]);
                return 1;
        }
        list_init(&fs.files);
        list_init(&fs.ops);
        fs.socket_path = argv[3];
        char foreground[] = "-f", *args[] = { argv[0], foreground, argv[2], NULL };
        return fuse_main(3, args, &operations, NULL);
}
