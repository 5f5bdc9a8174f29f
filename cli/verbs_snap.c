/* The verbs of snapshots, with the names and short forms of LINSTOR's client. */
#include <string.h>

#include "cli/verb_rows.h"

int cli_put_renames(struct cli_call *call, const char *target)
{
        size_t i;
        json_t *word, *map = NULL;
        json_array_foreach(json_object_get(call->values, "--storpool-rename"), i, word)
        {
                const char *text = json_string_value(word), *equals = strchr(text, '=');
                if (equals == NULL || equals == text || equals[1] == 0)
                        return cli_problem(call, "--storpool-rename takes OLD=NEW, got \"%s\"", text);
                if (map == NULL) {
                        map = json_object();
                        cli_body_put(call, target, map);
                }
                (void)json_object_setn_new(map, text, (size_t)(equals - text), json_string(equals + 1));
        }
        return 0;
}

static int before_restore(struct cli_call *call) { return cli_put_renames(call, "/stor_pool_rename"); }

/* One entry for each resource, all with the same name and nodes. */
static int before_create_multiple(struct cli_call *call)
{
        size_t i;
        json_t *resource, *list = json_array(), *nodes = json_object_get(call->values, "--node_names");
        json_array_foreach(json_object_get(call->values, "--resource_names"), i, resource)
        {
                json_t *one =
                        json_pack("{sO,ss}", "resource_name", resource, "name", cli_value(call, "snapshot"));
                if (nodes != NULL) (void)json_object_set(one, "nodes", nodes);
                (void)json_array_append_new(list, one);
        }
        cli_body_put(call, "/snapshots", list);
        return 0;
}

static int before_rollback(struct cli_call *call)
{
        const char *how = cli_value(call, "--zfs-rollback-strategy");
        if (how == NULL || strcmp(how, "rollback") == 0 || strcmp(how, "clone") == 0 ||
                strcmp(how, "dynamic") == 0)
                return 0;
        return cli_problem(call, "--zfs-rollback-strategy is rollback, clone or dynamic, got \"%s\"", how);
}

#define SNAPSHOT_PATH "/v1/resource-definitions/{rd}/snapshots/{snap}"

const struct cli_verb cli_snapshot_verbs[] = {
        { "snapshot", "s", "create", "c", "POST", "/v1/resource-definitions/{rd}/snapshots",
                "take a snapshot of a resource", NULL, NULL,
                { ANY("nodes", "/nodes/-", "nodes; without any, wherever the resource has a disk"),
                        POS("resource", "{rd}", "resource"), POS("snapshot", "/name", "name of the snapshot"),
                        ASYNC },
                { { 0 } } },
        { "snapshot", "s", "create-multiple", "cm", "POST", "/v1/actions/snapshot/multi",
                "take snapshots of several resources at one point in time", before_create_multiple, NULL,
                { POS("snapshot", "", "name of the snapshots"),
                        { ARG_OPT_MANY, TYPE_STR, 'r', "--resource_names", "", "resources", true },
                        MANY('n', "--node_names", "",
                                "nodes; without any, wherever the resources have disks") },
                { { 0 } } },
        { "snapshot", "s", "list", "l", "GET", "/v1/view/snapshots", "list snapshots", NULL, NULL,
                { MANY('r', "--resources", "?resources", "of these resources"),
                        MANY('n', "--nodes", "?nodes", "on these nodes") },
                { COL("ResourceName", "resource_name"), COL("SnapshotName", "name"),
                        COL("NodeNames", "nodes"), CELL("Volumes", cell_snap_volumes),
                        CELL("CreatedOn", cell_snap_created), CELL("State", cell_snap_state) } },
        { "snapshot", "s", "delete", "d", "DELETE", SNAPSHOT_PATH, "delete a snapshot", NULL, NULL,
                { POS("resource", "{rd}", "resource"), POS("snapshot", "{snap}", "snapshot"),
                        MANY('n', "--nodes", "?nodes", "only from these nodes"), ASYNC },
                { { 0 } } },
        { "snapshot", "s", "rollback", "rb", "POST", "/v1/resource-definitions/{rd}/snapshot-rollback/{snap}",
                "make a resource what it was; it may not be in use", before_rollback, NULL,
                { POS("resource", "{rd}", "resource"), POS("snapshot", "{snap}", "snapshot"),
                        OPT(0, "--zfs-rollback-strategy", "/zfs_rollback_strategy",
                                "rollback, clone or dynamic") },
                { { 0 } } },
        PROPERTY_VERBS("snapshot", "s", SNAPSHOT_PATH, "PUT", POS("resource", "{rd}", "resource"),
                POS("snapshot", "{snap}", "snapshot"), ),
        { "snapshot resource", "s r", "restore", "rst", "POST",
                "/v1/resource-definitions/{rd}/snapshot-restore-resource/{snap}",
                "make resources from a snapshot; their definition and its volumes exist already",
                before_restore, NULL,
                { ANY("nodes", "/nodes/-", "nodes; without any, wherever the snapshot is"),
                        MUST("--from-resource", "--fr", "{rd}", "resource that the snapshot was taken of"),
                        MUST("--from-snapshot", "--fs", "{snap}", "the snapshot"),
                        MUST("--to-resource", "--tr", "/to_resource", "definition that gets the resources"),
                        MANY(0, "--storpool-rename", "",
                                "OLD=NEW, for LINSTOR's clients: pools cannot change here") },
                { { 0 } } },
        { "snapshot volume-definition", "s vd", "restore", "rst", "POST",
                "/v1/resource-definitions/{rd}/snapshot-restore-volume-definition/{snap}",
                "make volume definitions as a snapshot has them", NULL, NULL,
                { MUST("--from-resource", "--fr", "{rd}", "resource that the snapshot was taken of"),
                        MUST("--from-snapshot", "--fs", "{snap}", "the snapshot"),
                        MUST("--to-resource", "--tr", "/to_resource", "definition that gets the volumes") },
                { { 0 } } },
        { 0 },
};
