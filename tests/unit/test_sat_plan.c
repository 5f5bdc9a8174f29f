/* The planner of the satellite: tables of (wanted, observed) -> steps, and random histories on a model of the
 * machine. */
#include "tests/lib/test.h"

#include "satellite/plan.h"
#include "wire/codec/codec.h"

#define UUID_A "aaaaaaaa-0000-4000-8000-000000000001"
#define UUID_B "bbbbbbbb-0000-4000-8000-000000000002"
#define VLM_1 "11111111-0000-4000-8000-000000000001"
#define VLM_2 "22222222-0000-4000-8000-000000000002"

static const struct plan_pool pools[] = {
        { "thick", provider_kind_FILE, "/p/thick" },
        { "thin", provider_kind_FILE_THIN, "/p/thin" },
        { "broken", provider_kind_FILE, NULL },
        { "spdk", provider_kind_SPDK, NULL },
        { "vg", provider_kind_LVM, "vg0" },
        { "none", provider_kind_DISKLESS, "" },
};

/* One volume of a wanted resource, and one device that is there. */
struct want {
        unsigned nr;
        const char *pool; /* NULL ends the list; "-" = no pool named */
        uint64_t size_kib;
        bool may_shrink;
        const char *vlm_uuid;
        bool fs, copied; /* a file system is asked for; it is made from a snapshot */
};
struct have {
        const char *uuid; /* NULL ends the list; "" = nobody's */
        unsigned nr;
        const char *pool, *id;
        uint64_t size_kib, device_kib; /* size 0: does not exist; device 0: not attached */
        char flags[4]; /* m made, u unknown, l lost, r raw, g extents of 4 MiB, f formatted, b busy */
        const char *vlm_uuid;
};
struct row {
        const char *name;
        const char *uuid; /* of the wanted resource, NULL = none */
        uint64_t flags;
        const char *layer; /* NULL = none given */
        struct want want[4];
        struct have have[6];
        const char *gone[3];
        const char *steps;    /* "kind:nr[:size] ..." */
        const char *troubles; /* codes in order, separated by blanks */
        bool orphan;
};

