#include <inttypes.h>
#include <libsmartcols/libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/http.h"
#include "cli/render.h"
#include "wire/base/buf.h"

static char *scalar_text(const json_t *v)
{
        switch (json_typeof(v)) {
        case JSON_STRING: return xstrdup(json_string_value(v));
        case JSON_INTEGER: return xasprintf("%lld", (long long)json_integer_value(v));
        case JSON_REAL: return xasprintf("%g", json_real_value(v));
        case JSON_TRUE: return xstrdup("True");
        case JSON_FALSE: return xstrdup("False");
        case JSON_OBJECT:
        case JSON_ARRAY:
        case JSON_NULL: break;
        }
        return NULL;
}

static void collect(const json_t *at, const char *path, struct buf *out)
{
        if (at == NULL) return;
        if (json_is_array(at)) {
                size_t i;
                json_t *item;
                json_array_foreach(at, i, item) collect(item, path, out);
                return;
        }
        if (path[0] == 0) {
                char *text = scalar_text(at);
                if (text != NULL) buf_printf(out, "%s%s", out->n > 0 ? ", " : "", text);
                free(text);
                return;
        }
        size_t n = strcspn(path, ".");
        char *key = xasprintf("%.*s", (int)n, path);
        collect(json_object_get(at, key), path[n] == '.' ? path + n + 1 : "", out);
        free(key);
}

char *render_field(const json_t *row, const char *path)
{
        struct buf out = { 0 };
        collect(row, path, &out);
        if (out.n == 0) {
                buf_done(&out);
                return NULL;
        }
        (void)buf_cstr(&out);
        return (char *)out.p;
}

/* States that need a look are red, transitional ones yellow, good ones green: as LINSTOR's client colours
 * them. */
static const char *color_of(const char *text)
{
        static const char *const good[] = { "Online", "Ok", "UpToDate", "Created", "Diskless", "InUse", "ok",
                "Successful", NULL };
        static const char *const bad[] = { "OFFLINE", "Error", "Failed", "Unknown", "Inconsistent",
                "StandAlone", "EVICTED", "disconnected", NULL };
        for (int i = 0; good[i] != NULL; i++)
                if (strcmp(text, good[i]) == 0) return "green";
        for (int i = 0; bad[i] != NULL; i++)
                if (strstr(text, bad[i]) != NULL) return "red";
        return strcmp(text, "DELETING") == 0 || strchr(text, '%') != NULL ? "yellow" : NULL;
}

static struct libscols_table *table_new(const struct render_options *o)
{
        struct libscols_table *t = scols_new_table();
        if (t == NULL) abort();
        (void)scols_table_enable_colors(t, o->color);
        (void)scols_table_enable_ascii(t, !o->utf8 || o->pastable);
        (void)scols_table_set_column_separator(t, "  ");
        (void)scols_table_enable_nowrap(t, 1);
        return t;
}

static void table_print(struct libscols_table *t)
{
        if (scols_print_table(t) != 0) fprintf(stderr, "outrigger: the table could not be written\n");
        scols_unref_table(t);
}

void render_table(const struct render_options *o, const struct cli_verb *verb, const json_t *rows)
{
        struct libscols_table *t = table_new(o);
        for (const struct cli_column *c = verb->columns; c->header != NULL; c++)
                (void)scols_table_new_column(t, c->header, 0, c->right ? SCOLS_FL_RIGHT : 0);
        size_t i;
        json_t *row;
        json_array_foreach(rows, i, row)
        {
                struct libscols_line *line = scols_table_new_line(t, NULL);
                size_t at = 0;
                for (const struct cli_column *c = verb->columns; c->header != NULL; c++, at++) {
                        char *text = c->cell != NULL ? c->cell(row) : render_field(row, c->path);
                        (void)scols_line_set_data(line, at, text != NULL ? text : "");
                        const char *color =
                                text != NULL && strcmp(c->header, "State") == 0 ? color_of(text) : NULL;
                        if (color != NULL) (void)scols_cell_set_color(scols_line_get_cell(line, at), color);
                        free(text);
                }
        }
        table_print(t);
        if (json_array_size(rows) == 0) { /* libsmartcols shows nothing at all then */
                for (const struct cli_column *c = verb->columns; c->header != NULL; c++)
                        printf("%s%s", c->header, c[1].header != NULL ? "  " : "\n");
        }
        json_array_foreach(rows, i, row)
        {
                char *note = verb->note != NULL ? render_field(row, verb->note) : NULL;
                if (note != NULL) printf("%s: %s\n", json_string_value(json_object_get(row, "name")), note);
                free(note);
        }
}

static void paragraph(const char *title, const json_t *text)
{
        const char *s = json_string_value(text);
        if (s == NULL || s[0] == 0) return;
        printf("%s:\n", title);
        while (*s != 0) {
                size_t n = strcspn(s, "\n");
                printf("    %.*s\n", (int)n, s);
                s += n + (s[n] == '\n');
        }
}

int render_answer(const struct render_options *o, const json_t *rcs)
{
        static const struct {
                const char *word, *color;
        } severities[] = { { "SUCCESS", "32" }, { "INFO", "34" }, { "WARNING", "33" }, { "ERROR", "31" } };
        int result = EXIT_OK;
        size_t i;
        json_t *rc;
        json_array_foreach(rcs, i, rc)
        {
                uint64_t code = (uint64_t)json_integer_value(json_object_get(rc, "ret_code"));
                unsigned severity = (unsigned)(code >> 62);
                if (severity == 3 || (severity == 2 && o->warn_as_error)) result = EXIT_API;
                if (o->machine) continue;
                if (o->color)
                        printf("\x1b[1;%sm%s:\x1b[0m\n", severities[severity].color,
                                severities[severity].word);
                else printf("%s:\n", severities[severity].word);
                paragraph("Description", json_object_get(rc, "message"));
                paragraph("Cause", json_object_get(rc, "cause"));
                paragraph("Correction", json_object_get(rc, "correction"));
                paragraph("Details", json_object_get(rc, "details"));
                char *reports = render_field(rc, "error_report_ids");
                if (reports != NULL) printf("Show reports:\n    outrigger error-reports show %s\n", reports);
                free(reports);
        }
        return result;
}
