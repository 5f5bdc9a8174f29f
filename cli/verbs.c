/* The table of verbs: names, short forms and options as LINSTOR's client has them. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/passphrase.h"
#include "cli/verb_rows.h"
#include "wire/base/mem.h"

int before_set_property(struct cli_call *call)
{
        const char *key = cli_value(call, "key"), *value = cli_value(call, "value");
        const char *aux =
                json_object_get(call->values, "--aux") != NULL && strncmp(key, "Aux/", 4) != 0 ? "Aux/" : "";
        char *full = xasprintf("%s%s", aux, key);
        call->body = value != NULL ? json_pack("{s{ss}}", "override_props", full, value)
                                   : json_pack("{s[s]}", "delete_props", full);
        free(full);
        return 0;
}

/* What LINSTOR's client fills in when it is not told. */
static int before_node_create(struct cli_call *call)
{
        if (cli_value(call, "--interface-name") == NULL)
                cli_body_put(call, "/net_interfaces/0/name", json_string("default"));
        if (cli_value(call, "--node-type") == NULL) cli_body_put(call, "/type", json_string("SATELLITE"));
        cli_body_put(call, "/net_interfaces/0/is_active", json_true());
        return 0;
}

/* Each provider's first word, and where its name belongs. */
static int before_pool_create(struct cli_call *call)
{
        static const struct {
                const char *word, *kind, *prop;
        } kinds[] = { { "filethin", "FILE_THIN", "StorDriver/FileDir" },
                { "file", "FILE", "StorDriver/FileDir" }, { "lvm", "LVM", "StorDriver/StorPoolName" },
                { "lvmthin", "LVM_THIN", "StorDriver/StorPoolName" },
                { "zfs", "ZFS", "StorDriver/StorPoolName" },
                { "zfsthin", "ZFS_THIN", "StorDriver/StorPoolName" }, { "diskless", "DISKLESS", NULL } };
        const char *driver = cli_value(call, "driver"), *where = cli_value(call, "where");
        for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
                if (strcmp(driver, kinds[i].word) != 0) continue;
                if (kinds[i].prop != NULL && where == NULL)
                        return cli_problem(call, "%s needs the %s after the pool's name", driver,
                                strncmp(driver, "file", 4) == 0 ? "directory" : "volume group or pool");
                cli_body_put(call, "/provider_kind", json_string(kinds[i].kind));
                if (kinds[i].prop == NULL) return 0;
                json_t *props = json_pack("{ss}", "StorDriver/StorPoolName", where);
                if (strcmp(kinds[i].prop, "StorDriver/StorPoolName") != 0)
                        (void)json_object_set_new(props, kinds[i].prop, json_string(where));
                cli_body_put(call, "/props", props);
                return 0;
        }
        return cli_problem(call,
                "\"%s\" is no driver; use file, filethin, lvm, lvmthin, zfs, zfsthin or diskless", driver);
}

/* LINSTOR's client spells the kinds without a line below. */
static int before_device_pool(struct cli_call *call)
{
        static const char *const kinds[][2] = { { "lvm", "LVM" }, { "lvmthin", "LVM_THIN" }, { "zfs", "ZFS" },
                { "zfsthin", "ZFS_THIN" } };
        const char *kind = cli_value(call, "kind"), *known = NULL;
        for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
                if (strcasecmp(kind, kinds[i][0]) == 0 || strcasecmp(kind, kinds[i][1]) == 0)
                        known = kinds[i][1];
        if (known == NULL)
                return cli_problem(call, "\"%s\" is no kind; use lvm, lvmthin, zfs or zfsthin", kind);
        cli_body_put(call, "/provider_kind", json_string(known));
        if (cli_value(call, "--pool-name") == NULL && cli_value(call, "--storage-pool") == NULL)
                return cli_problem(
                        call, "name the pool by --pool-name, or the storage pool by --storage-pool");
        return 0;
}

static int before_clone(struct cli_call *call)
{
        const char *n = cli_value(call, "--volume-passphrases");
        int err = 0;
        if (cli_value(call, "name") == NULL && cli_value(call, "--external-name") == NULL)
                return cli_problem(call, "name the new resource, or use --external-name");
        long long count = n != NULL ? strtoll(n, NULL, 10) : 0;
        for (long long i = 0; err == 0 && i < count; i++) {
                char what[64];
                snprintf(what, sizeof what, "Passphrase of volume %lld of the clone", i + 1);
                err = cli_secret_new(call, what, "/volume_passphrases/-");
        }
        return err;
}

