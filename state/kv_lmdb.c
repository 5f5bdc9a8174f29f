/* LMDB behind struct tx, see kv_lmdb.h. A stored value is 8 bytes of checksum64(key, value), big-endian, then
 * the value. */
#include "state/kv_lmdb.h"

#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "state/checksum.h"
#include "state/lmdb_verify.h"
#include "wire/base/buf.h"
#include "wire/base/sodium_once.h"

enum { SUM_SIZE = 8, PAGE_MAX = 65536 /* of a kernel */ };
/* A file system with less than this is full, whatever error a write gave: LMDB reports a short write as EIO.
 */
#define FULL_BYTES (UINT64_C(1) << 20)

struct view {
        struct tx tx;
        struct kv_lmdb_txn *txn;
        MDB_dbi dbi;
};
struct kv_lmdb_txn {
        struct kv_lmdb *env;
        MDB_txn *mdb;
        bool write;
        struct kv_lmdb_txn *next_free;
        struct view views[KV_LMDB_DBS_MAX];
};
struct kv_lmdb {
        MDB_env *mdb;
        MDB_dbi dbis[KV_LMDB_DBS_MAX];
        MDB_dbi main; /* holds the others, and the number of the transaction */
        unsigned dbs_n;
        bool unsynced;
        uint64_t map_bytes;
        void *map; /* where the library has mapped the file; NULL: not known */
        size_t map_size;
        char *dir;           /* for statvfs */
        atomic_bool damaged; /* a read has found that a row or page is not what was written */
        pthread_mutex_t mutex;
        struct kv_lmdb_txn *idle; /* read transactions that were reset; under mutex */
        struct buf scratch;       /* of the writer */
        /* Of kv_lmdb_room: pages that can be used again after that transaction. */
        bool reusable_known;
        uint64_t reusable_txn, reusable;
};

static uint64_t disk_free(const struct kv_lmdb *env)
{
        struct statvfs fs;
        if (statvfs(env->dir, &fs) != 0) return UINT64_MAX;
        return (uint64_t)fs.f_bavail * fs.f_frsize;
}

static int translate(const struct kv_lmdb *env, int rc)
{
        switch (rc) {
        case 0: return 0;
        case MDB_NOTFOUND: return E_NOT_FOUND;
        case MDB_MAP_FULL:
        case MDB_TXN_FULL:
        case ENOSPC:
        case EDQUOT: return E_NO_SPACE;
        case EIO: return disk_free(env) < FULL_BYTES ? E_NO_SPACE : E_STORAGE;
        case MDB_CORRUPTED:
        case MDB_PAGE_NOTFOUND:
        case MDB_INVALID: return E_CORRUPT;
        case MDB_VERSION_MISMATCH: return E_FORMAT;
        case MDB_READERS_FULL: return E_LIMIT;
        default: return E_STORAGE;
        }
}

static uint64_t get_sum(const uint8_t *p)
{
        uint64_t v = 0;
        for (int i = 0; i < SUM_SIZE; i++) v = v << 8 | p[i];
        return v;
}

/* Takes the checksum off. */
static int unwrap(struct blob key, MDB_val raw, struct blob *ret)
{
        if (raw.mv_size < SUM_SIZE) return E_CORRUPT;
        struct blob value = BLOB((const uint8_t *)raw.mv_data + SUM_SIZE, raw.mv_size - SUM_SIZE);
        if (checksum64(key, value) != get_sum(raw.mv_data)) return E_CORRUPT;
        *ret = value;
        return 0;
}

static int note(struct kv_lmdb *env, int err)
{
        if (err == E_CORRUPT) atomic_store(&env->damaged, true);
        return err;
}

bool kv_lmdb_damaged(const struct kv_lmdb *env) { return atomic_load(&env->damaged); }

static MDB_val val_of(struct blob b) { return (MDB_val){ .mv_size = b.n, .mv_data = (void *)b.p }; }

/* ---- struct tx ---- */

