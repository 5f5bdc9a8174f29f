#include "wire/codec/config.h"

#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct config_key *find(const struct config_table *t, const char *section, const char *key)
{
        for (size_t i = 0; i < t->n; i++)
                if (strcmp(t->keys[i].section, section) == 0 && strcmp(t->keys[i].key, key) == 0)
                        return &t->keys[i];
        return NULL;
}

static int parse_bool(const char *s, bool *ret)
{
        static const char *const yes[] = { "true", "yes", "on", "1" }, *const no[] = { "false", "no", "off",
                "0" };
        for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
                bool is_yes = strcasecmp(s, yes[i]) == 0;
                if (!is_yes && strcasecmp(s, no[i]) != 0) continue;
                *ret = is_yes;
                return 0;
        }
        return E_CONFIG;
}

static int assign(const struct config_key *k, void *o, const char *value, struct fail *f)
{
        void *at = (char *)o + k->off;
        if (k->kind == CONFIG_STR) {
                free(*(char **)at);
                *(char **)at = xstrdup(value);
                return 0;
        }
        if (k->kind == CONFIG_BOOL)
                return parse_bool(value, at) == 0
                               ? 0
                               : fail_set(f, E_CONFIG, "%s.%s: '%s' is neither true nor false", k->section,
                                         k->key, value);
        char *end = NULL;
        errno = 0;
        unsigned long long v = value[0] >= '0' && value[0] <= '9' ? strtoull(value, &end, 10) : 0;
        if (end == NULL || *end != '\0' || errno != 0 || v < k->min || v > k->max)
                return fail_set(f, E_CONFIG, "%s.%s: '%s' is not a number from %llu to %llu", k->section,
                        k->key, value, (unsigned long long)k->min, (unsigned long long)k->max);
        *(uint64_t *)at = v;
        return 0;
}

void config_init(const struct config_table *t, void *o)
{
        for (size_t i = 0; i < t->n; i++) {
                int err = assign(&t->keys[i], o, t->keys[i].def, NULL);
                assert(err == 0); /* a default out of its range */
        }
}

void config_done(const struct config_table *t, void *o)
{
        for (size_t i = 0; i < t->n; i++) {
                if (t->keys[i].kind != CONFIG_STR) continue;
                char **s = (char **)(void *)((char *)o + t->keys[i].off);
                free(*s);
                *s = NULL;
        }
}

struct reading {
        const struct config_table *t;
        void *o;
        struct fail *f;
        int err;
};

/* inih's handler: 0 = an error in this line. */
static int on_line(void *user, const char *section, const char *key, const char *value)
{
        struct reading *r = user;
        const struct config_key *k = find(r->t, section, key);
        if (r->err != 0) return 0;
        if (k != NULL) r->err = assign(k, r->o, value, r->f);
        else if (!r->t->foreign_ok)
                r->err = fail_set(r->f, E_CONFIG, "there is no setting %s.%s", section, key);
        return r->err == 0;
}

int config_read(const struct config_table *t, void *o, const char *path, struct fail *f)
{
        struct reading r = { .t = t, .o = o, .f = f };
        FILE *in = fopen(path, "re");
        if (in == NULL)
                return fail_set(f, errno == ENOENT ? E_NOT_FOUND : -errno, "%s: %s", path, strerror(errno));
        int line = ini_parse_file(in, on_line, &r);
        (void)fclose(in);
        if (line == 0) return 0;
        if (r.err == 0)
                return fail_set(
                        f, E_CONFIG, "%s, line %d: this is neither [section] nor key = value", path, line);
        (void)fail_wrap(f, "%s, line %d", path, line);
        return r.err;
}

int config_set(const struct config_table *t, void *o, const char *assignment, struct fail *f)
{
        const char *dot = strchr(assignment, '.'), *eq = strchr(assignment, '=');
        char section[64], key[64];
        if (dot == NULL || eq == NULL || dot > eq || (size_t)(dot - assignment) >= sizeof section ||
                (size_t)(eq - dot) > sizeof key)
                return fail_set(f, E_CONFIG, "'%s' is not of the form section.key=value", assignment);
        memcpy(section, assignment, (size_t)(dot - assignment));
        section[dot - assignment] = '\0';
        memcpy(key, dot + 1, (size_t)(eq - dot - 1));
        key[eq - dot - 1] = '\0';
        const struct config_key *k = find(t, section, key);
        if (k == NULL) return fail_set(f, E_CONFIG, "there is no setting %s.%s", section, key);
        return assign(k, o, eq + 1, f);
}

void config_help(const struct config_table *t, struct buf *out)
{
        for (size_t i = 0; i < t->n; i++) {
                const struct config_key *k = &t->keys[i];
                buf_printf(out, "  %s.%s (%s)\n      %s\n", k->section, k->key,
                        k->def[0] != '\0' ? k->def : "empty", k->doc);
        }
}

void config_sample(const struct config_table *t, struct buf *out)
{
        const char *section = "";
        for (size_t i = 0; i < t->n; i++) {
                const struct config_key *k = &t->keys[i];
                if (strcmp(section, k->section) != 0)
                        buf_printf(out, "%s[%s]\n", i > 0 ? "\n" : "", k->section);
                section = k->section;
                buf_printf(out, "# %s\n#%s = %s\n", k->doc, k->key, k->def);
        }
}
