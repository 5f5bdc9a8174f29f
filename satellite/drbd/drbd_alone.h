/* Connections that DRBD 9 gave up by itself (StandAlone) though nobody's data are in doubt: which they are, when they are connected again,
 * and how the round that does it hears of it.
 *
 * Who gave a connection up the kernel does not say: an administrator's disconnect and a failure both go through Disconnecting. What was
 * before tells, mostly. DRBD gives up while it shakes hands (not connected yet, though a path is up) and when a resync begins or runs;
 * people cut what is connected and in sync, or what does not come up at all. Cut by hand during a resync, a connection comes back; the
 * setting satellite.connect_again is for those who do not want that. With a split brain nothing is tried.
 *
 * Tried after 10 s, then after twice as long each time, up to 10 min; from the beginning again once it has been connected for a minute.
 *
 * Threads: drbd_alone_step() and drbd_alone_gave_up() are pure, the rest may be called from any. Ownership: plain values. */
#ifndef SATELLITE_DRBD_DRBD_ALONE_H
#define SATELLITE_DRBD_DRBD_ALONE_H

#include <stdbool.h>
#include <stdint.h>

#define DRBD_ALONE_FIRST_MS 10000u
#define DRBD_ALONE_MAX_MS 600000u
#define DRBD_ALONE_WELL_MS 60000u

/* Of two states of a connection that follow each other: did DRBD give it up with that? syncing: some volume was, before; path_up: the
 * transport had a path. Asked for the step that leaves all other states for Disconnecting or StandAlone. */
bool drbd_alone_gave_up(const char *before, const char *now, bool syncing, bool path_up);
bool drbd_alone_is_over(const char *connection); /* Disconnecting, StandAlone */

enum drbd_alone_state {
        DRBD_ALONE_LEFT,     /* it is left alone: cut by hand, a split brain, not wanted */
        DRBD_ALONE_TRYING,   /* DRBD sees to it */
        DRBD_ALONE_GIVEN_UP, /* it stands alone, and should not */
        DRBD_ALONE_CONNECTED,
};
/* Zero-initialised: nothing is the matter. */
struct drbd_alone {
        uint32_t node_id; /* of the peer; the caller's */
        unsigned tries;   /* since it was connected for long enough */
        uint64_t again_ms, well_ms,
                due_ms; /* due_ms: when to ask again although nothing has changed; 0 = never */
};
/* True: it is to be connected now, which counts as a try. */
bool drbd_alone_step(struct drbd_alone *a, enum drbd_alone_state state, uint64_t now_ms);
/* Nothing is the matter with it (any more). */
bool drbd_alone_is_idle(const struct drbd_alone *a);

/* The next round of the resource connects it, whatever comes of that. */
void drbd_alone_ask(const char *rsc_name, uint32_t node_id);
bool drbd_alone_asked(const char *rsc_name, uint32_t node_id);
void drbd_alone_answered(const char *rsc_name, uint32_t node_id);
void drbd_alone_forget(const char *rsc_name); /* the resource is gone */

#endif
