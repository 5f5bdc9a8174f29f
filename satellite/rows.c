#include "satellite/rows.h"

#include <string.h>
#include <strings.h>

#include "satellite/base/wanted.h"
#include "satellite/drbd/drbd_rows.h"
#include "wire/codec/codec.h"

#define ROW_ARENA_BYTES ((size_t)16 << 20)

/* What is wrong with the resource: what the last round met, and what goes on beside rounds. */
static uint32_t troubles_n(const struct unit *u)
{
        uint32_t n = u->troubles_n;
        for (unsigned k = 0; k < ASIDE_N; k++) n += u->aside[k].n;
        return n;
}

static const struct trouble *trouble_at(const struct unit *u, uint32_t i)
{
        if (i < u->troubles_n) return &u->troubles[i];
        i -= u->troubles_n;
        unsigned k = 0;
        while (i >= u->aside[k].n) i -= u->aside[k++].n;
        return &u->aside[k].list[i];
}

/* The troubles of one volume, or (volume NO_VOLUME) those of the resource itself, as reports. */
static int put_reports(
        const struct unit *u, int64_t volume, struct arena *a, struct api_rc **ret, uint32_t *ret_n)
{
        uint32_t n = 0;
        for (uint32_t i = 0; i < troubles_n(u); i++)
                n += trouble_at(u, i)->volume == volume && trouble_at(u, i)->snap[0] == '\0';
        *ret_n = 0;
        *ret = NULL;
        if (n == 0) return 0;
        *ret = arena_array(a, struct api_rc, n);
        if (*ret == NULL) return E_TOO_LARGE;
        for (uint32_t i = 0; i < troubles_n(u); i++)
                if (trouble_at(u, i)->volume == volume && trouble_at(u, i)->snap[0] == '\0')
                        trouble_report(trouble_at(u, i), TROUBLE_OF_RESOURCE, a, &(*ret)[(*ret_n)++]);
        return 0;
}

static bool has_errors(const struct api_rc *rcs, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++)
                if ((uint64_t)rcs[i].ret_code >> 62 == 3) return true;
        return false;
}

/* The layers of a device, STORAGE first. */
static int put_layers(const struct dev *d, struct arena *a, struct obs_vlm *v)
{
        struct obs_layer *l = arena_array(a, struct obs_layer, d->layers_n + 1);
        if (l == NULL) return E_TOO_LARGE;
        SET(&l[0], obs_layer, type, layer_type_STORAGE);
        if (d->backing_path != NULL) SET(&l[0], obs_layer, backing_device, d->backing_path);
        SET(&l[0], obs_layer, allocated_kib, d->allocated_kib);
        SET(&l[0], obs_layer, usable_kib, d->attached ? d->device_kib : d->size_kib);
        SET(&l[0], obs_layer, open, d->attached);
        if (d->attached) SET(&l[0], obs_layer, device_path, d->device_path);
        for (uint32_t i = 0; i < d->layers_n; i++) {
                const struct layer_dev *from = &d->layers[i];
                const struct obs_layer *below = &l[i];
                struct obs_layer *to = &l[i + 1];
                SET(to, obs_layer, type, from->type);
                if (HAS(below, obs_layer, device_path))
                        SET(to, obs_layer, backing_device, below->device_path);
                SET(to, obs_layer, open, from->open);
                if (from->cache_path != NULL) SET(to, obs_layer, cache_path, from->cache_path);
                if (from->meta_path != NULL) SET(to, obs_layer, meta_path, from->meta_path);
                SET(to, obs_layer, allocated_kib, below->usable_kib);
                if (from->open) {
                        SET(to, obs_layer, usable_kib, from->size_kib);
                        if (from->device_path != NULL) SET(to, obs_layer, device_path, from->device_path);
                }
        }
        SET_N(v, obs_vlm, layers, l, d->layers_n + 1);
        return 0;
}

