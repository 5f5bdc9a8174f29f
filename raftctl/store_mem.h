/* struct store in memory: for the simulator, the volatile witness and tests of the driver.
 *
 * It has no timing of its own. Work (jobs, snapshot chunks) queues up; whoever owns the store says when the
 * oldest piece becomes durable, when its callback runs, that it fails, or that the process died: then each
 * piece is wholly there or wholly absent, in order. The store object outlives its user: after store_mem_crash
 * a new driver opens the same store and finds what was durable.
 *
 * Ownership: store_mem_new to store_mem_free. Threads: one. Callbacks run from store_mem_step and
 * store_mem_deliver only, never from inside a call of the driver. */
#ifndef RAFTCTL_STORE_MEM_H
#define RAFTCTL_STORE_MEM_H

#include "raftctl/store.h"

struct store_mem;

/* An empty member. */
struct store_mem *store_mem_new(void);
/* Nothing may be queued and no read view open. NULL is fine. */
void store_mem_free(struct store_mem *m);
struct store *store_mem_store(struct store_mem *m);

/* A witness's: of the state only what raftctl/log_only.h says. Before the first use. */
void store_mem_set_log_only(struct store_mem *m);

/* Called whenever the queue becomes non-empty (from inside submit, install_*, close): arrange for
 * store_mem_step to be called later. NULL = none. */
void store_mem_set_wakeup(struct store_mem *m, void (*cb)(void *arg), void *arg);

/* Pieces whose callback has not run yet. */
size_t store_mem_pending(const struct store_mem *m);
/* Bytes of log data in the oldest piece that is not durable yet, to model the disk's speed; 0 when there is
 * none. */
size_t store_mem_next_bytes(const struct store_mem *m);
/* Makes the oldest piece that is not durable yet durable, without telling anybody: a crash now keeps it. err
 * != 0: it fails instead, changes nothing, and so does everything after it until the store is opened again.
 * false = none. */
bool store_mem_commit(struct store_mem *m, int err);
/* Runs the callback of the oldest piece, which must be durable or failed. false = none is. */
bool store_mem_deliver(struct store_mem *m);
/* store_mem_commit(0) if needed, then store_mem_deliver. false = nothing was queued. */
bool store_mem_step(struct store_mem *m);
/* Until nothing is queued, also what callbacks queue meanwhile. */
void store_mem_run(struct store_mem *m);

/* The process dies: for each piece that is not durable, oldest first, keep() says whether it had reached the
 * disk; at the first false the rest is lost as well (NULL = all lost). Callbacks are dropped, open read views
 * are forgotten (the caller's tx pointers are dead), the store is as after a restart. Call it before freeing
 * the driver: memory of queued jobs is still read. */
void store_mem_crash(struct store_mem *m, bool (*keep)(void *arg), void *arg);

/* ---- faults and views for tests ---- */
void store_mem_set_full(
        struct store_mem *m, bool full); /* is_full(); jobs that write entries fail with E_NO_SPACE */
/* Damages the durable log row: load and read_log then find it. false = no such row. */
bool store_mem_damage_log(struct store_mem *m, uint64_t index);
/* Durable facts, without going through load. */
uint64_t store_mem_first_index(const struct store_mem *m); /* of the log; last + 1 when empty */
uint64_t store_mem_last_index(const struct store_mem *m);
/* Term of a durable row, 0 = no such row. */
uint64_t store_mem_term_of(const struct store_mem *m, uint64_t index);
struct applied store_mem_applied(const struct store_mem *m);
/* Number of pieces made durable since store_mem_new: syncs. */
uint64_t store_mem_sync_count(const struct store_mem *m);

#endif
