/* The property catalogue, see props.h. */
#include "controller/base/props.h"

#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "controller/base/names.h"
#include "wire/def/types.h"

enum prop_type { T_BOOL, T_YESNO, T_LONG, T_RANGE, T_FLOAT, T_SYMBOL, T_REGEX, T_NAME, T_SIZE, T_STRING };

static const struct prop_desc {
        const char *key;
        enum prop_type type;
        const char *values, *dflt, *unit;
        unsigned scopes;
} catalogue[] = {
#define PROP(key, type, values, dflt, unit, scopes) { key, T_##type, values, dflt, unit, scopes },
#include "wire/def/props.def"
#undef PROP
};

/* Namespaces below which users may set what they like. */
static const struct prop_space {
        const char *prefix;
        unsigned scopes;
} spaces[] = {
        { "Aux/", ~0U },
        { "EBS/Tags/", PS_VD },
        { "SED/", PS_SP },
        { "Paths/", PS_NC | PS_RC },
        { "files/", PS_RD },
        { "NetCom/", PS_C },
        { "Schedule/", PS_C | PS_RD },
        { "BackupShipping/", PS_RD },
};

/* What the control plane alone looks at: satellites need not hear of it. */
static const char *const private_prefixes[] = { "Aux/", "AutoSnapshot/", "Autoplace", "Autoplacer/", "Auth/",
        "BackupShipping/", "BalanceResources", "Clone/", "CopyAllSnaps", "DrbdOptions/AutoEvict",
        "DrbdOptions/auto-", "Max", "MinorNrAutoRange", "NetCom/", "PeerSlotsNewResource", "REST/",
        "Schedule/", "SearchDomain", "Site", "Snapshot/", "SpecStltPortAutoRange", "StorPoolName", "TcpPort",
        "UpdateCacheInterval", "AllowMixingStoragePoolDriver", "CurStltConnName", NULL };

const char *prop_key(const char *key, struct arena *a)
{
        size_t n = strnlen(key, PROP_KEY_MAX + 1), o = 0;
        if (n > PROP_KEY_MAX) return NULL;
        char *out = arena_alloc(a, n + 1);
        for (size_t i = 0; i < n; i++)
                if (key[i] != '/' || (o != 0 && out[o - 1] != '/')) out[o++] = key[i];
        while (o != 0 && out[o - 1] == '/') o--;
        out[o] = '\0';
        return o != 0 ? out : NULL;
}

static const struct prop_desc *find(unsigned scope, const char *key)
{
        for (size_t i = 0; i < ARRAY_LEN(catalogue); i++)
                if ((catalogue[i].scopes & scope) != 0 && strcmp(catalogue[i].key, key) == 0)
                        return &catalogue[i];
        return NULL;
}

static bool is_free(unsigned scope, const char *key)
{
        if (scope == PS_KVS) return true;
        for (size_t i = 0; i < ARRAY_LEN(spaces); i++)
                if ((spaces[i].scopes & scope) != 0 &&
                        strncmp(key, spaces[i].prefix, strlen(spaces[i].prefix)) == 0)
                        return true;
        return false;
}

/* ---- values ---- */

bool prop_bool(const char *value, bool fallback)
{
        if (value == NULL) return fallback;
        return strcasecmp(value, "true") == 0 || strcasecmp(value, "yes") == 0 || strcmp(value, "1") == 0;
}

static bool parse_bool(const char *v, bool *ret)
{
        *ret = prop_bool(v, false) && strcmp(v, "1") != 0;
        return *ret || strcasecmp(v, "false") == 0 || strcasecmp(v, "no") == 0;
}

static bool parse_i64(const char *v, const char **ret_end, int64_t *ret)
{
        char *end;
        errno = 0;
        *ret = strtoll(v, &end, 10);
        *ret_end = end;
        return end != v && errno == 0 && (v[0] == '-' || (v[0] >= '0' && v[0] <= '9'));
}

/* The element of "a|b|c" that equals v in any case. */
static const char *pick_word(const char *words, const char *v, struct arena *a)
{
        for (const char *p = words; *p != '\0';) {
                size_t n = strcspn(p, "|");
                if (n == strlen(v) && strncasecmp(p, v, n) == 0) return arena_strndup(a, p, n);
                p += n;
                if (*p == '|') p++;
        }
        return NULL;
}

