/* raftctl recover. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "raftctl/recover.h"
#include "raftctl/tool.h"

enum { PROBE_MS = 1000 };

static void print_view(const struct recover_view *v)
{
        char text[32] = "at a time that is not known";
        time_t s = (time_t)(v->written_ms / 1000);
        struct tm tm;
        if (s != 0 && gmtime_r(&s, &tm) != NULL)
                (void)strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &tm);
        (void)printf("Cluster %s, member '%s' (%016" PRIx64 ")%s\n", v->cluster, v->name, v->raft_id,
                v->self_voter ? "" : ": a STAND-BY, which no write had to wait for");
        (void)printf("Its log ends with entry %" PRIu64 " of term %" PRIu64 "; entries up to %" PRIu64
                     " are applied. Last written %s.\n",
                v->last_index, v->last_term, v->applied_index, text);
        (void)puts("Other members by its last configuration:");
        for (unsigned i = 0; i < v->members_n; i++)
                if (!v->members[i].self)
                        (void)printf("  %-16s %-22s %s\n", v->members[i].name, v->members[i].address,
                                v->members[i].voter ? "voter" : "no voter");
}

static void print_loss(const struct recover_view *v)
{
        (void)printf("Kept: everything up to entry %" PRIu64
                     ", also the last entries of which it is not known whether a majority had them.\n"
                     "May be missing: writes that were acknowledged after entry %" PRIu64
                     " by a majority without this member.\n",
                v->last_index, v->last_index);
        if (!v->self_voter)
                (void)puts("A stand-by may be far behind: look for a voter to recover from first.");
        (void)puts("Nothing here tells whether there were such writes. A survivor with a longer log would "
                   "have them: "
                   "'raftctl check DIR...' over\nall directories that can still be read names the one to "
                   "recover from.");
}

static bool named_lost(const struct tool *t, const char *name)
{
        for (uint32_t i = 0; i < t->lost_n; i++)
                if (strcmp(t->lost[i], name) == 0) return true;
        return false;
}

static const struct recover_member *find_member(const struct recover_view *v, const char *name)
{
        for (unsigned i = 0; i < v->members_n; i++)
                if (strcmp(v->members[i].name, name) == 0) return &v->members[i];
        return NULL;
}

/* Every other voter is named, and none that is named still answers. 0 or an exit code. */
static int check_lost(const struct tool *t, const struct recover_view *v)
{
        bool missing = false;
        for (uint32_t i = 0; i < t->lost_n; i++) {
                const struct recover_member *m = find_member(v, t->lost[i]);
                if (m == NULL || m->self) {
                        (void)fprintf(stderr, "raftctl: --lost %s: there is no other member of that name\n",
                                t->lost[i]);
                        return TOOL_FAILED;
                }
                if (!t->force && recover_answers(m->address, PROBE_MS)) {
                        (void)fprintf(stderr,
                                "raftctl: %s is not lost: something answers at %s\n"
                                "  With it and this member there may be a majority: start "
                                "outrigger-controller here. If "
                                "another machine has that\n  address now, or that member is to be given up, "
                                "repeat "
                                "this with --force\n",
                                m->name, m->address);
                        return TOOL_FAILED;
                }
        }
        for (unsigned i = 0; i < v->members_n; i++)
                missing |= v->members[i].voter && !v->members[i].self && !named_lost(t, v->members[i].name);
        if (!missing) return 0;
        (void)fprintf(stderr,
                "raftctl: nothing was changed: name every other voter that is lost for good, by --lost\n"
                "  If a majority of the voters can still be started, start those instead: nothing is lost "
                "then. "
                "Otherwise:\n  raftctl recover");
        for (unsigned i = 0; i < v->members_n; i++)
                if (v->members[i].voter && !v->members[i].self)
                        (void)fprintf(stderr, " --lost %s", v->members[i].name);
        (void)fputc('\n', stderr);
        return TOOL_FAILED;
}

int tool_recover(struct tool *t)
{
        struct recover_view v;
        struct fail f = { 0 };
        uint64_t index, term;
        if (t->args_n != 0) return tool_usage("recover takes options only");
        if (member_recover_look(t->controller_dir, &v, &f) != 0) return tool_fail(&f);
        print_view(&v);
        if (v.other_voters == 0 && v.self_voter) {
                (void)fprintf(stderr,
                        "raftctl: there is nothing to recover from: this member is the only voter\n"
                        "  Start outrigger-controller here.\n");
                return TOOL_FAILED;
        }
        print_loss(&v);
        (void)fflush(stdout);
        int rc = check_lost(t, &v);
        if (rc != 0) return rc;
        if (member_recover(t->controller_dir, &v, t->above_term, &index, &term, &f) != 0)
                return tool_fail(&f);
        (void)printf("\nRecovered: '%s' is the only member now; its history goes on at entry %" PRIu64
                     " of term %" PRIu64 ".\n"
                     "The others are removed for good: should one come back, it is refused, and stops.\n",
                v.name, index, term);
        tool_print_next(", on an empty data directory");
        return TOOL_OK;
}