static const struct row rows[] = {
        { "nothing wanted, nothing there", .steps = "", .troubles = "" },
        { "new volume", UUID_A, .want = { { 0, "thick", 1000 } }, .have = { { "?", 0, "thick", "r_00000" } },
                .steps = "create:0:1000 attach:0", .troubles = "" },
        { "sizes are rounded up to 4 KiB", UUID_A, .want = { { 0, "thin", 1001 } },
                .have = { { "?", 0, "thin", "r_00000" } }, .steps = "create:0:1004 attach:0",
                .troubles = "" },
        { "two new volumes", UUID_A, .want = { { 0, "thick", 8 }, { 1, "thin", 8 } },
                .have = { { "?", 0, "thick", "r_00000" }, { "?", 1, "thin", "r_00001" } },
                .steps = "create:0:8 attach:0 create:1:8 attach:1", .troubles = "" },
        { "as large as whole extents are", UUID_A, .want = { { 0, "vg", 5000 } },
                .have = { { UUID_A, 0, "vg", "r_00000", 8192, 8192, "g" } }, .steps = "", .troubles = "" },
        { "grown to whole extents", UUID_A, .want = { { 0, "vg", 9000 } },
                .have = { { UUID_A, 0, "vg", "r_00000", 8192, 8192, "g" } },
                .steps = "grow:0:12288 refresh:0", .troubles = "" },
        { "not shrunk below whole extents", UUID_A, .want = { { 0, "vg", 5000, true } },
                .have = { { UUID_A, 0, "vg", "r_00000", 12288, 12288, "g" } },
                .steps = "detach:0 shrink:0:8192 attach:0", .troubles = "" },
        { "made half: the making goes on", UUID_A, .want = { { 0, "vg", 8192 } },
                .have = { { UUID_A, 0, "vg", "r_00000", 8192, 8192, "rg" } }, .steps = "create:0:8192",
                .troubles = "" },
        { "made half and deleted: taken away", .have = { { UUID_A, 0, "vg", "r_00000", 8192, 8192, "rg" } },
                .gone = { UUID_A }, .steps = "detach:0 remove:0", .troubles = "" },
        { "all is well", UUID_A, .want = { { 0, "thick", 8 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 8, 8, "m" } }, .steps = "", .troubles = "" },
        { "after a reboot", UUID_A, .want = { { 0, "thick", 8 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 8, 0, "m" } }, .steps = "attach:0",
                .troubles = "" },
        { "grow online", UUID_A, .want = { { 0, "thick", 16 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 8, 8, "m" } }, .steps = "grow:0:16 refresh:0",
                .troubles = "" },
        { "grow what is down", UUID_A, .want = { { 0, "thick", 16 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 8, 0, "m" } }, .steps = "grow:0:16 attach:0",
                .troubles = "" },
        { "interrupted between growing and refreshing", UUID_A, .want = { { 0, "thick", 16 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 16, 8, "m" } }, .steps = "refresh:0",
                .troubles = "" },
        { "larger than wanted is fine", UUID_A, .want = { { 0, "thick", 8 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 16, 16, "m" } }, .steps = "", .troubles = "" },
        { "shrink when asked", UUID_A, .want = { { 0, "thick", 8, true } },
                .have = { { UUID_A, 0, "thick", "r_00000", 16, 16, "m" } },
                .steps = "detach:0 shrink:0:8 attach:0", .troubles = "" },
        { "shrink what is down", UUID_A, .want = { { 0, "thick", 8, true } },
                .have = { { UUID_A, 0, "thick", "r_00000", 16, 0, "m" } }, .steps = "shrink:0:8 attach:0",
                .troubles = "" },
        { "shrink and deactivate", UUID_A, rsc_flag_INACTIVE, .want = { { 0, "thick", 8, true } },
                .have = { { UUID_A, 0, "thick", "r_00000", 16, 16, "m" } }, .steps = "detach:0 shrink:0:8",
                .troubles = "" },
        { "tombstone", NULL, .have = { { UUID_A, 0, "thick", "r_00000", 8, 8, "m" } }, .gone = { UUID_A },
                .steps = "detach:0 remove:0", .troubles = "" },
        { "tombstone, half done", NULL, .have = { { UUID_A, 0, "thick", "r_00000", 8, 0, "m" } },
                .gone = { UUID_A }, .steps = "remove:0", .troubles = "" },
        { "tombstone, done", NULL, .have = { { UUID_A, 0, "thick", "r_00000", 0, 0, "" } },
                .gone = { UUID_A }, .steps = "", .troubles = "" },
        { "tombstone of another uuid", NULL, .have = { { UUID_B, 0, "thick", "r_00000", 8, 8, "m" } },
                .gone = { UUID_A }, .steps = "", .troubles = "1010", .orphan = true },
        { "tombstone, place not usable", NULL, .have = { { UUID_A, 0, "thick", "r_00000", 0, 0, "mu" } },
                .gone = { UUID_A }, .steps = "", .troubles = "990" },
        { "tombstone of a lost image", NULL, .have = { { UUID_A, 0, "thick", "r_00000", 0, 8, "ml" } },
                .gone = { UUID_A }, .steps = "detach:0", .troubles = "" },
        { "same name again: old one first", UUID_B, .want = { { 0, "thick", 8 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 8, 8, "m" } }, .gone = { UUID_A },
                .steps = "detach:0 remove:0 create:0:8 attach:0", .troubles = "" },
        { "same name again, old one not deleted", UUID_B, .want = { { 0, "thick", 8 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 8, 8, "m" } }, .steps = "", .troubles = "504",
                .orphan = true },
        { "wanted and gone at once: kept", UUID_A, .want = { { 0, "thick", 8 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 8, 8, "m" } }, .gone = { UUID_A }, .steps = "",
                .troubles = "" },
        { "nobody mentions it: kept", NULL, .have = { { UUID_A, 0, "thick", "r_00000", 8, 8, "m" } },
                .steps = "", .troubles = "1010", .orphan = true },
        { "a stranger's file is in the way", UUID_A, .want = { { 0, "thick", 8 } },
                .have = { { "", 0, "thick", "r_00000", 8, 0 } }, .steps = "", .troubles = "504" },
        { "a stranger's file at a tombstone", NULL, .have = { { "", 0, "thick", "r_00000", 8, 8 } },
                .gone = { UUID_A }, .steps = "", .troubles = "" },
        { "volume added", UUID_A, .want = { { 0, "thick", 8 }, { 1, "thick", 8 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 8, 8, "m" }, { "?", 1, "thick", "r_00001" } },
                .steps = "create:1:8 attach:1", .troubles = "" },
        { "volume removed", UUID_A, .want = { { 0, "thick", 8 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 8, 8, "m" },
                        { UUID_A, 1, "thick", "r_00001", 8, 8, "m" } },
                .steps = "detach:1 remove:1", .troubles = "" },
        { "becomes diskless", UUID_A, rsc_flag_DISKLESS, .want = { { 0, "thick", 8 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 8, 8, "m" } }, .steps = "detach:0 remove:0",
                .troubles = "" },
        { "diskless", UUID_A, rsc_flag_DRBD_DISKLESS, .want = { { 0, "none", 8 } }, .steps = "",
                .troubles = "" },
        { "diskless without pool", UUID_A, .want = { { 0, "-", 8 } }, .steps = "", .troubles = "" },
        { "inactive: down, data kept", UUID_A, rsc_flag_INACTIVE, .want = { { 0, "thick", 8 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 8, 8, "m" } }, .steps = "detach:0",
                .troubles = "" },
        { "new and inactive", UUID_A, rsc_flag_INACTIVE, .want = { { 0, "thick", 8 } },
                .have = { { "?", 0, "thick", "r_00000" } }, .steps = "create:0:8", .troubles = "" },
        { "was there, is missing: not made again", UUID_A, .want = { { 0, "thick", 8 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 0, 0, "m" } }, .steps = "", .troubles = "990" },
        { "deleted under its device", UUID_A, .want = { { 0, "thick", 8 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 0, 8, "ml" } }, .steps = "", .troubles = "998" },
        { "place not usable", UUID_A, .want = { { 0, "thick", 8 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 0, 0, "mu" } }, .steps = "", .troubles = "990" },
        { "nobody looked", UUID_A, .want = { { 0, "thick", 8 } }, .steps = "", .troubles = "990" },
        { "moved to another pool", UUID_A, .want = { { 0, "thin", 8 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 8, 8, "m" }, { "?", 0, "thin", "r_00000" } },
                .steps = "", .troubles = "504" },
        { "moved, and down", UUID_A, .want = { { 0, "thin", 8 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 8, 0, "m" }, { "?", 0, "thin", "r_00000" } },
                .steps = "attach:0", .troubles = "504" },
        { "moved, the old one is missing", UUID_A, .want = { { 0, "thin", 8 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 0, 0, "m" }, { "?", 0, "thin", "r_00000" } },
                .steps = "", .troubles = "990" },
        { "the administrator moved the file", UUID_A, .want = { { 0, "thin", 8 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 0, 0, "m" },
                        { UUID_A, 0, "thin", "r_00000", 8, 8, "m" } },
                .steps = "", .troubles = "" },
        { "pool not known", UUID_A, .want = { { 0, "elsewhere", 8 } }, .steps = "", .troubles = "990" },
        { "pool not usable", UUID_A, .want = { { 0, "broken", 8 } }, .steps = "", .troubles = "990" },
        { "kind not supported", UUID_A, .want = { { 0, "spdk", 8 } }, .steps = "", .troubles = "989" },
        { "layer not supported", UUID_A, .layer = "MORE", .want = { { 0, "thick", 8 } },
                .have = { { "?", 0, "thick", "r_00000" } }, .steps = "", .troubles = "988" },
        { "size zero", UUID_A, .want = { { 0, "thick", 0 } }, .steps = "", .troubles = "206" },
        { "size beyond reason", UUID_A, .want = { { 0, "thick", UINT64_MAX } }, .steps = "",
                .troubles = "206" },
        { "volume number beyond reason", UUID_A, .want = { { 70000, "thick", 8 } }, .steps = "",
                .troubles = "205" },
        { "same volume", UUID_A, .want = { { 0, "thick", 8, false, VLM_1 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 8, 8, "m", VLM_1 } }, .steps = "",
                .troubles = "" },
        { "volume replaced: the old one goes first", UUID_A, .want = { { 0, "thick", 8, false, VLM_2 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 16, 16, "m", VLM_1 } },
                .steps = "detach:0 remove:0 create:0:8 attach:0", .troubles = "" },
        { "volume replaced, old one is down", UUID_A, .want = { { 0, "thick", 8, false, VLM_2 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 8, 0, "m", VLM_1 } },
                .steps = "remove:0 create:0:8 attach:0", .troubles = "" },
        { "volume replaced, old one is missing", UUID_A, .want = { { 0, "thick", 8, false, VLM_2 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 0, 0, "m", VLM_1 } },
                .steps = "create:0:8 attach:0", .troubles = "" },
        { "volume replaced, old one was lost under its device", UUID_A,
                .want = { { 0, "thick", 8, false, VLM_2 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 0, 8, "ml", VLM_1 } },
                .steps = "detach:0 create:0:8 attach:0", .troubles = "" },
        { "volume replaced in another pool", UUID_A, .want = { { 0, "thin", 8, false, VLM_2 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 8, 8, "m", VLM_1 },
                        { "?", 0, "thin", "r_00000" } },
                .steps = "detach:0 remove:0 create:0:8 attach:0", .troubles = "" },
        { "volume replaced, old place not usable", UUID_A, .want = { { 0, "thin", 8, false, VLM_2 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 0, 0, "mu", VLM_1 },
                        { "?", 0, "thin", "r_00000" } },
                .steps = "create:0:8 attach:0", .troubles = "990" },
        { "volume replaced, place not usable", UUID_A, .want = { { 0, "thick", 8, false, VLM_2 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 0, 0, "mu", VLM_1 } }, .steps = "",
                .troubles = "990 990" },
        { "volume replaced, inactive", UUID_A, rsc_flag_INACTIVE, .want = { { 0, "thick", 8, false, VLM_2 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 8, 0, "m", VLM_1 } },
                .steps = "remove:0 create:0:8", .troubles = "" },
        { "only that volume is replaced", UUID_A,
                .want = { { 0, "thick", 8, false, VLM_1 }, { 1, "thick", 8, false, UUID_B } },
                .have = { { UUID_A, 0, "thick", "r_00000", 8, 8, "m", VLM_1 },
                        { UUID_A, 1, "thick", "r_00001", 8, 8, "m", VLM_2 } },
                .steps = "detach:1 remove:1 create:1:8 attach:1", .troubles = "" },
        { "another resource's device is not replaced", UUID_B, .want = { { 0, "thick", 8, false, VLM_2 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 8, 8, "m", VLM_1 } }, .steps = "",
                .troubles = "504", .orphan = true },
        { "an older controller names no volumes", UUID_A, .want = { { 0, "thick", 8 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 8, 8, "m", VLM_1 } }, .steps = "",
                .troubles = "" },
        { "an empty uuid names no volume", UUID_A, .want = { { 0, "thick", 8, false, "" } },
                .have = { { UUID_A, 0, "thick", "r_00000", 8, 8, "m", VLM_1 } }, .steps = "",
                .troubles = "" },
        { "an empty uuid is not adopted", UUID_A, .want = { { 0, "thick", 8, false, "" } },
                .have = { { UUID_A, 0, "thick", "r_00000", 8, 8, "m" } }, .steps = "", .troubles = "" },
        { "made before volumes had uuids", UUID_A, .want = { { 0, "thick", 16, false, VLM_1 } },
                .have = { { UUID_A, 0, "thick", "r_00000", 8, 8, "m" } },
                .steps = "adopt:0 grow:0:16 refresh:0", .troubles = "" },
        { "a file system comes last", UUID_A,
                .want = { { 0, "thick", 8, false, NULL, true }, { 1, "thick", 8 } },
                .have = { { "?", 0, "thick", "r_00000" }, { "?", 1, "thick", "r_00001" } },
                .steps = "create:0:8 attach:0 create:1:8 attach:1 format:0", .troubles = "" },
        { "a file system once", UUID_A, .want = { { 0, "thick", 16, false, NULL, true } },
                .have = { { UUID_A, 0, "thick", "r_00000", 8, 8, "mf" } }, .steps = "grow:0:16 refresh:0",
                .troubles = "" },
        { "no file system on what is in use", UUID_A, .want = { { 0, "thick", 8, false, NULL, true } },
                .have = { { UUID_A, 0, "thick", "r_00000", 8, 8, "mb" } }, .steps = "", .troubles = "" },
        { "no file system on a copy", UUID_A, .want = { { 0, "thick", 8, false, NULL, true, true } },
                .have = { { UUID_A, 0, "thick", "r_00000", 8, 8, "m" } }, .steps = "", .troubles = "" },
        { "no file system on what is down", UUID_A, rsc_flag_INACTIVE,
                .want = { { 0, "thick", 8, false, NULL, true } }, .have = { { "?", 0, "thick", "r_00000" } },
                .steps = "create:0:8", .troubles = "" },
        { "one bad volume does not hold up the other", UUID_A,
                .want = { { 0, "broken", 8 }, { 1, "thick", 8 } }, .have = { { "?", 1, "thick", "r_00001" } },
                .steps = "create:1:8 attach:1", .troubles = "990" },
};

