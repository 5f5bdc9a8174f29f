/* Connections that DRBD gave up without a split brain: when they count as that, when they are tried again, and a satellite that does it
 * with a clock of the test's. DRBD's programs are scripts: events2 follows a file that the test writes. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "satellite/base/exec.h"
#include "satellite/drbd/drbd_alone.h"
#include "satellite/drbd/drbd_events.h"
#include "satellite/drbd/drbd_node.h"
#include "tests/unit/sat_bed.h"
#include "wire/codec/codec.h"

/* ---- which ---- */

static void test_gave_up(void **state)
{
        static const struct {
                const char *before, *now;
                bool syncing, path_up, gave_up;
        } rows[] = {
                { "Connected", "Disconnecting", true, true, true },
                { "Connected", "StandAlone", true, true, true }, /* events were lost */
                { "Connected", "Disconnecting", false, true, false },
                { "Connecting", "Disconnecting", false, true, true },
                { "Connecting", "Disconnecting", false, false, false },
                { "Connecting", "Disconnecting", true, false, false },
                { "Connecting", "StandAlone", false, false, false }, /* its path was taken away */
                { "Unconnected", "Disconnecting", true, true, false },
                { "NetworkFailure", "Disconnecting", true, true, false },
                { "", "StandAlone", true, true, false }, /* nobody has seen how */
                { "Connected", "NetworkFailure", true, true, false },
                { "Connecting", "Connected", true, true, false },
        };
        for (size_t i = 0; i < ARRAY_LEN(rows); i++)
                if (drbd_alone_gave_up(rows[i].before, rows[i].now, rows[i].syncing, rows[i].path_up) !=
                        rows[i].gave_up)
                        fail_msg("row %zu", i);
}

#define CONNECTION "change connection name:d peer-node-id:1 conn-name:n2 connection:"
#define REPLICATION "change peer-device name:d peer-node-id:1 conn-name:n2 volume:1 replication:"
#define PATH                                                                                         \
        " path name:d peer-node-id:1 conn-name:n2 local:ipv4:10.0.0.1:7000 peer:ipv4:10.0.0.2:7000 " \
        "established:"
#define UP                                                                                           \
        "exists resource name:d role:Primary suspended:no may_promote:no promotion_score:1\n"        \
        "exists connection name:d peer-node-id:1 conn-name:n2 connection:Connected role:Secondary\n" \
        "exists connection name:d peer-node-id:2 conn-name:n3 connection:Connected role:Secondary\n" \
        "exists device name:d volume:0 minor:1000 disk:Diskless client:yes quorum:yes\n"             \
        "exists peer-device name:d peer-node-id:1 conn-name:n2 volume:0 replication:Established "    \
        "peer-disk:UpToDate\n"                                                                       \
        "exists peer-device name:d peer-node-id:1 conn-name:n2 volume:1 replication:Established "    \
        "peer-disk:UpToDate\n"                                                                       \
        "exists peer-device name:d peer-node-id:2 conn-name:n3 volume:0 replication:Established "    \
        "peer-disk:UpToDate\n"                                                                       \
        "exists" PATH "yes\n"                                                                        \
        "exists -\n"

static void feed(struct drbd_events *e, const char *text)
{
        while (*text != '\0') {
                struct fail f = { 0 };
                size_t n = strcspn(text, "\n");
                assert_ok(drbd_events_line(e, text, n, NULL, &f));
                text += n + (text[n] == '\n');
        }
}

