#include "satellite/run_fill.h"

#include <stdio.h>
#include <string.h>

#include "satellite/base/inject.h"
#include "satellite/base/wanted.h"
#include "satellite/drbd/drbd_md.h"
#include "satellite/layer/keyring.h"
#include "satellite/provider/aside.h"
#include "satellite/provider/copies.h"
#include "satellite/run_layers.h"
#include "wire/base/log.h"
#include "wire/codec/codec.h"
#include "wire/def/layer_size.h"

#define LOG "fill"
#define ASIDE_PREFIX "fill_"
#define ASIDE_SIZE 64

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

/* ---- the device that is read ---- */

static void aside_name(const struct dev *clone, char id[ASIDE_SIZE])
{
        snprintf(id, ASIDE_SIZE, ASIDE_PREFIX "%s", clone->vlm_uuid != NULL ? clone->vlm_uuid : "");
}

/* Closes the layers that were opened for the volume. */
static int close_layers(const char *id, struct trouble *t)
{
        int err = 0;
        for (enum layer_type type = 0; err == 0 && type < layer_type_N; type++) {
                const struct layer *kind = layer_by_type(type);
                if (kind != NULL && kind->close_named != NULL) err = kind->close_named(id, t);
        }
        return err;
}

/* Nothing of it is left. Where that fails the end of the snapshot takes it away. */
static void close_source(const struct dev *clone)
{
        char id[ASIDE_SIZE];
        struct arena a = { 0 };
        struct dev aside;
        struct trouble t;
        const struct provider *p = provider_by_kind(clone->kind);
        aside_name(clone, id);
        if (close_layers(id, &t) != 0) log_warn(LOG, "%s: %s", id, t.message);
        aside_of(clone, id, &aside);
        aside.uuid = aside.vlm_uuid = NULL; /* as its mark says */
        bool is_aside = !p->for_clones && p->probe(&aside, &a, &t) == 0 && aside.exists;
        if (is_aside && aside_remove(&aside, &t) != 0) log_warn(LOG, "%s: %s", id, t.message);
        arena_done(&a);
}

/* The storage of the snapshot as a device; *ret as it is then. */
static int open_storage(
        const struct step *s, const char *id, struct arena *a, struct dev *ret, struct trouble *t)
{
        const struct provider *p = provider_by_kind(s->src->kind);
        struct dev aside, src = *s->src;
        if (src.uuid == NULL) src.uuid = s->vlm->source_uuid; /* storage without marks */
        if (p->for_clones) {
                *ret = src;
                int err = p->attach(&src, t);
                if (err == 0) err = p->probe(ret, a, t);
                ret->device_path = ret->backing_path; /* up as long as its volume is */
                ret->device_kib = ret->size_kib;
                return err;
        }
        aside_of(&src, id, &aside);
        int err = aside_restore(&src, src.size_kib, &aside, t);
        inject_point(INJECT_FILL_ASIDE);
        return err != 0 ? err : aside_attach(&aside, a, ret, t);
}

static int no_layer(const struct layer_vol *v, enum layer_type type, struct trouble *t)
{
        trouble_set(t, E_UNSUPPORTED, TROUBLE_NO_LAYER,
                "Resource %s: what it is to be a copy of has the layer %s, which this satellite does not "
                "have.",
                v->dev->rsc_name, enum_name(&layer_type_enum, type));
        trouble_fix(t, "Upgrade the satellite, or delete the clone.");
        return E_UNSUPPORTED;
}

/* Opens one of its layers; v then stands for that one's device. */
static int open_layer(struct layer_vol *v, enum layer_type type, struct arena *a, struct trouble *t)
{
        const struct layer *kind = layer_by_type(type);
        struct layer_dev l = { .type = type, .made = true };
        int err = kind != NULL ? kind->open(v, t) : no_layer(v, type, t);
        inject_point(INJECT_FILL_OPENED);
        if (err == 0) err = kind->probe(v, a, &l, t);
        if (err == 0 && !l.open)
                err = trouble_set(t, E_NOT_FOUND, TROUBLE_POOL, "The layer %s of %s is not open.",
                        enum_name(&layer_type_enum, type), v->below_path);
        v->below_path = l.device_path;
        v->below_kib = l.size_kib;
        return err;
}

static int no_source(const struct step *s, struct trouble *t)
{
        trouble_set(t, E_NOT_FOUND, TROUBLE_POOL,
                "Resource %s, volume %llu: the snapshot that it is to be a copy of cannot be used.",
                s->dev.rsc_name, (unsigned long long)s->dev.volume_number);
        trouble_cause(t, "%s/%s is not there, is another one's, or cannot be looked at.", s->dev.place,
                s->vlm->source_id);
        trouble_fix(t, "Delete the clone, and clone again.");
        return E_NOT_FOUND;
}

struct source {
        const char *path; /* in the arena */
        uint64_t kib;     /* of data */
};

