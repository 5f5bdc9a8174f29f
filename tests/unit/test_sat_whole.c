/* Layers of whole resources: steps by a table, and random histories of a model of several volumes with interruptions between any two
 * steps. What a round leaves out when a step fails is not tested here. */
#include "tests/lib/test.h"

#include <string.h>

#include "satellite/base/wanted.h"
#include "satellite/plan.h"
#include "satellite/run.h"
#include "wire/codec/codec.h"

#define UUID_A "aaaaaaaa-0000-4000-8000-000000000001"
#define UUID_B "bbbbbbbb-0000-4000-8000-000000000001"
#define VOLUMES 3

static const struct plan_pool pools[] = { { "thick", provider_kind_FILE, "/p/thick" } };

static int no_probe(const struct layer_vol *v, struct arena *a, struct layer_dev *d, struct trouble *t)
{
        return E_UNSUPPORTED;
}
static int no_step(const struct layer_vol *v, struct trouble *t) { return E_UNSUPPORTED; }
static int no_look(const struct layer_rsc *r, struct arena *a, struct layer_whole *w, struct trouble *t)
{
        return E_UNSUPPORTED;
}
static int no_join(const struct layer_rsc *r, struct trouble *t) { return E_UNSUPPORTED; }
static const struct layer lower = { .type = layer_type_CACHE,
        .probe = no_probe,
        .make = no_step,
        .open = no_step,
        .grow = no_step,
        .close = no_step,
        .erase = no_step };
static const struct layer whole = { .type = layer_type_NVME,
        .probe = no_probe,
        .make = no_step,
        .grow = no_step,
        .look = no_look,
        .settle = no_join,
        .dissolve = no_join };

static void replace_layers(bool on)
{
        layer_replace(layer_type_CACHE, on ? &lower : NULL);
        layer_replace(layer_type_NVME, on ? &whole : NULL);
}

static const char *stack[] = { "LUKS", "NVME", "CACHE", "STORAGE" };
enum { BELOW, WHOLE, ABOVE, LAYERS };

/* ---- a model of a node: two incarnations of one resource, three volumes each, at the same places ---- */

struct place {
        struct dev d;
        struct layer_dev layers[LAYERS];
        bool there[LAYERS];
        uint64_t held; /* a number for the data */
        char id[16];
};
struct model {
        struct place places[VOLUMES];
        struct layer_whole whole;
        const char *whole_uuid;
        bool has[VOLUMES], with_disk[VOLUMES]; /* what it was settled with */
        uint64_t makes;
        unsigned dissolved, settled;
};

static void model_init(struct model *m)
{
        *m = (struct model){ .whole.type = layer_type_NVME };
        for (unsigned i = 0; i < VOLUMES; i++) {
                struct place *q = &m->places[i];
                snprintf(q->id, sizeof q->id, "r_%05u", i);
                q->layers[BELOW].type = layer_type_CACHE;
                q->layers[WHOLE].type = layer_type_NVME;
                q->layers[ABOVE].type = layer_type_LUKS;
                q->d = (struct dev){ .rsc_name = "r",
                        .volume_number = i,
                        .pool = "thick",
                        .kind = provider_kind_FILE,
                        .place = "/p/thick",
                        .backing_id = q->id,
                        .backing_path = q->id,
                        .device_path = "d",
                        .layers = q->layers,
                        .layers_n = LAYERS };
        }
}

static const struct sat_vlm *wanted(const struct sat_rsc *r, uint64_t number)
{
        for (uint32_t i = 0; r != NULL && i < r->volumes_n; i++)
                if (r->volumes[i].volume_number == number) return &r->volumes[i];
        return NULL;
}

static bool is_settled(const struct model *m, const struct sat_rsc *want)
{
        if (!m->whole.exists || want == NULL || !uuid_same(m->whole_uuid, want->uuid)) return false;
        for (unsigned i = 0; i < VOLUMES; i++) {
                const struct sat_vlm *v = wanted(want, i);
                if (m->has[i] != (v != NULL)) return false;
                if (v != NULL && m->with_disk[i] != wanted_is_backed(want, v)) return false;
        }
        return true;
}

