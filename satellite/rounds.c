/* Rounds of work: one at a time for each resource, a few at the same time for all. */
#include "satellite/manager_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "satellite/layer/hold.h"
#include "satellite/provider/copies.h"
#include "satellite/run.h"
#include "satellite/run_layers.h"
#include "wire/base/log.h"

struct round {
        struct list at; /* in manager.jobs */
        uv_work_t req;
        struct run run;
        struct manager *m;
        struct unit *unit;
        uint64_t began_ms, scan_number;
        bool late;
        bool lost; /* DRBD had lost a disk of it when it began */
};

static const unsigned backoff[] = { 1, 2, 4, 8, 20, 40, 120 }; /* times retry_first_ms: 15 s up to 30 min */

void round_queue(struct manager *m, struct unit *u)
{
        if (u->running) {
                u->again = true;
                return;
        }
        list_remove(&u->ready);
        list_push_back(&m->ready, &u->ready);
        if (u->failures == 0) u->state = sat_step_state_PENDING;
        manager_touch(m, u);
}

void round_queue_failed(struct manager *m)
{
        struct unit *u;
        UNIT_FOREACH(u, &m->units)
        {
                if (u->failures == 0) continue;
                u->failures = 0;
                round_queue(m, u);
        }
}

void round_queue_full(struct manager *m)
{
        struct unit *u;
        UNIT_FOREACH(u, &m->units)
        {
                bool full = false;
                for (uint32_t i = 0; i < u->troubles_n && u->failures > 0; i++)
                        full |= u->troubles[i].code == TROUBLE_NO_SPACE;
                if (!full) continue;
                u->failures = 0;
                round_queue(m, u);
        }
}

static bool same_record(const struct dev *a, const struct dev *b)
{
        bool same_volume = a->vlm_uuid == NULL ? b->vlm_uuid == NULL : uuid_same(a->vlm_uuid, b->vlm_uuid);
        return dev_same_place(a, b->kind, b->place, b->backing_id) && uuid_same(a->uuid, b->uuid) &&
               same_volume && a->volume_number == b->volume_number && a->formatted == b->formatted &&
               a->filled == b->filled && layers_same_record(a, b);
}

/* Is every made device of `of` in `in` as well, with the same size? */
static bool records_within(const struct dev *of, uint32_t of_n, const struct dev *in, uint32_t in_n)
{
        for (uint32_t i = 0; i < of_n; i++) {
                if (!of[i].made) continue;
                bool found = false;
                for (uint32_t k = 0; k < in_n && !found; k++) {
                        uint64_t a = of[i].exists ? of[i].size_kib : of[i].last_size_kib;
                        uint64_t b = in[k].exists ? in[k].size_kib : in[k].last_size_kib;
                        found = in[k].made && same_record(&of[i], &in[k]) && a == b;
                }
                if (!found) return false;
        }
        return true;
}

/* What of the outcome is worth remembering: what is there, what could not be looked at, and what is wanted
 * and was there once. Returns true when the state file has to know; *ret_urgent: it alone will. */
static bool take_devs(struct unit *u, const struct run *r, bool *ret_urgent)
{
        *ret_urgent = false;
        struct dev *keep = xcalloc(r->in.devs_n + 1, sizeof *keep);
        uint32_t n = 0;
        for (uint32_t i = 0; i < r->in.devs_n; i++) {
                struct dev d = r->in.devs[i];
                if (d.uuid == NULL) continue;
                if (d.rsc_name != NULL && strcasecmp(d.rsc_name, u->name) != 0)
                        continue; /* another one's, in our way */
                if (d.exists) {
                        d.made = true;
                        if (!d.marked || layers_any_made(&d) || d.formatted || d.filled) *ret_urgent = true;
                        d.last_size_kib = d.size_kib;
                }
                if (d.exists || d.attached || (d.unknown && d.made) ||
                        (d.made && (unit_wants_dev(u, &d) || unit_wants_snap(u, &d))))
                        keep[n++] = d;
        }
        bool changed =
                !records_within(keep, n, u->devs, u->devs_n) || !records_within(u->devs, u->devs_n, keep, n);
        unit_set_devs(u, keep, n);
        free(keep);
        return changed;
}

