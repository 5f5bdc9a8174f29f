#include <string.h>

#include "cli/help.h"

#define FOR_EACH_VERB(v)                                                            \
        for (const struct cli_verb *const *t_ = cli_verb_tables; *t_ != NULL; t_++) \
                for (const struct cli_verb *v = *t_; v->object != NULL; v++)

/* The verbs of one object may stand in several tables. */
static bool first_of_object(const struct cli_verb *verb)
{
        FOR_EACH_VERB(v)
        if (strcmp(v->object, verb->object) == 0) return v == verb;
        return false;
}

static void print_verbs(FILE *f, const char *object)
{
        FOR_EACH_VERB(v)
        if (strcmp(v->object, object) == 0) fprintf(f, " %s", v->verb);
        fprintf(f, "\n");
}

void help_all(FILE *f)
{
        fprintf(f, "usage: outrigger [options] OBJECT VERB [arguments]\n"
                   "       outrigger help [OBJECT [VERB]]\n\n"
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
        FOR_EACH_VERB(object)
        {
                if (!first_of_object(object)) continue;
                fprintf(f, "  %-26s %-8s", object->object, object->object_short);
                print_verbs(f, object->object);
        }
        fprintf(f, "\n  help [OBJECT [VERB]]     what there is\n  completion bash          print a "
                   "completion script\n\n"
                   "exit codes: 0 done, 2 arguments, 10 refused by the controller, 20 no controller reached, "
                   "21 timeout\n");
}

void help_object(FILE *f, const char *object)
{
        int width = 6;
        FOR_EACH_VERB(v)
        if (strcmp(v->object, object) == 0) width = MAX(width, (int)strlen(v->verb_short));
        fprintf(f, "usage: outrigger %s VERB [arguments]\n\n", object);
        FOR_EACH_VERB(v)
        if (strcmp(v->object, object) == 0)
                fprintf(f, "  %-18s %-*s %s\n", v->verb, width, v->verb_short, v->help);
}

static void usage_word(FILE *f, const struct cli_arg *a)
{
        switch (a->form) {
        case ARG_POS: fprintf(f, " %s", a->name); break;
        case ARG_POS_OPT: fprintf(f, " [%s]", a->name); break;
        case ARG_POS_MANY: fprintf(f, " %s...", a->name); break;
        case ARG_POS_ANY: fprintf(f, " [%s...]", a->name); break;
        case ARG_OPT:
        case ARG_OPT_MANY:
                if (a->required) fprintf(f, " %s VALUE%s", a->name, a->form == ARG_OPT_MANY ? "..." : "");
                break;
        case ARG_FLAG:
        case ARG_END: break;
        }
}

static void help_arg(FILE *f, const struct cli_arg *a)
{
        char shown[96], letter[8] = "";
        if (a->letter != 0) (void)snprintf(letter, sizeof letter, "-%c, ", a->letter);
        (void)snprintf(shown, sizeof shown, "%s%s%s%s%s", letter, a->name, a->alias != NULL ? ", " : "",
                a->alias != NULL ? a->alias : "",
                a->form == ARG_OPT || a->form == ARG_OPT_MANY ? " VALUE" : "");
        fprintf(f, "  %-34s %s%s\n", shown, a->help,
                a->form == ARG_OPT_MANY ? " (repeatable, several words, or a comma list)" : "");
}

void help_verb(FILE *f, const struct cli_verb *verb)
{
        fprintf(f, "usage: outrigger %s %s", verb->object, verb->verb);
        for (const struct cli_arg *a = verb->args; a->form != ARG_END; a++) usage_word(f, a);
        fprintf(f, " [options]\n\n%s (short: outrigger %s %s)\n\n", verb->help, verb->object_short,
                verb->verb_short);
        for (const struct cli_arg *a = verb->args; a->form != ARG_END; a++) help_arg(f, a);
}

/* One test of the words so far against an object's (and a verb's) long and short names, as a regular expression. */
static void completion_test(FILE *f, const struct cli_verb *v, bool with_verb)
{
        const char *a = strchr(v->object, ' '), *b = strchr(v->object_short, ' ');
        fprintf(f, "    elif [[ $line =~ ^' '(%.*s|%.*s)", (int)strcspn(v->object, " "), v->object,
                (int)strcspn(v->object_short, " "), v->object_short);
        if (a != NULL && b != NULL) fprintf(f, "' '(%s|%s)", a + 1, b + 1);
        if (with_verb) fprintf(f, "' '(%s|%s)", v->verb, v->verb_short);
        fprintf(f, "' '%s ]]; then words='", with_verb ? "" : "$");
}

/* All verbs of an object, and the second words of objects that begin with its name. */
static void completion_verbs(FILE *f, const struct cli_verb *object)
{
        size_t n = strlen(object->object);
        const char *last = "";
        FOR_EACH_VERB(v)
        {
                if (strcmp(v->object, object->object) == 0) fprintf(f, "%s ", v->verb);
                else if (strncmp(v->object, object->object, n) == 0 && v->object[n] == ' ' &&
                         strcmp(last, v->object) != 0)
                        fprintf(f, "%s ", v->object + n + 1);
                last = v->object;
        }
        fprintf(f, "'\n");
}

void help_completion(FILE *f)
{
        fprintf(f,
                "_outrigger() {\n"
                "    local cur=${COMP_WORDS[COMP_CWORD]} words= line=\" ${COMP_WORDS[*]:1:COMP_CWORD-1} \"\n"
                "    line=${line/# help / }\n"
                "    if [[ $line = '  ' || $line = ' ' ]]; then words='help completion ");
        FOR_EACH_VERB(v)
        if (first_of_object(v) && strchr(v->object, ' ') == NULL) fprintf(f, "%s ", v->object);
        fprintf(f, "'\n");
        FOR_EACH_VERB(v)
        {
                if (!first_of_object(v)) continue;
                completion_test(f, v, false);
                completion_verbs(f, v);
        }
        FOR_EACH_VERB(v)
        {
                completion_test(f, v, true);
                for (const struct cli_arg *a = v->args; a->form != ARG_END; a++)
                        if (a->name[0] == '-') fprintf(f, "%s ", a->name);
                fprintf(f, "'\n");
        }
        fprintf(f, "    fi\n    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\n"
                   "complete -F _outrigger outrigger\n");
}