static void test_events(void **state)
{
        static const struct {
                const char *lines;
                bool gave_up;
        } rows[] = {
                /* the second volume waits for the first, and then cannot begin: as seen in guests, what was told before the volumes */
                { REPLICATION "PausedSyncS\n" CONNECTION "Disconnecting role:Unknown\n" REPLICATION
                              "Off peer-disk:DUnknown\nchange" PATH "no\n" CONNECTION "StandAlone",
                        true },
                { REPLICATION "PausedSyncS\n" CONNECTION "Disconnecting", true },
                /* in sync, and cut; also when a resync had run before */
                { CONNECTION "Disconnecting\n" REPLICATION "Off\nchange" PATH "no\n" CONNECTION "StandAlone",
                        false },
                { REPLICATION "SyncSource\n" REPLICATION "Established\n" CONNECTION
                              "Disconnecting\n" CONNECTION "StandAlone",
                        false },
                /* a peer that is away: cut; one that answers, and then: given up */
                { CONNECTION "NetworkFailure\n" REPLICATION "Off\nchange" PATH "no\n" CONNECTION
                             "Unconnected\n" CONNECTION "Connecting\n" CONNECTION "Disconnecting\n" CONNECTION
                             "StandAlone",
                        false },
                { CONNECTION "NetworkFailure\n" REPLICATION "Off\nchange" PATH "no\n" CONNECTION
                             "Unconnected\n" CONNECTION "Connecting\nchange" PATH "yes\n" CONNECTION
                             "Disconnecting\nchange" PATH "no\n" CONNECTION "StandAlone",
                        true },
                /* tried again, by whomever */
                { REPLICATION "SyncTarget\n" CONNECTION "Disconnecting\n" CONNECTION "StandAlone\n" CONNECTION
                              "Unconnected",
                        false },
                { REPLICATION "SyncTarget\n" CONNECTION "StandAlone\n" CONNECTION "Unconnected\n" CONNECTION
                              "Connecting\n" CONNECTION "Disconnecting\n" CONNECTION "StandAlone",
                        true }, /* the path is still up */
        };
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                struct drbd_events e = { 0 };
                feed(&e, UP);
                feed(&e, rows[i].lines);
                const struct drbd_resource *r = drbd_events_find(&e, "d");
                if (r->peers[0].gave_up != rows[i].gave_up || r->peers[1].gave_up) fail_msg("row %zu", i);
                /* told once more from the beginning it is the same */
                drbd_events_restart(&e);
                feed(&e, "exists resource name:d role:Primary suspended:no");
                char line[200];
                snprintf(line, sizeof line,
                        "exists connection name:d peer-node-id:1 conn-name:n2 connection:%s",
                        r->peers[0].connection);
                feed(&e, line);
                feed(&e, "exists -");
                r = drbd_events_find(&e, "d");
                if (r->peers[0].gave_up != rows[i].gave_up) fail_msg("row %zu, told again", i);
                drbd_events_done(&e);
        }
}

/* ---- when ---- */

static void test_steps(void **state)
{
        static const struct {
                uint64_t now_s;
                enum drbd_alone_state state;
                bool connects, idle;
                uint64_t due_s;
        } rows[] = {
                { 100, DRBD_ALONE_CONNECTED, false, true, 0 },
                { 101, DRBD_ALONE_TRYING, false, true, 0 },
                { 102, DRBD_ALONE_GIVEN_UP, false, false, 112 },
                { 111, DRBD_ALONE_GIVEN_UP, false, false, 112 },
                { 112, DRBD_ALONE_GIVEN_UP, true, false, 132 },
                { 113, DRBD_ALONE_TRYING, false, false, 0 },
                { 114, DRBD_ALONE_GIVEN_UP, false, false, 134 }, /* from then on */
                { 135, DRBD_ALONE_GIVEN_UP, true, false, 175 },
                { 175, DRBD_ALONE_GIVEN_UP, true, false, 255 }, /* the program failed: nothing has changed */
                { 255, DRBD_ALONE_GIVEN_UP, true, false, 415 },
                { 415, DRBD_ALONE_GIVEN_UP, true, false, 735 },
                { 735, DRBD_ALONE_GIVEN_UP, true, false, 1335 }, /* 10 min at most */
                { 1335, DRBD_ALONE_GIVEN_UP, true, false, 1935 },
                { 1336, DRBD_ALONE_TRYING, false, false, 0 },
                { 1337, DRBD_ALONE_CONNECTED, false, false, 1397 },
                { 1390, DRBD_ALONE_CONNECTED, false, false, 1397 },
                { 1391, DRBD_ALONE_GIVEN_UP, false, false, 1991 }, /* not for long enough */
                { 1991, DRBD_ALONE_GIVEN_UP, true, false, 2591 },
                { 1992, DRBD_ALONE_CONNECTED, false, false, 2052 },
                { 2000, DRBD_ALONE_TRYING, false, false, 0 }, /* the network */
                { 2001, DRBD_ALONE_CONNECTED, false, false, 2061 },
                { 2061, DRBD_ALONE_CONNECTED, false, true, 0 },
                { 2062, DRBD_ALONE_GIVEN_UP, false, false, 2072 }, /* from the beginning */
                { 2073, DRBD_ALONE_GIVEN_UP, true, false, 2093 },
                { 2074, DRBD_ALONE_LEFT, false, true, 0 }, /* a split brain, or nobody wants it any more */
                { 2075, DRBD_ALONE_GIVEN_UP, false, false, 2085 },
        };
        struct drbd_alone a = { 0 };
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
                bool connects = drbd_alone_step(&a, rows[i].state, rows[i].now_s * 1000);
                if (connects != rows[i].connects || drbd_alone_is_idle(&a) != rows[i].idle ||
                        a.due_ms != rows[i].due_s * 1000)
                        fail_msg("row %zu: %d, due %llu", i, connects, (unsigned long long)a.due_ms);
        }
}

