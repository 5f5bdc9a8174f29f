/* Invariants of the replicated state. Every reference resolves (wire/def/refs.def); index rows follow from
 * objects, and objects from index rows; DRBD minors, ports of a node and node ids of a resource have one
 * holder; sums of pools equal what is in them; the request ring is whole; each row sits under its own key, in
 * canonical form.
 *
 * Threads: functions of a tx, which they do not write to. Ownership: texts are borrowed for the call. */
#ifndef STATE_CHECK_H
#define STATE_CHECK_H

#include "state/overlay.h"

/* One finding, a sentence that names the rows. */
typedef void state_check_report_fn(void *arg, const char *text);

/* Everything. Returns the number of findings, or a negative error when the state cannot be read. report may
 * be NULL. */
int state_check(struct tx *tx, state_check_report_fn *report, void *arg) MUST_USE;

/* Only what the given keys touch, after they were changed: a state that was sound before is sound when this
 * finds nothing. tx shows the state after the change. Deletions of what others may refer to scan the tables
 * of those. */
int state_check_keys(
        struct tx *tx, const struct blob *keys, size_t n, state_check_report_fn *report, void *arg) MUST_USE;
/* The same for what an overlay changed (through its own view), and for an applied write-set. */
int state_check_changes(struct overlay *o, state_check_report_fn *report, void *arg) MUST_USE;
int state_check_writeset(struct tx *tx, struct blob data, state_check_report_fn *report, void *arg) MUST_USE;

#endif
