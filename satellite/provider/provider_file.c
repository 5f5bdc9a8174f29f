/* FILE and FILE_THIN: image files in a directory, shown as loop devices.
 *
 * An image is made without a name (O_TMPFILE), gets its size and its mark, is synced, and only then appears
 * under its name with link(2), which never replaces anything: a crash leaves a whole image or none. The mark
 * is the extended attribute user.outrigger.uuid, "UUID VOLUME RESOURCE", with the volume's own uuid in
 * user.outrigger.volume. On a file system without extended
 * attributes the state file must know the image (dev.made) and its size must be the one remembered.
 *
 * A snapshot is an image as well, never attached, with its name in user.outrigger.snapshot and its own uuid in the mark.
 * Snapshots, and volumes from them, are copies that share blocks where the file system can do that (FICLONE), and sparse
 * copies elsewhere; they too get their name when they are whole. */
#include "satellite/provider/provider.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "satellite/base/inject.h"
#include "satellite/base/wipe.h"
#include "satellite/provider/loopdev.h"
#include "wire/codec/codec.h"

#define MARK_NAME "user.outrigger.uuid"
#define MARK_VLM_NAME "user.outrigger.volume"
#define MARK_SNAP_NAME "user.outrigger.snapshot"
#define MARK_MAX 512
#define SUFFIX ".img"
#define FILE_NAME_SIZE (BACKING_ID_SIZE + sizeof SUFFIX)
#define ALLOCATION_KIB 4

static int file_place(const struct strmap *props, struct arena *a, const char **ret, struct trouble *t)
{
        const char *dir = strmap_get(props, "StorDriver/FileDir");
        if (dir == NULL || dir[0] == '\0') dir = strmap_get(props, "StorDriver/StorPoolName");
        size_t n = dir == NULL ? 0 : strlen(dir);
        while (n > 1 && dir[n - 1] == '/') n--;
        if (n > 1 && n < PATH_MAX - FILE_NAME_SIZE && dir[0] == '/' && strstr(dir, "/../") == NULL) {
                *ret = arena_strndup(a, dir, n);
                return 0;
        }
        trouble_set(t, E_CONFIG, TROUBLE_POOL, "The pool does not name a directory.");
        trouble_cause(t, "StorDriver/FileDir is %s%s%s.", n == 0 ? "not set" : "\"", n == 0 ? "" : dir,
                n == 0 ? "" : "\"");
        trouble_fix(
                t, "Set the pool's property StorDriver/FileDir to an absolute path below /, without '..'.");
        return E_CONFIG;
}

static int open_dir(const char *place, struct trouble *t)
{
        int fd = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd >= 0 ? fd : trouble_errno(t, errno, "Directory %s cannot be used", place);
}

static int file_info(const char *place, struct pool_info *ret, struct trouble *t)
{
        int dir = open_dir(place, t);
        if (dir < 0) return dir;
        struct statvfs v;
        int err = fstatvfs(dir, &v) == 0 ? 0 : errno;
        close(dir);
        if (err != 0) return trouble_errno(t, err, "The space in %s cannot be found out", place);
        if (v.f_flag & ST_RDONLY) return trouble_errno(t, EROFS, "Directory %s cannot be used", place);
        *ret = (struct pool_info){
                .free_kib = (uint64_t)v.f_bavail * v.f_frsize / 1024,
                .total_kib = (uint64_t)v.f_blocks * v.f_frsize / 1024,
                .snapshots = true,
        };
        return 0;
}

/* Takes the owner out of the file's mark. False when there is no (legible) mark. */
static bool read_mark(int fd, struct arena *a, struct dev *d)
{
        char text[MARK_MAX + 1];
        ssize_t n = fgetxattr(fd, MARK_NAME, text, MARK_MAX);
        if (n <= 0) return false;
        text[n] = '\0';
        char uuid[64];
        unsigned long long volume;
        int at = 0;
        if (sscanf(text, "%63s %llu %n", uuid, &volume, &at) < 2 || at == 0 || text[at] == '\0') return false;
        d->uuid = arena_strdup(a, uuid);
        d->volume_number = volume;
        d->rsc_name = arena_strdup(a, text + at);
        n = fgetxattr(fd, MARK_VLM_NAME, text, MARK_MAX);
        d->vlm_uuid = n > 0 ? arena_strndup(a, text, (size_t)n) : NULL;
        n = fgetxattr(fd, MARK_SNAP_NAME, text, MARK_MAX);
        d->snap_name = n > 0 ? arena_strndup(a, text, (size_t)n) : NULL;
        return true;
}

