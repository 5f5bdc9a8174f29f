/* Making pools out of disks: see disk_pool.h. What the request may say is checked here; what the disks hold, on their node. */
#include <stdio.h>
#include <string.h>

#include "controller/op/disk_pool.h"
#include "controller/op/op_internal.h"

#define ARGUMENTS_MAX 64
#define NAME_MAX_LEN 100 /* of what LVM and ZFS take */

static bool refuse(struct op *op, enum apirc_code code, const char *correction, const char *text)
{
        op_rc_explain(op, op_rc(op, code, "%s", text), NULL, NULL, correction);
        return false;
}

/* ---- the parts of a request ---- */

static bool kind_of(struct op *op, const struct physical_body *b, enum provider_kind *ret)
{
        int kind = op_given(b->provider_kind) ? enum_parse(&provider_kind_enum, b->provider_kind) : -1;
        *ret = (enum provider_kind)kind;
        if (kind == provider_kind_LVM || kind == provider_kind_LVM_THIN || kind == provider_kind_ZFS ||
                kind == provider_kind_ZFS_THIN)
                return true;
        return refuse(op, RC_FAIL_INVLD_PROVIDER, "Use LVM, LVM_THIN, ZFS or ZFS_THIN.",
                arena_printf(op->arena, "Pools of kind '%.32s' are not made out of disks.",
                        op_text(b->provider_kind)));
}

static bool extras_ok(struct op *op, const struct physical_body *b)
{
        if (b->vdo_enable)
                return refuse(op, RC_FAIL_IMPL_ERROR, "Leave vdo_enable out.", "VDO is not supported.");
        if (b->sed)
                return refuse(op, RC_FAIL_IMPL_ERROR, "Leave sed out; the layer LUKS encrypts volumes.",
                        "Self-encrypting drives are not supported.");
        if (op_given(b->raid_level) && !op_same(b->raid_level, "JBOD"))
                return refuse(op, RC_FAIL_INVLD_REQUEST, "Use JBOD, or make the pool by hand.",
                        arena_printf(op->arena, "RAID level '%.32s' is not known.", b->raid_level));
        return true;
}

/* A path below /dev, with nothing that leads elsewhere or that a program could take for something else. */
static bool path_ok(const char *path)
{
        if (strncmp(path, "/dev/", 5) != 0 || strlen(path) > 200 || strstr(path, "/..") != NULL) return false;
        for (const char *p = path; *p != '\0'; p++)
                if ((unsigned char)*p <= ' ' || (unsigned char)*p > '~' || strchr("\"'\\|*?", *p) != NULL)
                        return false;
        return true;
}

static bool devices_ok(struct op *op, const struct physical_body *b)
{
        if (b->device_paths_n == 0 || b->device_paths_n > DISK_POOL_DISKS_MAX)
                return refuse(op, RC_FAIL_INVLD_REQUEST,
                        "'physical-storage list' shows disks that nobody uses.",
                        arena_printf(op->arena, "The request names no disk, or more than %d.",
                                DISK_POOL_DISKS_MAX));
        for (uint32_t i = 0; i < b->device_paths_n; i++) {
                if (!path_ok(b->device_paths[i]))
                        return refuse(op, RC_FAIL_INVLD_REQUEST, "Give the path of a device, like /dev/sdb.",
                                arena_printf(op->arena, "'%.64s' is not the path of a device.",
                                        b->device_paths[i]));
                for (uint32_t k = 0; k < i; k++)
                        if (strcmp(b->device_paths[i], b->device_paths[k]) == 0)
                                return refuse(op, RC_FAIL_INVLD_REQUEST, "Name each disk once.",
                                        arena_printf(op->arena, "'%s' is named twice.", b->device_paths[i]));
        }
        return true;
}

static bool part_ok(const char *s, size_t n, bool zfs)
{
        static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-+";
        if (n == 0 || n > NAME_MAX_LEN || s[0] == '-' || s[0] == '.' || strspn(s, letters) < n) return false;
        return !zfs || (((s[0] | 32) >= 'a' && (s[0] | 32) <= 'z') && memchr(s, '+', n) == NULL);
}

/* Where the pool will be: "NAME"; for LVM_THIN "VG/THINPOOL", or of a plain name linstor_NAME/NAME, as LINSTOR has it. Without a
 * name the storage pool's. */
