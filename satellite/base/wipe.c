#include "satellite/base/wipe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wire/base/macros.h"

int wipe_fd(int fd, uint64_t size_bytes)
{
        static const char zeros[4096];
        uint64_t head = MIN(size_bytes, (uint64_t)WIPE_HEAD_BYTES);
        for (uint64_t at = 0; at < head; at += sizeof zeros)
                if (pwrite(fd, zeros, (size_t)MIN(sizeof zeros, head - at), (off_t)at) < 0 && errno != ENOSPC)
                        return errno;
        if (size_bytes > WIPE_TAIL_BYTES &&
                pwrite(fd, zeros, sizeof zeros, (off_t)(size_bytes - WIPE_TAIL_BYTES)) < 0 && errno != ENOSPC)
                return errno;
        return fsync(fd) == 0 ? 0 : errno;
}

static bool files_too;

void wipe_take_files(bool take) { files_too = take; }

/* 0 or a positive errno. */
static int size_of(int fd, uint64_t *ret)
{
        struct stat st;
        if (fstat(fd, &st) != 0) return errno;
        *ret = (uint64_t)st.st_size;
        return files_too && S_ISREG(st.st_mode) ? 0 : ioctl(fd, BLKGETSIZE64, ret) == 0 ? 0 : errno;
}

int wipe_device(const char *path)
{
        uint64_t size;
        int fd = open(path, O_RDWR | O_EXCL | O_CLOEXEC);
        if (fd < 0) return errno;
        int err = size_of(fd, &size);
        if (err == 0) err = wipe_fd(fd, size);
        close(fd);
        return err;
}

int wipe_device_head(const char *path, uint64_t bytes)
{
        static const char zeros[65536];
        uint64_t size;
        int fd = open(path, O_RDWR | O_EXCL | O_CLOEXEC);
        if (fd < 0) return errno;
        int err = size_of(fd, &size);
        for (uint64_t at = 0, end = err == 0 ? MIN(size, bytes) : 0; err == 0 && at < end; at += sizeof zeros)
                if (pwrite(fd, zeros, (size_t)MIN(sizeof zeros, end - at), (off_t)at) < 0) err = errno;
        if (err == 0 && fsync(fd) != 0) err = errno;
        close(fd);
        return err;
}
