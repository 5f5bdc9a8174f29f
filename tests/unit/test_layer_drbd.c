/* The DRBD layer against programs that play drbdadm, drbdsetup and drbdmeta: they note how they were called, say what the test has put
 * into a file, and fail when they are told to. What the real ones do is seen in guests (tests/vm). */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "satellite/base/exec.h"
#include "satellite/drbd/drbd_alone.h"
#include "satellite/drbd/drbd_md.h"
#include "satellite/drbd/drbd_node.h"
#include "satellite/drbd/drbd_super.h"
#include "satellite/drbd/drbd_take.h"
#include "satellite/drbd/layer_drbd.h"
#include "satellite/layer/hold.h"
#include "satellite/layer/layer.h"
#include "wire/codec/codec.h"

#define UUID "aaaaaaaa-0000-4000-8000-000000000001"

static char dir[64];

static const char *in_dir(const char *name)
{
        static char paths[4][160];
        static unsigned next;
        char *p = paths[next++ % 4];
        snprintf(p, sizeof paths[0], "%s/%s", dir, name);
        return p;
}

static void put(const char *name, const char *text, mode_t mode)
{
        int fd = open(in_dir(name), O_WRONLY | O_CREAT | O_TRUNC, mode);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
        close(fd);
}

static const char *get(const char *name)
{
        static char text[4096];
        int fd = open(in_dir(name), O_RDONLY);
        ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
        if (fd >= 0) close(fd);
        text[MAX(n, 0)] = '\0';
        return text;
}

static bool is_there(const char *name) { return access(in_dir(name), F_OK) == 0; }

/* What the programs were asked since the last look: their arguments without the paths of the configuration. */
static const char *asked(void)
{
        static char text[4096];
        snprintf(text, sizeof text, "%s", get("log"));
        (void)unlink(in_dir("log"));
        return text;
}

/* drbdsetup says what is in the file `now`; who changes a connection puts `after` in its place. `fail` names what fails: the first word
 * that is no option. */
static void set_up(enum drbd_gen gen)
{
        static const char script[] =
                "#!/bin/sh\n"
                "cd %s\n"
                "case $0 in */drbdsetup) [ \"$1\" = events2 ] && { cat now; exit 0; } ;; esac\n"
                "[ \"$1\" = -c ] && shift 2\n"
                "echo \"${0##*/} $*\" >>log\n"
                "case \" $* \" in *' restore-md '*) for file; do :; done; cp \"$file\" restored ;; esac\n"
                "for word in $(cat fail 2>/dev/null); do\n"
                "  case \" $* \" in *\" $word \"*) echo \"no $word today\" >&2; exit 11 ;; esac\n"
                "done\n"
                "case \" $* \" in *' connect '*|*' adjust '*) [ -e after ] && mv after now ;; esac\n"
                "exit 0\n";
        static const char *const programs[] = { "drbdadm", "drbdsetup", "drbdmeta" };
        static char path[200];
        char text[1024];
        (void)strcpy(dir, "/tmp/test_layer_drbd-XXXXXX");
        assert_non_null(mkdtemp(dir));
        snprintf(text, sizeof text, script, dir);
        for (size_t i = 0; i < ARRAY_LEN(programs); i++) put(programs[i], text, 0755);
        put("now", "exists -\n", 0644);
        snprintf(path, sizeof path, "%s:/usr/bin:/bin", dir);
        exec_set_path(path);
        const struct drbd_version v = {
                .gen = gen, .kernel = gen == DRBD_GEN_84 ? 0x08040b : 0x090303, .utils = DRBD_UTILS_MIN
        };
        drbd_node_pretend(dir, &v);
}

static void tear_down(void)
{
        char cmd[100];
        snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
        assert_int_equal(system(cmd), 0);
        exec_set_path(NULL);
}

/* ---- a resource r with one volume on two nodes ---- */

struct bed {
        struct sat_drbd_path path;
        struct sat_drbd_peer peer;
        struct sat_drbd drbd;
        struct sat_vlm vlm;
        struct sat_rsc want;
        struct dev dev;
        struct layer_dev layer;
        struct layer_seat seat;
        struct layer_rsc r;
};

