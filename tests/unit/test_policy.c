/* What is to be done about the members: order of changes, what waits for a quorum, stand-bys, zones. Each case
 * is a line: members of the configuration and rows of the table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "raftctl/policy.h"

enum { NOW = 100000, ALIVE = 1500, AWAY = 60000, LAST = 5000 };

static struct driver_status status;
static struct member_row rows[MEMBER_ROWS_MAX];
static uint32_t rows_n;
static uint64_t forced[4];
static uint32_t forced_n;
static struct policy_view view;

/* "AV BV CVx DS" : id letter, role V(oter) S(tand-by) P (spare); x = does not answer, b = is behind, l = the
 * link is up, but it is mute. The first one is the leader. */
static void configuration(const char *text)
{
        status = (struct driver_status){ .last_index = LAST, .state = DRIVER_LEADER, .has_quorum = true };
        for (const char *p = text; *p != '\0';) {
                struct driver_member *m = &status.members[status.members_n++];
                *m = (struct driver_member){ .id = (uint64_t)*p++,
                        .link_up = true,
                        .match_index = LAST,
                        .last_contact_ms = NOW - 20 };
                m->role = *p == 'V' ? MEMBER_VOTER : *p == 'S' ? MEMBER_STANDBY : MEMBER_SPARE;
                for (p++; *p != '\0' && *p != ' '; p++) {
                        if (*p == 'x' || *p == 'l') m->last_contact_ms = NOW - AWAY - 1000;
                        if (*p == 'x') m->link_up = false;
                        if (*p == 'y') m->last_contact_ms = NOW - ALIVE, m->link_up = false; /* only just */
                        if (*p == 'b') m->match_index = LAST - POLICY_LAG_MAX - 1;
                        if (*p == 'r') m->receiving_snapshot = true;
                }
                while (*p == ' ') p++;
        }
        status.id = status.leader_id = status.members[0].id;
        status.members[0].link_up = false; /* nobody has a link to himself */
        status.members[0].last_contact_ms = 0;
        view = (struct policy_view){ .status = &status, .now_ms = NOW, .alive_ms = ALIVE };
}

/* "A B C- D-h" : - = stand-by, h = held, f = forced, w = a witness, /z = in zone z. */
static void table(const char *text)
{
        rows_n = forced_n = 0;
        memset(rows, 0, sizeof rows);
        for (const char *p = text; *p != '\0';) {
                struct member_row *r = &rows[rows_n++];
                r->raft_id = (uint64_t)*p;
                r->role = cert_role_CONTROLLER;
                (void)snprintf(r->name, sizeof r->name, "%c", *p++);
                (void)snprintf(r->address, sizeof r->address, "10.0.0.%u:3372", (unsigned)r->raft_id);
                for (; *p != '\0' && *p != ' '; p++) {
                        if (*p == '-') r->standby = true;
                        if (*p == 'h') r->held = true;
                        if (*p == 'f') r->forced = true;
                        if (*p == 'w') r->role = cert_role_WITNESS;
                        if (*p == '/') r->zone[0] = *++p;
                }
                while (*p == ' ') p++;
        }
}

static const char *const verbs[] = { [CHANGE_ADD] = "add",
        [CHANGE_STANDBY] = "standby",
        [CHANGE_PROMOTE] = "promote",
        [CHANGE_DEMOTE] = "demote",
        [CHANGE_REMOVE] = "remove" };

static const char *next(void)
{
        static char text[256];
        struct policy_step s;
        if (!policy_next(&view, rows, rows_n, forced, forced_n, &s)) return "";
        if (s.waits) (void)snprintf(text, sizeof text, "wait: %s", s.why);
        else (void)snprintf(text, sizeof text, "%s %c", verbs[s.change], (int)s.id);
        return text;
}

struct order {
        const char *conf, *table, *expect; /* of a wait: how it begins */
};

