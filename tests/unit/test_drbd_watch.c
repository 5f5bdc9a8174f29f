/* What the satellite reads of DRBD on its node: superblocks, 8.4's /proc/drbd, and a long-lived events2, played by a script that ends, hangs
 * and talks nonsense. */
#include "tests/lib/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "satellite/drbd/drbd_super.h"
#include "satellite/drbd/drbd_watch.h"

/* ---- superblocks ---- */

static void put(uint8_t *p, uint64_t v, unsigned n)
{
        for (unsigned i = 0; i < n; i++) p[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
}

static void superblock(uint8_t b[4096], uint32_t magic, uint64_t current, uint32_t peers)
{
        memset(b, 0, 4096);
        put(b + 8, current, 8);
        put(b + 60, magic, 4);
        put(b + 88, peers, 4);
}

static void test_super(void **state)
{
        char path[] = "/tmp/outrigger-drbd-XXXXXX";
        uint8_t b[4096];
        struct drbd_super s;
        int fd = mkstemp(path);
        assert_true(fd >= 0);
        superblock(b, 0x8374026d, 4, 7);
        assert_true(drbd_super_parse(b, &s));
        assert_true(s.gen == DRBD_GEN_9 && s.current == DRBD_JUST_CREATED && s.peers == 7);
        superblock(b, 0x8374026d, 4, 1000);
        assert_true(drbd_super_parse(b, &s) && s.peers == DRBD_PEER_SLOTS_DEFAULT);
        superblock(b, 0x8374026c, 0x1234567890abcdef, 0);
        assert_true(drbd_super_parse(b, &s));
        assert_true(s.gen == DRBD_GEN_84 && s.current == 0x1234567890abcdef && s.peers == 1);
        superblock(b, 0x83740269, 1, 0);
        assert_false(drbd_super_parse(b, &s));
        /* At the end of a device whose size is no multiple of 4 KiB; where it was before the device grew; nowhere. */
        superblock(b, 0x8374026b, 9, 0);
        assert_int_equal(ftruncate(fd, 65536 + 512), 0);
        assert_int_equal(pwrite(fd, b, 4096, 65536 - 4096), 4096);
        assert_int_equal(drbd_super_read(path, 0, &s), 1);
        assert_int_equal(s.current, 9);
        assert_int_equal(ftruncate(fd, 131072), 0);
        assert_int_equal(drbd_super_read(path, 0, &s), 0);
        assert_int_equal(drbd_super_read(path, 64, &s), 1);
        assert_int_equal(drbd_super_read(path, 128, &s), 0);
        assert_int_equal(ftruncate(fd, 100), 0);
        assert_int_equal(drbd_super_read(path, 64, &s), 0);
        close(fd);
        unlink(path);
        assert_true(drbd_super_read(path, 0, &s) < 0);
}

/* ---- /proc/drbd ---- */

static const char dump[] =
        "exists resource name:data role:Secondary suspended:no\n"
        "exists connection name:data peer-node-id:0 conn-name:peer connection:Connected role:Primary\n"
        "exists device name:data volume:0 minor:1000 disk:Inconsistent\n"
        "exists peer-device name:data peer-node-id:0 conn-name:peer volume:0 replication:SyncTarget "
        "peer-disk:UpToDate "
        "resync-suspended:no\n"
        "exists -\n";

static void test_proc(void **state)
{
        struct drbd_events e = { 0 };
        struct fail f = { 0 };
        for (const char *p = dump; *p != '\0'; p += strcspn(p, "\n") + 1)
                assert_int_equal(drbd_events_line(&e, p, strcspn(p, "\n"), NULL, &f), 0);
        const struct drbd_resource *r = drbd_events_find(&e, "data");
        const struct drbd_peer_device *d = drbd_peer_device_find(&r->peers[0], 0);
        static const char text[] =
                "version: 8.4.11 (api:1/proto:86-101)\nsrcversion: X\n\n"
                "999: cs:SyncTarget ro:Secondary/Primary ds:Inconsistent/UpToDate C r-----\n"
                "    ns:0 oos:7\n"
                "1000: cs:SyncTarget ro:Secondary/Primary ds:Inconsistent/UpToDate C r-----\n"
                "    ns:0 nr:8 dw:0 dr:0 al:8 bm:0 lo:0 pe:1 ua:0 ap:0 ep:1 wo:f oos:32768\n"
                "\t[=========>..........] sync'ed: 50.3% (32768/65536)K\n"
                "\tfinish: 0:00:03 speed: 8,192 (8,192) want: 0 K/sec\n";
        assert_true(drbd_watch_proc84(&e, text));
        assert_int_equal(d->done, 5030);
        assert_int_equal(d->out_of_sync_kib, 32768);
        assert_false(drbd_watch_proc84(&e, text));
        assert_false(drbd_watch_proc84(&e, ""));
        assert_false(drbd_watch_proc84(
                &e, "1000: cs:\n sync'ed: x%\n:::\n4294967296000000000000: cs:X\n oos:9\n"));
        drbd_events_done(&e);
}

/* ---- the process ---- */

struct seen {
        unsigned all, one, failures;
        char last[64], told[700];
        bool closed;
};
static void on_changed(void *arg, const char *name)
{
        struct seen *s = arg;
        if (name == NULL) s->all++;
        else {
                s->one++;
                snprintf(s->last, sizeof s->last, "%s", name);
        }
}
static void on_failed(void *arg, const struct trouble *t)
{
        struct seen *s = arg;
        s->failures++;
        snprintf(s->told, sizeof s->told, "%s %s", t->message, t->cause);
}
static void on_closed(void *arg) { ((struct seen *)arg)->closed = true; }

struct bed {
        uv_loop_t loop;
        char dir[32], program[64], count[64];
        const char *argv[2];
        struct seen seen;
        struct drbd_watch *watch;
};

static void bed_open(struct bed *b, const char *script)
{
        *b = (struct bed){ .dir = "/tmp/outrigger-watch-XXXXXX" };
        assert_non_null(mkdtemp(b->dir));
        snprintf(b->program, sizeof b->program, "%s/events", b->dir);
        snprintf(b->count, sizeof b->count, "%s/count", b->dir);
        FILE *f = fopen(b->program, "w");
        fprintf(f, "#!/bin/sh\ncd %s\necho x >>count\n%s\n", b->dir, script);
        fclose(f);
        assert_int_equal(chmod(b->program, 0755), 0);
        assert_int_equal(uv_loop_init(&b->loop), 0);
        b->argv[0] = b->program;
        const struct drbd_watch_hooks hooks = {
                .changed = on_changed, .failed = on_failed, .closed = on_closed, .arg = &b->seen
        };
        b->watch = drbd_watch_open(&b->loop, b->argv, &hooks);
}

static void on_timer(uv_timer_t *t) {}

/* Until *what is at least n; at most 20 s. */
static bool wait_until(struct bed *b, const unsigned *what, unsigned n)
{
        uv_timer_t beat;
        uv_timer_init(&b->loop, &beat);
        uv_timer_start(&beat, on_timer, 20, 20);
        uint64_t end = uv_hrtime() + UINT64_C(20000000000);
        while (*what < n && uv_hrtime() < end) uv_run(&b->loop, UV_RUN_ONCE);
        uv_close((uv_handle_t *)&beat, NULL);
        uv_run(&b->loop, UV_RUN_NOWAIT);
        return *what >= n;
}

static void bed_close(struct bed *b)
{
        drbd_watch_close(b->watch);
        while (!b->seen.closed) uv_run(&b->loop, UV_RUN_ONCE);
        uv_run(&b->loop, UV_RUN_NOWAIT);
        assert_int_equal(uv_loop_close(&b->loop), 0);
        unlink(b->program);
        unlink(b->count);
        rmdir(b->dir);
}

#define DATA "exists resource name:data role:Primary suspended:no"

static void test_runs(void **state)
{
        struct bed b;
        bed_open(&b, "echo '" DATA "'; printf 'exi'; sleep 0.1; echo 'sts -'; sleep 0.2\n"
                     "echo 'change resource name:data role:Secondary'; exec sleep 1000");
        assert_true(wait_until(&b, &b.seen.all, 1));
        assert_non_null(drbd_watch_find(b.watch, "data"));
        assert_null(drbd_watch_find(b.watch, "other"));
        assert_null(drbd_watch_find(NULL, "data"));
        assert_true(wait_until(&b, &b.seen.one, 1));
        assert_string_equal(b.seen.last, "data");
        assert_string_equal(drbd_watch_find(b.watch, "data")->role, "Secondary");
        assert_int_equal(b.seen.failures, 0);
        bed_close(&b);
}

/* It ends: it is started again, and what was known stands until then. */
static void test_ends(void **state)
{
        struct bed b;
        bed_open(&b, "echo '" DATA "'; echo 'exists -'; test $(wc -l <count) = 1 && exit 3\n"
                     "echo 'exists resource name:late role:Primary'; exec sleep 1000");
        assert_true(wait_until(&b, &b.seen.failures, 1));
        assert_non_null(strstr(b.seen.told, "Status 3"));
        assert_non_null(drbd_watch_find(b.watch, "data"));
        assert_true(wait_until(&b, &b.seen.all, 2));
        assert_non_null(drbd_watch_find(b.watch, "data"));
        bed_close(&b);
}

/* Nonsense, and a line without end: told once, and what can be read is read. */
static void test_nonsense(void **state)
{
        struct bed b;
        bed_open(&b, "echo 'what is this'; echo 'neither this'; head -c 10000 /dev/zero | tr '\\0' x; echo\n"
                     "echo '" DATA "'; echo 'exists -'; exec sleep 1000");
        assert_true(wait_until(&b, &b.seen.all, 1));
        assert_int_equal(b.seen.failures, 1);
        assert_non_null(strstr(b.seen.told, "what is this"));
        assert_non_null(drbd_watch_find(b.watch, "data"));
        bed_close(&b);
}

/* Events were lost, as when the node is busy: it is asked anew, and that is no failure. */
static void test_missed(void **state)
{
        struct bed b;
        bed_open(&b, "test $(wc -l <count) = 1 || { echo 'exists resource name:late role:Primary'; echo "
                     "'exists -'; exec sleep 1000; }\n"
                     "echo '" DATA "'; echo 'exists -'; sleep 0.2; echo '- skipped 1'; exec sleep 1000");
        assert_true(wait_until(&b, &b.seen.all, 1));
        assert_non_null(drbd_watch_find(b.watch, "data"));
        for (unsigned more = 1; b.seen.all < 10 && drbd_watch_find(b.watch, "late") == NULL; more++)
                assert_true(wait_until(&b, &b.seen.all, 1 + more));
        assert_null(drbd_watch_find(b.watch, "data")); /* it had gone unseen */
        assert_int_equal(b.seen.failures, 0);
        bed_close(&b);
}

/* It cannot be run at all, or is closed while it waits to be started again. */
static void test_no_program(void **state)
{
        struct bed b;
        bed_open(&b, "");
        b.argv[0] = "/nonexistent/events2";
        assert_true(wait_until(&b, &b.seen.failures, 1));
        bed_close(&b);
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_super), cmocka_unit_test(test_proc),
                cmocka_unit_test(test_runs), cmocka_unit_test(test_ends), cmocka_unit_test(test_nonsense),
                cmocka_unit_test(test_missed), cmocka_unit_test(test_no_program) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
