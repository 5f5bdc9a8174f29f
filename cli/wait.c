/* Verbs that wait for more than their own answer: they ask again until what was begun is complete. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/http.h"
#include "cli/verb_rows.h"
#include "wire/base/mem.h"

#define ASK_EVERY_MS 300

static long timeout_of(const struct cli_call *call)
{
        const char *text = cli_value(call, "--wait-timeout");
        return text == NULL ? 0 : strtol(text, NULL, 10);
}

static void sleep_ms(long ms)
{
        const struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
        (void)nanosleep(&t, NULL);
}

/* Asks until `done` says 1 (complete) or -1 (failed). Replaces nothing in *last but its content. */
static int ask_until(struct cli_call *call, struct http *http, const char *path, const char *what,
        int (*done)(const json_t *answer), struct http_answer *last)
{
        time_t began = time(NULL);
        long limit_s = timeout_of(call);
        for (;;) {
                json_decref(last->json);
                free(last->text);
                enum cli_exit rc = http_call(http, "GET", path, NULL, NULL, last);
                if (rc != EXIT_OK) return (int)rc;
                if (last->status >= 400 || last->json == NULL || done(last->json) != 0) break;
                if (limit_s > 0 && time(NULL) - began >= limit_s) {
                        http_progress(http, NULL, began);
                        fprintf(stderr, "outrigger: %s goes on; it was not complete after %ld s\n", what,
                                limit_s);
                        return EXIT_TIMEOUT;
                }
                http_progress(http, what, began);
                sleep_ms(ASK_EVERY_MS);
        }
        http_progress(http, NULL, began);
        return EXIT_OK;
}

#define RC_INFO INT64_C(0x4000000000000000)
#define RC_WARN INT64_MIN
#define RC_FAILED (RC_WARN + RC_INFO + 998) /* FAIL_UNKNOWN_ERROR */

static const char *text_of(const json_t *o, const char *key)
{
        const char *s = json_string_value(json_object_get(o, key));
        return s != NULL ? s : "";
}

static int clone_done(const json_t *answer)
{
        const char *status = json_string_value(json_object_get(answer, "status"));
        if (status == NULL || strcmp(status, "FAILED") == 0) return -1;
        return strcmp(status, "COMPLETE") == 0 ? 1 : 0;
}

/* The status says only that it has failed; why stands in the newest report of it. */
static void clone_failed(struct http *http, const char *name, json_t *messages)
{
        struct http_answer reports = { 0 };
        size_t i;
        const json_t *report;
        const char *why = NULL;
        char *what = xasprintf("was not cloned to '%s': ", name);
        if (http_call(http, "GET", "/v1/error-reports", NULL, NULL, &reports) == EXIT_OK &&
                reports.status < 400)
                json_array_foreach(reports.json, i, report)
                {
                        const char *said = strstr(text_of(report, "exception_message"), what);
                        if (said != NULL) why = said + strlen(what);
                }
        char *cause = xstrdup(
                why != NULL ? why : "'outrigger error-reports list' says what went wrong on which node.");
        char *fix = strstr(cause, " Delete '"); /* said below */
        if (fix != NULL) *fix = 0;
        char *message = xasprintf("The clone '%s' failed.", name);
        json_t *rc = json_pack("{sI ss ss ss}", "ret_code", RC_FAILED, "message", message, "cause", cause,
                "correction",
                "'outrigger resource-definition delete' removes what is left of it; then clone again.");
        (void)json_array_append_new(messages, rc);
        free(message);
        free(cause);
        free(what);
        json_decref(reports.json);
        free(reports.text);
}

/* The answer is an object around the usual list, which is what is shown. */
int after_clone(struct cli_call *call, struct http *http, struct http_answer *answer)
{
        if (answer->status >= 400 || !json_is_object(answer->json)) return EXIT_OK;
        char *path = xstrdup(json_string_value(json_object_get(answer->json, "location")));
        json_t *messages = json_object_get(answer->json, "messages");
        messages = messages == NULL ? json_array() : json_incref(messages);
        json_decref(answer->json);
        answer->json = messages;
        struct http_answer last = { 0 };
        int rc = EXIT_OK;
        if (json_object_get(call->values, "--no-wait") == NULL)
                rc = ask_until(call, http, path, "cloning", clone_done, &last);
        if (rc == EXIT_OK && last.json != NULL && (last.status >= 400 || clone_done(last.json) < 0))
                clone_failed(http, strrchr(path, '/') + 1, messages);
        json_decref(last.json);
        free(last.text);
        free(path);
        return rc;
}

static int synced(const json_t *answer)
{
        return json_is_true(json_object_get(answer, "synced_on_all")) ? 1 : 0;
}

int after_wait_sync(struct cli_call *call, struct http *http, struct http_answer *answer)
{
        if (answer->status >= 400) return EXIT_OK;
        char *name = http_escape(json_string_value(json_object_get(call->params, "rd")));
        char *path = xasprintf("/v1/resource-definitions/%s/sync-status", name);
        int rc = ask_until(call, http, path, "waiting for replicas to be up to date", synced, answer);
        free(path);
        free(name);
        if (rc == EXIT_OK && answer->status < 400) { /* nothing more to say than that it is so */
                json_decref(answer->json);
                answer->json = json_array();
        }
        return rc;
}

/* The other cluster has said on what base it can receive, or that it will not. */
static int ship_asked(const json_t *answer)
{
        const char *phase = text_of(answer, "phase");
        return strcmp(phase, "WAIT") == 0 || strcmp(phase, "ASK") == 0 ? 0 : 1;
}

static const char *shipment_of(const json_t *answer)
{
        size_t i;
        const json_t *rc;
        json_array_foreach(answer, i, rc)
        {
                const char *uuid = text_of(json_object_get(rc, "obj_refs"), "Shipment");
                if (uuid[0] != '\0') return uuid;
        }
        return NULL;
}

static void tell(json_t *list, json_int_t code, const char *before, const char *text, const char *after)
{
        char *message = xasprintf("%s%s%s", before, text, after);
        (void)json_array_append_new(list, json_pack("{sI ss}", "ret_code", code, "message", message));
        free(message);
}

/* How much is sent is known when the other cluster has said what it has. */
int after_backup_ship(struct cli_call *call, struct http *http, struct http_answer *answer)
{
        const char *uuid = answer->status < 400 ? shipment_of(answer->json) : NULL;
        if (uuid == NULL || json_object_get(call->values, "--async") != NULL) return EXIT_OK;
        char *path = xasprintf("/v1/shipments/%s", uuid);
        struct http_answer last = { 0 };
        int rc = ask_until(call, http, path, "asking the other cluster", ship_asked, &last);
        if (rc == EXIT_OK && last.status < 400) {
                const char *base = text_of(last.json, "base_snapshot"), *note = text_of(last.json, "note"),
                           *why = text_of(last.json, "reason");
                if (base[0] != '\0')
                        tell(answer->json, RC_INFO, "Only what has changed since snapshot '", base,
                                "' is sent.");
                if (note[0] != '\0') tell(answer->json, RC_INFO, "", note, "");
                if (why[0] != '\0') tell(answer->json, RC_WARN, "It failed: ", why, "");
        }
        json_decref(last.json);
        free(last.text);
        free(path);
        return rc;
}