/* What a look would see. */
static void model_look(struct model *m, const struct sat_rsc *want)
{
        m->whole.looked = true;
        m->whole.uuid = m->whole.exists ? m->whole_uuid : NULL;
        m->whole.settled = is_settled(m, want);
        for (unsigned k = 0; k < VOLUMES; k++) {
                struct place *q = &m->places[k];
                bool up = q->d.attached;
                uint64_t below = q->d.device_kib;
                q->layers[WHOLE].open = m->whole.exists && m->has[k] && m->with_disk[k] && q->d.exists;
                for (unsigned i = 0; i < LAYERS; i++) {
                        struct layer_dev *l = &q->layers[i];
                        l->looked = up;
                        l->exists = up && q->there[i];
                        l->made = q->d.exists && (l->made || l->exists);
                        if (!up && l->open) fail_msg("volume %u: layer %u has lost what is below", k, i);
                        l->lags = l->open && l->size_kib < below;
                        up = up && l->open;
                        below = l->size_kib;
                }
        }
}

static struct place *place_of(struct model *m, const struct dev *d)
{
        unsigned i = 0;
        while (i < VOLUMES - 1 && strcmp(m->places[i].id, d->backing_id) != 0) i++;
        assert_string_equal(m->places[i].id, d->backing_id);
        return &m->places[i];
}

static void apply_join(struct model *m, const struct step *s)
{
        bool has[VOLUMES] = { 0 }, with_disk[VOLUMES] = { 0 };
        for (uint32_t i = 0; i < s->seats_n; i++) {
                uint64_t k = s->seats[i].vlm->volume_number;
                assert_false(has[k]);
                has[k] = true;
                with_disk[k] = s->seats[i].dev != NULL;
                if (!with_disk[k]) continue;
                struct place *q = place_of(m, s->seats[i].dev);
                assert_true(q->layers[BELOW].open && q->there[WHOLE]);
                if (!q->layers[WHOLE].open) q->layers[WHOLE].size_kib = q->layers[BELOW].size_kib;
                q->layers[WHOLE].open = true;
        }
        for (unsigned k = 0; k < VOLUMES; k++) {
                if (with_disk[k] || !m->places[k].layers[WHOLE].open) continue;
                assert_false(m->places[k].layers[ABOVE].open); /* it would lose its device */
                m->places[k].layers[WHOLE].open = false;
        }
        if (s->kind == STEP_SETTLE) {
                assert_true(s->seats_n > 0);
                assert_true(!m->whole.exists || uuid_same(m->whole_uuid, s->want->uuid));
                m->whole_uuid = uuid_same(s->want->uuid, UUID_A) ? UUID_A : UUID_B;
                m->settled++;
        } else m->dissolved++;
        m->whole.exists = s->kind == STEP_SETTLE;
        memcpy(m->has, has, sizeof has);
        memcpy(m->with_disk, with_disk, sizeof with_disk);
}

static void apply_layer(struct model *m, const struct step *s)
{
        struct place *q = place_of(m, &s->dev);
        struct layer_dev *l = &q->layers[s->layer];
        bool up = s->layer == 0 ? q->d.attached : q->layers[s->layer - 1].open;
        uint64_t below = s->layer == 0 ? q->d.device_kib : q->layers[s->layer - 1].size_kib;
        assert_true(up);
        if (s->kind == STEP_MAKE && !q->there[s->layer]) {
                assert_false(l->made);
                q->there[s->layer] = l->made = true;
                if (s->layer == WHOLE) q->held = ++m->makes;
        } else if (s->kind == STEP_OPEN) {
                assert_true(q->there[s->layer] && !l->open && s->layer != WHOLE);
                l->open = true;
                l->size_kib = below;
        } else if (s->kind == STEP_STRETCH) {
                assert_true(l->open);
                l->size_kib = below;
        } else if (s->kind == STEP_CLOSE) {
                assert_true(l->open && s->layer != WHOLE);
                assert_true(s->layer == ABOVE || !q->layers[s->layer + 1].open);
                l->open = false;
        } else if (s->kind == STEP_ERASE) {
                assert_false(l->open);
                for (unsigned i = s->layer; i < LAYERS; i++) q->there[i] = false;
        }
}

