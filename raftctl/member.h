/* The real Raft member on libuv: certificates, store, driver, transport, timers, joining, the local admin
 * socket.
 *
 * Start: member_open() checks that certificate, identity file and store belong to the same member; an
 * identity that has taken part before but whose store is gone is refused, because a voter that forgot its
 * votes can break the cluster. Ownership: one object; member_close() once, also after a member_open() that
 * failed with *ret set. Threads: loop thread only; the controller queues from its HTTP threads itself
 * (controller/base/loopq.h). */
#ifndef RAFTCTL_MEMBER_H
#define RAFTCTL_MEMBER_H

#include "raftctl/driver.h"
#include "raftctl/transport.h"
#include "wire/def/types.h"

#define WITNESS_LOG_BYTES ((uint64_t)4 << 20)
#define MEMBER_EXIT_FATAL 70 /* exit code after hooks.on_fatal */
/* After on_fatal with E_REMOVED, or E_STALE (restored or recovered without it): starting it again is of no use. */
#define MEMBER_EXIT_REMOVED 71

struct local_member;

struct member_hooks {
        evaluate_fn *evaluate; /* of requests that are not raftctl/join_op.h's; NULL = there are none */
        void (*on_state)(void *arg);
        void (*on_applied)(void *arg, uint64_t index);
        /* The disk has become full or there is room again. May be NULL. */
        void (*on_room)(void *arg, bool full);
        /* Its store was damaged or gone when it started: what is done about it. May be NULL. */
        void (*on_heal)(void *arg, const char *text);
        /* A link with another member came up; a controller gave a secret (member_send_secret). May be NULL. */
        void (*on_link)(void *arg, uint64_t peer);
        void (*on_secret)(void *arg, uint64_t from, struct blob secret);
        /* It cannot go on: log the reason, which has a remedy, and leave with MEMBER_EXIT_FATAL. */
        void (*on_fatal)(void *arg, int err, const char *why);
        /* Somebody joined through this member, and that is committed: satellites are registered now.
         * Borrowed. May be NULL. */
        void (*on_joined)(void *arg, const struct join_op *op);
        /* What is known of the satellites' releases, into the arena; returns how many. May be NULL. */
        uint32_t (*satellites)(void *arg, struct arena *a, struct admin_satellite **ret);
};

struct member_config {
        const char *dir;           /* data directory */
        const char *run_dir;       /* for the admin socket; NULL = none */
        const char *listen;        /* host[:port]; NULL = the address of the identity */
        unsigned election_ms;      /* 0 = 500 */
        unsigned snapshot_entries; /* 0 = 4096 */
        unsigned heartbeat_ms;     /* 0 = 50 */
        uint64_t
                level_raise_ms; /* all members have known the next feature level for so long: the leader raises it;
                                      0 = it does not */
        unsigned
                promote_after_ms; /* a stand-by takes over the vote of a voter that stays away so long; 0 = never */
        bool heal; /* a store that is damaged or gone is fetched anew from the others: blocks up to 30 s; not for witnesses */
        bool witness; /* keeps no state, never evaluates: requests that come while it leads wait for the next leader.
                         E_CONFIG when the certificate is another role's */
        bool is_volatile; /* a witness without a disk: DIR is only read; each start is another raft id, which is let
                             in by the certificate. Also when DIR/identity says so */
        uint64_t witness_log_bytes; /* 0 = WITNESS_LOG_BYTES; what a witness keeps of the log */
        const struct member_hooks *hooks;
        void *arg;
        struct env *env; /* NULL = env_real() */
};

/* E_NOT_FOUND: neither founded nor joined. E_AUTH: the pieces of the identity do not match. E_STALE: the
 * store of an identity that has taken part is gone. E_CORRUPT: it is damaged; with config->heal all of it is read
 * first, and both mean that the others did not help either. Others as store_lmdb_open, driver_open, -EADDRINUSE. f
 * has cause and remedy. */
int member_open(uv_loop_t *loop, const struct member_config *config, struct local_member **ret,
        struct fail *f) MUST_USE;
/* Pending requests are answered with E_CANCELED from inside; cb comes from the loop; m is gone then. */
void member_close(struct local_member *m, void (*cb)(void *arg), void *arg);

