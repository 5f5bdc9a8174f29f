/* Backups in buckets: making, restoring, stopping them. What happens then: ship.h. What is in a bucket is looked at by the member that
 * takes the request (controller/rest/rest_backup.c). */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "controller/op/op_backup.h"
#include "controller/op/op_crypt.h"
#include "controller/op/op_remote.h"
#include "controller/op/saga.h"
#include "controller/op/ship.h"

void op_backup_rc(struct op *op, enum apirc_code code, const char *rsc, const char *snap, const char *text)
{
        struct api_rc *rc = op_rc(op, code, "%s", text);
        op_rc_ref(op, rc, "RscDfn", rsc);
        op_rc_ref(op, rc, "Snapshot", snap);
}

/* ---- create ---- */

bool op_backup_kind(enum provider_kind k)
{
        return k == provider_kind_FILE || k == provider_kind_FILE_THIN || k == provider_kind_LVM_THIN ||
               k == provider_kind_ZFS || k == provider_kind_ZFS_THIN;
}

static bool has_disk(const struct rsc *r)
{
        bool yes = r->volumes_n != 0 && (r->flags & (rsc_flag_DISKLESS | rsc_flag_INACTIVE)) == 0;
        for (uint32_t i = 0; i < r->volumes_n; i++) yes = yes && op_backup_kind(r->volumes[i].provider_kind);
        return yes;
}

bool op_backup_source(struct op *op, const struct rsc_dfn *rd, const char *asked, struct rsc *ret)
{
        struct rsc *rscs;
        uint32_t n = op_list_rscs(op, rd->name, &rscs);
        if (op_given(asked) && !op_need_rsc(op, rd->name, asked, ret)) return false;
        for (uint32_t i = 0; i < n; i++) {
                if (op_given(asked) && !op_same(asked, rscs[i].node_name)) continue;
                if (!has_disk(&rscs[i]) || !op_node_surely_online(op, rscs[i].node_name)) continue;
                *ret = rscs[i];
                return true;
        }
        struct api_rc *rc = op_rc(
                op, RC_FAIL_INVLD_BACKUP_CONFIG, "No node can send a backup of resource '%s'.", rd->name);
        op_rc_explain(op, rc,
                "A node is needed that is connected and has all volumes in pools of kinds that take "
                "snapshots: " OP_BACKUP_KINDS ".",
                NULL, NULL);
        return false;
}

const char *op_backup_stamp(struct op *op)
{
        time_t at = (time_t)(op->req->wall_ms / 1000);
        struct tm tm;
        char text[32];
        (void)gmtime_r(&at, &tm);
        (void)strftime(text, sizeof text, "back_%Y%m%d_%H%M%S", &tm);
        return arena_strdup(op->arena, text);
}

static json_t *props_json(const struct strmap *m)
{
        json_t *o = json_object();
        for (uint32_t i = 0; i < m->n; i++)
                (void)json_object_set_new(o, m->kv[2 * (size_t)i], json_string(m->kv[2 * (size_t)i + 1]));
        return o;
}

/* Adds what belongs to one volume to the maps of the description, which are by number. */
static void describe_volume(const struct ship_vlm *v, const struct snap_vlm_dfn *vd, const char *pool,
        const char *node, json_t *meta)
{
        char number[24];
        snprintf(number, sizeof number, "%llu", (unsigned long long)v->volume_number);
        (void)json_object_set_new(json_object_get(json_object_get(meta, "rscDfn"), "vlmDfns"), number,
                json_pack("{sIsoso}", "size", (json_int_t)v->size_kib, "flags", json_integer(0), "props",
                        props_json(&vd->vd_props)));
        (void)json_object_set_new(json_object_get(json_object_get(meta, "rsc"), "vlms"), number,
                json_pack("{s{ss}si}", "props", "StorPoolName", pool, "flags", 0));
        (void)json_object_set_new(json_object_get(meta, "backups"), number,
                json_pack("[{ssssss}]", "name", v->key, "finishedTimestamp", "@FINISHED@", "node", node));
}

/* Where the node writes what it knows in the end, without quotes. No other '@' is left in a description. */
static const char *const marked[][2] = { { "finishTimestamp", "FINISHED" },
        { "finishedTimestamp", "FINISHED" }, { "basedOn", "BASED_ON" } };

