/* Each guard of the driver twice: with it the hole is closed; without it the hole is there, so that the first
 * half proves something. (S3, L4 and V1 are found by the simulator as well: tests/sim/guards.sh.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/raft_rig.h"

static void off(enum guard g) { guards_off = 1u << g; }
static int reset(void **state)
{
        guards_off = 0;
        return 0;
}

static struct raft *core(struct rig *r, unsigned no) { return &r->nodes[no].driver->raft; }

static struct rf_entry entry(uint64_t term, unsigned type, struct blob data)
{
        struct rf_entry e = { 0 };
        SET(&e, rf_entry, term, term);
        SET(&e, rf_entry, type, type);
        SET(&e, rf_entry, data, data);
        return e;
}

static void append(struct rig *r, unsigned to, unsigned from, uint64_t seq, uint64_t term, uint64_t prev,
        uint64_t prev_term, uint64_t commit, struct rf_entry *entries, uint32_t n)
{
        struct rf_append m = { 0 };
        SET(&m, rf_append, term, term);
        SET(&m, rf_append, prev_index, prev);
        SET(&m, rf_append, prev_term, prev_term);
        SET(&m, rf_append, commit, commit);
        SET(&m, rf_append, entries, entries);
        m.entries_n = n;
        rig_inject(r, to, from, raft_frame_APPEND, &m, seq);
        rig_pump(r);
}

static void four_voters(struct buf *out)
{
        struct raft_configuration c, d;

        raft_configuration_init(&c);
        for (unsigned i = 1; i <= 4; i++) {
                char a[4] = { (char)('0' + i), 0 };
                assert_int_equal(conf_with_member(&c, i, a, RAFT_VOTER, &d), 0);
                raft_configuration_close(&c);
                c = d;
        }
        conf_encode(&c, out);
        raft_configuration_close(&c);
}

/* ---- S1: a change that is not the first new entry, then another leader overwrites it: back to three members
 * ---- */

static unsigned s1_members(void)
{
        struct rig *r = rig_new();
        struct buf conf = { 0 };
        struct rf_entry e[2], f;
        unsigned n;

        four_voters(&conf);
        rig_boot(r, 2, "vvv");
        e[0] = entry(2, LOG_BARRIER, BLOB("", 0));
        e[1] = entry(2, LOG_CHANGE, buf_blob(&conf));
        append(r, 2, 1, 1, 2, 1, 1, 2, e, 2);
        assert_int_equal(core(r, 2)->configuration.n, 4);
        f = entry(3, LOG_BARRIER, BLOB("", 0));
        append(r, 2, 3, 1, 3, 2, 2, 2, &f, 1);
        n = core(r, 2)->configuration.n;
        buf_done(&conf);
        rig_free(r);
        return n;
}
static void test_s1(void **state)
{
        assert_int_equal(s1_members(), 3);
        off(GUARD_S1);
        assert_int_equal(s1_members(), 4);
}

/* ---- S2: two leaders change the configuration before they have committed anything of their terms ---- */

static void on_change(void *arg, int err, const char *why) { *(int *)arg = err; }
static int change(struct rig *r, unsigned no, enum member_change what, uint64_t id)
{
        int err = 1;
        driver_change(r->nodes[no].driver, what, id, "x", r->now + 100000, on_change, &err);
        rig_pump(r);
        return err; /* 1 = under way; what err points to is gone when the rig is freed, see below */
}

static bool committed_twice(struct rig *r)
{
        for (unsigned a = 1; a <= 5; a++)
                for (unsigned b = 1; b < a; b++) {
                        uint64_t upto = MIN(raft_commit_index(&r->nodes[a].driver->raft),
                                raft_commit_index(&r->nodes[b].driver->raft));
                        for (uint64_t i = 1; i <= upto; i++)
                                if (step_term_of(r->nodes[a].driver, i) !=
                                        step_term_of(r->nodes[b].driver, i))
                                        return true;
                }
        return false;
}

