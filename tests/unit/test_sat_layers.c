/* What is stacked on backing devices: sizes through stacks, steps by tables, random histories of a model with interruptions between
 * any two steps, options of LUKS, the keyring, the erasing of headers. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <libcryptsetup.h>
#include <stdlib.h>
#include <unistd.h>

#include "satellite/layer/keyring.h"
#include "satellite/layer/luks_erase.h"
#include "satellite/layer/luks_options.h"
#include "satellite/plan.h"
#include "wire/codec/codec.h"
#include "wire/def/layer_size.h"

#define UUID_A "aaaaaaaa-0000-4000-8000-000000000001"
#define VLM_1 "11111111-0000-4000-8000-000000000001"
#define LUKS LUKS_HEADER_KIB

/* ---- sizes ---- */

static void test_sizes(void **state)
{
        static const struct {
                const char *stack[4];
                uint64_t net, storage;
        } rows[] = {
                { { "STORAGE" }, 1024, 1024 },
                { { "LUKS", "STORAGE" }, 1024, 1024 + 16384 },
                { { "LUKS" }, 4, 16388 },
                { { "luks", "storage" }, 4, 16388 },
                { { "WRITECACHE", "LUKS", "STORAGE" }, 4096, 4096 + 16384 },
                { { "BCACHE", "LUKS", "STORAGE" }, 4096, 4096 + 1024 + 16384 },
                { { "DRBD", "STORAGE" }, 1024, 1024 + 40 },
                { { "DRBD", "LUKS", "STORAGE" }, 1024, 1024 + 40 + 16384 },
                { { "nonsense", "STORAGE" }, 8, 8 },
                { { "LUKS", "STORAGE" }, UINT64_MAX - 16384, UINT64_MAX },
                { { NULL }, 8, 8 },
        };
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                const char *const *stack = rows[i].stack;
                uint32_t n = 0;
                while (n < 4 && stack[n] != NULL) n++;
                assert_int_equal(stack_storage_kib(stack, n, rows[i].net, 0), rows[i].storage);
                assert_int_equal(stack_net_kib(stack, n, rows[i].storage, 0), rows[i].net);
        }
        const char *const luks[] = { "LUKS", "STORAGE" };
        static const struct {
                const char *a[3], *b[3];
                bool share;
        } pairs[] = {
                { { "STORAGE" }, { "STORAGE" }, true },
                { { "STORAGE" }, { NULL }, true },
                { { "DRBD", "STORAGE" }, { "storage" }, true },
                { { "DRBD", "LUKS", "STORAGE" }, { "luks", "storage" }, true },
                { { "LUKS", "STORAGE" }, { "STORAGE" }, false },
                { { "DRBD", "STORAGE" }, { "DRBD", "LUKS", "STORAGE" }, false },
                { { "CACHE", "LUKS" }, { "LUKS", "CACHE" }, false },
                { { "NVME", "STORAGE" }, { "STORAGE" }, false },
        };
        for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
                uint32_t n = 0, m = 0;
                while (n < 3 && pairs[i].a[n] != NULL) n++;
                while (m < 3 && pairs[i].b[m] != NULL) m++;
                assert_int_equal(stacks_share(pairs[i].a, n, pairs[i].b, m), pairs[i].share);
                assert_int_equal(stacks_share(pairs[i].b, m, pairs[i].a, n), pairs[i].share);
        }
        assert_true(stack_storage_kib(luks, 2, UINT64_MAX - 16383, 0) == UINT64_MAX);
        assert_int_equal(stack_net_kib(luks, 2, 16383, 0), 0);
        assert_int_equal(stack_net_kib(luks, 2, 16384, 0), 0);
}

/* ---- steps ---- */

static const struct plan_pool pools[] = { { "thick", provider_kind_FILE, "/p/thick" } };

/* Layers bottom up: a letter for each layer, flags after it. L LUKS; m made, l looked, e exists, r raw, f foreign, o open, s lags, k dated. */
struct row {
        const char *name;
        const char *stack; /* "" = nothing is wanted */
        uint64_t net_kib, flags;
        uint64_t size_kib, device_kib; /* of the backing; 0 = not there, not attached */
        const char *layers;
        bool gone;
        const char *steps, *troubles;
};

