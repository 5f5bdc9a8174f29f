/* raftctl init, join, rejoin, token, remove, promote, demote, transfer. */
#include <stdio.h>
#include <string.h>

#include "raftctl/tool.h"
#include "wire/net/pki.h"

int tool_init(struct tool *t)
{
        struct fail f = { 0 };
        if (t->args_n != 0) return tool_usage("init takes options only");
        int rc = tool_own_name(t);
        if (rc == 0) rc = tool_own_address(t);
        if (rc != 0) return rc;
        struct member_founding c = { .dir = t->controller_dir,
                .name = t->name,
                .address = t->own_address,
                .cluster_name = t->cluster_name,
                .sans = t->sans,
                .sans_n = t->sans_n };
        if (member_found(&c, &f) != 0) return tool_fail(&f);
        (void)printf("Founded a cluster; '%s' at %s is its first member. Data: %s\n"
                     "Next: start outrigger-controller here, then for each further controller\n"
                     "  here:   raftctl token create --role controller\n"
                     "  there:  raftctl join TOKEN --address IP\n",
                t->name, t->own_address, t->controller_dir);
        return TOOL_OK;
}

int tool_join(struct tool *t)
{
        struct fail f = { 0 };
        if (t->args_n != 1) return tool_usage("join takes one token");
        int rc = tool_own_name(t);
        if (rc == 0) rc = tool_own_address(t);
        if (rc != 0) return rc;
        struct member_joining c = { .dir = t->controller_dir,
                .token = t->args[0],
                .name = t->name,
                .address = t->own_address,
                .sans = t->sans,
                .sans_n = t->sans_n,
                .timeout_ms = t->timeout_ms };
        if (member_join(&c, &f) != 0) return tool_fail(&f);
        (void)printf("Joined as '%s' at %s. Data: %s\nNext: start outrigger-controller here.\n", t->name,
                t->own_address, t->controller_dir);
        return TOOL_OK;
}

int tool_rejoin(struct tool *t)
{
        struct fail f = { 0 };
        if (t->args_n != 0) return tool_usage("rejoin takes options only");
        int rc = t->address != NULL ? tool_own_address(t) : 0;
        if (rc != 0) return rc;
        struct member_rejoining c = { .dir = t->controller_dir,
                .address = t->address != NULL ? t->own_address : NULL,
                .peers = t->peers,
                .peers_n = t->peers_n,
                .timeout_ms = t->timeout_ms };
        if (member_rejoin(&c, &f) != 0) return tool_fail(&f);
        (void)printf("Let in again under a new id; what was left of the former store is beside %s/raft.\n"
                     "Next: start outrigger-controller here; it gets the state from the others.\n",
                t->controller_dir);
        return TOOL_OK;
}

int tool_token(struct tool *t)
{
        struct admin_request q = { 0 };
        struct admin_reply r;
        enum pki_role role;
        if (t->args_n != 1 || strcmp(t->args[0], "create") != 0)
                return tool_usage("the only form is 'token create'");
        if (t->role == NULL || pki_role_parse(t->role, &role) != 0 || role == PKI_CLIENT)
                return tool_usage("--role: controller, witness or satellite");
        SET(&q, admin_request, verb, admin_verb_TOKEN_CREATE);
        SET(&q, admin_request, role, (enum cert_role)role);
        if (t->name != NULL) SET(&q, admin_request, name, t->name);
        if (t->ttl_ms != 0) SET(&q, admin_request, ttl_ms, t->ttl_ms);
        int rc = tool_ask(t, &q, &r);
        if (rc == 0 && r.token != NULL) (void)puts(r.token);
        return rc;
}

static int change(struct tool *t, enum admin_verb verb, const char *what)
{
        struct admin_request q = { 0 };
        struct admin_reply r;
        if (t->args_n != 1) return tool_usage("one member's name is needed");
        SET(&q, admin_request, verb, verb);
        SET(&q, admin_request, name, t->args[0]);
        int rc = tool_ask(t, &q, &r);
        if (rc == 0) (void)printf("%s: %s; 'raftctl status' shows when it is done.\n", t->args[0], what);
        return rc;
}

int tool_remove(struct tool *t) { return change(t, admin_verb_REMOVE, "is being removed"); }
int tool_promote(struct tool *t)
{
        return change(t, admin_verb_PROMOTE, "becomes a voter once it has caught up");
}
int tool_demote(struct tool *t) { return change(t, admin_verb_DEMOTE, "becomes a stand-by"); }

int tool_transfer(struct tool *t)
{
        struct admin_request q = { 0 };
        struct admin_reply r;
        if (t->args_n > 1) return tool_usage("transfer takes one name at most");
        SET(&q, admin_request, verb, admin_verb_TRANSFER);
        if (t->args_n == 1) SET(&q, admin_request, name, t->args[0]);
        return tool_ask(t, &q, &r);
}
