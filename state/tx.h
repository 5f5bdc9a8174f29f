/* One view of the ordered key-value state, whatever is underneath: an LMDB read or write transaction, the
 * memory store of the simulator and the volatile witness, or an overlay (state/overlay.h) that records a
 * write-set.
 *
 * Errors are sticky: after the first storage error every call is a no-op that returns it; tx->err is checked
 * once. E_NOT_FOUND is an answer, not an error, and does not stick. Ownership: returned keys and values point
 * into the store and are valid until the next write through this tx, or its end. Threads: a tx belongs to one
 * thread; LMDB read transactions may be used on any thread (MDB_NOTLS). */
#ifndef STATE_TX_H
#define STATE_TX_H

#include <stdbool.h>

#include "wire/base/err.h"
#include "wire/base/mem.h"

struct tx;
struct tx_cursor;

struct tx_ops {
        int (*get)(struct tx *tx, struct blob key, struct blob *ret_value);
        int (*put)(struct tx *tx, struct blob key, struct blob value); /* NULL in read-only views */
        int (*del)(struct tx *tx, struct blob key);                    /* E_NOT_FOUND when absent */
        /* First pair with key >= from; the cursor is caller's storage. */
        int (*seek)(struct tx *tx, struct tx_cursor *c, struct blob from);
        int (*next)(struct tx *tx, struct tx_cursor *c);
        void (*close)(struct tx *tx, struct tx_cursor *c);
};

/* LMDB's limit; the same everywhere, so that every member refuses the same writes. */
#define TX_KEY_MAX 511
/* No value may be larger: a bound for damaged lengths, far above what the objects need. */
#define TX_VALUE_MAX ((size_t)16 << 20)

/* Embedded first in each implementation. */
struct tx {
        const struct tx_ops *ops;
        int err;              /* sticky */
        uint64_t write_count; /* changes whenever content may have changed: open scans then re-seek */
};

/* Caller's storage; key and value are valid after a seek or next that returned 0. */
struct tx_cursor {
        struct blob key, value;
        void *impl;
        uint64_t scratch[4]; /* for the implementation */
};

/* 0, E_NOT_FOUND, or the sticky error. A key that is empty or longer than TX_KEY_MAX is not found. */
int tx_get(struct tx *tx, struct blob key, struct blob *ret_value) MUST_USE;
/* The result also sticks: E_TOO_LARGE (key or value), E_INVALID (empty key, read-only view), E_NO_SPACE,
 * E_STORAGE. */
int tx_put(struct tx *tx, struct blob key, struct blob value);
/* E_NOT_FOUND when absent; that does not stick, everything else does. */
int tx_del(struct tx *tx, struct blob key);
/* Makes err stick (the first one stays). Returns the sticky error. E_NOT_FOUND and 0 are passed through. */
int tx_fail(struct tx *tx, int err);
/* Walks pairs in key order: if (tx_seek(...) == 0) do { … } while (tx_next(...) == 0); tx_close(...). The end
 * is E_NOT_FOUND. A write through the same tx invalidates open cursors. */
int tx_seek(struct tx *tx, struct tx_cursor *c, struct blob from) MUST_USE;
int tx_next(struct tx *tx, struct tx_cursor *c) MUST_USE;
void tx_close(struct tx *tx, struct tx_cursor *c);

#endif
