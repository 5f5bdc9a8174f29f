/* Views of resources and volumes: what is wanted, with what their satellites see. */
#include <stdlib.h>
#include <string.h>

#include "controller/view/view_resolve.h"
#include "wire/def/layer_extra.h"

/* Rows that several resources share: resources come sorted by their definition. */
struct rsc_cache {
        struct view *v;
        struct arena arena;
        char *name; /* of the definition below */
        struct rsc_dfn rd;
        struct rsc_grp rg;
        struct vlm_dfn *vds;
        uint32_t vds_n;
        const struct strmap *ctrl;
        struct arena ctrl_arena;
};

static void cache_open(struct rsc_cache *c, struct view *v)
{
        *c = (struct rsc_cache){ .v = v };
        struct ctrl_props *p = arena_new(&c->ctrl_arena, struct ctrl_props);
        (void)row_get_single(v->tx, &ctrl_props_type, &c->ctrl_arena, p);
        c->ctrl = &p->props;
}

static void cache_close(struct rsc_cache *c)
{
        arena_done(&c->arena);
        arena_done(&c->ctrl_arena);
}

static void cache_load(struct rsc_cache *c, const char *rsc)
{
        struct view *v = c->v;
        struct row_scan s;
        if (c->name != NULL && strcasecmp(c->name, rsc) == 0) return;
        arena_reset(&c->arena);
        c->name = arena_strdup(&c->arena, rsc);
        c->rd = (struct rsc_dfn){ .name = c->name };
        if (!view_row(v, &rsc_dfn_type, &c->rd, &c->arena, &c->rd))
                c->rd = (struct rsc_dfn){ .name = c->name };
        c->rg = (struct rsc_grp){ .name = view_text(c->rd.rsc_grp_name) };
        if (!view_row(v, &rsc_grp_type, &c->rg, &c->arena, &c->rg)) c->rg = (struct rsc_grp){ 0 };
        struct vlm_dfn key = { .rsc_name = rsc };
        uint32_t max = (uint32_t)row_count(v->tx, &vlm_dfn_type, &key, 1);
        c->vds = arena_alloc(&c->arena, (max + 1) * sizeof *c->vds);
        c->vds_n = 0;
        row_scan_open(&s, v->tx, &vlm_dfn_type, &key, 1);
        while (c->vds_n < max && row_scan_next(&s, &c->arena, &c->vds[c->vds_n])) c->vds_n++;
        row_scan_close(&s);
}

static const struct vlm_dfn *find_vd(const struct rsc_cache *c, uint64_t number)
{
        for (uint32_t i = 0; i < c->vds_n; i++)
                if (c->vds[i].volume_number == number) return &c->vds[i];
        return NULL;
}

/* ---- effective properties ---- */

struct level {
        const char *type;
        const struct strmap *props;
        bool drbd_only; /* objects that are not about resources: only what concerns them */
};

static bool counts(const struct level *l, const char *key)
{
        if (strncmp(key, "Aux/", 4) == 0) return false;
        return !l->drbd_only || strncmp(key, "DrbdOptions/", 12) == 0;
}

static void add_level(struct eff_prop *p, const char *type, const char *value, struct arena *a, bool first)
{
        if (first) {
                SET(p, eff_prop, type, type);
                SET(p, eff_prop, value, value);
                return;
        }
        struct prop_src *other = arena_alloc(a, (p->other_n + 1) * sizeof *other);
        if (p->other_n != 0) memcpy(other, p->other, p->other_n * sizeof *other);
        SET(&other[p->other_n], prop_src, type, type);
        SET(&other[p->other_n], prop_src, value, value);
        SET_N(p, eff_prop, other, other, p->other_n + 1);
}

static int by_text(const void *x, const void *y)
{
        const char *const *a = x, *const *b = y;
        return strcmp(*a, *b);
}

