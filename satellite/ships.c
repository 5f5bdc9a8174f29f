#include "satellite/ships.h"

#include <stdlib.h>
#include <string.h>

#include "wire/base/list.h"
#include "wire/base/log.h"
#include "wire/codec/codec.h"

struct job {
        struct list at;
        struct ships *ships;
        struct arena arena; /* of ship and places */
        struct sat_ship ship;
        struct ship_place *places;
        struct ship_work work;
        uv_thread_t thread;
        bool started, ended, dropped; /* ended: its thread was joined, or there was none to begin with */
        atomic_bool finished;
        int err;
        struct trouble trouble;
};

struct ships {
        uv_async_t wake;
        struct list jobs;
        unsigned running;
        struct ships_hooks hooks;
        bool closing;
};

void ships_wipe_one(const struct sat_ship *s)
{
        if (s->access_key != NULL) secret_wipe((void *)(uintptr_t)s->access_key, strlen(s->access_key));
        if (s->secret_key != NULL) secret_wipe((void *)(uintptr_t)s->secret_key, strlen(s->secret_key));
}

static void job_free(struct job *j)
{
        list_remove(&j->at);
        ships_wipe_one(&j->ship);
        arena_done(&j->arena);
        free(j);
}

static void run(void *arg)
{
        struct job *j = arg;
        j->err = ship_job_run(&j->work, &j->trouble);
        atomic_store(&j->finished, true);
        (void)uv_async_send(&j->ships->wake);
}

static void start(struct job *j)
{
        const struct ships_hooks *h = &j->ships->hooks;
        for (uint32_t i = 0; i < j->ship.volumes_n; i++)
                j->places[i] = h->place(h->arg, j->ship.volumes[i].storage_pool_name);
        /* The place may move while it runs. */
        for (uint32_t i = 0; i < j->ship.volumes_n; i++)
                if (j->places[i].place != NULL)
                        j->places[i].place = arena_strdup(&j->arena, j->places[i].place);
        j->work.ship = &j->ship;
        j->work.places = j->places;
        j->started = true;
        if (uv_thread_create(&j->thread, run, j) == 0) {
                j->ships->running++;
                return;
        }
        j->ended = true;
        j->err = trouble_set(
                &j->trouble, E_LIMIT, TROUBLE_UNKNOWN, "No thread can be started for the backup.");
}

static void start_more(struct ships *s)
{
        LIST_FOREACH(i, &s->jobs)
        {
                struct job *j = container_of(i, struct job, at);
                if (!j->started && !j->dropped && !s->closing && s->running < SHIPS_AT_ONCE) start(j);
        }
}

static void on_closed(uv_handle_t *h)
{
        struct ships *s = container_of((uv_async_t *)h, struct ships, wake);
        struct ships_hooks hooks = s->hooks;
        free(s);
        hooks.closed(hooks.arg);
}

static void on_ended(struct ships *s, struct job *j)
{
        (void)uv_thread_join(&j->thread);
        s->running--;
        j->ended = true;
        ships_wipe_one(&j->ship);
        log_info("ships", "%s of snapshot %s of resource %s: %s",
                j->ship.kind == ship_kind_UPLOAD ? "upload" : "download", j->ship.snap_name, j->ship.rsc_name,
                j->err == 0 ? "done" : j->trouble.message);
}

static void on_wake(uv_async_t *h)
{
        struct ships *s = container_of(h, struct ships, wake);
        LIST_FOREACH_SAFE(i, n, &s->jobs)
        {
                struct job *j = container_of(i, struct job, at);
                if (!j->started || j->ended || !atomic_load(&j->finished)) continue;
                on_ended(s, j);
                bool received = j->err == 0 && j->ship.kind == ship_kind_DOWNLOAD;
                if (!s->closing) s->hooks.changed(s->hooks.arg, received ? j->ship.rsc_name : NULL);
                if (j->dropped || s->closing) job_free(j);
        }
        if (!s->closing) start_more(s);
        else if (list_empty(&s->jobs) && !uv_is_closing((uv_handle_t *)h))
                uv_close((uv_handle_t *)h, on_closed);
}

struct ships *ships_open(uv_loop_t *loop, const struct ships_hooks *hooks)
{
        struct ships *s = xnew(struct ships);
        list_init(&s->jobs);
        s->hooks = *hooks;
        if (uv_async_init(loop, &s->wake, on_wake) == 0) return s;
        free(s);
        return NULL;
}

static struct job *find(struct ships *s, const char *uuid)
{
        LIST_FOREACH(i, &s->jobs)
        {
                struct job *j = container_of(i, struct job, at);
                if (!j->dropped && strcmp(j->ship.uuid, uuid) == 0) return j;
        }
        return NULL;
}

static void drop(struct ships *s, struct job *j)
{
        j->dropped = true;
        atomic_store(&j->work.cancel, true);
        if (!j->started || j->ended) job_free(j);
        (void)s;
}

static bool is_named(const struct sat_ships *wanted, const char *uuid)
{
        for (uint32_t i = 0; i < wanted->ships_n; i++)
                if (strcmp(wanted->ships[i].uuid, uuid) == 0) return true;
        return false;
}

void ships_take(struct ships *s, const struct sat_ships *wanted)
{
        bool changed = false;
        LIST_FOREACH_SAFE(i, n, &s->jobs)
        {
                struct job *j = container_of(i, struct job, at);
                if (j->dropped || is_named(wanted, j->ship.uuid)) continue;
                drop(s, j);
                changed = true;
        }
        for (uint32_t i = 0; i < wanted->ships_n; i++) {
                if (find(s, wanted->ships[i].uuid) != NULL) continue;
                struct job *j = xnew(struct job);
                j->ships = s;
                if (obj_copy(&sat_ship_type, &wanted->ships[i], &j->arena, &j->ship) != 0) {
                        arena_done(&j->arena);
                        free(j);
                        continue;
                }
                j->places = arena_alloc(&j->arena, (j->ship.volumes_n + 1) * sizeof *j->places);
                list_push_back(&s->jobs, &j->at);
                changed = true;
        }
        start_more(s);
        if (changed) s->hooks.changed(s->hooks.arg, NULL);
}

int ships_report(const struct ships *s, struct arena *a, struct obs_ships *ret)
{
        uint32_t n = 0, max = 0;
        *ret = (struct obs_ships){ 0 };
        LIST_FOREACH(i, &s->jobs) max++;
        struct obs_ship *list = arena_array(a, struct obs_ship, max + 1);
        if (list == NULL) return E_TOO_LARGE;
        LIST_FOREACH(i, &s->jobs)
        {
                struct job *j = container_of(i, struct job, at);
                if (j->dropped) continue;
                struct obs_ship *o = &list[n++];
                *o = (struct obs_ship){ 0 };
                SET(o, obs_ship, uuid, j->ship.uuid);
                SET(o, obs_ship, state,
                        !j->ended     ? sat_step_state_PENDING
                        : j->err == 0 ? sat_step_state_DONE
                                      : sat_step_state_FAILED);
                SET(o, obs_ship, done_kib, atomic_load(&j->work.done_kib));
                if (j->ended && j->err != 0)
                        SET(o, obs_ship, text,
                                arena_printf(a, "%s %s", j->trouble.message, j->trouble.cause));
        }
        SET_N(ret, obs_ships, ships, list, n);
        return 0;
}

bool ships_idle(const struct ships *s) { return list_empty(&s->jobs); }

void ships_close(struct ships *s)
{
        s->closing = true;
        LIST_FOREACH_SAFE(i, n, &s->jobs) drop(s, container_of(i, struct job, at));
        (void)uv_async_send(&s->wake);
}
