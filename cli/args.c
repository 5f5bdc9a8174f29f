/* From words to a request: matches argv against a verb's rows and fills path, query and body. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/verb.h"
#include "wire/base/mem.h"

int cli_problem(struct cli_call *call, const char *fmt, ...)
{
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(call->problem, sizeof call->problem, fmt, ap);
        va_end(ap);
        return E_INVALID;
}

const char *cli_value(const struct cli_call *call, const char *arg)
{
        return json_string_value(json_object_get(call->values, arg));
}

void cli_call_done(struct cli_call *call)
{
        json_decref(call->values);
        json_decref(call->params);
        json_decref(call->query);
        json_decref(call->body);
        *call = (struct cli_call){ 0 };
}

/* The member `key` of *at, made when missing; key "-" appends, a number is an index. leaf NULL = a container
 * that holds next. */
static json_t *descend(json_t *at, const char *key, const char *next, json_t *leaf)
{
        json_t *child = leaf;
        if (json_is_array(at)) {
                size_t i = strcmp(key, "-") == 0 ? json_array_size(at) : strtoul(key, NULL, 10);
                if (i < json_array_size(at) && leaf == NULL) return json_array_get(at, i);
                if (child == NULL)
                        child = next[0] == '-' || (next[0] >= '0' && next[0] <= '9') ? json_array()
                                                                                     : json_object();
                (void)json_array_append_new(at, child);
                return child;
        }
        json_t *old = json_object_get(at, key);
        if (old != NULL && leaf == NULL) return old;
        if (child == NULL)
                child = next[0] == '-' || (next[0] >= '0' && next[0] <= '9') ? json_array() : json_object();
        (void)json_object_set_new(at, key, child);
        return child;
}

void cli_body_put(struct cli_call *call, const char *target, json_t *value)
{
        char *path = xstrdup(target + 1), *rest = path;
        const char *key = strsep(&rest, "/");
        if (call->body == NULL)
                call->body = key[0] == '-' || (key[0] >= '0' && key[0] <= '9') ? json_array() : json_object();
        json_t *at = call->body;
        while (rest != NULL) {
                const char *next = strsep(&rest, "/");
                at = descend(at, key, next, NULL);
                key = next;
        }
        (void)descend(at, key, NULL, value);
        free(path);
}

static json_t *typed(struct cli_call *call, const struct cli_arg *arg, const char *text)
{
        unsigned long long kib;
        char *end;
        switch (arg->type) {
        case TYPE_INT: {
                errno = 0;
                long long v = strtoll(text, &end, 10);
                if (*text == 0 || *end != 0 || errno != 0) {
                        (void)cli_problem(call, "%s: expected a number, got \"%s\"", arg->name, text);
                        return NULL;
                }
                return json_integer(v);
        }
        case TYPE_SIZE:
                if (cli_size_parse(text, &kib) != 0) {
                        (void)cli_problem(call,
                                "%s: expected a size such as 10G, 512MiB or 20 (GiB), got \"%s\"", arg->name,
                                text);
                        return NULL;
                }
                return json_integer((json_int_t)kib);
        case TYPE_UPPER: {
                char *up = xstrdup(text);
                for (char *c = up; *c != 0; c++)
                        if (*c >= 'a' && *c <= 'z') *c = (char)(*c - 'a' + 'A');
                json_t *v = json_string(up);
                free(up);
                return v;
        }
        case TYPE_AUX:
                return strncmp(text, "Aux/", 4) == 0 ? json_string(text) : json_sprintf("Aux/%s", text);
        case TYPE_TRUE: return json_true();
        case TYPE_STR: break;
        }
        return json_string(text);
}

