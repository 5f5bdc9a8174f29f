/* The DRBD layer against programs that play drbdadm and drbdsetup (drbd_bed.h); its metadata: test_drbd_md.c. What the real ones do is
 * seen in guests (tests/vm). */
#include "tests/lib/test.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "satellite/drbd/drbd_alone.h"
#include "satellite/drbd/drbd_node.h"
#include "satellite/drbd/drbd_take.h"
#include "satellite/drbd/layer_drbd.h"
#include "satellite/layer/hold.h"
#include "satellite/layer/layer.h"
#include "tests/unit/drbd_bed.h"
#include "wire/codec/codec.h"

/* ---- settling ---- */

static void test_settle(void **st)
{
        struct bed b;
        struct trouble t = { 0 };
        bed_set_up(DRBD_GEN_84);
        bed_init(&b, "settle");
        assert_false(bed_settled(&b));
        bed_state("after", "settle", "Secondary", "Connected", "Secondary", "Established");
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_string_equal(bed_asked(), "drbdadm adjust settle\n");
        assert_true(bed_settled(&b));
        assert_non_null(strstr(bed_get("drbd/settle.conf"), "# uuid " BED_UUID));
        assert_non_null(strstr(bed_get("drbd/res/settle.res"), "10.0.0.2:7000"));
        /* another option, another volume number, a device that went: once more */
        SET(&b.path, sat_drbd_path, peer_port, 7001);
        assert_false(bed_settled(&b));
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_true(bed_settled(&b));
        b.seat.below_path = NULL;
        assert_false(bed_settled(&b));
        b.seat.below_path = "/dev/vg/r_00000";
        bed_put("now", "exists -\n", 0644);
        assert_false(bed_settled(&b));
        (void)bed_asked();
        /* what drbdadm refuses is told with its words; it is not settled */
        SET(&b.path, sat_drbd_path, peer_port, 7002);
        bed_put("fail", "adjust", 0644);
        assert_int_not_equal(layer_drbd.settle(&b.r, &t), 0);
        assert_non_null(strstr(t.cause, "no adjust today"));
        assert_string_equal(
                bed_asked(), "drbdadm adjust settle\ndrbdadm adjust settle\ndrbdadm adjust settle\n");
        assert_false(bed_settled(&b));
        bed_tear_down();
}

/* 8.4's drbdadm wants a peer, and fails after it has brought up everything else (seen in a guest). */
static void test_alone_84(void **st)
{
        struct bed b;
        struct trouble t = { 0 };
        bed_set_up(DRBD_GEN_84);
        bed_init(&b, "alone");
        SET_N(&b.drbd, sat_drbd, peers, NULL, 0);
        bed_put("fail", "adjust", 0644);
        assert_int_equal(layer_drbd.settle(&b.r, &t), E_PROGRAM);
        assert_false(bed_settled(&b));
        bed_state("now", "alone", "Secondary", NULL, NULL, NULL);
        (void)bed_asked();
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_string_equal(bed_asked(), "drbdadm adjust alone\n");
        assert_true(bed_settled(&b));
        bed_tear_down();
}

/* ---- disks that are skipped ---- */

static bool has_disk(const struct bed *b)
{
        struct arena a = { 0 };
        struct layer_whole w = { 0 };
        struct trouble t = { 0 };
        assert_ok(layer_drbd.look(&b->r, &a, &w, &t));
        bool has = w.tops_n == 1 && w.tops[0].has_disk;
        arena_done(&a);
        return has;
}

