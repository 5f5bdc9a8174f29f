/* Files of keys and certificates: written whole or not at all, readable by their owner only. */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wire/net/pki.h"

static int fsync_parent(const char *path, struct fail *f)
{
        char dir[PATH_MAX];
        const char *slash = strrchr(path, '/');
        size_t n = slash == NULL ? 0 : (size_t)(slash - path);
        if (n >= sizeof dir) return fail_set(f, E_TOO_LARGE, "path too long");
        if (n > 0) memcpy(dir, path, n);
        dir[n] = '\0';
        int fd = open(n > 0 ? dir : (slash != NULL ? "/" : "."), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) return fail_set(f, -errno, "%s: %s", dir, strerror(errno));
        int err = fsync(fd) == 0 ? 0 : fail_set(f, -errno, "%s: fsync: %s", dir, strerror(errno));
        (void)close(fd);
        return err;
}

static int write_all(int fd, struct blob b)
{
        while (b.n > 0) {
                ssize_t w = write(fd, b.p, b.n);
                if (w < 0 && errno == EINTR) continue;
                if (w < 0) return -errno;
                b.p += w;
                b.n -= (size_t)w;
        }
        return 0;
}

int pki_file_write(const char *path, struct blob content, unsigned mode, struct fail *f)
{
        char tmp[PATH_MAX];
        int n = snprintf(tmp, sizeof tmp, "%s.tmp", path);
        if (n < 0 || (size_t)n >= sizeof tmp) return fail_set(f, E_TOO_LARGE, "path too long");
        (void)unlink(tmp); /* left by a crash; O_EXCL below, so that no foreign file is written through */
        int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, (mode_t)mode);
        if (fd < 0) return fail_set(f, -errno, "%s: %s", tmp, strerror(errno));
        int err = write_all(fd, content);
        if (err == 0 && fchmod(fd, (mode_t)mode) != 0) err = -errno;
        if (err == 0 && fsync(fd) != 0) err = -errno;
        if (close(fd) != 0 && err == 0) err = -errno;
        if (err == 0 && rename(tmp, path) != 0) err = -errno;
        if (err != 0) {
                (void)unlink(tmp);
                return fail_set(f, err, "%s: %s", path, err_text(err));
        }
        return fsync_parent(path, f);
}

int pki_save(const char *path, const struct pem *p, struct fail *f)
{
        return pki_file_write(path, BLOB(p->text, p->n), 0600, f);
}

static int read_file(int fd, struct pem *ret)
{
        char buf[PKI_PEM_MAX + 1];
        size_t n = 0;
        ssize_t r = 1;
        while (n < sizeof buf && r != 0) {
                r = read(fd, buf + n, sizeof buf - n);
                if (r < 0 && errno == EINTR) continue;
                if (r < 0) return -errno;
                n += (size_t)r;
        }
        int err = pem_set(ret, BLOB(buf, n));
        secret_wipe(buf, sizeof buf);
        return err;
}

static int load(const char *path, bool secret, struct pem *ret, struct fail *f)
{
        struct stat st;
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return fail_set(f, errno == ENOENT ? E_NOT_FOUND : -errno, "%s: %s", path, strerror(errno));
        int err = fstat(fd, &st) == 0 ? 0 : -errno;
        if (err == 0 && secret && (st.st_mode & 077) != 0)
                err = fail_set(f, E_AUTH,
                        "%s can be read by others (mode %03o): chmod 600 it, and make new keys if it leaked",
                        path, (unsigned)st.st_mode & 0777);
        else if (err == 0 && (err = read_file(fd, ret)) != 0)
                (void)fail_set(f, err, "%s: %s", path, err_text(err));
        (void)close(fd);
        return err;
}

int pki_load(const char *path, struct pem *ret, struct fail *f) { return load(path, false, ret, f); }

int pki_load_key(const char *path, struct pem *ret, struct fail *f) { return load(path, true, ret, f); }
