/* Inside of the Raft driver. One struct driver, split over files by what they do:
 *
 *   driver.c         open, close, calls in, the pump, callbacks out, status
 *   step.c           raft_step and what its updates demand; receiving
 *   elect.c          when to stand for election, and lessons for those that lack entries
 *   jobs.c           store jobs: one in flight, the next one collecting
 *   peers.c          frames out (gated by durability of the vote), frames in order, links
 *   batch.c          leader: evaluation, layers, requests that are known, answers
 *   forward.c        requests of this member's clients on their way to the leader
 *   read_index.c     linearizable reads
 *   membership.c     changes of the configuration, transfer of leadership
 *   snapshot_send.c, snapshot_recv.c
 *   hashes.c         comparing the state's hash between members
 *   level.c          feature levels and releases
 *
 * Threads: one. The core (libraft) is included by files of this folder only. */
#ifndef RAFTCTL_DRIVER_INT_H
#define RAFTCTL_DRIVER_INT_H

#include <raft.h>

#include "raftctl/conf.h"
#include "raftctl/driver.h"
#include "raftctl/guards.h"
#include "raftctl/log_cache.h"
#include "raftctl/raft_codec.h"
#include "raftctl/snapshot.h"
#include "state/overlay.h"
#include "wire/base/list.h"

#if RAFT_VERSION_NUMBER != 2201
#error "the driver relies on the memory rules and the internals of libraft 0.22.1, exactly"
#endif

#define BATCHES_IN_FLIGHT 2
#define BATCH_OPS_MAX 256
#define BATCH_OPS_WORTH 32 /* as many make a batch beside one that is on its way */
#define BATCH_BYTES_MAX ((size_t)1 << 20)
#define OPS_MAX 8192      /* on the leader, waiting to be evaluated */
#define REQUESTS_MAX 8192 /* of this member's clients */
#define READS_MAX 16384
#define FORWARDS_IN_FLIGHT 256 /* to the leader */
#define PEERS_MAX 32
#define APPLY_LAZY_MS 5
#define JOB_ENTRIES_MAX 512
#define JOB_BYTES_MAX ((size_t)8 << 20)
#define HASH_EVERY 256 /* no apply crosses a multiple: members have hashes to compare there */
#define HASH_RING 32
#define SNAP_WINDOW 4
#define TRAILING_MIN 256
#define RETRY_MS 20
#define LATER_MS 50
#define TRIM_POINTS 3
#define KEEP_POINTS 16      /* snapshots over which, and */
#define CATCH_UP_TIMEOUTS 6 /* election timeouts that a promotion waits for its member */
#define KEEP_BYTES_TIMES 2  /* times snapshot_bytes for which the log is kept for a member that catches up */
#define ASIDE_AFTER 6       /* election timeouts that a witness leads without progress */
#define ASIDE_FOR 10        /* and then does not stand */
#define STARVED_MS 30000
#define APPEND_MAX 64 /* entries in a frame */
#define OP_BUCKETS 1024

/* ---- what waits ---- */
enum request_state { REQUEST_WAITING, REQUEST_SENT, REQUEST_QUEUED };
struct waiter;
struct drv_request { /* of a client of this member */
        struct list node;
        uint8_t id[REQUEST_ID_SIZE];
        struct blob request; /* behind the struct */
        uint64_t deadline_ms;
        driver_reply_fn *cb;
        void *arg;
        enum request_state state;
        uint64_t attempt, sent_ms; /* SENT */
        uint32_t uncertain;        /* attempts that may have been proposed */
        bool tried;
        uint64_t since; /* tried: what was committed, for all that is known here, before the first attempt */
        struct waiter *waiter; /* QUEUED */
};
enum op_state { OP_QUEUED, OP_PROPOSED, OP_NOOP };
struct waiter { /* who wants the outcome of an op */
        struct list node;
        struct drv_request *request; /* local, or NULL */
        uint64_t peer, attempt;
};
struct op { /* on the leader: one request id */
        struct list node;
        struct op *hash_next;
        uint8_t id[REQUEST_ID_SIZE];
        struct blob request; /* behind the struct */
        uint64_t deadline_ms;
        uint64_t
                since; /* an earlier attempt may have been carried out, above this index; NEVER_TRIED = none was made */
        enum op_state state;
        struct list waiters;
        int err; /* of the evaluation, 0 or why nothing was done */
        uint64_t index, term;
        uint8_t *reply;
        size_t reply_n;
};
struct batch { /* on the leader: one proposed entry, or none when nothing was written */
        struct list node;
        uint64_t index;        /* of the entry; of the newest one it saw, when it has none of its own */
        uint64_t epoch;        /* without an entry: answered after this read epoch is confirmed */
        struct overlay *layer; /* NULL without an entry */
        struct list ops;
        bool answered, confirmed;
};

