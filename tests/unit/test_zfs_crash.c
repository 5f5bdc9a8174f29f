/* A whole life of ZFS volumes and snapshots by planner, runner and provider, ended (as by kill -9) at every fault point and begun again:
 * the data are what they have to be, and nothing is left. */
#include "tests/lib/test.h"

#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

#include "satellite/base/inject.h"
#include "satellite/run.h"
#include "tests/unit/zfs_bed.h"
#include "wire/codec/codec.h"

#define U_DATA "00000000-0000-4000-8000-000000000001"
#define U_COPY "00000000-0000-4000-8000-000000000002"
#define V_ONE "00000000-0000-4000-8000-000000000011"
#define V_TWO "00000000-0000-4000-8000-000000000012"
#define V_COPY "00000000-0000-4000-8000-000000000013"
#define S_ONE "00000000-0000-4000-8000-000000000021"
#define S_TWO "00000000-0000-4000-8000-000000000022"
#define SAGA "00000000-0000-4000-8000-000000000031"
#define ROUNDS_MAX 6
#define DIED 99

#define INJECT(name, doc) #name,
static const char *const points[] = {
#include "wire/def/inject.def"
};
#undef INJECT

/* What is wanted of one resource. */
struct stage {
        const char *rsc, *uuid; /* uuid NULL: it is not wanted */
        const char *vlm_uuid;
        uint64_t size_kib;
        const char *source_id, *source_uuid; /* made from that snapshot */
        bool in_place;
        const char *snaps[2][2];            /* name, uuid of those that are wanted */
        bool take;                          /* now */
        const char *gone[2][2];             /* uuid, backing id of what is to go */
        const char *before, *text, *expect; /* that is written before it, and read after it */
};

static const struct stage history[] = {
        { .rsc = "data", .uuid = U_DATA, .vlm_uuid = V_ONE, .size_kib = 1024, .expect = "" },
        { .rsc = "data",
                .uuid = U_DATA,
                .vlm_uuid = V_ONE,
                .size_kib = 2048,
                .before = "data",
                .text = "one",
                .expect = "one" },
        { .rsc = "data",
                .uuid = U_DATA,
                .vlm_uuid = V_ONE,
                .size_kib = 2048,
                .snaps = { { "s1", S_ONE } },
                .take = true,
                .expect = "one" },
        { .rsc = "data",
                .uuid = U_DATA,
                .vlm_uuid = V_ONE,
                .size_kib = 2048,
                .snaps = { { "s1", S_ONE }, { "s2", S_TWO } },
                .take = true,
                .before = "data",
                .text = "two",
                .expect = "two" },
        { .rsc = "copy",
                .uuid = U_COPY,
                .vlm_uuid = V_COPY,
                .size_kib = 3072,
                .source_id = "data_00000_s2",
                .source_uuid = S_TWO,
                .before = "data",
                .text = "three",
                .expect = "two" },
        { .rsc = "data",
                .uuid = U_DATA,
                .vlm_uuid = V_TWO,
                .size_kib = 2048,
                .source_id = "data_00000_s1",
                .source_uuid = S_ONE,
                .in_place = true,
                .snaps = { { "s1", S_ONE }, { "s2", S_TWO } },
                .expect = "one" },
        { .rsc = "data",
                .uuid = U_DATA,
                .vlm_uuid = V_TWO,
                .size_kib = 2048,
                .snaps = { { "s1", S_ONE } },
                .gone = { { S_TWO, "data_00000_s2" } },
                .before = "data",
                .text = "four",
                .expect = "four" },
        { .rsc = "data", .gone = { { S_ONE, "data_00000_s1" }, { U_DATA, "data_00000" } } },
        { .rsc = "copy",
                .uuid = U_COPY,
                .vlm_uuid = V_COPY,
                .size_kib = 3072,
                .before = "copy",
                .text = "five",
                .expect = "five" },
        { .rsc = "copy", .gone = { { U_COPY, "copy_00000" } } },
};

/* What the satellite remembers between rounds, of two resources. */
struct memory {
        struct arena arena;
        struct dev devs[16];
        uint32_t n;
};
static struct memory remembered[2];

static struct memory *memory_of(const char *rsc) { return &remembered[strcmp(rsc, "copy") == 0]; }

