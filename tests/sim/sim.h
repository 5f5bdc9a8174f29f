/* The cluster simulator: drivers, stores, network, clients and an administrator in one process under a
 * virtual clock. All randomness comes from one generator, so that a seed replays exactly.
 *
 * Every node is the real driver over the memory store. Some are witnesses (no state, a short log), some volatile: each
 * start of those is a new member with a new id, as docs/consensus.md demands. The network delays, drops, cuts (also one way) and
 * resets; disks are slow and lose what was not synced; processes die, alone and all at once; members come and
 * go. Threads: one. Ownership: struct sim owns everything. */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <stdio.h>

#include "raftctl/driver_int.h"
#include "raftctl/store_mem.h"

#define NODES_MAX 12
#define CLIENTS_MAX 80
#define KEYS_N 5
#define COMMITS_MAX 65536
#define ADDRESS_BYTES 24

/* ---- the workload: what the clients ask for and how it is evaluated; another one can be plugged in ---- */
struct work_op {
        uint8_t id[REQUEST_ID_SIZE];
        unsigned kind, key;
        uint64_t value;
};
struct work_reply {
        bool refused;
        uint64_t version, value, executions;
};
struct workload {
        const char *name;
        evaluate_fn *evaluate;
        /* Draws an operation; encodes it. */
        void (*draw)(struct work_op *op, uint64_t (*random)(void *arg), void *arg, struct buf *ret_request);
        bool (*is_write)(const struct work_op *op);
        bool (*decode)(struct blob reply, struct work_reply *ret);
        /* What a read of op->key sees in tx. */
        void (*read)(struct tx *tx, unsigned key, struct work_reply *ret);
        /* How often the operation took effect in tx. */
        uint64_t (*executions)(struct tx *tx, const struct work_op *op);
};
extern const struct workload workload_registers;
/* Which of the two programs this is: work.c or work_ops.c says so. */
struct sim;
extern const struct sim_program {
        const char *name;
        const struct workload *work;
        uint64_t seeds, seconds;      /* when no option says otherwise */
        void (*check)(struct sim *s); /* at the end of a seed; may be NULL */
} sim_program;

/* ---- nodes ---- */
struct sim;
struct sim_node {
        struct env env; /* first: the driver's clock and randomness */
        struct sim *sim;
        unsigned slot;
        uint64_t id, boot;
        char address[ADDRESS_BYTES];
        struct store_mem *store;
        struct driver *driver;
        bool used, up, disk_busy, forever_dead, is_volatile, witness, link[NODES_MAX], fatal;
        bool bulk
                [NODES_MAX]; /* its link for snapshots is up; the same as link where these do not fail alone */
        bool crash_wanted;
        uint64_t reboot_at, deadline, spin_at;
        unsigned spin_n;
        uint64_t paused_until; /* its process is stopped (SIGSTOP): its timers and what arrives wait */
        uint64_t commit_high;  /* of this process */
        uint64_t committed_seen, applied_seen, leader_term_seen;
        unsigned disk_slow; /* times slower */
        uint64_t vote_seen;
        unsigned knows;         /* highest feature level of the release that it runs */
        bool too_old;           /* so it stops */
        bool set_back;          /* its next start is of the older release */
        bool bad_log;           /* a row of its log went bad on the disk */
        int64_t wall_offset_ms; /* of its clock */
};

enum event_kind {
        EV_FRAME,
        EV_LINK,
        EV_DISK,
        EV_DISK_CALL,
        EV_CLIENT,
        EV_FAULT,
        EV_ADMIN,
        EV_REBOOT,
        EV_CRASH
};
struct event {
        uint64_t at, seq;
        enum event_kind kind;
        unsigned a, b;     /* nodes, or a client */
        uint64_t x;        /* boot, generation */
        uint64_t from, to; /* ids; slots may have other ones by the time of arrival */
        enum raft_channel channel;
        bool up, reset;
        size_t n;
        uint8_t data[];
};

