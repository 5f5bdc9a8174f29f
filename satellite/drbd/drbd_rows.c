#include "satellite/drbd/drbd_rows.h"

#include <string.h>

#include "wire/codec/codec.h"

#define COPY(to, T_, member_, word_)                                                  \
        do {                                                                          \
                if ((word_)[0] != '\0') SET(to, T_, member_, arena_strdup(a, word_)); \
        } while (0)

static const char *name_of(const struct drbd_resource *r, const struct drbd_peer *p,
        const struct sat_drbd *wanted, struct arena *a)
{
        uint32_t n = wanted != NULL ? wanted->peers_n : 0;
        const struct sat_drbd_peer *only = NULL;
        uint32_t staying = 0;
        for (uint32_t i = 0; i < n; i++) {
                if (wanted->peers[i].node_id == p->node_id && r->has_score) return wanted->peers[i].node_name;
                if (wanted->peers[i].leaving) continue;
                only = &wanted->peers[i];
                staying++;
        }
        if (!r->has_score && staying == 1) return only->node_name; /* 8.4: node ids mean nothing */
        return arena_strdup(a, p->name[0] != '\0' ? p->name : "?");
}

static int fill_peer(const struct drbd_resource *r, const struct drbd_peer *p, const struct sat_drbd *wanted,
        struct arena *a, struct obs_drbd_peer *ret)
{
        struct obs_drbd_peer_vlm *v = arena_array(a, struct obs_drbd_peer_vlm, p->devices_n + 1);
        if (v == NULL) return E_TOO_LARGE;
        SET(ret, obs_drbd_peer, name, name_of(r, p, wanted, a));
        COPY(ret, obs_drbd_peer, connection, p->connection);
        COPY(ret, obs_drbd_peer, role, p->role);
        if (p->split_brain) SET(ret, obs_drbd_peer, split_brain, true);
        for (uint32_t i = 0; i < p->devices_n; i++) {
                const struct drbd_peer_device *d = &p->devices[i];
                SET(&v[i], obs_drbd_peer_vlm, volume_number, d->volume);
                COPY(&v[i], obs_drbd_peer_vlm, replication, d->replication);
                COPY(&v[i], obs_drbd_peer_vlm, disk, d->disk);
                if (d->done != DRBD_NO_DONE) SET(&v[i], obs_drbd_peer_vlm, done, d->done);
                if (d->out_of_sync_kib > 0)
                        SET(&v[i], obs_drbd_peer_vlm, out_of_sync_kib, d->out_of_sync_kib);
        }
        SET_N(ret, obs_drbd_peer, volumes, v, p->devices_n);
        return 0;
}

/* DRBD 8.4 says that a connection is gone that it has given up (and to those who ask later, that it is StandAlone): the peer that is wanted,
 * while there is no connection. NULL: it is not so. */
static const struct sat_drbd_peer *given_up(const struct drbd_resource *r, const struct sat_drbd *wanted)
{
        const struct sat_drbd_peer *only = NULL;
        if (r->has_score || r->peers_n != 0 || wanted == NULL) return NULL;
        for (uint32_t i = 0; i < wanted->peers_n; i++)
                if (!wanted->peers[i].leaving && wanted->peers[i].paths_n > 0) only = &wanted->peers[i];
        return only;
}

static uint32_t fill_given_up(const struct drbd_resource *r, const struct sat_drbd *wanted, struct arena *a,
        struct obs_drbd *d, struct obs_drbd_peer *ret)
{
        const struct sat_drbd_peer *peer = given_up(r, wanted);
        struct obs_drbd_peer_vlm *v = arena_array(a, struct obs_drbd_peer_vlm, r->devices_n + 1);
        if (peer == NULL || v == NULL) return 0;
        for (uint32_t i = 0; i < r->devices_n; i++) {
                SET(&v[i], obs_drbd_peer_vlm, volume_number, r->devices[i].volume);
                SET(&v[i], obs_drbd_peer_vlm, replication, "Off");
                SET(&v[i], obs_drbd_peer_vlm, disk, "DUnknown");
        }
        SET_N(ret, obs_drbd_peer, volumes, v, r->devices_n);
        SET(ret, obs_drbd_peer, name, peer->node_name);
        SET(ret, obs_drbd_peer, connection, "StandAlone");
        if (r->split_brain) SET(ret, obs_drbd_peer, split_brain, true);
        SET(d, obs_drbd, troubles,
                d->troubles | DRBD_STANDALONE | DRBD_NOT_CONNECTED | (r->split_brain ? DRBD_SPLIT_BRAIN : 0));
        return 1;
}

int drbd_rows_fill(
        const struct drbd_resource *r, const struct sat_drbd *wanted, struct arena *a, struct obs_rsc *row)
{
        struct obs_drbd *d = arena_try(a, sizeof *d);
        struct obs_drbd_peer *peers = arena_array(a, struct obs_drbd_peer, r->peers_n + 1);
        if (d == NULL || peers == NULL) return E_TOO_LARGE;
        COPY(d, obs_drbd, role, r->role);
        SET(d, obs_drbd, ready, drbd_is_ready(r));
        if (r->has_score) {
                SET(d, obs_drbd, may_promote, r->may_promote);
                SET(d, obs_drbd, promotion_score, r->promotion_score);
        }
        SET(d, obs_drbd, troubles, drbd_troubles(r));
        for (uint32_t i = 0; i < r->peers_n; i++) {
                int err = fill_peer(r, &r->peers[i], wanted, a, &peers[i]);
                if (err != 0) return err;
        }
        SET_N(d, obs_drbd, peers, peers, r->peers_n + fill_given_up(r, wanted, a, d, &peers[0]));
        SET(row, obs_rsc, drbd, d);
        SET(row, obs_rsc, in_use, strcmp(r->role, "Primary") == 0);
        for (uint32_t i = 0; i < row->volumes_n; i++) {
                const struct drbd_device *dev =
                        row->volumes[i].volume_number <= 65535
                                ? drbd_device_find(r, (uint32_t)row->volumes[i].volume_number)
                                : NULL;
                if (dev != NULL) COPY(&row->volumes[i], obs_vlm, disk_state, dev->disk);
                if (dev != NULL && dev->lost) SET(&row->volumes[i], obs_vlm, disk_lost, true);
        }
        return 0;
}
