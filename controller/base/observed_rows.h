/* What satellites report, as changes of the observed store: rows obs_node, obs_pool, obs_rsc
 * (wire/def/msg_sat.def), and error_report rows that wait to be taken into the replicated state.
 *
 * Pure functions of a write view (struct tx): no clock, no sockets; the simulator uses them too. Storage
 * errors stick to the tx. Everything temporary comes from the caller's arena. */
#ifndef CONTROLLER_BASE_OBSERVED_ROWS_H
#define CONTROLLER_BASE_OBSERVED_ROWS_H

#include "state/table.h"
#include "wire/def/types.h"

/* Error reports that are kept until the cluster has taken them; the oldest names go first beyond that. */
#define OBSERVED_REPORTS_MAX 512

/* Two clocks of this controller: the wall clock, which may be set, and one that only its own time moves. What is due after a time
 * is due when both say so. */
struct obs_clock {
        uint64_t wall_ms, mono_ms;
};
/* A session began: what the satellite said of itself. Keeps the status. */
int observed_hello(
        struct tx *tx, const char *node_name, const struct sat_hello_reply *hello, struct arena *a);
/* Sets status and problem (NULL = none); now is recorded when the status differs from the one before.
 * *ret_changed (may be NULL) says whether anything did. */
int observed_status(struct tx *tx, const char *node_name, enum conn_status status, const char *problem,
        struct obs_clock now, struct arena *a, bool *ret_changed);
/* Takes over one report. Rows belong to node_name whatever the report says: a satellite speaks for itself
 * only. Of resources that are in use since this report, now is recorded. */
int observed_report(struct tx *tx, const char *node_name, const struct sat_report *report,
        struct obs_clock now, struct arena *a);
/* The session ended: what changes by itself is no longer known (in_use, disk states, free space). Device
 * paths and sizes stay. */
int observed_unknown(struct tx *tx, const char *node_name, struct arena *a);
/* The node is no longer part of the cluster. */
int observed_forget(struct tx *tx, const char *node_name, struct arena *a);

/* The row of a node; zeroed with status UNKNOWN when there is none. 0 or a storage error. */
int observed_node_get(struct tx *tx, const char *node_name, struct arena *a, struct obs_node *ret);

#endif