static void apply(struct model *m, const struct step *s)
{
        if (s->kind == STEP_SETTLE || s->kind == STEP_DISSOLVE) {
                apply_join(m, s);
                return;
        }
        struct place *q = place_of(m, &s->dev);
        struct dev *d = &q->d;
        if (s->kind == STEP_CREATE) {
                assert_false(d->exists);
                d->exists = d->made = true;
                d->uuid = uuid_same(s->dev.uuid, UUID_A) ? UUID_A : UUID_B;
                d->size_kib = s->size_kib;
                for (unsigned i = 0; i < LAYERS; i++) q->there[i] = q->layers[i].made = false;
        } else if (s->kind == STEP_ATTACH) {
                d->attached = true;
                d->device_kib = d->size_kib;
        } else if (s->kind == STEP_GROW) d->size_kib = s->size_kib;
        else if (s->kind == STEP_REFRESH) d->device_kib = d->size_kib;
        else if (s->kind == STEP_DETACH) {
                assert_false(q->layers[BELOW].open);
                d->attached = false;
                d->device_kib = 0;
        } else if (s->kind == STEP_REMOVE) {
                assert_false(d->attached || q->there[BELOW]);
                d->exists = d->made = false;
                d->uuid = NULL;
                d->size_kib = 0;
        } else apply_layer(m, s);
}

struct wanting {
        struct sat_rsc r;
        struct sat_vlm v[VOLUMES];
        struct sat_gone gone;
};

static void fill(
        struct wanting *w, const char *uuid, unsigned mask, unsigned diskless, uint64_t net, uint64_t flags)
{
        *w = (struct wanting){ .gone = { .rsc_name = "r", .uuid = uuid } };
        unsigned n = 0;
        for (unsigned i = 0; i < VOLUMES; i++) {
                struct sat_vlm *v = &w->v[n];
                if ((mask >> i & 1) == 0) continue;
                SET(v, sat_vlm, volume_number, i);
                SET(v, sat_vlm, size_kib, net);
                if ((diskless >> i & 1) == 0) SET(v, sat_vlm, storage_pool_name, "thick");
                n++;
        }
        SET(&w->r, sat_rsc, rsc_name, "r");
        SET(&w->r, sat_rsc, uuid, uuid);
        SET(&w->r, sat_rsc, flags, flags);
        SET_N(&w->r, sat_rsc, volumes, w->v, n);
        SET_N(&w->r, sat_rsc, layer_stack, stack, ARRAY_LEN(stack));
}

static void put_devs(const struct model *m, struct plan_input *in, struct dev devs[VOLUMES])
{
        for (unsigned i = 0; i < VOLUMES; i++) devs[i] = m->places[i].d;
        in->devs = devs;
        in->devs_n = VOLUMES;
        in->wholes = &m->whole;
        in->wholes_n = 1;
}

/* ---- table ---- */

static void steps_text(const struct plan *p, struct buf *out)
{
        for (uint32_t i = 0; i < p->steps_n; i++) {
                const struct step *s = &p->steps[i];
                buf_printf(out, "%s%s", i > 0 ? " " : "", step_name(s->kind));
                if (s->kind == STEP_SETTLE)
                        for (uint32_t k = 0; k < s->seats_n; k++)
                                buf_printf(out, "%s%u%s", k == 0 ? ":" : ",",
                                        (unsigned)s->seats[k].vlm->volume_number,
                                        s->seats[k].dev == NULL ? "-" : "");
                else if (s->kind != STEP_DISSOLVE) buf_printf(out, ":%u", (unsigned)s->group);
        }
}

