/* How the master key reaches the members: one that has it gives it to every controller that it has a link with, when it gets the key
 * and when such a link comes up. So whoever is elected has it as long as one member that had it runs; a cluster that was down as a
 * whole needs the passphrase again. It goes over the members' mutual TLS, to certificates of controllers only, and is in no log
 * entry and no file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/app_internal.h"
#include "controller/base/vault.h"
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

/* ---- a passphrase that the administrator has left for the start ---- */

#define UNLOCK_EVERY_MS 500

static char *left; /* locked; NULL: none */

static int keep(const char *text, size_t n, const char *where, struct fail *f)
{
        if (n == 0 || n > VAULT_PASSPHRASE_MAX)
                return fail_set(f, E_CONFIG, "the master passphrase of %s must have 1 to %u bytes", where,
                        VAULT_PASSPHRASE_MAX);
        left = secret_alloc(VAULT_PASSPHRASE_MAX + 1);
        memcpy(left, text, n);
        left[n] = '\0';
        return 0;
}

static int keep_from_file(const char *file, struct fail *f)
{
        size_t size = VAULT_PASSPHRASE_MAX + 3; /* with a newline, NUL, and one that is too much */
        FILE *in = fopen(file, "re");
        if (in == NULL) return fail_set(f, -errno, "encrypt.passphrase_file: %s: %s", file, err_text(-errno));
        char *line = secret_alloc(size);
        setvbuf(in, NULL, _IONBF, 0); /* nothing of it stays in a buffer */
        bool got = fgets(line, (int)size, in) != NULL;
        (void)fclose(in);
        int err = keep(line, got ? strcspn(line, "\n") : 0, file, f);
        secret_free(line);
        return err;
}

int app_passphrase_take(const char *file, struct fail *f)
{
        char *env = getenv("MASTER_PASSPHRASE");
        if (env == NULL || env[0] == '\0') return file[0] != '\0' ? keep_from_file(file, f) : 0;
        int err = keep(env, strlen(env), "MASTER_PASSPHRASE", f);
        secret_wipe(env, strlen(env)); /* also what /proc shows */
        (void)unsetenv("MASTER_PASSPHRASE");
        return err;
}

struct derive {
        uv_work_t req;
        struct app *a;
        uint8_t salt[VAULT_SALT_BYTES], *kek; /* locked */
        uint64_t ops, mem_bytes;
        int err;
};

static void on_derive(uv_work_t *req)
{
        struct derive *d = container_of(req, struct derive, req);
        d->err = vault_derive(left, strlen(left), d->salt, d->ops, d->mem_bytes, d->kek);
}

static void forget(struct app *a)
{
        secret_free(left);
        left = NULL;
        (void)uv_timer_stop(&a->unlock_timer);
}

static void try_key(struct app *a, const struct derive *d)
{
        struct arena arena = { 0 };
        struct cluster c;
        uint8_t key[VAULT_KEY_BYTES];
        int err = cluster_row(a, &arena, &c) ? vault_unwrap(&c, d->kek, key) : E_NOT_FOUND;
        if (err == 0) vault_set(key);
        if (err == 0)
                log_info(APP_LOG, "encryption: unlocked with the passphrase that was left for the start");
        else if (err == E_AUTH)
                log_error(APP_LOG, "encryption: the passphrase that was left for the start is wrong; enter "
                                   "the right one "
                                   "with 'outrigger encryption enter-passphrase'");
        secret_wipe(key, sizeof key);
        arena_done(&arena);
}

static void on_derived(uv_work_t *req, int status)
{
        struct derive *d = container_of(req, struct derive, req);
        struct app *a = d->a;
        a->deriving = false;
        memcpy(a->tried_salt, d->salt, sizeof a->tried_salt);
        if (d->err != 0)
                log_error(APP_LOG, "encryption: the passphrase cannot be worked on: %s", err_text(d->err));
        if (status == 0 && d->err == 0 && a->phase == APP_RUNNING) try_key(a, d);
        secret_free(d->kek);
        free(d);
}

static void begin(struct app *a, const struct cluster *c)
{
        struct derive *d = xnew(struct derive);
        d->a = a;
        memcpy(d->salt, c->master_salt.p, sizeof d->salt);
        d->ops = c->kdf_ops;
        d->mem_bytes = c->kdf_mem;
        d->kek = secret_alloc(VAULT_KEY_BYTES);
        a->deriving = uv_queue_work(a->config.loop, &d->req, on_derive, on_derived) == 0;
        if (a->deriving) return;
        secret_free(d->kek);
        free(d);
}

/* Once for each passphrase that the cluster gets: a wrong one is not tried again. */
static void on_unlock_timer(uv_timer_t *t)
{
        struct app *a = t->data;
        struct arena arena = { 0 };
        struct cluster c;
        if (a->phase != APP_RUNNING || a->deriving) return;
        if (cluster_row(a, &arena, &c) && vault_is_made(&c) && c.master_salt.n == VAULT_SALT_BYTES) {
                if (vault_open(&c)) forget(a);
                else if (memcmp(a->tried_salt, c.master_salt.p, VAULT_SALT_BYTES) != 0) begin(a, &c);
        }
        arena_done(&arena);
}

void app_crypt_open(struct app *a)
{
        vault_watch(on_vault, a);
        if (left != NULL) (void)uv_timer_start(&a->unlock_timer, on_unlock_timer, 0, UNLOCK_EVERY_MS);
}

void app_crypt_close(struct app *a)
{
        vault_watch(NULL, NULL);
        (void)uv_timer_stop(&a->unlock_timer);
}

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