static void bed_init(struct bed *b, const char *name)
{
        *b = (struct bed){ 0 };
        SET(&b->path, sat_drbd_path, local_address, "10.0.0.1");
        SET(&b->path, sat_drbd_path, local_port, 7000);
        SET(&b->path, sat_drbd_path, peer_address, "10.0.0.2");
        SET(&b->path, sat_drbd_path, peer_port, 7000);
        SET(&b->peer, sat_drbd_peer, node_name, "n2");
        SET(&b->peer, sat_drbd_peer, uname, "n2");
        SET(&b->peer, sat_drbd_peer, node_id, 1);
        SET_N(&b->peer, sat_drbd_peer, paths, &b->path, 1);
        SET(&b->drbd, sat_drbd, node_id, 0);
        SET(&b->drbd, sat_drbd, uname, "n1");
        SET(&b->drbd, sat_drbd, peer_slots, 7);
        SET_N(&b->drbd, sat_drbd, peers, &b->peer, 1);
        SET(&b->vlm, sat_vlm, volume_number, 0);
        SET(&b->vlm, sat_vlm, storage_pool_name, "thick");
        SET(&b->vlm, sat_vlm, provider_kind, provider_kind_LVM);
        SET(&b->vlm, sat_vlm, size_kib, 4096);
        SET(&b->vlm, sat_vlm, drbd_minor, 1000);
        SET(&b->vlm, sat_vlm, drbd_day0, "1234567890ABCDE0");
        SET(&b->vlm, sat_vlm, drbd_winner, true);
        SET(&b->want, sat_rsc, rsc_name, name);
        SET(&b->want, sat_rsc, uuid, UUID);
        SET_N(&b->want, sat_rsc, volumes, &b->vlm, 1);
        SET(&b->want, sat_rsc, drbd, &b->drbd);
        b->dev =
                (struct dev){ .rsc_name = name, .backing_id = "r_00000", .layers = &b->layer, .layers_n = 1 };
        b->seat = (struct layer_seat){
                .vlm = &b->vlm, .dev = &b->dev, .below_path = "/dev/vg/r_00000", .below_kib = 8192
        };
        b->r = (struct layer_rsc){ .rsc_name = name, .want = &b->want, .seats = &b->seat, .seats_n = 1 };
}

static struct layer_vol volume(const struct bed *b, const char *below)
{
        return (struct layer_vol){ .dev = &b->dev,
                .below_path = below,
                .below_kib = 8192,
                .props = &b->vlm.props,
                .vlm = &b->vlm,
                .want = &b->want };
}

static bool settled(const struct bed *b)
{
        struct arena a = { 0 };
        struct layer_whole w = { 0 };
        struct trouble t = { 0 };
        assert_ok(layer_drbd.look(&b->r, &a, &w, &t));
        bool is = w.settled;
        arena_done(&a);
        return is;
}

/* What the kernel has of it. */
/* connection: NULL = there is none */
static void state(const char *file, const char *name, const char *role, const char *connection,
        const char *peer_role, const char *replication)
{
        char text[1024];
        if (connection == NULL) {
                snprintf(text, sizeof text,
                        "exists resource name:%s role:%s suspended:no\n"
                        "exists device name:%s volume:0 minor:1000 disk:UpToDate\nexists -\n",
                        name, role, name);
                put(file, text, 0644);
                return;
        }
        snprintf(text, sizeof text,
                "exists resource name:%s role:%s suspended:no\n"
                "exists connection name:%s peer-node-id:1 conn-name:n2 connection:%s role:%s\n"
                "exists device name:%s volume:0 minor:1000 disk:UpToDate\n"
                "exists peer-device name:%s peer-node-id:1 conn-name:n2 volume:0 replication:%s "
                "peer-disk:UpToDate resync-suspended:no\nexists -\n",
                name, role, name, connection, peer_role, name, name, replication);
        put(file, text, 0644);
}

/* ---- settling ---- */

static void test_settle(void **st)
{
        struct bed b;
        struct trouble t = { 0 };
        set_up(DRBD_GEN_84);
        bed_init(&b, "settle");
        assert_false(settled(&b));
        state("after", "settle", "Secondary", "Connected", "Secondary", "Established");
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_string_equal(asked(), "drbdadm adjust settle\n");
        assert_true(settled(&b));
        assert_non_null(strstr(get("drbd/settle.conf"), "# uuid " UUID));
        assert_non_null(strstr(get("drbd/res/settle.res"), "10.0.0.2:7000"));
        /* another option, another volume number, a device that went: once more */
        SET(&b.path, sat_drbd_path, peer_port, 7001);
        assert_false(settled(&b));
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_true(settled(&b));
        b.seat.below_path = NULL;
        assert_false(settled(&b));
        b.seat.below_path = "/dev/vg/r_00000";
        put("now", "exists -\n", 0644);
        assert_false(settled(&b));
        (void)asked();
        /* what drbdadm refuses is told with its words; it is not settled */
        SET(&b.path, sat_drbd_path, peer_port, 7002);
        put("fail", "adjust", 0644);
        assert_int_not_equal(layer_drbd.settle(&b.r, &t), 0);
        assert_non_null(strstr(t.cause, "no adjust today"));
        assert_string_equal(asked(), "drbdadm adjust settle\ndrbdadm adjust settle\ndrbdadm adjust settle\n");
        assert_false(settled(&b));
        tear_down();
}

