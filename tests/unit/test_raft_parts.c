/* The driver's parts alone: frames, configurations, the log cache. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "raftctl/conf.h"
#include "raftctl/log_cache.h"
#include "raftctl/raft_codec.h"

/* ---- configurations ---- */

static void conf_of(unsigned n, struct buf *out)
{
        struct raft_configuration c, d;

        raft_configuration_init(&c);
        for (unsigned i = 1; i <= n; i++) {
                char a[16];
                (void)snprintf(a, sizeof(a), "host%u:1", i);
                assert_int_equal(conf_with_member(&c, i, a, i == 1 ? RAFT_VOTER : RAFT_STANDBY, &d), 0);
                raft_configuration_close(&c);
                c = d;
        }
        conf_encode(&c, out);
        raft_configuration_close(&c);
}

static void test_conf(void **state)
{
        struct raft_configuration c, d;
        struct buf b = { 0 };

        conf_of(CONF_MEMBERS_MAX, &b);
        assert_int_equal(conf_check(buf_blob(&b)), 0);
        assert_int_equal(conf_decode(buf_blob(&b), &c), 0);
        assert_int_equal(c.n, CONF_MEMBERS_MAX);
        assert_true(conf_is_sole_voter(&c, 1));
        assert_false(conf_is_voter(&c, 2));
        assert_int_equal(conf_with_member(&c, 99, "x", RAFT_SPARE, &d), E_LIMIT);
        conf_without(&c, 2, &d);
        assert_int_equal(d.n, CONF_MEMBERS_MAX - 1);
        assert_null(conf_find(&d, 2));
        raft_configuration_close(&c);
        assert_int_equal(conf_with_member(&d, 3, "x", RAFT_SPARE, &c), E_EXISTS);
        assert_int_equal(conf_with_member(&d, 99, "host3:1", RAFT_SPARE, &c), E_EXISTS);
        assert_int_equal(conf_with_member(&d, 0, "x", RAFT_SPARE, &c), E_INVALID);
        conf_with_role(&d, 3, RAFT_VOTER, &c);
        assert_int_equal(conf_voters(&c), 2);
        raft_configuration_close(&c);
        raft_configuration_close(&d);
        buf_done(&b);
}

/* No prefix and no changed byte may crash the core; what conf_check accepts, the core decodes. */
static void test_conf_damage(void **state)
{
        struct buf b = { 0 };
        struct raft_configuration c;

        conf_of(3, &b);
        for (size_t n = 0; n < b.n; n++) {
                uint8_t *copy = xmemdup(b.p, n ? n : 1);
                if (conf_check(BLOB(copy, n)) == 0) {
                        assert_int_equal(conf_decode(BLOB(copy, n), &c), 0);
                        raft_configuration_close(&c);
                }
                free(copy);
        }
        for (size_t i = 0; i < b.n; i++)
                for (unsigned v = 0; v < 256; v += 5) {
                        uint8_t old = b.p[i];
                        b.p[i] = (uint8_t)v;
                        if (conf_decode(buf_blob(&b), &c) == 0) raft_configuration_close(&c);
                        b.p[i] = old;
                }
        assert_int_equal(conf_check(BLOB(b.p, 20)), E_CORRUPT);
        b.p[1] = 0; /* no member at all */
        assert_int_equal(conf_check(buf_blob(&b)), E_CORRUPT);
        buf_done(&b);
}

/* ---- the log cache ---- */

static void put(struct log_cache *c, uint64_t index, uint64_t term, size_t n)
{
        char data[64] = { 0 };
        log_cache_append(c, entry_new(index, term, LOG_COMMAND, BLOB(data, n)));
}

static void test_log_cache(void **state)
{
        struct log_cache c = { 0 };
        struct entry *held;

        log_cache_reset(&c, 5);
        assert_null(log_cache_get(&c, 5));
        for (uint64_t i = 5; i < 1000; i++) put(&c, i, 1, 10);
        assert_int_equal(log_cache_get(&c, 5)->index, 5);
        assert_int_equal(log_cache_get(&c, 999)->index, 999);
        assert_null(log_cache_get(&c, 4));
        assert_null(log_cache_get(&c, 1000));
        held = entry_ref(log_cache_get(&c, 900));
        log_cache_truncate(&c, 800);
        assert_int_equal(c.last, 799);
        assert_int_equal(held->index, 900); /* a job still has it */
        entry_unref(held);
        put(&c, 800, 2, 10);
        assert_int_equal(log_cache_get(&c, 800)->term, 2);
        log_cache_evict(&c, 700, 0);
        assert_int_equal(c.first, 701); /* what is not durable or applied stays */
        assert_null(log_cache_get(&c, 700));
        log_cache_evict(&c, 800, 1);
        assert_int_equal(c.bytes, 0);
        assert_int_equal(c.first, 801);
        put(&c, 801, 2, 0);
        log_cache_truncate(&c, 1);
        assert_int_equal(c.last, 0);
        put(&c, 1, 3, 0);
        assert_int_equal(log_cache_get(&c, 1)->term, 3);
        log_cache_done(&c);
}

/* ---- frames ---- */

static struct arena arena;
static int decode(const void *msg, enum raft_frame kind)
{
        struct frame_header h = { .kind = kind, .incarnation = 7, .seq = 9 }, got;
        struct buf b = { 0 };
        void *ret = NULL;
        struct fail f;
        int err;

        frame_encode(&b, &h, msg);
        assert_int_equal(frame_header(buf_blob(&b), &got), 0);
        assert_int_equal(got.incarnation, 7);
        assert_int_equal(got.seq, 9);
        err = frame_decode(buf_blob(&b), &got, &arena, &ret, &f);
        for (size_t n = 0; n + 1 < b.n; n++) { /* cut anywhere: refused, not misread */
                uint8_t *copy = xmemdup(b.p, n ? n : 1);
                if (frame_header(BLOB(copy, n), &got) == 0)
                        assert_true(frame_decode(BLOB(copy, n), &got, &arena, &ret, &f) < 0);
                free(copy);
        }
        buf_done(&b);
        arena_reset(&arena);
        return err;
}