static int s2_errs[2];
static bool s2_run(void)
{
        struct rig *r = rig_new();
        bool bad;

        for (unsigned i = 1; i <= 5; i++) rig_boot(r, i, "vvvvs");
        rig_links(r, "1234");
        for (unsigned i = 2; i <= 4; i++) r->drop_kinds[i] = 1u << raft_frame_APPEND;
        rig_tick(r, 1, 3000); /* elected; its barrier reaches nobody but 5 */
        assert_int_equal(core(r, 1)->state, RAFT_LEADER);
        rig_links(r, "15");
        rig_tick(r, 1, 150);
        rig_tick(r, 1, 150);
        r->nodes[1].driver->change.active = false;
        s2_errs[0] = 1;
        driver_change(r->nodes[1].driver, CHANGE_PROMOTE, 5, NULL, r->now + 1000000, on_change, &s2_errs[0]);
        rig_tick(r, 1, 150);
        rig_links(r, "234");
        r->drop_kinds[3] = 0;
        for (unsigned k = 0; k < 6 && core(r, 2)->state != RAFT_LEADER; k++) rig_tick(r, 2, 3000);
        assert_int_equal(core(r, 2)->state, RAFT_LEADER);
        rig_links(r, "23");
        s2_errs[1] = 1;
        driver_change(r->nodes[2].driver, CHANGE_REMOVE, 1, NULL, r->now + 1000000, on_change, &s2_errs[1]);
        rig_tick(r, 2, 150);
        rig_tick(r, 2, 150);
        for (unsigned i = 1; i <= 5; i++) r->drop_kinds[i] = 0;
        rig_links(r, "145");
        for (unsigned k = 0; k < 9 && (core(r, 1)->state != RAFT_LEADER || raft_current_term(core(r, 1)) < 4);
                k++)
                rig_tick(r, 1, 3000);
        for (unsigned k = 0; k < 4; k++) rig_tick(r, 1, 150);
        bad = committed_twice(r);
        rig_free(r);
        return bad;
}
static void test_s2(void **state)
{
        assert_false(s2_run());
        assert_int_equal(s2_errs[0], E_BUSY);
        assert_int_equal(s2_errs[1], E_BUSY);
        off(GUARD_S2);
        assert_true(s2_run());
}

/* ---- S3 ---- */

static uint64_t s3_term(void)
{
        struct rig *r = rig_new();
        uint64_t term;

        rig_boot(r, 1, "vs");
        assert_int_equal(core(r, 1)->state, RAFT_LEADER);
        term = raft_current_term(core(r, 1));
        rig_free(r);
        return term;
}
static void test_s3(void **state)
{
        assert_int_equal(s3_term(), 2); /* durable before it leads: the store was asked for it first */
        off(GUARD_S3);
        assert_int_equal(s3_term(), 1); /* leads the term of its former life */
}

/* ---- L1: a stale rejection while probing stops replication for the rest of the term ---- */

static void vote_result(struct rig *r, uint64_t seq, bool pre)
{
        struct rf_vote_result m = { 0 };
        SET(&m, rf_vote_result, term, 2);
        SET(&m, rf_vote_result, granted, true);
        SET(&m, rf_vote_result, pre, pre);
        rig_inject(r, 1, 2, raft_frame_VOTE_RESULT, &m, seq);
        rig_pump(r);
}
static void result(struct rig *r, uint64_t seq, uint64_t rejected, uint64_t last)
{
        struct rf_append_result m = { 0 };
        SET(&m, rf_append_result, term, 2);
        SET(&m, rf_append_result, rejected, rejected);
        SET(&m, rf_append_result, last_index, last);
        rig_inject(r, 1, 2, raft_frame_APPEND_RESULT, &m, seq);
        rig_pump(r);
}
static void on_reply(void *arg, int err, uint64_t index, uint64_t term, struct blob reply)
{
        *(int *)arg = err == 0 ? (int)index : err;
}
static bool l1_replicates(void)
{
        static const uint8_t id[REQUEST_ID_SIZE] = { 1 };
        char big[2000];
        struct rig *r = rig_new();
        static int got;
        bool sent;

        memset(big, 'x', sizeof(big));
        rig_boot(r, 1, "vv");
        rig_tick(r, 1, 3000);
        vote_result(r, 1, true);
        vote_result(r, 2, false);
        assert_int_equal(core(r, 1)->state, RAFT_LEADER);
        result(r, 3, 0, 2); /* the barrier */
        rig_tick(r, 1, 150);
        rig_tick(r, 1, 150); /* nothing heard since the last look: the core probes */
        result(r, 4, 2, 1);  /* an old refusal of what has been acknowledged since */
        driver_submit(r->nodes[1].driver, id, BLOB(big, sizeof(big)), r->now + 100000, on_reply, &got);
        r->largest[raft_frame_APPEND] = 0;
        for (unsigned i = 0; i < 3; i++) rig_tick(r, 1, 120);
        sent = r->largest[raft_frame_APPEND] > 80; /* an entry, not only heartbeats */
        rig_free(r);
        return sent;
}
static void test_l1(void **state)
{
        assert_true(l1_replicates());
        off(GUARD_L1);
        assert_false(l1_replicates());
}

