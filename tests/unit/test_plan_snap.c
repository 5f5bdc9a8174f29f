/* Snapshots in the planner: what is done in each phase of a saga, and a satellite that ends between any two steps. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "satellite/base/exec.h"
#include "satellite/layer/hold.h"
#include "satellite/plan.h"
#include "satellite/run.h"
#include "wire/codec/codec.h"
#include "wire/def/layer_size.h"

#define RSC "aaaaaaaa-0000-4000-8000-000000000001"
#define SNAP "bbbbbbbb-0000-4000-8000-000000000002"
#define SAGA "cccccccc-0000-4000-8000-000000000003"
#define NEW_VLM "dddddddd-0000-4000-8000-000000000004"

static const struct plan_pool pools[] = { { "thin", provider_kind_FILE_THIN, "/p" },
        { "none", provider_kind_DISKLESS, "" }, { "thick", provider_kind_LVM, "vg" } };

/* A layer that can hold, for the tests that ask for it. */
static bool fake_held;
static char looked[64]; /* a file that is there when somebody has looked at devices */
static bool fake_after_look;
static int fake_set(const struct sat_rsc *r, bool hold, struct trouble *t)
{
        fake_held = hold;
        fake_after_look = access(looked, F_OK) == 0;
        return 0;
}
static const struct hold_layer fake = { "MORE", fake_set };

/* The machine: a volume, its snapshot, a second volume made from that. */
struct world {
        struct arena a;
        struct dev devs[2];
        struct sat_rsc want;
        struct sat_vlm vlm, snap_vlm;
        struct sat_snap snap;
        struct plan_input in;
        const char *held, *given_up;
        struct plan plan;
};

static void world_init(struct world *w, const char *pool, bool can_hold)
{
        static const char *plain[] = { "STORAGE" }, *holding[] = { "MORE", "STORAGE" };
        const struct plan_pool *p = plan_pool_find(pools, ARRAY_LEN(pools), pool);
        *w = (struct world){ 0 };
        w->devs[0] = (struct dev){ .rsc_name = "r",
                .uuid = RSC,
                .vlm_uuid = "v",
                .kind = p->kind,
                .place = p->place,
                .backing_id = "r_00000",
                .made = true,
                .exists = true,
                .marked = true,
                .attached = true,
                .size_kib = 64,
                .device_kib = 64,
                .device_path = "/dev/x",
                .backing_path = "/p/r" };
        w->devs[1] = (struct dev){
                .rsc_name = "r", .kind = p->kind, .place = p->place, .backing_id = "r_00000_s1"
        };
        SET(&w->vlm, sat_vlm, volume_number, 0);
        SET(&w->vlm, sat_vlm, size_kib, 64);
        SET(&w->vlm, sat_vlm, storage_pool_name, pool);
        SET(&w->vlm, sat_vlm, uuid, "v");
        SET(&w->want, sat_rsc, uuid, RSC);
        SET_N(&w->want, sat_rsc, layer_stack, can_hold ? holding : plain, can_hold ? 2 : 1);
        SET_N(&w->want, sat_rsc, volumes, &w->vlm, 1);
        w->snap_vlm = w->vlm;
        SET(&w->snap_vlm, sat_vlm, backing_id, "r_00000_s1");
        SET(&w->snap_vlm, sat_vlm, uuid, "sv");
        SET(&w->snap, sat_snap, snap_name, "s1");
        SET(&w->snap, sat_snap, uuid, SNAP);
        SET_N(&w->snap, sat_snap, volumes, &w->snap_vlm, 1);
        w->in = (struct plan_input){ .rsc_name = "r",
                .want = &w->want,
                .devs = w->devs,
                .devs_n = 2,
                .pools = pools,
                .pools_n = ARRAY_LEN(pools),
                .snaps = &w->snap,
                .snaps_n = 1 };
}

static void world_done(struct world *w) { arena_done(&w->a); }

