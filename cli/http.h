/* The CLI's way to a controller: tries each of the list in order, moves on when one cannot be reached.
 *
 * Threads: one. Errors: exit codes as LINSTOR's client has them (enum cli_exit). */
#ifndef CLI_HTTP_H
#define CLI_HTTP_H

#include <jansson.h>
#include <stdbool.h>
#include <time.h>

enum cli_exit {
        EXIT_OK = 0,
        EXIT_UNKNOWN = 1,
        EXIT_ARGS = 2,
        EXIT_API = 10,
        EXIT_CONNECT = 20,
        EXIT_TIMEOUT = 21,
        EXIT_UNEXPECTED = 22,
};

struct http_options {
        const char *controllers;     /* comma list, NULL = local socket or localhost */
        const char *cert, *key, *ca; /* PEM files, NULL = looked for (http_open) */
        long timeout_s;
        bool curl;     /* print the request as a curl command instead of sending it */
        bool progress; /* say what is waited for, on a terminal */
};
struct http;
/* NULL with a message on stderr when the list is unusable. */
struct http *http_open(const struct http_options *options);
void http_close(struct http *h);

struct http_answer {
        long status;
        json_t *json;      /* NULL when there was no JSON body; the caller's */
        char *text;        /* the body as it came; free() */
        const char *where; /* base URL that answered */
};
/* EXIT_OK when an HTTP answer of any status came; else EXIT_CONNECT or EXIT_TIMEOUT, with a message on
 * stderr. */
enum cli_exit http_call(struct http *h, const char *method, const char *path, const json_t *query,
        const json_t *body, struct http_answer *ret);
/* A terminal is told once a second what is waited for, after the first two; what NULL takes that line away. Nothing without a terminal. */
void http_progress(struct http *h, const char *what, time_t began);
/* Percent-encodes one path segment or query word; free(). */
char *http_escape(const char *text);

#endif
