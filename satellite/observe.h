/* What is there: asks the providers, and finds out whose each device is.
 *
 * A device belongs to the resource that its own mark names; one without a mark (file systems without extended
 * attributes) to the one that the state file has for that place, if it was made; else to nobody.
 *
 * Threads: everything blocks; pool threads. Ownership: results live in the caller's arena. */
#ifndef SATELLITE_OBSERVE_H
#define SATELLITE_OBSERVE_H

#include "satellite/plan.h"

/* Fills in in->devs from in->devs (what is remembered; device_path is a hint), and everything at the places
 * that the wanted volumes and the tombstones name. Places that cannot be looked at give devices that are
 * `unknown`. E_TOO_LARGE when the arena is too small. */
int observe_resource(struct plan_input *in, struct arena *a) MUST_USE;

struct observed_pool {
        struct trouble trouble; /* err 0: the pool is usable */
        struct pool_info info;
        struct dev *devs; /* everything there */
        uint32_t devs_n;
        bool listed;
};
/* list: the devices, too, and not the space alone. */
void observe_pool(
        enum provider_kind kind, const char *place, bool list, struct arena *a, struct observed_pool *ret);

#endif
