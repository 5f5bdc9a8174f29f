#include "satellite/extfile.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wire/base/log.h"
#include "wire/def/ext_path.h"

#define HASH_BYTES 32u
#define MODE_NEW 0644u

/* A file on the disk. */
struct found {
        enum { ABSENT, REGULAR, OTHER } kind;
        const char *name; /* in its directory */
        mode_t mode;
        uid_t uid;
        gid_t gid;
        const char *hash; /* REGULAR; "" for one that is too large */
};

static const char *hash_of(struct arena *a, const void *p, size_t n)
{
        uint8_t raw[HASH_BYTES];
        char *hex = arena_alloc(a, 2 * sizeof raw + 1);
        (void)crypto_generichash(raw, sizeof raw, p, n, NULL, 0);
        return sodium_bin2hex(hex, 2 * sizeof raw + 1, raw, sizeof raw);
}

static const char *base_of(const char *path) { return strrchr(path, '/') + 1; }

static int open_dir(struct arena *a, const char *path)
{
        return open(arena_strndup(a, path, ext_path_dir(path)), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* 0, or an errno. */
static int look_at(int dir, const char *name, struct arena *a, struct found *ret)
{
        struct stat st;
        *ret = (struct found){ .kind = ABSENT, .name = name };
        if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return errno == ENOENT ? 0 : errno;
        ret->kind = S_ISREG(st.st_mode) ? REGULAR : OTHER;
        ret->mode = st.st_mode & 07777;
        ret->uid = st.st_uid;
        ret->gid = st.st_gid;
        ret->hash = "";
        if (ret->kind == OTHER || st.st_size > (off_t)EXT_FILE_MAX) return 0;
        int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), err = 0;
        if (fd < 0) return errno;
        char *buf = xmalloc(EXT_FILE_MAX + 1);
        size_t n = 0;
        for (ssize_t got = 1; err == 0 && got > 0 && n <= EXT_FILE_MAX; n += (size_t)MAX(got, (ssize_t)0)) {
                got = read(fd, buf + n, EXT_FILE_MAX + 1 - n);
                if (got < 0) err = errno;
        }
        if (err == 0 && n <= EXT_FILE_MAX) ret->hash = hash_of(a, buf, n);
        free(buf);
        (void)close(fd);
        return err;
}

/* The file under its own name, else under one with another suffix, else what is to be made. */
static int find(int dir, const char *base, const char *const *suffixes, uint32_t suffixes_n, struct arena *a,
        struct found *ret)
{
        int err = look_at(dir, base, a, ret);
        if (err != 0 || ret->kind != ABSENT) return err;
        for (uint32_t i = 0; i < suffixes_n; i++) {
                struct found f;
                err = look_at(dir, arena_printf(a, "%s%s", base, suffixes[i]), a, &f);
                if (err != 0) return err;
                if (f.kind == ABSENT) continue;
                *ret = f;
                return 0;
        }
        return 0;
}

static int write_all(int fd, struct blob content)
{
        const uint8_t *p = content.p;
        for (size_t n = content.n; n > 0;) {
                ssize_t put = write(fd, p, n);
                if (put <= 0) return put < 0 ? errno : EIO;
                p += put;
                n -= (size_t)put;
        }
        return fsync(fd) == 0 ? 0 : errno;
}

/* Whole or not at all. A new file takes nobody's place, also not that of one that has just come. Returns 0 or an errno. */
static int put(int dir, const struct found *f, struct blob content, struct arena *a)
{
        const char *temp = arena_printf(a, ".%s.outrigger-new", f->name);
        (void)unlinkat(dir, temp, 0); /* of a process that died */
        int fd = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0) return errno;
        bool fresh = f->kind == ABSENT;
        int err = write_all(fd, content);
        if (err == 0 && !fresh && fchown(fd, f->uid, f->gid) != 0) err = errno;
        if (err == 0 && fchmod(fd, fresh ? MODE_NEW : f->mode) != 0) err = errno;
        (void)close(fd);
        if (err == 0 && fresh && renameat2(dir, temp, dir, f->name, RENAME_NOREPLACE) != 0) err = errno;
        if (err == 0 && !fresh && renameat(dir, temp, dir, f->name) != 0) err = errno;
        if (err != 0) (void)unlinkat(dir, temp, 0);
        else if (fsync(dir) != 0) err = errno;
        return err;
}

