#include "satellite/provider/lvm_options.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define SPACE " \t\r\n"
#define WORD_MAX 128

enum value { NO_VALUE, NUMBER, SIZE, YES_NO, WORD, TAG, SHARE };

#define THICK (1u << LVM_USE_THICK)
#define VOLUMES (THICK | 1u << LVM_USE_THIN | 1u << LVM_USE_SNAPSHOT)
#define PV (1u << LVM_USE_PV)
#define VG (1u << LVM_USE_VG)
#define POOL (1u << LVM_USE_POOL)

static const struct known {
        const char *name, *brief; /* brief may be NULL */
        enum value value;
        unsigned uses; /* bits */
} known[] = {
        { "--stripes", "-i", NUMBER, THICK | POOL },
        { "--stripesize", "-I", SIZE, THICK | POOL },
        { "--mirrors", "-m", NUMBER, THICK },
        { "--regionsize", "-R", SIZE, THICK },
        { "--nosync", NULL, NO_VALUE, THICK },
        { "--raidintegrity", NULL, YES_NO, THICK },
        { "--raidintegritymode", NULL, WORD, THICK },
        { "--minrecoveryrate", NULL, SIZE, THICK },
        { "--maxrecoveryrate", NULL, SIZE, THICK },
        { "--contiguous", "-C", YES_NO, THICK },
        { "--alloc", NULL, WORD, THICK | VG | POOL },
        { "--readahead", "-r", WORD, VOLUMES | POOL },
        { "--addtag", NULL, TAG, VOLUMES | VG | POOL },
        { "--dataalignment", NULL, SIZE, PV | VG },
        { "--dataalignmentoffset", NULL, SIZE, PV | VG },
        { "--metadatasize", NULL, SIZE, PV | VG },
        { "--pvmetadatacopies", NULL, NUMBER, PV | VG },
        { "--bootloaderareasize", NULL, SIZE, PV },
        { "--physicalextentsize", "-s", SIZE, VG },
        { "--maxlogicalvolumes", "-l", NUMBER, VG },
        { "--maxphysicalvolumes", "-p", NUMBER, VG },
        { "--extents", "-l", SHARE, POOL },
        { "--chunksize", "-c", SIZE, POOL },
        { "--poolmetadatasize", NULL, SIZE, POOL },
        { "--discards", NULL, WORD, POOL },
        { "--zero", "-Z", YES_NO, POOL },
};

/* Takes the next word off *at. 1: one was taken; 0: there is none. */
static int next_word(const char **at, struct arena *a, const char **ret, struct fail *f)
{
        *at += strspn(*at, SPACE);
        size_t n = strcspn(*at, SPACE);
        if (n == 0) return 0;
        if (n > WORD_MAX) return fail_set(f, E_INVALID, "'%.40s...' is too long for an option", *at);
        for (size_t i = 0; i < n; i++)
                if (!isgraph((unsigned char)(*at)[i]))
                        return fail_set(f, E_INVALID, "an option has a character that cannot be printed");
        *ret = arena_strndup(a, *at, n);
        *at += n;
        return 1;
}

static bool is_number(const char *s, bool unit)
{
        size_t n = strspn(s, "0123456789");
        if (n == 0 || n > 12) return false;
        return s[n] == '\0' || (unit && strchr("bBsSkKmMgGtT", s[n]) != NULL && s[n + 1] == '\0');
}

static bool is_word(const char *s)
{
        return s[0] != '\0' && s[0] != '-' && s[strspn(s, "abcdefghijklmnopqrstuvwxyz_0123456789")] == '\0';
}

/* Our own marks begin so, and decide whose a volume is. */
static bool is_tag(const char *s)
{
        if (strncasecmp(s, "outrigger", 9) == 0 || s[0] == '-' || s[0] == '\0') return false;
        for (; *s != '\0'; s++)
                if (!isalnum((unsigned char)*s) && strchr("_+.-/=!:&#", *s) == NULL) return false;
        return true;
}

/* "1000", "90%VG", "100%FREE" */
static bool is_share(const char *s)
{
        size_t n = strspn(s, "0123456789");
        if (n == 0 || n > 9) return false;
        return s[n] == '\0' || strcmp(s + n, "%VG") == 0 || strcmp(s + n, "%FREE") == 0 ||
               strcmp(s + n, "%PVS") == 0;
}

static bool fits(enum value v, const char *s)
{
        switch (v) {
        case NO_VALUE: return false;
        case NUMBER: return is_number(s, false);
        case SIZE: return is_number(s, true);
        case YES_NO: return strcmp(s, "y") == 0 || strcmp(s, "n") == 0;
        case WORD: return is_word(s);
        case TAG: return is_tag(s);
        case SHARE: return is_share(s);
        }
        return false;
}

