#include "satellite/layer/luks_options.h"

#include <libcryptsetup.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD_SIZE 64
#define SPACE " \t\n"

struct word {
        char name[WORD_SIZE], value[WORD_SIZE];
        bool has_value;
};

/* Takes the next word off *at. 1: one was taken; 0: there is none; E_INVALID: too long. */
static int next_word(const char **at, char out[WORD_SIZE], struct fail *f)
{
        *at += strspn(*at, SPACE);
        size_t n = strcspn(*at, SPACE);
        if (n == 0) return 0;
        if (n >= WORD_SIZE) return fail_set(f, E_INVALID, "'%.40s...' is too long for an option", *at);
        memcpy(out, *at, n);
        out[n] = '\0';
        *at += n;
        return 1;
}

/* "--name=value", or "--name value" where it takes one. */
static int next_option(const char **at, const char *with_values, struct word *w, struct fail *f)
{
        *w = (struct word){ 0 };
        int got = next_word(at, w->name, f);
        if (got != 1) return got;
        char *equals = strchr(w->name, '=');
        if (equals != NULL) {
                snprintf(w->value, sizeof w->value, "%s", equals + 1);
                *equals = '\0';
                w->has_value = true;
                return 1;
        }
        char key[WORD_SIZE + 2];
        snprintf(key, sizeof key, "|%s|", w->name);
        if (strstr(with_values, key) == NULL) return 1;
        got = next_word(at, w->value, f);
        if (got < 0) return got;
        if (got == 0) return fail_set(f, E_INVALID, "option %s lacks its value", w->name);
        w->has_value = true;
        return 1;
}

static bool is(const struct word *w, const char *name, const char *brief)
{
        return strcmp(w->name, name) == 0 || (brief[0] != '\0' && strcmp(w->name, brief) == 0);
}

static int number(const struct word *w, unsigned long max, uint32_t *ret, struct fail *f)
{
        char *end;
        unsigned long n = strtoul(w->value, &end, 10);
        if (w->value[0] < '0' || w->value[0] > '9' || *end != '\0' || n == 0 || n > max)
                return fail_set(f, E_INVALID, "option %s: '%s' is not a number from 1 to %lu", w->name,
                        w->value, max);
        *ret = (uint32_t)n;
        return 0;
}

/* "aes-xts-plain64": the cipher up to the first dash, the mode behind it. */
static int take_cipher(const struct word *w, struct luks_format *o, struct fail *f)
{
        const char *dash = strchr(w->value, '-');
        size_t n = dash == NULL ? 0 : (size_t)(dash - w->value);
        if (n == 0 || n >= sizeof o->cipher || dash[1] == '\0' || strlen(dash + 1) >= sizeof o->mode)
                return fail_set(
                        f, E_INVALID, "option %s: '%s' is not like aes-xts-plain64", w->name, w->value);
        memcpy(o->cipher, w->value, n);
        o->cipher[n] = '\0';
        snprintf(o->mode, sizeof o->mode, "%.31s", dash + 1);
        return 0;
}

static int take_hash(const struct word *w, struct luks_format *o, struct fail *f)
{
        if (w->value[0] == '\0' || strlen(w->value) >= sizeof o->hash)
                return fail_set(f, E_INVALID, "option %s: '%s' is not like sha256", w->name, w->value);
        snprintf(o->hash, sizeof o->hash, "%.31s", w->value);
        return 0;
}

static int take_sizes(const struct word *w, struct luks_format *o, struct fail *f)
{
        uint32_t n = 0;
        bool bits = !is(w, "--sector-size", "");
        int err = number(w, 4096, &n, f);
        if (err != 0) return err;
        if (bits && (n % 8 != 0 || n > 1024))
                return fail_set(f, E_INVALID, "option %s: a multiple of 8, up to 1024", w->name);
        if (!bits && (n < 512 || (n & (n - 1)) != 0))
                return fail_set(f, E_INVALID, "option %s: 512, 1024, 2048 or 4096", w->name);
        *(bits ? &o->key_bytes : &o->sector_size) = bits ? n / 8 : n;
        return 0;
}

static int take_format(const struct word *w, struct luks_format *o, struct fail *f)
{
        if (is(w, "--cipher", "-c")) return take_cipher(w, o, f);
        if (is(w, "--hash", "-h")) return take_hash(w, o, f);
        if (is(w, "--key-size", "-s") || is(w, "--sector-size", "")) return take_sizes(w, o, f);
        if (is(w, "--pbkdf", "")) {
                o->pbkdf2 = strcmp(w->value, "pbkdf2") == 0;
                if (o->pbkdf2 || strcmp(w->value, "argon2id") == 0) return 0;
                return fail_set(f, E_INVALID, "option --pbkdf: pbkdf2 or argon2id");
        }
        if (is(w, "--pbkdf-force-iterations", "")) return number(w, UINT32_MAX, &o->iterations, f);
        if (is(w, "--pbkdf-memory", "")) return number(w, 4u << 20, &o->memory_kb, f);
        if (is(w, "--pbkdf-parallel", "")) return number(w, 4, &o->parallel, f);
        if (is(w, "--type", "") && strcmp(w->value, "luks2") == 0) return 0;
        return fail_set(f, E_INVALID, "option %s is not supported", w->name);
}

int luks_parse_format(const char *text, struct luks_format *ret, struct fail *f)
{
        static const char with_values[] =
                "|--cipher|-c|--hash|-h|--key-size|-s|--sector-size|--pbkdf|--pbkdf-force-iterations|"
                "--pbkdf-memory|--pbkdf-parallel|--type|";
        struct word w;
        int got;
        *ret = (struct luks_format){
                .cipher = "aes", .mode = "xts-plain64", .hash = "sha256", .key_bytes = 64
        };
        while ((got = next_option(&text, with_values, &w, f)) == 1) {
                int err = take_format(&w, ret, f);
                if (err != 0) return err;
        }
        return got;
}

int luks_parse_open(const char *text, uint32_t *flags, struct fail *f)
{
        static const struct {
                const char *name;
                uint32_t flag;
        } known[] = {
                { "--allow-discards", CRYPT_ACTIVATE_ALLOW_DISCARDS },
                { "--perf-same_cpu_crypt", CRYPT_ACTIVATE_SAME_CPU_CRYPT },
                { "--perf-submit_from_crypt_cpus", CRYPT_ACTIVATE_SUBMIT_FROM_CRYPT_CPUS },
                { "--perf-no_read_workqueue", CRYPT_ACTIVATE_NO_READ_WORKQUEUE },
                { "--perf-no_write_workqueue", CRYPT_ACTIVATE_NO_WRITE_WORKQUEUE },
        };
        struct word w;
        int got;
        while ((got = next_option(&text, "|", &w, f)) == 1) {
                bool found = false;
                for (size_t i = 0; i < ARRAY_LEN(known) && !found; i++) {
                        found = strcmp(known[i].name, w.name) == 0 && !w.has_value;
                        if (found) *flags |= known[i].flag;
                }
                if (!found) return fail_set(f, E_INVALID, "option %s is not supported", w.name);
        }
        return got;
}
