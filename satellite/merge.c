/* Takes a wanted state, whole or as a difference, into the manager's units and pools. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "satellite/layer/keyring.h"
#include "satellite/manager_internal.h"
#include "wire/base/log.h"
#include "wire/base/sabotage.h"
#include "wire/codec/codec.h"

/* A resource or a tombstone of the message; sorted by name, so that all of one name are side by side. */
struct item {
        const char *name;
        const struct sat_rsc *want;
        const struct sat_gone *gone;
        const struct sat_snap *snap;
};

static int by_name(const void *a, const void *b)
{
        return strcasecmp(((const struct item *)a)->name, ((const struct item *)b)->name);
}

static struct item *sorted(const struct sat_wanted *w, struct arena *a, uint32_t *ret_n)
{
        uint32_t n = 0;
        struct item *items = arena_array(a, struct item, (size_t)w->resources_n + w->gone_n + w->snapshots_n);
        if (items == NULL) return NULL;
        for (uint32_t i = 0; i < w->resources_n; i++)
                items[n++] = (struct item){ w->resources[i].rsc_name, &w->resources[i], NULL, NULL };
        for (uint32_t i = 0; i < w->gone_n; i++)
                items[n++] = (struct item){ w->gone[i].rsc_name, NULL, &w->gone[i], NULL };
        for (uint32_t i = 0; i < w->snapshots_n; i++)
                items[n++] = (struct item){ w->snapshots[i].rsc_name, NULL, NULL, &w->snapshots[i] };
        if (n > 1) qsort(items, n, sizeof *items, by_name);
        *ret_n = n;
        return items;
}

static bool has_gone(const struct sat_gone *gone, uint32_t n, const char *uuid)
{
        for (uint32_t i = 0; i < n; i++)
                if (strcasecmp(gone[i].uuid, uuid) == 0) return true;
        return false;
}

static int by_snap(const void *a, const void *b)
{
        return strcasecmp(((const struct sat_snap *)a)->snap_name, ((const struct sat_snap *)b)->snap_name);
}

/* Does the unit already stand like that? */
static bool stands(const struct unit *u, const struct unit_wish *w)
{
        if ((u->want == NULL) != (w->want == NULL) || u->gone_n != w->gone_n || u->snaps_n != w->snaps_n)
                return false;
        if (w->want != NULL && w->want != u->want && !obj_equal(&sat_rsc_type, u->want, w->want))
                return false;
        for (uint32_t i = 0; i < w->gone_n; i++)
                if (!has_gone(u->gone, u->gone_n, w->gone[i].uuid)) return false;
        for (uint32_t i = 0; i < w->snaps_n; i++)
                if (!obj_equal(&sat_snap_type, &u->snaps[i], &w->snaps[i])) return false;
        return true;
}

/* The unit becomes that; it is worked on when it differs from before, and when the state is on disk. */
static int become(struct manager *m, struct unit *u, const struct unit_wish *w)
{
        if (!stands(u, w)) {
                int err = unit_set_wanted(u, w);
                if (err != 0) return err;
                u->seq = m->seq + 1; /* of the save that is about to be asked for */
                u->failures = 0;
                round_queue(m, u);
        }
        manager_touch(m, u);
        return 0;
}

/* All items of one name. */
static int take_name(
        struct manager *m, const struct item *items, uint32_t n, bool full, uint64_t stamp, struct arena *a)
{
        struct unit *u = unit_get(&m->units, items[0].name);
        uint32_t gone_n = 0, snaps_n = 0, cap = n + (full ? 0 : u->gone_n);
        struct sat_gone *gone = arena_array(a, struct sat_gone, cap);
        struct sat_snap *snaps = arena_array(a, struct sat_snap, n);
        if (gone == NULL || snaps == NULL) return E_TOO_LARGE;
        for (uint32_t i = 0; !full && i < u->gone_n; i++) gone[gone_n++] = u->gone[i];
        const struct sat_rsc *want = NULL;
        for (uint32_t i = 0; i < n; i++) {
                if (items[i].want != NULL) want = items[i].want;
                else if (items[i].snap != NULL) snaps[snaps_n++] = *items[i].snap;
                else if (!has_gone(gone, gone_n, items[i].gone->uuid)) gone[gone_n++] = *items[i].gone;
        }
        /* A difference that only deletes: what was wanted stays so, unless it is what is deleted. */
        if (!full && want == NULL && u->want != NULL && !has_gone(gone, gone_n, u->want->uuid))
                want = u->want;
        if (snaps_n > 1) qsort(snaps, snaps_n, sizeof *snaps, by_snap);
        u->stamp = stamp;
        return become(m, u,
                &(struct unit_wish){
                        .want = want, .gone = gone, .gone_n = gone_n, .snaps = snaps, .snaps_n = snaps_n });
}

static bool is_confirmed(const struct sat_wanted *w, const char *uuid)
{
        for (uint32_t i = 0; i < w->confirmed_n; i++)
                if (strcasecmp(w->confirmed[i], uuid) == 0) return true;
        return false;
}

