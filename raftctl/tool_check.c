/* raftctl check. */
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

#include "raftctl/check.h"
#include "raftctl/member_int.h"
#include "raftctl/tool.h"

static void on_finding(void *arg, const char *text) { (void)printf("%s\n", text); }

/* The member's name, from DIR/identity when that is readable. */
static const char *name_of(struct tool *t, const char *dir)
{
        struct member_identity id = { 0 };
        struct fail none = { 0 };
        return identity_load(dir, &t->arena, &id, &none) == 0 ? id.name : "?";
}

static void print_summary(struct tool *t, int i, const struct store_summary *s, const struct check_verdict *v)
{
        char hash[17];
        if (!v->sound[i]) return;
        (void)sodium_bin2hex(hash, sizeof hash, s->applied.hash, 8);
        (void)printf("%s: member '%s' (%016" PRIx64 "), term %" PRIu64 ", log %" PRIu64 "..%" PRIu64
                     ", last of term %" PRIu64 ", applied %" PRIu64 ", state %s, %" PRIu64 " rows%s\n",
                t->args[i], name_of(t, t->args[i]), s->identity.member_id, s->term, s->log_first, s->log_last,
                s->last_term, s->applied.index, hash, s->rows_n, v->past[i] ? "; of an earlier history" : "");
}

static void print_verdict(struct tool *t, const struct store_summary *sum, const struct check_verdict *v)
{
        if (v->newest < 0) {
                (void)puts("None of these can be used: restore a backup ('raftctl help restore').");
                return;
        }
        const char *dir = t->args[v->newest];
        (void)printf("Newest log: %s ('%s'), entry %" PRIu64 " of term %" PRIu64
                     "; certainly committed up to %" PRIu64 ".\n",
                dir, name_of(t, dir), sum[v->newest].log_last, sum[v->newest].last_term, v->committed);
        if (v->voters == 0) return;
        (void)printf("%u of the %u voters of its configuration %s here. ", v->voters_here, v->voters,
                v->voters_here == 1 ? "is" : "are");
        if (v->voters_here > v->voters / 2)
                (void)puts("They are a majority: start their controllers; nothing acknowledged is lost.");
        else
                (void)printf("That is no majority. When no other voter can be brought back:\n"
                             "  raftctl --dir %s recover\n",
                        dir);
}

int tool_check(struct tool *t)
{
        const char *dirs[CHECK_MEMBERS_MAX];
        static struct store_summary sum[CHECK_MEMBERS_MAX];
        struct check_verdict verdict = { 0 };
        if (t->args_n < 1 || t->args_n > CHECK_MEMBERS_MAX)
                return tool_usage("check takes 1 to 16 directories");
        for (int i = 0; i < t->args_n; i++) {
                /* the member's directory, or the store's in it */
                char *below = arena_printf(&t->arena, "%s/" MEMBER_STORE_DIR, t->args[i]);
                dirs[i] = access(below, F_OK) == 0 ? below : t->args[i];
        }
        int found = check_members(dirs, (unsigned)t->args_n, on_finding, NULL, sum, &verdict);
        if (found == E_BUSY) return TOOL_FAILED; /* its finding says why */
        if (found < 0) return tool_fail(&(struct fail){ .err = found });
        for (int i = 0; i < t->args_n; i++) print_summary(t, i, &sum[i], &verdict);
        (void)printf("%d finding%s\n", found, found == 1 ? "" : "s");
        print_verdict(t, sum, &verdict);
        return found == 0 ? TOOL_OK : TOOL_FAILED;
}
