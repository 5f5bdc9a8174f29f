#include "controller/l2l.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "controller/op/ship.h"
#include "controller/op/ship_base.h"
#include "wire/base/list.h"
#include "wire/base/log.h"
#include "wire/codec/codec.h"
#include "wire/net/web_call.h"

#define ASK_MS 30000u  /* for an answer to a request */
#define SHOW_MS 10000u /* for one that only looks */
#define SHOW_EVERY_MS 200
#define SHOW_N 50 /* looks of one call */

enum outcome { O_NOTHING, O_UNREACHABLE, O_REFUSED, O_READY, O_DONE, O_TOLD };

/* One row that another cluster is asked about. */
struct call {
        struct list at;
        struct l2l *l2l;
        char *uuid;
        int64_t round;
        bool stops; /* it is to be told that the shipment was given up */
        bool named; /* a row asks for it */
        bool seen;  /* in this look */
        bool running;
        uint64_t due_ms, silent_since_ms; /* 0 = it answered */
        uv_thread_t thread;
        atomic_bool cancel, finished;
        /* the thread's, while it is running */
        struct arena arena;
        const char *urls, *own_key;
        struct buf body;
        enum outcome outcome;
        struct ship_answer answer;
        struct fail fail;
};
struct l2l {
        uv_async_t wake;
        struct list calls;
        struct l2l_hooks hooks;
        unsigned running;
        bool closing;
};

/* ---- in the thread ---- */

/* The first error of an answer, for the user. */
static const char *refusal(struct call *c, struct buf *text, long status)
{
        json_error_t e;
        size_t i;
        json_t *list = json_loadb((const char *)text->p, text->n, 0, &e), *rc;
        const char *ret = arena_printf(&c->arena, "The other cluster answered %ld.", status);
        json_array_foreach(list, i, rc)
        {
                const char *message = json_string_value(json_object_get(rc, "message")),
                           *cause = json_string_value(json_object_get(rc, "cause"));
                if (json_integer_value(json_object_get(rc, "ret_code")) >= 0 || message == NULL) continue;
                ret = arena_printf(&c->arena, "The other cluster refuses it: %s%s%s", message,
                        cause != NULL ? " " : "", cause != NULL ? cause : "");
                break;
        }
        json_decref(list);
        return ret;
}

static bool web(struct call *c, const char *method, const char *path, struct blob body, unsigned ms,
        struct buf *ret, long *status)
{
        struct web_call w = { .urls = c->urls,
                .method = method,
                .path = path,
                .body = body,
                .timeout_ms = ms,
                .cancel = &c->cancel };
        if (web_call(&w, ret, status, &c->fail) == 0 && *status != 503) return true;
        if (c->fail.err == 0) (void)fail_set(&c->fail, E_NO_QUORUM, "its controllers have no leader");
        c->outcome = O_UNREACHABLE;
        return false;
}

static void refused(struct call *c, const char *why)
{
        c->outcome = O_REFUSED;
        SET(&c->answer, ship_answer, reason, why);
}

/* What the other cluster shows of it. True: that is the answer. */
static bool take(struct call *c, struct buf *text)
{
        struct shipment_view v = { 0 };
        struct fail f = { 0 };
        if (dec_json(&shipment_view_type, buf_blob(text), &c->arena, &v, &f) != 0) {
                refused(c, arena_printf(&c->arena, "The other cluster's answer cannot be read: %s", f.text));
                return true;
        }
        if (v.phase == ship_phase_FAILED) {
                refused(c, arena_printf(&c->arena, "At the other cluster: %s",
                                   v.reason != NULL ? v.reason : "it failed."));
                return true;
        }
        if (v.phase == ship_phase_DONE) c->outcome = O_DONE;
        else if (v.round == c->round && v.key != NULL && v.address != NULL && v.port > 0) {
                c->outcome = O_READY;
                SET(&c->answer, ship_answer, own_key, c->own_key);
                SET(&c->answer, ship_answer, peer_key, v.key);
                SET(&c->answer, ship_answer, address, v.address);
                SET(&c->answer, ship_answer, port, v.port);
                if (v.base_id != NULL) SET(&c->answer, ship_answer, base_id, v.base_id);
                if (v.note != NULL) SET(&c->answer, ship_answer, note, v.note);
        }
        return c->outcome != O_NOTHING;
}

