/* Guards of held I/O: the real program as guard, a drbdsetup that notes what it is asked, and satellites that are processes of this test. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "satellite/base/exec.h"
#include "satellite/drbd/drbd_node.h"
#include "satellite/drbd/layer_drbd.h"
#include "satellite/layer/hold.h"
#include "satellite/layer/hold_guard.h"
#include "wire/codec/codec.h"

#define PROGRAM "./outrigger-satellite" /* of the build directory */
#define PATIENCE_S 60                   /* on a busy machine; how long is not judged */

static char dir[64];

static const char *in_dir(const char *name)
{
        static char path[160];
        snprintf(path, sizeof path, "%s/%s", dir, name);
        return path;
}

static void put(const char *name, const char *text, mode_t mode)
{
        int fd = open(in_dir(name), O_WRONLY | O_CREAT | O_TRUNC, mode);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
        close(fd);
}

static const char *asked(void)
{
        static char text[1024];
        int fd = open(in_dir("log"), O_RDONLY);
        ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
        if (fd >= 0) close(fd);
        text[MAX(n, 0)] = '\0';
        return text;
}

static void wait_asked(const char *text)
{
        static const struct timespec pause = { .tv_nsec = 20000000 };
        for (int i = 0; i < PATIENCE_S * 50 && strcmp(asked(), text) != 0; i++) (void)nanosleep(&pause, NULL);
        assert_string_equal(asked(), text);
}

static bool refuses;
static int other(const struct sat_rsc *r, bool on, struct trouble *t)
{
        return on && refuses ? E_PROGRAM : 0;
}

static void set_up(void)
{
        static const char script[] = "#!/bin/sh\n"
                                     "cd %s\n"
                                     "[ \"$1\" = events2 ] && { cat now; exit 0; }\n"
                                     "[ \"$1\" != resume-io ] || [ ! -e slow ] || sleep 1\n"
                                     "echo \"$*\" >>log\n";
        static char path[200];
        char text[400];
        (void)strcpy(dir, "/tmp/test_hold_guard-XXXXXX");
        assert_non_null(mkdtemp(dir));
        snprintf(text, sizeof text, script, dir);
        put("drbdsetup", text, 0755);
        put("now",
                "exists resource name:r role:Primary suspended:user\n"
                "exists device name:r volume:0 minor:1000 disk:UpToDate\nexists -\n",
                0644);
        snprintf(path, sizeof path, "%s:/usr/bin:/bin", dir);
        exec_set_path(path);
        drbd_node_pretend(dir,
                &(struct drbd_version){ .gen = DRBD_GEN_9, .kernel = 0x090303, .utils = DRBD_UTILS_MIN });
        static const struct hold_layer below = { "OTHER", other };
        drbd_layer_init();
        hold_register(&below);
        refuses = false;
}

static void tear_down(void)
{
        char cmd[100];
        snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
        assert_int_equal(system(cmd), 0);
        exec_set_path(NULL);
}

static int hold(bool on)
{
        static const char *stack[] = { "DRBD", "OTHER", "STORAGE" };
        struct sat_rsc r = { 0 };
        struct sat_vlm v = { 0 };
        struct trouble t;
        SET(&v, sat_vlm, volume_number, 0);
        SET(&v, sat_vlm, size_kib, 4096);
        SET(&r, sat_rsc, rsc_name, "r");
        SET(&r, sat_rsc, uuid, "aaaaaaaa-0000-4000-8000-000000000001");
        SET(&r, sat_rsc, revision, 1);
        SET_N(&r, sat_rsc, layer_stack, stack, 3);
        SET_N(&r, sat_rsc, volumes, &v, 1);
        return hold_set(&r, on, &t);
}

/* A satellite that holds r, and then does nothing more. */
static pid_t satellite(unsigned timeout_ms)
{
        int held[2];
        char c = 0;
        assert_int_equal(pipe(held), 0);
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                close(held[0]);
                bool ok = hold_guard_enable(dir, PROGRAM, timeout_ms) == 0 && hold(true) == 0;
                if (!ok || write(held[1], "h", 1) != 1) _exit(1);
                close(held[1]);
                for (;;) pause();
        }
        close(held[1]);
        assert_int_equal(read(held[0], &c, 1), 1);
        close(held[0]);
        return pid;
}

static void end(pid_t pid)
{
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
}

#define HELD "suspend-io 1000\n"
#define RUNS HELD "resume-io 1000\n"

static void test_killed(void **st)
{
        set_up();
        pid_t pid = satellite(0);
        assert_string_equal(asked(), HELD);
        end(pid);
        wait_asked(RUNS);
        tear_down();
}

static void test_stands_still(void **st)
{
        set_up();
        pid_t pid = satellite(1000);
        wait_asked(RUNS);
        end(pid);
        tear_down();
}

/* One that starts does not hold anything while guards of before may let go. */
static void test_waits_for_earlier(void **st)
{
        set_up();
        put("slow", "", 0644);
        pid_t pid = satellite(0);
        end(pid);
        assert_ok(hold_guard_enable(dir, PROGRAM, 0));
        assert_string_equal(asked(), RUNS);
        tear_down();
}

/* Who lets go by himself has no guard left: the one of before does nothing when it is told, or when its satellite ends. */
static void test_done(void **st)
{
        set_up();
        assert_ok(hold_guard_enable(dir, PROGRAM, 0));
        for (int i = 0; i < 2; i++) {
                assert_ok(hold(true));
                assert_ok(hold(true)); /* one guard, once more suspended */
                assert_ok(hold(false));
                hold_guard_end("r"); /* there is none */
                assert_string_equal(asked(), HELD HELD "resume-io 1000\n");
                assert_int_equal(unlink(in_dir("log")), 0);
                assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* nobody is left */
        }
        tear_down();
}

/* A layer below that does not hold keeps nothing above it. */
static void test_all_or_none(void **st)
{
        set_up();
        refuses = true;
        assert_ok(hold_guard_enable(dir, PROGRAM, 0));
        assert_int_equal(hold(true), E_PROGRAM);
        assert_string_equal(asked(), RUNS);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
        tear_down();
}

/* Nothing is suspended that nobody could let go. */
static void test_no_guard(void **st)
{
        set_up();
        assert_ok(hold_guard_enable(dir, "/nowhere/satellite", 0));
        assert_int_equal(hold(true), -ENOENT);
        assert_string_equal(asked(), "");
        assert_int_equal(hold_guard_enable("/nowhere", PROGRAM, 0), -ENOENT);
        tear_down();
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_killed),
                cmocka_unit_test(test_stands_still),
                cmocka_unit_test(test_waits_for_earlier),
                cmocka_unit_test(test_done),
                cmocka_unit_test(test_all_or_none),
                cmocka_unit_test(test_no_guard),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
