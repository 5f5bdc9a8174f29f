#include "satellite/throttle.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define IOPS_MAX UINT32_MAX /* more is no limit for the kernel, or overflows there */
#define GROUPS_MAX 256u

static const struct {
        const char *key, *file, *word; /* version 1: a file each; version 2: a word in io.max */
} whiches[THROTTLE_N] = {
        [THROTTLE_READ] = { "sys/fs/blkio_throttle_read", "blkio.throttle.read_bps_device", "rbps" },
        [THROTTLE_WRITE] = { "sys/fs/blkio_throttle_write", "blkio.throttle.write_bps_device", "wbps" },
        [THROTTLE_READ_IOPS] = { "sys/fs/blkio_throttle_read_iops", "blkio.throttle.read_iops_device",
                "riops" },
        [THROTTLE_WRITE_IOPS] = { "sys/fs/blkio_throttle_write_iops", "blkio.throttle.write_iops_device",
                "wiops" },
};

const char *throttle_key(enum throttle_which which) { return whiches[which].key; }

uint64_t throttle_value(const char *text, enum throttle_which which)
{
        char *end;
        if (text == NULL || text[0] < '0' || text[0] > '9') return 0;
        errno = 0;
        uint64_t v = strtoull(text, &end, 10);
        if (errno != 0 || *end != '\0') return 0;
        return which == THROTTLE_READ || which == THROTTLE_WRITE ? v : MIN(v, (uint64_t)IOPS_MAX);
}

/* ---- control groups ---- */

/* The limits of one device in one group. */
struct held {
        unsigned major, minor;
        uint64_t value[THROTTLE_N];
};
struct group {
        const char *dir;
        struct held *held;
        uint32_t held_n;
};
struct tree {
        struct arena *a;
        unsigned version; /* 0: there is none */
        struct group *groups;
        uint32_t groups_n;
        bool no_io; /* version 2 is there, but without the controller io */
        const char *root;
};

static struct held *held_find(struct tree *t, struct group *g, unsigned major, unsigned minor, bool make)
{
        for (uint32_t i = 0; i < g->held_n; i++)
                if (g->held[i].major == major && g->held[i].minor == minor) return &g->held[i];
        if (!make) return NULL;
        if ((g->held_n & (g->held_n - 1)) == 0) { /* room up to the next power of two */
                struct held *more =
                        arena_array(t->a, struct held, g->held_n == 0 ? 1 : 2 * (size_t)g->held_n);
                if (more == NULL) return NULL;
                if (g->held_n > 0) memcpy(more, g->held, g->held_n * sizeof *more);
                g->held = more;
        }
        struct held *h = &g->held[g->held_n++];
        *h = (struct held){ .major = major, .minor = minor };
        return h;
}

/* One line of a file: "MAJOR:MINOR VALUE", or "MAJOR:MINOR rbps=VALUE wbps=max ...". A later line for a device counts. */
static int take_line(struct tree *t, struct group *g, enum throttle_which which, char *line)
{
        char *rest = line, *word = strsep(&rest, " \n");
        unsigned major, minor;
        if (sscanf(word, "%u:%u", &major, &minor) != 2) return 0;
        struct held *h = held_find(t, g, major, minor, true);
        if (h == NULL) return E_TOO_LARGE;
        while ((word = strsep(&rest, " \n")) != NULL) {
                if (word[0] == '\0') continue;
                if (t->version == 1) {
                        h->value[which] = strtoull(word, NULL, 10);
                        break;
                }
                for (unsigned w = 0; w < THROTTLE_N; w++) {
                        size_t n = strlen(whiches[w].word);
                        if (strncmp(word, whiches[w].word, n) == 0 && word[n] == '=')
                                h->value[w] = strtoull(word + n + 1, NULL, 10); /* "max" is 0 */
                }
        }
        return 0;
}

static int read_file(struct tree *t, struct group *g, enum throttle_which which, const char *name)
{
        FILE *f = fopen(arena_printf(t->a, "%s/%s", g->dir, name), "re");
        char *line = NULL;
        size_t cap = 0;
        int err = 0;
        if (f == NULL) return 0; /* the group has just gone */
        while (err == 0 && getline(&line, &cap, f) >= 0) err = take_line(t, g, which, line);
        free(line);
        fclose(f);
        return err;
}