static const struct row rows[] = {
        { "new: size with header, all the way up", "LUKS", 1024, 0, 0, 0, "L", false,
                "create:17408 attach make open", "" },
        { "new and inactive", "LUKS", 1024, rsc_flag_INACTIVE, 0, 0, "L", false, "create:17408", "" },
        { "made with STORAGE alone, then activated", "LUKS", 1024, 0, 17408, 0, "L", false,
                "attach make open", "" },
        { "killed after attaching", "LUKS", 1024, 0, 17408, 17408, "Ll", false, "make open", "" },
        { "killed while making", "LUKS", 1024, 0, 17408, 17408, "Llr", false, "make open", "" },
        { "killed while making, udev brings it up", "LUKS", 1024, 0, 17408, 17408, "Llros", false,
                "make stretch", "" },
        { "killed after making", "LUKS", 1024, 0, 17408, 17408, "Llem", false, "open", "" },
        { "all is well", "LUKS", 1024, 0, 17408, 17408, "Llemo", false, "", "" },
        { "after a reboot", "LUKS", 1024, 0, 17408, 0, "Lm", false, "attach open", "" },
        { "grow online", "LUKS", 2048, 0, 17408, 17408, "Llemo", false, "grow:18432 refresh stretch", "" },
        { "killed after growing the backing", "LUKS", 2048, 0, 18432, 17408, "Llemo", false,
                "refresh stretch", "" },
        { "killed before the layer grew", "LUKS", 2048, 0, 18432, 18432, "Llemos", false, "stretch", "" },
        { "its key was changed", "LUKS", 1024, 0, 17408, 17408, "Llemok", false, "stretch", "" },
        { "two layers, the lower one is dated: the upper one stays", "LUKS,CACHE", 1024, 0, 17408, 17408,
                "BlemokLlemo", false, "stretch", "" },
        { "two layers, the lower one is dated and lags", "LUKS,CACHE", 1024, 0, 17408, 17408, "BlemoksLlemo",
                false, "stretch stretch", "" },
        { "grow what is down", "LUKS", 2048, 0, 17408, 0, "Lm", false, "grow:18432 attach open", "" },
        { "grow what is closed", "LUKS", 2048, 0, 17408, 17408, "Llem", false, "grow:18432 refresh open",
                "" },
        { "deactivate", "LUKS", 1024, rsc_flag_INACTIVE, 17408, 17408, "Llemo", false, "close detach", "" },
        { "deactivate, killed after closing", "LUKS", 1024, rsc_flag_INACTIVE, 17408, 17408, "Llem", false,
                "detach", "" },
        { "emptied: not made again", "LUKS", 1024, 0, 17408, 17408, "Llm", false, "", "990" },
        { "something else is on it", "LUKS", 1024, 0, 17408, 17408, "Llf", false, "", "504" },
        { "emptied under an open device: it stays open", "LUKS", 1024, 0, 17408, 17408, "Llmo", false, "",
                "" },
        { "delete", "", 0, 0, 17408, 17408, "Llemo", true, "close erase detach remove", "" },
        { "delete, killed after closing", "", 0, 0, 17408, 17408, "Llem", true, "erase detach remove", "" },
        { "delete, killed after erasing", "", 0, 0, 17408, 17408, "Llm", true, "detach remove", "" },
        { "delete what is down", "", 0, 0, 17408, 0, "Lm", true, "attach erase detach remove", "" },
        { "delete what was made half", "", 0, 0, 17408, 17408, "Llr", true, "erase detach remove", "" },
        { "delete what has something else on it", "", 0, 0, 17408, 17408, "Llf", true, "detach remove", "" },
        { "not asked to delete: kept", "", 0, 0, 17408, 17408, "Llemo", false, "", "1010" },
        { "larger than wanted is fine", "LUKS", 512, 0, 17408, 17408, "Llemo", false, "", "" },
        { "two layers, new", "LUKS,CACHE", 1024, 0, 0, 0, "BL", false,
                "create:17408 attach make open make open", "" },
        { "two layers, killed after the lower one", "LUKS,CACHE", 1024, 0, 17408, 17408, "BlemoLl", false,
                "make open", "" },
        { "two layers, lower one closed", "LUKS,CACHE", 1024, 0, 17408, 17408, "BlemLm", false, "open open",
                "" },
        { "two layers, grow", "LUKS,CACHE", 2048, 0, 17408, 17408, "BlemoLlemo", false,
                "grow:18432 refresh stretch stretch", "" },
        { "two layers, only the lower one grew", "LUKS,CACHE", 2048, 0, 18432, 18432, "BlemoLlemos", false,
                "stretch", "" },
        { "two layers, delete", "", 0, 0, 17408, 17408, "BlemoLlemo", true,
                "close erase close erase detach remove", "" },
        { "two layers, delete, upper one gone", "", 0, 0, 17408, 17408, "BlemoLl", true,
                "close erase detach remove", "" },
        { "two layers, delete, lower one closed", "", 0, 0, 17408, 17408, "BlemLm", true,
                "erase detach remove", "" },
        { "two layers, upper one emptied", "LUKS,CACHE", 1024, 0, 17408, 17408, "BlemoLlm", false, "",
                "990" },
        { "a layer that nobody built", "MORE", 1024, 0, 0, 0, "", false, "", "988" },
};

