/* What a member answers by itself, quorum or not: versions, health, metrics, configuration, refusals. HTTP
 * threads. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/build_info.h"
#include "controller/rest/openapi.h"
#include "controller/rest/rest_internal.h"
#include "wire/base/log.h"
#include "wire/codec/codec.h"
#include "wire/def/versions.h"

void rest_error(struct exchange *x, unsigned status, enum apirc_code code, const char *message,
        const char *cause, const char *correction)
{
        struct api_rc rc;
        unsigned op = x->route ? x->route->op_bits : 0, object = x->route ? x->route->object_bits : 0;
        struct env *env = x->conn->rest->env;
        const char *id = x->report_id;
        apirc_init(&rc, code, op, object, message, env->wall_ms(env), &x->arena);
        if (cause && *cause) SET(&rc, api_rc, cause, cause);
        if (correction) SET(&rc, api_rc, correction, correction);
        if (*id) SET_N(&rc, api_rc, error_report_ids, &id, 1);
        x->status = status;
        buf_reset(&x->answer);
        apirc_render(&rc, 1, &x->answer);
}

/* ---- no such route ---- */

static const char *const methods[] = { "GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS" };

void rest_unknown(struct exchange *x)
{
        bool known = x->match.path_known;
        struct arena *a = &x->arena;
        const char *allow = "";
        for (size_t i = 0; known && i < ARRAY_LEN(methods); i++) {
                struct route_match m;
                if (route_find(methods[i], x->path, a, &m))
                        allow = arena_printf(a, "%s%s%s", allow, *allow ? ", " : "", methods[i]);
        }
        if (known) x->allow = allow;
        rest_error(x, known ? 405 : 404, RC_FAIL_UNKNOWN_ERROR,
                arena_printf(a, known ? "Method %s is not allowed for %.512s" : "There is no %s %.512s",
                        x->method, x->path),
                known ? NULL : "This API has no such path.", NULL);
}

void rest_preflight(struct exchange *x)
{
        x->preflight = true;
        x->status = 200;
}

/* ---- routes ---- */

static void answer(struct exchange *x, const struct type_desc *t, const void *o)
{
        x->status = 200;
        enc_json(t, o, JSON_API, &x->answer);
}

static void version(struct exchange *x)
{
        struct controller_version v = { 0 };
        SET(&v, controller_version, version, SOFTWARE_VERSION);
        SET(&v, controller_version, git_hash, BUILD_GIT_HASH);
        SET(&v, controller_version, build_time, BUILD_TIME);
        SET(&v, controller_version, rest_api_version, BUILD_REST_API_VERSION);
        answer(x, &controller_version_type, &v);
}

static void health(struct exchange *x)
{
        struct rest *r = x->conn->rest;
        uint64_t since = atomic_load(&r->pub_no_quorum_since_ms), now = r->env->now_ms(r->env);
        x->status = 200;
        if (since && now >= since + r->config.limits.unhealthy_ms)
                rest_error(x, 500, RC_FAIL_UNKNOWN_ERROR, "This controller has lost the others.",
                        "It cannot reach a majority of the controllers.",
                        "'raftctl status' on this member shows who is missing.");
}

static struct config_http *listen_config(
        struct rest *r, const char *text, enum rest_listener which, struct arena *a)
{
        struct config_http *h = arena_new(a, struct config_http);
        bool on = text && *text;
        SET(h, config_http, enabled, on);
        if (!on) return h;
        char *host = arena_strdup(a, text), *colon = strrchr(host, ':');
        if (colon) {
                *colon = 0;
                SET(h, config_http, port, strtol(colon + 1, NULL, 10));
        }
        SET(h, config_http, listen_address, host);
        return h;
}

static void config(struct exchange *x)
{
        struct rest *r = x->conn->rest;
        struct controller_config c = { 0 };
        struct config_dir dir = { 0 };
        struct config_debug debug = { 0 };
        struct config_log log = { 0 };
        struct config_db db = { 0 };
        const char *level = log_level_name(log_get_level());
        if (r->config.config_dir) SET(&dir, config_dir, dir, r->config.config_dir);
        SET(&debug, config_debug, console_enabled, false);
        SET(&log, config_log, level, level);
        SET(&log, config_log, level_global, level);
        SET(&log, config_log, level_linstor, level);
        SET(&log, config_log, level_linstor_global, level);
        SET(&db, config_db, connection_url, "raft");
        SET(&c, controller_config, config, &dir);
        SET(&c, controller_config, debug, &debug);
        SET(&c, controller_config, log, &log);
        SET(&c, controller_config, db, &db);
        SET(&c, controller_config, http, listen_config(r, r->config.http_listen, REST_HTTP, &x->arena));
        SET(&c, controller_config, https, listen_config(r, r->config.https_listen, REST_HTTPS, &x->arena));
        answer(x, &controller_config_type, &c);
}

