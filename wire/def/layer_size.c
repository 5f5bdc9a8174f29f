#include "wire/def/layer_size.h"

#include <strings.h>

#include "wire/codec/codec.h"
#include "wire/def/drbd_rules.h"

/* Behind a header each area has one chunk of exceptions, of 16 bytes each, and the chunks that these tell of; the kernel clears the next
 * area when it begins the last exception of one. */
uint64_t cow_store_kib(uint64_t volume_kib)
{
        uint64_t chunks = volume_kib / COW_CHUNK_KIB + (volume_kib % COW_CHUNK_KIB != 0),
                 area = COW_CHUNK_KIB * 1024 / 16;
        return (1 + chunks + chunks / area + 3) * COW_CHUNK_KIB;
}

/* What a layer takes of the device below. */
static uint64_t metadata_kib(enum layer_type type)
{
        if (type == layer_type_BCACHE) return BCACHE_OFFSET_KIB;
        return type == layer_type_LUKS ? LUKS_HEADER_KIB : 0;
}

uint64_t layer_below_kib(enum layer_type type, uint64_t net_kib, unsigned slots)
{
        const struct drbd_md md = { .gen = DRBD_GEN_9, .peers = slots };
        uint64_t gross;
        if (type == layer_type_DRBD && slots == SLOTS_ELSEWHERE)
                return MAX(net_kib, (uint64_t)DRBD_NET_KIB_MIN);
        if (type == layer_type_DRBD)
                return drbd_gross_kib(&md, MAX(net_kib, (uint64_t)DRBD_NET_KIB_MIN), 0, &gross) == 0
                               ? gross
                               : UINT64_MAX;
        uint64_t more = metadata_kib(type);
        return net_kib > UINT64_MAX - more ? UINT64_MAX : net_kib + more;
}

uint64_t layer_net_kib(enum layer_type type, uint64_t below_kib, unsigned slots)
{
        const struct drbd_md md = { .gen = DRBD_GEN_9, .peers = slots };
        uint64_t usable;
        if (type == layer_type_DRBD && slots == SLOTS_ELSEWHERE) return below_kib;
        if (type == layer_type_DRBD) return drbd_usable_kib(&md, below_kib, &usable) == 0 ? usable : 0;
        uint64_t less = metadata_kib(type);
        return below_kib < less ? 0 : below_kib - less;
}

uint64_t stack_storage_kib(const char *const *stack, uint32_t n, uint64_t net_kib, unsigned slots)
{
        for (uint32_t i = 0; i < n; i++) {
                int type = enum_parse(&layer_type_enum, stack[i]);
                if (type >= 0) net_kib = layer_below_kib((enum layer_type)type, net_kib, slots);
        }
        return net_kib;
}

uint64_t stack_net_kib(const char *const *stack, uint32_t n, uint64_t storage_kib, unsigned slots)
{
        for (uint32_t i = n; i-- > 0;) {
                int type = enum_parse(&layer_type_enum, stack[i]);
                if (type >= 0) storage_kib = layer_net_kib((enum layer_type)type, storage_kib, slots);
        }
        return storage_kib;
}

bool stack_has(const char *const *stack, uint32_t n, enum layer_type type)
{
        for (uint32_t i = 0; i < n; i++)
                if (enum_parse(&layer_type_enum, stack[i]) == (int)type) return true;
        return false;
}

/* The index of the next layer that counts, from i on. */
static uint32_t next_counts(const char *const *stack, uint32_t n, uint32_t i)
{
        for (; i < n; i++) {
                int type = enum_parse(&layer_type_enum, stack[i]);
                if (type != layer_type_DRBD && type != layer_type_STORAGE) break;
        }
        return i;
}

bool stacks_share(const char *const *a, uint32_t a_n, const char *const *b, uint32_t b_n)
{
        uint32_t i = next_counts(a, a_n, 0), k = next_counts(b, b_n, 0);
        while (i < a_n && k < b_n && strcasecmp(a[i], b[k]) == 0) {
                i = next_counts(a, a_n, i + 1);
                k = next_counts(b, b_n, k + 1);
        }
        return i == a_n && k == b_n;
}
