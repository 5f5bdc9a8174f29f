/* Requests that bring a passphrase, on the HTTP thread of the member that takes them: the passphrase is turned into a key here, which
 * is slow, and replaces it in the request. Neither the leader nor any file ever sees it. */
#include <sodium.h>
#include <string.h>

#include "controller/base/vault.h"
#include "controller/rest/rest_internal.h"
#include "state/table.h"
#include "wire/base/sodium_once.h"
#include "wire/codec/codec.h"

struct secrets {
        struct passphrase_body given;
        struct cluster cluster;
};

bool rest_secret_is(const struct route *route)
{
        return route->id == ROUTE_passphrase_create || route->id == ROUTE_passphrase_modify ||
               route->id == ROUTE_passphrase_enter;
}

/* Entering sends the bare passphrase as a JSON string; the others an object. */
static int parse(struct exchange *x, struct secrets *s, struct fail *f)
{
        struct buf text = { 0 };
        bool bare = x->route->id == ROUTE_passphrase_enter;
        if (bare) buf_put_str(&text, "{\"old_passphrase\":");
        buf_put(&text, x->body.p, x->body.n);
        if (bare) buf_put_str(&text, "}");
        int err = text.err != 0 ? text.err
                                : dec_json(&passphrase_body_type, buf_blob(&text), &x->arena, &s->given, f);
        if (text.p != NULL) secret_wipe(text.p, text.n);
        buf_done(&text);
        return err;
}

static int load_cluster(struct exchange *x, struct secrets *s)
{
        struct rest *r = x->conn->rest;
        const struct rest_backend *b = r->config.backend;
        struct rest_view v = { 0 };
        int err = b->view_begin(r->config.backend_arg, &v);
        if (err != 0) return err;
        err = row_get_single(v.wanted, &cluster_type, &x->arena, &s->cluster);
        b->view_end(r->config.backend_arg, &v);
        return err == E_NOT_FOUND ? 0 : err;
}

/* Adds "NAME":"key","NAMEsalt":"salt" to the body. */
static int put_key(struct buf *out, const char *prefix, const char *passphrase, struct blob salt,
        uint64_t ops, uint64_t mem)
{
        uint8_t kek[VAULT_KEY_BYTES];
        char hex[2 * VAULT_KEY_BYTES + 1], salt_hex[2 * VAULT_SALT_BYTES + 1];
        int err = vault_derive(passphrase, strlen(passphrase), salt.p, ops, mem, kek);
        if (err != 0) return err;
        sodium_bin2hex(hex, sizeof hex, kek, sizeof kek);
        sodium_bin2hex(salt_hex, sizeof salt_hex, salt.p, VAULT_SALT_BYTES);
        buf_printf(out, "%s\"%skek\":\"%s\",\"%ssalt\":\"%s\"", out->n > 1 ? "," : "", prefix, hex, prefix,
                salt_hex);
        secret_wipe(kek, sizeof kek);
        secret_wipe(hex, sizeof hex);
        return out->err;
}

static void wipe(const char *s)
{
        if (s != NULL) secret_wipe((void *)(uintptr_t)s, strlen(s));
}

static bool usable(const char *s) { return s != NULL && s[0] != '\0' && strlen(s) <= VAULT_PASSPHRASE_MAX; }

static int replace(struct exchange *x, struct secrets *s)
{
        struct buf out = { 0 };
        uint8_t salt[VAULT_SALT_BYTES];
        const struct cluster *c = &s->cluster;
        int err = 0;
        randombytes_buf(salt, sizeof salt);
        buf_put_str(&out, "{");
        if (s->given.new_passphrase != NULL)
                err = put_key(&out, "", s->given.new_passphrase, BLOB(salt, sizeof salt), VAULT_KDF_OPS,
                        VAULT_KDF_MEM);
        if (err == 0 && s->given.old_passphrase != NULL && vault_is_made(c) &&
                c->master_salt.n == VAULT_SALT_BYTES)
                err = put_key(&out, "old_", s->given.old_passphrase, c->master_salt, c->kdf_ops, c->kdf_mem);
        buf_put_str(&out, "}");
        if (err == 0) err = out.err;
        secret_wipe(x->body.p, x->body.n);
        buf_reset(&x->body);
        if (err == 0) buf_put(&x->body, out.p, out.n);
        if (out.p != NULL) secret_wipe(out.p, out.n);
        buf_done(&out);
        return err;
}

bool rest_secret_prepare(struct exchange *x)
{
        struct secrets s = { 0 };
        struct fail f = { 0 };
        sodium_once();
        if (parse(x, &s, &f) != 0) {
                rest_error(
                        x, 400, RC_FAIL_API_CALL_PARSE, "The body of the request is malformed.", NULL, NULL);
                return false;
        }
        bool is_new = x->route->id != ROUTE_passphrase_enter,
             is_old = x->route->id != ROUTE_passphrase_create;
        const char *given_new = s.given.new_passphrase, *given_old = s.given.old_passphrase;
        if (!is_old) s.given.old_passphrase = NULL;
        bool good = (!is_new || usable(given_new)) && (!is_old || usable(given_old));
        int err = good ? load_cluster(x, &s) : 0;
        if (good && err == 0) err = replace(x, &s);
        wipe(given_new);
        wipe(given_old);
        if (!good)
                rest_error(x, 400, RC_FAIL_INVLD_CRYPT_PASSPHRASE,
                        "Passphrases have 1 to 1024 bytes, and none is missing.", NULL, NULL);
        else if (err != 0)
                rest_error(x, 500, RC_FAIL_CRYPT_INIT, "The passphrase cannot be worked on.", err_text(err),
                        NULL);
        return good && err == 0;
}