/* Plans and writes the names of the steps into one text. */
static const char *steps_of(struct world *w)
{
        static char text[200];
        w->in.held = w->held;
        w->in.given_up = w->given_up;
        assert_int_equal(plan_resource(&w->in, &w->a, &w->plan), 0);
        text[0] = '\0';
        for (uint32_t i = 0; i < w->plan.steps_n; i++) {
                if (i > 0) strcat(text, " ");
                strcat(text, step_name(w->plan.steps[i].kind));
        }
        return text;
}

static void hold(struct world *w, bool on)
{
        if (on) SET(&w->want, sat_rsc, hold, SAGA);
        else UNSET(&w->want, sat_rsc, hold);
}

static void take(struct world *w, bool on)
{
        if (on) SET(&w->snap, sat_snap, take, SAGA);
        else UNSET(&w->snap, sat_snap, take);
}

static enum sat_step_state snap_state(struct world *w)
{
        return plan_snap_state(&w->snap, w->devs, 2, w->plan.troubles_n > 0);
}

static void apply(struct world *w, const struct step *s)
{
        if (s->kind == STEP_HOLD) {
                assert_int_equal(hold_set(s->want, true, NULL), 0);
                w->held = SAGA;
        } else if (s->kind == STEP_LET_GO) {
                assert_int_equal(hold_set(s->want, false, NULL), 0);
                w->held = NULL;
        } else {
                assert_int_equal(s->kind, STEP_SNAPSHOT);
                assert_string_equal(s->dev.uuid, SNAP);
                assert_string_equal(s->dev.backing_id, "r_00000_s1");
                assert_ptr_equal(s->src, &w->devs[0]);
                w->devs[1].exists = w->devs[1].made = w->devs[1].marked = true;
                w->devs[1].uuid = SNAP;
                w->devs[1].snap_name = "s1";
                w->devs[1].size_kib = 64;
        }
}

static void test_phases(void **state)
{
        struct world w;
        world_init(&w, "thin", false);
        assert_string_equal(steps_of(&w), ""); /* known, but not its moment */
        assert_int_equal(snap_state(&w), sat_step_state_PENDING);
        take(&w, true);
        assert_string_equal(steps_of(&w), ""); /* never without the hold */
        assert_int_equal(w.plan.troubles_n, 1);
        assert_string_equal(w.plan.troubles[0].snap, "s1");
        assert_int_equal(snap_state(&w), sat_step_state_FAILED);
        hold(&w, true);
        assert_string_equal(steps_of(&w), "hold snapshot");
        assert_true(w.plan.steps[0].group == w.plan.steps[1].group); /* no snapshot when holding fails */
        w.held = SAGA;
        assert_string_equal(steps_of(&w), "snapshot");
        w.given_up = SAGA;
        assert_string_equal(steps_of(&w), "let go");
        w.given_up = NULL;
        assert_string_equal(steps_of(&w), "snapshot");
        apply(&w, &w.plan.steps[0]);
        assert_string_equal(steps_of(&w), "");
        assert_int_equal(snap_state(&w), sat_step_state_DONE);
        hold(&w, false);
        assert_string_equal(steps_of(&w), "let go");
        w.held = NULL;
        w.devs[1].exists = false; /* deleted by somebody: not taken anew */
        assert_string_equal(steps_of(&w), "");
        assert_int_equal(snap_state(&w), sat_step_state_FAILED);
        world_done(&w);
}

static void test_refusals(void **state)
{
        struct world w;
        world_init(&w, "none", false);
        hold(&w, true);
        take(&w, true);
        assert_string_equal(steps_of(&w), "hold");
        assert_int_equal(w.plan.troubles[0].code, TROUBLE_NO_PROVIDER);
        world_done(&w);
        world_init(&w, "thin", false);
        hold(&w, true);
        take(&w, true);
        w.devs[1].exists = true; /* somebody else's */
        assert_string_equal(steps_of(&w), "hold");
        assert_int_equal(w.plan.troubles[0].code, TROUBLE_EXISTS);
        w.devs[1].exists = false;
        w.devs[1].unknown = true;
        assert_string_equal(steps_of(&w), "hold");
        assert_int_equal(w.plan.troubles[0].code, TROUBLE_POOL);
        world_done(&w);
}

