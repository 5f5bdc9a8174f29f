/* Opening the store, loading what it holds, and whose it is: see store_lmdb.h. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "raftctl/store_lmdb_parts.h"

enum { ROOM_TRY_MS = 200, UNLOAD_BYTES = 256 << 10 };

/* ---- starting ---- */

/* A witness stays small: what was read leaves its memory, in steps. */
static void unload(struct store_lmdb *s, size_t *mapped, size_t n)
{
        *mapped += n;
        if (!s->log_only || *mapped < UNLOAD_BYTES) return;
        kv_lmdb_unload(s->kv);
        *mapped = 0;
}

/* Of all rows. What is damaged is found again by the pass that reports it. */
static size_t log_bytes(struct store_lmdb *s, struct tx *log)
{
        struct tx_cursor c;
        struct log_entry e;
        size_t bytes = 0, mapped = 0;
        int err = member_log_seek(log, &c, 0, &e);
        for (; err == 0; err = member_log_next(log, &c, &e)) {
                bytes += e.data.n;
                unload(s, &mapped, e.data.n);
        }
        tx_close(log, &c);
        log->err = 0;
        return bytes;
}

static int load_log(struct store_lmdb *s, struct tx *log, struct log_verifier *v, struct arena *a,
        struct store_start *ret, struct fail *f)
{
        struct tx_cursor c;
        struct log_entry e;
        uint64_t cap = 0;
        size_t left = s->log_only ? log_bytes(s, log) : 0, mapped = 0;
        int err = member_log_seek(log, &c, 0, &e);
        for (; err == 0; err = member_log_next(log, &c, &e)) {
                const char *why = log_verify_row(v, &e);
                if (why != NULL) {
                        err = fail_set(f, E_CORRUPT, "member.mdb: log row %llu: %s",
                                (unsigned long long)e.index, why);
                        break;
                }
                if (ret->entries_n == cap) {
                        cap = cap != 0 ? cap * 2 : 1024;
                        struct log_entry *more = arena_array(a, struct log_entry, cap);
                        if (more == NULL) err = E_LIMIT;
                        if (err == 0 && ret->entries_n != 0)
                                memcpy(more, ret->entries, ret->entries_n * sizeof more[0]);
                        if (err == 0) ret->entries = more;
                }
                if (err != 0) break;
                bool old = s->log_only && left > STORE_LOG_ONLY_TAIL && e.index <= ret->applied.index;
                left -= MIN(left, e.data.n);
                if (old && e.type == LOG_COMMAND) {
                        ret->entries[ret->entries_n] = e;
                        ret->entries[ret->entries_n].data.p = NULL;
                } else if ((err = store_copy_entry(&e, a, &ret->entries[ret->entries_n])) != 0) {
                        break;
                }
                ret->entries_n++;
                unload(s, &mapped, e.data.n);
        }
        tx_close(log, &c);
        if (err == E_NOT_FOUND) {
                s->log_first = v->first;
                s->log_last = v->last;
                return 0;
        }
        if (err == E_LIMIT)
                return fail_set(f, err, "member.mdb: the log exceeds the memory given to load it");
        if (f == NULL || f->err == 0)
                (void)fail_set(f, err, "member.mdb: log row %llu: %s", (unsigned long long)(v->last + 1),
                        err_text(err));
        return err;
}

static int load_in(
        struct store_lmdb *s, struct kv_lmdb_txn *t, struct arena *a, struct store_start *ret, struct fail *f)
{
        struct member_meta meta;
        uint64_t spare_n = 0;
        int err = member_meta_get(kv_lmdb_tx(t, DB_META), &meta);
        if (err != 0) return fail_set(f, err, "member.mdb: meta: %s", err_text(err));
        err = applied_get(kv_lmdb_tx(t, meta.current), &ret->applied);
        if (err != 0)
                return fail_set(
                        f, err, "member.mdb: %s: applied state: %s", member_dbs[meta.current], err_text(err));
        ret->term = meta.term;
        ret->voted_for = meta.voted_for;
        ret->snapshot = meta.snapshot;
        ret->snapshot.conf =
                BLOB(arena_memdup(a, meta.snapshot.conf.p, meta.snapshot.conf.n), meta.snapshot.conf.n);
        struct log_verifier v = { .applied_index = ret->applied.index };
        err = load_log(s, kv_lmdb_tx(t, DB_LOG), &v, a, ret, f);
        if (err != 0) return err;
        const char *why = log_verify_end(&v, &meta, &ret->applied);
        if (why != NULL) return fail_set(f, E_CORRUPT, "member.mdb: %s", why);
        s->snapshot_index = meta.snapshot.index;
        if (v.first == 0) {
                s->log_first = s->snapshot_index + 1;
                s->log_last = s->snapshot_index;
        }
        err = kv_lmdb_count(t, store_other(meta.current), &spare_n);
        if (!s->parser.started) s->spare_dirty = spare_n != 0; /* else a snapshot is being received into it */
        return err;
}

