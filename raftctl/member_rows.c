/* Rows of DIR/member.mdb, see store_lmdb_internal.h. Numbers are big-endian. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "raftctl/store_lmdb_internal.h"
#include "state/checksum.h"

const char *const member_dbs[DB_N] = { "log", "meta", "state0", "state1" };

enum { INDEX_SIZE = 8, ENTRY_HEADER = 9 /* term 8, type 1 */, SNAPSHOT_HEADER = 24 };
enum { LOCK_TRIES = 50 }; /* 20 ms apart */

static uint64_t get_be64(const uint8_t *p)
{
        uint64_t v = 0;
        for (int i = 0; i < 8; i++) v = v << 8 | p[i];
        return v;
}

static void put_be64(uint8_t *p, uint64_t v)
{
        for (int i = 0; i < 8; i++) p[i] = (uint8_t)(v >> (56 - 8 * i));
}

/* ---- meta ---- */

static struct blob name_key(const char *name) { return BLOB(name, strlen(name)); }

/* *ret_row is empty when the row is missing. */
static int get_row(struct tx *meta, const char *name, struct blob *ret_row)
{
        *ret_row = (struct blob){ 0 };
        int err = tx_get(meta, name_key(name), ret_row);
        return err == E_NOT_FOUND ? 0 : err;
}

int member_current(struct tx *meta, enum member_db *ret)
{
        struct blob row;
        int err = get_row(meta, "current", &row);
        if (err != 0) return err;
        if (row.n > 1 || (row.n == 1 && row.p[0] > 1)) return E_CORRUPT;
        *ret = row.n == 1 && row.p[0] == 1 ? DB_STATE1 : DB_STATE0;
        return 0;
}

static int check_format(struct tx *meta)
{
        struct blob row;
        int err = get_row(meta, "format", &row);
        if (err != 0 || row.n == 0) return err;
        if (row.n != 8) return E_CORRUPT;
        return get_be64(row.p) == MEMBER_FORMAT ? 0 : E_FORMAT;
}

int member_meta_get(struct tx *meta, struct member_meta *ret)
{
        struct blob row;
        *ret = (struct member_meta){ .current = DB_STATE0 };
        int err = check_format(meta);
        if (err == 0) err = member_current(meta, &ret->current);
        if (err == 0) err = get_row(meta, "vote", &row);
        if (err != 0) return err;
        if (row.n != 0 && row.n != 16) return E_CORRUPT;
        if (row.n != 0) {
                ret->term = get_be64(row.p);
                ret->voted_for = get_be64(row.p + 8);
        }
        err = get_row(meta, "identity", &row);
        if (err != 0) return err;
        if (row.n != 0 && (row.n < 8 || row.n - 8 >= sizeof ret->identity.cluster_uuid)) return E_CORRUPT;
        if (row.n != 0) {
                ret->identity.member_id = get_be64(row.p);
                memcpy(ret->identity.cluster_uuid, row.p + 8, row.n - 8);
        }
        err = get_row(meta, "log_only", &row);
        if (err != 0) return err;
        ret->log_only = row.n != 0;
        err = get_row(meta, "snapshot", &row); /* last: conf points into it */
        if (err != 0) return err;
        if (row.n != 0 && row.n < SNAPSHOT_HEADER) return E_CORRUPT;
        if (row.n != 0) {
                ret->snapshot = (struct snapshot_meta){ .index = get_be64(row.p),
                        .term = get_be64(row.p + 8),
                        .conf_index = get_be64(row.p + 16),
                        .conf = BLOB(row.p + SNAPSHOT_HEADER, row.n - SNAPSHOT_HEADER) };
        }
        return 0;
}

int member_put_format(struct tx *meta)
{
        uint8_t row[8];
        put_be64(row, MEMBER_FORMAT);
        return tx_put(meta, name_key("format"), BLOB(row, sizeof row));
}