static bool has_file(struct tree *t, const char *dir, const char *name)
{
        return access(arena_printf(t->a, "%s/%s", dir, name), F_OK) == 0;
}

static int add_group(struct tree *t, const char *dir)
{
        if (t->groups_n == GROUPS_MAX) return 0;
        struct group *g = &t->groups[t->groups_n++];
        *g = (struct group){ .dir = dir };
        int err = 0;
        if (t->version == 2) return read_file(t, g, THROTTLE_READ, "io.max");
        for (unsigned w = 0; w < THROTTLE_N && err == 0; w++) err = read_file(t, g, w, whiches[w].file);
        return err;
}

/* Version 2 at dir: the groups directly below. */
static int look_unified(struct tree *t, const char *dir)
{
        DIR *d = opendir(dir);
        const struct dirent *e;
        int err = 0;
        if (d == NULL) return 0;
        while (err == 0 && (e = readdir(d)) != NULL) {
                const char *sub = arena_printf(t->a, "%s/%s", dir, e->d_name);
                if (e->d_name[0] == '.' || !has_file(t, sub, "io.max")) continue;
                t->version = 2;
                err = add_group(t, sub);
        }
        closedir(d);
        if (t->version == 0) t->no_io = true;
        return err;
}

static int look(struct tree *t, const char *root)
{
        const char *blkio = arena_printf(t->a, "%s/blkio", root),
                   *mixed = arena_printf(t->a, "%s/unified", root);
        t->root = root;
        t->groups = arena_array(t->a, struct group, GROUPS_MAX);
        if (t->groups == NULL) return E_TOO_LARGE;
        if (has_file(t, blkio, whiches[THROTTLE_READ].file)) {
                t->version = 1;
                return add_group(t, blkio);
        }
        if (has_file(t, root, "cgroup.controllers")) return look_unified(t, root);
        return has_file(t, mixed, "cgroup.controllers") ? look_unified(t, mixed) : 0;
}

/* Returns 0 or an errno. The kernel takes one write as a whole, wherever in the file. */
static int put(struct tree *t, struct group *g, unsigned major, unsigned minor, enum throttle_which which,
        uint64_t value)
{
        const char *file = t->version == 1 ? whiches[which].file : "io.max";
        char line[96];
        int n;
        if (t->version == 1)
                n = snprintf(line, sizeof line, "%u:%u %llu\n", major, minor, (unsigned long long)value);
        else if (value == 0)
                n = snprintf(line, sizeof line, "%u:%u %s=max\n", major, minor, whiches[which].word);
        else
                n = snprintf(line, sizeof line, "%u:%u %s=%llu\n", major, minor, whiches[which].word,
                        (unsigned long long)value);
        int fd = open(arena_printf(t->a, "%s/%s", g->dir, file), O_WRONLY | O_APPEND | O_CLOEXEC);
        if (fd < 0) return errno;
        int err = write(fd, line, (size_t)n) == n ? 0 : errno;
        (void)close(fd);
        struct held *h = err == 0 ? held_find(t, g, major, minor, true) : NULL;
        if (h != NULL) h->value[which] = value;
        return err;
}

/* ---- wanted against held ---- */

static void no_means(const struct tree *t, struct throttle_want *w)
{
        trouble_set(&w->trouble, E_UNSUPPORTED, TROUBLE_WARN_STORAGE,
                "Resource %s, volume %llu: its limits of bandwidth or operations cannot be set.", w->rsc_name,
                (unsigned long long)w->volume_number);
        if (t->no_io) {
                trouble_cause(&w->trouble,
                        "No control group below %s has io.max: the controller io is not enabled there.",
                        t->root);
                trouble_fix(&w->trouble,
                        "Write \"+io\" to %s/cgroup.subtree_control, or let systemd do it "
                        "(DefaultIOAccounting=yes).",
                        t->root);
        } else {
                trouble_cause(&w->trouble,
                        "The node has neither the blkio controller (control groups version 1) nor version 2 "
                        "at %s.",
                        t->root);
                trouble_fix(&w->trouble, "Mount the control groups, or delete the properties %s*.",
                        "sys/fs/blkio_throttle_");
        }
        w->trouble.volume = (int64_t)w->volume_number;
}