/* A snapshot is not an orphan, and the end of the resource does not touch it; its tombstone removes it. */
static void test_apart_from_resource(void **state)
{
        struct world w;
        struct sat_gone gone = { 0 };
        world_init(&w, "thin", false);
        w.devs[1].exists = w.devs[1].made = w.devs[1].marked = true;
        w.devs[1].uuid = SNAP;
        w.devs[1].snap_name = "s1";
        SET(&gone, sat_gone, uuid, RSC);
        w.in.want = NULL;
        w.in.gone = &gone;
        w.in.gone_n = 1;
        assert_string_equal(steps_of(&w), "detach remove");
        assert_string_equal(w.plan.steps[1].dev.backing_id, "r_00000");
        assert_false(w.plan.orphan);
        SET(&gone, sat_gone, uuid, SNAP);
        w.in.want = &w.want;
        w.in.snaps_n = 0;
        assert_string_equal(steps_of(&w), "remove");
        assert_string_equal(w.plan.steps[0].dev.backing_id, "r_00000_s1");
        world_done(&w);
}

static void from_snapshot(struct world *w, bool in_place)
{
        SET(&w->vlm, sat_vlm, uuid, NEW_VLM);
        SET(&w->vlm, sat_vlm, source_id, "r_00000_s1");
        SET(&w->vlm, sat_vlm, source_uuid, SNAP);
        if (in_place) SET(&w->vlm, sat_vlm, in_place, true);
        w->devs[1].exists = w->devs[1].made = w->devs[1].marked = true;
        w->devs[1].uuid = SNAP;
        w->devs[1].snap_name = "s1";
        w->devs[1].size_kib = 128;
}

static void test_from_snapshot(void **state)
{
        struct world w;
        world_init(&w, "thin", false);
        from_snapshot(&w, true);
        assert_string_equal(
                steps_of(&w), "detach replace attach"); /* the old one goes with the replacement only */
        assert_ptr_equal(w.plan.steps[1].old, &w.devs[0]);
        assert_int_equal(w.plan.steps[1].size_kib, 128);
        assert_string_equal(w.plan.steps[1].dev.vlm_uuid, NEW_VLM);
        w.devs[1].exists = false; /* no snapshot: the old volume stays */
        assert_string_equal(steps_of(&w), "");
        assert_true(w.plan.troubles_n > 0);
        /* Taken back: the old volume is what the snapshot was taken of, and serves; but not one that is up, or was replaced. */
        SET(&w.vlm, sat_vlm, same_uuid, "v");
        w.devs[0].attached = false;
        assert_string_equal(steps_of(&w), "keep attach");
        assert_string_equal(w.plan.steps[0].dev.vlm_uuid, NEW_VLM);
        assert_ptr_equal(w.plan.steps[0].old, &w.devs[0]);
        w.devs[1].exists = true;
        assert_string_equal(steps_of(&w), "keep attach");
        w.devs[0].attached = true;
        assert_string_equal(steps_of(&w), "detach replace attach");
        w.devs[0].attached = false;
        w.devs[0].vlm_uuid = SAGA;
        assert_string_equal(steps_of(&w), "replace attach");
        w.devs[0].vlm_uuid = NEW_VLM;
        assert_string_equal(steps_of(&w), "attach");
        w.devs[0].vlm_uuid = "v";
        w.devs[0].attached = true;
        UNSET(&w.vlm, sat_vlm, same_uuid);
        w.devs[1].uuid = "another's";
        assert_string_equal(steps_of(&w), "");
        world_done(&w);
        world_init(&w, "thin", false);
        from_snapshot(&w, false);
        w.devs[0].exists = w.devs[0].attached = w.devs[0].made = false;
        w.devs[0].uuid = NULL;
        assert_string_equal(steps_of(&w), "restore attach");
        world_done(&w);
}