static int no_probe(const struct layer_vol *v, struct arena *a, struct layer_dev *d, struct trouble *t)
{
        return E_UNSUPPORTED;
}
static int no_step(const struct layer_vol *v, struct trouble *t) { return E_UNSUPPORTED; }
static const struct layer second = { .type = layer_type_CACHE,
        .probe = no_probe,
        .make = no_step,
        .open = no_step,
        .grow = no_step,
        .close = no_step,
        .erase = no_step };

static uint32_t parse_layers(const char *text, struct layer_dev out[LAYERS_MAX])
{
        uint32_t n = 0;
        for (const char *p = text; *p != '\0'; p++) {
                struct layer_dev *l = n == 0 ? NULL : &out[n - 1];
                switch (*p) {
                case 'L':
                        out[n++] =
                                (struct layer_dev){ .type = layer_type_LUKS, .device_path = "/dev/mapper/x" };
                        break;
                case 'B':
                        out[n++] =
                                (struct layer_dev){ .type = layer_type_CACHE, .device_path = "/dev/bcache0" };
                        break;
                case 'm': l->made = true; break;
                case 'l': l->looked = true; break;
                case 'e': l->exists = true; break;
                case 'r': l->raw = true; break;
                case 'f': l->foreign = true; break;
                case 'o': l->open = true; break;
                case 's': l->lags = true; break;
                case 'k': l->dated = true; break;
                default: fail_msg("flag %c", *p);
                }
        }
        return n;
}

static void fill_want(
        const struct row *r, struct sat_rsc *want, struct sat_vlm *v, const char *stack[3], char text[32])
{
        uint32_t n = 0;
        snprintf(text, 32, "%s", r->stack);
        for (char *save, *s = strtok_r(text, ",", &save); s != NULL; s = strtok_r(NULL, ",", &save))
                stack[n++] = s;
        stack[n++] = "STORAGE";
        SET(v, sat_vlm, size_kib, r->net_kib);
        SET(v, sat_vlm, storage_pool_name, "thick");
        SET(v, sat_vlm, uuid, VLM_1);
        SET(want, sat_rsc, rsc_name, "r");
        SET(want, sat_rsc, uuid, UUID_A);
        SET(want, sat_rsc, flags, r->flags);
        SET_N(want, sat_rsc, volumes, v, 1);
        SET_N(want, sat_rsc, layer_stack, stack, n);
}

