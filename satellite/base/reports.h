/* Error reports for the cluster: what has failed, once for each distinct failure of each object, and not more
 * than so many in a while. A failure that repeats is not reported again before its object has been well; then
 * again, but not within REPORTS_REPEAT_MS.
 *
 * Pure: time is handed in. Threads: loop thread. Ownership: a plain value without pointers. */
#ifndef SATELLITE_BASE_REPORTS_H
#define SATELLITE_BASE_REPORTS_H

#include "satellite/base/trouble.h"
#include "wire/base/mem.h"

#define REPORTS_KEPT 32        /* the last ones; those that sessions have yet to send are among them */
#define REPORTS_KNOWN 512      /* failures that are remembered */
#define REPORTS_BURST 20       /* at once; */
#define REPORTS_EVERY_MS 30000 /* then one in that time */
#define REPORTS_REPEAT_MS 600000
#define REPORTS_RESEND_MS 600000 /* a new session is sent what is not older */

struct report_entry {
        uint64_t gen; /* 0: free */
        uint64_t at_ms, wall_ms;
        uint32_t number, unsaid; /* failures before it that found no room */
        char object[64];
        struct trouble trouble;
};
struct report_known {
        uint64_t object, failure; /* hashes; 0 0: free */
        uint64_t at_ms;
        bool over; /* the object has been well since */
};
struct report_log {
        struct report_entry entries[REPORTS_KEPT];
        uint32_t next; /* of the ring */
        struct report_known known[REPORTS_KNOWN];
        uint32_t known_n; /* objects that fail: nothing to do in reports_well() while there are none */
        uint32_t number, unsaid, spent;
        uint64_t refilled_ms;
};

/* object: "resource r", "pool p". True when it is to be reported: its generation is *gen + 1 then, and *gen
 * grows. */
bool reports_add(struct report_log *l, const char *object, const struct trouble *t, uint64_t now_ms,
        uint64_t wall_ms, uint64_t *gen);
/* The object has no trouble any more. */
void reports_well(struct report_log *l, const char *object);
/* Those after generation `after`, or for a new session (full) all that are recent, oldest first. In the
 * arena. E_TOO_LARGE. */
int reports_fill(const struct report_log *l, const char *node_name, bool full, uint64_t after,
        uint64_t now_ms, struct arena *a, struct error_report **ret, uint32_t *ret_n) MUST_USE;

#endif
