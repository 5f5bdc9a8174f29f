#include "satellite/ship/ships.h"

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
        unsigned port_told;           /* that was said to have changed */
        atomic_bool finished;
        int err;
        struct trouble trouble;
};

struct ships {
        uv_async_t wake;
        struct list jobs;
        unsigned running, receiving;
        struct ships_hooks hooks;
        bool closing;
};

void ships_wipe_one(const struct sat_ship *s)
{
        if (s->access_key != NULL) secret_wipe((void *)(uintptr_t)s->access_key, strlen(s->access_key));
        if (s->secret_key != NULL) secret_wipe((void *)(uintptr_t)s->secret_key, strlen(s->secret_key));
}

static bool is_receiver(const struct job *j) { return j->ship.kind == ship_kind_RECEIVE; }

/* Those that only wait for another cluster must not keep those from running that it waits for. */
static unsigned *slots(struct job *j) { return is_receiver(j) ? &j->ships->receiving : &j->ships->running; }

static void job_free(struct job *j)
{
        list_remove(&j->at);
        ships_wipe_one(&j->ship);
        secret_wipe(&j->work.keys, sizeof j->work.keys);
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

static void on_listens(struct ship_work *w)
{
        (void)uv_async_send(&container_of(w, struct job, work)->ships->wake);
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
        j->work.listens = on_listens;
        j->started = true;
        if (uv_thread_create(&j->thread, run, j) == 0) {
                ++*slots(j);
                return;
        }
        j->ended = true;
        j->err = trouble_set(
                &j->trouble, E_LIMIT, TROUBLE_UNKNOWN, "No thread can be started for the backup.");
}

/* One that was begun anew waits until its former attempt has stopped; a sender, until it knows where to. */
static bool may_start(struct job *j)
{
        if (j->started || j->dropped || *slots(j) >= SHIPS_AT_ONCE) return false;
        LIST_FOREACH(i, &j->ships->jobs)
        {
                const struct job *x = container_of(i, struct job, at);
                if (x->dropped && strcmp(x->ship.uuid, j->ship.uuid) == 0) return false;
        }
        return j->ship.kind != ship_kind_SEND || j->ship.address != NULL;
}

static void start_more(struct ships *s)
{
        LIST_FOREACH(i, &s->jobs)
        {
                struct job *j = container_of(i, struct job, at);
                if (!s->closing && may_start(j)) start(j);
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
        --*slots(j);
        j->ended = true;
        ships_wipe_one(&j->ship);
        log_info("ships", "%s of snapshot %s of resource %s: %s%s%s",
                enum_name(&ship_kind_enum, j->ship.kind), j->ship.snap_name, j->ship.rsc_name,
                j->err == 0 ? "done" : j->trouble.message, j->err == 0 ? "" : " ",
                j->err == 0 ? "" : j->trouble.cause);
}

static void on_wake(uv_async_t *h)
{
        struct ships *s = container_of(h, struct ships, wake);
        LIST_FOREACH_SAFE(i, n, &s->jobs)
        {
                struct job *j = container_of(i, struct job, at);
                if (!j->started || j->ended) continue;
                if (j->port_told != atomic_load(&j->work.port) && !s->closing) {
                        j->port_told = atomic_load(&j->work.port);
                        s->hooks.changed(s->hooks.arg, NULL);
                }
                if (!atomic_load(&j->finished)) continue;
                on_ended(s, j);
                bool received = j->err == 0 && (j->ship.kind == ship_kind_DOWNLOAD || is_receiver(j));
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

static bool is_named(const struct sat_ships *wanted, const struct sat_ship *s)
{
        for (uint32_t i = 0; i < wanted->ships_n; i++)
                if (strcmp(wanted->ships[i].uuid, s->uuid) == 0 && wanted->ships[i].round == s->round)
                        return true;
        return false;
}

/* What it is to do may be known later than that there is something. false: no memory. */
static bool set_ship(struct job *j, const struct sat_ship *from)
{
        ships_wipe_one(&j->ship);
        if (obj_copy(&sat_ship_type, from, &j->arena, &j->ship) != 0) return false;
        j->places = arena_alloc(&j->arena, (j->ship.volumes_n + 1) * sizeof *j->places);
        return true;
}

static void add(struct ships *s, const struct sat_ship *from)
{
        struct job *j = xnew(struct job);
        j->ships = s;
        if (!set_ship(j, from)) {
                arena_done(&j->arena);
                free(j);
                return;
        }
        if (from->kind == ship_kind_SEND || from->kind == ship_kind_RECEIVE) ship_keys_make(&j->work.keys);
        list_push_back(&s->jobs, &j->at);
}

void ships_take(struct ships *s, const struct sat_ships *wanted)
{
        bool changed = false;
        LIST_FOREACH_SAFE(i, n, &s->jobs)
        {
                struct job *j = container_of(i, struct job, at);
                if (j->dropped || is_named(wanted, &j->ship)) continue;
                drop(s, j);
                changed = true;
        }
        for (uint32_t i = 0; i < wanted->ships_n; i++) {
                struct job *j = find(s, wanted->ships[i].uuid);
                if (j != NULL && (j->started || wanted->ships[i].address == NULL)) continue;
                if (j != NULL) (void)set_ship(j, &wanted->ships[i]);
                else add(s, &wanted->ships[i]);
                changed = true;
        }
        start_more(s);
        if (changed) s->hooks.changed(s->hooks.arg, NULL);
}

static void report_peer(struct job *j, struct arena *a, struct obs_ship *o)
{
        char key[SHIP_KEY_HEX];
        unsigned port = atomic_load(&j->work.port);
        sodium_bin2hex(key, sizeof key, j->work.keys.own, SHIP_KEY);
        SET(o, obs_ship, round, j->ship.round);
        SET(o, obs_ship, key, arena_strdup(a, key));
        if (port != 0) SET(o, obs_ship, port, (int64_t)port);
        if (j->ended && j->err != 0 && j->work.lost) SET(o, obs_ship, lost, true);
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
                if (j->ship.kind == ship_kind_SEND || is_receiver(j)) report_peer(j, a, o);
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
