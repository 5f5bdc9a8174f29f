/* LMDB behind struct tx, with our rules: every row carries a checksum that is verified when it is read;
 * readers take no lock and are not bound to a thread (MDB_NOTLS); the map is large and sparse; each error of
 * the library becomes one of ours, and "no space" is told apart from "storage failed" however the kernel puts
 * it.
 *
 * Ownership: kv_lmdb_open to kv_lmdb_close, after every transaction has ended. Threads: kv_lmdb_read and
 * kv_lmdb_end of read transactions on any thread; a transaction itself belongs to one thread at a time; one
 * write transaction at a time (a second one waits). Errors: E_NO_SPACE, E_STORAGE, E_CORRUPT, E_FORMAT,
 * E_LIMIT (too many readers). */
#ifndef STATE_KV_LMDB_H
#define STATE_KV_LMDB_H

#include "state/tx.h"

#define KV_LMDB_DBS_MAX 8
#define KV_LMDB_READERS_MAX 512

struct kv_lmdb_config {
        const char *path;       /* data file; "-lock" is appended for its lock file */
        const char *const *dbs; /* names of the databases in it; created when they are missing */
        unsigned dbs_n;
        uint64_t map_bytes; /* 0: 16 GiB, or 1 GiB where a pointer has 32 bits */
        bool read_only;     /* offline: without lock file; nobody else may have it open for writing */
        bool unsynced;      /* nothing is synced: for what is rebuilt at each start anyway */
};
struct kv_lmdb;
struct kv_lmdb_txn;

/* The directory exists. The whole structure of an existing file is verified first (state/lmdb_verify.h), so
 * that damage is E_CORRUPT and not a crash later. E_CONFIG: a map that does not fit the address space. */
int kv_lmdb_open(const struct kv_lmdb_config *config, struct kv_lmdb **ret, struct fail *f) MUST_USE;
void kv_lmdb_close(struct kv_lmdb *env); /* NULL is fine */

/* A read transaction, out of a pool: microseconds. Ends with kv_lmdb_end. */
int kv_lmdb_read(struct kv_lmdb *env, struct kv_lmdb_txn **ret) MUST_USE;
int kv_lmdb_write(struct kv_lmdb *env, struct kv_lmdb_txn **ret) MUST_USE;
/* Durable when it returns 0 (unless unsynced). Ends the transaction in any case; with a sticky error in one
 * of its views it is dropped and that error returned. */
int kv_lmdb_commit(struct kv_lmdb_txn *t) MUST_USE;
/* Ends a transaction of either kind, dropping what it wrote. NULL is fine. */
void kv_lmdb_end(struct kv_lmdb_txn *t);
/* The view of the db-th database of the configuration; owned by the transaction. */
struct tx *kv_lmdb_tx(struct kv_lmdb_txn *t, unsigned db);
/* The transaction that a view belongs to. */
struct kv_lmdb_txn *kv_lmdb_txn_of(struct tx *tx);
/* Deletes up to max_rows rows, lowest keys first. *ret_more: there are still some. */
int kv_lmdb_clear(struct kv_lmdb_txn *t, unsigned db, uint64_t max_rows, bool *ret_more) MUST_USE;
/* Rows of a database. */
int kv_lmdb_count(struct kv_lmdb_txn *t, unsigned db, uint64_t *ret) MUST_USE;

/* Number of the last committed write transaction; it grows with each. */
uint64_t kv_lmdb_last_txn(struct kv_lmdb *env);

/* Has any read found damage since it was opened? Any thread. */
bool kv_lmdb_damaged(const struct kv_lmdb *env);

/* Takes the pages of the file that were read out of this process's memory; the kernel's cache keeps them, and what was
 * handed out stays valid. Costs microseconds, and page faults later: for processes that must stay small. Any thread. */
void kv_lmdb_unload(struct kv_lmdb *env);

/* Room left, in bytes: in the map, and in the file system (pages that can be used again count for both). One thread at a
 * time: the writer's. */
struct kv_lmdb_room {
        uint64_t map_bytes, map_free_bytes, disk_free_bytes;
};
int kv_lmdb_room(struct kv_lmdb *env, struct kv_lmdb_room *ret) MUST_USE;

#endif
