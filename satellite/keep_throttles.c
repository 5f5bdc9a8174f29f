/* Keeps the limits of devices as the properties say (throttle.h). Looked at when devices or wanted states have changed, and every ten
 * seconds while there are limits: groups of processes come and go.
 *
 * Marks are durable before the kernel is told: a look that finds one missing changes nothing for it; the mark is saved, and the next
 * look sets the limit. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "satellite/manager_internal.h"
#include "satellite/throttle.h"
#include "wire/base/log.h"
#include "wire/codec/codec.h"

#define LIMITS_EVERY_MS 10000

struct look {
        uv_work_t req;
        struct manager *m;
        struct arena arena;
        struct throttle_job job;
        int err;
};

void throttles_changed(struct manager *m) { m->limits_dirty = true; }

/* ---- what is wanted ---- */

static const struct dev *dev_of(const struct unit *u, const struct sat_vlm *v)
{
        for (uint32_t i = 0; i < u->devs_n; i++) {
                const struct dev *d = &u->devs[i];
                if (d->attached && d->snap_name == NULL && d->volume_number == v->volume_number &&
                        uuid_same(d->uuid, u->want->uuid) && dev_is_volume(d, v->uuid))
                        return d;
        }
        return NULL;
}

static const char *top_of_whole(const struct unit *u, uint64_t volume_number)
{
        for (uint32_t i = 0; i < u->wholes_n; i++)
                for (uint32_t k = 0; k < u->wholes[i].tops_n; k++)
                        if (u->wholes[i].tops[k].volume_number == volume_number)
                                return u->wholes[i].tops[k].device_path;
        return NULL;
}

static const struct strmap *pool_props(const struct manager *m, const struct sat_vlm *v)
{
        LIST_FOREACH(i, &m->pools.pools)
        {
                const struct pool *p = container_of(i, struct pool, link);
                if (HAS(v, sat_vlm, storage_pool_name) &&
                        strcasecmp(p->want.storage_pool_name, v->storage_pool_name) == 0)
                        return &p->want.props;
        }
        return &m->props;
}

/* Do pools or the node set limits? Else volumes without their own need no looking at. */
static bool any_farther(const struct manager *m)
{
        for (unsigned w = 0; w < THROTTLE_N; w++) {
                if (strmap_get(&m->props, throttle_key(w)) != NULL) return true;
                LIST_FOREACH(i, &m->pools.pools)
                if (strmap_get(&container_of(i, struct pool, link)->want.props, throttle_key(w)) != NULL)
                        return true;
        }
        return false;
}

/* Returns false when no limit is set for the volume. */
static bool limits_of(const struct manager *m, const struct sat_vlm *v, uint64_t ret[THROTTLE_N])
{
        const struct strmap *farther = pool_props(m, v);
        bool any = false;
        for (unsigned w = 0; w < THROTTLE_N; w++) {
                const char *text =
                        HAS(v, sat_vlm, throttle) ? strmap_get(&v->throttle, throttle_key(w)) : NULL;
                if (text == NULL) text = strmap_get(farther, throttle_key(w));
                ret[w] = throttle_value(text, w);
                any = any || ret[w] != 0;
        }
        return any;
}

static const char *copy_str(struct arena *a, const char *s) { return s == NULL ? NULL : arena_strdup(a, s); }

static void put_want(struct look *l, const struct unit *u, const struct sat_vlm *v)
{
        struct throttle_want w = { .volume_number = v->volume_number };
        if (!limits_of(l->m, v, w.value)) return;
        const struct dev *d = dev_of(u, v);
        const char *whole = top_of_whole(u, v->volume_number), *top = d != NULL ? dev_top_path(d) : NULL;
        const char *lowest = d != NULL ? d->device_path : whole;
        w.rsc_name = arena_strdup(&l->arena, u->want->rsc_name);
        w.lowest = copy_str(&l->arena, lowest);
        w.top = copy_str(&l->arena, whole != NULL ? whole : top);
        l->job.wants[l->job.wants_n++] = w;
}

static bool may_have(const struct sat_vlm *v, bool farther) { return farther || HAS(v, sat_vlm, throttle); }

static int collect(struct look *l)
{
        const struct manager *m = l->m;
        struct unit *u;
        size_t n = 0;
        bool farther = any_farther(m);
        UNIT_FOREACH(u, &m->units)
        for (uint32_t i = 0; u->want != NULL && i < u->want->volumes_n; i++)
                n += may_have(&u->want->volumes[i], farther);
        l->job.wants = arena_array(&l->arena, struct throttle_want, n + 1);
        if (l->job.wants == NULL) return E_TOO_LARGE;
        UNIT_FOREACH(u, &m->units)
        for (uint32_t i = 0; u->want != NULL && i < u->want->volumes_n; i++)
                if (may_have(&u->want->volumes[i], farther)) put_want(l, u, &u->want->volumes[i]);
        l->job.root = arena_strdup(&l->arena, m->cgroup_dir);
        l->job.marks =
                m->marks_n == 0 ? NULL : arena_memdup(&l->arena, m->marks, m->marks_n * sizeof *m->marks);
        l->job.marks_n = m->marks_n;
        return 0;
}

