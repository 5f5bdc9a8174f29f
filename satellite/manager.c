#include "satellite/manager.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "satellite/drbd/drbd_node.h"
#include "satellite/manager_internal.h"
#include "satellite/provider/copies.h"
#include "satellite/throttle.h"
#include "wire/codec/codec.h"

#define TICK_MS 100
#define ROUND_DEADLINE_MS 120000
#define SCAN_EVERY_MS 10000
#define RETRY_FIRST_MS 15000

uint64_t manager_now(struct manager *m) { return m->env->now_ms(m->env); }

static void manager_free(struct manager *m)
{
        unit_table_done(&m->units);
        pool_set_done(&m->pools);
        arena_done(&m->node_arena);
        arena_done(&m->disks_arena);
        make_pools_done(m);
        free(m->dir);
        free(m->cgroup_dir);
        files_done(m);
        free(m->marks);
        free(m->node_name);
        free(m->cluster_uuid);
        if (m->mounts_fd >= 0) close(m->mounts_fd);
        free(m);
}

void manager_settle(struct manager *m)
{
        assert(m->live > 0);
        if (--m->live > 0) return;
        manager_closed_fn *closed = m->closed;
        void *arg = m->arg;
        manager_free(m);
        if (closed != NULL) closed(arg);
}

static void on_soon(uv_timer_t *timer)
{
        struct manager *m = container_of(timer, struct manager, soon);
        m->soon_set = false;
        if (m->closing) return;
        save_tick(m);
        files_tick(m);
        round_start_ready(m);
        m->changed(m->arg);
}

void manager_notify(struct manager *m)
{
        if (m->closing || m->soon_set) return;
        m->soon_set = uv_timer_start(&m->soon, on_soon, 0, 0) == 0;
}

void manager_touch(struct manager *m, struct unit *u)
{
        if (unit_is_void(u)) {
                list_remove(&u->ready);
                if (u->dropped) return;
                u->dropped = true;
                buf_reset(&u->row);
                u->row_gen = ++m->gen;
                manager_notify(m);
                return;
        }
        if (row_refresh_unit(u, drbd_watch_find(m->drbd, u->name), m->node_name, &m->gen)) manager_notify(m);
}

/* ---- DRBD ---- */

static void on_drbd_changed(void *arg, const char *rsc_name)
{
        struct manager *m = arg;
        struct unit *u = rsc_name == NULL ? NULL : unit_find(&m->units, rsc_name);
        if (m->closing) return;
        if (u != NULL) {
                manager_touch(m, u);
                connected_look(m, u);
        }
        if (rsc_name != NULL) return;
        manager_well(m, "drbd", "events2");
        UNIT_FOREACH(u, &m->units)
        {
                manager_touch(m, u);
                connected_look(m, u);
        }
}

static void on_drbd_failed(void *arg, const struct trouble *t)
{
        struct manager *m = arg;
        if (!m->closing) manager_failed(m, "drbd", "events2", t);
}

static void on_drbd_closed(void *arg) { manager_settle(arg); }

static void open_drbd(struct manager *m)
{
        const struct drbd_watch_hooks hooks = {
                .changed = on_drbd_changed, .failed = on_drbd_failed, .closed = on_drbd_closed, .arg = m
        };
        if (drbd_node_version() == NULL) return;
        m->drbd = drbd_watch_open(m->loop, drbd_watch_program(), &hooks);
        m->live++;
}

void manager_reopen_drbd(struct manager *m)
{
        if (m->drbd != NULL) drbd_watch_close(m->drbd);
        m->drbd = NULL;
        open_drbd(m);
}

/* ---- backups ---- */

static struct ship_place place_of(void *arg, const char *pool_name)
{
        struct manager *m = arg;
        LIST_FOREACH(i, &m->pools.pools)
        {
                const struct pool *p = container_of(i, struct pool, link);
                if (strcasecmp(p->want.storage_pool_name, pool_name) == 0)
                        return (struct ship_place){ p->want.provider_kind, p->place };
        }
        return (struct ship_place){ provider_kind_DISKLESS, NULL };
}

static void on_ships_changed(void *arg, const char *rsc_name)
{
        struct manager *m = arg;
        struct unit *u = rsc_name != NULL ? unit_find(&m->units, rsc_name) : NULL;
        m->ships_gen = ++m->gen;
        if (u != NULL) round_queue(m, u);
        manager_notify(m);
}

static void on_ships_closed(void *arg) { manager_settle(arg); }

static void open_ships(struct manager *m)
{
        const struct ships_hooks hooks = {
                .place = place_of, .changed = on_ships_changed, .closed = on_ships_closed, .arg = m
        };
        m->ships = ships_open(m->loop, &hooks);
        if (m->ships != NULL) m->live++;
}

