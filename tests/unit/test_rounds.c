/* Rounds of work past their deadline, on a manager with programs of LVM that stand still for as long as the test wants: they are
 * reported, have not failed, give their place to others, and end as they end. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "satellite/base/exec.h"
#include "satellite/manager.h"
#include "wire/codec/codec.h"

#define DEADLINE_MS 300
#define WAIT_S 120 /* for a machine that is busy */
#define SLOW MANAGER_ROUNDS

/* rows/NAME is what lvs prints of a volume. While hold/NAME is there, extending it does not end; where fail/NAME is, it fails then. */
static const char script[] =
        "#!/bin/sh\n"
        "PATH=/usr/bin:/bin\n"
        "dir=${0%/*} name=\n"
        "for word; do\n"
        "        case $word in lv_name=*) name=${word#*=\\\"} name=${name%\\\"} ;; esac\n"
        "        last=${word#*/}\n"
        "done\n"
        "case ${0##*/} in\n"
        "vgs) echo \"  vg0|1073741824|$(cat \"$dir/free\" 2>/dev/null || echo 536870912)|4194304|wz--n-\" "
        ";;\n"
        "lvs) if [ -n \"$name\" ]; then cat \"$dir/rows/$name\" 2>/dev/null || :; else cat \"$dir\"/rows/*; "
        "fi ;;\n"
        "lvextend)\n"
        "        : >\"$dir/begun/$last\"\n"
        "        while [ -e \"$dir/hold/$last\" ]; do sleep 0.05; done\n"
        "        if [ -e \"$dir/fail/$last\" ]; then echo 'no such luck' >&2; exit 5; fi\n"
        "        if [ \"$(cat \"$dir/free\" 2>/dev/null)\" = 0 ]; then echo ' Insufficient free space: 1 "
        "extents needed' >&2; exit 5; fi\n"
        "        sed -i 's/|8388608|/|12582912|/' \"$dir/rows/$last\" ;;\n"
        "*) echo \"$0: not expected\" >&2; exit 9 ;;\n"
        "esac\n";

struct fixture {
        uv_loop_t loop;
        struct manager *m;
        char dir[64], state[80], programs[80];
        struct arena arena; /* of what was wanted */
        struct arena seen;  /* of the last report */
        struct sat_report report;
        bool closed;
};
static struct fixture *fx;

static char *path_of(const char *folder, const char *name)
{
        static char path[200];
        snprintf(path, sizeof path, "%s/%s/%s", fx->programs, folder, name);
        return path;
}

static void write_file(const char *path, const char *text, mode_t mode)
{
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
        close(fd);
}

static void put_flag(const char *folder, const char *name) { write_file(path_of(folder, name), "", 0644); }
static bool has_flag(const char *folder, const char *name)
{
        return access(path_of(folder, name), F_OK) == 0;
}
static void drop_flag(const char *folder, const char *name) { (void)unlink(path_of(folder, name)); }

static void on_changed(void *arg) { (void)arg; }
static void on_closed(void *arg) { fx->closed = true; }

static int setup(void **state)
{
        static const char *const programs[] = { "vgs", "lvs", "lvextend" },
                                 *folders[] = { "rows", "hold", "fail", "begun" };
        fx = xnew(struct fixture);
        snprintf(fx->dir, sizeof fx->dir, "/tmp/outrigger-rounds-XXXXXX");
        assert_non_null(mkdtemp(fx->dir));
        snprintf(fx->state, sizeof fx->state, "%s/state", fx->dir);
        snprintf(fx->programs, sizeof fx->programs, "%s/programs", fx->dir);
        assert_int_equal(mkdir(fx->state, 0700), 0);
        assert_int_equal(mkdir(fx->programs, 0700), 0);
        for (size_t i = 0; i < ARRAY_LEN(folders); i++)
                assert_int_equal(mkdir(path_of(folders[i], ""), 0700), 0);
        for (size_t i = 0; i < ARRAY_LEN(programs); i++) write_file(path_of(".", programs[i]), script, 0755);
        exec_set_path(fx->programs);
        struct manager_config c = { .dir = fx->state,
                .node_name = "alpha",
                .cluster_uuid = "c",
                .round_deadline_ms = DEADLINE_MS,
                .scan_every_ms = 200,
                .retry_first_ms = 10 * 60 * 1000 };
        struct fail f = { 0 };
        assert_int_equal(uv_loop_init(&fx->loop), 0);
        assert_ok(manager_open(&fx->loop, env_real(), &c, on_changed, NULL, &fx->m, &f));
        return 0;
}