/* 8.4's drbdadm wants a peer, and fails after it has brought up everything else (seen in a guest). */
static void test_alone_84(void **st)
{
        struct bed b;
        struct trouble t = { 0 };
        set_up(DRBD_GEN_84);
        bed_init(&b, "alone");
        SET_N(&b.drbd, sat_drbd, peers, NULL, 0);
        put("fail", "adjust", 0644);
        assert_int_equal(layer_drbd.settle(&b.r, &t), E_PROGRAM);
        assert_false(settled(&b));
        state("now", "alone", "Secondary", NULL, NULL, NULL);
        (void)asked();
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_string_equal(asked(), "drbdadm adjust alone\n");
        assert_true(settled(&b));
        tear_down();
}

/* ---- disks that are skipped ---- */

static void disk(const char *file, const char *name, const char *state)
{
        char text[512];
        snprintf(text, sizeof text,
                "exists resource name:%s role:Primary suspended:no\n"
                "exists device name:%s volume:0 minor:1000 disk:%s client:no\nexists -\n",
                name, name, state);
        put(file, text, 0644);
}

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
        set_up(DRBD_GEN_9);
        bed_init(&b, "skip");
        disk("after", "skip", "UpToDate");
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_true(settled(&b) && has_disk(&b));
        disk("now", "skip", "Diskless");
        assert_true(settled(&b)); /* by itself it is not attached again */
        assert_false(has_disk(&b));
        (void)asked();
        /* what is below is gone: the network is brought in line all the same, and no disk is taken away */
        SET(&b.drbd, sat_drbd, skip_disk, true);
        b.seat.below_path = NULL;
        b.seat.below_kib = 0;
        assert_false(settled(&b));
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_string_equal(asked(), "drbdadm adjust --skip-disk skip\n");
        assert_null(strstr(get("drbd/res/skip.res"), "disk none"));
        assert_true(settled(&b));
        /* nothing is known of it at all */
        b.seat.dev = NULL;
        disk("now", "skip", "UpToDate");
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_string_equal(asked(), "drbdadm adjust --skip-disk skip\n");
        assert_null(strstr(get("drbd/res/skip.res"), "disk none"));
        /* and back */
        b.seat.dev = &b.dev;
        b.seat.below_path = "/dev/vg/r_00000";
        UNSET(&b.drbd, sat_drbd, skip_disk);
        b.drbd.skip_disk = false;
        disk("now", "skip", "Diskless");
        assert_false(settled(&b));
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_string_equal(asked(), "drbdadm adjust skip\n");
        tear_down();
        /* 8.4: what runs stays as it is; what does not run needs its disk */
        set_up(DRBD_GEN_84);
        SET(&b.drbd, sat_drbd, skip_disk, true);
        disk("now", "skip", "Diskless");
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_string_equal(asked(), "");
        assert_true(settled(&b));
        put("now", "exists -\n", 0644);
        assert_int_equal(layer_drbd.settle(&b.r, &t), E_UNSUPPORTED);
        assert_non_null(strstr(t.cause, "SkipDisk"));
        tear_down();
}

/* Resources that options name are known to drbdadm as soon as their files are there; it is adjusted anew then. */
static void test_resync_after(void **st)
{
        static const char *kv[] = { "DrbdOptions/Disk/resync-after", "first/0" },
                          *on[] = { "DrbdOptions/Disk/resync-after", "third/0" },
                          *back[] = { "DrbdOptions/Disk/resync-after", "second/0" };
        struct bed b, first, third;
        struct trouble t = { 0 };
        set_up(DRBD_GEN_9);
        bed_init(&b, "second");
        SET(&b.vlm, sat_vlm, drbd_options, ((struct strmap){ .kv = kv, .n = 1 }));
        disk("after", "second", "UpToDate");
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_null(strstr(get("drbd/second.conf"), "first.res"));
        assert_true(settled(&b));
        bed_init(&first, "first");
        assert_ok(layer_drbd.settle(&first.r, &t));
        assert_false(settled(&b));
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_true(settled(&b));
        assert_non_null(strstr(get("drbd/second.conf"), "/first.res\";\n"));
        assert_non_null(strstr(get("drbd/second.conf"), "/second.res\";\n"));
        /* the first one follows a third, and that the second */
        bed_init(&third, "third");
        SET(&third.vlm, sat_vlm, drbd_options, ((struct strmap){ .kv = back, .n = 1 }));
        assert_ok(layer_drbd.settle(&third.r, &t));
        SET(&first.vlm, sat_vlm, drbd_options, ((struct strmap){ .kv = on, .n = 1 }));
        assert_ok(layer_drbd.settle(&first.r, &t));
        assert_false(settled(&b));
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_non_null(strstr(get("drbd/second.conf"), "/third.res\";\n"));
        unsigned includes = 0;
        for (const char *p = get("drbd/second.conf"); (p = strstr(p, "include \"")) != NULL; p++) includes++;
        assert_int_equal(includes, 3);
        assert_ok(layer_drbd.dissolve(&first.r, &t));
        assert_false(settled(&b));
        kv[1] = "second/1"; /* itself */
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_null(strstr(get("drbd/second.conf"), "first.res"));
        assert_int_equal(strstr(get("drbd/second.conf"), "second.res") - get("drbd/second.conf"),
                strrchr(get("drbd/second.conf"), '/') + 1 - get("drbd/second.conf"));
        tear_down();
}

