/* The CLI without a controller: sizes, arguments to requests, derived columns, the table of verbs itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/cells.h"
#include "cli/render.h"
#include "cli/verb.h"
#include "wire/base/mem.h"

static void test_sizes(void **state)
{
        static const struct {
                const char *text;
                unsigned long long kib;
        } good[] = { { "10G", 10485760 }, { "10", 10485760 }, { "512MiB", 524288 }, { "1k", 1 }, { "1kB", 1 },
                { "1025B", 2 }, { "1S", 1 }, { "3S", 2 }, { "1.5G", 1572864 }, { "1MB", 977 },
                { "2t", 2147483648 }, { "1 G", 1048576 }, { "0", 0 } };
        static const char *const bad[] = { "", "G", "-1", "1x", "1GG", "0x10", "nan", "inf", "1e400",
                "999999999P" };
        unsigned long long kib;
        for (size_t i = 0; i < ARRAY_LEN(good); i++) {
                assert_int_equal(cli_size_parse(good[i].text, &kib), 0);
                assert_int_equal(kib, good[i].kib);
        }
        for (size_t i = 0; i < ARRAY_LEN(bad); i++)
                if (cli_size_parse(bad[i], &kib) == 0) fail_msg("\"%s\" was taken as %llu KiB", bad[i], kib);
        char *text = cli_size_text(1572864);
        assert_string_equal(text, "1.50 GiB");
        free(text);
}

static const struct cli_verb *verb_of(const char *object, const char *verb)
{
        for (const struct cli_verb *const *t = cli_verb_tables; *t != NULL; t++)
                for (const struct cli_verb *v = *t; v->object != NULL; v++)
                        if (strcmp(v->object_short, object) == 0 && strcmp(v->verb_short, verb) == 0)
                                return v;
        fail_msg("no verb %s %s", object, verb);
        return NULL;
}

/* Parses a line of words and compares body, query and problem. */
static void expect(
        const char *object, const char *verb, const char *line, const char *body, const char *query)
{
        struct cli_call call;
        const struct cli_verb *v = verb_of(object, verb);
        char *copy = xstrdup(line), *rest = copy, *word, *words[32];
        int n = 0;
        while ((word = strsep(&rest, " ")) != NULL)
                if (word[0] != 0) words[n++] = word;
        int rc = cli_args_parse(&call, v, n, words);
        if (rc == 0 && v->before != NULL) rc = v->before(&call);
        if (body == NULL) {
                assert_int_not_equal(rc, 0);
                assert_true(call.problem[0] != 0);
        } else {
                if (rc != 0) fail_msg("%s: %s", line, call.problem);
                json_t *want = body[0] == 0 ? NULL : json_loads(body, 0, NULL);
                if (want == NULL ? call.body != NULL : !json_equal(want, call.body))
                        fail_msg("%s: %s", line, json_dumps(call.body, 0));
                json_decref(want);
                want = json_loads(query, 0, NULL);
                if (!json_equal(want, call.query)) fail_msg("%s: query %s", line, json_dumps(call.query, 0));
                json_decref(want);
        }
        cli_call_done(&call);
        free(copy);
}

