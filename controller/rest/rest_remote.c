/* Requests for which a bucket is asked first, by the member that takes them: each in a thread of its own while its connection is
 * suspended, so that nobody else waits. A few at a time; a shutdown breaks them off. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "controller/base/vault.h"
#include "controller/rest/rest_backup.h"
#include "controller/rest/rest_internal.h"
#include "state/table.h"

#define AT_ONCE 8
#define TIMEOUT_MS 5000u

static atomic_int running;

bool rest_remote_is(const struct route *route)
{
        return route->id == ROUTE_backup_list || route->id == ROUTE_backup_info ||
               route->id == ROUTE_backup_delete || route->id == ROUTE_backup_restore;
}

static const char *unseal(struct exchange *x, struct blob sealed)
{
        struct blob plain;
        if (vault_unseal(sealed, &x->arena, &plain) != 0) return NULL;
        const char *s = arena_strndup(&x->arena, (const char *)plain.p, plain.n);
        secret_wipe((void *)(uintptr_t)plain.p, plain.n);
        return s;
}

static void load_ships(struct exchange *x, struct tx *tx, const struct remote *r, struct backup_call *c)
{
        struct row_scan s;
        struct ship row;
        uint64_t max = row_count(tx, &ship_type, &(struct ship){ 0 }, 0);
        struct ship *list = arena_alloc(&x->arena, (max + 1) * sizeof *list);
        row_scan_open(&s, tx, &ship_type, NULL, 0);
        while (c->ships_n < max && row_scan_next(&s, &x->arena, &row))
                if (strcasecmp(row.remote_name, r->name) == 0) list[c->ships_n++] = row;
        row_scan_close(&s);
        c->ships = list;
}

/* The remote, and what is on its way there. The view is over before the bucket is asked. */
static bool load(struct exchange *x, struct backup_call *c)
{
        const struct rest_config *config = &x->conn->rest->config;
        struct rest_view v = { 0 };
        struct remote r, key = { .name = x->match.params[0] };
        struct ctrl_props p;
        if (config->backend->view_begin(config->backend_arg, &v) != 0) {
                rest_error(
                        x, 500, RC_FAIL_UNKNOWN_ERROR, "This controller cannot read its state.", NULL, NULL);
                return false;
        }
        bool found = row_get(v.wanted, &remote_type, &key, &x->arena, &r) == 0 && r.kind == remote_kind_S3 &&
                     (r.flags & remote_flag_MARK_DELETED) == 0;
        if (found) load_ships(x, v.wanted, &r, c);
        const char *seconds = NULL;
        if (row_get_single(v.wanted, &ctrl_props_type, &x->arena, &p) == 0)
                seconds = strmap_get(&p.props, "BackupShipping/BackupTimeout");
        config->backend->view_end(config->backend_arg, &v);
        if (!found) {
                rest_error(x, 404, RC_FAIL_NOT_FOUND_REMOTE,
                        arena_printf(&x->arena, "There is no remote '%.255s' of kind S3.", key.name), NULL,
                        NULL);
                return false;
        }
        long limit_s = seconds != NULL ? strtol(seconds, NULL, 10) : 0;
        c->target = (struct s3_target){ .endpoint = r.endpoint,
                .bucket = r.bucket,
                .region = r.region,
                .access_key = unseal(x, r.access_key),
                .secret_key = unseal(x, r.secret_key),
                .path_style = (r.flags & remote_flag_S3_USE_PATH_STYLE) != 0,
                .timeout_ms = limit_s > 0 && limit_s < 600 ? (unsigned)limit_s * 1000 : TIMEOUT_MS,
                .cancel = &x->conn->rest->leaving_all };
        if (c->target.access_key != NULL && c->target.secret_key != NULL) return true;
        rest_error(x, 404, RC_FAIL_NOT_FOUND_CRYPT_KEY,
                "The cluster is locked: its master passphrase has not been entered.", NULL,
                "Enter it with 'outrigger encryption enter-passphrase'.");
        return false;
}

static void ask(struct exchange *x)
{
        struct backup_call c = { .arena = &x->arena, .query = &x->query, .out = &x->answer };
        if (!load(x, &c)) return;
        if (x->route->id == ROUTE_backup_list) backup_list(&c);
        else if (x->route->id == ROUTE_backup_info) backup_info(&c, buf_blob(&x->body));
        else if (x->route->id == ROUTE_backup_delete) backup_delete(&c);
        else (void)backup_resolve(&c, &x->body);
        secret_wipe((void *)(uintptr_t)c.target.access_key, strlen(c.target.access_key));
        secret_wipe((void *)(uintptr_t)c.target.secret_key, strlen(c.target.secret_key));
        if (c.status >= 400) rest_error(x, c.status, c.code, c.message, c.cause, c.correction);
        else x->status = c.status;
}

static void *run(void *arg)
{
        struct exchange *x = arg;
        ask(x);
        x->step = X_BACK;
        atomic_fetch_sub(&running, 1);
        MHD_resume_connection(x->mhd); /* x is the HTTP thread's again */
        return NULL;
}

enum MHD_Result rest_remote_begin(struct exchange *x)
{
        pthread_attr_t attr;
        pthread_t thread;
        bool room = atomic_fetch_add(&running, 1) < AT_ONCE;
        x->status = 0;
        if (room) {
                x->step = X_OUT;
                MHD_suspend_connection(x->mhd);
                (void)pthread_attr_init(&attr);
                (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
                int err = pthread_create(&thread, &attr, run, x);
                (void)pthread_attr_destroy(&attr);
                if (err == 0) return MHD_YES;
                MHD_resume_connection(x->mhd);
        }
        atomic_fetch_sub(&running, 1);
        x->step = X_BODY;
        rest_error(x, 503, RC_FAIL_UNKNOWN_ERROR, "Too many requests wait for buckets.", NULL,
                "Try again later.");
        return rest_send(x);
}
