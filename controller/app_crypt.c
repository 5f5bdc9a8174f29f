/* How the master key reaches the members: one that has it gives it to every controller that it has a link with, when it gets the key
 * and when such a link comes up. So whoever is elected has it as long as one member that had it runs; a cluster that was down as a
 * whole needs the passphrase again. It goes over the members' mutual TLS, to certificates of controllers only, and is in no log
 * entry and no file. */
#include <string.h>

#include "controller/app_internal.h"
#include "controller/vault.h"
#include "wire/base/log.h"

static bool cluster_row(struct app *a, struct arena *arena, struct cluster *ret)
{
        struct tx *tx = app_link_ops.wanted_begin(a);
        *ret = (struct cluster){ 0 };
        if (tx == NULL) return false;
        int err = row_get_single(tx, &cluster_type, arena, ret);
        app_link_ops.wanted_end(a, tx);
        return err == 0;
}

static void give(struct app *a, uint64_t to)
{
        uint8_t key[VAULT_KEY_BYTES];
        if (a->member == NULL || a->phase >= APP_PARTS || !vault_get(key)) return;
        member_send_secret(a->member, to, BLOB(key, sizeof key));
        secret_wipe(key, sizeof key);
}

static void on_vault(void *arg)
{
        struct app *a = arg;
        log_info(APP_LOG, "encryption: this member has the master key now");
        give(a, 0);
        if (a->link != NULL && a->phase == APP_RUNNING) sat_link_change_all(a->link);
}

void app_crypt_open(struct app *a) { vault_watch(on_vault, a); }

void app_crypt_close(void) { vault_watch(NULL, NULL); }

void app_on_link(void *arg, uint64_t peer)
{
        struct app *a = arg;
        if (!a->config.witness) give(a, peer);
}

/* Another one than we have counts only when the state says that it, and not ours, is the right one. */
void app_on_secret(void *arg, uint64_t from, struct blob secret)
{
        struct app *a = arg;
        struct arena arena = { 0 };
        struct cluster c;
        uint8_t mine[VAULT_KEY_BYTES];
        if (a->config.witness || secret.n != VAULT_KEY_BYTES || a->phase >= APP_PARTS) return;
        bool have = vault_get(mine);
        bool take = !have;
        if (have && cluster_row(a, &arena, &c)) take = !vault_fits(&c, mine) && vault_fits(&c, secret.p);
        secret_wipe(mine, sizeof mine);
        arena_done(&arena);
        if (take) vault_set(secret.p);
}
