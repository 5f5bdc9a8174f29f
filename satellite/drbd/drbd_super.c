#include "satellite/drbd/drbd_super.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "wire/base/macros.h"

#define BLOCK 4096
#define MAGIC_84 0x8374026bu /* clean */
#define MAGIC_84_UNCLEAN 0x8374026cu
#define MAGIC_9 0x8374026du
/* Offsets of big-endian numbers. */
#define AT_MAGIC 60
#define AT_CURRENT_84 8
#define AT_CURRENT_9 8
#define AT_PEERS_9 88

static uint32_t be32(const uint8_t *p)
{
        return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
static uint64_t be64(const uint8_t *p) { return (uint64_t)be32(p) << 32 | be32(p + 4); }

bool drbd_super_parse(const uint8_t block[BLOCK], struct drbd_super *ret)
{
        uint32_t magic = be32(block + AT_MAGIC);
        if (magic == MAGIC_9) {
                *ret = (struct drbd_super){ .gen = DRBD_GEN_9, .current = be64(block + AT_CURRENT_9) };
                ret->peers = be32(block + AT_PEERS_9);
                if (ret->peers < 1 || ret->peers > DRBD_PEERS_MAX) ret->peers = DRBD_PEER_SLOTS_DEFAULT;
                return true;
        }
        if (magic != MAGIC_84 && magic != MAGIC_84_UNCLEAN) return false;
        *ret = (struct drbd_super){ .gen = DRBD_GEN_84, .current = be64(block + AT_CURRENT_84), .peers = 1 };
        return true;
}

static int read_at_end(int fd, uint64_t bytes, struct drbd_super *ret)
{
        uint8_t block[BLOCK];
        bytes -= bytes % BLOCK;
        if (bytes < 2 * BLOCK) return 0;
        ssize_t n = pread(fd, block, BLOCK, (off_t)(bytes - BLOCK));
        if (n < 0) return -errno;
        return n == BLOCK && drbd_super_parse(block, ret);
}

int drbd_super_read_beside(const char *path, struct drbd_super *ret)
{
        uint8_t block[BLOCK];
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) return -errno;
        ssize_t n = pread(fd, block, BLOCK, 0);
        int found = n < 0 ? -errno : n == BLOCK && drbd_super_parse(block, ret);
        close(fd);
        return found;
}

static int size_of(int fd, uint64_t *ret_bytes)
{
        struct stat st;
        *ret_bytes = 0;
        if (fstat(fd, &st) != 0) return -errno;
        if (S_ISREG(st.st_mode)) *ret_bytes = (uint64_t)st.st_size;
        else if (ioctl(fd, BLKGETSIZE64, ret_bytes) != 0) return -errno;
        return 0;
}

/* The kernel knows how devices do that best. */
static int put_zeros(int fd, uint64_t from, uint64_t to)
{
        static const uint8_t zeros[1 << 16];
        uint64_t range[2] = { from, to - from };
        if (range[1] > sizeof zeros && ioctl(fd, BLKZEROOUT, range) == 0) return 0;
        while (from < to) {
                ssize_t n = pwrite(fd, zeros, (size_t)MIN(to - from, sizeof zeros), (off_t)from);
                if (n < 0 && errno == EINTR) continue;
                if (n <= 0) return n < 0 ? -errno : -EIO;
                from += (uint64_t)n;
        }
        return 0;
}

int drbd_super_clear(const char *path, bool bitmaps)
{
        struct drbd_super super;
        uint64_t bytes, kib;
        int fd = open(path, O_RDWR | O_EXCL | O_CLOEXEC);
        if (fd < 0) return -errno;
        int found = size_of(fd, &bytes);
        if (found == 0) found = read_at_end(fd, bytes, &super);
        if (found == 1) {
                const struct drbd_md md = { .gen = super.gen, .peers = super.peers };
                uint64_t from = bytes - bytes % BLOCK - BLOCK;
                if (bitmaps && drbd_usable_kib(&md, bytes / 1024, &kib) == 0) from = kib * 1024;
                found = put_zeros(fd, from, bytes);
                if (found == 0 && fsync(fd) != 0) found = -errno;
        }
        close(fd);
        return MIN(found, 0);
}

int drbd_super_read(const char *path, uint64_t last_kib, struct drbd_super *ret)
{
        uint64_t bytes;
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) return -errno;
        int found = size_of(fd, &bytes);
        if (found == 0) found = read_at_end(fd, bytes, ret);
        if (found == 0 && last_kib > 0 && last_kib * 1024 < bytes)
                found = read_at_end(fd, last_kib * 1024, ret);
        close(fd);
        return found;
}

uint64_t drbd_super_last_kib(uint64_t minor)
{
        char path[64], line[64] = "";
        snprintf(path, sizeof path, "/var/lib/drbd/drbd-minor-%llu.lkbd", (unsigned long long)minor);
        FILE *f = fopen(path, "re");
        if (f == NULL) return 0;
        if (fgets(line, sizeof line, f) == NULL) line[0] = '\0';
        fclose(f);
        return strtoull(line, NULL, 10) / 1024;
}
