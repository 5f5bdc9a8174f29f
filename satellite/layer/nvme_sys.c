#include "satellite/layer/nvme_sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "satellite/base/modprobe.h"
#include "wire/base/log.h"

#define NAMES_MAX 4096u

struct nvme_world nvme_world = { .configfs = "/sys/kernel/config/nvmet",
        .block = "/sys/block",
        .hosts = "/sys/class/nvme",
        .fabrics = "/dev/nvme-fabrics",
        .wait_ms = 10000 };

const char *nvme_get(const char *path, struct arena *a)
{
        char text[512];
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) return "";
        ssize_t n = read(fd, text, sizeof text - 1);
        close(fd);
        if (n <= 0) return "";
        text[n] = '\0';
        return arena_strndup(a, text, strcspn(text, "\n"));
}

int nvme_put(const char *path, const char *text)
{
        int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
        if (fd < 0) return errno;
        ssize_t n = write(fd, text, strlen(text));
        int err = n == (ssize_t)strlen(text) ? 0 : n < 0 ? errno : EIO;
        close(fd);
        if (err == 0 && nvme_world.wrote != NULL) nvme_world.wrote(path, text);
        return err;
}

int nvme_mkdir(const char *path)
{
        if (mkdir(path, 0755) != 0) return errno == EEXIST ? 0 : errno;
        if (nvme_world.made != NULL) nvme_world.made(path);
        return 0;
}

int nvme_rmdir(const char *path)
{
        if (nvme_world.going != NULL) nvme_world.going(path);
        return rmdir(path) == 0 || errno == ENOENT ? 0 : errno;
}

int nvme_link(const char *target, const char *path)
{
        return symlink(target, path) == 0 || errno == EEXIST ? 0 : errno;
}

int nvme_unlink(const char *path) { return unlink(path) == 0 || errno == ENOENT ? 0 : errno; }

bool nvme_is_there(const char *path) { return access(path, F_OK) == 0; }

int nvme_list(const char *path, struct arena *a, const char ***ret, uint32_t *ret_n)
{
        struct dirent *e;
        *ret_n = 0;
        *ret = NULL;
        DIR *d = opendir(path);
        if (d == NULL) return errno == ENOENT ? 0 : errno;
        uint32_t cap = 0;
        while ((e = readdir(d)) != NULL && *ret_n < NAMES_MAX) {
                if (e->d_name[0] == '.') continue;
                if (*ret_n == cap) {
                        const char **more = arena_alloc(a, (cap = cap == 0 ? 16 : 2 * cap) * sizeof *more);
                        if (*ret_n != 0) memcpy(more, *ret, *ret_n * sizeof *more);
                        *ret = more;
                }
                (*ret)[(*ret_n)++] = arena_strdup(a, e->d_name);
        }
        closedir(d);
        return 0;
}

int nvme_ask(const char *line)
{
        char answer[128];
        if (nvme_world.connect != NULL) return nvme_world.connect(line);
        int fd = open(nvme_world.fabrics, O_RDWR | O_CLOEXEC);
        if (fd < 0) return errno;
        int err = write(fd, line, strlen(line)) == (ssize_t)strlen(line) ? 0 : errno;
        if (err == 0 && read(fd, answer, sizeof answer) <= 0) err = EIO;
        close(fd);
        return err;
}

void nvme_load(const char *path, const char *const *modules)
{
        for (size_t i = 0; modules[i] != NULL; i++) modprobe_try(modules[i]);
        if (nvme_is_there(path) || nvme_is_there("/sys/kernel/config/nvmet")) return;
        if (mount("configfs", "/sys/kernel/config", "configfs", 0, NULL) != 0 && errno != EBUSY)
                log_info("nvme", "configfs cannot be mounted: %s", strerror(errno));
}

void nvme_pause(void)
{
        static const struct timespec t = { .tv_nsec = 100000000L };
        (void)nanosleep(&t, NULL);
}
