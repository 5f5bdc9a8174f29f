/* Looks at pools: their space, and whether their devices are still as the last round left them. */
#include "satellite/manager_internal.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "satellite/run.h"
#include "satellite/run_layers.h"
#include "wire/base/log.h"

#define ROOM_KIB 4096
#define SCAN_DEADLINE_MS 30000
#define SCAN_SOON_MS 300
#define SCAN_MOUNTS_MS 1000
#define SCAN_OPENED_MS \
        2000 /* from when a device is seen to be in use to the next look: many look at it for a moment only */
#define SCAN_ARENA_BYTES ((size_t)64 << 20)

struct scan {
        uv_work_t req;
        struct manager *m;
        struct pool *pool;
        enum provider_kind kind;
        bool list; /* its devices as well; else its space alone */
        struct arena arena;
        const char *place;
        uint64_t number;
        struct dev *layered; /* known devices with something stacked on them: that is looked at, too */
        uint32_t layered_n;
        struct observed_pool seen;
};

static void on_scan(uv_work_t *req)
{
        struct scan *s = container_of(req, struct scan, req);
        observe_pool(s->kind, s->place, s->list, &s->arena, &s->seen);
        for (uint32_t i = 0; s->seen.listed && i < s->seen.devs_n; i++) {
                struct dev *d = &s->seen.devs[i];
                for (uint32_t k = 0; k < s->layered_n; k++) {
                        const struct dev *known = &s->layered[k];
                        if (!dev_same_place(known, d->kind, d->place, d->backing_id)) continue;
                        if (!uuid_same(known->uuid, d->uuid) || !dev_is_volume(known, d->vlm_uuid)) continue;
                        layers_copy(&s->arena, known, d);
                        layers_lend_extras(d, &s->arena);
                        layers_probe(d, &s->arena);
                }
        }
}

/* Copies of the pool's devices that have layers. Without memory for all: none. */
static void take_layered(struct scan *s)
{
        struct unit *u;
        uint32_t n = 0;
        UNIT_FOREACH(u, &s->m->units)
        for (uint32_t i = 0; i < u->devs_n; i++) n += u->devs[i].layers_n > 0;
        s->layered = arena_array(&s->arena, struct dev, n);
        if (s->layered == NULL) return;
        UNIT_FOREACH(u, &s->m->units)
        for (uint32_t i = 0; i < u->devs_n; i++) {
                const struct dev *d = &u->devs[i];
                if (d->layers_n > 0 && dev_same_place(d, s->kind, s->place, d->backing_id))
                        dev_copy(&s->arena, d, &s->layered[s->layered_n++]);
        }
}

/* Do the layers stand otherwise than the last round left them? Takes over who uses them; *opened: somebody does, since now. */
static bool layers_drifted(struct dev *known, const struct dev *d, bool *opened)
{
        bool drifted = false;
        for (uint32_t i = 0; i < known->layers_n && i < d->layers_n; i++) {
                struct layer_dev *was = &known->layers[i];
                const struct layer_dev *is = &d->layers[i];
                drifted |= was->open != is->open || was->lags != is->lags || was->exists != is->exists ||
                           was->dated != is->dated || was->size_kib != is->size_kib ||
                           (was->broken != NULL) != (is->broken != NULL);
                *opened |= is->in_use && !was->in_use;
                was->in_use = is->in_use;
        }
        return drifted;
}

/* A marked device of which no unit knows: it is kept, and reported as an orphan until the cluster names it.
 */
static void take_stranger(struct manager *m, struct unit *u, const struct dev *d)
{
        struct dev *devs = xcalloc(u->devs_n + 1, sizeof *devs);
        if (u->devs_n > 0) memcpy(devs, u->devs, u->devs_n * sizeof *devs);
        devs[u->devs_n] = *d;
        devs[u->devs_n].made = true;
        unit_set_devs(u, devs, u->devs_n + 1);
        free(devs);
        u->dropped = false;
        round_queue(m, u);
        save_request(m);
}

