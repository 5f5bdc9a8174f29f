/* Operations: what a request does to the replicated state. The REST layer of any member turns an HTTP request
 * into a struct request; Raft carries it to the leader; op_evaluate runs it there, once, on a scratch
 * transaction.
 *
 * Purity: an operation depends on nothing but (tx, request, observed, index): time and randomness come with
 * the request. So the simulator runs the same operations. Threads: the loop thread of the leader. Ownership:
 * everything is allocated in op->arena. */
#ifndef CONTROLLER_OP_OP_H
#define CONTROLLER_OP_OP_H

#include "controller/base/apirc.h"
#include "controller/base/route.h"
#include "state/table.h"
#include "wire/def/types.h"

/* request and reply are declared in wire/def/rest.def:
 *   request { method, path, query, body, wall_ms, seed, user, member }   path and query byte-exact, body as
 * sent reply   { status, rcs: LIST api_rc, waits: LIST wait_item, json: BIN (objects that are no list of
 * entries) } wait_item { node_name, rsc_name, pool_name, revision, gone }         the accepting member waits
 * for these
 */
struct op {
        struct tx *tx;       /* wanted: read and write */
        struct tx *observed; /* what satellites report; NULL in some tests = nothing is known */
        const struct request *req;
        const struct route *route;
        const char *const *params; /* decoded path parameters, in order of the pattern */
        const struct query *query; /* decoded query */
        void *body;                /* object of route->body_type, decoded; zeroed when there was none */
        uint32_t body_n;           /* for list bodies */
        uint64_t index;            /* log index that the effect will have */
        struct arena *arena;
        struct reply *reply;
        uint64_t random_count;       /* numbers drawn by op_random() */
        uint32_t rcs_cap, waits_cap; /* of the arrays in reply */
        int err;                     /* sticky: E_INVALID once an error entry was added */
        const struct op_env *env;    /* NULL in some tests */
        const char **settle; /* definitions whose members have changed, see controller/op/op_quorum.h */
        uint32_t settle_n, settle_cap;
        bool settling;
        bool early;    /* it looked for a satellite that is still to be tried */
        bool doubtful; /* it looked for one that is away, and being tried once more */
};

/* Adds an entry. code: enum apirc_code (apirc.def: number and severity); operation and object bits come from
 * the route. An error entry refuses the whole operation (its writes are rolled back). The entry is valid
 * until the next. */
struct api_rc *op_rc(struct op *op, enum apirc_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* The same about another kind of object, or as part of another kind of operation. */
struct api_rc *op_rc_as(struct op *op, enum apirc_code code, unsigned op_bits, unsigned object_bits,
        const char *fmt, ...) PRINTF_LIKE(5, 6);
/* Names an object that the entry is about: "Node", "RscDfn", "StorPoolDfn", … */
void op_rc_ref(struct op *op, struct api_rc *rc, const char *key, const char *value);
/* Each may be NULL; the strings must live as long as the operation. */
void op_rc_explain(
        struct op *op, struct api_rc *rc, const char *cause, const char *details, const char *correction);
static inline bool op_failed(const struct op *op) { return op->err != 0 || op->tx->err != 0; }
/* The accepting member answers only when this node has carried out the resource as of this operation. */
void op_wait_rsc(struct op *op, const char *node_name, const char *rsc_name, bool gone);
/* It answers only when no disk of it comes or goes any more, however many operations of the leader that takes. */
void op_wait_settled(struct op *op, const char *node_name, const char *rsc_name);
void op_wait_pool(struct op *op, const char *node_name, const char *pool_name);
/* Derived one-way from the seed of the request: drawing one number tells nothing about the others. */
uint64_t op_random(struct op *op);
const char *op_uuid(struct op *op);
uint64_t op_now_ms(const struct op *op); /* wall clock of the request */

/* evaluate_fn of raftctl/driver.h. arg: struct op_env. */
struct op_env {
        /* A read view of the observed store, or NULL. */
        struct tx *(*observed_begin)(void *arg);
        void (*observed_end)(void *arg, struct tx *tx);
        void *arg;
        /* May be NULL. Is this member still to try whether that satellite can be reached? Bounded in time. */
        bool (*untried)(void *arg, const char *node);
        /* May be NULL. Is a satellite that is away being tried once more now? Begins to, unless that has been done
         * for a request of that wall clock or a later one, and not long ago.
         * Bounded in time. */
        bool (*retried)(void *arg, const char *node, int64_t wall_ms);
};
/* E_BUSY: it depends on a satellite that is still to be tried. What is refused while one is away waits for one more
 * try: it may have come back in a pause between two of them. */
int op_evaluate(void *arg, struct tx *tx, struct blob request, uint64_t index, struct buf *ret_reply);

#endif