static void fill(struct rf_append *m, struct rf_entry *e, uint32_t n)
{
        *m = (struct rf_append){ 0 };
        SET(m, rf_append, term, 5);
        SET(m, rf_append, prev_index, 10);
        SET(m, rf_append, prev_term, 3);
        SET(m, rf_append, commit, 8);
        for (uint32_t i = 0; i < n; i++) {
                e[i] = (struct rf_entry){ 0 };
                SET(&e[i], rf_entry, term, 4);
                SET(&e[i], rf_entry, type, LOG_COMMAND);
                SET(&e[i], rf_entry, data, BLOB("x", 1));
        }
        if (n) SET(m, rf_append, entries, e);
        m->entries_n = n;
}

static void test_append(void **state)
{
        static struct rf_entry e[FRAME_ENTRIES_MAX + 1];
        struct rf_append m;

        fill(&m, e, 0);
        assert_int_equal(decode(&m, raft_frame_APPEND), 0);
        fill(&m, e, 3);
        assert_int_equal(decode(&m, raft_frame_APPEND), 0);
        e[1].term = 2; /* older than the one before */
        assert_int_equal(decode(&m, raft_frame_APPEND), E_PROTOCOL);
        fill(&m, e, 3);
        e[2].term = 6; /* newer than the leader */
        assert_int_equal(decode(&m, raft_frame_APPEND), E_PROTOCOL);
        fill(&m, e, 3);
        e[2].type = 4;
        assert_int_equal(decode(&m, raft_frame_APPEND), E_PROTOCOL);
        fill(&m, e, 3);
        e[2].type = LOG_CHANGE; /* not a configuration */
        assert_int_equal(decode(&m, raft_frame_APPEND), E_PROTOCOL);
        fill(&m, e, 1);
        m.prev_term = 0;
        assert_int_equal(decode(&m, raft_frame_APPEND), E_PROTOCOL);
        fill(&m, e, 1);
        m.prev_index = UINT64_MAX;
        assert_int_equal(decode(&m, raft_frame_APPEND), E_PROTOCOL);
        fill(&m, e, 1);
        m.term = 0;
        assert_int_equal(decode(&m, raft_frame_APPEND), E_PROTOCOL);
}

static void test_append_limit(void **state)
{
        static struct rf_entry e[FRAME_ENTRIES_MAX + 1];
        struct frame_header h = { .kind = raft_frame_APPEND };
        struct rf_append m;
        struct buf b = { 0 };
        struct fail f;
        void *ret;

        fill(&m, e, FRAME_ENTRIES_MAX);
        frame_encode(&b, &h, &m);
        assert_int_equal(frame_decode(buf_blob(&b), &h, &arena, &ret, &f), 0);
        assert_int_equal(((struct rf_append *)ret)->entries_n, FRAME_ENTRIES_MAX);
        fill(&m, e, FRAME_ENTRIES_MAX + 1);
        frame_encode(&b, &h, &m);
        assert_int_equal(frame_decode(buf_blob(&b), &h, &arena, &ret, &f), E_PROTOCOL);
        buf_done(&b);
        arena_reset(&arena);
}

static void test_others(void **state)
{
        struct rf_vote v = { 0 };
        struct rf_forward fw = { 0 };
        struct rf_snap_begin sb = { 0 };
        struct frame_header h;
        struct buf conf = { 0 };
        uint8_t junk[FRAME_HEADER_BYTES] = { raft_frame_N };

        SET(&v, rf_vote, term, 3);
        SET(&v, rf_vote, last_index, 4);
        SET(&v, rf_vote, last_term, 2);
        assert_int_equal(decode(&v, raft_frame_VOTE), 0);
        v.last_term = 4;
        assert_int_equal(decode(&v, raft_frame_VOTE), E_PROTOCOL);
        SET(&fw, rf_forward, attempt, 1);
        SET(&fw, rf_forward, id, BLOB("0123456789abcdef", 16));
        assert_int_equal(decode(&fw, raft_frame_FORWARD), 0);
        fw.id.n = 15;
        assert_int_equal(decode(&fw, raft_frame_FORWARD), E_PROTOCOL);
        conf_of(2, &conf);
        SET(&sb, rf_snap_begin, transfer, 1);
        SET(&sb, rf_snap_begin, term, 3);
        SET(&sb, rf_snap_begin, index, 10);
        SET(&sb, rf_snap_begin, last_term, 2);
        SET(&sb, rf_snap_begin, conf_index, 1);
        SET(&sb, rf_snap_begin, conf, buf_blob(&conf));
        assert_int_equal(decode(&sb, raft_frame_SNAP_BEGIN), 0);
        sb.conf_index = 11;
        assert_int_equal(decode(&sb, raft_frame_SNAP_BEGIN), E_PROTOCOL);
        assert_int_equal(frame_header(BLOB(junk, sizeof(junk)), &h), E_PROTOCOL);
        assert_int_equal(frame_header(BLOB(junk, sizeof(junk) - 1), &h), E_TRUNCATED);
        buf_done(&conf);
        arena_done(&arena);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_conf),
                cmocka_unit_test(test_conf_damage),
                cmocka_unit_test(test_log_cache),
                cmocka_unit_test(test_append),
                cmocka_unit_test(test_append_limit),
                cmocka_unit_test(test_others),
        };
        conf_heap_init();
        return cmocka_run_group_tests(tests, NULL, NULL);
}