static const char *file_system_kv[] = { "FileSystem/Type", "ext4" };
#define file_system ((struct strmap){ .n = 1, .kv = file_system_kv })

static struct sat_rsc *make_want(struct arena *a, const struct row *r)
{
        if (r->uuid == NULL) return NULL;
        struct sat_rsc *want = arena_new(a, struct sat_rsc);
        struct sat_vlm *v = arena_array(a, struct sat_vlm, ARRAY_LEN(r->want));
        uint32_t n = 0;
        for (; n < ARRAY_LEN(r->want) && r->want[n].pool != NULL; n++) {
                SET(&v[n], sat_vlm, volume_number, r->want[n].nr);
                SET(&v[n], sat_vlm, size_kib, r->want[n].size_kib);
                if (strcmp(r->want[n].pool, "-") != 0)
                        SET(&v[n], sat_vlm, storage_pool_name, r->want[n].pool);
                if (strcmp(r->want[n].pool, "none") == 0)
                        SET(&v[n], sat_vlm, provider_kind, provider_kind_DISKLESS);
                if (r->want[n].vlm_uuid != NULL) SET(&v[n], sat_vlm, uuid, r->want[n].vlm_uuid);
                if (r->want[n].may_shrink) SET(&v[n], sat_vlm, may_shrink, true);
                if (r->want[n].fs) SET(&v[n], sat_vlm, props, file_system);
                if (r->want[n].copied) SET(&v[n], sat_vlm, source_id, "r_00000_snap");
        }
        SET(want, sat_rsc, rsc_name, "r");
        SET(want, sat_rsc, uuid, r->uuid);
        SET(want, sat_rsc, flags, r->flags);
        SET_N(want, sat_rsc, volumes, v, n);
        const char **stack = arena_alloc(a, 2 * sizeof *stack);
        stack[0] = r->layer;
        stack[r->layer != NULL] = "STORAGE";
        SET_N(want, sat_rsc, layer_stack, stack, r->layer != NULL ? 2 : 1);
        return want;
}

