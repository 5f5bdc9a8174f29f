/* The initiator: one connection of this node with the target of a resource, and the block devices that come with it.
 *
 * The kernel goes on trying a connection that was lost, for ten minutes; then its devices fail, and it is made anew.
 *
 * Threads: any; all block. Ownership: results live in the caller's arena. Errors: negative, explained in struct trouble. */
#ifndef SATELLITE_LAYER_NVME_HOST_H
#define SATELLITE_LAYER_NVME_HOST_H

#include "satellite/layer/nvme_sys.h"

struct nvme_use {
        const char *rsc_name, *host_nqn, *transport, *address, *target;
        uint64_t port;
};
struct nvme_disk {
        uint64_t id; /* of the namespace */
        const char *device_path;
        uint64_t size_kib;
        bool in_use;
};
struct nvme_conn {
        bool there;
        bool right;        /* with the address of the use, if one was given */
        const char *dir;   /* in sysfs */
        const char *state; /* live, connecting, ... */
        const struct nvme_disk *disks;
        uint32_t disks_n;
};

/* host_nqn NULL: of any host. u->address NULL: any. */
int nvme_host_look(const struct nvme_use *u, struct arena *a, struct nvme_conn *ret) MUST_USE;
/* Connects if there is no connection, and waits until the namespaces (ids, with at least sizes_kib) are there. */
int nvme_host_connect(const struct nvme_use *u, const uint64_t *ids, const uint64_t *sizes_kib, uint32_t n,
        struct trouble *t) MUST_USE;
/* Nothing there: 0. E_BUSY: a device is in use. */
int nvme_host_disconnect(const struct nvme_use *u, struct trouble *t) MUST_USE;
const struct nvme_disk *nvme_host_disk(const struct nvme_conn *c, uint64_t id);

#endif
