/* Where the kernel shows and takes things about NVMe over fabrics, and the few calls that are made there.
 *
 * The target is driven by configfs, the initiator by /dev/nvme-fabrics and sysfs: each is a line or two to write, and the kernel
 * bounds how long a connection is tried. Neither nvmetcli nor libnvme is used: Debian 12 does not have the former, and the latter
 * would add a library for one line.
 *
 * Tests have directories of their own in the place of these, and hooks that do what the kernel would.
 *
 * Threads: any; all block. nvme_world is set before any other thread starts. Ownership: results live in the caller's arena. Errors:
 * 0, or a positive errno. */
#ifndef SATELLITE_LAYER_NVME_SYS_H
#define SATELLITE_LAYER_NVME_SYS_H

#include "satellite/base/trouble.h"
#include "wire/base/mem.h"

#define NVME_NQN_PREFIX "LS-NVMe_" /* and the resource's name: LINSTOR's */

struct nvme_world {
        const char *configfs; /* of nvmet */
        const char *block;    /* all block devices */
        const char *hosts;    /* controllers of the initiator */
        const char *fabrics;  /* where connections are asked for */
        unsigned wait_ms;     /* for devices to come and go */
        /* Hooks, NULL: the kernel does it. */
        void (*made)(const char *dir);                     /* a directory was made: its attributes appear */
        void (*going)(const char *dir);                    /* it goes now: they vanish */
        void (*wrote)(const char *path, const char *text); /* an attribute was written */
        int (*connect)(const char *line);
};
extern struct nvme_world nvme_world;

/* The whole text without its newline; "" when it cannot be read. */
const char *nvme_get(const char *path, struct arena *a);
int nvme_put(const char *path, const char *text);
int nvme_mkdir(const char *path); /* 0 also when it is there */
int nvme_rmdir(const char *path); /* 0 also when it is not */
int nvme_link(const char *target, const char *path);
int nvme_unlink(const char *path);
bool nvme_is_there(const char *path);
/* Names in a directory, without those that begin with a dot. */
int nvme_list(const char *path, struct arena *a, const char ***ret, uint32_t *ret_n);
int nvme_ask(const char *line);
/* Loads modules if `path` is not there yet; names NULL at the end. */
void nvme_load(const char *path, const char *const *modules);
void nvme_pause(void);

#endif
