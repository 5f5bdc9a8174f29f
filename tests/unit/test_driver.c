/* Directed scenarios of the driver: exactly once over a change of leaders, refusals, limits, reads that must
 * not be answered by a deposed leader, durability of the vote, a full disk, a state that differs, founding.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/lib/raft_rig.h"

struct answer {
        int n, err;
        uint64_t index;
        char text[16];
};
static void on_reply(void *arg, int err, uint64_t index, uint64_t term, struct blob reply)
{
        struct answer *a = arg;
        a->n++;
        a->err = err;
        a->index = index;
        memset(a->text, 0, sizeof(a->text));
        if (reply.n) memcpy(a->text, reply.p, MIN(reply.n, sizeof(a->text) - 1));
}
static void on_read(void *arg, int err, uint64_t index, uint64_t term)
{
        struct answer *a = arg;
        a->n++;
        a->err = err;
        a->index = index;
}

static void submit(struct rig *r, unsigned no, uint8_t id, const char *request, uint64_t ms, struct answer *a)
{
        uint8_t full[REQUEST_ID_SIZE] = { id };

        *a = (struct answer){ 0 };
        driver_submit(r->nodes[no].driver, full, BLOB(request, strlen(request)), r->now + ms, on_reply, a);
        assert_int_equal(a->n, 0); /* never from inside */
        rig_pump(r);
}

static struct rig *three(unsigned leader)
{
        struct rig *r = rig_new();

        for (unsigned i = 1; i <= 3; i++) rig_boot(r, i, "vvv");
        rig_links(r, "123");
        rig_tick(r, leader, 3000);
        rig_tick(r, leader, 150);
        assert_int_equal(rig_status(r, leader).state, DRIVER_LEADER);
        return r;
}

static void test_submit_anywhere(void **state)
{
        struct rig *r = three(1);
        struct answer a, b;

        submit(r, 1, 1, "x", 5000, &a);
        assert_int_equal(a.n, 1);
        assert_int_equal(a.err, 0);
        assert_string_equal(a.text, "first");
        submit(r, 2, 2, "x", 5000, &b); /* through the leader */
        assert_int_equal(b.n, 1);
        assert_string_equal(b.text, "again");
        assert_true(b.index > a.index);
        submit(r, 3, 1, "x", 5000,
                &b); /* the first one once more, at another member: its answer, not its effect */
        assert_string_equal(b.text, "first");
        assert_int_equal(b.index, a.index);
        rig_free(r);
}

/* Requests that come in one turn of the loop are one entry; so are those that come, few, while one is on its
 * way. */
static void test_batches(void **state)
{
        struct rig *r = three(1);
        struct answer a[8], b[2];

        for (uint8_t i = 0; i < ARRAY_LEN(a); i++) {
                uint8_t id[REQUEST_ID_SIZE] = { (uint8_t)(i + 1) };
                a[i] = (struct answer){ 0 };
                driver_submit(r->nodes[i % 2 + 1].driver, id, BLOB("+k", 2), r->now + 5000, on_reply, &a[i]);
        }
        rig_pump(r);
        for (unsigned i = 0; i < ARRAY_LEN(a); i++) {
                assert_int_equal(a[i].n, 1);
                assert_int_equal(a[i].err, 0);
                assert_int_equal(a[i].index, a[0].index);
        }
        for (unsigned i = 1; i <= 3; i++) r->nodes[i].disk_held = true;
        submit(r, 1, 20, "+k", 5000, &a[0]);
        submit(r, 2, 21, "+k", 5000, &b[0]);
        submit(r, 3, 22, "+k", 5000, &b[1]);
        assert_int_equal(a[0].n + b[0].n + b[1].n, 0);
        for (unsigned i = 1; i <= 3; i++) r->nodes[i].disk_held = false;
        rig_pump(r);
        assert_int_equal(a[0].n + b[0].n + b[1].n, 3);
        assert_int_equal(b[0].index, b[1].index);
        assert_true(b[0].index > a[0].index);
        rig_free(r);
}