static void on_tick(uv_timer_t *timer)
{
        struct manager *m = container_of(timer, struct manager, tick);
        if (m->closing) return;
        save_tick(m);
        round_tick(m);
        scan_tick(m);
        caps_tick(m);
        wholes_tick(m);
        disks_tick(m);
        make_pools_tick(m);
        throttles_tick(m);
        files_tick(m);
}

static struct manager *manager_new(uv_loop_t *loop, struct env *env, const struct manager_config *c)
{
        struct manager *m = xnew(struct manager);
        m->loop = loop;
        m->env = env;
        m->dir = xstrdup(c->dir);
        m->node_name = xstrdup(c->node_name);
        m->cluster_uuid = xstrdup(c->cluster_uuid);
        m->round_deadline_ms = c->round_deadline_ms != 0 ? c->round_deadline_ms : ROUND_DEADLINE_MS;
        m->scan_every_ms = c->scan_every_ms != 0 ? c->scan_every_ms : SCAN_EVERY_MS;
        m->retry_first_ms = c->retry_first_ms != 0 ? c->retry_first_ms : RETRY_FIRST_MS;
        m->cgroup_dir = xstrdup(c->cgroup_dir != NULL ? c->cgroup_dir : THROTTLE_ROOT);
        m->allow_ext_files = xstrdup(c->allow_ext_files != NULL ? c->allow_ext_files : "");
        m->files_dirty = m->limits_dirty = true;
        m->connect_again = !c->leave_alone;
        m->own_level = log_get_level();
        m->mounts_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
        unit_table_init(&m->units);
        pool_set_init(&m->pools);
        list_init(&m->ready);
        list_init(&m->jobs);
        list_init(&m->made);
        return m;
}

int manager_open(uv_loop_t *loop, struct env *env, const struct manager_config *config,
        manager_changed_fn *changed, void *arg, struct manager **ret, struct fail *f)
{
        struct manager *m = manager_new(loop, env, config);
        m->changed = changed;
        m->arg = arg;
        uv_timer_init(loop, &m->soon); /* cannot fail */
        uv_timer_init(loop, &m->tick);
        m->live = 2;
        int err = save_load(m, f);
        if (err == 0) err = uv_timer_start(&m->tick, on_tick, 0, TICK_MS);
        copies_open();
        if (err == 0) open_drbd(m);
        if (err == 0) open_ships(m);
        if (err != 0) {
                manager_close(m, NULL);
                return err;
        }
        *ret = m;
        return 0;
}

static void on_timer_closed(uv_handle_t *h) { manager_settle(h->data); }

static void on_copies_close(uv_work_t *req)
{
        (void)req;
        copies_close();
}

static void on_copies_closed(uv_work_t *req, int status)
{
        (void)status;
        manager_settle(container_of(req, struct manager, copies_close));
}

void manager_close(struct manager *m, manager_closed_fn *closed)
{
        assert(!m->closing);
        m->closing = true;
        m->closed = closed;
        round_stop_all(m);
        if (m->drbd != NULL) drbd_watch_close(m->drbd);
        m->drbd = NULL;
        if (m->ships != NULL) ships_close(m->ships);
        m->ships = NULL;
        if (uv_queue_work(m->loop, &m->copies_close, on_copies_close, on_copies_closed) == 0) m->live++;
        m->tick.data = m->soon.data = m;
        uv_close((uv_handle_t *)&m->tick, on_timer_closed);
        uv_close((uv_handle_t *)&m->soon, on_timer_closed);
}

int manager_durable(const struct manager *m, uint64_t seq)
{
        if (seq <= m->saved_seq) return 1;
        return m->save_err;
}

uint64_t manager_revision(const struct manager *m) { return m->saved_revision; }

uint64_t manager_highest_term(const struct manager *m) { return m->highest_term; }

uint64_t manager_full_epoch(const struct manager *m) { return m->full_epoch; }

uint64_t manager_caps(const struct manager *m) { return m->caps; }

const char *manager_damage(const struct manager *m) { return m->damage; }

void manager_reported(struct manager *m, uint64_t gen)
{
        struct unit *u;
        UNIT_FOREACH(u, &m->units)
        {
                if (u->dropped && u->row_gen <= gen && unit_is_void(u)) unit_free(&m->units, u);
        }
}

/* ---- reports ---- */

static int put_units(struct manager *m, bool full, uint64_t after, struct arena *a, struct sat_report *r)
{
        struct obs_rsc *rows = arena_array(a, struct obs_rsc, m->units.n);
        const char **dropped = arena_array(a, const char *, m->units.n);
        if (m->units.n > 0 && (rows == NULL || dropped == NULL)) return E_TOO_LARGE;
        uint32_t rows_n = 0, dropped_n = 0;
        struct unit *u;
        int err = 0;
        UNIT_FOREACH(u, &m->units)
        {
                if (err != 0 || (!full && u->row_gen <= after)) continue;
                if (!u->dropped)
                        err = row_of_unit(
                                u, drbd_watch_find(m->drbd, u->name), m->node_name, a, &rows[rows_n++]);
                else if (!full) dropped[dropped_n++] = u->name;
        }
        if (rows_n > 0) SET_N(r, sat_report, resources, rows, rows_n);
        if (dropped_n > 0) SET_N(r, sat_report, dropped, dropped, dropped_n);
        return err;
}