/* Its satellite makes ready; that takes a moment, or longer when it has others to receive. */
static void look_for_port(struct call *c, const char *path, struct buf *answer)
{
        long status = 0;
        for (unsigned i = 0; i < SHOW_N && !atomic_load(&c->cancel); i++) {
                if (!web(c, "GET", path, BLOB(NULL, 0), SHOW_MS, answer, &status)) return;
                if (status != 200) return; /* asked again from the beginning */
                if (take(c, answer)) return;
                uv_sleep(SHOW_EVERY_MS);
        }
}

static void ask(struct call *c, const char *path, struct buf *answer)
{
        long status = 0;
        if (!web(c, "POST", "/v1/shipments", buf_blob(&c->body), ASK_MS, answer, &status)) return;
        if (status >= 200 && status < 300) look_for_port(c, path, answer);
        else refused(c, refusal(c, answer, status));
}

static void run(void *arg)
{
        struct call *c = arg;
        struct buf answer = { 0 };
        long status = 0;
        const char *path = arena_printf(&c->arena, "/v1/shipments/%s", c->uuid);
        if (!c->stops) ask(c, path, &answer);
        else if (web(c, "DELETE", path, BLOB(NULL, 0), ASK_MS, &answer, &status)) c->outcome = O_TOLD;
        buf_done(&answer);
        atomic_store(&c->finished, true);
        (void)uv_async_send(&c->l2l->wake);
}

/* ---- on the loop ---- */

static void call_free(struct call *c)
{
        list_remove(&c->at);
        arena_done(&c->arena);
        buf_done(&c->body);
        free(c->uuid);
        free(c);
}

static uint64_t now_of(const struct l2l *l) { return uv_now(l->wake.loop); }

/* What it came to becomes an answer, unless it is asked again. */
static void conclude(struct l2l *l, struct call *c)
{
        uint64_t now = now_of(l);
        if (c->outcome != O_UNREACHABLE) c->silent_since_ms = 0;
        else if (c->silent_since_ms == 0) {
                c->silent_since_ms = now;
                log_info(
                        "l2l", "shipment %s: the other cluster cannot be reached: %s", c->uuid, c->fail.text);
        } else if (!c->stops && now - c->silent_since_ms > L2L_GIVE_UP_MS)
                refused(c, arena_printf(&c->arena, "The other cluster cannot be reached: %s", c->fail.text));
        if (c->outcome == O_NOTHING || c->outcome == O_UNREACHABLE) return;
        SET(&c->answer, ship_answer, uuid, c->uuid);
        SET(&c->answer, ship_answer, round, c->round);
        if (c->outcome == O_DONE) SET(&c->answer, ship_answer, done, true);
        if (c->outcome == O_TOLD) SET(&c->answer, ship_answer, told, true);
        l->hooks.answer(l->hooks.arg, &c->answer);
}

static void on_closed(uv_handle_t *h)
{
        struct l2l *l = container_of((uv_async_t *)h, struct l2l, wake);
        struct l2l_hooks hooks = l->hooks;
        free(l);
        hooks.closed(hooks.arg);
}

static void on_wake(uv_async_t *h)
{
        struct l2l *l = container_of(h, struct l2l, wake);
        LIST_FOREACH_SAFE(i, n, &l->calls)
        {
                struct call *c = container_of(i, struct call, at);
                if (!c->running || !atomic_load(&c->finished)) continue;
                (void)uv_thread_join(&c->thread);
                c->running = false;
                l->running--;
                c->due_ms = now_of(l) + (c->stops ? L2L_STOP_AGAIN_MS : L2L_AGAIN_MS);
                if (!l->closing && !atomic_load(&c->cancel)) conclude(l, c);
                if (l->closing || !c->named) call_free(c);
        }
        if (!l->closing) l->hooks.due(l->hooks.arg);
        else if (list_empty(&l->calls) && !uv_is_closing((uv_handle_t *)h))
                uv_close((uv_handle_t *)h, on_closed);
}

