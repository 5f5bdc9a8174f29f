#include "satellite/base/put_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

static int write_all(int fd, const struct buf *text)
{
        size_t at = 0;
        while (at < text->n) {
                ssize_t n = write(fd, text->p + at, text->n - at);
                if (n < 0 && errno != EINTR) return errno;
                if (n > 0) at += (size_t)n;
        }
        return fsync(fd) == 0 ? 0 : errno;
}

int put_file(const char *path, const struct buf *text, struct trouble *t)
{
        char tmp[PATH_MAX];
        int n = snprintf(tmp, sizeof tmp, "%s.tmp", path);
        if (n < 0 || (size_t)n >= sizeof tmp)
                return trouble_errno(t, ENAMETOOLONG, "%s cannot be written", path);
        int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0) return trouble_errno(t, errno, "%s cannot be written", tmp);
        int err = write_all(fd, text);
        close(fd);
        if (err == 0 && rename(tmp, path) != 0) err = errno;
        return err != 0 ? trouble_errno(t, err, "%s cannot be written", path) : 0;
}
