/* The backups that this node is to send or to receive (satellite/ship/ship_job.h): as the leader names them, SHIPS_AT_ONCE at a time (and as many
 * that receive from another cluster), the others wait. One that is not named any more is stopped. They live in memory only: after a restart the leader names them again, and
 * they begin anew.
 *
 * Threads: loop thread; each job has a thread of its own. Ownership: the caller frees nothing; closed fires when all threads have
 * ended, which takes as long as a request that is under way needs to be broken off. */
#ifndef SATELLITE_SHIP_SHIPS_H
#define SATELLITE_SHIP_SHIPS_H

#include <uv.h>

#include "satellite/ship/ship_job.h"

#define SHIPS_AT_ONCE 2u

struct ships;
struct ships_hooks {
        /* Where the pool is. */
        struct ship_place (*place)(void *arg, const char *pool_name);
        /* Something about it has changed. rsc_name: a snapshot of it was received; else NULL. */
        void (*changed)(void *arg, const char *rsc_name);
        void (*closed)(void *arg);
        void *arg;
};
struct ships *ships_open(uv_loop_t *loop, const struct ships_hooks *hooks);
void ships_take(struct ships *s, const struct sat_ships *wanted);
/* Lives in the arena. E_TOO_LARGE. */
int ships_report(const struct ships *s, struct arena *a, struct obs_ships *ret) MUST_USE;
/* Are there none? */
bool ships_idle(const struct ships *s);
void ships_close(struct ships *s);
/* Nothing of the keys stays in a message. */
void ships_wipe_one(const struct sat_ship *s);

#endif