struct l2l *l2l_open(uv_loop_t *loop, const struct l2l_hooks *hooks)
{
        struct l2l *l = xnew(struct l2l);
        list_init(&l->calls);
        l->hooks = *hooks;
        if (uv_async_init(loop, &l->wake, on_wake) == 0) return l;
        free(l);
        return NULL;
}

static void give_up(struct call *c)
{
        c->named = false;
        atomic_store(&c->cancel, true);
        if (!c->running) call_free(c);
}

void l2l_close(struct l2l *l)
{
        l->closing = true;
        LIST_FOREACH_SAFE(i, n, &l->calls) give_up(container_of(i, struct call, at));
        (void)uv_async_send(&l->wake);
}

static const struct strmap *volume_props(const struct snap_dfn *d, uint64_t number)
{
        static const struct strmap none;
        for (uint32_t i = 0; i < d->volumes_n; i++)
                if (d->volumes[i].volume_number == number) return &d->volumes[i].vd_props;
        return &none;
}

static const char *source_pool(struct tx *wanted, const struct ship *s, uint64_t number, struct arena *a)
{
        struct snap x,
                key = { .rsc_name = s->rsc_name, .snap_name = s->snap_name, .node_name = s->node_name };
        if (row_get(wanted, &snap_type, &key, a, &x) != 0) return "";
        for (uint32_t i = 0; i < x.volumes_n; i++)
                if (x.volumes[i].volume_number == number)
                        return x.volumes[i].storage_pool_name != NULL ? x.volumes[i].storage_pool_name : "";
        return "";
}

/* The request to the other cluster. false: what it is about is gone. */
static bool compose(struct call *c, struct tx *wanted, const struct ship *s)
{
        struct arena *a = &c->arena;
        struct cluster cluster;
        struct shipment_body b = { 0 };
        struct snap_dfn d = { 0 }, key = { .rsc_name = s->rsc_name, .snap_name = s->snap_name };
        struct backup_vlm *vlms = arena_alloc(a, (s->volumes_n + 1) * sizeof *vlms);
        if (row_get_single(wanted, &cluster_type, a, &cluster) != 0 || cluster.uuid == NULL ||
                s->target == NULL || row_get(wanted, &snap_dfn_type, &key, a, &d) != 0)
                return false;
        for (uint32_t i = 0; i < s->volumes_n; i++) {
                vlms[i] = (struct backup_vlm){ 0 };
                SET(&vlms[i], backup_vlm, volume_number, s->volumes[i].volume_number);
                SET(&vlms[i], backup_vlm, size_kib, s->volumes[i].size_kib);
                SET(&vlms[i], backup_vlm, key, "");
                SET(&vlms[i], backup_vlm, storage_pool_name,
                        source_pool(wanted, s, s->volumes[i].volume_number, a));
                SET(&vlms[i], backup_vlm, props, *volume_props(&d, s->volumes[i].volume_number));
        }
        SET(&b, shipment_body, uuid, s->uuid);
        SET(&b, shipment_body, version, SHIP_VERSION);
        SET(&b, shipment_body, round, s->round);
        SET(&b, shipment_body, cluster_id, cluster.uuid);
        SET(&b, shipment_body, key, c->own_key);
        SET(&b, shipment_body, rsc_name, s->rsc_name);
        SET(&b, shipment_body, snap_uuid, s->snap_uuid);
        SET(&b, shipment_body, target, s->target);
        SET_N(&b, shipment_body, volumes, vlms, s->volumes_n);
        SET(&b, shipment_body, props, d.rd_props);
        if (s->incremental) {
                const char **bases;
                uint32_t n = ship_bases(wanted, s, a, &bases);
                SET_N(&b, shipment_body, bases, bases, n);
        }
        buf_reset(&c->body);
        enc_json(&shipment_body_type, &b, JSON_DUMP, &c->body);
        return c->body.err == 0;
}