static int before_spawn(struct cli_call *call)
{
        size_t i;
        json_t *text;
        json_array_foreach(json_object_get(call->values, "sizes"), i, text)
        {
                unsigned long long kib;
                if (cli_size_parse(json_string_value(text), &kib) != 0)
                        return cli_problem(call, "\"%s\" is no size; use 10G, 512MiB or 20 (GiB)",
                                json_string_value(text));
                cli_body_put(call, "/volume_sizes/-", json_integer((json_int_t)kib));
        }
        return 0;
}

/* resource create NODE… RESOURCE, or RESOURCE --auto-place N: another operation of the API. */
static int before_resource_create(struct cli_call *call)
{
        json_t *words = json_object_get(call->values, "names"), *node;
        const char *rd = json_string_value(json_array_get(words, json_array_size(words) - 1));
        const char *count = cli_value(call, "--auto-place"), *pool = cli_value(call, "--storage-pool");
        bool diskless = json_object_get(call->values, "--drbd-diskless") != NULL;
        bool initiator = json_object_get(call->values, "--nvme-initiator") != NULL;
        const char *flag = initiator ? "NVME_INITIATOR" : diskless ? "DRBD_DISKLESS" : NULL;
        size_t i;
        (void)json_object_set_new(call->params, "rd", json_string(rd));
        json_t *layers = json_object_get(call->values, "--layer-list");
        if (count != NULL) {
                if (json_array_size(words) > 1)
                        return cli_problem(call, "name nodes or use --auto-place, not both");
                (void)json_object_set_new(call->params, "what", json_string("autoplace"));
                cli_body_put(call, "/select_filter/place_count", json_integer(strtoll(count, NULL, 10)));
                if (pool != NULL) cli_body_put(call, "/select_filter/storage_pool_list/-", json_string(pool));
                if (layers != NULL) cli_body_put(call, "/layer_list", json_incref(layers));
                return 0;
        }
        if (json_array_size(words) < 2)
                return cli_problem(call, "name the nodes before the resource, or use --auto-place COUNT");
        (void)json_object_set_new(call->params, "what", json_string("resources"));
        call->body = json_array();
        json_array_foreach(words, i, node)
        {
                if (i + 1 == json_array_size(words)) break;
                json_t *props = json_object(), *rsc = json_pack("{sO,so}", "node_name", node, "props", props);
                if (pool != NULL) (void)json_object_set_new(props, "StorPoolName", json_string(pool));
                if (flag != NULL) (void)json_object_set_new(rsc, "flags", json_pack("[s]", flag));
                json_t *item = json_pack("{so}", "resource", rsc);
                if (layers != NULL) (void)json_object_set(item, "layer_list", layers);
                (void)json_array_append_new(call->body, item);
        }
        return 0;
}