static uint32_t make_devs(struct arena *a, const struct row *r, struct dev *out)
{
        uint32_t n = 0;
        for (; n < ARRAY_LEN(r->have) && r->have[n].uuid != NULL; n++) {
                const struct have *h = &r->have[n];
                const struct plan_pool *p = plan_pool_find(pools, ARRAY_LEN(pools), h->pool);
                bool nobody = h->uuid[0] == '\0' || h->uuid[0] == '?';
                out[n] = (struct dev){
                        .rsc_name = "r",
                        .uuid = nobody ? NULL : h->uuid,
                        .vlm_uuid = h->vlm_uuid,
                        .volume_number = h->nr,
                        .pool = h->pool,
                        .kind = p->kind,
                        .place = p->place,
                        .backing_id = h->id,
                        .exists = h->size_kib > 0,
                        .attached = h->device_kib > 0,
                        .size_kib = h->size_kib,
                        .device_kib = h->device_kib,
                        .formatted = strchr(h->flags, 'f') != NULL,
                        .in_use = strchr(h->flags, 'b') != NULL,
                        .device_path = "/dev/loop7",
                        .backing_path = arena_printf(a, "%s/%s.img", p->place, h->id),
                        .made = strchr(h->flags, 'm') != NULL,
                        .unknown = strchr(h->flags, 'u') != NULL,
                        .lost = strchr(h->flags, 'l') != NULL,
                        .raw = strchr(h->flags, 'r') != NULL,
                        .granule_kib = strchr(h->flags, 'g') != NULL ? 4096 : 0,
                };
        }
        return n;
}

