/* All sessions with satellites: which there are, and who is to be told what. See sat_link.h. */
#include "controller/sat/sat_link.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "controller/sat/sat_keys.h"
#include "controller/sat/sat_link_internal.h"
#include "controller/sat/sat_ships.h"
#include "state/level.h"
#include "state/writeset.h"
#include "wire/base/log.h"
#include "wire/codec/codec.h"

#define LOG "satellites"
#define SAT_FAILED_PAUSE_MS 5000 /* before a state that could not be built or taken is tried again */

static uint64_t now(const struct sat_link *l) { return l->config.env->now_ms(l->config.env); }

void sat_link_settle(struct sat_link *l)
{
        assert(l->live > 0);
        if (--l->live > 0) return;
        sat_link_closed_fn *cb = l->closed_cb;
        void *arg = l->closed_arg;
        tls_ctx_unref(l->config.ctx);
        free((char *)l->config.cluster_uuid);
        free((char *)l->config.controller);
        free(l);
        cb(arg);
}

/* ---- which sessions there are ---- */

static struct sat_session *find(const struct sat_link *l, const char *node_name)
{
        LIST_FOREACH(it, &l->sessions)
        {
                struct sat_session *s = container_of(it, struct sat_session, at);
                if (!s->removed && strcasecmp(s->node_name, node_name) == 0) return s;
        }
        return NULL;
}

static bool has_satellite(const struct node *n)
{
        bool evicted = (n->flags & node_flag_EVICTED) == node_flag_EVICTED;
        return (n->type == node_type_SATELLITE || n->type == node_type_COMBINED) && !evicted;
}

static bool is_node(struct tx *tx, const char *node_name)
{
        struct arena a = { 0 };
        struct node n, key = { .name = node_name };
        bool there = row_get(tx, &node_type, &key, &a, &n) == 0 && has_satellite(&n);
        arena_done(&a);
        return there;
}

/* Level-triggered: makes the sessions those of the node rows. */
static void look_nodes(struct sat_link *l, struct tx *tx)
{
        struct arena a = { 0 };
        struct row_scan scan;
        struct node n;
        row_scan_open(&scan, tx, &node_type, NULL, 0);
        while (row_scan_next(&scan, &a, &n)) {
                if (!has_satellite(&n)) continue;
                struct sat_session *s = find(l, n.name);
                if (s == NULL) s = session_new(l, n.name);
                session_set_node(s, &n);
        }
        row_scan_close(&scan);
        arena_done(&a);
        if (tx->err != 0) return; /* half a list is no reason to end sessions */
        LIST_FOREACH_SAFE(it, nx, &l->sessions)
        {
                struct sat_session *s = container_of(it, struct sat_session, at);
                if (!s->removed && !is_node(tx, s->node_name) && tx->err == 0) session_remove(s, true);
        }
}

/* ---- what they are told ---- */

static int build(struct sat_session *s, struct tx *tx, const struct sat_wanted_args *args, struct arena *a,
        struct sat_wanted *w)
{
        int err = E_STALE;
        if (s->has_acked && !s->dirty.all) err = sat_wanted_diff(tx, args, &s->dirty, a, w);
        if (err == E_STALE) err = sat_wanted_full(tx, args, a, w);
        return err;
}

/* The keys of what follows, before it. */
static int send_keys(struct sat_session *s, struct tx *tx, const struct sat_wanted *w, struct arena *a)
{
        struct sat_keys k;
        int err = sat_keys_build(tx, w, a, &k);
        if (err == 0 && k.keys_n > 0) err = session_send_keys(s, &k);
        sat_keys_wipe(&k);
        return err;
}

/* Backups that are on their way, when there are some, or were in this session. A locked cluster says nothing: none would mean stop. */
static int send_ships(struct sat_session *s, struct tx *tx, uint64_t term, struct arena *a)
{
        struct sat_ships m;
        int err = sat_ships_build(tx, s->node_name, term, a, &m);
        if (err == E_LOCKED) return 0;
        if (err == 0 && (m.ships_n > 0 || s->has_ships || !s->has_acked)) err = session_send_ships(s, &m);
        if (err == 0) s->has_ships = m.ships_n > 0;
        sat_ships_wipe(&m);
        return err;
}

static void flush_one(struct sat_session *s, struct tx *tx, uint64_t term, uint64_t revision)
{
        struct arena a = { .limit_bytes = (size_t)256 << 20 };
        struct sat_wanted w;
        struct sat_wanted_args args = { .node_name = s->node_name,
                .term = term,
                .revision = revision,
                .base_revision = s->acked_revision };
        int err = build(s, tx, &args, &a, &w);
        const char *left_out; /* what its release does not know, or the cluster does not use yet */
        if (err == 0) err = obj_strip(&sat_wanted_type, &w, MIN(s->level, state_level(tx, NULL)), &left_out);
        if (err == 0) err = send_keys(s, tx, &w, &a);
        if (err == 0) err = send_ships(s, tx, term, &a);
        if (err == 0) {
                err = session_send_wanted(s, &w);
                if (err == 0) sat_dirty_done(&s->dirty);
        } else if (err != E_NOT_FOUND) { /* not found: the session is about to go */
                log_error(LOG, "%s: cannot work out its wanted state: %s", s->node_name, err_text(err));
                s->failed_ms = now(s->link);
        }
        arena_done(&a);
}