static void check_row(const struct row *r)
{
        struct arena a = { 0 };
        struct layer_dev layers[LAYERS_MAX] = { 0 };
        const char *stack[3];
        char text[32];
        struct sat_vlm v = { 0 };
        struct sat_rsc want = { 0 };
        struct sat_gone gone = { .rsc_name = "r", .uuid = UUID_A };
        struct dev d = { .rsc_name = "r",
                .uuid = r->size_kib > 0 ? UUID_A : NULL,
                .vlm_uuid = r->size_kib > 0 ? VLM_1 : NULL,
                .pool = "thick",
                .kind = provider_kind_FILE,
                .place = "/p/thick",
                .backing_id = "r_00000",
                .backing_path = "/p/thick/r_00000.img",
                .device_path = "/dev/loop7",
                .exists = r->size_kib > 0,
                .made = r->size_kib > 0,
                .attached = r->device_kib > 0,
                .size_kib = r->size_kib,
                .device_kib = r->device_kib,
                .layers = layers };
        d.layers_n = parse_layers(r->layers, layers);
        struct plan_input in = {
                .rsc_name = "r", .devs = &d, .devs_n = 1, .pools = pools, .pools_n = 1, .gone = &gone
        };
        in.gone_n = r->gone;
        fill_want(r, &want, &v, stack, text);
        if (r->stack[0] != '\0') in.want = &want;
        struct plan p;
        assert_int_equal(plan_resource(&in, &a, &p), 0);
        struct buf steps = { 0 }, troubles = { 0 };
        for (uint32_t i = 0; i < p.steps_n; i++) {
                buf_printf(&steps, "%s%s", i > 0 ? " " : "", step_name(p.steps[i].kind));
                if (p.steps[i].size_kib > 0) buf_printf(&steps, ":%u", (unsigned)p.steps[i].size_kib);
                bool props = p.steps[i].kind == STEP_MAKE || p.steps[i].kind == STEP_OPEN ||
                             p.steps[i].kind == STEP_STRETCH ||
                             (p.steps[i].kind == STEP_CLOSE && in.want != NULL);
                if (props != (p.steps[i].props != NULL)) fail_msg("%s: properties", r->name);
        }
        for (uint32_t i = 0; i < p.troubles_n; i++)
                buf_printf(&troubles, "%s%u", i > 0 ? " " : "", p.troubles[i].code);
        if (strcmp(buf_cstr(&steps), r->steps) != 0)
                fail_msg("%s: steps \"%s\", not \"%s\"", r->name, buf_cstr(&steps), r->steps);
        if (strcmp(buf_cstr(&troubles), r->troubles) != 0)
                fail_msg("%s: troubles \"%s\", not \"%s\"", r->name, buf_cstr(&troubles), r->troubles);
        buf_done(&steps);
        buf_done(&troubles);
        arena_done(&a);
}

static void test_rows(void **state)
{
        layer_replace(layer_type_CACHE, &second);
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) check_row(&rows[i]);
        layer_replace(layer_type_CACHE, NULL);
}

/* ---- random histories on a model: one volume with two layers ---- */

struct model {
        struct dev d;
        struct layer_dev layers[2];
        bool there[2];    /* their metadata is on the device below */
        uint64_t held[2]; /* a number for the data; a new one whenever a layer is made */
        uint64_t makes;
};

/* What a probe would see. */
static void model_look(struct model *m)
{
        bool up = m->d.attached;
        uint64_t below = m->d.device_kib;
        for (unsigned i = 0; i < 2; i++) {
                struct layer_dev *l = &m->layers[i];
                l->looked = up;
                l->exists = up && m->there[i];
                l->made = l->made || l->exists;
                assert_true(up || !l->open);
                l->lags = l->open && l->size_kib < below;
                up = up && l->open;
                below = l->size_kib;
        }
}

static void apply_layer(struct model *m, const struct step *s)
{
        struct layer_dev *l = &m->layers[s->layer];
        bool up = s->layer == 0 ? m->d.attached : m->layers[0].open;
        uint64_t below = s->layer == 0 ? m->d.device_kib : m->layers[0].size_kib;
        assert_true(up);
        if (s->kind == STEP_MAKE && !m->there[s->layer]) {
                assert_false(l->made);
                m->there[s->layer] = l->made = true;
                m->held[s->layer] = ++m->makes;
        } else if (s->kind == STEP_OPEN) {
                assert_true(m->there[s->layer] && !l->open);
                l->open = true;
                l->size_kib = below;
        } else if (s->kind == STEP_STRETCH) {
                assert_true(l->open);
                l->size_kib = below;
        } else if (s->kind == STEP_CLOSE) {
                assert_true(l->open && (s->layer == 1 || !m->layers[1].open));
                l->open = false;
        } else if (s->kind == STEP_ERASE) {
                assert_false(l->open);
                m->there[s->layer] = false;
                if (s->layer == 0) m->there[1] = false;
        }
}

