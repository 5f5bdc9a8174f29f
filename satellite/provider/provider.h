/* One kind of storage behind one vtable: files, volume groups, ZFS. The rest of the satellite
 * names no kind.
 *
 * Threads: all functions block and run in pool threads, side by side for different devices; they share
 * nothing but the kernel. place() alone is pure. Ownership: what a function returns through the arena belongs
 * to the arena; everything that is passed in is borrowed for the call. Errors: 0, or negative with a full
 * explanation in struct trouble. Every changing function is idempotent, looks again before it acts, and
 * leaves alone what does not carry the mark of the resource. */
#ifndef SATELLITE_PROVIDER_PROVIDER_H
#define SATELLITE_PROVIDER_PROVIDER_H

#include "satellite/base/trouble.h"
#include "wire/def/layer_extra.h"

#define BACKING_ID_MAX 200               /* characters */
#define SIZE_KIB_MAX (UINT64_C(1) << 50) /* an exbibyte: what one volume may have */

struct layer_dev;

/* One backing device: what the state file remembers of it, and what was seen of it. */
struct dev {
        /* Who it belongs to. uuid NULL: it exists, but neither its mark nor the state file says whose it is.
         */
        const char *rsc_name;
        const char *uuid;
        const char *vlm_uuid; /* of the volume; NULL: made when volumes had none */
        uint64_t volume_number;
        const char *snap_name; /* a snapshot of the volume; uuid is the snapshot's; NULL: it is a volume */
        /* Where it is. */
        const char *pool; /* name, for texts; may be NULL */
        enum provider_kind kind;
        const char *place;
        const char *backing_id;
        /* Remembered. */
        bool made;              /* it was there once */
        uint64_t last_size_kib; /* then; 0 = unknown */
        bool filled; /* what its source has below other layers was taken over (satellite/run_fill.h) */
        bool formatted; /* a file system was made on it, or it came with what it was made from (satellite/layer/format.h) */
        /* Seen. */
        bool unknown; /* could not look: nothing below is valid, and nothing may be concluded */
        bool exists;  /* the backing (file, logical volume) */
        bool raw;     /* exists, but its making was interrupted: create() goes on with it */
        bool unfilled; /* exists, but what it is made from has not been copied into it yet: restore() goes on with it */
        bool marked;   /* it carries its owner's uuid itself */
        bool attached; /* a block device is there */
        bool lost;     /* attached, but the backing was deleted: the data lives as long as the device does */
        bool in_use;   /* the block device has holders or is mounted */
        uint64_t granule_kib;       /* sizes here are multiples of this; 0 = as the provider says */
        uint64_t size_kib;          /* of the backing */
        uint64_t device_kib;        /* of the block device when attached */
        uint64_t allocated_kib;     /* taken from the pool */
        const char *device_path;    /* when attached */
        const char *backing_path;   /* when exists or lost */
        const struct strmap *props; /* of a device that is to be made: its effective properties; else NULL */
        /* What is stacked on it, bottom up (satellite/layer/layer.h); none: its device is the volume's. */
        struct layer_dev *layers;
        uint32_t layers_n;
        /* What its layers need beside it (wire/def/layer_extra.h): devices of the same list, whose numbers say so. NULL: none. */
        const struct dev *extras[EXTRA_N];
};

struct pool_info {
        uint64_t free_kib, total_kib;
        uint64_t granule_kib; /* sizes are multiples of this; 0 = as the provider says */
        bool snapshots;
        struct trouble warning; /* err not 0: it works, but somebody should look at it */
};

/* Writes the content of an image that is being received. 0 or negative, with the explanation. */
typedef int provider_fill_fn(void *arg, int fd, struct trouble *t);

