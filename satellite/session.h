/* Sessions with controllers: listens with mutual TLS, speaks the protocol of wire/def/msg_sat.def. The kind
 * of a frame is the type id of the message in it.
 *
 * Happy path of one session: accepted (its certificate says: controller of our cluster) -> sat_hello within
 * HELLO_MS -> sat_hello_reply, a full sat_report -> then for as long as it lives: each sat_wanted is answered
 * by one sat_wanted_reply when the state is durable (or refused), rows that change are pushed (gathered for
 * PUSH_MS), a ping goes out every second. Failures: a hello that is refused gets its reply with err and text,
 * then the connection is finished; silence for SILENCE_MS, an unknown direction or a malformed message end
 * the session at once; frames of an unknown kind are skipped (a newer controller). A second session of the
 * same controller ends the first: the machine came back faster than its old connection died. A peer that does
 * not read costs its send queue (conn.h) and no more: what changed is found anew from generations when it
 * reads again.
 *
 * Threads: loop thread. Ownership: the caller owns the manager and the TLS context, and closes the server
 * before them. */
#ifndef SATELLITE_SESSION_H
#define SATELLITE_SESSION_H

#include "satellite/manager.h"
#include "wire/net/listener.h"

#define SESSION_LISTENERS_MAX 8
#define SESSIONS_MAX 64

struct session_server;

struct session_config {
        uv_loop_t *loop;
        struct env *env;
        struct tls_ctx *ctx;
        const char *node_name, *cluster_uuid, *version; /* copied */
        const struct sockaddr_storage *addresses;
        uint32_t addresses_n; /* 1 .. SESSION_LISTENERS_MAX */
};
typedef void session_closed_fn(void *arg);

/* manager: set with session_server_set_manager() before the loop runs. When an address cannot be listened on,
 * that is the error, and session_server_close() is not to be called. */
int session_server_open(const struct session_config *c, struct session_server **ret, struct fail *f) MUST_USE;
void session_server_set_manager(struct session_server *s, struct manager *m);
/* Sessions end; closed fires once, the server is freed. The manager is not used any more from now on. */
void session_server_close(struct session_server *s, session_closed_fn *closed, void *arg);
/* The manager's changed(). */
void session_server_changed(struct session_server *s);
/* Where listener i listens (port 0 resolved). */
void session_server_address(const struct session_server *s, uint32_t i, struct sockaddr_storage *ret);

#endif