static int put_volume(const struct unit *u, uint64_t number, const struct dev *d, bool backed,
        struct arena *a, struct obs_vlm *v)
{
        *v = (struct obs_vlm){ 0 };
        SET(v, obs_vlm, volume_number, number);
        int err = put_reports(u, (int64_t)number, a, &v->reports, &v->reports_n);
        if (v->reports_n > 0) MARK(v, obs_vlm, reports);
        const char *state = "Creating";
        if (d != NULL && d->unfilled) d = NULL; /* nobody may use it yet */
        if (d != NULL && dev_top_path(d) != NULL) {
                SET(v, obs_vlm, device_path, dev_top_path(d));
                SET(v, obs_vlm, usable_kib, dev_top_kib(d));
        } else if (d != NULL && d->exists && d->layers_n == 0) SET(v, obs_vlm, usable_kib, d->size_kib);
        if (d != NULL && d->exists && d->layers_n > 0 && err == 0) err = put_layers(d, a, v);
        const struct layer_dev *drbd = d != NULL ? dev_layer(d, layer_type_DRBD) : NULL;
        if (drbd != NULL && drbd->discard_known) SET(v, obs_vlm, discard_bytes, drbd->discard_bytes);
        const struct layer_dev *luks = d != NULL ? dev_layer(d, layer_type_LUKS) : NULL;
        if (luks != NULL && luks->key_known) SET(v, obs_vlm, key_id, luks->key_id);
        if (d != NULL && d->exists) {
                SET(v, obs_vlm, allocated_kib, d->allocated_kib);
                SET(v, obs_vlm, backing_device, d->backing_path);
                state = "Created";
        }
        if (!backed) state = "Diskless";
        else if (d != NULL && d->unknown) state = "Unknown";
        else if (has_errors(v->reports, v->reports_n)) state = "Failed";
        SET(v, obs_vlm, disk_state, state);
        return err;
}

/* The device of a wanted volume: with the right owner, one that exists before one that is only remembered. */
static const struct dev *dev_of(const struct unit *u, const struct sat_vlm *v)
{
        const struct dev *found = NULL;
        for (uint32_t i = 0; i < u->devs_n; i++) {
                const struct dev *d = &u->devs[i];
                if (!uuid_same(d->uuid, u->want->uuid) || d->volume_number != v->volume_number ||
                        !dev_is_volume(d, v->uuid))
                        continue;
                if (found == NULL || (d->exists && !found->exists)) found = d;
        }
        return found;
}

static int put_volumes(const struct unit *u, struct arena *a, struct obs_rsc *r)
{
        uint32_t n = u->want != NULL ? u->want->volumes_n : u->devs_n, m = 0;
        if (n == 0) return 0;
        struct obs_vlm *v = arena_array(a, struct obs_vlm, n);
        if (v == NULL) return E_TOO_LARGE;
        int err = 0;
        for (uint32_t i = 0; err == 0 && i < n; i++) {
                if (u->want == NULL) {
                        if (u->devs[i].snap_name == NULL && !extra_is(u->devs[i].volume_number))
                                err = put_volume(u, u->devs[i].volume_number, &u->devs[i], true, a, &v[m++]);
                        continue;
                }
                const struct sat_vlm *w = &u->want->volumes[i];
                bool backed = wanted_is_backed(u->want, w);
                const struct dev *d = backed ? dev_of(u, w) : NULL;
                if (d != NULL && wanted_is_copied(u->want, w) && !d->filled)
                        d = NULL; /* nobody may use it yet */
                err = put_volume(u, w->volume_number, d, backed, a, &v[m++]);
        }
        if (m > 0) SET_N(r, obs_rsc, volumes, v, m);
        return err;
}

/* What layers have beside the volumes; what is wrong with it is reported with the volume. */
static int put_extras(const struct unit *u, struct arena *a, struct obs_rsc *r)
{
        uint32_t n = u->want != NULL ? u->want->extras_n : 0;
        if (n == 0) return 0;
        struct obs_vlm *v = arena_array(a, struct obs_vlm, n);
        int err = v == NULL ? E_TOO_LARGE : 0;
        for (uint32_t i = 0; err == 0 && i < n; i++) {
                const struct sat_vlm *w = &u->want->extras[i];
                bool backed = wanted_is_backed(u->want, w);
                err = put_volume(u, w->volume_number, backed ? dev_of(u, w) : NULL, backed, a, &v[i]);
        }
        if (err == 0) SET_N(r, obs_rsc, extras, v, n);
        return err;
}

/* ---- snapshots ---- */

