/* Settings from defaults, an INI file and --set section.key=value, driven by a table: one declaration gives
 * default, parser, range check, --help text and sample file.
 *
 * A program declares its keys once as CFG(section, key, kind, default, min, max, "doc") and expands them to a
 * struct (see raftctl/tool.def, raftctl/tool_config.c). Members: STR char *, NUM uint64_t, BOOL bool.
 * Threads: start-up only. Ownership: config_done() frees the strings. Errors: E_CONFIG with file, line and
 * cause. */
#ifndef WIRE_CODEC_CONFIG_H
#define WIRE_CODEC_CONFIG_H

#include <stdbool.h>
#include <stdio.h>

#include "wire/base/buf.h"
#include "wire/base/err.h"

enum config_kind { CONFIG_STR, CONFIG_NUM, CONFIG_BOOL };

struct config_key {
        const char *section, *key;
        enum config_kind kind;
        const char *def;   /* as it would stand in the file */
        uint64_t min, max; /* NUM */
        const char *doc;
        size_t off; /* of the member */
};
struct config_table {
        const struct config_key *keys;
        size_t n;
        bool foreign_ok; /* keys of other programs that read the same file are skipped */
};

/* o must be zeroed before the first call. */
void config_init(const struct config_table *t, void *o);
void config_done(const struct config_table *t, void *o);
/* E_NOT_FOUND: no such file; o is unchanged then. */
int config_read(const struct config_table *t, void *o, const char *path, struct fail *f) MUST_USE;
/* "section.key=value"; a key that the table does not have is an error here. */
int config_set(const struct config_table *t, void *o, const char *assignment, struct fail *f) MUST_USE;
/* One line for each key. */
void config_help(const struct config_table *t, struct buf *out);
/* A commented file with all defaults. */
void config_sample(const struct config_table *t, struct buf *out);

#endif