static int teardown(void **state)
{
        char command[100];
        manager_close(fx->m, on_closed);
        uv_run(&fx->loop, UV_RUN_DEFAULT);
        assert_true(fx->closed);
        assert_int_equal(uv_loop_close(&fx->loop), 0);
        exec_set_path(NULL);
        snprintf(command, sizeof command, "rm -rf %s", fx->dir);
        assert_int_equal(system(command), 0);
        arena_done(&fx->arena);
        arena_done(&fx->seen);
        free(fx);
        return 0;
}

/* ---- what is wanted ---- */

/* Volumes of 8 MiB that exist, and are to have 12 MiB. */
static void want(const char *const *names, uint32_t n)
{
        struct arena *a = &fx->arena;
        struct sat_wanted w = { 0 };
        struct sat_pool *pool = arena_new(a, struct sat_pool);
        struct sat_rsc *rsc = arena_array(a, struct sat_rsc, n);
        struct fail f = { 0 };
        char line[300];
        uint64_t seq;
        SET(pool, sat_pool, storage_pool_name, "thick");
        SET(pool, sat_pool, provider_kind, provider_kind_LVM);
        SET(pool, sat_pool, revision, 1);
        strmap_set(&pool->props, "StorDriver/StorPoolName", "vg0", a);
        MARK(pool, sat_pool, props);
        for (uint32_t i = 0; i < n; i++) {
                const char *id = arena_printf(a, "%s_00000", names[i]);
                struct sat_vlm *v = arena_new(a, struct sat_vlm);
                SET(v, sat_vlm, volume_number, 0);
                SET(v, sat_vlm, size_kib, 12288);
                SET(v, sat_vlm, storage_pool_name, "thick");
                SET(v, sat_vlm, provider_kind, provider_kind_LVM);
                SET(&rsc[i], sat_rsc, rsc_name, names[i]);
                SET(&rsc[i], sat_rsc, uuid, arena_printf(a, "u-%s", names[i]));
                SET(&rsc[i], sat_rsc, revision, 1);
                SET_N(&rsc[i], sat_rsc, volumes, v, 1);
                snprintf(line, sizeof line,
                        "  %s|8388608|-wi-a-----|active|||||4194304|/dev/vg0/%s|outrigger:u-%s:0::%s||\n", id,
                        id, names[i], names[i]);
                write_file(path_of("rows", id), line, 0644);
        }
        SET(&w, sat_wanted, term, 1);
        SET(&w, sat_wanted, revision, 1);
        SET(&w, sat_wanted, cluster_uuid, "c");
        SET_N(&w, sat_wanted, pools, pool, 1);
        SET_N(&w, sat_wanted, resources, rsc, n);
        assert_ok(manager_take(fx->m, &w, &seq, &f));
}

static const struct obs_rsc *row(const char *name)
{
        uint64_t gen = 0;
        bool any;
        arena_done(&fx->seen);
        fx->seen = (struct arena){ 0 };
        fx->report = (struct sat_report){ 0 };
        assert_ok(manager_report(fx->m, true, &gen, &fx->seen, &fx->report, &any));
        for (uint32_t i = 0; i < fx->report.resources_n; i++)
                if (strcmp(fx->report.resources[i].rsc_name, name) == 0) return &fx->report.resources[i];
        return NULL;
}

static bool says(const struct obs_rsc *r, const char *text)
{
        for (uint32_t i = 0; r != NULL && i < r->reports_n; i++)
                if (strstr(r->reports[i].message, text) != NULL) return true;
        return false;
}

typedef bool condition_fn(const char *name);
static bool is_done(const char *name)
{
        const struct obs_rsc *r = row(name);
        return r != NULL && r->state == sat_step_state_DONE && r->volumes_n == 1 &&
               r->volumes[0].usable_kib == 12288;
}
static bool is_failed(const char *name)
{
        const struct obs_rsc *r = row(name);
        return r != NULL && r->state == sat_step_state_FAILED;
}
static bool is_late(const char *name) { return says(row(name), "does not end"); }

static void await(condition_fn *condition, const char *name)
{
        uint64_t until = env_real()->now_ms(env_real()) + WAIT_S * 1000;
        while (!condition(name)) {
                if (env_real()->now_ms(env_real()) > until) fail_msg("%s: not within %u s", name, WAIT_S);
                uv_run(&fx->loop, UV_RUN_ONCE);
        }
}

