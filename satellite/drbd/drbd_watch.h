/* What DRBD says all the time: one long-lived `drbdsetup events2`, read line by line (drbd_events.h). It is started again when it ends, at
 * longer and longer intervals, and ended when it does not tell at once what is there. Until a new one has said everything, what the
 * old one said stands.
 *
 * DRBD 8.4 does not say how far a resync is; while one runs, that is read from /proc/drbd each second.
 *
 * Threads: loop thread. Ownership: the watch owns what it knows; what drbd_watch_find() returns is valid until the next turn. */
#ifndef SATELLITE_DRBD_DRBD_WATCH_H
#define SATELLITE_DRBD_DRBD_WATCH_H

#include <uv.h>

#include "satellite/base/trouble.h"
#include "satellite/drbd/drbd_events.h"

struct drbd_watch;
struct drbd_watch_hooks {
        /* Something has changed about the resource; NULL: about any. */
        void (*changed)(void *arg, const char *rsc_name);
        /* What it says is not understood, or it cannot be run. Not for each line: once until it is well again. */
        void (*failed)(void *arg, const struct trouble *t);
        void (*closed)(void *arg);
        void *arg;
};
/* argv: of the program, NULL at the end, static. */
struct drbd_watch *drbd_watch_open(
        uv_loop_t *loop, const char *const *argv, const struct drbd_watch_hooks *hooks);
void drbd_watch_close(struct drbd_watch *w);
/* NULL: it is not there, or nothing is known yet. */
const struct drbd_resource *drbd_watch_find(const struct drbd_watch *w, const char *rsc_name);
/* Has a device of it lost its disk? And: it was seen to have it again, whatever its events say when they come. */
bool drbd_watch_lost(const struct drbd_watch *w, const char *rsc_name);
void drbd_watch_found(struct drbd_watch *w, const char *rsc_name, uint32_t volume);
/* The arguments for the DRBD of this node. */
const char *const *drbd_watch_program(void);

/* Takes over from the text of 8.4's /proc/drbd how far resyncs are and what is out of sync. Did anything change? */
bool drbd_watch_proc84(struct drbd_events *e, const char *text);

#endif