struct driver *member_driver(struct local_member *m);
struct store *member_store(struct local_member *m);
struct transport *member_transport(struct local_member *m);
/* Of this member; valid as long as it is open. */
const struct member_identity *member_identity(const struct local_member *m);
/* Certificates for sessions with satellites and for REST HTTPS. */
struct tls_ctx *member_tls(struct local_member *m);
const char *member_dir(const struct local_member *m);
/* Gives something that is not for the log to one controller, or to all (0), as far as there are links. */
void member_send_secret(struct local_member *m, uint64_t to, struct blob secret);
/* Name of a member by the replicated table or what is known from joining; "" when unknown. */
void member_name_of(struct local_member *m, uint64_t id, char ret[PKI_NAME_MAX + 1]);

/* ---- operations of raftctl, also for the controller's own use; cb as driver_submit's ---- */
typedef void member_op_fn(void *arg, int err, const struct op_outcome *outcome);
/* Submits one of join_op.h's requests; at most MEMBER_OPS_MAX at a time, else E_BUSY through cb. */
#define MEMBER_OPS_MAX 256
void member_submit(struct local_member *m, const char *path, const struct type_desc *body_type,
        const void *body, unsigned timeout_ms, member_op_fn *cb, void *arg);
/* Signs a certificate with the cluster's key. E_UNSUPPORTED on a member without it. */
int member_sign(struct local_member *m, const struct pem *csr, enum pki_role role, const char *name,
        const char *const *sans, uint32_t sans_n, struct pem *ret_cert, struct fail *f) MUST_USE;

/* ---- DIR/identity ---- */
int identity_load(const char *dir, struct arena *a, struct member_identity *ret, struct fail *f) MUST_USE;
int identity_save(const char *dir, const struct member_identity *id, struct fail *f) MUST_USE;
/* A random id for a new member: 63 bits, not 0. */
uint64_t identity_new_id(struct env *env);

/* Founds a cluster in dir: CA, certificate, identity, store with the first configuration and rows. Blocking.
 */
struct member_founding {
        const char *dir;
        const char *name;
        const char *address; /* host:port */
        const char *cluster_name;
        const char *zone; /* NULL = none */
        const char *const *sans;
        uint32_t sans_n;
        struct env *env;
};
int member_found(const struct member_founding *founding, struct fail *f) MUST_USE;

/* Joins as controller or witness, as the token says: key, certificate and identity in dir. Blocking. Can be
 * repeated after an interruption with the same token. Errors as join_run(). */
struct member_joining {
        const char *dir;
        const char *token;
        const char *name;
        const char *address; /* host:port where the other members reach this one */
        const char *zone;    /* NULL = none */
        bool standby;        /* it is to be a stand-by */
        const char *const *sans;
        uint32_t sans_n;
        bool is_volatile;    /* a witness without a disk: what is written to dir may then be made read-only */
        unsigned timeout_ms; /* 0 = 30 s */
};
int member_join(const struct member_joining *joining, struct fail *f) MUST_USE;

/* Comes back without its memory: for a member whose store is damaged or gone, with its certificate (DIR/pki) still
 * there. Draws a new raft id and asks the other members, by the certificate, to let it in under that; nothing of the
 * old store is read. When that is committed: what is left of DIR/raft is renamed to DIR/raft.ID.N (never deleted),
 * DIR/identity has the new id and is not `started`, and member_open() may follow: the leader takes the former id out
 * of the configuration, adds the new one, which catches up by a snapshot, and only then votes. Safe by
 * docs/consensus.md, "Fresh ids"; it costs this member's vote until it has caught up, so a majority of the voters
 * must be there without it.
 *
 * Blocking, on a loop of its own; the member must not be running (E_BUSY). May be repeated after any failure; not
 * more often than every 5 s for a name (waits for that within the timeout). Before it succeeds nothing is changed on
 * disk; a crash after the commit leaves an identity that everybody refuses: repeat it.
 *
 * E_NOT_FOUND: no certificate, or no address of another member is known. E_AUTH: this member was removed, or its name
 * is another machine's now: for good. E_INVALID: the set of voters would not be sound, or the address is missing.
 * E_TIMEOUT: nobody answered, or the cluster has no quorum. f has cause and remedy. */
struct member_rejoining {
        const char *dir;
        const char *address;      /* host:port where the others reach this one; NULL = as before */
        const char *const *peers; /* host:port of members to ask first; those of DIR/identity come after */
        uint32_t peers_n;
        unsigned timeout_ms; /* 0 = 30 s */
};
int member_rejoin(const struct member_rejoining *rejoining, struct fail *f) MUST_USE;

#endif
