#include "wire/def/layer_extra.h"

#include <stdlib.h>
#include <string.h>

#define CACHE_MIN_KIB 4096u           /* what device-mapper can do something with */
#define BCACHE_MIN_KIB (512u * 1024u) /* below, the kernel finds too few buckets */

#define EXTRA(name, layer, suffix, part, pool, size, dflt) \
        { layer_type_##layer, suffix, part, pool, size, dflt },
static const struct layer_extra_desc descs[EXTRA_N] = {
#include "wire/def/layer_extra.def"
};

const struct layer_extra_desc *layer_extra_desc(enum layer_extra extra)
{
        return (unsigned)extra < EXTRA_N ? &descs[extra] : NULL;
}

/* "12.5%" of of_kib, rounded up, or a number of KiB. */
static uint64_t parse_kib(const char *text, uint64_t of_kib)
{
        char *end;
        double d = strtod(text, &end);
        if (end == text || d < 0 || d > 1e18) return 0;
        if (*end != '%') return (uint64_t)d;
        double kib = (double)of_kib * d / 100;
        return (uint64_t)kib + ((double)(uint64_t)kib < kib);
}

/* 4 MiB, and 16 bytes for each block of the cache. */
static uint64_t metadata_kib(uint64_t cache_kib, uint64_t block_sectors)
{
        uint64_t block_kib = MAX(block_sectors / 2, UINT64_C(1));
        uint64_t blocks = (cache_kib + block_kib - 1) / block_kib;
        return 4096 + (blocks * 16 + 1023) / 1024;
}

uint64_t layer_extra_kib(enum layer_extra extra, const char *text, uint64_t data_kib, uint64_t block_sectors,
        uint64_t cache_kib)
{
        const struct layer_extra_desc *d = layer_extra_desc(extra);
        if (d == NULL) return 0;
        uint64_t kib = parse_kib(text != NULL && text[0] != '\0' ? text : d->size_default, data_kib);
        if (extra == EXTRA_CACHE_META)
                return MAX(kib,
                        metadata_kib(cache_kib, block_sectors != 0 ? block_sectors : CACHE_BLOCK_SECTORS));
        return MAX(kib, extra == EXTRA_BCACHE ? BCACHE_MIN_KIB : CACHE_MIN_KIB);
}
