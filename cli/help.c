#include <string.h>

#include "cli/help.h"

#define FOR_EACH_VERB(v)                                                            \
        for (const struct cli_verb *const *t_ = cli_verb_tables; *t_ != NULL; t_++) \
                for (const struct cli_verb *v = *t_; v->object != NULL; v++)

static bool first_of_object(const struct cli_verb *const *table, const struct cli_verb *v)
{
        return v == *table || strcmp(v[-1].object, v->object) != 0;
}

void help_all(FILE *f)
{
        fprintf(f, "usage: outrigger [options] OBJECT VERB [arguments]\n"
                   "       outrigger OBJECT --help | outrigger OBJECT VERB --help\n\n"
                   "Manages replicated block storage through any controller of the cluster.\n\n"
                   "options:\n"
                   "  --controllers A,B,C     members to ask, the first that answers serves (also "
                   "LS_CONTROLLERS);\n"
                   "                          without it, the controller on this machine\n"
                   "  -m, --machine-readable  JSON as the API gives it\n"
                   "  -p, --pastable          tables in plain ASCII\n"
                   "  --no-color, --no-utf8   as they say\n"
                   "  --warn-as-error         exit with 10 on warnings too\n"
                   "  --curl                  print the request as a curl command instead of sending it\n"
                   "  -t, --timeout SECONDS   wait so long for an answer (300)\n"
                   "  --certfile, --keyfile, --cafile FILE   for https; found by themselves where raftctl "
                   "client-cert put them\n"
                   "  -v, --version           of this program\n\n"
                   "objects:\n");
        for (const struct cli_verb *const *t = cli_verb_tables; *t != NULL; t++) {
                for (const struct cli_verb *v = *t; v->object != NULL; v++) {
                        if (first_of_object(t, v))
                                fprintf(f, "%s  %-24s %-4s ", v == *t ? "" : "\n", v->object,
                                        v->object_short);
                        fprintf(f, "%s ", v->verb);
                }
                fprintf(f, "\n");
        }
        fprintf(f, "\n  completion bash          print a completion script\n\n"
                   "exit codes: 0 done, 2 arguments, 10 refused by the controller, 20 no controller reached, "
                   "21 timeout\n");
}

void help_object(FILE *f, const char *object)
{
        fprintf(f, "usage: outrigger %s VERB [arguments]\n\n", object);
        FOR_EACH_VERB(v)
        {
                if (strcmp(v->object, object) == 0)
                        fprintf(f, "  %-18s %-6s %s\n", v->verb, v->verb_short, v->help);
        }
}

static void usage_word(FILE *f, const struct cli_arg *a)
{
        switch (a->form) {
        case ARG_POS: fprintf(f, " %s", a->name); break;
        case ARG_POS_OPT: fprintf(f, " [%s]", a->name); break;
        case ARG_POS_MANY: fprintf(f, " %s...", a->name); break;
        case ARG_OPT:
        case ARG_OPT_MANY:
        case ARG_FLAG:
        case ARG_END: break;
        }
}

void help_verb(FILE *f, const struct cli_verb *verb)
{
        fprintf(f, "usage: outrigger %s %s", verb->object, verb->verb);
        for (const struct cli_arg *a = verb->args; a->form != ARG_END; a++) usage_word(f, a);
        fprintf(f, " [options]\n\n%s (short: outrigger %s %s)\n\n", verb->help, verb->object_short,
                verb->verb_short);
        for (const struct cli_arg *a = verb->args; a->form != ARG_END; a++) {
                char shown[64];
                bool option = a->name[0] == '-';
                (void)snprintf(shown, sizeof shown, "%s%c%s%s%s", option && a->letter != 0 ? "-" : "",
                        a->letter != 0 ? a->letter : ' ', a->letter != 0 ? ", " : "", a->name,
                        a->form == ARG_OPT || a->form == ARG_OPT_MANY ? " VALUE" : "");
                fprintf(f, "  %-34s %s%s\n", shown[0] == ' ' ? shown + 1 : shown, a->help,
                        a->form == ARG_OPT_MANY ? " (repeatable, or a comma list)" : "");
        }
}

void help_completion(FILE *f)
{
        fprintf(f, "_outrigger() {\n"
                   "    local cur=${COMP_WORDS[COMP_CWORD]} words=\n"
                   "    case $COMP_CWORD in\n    1) words='");
        for (const struct cli_verb *const *t = cli_verb_tables; *t != NULL; t++)
                for (const struct cli_verb *v = *t; v->object != NULL; v++)
                        if (first_of_object(t, v)) fprintf(f, "%s ", v->object);
        fprintf(f, "' ;;\n    2) case ${COMP_WORDS[1]} in\n");
        for (const struct cli_verb *const *t = cli_verb_tables; *t != NULL; t++) {
                for (const struct cli_verb *v = *t; v->object != NULL; v++) {
                        if (first_of_object(t, v))
                                fprintf(f, "        %s|%s) words='", v->object, v->object_short);
                        fprintf(f, "%s ", v->verb);
                        if (v[1].object == NULL || strcmp(v[1].object, v->object) != 0) fprintf(f, "' ;;\n");
                }
        }
        fprintf(f, "        esac ;;\n    *) case \"${COMP_WORDS[1]} ${COMP_WORDS[2]}\" in\n");
        FOR_EACH_VERB(v)
        {
                fprintf(f, "        '%s %s'|'%s %s') words='", v->object, v->verb, v->object_short,
                        v->verb_short);
                for (const struct cli_arg *a = v->args; a->form != ARG_END; a++)
                        if (a->name[0] == '-') fprintf(f, "%s ", a->name);
                fprintf(f, "' ;;\n");
        }
        fprintf(f, "        esac ;;\n    esac\n    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\n"
                   "complete -F _outrigger outrigger\n");
}
