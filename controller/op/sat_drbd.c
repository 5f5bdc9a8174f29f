#include "controller/op/sat_drbd.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "controller/base/props.h"
#include "controller/op/resync.h"
#include "state/index.h"
#include "wire/def/drbd_opts.h"
#include "wire/def/layer_size.h"

#define PATHS_PREFIX "Paths/"
#define PROP_DISCARD_ZEROES "DrbdOptions/Disk/discard-zeroes-if-aligned"

struct maker {
        struct tx *tx;
        struct arena *a;
        const struct rsc_dfn *rd;
        const struct rsc *r; /* the one that it is for */
        struct ctrl_props ctrl;
        struct rsc_grp grp;
        struct node node; /* r's */
        struct rsc *rscs; /* all of rd */
        uint32_t rscs_n;
        struct sat_drbd *d;
};

static int load_rscs(struct maker *m)
{
        struct row_scan s;
        struct rsc key = { .rsc_name = m->rd->name };
        uint64_t n = row_count(m->tx, &rsc_type, &key, 1);
        m->rscs = arena_array(m->a, struct rsc, n + 1);
        if (m->rscs == NULL) return E_LIMIT;
        row_scan_open(&s, m->tx, &rsc_type, &key, 1);
        while (m->rscs_n < n && row_scan_next(&s, m->a, &m->rscs[m->rscs_n])) m->rscs_n++;
        row_scan_close(&s);
        return m->tx->err;
}

/* While its disk comes or goes, its peers treat it as having one: they make room before, and forget it after. */
bool sat_drbd_diskless(const struct rsc *r)
{
        return (r->flags & rsc_flag_DISKLESS) != 0 && (r->flags & (RSC_ADDING | RSC_REMOVING)) == 0;
}

static bool is_evicted(const struct rsc *r) { return (r->flags & rsc_flag_EVICTED) == rsc_flag_EVICTED; }

void sat_drbd_members(const struct rsc *rscs, uint32_t n, struct drbd_members *ret)
{
        *ret = (struct drbd_members){ 0 };
        for (uint32_t i = 0; i < n; i++) {
                uint64_t f = rscs[i].flags;
                if ((f & (rsc_flag_DELETE | rsc_flag_DRBD_DELETE)) != 0 || is_evicted(&rscs[i])) continue;
                if ((f & rsc_flag_DISKLESS) == 0) ret->diskful++;
                else if ((f & rsc_flag_TIE_BREAKER) == rsc_flag_TIE_BREAKER) ret->tie_breakers++;
                else ret->diskless++;
                if ((f & rsc_flag_DISKLESS) != 0 && rscs[i].drbd_client) ret->clients++;
        }
}

/* ---- addresses ---- */

static const char *host_name(const struct node *n)
{
        const char *uname = strmap_get(&n->props, "NodeUname");
        return uname != NULL && uname[0] != '\0' ? uname : n->name;
}

static const struct netif *netif_find(const struct node *n, const char *name)
{
        for (uint32_t i = 0; name != NULL && i < n->net_interfaces_n; i++)
                if (strcasecmp(n->net_interfaces[i].name, name) == 0) return &n->net_interfaces[i];
        return NULL;
}

/* Pool < resource < definition < group < node < controller: the i-th value that is set, NULL when there are no more. */
static const char *level_value(
        const struct maker *m, const struct node *n, const struct rsc *r, const char *key, uint32_t i)
{
        const struct strmap *const levels[] = { &r->props, &m->rd->props, &m->grp.props, &n->props,
                &m->ctrl.props };
        for (uint32_t k = 0; k < r->volumes_n; k++) {
                struct stor_pool p = { .node_name = r->node_name,
                        .storage_pool_name = r->volumes[k].storage_pool_name };
                if (p.storage_pool_name == NULL || row_get(m->tx, &stor_pool_type, &p, m->a, &p) != 0)
                        continue;
                const char *s = strmap_get(&p.props, key);
                if (s != NULL && i-- == 0) return s;
        }
        for (size_t k = 0; k < ARRAY_LEN(levels); k++) {
                const char *s = strmap_get(levels[k], key);
                if (s != NULL && i-- == 0) return s;
        }
        return NULL;
}

