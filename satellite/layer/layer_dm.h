/* What the layers that are one device-mapper target over a data device and cache devices have in common: WRITECACHE and CACHE.
 *
 * Such a layer has no metadata on the data device. What it remembers is at the beginning of one of its cache devices (`home`), and
 * the kernel writes it there when a device is made over one that begins with zeros. So a device is only ever made over zeros by
 * make(), and open() refuses them: what was in a cache that was emptied is lost, and nobody may hide that.
 *
 * Threads: pool threads; all block. Ownership: as layer.h. */
#ifndef SATELLITE_LAYER_LAYER_DM_H
#define SATELLITE_LAYER_LAYER_DM_H

#include "satellite/layer/dm.h"
#include "satellite/layer/layer.h"

struct dm_kind {
        enum layer_type type;
        const char *prefix; /* of device names */
        const char *target;
        enum layer_extra cache, home;
        /* Is a device that begins with these bytes one that the kernel has written? */
        bool (*is_home)(const unsigned char block[4096]);
        /* Of a device that is up: what is wrong with it, NULL: nothing. */
        const char *(*broken)(const struct dm_dev *d, struct arena *a);
        /* Does it differ from how it is to be, its size aside? */
        bool (*differs)(const struct dm_dev *d, struct arena *a);
        /* The line of its table, for a data device of so many sectors. E_CONFIG: a property cannot be used. */
        int (*table)(const struct layer_vol *v, uint64_t sectors, struct arena *a, const char **ret,
                struct trouble *t);
        /* Brings everything from the cache to the data device. */
        int (*flush)(const struct layer_vol *v, const char *name, const struct dm_dev *d, struct arena *a,
                struct trouble *t);
};

int layer_dm_probe(const struct dm_kind *k, const struct layer_vol *v, struct arena *a, struct layer_dev *d,
        struct trouble *t);
int layer_dm_make(const struct dm_kind *k, const struct layer_vol *v, struct trouble *t);
int layer_dm_open(const struct dm_kind *k, const struct layer_vol *v, struct trouble *t);
int layer_dm_grow(const struct dm_kind *k, const struct layer_vol *v, struct trouble *t);
int layer_dm_close(const struct dm_kind *k, const struct layer_vol *v, struct trouble *t);

/* A property's value, "" when it is not set. */
const char *layer_prop(const struct layer_vol *v, const char *key);
/* A property that is a number: 0 and *ret, also when it is not set (fallback); E_CONFIG. */
int layer_prop_number(const struct layer_vol *v, const char *key, uint64_t fallback, uint64_t max,
        uint64_t *ret, struct trouble *t);
int layer_prop_bad(const struct layer_vol *v, const char *key, const char *why, struct trouble *t);
/* "Resource r, volume n: what". Returns err. */
int layer_fail(
        const struct layer_vol *v, int err, enum trouble_code code, struct trouble *t, const char *what);
/* 0: unknown. */
uint64_t layer_sectors(const char *path);

#endif
