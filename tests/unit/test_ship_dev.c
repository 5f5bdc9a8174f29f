/* Snapshots of storage that has none as files, read and made by a volume beside them (satellite/ship/ship_dev.h), with the programs of ZFS
 * replaced: streams of all and of differences, what is left, what an attempt that died has left, bases that go. */
#include "tests/lib/test.h"

#include <string.h>
#include <unistd.h>

#include "satellite/ship/ship_dev.h"
#include "tests/unit/zfs_bed.h"
#include "wire/codec/codec.h"

#define RSC_UUID "aaaaaaaa-0000-4000-8000-000000000001"
#define VLM_UUID "11111111-0000-4000-8000-000000000001"
#define SHIP_UUID "cccccccc-dddd-4000-8000-000000000001"
#define KIB 1024

static struct ship_place place = { .kind = provider_kind_ZFS_THIN, .place = BED_PLACE };

/* A snapshot, as a shipment names it. */
struct named {
        const char *name, *uuid, *vlm_uuid, *id;
};
static const struct named s1 = { "s1", "51000000", "51100000", "data_00000_s1" };
static const struct named s2 = { "s2", "52000000", "52100000", "data_00000_s2" };
static const struct named r1 = { "r1", "61000000", "61100000", "data_00000_r1" };
static const struct named r2 = { "r2", "62000000", "62100000", "data_00000_r2" };

static struct dev volume_dev(void)
{
        return (struct dev){ .rsc_name = "data",
                .uuid = RSC_UUID,
                .vlm_uuid = VLM_UUID,
                .kind = provider_kind_ZFS_THIN,
                .place = BED_PLACE,
                .backing_id = "data_00000" };
}

static struct dev snap_dev(const struct named *x)
{
        struct dev d = volume_dev();
        d.uuid = x->uuid;
        d.vlm_uuid = x->vlm_uuid;
        d.snap_name = x->name;
        d.backing_id = x->id;
        return d;
}

struct job {
        struct ship_work work;
        struct sat_ship ship;
        struct sat_ship_vlm vlm;
        struct ship_volume v;
};

static void job_open(struct job *j, enum ship_kind kind, const struct named *x, const struct named *base)
{
        struct trouble t;
        *j = (struct job){ 0 };
        SET(&j->vlm, sat_ship_vlm, size_kib, KIB);
        SET(&j->vlm, sat_ship_vlm, storage_pool_name, "pool");
        SET(&j->vlm, sat_ship_vlm, backing_id, x->id);
        SET(&j->vlm, sat_ship_vlm, uuid, x->vlm_uuid);
        SET(&j->ship, sat_ship, uuid, SHIP_UUID);
        SET(&j->ship, sat_ship, kind, kind);
        SET(&j->ship, sat_ship, rsc_name, "data");
        SET(&j->ship, sat_ship, snap_name, x->name);
        SET(&j->ship, sat_ship, snap_uuid, x->uuid);
        if (base != NULL) {
                SET(&j->vlm, sat_ship_vlm, base_id, base->id);
                SET(&j->vlm, sat_ship_vlm, base_uuid, base->vlm_uuid);
                SET(&j->ship, sat_ship, base_snap, base->name);
                SET(&j->ship, sat_ship, base_snap_uuid, base->uuid);
        }
        SET_N(&j->ship, sat_ship, volumes, &j->vlm, 1);
        j->work.ship = &j->ship;
        j->work.places = &place;
        assert_int_equal(ship_volume_open(&j->work, 0, &j->v, &t), 0);
        assert_true((ship_volume_base(&j->v) != NULL) == (base != NULL));
}

static int collect(void *arg, const void *data, size_t n)
{
        buf_put(arg, data, n);
        return 0;
}

static struct buf read_all(const struct named *x, const struct named *base)
{
        struct job j;
        struct buf out = { 0 };
        struct trouble t = { 0 };
        job_open(&j, ship_kind_SEND, x, base);
        int err = ship_volume_read(&j.v, collect, &out, &t);
        if (err != 0) fail_msg("%s: %d %s %s", x->name, err, t.message, t.cause);
        return out;
}

struct feed {
        const struct buf *stream;
        bool differs, fails;
        unsigned calls;
};

static int fill(void *arg, int fd, struct trouble *t)
{
        struct feed *f = arg;
        struct ship_in in;
        f->calls++;
        ship_in_open(&in, fd, KIB * KIB, f->differs);
        int err = ship_in_feed(&in, f->stream->p, f->stream->n), end = ship_in_close(&in);
        if (f->fails) return trouble_set(t, E_CLOSED, TROUBLE_UNKNOWN, "The connection was lost.");
        return err != 0 ? err : end;
}

static int receive(const struct named *x, const struct named *base, struct feed *f)
{
        struct job j;
        struct trouble t = { 0 };
        job_open(&j, ship_kind_RECEIVE, x, base);
        f->differs = base != NULL;
        int err = ship_receive(&j.v, fill, f, &t);
        assert_true(err == 0 || t.message[0] != '\0');
        return err;
}