static void check_row(const struct row *r)
{
        struct arena a = { 0 };
        struct dev devs[8];
        struct sat_gone gone[3] = { 0 };
        struct plan_input in = { .rsc_name = "r",
                .want = make_want(&a, r),
                .devs = devs,
                .gone = gone,
                .pools = pools,
                .pools_n = ARRAY_LEN(pools) };
        in.devs_n = make_devs(&a, r, devs);
        for (; in.gone_n < 3 && r->gone[in.gone_n] != NULL; in.gone_n++) {
                SET(&gone[in.gone_n], sat_gone, rsc_name, "r");
                SET(&gone[in.gone_n], sat_gone, uuid, r->gone[in.gone_n]);
        }
        struct plan p;
        assert_int_equal(plan_resource(&in, &a, &p), 0);
        struct buf steps = { 0 }, troubles = { 0 };
        for (uint32_t i = 0; i < p.steps_n; i++) {
                const struct step *s = &p.steps[i];
                buf_printf(&steps, "%s%s:%u", i > 0 ? " " : "", step_name(s->kind), (unsigned)s->group);
                if (s->size_kib > 0) buf_printf(&steps, ":%u", (unsigned)s->size_kib);
        }
        for (uint32_t i = 0; i < p.troubles_n; i++) {
                buf_printf(&troubles, "%s%u", i > 0 ? " " : "", p.troubles[i].code);
                if (p.troubles[i].message[0] == '\0' || p.troubles[i].err == 0)
                        fail_msg("%s: a trouble says nothing", r->name);
        }
        if (strcmp(buf_cstr(&steps), r->steps) != 0)
                fail_msg("%s: steps \"%s\", not \"%s\"", r->name, buf_cstr(&steps), r->steps);
        if (strcmp(buf_cstr(&troubles), r->troubles) != 0)
                fail_msg("%s: troubles \"%s\", not \"%s\"", r->name, buf_cstr(&troubles), r->troubles);
        if (p.orphan != r->orphan) fail_msg("%s: orphan is %d", r->name, p.orphan);
        buf_done(&steps);
        buf_done(&troubles);
        arena_done(&a);
}

