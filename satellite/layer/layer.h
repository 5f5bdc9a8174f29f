/* One kind of layer behind one vtable: LUKS, the caches, NVMe and DRBD. What lies below a stack, STORAGE, is provider.h's.
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
 * A layer may need devices beside the one below: caches. They are volumes of their own (dev.extras), made and attached before the
 * layers of their volume, detached and removed after them. close() of a volume that is kept leaves nothing in a cache that the
 * device below lacks.
 *
 * A layer of a whole resource (DRBD, NVMe: one configuration for all its volumes) has three functions of its own in the place of
 * open and close; the rest stays about single volumes.
 *
 *   look      what is there of it: whose, whether it is as wanted
 *   settle    brings all of it in line with what is wanted, by idempotent commands: volumes come, go and change with it
 *   dissolve  nothing of it is left but what make() wrote
 *
 * It is settled when the devices below are there for all volumes (made, opened and grown up to it; its own metadata made), and
 * what is above it comes up after that. Going down, what is above closes first, then it is settled without the volumes that go, or
 * dissolved, then what is below closes. Volumes without storage on this node take part without a device.
 *
 * Where disks are skipped (sat_drbd.skip_disk, see plan.h) all volumes take part in settling as they are, whatever is below them.
 *
 * What the node lacks for a kind says missing(); the controllers show it as unsupported layer with that reason.
 *
 * Threads: all functions but missing() block, in pool threads, side by side for different volumes. Ownership: what probe() returns
 * belongs to the arena; everything passed in is borrowed for the call. Errors: 0, or negative with a full explanation in struct
 * trouble; E_LOCKED: a key is needed that this node was not given. */
#ifndef SATELLITE_LAYER_LAYER_H
#define SATELLITE_LAYER_LAYER_H

#include "satellite/provider/provider.h"

#define LAYERS_MAX 6 /* of a stack, STORAGE aside */

/* One layer of one volume: what the state file remembers of it, and what was seen of it. */
struct layer_dev {
        enum layer_type type;
        /* Remembered. */
        bool made; /* it was there once */
        /* Seen. */
        bool looked;  /* the device below is up and was looked at; else nothing below is valid */
        bool exists;  /* its metadata is there */
        bool raw;     /* it is not, but its making was interrupted: make() goes on with that */
        bool foreign; /* something else is on the device below: `found` */
        bool open;    /* its device is there */
        bool in_use;  /* somebody has it open */
        bool lags;    /* open, and smaller than the device below allows; or not as it should be */
        bool dated; /* open, and grow() has something to do that changes no size: what is above does not take part */
        const char *broken; /* open, but it has met errors that do not go away by themselves: what it says */
        const char *cache_path, *meta_path; /* devices beside the volume, when they are up */
        bool discard_known; /* of DRBD: discard_bytes, of the device below, 0 = it takes none */
        uint64_t discard_bytes;
        bool key_known; /* of LUKS: key_id, that of luks_keys.h */
        uint64_t key_id;
        uint64_t size_kib; /* of its device, when open */
        const char *device_path;
        const char *found;
};

/* A layer of a whole resource, as it was seen. What is true of one volume is in that volume's layer_dev as well. */
struct layer_top {
        uint64_t volume_number;
        const char *device_path;
        uint64_t size_kib;
        bool in_use;
        bool has_disk;
};
struct layer_whole {
        enum layer_type type;
        bool looked;                  /* else nothing below is valid */
        bool exists;                  /* something of it is here: a configuration, an object of the kernel */
        const char *uuid;             /* of the resource that it was made for; NULL: nothing says that */
        bool settled;                 /* it is as wanted: settle() would do nothing */
        const struct layer_top *tops; /* the devices that are there */
        uint32_t tops_n;
};

/* What a function of a whole resource is called for. */
struct layer_seat {
        const struct sat_vlm *vlm;
        const struct dev *dev;  /* NULL: no storage of it on this node */
        const char *below_path; /* NULL: there is none, or it is down */
        uint64_t below_kib;
        bool made; /* the layer's metadata, remembered */
};
struct layer_rsc {
        const char *rsc_name;
        const struct sat_rsc *want;     /* NULL: the resource goes, or is taken down */
        const struct layer_seat *seats; /* of those volumes that are to take part */
        uint32_t seats_n;
};