static bool there(const char *name)
{
        return strstr(FAKE("list", "-Hp", "-r", "-d", "2", "-t", "volume,snapshot", "-o", "name", BED_PLACE),
                       name) != NULL;
}

/* What a snapshot holds, wherever it is. */
static void holds(const struct named *x, const char *text)
{
        struct buf b = read_all(x, NULL);
        size_t n = strlen(text);
        assert_true(b.n > SHIP_HEAD + SHIP_RECORD + n);
        assert_memory_equal(b.p + SHIP_HEAD + SHIP_RECORD, text, n);
        assert_int_equal(b.p[SHIP_HEAD + SHIP_RECORD + n], 0);
        buf_done(&b);
}

static void make_source(void)
{
        struct dev d = volume_dev(), one = snap_dev(&s1), two = snap_dev(&s2);
        struct trouble t;
        const struct provider *p = &provider_zfs_thin;
        zfs_bed_init();
        assert_int_equal(p->create(&d, KIB, &t), 0);
        FAKE("_write", BED_PLACE "/data_00000", "first");
        assert_int_equal(p->snapshot(&d, &one, true, &t), 0);
        FAKE("_write", BED_PLACE "/data_00000", "second, and more");
        assert_int_equal(p->snapshot(&d, &two, true, &t), 0);
}

static void test_read(void **state)
{
        (void)state;
        make_source();
        struct buf all = read_all(&s1, NULL), more = read_all(&s2, &s1);
        assert_memory_equal(all.p, "ORSHIP1\n", 8);
        assert_memory_equal(more.p, "ORSHIP2\n", 8);
        /* one block of 1 MiB */
        assert_int_equal(all.n, SHIP_HEAD + SHIP_RECORD + 4096 + SHIP_RECORD + SHIP_HASH);
        assert_int_equal(more.n, all.n);
        assert_memory_equal(more.p + SHIP_HEAD + SHIP_RECORD, "second, and more", 16);
        assert_false(there("/ship_"));
        buf_done(&all);
        buf_done(&more);
        zfs_bed_done();
}

/* A difference onto a snapshot that was received itself; then that one goes, and takes along what held it. */
static void test_receive(void **state)
{
        (void)state;
        make_source();
        struct buf all = read_all(&s1, NULL), more = read_all(&s2, &s1);
        struct feed first = { .stream = &all }, second = { .stream = &more };
        struct trouble t;
        assert_int_equal(receive(&r1, NULL, &first), 0);
        assert_int_equal(receive(&r1, NULL, &first), 0);
        assert_int_equal(first.calls, 1); /* it was there */
        assert_int_equal(receive(&r2, &r1, &second), 0);
        holds(&r1, "first");
        holds(&r2, "second, and more");
        assert_false(there("/ship_"));
        struct dev one = snap_dev(&r1), two = snap_dev(&r2);
        assert_int_equal(provider_zfs_thin.remove(&one, &t), 0);
        assert_false(there("r1"));
        holds(&r2, "second, and more");
        assert_int_equal(provider_zfs_thin.remove(&two, &t), 0);
        assert_false(there(".deleted."));
        buf_done(&all);
        buf_done(&more);
        zfs_bed_done();
}

static void test_failures(void **state)
{
        (void)state;
        make_source();
        struct buf all = read_all(&s1, NULL);
        struct feed f = { .stream = &all, .fails = true };
        struct job j;
        struct buf out = { 0 };
        struct trouble t = { 0 };
        assert_int_equal(receive(&r1, NULL, &f), E_CLOSED);
        assert_false(there("/ship_") || there("r1"));
        /* what an attempt that died has left, with something in it */
        FAKE("create", "-s", "-o", "outrigger:volume=61000000:0:61100000:data", "-V", "1048576",
                BED_PLACE "/ship_cccccccc-dddd_00000_r");
        FAKE("_write", BED_PLACE "/ship_cccccccc-dddd_00000_r", "first half of another");
        f.fails = false;
        assert_int_equal(receive(&r1, NULL, &f), 0);
        holds(&r1, "first");
        /* a base that is gone, and one that never was */
        struct dev base = snap_dev(&s1);
        assert_int_equal(provider_zfs_thin.remove(&base, &t), 0);
        assert_true(receive(&r2, &s1, &f) < 0);
        job_open(&j, ship_kind_SEND, &s1, NULL);
        assert_true(ship_volume_read(&j.v, collect, &out, &t) < 0);
        assert_contains(t.message, "gone");
        assert_false(there("/ship_") || there("r2"));
        /* a size that is not what was announced */
        job_open(&j, ship_kind_SEND, &s2, NULL);
        SET(&j.vlm, sat_ship_vlm, size_kib, KIB - 16);
        assert_int_equal(ship_volume_read(&j.v, collect, &out, &t), E_INVALID);
        assert_int_equal(out.n, 0);
        assert_false(there("/ship_"));
        buf_done(&all);
        zfs_bed_done();
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_read), cmocka_unit_test(test_receive),
                cmocka_unit_test(test_failures) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
