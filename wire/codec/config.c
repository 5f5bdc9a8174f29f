#include "wire/codec/config.h"

#include <arpa/inet.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "wire/base/log.h"
#include "wire/base/mem.h"

#define ADDRESS_BLANKS " ,"
enum { ADDRESS_MAX = 64, SECTION_MAX = 64 };

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

static bool is_ip(const char *text, size_t n, int family)
{
        char host[ADDRESS_MAX];
        struct in6_addr a; /* the larger one */
        if (n == 0 || n >= sizeof host) return false;
        memcpy(host, text, n);
        host[n] = '\0';
        return inet_pton(family, host, &a) == 1;
}

/* 1.2.3.4, 1.2.3.4:5, [::1], [::1]:5, ::1 */
static bool is_address(const char *text, size_t n)
{
        const char *end = text + n, *port = NULL;
        if (is_ip(text, n, AF_INET6)) return true;
        if (n > 0 && text[0] == '[') {
                const char *close = memchr(text, ']', n);
                if (close == NULL || !is_ip(text + 1, (size_t)(close - text) - 1, AF_INET6)) return false;
                if (close + 1 == end) return true;
                port = close + 1;
        } else {
                port = memchr(text, ':', n);
                if (!is_ip(text, port != NULL ? (size_t)(port - text) : n, AF_INET)) return false;
                if (port == NULL) return true;
        }
        unsigned v = 0;
        if (*port != ':' || end - port < 2 || end - port > 6) return false;
        for (port++; port < end; port++) {
                if (*port < '0' || *port > '9') return false;
                v = v * 10 + (unsigned)(*port - '0');
        }
        return v >= 1 && v <= 65535;
}

static bool are_addresses(const char *s, uint64_t max)
{
        uint64_t found = 0;
        for (size_t n; *s != '\0'; s += n) {
                s += strspn(s, ADDRESS_BLANKS);
                n = strcspn(s, ADDRESS_BLANKS);
                if (n == 0) break;
                if (++found > MAX(max, (uint64_t)1) || !is_address(s, n)) return false;
        }
        return true;
}

/* "a number from 1 to 5" and the like. */
static void allowed(const struct config_key *k, char *out, size_t size_bytes)
{
        unsigned long long min = k->min, max = k->max;
        switch (k->kind) {
        case CONFIG_STR:
                if (max > 0) (void)snprintf(out, size_bytes, "%llu to %llu characters", min, max);
                else (void)snprintf(out, size_bytes, "a text");
                return;
        case CONFIG_NUM: (void)snprintf(out, size_bytes, "a number from %llu to %llu", min, max); return;
        case CONFIG_BOOL: (void)snprintf(out, size_bytes, "true or false"); return;
        case CONFIG_LEVEL: (void)snprintf(out, size_bytes, "ERROR, WARN, INFO, DEBUG or TRACE"); return;
        case CONFIG_ADDR:
                if (max > 1)
                        (void)snprintf(out, size_bytes,
                                "up to %llu IP addresses (1.2.3.4:5 or [::1]:5), with blanks between them",
                                max);
                else (void)snprintf(out, size_bytes, "an IP address, as 1.2.3.4:5 or [::1]:5, or empty");
                return;
        }
}

static int parse_number(const struct config_key *k, const char *s, uint64_t *ret)
{
        char *end = NULL;
        errno = 0;
        unsigned long long v = s[0] >= '0' && s[0] <= '9' ? strtoull(s, &end, 10) : 0;
        if (end == NULL || *end != '\0' || errno != 0 || v < k->min || v > k->max) return E_CONFIG;
        *ret = v;
        return 0;
}