/* Nearest level first; the values that it hides follow it. */
static void fill_effective(
        const struct level *levels, uint32_t levels_n, struct arena *a, struct rsc_view *ret)
{
        uint32_t max = 0, n = 0;
        for (uint32_t i = 0; i < levels_n; i++) max += levels[i].props->n;
        const char **keys = arena_array(a, const char *, max + 1);
        struct eff_prop *vals = arena_array(a, struct eff_prop, max + 1);
        if (keys == NULL || vals == NULL || max == 0) return;
        uint32_t all = 0;
        for (uint32_t i = 0; i < levels_n; i++)
                for (uint32_t k = 0; k < levels[i].props->n; k++)
                        if (counts(&levels[i], levels[i].props->kv[2 * (size_t)k]))
                                keys[all++] = levels[i].props->kv[2 * (size_t)k];
        qsort(keys, all, sizeof keys[0], by_text);
        for (uint32_t k = 0; k < all; k++) {
                if (n != 0 && strcmp(keys[n - 1], keys[k]) == 0) continue;
                keys[n] = keys[k];
                bool first = true;
                for (uint32_t i = 0; i < levels_n; i++) {
                        const char *value = strmap_get(levels[i].props, keys[n]);
                        if (value == NULL || !counts(&levels[i], keys[n])) continue;
                        add_level(&vals[n], levels[i].type, value, a, first);
                        first = false;
                }
                n++;
        }
        struct objmap map = { .keys = keys, .vals = vals, .n = n };
        if (n != 0) SET(ret, rsc_view, effective_props, map);
}

/* ---- layers ---- */

static const struct obs_vlm *find_obs(const struct obs_rsc *o, uint64_t number)
{
        for (uint32_t i = 0; o != NULL && i < o->volumes_n; i++)
                if (o->volumes[i].volume_number == number) return &o->volumes[i];
        return NULL;
}

static const struct obs_layer *find_layer(const struct obs_vlm *o, const char *layer)
{
        int type = enum_parse(&layer_type_enum, layer);
        for (uint32_t i = 0; i < o->layers_n; i++)
                if ((int)o->layers[i].type == type) return &o->layers[i];
        return NULL;
}

/* The state of a volume is that of its top layer; with DRBD in the stack the word is DRBD's, and what is below it was made, or not yet. */
static const char *layer_state(const struct rsc_cache *c, const char *layer, const struct obs_vlm *o)
{
        bool drbd = false;
        for (uint32_t i = 0; i < c->rd.layer_stack_n; i++)
                drbd = drbd || strcasecmp(c->rd.layer_stack[i], "DRBD") == 0;
        if (!drbd || strcasecmp(layer, "DRBD") == 0) return o->disk_state;
        if (view_given(o->disk_state) && strcmp(o->disk_state, "Unknown") == 0) return o->disk_state;
        return view_given(o->backing_device) ? "Created" : "Creating";
}

/* The satellite says something of this very layer. */
static void fill_own_layer(const struct obs_layer *l, struct layer_vlm *ret)
{
        if (view_given(l->device_path)) SET(ret, layer_vlm, device_path, l->device_path);
        if (view_given(l->backing_device)) SET(ret, layer_vlm, backing_device, l->backing_device);
        if (HAS(l, obs_layer, allocated_kib))
                SET(ret, layer_vlm, allocated_size_kib, (int64_t)l->allocated_kib);
        if (HAS(l, obs_layer, usable_kib)) SET(ret, layer_vlm, usable_size_kib, (int64_t)l->usable_kib);
        if (l->type == layer_type_LUKS) SET(ret, layer_vlm, opened, l->open);
        if (view_given(l->cache_path)) SET(ret, layer_vlm, device_path_cache, l->cache_path);
        if (!view_given(l->meta_path)) return;
        if (l->type == layer_type_DRBD) SET(ret, layer_vlm, meta_disk, l->meta_path);
        else SET(ret, layer_vlm, device_meta_cache, l->meta_path);
}

static void fill_ext_meta(const struct rsc *r, uint64_t volume, struct layer_vlm *ret)
{
        for (uint32_t i = 0; i < r->extras_n; i++)
                if (r->extras[i].volume_number == EXTRA_NUMBER(EXTRA_DRBD_META, volume))
                        SET(ret, layer_vlm, ext_meta_stor_pool, r->extras[i].storage_pool_name);
}

