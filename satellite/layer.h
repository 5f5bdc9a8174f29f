/* One kind of layer behind one vtable: LUKS, and later the caches, NVMe and DRBD. What lies below a stack, STORAGE, is provider.h's.
 * The planner (plan_layers.c) and the runner (run_layers.c) name no kind.
 *
 * A stack of a volume is the array dev.layers, bottom up, without STORAGE. Each layer takes the device of the one below (of the
 * provider for the lowest) and offers one of its own; the top's is the volume's device. What happens to a layer:
 *
 *   make     once: its metadata onto the device below. Never over anything else (`foreign`), and never a second time: `made` is
 *            remembered in the state file, as with backings, so that an emptied device is reported, not formatted
 *   open     its device comes up
 *   grow     its device takes over the size of the device below; it stays in use
 *   close    its device goes down; the data stays
 *   erase    nothing of it remains on the device below (keys above all); it is closed
 *
 * Stacks are made, opened and grown bottom up, closed and erased top down. A satellite may die between any two steps, and inside of
 * one: the next round probes, and goes on from what it finds. So each function looks again before it acts, does nothing when there
 * is nothing left to do, and leaves alone what is not ours. Where the device below is down nothing can be seen (`looked` false):
 * then the planner goes by what is remembered, and make() finds out for itself whether there is something to make.
 *
 * A layer of a whole resource (DRBD, NVMe: one configuration for all its volumes) fits in by its volumes: make and erase are about its
 * metadata on one volume, probe about one volume's device; open, grow and close bring the resource in line (a volume more, in another
 * size, less), which is idempotent, so that the second volume's step finds it done. `dev` names the resource; what else it needs of it
 * is in plan_input.want, and comes with the first such layer.
 *
 * What the node lacks for a kind says missing(); the controllers show it as unsupported layer with that reason.
 *
 * Threads: all functions but missing() block, in pool threads, side by side for different volumes. Ownership: what probe() returns
 * belongs to the arena; everything passed in is borrowed for the call. Errors: 0, or negative with a full explanation in struct
 * trouble; E_LOCKED: a key is needed that this node was not given. */
#ifndef SATELLITE_LAYER_H
#define SATELLITE_LAYER_H

#include "satellite/provider.h"

#define LAYERS_MAX 6 /* of a stack, STORAGE aside */

/* One layer of one volume: what the state file remembers of it, and what was seen of it. */
struct layer_dev {
        enum layer_type type;
        /* Remembered. */
        bool made; /* it was there once */
        /* Seen. */
        bool looked;       /* the device below is up and was looked at; else nothing below is valid */
        bool exists;       /* its metadata is there */
        bool raw;          /* it is not, but its making was interrupted: make() goes on with that */
        bool foreign;      /* something else is on the device below: `found` */
        bool open;         /* its device is there */
        bool in_use;       /* somebody has it open */
        bool lags;         /* open, and smaller than the device below allows */
        uint64_t size_kib; /* of its device, when open */
        const char *device_path;
        const char *found;
};

/* What a function is called for. */
struct layer_vol {
        const struct dev *dev;  /* whose it is: resource, volume, uuids, backing_id */
        bool made;              /* remembered */
        const char *below_path; /* the device of the layer below; NULL when it is down */
        uint64_t below_kib;     /* 0 = unknown */
        const struct strmap
                *props; /* effective properties of the volume; NULL when it is not wanted any more */
};

struct layer {
        enum layer_type type;
        /* What the node lacks, with the remedy; NULL: nothing. */
        const char *(*missing)(struct arena *a);
        /* Fills in what can be seen; type and made are given. below_path NULL: nothing can, and looked stays false. */
        int (*probe)(const struct layer_vol *v, struct arena *a, struct layer_dev *d, struct trouble *t);
        int (*make)(const struct layer_vol *v, struct trouble *t);
        int (*open)(const struct layer_vol *v, struct trouble *t);
        int (*grow)(const struct layer_vol *v, struct trouble *t);
        int (*close)(const struct layer_vol *v, struct trouble *t); /* E_BUSY when in use */
        int (*erase)(
                const struct layer_vol *v, struct trouble *t); /* NULL: wiping the storage takes it along */
};

extern const struct layer layer_luks;

/* NULL when this build cannot drive the kind, and for STORAGE. */
const struct layer *layer_by_type(enum layer_type type);
/* Another one for the kind, until it is called with NULL. For tests, before any other thread starts. */
void layer_replace(enum layer_type type, const struct layer *layer);
/* The layers of a stack as it is wanted (top first, STORAGE at its end or not), bottom up, in the arena. Names that are no layer and
 * what goes beyond LAYERS_MAX are left out: the planner refuses such a resource as a whole. E_TOO_LARGE. */
int layers_of_stack(const char *const *stack, uint32_t n, struct arena *a, struct layer_dev **ret,
        uint32_t *ret_n) MUST_USE;
/* Takes over what `from` remembers of layers of the same kinds. */
void layers_remember(struct layer_dev *to, uint32_t to_n, const struct layer_dev *from, uint32_t from_n);

/* The volume's device: that of the top layer, or the storage's when there is none. NULL and 0 when it is down. */
const char *dev_top_path(const struct dev *d);
uint64_t dev_top_kib(const struct dev *d);
bool dev_top_in_use(const struct dev *d);

#endif