/* A device that cannot be read is not one whose metadata is missing. */
static void test_unreadable(void **st)
{
        struct bed b;
        struct arena a = { 0 };
        struct trouble t = { 0 };
        struct layer_dev d = { .type = layer_type_DRBD, .made = true };
        set_up(DRBD_GEN_9);
        bed_init(&b, "unreadable");
        struct layer_vol v = volume(&b, in_dir("nothing"));
        v.made = true;
        assert_int_not_equal(layer_drbd.probe(&v, &a, &d, &t), 0);
        disk("now", "unreadable", "Diskless");
        assert_ok(layer_drbd.probe(&v, &a, &d, &t));
        assert_true(d.open);
        arena_done(&a);
        tear_down();
}

static void test_dissolve(void **st)
{
        struct bed b;
        struct trouble t = { 0 };
        set_up(DRBD_GEN_84);
        bed_init(&b, "gone");
        state("after", "gone", "Primary", "Connected", "Secondary", "Established");
        assert_ok(layer_drbd.settle(&b.r, &t));
        (void)asked();
        put("fail", "down", 0644);
        assert_int_equal(layer_drbd.dissolve(&b.r, &t), E_BUSY);
        assert_non_null(strstr(t.cause, "Primary"));
        assert_true(is_there("drbd/gone.conf") && is_there("drbd/res/gone.res"));
        state("now", "gone", "Secondary", "Connected", "Secondary", "Established");
        assert_int_equal(layer_drbd.dissolve(&b.r, &t), E_PROGRAM);
        put("fail", "", 0644);
        assert_ok(layer_drbd.dissolve(&b.r, &t));
        assert_false(is_there("drbd/gone.conf") || is_there("drbd/res/gone.res"));
        put("now", "exists -\n", 0644);
        (void)asked();
        assert_ok(layer_drbd.dissolve(&b.r, &t)); /* nothing is left to do */
        assert_string_equal(asked(), "");
        tear_down();
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
                set_up(cases[i].gen);
                bed_init(&b, "rslv");
                assert_ok(layer_drbd.settle(&b.r, &t));
                (void)asked();
                state("now", "rslv", cases[i].role, cases[i].connection, "Unknown", "Off");
                assert_true(settled(&b));
                ask_to_resolve(&b, 10 + i, cases[i].discard);
                assert_false(settled(&b));
                /* 8.4's adjust would connect without giving anything up: it comes last, and not after an error */
                bool last = cases[i].gen == DRBD_GEN_84 && cases[i].discard;
                snprintf(expected, sizeof expected, "%s%s%s", last ? "" : "drbdadm adjust rslv\n",
                        cases[i].asked, last && cases[i].err == 0 ? "drbdadm adjust rslv\n" : "");
                if (strstr(cases[i].asked, "connect") != NULL) put("later", "", 0644);
                put("fail", "", 0644);
                /* `after` would be taken by adjust: it connects by the second look */
                state("joined", "rslv", cases[i].role, "Connected", "Secondary", "Established");
                char cmd[300];
                snprintf(cmd, sizeof cmd, "(sleep 0.7; mv %s/joined %s/now) &", dir, dir);
                assert_int_equal(system(cmd), 0);
                assert_int_equal(layer_drbd.settle(&b.r, &t), cases[i].err);
                assert_string_equal(asked(), expected);
                if (cases[i].err == E_BUSY) assert_non_null(strstr(t.message, "in use"));
                assert_true(settled(&b)); /* once for each request, whatever came of it */
                while (is_there("joined")) usleep(10000);
                tear_down();
        }
}