static void test_rows(void **state)
{
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) check_row(&rows[i]);
}

static void test_gone(void **state)
{
        struct sat_gone g = { .uuid = UUID_A };
        struct dev d = { .uuid = UUID_A };
        assert_true(plan_is_gone(&g, NULL, 0, NULL, 0));
        assert_true(plan_is_gone(&g, &d, 1, NULL, 0));
        d.exists = true;
        assert_false(plan_is_gone(&g, &d, 1, NULL, 0));
        d = (struct dev){ .uuid = UUID_A, .attached = true };
        assert_false(plan_is_gone(&g, &d, 1, NULL, 0));
        d = (struct dev){ .uuid = UUID_A, .unknown = true };
        assert_false(plan_is_gone(&g, &d, 1, NULL, 0));
        d = (struct dev){ .uuid = UUID_B, .exists = true };
        assert_true(plan_is_gone(&g, &d, 1, NULL, 0));
}

static void test_names(void **state)
{
        char id[BACKING_ID_SIZE];
        struct sat_vlm v = { .volume_number = 7 };
        assert_int_equal(backing_id_of("data", &v, id), 0);
        assert_string_equal(id, "data_00007");
        SET(&v, sat_vlm, backing_id, "other");
        assert_int_equal(backing_id_of("data", &v, id), 0);
        assert_string_equal(id, "other");
        static const char *const bad[] = { "", "../x", "a/b", ".hidden", "-x", "a\nb", "a\x7f" };
        for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_false(backing_id_valid(bad[i]));
        char longest[BACKING_ID_MAX + 2];
        memset(longest, 'x', sizeof longest);
        longest[BACKING_ID_MAX + 1] = '\0';
        assert_false(backing_id_valid(longest));
        longest[BACKING_ID_MAX] = '\0';
        assert_true(backing_id_valid(longest));
}

/* ---- random histories on a model ---- */

#define MODEL_DEVS 12
struct model {
        struct dev devs[MODEL_DEVS]; /* every place of every uuid's volumes; exists tells */
};
static const char *const uuids[] = { "u-0", "u-1", "u-2" };
static const char *const vlm_uuids[] = { "v-0", "v-1", NULL };
static const char *const ids[] = { "r_00000", "r_00001", "r_00002", "r_00003", "r_00004", "r_00005" };

/* 2 pools x 6 volume numbers */
static void model_init(struct model *m)
{
        *m = (struct model){ 0 };
        for (unsigned i = 0; i < MODEL_DEVS; i++)
                m->devs[i] = (struct dev){ .rsc_name = "r",
                        .volume_number = i % 6,
                        .kind = pools[i / 6].kind,
                        .pool = pools[i / 6].name,
                        .place = pools[i / 6].place,
                        .backing_id = ids[i % 6],
                        .backing_path = "f",
                        .device_path = "d" };
}