static const char *replace_all(struct op *op, const char *text, const char *what, const char *with)
{
        struct buf out = { 0 };
        size_t n = strlen(what);
        for (const char *at; (at = strstr(text, what)) != NULL; text = at + n) {
                buf_put(&out, text, (size_t)(at - text));
                buf_put_str(&out, with);
        }
        buf_put_str(&out, text);
        const char *ret = arena_strndup(op->arena, (const char *)out.p, out.n);
        buf_done(&out);
        return ret;
}

/* Takes the description. */
static const char *dump_meta(struct op *op, json_t *meta)
{
        char *text = json_dumps(meta, JSON_COMPACT | JSON_SORT_KEYS);
        const char *ret = replace_all(op, op_text(text), "@", "\\u0040"); /* in properties, say */
        for (size_t i = 0; i < ARRAY_LEN(marked); i++)
                ret = replace_all(op, ret,
                        arena_printf(op->arena, "\"%s\":\"\\u0040%s\\u0040\"", marked[i][0], marked[i][1]),
                        arena_printf(op->arena, "\"%s\":@%s@", marked[i][0], marked[i][1]));
        json_decref(meta);
        free(text);
        return ret;
}

/* The names are LINSTOR's. Numbers (and what it is based on: the node looks whether that is still there) that are not known yet stand as marks,
 * without quotes in the end. */
static const char *describe(
        struct op *op, const struct ship *s, const struct snap_dfn *d, const struct rsc *r)
{
        struct cluster c = { 0 };
        (void)row_get_single(op->tx, &cluster_type, op->arena, &c);
        json_t *meta = json_pack("{ss ss sI ss ss? s{so so si so} s{so si so} so ss ss}", "rscName",
                s->rsc_name, "nodeName", s->node_name, "startTimestamp", (json_int_t)op->req->wall_ms,
                "finishTimestamp", "@FINISHED@", "basedOn", s->base_meta != NULL ? "@BASED_ON@" : NULL,
                "rscDfn", "props", props_json(&d->rd_props), "snapProps", props_json(&d->props), "flags", 0,
                "vlmDfns", json_object(), "rsc", "props", props_json(&r->props), "flags", 0, "vlms",
                json_object(), "backups", json_object(), "clusterId", op_text(c.uuid), "snapDfnUuid",
                op_text(d->uuid));
        (void)json_object_set_new(meta, "snapName", json_string(s->snap_name));
        (void)json_object_set_new(meta, "format", json_string("ORSHIP1"));
        for (uint32_t i = 0; i < s->volumes_n; i++)
                describe_volume(&s->volumes[i], &d->volumes[i], op_text(r->volumes[i].storage_pool_name),
                        s->node_name, meta);
        return dump_meta(op, meta);
}

const char *op_backup_sizes(struct op *op, const struct ship *s)
{
        const char *text = s->meta;
        for (size_t i = 0; i < ARRAY_LEN(marked); i++)
                text = replace_all(op, text, arena_printf(op->arena, ":@%s@", marked[i][1]),
                        arena_printf(op->arena, ":\"@%s@\"", marked[i][1]));
        json_error_t e;
        json_t *meta = json_loads(text, 0, &e);
        if (meta == NULL) return s->meta;
        json_t *vlms = json_object_get(json_object_get(meta, "rscDfn"), "vlmDfns");
        for (uint32_t i = 0; i < s->volumes_n; i++) {
                const char *number =
                        arena_printf(op->arena, "%llu", (unsigned long long)s->volumes[i].volume_number);
                (void)json_object_set_new(json_object_get(vlms, number), "size",
                        json_integer((json_int_t)s->volumes[i].size_kib));
        }
        return dump_meta(op, meta);
}

static void fill_volumes(struct op *op, struct ship *s, const struct snap_dfn *d, const char *tail)
{
        struct ship_vlm *vlms = arena_alloc(op->arena, (d->volumes_n + 1) * sizeof *vlms);
        for (uint32_t i = 0; i < d->volumes_n; i++) {
                SET(&vlms[i], ship_vlm, volume_number, d->volumes[i].volume_number);
                SET(&vlms[i], ship_vlm, size_kib, d->volumes[i].size_kib);
                SET(&vlms[i], ship_vlm, key,
                        arena_printf(op->arena, "%s_%05llu_%s", d->rsc_name,
                                (unsigned long long)d->volumes[i].volume_number, tail));
        }
        SET_N(s, ship, volumes, vlms, d->volumes_n);
}

bool op_backup_same_volumes(const struct snap_dfn *a, const struct snap_dfn *b)
{
        bool same = a->volumes_n == b->volumes_n;
        for (uint32_t i = 0; i < a->volumes_n && same; i++)
                same = a->volumes[i].volume_number == b->volumes[i].volume_number &&
                       a->volumes[i].size_kib == b->volumes[i].size_kib;
        return same;
}