static void test_skip(void **st)
{
        struct bed b;
        struct trouble t = { 0 };
        bed_set_up(DRBD_GEN_9);
        bed_init(&b, "skip");
        bed_disk("after", "skip", "UpToDate");
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_true(bed_settled(&b) && has_disk(&b));
        bed_disk("now", "skip", "Diskless");
        assert_true(bed_settled(&b)); /* by itself it is not attached again */
        assert_false(has_disk(&b));
        (void)bed_asked();
        /* what is below is gone: the network is brought in line all the same, and no disk is taken away */
        SET(&b.drbd, sat_drbd, skip_disk, true);
        b.seat.below_path = NULL;
        b.seat.below_kib = 0;
        assert_false(bed_settled(&b));
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_string_equal(bed_asked(), "drbdadm adjust --skip-disk skip\n");
        assert_null(strstr(bed_get("drbd/res/skip.res"), "disk none"));
        assert_true(bed_settled(&b));
        /* nothing is known of it at all */
        b.seat.dev = NULL;
        bed_disk("now", "skip", "UpToDate");
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_string_equal(bed_asked(), "drbdadm adjust --skip-disk skip\n");
        assert_null(strstr(bed_get("drbd/res/skip.res"), "disk none"));
        /* and back */
        b.seat.dev = &b.dev;
        b.seat.below_path = "/dev/vg/r_00000";
        UNSET(&b.drbd, sat_drbd, skip_disk);
        b.drbd.skip_disk = false;
        bed_disk("now", "skip", "Diskless");
        assert_false(bed_settled(&b));
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_string_equal(bed_asked(), "drbdadm adjust skip\n");
        bed_tear_down();
        /* 8.4: what runs stays as it is; what does not run needs its disk */
        bed_set_up(DRBD_GEN_84);
        SET(&b.drbd, sat_drbd, skip_disk, true);
        bed_disk("now", "skip", "Diskless");
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_string_equal(bed_asked(), "");
        assert_true(bed_settled(&b));
        bed_put("now", "exists -\n", 0644);
        assert_int_equal(layer_drbd.settle(&b.r, &t), E_UNSUPPORTED);
        assert_non_null(strstr(t.cause, "SkipDisk"));
        bed_tear_down();
}

/* Resources that options name are known to drbdadm as soon as their files are there; it is adjusted anew then. */
static void test_resync_after(void **st)
{
        static const char *kv[] = { "DrbdOptions/Disk/resync-after", "first/0" },
                          *on[] = { "DrbdOptions/Disk/resync-after", "third/0" },
                          *back[] = { "DrbdOptions/Disk/resync-after", "second/0" };
        struct bed b, first, third;
        struct trouble t = { 0 };
        bed_set_up(DRBD_GEN_9);
        bed_init(&b, "second");
        SET(&b.vlm, sat_vlm, drbd_options, ((struct strmap){ .kv = kv, .n = 1 }));
        bed_disk("after", "second", "UpToDate");
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_null(strstr(bed_get("drbd/second.conf"), "first.res"));
        assert_true(bed_settled(&b));
        bed_init(&first, "first");
        assert_ok(layer_drbd.settle(&first.r, &t));
        assert_false(bed_settled(&b));
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_true(bed_settled(&b));
        assert_non_null(strstr(bed_get("drbd/second.conf"), "/first.res\";\n"));
        assert_non_null(strstr(bed_get("drbd/second.conf"), "/second.res\";\n"));
        /* the first one follows a third, and that the second */
        bed_init(&third, "third");
        SET(&third.vlm, sat_vlm, drbd_options, ((struct strmap){ .kv = back, .n = 1 }));
        assert_ok(layer_drbd.settle(&third.r, &t));
        SET(&first.vlm, sat_vlm, drbd_options, ((struct strmap){ .kv = on, .n = 1 }));
        assert_ok(layer_drbd.settle(&first.r, &t));
        assert_false(bed_settled(&b));
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_non_null(strstr(bed_get("drbd/second.conf"), "/third.res\";\n"));
        unsigned includes = 0;
        for (const char *p = bed_get("drbd/second.conf"); (p = strstr(p, "include \"")) != NULL; p++)
                includes++;
        assert_int_equal(includes, 3);
        assert_ok(layer_drbd.dissolve(&first.r, &t));
        assert_false(bed_settled(&b));
        kv[1] = "second/1"; /* itself */
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_null(strstr(bed_get("drbd/second.conf"), "first.res"));
        assert_int_equal(strstr(bed_get("drbd/second.conf"), "second.res") - bed_get("drbd/second.conf"),
                strrchr(bed_get("drbd/second.conf"), '/') + 1 - bed_get("drbd/second.conf"));
        bed_tear_down();
}