/* ---- a satellite ---- */

#define UUID "aaaaaaaa-0000-4000-8000-000000000001"
#define ALONE_2                                                                                              \
        REPLICATION "PausedSyncS\n" CONNECTION "Disconnecting\n" REPLICATION "Off\n" CONNECTION "StandAlone" \
                    "\n"
#define TOGETHER_2 CONNECTION "Unconnected\n" CONNECTION "Connecting\n" CONNECTION "Connected\n"
#define CUT_3                                                                              \
        "change connection name:d peer-node-id:2 conn-name:n3 connection:Disconnecting\n"  \
        "change peer-device name:d peer-node-id:2 conn-name:n3 volume:0 replication:Off\n" \
        "change connection name:d peer-node-id:2 conn-name:n3 connection:StandAlone\n"

static char dir[64];
static uint64_t stopped_ms; /* 0 = the clock runs */

static uint64_t now_ms(struct env *env)
{
        return stopped_ms != 0 ? stopped_ms : env_real()->now_ms(env_real());
}
static uint64_t wall_ms(struct env *env) { return env_real()->wall_ms(env_real()); }
static void chance(struct env *env, void *p, size_t n) { env_real()->random(env_real(), p, n); }
static struct env clock_of_ours = { .now_ms = now_ms, .wall_ms = wall_ms, .random = chance };

static const char *in_dir(const char *name)
{
        static char path[128];
        snprintf(path, sizeof path, "%s/%s", dir, name);
        return path;
}

static void put(const char *name, const char *text, int how, mode_t mode)
{
        int fd = open(in_dir(name), O_WRONLY | O_CREAT | how, mode);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
        close(fd);
}

static void put_script(const char *name, const char *lines)
{
        char text[1024];
        snprintf(text, sizeof text, "#!/bin/sh\ncd %s\n%s\n", dir, lines);
        put(name, text, O_TRUNC, 0755);
}

/* What both events2 tell from now on: the one that runs, and those of single looks. */
static void tell(const char *lines)
{
        put("events", lines, O_APPEND, 0644);
        put("now", lines, O_APPEND, 0644);
}

static const char *asked(void)
{
        static char text[2048];
        FILE *f = fopen(in_dir("log"), "re");
        size_t n = f != NULL ? fread(text, 1, sizeof text - 1, f) : 0;
        if (f != NULL) fclose(f);
        text[n] = '\0';
        return text;
}