struct row {
        const char *name;
        struct {
                unsigned mask, diskless;
                uint64_t net, flags;
                bool gone;
        } was, is;
        const char *steps;
};
static const struct row rows[] = {
        { "new, two volumes", { 0 }, { 3, 0, 64, 0, false },
                "create:0 attach:0 create:1 attach:1 make:0 open:0 make:1 open:1 make:0 make:1 settle:0,1 "
                "make:0 open:0 make:1 open:1" },
        { "nothing to do", { 3, 0, 64, 0, false }, { 3, 0, 64, 0, false }, "" },
        { "without storage", { 0 }, { 1, 1, 64, 0, false }, "settle:0-" },
        { "one with, one without", { 0 }, { 3, 2, 64, 0, false },
                "create:0 attach:0 make:0 open:0 make:0 settle:0,1- make:0 open:0" },
        { "another volume", { 1, 0, 64, 0, false }, { 3, 0, 64, 0, false },
                "create:1 attach:1 make:1 open:1 make:1 settle:0,1 make:1 open:1" },
        { "a volume less", { 3, 0, 64, 0, false }, { 1, 0, 64, 0, false },
                "close:1 erase:1 settle:0 close:1 erase:1 detach:1 remove:1 settle:0" },
        { "loses its storage", { 1, 0, 64, 0, false }, { 1, 1, 64, 0, false },
                "close:0 erase:0 settle:0- close:0 erase:0 detach:0 remove:0 settle:0-" },
        { "gets storage", { 1, 1, 64, 0, false }, { 1, 0, 64, 0, false },
                "create:0 attach:0 make:0 open:0 make:0 settle:0 make:0 open:0" },
        { "grows", { 3, 0, 64, 0, false }, { 3, 0, 128, 0, false },
                "grow:0 refresh:0 grow:1 refresh:1 stretch:0 stretch:1 stretch:0 stretch:1 stretch:0 "
                "stretch:1" },
        { "goes down", { 3, 0, 64, 0, false }, { 3, 0, 64, rsc_flag_INACTIVE, false },
                "close:0 close:1 dissolve close:0 close:1 detach:0 detach:1" },
        { "without storage goes down", { 1, 1, 64, 0, false }, { 1, 1, 64, rsc_flag_INACTIVE, false },
                "dissolve" },
        { "comes up", { 1, 0, 64, rsc_flag_INACTIVE, false }, { 1, 0, 64, 0, false },
                "attach:0 make:0 open:0 make:0 settle:0 make:0 open:0" },
        { "deleted", { 3, 0, 64, 0, false }, { 3, 0, 64, 0, true },
                "close:0 erase:0 close:1 erase:1 dissolve close:0 erase:0 close:1 erase:1 detach:0 remove:0 "
                "detach:1 remove:1" },
        { "without storage deleted", { 1, 1, 64, 0, false }, { 1, 1, 64, 0, true }, "dissolve" },
};

/* Until nothing is left to do. */
static void settle_model(struct model *m, struct plan_input *in)
{
        for (unsigned i = 0; i < 10; i++) {
                struct arena a = { 0 };
                struct dev devs[VOLUMES];
                struct plan p;
                model_look(m, in->want);
                put_devs(m, in, devs);
                assert_int_equal(plan_resource(in, &a, &p), 0);
                for (uint32_t k = 0; k < p.steps_n; k++) apply(m, &p.steps[k]);
                uint32_t n = p.steps_n;
                arena_done(&a);
                if (n == 0) return;
        }
        fail_msg("does not settle");
}

static void test_rows(void **state)
{
        replace_layers(true);
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                const struct row *r = &rows[i];
                struct model m;
                struct wanting was, is;
                struct arena a = { 0 };
                struct dev devs[VOLUMES];
                struct plan p;
                struct buf text = { 0 };
                model_init(&m);
                fill(&was, UUID_A, r->was.mask, r->was.diskless, r->was.net, r->was.flags);
                fill(&is, UUID_A, r->is.mask, r->is.diskless, r->is.net, r->is.flags);
                struct plan_input in = { .rsc_name = "r", .pools = pools, .pools_n = 1 };
                in.want = r->was.mask != 0 ? &was.r : NULL;
                settle_model(&m, &in);
                in.want = r->is.gone ? NULL : &is.r;
                in.gone = &is.gone;
                in.gone_n = r->is.gone;
                model_look(&m, in.want);
                put_devs(&m, &in, devs);
                assert_int_equal(plan_resource(&in, &a, &p), 0);
                steps_text(&p, &text);
                if (strcmp(buf_cstr(&text), r->steps) != 0)
                        fail_msg("%s: \"%s\", not \"%s\"", r->name, buf_cstr(&text), r->steps);
                assert_int_equal(p.troubles_n, 0);
                buf_done(&text);
                arena_done(&a);
        }
        replace_layers(false);
}