static void test_dissolve(void **st)
{
        struct bed b;
        struct trouble t = { 0 };
        bed_set_up(DRBD_GEN_84);
        bed_init(&b, "gone");
        bed_state("after", "gone", "Primary", "Connected", "Secondary", "Established");
        assert_ok(layer_drbd.settle(&b.r, &t));
        (void)bed_asked();
        bed_put("fail", "down", 0644);
        assert_int_equal(layer_drbd.dissolve(&b.r, &t), E_BUSY);
        assert_non_null(strstr(t.cause, "Primary"));
        assert_true(bed_has("drbd/gone.conf") && bed_has("drbd/res/gone.res"));
        bed_state("now", "gone", "Secondary", "Connected", "Secondary", "Established");
        assert_int_equal(layer_drbd.dissolve(&b.r, &t), E_PROGRAM);
        bed_put("fail", "", 0644);
        assert_ok(layer_drbd.dissolve(&b.r, &t));
        assert_false(bed_has("drbd/gone.conf") || bed_has("drbd/res/gone.res"));
        bed_put("now", "exists -\n", 0644);
        (void)bed_asked();
        assert_ok(layer_drbd.dissolve(&b.r, &t)); /* nothing is left to do */
        assert_string_equal(bed_asked(), "");
        bed_tear_down();
}

/* ---- connections that were given up ---- */

static void ask_to_resolve(struct bed *b, uint64_t id, bool discard)
{
        SET(&b->drbd, sat_drbd, resolve, id);
        if (discard) SET(&b->drbd, sat_drbd, discard_for, 1);
        else UNSET(&b->drbd, sat_drbd, discard_for);
}

static void test_resolve(void **st)
{
        static const struct {
                enum drbd_gen gen;
                bool discard;
                const char *role, *connection, *asked;
                int err;
        } cases[] = {
                { DRBD_GEN_84, true, "Secondary", "StandAlone", "drbdadm connect --discard-my-data rslv\n",
                        0 },
                { DRBD_GEN_84, true, "Secondary", "Connecting",
                        "drbdadm disconnect rslv\ndrbdadm connect --discard-my-data rslv\n", 0 },
                { DRBD_GEN_84, true, "Secondary", "Connected", "", 0 },
                { DRBD_GEN_84, true, "Primary", "StandAlone", "", E_BUSY },
                { DRBD_GEN_84, false, "Primary", "StandAlone", "drbdadm connect rslv\n", 0 },
                { DRBD_GEN_84, true, "Secondary", NULL, "drbdadm connect --discard-my-data rslv\n", 0 },
                { DRBD_GEN_9, true, "Secondary", "StandAlone", "drbdadm connect --discard-my-data rslv:n2\n",
                        0 },
                { DRBD_GEN_9, false, "Secondary", "StandAlone", "drbdadm connect rslv:n2\n", 0 },
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct bed b;
                struct trouble t = { 0 };
                char expected[256];
                bed_set_up(cases[i].gen);
                bed_init(&b, "rslv");
                assert_ok(layer_drbd.settle(&b.r, &t));
                (void)bed_asked();
                bed_state("now", "rslv", cases[i].role, cases[i].connection, "Unknown", "Off");
                assert_true(bed_settled(&b));
                ask_to_resolve(&b, 10 + i, cases[i].discard);
                assert_false(bed_settled(&b));
                /* 8.4's adjust would connect without giving anything up: it comes last, and not after an error */
                bool last = cases[i].gen == DRBD_GEN_84 && cases[i].discard;
                snprintf(expected, sizeof expected, "%s%s%s", last ? "" : "drbdadm adjust rslv\n",
                        cases[i].asked, last && cases[i].err == 0 ? "drbdadm adjust rslv\n" : "");
                if (strstr(cases[i].asked, "connect") != NULL) bed_put("later", "", 0644);
                bed_put("fail", "", 0644);
                /* `after` would be taken by adjust: it connects by the second look */
                bed_state("joined", "rslv", cases[i].role, "Connected", "Secondary", "Established");
                char cmd[300];
                snprintf(cmd, sizeof cmd, "(sleep 0.7; mv %s/joined %s/now) &", bed_dir, bed_dir);
                assert_int_equal(system(cmd), 0);
                assert_int_equal(layer_drbd.settle(&b.r, &t), cases[i].err);
                assert_string_equal(bed_asked(), expected);
                if (cases[i].err == E_BUSY) assert_non_null(strstr(t.message, "in use"));
                assert_true(bed_settled(&b)); /* once for each request, whatever came of it */
                while (bed_has("joined")) usleep(10000);
                bed_tear_down();
        }
}