static const char *place_of(struct op *op, const struct physical_body *b, enum provider_kind kind)
{
        const char *name = b->pool_name, *slash;
        bool zfs = kind == provider_kind_ZFS || kind == provider_kind_ZFS_THIN, good;
        if (!op_given(name) && b->with_storage_pool != NULL) name = b->with_storage_pool->name;
        if (!op_given(name)) {
                refuse(op, RC_FAIL_INVLD_REQUEST, "Set pool_name.", "The request does not name the pool.");
                return NULL;
        }
        slash = kind == provider_kind_LVM_THIN ? strchr(name, '/') : NULL;
        if (slash != NULL)
                good = part_ok(name, (size_t)(slash - name), zfs) &&
                       part_ok(slash + 1, strlen(slash + 1), zfs);
        else good = part_ok(name, strlen(name), zfs);
        if (!good) {
                refuse(op, RC_FAIL_INVLD_REQUEST,
                        "Use letters, digits and _ . - (ZFS: a letter first; LVM_THIN: VG/THINPOOL, too).",
                        arena_printf(op->arena, "'%.64s' cannot be the name of such a pool.", name));
                return NULL;
        }
        if (kind != provider_kind_LVM_THIN || slash != NULL) return name;
        return arena_printf(op->arena, "linstor_%s/%s", name, name);
}

static bool words_ok(struct op *op, const char *const *words, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++)
                if (n > ARGUMENTS_MAX || strlen(words[i]) > 200)
                        return refuse(op, RC_FAIL_INVLD_REQUEST, NULL, "There are too many arguments.");
        return true;
}

static bool words_of(struct op *op, const struct physical_body *b, struct disk_pool *d)
{
        SET_N(d, disk_pool, pv_arguments, b->pv_create_arguments, b->pv_create_arguments_n);
        SET_N(d, disk_pool, vg_arguments, b->vg_create_arguments, b->vg_create_arguments_n);
        SET_N(d, disk_pool, lv_arguments, b->lv_create_arguments, b->lv_create_arguments_n);
        SET_N(d, disk_pool, zpool_arguments, b->zpool_create_arguments, b->zpool_create_arguments_n);
        return words_ok(op, d->pv_arguments, d->pv_arguments_n) &&
               words_ok(op, d->vg_arguments, d->vg_arguments_n) &&
               words_ok(op, d->lv_arguments, d->lv_arguments_n) &&
               words_ok(op, d->zpool_arguments, d->zpool_arguments_n);
}

/* The storage pool that is to be registered. */
static bool pool_of(struct op *op, const struct node *n, const struct physical_body *b, struct disk_pool *d)
{
        const struct physical_pool_body *w = b->with_storage_pool;
        struct stor_pool *p = arena_new(op->arena, struct stor_pool);
        if (w == NULL) return true;
        struct strmap props = { 0 };
        for (uint32_t i = 0; i < w->props.n; i++)
                strmap_set(&props, w->props.kv[2 * (size_t)i], w->props.kv[2 * (size_t)i + 1], op->arena);
        strmap_set(&props, "StorDriver/StorPoolName", d->place, op->arena);
        struct pool_args args = { .name = w->name,
                .kind = d->provider_kind,
                .props = &props,
                .shared_space = op_given(w->shared_space) ? w->shared_space : NULL,
                .external_locking = w->external_locking };
        if (!op_pool_new(op, n, &args, p)) return false;
        SET(d, disk_pool, pool, p);
        return true;
}

/* Nothing else is being made with that name, or of one of these disks. */
static bool is_free(struct op *op, const struct disk_pool *d)
{
        struct disk_pool x, key = { .node_name = d->node_name };
        struct row_scan s;
        bool free = true;
        row_scan_open(&s, op->tx, &disk_pool_type, &key, 1);
        while (free && row_scan_next(&s, op->arena, &x)) {
                if (x.phase == disk_pool_phase_FAILED) continue;
                free = strcmp(x.place, d->place) != 0;
                for (uint32_t i = 0; free && i < d->devices_n; i++)
                        free = !op_in_list(d->devices[i], x.devices, x.devices_n);
        }
        row_scan_close(&s);
        if (free) return true;
        return refuse(op, RC_FAIL_IN_USE, "Wait until that has ended.",
                arena_printf(op->arena, "'%s' on node '%s' is being made already.", x.place, d->node_name));
}

/* ---- operations ---- */

static bool fill(struct op *op, const struct node *n, const struct physical_body *b, struct disk_pool *d)
{
        enum provider_kind kind;
        if (!kind_of(op, b, &kind) || !extras_ok(op, b) || !devices_ok(op, b)) return false;
        SET(d, disk_pool, node_name, n->name);
        SET(d, disk_pool, uuid, op_uuid(op));
        SET(d, disk_pool, provider_kind, kind);
        SET(d, disk_pool, phase, disk_pool_phase_CHECK);
        SET(d, disk_pool, revision, op->index);
        SET(d, disk_pool, since_ms, op->req->wall_ms);
        SET_N(d, disk_pool, devices, b->device_paths, b->device_paths_n);
        const char *place = place_of(op, b, kind);
        if (place == NULL) return false;
        SET(d, disk_pool, place, place);
        return words_of(op, b, d) && pool_of(op, n, b, d) && is_free(op, d);
}

