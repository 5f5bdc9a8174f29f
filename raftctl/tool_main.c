/* raftctl: options, the table of commands, help. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "raftctl/tool.h"
#include "wire/base/sabotage.h"
#include "wire/codec/config.h"
#include "wire/def/versions.h"
#include "wire/net/kinds.h"

#define CONFIG_FILE "/etc/outrigger/controller.conf"
enum { ARENA_MAX = 8 << 20, ASK_MS = 60000 };

static const struct config_key keys[] = {
#define CFG(...) CONFIG_KEY(struct tool, __VA_ARGS__)
#include "raftctl/tool.def"
#undef CFG
};
static const struct config_table table = { keys, ARRAY_LEN(keys), true };

static const struct command {
        const char *name, *args, *summary, *text;
        tool_fn *run;
} commands[] = {
        { "init", "--address IP[:3372] [--name NAME] [--zone ZONE] [--san NAME]... [--cluster-name TEXT]",
                "found a cluster on this machine",
                "Makes the cluster's certificate authority and its first member, a controller. Start "
                "outrigger-controller\n"
                "afterwards, then make tokens and let two more members join, controllers or one of them a "
                "witness: with one\n"
                "or two, nothing may fail.\n"
                "--address is where the other members will reach this machine; it cannot be changed later.\n",
                tool_init },
        { "join",
                "TOKEN --address IP[:3372] [--name NAME] [--zone ZONE] [--standby | --volatile] [--san "
                "NAME]...",
                "join a cluster as controller or witness",
                "TOKEN is what 'raftctl token create' printed on a member: it works once, and says whether "
                "this machine "
                "becomes a\n"
                "controller or a witness. Start outrigger-controller afterwards (a witness: the unit "
                "outrigger-witness). The new\n"
                "member catches up and then becomes a voter by itself; with --standby it waits until a voter "
                "stays away\n"
                "(raft.promote_after_s) or 'raftctl promote'. --zone: where the machine stands. --volatile: "
                "a "
                "witness without a\n"
                "disk; what this writes to the data directory may then be made read-only, or put into a boot "
                "image.\n"
                "If the command was interrupted, repeat it with the same token. A satellite joins with "
                "'outrigger-satellite\n"
                "join TOKEN'.\n",
                tool_join },
        { "rejoin", "[--address IP[:3372]] [--peer IP[:3372]]...", "come back without the former data",
                "For a member whose data is damaged or gone, but whose certificate is still there: asks the "
                "other "
                "members to\n"
                "let it in under a new id. Stop outrigger-controller before, start it afterwards: the state "
                "comes "
                "from the others.\n"
                "What is left of the former store is renamed, not deleted. --address: when it has changed. "
                "--peer: "
                "another member\n"
                "to ask first. Needs a quorum without this member.\n",
                tool_rejoin },
        { "token",
                "create --role controller|witness|satellite [--name NAME] [--ttl 1h] | create --replaces "
                "NAME [--force]",
                "make a one-time token for joining",
                "Prints one line, the token, for the machine that is to join. It is a secret: whoever has it "
                "can join until\n"
                "it is used or expires. --name binds it to a name. --ttl: a number with s, m, h or d; "
                "default 1h.\n"
                "--replaces NAME: whoever joins with it comes in the place of that dead member, under the "
                "same "
                "name or another,\n"
                "as what it was, in its zone. The dead one is removed when the new one joins. A member that "
                "answers is replaced\n"
                "with --force only.\n",
                tool_token },
        { "status", "[--json]", "show the members and what is wrong",
                "Exit code 1 when there is no quorum.\n", tool_status },
        { "remove", "NAME [--force]", "remove a member for good",
                "It loses its vote and may not connect any more. To bring that machine back, move its data "
                "directory away and\n"
                "let it join with a new token. The last controller cannot be removed. It is refused when no "
                "majority of the\n"
                "remaining voters answers; --force does it all the same: then nothing can be changed until "
                "they "
                "are back.\n",
                tool_remove },
        { "demote", "NAME [--hold] [--force]", "make a voter a stand-by",
                "It keeps all data, without a vote, until 'raftctl promote', or until it takes over the vote "
                "of a "
                "voter that stays\n"
                "away longer than raft.promote_after_s; the latter not with --hold. Refused, and forced, as "
                "remove.\n",
                tool_demote },
        { "set-zone", "NAME ZONE", "say in which zone a member stands",
                "A zone is what can fail as one: a room, a rack, a site. 'raftctl status' warns when the "
                "loss of "
                "one zone would\n"
                "lose the quorum. '' as ZONE: none.\n",
                tool_set_zone },
        { "promote", "NAME", "let a stand-by vote again",
                "It catches up first; 'raftctl status' shows when it is done.\n", tool_promote },
        { "transfer", "[NAME]", "hand leadership over, to NAME or the best one",
                "Waits until somebody else leads. It can be run on any member.\n", tool_transfer },
        { "client-cert", "NAME [--out DIR]", "make a certificate for a REST client",
                "Writes client.crt, client.key and ca.crt to DIR, or to where the command line client finds "
                "them: "
                ".config/outrigger\n"
                "in the home directory of whoever runs this, also through sudo. Elsewhere: copy them there, "
                "or to "
                "/etc/outrigger.\n"
                "Must be run on a controller. Files of another cluster are not overwritten.\n",
                tool_client_cert },
        { "level", "[raise [N]] [--json]", "show the releases of all machines, and raise the feature level",
                "What a new release adds is off until every member runs it and the feature level is raised; "
                "until then\n"
                "each member can go back to the release before. The leader raises it by itself when all "
                "members "
                "have\n"
                "known the next one for raft.level_raise_s, a day unless set otherwise.\n",
                tool_level },
        { "backup", "FILE [--passphrase-file FILE | --no-secrets] [--stale] [--force] | --verify FILE",
                "save the cluster's state to a file",
                "Asks the leader for the newest state, and writes what this member then has, while the "
                "cluster "
                "serves. FILE appears\n"
                "when it is complete, with mode 0600. It is encrypted with a passphrase, from a file or the "
                "terminal, and holds the\n"
                "key of the certificate authority, so that satellites obey the restored cluster. "
                "--no-secrets "
                "leaves that key out and\n"
                "needs no passphrase; satellites must then join the restored cluster anew. --stale: do not "
                "ask "
                "the leader.\n"
                "--verify checks a file: all of it with --passphrase-file, else only that it is undamaged. "
                "--force "
                "replaces FILE.\n",
                tool_backup },
        { "restore",
                "FILE --address IP[:3372] [--name NAME] [--passphrase-file FILE] [--new-ca] [--above-term T]",
                "make a new cluster from a backup",
                "Makes this machine the only member of a cluster with the state of the backup, in a data "
                "directory "
                "that is empty or\n"
                "does not exist. Members of the former cluster are removed for good. With the key of the "
                "certificate authority in the\n"
                "backup, satellites obey this cluster from its start on, and NOT the former one: to look at "
                "a "
                "backup while the former\n"
                "cluster runs, use --new-ca. --above-term: when satellites say that they know of a higher "
                "term.\n",
                tool_restore },
        { "recover", "--lost NAME... [--force] [--above-term T]",
                "go on with this member alone after a majority was lost for good",
                "Offline, on a survivor. Without --lost it shows what this member has and what may be "
                "missing, and "
                "changes nothing.\n"
                "Each other voter must be named by --lost. Writes that only they had are lost; the lost "
                "members "
                "are removed for\n"
                "good; further survivors join anew. --force: also when something answers at the address of "
                "one.\n",
                tool_recover },
        { "check-timing", "[--json]", "measure disk and network against the timeouts",
                "Syncs a small file in the data directory 50 times, and shows the round trips to the other "
                "members.\n",
                tool_timing },
        { "check", "DIR...", "verify data directories of stopped members",
                "Checks checksums, structure and log of each directory, and, with several, that they agree. "
                "Changes\n"
                "nothing. DIR is a member's data directory, or a copy of it. Exit code 1 when something was "
                "found. Says\n"
                "which directory has the newest log, whether a majority of the voters is among them, and "
                "what to do "
                "when not.\n",
                tool_check },
};

static const struct command *find_command(const char *name)
{
        for (size_t i = 0; i < ARRAY_LEN(commands); i++)
                if (strcmp(commands[i].name, name) == 0) return &commands[i];
        return NULL;
}

int tool_fail(const struct fail *f)
{
        (void)fprintf(stderr, "raftctl: %s\n", f->text[0] != '\0' ? f->text : err_text(f->err));
        return TOOL_FAILED;
}

int tool_usage(const char *text)
{
        (void)fprintf(stderr, "raftctl: %s\nTry 'raftctl help'.\n", text);
        return TOOL_USAGE;
}

static int no_command(const char *name)
{
        (void)fprintf(stderr, "raftctl: there is no command '%s'\n'raftctl help' lists them.\n", name);
        return TOOL_USAGE;
}

static int help(const char *name)
{
        const struct command *c = name != NULL ? find_command(name) : NULL;
        if (name != NULL && c == NULL) return no_command(name);
        if (c != NULL) {
                (void)printf(
                        "raftctl %s %s\n\n%s: %s.\n\n%s", c->name, c->args, c->name, c->summary, c->text);
                return TOOL_OK;
        }
        (void)printf(
                "raftctl: founds a cluster of controllers, lets members join, shows and changes them.\n\n");
        for (size_t i = 0; i < ARRAY_LEN(commands); i++)
                (void)printf("  %-13s %s\n", commands[i].name, commands[i].summary);
        (void)printf("  %-13s %s\n  %-13s %s\n", "help", "[COMMAND] this text, or that of a command",
                "version", "print the version");
        (void)printf("\nOptions of every command: --config FILE (default %s), --dir DIR, --run-dir DIR,\n"
                     "--timeout SECONDS, and --set section.key=value with one of\n",
                CONFIG_FILE);
        return config_print(&table, false, stdout) == 0 ? TOOL_OK : TOOL_FAILED;
}

/* "90s", "15m", "1h", "2d"; a bare number is seconds. */
static int parse_duration(const char *s, int64_t *ret_ms)
{
        char *end = NULL;
        if (*s < '0' || *s > '9') return E_INVALID;
        errno = 0;
        long long v = strtoll(s, &end, 10);
        int64_t unit = 1000;
        if (*end == 'm') unit = 60000;
        else if (*end == 'h') unit = 3600000;
        else if (*end == 'd') unit = 86400000;
        else if (*end != 's' && *end != '\0') return E_INVALID;
        if (errno != 0 || v <= 0 || v > 366 * 86400 || (*end != '\0' && end[1] != '\0')) return E_INVALID;
        *ret_ms = v * unit;
        return 0;
}

