/* Builders of sat_wanted, see sat_wanted.h. */
#include "controller/sat/sat_wanted.h"

#include <string.h>
#include <strings.h>

#include "controller/op/sat_drbd.h"
#include "controller/sat/sat_nvme.h"
#include "controller/sat/sat_props.h"
#include "wire/def/layer_extra.h"

/* Grows by doubling in the arena; the old array is left to it. Aborts at the arena's limit. */
static void *grown(struct arena *a, void *array, uint32_t n, size_t size)
{
        if (n != 0 && (n & (n - 1)) != 0) return array; /* room up to the next power of two */
        uint32_t cap = n == 0 ? 1 : 2 * n;
        void *more = arena_array_try(a, cap, size);
        if (more != NULL && n != 0) memcpy(more, array, n * size);
        return more;
}

/* Memory that only depends on what is stored: running out of it is an error of the whole message. */
#define PUSH(a, array, n, elem)                                       \
        ({                                                            \
                void *p_ = grown((a), (array), (n), sizeof *(array)); \
                if (p_ != NULL) {                                     \
                        (array) = p_;                                 \
                        (array)[(n)++] = (elem);                      \
                }                                                     \
                p_ != NULL;                                           \
        })

/* ---- head: node, properties, pools ---- */

static int put_pools(struct tx *tx, const struct node *node, const struct sat_props *props, struct arena *a,
        struct sat_wanted *w)
{
        struct row_scan s;
        struct stor_pool p, key = { .node_name = node->name };
        bool fits = true;
        row_scan_open(&s, tx, &stor_pool_type, &key, 1);
        while (fits && row_scan_next(&s, a, &p)) {
                struct sat_pool sp = { 0 };
                SET(&sp, sat_pool, storage_pool_name, p.storage_pool_name);
                SET(&sp, sat_pool, provider_kind, p.provider_kind);
                SET(&sp, sat_pool, props, sat_props_pool(tx, props, &p, a));
                if (p.uuid != NULL) SET(&sp, sat_pool, uuid, p.uuid);
                SET(&sp, sat_pool, revision, p.revision);
                fits = PUSH(a, w->pools, w->pools_n, sp);
        }
        row_scan_close(&s);
        MARK(w, sat_wanted, pools);
        return fits ? tx->err : E_LIMIT;
}

/* Pools that are to be made out of disks. */
static int put_disk_pools(struct tx *tx, const char *node, struct arena *a, struct sat_wanted *w)
{
        struct row_scan s;
        struct disk_pool p, key = { .node_name = node };
        bool fits = true;
        row_scan_open(&s, tx, &disk_pool_type, &key, 1);
        while (fits && row_scan_next(&s, a, &p)) {
                struct sat_disk_pool x = { 0 };
                if (p.phase == disk_pool_phase_FAILED) continue;
                SET(&x, sat_disk_pool, uuid, p.uuid);
                SET(&x, sat_disk_pool, place, p.place);
                SET(&x, sat_disk_pool, provider_kind, p.provider_kind);
                SET(&x, sat_disk_pool, phase, p.phase);
                SET_N(&x, sat_disk_pool, devices, p.devices, p.devices_n);
                SET_N(&x, sat_disk_pool, pv_arguments, p.pv_arguments, p.pv_arguments_n);
                SET_N(&x, sat_disk_pool, vg_arguments, p.vg_arguments, p.vg_arguments_n);
                SET_N(&x, sat_disk_pool, lv_arguments, p.lv_arguments, p.lv_arguments_n);
                SET_N(&x, sat_disk_pool, zpool_arguments, p.zpool_arguments, p.zpool_arguments_n);
                fits = PUSH(a, w->disk_pools, w->disk_pools_n, x);
        }
        row_scan_close(&s);
        MARK(w, sat_wanted, disk_pools);
        return fits ? tx->err : E_LIMIT;
}

static int put_files(struct tx *tx, struct arena *a, struct sat_wanted *w)
{
        struct row_scan s;
        struct ext_file f;
        bool fits = true;
        row_scan_open(&s, tx, &ext_file_type, NULL, 0);
        while (fits && row_scan_next(&s, a, &f)) fits = PUSH(a, w->files, w->files_n, f);
        row_scan_close(&s);
        MARK(w, sat_wanted, files);
        return fits ? tx->err : E_LIMIT;
}