/* 0 or a positive errno; 0 also where there are no extended attributes. */
static int set_attribute(int fd, const char *name, const char *text)
{
        if (fsetxattr(fd, name, text, strlen(text), 0) == 0) return 0;
        return errno == EOPNOTSUPP || errno == ENOSYS ? 0 : errno;
}

static int write_mark(int fd, const struct dev *d)
{
        char text[MARK_MAX];
        int n = snprintf(
                text, sizeof text, "%s %llu %s", d->uuid, (unsigned long long)d->volume_number, d->rsc_name);
        if (n < 0 || n >= (int)sizeof text) return EINVAL;
        int err = d->vlm_uuid != NULL && d->vlm_uuid[0] != '\0'
                          ? set_attribute(fd, MARK_VLM_NAME, d->vlm_uuid)
                          : 0;
        if (err == 0 && d->snap_name != NULL) err = set_attribute(fd, MARK_SNAP_NAME, d->snap_name);
        return err != 0 ? err : set_attribute(fd, MARK_NAME, text);
}

static void file_name(const struct dev *d, char out[FILE_NAME_SIZE])
{
        snprintf(out, FILE_NAME_SIZE, "%s" SUFFIX, d->backing_id);
}

static char *full_path(struct arena *a, const char *place, const char *name)
{
        return arena_printf(a, "%s/%s", place, name);
}

/* The path as the kernel shows it for a loop device: without symbolic links in the directory. */
static const char *real_path(struct arena *a, const char *place, const char *name)
{
        char real[PATH_MAX];
        return full_path(a, realpath(place, real) != NULL ? real : place, name);
}

static void take_loop(struct dev *d, const struct loop_state *loop, struct arena *a)
{
        d->attached = true;
        d->lost = loop->deleted;
        d->in_use = loop->in_use;
        d->device_kib = loop->size_kib;
        d->device_path = arena_strdup(a, loop->path);
}

/* What can be seen of the open image. */
static void look_at(int fd, const struct stat *st, struct dev *d, struct arena *a)
{
        d->exists = true;
        d->marked = read_mark(fd, a, d);
        d->size_kib = (uint64_t)st->st_size / 1024;
        d->allocated_kib = (uint64_t)st->st_blocks / 2;
}

/* Opens an image for looking or changing. -errno; ELOOP for symbolic links, EINVAL for what is no regular
 * file. */
static int open_image(int dir, const char *name, int flags, struct stat *st)
{
        int fd = openat(dir, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0) return -errno;
        int err = fstat(fd, st) != 0 ? errno : S_ISREG(st->st_mode) ? 0 : EINVAL;
        if (err == 0) return fd;
        close(fd);
        return -err;
}

static int not_an_image(struct trouble *t, int err, const struct dev *d, const char *name)
{
        if (err != -EINVAL && err != -ELOOP)
                return trouble_errno(t, -err, "%s/%s cannot be opened", d->place, name);
        trouble_set(t, E_EXISTS, TROUBLE_EXISTS, "%s/%s is not a regular file.", d->place, name);
        trouble_cause(t, "Something else than an image has the name that the volume needs.");
        trouble_fix(t, "Move it away; the satellite tries again by itself.");
        return E_EXISTS;
}

static int no_list(struct trouble *t, int err)
{
        return trouble_set(t, err, TROUBLE_UNKNOWN, "The loop devices cannot be listed: %s.", err_text(err));
}

static int file_probe(struct dev *d, struct arena *a, struct trouble *t)
{
        const char *hint = d->device_path;
        d->exists = d->attached = d->marked = d->lost = d->in_use = false;
        d->device_path = NULL;
        d->unknown = true;
        int dir = open_dir(d->place, t);
        if (dir < 0) return dir;
        char name[FILE_NAME_SIZE];
        file_name(d, name);
        struct stat st;
        int fd = open_image(dir, name, O_RDONLY, &st);
        close(dir);
        if (fd < 0 && fd != -ENOENT) return not_an_image(t, fd, d, name);
        d->unknown = false;
        d->backing_path = full_path(a, d->place, name);
        if (fd >= 0) {
                look_at(fd, &st, d, a);
                close(fd);
        }
        struct loop_state loop;
        int err = fd >= 0 && hint != NULL ? loop_check(hint, &st, &loop) : E_NOT_FOUND;
        if (err != 0) err = loop_find(fd >= 0 ? &st : NULL, real_path(a, d->place, name), &loop);
        if (err == 0) take_loop(d, &loop, a);
        if (err == 0 || err == E_NOT_FOUND) return 0;
        d->unknown = true;
        return no_list(t, err);
}