static void test_arguments(void **state)
{
        expect("n", "c", "a 10.0.0.1 --node-type combined",
                "{\"name\":\"a\",\"net_interfaces\":[{\"address\":\"10.0.0.1\",\"name\":\"default\",\"is_"
                "active\":true}],\"type\":\"COMBINED\"}",
                "[]");
        expect("n", "l", "-n a,b --nodes c", "", "[[\"nodes\",\"a\"],[\"nodes\",\"b\"],[\"nodes\",\"c\"]]");
        expect("sp", "c", "filethin n1 pool /srv/x",
                "{\"storage_pool_name\":\"pool\",\"provider_kind\":\"FILE_THIN\",\"props\":{\"StorDriver/"
                "StorPoolName\":\"/srv/x\",\"StorDriver/FileDir\":\"/srv/x\"}}",
                "[]");
        expect("sp", "c", "diskless n1 pool",
                "{\"storage_pool_name\":\"pool\",\"provider_kind\":\"DISKLESS\"}", "[]");
        expect("rg", "c", "g --place-count 3 -s a -s b --replicas-on-same zone -l storage",
                "{\"name\":\"g\",\"select_filter\":{\"place_count\":3,\"storage_pool_list\":[\"a\",\"b\"],"
                "\"replicas_on_same\":[\"Aux/zone\"],\"layer_stack\":[\"STORAGE\"]}}",
                "[]");
        expect("rg", "spawn", "g res 1G 512M --async",
                "{\"resource_definition_name\":\"res\",\"volume_sizes\":[1048576,524288]}",
                "[[\"async\",\"true\"]]");
        expect("vd", "c", "res 20 --gross",
                "{\"volume_definition\":{\"size_kib\":20971520,\"flags\":[\"GROSS_SIZE\"]}}", "[]");
        expect("r", "c", "n1 n2 res -s p",
                "[{\"resource\":{\"node_name\":\"n1\",\"props\":{\"StorPoolName\":\"p\"}}},{\"resource\":{"
                "\"node_name\":\"n2\",\"props\":{\"StorPoolName\":\"p\"}}}]",
                "[]");
        expect("r", "c", "res --auto-place=2", "{\"select_filter\":{\"place_count\":2}}", "[]");
        expect("rd", "c", "res -l drbd,storage",
                "{\"resource_definition\":{\"name\":\"res\",\"layer_data\":[{\"type\":\"DRBD\"},{\"type\":"
                "\"STORAGE\"}]}}",
                "[]");
        expect("c", "sp", "Aux/x", "{\"delete_props\":[\"Aux/x\"]}", "[]");
        expect("c", "sp", "x y --aux", "{\"override_props\":{\"Aux/x\":\"y\"}}", "[]");
        expect("r", "td", "n1 res -s p --migrate-from n2",
                "{\"storage_pool\":\"p\",\"migrate_from\":\"n2\",\"operation\":\"INTO_DRBD_DISKFUL\"}", "[]");
        expect("r", "td", "n1 res -d", "{\"operation\":\"INTO_DRBD_DISKLESS\"}", "[]");
        expect("n", "evac", "n1 --target a b", "{\"target\":[\"a\",\"b\"]}", "[]");
        expect("n", "rst", "n1 --delete-res", "{\"delete_resources\":true}", "[]");
        expect("s", "c", "res snap", "{\"name\":\"snap\"}", "[]");
        expect("s", "c", "n1 n2 res snap", "{\"name\":\"snap\",\"nodes\":[\"n1\",\"n2\"]}", "[]");
        expect("s", "cm", "snap -r r1 r2 -n n1",
                "{\"snapshots\":[{\"resource_name\":\"r1\",\"name\":\"snap\",\"nodes\":[\"n1\"]},"
                "{\"resource_name\":\"r2\",\"name\":\"snap\",\"nodes\":[\"n1\"]}]}",
                "[]");
        expect("s", "cm", "-r r1 r2 snap",
                "{\"snapshots\":[{\"resource_name\":\"r1\",\"name\":\"snap\"},"
                "{\"resource_name\":\"r2\",\"name\":\"snap\"}]}",
                "[]");
        expect("s", "d", "res snap -n n1 n2", "", "[[\"nodes\",\"n1\"],[\"nodes\",\"n2\"]]");
        expect("s r", "rst", "n1 --fr a --fs=s --to-res b --storpool-rename x=y",
                "{\"nodes\":[\"n1\"],\"to_resource\":\"b\",\"stor_pool_rename\":{\"x\":\"y\"}}", "[]");
        expect("s vd", "rst", "--fr a --fs s --tr b", "{\"to_resource\":\"b\"}", "[]");
        expect("rd", "cln", "a b -l storage --wait-timeout 9",
                "{\"name\":\"b\",\"layer_list\":[\"STORAGE\"]}", "[]");
        expect("n", "sp", "n1 -- k -v", "{\"override_props\":{\"k\":\"-v\"}}", "[]");
}

static void test_bad_arguments(void **state)
{
        expect("n", "c", "a", NULL, NULL);
        expect("n", "c", "a 10.0.0.1 extra", NULL, NULL);
        expect("n", "c", "a 10.0.0.1 --port x", NULL, NULL);
        expect("n", "c", "a 10.0.0.1 --nonsense", NULL, NULL);
        expect("n", "c", "a 10.0.0.1 --port", NULL, NULL);
        expect("n", "c", "a 10.0.0.1 --port 1 --port 2", NULL, NULL);
        expect("vd", "c", "res big", NULL, NULL);
        expect("sp", "c", "floppy n1 pool x", NULL, NULL);
        expect("sp", "c", "lvm n1 pool", NULL, NULL);
        expect("r", "c", "res", NULL, NULL);
        expect("r", "c", "n1 res --auto-place 2", NULL, NULL);
        expect("r", "c", "res --auto-place many", NULL, NULL); /* numbers that no part of the request is */
        expect("r", "c", "res --auto-place 3x", NULL, NULL);
        expect("rd", "cln", "a b --volume-passphrases x", NULL, NULL);
        expect("rd", "cln", "a b --wait-timeout soon", NULL, NULL);
        expect("n", "c", "a 10.0.0.1 --port 99999999999999999999", NULL, NULL);
        expect("rg", "spawn", "g res", NULL, NULL);
        expect("rg", "spawn", "g res nonsense", NULL, NULL);
        expect("r", "td", "n1 res -d --migrate-from n2", NULL, NULL);
        expect("s", "c", "res", NULL, NULL);
        expect("s", "cm", "snap", NULL, NULL);
        expect("s", "rb", "res snap --zfs-rollback-strategy x", NULL, NULL);
        expect("s r", "rst", "n1 --fr a --fs s", NULL, NULL);
        expect("s r", "rst", "--fr a --fs s --tr b --storpool-rename x", NULL, NULL);
        expect("s r", "rst", "--from a --fs s --tr b", NULL, NULL);
        expect("rd", "cln", "a", NULL, NULL);
}

