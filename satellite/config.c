#include "satellite/config.h"

#include <ini.h>
#include <stdlib.h>
#include <string.h>

#include "wire/base/mem.h"

static const struct {
        const char *section, *key, *def, *doc;
        size_t off;
} keys[] = {
#define CFG(section, key, def, doc) \
        { #section, #key, def, doc, offsetof(struct sat_config, section##_##key) },
#include "satellite/config.def"
#undef CFG
};

static char **slot(struct sat_config *c, size_t i) { return (char **)(void *)((char *)c + keys[i].off); }

void sat_config_init(struct sat_config *c)
{
        for (size_t i = 0; i < ARRAY_LEN(keys); i++) *slot(c, i) = xstrdup(keys[i].def);
}

void sat_config_done(struct sat_config *c)
{
        for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
                free(*slot(c, i));
                *slot(c, i) = NULL;
        }
}

static int set(struct sat_config *c, const char *section, const char *key, const char *value)
{
        for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
                if (strcmp(keys[i].section, section) != 0 || strcmp(keys[i].key, key) != 0) continue;
                free(*slot(c, i));
                *slot(c, i) = xstrdup(value);
                return 0;
        }
        return E_CONFIG;
}

struct reading {
        struct sat_config *c;
        struct fail *f;
        const char *path;
        int err;
};

/* inih's handler: 0 is failure. */
static int on_line(void *user, const char *section, const char *key, const char *value)
{
        struct reading *r = user;
        if (r->err != 0) return 0;
        if (set(r->c, section, key, value) == 0) return 1;
        r->err = fail_set(
                r->f, E_CONFIG, "%s: there is no setting \"%s\" in section [%s]", r->path, key, section);
        return 0;
}

int sat_config_read(struct sat_config *c, const char *path, struct fail *f)
{
        FILE *file = fopen(path, "re");
        if (file == NULL)
                return fail_set(f, errno == ENOENT ? E_NOT_FOUND : -errno, "%s: %s", path, strerror(errno));
        struct reading r = { .c = c, .f = f, .path = path };
        int line = ini_parse_file(file, on_line, &r);
        fclose(file);
        if (r.err != 0) return r.err;
        return line == 0 ? 0 : fail_set(f, E_CONFIG, "%s: line %d cannot be understood", path, line);
}

int sat_config_set(struct sat_config *c, const char *assignment, struct fail *f)
{
        const char *equal = strchr(assignment, '='), *dot = strchr(assignment, '.');
        if (equal == NULL || dot == NULL || dot > equal)
                return fail_set(f, E_CONFIG, "--set wants section.key=value, not \"%s\"", assignment);
        struct arena a = { 0 };
        const char *section = arena_strndup(&a, assignment, (size_t)(dot - assignment));
        const char *key = arena_strndup(&a, dot + 1, (size_t)(equal - dot - 1));
        int err = set(c, section, key, equal + 1);
        if (err != 0) err = fail_set(f, err, "--set: there is no setting \"%s.%s\"", section, key);
        arena_done(&a);
        return err;
}

void sat_config_help(FILE *out)
{
        for (size_t i = 0; i < ARRAY_LEN(keys); i++)
                fprintf(out, "  %s.%s (%s): %s\n", keys[i].section, keys[i].key,
                        keys[i].def[0] == '\0' ? "empty" : keys[i].def, keys[i].doc);
}