static const struct cli_verb node_verbs[] = {
        { "node", "n", "create", "c", "POST", "/v1/nodes", "register a node", before_node_create, NULL,
                { POS("name", "/name", "name of the node"),
                        POS("address", "/net_interfaces/0/address", "its IP address"),
                        { ARG_OPT, TYPE_UPPER, 0, "--node-type", "/type",
                                "satellite, combined, controller or auxiliary" },
                        OPT_AS(TYPE_INT, 'p', "--port", "/net_interfaces/0/satellite_port",
                                "port of the satellite"),
                        OPT_AS(TYPE_UPPER, 0, "--communication-type",
                                "/net_interfaces/0/satellite_encryption_type",
                                "plain or ssl; kept for LINSTOR's clients, the connection is TLS"),
                        OPT(0, "--interface-name", "/net_interfaces/0/name",
                                "name of the interface (default)") },
                { { 0 } } },
        { "node", "n", "list", "l", "GET", "/v1/nodes", "list nodes", NULL, NULL,
                { MANY('n', "--nodes", "?nodes", "only these") },
                { COL("Node", "name"), COL("NodeType", "type"), CELL("Addresses", cell_node_addresses),
                        CELL("State", cell_node_state) },
                .note = "connection_problem" },
        { "node", "n", "delete", "d", "DELETE", "/v1/nodes/{node}", "remove a node and what it holds", NULL,
                NULL, { POS("name", "{node}", "node"), ASYNC }, { { 0 } } },
        { "node", "n", "lost", "lo", "DELETE", "/v1/nodes/{node}/lost",
                "forget a node that will not come back", NULL, NULL, { POS("name", "{node}", "node"), ASYNC },
                { { 0 } } },
        { "node", "n", "reconnect", "rc", "PUT", "/v1/nodes/{node}/reconnect",
                "connect to the satellite anew", NULL, NULL, { POS("name", "{node}", "node") }, { { 0 } } },
        { "node", "n", "modify", "m", "PUT", "/v1/nodes/{node}", "change the type of a node", NULL, NULL,
                { POS("name", "{node}", "node"),
                        OPT_AS(TYPE_UPPER, 't', "--node-type", "/node_type", "new type") },
                { { 0 } } },
        { "node", "n", "info", "i", "GET", "/v1/nodes", "what the satellites can do", NULL, NULL,
                { MANY('n', "--nodes", "?nodes", "only these") },
                { COL("Node", "name"), COL("Providers", "storage_providers"),
                        COL("Layers", "resource_layers") } },
        { "node", "n", "set-log-level", "setloglevel", "PUT", "/v1/nodes/{node}/config",
                "change what the satellite of a node logs", NULL, NULL,
                { POS("node_name", "{node}", "node"),
                        POS("level", "/log/level_linstor", "ERROR, WARN, INFO, DEBUG or TRACE") },
                { { 0 } } },
        PROPERTY_VERBS("node", "n", "/v1/nodes/{node}", "PUT", POS("name", "{node}", "node"), ),
        { "node interface", "n i", "create", "c", "POST", "/v1/nodes/{node}/net-interfaces",
                "add an address to a node", NULL, NULL,
                { POS("node", "{node}", "node"), POS("name", "/name", "name of the interface"),
                        POS("address", "/address", "IP address"),
                        OPT_AS(TYPE_INT, 'p', "--port", "/satellite_port", "port of the satellite"),
                        FLAG(0, "--active", "/is_active", "reach the satellite through it") },
                { { 0 } } },
        { "node interface", "n i", "modify", "m", "PUT", "/v1/nodes/{node}/net-interfaces/{netif}",
                "change an address", NULL, NULL,
                { POS("node", "{node}", "node"), POS("name", "{netif}", "interface"),
                        OPT(0, "--ip", "/address", "IP address"),
                        OPT_AS(TYPE_INT, 'p', "--port", "/satellite_port", "port of the satellite"),
                        FLAG(0, "--active", "/is_active", "reach the satellite through it") },
                { { 0 } } },
        { "node interface", "n i", "delete", "d", "DELETE", "/v1/nodes/{node}/net-interfaces/{netif}",
                "remove an address", NULL, NULL,
                { POS("node", "{node}", "node"), POS("name", "{netif}", "interface") }, { { 0 } } },
        { "node interface", "n i", "list", "l", "GET", "/v1/nodes/{node}/net-interfaces",
                "list a node's addresses", NULL, NULL, { POS("node", "{node}", "node") },
                { COL("NetInterface", "name"), COL("IP", "address"), COL("Port", "satellite_port"),
                        COL("Active", "is_active") } },
        { 0 },
};