static int put_snap_reports(const struct unit *u, const char *name, struct arena *a, struct obs_snap *s)
{
        struct api_rc *rcs = arena_array(a, struct api_rc, u->troubles_n + 1);
        uint32_t n = 0;
        if (rcs == NULL) return E_TOO_LARGE;
        for (uint32_t i = 0; i < u->troubles_n; i++)
                if (strcmp(u->troubles[i].snap, name) == 0)
                        trouble_report(&u->troubles[i], TROUBLE_OF_RESOURCE, a, &rcs[n++]);
        if (n > 0) SET_N(s, obs_snap, reports, rcs, n);
        return 0;
}

static int put_snap_volumes(
        const struct unit *u, const struct sat_snap *w, struct arena *a, struct obs_snap *s)
{
        struct obs_vlm *v = arena_array(a, struct obs_vlm, w->volumes_n + 1);
        uint32_t n = 0;
        if (v == NULL) return E_TOO_LARGE;
        for (uint32_t i = 0; i < u->devs_n && n < w->volumes_n; i++) {
                const struct dev *d = &u->devs[i];
                if (!d->exists || !uuid_same(d->uuid, w->uuid)) continue;
                struct obs_vlm *o = &v[n++];
                *o = (struct obs_vlm){ 0 };
                SET(o, obs_vlm, volume_number, d->volume_number);
                SET(o, obs_vlm, allocated_kib, d->allocated_kib);
                SET(o, obs_vlm, usable_kib, d->size_kib);
                SET(o, obs_vlm, backing_device, d->backing_path);
        }
        if (n > 0) SET_N(s, obs_snap, volumes, v, n);
        return 0;
}

static int put_snaps(const struct unit *u, struct arena *a, struct obs_rsc *r)
{
        if (u->snaps_n == 0) return 0;
        struct obs_snap *list = arena_array(a, struct obs_snap, u->snaps_n);
        int err = list == NULL ? E_TOO_LARGE : 0;
        for (uint32_t i = 0; err == 0 && i < u->snaps_n; i++) {
                const struct sat_snap *w = &u->snaps[i];
                struct obs_snap *s = &list[i];
                *s = (struct obs_snap){ 0 };
                SET(s, obs_snap, snap_name, w->snap_name);
                SET(s, obs_snap, uuid, w->uuid);
                SET(s, obs_snap, revision, w->revision);
                err = put_snap_reports(u, w->snap_name, a, s);
                if (err == 0) err = put_snap_volumes(u, w, a, s);
                SET(s, obs_snap, state, plan_snap_state(w, u->devs, u->devs_n, s->reports_n > 0));
        }
        if (err == 0) SET_N(r, obs_rsc, snapshots, list, u->snaps_n);
        return err;
}

/* Tombstones that are done. */
static int put_gone(const struct unit *u, struct arena *a, struct obs_rsc *r)
{
        const char **uuids = arena_array(a, const char *, u->gone_n);
        if (u->gone_n > 0 && uuids == NULL) return E_TOO_LARGE;
        uint32_t n = 0;
        for (uint32_t i = 0; i < u->gone_n; i++)
                if (u->gone_done[i]) uuids[n++] = u->gone[i].uuid;
        if (n > 0) SET_N(r, obs_rsc, gone_uuids, uuids, n);
        if (u->want == NULL && u->gone_n > 0 && n == u->gone_n) SET(r, obs_rsc, gone, true);
        return 0;
}

/* Only what carries our mark: the rest may have been taken over by somebody. */
static bool is_orphan(const struct unit *u, const struct dev *d)
{
        if (d->uuid == NULL || d->snap_name != NULL || !d->marked || (!d->exists && !d->attached))
                return false;
        if (d->rsc_name != NULL && strcasecmp(d->rsc_name, u->name) != 0) return false;
        if (u->want != NULL && uuid_same(d->uuid, u->want->uuid)) return false;
        for (uint32_t i = 0; i < u->gone_n; i++)
                if (uuid_same(d->uuid, u->gone[i].uuid)) return false;
        return true;
}

