#include <string.h>
#include <time.h>

#include "cli/cells.h"
#include "cli/render.h"
#include "wire/base/buf.h"

static const char *text_of(const json_t *o, const char *key)
{
        return json_string_value(json_object_get(o, key));
}

static bool has_flag(const json_t *o, const char *flag)
{
        size_t i;
        json_t *f;
        json_array_foreach(
                json_object_get(o, "flags"), i, f) if (strcmp(json_string_value(f), flag) == 0) return true;
        return false;
}

static char *take_text(struct buf *b)
{
        (void)buf_cstr(b);
        return (char *)b->p;
}

char *cell_node_addresses(const json_t *node)
{
        struct buf b = { 0 };
        size_t i;
        json_t *netif;
        json_array_foreach(json_object_get(node, "net_interfaces"), i, netif)
        {
                json_int_t port = json_integer_value(json_object_get(netif, "satellite_port"));
                buf_printf(&b, "%s%s", b.n > 0 ? "," : "", text_of(netif, "address"));
                if (port > 0) buf_printf(&b, ":%lld", (long long)port);
                /* Whatever LINSTOR's word PLAIN or SSL in satellite_encryption_type: this link is never anything else. */
                if (port > 0) buf_printf(&b, " (TLS)");
        }
        return take_text(&b);
}

char *cell_node_state(const json_t *node)
{
        const char *status = text_of(node, "connection_status");
        if (has_flag(node, "EVICTED")) return xstrdup("EVICTED");
        if (has_flag(node, "DELETE")) return xstrdup("DELETING");
        const char *shown = status == NULL ? "Unknown" : strcmp(status, "ONLINE") == 0 ? "Online" : status;
        return has_flag(node, "EVACUATE") ? xasprintf("%s (EVACUATE)", shown) : xstrdup(shown);
}

char *cell_pool_name(const json_t *pool)
{
        static const char *const keys[] = { "StorDriver/FileDir", "StorDriver/StorPoolName",
                "StorDriver/LvmVg", "StorDriver/ZPool", "StorDriver/ZPoolThin" };
        const json_t *props = json_object_get(pool, "props");
        for (size_t i = 0; i < ARRAY_LEN(keys); i++)
                if (text_of(props, keys[i]) != NULL) return xstrdup(text_of(props, keys[i]));
        return NULL;
}

static char *capacity(const json_t *pool, const char *key)
{
        const char *kind = text_of(pool, "provider_kind");
        const json_t *v = json_object_get(pool, key);
        if (v == NULL || (kind != NULL && strcmp(kind, "DISKLESS") == 0)) return NULL;
        return cli_size_text(json_integer_value(v));
}

char *cell_disk_size(const json_t *disk)
{
        return cli_size_text(json_integer_value(json_object_get(disk, "size")) / 1024);
}

/* "n1[/dev/sdb, /dev/sdc] n2[/dev/sdb]" */
char *cell_disk_nodes(const json_t *disk)
{
        struct buf b = { 0 };
        const char *node;
        json_t *disks, *d;
        size_t i;
        json_object_foreach(json_object_get(disk, "nodes"), node, disks)
        {
                buf_printf(&b, "%s%s[", b.n > 0 ? " " : "", node);
                json_array_foreach(disks, i, d) buf_printf(
                        &b, "%s%s", i > 0 ? ", " : "", json_string_value(json_object_get(d, "device")));
                buf_put_str(&b, "]");
        }
        char *text = xstrdup(buf_cstr(&b));
        buf_done(&b);
        return text;
}

char *cell_pool_free(const json_t *pool) { return capacity(pool, "free_capacity"); }

char *cell_pool_total(const json_t *pool) { return capacity(pool, "total_capacity"); }

/* "Ok", or the first report of an error or warning. */
static char *reports_state(const json_t *row, const char *fine)
{
        size_t i;
        json_t *rc;
        json_array_foreach(json_object_get(row, "reports"), i, rc)
        {
                uint64_t code = (uint64_t)json_integer_value(json_object_get(rc, "ret_code"));
                if (code >> 62 == 3) return xstrdup("Error");
                if (code >> 62 == 2) fine = "Warning";
        }
        return xstrdup(fine);
}

char *cell_pool_state(const json_t *pool) { return reports_state(pool, "Ok"); }

/* "node:pool" stands for a space of its own: nothing to show. */
char *cell_pool_shared(const json_t *pool)
{
        const char *name = text_of(pool, "free_space_mgr_name");
        return name == NULL || strchr(name, ':') != NULL ? NULL : xstrdup(name);
}

char *cell_rsc_layers(const json_t *rsc)
{
        struct buf b = { 0 };
        const json_t *layer = json_object_get(rsc, "layer_object");
        while (layer != NULL) {
                const char *type = text_of(layer, "type");
                if (type != NULL) buf_printf(&b, "%s%s", b.n > 0 ? "," : "", type);
                layer = json_array_get(json_object_get(layer, "children"), 0);
        }
        return take_text(&b);
}

