/* struct store on one LMDB environment, DIR/member.mdb: databases `log` (index, big-endian -> entry), `meta`,
 * and two for the state, of which one is current. A received snapshot is loaded into the other one and
 * switched to within the job's transaction; readers are not disturbed. Each row carries a checksum; the
 * file's structure is verified at open.
 *
 * Threads: open, load, submit, install_*, close, drain on the loop thread; one writer thread of its own;
 * read_begin, read_end and read_log on any thread. Callbacks run on the loop. After an error every later job
 * fails with it: a failed sync is never tried again. A job for which the disk has no room is no error: it
 * waits for room, and is_full says so meanwhile; drain ends the waiting with E_NO_SPACE. Ownership: the store frees itself when close has called
 * back. */
#ifndef RAFTCTL_STORE_LMDB_H
#define RAFTCTL_STORE_LMDB_H

#include <uv.h>

#include "raftctl/store.h"

/* Bytes that must stay free on the file system and in the map; below, is_full says so. */
#define STORE_LMDB_RESERVE_BYTES (UINT64_C(64) << 20)

struct store_lmdb_config {
        const char *dir;        /* created with mode 0700 when it is missing (its parent must exist) */
        uint64_t map_bytes;     /* 0 = 16 GiB */
        uint64_t reserve_bytes; /* 0 = STORE_LMDB_RESERVE_BYTES */
        unsigned room_try_ms;   /* 0 = 200; how often a job that waits for room is tried */
        bool log_only;          /* a witness's: of the state only what raftctl/log_only.h says; a directory
                                   stays one (E_CONFIG) */
};
/* E_BUSY: another process has the directory. E_CORRUPT, E_FORMAT, E_STORAGE, E_NO_SPACE: f says which file
 * and what. */
int store_lmdb_open(
        uv_loop_t *loop, const struct store_lmdb_config *config, struct store **ret, struct fail *f) MUST_USE;

/* Whose data this is. Zero and "" until set. */
struct store_identity {
        uint64_t member_id;
        char cluster_uuid[40];
};
int store_lmdb_identity(struct store *s, struct store_identity *ret) MUST_USE;
/* Durable when it returns 0. Blocking: once, before the first job. E_EXISTS: another identity is set. */
int store_lmdb_set_identity(struct store *s, const struct store_identity *identity) MUST_USE;

/* As ops->read_begin, for HTTP threads: a few microseconds, no lock but the pool's. Ends with ops->read_end.
 */
int store_lmdb_read_begin(struct store *s, struct tx **ret) MUST_USE;

/* ---- offline ---- */
/* One finding; text is borrowed. */
typedef void store_report_fn(void *arg, const char *text);
#define STORE_CONF_MAX 4096
/* What a sound directory holds; for the comparison of members (raftctl/check.h). */
struct store_summary {
        struct store_identity identity;
        uint64_t term, voted_for;
        uint64_t snapshot_index, snapshot_term;
        uint64_t log_first, log_last; /* first = last + 1: no rows */
        uint64_t last_term;           /* of the entry at log_last */
        uint8_t conf[STORE_CONF_MAX]; /* the last configuration, as in a log entry (raftctl/conf.h) */
        size_t conf_n;
        struct applied applied;
        uint64_t rows_n; /* of the state */
        bool log_only;   /* a witness's */
};
/* Walks everything read-only: structure, checksums, continuity of the log, terms never falling, each
 * write-set decodes, the state's invariants (state/check.h). Returns the number of findings, or a negative
 * error when it could not look: E_BUSY (a running member), E_NOT_FOUND (no data), E_STORAGE. ret may be NULL.
 */
int store_lmdb_check(const char *dir, store_report_fn *report, void *arg, struct store_summary *ret) MUST_USE;
/* Reads every page in use and every row, and says the first thing that is wrong in f: E_CORRUPT, E_FORMAT, E_STORAGE
 * (cannot be read), E_BUSY. A directory without a store is sound. */
int store_lmdb_examine(const char *dir, struct fail *f) MUST_USE;
/* Every log row in order, offline, of a directory that store_lmdb_check found sound. entry is borrowed. */
typedef int store_log_fn(void *arg, const struct log_entry *entry);
int store_lmdb_each_entry(const char *dir, store_log_fn *fn, void *arg, struct fail *f) MUST_USE;
/* Opens the current state of a directory read-only, offline; ends with store_lmdb_offline_close. */
struct store_offline;
int store_lmdb_offline_open(const char *dir, struct store_offline **ret, struct fail *f) MUST_USE;
struct tx *store_lmdb_offline_state(struct store_offline *o);
void store_lmdb_offline_close(struct store_offline *o); /* NULL is fine */

#endif