static int l_get(struct tx *tx, struct blob key, struct blob *ret_value)
{
        struct view *v = (struct view *)tx;
        MDB_val k = val_of(key), raw;
        int rc = mdb_get(v->txn->mdb, v->dbi, &k, &raw);
        return note(v->txn->env, rc == 0 ? unwrap(key, raw, ret_value) : translate(v->txn->env, rc));
}

static int l_put(struct tx *tx, struct blob key, struct blob value)
{
        struct view *v = (struct view *)tx;
        struct buf *b = &v->txn->env->scratch;
        buf_reset(b);
        buf_put_be(b, checksum64(key, value), SUM_SIZE);
        buf_put(b, value.p, value.n);
        if (b->err != 0) return b->err;
        MDB_val k = val_of(key), raw = val_of(buf_blob(b));
        return translate(v->txn->env, mdb_put(v->txn->mdb, v->dbi, &k, &raw, 0));
}

static int l_del(struct tx *tx, struct blob key)
{
        struct view *v = (struct view *)tx;
        MDB_val k = val_of(key);
        return translate(v->txn->env, mdb_del(v->txn->mdb, v->dbi, &k, NULL));
}

static int step(struct view *v, struct tx_cursor *c, MDB_val *k, MDB_cursor_op op)
{
        MDB_val raw;
        int rc = mdb_cursor_get(c->impl, k, &raw, op);
        if (rc != 0) return note(v->txn->env, translate(v->txn->env, rc));
        c->key = BLOB(k->mv_data, k->mv_size);
        return note(v->txn->env, unwrap(c->key, raw, &c->value));
}

static int l_seek(struct tx *tx, struct tx_cursor *c, struct blob from)
{
        struct view *v = (struct view *)tx;
        MDB_cursor *cursor;
        int rc = mdb_cursor_open(v->txn->mdb, v->dbi, &cursor);
        if (rc != 0) return translate(v->txn->env, rc);
        c->impl = cursor;
        MDB_val k = val_of(from);
        return step(v, c, &k, from.n != 0 ? MDB_SET_RANGE : MDB_FIRST);
}

static int l_next(struct tx *tx, struct tx_cursor *c)
{
        MDB_val k;
        return c->impl != NULL ? step((struct view *)tx, c, &k, MDB_NEXT) : E_NOT_FOUND;
}

static void l_close(struct tx *tx, struct tx_cursor *c)
{
        (void)tx;
        if (c->impl != NULL) mdb_cursor_close(c->impl);
}

static const struct tx_ops read_ops = { .get = l_get, .seek = l_seek, .next = l_next, .close = l_close };
static const struct tx_ops write_ops = {
        .get = l_get, .put = l_put, .del = l_del, .seek = l_seek, .next = l_next, .close = l_close
};

/* ---- transactions ---- */

static struct kv_lmdb_txn *txn_new(struct kv_lmdb *env, bool write)
{
        struct kv_lmdb_txn *t = xnew(struct kv_lmdb_txn);
        t->env = env;
        t->write = write;
        for (unsigned i = 0; i < env->dbs_n; i++)
                t->views[i] = (struct view){ { .ops = write ? &write_ops : &read_ops }, t, env->dbis[i] };
        return t;
}

int kv_lmdb_read(struct kv_lmdb *env, struct kv_lmdb_txn **ret)
{
        pthread_mutex_lock(&env->mutex);
        struct kv_lmdb_txn *t = env->idle;
        if (t != NULL) env->idle = t->next_free;
        pthread_mutex_unlock(&env->mutex);
        int rc;
        if (t != NULL) {
                for (unsigned i = 0; i < env->dbs_n; i++) t->views[i].tx.err = 0;
                rc = mdb_txn_renew(t->mdb);
        } else {
                t = txn_new(env, false);
                rc = mdb_txn_begin(env->mdb, NULL, MDB_RDONLY, &t->mdb);
        }
        if (rc != 0) {
                if (t->mdb != NULL) mdb_txn_abort(t->mdb);
                free(t);
                return translate(env, rc);
        }
        *ret = t;
        return 0;
}

