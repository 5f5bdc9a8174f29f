/* What the CLI shows: tables by libsmartcols, answers as LINSTOR's client shows them. Threads: one. */
#ifndef CLI_RENDER_H
#define CLI_RENDER_H

#include "cli/verb.h"

struct render_options {
        bool color, utf8, pastable, machine;
        bool warn_as_error;
};
void render_table(const struct render_options *o, const struct cli_verb *verb, const json_t *rows);
/* A list of ApiCallRc. Returns EXIT_API when one of them is an error, else 0. */
int render_answer(const struct render_options *o, const json_t *rcs);
/* Text of a field by a dotted path ("a.b", "list[]", "list[].name"); malloc'ed, NULL when absent. */
char *render_field(const json_t *row, const char *path);

#endif