enum read_state { READ_NEW, READ_ASKED, READ_APPLYING };
struct read {
        struct list node;
        uint64_t deadline_ms, index, term;
        driver_read_fn *cb;
        void *arg;
};
struct remote_read {
        struct list node;
        uint64_t peer, seq;
};
struct read_batch { /* on the leader: waits for a majority to echo the epoch */
        struct list node;
        uint64_t epoch, index;
        struct list reads, remotes;
};

enum done_kind { DONE_REQUEST, DONE_READ, DONE_CHANGE };
struct done { /* a callback that is due */
        struct list node;
        enum done_kind kind;
        int err;
        uint64_t index, term;
        driver_reply_fn *reply_cb;
        driver_read_fn *read_cb;
        driver_change_fn *change_cb;
        void *arg;
        const char *why;
        uint8_t *reply;
        size_t reply_n;
};

#define HELD_MAX 1024
struct held_frame { /* waits for the vote to be durable */
        struct list node;
        uint64_t to, job_no;
        enum raft_channel channel;
        size_t n;
        uint8_t data[];
};

/* ---- peers ---- */
struct snap_send {
        bool active, opened, last_sent;
        uint64_t transfer, seq, acked, started_ms, heard_ms;
        uint64_t index;         /* of the newest one that was opened */
        uint64_t asked;         /* the core waits for one from that index on; 0 = it does not */
        uint64_t rest_until_ms; /* after one was sent: the core asks again while it installs */
        struct snapshot_reader reader;
};
struct peer {
        uint64_t id;
        bool link_up, link_fresh;
        bool bulk_down;         /* snapshots cannot be sent */
        uint64_t incarnation;   /* of its process */
        struct release release; /* level_max 0 = it has not said */
        uint64_t seq_in[CHANNEL_N], seq_out[CHANNEL_N];
        uint64_t heard_ms; /* 0 = never */
        /* leader */
        uint64_t epoch_acked, epoch_acked_term;
        bool full;
        bool log_only;       /* a witness */
        uint64_t starved_ms; /* it needed a snapshot that this member, a witness, cannot give; 0 = never */
        uint64_t match_seen; /* for progress */
        uint64_t hash_good, hash_bad; /* newest write-set index at which its hash was ours, or was not */
        uint8_t hash_bad_ours[32];
        struct snap_send snap;
        /* follower */
        uint64_t epoch_seen, epoch_seen_term;
};

struct snap_chunk {
        struct list node;
        uint64_t seq;
        bool last;
        size_t n;
        uint8_t data[];
};
enum recv_state { RECV_IDLE, RECV_STARTING, RECV_LOADING, RECV_LOADED };
struct snap_recv {
        enum recv_state state;
        uint64_t from, transfer, term, index, last_term, conf_index, seq_in, seq_written, heard_ms;
        struct buf conf;
        struct list chunks; /* arrived, not given to the store yet */
        struct snap_chunk *writing;
        bool busy;    /* a call of the store is out */
        bool restart; /* the answer of that call belongs to a transfer that was given up */
};

struct change {
        bool active, catching_up, submitted, transferring;
        bool hand_over; /* of this member itself: only the transfer is done here */
        enum member_change what;
        uint64_t id, index /* of its entry */, deadline_ms;
        uint64_t catch_up_index, catch_up_until_ms; /* a promotion waits for that entry */
        driver_change_fn *cb;
        void *arg;
};