static bool put_controller(
        struct arena *a, struct sat_wanted *w, const char *name, const char *fingerprint, bool removed)
{
        struct sat_controller c = { 0 };
        if (fingerprint == NULL || fingerprint[0] == '\0') return true;
        SET(&c, sat_controller, name, name != NULL ? name : "");
        SET(&c, sat_controller, fingerprint, fingerprint);
        if (removed) SET(&c, sat_controller, removed, true);
        return PUSH(a, w->controllers, w->controllers_n, c);
}

static int put_controllers(struct tx *tx, struct arena *a, struct sat_wanted *w)
{
        struct row_scan s;
        struct member m;
        struct removed_member r;
        bool fits = true;
        row_scan_open(&s, tx, &member_type, NULL, 0);
        while (fits && row_scan_next(&s, a, &m))
                if (m.role == cert_role_CONTROLLER) fits = put_controller(a, w, m.name, m.fingerprint, false);
        row_scan_close(&s);
        row_scan_open(&s, tx, &removed_member_type, NULL, 0);
        while (fits && row_scan_next(&s, a, &r)) fits = put_controller(a, w, r.name, r.fingerprint, true);
        row_scan_close(&s);
        MARK(w, sat_wanted, controllers);
        return fits ? tx->err : E_LIMIT;
}

static int put_head(struct tx *tx, const struct sat_wanted_args *args, struct sat_props *props,
        struct arena *a, struct sat_wanted *w)
{
        struct node node = { 0 }, key = { .name = args->node_name };
        struct cluster cluster = { 0 };
        int err = row_get(tx, &node_type, &key, a, &node);
        if (err == 0) err = row_get_single(tx, &cluster_type, a, &cluster);
        if (err == 0) err = sat_props_node(tx, &node, a, props);
        if (err != 0) return err;
        *w = (struct sat_wanted){ 0 };
        SET(w, sat_wanted, term, args->term);
        SET(w, sat_wanted, revision, args->revision);
        SET(w, sat_wanted, cluster_uuid, cluster.uuid != NULL ? cluster.uuid : "");
        if (node.uuid != NULL) SET(w, sat_wanted, node_uuid, node.uuid);
        SET(w, sat_wanted, props, props->node);
        if (node.log_level != NULL) SET(w, sat_wanted, log_level, node.log_level);
#ifdef NEXT_LEVEL
        if (node.next_note != NULL) SET(w, sat_wanted, next_note, node.next_note);
#endif
        err = put_controllers(tx, a, w);
        if (err == 0) err = put_disk_pools(tx, node.name, a, w);
        return err != 0 ? err : put_pools(tx, &node, props, a, w);
}

/* ---- resources ---- */

static const char *backing_id(
        const struct rsc *r, uint64_t volume_number, const struct vlm_dfn *vd, struct arena *a)
{
        const char *override = strmap_get(&vd->props, "OverrideVlmId");
        if (override != NULL && override[0] != '\0') return override;
        return arena_printf(a, "%s_%05llu", r->rsc_name, (unsigned long long)volume_number);
}

