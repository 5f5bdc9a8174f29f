#include "satellite/drbd_node.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "satellite/provider.h"
#include "wire/base/log.h"

#define INCLUDE_DIR "/etc/drbd.d"
#define DETECT_MS 15000u
#define ARGS_MAX 12

static struct {
        char dir[DRBD_PATH_SIZE / 2];
        bool usable;
        struct drbd_version version;
        char text[80];
        const char *missing;
} node = { .missing = "DRBD was not looked for" };

/* "8.4.11" -> 0x08040b. 0: no version. */
static uint32_t parse_version(const char *s)
{
        unsigned a, b, c;
        if (sscanf(s, "%3u.%3u.%3u", &a, &b, &c) != 3 || a > 255 || b > 255 || c > 255) return 0;
        return a << 16 | b << 8 | c;
}

/* "version: 8.4.11 (api:...", the first line of /proc/drbd. */
static uint32_t kernel_version(void)
{
        char line[200] = "";
        FILE *f = fopen("/proc/drbd", "re");
        if (f == NULL) return 0;
        if (fgets(line, sizeof line, f) == NULL) line[0] = '\0';
        fclose(f);
        return strncmp(line, "version: ", 9) == 0 ? parse_version(line + 9) : 0;
}

static uint32_t utils_version(void)
{
        static const char *const argv[] = { "drbdadm", "--version", NULL };
        static const char key[] = "DRBDADM_VERSION_CODE=";
        struct arena a = { 0 };
        struct exec_result r;
        uint32_t code = 0;
        if (exec_try(&(struct exec_cmd){ .argv = argv, .deadline_ms = DETECT_MS }, &a, &r, NULL) == 0) {
                const char *at = strstr(r.out, key);
                if (at != NULL) code = (uint32_t)strtoul(at + sizeof key - 1, NULL, 16);
        }
        arena_done(&a);
        return code;
}

static void load_module(void)
{
        static const char *const argv[] = { "modprobe", "drbd", NULL };
        struct arena a = { 0 };
        struct exec_result r;
        struct trouble t;
        if (exec_try(&(struct exec_cmd){ .argv = argv, .deadline_ms = DETECT_MS }, &a, &r, &t) != 0)
                log_info("drbd", "modprobe: %s", t.message);
        arena_done(&a);
}

void drbd_node_detect(const char *dir)
{
        snprintf(node.dir, sizeof node.dir, "%s/drbd", dir);
        node.usable = false;
        node.missing = "drbdadm is not installed: install the package drbd-utils and restart the satellite";
        if (!exec_exists("drbdadm")) return;
        node.version.kernel = kernel_version();
        if (node.version.kernel == 0) {
                load_module();
                node.version.kernel = kernel_version();
        }
        node.missing = "the kernel has no module drbd, or it cannot be loaded ('modprobe drbd' says why): "
                       "install it, and "
                       "restart the satellite";
        if (node.version.kernel == 0) return;
        node.missing = "the kernel's DRBD is older than 8.4: use a kernel with DRBD 8.4, or install DRBD 9";
        if (node.version.kernel < 0x080400) return;
        node.version.utils = utils_version();
        node.missing = "drbd-utils is older than 9.22, or does not say its version: install a newer one";
        if (node.version.utils < DRBD_UTILS_MIN) return;
        node.version.gen = node.version.kernel < 0x090000 ? DRBD_GEN_84 : DRBD_GEN_9;
        node.missing = NULL;
        node.usable = true;
        const uint32_t k = node.version.kernel, u = node.version.utils;
        snprintf(node.text, sizeof node.text, "%u.%u.%u, drbd-utils %u.%u.%u", k >> 16, k >> 8 & 255, k & 255,
                u >> 16, u >> 8 & 255, u & 255);
        log_info("drbd", "DRBD %s%s", node.text,
                node.version.gen == DRBD_GEN_84 ? ": two nodes with disks, no quorum, no diskless nodes"
                                                : "");
}

void drbd_node_pretend(const char *dir, const struct drbd_version *version)
{
        snprintf(node.dir, sizeof node.dir, "%s/drbd", dir);
        node.version = *version;
        node.missing = NULL;
        node.usable = true;
}

const struct drbd_version *drbd_node_version(void) { return node.usable ? &node.version : NULL; }
const char *drbd_node_missing(void) { return node.missing; }
const char *drbd_node_text(void) { return node.text; }