int member_put_log_only(struct tx *meta)
{
        static const uint8_t row[1] = { 1 };
        return tx_put(meta, name_key("log_only"), BLOB(row, sizeof row));
}

int member_put_vote(struct tx *meta, uint64_t term, uint64_t voted_for)
{
        uint8_t row[16];
        put_be64(row, term);
        put_be64(row + 8, voted_for);
        return tx_put(meta, name_key("vote"), BLOB(row, sizeof row));
}

int member_put_snapshot(struct tx *meta, const struct snapshot_meta *snapshot)
{
        struct buf row = { 0 };
        buf_put_be(&row, snapshot->index, 8);
        buf_put_be(&row, snapshot->term, 8);
        buf_put_be(&row, snapshot->conf_index, 8);
        buf_put(&row, snapshot->conf.p, snapshot->conf.n);
        int err = row.err != 0 ? row.err : tx_put(meta, name_key("snapshot"), buf_blob(&row));
        buf_done(&row);
        return err;
}

int member_put_current(struct tx *meta, enum member_db db)
{
        uint8_t row = db == DB_STATE1;
        return tx_put(meta, name_key("current"), BLOB(&row, 1));
}

int member_put_identity(struct tx *meta, const struct store_identity *identity)
{
        uint8_t row[8 + sizeof identity->cluster_uuid];
        size_t n = strnlen(identity->cluster_uuid, sizeof identity->cluster_uuid - 1);
        put_be64(row, identity->member_id);
        memcpy(row + 8, identity->cluster_uuid, n);
        return tx_put(meta, name_key("identity"), BLOB(row, 8 + n));
}

/* ---- log ---- */

int member_log_put(struct tx *log, const struct log_entry *e, struct buf *scratch)
{
        uint8_t key[INDEX_SIZE];
        put_be64(key, e->index);
        buf_reset(scratch);
        buf_put_be(scratch, e->term, 8);
        buf_put_u8(scratch, e->type);
        buf_put(scratch, e->data.p, e->data.n);
        if (scratch->err != 0) return scratch->err;
        return tx_put(log, BLOB(key, sizeof key), buf_blob(scratch));
}

static int get_entry(const struct tx_cursor *c, struct log_entry *ret)
{
        if (c->key.n != INDEX_SIZE || c->value.n < ENTRY_HEADER) return E_CORRUPT;
        ret->index = get_be64(c->key.p);
        ret->term = get_be64(c->value.p);
        ret->type = c->value.p[8];
        ret->data = BLOB(c->value.p + ENTRY_HEADER, c->value.n - ENTRY_HEADER);
        return 0;
}

int member_log_seek(struct tx *log, struct tx_cursor *c, uint64_t from, struct log_entry *ret)
{
        uint8_t key[INDEX_SIZE];
        put_be64(key, from);
        int err = tx_seek(log, c, BLOB(key, sizeof key));
        return err != 0 ? err : get_entry(c, ret);
}

int member_log_next(struct tx *log, struct tx_cursor *c, struct log_entry *ret)
{
        int err = tx_next(log, c);
        return err != 0 ? err : get_entry(c, ret);
}

int member_log_delete(struct tx *log, uint64_t from, uint64_t to)
{
        for (uint64_t index = from; index <= to; index++) {
                uint8_t key[INDEX_SIZE];
                put_be64(key, index);
                int err = tx_del(log, BLOB(key, sizeof key));
                if (err != 0) return err == E_NOT_FOUND ? E_CORRUPT : err;
        }
        return 0;
}

const char *log_verify_row(struct log_verifier *v, const struct log_entry *e)
{
        if (e->index == 0) return "there is no index 0";
        if (v->first == 0) v->first = e->index;
        else if (e->index != v->last + 1) return "rows are missing before it";
        if (e->type < LOG_COMMAND || e->type > LOG_CHANGE) return "unknown type";
        if (e->term == 0 || e->term < v->term) return "its term is below the one before";
        if (e->index == v->applied_index) v->applied_term = e->term;
        v->last = e->index;
        v->term = e->term;
        return NULL;
}

