/* The scratch transaction of evaluate: reads fall through to a base view, writes stay here, and what was
 * written is the write-set that Raft replicates. Layers stack: the leader evaluates batch n+1 on the layers
 * of the batches that are on their way, so nothing waits for the disk, and a deposed leader just drops its
 * layers.
 *
 * Savepoints nest one deep: an operation that fails is rolled back alone. Threads: the loop thread only.
 * Memory: keys and values live in the layer's arena until overlay_free; past OVERLAY_BYTES_MAX writes fail
 * with E_LIMIT, which a rollback heals as far as the flow goes, not the memory. */
#ifndef STATE_OVERLAY_H
#define STATE_OVERLAY_H

#include "state/tx.h"
#include "wire/base/buf.h"

#define OVERLAY_BYTES_MAX ((size_t)256 << 20)

struct overlay;

/* base is borrowed and must outlive the overlay (or be replaced by overlay_rebase). */
struct overlay *overlay_new(struct tx *base);
void overlay_free(struct overlay *o); /* NULL is fine */
struct tx *overlay_tx(struct overlay *o);
/* Another base with the same or newer content below this layer. No cursor or scan may be open. */
void overlay_rebase(struct overlay *o, struct tx *base);
/* Marks a point to go back to. One at a time. */
void overlay_savepoint(struct overlay *o);
/* Back to the savepoint, which is then gone. An error that stuck since (E_EXISTS, E_TOO_LARGE, E_LIMIT: one
 * operation's fault) is forgotten; an error of the base comes back with the next read. */
void overlay_rollback(struct overlay *o);
void overlay_release(struct overlay *o); /* keeps the changes since the savepoint */
/* Keys put or deleted. */
size_t overlay_count(const struct overlay *o);
/* Bytes of their keys and values: about the size of the write-set. */
size_t overlay_bytes(const struct overlay *o);
/* Every recorded change in key order; a deletion has value.p == NULL and deleted = true. */
typedef void overlay_visit_fn(void *arg, struct blob key, struct blob value, bool deleted);
void overlay_visit(struct overlay *o, overlay_visit_fn *fn, void *arg);
/* Refills an empty overlay from a list of changes (a write-set that is committed but not yet applied). */
void overlay_load_put(struct overlay *o, struct blob key, struct blob value);
void overlay_load_del(struct overlay *o, struct blob key);

#endif