/* The newest snapshot that the node has and that has a backup there, of volumes of the same sizes. */
static bool find_base(
        struct op *op, const struct remote *r, const struct snap_dfn *d, const char *node, struct ship *s)
{
        struct row_scan scan;
        struct snap_dfn x, key = { .rsc_name = d->rsc_name };
        struct snap on_node;
        int64_t newest = -1;
        row_scan_open(&scan, op->tx, &snap_dfn_type, &key, 1);
        while (row_scan_next(&scan, op->arena, &x)) {
                if ((x.flags & snap_dfn_flag_SUCCESSFUL) == 0 || x.create_timestamp <= newest) continue;
                if (!op_backup_same_volumes(&x, d) ||
                        !op_find_snap(op, x.rsc_name, x.snap_name, node, &on_node))
                        continue;
                for (uint32_t i = 0; i < x.backups_n; i++) {
                        if (!op_same(x.backups[i].remote_name, r->name)) continue;
                        SET(s, ship, base_snap, x.snap_name);
                        SET(s, ship, base_meta, x.backups[i].meta_name);
                        newest = x.create_timestamp;
                }
        }
        row_scan_close(&scan);
        return newest >= 0;
}

/* True: only what has changed. */
static bool begin_upload(struct op *op, const struct remote *r, const struct snap_dfn *d,
        const struct rsc *from, const char *stamp_text, bool named, bool incremental)
{
        struct ship s = { 0 };
        const char *suffix = op_prop_chain("BackupShipping/S3KeySuffix", op_ctrl_props(op), NULL);
        const char *tail = arena_printf(op->arena, "%s%.64s%s%s", stamp_text, op_text(suffix),
                named ? "^" : "", named ? d->snap_name : "");
        SET(&s, ship, uuid, op_uuid(op));
        SET(&s, ship, kind, ship_kind_UPLOAD);
        SET(&s, ship, phase, ship_phase_WAIT);
        SET(&s, ship, rsc_name, d->rsc_name);
        SET(&s, ship, snap_name, d->snap_name);
        SET(&s, ship, snap_uuid, d->uuid);
        SET(&s, ship, node_name, from->node_name);
        SET(&s, ship, remote_name, r->name);
        SET(&s, ship, since_ms, op->req->wall_ms);
        SET(&s, ship, begun_ms, op->req->wall_ms);
        fill_volumes(op, &s, d, tail);
        bool based = incremental && find_base(op, r, d, from->node_name, &s);
        SET(&s, ship, meta_name, arena_printf(op->arena, "%s_%s.meta", d->rsc_name, tail));
        SET(&s, ship, meta, describe(op, &s, d, from));
        row_put(op->tx, &ship_type, &s);
        return based;
}

bool op_backup_stack(struct op *op, const struct rsc_dfn *rd)
{
        for (uint32_t i = 0; i < rd->layer_stack_n; i++) {
                if (op_same(rd->layer_stack[i], "STORAGE")) continue;
                op_rc(op, RC_FAIL_INVLD_BACKUP_CONFIG,
                        "Resource '%s' has the layer %s: backups of it are not implemented in this version.",
                        rd->name, rd->layer_stack[i]);
                return false;
        }
        return true;
}

void op_backup_create(struct op *op)
{
        const struct backup_create_body *b = OP_BODY(op, backup_create_body);
        struct remote r;
        struct rsc_dfn rd;
        struct rsc from;
        struct snap_dfn d;
        bool named = op_given(b->snap_name);
        const char *at = op_backup_stamp(op);
        if (!op_need_remote(op, op->params[0], remote_kind_S3, &r) || !op_need_rd(op, b->rsc_name, &rd))
                return;
        if (!op_crypt_need(op, "Backups need", "The keys of the remote are stored encrypted under it."))
                return;
        if (!op_backup_stack(op, &rd) || !op_backup_source(op, &rd, b->node_name, &from)) return;
        const char *nodes[] = { from.node_name };
        struct snap_args args = {
                .rsc_name = rd.name, .snap_name = named ? b->snap_name : at, .nodes = nodes, .nodes_n = 1
        };
        if (!op_make_snap(op, &args) || !op_find_snap_dfn(op, rd.name, args.snap_name, &d)) return;
        if (d.volumes_n == 0 || d.volumes_n != from.volumes_n) {
                op_rc(op, RC_FAIL_INVLD_BACKUP_CONFIG, "Resource '%s' has no volumes.", rd.name);
                return;
        }
        bool incremental = HAS(b, backup_create_body, incremental) && b->incremental;
        bool based = begin_upload(op, &r, &d, &from, at, named, incremental);
        struct saga_item item = { 0 };
        SET(&item, saga_item, rsc_name, rd.name);
        SET(&item, saga_item, snap_name, args.snap_name);
        op_saga_begin(op, saga_kind_SNAPSHOT, &item, 1, NULL, true);
        op_backup_rc(op, RC_CREATED, rd.name, args.snap_name,
                arena_printf(op->arena,
                        "Backup of resource '%s' to remote '%s' begins: snapshot '%s', sent by node '%s'.",
                        rd.name, r.name, args.snap_name, from.node_name));
        if (incremental && !based)
                op_rc(op, RC_INFO_NOOP,
                        "It is a full backup: node '%s' has no snapshot of it with a backup in remote '%s'.",
                        from.node_name, r.name);
}