/* The backing id in a file name; false when it is not the name of an image. */
static bool id_of_name(const char *name, char out[BACKING_ID_SIZE])
{
        size_t n = strlen(name), suffix = sizeof SUFFIX - 1;
        if (n <= suffix || n - suffix > BACKING_ID_MAX || strcmp(name + n - suffix, SUFFIX) != 0)
                return false;
        memcpy(out, name, n - suffix);
        out[n - suffix] = '\0';
        return backing_id_valid(out);
}

static int list_one(int dir, const char *place, const char *real, const char *name,
        const struct loop_table *table, struct arena *a, struct dev *d)
{
        char id[BACKING_ID_SIZE];
        if (!id_of_name(name, id)) return E_NOT_FOUND;
        struct stat st;
        int fd = open_image(dir, name, O_RDONLY, &st);
        if (fd < 0) return fd;
        *d = (struct dev){ .kind = provider_kind_FILE, .place = place };
        d->backing_id = arena_strdup(a, id);
        d->backing_path = full_path(a, place, name);
        look_at(fd, &st, d, a);
        close(fd);
        struct loop_state loop;
        if (loop_find_in(table, &st, full_path(a, real, name), &loop) == 0) take_loop(d, &loop, a);
        return 0;
}

static const char *file_missing(struct arena *a)
{
        (void)a;
        if (access("/dev/loop-control", R_OK | W_OK) == 0) return NULL;
        return "/dev/loop-control cannot be opened: run as root and load the kernel module with 'modprobe "
               "loop'";
}

static int file_list(const char *place, struct arena *a, struct dev **ret, uint32_t *ret_n, struct trouble *t)
{
        struct loop_table table;
        int err = loop_table_read(a, &table);
        int fd = err == 0 ? open_dir(place, t) : no_list(t, err);
        if (fd < 0) return fd;
        DIR *dir = fdopendir(fd);
        if (dir == NULL) {
                close(fd);
                return trouble_errno(t, ENOMEM, "Directory %s cannot be read", place);
        }
        uint32_t cap = 0;
        *ret = NULL;
        *ret_n = 0;
        char real[PATH_MAX];
        if (realpath(place, real) == NULL) snprintf(real, sizeof real, "%s", place);
        const char *kept_place = arena_strdup(a, place);
        const struct dirent *e;
        while (err == 0 && (errno = 0, e = readdir(dir)) != NULL) {
                if (*ret_n == cap) {
                        uint32_t more = cap == 0 ? 64 : cap * 2;
                        struct dev *bigger = arena_array(a, struct dev, more);
                        if (bigger == NULL) {
                                err = trouble_set(t, E_TOO_LARGE, TROUBLE_POOL,
                                        "There are too many files in %s.", place);
                                break;
                        }
                        if (cap > 0) memcpy(bigger, *ret, cap * sizeof *bigger);
                        *ret = bigger;
                        cap = more;
                }
                if (list_one(fd, kept_place, real, e->d_name, &table, a, *ret + *ret_n) == 0) ++*ret_n;
        }
        if (err == 0 && errno != 0) err = trouble_errno(t, errno, "Directory %s cannot be read", place);
        closedir(dir);
        return err;
}

/* May this image be changed in d's name? by_size: one without a mark must have the size that it had last;
 * asked before it is removed, because then a mistake could not be made good. */
static int check_owner(
        int fd, const struct stat *st, const struct dev *d, const char *name, bool by_size, struct trouble *t)
{
        struct arena a = { 0 };
        struct dev owner = { 0 };
        bool marked = read_mark(fd, &a, &owner);
        bool same = marked ? dev_is_owned(&owner, d)
                           : d->made && (!by_size || d->last_size_kib == 0 ||
                                                d->last_size_kib == (uint64_t)st->st_size / 1024);
        const char *path = full_path(&a, d->place, name);
        int err = same ? 0 : dev_not_ours(t, d, &owner, path, "mark (" MARK_NAME ")", "Move the file away");
        arena_done(&a);
        return err;
}