static void not_set(struct throttle_want *w, const char *path, enum throttle_which which, int errno_value)
{
        trouble_set(&w->trouble, -errno_value, TROUBLE_WARN_STORAGE,
                "Resource %s, volume %llu: the limit %s cannot be set for %s.", w->rsc_name,
                (unsigned long long)w->volume_number, whiches[which].key, path);
        trouble_cause(&w->trouble, "The kernel refuses it: %s.", strerror(errno_value));
        trouble_fix(&w->trouble, "Change or delete the property; in a container, make the control groups "
                                 "writable. The satellite tries again by itself.");
        w->trouble.volume = (int64_t)w->volume_number;
}

/* Is the limit in the list? same: with that value. */
static bool is_in(const struct throttle_mark *list, uint32_t n, const struct throttle_mark *m, bool same)
{
        for (uint32_t i = 0; i < n; i++)
                if (list[i].major == m->major && list[i].minor == m->minor && list[i].which == m->which &&
                        (!same || list[i].value == m->value))
                        return true;
        return false;
}

/* The limit of one volume, in all groups. */
static void bring(struct tree *t, struct throttle_job *j, struct throttle_want *w, const char *path,
        const struct throttle_mark *m)
{
        for (uint32_t i = 0; i < t->groups_n; i++) {
                struct group *g = &t->groups[i];
                const struct held *h = held_find(t, g, m->major, m->minor, false);
                if (h != NULL && h->value[m->which] == m->value) continue;
                if (!is_in(j->marks, j->marks_n, m, true)) {
                        j->missing[j->missing_n++] = *m;
                        return;
                }
                int err = put(t, g, m->major, m->minor, m->which, m->value);
                /* A group that has gone has nobody to limit, and a device that has gone comes with a round of its own. */
                if (err != 0 && err != ENODEV && access(g->dir, F_OK) == 0) not_set(w, path, m->which, err);
        }
}

/* The marks of what is wanted now, for those devices that are there. */
static uint32_t bring_all(struct tree *t, struct throttle_job *j, struct throttle_mark *wanted)
{
        uint32_t n = 0;
        for (uint32_t i = 0; i < j->wants_n; i++) {
                struct throttle_want *w = &j->wants[i];
                const char *path = t->version == 1 ? w->lowest : w->top;
                struct stat st;
                if (t->version == 0) no_means(t, w);
                if (t->version == 0 || path == NULL || stat(path, &st) != 0 || !S_ISBLK(st.st_mode)) continue;
                for (unsigned which = 0; which < THROTTLE_N; which++) {
                        if (w->value[which] == 0) continue;
                        wanted[n] = (struct throttle_mark){ major(st.st_rdev), minor(st.st_rdev), which,
                                w->value[which] };
                        bring(t, j, w, path, &wanted[n++]);
                }
        }
        return n;
}

/* Takes back what was set and is not wanted any more; not what another value is about to replace. True: nothing of it is left. */
static bool take_back(struct tree *t, const struct throttle_mark *m, bool replaced)
{
        bool over = true;
        for (uint32_t i = 0; i < t->groups_n; i++) {
                struct group *g = &t->groups[i];
                const struct held *h = held_find(t, g, m->major, m->minor, false);
                if (h == NULL || h->value[m->which] != m->value) continue;
                int err = replaced ? EBUSY : put(t, g, m->major, m->minor, m->which, 0);
                if (err != 0 && err != ENODEV && access(g->dir, F_OK) == 0) over = false;
        }
        return over;
}

int throttle_run(struct throttle_job *j, struct arena *a)
{
        struct tree t = { .a = a };
        struct throttle_mark *wanted =
                arena_array(a, struct throttle_mark, (size_t)j->wants_n * THROTTLE_N + 1);
        j->missing = arena_array(a, struct throttle_mark, (size_t)j->wants_n * THROTTLE_N + 1);
        j->over = arena_array(a, bool, j->marks_n + (size_t)1);
        j->missing_n = 0;
        if (wanted == NULL || j->missing == NULL || j->over == NULL) return E_TOO_LARGE;
        int err = look(&t, j->root);
        if (err != 0) return err;
        uint32_t wanted_n = bring_all(&t, j, wanted);
        for (uint32_t i = 0; i < j->marks_n; i++)
                j->over[i] = !is_in(wanted, wanted_n, &j->marks[i], true) &&
                             take_back(&t, &j->marks[i], is_in(wanted, wanted_n, &j->marks[i], false));
        return 0;
}