/* Behind NAT: the address of an interface by its name, or an address. NULL: it is not. */
static const char *outside_of(const struct maker *m, const struct node *n, const struct rsc *r)
{
        const char *s = level_value(m, n, r, "Linstor/Drbd/OutsideAddress", 0);
        const struct netif *found = netif_find(n, s);
        return found != NULL ? found->address : s;
}

static const char *address_of(const struct maker *m, const struct node *n, const struct rsc *r)
{
        const struct netif *found = NULL;
        const char *name;
        for (uint32_t i = 0; found == NULL && (name = level_value(m, n, r, "PrefNic", i)) != NULL; i++)
                found = netif_find(n, name);
        if (found == NULL) found = netif_find(n, "default");
        if (found == NULL && n->net_interfaces_n > 0) found = &n->net_interfaces[0];
        return found != NULL && found->address != NULL ? found->address : "";
}

static uint64_t port_of(const struct maker *m, const struct rsc *r)
{
        if (r->drbd_tcp_ports_n > 0) return r->drbd_tcp_ports[0];
        return HAS(m->rd, rsc_dfn, drbd_port) ? (uint64_t)m->rd->drbd_port : 0;
}

static void set_path(const struct maker *m, const struct rsc *peer, const char *local, const char *remote,
        struct sat_drbd_path *ret)
{
        SET(ret, sat_drbd_path, local_address, local);
        SET(ret, sat_drbd_path, local_port, port_of(m, m->r));
        SET(ret, sat_drbd_path, peer_address, remote);
        SET(ret, sat_drbd_path, peer_port, port_of(m, peer));
}

/* Paths/NAME/NODE for both nodes, with interfaces that are there. Returns how many. */
static uint32_t named_paths(const struct maker *m, const struct strmap *props, const struct node *n,
        const struct rsc *peer, struct sat_drbd_path *ret, uint32_t max)
{
        uint32_t count = 0;
        for (uint32_t i = 0; i < props->n && count < max; i++) {
                const char *key = props->kv[2 * i], *slash = strrchr(key, '/');
                size_t prefix = strlen(PATHS_PREFIX);
                if (strncmp(key, PATHS_PREFIX, prefix) != 0 || slash < key + prefix) continue;
                if (strcasecmp(slash + 1, m->node.name) != 0) continue;
                const struct netif *own = netif_find(&m->node, props->kv[2 * i + 1]), *other = NULL;
                for (uint32_t k = 0; k < props->n; k++) { /* its other end */
                        const char *k2 = props->kv[2 * k];
                        if (strncmp(k2, key, (size_t)(slash + 1 - key)) == 0 &&
                                strcasecmp(k2 + (slash + 1 - key), n->name) == 0)
                                other = netif_find(n, props->kv[2 * k + 1]);
                }
                if (own != NULL && other != NULL)
                        set_path(m, peer, own->address, other->address, &ret[count++]);
        }
        return count;
}

/* ---- peers ---- */

#define PATHS_MAX 8
static int put_paths(struct maker *m, const struct node *n, const struct rsc *peer, const struct strmap *rc,
        const struct strmap *nc, struct sat_drbd_peer *p)
{
        struct sat_drbd_path *paths = arena_array(m->a, struct sat_drbd_path, PATHS_MAX);
        if (paths == NULL) return E_LIMIT;
        uint32_t count = named_paths(m, rc, n, peer, paths, PATHS_MAX);
        if (count == 0) count = named_paths(m, nc, n, peer, paths, PATHS_MAX);
        if (count == 0) {
                const char *own = outside_of(m, &m->node, m->r), *other = outside_of(m, n, peer);
                set_path(m, peer, address_of(m, &m->node, m->r), address_of(m, n, peer), &paths[count]);
                if (own != NULL) SET(&paths[count], sat_drbd_path, local_outside, own);
                if (other != NULL) SET(&paths[count], sat_drbd_path, peer_outside, other);
                count++;
        }
        SET_N(p, sat_drbd_peer, paths, paths, count);
        return 0;
}