static void take_held(struct manager *m, struct unit *u, const char *held)
{
        if (held != NULL && (u->held == NULL || strcmp(u->held, held) != 0)) u->held_ms = manager_now(m);
        char *kept = held == NULL ? NULL : xstrdup(held);
        free(u->held);
        u->held = kept;
}

static void take_outcome(struct manager *m, struct unit *u, const struct run *r)
{
        bool urgent;
        take_held(m, u, r->in.held);
        bool changed = take_devs(u, r, &urgent);
        unit_set_wholes(u, r->in.wholes, r->in.wholes_n);
        if (changed && urgent) save_request(m);
        else if (changed) save_soon(m);
        if (r->filled) u->seq = m->seq; /* it is on disk before the next round, by which it comes into use */
        unit_set_troubles(u, r->troubles, r->troubles_n);
        u->orphan = r->orphan;
        for (uint32_t i = 0; !u->again && i < u->gone_n; i++)
                u->gone_done[i] =
                        plan_is_gone(&u->gone[i], r->in.devs, r->in.devs_n, r->in.wholes, r->in.wholes_n);
        if (r->err != 0 && r->troubles_n == 0) {
                struct trouble t;
                trouble_set(&t, r->err, TROUBLE_UNKNOWN, "Resource %s: %s.", u->name, err_text(r->err));
                unit_set_troubles(u, &t, 1);
        }
        u->waits = r->waits;
        if (r->err != 0 || (r->more && r->steps_done == 0 && !r->waits)) {
                unsigned step = MIN(u->failures, (unsigned)ARRAY_LEN(backoff) - 1);
                u->retry_at_ms = manager_now(m) + (uint64_t)m->retry_first_ms * backoff[step];
                u->failures++;
                u->state = sat_step_state_FAILED;
                for (uint32_t i = 0; i < r->failed_n && i < u->troubles_n; i++)
                        manager_failed(m, "resource", u->name, &u->troubles[i]);
                if (u->troubles_n > 0)
                        log_warn("resource", "%s %s %s", u->troubles[0].message, u->troubles[0].cause,
                                u->troubles[0].correction);
        } else {
                u->failures = 0;
                manager_well(m, "resource", u->name);
                u->state = r->more ? sat_step_state_PENDING : sat_step_state_DONE;
        }
}

/* A disk that was lost before the round is there after it. */
static void take_found(struct manager *m, const struct unit *u)
{
        for (uint32_t i = 0; i < u->wholes_n; i++)
                for (uint32_t k = 0; k < u->wholes[i].tops_n; k++)
                        if (u->wholes[i].type == layer_type_DRBD && u->wholes[i].tops[k].has_disk)
                                drbd_watch_found(
                                        m->drbd, u->name, (uint32_t)u->wholes[i].tops[k].volume_number);
}

static void on_round(uv_work_t *req) { run_resource(&container_of(req, struct round, req)->run); }

static void on_round_done(uv_work_t *req, int status)
{
        struct round *r = container_of(req, struct round, req);
        struct manager *m = r->m;
        struct unit *u = r->unit;
        list_remove(&r->at);
        if (r->late) m->late--;
        else m->rounds--;
        u->running = u->late = false;
        u->settled_at = m->scan_number;
        if (!m->closing && status == 0) {
                log_debug("resource", "%s: %u steps, %s", u->name, r->run.steps_done,
                        r->run.err == 0 ? "done" : err_text(r->run.err));
                take_outcome(m, u, &r->run);
                if (r->lost) take_found(m, u);
                bool idle = r->run.waits && r->run.steps_done == 0;
                bool more = u->again || (r->run.more && u->failures == 0 && !idle);
                if (u->again) u->failures = 0;
                u->again = false;
                if (more) round_queue(m, u);
                if (r->run.steps_done > 0) scan_soon(m);
                throttles_changed(m);
                manager_touch(m, u);
        }
        run_done(&r->run);
        free(r);
        if (!m->closing) round_start_ready(m);
        manager_settle(m);
}

