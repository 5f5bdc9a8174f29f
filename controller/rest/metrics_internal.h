/* Inside the metrics (controller/rest/metrics*.c only): writing samples.
 *
 * Threads: pure. Ownership: writes into the caller's buffer. */
#ifndef CONTROLLER_REST_METRICS_INTERNAL_H
#define CONTROLLER_REST_METRICS_INTERNAL_H

#include "controller/rest/metrics.h"

struct label {
        const char *name, *value; /* value NULL is "" */
};
/* "# HELP" and "# TYPE" lines. */
void sample_family(struct buf *out, const char *name, const char *type, const char *help);
void sample_f(struct buf *out, const char *name, const struct label *labels, unsigned labels_n, double value);
void sample_i(
        struct buf *out, const char *name, const struct label *labels, unsigned labels_n, int64_t value);

/* metrics_state.c: everything that comes from the state. */
int metrics_state(const struct metrics_input *in, struct buf *out);
/* metrics_process.c */
void metrics_process(struct buf *out);

#endif
