/* The ring of answers, see request.h. Three kinds of rows: the answer by id, the id by slot, and the counter
 * that says which slot is next. */
#include "state/request.h"

#include "state/table.h"
#include "wire/def/types.h"

static uint64_t half(const uint8_t *p)
{
        uint64_t v = 0;
        for (int i = 0; i < 8; i++) v = v << 8 | p[i];
        return v;
}

static struct request_row key_row(const uint8_t id[REQUEST_ID_SIZE])
{
        struct request_row r = { 0 };
        SET(&r, request_row, id_hi, half(id));
        SET(&r, request_row, id_lo, half(id + 8));
        return r;
}

int request_find(struct tx *tx, const uint8_t id[REQUEST_ID_SIZE], uint64_t *ret_index,
        struct blob *ret_reply, struct arena *a)
{
        struct request_row key = key_row(id), row;
        int err = row_get(tx, &request_row_type, &key, a, &row);
        if (err != 0) return err;
        *ret_index = row.index;
        *ret_reply = row.reply;
        return 0;
}

/* Drops the answer whose turn in the slot is over. */
static int evict(struct tx *tx, uint64_t slot, struct arena *a)
{
        struct request_slot key = { 0 }, old;
        SET(&key, request_slot, slot, slot);
        int err = row_get(tx, &request_slot_type, &key, a, &old);
        if (err == E_NOT_FOUND) return 0;
        if (err != 0) return err;
        struct request_row gone = { 0 };
        SET(&gone, request_row, id_hi, old.id_hi);
        SET(&gone, request_row, id_lo, old.id_lo);
        err = row_del(tx, &request_row_type, &gone);
        return err == E_NOT_FOUND ? tx_fail(tx, E_CORRUPT) : err;
}

int request_record(struct tx *tx, const uint8_t id[REQUEST_ID_SIZE], uint64_t index, struct blob reply)
{
        struct arena a = { 0 };
        struct request_row row = key_row(id);
        struct request_ring ring;
        if (row_exists(tx, &request_row_type, &row)) return tx->err != 0 ? tx->err : E_EXISTS;
        int err = row_get_single(tx, &request_ring_type, &a, &ring);
        uint64_t slot = ring.next % REQUEST_TABLE_MAX;
        if (err == 0 && ring.next >= REQUEST_TABLE_MAX) err = evict(tx, slot, &a);
        if (err == 0) {
                struct request_slot s = { 0 };
                SET(&s, request_slot, slot, slot);
                SET(&s, request_slot, id_hi, row.id_hi);
                SET(&s, request_slot, id_lo, row.id_lo);
                SET(&row, request_row, slot, slot);
                SET(&row, request_row, index, index);
                SET(&row, request_row, reply, reply);
                SET(&ring, request_ring, next, ring.next + 1);
                (void)row_put(tx, &request_slot_type, &s);
                (void)row_put(tx, &request_row_type, &row);
                err = row_put(tx, &request_ring_type, &ring);
        }
        arena_done(&a);
        return err;
}

int request_forgotten(struct tx *tx, uint64_t *ret_index)
{
        struct arena a = { 0 };
        struct request_ring ring;
        *ret_index = 0;
        int err = row_get_single(tx, &request_ring_type, &a, &ring);
        if (err == 0 && ring.next > REQUEST_TABLE_MAX) {
                /* The oldest answer: one of the same entry may have been dropped before it. */
                struct request_slot key = { 0 }, oldest;
                SET(&key, request_slot, slot, ring.next % REQUEST_TABLE_MAX);
                err = row_get(tx, &request_slot_type, &key, &a, &oldest);
                struct request_row row = { 0 };
                if (err == 0) {
                        SET(&row, request_row, id_hi, oldest.id_hi);
                        SET(&row, request_row, id_lo, oldest.id_lo);
                        err = row_get(tx, &request_row_type, &row, &a, &row);
                }
                if (err == 0) *ret_index = row.index;
        }
        arena_done(&a);
        return err == E_NOT_FOUND ? tx_fail(tx, E_CORRUPT) : err;
}
