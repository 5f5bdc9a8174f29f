/* The member's durable memory behind one interface: LMDB (raftctl/store_lmdb.c), memory (raftctl/store_mem.c:
 * volatile witness, simulator - which decides when and whether a job becomes durable).
 *
 * Everything is written by jobs. A job is one transaction and one sync: it is wholly durable when its callback runs,
 * and wholly present or wholly absent after a crash. Jobs are carried out in order, one at a time; the driver collects
 * the next one meanwhile. Any storage error is reported once by done_cb(err != 0); the member then stops.
 * Threads: called on the loop thread; the LMDB store does the work on its writer thread and calls back on the loop. */
#ifndef RAFTCTL_STORE_H
#define RAFTCTL_STORE_H

#include "state/tx.h"
#include "state/writeset.h"
#include "wire/base/buf.h"

enum log_entry_type { LOG_COMMAND = 1, LOG_BARRIER = 2, LOG_CHANGE = 3 }; /* as libraft's */

struct log_entry {
        uint64_t index, term;
        uint8_t type; /* enum log_entry_type */
        struct blob data;
};

/* The row that stands for everything at and below its index. */
struct snapshot_meta {
        uint64_t index, term; /* index 0 = none */
        uint64_t conf_index;
        struct blob conf; /* encoded configuration (raftctl/conf.h) */
};

struct store_job;
/* applied: the state after the job's apply part. err: 0 or E_STORAGE, E_NO_SPACE, E_CORRUPT, E_FORMAT. */
typedef void store_done_fn(struct store_job *job, int err);

/* Filled by the driver; parts that are not set are left alone. Memory that entries point to stays valid until done_cb. */
struct store_job {
        /* term and vote */
        bool set_vote;
        uint64_t term, voted_for;
        /* log: rows at and above truncate_from are deleted first (0 = none), then entries are appended */
        uint64_t truncate_from;
        struct log_entry *entries; /* ascending, without holes */
        uint32_t entries_n;
        /* state: committed entries to apply, ascending, from the applied index + 1 on; may repeat entries above */
        struct log_entry *apply;
        uint32_t apply_n;
        /* local snapshot: meta row, and log rows at and below trim_to deleted */
        bool set_snapshot;
        struct snapshot_meta snapshot;
        uint64_t trim_to;
        /* received snapshot (store_ops.install_*): switch to it; the whole log is dropped */
        bool install;
        /* A state that the job would bring above this feature level is refused with E_LEVEL, and nothing is written
         * (0 = any). */
        unsigned level_max;
        /* results, valid in done_cb */
        struct applied applied;
        enum apply_result *apply_results; /* apply_n of them, caller's storage, may be NULL */
        store_done_fn *done_cb;
        void *data; /* the driver's */
        void *impl; /* the store's */
};

/* What a member starts from. Freed by the caller through the arena. A store in log-only mode leaves out the data of
 * commands that are applied, but of the newest STORE_LOG_ONLY_TAIL bytes: data.p is NULL, data.n is right. */
#define STORE_LOG_ONLY_TAIL ((size_t)256 << 10)
struct store_start {
        uint64_t term, voted_for;
        struct snapshot_meta snapshot;
        struct log_entry *entries;
        uint64_t entries_n;
        struct applied applied;
};

struct store;
struct store_ops {
        /* Reads everything needed for RAFT_START and verifies checksums. E_CORRUPT names the damage in f. */
        int (*load)(struct store *s, struct arena *a, struct store_start *ret, struct fail *f);
        void (*submit)(struct store *s, struct store_job *job);
        /* Durable log rows from..to, as many as fit max_bytes (at least one), into the arena. E_NOT_FOUND when trimmed. */
        int (*read_log)(struct store *s, uint64_t from, uint64_t to, size_t max_bytes, struct arena *a,
                struct log_entry **ret_entries, uint32_t *ret_n);
        /* A read view of the applied state as of the last finished job. */
        int (*read_begin)(struct store *s, struct tx **ret_tx);
        void (*read_end)(struct store *s, struct tx *tx);
        /* Receiving a snapshot: begin empties the spare state; chunks are pairs in key order (raftctl/snapshot.h);
         * finish checks count and hash. Each completes by its callback. Nothing is visible until a job with
         * .install carries the meta. */
        void (*install_begin)(struct store *s, void (*cb)(void *arg, int err), void *arg);
        void (*install_chunk)(struct store *s, struct blob chunk, void (*cb)(void *arg, int err), void *arg);
        /* Too little room for writes: the free bytes are below the limit, or a job waits for room. Cheap. */
        bool (*is_full)(struct store *s);
        /* Has any reader, on whatever thread, come upon damaged data? Then the member must stop. Cheap; NULL = never. */
        bool (*is_damaged)(struct store *s);
        /* The store is unusable at once; cb runs after every callback that is still due. The LMDB store frees itself then. */
        void (*close)(struct store *s, void (*cb)(void *arg), void *arg);
        /* Blocks until everything queued is done and called back: for founding, tests and tools, not on a running loop.
         * What waits for room on the disk fails with E_NO_SPACE. */
        void (*drain)(struct store *s);
};
struct store {
        const struct store_ops *ops;
};

#endif