/* DRBD was just giving the connection up: the program that ends it fails, the next look finds it alone. */
static void test_resolve_late(void **st)
{
        struct bed b;
        struct trouble t = { 0 };
        char cmd[300];
        bed_set_up(DRBD_GEN_84);
        bed_init(&b, "late");
        assert_ok(layer_drbd.settle(&b.r, &t));
        (void)bed_asked();
        bed_state("now", "late", "Secondary", "Connecting", "Unknown", "Off");
        bed_state("alone", "late", "Secondary", "StandAlone", "Unknown", "Off");
        bed_state("joined", "late", "Secondary", "Connected", "Secondary", "Established");
        bed_put("fail", "disconnect", 0644);
        ask_to_resolve(&b, 7, true);
        snprintf(cmd, sizeof cmd, "(cd %s; sleep 0.5; mv alone now; sleep 1; mv joined now) &", bed_dir);
        assert_int_equal(system(cmd), 0);
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_string_equal(bed_asked(),
                "drbdadm disconnect late\ndrbdadm connect --discard-my-data late\ndrbdadm adjust late\n");
        while (bed_has("joined")) usleep(10000);
        bed_tear_down();
}

/* Asked to connect what DRBD gave up: that and nothing else, once for each time, and only while it stands alone. */
static void test_connect_again(void **st)
{
        static const struct {
                const char *connection, *asked, *fail;
        } cases[] = {
                { "StandAlone", "drbdadm connect again:n2\n", "" },
                { "StandAlone", "drbdadm connect again:n2\n", "connect" }, /* DRBD tells what came of it */
                { "Connecting", "", "" },
                { "Connected", "", "" },
        };
        struct bed b;
        struct trouble t = { 0 };
        bed_set_up(DRBD_GEN_9);
        bed_init(&b, "again");
        bed_state("now", "again", "Secondary", "Connected", "Secondary", "Established");
        assert_ok(layer_drbd.settle(&b.r, &t));
        (void)bed_asked();
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                bed_state("now", "again", "Secondary", cases[i].connection, "Unknown", "Off");
                bed_put("fail", cases[i].fail, 0644);
                assert_true(bed_settled(&b)); /* by itself it stays as it is */
                drbd_alone_ask("again", 1);
                drbd_alone_ask("other", 1);
                drbd_alone_ask("again", 5); /* nobody's any more */
                assert_false(bed_settled(&b));
                assert_ok(layer_drbd.settle(&b.r, &t));
                assert_string_equal(bed_asked(), cases[i].asked);
                assert_true(bed_settled(&b));
                assert_true(drbd_alone_asked("other", 1));
        }
        /* who leaves is not connected any more; where there is more to do adjust does it all */
        bed_put("fail", "", 0644);
        bed_state("now", "again", "Secondary", "StandAlone", "Unknown", "Off");
        drbd_alone_ask("again", 1);
        SET(&b.path, sat_drbd_path, peer_port, 7001);
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_string_equal(bed_asked(), "drbdadm adjust again\n");
        assert_true(bed_settled(&b));
        SET(&b.peer, sat_drbd_peer, leaving, true);
        assert_ok(layer_drbd.settle(&b.r, &t));
        (void)bed_asked();
        drbd_alone_ask("again", 1);
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_string_equal(bed_asked(), "");
        assert_true(bed_settled(&b));
        /* nothing is left for one of that name that comes later */
        drbd_alone_ask("again", 1);
        assert_ok(layer_drbd.dissolve(&b.r, &t));
        assert_false(drbd_alone_asked("again", 1));
        bed_tear_down();
}

