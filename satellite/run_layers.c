#include "satellite/run_layers.h"

#include <string.h>

#include "wire/codec/codec.h"

static const char *copy_str(struct arena *a, const char *s) { return s == NULL ? NULL : arena_strdup(a, s); }

void layers_copy(struct arena *a, const struct dev *d, struct dev *ret)
{
        ret->layers = d->layers_n == 0 ? NULL : arena_memdup(a, d->layers, d->layers_n * sizeof *d->layers);
        ret->layers_n = ret->layers == NULL ? 0 : d->layers_n;
        for (uint32_t i = 0; i < ret->layers_n; i++) {
                ret->layers[i].device_path = copy_str(a, d->layers[i].device_path);
                ret->layers[i].found = copy_str(a, d->layers[i].found);
        }
}

/* Looks at one layer; the volume then stands for the one above it. A failure leaves the layer not looked at. */
static void probe_one(struct layer_vol *v, struct arena *a, struct layer_dev *l)
{
        struct layer_dev seen = { .type = l->type, .made = l->made };
        struct trouble t;
        v->made = l->made;
        const struct layer *kind = layer_by_type(l->type);
        if (kind == NULL || v->below_path == NULL || kind->probe(v, a, &seen, &t) != 0)
                seen = (struct layer_dev){ .type = l->type, .made = l->made };
        if (seen.exists) seen.made = true;
        *l = seen;
        v->below_path = l->open ? l->device_path : NULL;
        v->below_kib = l->open ? l->size_kib : 0;
}

void layers_probe(struct dev *d, struct arena *a)
{
        struct layer_vol v = {
                .dev = d,
                .below_path = d->attached ? d->device_path : NULL,
                .below_kib = d->attached ? d->device_kib : 0,
        };
        for (uint32_t i = 0; i < d->layers_n; i++) probe_one(&v, a, &d->layers[i]);
}

/* Finds the device below the step's layer. */
static int look_below(
        const struct step *s, struct dev *d, struct arena *a, struct layer_vol *v, struct trouble *t)
{
        const struct provider *prov = provider_by_kind(d->kind);
        int err = prov->probe(d, a, t);
        if (err != 0) return err;
        /* Whose it is was settled by the plan; a device without marks does not say it again. */
        d->uuid = s->dev.uuid;
        d->vlm_uuid = s->dev.vlm_uuid;
        d->rsc_name = s->dev.rsc_name;
        d->volume_number = s->dev.volume_number;
        *v = (struct layer_vol){ .dev = d,
                .below_path = d->attached ? d->device_path : NULL,
                .below_kib = d->attached ? d->device_kib : 0,
                .props = s->props };
        for (uint32_t i = 0; i < s->layer; i++) {
                struct layer_dev l = { .type = s->dev.layers[i].type, .made = s->dev.layers[i].made };
                probe_one(v, a, &l);
        }
        v->made = s->dev.layers[s->layer].made;
        return 0;
}

static int is_down(const struct step *s, struct trouble *t)
{
        trouble_set(t, E_NOT_FOUND, TROUBLE_POOL,
                "Resource %s, volume %llu: the device below the layer %s is down.", s->dev.rsc_name,
                (unsigned long long)s->dev.volume_number,
                enum_name(&layer_type_enum, s->dev.layers[s->layer].type));
        trouble_fix(t, "The satellite tries again by itself.");
        return E_NOT_FOUND;
}

int run_layer_step(const struct step *s, struct trouble *t)
{
        const struct layer *kind = layer_by_type(s->dev.layers[s->layer].type);
        struct arena a = { 0 };
        struct dev d = s->dev;
        struct layer_vol v;
        int err = look_below(s, &d, &a, &v, t);
        if (err == 0 && v.below_path == NULL) err = s->kind == STEP_CLOSE ? 0 : is_down(s, t);
        else if (err == 0 && s->kind == STEP_MAKE) err = kind->make(&v, t);
        else if (err == 0 && s->kind == STEP_OPEN) err = kind->open(&v, t);
        else if (err == 0 && s->kind == STEP_STRETCH) err = kind->grow(&v, t);
        else if (err == 0 && s->kind == STEP_CLOSE) err = kind->close(&v, t);
        else if (err == 0 && s->kind == STEP_ERASE) err = kind->erase(&v, t);
        arena_done(&a);
        return err;
}

bool layers_same_record(const struct dev *a, const struct dev *b)
{
        if (a->layers_n != b->layers_n) return false;
        for (uint32_t i = 0; i < a->layers_n; i++)
                if (a->layers[i].type != b->layers[i].type || a->layers[i].made != b->layers[i].made)
                        return false;
        return true;
}

bool layers_any_made(const struct dev *d)
{
        for (uint32_t i = 0; i < d->layers_n; i++)
                if (d->layers[i].made) return true;
        return false;
}