/* DRBD was just giving the connection up: the program that ends it fails, the next look finds it alone. */
static void test_resolve_late(void **st)
{
        struct bed b;
        struct trouble t = { 0 };
        char cmd[300];
        set_up(DRBD_GEN_84);
        bed_init(&b, "late");
        assert_ok(layer_drbd.settle(&b.r, &t));
        (void)asked();
        state("now", "late", "Secondary", "Connecting", "Unknown", "Off");
        state("alone", "late", "Secondary", "StandAlone", "Unknown", "Off");
        state("joined", "late", "Secondary", "Connected", "Secondary", "Established");
        put("fail", "disconnect", 0644);
        ask_to_resolve(&b, 7, true);
        snprintf(cmd, sizeof cmd, "(cd %s; sleep 0.5; mv alone now; sleep 1; mv joined now) &", dir);
        assert_int_equal(system(cmd), 0);
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_string_equal(asked(),
                "drbdadm disconnect late\ndrbdadm connect --discard-my-data late\ndrbdadm adjust late\n");
        while (is_there("joined")) usleep(10000);
        tear_down();
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
        set_up(DRBD_GEN_9);
        bed_init(&b, "again");
        state("now", "again", "Secondary", "Connected", "Secondary", "Established");
        assert_ok(layer_drbd.settle(&b.r, &t));
        (void)asked();
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                state("now", "again", "Secondary", cases[i].connection, "Unknown", "Off");
                put("fail", cases[i].fail, 0644);
                assert_true(settled(&b)); /* by itself it stays as it is */
                drbd_alone_ask("again", 1);
                drbd_alone_ask("other", 1);
                drbd_alone_ask("again", 5); /* nobody's any more */
                assert_false(settled(&b));
                assert_ok(layer_drbd.settle(&b.r, &t));
                assert_string_equal(asked(), cases[i].asked);
                assert_true(settled(&b));
                assert_true(drbd_alone_asked("other", 1));
        }
        /* who leaves is not connected any more; where there is more to do adjust does it all */
        put("fail", "", 0644);
        state("now", "again", "Secondary", "StandAlone", "Unknown", "Off");
        drbd_alone_ask("again", 1);
        SET(&b.path, sat_drbd_path, peer_port, 7001);
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_string_equal(asked(), "drbdadm adjust again\n");
        assert_true(settled(&b));
        SET(&b.peer, sat_drbd_peer, leaving, true);
        assert_ok(layer_drbd.settle(&b.r, &t));
        (void)asked();
        drbd_alone_ask("again", 1);
        assert_ok(layer_drbd.settle(&b.r, &t));
        assert_string_equal(asked(), "");
        assert_true(settled(&b));
        /* nothing is left for one of that name that comes later */
        drbd_alone_ask("again", 1);
        assert_ok(layer_drbd.dissolve(&b.r, &t));
        assert_false(drbd_alone_asked("again", 1));
        tear_down();
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
                        "drbdadm disconnect grow\ndrbdadm adjust grow\n", 0 },
                { DRBD_GEN_84, "Primary", "Connected", "Established", "drbdadm resize grow/0\n", 0 },
                { DRBD_GEN_84, "Primary", "Connected", "SyncSource", "", E_BUSY },
                { DRBD_GEN_84, "Primary", "Connecting", "Off", "", 0 },
                { DRBD_GEN_9, "Secondary", "Connected", "Established", "drbdadm resize grow/0\n", 0 },
        };
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
                struct bed b;
                struct trouble t = { 0 };
                set_up(cases[i].gen);
                bed_init(&b, "grow");
                state("now", "grow", cases[i].role, cases[i].connection, "Secondary", cases[i].replication);
                struct layer_vol v = volume(&b, "/dev/vg/r_00000");
                assert_int_equal(layer_drbd.grow(&v, &t), cases[i].err);
                assert_string_equal(asked(), cases[i].asked);
                tear_down();
        }
}

/* ---- metadata ---- */

static void test_make(void **st)
{
        struct bed b;
        struct trouble t = { 0 };
        char path[160];
        set_up(DRBD_GEN_84);
        bed_init(&b, "make");
        snprintf(path, sizeof path, "%s", in_dir("device"));
        put("device", "", 0600);
        assert_int_equal(truncate(path, 1 << 20), 0);
        struct layer_vol v = volume(&b, path);
        assert_ok(layer_drbd.make(&v, &t));
        const char *said = asked();
        assert_non_null(strstr(said, "create-md\n"));
        assert_non_null(strstr(said, "set-gi"));
        /* it was there, and is gone: not made again */
        v.made = true;
        assert_int_equal(layer_drbd.make(&v, &t), E_NOT_FOUND);
        assert_non_null(strstr(t.message, "metadata is missing"));
        /* somebody else's */
        v.made = false;
        int fd = open(path, O_WRONLY);
        assert_int_equal(pwrite(fd, "\x53\xef", 2, 1024 + 56), 2); /* ext4 */
        assert_int_equal(pwrite(fd, "\x01", 1, 1024 + 76), 1);
        close(fd);
        (void)asked();
        if (layer_drbd.make(&v, &t) == 0) skip(); /* this libblkid wants more of a superblock */
        assert_string_equal(asked(), "");
        assert_non_null(strstr(t.message, "something else"));
        tear_down();
}

