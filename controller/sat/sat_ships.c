#include "controller/sat/sat_ships.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "controller/base/vault.h"
#include "controller/op/saga.h"

#define PORT_RANGE "SnapshotShipping/TcpPortRange"

static int open_secret(struct blob sealed, struct arena *a, const char **ret)
{
        struct blob plain;
        int err = vault_unseal(sealed, a, &plain);
        if (err != 0) return E_LOCKED;
        *ret = arena_strndup(a, (const char *)plain.p, plain.n);
        secret_wipe((void *)(uintptr_t)plain.p, plain.n);
        return 0;
}

static const struct ship_vlm *volume_of(const struct ship *s, uint64_t number)
{
        for (uint32_t i = 0; i < s->volumes_n; i++)
                if (s->volumes[i].volume_number == number) return &s->volumes[i];
        return NULL;
}

/* What is compared, or copied first. */
static void fill_base(struct tx *tx, const struct ship *s, struct arena *a, struct sat_ship *ret)
{
        struct snap x,
                key = { .rsc_name = s->rsc_name, .snap_name = s->base_snap, .node_name = s->node_name };
        if (s->base_snap == NULL || row_get(tx, &snap_type, &key, a, &x) != 0) return;
        SET(ret, sat_ship, base_snap, x.snap_name);
        SET(ret, sat_ship, base_snap_uuid, x.uuid);
        if (s->base_meta != NULL) SET(ret, sat_ship, base_meta, s->base_meta);
        for (uint32_t i = 0; i < ret->volumes_n; i++) {
                struct sat_ship_vlm *v = &ret->volumes[i];
                for (uint32_t k = 0; k < x.volumes_n; k++) {
                        const struct snap_vlm *b = &x.volumes[k];
                        if (b->volume_number != v->volume_number ||
                                strcasecmp(b->storage_pool_name, v->storage_pool_name) != 0)
                                continue;
                        SET(v, sat_ship_vlm, base_id, snap_backing_id(b->vlm_id, x.snap_name, a));
                        SET(v, sat_ship_vlm, base_uuid, b->uuid);
                }
        }
}

static void fill_volumes(const struct ship *s, const struct snap *x, struct arena *a, struct sat_ship *ret)
{
        struct sat_ship_vlm *vlms = arena_alloc(a, (x->volumes_n + 1) * sizeof *vlms);
        uint32_t n = 0;
        for (uint32_t i = 0; i < x->volumes_n; i++) {
                const struct snap_vlm *v = &x->volumes[i];
                const struct ship_vlm *to = volume_of(s, v->volume_number);
                if (to == NULL) continue;
                vlms[n] = (struct sat_ship_vlm){ 0 };
                SET(&vlms[n], sat_ship_vlm, volume_number, v->volume_number);
                SET(&vlms[n], sat_ship_vlm, key, to->key);
                SET(&vlms[n], sat_ship_vlm, size_kib, to->size_kib);
                SET_N(&vlms[n], sat_ship_vlm, chain, to->chain, to->chain_n);
                SET(&vlms[n], sat_ship_vlm, storage_pool_name, v->storage_pool_name);
                SET(&vlms[n], sat_ship_vlm, backing_id, snap_backing_id(v->vlm_id, x->snap_name, a));
                SET(&vlms[n], sat_ship_vlm, uuid, v->uuid);
                n++;
        }
        SET_N(ret, sat_ship, volumes, vlms, n);
}

static int fill_bucket(const struct ship *s, const struct remote *r, struct arena *a, struct sat_ship *ret)
{
        int err = open_secret(r->access_key, a, &ret->access_key);
        if (err == 0) err = open_secret(r->secret_key, a, &ret->secret_key);
        if (err != 0) return err;
        MARK(ret, sat_ship, access_key);
        MARK(ret, sat_ship, secret_key);
        SET(ret, sat_ship, endpoint, r->endpoint);
        SET(ret, sat_ship, bucket, r->bucket);
        SET(ret, sat_ship, region, r->region);
        SET(ret, sat_ship, path_style, (r->flags & remote_flag_S3_USE_PATH_STYLE) != 0);
        if (s->meta_name != NULL) SET(ret, sat_ship, meta_name, s->meta_name);
        if (s->meta != NULL) SET(ret, sat_ship, meta, s->meta);
        return 0;
}

