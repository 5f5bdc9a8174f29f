/* The satellite's device manager: takes wanted states, keeps them on disk, lets one round of work
 * (satellite/run.h) run for each resource that may differ, looks at the pools now and then, and has the rows
 * that sessions report.
 *
 * Happy path: manager_take() merges a wanted state in memory and starts to save it; when it is durable,
 * changed() fires and the resources that changed get a round each, MANAGER_ROUNDS at a time; each round's
 * outcome changes rows, and changed() fires again. Failures: a save that fails is repeated every few seconds,
 * and nothing newer is acted on until it succeeds; a round that fails is repeated with back-off (15 s up to
 * 30 min), at once when its wanted state changes or its pool recovers; a round or scan that passes its
 * deadline cannot be stopped (a dead file system holds it): it is reported, gives its place to others, and
 * counts when it ends after all.
 *
 * What was accepted is remembered by sequence numbers, so that nobody has to be called back: a session asks
 * manager_durable(seq) each time changed() fires.
 *
 * Threads: loop thread. Ownership: the caller frees nothing but the manager, from closed on. */
#ifndef SATELLITE_MANAGER_H
#define SATELLITE_MANAGER_H

#include <uv.h>

#include "wire/base/env.h"
#include "wire/base/err.h"
#include "wire/def/types.h"

#define MANAGER_ROUNDS 4   /* at the same time */
#define MANAGER_SCANS 2    /* of pools, at the same time */
#define MANAGER_LATE_MAX 6 /* rounds and scans past their deadline; beyond, nothing new is begun */
/* Threads that the pool of libuv needs (UV_THREADPOOL_SIZE): the above, one that saves, and some for others.
 */
#define MANAGER_THREADS (MANAGER_ROUNDS + MANAGER_SCANS + MANAGER_LATE_MAX + 3)

struct manager;

struct manager_config {
        const char *dir; /* of the state; exists and is locked */
        const char *node_name;
        const char *cluster_uuid;    /* of the own certificate */
        unsigned round_deadline_ms;  /* 0 = 120 s */
        unsigned scan_every_ms;      /* 0 = 10 s */
        unsigned retry_first_ms;     /* 0 = 15 s; then 2, 4, 8, 20, 40, 120 times that */
        const char *cgroup_dir;      /* where control groups are mounted; NULL = THROTTLE_ROOT */
        const char *allow_ext_files; /* directories (satellite/extfile.h); NULL = none */
        bool leave_alone;            /* what DRBD gave up is not connected again */
};
/* Something may be reported or has become durable. Always from the loop, never from inside a call. */
typedef void manager_changed_fn(void *arg);
typedef void manager_closed_fn(void *arg);

/* Reads the state from disk and begins to bring everything up. Damage of the state is no error
 * (manager_damage() tells); a disk that cannot be read is. */
int manager_open(uv_loop_t *loop, struct env *env, const struct manager_config *config,
        manager_changed_fn *changed, void *arg, struct manager **ret, struct fail *f) MUST_USE;
/* Rounds stop after their current step; devices stay up. closed fires once when all is at rest; the manager
 * is freed. */
void manager_close(struct manager *m, manager_closed_fn *closed);

/* E_FENCED (older term), E_STALE (does not continue what is there: send everything), E_AUTH (another
 * cluster), E_INVALID, E_TOO_LARGE. 0: taken in memory; durable when manager_durable(*ret_seq) says so. */
int manager_take(struct manager *m, const struct sat_wanted *w, uint64_t *ret_seq, struct fail *f) MUST_USE;
/* Keys of volumes, from the leader of that term; kept in memory only (satellite/layer/keyring.h). Resources that may have waited for one
 * are worked on at once. Those of an older term are not taken. */
void manager_take_keys(struct manager *m, const struct sat_keys *k);
/* Backups that are on their way, from the leader of that term. Those of an older term are not taken. */
void manager_take_ships(struct manager *m, const struct sat_ships *s);
/* 1 yes, 0 not yet, negative: the last attempt to save failed with that (it is being repeated). */
int manager_durable(const struct manager *m, uint64_t seq);
/* Was the controller with that certificate (SHA-256, hexadecimal) removed from the cluster, as far as is known here? */
bool manager_controller_removed(const struct manager *m, const char *fingerprint);
uint64_t manager_revision(const struct manager *m);     /* durable */
uint64_t manager_highest_term(const struct manager *m); /* seen */

/* Everything that changed after generation *gen, or everything when full; *gen becomes what is in it. Lives
 * in the arena and shares strings with the manager: encode it at once. *ret_any false: there is nothing.
 * E_TOO_LARGE. */
int manager_report(struct manager *m, bool full, uint64_t *gen, struct arena *a, struct sat_report *ret,
        bool *ret_any) MUST_USE;
/* Every session has reported up to gen: rows of things that are no more may be forgotten. */
void manager_reported(struct manager *m, uint64_t gen);
/* Grows when sessions have to send everything again (a pool is gone). */
uint64_t manager_full_epoch(const struct manager *m);
/* caps_mark() of what the node can do, as it was seen last; 0 = not yet. */
uint64_t manager_caps(const struct manager *m);
/* "" or what happened to the state file at the start. */
const char *manager_damage(const struct manager *m);

#endif