static int put_pools(struct manager *m, bool full, uint64_t after, struct arena *a, struct sat_report *r)
{
        struct obs_pool *rows = arena_array(a, struct obs_pool, m->pools.n);
        if (m->pools.n > 0 && rows == NULL) return E_TOO_LARGE;
        uint32_t n = 0;
        int err = 0;
        LIST_FOREACH(i, &m->pools.pools)
        {
                const struct pool *p = container_of(i, struct pool, link);
                if (err == 0 && (full || p->row_gen > after))
                        err = row_of_pool(p, m->node_name, a, &rows[n++]);
        }
        if (n > 0) SET_N(r, sat_report, pools, rows, n);
        return err;
}

void manager_failed(struct manager *m, const char *what, const char *name, const struct trouble *t)
{
        char object[64];
        snprintf(object, sizeof object, "%s %.50s", what, name);
        if (reports_add(&m->reports, object, t, manager_now(m), m->env->wall_ms(m->env), &m->gen))
                manager_notify(m);
}

void manager_well(struct manager *m, const char *what, const char *name)
{
        char object[64];
        snprintf(object, sizeof object, "%s %.50s", what, name);
        reports_well(&m->reports, object);
}

/* The name is the same in every report of this process, so that the cluster keeps it once. */
static void put_damage(struct manager *m, struct error_report *e, struct arena *a)
{
        uint64_t now = m->env->wall_ms(m->env);
        if (m->damage_ms == 0) m->damage_ms = now;
        SET(e, error_report, filename,
                arena_printf(a, "ErrorReport-%llx-%s-state", (unsigned long long)m->damage_ms, m->node_name));
        SET(e, error_report, node_name, m->node_name);
        SET(e, error_report, error_time, (int64_t)m->damage_ms);
        SET(e, error_report, module, "SATELLITE");
        SET(e, error_report, exception, "StateDamaged");
        SET(e, error_report, exception_message, m->damage);
        SET(e, error_report, text, m->damage);
}

static int put_errors(struct manager *m, bool full, uint64_t after, struct arena *a, struct sat_report *r)
{
        struct error_report *list;
        uint32_t n;
        bool damaged = full && m->damage[0] != '\0';
        int err = reports_fill(&m->reports, m->node_name, full, after, manager_now(m), a, &list, &n);
        if (err != 0 || n + damaged == 0) return err;
        struct error_report *all = arena_array(a, struct error_report, n + damaged);
        if (all == NULL) return E_TOO_LARGE;
        if (damaged) put_damage(m, &all[0], a);
        memcpy(all + damaged, list, n * sizeof *list);
        SET_N(r, sat_report, error_reports, all, n + damaged);
        return 0;
}

int manager_report(
        struct manager *m, bool full, uint64_t *gen, struct arena *a, struct sat_report *ret, bool *ret_any)
{
        *ret = (struct sat_report){ 0 };
        int err = put_units(m, full, *gen, a, ret);
        if (err == 0) err = put_pools(m, full, *gen, a, ret);
        if (err == 0) err = put_errors(m, full, *gen, a, ret);
        if (err != 0) return err;
        bool disks = m->disks_gen != 0 && (full || m->disks_gen > *gen);
        if (disks) SET(ret, sat_report, disks, &m->disks);
        bool made = full || m->made_gen > *gen;
        if (made) {
                struct obs_disk_pools *all = arena_new(a, struct obs_disk_pools);
                err = make_pools_report(m, a, all);
                if (err != 0) return err;
                SET(ret, sat_report, disk_pools, all);
        }
        bool ships = m->ships != NULL && m->ships_gen != 0 && (full || m->ships_gen > *gen);
        if (ships) {
                struct obs_ships *list = arena_new(a, struct obs_ships);
                err = ships_report(m->ships, a, list);
                if (err != 0) return err;
                SET(ret, sat_report, ships, list);
        }
        bool level = full || m->level_gen > *gen;
        SET(ret, sat_report, log_level, log_level_name(log_get_level()));
        bool files = m->files_gen != 0 && (full || m->files_gen > *gen);
        if (files) SET(ret, sat_report, files, &m->files_row);
        if (full) SET(ret, sat_report, full, true);
        SET(ret, sat_report, revision, m->saved_revision);
#ifdef NEXT_LEVEL
        if (m->next_note != NULL) SET(ret, sat_report, next_note, m->next_note);
#endif
        *ret_any = full || disks || made || ships || files || level || ret->resources_n > 0 ||
                   ret->pools_n > 0 || ret->dropped_n > 0 || ret->error_reports_n > 0;
        *gen = m->gen;
        return 0;
}
