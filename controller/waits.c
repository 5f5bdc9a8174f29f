#include "controller/waits.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "controller/base/apirc.h"
#include "controller/base/observed_rows.h"
#include "state/index.h"
#include "wire/base/list.h"
#include "wire/base/sabotage.h"

/* A node of which nothing is known at all: this member may just have started. */
#define UNKNOWN_GRACE_MS 3000

/* ---- one item ---- */

static void add_reports(
        const struct api_rc *more, uint32_t more_n, struct arena *a, struct api_rc **rcs, uint32_t *n)
{
        if (more_n == 0) return;
        struct api_rc *all = arena_array(a, struct api_rc, *n + more_n);
        if (all == NULL) return; /* the arena is full: there are enough entries to read */
        if (*n > 0) memcpy(all, *rcs, *n * sizeof *all);
        memcpy(all + *n, more, more_n * sizeof *all);
        *rcs = all;
        *n += more_n;
}

static void add_failure(const struct wait_item *item, struct arena *a, struct api_rc **rcs, uint32_t *n)
{
        struct api_rc rc = { 0 };
        const char *what = item->rsc_name != NULL ? item->rsc_name : item->pool_name;
        SET(&rc, api_rc, ret_code, apirc_value(RC_FAIL_UNKNOWN_ERROR, 0, 0));
        SET(&rc, api_rc, message,
                arena_printf(a, "Node '%s' could not carry out the change of '%s'", item->node_name, what));
        SET(&rc, api_rc, cause,
                "A step on that node failed; the entries of the node beside this one say which.");
        SET(&rc, api_rc, correction, "Mend what they name: the satellite tries again by itself.");
        add_reports(&rc, 1, a, rcs, n);
}

static enum wait_verdict look_rsc(struct tx *observed, const struct wait_item *item, uint64_t node_revision,
        struct arena *a, struct api_rc **rcs, uint32_t *rcs_n)
{
        struct obs_rsc r, key = { .node_name = item->node_name, .rsc_name = item->rsc_name };
        if (row_get(observed, &obs_rsc_type, &key, a, &r) != 0)
                return item->gone && node_revision >= item->revision ? WAIT_DONE : WAIT_PENDING;
        if (r.revision < item->revision) return WAIT_PENDING;
        if (item->gone && (r.gone || r.revision > item->revision)) return WAIT_DONE;
        if (!item->gone && r.gone) return WAIT_DONE; /* deleted since */
        if (r.state != sat_step_state_DONE && r.state != sat_step_state_FAILED) return WAIT_PENDING;
        if (item->gone && r.state == sat_step_state_DONE) return WAIT_PENDING;
        uint32_t before = *rcs_n;
        add_reports(r.reports, r.reports_n, a, rcs, rcs_n);
        for (uint32_t i = 0; i < r.volumes_n; i++)
                add_reports(r.volumes[i].reports, r.volumes[i].reports_n, a, rcs, rcs_n);
        if (r.state == sat_step_state_DONE) return WAIT_DONE;
        if (*rcs_n == before) add_failure(item, a, rcs, rcs_n);
        return WAIT_FAILED;
}

static enum wait_verdict look_pool(struct tx *observed, const struct wait_item *item, struct arena *a,
        struct api_rc **rcs, uint32_t *rcs_n)
{
        struct obs_pool p, key = { .node_name = item->node_name, .storage_pool_name = item->pool_name };
        if (row_get(observed, &obs_pool_type, &key, a, &p) != 0) return WAIT_PENDING;
        if (p.revision < item->revision) return WAIT_PENDING;
        add_reports(p.reports, p.reports_n, a, rcs, rcs_n);
        return p.reports_n == 0 ? WAIT_DONE : WAIT_FAILED;
}