/* The image of d, checked to be d's. A descriptor or negative; -ENOENT without an explanation. */
static int open_ours(
        int dir, const struct dev *d, int flags, bool by_size, struct stat *st, struct trouble *t)
{
        char name[FILE_NAME_SIZE];
        file_name(d, name);
        int fd = open_image(dir, name, flags, st);
        if (fd == -ENOENT) return fd;
        if (fd < 0) return not_an_image(t, fd, d, name);
        int err = check_owner(fd, st, d, name, by_size, t);
        if (err == 0) return fd;
        close(fd);
        return err;
}

/* As open_ours, but in d's directory, and a missing image is an error like any other. */
static int open_image_of(const struct dev *d, int flags, struct stat *st, struct trouble *t)
{
        int dir = open_dir(d->place, t);
        if (dir < 0) return dir;
        int fd = open_ours(dir, d, flags, false, st, t);
        close(dir);
        if (fd == -ENOENT) return trouble_errno(t, ENOENT, "Image %s/%s" SUFFIX, d->place, d->backing_id);
        return fd;
}

/* 0 or a positive errno. Thick space is asked for before it is taken, so that a file system is not filled in
 * vain. */
static int take_space(int fd, bool thin, uint64_t from_kib, uint64_t to_kib)
{
        if (thin) return ftruncate(fd, (off_t)(to_kib * 1024)) == 0 ? 0 : errno;
        struct statvfs v;
        if (fstatvfs(fd, &v) != 0) return errno;
        if ((uint64_t)v.f_bavail * v.f_frsize / 1024 < to_kib - from_kib) return ENOSPC;
        if (fallocate(fd, 0, (off_t)(from_kib * 1024), (off_t)((to_kib - from_kib) * 1024)) == 0) return 0;
        int err = errno;
        if (ftruncate(fd, (off_t)(from_kib * 1024)) != 0) return EIO;
        return err;
}

/* An image without a name; on file systems that cannot do that, one with a temporary name, which replaces
 * what an interrupted attempt left. */
static int open_unnamed(int dir, const struct dev *d, char temp[FILE_NAME_SIZE + 16])
{
        temp[0] = '\0';
        int fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT))
                return fd >= 0 ? fd : -errno;
        snprintf(temp, FILE_NAME_SIZE + 16, ".outrigger-new-%s", d->backing_id);
        if (unlinkat(dir, temp, 0) != 0 && errno != ENOENT) return -errno;
        fd = openat(dir, temp, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
        return fd >= 0 ? fd : -errno;
}

/* Gives the image its name, if nothing has it. 0 or a positive errno. */
static int give_name(int dir, int fd, const char *temp, const char *name)
{
        char self[64];
        snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
        int failed = temp[0] == '\0' ? linkat(AT_FDCWD, self, dir, name, AT_SYMLINK_FOLLOW)
                                     : linkat(dir, temp, dir, name, 0);
        if (failed != 0) return errno;
        return fsync(dir) == 0 ? 0 : errno;
}

static int file_create(const struct dev *d, uint64_t size_kib, struct trouble *t)
{
        int dir = open_dir(d->place, t);
        if (dir < 0) return dir;
        struct stat st;
        int fd = open_ours(dir, d, O_RDONLY, false, &st, t);
        if (fd != -ENOENT) {
                if (fd >= 0) close(fd);
                close(dir);
                return MIN(fd, 0);
        }
        char name[FILE_NAME_SIZE], temp[FILE_NAME_SIZE + 16];
        file_name(d, name);
        fd = open_unnamed(dir, d, temp);
        int err = fd < 0 ? -fd : 0;
        if (err == 0) err = take_space(fd, d->kind == provider_kind_FILE_THIN, 0, size_kib);
        if (err == 0) err = write_mark(fd, d);
        if (err == 0 && fsync(fd) != 0) err = errno;
        inject_point(INJECT_FILE_BEFORE_NAME);
        if (err == 0) err = give_name(dir, fd, temp, name);
        inject_point(INJECT_FILE_CREATED);
        if (temp[0] != '\0' && unlinkat(dir, temp, 0) != 0 && err == 0) err = errno;
        if (fd >= 0) close(fd);
        close(dir);
        if (err == 0) return 0;
        return trouble_errno(t, err, "Image %s/%s of %llu KiB cannot be made", d->place, name,
                (unsigned long long)size_kib);
}