static void fill_layer_vlm(const struct rsc_cache *c, const char *layer, const struct rsc *r,
        const struct vlm *v, const struct obs_vlm *o, struct arena *a, struct layer_vlm *ret)
{
        const struct vlm_dfn *vd = find_vd(c, v->volume_number);
        *ret = (struct layer_vlm){ 0 };
        if (strcasecmp(layer, "DRBD") == 0) {
                struct vd_layer_data *d = arena_new(a, struct vd_layer_data);
                SET(d, vd_layer_data, volume_number, v->volume_number);
                SET(d, vd_layer_data, minor_number,
                        vd != NULL && HAS(vd, vlm_dfn, drbd_minor) ? vd->drbd_minor : -1);
                SET(ret, layer_vlm, drbd_volume_definition, d);
                fill_ext_meta(r, v->volume_number, ret);
        } else {
                SET(ret, layer_vlm, volume_number, v->volume_number);
        }
        if (o == NULL) return;
        const char *state = layer_state(c, layer, o);
        if (view_given(state)) SET(ret, layer_vlm, disk_state, state);
        const struct obs_layer *own = find_layer(o, layer);
        if (own != NULL) {
                fill_own_layer(own, ret);
                return;
        }
        if (view_given(o->device_path)) SET(ret, layer_vlm, device_path, o->device_path);
        if (view_given(o->backing_device)) SET(ret, layer_vlm, backing_device, o->backing_device);
        if (HAS(o, obs_vlm, allocated_kib))
                SET(ret, layer_vlm, allocated_size_kib, (int64_t)o->allocated_kib);
        if (HAS(o, obs_vlm, usable_kib)) SET(ret, layer_vlm, usable_size_kib, (int64_t)o->usable_kib);
}

/* What DRBD says of its connections and of itself. */
static void fill_drbd_observed(const struct obs_drbd *o, struct arena *a, struct drbd_rsc *d)
{
        for (uint32_t i = 0; i < o->peers_n; i++) {
                const struct obs_drbd_peer *p = &o->peers[i];
                if (!view_given(p->connection)) continue;
                struct drbd_conn *conn = objmap_add(&drbd_conn_type, &d->connections, p->name, a);
                SET(conn, drbd_conn, connected, strcmp(p->connection, "Connected") == 0);
                SET(conn, drbd_conn, message, p->connection);
                MARK(d, drbd_rsc, connections);
        }
        if (HAS(o, obs_drbd, promotion_score)) SET(d, drbd_rsc, promotion_score, o->promotion_score);
        if (HAS(o, obs_drbd, may_promote)) SET(d, drbd_rsc, may_promote, o->may_promote);
}

static void fill_drbd_flags(const struct rsc *r, struct arena *a, struct drbd_rsc *d)
{
        static const struct {
                uint64_t bits;
                const char *name;
        } names[] = { { rsc_flag_DISKLESS, "DISKLESS" },
                { rsc_flag_DISK_ADD_REQUESTED, "DISK_ADD_REQUESTED" },
                { rsc_flag_DISK_ADDING, "DISK_ADDING" },
                { rsc_flag_DISK_REMOVE_REQUESTED, "DISK_REMOVE_REQUESTED" },
                { rsc_flag_DISK_REMOVING, "DISK_REMOVING" } };
        const char **flags = arena_alloc(a, (ARRAY_LEN(names) + 1) * sizeof *flags);
        uint32_t n = 0;
        for (size_t i = 0; i < ARRAY_LEN(names); i++)
                if ((r->flags & names[i].bits) != 0) flags[n++] = names[i].name;
        if (r->drbd_client) flags[n++] = "CLIENT";
        if (n != 0) SET_N(d, drbd_rsc, flags, flags, n);
}

static struct drbd_rsc *make_drbd(const struct rsc_cache *c, const struct rsc *r, const struct obs_rsc *o,
        struct layer_vlm *vlms, struct arena *a)
{
        struct drbd_rsc *d = arena_new(a, struct drbd_rsc);
        SET(d, drbd_rsc, drbd_resource_definition, view_drbd_dfn(&c->rd, a));
        if (HAS(r, rsc, drbd_node_id)) SET(d, drbd_rsc, node_id, r->drbd_node_id);
        SET_N(d, drbd_rsc, tcp_ports, r->drbd_tcp_ports, r->drbd_tcp_ports_n);
        if (r->drbd_tcp_ports_n != 0 && !HAS(&c->rd, rsc_dfn, drbd_port))
                SET(d->drbd_resource_definition, rd_layer_data, port, (int64_t)r->drbd_tcp_ports[0]);
        SET(d, drbd_rsc, peer_slots, d->drbd_resource_definition->peer_slots);
        SET(d, drbd_rsc, al_stripes, 1);
        SET(d, drbd_rsc, al_size, 32);
        fill_drbd_flags(r, a, d);
        SET_N(d, drbd_rsc, drbd_volumes, vlms, r->volumes_n);
        if (o != NULL && HAS(o, obs_rsc, drbd)) fill_drbd_observed(o->drbd, a, d);
        return d;
}