char *cell_rsc_usage(const json_t *rsc)
{
        const json_t *in_use = json_object_get(json_object_get(rsc, "state"), "in_use");
        if (in_use == NULL) return NULL;
        return xstrdup(json_is_true(in_use) ? "InUse" : "Unused");
}

char *cell_rsc_conns(const json_t *rsc)
{
        struct buf b = { 0 };
        const char *peer;
        json_t *connection;
        json_t *all =
                json_object_get(json_object_get(json_object_get(rsc, "layer_object"), "drbd"), "connections");
        if (all == NULL) return NULL;
        json_object_foreach(all, peer,
                connection) if (!json_is_true(json_object_get(connection, "connected"))) buf_printf(&b,
                "%s%s(%s)", b.n > 0 ? "," : "",
                text_of(connection, "message") != NULL ? text_of(connection, "message") : "Unknown", peer);
        if (b.n == 0) return xstrdup("Ok");
        return take_text(&b);
}

char *cell_rsc_state(const json_t *rsc)
{
        struct buf b = { 0 };
        size_t i;
        json_t *vlm;
        if (has_flag(rsc, "DELETE") || has_flag(rsc, "DRBD_DELETE")) return xstrdup("DELETING");
        if (has_flag(rsc, "INACTIVE")) return xstrdup("INACTIVE");
        if (has_flag(rsc, "TIE_BREAKER")) return xstrdup("TieBreaker");
        json_array_foreach(json_object_get(rsc, "volumes"), i, vlm)
        {
                const char *state = text_of(json_object_get(vlm, "state"), "disk_state");
                char *worst = reports_state(vlm, state == NULL ? "Unknown" : state);
                if (b.n == 0 || strstr((const char *)b.p, worst) == NULL) {
                        buf_printf(&b, "%s%s", b.n > 0 ? ", " : "", worst);
                        (void)buf_cstr(&b);
                }
                free(worst);
        }
        if (b.n == 0) buf_put_str(&b, has_flag(rsc, "DISKLESS") ? "Diskless" : "Created");
        const char *skip = text_of(json_object_get(rsc, "props"), "DrbdOptions/SkipDisk");
        if (skip != NULL && strcasecmp(skip, "true") == 0) buf_put_str(&b, ", SkipDisk");
        return take_text(&b);
}

char *cell_resolve_role(const json_t *row)
{
        const char *role = text_of(row, "role");
        if (!json_is_true(json_object_get(row, "online"))) return xstrdup("OFFLINE");
        return role == NULL ? NULL : xstrdup(role);
}

char *cell_resolve_out(const json_t *row)
{
        const json_t *kib = json_object_get(row, "out_of_sync_kib");
        return json_integer_value(kib) == 0 ? NULL : cli_size_text(json_integer_value(kib));
}

static char *time_text(json_int_t ms)
{
        time_t seconds = (time_t)(ms / 1000);
        struct tm local;
        char text[32];
        if (ms == 0 || localtime_r(&seconds, &local) == NULL) return NULL;
        (void)strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &local);
        return xstrdup(text);
}

char *cell_created(const json_t *rsc)
{
        return time_text(json_integer_value(json_object_get(rsc, "create_timestamp")));
}

/* "0: 4 MiB, 1: 8 MiB" */
char *cell_snap_volumes(const json_t *snap)
{
        struct buf b = { 0 };
        size_t i;
        json_t *vd;
        json_array_foreach(json_object_get(snap, "volume_definitions"), i, vd)
        {
                char *size = cell_size(vd);
                buf_printf(&b, "%s%lld: %s", i > 0 ? ", " : "",
                        (long long)json_integer_value(json_object_get(vd, "volume_number")), size);
                free(size);
        }
        return take_text(&b);
}

char *cell_snap_created(const json_t *snap)
{
        return cell_created(json_array_get(json_object_get(snap, "snapshots"), 0));
}

char *cell_snap_state(const json_t *snap)
{
        if (has_flag(snap, "DELETE")) return xstrdup("DELETING");
        if (has_flag(snap, "FAILED_DEPLOYMENT")) return xstrdup("Failed");
        if (has_flag(snap, "FAILED_DISCONNECT")) return xstrdup("Satellite disconnected");
        if (!has_flag(snap, "SUCCESSFUL")) return xstrdup("Incomplete");
        char *trouble = render_field(snap, "snapshots.snapshot_volumes.state");
        char *text = trouble == NULL ? xstrdup("Successful") : xasprintf("Successful (%s)", trouble);
        free(trouble);
        return text;
}

char *cell_report_time(const json_t *report)
{
        return time_text(json_integer_value(json_object_get(report, "error_time")));
}

char *cell_vlm_allocated(const json_t *vlm)
{
        const json_t *v = json_object_get(vlm, "allocated_size_kib");
        return v == NULL ? NULL : cli_size_text(json_integer_value(v));
}

char *cell_vlm_in_use(const json_t *vlm) { return cell_rsc_usage(vlm); }

char *cell_size(const json_t *row)
{
        return cli_size_text(json_integer_value(json_object_get(row, "size_kib")));
}

static char *space(const json_t *info, const char *key)
{
        return cli_size_text(json_integer_value(json_object_get(json_object_get(info, "space_info"), key)));
}

