/* The request table: makes each operation happen exactly once. A request id (16 bytes: 8 of the accepting
 * member's incarnation, 8 a counter, so that neighbours share a page; or a hash of the client's
 * Idempotency-Key) maps to the answer. The table is a ring of REQUEST_TABLE_MAX rows in the replicated state:
 * inserting beyond that drops the oldest, in the same write-set. */
#ifndef STATE_REQUEST_H
#define STATE_REQUEST_H

#include "state/tx.h"

#define REQUEST_ID_SIZE 16
#define REQUEST_TABLE_MAX 8192

/* The stored answer of a finished request: 0, E_NOT_FOUND or a sticky error. *ret_reply lies in the arena. */
int request_find(struct tx *tx, const uint8_t id[REQUEST_ID_SIZE], uint64_t *ret_index,
        struct blob *ret_reply, struct arena *a);
/* Records the answer; index is the log index that the entry will have. E_EXISTS (does not stick, nothing
 * written): the id has an answer already; otherwise 0 or a sticky error. */
int request_record(struct tx *tx, const uint8_t id[REQUEST_ID_SIZE], uint64_t index, struct blob reply);

/* *ret_index: answers of entries above it are all kept; 0 when none was ever dropped. 0 or a sticky error. */
int request_forgotten(struct tx *tx, uint64_t *ret_index);

#endif
