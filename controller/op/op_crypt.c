/* The master passphrase, and the keys of encrypted volumes.
 *
 * What arrives here is no passphrase: the member that took the request has turned it into a key (controller/rest/rest_secret.c), because
 * that is slow, and because it need not travel. Keys are drawn from the system's generator, not from the request's seed: an operation
 * is evaluated once, and what is replicated is its effect. The master key comes into the vault from inside the operation; if that is
 * not committed after all, it does not fit what the state says, and counts as none. */
#include "controller/op/op_crypt.h"

#include <sodium.h>
#include <string.h>

#include "controller/base/vault.h"

static bool find_cluster(struct op *op, struct cluster *ret)
{
        *ret = (struct cluster){ 0 };
        return row_get_single(op->tx, &cluster_type, op->arena, ret) == 0;
}

bool op_crypt_need(struct op *op, const char *what, const char *why)
{
        struct cluster c;
        (void)find_cluster(op, &c);
        if (vault_open(&c)) return true;
        bool made = vault_is_made(&c);
        struct api_rc *rc =
                made ? op_rc(op, RC_FAIL_NOT_FOUND_CRYPT_KEY,
                               "The cluster is locked: its master passphrase has not been entered.")
                     : op_rc(op, RC_FAIL_NOT_FOUND_CRYPT_KEY, "%s a master passphrase, and none is set.",
                               what);
        op_rc_explain(op, rc,
                made ? "No member that runs now has been given the passphrase since it was started." : why,
                NULL,
                made ? "Enter it with 'outrigger encryption enter-passphrase' (PATCH "
                       "/v1/encryption/passphrase)."
                     : "Create it with 'outrigger encryption create-passphrase' (POST "
                       "/v1/encryption/passphrase).");
        return false;
}

bool op_crypt_ready(struct op *op)
{
        return op_crypt_need(
                op, "The layer LUKS needs", "The keys of encrypted volumes are stored encrypted under it.");
}

bool op_crypt_volume(struct op *op, struct vlm_dfn *vd, const char *passphrase)
{
        struct blob sealed, key;
        if (HAS(vd, vlm_dfn, luks_key)) return true;
        if (!op_crypt_ready(op)) return false;
        if (passphrase != NULL && !op_passphrase_ok(op, passphrase)) return false;
        key = passphrase != NULL ? BLOB(passphrase, strlen(passphrase)) : vault_volume_key(op->arena);
        int err = vault_seal(key, op->arena, &sealed);
        if (passphrase == NULL) secret_wipe((void *)(uintptr_t)key.p, key.n);
        if (err != 0) return op_crypt_ready(op);
        SET(vd, vlm_dfn, luks_key, sealed);
        if (passphrase != NULL) SET(vd, vlm_dfn, luks_weak, true);
        return true;
}

bool op_crypt_volumes(struct op *op, const struct rsc_dfn *rd)
{
        struct vlm_dfn *vds;
        uint32_t n = op_list_vds(op, rd->name, &vds);
        for (uint32_t i = 0; i < n; i++) {
                if (HAS(&vds[i], vlm_dfn, luks_key)) continue;
                if (!op_crypt_volume(op, &vds[i], NULL)) return false;
                row_put(op->tx, &vlm_dfn_type, &vds[i]);
        }
        return true;
}

/* ---- the passphrase ---- */

static bool from_hex(const char *hex, uint8_t *out, size_t n)
{
        size_t got = 0;
        return hex != NULL && sodium_hex2bin(out, n, hex, strlen(hex), NULL, &got, NULL) == 0 && got == n;
}

/* Opens the master key with what the request brought. false: refused. */
static bool unwrap(
        struct op *op, const struct cluster *c, const struct passphrase_body *b, uint8_t key[VAULT_KEY_BYTES])
{
        uint8_t kek[VAULT_KEY_BYTES], salt[VAULT_SALT_BYTES];
        if (!vault_is_made(c)) {
                struct api_rc *rc = op_rc(op, RC_FAIL_NOT_FOUND_CRYPT_KEY, "No master passphrase is set.");
                op_rc_explain(op, rc, NULL, NULL, "Create it with 'outrigger encryption create-passphrase'.");
                return false;
        }
        bool read = from_hex(b->old_kek, kek, sizeof kek) && from_hex(b->old_salt, salt, sizeof salt);
        bool same =
                read && c->master_salt.n == sizeof salt && memcmp(c->master_salt.p, salt, sizeof salt) == 0;
        int err = same ? vault_unwrap(c, kek, key) : E_AUTH;
        secret_wipe(kek, sizeof kek);
        if (err == 0) return true;
        struct api_rc *rc = op_rc(op, RC_FAIL_INVLD_CRYPT_PASSPHRASE, "The passphrase is wrong.");
        if (read && !same) op_rc_explain(op, rc, "It was changed a moment ago.", NULL, "Enter the new one.");
        return false;
}

void op_passphrase_create(struct op *op)
{
        const struct passphrase_body *b = OP_BODY(op, passphrase_body);
        struct cluster c;
        uint8_t kek[VAULT_KEY_BYTES], salt[VAULT_SALT_BYTES], key[VAULT_KEY_BYTES];
        (void)find_cluster(op, &c);
        if (vault_is_made(&c)) {
                struct api_rc *rc =
                        op_rc(op, RC_FAIL_EXISTS_CRYPT_PASSPHRASE, "A master passphrase is set already.");
                op_rc_explain(op, rc, NULL, NULL,
                        "Enter it, or change it with 'outrigger encryption modify-passphrase'.");
                return;
        }
        if (!from_hex(b->kek, kek, sizeof kek) || !from_hex(b->salt, salt, sizeof salt)) {
                op_rc(op, RC_FAIL_INVLD_CRYPT_PASSPHRASE, "There is no passphrase in the request.");
                secret_wipe(kek, sizeof kek);
                return;
        }
        vault_make(&c, kek, salt, op->arena, key);
        row_put(op->tx, &cluster_type, &c);
        vault_set(key);
        secret_wipe(key, sizeof key);
        secret_wipe(kek, sizeof kek);
        op_rc(op, RC_CREATED, "The master passphrase is set.");
}

void op_passphrase_enter(struct op *op)
{
        const struct passphrase_body *b = OP_BODY(op, passphrase_body);
        struct cluster c;
        uint8_t key[VAULT_KEY_BYTES];
        (void)find_cluster(op, &c);
        if (!unwrap(op, &c, b, key)) return;
        vault_set(key);
        secret_wipe(key, sizeof key);
        op_rc(op, RC_PASSPHRASE_ACCEPTED, "The passphrase is right: the cluster is unlocked.");
}

void op_passphrase_modify(struct op *op)
{
        const struct passphrase_body *b = OP_BODY(op, passphrase_body);
        struct cluster c;
        uint8_t key[VAULT_KEY_BYTES], kek[VAULT_KEY_BYTES], salt[VAULT_SALT_BYTES];
        (void)find_cluster(op, &c);
        if (!unwrap(op, &c, b, key)) return;
        if (!from_hex(b->kek, kek, sizeof kek) || !from_hex(b->salt, salt, sizeof salt)) {
                op_rc(op, RC_FAIL_INVLD_CRYPT_PASSPHRASE, "There is no new passphrase in the request.");
        } else {
                vault_wrap(&c, key, kek, salt, op->arena);
                row_put(op->tx, &cluster_type, &c);
                vault_set(key);
                op_rc(op, RC_MODIFIED,
                        "The master passphrase is changed. The keys of volumes are as they were.");
        }
        secret_wipe(key, sizeof key);
        secret_wipe(kek, sizeof kek);
}