static void test_refusal_and_noop(void **state)
{
        struct rig *r = three(1);
        uint64_t last = rig_status(r, 1).last_index;
        struct answer a;

        submit(r, 2, 1, "!x", 5000, &a); /* writes, then refuses: nothing stays, no entry is made */
        assert_int_equal(a.err, 0);
        assert_string_equal(a.text, "first");
        submit(r, 2, 2, "!x", 5000, &a);
        assert_string_equal(a.text, "first");
        submit(r, 1, 3, "?x", 5000, &a);
        assert_int_equal(a.n, 1);
        assert_int_equal(rig_status(r, 1).last_index, last);
        rig_free(r);
}

/* The leader proposes, is cut off, another one leads; the client's request is carried out once and answered
 * once. */
static void test_new_leader(void **state)
{
        struct rig *r = three(1);
        struct answer a, b;

        rig_links(r, "1|23");
        submit(r, 1, 1, "x", 100000, &a); /* proposed, never committed */
        submit(r, 2, 2, "y", 100000, &b); /* on its way to a leader that does not hear it */
        assert_int_equal(a.n + b.n, 0);
        rig_tick(r, 2, 3000);
        rig_tick(r, 2, 150);
        assert_int_equal(rig_status(r, 2).state, DRIVER_LEADER);
        assert_int_equal(b.n, 1);
        assert_string_equal(b.text, "first");
        assert_int_equal(a.n, 0);
        rig_links(r, "123");
        for (unsigned i = 0; i < 4; i++) rig_tick(r, 2, 150);
        rig_tick(r, 1, 10);
        for (unsigned i = 0; i < 4; i++) rig_tick(r, 2, 150);
        assert_int_equal(a.n, 1);
        assert_int_equal(a.err, 0);
        assert_string_equal(a.text, "first");
        rig_free(r);
}

/* A member's request is carried out, but the answer does not reach it. When it asks again, the table has dropped that
 * answer for newer ones: the outcome is unknown, and nothing is done twice. */
static void test_answer_forgotten(void **state)
{
        struct rig *r = three(1);
        struct answer lost, other, late;
        struct answer *fill = xcalloc(REQUEST_TABLE_MAX, sizeof(*fill));

        r->drop_kinds[2] = 1U << raft_frame_FORWARD_REPLY;
        submit(r, 2, 1, "x", 100000, &lost);
        submit(r, 2, 2, "?x", 100000, &late); /* such a one, too, may have been carried out */
        submit(r, 1, 3, "y", 100000, &other);
        assert_string_equal(other.text, "first");
        assert_int_equal(lost.n + late.n, 0);
        for (unsigned i = 0; i < REQUEST_TABLE_MAX; i++) {
                uint8_t id[REQUEST_ID_SIZE] = { 4, (uint8_t)i, (uint8_t)(i >> 8) };
                driver_submit(r->nodes[1].driver, id, BLOB("+k", 2), r->now + 100000, on_reply, &fill[i]);
                if (i % 64 == 63) rig_pump(r);
        }
        assert_int_equal(fill[REQUEST_TABLE_MAX - 1].n, 1);
        r->drop_kinds[2] = 0;
        for (unsigned i = 0; i < 20 && lost.n == 0; i++) {
                rig_tick(r, 1, 50);
                rig_tick(r, 2, 50);
        }
        assert_int_equal(lost.n, 1);
        assert_int_equal(lost.err, E_UNKNOWN_OUTCOME);
        assert_int_equal(late.n, 1);
        assert_int_equal(late.err, E_UNKNOWN_OUTCOME);
        submit(r, 2, 5, "x", 5000, &other); /* a new one goes on; the first took effect once */
        for (unsigned i = 0; i < 20 && other.n == 0; i++) rig_tick(r, 1, 50);
        assert_int_equal(other.n, 1);
        assert_int_equal(other.err, 0);
        assert_string_equal(other.text, "again");
        free(fill);
        rig_free(r);
}