#define LAYER_OBJ(T_, member_, list_)                    \
        do {                                             \
                struct T_ *x = arena_new(a, struct T_);  \
                SET_N(x, T_, list_, vlms, r->volumes_n); \
                SET(l, rsc_layer, member_, x);           \
        } while (0)

/* The devices of one kind that a layer has beside the volumes, as a layer of their own. */
static void fill_extra(const struct rsc *r, const struct obs_rsc *o, enum layer_extra extra, struct arena *a,
        struct rsc_layer *ret)
{
        struct storage_rsc *x = arena_new(a, struct storage_rsc);
        struct layer_vlm *vlms = arena_alloc(a, (r->extras_n + 1) * sizeof *vlms);
        uint32_t n = 0;
        for (uint32_t i = 0; i < r->extras_n; i++) {
                uint64_t number = r->extras[i].volume_number;
                if (extra_of(number) != extra) continue;
                struct layer_vlm *v = &vlms[n++];
                SET(v, layer_vlm, volume_number, extra_volume(number));
                for (uint32_t k = 0; o != NULL && k < o->extras_n; k++) {
                        const struct obs_vlm *seen = &o->extras[k];
                        if (seen->volume_number != number) continue;
                        if (view_given(seen->device_path)) SET(v, layer_vlm, device_path, seen->device_path);
                        if (view_given(seen->disk_state)) SET(v, layer_vlm, disk_state, seen->disk_state);
                        if (HAS(seen, obs_vlm, allocated_kib))
                                SET(v, layer_vlm, allocated_size_kib, (int64_t)seen->allocated_kib);
                        if (HAS(seen, obs_vlm, usable_kib))
                                SET(v, layer_vlm, usable_size_kib, (int64_t)seen->usable_kib);
                }
        }
        SET_N(x, storage_rsc, storage_volumes, vlms, n);
        *ret = (struct rsc_layer){ 0 };
        SET(ret, rsc_layer, type, "STORAGE");
        SET(ret, rsc_layer, resource_name_suffix, layer_extra_desc(extra)->suffix);
        SET(ret, rsc_layer, storage, x);
}

/* Below a layer: the layer below, and what it has beside that. */
static void put_children(const struct rsc *r, const struct obs_rsc *o, int type,
        const struct rsc_layer *below, struct arena *a, struct rsc_layer *l)
{
        struct rsc_layer *list = arena_alloc(a, (EXTRA_N + 1) * sizeof *list);
        uint32_t n = 0;
        if (below != NULL) list[n++] = *below;
        for (unsigned e = 0; r->extras_n != 0 && e < EXTRA_N; e++)
                if ((int)layer_extra_desc((enum layer_extra)e)->layer == type)
                        fill_extra(r, o, (enum layer_extra)e, a, &list[n++]);
        if (n != 0) SET_N(l, rsc_layer, children, list, n);
}

/* One level of the tree for the i-th layer of the stack, with those below it. */
static struct rsc_layer *make_layers(
        const struct rsc_cache *c, const struct rsc *r, const struct obs_rsc *o, struct arena *a)
{
        static const char *const fallback[] = { "STORAGE" };
        const char *const *stack = c->rd.layer_stack_n != 0 ? c->rd.layer_stack : fallback;
        uint32_t n = c->rd.layer_stack_n != 0 ? c->rd.layer_stack_n : 1;
        struct rsc_layer *below = NULL;
        for (uint32_t i = n; i-- > 0;) {
                struct rsc_layer *l = arena_new(a, struct rsc_layer);
                struct layer_vlm *vlms = arena_alloc(a, (r->volumes_n + 1) * sizeof *vlms);
                for (uint32_t k = 0; k < r->volumes_n; k++)
                        fill_layer_vlm(c, stack[i], r, &r->volumes[k],
                                find_obs(o, r->volumes[k].volume_number), a, &vlms[k]);
                int type = enum_parse(&layer_type_enum, stack[i]);
                SET(l, rsc_layer, type, stack[i]);
                put_children(r, o, type, below, a, l);
                if (type == layer_type_DRBD) SET(l, rsc_layer, drbd, make_drbd(c, r, o, vlms, a));
                else if (type == layer_type_LUKS) LAYER_OBJ(luks_rsc, luks, luks_volumes);
                else if (type == layer_type_NVME) LAYER_OBJ(nvme_rsc, nvme, nvme_volumes);
                else if (type == layer_type_WRITECACHE)
                        LAYER_OBJ(writecache_rsc, writecache, writecache_volumes);
                else if (type == layer_type_CACHE) LAYER_OBJ(cache_rsc, cache, cache_volumes);
                else if (type == layer_type_BCACHE) LAYER_OBJ(bcache_rsc, bcache, bcache_volumes);
                else LAYER_OBJ(storage_rsc, storage, storage_volumes);
                below = l;
        }
        return below;
}