static const char *check_range(const char *values, const char *v, struct arena *a)
{
        const char *bar = strchr(values, '|'), *end;
        int64_t lo, hi, n;
        if (!parse_i64(values, &end, &lo) || !parse_i64(end + 2, &end, &hi)) return NULL;
        if (parse_i64(v, &end, &n) && *end == '\0') return n >= lo && n <= hi ? v : NULL;
        return bar != NULL ? pick_word(bar + 1, v, a) : NULL;
}

/* Plain decimal numbers only: no exponent, sign, hexadecimal or infinity, in any locale. */
static bool parse_decimal(const char *v, double *ret, const char **ret_end)
{
        double n = 0, unit = 1;
        const char *p = v;
        for (; *p >= '0' && *p <= '9'; p++) n = n * 10 + (*p - '0');
        if (p == v) return false;
        if (*p == '.' && p[1] >= '0' && p[1] <= '9')
                for (p++; *p >= '0' && *p <= '9'; p++) n += (*p - '0') * (unit /= 10);
        *ret = n;
        *ret_end = p;
        return true;
}

static bool check_float(const char *values, const char *v)
{
        double lo, hi, n;
        const char *end;
        if (!parse_decimal(values, &lo, &end) || !parse_decimal(end + 2, &hi, &end)) return false;
        return parse_decimal(v, &n, &end) && *end == '\0' && n >= lo && n <= hi;
}

static bool check_regex(const char *pattern, const char *v)
{
        regex_t re;
        if (regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB) != 0) return false;
        bool ok = regexec(&re, v, 0, NULL, 0) == 0;
        regfree(&re);
        return ok;
}

/* Factor of a unit in bytes; 0 = no such unit. */
static double unit_bytes(const char *u)
{
        static const struct {
                const char *name;
                double bytes;
        } units[] = { { "", 1024 }, { "b", 1 }, { "s", 512 }, { "k", 1024 }, { "kib", 1024 }, { "kb", 1e3 },
                { "m", 1048576 }, { "mib", 1048576 }, { "mb", 1e6 }, { "g", 1073741824 },
                { "gib", 1073741824 }, { "gb", 1e9 }, { "t", 1099511627776 }, { "tib", 1099511627776 },
                { "tb", 1e12 } };
        for (size_t i = 0; i < ARRAY_LEN(units); i++)
                if (strcasecmp(units[i].name, u) == 0) return units[i].bytes;
        return 0;
}

uint64_t prop_size_kib(const char *value, uint64_t total_kib)
{
        double n;
        const char *end;
        if (value == NULL || !parse_decimal(value, &n, &end)) return 0;
        while (*end == ' ') end++;
        double kib = strcmp(end, "%") == 0 ? n / 100 * (double)total_kib : n * unit_bytes(end) / 1024;
        return kib >= 9e18 ? UINT64_MAX : (uint64_t)kib;
}

static bool check_size(const char *v)
{
        double n;
        const char *end;
        if (!parse_decimal(v, &n, &end)) return false;
        while (*end == ' ') end++;
        return strcmp(end, "%") == 0 || unit_bytes(end) > 0;
}

bool prop_range(const char *value, uint64_t max, uint64_t *ret_lo, uint64_t *ret_hi)
{
        const char *end;
        int64_t lo, hi;
        if (value == NULL || !parse_i64(value, &end, &lo) || *end != '-' || !parse_i64(end + 1, &end, &hi))
                return false;
        if (*end != '\0' || lo < 0 || hi < lo || (uint64_t)hi > max) return false;
        *ret_lo = (uint64_t)lo;
        *ret_hi = (uint64_t)hi;
        return true;
}

/* Ranges of numbers have limits that no pattern can express. */
static bool check_auto_range(const char *key, const char *v)
{
        uint64_t lo, hi;
        if (strcmp(key, "MinorNrAutoRange") == 0) return prop_range(v, 1048575, &lo, &hi);
        if (strstr(key, "PortAutoRange") != NULL || strstr(key, "TcpPortRange") != NULL)
                return prop_range(v, 65535, &lo, &hi) && lo > 0;
        return true;
}

