/* The joining side: makes a request for a certificate, asks the members that the token names, one after the
 * other, and stores the result. Blocking, on a loop of its own: for programs (`raftctl join`,
 * `outrigger-satellite join`).
 *
 * The connection is TLS 1.3 without a certificate of ours; the member's CA must be the one whose pin the
 * token holds, so the secret is never shown to anybody else. Threads: any one. */
#ifndef WIRE_NET_JOIN_CLIENT_H
#define WIRE_NET_JOIN_CLIENT_H

#include "wire/def/types.h"
#include "wire/net/pki_dir.h"

struct join_config {
        const char *token;
        const char *dir;         /* data directory: DIR/pki is written */
        const char *name;        /* of this machine */
        enum cert_role role;     /* what this program is; must be what the token is for */
        const char *address;     /* host:port where others reach it; NULL = none */
        uint64_t raft_id;        /* controllers and witnesses */
        const char *const *sans; /* more names and addresses for the certificate */
        uint32_t sans_n;
        unsigned timeout_ms; /* in total; 0 = 30 s */
};
/* What came back; pieces live in the arena that the caller gave. */
struct join_result {
        const char *cluster;
        struct join_member *members;
        uint32_t members_n;
};
/* 0 = the certificate is stored. E_EXISTS: this directory has joined before. E_AUTH: refused, or not the
 * cluster of the token. E_TIMEOUT: nobody answered. The text in f has cause and remedy. */
int join_run(
        const struct join_config *config, struct arena *a, struct join_result *ret, struct fail *f) MUST_USE;

#endif
