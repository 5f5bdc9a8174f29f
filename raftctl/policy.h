/* What should be done about the members: pure functions of the member table, the driver's status and the
 * clock. Used by reconcile.c on the leader, by join_op.c when an operation is evaluated there, by the status
 * and by the simulator.
 *
 * Threads: any one; nothing is kept. Ownership: nothing is allocated. */
#ifndef RAFTCTL_POLICY_H
#define RAFTCTL_POLICY_H

#include "raftctl/driver.h"
#include "wire/def/types.h"
#include "wire/net/pki.h"

#define MEMBER_ROWS_MAX 64
#define POLICY_VOTERS_MAX 7   /* more cost writes and bear no more losses in practice */
#define POLICY_MEMBERS_MAX 14 /* rows; the configuration holds 16, and changes need room */
#define POLICY_LAG_MAX 1024   /* log entries: who is further behind has not caught up */
#define POLICY_ZONE_MAX 63    /* bytes of a zone's name */

/* One row of the member table. */
struct member_row {
        char name[PKI_NAME_MAX + 1];
        char address[128];
        char zone[POLICY_ZONE_MAX + 1];
        char took_over[PKI_NAME_MAX + 1];
        char fingerprint[2 * PKI_PIN_SIZE + 1]; /* "" = not known */
        uint64_t raft_id;
        enum cert_role role;
        bool standby, held, forced, stayed_away, is_volatile;
};

/* What the leader sees. */
struct policy_view {
        const struct driver_status *status;
        uint64_t now_ms;
        unsigned alive_ms;         /* who was heard of within that time answers */
        uint64_t leading_since_ms; /* before that, silence says nothing */
};

/* The leader itself always answers. */
bool policy_answers(const struct policy_view *v, const struct driver_member *m);
const struct driver_member *policy_find(const struct driver_status *s, uint64_t id);

/* The configuration follows the table, one change at a time. The order keeps as many voters that answer as
 * there can be: first those who are dead or never voted go, then newcomers come in, then voters that answer
 * lose their vote. A change after which no majority of the voters answers waits, unless the row says forced.
 *   forced: ids of removed members that may go at any price. */
struct policy_step {
        enum member_change change;
        uint64_t id;
        const char *address; /* of ADD; in rows */
        bool waits;          /* there is something to do, but not now: why says what for */
        char why[160];
};
/* true: *ret is the one change to make now, or says what is waited for. */
bool policy_next(const struct policy_view *v, const struct member_row *rows, uint32_t n,
        const uint64_t *forced, uint32_t forced_n, struct policy_step *ret);

/* A stand-by takes over the vote of a voter that has not been heard of for away_ms (0 = never). Only when the
 * configuration cannot come closer to the table at the moment, so that there is never more than one at a time;
 * only by a stand-by that answers and has caught up. It must leave a sound set of
 * voters (voters.h). Of several the one in the zone of the absent one, controllers before witnesses,
 * zones with few voters before others. false: nothing to do. */
struct policy_takeover {
        const struct member_row *standby, *voter; /* in rows */
        uint64_t away_ms;
};
bool policy_takeover(const struct policy_view *v, const struct member_row *rows, uint32_t n, uint64_t away_ms,
        struct policy_takeover *ret);

/* Would a majority of the voters that remain answer when the member gone (0 = nobody) loses its vote? Counted
 * are the voters of the configuration that are voters in rows. */
struct policy_quorum {
        unsigned voters, answering;
        char missing[160]; /* names of those that do not answer, or "" */
};
bool policy_keeps_quorum(const struct policy_view *v, const struct member_row *rows, uint32_t n,
        uint64_t gone, struct policy_quorum *ret);

/* The i-th zone whose loss would leave no majority of the voters; false when there are no more. Voters without
 * a zone stand in zones of their own. Nothing is said while fewer than two voters have a zone. */
struct policy_zone {
        const char *name; /* in rows */
        unsigned voters, of;
};
bool policy_zone_risk(const struct driver_status *s, const struct member_row *rows, uint32_t n, unsigned i,
        struct policy_zone *ret);

/* ---- policy_rows.c: reading the replicated tables ---- */

/* At most MEMBER_ROWS_MAX; returns how many. */
uint32_t policy_rows(struct tx *tx, struct member_row ret[MEMBER_ROWS_MAX]);
/* Ids of removed members that may go at any price, at most n; returns how many. */
uint32_t policy_forced(struct tx *tx, uint64_t *ret, uint32_t n);
/* Was that id removed from the cluster? */
bool policy_removed(struct tx *tx, uint64_t id);

#endif