static void test_deadlines(void **state)
{
        struct rig *r = three(1);
        struct answer a, b;

        rig_links(r, "1|2|3");
        submit(r, 1, 1, "x", 300, &a); /* proposed */
        rig_tick(r, 3, 3000);          /* forgets the leader */
        submit(r, 3, 2, "y", 300, &b); /* nowhere to go */
        for (unsigned i = 0; i < 5; i++) {
                rig_tick(r, 1, 100);
                rig_tick(r, 3, 100);
        }
        assert_int_equal(a.n, 1);
        assert_int_equal(a.err, E_UNKNOWN_OUTCOME);
        assert_int_equal(b.n, 1);
        assert_int_equal(b.err, E_NO_QUORUM);
        rig_free(r);
}

/* A leader that was deposed without knowing it answers no read. */
static void test_stale_read(void **state)
{
        struct rig *r = three(1);
        struct answer w, old = { 0 }, now = { 0 };

        rig_links(r, "1|23");
        rig_tick(r, 2, 3000);
        submit(r, 2, 1, "x", 5000, &w);
        assert_int_equal(w.err, 0);
        assert_int_equal(rig_status(r, 1).state, DRIVER_LEADER);
        driver_read(r->nodes[1].driver, r->now + 200, on_read, &old);
        driver_read(r->nodes[3].driver, r->now + 5000, on_read, &now);
        rig_pump(r);
        assert_int_equal(now.n, 1); /* without waiting for a heartbeat */
        assert_true(now.index >= w.index);
        assert_int_equal(old.n, 0);
        rig_tick(r, 1, 300);
        assert_int_equal(old.n, 1);
        assert_int_equal(old.err, E_NO_QUORUM);
        rig_free(r);
}

/* Nothing leaves that rests on a vote that is not durable. */
static void test_vote_gate(void **state)
{
        struct rig *r = rig_new();
        struct rf_vote m = { 0 };

        rig_boot(r, 2, "vvv");
        r->nodes[2].disk_held = true;
        SET(&m, rf_vote, term, 5);
        SET(&m, rf_vote, last_index, 1);
        SET(&m, rf_vote, last_term, 1);
        rig_inject(r, 2, 3, raft_frame_VOTE, &m, 1);
        rig_pump(r);
        assert_int_equal(raft_voted_for(&r->nodes[2].driver->raft), 3);
        assert_int_equal(r->sent[raft_frame_VOTE_RESULT], 0);
        rig_disk(r, 2);
        assert_int_equal(r->sent[raft_frame_VOTE_RESULT], 1);
        rig_free(r);
}

static void test_full_disk(void **state)
{
        struct rig *r = three(1);
        struct answer a;

        for (unsigned i = 2; i <= 3; i++) store_mem_set_full(r->nodes[i].store, true);
        for (unsigned i = 0; i < 2; i++) rig_tick(r, 1, 150); /* the leader hears that the others are full */
        store_mem_set_full(r->nodes[1].store, true);
        submit(r, 1, 1, "x", 100000, &a);
        assert_int_equal(a.err, E_NO_SPACE);
        store_mem_set_full(r->nodes[2].store, false);
        for (unsigned i = 0; i < 3; i++) rig_tick(r, 1, 150);
        submit(r, 1, 2, "x", 100000, &a);
        for (unsigned i = 0; i < 3; i++) rig_tick(r, 1, 150);
        assert_int_equal(rig_status(r, 2).state, DRIVER_LEADER); /* handed over */
        for (unsigned i = 1; i <= 3; i++) store_mem_set_full(r->nodes[i].store, false);
        for (unsigned i = 0; i < 40 && a.n == 0; i++) {
                rig_tick(r, 2, 150);
                rig_tick(r, 1, 1);
        }
        assert_int_equal(a.n, 1);
        assert_int_equal(a.err, 0);
        rig_free(r);
}

