/* The state file of the manager: one save at a time, the next one takes everything that came in between. */
#include "satellite/manager_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "satellite/base/inject.h"
#include "satellite/layer/hold.h"
#include "satellite/state.h"
#include "wire/base/log.h"
#include "wire/codec/codec.h"

#define SAVE_RETRY_MS 3000
#define SAVE_SOON_MS 300

struct save {
        uv_work_t req;
        struct manager *m;
        char *dir;
        struct buf term, whole;
        bool with_term;
        uint64_t seq, revision, highest_term;
        int err;
        struct fail fail;
};

static int put_layers(const struct dev *d, struct arena *a, struct sat_device *x)
{
        if (d->layers_n == 0) return 0;
        struct sat_layer *l = arena_array(a, struct sat_layer, d->layers_n);
        if (l == NULL) return E_TOO_LARGE;
        for (uint32_t i = 0; i < d->layers_n; i++) {
                SET(&l[i], sat_layer, type, d->layers[i].type);
                SET(&l[i], sat_layer, made, d->layers[i].made);
        }
        SET_N(x, sat_device, layers, l, d->layers_n);
        return 0;
}

static int put_devices(struct manager *m, struct arena *a, struct sat_state *s)
{
        uint32_t n = 0;
        struct unit *u;
        UNIT_FOREACH(u, &m->units)
        for (uint32_t i = 0; i < u->devs_n; i++) n += u->devs[i].made && u->devs[i].uuid != NULL;
        struct sat_device *list = arena_array(a, struct sat_device, n);
        if (list == NULL && n > 0) return E_TOO_LARGE;
        n = 0;
        UNIT_FOREACH(u, &m->units)
        for (uint32_t i = 0; i < u->devs_n; i++) {
                const struct dev *d = &u->devs[i];
                if (!d->made || d->uuid == NULL) continue;
                struct sat_device *x = &list[n++];
                SET(x, sat_device, rsc_name, u->name);
                SET(x, sat_device, rsc_uuid, d->uuid);
                SET(x, sat_device, volume_number, d->volume_number);
                if (d->pool != NULL) SET(x, sat_device, storage_pool_name, d->pool);
                SET(x, sat_device, provider_kind, d->kind);
                SET(x, sat_device, place, d->place);
                SET(x, sat_device, backing_id, d->backing_id);
                SET(x, sat_device, size_kib, d->exists ? d->size_kib : d->last_size_kib);
                SET(x, sat_device, made, true);
                if (d->formatted) SET(x, sat_device, formatted, true);
                if (d->filled) SET(x, sat_device, filled, true);
                if (d->vlm_uuid != NULL) SET(x, sat_device, vlm_uuid, d->vlm_uuid);
                if (put_layers(d, a, x) != 0) return E_TOO_LARGE;
                if (d->snap_name != NULL) SET(x, sat_device, snap_name, d->snap_name);
        }
        SET_N(s, sat_state, devices, list, n);
        return 0;
}

/* The wanted state of all units and pools as one message; shares memory with them. */
static int put_wanted(struct manager *m, struct arena *a, struct sat_wanted *w)
{
        uint32_t rscs = 0, gones = 0, pools = 0, snaps = 0;
        struct unit *u;
        UNIT_FOREACH(u, &m->units)
        {
                rscs += u->want != NULL;
                gones += u->gone_n;
                snaps += u->snaps_n;
        }
        SET_N(w, sat_wanted, snapshots, arena_array(a, struct sat_snap, snaps), snaps);
        SET_N(w, sat_wanted, resources, arena_array(a, struct sat_rsc, rscs), rscs);
        SET_N(w, sat_wanted, gone, arena_array(a, struct sat_gone, gones), gones);
        SET_N(w, sat_wanted, pools, arena_array(a, struct sat_pool, m->pools.n), m->pools.n);
        if ((rscs > 0 && w->resources == NULL) || (gones > 0 && w->gone == NULL) ||
                (m->pools.n > 0 && w->pools == NULL) || (snaps > 0 && w->snapshots == NULL))
                return E_TOO_LARGE;
        rscs = gones = snaps = 0;
        UNIT_FOREACH(u, &m->units)
        {
                if (u->want != NULL) w->resources[rscs++] = *u->want;
                for (uint32_t i = 0; i < u->gone_n; i++) w->gone[gones++] = u->gone[i];
                for (uint32_t i = 0; i < u->snaps_n; i++) w->snapshots[snaps++] = u->snaps[i];
        }
        LIST_FOREACH(i, &m->pools.pools) w->pools[pools++] = container_of(i, struct pool, link)->want;
        SET(w, sat_wanted, term, m->highest_term);
        SET(w, sat_wanted, revision, m->revision);
        SET(w, sat_wanted, cluster_uuid, m->cluster_uuid);
        if (m->node_uuid != NULL) SET(w, sat_wanted, node_uuid, m->node_uuid);
        if (m->wanted_level != NULL) SET(w, sat_wanted, log_level, m->wanted_level);
        SET(w, sat_wanted, props, m->props);
#ifdef NEXT_LEVEL
        if (m->next_note != NULL) SET(w, sat_wanted, next_note, m->next_note);
#endif
        SET_N(w, sat_wanted, controllers, m->controllers, m->controllers_n);
        SET_N(w, sat_wanted, disk_pools, m->make, m->make_n);
        SET_N(w, sat_wanted, files, m->files, m->files_n);
        return 0;
}