/* Forgets the tombstones that the cluster has forgotten. */
static int take_confirmed(struct manager *m, const struct sat_wanted *w, struct arena *a)
{
        struct unit *u;
        UNIT_FOREACH(u, &m->units)
        {
                if (u->gone_n == 0) continue;
                struct sat_gone *keep = arena_array(a, struct sat_gone, u->gone_n);
                if (keep == NULL) return E_TOO_LARGE;
                uint32_t n = 0;
                for (uint32_t i = 0; i < u->gone_n; i++)
                        if (!is_confirmed(w, u->gone[i].uuid)) keep[n++] = u->gone[i];
                struct unit_wish left = {
                        .want = u->want, .gone = keep, .gone_n = n, .snaps = u->snaps, .snaps_n = u->snaps_n
                };
                int err = n == u->gone_n ? 0 : become(m, u, &left);
                if (err != 0) return err;
        }
        return 0;
}

/* What a whole list no longer names. Its devices stay and become orphans (plan.h); nothing is removed. */
static int take_unnamed(struct manager *m, uint64_t stamp)
{
        struct unit *u;
        UNIT_FOREACH(u, &m->units)
        {
                int err = u->stamp == stamp ? 0 : become(m, u, &(struct unit_wish){ 0 });
                if (err != 0) return err;
        }
        return 0;
}

/* What is to be logged. */
static void take_level(struct manager *m)
{
        enum log_level level = m->own_level;
        if (m->wanted_level != NULL && log_level_parse(m->wanted_level, &level) != 0) level = m->own_level;
        if (level == log_get_level()) return;
        log_set_level(LOG_INFO_LEVEL);
        log_info("settings", "the log level is %s from now on", log_level_name(level));
        log_set_level(level);
        m->level_gen = ++m->gen;
        manager_notify(m);
}

static int take_node(struct manager *m, const struct sat_wanted *w)
{
        struct arena a = { 0 };
        struct sat_wanted head = { 0 }, copy;
        if (HAS(w, sat_wanted, props)) SET(&head, sat_wanted, props, w->props);
        if (HAS(w, sat_wanted, node_uuid)) SET(&head, sat_wanted, node_uuid, w->node_uuid);
        SET(&head, sat_wanted, cluster_uuid, m->cluster_uuid);
#ifdef NEXT_LEVEL
        if (HAS(w, sat_wanted, next_note)) SET(&head, sat_wanted, next_note, w->next_note);
#endif
        if (HAS(w, sat_wanted, log_level)) SET(&head, sat_wanted, log_level, w->log_level);
        bool listed = HAS(w, sat_wanted, controllers); /* a leader of an older release says nothing of them */
        SET_N(&head, sat_wanted, controllers, listed ? w->controllers : m->controllers,
                listed ? w->controllers_n : m->controllers_n);
        int err = obj_copy(&sat_wanted_type, &head, &a, &copy);
        if (err != 0) {
                arena_done(&a);
                return err;
        }
        arena_done(&m->node_arena);
        m->node_arena = a;
        m->props = copy.props;
        m->controllers = copy.controllers;
        m->controllers_n = copy.controllers_n;
        m->node_uuid = copy.node_uuid;
        m->wanted_level = copy.log_level;
        take_level(m);
#ifdef NEXT_LEVEL
        m->next_note = copy.next_note;
#endif
        return 0;
}

static int take_pools(struct manager *m, const struct sat_wanted *w)
{
        bool removed, changed;
        int err = pool_set_take(&m->pools, w->pools, w->pools_n, &removed, &changed);
        if (removed) m->full_epoch++;
        LIST_FOREACH(i, &m->pools.pools)
        {
                struct pool *p = container_of(i, struct pool, link);
                if (row_refresh_pool(p, m->node_name, &m->gen)) manager_notify(m);
        }
        if (!changed && !removed) return err;
        struct unit *u;
        UNIT_FOREACH(u, &m->units)
        {
                u->seq = m->seq + 1;
                u->failures = 0;
                if (u->want != NULL || u->gone_n > 0) round_queue(m, u);
        }
        return err;
}

int manager_adopt(struct manager *m, const struct sat_wanted *w, struct fail *f)
{
        bool full = !HAS(w, sat_wanted, base_revision);
        struct arena a = { .limit_bytes = ARENA_LIMIT_DEFAULT * 2 };
        uint32_t n = 0;
        uint64_t stamp = ++m->stamp;
        struct item *items = sorted(w, &a, &n);
        int err = items == NULL ? E_TOO_LARGE : 0;
        if (err == 0) err = take_node(m, w);
        if (err == 0) err = take_pools(m, w);
        if (err == 0) err = make_pools_take(m, w);
        if (err == 0) err = files_take(m, w);
        files_changed(m);
        for (uint32_t i = 0, next; err == 0 && i < n; i = next) {
                for (next = i + 1; next < n && by_name(&items[i], &items[next]) == 0;) next++;
                err = take_name(m, &items[i], next - i, full, stamp, &a);
        }
        if (err == 0 && full) err = take_unnamed(m, stamp);
        if (err == 0 && w->confirmed_n > 0) err = take_confirmed(m, w, &a);
        arena_done(&a);
        throttles_changed(m);
        m->revision = err == 0 ? w->revision : 0; /* 0: only a whole list can follow */
        return err == 0 ? 0 : fail_set(f, err, "the wanted state is too large for this satellite");
}