static int put_orphans(const struct unit *u, struct arena *a, struct obs_rsc *r)
{
        struct obs_orphan *list = arena_array(a, struct obs_orphan, u->devs_n + 1);
        uint32_t n = 0;
        if (list == NULL) return E_TOO_LARGE;
        for (uint32_t i = 0; i < u->devs_n; i++) {
                const struct dev *d = &u->devs[i];
                if (!is_orphan(u, d)) continue;
                struct obs_orphan *o = &list[n++];
                *o = (struct obs_orphan){ 0 };
                SET(o, obs_orphan, uuid, d->uuid);
                SET(o, obs_orphan, volume_number, d->volume_number);
                if (d->backing_path != NULL) SET(o, obs_orphan, backing_device, d->backing_path);
                if (dev_top_path(d) != NULL) SET(o, obs_orphan, device_path, dev_top_path(d));
                SET(o, obs_orphan, allocated_kib, d->allocated_kib);
                if (dev_top_in_use(d)) SET(o, obs_orphan, in_use, true);
        }
        if (n > 0) SET_N(r, obs_rsc, orphans, list, n);
        return 0;
}

static const char *uuid_of(const struct unit *u)
{
        if (u->want != NULL) return u->want->uuid;
        if (u->gone_n > 0) return u->gone[u->gone_n - 1].uuid;
        return u->devs_n > 0 ? u->devs[0].uuid : NULL;
}

/* Is the trouble's volume one that put_volumes() shows? Those of others go to the resource. */
static bool is_shown(const struct obs_rsc *r, int64_t volume)
{
        for (uint32_t i = 0; i < r->volumes_n; i++)
                if ((int64_t)r->volumes[i].volume_number == volume) return true;
        return false;
}

static int put_own_reports(const struct unit *u, struct arena *a, struct obs_rsc *r)
{
        uint32_t all = troubles_n(u), n = 0;
        if (all == 0) return 0;
        struct api_rc *rcs = arena_array(a, struct api_rc, all);
        if (rcs == NULL) return E_TOO_LARGE;
        for (uint32_t i = 0; i < all; i++) {
                const struct trouble *t = trouble_at(u, i);
                if (t->snap[0] == '\0' && !is_shown(r, t->volume))
                        trouble_report(t, TROUBLE_OF_RESOURCE, a, &rcs[n++]);
        }
        if (n > 0) SET_N(r, obs_rsc, reports, rcs, n);
        return 0;
}

/* Volumes without storage here have the devices of the layer of the whole resource. */
static void put_tops(const struct unit *u, struct obs_rsc *r)
{
        for (uint32_t i = 0; i < u->wholes_n; i++)
                for (uint32_t k = 0; k < u->wholes[i].tops_n; k++) {
                        const struct layer_top *top = &u->wholes[i].tops[k];
                        for (uint32_t j = 0; j < r->volumes_n; j++) {
                                struct obs_vlm *v = &r->volumes[j];
                                if (v->volume_number != top->volume_number ||
                                        HAS(v, obs_vlm, backing_device) || HAS(v, obs_vlm, device_path))
                                        continue;
                                SET(v, obs_vlm, device_path, top->device_path);
                                SET(v, obs_vlm, usable_kib, top->size_kib);
                        }
                }
}

/* What DRBD says, for a resource that has the layer; the layer's devices are up as long as the kernel has them. */
static int put_drbd(
        const struct unit *u, const struct drbd_resource *drbd, struct arena *a, struct obs_rsc *r)
{
        if (drbd == NULL || u->want == NULL || !HAS(u->want, sat_rsc, drbd)) return 0;
        return drbd_rows_fill(drbd, u->want->drbd, a, r);
}

