/* The sticky wrapper around the operations of a view, see tx.h. */
#include "state/tx.h"

static bool key_ok(struct blob key) { return key.n > 0 && key.n <= TX_KEY_MAX; }

int tx_fail(struct tx *tx, int err)
{
        if (err == 0 || err == E_NOT_FOUND) return err;
        if (tx->err == 0) tx->err = err;
        return tx->err;
}

int tx_get(struct tx *tx, struct blob key, struct blob *ret_value)
{
        if (tx->err != 0) return tx->err;
        if (!key_ok(key)) return E_NOT_FOUND;
        return tx_fail(tx, tx->ops->get(tx, key, ret_value));
}

int tx_put(struct tx *tx, struct blob key, struct blob value)
{
        if (tx->err != 0) return tx->err;
        if (tx->ops->put == NULL || key.n == 0) return tx_fail(tx, E_INVALID);
        if (key.n > TX_KEY_MAX || value.n > TX_VALUE_MAX) return tx_fail(tx, E_TOO_LARGE);
        tx->write_count++;
        return tx_fail(tx, tx->ops->put(tx, key, value));
}

int tx_del(struct tx *tx, struct blob key)
{
        if (tx->err != 0) return tx->err;
        if (tx->ops->del == NULL) return tx_fail(tx, E_INVALID);
        if (!key_ok(key)) return E_NOT_FOUND;
        tx->write_count++;
        return tx_fail(tx, tx->ops->del(tx, key));
}

int tx_seek(struct tx *tx, struct tx_cursor *c, struct blob from)
{
        *c = (struct tx_cursor){ 0 };
        if (tx->err != 0) return tx->err;
        return tx_fail(tx, tx->ops->seek(tx, c, from));
}

int tx_next(struct tx *tx, struct tx_cursor *c)
{
        if (tx->err != 0) return tx->err;
        return tx_fail(tx, tx->ops->next(tx, c));
}

/* Closing is always due, also after an error: implementations hold memory in cursors. */
void tx_close(struct tx *tx, struct tx_cursor *c)
{
        tx->ops->close(tx, c);
        *c = (struct tx_cursor){ 0 };
}
