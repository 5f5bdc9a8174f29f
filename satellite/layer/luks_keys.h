/* The keys of a LUKS header. A volume's key may be changed while it is in use, or while its node is away: the keyring then has the
 * present key and those of before, and a header opens with one of them at every moment.
 *
 *   add      the present key gets a keyslot of its own, with the help of one of before; it is tried
 *   forget   keyslots that open with one of before go; those of somebody else's stay
 *   note     a token in the header says which key it has, by the key's id: the last step, so that whoever died goes on from the first
 *
 * The token goes where the header goes: into snapshots, and what is made from them. A header without one has the key with which it was made.
 *
 * Threads: one call at a time for the library. Ownership: keys come from the keyring, and are wiped here; everything is borrowed.
 * Errors: the library's negative errno. */
#ifndef SATELLITE_LAYER_LUKS_KEYS_H
#define SATELLITE_LAYER_LUKS_KEYS_H

#include <libcryptsetup.h>

#include "satellite/layer/keyring.h"
#include "satellite/layer/luks_options.h"

/* How a key becomes that of a keyslot: slowly, when it is worth guessing. Points into o. */
struct crypt_pbkdf_type luks_pbkdf(const struct luks_format *o, bool weak);

/* Which key the header says it has, 0 = that with which it was made. cd has loaded it. */
uint64_t luks_key_id(struct crypt_device *cd);
/* Has the keyring another one? */
bool luks_key_lags(struct crypt_device *cd, const char *vlm_uuid);
/* Opens with the present key, or else with one of before. name NULL: it is only tried. The keyslot; -EPERM: none of them fits;
 * -ENOKEY: the keyring has none. */
int luks_unlock(struct crypt_device *cd, const char *vlm_uuid, const char *name, uint32_t flags) MUST_USE;
/* Adds, forgets and notes, as far as that has not been done. Nothing without a key. -EPERM: none of the keys fits. */
int luks_rekey(struct crypt_device *cd, const char *vlm_uuid, const struct luks_format *o) MUST_USE;
/* A header that was just made has this key. */
int luks_note_key(struct crypt_device *cd, uint64_t id) MUST_USE;

#endif
