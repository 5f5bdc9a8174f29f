/* Settings from defaults, an INI file and --set section.key=value, driven by a table: one declaration gives
 * default, parser, range check, --help text and sample file.
 *
 * A program declares its keys once as CFG(section, key, kind, default, min, max, "doc") in a .def file and
 * expands them twice, see CONFIG_MEMBER and CONFIG_KEY below. Kinds: STR    char *    min, max: its length;
 * 0, 0 = any NUM    uint64_t  min, max: its value BOOL   bool      true, yes, on, 1; false, no, off, 0 LEVEL
 * char *    a log level ADDR   char *    an IP address with a port or without, or empty; max: how many
 * (blanks between), 0 = one Threads: start-up only. Ownership: config_done() frees the strings. Errors:
 * E_CONFIG with file, line, key and what is allowed. */
#ifndef WIRE_CODEC_CONFIG_H
#define WIRE_CODEC_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "wire/base/buf.h"
#include "wire/base/err.h"

enum config_kind { CONFIG_STR, CONFIG_NUM, CONFIG_BOOL, CONFIG_LEVEL, CONFIG_ADDR };

struct config_key {
        const char *section, *key;
        enum config_kind kind;
        const char *def; /* as it would stand in the file */
        uint64_t min, max;
        const char *doc;
        size_t off; /* of the member */
};
struct config_table {
        const struct config_key *keys;
        size_t n;
        bool foreign_ok; /* keys of other programs that read the same file are skipped */
};

/* For `#define CFG(section, key, kind, ...) CONFIG_MEMBER(section, key, kind)` within a struct, and
 * `#define CFG(...) CONFIG_KEY(struct settings, __VA_ARGS__)` within an array of struct config_key. */
#define CONFIG_MEMBER(section, key, kind) CONFIG_MEMBER_##kind(section##_##key)
#define CONFIG_MEMBER_STR(name) char *name;
#define CONFIG_MEMBER_NUM(name) uint64_t name;
#define CONFIG_MEMBER_BOOL(name) bool name;
#define CONFIG_MEMBER_LEVEL(name) char *name;
#define CONFIG_MEMBER_ADDR(name) char *name;
#define CONFIG_KEY(type, section, key, kind, def, min, max, doc) \
        { #section, #key, CONFIG_##kind, def, min, max, doc, offsetof(type, section##_##key) },

/* o must be zeroed before the first call. */
void config_init(const struct config_table *t, void *o);
void config_done(const struct config_table *t, void *o);
/* E_NOT_FOUND: no such file; o is unchanged then. What stands before a bad line is set. */
int config_read(const struct config_table *t, void *o, const char *path, struct fail *f) MUST_USE;
/* "section.key=value"; a key that the table does not have is an error here. */
int config_set(const struct config_table *t, void *o, const char *assignment, struct fail *f) MUST_USE;
/* Variables of the environment that stand for keys; those that are unset or empty change nothing. */
struct config_variable {
        const char *name, *key; /* "section.key" */
};
int config_environment(const struct config_table *t, void *o, const struct config_variable *v, size_t n,
        struct fail *f) MUST_USE;
/* Each key with its default, what is allowed, and its meaning. */
void config_help(const struct config_table *t, struct buf *out);
/* A commented file with all defaults, introduced by the title. */
void config_sample(const struct config_table *t, struct buf *out);
/* The same, printed; 0 or -errno. */
int config_print(const struct config_table *t, bool sample, FILE *to) MUST_USE;

#endif