/* ---- restore ---- */

const char *op_backup_pool_name(const struct backup_restore_body *b, const struct backup_vlm *v)
{
        const char *from = op_given(v->storage_pool_name) ? v->storage_pool_name : DFLT_STOR_POOL;
        for (uint32_t i = 0; i < b->stor_pool_map.n; i++)
                if (op_same(b->stor_pool_map.kv[2 * (size_t)i], from))
                        return b->stor_pool_map.kv[2 * (size_t)i + 1];
        return from;
}

bool op_backup_pool(struct op *op, const char *node, const char *name, struct stor_pool *ret)
{
        if (!op_find_pool(op, node, name, ret)) {
                struct api_rc *rc = op_rc(
                        op, RC_FAIL_NOT_FOUND_STOR_POOL, "Node '%s' has no storage pool '%s'.", node, name);
                op_rc_explain(
                        op, rc, NULL, NULL, "Name another one: stor_pool_map, '--storpool-rename OLD=NEW'.");
                return false;
        }
        if (op_backup_kind(ret->provider_kind)) return true;
        op_rc(op, RC_FAIL_INVLD_BACKUP_CONFIG,
                "Storage pool '%s' on node '%s' is of kind %s: " OP_BACKUP_KINDS " is needed.", name, node,
                enum_name(&provider_kind_enum, ret->provider_kind));
        return false;
}

/* The volume definition: a new one, or (into) the one that is there. based: a snapshot of the same volume has come from it. */
static bool volume_for(struct op *op, struct rsc_dfn *rd, bool into, bool based, const struct backup_vlm *v,
        struct vlm_dfn *ret)
{
        struct strmap props = op_props_taken_over(op, PS_VD, &v->props);
        struct vd_args args = { .has_number = true,
                .number = (int64_t)v->volume_number,
                .size_kib = (int64_t)v->size_kib,
                .props = &props,
                .minor = -1 };
        if (!into) return op_make_vd(op, rd, &args, ret);
        if (op_find_vd(op, rd->name, v->volume_number, ret) &&
                (ret->size_kib == v->size_kib || (based && ret->size_kib < v->size_kib)))
                return true;
        struct api_rc *rc =
                op_rc(op, RC_FAIL_INVLD_VLM_SIZES, "Resource definition '%s' has no volume %llu of %llu KiB.",
                        rd->name, (unsigned long long)v->volume_number, (unsigned long long)v->size_kib);
        op_rc_explain(op, rc, "What is shipped to a resource definition that is there must have its volumes.",
                NULL,
                "Ship it under another name, or give the volume definition that size ('outrigger "
                "volume-definition set-size').");
        return false;
}