/* ---- files ---- */

int drbd_node_paths(const char *rsc_name, char conf[DRBD_PATH_SIZE], char res[DRBD_PATH_SIZE])
{
        if (!backing_id_valid(rsc_name)) return E_INVALID;
        int n = snprintf(conf, DRBD_PATH_SIZE, "%s/%s.conf", node.dir, rsc_name);
        int m = snprintf(res, DRBD_PATH_SIZE, "%s/res/%s.res", node.dir, rsc_name);
        return n < 0 || m < 0 || n >= DRBD_PATH_SIZE || m >= DRBD_PATH_SIZE ? E_INVALID : 0;
}

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

int drbd_node_write(const char *path, const struct buf *text, struct trouble *t)
{
        char tmp[DRBD_PATH_SIZE + 8];
        snprintf(tmp, sizeof tmp, "%s.tmp", path);
        int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0) return trouble_errno(t, errno, "%s cannot be written", tmp);
        int err = write_all(fd, text);
        close(fd);
        if (err == 0 && rename(tmp, path) != 0) err = errno;
        return err != 0 ? trouble_errno(t, err, "%s cannot be written", path) : 0;
}

static int make_dir(const char *path, struct trouble *t)
{
        if (mkdir(path, 0700) == 0 || errno == EEXIST) return 0;
        return trouble_errno(t, errno, "The directory %s cannot be made", path);
}

int drbd_node_prepare(struct trouble *t)
{
        static const char include[] = INCLUDE_DIR "/outrigger.res";
        char res[DRBD_PATH_SIZE];
        struct buf text = { 0 };
        struct trouble ignored;
        snprintf(res, sizeof res, "%s/res", node.dir);
        int err = make_dir(node.dir, t);
        if (err == 0) err = make_dir(res, t);
        if (err != 0 || access(INCLUDE_DIR, W_OK) != 0) return err;
        buf_printf(&text, "# Made by outrigger-satellite.\ninclude \"%s/*.res\";\n", res);
        struct stat st;
        bool same = stat(include, &st) == 0 && st.st_size == (off_t)text.n;
        /* Not needed by us: people type drbdadm. */
        if (!same && drbd_node_write(include, &text, &ignored) != 0)
                log_info("drbd", "%s %s", ignored.message, ignored.cause);
        buf_done(&text);
        return 0;
}

/* ---- programs ---- */

int drbd_node_run(struct trouble *t, const char *program, ...)
{
        const char *argv[ARGS_MAX + 2] = { program };
        struct arena a = { 0 };
        va_list ap;
        va_start(ap, program);
        for (size_t i = 1; i <= ARGS_MAX; i++) {
                argv[i] = va_arg(ap, const char *);
                if (argv[i] == NULL) break;
        }
        va_end(ap);
        int err = exec_run(&(struct exec_cmd){ .argv = argv }, &a, NULL, t);
        arena_done(&a);
        return err;
}

int drbd_node_now(const char *rsc_name, struct drbd_events *e, struct trouble *t)
{
        const char *const argv[] = { "drbdsetup", "events2", "--now", "--statistics", rsc_name, NULL };
        const struct exec_cmd cmd = { .argv = argv };
        struct arena a = { 0 };
        struct exec_result r;
        struct fail f = { 0 };
        *e = (struct drbd_events){ 0 };
        int err = exec_try(&cmd, &a, &r, t);
        bool none = err == 0 && (r.status == 10 || strstr(r.err, "No such resource") != NULL);
        if (err == 0 && r.status != 0 && !none) err = exec_trouble(&cmd, &r, t);
        for (const char *p = r.out; err == 0 && *p != '\0';) {
                size_t n = strcspn(p, "\n");
                if (n > 0) err = drbd_events_line(e, p, n, NULL, &f);
                if (err != 0) {
                        trouble_set(t, err, TROUBLE_UNKNOWN,
                                "drbdsetup events2 says something that is not understood.");
                        trouble_cause(t, "%s", f.text);
                        trouble_fix(t, "Use a version of drbd-utils that is supported, or report this.");
                }
                p += n + (p[n] == '\n');
        }
        arena_done(&a);
        if (err != 0) drbd_events_done(e);
        return err;
}
