#include "satellite/layer/luks_keys.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "satellite/base/inject.h"

#define TOKEN_PREFIX "outrigger-key-"

struct crypt_pbkdf_type luks_pbkdf(const struct luks_format *o, bool weak)
{
        if (!weak)
                return (struct crypt_pbkdf_type){ .type = CRYPT_KDF_PBKDF2,
                        .hash = o->hash,
                        .iterations = o->iterations != 0 ? o->iterations : 1000,
                        .flags = CRYPT_PBKDF_NO_BENCHMARK };
        return (struct crypt_pbkdf_type){ .type = o->pbkdf2 ? CRYPT_KDF_PBKDF2 : CRYPT_KDF_ARGON2ID,
                .hash = o->hash,
                .time_ms = 2000,
                .iterations = o->iterations,
                .max_memory_kb = o->pbkdf2           ? 0
                                 : o->memory_kb != 0 ? o->memory_kb
                                                     : 262144,
                .parallel_threads = o->pbkdf2          ? 0
                                    : o->parallel != 0 ? o->parallel
                                                       : 1,
                .flags = o->iterations != 0 ? CRYPT_PBKDF_NO_BENCHMARK : 0 };
}

/* ---- what the header says ---- */

/* The number of our token, or CRYPT_ANY_TOKEN. */
static int find_token(struct crypt_device *cd, uint64_t *ret_id)
{
        int max = crypt_token_max(CRYPT_LUKS2);
        *ret_id = 0;
        for (int i = 0; i < max; i++) {
                const char *type = NULL;
                crypt_token_info info = crypt_token_status(cd, i, &type);
                if (info == CRYPT_TOKEN_INVALID || info == CRYPT_TOKEN_INACTIVE || type == NULL) continue;
                if (strncmp(type, TOKEN_PREFIX, strlen(TOKEN_PREFIX)) != 0) continue;
                *ret_id = strtoull(type + strlen(TOKEN_PREFIX), NULL, 10);
                return i;
        }
        return CRYPT_ANY_TOKEN;
}

uint64_t luks_key_id(struct crypt_device *cd)
{
        uint64_t id;
        (void)find_token(cd, &id);
        return id;
}

int luks_note_key(struct crypt_device *cd, uint64_t id)
{
        char json[100];
        uint64_t old;
        int at = find_token(cd, &old);
        if (old == id) return 0;
        snprintf(json, sizeof json, "{\"type\":\"" TOKEN_PREFIX "%llu\",\"keyslots\":[]}",
                (unsigned long long)id);
        int err = crypt_token_json_set(cd, at, json);
        inject_point(INJECT_LUKS_KEY_NOTED);
        return err < 0 ? err : 0;
}

bool luks_key_lags(struct crypt_device *cd, const char *vlm_uuid)
{
        struct key k;
        bool lags = keyring_get(vlm_uuid, &k) && k.id != luks_key_id(cd);
        key_done(&k);
        return lags;
}

/* ---- opening ---- */

/* No keyslot at all opens with nothing. */
static int open_with(struct crypt_device *cd, const struct key *k, const char *name, uint32_t flags)
{
        int slot = crypt_activate_by_passphrase(cd, name, CRYPT_ANY_SLOT, (const char *)k->p, k->n, flags);
        return slot == -ENOENT ? -EPERM : slot;
}

int luks_unlock(struct crypt_device *cd, const char *vlm_uuid, const char *name, uint32_t flags)
{
        struct key k;
        if (!keyring_get(vlm_uuid, &k)) return -ENOKEY;
        int slot = open_with(cd, &k, name, flags);
        key_done(&k);
        for (uint32_t i = 0; slot == -EPERM && keyring_get_old(vlm_uuid, i, &k); i++) {
                slot = open_with(cd, &k, name, flags);
                key_done(&k);
        }
        return slot;
}

/* ---- changing ---- */

/* The keyslot that opens with k, made if there is none. */
static int add(
        struct crypt_device *cd, const char *vlm_uuid, const struct key *k, const struct luks_format *o)
{
        const struct crypt_pbkdf_type pbkdf = luks_pbkdf(o, k->weak);
        struct key old;
        int slot = open_with(cd, k, NULL, 0);
        if (slot != -EPERM) return slot;
        int err = crypt_set_pbkdf_type(cd, &pbkdf);
        if (err < 0) return err;
        for (uint32_t i = 0; slot == -EPERM && keyring_get_old(vlm_uuid, i, &old); i++) {
                slot = crypt_keyslot_add_by_passphrase(
                        cd, CRYPT_ANY_SLOT, (const char *)old.p, old.n, (const char *)k->p, k->n);
                key_done(&old);
        }
        inject_point(INJECT_LUKS_KEY_ADDED);
        return slot < 0 ? slot : open_with(cd, k, NULL, 0);
}

/* Keyslots that open with one of before, as long as they are not the one that opens with k. */
static int forget(struct crypt_device *cd, const char *vlm_uuid, const struct key *k, int kept)
{
        struct key old;
        int err = 0;
        for (uint32_t i = 0; err == 0 && keyring_get_old(vlm_uuid, i, &old); i++) {
                bool same = old.n == k->n && sodium_memcmp(old.p, k->p, k->n) == 0;
                int slot = same ? -EPERM : open_with(cd, &old, NULL, 0);
                while (err == 0 && slot >= 0 && slot != kept) {
                        err = crypt_keyslot_destroy(cd, slot);
                        inject_point(INJECT_LUKS_KEY_FORGOTTEN);
                        if (err == 0) slot = open_with(cd, &old, NULL, 0);
                }
                if (slot < 0 && slot != -EPERM) err = slot;
                key_done(&old);
        }
        return err;
}

int luks_rekey(struct crypt_device *cd, const char *vlm_uuid, const struct luks_format *o)
{
        struct key k;
        int err = 0;
        if (keyring_get(vlm_uuid, &k) && k.id != luks_key_id(cd)) {
                int slot = add(cd, vlm_uuid, &k, o);
                err = slot < 0 ? slot : forget(cd, vlm_uuid, &k, slot);
                if (err == 0) err = luks_note_key(cd, k.id);
        }
        key_done(&k);
        return err;
}