static int open_source(const struct step *s, struct arena *a, struct source *ret, struct trouble *t)
{
        char *id = arena_alloc(a, ASIDE_SIZE);
        struct dev d;
        struct layer_dev *l;
        uint32_t n;
        aside_name(&s->dev, id);
        int err = open_storage(s, id, a, &d, t);
        if (err == 0) err = layers_of_stack(s->vlm->source_layers, s->vlm->source_layers_n, a, &l, &n);
        if (err == 0 && d.device_path == NULL) err = no_source(s, t);
        if (err != 0) return err;
        d.backing_id = id;            /* what is above it has that name */
        d.vlm_uuid = s->dev.vlm_uuid; /* and these keys */
        d.rsc_name = s->dev.rsc_name;
        struct layer_vol v = { .dev = &d,
                .made = true,
                .below_path = d.device_path,
                .below_kib = d.device_kib,
                .props = s->props,
                .vlm = s->vlm,
                .want = s->want };
        for (uint32_t i = 0; err == 0 && i < n && !layer_is_whole(l[i].type); i++)
                err = open_layer(&v, l[i].type, a, t);
        ret->path = v.below_path;
        /* The controllers have asked how large the device was (sizes_of_devices()). DRBD's is smaller than what was below it. */
        ret->kib = had(s, layer_type_DRBD) ? MIN(v.below_kib, (s->vlm->size_kib + 3) / 4 * 4) : v.below_kib;
        return err;
}

/* ---- copying ---- */

static int copy_failed(const struct step *s, const struct copy_fault *f, struct trouble *t)
{
        return trouble_errno(t, f->number,
                "Resource %s, volume %llu: it cannot be copied: %s failed at byte %llu", s->dev.rsc_name,
                (unsigned long long)s->dev.volume_number, f->reading ? "reading" : "writing",
                (unsigned long long)f->at);
}

static int too_small(const struct step *s, uint64_t is_kib, uint64_t need_kib, struct trouble *t)
{
        trouble_set(t, E_INVALID, TROUBLE_INVALID_SIZE,
                "Resource %s, volume %llu: it is too small for what it is to be a copy of: %llu KiB, not "
                "%llu.",
                s->dev.rsc_name, (unsigned long long)s->dev.volume_number, (unsigned long long)is_kib,
                (unsigned long long)need_kib);
        trouble_fix(t, "Delete the clone, and clone again.");
        return E_INVALID;
}

/* Begins it. */
static int begin(const struct step *s, const struct layer_vol *to, struct trouble *t)
{
        struct arena a = { 0 };
        struct source from;
        struct copy_fault f;
        if (s->src == NULL || s->dev.vlm_uuid == NULL) return no_source(s, t);
        if (copies_full()) return E_PENDING;
        int err = open_source(s, &a, &from, t);
        if (err == 0 && to->below_kib < from.kib) err = too_small(s, to->below_kib, from.kib, t);
        if (err == 0) {
                err = copies_ask(s->dev.vlm_uuid, from.path, to->below_path, from.kib * 1024, &f);
                if (err == E_STORAGE) err = copy_failed(s, &f, t);
                else if (err == E_LIMIT) err = trouble_errno(t, EAGAIN, "%s cannot be copied", from.path);
                else if (err == E_BUSY || err == E_CANCELED) close_source(&s->dev); /* its turn comes */
        }
        if (err == E_BUSY || err == E_CANCELED) err = E_PENDING;
        if (err != E_PENDING) close_source(&s->dev);
        arena_done(&a);
        return err;
}

/* 0: the data is there. */
static int copy(const struct step *s, const struct layer_vol *to, struct trouble *t)
{
        struct copy_fault f;
        int err = s->dev.vlm_uuid != NULL ? copies_result(s->dev.vlm_uuid, &f) : E_NOT_FOUND;
        if (err == E_NOT_FOUND) return begin(s, to, t);
        if (err == E_PENDING) return err;
        close_source(&s->dev);
        if (err != 0) return copy_failed(s, &f, t);
        if (dev_layer(&s->dev, layer_type_LUKS) == NULL) keyring_drop(s->dev.vlm_uuid); /* its source's */
        return 0;
}

int run_fill_step(const struct step *s, struct trouble *t)
{
        struct arena a = { 0 };
        struct dev d;
        struct layer_vol v;
        bool left_out = had(s, layer_type_DRBD) && dev_layer(&s->dev, layer_type_DRBD) == NULL;
        int err = layers_below(s, &d, &a, &v, t);
        if (err == 0 && v.below_path == NULL) err = is_down(s, t);
        if (err == 0 && wanted_is_copied(s->want, s->vlm)) {
                err = copy(s, &v, t);
                left_out = false; /* no metadata was copied */
        }
        if (err == 0) err = drbd_md_clear(v.below_path, left_out, t);
        inject_point(INJECT_FILL_COPIED);
        arena_done(&a);
        return err;
}

/* ---- what is not wanted any more ---- */

static bool is_to_be_filled(const struct sat_rsc *want, const struct dev *d)
{
        if (want == NULL || !uuid_same(d->uuid, want->uuid)) return false;
        if (HAS(want, sat_rsc, flags) && (want->flags & rsc_flag_INACTIVE) != 0)
                return false; /* it is to be down */
        for (uint32_t i = 0; i < want->volumes_n; i++) {
                const struct sat_vlm *v = &want->volumes[i];
                if (v->volume_number == d->volume_number && dev_is_volume(d, v->uuid) &&
                        wanted_is_backed(want, v))
                        return wanted_is_copied(want, v) && !d->filled;
        }
        return false;
}

void run_fill_stop(const struct plan_input *in)
{
        for (uint32_t i = 0; i < in->devs_n; i++) {
                const struct dev *d = &in->devs[i];
                bool any;
                if (d->vlm_uuid == NULL || d->snap_name != NULL || is_to_be_filled(in->want, d)) continue;
                if (copies_stop(d->vlm_uuid, &any) != 0)
                        log_warn(LOG, "%s: what it is copied from does not answer", d->backing_id);
                else if (any) close_source(d);
        }
}

void run_fill_sweep(void)
{
        struct trouble t;
        if (close_layers(ASIDE_PREFIX, &t) != 0) log_warn(LOG, "%s", t.message);
}