/* In all tables: of two rows with the same words only the first can be reached. */
static void assert_unique(const struct cli_verb *v)
{
        for (const struct cli_verb *const *t = cli_verb_tables; *t != NULL; t++)
                for (const struct cli_verb *w = *t; w->object != NULL; w++)
                        if (w != v && strcmp(v->object, w->object) == 0 &&
                                (strcmp(v->verb, w->verb) == 0 || strcmp(v->verb_short, w->verb_short) == 0))
                                fail_msg("%s %s stands twice", v->object, v->verb);
}

/* Every row is usable: names unique, each path parameter filled by an argument or the hook, room at the ends.
 */
static void test_table(void **state)
{
        for (const struct cli_verb *const *t = cli_verb_tables; *t != NULL; t++) {
                for (const struct cli_verb *v = *t; v->object != NULL; v++) {
                        assert_unique(v);
                        assert_int_equal(v->args[CLI_ARGS_MAX - 1].form, ARG_END);
                        assert_null(v->columns[CLI_COLUMNS_MAX - 1].header);
                        for (const char *p = strchr(v->path, '{'); p != NULL && v->before == NULL;
                                p = strchr(p + 1, '{')) {
                                bool filled = false;
                                size_t n = strcspn(p, "}") + 1;
                                for (const struct cli_arg *a = v->args; a->form != ARG_END; a++)
                                        filled |= strlen(a->target) == n && strncmp(a->target, p, n) == 0 &&
                                                  (a->form == ARG_POS || (a->form == ARG_OPT && a->required));
                                if (!filled)
                                        fail_msg("%s %s: nothing fills %.*s", v->object, v->verb, (int)n, p);
                        }
                }
        }
}

static void cell(char *(*fn)(const json_t *), const char *row, const char *want)
{
        json_t *json = json_loads(row, 0, NULL);
        assert_non_null(json);
        char *text = fn(json);
        if (want == NULL) assert_null(text);
        else assert_string_equal(text != NULL ? text : "(null)", want);
        free(text);
        json_decref(json);
}

static void test_cells(void **state)
{
        cell(cell_node_state, "{\"connection_status\":\"ONLINE\"}", "Online");
        cell(cell_node_state, "{\"connection_status\":\"OFFLINE\",\"flags\":[\"DELETE\",\"EVICTED\"]}",
                "EVICTED");
        cell(cell_rsc_usage, "{\"state\":{\"in_use\":false}}", "Unused");
        cell(cell_rsc_usage, "{\"state\":{}}", NULL);
        cell(cell_rsc_state,
                "{\"volumes\":[{\"state\":{\"disk_state\":\"Created\"}},{\"state\":{\"disk_state\":"
                "\"Created\"}}]}",
                "Created");
        cell(cell_rsc_state,
                "{\"volumes\":[{\"state\":{\"disk_state\":\"Created\"},\"reports\":[{\"ret_code\":-"
                "4611686018427387604}]}]}",
                "Error");
        cell(cell_rsc_state, "{\"flags\":[\"DISKLESS\",\"DRBD_DISKLESS\",\"TIE_BREAKER\"]}", "TieBreaker");
        cell(cell_snap_state, "{\"flags\":[\"SUCCESSFUL\"],\"snapshots\":[{\"snapshot_volumes\":[{}]}]}",
                "Successful");
        cell(cell_snap_state,
                "{\"flags\":[\"SUCCESSFUL\"],\"snapshots\":[{\"snapshot_volumes\":[{\"state\":\"Failed\"}]}]"
                "}",
                "Successful (Failed)");
        cell(cell_snap_state, "{\"flags\":[]}", "Incomplete");
        cell(cell_snap_volumes,
                "{\"volume_definitions\":[{\"volume_number\":0,\"size_kib\":1048576},{\"volume_number\":1,"
                "\"size_kib\":1024}]}",
                "0: 1.00 GiB, 1: 1.00 MiB");
        cell(cell_rsc_layers, "{\"layer_object\":{\"type\":\"DRBD\",\"children\":[{\"type\":\"STORAGE\"}]}}",
                "DRBD,STORAGE");
        cell(cell_dfn_state, "{\"flags\":[\"FAILED\"]}", "FAILED");
        cell(cell_dfn_state, "{}", "ok");
        cell(cell_pool_name, "{\"props\":{\"StorDriver/FileDir\":\"/a\",\"StorDriver/StorPoolName\":\"/b\"}}",
                "/a");
        cell(cell_size_max, "{\"space_info\":{\"max_vlm_size_in_kib\":1048576}}", "1.00 GiB");
        cell(cell_pool_free, "{\"provider_kind\":\"DISKLESS\",\"free_capacity\":9223372036854775807}", NULL);
        cell(cell_pool_free, "{\"provider_kind\":\"FILE\",\"free_capacity\":1048576}", "1.00 GiB");
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_sizes), cmocka_unit_test(test_arguments),
                cmocka_unit_test(test_bad_arguments), cmocka_unit_test(test_table),
                cmocka_unit_test(test_cells) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