char *cell_size_max(const json_t *info) { return space(info, "max_vlm_size_in_kib"); }
char *cell_size_available(const json_t *info) { return space(info, "available_size_in_kib"); }
char *cell_size_capacity(const json_t *info) { return space(info, "capacity_in_kib"); }

char *cell_gross(const json_t *row) { return has_flag(row, "GROSS_SIZE") ? xstrdup("+") : NULL; }

char *cell_minor(const json_t *row)
{
        size_t i;
        json_t *layer;
        json_array_foreach(json_object_get(row, "layer_data"), i, layer)
        {
                char *minor = render_field(layer, "data.minor_number");
                if (minor != NULL) return minor;
        }
        json_array_foreach(json_object_get(row, "layer_data_list"), i, layer)
        {
                char *minor = render_field(layer, "data.drbd_volume_definition.minor_number");
                if (minor != NULL) return minor;
        }
        return NULL;
}

char *cell_dfn_state(const json_t *row)
{
        return xstrdup(has_flag(row, "DELETE")    ? "DELETING"
                       : has_flag(row, "CLONING") ? "CLONING"
                       : has_flag(row, "FAILED")  ? "FAILED"
                                                  : "ok");
}

char *cell_select_filter(const json_t *rg)
{
        static const char *const shown[][2] = { { "place_count", "PlaceCount" },
                { "storage_pool_list", "StoragePool(s)" },
                { "storage_pool_diskless_list", "DisklessStoragePool(s)" }, { "node_name_list", "Nodes" },
                { "replicas_on_same", "ReplicasOnSame" }, { "replicas_on_different", "ReplicasOnDifferent" },
                { "not_place_with_rsc", "DoNotPlaceWith" },
                { "not_place_with_rsc_regex", "DoNotPlaceWithRegex" }, { "layer_stack", "LayerStack" },
                { "provider_list", "ProviderList" }, { "diskless_on_remaining", "DisklessOnRemaining" } };
        struct buf b = { 0 };
        const json_t *filter = json_object_get(rg, "select_filter");
        for (size_t i = 0; i < ARRAY_LEN(shown); i++) {
                char *text = render_field(filter, shown[i][0]);
                if (text != NULL) buf_printf(&b, "%s%s: %s", b.n > 0 ? "; " : "", shown[i][1], text);
                free(text);
        }
        return take_text(&b);
}

json_t *rows_props(json_t *answer, struct cli_call *call)
{
        const json_t *props = json_object_get(answer, "props");
        json_t *rows = json_array(), *value;
        const char *key;
        if (json_is_array(answer)) props = json_object_get(json_array_get(answer, 0), "props");
        else if (!json_is_object(props)) props = answer; /* the controller's are the answer itself */
        char *dump = json_dumps(props, JSON_SORT_KEYS);
        json_t *sorted = dump == NULL ? NULL : json_loads(dump, 0, NULL);
        json_object_foreach(sorted, key, value)(void)
                json_array_append_new(rows, json_pack("{ss,sO}", "key", key, "value", value));
        json_decref(sorted);
        free(dump);
        return rows;
}

json_t *rows_one(json_t *answer, struct cli_call *call)
{
        if (json_is_array(answer)) return json_incref(answer);
        return json_pack("[O]", answer);
}

/* Children of each row as rows of their own, with the fields that name the parent. */
static json_t *flatten(json_t *answer, const char *list, const char *const *keep)
{
        json_t *rows = json_array(), *row, *child;
        size_t i, j;
        json_array_foreach(answer, i, row)
        {
                json_array_foreach(json_object_get(row, list), j, child)
                {
                        json_t *copy = json_copy(child);
                        for (const char *const *k = keep; *k != NULL; k++) {
                                char *as = strcmp(*k, "state") == 0 ? xstrdup("state")
                                                                    : xasprintf("parent_%s", *k);
                                json_t *value = json_object_get(row, *k);
                                if (strcmp(as, "state") == 0) {
                                        char *disk = render_field(child, "state.disk_state");
                                        if (disk != NULL)
                                                (void)json_object_set_new(
                                                        copy, "disk_state", json_string(disk));
                                        free(disk);
                                }
                                if (value != NULL) (void)json_object_set(copy, as, value);
                                free(as);
                        }
                        (void)json_array_append_new(rows, copy);
                }
        }
        return rows;
}

json_t *rows_volumes(json_t *answer, struct cli_call *call)
{
        static const char *const keep[] = { "name", "node_name", "state", NULL };
        return flatten(answer, "volumes", keep);
}

json_t *rows_volume_definitions(json_t *answer, struct cli_call *call)
{
        static const char *const keep[] = { "name", NULL };
        return flatten(answer, "volume_definitions", keep);
}

/* Of a list of named instances, the properties of the one that the call names. */
json_t *rows_named_props(json_t *answer, struct cli_call *call)
{
        size_t i;
        json_t *row;
        const char *name = cli_value(call, "name");
        json_array_foreach(answer, i,
                row) if (name != NULL && strcasecmp(name, json_string_value(json_object_get(row, "name"))) ==
                                                 0) return rows_props(row, call);
        return json_array();
}
