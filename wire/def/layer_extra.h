/* The devices that a layer needs beside the one below it (wire/def/layer_extra.def): caches, their metadata, and DRBD's.
 *
 * An extra device is a volume whose number says what it is for: EXTRA_NUMBER(extra, volume). Real volumes' numbers end below. It
 * has a uuid, a pool and a size of its own, which it keeps: a cache need not grow with its volume. DRBD's metadata does, and whether
 * it has a device of its own is decided when the volume is made.
 *
 * Sizes in KiB. Pure. Threads: any. */
#ifndef WIRE_DEF_LAYER_EXTRA_H
#define WIRE_DEF_LAYER_EXTRA_H

#include "wire/def/types.h"

#define EXTRA(name, layer, suffix, part, pool, size, dflt) EXTRA_##name,
enum layer_extra {
#include "wire/def/layer_extra.def"
        EXTRA_N
};

#define EXTRA_NUMBER(extra, volume) ((uint64_t)((extra) + 1) << 16 | (volume))
/* Is it the number of an extra device? Of which volume, and which device? */
static inline bool extra_is(uint64_t number) { return number >> 16 != 0; }
static inline uint64_t extra_volume(uint64_t number) { return number & 0xffff; }
static inline enum layer_extra extra_of(uint64_t number) { return (enum layer_extra)((number >> 16) - 1); }

struct layer_extra_desc {
        enum layer_type layer;
        const char *suffix; /* of the resource's name, in names of backings and in the API */
        const char *part;   /* in texts */
        const char *pool_prop, *size_prop, *size_default;
};
/* NULL when extra is none. */
const struct layer_extra_desc *layer_extra_desc(enum layer_extra extra);
/* What an extra device is for. */
struct layer_extra_for {
        const char *text;       /* the size property's value, or NULL */
        uint64_t data_kib;      /* of the storage below */
        uint64_t net_kib;       /* of DRBD's device */
        unsigned slots;         /* of DRBD: see wire/def/layer_size.h */
        uint64_t block_sectors; /* of dm-cache; 0 = default */
        uint64_t cache_kib;     /* of the cache that the metadata is for */
};
/* How large it is made; 0: no such device. */
uint64_t layer_extra_kib(enum layer_extra extra, const struct layer_extra_for *of);
/* The value of DRBD's pool property that names no pool: its metadata is on the device below. */
#define DRBD_META_INTERNAL ".internal"

#define CACHE_BLOCK_SECTORS 4096u /* of dm-cache, unless Cache/Blocksize says otherwise */

#endif
