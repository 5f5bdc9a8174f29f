/* What a node can do changes while its satellite runs: somebody installs a program, loads a module, or another version of it. Programs are
 * scripts below a temporary directory, the kernel's word is a file there; the controller is made up, but speaks real TLS. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "satellite/base/exec.h"
#include "satellite/caps.h"
#include "satellite/drbd/drbd_node.h"
#include "tests/unit/sat_bed.h"
#include "wire/codec/codec.h"

static char dir[64];

static const char *in_dir(const char *name)
{
        static char path[128];
        snprintf(path, sizeof path, "%s/%s", dir, name);
        return path;
}

/* Renamed to its place, as a package's files are. */
static void put(const char *name, const char *text, mode_t mode)
{
        char tmp[128];
        snprintf(tmp, sizeof tmp, "%s/new", dir);
        int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC, mode);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
        close(fd);
        assert_int_equal(rename(tmp, in_dir(name)), 0);
}

static void put_script(const char *name, const char *line)
{
        char text[512];
        snprintf(text, sizeof text, "#!/bin/sh\ncd %s\necho \"$*\" >>%s.log\n%s\n", dir, name, line);
        put(name, text, 0755);
}

static const char *log_of(const char *program)
{
        static char text[4096];
        char name[64];
        snprintf(name, sizeof name, "%s.log", program);
        FILE *f = fopen(in_dir(name), "re");
        size_t n = f != NULL ? fread(text, 1, sizeof text - 1, f) : 0;
        if (f != NULL) fclose(f);
        text[n] = '\0';
        return text;
}

static bool has(const char *const *list, uint32_t n, const char *what)
{
        for (uint32_t i = 0; i < n; i++)
                if (strcmp(list[i], what) == 0) return true;
        return false;
}

/* Why the layer cannot be used; "" = it can. */
static const char *why_not(const struct ctl *c, const char *layer)
{
        const struct str_list *l = objmap_get(&str_list_type, &c->hello.unsupported_layers, layer);
        assert_int_equal(l == NULL, has(c->hello.resource_layers, c->hello.resource_layers_n, layer));
        return l == NULL ? "" : l->items[0];
}

static bool says(struct ctl *c, const void *arg) { return strstr(why_not(c, "DRBD"), arg) != NULL; }

static bool has_versions(struct ctl *c, const void *arg)
{
        const struct drbd_version *v = arg;
        return why_not(c, "DRBD")[0] == '\0' && c->hello.drbd_kernel == v->kernel &&
               c->hello.drbd_utils == v->utils;
}

static bool ran_with(struct ctl *c, const void *arg) { return strstr(log_of("drbdsetup"), arg) != NULL; }

static void test_drbd_comes(void **state)
{
        struct bed b;
        struct ctl c;
        put_script("modprobe", "exit 1");
        bed_init(&b);
        bed_start(&b);
        ctl_open(&c, &b, "c1");
        assert_contains(why_not(&c, "DRBD"), "install the package drbd-utils");
        assert_int_equal(c.hello.drbd_kernel, 0);
        /* The programs come, then the module. */
        put_script("drbdsetup", "echo 'exists -'; exec sleep 1000");
        put_script("drbdadm", "echo DRBDADM_VERSION_CODE=0x091600");
        assert_true(ctl_wait(&c, says, "the kernel has no module drbd", 20000));
        assert_contains(log_of("modprobe"), "drbd");
        assert_string_equal(log_of("drbdsetup"), "");
        put("proc", "version: 8.4.11 (api:1/proto:86-101)\n", 0644);
        const struct drbd_version first = { .kernel = 0x08040b, .utils = 0x091600 };
        assert_true(ctl_wait(&c, has_versions, &first, 20000));
        assert_true(ctl_wait(&c, ran_with, "events2 --statistics\n", 20000));
        /* Other programs; then another module, for which events are asked for in another way. */
        put_script("drbdadm", "echo DRBDADM_VERSION_CODE=0x091700");
        const struct drbd_version second = { .kernel = 0x08040b, .utils = 0x091700 };
        assert_true(ctl_wait(&c, has_versions, &second, 20000));
        put("proc", "version: 9.2.14 (api:2/proto:118-122)\n", 0644);
        const struct drbd_version third = { .kernel = 0x09020e, .utils = 0x091700 };
        assert_true(ctl_wait(&c, has_versions, &third, 20000));
        assert_true(ctl_wait(&c, ran_with, "events2 --full --statistics\n", 20000));
        /* What is being replaced is not given up, nor is it loaded by us meanwhile. */
        assert_int_equal(unlink(in_dir("modprobe.log")), 0);
        assert_int_equal(unlink(in_dir("proc")), 0);
        put_script("drbdadm", "exit 1");
        run_for(&b.loop, 1000);
        assert_true(has_versions(&c, &third));
        put("proc", "version: 9.2.15 (api:2/proto:118-122)\n", 0644);
        run_for(&b.loop, 1000);
        assert_true(has_versions(&c, &third));
        assert_string_equal(log_of("modprobe"), "");
        put_script("drbdadm", "echo DRBDADM_VERSION_CODE=0x091700");
        const struct drbd_version last = { .kernel = 0x09020f, .utils = 0x091700 };
        assert_true(ctl_wait(&c, has_versions, &last, 20000));
        assert_false(c.ended); /* all in one session */
        assert_false(c.wrong);
        ctl_close(&c);
        bed_done(&b);
}

/* What counts as a change, and what does not. */
static void test_mark(void **state)
{
        struct sat_hello_reply r = { 0 };
        static const char *layers[] = { "STORAGE", "LUKS" }, *hashes[] = { "sha1" };
        uint64_t mark = caps_mark(&r);
        assert_int_not_equal(mark, 0);
        SET(&r, sat_hello_reply, revision, 7);
        SET(&r, sat_hello_reply, highest_term, 8);
        SET_N(&r, sat_hello_reply, hashes, hashes, 1);
        assert_true(caps_mark(&r) == mark);
        SET_N(&r, sat_hello_reply, resource_layers, layers, 1);
        uint64_t one = caps_mark(&r);
        assert_true(one != mark);
        SET_N(&r, sat_hello_reply, resource_layers, layers, 2);
        assert_true(caps_mark(&r) != one);
}

static int setup(void **state)
{
        static char path[128];
        (void)strcpy(dir, "/tmp/test_sat_caps-XXXXXX");
        if (mkdtemp(dir) == NULL) return -1;
        snprintf(path, sizeof path, "%s:/usr/bin:/bin", dir);
        exec_set_path(path);
        drbd_node_set_proc(strdup(in_dir("proc")));
        return 0;
}

static int teardown(void **state)
{
        char cmd[100];
        snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
        return system(cmd);
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_mark),
                cmocka_unit_test_setup_teardown(test_drbd_comes, setup, teardown) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
