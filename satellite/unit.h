/* Everything that the satellite knows of one resource name: what is wanted, which tombstones there are, which
 * devices exist or existed, how the last round of work went, and the row that reports it. A table of them by
 * name.
 *
 * Threads: loop thread. Ownership: the table owns units; a unit owns three arenas, each replaced as a whole.
 */
#ifndef SATELLITE_UNIT_H
#define SATELLITE_UNIT_H

#include "satellite/drbd/drbd_alone.h"
#include "satellite/plan.h"
#include "wire/base/buf.h"
#include "wire/base/list.h"

enum aside_kind { ASIDE_LIMITS, ASIDE_FILES, ASIDE_N };

struct unit {
        struct list chain; /* of its hash bucket */
        struct list ready; /* in the manager's queue when it is to be worked on */
        char *name;
        /* What is wanted; replaced by unit_set_wanted(). */
        struct arena want_arena;
        struct sat_rsc *want; /* or NULL */
        struct sat_gone *gone;
        bool *gone_done; /* for each: nothing is left of it */
        uint32_t gone_n;
        struct sat_snap *snaps; /* by name */
        uint32_t snaps_n;
        /* Held I/O (hold.h): for which saga, HOLD_UNKNOWN, or NULL; since when; the saga given up last, or NULL. */
        char *held, *given_up;
        uint64_t held_ms;
        uint64_t stamp; /* of the last wanted state that named it */
        uint64_t seq;   /* the state file must have got that far before anything is done */
        /* What is there; replaced by unit_set_devs(). */
        struct arena dev_arena;
        struct dev *devs;
        uint64_t *seen; /* for each: number of the last scan of its pool that found it */
        uint32_t devs_n;
        /* Its layers of whole resources; replaced by unit_set_wholes(). */
        struct arena whole_arena;
        struct layer_whole *wholes;
        uint32_t wholes_n;
        /* The last round of work; replaced by unit_set_troubles(). */
        struct trouble *troubles;
        uint32_t troubles_n;
        /* What goes on beside rounds, and holds nothing up; replaced by unit_set_aside(). */
        struct aside {
                struct trouble *list;
                uint32_t n;
        } aside[ASIDE_N];
        uint64_t limits_stamp; /* of the look that said so */
        bool orphan;
        enum sat_step_state state;
        bool running, again; /* again: something changed while it ran */
        bool waits;          /* for copies (provider/copies.h): it goes on when one ends */
        bool late;           /* the round has passed its deadline and is still running */
        unsigned failures;   /* in a row */
        uint64_t retry_at_ms;
        struct drbd_alone
                *alone; /* connections that DRBD gave up, until they are well again (keep_connected.c) */
        uint32_t alone_n;
        uint64_t alone_due_ms; /* when to look at them although nothing has changed; 0 = never */
        uint64_t settled_at;   /* number of the scan that began last before the round ended: older ones know
                                less */
        /* Reporting. */
        struct buf row; /* as last reported */
        uint64_t row_gen;
        bool dropped; /* nothing more to report; kept until every controller was told */
};

#define UNIT_BUCKETS 4096
struct unit_table {
        struct list buckets[UNIT_BUCKETS];
        uint32_t n;
};
void unit_table_init(struct unit_table *t);
void unit_table_done(struct unit_table *t);
/* Any case. NULL when there is none. */
struct unit *unit_find(const struct unit_table *t, const char *name);
/* Finds or makes. */
struct unit *unit_get(struct unit_table *t, const char *name);
void unit_free(struct unit_table *t, struct unit *u);
#define UNIT_FOREACH(u, t)                                                                             \
        for (uint32_t b_ = 0; b_ < UNIT_BUCKETS; b_++)                                                 \
                for (struct list *i_ = (t)->buckets[b_].next, *n_ = i_->next;                          \
                        i_ != &(t)->buckets[b_] && ((u) = container_of(i_, struct unit, chain), true); \
                        i_ = n_, n_ = n_->next)

struct unit_wish {
        const struct sat_rsc *want;
        const struct sat_gone *gone;
        uint32_t gone_n;
        const struct sat_snap *snaps;
        uint32_t snaps_n;
};
/* Takes copies; NULL and 0 are fine. What was done of tombstones with the same uuid is kept.
 * E_TOO_LARGE. */
int unit_set_wanted(struct unit *u, const struct unit_wish *w) MUST_USE;
/* Takes copies. */
void unit_set_devs(struct unit *u, const struct dev *devs, uint32_t n);
void unit_set_wholes(struct unit *u, const struct layer_whole *wholes, uint32_t n);
void unit_set_troubles(struct unit *u, const struct trouble *troubles, uint32_t n);
/* False: they were the same. */
bool unit_set_aside(struct unit *u, enum aside_kind kind, const struct trouble *troubles, uint32_t n);

/* The same wanted volume as the device's, with storage? */
bool unit_wants_dev(const struct unit *u, const struct dev *d);
/* Is it of a snapshot that is wanted? */
bool unit_wants_snap(const struct unit *u, const struct dev *d);
/* Nothing is wanted, nothing is left, nothing is to be confirmed. */
bool unit_is_void(const struct unit *u);
uint64_t unit_revision(const struct unit *u);

#endif