static int put_peer(struct maker *m, const struct rsc *peer, struct sat_drbd_peer *p)
{
        struct node n, key = { .name = peer->node_name };
        int err = row_get(m->tx, &node_type, &key, m->a, &n);
        if (err != 0) return err == E_NOT_FOUND ? tx_fail(m->tx, E_CORRUPT) : err;
        bool less = strcasecmp(m->node.name, n.name) < 0;
        struct rsc_conn rc = { .rsc_name = m->rd->name,
                .node_a = less ? m->node.name : n.name,
                .node_b = less ? n.name : m->node.name };
        struct node_conn nc = { .node_a = rc.node_a, .node_b = rc.node_b };
        if (row_get(m->tx, &rsc_conn_type, &rc, m->a, &rc) != 0) rc.props = (struct strmap){ 0 };
        if (row_get(m->tx, &node_conn_type, &nc, m->a, &nc) != 0) nc.props = (struct strmap){ 0 };
        const struct strmap *const levels[DRBD_LEVEL_N_] = { [DRBD_LEVEL_NC] = &nc.props,
                [DRBD_LEVEL_RC] =
                        &rc.props, /* the rest is common to all connections, but for what node connections override */
                [DRBD_LEVEL_RD] = nc.props.n > 0 ? &m->rd->props : NULL };
        bool diskless = sat_drbd_diskless(peer);
        *p = (struct sat_drbd_peer){ 0 };
        SET(p, sat_drbd_peer, node_name, n.name);
        SET(p, sat_drbd_peer, uname, host_name(&n));
        SET(p, sat_drbd_peer, node_id, (uint64_t)peer->drbd_node_id);
        if (diskless) SET(p, sat_drbd_peer, diskless, true);
        if ((peer->flags & rsc_flag_TIE_BREAKER) == rsc_flag_TIE_BREAKER)
                SET(p, sat_drbd_peer, tie_breaker, true);
        drbd_options_merge(DRBD_AT_CONNECTION, levels, m->a, &p->options);
        if (p->options.n > 0) MARK(p, sat_drbd_peer, options);
        if ((peer->flags & (rsc_flag_DELETE | rsc_flag_DRBD_DELETE)) != 0 || is_evicted(peer))
                SET(p, sat_drbd_peer, leaving, true);
        if (peer->drbd_client) SET(p, sat_drbd_peer, client, true);
        if ((peer->flags & rsc_flag_INACTIVE) != 0 || !drbd_are_joined(diskless, sat_drbd_diskless(m->r)))
                return 0;
        return put_paths(m, &n, peer, &rc.props, &nc.props, p);
}

/* Deleted ones whose node has not confirmed yet: their node ids are not free, and their slots are to be forgotten. */
static uint32_t put_leaving(struct maker *m, struct sat_drbd_peer *peers, uint32_t max)
{
        struct row_scan s;
        struct idx_tombstone_rsc it, key = { .rsc_name = m->rd->name };
        uint32_t n = 0;
        row_scan_open(&s, m->tx, &idx_tombstone_rsc_type, &key, 1);
        while (n < max && row_scan_next(&s, m->a, &it)) {
                struct tombstone t = { .node_name = it.node_name, .rsc_name = it.rsc_name, .uuid = it.uuid };
                if (row_get(m->tx, &tombstone_type, &t, m->a, &t) != 0 || !HAS(&t, tombstone, drbd_node_id))
                        continue;
                if (strcasecmp(t.node_name, m->node.name) == 0) continue;
                peers[n] = (struct sat_drbd_peer){ 0 };
                SET(&peers[n], sat_drbd_peer, node_name, t.node_name);
                SET(&peers[n], sat_drbd_peer, uname, t.node_name);
                SET(&peers[n], sat_drbd_peer, node_id, (uint64_t)t.drbd_node_id);
                SET(&peers[n], sat_drbd_peer, leaving, true);
                n++;
        }
        row_scan_close(&s);
        return n;
}

static int put_peers(struct maker *m)
{
        uint32_t n = 0, cap = m->rscs_n + DRBD_NODE_IDS;
        struct sat_drbd_peer *peers = arena_array(m->a, struct sat_drbd_peer, cap);
        int err = peers == NULL ? E_LIMIT : 0;
        for (uint32_t i = 0; i < m->rscs_n && err == 0; i++) {
                const struct rsc *peer = &m->rscs[i];
                if (strcasecmp(peer->node_name, m->r->node_name) == 0 || !HAS(peer, rsc, drbd_node_id))
                        continue;
                err = put_peer(m, peer, &peers[n++]);
        }
        if (err != 0) return err;
        n += put_leaving(m, &peers[n], DRBD_NODE_IDS);
        SET_N(m->d, sat_drbd, peers, peers, n);
        return m->tx->err;
}