static int file_adopt(const struct dev *d, struct trouble *t)
{
        struct stat st;
        int fd = open_image_of(d, O_RDWR, &st, t);
        if (fd < 0) return fd;
        struct arena a = { 0 };
        struct dev owner = { 0 };
        int err = 0;
        if (read_mark(fd, &a, &owner) && owner.vlm_uuid == NULL) {
                err = set_attribute(fd, MARK_VLM_NAME, d->vlm_uuid);
                if (err == 0 && fsync(fd) != 0) err = errno;
        }
        arena_done(&a);
        close(fd);
        if (err == 0) return 0;
        return trouble_errno(t, err, "Image %s/%s" SUFFIX " cannot be marked", d->place, d->backing_id);
}

static int file_resize(const struct dev *d, uint64_t size_kib, struct trouble *t)
{
        struct stat st;
        int fd = open_image_of(d, O_RDWR, &st, t);
        if (fd < 0) return fd;
        uint64_t now_kib = (uint64_t)st.st_size / 1024;
        int err = 0;
        if (size_kib < now_kib) err = ftruncate(fd, (off_t)(size_kib * 1024)) == 0 ? 0 : errno;
        else if (size_kib > now_kib)
                err = take_space(fd, d->kind == provider_kind_FILE_THIN, now_kib, size_kib);
        if (err == 0 && fsync(fd) != 0) err = errno;
        close(fd);
        inject_point(INJECT_FILE_RESIZED);
        if (err == 0) return 0;
        return trouble_errno(t, err, "Image %s/%s" SUFFIX " cannot be resized from %llu to %llu KiB",
                d->place, d->backing_id, (unsigned long long)now_kib, (unsigned long long)size_kib);
}

static int file_attach(const struct dev *d, struct trouble *t)
{
        struct stat st;
        int fd = open_image_of(d, O_RDWR, &st, t);
        if (fd < 0) return fd;
        struct arena a = { 0 };
        char name[FILE_NAME_SIZE], device[LOOP_PATH_SIZE];
        file_name(d, name);
        struct loop_state loop;
        int err = loop_find(&st, real_path(&a, d->place, name), &loop);
        if (err == E_NOT_FOUND) err = loop_attach(fd, full_path(&a, d->place, name), device, t);
        else if (err != 0) err = no_list(t, err);
        inject_point(INJECT_FILE_ATTACHED);
        arena_done(&a);
        close(fd);
        return err;
}

static int file_refresh(const struct dev *d, struct trouble *t)
{
        struct stat st;
        struct loop_state loop;
        int fd = open_image_of(d, O_RDONLY, &st, t);
        if (fd < 0) return fd;
        close(fd);
        if (d->device_path == NULL || loop_check(d->device_path, &st, &loop) != 0) return 0;
        return loop_refresh(d->device_path, t);
}

/* The image may be gone: its device then is the one of the deleted file. */
static int file_detach(const struct dev *d, struct trouble *t)
{
        if (d->device_path == NULL) return 0;
        if (d->lost) return loop_detach(d->device_path, NULL, t);
        struct stat st;
        int fd = open_image_of(d, O_RDONLY, &st, t);
        if (fd < 0) return fd;
        close(fd);
        int err = loop_detach(d->device_path, &st, t);
        inject_point(INJECT_FILE_DETACHED);
        return err;
}

static int file_remove(const struct dev *d, struct trouble *t)
{
        int dir = open_dir(d->place, t);
        if (dir < 0) return dir;
        struct stat st, again;
        struct arena a = { 0 };
        struct loop_state loop;
        char name[FILE_NAME_SIZE];
        file_name(d, name);
        int err = 0;
        int fd = open_ours(dir, d, O_RDWR, true, &st, t);
        if (fd < 0) err = fd == -ENOENT ? 0 : fd;
        else if (loop_find(&st, real_path(&a, d->place, name), &loop) != E_NOT_FOUND)
                err = trouble_errno(t, EBUSY, "Image %s/%s is attached", d->place, name);
        else {
                int failed = wipe_fd(fd, (uint64_t)st.st_size);
                inject_point(INJECT_FILE_WIPED);
                if (failed == 0 && fstatat(dir, name, &again, AT_SYMLINK_NOFOLLOW) != 0) failed = errno;
                if (failed == 0 && (again.st_ino != st.st_ino || again.st_dev != st.st_dev)) failed = EAGAIN;
                if (failed == 0 && unlinkat(dir, name, 0) != 0) failed = errno;
                if (failed == 0 && fsync(dir) != 0) failed = errno;
                inject_point(INJECT_FILE_REMOVED);
                if (failed != 0)
                        err = trouble_errno(t, failed, "Image %s/%s cannot be removed", d->place, name);
        }
        if (fd >= 0) close(fd);
        arena_done(&a);
        close(dir);
        return err;
}

