#include "satellite/drbd/drbd_node.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "satellite/base/modprobe.h"
#include "satellite/base/put_file.h"
#include "satellite/provider/provider.h"
#include "wire/base/log.h"

#define INCLUDE_DIR "/etc/drbd.d"
#define DETECT_MS 15000u
#define ARGS_MAX 12

/* What a look depends on, as far as it is cheap to ask for. */
struct signs {
        uint32_t kernel;
        struct timespec program, modules; /* when they came: drbdadm, and the list of the kernel's modules */
};

/* What a look has found. Those of former looks stay: somebody may be reading one. */
struct found {
        const struct found *before;
        struct signs signs;
        bool usable;
        struct drbd_version version;
        char text[80];
        const char *missing;
};
static const struct found nothing = { .missing = "DRBD was not looked for" };
static const struct found *_Atomic current = &nothing;
static char dir_of_ours[DRBD_PATH_SIZE / 2];
static const char *proc_path = "/proc/drbd";

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
        FILE *f = fopen(proc_path, "re");
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

static struct timespec came(const char *path)
{
        struct stat st;
        return path != NULL && stat(path, &st) == 0 ? st.st_ctim : (struct timespec){ 0 };
}

static struct signs signs_now(void)
{
        struct utsname u;
        char path[PATH_MAX], modules[sizeof u.release + 32] = "/";
        if (uname(&u) == 0) snprintf(modules, sizeof modules, "/lib/modules/%s/modules.dep", u.release);
        return (struct signs){ .kernel = kernel_version(),
                .program = came(exec_find("drbdadm", path)),
                .modules = came(modules) };
}

