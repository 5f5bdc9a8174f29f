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
