#include "satellite/provider/zfs_cmd.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define ZFS_DEADLINE_MS 60000u
#define BUSY_TRIES 8
#define BUSY_PAUSE_MS 500

static unsigned deadline_ms = ZFS_DEADLINE_MS;

void zfs_set_deadline(unsigned ms) { deadline_ms = ms; }

void zfs_arg(struct zfs_args *c, const char *word)
{
        assert(c->n < ZFS_ARGS_MAX);
        c->argv[c->n++] = word;
}

/* ---- what went wrong ---- */

static const struct {
        const char *said;
        int err;
        enum trouble_code code;
        const char *fix;
} known[] = {
        { "ZFS modules", E_NOT_FOUND, TROUBLE_POOL,
                "Load the kernel module with 'modprobe zfs'; install zfs-dkms if there is none." },
        { "currently suspended", E_STORAGE, TROUBLE_POOL,
                "Bring the pool's disks back, then 'zpool clear' it." },
        { "no such pool", E_NOT_FOUND, TROUBLE_POOL,
                "Bring the pool back ('zpool import'), or make it; the satellite tries again by itself." },
        { "no pools available", E_NOT_FOUND, TROUBLE_POOL,
                "Bring the pool back ('zpool import'), or make it; the satellite tries again by itself." },
        { "does not exist", E_NOT_FOUND, TROUBLE_POOL,
                "Make it ('zfs create'), or correct the pool's property StorDriver/StorPoolName." },
        { "could not find any snapshots", E_NOT_FOUND, TROUBLE_POOL,
                "Restore it, or delete what is made from it." },
        { "out of space", E_NO_SPACE, TROUBLE_NO_SPACE,
                "Free space in the pool or extend it; the satellite tries again by itself." },
        { "greater than available space", E_NO_SPACE, TROUBLE_NO_SPACE,
                "Free space in the pool or extend it; the satellite tries again by itself." },
        { "is busy", E_BUSY, TROUBLE_IN_USE, "End its use; the satellite tries again by itself." },
        { "already exists", E_EXISTS, TROUBLE_EXISTS,
                "Rename it ('zfs rename') or destroy it if it is not needed." },
        { "has children", E_EXISTS, TROUBLE_EXISTS, "Destroy its snapshots first." },
        { "dependent clones", E_EXISTS, TROUBLE_EXISTS, "Delete what was made from it first." },
};

static int explain(const struct exec_cmd *c, const struct exec_result *r, struct trouble *t)
{
        int err = exec_trouble(c, r, t);
        for (size_t i = 0; i < ARRAY_LEN(known); i++) {
                if (strstr(r->err, known[i].said) == NULL) continue;
                err = known[i].err;
                if (t == NULL) break;
                t->code = known[i].code;
                t->err = err;
                trouble_fix(t, "%s", known[i].fix);
                break;
        }
        return err;
}

static int not_understood(struct trouble *t, const char *program, int err, const char *line)
{
        if (err == E_TOO_LARGE) return trouble_set(t, err, TROUBLE_POOL, "%s printed too much.", program);
        trouble_set(t, err, TROUBLE_POOL, "What %s printed is not understood.", program);
        trouble_cause(t, "The line is \"%s\".", line);
        trouble_fix(t, "Report it, with the version of ZFS ('zfs version'). Nothing was concluded from it.");
        return err;
}

static int run_once(const struct zfs_args *c, struct arena *a, struct exec_result *ret, struct trouble *t)
{
        struct exec_cmd cmd = { .argv = c->argv, .deadline_ms = deadline_ms };
        int err = exec_try(&cmd, a, ret, t);
        if (err != 0 && t != NULL) t->code = TROUBLE_POOL;
        return err == 0 && ret->status != 0 ? explain(&cmd, ret, t) : err;
}

/* udev looks at a device for a moment whenever something closes it: that is no use. */
int zfs_run(const struct zfs_args *c, struct arena *a, struct trouble *t)
{
        static const struct timespec pause = { .tv_nsec = BUSY_PAUSE_MS * 1000000L };
        struct exec_result r;
        int err = run_once(c, a, &r, t);
        for (unsigned i = 1; err == E_BUSY && i < BUSY_TRIES; i++) {
                (void)nanosleep(&pause, NULL);
                err = run_once(c, a, &r, t);
        }
        if (err == 0 && t != NULL) *t = (struct trouble){ .volume = TROUBLE_NO_VOLUME };
        return err;
}

int zfs_output(const struct zfs_args *c, struct arena *a, const char **ret, struct trouble *t)
{
        struct exec_result r;
        int err = run_once(c, a, &r, t);
        if (err == 0) *ret = r.out;
        return err;
}

/* ---- tables ---- */