struct provider {
        enum provider_kind kind;
        bool backed; /* false: its volumes have no device on this node, and no function below but
                                    place and pool_info is set */
        bool for_clones; /* its snapshots take as much space as their volumes: they are made to be cloned, and go at once */
        uint64_t
                allocation_kib; /* sizes are multiples of this at least; dev.granule_kib and pool_info.granule_kib say more */
        /* What the node lacks to use the kind (a program, a kernel module), with the remedy; NULL: nothing. May itself be NULL. */
        const char *(*missing)(struct arena *a);
        /* The place that the pool's properties name, as the provider writes it. */
        int (*place)(const struct strmap *props, struct arena *a, const char **ret, struct trouble *t);
        /* E_NO_SPACE never; an unusable place is an error. */
        int (*pool_info)(const char *place, struct pool_info *ret, struct trouble *t);
        /* Every device of the place in one go, marked or not, that could be one of ours by its name. */
        int (*list)(const char *place, struct arena *a, struct dev **ret, uint32_t *ret_n, struct trouble *t);
        /* Finishes what could not be finished when something was removed, as far as that is possible by now. NULL: nothing is
         * ever left. */
        int (*tidy)(const char *place, struct trouble *t);
        /* Fills in what can be seen of d (place, backing_id, and as a hint device_path are given), its owner
         * when it is marked. 0 also when there is nothing. */
        int (*probe)(struct dev *d, struct arena *a, struct trouble *t);
        /* Where looking at many devices costs as much as looking at one: survey looks at the whole place, and probe_in is probe by
         * what that saw, without looking again. Both NULL elsewhere. The survey lives in the arena. */
        int (*survey)(const char *place, struct arena *a, const void **ret, struct trouble *t);
        int (*probe_in)(const void *survey, struct dev *d, struct arena *a, struct trouble *t);
        int (*create)(const struct dev *d, uint64_t size_kib, struct trouble *t);
        int (*resize)(const struct dev *d, uint64_t size_kib, struct trouble *t); /* of the backing alone */
        int (*attach)(const struct dev *d, struct trouble *t);
        int (*refresh)(const struct dev *d, struct trouble *t); /* the device takes over the backing's size */
        int (*detach)(const struct dev *d, struct trouble *t);  /* E_BUSY when in use */
        int (*remove)(const struct dev *d, struct trouble *t);
        /* Gives a device without a volume uuid d's. 0 also where the storage keeps no marks. */
        int (*adopt)(const struct dev *d, struct trouble *t);
        /* Snapshots; NULL where the storage has none. All are whole or not there at all. src and d are at the
         * same place. snapshot: d, of the volume src; quiet: nothing writes to src meanwhile, so that copying is
         * good enough. restore: the volume d, of at least size_kib, from the snapshot src. replace: the same,
         * in the place of old, which is not attached and is removed last. keep: old becomes d, for it has the data that replace would
         * bring; NULL where that costs no room and no time anyway. restore may say E_PENDING: it goes on beside, and whoever
         * asks again after copies_ended() has grown (copies.h) finds out how; what is there until then is unfilled. */
        int (*snapshot)(const struct dev *src, const struct dev *d, bool quiet, struct trouble *t);
        int (*restore)(const struct dev *src, const struct dev *d, uint64_t size_kib, struct trouble *t);
        int (*replace)(const struct dev *old, const struct dev *src, const struct dev *d, uint64_t size_kib,
                struct trouble *t);
        int (*keep)(const struct dev *old, const struct dev *d, struct trouble *t);
        /* Shipping; NULL where it is not possible. read: a descriptor of the snapshot d, for reading; *ret_kib: its size. receive: makes
         * the snapshot d of size_kib, unless it is there: fill writes what is in it, over a copy of the snapshot base when that is not
         * NULL; nothing is there before all is. */
        int (*read)(const struct dev *d, uint64_t *ret_kib, struct trouble *t);
        int (*receive)(const struct dev *d, const struct dev *base, uint64_t size_kib, provider_fill_fn *fill,
                void *arg, struct trouble *t);
};

extern const struct provider provider_file;
extern const struct provider provider_file_thin;
extern const struct provider provider_lvm;
extern const struct provider provider_lvm_thin;
extern const struct provider provider_zfs;
extern const struct provider provider_zfs_thin;
extern const struct provider provider_diskless;

/* NULL when this build cannot drive the kind. */
const struct provider *provider_by_kind(enum provider_kind kind);
/* True when id is fit to be a file name: not empty, no '/', no control characters, no '.' in front, not too
 * long. */
bool backing_id_valid(const char *id);
/* The name of a volume's backing: its own, or <rsc>_%05d. Into out. */
#define BACKING_ID_SIZE (BACKING_ID_MAX + 1)
int backing_id_of(const char *rsc_name, const struct sat_vlm *v, char out[BACKING_ID_SIZE]);
/* Are two uuids the same? NULL is none. */
bool uuid_same(const char *a, const char *b);
/* Is it the volume with that uuid, as far as both have one? Resource and number aside. */
bool dev_is_volume(const struct dev *d, const char *vlm_uuid);
/* Does its owner, as its mark says, want d? */
bool dev_is_owned(const struct dev *owner, const struct dev *d);
/* Explains that `what` at the place of d is not d's, by its mark (owner.uuid NULL: it has none). mark: what marks are here ("tag");
 * rename: how to make room. Returns E_EXISTS. */
int dev_not_ours(struct trouble *t, const struct dev *d, const struct dev *owner, const char *what,
        const char *mark, const char *rename);
/* What was written to the block device, if there is one, and is still in its cache, gets to the backing. 0 or negative. */
int dev_flush(const struct dev *d, struct trouble *t);
/* The same device? Owner aside. */
bool dev_same_place(const struct dev *d, enum provider_kind kind, const char *place, const char *backing_id);

#endif
