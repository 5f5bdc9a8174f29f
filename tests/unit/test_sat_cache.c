/* Caches: sizes of the devices beside a volume, steps by tables (they are made before the layers that use them and go after them),
 * what dmsetup prints. */
#include "tests/lib/test.h"

#include <stdlib.h>
#include <string.h>

#include "satellite/layer/dm.h"
#include "satellite/plan.h"
#include "wire/codec/codec.h"

#define UUID_A "aaaaaaaa-0000-4000-8000-000000000001"
#define VLM_1 "11111111-0000-4000-8000-000000000001"
#define VLM_C "cccccccc-0000-4000-8000-000000000001"

static void test_sizes(void **state)
{
        static const struct {
                enum layer_extra extra;
                const char *text;
                uint64_t data, block, cache, kib;
        } rows[] = {
                { EXTRA_WRITECACHE, NULL, 1000000, 0, 0, 50000 },
                { EXTRA_WRITECACHE, "", 1000000, 0, 0, 50000 },
                { EXTRA_WRITECACHE, "10%", 1000001, 0, 0, 100001 },
                { EXTRA_WRITECACHE, "12.5%", 80000, 0, 0, 10000 },
                { EXTRA_WRITECACHE, "100%", 80000, 0, 0, 80000 },
                { EXTRA_WRITECACHE, "8192", 80000, 0, 0, 8192 },
                { EXTRA_WRITECACHE, "1%", 80000, 0, 0, 4096 },
                { EXTRA_WRITECACHE, "nonsense", 80000, 0, 0, 4096 },
                { EXTRA_BCACHE, "100", 80000, 0, 0, 524288 },
                { EXTRA_CACHE_DATA, "32768", 80000, 0, 0, 32768 },
                { EXTRA_CACHE_META, NULL, 80000, 0, 32768, 12288 },
                { EXTRA_CACHE_META, "5000", 80000, 64, 33554432, 4096 + 16384 },
                { EXTRA_CACHE_META, "5000", 80000, 0, 2048, 5000 },
                { EXTRA_DRBD_META, NULL, 80000, 0, 0, 1024 }, /* DRBD takes no less */
                { EXTRA_DRBD_META, "9", 1 << 30, 0, 0,
                        7 * 32768 + 36 }, /* a bit for 4 KiB and each of 7 peers */
                { EXTRA_N, "5000", 80000, 0, 2048, 0 },
        };
        for (size_t i = 0; i < ARRAY_LEN(rows); i++)
                assert_int_equal(
                        layer_extra_kib(rows[i].extra, &(struct layer_extra_for){ .text = rows[i].text,
                                                               .data_kib = rows[i].data,
                                                               .net_kib = rows[i].data,
                                                               .block_sectors = rows[i].block,
                                                               .cache_kib = rows[i].cache }),
                        rows[i].kib);
        for (unsigned e = 0; e < EXTRA_N; e++) {
                uint64_t n = EXTRA_NUMBER(e, 65535);
                assert_true(extra_is(n) && !extra_is(65535));
                assert_int_equal(extra_of(n), e);
                assert_int_equal(extra_volume(n), 65535);
        }
        assert_null(layer_extra_desc(extra_of(EXTRA_NUMBER(EXTRA_N, 0))));
}

/* ---- steps ---- */

static int no_probe(const struct layer_vol *v, struct arena *a, struct layer_dev *d, struct trouble *t)
{
        return E_UNSUPPORTED;
}
static int no_step(const struct layer_vol *v, struct trouble *t) { return E_UNSUPPORTED; }
static const struct layer cache = { .type = layer_type_WRITECACHE,
        .probe = no_probe,
        .make = no_step,
        .open = no_step,
        .grow = no_step,
        .close = no_step };

/* What there is of the volume's backing and of its cache: . nothing, x exists, a attached too; ! remembered, but gone. Layers: l
 * looked, e exists, m made, o open, s lags, f foreign, B broken. Steps of the cache's backing in capitals. */