static int put_volume(struct tx *tx, const struct sat_props *props, const struct rsc_dfn *rd,
        const struct rsc *r, const struct vlm *v, struct arena *a, struct sat_rsc *sr)
{
        struct vlm_dfn vd, key = { .rsc_name = r->rsc_name, .volume_number = v->volume_number };
        int err = row_get(tx, &vlm_dfn_type, &key, a, &vd);
        if (err == E_NOT_FOUND) return 0; /* the volume is on its way out */
        if (err != 0) return err;
        struct sat_vlm sv = { 0 };
        SET(&sv, sat_vlm, volume_number, v->volume_number);
        SET(&sv, sat_vlm, size_kib, vd.size_kib);
        if (v->storage_pool_name != NULL) SET(&sv, sat_vlm, storage_pool_name, v->storage_pool_name);
        SET(&sv, sat_vlm, provider_kind, v->provider_kind);
        SET(&sv, sat_vlm, props, sat_props_vlm(tx, props, rd, &vd, r, v, a));
        struct strmap limits = sat_props_throttle(tx, rd, &vd, r, v, a);
        if (limits.n > 0) SET(&sv, sat_vlm, throttle, limits);
        if (HAS(&vd, vlm_dfn, drbd_minor)) SET(&sv, sat_vlm, drbd_minor, vd.drbd_minor);
        if ((vd.flags & vlm_dfn_flag_RESIZE_SHRINK) == vlm_dfn_flag_RESIZE_SHRINK)
                SET(&sv, sat_vlm, may_shrink, true);
        SET(&sv, sat_vlm, backing_id, backing_id(r, v->volume_number, &vd, a));
        if (v->uuid != NULL) SET(&sv, sat_vlm, uuid, v->uuid);
        if (v->source_id != NULL) {
                SET(&sv, sat_vlm, source_id, v->source_id);
                SET(&sv, sat_vlm, source_uuid, v->source_uuid);
                if (v->in_place) SET(&sv, sat_vlm, in_place, true);
                if (v->in_place && HAS(v, vlm, same_uuid)) SET(&sv, sat_vlm, same_uuid, v->same_uuid);
                if (HAS(v, vlm, source_layers) &&
                        (rd->flags & (rsc_dfn_flag_CLONING | rsc_dfn_flag_FAILED)) != 0)
                        SET_N(&sv, sat_vlm, source_layers, v->source_layers, v->source_layers_n);
        }
        return PUSH(a, sr->volumes, sr->volumes_n, sv) ? 0 : E_LIMIT;
}

/* Devices that layers have beside the volumes; size 0 for those that are to go. */
static bool put_extras(const char *rsc_name, const struct vlm *extras, uint32_t n, bool gone, struct arena *a,
        struct sat_vlm **ret, uint32_t *ret_n)
{
        for (uint32_t i = 0; i < n; i++) {
                const struct vlm *v = &extras[i];
                const struct layer_extra_desc *d = layer_extra_desc(extra_of(v->volume_number));
                struct sat_vlm sv = { 0 };
                SET(&sv, sat_vlm, volume_number, v->volume_number);
                SET(&sv, sat_vlm, size_kib, gone ? 0 : v->size_kib);
                SET(&sv, sat_vlm, storage_pool_name, v->storage_pool_name);
                SET(&sv, sat_vlm, provider_kind, v->provider_kind);
                SET(&sv, sat_vlm, backing_id,
                        arena_printf(a, "%s%s_%05llu", rsc_name, d != NULL ? d->suffix : "",
                                (unsigned long long)extra_volume(v->volume_number)));
                SET(&sv, sat_vlm, uuid, v->uuid);
                if (!PUSH(a, *ret, *ret_n, sv)) return false;
        }
        return true;
}

static void put_stack(const struct rsc_dfn *rd, struct arena *a, struct sat_rsc *sr)
{
        if (rd->layer_stack_n > 0) {
                SET_N(sr, sat_rsc, layer_stack, rd->layer_stack, rd->layer_stack_n);
                return;
        }
        const char **stack = arena_alloc(a, sizeof *stack);
        stack[0] = enum_name(&layer_type_enum, layer_type_STORAGE);
        SET_N(sr, sat_rsc, layer_stack, stack, 1);
}

static int put_rsc(struct tx *tx, const struct sat_props *props, const struct rsc *r, struct arena *a,
        struct sat_wanted *w)
{
        struct rsc_dfn rd, key = { .name = r->rsc_name };
        int err = row_get(tx, &rsc_dfn_type, &key, a, &rd);
        if (err == E_NOT_FOUND) return tx_fail(tx, E_CORRUPT); /* a resource without definition */
        if (err != 0) return err;
        struct sat_rsc sr = { 0 };
        SET(&sr, sat_rsc, rsc_name, r->rsc_name);
        SET(&sr, sat_rsc, uuid, r->uuid != NULL ? r->uuid : "");
        SET(&sr, sat_rsc, revision, r->revision);
        SET(&sr, sat_rsc, flags, r->flags);
        put_stack(&rd, a, &sr);
        SET(&sr, sat_rsc, props, sat_props_rsc(tx, props, &rd, r, a));
        const char *hold = sat_wanted_hold(tx, r->rsc_name, a);
        if (hold != NULL) SET(&sr, sat_rsc, hold, hold);
        for (uint32_t i = 0; i < r->volumes_n && err == 0; i++)
                err = put_volume(tx, props, &rd, r, &r->volumes[i], a, &sr);
        if (err == 0) err = sat_drbd_put(tx, &rd, r, a, &sr);
        if (err == 0) err = sat_nvme_put(tx, &rd, r, a, &sr);
        if (err != 0) return err;
        if (!put_extras(r->rsc_name, r->extras, r->extras_n, false, a, &sr.extras, &sr.extras_n))
                return E_LIMIT;
        if (sr.extras_n != 0) MARK(&sr, sat_rsc, extras);
        MARK(&sr, sat_rsc, volumes);
        MARK(w, sat_wanted, resources);
        return PUSH(a, w->resources, w->resources_n, sr) ? 0 : E_LIMIT;
}