static const struct cli_verb pool_verbs[] = {
        { "storage-pool", "sp", "create", "c", "POST", "/v1/nodes/{node}/storage-pools",
                "create a storage pool", before_pool_create, NULL,
                { POS("driver", "", "file, filethin, lvm, lvmthin, zfs, zfsthin, diskless"),
                        POS("node", "{node}", "node"), POS("name", "/storage_pool_name", "name of the pool"),
                        POS_OPT("where", "", "directory, volume group or pool"),
                        OPT(0, "--shared-space", "/shared_space", "name of a space that several nodes share"),
                        FLAG(0, "--external-locking", "/external_locking",
                                "somebody else locks the shared space") },
                { { 0 } } },
        { "storage-pool", "sp", "list", "l", "GET", "/v1/view/storage-pools", "list storage pools", NULL,
                NULL,
                { MANY('n', "--nodes", "?nodes", "on these nodes"),
                        MANY('s', "--storage-pools", "?storage_pools", "these") },
                { COL("StoragePool", "storage_pool_name"), COL("Node", "node_name"),
                        COL("Driver", "provider_kind"), CELL("PoolName", cell_pool_name),
                        CELL_RIGHT("FreeCapacity", cell_pool_free),
                        CELL_RIGHT("TotalCapacity", cell_pool_total),
                        COL("CanSnapshots", "supports_snapshots"), CELL("State", cell_pool_state),
                        CELL("SharedName", cell_pool_shared) } },
        { "storage-pool", "sp", "delete", "d", "DELETE", "/v1/nodes/{node}/storage-pools/{pool}",
                "remove a pool's registration", NULL, NULL,
                { POS("node", "{node}", "node"), POS("name", "{pool}", "pool"), ASYNC }, { { 0 } } },
        PROPERTY_VERBS("storage-pool", "sp", "/v1/nodes/{node}/storage-pools/{pool}", "PUT",
                POS("node", "{node}", "node"), POS("name", "{pool}", "pool"), ),
        { "physical-storage", "ps", "list", "l", "GET", "/v1/physical-storage", "list disks that nobody uses",
                NULL, NULL, { { 0 } },
                { CELL_RIGHT("Size", cell_disk_size), COL("Rotational", "rotational"),
                        CELL("Nodes", cell_disk_nodes) } },
        { "physical-storage", "ps", "create-device-pool", "cdp", "POST", "/v1/physical-storage/{node}",
                "make a volume group, thin pool or ZFS pool out of disks that nobody uses",
                before_device_pool, NULL,
                { POS("kind", "", "lvm, lvmthin, zfs or zfsthin"), POS("node", "{node}", "node"),
                        { ARG_POS_MANY, TYPE_STR, 0, "disks", "/device_paths/-", "paths of the disks" },
                        OPT(0, "--pool-name", "/pool_name",
                                "name of the volume group (lvmthin: VG/THINPOOL, too) or ZFS pool"),
                        OPT(0, "--storage-pool", "/with_storage_pool/name",
                                "register it as this storage pool"),
                        MANY(0, "--pv-create-arguments", "/pv_create_arguments/-", "an option of pvcreate"),
                        MANY(0, "--vg-create-arguments", "/vg_create_arguments/-", "an option of vgcreate"),
                        MANY(0, "--lv-create-arguments", "/lv_create_arguments/-",
                                "an option of lvcreate, for the thin pool"),
                        MANY(0, "--zpool-create-arguments", "/zpool_create_arguments/-",
                                "an option of zpool create") },
                { { 0 } } },
        { "storage-pool-definition", "spd", "create", "c", "POST", "/v1/storage-pool-definitions",
                "name a pool", NULL, NULL, { POS("name", "/storage_pool_name", "name") }, { { 0 } } },
        { "storage-pool-definition", "spd", "list", "l", "GET", "/v1/storage-pool-definitions",
                "list pool names", NULL, NULL, { { 0 } }, { COL("StoragePool", "storage_pool_name") } },
        { "storage-pool-definition", "spd", "delete", "d", "DELETE", "/v1/storage-pool-definitions/{pool}",
                "delete a pool name", NULL, NULL, { POS("name", "{pool}", "pool") }, { { 0 } } },
        PROPERTY_VERBS("storage-pool-definition", "spd", "/v1/storage-pool-definitions/{pool}", "PUT",
                POS("name", "{pool}", "pool"), ),
        { 0 },
};