/* Frames twice or late do not reach the core. */
static void test_l1_order(void **state)
{
        struct rig *r = rig_new();
        struct rf_entry e = entry(2, LOG_BARRIER, BLOB("", 0));

        rig_boot(r, 2, "vvv");
        append(r, 2, 1, 5, 2, 1, 1, 1, &e, 1);
        assert_int_equal(rig_status(r, 2).last_index, 2);
        append(r, 2, 1, 5, 2, 2, 2, 1, &e, 1);
        append(r, 2, 1, 4, 2, 2, 2, 1, &e, 1);
        assert_int_equal(rig_status(r, 2).last_index, 2);
        append(r, 2, 1, 6, 2, 2, 2, 1, &e, 1);
        assert_int_equal(rig_status(r, 2).last_index, 3);
        rig_free(r);
}

/* ---- L4: the core's timer of a leader with a spare stays in the past ---- */

static bool l4_rests(void)
{
        struct rig *r = rig_new();
        bool rests = true;

        for (unsigned i = 1; i <= 3; i++) rig_boot(r, i, "vvv");
        rig_links(r, "123");
        rig_tick(r, 1, 3000);
        for (unsigned i = 0; i < 3; i++) rig_tick(r, 1, 150);
        assert_int_equal(change(r, 1, CHANGE_DEMOTE, 3), 0);
        assert_int_equal(change(r, 1, CHANGE_DEMOTE, 3), 0);
        for (unsigned i = 0; i < 5; i++) {
                rig_tick(r, 1, 150);
                rests &= driver_deadline_ms(r->nodes[1].driver) > r->now - APPLY_LAZY_MS - 1;
        }
        rig_free(r);
        return rests;
}
static void test_l4(void **state)
{
        assert_true(l4_rests());
        off(GUARD_L4);
        assert_false(l4_rests());
}

/* ---- N2: while a snapshot waits to be installed, stale entries of the old log must not be applied ---- */

static uint64_t n2_applied_stale(void)
{
        struct rig *r = rig_new();
        uint64_t applied;

        guards_off |= 1u << GUARD_L1; /* a short log tail, so that few entries do */
        r->snapshot_entries = 10;
        r->trailing = 1;
        for (unsigned i = 1; i <= 5; i++) rig_boot(r, i, "vvvvv");
        rig_links(r, "12345");
        rig_tick(r, 1, 3000);
        rig_links(r, "12");
        r->drop_kinds[1] = 1u << raft_frame_APPEND_RESULT;
        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(step_submit(r->nodes[1].driver, LOG_BARRIER, BLOB(NULL, 0), NULL), 0);
        rig_tick(r, 1, 150); /* 2 has entries now that will never be committed */
        rig_links(r, "345");
        for (unsigned k = 0; k < 9 && core(r, 3)->state != RAFT_LEADER; k++) rig_tick(r, 3, 3000);
        assert_int_equal(core(r, 3)->state, RAFT_LEADER);
        for (unsigned i = 0; i < 30; i++) {
                assert_int_equal(step_submit(r->nodes[3].driver, LOG_BARRIER, BLOB(NULL, 0), NULL), 0);
                rig_tick(r, 3, 150);
        }
        assert_true(rig_status(r, 3).snapshot_index > 10);
        guards_off &= ~(1u << GUARD_L1);
        rig_links(r, "23");
        r->nodes[2].disk_held = true;
        for (unsigned i = 0; i < 40 && r->nodes[2].driver->recv.state != RECV_LOADING; i++) {
                rig_tick(r, 3, 50);
                if (r->nodes[2].driver->recv.state != RECV_LOADING) rig_disk(r, 2);
        }
        r->nodes[2].driver->job.busy = true; /* as if one were on its way when the last chunk is written */
        r->nodes[2].disk_held = false;
        rig_pump(r);
        assert_true(r->nodes[2].driver->installing);
        rig_tick(r, 3, 150); /* a heartbeat raises the commit index of 2 to that of the snapshot */
        r->nodes[2].disk_held = true;
        r->nodes[2].driver->job.busy = false;
        driver_tick(r->nodes[2].driver);
        r->now += APPLY_LAZY_MS + 1;
        driver_tick(r->nodes[2].driver);
        rig_disk(r, 2);
        applied = rig_status(r, 2).applied_index;
        rig_free(r);
        return applied;
}
static void test_n2(void **state)
{
        uint64_t with = n2_applied_stale();
        assert_true(with > 10); /* the snapshot's */
        off(GUARD_N2);
        assert_in_range(n2_applied_stale(), 3, 5); /* of a leader that was deposed */
}