/* Of one volume towards each peer. */
static void fill_replication(const struct obs_drbd *o, uint64_t number, struct arena *a, struct vlm_state *s)
{
        for (uint32_t i = 0; i < o->peers_n; i++)
                for (uint32_t k = 0; k < o->peers[i].volumes_n; k++) {
                        const struct obs_drbd_peer_vlm *p = &o->peers[i].volumes[k];
                        if (p->volume_number != number || !view_given(p->replication)) continue;
                        struct repl_state *r =
                                objmap_add(&repl_state_type, &s->replication_states, o->peers[i].name, a);
                        SET(r, repl_state, replication_state, p->replication);
                        if (HAS(p, obs_drbd_peer_vlm, done))
                                SET(r, repl_state, done_percentage, (double)p->done / 100);
                        MARK(s, vlm_state, replication_states);
                }
}

static void fill_vlm(const struct rsc_cache *c, const struct rsc *rsc, const struct vlm *v,
        const struct obs_rsc *obs, struct arena *a, struct vlm_view *ret)
{
        const struct obs_vlm *o = find_obs(obs, v->volume_number);
        *ret = (struct vlm_view){ 0 };
        SET(ret, vlm_view, volume_number, v->volume_number);
        if (view_given(v->storage_pool_name)) SET(ret, vlm_view, storage_pool_name, v->storage_pool_name);
        SET(ret, vlm_view, provider_kind, enum_name(&provider_kind_enum, v->provider_kind));
        SET(ret, vlm_view, props, v->props);
        SET(ret, vlm_view, flags, v->flags);
        SET(ret, vlm_view, uuid, v->uuid);
        if (o != NULL) {
                if (view_given(o->device_path)) SET(ret, vlm_view, device_path, o->device_path);
                if (HAS(o, obs_vlm, allocated_kib))
                        SET(ret, vlm_view, allocated_size_kib, (int64_t)o->allocated_kib);
                if (HAS(o, obs_vlm, usable_kib)) SET(ret, vlm_view, usable_size_kib, (int64_t)o->usable_kib);
                SET_N(ret, vlm_view, reports, o->reports, o->reports_n);
                if (view_given(o->disk_state)) {
                        struct vlm_state *s = arena_new(a, struct vlm_state);
                        SET(s, vlm_state, disk_state, o->disk_state);
                        if (HAS(obs, obs_rsc, drbd)) fill_replication(obs->drbd, v->volume_number, a, s);
                        SET(ret, vlm_view, state, s);
                }
        }
        uint32_t n = c->rd.layer_stack_n;
        struct vlm_layer *layers = arena_alloc(a, (n + 1) * sizeof *layers);
        for (uint32_t i = 0; i < n; i++) {
                struct layer_vlm *d = arena_new(a, struct layer_vlm);
                fill_layer_vlm(c, c->rd.layer_stack[i], rsc, v, o, a, d);
                SET(&layers[i], vlm_layer, type, c->rd.layer_stack[i]);
                SET(&layers[i], vlm_layer, data, d);
        }
        SET_N(ret, vlm_view, layer_data_list, layers, n);
}

/* ---- resources ---- */

/* What the satellite says about this very resource; one of the same name that was there before does not
 * count. */
static const struct obs_rsc *observe(struct view *v, const struct rsc *r, struct arena *a)
{
        struct obs_rsc key = { .node_name = r->node_name, .rsc_name = r->rsc_name };
        struct obs_rsc *o = arena_new(a, struct obs_rsc);
        if (!view_observed(v, &obs_rsc_type, &key, a, o)) return NULL;
        return o->uuid == NULL || r->uuid == NULL || strcmp(o->uuid, r->uuid) == 0 ? o : NULL;
}

