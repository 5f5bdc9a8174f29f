/* What lvs and vgs print (samples of lvm2 2.03.16), the marks, and the names of pools. */
#include "tests/lib/test.h"

#include <string.h>

#include "satellite/lvm_report.h"
#include "wire/codec/codec.h"

#define UUID "aaaaaaaa-0000-4000-8000-000000000001"
#define VLM "11111111-0000-4000-8000-000000000001"
#define TAG "outrigger:" UUID ":3:" VLM ":data"

static void test_lvs(void **state)
{
        (void)state;
        static const char text[] =
                "  data_00003|8388608|-wi-ao----|active|open||||4194304|/dev/vg0/data_00003|mine," TAG "\n"
                "  thin|1073741824|twi-aotz--|active|||12.50|10.84|4194304||\n"
                "  t_00000|1073741824|Vwi-a-tz--|active||thin|0.00||4194304|/dev/vg0/t_00000|" TAG
                ",outrigger:raw\n"
                "\n"
                "  off|4194304|-wi-------|||||| 4194304|/dev/vg0/off|\n";
        struct arena a = { 0 };
        struct lvm_lv *lv;
        uint32_t n;
        const char *line = NULL;
        /* the last line has a blank where none may be */
        assert_int_equal(lvm_parse_lvs(text, &a, &lv, &n, &line), E_PROTOCOL);
        assert_non_null(strstr(line, "off|"));
        char good[sizeof text];
        memcpy(good, text, sizeof text);
        char *blank = strstr(good, "| 4194304");
        memmove(blank + 1, blank + 2, strlen(blank + 2) + 1);
        assert_int_equal(lvm_parse_lvs(good, &a, &lv, &n, &line), 0);
        assert_int_equal(n, 4);
        assert_string_equal(lv[0].name, "data_00003");
        assert_int_equal(lv[0].size_bytes, 8388608);
        assert_true(lv[0].active && lv[0].open && !lv[0].raw);
        assert_true(lv[0].data_percent < 0);
        assert_true(lv[1].data_percent > 12.4 && lv[1].metadata_percent > 10.8 && !lv[1].open);
        assert_true(lv[2].raw);
        assert_string_equal(lv[2].pool, "thin");
        assert_true(!lv[3].active && !lv[3].open);
        assert_string_equal(lv[3].path, "/dev/vg0/off");
        arena_done(&a);
}

static void test_bad_lines(void **state)
{
        (void)state;
        static const char *const bad[] = {
                "x",
                "a|1|-wi-a-----|active|||||4194304|/dev/v/a",    /* a field is missing */
                "a|1|-wi-a-----|active||||| 4194304|/dev/v/a||", /* one too many */
                "a|-1|-wi-a-----|active||||||4194304|/dev/v/a|", /* sizes are not negative */
                "a|1.5|-wi-a-----|active|||||4194304|/dev/v/a|", /* bytes have no fraction */
                "a|99999999999999999999|-wi-a-----|active|||||4194304|/dev/v/a|",
                "a||-wi-a-----|active|||||4194304|/dev/v/a|",
                "a b|1|-wi-a-----|active|||||4194304|/dev/v/a|",
                "-a|1|-wi-a-----|active|||||4194304|/dev/v/a|",
                "a|1|-wi|active|||||4194304|/dev/v/a|",
                "a|1|-wi-a-----|active|||101.00||4194304|/dev/v/a|",
                "a|1|-wi-a-----|active|||x||4194304|/dev/v/a|",
                "  WARNING: something is wrong",
        };
        struct arena a = { 0 };
        struct lvm_lv *lv;
        struct lvm_vg *vg;
        uint32_t n;
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
                const char *line = NULL;
                assert_int_equal(lvm_parse_lvs(bad[i], &a, &lv, &n, &line), E_PROTOCOL);
                assert_string_equal(line, bad[i]);
                assert_int_equal(lvm_parse_vgs(bad[i], &a, &vg, &n, &line), E_PROTOCOL);
        }
        const char *line;
        assert_int_equal(lvm_parse_lvs("", &a, &lv, &n, &line), 0);
        assert_int_equal(n, 0);
        arena_done(&a);
}

static void test_vgs(void **state)
{
        (void)state;
        struct arena a = { 0 };
        struct lvm_vg *vg;
        uint32_t n;
        const char *line;
        assert_int_equal(lvm_parse_vgs("  vg0|10733223936|4194304|4194304|wz--n-\n", &a, &vg, &n, &line), 0);
        assert_int_equal(n, 1);
        assert_int_equal(vg[0].size_bytes, 10733223936);
        assert_int_equal(vg[0].free_bytes, 4194304);
        /* more free than there is cannot be */
        assert_int_equal(lvm_parse_vgs("  vg0|1|2|4194304|wz--n-\n", &a, &vg, &n, &line), E_PROTOCOL);
        arena_done(&a);
}

