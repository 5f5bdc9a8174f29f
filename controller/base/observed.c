#include "controller/base/observed.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "state/kv_lmdb.h"

struct observed {
        struct kv_lmdb *env;
        observed_changed_fn *changed_cb;
        void *arg;
        struct arena arena; /* of one write at a time */
};

/* Unsynced, so whatever a crash left may be damaged: it is never opened again. */
static int remove_old(const char *path, struct fail *f)
{
        char lock[1024];
        int n = snprintf(lock, sizeof lock, "%s-lock", path);
        if (n < 0 || (size_t)n >= sizeof lock) return fail_set(f, E_TOO_LARGE, "%s: path is too long", path);
        if (unlink(path) != 0 && errno != ENOENT) return fail_set(f, -errno, "cannot remove %s", path);
        if (unlink(lock) != 0 && errno != ENOENT) return fail_set(f, -errno, "cannot remove %s", lock);
        return 0;
}

int observed_open(
        const char *dir, observed_changed_fn *changed_cb, void *arg, struct observed **ret, struct fail *f)
{
        static const char *const dbs[] = { "observed" };
        char *path = xasprintf("%s/observed.mdb", dir);
        struct kv_lmdb_config c = {
                .path = path, .dbs = dbs, .dbs_n = 1, .map_bytes = UINT64_C(1) << 30, .unsynced = true
        };
        struct observed *o = xnew(struct observed);
        int err = remove_old(path, f);
        if (err == 0) err = kv_lmdb_open(&c, &o->env, f);
        free(path);
        if (err != 0) {
                free(o);
                return err;
        }
        o->changed_cb = changed_cb;
        o->arg = arg;
        *ret = o;
        return 0;
}

void observed_close(struct observed *o)
{
        if (o == NULL) return;
        kv_lmdb_close(o->env);
        arena_done(&o->arena);
        free(o);
}

struct tx *observed_begin(struct observed *o)
{
        struct kv_lmdb_txn *t;
        if (kv_lmdb_read(o->env, &t) != 0) return NULL;
        return kv_lmdb_tx(t, 0);
}

void observed_end(struct tx *tx)
{
        if (tx != NULL) kv_lmdb_end(kv_lmdb_txn_of(tx));
}

int observed_write(struct observed *o, const char *node_name, observed_write_fn *fn, void *arg)
{
        struct kv_lmdb_txn *t;
        int err = kv_lmdb_write(o->env, &t);
        if (err != 0) return err;
        err = fn(arg, kv_lmdb_tx(t, 0), &o->arena);
        arena_reset(&o->arena);
        if (err != 0) {
                kv_lmdb_end(t);
                return err;
        }
        err = kv_lmdb_commit(t);
        if (err == 0 && o->changed_cb != NULL) o->changed_cb(o->arg, node_name);
        return err;
}
