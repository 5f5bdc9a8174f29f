/* Requests as a busy cluster gets them: sensible ones about few objects, so that they meet, and some that are
 * refused. For the fuzz target of the operations and for the simulator.
 *
 * Threads: one. Ownership: struct op_gen owns its texts. */
#ifndef TESTS_LIB_OP_GEN_H
#define TESTS_LIB_OP_GEN_H

#include "state/tx.h"
#include "wire/base/buf.h"

struct op_gen {
        const char *method; /* of HTTP, or CONFIRM: path is a node, which has removed what it was to remove */
        struct buf path, body;
};
/* All choices come from random. */
void op_gen_draw(struct op_gen *g, uint64_t (*random)(void *arg), void *arg);
void op_gen_done(struct op_gen *g);
/* The request that a member would make of it; a CONFIRM by what tx shows. */
void op_gen_encode(const struct op_gen *g, struct tx *tx, uint64_t seed, struct buf *out);
/* Writes the form that op_gen_read understands: a request that does not know the state yet. */
void op_gen_write(const struct op_gen *g, struct buf *out);
bool op_gen_read(struct op_gen *g, struct blob in);
/* Carries out g on tx with nothing observed, and checks what was changed. What was written stays in tx, also
 * when it was refused: rolling back is the caller's. 0, E_INVALID when refused; *ret_findings: of
 * state_check_changes, printed. */
int op_gen_run(const struct op_gen *g, struct tx *tx, uint64_t seed, uint64_t index, int *ret_findings);
/* Findings of state_check, printed; negative when the state cannot be read. */
int op_gen_check(struct tx *tx);
/* The property of an instance of the key-value store as a number, 0 when it is not there. */
uint64_t op_gen_number(struct tx *tx, const char *instance, const char *key);

#endif