/* ---- growing ---- */

static void test_grow(void **st)
{
        static const struct {
                enum drbd_gen gen;
                const char *role, *connection, *replication, *asked;
                int err;
        } cases[] = {
                { DRBD_GEN_84, "Secondary", "Connected", "Established",
                        "drbdadm primary grow\ndrbdadm resize grow/0\ndrbdadm secondary grow\n", 0 },
                { DRBD_GEN_84, "Primary", "Connected", "Established", "drbdadm resize grow/0\n", 0 },
                { DRBD_GEN_84, "Primary", "Connected", "SyncSource", "", E_BUSY },
                { DRBD_GEN_84, "Primary", "Connecting", "Off", "", 0 },
                { DRBD_GEN_84, "Primary", "StandAlone", "Off", "", 0 }, /* given up: later, with the peer */
                { DRBD_GEN_9, "Secondary", "Connected", "Established", "drbdadm resize grow/0\n", 0 },
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct bed b;
                struct trouble t = { 0 };
                bed_set_up(cases[i].gen);
                bed_init(&b, "grow");
                assert_ok(drbd_node_prepare(&t));
                bed_state(
                        "now", "grow", cases[i].role, cases[i].connection, "Secondary", cases[i].replication);
                struct layer_vol v = bed_volume(&b, "/dev/vg/r_00000");
                assert_int_equal(layer_drbd.grow(&v, &t), cases[i].err);
                assert_string_equal(bed_asked(), cases[i].asked);
                bed_tear_down();
        }
}

/* A volume of DRBD 8.4 with a size, what differs from its peer, and the peer's part in it. */
static void bed_grown_in(
        const char *file, unsigned kib, unsigned differs_kib, const char *peer_role, const char *replication)
{
        char text[1024];
        snprintf(text, sizeof text,
                "exists resource name:owes role:Secondary suspended:no\n"
                "exists connection name:owes peer-node-id:1 connection:Connected role:%s\n"
                "exists device name:owes volume:0 minor:1000 disk:UpToDate size:%u\n"
                "exists peer-device name:owes peer-node-id:1 volume:0 replication:%s peer-disk:UpToDate "
                "resync-suspended:no out-of-sync:%u\nexists -\n",
                peer_role, kib, replication, differs_kib);
        bed_put(file, text, 0644);
}

static void bed_grown(unsigned kib, unsigned differs_kib, const char *peer_role, const char *replication)
{
        bed_grown_in("now", kib, differs_kib, peer_role, replication);
}

/* Is growing due? What it asks for then. */
static void grows(struct bed *b, const char *asked)
{
        struct arena a = { 0 };
        struct layer_dev d = { 0 };
        struct trouble t = { 0 };
        struct layer_vol v = bed_volume(b, "/dev/vg/r_00000");
        assert_ok(drbd_node_prepare(&t));
        (void)layer_drbd.probe(&v, &a, &d, &t);
        (void)bed_asked();
        assert_int_equal(d.lags, asked != NULL);
        if (asked != NULL) {
                assert_ok(layer_drbd.grow(&v, &t));
                assert_string_equal(bed_asked(), asked);
        }
        arena_done(&a);
}

#define AS_PRIMARY "drbdadm primary owes\ndrbdadm resize owes/0\ndrbdadm secondary owes\n"