static const struct cli_verb group_verbs[] = {
        { "resource-group", "rg", "create", "c", "POST", "/v1/resource-groups", "create a resource group",
                NULL, NULL,
                { POS("name", "/name", "name"), OPT('d', "--description", "/description", "what it is for"),
                        OPT_AS(TYPE_INT, 0, "--place-count", "/select_filter/place_count", "replicas"),
                        FILTER("/select_filter"),
                        MANY_AS(TYPE_UPPER, 'l', "--layer-list", "/select_filter/layer_stack/-",
                                "layers, top first"),
                        OPT_AS(TYPE_INT, 0, "--peer-slots", "/peer_slots", "DRBD peers to leave room for") },
                { { 0 } } },
        { "resource-group", "rg", "modify", "m", "PUT", "/v1/resource-groups/{rg}", "change a resource group",
                NULL, NULL,
                { POS("name", "{rg}", "group"), OPT('d', "--description", "/description", "what it is for"),
                        OPT_AS(TYPE_INT, 0, "--place-count", "/select_filter/place_count", "replicas"),
                        FILTER("/select_filter"),
                        MANY_AS(TYPE_UPPER, 'l', "--layer-list", "/select_filter/layer_stack/-",
                                "layers, top first") },
                { { 0 } } },
        { "resource-group", "rg", "list", "l", "GET", "/v1/resource-groups", "list resource groups", NULL,
                NULL, { MANY('r', "--resource-groups", "?resource_groups", "only these") },
                { COL("ResourceGroup", "name"), CELL("SelectFilter", cell_select_filter),
                        COL("Description", "description") } },
        { "resource-group", "rg", "delete", "d", "DELETE", "/v1/resource-groups/{rg}",
                "delete a resource group", NULL, NULL, { POS("name", "{rg}", "group") }, { { 0 } } },
        { "resource-group", "rg", "spawn-resources", "spawn", "POST", "/v1/resource-groups/{rg}/spawn",
                "make a resource from a group", before_spawn, NULL,
                { POS("group", "{rg}", "group"),
                        POS("name", "/resource_definition_name", "name of the new resource"),
                        { ARG_POS_MANY, TYPE_STR, 0, "sizes", "", "size of each volume" },
                        FLAG('p', "--partial", "/partial", "fewer or more sizes than volume groups are fine"),
                        FLAG('d', "--definition-only", "/definitions_only", "do not place it"),
                        OPT_AS(TYPE_INT, 0, "--place-count", "/select_filter/place_count", "replicas"),
                        FILTER("/select_filter"), ASYNC },
                { { 0 } } },
        { "resource-group", "rg", "adjust", "adj", "POST", "/v1/resource-groups/{rg}/adjust",
                "place missing replicas", NULL, NULL, { POS("name", "{rg}", "group"), ASYNC }, { { 0 } } },
        { "resource-group", "rg", "query-size-info", "qsi", "POST",
                "/v1/resource-groups/{rg}/query-size-info", "how much can be placed", NULL, rows_one,
                { POS("name", "{rg}", "group") },
                { CELL_RIGHT("MaxVolumeSize", cell_size_max),
                        CELL_RIGHT("AvailableSize", cell_size_available),
                        CELL_RIGHT("Capacity", cell_size_capacity),
                        COL("Next Spawn Result", "space_info.next_spawn_result.node_name") } },
        PROPERTY_VERBS(
                "resource-group", "rg", "/v1/resource-groups/{rg}", "PUT", POS("name", "{rg}", "group"), ),
        { "volume-group", "vg", "create", "c", "POST", "/v1/resource-groups/{rg}/volume-groups",
                "add a volume to a group", NULL, NULL,
                { POS("group", "{rg}", "group"), OPT_AS(TYPE_INT, 'n', "--vlmnr", "/volume_number", "number"),
                        FLAG(0, "--gross", "/flags/-=GROSS_SIZE", "sizes include metadata") },
                { { 0 } } },
        { "volume-group", "vg", "list", "l", "GET", "/v1/resource-groups/{rg}/volume-groups",
                "list a group's volumes", NULL, NULL, { POS("group", "{rg}", "group") },
                { COL("VolumeNr", "volume_number"), COL("Flags", "flags") } },
        { "volume-group", "vg", "delete", "d", "DELETE", "/v1/resource-groups/{rg}/volume-groups/{nr}",
                "remove a volume from a group", NULL, NULL,
                { POS("group", "{rg}", "group"), POS("number", "{nr}", "volume number") }, { { 0 } } },
        PROPERTY_VERBS("volume-group", "vg", "/v1/resource-groups/{rg}/volume-groups/{nr}", "PUT",
                POS("group", "{rg}", "group"), POS("number", "{nr}", "volume number"), ),
        { 0 },
};

