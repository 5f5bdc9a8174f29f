/* Happy path: app_open() = lock -> certificates -> TLS context -> manager (brings volumes up from the last
 * wanted state)
 * -> sessions. app_close() = sessions -> manager -> closed. A failure inside app_open() closes what was
 * opened; the loop has to run a little longer for that, and the lock is free at once. */
#include "satellite/app.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "satellite/drbd/drbd_node.h"
#include "satellite/drbd/layer_drbd.h"
#include "satellite/layer/layer_nvme.h"
#include "satellite/run_fill.h"
#include "satellite/state.h"
#include "wire/base/log.h"
#include "wire/base/mem.h"
#include "wire/def/versions.h"
#include "wire/net/pki_dir.h"

struct app {
        struct manager *manager;
        struct session_server *sessions;
        struct tls_ctx *ctx;
        struct pki_identity id;
        int lock_fd;
        app_closed_fn *closed;
        void *arg;
};

static void on_changed(void *arg)
{
        struct app *a = arg;
        if (a->sessions != NULL) session_server_changed(a->sessions);
}

static int load_identity(struct app *a, const struct app_config *c, struct fail *f)
{
        struct pki_dir pki;
        int err = pki_dir_load(c->dir, &pki, f);
        if (err == E_NOT_FOUND) {
                return fail_set(f, err,
                        "this node has not joined a cluster. On a controller run `raftctl token create "
                        "--role satellite`, here "
                        "`outrigger-satellite join TOKEN`");
        }
        if (err != 0) return err;
        err = pki_identity(&pki.cert, &a->id, f);
        if (err == 0 && a->id.role != PKI_SATELLITE)
                err = fail_set(f, E_AUTH, "the certificate in %s is for a %s, not for a satellite", c->dir,
                        pki_role_name(a->id.role));
        struct tls_config tc = { .ca = &pki.ca,
                .cert = &pki.cert,
                .key = &pki.key,
                .cluster = a->id.cluster,
                .roles = PKI_ROLE_BIT(PKI_CONTROLLER),
                .env = c->env };
        if (err == 0) err = tls_ctx_new(&tc, &a->ctx, f);
        pki_dir_done(&pki);
        return err;
}

static int open_sessions(struct app *a, const struct app_config *c, struct fail *f)
{
        struct session_config sc = {
                .loop = c->loop,
                .env = c->env,
                .ctx = a->ctx,
                .node_name = a->id.name,
                .cluster_uuid = a->id.cluster,
                .version = SOFTWARE_VERSION,
                .addresses = c->addresses,
                .addresses_n = c->addresses_n,
        };
        return session_server_open(&sc, &a->sessions, f);
}

static void app_free(struct app *a)
{
        tls_ctx_unref(a->ctx);
        if (a->lock_fd >= 0) close(a->lock_fd);
        free(a);
}

int app_open(const struct app_config *c, struct app **ret, struct fail *f)
{
        struct app *a = xnew(struct app);
        a->lock_fd = -1;
        int err = state_lock(c->dir, &a->lock_fd, f);
        if (err == 0) {
                drbd_node_detect(c->dir);
                drbd_layer_init();
                nvme_layer_init(c->dir);
                run_fill_sweep();
        }
        if (err == 0) err = load_identity(a, c, f);
        if (err == 0) err = open_sessions(a, c, f);
        if (err == 0) {
                struct manager_config mc = { .dir = c->dir,
                        .node_name = a->id.name,
                        .cluster_uuid = a->id.cluster,
                        .retry_first_ms = c->retry_first_ms,
                        .scan_every_ms = c->scan_every_ms,
                        .cgroup_dir = c->cgroup_dir,
                        .allow_ext_files = c->allow_ext_files,
                        .leave_alone = c->leave_alone };
                err = manager_open(c->loop, c->env, &mc, on_changed, a, &a->manager, f);
        }
        if (err != 0) {
                if (a->sessions != NULL) session_server_close(a->sessions, NULL, NULL);
                app_free(a);
                return err;
        }
        session_server_set_manager(a->sessions, a->manager);
        *ret = a;
        return 0;
}

static void on_manager_closed(void *arg)
{
        struct app *a = arg;
        app_closed_fn *closed = a->closed;
        void *closed_arg = a->arg;
        app_free(a);
        closed(closed_arg);
}

static void on_sessions_closed(void *arg)
{
        struct app *a = arg;
        a->sessions = NULL;
        manager_close(a->manager, on_manager_closed);
}

void app_close(struct app *a, app_closed_fn *closed, void *arg)
{
        a->closed = closed;
        a->arg = arg;
        session_server_close(a->sessions, on_sessions_closed, a);
}

const char *app_node_name(const struct app *a) { return a->id.name; }

void app_address(const struct app *a, uint32_t i, struct sockaddr_storage *ret)
{
        session_server_address(a->sessions, i, ret);
}