/* ---- copies: snapshots and what is made from them ---- */

#define COPY_CHUNK ((size_t)1 << 20)

/* The next run of data from `at` on; *ret_end 0: there is none. 0 or a positive errno. */
static int next_data(int fd, off_t at, off_t size, off_t *ret_begin, off_t *ret_end)
{
        *ret_end = 0;
        off_t begin = lseek(fd, at, SEEK_DATA);
        if (begin < 0) {
                if (errno == ENXIO) return 0;
                if (errno != EINVAL) return errno;
                begin = at; /* a file system that does not know holes */
        }
        off_t end = lseek(fd, begin, SEEK_HOLE);
        *ret_begin = begin;
        *ret_end = end < 0 ? size : end;
        return 0;
}

/* Up to n bytes at *at from one file to the other; *at moves. By copy_file_range, which may share blocks; or not: what was allocated
 * for it stays its own. The number of bytes, or a negative errno. */
static ssize_t copy_some(int from, int to, off_t *at, size_t n, bool share, void *buffer)
{
        off_t out = *at;
        if (share) {
                ssize_t done = copy_file_range(from, at, to, &out, n, 0);
                return done < 0 ? -errno : done;
        }
        ssize_t done = pread(from, buffer, MIN(n, COPY_CHUNK), *at);
        if (done > 0) done = pwrite(to, buffer, (size_t)done, *at);
        if (done > 0) *at += done;
        return done < 0 ? -errno : done;
}

/* The holes of the source stay holes. 0 or a positive errno. */
static int copy_sparse(int from, int to, off_t size, bool share)
{
        off_t at = 0, end;
        void *buffer = share ? NULL : xcalloc(1, COPY_CHUNK);
        int err = 0;
        while (err == 0 && at < size) {
                err = next_data(from, at, size, &at, &end);
                if (err != 0 || end == 0) break;
                while (err == 0 && at < end) {
                        ssize_t n = copy_some(from, to, &at, (size_t)(end - at), share, buffer);
                        if (n == 0) err = EIO; /* it has become shorter */
                        else if (n < 0 && n != -EINTR) err = (int)-n;
                }
        }
        free(buffer);
        return err;
}

/* Fills the new image fd with what is in src. quiet: a copy that takes its time is good enough. A thick one gets all of its space,
 * and shares none, so that writing to it never lacks any.
 * 0 or a positive errno; EBUSY: it would have to be copied, and is in use. */
static int fill(int fd, int src_fd, const struct dev *src, uint64_t src_kib, bool quiet, bool thick,
        uint64_t size_kib)
{
        if (!thick && ioctl(fd, FICLONE, src_fd) == 0)
                return size_kib > src_kib && ftruncate(fd, (off_t)(size_kib * 1024)) != 0 ? errno : 0;
        if (!quiet && src->in_use) return EBUSY;
        int err = take_space(fd, !thick, 0, MAX(size_kib, src_kib));
        return err != 0 ? err : copy_sparse(src_fd, fd, (off_t)(src_kib * 1024), !thick);
}

/* Makes the image of d, nameless or (ret_temp not empty) with a temporary name, out of src. A descriptor or a negative error. */
static int copy_image(int dir, const struct dev *src, const struct dev *d, bool quiet, uint64_t size_kib,
        char temp[FILE_NAME_SIZE + 16], struct trouble *t)
{
        struct stat st;
        int err = dev_flush(src, t);
        if (err != 0) return err;
        int from = open_image_of(src, O_RDONLY, &st, t);
        if (from < 0) return from;
        bool thick = d->kind == provider_kind_FILE && d->snap_name == NULL;
        int fd = open_unnamed(dir, d, temp);
        err = fd < 0 ? -fd : fill(fd, from, src, (uint64_t)st.st_size / 1024, quiet, thick, size_kib);
        if (err == 0) err = write_mark(fd, d);
        if (err == 0 && fsync(fd) != 0) err = errno;
        close(from);
        inject_point(INJECT_FILE_COPIED);
        if (err == 0) return fd;
        if (temp[0] != '\0') (void)unlinkat(dir, temp, 0);
        if (fd >= 0) close(fd);
        int ret = trouble_errno(t, err, "Image %s/%s" SUFFIX " cannot be copied to %s" SUFFIX, src->place,
                src->backing_id, d->backing_id);
        if (err == EBUSY) {
                trouble_cause(t, "The file system of the pool cannot share blocks (reflink), and the volume "
                                 "is in use: a copy "
                                 "would not be of one point in time.");
                trouble_fix(t, "End the use of the volume meanwhile; or put the pool on XFS or Btrfs.");
        }
        return ret;
}

