#include "satellite/layer/dm.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "satellite/base/exec.h"

#define LOOK_MS 15000u
#define CHANGE_MS 120000u

/* ---- pure ---- */

bool dm_name_fits(const char *name)
{
        size_t n = strlen(name);
        if (n == 0 || n >= DM_NAME_SIZE) return false;
        for (const char *p = name; *p != '\0'; p++)
                if (!isalnum((unsigned char)*p) && strchr("#+-.:=@_", *p) == NULL) return false;
        return true;
}

static bool number(const char *text, size_t n, uint64_t *ret)
{
        uint64_t v = 0;
        if (n == 0 || n > 19) return false;
        for (size_t i = 0; i < n; i++) {
                if (!isdigit((unsigned char)text[i])) return false;
                v = v * 10 + (uint64_t)(text[i] - '0');
        }
        *ret = v;
        return true;
}

/* One line: name|uuid|open count|suspended or active. */
static bool parse_row(const char *line, size_t n, const char *name, struct arena *a, struct dm_dev *ret)
{
        const char *field[4];
        size_t length[4], k = 0;
        for (const char *p = line, *end = line + n; k < 4; k++) {
                const char *bar = memchr(p, '|', (size_t)(end - p));
                field[k] = p;
                length[k] = (size_t)((bar != NULL ? bar : end) - p);
                if (bar == NULL) break;
                p = bar + 1;
        }
        if (k != 3 || length[0] != strlen(name) || memcmp(field[0], name, length[0]) != 0) return false;
        *ret = (struct dm_dev){ .there = true, .status = "" };
        ret->uuid = arena_strndup(a, field[1], length[1]);
        ret->suspended = length[3] >= 9 && strncasecmp(field[3], "suspended", 9) == 0;
        return number(field[2], length[2], &ret->opens);
}

bool dm_parse_info(const char *text, const char *name, struct arena *a, struct dm_dev *ret)
{
        for (const char *p = text; *p != '\0';) {
                size_t n = strcspn(p, "\n"), skip = strspn(p, " ");
                while (n > skip && p[n - 1] == ' ') n--;
                if (n > skip && parse_row(p + skip, n - skip, name, a, ret)) return true;
                p += strcspn(p, "\n");
                if (*p == '\n') p++;
        }
        return false;
}

const char *dm_word(const char *line, unsigned i, struct arena *a)
{
        const char *p = line + strspn(line, " ");
        for (; i > 0 && *p != '\0'; i--) {
                p += strcspn(p, " \n");
                p += strspn(p, " ");
        }
        return arena_strndup(a, p, strcspn(p, " \n"));
}

bool dm_parse_line(const char *text, struct arena *a, uint64_t *ret_sectors, const char **ret_target,
        const char **ret_rest)
{
        size_t n = strcspn(text, "\n");
        if (text[n] == '\n' && text[n + 1] != '\0') return false;
        const char *line = arena_strndup(a, text, n), *p = line;
        const char *start = dm_word(line, 0, a), *length = dm_word(line, 1, a), *target = dm_word(line, 2, a);
        if (strcmp(start, "0") != 0 || !number(length, strlen(length), ret_sectors) || target[0] == '\0')
                return false;
        for (unsigned i = 0; i < 3; i++) {
                p += strspn(p, " ");
                p += strcspn(p, " ");
        }
        *ret_target = target;
        *ret_rest = p + strspn(p, " ");
        return true;
}

/* ---- the program ---- */

static int dmsetup(const struct exec_cmd *c, struct arena *a, struct exec_result *ret, struct trouble *t)
{
        struct exec_result r;
        int err = exec_try(c, a, &r, t);
        if (err != 0) return err;
        if (r.status != 0) {
                err = exec_trouble(c, &r, t);
                if (strstr(r.err, "busy") != NULL || strstr(r.err, "Busy") != NULL) {
                        err = E_BUSY;
                        if (t != NULL) {
                                t->err = err;
                                t->code = TROUBLE_IN_USE;
                        }
                        trouble_fix(t, "End its use; the satellite tries again by itself.");
                } else trouble_fix(t, "Look into the kernel log. The satellite tries again by itself.");
                return err;
        }
        if (ret != NULL) *ret = r;
        return 0;
}

