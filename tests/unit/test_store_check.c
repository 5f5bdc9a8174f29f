/* The offline examination of one member and the comparison of several, with planted faults. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "raftctl/check.h"
#include "raftctl/store_lmdb_internal.h"
#include "tests/lib/store_bed.h"

enum { TEXT_SIZE = 16384, ENTRIES = 40 };
static char text[TEXT_SIZE];

static void keep(void *arg, const char *line)
{
        size_t n = strlen(text);
        (void)arg;
        snprintf(text + n, sizeof text - n, "%s\n", line);
}

/* What a member has: entries 1..last, of which applied are applied; from odd_from on (0 = never) of another
 * term. */
struct plan {
        uint64_t last, applied, odd_from, trim_to;
        uint64_t member_id;
        const char *cluster;
        bool other_data; /* entry 20 has other content under the same term */
};

static void make_member(struct bed *b, const struct plan *p)
{
        struct arena a = { 0 };
        struct log_entry e[ENTRIES + 1];
        struct store_start st;
        struct store_identity id = { .member_id = p->member_id };
        snprintf(id.cluster_uuid, sizeof id.cluster_uuid, "%s", p->cluster);
        bed_init(b, true);
        assert_int_equal(b->s->ops->load(b->s, &a, &st, NULL), 0);
        assert_int_equal(store_lmdb_set_identity(b->s, &id), 0);
        for (uint64_t i = 1; i <= p->last; i++) {
                uint64_t term = p->odd_from != 0 && i >= p->odd_from ? 2 : 1;
                e[i] = make_entry(&a, i, term, i - 1);
                if (p->other_data && i == 20)
                        e[i] = (struct log_entry){ .index = i, .term = term, .type = LOG_BARRIER };
                if (p->other_data && i == 21) e[i] = make_entry(&a, i, term, 19);
        }
        struct store_job job = {
                .set_vote = true, .term = 5, .entries = &e[1], .entries_n = (uint32_t)p->last
        };
        job.apply = &e[1];
        job.apply_n = (uint32_t)p->applied;
        if (p->trim_to != 0) {
                job.set_snapshot = true;
                job.snapshot = (struct snapshot_meta){ p->trim_to, 1, 1, BLOB("conf", 4) };
                job.trim_to = p->trim_to;
                job.apply_n = (uint32_t)p->trim_to;
                assert_int_equal(run_job(b, &job), 0);
                job = (struct store_job){ .apply = &e[p->trim_to + 1],
                        .apply_n = (uint32_t)(p->applied - p->trim_to) };
        }
        assert_int_equal(run_job(b, &job), 0);
        arena_done(&a);
        bed_close(b);
}

/* want NULL: sound. */
static void compare(const struct plan *pa, const struct plan *pb, const char *want)
{
        struct bed a, b;
        struct store_summary sums[2];
        make_member(&a, pa);
        make_member(&b, pb);
        const char *dirs[] = { a.dir, b.dir };
        text[0] = '\0';
        int found = check_members(dirs, 2, keep, NULL, sums, NULL);
        if (want == NULL && found != 0) fail_msg("found %d: %s", found, text);
        if (want != NULL && (found <= 0 || strstr(text, want) == NULL))
                fail_msg("\"%s\" not in %d: %s", want, found, text);
        assert_int_equal(sums[0].applied.index, pa->applied);
        assert_int_equal(sums[1].log_last, pb->last);
        assert_int_equal(sums[1].log_first, pb->trim_to + 1);
        bed_done(&a);
        bed_done(&b);
}

static void test_compare(void **state)
{
        (void)state;
        const struct plan base = { .last = 40, .applied = 30, .member_id = 1, .cluster = "c" };
        struct plan p = base;
        p.member_id = 2;
        compare(&base, &p, NULL);
        p.applied = 20; /* behind: its hash is brought forward by the other's log */
        compare(&base, &p, NULL);
        p.trim_to = 10;
        compare(&p, &base, NULL);
        p = base;
        p.member_id = 2;
        p.odd_from = 35; /* nobody applied it: allowed */
        compare(&base, &p, NULL);
        p.odd_from = 25; /* both did */
        compare(&base, &p, "both applied entry 25");
        p.odd_from = 0;
        p.other_data = true;
        compare(&base, &p, "entry 20 of term 1 differs");
        compare(&base, &p, "hashes differ");
        p.applied = 25;
        compare(&base, &p, "diverged");
        p = base;
        compare(&base, &p, "same member");
        p.member_id = 2;
        p.cluster = "d";
        compare(&base, &p, "different clusters");
}

