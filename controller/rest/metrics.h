/* Metrics in Prometheus' text form: LINSTOR's names where they make sense, ours under outrigger_.
 *
 * Threads: metrics_request is called by each HTTP thread with a slot of its own and takes no lock;
 * metrics_render may run on any thread meanwhile and reads what it sees. Ownership: nothing is borrowed
 * beyond a call. */
#ifndef CONTROLLER_REST_METRICS_H
#define CONTROLLER_REST_METRICS_H

#include "raftctl/driver.h"
#include "state/tx.h"
#include "wire/base/buf.h"

struct metrics;
/* slots: HTTP threads. */
struct metrics *metrics_new(unsigned slots);
void metrics_free(struct metrics *m);

/* A request was answered. route: enum route_id, ROUTE_N = none of them. */
void metrics_request(struct metrics *m, unsigned slot, unsigned route, unsigned status, uint64_t duration_ns);
/* Sums over all requests. */
void metrics_totals(const struct metrics *m, uint64_t *ret_requests, uint64_t *ret_4xx, uint64_t *ret_5xx);

struct metrics_input {
        /* local read view; wanted may be NULL when it could not be opened, observed when nothing is known */
        struct tx *wanted, *observed;
        const struct driver_status *status;
        uint64_t now_ms; /* the clock of status */
        unsigned connections, in_flight;
        uint64_t connections_accepted, connections_refused, connections_cut;
        bool resources, storage_pools, error_reports; /* which of the larger parts are wanted */
};
/* Appends everything. Counts as a scrape. Returns the error of a transaction, which leaves its part out. */
int metrics_render(struct metrics *m, const struct metrics_input *in, struct buf *out);

#endif
