#include "satellite/provider/zfs_options.h"

#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 64
#define WORD_MAX 255 /* characters */
#define SPACE " \t\n\r"

/* The next word; NULL: there is none. E_INVALID: too long. */
static int next_word(const char **at, struct arena *a, const char **ret, struct fail *f)
{
        *at += strspn(*at, SPACE);
        size_t n = strcspn(*at, SPACE);
        *ret = NULL;
        if (n == 0) return 0;
        if (n > WORD_MAX) return fail_set(f, E_INVALID, "'%.40s...' is too long for an option", *at);
        *ret = arena_strndup(a, *at, n);
        *at += n;
        return 0;
}

/* "64K", "65536": a power of two from 512 to ZFS_BLOCK_MAX. */
static int block_size(const char *text, uint64_t *ret, struct fail *f)
{
        char *end;
        unsigned long long v = strtoull(text, &end, 10);
        if (*end == 'k' || *end == 'K') {
                v *= v <= ZFS_BLOCK_MAX ? 1024 : 0;
                end++;
        }
        if (*end == 'b' || *end == 'B') end++;
        if (text[0] < '0' || text[0] > '9' || *end != '\0' || v < 512 || v > ZFS_BLOCK_MAX ||
                (v & (v - 1)) != 0)
                return fail_set(f, E_INVALID, "'%s' is no block size: a power of two from 512 to 128K", text);
        *ret = v;
        return 0;
}

static bool starts(const char *s, const char *with) { return strncmp(s, with, strlen(with)) == 0; }

/* Properties that the satellite sets, or that make a volume something else than what it has to be. */
static bool is_ours(const char *property)
{
        static const char *const ours[] = { "volmode=", "volsize=", "refreservation=", "reservation=",
                "readonly=", "outrigger:", "mountpoint=", "canmount=", "keylocation=", "snapdev=", "zoned=" };
        for (size_t i = 0; i < ARRAY_LEN(ours); i++)
                if (starts(property, ours[i])) return true;
        return false;
}

static int take_property(const char *text, bool create, struct zfs_options *o, struct fail *f)
{
        const char *equals = text != NULL ? strchr(text, '=') : NULL;
        if (equals == NULL || equals == text || text[0] == '-')
                return fail_set(f, E_INVALID, "-o needs property=value, not '%s'", text != NULL ? text : "");
        if (is_ours(text))
                return fail_set(f, E_INVALID, "'%s': the satellite sets this property itself", text);
        if (!starts(text, "volblocksize=")) return 0;
        if (!create) return fail_set(f, E_INVALID, "'%s': a snapshot has no block size of its own", text);
        return block_size(equals + 1, &o->block_bytes, f);
}

static void add(struct zfs_options *o, const char *word, const char *value)
{
        o->words[o->n++] = word;
        if (value != NULL) o->words[o->n++] = value;
}

static int take_option(const char *word, const char **at, bool create, struct arena *a, struct zfs_options *o,
        struct fail *f)
{
        const char *value;
        if (create && strcmp(word, "-s") == 0) return 0; /* the pool's kind says that */
        bool property = starts(word, "-o"), block = create && starts(word, "-b");
        if (!property && !block) return fail_set(f, E_INVALID, "option %s is not supported", word);
        if (word[2] != '\0') value = word + 2;
        else {
                int err = next_word(at, a, &value, f);
                if (err != 0) return err;
        }
        int err = property ? take_property(value, create, o, f)
                           : block_size(value != NULL ? value : "", &o->block_bytes, f);
        if (err == 0) add(o, property ? "-o" : "-b", value);
        return err;
}

int zfs_options_parse(const char *text, bool create, struct arena *a, struct zfs_options *ret, struct fail *f)
{
        *ret = (struct zfs_options){ .words = arena_alloc(a, WORDS_MAX * sizeof *ret->words) };
        if (text == NULL) return 0;
        for (;;) {
                const char *word;
                int err = next_word(&text, a, &word, f);
                if (err != 0 || word == NULL) return err;
                if (ret->n + 2 > WORDS_MAX) return fail_set(f, E_INVALID, "there are too many options");
                err = take_option(word, &text, create, a, ret, f);
                if (err != 0) return err;
        }
}

/* What may be said of a pool that is made: nothing that would put its state elsewhere or that the satellite needs. */
static bool is_pool_property(const char *text)
{
        static const char *const known[] = { "ashift=", "autotrim=", "autoexpand=", "autoreplace=",
                "comment=", "failmode=", "compatibility=", "feature@", "listsnapshots=", "delegation=" };
        for (size_t i = 0; i < ARRAY_LEN(known); i++)
                if (starts(text, known[i])) return true;
        return false;
}

int zpool_options_parse(const char *text, struct arena *a, struct zfs_options *ret, struct fail *f)
{
        *ret = (struct zfs_options){ .words = arena_alloc(a, WORDS_MAX * sizeof *ret->words) };
        if (text == NULL) return 0;
        for (;;) {
                const char *word, *value;
                int err = next_word(&text, a, &word, f);
                if (err != 0 || word == NULL) return err;
                if (ret->n + 2 > WORDS_MAX) return fail_set(f, E_INVALID, "there are too many options");
                bool pool = starts(word, "-o");
                if (!pool && !starts(word, "-O"))
                        return fail_set(f, E_INVALID, "option %s is not supported", word);
                value = word + 2;
                if (*value == '\0') err = next_word(&text, a, &value, f);
                if (err == 0) err = take_property(value, true, ret, f);
                if (err == 0 && pool && !is_pool_property(value))
                        err = fail_set(
                                f, E_INVALID, "'%s' is not one of the properties that are handed on", value);
                if (err != 0) return err;
                add(ret, pool ? "-o" : "-O", value);
        }
}
