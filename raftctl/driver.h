/* The Raft driver: libraft's raft_step() between a store, a transport and a clock that it is given. It does
 * no I/O, reads no clock and starts no thread, so that the real member (raftctl/member.c, on libuv) and the
 * simulator (tests/sim) run the same code.
 *
 * It owns: the core, the in-memory tail of the log, elections, replication, snapshots, membership changes,
 * read index, forwarding to the leader, evaluation of batches and the request table. It guards the core's
 * known holes; each guard is named (S1, S2, S3, L1, L4, N2, N5) where it stands, and raftctl/guards.def can
 * switch each off for the tests.
 *
 * Calls go in (submit, read, receive, link, tick, store callbacks); calls come out by struct driver_ops. No
 * call out re-enters synchronously, except evaluate. Threads: one. */
#ifndef RAFTCTL_DRIVER_H
#define RAFTCTL_DRIVER_H

#include "raftctl/store.h"
#include "state/request.h"
#include "wire/base/env.h"

enum raft_channel {
        CHANNEL_RAFT, /* votes, appends, read index, forwarding: small, in order */
        CHANNEL_BULK, /* snapshot chunks: must not delay heartbeats */
        CHANNEL_N
};
enum member_role { MEMBER_VOTER, MEMBER_STANDBY, MEMBER_SPARE };
enum driver_state {
        DRIVER_FOLLOWER,
        DRIVER_CANDIDATE,
        DRIVER_LEADER,
        DRIVER_IDLE /* not in the configuration */
};

struct driver;

/* What a process says of itself in the first words on a link (raftctl/level.h). */
#define SOFTWARE_MAX 32
struct release {
        unsigned level_min, level_max; /* feature levels at which it can take part */
        unsigned level;                /* of its state */
        char software[SOFTWARE_MAX];   /* its version, for people; "" = unknown */
};

/* One evaluated operation: reads and writes tx, appends the opaque reply. 0 = keep the writes (record id and
 * answer); E_INVALID = the operation was refused: its writes are rolled back, the reply is the refusal; E_BUSY = what it
 * depends on is not known on this member yet: as if it had not been evaluated, and soon again until its deadline. Pure
 * but for what the caller put into the request. */
typedef int evaluate_fn(void *arg, struct tx *tx, struct blob request, uint64_t index, struct buf *ret_reply);

struct driver_ops {
        /* Queue one frame; never fails, never calls back. Frames to one peer on one channel arrive in order
         * or not at all. */
        void (*send)(void *arg, uint64_t to, enum raft_channel channel, struct blob frame);
        /* NULL: this member never evaluates (a witness); requests wait until another one leads. */
        evaluate_fn *evaluate;
        /* Role, term, leader or configuration changed. */
        void (*on_state)(void *arg);
        /* Entries up to index are applied and visible to read_begin. */
        void (*on_applied)(void *arg, uint64_t index);
        /* The member cannot go on (storage failed, diverged, removed): err and the reason. */
        void (*on_fatal)(void *arg, int err, const char *why);
};

struct driver_config {
        uint64_t id;           /* random, never used twice */
        const char *name;      /* for messages; copied */
        const char *address;   /* host:port for the configuration; copied */
        unsigned election_ms;  /* 500 */
        unsigned heartbeat_ms; /* 50 */
        uint64_t seed;         /* of the core's own randomness */
        struct store *store;
        struct env *env;
        const struct driver_ops *ops;
        void *arg;
        unsigned snapshot_entries; /* take a snapshot after that many entries (4096) */
        size_t snapshot_bytes;     /* or that many bytes of log (16 MiB) */
        unsigned trailing_entries; /* keep at least that many log entries behind a snapshot (512, at least
                                      256) */
        unsigned level_min,
                level_max;       /* feature levels; 0 = those of this build (simulations mix releases) */
        unsigned append_entries; /* at most that many in a frame (64, also the most) */
        bool lazy;               /* a witness: stands for election late, hands leadership over at once */
        bool log_only; /* a witness: its store keeps no state, so it gets and gives snapshots without one. Its log is
                          bounded by snapshot_bytes and snapshot_entries: the log holds between three and four times
                          that; trailing_entries is not looked at */
        size_t cache_bytes; /* of the log in memory (4 MiB) */
        size_t job_bytes;   /* of entries in one store job, and of those that it applies (8 MiB) */
};

/* Loads the store and starts; a sole voter first writes a new term (S3) and is without a state until that is
 * durable. A fresh member starts with an empty store and waits to be added. E_CORRUPT, E_FORMAT with reason
 * in f. */