static int assign(const struct config_key *k, void *o, const char *value, struct fail *f)
{
        void *at = (char *)o + k->off;
        enum log_level level;
        char text[128];
        size_t n = strlen(value);
        int err = 0;
        switch (k->kind) {
        case CONFIG_NUM: err = parse_number(k, value, at); break;
        case CONFIG_BOOL: err = parse_bool(value, at); break;
        case CONFIG_STR: err = n < k->min || (k->max > 0 && n > k->max) ? E_CONFIG : 0; break;
        case CONFIG_LEVEL: err = log_level_parse(value, &level) != 0 ? E_CONFIG : 0; break;
        case CONFIG_ADDR: err = are_addresses(value, k->max) ? 0 : E_CONFIG; break;
        }
        if (err != 0) {
                allowed(k, text, sizeof text);
                return fail_set(f, err, "%s.%s is '%.80s', but must be: %s", k->section, k->key, value, text);
        }
        if (k->kind == CONFIG_NUM || k->kind == CONFIG_BOOL) return 0;
        free(*(char **)at);
        *(char **)at = xstrdup(value);
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
                if (t->keys[i].kind == CONFIG_NUM || t->keys[i].kind == CONFIG_BOOL) continue;
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

static bool has_section(const struct config_table *t, const char *section)
{
        for (size_t i = 0; i < t->n; i++)
                if (strcmp(t->keys[i].section, section) == 0) return true;
        return false;
}

static int unknown(const struct config_table *t, const char *section, const char *key, struct fail *f)
{
        struct buf b = { 0 };
        bool known = has_section(t, section);
        for (size_t i = 0; i < t->n; i++) {
                const struct config_key *k = &t->keys[i];
                bool first_of_section = i == 0 || strcmp(k->section, t->keys[i - 1].section) != 0;
                if (known && strcmp(k->section, section) == 0) buf_printf(&b, " %s", k->key);
                else if (!known && first_of_section) buf_printf(&b, " [%s]", k->section);
        }
        const char *list = buf_cstr(&b);
        int err = fail_set(f, E_CONFIG, "there is no setting %s.%s; there is:%s", section, key,
                list != NULL ? list : "");
        buf_done(&b);
        return err;
}

/* inih's handler: 0 = an error in this line. */
static int on_line(void *user, const char *section, const char *key, const char *value)
{
        struct reading *r = user;
        const struct config_key *k = find(r->t, section, key);
        if (r->err != 0) return 0;
        if (k != NULL) r->err = assign(k, r->o, value, r->f);
        else if (!r->t->foreign_ok) r->err = unknown(r->t, section, key, r->f);
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
                return fail_set(f, E_CONFIG, "%s:%d: this is neither [section] nor key = value", path, line);
        (void)fail_wrap(f, "%s:%d", path, line);
        return r.err;
}

int config_set(const struct config_table *t, void *o, const char *assignment, struct fail *f)
{
        const char *dot = strchr(assignment, '.'), *eq = strchr(assignment, '=');
        char section[SECTION_MAX], key[SECTION_MAX];
        if (dot == NULL || eq == NULL || dot > eq || (size_t)(dot - assignment) >= sizeof section ||
                (size_t)(eq - dot) > sizeof key)
                return fail_set(f, E_CONFIG, "'%s' is not of the form section.key=value", assignment);
        memcpy(section, assignment, (size_t)(dot - assignment));
        section[dot - assignment] = '\0';
        memcpy(key, dot + 1, (size_t)(eq - dot - 1));
        key[eq - dot - 1] = '\0';
        const struct config_key *k = find(t, section, key);
        if (k == NULL) return unknown(t, section, key, f);
        return assign(k, o, eq + 1, f);
}

int config_environment(
        const struct config_table *t, void *o, const struct config_variable *v, size_t n, struct fail *f)
{
        for (size_t i = 0; i < n; i++) {
                const char *value = getenv(v[i].name);
                if (value == NULL || value[0] == '\0') continue;
                char *assignment = xasprintf("%s=%s", v[i].key, value);
                struct fail why = { 0 };
                int err = config_set(t, o, assignment, &why);
                free(assignment);
                if (err != 0) return fail_set(f, err, "%s in the environment: %s", v[i].name, why.text);
        }
        return 0;
}

void config_help(const struct config_table *t, struct buf *out)
{
        char text[128];
        for (size_t i = 0; i < t->n; i++) {
                const struct config_key *k = &t->keys[i];
                allowed(k, text, sizeof text);
                buf_printf(out, "  %s.%s (%s)\n      %s; %s\n", k->section, k->key,
                        k->def[0] != '\0' ? k->def : "empty", k->doc, text);
        }
}

void config_sample(const struct config_table *t, struct buf *out)
{
        char text[128];
        const char *section = "";
        buf_put_str(
                out, "# Every setting, with its default. A line is `key = value` below its [section].\n\n");
        for (size_t i = 0; i < t->n; i++) {
                const struct config_key *k = &t->keys[i];
                if (strcmp(section, k->section) != 0)
                        buf_printf(out, "%s[%s]\n", i > 0 ? "\n" : "", k->section);
                section = k->section;
                allowed(k, text, sizeof text);
                buf_printf(out, "# %s\n# (%s)\n#%s =%s%s\n", k->doc, text, k->key,
                        k->def[0] != '\0' ? " " : "", k->def);
        }
}

int config_print(const struct config_table *t, bool sample, FILE *to)
{
        struct buf b = { 0 };
        if (sample) config_sample(t, &b);
        else config_help(t, &b);
        bool failed = b.err != 0 || fwrite(b.p, 1, b.n, to) != b.n || fflush(to) != 0;
        buf_done(&b);
        return failed ? -EIO : 0;
}