static void take_device(struct manager *m, const struct scan *s, const struct dev *d, bool *opened)
{
        if (!d->marked || !backing_id_valid(d->rsc_name)) return;
        struct unit *u = unit_get(&m->units, d->rsc_name);
        if (u->running || u->settled_at >= s->number) return; /* the round knows better */
        for (uint32_t i = 0; i < u->devs_n; i++) {
                struct dev *known = &u->devs[i];
                if (!dev_same_place(known, d->kind, d->place, d->backing_id)) continue;
                u->seen[i] = s->number;
                bool drifted = known->unknown || !known->exists || known->attached != d->attached ||
                               known->size_kib != d->size_kib || known->device_kib != d->device_kib ||
                               !uuid_same(known->uuid, d->uuid) || !dev_is_volume(known, d->vlm_uuid);
                drifted |= layers_drifted(known, d, opened);
                *opened |= d->in_use && !known->in_use;
                known->in_use = d->in_use;
                known->allocated_kib = d->allocated_kib;
                if (drifted && u->failures == 0) round_queue(m, u);
                else manager_touch(m, u);
                return;
        }
        take_stranger(m, u, d);
}

static void find_missing(struct manager *m, const struct scan *s)
{
        struct unit *u;
        UNIT_FOREACH(u, &m->units)
        {
                if (u->running || u->failures > 0 || u->settled_at >= s->number) continue;
                for (uint32_t i = 0; i < u->devs_n; i++) {
                        const struct dev *d = &u->devs[i];
                        if (!d->marked || !d->exists || u->seen[i] == s->number) continue;
                        if (!dev_same_place(d, s->kind, s->place, d->backing_id)) continue;
                        round_queue(m, u);
                        break;
                }
        }
}

/* Whoever frees space does not wait for the next attempt, which may be half an hour away. More is what is worth trying: file systems that
 * others use have a little more and less all the time. */
static bool has_more_room(struct pool *p, bool first)
{
        uint64_t free_kib = p->info.free_kib;
        bool more = !first && free_kib >= p->low_kib + MAX(ROOM_KIB, p->low_kib / 64);
        p->low_kib = first || more ? free_kib : MIN(p->low_kib, free_kib);
        return more;
}

static void take_scan(struct manager *m, struct pool *p, const struct scan *s, bool *ret_opened)
{
        bool was_usable = p->usable, first = !p->scanned;
        p->scanned = true;
        p->late = false;
        p->usable = s->seen.trouble.err == 0;
        p->scan_trouble = s->seen.trouble;
        p->info = s->seen.info;
        if (!p->usable && (was_usable || first))
                log_warn("pool", "%s: %s %s", p->want.storage_pool_name, p->scan_trouble.message,
                        p->scan_trouble.cause);
        if (!p->usable) manager_failed(m, "pool", p->want.storage_pool_name, &p->scan_trouble);
        else manager_well(m, "pool", p->want.storage_pool_name);
        if (p->usable && !was_usable) round_queue_failed(m);
        if (p->usable && has_more_room(p, first || !was_usable)) round_queue_full(m);
        if (!p->usable) p->list_due_ms = 0;
        for (uint32_t i = 0; s->seen.listed && i < s->seen.devs_n; i++)
                take_device(m, s, &s->seen.devs[i], ret_opened);
        if (s->seen.listed) find_missing(m, s);
        if (row_refresh_pool(p, m->node_name, &m->gen)) manager_notify(m);
}

static void on_scan_done(uv_work_t *req, int status)
{
        struct scan *s = container_of(req, struct scan, req);
        struct manager *m = s->m;
        struct pool *p = s->pool;
        if (p->late) m->late--;
        else m->scans--;
        p->scanning = false;
        p->late = false;
        if (p->gone) pool_free(p);
        else if (!m->closing && status == 0) {
                bool opened = false;
                if (p->place != NULL && strcmp(p->place, s->place) == 0) take_scan(m, p, s, &opened);
                p->scan_due_ms = manager_now(m) + (p->scan_again ? SCAN_SOON_MS : m->scan_every_ms);
                if (opened) {
                        p->scan_due_ms = MIN(p->scan_due_ms, manager_now(m) + SCAN_OPENED_MS);
                        p->list_due_ms = 0;
                }
                p->scan_again = false;
        }
        arena_done(&s->arena);
        free(s);
        if (!m->closing) {
                scan_tick(m);
                round_start_ready(m);
        }
        manager_settle(m);
}

