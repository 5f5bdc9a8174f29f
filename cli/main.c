/* outrigger: the user's CLI. Global options, then one verb of the table (cli/verbs.c), one request, one
 * answer. */
#include <getopt.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/help.h"
#include "cli/http.h"
#include "cli/render.h"
#include "wire/base/buf.h"
#include "wire/def/versions.h"

struct settings {
        struct http_options http;
        struct render_options render;
        char *controllers;
};

static const struct cli_verb *find_verb(const char *object, const char *verb)
{
        for (const struct cli_verb *const *t = cli_verb_tables; *t != NULL; t++)
                for (const struct cli_verb *v = *t; v->object != NULL; v++)
                        if (strcmp(object, v->object) == 0 &&
                                (strcmp(verb, v->verb) == 0 || strcmp(verb, v->verb_short) == 0))
                                return v;
        return NULL;
}

/* "snapshot resource" is typed as two words, by their short forms "s r", or as one: snapshot-resource, sr. Returns how many words are the
 * object's name, 0 when it is another one. */
static int object_words(const struct cli_verb *v, int n, char **words)
{
        if (n > 0 && (strcmp(words[0], v->object) == 0 || strcmp(words[0], v->object_short) == 0)) return 1;
        const char *space = strchr(v->object, ' '), *short_space = strchr(v->object_short, ' ');
        if (n == 0 || space == NULL || short_space == NULL) return 0;
        size_t first = (size_t)(space - v->object), short_first = (size_t)(short_space - v->object_short);
        char joined[64];
        (void)snprintf(joined, sizeof joined, "%.*s-%s", (int)first, v->object, space + 1);
        if (strcmp(words[0], joined) == 0) return 1;
        (void)snprintf(joined, sizeof joined, "%.*s%s", (int)short_first, v->object_short, short_space + 1);
        if (strcmp(words[0], joined) == 0) return 1;
        if (n < 2) return 0;
        bool one = (strlen(words[0]) == first && strncmp(words[0], v->object, first) == 0) ||
                   (strlen(words[0]) == short_first && strncmp(words[0], v->object_short, short_first) == 0);
        return one && (strcmp(words[1], space + 1) == 0 || strcmp(words[1], short_space + 1) == 0) ? 2 : 0;
}

/* The object that the first words name; *ret_used is how many words that was. The longer name wins, unless its second word is a verb of
 * the shorter one and what follows is no verb of its own ("n i" is node info, "n i l" is node interface list). */
static const char *find_object(int n, char **words, int *ret_used)
{
        const char *found = NULL;
        *ret_used = 0;
        for (const struct cli_verb *const *t = cli_verb_tables; *t != NULL; t++) {
                for (const struct cli_verb *v = *t; v->object != NULL; v++) {
                        int used = object_words(v, n, words);
                        if (used <= *ret_used) continue;
                        if (used == 2 && found != NULL && find_verb(found, words[1]) != NULL &&
                                (n < 3 || find_verb(v->object, words[2]) == NULL))
                                continue;
                        *ret_used = used;
                        found = v->object;
                }
        }
        return found;
}

/* The row's path with its parameters put in. */
static char *fill_path(const struct cli_call *call)
{
        struct buf out = { 0 };
        for (const char *p = call->verb->path; *p != 0;) {
                if (*p != '{') {
                        buf_put_u8(&out, (unsigned char)*p++);
                        continue;
                }
                size_t n = strcspn(p, "}");
                char *name = xasprintf("%.*s", (int)n - 1, p + 1);
                const char *value = json_string_value(json_object_get(call->params, name));
                char *escaped = http_escape(value != NULL ? value : "");
                buf_put_str(&out, escaped);
                free(escaped);
                free(name);
                p += n + 1;
        }
        (void)buf_cstr(&out);
        return (char *)out.p;
}