/* DRBD 8.4 grows when two nodes shake hands, and leaves the new part out of sync (seen in guests). */
static void test_grow_owes(void **st)
{
        struct bed b;
        bed_set_up(DRBD_GEN_84);
        bed_init(&b, "owes");
        bed_grown(4000, 0, "Secondary", "Established");
        grows(&b, AS_PRIMARY);
        bed_grown(8192, 4192, "Secondary", "SyncSource");
        grows(&b, NULL);
        bed_grown(8192, 4192, "Secondary", "Established");
        grows(&b, "drbdadm invalidate-remote owes/0\n");
        bed_grown(8192, 4192, "Primary", "Established");
        grows(&b, "drbdadm invalidate owes/0\n"); /* from where it is used */
        bed_grown(8192, 0, "Secondary", "Established");
        grows(&b, NULL);
        bed_grown(8192, 4, "Secondary", "Established"); /* a verify, say: not for us to decide */
        grows(&b, NULL);
        bed_tear_down();
        /* It differed before: nobody knows what is of growing. */
        bed_set_up(DRBD_GEN_84);
        bed_init(&b, "owes");
        assert_ok(layer_drbd.dissolve(&b.r, &(struct trouble){ 0 }));
        bed_grown(4000, 4, "Primary", "Established");
        grows(&b, "drbdadm resize owes/0\n");
        bed_grown(8192, 4196, "Secondary", "Established");
        grows(&b, NULL);
        bed_tear_down();
        bed_set_up(DRBD_GEN_9);
        bed_init(&b, "owes");
        assert_ok(layer_drbd.dissolve(&b.r, &(struct trouble){ 0 }));
        bed_grown(4000, 0, "Secondary", "Established");
        grows(&b, "drbdadm resize owes/0\n");
        bed_grown(8192, 4, "Secondary", "Established");
        grows(&b, NULL);
        bed_tear_down();
}

/* Of two nodes the one with the lower number takes the resource; the other one does when that does not seem to help. */
static void test_grow_turns(void **st)
{
        struct bed b;
        bed_set_up(DRBD_GEN_84);
        bed_init(&b, "owes");
        assert_ok(layer_drbd.dissolve(&b.r, &(struct trouble){ 0 }));
        SET(&b.drbd, sat_drbd, node_id, 1);
        SET(&b.peer, sat_drbd_peer, node_id, 0);
        bed_grown(4000, 0, "Secondary", "Established");
        for (unsigned i = 0; i < 6; i++) grows(&b, i < 3 ? "" : AS_PRIMARY);
        grows(&b, NULL); /* not for this size with this many peers */
        bed_tear_down();
}

/* Both nodes see at the same time that it can grow; the second one is refused, for the resync has begun (seen in guests). */
static void test_grow_raced(void **st)
{
        static const struct {
                unsigned kib; /* after that */
                const char *replication;
                int err;
        } cases[] = {
                { 8192, "SyncTarget", 0 },
                { 4000, "SyncTarget", E_BUSY },
                { 4000, "Established", E_PROGRAM },
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct bed b;
                struct trouble t = { 0 };
                bed_set_up(DRBD_GEN_84);
                bed_init(&b, "owes");
                assert_ok(layer_drbd.dissolve(&b.r, &t));
                assert_ok(drbd_node_prepare(&t));
                (void)bed_asked();
                bed_grown(4000, 0, "Primary", "Established");
                bed_grown_in("after", cases[i].kib, 4192, "Primary", cases[i].replication);
                bed_put("fail", "resize", 0644);
                struct layer_vol v = bed_volume(&b, "/dev/vg/r_00000");
                assert_int_equal(layer_drbd.grow(&v, &t), cases[i].err);
                assert_string_equal(bed_asked(), "drbdadm resize owes/0\n");
                assert_int_equal(t.err, cases[i].err);
                bed_tear_down();
        }
}

/* One replica: there is nobody to wait for. 8.4 shows a connection all the same, and wants to be told, as primary (seen in guests). */
static void test_grow_alone(void **st)
{
        static const struct {
                enum drbd_gen gen;
                const char *role, *asked;
        } cases[] = {
                { DRBD_GEN_84, "Primary", "drbdadm -- --assume-peer-has-space resize lone/0\n" },
                { DRBD_GEN_84, "Secondary",
                        "drbdadm primary lone\ndrbdadm -- --assume-peer-has-space resize lone/0\ndrbdadm "
                        "secondary "
                        "lone\n" },
                { DRBD_GEN_9, "Primary", "drbdadm resize lone/0\n" },
                { DRBD_GEN_9, "Secondary", "drbdadm resize lone/0\n" },
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct bed b;
                struct trouble t = { 0 };
                bed_set_up(cases[i].gen);
                bed_init(&b, "lone");
                SET_N(&b.drbd, sat_drbd, peers, NULL, 0);
                bool shadow = cases[i].gen == DRBD_GEN_84;
                bed_state("now", "lone", cases[i].role, shadow ? "StandAlone" : NULL,
                        shadow ? "Unknown" : NULL, shadow ? "Off" : NULL);
                assert_ok(drbd_node_prepare(&t));
                struct layer_vol v = bed_volume(&b, "/dev/vg/r_00000");
                assert_ok(layer_drbd.grow(&v, &t));
                assert_string_equal(bed_asked(), cases[i].asked);
                bed_tear_down();
        }
}