/* ---- marks ---- */

static const struct sat_file_mark *mark_of(const struct extfile_job *j, const char *path)
{
        for (uint32_t i = 0; i < j->marks_n; i++)
                if (strcmp(j->marks[i].path, path) == 0) return &j->marks[i];
        return NULL;
}

static bool is_ours(const struct sat_file_mark *m, const struct found *f)
{
        return m != NULL && (m->written || strcmp(m->hash, f->hash) == 0);
}

static void keep_mark(struct extfile_job *j, const struct sat_file_mark *m)
{
        j->new_marks[j->new_marks_n++] = *m;
}

static void set_mark(struct extfile_job *j, const struct extfile_want *w, const struct found *f,
        const char *hash, bool written)
{
        const struct sat_file_mark *old = mark_of(j, w->path);
        struct sat_file_mark m = { 0 };
        SET(&m, sat_file_mark, path, w->path);
        SET(&m, sat_file_mark, actual, f->name);
        SET(&m, sat_file_mark, hash, hash);
        if (w->file->alt_suffixes_n > 0)
                SET_N(&m, sat_file_mark, alt_suffixes, w->file->alt_suffixes, w->file->alt_suffixes_n);
        if (written) SET(&m, sat_file_mark, written, true);
        keep_mark(j, &m);
        j->changed = j->changed || old == NULL || strcmp(old->hash, hash) != 0 || old->written != written ||
                     strcmp(old->actual, f->name) != 0 || old->alt_suffixes_n != m.alt_suffixes_n;
}

/* ---- what is wanted ---- */

static void failed(struct extfile_want *w, int errno_value)
{
        trouble_set(&w->trouble, -errno_value, TROUBLE_EXT_FILE, "The external file %s cannot be written.",
                w->path);
        trouble_cause(&w->trouble, "%s.", strerror(errno_value));
        trouble_fix(&w->trouble, "%s",
                errno_value == ENOENT
                        ? "Create its directory on the node; the satellite tries again by itself."
                        : "Mend that on the node; the satellite tries again by itself.");
}

static void foreign(struct extfile_want *w, const struct found *f)
{
        trouble_set(
                &w->trouble, E_EXISTS, TROUBLE_EXT_FILE, "The external file %s cannot be written.", w->path);
        trouble_cause(&w->trouble, "%s",
                f->kind == OTHER
                        ? "Something else than a regular file has its name."
                        : "A file with another content is there that was not written for the cluster.");
        trouble_fix(&w->trouble,
                "Nothing was done to it. Move it away if it is not needed; the satellite goes on by itself.");
}

static void at_disk(struct extfile_job *j, struct extfile_want *w, int dir, const struct sat_file_mark *m,
        struct arena *a)
{
        struct found f;
        struct blob content = HAS(w->file, ext_file, content) ? w->file->content : BLOB("", 0);
        const char *hash = hash_of(a, content.p, content.n);
        int err = find(dir, base_of(w->path), w->file->alt_suffixes, w->file->alt_suffixes_n, a, &f);
        if (err == 0 && f.kind != ABSENT)
                w->actual_path =
                        arena_printf(a, "%.*s%s", (int)(base_of(w->path) - w->path), w->path, f.name);
        if (err == 0 && f.kind == REGULAR && strcmp(f.hash, hash) == 0) {
                w->match = true;
                set_mark(j, w, &f, hash, true);
                return;
        }
        bool allowed = f.kind == ABSENT || (f.kind == REGULAR && is_ours(m, &f));
        bool marked = m != NULL && (m->written || strcmp(m->hash, hash) == 0);
        if (err == 0 && !allowed) foreign(w, &f);
        if (err == 0 && allowed && !marked) {
                set_mark(j, w, &f, hash, f.kind == REGULAR); /* one that is there is ours */
                j->again = true;
                return;
        }
        if (err == 0 && allowed) {
                err = put(dir, &f, content, a);
                if (err == 0) {
                        log_info("files", "%s/%s written", arena_strndup(a, w->path, ext_path_dir(w->path)),
                                f.name);
                        w->actual_path =
                                arena_printf(a, "%.*s%s", (int)(base_of(w->path) - w->path), w->path, f.name);
                        w->match = true;
                        set_mark(j, w, &f, hash, true);
                        return;
                }
        }
        if (err != 0) failed(w, err);
        if (m != NULL) keep_mark(j, m);
}