static const struct order orders[] = {
        { "AV BV CV", "A B C", "" },
        /* growing */
        { "AV", "A B", "add B" },
        { "AV BP", "A B", "standby B" },
        { "AV BPx", "A B", "standby B" },
        { "AV BS", "A B", "promote B" },
        { "AV BSx", "A B", "wait: 'B' does not answer" },
        { "AV BSl", "A B", "wait: 'B' does not answer" }, /* a link alone is no answer */
        { "AV BSb", "A B", "wait: 'B' is catching up" },
        { "AV BSr", "A B", "wait: 'B' is catching up" },
        { "AV BS", "A B-", "" },
        { "AV BP", "A B-", "standby B" },
        { "AV BSb CS", "A B C", "promote C" }, /* one that is slow holds up nobody */
        /* shrinking */
        { "AV BV CV", "A B", "remove C" },
        { "AV BV CV", "A B C-", "demote C" },
        { "AV BV", "A", "remove B" },
        { "AV BV CV", "B C", "remove A" }, /* itself: the driver hands over first */
        { "AV BV CS", "A B", "remove C" },
        { "AV BV CP", "A B", "remove C" },
        /* a dead one is replaced: it goes first, whoever comes waits for nothing but itself */
        { "AV BV CVx", "A B D", "remove C" },
        { "AV BV", "A B D", "add D" },
        { "AV BV DS", "A B D", "promote D" },
        { "AV BV CVx DVx EV", "A B E F G", "remove C" },
        /* one that works is exchanged: the newcomer votes first */
        { "AV BV CV", "A B D", "add D" },
        { "AV BV CV DP", "A B D", "standby D" },
        { "AV BV CV DS", "A B D", "promote D" },
        { "AV BV CV DV", "A B D", "remove C" },
        { "AV BV CV DSb", "A B D", "remove C" }, /* for ever would be too long */
        /* no step may leave a minority of answering voters */
        { "AV BV CVx", "A C", "wait: 'a removed member' keeps its vote" },
        { "AV BV CVx", "A B- C", "wait: 'B' keeps its vote" },
        { "AV BV CVy", "A B- C", "wait: 'B' keeps its vote" },
        { "AV BV CVx", "A B-f C", "demote B" },
        { "AV BV CVx", "A", "remove C" }, /* then B goes, too */
        { "AV BV", "A", "remove B" },
        { "AV BV CVx DV EVx", "A C D E", "wait: 'a removed member' keeps its vote" },
        { "AV BV CVx DV EVx", "A D E", "remove C" },
        { "AV BV CV DVx", "A C D", "remove B" },
        { "AV BV CV DVx", "A B C-", "remove D" },
        /* a promotion may lose it, too, but only where it is lost already */
        { "AV BVx CS", "A B C", "promote C" },
        { "AV BVx CVx DS", "A B C D", "wait: 'D' waits until more voters answer" },
        /* what waits does not keep others */
        { "AV BV CVx DP", "A C D", "standby D" },
        { "AV BV CVx DS", "A C D", "promote D" },
        { "AV BV CVx DV", "A C D", "remove B" },
};

static void test_order(void **state)
{
        for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
                const struct order *o = &orders[i];
                configuration(o->conf);
                table(o->table);
                const char *got = next();
                bool same = strncmp(o->expect, "wait", 4) == 0
                                    ? strncmp(got, o->expect, strlen(o->expect)) == 0
                                    : strcmp(got, o->expect) == 0;
                if (!same) fail_msg("%s | %s: '%s' instead of '%s'", o->conf, o->table, got, o->expect);
        }
        configuration("AV BV CVx");
        table("A C");
        forced[forced_n++] = 'B';
        assert_string_equal(next(), "remove B");
}

/* From any configuration of up to five members to any table the steps end, and as long as a majority answers
 * none of them loses it. */
static void apply(const struct policy_step *s)
{
        uint32_t i = 0;
        while (i < status.members_n && status.members[i].id != s->id) i++;
        if (s->change == CHANGE_ADD) {
                assert_int_equal(i, status.members_n);
                status.members[status.members_n++] = (struct driver_member){ .id = s->id,
                        .role = MEMBER_SPARE,
                        .link_up = true,
                        .last_contact_ms = NOW,
                        .match_index = LAST };
                return;
        }
        assert_true(i < status.members_n);
        if (s->change == CHANGE_REMOVE) status.members[i] = status.members[--status.members_n];
        else status.members[i].role = s->change == CHANGE_PROMOTE ? MEMBER_VOTER : MEMBER_STANDBY;
}