static int add(struct lvm_words *w, const char *word, struct fail *f)
{
        if (w->n == LVM_WORDS_MAX)
                return fail_set(f, E_INVALID, "there are more than %d options", LVM_WORDS_MAX);
        w->words[w->n++] = word;
        return 0;
}

/* A path of a device, with nothing that leads elsewhere. */
static int add_volume(const char *word, struct lvm_words *w, struct fail *f)
{
        bool good = strncmp(word, "/dev/", 5) == 0 && strstr(word, "/../") == NULL;
        for (const char *p = word; good && *p != '\0'; p++)
                good = isalnum((unsigned char)*p) || strchr("/_+.:-=@", *p) != NULL;
        if (!good) return fail_set(f, E_INVALID, "'%.60s' is neither an option nor a physical volume", word);
        if (w->volumes_n == LVM_WORDS_MAX)
                return fail_set(f, E_INVALID, "there are too many physical volumes");
        w->volumes[w->volumes_n++] = word;
        return 0;
}

/* "--name=value", "--name value", "-n value" or "-nvalue". */
static int take_option(const char *word, const char **at, enum lvm_use use, struct arena *a,
        struct lvm_words *w, struct fail *f)
{
        size_t n = strncmp(word, "--", 2) == 0 ? strcspn(word, "=") : 2;
        const struct known *misplaced = NULL;
        for (size_t i = 0; i < ARRAY_LEN(known); i++) {
                const char *name = n > 2 ? known[i].name : known[i].brief, *value = NULL;
                if (name == NULL || strlen(name) != n || strncmp(name, word, n) != 0) continue;
                if ((known[i].uses & 1u << use) == 0) {
                        misplaced = &known[i];
                        continue;
                }
                int err = add(w, known[i].name, f);
                if (err != 0) return err;
                if (word[n] != '\0') value = n > 2 ? word + n + 1 : word + n;
                if (known[i].value == NO_VALUE)
                        return value == NULL ? 0 : fail_set(f, E_INVALID, "%s takes no value", known[i].name);
                if (value == NULL) {
                        err = next_word(at, a, &value, f);
                        if (err < 0) return err;
                }
                if (value == NULL || !fits(known[i].value, value))
                        return fail_set(f, E_INVALID, "%s cannot be '%.60s'", known[i].name,
                                value == NULL ? "" : value);
                return add(w, value, f);
        }
        if (misplaced != NULL && misplaced->uses == THICK)
                return fail_set(f, E_INVALID, "%s is for thick volumes", misplaced->name);
        return fail_set(f, E_INVALID, "%.60s is not one of the options that are handed on", word);
}

int lvm_options_parse(
        const char *text, enum lvm_use use, struct arena *a, struct lvm_words *ret, struct fail *f)
{
        const char *at = text == NULL ? "" : text, *word;
        int got, err = 0;
        while (err == 0 && (got = next_word(&at, a, &word, f)) != 0) {
                if (got < 0) err = got;
                else if (word[0] == '-') err = take_option(word, &at, use, a, ret, f);
                else if (use == LVM_USE_THICK) err = add_volume(word, ret, f);
                else err = fail_set(f, E_INVALID, "'%.60s' is not an option", word);
        }
        return err;
}

int lvm_type_parse(const char *text, struct arena *a, struct lvm_words *ret, struct fail *f)
{
        static const char *const types[] = { "striped", "mirror", "raid0", "raid1", "raid4", "raid5", "raid6",
                "raid10" };
        if (text == NULL || text[0] == '\0' || strcmp(text, "linear") == 0) return 0;
        for (size_t i = 0; i < ARRAY_LEN(types); i++) {
                if (strcmp(text, types[i]) != 0) continue;
                int err = add(ret, "--type", f);
                return err != 0 ? err : add(ret, arena_strdup(a, text), f);
        }
        return fail_set(f, E_INVALID, "'%.40s' is not a type that lvcreate makes volumes of", text);
}

int lvm_sort_parse(const char *text, struct arena *a, const char **ret, struct fail *f)
{
        const char *at = text == NULL ? "" : text, *word = NULL, *value = NULL;
        *ret = NULL;
        int got = next_word(&at, a, &word, f);
        if (got <= 0) return got;
        if (strncmp(word, "--sort=", 7) == 0) value = word + 7;
        else if (strcmp(word, "--sort") == 0 || strcmp(word, "-O") == 0) got = next_word(&at, a, &value, f);
        if (got < 0) return got;
        bool more = at[strspn(at, SPACE)] != '\0';
        if (value == NULL || more || value[strspn(value, "abcdefghijklmnopqrstuvwxyz_,+-")] != '\0')
                return fail_set(f, E_INVALID, "'%.60s' is not like --sort pv_used", text);
        *ret = value;
        return 0;
}
