/* DISKLESS: a pool without end that holds nothing on this node. */
#include "satellite/provider/provider.h"

static int diskless_place(const struct strmap *props, struct arena *a, const char **ret, struct trouble *t)
{
        *ret = "";
        return 0;
}

static int diskless_info(const char *place, struct pool_info *ret, struct trouble *t)
{
        *ret = (struct pool_info){ .free_kib = INT64_MAX, .total_kib = INT64_MAX };
        return 0;
}

const struct provider provider_diskless = {
        .kind = provider_kind_DISKLESS,
        .backed = false,
        .allocation_kib = 1,
        .place = diskless_place,
        .pool_info = diskless_info,
};