int store_lmdb_load(struct store *store, struct arena *a, struct store_start *ret, struct fail *f)
{
        struct store_lmdb *s = lmdb_of(store);
        struct kv_lmdb_txn *t;
        struct fail local = { 0 };
        *ret = (struct store_start){ 0 };
        int err = kv_lmdb_read(s->kv, &t);
        if (err != 0) return fail_set(f, err, "member.mdb: %s", err_text(err));
        pthread_mutex_lock(&s->mutex); /* the writer idles, but it looks at what is set here */
        assert(s->pending_n == 0);
        err = load_in(s, t, a, ret, &local);
        pthread_cond_signal(&s->todo_cond);
        pthread_mutex_unlock(&s->mutex);
        kv_lmdb_end(t);
        if (s->log_only) kv_lmdb_unload(s->kv);
        s->loaded = err == 0;
        if (err != 0 && f != NULL) *f = local;
        return err;
}

/* The names of new files must survive a power failure as well. */
static int sync_dir(const char *dir, const char *below, struct fail *f)
{
        char *path = xasprintf("%s%s", dir, below);
        int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;
        bool foreign =
                fd < 0 && errno == EACCES; /* a parent that is not ours to read: made and synced by others */
        if (!foreign && (fd < 0 || fsync(fd) != 0))
                err = fail_set(f, E_STORAGE, "%s: %s", path, strerror(errno));
        if (fd >= 0) close(fd);
        free(path);
        return err;
}

/* A new store is made under another name: it is there as a whole or not at all. */
static int make_new(const struct kv_lmdb_config *config, bool log_only, struct fail *f)
{
        struct kv_lmdb_config c = *config;
        struct kv_lmdb *kv;
        struct kv_lmdb_txn *t;
        if (access(config->path, F_OK) == 0) return 0;
        char *path = xasprintf("%s.new", config->path), *lock = xasprintf("%s.new-lock", config->path);
        (void)unlink(path); /* of an attempt that was interrupted */
        c.path = path;
        int err = kv_lmdb_open(&c, &kv, f);
        if (err == 0) {
                err = kv_lmdb_write(kv, &t);
                if (err == 0) {
                        (void)member_put_format(kv_lmdb_tx(t, DB_META)); /* sticks */
                        if (log_only) (void)member_put_log_only(kv_lmdb_tx(t, DB_META));
                        err = kv_lmdb_commit(t);
                }
                if (err != 0) (void)fail_set(f, err, "%s: %s", path, err_text(err));
                kv_lmdb_close(kv);
        }
        if (err == 0 && rename(path, config->path) != 0)
                err = fail_set(f, E_STORAGE, "%s: %s", config->path, strerror(errno));
        (void)unlink(lock);
        free(path);
        free(lock);
        return err;
}

/* Checks that the environment is not older than it was, and its format. */
static int prepare(struct store_lmdb *s, const char *dir, struct fail *f)
{
        struct kv_lmdb_txn *t;
        struct member_meta meta;
        int err = member_seq_open(dir, true, &s->seq_fd);
        if (err != 0) return fail_set(f, err, "%s/seq: %s", dir, strerror(errno));
        if (member_seq_get(s->seq_fd) > kv_lmdb_last_txn(s->kv))
                return fail_set(f, E_CORRUPT, "%s/member.mdb: damaged, or replaced by an old copy", dir);
        err = kv_lmdb_read(s->kv, &t);
        if (err == 0) {
                err = member_meta_get(kv_lmdb_tx(t, DB_META), &meta);
                bool used = err == 0 && (meta.term != 0 || meta.snapshot.index != 0);
                kv_lmdb_end(t);
                if (used && meta.log_only && !s->log_only)
                        return fail_set(f, E_CONFIG,
                                "%s holds a witness's log, without the state: start with --witness", dir);
        }
        return err == 0 ? 0 : fail_set(f, err, "%s/member.mdb: %s", dir, err_text(err));
}

