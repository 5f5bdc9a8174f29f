/* Typed rows over a tx: the declared types of wire/def are the tables, their FF_KEY fields the keys,
 * canonical msgpack the values. Decoding a stored row is strict: an unknown field or damage is E_FORMAT or
 * E_CORRUPT and sticks.
 *
 * Ownership: rows are decoded into the caller's arena. Purity: no clock, no sockets, no randomness. */
#ifndef STATE_TABLE_H
#define STATE_TABLE_H

#include "state/index.h"
#include "state/tx.h"
#include "wire/codec/codec.h"

/* Ids of types that are rows of the replicated state; the others travel only, or are rows of a store of one
 * process, to which feature levels mean nothing. */
#define STORED_ID_MAX 149

/* The row whose key fields equal those of key_obj (an object of the same type; only its FF_KEY fields are
 * read). 0, E_NOT_FOUND, or a sticky error. */
int row_get(struct tx *tx, const struct type_desc *t, const void *key_obj, struct arena *a,
        void *ret_obj) MUST_USE;
bool row_exists(struct tx *tx, const struct type_desc *t, const void *key_obj);
/* Inserts or replaces, and maintains the declared indexes (state/index.h). The result also sticks to tx:
 * E_TOO_LARGE (the key fields exceed TX_KEY_MAX), E_LEVEL (a type or enum value that came after the feature level of
 * the state; fields and flags that did are left out), E_INVALID (the row could not be read again: a required
 * field is missing), E_EXISTS (a unique index row belongs to another object). */
int row_put(struct tx *tx, const struct type_desc *t, const void *obj);
/* Removes the row and its index entries. E_NOT_FOUND when absent. */
int row_del(struct tx *tx, const struct type_desc *t, const void *key_obj);

/* Rows of one table in key order, optionally only those whose first n_fields key fields equal key_obj's
 * (NULL will do when n_fields is 0).
 *   struct row_scan s;
 *   row_scan_open(&s, tx, &rsc_type, &key, 1);
 *   while (row_scan_next(&s, a, &rsc)) { … }
 *   row_scan_close(&s);
 * Writing to the tx while a scan is open is allowed: the scan re-seeks behind the last key. */
struct row_scan {
        struct tx *tx;
        const struct type_desc *type;
        struct tx_cursor cursor;
        uint8_t prefix[TX_KEY_MAX];
        uint32_t prefix_n;
        uint8_t last[TX_KEY_MAX + 1]; /* key returned last, to re-seek after writes */
        uint32_t last_n;
        uint64_t write_count;
        bool started, open;
};
void row_scan_open(
        struct row_scan *s, struct tx *tx, const struct type_desc *t, const void *key_obj, unsigned n_fields);
/* Right after opening: the scan begins behind the row with these key fields (all of its type), whether it is there or not. */
void row_scan_after(struct row_scan *s, const void *key_obj, unsigned n_fields);
/* false at the end and after an error (tx->err tells). */
bool row_scan_next(struct row_scan *s, struct arena *a, void *ret_obj);
void row_scan_close(struct row_scan *s);
/* Number of rows with that prefix. */
uint64_t row_count(struct tx *tx, const struct type_desc *t, const void *key_obj, unsigned n_fields);

/* The stored form of a row, checked against its key: 0, E_FORMAT (written by a newer version) or E_CORRUPT.
 */
int row_decode(const struct type_desc *t, struct blob key, struct blob value, struct arena *a, void *ret_obj,
        struct fail *f) MUST_USE;

/* Singletons (types without key fields): zeroed when absent; 0 or a sticky error. */
int row_get_single(struct tx *tx, const struct type_desc *t, struct arena *a, void *ret_obj);

/* The id of the type of the row under key, 0 when it is no row's. */
static inline unsigned row_type_id(struct blob key)
{
        return key.n < 2 ? 0 : (unsigned)key.p[0] << 8 | key.p[1];
}

#endif