static void apply(struct model *m, const struct step *s)
{
        struct dev *d = &m->d;
        if (s->kind == STEP_CREATE) {
                assert_false(d->exists);
                d->exists = d->made = true;
                d->uuid = UUID_A;
                d->vlm_uuid = VLM_1;
                d->size_kib = s->size_kib;
                m->there[0] = m->there[1] = m->layers[0].made = m->layers[1].made = false;
        } else if (s->kind == STEP_ATTACH) {
                d->attached = true;
                d->device_kib = d->size_kib;
        } else if (s->kind == STEP_GROW) d->size_kib = s->size_kib;
        else if (s->kind == STEP_REFRESH) d->device_kib = d->size_kib;
        else if (s->kind == STEP_DETACH) {
                assert_false(m->layers[0].open);
                d->attached = false;
                d->device_kib = 0;
        } else if (s->kind == STEP_REMOVE) {
                assert_false(d->attached);
                assert_false(m->there[0]); /* no key is left behind */
                d->exists = d->made = false;
                d->uuid = d->vlm_uuid = NULL;
                d->size_kib = 0;
        } else apply_layer(m, s);
}

static void converge(struct test_rng *rng, struct model *m, struct plan_input *in, uint64_t seed)
{
        for (unsigned round = 0; round < 60; round++) {
                struct arena a = { 0 };
                struct plan p;
                model_look(m);
                assert_int_equal(plan_resource(in, &a, &p), 0);
                uint32_t todo = round < 30 ? (uint32_t)test_rng_below(rng, p.steps_n + 1) : p.steps_n;
                for (uint32_t i = 0; i < todo; i++) apply(m, &p.steps[i]);
                arena_done(&a);
                if (p.steps_n == 0) return;
                /* A reboot now and then. */
                if (round < 30 && test_rng_below(rng, 8) == 0) {
                        m->d.attached = m->layers[0].open = m->layers[1].open = false;
                        m->d.device_kib = 0;
                }
        }
        fail_msg("seed %llu does not converge", (unsigned long long)seed);
}

static void test_random(void **state)
{
        static const char *const stack[] = { "LUKS", "CACHE", "STORAGE" };
        layer_replace(layer_type_CACHE, &second);
        for (uint64_t seed = 1; seed <= 1000; seed++) {
                struct test_rng rng = { seed };
                struct model m = { .d = { .rsc_name = "r",
                                           .pool = "thick",
                                           .kind = provider_kind_FILE,
                                           .place = "/p/thick",
                                           .backing_id = "r_00000",
                                           .backing_path = "f",
                                           .device_path = "d",
                                           .layers_n = 2 } };
                m.d.layers = m.layers;
                m.layers[0].type = layer_type_CACHE;
                m.layers[1].type = layer_type_LUKS;
                uint64_t net = 1024;
                for (unsigned change = 0; change < 10; change++) {
                        struct row r = { .stack = "LUKS,CACHE",
                                .net_kib = net += 4 * test_rng_below(&rng, 3) };
                        struct sat_rsc want = { 0 };
                        struct sat_vlm v = { 0 };
                        struct sat_gone gone = { .rsc_name = "r", .uuid = UUID_A };
                        const char *names[3];
                        char text[32];
                        struct plan_input in = { .rsc_name = "r",
                                .devs = &m.d,
                                .devs_n = 1,
                                .pools = pools,
                                .pools_n = 1,
                                .gone = &gone };
                        unsigned what = (unsigned)test_rng_below(&rng, 6);
                        if (what == 1) r.flags = rsc_flag_INACTIVE;
                        fill_want(&r, &want, &v, names, text);
                        in.want = what == 0 ? NULL : &want;
                        in.gone_n = what == 0;
                        uint64_t held = m.held[1];
                        bool kept = m.d.exists && m.there[1];
                        converge(&rng, &m, &in, seed);
                        if (what == 0) {
                                assert_false(m.d.exists);
                                continue;
                        }
                        assert_int_equal(m.layers[1].open, what != 1);
                        if (kept) assert_int_equal(m.held[1], held); /* the data of before */
                        if (what != 1) {
                                assert_true(m.d.size_kib >= stack_storage_kib(stack, 3, net, 0));
                                assert_int_equal(m.layers[1].size_kib, m.d.size_kib);
                        }
                }
        }
        layer_replace(layer_type_CACHE, NULL);
}