static struct sat_vlm *volume(struct arena *a, const char *backing_id, const char *uuid, uint64_t size_kib)
{
        struct sat_vlm *v = arena_new(a, struct sat_vlm);
        SET(v, sat_vlm, volume_number, 0);
        SET(v, sat_vlm, size_kib, size_kib);
        SET(v, sat_vlm, storage_pool_name, "pool");
        SET(v, sat_vlm, backing_id, backing_id);
        if (uuid != NULL) SET(v, sat_vlm, uuid, uuid);
        return v;
}

static void wish(const struct stage *s, struct arena *a, struct plan_input *in)
{
        struct sat_rsc *r = arena_new(a, struct sat_rsc);
        struct sat_vlm *v = volume(a, arena_printf(a, "%s_00000", s->rsc), s->vlm_uuid, s->size_kib);
        struct sat_snap *snaps = arena_array(a, struct sat_snap, 2);
        struct sat_gone *gone = arena_array(a, struct sat_gone, 2);
        in->rsc_name = s->rsc;
        SET(r, sat_rsc, rsc_name, s->rsc);
        if (s->uuid != NULL) SET(r, sat_rsc, uuid, s->uuid);
        if (s->source_id != NULL) {
                SET(v, sat_vlm, source_id, s->source_id);
                SET(v, sat_vlm, source_uuid, s->source_uuid);
                SET(v, sat_vlm, in_place, s->in_place);
        }
        SET_N(r, sat_rsc, volumes, v, 1);
        if (s->take) SET(r, sat_rsc, hold, SAGA);
        if (s->uuid != NULL) in->want = r;
        for (unsigned i = 0; i < 2 && s->snaps[i][0] != NULL; i++) {
                struct sat_snap *w = &snaps[in->snaps_n++];
                SET(w, sat_snap, rsc_name, s->rsc);
                SET(w, sat_snap, snap_name, s->snaps[i][0]);
                SET(w, sat_snap, uuid, s->snaps[i][1]);
                if (s->take) SET(w, sat_snap, take, SAGA);
                SET_N(w, sat_snap, volumes,
                        volume(a, arena_printf(a, "data_00000_%s", s->snaps[i][0]), NULL, 2048), 1);
        }
        for (unsigned i = 0; i < 2 && s->gone[i][0] != NULL; i++) {
                struct sat_gone *w = &gone[in->gone_n++];
                SET(w, sat_gone, rsc_name, s->rsc);
                SET(w, sat_gone, uuid, s->gone[i][0]);
                SET_N(w, sat_gone, volumes, volume(a, s->gone[i][1], NULL, 2048), 1);
        }
        in->snaps = snaps;
        in->gone = gone;
}

static void remember(struct memory *m, const struct run *r)
{
        struct arena fresh = { 0 };
        uint32_t n = 0;
        for (uint32_t i = 0; i < r->in.devs_n; i++) {
                if (r->in.devs[i].uuid == NULL) continue;
                assert_true(n < ARRAY_LEN(m->devs));
                dev_copy(&fresh, &r->in.devs[i], &m->devs[n++]);
        }
        arena_done(&m->arena);
        m->arena = fresh;
        m->n = n;
}

/* Rounds until nothing is left to do. */
static void run_stage(const struct stage *s, enum provider_kind kind)
{
        const struct plan_pool pool = { .name = "pool", .kind = kind, .place = BED_PLACE };
        struct memory *m = memory_of(s->rsc);
        bool held = false;
        for (unsigned i = 0;; i++) {
                struct arena a = { 0 };
                struct plan_input in = { .pools = &pool,
                        .pools_n = 1,
                        .devs = m->devs,
                        .devs_n = m->n,
                        .held = held ? SAGA : NULL };
                struct run r;
                wish(s, &a, &in);
                assert_int_equal(run_init(&r, &in), 0);
                run_resource(&r);
                held = r.in.held != NULL;
                if (r.err != 0)
                        fail_msg("%s: %s %s", s->rsc,
                                r.troubles_n > 0 ? r.troubles[0].message : err_text(r.err),
                                r.troubles_n > 0 ? r.troubles[0].cause : "");
                remember(m, &r);
                bool done = r.steps_done == 0;
                run_done(&r);
                arena_done(&a);
                if (done) return;
                assert_true(i < ROUNDS_MAX);
        }
}

static const char *path_of(const char *rsc, char out[64])
{
        snprintf(out, 64, BED_PLACE "/%s_00000", rsc);
        return out;
}

