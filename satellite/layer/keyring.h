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
#include "wire/def/types.h"

#define KEY_BYTES_MAX 512u
#define KEY_UUID_SIZE 40u
#define KEY_OLDS_MAX 8u /* as controller/op/op_crypt.h has it */

struct key {
        uint8_t *p; /* locked memory; NULL: none */
        size_t n;
        bool weak;   /* somebody thought it up: worth guessing */
        uint64_t id; /* which one it is: it changes when the volume's key does; 0 = it was not changed */
};

/* Takes the key, and those of before that some header may still have, in the place of what is there for that volume, at once. From
 * the first key on the process leaves no core. *ret_new: something is new or another one than before.
 * E_INVALID: no uuid, an empty key or one that is too long, too many old ones; nothing is changed then. */
int keyring_put(const struct sat_key *k, bool *ret_new) MUST_USE;
/* False when there is none; ret is then empty. */
bool keyring_get(const char *vlm_uuid, struct key *ret);
/* Its i-th key of before. False when there are not so many. */
bool keyring_get_old(const char *vlm_uuid, uint32_t i, struct key *ret);
void keyring_drop(const char *vlm_uuid);
void key_done(struct key *k);

#endif