/* ---- N5: a leader that was silent for an election timeout does not keep members from voting ---- */

static uint64_t n5_vote(void)
{
        struct rig *r = rig_new();
        struct rf_vote m = { 0 };
        uint64_t vote;

        rig_boot(r, 2, "vvv");
        append(r, 2, 1, 1, 2, 1, 1, 1, NULL, 0);
        assert_int_equal(rig_status(r, 2).leader_id, 1);
        SET(&m, rf_vote, term, 3);
        SET(&m, rf_vote, last_index, 1);
        SET(&m, rf_vote, last_term, 1);
        r->now += 900;
        rig_inject(r, 2, 3, raft_frame_VOTE, &m, 1);
        assert_int_equal(raft_voted_for(core(r, 2)), 0); /* heard a moment ago */
        r->now += 200;
        rig_inject(r, 2, 3, raft_frame_VOTE, &m, 2);
        vote = raft_voted_for(core(r, 2));
        rig_free(r);
        return vote;
}
static void test_n5(void **state)
{
        assert_int_equal(n5_vote(), 3);
        off(GUARD_N5);
        assert_int_equal(n5_vote(), 0);
}

/* ---- V1: the promotion has not reached the member without whose vote nobody can lead ---- */

static bool v1_recovers(void)
{
        struct rig *r = rig_new();
        int err = 1;
        bool leads;

        rig_boot(r, 1, "vs");
        rig_boot(r, 2, "vs");
        rig_links(r, "12");
        for (unsigned i = 0; i < 4; i++) rig_tick(r, 1, 150);
        rig_links(r, "1");
        driver_change(r->nodes[1].driver, CHANGE_PROMOTE, 2, NULL, r->now + 100000, on_change, &err);
        rig_pump(r);
        for (unsigned i = 0; i < 4; i++) rig_tick(r, 1, 600); /* nobody answers: it steps down */
        assert_int_not_equal(core(r, 1)->state, RAFT_LEADER);
        r->drop_kinds[1] = 0;
        r->drop_kinds[2] = 0;
        rig_links(r, "12");
        for (unsigned i = 0; i < 4; i++) rig_tick(r, 1, 3000);
        leads = core(r, 1)->state == RAFT_LEADER;
        rig_free(r);
        return leads;
}
static void test_v1(void **state)
{
        assert_true(v1_recovers());
        off(GUARD_V1);
        assert_false(v1_recovers());
}

/* ---- P1: the longest log has an old term, the new term has a short log, and each needs the other's vote
 * ---- */

static bool p1_elects(void)
{
        struct rig *r = rig_new();
        struct rf_entry e = entry(2, LOG_BARRIER, BLOB("", 0));
        struct rf_vote v = { 0 };
        bool leads = false;

        rig_boot(r, 1, "vv");
        rig_boot(r, 2, "vv");
        append(r, 1, 3, 1, 2, 1, 1, 1, &e, 1);
        SET(&v, rf_vote, term, 9);
        SET(&v, rf_vote, last_index, 0);
        SET(&v, rf_vote, last_term, 0);
        rig_inject(r, 2, 3, raft_frame_VOTE, &v, 1);
        rig_pump(r);
        assert_int_equal(rig_status(r, 2).term, 9);
        rig_links(r, "12");
        for (unsigned i = 0; i < 12 && !leads; i++) {
                rig_tick(r, 1 + i % 2, 3000);
                leads = core(r, 1)->state == RAFT_LEADER;
        }
        rig_free(r);
        return leads;
}
static void test_p1(void **state)
{
        assert_true(p1_elects());
        off(GUARD_P1);
        assert_false(p1_elects());
}

/* ---- FAST ---- */

static uint64_t fast_wait(void)
{
        struct rig *r = rig_new();
        uint64_t ms;

        rig_boot(r, 2, "vvv");
        driver_link(r->nodes[2].driver, 1, true, false);
        append(r, 2, 1, 1, 2, 1, 1, 1, NULL, 0);
        driver_link(r->nodes[2].driver, 1, false, true);
        ms = r->nodes[2].driver->timer_ms - r->now;
        rig_free(r);
        return ms;
}
static void test_fast(void **state)
{
        assert_in_range(fast_wait(), 1, 300);
        off(GUARD_FAST);
        assert_in_range(fast_wait(), 900, 2100);
}