static int encode(struct manager *m, struct save *s)
{
        struct arena a = { .limit_bytes = 4 * STATE_FILE_MAX };
        struct sat_wanted w = { 0 };
        struct sat_state whole = { 0 }, term = { 0 };
        SET(&term, sat_state, cluster_uuid, m->cluster_uuid);
        SET(&term, sat_state, highest_term, m->highest_term);
        whole = term;
        int err = put_wanted(m, &a, &w);
        if (err == 0) err = put_devices(m, &a, &whole);
        if (err == 0) err = throttles_save(m, &a, &whole);
        files_save(m, &whole);
        if (err == 0 && m->revision > 0) SET(&whole, sat_state, wanted, &w);
        if (err == 0) err = state_encode(&whole, &s->whole);
        if (err == 0 && s->with_term) err = state_encode(&term, &s->term);
        arena_done(&a);
        return err;
}

static void on_save(uv_work_t *req)
{
        struct save *s = container_of(req, struct save, req);
        s->err = state_write(s->dir, s->with_term ? &s->term : NULL, &s->whole, &s->fail);
        if (s->err == 0) inject_point(INJECT_WANTED_DURABLE);
}

static void save_free(struct save *s)
{
        buf_done(&s->term);
        buf_done(&s->whole);
        free(s->dir);
        free(s);
}

static void save_failed(struct manager *m, int err, const struct fail *f)
{
        if (m->save_err != err)
                log_error("state",
                        "%s; the satellite does not act on anything new until this is mended, and tries "
                        "again",
                        f->text[0] != '\0' ? f->text : err_text(err));
        m->save_err = err;
        m->save_wanted = true;
        m->save_retry_ms = manager_now(m) + SAVE_RETRY_MS;
}

static void save_start(struct manager *m);

static void on_saved(uv_work_t *req, int status)
{
        struct save *s = container_of(req, struct save, req);
        struct manager *m = s->m;
        m->saving = false;
        if (status != 0) s->err = E_CANCELED;
        if (s->err != 0) save_failed(m, s->err, &s->fail);
        else {
                if (m->save_err != 0) log_info("state", "the state is on disk again");
                m->save_err = 0;
                m->saved_seq = s->seq;
                m->saved_revision = s->revision;
                if (s->with_term) m->saved_term = s->highest_term;
        }
        save_free(s);
        manager_notify(m);
        if (m->save_err == 0) {
                if (m->save_wanted) save_start(m);
                round_start_ready(m);
        }
        manager_settle(m);
}

static void save_start(struct manager *m)
{
        struct save *s = xnew(struct save);
        s->m = m;
        s->dir = xstrdup(m->dir);
        s->seq = m->seq;
        s->revision = m->revision;
        s->highest_term = m->highest_term;
        s->with_term = m->highest_term != m->saved_term;
        m->save_wanted = false;
        struct fail none = { 0 };
        int err = encode(m, s);
        if (err == 0) err = uv_queue_work(m->loop, &s->req, on_save, on_saved);
        if (err != 0) {
                save_failed(m, err, &none);
                save_free(s);
                manager_notify(m);
                return;
        }
        m->saving = true;
        m->live++;
}

void save_request(struct manager *m)
{
        m->seq++;
        m->save_wanted = true;
        m->save_soon_ms = 0;
        /* After the call that asked: a save takes everything that one turn of the loop changes. */
        m->save_retry_ms = m->save_err == 0 ? 0 : m->save_retry_ms;
        manager_notify(m);
}