enum option_id {
        OPT_CONFIG = 256,
        OPT_SET,
        OPT_DIR,
        OPT_RUN_DIR,
        OPT_NAME,
        OPT_ADDRESS,
        OPT_ROLE,
        OPT_TTL,
        OPT_SAN,
        OPT_PEER,
        OPT_VOLATILE,
        OPT_OUT,
        OPT_JSON,
        OPT_TIMEOUT,
        OPT_CLUSTER_NAME,
        OPT_PASSPHRASE_FILE,
        OPT_NO_SECRETS,
        OPT_VERIFY,
        OPT_STALE,
        OPT_NEW_CA,
        OPT_ABOVE_TERM,
        OPT_LOST,
        OPT_FORCE,
        OPT_ZONE,
        OPT_REPLACES,
        OPT_HOLD,
        OPT_STANDBY,
        OPT_HELP,
        OPT_VERSION
};

static const struct option options[] = {
        { "config", required_argument, NULL, OPT_CONFIG },
        { "set", required_argument, NULL, OPT_SET },
        { "dir", required_argument, NULL, OPT_DIR },
        { "run-dir", required_argument, NULL, OPT_RUN_DIR },
        { "name", required_argument, NULL, OPT_NAME },
        { "address", required_argument, NULL, OPT_ADDRESS },
        { "role", required_argument, NULL, OPT_ROLE },
        { "ttl", required_argument, NULL, OPT_TTL },
        { "san", required_argument, NULL, OPT_SAN },
        { "peer", required_argument, NULL, OPT_PEER },
        { "volatile", no_argument, NULL, OPT_VOLATILE },
        { "out", required_argument, NULL, OPT_OUT },
        { "json", no_argument, NULL, OPT_JSON },
        { "timeout", required_argument, NULL, OPT_TIMEOUT },
        { "cluster-name", required_argument, NULL, OPT_CLUSTER_NAME },
        { "passphrase-file", required_argument, NULL, OPT_PASSPHRASE_FILE },
        { "no-secrets", no_argument, NULL, OPT_NO_SECRETS },
        { "verify", no_argument, NULL, OPT_VERIFY },
        { "stale", no_argument, NULL, OPT_STALE },
        { "new-ca", no_argument, NULL, OPT_NEW_CA },
        { "above-term", required_argument, NULL, OPT_ABOVE_TERM },
        { "lost", required_argument, NULL, OPT_LOST },
        { "force", no_argument, NULL, OPT_FORCE },
        { "zone", required_argument, NULL, OPT_ZONE },
        { "replaces", required_argument, NULL, OPT_REPLACES },
        { "hold", no_argument, NULL, OPT_HOLD },
        { "standby", no_argument, NULL, OPT_STANDBY },
        { "help", no_argument, NULL, OPT_HELP },
        { "version", no_argument, NULL, OPT_VERSION },
        { NULL, 0, NULL, 0 },
};