/* A copy of src with the name of d, unless d is there. */
static int copy_named(
        const struct dev *src, const struct dev *d, bool quiet, uint64_t size_kib, struct trouble *t)
{
        int dir = open_dir(d->place, t);
        if (dir < 0) return dir;
        struct stat st;
        char name[FILE_NAME_SIZE], temp[FILE_NAME_SIZE + 16];
        int fd = open_ours(dir, d, O_RDONLY, false, &st, t), err = MIN(fd, 0);
        if (fd == -ENOENT) {
                file_name(d, name);
                fd = copy_image(dir, src, d, quiet, size_kib, temp, t);
                int failed = fd < 0 ? 0 : give_name(dir, fd, temp, name);
                inject_point(INJECT_FILE_CREATED);
                if (fd >= 0 && temp[0] != '\0' && unlinkat(dir, temp, 0) != 0 && failed == 0) failed = errno;
                err = failed == 0 ? MIN(fd, 0)
                                  : trouble_errno(t, failed, "Image %s/%s cannot be made", d->place, name);
        }
        if (fd >= 0) close(fd);
        close(dir);
        return err;
}

static int file_snapshot(const struct dev *src, const struct dev *d, bool quiet, struct trouble *t)
{
        return copy_named(src, d, quiet, 0, t);
}

static int file_restore(const struct dev *src, const struct dev *d, uint64_t size_kib, struct trouble *t)
{
        return copy_named(src, d, true, size_kib, t);
}

/* The name of an image that is about to take the place of another. */
static void new_name(const struct dev *d, char out[FILE_NAME_SIZE + 16])
{
        snprintf(out, FILE_NAME_SIZE + 16, ".outrigger-new-%s", d->backing_id);
}

/* Renames the whole new image over the old one, which must still be old's and not be attached. */
static int put_over(int dir, int fd, const char *temp, const struct dev *old, struct trouble *t)
{
        struct arena a = { 0 };
        struct stat st;
        struct loop_state loop;
        char name[FILE_NAME_SIZE], fresh[FILE_NAME_SIZE + 16];
        file_name(old, name);
        new_name(old, fresh);
        int was = open_ours(dir, old, O_RDONLY, false, &st, t), err = MIN(was, 0), failed = 0;
        if (was == -ENOENT) failed = ENOENT;
        else if (was >= 0 && loop_find(&st, real_path(&a, old->place, name), &loop) != E_NOT_FOUND)
                failed = EBUSY;
        else if (was >= 0) {
                if (temp[0] == '\0' && unlinkat(dir, fresh, 0) != 0 && errno != ENOENT) failed = errno;
                if (failed == 0 && temp[0] == '\0') failed = give_name(dir, fd, temp, fresh);
                inject_point(INJECT_FILE_BEFORE_NAME);
                if (failed == 0 && renameat(dir, fresh, dir, name) != 0) failed = errno;
                if (failed == 0 && fsync(dir) != 0) failed = errno;
        }
        if (failed != 0) err = trouble_errno(t, failed, "Image %s/%s cannot be replaced", old->place, name);
        if (was >= 0) close(was);
        arena_done(&a);
        return err;
}

static int file_replace(const struct dev *old, const struct dev *src, const struct dev *d, uint64_t size_kib,
        struct trouble *t)
{
        int dir = open_dir(d->place, t);
        if (dir < 0) return dir;
        char temp[FILE_NAME_SIZE + 16];
        int fd = copy_image(dir, src, d, true, size_kib, temp, t), err = MIN(fd, 0);
        if (fd >= 0) {
                err = put_over(dir, fd, temp, old, t);
                close(fd);
        }
        close(dir);
        return err;
}