struct job { /* the one in flight */
        struct store_job sj;
        bool busy, with_snapshot, is_install;
        uint64_t no, from, to, snapshot_index, snapshot_term;
        unsigned trailing;
        uint32_t pins_n, pins_cap;
        struct entry **pins;
        struct log_entry *entries, *apply;
        enum apply_result *results;
        uint32_t entries_cap, apply_cap;
        struct buf conf;
};

struct hash_point {
        uint64_t index;
        uint8_t hash[32];
};

struct driver {
        struct raft raft;
        struct store *store;
        struct env *env;
        struct driver_ops ops;
        void *arg;
        uint64_t id;
        char *name, *address;
        unsigned election_ms, heartbeat_ms, snapshot_entries, trailing_entries, append_entries;
        size_t snapshot_bytes, cache_bytes, job_bytes;
        bool lazy, log_only;
        uint64_t needed_ms;                /* lazy: a vote was refused because this log is newer; 0 = never */
        uint64_t progress_ms;              /* lazy leader: since when nobody got any further */
        uint64_t aside_ms;                 /* lazy: does not stand before */
        uint64_t trim_points[TRIM_POINTS]; /* log_only: indexes of the last snapshots, oldest first */
        uint64_t incarnation, rng;

        bool started, dirty, holding /* callbacks wait for the next call */, closing;
        bool collecting; /* requests of this call wait for those that come in the same turn of the loop */
        bool fill_due;   /* and the next tick evaluates them all */
        unsigned depth;
        int fatal;
        const char *fatal_why;
        unsigned level_min, level_max;
        unsigned level_seen; /* of the state at level_seen_at; 0 = not read yet */
        uint64_t level_seen_at;
        char level_why[200]; /* what fatal_why points to, when it is the level */
        bool fatal_told, state_told, state_changed;
        uint64_t applied_told;

        /* log and store */
        struct log_cache log;
        uint64_t store_last;    /* the store has, or has been given, rows up to here */
        uint64_t truncate_from; /* 0 = none: rows to delete with the next job */
        bool vote_dirty, installing, install_ready;
        uint64_t gate_no; /* frames wait for this job */
        uint32_t held_n;  /* of them */
        uint64_t job_no, durable_no;
        struct job job;
        struct applied applied; /* visible */
        uint64_t apply_due_ms;  /* 0 = nothing to apply */
        bool apply_now;
        uint64_t snapshot_index, snapshot_term;
        size_t bytes_since_snapshot;
        struct log_point {
                uint64_t index, bytes; /* of the log up to there, since the start */
        } keep_points[KEEP_POINTS];    /* the last snapshots, oldest first */
        uint64_t log_bytes;
        struct raft_snapshot_metadata install_meta; /* while installing; owned */
        struct hash_point hashes[HASH_RING];
        unsigned hashes_at;
        struct arena start_arena; /* between load and start */
        struct store_start start;

        /* peers and frames */
        struct peer peers[PEERS_MAX];
        unsigned peers_n;
        struct list held;
        struct buf frame;
        struct arena rx;
        uint64_t leader_heard_ms, fast_ms /* of the last early election */;
        uint64_t heard_term; /* newest term of which a leader's entries may have been acknowledged */
        uint64_t round_ms;   /* the last round of an election began */
        unsigned refused_n;  /* rounds since a leader was heard in which somebody refused */
        bool round_refused;  /* in this round */
        bool learning;       /* entries of a lesson are not durable yet */
        bool stale_append; /* while an append of an older term is refused: the core leaves its answer half empty */

        /* role */
        bool leading, ready; /* ready: the barrier and everything held at the election is applied */
        uint64_t lead_term, barrier_index, lead_ms, seen_leader, seen_term;
        int seen_state;
        uint64_t timer_ms, no_quorum_since_ms;
        uint64_t handover_ms; /* disk full or lazy: next attempt */

        /* leader: evaluation */
        struct list queue, batches, noops;
        struct list later; /* evaluated again at later_ms: what they depend on is not known here yet */
        uint64_t later_ms;
        uint32_t queue_n, batches_n /* without an answer */;
        struct op *ops_hash[OP_BUCKETS];
        struct tx *view;
        struct arena eval;

