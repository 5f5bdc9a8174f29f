/* raftctl level, level raise. */
#include <inttypes.h>
#include <libsmartcols.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raftctl/tool.h"
#include "wire/codec/codec.h"

enum { COLS = 5 };

static int add_row(struct libscols_table *table, const char *name, const char *kind, const char *software,
        uint64_t min, uint64_t max, const char *note)
{
        char levels[48] = "?";
        if (max != 0 && min == max) (void)snprintf(levels, sizeof levels, "%" PRIu64, max);
        else if (max != 0) (void)snprintf(levels, sizeof levels, "%" PRIu64 " to %" PRIu64, min, max);
        const char *cells[COLS] = { name, kind, software != NULL && software[0] != '\0' ? software : "?",
                levels, note };
        struct libscols_line *line = scols_table_new_line(table, NULL);
        if (line == NULL) return -ENOMEM;
        for (size_t i = 0; i < COLS; i++)
                if (scols_line_set_data(line, i, cells[i] != NULL ? cells[i] : "") != 0) return -ENOMEM;
        return 0;
}

static int print_table(const struct admin_status *s)
{
        static const char *const names[COLS] = { "NAME", "KIND", "RELEASE", "LEVELS", "NOTE" };
        struct libscols_table *table = scols_new_table();
        int err = table != NULL ? 0 : -ENOMEM;
        for (size_t i = 0; err == 0 && i < COLS; i++)
                if (scols_table_new_column(table, names[i], 0, 0) == NULL) err = -ENOMEM;
        for (uint32_t i = 0; err == 0 && i < s->members_n; i++) {
                const struct admin_member *m = &s->members[i];
                err = add_row(table, m->name, m->kind, m->software, m->level_min, m->level_max,
                        m->link_up ? "" : "not linked now");
        }
        for (uint32_t i = 0; err == 0 && i < s->satellites_n; i++) {
                const struct admin_satellite *n = &s->satellites[i];
                err = add_row(
                        table, n->name, "satellite", n->software, n->level_min, n->level_max, n->status);
        }
        if (err == 0 && scols_print_table(table) != 0) err = -EIO;
        scols_unref_table(table);
        return err == 0 ? TOOL_OK : TOOL_FAILED;
}

static void print_level(const struct admin_status *s)
{
        (void)printf("feature level %" PRIu64, s->level);
        if (s->level_next > s->level) {
                (void)printf(": all members know level %" PRIu64
                             "\n'raftctl level raise' turns on what is new in "
                             "it; no member can go back to an older release then\n",
                        s->level_next);
                if (HAS(s, admin_status, level_due_s))
                        (void)printf("the leader does so by itself in %" PRId64 " h %" PRId64
                                     " min (raft.level_raise_s)\n",
                                s->level_due_s / 3600, s->level_due_s % 3600 / 60);
        } else if (s->level_note != NULL && s->level_note[0] != '\0') {
                (void)printf("; not higher, because %s\n", s->level_note);
        } else {
                (void)printf(", the highest that this release knows\n");
        }
}

static int show(struct tool *t)
{
        struct admin_request q = { 0 };
        struct admin_reply r;
        SET(&q, admin_request, verb, admin_verb_STATUS);
        int rc = tool_ask(t, &q, &r);
        if (rc != 0) return rc;
        if (r.status == NULL) return tool_fail(&(struct fail){ .err = E_PROTOCOL });
        if (t->json) {
                struct buf b = { 0 };
                enc_json(&admin_status_type, r.status, JSON_API, &b);
                rc = b.err == 0 && puts(buf_cstr(&b)) >= 0 ? TOOL_OK : TOOL_FAILED;
                buf_done(&b);
                return rc;
        }
        print_level(r.status);
        (void)putchar('\n');
        return print_table(r.status);
}

int tool_level(struct tool *t)
{
        struct admin_request q = { 0 };
        struct admin_reply r;
        if (t->args_n == 0) return show(t);
        if (strcmp(t->args[0], "raise") != 0 || t->args_n > 2)
                return tool_usage("the forms are 'level' and 'level raise [N]'");
        SET(&q, admin_request, verb, admin_verb_LEVEL_RAISE);
        if (t->args_n == 2) {
                char *end;
                unsigned long n = strtoul(t->args[1], &end, 10);
                if (*end != '\0' || n < 1 || n > 255)
                        return tool_usage("a feature level is a number from 1 on");
                SET(&q, admin_request, level, n);
        }
        int rc = tool_ask(t, &q, &r);
        if (rc == 0) (void)printf("The feature level is %s from now on.\n", r.text != NULL ? r.text : "?");
        return rc;
}