/* What a function is called for. */
struct layer_vol {
        const struct dev *dev;  /* whose it is: resource, volume, uuids, backing_id */
        bool made;              /* remembered */
        const char *below_path; /* the device of the layer below; NULL when it is down */
        uint64_t below_kib;     /* 0 = unknown */
        const struct strmap *
                props; /* effective properties of the volume; NULL when it is not wanted any more: its data need not be kept */
        const struct sat_vlm *vlm;  /* the same */
        const struct sat_rsc *want; /* and its resource */
};
/* The device of that kind beside the volume; NULL when it is down. */
const char *layer_extra_path(const struct layer_vol *v, enum layer_extra extra);

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
        /* Closes its devices of volumes whose backings' names begin so, whatever is below them; nobody wants them. NULL: it never has any. */
        int (*close_named)(const char *prefix, struct trouble *t);
        /* Of a whole resource: all three, and no open and close. */
        int (*look)(const struct layer_rsc *r, struct arena *a, struct layer_whole *w, struct trouble *t);
        int (*settle)(const struct layer_rsc *r, struct trouble *t);
        int (*dissolve)(const struct layer_rsc *r, struct trouble *t); /* E_BUSY when in use */
        /* Where its device belongs to one node at a time: takes it for this node (0; 1: somebody uses it), and gives it back. */
        int (*take)(const char *rsc_name, struct trouble *t);
        int (*give_back)(const char *rsc_name, struct trouble *t);
        bool exports; /* another node uses what is below it, as it is: a file system is made there, before it is exported */
};

#define LUKS_PATH_PREFIX "/dev/mapper/Linstor-Crypt-" /* and the name of the backing */
#define LUKS_PATH_SIZE (sizeof LUKS_PATH_PREFIX + BACKING_ID_MAX)
extern const struct layer layer_bcache;
extern const struct layer layer_cache;
extern const struct layer layer_drbd;
extern const struct layer layer_luks;
extern const struct layer layer_nvme;
extern const struct layer layer_writecache;

/* NULL when this build cannot drive the kind, and for STORAGE. */
const struct layer *layer_by_type(enum layer_type type);
/* Another one for the kind, until it is called with NULL. For tests, before any other thread starts. */
void layer_replace(enum layer_type type, const struct layer *layer);
/* The layers of a stack as it is wanted (top first, STORAGE at its end or not), bottom up, in the arena. Names that are no layer and
 * what goes beyond LAYERS_MAX are left out: the planner refuses such a resource as a whole. E_TOO_LARGE. */
int layers_of_stack(const char *const *stack, uint32_t n, struct arena *a, struct layer_dev **ret,
        uint32_t *ret_n) MUST_USE;
/* For a device that is looked at alone: gives it what its layers were last seen to have beside it. */
void layers_lend_extras(struct dev *d, struct arena *a);
/* Takes over what `from` remembers of layers of the same kinds. */
void layers_remember(struct layer_dev *to, uint32_t to_n, const struct layer_dev *from, uint32_t from_n);

/* Is the kind one of whole resources? Any kind. */
bool layer_is_whole(enum layer_type type);
/* The device below layer i of an observed one, or NULL; *ret_kib (or NULL): its size. */
const char *dev_below(const struct dev *d, uint32_t i, uint64_t *ret_kib);
/* Is its device of a layer of the whole resource up? */
bool dev_whole_open(const struct dev *d);
/* The layer of that kind; NULL when it has none. */
const struct layer_dev *dev_layer(const struct dev *d, enum layer_type type);

/* The volume's device: that of the top layer, or the storage's when there is none. NULL and 0 when it is down. */
const char *dev_top_path(const struct dev *d);
uint64_t dev_top_kib(const struct dev *d);
bool dev_top_in_use(const struct dev *d);

#endif
