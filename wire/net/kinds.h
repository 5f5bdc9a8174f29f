/* Kinds of frames on the Raft port (3372), and names of the files that joining leaves behind. */
#ifndef WIRE_NET_KINDS_H
#define WIRE_NET_KINDS_H

#define RAFT_PORT 3372

/* Numbers are part of the protocol: append only. */
enum raft_port_kind {
        KIND_HELLO = 1,       /* peer_hello */
        KIND_HELLO_REPLY = 2, /* peer_hello_reply */
        KIND_RAFT = 3,        /* a frame of the driver, as it is */
        KIND_SECRET = 4,      /* the cluster's master key, between controllers (controller/app_crypt.c) */
        KIND_JOIN = 10,       /* join_request; the only kind that a peer without certificate may send */
        KIND_JOIN_REPLY = 11, /* join_reply */
};

#endif
