#include "satellite/layer/format.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "satellite/base/exec.h"
#include "satellite/base/signature.h"
#include "satellite/base/wipe.h"
#include "wire/base/log.h"
#include "wire/codec/codec.h"

#define WORDS_MAX 64
#define DEADLINE_MS 600000u /* of mkfs; it discards nothing, so it is a matter of seconds */

static const char *given(const struct strmap *props, const char *key)
{
        const char *v = props == NULL ? NULL : strmap_get(props, key);
        return v == NULL || v[0] == '\0' ? NULL : v;
}

bool format_wanted(const struct strmap *props) { return given(props, "FileSystem/Type") != NULL; }

static int refuse(struct trouble *t, const char *property, const char *value, const char *why)
{
        trouble_set(t, E_INVALID, TROUBLE_UNKNOWN, "The file system cannot be made: %s is '%s'.", property,
                value);
        trouble_cause(t, "%s", why);
        trouble_fix(t, "Change or delete the property %s; the satellite then goes on by itself.", property);
        return E_INVALID;
}

/* ---- the command ---- */

static bool number(const char *text, unsigned *ret)
{
        size_t digits = strspn(text, "0123456789");
        if (digits == 0 || digits > 9 || text[digits] != '\0') return false;
        *ret = (unsigned)strtoul(text, NULL, 10);
        return true;
}

/* A name or a number. Only this module of the satellite looks names up. */
static bool user_id(const char *text, unsigned *ret)
{
        struct passwd p, *found = NULL;
        char buf[4096];
        if (number(text, ret)) return true;
        if (getpwnam_r(text, &p, buf, sizeof buf, &found) != 0 || found == NULL) return false;
        *ret = p.pw_uid;
        return true;
}

static bool group_id(const char *text, unsigned *ret)
{
        struct group g, *found = NULL;
        char buf[4096];
        if (number(text, ret)) return true;
        if (getgrnam_r(text, &g, buf, sizeof buf, &found) != 0 || found == NULL) return false;
        *ret = g.gr_gid;
        return true;
}

struct owner {
        bool any;
        unsigned user, group;
};

static int find_owner(const struct strmap *props, struct owner *ret, struct trouble *t)
{
        const char *user = given(props, "FileSystem/User"), *group = given(props, "FileSystem/Group");
        *ret = (struct owner){ .any = user != NULL || group != NULL };
        if (user != NULL && !user_id(user, &ret->user))
                return refuse(t, "FileSystem/User", user, "This node has no such user.");
        if (group != NULL && !group_id(group, &ret->group))
                return refuse(t, "FileSystem/Group", group, "This node has no such group.");
        return 0;
}

/* Words of FileSystem/MkfsParams. None may name another file or device: the satellite is root. */
static int split(const char *text, struct arena *a, const char **words, unsigned *n, struct trouble *t)
{
        char *rest = arena_strdup(a, text), *word;
        while ((word = strsep(&rest, " \t\n")) != NULL) {
                if (word[0] == '\0') continue;
                if (*n >= WORDS_MAX - 4)
                        return refuse(t, "FileSystem/MkfsParams", text, "It has too many words.");
                if (strchr(word, '/') != NULL || strstr(word, "name=") != NULL ||
                        strstr(word, "dev=") != NULL)
                        return refuse(t, "FileSystem/MkfsParams", text,
                                "It names a file or a device; only options are allowed.");
                words[(*n)++] = word;
        }
        return 0;
}

static const char *extended_options(const struct owner *o, struct arena *a)
{
        return o->any ? arena_printf(a, "nodiscard,root_owner=%u:%u", o->user, o->group) : "nodiscard";
}

