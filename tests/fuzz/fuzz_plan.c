/* What a satellite does about one resource, for any mixture of wanted state, tombstones and devices. No data
 * is removed but by the two reasons of satellite/plan.h; what could not be looked at or belongs to others is
 * left alone. */
#include <string.h>

#include "satellite/base/wanted.h"
#include "satellite/plan.h"
#include "tests/fuzz/input.h"

enum { VLMS_MAX = 4, DEVS_MAX = 6, GONE_MAX = 3 };

static const char *const uuids[] = { "u1", "u2", "u3", NULL }, *const pool_names[] = { "p1", "p2", "p3",
        NULL };
static const char *const places[] = { "/p1", "/p2" };
static const enum provider_kind kinds[] = { provider_kind_FILE, provider_kind_FILE_THIN,
        provider_kind_DISKLESS };

static void fill_vlms(struct input *in, struct arena *a, struct sat_vlm *v, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++) {
                unsigned how = input_u8(in);
                SET(&v[i], sat_vlm, volume_number, i);
                SET(&v[i], sat_vlm, size_kib, (how & 3) == 3 ? input_be(in, 8) : 4096 + 4096 * (how & 3));
                if ((how & 4) != 0) SET(&v[i], sat_vlm, provider_kind, kinds[input_below(in, 3)]);
                if ((how & 8) != 0) SET(&v[i], sat_vlm, storage_pool_name, pool_names[input_below(in, 3)]);
                if ((how & 16) != 0) SET(&v[i], sat_vlm, may_shrink, true);
                if ((how & 32) != 0)
                        SET(&v[i], sat_vlm, backing_id, (how & 64) != 0 ? "rsc_00000" : input_str(in, a));
        }
}

static void fill_dev(struct input *in, struct arena *a, struct dev *d)
{
        unsigned how = (unsigned)input_be(in, 2);
        *d = (struct dev){ .rsc_name = "rsc",
                .uuid = uuids[input_below(in, 4)],
                .volume_number = input_below(in, 3),
                .pool = pool_names[input_below(in, 4)],
                .kind = kinds[input_below(in, 2)],
                .place = places[input_below(in, 2)],
                .made = (how & 1) != 0,
                .unknown = (how & 6) == 6,
                .exists = (how & 8) != 0,
                .marked = (how & 16) != 0,
                .attached = (how & 32) != 0,
                .lost = (how & 64) != 0,
                .in_use = (how & 128) != 0 };
        d->backing_id =
                (how & 256) != 0 ? arena_printf(a, "rsc_%05u", (unsigned)d->volume_number) : input_str(in, a);
        d->last_size_kib = d->size_kib = (how & 512) != 0 ? 4096 : input_be(in, 8);
        d->device_kib = (how & 1024) != 0 ? d->size_kib : 4096;
        if (d->attached) d->device_path = "/dev/loop1";
        if (d->exists || d->lost) d->backing_path = "/p1/x";
}

static bool gone_names(const struct plan_input *in, const char *uuid)
{
        for (uint32_t i = 0; i < in->gone_n; i++)
                if (uuid != NULL && strcmp(in->gone[i].uuid, uuid) == 0) return true;
        return false;
}

/* Is volume number of the wanted resource one that has storage here? */
static bool keeps_volume(const struct sat_rsc *w, uint64_t number)
{
        for (uint32_t i = 0; i < w->volumes_n; i++)
                if (w->volumes[i].volume_number == number && wanted_is_backed(w, &w->volumes[i])) return true;
        return false;
}

static void check_step(const struct plan_input *in, const struct step *s)
{
        const struct dev *d = &s->dev;
        bool mine = in->want != NULL && d->uuid != NULL && strcmp(d->uuid, in->want->uuid) == 0;
        FUZZ_CHECK((unsigned)s->kind < STEP_N);
        FUZZ_CHECK(!d->unknown);
        FUZZ_CHECK(d->uuid != NULL && (mine || gone_names(in, d->uuid)));
        if (s->kind == STEP_REMOVE)
                FUZZ_CHECK(mine ? !keeps_volume(in->want, d->volume_number) : gone_names(in, d->uuid));
        if (s->kind == STEP_CREATE) FUZZ_CHECK(mine && !d->made && !d->exists);
        if (s->kind == STEP_CREATE || s->kind == STEP_GROW || s->kind == STEP_SHRINK)
                FUZZ_CHECK(s->size_kib > 0);
        if (s->kind == STEP_SHRINK) FUZZ_CHECK(mine && s->size_kib < d->size_kib);
        if (s->kind == STEP_GROW) FUZZ_CHECK(s->size_kib > d->size_kib);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct input in = { data, size };
        struct arena a = { 0 };
        struct sat_rsc want = { 0 };
        struct sat_vlm vlms[VLMS_MAX] = { 0 }, gone_vlms[GONE_MAX][2] = { 0 };
        struct sat_gone gone[GONE_MAX] = { 0 };
        struct dev devs[DEVS_MAX];
        static const struct plan_pool pools[] = { { "p1", provider_kind_FILE, "/p1" },
                { "p2", provider_kind_FILE_THIN, "/p2" }, { "p3", provider_kind_FILE, NULL } };
        unsigned how = input_u8(&in);
        struct plan_input pi = {
                .rsc_name = "rsc", .gone = gone, .devs = devs, .pools = pools, .pools_n = ARRAY_LEN(pools)
        };
        SET(&want, sat_rsc, rsc_name, "rsc");
        SET(&want, sat_rsc, uuid, uuids[input_below(&in, 3)]);
        SET(&want, sat_rsc, revision, 1);
        if ((how & 2) != 0) SET(&want, sat_rsc, flags, input_be(&in, 3));
        SET_N(&want, sat_rsc, volumes, vlms, input_below(&in, VLMS_MAX + 1));
        fill_vlms(&in, &a, vlms, want.volumes_n);
        if ((how & 1) != 0) pi.want = &want;
        pi.gone_n = input_below(&in, GONE_MAX + 1);
        for (uint32_t i = 0; i < pi.gone_n; i++) {
                SET(&gone[i], sat_gone, rsc_name, "rsc");
                SET(&gone[i], sat_gone, uuid, uuids[input_below(&in, 3)]);
                SET_N(&gone[i], sat_gone, volumes, gone_vlms[i], input_below(&in, 3));
                fill_vlms(&in, &a, gone_vlms[i], gone[i].volumes_n);
        }
        pi.devs_n = input_below(&in, DEVS_MAX + 1);
        for (uint32_t i = 0; i < pi.devs_n; i++) fill_dev(&in, &a, &devs[i]);
        struct plan p;
        FUZZ_CHECK(plan_resource(&pi, &a, &p) == 0);
        for (uint32_t i = 0; i < p.steps_n; i++) check_step(&pi, &p.steps[i]);
        for (uint32_t i = 0; i < pi.gone_n; i++) (void)plan_is_gone(&gone[i], devs, pi.devs_n, NULL, 0);
        arena_done(&a);
        return 0;
}