static void bring(struct extfile_job *j, struct extfile_want *w, struct arena *a)
{
        const struct sat_file_mark *m = mark_of(j, w->path);
        if (!ext_path_allowed(j->allowed, w->path)) {
                trouble_set(&w->trouble, E_AUTH, TROUBLE_EXT_FILE, "The external file %s may not be written.",
                        w->path);
                trouble_cause(&w->trouble, "Its directory is not among those that the satellite's setting "
                                           "allow_ext_files names.");
                trouble_fix(&w->trouble,
                        "Add %s to [satellite] allow_ext_files on the node and restart its satellite, or "
                        "undeploy "
                        "the file.",
                        arena_strndup(a, w->path, ext_path_dir(w->path)));
                if (m != NULL) keep_mark(j, m);
                return;
        }
        int dir = open_dir(a, w->path);
        if (dir >= 0) {
                at_disk(j, w, dir, m, a);
                (void)close(dir);
                return;
        }
        failed(w, errno);
        if (m != NULL) keep_mark(j, m);
}

/* ---- what nobody needs any more ---- */

static int take_away(const struct sat_file_mark *m, struct arena *a)
{
        int dir = open_dir(a, m->path);
        struct found f;
        if (dir < 0) return errno == ENOENT || errno == ENOTDIR ? 0 : errno;
        (void)unlinkat(dir, arena_printf(a, ".%s.outrigger-new", base_of(m->path)), 0);
        int err = find(dir, base_of(m->path), m->alt_suffixes, m->alt_suffixes_n, a, &f);
        if (err == 0 && f.kind == ABSENT) err = look_at(dir, m->actual, a, &f);
        if (err == 0 && f.kind == REGULAR && is_ours(m, &f)) {
                if (unlinkat(dir, f.name, 0) != 0) err = errno;
                else log_info("files", "%s removed: no resource of this node needs it", m->path);
                if (err == 0 && fsync(dir) != 0) err = errno;
        }
        (void)close(dir);
        return err;
}

static bool is_wanted(const struct extfile_job *j, const char *path)
{
        for (uint32_t i = 0; i < j->wants_n; i++)
                if (j->wants[i].file != NULL && strcmp(j->wants[i].path, path) == 0) return true;
        return false;
}

int extfile_run(struct extfile_job *j, struct arena *a)
{
        j->new_marks = arena_array(a, struct sat_file_mark, (size_t)j->wants_n + j->marks_n + 1);
        if (j->new_marks == NULL) return E_TOO_LARGE;
        for (uint32_t i = 0; i < j->wants_n; i++)
                if (j->wants[i].file != NULL) bring(j, &j->wants[i], a);
        for (uint32_t i = 0; i < j->marks_n; i++) {
                const struct sat_file_mark *m = &j->marks[i];
                if (is_wanted(j, m->path)) continue;
                bool allowed = ext_path_allowed(j->allowed, m->path);
                int err = allowed ? take_away(m, a) : 0;
                if (!allowed) log_warn("files", "%s stays: its directory is not allowed any more", m->path);
                if (err != 0) log_warn("files", "%s cannot be removed: %s", m->path, strerror(err));
                if (err != 0) keep_mark(j, m);
                else j->changed = true;
        }
        return 0;
}