static void start(struct l2l *l, struct call *c, struct tx *wanted, const struct ship *s, const char *key)
{
        struct remote r, rkey = { .name = s->remote_name };
        arena_done(&c->arena);
        c->arena = (struct arena){ 0 };
        c->answer = (struct ship_answer){ 0 };
        c->fail = (struct fail){ 0 };
        c->outcome = O_NOTHING;
        c->own_key = key != NULL ? arena_strdup(&c->arena, key) : NULL;
        atomic_store(&c->finished, false);
        if (row_get(wanted, &remote_type, &rkey, &c->arena, &r) != 0 || r.url == NULL) return;
        c->urls = r.url;
        if (!c->stops && !compose(c, wanted, s)) return;
        if (uv_thread_create(&c->thread, run, c) != 0) return;
        c->running = true;
        l->running++;
}

static struct call *find(struct l2l *l, const struct ship *s, bool stops)
{
        LIST_FOREACH(i, &l->calls)
        {
                struct call *c = container_of(i, struct call, at);
                if (c->named && c->round == s->round && c->stops == stops && strcmp(c->uuid, s->uuid) == 0)
                        return c;
        }
        struct call *c = xnew(struct call);
        c->l2l = l;
        c->uuid = xstrdup(s->uuid);
        c->round = s->round;
        c->stops = stops;
        list_push_back(&l->calls, &c->at);
        return c;
}

/* The key that its satellite has made for this round; NULL: not yet. */
static const char *key_of(struct tx *observed, const struct ship *s, struct arena *a)
{
        struct obs_ships key = { .node_name = s->node_name }, o;
        if (row_get(observed, &obs_ships_type, &key, a, &o) != 0) return NULL;
        for (uint32_t i = 0; i < o.ships_n; i++)
                if (strcmp(o.ships[i].uuid, s->uuid) == 0 && o.ships[i].round == s->round)
                        return o.ships[i].key;
        return NULL;
}

/* A call that is due by the row, begun unless that is too early. */
static void look_row(struct l2l *l, struct tx *wanted, struct tx *observed, const struct ship *s, bool *waits)
{
        struct arena a = { 0 };
        bool stops = s->phase == ship_phase_FAILED && s->round > 0 && !s->told;
        const char *key = s->phase == ship_phase_ASK ? key_of(observed, s, &a) : NULL;
        if (s->kind == ship_kind_SEND && (stops || key != NULL)) {
                struct call *c = find(l, s, stops);
                c->named = c->seen = true;
                if (!c->running && c->due_ms <= now_of(l) && l->running < L2L_AT_ONCE) {
                        c->due_ms = now_of(l) + L2L_AGAIN_MS;
                        start(l, c, wanted, s, key);
                }
                *waits = *waits || !c->running;
        }
        arena_done(&a);
}

bool l2l_look(struct l2l *l, struct tx *wanted, struct tx *observed, bool leading)
{
        struct arena a = { 0 };
        struct row_scan scan;
        struct ship s;
        bool waits = false;
        if (l->closing) return false;
        LIST_FOREACH(i, &l->calls) container_of(i, struct call, at)->seen = false;
        row_scan_open(&scan, wanted, &ship_type, NULL, 0);
        while (leading && row_scan_next(&scan, &a, &s)) look_row(l, wanted, observed, &s, &waits);
        row_scan_close(&scan);
        arena_done(&a);
        LIST_FOREACH_SAFE(i, n, &l->calls)
        {
                struct call *c = container_of(i, struct call, at);
                if (!c->seen && c->named) give_up(c);
        }
        return waits;
}