static const struct row {
        const char *name;
        bool wanted, gone;
        uint64_t flags;
        char data, cache;
        const char *layer, *steps, *troubles;
} rows[] = {
        { "new", true, false, 0, '.', '.', "", "CREATE ATTACH create attach make open", "" },
        { "the cache is there", true, false, 0, '.', 'a', "", "create attach make open", "" },
        { "the volume is there", true, false, 0, 'a', '.', "", "CREATE ATTACH make open", "" },
        { "both are there", true, false, 0, 'a', 'a', "l", "make open", "" },
        { "killed after making", true, false, 0, 'a', 'a', "lem", "open", "" },
        { "all is well", true, false, 0, 'a', 'a', "lemo", "", "" },
        { "after a reboot", true, false, 0, 'x', 'x', "m", "ATTACH attach open", "" },
        { "lags", true, false, 0, 'a', 'a', "lemos", "stretch", "" },
        { "failing", true, false, 0, 'a', 'a', "lemoB", "", "990" },
        { "emptied", true, false, 0, 'a', 'a', "lm", "", "990" },
        { "something else on it", true, false, 0, 'a', 'a', "lf", "", "504" },
        { "the cache is gone", true, false, 0, 'a', '!', "m", "open", "990" },
        { "down", true, false, rsc_flag_INACTIVE, 'a', 'a', "lemo", "close DETACH detach", "" },
        { "down, killed after closing", true, false, rsc_flag_INACTIVE, 'a', 'a', "lem", "DETACH detach",
                "" },
        { "delete", false, true, 0, 'a', 'a', "lemo", "close detach remove DETACH REMOVE", "" },
        { "delete, killed in between", false, true, 0, '.', 'a', "", "DETACH REMOVE", "" },
        { "delete what is down", false, true, 0, 'x', 'x', "m", "remove REMOVE", "" },
};

static void fill_dev(struct dev *d, char how)
{
        d->exists = how == 'x' || how == 'a';
        d->attached = how == 'a';
        d->made = how != '.';
        if (how != '.') d->uuid = UUID_A;
        if (how != '.') d->vlm_uuid = extra_is(d->volume_number) ? VLM_C : VLM_1;
        d->size_kib = d->exists ? 1024 : 0;
        d->device_kib = d->attached ? 1024 : 0;
        d->rsc_name = "r";
        d->kind = provider_kind_FILE;
}

static void fill_layer(struct layer_dev *l, const char *text)
{
        *l = (struct layer_dev){ .type = layer_type_WRITECACHE,
                .looked = strchr(text, 'l') != NULL,
                .exists = strchr(text, 'e') != NULL,
                .made = strchr(text, 'm') != NULL,
                .open = strchr(text, 'o') != NULL,
                .lags = strchr(text, 's') != NULL,
                .foreign = strchr(text, 'f') != NULL,
                .broken = strchr(text, 'B') != NULL ? "it says so" : NULL };
}

static void print_step(struct buf *b, const struct step *s)
{
        if (b->n > 0) buf_put_str(b, " ");
        for (const char *p = step_name(s->kind); *p != '\0'; p++)
                buf_printf(b, "%c", extra_is(s->dev.volume_number) ? *p - 'a' + 'A' : *p);
}

static void run_row(const struct row *r)
{
        static const struct plan_pool pools[] = { { "slow", provider_kind_FILE, "/p/slow" },
                { "fast", provider_kind_FILE, "/p/fast" } };
        static const char *stack[] = { "WRITECACHE", "STORAGE" };
        struct arena a = { 0 };
        struct layer_dev layer;
        struct dev devs[2] = {
                { .place = "/p/slow", .backing_id = "r_00000", .layers = &layer, .layers_n = 1 },
                { .place = "/p/fast", .backing_id = "r.cache_00000", .volume_number = EXTRA_NUMBER(0, 0) }
        };
        fill_dev(&devs[0], r->data);
        fill_dev(&devs[1], r->cache);
        fill_layer(&layer, r->layer);
        devs[0].extras[EXTRA_WRITECACHE] = &devs[1];
        struct sat_vlm v = { 0 }, x = { 0 };
        SET(&v, sat_vlm, uuid, VLM_1);
        SET(&v, sat_vlm, size_kib, 1024);
        SET(&v, sat_vlm, storage_pool_name, "slow");
        SET(&x, sat_vlm, volume_number, EXTRA_NUMBER(0, 0));
        SET(&x, sat_vlm, uuid, VLM_C);
        SET(&x, sat_vlm, size_kib, 1024);
        SET(&x, sat_vlm, storage_pool_name, "fast");
        SET(&x, sat_vlm, backing_id, "r.cache_00000");
        struct sat_rsc want = { 0 };
        SET(&want, sat_rsc, rsc_name, "r");
        SET(&want, sat_rsc, uuid, UUID_A);
        SET(&want, sat_rsc, flags, r->flags);
        SET_N(&want, sat_rsc, layer_stack, stack, 2);
        SET_N(&want, sat_rsc, volumes, &v, 1);
        SET_N(&want, sat_rsc, extras, &x, 1);
        struct sat_gone gone = { 0 };
        SET(&gone, sat_gone, rsc_name, "r");
        SET(&gone, sat_gone, uuid, UUID_A);
        struct plan_input in = { .rsc_name = "r",
                .want = r->wanted ? &want : NULL,
                .gone = &gone,
                .gone_n = r->gone,
                .devs = devs,
                .devs_n = 2,
                .pools = pools,
                .pools_n = 2 };
        struct plan p;
        struct buf steps = { 0 }, troubles = { 0 };
        assert_int_equal(plan_resource(&in, &a, &p), 0);
        for (uint32_t i = 0; i < p.steps_n; i++) {
                print_step(&steps, &p.steps[i]);
                assert_int_equal(p.steps[i].group, 0);
                /* What is kept is written back; what goes is not. */
                if (p.steps[i].kind == STEP_CLOSE) assert_true((p.steps[i].props != NULL) == r->wanted);
        }
        for (uint32_t i = 0; i < p.troubles_n; i++) {
                buf_printf(&troubles, "%s%u", i > 0 ? " " : "", p.troubles[i].code);
                assert_int_equal(p.troubles[i].volume, 0);
        }
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
        layer_replace(layer_type_WRITECACHE, &cache);
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) run_row(&rows[i]);
        layer_replace(layer_type_WRITECACHE, NULL);
}