static bool quorum(void)
{
        unsigned voters = 0, answering = 0;
        for (uint32_t i = 0; i < status.members_n; i++) {
                if (status.members[i].role != MEMBER_VOTER) continue;
                voters++;
                answering += policy_answers(&view, &status.members[i]);
        }
        return 2 * answering > voters;
}

static void test_every_way_keeps_the_quorum(void **state)
{
        static const char *const as[] = { "", "xV", "xVx", "xS", "xP" }, *const wants[] = { "", "x", "x-" };
        unsigned ways = 0;
        for (unsigned c = 0; c < 5 * 5 * 5 * 5; c++)
                for (unsigned t = 0; t < 3 * 3 * 3 * 3 * 3; t++) {
                        char conf[64] = "AV", want[64] = "A";
                        for (unsigned i = 0, a = c, b = t; i < 4; i++, a /= 5, b /= 3) {
                                if (a % 5 != 0)
                                        (void)snprintf(conf + strlen(conf), 8, " %c%s", (int)('B' + i),
                                                as[a % 5] + 1);
                                if (b % 3 != 0)
                                        (void)snprintf(want + strlen(want), 8, " %c%s", (int)('B' + i),
                                                wants[b % 3] + 1);
                        }
                        configuration(conf);
                        table(want);
                        if (t >= 3 * 3 * 3 * 3 || !quorum()) continue;
                        unsigned steps = 0;
                        struct policy_step s;
                        while (policy_next(&view, rows, rows_n, NULL, 0, &s) && !s.waits) {
                                apply(&s);
                                if (!quorum())
                                        fail_msg("%s | %s: %s %c loses the quorum", conf, want,
                                                verbs[s.change], (int)s.id);
                                if (++steps > 20) fail_msg("%s | %s: no end", conf, want);
                        }
                        ways++;
                }
        assert_true(ways > 20000);
}

static void test_counting(void **state)
{
        struct policy_quorum q;
        configuration("AV BV CVx DVy ES");
        table("A B C D E-");
        assert_false(policy_keeps_quorum(&view, rows, rows_n, 0, &q)); /* 2 of 4 */
        assert_string_equal(q.missing, "C, D");
        table("A B C- D E-");
        assert_true(policy_keeps_quorum(&view, rows, rows_n, 0, &q)); /* what is to go does not count */
        assert_int_equal(q.voters, 3);
        assert_false(policy_keeps_quorum(&view, rows, rows_n, 'B', &q));
        assert_true(policy_keeps_quorum(&view, rows, rows_n, 'D', &q));
        table("A B C D E"); /* not a voter yet: it counts for nothing */
        assert_false(policy_keeps_quorum(&view, rows, rows_n, 0, &q));
}

/* ---- stand-bys ---- */

static const char *takeover(uint64_t away_ms)
{
        static char text[16];
        struct policy_takeover t;
        if (!policy_takeover(&view, rows, rows_n, away_ms, &t)) return "";
        (void)snprintf(text, sizeof text, "%c for %c", t.standby->name[0], t.voter->name[0]);
        return text;
}