/* Does a tombstone of this deletion, or of an older one, still hold the names and numbers of the resource? */
static bool is_buried(const struct waits_view *view, const struct wait_item *item, struct arena *a)
{
        struct tombstone t, key = { .node_name = item->node_name, .rsc_name = item->rsc_name };
        struct row_scan s;
        bool found = view->index < item->revision; /* this member has not even seen the deletion */
        row_scan_open(&s, view->wanted, &tombstone_type, &key, 2);
        while (!found && row_scan_next(&s, a, &t))
                found = t.snap_name == NULL && t.revision <= item->revision;
        row_scan_close(&s);
        return found;
}

/* After the tombstone is forgotten, the row of a name that has snapshots left goes on without a revision and without volumes. */
static bool has_no_volumes(struct tx *observed, const struct wait_item *item, struct arena *a)
{
        struct obs_rsc r, key = { .node_name = item->node_name, .rsc_name = item->rsc_name };
        return item->rsc_name != NULL && row_get(observed, &obs_rsc_type, &key, a, &r) == 0 &&
               r.revision == 0 && r.volumes_n == 0;
}

/* A saga has ended when its row is gone; a failed one says why first. */
static enum wait_verdict look_saga(const struct waits_view *view, const struct wait_item *item,
        struct arena *a, struct api_rc **rcs, uint32_t *rcs_n)
{
        struct saga s, key = { .uuid = item->saga };
        if (view->index < item->revision) return WAIT_PENDING;
        if (row_get(view->wanted, &saga_type, &key, a, &s) != 0) return WAIT_DONE;
        if (s.phase != saga_phase_FAILED) return WAIT_PENDING;
        struct api_rc rc = { 0 };
        const char *what = s.items_n > 0 ? s.items[0].rsc_name : "";
        struct snap_dfn safety = { .rsc_name = what, .snap_name = s.items_n > 0 ? s.items[0].snap_name : "" };
        bool rollback = s.kind == saga_kind_ROLLBACK;
        bool kept = rollback && row_exists(view->wanted, &snap_dfn_type, &safety); /* because it is needed */
        SET(&rc, api_rc, ret_code, apirc_value(RC_FAIL_UNKNOWN_ERROR, 0, 0));
        SET(&rc, api_rc, message,
                arena_printf(a, "%s '%s' was not %s", rollback ? "Resource" : "The snapshot of resource",
                        what,
                        !rollback ? "taken."
                        : kept    ? "rolled back, and is not yet what it was before."
                                  : "rolled back: it is as it was before."));
        SET(&rc, api_rc, cause, s.reason != NULL ? s.reason : "");
        SET(&rc, api_rc, correction, "Mend what is said there, and ask again.");
        add_reports(&rc, 1, a, rcs, rcs_n);
        return WAIT_FAILED;
}

/* The revision counts that the row has when no disk comes or goes any more; on the way there failures count at once. */
static enum wait_verdict look_settled(const struct waits_view *view, const struct wait_item *item,
        uint64_t node_revision, struct arena *a, struct api_rc **rcs, uint32_t *rcs_n)
{
        struct rsc r, key = { .rsc_name = item->rsc_name, .node_name = item->node_name };
        struct wait_item now = *item;
        uint32_t before = *rcs_n;
        if (view->index < item->revision) return WAIT_PENDING;
        if (row_get(view->wanted, &rsc_type, &key, a, &r) != 0) return WAIT_DONE; /* deleted since */
        now.revision = r.revision;
        enum wait_verdict v = look_rsc(view->observed, &now, node_revision, a, rcs, rcs_n);
        if (v != WAIT_DONE || (r.flags & (RSC_ADDING | RSC_REMOVING)) == 0) return v;
        *rcs_n = before;
        return WAIT_PENDING;
}

/* A pool that is made out of disks goes on as the storage pool that it becomes. */
static enum wait_verdict look_disk_pool(const struct waits_view *view, const struct wait_item *item,
        struct arena *a, struct api_rc **rcs, uint32_t *rcs_n)
{
        struct disk_pool d, key = { .node_name = item->node_name, .place = item->place };
        struct stor_pool pool = { .node_name = item->node_name, .storage_pool_name = item->pool_name };
        if (view->index < item->revision) return WAIT_PENDING;
        if (row_get(view->wanted, &disk_pool_type, &key, a, &d) == 0 &&
                strcmp(d.uuid, item->disk_pool) == 0) {
                if (d.phase != disk_pool_phase_FAILED) return WAIT_PENDING;
                add_reports(d.reports, d.reports_n, a, rcs, rcs_n);
                return WAIT_FAILED;
        }
        if (item->pool_name == NULL || !row_exists(view->wanted, &stor_pool_type, &pool)) return WAIT_DONE;
        return look_pool(view->observed, item, a, rcs, rcs_n);
}