static void scan_start(struct manager *m, struct pool *p)
{
        struct scan *s = xnew(struct scan);
        s->m = m;
        s->pool = p;
        s->kind = p->want.provider_kind;
        s->arena.limit_bytes = SCAN_ARENA_BYTES;
        s->place = arena_strdup(&s->arena, p->place);
        s->number = ++m->scan_number;
        s->list = manager_now(m) >= p->list_due_ms;
        if (s->list) take_layered(s);
        if (uv_queue_work(m->loop, &s->req, on_scan, on_scan_done) != 0) {
                arena_done(&s->arena);
                free(s);
                p->scan_due_ms = manager_now(m) + m->scan_every_ms;
                return;
        }
        p->scanning = true;
        p->scan_began_ms = manager_now(m);
        if (s->list) p->list_due_ms = p->scan_began_ms + m->scan_every_ms;
        m->scans++;
        m->live++;
}

static void is_late(struct manager *m, struct pool *p)
{
        p->late = true;
        p->scanned = p->usable = false;
        m->scans--;
        m->late++;
        trouble_set(&p->scan_trouble, E_TIMEOUT, TROUBLE_POOL, "Storage pool %s does not answer.",
                p->want.storage_pool_name);
        trouble_cause(&p->scan_trouble, "Looking at %s has taken more than %d s.", p->place,
                SCAN_DEADLINE_MS / 1000);
        trouble_fix(&p->scan_trouble,
                "Look into the kernel log, and at the disk or server below the file system.");
        log_error("pool", "%s %s", p->scan_trouble.message, p->scan_trouble.cause);
        manager_failed(m, "pool", p->want.storage_pool_name, &p->scan_trouble);
        if (row_refresh_pool(p, m->node_name, &m->gen)) manager_notify(m);
}

/* Who uses a device is seen by looking. A mount is told by the kernel (proc_pid_mountinfo(5): POLLPRI since the last poll), so
 * that a user does not wait for the next look to be allowed what the umount makes possible. */
static void look_at_mounts(struct manager *m, uint64_t now)
{
        struct pollfd mounts = { .fd = m->mounts_fd, .events = POLLPRI };
        if (m->mounts_fd >= 0 && poll(&mounts, 1, 0) > 0) m->mounts_changed = true;
        if (!m->mounts_changed || now < m->mounts_due_ms) return;
        m->mounts_changed = false;
        m->mounts_due_ms = now + SCAN_MOUNTS_MS;
        wholes_soon(m);
        LIST_FOREACH(i, &m->pools.pools)
        {
                struct pool *p = container_of(i, struct pool, link);
                p->list_due_ms = 0;
                p->scan_due_ms = now;
                p->scan_again = p->scanning;
        }
}

/* Rounds look for themselves, and are in a hurry: a pool waits for them, but not longer than for its next look. What a mount may have
 * changed is looked at in any case. */
static bool gives_way(const struct manager *m, const struct pool *p, uint64_t now)
{
        return m->rounds > 0 && p->scanned && p->list_due_ms != 0 && now < p->scan_due_ms + m->scan_every_ms;
}

void scan_tick(struct manager *m)
{
        uint64_t now = manager_now(m);
        look_at_mounts(m, now);
        LIST_FOREACH(i, &m->pools.pools)
        {
                struct pool *p = container_of(i, struct pool, link);
                if (p->scanning && !p->late && now - p->scan_began_ms > SCAN_DEADLINE_MS) is_late(m, p);
                if (p->scanning || p->place == NULL || now < p->scan_due_ms) continue;
                if (gives_way(m, p, now)) continue;
                if (m->scans < MANAGER_SCANS && m->late < MANAGER_LATE_MAX) scan_start(m, p);
        }
}

void scan_soon(struct manager *m)
{
        uint64_t soon = manager_now(m) + SCAN_SOON_MS;
        LIST_FOREACH(i, &m->pools.pools)
        {
                struct pool *p = container_of(i, struct pool, link);
                p->scan_due_ms = MIN(p->scan_due_ms, soon);
                p->scan_again = p->scanning;
        }
}