/* ---- dmsetup ---- */

static void test_parse(void **state)
{
        struct arena a = { 0 };
        struct dm_dev d;
        uint64_t sectors;
        const char *target, *rest;
        const char info[] =
                "vg0-a|LVM-x|1|Active\nlinstor_cache_r_00000|OUTRIGGER-cache-u|0|Suspended\n"
                " linstor_cache_r_00001|OUTRIGGER-cache-v|12|   Active  \nbad|x|y|Active\nshort|x\n";
        assert_true(dm_parse_info(info, "linstor_cache_r_00000", &a, &d));
        assert_string_equal(d.uuid, "OUTRIGGER-cache-u");
        assert_true(d.suspended && d.opens == 0);
        assert_true(dm_parse_info(info, "linstor_cache_r_00001", &a, &d));
        assert_true(!d.suspended && d.opens == 12);
        assert_true(dm_parse_info(info, "vg0-a", &a, &d) && d.opens == 1);
        assert_false(dm_parse_info(info, "linstor_cache_r_0000", &a, &d));
        assert_false(dm_parse_info(info, "bad", &a, &d));
        assert_false(dm_parse_info(info, "short", &a, &d));
        assert_false(dm_parse_info("No devices found\n", "x", &a, &d));
        assert_false(dm_parse_info("", "x", &a, &d));
        assert_true(
                dm_parse_line("0 204800 writecache s 253:0 253:1 4096 0\n", &a, &sectors, &target, &rest));
        assert_true(sectors == 204800);
        assert_string_equal(target, "writecache");
        assert_string_equal(rest, "s 253:0 253:1 4096 0");
        assert_string_equal(dm_word(rest, 2, &a), "253:1");
        assert_string_equal(dm_word(rest, 9, &a), "");
        assert_true(dm_parse_line("0 8 error", &a, &sectors, &target, &rest));
        assert_string_equal(rest, "");
        assert_false(dm_parse_line("0 8 linear 1:2 0\n8 8 linear 1:2 8\n", &a, &sectors, &target, &rest));
        assert_false(dm_parse_line("8 8 linear 1:2 0\n", &a, &sectors, &target, &rest));
        assert_false(dm_parse_line("0 x linear", &a, &sectors, &target, &rest));
        assert_false(dm_parse_line("", &a, &sectors, &target, &rest));
        assert_true(dm_name_fits("linstor_cache_r_00000") && dm_name_fits("a.b+c=d@e:f#g-h"));
        assert_false(dm_name_fits("") || dm_name_fits("a b") || dm_name_fits("a/b") || dm_name_fits("a\nb"));
        arena_done(&a);
}

/* Whatever a program prints: no crash, and nothing that is not in it. */
static void test_garbage(void **state)
{
        static const char letters[] = "0189|| \n\nax:linear";
        srandom(7);
        for (unsigned round = 0; round < 20000; round++) {
                struct arena a = { 0 };
                struct dm_dev d;
                uint64_t sectors;
                const char *target, *rest;
                char text[64];
                size_t n = (size_t)random() % sizeof text;
                for (size_t i = 0; i < n; i++) text[i] = letters[(size_t)random() % (sizeof letters - 1)];
                text[MIN(n, sizeof text - 1)] = '\0';
                if (dm_parse_info(text, "x", &a, &d)) assert_non_null(strchr(text, '|'));
                if (dm_parse_line(text, &a, &sectors, &target, &rest)) assert_non_null(strstr(text, target));
                arena_done(&a);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_sizes),
                cmocka_unit_test(test_rows),
                cmocka_unit_test(test_parse),
                cmocka_unit_test(test_garbage),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
