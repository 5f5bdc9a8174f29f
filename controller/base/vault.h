/* The cluster's master key, in locked memory that no core has. With it the keys of volumes are opened, which the replicated state
 * has encrypted. The state has the master key itself only encrypted under a key that is derived from the passphrase; so a process
 * that starts is locked until it gets the key: from the passphrase, or from another member that has it (controller/app_crypt.c).
 *
 * The state also says by a check value which key is the right one: a key of before a restore is none.
 *
 * One vault for the process. Threads: any. Ownership: everything is copied. */
#ifndef CONTROLLER_BASE_VAULT_H
#define CONTROLLER_BASE_VAULT_H

#include "wire/base/err.h"
#include "wire/def/types.h"

#define VAULT_KEY_BYTES 32u
#define VAULT_SALT_BYTES 16u
#define VAULT_PASSPHRASE_MAX 1024u
#define VAULT_KDF_OPS 3u
#define VAULT_KDF_MEM ((uint64_t)64 << 20)

/* Takes the key over; from then on the process leaves no core. on_change is called from inside when it is another than before. */
void vault_set(const uint8_t key[VAULT_KEY_BYTES]);
/* For tests: locked again. */
void vault_lock(void);
/* Called by whoever calls vault_set(), in its thread: that of the loop. NULL: nobody. */
void vault_watch(void (*on_change)(void *arg), void *arg);
/* Is the key there that the cluster's row names? */
bool vault_open(const struct cluster *c);
/* Has the cluster a passphrase? */
bool vault_is_made(const struct cluster *c);
/* Copies it; ret is wiped by the caller. false: there is none. */
bool vault_get(uint8_t ret[VAULT_KEY_BYTES]);
bool vault_fits(const struct cluster *c, const uint8_t key[VAULT_KEY_BYTES]);

/* Slow on purpose. E_LIMIT when that much memory is not to be had. */
int vault_derive(const char *passphrase, size_t n, const uint8_t salt[VAULT_SALT_BYTES], uint64_t ops,
        uint64_t mem_bytes, uint8_t ret[VAULT_KEY_BYTES]) MUST_USE;
/* A new master key wrapped under kek: fills in the row. key is wiped by the caller. */
void vault_make(struct cluster *c, const uint8_t kek[VAULT_KEY_BYTES], const uint8_t salt[VAULT_SALT_BYTES],
        struct arena *a, uint8_t ret_key[VAULT_KEY_BYTES]);
/* The same key under another kek. */
void vault_wrap(struct cluster *c, const uint8_t key[VAULT_KEY_BYTES], const uint8_t kek[VAULT_KEY_BYTES],
        const uint8_t salt[VAULT_SALT_BYTES], struct arena *a);
/* E_AUTH: it is the wrong kek. */
int vault_unwrap(const struct cluster *c, const uint8_t kek[VAULT_KEY_BYTES],
        uint8_t ret_key[VAULT_KEY_BYTES]) MUST_USE;

/* A secret under the master key, for the state. E_LOCKED: there is no key. */
int vault_seal(struct blob secret, struct arena *a, struct blob *ret) MUST_USE;
/* The other way round; ret is in the arena, and wiped by the caller. E_LOCKED; E_AUTH: sealed with another key, or damaged. */
int vault_unseal(struct blob sealed, struct arena *a, struct blob *ret) MUST_USE;
/* A key for a volume: 256 random bits as text, so that it can be typed where nothing else is left. In the arena; wiped by the caller. */
struct blob vault_volume_key(struct arena *a);

#endif
