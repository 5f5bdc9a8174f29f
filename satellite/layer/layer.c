#include "satellite/layer/layer.h"

#include "wire/codec/codec.h"

static const struct layer *const built[layer_type_N] = {
        [layer_type_BCACHE] = &layer_bcache,
        [layer_type_CACHE] = &layer_cache,
        [layer_type_DRBD] = &layer_drbd,
        [layer_type_LUKS] = &layer_luks,
        [layer_type_NVME] = &layer_nvme,
        [layer_type_WRITECACHE] = &layer_writecache,
};
static const struct layer *replaced[layer_type_N];

const struct layer *layer_by_type(enum layer_type type)
{
        if ((unsigned)type >= layer_type_N) return NULL;
        return replaced[type] != NULL ? replaced[type] : built[type];
}

void layer_replace(enum layer_type type, const struct layer *layer) { replaced[type] = layer; }

int layers_of_stack(
        const char *const *stack, uint32_t n, struct arena *a, struct layer_dev **ret, uint32_t *ret_n)
{
        *ret_n = 0;
        *ret = arena_array(a, struct layer_dev, LAYERS_MAX);
        if (*ret == NULL) return E_TOO_LARGE;
        for (uint32_t i = n; i-- > 0 && *ret_n < LAYERS_MAX;) {
                int type = enum_parse(&layer_type_enum, stack[i]);
                if (type < 0 || layer_by_type((enum layer_type)type) == NULL) continue;
                (*ret)[(*ret_n)++].type = (enum layer_type)type;
        }
        return 0;
}

bool layer_is_whole(enum layer_type type)
{
        const struct layer *kind = layer_by_type(type);
        return kind != NULL && kind->settle != NULL;
}

const char *dev_below(const struct dev *d, uint32_t i, uint64_t *ret_kib)
{
        bool up = i == 0 ? d->attached : d->layers[i - 1].open;
        if (ret_kib != NULL) *ret_kib = !up ? 0 : i == 0 ? d->device_kib : d->layers[i - 1].size_kib;
        if (!up) return NULL;
        return i == 0 ? d->device_path : d->layers[i - 1].device_path;
}

bool dev_whole_open(const struct dev *d)
{
        for (uint32_t i = 0; i < d->layers_n; i++)
                if (d->layers[i].open && layer_is_whole(d->layers[i].type)) return true;
        return false;
}

const struct layer_dev *dev_layer(const struct dev *d, enum layer_type type)
{
        for (uint32_t i = 0; i < d->layers_n; i++)
                if (d->layers[i].type == type) return &d->layers[i];
        return NULL;
}

void layers_lend_extras(struct dev *d, struct arena *a)
{
        for (unsigned e = 0; e < EXTRA_N; e++) {
                const struct layer_dev *l = dev_layer(d, layer_extra_desc((enum layer_extra)e)->layer);
                const char *path = l == NULL                                       ? NULL
                                   : e == EXTRA_CACHE_META || e == EXTRA_DRBD_META ? l->meta_path
                                                                                   : l->cache_path;
                if (path == NULL) continue;
                struct dev *x = arena_new(a, struct dev);
                x->exists = x->attached = true;
                x->device_path = path;
                d->extras[e] = x;
        }
}

void layers_remember(struct layer_dev *to, uint32_t to_n, const struct layer_dev *from, uint32_t from_n)
{
        for (uint32_t i = 0; i < to_n; i++)
                for (uint32_t k = 0; k < from_n; k++)
                        if (to[i].type == from[k].type) to[i].made = to[i].made || from[k].made;
}

const char *layer_extra_path(const struct layer_vol *v, enum layer_extra extra)
{
        const struct dev *x = v->dev->extras[extra];
        return x != NULL && x->attached ? x->device_path : NULL;
}

static const struct layer_dev *top_of(const struct dev *d)
{
        return d->layers_n == 0 ? NULL : &d->layers[d->layers_n - 1];
}

const char *dev_top_path(const struct dev *d)
{
        const struct layer_dev *top = top_of(d);
        if (top != NULL) return top->open ? top->device_path : NULL;
        return d->attached ? d->device_path : NULL;
}

uint64_t dev_top_kib(const struct dev *d)
{
        const struct layer_dev *top = top_of(d);
        if (top != NULL) return top->open ? top->size_kib : 0;
        return d->attached ? d->device_kib : 0;
}

bool dev_top_in_use(const struct dev *d)
{
        const struct layer_dev *top = top_of(d);
        return top != NULL ? top->open && top->in_use : d->in_use;
}