int format_command(const char *path, const struct strmap *props, struct arena *a, const char *const **ret,
        const char **ret_proto, struct trouble *t)
{
        const char **words = arena_alloc(a, WORDS_MAX * sizeof *words);
        const char *asked = given(props, "FileSystem/Type"), *type = asked != NULL ? asked : "",
                   *params = given(props, "FileSystem/MkfsParams");
        struct owner o;
        unsigned n = 0;
        *ret_proto = NULL;
        int err = find_owner(props, &o, t);
        if (err != 0) return err;
        if (strcasecmp(type, "ext4") == 0) {
                const char *const head[] = { "mkfs.ext4", "-q", "-F", "-E", extended_options(&o, a) };
                for (size_t i = 0; i < ARRAY_LEN(head); i++) words[n++] = head[i];
        } else if (strcasecmp(type, "xfs") == 0) {
                const char *const head[] = { "mkfs.xfs", "-q", "-f", "-K", "-p", FORMAT_PROTO };
                for (size_t i = 0; i < (o.any ? 6u : 4u); i++) words[n++] = head[i];
                if (o.any) *ret_proto = arena_printf(a, "/\n0 0\nd--755 %u %u\n$\n", o.user, o.group);
        } else {
                return refuse(t, "FileSystem/Type", type, "It is ext4 or xfs.");
        }
        if (params != NULL) err = split(params, a, words, &n, t);
        words[n++] = path;
        words[n] = NULL;
        *ret = words;
        return err;
}

/* ---- what is there ---- */

static bool zeros(int fd, off_t at, size_t n, void *buf)
{
        const unsigned char *p = buf;
        ssize_t got = pread(fd, buf, n, at);
        if (got != (ssize_t)n) return false;
        return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

static bool is_blank(int fd, enum format_wiped wiped)
{
        if (wiped == FORMAT_WIPED_UNKNOWN) return true;
        off_t size = lseek(fd, 0, SEEK_END);
        size_t head = (size_t)MIN(size, (off_t)WIPE_HEAD_BYTES),
               tail = (size_t)MIN(size, (off_t)WIPE_TAIL_BYTES);
        if (size < 0) return false;
        void *buf = xmalloc(WIPE_HEAD_BYTES);
        bool blank = zeros(fd, 0, head, buf);
        if (blank && wiped == FORMAT_WIPED_ENDS) blank = zeros(fd, size - (off_t)tail, tail, buf);
        free(buf);
        return blank;
}

/* ---- making it ---- */

/* Writes the prototype and names it in the command. */
static int put_proto(const char *text, const char **words, char path[32], struct trouble *t)
{
        (void)strcpy(path, "/tmp/outrigger-proto-XXXXXX");
        int fd = mkostemp(path, O_CLOEXEC);
        if (fd < 0) return trouble_errno(t, errno, "A file in /tmp cannot be made");
        bool whole = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
        int err = whole ? 0 : trouble_errno(t, ENOSPC, "A file in /tmp cannot be written");
        (void)close(fd);
        for (unsigned i = 0; words[i] != NULL; i++)
                if (strcmp(words[i], FORMAT_PROTO) == 0) words[i] = path;
        return err;
}

static int run_mkfs(const char *path, const struct strmap *props, struct trouble *t)
{
        struct arena a = { 0 };
        const char *const *argv;
        const char *proto;
        char proto_path[32] = "";
        int err = format_command(path, props, &a, &argv, &proto, t);
        if (err == 0 && proto != NULL) err = put_proto(proto, (const char **)(uintptr_t)argv, proto_path, t);
        struct exec_cmd c = { .argv = err == 0 ? argv : NULL, .deadline_ms = DEADLINE_MS };
        if (err == 0) err = exec_run(&c, &a, NULL, t);
        if (proto_path[0] != '\0') (void)unlink(proto_path);
        arena_done(&a);
        return err;
}

int format_device(const char *path, const struct strmap *props, enum format_wiped wiped, struct trouble *t)
{
        /* Exclusive: nobody has it mounted or stacked upon, and nobody begins while this looks. mkfs opens it so itself. */
        int fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
        if (fd < 0) return trouble_errno(t, errno, "%s cannot be opened to make a file system", path);
        int found = signature_look(path);
        bool empty = found == 0 && is_blank(fd, wiped);
        (void)close(fd);
        if (found < 0) return trouble_errno(t, EIO, "%s cannot be looked at", path);
        if (!empty) {
                log_warn("format", "%s holds something: no file system is made", path);
                return 0;
        }
        int err = run_mkfs(path, props, t);
        if (err == 0) log_info("format", "%s: file system %s made", path, given(props, "FileSystem/Type"));
        return err;
}