/* A thick clone: what is being copied is gone on with, is no source of snapshots, and goes as it is; it cannot take another one's place. */
static void test_unfilled(void **state)
{
        static const char *stack[] = { "LUKS", "STORAGE" };
        struct layer_dev luks = { .type = layer_type_LUKS };
        struct sat_gone gone[2] = { { 0 }, { 0 } };
        struct world w;
        world_init(&w, "thick", false);
        from_snapshot(&w, false);
        SET_N(&w.want, sat_rsc, layer_stack, stack, 2);
        w.devs[0].vlm_uuid = NEW_VLM;
        w.devs[0].layers = &luks;
        w.devs[0].layers_n = 1;
        w.devs[0].unfilled = true;
        assert_string_equal(steps_of(&w), "restore attach"); /* nothing above */
        w.devs[1].exists = false;
        assert_string_equal(steps_of(&w), "");
        assert_true(w.plan.troubles_n > 0);
        w.devs[1].uuid = NULL;
        w.devs[1].made = false;
        hold(&w, true);
        take(&w, true);
        assert_null(strstr(steps_of(&w), "snapshot"));
        assert_contains(w.plan.troubles[0].cause, "copied");
        w.devs[1].exists = w.devs[1].made = true;
        w.devs[1].uuid = SNAP;
        SET(&gone[0], sat_gone, uuid, RSC);
        SET(&gone[1], sat_gone, uuid, SNAP);
        w.in.want = NULL;
        w.in.snaps_n = 0;
        w.in.gone = gone;
        w.in.gone_n = 2;
        assert_string_equal(steps_of(&w), "remove detach remove"); /* snapshots first; no header to erase */
        assert_string_equal(w.plan.steps[0].dev.backing_id, "r_00000_s1");
        world_done(&w);
        world_init(&w, "thick", false);
        from_snapshot(&w, true);
        assert_string_equal(steps_of(&w), "");
        assert_true(w.plan.troubles_n > 0);
        world_done(&w);
}

/* A copy's layers are in the snapshot: they count as made, and a volume whose layers are not made yet has nothing to take. */
static void test_layers(void **state)
{
        static const char *stack[] = { "LUKS", "STORAGE" };
        struct layer_dev luks = { .type = layer_type_LUKS, .made = true };
        struct world w;
        world_init(&w, "thin", false);
        SET_N(&w.want, sat_rsc, layer_stack, stack, 2);
        w.devs[0].layers = &luks;
        w.devs[0].layers_n = 1;
        luks.looked = luks.exists = luks.open = true;
        luks.device_path = "/dev/mapper/x";
        w.devs[0].size_kib = w.devs[0].device_kib = 16384 + 64;
        take(&w, true);
        hold(&w, true);
        assert_string_equal(steps_of(&w), "hold snapshot");
        luks.made = false;
        assert_null(strstr(steps_of(&w), "snapshot"));
        assert_true(w.plan.troubles_n > 0);
        luks.made = true;
        take(&w, false);
        hold(&w, false);
        from_snapshot(&w, false);
        w.devs[0].exists = w.devs[0].attached = w.devs[0].made = false;
        w.devs[0].uuid = NULL;
        luks = (struct layer_dev){ .type = layer_type_LUKS };
        assert_string_equal(steps_of(&w), "restore attach");
        assert_int_equal(w.plan.steps[0].dev.layers_n, 1);
        assert_true(w.plan.steps[0].dev.layers[0].made);
        world_done(&w);
}