int kv_lmdb_write(struct kv_lmdb *env, struct kv_lmdb_txn **ret)
{
        struct kv_lmdb_txn *t = txn_new(env, true);
        int rc = mdb_txn_begin(env->mdb, NULL, 0, &t->mdb);
        if (rc != 0) {
                free(t);
                return translate(env, rc);
        }
        *ret = t;
        return 0;
}

static int put_txn_row(const struct kv_lmdb *env, MDB_txn *txn)
{
        uint8_t row[LMDB_TXN_ROW_SIZE];
        MDB_val k = { .mv_size = sizeof LMDB_TXN_KEY - 1, .mv_data = (void *)(uintptr_t)LMDB_TXN_KEY },
                raw = { .mv_size = sizeof row, .mv_data = row };
        lmdb_txn_row(mdb_txn_id(txn), row);
        return mdb_put(txn, env->main, &k, &raw, 0);
}

int kv_lmdb_commit(struct kv_lmdb_txn *t)
{
        struct kv_lmdb *env = t->env;
        uint64_t writes = 0;
        int err = 0, rc = 0;
        assert(t->write);
        for (unsigned i = 0; err == 0 && i < env->dbs_n; i++) {
                err = t->views[i].tx.err;
                writes += t->views[i].tx.write_count;
        }
        if (err == 0 && writes != 0 && !env->unsynced) rc = put_txn_row(env, t->mdb);
        if (err != 0 || rc != 0) {
                kv_lmdb_end(t);
                return err != 0 ? err : translate(env, rc);
        }
        rc = mdb_txn_commit(t->mdb);
        free(t);
        return translate(env, rc);
}

void kv_lmdb_end(struct kv_lmdb_txn *t)
{
        if (t == NULL) return;
        if (t->write) {
                mdb_txn_abort(t->mdb);
                free(t);
                return;
        }
        struct kv_lmdb *env = t->env;
        mdb_txn_reset(t->mdb);
        pthread_mutex_lock(&env->mutex);
        t->next_free = env->idle;
        env->idle = t;
        pthread_mutex_unlock(&env->mutex);
}

struct tx *kv_lmdb_tx(struct kv_lmdb_txn *t, unsigned db)
{
        assert(db < t->env->dbs_n);
        return &t->views[db].tx;
}

struct kv_lmdb_txn *kv_lmdb_txn_of(struct tx *tx) { return ((struct view *)tx)->txn; }

int kv_lmdb_clear(struct kv_lmdb_txn *t, unsigned db, uint64_t max_rows, bool *ret_more)
{
        struct view *v = &t->views[db];
        MDB_cursor *cursor;
        MDB_val k, raw;
        int rc = mdb_cursor_open(t->mdb, v->dbi, &cursor);
        if (rc != 0) return translate(t->env, rc);
        v->tx.write_count++;
        rc = mdb_cursor_get(cursor, &k, &raw, MDB_FIRST);
        for (uint64_t n = 0; rc == 0 && n < max_rows; n++) {
                rc = mdb_cursor_del(cursor, 0);
                if (rc == 0) rc = mdb_cursor_get(cursor, &k, &raw, MDB_FIRST);
        }
        mdb_cursor_close(cursor);
        *ret_more = rc == 0;
        return rc == MDB_NOTFOUND ? 0 : translate(t->env, rc);
}

int kv_lmdb_count(struct kv_lmdb_txn *t, unsigned db, uint64_t *ret)
{
        MDB_stat st;
        int rc = mdb_stat(t->mdb, t->views[db].dbi, &st);
        if (rc == 0) *ret = st.ms_entries;
        return translate(t->env, rc);
}

uint64_t kv_lmdb_last_txn(struct kv_lmdb *env)
{
        MDB_envinfo info;
        return mdb_env_info(env->mdb, &info) == 0 ? info.me_last_txnid : 0;
}