static const struct cli_verb definition_verbs[] = {
        { "resource-definition", "rd", "create", "c", "POST", "/v1/resource-definitions", "define a resource",
                NULL, NULL,
                { POS_OPT("name", "/resource_definition/name", "name"),
                        OPT('e', "--external-name", "/resource_definition/external_name",
                                "any name; a legal one is derived"),
                        OPT(0, "--resource-group", "/resource_definition/resource_group_name", "group"),
                        MANY_AS(TYPE_UPPER, 'l', "--layer-list", "/resource_definition/layer_data/-/type",
                                "layers, top first"),
                        OPT_AS(TYPE_INT, 'p', "--port", "/drbd_port", "DRBD port"),
                        OPT_AS(TYPE_INT, 0, "--peer-slots", "/drbd_peer_slots",
                                "DRBD peers to leave room for") },
                { { 0 } } },
        { "resource-definition", "rd", "list", "l", "GET", "/v1/resource-definitions",
                "list resource definitions", NULL, NULL,
                { MANY('r', "--resource-definitions", "?resource_definitions", "only these") },
                { COL("ResourceName", "name"), COL("ResourceGroup", "resource_group_name"),
                        COL("Layers", "layer_data.type"), CELL("State", cell_dfn_state) } },
        { "resource-definition", "rd", "modify", "m", "PUT", "/v1/resource-definitions/{rd}",
                "change a resource definition", NULL, NULL,
                { POS("name", "{rd}", "resource"), OPT(0, "--resource-group", "/resource_group", "group") },
                { { 0 } } },
        { "resource-definition", "rd", "delete", "d", "DELETE", "/v1/resource-definitions/{rd}",
                "delete a resource everywhere", NULL, NULL, { POS("name", "{rd}", "resource"), ASYNC },
                { { 0 } } },
        { "resource-definition", "rd", "auto-place", "ap", "POST", "/v1/resource-definitions/{rd}/autoplace",
                "place replicas", NULL, NULL,
                { POS("name", "{rd}", "resource"),
                        OPT_AS(TYPE_INT, 0, "--place-count", "/select_filter/place_count", "replicas in all"),
                        OPT_AS(TYPE_INT, 0, "--additional-place-count",
                                "/select_filter/additional_place_count", "replicas more"),
                        FILTER("/select_filter"),
                        MANY_AS(TYPE_UPPER, 'l', "--layer-list", "/layer_list/-", "layers, top first"),
                        ASYNC },
                { { 0 } } },
        { "resource-definition", "rd", "clone", "cln", "POST", "/v1/resource-definitions/{rd}/clone",
                "make a new resource with the same data; waits until it is complete", before_clone, NULL,
                { POS("source", "{rd}", "resource"), POS_OPT("name", "/name", "name of the new one"),
                        OPT('e', "--external-name", "/external_name", "any name; a legal one is derived"),
                        FLAG(0, "--use-zfs-clone", "/use_zfs_clone",
                                "ZFS: a clone that depends on a snapshot"),
                        MANY_AS(TYPE_UPPER, 'l', "--layer-list", "/layer_list/-", "layers, top first"),
                        OPT_AS(TYPE_INT, 0, "--volume-passphrases", "",
                                "so many of its volumes get other passphrases: asked for, or read from "
                                "standard input"),
                        OPT(0, "--resource-group", "/resource_group", "group of the new one"),
                        FLAG(0, "--no-wait", "", "do not wait until it is complete"),
                        OPT_AS(TYPE_INT, 0, "--wait-timeout", "", "seconds to wait at most") },
                { { 0 } }, .after = after_clone },
        { "resource-definition", "rd", "wait-sync", "ws", "GET", "/v1/resource-definitions/{rd}/sync-status",
                "wait until all replicas are up to date", NULL, NULL,
                { POS("name", "{rd}", "resource"),
                        OPT_AS(TYPE_INT, 0, "--wait-timeout", "", "seconds to wait at most") },
                { { 0 } }, .after = after_wait_sync },
        PROPERTY_VERBS("resource-definition", "rd", "/v1/resource-definitions/{rd}", "PUT",
                POS("name", "{rd}", "resource"), ),
        { "volume-definition", "vd", "create", "c", "POST",
                "/v1/resource-definitions/{rd}/volume-definitions", "add a volume", before_volume_create,
                NULL,
                { POS("resource", "{rd}", "resource"),
                        { ARG_POS, TYPE_SIZE, 0, "size", "/volume_definition/size_kib",
                                "size: 10G, 512MiB, 20 (GiB)" },
                        OPT_AS(TYPE_INT, 'n', "--vlmnr", "/volume_definition/volume_number", "number"),
                        OPT_AS(TYPE_INT, 'm', "--minor", "/drbd_minor_number", "DRBD minor"),
                        FLAG(0, "--gross", "/volume_definition/flags/-=GROSS_SIZE",
                                "the size includes metadata"),
                        FLAG(0, "--passphrase", "",
                                "with LUKS: a passphrase of its own; it is asked for, or read from standard "
                                "input"),
                        ASYNC },
                { { 0 } } },
        { "volume-definition", "vd", "list", "l", "GET",
                "/v1/resource-definitions?with_volume_definitions=true", "list volume definitions", NULL,
                rows_volume_definitions,
                { MANY('r', "--resource-definitions", "?resource_definitions", "of these") },
                { COL("ResourceName", "parent_name"), COL("VolumeNr", "volume_number"),
                        CELL("VolumeMinor", cell_minor), CELL_RIGHT("Size", cell_size),
                        CELL("Gross", cell_gross), CELL("State", cell_dfn_state) } },
        { "volume-definition", "vd", "set-size", "size", "PUT",
                "/v1/resource-definitions/{rd}/volume-definitions/{nr}", "grow or shrink a volume", NULL,
                NULL,
                { POS("resource", "{rd}", "resource"), POS("number", "{nr}", "volume number"),
                        { ARG_POS, TYPE_SIZE, 0, "size", "/size_kib", "new size" }, ASYNC },
                { { 0 } } },
        { "volume-definition", "vd", "modify-passphrase", "mp", "PUT",
                "/v1/resource-definitions/{rd}/volume-definitions/{nr}/encryption-passphrase",
                "change the passphrase of an encrypted volume; it is asked for, or read from standard input",
                before_volume_passphrase, NULL,
                { POS("resource", "{rd}", "resource"), POS("number", "{nr}", "volume number"), ASYNC },
                { { 0 } } },
        { "volume-definition", "vd", "delete", "d", "DELETE",
                "/v1/resource-definitions/{rd}/volume-definitions/{nr}", "delete a volume everywhere", NULL,
                NULL, { POS("resource", "{rd}", "resource"), POS("number", "{nr}", "volume number"), ASYNC },
                { { 0 } } },
        PROPERTY_VERBS("volume-definition", "vd", "/v1/resource-definitions/{rd}/volume-definitions/{nr}",
                "PUT", POS("resource", "{rd}", "resource"), POS("number", "{nr}", "volume number"), ),
        { 0 },
};