/* ---- options ---- */

static void put_options(struct maker *m)
{
        const struct strmap *const levels[DRBD_LEVEL_N_] = { [DRBD_LEVEL_C] = &m->ctrl.props,
                [DRBD_LEVEL_N] = &m->node.props,
                [DRBD_LEVEL_RG] = &m->grp.props,
                [DRBD_LEVEL_RD] = &m->rd->props,
                [DRBD_LEVEL_R] = &m->r->props };
        struct drbd_members members;
        drbd_options_merge(DRBD_AT_OPTIONS, levels, m->a, &m->d->options);
        if (strmap_get(&m->d->options, "DrbdOptions/Resource/quorum") == NULL) {
                sat_drbd_members(m->rscs, m->rscs_n, &members);
                strmap_set(&m->d->options, "DrbdOptions/Resource/quorum", drbd_auto_quorum(&members), m->a);
        }
        drbd_options_merge(DRBD_AT_RESOURCE, levels, m->a, &m->d->common);
        MARK(m->d, sat_drbd, options);
        MARK(m->d, sat_drbd, common);
}

/* ---- volumes ---- */

static bool begins_as_zeros(enum provider_kind kind)
{
        return kind == provider_kind_LVM_THIN || kind == provider_kind_ZFS_THIN ||
               kind == provider_kind_ZFS || kind == provider_kind_FILE_THIN;
}

/* Does a discard leave zeros on it, as DRBD has to know where a replica that lacks discards is beside it? */
static bool discard_zeroes(enum provider_kind kind)
{
        return kind == provider_kind_LVM_THIN || kind == provider_kind_ZFS_THIN || kind == provider_kind_ZFS;
}

static bool all_of(const struct maker *m, uint64_t number, bool (*is)(enum provider_kind kind))
{
        for (uint32_t i = 0; i < m->rscs_n; i++) {
                const struct rsc *r = &m->rscs[i];
                for (uint32_t k = 0; k < r->volumes_n && (r->flags & rsc_flag_DISKLESS) == 0; k++)
                        if (r->volumes[k].volume_number == number && !is(r->volumes[k].provider_kind))
                                return false;
        }
        return true;
}

static uint64_t replica_of(const struct rsc *r, uint64_t number)
{
        for (uint32_t i = 0; i < r->volumes_n; i++) {
                const char *s = strmap_get(&r->volumes[i].props, DRBD_PROP_REPLICA);
                if (r->volumes[i].volume_number == number && s != NULL) return strtoull(s, NULL, 10);
        }
        return 0;
}

/* A resource that is not on this node (any more) cannot be waited for. */
static void drop_dangling(struct maker *m, struct strmap *options)
{
        const char *after = strmap_get(options, PROP_RESYNC_AFTER),
                   *slash = after != NULL ? strrchr(after, '/') : NULL;
        if (slash == NULL) return;
        struct rsc r = { .rsc_name = arena_strndup(m->a, after, (size_t)(slash - after)),
                .node_name = m->r->node_name };
        if (!row_exists(m->tx, &rsc_type, &r)) (void)strmap_del(options, PROP_RESYNC_AFTER, m->a);
}