/* Pages that LMDB will use again: each row of its database 0 is a list, the count first. */
static int free_pages(MDB_txn *txn, uint64_t *ret)
{
        MDB_cursor *cursor;
        MDB_val k, raw;
        *ret = 0;
        int rc = mdb_cursor_open(txn, 0, &cursor);
        if (rc != 0) return rc;
        while ((rc = mdb_cursor_get(cursor, &k, &raw, MDB_NEXT)) == 0) {
                size_t n = 0;
                if (raw.mv_size >= sizeof n) memcpy(&n, raw.mv_data, sizeof n);
                *ret += n;
        }
        mdb_cursor_close(cursor);
        return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Counted once for each transaction that was committed: a read transaction leaves its mark in the mapped lock file, and who
 * has nothing to write is not to write that. */
static int count_reusable(struct kv_lmdb *env, uint64_t last_txn)
{
        struct kv_lmdb_txn *t;
        if (env->reusable_known && env->reusable_txn == last_txn) return 0;
        int err = kv_lmdb_read(env, &t);
        if (err != 0) return err;
        int rc = free_pages(t->mdb, &env->reusable);
        kv_lmdb_end(t);
        env->reusable_known = rc == 0;
        env->reusable_txn = last_txn;
        return rc == 0 ? 0 : translate(env, rc);
}

int kv_lmdb_room(struct kv_lmdb *env, struct kv_lmdb_room *ret)
{
        MDB_envinfo info;
        MDB_stat st;
        int rc = mdb_env_info(env->mdb, &info);
        if (rc == 0) rc = mdb_env_stat(env->mdb, &st);
        if (rc != 0) return translate(env, rc);
        int err = count_reusable(env, info.me_last_txnid);
        if (err != 0) return err;
        uint64_t used = ((uint64_t)info.me_last_pgno + 1) * st.ms_psize, again = env->reusable * st.ms_psize;
        ret->map_bytes = info.me_mapsize;
        ret->map_free_bytes = (info.me_mapsize > used ? info.me_mapsize - used : 0) + again;
        uint64_t disk = disk_free(env);
        ret->disk_free_bytes = disk < UINT64_MAX - again ? disk + again : disk;
        return 0;
}

/* ---- opening ---- */

/* The library does not say where its map is, the kernel does: a mapping of this file and of that size. */
static void find_map(struct kv_lmdb *env)
{
        struct stat st;
        MDB_envinfo info;
        mdb_filehandle_t fd;
        char line[1024];
        if (mdb_env_get_fd(env->mdb, &fd) != 0 || fstat(fd, &st) != 0 || mdb_env_info(env->mdb, &info) != 0)
                return;
        FILE *maps = fopen("/proc/self/maps", "re");
        if (maps == NULL) return;
        while (env->map == NULL && fgets(line, sizeof line, maps) != NULL) {
                unsigned long long from, to, inode;
                if (sscanf(line, "%llx-%llx %*s %*s %*s %llu", &from, &to, &inode) != 3) continue;
                if (inode != (unsigned long long)st.st_ino || to - from < info.me_mapsize ||
                        to - from - info.me_mapsize >= PAGE_MAX)
                        continue;
                env->map = (void *)(uintptr_t)from;
                env->map_size = (size_t)(to - from);
        }
        fclose(maps);
}

void kv_lmdb_unload(struct kv_lmdb *env)
{
        if (env->map != NULL) (void)madvise(env->map, env->map_size, MADV_DONTNEED);
}

static int open_dbs(struct kv_lmdb *env, const struct kv_lmdb_config *config)
{
        MDB_txn *txn;
        int rc = mdb_txn_begin(env->mdb, NULL, config->read_only ? MDB_RDONLY : 0, &txn);
        if (rc != 0) return rc;
        rc = mdb_dbi_open(txn, NULL, 0, &env->main);
        for (unsigned i = 0; rc == 0 && i < config->dbs_n; i++)
                rc = mdb_dbi_open(txn, config->dbs[i], config->read_only ? 0 : MDB_CREATE, &env->dbis[i]);
        if (rc != 0) {
                mdb_txn_abort(txn);
                return rc;
        }
        env->dbs_n = config->dbs_n;
        return mdb_txn_commit(txn);
}

/* The library maps its lock file and writes there. Where that is a hole and the disk is full, the kernel kills the
 * process: so all of it is allocated first. An errno. */
static int make_lock_file(const char *path)
{
        enum { LINE = 64, HEADER = 4096 };
        char *name = xasprintf("%s-lock", path);
        int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600), rc = fd < 0 ? errno : 0;
        if (rc == 0) rc = posix_fallocate(fd, 0, HEADER + KV_LMDB_READERS_MAX * LINE);
        if (rc == EOPNOTSUPP || rc == EINVAL) rc = 0;
        if (fd >= 0) close(fd);
        free(name);
        return rc;
}