static bool same_time(struct timespec a, struct timespec b)
{
        return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static void look(struct found *f)
{
        f->missing = "drbdadm is not installed: install the package drbd-utils";
        if (!exec_exists("drbdadm")) return;
        f->version.kernel = kernel_version();
        if (f->version.kernel == 0) {
                modprobe_try("drbd");
                f->version.kernel = f->signs.kernel = kernel_version();
        }
        f->missing = "the kernel has no module drbd, or it cannot be loaded ('modprobe drbd' says why): "
                     "install it";
        if (f->version.kernel == 0) return;
        f->missing = "the kernel's DRBD is older than 8.4: use a kernel with DRBD 8.4, or install DRBD 9";
        if (f->version.kernel < 0x080400) return;
        f->version.utils = utils_version();
        f->missing = "drbd-utils is older than 9.22, or does not say its version: install a newer one";
        if (f->version.utils < DRBD_UTILS_MIN) return;
        f->version.gen = f->version.kernel < 0x090000 ? DRBD_GEN_84 : DRBD_GEN_9;
        f->missing = NULL;
        f->usable = true;
        const uint32_t k = f->version.kernel, u = f->version.utils;
        snprintf(f->text, sizeof f->text, "%u.%u.%u, drbd-utils %u.%u.%u", k >> 16, k >> 8 & 255, k & 255,
                u >> 16, u >> 8 & 255, u & 255);
}

static void use(const struct found *f)
{
        struct found *kept = xnew(struct found);
        *kept = *f;
        kept->before = current;
        current = kept;
        if (f->usable)
                log_info("drbd", "DRBD %s%s", f->text,
                        f->version.gen == DRBD_GEN_84 ? ": two nodes with disks, no quorum, no diskless nodes"
                                                      : "");
}

void drbd_node_detect(const char *dir)
{
        struct found f = { .signs = signs_now() };
        snprintf(dir_of_ours, sizeof dir_of_ours, "%s/drbd", dir);
        look(&f);
        use(&f);
}

bool drbd_node_look_again(void)
{
        const struct found *was = current;
        struct found f = { .signs = signs_now() };
        if (f.signs.kernel == was->signs.kernel && same_time(f.signs.program, was->signs.program) &&
                same_time(f.signs.modules, was->signs.modules))
                return false;
        if (was->usable && f.signs.kernel == 0) return false;
        look(&f);
        if (was->usable && !f.usable) return false;
        bool changed = was->missing != f.missing || was->version.kernel != f.version.kernel ||
                       was->version.utils != f.version.utils;
        use(&f);
        return changed;
}

void drbd_node_set_proc(const char *path) { proc_path = path != NULL ? path : "/proc/drbd"; }

void drbd_node_pretend(const char *dir, const struct drbd_version *version)
{
        static struct found f;
        snprintf(dir_of_ours, sizeof dir_of_ours, "%s/drbd", dir);
        f = (struct found){ .before = current != &f ? current : f.before,
                .usable = true,
                .version = *version,
                .signs = signs_now() };
        current = &f;
}

bool drbd_node_looked(void) { return current != &nothing; }

const struct drbd_version *drbd_node_version(void)
{
        const struct found *f = current;
        return f->usable ? &f->version : NULL;
}
const char *drbd_node_missing(void) { return current->missing; }
const char *drbd_node_text(void) { return current->text; }

/* ---- files ---- */

int drbd_node_paths(const char *rsc_name, char conf[DRBD_PATH_SIZE], char res[DRBD_PATH_SIZE])
{
        if (!backing_id_valid(rsc_name)) return E_INVALID;
        int n = snprintf(conf, DRBD_PATH_SIZE, "%s/%s.conf", dir_of_ours, rsc_name);
        int m = snprintf(res, DRBD_PATH_SIZE, "%s/res/%s.res", dir_of_ours, rsc_name);
        return n < 0 || m < 0 || n >= DRBD_PATH_SIZE || m >= DRBD_PATH_SIZE ? E_INVALID : 0;
}

#define INCLUDE "include \""

static void include_one(const char *rsc_name, size_t n, struct buf *conf)
{
        char name[DRBD_NAME], own[DRBD_PATH_SIZE], res[DRBD_PATH_SIZE], line[DRBD_PATH_SIZE + 16];
        if (n >= sizeof name) return;
        snprintf(name, sizeof name, "%.*s", (int)n, rsc_name);
        if (drbd_node_paths(name, own, res) != 0 || access(res, F_OK) != 0) return;
        snprintf(line, sizeof line, INCLUDE "%s\";\n", res);
        if (conf->n == 0 || memmem(conf->p, conf->n, line, strlen(line)) == NULL) buf_put_str(conf, line);
}

/* Those that the file of one names. */
static void include_named(const char *path, struct buf *conf)
{
        static const char after[] = "resync-after \"";
        char line[DRBD_PATH_SIZE];
        FILE *f = fopen(path, "re");
        if (f == NULL) return;
        while (fgets(line, sizeof line, f) != NULL) {
                const char *name = strstr(line, after);
                if (name != NULL)
                        include_one(name + sizeof after - 1, strcspn(name + sizeof after - 1, "/\""), conf);
        }
        fclose(f);
}

void drbd_node_include(const char *rsc_name, size_t n, struct buf *conf)
{
        char path[DRBD_PATH_SIZE];
        size_t at = conf->n;
        include_one(rsc_name, n, conf);
        while (conf->err == 0 && at < conf->n) { /* chains are long: as many as a pool has volumes */
                const char *begin = (const char *)conf->p + at + sizeof INCLUDE - 1;
                const char *end = memchr(begin, '"', conf->n - at - (sizeof INCLUDE - 1));
                if (end == NULL) return;
                snprintf(path, sizeof path, "%.*s", (int)(end - begin), begin);
                at = (size_t)(end + 3 - (const char *)conf->p);
                include_named(path, conf);
        }
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
        snprintf(res, sizeof res, "%s/res", dir_of_ours);
        int err = make_dir(dir_of_ours, t);
        if (err == 0) err = make_dir(res, t);
        if (err != 0 || access(INCLUDE_DIR, W_OK) != 0) return err;
        buf_printf(&text, "# Made by outrigger-satellite.\ninclude \"%s/*.res\";\n", res);
        struct stat st;
        bool same = stat(include, &st) == 0 && st.st_size == (off_t)text.n;
        /* Not needed by us: people type drbdadm. */
        if (!same && put_file(include, &text, &ignored) != 0)
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