/* ---- the outcome ---- */

static void show(struct manager *m, struct unit *u, const struct trouble *list, uint32_t n)
{
        u->limits_stamp = m->limits_stamp;
        if (!unit_set_aside(u, ASIDE_LIMITS, list, n)) return;
        if (n > 0) {
                log_warn("throttle", "%s %s", list[0].message, list[0].cause);
                manager_failed(m, "limits of", u->name, &list[0]);
        } else manager_well(m, "limits of", u->name);
        manager_touch(m, u);
}

/* Those of one resource stand side by side. */
static void show_troubles(struct manager *m, const struct throttle_job *j)
{
        struct trouble *list = xcalloc(j->wants_n + (size_t)1, sizeof *list);
        struct unit *u;
        m->limits_stamp++;
        for (uint32_t i = 0, next; i < j->wants_n; i = next) {
                uint32_t n = 0;
                for (next = i;
                        next < j->wants_n && strcasecmp(j->wants[next].rsc_name, j->wants[i].rsc_name) == 0;
                        next++)
                        if (j->wants[next].trouble.err != 0) list[n++] = j->wants[next].trouble;
                u = unit_find(&m->units, j->wants[i].rsc_name);
                if (u != NULL) show(m, u, list, n);
        }
        UNIT_FOREACH(u, &m->units)
        if (u->aside[ASIDE_LIMITS].n > 0 && u->limits_stamp != m->limits_stamp) show(m, u, NULL, 0);
        free(list);
}

static void take_marks(struct manager *m, const struct throttle_job *j)
{
        struct throttle_mark *marks = xcalloc(m->marks_n + j->missing_n + (size_t)1, sizeof *marks);
        uint32_t n = 0;
        for (uint32_t i = 0; i < m->marks_n; i++)
                if (!j->over[i]) marks[n++] = m->marks[i];
        bool changed = n != m->marks_n || j->missing_n > 0;
        for (uint32_t i = 0; i < j->missing_n; i++) marks[n++] = j->missing[i];
        free(m->marks);
        m->marks = marks;
        m->marks_n = n;
        if (!changed) return;
        save_request(m);
        m->marks_seq = m->seq;
        if (j->missing_n > 0) m->limits_dirty = true;
}

static void on_look(uv_work_t *req)
{
        struct look *l = container_of(req, struct look, req);
        l->err = throttle_run(&l->job, &l->arena);
}

static void on_looked(uv_work_t *req, int status)
{
        struct look *l = container_of(req, struct look, req);
        struct manager *m = l->m;
        m->limiting = false;
        if (l->err != 0) log_warn("throttle", "limits cannot be looked at: %s", err_text(l->err));
        if (status == 0 && l->err == 0 && !m->closing) {
                take_marks(m, &l->job);
                show_troubles(m, &l->job);
        }
        arena_done(&l->arena);
        free(l);
        manager_settle(m);
}

static bool any_shown(const struct manager *m)
{
        struct unit *u;
        UNIT_FOREACH(u, &m->units) if (u->aside[ASIDE_LIMITS].n > 0) return true;
        return false;
}

void throttles_tick(struct manager *m)
{
        uint64_t now = manager_now(m);
        if (m->limiting || m->saved_seq < m->marks_seq || (!m->limits_dirty && now < m->limits_due_ms))
                return;
        struct look *l = xnew(struct look);
        l->m = m;
        m->limits_dirty = false;
        m->limits_due_ms = now + LIMITS_EVERY_MS;
        int err = collect(l);
        bool nothing = err == 0 && l->job.wants_n == 0 && m->marks_n == 0 && !any_shown(m);
        if (err != 0 || nothing || uv_queue_work(m->loop, &l->req, on_look, on_looked) != 0) {
                arena_done(&l->arena);
                free(l);
                return;
        }
        m->limiting = true;
        m->live++;
}

/* ---- across restarts ---- */

int throttles_save(const struct manager *m, struct arena *a, struct sat_state *s)
{
        struct sat_throttle *list = arena_array(a, struct sat_throttle, m->marks_n + (size_t)1);
        if (list == NULL) return E_TOO_LARGE;
        for (uint32_t i = 0; i < m->marks_n; i++) {
                SET(&list[i], sat_throttle, major, m->marks[i].major);
                SET(&list[i], sat_throttle, minor, m->marks[i].minor);
                SET(&list[i], sat_throttle, key, throttle_key(m->marks[i].which));
                SET(&list[i], sat_throttle, value, m->marks[i].value);
        }
        if (m->marks_n > 0) SET_N(s, sat_state, throttles, list, m->marks_n);
        return 0;
}

void throttles_load(struct manager *m, const struct sat_state *s)
{
        m->marks = xcalloc(s->throttles_n + (size_t)1, sizeof *m->marks);
        for (uint32_t i = 0; i < s->throttles_n; i++) {
                const struct sat_throttle *t = &s->throttles[i];
                for (unsigned w = 0; w < THROTTLE_N; w++)
                        if (strcmp(t->key, throttle_key(w)) == 0)
                                m->marks[m->marks_n++] = (struct throttle_mark){ (unsigned)t->major,
                                        (unsigned)t->minor, w, t->value };
        }
}