static int open_env(struct kv_lmdb *env, const struct kv_lmdb_config *config)
{
        unsigned flags = MDB_NOSUBDIR | MDB_NOTLS;
        int dead;
        if (config->read_only) flags |= MDB_RDONLY | MDB_NOLOCK;
        if (config->unsynced) flags |= MDB_NOSYNC;
        int rc = config->read_only ? 0 : make_lock_file(config->path);
        if (rc == 0) rc = mdb_env_create(&env->mdb);
        if (rc == 0) rc = mdb_env_set_mapsize(env->mdb, (size_t)env->map_bytes);
        if (rc == 0) rc = mdb_env_set_maxdbs(env->mdb, KV_LMDB_DBS_MAX);
        if (rc == 0) rc = mdb_env_set_maxreaders(env->mdb, KV_LMDB_READERS_MAX);
        if (rc == 0) rc = mdb_env_open(env->mdb, config->path, flags, 0600);
        if (rc == 0 && !config->read_only) rc = mdb_reader_check(env->mdb, &dead);
        return rc == 0 ? open_dbs(env, config) : rc;
}

static char *dir_of(const char *path)
{
        const char *slash = strrchr(path, '/');
        if (slash == NULL) return xstrdup(".");
        char *dir = xmemdup(path, (size_t)(slash - path) + 2);
        dir[slash - path + 1] = '\0';
        return dir;
}

int kv_lmdb_open(const struct kv_lmdb_config *config, struct kv_lmdb **ret, struct fail *f)
{
        const uint64_t limit = sizeof(void *) >= 8 ? UINT64_C(1) << 46 : UINT64_C(1) << 30;
        uint64_t map_bytes = config->map_bytes;
        if (map_bytes == 0) map_bytes = sizeof(void *) >= 8 ? UINT64_C(16) << 30 : limit;
        if (map_bytes > limit)
                return fail_set(f, E_CONFIG, "%s: a map of %llu bytes does not fit the address space",
                        config->path, (unsigned long long)map_bytes);
        assert(config->dbs_n <= KV_LMDB_DBS_MAX);
        sodium_once();
        int err = config->unsynced ? 0 : lmdb_verify(config->path, f);
        if (err != 0) return err;
        struct kv_lmdb *env = xnew(struct kv_lmdb);
        pthread_mutex_init(&env->mutex, NULL);
        env->dir = dir_of(config->path);
        env->map_bytes = map_bytes & ~UINT64_C(0xffff);
        env->unsynced = config->unsynced;
        int rc = open_env(env, config);
        if (rc != 0) {
                err = rc == MDB_NOTFOUND ? E_CORRUPT : translate(env, rc);
                kv_lmdb_close(env);
                return fail_set(f, err, "%s: %s", config->path, mdb_strerror(rc));
        }
        find_map(env);
        *ret = env;
        return 0;
}

void kv_lmdb_close(struct kv_lmdb *env)
{
        if (env == NULL) return;
        while (env->idle != NULL) {
                struct kv_lmdb_txn *t = env->idle;
                env->idle = t->next_free;
                mdb_txn_abort(t->mdb);
                free(t);
        }
        if (env->mdb != NULL) mdb_env_close(env->mdb);
        pthread_mutex_destroy(&env->mutex);
        buf_done(&env->scratch);
        free(env->dir);
        free(env);
}
