/* Creating, changing and deleting remotes, see op_remote.h. */
#include "controller/op/op_remote.h"

#include <string.h>

#include "controller/base/vault.h"
#include "controller/op/op_crypt.h"
#include "controller/op/ship.h"

#define TEXT_MAX 512u
#define SECRET_MAX 512u

bool op_find_remote(struct op *op, const char *name, struct remote *ret)
{
        struct remote key = { .name = op_text(name) };
        return row_get(op->tx, &remote_type, &key, op->arena, ret) == 0;
}

static struct api_rc *remote_rc(struct op *op, enum apirc_code code, const char *name, const char *done)
{
        struct api_rc *rc =
                op_rc_as(op, code, op->route->op_bits, RC_OBJ_REMOTE, "Remote '%.300s' %s.", name, done);
        op_rc_ref(op, rc, "Remote", name);
        return rc;
}

bool op_need_remote(struct op *op, const char *name, enum remote_kind kind, struct remote *ret)
{
        if (!op_find_remote(op, name, ret)) {
                remote_rc(op, RC_FAIL_NOT_FOUND_REMOTE, op_text(name), "does not exist");
                return false;
        }
        if (ret->kind != kind) {
                op_rc(op, RC_FAIL_INVLD_REMOTE_NAME, "Remote '%s' is of kind %s, not %s.", ret->name,
                        enum_name(&remote_kind_enum, ret->kind), enum_name(&remote_kind_enum, kind));
                return false;
        }
        if ((ret->flags & remote_flag_MARK_DELETED) == 0) return true;
        remote_rc(op, RC_FAIL_IN_USE, ret->name, "is being deleted");
        return false;
}

/* ---- checks ---- */

const char *remote_url_problem(const char *url)
{
        const char *host = strncmp(url, "https://", 8) == 0  ? url + 8
                           : strncmp(url, "http://", 7) == 0 ? url + 7
                                                             : NULL;
        if (strlen(url) > TEXT_MAX) return "it is too long";
        if (host == NULL) return "it begins with neither http:// nor https://";
        if (*host == '\0' || *host == '/') return "it names no host";
        if (strchr(host, '@') != NULL) return "it may not hold a user or a password";
        for (const char *p = url; *p != '\0'; p++)
                if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f ||
                        strchr("\"'<>\\^`{|}?#", *p) != NULL)
                        return "it holds a character that is none of such a URL";
        return NULL;
}

static bool invalid(struct op *op, const char *what, const char *value, const char *why)
{
        op_rc(op, RC_FAIL_INVLD_BACKUP_CONFIG, "%s '%.64s' cannot be used: %s.", what, value, why);
        return false;
}

static bool name_ok(struct op *op, const char *name)
{
        struct remote old;
        const char *why = name_check(NAME_NODE, name);
        if (why != NULL) {
                op_rc(op, RC_FAIL_INVLD_REMOTE_NAME, "'%.64s' is not a name of a remote: %s.", op_text(name),
                        why);
                return false;
        }
        if (!op_find_remote(op, name, &old)) return true;
        remote_rc(op, RC_FAIL_EXISTS_REMOTE, old.name, "exists already");
        return false;
}

/* Buckets and regions become parts of URLs and of what is signed. */
static bool word_ok(struct op *op, const char *what, const char *s, const char *also)
{
        size_t n = strlen(s);
        for (size_t i = 0; i < n; i++) {
                char c = s[i];
                bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
                if (!plain && strchr(also, c) == NULL)
                        return invalid(op, what, s, "it has letters, digits, '-' and '.' only");
        }
        if (n > 255 || strstr(s, "..") != NULL) return invalid(op, what, s, "it is too long, or holds '..'");
        return true;
}

static bool seal(struct op *op, const char *what, const char *secret, struct blob *ret)
{
        size_t n = strlen(secret);
        for (size_t i = 0; i < n; i++)
                if ((unsigned char)secret[i] < ' ')
                        return invalid(op, what, "...", "it holds control characters");
        if (n == 0 || n > SECRET_MAX) return invalid(op, what, "...", "it has 1 to 512 bytes");
        if (!op_crypt_need(op, "The secrets of a remote need", "They are stored encrypted under it."))
                return false;
        if (vault_seal(BLOB(secret, n), op->arena, ret) == 0) return true;
        return op_crypt_need(op, "The secrets of a remote need", "They are stored encrypted under it.");
}

static const char *endpoint_url(struct op *op, const char *endpoint)
{
        return strstr(endpoint, "://") != NULL ? endpoint
                                               : arena_printf(op->arena, "https://%.600s", endpoint);
}

/* ---- S3 ---- */

static bool set_s3(struct op *op, struct remote *r, const struct s3_remote_body *b)
{
        if (op_given(b->endpoint)) {
                const char *why = remote_url_problem(endpoint_url(op, b->endpoint));
                if (why != NULL) return invalid(op, "The endpoint", b->endpoint, why);
                SET(r, remote, endpoint, b->endpoint);
        }
        if (op_given(b->bucket)) {
                if (!word_ok(op, "The bucket", b->bucket, "-._")) return false;
                SET(r, remote, bucket, b->bucket);
        }
        if (op_given(b->region)) {
                if (!word_ok(op, "The region", b->region, "-_")) return false;
                SET(r, remote, region, b->region);
        }
        if (op_given(b->access_key)) {
                struct blob sealed;
                if (!seal(op, "The access key", b->access_key, &sealed)) return false;
                SET(r, remote, access_key, sealed);
        }
        if (op_given(b->secret_key)) {
                struct blob sealed;
                if (!seal(op, "The secret key", b->secret_key, &sealed)) return false;
                SET(r, remote, secret_key, sealed);
        }
        if (HAS(b, s3_remote_body, use_path_style)) {
                uint64_t flags = r->flags & ~(uint64_t)remote_flag_S3_USE_PATH_STYLE;
                SET(r, remote, flags, b->use_path_style ? flags | remote_flag_S3_USE_PATH_STYLE : flags);
        }
        return true;
}