        /* clients of this member */
        struct list waiting, sent;
        uint32_t requests_n, sent_n;
        uint64_t attempt, hold_ms;

        /* reads */
        struct list reads_new, reads_asked, reads_applying, read_batches, remotes_new;
        uint32_t reads_n;
        uint64_t epoch, read_seq, read_asked_ms;
        bool read_asked;

        struct change change;
        struct snap_recv recv;
        uint64_t transfer_no;
        struct list done;
        uint64_t scan_ms; /* earliest deadline of anything that waits */
};

/* driver.c */
static inline uint64_t drv_now(const struct driver *d) { return d->env->now_ms(d->env); }
void drv_enter(struct driver *d);
void drv_leave(struct driver *d);
void drv_fatal(struct driver *d, int err, const char *why);
void drv_scan_at(struct driver *d, uint64_t ms);
struct done *drv_done(struct driver *d, enum done_kind kind, int err, void *arg);
uint64_t drv_random(struct driver *d);
/* For the simulator: the process dies. Ends the views of the store; next come store_mem_crash and
 * driver_close. */
void drv_process_dies(struct driver *d);
uint64_t drv_leader(const struct driver *d); /* 0 = none known; own id when leading */

/* step.c */
void step_start(struct driver *d);
/* The core's answer; only SUBMIT and TRANSFER may fail, everything else is fatal. */
int step_core(struct driver *d, struct raft_event *e);
int step_submit(struct driver *d, uint8_t type, struct blob data, uint64_t *ret_index);
void step_timeout(struct driver *d, uint64_t now);
void step_receive(struct driver *d, struct peer *p, enum raft_frame kind, const void *msg);
/* Reads the core's timer anew. */
void step_set_timer(struct driver *d, uint64_t now);
/* Sends so many entries of the own log, in as many frames of that kind (of type rf_append) as it takes. */
void step_send_entries(
        struct driver *d, uint64_t to, enum raft_frame kind, const struct raft_append_entries *a);
/* Hands entries to the core as if a leader had sent them. */
void step_feed(struct driver *d, struct peer *p, const struct rf_append *m);
void step_conf_commit(struct driver *d);
/* Gives leadership up, by a term of its own that nobody leads. */
void step_aside(struct driver *d);
/* A heartbeat of our own: lets a member that waits with a read learn the commit index before the core's next
 * one. */
void step_tell_commit(struct driver *d, uint64_t to);
uint64_t step_term_of(const struct driver *d, uint64_t index);
/* The configuration in force at an applied index; false while it cannot be told. */
bool step_conf_at(
        const struct driver *d, uint64_t index, const struct raft_configuration **ret, uint64_t *ret_index);

/* elect.c */
/* The leader's process is known to be gone: an election soon, without waiting for the timer. */
void elect_early(struct driver *d);
void elect_first(struct driver *d);
/* The timer has fired: a round of an election begins with the step that comes next. */
void elect_round(struct driver *d, uint64_t now);
/* A vote, or the promise of one, was refused. */
void elect_refused(struct driver *d);
/* An append of the current term or a newer one is here. */
void elect_leader_heard(struct driver *d);
void elect_teach(struct driver *d, struct peer *p, const struct rf_vote *m);
void elect_on_lesson(struct driver *d, struct peer *p, const struct rf_append *m);
/* Entries have become durable. */
void elect_stored(struct driver *d);

/* jobs.c */
void jobs_init(struct driver *d);
void jobs_done(struct driver *d);
void jobs_pump(struct driver *d);
void jobs_entries(struct driver *d, const struct raft_update *u);
void jobs_vote(struct driver *d);
void jobs_install(struct driver *d, const struct raft_update *u);
uint64_t jobs_due(const struct driver *d);

/* peers.c */
struct peer *peer_get(
        struct driver *d, uint64_t id); /* made when missing; NULL when the table is full of members */
struct peer *peer_find(struct driver *d, uint64_t id); /* NULL when unknown */
void peer_send(
        struct driver *d, uint64_t to, enum raft_channel channel, enum raft_frame kind, const void *msg);