/* Snapshots of the node, of one resource name or all (NULL). *ret_any: there are some. */
static int put_snaps(struct tx *tx, const char *node, const char *rsc, struct arena *a, struct sat_wanted *w,
        bool *ret_any)
{
        struct row_scan s;
        struct idx_snap_node at, key = { .node_name = node, .rsc_name = rsc };
        int err = 0;
        MARK(w, sat_wanted, snapshots);
        row_scan_open(&s, tx, &idx_snap_node_type, &key, rsc == NULL ? 1 : 2);
        while (err == 0 && row_scan_next(&s, a, &at)) {
                struct sat_snap x;
                err = sat_wanted_snap(tx, at.rsc_name, at.snap_name, node, a, &x);
                if (err == 0 && !PUSH(a, w->snapshots, w->snapshots_n, x)) err = E_LIMIT;
                *ret_any = true;
        }
        row_scan_close(&s);
        return err != 0 ? err : tx->err;
}

static int put_gone(const struct tombstone *t, struct arena *a, struct sat_wanted *w)
{
        struct sat_gone g = { 0 };
        SET(&g, sat_gone, rsc_name, t->rsc_name);
        SET(&g, sat_gone, uuid, t->uuid);
        SET(&g, sat_gone, revision, t->revision);
        if (t->layer_stack_n > 0) SET_N(&g, sat_gone, layer_stack, t->layer_stack, t->layer_stack_n);
        for (uint32_t i = 0; i < t->volumes_n; i++) {
                const struct vlm *v = &t->volumes[i];
                struct sat_vlm sv = { 0 };
                SET(&sv, sat_vlm, volume_number, v->volume_number);
                SET(&sv, sat_vlm, size_kib, 0);
                if (v->storage_pool_name != NULL) SET(&sv, sat_vlm, storage_pool_name, v->storage_pool_name);
                SET(&sv, sat_vlm, provider_kind, v->provider_kind);
                const char *override =
                        t->snap_name != NULL ? v->source_id : strmap_get(&v->props, "OverrideVlmId");
                SET(&sv, sat_vlm, backing_id,
                        override != NULL ? override
                                         : arena_printf(a, "%s_%05llu", t->rsc_name,
                                                   (unsigned long long)v->volume_number));
                if (v->uuid != NULL) SET(&sv, sat_vlm, uuid, v->uuid);
                if (!PUSH(a, g.volumes, g.volumes_n, sv)) return E_LIMIT;
        }
        if (!put_extras(t->rsc_name, t->extras, t->extras_n, true, a, &g.extras, &g.extras_n)) return E_LIMIT;
        if (g.extras_n != 0) MARK(&g, sat_gone, extras);
        MARK(&g, sat_gone, volumes);
        MARK(w, sat_wanted, gone);
        return PUSH(a, w->gone, w->gone_n, g) ? 0 : E_LIMIT;
}

/* Tombstones of the node, of one resource name (rsc_name) or all (NULL). */
static int put_tombstones(
        struct tx *tx, const char *node_name, const char *rsc_name, struct arena *a, struct sat_wanted *w)
{
        struct row_scan s;
        struct tombstone t, key = { .node_name = node_name, .rsc_name = rsc_name };
        int err = 0;
        row_scan_open(&s, tx, &tombstone_type, &key, rsc_name == NULL ? 1 : 2);
        while (err == 0 && row_scan_next(&s, a, &t)) err = put_gone(&t, a, w);
        row_scan_close(&s);
        return err != 0 ? err : tx->err;
}