static int setup(void **state)
{
        static char path[128];
        (void)strcpy(dir, "/tmp/test_drbd_alone-XXXXXX");
        if (mkdtemp(dir) == NULL) return -1;
        snprintf(path, sizeof path, "%s:/usr/bin:/bin", dir);
        exec_set_path(path);
        static char proc[160]; /* the node keeps the pointer */
        snprintf(proc, sizeof proc, "%s", in_dir("proc"));
        drbd_node_set_proc(proc);
        put("proc", "version: 9.3.3 (api:2/proto:118-123)\n", 0, 0644);
        put("events", "exists -\n", 0, 0644);
        put("now", "exists -\n", 0, 0644);
        put("up", UP, 0, 0644);
        put_script("modprobe", "exit 1");
        put_script("drbdsetup", "case \"$*\" in\n"
                                "*--now*) cat now ;;\n"
                                "events2*) exec tail -n +1 -f events ;;\n"
                                "*) echo \"drbdsetup $*\" >>log ;;\n"
                                "esac");
        put_script("drbdadm", "[ \"$1\" = -c ] || exec echo DRBDADM_VERSION_CODE=0x092200\n"
                              "shift 2; echo \"drbdadm $*\" >>log\n"
                              "case \"$*\" in\n"
                              "adjust*) cat up >>events; cp up now ;;\n"
                              "*connect*) test -e fail && exit 11 ;;\n"
                              "esac\nexit 0");
        stopped_ms = 0;
        return 0;
}

static int teardown(void **state)
{
        char cmd[100];
        snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
        return system(cmd);
}

static void want_diskless(struct ctl *c, struct bed *b)
{
        struct wish x;
        static const char *stack[] = { "DRBD", "STORAGE" };
        wish_init(&x, b, 1, 5);
        wish_rsc(&x, "d", UUID, 1, 4096, "thick");
        struct sat_rsc *r = &x.w.resources[0];
        struct sat_drbd *d = arena_new(&x.arena, struct sat_drbd);
        struct sat_drbd_peer *peers = arena_array(&x.arena, struct sat_drbd_peer, 2);
        struct sat_drbd_path *path = arena_new(&x.arena, struct sat_drbd_path);
        SET(path, sat_drbd_path, local_address, "10.0.0.1");
        SET(path, sat_drbd_path, local_port, 7000);
        SET(path, sat_drbd_path, peer_address, "10.0.0.2");
        SET(path, sat_drbd_path, peer_port, 7000);
        for (unsigned i = 0; i < 2; i++) {
                SET(&peers[i], sat_drbd_peer, node_name, i == 0 ? "n2" : "n3");
                SET(&peers[i], sat_drbd_peer, uname, i == 0 ? "n2" : "n3");
                SET(&peers[i], sat_drbd_peer, node_id, i + 1);
                SET_N(&peers[i], sat_drbd_peer, paths, path, 1);
        }
        SET(d, sat_drbd, node_id, 0);
        SET(d, sat_drbd, uname, "n1");
        SET_N(d, sat_drbd, peers, peers, 2);
        SET(r, sat_rsc, flags, rsc_flag_DISKLESS);
        SET(r, sat_rsc, drbd, d);
        SET_N(r, sat_rsc, layer_stack, stack, 2);
        SET(&r->volumes[0], sat_vlm, drbd_minor, 1000);
        assert_int_equal(ctl_want(c, &x.w), 0);
        ctl_await(c, "d", 5, sat_step_state_DONE);
        wish_done(&x);
}

struct shown {
        const char *peer, *connection;
};
static bool shows(struct ctl *c, const void *arg)
{
        const struct shown *want = arg;
        const struct obs_rsc *row = ctl_row(c, "d");
        for (uint32_t i = 0; row != NULL && HAS(row, obs_rsc, drbd) && i < row->drbd->peers_n; i++)
                if (strcmp(row->drbd->peers[i].name, want->peer) == 0)
                        return strcmp(row->drbd->peers[i].connection, want->connection) == 0;
        return false;
}
static bool was_asked(struct ctl *c, const void *arg) { return strcmp(asked(), arg) == 0; }

static void await_shown(struct ctl *c, const char *peer, const char *connection)
{
        const struct shown want = { peer, connection };
        assert_true(ctl_wait(c, shows, &want, 20000));
}

/* Time passes only here, and what the satellite does thereupon, too. The controller shows that it lives at the pace of that clock. */
static void later(struct ctl *c, unsigned s)
{
        for (; s > 0; s--) {
                struct sat_pong alive = { 0 };
                SET(&alive, sat_pong, seq, 0);
                ctl_send(c, &sat_pong_type, &alive);
                stopped_ms += 1000;
                run_for(&c->bed->loop, 30);
        }
        run_for(&c->bed->loop, 300);
}