static const struct cli_verb resource_verbs[] = {
        { "resource", "r", "create", "c", "POST", "/v1/resource-definitions/{rd}/{what}",
                "put a resource on nodes", before_resource_create, NULL,
                { { ARG_POS_MANY, TYPE_STR, 0, "names", "",
                          "nodes, then the resource; or the resource with --auto-place" },
                        OPT('s', "--storage-pool", "", "pool"),
                        OPT_AS(TYPE_INT, 0, "--auto-place", "", "let so many replicas be placed"),
                        FLAG(0, "--drbd-diskless", "", "without a disk"),
                        FLAG(0, "--nvme-initiator", "", "without a disk: use the NVMe target"),
                        MANY_AS(TYPE_UPPER, 'l', "--layer-list", "", "layers, top first"), ASYNC },
                { { 0 } } },
        { "resource", "r", "list", "l", "GET", "/v1/view/resources", "list resources", NULL, NULL,
                { MANY('n', "--nodes", "?nodes", "on these nodes"),
                        MANY('r', "--resources", "?resources", "these"),
                        MANY('s', "--storage-pools", "?storage_pools", "in these pools") },
                { COL("ResourceName", "name"), COL("Node", "node_name"), CELL("Layers", cell_rsc_layers),
                        CELL("Usage", cell_rsc_usage), CELL("Conns", cell_rsc_conns),
                        CELL("State", cell_rsc_state), CELL("CreatedOn", cell_created) } },
        { "resource", "r", "list-volumes", "lv", "GET", "/v1/view/resources",
                "list volumes with their devices", NULL, rows_volumes,
                { MANY('n', "--nodes", "?nodes", "on these nodes"),
                        MANY('r', "--resources", "?resources", "of these"),
                        MANY('s', "--storage-pools", "?storage_pools", "in these pools") },
                { COL("Resource", "parent_name"), COL("Node", "parent_node_name"),
                        COL("StoragePool", "storage_pool_name"), COL("VolNr", "volume_number"),
                        CELL("MinorNr", cell_minor), COL("DeviceName", "device_path"),
                        CELL_RIGHT("Allocated", cell_vlm_allocated), CELL("InUse", cell_vlm_in_use),
                        COL("State", "disk_state") } },
        { "resource", "r", "delete", "d", "DELETE", "/v1/resource-definitions/{rd}/resources/{node}",
                "take a resource off a node", NULL, NULL,
                { POS("node", "{node}", "node"), POS("name", "{rd}", "resource"),
                        FLAG(0, "--keep-tiebreaker", "?keep_tiebreaker",
                                "the automatic tiebreaker stays enabled"),
                        ASYNC },
                { { 0 } } },
        { "resource", "r", "make-available", "mkavail", "POST",
                "/v1/resource-definitions/{rd}/resources/{node}/make-available",
                "see to it that a node can use a resource", NULL, NULL,
                { POS("node", "{node}", "node"), POS("name", "{rd}", "resource"),
                        FLAG(0, "--diskful", "/diskful", "with a replica of its own"), ASYNC },
                { { 0 } } },
        PROPERTY_VERBS("resource", "r", "/v1/resource-definitions/{rd}/resources/{node}", "PUT",
                POS("node", "{node}", "node"), POS("name", "{rd}", "resource"), ),
        PROPERTY_VERBS("resource-connection", "rc",
                "/v1/resource-definitions/{rd}/resource-connections/{a}/{b}", "PUT",
                POS("node", "{a}", "node"), POS("other", "{b}", "node"), POS("name", "{rd}", "resource"), ),
        { "volume", "v", "list", "l", "GET", "/v1/view/resources", "list volumes with their devices", NULL,
                rows_volumes,
                { MANY('n', "--nodes", "?nodes", "on these nodes"),
                        MANY('r', "--resources", "?resources", "of these"),
                        MANY('s', "--storage-pools", "?storage_pools", "in these pools") },
                { COL("Resource", "parent_name"), COL("Node", "parent_node_name"),
                        COL("StoragePool", "storage_pool_name"), COL("VolNr", "volume_number"),
                        CELL("MinorNr", cell_minor), COL("DeviceName", "device_path"),
                        CELL_RIGHT("Allocated", cell_vlm_allocated), CELL("InUse", cell_vlm_in_use),
                        COL("State", "disk_state") } },
        { 0 },
};