static enum wait_verdict look_tombstone(const struct waits_view *view, const struct wait_item *item)
{
        struct tombstone key = {
                .node_name = item->node_name, .rsc_name = item->rsc_name, .uuid = item->tombstone
        };
        if (view->index < item->revision) return WAIT_PENDING;
        return row_exists(view->wanted, &tombstone_type, &key) ? WAIT_PENDING : WAIT_DONE;
}

/* A node that was deleted, or declared lost, answers no more: nothing of it is left to wait for. */
static bool node_left(const struct waits_view *view, const struct wait_item *item)
{
        struct node key = { .name = item->node_name };
        return view->index >= item->revision && !row_exists(view->wanted, &node_type, &key);
}

enum wait_verdict wait_item_look(const struct waits_view *view, const struct wait_item *item, struct arena *a,
        struct api_rc **rcs, uint32_t *rcs_n)
{
        struct tx *observed = view->observed;
        struct obs_node n;
        if (item->saga != NULL) return look_saga(view, item, a, rcs, rcs_n);
        if (node_left(view, item)) return WAIT_DONE;
        if (observed_node_get(observed, item->node_name, a, &n) != 0) return WAIT_PENDING;
        /* What was reported before the node went away still counts. */
        enum wait_verdict v = item->tombstone != NULL   ? look_tombstone(view, item)
                              : item->disk_pool != NULL ? look_disk_pool(view, item, a, rcs, rcs_n)
                              : item->settled           ? look_settled(view, item, n.revision, a, rcs, rcs_n)
                              : item->rsc_name != NULL  ? look_rsc(observed, item, n.revision, a, rcs, rcs_n)
                                                        : look_pool(observed, item, a, rcs, rcs_n);
        if (v == WAIT_DONE && item->gone && item->tombstone == NULL && !SABOTAGE(GONE_TOO_EARLY) &&
                is_buried(view, item, a))
                v = WAIT_PENDING;
        else if (v == WAIT_PENDING && item->gone && item->tombstone == NULL &&
                 has_no_volumes(observed, item, a) && !is_buried(view, item, a))
                v = WAIT_DONE;
        if (v != WAIT_PENDING) return v;
        bool may_answer = n.connection_status == conn_status_ONLINE ||
                          n.connection_status == conn_status_CONNECTED ||
                          n.connection_status == conn_status_AUTHENTICATED;
        return may_answer ? WAIT_PENDING : WAIT_OFFLINE;
}

/* ---- answers that wait ---- */

struct waiter {
        struct list at;
        const struct wait_item *items;
        struct {
                bool settled;
                uint64_t offline_ms; /* first seen so; 0 = is not */
        } * states;
        uint32_t items_n, open_n;
        uint64_t deadline_ms, ready_ms;
        bool poked;
        struct arena arena; /* of the entries */
        struct api_rc *rcs;
        uint32_t rcs_n;
        waits_done_fn *cb;
        void *cb_arg;
};

struct waits {
        struct env *env;
        const struct waits_ops *ops;
        void *arg;
        struct list waiters;
        uint32_t count;
};

struct waits *waits_new(struct env *env, const struct waits_ops *ops, void *arg)
{
        struct waits *w = xnew(struct waits);
        w->env = env;
        w->ops = ops;
        w->arg = arg;
        list_init(&w->waiters);
        return w;
}

static void answer(struct waits *w, struct waiter *x)
{
        list_remove(&x->at);
        w->count--;
        x->cb(x->cb_arg, x->rcs, x->rcs_n);
        arena_done(&x->arena);
        free(x->states);
        free(x);
}

