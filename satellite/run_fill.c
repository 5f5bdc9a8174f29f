#include "satellite/run_fill.h"

#include "satellite/base/inject.h"
#include "satellite/drbd/drbd_md.h"
#include "satellite/run_layers.h"
#include "wire/codec/codec.h"

static bool had(const struct step *s, enum layer_type type)
{
        return stack_has(s->vlm->source_layers, s->vlm->source_layers_n, type);
}

static int is_down(const struct step *s, struct trouble *t)
{
        trouble_set(t, E_NOT_FOUND, TROUBLE_POOL, "Resource %s, volume %llu: its device is down.",
                s->dev.rsc_name, (unsigned long long)s->dev.volume_number);
        trouble_fix(t, "The satellite tries again by itself.");
        return E_NOT_FOUND;
}

int run_fill_step(const struct step *s, struct trouble *t)
{
        struct arena a = { 0 };
        struct dev d;
        struct layer_vol v;
        int err = layers_below(s, &d, &a, &v, t);
        if (err == 0 && v.below_path == NULL) err = is_down(s, t);
        bool left_out = had(s, layer_type_DRBD) && dev_layer(&s->dev, layer_type_DRBD) == NULL;
        if (err == 0) err = drbd_md_clear(v.below_path, left_out, t);
        inject_point(INJECT_FILL_COPIED);
        arena_done(&a);
        return err;
}
