#include "satellite/observe.h"

#include <string.h>
#include <strings.h>

#include "satellite/provider/surveys.h"
#include "satellite/run_layers.h"

struct looker {
        const struct plan_input *in;
        struct arena *a;
        struct dev *devs;
        uint32_t n, cap;
        int err;
        struct surveys surveys;
};

static bool has_place(
        const struct looker *l, enum provider_kind kind, const char *place, const char *backing_id)
{
        for (uint32_t i = 0; i < l->n; i++)
                if (dev_same_place(&l->devs[i], kind, place, backing_id)) return true;
        return false;
}

/* What is stacked on the device: as the wanted resource or the tombstone that it belongs to says, else as it is remembered. */
static void stack_of(struct looker *l, const struct dev *remembered, struct dev *d)
{
        const struct plan_input *in = l->in;
        const char *const *stack = NULL;
        uint32_t n = 0;
        bool wanted = in->want != NULL && (d->uuid == NULL || uuid_same(d->uuid, in->want->uuid));
        bool known = wanted && HAS(in->want, sat_rsc, layer_stack);
        if (known) {
                stack = in->want->layer_stack;
                n = in->want->layer_stack_n;
        }
        for (uint32_t i = 0; !wanted && !known && i < in->gone_n; i++) {
                if (!uuid_same(d->uuid, in->gone[i].uuid) || !HAS(&in->gone[i], sat_gone, layer_stack))
                        continue;
                stack = in->gone[i].layer_stack;
                n = in->gone[i].layer_stack_n;
                known = true;
        }
        d->layers = NULL;
        d->layers_n = 0;
        if (d->snap_name != NULL || extra_is(d->volume_number)) return; /* never used by itself */
        if (!known) layers_copy(l->a, remembered, d);
        else if (layers_of_stack(stack, n, l->a, &d->layers, &d->layers_n) != 0) l->err = E_TOO_LARGE;
        else if (uuid_same(d->uuid, remembered->uuid) && dev_is_volume(d, remembered->vlm_uuid))
                layers_remember(d->layers, d->layers_n, remembered->layers, remembered->layers_n);
}

static void look(struct looker *l, const struct dev *remembered)
{
        const struct provider *prov = provider_by_kind(remembered->kind);
        if (prov == NULL || !prov->backed || !backing_id_valid(remembered->backing_id)) return;
        if (has_place(l, remembered->kind, remembered->place, remembered->backing_id)) return;
        assert(l->n < l->cap);
        struct dev *d = &l->devs[l->n++];
        *d = *remembered;
        d->uuid = d->vlm_uuid = NULL;
        struct trouble why; /* the pool's own report says it */
        if (surveys_probe(&l->surveys, d, l->a, &why) != 0) {
                d->uuid = remembered->uuid;
                d->vlm_uuid = remembered->vlm_uuid;
                stack_of(l, remembered, d);
                return;
        }
        if (d->marked) {
                if (remembered->uuid == NULL || strcasecmp(d->uuid, remembered->uuid) != 0)
                        d->last_size_kib = 0, d->formatted = d->filled = false;
                d->made = true;
        } else if (remembered->made || (!d->exists && !d->attached)) {
                d->uuid = remembered->uuid;
                d->vlm_uuid = remembered->vlm_uuid;
        }
        stack_of(l, remembered, d);
}

/* Does the device belong beside the volume d? One that is not made yet has no owner. */
static bool is_beside(const struct dev *d, unsigned extra, const struct dev *x)
{
        if (x->volume_number != EXTRA_NUMBER(extra, d->volume_number) || x->snap_name != NULL) return false;
        return uuid_same(x->uuid, d->uuid) || x->uuid == NULL || d->uuid == NULL;
}

static void find_beside(struct looker *l, struct dev *d)
{
        memset(d->extras, 0, sizeof d->extras);
        if (d->snap_name != NULL || extra_is(d->volume_number)) return;
        for (unsigned e = 0; e < EXTRA_N; e++)
                for (uint32_t i = 0; i < l->n; i++) {
                        const struct dev *x = &l->devs[i];
                        if (!is_beside(d, e, x)) continue;
                        if (d->extras[e] == NULL || (x->exists && !d->extras[e]->exists)) d->extras[e] = x;
                }
}

/* uuid: whose they are if nothing says otherwise, for places that cannot be looked at; NULL for wanted ones.
 */
