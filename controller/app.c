/* Composition root, see app.h. */
#include "controller/app.h"

#include <stdlib.h>
#include <unistd.h>

#include "controller/app_internal.h"
#include "state/table.h"
#include "wire/base/log.h"

static void on_fatal(void *arg, int err, const char *why)
{
        log_error(APP_LOG, "the member cannot go on: %s (%s)", why, err_text(err));
        /* no handler may touch the disk any more */
        _exit(err == E_REMOVED || err == E_STALE ? MEMBER_EXIT_REMOVED : APP_EXIT_FATAL);
}

static void on_room(void *arg, bool full)
{
        const struct app *a = arg;
        if (full)
                log_warn(APP_LOG,
                        "the file system of %s is full: this member takes no writes and leads no more; the "
                        "others "
                        "go on. Make room there; it goes on by itself",
                        a->config.dir);
        else log_info(APP_LOG, "there is room again below %s: this member takes part again", a->config.dir);
}

static void on_heal(void *arg, const char *text) { log_warn(APP_LOG, "%s", text); }

static int evaluate(void *arg, struct tx *tx, struct blob request, uint64_t index, struct buf *ret_reply)
{
        struct app *a = arg;
        return op_evaluate(&a->op_env, tx, request, index, ret_reply);
}

/* For raftctl level. */
static uint32_t satellites(void *arg, struct arena *a, struct admin_satellite **ret)
{
        struct app *app = arg;
        struct tx *tx = app->observed != NULL ? observed_begin(app->observed) : NULL;
        struct row_scan s;
        struct obs_node n;
        uint64_t rows = tx != NULL ? row_count(tx, &obs_node_type, NULL, 0) : 0, i = 0;
        if (rows == 0 || (*ret = arena_array(a, struct admin_satellite, rows)) == NULL) {
                observed_end(tx);
                return 0;
        }
        row_scan_open(&s, tx, &obs_node_type, NULL, 0);
        while (i < rows && row_scan_next(&s, a, &n)) {
                struct admin_satellite *o = &(*ret)[i++];
                SET(o, admin_satellite, name, n.node_name);
                if (n.version != NULL) SET(o, admin_satellite, software, n.version);
                if (HAS(&n, obs_node, level_min)) SET(o, admin_satellite, level_min, n.level_min);
                if (HAS(&n, obs_node, level_max)) SET(o, admin_satellite, level_max, n.level_max);
                SET(o, admin_satellite, status, enum_name(&conn_status_enum, n.connection_status));
        }
        row_scan_close(&s);
        observed_end(tx);
        return (uint32_t)i;
}

static struct tx *op_observed_begin(void *arg)
{
        const struct app *a = arg;
        return a->observed != NULL ? observed_begin(a->observed) : NULL;
}
static void op_observed_end(void *arg, struct tx *tx) { observed_end(tx); }
static bool op_untried(void *arg, const char *node)
{
        const struct app *a = arg;
        return a->link == NULL || sat_link_untried(a->link, node);
}

static bool op_retried(void *arg, const char *node, int64_t wall_ms)
{
        const struct app *a = arg;
        return a->link != NULL && sat_link_retry(a->link, node, wall_ms);
}

static const struct member_hooks hooks = {
        .evaluate = evaluate,
        .on_state = app_on_state,
        .on_applied = app_on_applied,
        .on_fatal = on_fatal,
        .on_room = on_room,
        .on_heal = on_heal,
        .on_link = app_on_link,
        .on_secret = app_on_secret,
        .satellites = satellites,
};

