/* Views: answers to reads, made on any member from its own snapshot of the state.
 *
 * Threads: any; a view touches nothing but its transactions. Ownership: the caller owns everything in struct
 * view; what a view allocates goes into v->arena. */
#ifndef CONTROLLER_VIEW_VIEW_H
#define CONTROLLER_VIEW_VIEW_H

#include "controller/base/route.h"
#include "state/table.h"

struct view {
        /* filled in by the caller */
        struct tx *tx;       /* wanted state, read only */
        struct tx *observed; /* what satellites report; NULL = nothing is known */
        const struct route *route;
        const char *const *params; /* struct route_match.params */
        const struct query *query;
        struct arena *arena;
        struct buf *out;  /* the JSON body is appended */
        uint64_t wall_ms; /* clock of this member */
        /* filled in by view_run */
        const void *body; /* object of route->body_type, zeroed when there was none */
        unsigned status;  /* HTTP status of the answer */
};

/* Decodes the body, runs the view of v->route (ROUTE_READ) and sets v->status. Damage in the state (tx->err)
 * and an answer that is too large become an error list with status 500. */
void view_run(struct view *v, struct blob body);

#endif