/* ---- disks that are taken away on purpose ---- */

static void test_detach(void **st)
{
        static const struct {
                enum drbd_gen gen;
                const char *disk;
                bool wanted; /* it keeps its disk */
                const char *asked;
        } cases[] = {
                { DRBD_GEN_9, "UpToDate", false,
                        "drbdsetup detach 1000 --diskless\ndrbdadm adjust detach\n" },
                { DRBD_GEN_9, "Inconsistent", false,
                        "drbdsetup detach 1000 --diskless\ndrbdadm adjust detach\n" },
                { DRBD_GEN_9, "UpToDate", true, "drbdadm adjust detach\n" },
                { DRBD_GEN_9, "Diskless", false, "drbdadm adjust detach\n" },
                { DRBD_GEN_9, "Failed", false, "drbdadm adjust detach\n" },
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct bed b;
                struct trouble t = { 0 };
                char text[300];
                bed_set_up(cases[i].gen);
                bed_init(&b, "detach");
                if (!cases[i].wanted) b.seat.dev = NULL;
                snprintf(text, sizeof text,
                        "exists resource name:detach role:Secondary suspended:no\n"
                        "exists device name:detach volume:0 minor:1000 disk:%s\nexists -\n",
                        cases[i].disk);
                bed_put("now", text, 0644);
                assert_ok(layer_drbd.settle(&b.r, &t));
                assert_string_equal(bed_asked(), cases[i].asked);
                bed_tear_down();
        }
        struct bed b;
        struct trouble t = { 0 };
        bed_set_up(DRBD_GEN_9);
        bed_init(&b, "detach");
        b.seat.dev = NULL;
        bed_state("now", "detach", "Secondary", "Connected", "Secondary", "Established");
        bed_put("fail", "detach", 0644);
        assert_int_equal(
                layer_drbd.settle(&b.r, &t), E_PROGRAM); /* the disk is still in use: nothing further */
        assert_string_equal(bed_asked(), "drbdsetup detach 1000 --diskless\n");
        bed_tear_down();
}

/* ---- held I/O ---- */

static void two_devices(const char *suspended)
{
        char text[300];
        snprintf(text, sizeof text,
                "exists resource name:hold role:Primary suspended:%s\n"
                "exists device name:hold volume:0 minor:1000 disk:UpToDate\n"
                "exists device name:hold volume:1 minor:1001 disk:UpToDate\nexists -\n",
                suspended);
        bed_put("now", text, 0644);
}