static void look_at_volumes(struct looker *l, const struct plan_input *in, const char *uuid,
        const struct sat_vlm *volumes, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++) {
                const struct sat_vlm *v = &volumes[i];
                char id[BACKING_ID_SIZE];
                if (!HAS(v, sat_vlm, storage_pool_name) || backing_id_of(in->rsc_name, v, id) != 0) continue;
                const struct plan_pool *pool = plan_pool_find(in->pools, in->pools_n, v->storage_pool_name);
                if (pool == NULL || pool->place == NULL) continue;
                struct dev d = { .rsc_name = in->rsc_name,
                        .uuid = uuid,
                        .vlm_uuid = uuid != NULL ? v->uuid : NULL,
                        .volume_number = v->volume_number,
                        .pool = pool->name,
                        .kind = pool->kind,
                        .place = pool->place };
                d.backing_id = arena_strdup(l->a, id);
                look(l, &d);
        }
}

/* The snapshots that wanted volumes are made from: only looked at. */
static void look_at_sources(struct looker *l, const struct plan_input *in)
{
        for (uint32_t i = 0; i < in->want->volumes_n; i++) {
                struct sat_vlm v = in->want->volumes[i];
                if (!HAS(&v, sat_vlm, source_id) || v.source_id[0] == '\0') continue;
                SET(&v, sat_vlm, backing_id, v.source_id);
                look_at_volumes(l, in, NULL, &v, 1);
        }
}

int observe_resource(struct plan_input *in, struct arena *a)
{
        struct looker l = { .in = in, .a = a, .cap = in->devs_n };
        if (in->want != NULL) l.cap += 2 * in->want->volumes_n + in->want->extras_n;
        for (uint32_t i = 0; i < in->snaps_n; i++) l.cap += in->snaps[i].volumes_n;
        for (uint32_t i = 0; i < in->gone_n; i++) l.cap += in->gone[i].volumes_n + in->gone[i].extras_n;
        l.devs = arena_array(a, struct dev, l.cap);
        if (l.devs == NULL && l.cap > 0) return E_TOO_LARGE;
        for (uint32_t i = 0; i < in->devs_n; i++) look(&l, &in->devs[i]);
        for (uint32_t i = 0; i < in->gone_n; i++) {
                look_at_volumes(&l, in, in->gone[i].uuid, in->gone[i].volumes, in->gone[i].volumes_n);
                look_at_volumes(&l, in, in->gone[i].uuid, in->gone[i].extras, in->gone[i].extras_n);
        }
        if (in->want != NULL) look_at_volumes(&l, in, NULL, in->want->volumes, in->want->volumes_n);
        if (in->want != NULL) look_at_volumes(&l, in, NULL, in->want->extras, in->want->extras_n);
        for (uint32_t i = 0; i < in->snaps_n; i++)
                look_at_volumes(&l, in, NULL, in->snaps[i].volumes, in->snaps[i].volumes_n);
        if (in->want != NULL) look_at_sources(&l, in);
        for (uint32_t i = 0; i < l.n; i++) {
                find_beside(&l, &l.devs[i]);
                if (!l.devs[i].unknown) layers_probe(&l.devs[i], l.a);
        }
        in->devs = l.devs;
        in->devs_n = l.n;
        return l.err != 0 ? l.err : wholes_look(in, a);
}

void observe_pool(
        enum provider_kind kind, const char *place, bool list, struct arena *a, struct observed_pool *ret)
{
        *ret = (struct observed_pool){ 0 };
        const struct provider *prov = provider_by_kind(kind);
        if (prov == NULL) {
                trouble_set(&ret->trouble, E_UNSUPPORTED, TROUBLE_NO_PROVIDER,
                        "The kind of the pool is not supported.");
                return;
        }
        if (prov->pool_info(place, &ret->info, &ret->trouble) != 0 || !prov->backed || !list) return;
        ret->listed = prov->list(place, a, &ret->devs, &ret->devs_n, &ret->trouble) == 0;
        struct trouble left = { 0 };
        if (!ret->listed || prov->tidy == NULL || prov->tidy(place, &left) == 0) return;
        if (ret->info.warning.err != 0) return;
        ret->info.warning = left;
        ret->info.warning.code = TROUBLE_WARN_STORAGE;
}