/* One value to where the row says. */
static int deliver(struct cli_call *call, const struct cli_arg *arg, const char *text)
{
        const char *to = arg->target;
        if (to[0] == 0) { /* the verb's own function takes it; a number has to be one */
                json_t *v = typed(call, arg, text);
                json_decref(v);
                return v == NULL ? E_INVALID : 0;
        }
        if (to[0] == '{') {
                char *name = xmemdup(to + 1, strlen(to) - 1);
                name[strlen(to) - 2] = 0;
                (void)json_object_set_new(call->params, name, json_string(text));
                free(name);
                return 0;
        }
        if (to[0] == '?') {
                (void)json_array_append_new(call->query, json_pack("[ss]", to + 1, text));
                return 0;
        }
        const char *literal = strchr(to, '='); /* "/a=word": the flag stands for a fixed value */
        char *place = literal == NULL ? xstrdup(to) : xasprintf("%.*s", (int)(literal - to), to);
        json_t *value = literal == NULL ? typed(call, arg, text) : json_string(literal + 1);
        if (value != NULL) cli_body_put(call, place, value);
        free(place);
        return value == NULL ? E_INVALID : 0;
}

static int give(struct cli_call *call, const struct cli_arg *arg, const char *text)
{
        if (arg->form != ARG_OPT_MANY && arg->form != ARG_POS_MANY && arg->form != ARG_POS_ANY) {
                if (arg->form != ARG_FLAG && json_object_get(call->values, arg->name) != NULL)
                        return cli_problem(call, "%s is given twice", arg->name);
                (void)json_object_set_new(call->values, arg->name, json_string(text));
                return deliver(call, arg, text);
        }
        json_t *all = json_object_get(call->values, arg->name);
        if (all == NULL) {
                all = json_array();
                (void)json_object_set_new(call->values, arg->name, all);
        }
        char *copy = xstrdup(text), *rest = copy, *word;
        int rc = 0;
        while (rc == 0 && (word = strsep(&rest, ",")) != NULL) {
                if (word[0] == 0) continue;
                (void)json_array_append_new(all, json_string(word));
                rc = deliver(call, arg, word);
        }
        free(copy);
        return rc;
}

static bool is_option(const struct cli_arg *a)
{
        return a->form == ARG_OPT || a->form == ARG_OPT_MANY || a->form == ARG_FLAG;
}

static const struct cli_arg *option_of_letter(const struct cli_verb *verb, char letter)
{
        for (const struct cli_arg *a = verb->args; a->form != ARG_END; a++)
                if (is_option(a) && a->letter == letter) return a;
        return NULL;
}

static bool called(const char *name, const char *word, size_t n)
{
        return name != NULL && strlen(name) == n && strncmp(name, word, n) == 0;
}

/* By its name of n characters, by another name of it, or by the beginning of one name only, as LINSTOR's client takes it. */
static const struct cli_arg *option_of_name(struct cli_call *call, const char *word, size_t n)
{
        const struct cli_arg *found = NULL;
        for (const struct cli_arg *a = call->verb->args; a->form != ARG_END; a++)
                if (is_option(a) && (called(a->name, word, n) || called(a->alias, word, n))) return a;
        for (const struct cli_arg *a = call->verb->args; a->form != ARG_END; a++) {
                if (!is_option(a) || strncmp(a->name, word, n) != 0) continue;
                if (found != NULL) {
                        (void)cli_problem(call, "%.*s may be %s or %s", (int)n, word, found->name, a->name);
                        return NULL;
                }
                found = a;
        }
        return found;
}

/* Consumes one option word and, if it takes one, its value; *ret_many is the option when it takes more of them. Returns how many words,
 * or a negative error. */
static int take_option(struct cli_call *call, int argc, char **argv, const struct cli_arg **ret_many)
{
        const char *word = argv[0], *equals = strchr(word, '='), *value = NULL;
        const struct cli_arg *arg;
        if (word[1] == '-') {
                size_t n = equals == NULL ? strlen(word) : (size_t)(equals - word);
                arg = option_of_name(call, word, n);
                if (equals != NULL) value = equals + 1;
        } else {
                arg = option_of_letter(call->verb, word[1]);
                if (word[2] != 0) value = word + 2;
        }
        if (arg == NULL && call->problem[0] != 0) return E_INVALID;
        if (arg == NULL)
                return cli_problem(
                        call, "%s is no option of %s %s", word, call->verb->object, call->verb->verb);
        *ret_many = arg->form == ARG_OPT_MANY && value == NULL ? arg : NULL;
        if (arg->form == ARG_FLAG) {
                if (value != NULL) return cli_problem(call, "%s takes no value", arg->name);
                int rc = give(call, arg, "true");
                return rc != 0 ? rc : 1;
        }
        if (value == NULL && argc < 2) return cli_problem(call, "%s needs a value", arg->name);
        int rc = give(call, arg, value != NULL ? value : argv[1]);
        return rc != 0 ? rc : value != NULL ? 1 : 2;
}