int sat_wanted_full(
        struct tx *tx, const struct sat_wanted_args *args, struct arena *a, struct sat_wanted *ret)
{
        struct sat_props props;
        int err = put_head(tx, args, &props, a, ret);
        if (err != 0) return err;
        struct row_scan s;
        struct idx_rsc_node at, key = { .node_name = args->node_name };
        row_scan_open(&s, tx, &idx_rsc_node_type, &key, 1);
        while (err == 0 && row_scan_next(&s, a, &at)) {
                struct rsc r, rsc_key = { .rsc_name = at.rsc_name, .node_name = args->node_name };
                err = row_get(tx, &rsc_type, &rsc_key, a, &r);
                if (err == 0) err = put_rsc(tx, &props, &r, a, ret);
        }
        row_scan_close(&s);
        if (err == E_NOT_FOUND) err = tx_fail(tx, E_CORRUPT); /* the index and the table differ */
        if (err == 0) err = put_tombstones(tx, args->node_name, NULL, a, ret);
        if (err == 0) err = put_files(tx, a, ret);
        bool any;
        if (err == 0) err = put_snaps(tx, args->node_name, NULL, a, ret, &any);
        return err != 0 ? err : tx->err;
}

static bool gone_has(const struct sat_wanted *w, const char *uuid)
{
        for (uint32_t i = 0; i < w->gone_n; i++)
                if (strcmp(w->gone[i].uuid, uuid) == 0) return true;
        return false;
}

static bool seen_before(const struct sat_dirty *d, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++)
                if (strcmp(d->names[i].rsc_name, d->names[n].rsc_name) == 0) return true;
        return false;
}

/* Tombstones of d->names[first]'s name that are no longer there. *ret_any: there are some. */
static int put_confirmed(
        const struct sat_dirty *d, uint32_t first, struct arena *a, struct sat_wanted *w, bool *ret_any)
{
        for (uint32_t i = first; i < d->names_n; i++) {
                const struct sat_dirty_name *n = &d->names[i];
                if (n->uuid == NULL || strcmp(n->rsc_name, d->names[first].rsc_name) != 0) continue;
                if (gone_has(w, n->uuid)) continue;
                if (!PUSH(a, w->confirmed, w->confirmed_n, arena_strdup(a, n->uuid))) return E_LIMIT;
                MARK(w, sat_wanted, confirmed);
                *ret_any = true;
        }
        return 0;
}

/* One changed name: the resource as it is now, and the tombstones that say why it is not there. */
static int put_changed(struct tx *tx, const struct sat_wanted_args *args, const struct sat_props *props,
        const struct sat_dirty *d, uint32_t first, struct arena *a, struct sat_wanted *w)
{
        const char *name = d->names[first].rsc_name;
        struct rsc r, key = { .rsc_name = name, .node_name = args->node_name };
        uint32_t gone_before = w->gone_n;
        int err = put_tombstones(tx, args->node_name, name, a, w);
        if (err != 0) return err;
        bool explained = w->gone_n > gone_before;
        err = put_confirmed(d, first, a, w, &explained);
        if (err == 0) err = put_snaps(tx, args->node_name, name, a, w, &explained);
        if (err == 0) err = row_get(tx, &rsc_type, &key, a, &r);
        if (err == 0) return put_rsc(tx, props, &r, a, w);
        if (err != E_NOT_FOUND) return err;
        return explained ? 0 : E_STALE;
}

int sat_wanted_diff(struct tx *tx, const struct sat_wanted_args *args, const struct sat_dirty *d,
        struct arena *a, struct sat_wanted *ret)
{
        if (d->all) return E_STALE;
        struct sat_props props;
        int err = put_head(tx, args, &props, a, ret);
        if (err != 0) return err;
        SET(ret, sat_wanted, base_revision, args->base_revision);
        if (d->files) err = put_files(tx, a, ret);
        for (uint32_t i = 0; i < d->names_n && err == 0; i++)
                if (!seen_before(d, i)) err = put_changed(tx, args, &props, d, i, a, ret);
        return err != 0 ? err : tx->err;
}

/* ---- keys of applied rows ---- */