static void apply(struct model *m, const struct step *s)
{
        for (unsigned i = 0; i < MODEL_DEVS; i++) {
                struct dev *d = &m->devs[i];
                if (!dev_same_place(d, s->dev.kind, s->dev.place, s->dev.backing_id)) continue;
                switch (s->kind) {
                case STEP_ADOPT:
                        assert_true(d->exists && d->vlm_uuid == NULL && s->dev.vlm_uuid != NULL);
                        d->vlm_uuid = s->dev.vlm_uuid;
                        return;
                case STEP_CREATE:
                        assert_false(d->exists);
                        d->exists = d->made = true;
                        d->formatted = false;
                        d->size_kib = s->size_kib;
                        d->uuid = s->dev.uuid;
                        d->vlm_uuid = s->dev.vlm_uuid;
                        return;
                case STEP_ATTACH:
                        assert_true(d->exists && !d->attached);
                        d->attached = true;
                        d->device_kib = d->size_kib;
                        return;
                case STEP_GROW:
                        assert_true(d->exists && d->size_kib < s->size_kib);
                        d->size_kib = s->size_kib;
                        return;
                case STEP_SHRINK:
                        assert_true(d->exists && !d->attached && d->size_kib > s->size_kib);
                        d->size_kib = s->size_kib;
                        return;
                case STEP_REFRESH:
                        assert_true(d->attached);
                        d->device_kib = d->size_kib;
                        return;
                case STEP_DETACH:
                        assert_true(d->attached);
                        d->attached = false;
                        d->device_kib = 0;
                        return;
                case STEP_REMOVE:
                        assert_true(d->exists && !d->attached);
                        d->exists = d->made = false;
                        d->uuid = d->vlm_uuid = NULL;
                        d->size_kib = 0;
                        return;
                case STEP_FORMAT:
                        assert_true(d->attached && !d->formatted);
                        d->formatted = true;
                        return;
                case STEP_MAKE:
                case STEP_OPEN:
                case STEP_STRETCH:
                case STEP_CLOSE:
                case STEP_ERASE:
                case STEP_SETTLE:
                case STEP_DISSOLVE: /* tests/unit/test_sat_layers.c */
                case STEP_HOLD:
                case STEP_LET_GO:
                case STEP_FILL:
                case STEP_SNAPSHOT:
                case STEP_RESTORE:
                case STEP_REPLACE:
                case STEP_KEEP: /* tests/unit/test_plan_snap.c */
                case STEP_N: break;
                }
        }
        fail_msg("a step for a device that is nowhere");
}

static void random_want(struct test_rng *rng, struct sat_rsc *want, struct sat_vlm *v)
{
        uint32_t n = 0;
        *want = (struct sat_rsc){ 0 };
        for (unsigned nr = 0; nr < 6; nr++) {
                if (test_rng_below(rng, 2) == 0) continue;
                v[n] = (struct sat_vlm){ 0 };
                SET(&v[n], sat_vlm, volume_number, nr);
                SET(&v[n], sat_vlm, size_kib, 4 * (1 + test_rng_below(rng, 8)));
                SET(&v[n], sat_vlm, storage_pool_name, pools[test_rng_below(rng, 8) == 0].name);
                v[n].uuid = vlm_uuids[test_rng_below(rng, 3)];
                if (v[n].uuid != NULL) MARK(&v[n], sat_vlm, uuid);
                SET(&v[n], sat_vlm, may_shrink, test_rng_below(rng, 2) == 0);
                if (test_rng_below(rng, 3) == 0) SET(&v[n], sat_vlm, props, file_system);
                n++;
        }
        SET(want, sat_rsc, rsc_name, "r");
        SET(want, sat_rsc, uuid, uuids[test_rng_below(rng, 3)]);
        SET(want, sat_rsc, flags, test_rng_below(rng, 6) == 0 ? (uint64_t)rsc_flag_INACTIVE : 0);
        SET_N(want, sat_rsc, volumes, v, n);
}

static bool is_gone(const struct plan_input *in, const char *uuid)
{
        for (uint32_t i = 0; i < in->gone_n; i++)
                if (strcmp(in->gone[i].uuid, uuid) == 0) return true;
        return false;
}

