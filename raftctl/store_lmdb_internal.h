/* Rows of DIR/member.mdb, shared by the store and the offline check. Threads: functions of a transaction. */
#ifndef RAFTCTL_STORE_LMDB_INTERNAL_H
#define RAFTCTL_STORE_LMDB_INTERNAL_H

#include "raftctl/store_lmdb.h"
#include "state/kv_lmdb.h"
#include "wire/def/versions.h"

enum member_db { DB_LOG, DB_META, DB_STATE0, DB_STATE1, DB_N };
extern const char *const member_dbs[DB_N];

/* What `meta` holds. */
struct member_meta {
        uint64_t term, voted_for;
        struct snapshot_meta snapshot; /* conf points into the store */
        enum member_db current;        /* DB_STATE0 or DB_STATE1 */
        struct store_identity identity;
        bool log_only; /* a witness's: the state holds what raftctl/log_only.h says */
};
/* E_FORMAT: another version wrote it; E_CORRUPT: a row has a wrong size. Rows that are missing leave zeros.
 */
int member_meta_get(struct tx *meta, struct member_meta *ret) MUST_USE;
/* Only the current state database; the cheap part of member_meta_get. */
int member_current(struct tx *meta, enum member_db *ret) MUST_USE;
int member_put_format(struct tx *meta);
int member_put_log_only(struct tx *meta);
int member_put_vote(struct tx *meta, uint64_t term, uint64_t voted_for);
int member_put_snapshot(struct tx *meta, const struct snapshot_meta *snapshot);
int member_put_current(struct tx *meta, enum member_db db);
int member_put_identity(struct tx *meta, const struct store_identity *identity);

/* The log. Entries that are read point into the store. */
int member_log_put(struct tx *log, const struct log_entry *e, struct buf *scratch);
/* Positions c at the first row with index >= from; tx_close is due in any case. E_NOT_FOUND at the end. */
int member_log_seek(struct tx *log, struct tx_cursor *c, uint64_t from, struct log_entry *ret) MUST_USE;
int member_log_next(struct tx *log, struct tx_cursor *c, struct log_entry *ret) MUST_USE;
/* Deletes rows with from <= index <= to. */
int member_log_delete(struct tx *log, uint64_t from, uint64_t to);

/* Feeds on every row of the log in order, and says what is wrong with it. */
struct log_verifier {
        uint64_t first, last, term; /* first = 0: no row yet */
        uint64_t applied_term;      /* of the row at applied_index, 0 = no such row */
        uint64_t applied_index;
};
/* NULL, or what is wrong. */
const char *log_verify_row(struct log_verifier *v, const struct log_entry *e);
/* After the last row: do log, snapshot, vote and applied state fit together? */
const char *log_verify_end(
        const struct log_verifier *v, const struct member_meta *meta, const struct applied *ap);

/* DIR/seq: the number of the last transaction that a callback told of. It is written after the commit and
 * never synced, so it is never ahead by itself; when member.mdb is behind it, the file was damaged or
 * replaced by an old copy, and votes and entries that others count on are gone. Restoring a backup on purpose
 * removes DIR/seq. */
int member_seq_open(
        const char *dir, bool create, int *ret_fd) MUST_USE; /* 0 or E_NOT_FOUND, E_NO_SPACE, E_STORAGE */
uint64_t member_seq_get(int fd);                             /* 0 when there is none, or it is damaged */
void member_seq_put(int fd, uint64_t txn);

/* Takes the directory's lock: a descriptor to close, or E_BUSY, E_STORAGE, E_NOT_FOUND. create: directory and
 * lock file. */
int member_lock(const char *dir, bool create, int *ret_fd, struct fail *f) MUST_USE;

#endif
