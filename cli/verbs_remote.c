/* The verbs of remotes, with the names and short forms of LINSTOR's client. Keys that are not given as arguments, which everybody on
 * the machine can read, are asked for, or read from standard input. */
#include <string.h>

#include "cli/passphrase.h"
#include "cli/verb_rows.h"
#include "wire/base/buf.h"

static int before_create_s3(struct cli_call *call)
{
        int err = 0;
        if (cli_value(call, "access_key") == NULL) err = cli_secret_ask(call, "Access key", "/access_key");
        if (err == 0 && cli_value(call, "secret_key") == NULL)
                err = cli_secret_ask(call, "Secret key", "/secret_key");
        return err;
}

static int before_create_linstor(struct cli_call *call)
{
        if (json_object_get(call->values, "--ask-passphrase") == NULL) return 0;
        return cli_secret_ask(call, "Master passphrase of the other cluster", "/passphrase");
}

/* The kinds have lists of their own. */
static json_t *rows_remotes(json_t *answer, struct cli_call *call)
{
        static const struct {
                const char *key, *kind;
        } kinds[] = { { "s3_remotes", "S3" }, { "linstor_remotes", "Linstor" } };
        json_t *rows = json_array();
        (void)call;
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
                size_t i;
                json_t *r;
                json_array_foreach(json_object_get(answer, kinds[k].key), i, r)
                {
                        json_t *row = json_copy(r);
                        (void)json_object_set_new(row, "type", json_string(kinds[k].kind));
                        (void)json_array_append_new(rows, row);
                }
        }
        return rows;
}

/* "us-east-1 https://s3.example/bucket" or the URL */
static char *cell_remote_info(const json_t *r)
{
        struct buf b = { 0 };
        const char *url = json_string_value(json_object_get(r, "url"));
        if (url != NULL) buf_put_str(&b, url);
        else
                buf_printf(&b, "%s %s/%s", json_string_value(json_object_get(r, "region")),
                        json_string_value(json_object_get(r, "endpoint")),
                        json_string_value(json_object_get(r, "bucket")));
        char *text = b.n > 0 ? xstrdup(buf_cstr(&b)) : NULL;
        buf_done(&b);
        return text;
}

/* The backups are a map by the name of their description. */
static json_t *rows_backups(json_t *answer, struct cli_call *call)
{
        json_t *rows = json_array(), *b;
        const char *name;
        (void)call;
        json_object_foreach(json_object_get(answer, "linstor"), name, b)
        {
                (void)name;
                (void)json_array_append(rows, b);
        }
        return rows;
}

static char *cell_backup_status(const json_t *b)
{
        const char *why = json_string_value(json_object_get(b, "fail_messages"));
        if (why != NULL) return xstrdup(why);
        if (json_is_true(json_object_get(b, "shipping"))) return xstrdup("Shipping");
        return xstrdup(json_is_true(json_object_get(b, "success")) ? "Success" : "Incomplete");
}

static json_t *rows_info(json_t *answer, struct cli_call *call)
{
        (void)call;
        return json_pack("[O]", answer);
}

static int before_backup_restore(struct cli_call *call) { return cli_put_renames(call, "/stor_pool_map"); }

/* Only what has changed, unless --full. */
static int before_backup_ship(struct cli_call *call)
{
        int err = cli_put_renames(call, "/stor_pool_rename");
        bool full = json_object_get(call->values, "--full") != NULL;
        if (err == 0) cli_body_put(call, "/allow_incremental", json_boolean(!full));
        return err;
}

/* The same. */
static int before_backup_create(struct cli_call *call)
{
        bool full = json_object_get(call->values, "--full") != NULL;
        cli_body_put(call, "/incremental", json_boolean(!full));
        return 0;
}

static int before_delete_all(struct cli_call *call)
{
        return json_array_append_new(call->query, json_pack("[ss]", "all", "true"));
}

#define BACKUPS "/v1/remotes/{remote}/backups"
#define REMOTE_ARG POS("remote", "{remote}", "remote of kind S3")
#define WHICH_BACKUP                                                                   \
        OPT('r', "--resource", "/src_rsc_name", "the newest backup of this resource"), \
                OPT('s', "--snapshot", "/src_snap_name", "of this snapshot"),          \
                OPT(0, "--id", "/last_backup", "this backup"),                         \
                MANY(0, "--storpool-rename", "", "OLD=NEW: the pool of the backup, and the one here")