static void replace(char **at, const char *s)
{
        free(*at);
        *at = xstrdup(s);
}

static int parse_term(const char *s, uint64_t *ret)
{
        char *end = NULL;
        errno = 0;
        unsigned long long v = strtoull(s, &end, 10);
        if (*s < '0' || *s > '9' || *end != '\0' || errno != 0 || v > UINT64_MAX >> 1) return E_INVALID;
        *ret = v;
        return 0;
}

static int disaster_option(struct tool *t, int id, const char *value)
{
        switch (id) {
        case OPT_PASSPHRASE_FILE: t->passphrase_file = value; return 0;
        case OPT_NO_SECRETS: t->no_secrets = true; return 0;
        case OPT_VERIFY: t->verify = true; return 0;
        case OPT_STALE: t->stale = true; return 0;
        case OPT_NEW_CA: t->new_ca = true; return 0;
        case OPT_FORCE: t->force = true; return 0;
        case OPT_ABOVE_TERM:
                return parse_term(value, &t->above_term) == 0 ? 0 : tool_usage("--above-term: a number");
        case OPT_LOST:
                if (t->lost_n >= TOOL_LOST_MAX) return tool_usage("too many --lost");
                t->lost[t->lost_n++] = value;
                return 0;
        default: return TOOL_USAGE; /* getopt has said why */
        }
}

