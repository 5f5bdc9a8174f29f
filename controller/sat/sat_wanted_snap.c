/* What satellites are told of snapshots and of sagas on their way, see sat_wanted.h. */
#include "controller/op/saga.h"
#include "controller/sat/sat_wanted.h"

/* The saga that makes the snapshot, when there is one. */
static bool saga_of(struct tx *tx, const struct snap_dfn *d, struct arena *a, struct saga *ret)
{
        struct saga key = { .uuid = d->saga };
        return op_given(d->saga) && row_get(tx, &saga_type, &key, a, ret) == 0;
}

const char *sat_wanted_hold(struct tx *tx, const char *rsc_name, struct arena *a)
{
        struct snap_dfn d, key = { .rsc_name = rsc_name };
        struct row_scan s;
        const char *hold = NULL;
        row_scan_open(&s, tx, &snap_dfn_type, &key, 1);
        while (hold == NULL && row_scan_next(&s, a, &d)) {
                struct saga g;
                if (saga_of(tx, &d, a, &g) && saga_holds(&g)) hold = g.uuid;
        }
        row_scan_close(&s);
        return hold;
}

static void fill_volume(const struct snap *s, const struct snap_vlm *v, struct arena *a, struct sat_vlm *ret)
{
        *ret = (struct sat_vlm){ 0 };
        SET(ret, sat_vlm, volume_number, v->volume_number);
        SET(ret, sat_vlm, size_kib, v->size_kib);
        SET(ret, sat_vlm, storage_pool_name, v->storage_pool_name);
        SET(ret, sat_vlm, provider_kind, v->provider_kind);
        SET(ret, sat_vlm, backing_id, snap_backing_id(v->vlm_id, s->snap_name, a));
        SET(ret, sat_vlm, uuid, v->uuid);
}

int sat_wanted_snap(struct tx *tx, const char *rsc_name, const char *snap_name, const char *node_name,
        struct arena *a, struct sat_snap *ret)
{
        struct snap s, key = { .rsc_name = rsc_name, .snap_name = snap_name, .node_name = node_name };
        struct snap_dfn d, dkey = { .rsc_name = rsc_name, .snap_name = snap_name };
        struct saga g;
        int err = row_get(tx, &snap_type, &key, a, &s);
        if (err == 0) err = row_get(tx, &snap_dfn_type, &dkey, a, &d);
        if (err != 0) return err == E_NOT_FOUND ? tx_fail(tx, E_CORRUPT) : err;
        *ret = (struct sat_snap){ 0 };
        SET(ret, sat_snap, rsc_name, s.rsc_name);
        SET(ret, sat_snap, snap_name, s.snap_name);
        SET(ret, sat_snap, uuid, s.uuid);
        SET(ret, sat_snap, revision, s.revision);
        if (saga_of(tx, &d, a, &g) && g.phase == saga_phase_TAKE) SET(ret, sat_snap, take, g.uuid);
        struct sat_vlm *vlms = arena_array(a, struct sat_vlm, s.volumes_n + 1);
        if (vlms == NULL) return E_LIMIT;
        for (uint32_t i = 0; i < s.volumes_n; i++) fill_volume(&s, &s.volumes[i], a, &vlms[i]);
        SET_N(ret, sat_snap, volumes, vlms, s.volumes_n);
        return 0;
}