static void begin(struct bed *b, struct ctl *c, bool leave_alone)
{
        bed_init(b);
        b->env = &clock_of_ours;
        b->leave_alone = leave_alone;
        bed_start(b);
        ctl_open(c, b, "c1");
        want_diskless(c, b);
        await_shown(c, "n2", "Connected");
        assert_contains(asked(), "drbdadm adjust d\n");
        assert_int_equal(unlink(in_dir("log")), 0);
        stopped_ms = now_ms(NULL);
}

static void test_connects(void **state)
{
        struct bed b;
        struct ctl c;
        begin(&b, &c, false);
        /* DRBD gives the one up, somebody cuts the other */
        tell(ALONE_2 CUT_3);
        await_shown(&c, "n2", "StandAlone");
        await_shown(&c, "n3", "StandAlone");
        later(&c, 9);
        assert_string_equal(asked(), "");
        assert_int_equal(c.error_reports_n, 0);
        later(&c, 1);
        assert_true(ctl_wait(&c, was_asked, "drbdadm connect d:n2\n", 20000));
        tell(TOGETHER_2);
        await_shown(&c, "n2", "Connected");
        await_shown(&c, "n3", "StandAlone");
        assert_int_equal(c.error_reports_n, 1);
        assert_contains(c.error_text, "gave its connection to n2 up, without a split brain");
        /* again, more rarely, and without a second report; a program that fails is run again, and the resource has not failed */
        tell(ALONE_2);
        await_shown(&c, "n2", "StandAlone");
        put("fail", "", 0, 0644);
        later(&c, 19);
        assert_string_equal(asked(), "drbdadm connect d:n2\n");
        later(&c, 1);
        assert_true(ctl_wait(&c, was_asked, "drbdadm connect d:n2\ndrbdadm connect d:n2\n", 20000));
        later(&c, 39);
        assert_string_equal(asked(), "drbdadm connect d:n2\ndrbdadm connect d:n2\n");
        assert_int_equal(ctl_row(&c, "d")->state, sat_step_state_DONE);
        later(&c, 1);
        assert_true(ctl_wait(
                &c, was_asked, "drbdadm connect d:n2\ndrbdadm connect d:n2\ndrbdadm connect d:n2\n", 20000));
        assert_int_equal(unlink(in_dir("fail")), 0);
        assert_int_equal(c.error_reports_n, 1);
        /* connected for a minute: from the beginning, with a report again. A split brain is nobody's but the administrator's. */
        tell(TOGETHER_2);
        await_shown(&c, "n2", "Connected");
        later(&c, 60);
        assert_int_equal(unlink(in_dir("log")), 0);
        tell(ALONE_2);
        await_shown(&c, "n2", "StandAlone");
        later(&c, 10);
        assert_true(ctl_wait(&c, was_asked, "drbdadm connect d:n2\n", 20000));
        tell("call helper name:d peer-node-id:1 conn-name:n2 volume:0 minor:1000 "
             "helper:split-brain\n" CONNECTION "Unconnected\n" CONNECTION "Connecting\nchange" PATH
             "yes\n" CONNECTION "Disconnecting\n" CONNECTION "StandAlone\n");
        run_for(&b.loop, 300);
        later(&c, 40);
        assert_string_equal(asked(), "drbdadm connect d:n2\n");
        assert_false(c.ended || c.wrong);
        ctl_close(&c);
        bed_done(&b);
}

static void test_setting(void **state)
{
        struct bed b;
        struct ctl c;
        begin(&b, &c, true);
        tell(ALONE_2);
        await_shown(&c, "n2", "StandAlone");
        later(&c, 20);
        assert_string_equal(asked(), "");
        assert_int_equal(c.error_reports_n, 0);
        ctl_close(&c);
        bed_done(&b);
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_gave_up), cmocka_unit_test(test_events),
                cmocka_unit_test(test_steps), cmocka_unit_test_setup_teardown(test_connects, setup, teardown),
                cmocka_unit_test_setup_teardown(test_setting, setup, teardown) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