/* Somebody else's by that name; a volume that is not ready. */
static void test_not_ready(void **state)
{
        struct model m;
        struct wanting w;
        struct arena a = { 0 };
        struct dev devs[VOLUMES];
        struct plan p;
        struct buf text = { 0 };
        replace_layers(true);
        model_init(&m);
        fill(&w, UUID_A, 3, 0, 64, 0);
        struct plan_input in = { .rsc_name = "r", .want = &w.r, .pools = pools, .pools_n = 1 };
        m.whole.exists = true;
        m.whole_uuid = UUID_B;
        model_look(&m, in.want);
        put_devs(&m, &in, devs);
        assert_int_equal(plan_resource(&in, &a, &p), 0);
        steps_text(&p, &text);
        assert_string_equal(
                buf_cstr(&text), "create:0 attach:0 create:1 attach:1 make:0 open:0 make:1 open:1");
        assert_int_equal(p.troubles_n, 1);
        assert_int_equal(p.troubles[0].code, TROUBLE_EXISTS);
        m.whole.exists = false;
        SET(&w.v[1], sat_vlm, storage_pool_name, "nowhere");
        model_look(&m, in.want);
        buf_reset(&text);
        assert_int_equal(plan_resource(&in, &a, &p), 0);
        steps_text(&p, &text);
        assert_string_equal(buf_cstr(&text), "create:0 attach:0 make:0 open:0");
        assert_int_equal(p.troubles_n, 1);
        buf_done(&text);
        arena_done(&a);
        replace_layers(false);
}

/* Disks are skipped: DRBD is settled with all volumes, whatever is below them; nothing is done to that, and nothing is said of it. */
static void test_skip_disk(void **state)
{
        static const char *drbd_stack[] = { "DRBD", "STORAGE" };
        static const struct {
                bool known, exists, unknown, settled;
                uint64_t flags;
                const char *steps;
        } cases[] = {
                { true, true, false, false, 0, "settle:0,1" },
                { true, true, false, true, 0, "" },
                { true, false, false, false, 0, "settle:0,1" }, /* it was deleted */
                { true, false, true, false, 0, "settle:0,1" },  /* its pool cannot be looked at */
                { false, false, false, false, 0, "settle:0-,1" },
                { true, true, false, true, rsc_flag_INACTIVE, "dissolve detach:0" },
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct wanting w;
                struct arena a = { 0 };
                struct layer_dev layers[2] = { { .type = layer_type_DRBD, .made = true },
                        { .type = layer_type_DRBD,
                                .made = true,
                                .looked = true,
                                .exists = true,
                                .open = true } };
                struct dev devs[2] = { 0 };
                struct layer_whole drbd = { .type = layer_type_DRBD,
                        .looked = true,
                        .exists = true,
                        .uuid = UUID_A,
                        .settled = cases[i].settled };
                struct sat_drbd d = { 0 };
                struct plan p;
                struct buf text = { 0 };
                fill(&w, UUID_A, 3, 0, 64, cases[i].flags);
                SET(&d, sat_drbd, skip_disk, true);
                SET(&w.r, sat_rsc, drbd, &d);
                SET_N(&w.r, sat_rsc, layer_stack, drbd_stack, 2);
                for (unsigned k = 0; k < 2; k++)
                        devs[k] = (struct dev){ .rsc_name = "r",
                                .uuid = UUID_A,
                                .volume_number = k,
                                .pool = "thick",
                                .kind = provider_kind_FILE,
                                .place = "/p/thick",
                                .backing_id = k == 0 ? "r_00000" : "r_00001",
                                .made = true,
                                .layers = &layers[k],
                                .layers_n = 1 };
                devs[0].exists = devs[0].attached = cases[i].exists;
                devs[0].unknown = cases[i].unknown;
                if (!cases[i].known) devs[0].uuid = UUID_B;
                struct plan_input in = { .rsc_name = "r",
                        .want = &w.r,
                        .pools = pools,
                        .pools_n = 1,
                        .devs = devs,
                        .devs_n = 2,
                        .wholes = &drbd,
                        .wholes_n = 1 };
                assert_int_equal(plan_resource(&in, &a, &p), 0);
                steps_text(&p, &text);
                assert_string_equal(buf_cstr(&text), cases[i].steps);
                assert_int_equal(p.troubles_n, 0);
                buf_done(&text);
                arena_done(&a);
        }
}

static int no_take(const char *rsc_name, struct trouble *t) { return E_UNSUPPORTED; }