static void set_config(struct exchange *x)
{
        struct controller_config c = { 0 };
        struct fail f = { 0 };
        enum log_level level;
        struct env *env = x->conn->rest->env;
        if (dec_json(&controller_config_type, buf_blob(&x->body), &x->arena, &c, &f) != 0) {
                rest_error(x, 400, RC_FAIL_API_CALL_PARSE, f.text, "The body of the request is malformed.",
                        NULL);
                return;
        }
        const char *name = c.log ? c.log->level : NULL;
        if (c.log && !name) name = c.log->level_linstor;
        if (c.log && !name) name = c.log->level_global;
        if (c.log && !name) name = c.log->level_linstor_global;
        if (!name || log_level_parse(name, &level) != 0) {
                rest_error(x, 500, RC_FAIL_INVLD_CONF,
                        "Only the log level can be changed while the controller runs.",
                        "No log.level was given, or it is none of ERROR, WARN, INFO, DEBUG and TRACE.", NULL);
                return;
        }
        log_set_level(level);
        struct api_rc rc;
        apirc_init(&rc, RC_MODIFIED, RC_OP_MODIFY, RC_OBJ_CTRL_CONF,
                "The log level of this controller is changed until it starts anew.", env->wall_ms(env),
                &x->arena);
        x->status = 200;
        apirc_render(&rc, 1, &x->answer);
}

static void metrics(struct exchange *x)
{
        struct rest *r = x->conn->rest;
        const struct rest_backend *b = r->config.backend;
        struct rest_view v = { 0 };
        struct rest_stats stats;
        struct driver_status *status = arena_new(&x->arena, struct driver_status);
        int err = b->view_begin(r->config.backend_arg, &v);
        if (err) v = (struct rest_view){ 0 };
        pthread_mutex_lock(&r->status_mutex);
        *status = r->status;
        pthread_mutex_unlock(&r->status_mutex);
        rest_stats(r, &stats);
        struct metrics_input in = { .wanted = v.wanted,
                .observed = v.observed,
                .status = status,
                .now_ms = r->env->now_ms(r->env),
                .connections = stats.connections,
                .in_flight = stats.in_flight,
                .connections_accepted = stats.accepted,
                .connections_refused = stats.refused_per_ip,
                .connections_cut = stats.cut_slow,
                .resources = query_bool(&x->query, "resource", true),
                .storage_pools = query_bool(&x->query, "storage_pools", true),
                .error_reports = query_bool(&x->query, "error_reports", true) };
        x->answer.limit_bytes = REST_ANSWER_MAX;
        x->status = 200;
        x->content_type = "text/plain; version=0.0.4; charset=utf-8";
        int err2 = metrics_render(r->metrics, &in, &x->answer);
        if (!err) b->view_end(r->config.backend_arg, &v);
        else err2 = err;
        if (err2) log_warn("rest", "metrics are incomplete: %s", err_text(err2));
}

static void scrape_target(struct exchange *x)
{
        struct scrape_target t = { 0 };
        const char *host = MHD_lookup_connection_value(x->mhd, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);
        if (!host) host = "localhost";
        SET_N(&t, scrape_target, targets, &host, 1);
        x->status = 200;
        enc_json_list(&scrape_target_type, &t, 1, JSON_API, &x->answer);
}

/* Made by the first who asks; it never changes. */
static struct buf document;
static void make_document(void)
{
        if (openapi_render(&document) != 0) buf_reset(&document);
}

static void openapi(struct exchange *x)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        pthread_once(&once, make_document);
        x->status = 200;
        buf_put(&x->answer, document.p, document.n);
}

void rest_local(struct exchange *x)
{
        switch ((int)x->route->id) {
        case ROUTE_controller_version: version(x); return;
        case ROUTE_health: health(x); return;
        case ROUTE_metrics: metrics(x); return;
        case ROUTE_metrics_target: scrape_target(x); return;
        case ROUTE_openapi: openapi(x); return;
        case ROUTE_controller_config: config(x); return;
        case ROUTE_controller_config_set: set_config(x); return;
        default:
                rest_error(x, 500, RC_FAIL_IMPL_ERROR,
                        arena_printf(&x->arena, "Not available yet: %s", x->route->summary), NULL, NULL);
        }
}
