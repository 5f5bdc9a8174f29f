/* The store's insides, shared by its parts: store_lmdb.c (the loop's side), store_lmdb_writer.c (the thread), and
 * store_lmdb_open.c (opening, loading, identity).
 *
 * Threads: as the groups of fields say. Ownership: see store_lmdb.h. */
#ifndef RAFTCTL_STORE_LMDB_PARTS_H
#define RAFTCTL_STORE_LMDB_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "raftctl/snapshot.h"
#include "raftctl/store_lmdb_internal.h"
#include "wire/base/buf.h"
#include "wire/base/list.h"

enum piece_kind { PIECE_JOB, PIECE_INSTALL_BEGIN, PIECE_INSTALL_CHUNK, PIECE_CLOSE };
struct piece {
        struct list link;
        enum piece_kind kind;
        int err;
        struct store_job *job;
        uint8_t *chunk;
        size_t chunk_n;
        void (*cb)(void *arg, int err);
        void (*closed_cb)(void *arg);
        void *arg;
};
struct store_lmdb {
        struct store store;
        struct kv_lmdb *kv;
        int lock_fd, seq_fd;
        uint64_t reserve_bytes;
        unsigned room_try_ms;
        bool log_only;

        /* loop thread */
        uv_loop_t *loop;
        uv_async_t async;
        bool loaded; /* a job before load would not know the log */
        bool closing;
        uint64_t room_asked_ms;
        void (*closed_cb)(void *arg);
        void *closed_arg;

        /* both, under mutex */
        pthread_mutex_t mutex;
        pthread_cond_t todo_cond, done_cond, leave_cond;
        struct list todo, done;
        size_t pending_n; /* pieces queued and not yet called back */
        bool room_wanted;
        bool leaving; /* what waits for room fails at once */

        /* writer thread; load sets it up before the first piece */
        pthread_t writer;
        uint64_t log_first, log_last, snapshot_index;
        int broken;
        bool spare_dirty; /* the other state holds rows that nobody needs */
        struct snapshot_parser parser;
        struct buf scratch;

        atomic_bool full, waiting;
};

static inline struct store_lmdb *lmdb_of(struct store *s)
{
        return container_of(s, struct store_lmdb, store);
}

static inline enum member_db store_other(enum member_db db)
{
        return db == DB_STATE0 ? DB_STATE1 : DB_STATE0;
}

/* store_lmdb_writer.c */
void *store_writer_main(void *arg); /* arg: struct store_lmdb */
/* Looks how much room there is; on the writer, and before it runs. */
void store_measure_room(struct store_lmdb *s);
/* store_lmdb.c */
void store_on_async(uv_async_t *h);
void store_on_async_closed(uv_handle_t *h);
void store_free(struct store_lmdb *s); /* the writer has ended, or never ran */
int store_copy_entry(const struct log_entry *e, struct arena *a, struct log_entry *ret) MUST_USE;
extern const struct store_ops store_lmdb_ops;
/* store_lmdb_open.c */
int store_lmdb_load(struct store *store, struct arena *a, struct store_start *ret, struct fail *f) MUST_USE;

#endif
