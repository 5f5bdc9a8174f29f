/* Shared by the files of the planner: plan.c (backings), plan_layers.c (what is stacked on them), plan_snap.c (snapshots, volumes
 * made from them, held I/O). Threads and ownership: see plan.h. */
#ifndef SATELLITE_PLAN_INTERNAL_H
#define SATELLITE_PLAN_INTERNAL_H

#include "satellite/plan.h"

#define PLAN_STEPS_MAX (7 + 3 * LAYERS_MAX) /* for one device */
/* Groups beside those of volumes, whose numbers are small. */
#define GROUP_SNAP UINT64_MAX
#define GROUP_LET_GO (UINT64_MAX - 1)
#define GROUP_WHOLE (UINT64_MAX - 2)

/* A wanted volume whose layers come up. */
struct rise {
        const struct dev *d;
        const struct sat_vlm *v;
        bool grew;  /* what is below the next layer is larger than it was */
        bool stuck; /* a trouble says why */
};
/* A device whose layers go down. */
struct fall {
        const struct dev *d;
        bool erase, detach, remove; /* afterwards */
        const struct sat_vlm
                *v; /* wanted as that, on the way down only; NULL: its data is not needed any more */
};

struct planner {
        const struct plan_input *in;
        struct plan *out;
        struct arena *arena;
        uint32_t steps_cap, troubles_cap;
        struct rise *rises;
        struct fall *falls;
        uint32_t rises_n, falls_n;
};

struct step *plan_add_step(struct planner *p, enum step_kind kind, uint64_t group, const struct dev *d);
struct trouble *plan_add_trouble(struct planner *p, int64_t volume);
/* "Resource r, volume n: text"; the caller adds cause and remedy. Returns E_INVALID. */
int plan_volume_trouble(
        struct planner *p, uint64_t volume, struct trouble **ret, enum trouble_code code, const char *text);

/* The storage that net_kib take below the wanted resource's layers. */
uint64_t plan_storage_kib(const struct planner *p, const struct sat_vlm *v, uint64_t net_kib);

/* plan_layers.c. Notes a wanted volume whose layers are to be up; the backing is, or a step before brings it up; grew: it is larger
 * than it was. */
void plan_layers_up(struct planner *p, const struct dev *d, const struct sat_vlm *v, bool grew);
/* Brings all up that were noted, layer by layer. */
void plan_rise(struct planner *p);
/* Notes a device whose layers are to be down. */
void plan_layers_down(struct planner *p, const struct fall *f);
/* Takes all down that were noted, layer by layer, and then their backings. */
void plan_fall(struct planner *p);
/* Is there a layer that leaves something which has to be erased before the backing goes? */
bool plan_layers_to_erase(const struct dev *d);
/* The same layers for a backing that is about to be made: nothing is there yet. */
struct layer_dev *plan_layers_fresh(struct planner *p, const struct dev *d);

/* plan_whole.c. The wanted resource's layer, for all its volumes. */
void plan_settle(struct planner *p, enum layer_type type);
/* The same without a look at what is below: disks are skipped. */
void plan_settle_skipping(struct planner *p);
/* For the volumes that stay, of those that have it; or dissolves it. */
void plan_unsettle(struct planner *p, enum layer_type type);
/* Those of deleted resources (gone), or of the wanted one, that no noted device has. */
void plan_whole_down(struct planner *p, bool gone);
/* Is the name of a layer taken by something else? Says so. */
bool plan_whole_foreign(struct planner *p, enum layer_type type);
const struct layer_whole *plan_whole(const struct plan_input *in, enum layer_type type);
bool plan_is_active(const struct plan_input *in);
/* Does the wanted resource have the device, as the volume v? */
bool plan_is_its(const struct plan_input *in, const struct dev *d, const struct sat_vlm *v);

/* plan_snap.c. How many steps and troubles at most the functions below add to those of the volumes. */
void plan_snap_room(const struct plan_input *in, uint32_t *steps, uint32_t *troubles);
/* Takes up or gives up holding; first of all steps. */
void plan_hold(struct planner *p);
/* What is wanted of snapshots. */
void plan_snapshots(struct planner *p);
/* Is the device an older volume that goes when the wanted one has been made in its place? */
bool plan_is_replaced(const struct plan_input *in, const struct dev *d);
/* The snapshot that a wanted volume at the place of d is made from; NULL: it is not there, or another one. */
const struct dev *plan_source(const struct planner *p, const struct sat_vlm *v, const struct dev *d);
/* The wanted volume is to be a copy of a snapshot. False: that cannot be used, a trouble says so. */
bool plan_can_copy(struct planner *p, const struct sat_vlm *v, const struct dev *fresh);
/* The wanted volume is to be made from a snapshot. fresh: what it will be; old: what is at its place. Its layers come up in the
 * next plan, which looks at what the snapshot has brought of them. */
void plan_from_source(struct planner *p, const struct sat_vlm *v, const struct dev *fresh,
        const struct dev *old, uint64_t size_kib, bool active);

#endif