struct known { /* what has been completed, for one key */
        uint64_t version;
        uint64_t *values; /* by version */
        uint64_t values_cap;
};
struct client {
        unsigned no;
        bool busy, reading;
        struct work_op op;
        struct buf request;
        unsigned node; /* asked last */
        uint64_t boot; /* of that node */
        uint64_t began_ms, ticket, floor_version, floor_index;
        unsigned tries;
        bool pinned;             /* asks the member of its own number (modulo members) only */
        uint64_t wrote_begun_ms; /* when the last acknowledged write began */
};
struct committed {
        uint64_t term, hash;
};
struct applied_seen {
        bool set;    /* a member was seen to have applied exactly this much */
        uint64_t ws; /* index of the last write-set that took effect */
        uint8_t hash[32];
};

struct sim {
        uint64_t seed, now, rng, seq, trace, end_ms, limit_ms;
        bool tracing, failed, healed, quiet;
        char why[256];
        const struct workload *work;

        struct event **heap;
        size_t heap_n, heap_cap;

        struct sim_node nodes[NODES_MAX];
        unsigned nodes_n, target_voters;
        uint64_t next_id;
        /* network */
        bool cut[NODES_MAX][NODES_MAX];
        bool bulk_cut[NODES_MAX][NODES_MAX]; /* of the link for snapshots only */
        uint64_t generation[NODES_MAX][NODES_MAX][CHANNEL_N], fifo[NODES_MAX][NODES_MAX][CHANNEL_N];
        unsigned drop_permille, delay_ms, leftover_permille;
        /* behaviour of this seed */
        bool faults, membership, transfers, resets, sole_start, slow_disks;
        unsigned volatiles, witnesses;             /* of the voters that are wanted */
        bool churn, clocks, damage, waves, pauses; /* profile.c */
        bool corrupt;                              /* rows of logs go bad on the disk */
        bool two_links;                            /* each of a pair's two links may fail alone */
        uint64_t lost;     /* id of the member that this happened to, until it is removed */
        unsigned damage_n; /* so many chunks of snapshots are damaged for certain */
        unsigned append_entries;
        unsigned rate;  /* client pause */
        bool releases;  /* members of two releases, and raises of the feature level (release.c) */
        unsigned level; /* highest that was seen */
        unsigned election_ms, heartbeat_ms;
        /* clients */
        struct client clients[CLIENTS_MAX];
        unsigned clients_n;
        struct known known[KEYS_N];
        uint64_t known_index; /* highest index acknowledged */
        struct work_op *acked;
        size_t acked_n, acked_cap;
        uint64_t operations_n, operations_refused_n; /* of the controller's own, evaluated */
        uint64_t reads_n, writes_n, refusals_n, unknown_n, changes_n, installs_n, crashes_n, elections_n,
                lessons_n, raises_n, lost_n;
        /* frames that were lost; cuts, ends of links, stops of a process, jumps of a clock, damaged chunks */
        uint64_t drops_n, faults_n;
        /* the truth */
        struct committed *commits;
        struct applied_seen *applieds;
        uint64_t commit_max, commit_max_term;
        uint64_t chain_n;    /* applieds are known up to here, from the entries themselves */
        uint64_t *leader_of; /* by term */
        bool change_pending;
        uint64_t last_leader_lost_ms, outage_ms;
};

