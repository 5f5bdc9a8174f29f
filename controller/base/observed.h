/* The observed store: what the satellites of the cluster report to this member. An LMDB environment of its
 * own that is never synced and empty at each start; never part of Raft.
 *
 * Threads: observed_open, observed_close and everything that writes belong to the loop thread; read views are
 * taken on any thread and belong to it. Ownership: the store outlives its views. Errors: of state/kv_lmdb.h;
 * a write that failed changed nothing. */
#ifndef CONTROLLER_BASE_OBSERVED_H
#define CONTROLLER_BASE_OBSERVED_H

#include "controller/base/observed_rows.h"

struct observed;
/* Rows of this node (NULL: of several) have changed. Called on the loop thread, after the change is visible.
 */
typedef void observed_changed_fn(void *arg, const char *node_name);

/* dir exists and is ours alone. Removes what an earlier run left there. */
int observed_open(const char *dir, observed_changed_fn *changed_cb, void *arg, struct observed **ret,
        struct fail *f) MUST_USE;
void observed_close(struct observed *o); /* NULL is fine */

/* A read view, NULL when none can be had. Any thread. */
struct tx *observed_begin(struct observed *o);
void observed_end(struct tx *tx); /* NULL is fine */

/* A change: fn writes to tx. Committed when fn returns 0, dropped else; its error is returned. node_name is
 * for changed_cb. */
typedef int observed_write_fn(void *arg, struct tx *tx, struct arena *a);
int observed_write(struct observed *o, const char *node_name, observed_write_fn *fn, void *arg) MUST_USE;

#endif
