/* The satellite as a whole: lock, certificates, manager, sessions; without signals and options, so that tests
 * run it in process.
 *
 * Threads: loop thread. Ownership: the app frees itself after closed. */
#ifndef SATELLITE_APP_H
#define SATELLITE_APP_H

#include <uv.h>

#include "satellite/manager.h"
#include "satellite/session.h"

struct app;
struct app_config {
        uv_loop_t *loop;
        struct env *env;
        const char *dir;                          /* certificates (wire/net/pki_dir.h) and state */
        const struct sockaddr_storage *addresses; /* as in struct session_config */
        uint32_t addresses_n;
        unsigned retry_first_ms, scan_every_ms; /* 0 = as usual */
        const char *cgroup_dir;                 /* NULL = as usual */
        const char *allow_ext_files;            /* directories (satellite/extfile.h); NULL = none */
        bool leave_alone;                       /* as in struct manager_config */
};
typedef void app_closed_fn(void *arg);

/* E_NOT_FOUND: the node has not joined a cluster. E_BUSY: another satellite runs on the directory. */
int app_open(const struct app_config *c, struct app **ret, struct fail *f) MUST_USE;
/* Sessions end, work stops after the current steps; devices stay up. */
void app_close(struct app *a, app_closed_fn *closed, void *arg);
const char *app_node_name(const struct app *a);
void app_address(const struct app *a, uint32_t i, struct sockaddr_storage *ret);

#endif