static int check_volumes(const struct sat_vlm *v, uint32_t n, const char *rsc_name, struct fail *f)
{
        for (uint32_t i = 0; i < n; i++)
                for (uint32_t k = 0; k < i; k++)
                        if (v[i].volume_number == v[k].volume_number)
                                return fail_set(f, E_INVALID, "resource %s has volume %llu twice", rsc_name,
                                        (unsigned long long)v[i].volume_number);
        return 0;
}

/* Names that could not be files, and volumes named twice, never get further than this. */
static int check(const struct sat_wanted *w, struct fail *f)
{
        int err = 0;
        for (uint32_t i = 0; err == 0 && i < w->resources_n; i++) {
                const struct sat_rsc *r = &w->resources[i];
                if (!backing_id_valid(r->rsc_name) || r->uuid[0] == '\0')
                        return fail_set(
                                f, E_INVALID, "resource \"%.64s\" has no valid name or uuid", r->rsc_name);
                err = check_volumes(r->volumes, r->volumes_n, r->rsc_name, f);
                if (err == 0) err = check_volumes(r->extras, r->extras_n, r->rsc_name, f);
        }
        for (uint32_t i = 0; err == 0 && i < w->gone_n; i++)
                if (!backing_id_valid(w->gone[i].rsc_name) || w->gone[i].uuid[0] == '\0')
                        return fail_set(f, E_INVALID, "tombstone \"%.64s\" has no valid name or uuid",
                                w->gone[i].rsc_name);
        for (uint32_t i = 0; err == 0 && i < w->snapshots_n; i++) {
                const struct sat_snap *s = &w->snapshots[i];
                if (!backing_id_valid(s->rsc_name) || !backing_id_valid(s->snap_name) || s->uuid[0] == '\0')
                        return fail_set(
                                f, E_INVALID, "snapshot \"%.64s\" has no valid name or uuid", s->snap_name);
                err = check_volumes(s->volumes, s->volumes_n, s->rsc_name, f);
        }
        return err;
}

bool manager_controller_removed(const struct manager *m, const char *fingerprint)
{
        for (uint32_t i = 0; i < m->controllers_n; i++)
                if (m->controllers[i].removed && strcasecmp(m->controllers[i].fingerprint, fingerprint) == 0)
                        return true;
        return false;
}

int manager_take(struct manager *m, const struct sat_wanted *w, uint64_t *ret_seq, struct fail *f)
{
        if (m->closing) return fail_set(f, E_CLOSED, "the satellite is stopping");
        if (strcasecmp(w->cluster_uuid, m->cluster_uuid) != 0)
                return fail_set(f, E_AUTH, "this satellite belongs to cluster %s", m->cluster_uuid);
        if (w->term < m->highest_term && !SABOTAGE(SATELLITE_OLD_TERM))
                return fail_set(f, E_FENCED, "term %llu is older than %llu, of which this satellite knows",
                        (unsigned long long)w->term, (unsigned long long)m->highest_term);
        bool full = !HAS(w, sat_wanted, base_revision);
        if (!full && (m->revision == 0 || w->base_revision != m->revision))
                return fail_set(f, E_STALE, "this satellite has revision %llu, not %llu: send everything",
                        (unsigned long long)m->revision, (unsigned long long)w->base_revision);
        if (w->term == m->highest_term && w->revision < m->revision)
                return fail_set(f, E_STALE, "this satellite has the later revision %llu",
                        (unsigned long long)m->revision);
        int err = check(w, f);
        if (err != 0) return err;
        m->highest_term = w->term;
        /* The trace of commands that tests/jepsen-like reads: no older term may follow a newer one. */
        log_debug("wanted", "taken: term %llu revision %llu", (unsigned long long)w->term,
                (unsigned long long)w->revision);
        err = manager_adopt(m, w, f);
        save_request(m);
        *ret_seq = m->seq;
        return err;
}

void manager_take_keys(struct manager *m, const struct sat_keys *k)
{
        if (m->closing || k->term < m->highest_term) return;
        for (uint32_t i = 0; i < k->keys_n; i++) {
                const struct sat_key *x = &k->keys[i];
                bool is_new;
                if (keyring_put(x, &is_new) != 0) continue;
                struct unit *u = unit_find(&m->units, x->rsc_name);
                if (!is_new || u == NULL || u->want == NULL) continue;
                u->failures = 0;
                round_queue(m, u);
        }
        round_start_ready(m);
}

void manager_take_ships(struct manager *m, const struct sat_ships *s)
{
        if (m->closing || m->ships == NULL || s->term < m->highest_term) return;
        ships_take(m->ships, s);
}