static void print_machine(const json_t *json, bool wrap)
{
        if (wrap) putchar('[');
        (void)json_dumpf(json, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
        puts(wrap ? "]" : "");
}

static int show(const struct settings *s, struct cli_call *call, struct http_answer *answer)
{
        bool list = call->verb->columns[0].header != NULL && answer->status < 400 &&
                    strcmp(call->method, call->verb->method) == 0;
        if (answer->json == NULL) {
                fprintf(stderr, "outrigger: %s answered %ld without JSON: %.200s\n", answer->where,
                        answer->status, answer->text);
                return EXIT_UNEXPECTED;
        }
        if (s->render.machine) print_machine(answer->json, list);
        if (!list) {
                int rc = render_answer(&s->render, answer->json);
                return rc == EXIT_OK && answer->status >= 400 ? EXIT_API : rc;
        }
        if (s->render.machine) return EXIT_OK;
        json_t *rows =
                call->verb->rows != NULL ? call->verb->rows(answer->json, call) : json_incref(answer->json);
        if (rows != NULL) render_table(&s->render, call->verb, rows);
        json_decref(rows);
        return EXIT_OK;
}

static int run_verb(const struct settings *s, const struct cli_verb *verb, int argc, char **argv)
{
        struct cli_call call;
        struct http_answer answer = { 0 };
        for (int i = 0; i < argc; i++) {
                if (strcmp(argv[i], "--help") != 0 && strcmp(argv[i], "-h") != 0) continue;
                help_verb(stdout, verb);
                return EXIT_OK;
        }
        int rc = cli_args_parse(&call, verb, argc, argv);
        bool secret = strcmp(verb->object, "encryption") == 0 || strncmp(verb->object, "remote ", 7) == 0;
        if (rc == 0 && s->http.curl && secret)
                rc = cli_problem(&call, "--curl would show the passphrase or the keys");
        if (rc == 0 && verb->before != NULL) rc = verb->before(&call);
        if (rc == 0 && s->http.curl && call.secret)
                rc = cli_problem(&call, "--curl would show the passphrase");
        if (rc != 0) {
                fprintf(stderr, "outrigger: %s\nSee: outrigger %s %s --help\n", call.problem, verb->object,
                        verb->verb);
                cli_call_done(&call);
                return EXIT_ARGS;
        }
        int result = EXIT_CONNECT;
        struct http *http = http_open(&s->http);
        if (http != NULL) {
                char *path = fill_path(&call);
                if (call.body == NULL && strcmp(call.method, "GET") != 0 &&
                        strcmp(call.method, "DELETE") != 0)
                        call.body = json_object();
                result = (int)http_call(http, call.method, path, call.query, call.body, &answer);
                if (result == EXIT_OK && !s->http.curl && verb->after != NULL)
                        result = verb->after(&call, http, &answer);
                if (result == EXIT_OK && !s->http.curl) result = show(s, &call, &answer);
                free(path);
        }
        json_decref(answer.json);
        free(answer.text);
        http_close(http);
        cli_call_done(&call);
        return result;
}

enum {
        OPT_CONTROLLERS = 256,
        OPT_NO_COLOR,
        OPT_NO_UTF8,
        OPT_WARN,
        OPT_CURL,
        OPT_CERT,
        OPT_KEY,
        OPT_CA,
        OPT_OUTPUT
};
static const struct option long_options[] = { { "controllers", required_argument, NULL, OPT_CONTROLLERS },
        { "machine-readable", no_argument, NULL, 'm' },
        { "output-version", required_argument, NULL, OPT_OUTPUT }, { "pastable", no_argument, NULL, 'p' },
        { "no-color", no_argument, NULL, OPT_NO_COLOR }, { "no-utf8", no_argument, NULL, OPT_NO_UTF8 },
        { "warn-as-error", no_argument, NULL, OPT_WARN }, { "curl", no_argument, NULL, OPT_CURL },
        { "timeout", required_argument, NULL, 't' }, { "certfile", required_argument, NULL, OPT_CERT },
        { "keyfile", required_argument, NULL, OPT_KEY }, { "cafile", required_argument, NULL, OPT_CA },
        { "version", no_argument, NULL, 'v' }, { "help", no_argument, NULL, 'h' }, { 0 } };

static void add_controllers(struct settings *s, const char *more)
{
        char *old = s->controllers;
        s->controllers = old == NULL || old[0] == 0 ? xstrdup(more) : xasprintf("%s,%s", old, more);
        free(old);
        s->http.controllers = s->controllers;
}

static bool utf8_locale(void)
{
        const char *l = setlocale(LC_CTYPE, NULL);
        return l != NULL && (strcasestr(l, "utf-8") != NULL || strcasestr(l, "utf8") != NULL);
}

/* Returns -1 to go on with the verb at optind, else an exit code. */
static int global_options(struct settings *s, int argc, char **argv)
{
        int c;
        char *end;
        while ((c = getopt_long(argc, argv, "+mpt:vh", long_options, NULL)) != -1) {
                switch (c) {
                case OPT_CONTROLLERS: add_controllers(s, optarg); break;
                case OPT_NO_COLOR: s->render.color = false; break;
                case OPT_NO_UTF8: s->render.utf8 = false; break;
                case OPT_WARN: s->render.warn_as_error = true; break;
                case OPT_CURL: s->http.curl = true; break;
                case OPT_CERT: s->http.cert = optarg; break;
                case OPT_KEY: s->http.key = optarg; break;
                case OPT_CA: s->http.ca = optarg; break;
                case OPT_OUTPUT:
                        if (strcmp(optarg, "v1") == 0) break;
                        fprintf(stderr, "outrigger: --output-version %s is not known; v1 is\n", optarg);
                        return EXIT_ARGS;
                case 'm': s->render.machine = true; break;
                case 'p': s->render.pastable = true; break;
                case 't':
                        s->http.timeout_s = strtol(optarg, &end, 10);
                        if (*end == 0 && s->http.timeout_s > 0) break;
                        fprintf(stderr, "outrigger: --timeout takes seconds, got \"%s\"\n", optarg);
                        return EXIT_ARGS;
                case 'v': printf("outrigger %s\n", SOFTWARE_VERSION); return EXIT_OK;
                case 'h': help_all(stdout); return EXIT_OK;
                default: return EXIT_ARGS;
                }
        }
        return -1;
}

static bool is_help(const char *word)
{
        return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
}

static int dispatch(const struct settings *s, int n, char **words)
{
        bool help = n > 0 && strcmp(words[0], "help") == 0;
        if (help) words++, n--;
        if (n == 0) {
                help_all(help ? stdout : stderr);
                return help ? EXIT_OK : EXIT_ARGS;
        }
        if (strcmp(words[0], "completion") == 0) {
                help_completion(stdout);
                return EXIT_OK;
        }
        int used;
        const char *object = find_object(n, words, &used), *verb = used < n ? words[used] : NULL;
        if (object == NULL) {
                fprintf(stderr, "outrigger: \"%s\" is no object; see outrigger --help\n", words[0]);
                return EXIT_ARGS;
        }
        if (verb == NULL || is_help(verb)) {
                help = help || verb != NULL;
                help_object(help ? stdout : stderr, object);
                return help ? EXIT_OK : EXIT_ARGS;
        }
        const struct cli_verb *found = find_verb(object, verb);
        if (found == NULL) {
                fprintf(stderr, "outrigger: %s has no verb \"%s\"\n", object, verb);
                help_object(stderr, object);
                return EXIT_ARGS;
        }
        if (!help) return run_verb(s, found, n - used - 1, words + used + 1);
        help_verb(stdout, found);
        return EXIT_OK;
}

int main(int argc, char **argv)
{
        struct settings s = { .http = { .timeout_s = 300, .progress = isatty(STDERR_FILENO) } };
        (void)setlocale(LC_ALL, "");
        s.render.color = isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL;
        s.render.utf8 = utf8_locale();
        if (getenv("LS_CONTROLLERS") != NULL) add_controllers(&s, getenv("LS_CONTROLLERS"));
        int rc = global_options(&s, argc, argv);
        if (rc == -1) rc = dispatch(&s, argc - optind, argv + optind);
        free(s.controllers);
        return rc;
}