/* Its mark is changed in one step, as the volume's uuid is an attribute of its own. */
static int file_keep(const struct dev *old, const struct dev *d, struct trouble *t)
{
        char fresh[FILE_NAME_SIZE + 16];
        struct stat st;
        int dir = open_dir(old->place, t);
        if (dir < 0) return dir;
        new_name(old, fresh);
        int err = unlinkat(dir, fresh, 0) == 0 || errno == ENOENT ? 0 : errno;
        close(dir);
        if (err != 0) return trouble_errno(t, err, "%s/%s cannot be removed", old->place, fresh);
        int fd = open_image_of(old, O_RDWR, &st, t);
        if (fd < 0) return fd;
        err = set_attribute(fd, MARK_VLM_NAME, d->vlm_uuid);
        if (err == 0 && fsync(fd) != 0) err = errno;
        close(fd);
        inject_point(INJECT_FILE_KEPT);
        if (err == 0) return 0;
        return trouble_errno(t, err, "Image %s/%s" SUFFIX " cannot be marked", d->place, d->backing_id);
}

/* ---- shipping ---- */

static int file_read(const struct dev *d, uint64_t *ret_kib, struct trouble *t)
{
        int dir = open_dir(d->place, t);
        if (dir < 0) return dir;
        struct stat st;
        int fd = open_ours(dir, d, O_RDONLY, false, &st, t);
        close(dir);
        if (fd == -ENOENT)
                return trouble_errno(
                        t, ENOENT, "Image %s/%s" SUFFIX " cannot be read", d->place, d->backing_id);
        if (fd >= 0) *ret_kib = (uint64_t)st.st_size / 1024;
        return fd;
}

/* The image begins as a copy of the base, or empty. 0 or a positive errno. */
static int begin_image(int fd, const struct dev *base, uint64_t size_kib)
{
        struct stat st;
        struct trouble ignored;
        if (base == NULL) return take_space(fd, true, 0, size_kib);
        int from = open_image_of(base, O_RDONLY, &st, &ignored);
        if (from < 0) return ENOENT;
        int err = fill(fd, from, base, (uint64_t)st.st_size / 1024, true, false, size_kib);
        close(from);
        return err;
}

static int file_receive(const struct dev *d, const struct dev *base, uint64_t size_kib,
        provider_fill_fn *fill_fn, void *arg, struct trouble *t)
{
        int dir = open_dir(d->place, t);
        if (dir < 0) return dir;
        struct stat st;
        char name[FILE_NAME_SIZE], temp[FILE_NAME_SIZE + 16] = "";
        int fd = open_ours(dir, d, O_RDONLY, false, &st, t), err = MIN(fd, 0), failed = 0;
        if (fd == -ENOENT) {
                file_name(d, name);
                fd = open_unnamed(dir, d, temp);
                failed = fd < 0 ? -fd : begin_image(fd, base, size_kib);
                err = failed == 0 ? fill_fn(arg, fd, t) : 0;
                if (err == 0 && failed == 0) failed = write_mark(fd, d);
                if (err == 0 && failed == 0 && fsync(fd) != 0) failed = errno;
                if (err == 0 && failed == 0) failed = give_name(dir, fd, temp, name);
                if (temp[0] != '\0') (void)unlinkat(dir, temp, 0);
                if (failed != 0) err = trouble_errno(t, failed, "Image %s/%s cannot be made", d->place, name);
        }
        if (fd >= 0) close(fd);
        close(dir);
        return err;
}

#define FILE_PROVIDER(kind_)                                                                                \
        {                                                                                                   \
                .kind = kind_, .backed = true, .allocation_kib = ALLOCATION_KIB, .missing = file_missing,   \
                .place = file_place, .pool_info = file_info, .list = file_list, .probe = file_probe,        \
                .create = file_create, .resize = file_resize, .attach = file_attach,                        \
                .refresh = file_refresh, .detach = file_detach, .remove = file_remove, .adopt = file_adopt, \
                .snapshot = file_snapshot, .restore = file_restore, .replace = file_replace,                \
                .keep = file_keep, .read = file_read, .receive = file_receive,                              \
        }
const struct provider provider_file = FILE_PROVIDER(provider_kind_FILE);
const struct provider provider_file_thin = FILE_PROVIDER(provider_kind_FILE_THIN);