const struct cli_verb cli_backup_verbs[] = {
        { "backup", "b", "create", "c", "POST", BACKUPS, "make a backup of a resource in a bucket",
                before_backup_create, NULL,
                { REMOTE_ARG, POS("resource", "/rsc_name", "resource"),
                        OPT('n', "--node", "/node_name", "that is to send it"),
                        OPT('s', "--snap-name", "/snap_name", "of the snapshot that is made for it"),
                        FLAG(0, "--full", "", "all of it, not only what has changed since the last one"),
                        ASYNC },
                { { 0 } } },
        { "backup", "b", "list", "l", "GET", BACKUPS, "list the backups in a bucket", NULL, rows_backups,
                { REMOTE_ARG, OPT('r', "--resource", "?rsc_name", "of this resource"),
                        OPT('s', "--snapshot", "?snap_name", "of this snapshot") },
                { COL("Resource", "origin_rsc"), COL("Snapshot", "origin_snap"), COL("Id", "id"),
                        COL("FinishedAt", "finished_time"), COL("BasedOn", "based_on_id"),
                        CELL("Status", cell_backup_status) } },
        { "backup", "b", "info", "i", "POST", BACKUPS "/info", "what a backup needs to be restored",
                before_backup_restore, rows_info, { REMOTE_ARG, WHICH_BACKUP },
                { COL("Resource", "rsc"), COL("Snapshot", "snap"), COL("Id", "latest"),
                        COL_RIGHT("DownloadKiB", "dl_size_kib"), COL_RIGHT("SizeKiB", "alloc_size_kib") } },
        { "backup", "b", "restore", "rst", "POST", BACKUPS "/restore", "make a resource out of a backup",
                before_backup_restore, NULL,
                { REMOTE_ARG, POS("node", "/node_name", "node that gets it"),
                        POS("target", "/target_rsc_name", "name of the new resource"), WHICH_BACKUP,
                        FLAG(0, "--download-only", "/download_only",
                                "receive the snapshot, make no resource of it") },
                { { 0 } } },
        { "backup", "b", "ship", "s", "POST", BACKUPS "/ship", "ship a resource to another cluster",
                before_backup_ship, NULL,
                { POS("remote", "{remote}", "remote of kind Linstor"),
                        POS("source_resource", "/src_rsc_name", "resource here"),
                        POS("target_resource", "/dst_rsc_name", "its name there"),
                        OPT(0, "--source-node", "/src_node_name", "that is to send it"),
                        OPT(0, "--target-node", "/dst_node_name", "that is to receive it"),
                        OPT(0, "--target-net-if", "/dst_net_if_name",
                                "network interface where that node is reached"),
                        OPT(0, "--target-storage-pool", "/dst_stor_pool", "pool there"),
                        MANY(0, "--storpool-rename", "", "OLD=NEW: the pool here, and the one there"),
                        OPT(0, "--source-snapshot", "/src_snap_name",
                                "snapshot to ship; made if it is not there"),
                        OPT(0, "--target-snapshot", "/dst_snap_name", "its name there"),
                        FLAG(0, "--download-only", "/download_only", "no resource is made of it"),
                        OPT(0, "--target-resource-group", "/dst_rsc_grp", "group of the new resource"),
                        FLAG(0, "--full", "",
                                "all of it, not only what has changed since a snapshot of both"),
                        FLAG(0, "--async", "?async", "do not wait for what the other cluster says") },
                { { 0 } }, .after = after_backup_ship },
        { "backup", "b", "shipments", "shipments", "GET", "/v1/shipments", "list what is on its way", NULL,
                NULL, { { 0 } },
                { COL("Resource", "rsc_name"), COL("Snapshot", "snap_name"), COL("Remote", "remote_name"),
                        COL("Node", "node_name"), COL("Kind", "kind"), COL("Phase", "phase"),
                        COL("BasedOn", "base_snapshot"), COL_RIGHT("DoneKiB", "done_kib"),
                        COL_RIGHT("SizeKiB", "size_kib"), COL("Reason", "reason"), COL("Note", "note") } },
        { "backup", "b", "abort", "a", "POST", BACKUPS "/abort", "stop what is on its way", NULL, NULL,
                { REMOTE_ARG, POS("resource", "/rsc_name", "resource"),
                        FLAG(0, "--create", "/create", "backups only"),
                        FLAG(0, "--restore", "/restore", "restorations only"),
                        OPT('s', "--snapshot", "/snapshot", "only of this snapshot") },
                { { 0 } } },
        { "backup delete", "b d", "id", "id", "DELETE", BACKUPS, "delete one backup", NULL, NULL,
                { REMOTE_ARG, POS("id", "?id", "backup"),
                        FLAG(0, "--cascade", "?cascading", "also those that are based on it"),
                        FLAG(0, "--dry-run", "?dryrun", "only say what would be done") },
                { { 0 } } },
        { "backup delete", "b d", "filter", "f", "DELETE", BACKUPS,
                "delete those that fit all of the options", NULL, NULL,
                { REMOTE_ARG, OPT('r', "--resource", "?resource_name", "of this resource"),
                        OPT('n', "--node", "?node_name", "sent by this node"),
                        OPT('t', "--timestamp", "?timestamp", "older than YYYYMMDD_HHMMSS"),
                        FLAG(0, "--cascade", "?cascading", "also those that are based on them"),
                        FLAG(0, "--dry-run", "?dryrun", "only say what would be done") },
                { { 0 } } },
        { "backup delete", "b d", "all", "a", "DELETE", BACKUPS, "delete all backups", before_delete_all,
                NULL, { REMOTE_ARG, FLAG(0, "--dry-run", "?dryrun", "only say what would be done") },
                { { 0 } } },
        { "backup delete", "b d", "s3key", "s3", "DELETE", BACKUPS, "delete one object, whatever it is", NULL,
                NULL,
                { REMOTE_ARG, POS("key", "?s3key", "key of the object"),
                        FLAG(0, "--dry-run", "?dryrun", "only say what would be done") },
                { { 0 } } },
        { 0 },
};

