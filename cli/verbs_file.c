/* The verbs of external files, with the names and short forms of LINSTOR's client. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/http.h"
#include "cli/verb_rows.h"
#include "wire/base/mem.h"

#define CONTENT_MAX ((size_t)1 << 20) /* the controller's own limit is lower, and says so */

/* The new content comes from standard input. */
static int before_modify(struct cli_call *call)
{
        unsigned char *content = xmalloc(CONTENT_MAX + 1);
        size_t n = fread(content, 1, CONTENT_MAX + 1, stdin);
        int err =
                n > CONTENT_MAX ? cli_problem(call, "the content is larger than %zu bytes", CONTENT_MAX) : 0;
        if (err == 0 && ferror(stdin)) err = cli_problem(call, "standard input cannot be read");
        if (err == 0) {
                size_t size = sodium_base64_ENCODED_LEN(n, sodium_base64_VARIANT_ORIGINAL);
                char *text = xmalloc(size);
                cli_body_put(call, "/content",
                        json_string(
                                sodium_bin2base64(text, size, content, n, sodium_base64_VARIANT_ORIGINAL)));
                free(text);
        }
        free(content);
        return err;
}

/* The content as it is, instead of a table. */
static json_t *rows_content(json_t *answer, struct cli_call *call)
{
        const char *text = json_string_value(json_object_get(answer, "content"));
        size_t n = text != NULL ? strlen(text) : 0, got = 0;
        unsigned char *content = xmalloc(n + 1);
        (void)call;
        if (text != NULL &&
                sodium_base642bin(content, n, text, n, NULL, &got, NULL, sodium_base64_VARIANT_ORIGINAL) == 0)
                (void)fwrite(content, 1, got, stdout);
        free(content);
        return NULL;
}

#define FILE_ARG POS("file_name", "{file}", "absolute path on the nodes")
const struct cli_verb cli_file_verbs[] = {
        { "file", "f", "list", "l", "GET", "/v1/files", "list external files", NULL, NULL, { { 0 } },
                { COL("Path", "path") } },
        { "file", "f", "show", "s", "GET", "/v1/files/{file}",
                "write the content of a file to standard output", NULL, rows_content, { FILE_ARG },
                { COL("Content", "content") } },
        { "file", "f", "modify", "m", "PUT", "/v1/files/{file}",
                "make a file, or change it: its content is read from standard input", before_modify, NULL,
                { FILE_ARG, MANY(0, "--alt-suffix", "/alt_suffixes/-",
                                    "where the file exists with this suffix, that one is kept up to date") },
                { { 0 } } },
        { "file", "f", "delete", "d", "DELETE", "/v1/files/{file}", "delete a file, also from all nodes",
                NULL, NULL, { FILE_ARG }, { { 0 } } },
        { "file", "f", "deploy", "dep", "POST", "/v1/resource-definitions/{rsc}/files/{file}",
                "write a file on every node with a replica", NULL, NULL,
                { FILE_ARG, POS("resource_name", "{rsc}", "resource definition") }, { { 0 } } },
        { "file", "f", "undeploy", "und", "DELETE", "/v1/resource-definitions/{rsc}/files/{file}",
                "remove it where no other resource needs it", NULL, NULL,
                { FILE_ARG, POS("resource_name", "{rsc}", "resource definition") }, { { 0 } } },
        { 0 },
};
