/* The raftctl program: one function for each command, options parsed once. Exit codes: 0 done, 1 failed, 2
 * wrong usage. */
#ifndef RAFTCTL_TOOL_H
#define RAFTCTL_TOOL_H

#include "raftctl/admin.h"
#include "raftctl/member.h"
#include "wire/codec/config.h"

enum {
        TOOL_OK = 0,
        TOOL_FAILED = 1,
        TOOL_USAGE = 2,
        TOOL_SANS_MAX = 14,
        TOOL_PEERS_MAX = 8,
        TOOL_LOST_MAX = 16
};

struct tool {
/* settings */
#define CFG(section, key, kind, ...) CONFIG_MEMBER(section, key, kind)
#include "raftctl/tool.def"
#undef CFG
        /* options; NULL or 0 = not given */
        const char *name, *address, *role, *out, *cluster_name, *zone, *replaces;
        int64_t ttl_ms;
        unsigned timeout_ms;
        const char *sans[TOOL_SANS_MAX], *peers[TOOL_PEERS_MAX];
        uint32_t sans_n, peers_n;
        bool is_volatile, json, wait, hold, standby;
        /* of backup, restore, recover */
        const char *passphrase_file, *lost[TOOL_LOST_MAX];
        uint32_t lost_n;
        uint64_t above_term;
        bool verify, stale, no_secrets, new_ca, force;
        /* arguments behind the command */
        char **args;
        int args_n;
        /* scratch */
        char host_name[PKI_NAME_MAX + 1], own_address[64];
        struct arena arena;
};

typedef int tool_fn(struct tool *t);
tool_fn tool_init, tool_join, tool_rejoin, tool_token, tool_status, tool_timing, tool_remove, tool_promote,
        tool_demote, tool_transfer, tool_set_zone, tool_level, tool_client_cert, tool_check, tool_backup,
        tool_restore, tool_recover;

/* Prints "raftctl: text" and returns TOOL_FAILED. */
int tool_fail(const struct fail *f);
int tool_usage(const char *text);
/* --name or this machine's host name; --address with its port. 0 or an exit code. */
int tool_own_name(struct tool *t);
int tool_own_address(struct tool *t);
/* Asks the member on this machine; a refusal is printed with its remedy. 0 or an exit code. */
int tool_ask(struct tool *t, const struct admin_request *q, struct admin_reply *ret);
/* Prints what comes after a cluster has got its first member; where: what is to be said of the next machines, or "". */
void tool_print_next(const char *where);
/* Prints a refusal with its remedy. 0 or an exit code. */
int tool_answer(const struct admin_reply *r);

#endif