void waits_free(struct waits *w)
{
        if (w == NULL) return;
        while (!list_empty(&w->waiters)) answer(w, list_first(&w->waiters, struct waiter, at));
        free(w);
}

void waits_add(struct waits *w, const struct wait_item *items, uint32_t n, uint64_t deadline_ms,
        uint64_t ready_ms, waits_done_fn *cb, void *cb_arg)
{
        struct waiter *x = xnew(struct waiter);
        x->items = items;
        x->items_n = x->open_n = n;
        x->states = xcalloc(n == 0 ? 1 : n, sizeof *x->states);
        x->deadline_ms = deadline_ms;
        x->ready_ms = MIN(ready_ms, deadline_ms);
        x->poked = true;
        x->cb = cb;
        x->cb_arg = cb_arg;
        list_push_back(&w->waiters, &x->at);
        w->count++;
}

void waits_poke(struct waits *w, const char *node_name)
{
        LIST_FOREACH(it, &w->waiters)
        {
                struct waiter *x = container_of(it, struct waiter, at);
                for (uint32_t i = 0; i < x->items_n && !x->poked; i++) {
                        if (x->states[i].settled) continue;
                        x->poked = node_name == NULL || strcasecmp(node_name, x->items[i].node_name) == 0;
                }
        }
}

void waits_expire(struct waits *w)
{
        LIST_FOREACH(it, &w->waiters)
        {
                struct waiter *x = container_of(it, struct waiter, at);
                x->deadline_ms = x->ready_ms = 0;
        }
}

uint32_t waits_count(const struct waits *w) { return w->count; }

static uint64_t item_deadline(const struct waiter *x, uint32_t i)
{
        const struct wait_item *item = &x->items[i];
        bool soon = item->rsc_name != NULL && !item->gone && !item->slow;
        uint64_t at = soon ? x->ready_ms : x->deadline_ms;
        if (x->states[i].offline_ms != 0) at = MIN(at, x->states[i].offline_ms);
        return at;
}

uint64_t waits_deadline_ms(const struct waits *w)
{
        uint64_t first = UINT64_MAX;
        LIST_FOREACH(it, &w->waiters)
        {
                const struct waiter *x = container_of(it, struct waiter, at);
                if (x->poked || x->open_n == 0) return 0;
                for (uint32_t i = 0; i < x->items_n; i++)
                        if (!x->states[i].settled) first = MIN(first, item_deadline(x, i));
        }
        return first;
}

static void put_entry(struct waiter *x, const struct wait_item *item, enum apirc_code code, uint64_t wall_ms,
        const char *message, const char *details, const char *correction)
{
        struct arena *a = &x->arena;
        struct api_rc rc = { 0 };
        apirc_init(&rc, code, 0, 0, message, wall_ms, a);
        SET(&rc, api_rc, details, details);
        SET(&rc, api_rc, correction, correction);
        strmap_set(&rc.obj_refs, "Node", item->node_name, a);
        if (item->rsc_name != NULL) strmap_set(&rc.obj_refs, "RscDfn", item->rsc_name, a);
        MARK(&rc, api_rc, obj_refs);
        add_reports(&rc, 1, a, &x->rcs, &x->rcs_n);
}

static void put_offline(struct waits *w, struct waiter *x, const struct wait_item *item, struct tx *observed)
{
        struct arena *a = &x->arena;
        struct obs_node n = { 0 };
        for (uint32_t i = 0; i < x->rcs_n; i++) { /* one entry for each node is enough */
                const char *node = strmap_get(&x->rcs[i].obj_refs, "Node");
                if (x->rcs[i].ret_code == apirc_value(RC_WARN_NOT_CONNECTED, 0, 0) && node != NULL &&
                        strcasecmp(node, item->node_name) == 0)
                        return;
        }
        if (observed_node_get(observed, item->node_name, a, &n) != 0) n.problem = NULL;
        const char *why = n.problem != NULL ? n.problem : "it did not answer";
        put_entry(x, item, RC_WARN_NOT_CONNECTED, w->env->wall_ms(w->env),
                arena_printf(a, "No active connection to satellite '%s'", item->node_name),
                arena_printf(a,
                        "The change is stored; the satellite will carry it out as soon as it is connected. "
                        "(%s)",
                        why),
                "Start the satellite on that node, or see what 'node list' says about it.");
}