/* ---- LUKS ---- */

static void test_options(void **state)
{
        struct luks_format o;
        struct fail f = { 0 };
        uint32_t flags = 0;
        assert_int_equal(luks_parse_format("", &o, &f), 0);
        assert_string_equal(o.cipher, "aes");
        assert_string_equal(o.mode, "xts-plain64");
        assert_int_equal(o.key_bytes, 64);
        assert_int_equal(
                luks_parse_format(
                        " --type luks2 --cipher=serpent-xts-plain64 -s 256 --hash sha512 --sector-size=4096 "
                        "--pbkdf pbkdf2 --pbkdf-force-iterations 1000 --pbkdf-memory 1024 --pbkdf-parallel 2",
                        &o, &f),
                0);
        assert_string_equal(o.cipher, "serpent");
        assert_int_equal(o.key_bytes, 32);
        assert_string_equal(o.hash, "sha512");
        assert_int_equal(o.sector_size, 4096);
        assert_true(o.pbkdf2 && o.iterations == 1000 && o.memory_kb == 1024 && o.parallel == 2);
        static const char *const bad[] = { "--nonsense", "--cipher aes", "--cipher -x", "-s 12", "-s 0",
                "-s 4096", "-s", "--type luks1", "--sector-size 1000", "--pbkdf scrypt",
                "--pbkdf-memory 9999999", "--hash=", "--pbkdf-parallel x",
                "--cipher aes-abcdefghijklmnopqrstuvwxyzabcdefghijklmnopq",
                "--cipher aes-abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqabcdefghijklmnopqrstuvwxyz" };
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
                f = (struct fail){ 0 };
                assert_int_equal(luks_parse_format(bad[i], &o, &f), E_INVALID);
                assert_string_not_equal(f.text, "");
        }
        assert_int_equal(luks_parse_open("--allow-discards --perf-no_read_workqueue", &flags, &f), 0);
        assert_int_equal(flags, CRYPT_ACTIVATE_ALLOW_DISCARDS | CRYPT_ACTIVATE_NO_READ_WORKQUEUE);
        assert_int_equal(luks_parse_open("--readonly", &flags, &f), E_INVALID);
        assert_int_equal(luks_parse_open("--allow-discards=1", &flags, &f), E_INVALID);
}

static int put_key(const char *uuid, const char *text, size_t n, bool weak, bool *ret_new)
{
        struct sat_key k = { 0 };
        if (uuid != NULL) SET(&k, sat_key, vlm_uuid, uuid);
        SET(&k, sat_key, key, BLOB(text, n));
        if (weak) SET(&k, sat_key, weak, true);
        return keyring_put(&k, ret_new);
}

/* Those of before come and go with the present one. */
static void test_old_keys(void **state)
{
        struct old_key olds[KEY_OLDS_MAX + 1] = { 0 };
        struct sat_key k = { 0 };
        struct key got;
        bool is_new;
        for (size_t i = 0; i < ARRAY_LEN(olds); i++) SET(&olds[i], old_key, key, BLOB(&"abcdefghi"[i], 1));
        SET(&k, sat_key, vlm_uuid, "w");
        SET(&k, sat_key, key, BLOB("new", 3));
        SET(&k, sat_key, key_id, 7);
        SET_N(&k, sat_key, olds, olds, 2);
        assert_int_equal(keyring_put(&k, &is_new), 0);
        assert_true(is_new);
        assert_true(keyring_get("w", &got) && got.id == 7 && got.n == 3);
        key_done(&got);
        assert_true(keyring_get_old("w", 1, &got) && got.n == 1 && got.p[0] == 'b');
        key_done(&got);
        assert_false(keyring_get_old("w", 2, &got));
        k.olds_n = (uint32_t)ARRAY_LEN(olds);
        assert_int_equal(keyring_put(&k, &is_new), E_INVALID);
        assert_false(is_new);
        k.olds_n = 1;
        assert_int_equal(keyring_put(&k, &is_new), 0);
        assert_false(is_new);
        assert_true(keyring_get_old("w", 0, &got) && got.p[0] == 'a');
        key_done(&got);
        assert_false(keyring_get_old("w", 1, &got));
        SET(&k, sat_key, key_id, 8);
        assert_int_equal(keyring_put(&k, &is_new), 0);
        assert_true(is_new);
        keyring_drop("w");
        assert_false(keyring_get("w", &got) || keyring_get_old("w", 0, &got));
        assert_false(keyring_get_old("w", KEY_OLDS_MAX, &got) || keyring_get_old(NULL, 0, &got));
}

