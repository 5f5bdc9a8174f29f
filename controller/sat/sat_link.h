/* Sessions with the satellites. Every controller keeps one with each node that has a satellite (type
 * SATELLITE or COMBINED): mutual TLS to the node's active address, whatever encryption type LINSTOR's clients
 * gave it. What the satellites report goes into the observed store of this member; the leader also tells them
 * what they are to have.
 *
 * A session: dial (again after a pause that grows to 10 s) -> hello -> hello reply (CONNECTED) -> full report
 * (ONLINE). Both sides speak every second; 5 s of silence end it (OFFLINE). What goes wrong is kept with the
 * node, with the command that mends it.
 *
 * Leader: what changed is collected for each node and sent as a difference, one message in flight; a new
 * leader, a new session and a satellite that asks for it get everything.
 *
 * Threads: loop thread. Ownership: sat_link_open to the callback of sat_link_close; what the configuration
 * points to outlives that. Callbacks (ops) are never called from inside sat_link_open. */
#ifndef CONTROLLER_SAT_SAT_LINK_H
#define CONTROLLER_SAT_SAT_LINK_H

#include <uv.h>

#include "controller/base/observed.h"
#include "controller/sat/sat_wanted.h"
#include "wire/base/env.h"
#include "wire/net/tls.h"

/* Default port of satellites, when an interface names none. */
#define SAT_PORT 3366

struct sat_link_ops {
        /* A read view of the replicated state, NULL when none can be had. */
        struct tx *(*wanted_begin)(void *arg);
        void (*wanted_end)(void *arg, struct tx *tx);
        /* Is this member the leader, and of which term? */
        bool (*leading)(void *arg, uint64_t *ret_term);
};

struct sat_link_config {
        uv_loop_t *loop;
        struct env *env;
        struct tls_ctx *ctx; /* our certificate, the cluster's CA, lets satellites in; a reference is taken */
        const char *cluster_uuid, *controller; /* uuid of the cluster, name of this member; copied */
        struct observed *observed;
        const struct sat_link_ops *ops;
        void *arg;
};

struct sat_link;
/* Starts a session for each node of the present state. 0 or a libuv error. */
int sat_link_open(const struct sat_link_config *config, struct sat_link **ret) MUST_USE;
/* One change of the replicated state that is applied here. */
void sat_link_change(struct sat_link *l, const struct sat_change *c);
/* Anything may have changed (a snapshot was installed, changes were missed). */
void sat_link_change_all(struct sat_link *l);
/* Is it still open whether that node's satellite can be reached? Until the first try since this member began to lead has
 * ended, for 5 s at most; false for nodes that are no satellites. */
bool sat_link_untried(const struct sat_link *l, const char *node_name);
/* The same of any satellite. */
bool sat_link_any_untried(const struct sat_link *l);
/* For a satellite that is not online: is it being dialed, since less than a second, or greeted, since less than five? One that
 * waits for its next dial is dialed now, unless that was done less than half a second ago for a request that came later (wall_ms).
 */
bool sat_link_retry(struct sat_link *l, const char *node_name, int64_t wall_ms);
/* Leadership or term changed. A new leader dials those at once that are not online. */
void sat_link_on_state(struct sat_link *l);
typedef void sat_link_closed_fn(void *arg);
/* Once. l is gone when closed_cb runs, from the loop. */
void sat_link_close(struct sat_link *l, sat_link_closed_fn *closed_cb, void *arg);

#endif