int driver_open(const struct driver_config *config, struct driver **ret, struct fail *f) MUST_USE;
/* Answers everything pending with E_CANCELED (from inside), closes; the store and transport are the caller's.
 * Not from inside a callback of the driver. The store must not call back any more: close it first, or let its
 * last job finish. */
void driver_close(struct driver *d);

/* The instant (env->now_ms) at which driver_tick wants to be called; re-read after every call in. */
uint64_t driver_deadline_ms(const struct driver *d);
void driver_tick(struct driver *d);
/* A complete frame from an authenticated member. */
void driver_receive(struct driver *d, uint64_t from, enum raft_channel channel, struct blob frame);
/* The link to a peer came up (a new connection: leftovers of the old one will not arrive) or went down.
 * reset: closed by the peer's side while it was up, a hint that its process died. */
void driver_link(struct driver *d, uint64_t peer, bool up, bool reset);
/* Its link for snapshots did, which is taken to be up until this says otherwise: a transfer that was on it is lost. */
void driver_bulk(struct driver *d, uint64_t peer, bool up);

/* err: 0, E_NO_QUORUM (deadline passed before anything was proposed), E_UNKNOWN_OUTCOME (deadline passed
 * after), E_CANCELED, E_LIMIT. index and term are of the entry that holds the effect; term is 0 when the request had
 * been carried out before and that entry has left the log since. reply is borrowed. */
typedef void driver_reply_fn(void *arg, int err, uint64_t index, uint64_t term, struct blob reply);
/* Carries out one request exactly once, wherever the leader is and whoever dies meanwhile. The request is
 * copied. refused operations answer with err 0 as well: the reply says so. */
void driver_submit(struct driver *d, const uint8_t id[REQUEST_ID_SIZE], struct blob request,
        uint64_t deadline_ms, driver_reply_fn *cb, void *arg);
/* Linearizable read: cb(0, index, term) when this member has applied a state at least as new as every write
 * that was acknowledged before the call. */
typedef void driver_read_fn(void *arg, int err, uint64_t index, uint64_t term);
void driver_read(struct driver *d, uint64_t deadline_ms, driver_read_fn *cb, void *arg);

/* ---- membership and leadership; on the leader only, else E_NOT_LEADER through cb ---- */
enum member_change {
        CHANGE_ADD,
        CHANGE_STANDBY,
        CHANGE_PROMOTE,
        CHANGE_DEMOTE,
        CHANGE_REMOVE,
        CHANGE_TRANSFER
};
typedef void driver_change_fn(void *arg, int err, const char *why);
/* One at a time (E_BUSY), only after an entry of this term is committed (S2). PROMOTE catches up first.
 * TRANSFER: id 0 = the most up-to-date voter; cb(0) when another leader is seen. address is used by ADD only.
 * A leader that is to remove or demote itself hands leadership over and answers E_NOT_LEADER: ask the new
 * one. */
void driver_change(struct driver *d, enum member_change change, uint64_t id, const char *address,
        uint64_t deadline_ms, driver_change_fn *cb, void *arg);

struct driver_member {
        uint64_t id;
        char address[128];
        enum member_role role;
        bool link_up;
        uint64_t match_index;     /* leader only */
        uint64_t last_contact_ms; /* env time, 0 = never */
        bool catching_up, receiving_snapshot;
        struct release release; /* level_max 0 = not heard of yet */
        bool log_only;          /* a witness; known once it has answered this member as leader */
        bool starved; /* this member, a witness, led or leads, and it lacks entries that are not in the log any more */
};
struct driver_status {
        uint64_t id, term, leader_id /* 0 = none known */, last_index, commit_index, applied_index,
                snapshot_index;
        enum driver_state state;
        uint8_t state_hash[32]; /* at applied_index */
        uint64_t hash_index;    /* writeset_index of the hash */
        bool has_quorum; /* leader: heard by a majority within the election timeout; follower: hears a leader
                          */
        uint64_t no_quorum_since_ms;
        bool disk_full;
        struct driver_member members[16];
        uint32_t members_n;
};
void driver_status(struct driver *d, struct driver_status *ret);

/* The first member of a new cluster: writes entry 1 (the configuration with this voter, or several) into an
 * empty store, and the first write-set as entry 2 when it is not empty (base index 0). E_EXISTS when the
 * store is not empty. Blocks: turn lets the store call back once (uv_run(loop, UV_RUN_ONCE), store_mem_step)
 * and is called until it has. */
struct driver_founder {
        uint64_t id;
        const char *address;
        enum member_role role;
};
int driver_found(struct store *store, const struct driver_founder *founders, uint32_t n,
        struct blob first_writeset, void (*turn)(void *arg), void *arg, struct fail *f) MUST_USE;

#endif