/* A file system is made last, by one node, and only where the device can be taken. */
static void test_file_system(void **state)
{
        static const char *kv[] = { "FileSystem/Type", "ext4" };
        static const struct {
                bool takes, winner, in_use, formatted, made;
        } cases[] = { { true, true, false, false, true }, { true, false, false, false, false },
                { false, true, false, false, false }, { true, true, true, false, false },
                { true, true, false, true, false } };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct layer taken = whole;
                struct model m;
                struct wanting w;
                struct arena a = { 0 };
                struct dev devs[VOLUMES];
                struct plan p;
                if (cases[i].takes) taken.take = taken.give_back = no_take;
                replace_layers(true);
                layer_replace(layer_type_NVME, &taken);
                model_init(&m);
                fill(&w, UUID_A, 1, 0, 64, 0);
                w.v[0].props = (struct strmap){ .kv = kv, .n = 1 };
                w.v[0].drbd_winner = cases[i].winner;
                struct plan_input in = { .rsc_name = "r", .want = &w.r, .pools = pools, .pools_n = 1 };
                for (unsigned round = 0; round < 3; round++) {
                        model_look(&m, in.want);
                        m.places[0].layers[ABOVE].in_use = cases[i].in_use;
                        m.places[0].d.formatted = cases[i].formatted;
                        put_devs(&m, &in, devs);
                        assert_int_equal(plan_resource(&in, &a, &p), 0);
                        bool last = p.steps_n > 0 && p.steps[p.steps_n - 1].kind == STEP_FORMAT;
                        if (round > 0) assert_int_equal(p.steps_n, cases[i].made ? 1 : 0);
                        if (round > 0 || !(cases[i].in_use || cases[i].formatted))
                                assert_int_equal(last, cases[i].made);
                        for (uint32_t k = 0; k < p.steps_n - last; k++) apply(&m, &p.steps[k]);
                }
                arena_done(&a);
                replace_layers(false);
        }
}

/* Below what is exported it is made before that, and not any more once another node may use it. */
static void test_file_system_exported(void **state)
{
        static const char *kv[] = { "FileSystem/Type", "xfs" },
                          *exported_stack[] = { "NVME", "CACHE", "STORAGE" };
        for (unsigned exported = 0; exported < 2; exported++) {
                struct layer exports = whole;
                struct model m;
                struct wanting w;
                struct arena a = { 0 };
                struct dev devs[VOLUMES];
                struct plan p;
                unsigned format = 0, settle = 0;
                exports.exports = true;
                replace_layers(true);
                layer_replace(layer_type_NVME, &exports);
                model_init(&m);
                fill(&w, UUID_A, 1, 0, 64, 0);
                for (unsigned i = 0; i < VOLUMES; i++) m.places[i].d.layers_n = WHOLE + 1;
                SET_N(&w.r, sat_rsc, layer_stack, exported_stack, ARRAY_LEN(exported_stack));
                struct plan_input in = { .rsc_name = "r", .want = &w.r, .pools = pools, .pools_n = 1 };
                for (unsigned round = 0; round < 2; round++) {
                        /* asked for from the beginning, or when it is there already */
                        if (round >= exported) w.v[0].props = (struct strmap){ .kv = kv, .n = 1 };
                        model_look(&m, in.want);
                        put_devs(&m, &in, devs);
                        assert_int_equal(plan_resource(&in, &a, &p), 0);
                        for (uint32_t k = 0; k < p.steps_n; k++) {
                                unsigned now = round * 100 + k + 1;
                                if (p.steps[k].kind == STEP_FORMAT) {
                                        assert_int_equal(p.steps[k].layer, WHOLE);
                                        format = now;
                                        continue;
                                }
                                if (p.steps[k].kind == STEP_SETTLE) settle = now;
                                apply(&m, &p.steps[k]);
                        }
                }
                assert_in_range(settle, 1, 99);
                assert_int_equal(format, exported ? 0 : settle - 1);
                arena_done(&a);
                replace_layers(false);
        }
}

/* ---- random histories ---- */

static void reboot(struct model *m)
{
        m->whole.exists = false;
        for (unsigned i = 0; i < VOLUMES; i++) {
                struct place *q = &m->places[i];
                m->has[i] = m->with_disk[i] = q->d.attached = false;
                q->d.device_kib = 0;
                for (unsigned k = 0; k < LAYERS; k++) q->layers[k].open = false;
        }
}