static void add_wait(struct op *op, const struct disk_pool *d)
{
        op_wait_pool(op, d->node_name, d->pool != NULL ? d->pool->storage_pool_name : d->place);
        struct wait_item *w = &op->reply->waits[op->reply->waits_n - 1];
        if (d->pool == NULL) {
                UNSET(w, wait_item, pool_name);
                w->pool_name = NULL;
        }
        SET(w, wait_item, disk_pool, d->uuid);
        SET(w, wait_item, place, d->place);
}

void op_physical_create(struct op *op)
{
        const struct physical_body *b = OP_BODY(op, physical_body);
        struct disk_pool d = { 0 };
        struct node n;
        if (!op_need_node(op, op->params[0], &n)) return;
        if (!op_node_surely_online(op, n.name)) {
                struct api_rc *rc =
                        op_rc(op, RC_FAIL_NOT_CONNECTED, "No active connection to satellite '%s'.", n.name);
                op_rc_explain(op, rc, "Only the satellite can look at its disks.", NULL,
                        "Start the satellite on that node, or see what 'node list' says about it.");
                op_rc_ref(op, rc, "Node", n.name);
                return;
        }
        if (!fill(op, &n, b, &d)) return;
        row_put(op->tx, &disk_pool_type, &d);
        add_wait(op, &d);
        struct api_rc *rc = op_rc(op, RC_CREATED, "%s pool '%s' on node '%s': making it has begun.",
                enum_name(&provider_kind_enum, d.provider_kind), d.place, n.name);
        op_rc_ref(op, rc, "Node", n.name);
        if (d.pool == NULL) return;
        rc = op_rc(op, RC_CREATED, "Storage pool '%s' on node '%s' will be registered when it is made.",
                d.pool->storage_pool_name, n.name);
        op_rc_ref(op, rc, "StorPoolDfn", d.pool->storage_pool_name);
        op_rc_ref(op, rc, "Node", n.name);
}

static void put_failed(struct op *op, struct disk_pool *d, struct api_rc *reports, uint32_t n)
{
        SET(d, disk_pool, phase, disk_pool_phase_FAILED);
        SET(d, disk_pool, revision, op->index);
        SET(d, disk_pool, since_ms, op->req->wall_ms);
        SET_N(d, disk_pool, reports, reports, n);
        row_put(op->tx, &disk_pool_type, d);
}

/* It is made. */
static void finish(struct op *op, struct disk_pool *d)
{
        struct stor_pool other;
        if (d->pool == NULL || !op_find_pool(op, d->node_name, d->pool->storage_pool_name, &other)) {
                if (d->pool != NULL) op_pool_put(op, d->pool);
                (void)row_del(op->tx, &disk_pool_type, d);
                return;
        }
        struct api_rc rc = { 0 };
        SET(&rc, api_rc, ret_code, apirc_value(RC_FAIL_EXISTS_STOR_POOL, 0, 0));
        SET(&rc, api_rc, message,
                arena_printf(op->arena,
                        "'%s' was made, but not registered: there is a storage pool '%s' by now.", d->place,
                        other.storage_pool_name));
        SET(&rc, api_rc, correction, "Register it under another name ('storage-pool create').");
        put_failed(op, d, &rc, 1);
}

void op_int_disk_pool_step(struct op *op)
{
        const struct disk_pool_step *b = OP_BODY(op, disk_pool_step);
        struct disk_pool d, key = { .node_name = b->node_name, .place = b->place };
        if (row_get(op->tx, &disk_pool_type, &key, op->arena, &d) != 0 || strcmp(d.uuid, b->uuid) != 0 ||
                (int64_t)d.phase != b->phase) {
                op_rc(op, RC_MODIFIED, "That has gone on already.");
                return;
        }
        if (d.phase == disk_pool_phase_FAILED) (void)row_del(op->tx, &disk_pool_type, &d);
        else if (b->failed) put_failed(op, &d, b->reports, b->reports_n);
        else if (d.phase == disk_pool_phase_MAKE) finish(op, &d);
        else {
                SET(&d, disk_pool, phase, disk_pool_phase_MAKE);
                SET(&d, disk_pool, revision, op->index);
                SET(&d, disk_pool, since_ms, op->req->wall_ms);
                row_put(op->tx, &disk_pool_type, &d);
        }
        op_rc(op, RC_MODIFIED, "It goes on.");
}
