#include "satellite/base/wipe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "wire/base/macros.h"

#define HEAD_BYTES 65536
#define TAIL_BYTES 4096

int wipe_fd(int fd, uint64_t size_bytes)
{
        static const char zeros[4096];
        uint64_t head = MIN(size_bytes, (uint64_t)HEAD_BYTES);
        for (uint64_t at = 0; at < head; at += sizeof zeros)
                if (pwrite(fd, zeros, (size_t)MIN(sizeof zeros, head - at), (off_t)at) < 0 && errno != ENOSPC)
                        return errno;
        if (size_bytes > TAIL_BYTES &&
                pwrite(fd, zeros, sizeof zeros, (off_t)(size_bytes - TAIL_BYTES)) < 0 && errno != ENOSPC)
                return errno;
        return fsync(fd) == 0 ? 0 : errno;
}

int wipe_device(const char *path)
{
        uint64_t size;
        int fd = open(path, O_RDWR | O_EXCL | O_CLOEXEC);
        if (fd < 0) return errno;
        int err = ioctl(fd, BLKGETSIZE64, &size) == 0 ? wipe_fd(fd, size) : errno;
        close(fd);
        return err;
}