/* Changes one row behind the store's back. */
static void plant(const struct bed *b, enum member_db db, struct blob key, struct blob value)
{
        char path[128];
        struct kv_lmdb *kv;
        struct kv_lmdb_txn *t;
        struct fail f;
        snprintf(path, sizeof path, "%s/member.mdb", b->dir);
        struct kv_lmdb_config config = { .path = path, .dbs = member_dbs, .dbs_n = DB_N };
        assert_int_equal(kv_lmdb_open(&config, &kv, &f), 0);
        assert_int_equal(kv_lmdb_write(kv, &t), 0);
        if (value.p != NULL) assert_int_equal(tx_put(kv_lmdb_tx(t, db), key, value), 0);
        else assert_int_equal(tx_del(kv_lmdb_tx(t, db), key), 0);
        assert_int_equal(kv_lmdb_commit(t), 0);
        kv_lmdb_close(kv);
}

static void planted(enum member_db db, struct blob key, struct blob value, const char *want)
{
        struct bed b;
        const struct plan p = { .last = 40, .applied = 30, .member_id = 1, .cluster = "c" };
        make_member(&b, &p);
        assert_int_equal(store_lmdb_check(b.dir, keep, NULL, NULL), 0);
        plant(&b, db, key, value);
        text[0] = '\0';
        int found = store_lmdb_check(b.dir, keep, NULL, NULL);
        if (found <= 0 || strstr(text, want) == NULL) fail_msg("\"%s\" not in %d: %s", want, found, text);
        bed_done(&b);
}

static void test_planted(void **state)
{
        (void)state;
        static const uint8_t row10[8] = { [7] = 10 }, row41[8] = { [7] = 41 };
        static const uint8_t low_term[9] = { [7] = 0, [8] = LOG_BARRIER },
                             junk[12] = { [7] = 1, [8] = LOG_COMMAND, 0xc1 };
        static const uint8_t format[8] = { [7] = 99 }, vote[16] = { 0 };
        planted(DB_LOG, BLOB(row10, 8), (struct blob){ 0 }, "log row 11: rows are missing");
        planted(DB_LOG, BLOB(row41, 8), BLOB(low_term, 9), "its term is below");
        planted(DB_LOG, BLOB(row41, 8), BLOB(junk, 12), "log row 41: no write-set");
        planted(DB_META, BLOB("format", 6), BLOB(format, 8), "incompatible");
        planted(DB_META, BLOB("vote", 4), BLOB(vote, 16), "later term");
        planted(DB_STATE0, BLOB("\0\0a", 3), (struct blob){ 0 }, "does not say up to which");
        planted(DB_STATE0, BLOB("\0\26A\0", 4), BLOB("\xc1", 1), "decoded");
}

static void test_cannot_look(void **state)
{
        (void)state;
        struct bed b;
        const struct plan p = { .last = 40, .applied = 30, .member_id = 1, .cluster = "c" };
        const char *dirs[] = { "/nonexistent" };
        text[0] = '\0';
        struct check_verdict v;
        assert_int_equal(check_members(dirs, 1, keep, NULL, NULL, &v), 1);
        assert_int_equal(v.newest, -1);
        make_member(&b, &p);
        bed_open(&b);
        assert_int_equal(store_lmdb_check(b.dir, keep, NULL, NULL), E_BUSY); /* a running member */
        bed_done(&b);
}

/* The newest log wins as in an election; what cannot be read does not stop the comparison. */
static void test_verdict(void **state)
{
        (void)state;
        struct bed longer, later;
        struct check_verdict v;
        const struct plan a = { .last = 40, .applied = 20, .member_id = 1, .cluster = "c" },
                          b = { .last = 35, .applied = 30, .odd_from = 33, .member_id = 2, .cluster = "c" };
        make_member(&longer, &a);
        make_member(&later, &b);
        const char *dirs[] = { "/nonexistent", longer.dir, later.dir };
        text[0] = '\0';
        int found = check_members(dirs, 3, keep, NULL, NULL, &v);
        if (found != 1) fail_msg("found %d: %s", found, text);
        assert_false(v.sound[0]);
        assert_true(v.sound[1] && v.sound[2]);
        assert_int_equal(v.newest, 2);
        assert_int_equal(v.committed, 30);
        bed_done(&longer);
        bed_done(&later);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_compare),
                cmocka_unit_test(test_planted),
                cmocka_unit_test(test_cannot_look),
                cmocka_unit_test(test_verdict),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
