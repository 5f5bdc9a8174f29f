#include "wire/def/layer_extra.h"

#include <stdlib.h>
#include <string.h>

#include "wire/def/drbd_rules.h"

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

/* As large as DRBD 9's; that of 8.4 is smaller. */
static uint64_t drbd_kib(const struct layer_extra_for *of)
{
        const struct drbd_md md = { .gen = DRBD_GEN_9, .peers = of->slots };
        uint64_t kib;
        return drbd_md_external_kib(&md, MAX(of->net_kib, (uint64_t)DRBD_NET_KIB_MIN), &kib) == 0
                       ? kib
                       : UINT64_MAX;
}

uint64_t layer_extra_kib(enum layer_extra extra, const struct layer_extra_for *of)
{
        const struct layer_extra_desc *d = layer_extra_desc(extra);
        if (d == NULL) return 0;
        if (extra == EXTRA_DRBD_META) return drbd_kib(of);
        uint64_t kib =
                parse_kib(of->text != NULL && of->text[0] != '\0' ? of->text : d->size_default, of->data_kib);
        uint64_t block = of->block_sectors != 0 ? of->block_sectors : CACHE_BLOCK_SECTORS;
        if (extra == EXTRA_CACHE_META) return MAX(kib, metadata_kib(of->cache_kib, block));
        return MAX(kib, extra == EXTRA_BCACHE ? BCACHE_MIN_KIB : CACHE_MIN_KIB);
}
