/* Links between members: mutual TLS connections (wire/net/conn.h), two for each pair of members, one per
 * channel, so that a snapshot never delays a heartbeat.
 *
 * Both sides dial; one connection per channel stays. Deterministic: while the member with the lower id is
 * dialing, it refuses the other's call, unless its own last attempt failed. Each call carries a number, and
 * the answer says which calls of the answering side are withdrawn, so that a late one cannot replace the
 * link. A call from a peer whose link is up replaces that link: the peer knows better. Nothing of an old
 * connection is delivered after the new one is up.
 *
 * Identity is the certificate: the raft id in the first frame must belong to the certificate's name by the
 * replicated member table (ops.name_of). An id that the table does not know yet is let in with a controller's
 * or witness's certificate, because a member that was away cannot know who has joined since; names that the
 * table binds to another id are refused. transport_recheck() applies the table again.
 *
 * While a link is down at most two small frames wait (the newest of each of two kinds: a vote and a
 * heartbeat), no longer than an election timeout; the rest is dropped, and Raft sends it again.
 *
 * Ownership: one object for each member; frames are copied. Threads: loop thread only. Callbacks come from
 * the loop, but for ops.link(down), which transport_peer_remove() and transport_recheck() may call. */
#ifndef RAFTCTL_TRANSPORT_H
#define RAFTCTL_TRANSPORT_H

#include "raftctl/driver.h"
#include "wire/def/versions.h"
#include "wire/net/listener.h"

#define TRANSPORT_QUEUE_BYTES ((size_t)32 << 20) /* for each peer and channel; more is dropped */
#define TRANSPORT_FRAME_MAX_BYTES (64u << 20)
#define TRANSPORT_PEERS_MAX 32

struct transport;

enum transport_known { PEER_UNKNOWN, PEER_KNOWN, PEER_DENIED };

struct transport_ops {
        void (*receive)(void *arg, uint64_t from, enum raft_channel channel, struct blob frame);
        /* The RAFT link of a peer came up or went down. reset: by the other side. */
        void (*link)(void *arg, uint64_t peer, bool up, bool reset);
        /* May be NULL. Its BULK link did; told before each link(up) as well. What was sent on it while it was down is gone. */
        void (*bulk)(void *arg, uint64_t peer, bool up);
        /* May the holder of that certificate be that id? KNOWN: yes. DENIED: its name belongs to another id,
         * the id to another name, or the holder was removed. */
        enum transport_known (*check)(void *arg, uint64_t id, const struct pki_identity *who);
        /* What this process says of itself on a new link, and what a peer said: before link(up), or when the link is refused
         * because the releases do not fit. NULL: nothing, as the first release. */
        void (*release)(void *arg, struct release *ret);
        void (*peer_release)(void *arg, uint64_t peer, const struct release *r);
        /* Somebody wants to join; caller identifies the connection for transport_reply(). id: NULL without
         * certificate. */
        void (*join)(void *arg, uint64_t caller, const struct pki_identity *id, const char *address,
                struct blob request);
        /* May be NULL, as outdated. Epoch of this member's state (raftctl/takeover.h). false: it has no state yet. */
        bool (*lineage)(void *arg, uint64_t *ret_epoch);
        /* A member of a later history of the same cluster was met: this one belongs to the past. */
        void (*outdated)(void *arg, uint64_t epoch);
        /* May be NULL, both. Was that id removed for good? And: peer says that this member was. */
        bool (*removed)(void *arg, uint64_t id);
        void (*told_removed)(void *arg, uint64_t peer);
        /* May be NULL. What a controller gave with transport_send_secret(). */
        void (*secret)(void *arg, uint64_t from, struct blob secret);
};

struct transport_config {
        uint64_t id;
        struct sockaddr_storage listen;
        struct tls_ctx *ctx; /* must allow anonymous peers; a reference is taken */
        unsigned election_ms;
        struct env *env;
};

/* After a failure as well: *ret is set, and transport_close() is required. */
int transport_open(uv_loop_t *loop, const struct transport_config *config, const struct transport_ops *ops,
        void *arg, struct transport **ret, struct fail *f) MUST_USE;
/* Dial this member; another address than before means a new link. */
void transport_peer_set(struct transport *t, uint64_t id, const char *address);
void transport_peer_remove(struct transport *t, uint64_t id);
/* Judges every link by ops.check again and drops those that are denied. */
void transport_recheck(struct transport *t);
void transport_send(struct transport *t, uint64_t to, enum raft_channel channel, struct blob frame);
/* Something that is not for the log, for a member whose link is up and whose certificate is a controller's; others get nothing. It
 * does not wait for a link. */
void transport_send_secret(struct transport *t, uint64_t to, struct blob secret);
/* Answers a join; the connection is closed when the answer has left. The caller may be gone: then nothing
 * happens. */
void transport_reply(struct transport *t, uint64_t caller, struct blob reply);

struct transport_peer {
        bool known, up;
        uint64_t rtt_us;   /* 0 = not measured */
        uint64_t dropped;  /* frames */
        char trouble[160]; /* why there is no link, or "" */
};
void transport_peer_info(const struct transport *t, uint64_t id, struct transport_peer *ret);
/* Was it named by transport_peer_set? */
bool transport_peer_dialed(const struct transport *t, uint64_t id);
/* Ids of peers, at most n; returns how many. */
uint32_t transport_peers(const struct transport *t, uint64_t *ret_ids, uint32_t n);
/* Where it listens (port 0 resolved). */
void transport_address(const struct transport *t, struct sockaddr_storage *ret);
/* Closes everything without further callbacks but cb; frees t. */
void transport_close(struct transport *t, void (*cb)(void *arg), void *arg);

#endif
