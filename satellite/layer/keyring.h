/* The keys of the volumes of this node, as the leader sent them (sat_keys). They live in locked memory that no core has, and nowhere
 * else: not in files, arguments, texts or the state. A satellite that starts has none until a controller sends them.
 *
 * One table for the process, by the volume's uuid. Threads: any; the loop puts, pool threads get. Ownership: keys are copied in and
 * out; what keyring_get() fills in is wiped by key_done(). */
#ifndef SATELLITE_LAYER_KEYRING_H
#define SATELLITE_LAYER_KEYRING_H

#include <stdbool.h>

#include "wire/base/err.h"
#include "wire/base/mem.h"

#define KEY_BYTES_MAX 512u
#define KEY_UUID_SIZE 40u

struct key {
        uint8_t *p; /* locked memory; NULL: none */
        size_t n;
        bool weak; /* somebody thought it up: worth guessing */
};

/* Replaces the one that is there. From the first key on the process leaves no core. *ret_new: it is new or another one than before.
 * E_INVALID: no uuid, an empty key or one that is too long. */
int keyring_put(const char *vlm_uuid, struct blob key, bool weak, bool *ret_new) MUST_USE;
/* False when there is none; ret is then empty. */
bool keyring_get(const char *vlm_uuid, struct key *ret);
void keyring_drop(const char *vlm_uuid);
void key_done(struct key *k);

#endif