/* Of a clone with other layers: what was metadata is none any more; what is data is in nobody's way. */
static void test_clear(void **st)
{
        static const uint8_t super[4096] = {
                [60] = 0x83, [61] = 0x74, [62] = 0x02, [63] = 0x6d, [15] = 77, [91] = 7
        };
        enum { KIB = 1024 };
        uint8_t got[KIB * 1024];
        char path[160];
        struct bed b;
        struct trouble t = { 0 };
        set_up(DRBD_GEN_9);
        bed_init(&b, "clear");
        snprintf(path, sizeof path, "%s", in_dir("device"));
        put("device", "", 0600);
        uint64_t usable;
        assert_ok(drbd_usable_kib(&(struct drbd_md){ .peers = 7 }, KIB, &usable));
        for (unsigned bitmaps = 0; bitmaps < 2; bitmaps++) {
                int fd = open(path, O_RDWR | O_TRUNC);
                memset(got, 0xab, sizeof got);
                memcpy(got + sizeof got - sizeof super, super, sizeof super);
                assert_int_equal(pwrite(fd, got, sizeof got, 0), sizeof got);
                for (unsigned again = 0; again < 2; again++) {
                        assert_ok(drbd_md_clear(path, bitmaps == 1, &t));
                        assert_int_equal(pread(fd, got, sizeof got, 0), sizeof got);
                        uint64_t data = bitmaps == 1 ? usable * 1024 : sizeof got - sizeof super;
                        for (uint64_t i = 0; i < sizeof got; i++)
                                assert_int_equal(got[i], i < data ? 0xab : 0);
                }
                close(fd);
        }
        struct drbd_super found;
        assert_int_equal(drbd_super_read(path, 0, &found), 0);
        assert_true(drbd_md_clear("/no/such/device", true, &t) < 0);
        /* a file system on it */
        int fd = open(path, O_WRONLY | O_TRUNC);
        assert_int_equal(ftruncate(fd, KIB * 1024), 0);
        assert_int_equal(pwrite(fd, "SWAPSPACE2", 10, 4086), 10);
        assert_int_equal(pwrite(fd, "\x01\0\0\0\xff\0\0\0", 8, 1024), 8);
        close(fd);
        struct layer_vol v = volume(&b, path);
        struct arena a = { 0 };
        struct layer_dev d = { .type = layer_type_DRBD };
        assert_ok(layer_drbd.probe(&v, &a, &d, &t));
        assert_true(d.foreign);
        assert_int_equal(layer_drbd.make(&v, &t), E_EXISTS);
        b.dev.filled = true;
        d = (struct layer_dev){ .type = layer_type_DRBD };
        assert_ok(layer_drbd.probe(&v, &a, &d, &t));
        assert_true(d.looked && !d.foreign && !d.exists);
        (void)asked();
        assert_ok(layer_drbd.make(&v, &t));
        assert_contains(asked(), "create-md 7\n");
        /* the others of a clone begin with the same; one that comes later does not */
        static const char *was[] = { "DRBD", "STORAGE" };
        static const char *force[] = { "DrbdOptions/ForceInitialSync", "True" };
        b.vlm.props = (struct strmap){ .kv = force, .n = 1 };
        UNSET(&b.vlm, sat_vlm, drbd_winner);
        b.vlm.drbd_winner = false;
        SET(&b.vlm, sat_vlm, drbd_zeroed, true);
        assert_ok(layer_drbd.make(&v, &t));
        assert_null(strstr(asked(), "restore-md"));
        SET_N(&b.vlm, sat_vlm, source_layers, was, 2);
        assert_ok(layer_drbd.make(&v, &t));
        assert_contains(asked(), "restore-md");
        arena_done(&a);
        tear_down();
}