static void put_late(struct waits *w, struct waiter *x, const struct wait_item *item)
{
        struct arena *a = &x->arena;
        const char *what = item->rsc_name != NULL    ? item->rsc_name
                           : item->disk_pool != NULL ? item->place
                                                     : item->pool_name;
        if (item->saga != NULL) {
                put_entry(x, item, RC_WARN_STLT_NOT_UPDATED, w->env->wall_ms(w->env),
                        "The operation has not ended yet", "It is stored, and goes on.", "Look again later.");
                return;
        }
        put_entry(x, item, RC_WARN_STLT_NOT_UPDATED, w->env->wall_ms(w->env),
                arena_printf(a, "Node '%s' has not yet carried out the change of %s '%s'", item->node_name,
                        item->rsc_name != NULL ? "resource" : "storage pool", what),
                "The change is stored, and the satellite goes on with it.",
                "Look at the resource again later.");
}

/* Decides item i. now_ms: deadlines that have come end it. */
static void look(
        struct waits *w, struct waiter *x, uint32_t i, const struct waits_view *view, uint64_t now_ms)
{
        const struct wait_item *item = &x->items[i];
        struct arena scratch = { 0 };
        struct api_rc *rcs = NULL;
        uint32_t n = 0;
        enum wait_verdict v = wait_item_look(view, item, &scratch, &rcs, &n);
        bool settled = v == WAIT_DONE || v == WAIT_FAILED;
        for (uint32_t k = 0; settled && k < n; k++) {
                struct api_rc copy;
                if (obj_copy(&api_rc_type, &rcs[k], &x->arena, &copy) == 0)
                        add_reports(&copy, 1, &x->arena, &x->rcs, &x->rcs_n);
        }
        if (v != WAIT_OFFLINE) {
                x->states[i].offline_ms = 0;
        } else if (x->states[i].offline_ms == 0) {
                struct obs_node node;
                bool known = observed_node_get(view->observed, item->node_name, &scratch, &node) == 0 &&
                             node.connection_status != conn_status_UNKNOWN;
                x->states[i].offline_ms = now_ms + (known ? WAITS_OFFLINE_GRACE_MS : UNKNOWN_GRACE_MS);
        }
        if (!settled && now_ms >= item_deadline(x, i)) {
                settled = true;
                if (v == WAIT_OFFLINE) put_offline(w, x, item, view->observed);
                else put_late(w, x, item);
        }
        if (settled) {
                x->states[i].settled = true;
                x->open_n--;
        }
        arena_done(&scratch);
}

static void tick_one(struct waits *w, struct waiter *x, const struct waits_view *view, uint64_t now_ms)
{
        for (uint32_t i = 0; i < x->items_n; i++) {
                if (x->states[i].settled) continue;
                if (x->poked || now_ms >= item_deadline(x, i)) look(w, x, i, view, now_ms);
        }
        x->poked = false;
}

void waits_tick(struct waits *w)
{
        uint64_t now_ms = w->env->now_ms(w->env);
        struct waits_view view;
        struct list done;
        if (w->count == 0) return;
        if (w->ops->view_begin(w->arg, &view) != 0)
                return; /* a store has failed: the process is about to end */
        list_init(&done);
        LIST_FOREACH_SAFE(it, nx, &w->waiters)
        {
                struct waiter *x = container_of(it, struct waiter, at);
                tick_one(w, x, &view, now_ms);
                if (x->open_n > 0) continue;
                list_remove(&x->at);
                list_push_back(&done, &x->at);
        }
        w->ops->view_end(w->arg, &view);
        /* Last, with no view open: callbacks may add the next wait. */
        while (!list_empty(&done)) answer(w, list_first(&done, struct waiter, at));
}
