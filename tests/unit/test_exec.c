/* Running other programs: what comes back, what is refused, and that the deadline holds. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "satellite/base/exec.h"
#include "wire/base/buf.h"

static int try_argv(const char *const *argv, struct blob input, unsigned deadline_ms, struct arena *a,
        struct exec_result *r, struct trouble *t)
{
        struct exec_cmd c = { .argv = argv, .input = input, .deadline_ms = deadline_ms };
        return exec_try(&c, a, r, t);
}
#define SHELL(script, in, deadline) \
        try_argv((const char *const[]){ "sh", "-c", script, NULL }, in, deadline, &a, &r, &t)
#define NOTHING BLOB(NULL, 0)

static double seconds(void)
{
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void test_results(void **state)
{
        (void)state;
        struct arena a = { 0 };
        struct exec_result r;
        struct trouble t;
        assert_int_equal(SHELL("echo out; echo err >&2; exit 7", NOTHING, 0), 0);
        assert_int_equal(r.status, 7);
        assert_string_equal(r.out, "out\n");
        assert_string_equal(r.err, "err\n");
        assert_int_equal(SHELL("kill -9 $$", NOTHING, 0), 0);
        assert_int_equal(r.status, 128 + SIGKILL);
        assert_string_equal(r.out, "");
        assert_string_equal(r.err, "");
        arena_done(&a);
}

static void test_environment(void **state)
{
        (void)state;
        struct arena a = { 0 };
        struct exec_result r;
        struct trouble t;
        setenv("LVM_SYSTEM_DIR", "/nowhere", 1);
        int leak = fcntl(0, F_DUPFD, 100); /* without close-on-exec */
        char script[128];
        snprintf(script, sizeof script, "echo $LC_ALL$LVM_SYSTEM_DIR; ls /proc/self/fd | grep -x %d; cat",
                leak);
        assert_int_equal(SHELL(script, NOTHING, 0), 0);
        assert_string_equal(r.out, "C\n");
        close(leak);
        arena_done(&a);
}

/* More than a pipe holds, both ways at once. */
static void test_large(void **state)
{
        (void)state;
        struct arena a = { 0 };
        struct exec_result r;
        struct trouble t;
        size_t n = 3 << 20;
        uint8_t *p = malloc(n);
        assert_non_null(p);
        for (size_t i = 0; i < n; i++) p[i] = (uint8_t)(i * 7);
        assert_int_equal(try_argv((const char *const[]){ "cat", NULL }, BLOB(p, n), 0, &a, &r, &t), 0);
        assert_int_equal(r.out_n, n);
        assert_memory_equal(r.out, p, n);
        /* nobody reads it: no error, and no SIGPIPE */
        assert_int_equal(try_argv((const char *const[]){ "true", NULL }, BLOB(p, n), 0, &a, &r, &t), 0);
        free(p);
        assert_int_equal(SHELL("head -c 17000000 /dev/zero", NOTHING, 0), E_TOO_LARGE);
        assert_int_equal(SHELL("head -c 100000 /dev/zero | tr '\\0' x >&2; echo end >&2", NOTHING, 0), 0);
        assert_string_equal(r.err + strlen(r.err) - 5, "xend\n");
        assert_true(strlen(r.err) <= 4096);
        arena_done(&a);
}

static void test_deadline(void **state)
{
        (void)state;
        struct arena a = { 0 };
        struct exec_result r;
        struct trouble t;
        double began = seconds();
        assert_int_equal(SHELL("sleep 60", NOTHING, 100), E_TIMEOUT);
        assert_true(seconds() - began < 30);
        assert_non_null(strstr(t.message, "sleep 60"));
        assert_true(t.cause[0] != '\0' && t.correction[0] != '\0');
        /* one that does not heed SIGTERM, with a child of its own */
        assert_int_equal(SHELL("trap '' TERM; sleep 60 & wait; sleep 60", NOTHING, 100), E_TIMEOUT);
        assert_true(seconds() - began < 40);
        arena_done(&a);
}

/* A daemon that a program leaves behind keeps its pipes open: that is nobody's business. */
static void test_daemon(void **state)
{
        (void)state;
        struct arena a = { 0 };
        struct exec_result r;
        struct trouble t;
        double began = seconds();
        assert_int_equal(SHELL("setsid sleep 60 & echo $!", NOTHING, 0), 0);
        assert_true(seconds() - began < 30);
        int daemon = atoi(r.out);
        assert_true(daemon > 1);
        kill(daemon, SIGKILL);
        arena_done(&a);
}

static void test_failures(void **state)
{
        (void)state;
        struct arena a = { 0 };
        struct exec_result r;
        struct trouble t;
        assert_int_equal(try_argv((const char *const[]){ "no-such-program", NULL }, NOTHING, 0, &a, &r, &t),
                E_NOT_FOUND);
        assert_non_null(strstr(t.message, "no-such-program"));
        assert_false(exec_exists("no-such-program"));
        assert_true(exec_exists("sh"));
        struct exec_cmd c = { .argv = (const char *const[]){
                                      "sh", "-c", "echo 'a\tb'; echo 'it is broken' >&2; exit 5", NULL } };
        assert_int_equal(exec_run(&c, &a, NULL, &t), E_PROGRAM);
        assert_non_null(strstr(t.message, "status 5"));
        assert_string_equal(t.cause, "It said: it is broken");
        exec_set_path("/nowhere");
        assert_false(exec_exists("sh"));
        exec_set_path(NULL);
        arena_done(&a);
}

int main(void)
{
        signal(SIGPIPE, SIG_IGN);
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_results),
                cmocka_unit_test(test_environment),
                cmocka_unit_test(test_large),
                cmocka_unit_test(test_deadline),
                cmocka_unit_test(test_daemon),
                cmocka_unit_test(test_failures),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
