#include "satellite/run_layers.h"

#include <string.h>

#include "satellite/base/wanted.h"
#include "satellite/layer/format.h"
#include "satellite/provider/surveys.h"
#include "wire/codec/codec.h"
#include "wire/def/layer_size.h"

static const char *copy_str(struct arena *a, const char *s) { return s == NULL ? NULL : arena_strdup(a, s); }

void layers_copy(struct arena *a, const struct dev *d, struct dev *ret)
{
        ret->layers = d->layers_n == 0 ? NULL : arena_memdup(a, d->layers, d->layers_n * sizeof *d->layers);
        ret->layers_n = ret->layers == NULL ? 0 : d->layers_n;
        for (uint32_t i = 0; i < ret->layers_n; i++) {
                ret->layers[i].device_path = copy_str(a, d->layers[i].device_path);
                ret->layers[i].found = copy_str(a, d->layers[i].found);
                ret->layers[i].broken = copy_str(a, d->layers[i].broken);
                ret->layers[i].cache_path = copy_str(a, d->layers[i].cache_path);
                ret->layers[i].meta_path = copy_str(a, d->layers[i].meta_path);
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
        if (d->unfilled) return; /* what is written there is not to be believed yet */
        for (uint32_t i = 0; i < d->layers_n; i++) probe_one(&v, a, &d->layers[i]);
}

/* Looks again at the devices beside the volume: steps before may have made them. */
static void look_beside(const struct dev *dev, struct dev *d, struct surveys *surveys, struct arena *a)
{
        for (unsigned e = 0; e < EXTRA_N; e++) {
                const struct dev *old = dev->extras[e];
                d->extras[e] = NULL;
                if (old == NULL) continue;
                struct dev *x = arena_new(a, struct dev);
                struct trouble t;
                *x = *old;
                if (surveys_probe(surveys, x, a, &t) != 0) continue;
                if (!x->marked || uuid_same(x->uuid, dev->uuid)) d->extras[e] = x;
        }
}

/* Looks again at the device itself, and beside it. */
static int look_at_storage(
        const struct dev *dev, struct dev *d, struct surveys *surveys, struct arena *a, struct trouble *t)
{
        int err = surveys_probe(surveys, d, a, t);
        if (err != 0) return err;
        /* Whose it is was settled by the plan; a device without marks does not say it again. */
        d->uuid = dev->uuid;
        d->vlm_uuid = dev->vlm_uuid;
        d->rsc_name = dev->rsc_name;
        d->volume_number = dev->volume_number;
        look_beside(dev, d, surveys, a);
        return 0;
}

/* Finds the device below layer `upto` of dev; *d becomes a copy that was looked at. surveys NULL: dev is as it is now. */
static int look_below(const struct dev *dev, uint32_t upto, struct dev *d, struct surveys *surveys,
        struct arena *a, struct layer_vol *v, struct trouble *t)
{
        *d = *dev;
        int err = surveys != NULL ? look_at_storage(dev, d, surveys, a, t) : 0;
        if (err != 0) return err;
        *v = (struct layer_vol){ .dev = d,
                .below_path = d->attached ? d->device_path : NULL,
                .below_kib = d->attached ? d->device_kib : 0,
                .props = v->props,
                .vlm = v->vlm,
                .want = v->want };
        for (uint32_t i = 0; i < upto; i++) {
                struct layer_dev l = { .type = dev->layers[i].type, .made = dev->layers[i].made };
                probe_one(v, a, &l);
        }
        v->made = upto < dev->layers_n && dev->layers[upto].made;
        return 0;
}

int layers_below(const struct step *s, struct dev *d, struct arena *a, struct layer_vol *v, struct trouble *t)
{
        struct surveys surveys = { 0 };
        *v = (struct layer_vol){ .props = s->props, .vlm = s->vlm, .want = s->want };
        return look_below(&s->dev, s->layer, d, s->seen ? NULL : &surveys, a, v, t);
}

static int is_down(const struct dev *d, enum layer_type type, struct trouble *t)
{
        trouble_set(t, E_NOT_FOUND, TROUBLE_POOL,
                "Resource %s, volume %llu: the device below the layer %s is down.", d->rsc_name,
                (unsigned long long)d->volume_number, enum_name(&layer_type_enum, type));
        trouble_fix(t, "The satellite tries again by itself.");
        return E_NOT_FOUND;
}

int run_layer_step(const struct step *s, struct trouble *t)
{
        const struct layer *kind = layer_by_type(s->dev.layers[s->layer].type);
        struct arena a = { 0 };
        struct dev d;
        struct layer_vol v;
        int err = layers_below(s, &d, &a, &v, t);
        if (err == 0 && v.below_path == NULL)
                err = s->kind == STEP_CLOSE ? 0 : is_down(&s->dev, s->dev.layers[s->layer].type, t);
        else if (err == 0 && s->kind == STEP_MAKE) err = kind->make(&v, t);
        else if (err == 0 && s->kind == STEP_OPEN) err = kind->open(&v, t);
        else if (err == 0 && s->kind == STEP_STRETCH) err = kind->grow(&v, t);
        else if (err == 0 && s->kind == STEP_CLOSE) err = kind->close(&v, t);
        else if (err == 0 && s->kind == STEP_ERASE) err = kind->erase(&v, t);
        arena_done(&a);
        return err;
}

/* The layer, of those below `above`, by which the node has to take the device first. */
static const struct layer *taken_by(const struct dev *d, uint32_t above)
{
        for (uint32_t i = 0; i < above; i++) {
                const struct layer *kind = layer_by_type(d->layers[i].type);
                if (kind != NULL && kind->take != NULL) return kind;
        }
        return NULL;
}

static enum format_wiped wiped(const struct dev *d, uint32_t above)
{
        if (above == 0) return FORMAT_WIPED_ENDS;
        return above == 1 && d->layers[0].type == layer_type_DRBD ? FORMAT_WIPED_HEAD : FORMAT_WIPED_UNKNOWN;
}

int run_format_step(const struct step *s, struct trouble *t)
{
        const struct layer *kind = taken_by(&s->dev, s->layer);
        struct arena a = { 0 };
        struct dev d;
        struct layer_vol v;
        struct trouble later;
        int err = layers_below(s, &d, &a, &v, t), took = 0;
        if (err == 0 && v.below_path == NULL) err = is_down(&s->dev, layer_type_STORAGE, t);
        if (err == 0 && kind != NULL) {
                took = kind->take(s->dev.rsc_name, t);
                if (took < 0) err = took;
        }
        if (err == 0 && took == 0) err = format_device(v.below_path, s->props, wiped(&s->dev, s->layer), t);
        if (kind != NULL && took == 0 && v.below_path != NULL) {
                int back = kind->give_back(s->dev.rsc_name, err == 0 ? t : &later);
                if (err == 0) err = back;
        }
        arena_done(&a);
        return err;
}

/* ---- of whole resources ---- */

void wholes_copy(struct arena *a, const struct layer_whole *from, uint32_t n, struct layer_whole **ret)
{
        *ret = n == 0 ? NULL : arena_memdup(a, from, n * sizeof *from);
        for (uint32_t i = 0; *ret != NULL && i < n; i++) {
                struct layer_whole *w = &(*ret)[i];
                struct layer_top *tops = arena_alloc(a, w->tops_n * sizeof *tops + 1);
                for (uint32_t k = 0; k < w->tops_n; k++) {
                        tops[k] = w->tops[k];
                        tops[k].device_path = copy_str(a, w->tops[k].device_path);
                }
                w->tops = tops;
                w->uuid = copy_str(a, w->uuid);
        }
}

static uint32_t index_of(const struct dev *d, enum layer_type type)
{
        uint32_t i = 0;
        while (i < d->layers_n && d->layers[i].type != type) i++;
        return i;
}

/* The wanted volumes as they are now, without those whose device is not there. */
static int seats_seen(
        const struct plan_input *in, enum layer_type type, struct arena *a, struct layer_rsc *ret)
{
        const struct sat_rsc *r = in->want;
        *ret = (struct layer_rsc){ .rsc_name = in->rsc_name, .want = r };
        struct layer_seat *seats = arena_array(a, struct layer_seat, (r == NULL ? 0 : r->volumes_n) + 1);
        if (seats == NULL) return E_TOO_LARGE;
        for (uint32_t i = 0; r != NULL && i < r->volumes_n; i++) {
                struct layer_seat seat = { .vlm = &r->volumes[i] };
                for (uint32_t k = 0; k < in->devs_n && wanted_is_backed(r, seat.vlm); k++) {
                        const struct dev *d = &in->devs[k];
                        uint32_t at = index_of(d, type);
                        if (at == d->layers_n || !uuid_same(d->uuid, r->uuid) ||
                                d->volume_number != seat.vlm->volume_number ||
                                !dev_is_volume(d, seat.vlm->uuid))
                                continue;
                        seat.dev = d;
                        seat.below_path = dev_below(d, at, &seat.below_kib);
                        seat.made = d->layers[at].made;
                        break;
                }
                if (seat.dev != NULL || !wanted_is_backed(r, seat.vlm) || wanted_skips_disk(r))
                        seats[ret->seats_n++] = seat;
        }
        ret->seats = seats;
        return 0;
}

static bool has_whole(const struct plan_input *in, enum layer_type type)
{
        if (!layer_is_whole(type)) return false;
        if (in->want != NULL && HAS(in->want, sat_rsc, layer_stack) &&
                stack_has(in->want->layer_stack, in->want->layer_stack_n, type))
                return true;
        for (uint32_t i = 0; i < in->gone_n; i++)
                if (HAS(&in->gone[i], sat_gone, layer_stack) &&
                        stack_has(in->gone[i].layer_stack, in->gone[i].layer_stack_n, type))
                        return true;
        for (uint32_t i = 0; i < in->devs_n; i++)
                if (dev_layer(&in->devs[i], type) != NULL) return true;
        return false;
}

int wholes_look(struct plan_input *in, struct arena *a)
{
        struct layer_whole *wholes = arena_array(a, struct layer_whole, layer_type_N);
        if (wholes == NULL) return E_TOO_LARGE;
        in->wholes = wholes;
        in->wholes_n = 0;
        for (unsigned type = 0; type < layer_type_N; type++) {
                struct layer_rsc r;
                struct trouble why; /* the step that follows says it */
                if (!has_whole(in, (enum layer_type)type)) continue;
                struct layer_whole *w = &wholes[in->wholes_n++];
                *w = (struct layer_whole){ .type = (enum layer_type)type };
                int err = seats_seen(in, w->type, a, &r);
                if (err != 0) return err;
                if (layer_by_type(w->type)->look(&r, a, w, &why) == 0) w->looked = true;
                else *w = (struct layer_whole){ .type = (enum layer_type)type };
        }
        return 0;
}

/* The devices below may have come up by steps of this round. */
static int seats_now(const struct step *s, struct arena *a, struct layer_rsc *ret, struct trouble *t)
{
        struct layer_seat *seats = arena_array(a, struct layer_seat, s->seats_n + 1);
        struct dev *devs = arena_array(a, struct dev, s->seats_n + 1);
        struct surveys surveys = { 0 };
        int err = seats == NULL || devs == NULL ? E_TOO_LARGE : 0;
        for (uint32_t i = 0; i < s->seats_n && err == 0; i++) {
                struct layer_vol v = { 0 };
                seats[i] = s->seats[i];
                if (seats[i].dev == NULL) continue;
                err = look_below(seats[i].dev, index_of(seats[i].dev, s->whole), &devs[i],
                        s->seen ? NULL : &surveys, a, &v, t);
                if (wanted_skips_disk(s->want)) {
                        if (err != 0) v = (struct layer_vol){ 0 };
                        err = 0;
                } else if (err == 0 && v.below_path == NULL) err = is_down(seats[i].dev, s->whole, t);
                seats[i].dev = &devs[i];
                seats[i].below_path = v.below_path;
                seats[i].below_kib = v.below_kib;
                seats[i].made = v.made;
        }
        ret->seats = seats;
        ret->seats_n = s->seats_n;
        return err;
}

int run_whole_step(const struct step *s, struct trouble *t)
{
        const struct layer *kind = layer_by_type(s->whole);
        struct arena a = { 0 };
        struct layer_rsc r = { .rsc_name = s->dev.rsc_name, .want = s->want };
        int err = s->kind == STEP_SETTLE ? seats_now(s, &a, &r, t) : 0;
        if (err == 0) err = s->kind == STEP_SETTLE ? kind->settle(&r, t) : kind->dissolve(&r, t);
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