void peer_flush(struct driver *d);
bool peer_in_order(struct driver *d, struct peer *p, enum raft_channel channel, const struct frame_header *h);

/* batch.c */
struct op *batch_op_find(struct driver *d, const uint8_t *id);
#define NEVER_TRIED UINT64_MAX
void batch_add(struct driver *d, const uint8_t *id, struct blob request, uint64_t deadline_ms, uint64_t since,
        struct drv_request *local, uint64_t peer, uint64_t attempt);
void batch_fill(struct driver *d);
bool batch_can_fill(const struct driver *d);
void batch_commit(struct driver *d);
void batch_applied(struct driver *d);
void batch_refused(struct driver *d, uint64_t index);
void batch_noop_confirmed(struct driver *d, uint64_t epoch);
void batch_lost(struct driver *d);                  /* leadership is gone */
void batch_refuse(struct driver *d, struct op *op); /* answers op->err */
void batch_expire(struct driver *d, uint64_t now);
void batch_forget_waiter(struct driver *d, struct waiter *w);

/* forward.c */
void forward_pump(struct driver *d);
void forward_leader_changed(struct driver *d);
void forward_expire(struct driver *d, uint64_t now);
void forward_finish(
        struct driver *d, struct drv_request *r, int err, uint64_t index, uint64_t term, struct blob reply);
void forward_again(struct driver *d, struct drv_request *r);
void forward_on_request(struct driver *d, struct peer *p, const struct rf_forward *m);
void forward_on_reply(struct driver *d, struct peer *p, const struct rf_forward_reply *m);
void forward_close(struct driver *d);

/* read_index.c */
void read_pump(struct driver *d);
void read_ack(struct driver *d, struct peer *p, uint64_t term, uint64_t epoch);
void read_leader_changed(struct driver *d);
void read_on_ask(struct driver *d, struct peer *p, const struct rf_read *m);
void read_on_reply(struct driver *d, struct peer *p, const struct rf_read_reply *m);
void read_on_confirm(struct driver *d, struct peer *p, const struct rf_confirm *m);
void read_expire(struct driver *d, uint64_t now);
void read_close(struct driver *d);
uint64_t read_epoch_for_noop(struct driver *d);

/* membership.c */
void member_pump(struct driver *d);
void member_lost(struct driver *d);
void member_expire(struct driver *d, uint64_t now);
void member_hand_over(struct driver *d, uint64_t now);
void member_finish(struct driver *d, int err, const char *why);

/* snapshot_send.c, snapshot_recv.c */
void snap_send_start(struct driver *d, uint64_t to, uint64_t asked);
/* A refusal of entries, as the core is to see it (SNAP). */
void snap_on_refusal(struct driver *d, struct peer *p, struct raft_append_entries_result *r);
/* Its log is known to be equal up to match. */
void snap_on_match(struct driver *d, struct peer *p, uint64_t match);
/* The index behind which some member that is there needs the log; UINT64_MAX: none does, or this one does not lead. */
uint64_t snap_keep_from(struct driver *d);
void snap_send_pump(struct driver *d);
void snap_send_stop(struct driver *d, struct peer *p);
void snap_send_stop_all(struct driver *d);
void snap_on_ack(struct driver *d, struct peer *p, const struct rf_snap_ack *m);
void snap_send_tick(struct driver *d, uint64_t now);
void snap_recv_init(struct driver *d);
void snap_on_begin(struct driver *d, struct peer *p, const struct rf_snap_begin *m);
void snap_on_chunk(struct driver *d, struct peer *p, const struct rf_snap_chunk *m);
void snap_recv_tick(struct driver *d, uint64_t now);
void snap_recv_drop(struct driver *d);
void snap_recv_close(struct driver *d);

/* hashes.c */
void hash_note(struct driver *d, const struct applied *a);
void hash_fill(struct driver *d, struct rf_append_result *m);
void hash_on_report(struct driver *d, struct peer *p, const struct rf_append_result *m);
void hash_on_fence(struct driver *d, const struct rf_fence *m);

#endif