void save_soon(struct manager *m)
{
        if (m->save_soon_ms == 0 && !m->save_wanted) m->save_soon_ms = manager_now(m) + SAVE_SOON_MS;
}

void save_tick(struct manager *m)
{
        if (m->save_soon_ms != 0 && manager_now(m) >= m->save_soon_ms) save_request(m);
        if (m->save_wanted && !m->saving && manager_now(m) >= m->save_retry_ms) save_start(m);
}

static void load_device(struct manager *m, const struct sat_device *x)
{
        if (!backing_id_valid(x->backing_id)) return;
        struct unit *u = unit_get(&m->units, x->rsc_name);
        struct dev *devs = xcalloc(u->devs_n + 1, sizeof *devs);
        struct layer_dev layers[LAYERS_MAX] = { 0 };
        if (u->devs_n > 0) memcpy(devs, u->devs, u->devs_n * sizeof *devs);
        uint32_t layers_n = MIN(x->layers_n, (uint32_t)LAYERS_MAX);
        for (uint32_t i = 0; i < layers_n; i++)
                layers[i] = (struct layer_dev){ .type = x->layers[i].type,
                        .made = HAS(&x->layers[i], sat_layer, made) && x->layers[i].made };
        devs[u->devs_n] = (struct dev){
                .layers = layers,
                .layers_n = layers_n,
                .rsc_name = x->rsc_name,
                .uuid = x->rsc_uuid,
                .vlm_uuid = x->vlm_uuid,
                .snap_name = x->snap_name,
                .volume_number = x->volume_number,
                .pool = HAS(x, sat_device, storage_pool_name) ? x->storage_pool_name : NULL,
                .kind = x->provider_kind,
                .place = x->place,
                .backing_id = x->backing_id,
                .made = HAS(x, sat_device, made) && x->made,
                .formatted = HAS(x, sat_device, formatted) && x->formatted,
                .filled = HAS(x, sat_device, filled) && x->filled,
                .last_size_kib = HAS(x, sat_device, size_kib) ? x->size_kib : 0,
                .unknown = true,
        };
        unit_set_devs(u, devs, u->devs_n + 1);
        free(devs);
        round_queue(m, u);
}

/* What an earlier process held may have run since. What layers hold is let go first of all, and never taken up again. */
static void forget_holds(struct manager *m)
{
        struct unit *u;
        UNIT_FOREACH(u, &m->units)
        {
                if (u->want == NULL || !hold_possible(u->want)) continue;
                u->held = xstrdup(HOLD_UNKNOWN);
                if (HAS(u->want, sat_rsc, hold)) u->given_up = xstrdup(u->want->hold);
        }
}

int save_load(struct manager *m, struct fail *f)
{
        struct arena a = { .limit_bytes = 4 * STATE_FILE_MAX };
        struct sat_state s;
        struct fail why = { 0 };
        int err = state_load(m->dir, m->env, &a, &s, &why);
        if (err == E_CORRUPT) {
                snprintf(m->damage, sizeof m->damage,
                        "%s. The wanted state comes from the controllers again; nothing is removed.",
                        why.text);
                log_error("state", "%s", m->damage);
                err = 0;
        } else if (err != 0) {
                if (f != NULL) *f = why;
                arena_done(&a);
                return err;
        }
        bool ours = !HAS(&s, sat_state, cluster_uuid) || strcasecmp(s.cluster_uuid, m->cluster_uuid) == 0;
        if (!ours) {
                snprintf(m->damage, sizeof m->damage,
                        "The state was of another cluster (%s). Its devices are kept and nothing is done to "
                        "them.",
                        s.cluster_uuid);
                log_warn("state", "%s", m->damage);
        }
        for (uint32_t i = 0; i < s.devices_n; i++) load_device(m, &s.devices[i]);
        throttles_load(m, &s);
        if (files_load(m, &s) != 0) err = E_TOO_LARGE;
        if (ours && HAS(&s, sat_state, highest_term)) m->highest_term = m->saved_term = s.highest_term;
        if (ours && HAS(&s, sat_state, wanted) && s.wanted != NULL) err = manager_adopt(m, s.wanted, f);
        forget_holds(m);
        m->saved_revision = m->revision;
        m->saved_seq =
                ++m->seq; /* what was adopted counts as saved with the next number: it comes from there */
        arena_done(&a);
        return err;
}