/* Runs the stage in a child that dies at the point; does it? */
static bool dies_at(const struct stage *s, enum provider_kind kind, const char *point)
{
        struct fail f = { 0 };
        int status = 0;
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
                if (inject_arm(point, &f) != 0) _exit(1);
                run_stage(s, kind);
                _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == DIED));
        return WEXITSTATUS(status) == DIED;
}

static void check_snapshots(const struct stage *s)
{
        for (unsigned i = 0; i < 2 && s->snaps[i][0] != NULL; i++) {
                char name[64];
                snprintf(name, sizeof name, "@data_00000_%s\n", s->snaps[i][0]);
                assert_contains(
                        FAKE("list", "-Hp", "-r", "-d", "2", "-t", "snapshot", "-o", "name", BED_PLACE),
                        name);
        }
}

/* deaths[i]: the point at which stage i dies, NULL for none. */
static void live(enum provider_kind kind, const char *const *deaths)
{
        char path[64];
        zfs_bed_init();
        for (size_t i = 0; i < ARRAY_LEN(history); i++) {
                const struct stage *s = &history[i];
                const char *point = deaths != NULL && deaths[i] != NULL ? deaths[i] : NULL;
                if (s->before != NULL) FAKE("_write", path_of(s->before, path), s->text);
                if (point != NULL && !dies_at(s, kind, point))
                        fail_msg("stage %zu does not reach %s", i, point);
                run_stage(s, kind);
                if (s->expect != NULL) {
                        const char *data = FAKE("_read", path_of(s->rsc, path));
                        if (strcmp(data, s->expect) != 0)
                                fail_msg("stage %zu, %s: \"%s\" instead of \"%s\"", i,
                                        point != NULL ? point : "-", data, s->expect);
                }
                check_snapshots(s);
        }
        struct trouble t = { 0 };
        assert_int_equal(provider_zfs.tidy(BED_PLACE, &t), 0);
        assert_string_equal(FAKE("list", "-Hp", "-r", "-d", "2", "-t", "filesystem,volume,snapshot", "-o",
                                    "name", "tank"),
                "tank\n" BED_PLACE "\n");
        for (unsigned i = 0; i < 2; i++) {
                arena_done(&remembered[i].arena);
                remembered[i] = (struct memory){ 0 };
        }
        zfs_bed_done();
}

static void test_thin(void **state)
{
        (void)state;
        live(provider_kind_ZFS_THIN, NULL);
}

/* Each line a life with a death in several stages. */
static const char *const lives[][ARRAY_LEN(history)] = {
        { [0] = "ZFS_CREATED",
                [1] = "ZFS_RESIZED",
                [2] = "ZFS_CREATED",
                [4] = "ZFS_CLONED",
                [5] = "ZFS_DETACHED",
                [6] = "ZFS_RENAMED",
                [7] = "ZFS_REMOVED",
                [9] = "ZFS_DETACHED" },
        { [0] = "ZFS_ATTACHED",
                [3] = "ZFS_CREATED",
                [4] = "ZFS_RESERVED",
                [5] = "ZFS_CLONED",
                [6] = "ZFS_REMOVED",
                [7] = "ZFS_DETACHED",
                [9] = "ZFS_REMOVED" },
        { [4] = "ZFS_RESIZED", [5] = "ZFS_PROMOTED", [7] = "ZFS_RENAMED" },
        { [4] = "ZFS_ATTACHED", [5] = "ZFS_RENAMED" },
        { [5] = "ZFS_REPLACED" },
        { [5] = "ZFS_RESERVED" },
};

static void test_killed(void **state)
{
        (void)state;
        for (size_t i = 0; i < ARRAY_LEN(lives); i++) live(provider_kind_ZFS, lives[i]);
}

/* There is no fault point of ZFS at which nobody died. */
static void test_all_points(void **state)
{
        (void)state;
        for (size_t p = 0; p < ARRAY_LEN(points); p++) {
                bool found = strncmp(points[p], "ZFS_", 4) != 0;
                for (size_t i = 0; i < ARRAY_LEN(lives); i++)
                        for (size_t k = 0; k < ARRAY_LEN(history); k++)
                                found = found || (lives[i][k] != NULL && strcmp(lives[i][k], points[p]) == 0);
                if (!found) fail_msg("%s", points[p]);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_thin),
                cmocka_unit_test(test_killed),
                cmocka_unit_test(test_all_points),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