int row_of_unit(const struct unit *u, const struct drbd_resource *drbd, const char *node_name,
        struct arena *a, struct obs_rsc *ret)
{
        *ret = (struct obs_rsc){ 0 };
        SET(ret, obs_rsc, node_name, node_name);
        SET(ret, obs_rsc, rsc_name, u->want != NULL ? u->want->rsc_name : u->name);
        if (uuid_of(u) != NULL) SET(ret, obs_rsc, uuid, uuid_of(u));
        SET(ret, obs_rsc, revision, unit_revision(u));
        SET(ret, obs_rsc, state, u->state);
        bool in_use = false;
        for (uint32_t i = 0; i < u->devs_n; i++) /* caches are in use by their volumes all the time */
                in_use = in_use || (!extra_is(u->devs[i].volume_number) && dev_top_in_use(&u->devs[i]));
        for (uint32_t i = 0; i < u->wholes_n; i++)
                for (uint32_t k = 0; k < u->wholes[i].tops_n; k++)
                        in_use = in_use || u->wholes[i].tops[k].in_use;
        SET(ret, obs_rsc, in_use, in_use);
        if (u->orphan) SET(ret, obs_rsc, orphan, true);
        int err = put_volumes(u, a, ret);
        put_tops(u, ret);
        if (err == 0) err = put_extras(u, a, ret);
        if (err == 0) err = put_drbd(u, drbd, a, ret);
        if (err == 0) err = put_own_reports(u, a, ret);
        if (err == 0) err = put_gone(u, a, ret);
        if (err == 0 && u->orphan) err = put_orphans(u, a, ret);
        if (err == 0) err = put_snaps(u, a, ret);
        if (u->held != NULL && strcmp(u->held, HOLD_UNKNOWN) != 0) SET(ret, obs_rsc, held, u->held);
        if (u->given_up != NULL) SET(ret, obs_rsc, hold_over, u->given_up);
        return err;
}

int row_of_pool(const struct pool *p, const char *node_name, struct arena *a, struct obs_pool *ret)
{
        *ret = (struct obs_pool){ 0 };
        SET(ret, obs_pool, node_name, node_name);
        SET(ret, obs_pool, storage_pool_name, p->want.storage_pool_name);
        const struct provider *prov = provider_by_kind(p->want.provider_kind);
        if (prov != NULL)
                SET(ret, obs_pool, allocation_kib,
                        p->info.granule_kib != 0 ? p->info.granule_kib : prov->allocation_kib);
        const struct trouble *t = p->place == NULL ? &p->place_trouble : &p->scan_trouble;
        if (p->place == NULL || p->scanned) SET(ret, obs_pool, revision, p->want.revision);
        if (p->scanned && p->usable) {
                SET(ret, obs_pool, free_kib, (int64_t)p->info.free_kib);
                SET(ret, obs_pool, total_kib, (int64_t)p->info.total_kib);
                SET(ret, obs_pool, supports_snapshots, p->info.snapshots);
        }
        if (t->err == 0 && p->scanned && p->usable) t = &p->info.warning;
        if (t->err == 0 || (p->place != NULL && !p->scanned && !p->late)) return 0;
        struct api_rc *rc = arena_new(a, struct api_rc);
        trouble_report(t, TROUBLE_OF_POOL, a, rc);
        SET_N(ret, obs_pool, reports, rc, 1);
        return 0;
}

/* True when fresh differs from *row, which it then replaces. fresh is emptied. */
static bool replace(struct buf *row, struct buf *fresh)
{
        bool same = fresh->err == 0 && row->n == fresh->n &&
                    (row->n == 0 || memcmp(row->p, fresh->p, row->n) == 0);
        if (!same) {
                struct buf old = *row;
                *row = *fresh;
                *fresh = old;
        }
        buf_done(fresh);
        return !same;
}

bool row_refresh_unit(struct unit *u, const struct drbd_resource *drbd, const char *node_name, uint64_t *gen)
{
        struct arena a = { .limit_bytes = ROW_ARENA_BYTES };
        struct buf fresh = { 0 };
        struct obs_rsc row;
        int err = row_of_unit(u, drbd, node_name, &a, &row);
        if (err == 0) err = enc_msgpack(&obs_rsc_type, &row, &fresh);
        bool changed = err == 0 && replace(&u->row, &fresh);
        if (err != 0) buf_done(&fresh);
        if (changed) u->row_gen = ++*gen;
        arena_done(&a);
        return changed;
}

bool row_refresh_pool(struct pool *p, const char *node_name, uint64_t *gen)
{
        struct arena a = { .limit_bytes = ROW_ARENA_BYTES };
        struct buf fresh = { 0 };
        struct obs_pool row;
        int err = row_of_pool(p, node_name, &a, &row);
        if (err == 0) err = enc_msgpack(&obs_pool_type, &row, &fresh);
        bool changed = err == 0 && replace(&p->row, &fresh);
        if (err != 0) buf_done(&fresh);
        if (changed) p->row_gen = ++*gen;
        arena_done(&a);
        return changed;
}