static int round_start(struct manager *m, struct unit *u)
{
        struct round *r = xnew(struct round);
        struct arena a = { 0 };
        struct plan_pool *pools;
        struct plan_input in = {
                .rsc_name = u->want != NULL ? u->want->rsc_name : u->name,
                .want = u->want,
                .gone = u->gone,
                .gone_n = u->gone_n,
                .devs = u->devs,
                .devs_n = u->devs_n,
                .snaps = u->snaps,
                .snaps_n = u->snaps_n,
                .held = u->held,
                .given_up = u->given_up,
        };
        int err = pool_set_plan(&m->pools, &a, &pools, &in.pools_n);
        in.pools = pools;
        if (err == 0) err = run_init(&r->run, &in);
        arena_done(&a);
        if (err == 0) err = uv_queue_work(m->loop, &r->req, on_round, on_round_done);
        if (err != 0) {
                run_done(&r->run);
                free(r);
                return err;
        }
        r->m = m;
        r->unit = u;
        r->began_ms = manager_now(m);
        r->lost = drbd_watch_lost(m->drbd, u->name);
        list_push_back(&m->jobs, &r->at);
        m->rounds++;
        m->live++;
        u->running = true;
        u->state = sat_step_state_RUNNING;
        return 0;
}

void round_start_ready(struct manager *m)
{
        LIST_FOREACH_SAFE(i, next, &m->ready)
        {
                if (m->closing || m->rounds >= MANAGER_ROUNDS || m->late >= MANAGER_LATE_MAX) return;
                struct unit *u = container_of(i, struct unit, ready);
                if (u->seq > m->saved_seq) continue; /* not on disk yet */
                if (files_pending(m) && files_needed(u)) continue;
                list_remove(i);
                int err = round_start(m, u);
                if (err == 0) continue;
                struct trouble t;
                trouble_set(&t, err, TROUBLE_UNKNOWN, "Resource %s: %s.", u->name, err_text(err));
                unit_set_troubles(u, &t, 1);
                u->failures++;
                u->retry_at_ms = manager_now(m) + m->retry_first_ms;
                u->state = sat_step_state_FAILED;
                manager_touch(m, u);
        }
}

static void is_late(struct manager *m, struct round *r)
{
        struct unit *u = r->unit;
        struct trouble t;
        r->late = u->late = true;
        m->rounds--;
        m->late++;
        trouble_set(&t, E_TIMEOUT, TROUBLE_UNKNOWN, "Resource %s: the work on its devices does not end.",
                u->name);
        trouble_cause(&t, "It has been running for more than %u s; a disk or a file system does not answer.",
                m->round_deadline_ms / 1000);
        trouble_fix(&t, "Look into the kernel log. The work goes on when the device answers again.");
        unit_set_troubles(
                u, &t, 1); /* it has not failed: sagas and clients that wait have deadlines of their own */
        log_error("resource", "%s %s", t.message, t.cause);
        manager_failed(m, "resource", u->name, &t);
        manager_touch(m, u);
}

/* Nobody has said for long how it goes on: the controllers may all be gone, and I/O must not stand still. */
static void held_too_long(struct manager *m, struct unit *u, uint64_t now)
{
        if (u->want == NULL || !hold_possible(u->want) || now - u->held_ms < HOLD_MAX_MS) return;
        if (u->given_up != NULL && strcmp(u->given_up, u->held) == 0) return;
        if (strcmp(u->held, HOLD_UNKNOWN) != 0)
                log_warn("resource", "%s: its I/O was suspended for longer than %u s: it goes on", u->name,
                        HOLD_MAX_MS / 1000);
        free(u->given_up);
        u->given_up = xstrdup(u->held);
        u->failures = 0;
        round_queue(m, u);
}

void round_tick(struct manager *m)
{
        uint64_t now = manager_now(m);
        LIST_FOREACH(i, &m->jobs)
        {
                struct round *r = container_of(i, struct round, at);
                if (!r->late && now - r->began_ms > m->round_deadline_ms) is_late(m, r);
        }
        struct unit *u;
        unsigned ended = copies_ended();
        bool asks = ended != m->copies_ended;
        m->copies_ended = ended;
        UNIT_FOREACH(u, &m->units)
        {
                if (u->held != NULL) held_too_long(m, u, now);
                if (u->alone_due_ms != 0 && now >= u->alone_due_ms) connected_look(m, u);
                if (asks && (u->waits || u->running)) round_queue(m, u);
                if (u->failures == 0 || u->running || !list_empty(&u->ready) || now < u->retry_at_ms)
                        continue;
                round_queue(m, u);
        }
        round_start_ready(m);
}

void round_stop_all(struct manager *m)
{
        copies_stop_all();
        LIST_FOREACH(i, &m->jobs) run_stop(&container_of(i, struct round, at)->run);
}