struct key_reader {
        struct blob key;
        size_t at;
};
static const char *key_str(struct key_reader *k)
{
        if (k->at >= k->key.n) return NULL;
        const char *s = (const char *)k->key.p + k->at;
        const char *end = memchr(s, '\0', k->key.n - k->at);
        if (end == NULL) return NULL;
        k->at += (size_t)(end - s) + 1;
        return s;
}

static void tell(sat_change_fn *fn, void *arg, enum sat_change_kind kind, const char *node, const char *rsc,
        const char *uuid)
{
        fn(arg, &(struct sat_change){ .kind = kind, .node_name = node, .rsc_name = rsc, .uuid = uuid });
}

/* Every node that has a resource of this name. */
static void tell_nodes_of(struct tx *tx, const char *rsc_name, struct arena *a, sat_change_fn *fn, void *arg)
{
        struct row_scan s;
        struct rsc r, key = { .rsc_name = rsc_name };
        row_scan_open(&s, tx, &rsc_type, &key, 1);
        while (row_scan_next(&s, a, &r)) tell(fn, arg, SAT_CHANGE_RSC, r.node_name, rsc_name, NULL);
        row_scan_close(&s);
}

static void tell_group(struct tx *tx, const char *group, struct arena *a, sat_change_fn *fn, void *arg)
{
        struct row_scan s;
        struct idx_grp_rsc_dfn at, key = { .rsc_grp_name = group };
        row_scan_open(&s, tx, &idx_grp_rsc_dfn_type, &key, 1);
        while (row_scan_next(&s, a, &at)) tell_nodes_of(tx, at.rsc_name, a, fn, arg);
        row_scan_close(&s);
}

void sat_wanted_key(struct tx *tx, struct blob key, struct arena *a, sat_change_fn *fn, void *arg)
{
        struct key_reader k = { .key = key, .at = 2 };
        unsigned type = row_type_id(key);
        if (type == ctrl_props_type.id || type == cluster_type.id) {
                tell(fn, arg, SAT_CHANGE_ALL, NULL, NULL, NULL);
                return;
        }
        if (type == member_type.id || type == removed_member_type.id) {
                tell(fn, arg, SAT_CHANGE_HEAD, NULL, NULL, NULL);
                return;
        }
        const char *first = key_str(&k);
        if (first == NULL) return;
        if (type == rsc_dfn_type.id || type == vlm_dfn_type.id) {
                tell_nodes_of(tx, first, a, fn, arg);
        } else if (type == rsc_grp_type.id || type == vlm_grp_type.id) {
                tell_group(tx, first, a, fn, arg);
        } else if (type == node_type.id) {
                tell(fn, arg, SAT_CHANGE_ALL, first, NULL, NULL);
        } else if (type == stor_pool_type.id || type == disk_pool_type.id) {
                tell(fn, arg, SAT_CHANGE_HEAD, first, NULL, NULL);
        } else if (type == ext_file_type.id) {
                tell(fn, arg, SAT_CHANGE_FILES, NULL, NULL, NULL);
        } else if (type == stor_pool_dfn_type.id) {
                tell(fn, arg, SAT_CHANGE_HEAD, NULL, NULL, NULL);
        } else if (type == rsc_type.id || type == tombstone_type.id) {
                const char *second = key_str(&k), *third = key_str(&k);
                if (second == NULL) return;
                if (type == rsc_type.id) tell(fn, arg, SAT_CHANGE_RSC, second, first, NULL);
                else if (third != NULL) tell(fn, arg, SAT_CHANGE_TOMBSTONE, first, second, third);
        } else if (type == snap_type.id) {
                const char *second = key_str(&k), *third = key_str(&k);
                if (second != NULL && third != NULL) tell(fn, arg, SAT_CHANGE_RSC, third, first, NULL);
        }
}

int sat_wanted_entry(struct tx *tx, struct blob data, struct arena *a, sat_change_fn *fn, void *arg)
{
        struct writeset ws;
        if (data.n == 0) return 0;
        int err = dec_msgpack(&writeset_type, data, DEC_STRICT, a, &ws, NULL);
        if (err != 0) return err;
        for (uint32_t i = 0; i < ws.changes_n; i++) sat_wanted_key(tx, ws.changes[i].key, a, fn, arg);
        return tx->err;
}
