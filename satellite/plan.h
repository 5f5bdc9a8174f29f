/* What has to be done so that one resource becomes what the cluster wants: plan(wanted, observed) -> steps.
 *
 * Rules:
 *  - Data is removed for two reasons only: a tombstone (struct sat_gone) names the uuid of the resource that
 * the device belongs to; or the wanted resource with that uuid no longer lists the volume, lists it without
 * storage, or lists another volume (by uuid) under its number. A device or a wanted volume without a volume
 * uuid (an older program's) counts as the same. What nobody mentions stays, attached or not, and is reported
 * as an orphan.
 *  - What belongs to nobody that we know is never touched, and neither is what could not be looked at.
 *  - A snapshot is taken only while the saga that wants it holds the resource's I/O, or the resource is down; one that
 * is there is never taken anew, and goes by its tombstone only. A volume that takes the place of an older one
 * from a snapshot removes that when it is whole.
 *  - A device that was there once is never made a second time: its file system may just not be mounted.
 *  - The layers of a volume come up bottom up above its backing, and go down top down before it. A layer that was made once is
 * never made again, and never over something else.
 * A layer of the whole resource is settled between what is below it and what is above it, for all volumes at once; not at all while one
 * of them is not ready.
 *  - What is made from a snapshot with other layers than its own is filled once, before the first layer of the whole resource, or
 * anything else above, comes up.
 *  - Where disks are skipped (the user, or DRBD, has given them up: sat_drbd.skip_disk) nothing is done to what is below DRBD, not even
 * when it is not there; DRBD is settled without touching disks. Going down is as always.
 *  - Steps of one volume (group) follow each other; when one fails, the rest of its group is skipped, other
 * groups go on. Each step is idempotent; after all steps, planning again yields none.
 *
 * Pure: no clock, no system calls. Threads: any. Ownership: the result lives in the caller's arena and shares
 * strings with the input. */
#ifndef SATELLITE_PLAN_H
#define SATELLITE_PLAN_H

#include "satellite/layer/layer.h"

enum step_kind {
        STEP_ADOPT,   /* note the volume's uuid at a backing that was made when volumes had none */
        STEP_CREATE,  /* make the backing with size_kib */
        STEP_ATTACH,  /* bring its block device up */
        STEP_GROW,    /* the backing, to size_kib; it stays in use */
        STEP_SHRINK,  /* downwards; the user asked for it, and its device is down */
        STEP_REFRESH, /* the block device takes over the size of the backing */
        STEP_DETACH,  /* take its block device down */
        STEP_REMOVE,  /* wipe and remove the backing */
        /* Of one layer above it (satellite/layer/layer.h). */
        STEP_MAKE,    /* its metadata, once */
        STEP_OPEN,    /* bring its device up */
        STEP_STRETCH, /* its device takes over the size of the one below */
        STEP_CLOSE,   /* take its device down */
        STEP_ERASE,   /* its metadata */
        STEP_FILL, /* what is below its layers becomes what the source has below others, once (satellite/run_fill.h) */
        STEP_FORMAT, /* the file system on top of all, once (satellite/layer/format.h) */
        /* Of one layer of a whole resource. They wait for all steps of volumes before them, and those after for them. */
        STEP_SETTLE,   /* bring it in line */
        STEP_DISSOLVE, /* take it down */
        /* Snapshots and held I/O. */
        STEP_HOLD,     /* suspend the resource's I/O */
        STEP_LET_GO,   /* and let it run again */
        STEP_SNAPSHOT, /* make dev, a snapshot, of src, a volume */
        STEP_RESTORE,  /* make dev, a volume, from src, a snapshot */
        STEP_REPLACE,  /* the same in the place of an older volume, which goes when the new one is whole */
        STEP_KEEP,     /* what replace would bring is there already: the older volume becomes the new one */
        STEP_N
};
const char *step_name(enum step_kind kind);

struct step {
        enum step_kind kind;
        uint64_t group;    /* volume number */
        struct dev dev;    /* what it is done to, as observed */
        bool seen;         /* and so it is now: no other step was carried out since (set by the runner) */
        uint64_t size_kib; /* CREATE, GROW, SHRINK; RESTORE, REPLACE: at least */
        uint32_t layer;    /* MAKE and what follows: index in dev.layers */
        const struct strmap *props;  /* the same: effective ones of the volume, NULL when it is not wanted */
        const struct dev *src, *old; /* SNAPSHOT, RESTORE, REPLACE, KEEP, FILL: as observed */
        bool quiet;                  /* SNAPSHOT: nothing writes to src meanwhile */
        const struct sat_vlm *vlm;   /* the same */
        const struct sat_rsc *want;  /* the same; HOLD, LET_GO, SETTLE */
        const char *saga;
        enum layer_type whole;          /* SETTLE, DISSOLVE */
        const struct layer_seat *seats; /* SETTLE: what is below is found when it runs */
        uint32_t seats_n;
};

/* A pool that the cluster wants here. place NULL: it cannot be used, its own row says why. */
struct plan_pool {
        const char *name;
        enum provider_kind kind;
        const char *place;
};

struct plan_input {
        const char *rsc_name;
        const struct sat_rsc *want; /* NULL: no resource of this name is wanted */
        const struct sat_gone *gone;
        uint32_t gone_n;
        const struct dev *devs; /* every device of this name that is remembered, and whatever is at the places
                                   that the wanted volumes and the tombstones name */
        uint32_t devs_n;
        const struct layer_whole *wholes; /* layers of whole resources that devs, want or gone have */
        uint32_t wholes_n;
        const struct plan_pool *pools;
        uint32_t pools_n;
        const struct sat_snap *snaps; /* wanted */
        uint32_t snaps_n;
        const char *held;     /* saga for which I/O is held, HOLD_UNKNOWN, or NULL */
        const char *given_up; /* saga for which it must not be held any more, or NULL */
};
#define HOLD_UNKNOWN "?" /* it may be held, since before the satellite started */

struct plan {
        struct step *steps;
        uint32_t steps_n;
        struct trouble
                *troubles; /* what keeps the resource from what is wanted although no step would help */
        uint32_t troubles_n;
        bool orphan; /* there are devices of a uuid that is neither wanted nor gone */
};

/* E_TOO_LARGE when the arena is too small; nothing else fails. */
int plan_resource(const struct plan_input *in, struct arena *a, struct plan *ret) MUST_USE;

/* Is held I/O to go on? That needs no look at devices, which may take long. */
bool plan_lets_go(const struct plan_input *in);
/* Is the tombstone done: does nothing of its uuid remain, and has everything been looked at? */
bool plan_is_gone(const struct sat_gone *g, const struct dev *devs, uint32_t devs_n,
        const struct layer_whole *wholes, uint32_t wholes_n);
/* Was the layer made for the resource with that uuid? What says nothing itself goes with the devices that have it. */
bool plan_whole_is_of(const struct layer_whole *w, const char *uuid, const struct dev *devs, uint32_t devs_n);
/* DONE: every volume is there; troubled: something keeps it from that. */
enum sat_step_state plan_snap_state(
        const struct sat_snap *s, const struct dev *devs, uint32_t devs_n, bool troubled);
const struct plan_pool *plan_pool_find(const struct plan_pool *pools, uint32_t n, const char *name);

#endif