/* Metadata on a device of its own: nowhere else, also while that is down; what is on either device is kept. */
static void test_make_beside(void **st)
{
        for (unsigned i = 0; i < 2; i++) {
                struct bed b;
                struct trouble t = { 0 };
                char path[160], meta[160], want[700];
                struct dev x = { .exists = true };
                struct sat_vlm extra = { 0 };
                set_up(i == 0 ? DRBD_GEN_84 : DRBD_GEN_9);
                bed_init(&b, "beside");
                snprintf(path, sizeof path, "%s", in_dir("device"));
                snprintf(meta, sizeof meta, "%s", in_dir("meta"));
                put("device", "", 0600);
                put("meta", "", 0600);
                assert_int_equal(truncate(path, 1 << 20) | truncate(meta, 1 << 20), 0);
                SET(&extra, sat_vlm, volume_number, EXTRA_NUMBER(EXTRA_DRBD_META, 0));
                SET_N(&b.want, sat_rsc, extras, &extra, 1);
                struct layer_vol v = volume(&b, path);
                b.seat.below_path = path;
                for (unsigned known = 0; known < 2; known++) {
                        b.dev.extras[EXTRA_DRBD_META] = known == 1 ? &x : NULL;
                        assert_int_equal(layer_drbd.make(&v, &t), E_NOT_FOUND);
                        assert_int_equal(layer_drbd.settle(&b.r, &t), E_NOT_FOUND);
                        assert_non_null(strstr(t.message, "the device of its metadata is down"));
                        assert_string_equal(asked(), "");
                }
                struct arena a = { 0 };
                struct layer_dev d = { .type = layer_type_DRBD, .made = true };
                v.made = true;
                assert_ok(layer_drbd.probe(&v, &a, &d, &t));
                assert_false(d.looked || d.open); /* the planner goes by what is remembered */
                v.made = false;
                x.attached = true;
                x.device_path = meta;
                assert_ok(layer_drbd.make(&v, &t));
                const char *said = asked();
                snprintf(want, sizeof want, "drbdmeta --force 1000 %s %s flex-external create-md",
                        i == 0 ? "v08" : "v09", meta);
                assert_contains(said, want);
                assert_true(strstr(said, "internal") == NULL && strstr(said, path) == NULL);
                assert_ok(layer_drbd.settle(&b.r, &t));
                snprintf(want, sizeof want, "meta-disk \"%s\";", meta);
                assert_contains(get("drbd/res/beside.res"), want);
                v.made = true;
                assert_int_equal(layer_drbd.make(&v, &t), E_NOT_FOUND);
                assert_non_null(strstr(t.message, "metadata is missing"));
                uint8_t super[4096] = { [60] = 0x83, [61] = 0x74, [62] = 0x02, [63] = 0x6d, [15] = 77 };
                int fd = open(meta, O_WRONLY);
                assert_int_equal(pwrite(fd, super, sizeof super, 0), sizeof super);
                close(fd);
                (void)asked();
                assert_ok(layer_drbd.make(&v, &t));
                assert_string_equal(asked(), "");
                assert_ok(layer_drbd.probe(&v, &a, &d, &t));
                assert_true(d.looked && d.exists);
                assert_string_equal(d.meta_path, meta);
                arena_done(&a);
                tear_down();
        }
}