/* Made from a snapshot with other layers: filled before anything uses it, once; what it lacks is made, with room for that. */
static void test_other_layers(void **state)
{
        static const char *plain[] = { "STORAGE" }, *drbd[] = { "DRBD", "STORAGE" };
        struct sat_drbd opts = { 0 };
        struct layer_dev l = { .type = layer_type_DRBD };
        struct world w;
        for (unsigned added = 0; added < 2; added++) {
                world_init(&w, "thin", false);
                SET_N(&w.want, sat_rsc, layer_stack, added ? drbd : plain, added ? 2 : 1);
                SET(&opts, sat_drbd, peer_slots, 7);
                if (added) SET(&w.want, sat_rsc, drbd, &opts);
                from_snapshot(&w, false);
                SET_N(&w.vlm, sat_vlm, source_layers, added ? plain : drbd, added ? 1 : 2);
                struct dev *d = &w.devs[0];
                d->exists = d->attached = d->made = false;
                d->uuid = NULL;
                l = (struct layer_dev){ .type = layer_type_DRBD };
                d->layers = added ? &l : NULL;
                d->layers_n = added;
                assert_string_equal(steps_of(&w), "restore attach");
                uint64_t kib = w.plan.steps[0].size_kib;
                assert_true(added ? stack_net_kib(drbd, 2, kib, 7) >= 128 && kib < 1024 : kib == 128);
                if (added) assert_false(w.plan.steps[0].dev.layers[0].made);
                d->exists = d->attached = d->made = true;
                d->uuid = RSC;
                d->vlm_uuid = NEW_VLM;
                d->size_kib = d->device_kib = kib;
                l.looked = true;
                l.foreign = true;                              /* the data: not in the way of anything */
                for (unsigned again = 0; again < 2; again++) { /* a satellite that ends before it is noted */
                        assert_string_equal(steps_of(&w), "fill");
                        assert_int_equal(w.plan.troubles_n, 0);
                        assert_int_equal(w.plan.steps[0].layer, 0);
                        assert_ptr_equal(w.plan.steps[0].src, &w.devs[1]);
                }
                w.devs[1].exists = false; /* the step says what it lacks */
                assert_string_equal(steps_of(&w), "fill");
                assert_null(w.plan.steps[0].src);
                if (added) {
                        l.open = true; /* DRBD is up: it was filled, whatever is remembered */
                        assert_null(strstr(steps_of(&w), "fill"));
                        l.open = false;
                }
                d->filled = true;
                l.foreign = false; /* as drbd_md_look() has it */
                assert_string_equal(steps_of(&w), added ? "make settle" : "");
                UNSET(&w.vlm, sat_vlm, source_layers); /* all are: it is never looked at again */
                d->filled = false;
                assert_string_equal(steps_of(&w), added ? "make settle" : "");
                world_done(&w);
        }
}

/* Made from a snapshot with layers that change or shift the data: new, with room for it, and copied before anything uses it. */
static void test_copied(void **state)
{
        static const char *plain[] = { "STORAGE" }, *luks[] = { "LUKS", "STORAGE" };
        for (unsigned added = 0; added < 2; added++) {
                struct layer_dev l = { .type = layer_type_LUKS };
                struct world w;
                world_init(&w, "thin", false);
                SET_N(&w.want, sat_rsc, layer_stack, added ? luks : plain, added ? 2 : 1);
                from_snapshot(&w, false);
                SET_N(&w.vlm, sat_vlm, source_layers, added ? plain : luks, added ? 1 : 2);
                struct dev *d = &w.devs[0];
                d->exists = d->attached = d->made = false;
                d->uuid = NULL;
                d->layers = added ? &l : NULL;
                d->layers_n = added;
                assert_string_equal(
                        steps_of(&w), added ? "create attach make open fill" : "create attach fill");
                uint64_t kib = w.plan.steps[0].size_kib;
                assert_int_equal(kib, w.vlm.size_kib + (added ? LUKS_HEADER_KIB : 0));
                w.devs[1].exists = false; /* without a source nothing is made */
                assert_string_equal(steps_of(&w), "");
                assert_true(w.plan.troubles_n > 0);
                w.devs[1].exists = true;
                d->exists = d->attached = d->made = true;
                d->uuid = RSC;
                d->vlm_uuid = NEW_VLM;
                d->size_kib = d->device_kib = kib;
                l.made = l.looked = l.exists = l.open = added;
                assert_string_equal(steps_of(&w), "fill");
                assert_int_equal(w.plan.steps[0].layer, added);
                assert_ptr_equal(w.plan.steps[0].src, &w.devs[1]);
                hold(&w, true);
                take(&w, true);
                w.devs[1].exists = false;
                w.devs[1].uuid = NULL;
                w.devs[1].made = false;
                assert_null(strstr(steps_of(&w), "snapshot")); /* of what is not whole */
                hold(&w, false);
                d->filled = true;
                w.in.snaps_n = 0;
                assert_string_equal(steps_of(&w), "");
                world_done(&w);
        }
}