static const struct cli_verb controller_verbs[] = {
        { "controller", "c", "version", "v", "GET", "/v1/controller/version", "what answers", NULL, rows_one,
                { { 0 } },
                { COL("Version", "version"), COL("RestApi", "rest_api_version"), COL("Git", "git_hash"),
                        COL("Built", "build_time") } },
        PROPERTY_VERBS("controller", "c", "/v1/controller/properties", "POST", ),
        { "key-value-store", "kv", "list", "l", "GET", "/v1/key-value-store", "list instances", NULL, NULL,
                { { 0 } }, { COL("Name", "name") } },
        { "key-value-store", "kv", "show", "s", "GET", "/v1/key-value-store", "show an instance", NULL,
                rows_named_props, { POS("name", "", "instance") },
                { COL("Key", "key"), COL("Value", "value") } },
        { "key-value-store", "kv", "modify", "m", "PUT", "/v1/key-value-store/{kv}",
                "set a key, or delete it when no value is given", before_set_property, NULL,
                { POS("name", "{kv}", "instance"), POS("key", "", "key"), POS_OPT("value", "", "value") },
                { { 0 } } },
        { "encryption", "e", "create-passphrase", "cp", "POST", "/v1/encryption/passphrase",
                "set the master passphrase; it is asked for, or read from standard input",
                before_passphrase_create, NULL, { { 0 } }, { { 0 } } },
        { "encryption", "e", "enter-passphrase", "ep", "PATCH", "/v1/encryption/passphrase",
                "unlock the cluster after a restart", before_passphrase_enter, NULL, { { 0 } }, { { 0 } } },
        { "encryption", "e", "modify-passphrase", "mp", "PUT", "/v1/encryption/passphrase",
                "change the master passphrase: the present one first, then the new one",
                before_passphrase_modify, NULL, { { 0 } }, { { 0 } } },
        { "encryption", "e", "status", "s", "GET", "/v1/encryption/passphrase", "unset, locked or unlocked",
                NULL, rows_one, { { 0 } }, { COL("Status", "status") } },
        { "error-reports", "err", "list", "l", "GET", "/v1/error-reports", "list error reports", NULL, NULL,
                { MANY('n', "--nodes", "?node", "of these nodes") },
                { COL("Id", "filename"), CELL("Datetime", cell_report_time), COL("Node", "node_name"),
                        COL("Exception", "exception_message") } },
        { "error-reports", "err", "show", "s", "GET", "/v1/error-reports/{id}", "show an error report", NULL,
                NULL, { POS("id", "{id}", "report") }, { COL("Report", "text") } },
        { "error-reports", "err", "delete", "d", "DELETE", "/v1/error-reports/{id}", "delete an error report",
                NULL, NULL, { POS("id", "{id}", "report") }, { { 0 } } },
        { 0 },
};

const struct cli_verb *const cli_verb_tables[] = { node_verbs, pool_verbs, group_verbs, definition_verbs,
        resource_verbs, cli_move_verbs, cli_snapshot_verbs, cli_remote_verbs, cli_backup_verbs,
        cli_file_verbs, controller_verbs, NULL };
