/* Words in which the tables of verbs (cli/verbs*.c) are written. Threads: one. Ownership: rows are static. */
#ifndef CLI_VERB_ROWS_H
#define CLI_VERB_ROWS_H

#include "cli/cells.h"
#include "cli/verb.h"

#define POS(name_, target_, help_)                          \
        {                                                   \
                ARG_POS, TYPE_STR, 0, name_, target_, help_ \
        }
#define POS_OPT(name_, target_, help_)                          \
        {                                                       \
                ARG_POS_OPT, TYPE_STR, 0, name_, target_, help_ \
        }
#define OPT(letter_, name_, target_, help_)                       \
        {                                                         \
                ARG_OPT, TYPE_STR, letter_, name_, target_, help_ \
        }
#define OPT_AS(type_, letter_, name_, target_, help_)          \
        {                                                      \
                ARG_OPT, type_, letter_, name_, target_, help_ \
        }
#define ANY(name_, target_, help_)                              \
        {                                                       \
                ARG_POS_ANY, TYPE_STR, 0, name_, target_, help_ \
        }
#define MUST(name_, alias_, target_, help_)                               \
        {                                                                 \
                ARG_OPT, TYPE_STR, 0, name_, target_, help_, true, alias_ \
        }
#define MANY(letter_, name_, target_, help_)                           \
        {                                                              \
                ARG_OPT_MANY, TYPE_STR, letter_, name_, target_, help_ \
        }
#define MANY_AS(type_, letter_, name_, target_, help_)              \
        {                                                           \
                ARG_OPT_MANY, type_, letter_, name_, target_, help_ \
        }
#define FLAG(letter_, name_, target_, help_)                        \
        {                                                           \
                ARG_FLAG, TYPE_TRUE, letter_, name_, target_, help_ \
        }
#define ASYNC FLAG(0, "--async", "?async", "do not wait for the satellites")
#define COL(header_, path_)                 \
        {                                   \
                header_, path_, NULL, false \
        }
#define COL_RIGHT(header_, path_)          \
        {                                  \
                header_, path_, NULL, true \
        }
#define CELL(header_, fn_)                \
        {                                 \
                header_, NULL, fn_, false \
        }
#define CELL_RIGHT(header_, fn_)         \
        {                                \
                header_, NULL, fn_, true \
        }

/* What the autoplacer is told; p is where the filter is in the body. */
#define FILTER(p)                                                                                        \
        MANY('s', "--storage-pool", p "/storage_pool_list/-", "pools to use"),                           \
                MANY(0, "--nodes", p "/node_name_list/-", "nodes to use"),                               \
                MANY_AS(TYPE_AUX, 0, "--replicas-on-same", p "/replicas_on_same/-",                      \
                        "node property that replicas share"),                                            \
                MANY_AS(TYPE_AUX, 0, "--replicas-on-different", p "/replicas_on_different/-",            \
                        "node property in which replicas differ"),                                       \
                MANY(0, "--do-not-place-with", p "/not_place_with_rsc/-", "not beside these resources"), \
                OPT(0, "--do-not-place-with-regex", p "/not_place_with_rsc_regex",                       \
                        "not beside resources that match"),                                              \
                MANY_AS(TYPE_UPPER, 0, "--providers", p "/provider_list/-", "provider kinds to use"),    \
                FLAG(0, "--diskless-on-remaining", p "/diskless_on_remaining",                           \
                        "diskless resources on all other nodes")

/* set-property KEY [VALUE]: without a value the property is deleted. */
int before_set_property(struct cli_call *call);

#define PROPERTY_VERBS(object_, short_, path_, put_, ...)                                            \
        { object_, short_, "set-property", "sp", put_, path_,                                        \
                "set a property, or delete it when no value is given", before_set_property, NULL,    \
                { __VA_ARGS__ POS("key", "", "property"), POS_OPT("value", "", "its value"),         \
                        FLAG(0, "--aux", "", "put Aux/ before the key") },                           \
                { { 0 } } },                                                                         \
        {                                                                                            \
                object_, short_, "list-properties", "lp", "GET", path_, "show the properties", NULL, \
                        rows_props, { __VA_ARGS__ },                                                 \
                {                                                                                    \
                        COL("Key", "key"), COL("Value", "value")                                     \
                }                                                                                    \
        }

/* Puts --storpool-rename OLD=NEW, as often as given, into the body at target. The exit code, or 0. */
int cli_put_renames(struct cli_call *call, const char *target);

/* Waits after the answer (cli/wait.c): until a clone is complete, until all replicas are up to date. */
int after_clone(struct cli_call *call, struct http *http, struct http_answer *answer);
int after_wait_sync(struct cli_call *call, struct http *http, struct http_answer *answer);
/* Until the other cluster has said what of a shipment it needs. */
int after_backup_ship(struct cli_call *call, struct http *http, struct http_answer *answer);

/* Verbs of snapshots (cli/verbs_snap.c). */
extern const struct cli_verb cli_move_verbs[];
extern const struct cli_verb cli_snapshot_verbs[];
extern const struct cli_verb cli_file_verbs[];
extern const struct cli_verb cli_remote_verbs[];
extern const struct cli_verb cli_backup_verbs[];

#endif
