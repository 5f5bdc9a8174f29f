/* The controller as a whole: a Raft member, the observed store, sessions with satellites, waiting answers,
 * reconcilers and the REST server, tied together on one loop. A witness is the member alone.
 *
 * Threads: loop thread; the HTTP threads come in through struct rest_backend's view functions only.
 * Ownership: app_open to the callback of app_close, also after an app_open that failed with *ret set. */
#ifndef CONTROLLER_APP_H
#define CONTROLLER_APP_H

#include <stdbool.h>
#include <uv.h>

#include "wire/base/err.h"

#define APP_EXIT_FATAL 70 /* the member cannot go on; the service manager starts it again */

struct app_config {
        uv_loop_t *loop;
        const char *dir;     /* data directory: certificates, identity, store */
        const char *run_dir; /* exists; sockets and the observed store */
        const char *raft_listen, *http_listen, *https_listen; /* NULL or "": see controller/config.def */
        const char *config_dir, *log_level;                   /* for display */
        bool heal; /* a damaged store is fetched anew from the others */
        unsigned election_ms, heartbeat_ms, snapshot_entries, http_threads, promote_after_s;
        uint64_t level_raise_ms; /* as in struct member_config */
        bool unix_socket;
        bool witness; /* a voter only: no REST, no satellites */
        bool is_volatile;
        uint64_t witness_log_bytes;
};

struct app;
/* Errors of its parts; f has cause and remedy. */
int app_open(const struct app_config *config, struct app **ret, struct fail *f) MUST_USE;
/* Name of this member. */
const char *app_name(const struct app *a);
/* Before app_open: the master passphrase that the administrator has left, from MASTER_PASSPHRASE in the environment, which is wiped, or
 * from the first line of file ("": none). Kept in locked memory until the cluster is unlocked. E_CONFIG, -errno. */
int app_passphrase_take(const char *file, struct fail *f) MUST_USE;
typedef void app_closed_fn(void *arg);
/* Leaves in order: hands leadership over, finishes what is in flight, closes everything within a few seconds.
 * a is gone when closed_cb runs, from the loop. Once. */
void app_close(struct app *a, app_closed_fn *closed_cb, void *arg);

#endif
