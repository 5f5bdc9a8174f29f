/* The target: a subsystem of nvmet with a namespace for each volume, offered at one port of the node.
 *
 * A port (transport, address, number) belongs to all subsystems that are offered there. Ports that this program made have numbers
 * from NVME_PORTS_FROM on, and go with their last subsystem; one that somebody else made is used, and stays. Namespaces and
 * subsystem keep their identifiers over a reboot, so that an initiator that waits goes on with them.
 *
 * Threads: any; all block. Ownership: everything is borrowed. Errors: negative, explained in struct trouble. */
#ifndef SATELLITE_LAYER_NVME_TARGET_H
#define SATELLITE_LAYER_NVME_TARGET_H

#include "satellite/layer/nvme_sys.h"

#define NVME_PORTS_FROM 20000u
#define NVME_PORTS_TO 20999u

struct nvme_ns {
        uint64_t id; /* from 1 */
        const char *path, *uuid;
};
struct nvme_offer {
        const char *rsc_name, *transport, *address;
        const char *uuid; /* of the resource */
        uint64_t port;
        const struct nvme_ns *ns;
        uint32_t ns_n;
};

/* Is there a subsystem for the resource? */
bool nvme_target_there(const char *rsc_name);
/* Is the device offered as that namespace? */
bool nvme_target_has(const char *rsc_name, uint64_t id, const char *path);
/* Is exactly this offered? */
bool nvme_target_is(const struct nvme_offer *o);
int nvme_target_offer(const struct nvme_offer *o, struct trouble *t) MUST_USE;
/* Initiators lose it. Nothing there: 0. */
int nvme_target_withdraw(const char *rsc_name, struct trouble *t) MUST_USE;
/* Tells initiators that the device of a namespace has another size. */
int nvme_target_resized(const char *rsc_name, uint64_t id, struct trouble *t) MUST_USE;

#endif