static bool make_volumes(struct op *op, const struct backup_restore_body *b, struct rsc_dfn *rd, bool into,
        struct ship *s, struct snap_dfn *d, struct snap *x)
{
        uint32_t n = b->volumes_n;
        struct ship_vlm *ship = arena_alloc(op->arena, (n + 1) * sizeof *ship);
        struct snap_vlm_dfn *dfn = arena_alloc(op->arena, (n + 1) * sizeof *dfn);
        struct snap_vlm *vlms = arena_alloc(op->arena, (n + 1) * sizeof *vlms);
        for (uint32_t i = 0; i < n; i++) {
                const struct backup_vlm *v = &b->volumes[i];
                struct vlm_dfn vd;
                struct stor_pool p;
                const char *pool = op_backup_pool_name(b, v);
                if (!op_backup_pool(op, x->node_name, pool, &p) ||
                        !volume_for(op, rd, into, s->base_id != NULL, v, &vd))
                        return false;
                SET(&ship[i], ship_vlm, volume_number, vd.volume_number);
                SET(&ship[i], ship_vlm, size_kib, v->size_kib);
                SET(&ship[i], ship_vlm, key, v->key);
                SET_N(&ship[i], ship_vlm, chain, v->chain, v->chain_n);
                SET(&dfn[i], snap_vlm_dfn, volume_number, vd.volume_number);
                SET(&dfn[i], snap_vlm_dfn, size_kib, vd.size_kib);
                SET(&dfn[i], snap_vlm_dfn, vd_props, vd.props);
                SET(&vlms[i], snap_vlm, volume_number, vd.volume_number);
                SET(&vlms[i], snap_vlm, size_kib, vd.size_kib);
                SET(&vlms[i], snap_vlm, storage_pool_name, p.storage_pool_name);
                SET(&vlms[i], snap_vlm, provider_kind, p.provider_kind);
                SET(&vlms[i], snap_vlm, uuid, op_uuid(op));
                SET(&vlms[i], snap_vlm, vlm_id,
                        arena_printf(op->arena, "%s_%05llu", rd->name, (unsigned long long)vd.volume_number));
        }
        SET_N(s, ship, volumes, ship, n);
        SET_N(d, snap_dfn, volumes, dfn, n);
        SET_N(x, snap, volumes, vlms, n);
        return true;
}

/* May a snapshot that comes from elsewhere be added to it? */
static bool may_add(struct op *op, const struct backup_restore_body *b, const struct rsc_dfn *rd)
{
        struct snap_dfn old;
        struct vlm_dfn *vds;
        if (!op_backup_stack(op, rd) || !op_saga_free(op, rd->name)) return false;
        if (op_find_snap_dfn(op, rd->name, b->snap_name, &old)) {
                op_rc(op, RC_FAIL_EXISTS_SNAPSHOT_DFN, "Resource '%s' has a snapshot '%s' already.", rd->name,
                        old.snap_name);
                return false;
        }
        if (op_list_vds(op, rd->name, &vds) == b->volumes_n) return true;
        op_rc(op, RC_FAIL_INVLD_VLM_COUNT,
                "Resource definition '%s' has not the %u volumes that are shipped.", rd->name, b->volumes_n);
        return false;
}

bool op_backup_target(struct op *op, const struct backup_restore_body *b, const struct node *node,
        struct rsc_dfn *into, struct ship *s)
{
        static const char *storage[] = { "STORAGE" };
        struct strmap props = op_props_taken_over(op, PS_RD, &b->props);
        struct rd_args args = { .name = b->target_rsc_name,
                .rg_name = b->dst_rsc_grp,
                .props = &props,
                .layer_stack = storage,
                .layer_stack_n = 1 };
        struct rsc_dfn rd;
        struct snap_dfn d = { 0 };
        struct snap x = { 0 };
        if (into != NULL ? !may_add(op, b, into) : !op_make_rd(op, &args, &rd)) return false;
        if (into != NULL) rd = *into;
        SET(&d, snap_dfn, rsc_name, rd.name);
        SET(&d, snap_dfn, snap_name, b->snap_name);
        SET(&d, snap_dfn, uuid, op_uuid(op));
        SET_N(&d, snap_dfn, layer_stack, storage, 1);
        SET(&d, snap_dfn, create_timestamp, op->req->wall_ms);
        SET(&d, snap_dfn, rd_props, rd.props);
        SET(&x, snap, rsc_name, rd.name);
        SET(&x, snap, snap_name, b->snap_name);
        SET(&x, snap, node_name, node->name);
        SET(&x, snap, uuid, op_uuid(op));
        SET(&x, snap, create_timestamp, op->req->wall_ms);
        SET(&x, snap, revision, op->index);
        if (!make_volumes(op, b, &rd, into != NULL, s, &d, &x)) return false;
        row_put(op->tx, &snap_dfn_type, &d);
        row_put(op->tx, &snap_type, &x);
        SET(s, ship, rsc_name, rd.name);
        SET(s, ship, snap_name, d.snap_name);
        SET(s, ship, snap_uuid, d.uuid);
        SET(s, ship, made_rd, into == NULL);
        return true;
}

