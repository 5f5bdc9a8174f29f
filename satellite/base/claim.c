#include "satellite/base/claim.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

bool device_is_claimed(const char *path)
{
        int fd = open(path, O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC);
        if (fd >= 0) close(fd);
        return fd < 0 && errno == EBUSY;
}
