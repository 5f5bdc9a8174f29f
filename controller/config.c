#include "controller/config.h"

#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "wire/base/mem.h"

static const struct setting {
        const char *section, *key, *def, *doc;
        size_t off;
} settings[] = {
#define CFG(section, key, def, doc) \
        { #section, #key, def, doc, offsetof(struct ctl_config, section##_##key) },
#include "controller/config.def"
#undef CFG
};

static char **value_of(struct ctl_config *c, const struct setting *s)
{
        return (char **)(void *)((char *)c + s->off);
}

void ctl_config_init(struct ctl_config *c)
{
        for (size_t i = 0; i < ARRAY_LEN(settings); i++)
                *value_of(c, &settings[i]) = xstrdup(settings[i].def);
}

void ctl_config_done(struct ctl_config *c)
{
        for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
                free(*value_of(c, &settings[i]));
                *value_of(c, &settings[i]) = NULL;
        }
}

static bool assign(struct ctl_config *c, const char *section, const char *key, const char *value)
{
        for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
                const struct setting *s = &settings[i];
                if (strcmp(s->section, section) != 0 || strcmp(s->key, key) != 0) continue;
                free(*value_of(c, s));
                *value_of(c, s) = xstrdup(value);
                return true;
        }
        return false;
}

struct reading {
        struct ctl_config *config;
        const char *path;
        struct fail *f;
        int err;
};

/* inih's handler: 0 means failure. */
static int on_line(void *user, const char *section, const char *key, const char *value)
{
        struct reading *r = user;
        if (r->err != 0) return 0;
        if (assign(r->config, section, key, value)) return 1;
        r->err = fail_set(r->f, E_CONFIG, "%s: section [%s] has no setting '%s'", r->path, section, key);
        return 0;
}

int ctl_config_read(struct ctl_config *c, const char *path, struct fail *f)
{
        struct reading r = { .config = c, .path = path, .f = f };
        FILE *file = fopen(path, "re");
        if (file == NULL) {
                int err = errno;
                return fail_set(f, err == ENOENT ? E_NOT_FOUND : -err, "%s: %s", path, err_text(-err));
        }
        int line = ini_parse_file(file, on_line, &r);
        (void)fclose(file); /* it was only read */
        if (r.err != 0) return r.err;
        return line == 0 ? 0 : fail_set(f, E_CONFIG, "%s: line %d is no setting", path, line);
}

int ctl_config_set(struct ctl_config *c, const char *assignment, struct fail *f)
{
        char name[128];
        const char *equal = strchr(assignment, '=');
        size_t n = equal == NULL ? 0 : (size_t)(equal - assignment);
        if (n == 0 || n >= sizeof name)
                return fail_set(f, E_CONFIG, "'%s' is not of the form section.key=value", assignment);
        memcpy(name, assignment, n);
        name[n] = '\0';
        char *dot = strchr(name, '.');
        if (dot != NULL) *dot++ = '\0';
        if (dot == NULL || !assign(c, name, dot, equal + 1))
                return fail_set(f, E_CONFIG, "there is no setting '%.*s'", (int)n, assignment);
        return 0;
}

void ctl_config_help(FILE *out)
{
        for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
                const struct setting *s = &settings[i];
                (void)fprintf(out, "  %s.%s (%s)\n        %s\n", s->section, s->key,
                        s->def[0] == '\0' ? "empty" : s->def, s->doc);
        }
}

int ctl_config_number(
        const char *name, const char *text, unsigned min, unsigned max, unsigned *ret, struct fail *f)
{
        char *end;
        errno = 0;
        unsigned long v = strtoul(text, &end, 10);
        bool good = text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
        if (!good || v < min || v > max)
                return fail_set(f, E_CONFIG, "%s: '%s' is no number from %u to %u", name, text, min, max);
        *ret = (unsigned)v;
        return 0;
}

int ctl_config_bool(const char *name, const char *text, bool *ret, struct fail *f)
{
        bool yes = strcasecmp(text, "true") == 0 || strcasecmp(text, "yes") == 0;
        if (!yes && strcasecmp(text, "false") != 0 && strcasecmp(text, "no") != 0)
                return fail_set(f, E_CONFIG, "%s: '%s' is neither true nor false", name, text);
        *ret = yes;
        return 0;
}