/* ---- RETRY: an election that was refused is tried again soon, and in advance again ---- */

struct retry {
        uint64_t wait_ms, term;
        bool pre;
};
static struct retry retry_run(void)
{
        struct rig *r = rig_new();
        struct retry seen;
        struct rf_vote_result m = { 0 };

        rig_boot(r, 2, "vvv");
        rig_tick(r, 2, 3000);
        assert_int_equal(core(r, 2)->state, RAFT_CANDIDATE);
        SET(&m, rf_vote_result, term, raft_current_term(core(r, 2)) + 1);
        SET(&m, rf_vote_result, granted, true);
        SET(&m, rf_vote_result, pre, true);
        rig_inject(r, 2, 1, raft_frame_VOTE_RESULT, &m, 1);
        rig_pump(r);
        assert_false(core(r, 2)->candidate_state.in_pre_vote); /* the others would, and then they do not */
        SET(&m, rf_vote_result, granted, false);
        SET(&m, rf_vote_result, pre, false);
        rig_inject(r, 2, 1, raft_frame_VOTE_RESULT, &m, 2);
        rig_pump(r);
        seen.wait_ms = r->nodes[2].driver->timer_ms - r->now;
        rig_tick(r, 2, 3000);
        seen.pre = core(r, 2)->candidate_state.in_pre_vote;
        seen.term = raft_current_term(core(r, 2));
        rig_free(r);
        return seen;
}
static void test_retry(void **state)
{
        struct retry seen = retry_run();
        assert_in_range(seen.wait_ms, 1, 300);
        assert_true(seen.pre);
        assert_int_equal(seen.term, 2);
        off(GUARD_RETRY);
        seen = retry_run();
        assert_in_range(seen.wait_ms, 900, 2100);
        assert_false(seen.pre);
        assert_int_equal(seen.term, 3);
}

/* ---- LEARN: the only member with a majority around it lacks an entry that its voters have ---- */

static bool learn_elects(void)
{
        struct rig *r = rig_new();
        struct rf_entry e[2] = { entry(2, LOG_BARRIER, BLOB("", 0)), entry(2, LOG_BARRIER, BLOB("", 0)) };
        bool leads = false;

        for (unsigned i = 1; i <= 3; i++) rig_boot(r, i, "vvvvv");
        append(r, 1, 4, 1, 2, 1, 1, 1, e, 2);
        append(r, 3, 4, 1, 2, 1, 1, 1, e, 2);
        append(r, 2, 4, 1, 2, 1, 1, 1, e, 1);
        rig_links(r, "123");
        r->allow[1][3] = r->allow[3][1] = false;
        r->now += 3000;
        for (unsigned i = 0; i < 12 && !leads; i++) {
                rig_tick(r, 1 + i % 3, 3000);
                leads = core(r, 2)->state == RAFT_LEADER;
        }
        rig_free(r);
        return leads;
}
static void test_learn(void **state)
{
        assert_true(learn_elects());
        off(GUARD_LEARN);
        assert_false(learn_elects());
}

/* A lesson replaces entries in a new term only: in its own term a member may have acknowledged them. */
static uint64_t lesson_taken(uint64_t term, uint64_t prev, uint64_t entry_term)
{
        struct rig *r = rig_new();
        struct rf_entry e[2] = { entry(entry_term, LOG_BARRIER, BLOB("", 0)),
                entry(entry_term, LOG_BARRIER, BLOB("", 0)) };
        struct rf_append m = { 0 };
        uint64_t got;

        rig_boot(r, 2, "vvv");
        append(r, 2, 1, 1, 2, 1, 1, 1, e, 0);
        struct rf_entry mine = entry(2, LOG_BARRIER, BLOB("", 0));
        append(r, 2, 1, 2, 4, 1, 1, 1, &mine, 1);
        rig_tick(r, 2, 3000); /* the leader is silent */
        SET(&m, rf_append, term, term);
        SET(&m, rf_append, prev_index, prev);
        SET(&m, rf_append, prev_term, prev == 1 ? 1 : 2);
        SET(&m, rf_append, entries, e);
        m.entries_n = 2;
        rig_inject(r, 2, 3, raft_frame_LESSON, &m, 1);
        rig_pump(r);
        got = step_term_of(r->nodes[2].driver, prev + 2);
        assert_int_equal(raft_commit_index(core(r, 2)), 1);
        assert_int_equal(rig_status(r, 2).leader_id, 0);
        rig_free(r);
        return got;
}
static void test_lesson(void **state)
{
        assert_int_equal(lesson_taken(4, 2, 3), 3); /* adds */
        assert_int_equal(lesson_taken(4, 1, 3), 0); /* would replace what the leader of this term counts on */
        assert_int_equal(lesson_taken(5, 1, 3), 3); /* nothing was acknowledged in that term */
        assert_int_equal(lesson_taken(5, 1, 1), 0); /* older than what is there */
}

