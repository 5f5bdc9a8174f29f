/* The state file: every cut and every flipped bit is found, moved aside, and costs nothing but the wanted
 * state. */
#include "tests/lib/test.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "satellite/state.h"
#include "wire/codec/codec.h"

static char dir[64];

static void clear(void)
{
        DIR *d = opendir(dir);
        const struct dirent *e;
        char path[400];
        while ((e = readdir(d)) != NULL) {
                snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
                if (e->d_name[0] != '.') unlink(path);
        }
        closedir(d);
}

static unsigned count_aside(void)
{
        DIR *d = opendir(dir);
        const struct dirent *e;
        unsigned n = 0;
        while ((e = readdir(d)) != NULL) n += strstr(e->d_name, ".damaged-") != NULL;
        closedir(d);
        return n;
}

static void make(struct arena *a, struct sat_state *s, uint64_t term)
{
        struct sat_wanted *w = arena_new(a, struct sat_wanted);
        struct sat_rsc *r = arena_new(a, struct sat_rsc);
        struct sat_device *d = arena_new(a, struct sat_device);
        *s = (struct sat_state){ 0 };
        SET(r, sat_rsc, rsc_name, "data");
        SET(r, sat_rsc, uuid, "u");
        SET(r, sat_rsc, revision, 9);
        SET(w, sat_wanted, term, term);
        SET(w, sat_wanted, revision, 9);
        SET(w, sat_wanted, cluster_uuid, "c");
        SET_N(w, sat_wanted, resources, r, 1);
        SET(d, sat_device, rsc_name, "data");
        SET(d, sat_device, rsc_uuid, "u");
        SET(d, sat_device, volume_number, 0);
        SET(d, sat_device, provider_kind, provider_kind_FILE);
        SET(d, sat_device, place, "/p");
        SET(d, sat_device, backing_id, "data_00000");
        SET(s, sat_state, cluster_uuid, "c");
        SET(s, sat_state, highest_term, term);
        SET(s, sat_state, wanted, w);
        SET_N(s, sat_state, devices, d, 1);
}

static void save(uint64_t term, bool with_term)
{
        struct arena a = { 0 };
        struct buf whole = { 0 }, small = { 0 };
        struct sat_state s, t = { 0 };
        struct fail f = { 0 };
        make(&a, &s, term);
        SET(&t, sat_state, cluster_uuid, "c");
        SET(&t, sat_state, highest_term, term);
        assert_ok(state_encode(&s, &whole));
        assert_ok(state_encode(&t, &small));
        assert_ok(state_write(dir, with_term ? &small : NULL, &whole, &f));
        buf_done(&whole);
        buf_done(&small);
        arena_done(&a);
}

static int load(struct arena *a, struct sat_state *s, struct fail *f)
{
        arena_reset(a);
        *f = (struct fail){ 0 };
        return state_load(dir, env_real(), a, s, f);
}

static void test_round_trip(void **state)
{
        struct arena a = { 0 }, b = { 0 };
        struct sat_state got, want;
        struct fail f;
        clear();
        assert_ok(load(&a, &got, &f)); /* nothing yet */
        assert_false(HAS(&got, sat_state, highest_term));
        save(3, true);
        make(&b, &want, 3);
        assert_ok(load(&a, &got, &f));
        assert_true(obj_equal(&sat_state_type, &got, &want));
        assert_int_equal(count_aside(), 0);
        arena_done(&a);
        arena_done(&b);
}

static void put(const char *name, const uint8_t *p, size_t n)
{
        char path[128];
        snprintf(path, sizeof path, "%s/%s", dir, name);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        assert_int_equal(write(fd, p, n), n);
        close(fd);
}

/* The state as damaged by the caller, the term file good: E_CORRUPT, nothing wanted, the term kept. */
static void check_damage(const uint8_t *p, size_t n)
{
        struct arena a = { 0 };
        struct sat_state got;
        struct fail f;
        clear();
        save(3, true);
        put("satellite.state", p, n);
        assert_err(load(&a, &got, &f), E_CORRUPT);
        assert_contains(f.text, ".damaged-");
        assert_false(HAS(&got, sat_state, wanted));
        assert_int_equal(got.devices_n, 0);
        assert_int_equal(got.highest_term, 3);
        assert_int_equal(count_aside(), 1);
        assert_ok(load(&a, &got, &f)); /* it goes on */
        assert_int_equal(got.highest_term, 3);
        arena_done(&a);
}

static void test_damage(void **state)
{
        struct arena a = { 0 };
        struct buf good = { 0 };
        struct sat_state s;
        make(&a, &s, 3);
        assert_ok(state_encode(&s, &good));
        for (size_t n = 0; n < good.n; n += n < 64 ? 1 : 13) check_damage(good.p, n);
        uint8_t *bad = xmalloc(good.n + 1);
        for (size_t i = 0; i < good.n; i += i < 64 ? 1 : 3) {
                memcpy(bad, good.p, good.n);
                bad[i] ^= (uint8_t)(1U << i % 8);
                check_damage(bad, good.n);
        }
        memcpy(bad, good.p, good.n);
        bad[good.n] = 0;
        check_damage(bad, good.n + 1);
        free(bad);
        buf_done(&good);
        arena_done(&a);
}

static void test_term(void **state)
{
        struct arena a = { 0 };
        struct sat_state got;
        struct fail f;
        clear();
        save(8, true);
        save(5, false); /* as if the big file were from before: the higher term counts */
        assert_ok(load(&a, &got, &f));
        assert_int_equal(got.highest_term, 8);
        put("satellite.term", (const uint8_t *)"x", 1);
        assert_err(load(&a, &got, &f), E_CORRUPT);
        assert_int_equal(got.highest_term, 5);
        assert_true(HAS(&got, sat_state, wanted)); /* the big one was good */
        arena_done(&a);
}

static void test_no_disk(void **state)
{
        struct buf b = { 0 };
        struct fail f = { 0 };
        int fd;
        buf_put_str(&b, "x");
        assert_err(state_write("/nowhere/at/all", NULL, &b, &f), -ENOENT);
        assert_contains(f.text, "/nowhere/at/all");
        assert_err(state_lock("/nowhere/at/all", &fd, &f), -ENOENT);
        buf_done(&b);
}

static void test_lock(void **state)
{
        struct fail f = { 0 };
        int one, two;
        assert_ok(state_lock(dir, &one, &f));
        assert_err(state_lock(dir, &two, &f), E_BUSY);
        close(one);
        assert_ok(state_lock(dir, &two, &f));
        close(two);
}

int main(void)
{
        strcpy(dir, "/tmp/outrigger-state-XXXXXX");
        if (mkdtemp(dir) == NULL) return 1;
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_round_trip), cmocka_unit_test(test_damage),
                cmocka_unit_test(test_term), cmocka_unit_test(test_no_disk), cmocka_unit_test(test_lock) };
        int failed = cmocka_run_group_tests(tests, NULL, NULL);
        clear();
        rmdir(dir);
        return failed;
}