/* No room is left on a leader that has not applied its barrier yet: it will never be ready, and hands over. */
static void test_full_before_ready(void **state)
{
        struct rig *r = rig_new();
        struct rig_node *n = &r->nodes[1];
        bool leads = false;

        for (unsigned i = 1; i <= 3; i++) rig_boot(r, i, "vvv");
        rig_links(r, "123");
        n->disk_held = true;
        rig_tick(r, 1, 3000);
        for (unsigned i = 0; i < 20 && !n->driver->leading; i++) {
                rig_disk(r, 1);
                rig_pump(r);
        }
        assert_true(n->driver->leading && !n->driver->ready);
        store_mem_set_full(n->store, true); /* and what it has to write stays where it is */
        for (unsigned i = 0; i < 10 && !leads; i++) {
                for (unsigned k = 1; k <= 3; k++) rig_tick(r, k, 150);
                leads = rig_status(r, 2).state == DRIVER_LEADER || rig_status(r, 3).state == DRIVER_LEADER;
        }
        assert_true(leads);
        assert_false(n->driver->leading);
        rig_free(r);
}

/* A member that has to write a new term and cannot: what it would answer with waits, what its clients ask the leader does not. */
static void test_asks_while_term_waits(void **state)
{
        struct rig *r = three(1);
        struct answer written, later;
        unsigned results;

        r->nodes[3].disk_held = true;
        rig_restart(r, 1); /* leads no more, and votes */
        rig_links(r, "123");
        for (unsigned i = 0; i < 10 && rig_status(r, 2).state != DRIVER_LEADER; i++) rig_tick(r, 2, 3000);
        rig_tick(r, 2, 150);
        assert_int_equal(rig_status(r, 2).state, DRIVER_LEADER);
        assert_int_equal(
                raft_current_term(&r->nodes[3].driver->raft), raft_current_term(&r->nodes[2].driver->raft));
        results = r->sent[raft_frame_APPEND_RESULT];
        submit(r, 3, 1, "x", 100000, &written);
        rig_tick(r, 2, 150);
        assert_int_equal(written.n, 1);
        assert_int_equal(written.err, 0);
        assert_true(r->sent[raft_frame_APPEND_RESULT] > results);        /* node 1's */
        for (unsigned i = 0; i < 2 * HELD_MAX; i++) rig_tick(r, 2, 150); /* a disk that stays full for long */
        assert_int_equal(r->nodes[3].driver->held_n, HELD_MAX);
        /* What waited is in order after what did not. */
        r->nodes[3].disk_held = false;
        rig_disk(r, 3);
        for (unsigned i = 0; i < 3; i++) rig_tick(r, 2, 150);
        rig_tick(r, 3, 1);
        assert_int_equal(rig_status(r, 3).applied_index, rig_status(r, 2).applied_index);
        submit(r, 3, 2, "x", 100000, &later);
        rig_tick(r, 2, 150);
        assert_int_equal(later.n, 1);
        assert_int_equal(later.err, 0);
        rig_free(r);
}

static void test_hash_differs(void **state)
{
        struct rig *r = three(1);
        struct answer a;

        submit(r, 1, 1, "x", 5000, &a);
        for (unsigned i = 0; i < 2; i++) rig_tick(r, 1, 150);
        assert_int_equal(r->nodes[1].fatal + r->nodes[2].fatal + r->nodes[3].fatal, 0);
        r->nodes[3].driver->applied.hash[0] ^= 1; /* as if its state had gone another way */
        for (unsigned i = 0; i < HASH_RING; i++) r->nodes[3].driver->hashes[i].hash[0] ^= 1;
        for (unsigned i = 1; i <= 3; i++)
                for (unsigned k = 0; k < r->nodes[i].driver->peers_n; k++)
                        r->nodes[i].driver->peers[k].hash_good = 0;
        for (unsigned i = 0; i < 3; i++) rig_tick(r, 1, 150);
        assert_int_equal(r->nodes[3].fatal, E_CORRUPT);
        assert_int_equal(r->nodes[1].fatal + r->nodes[2].fatal, 0);
        rig_free(r);
}

static void on_change(void *arg, int err, const char *why) { *(int *)arg = err; }
static int change(struct rig *r, unsigned no, enum member_change what, uint64_t id, const char *address)
{
        static int errs[64];
        static unsigned at;
        int *err = &errs[at++ % ARRAY_LEN(errs)];

        *err = 1;
        driver_change(r->nodes[no].driver, what, id, address, r->now + 100000, on_change, err);
        for (unsigned i = 0; i < 10 && *err == 1; i++) rig_tick(r, no, 150);
        return *err;
}

