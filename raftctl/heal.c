/* A member whose store is damaged or gone, when it starts: the store goes aside, and the member comes back by its
 * certificate under a new id (rejoin.c). Every page and every row is read first: what is damaged is never served.
 * Where the others have no quorum without it, it stops and says so; each later start tries again. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raftctl/member_int.h"
#include "raftctl/store_lmdb.h"

static void remove_flat(const char *path)
{
        DIR *d = opendir(path);
        if (d == NULL) return;
        for (struct dirent *e = readdir(d); e != NULL; e = readdir(d))
                (void)unlinkat(dirfd(d), e->d_name, 0); /* there are no folders below */
        closedir(d);
        (void)rmdir(path);
}

/* Is it a store that was set aside: raft.ID.N? */
static bool is_aside(const char *name)
{
        static const char start[] = MEMBER_STORE_DIR ".";
        size_t n = sizeof start - 1;
        return strncmp(name, start, n) == 0 && strspn(name + n, "0123456789abcdef") == 16 &&
               name[n + 16] == '.';
}

/* Keeps the one that was set aside last: a bad disk must not fill itself with copies. */
static void keep_last_aside(const char *dir)
{
        char last[NAME_MAX + 1] = "", path[PATH_MAX];
        struct timespec newest = { 0 };
        for (int pass = 0; pass < 2; pass++) {
                DIR *d = opendir(dir);
                if (d == NULL) return;
                for (struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
                        struct stat st;
                        if (!is_aside(e->d_name) || fstatat(dirfd(d), e->d_name, &st, 0) != 0) continue;
                        bool newer =
                                st.st_ctim.tv_sec > newest.tv_sec ||
                                (st.st_ctim.tv_sec == newest.tv_sec && st.st_ctim.tv_nsec > newest.tv_nsec);
                        if (pass == 0 && newer) {
                                newest = st.st_ctim;
                                (void)snprintf(last, sizeof last, "%s", e->d_name);
                        }
                        int n = snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
                        if (pass == 1 && n > 0 && (size_t)n < sizeof path && strcmp(last, e->d_name) != 0)
                                remove_flat(path);
                }
                closedir(d);
        }
}

static void tell(const struct local_member *m, const char *text)
{
        if (m->hooks->on_heal != NULL) m->hooks->on_heal(m->arg, text);
}

int heal_store(struct local_member *m, int err, struct fail *f)
{
        struct fail none = { 0 }, *why = f != NULL ? f : &none;
        char text[sizeof why->text + 100];
        if (err != E_CORRUPT && err != E_STALE) return err;
        (void)snprintf(text, sizeof text, "%s; the others are asked for a new copy", why->text);
        tell(m, text);
        if (member_rejoin(&(struct member_rejoining){ .dir = m->dir }, why) != 0) {
                tell(m, why->text);
                return fail_set(f, err,
                        "%.80s/" MEMBER_STORE_DIR
                        " is damaged or gone, and no majority of the others could give a copy. Nothing was "
                        "changed here: start the others, then this one; when theirs are damaged too: "
                        "docs/operations.md, page 9",
                        m->dir);
        }
        keep_last_aside(m->dir);
        arena_reset(&m->arena);
        m->identity = (struct member_identity){ 0 };
        err = identity_load(m->dir, &m->arena, &m->identity, f);
        if (err == 0)
                tell(m, "this member comes back under a new id, and votes when it has caught up; its former "
                        "store is "
                        "kept in " MEMBER_STORE_DIR ".* until the next time");
        return err;
}