static void test_marks(void **state)
{
        (void)state;
        struct arena a = { 0 };
        char tag[LVM_TAG_SIZE];
        struct dev d = { .uuid = UUID, .vlm_uuid = VLM, .volume_number = 3, .rsc_name = "data" }, r = { 0 };
        assert_int_equal(lvm_write_mark(&d, tag), 0);
        assert_string_equal(tag, TAG);
        assert_true(lvm_read_mark("a," TAG ",b", &a, &r));
        assert_string_equal(r.uuid, UUID);
        assert_string_equal(r.vlm_uuid, VLM);
        assert_string_equal(r.rsc_name, "data");
        assert_int_equal(r.volume_number, 3);
        d.vlm_uuid = NULL;
        assert_int_equal(lvm_write_mark(&d, tag), 0);
        assert_true(lvm_read_mark(tag, &a, &r));
        assert_null(r.vlm_uuid);
        assert_false(lvm_read_mark("", &a, &r));
        assert_false(lvm_read_mark("outrigger:raw", &a, &r));
        assert_false(lvm_read_mark("outrigger:" UUID ":x::data", &a, &r));
        assert_false(lvm_read_mark("outrigger:" UUID ":3:", &a, &r));
        assert_false(lvm_read_mark("xoutrigger:" UUID ":3::data", &a, &r));
        d.rsc_name = "a,b"; /* would end the tag */
        assert_int_equal(lvm_write_mark(&d, tag), E_INVALID);
        d.rsc_name = "a:b";
        assert_int_equal(lvm_write_mark(&d, tag), E_INVALID);
        arena_done(&a);
}

static int place(const struct provider *p, const char *vg, const char *pool, const char *both,
        struct arena *a, const char **ret)
{
        struct strmap props = { 0 };
        struct trouble t = { 0 };
        if (vg != NULL) strmap_set(&props, "StorDriver/LvmVg", vg, a);
        if (pool != NULL) strmap_set(&props, "StorDriver/ThinPool", pool, a);
        if (both != NULL) strmap_set(&props, "StorDriver/StorPoolName", both, a);
        int err = p->place(&props, a, ret, &t);
        if (err != 0) assert_true(t.message[0] != '\0' && t.cause[0] != '\0' && t.correction[0] != '\0');
        return err;
}

static void test_places(void **state)
{
        (void)state;
        static const struct {
                const struct provider *p;
                const char *vg, *pool, *both, *want;
        } rows[] = {
                { &provider_lvm, NULL, NULL, "vg0", "vg0" },
                { &provider_lvm, "vg0", NULL, NULL, "vg0" },
                { &provider_lvm, NULL, NULL, "vg0/thin", NULL },
                { &provider_lvm, NULL, NULL, "../vg0", NULL },
                { &provider_lvm, NULL, NULL, "--yes", NULL },
                { &provider_lvm, NULL, NULL, "a b", NULL },
                { &provider_lvm, NULL, NULL, "", NULL },
                { &provider_lvm, NULL, NULL, NULL, NULL },
                { &provider_lvm_thin, NULL, NULL, "vg0/thin", "vg0/thin" },
                { &provider_lvm_thin, "vg0", "thin", NULL, "vg0/thin" },
                { &provider_lvm_thin, "vg0/thin", NULL, NULL, "vg0/thin" },
                { &provider_lvm_thin, "vg0", NULL, NULL, NULL },
                { &provider_lvm_thin, NULL, NULL, "vg0/..", NULL },
                { &provider_lvm_thin, NULL, NULL, "vg0/a/b", NULL },
                { &provider_lvm_thin, NULL, NULL, "vg0/", NULL },
        };
        struct arena a = { 0 };
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                const char *got = NULL;
                int err = place(rows[i].p, rows[i].vg, rows[i].pool, rows[i].both, &a, &got);
                if (rows[i].want == NULL) assert_int_equal(err, E_CONFIG);
                else {
                        assert_int_equal(err, 0);
                        assert_string_equal(got, rows[i].want);
                }
        }
        arena_done(&a);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_lvs),
                cmocka_unit_test(test_bad_lines),
                cmocka_unit_test(test_vgs),
                cmocka_unit_test(test_marks),
                cmocka_unit_test(test_places),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