static void converge(struct test_rng *rng, struct model *m, struct plan_input *in, uint64_t seed)
{
        for (unsigned round = 0; round < 80; round++) {
                struct arena a = { 0 };
                struct dev devs[VOLUMES];
                struct plan p;
                model_look(m, in->want);
                put_devs(m, in, devs);
                assert_int_equal(plan_resource(in, &a, &p), 0);
                uint32_t todo = round < 40 ? (uint32_t)test_rng_below(rng, p.steps_n + 1) : p.steps_n;
                for (uint32_t i = 0; i < todo; i++) apply(m, &p.steps[i]);
                uint32_t n = p.steps_n, troubles = p.troubles_n;
                arena_done(&a);
                if (n == 0 && troubles == 0) return;
                if (round < 40 && test_rng_below(rng, 8) == 0) reboot(m);
        }
        fail_msg("seed %llu does not converge", (unsigned long long)seed);
}

static void check_end(const struct model *m, const struct sat_rsc *want)
{
        for (unsigned i = 0; i < VOLUMES; i++) {
                const struct sat_vlm *v = wanted(want, i);
                const struct place *q = &m->places[i];
                bool backed = v != NULL && wanted_is_backed(want, v);
                bool up = backed && (want->flags & rsc_flag_INACTIVE) == 0;
                assert_int_equal(q->d.exists, backed);
                assert_int_equal(q->layers[ABOVE].open, up);
                if (up) assert_int_equal(q->layers[ABOVE].size_kib, q->d.size_kib);
        }
        bool active = want != NULL && want->volumes_n > 0 && (want->flags & rsc_flag_INACTIVE) == 0;
        if (active) assert_true(is_settled(m, want));
        else assert_false(m->whole.exists);
}

static void test_random(void **state)
{
        replace_layers(true);
        unsigned settled = 0, dissolved = 0;
        for (uint64_t seed = 1; seed <= 600; seed++) {
                struct test_rng rng = { seed };
                struct model m;
                struct wanting w, old;
                const char *uuid = UUID_A;
                uint64_t net = 64;
                model_init(&m);
                fill(&old, UUID_B, 0, 0, net, 0);
                for (unsigned change = 0; change < 8; change++) {
                        unsigned what = (unsigned)test_rng_below(&rng, 6);
                        bool anew = what == 0;
                        if (anew) {
                                old = w = (struct wanting){ .gone = { .rsc_name = "r", .uuid = uuid } };
                                uuid = uuid_same(uuid, UUID_A) ? UUID_B : UUID_A;
                        }
                        unsigned mask = 1 + (unsigned)test_rng_below(&rng, 7);
                        unsigned diskless = (unsigned)test_rng_below(&rng, 3) == 0
                                                    ? (unsigned)test_rng_below(&rng, 8)
                                                    : 0;
                        net += 4 * test_rng_below(&rng, 3);
                        fill(&w, uuid, mask, diskless, net, what == 1 ? rsc_flag_INACTIVE : 0);
                        struct plan_input in = {
                                .rsc_name = "r", .want = &w.r, .pools = pools, .pools_n = 1
                        };
                        in.gone = &old.gone;
                        in.gone_n = anew;
                        uint64_t held[VOLUMES];
                        bool kept[VOLUMES];
                        for (unsigned i = 0; i < VOLUMES; i++) {
                                const struct sat_vlm *v = wanted(&w.r, i);
                                kept[i] = !anew && v != NULL && wanted_is_backed(&w.r, v) &&
                                          m.places[i].d.exists && m.places[i].there[WHOLE];
                                held[i] = m.places[i].held;
                        }
                        converge(&rng, &m, &in, seed);
                        check_end(&m, &w.r);
                        for (unsigned i = 0; i < VOLUMES; i++)
                                if (kept[i]) assert_int_equal(m.places[i].held, held[i]);
                }
                struct plan_input in = {
                        .rsc_name = "r", .gone = &w.gone, .gone_n = 1, .pools = pools, .pools_n = 1
                };
                converge(&rng, &m, &in, seed);
                check_end(&m, NULL);
                settled += m.settled;
                dissolved += m.dissolved;
        }
        assert_true(settled > 1000 && dissolved > 600);
        replace_layers(false);
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows), cmocka_unit_test(test_not_ready),
                cmocka_unit_test(test_file_system), cmocka_unit_test(test_file_system_exported),
                cmocka_unit_test(test_skip_disk), cmocka_unit_test(test_random) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