const char *log_verify_end(
        const struct log_verifier *v, const struct member_meta *meta, const struct applied *ap)
{
        uint64_t snapshot = meta->snapshot.index, last = v->first != 0 ? v->last : snapshot;
        if (v->first > snapshot + 1) return "rows are missing between the snapshot and the log";
        if (last < snapshot) return "the log ends before the snapshot";
        if (ap->index < snapshot) return "the state is older than the snapshot";
        if (ap->index > last) return "the state is newer than the log";
        if (v->applied_term != 0 && v->applied_term != ap->term)
                return "state and log differ in the term of the last applied entry";
        if (ap->index == snapshot && ap->term != meta->snapshot.term)
                return "state and snapshot differ in their term";
        if (v->term > meta->term || meta->snapshot.term > meta->term)
                return "the log is of a later term than the member's";
        if (ap->writeset_index > ap->index) return "the last write-set is beyond the state";
        return NULL;
}

/* ---- the directory ---- */

enum { SEQ_SIZE = 16 /* number, checksum */ };

int member_seq_open(const char *dir, bool create, int *ret_fd)
{
        char *path = xasprintf("%s/seq", dir);
        *ret_fd = open(path, O_CLOEXEC | (create ? O_RDWR | O_CREAT : O_RDONLY), 0600);
        int err = 0;
        if (*ret_fd < 0) err = errno == ENOENT ? E_NOT_FOUND : errno == ENOSPC ? E_NO_SPACE : E_STORAGE;
        free(path);
        return err;
}

uint64_t member_seq_get(int fd)
{
        uint8_t row[SEQ_SIZE];
        if (pread(fd, row, sizeof row, 0) != (ssize_t)sizeof row) return 0;
        if (checksum64(BLOB("seq", 3), BLOB(row, 8)) != get_be64(row + 8)) return 0;
        return get_be64(row);
}

/* It only helps to find damage: that it cannot be written does not matter. */
void member_seq_put(int fd, uint64_t txn)
{
        uint8_t row[SEQ_SIZE];
        put_be64(row, txn);
        put_be64(row + 8, checksum64(BLOB("seq", 3), BLOB(row, 8)));
        ssize_t written = pwrite(fd, row, sizeof row, 0);
        (void)written;
}

/* A process that has just been killed may hold its lock a moment longer than its parent waits for it. 0 or a positive errno. */
static int lock_patiently(int fd)
{
        static const struct timespec pause = { .tv_nsec = 20 * 1000000L };
        for (unsigned i = 0;; i++) {
                if (flock(fd, LOCK_EX | LOCK_NB) == 0) return 0;
                if (errno != EWOULDBLOCK || i == LOCK_TRIES) return errno;
                (void)nanosleep(&pause, NULL);
        }
}

int member_lock(const char *dir, bool create, int *ret_fd, struct fail *f)
{
        int failed = 0;
        if (create && mkdir(dir, 0700) != 0 && errno != EEXIST)
                return fail_set(f, errno == ENOSPC ? E_NO_SPACE : E_STORAGE, "%s: %s", dir, strerror(errno));
        char *path = xasprintf("%s/lock", dir);
        int fd = open(path, O_CLOEXEC | (create ? O_RDWR | O_CREAT : O_RDONLY), 0600), err = 0;
        if (fd < 0)
                err = fail_set(f,
                        errno == ENOENT   ? E_NOT_FOUND
                        : errno == ENOSPC ? E_NO_SPACE
                                          : E_STORAGE,
                        "%s: %s", path, strerror(errno));
        else if ((failed = lock_patiently(fd)) != 0)
                err = fail_set(f, failed == EWOULDBLOCK ? E_BUSY : E_STORAGE, "%s: %s", dir,
                        failed == EWOULDBLOCK ? "in use by another process" : strerror(failed));
        if (err != 0 && fd >= 0) close(fd);
        free(path);
        *ret_fd = fd;
        return err;
}