/* No step may remove what is neither dead nor dropped from or replaced in the resource that is wanted. */
static void check_removal(const struct plan_input *in, const struct step *s)
{
        if (s->kind != STEP_REMOVE) return;
        bool wanted = in->want != NULL && strcmp(in->want->uuid, s->dev.uuid) == 0;
        if (!wanted) {
                assert_true(is_gone(in, s->dev.uuid));
                return;
        }
        for (uint32_t i = 0; i < in->want->volumes_n; i++) {
                const struct sat_vlm *v = &in->want->volumes[i];
                if (v->volume_number != s->dev.volume_number) continue;
                assert_non_null(v->uuid);
                assert_non_null(s->dev.vlm_uuid);
                assert_string_not_equal(v->uuid, s->dev.vlm_uuid);
        }
}

/* Carries out the plan with interruptions until none is left. Returns the last plan's troubles. */
static uint32_t converge(struct test_rng *rng, struct model *m, struct plan_input *in, uint64_t seed)
{
        for (unsigned round = 0; round < 40; round++) {
                struct arena a = { 0 };
                struct plan p;
                assert_int_equal(plan_resource(in, &a, &p), 0);
                uint32_t todo = p.steps_n, troubles = p.troubles_n;
                if (round < 20)
                        todo = (uint32_t)test_rng_below(rng, p.steps_n + 1); /* killed after so many */
                for (uint32_t i = 0; i < p.steps_n; i++) check_removal(in, &p.steps[i]);
                for (uint32_t i = 0; i < todo; i++) apply(m, &p.steps[i]);
                arena_done(&a);
                if (p.steps_n == 0) return troubles;
        }
        fail_msg("seed %llu does not converge", (unsigned long long)seed);
        return 0;
}

static void check_outcome(const struct model *m, const struct plan_input *in, uint32_t troubles)
{
        for (uint32_t i = 0; i < in->gone_n; i++)
                if (in->want == NULL || strcmp(in->want->uuid, in->gone[i].uuid) != 0)
                        assert_true(plan_is_gone(&in->gone[i], m->devs, MODEL_DEVS, NULL, 0));
        if (in->want == NULL || troubles > 0) return;
        bool active = (in->want->flags & rsc_flag_INACTIVE) == 0;
        for (uint32_t i = 0; i < in->want->volumes_n; i++) {
                const struct sat_vlm *v = &in->want->volumes[i];
                const struct dev *d = NULL;
                for (unsigned k = 0; k < MODEL_DEVS; k++)
                        if (strcmp(m->devs[k].pool, v->storage_pool_name) == 0 &&
                                m->devs[k].volume_number == v->volume_number)
                                d = &m->devs[k];
                assert_non_null(d);
                assert_true(d->exists);
                assert_string_equal(d->uuid, in->want->uuid);
                if (v->uuid != NULL) assert_string_equal(d->vlm_uuid, v->uuid);
                assert_true(d->size_kib >= v->size_kib && (!v->may_shrink || d->size_kib == v->size_kib));
                assert_int_equal(d->attached, active);
                if (active) assert_int_equal(d->device_kib, d->size_kib);
        }
}

static void test_random(void **state)
{
        uint64_t clean = 0;
        for (uint64_t seed = 1; seed <= 3000; seed++) {
                struct test_rng rng = { seed };
                struct model m;
                model_init(&m);
                for (unsigned change = 0; change < 12; change++) {
                        struct sat_rsc want;
                        struct sat_vlm v[6];
                        struct sat_gone gone[3] = { 0 };
                        struct plan_input in = { .rsc_name = "r",
                                .devs = m.devs,
                                .devs_n = MODEL_DEVS,
                                .gone = gone,
                                .pools = pools,
                                .pools_n = ARRAY_LEN(pools) };
                        random_want(&rng, &want, v);
                        if (test_rng_below(&rng, 5) != 0) in.want = &want;
                        for (unsigned i = 0; i < 3; i++) {
                                if (test_rng_below(&rng, 3) != 0) continue;
                                SET(&gone[in.gone_n], sat_gone, uuid, uuids[i]);
                                in.gone_n++;
                        }
                        uint32_t troubles = converge(&rng, &m, &in, seed);
                        check_outcome(&m, &in, troubles);
                        clean += in.want != NULL && troubles == 0;
                }
        }
        assert_true(
                clean > 5000); /* enough histories ended without any trouble to have been checked in full */
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows), cmocka_unit_test(test_gone),
                cmocka_unit_test(test_names), cmocka_unit_test(test_random) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