static const struct order takeovers[] = {
        { "AV BV CV DS", "A B C D-", "" }, /* all are there */
        { "AV BV CVx DS", "A B C D-", "D for C" },
        { "AV BV CVl DS", "A B C D-", "D for C" },                                /* a link, but mute */
        { "AV BV CVy DS", "A B C D-", "" },                                       /* not long enough */
        { "AV BV CVx DS", "A B C D-h", "" },                                      /* held */
        { "AV BV CVx DSx", "A B C D-", "" }, { "AV BV CVx DSb", "A B C D-", "" }, /* has not caught up */
        { "AV BV CVx DSr", "A B C D-", "" }, { "AV BV CVx DP", "A B C D-", "" },  /* first a stand-by */
        { "AV BV CVx DS", "A B C- D", "" }, /* one is under way: never two */
        { "AV BV CVx DV", "A B C- D", "" }, { "AV BV DV CSx", "A B D C-", "" }, /* it is done */
        { "AV BV DV CS", "A B D C-", "" },               /* the old one is back: it stays a stand-by */
        { "AV BV DVx CS", "A B D C-", "C for D" },       /* and may be needed */
        { "AV BV CVx DS ESx", "A B C D- E", "D for C" }, /* one that never came holds up nothing */
        { "AV BV CVx DS ES", "A B C D- E-", "D for C" },
        { "AV BV CVx DS ES", "A B C D-w E-", "E for C" },          /* controllers before witnesses */
        { "AV BV CVx DS ES", "A/1 B/2 C/3 D-/1 E-/3", "E for C" }, /* its zone */
        { "AV BV CVx DS ES", "A/1 B/2 C/3 D-/2 E-/4", "E for C" }, /* an empty zone */
        { "AV BV CV DVx EVx FS", "A B C D E F-", "F for D" },      /* one at a time */
};

static void test_takeover(void **state)
{
        for (size_t i = 0; i < ARRAY_LEN(takeovers); i++) {
                const struct order *o = &takeovers[i];
                configuration(o->conf);
                table(o->table);
                if (strcmp(takeover(AWAY), o->expect) != 0)
                        fail_msg("%s | %s: '%s' instead of '%s'", o->conf, o->table, takeover(AWAY),
                                o->expect);
        }
        configuration("AV BV CVx DS");
        table("A B C D-");
        assert_string_equal(takeover(0), ""); /* off */
        assert_string_equal(takeover(AWAY + 5000), "");
        view.leading_since_ms = NOW - AWAY + 1; /* a new leader has to wait for itself */
        assert_string_equal(takeover(AWAY), "");
        view.leading_since_ms = NOW - AWAY;
        assert_string_equal(takeover(AWAY), "D for C");
        status.members[2].last_contact_ms = 0; /* never heard of since the start */
        assert_string_equal(takeover(AWAY), "D for C");
}

/* ---- zones ---- */

static const char *zones(const char *conf, const char *want)
{
        static char text[64];
        struct policy_zone z;
        configuration(conf);
        table(want);
        text[0] = '\0';
        for (unsigned i = 0; policy_zone_risk(&status, rows, rows_n, i, &z); i++)
                (void)snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s:%u/%u",
                        i > 0 ? " " : "", z.name, z.voters, z.of);
        return text;
}

static void test_zones(void **state)
{
        assert_string_equal(zones("AV BV CV", "A B C"), "");
        assert_string_equal(zones("AV BV CV", "A/1 B C"), ""); /* one name says nothing */
        assert_string_equal(zones("AV BV CV", "A/1 B/2 C/3"), "");
        assert_string_equal(zones("AV BV CV", "A/1 B/1 C/2"), "1:2/3");
        assert_string_equal(zones("AV BV CV", "A/1 B/1 C"), "1:2/3");
        assert_string_equal(zones("AV BV CV", "A/1 B/1 C/1"), "1:3/3");
        assert_string_equal(zones("AV BV", "A/1 B/2"), "1:1/2 2:1/2"); /* each of them */
        assert_string_equal(zones("AV", "A/1"), "");
        assert_string_equal(zones("AV BV CV DV EV", "A/1 B/1 C/2 D/2 E/3"), "");
        assert_string_equal(zones("AV BV CV DV EV", "A/1 B/1 C/2 D/2 E/1"), "1:3/5");
        assert_string_equal(zones("AV BV CV DS", "A/1 B/2 C/3 D-/1"), "");     /* a stand-by does not count */
        assert_string_equal(zones("AV BV CV DV", "A/1 B/1 C/2 D/3"), "1:2/4"); /* half of them is enough */
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_order),
                cmocka_unit_test(test_every_way_keeps_the_quorum),
                cmocka_unit_test(test_counting),
                cmocka_unit_test(test_takeover),
                cmocka_unit_test(test_zones),
        };
        return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