static const char *check_value(const struct prop_desc *d, const char *v, struct arena *a)
{
        bool b;
        const char *end;
        int64_t n;
        switch (d->type) {
        case T_BOOL: return parse_bool(v, &b) ? (b ? "true" : "false") : NULL;
        case T_YESNO: return parse_bool(v, &b) ? (b ? "yes" : "no") : NULL;
        case T_LONG: return parse_i64(v, &end, &n) && *end == '\0' ? v : NULL;
        case T_RANGE: return check_range(d->values, v, a);
        case T_FLOAT: return check_float(d->values, v) ? v : NULL;
        case T_SYMBOL: return pick_word(d->values, v, a);
        case T_REGEX: return check_regex(d->values, v) && check_auto_range(d->key, v) ? v : NULL;
        case T_NAME: return name_check(NAME_POOL, v) == NULL ? v : NULL;
        case T_SIZE: return check_size(v) ? v : NULL;
        case T_STRING: return v;
        }
        return NULL;
}

static const char *const type_names[] = { [T_BOOL] = "boolean",
        [T_YESNO] = "boolean",
        [T_LONG] = "long",
        [T_RANGE] = "range",
        [T_FLOAT] = "range-float",
        [T_SYMBOL] = "symbol",
        [T_REGEX] = "regex",
        [T_NAME] = "regex",
        [T_SIZE] = "regex",
        [T_STRING] = "string" };

static const char *shown_values(const struct prop_desc *d)
{
        switch (d->type) {
        case T_BOOL: return "true|false";
        case T_YESNO: return "yes|no";
        case T_NAME: return "[a-zA-Z_][a-zA-Z0-9_-]{2,47}";
        case T_SIZE: return "[0-9]+([.][0-9]+)?([kKmMgGtT](i?[bB])?|[bB]|[sS]|%)?";
        case T_LONG:
        case T_STRING: return "";
        case T_RANGE:
        case T_FLOAT:
        case T_SYMBOL:
        case T_REGEX: break;
        }
        return d->values;
}

int prop_check(enum prop_scope scope, const char *key, const char *value, struct arena *a,
        const char **ret_value, struct fail *f)
{
        *ret_value = value;
        if (strlen(value) > PROP_VALUE_MAX) return fail_set(f, E_INVALID, "the value is longer than 64 KiB");
        const struct prop_desc *d = find(scope, key);
        if (d == NULL) {
                if (is_free(scope, key)) return 0;
                return fail_set(f, E_NOT_FOUND, "there is no property of that name for this kind of object");
        }
        *ret_value = check_value(d, value, a);
        if (*ret_value != NULL) return 0;
        const char *values = shown_values(d);
        if (d->type == T_REGEX && check_regex(d->values, value))
                return fail_set(f, E_INVALID,
                        "a range begins with the lower number; ports end with 65535, minor numbers with "
                        "1048575");
        return fail_set(f, E_INVALID, "the type of the property is %s%s%s", type_names[d->type],
                values[0] != '\0' ? ": " : "", values);
}

bool prop_matters(const char *key)
{
        for (size_t i = 0; private_prefixes[i] != NULL; i++)
                if (strncmp(key, private_prefixes[i], strlen(private_prefixes[i])) == 0) return false;
        return true;
}

const char *prop_auto_of(const char *key)
{
        static const char *const pairs[][2] = { { "DrbdOptions/Disk/rs-discard-granularity",
                                                        "DrbdOptions/auto-rs-discard-granularity" },
                { "DrbdOptions/Disk/discard-granularity", "Linstor/Drbd/auto-discard-granularity" } };
        for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
                if (strcmp(key, pairs[i][0]) == 0) return pairs[i][1];
        return NULL;
}

const char *prop_default(const char *key)
{
        const struct prop_desc *d = find(~0U, key);
        return d != NULL && d->dflt[0] != '\0' ? d->dflt : NULL;
}

void props_info(enum prop_scope scope, struct buf *out)
{
        bool first = true;
        buf_put_str(out, "{");
        for (size_t i = 0; i < ARRAY_LEN(catalogue); i++) {
                const struct prop_desc *d = &catalogue[i];
                if ((d->scopes & (unsigned)scope) == 0) continue;
                struct prop_info p = { 0 };
                SET(&p, prop_info, prop_type, type_names[d->type]);
                SET(&p, prop_info, value, shown_values(d));
                SET(&p, prop_info, dflt, d->dflt);
                SET(&p, prop_info, unit, d->unit);
                if (!first) buf_put_str(out, ",");
                first = false;
                enc_json_str(d->key, out);
                buf_put_str(out, ":");
                enc_json(&prop_info_type, &p, JSON_API, out);
        }
        buf_put_str(out, "}");
}