/* "FIRST-LAST" of the node, or of all. */
static void port_range(struct tx *tx, const char *node_name, struct arena *a, int64_t *first, int64_t *last)
{
        struct node n, key = { .name = node_name };
        struct ctrl_props p;
        const char *range = NULL;
        char *end = NULL;
        if (row_get(tx, &node_type, &key, a, &n) == 0) range = strmap_get(&n.props, PORT_RANGE);
        if (range == NULL && row_get_single(tx, &ctrl_props_type, a, &p) == 0)
                range = strmap_get(&p.props, PORT_RANGE);
        *first = range != NULL ? strtol(range, &end, 10) : 0;
        *last = end != NULL && *end == '-' ? strtol(end + 1, NULL, 10) : 0;
        if (*first > 0 && *first <= *last && *last <= 65535) return;
        *first = 12000;
        *last = 12999;
}

static void fill_peer(struct tx *tx, const struct ship *s, struct arena *a, struct sat_ship *ret)
{
        int64_t first = s->port, last;
        SET(ret, sat_ship, round, s->round);
        if (s->peer_key != NULL) SET(ret, sat_ship, peer_key, s->peer_key);
        if (s->own_key != NULL) SET(ret, sat_ship, own_key, s->own_key);
        if (s->address != NULL) SET(ret, sat_ship, address, s->address);
        if (s->kind == ship_kind_RECEIVE) {
                port_range(tx, s->node_name, a, &first, &last);
                SET(ret, sat_ship, port_max, last);
        }
        SET(ret, sat_ship, port, first);
}

/* E_NOT_FOUND: what it is about is gone, the leader will end it. */
static int fill(struct tx *tx, const struct ship *s, struct arena *a, struct sat_ship *ret)
{
        struct remote r, rkey = { .name = s->remote_name };
        struct snap x,
                key = { .rsc_name = s->rsc_name, .snap_name = s->snap_name, .node_name = s->node_name };
        bool bucket = s->kind == ship_kind_UPLOAD || s->kind == ship_kind_DOWNLOAD;
        int err = row_get(tx, &remote_type, &rkey, a, &r);
        if (err == 0) err = row_get(tx, &snap_type, &key, a, &x);
        if (err == 0 && bucket) err = fill_bucket(s, &r, a, ret);
        if (err != 0) return err;
        if (!bucket) fill_peer(tx, s, a, ret);
        SET(ret, sat_ship, uuid, s->uuid);
        SET(ret, sat_ship, kind, s->kind);
        SET(ret, sat_ship, rsc_name, x.rsc_name);
        SET(ret, sat_ship, snap_name, x.snap_name);
        SET(ret, sat_ship, snap_uuid, x.uuid);
        fill_volumes(s, &x, a, ret);
        fill_base(tx, s, a, ret);
        return 0;
}

int sat_ships_build(
        struct tx *tx, const char *node_name, uint64_t term, struct arena *a, struct sat_ships *ret)
{
        struct row_scan scan;
        struct ship s;
        uint64_t max = row_count(tx, &ship_type, &(struct ship){ 0 }, 0);
        uint32_t n = 0;
        int err = 0;
        *ret = (struct sat_ships){ 0 };
        struct sat_ship *list = arena_array(a, struct sat_ship, max + 1);
        if (list == NULL) return E_LIMIT;
        row_scan_open(&scan, tx, &ship_type, NULL, 0);
        while (err == 0 && n < max && row_scan_next(&scan, a, &s)) {
                if ((s.phase != ship_phase_RUN && s.phase != ship_phase_ASK) ||
                        strcasecmp(s.node_name, node_name) != 0)
                        continue;
                list[n] = (struct sat_ship){ 0 };
                err = fill(tx, &s, a, &list[n]);
                if (err == 0) n++;
                if (err == E_NOT_FOUND) err = 0;
        }
        row_scan_close(&scan);
        SET(ret, sat_ships, term, term);
        SET_N(ret, sat_ships, ships, list, n);
        return err;
}

void sat_ships_wipe(struct sat_ships *m)
{
        for (uint32_t i = 0; i < m->ships_n; i++) {
                const struct sat_ship *s = &m->ships[i];
                if (s->access_key != NULL)
                        secret_wipe((void *)(uintptr_t)s->access_key, strlen(s->access_key));
                if (s->secret_key != NULL)
                        secret_wipe((void *)(uintptr_t)s->secret_key, strlen(s->secret_key));
        }
}