/* world.c */
uint64_t sim_random(struct sim *s);
static inline unsigned sim_below(struct sim *s, unsigned n) { return n ? (unsigned)(sim_random(s) % n) : 0; }
static inline bool sim_chance(struct sim *s, unsigned permille) { return sim_below(s, 1000) < permille; }
struct event *sim_event(struct sim *s, uint64_t at, enum event_kind kind, size_t n);
void sim_fail(struct sim *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
void sim_note(struct sim *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Runs one seed; false and s->why on a violation. s is freed by sim_free. */
struct sim *sim_new(uint64_t seed, const struct workload *work);
void sim_run(struct sim *s);
/* The next event or timer. */
void sim_turn(struct sim *s);
/* No faults but those that the caller makes, the real timers, a quick network and disk; no end. */
void sim_calm(struct sim *s);
/* Founds the cluster and starts n members and the clients. */
void sim_begin(struct sim *s, unsigned n);
void sim_free(struct sim *s);

/* node.c */
struct sim_node *node_new(struct sim *s, bool is_volatile, bool witness);
/* A volatile node starts: nothing of what it was is left. */
void node_reborn(struct sim_node *n);
void node_boot(struct sim_node *n);
void node_crash(struct sim_node *n, unsigned down_ms);
void node_tick(struct sim_node *n);
/* After every call into a driver. */
void node_after(struct sim_node *n);
void node_disk(struct sim_node *n, const struct event *e);
struct sim_node *node_by_id(struct sim *s, uint64_t id);

/* profile.c: kinds of trouble at the moments that count */
extern bool profile_churn_only; /* --churn: every seed is of that kind */
void profile_draw(struct sim *s);
void profile_crash(struct sim *s, const struct event *e);
void profile_leader(struct sim_node *n);
void profile_after(struct sim_node *n);
void profile_clock(struct sim *s);
void profile_damage(struct sim *s, struct event *e);
/* Do all clients ask for nothing that writes, just now? */
bool profile_calm_wave(const struct sim *s);
void profile_pause(struct sim *s, struct sim_node *n);
/* Now and then a row of the log of a member that is down goes bad. */
void profile_corrupt(struct sim_node *n);
/* Such a member does not start: true when that is right; it comes back with nothing, under a new id. */
bool profile_corrupted(struct sim_node *n, int err);
/* Has it been removed? */
void profile_mended(struct sim *s, const struct sim_node *leader);

/* release.c: members of feature level 1 and 2 mixed */
/* Which release is started now. */
void release_draw(struct sim_node *n);
/* Its start was refused for its level: true when that is right; it is tried again. */
bool release_refused(struct sim_node *n, int err);
/* The driver gave up: true when that is right for its release; the process ends, and an upgrade follows. */
bool release_stopped(struct sim_node *n, int err);
/* The first words on a link that is up from a's side. */
void release_meet(struct sim *s, unsigned a, unsigned b);
/* On the leader, inside of an evaluation: a raise, now and then, when its links say that everybody knows the level. */
void release_raise(struct sim_node *n, struct tx *tx);
/* The state has changed. */
void release_check(struct sim_node *n);

/* net.c */
void net_send(struct sim_node *from, uint64_t to, enum raft_channel channel, struct blob frame);
void net_deliver(struct sim *s, const struct event *e);
void net_link(struct sim *s, const struct event *e);
void net_connect(struct sim *s, unsigned a, unsigned b);
void net_break(struct sim *s, unsigned a, unsigned b, bool reset_at_b);

/* Both sides find the connection dead at that time, unless there is a new one by then. */
void net_break_later(struct sim *s, unsigned a, unsigned b, uint64_t at);
/* One of the pair's two links ends, and is made anew after a while; two_links only. */
void net_flap_one(struct sim *s, unsigned a, unsigned b);
/* The one for snapshots. */
void net_bulk_again(struct sim *s, unsigned a, unsigned b, unsigned away_ms);
/* What is sent on a pair's link for snapshots is lost, in one direction or both. */
void net_cut_bulk(struct sim *s);

/* failover.c: kills the leader of a quiet cluster n times and prints how long writes stood still; true when
 * p99 is below 500 ms (reset) or 2 s. */
bool failover_measure(unsigned n, bool reset, uint64_t *ret_median);

/* graphs.c: all graphs of three members, and so many of five; true when all is as it should be. */
bool graphs_measure(unsigned five_n, uint64_t seed);

/* script.c: plays each scenario, or only that of this name, so many times; true when all is as it should be. */
bool scripts_play(unsigned n, uint64_t first, const char *only);

/* client.c */
void client_event(struct sim *s, unsigned no);
void client_kick(struct sim *s);
bool client_all_idle(const struct sim *s);

/* admin.c */
/* Of the newest term, among those whose process runs; NULL: none. */
struct sim_node *sim_leader(struct sim *s);
void admin_event(struct sim *s);
void fault_event(struct sim *s);
void fault_heal(struct sim *s);

/* check.c */
void check_node(struct sim_node *n);
void check_final(struct sim *s);
bool check_converged(struct sim *s);
void check_ack(struct sim *s, struct client *c, const struct work_reply *r, uint64_t index);

#endif