static void test_hold(void **st)
{
        static const struct {
                const char *suspended; /* NULL: the resource is not there */
                bool hold;
                const char *fail, *asked;
                int err;
        } cases[] = {
                { "no", true, "", "drbdsetup suspend-io 1000\ndrbdsetup suspend-io 1001\n", 0 },
                { "user", true, "", "drbdsetup suspend-io 1000\ndrbdsetup suspend-io 1001\n", 0 },
                { NULL, true, "", "", 0 },
                /* all or none */
                { "no", true, "1001",
                        "drbdsetup suspend-io 1000\ndrbdsetup suspend-io 1001\n"
                        "drbdsetup resume-io 1001\ndrbdsetup resume-io 1000\n",
                        E_PROGRAM },
                { "no", true, "1000", "drbdsetup suspend-io 1000\ndrbdsetup resume-io 1000\n", E_PROGRAM },
                { "user", false, "", "drbdsetup resume-io 1000\ndrbdsetup resume-io 1001\n", 0 },
                { "user,quorum", false, "", "drbdsetup resume-io 1000\ndrbdsetup resume-io 1001\n", 0 },
                /* one that does not let go keeps none of the others */
                { "user", false, "1000", "drbdsetup resume-io 1000\ndrbdsetup resume-io 1001\n", E_PROGRAM },
                /* what DRBD has suspended itself is its own */
                { "quorum", false, "", "", 0 },
                { "no", false, "", "", 0 },
                { NULL, false, "", "", 0 },
        };
        const char *stack[] = { "drbd", "STORAGE" };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct bed b;
                struct trouble t = { 0 };
                bed_set_up(DRBD_GEN_9);
                if (i == 0) drbd_layer_init();
                bed_init(&b, "hold");
                SET_N(&b.want, sat_rsc, layer_stack, stack, 2);
                if (cases[i].suspended != NULL) two_devices(cases[i].suspended);
                bed_put("fail", cases[i].fail, 0644);
                assert_true(hold_possible(&b.want));
                int err = hold_set(&b.want, cases[i].hold, &t);
                if (err != cases[i].err) fail_msg("case %zu: %d", i, err);
                if (err != 0) assert_non_null(strstr(t.cause, "today"));
                assert_string_equal(bed_asked(), cases[i].asked);
                bed_tear_down();
        }
}

/* ---- taking it for a file system ---- */

static void test_take(void **st)
{
        struct bed b;
        struct trouble t = { 0 };
        bed_set_up(DRBD_GEN_84);
        bed_init(&b, "take");
        assert_ok(layer_drbd.settle(&b.r, &t));
        (void)bed_asked();
        bed_state("now", "take", "Secondary", "Connected", "Primary", "Established");
        assert_int_equal(layer_drbd.take("take", &t), 1); /* somebody's */
        assert_string_equal(bed_asked(), "");
        bed_state("now", "take", "Secondary", "Connected", "Secondary", "Established");
        bed_put("fail", "primary", 0644);
        assert_int_equal(layer_drbd.take("take", &t), E_PROGRAM);
        assert_false(bed_has("drbd/take.conf.taken"));
        bed_put("fail", "", 0644);
        (void)bed_asked();
        assert_ok(layer_drbd.take("take", &t));
        assert_true(bed_has("drbd/take.conf.taken"));
        bed_state("now", "take", "Primary", "Connected", "Secondary", "Established");
        (void)bed_settled(&b); /* our own is not given back behind our back */
        assert_string_equal(bed_asked(), "drbdadm primary take\n");
        assert_ok(layer_drbd.give_back("take", &t));
        assert_string_equal(bed_asked(), "drbdadm secondary take\n");
        assert_false(bed_has("drbd/take.conf.taken"));
        /* a satellite that died in between */
        bed_put("drbd/take.conf.taken", "", 0600);
        (void)bed_settled(&b);
        assert_string_equal(bed_asked(), "drbdadm secondary take\n");
        assert_false(bed_has("drbd/take.conf.taken"));
        bed_put("drbd/take.conf.taken", "", 0600);
        bed_state("now", "take", "Secondary", "Connected", "Secondary", "Established");
        (void)bed_settled(&b);
        assert_string_equal(bed_asked(), "");
        assert_false(bed_has("drbd/take.conf.taken"));
        bed_put("drbd/take.conf.taken", "", 0600);
        assert_ok(layer_drbd.dissolve(&b.r, &t));
        assert_false(bed_has("drbd/take.conf.taken"));
        bed_tear_down();
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_settle), cmocka_unit_test(test_skip),
                cmocka_unit_test(test_resync_after), cmocka_unit_test(test_dissolve),
                cmocka_unit_test(test_resolve), cmocka_unit_test(test_resolve_late),
                cmocka_unit_test(test_connect_again), cmocka_unit_test(test_grow),
                cmocka_unit_test(test_grow_alone), cmocka_unit_test(test_grow_owes),
                cmocka_unit_test(test_grow_turns), cmocka_unit_test(test_grow_raced),
                cmocka_unit_test(test_alone_84), cmocka_unit_test(test_detach), cmocka_unit_test(test_hold),
                cmocka_unit_test(test_take) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