/* JSON holds nothing else, and what it cannot hold would silently be missing from the request. */
static bool is_utf8(const char *word)
{
        json_t *v = json_string(word);
        bool yes = v != NULL;
        json_decref(v);
        return yes;
}

/* A word that is no option. after: the repeatable option whose values it follows, NULL = none. */
struct word {
        const char *text;
        const struct cli_arg *after;
};

/* "-n node1 node2": words that no positional has room for belong to the option before them. Returns how many are left. */
static int give_surplus(struct cli_call *call, struct word *words, int n)
{
        int room = 0, left = 0;
        for (const struct cli_arg *a = call->verb->args; a->form != ARG_END; a++) {
                if (a->form == ARG_POS_MANY || a->form == ARG_POS_ANY) return n;
                room += a->form == ARG_POS || a->form == ARG_POS_OPT ? 1 : 0;
        }
        int surplus = n - room;
        for (int i = 0; i < n; i++) {
                if (surplus <= 0 || words[i].after == NULL) {
                        words[left++] = words[i];
                        continue;
                }
                surplus--;
                int rc = give(call, words[i].after, words[i].text);
                if (rc != 0) return rc;
        }
        return left;
}

/* Positionals: each required one gets a word, the optional and the repeated ones share what is left. */
static int place_words(struct cli_call *call, const struct word *words, int n)
{
        const struct cli_arg *args = call->verb->args;
        int required = 0, at = 0;
        for (const struct cli_arg *a = args; a->form != ARG_END; a++)
                if (a->form == ARG_POS || a->form == ARG_POS_MANY) required++;
        int spare = MAX(n - required, 0);
        for (const struct cli_arg *a = args; a->form != ARG_END; a++) {
                bool must = a->form == ARG_POS || a->form == ARG_POS_MANY;
                int more = a->form == ARG_POS_OPT                              ? MIN(spare, 1)
                           : a->form == ARG_POS_MANY || a->form == ARG_POS_ANY ? spare
                                                                               : 0;
                if (must && at >= n) return cli_problem(call, "%s is missing", a->name);
                spare -= more;
                for (int take = more + (must ? 1 : 0); take > 0; take--) {
                        int rc = give(call, a, words[at++].text);
                        if (rc != 0) return rc;
                }
        }
        return at < n ? cli_problem(call, "\"%s\" is too much", words[at].text) : 0;
}

static int need_options(struct cli_call *call)
{
        for (const struct cli_arg *a = call->verb->args; a->form != ARG_END; a++)
                if (a->required && json_object_get(call->values, a->name) == NULL)
                        return cli_problem(call, "%s is missing", a->name);
        return 0;
}

int cli_args_parse(struct cli_call *call, const struct cli_verb *verb, int argc, char **argv)
{
        *call = (struct cli_call){ .verb = verb,
                .method = verb->method,
                .values = json_object(),
                .params = json_object(),
                .query = json_array() };
        struct word *words = xcalloc((size_t)argc + 1, sizeof *words);
        const struct cli_arg *after = NULL;
        int n = 0, rc = 0;
        bool only_words = false;
        for (int i = 0; rc >= 0 && i < argc; i++)
                if (!is_utf8(argv[i])) rc = cli_problem(call, "word %d is not text in UTF-8", i + 1);
        for (int i = 0; rc >= 0 && i < argc;) {
                if (!only_words && strcmp(argv[i], "--") == 0) {
                        only_words = true;
                        after = NULL;
                        i++;
                } else if (!only_words && argv[i][0] == '-' && argv[i][1] != 0) {
                        rc = take_option(call, argc - i, argv + i, &after);
                        i += MAX(rc, 0);
                } else {
                        words[n++] = (struct word){ argv[i++], after };
                }
        }
        if (rc >= 0) rc = n = give_surplus(call, words, n);
        if (rc >= 0) rc = place_words(call, words, n);
        if (rc >= 0) rc = need_options(call);
        free(words);
        return rc;
}