static bool restore_ok(struct op *op, const struct backup_restore_body *b, struct node *node)
{
        if (!op_need_node(op, b->node_name, node)) return false;
        if (!op_node_surely_online(op, node->name)) {
                op_rc(op, RC_FAIL_NOT_CONNECTED, "No active connection to satellite '%s'.", node->name);
                return false;
        }
        if (b->volumes_n == 0 || !op_given(b->meta_name) ||
                name_check(NAME_SNAPSHOT, op_text(b->snap_name)) != NULL) {
                op_rc(op, RC_FAIL_NOT_FOUND_BACKUP, "The request names no backup.");
                return false;
        }
        if (HAS(b, backup_restore_body, force_restore) && b->force_restore) {
                op_rc(op, RC_FAIL_INVLD_BACKUP_CONFIG,
                        "A resource that is there is not replaced in this version.");
                return false;
        }
        return op_crypt_need(op, "Backups need", "The keys of the remote are stored encrypted under it.");
}

void op_backup_restore(struct op *op)
{
        const struct backup_restore_body *b = OP_BODY(op, backup_restore_body);
        struct remote r;
        struct node node;
        struct ship s = { 0 };
        if (!op_need_remote(op, op->params[0], remote_kind_S3, &r) || !restore_ok(op, b, &node)) return;
        if (!op_backup_target(op, b, &node, NULL, &s)) return;
        SET(&s, ship, uuid, op_uuid(op));
        SET(&s, ship, kind, ship_kind_DOWNLOAD);
        SET(&s, ship, phase, ship_phase_RUN);
        SET(&s, ship, node_name, node.name);
        SET(&s, ship, remote_name, r.name);
        SET(&s, ship, meta_name, b->meta_name);
        SET(&s, ship, since_ms, op->req->wall_ms);
        SET(&s, ship, begun_ms, op->req->wall_ms);
        if (HAS(b, backup_restore_body, download_only)) SET(&s, ship, download_only, b->download_only);
        row_put(op->tx, &ship_type, &s);
        op_backup_rc(op, RC_CREATED, s.rsc_name, s.snap_name,
                arena_printf(op->arena,
                        "Restoration of backup '%s' of remote '%s' to resource '%s' on node '%s' begins.",
                        b->meta_name, r.name, s.rsc_name, node.name));
        if (HAS(b, backup_restore_body, download_only) && b->download_only)
                op_rc(op, RC_WARN_BACKUP_DL_ONLY, "The snapshot is received; no resource is made of it.");
}

/* ---- abort ---- */

static bool is_asked(const struct backup_abort_body *b, const struct ship *s, const char *remote)
{
        bool both = !b->create && !b->restore;
        if (!ship_is_live(s) || !op_same(s->remote_name, remote)) return false;
        if (!op_same(s->rsc_name, op_text(b->rsc_name))) return false;
        if (op_given(b->snapshot) && !op_same(b->snapshot, s->snap_name)) return false;
        return both || (ship_is_incoming(s) ? b->restore : b->create);
}

/* Another cluster has to hear of it. */
static void stop(struct op *op, struct ship *s)
{
        op_ship_touch(op, s);
        op_ship_undo(op, s);
        if (s->kind == ship_kind_UPLOAD || s->kind == ship_kind_DOWNLOAD) {
                (void)row_del(op->tx, &ship_type, s);
                return;
        }
        SET(s, ship, reason, "It was stopped by 'backup abort'.");
        op_ship_enter(op, s, ship_phase_FAILED);
}

void op_backup_abort(struct op *op)
{
        const struct backup_abort_body *b = OP_BODY(op, backup_abort_body);
        struct remote r;
        struct row_scan scan;
        struct ship s;
        uint32_t n = 0;
        if (!op_find_remote(op, op->params[0], &r)) {
                (void)op_need_remote(op, op->params[0], remote_kind_S3, &r);
                return;
        }
        row_scan_open(&scan, op->tx, &ship_type, NULL, 0);
        while (row_scan_next(&scan, op->arena, &s)) {
                if (!is_asked(b, &s, r.name)) continue;
                stop(op, &s);
                n++;
                op_backup_rc(op, RC_DELETED, s.rsc_name, s.snap_name,
                        arena_printf(op->arena, "%s of resource '%s' stopped%s.", ship_word(&s), s.rsc_name,
                                ship_is_incoming(&s) ? "" : "; its snapshot stays"));
        }
        row_scan_close(&scan);
        if (n == 0)
                op_rc(op, RC_WARN_NOT_FOUND, "Nothing of resource '%s' is on its way.", op_text(b->rsc_name));
}