static void test_grow_and_shrink(void **state)
{
        struct rig *r = rig_new();

        rig_boot(r, 1, "v");
        rig_boot(r, 2, NULL);
        rig_boot(r, 3, NULL);
        rig_links(r, "123");
        rig_tick(r, 1, 150);
        assert_int_equal(change(r, 2, CHANGE_ADD, 3, "3"), E_NOT_LEADER);
        for (unsigned i = 2; i <= 3; i++) {
                char a[2] = { (char)('0' + i), 0 };
                assert_int_equal(change(r, 1, CHANGE_PROMOTE, i, NULL), E_NOT_FOUND);
                assert_int_equal(change(r, 1, CHANGE_ADD, i, a), 0);
                assert_int_equal(change(r, 1, CHANGE_ADD, i, a), E_EXISTS);
                assert_int_equal(change(r, 1, CHANGE_PROMOTE, i, NULL), E_INVALID); /* a spare */
                assert_int_equal(change(r, 1, CHANGE_STANDBY, i, NULL), 0);
                assert_int_equal(change(r, 1, CHANGE_PROMOTE, i, NULL), 0);
        }
        assert_int_equal(rig_status(r, 2).members_n, 3);
        assert_int_equal(rig_status(r, 3).members[2].role, MEMBER_VOTER);
        assert_int_equal(change(r, 1, CHANGE_REMOVE, 1, NULL), E_NOT_LEADER); /* hands over first */
        assert_int_not_equal(rig_status(r, 1).state, DRIVER_LEADER);
        unsigned next = rig_status(r, 2).state == DRIVER_LEADER ? 2 : 3;
        rig_tick(r, next, 150);
        assert_int_equal(change(r, next, CHANGE_REMOVE, 1, NULL), 0);
        assert_int_equal(change(r, next, CHANGE_DEMOTE, 5 - next, NULL), 0);
        assert_int_equal(change(r, next, CHANGE_REMOVE, next, NULL), E_INVALID); /* the last voter */
        assert_int_equal(change(r, next, CHANGE_TRANSFER, 0, NULL), E_NOT_FOUND);
        assert_int_equal(rig_status(r, next).members_n, 2);
        rig_free(r);
}

/* What a request depends on is not known on the leader yet: it waits there, others pass it, another leader decides it. */
static void test_put_off(void **state)
{
        struct rig *r = three(1);
        struct answer a, b, other, late;
        uint64_t last = rig_status(r, 1).last_index;

        r->nodes[1].not_yet = true;
        submit(r, 1, 1, "~x", 100000, &a);
        submit(r, 2, 2, "~y", 100000, &b);
        submit(r, 2, 3, "~z", 300, &late);
        assert_int_equal(a.n + b.n, 0);
        assert_int_equal(rig_status(r, 1).last_index, last); /* nothing of them stays */
        submit(r, 3, 4, "x", 5000, &other);
        assert_string_equal(other.text, "first");
        for (unsigned i = 0; i < 5; i++) rig_tick(r, 1, 100);
        assert_int_equal(a.n + b.n, 0);
        assert_int_equal(late.n, 1);
        assert_int_equal(late.err, E_NO_QUORUM); /* nothing happened */
        rig_links(r, "1|23");
        rig_tick(r, 2, 3000);
        rig_tick(r, 2, 150);
        assert_int_equal(b.n, 1);
        assert_string_equal(b.text, "first");
        rig_links(r, "123");
        for (unsigned i = 0; i < 4; i++) rig_tick(r, 2, 150);
        rig_tick(r, 1, 10);
        for (unsigned i = 0; i < 4; i++) rig_tick(r, 2, 150);
        assert_int_equal(a.n, 1);
        assert_string_equal(a.text, "first");
        r->nodes[2].not_yet = true;
        submit(r, 2, 5, "~w", 100000, &a);
        assert_int_equal(a.n, 0);
        r->nodes[2].not_yet = false;
        rig_tick(r, 2, 100);
        assert_int_equal(a.n, 1);
        assert_string_equal(a.text, "first");
        rig_free(r);
}