static void test_keyring(void **state)
{
        struct key k;
        bool is_new;
        char uuid[KEY_UUID_SIZE + 1];
        assert_false(keyring_get("u", &k));
        assert_int_equal(put_key("u", "secret", 6, false, &is_new), 0);
        assert_true(is_new);
        assert_int_equal(put_key("U", "secret", 6, true, &is_new), 0);
        assert_false(is_new);
        assert_true(keyring_get("u", &k));
        assert_int_equal(k.n, 6);
        assert_memory_equal(k.p, "secret", 6);
        assert_true(k.weak);
        key_done(&k);
        for (unsigned i = 0; i < 100; i++) {
                snprintf(uuid, sizeof uuid, "v-%u", i);
                assert_int_equal(put_key(uuid, uuid, strlen(uuid), false, &is_new), 0);
        }
        assert_true(keyring_get("v-57", &k));
        assert_memory_equal(k.p, "v-57", 4);
        key_done(&k);
        keyring_drop("v-57");
        assert_false(keyring_get("v-57", &k));
        assert_true(keyring_get("u", &k));
        key_done(&k);
        assert_int_equal(put_key("", "x", 1, false, &is_new), E_INVALID);
        assert_int_equal(put_key(NULL, "x", 1, false, &is_new), E_INVALID);
        assert_int_equal(put_key("u", "x", 0, false, &is_new), E_INVALID);
        memset(uuid, 'x', sizeof uuid - 1);
        uuid[sizeof uuid - 1] = '\0';
        assert_int_equal(put_key(uuid, "x", 1, false, &is_new), E_INVALID);
}

static void test_erase(void **state)
{
        char path[] = "/tmp/outrigger-luks-XXXXXX";
        int fd = mkstemp(path);
        uint8_t got[8];
        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, 20 << 20), 0);
        assert_int_equal(pwrite(fd, "other", 5, 4096), 5);
        assert_int_equal(luks_erase(path), 0); /* no header: nothing is touched */
        assert_int_equal(pread(fd, got, 5, 4096), 5);
        assert_memory_equal(got, "other", 5);
        assert_int_equal(pwrite(fd, "SKUL\xba\xbe", 6, 16384),
                6); /* interrupted in the first chunk: only the second header is left */
        assert_true(luks_has_header(fd));
        assert_int_equal(pwrite(fd, "key", 3, (16 << 20) - 3), 3);
        assert_int_equal(pwrite(fd, "data", 4, 16 << 20), 4);
        assert_int_equal(luks_erase(path), 0);
        assert_false(luks_has_header(fd));
        assert_int_equal(pread(fd, got, 7, (16 << 20) - 3), 7);
        assert_memory_equal(got, "\0\0\0data", 7);
        assert_int_equal(ftruncate(fd, 100000), 0);
        assert_int_equal(pwrite(fd, "LUKS\xba\xbe", 6, 0), 6);
        assert_int_equal(luks_erase(path), 0); /* shorter than a header */
        assert_false(luks_has_header(fd));
        close(fd);
        unlink(path);
        assert_int_equal(luks_erase(path), ENOENT);
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_sizes), cmocka_unit_test(test_rows),
                cmocka_unit_test(test_random), cmocka_unit_test(test_options), cmocka_unit_test(test_keyring),
                cmocka_unit_test(test_old_keys), cmocka_unit_test(test_erase) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
