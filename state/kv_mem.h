/* An ordered key-value store in memory behind struct tx: a copy-on-write B+tree. A read view costs one
 * reference, stays as it was while the writer goes on, and may live as long as its holder likes. For the
 * simulator, the volatile witness and tests.
 *
 * Ownership: keys and values are copied in; what comes out is valid until the view ends or, in a write view,
 * until the next write. Threads: one thread for a store and all its views. Purity: memory only. */
#ifndef STATE_KV_MEM_H
#define STATE_KV_MEM_H

#include "state/tx.h"

struct kv_mem;

struct kv_mem *kv_mem_new(void);
/* All views must have ended. NULL is fine. */
void kv_mem_free(struct kv_mem *kv);
/* A second store with the same content, in constant time; both go their own ways from here. */
struct kv_mem *kv_mem_clone(const struct kv_mem *kv);
/* Drops everything. Read views that are open keep what they see. No write view may be open. */
void kv_mem_clear(struct kv_mem *kv);
/* Number of pairs. */
size_t kv_mem_count(const struct kv_mem *kv);

/* The content as of now, read-only; ends with kv_mem_end. */
struct tx *kv_mem_read(struct kv_mem *kv);
/* One at a time. Nothing is visible to others before kv_mem_commit; kv_mem_end instead drops the changes. */
struct tx *kv_mem_write(struct kv_mem *kv);
/* Publishes and ends the write view. With a sticky error nothing is published and the error is returned. */
int kv_mem_commit(struct tx *tx);
/* Ends a view of either kind. */
void kv_mem_end(struct tx *tx);

#endif
