/* Verbs about disks that come and go, and nodes that are taken out of service. */
#include "cli/verb_rows.h"

static int before_toggle_disk(struct cli_call *call)
{
        bool diskless = json_object_get(call->values, "--diskless") != NULL;
        bool client = json_object_get(call->values, "--drbd-client") != NULL;
        const char *pool = cli_value(call, "--storage-pool"), *from = cli_value(call, "--migrate-from");
        if ((diskless || client) && (pool != NULL || from != NULL || diskless == client))
                return cli_problem(
                        call, "a resource without a disk has no storage pool, and is one thing only");
        cli_body_put(call, "/operation",
                json_string(client     ? "INTO_DRBD_CLIENT"
                            : diskless ? "INTO_DRBD_DISKLESS"
                                       : "INTO_DRBD_DISKFUL"));
        return 0;
}

/* Alone it shows what is wrong and what helps; with one of its options it does that. */
static int before_resolve(struct cli_call *call)
{
        const char *keep = cli_value(call, "--keep");
        bool again = json_object_get(call->values, "--reconnect") != NULL;
        if (keep != NULL && again) return cli_problem(call, "--keep connects anew by itself");
        if (keep == NULL && !again) return 0;
        call->method = "POST";
        if (keep != NULL) cli_body_put(call, "/keep", json_string(keep));
        return 0;
}

const struct cli_verb cli_move_verbs[] = {
        { "node", "n", "evacuate", "evac", "PUT", "/v1/nodes/{node}/evacuate",
                "move the resources of a node to other nodes", NULL, NULL,
                { POS("name", "{node}", "node"), MANY(0, "--target", "/target/-", "only to these nodes"),
                        MANY(0, "--do-not-target", "/do_not_target/-", "not to these nodes"), ASYNC },
                { { 0 } } },
        { "node", "n", "restore", "rst", "PUT", "/v1/nodes/{node}/restore",
                "take an evicted or evacuated node back", NULL, NULL,
                { POS("name", "{node}", "node"),
                        FLAG(0, "--delete-resources", "/delete_resources", "without its resources"),
                        FLAG(0, "--delete-snapshots", "/delete_snapshots", "without its snapshots"), ASYNC },
                { { 0 } } },
        { "resource", "r", "toggle-disk", "td", "PUT",
                "/v1/resource-definitions/{rd}/resources/{node}/toggle-disk",
                "give a diskless resource a disk, or take it away", before_toggle_disk, NULL,
                { POS("node", "{node}", "node"), POS("name", "{rd}", "resource"),
                        OPT('s', "--storage-pool", "/storage_pool", "pool of the disk"),
                        OPT(0, "--migrate-from", "/migrate_from",
                                "node whose disk goes when this one is up to date"),
                        FLAG('d', "--diskless", "", "take the disk away"),
                        FLAG(0, "--drbd-client", "", "take the disk away, and the vote for quorum"), ASYNC },
                { { 0 } } },
        { "resource", "r", "resolve", "rslv", "GET", "/v1/resource-definitions/{rd}/resolve",
                "show what is wrong with DRBD's connections of a resource, or end a split brain",
                before_resolve, NULL,
                { POS("name", "{rd}", "resource"),
                        OPT(0, "--keep", "", "node whose data is kept; others give up their own changes"),
                        FLAG(0, "--reconnect", "", "only try once more"), ASYNC },
                { COL("Resource", "name"), COL("Node", "node_name"), CELL("Role", cell_resolve_role),
                        COL("Disk", "disk_state"), COL("Peer", "peer"), COL("Connection", "connection"),
                        COL("Replication", "replication"), CELL_RIGHT("OutOfSync", cell_resolve_out),
                        COL("Trouble", "troubles") },
                .note = "remedy" },
        { "resource", "r", "activate", "act", "POST",
                "/v1/resource-definitions/{rd}/resources/{node}/activate",
                "bring a deactivated resource up again", NULL, NULL,
                { POS("node", "{node}", "node"), POS("name", "{rd}", "resource"), ASYNC }, { { 0 } } },
        { "resource", "r", "deactivate", "deact", "POST",
                "/v1/resource-definitions/{rd}/resources/{node}/deactivate",
                "take the devices of a resource down; its data stay", NULL, NULL,
                { POS("node", "{node}", "node"), POS("name", "{rd}", "resource"), ASYNC }, { { 0 } } },
        { "orphan", "or", "list", "l", "GET", "/v1/orphans",
                "list devices that satellites have made and that the cluster does not know", NULL, NULL,
                { MANY('n', "--nodes", "?nodes", "only on these nodes") },
                { COL("Node", "node_name"), COL("Resource", "rsc_name"), COL("UUID", "uuid"),
                        COL_RIGHT("VolumeNr", "volume_number"), COL("Backing", "backing_device"),
                        COL("Device", "device_path"), CELL_RIGHT("Allocated", cell_vlm_allocated),
                        COL("InUse", "in_use") } },
        { "orphan", "or", "delete", "d", "DELETE", "/v1/nodes/{node}/orphans/{rsc}/{uuid}",
                "remove what was made for a resource that the cluster does not know, with its data", NULL,
                NULL,
                { POS("node", "{node}", "node"), POS("resource", "{rsc}", "its name"),
                        POS("uuid", "{uuid}", "its uuid"), ASYNC },
                { { 0 } } },
        { 0 },
};
