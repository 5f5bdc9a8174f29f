/* The work of one backup on this node: an upload reads the snapshot's volumes, sends each as an object in parts, and writes the
 * description last, so that a backup without one is none; a download makes the snapshot out of the objects. Begun anew after a
 * restart, an upload first ends what is left of the earlier one.
 *
 * Threads: one of its own; `cancel` and `done_kib` are shared. Ownership: what it points to is borrowed. */
#ifndef SATELLITE_SHIP_JOB_H
#define SATELLITE_SHIP_JOB_H

#include <stdatomic.h>

#include "satellite/provider.h"
#include "wire/net/s3.h"

struct ship_place {
        enum provider_kind kind;
        const char *place; /* NULL: the pool cannot be used */
};
struct ship_work {
        const struct sat_ship *ship;
        const struct ship_place *places; /* one for each volume */
        atomic_bool cancel;
        _Atomic uint64_t done_kib;
};
/* 0, or negative with the explanation. */
int ship_job_run(struct ship_work *w, struct trouble *t) MUST_USE;

#endif