/* The satellite ends before each step in turn, and starts again: a layer that can hold is let go first, and what was held is
 * given up; without one the work goes on. In the end nothing is held. */
static void kill_before(unsigned at, bool can_hold)
{
        struct world w;
        unsigned n = 0;
        bool died = false;
        world_init(&w, "thin", can_hold);
        fake_held = false;
        for (unsigned phase = 0; phase < 3; phase++) {
                hold(&w, phase < 2);
                take(&w, phase == 1);
                for (unsigned rounds = 0; *steps_of(&w) != '\0'; rounds++) {
                        assert_true(rounds < 5);
                        for (uint32_t i = 0; i < w.plan.steps_n; i++) {
                                if (n++ == at && !died) {
                                        died = true;
                                        w.held = can_hold ? HOLD_UNKNOWN : NULL;
                                        w.given_up = can_hold && phase < 2 ? SAGA : NULL;
                                        break;
                                }
                                apply(&w, &w.plan.steps[i]);
                        }
                }
                if (can_hold && !died) assert_int_equal(fake_held, phase < 2);
                if (can_hold && died) assert_false(fake_held && phase == 2);
        }
        assert_false(fake_held);
        assert_null(w.held);
        if (!can_hold) assert_true(w.devs[1].exists);
        world_done(&w);
}

static void test_ends_anywhere(void **state)
{
        hold_register(&fake);
        for (unsigned at = 0; at < 5; at++) {
                kill_before(at, false);
                kill_before(at, true);
        }
}

/* A look at devices may take long: held I/O goes on before it. Holding comes after it. */
static void test_lets_go_first(void **state)
{
        char dir[] = "/tmp/test_plan_snap-XXXXXX", path[64], text[200];
        for (unsigned on = 0; on < 2; on++) {
                struct world w;
                struct run r;
                (void)strcpy(dir, "/tmp/test_plan_snap-XXXXXX");
                assert_non_null(mkdtemp(dir));
                snprintf(looked, sizeof looked, "%s/looked", dir);
                snprintf(path, sizeof path, "%s/lvs", dir);
                snprintf(text, sizeof text, "#!/bin/sh\n: >%s\n", looked);
                int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
                assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
                close(fd);
                exec_set_path(dir);
                world_init(&w, "thick", true);
                hold(&w, on == 1);
                fake_held = on == 0;
                w.in.held = on == 0 ? SAGA : NULL;
                assert_ok(run_init(&r, &w.in));
                run_resource(&r);
                assert_int_equal(access(looked, F_OK), 0);
                assert_int_equal(fake_held, on == 1);
                assert_int_equal(fake_after_look, on == 1);
                assert_int_equal(r.in.held != NULL, on == 1);
                run_done(&r);
                world_done(&w);
                assert_true(unlink(looked) == 0 && unlink(path) == 0 && rmdir(dir) == 0);
        }
        exec_set_path(NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_phases),
                cmocka_unit_test(test_refusals),
                cmocka_unit_test(test_apart_from_resource),
                cmocka_unit_test(test_from_snapshot),
                cmocka_unit_test(test_unfilled),
                cmocka_unit_test(test_layers),
                cmocka_unit_test(test_other_layers),
                cmocka_unit_test(test_copied),
                cmocka_unit_test(test_ends_anywhere),
                cmocka_unit_test(test_lets_go_first),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
