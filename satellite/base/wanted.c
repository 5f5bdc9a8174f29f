#include "satellite/base/wanted.h"

#include "wire/def/layer_size.h"

bool wanted_is_backed(const struct sat_rsc *r, const struct sat_vlm *v)
{
        if (HAS(r, sat_rsc, flags) && (r->flags & rsc_flag_DISKLESS) != 0) return false;
        if (!HAS(v, sat_vlm, storage_pool_name)) return false;
        return !HAS(v, sat_vlm, provider_kind) || v->provider_kind != provider_kind_DISKLESS;
}

bool wanted_skips_disk(const struct sat_rsc *r) { return HAS(r, sat_rsc, drbd) && r->drbd->skip_disk; }

bool wanted_is_copied(const struct sat_rsc *r, const struct sat_vlm *v)
{
        uint32_t n = HAS(r, sat_rsc, layer_stack) ? r->layer_stack_n : 0; /* STORAGE alone */
        return HAS(v, sat_vlm, source_layers) &&
               !stacks_share(v->source_layers, v->source_layers_n, r->layer_stack, n);
}

const struct sat_vlm *wanted_extra(const struct sat_rsc *r, enum layer_extra extra, uint64_t volume_number)
{
        for (uint32_t i = 0; r != NULL && HAS(r, sat_rsc, extras) && i < r->extras_n; i++)
                if (r->extras[i].volume_number == EXTRA_NUMBER(extra, volume_number)) return &r->extras[i];
        return NULL;
}