void op_remote_create_s3(struct op *op)
{
        const struct s3_remote_body *b = OP_BODY(op, s3_remote_body);
        struct remote r = { 0 };
        if (!name_ok(op, b->remote_name)) return;
        const struct {
                const char *what, *value;
        } needed[] = { { "endpoint", b->endpoint }, { "bucket", b->bucket }, { "region", b->region },
                { "access_key", b->access_key }, { "secret_key", b->secret_key } };
        for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
                if (op_given(needed[i].value)) continue;
                op_rc(op, RC_FAIL_INVLD_BACKUP_CONFIG, "A remote of kind S3 needs '%s'.", needed[i].what);
                return;
        }
        SET(&r, remote, name, b->remote_name);
        SET(&r, remote, kind, remote_kind_S3);
        SET(&r, remote, uuid, op_uuid(op));
        if (!set_s3(op, &r, b)) return;
        row_put(op->tx, &remote_type, &r);
        remote_rc(op, RC_CREATED, r.name, "created");
}

void op_remote_modify_s3(struct op *op)
{
        struct remote r;
        if (!op_need_remote(op, op->params[0], remote_kind_S3, &r)) return;
        if (!set_s3(op, &r, OP_BODY(op, s3_remote_body))) return;
        row_put(op->tx, &remote_type, &r);
        remote_rc(op, RC_MODIFIED, r.name, "modified");
}

/* ---- other clusters ---- */

/* One URL, or several between commas: of several controllers, of which one answers. */
static bool urls_ok(struct op *op, const char *urls)
{
        for (const char *p = urls;; p++) {
                size_t n = strcspn(p, ",");
                const char *url = arena_strndup(op->arena, p, n), *why = remote_url_problem(url);
                if (why != NULL) return invalid(op, "The URL", url, why);
                p += n;
                if (*p == '\0') break;
        }
        if (strlen(urls) <= TEXT_MAX) return true;
        return invalid(op, "The URL", urls, "it is too long");
}

static bool set_linstor(struct op *op, struct remote *r, const struct linstor_remote_body *b)
{
        if (op_given(b->url)) {
                if (!urls_ok(op, b->url)) return false;
                SET(r, remote, url, b->url);
        }
        if (op_given(b->cluster_id)) {
                if (!word_ok(op, "The cluster id", b->cluster_id, "-")) return false;
                SET(r, remote, cluster_id, b->cluster_id);
        }
        if (op_given(b->passphrase)) {
                struct blob sealed;
                if (!seal(op, "The passphrase", b->passphrase, &sealed)) return false;
                SET(r, remote, passphrase, sealed);
        }
        return true;
}

void op_remote_create_linstor(struct op *op)
{
        const struct linstor_remote_body *b = OP_BODY(op, linstor_remote_body);
        struct remote r = { 0 };
        if (!name_ok(op, b->remote_name)) return;
        if (!op_given(b->url)) {
                op_rc(op, RC_FAIL_INVLD_BACKUP_CONFIG, "A remote of kind LINSTOR needs 'url'.");
                return;
        }
        SET(&r, remote, name, b->remote_name);
        SET(&r, remote, kind, remote_kind_LINSTOR);
        SET(&r, remote, uuid, op_uuid(op));
        if (!set_linstor(op, &r, b)) return;
        row_put(op->tx, &remote_type, &r);
        remote_rc(op, RC_CREATED, r.name, "created");
}

void op_remote_modify_linstor(struct op *op)
{
        struct remote r;
        if (!op_need_remote(op, op->params[0], remote_kind_LINSTOR, &r)) return;
        if (!set_linstor(op, &r, OP_BODY(op, linstor_remote_body))) return;
        row_put(op->tx, &remote_type, &r);
        remote_rc(op, RC_MODIFIED, r.name, "modified");
}

/* What failed is shown for a while only. */
static void drop_failed(struct op *op, const char *name)
{
        struct row_scan s;
        struct ship x;
        row_scan_open(&s, op->tx, &ship_type, NULL, 0);
        while (row_scan_next(&s, op->arena, &x))
                if (op_same(x.remote_name, name)) (void)row_del(op->tx, &ship_type, &x);
        row_scan_close(&s);
}

void op_remote_delete(struct op *op)
{
        const char *name = query_get(op->query, "remote_name");
        struct remote r;
        if (!op_given(name)) {
                op_rc(op, RC_FAIL_INVLD_REMOTE_NAME, "The request names no remote (remote_name=...).");
                return;
        }
        if (!op_find_remote(op, name, &r)) {
                remote_rc(op, RC_WARN_NOT_FOUND, name, "does not exist");
                return;
        }
        if (op_ship_uses(op, r.name)) {
                SET(&r, remote, flags, r.flags | remote_flag_MARK_DELETED);
                row_put(op->tx, &remote_type, &r);
                remote_rc(op, RC_DELETED, r.name, "is in use: it is deleted when its backups have ended");
                return;
        }
        drop_failed(op, r.name);
        (void)row_del(op->tx, &remote_type, &r);
        remote_rc(op, RC_DELETED, r.name, "deleted");
}