static int open_member(struct app *a, struct fail *f)
{
        struct member_config c = { .dir = a->config.dir,
                .run_dir = a->config.run_dir,
                .listen = a->config.raft_listen != NULL && a->config.raft_listen[0] != '\0'
                                  ? a->config.raft_listen
                                  : NULL,
                .election_ms = a->config.election_ms,
                .snapshot_entries = a->config.snapshot_entries,
                .heartbeat_ms = a->config.heartbeat_ms,
                .heal = a->config.heal,
                .level_raise_ms = a->config.level_raise_ms,
                .promote_after_ms = a->config.promote_after_s * 1000,
                .witness = a->config.witness,
                .is_volatile = a->config.is_volatile,
                .witness_log_bytes = a->config.witness_log_bytes,
                .hooks = &hooks,
                .arg = a,
                .env = a->env };
        return member_open(a->config.loop, &c, &a->member, f);
}

static int open_sessions(struct app *a, struct fail *f)
{
        const struct member_identity *id = member_identity(a->member);
        struct tls_config tc = { .ca = &a->pki.ca,
                .cert = &a->pki.cert,
                .key = &a->pki.key,
                .cluster = id->cluster,
                .roles = PKI_ROLE_BIT(PKI_SATELLITE),
                .env = a->env };
        int err = tls_ctx_new(&tc, &a->satellite_tls, f);
        if (err != 0) return err;
        struct sat_link_config c = { .loop = a->config.loop,
                .env = a->env,
                .ctx = a->satellite_tls,
                .cluster_uuid = id->cluster,
                .controller = id->name,
                .observed = a->observed,
                .ops = &app_link_ops,
                .arg = a };
        return sat_link_open(&c, &a->link);
}

static int open_rest(struct app *a, struct fail *f)
{
        struct rest_config c;
        char *unix_path = xasprintf("%s/rest.sock", a->config.run_dir);
        rest_config_init(&c);
        c.loop = a->config.loop;
        c.env = a->env;
        c.member = member_identity(a->member)->name;
        c.http_listen = a->config.http_listen;
        c.https_listen = a->config.https_listen;
        c.unix_path = a->config.unix_socket ? unix_path : NULL;
        c.tls = (struct rest_tls){
                .cert_pem = a->pki.cert.text, .key_pem = a->pki.key.text, .ca_pem = a->pki.ca.text
        };
        c.config_dir = a->config.config_dir;
        c.log_level = a->config.log_level;
        c.threads = a->config.http_threads;
        c.backend = &app_backend;
        c.backend_arg = a;
        c.waiter = &app_waiter;
        c.waiter_arg = a;
        int err = rest_open(&c, &a->rest, f);
        free(unix_path);
        return err;
}

static int open_parts(struct app *a, struct fail *f)
{
        a->op_env = (struct op_env){ .observed_begin = op_observed_begin,
                .observed_end = op_observed_end,
                .arg = a,
                .untried = op_untried,
                .retried = op_retried };
        int err = open_member(a, f);
        if (err != 0 || a->config.witness) return err;
        err = pki_dir_load(a->config.dir, &a->pki, f);
        if (err == 0) err = observed_open(a->config.run_dir, app_on_observed, a, &a->observed, f);
        if (err != 0) return err;
        a->waits = waits_new(a->env, &app_waits_ops, a);
        err = open_sessions(a, f);
        if (err == 0) app_crypt_open(a);
        if (err == 0) app_l2l_open(a);
        if (err == 0) err = open_rest(a, f);
        if (err == 0) app_on_state(a); /* what was missed while the parts were not there */
        return err;
}

int app_open(const struct app_config *config, struct app **ret, struct fail *f)
{
        struct app *a = xnew(struct app);
        a->config = *config;
        a->env = env_real();
        list_init(&a->late);
        uv_timer_t *timers[] = { &a->waits_timer, &a->reconcile_timer, &a->phase_timer, &a->late_timer,
                &a->unlock_timer };
        for (size_t i = 0; i < ARRAY_LEN(timers); i++) {
                (void)uv_timer_init(config->loop, timers[i]); /* always 0 */
                timers[i]->data = a;
                a->handles++;
        }
        *ret = a;
        return open_parts(a, f);
}

const char *app_name(const struct app *a)
{
        return a->member != NULL ? member_identity(a->member)->name : "";
}