/* ---- */

/* Every place is taken by one that stands still: the next one waits only until they are late. They go on, and are then done. */
static void test_late(void **state)
{
        static const char *const names[SLOW + 1] = { "s0", "s1", "s2", "s3", "zz" };
        char id[32];
        for (unsigned i = 0; i < SLOW; i++) {
                snprintf(id, sizeof id, "%s_00000", names[i]);
                put_flag("hold", id);
        }
        want(names, SLOW + 1);
        await(is_done, "zz");
        for (unsigned i = 0; i < SLOW; i++) {
                snprintf(id, sizeof id, "%s_00000", names[i]);
                await(is_late, names[i]);
                assert_true(has_flag("begun", id));
                const struct obs_rsc *r = row(names[i]);
                assert_int_equal(r->state, sat_step_state_RUNNING); /* whoever waits for it goes on waiting */
                assert_contains(r->reports[0].cause, "more than");
                assert_non_null(r->reports[0].correction);
        }
        assert_int_equal(fx->report.error_reports_n, SLOW);
        for (unsigned i = 0; i < SLOW; i++) {
                snprintf(id, sizeof id, "%s_00000", names[i]);
                drop_flag("hold", id);
                await(is_done, names[i]);
                assert_int_equal(row(names[i])->reports_n, 0);
        }
}

/* One that fails in the end is failed then, and says why, not that it is late. */
static void test_late_and_failed(void **state)
{
        static const char *const names[] = { "s0" };
        put_flag("hold", "s0_00000");
        put_flag("fail", "s0_00000");
        want(names, 1);
        await(is_late, "s0");
        assert_int_equal(row("s0")->state, sat_step_state_RUNNING);
        drop_flag("hold", "s0_00000");
        await(is_failed, "s0");
        assert_false(says(row("s0"), "does not end"));
        const struct obs_rsc *r = row("s0");
        bool told = false;
        for (uint32_t i = 0; i < r->reports_n; i++)
                told = told || strstr(r->reports[i].cause, "no such luck") != NULL;
        for (uint32_t i = 0; r->volumes_n == 1 && i < r->volumes[0].reports_n; i++)
                told = told || strstr(r->volumes[0].reports[i].cause, "no such luck") != NULL;
        assert_true(told);
}

/* In one step: vgs may be reading it. */
static void set_free(const char *bytes)
{
        char fresh[200];
        snprintf(fresh, sizeof fresh, "%s", path_of(".", "free.new"));
        write_file(fresh, bytes, 0644);
        assert_int_equal(rename(fresh, path_of(".", "free")), 0);
}

static bool sees_free(const char *kib)
{
        (void)row("");
        return fx->report.pools_n == 1 && fx->report.pools[0].free_kib == atoll(kib);
}

/* The next attempt is ten minutes away; but there is room, and only those that lack some need it. */
static void test_room(void **state)
{
        static const char *const names[] = { "s0", "s1" };
        (void)state;
        set_free("0");
        put_flag("fail", "s1_00000");
        want(names, 2);
        await(is_failed, "s0");
        await(is_failed, "s1");
        await(sees_free, "0");
        drop_flag("begun", "s1_00000");
        set_free("2097152"); /* not worth trying */
        await(sees_free, "2048");
        assert_true(is_failed("s0"));
        set_free("8388608");
        await(is_done, "s0");
        assert_true(is_failed("s1") && !has_flag("begun", "s1_00000"));
}

/* The satellite ends while one stands still: closing waits for it. */
static void test_closed_meanwhile(void **state)
{
        static const char *const names[] = { "s0" };
        put_flag("hold", "s0_00000");
        want(names, 1);
        await(is_late, "s0");
        drop_flag("hold", "s0_00000"); /* teardown closes */
}

int main(void)
{
        char threads[16];
        snprintf(threads, sizeof threads, "%d", MANAGER_THREADS);
        setenv("UV_THREADPOOL_SIZE", threads, 1); /* as the satellite does */
        const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(test_late, setup, teardown),
                cmocka_unit_test_setup_teardown(test_late_and_failed, setup, teardown),
                cmocka_unit_test_setup_teardown(test_room, setup, teardown),
                cmocka_unit_test_setup_teardown(test_closed_meanwhile, setup, teardown) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