#define S3_OPTIONS                                                           \
        OPT(0, "--endpoint", "/endpoint", "URL of the service"),             \
                OPT(0, "--bucket", "/bucket", "name of the bucket"),         \
                OPT(0, "--region", "/region", "region of the bucket"),       \
                OPT(0, "--access-key", "/access_key", "the new access key"), \
                OPT(0, "--secret-key", "/secret_key", "the new secret key")

const struct cli_verb cli_remote_verbs[] = {
        { "remote create", "remote c", "s3", "s3", "POST", "/v1/remotes/s3",
                "make a remote of a bucket; keys that are not given are read from standard input",
                before_create_s3, NULL,
                { POS("name", "/remote_name", "name of the remote"),
                        POS("endpoint", "/endpoint", "URL of the service"),
                        POS("bucket", "/bucket", "name of the bucket"),
                        POS("region", "/region", "region of the bucket"),
                        POS_OPT("access_key", "/access_key", "who signs"),
                        POS_OPT("secret_key", "/secret_key", "what is signed with"),
                        FLAG(0, "--use-path-style", "/use_path_style",
                                "the bucket is in the path, not in the host name") },
                { { 0 } } },
        { "remote create", "remote c", "linstor", "l", "POST", "/v1/remotes/linstor",
                "make a remote of another cluster", before_create_linstor, NULL,
                { POS("name", "/remote_name", "name of the remote"),
                        POS("url", "/url", "of its controllers' API"),
                        OPT(0, "--passphrase", "/passphrase", "its master passphrase"),
                        FLAG(0, "--ask-passphrase", "", "read that from standard input"),
                        OPT(0, "--cluster-id", "/cluster_id", "its id") },
                { { 0 } } },
        { "remote modify", "remote m", "s3", "s3", "PUT", "/v1/remotes/s3/{remote}",
                "change a remote of a bucket", NULL, NULL, { POS("name", "{remote}", "remote"), S3_OPTIONS },
                { { 0 } } },
        { "remote modify", "remote m", "linstor", "l", "PUT", "/v1/remotes/linstor/{remote}",
                "change a remote of another cluster", NULL, NULL,
                { POS("name", "{remote}", "remote"), OPT(0, "--url", "/url", "of its controllers' API"),
                        OPT(0, "--passphrase", "/passphrase", "its master passphrase"),
                        OPT(0, "--cluster-id", "/cluster_id", "its id") },
                { { 0 } } },
        { "remote", "rem", "list", "l", "GET", "/v1/remotes", "list remotes", NULL, rows_remotes, { { 0 } },
                { COL("Name", "remote_name"), COL("Type", "type"), CELL("Info", cell_remote_info) } },
        { "remote", "rem", "delete", "d", "DELETE", "/v1/remotes", "delete a remote", NULL, NULL,
                { POS("name", "?remote_name", "remote") }, { { 0 } } },
        { 0 },
};