/* The ids of all slots at once, from a file that drbdmeta can read and that is gone afterwards. */
static void test_make_9(void **st)
{
        struct bed b;
        struct trouble t = { 0 };
        char path[160], want[600];
        set_up(DRBD_GEN_9);
        bed_init(&b, "make9");
        snprintf(path, sizeof path, "%s", in_dir("device"));
        put("device", "", 0600);
        assert_int_equal(truncate(path, 1 << 20), 0);
        struct layer_vol v = volume(&b, path);
        assert_ok(layer_drbd.make(&v, &t));
        snprintf(want, sizeof want,
                "drbdmeta --force 1000 v09 %s internal create-md 7\n"
                "drbdmeta --force 1000 v09 %s internal restore-md %s/drbd/make9.conf.1000.md\n",
                path, path, dir);
        assert_string_equal(asked(), want);
        assert_contains(get("restored"), "version \"v09\";\nmax-peers 7;\n");
        assert_contains(get("restored"), "bitmap-uuid 0x1234567890ABCDE0;");
        assert_false(is_there("drbd/make9.conf.1000.md"));
        /* neither the winner nor zeroed: everything is sent to it */
        SET(&b.vlm, sat_vlm, drbd_initialized, true);
        assert_ok(layer_drbd.make(&v, &t));
        snprintf(want, sizeof want, "drbdmeta --force 1000 v09 %s internal create-md 7\n", path);
        assert_string_equal(asked(), want);
        SET(&b.vlm, sat_vlm, drbd_zeroed, true);
        put("fail", "restore-md", 0644);
        assert_int_equal(layer_drbd.make(&v, &t), E_PROGRAM);
        assert_non_null(strstr(t.cause, "no restore-md today"));
        assert_false(is_there("drbd/make9.conf.1000.md"));
        tear_down();
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
                set_up(cases[i].gen);
                bed_init(&b, "detach");
                if (!cases[i].wanted) b.seat.dev = NULL;
                snprintf(text, sizeof text,
                        "exists resource name:detach role:Secondary suspended:no\n"
                        "exists device name:detach volume:0 minor:1000 disk:%s\nexists -\n",
                        cases[i].disk);
                put("now", text, 0644);
                assert_ok(layer_drbd.settle(&b.r, &t));
                assert_string_equal(asked(), cases[i].asked);
                tear_down();
        }
        struct bed b;
        struct trouble t = { 0 };
        set_up(DRBD_GEN_9);
        bed_init(&b, "detach");
        b.seat.dev = NULL;
        state("now", "detach", "Secondary", "Connected", "Secondary", "Established");
        put("fail", "detach", 0644);
        assert_int_equal(
                layer_drbd.settle(&b.r, &t), E_PROGRAM); /* the disk is still in use: nothing further */
        assert_string_equal(asked(), "drbdsetup detach 1000 --diskless\n");
        tear_down();
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
        put("now", text, 0644);
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
                set_up(DRBD_GEN_9);
                if (i == 0) drbd_layer_init();
                bed_init(&b, "hold");
                SET_N(&b.want, sat_rsc, layer_stack, stack, 2);
                if (cases[i].suspended != NULL) two_devices(cases[i].suspended);
                put("fail", cases[i].fail, 0644);
                assert_true(hold_possible(&b.want));
                int err = hold_set(&b.want, cases[i].hold, &t);
                if (err != cases[i].err) fail_msg("case %zu: %d", i, err);
                if (err != 0) assert_non_null(strstr(t.cause, "today"));
                assert_string_equal(asked(), cases[i].asked);
                tear_down();
        }
}

/* ---- taking it for a file system ---- */

static void test_take(void **st)
{
        struct bed b;
        struct trouble t = { 0 };
        set_up(DRBD_GEN_84);
        bed_init(&b, "take");
        assert_ok(layer_drbd.settle(&b.r, &t));
        (void)asked();
        state("now", "take", "Secondary", "Connected", "Primary", "Established");
        assert_int_equal(layer_drbd.take("take", &t), 1); /* somebody's */
        assert_string_equal(asked(), "");
        state("now", "take", "Secondary", "Connected", "Secondary", "Established");
        put("fail", "primary", 0644);
        assert_int_equal(layer_drbd.take("take", &t), E_PROGRAM);
        assert_false(is_there("drbd/take.conf.taken"));
        put("fail", "", 0644);
        (void)asked();
        assert_ok(layer_drbd.take("take", &t));
        assert_true(is_there("drbd/take.conf.taken"));
        state("now", "take", "Primary", "Connected", "Secondary", "Established");
        (void)settled(&b); /* our own is not given back behind our back */
        assert_string_equal(asked(), "drbdadm primary take\n");
        assert_ok(layer_drbd.give_back("take", &t));
        assert_string_equal(asked(), "drbdadm secondary take\n");
        assert_false(is_there("drbd/take.conf.taken"));
        /* a satellite that died in between */
        put("drbd/take.conf.taken", "", 0600);
        (void)settled(&b);
        assert_string_equal(asked(), "drbdadm secondary take\n");
        assert_false(is_there("drbd/take.conf.taken"));
        put("drbd/take.conf.taken", "", 0600);
        state("now", "take", "Secondary", "Connected", "Secondary", "Established");
        (void)settled(&b);
        assert_string_equal(asked(), "");
        assert_false(is_there("drbd/take.conf.taken"));
        put("drbd/take.conf.taken", "", 0600);
        assert_ok(layer_drbd.dissolve(&b.r, &t));
        assert_false(is_there("drbd/take.conf.taken"));
        tear_down();
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_settle), cmocka_unit_test(test_skip),
                cmocka_unit_test(test_unreadable), cmocka_unit_test(test_resync_after),
                cmocka_unit_test(test_dissolve), cmocka_unit_test(test_resolve),
                cmocka_unit_test(test_resolve_late), cmocka_unit_test(test_connect_again),
                cmocka_unit_test(test_grow), cmocka_unit_test(test_make), cmocka_unit_test(test_clear),
                cmocka_unit_test(test_alone_84), cmocka_unit_test(test_make_beside),
                cmocka_unit_test(test_make_9), cmocka_unit_test(test_detach), cmocka_unit_test(test_hold),
                cmocka_unit_test(test_take) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
