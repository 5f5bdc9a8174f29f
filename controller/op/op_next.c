/* What the next release could add, built with --enable-next-level only: a command with a table (view_next.c: its reads). */
#include "controller/op/op_internal.h"

void op_next_mark(struct op *op)
{
        struct next_mark m = *OP_BODY(op, next_mark);
        SET(&m, next_mark, name, op->params[0]);
        row_put(op->tx, &next_mark_type, &m);
        op_rc(op, RC_MODIFIED, "Mark '%s' is kept.", m.name);
}