/* ---- SNAP: a snapshot that was lost on its way, while the leader makes newer ones ---- */

static bool snap_arrives(void)
{
        struct rig *r = rig_new();
        bool arrived = false;

        r->snapshot_entries = 10;
        r->trailing = 1;
        for (unsigned i = 1; i <= 3; i++) rig_boot(r, i, "vvv");
        rig_links(r, "123");
        rig_tick(r, 1, 3000);
        rig_links(r, "12");
        for (unsigned i = 0; i < TRAILING_MIN + 40; i++) {
                assert_int_equal(step_submit(r->nodes[1].driver, LOG_BARRIER, BLOB(NULL, 0), NULL), 0);
                rig_tick(r, 1, 10);
        }
        r->drop_kinds[3] = 1U << raft_frame_SNAP_BEGIN | 1U << raft_frame_SNAP_CHUNK;
        rig_links(r, "123");
        for (unsigned i = 0; i < 5; i++) rig_tick(r, 1, 100);
        assert_true(r->sent[raft_frame_SNAP_BEGIN] > 0);
        for (unsigned i = 0; i < 40; i++) { /* more than one snapshot for each heartbeat */
                assert_int_equal(step_submit(r->nodes[1].driver, LOG_BARRIER, BLOB(NULL, 0), NULL), 0);
                r->now += APPLY_LAZY_MS + 1;
                rig_pump(r);
        }
        r->drop_kinds[3] = 0;
        for (unsigned i = 0; i < 150 && !arrived;
                i++) { /* 15 s: the core gives such a snapshot up after 30 */
                rig_tick(r, 1, 100);
                arrived = rig_status(r, 3).applied_index == rig_status(r, 1).applied_index;
        }
        rig_free(r);
        return arrived;
}
static void test_snap(void **state)
{
        assert_true(snap_arrives());
        off(GUARD_SNAP);
        assert_false(snap_arrives());
}

/* ---- KEEP: what was applied is not replaced, though the commit index begins anew ---- */

static bool keep_keeps(void)
{
        struct rig *r = rig_new();
        struct rf_entry old = entry(2, LOG_BARRIER, BLOB("", 0)), other = entry(5, LOG_BARRIER, BLOB("", 0));
        bool kept;

        rig_boot(r, 2, "vvv");
        append(r, 2, 1, 1, 2, 1, 1, 2, &old, 1);
        assert_int_equal(rig_status(r, 2).applied_index, 2);
        rig_restart(r, 2);
        assert_int_equal(rig_status(r, 2).commit_index, 1);
        assert_int_equal(rig_status(r, 2).applied_index, 2);
        append(r, 2, 3, 1, 5, 1, 1, 1, &other, 1);
        kept = step_term_of(r->nodes[2].driver, 2) == 2;
        if (kept) assert_int_equal(r->nodes[2].fatal, E_CORRUPT);
        rig_free(r);
        return kept;
}

static void test_keep(void **state)
{
        assert_true(keep_keeps());
        off(GUARD_KEEP);
        assert_false(keep_keeps());
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(test_s1, reset),
                cmocka_unit_test_setup(test_s2, reset),
                cmocka_unit_test_setup(test_s3, reset),
                cmocka_unit_test_setup(test_l1, reset),
                cmocka_unit_test_setup(test_l1_order, reset),
                cmocka_unit_test_setup(test_l4, reset),
                cmocka_unit_test_setup(test_n2, reset),
                cmocka_unit_test_setup(test_n5, reset),
                cmocka_unit_test_setup(test_v1, reset),
                cmocka_unit_test_setup(test_p1, reset),
                cmocka_unit_test_setup(test_fast, reset),
                cmocka_unit_test_setup(test_retry, reset),
                cmocka_unit_test_setup(test_learn, reset),
                cmocka_unit_test_setup(test_lesson, reset),
                cmocka_unit_test_setup(test_snap, reset),
                cmocka_unit_test_setup(test_keep, reset),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
