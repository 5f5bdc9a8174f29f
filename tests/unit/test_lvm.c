/* What lvs and vgs print (samples of lvm2 2.03.16), the marks, and the names of pools. */
#include "tests/lib/test.h"

#include <string.h>

#include "satellite/provider/lvm_options.h"
#include "satellite/provider/lvm_report.h"
#include "wire/codec/codec.h"

#define UUID "aaaaaaaa-0000-4000-8000-000000000001"
#define VLM "11111111-0000-4000-8000-000000000001"
#define TAG "outrigger:" UUID ":3:" VLM ":data"

static void test_lvs(void **state)
{
        (void)state;
        static const char text[] =
                "  data_00003|8388608|-wi-ao----|active|open||||4194304|/dev/vg0/data_00003|mine," TAG "||\n"
                "  thin|1073741824|twi-aotz--|active|||12.50|10.84|4194304||||\n"
                "  t_00000|1073741824|Vwi-a-tz--|active||thin|0.00||4194304|/dev/vg0/t_00000|" TAG
                ",outrigger:raw||\n"
                "  s_00000|12582912|swi-a-s---|active|||0.02||4194304|/dev/vg0/s_00000||data_00003|8388608\n"
                "  "
                "i_00000|12582912|swi-I-s---|active|||100.00||4194304|/dev/vg0/i_00000||data_00003|8388608\n"
                "\n"
                "  off|4194304|-wi-------|||||| 4194304|/dev/vg0/off|||\n";
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
        assert_int_equal(n, 6);
        assert_true(lvm_is_cow(&lv[3]) && !lvm_cow_invalid(&lv[3]) && lvm_cow_invalid(&lv[4]));
        assert_true(lv[3].origin_bytes == 8388608 && strcmp(lv[3].origin, "data_00003") == 0);
        assert_false(lvm_is_cow(&lv[0]) || lvm_has_cow(&lv[0]) || lv[0].unfilled);
        assert_string_equal(lv[0].name, "data_00003");
        assert_int_equal(lv[0].size_bytes, 8388608);
        assert_true(lv[0].active && lv[0].open && !lv[0].raw);
        assert_true(lv[0].data_percent < 0);
        assert_true(lv[1].data_percent > 12.4 && lv[1].metadata_percent > 10.8 && !lv[1].open);
        assert_true(lv[2].raw);
        assert_string_equal(lv[2].pool, "thin");
        assert_true(!lv[5].active && !lv[5].open);
        assert_string_equal(lv[5].path, "/dev/vg0/off");
        arena_done(&a);
}