/* What is wrong with the resource as a whole is told with its first volume, as LINSTOR has reports of volumes only. */
static void put_reports(const struct view *v, const struct rsc *r, const struct obs_rsc *o, struct arena *a,
        struct vlm_view *vlm)
{
        uint32_t n = vlm->reports_n;
        struct api_rc *list = arena_alloc(a, (n + o->reports_n + VIEW_DRBD_REPORTS) * sizeof *list);
        if (n > 0) memcpy(list, vlm->reports, n * sizeof *list);
        if (o->reports_n > 0) memcpy(list + n, o->reports, o->reports_n * sizeof *list);
        n += o->reports_n;
        if (HAS(o, obs_rsc, drbd)) n = view_drbd_reports(v, r, o->drbd, a, list, n);
        if (n > vlm->reports_n) SET_N(vlm, vlm_view, reports, list, n);
}

static void fill_rsc(
        struct rsc_cache *c, const struct rsc *r, bool with_volumes, struct arena *a, struct rsc_view *ret)
{
        struct node n = { .name = r->node_name };
        cache_load(c, r->rsc_name);
        const struct obs_rsc *o = observe(c->v, r, a);
        if (!view_row(c->v, &node_type, &n, a, &n)) n = (struct node){ 0 };
        *ret = (struct rsc_view){ 0 };
        SET(ret, rsc_view, name, r->rsc_name);
        SET(ret, rsc_view, node_name, r->node_name);
        SET(ret, rsc_view, props, r->props);
        SET(ret, rsc_view, flags, r->flags);
        SET(ret, rsc_view, uuid, r->uuid);
        SET(ret, rsc_view, create_timestamp, r->create_timestamp);
        const struct level levels[] = { { "R", &r->props, false }, { "RD", &c->rd.props, false },
                { "RG", &c->rg.props, false }, { "N", &n.props, true }, { "C", c->ctrl, true } };
        fill_effective(levels, ARRAY_LEN(levels), a, ret);
        SET(ret, rsc_view, layer_object, make_layers(c, r, o, a));
        struct rsc_state *s = arena_new(a, struct rsc_state);
        if (o != NULL) {
                SET(s, rsc_state, in_use, o->in_use);
                SET(ret, rsc_view, state, s);
        }
        if (!with_volumes) return;
        struct vlm_view *vlms = arena_alloc(a, (r->volumes_n + 1) * sizeof *vlms);
        for (uint32_t i = 0; i < r->volumes_n; i++) fill_vlm(c, r, &r->volumes[i], o, a, &vlms[i]);
        if (o != NULL && r->volumes_n > 0) put_reports(c->v, r, o, a, &vlms[0]);
        SET_N(ret, rsc_view, volumes, vlms, r->volumes_n);
}

static bool pool_admitted(const struct view *v, const struct rsc *r)
{
        if (query_admits(v->query, "storage_pools", NULL)) return true; /* no such filter */
        for (uint32_t i = 0; i < r->volumes_n; i++)
                if (query_admits(v->query, "storage_pools", r->volumes[i].storage_pool_name)) return true;
        return false;
}

static void list_rscs(struct view *v, const struct rsc *key, unsigned n_fields, bool with_volumes)
{
        struct view_list l;
        struct rsc_cache c;
        struct rsc r;
        struct rsc_view out;
        cache_open(&c, v);
        list_open(&l, v, &rsc_type, key, n_fields);
        while (list_next(&l, &r)) {
                if (!query_admits(v->query, "nodes", r.node_name) ||
                        !query_admits(v->query, "resources", r.rsc_name))
                        continue;
                if (!pool_admitted(v, &r) || !view_props_match(v, &r.props) || !list_admits(&l)) continue;
                fill_rsc(&c, &r, with_volumes, &l.arena, &out);
                list_put(&l, &rsc_view_type, &out);
        }
        list_close(&l);
        cache_close(&c);
}

void view_rsc_view(struct view *v) { list_rscs(v, &(struct rsc){ 0 }, 0, true); }

void view_rsc_list(struct view *v)
{
        struct rsc_dfn rd;
        if (view_need_rd(v, v->params[0], &rd)) list_rscs(v, &(struct rsc){ .rsc_name = rd.name }, 1, false);
}

