/* A connection between the satellites of two clusters, for one shipment. Each side makes a key pair for it (X25519), in memory only; the
 * controllers tell each other the public halves, with the request for the shipment. Who does not have the secret half of the key that was
 * told gets nothing through, in either direction, and reads nothing: all that passes is encrypted and authenticated in order
 * (XChaCha20-Poly1305, libsodium's secretstream), and a stream that was cut off is known as such.
 *
 *   both   8 bytes "ORLINK1\n", then the head of the secretstream (24 bytes)
 *   then   records: length (32 bits, big-endian, of what follows), then encrypted: type (1 byte), data
 *
 * The one that connects speaks first, and says hello (with the shipment's uuid); so does the other one then.
 *
 * Calls block, in slices, until something has passed, *cancel is true, or nothing has passed for SHIP_STALL_MS.
 *
 * Threads: any, one per link. Ownership: the link is the caller's; data of a record is valid until the next call. Errors: E_CANCELED,
 * E_CLOSED (the connection was lost), E_TIMEOUT, E_AUTH (what came is not from the other side), E_PROTOCOL, with words in struct fail. */
#ifndef SATELLITE_SHIP_SHIP_LINK_H
#define SATELLITE_SHIP_SHIP_LINK_H

#include <sodium.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "wire/base/err.h"

#define SHIP_KEY crypto_kx_PUBLICKEYBYTES
#define SHIP_KEY_HEX (2 * SHIP_KEY + 1)
#define SHIP_CHUNK ((size_t)256 << 10) /* data of one record at most */
#define SHIP_STALL_MS 600000u
#define SHIP_HELLO_MS \
        10000u /* for all until both have said hello: a stranger who speaks slowly keeps nobody out */

enum ship_type {
        SHIP_HELLO = 'H',
        SHIP_VOLUME = 'V',     /* its number follows, 64 bits */
        SHIP_DATA = 'D',       /* of its stream (satellite/ship/ship_stream.h) */
        SHIP_VOLUME_END = 'E', /* of its stream */
        SHIP_ALL = 'A',        /* all volumes; the last record of the sender */
        SHIP_DONE = 'K',       /* they are stored; the last record of the receiver */
        SHIP_REFUSED = 'F'     /* they are not: a text says why; the last record of the receiver */
};

struct ship_keys {
        uint8_t own[SHIP_KEY], secret[SHIP_KEY];
};
void ship_keys_make(struct ship_keys *k);

struct ship_link {
        int fd;
        const atomic_bool *cancel;
        uint64_t hello_until; /* monotonic; 0: both have said hello */
        bool ended;           /* the other side has sent its last record */
        uint8_t *in, *out;
        crypto_secretstream_xchacha20poly1305_state rx, tx;
};
struct ship_peer {
        const struct ship_keys *keys;
        const char *peer_key; /* the other side's public one, in hex */
        const char *uuid;     /* of the shipment */
        const atomic_bool *cancel;
        unsigned hello_ms; /* 0: SHIP_HELLO_MS */
};
/* A socket that listens at address (NULL or not of this machine: at all of them), on the first port of the range that is free. */
int ship_listen(const char *address, unsigned from, unsigned to, unsigned *ret_port, struct fail *f) MUST_USE;
int ship_connect(struct ship_link *l, const struct ship_peer *p, const char *address, unsigned port,
        struct fail *f) MUST_USE;
/* Waits for the other side, wait_ms at most; whoever else connects is sent away. */
int ship_accept(struct ship_link *l, const struct ship_peer *p, int listening, unsigned wait_ms,
        struct fail *f) MUST_USE;
int ship_send(struct ship_link *l, enum ship_type type, const void *data, size_t n, struct fail *f) MUST_USE;
int ship_recv(struct ship_link *l, enum ship_type *ret_type, const uint8_t **ret, size_t *ret_n,
        struct fail *f) MUST_USE;
/* linger: waits a moment until the other side has read what was sent. */
void ship_link_close(struct ship_link *l, bool linger);

#endif