/* ---- a member that was away, while others go on writing ---- */

static void write_entries(struct rig *r, unsigned leader, unsigned n)
{
        for (unsigned i = 0; i < n; i++) {
                assert_int_equal(step_submit(r->nodes[leader].driver, LOG_BARRIER, BLOB(NULL, 0), NULL), 0);
                r->now += APPLY_LAZY_MS + 1;
                rig_pump(r);
        }
}

static uint64_t log_length(const struct rig *r)
{
        struct raft *raft = &r->nodes[1].driver->raft;
        return raft_last_index(raft) - raft->trail.offset;
}

/* Member 3 needs a snapshot. */
static struct rig *one_away(void)
{
        struct rig *r = rig_new();

        r->snapshot_entries = 50;
        r->trailing = 1;
        for (unsigned i = 1; i <= 3; i++) rig_boot(r, i, "vvv");
        rig_links(r, "123");
        rig_tick(r, 1, 3000);
        rig_tick(r, 1, 150);
        rig_links(r, "12");
        write_entries(r, 1, 400);
        assert_true(log_length(r) < 400);
        return r;
}

static bool caught_up(struct rig *r)
{
        for (unsigned i = 0; i < 20; i++) {
                rig_tick(r, 1, 100);
                if (rig_status(r, 3).applied_index == rig_status(r, 1).applied_index) return true;
        }
        return false;
}

/* The log behind a snapshot that is on its way stays, so that one snapshot is enough; not without bound. */
static void test_log_is_kept(void **state)
{
        struct rig *r = one_away();

        rig_links(r, "123");
        r->nodes[3].disk_held = true;
        while (r->sent[raft_frame_SNAP_BEGIN] == 0) rig_tick(r, 1, 100);
        write_entries(r, 1, 2 * TRAILING_MIN);
        r->nodes[3].disk_held = false;
        rig_pump(r);
        assert_true(caught_up(r));
        assert_int_equal(r->sent[raft_frame_SNAP_BEGIN], 1);
        write_entries(r, 1, 100); /* nobody needs it any more */
        assert_in_range(log_length(r), TRAILING_MIN, TRAILING_MIN + 60);
        rig_free(r);

        r = one_away();
        rig_links(r, "123");
        r->nodes[3].disk_held = true;
        while (r->sent[raft_frame_SNAP_BEGIN] == 0) rig_tick(r, 1, 100);
        write_entries(r, 1, 3 * KEEP_POINTS * 50);
        assert_in_range(log_length(r), TRAILING_MIN, (KEEP_POINTS + 2) * 50);
        r->nodes[3].disk_held = false;
        for (unsigned i = 0; i < 20; i++) rig_tick(r, 1, 100);
        assert_true(caught_up(r)); /* by another one */
        rig_free(r);
}

/* A snapshot is not sent into a link that is down, and not waited for when the link was lost. */
static void test_bulk_link(void **state)
{
        struct rig *r = one_away();
        uint64_t begun;

        driver_bulk(r->nodes[1].driver, 3, false);
        rig_links(r, "123");
        for (unsigned i = 0; i < 10; i++) rig_tick(r, 1, 100);
        assert_int_equal(r->sent[raft_frame_SNAP_BEGIN], 0);
        write_entries(r, 1, 100);
        driver_bulk(r->nodes[1].driver, 3, true);
        r->drop_kinds[3] = 1U << raft_frame_SNAP_CHUNK;
        begun = r->now;
        while (r->sent[raft_frame_SNAP_BEGIN] == 0) rig_tick(r, 1, 100);
        assert_in_range(r->now - begun, 1, 500);
        write_entries(r, 1, 100);
        driver_bulk(r->nodes[1].driver, 3, false);
        driver_bulk(r->nodes[1].driver, 3, true);
        r->drop_kinds[3] = 0;
        assert_true(caught_up(r));
        rig_free(r);
}