static int one_option(struct tool *t, int id, const char *value)
{
        struct fail f = { 0 };
        int64_t ms = 0;
        switch (id) {
        case OPT_CONFIG: return 0; /* was read before */
        case OPT_SET: return config_set(&table, t, value, &f) == 0 ? 0 : tool_fail(&f);
        case OPT_DIR: replace(&t->controller_dir, value); return 0;
        case OPT_RUN_DIR: replace(&t->controller_run_dir, value); return 0;
        case OPT_NAME: t->name = value; return 0;
        case OPT_ADDRESS: t->address = value; return 0;
        case OPT_ROLE: t->role = value; return 0;
        case OPT_OUT: t->out = value; return 0;
        case OPT_CLUSTER_NAME: t->cluster_name = value; return 0;
        case OPT_JSON: t->json = true; return 0;
        case OPT_ZONE: t->zone = value; return 0;
        case OPT_REPLACES: t->replaces = value; return 0;
        case OPT_HOLD: t->hold = true; return 0;
        case OPT_STANDBY: t->standby = true; return 0;
        case OPT_SAN:
                if (t->sans_n >= TOOL_SANS_MAX) return tool_usage("too many --san");
                t->sans[t->sans_n++] = value;
                return 0;
        case OPT_VOLATILE: t->is_volatile = true; return 0;
        case OPT_PEER:
                if (t->peers_n >= TOOL_PEERS_MAX) return tool_usage("too many --peer");
                t->peers[t->peers_n++] = value;
                return 0;
        case OPT_TTL:
                return parse_duration(value, &t->ttl_ms) == 0
                               ? 0
                               : tool_usage("--ttl: a number with s, m, h or d");
        case OPT_TIMEOUT:
                if (parse_duration(value, &ms) != 0 || ms > INT32_MAX)
                        return tool_usage("--timeout: a number with s, m, h or d");
                t->timeout_ms = (unsigned)ms;
                return 0;
        default: return disaster_option(t, id, value);
        }
}