static bool need_rsc(struct view *v, struct rsc *ret)
{
        struct rsc_dfn rd;
        struct node n;
        if (!view_need_rd(v, v->params[0], &rd) || !view_need_node(v, v->params[1], &n)) return false;
        struct rsc key = { .rsc_name = rd.name, .node_name = n.name };
        if (view_row(v, &rsc_type, &key, v->arena, ret)) return true;
        view_refuse(v, RC_FAIL_NOT_FOUND_RSC, "Resource '%s' is not on node '%s'.", rd.name, n.name);
        return false;
}

void view_rsc_get(struct view *v)
{
        struct rsc_cache c;
        struct rsc r;
        struct rsc_view out;
        if (!need_rsc(v, &r)) return;
        cache_open(&c, v);
        fill_rsc(&c, &r, false, v->arena, &out);
        view_obj(v, &rsc_view_type, &out);
        cache_close(&c);
}

/* ---- volumes ---- */

void view_vlm_list(struct view *v)
{
        struct rsc_cache c;
        struct rsc r;
        if (!need_rsc(v, &r)) return;
        cache_open(&c, v);
        cache_load(&c, r.rsc_name);
        const struct obs_rsc *o = observe(v, &r, v->arena);
        struct vlm_view *vlms = arena_alloc(v->arena, (r.volumes_n + 1) * sizeof *vlms);
        for (uint32_t i = 0; i < r.volumes_n; i++) fill_vlm(&c, &r, &r.volumes[i], o, v->arena, &vlms[i]);
        uint64_t limit = query_u64(v->query, "limit");
        uint32_t from = (uint32_t)MIN(query_u64(v->query, "offset"), r.volumes_n), left = r.volumes_n - from;
        if (limit != 0 && limit < left) left = (uint32_t)limit;
        const struct vlm_view *page = left != 0 ? &vlms[from] : NULL; /* offset past the end: an empty list */
        enc_json_list(&vlm_view_type, page, left, JSON_API, v->out);
        cache_close(&c);
}

void view_vlm_get(struct view *v)
{
        struct rsc_cache c;
        struct rsc r;
        struct vlm_view out;
        uint64_t number;
        if (!need_rsc(v, &r)) return;
        for (uint32_t i = 0; view_number(v->params[2], &number) && i < r.volumes_n; i++) {
                if (r.volumes[i].volume_number != number) continue;
                cache_open(&c, v);
                cache_load(&c, r.rsc_name);
                fill_vlm(&c, &r, &r.volumes[i], observe(v, &r, v->arena), v->arena, &out);
                view_obj(v, &vlm_view_type, &out);
                cache_close(&c);
                return;
        }
        view_refuse(v, RC_FAIL_NOT_FOUND_VLM, "Resource '%s' on node '%s' has no volume %s.", r.rsc_name,
                r.node_name, v->params[2]);
}

/* ---- is everything up to date? ---- */

static bool is_synced(struct view *v, const struct rsc *r, struct arena *a)
{
        const struct obs_rsc *o = observe(v, r, a);
        if ((r->flags & rsc_flag_DISKLESS) != 0) return true;
        for (uint32_t i = 0; i < r->volumes_n; i++) {
                const struct obs_vlm *ov = find_obs(o, r->volumes[i].volume_number);
                if (ov == NULL || !view_given(ov->disk_state)) return false;
                if (strcasecmp(ov->disk_state, "UpToDate") != 0 &&
                        strcasecmp(ov->disk_state, "Created") != 0 &&
                        strcasecmp(ov->disk_state, "Resized") != 0)
                        return false;
        }
        return true;
}

void view_rd_sync_status(struct view *v)
{
        struct rsc_dfn rd;
        struct rsc r;
        struct row_scan s;
        struct sync_status_view out = { 0 };
        bool synced = true;
        if (!view_need_rd(v, v->params[0], &rd)) return;
        struct rsc key = { .rsc_name = rd.name };
        row_scan_open(&s, v->tx, &rsc_type, &key, 1);
        while (synced && row_scan_next(&s, v->arena, &r)) synced = is_synced(v, &r, v->arena);
        row_scan_close(&s);
        SET(&out, sync_status_view, synced_on_all, synced);
        view_obj(v, &sync_status_view_type, &out);
}