static void test_bad_lines(void **state)
{
        (void)state;
        static const char *const bad[] = {
                "x",
                "a|1|-wi-a-----|active|||||4194304|/dev/v/a||",    /* a field is missing */
                "a|1|-wi-a-----|active|||||4194304|/dev/v/a||||",  /* one too many */
                "a|-1|-wi-a-----|active||||||4194304|/dev/v/a|||", /* sizes are not negative */
                "a|1.5|-wi-a-----|active|||||4194304|/dev/v/a|||", /* bytes have no fraction */
                "a|99999999999999999999|-wi-a-----|active|||||4194304|/dev/v/a|||",
                "a||-wi-a-----|active|||||4194304|/dev/v/a|||",
                "a b|1|-wi-a-----|active|||||4194304|/dev/v/a|||",
                "-a|1|-wi-a-----|active|||||4194304|/dev/v/a|||",
                "a|1|-wi|active|||||4194304|/dev/v/a|||",
                "a|1|-wi-a-----|active|||101.00||4194304|/dev/v/a|||",
                "a|1|-wi-a-----|active|||x||4194304|/dev/v/a|||",
                "a|1|swi-a-----|active|||||4194304|/dev/v/a||o|x",
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

/* ---- options ---- */

static const char *words_of(const struct lvm_words *w)
{
        static char text[400];
        text[0] = '\0';
        for (unsigned i = 0; i < w->n + w->volumes_n; i++) {
                strcat(text, i == w->n ? "| " : "");
                strcat(text, i < w->n ? w->words[i] : w->volumes[i - w->n]);
                strcat(text, " ");
        }
        return text;
}

static void test_options(void **state)
{
        static const struct {
                enum lvm_use use;
                const char *text, *words; /* NULL: refused */
        } rows[] = {
                { LVM_USE_THICK, NULL, "" },
                { LVM_USE_THICK, "  ", "" },
                { LVM_USE_THICK, "-i 2 -I64k", "--stripes 2 --stripesize 64k " },
                { LVM_USE_THICK, "--stripes=3\t--stripesize 128 ", "--stripes 3 --stripesize 128 " },
                { LVM_USE_THICK, "-m1 --nosync /dev/sdb /dev/disk/by-id/x:1",
                        "--mirrors 1 --nosync | /dev/sdb /dev/disk/by-id/x:1 " },
                { LVM_USE_THICK, "-C y --alloc anywhere -r auto",
                        "--contiguous y --alloc anywhere --readahead auto " },
                { LVM_USE_THICK, "--addtag fast", "--addtag fast " },
                { LVM_USE_THIN, "-r none", "--readahead none " },
                { LVM_USE_SNAPSHOT, "--addtag nightly", "--addtag nightly " },
                { LVM_USE_THIN, "-i 2", NULL },
                { LVM_USE_SNAPSHOT, "/dev/sdb", NULL },
                { LVM_USE_THICK, "--addtag outrigger:raw", NULL },
                { LVM_USE_THICK, "--addtag Outrigger-new", NULL },
                { LVM_USE_THICK, "--config devices{filter=[]}", NULL },
                { LVM_USE_THICK, "--size 1k", NULL },
                { LVM_USE_THICK, "-L1k", NULL },
                { LVM_USE_THICK, "--name other", NULL },
                { LVM_USE_THICK, "-n", NULL },
                { LVM_USE_THICK, "--activate n", NULL },
                { LVM_USE_THICK, "--stripes", NULL },
                { LVM_USE_THICK, "--stripes two", NULL },
                { LVM_USE_THICK, "--stripes -1", NULL },
                { LVM_USE_THICK, "--strip 2",
                        NULL }, /* LVM would take it for --stripes; what is meant must be said */
                { LVM_USE_THICK, "--stripes=2; rm -rf /", NULL },
                { LVM_USE_THICK, "--nosync=y", NULL },
                { LVM_USE_THICK, "-i 2 othervg", NULL },
                { LVM_USE_THICK, "/dev/../etc/passwd", NULL },
                { LVM_USE_THICK, "/etc/passwd", NULL },
                { LVM_USE_THICK, "$(reboot)", NULL },
                { LVM_USE_THICK, "-r a\x01", NULL },
                { LVM_USE_THICK, "-", NULL },
                { LVM_USE_THICK, "--", NULL },
        };
        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                struct arena a = { 0 };
                struct lvm_words w = { 0 };
                struct fail f = { 0 };
                int err = lvm_options_parse(rows[i].text, rows[i].use, &a, &w, &f);
                if (err != (rows[i].words == NULL ? E_INVALID : 0))
                        fail_msg("%s: %d %s", rows[i].text, err, f.text);
                if (rows[i].words != NULL) assert_string_equal(words_of(&w), rows[i].words);
                else assert_true(f.text[0] != '\0');
                arena_done(&a);
        }
}

static void test_type_and_order(void **state)
{
        struct arena a = { 0 };
        struct lvm_words w = { 0 };
        struct fail f = { 0 };
        const char *sort = "";
        (void)state;
        assert_int_equal(lvm_type_parse("linear", &a, &w, &f), 0);
        assert_int_equal(lvm_type_parse(NULL, &a, &w, &f), 0);
        assert_int_equal(w.n, 0);
        assert_int_equal(lvm_type_parse("raid10", &a, &w, &f), 0);
        assert_string_equal(words_of(&w), "--type raid10 ");
        assert_int_equal(lvm_type_parse("lz4", &a, &w, &f), E_INVALID);
        assert_int_equal(lvm_type_parse("thin", &a, &w, &f), E_INVALID);
        assert_int_equal(lvm_sort_parse(NULL, &a, &sort, &f), 0);
        assert_null(sort);
        assert_int_equal(lvm_sort_parse("--sort pv_free,-pv_name", &a, &sort, &f), 0);
        assert_string_equal(sort, "pv_free,-pv_name");
        assert_int_equal(lvm_sort_parse("-O -pv_free", &a, &sort, &f), 0);
        assert_int_equal(lvm_sort_parse("--sort pv_used --config x", &a, &sort, &f), E_INVALID);
        assert_int_equal(lvm_sort_parse("--config x", &a, &sort, &f), E_INVALID);
        assert_int_equal(lvm_sort_parse("--sort", &a, &sort, &f), E_INVALID);
        arena_done(&a);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_options),
                cmocka_unit_test(test_type_and_order),
                cmocka_unit_test(test_lvs),
                cmocka_unit_test(test_bad_lines),
                cmocka_unit_test(test_vgs),
                cmocka_unit_test(test_marks),
                cmocka_unit_test(test_places),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