/* The file first, then what the command line says, in its order. */
static int read_config(struct tool *t, int argc, char **argv)
{
        struct fail f = { 0 };
        const char *path = NULL;
        int id;
        opterr = 0;
        while ((id = getopt_long(argc, argv, "h", options, NULL)) != -1)
                if (id == OPT_CONFIG) path = optarg;
        opterr = 1;
        optind = 0;
        int err = config_read(&table, t, path != NULL ? path : CONFIG_FILE, &f);
        return err == 0 || (err == E_NOT_FOUND && path == NULL) ? 0 : tool_fail(&f);
}

int tool_own_name(struct tool *t)
{
        if (t->name == NULL) {
                if (gethostname(t->host_name, sizeof t->host_name - 1) != 0)
                        return tool_usage("give a name with --name");
                t->host_name[strcspn(t->host_name, ".")] = '\0';
                t->name = t->host_name;
        }
        return pki_name_valid(t->name) ? 0 : tool_usage("--name: letters, digits, '.', '_' and '-' only");
}

int tool_own_address(struct tool *t)
{
        struct sockaddr_storage a;
        if (t->address == NULL)
                return tool_usage(
                        "--address is missing: the IP address where the other members reach this machine");
        if (conn_parse_address(t->address, RAFT_PORT, &a) != 0)
                return tool_usage("--address: an IP address, with a port or without");
        conn_format_address(&a, t->own_address, sizeof t->own_address);
        return 0;
}

int tool_answer(const struct admin_reply *r)
{
        if (r->err == 0 && r->note != NULL) (void)fprintf(stderr, "note: %s\n", r->note);
        if (r->err == 0) return 0;
        (void)fprintf(stderr, "raftctl: %s\n", r->text != NULL ? r->text : err_text((int)r->err));
        if (r->remedy != NULL && r->remedy[0] != '\0') (void)fprintf(stderr, "  %s\n", r->remedy);
        return TOOL_FAILED;
}

int tool_ask(struct tool *t, const struct admin_request *q, struct admin_reply *ret)
{
        struct fail f = { 0 };
        if (admin_ask(t->controller_run_dir, q, t->timeout_ms != 0 ? t->timeout_ms : ASK_MS, &t->arena, ret,
                    &f) != 0)
                return tool_fail(&f);
        return tool_answer(ret);
}

static int run(struct tool *t, int argc, char **argv)
{
        int id, rc = read_config(t, argc, argv);
        while (rc == 0 && (id = getopt_long(argc, argv, "h", options, NULL)) != -1) {
                if (id == OPT_HELP || id == 'h') return help(optind < argc ? argv[optind] : NULL);
                if (id == OPT_VERSION)
                        return printf("raftctl %s%s\n", SOFTWARE_VERSION, SABOTAGE_NOTICE) < 0 ? TOOL_FAILED
                                                                                               : TOOL_OK;
                rc = one_option(t, id, optarg);
        }
        if (rc != 0) return rc;
        if (optind >= argc) return tool_usage("a command is missing");
        const char *name = argv[optind++];
        t->args = argv + optind;
        t->args_n = argc - optind;
        if (strcmp(name, "help") == 0) return help(t->args_n > 0 ? t->args[0] : NULL);
        if (strcmp(name, "version") == 0)
                return printf("raftctl %s%s\n", SOFTWARE_VERSION, SABOTAGE_NOTICE) < 0 ? TOOL_FAILED
                                                                                       : TOOL_OK;
        const struct command *c = find_command(name);
        return c != NULL ? c->run(t) : no_command(name);
}

int main(int argc, char **argv)
{
        struct tool t = { 0 };
        (void)signal(SIGPIPE, SIG_IGN);
        arena_init(&t.arena, ARENA_MAX);
        config_init(&table, &t);
        int rc = run(&t, argc, argv);
        config_done(&table, &t);
        arena_done(&t.arena);
        if (fflush(stdout) != 0 && rc == TOOL_OK) rc = TOOL_FAILED;
        return rc;
}