int zfs_list(const char *place, struct arena *a, struct zfs_row **ret, uint32_t *ret_n, struct trouble *t)
{
        struct zfs_args c = { 0 };
        struct exec_result r;
        const char *line = "";
        ZFS_ARGS(&c, "zfs", "list", "-Hp", "-r", "-d", "2", "-t", "filesystem,volume,snapshot", "-o",
                ZFS_LIST_FIELDS, place);
        int err = run_once(&c, a, &r, t);
        if (err != 0) return err;
        err = zfs_parse_list(r.out, a, ret, ret_n, &line);
        return err == 0 ? 0 : not_understood(t, "'zfs list'", err, line);
}

static const char *root_of(const char *place, struct arena *a)
{
        return arena_strndup(a, place, strcspn(place, "/"));
}

int zfs_space_of(
        const char *place, struct arena *a, struct zfs_space *at, struct zfs_space *root, struct trouble *t)
{
        const char *pool = root_of(place, a), *line = "";
        struct zfs_args c = { 0 };
        struct exec_result r;
        struct zfs_space *rows;
        uint32_t n;
        ZFS_ARGS(&c, "zfs", "list", "-Hp", "-t", "filesystem", "-o", ZFS_SPACE_FIELDS, pool);
        if (strcmp(pool, place) != 0) zfs_arg(&c, place);
        int err = run_once(&c, a, &r, t);
        if (err == 0 && (err = zfs_parse_space(r.out, a, &rows, &n, &line)) != 0)
                return not_understood(t, "'zfs list'", err, line);
        if (err != 0) return err;
        *at = *root = (struct zfs_space){ 0 };
        for (uint32_t i = 0; i < n; i++) {
                if (strcmp(rows[i].name, place) == 0) *at = rows[i];
                if (strcmp(rows[i].name, pool) == 0) *root = rows[i];
        }
        if (at->name == NULL || root->name == NULL) return not_understood(t, "'zfs list'", E_PROTOCOL, r.out);
        return 0;
}

/* ---- health ---- */

static bool is_any(const char *s, const char *const names[], size_t n)
{
        for (size_t i = 0; i < n; i++)
                if (strcmp(s, names[i]) == 0) return true;
        return false;
}

static int bad_health(const char *pool, const char *health, struct trouble *t)
{
        trouble_set(t, E_STORAGE, TROUBLE_POOL, "ZFS pool %s cannot be used.", pool);
        trouble_cause(t, "Its state is %s.", health);
        trouble_fix(t,
                "'zpool status -v %s' says what it lacks. Bring the disks back, then 'zpool clear %s'.", pool,
                pool);
        return E_STORAGE;
}

int zpool_check_quick(const char *place, struct arena *a, struct trouble *t)
{
        static const char *const bad[] = { "SUSPENDED", "FAULTED", "UNAVAIL", "REMOVED", "OFFLINE" };
        const char *pool = root_of(place, a);
        char health[32] = "";
        FILE *f = fopen(arena_printf(a, "/proc/spl/kstat/zfs/%s/state", pool), "re");
        if (f == NULL) return 0; /* an older ZFS, or none: the programs will say */
        bool got = fgets(health, sizeof health, f) != NULL;
        fclose(f);
        health[strcspn(health, "\n")] = '\0';
        return got && is_any(health, bad, ARRAY_LEN(bad)) ? bad_health(pool, health, t) : 0;
}

int zpool_check(const char *place, struct arena *a, struct trouble *warning, struct trouble *t)
{
        const char *pool = root_of(place, a), *line = "";
        struct zfs_args c = { 0 };
        struct exec_result r;
        struct zpool_row *rows;
        uint32_t n;
        int err = zpool_check_quick(place, a, t);
        if (err != 0) return err;
        ZFS_ARGS(&c, "zpool", "list", "-Hp", "-o", ZPOOL_FIELDS, pool);
        err = run_once(&c, a, &r, t);
        if (err == 0 && ((err = zpool_parse_list(r.out, a, &rows, &n, &line)) != 0 || n != 1))
                return not_understood(
                        t, "'zpool list'", err != 0 ? err : E_PROTOCOL, err != 0 ? line : r.out);
        if (err != 0) return err;
        if (strcmp(rows->health, "ONLINE") == 0) return 0;
        if (strcmp(rows->health, "DEGRADED") != 0) return bad_health(pool, rows->health, t);
        trouble_set(warning, E_STORAGE, TROUBLE_WARN_STORAGE, "ZFS pool %s is degraded.", pool);
        trouble_cause(warning, "It works, but lacks a disk of its redundancy.");
        trouble_fix(warning, "'zpool status -v %s' names the disk: replace it with 'zpool replace'.", pool);
        return 0;
}