/* Members change while clients write: a stand-by whose disk is slow always lacks something, and gets its vote all the same; one that
 * does not answer keeps nobody from the next change. */
static void test_promotion_under_load(void **state)
{
        struct rig *r = rig_new();
        int err = 1;

        for (unsigned i = 1; i <= 4; i++) rig_boot(r, i, "vvvs");
        rig_links(r, "1234");
        rig_tick(r, 1, 3000);
        rig_tick(r, 1, 150);
        r->nodes[4].disk_held = true;
        write_entries(r, 1, 3);
        driver_change(r->nodes[1].driver, CHANGE_PROMOTE, 4, NULL, r->now + 10000, on_change, &err);
        for (unsigned i = 0; i < 3 && err == 1; i++) {
                write_entries(r, 1, 2);
                assert_true(rig_status(r, 1).members[3].catching_up);
                for (unsigned k = 0; k < 8; k++) rig_tick(r, 1, 150);
                rig_disk(r, 4); /* one job in a time longer than an election timeout */
                rig_pump(r);
        }
        assert_int_equal(err, 0);
        r->nodes[4].disk_held = false;
        rig_pump(r);
        assert_int_equal(change(r, 1, CHANGE_DEMOTE, 4, NULL), 0);

        rig_links(r, "123|4");
        write_entries(r, 1, 1);
        err = 1;
        driver_change(r->nodes[1].driver, CHANGE_PROMOTE, 4, NULL, r->now + 10000, on_change, &err);
        assert_int_equal(change(r, 1, CHANGE_REMOVE, 4, NULL), E_BUSY);
        for (unsigned ms = 0; ms < CATCH_UP_TIMEOUTS * 1000; ms += 150) rig_tick(r, 1, 150);
        assert_int_equal(err, E_TIMEOUT);
        assert_int_equal(change(r, 1, CHANGE_REMOVE, 4, NULL), 0);
        rig_free(r);
}

static void test_found(void **state)
{
        struct store_mem *m = store_mem_new();
        struct driver_founder f[2] = { { 1, "a:1", MEMBER_VOTER }, { 2, "a:1", MEMBER_VOTER } };
        struct fail why;

        assert_int_equal(driver_found(store_mem_store(m), f, 2, BLOB(NULL, 0),
                                 (void (*)(void *))store_mem_run, m, &why),
                E_EXISTS);
        f[1].address = "b:1";
        f[0].role = f[1].role = MEMBER_STANDBY;
        assert_int_equal(driver_found(store_mem_store(m), f, 2, BLOB(NULL, 0),
                                 (void (*)(void *))store_mem_run, m, &why),
                E_INVALID);
        f[0].role = MEMBER_VOTER;
        assert_int_equal(driver_found(store_mem_store(m), f, 2, BLOB(NULL, 0),
                                 (void (*)(void *))store_mem_run, m, &why),
                0);
        assert_int_equal(driver_found(store_mem_store(m), f, 2, BLOB(NULL, 0),
                                 (void (*)(void *))store_mem_run, m, &why),
                E_EXISTS);
        store_mem_free(m);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_submit_anywhere),
                cmocka_unit_test(test_batches),
                cmocka_unit_test(test_refusal_and_noop),
                cmocka_unit_test(test_new_leader),
                cmocka_unit_test(test_answer_forgotten),
                cmocka_unit_test(test_deadlines),
                cmocka_unit_test(test_stale_read),
                cmocka_unit_test(test_vote_gate),
                cmocka_unit_test(test_full_disk),
                cmocka_unit_test(test_full_before_ready),
                cmocka_unit_test(test_asks_while_term_waits),
                cmocka_unit_test(test_hash_differs),
                cmocka_unit_test(test_grow_and_shrink),
                cmocka_unit_test(test_put_off),
                cmocka_unit_test(test_log_is_kept),
                cmocka_unit_test(test_bulk_link),
                cmocka_unit_test(test_promotion_under_load),
                cmocka_unit_test(test_found),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
