/* Level-triggered functions of (wanted, observed) that say what to write next. They remember nothing, so
 * nothing is lost when the leader dies: the next one looks at the same rows and comes to the same answer.
 * Each proposal has an id that follows from what it is about, so that proposing it twice has its effect once.
 *
 * Every member keeps its observed store tidy by what the cluster has taken over; only the leader proposes.
 *
 * Pure: no clock but what is passed in. Memory comes from the arena. Threads: one at a time. */
#ifndef CONTROLLER_OP_RECONCILE_H
#define CONTROLLER_OP_RECONCILE_H

#include "state/request.h"
#include "state/table.h"
#include "wire/def/types.h"

#define RECONCILE_MAX 64 /* proposals of one look */

struct reconcile_action {
        uint8_t id[REQUEST_ID_SIZE];
        struct request request; /* wall_ms and seed are set */
};
/* Looking at every resource definition is too much for one look: they take turns. The caller's, zeroed at first and when it begins to
 * lead. It says where to go on, and nothing about what was seen. */
struct reconcile_sweep {
        char at[64];                   /* the last one that was looked at; "" = from the beginning */
        uint32_t max;                  /* definitions of this look */
        char pool_node[256], pool[64]; /* the last pool that was looked at */
        int64_t began_ms; /* own clock of the last pass that balances (BalanceResourcesInterval); 0 = none */
        bool balancing;   /* this pass does */
};
/* Since when this leader has known that something is as it is, by its own clock, which nobody sets: what is due after a time is counted
 * from there. So a wall clock that is put forward ends nothing early, and a new leader waits longer, never less. The caller's, zeroed at first
 * and when it begins to lead. What does not fit is known since now. */
#define RECONCILE_KNOWN_MAX 256
struct reconcile_known {
        struct {
                uint64_t what;
                int64_t since_ms;
                bool still; /* it was asked for in this look */
        } list[RECONCILE_KNOWN_MAX];
        uint32_t n;
};
struct reconcile_args {
        struct tx *wanted, *observed;
        const char *member; /* name of this member */
        int64_t wall_ms;
        int64_t mono_ms;               /* of this member, as in the observed store's *_mono_ms */
        struct reconcile_sweep *sweep; /* NULL: not in this look */
        struct reconcile_known *known; /* NULL: all is known since now */
};
/* What is to be proposed now, at most RECONCILE_MAX. More may follow when these are applied. 0 or a storage
 * error. */
int reconcile_look(const struct reconcile_args *args, struct arena *a, struct reconcile_action **ret,
        uint32_t *ret_n) MUST_USE;
/* Drops from the observed store (a write view) what the replicated state has taken over: error reports.
 * *ret_n: rows. */
int reconcile_tidy(struct tx *wanted, struct tx *observed, struct arena *a, uint32_t *ret_n) MUST_USE;

#endif
