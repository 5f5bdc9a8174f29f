/* Inside of the member. */
#ifndef RAFTCTL_MEMBER_INT_H
#define RAFTCTL_MEMBER_INT_H

#include "raftctl/member.h"
#include "raftctl/policy.h"
#include "wire/base/list.h"
#include "wire/net/join_client.h"
#include "wire/net/pki_dir.h"

#define MEMBER_STORE_DIR "raft" /* below the data directory */

struct admin;

struct reconcile {
        uv_timer_t timer;
        bool busy;                            /* a read or a change is under way */
        bool again;                           /* something happened meanwhile */
        char last[160];                       /* what went wrong last, for the status */
        char waits[160];                      /* what the next change waits for, or "" */
        uint64_t lead_term, leading_since_ms; /* 0 = does not lead */
        char zones[256];                      /* the warning that was logged last */
        uint64_t transfer_to;                 /* a transfer that was asked for: to that member; 0 = none */
        bool transfer;                        /* to transfer_to, or to the best one */
        uint64_t transfer_until_ms;           /* tried again until then */
};

struct identity_write { /* of the others' addresses, off the loop; one at a time */
        uv_work_t work;
        char *path;
        struct buf text;
        bool busy;
};

/* The feature level, looked at once a second (member_level.c). */
struct member_level {
        uv_timer_t timer;
        unsigned now;       /* of the state */
        unsigned next;      /* that all members know, as far as this one can tell; = now when there is none */
        uint64_t since_ms;  /* leader: all members have known next since then; 0 = they do not */
        bool busy;          /* the leader's own raise is under way */
        uint64_t looked_at; /* applied index of the last look */
        char note[256];     /* why there is no next one */
};

struct local_member {
        uv_loop_t *loop;
        struct env *env;
        const struct member_hooks *hooks;
        void *arg;
        char *dir;
        unsigned election_ms, heartbeat_ms, snapshot_entries;
        bool witness, is_volatile;
        /* witness.c */
        uint64_t witness_log_bytes, looked_ms, trimmed_ms;
        size_t heap_bytes;        /* in use when it was last looked at */
        struct store_mem *memory; /* of a volatile one; else NULL */
        uv_idle_t memory_turn;
        uv_timer_t come_back;
        struct join_ask *coming_back;
        const char *come_back_to[MEMBER_ROWS_MAX];
        struct arena arena;         /* holds identity */
        struct arena members_arena; /* holds identity.members, once they have changed */
        unsigned promote_after_ms;  /* 0 = stand-bys are promoted by hand only */
        struct member_identity identity;
        struct pki_dir pki;
        struct tls_ctx *tls;
        struct store *store;
        struct driver *driver;
        struct transport *transport;
        struct admin *admin;
        struct reconcile reconcile;
        struct identity_write identity_write;
        struct member_level level;
        uint64_t level_raise_ms;
        uv_prepare_t turn;
        uv_check_t polled;
        uv_timer_t tick;
        uint64_t incarnation, op_counter;
        unsigned ops; /* member_submit()s under way */
        bool fatal, closing, driver_state_changed, disk_full;
        char outdated[400]; /* why it stopped, when it belongs to an earlier history */
        unsigned live;
        void (*closed_cb)(void *arg);
        void *closed_arg;
};

/* ---- member.c ---- */
void member_settle(struct local_member *m);
uint64_t member_now_ms(const struct local_member *m);
/* ---- identity.c ---- */
#define MEMBER_SANS_MAX (PKI_ADDRESSES_MAX - 5)
/* What a certificate is valid for as a server: its names as asked for, the machine's name and address, and
 * the loopback. host is room for the address, which may be NULL. Returns how many; sans_n is at most
 * MEMBER_SANS_MAX. */
uint32_t member_cert_names(const char *name, const char *address, const char *const *sans, uint32_t sans_n,
        char host[64], const char *ret[PKI_ADDRESSES_MAX]);
/* Notes the other members in DIR/identity, so that this one finds them when its store is lost. */
struct member_row;
void identity_note_members(struct local_member *m, const struct member_row *rows, uint32_t n);
/* ---- member_table.c ---- */
/* Rows of the table, at most MEMBER_ROWS_MAX; before there is one, what joining told. Returns the count. */
uint32_t member_rows(struct local_member *m, struct member_row ret[MEMBER_ROWS_MAX], bool *ret_from_table);
/* Ids of removed members that may go at any price. */
uint32_t member_forced(struct local_member *m, uint64_t ret[MEMBER_ROWS_MAX]);
/* Was that id removed for good, and is out of the configuration? */
bool member_removed(void *arg, uint64_t id);
enum transport_known member_check(void *arg, uint64_t id, const struct pki_identity *who);
/* Tells the transport whom to dial. */
void member_peers_update(struct local_member *m);
/* ---- reconcile.c ---- */
void reconcile_open(struct local_member *m);
void reconcile_kick(struct local_member *m);
/* Hands leadership over, to the member of that id or to the best one; tried again for some seconds. */
void reconcile_transfer(struct local_member *m, uint64_t to);
void member_fatal(struct local_member *m, int err, const char *why);
/* ---- witness.c ---- */
uint64_t witness_log_bytes(const struct local_member *m);
struct store_lmdb_config;
void witness_store_config(const struct local_member *m, struct store_lmdb_config *c);
/* The store of a volatile one; member_close() ends it. */
void witness_open_memory(struct local_member *m);
/* Asks to be let in under identity.raft_id, until it is, or is refused for good. */
void witness_come_back(struct local_member *m);
/* Now and then: says what an administrator should know. */
void witness_look(struct local_member *m);
/* Gives free memory back to the kernel; in each loop turn. */
void witness_trim(struct local_member *m);
/* ---- heal.c ---- */
/* err: why the store cannot be opened, told in f. 0: the member has a new identity and no store; else as before. */
int heal_store(struct local_member *m, int err, struct fail *f) MUST_USE;
/* ---- rejoin.c ---- */
/* The request of a member that comes back under id->raft_id. */
int rejoin_request(const struct member_identity *id, enum cert_role role, struct buf *out) MUST_USE;
/* ---- member_level.c ---- */
void member_level_open(struct local_member *m);
/* Looks now; what it found is in m->level. */
void member_level_look(struct local_member *m);
/* Until the leader raises it by itself; -1 = it does not. */
int64_t member_level_due_s(const struct local_member *m);
void member_level_raise(
        struct local_member *m, unsigned to, unsigned timeout_ms, member_op_fn *cb, void *arg);
/* What this member sees as the leader, for the policy; s is filled and referred to. */
struct policy_view member_view(struct local_member *m, struct driver_status *s);
/* ---- join.c ---- */
void join_serve(
        void *arg, uint64_t caller, const struct pki_identity *id, const char *address, struct blob request);

#endif
