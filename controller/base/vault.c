#include "controller/base/vault.h"

#include <pthread.h>
#include <sodium.h>
#include <string.h>
#include <sys/prctl.h>

#include "wire/base/mem.h"
#include "wire/base/sodium_once.h"

#define BOX_BYTES (crypto_secretbox_NONCEBYTES + crypto_secretbox_MACBYTES)
#define TEXT_BYTES 45 /* 32 bytes in base64, with NUL */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t one_derivation = PTHREAD_MUTEX_INITIALIZER; /* 64 MiB each */
static uint8_t *held;                                              /* NULL: locked */
static void (*watcher)(void *arg);
static void *watcher_arg;

static void check_of(const uint8_t key[VAULT_KEY_BYTES], uint8_t out[32])
{
        static const char what[] = "outrigger master key";
        sodium_once();
        (void)crypto_generichash(out, 32, (const uint8_t *)what, sizeof what, key,
                VAULT_KEY_BYTES); /* fixed sizes: no error */
}

void vault_set(const uint8_t key[VAULT_KEY_BYTES])
{
        (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        pthread_mutex_lock(&lock);
        bool changed = held == NULL || sodium_memcmp(held, key, VAULT_KEY_BYTES) != 0;
        if (held == NULL) held = secret_alloc(VAULT_KEY_BYTES);
        memcpy(held, key, VAULT_KEY_BYTES);
        pthread_mutex_unlock(&lock);
        if (changed && watcher != NULL) watcher(watcher_arg);
}

void vault_lock(void)
{
        pthread_mutex_lock(&lock);
        secret_free(held);
        held = NULL;
        pthread_mutex_unlock(&lock);
}

void vault_watch(void (*on_change)(void *arg), void *arg)
{
        watcher = on_change;
        watcher_arg = arg;
}

bool vault_get(uint8_t ret[VAULT_KEY_BYTES])
{
        pthread_mutex_lock(&lock);
        bool there = held != NULL;
        if (there) memcpy(ret, held, VAULT_KEY_BYTES);
        pthread_mutex_unlock(&lock);
        return there;
}

bool vault_is_made(const struct cluster *c) { return HAS(c, cluster, master_key) && c->master_key.n > 0; }

bool vault_fits(const struct cluster *c, const uint8_t key[VAULT_KEY_BYTES])
{
        uint8_t check[32];
        check_of(key, check);
        return vault_is_made(c) && HAS(c, cluster, master_check) && c->master_check.n == sizeof check &&
               sodium_memcmp(check, c->master_check.p, sizeof check) == 0;
}

bool vault_open(const struct cluster *c)
{
        uint8_t key[VAULT_KEY_BYTES];
        if (!vault_get(key)) return false;
        bool fits = vault_fits(c, key);
        secret_wipe(key, sizeof key);
        return fits;
}

int vault_derive(const char *passphrase, size_t n, const uint8_t salt[VAULT_SALT_BYTES], uint64_t ops,
        uint64_t mem_bytes, uint8_t ret[VAULT_KEY_BYTES])
{
        sodium_once();
        pthread_mutex_lock(&one_derivation);
        int err = crypto_pwhash(ret, VAULT_KEY_BYTES, passphrase, n, salt, ops, (size_t)mem_bytes,
                crypto_pwhash_ALG_ARGON2ID13);
        pthread_mutex_unlock(&one_derivation);
        return err == 0 ? 0 : E_LIMIT;
}

static struct blob seal_with(const uint8_t key[VAULT_KEY_BYTES], struct blob secret, struct arena *a)
{
        uint8_t *out = arena_alloc(a, BOX_BYTES + secret.n);
        sodium_once();
        randombytes_buf(out, crypto_secretbox_NONCEBYTES);
        (void)crypto_secretbox_easy(
                out + crypto_secretbox_NONCEBYTES, secret.p, secret.n, out, key); /* always 0 */
        return BLOB(out, BOX_BYTES + secret.n);
}

static int unseal_with(const uint8_t key[VAULT_KEY_BYTES], struct blob sealed, uint8_t *out)
{
        sodium_once();
        return crypto_secretbox_open_easy(out, sealed.p + crypto_secretbox_NONCEBYTES,
                       sealed.n - crypto_secretbox_NONCEBYTES, sealed.p, key) == 0
                       ? 0
                       : E_AUTH;
}

void vault_wrap(struct cluster *c, const uint8_t key[VAULT_KEY_BYTES], const uint8_t kek[VAULT_KEY_BYTES],
        const uint8_t salt[VAULT_SALT_BYTES], struct arena *a)
{
        uint8_t *check = arena_alloc(a, 32);
        check_of(key, check);
        SET(c, cluster, master_key, seal_with(kek, BLOB(key, VAULT_KEY_BYTES), a));
        SET(c, cluster, master_salt, BLOB(arena_memdup(a, salt, VAULT_SALT_BYTES), VAULT_SALT_BYTES));
        SET(c, cluster, kdf_ops, VAULT_KDF_OPS);
        SET(c, cluster, kdf_mem, VAULT_KDF_MEM);
        SET(c, cluster, master_check, BLOB(check, 32));
}

void vault_make(struct cluster *c, const uint8_t kek[VAULT_KEY_BYTES], const uint8_t salt[VAULT_SALT_BYTES],
        struct arena *a, uint8_t ret_key[VAULT_KEY_BYTES])
{
        sodium_once();
        randombytes_buf(ret_key, VAULT_KEY_BYTES);
        vault_wrap(c, ret_key, kek, salt, a);
}

int vault_unwrap(
        const struct cluster *c, const uint8_t kek[VAULT_KEY_BYTES], uint8_t ret_key[VAULT_KEY_BYTES])
{
        if (!vault_is_made(c) || c->master_key.n != BOX_BYTES + VAULT_KEY_BYTES) return E_AUTH;
        return unseal_with(kek, c->master_key, ret_key);
}

int vault_seal(struct blob secret, struct arena *a, struct blob *ret)
{
        uint8_t key[VAULT_KEY_BYTES];
        if (!vault_get(key)) return E_LOCKED;
        *ret = seal_with(key, secret, a);
        secret_wipe(key, sizeof key);
        return 0;
}

int vault_unseal(struct blob sealed, struct arena *a, struct blob *ret)
{
        uint8_t key[VAULT_KEY_BYTES];
        if (sealed.n <= BOX_BYTES) return E_AUTH;
        if (!vault_get(key)) return E_LOCKED;
        uint8_t *out = arena_try(a, sealed.n - BOX_BYTES);
        int err = out == NULL ? E_TOO_LARGE : unseal_with(key, sealed, out);
        secret_wipe(key, sizeof key);
        *ret = BLOB(out, sealed.n - BOX_BYTES);
        return err;
}

struct blob vault_volume_key(struct arena *a)
{
        uint8_t raw[32];
        char *text = arena_alloc(a, TEXT_BYTES);
        sodium_once();
        randombytes_buf(raw, sizeof raw);
        (void)sodium_bin2base64(text, TEXT_BYTES, raw, sizeof raw, sodium_base64_VARIANT_ORIGINAL);
        secret_wipe(raw, sizeof raw);
        return BLOB(text, strlen(text));
}