static int start_thread(struct store_lmdb *s, uv_loop_t *loop, struct fail *f)
{
        int rv = uv_async_init(loop, &s->async, store_on_async);
        if (rv != 0) return fail_set(f, rv, "event loop: %s", err_text(rv));
        rv = pthread_create(&s->writer, NULL, store_writer_main, s);
        if (rv == 0) return 0;
        uv_close((uv_handle_t *)&s->async, store_on_async_closed); /* frees s */
        return fail_set(f, -rv, "writer thread: %s", strerror(rv));
}

int store_lmdb_open(
        uv_loop_t *loop, const struct store_lmdb_config *config, struct store **ret, struct fail *f)
{
        int lock_fd;
        int err = member_lock(config->dir, true, &lock_fd, f);
        if (err != 0) return err;
        struct store_lmdb *s = xnew(struct store_lmdb);
        s->store.ops = &store_lmdb_ops;
        s->lock_fd = lock_fd;
        s->seq_fd = -1;
        s->loop = loop;
        s->log_only = config->log_only;
        s->reserve_bytes = config->reserve_bytes != 0 ? config->reserve_bytes : STORE_LMDB_RESERVE_BYTES;
        s->room_try_ms = config->room_try_ms != 0 ? MIN(config->room_try_ms, 999u) : ROOM_TRY_MS;
        pthread_mutex_init(&s->mutex, NULL);
        pthread_cond_init(&s->todo_cond, NULL);
        pthread_cond_init(&s->done_cond, NULL);
        pthread_condattr_t monotonic;
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&s->leave_cond, &monotonic);
        pthread_condattr_destroy(&monotonic);
        list_init(&s->todo);
        list_init(&s->done);
        char *path = xasprintf("%s/member.mdb", config->dir);
        struct kv_lmdb_config kc = {
                .path = path, .dbs = member_dbs, .dbs_n = DB_N, .map_bytes = config->map_bytes
        };
        err = make_new(&kc, config->log_only, f);
        if (err == 0) err = kv_lmdb_open(&kc, &s->kv, f);
        free(path);
        if (err == 0) err = prepare(s, config->dir, f);
        if (err == 0) err = sync_dir(config->dir, "", f);
        if (err == 0) err = sync_dir(config->dir, "/..", f);
        if (err != 0) {
                store_free(s);
                return err;
        }
        store_measure_room(s);
        err = start_thread(s, loop, f);
        if (err == 0) *ret = &s->store;
        return err;
}

/* ---- identity ---- */

int store_lmdb_identity(struct store *store, struct store_identity *ret)
{
        struct kv_lmdb_txn *t;
        struct member_meta meta;
        int err = kv_lmdb_read(lmdb_of(store)->kv, &t);
        if (err != 0) return err;
        err = member_meta_get(kv_lmdb_tx(t, DB_META), &meta);
        kv_lmdb_end(t);
        if (err == 0) *ret = meta.identity;
        return err;
}

int store_lmdb_set_identity(struct store *store, const struct store_identity *identity)
{
        struct kv_lmdb_txn *t;
        struct store_identity old;
        int err = store_lmdb_identity(store, &old);
        if (err != 0) return err;
        bool same =
                old.member_id == identity->member_id && strcmp(old.cluster_uuid, identity->cluster_uuid) == 0;
        if (same) return 0;
        if (old.member_id != 0) return E_EXISTS;
        err = kv_lmdb_write(lmdb_of(store)->kv, &t);
        if (err != 0) return err;
        (void)member_put_identity(kv_lmdb_tx(t, DB_META), identity); /* sticks */
        return kv_lmdb_commit(t);
}
