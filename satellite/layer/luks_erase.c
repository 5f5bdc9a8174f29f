#include "satellite/layer/luks_erase.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "wire/base/macros.h"
#include "wire/base/mem.h"
#include "wire/def/layer_size.h"

#define MAGIC_SIZE 6
#define SECOND_FIRST_BYTES 16384u /* the second header begins there, or at a power of two beyond */
#define SECOND_LAST_BYTES (4u << 20)
#define CHUNK_BYTES ((size_t)1 << 20)

static bool is_magic(int fd, uint64_t at)
{
        static const uint8_t first[MAGIC_SIZE] = { 'L', 'U', 'K', 'S', 0xba, 0xbe };
        static const uint8_t second[MAGIC_SIZE] = { 'S', 'K', 'U', 'L', 0xba, 0xbe };
        uint8_t got[MAGIC_SIZE];
        if (pread(fd, got, sizeof got, (off_t)at) != (ssize_t)sizeof got) return false;
        return memcmp(got, at == 0 ? first : second, sizeof got) == 0;
}

bool luks_has_header(int fd)
{
        if (is_magic(fd, 0)) return true;
        for (uint64_t at = SECOND_FIRST_BYTES; at <= SECOND_LAST_BYTES; at *= 2)
                if (is_magic(fd, at)) return true;
        return false;
}

static int zero_header(int fd)
{
        off_t end = lseek(fd, 0, SEEK_END);
        if (end < 0) return errno;
        uint8_t *zeros = xcalloc(1, CHUNK_BYTES);
        uint64_t at = MIN((uint64_t)end, (uint64_t)LUKS_HEADER_KIB * 1024);
        int err = 0;
        while (err == 0 && at > 0) {
                size_t n = at % CHUNK_BYTES != 0 ? at % CHUNK_BYTES : CHUNK_BYTES;
                at -= n;
                /* A full thin pool: what is not stored need not be erased. */
                if (pwrite(fd, zeros, n, (off_t)at) < 0 && errno != ENOSPC) err = errno;
                /* The beginning goes last on the disk, too. */
                if (err == 0 && (at == CHUNK_BYTES || at == 0) && fsync(fd) != 0) err = errno;
        }
        free(zeros);
        return err;
}

int luks_erase(const char *path)
{
        int fd = open(path, O_RDWR | O_EXCL | O_CLOEXEC);
        if (fd < 0) return errno;
        int err = luks_has_header(fd) ? zero_header(fd) : 0;
        close(fd);
        return err;
}