static int run(const char *const *argv, const char *input, unsigned deadline_ms, struct trouble *t)
{
        struct arena a = { 0 };
        struct exec_cmd c = { .argv = argv, .deadline_ms = deadline_ms };
        if (input != NULL) c.input = BLOB(input, strlen(input));
        int err = dmsetup(&c, &a, NULL, t);
        arena_done(&a);
        return err;
}

int dm_look(const char *name, struct arena *a, struct dm_dev *ret, struct trouble *t)
{
        static const char *const list[] = { "dmsetup", "info", "-c", "--noheadings", "--separator", "|", "-o",
                "name,uuid,open,suspended", NULL };
        const char *const table[] = { "dmsetup", "table", name, NULL };
        const char *const status[] = { "dmsetup", "status", "--noflush", name, NULL };
        struct exec_cmd c = { .argv = list, .deadline_ms = LOOK_MS };
        struct exec_result r;
        const char *target, *rest;
        uint64_t sectors;
        *ret = (struct dm_dev){ .uuid = "", .status = "" };
        int err = dmsetup(&c, a, &r, t);
        if (err != 0) return err;
        if (!dm_parse_info(r.out, name, a, ret)) return 0;
        c.argv = table;
        err = dmsetup(&c, a, &r, t);
        if (err != 0) return err;
        if (!dm_parse_line(r.out, a, &ret->sectors, &ret->target, &ret->args)) {
                ret->target = NULL;
                return 0;
        }
        /* Without a status the device is still what its table says. */
        c.argv = status;
        if (dmsetup(&c, a, &r, NULL) == 0 && dm_parse_line(r.out, a, &sectors, &target, &rest))
                ret->status = rest;
        return 0;
}

int dm_create(const char *name, const char *uuid, const char *table, struct trouble *t)
{
        const char *const argv[] = { "dmsetup", "create", name, "--uuid", uuid, NULL };
        return run(argv, table, CHANGE_MS, t);
}

int dm_change(const char *name, const char *table, struct trouble *t)
{
        const char *const load[] = { "dmsetup", "load", name, NULL };
        const char *const resume[] = { "dmsetup", "resume", name, NULL };
        int err = run(load, table, CHANGE_MS, t);
        return err == 0 ? run(resume, NULL, CHANGE_MS, t) : err;
}

int dm_remove(const char *name, struct trouble *t)
{
        const char *const argv[] = { "dmsetup", "remove", "--retry", name, NULL };
        return run(argv, NULL, CHANGE_MS, t);
}

int dm_message(const char *name, const char *text, unsigned deadline_ms, struct trouble *t)
{
        const char *const argv[] = { "dmsetup", "message", name, "0", text, NULL };
        return run(argv, NULL, deadline_ms != 0 ? deadline_ms : CHANGE_MS, t);
}

/* ---- what the node has ---- */

static bool mentions(const char *path, const char *word)
{
        char line[4096];
        bool found = false;
        FILE *f = fopen(path, "re");
        if (f == NULL) return false;
        while (!found && fgets(line, sizeof line, f) != NULL) found = strstr(line, word) != NULL;
        fclose(f);
        return found;
}

const char *module_missing(const char *module, struct arena *a)
{
        static const char *const lists[] = { "modules.dep", "modules.builtin" };
        struct utsname u;
        char *loaded = arena_printf(a, "/sys/module/%s", module);
        for (char *p = loaded; *p != '\0'; p++)
                if (*p == '-') *p = '_';
        if (access(loaded, F_OK) == 0 || uname(&u) != 0) return NULL;
        for (size_t i = 0; i < ARRAY_LEN(lists); i++)
                if (mentions(arena_printf(a, "/lib/modules/%s/%s", u.release, lists[i]),
                            arena_printf(a, "/%s.ko", module)))
                        return NULL;
        return arena_printf(a, "the kernel has no module %s: use a kernel that has it", module);
}

const char *dm_kernel_missing(const char *module, struct arena *a)
{
        if (access("/dev/mapper/control", R_OK | W_OK) != 0)
                return "/dev/mapper/control cannot be opened: run as root and load the kernel module with "
                       "'modprobe dm_mod'";
        return module_missing(module, a);
}

const char *dm_missing(const char *module, struct arena *a)
{
        if (!exec_exists("dmsetup"))
                return "the program dmsetup is not installed: install the package dmsetup";
        return dm_kernel_missing(module, a);
}