static int put_volume(struct maker *m, struct sat_vlm *v)
{
        struct vlm_dfn vd, key = { .rsc_name = m->rd->name, .volume_number = v->volume_number };
        struct vlm_grp vg,
                vg_key = { .rsc_grp_name = m->rd->rsc_grp_name, .volume_number = v->volume_number };
        int err = row_get(m->tx, &vlm_dfn_type, &key, m->a, &vd);
        if (err != 0) return err;
        if (m->rd->rsc_grp_name == NULL || row_get(m->tx, &vlm_grp_type, &vg_key, m->a, &vg) != 0)
                vg = (struct vlm_grp){ 0 };
        const struct vlm *own = NULL;
        for (uint32_t i = 0; i < m->r->volumes_n; i++)
                if (m->r->volumes[i].volume_number == v->volume_number) own = &m->r->volumes[i];
        const struct strmap *const levels[DRBD_LEVEL_N_] = { [DRBD_LEVEL_C] = &m->ctrl.props,
                [DRBD_LEVEL_N] = &m->node.props,
                [DRBD_LEVEL_RG] = &m->grp.props,
                [DRBD_LEVEL_RD] = &m->rd->props,
                [DRBD_LEVEL_VG] = &vg.props,
                [DRBD_LEVEL_VD] = &vd.props,
                [DRBD_LEVEL_R] = &m->r->props,
                [DRBD_LEVEL_V] = own != NULL ? &own->props : NULL };
        drbd_options_merge(DRBD_AT_VOLUME, levels, m->a, &v->drbd_options);
        drop_dangling(m, &v->drbd_options);
        if (strmap_get(&v->drbd_options, PROP_DISCARD_ZEROES) == NULL)
                strmap_set(&v->drbd_options, PROP_DISCARD_ZEROES,
                        all_of(m, v->volume_number, discard_zeroes) ? "yes" : "no", m->a);
        MARK(v, sat_vlm, drbd_options);
        const char *day0 = strmap_get(&vd.props, "DrbdCurrentGi");
        if (day0 != NULL) SET(v, sat_vlm, drbd_day0, day0);
        uint64_t replica = replica_of(m->r, v->volume_number);
        if (replica == 1) SET(v, sat_vlm, drbd_winner, true);
        /* Of the second one it is certain that no other has been there before it. */
        if (replica != 1 && replica != 2) SET(v, sat_vlm, drbd_initialized, true);
        /* Copies of what DRBD kept the same are the same, too. */
        bool alike =
                own != NULL && HAS(own, vlm, source_layers) &&
                stack_has((const char *const *)own->source_layers, own->source_layers_n, layer_type_DRBD);
        if (alike || all_of(m, v->volume_number, begins_as_zeros)) SET(v, sat_vlm, drbd_zeroed, true);
        return 0;
}

/* Any level will do: the property knows one value. */
static bool skips_disk(const struct maker *m)
{
        return prop_bool(level_value(m, &m->node, m->r, PROP_SKIP_DISK, 0), false);
}

int sat_drbd_put(
        struct tx *tx, const struct rsc_dfn *rd, const struct rsc *r, struct arena *a, struct sat_rsc *sr)
{
        struct maker m = { .tx = tx, .a = a, .rd = rd, .r = r, .d = arena_new(a, struct sat_drbd) };
        struct node key = { .name = r->node_name };
        struct rsc_grp grp_key = { .name = rd->rsc_grp_name };
        if (!HAS(r, rsc, drbd_node_id)) return 0;
        int err = row_get(tx, &node_type, &key, a, &m.node);
        if (err == 0) err = row_get_single(tx, &ctrl_props_type, a, &m.ctrl);
        if (err == 0) err = load_rscs(&m);
        if (err != 0) return err;
        if (rd->rsc_grp_name == NULL || row_get(tx, &rsc_grp_type, &grp_key, a, &m.grp) != 0)
                m.grp = (struct rsc_grp){ 0 };
        SET(m.d, sat_drbd, node_id, (uint64_t)r->drbd_node_id);
        SET(m.d, sat_drbd, uname, host_name(&m.node));
        if (rd->drbd_secret != NULL) SET(m.d, sat_drbd, secret, rd->drbd_secret);
        if (rd->drbd_transport_type != NULL) SET(m.d, sat_drbd, transport, rd->drbd_transport_type);
        SET(m.d, sat_drbd, peer_slots,
                HAS(rd, rsc_dfn, drbd_peer_slots) ? (uint64_t)rd->drbd_peer_slots : DRBD_PEER_SLOTS_DEFAULT);
        if (r->drbd_client) SET(m.d, sat_drbd, client, true);
        if (HAS(r, rsc, drbd_resolve)) SET(m.d, sat_drbd, resolve, r->drbd_resolve);
        if (HAS(r, rsc, drbd_discard_for)) SET(m.d, sat_drbd, discard_for, (uint64_t)r->drbd_discard_for);
        if ((r->flags & rsc_flag_DISKLESS) == 0 && skips_disk(&m)) SET(m.d, sat_drbd, skip_disk, true);
        put_options(&m);
        err = put_peers(&m);
        for (uint32_t i = 0; i < sr->volumes_n && err == 0; i++) err = put_volume(&m, &sr->volumes[i]);
        if (err == 0) SET(sr, sat_rsc, drbd, m.d);
        return err;
}
