/* Rules for names, see names.h. */
#include "controller/base/names.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#define DERIVED_MAX 40
#define LABEL_MAX 63

static const struct name_rule {
        size_t min, max;
} rules[] = {
        [NAME_NODE] = { 2, 255 },
        [NAME_RSC] = { 2, 48 },
        [NAME_RSC_GRP] = { 2, 48 },
        [NAME_SNAPSHOT] = { 2, 48 },
        [NAME_KVS] = { 2, 48 },
        [NAME_POOL] = { 3, 48 },
        [NAME_NETIF] = { 3, 32 },
        [NAME_SHARED_SPACE] = { 1, 48 },
};

/* ASCII only, whatever the locale. */
static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static const char *check_host(const char *s, size_t n)
{
        size_t label = 0;
        if (s[0] == '.' || s[0] == '-') return "it may not begin with a dot or a dash";
        if (s[n - 1] == '-') return "it may not end with a dash";
        for (size_t i = 0; i < n; i++) {
                if (s[i] == '.') {
                        if (label == 0) return "it has an empty label between two dots";
                        label = 0;
                        continue;
                }
                if (!is_letter(s[i]) && !is_digit(s[i]) && s[i] != '-')
                        return "only letters, digits, dots and dashes may be used";
                if (++label > LABEL_MAX) return "a label between dots is longer than 63 characters";
        }
        return NULL;
}

static const char *check_generic(const char *s, size_t n)
{
        bool letter = false;
        if (!is_letter(s[0]) && s[0] != '_') return "it must begin with a letter or an underscore";
        for (size_t i = 0; i < n; i++) {
                letter |= is_letter(s[i]);
                if (!is_letter(s[i]) && !is_digit(s[i]) && s[i] != '_' && s[i] != '-')
                        return "only letters, digits, underscores and dashes may be used";
        }
        return letter ? NULL : "it has no letter";
}

static const char *check_shared(const char *s, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                bool inner = i > 0 && i + 1 < n && (s[i] == '.' || s[i] == '-');
                if (!is_letter(s[i]) && !is_digit(s[i]) && s[i] != '_' && !inner)
                        return "only letters, digits, underscores and inner dots and dashes may be used";
        }
        return NULL;
}

const char *name_check(enum name_kind kind, const char *s)
{
        if (s == NULL || s[0] == '\0') return "it is empty";
        size_t n = strlen(s);
        if (n < rules[kind].min) return "it is too short";
        if (n > rules[kind].max) return "it is too long";
        if (kind == NAME_NODE) return check_host(s, n);
        if (kind == NAME_SHARED_SPACE) return check_shared(s, n);
        if (kind == NAME_RSC && (strcasecmp(s, "all") == 0 || strcasecmp(s, "proxy") == 0))
                return "this word is reserved";
        return check_generic(s, n);
}

bool name_is_address(const char *s)
{
        unsigned char out[sizeof(struct in6_addr)];
        if (s == NULL) return false;
        return inet_pton(AF_INET, s, out) == 1 || inet_pton(AF_INET6, s, out) == 1;
}

char *name_derive_rsc(const char *text, struct arena *a)
{
        char *out = arena_alloc(a, DERIVED_MAX + 4);
        size_t n = 0;
        bool letter = false;
        for (const char *p = text; *p != '\0'; p++) letter |= is_letter(*p);
        if (!letter || !(is_letter(text[0]) || text[0] == '_')) {
                memcpy(out, "R_", 2);
                n = 2;
        }
        for (const char *p = text; *p != '\0' && n < DERIVED_MAX; p++)
                out[n++] = is_letter(*p) || is_digit(*p) || *p == '-' ? *p : '_';
        out[n] = '\0';
        return name_check(NAME_RSC, out) == NULL ? out : arena_printf(a, "R_%s", out);
}
