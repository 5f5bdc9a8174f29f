/* The CLI's verbs are data: one row for each, in cli/verbs_*.c. A row says which REST operation the verb is,
 * how its arguments fill path, query and body, and how the answer is shown. Irregular verbs have a hook.
 *
 * Threads: one. Ownership: rows are static. */
#ifndef CLI_VERB_H
#define CLI_VERB_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "wire/base/err.h"

enum arg_form {
        ARG_END,
        ARG_POS,      /* required positional */
        ARG_POS_OPT,  /* optional positional */
        ARG_POS_ANY,  /* none or more positionals, takes all but those that later positionals need */
        ARG_POS_MANY, /* one or more, takes all but those that later positionals need */
        ARG_OPT,      /* --name VALUE */
        ARG_OPT_MANY, /* --name VALUE, repeatable; each value may be a comma list */
        ARG_FLAG,     /* --name */
};
enum arg_type {
        TYPE_STR,
        TYPE_INT,
        TYPE_SIZE,  /* bytes with units, bare number = GiB, as KiB rounded up */
        TYPE_UPPER, /* upper-cased word */
        TYPE_AUX,   /* property key: Aux/ is put before, as LINSTOR's client does */
        TYPE_TRUE,  /* flags: JSON true, or the literal after = in the target */
};

/* Where the value goes: "{node}" a path parameter, "?key" the query, "/a/b" a place in the body (a number is
 * an index), "/a/-" appends to the list a, "" only the hook looks at it. */
struct cli_arg {
        enum arg_form form;
        enum arg_type type;
        char letter; /* short option, 0 = none */
        const char *name;
        const char *target;
        const char *help;
        bool required;     /* an option that may not be missing */
        const char *alias; /* another name of an option, NULL = none */
};
#define CLI_ARGS_MAX 24

/* A column of a list. path: dots into the row, "[]" joins a list by commas; or cell computes the text. */
struct cli_column {
        const char *header;
        const char *path;
        char *(*cell)(const json_t *row); /* returns malloc'ed text, NULL = empty */
        bool right;
};
#define CLI_COLUMNS_MAX 14

struct cli_call;
typedef int cli_hook_fn(struct cli_call *call);
/* Makes several rows of one (volumes of a resource): returns a new array; NULL: it has shown everything itself. */
typedef json_t *cli_rows_fn(json_t *answer, struct cli_call *call);

/* What is done after an answer of any status, before it is shown: may wait, ask again, and replace answer->json. Returns an exit code
 * (cli/http.h); one that is not 0 ends the verb, and the hook has said why. */
struct http;
struct http_answer;
typedef int cli_after_fn(struct cli_call *call, struct http *http, struct http_answer *answer);

struct cli_verb {
        const char *object, *object_short; /* two words for what LINSTOR's client has below another object */
        const char *verb, *verb_short;
        const char *method, *path;
        const char *help;
        cli_hook_fn *before; /* may change path and body before the request; NULL = nothing to do */
        cli_rows_fn *rows;
        struct cli_arg args[CLI_ARGS_MAX];
        struct cli_column columns[CLI_COLUMNS_MAX];
        const char
                *note; /* field of a row that is told below the table, behind the row's name; NULL = none */
        cli_after_fn *after; /* NULL = nothing to do */
};

/* One invocation on its way. */
struct cli_call {
        const struct cli_verb *verb;
        json_t *values; /* object: argument name -> string, list of strings, or true */
        json_t *params; /* object: path parameter -> string */
        json_t *query;  /* array of [key, value] */
        json_t *body;   /* NULL until something is put there */
        const char *
                method; /* the verb's, unless the hook takes another one: then there is an answer, and no list */
        bool secret;    /* something in the body may not be shown */
        char problem[256]; /* why the arguments do not do, when a function returned E_INVALID */
};

extern const struct cli_verb
        *const cli_verb_tables[]; /* each ends in a row without object; NULL-terminated */

/* cli/args.c */
/* Parses argv behind the verb. E_INVALID with call->problem. The call is released by cli_call_done. */
int cli_args_parse(struct cli_call *call, const struct cli_verb *verb, int argc, char **argv) MUST_USE;
void cli_call_done(struct cli_call *call);
const char *cli_value(const struct cli_call *call, const char *arg); /* NULL when not given */
/* Puts value (taken) at a target of the form "/a/0/b" or "/a/-". */
void cli_body_put(struct cli_call *call, const char *target, json_t *value);
int cli_problem(struct cli_call *call, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* cli/size.c: "10G", "512MiB", "4k", "100" (GiB), "8192S" (512-byte sectors). 0 or E_INVALID. */
int cli_size_parse(const char *text, unsigned long long *ret_kib) MUST_USE;
/* 1.50 GiB; malloc'ed */
char *cli_size_text(json_int_t kib);

#endif