static void flush(struct sat_link *l, struct tx *tx)
{
        uint64_t term;
        struct applied ap;
        if (!l->config.ops->leading(l->config.arg, &term) || applied_get(tx, &ap) != 0) return;
        /* A new leader may not have applied all that is committed before it has applied an entry of its own
         * term. */
        if (ap.term != term) return;
        LIST_FOREACH_SAFE(it, nx, &l->sessions)
        {
                struct sat_session *s = container_of(it, struct sat_session, at);
                bool paused = s->failed_ms != 0 && now(l) - s->failed_ms < SAT_FAILED_PAUSE_MS;
                if (!session_can_send(s) || s->fenced_term == term || paused || !sat_dirty_any(&s->dirty))
                        continue;
                s->failed_ms = 0;
                flush_one(s, tx, term, ap.index);
                if (tx->err != 0) return;
        }
}

static void tick_all(struct sat_link *l)
{
        uint64_t now_ms = now(l);
        LIST_FOREACH_SAFE(it, nx, &l->sessions)
        {
                session_tick(container_of(it, struct sat_session, at), now_ms);
        }
}

static void work(struct sat_link *l)
{
        struct tx *tx = l->config.ops->wanted_begin(l->config.arg);
        if (tx == NULL) return;
        if (l->nodes_changed) {
                l->nodes_changed = false;
                look_nodes(l, tx);
                tick_all(l); /* dials new ones at once */
        }
        flush(l, tx);
        l->config.ops->wanted_end(l->config.arg, tx);
}

static void on_flush(uv_timer_t *t)
{
        struct sat_link *l = t->data;
        if (!l->closing) work(l);
}

static bool anything_to_send(const struct sat_link *l)
{
        uint64_t term;
        if (l->nodes_changed) return true;
        if (!l->config.ops->leading(l->config.arg, &term)) return false;
        LIST_FOREACH(it, &l->sessions)
        {
                const struct sat_session *s = container_of(it, struct sat_session, at);
                if (session_can_send(s) && sat_dirty_any(&s->dirty)) return true;
        }
        return false;
}

static void on_tick(uv_timer_t *t)
{
        struct sat_link *l = t->data;
        if (l->closing) return;
        tick_all(l);
        if (anything_to_send(l)) work(l);
}

void sat_link_want_flush(struct sat_link *l)
{
        if (l->closing || uv_is_active((const uv_handle_t *)&l->flush)) return;
        (void)uv_timer_start(&l->flush, on_flush, 0, 0); /* fails only for a handle that is closing */
}

/* ---- calls in ---- */

void sat_link_change(struct sat_link *l, const struct sat_change *c)
{
        if (c->kind == SAT_CHANGE_ALL) l->nodes_changed = true;
        LIST_FOREACH(it, &l->sessions)
        {
                struct sat_session *s = container_of(it, struct sat_session, at);
                if (c->node_name == NULL || strcasecmp(c->node_name, s->node_name) == 0)
                        sat_dirty_add(&s->dirty, c);
        }
        sat_link_want_flush(l);
}

void sat_link_change_all(struct sat_link *l)
{
        sat_link_change(l, &(struct sat_change){ .kind = SAT_CHANGE_ALL });
}

void sat_link_on_state(struct sat_link *l)
{
        uint64_t term;
        if (!l->config.ops->leading(l->config.arg, &term) || term == l->term) return;
        l->term = term;
        l->try_ms = now(l);
        LIST_FOREACH(it, &l->sessions) session_try(container_of(it, struct sat_session, at));
        sat_link_change_all(l);
}

static bool session_untried(const struct sat_session *s)
{
        return !s->tried && s->has_address && now(s->link) - s->try_ms < SAT_TRY_MS;
}

bool sat_link_untried(const struct sat_link *l, const char *node_name)
{
        const struct sat_session *s = find(l, node_name);
        if (s == NULL) return now(l) - l->try_ms < SAT_TRY_MS; /* the nodes have not been looked at yet */
        return session_untried(s);
}

bool sat_link_any_untried(const struct sat_link *l)
{
        bool any = l->nodes_changed && now(l) - l->try_ms < SAT_TRY_MS;
        LIST_FOREACH(it, &l->sessions) any |= session_untried(container_of(it, struct sat_session, at));
        return any;
}

bool sat_link_retry(struct sat_link *l, const char *node_name, int64_t wall_ms)
{
        struct sat_session *s = find(l, node_name);
        if (l->closing || s == NULL || !session_retry(s, wall_ms)) return false;
        /* Fails only for a handle that is closing. */
        if (s->state == SESSION_IDLE) (void)uv_timer_start(&l->tick, on_tick, 0, SAT_TICK_MS);
        return true;
}

int sat_link_open(const struct sat_link_config *config, struct sat_link **ret)
{
        struct sat_link *l = xnew(struct sat_link);
        l->config = *config;
        l->config.cluster_uuid = xstrdup(config->cluster_uuid);
        l->config.controller = xstrdup(config->controller);
        l->config.ctx = tls_ctx_ref(config->ctx);
        list_init(&l->sessions);
        /* Neither can fail: uv_timer_init always returns 0, uv_timer_start only refuses closing handles. */
        (void)uv_timer_init(config->loop, &l->tick);
        (void)uv_timer_init(config->loop, &l->flush);
        l->live = 2;
        l->tick.data = l->flush.data = l;
        (void)uv_timer_start(&l->tick, on_tick, SAT_TICK_MS, SAT_TICK_MS);
        *ret = l;
        l->try_ms = now(l);
        sat_link_change_all(l);
        return 0;
}

static void on_handle_closed(uv_handle_t *h) { sat_link_settle(h->data); }

void sat_link_close(struct sat_link *l, sat_link_closed_fn *closed_cb, void *arg)
{
        assert(!l->closing);
        l->closing = true;
        l->closed_cb = closed_cb;
        l->closed_arg = arg;
        uv_close((uv_handle_t *)&l->tick, on_handle_closed);
        uv_close((uv_handle_t *)&l->flush, on_handle_closed);
        LIST_FOREACH_SAFE(it, nx, &l->sessions)
        {
                session_remove(container_of(it, struct sat_session, at), false);
        }
}
