/* raftctl init, join, rejoin, token, remove, promote, demote, set-zone, transfer. */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "raftctl/tool.h"
#include "wire/net/pki.h"
#include "wire/net/pki_dir.h"

enum { TRANSFER_MS = 10000, TRANSFER_STEP_MS = 25 };

void tool_print_next(const char *where)
{
        (void)printf("Next, here:   systemctl enable --now outrigger-controller\n"
                     "then, for each further controller or witness%s,\n"
                     "  here:       raftctl token create --role controller    (or --role witness)\n"
                     "  there:      raftctl join TOKEN --address ITS-IP\n",
                where);
}

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
                .zone = t->zone,
                .sans = t->sans,
                .sans_n = t->sans_n };
        if (member_found(&c, &f) != 0) return tool_fail(&f);
        (void)printf("Founded a cluster; '%s' at %s is its first member. Data: %s\n", t->name, t->own_address,
                t->controller_dir);
        tool_print_next("");
        return TOOL_OK;
}

/* Who runs what the certificate in dir is for. */
static const char *unit_of(const char *dir)
{
        struct pki_dir d;
        struct pki_identity id;
        bool witness = false;
        if (pki_dir_load(dir, &d, NULL) == 0) {
                witness = pki_identity(&d.cert, &id, NULL) == 0 && id.role == PKI_WITNESS;
                pki_dir_done(&d);
        }
        return witness ? "outrigger-witness" : "outrigger-controller";
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
                .zone = t->zone,
                .standby = t->standby,
                .sans = t->sans,
                .sans_n = t->sans_n,
                .is_volatile = t->is_volatile,
                .timeout_ms = t->timeout_ms };
        if (member_join(&c, &f) != 0) return tool_fail(&f);
        (void)printf("Joined as '%s' at %s. Data: %s\nNext, here:   systemctl enable --now %s\n", t->name,
                t->own_address, t->controller_dir, unit_of(t->controller_dir));
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
                     "Next, here:   systemctl start %s; it catches up from the others.\n",
                t->controller_dir, unit_of(t->controller_dir));
        return TOOL_OK;
}

int tool_token(struct tool *t)
{
        struct admin_request q = { 0 };
        struct admin_reply r;
        enum pki_role role = PKI_CLIENT;
        if (t->args_n != 1 || strcmp(t->args[0], "create") != 0)
                return tool_usage("the only form is 'token create'");
        if (t->role != NULL ? pki_role_parse(t->role, &role) != 0 || role == PKI_CLIENT : t->replaces == NULL)
                return tool_usage("--role: controller, witness or satellite; or --replaces NAME");
        SET(&q, admin_request, verb, admin_verb_TOKEN_CREATE);
        if (t->role != NULL) SET(&q, admin_request, role, (enum cert_role)role);
        if (t->replaces != NULL) SET(&q, admin_request, replaces, t->replaces);
        if (t->force) SET(&q, admin_request, force, true);
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
        if (t->force) SET(&q, admin_request, force, true);
        if (t->hold) SET(&q, admin_request, hold, true);
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

int tool_set_zone(struct tool *t)
{
        struct admin_request q = { 0 };
        struct admin_reply r;
        if (t->args_n != 2) return tool_usage("set-zone takes a member's name and the zone");
        SET(&q, admin_request, verb, admin_verb_SET_ZONE);
        SET(&q, admin_request, name, t->args[0]);
        SET(&q, admin_request, zone, t->args[1]);
        return tool_ask(t, &q, &r);
}

/* Who leads, as the member here knows it; "" = nobody. */
static int ask_leader(struct tool *t, const char **ret)
{
        struct admin_request q = { 0 };
        struct admin_reply r;
        SET(&q, admin_request, verb, admin_verb_STATUS);
        int rc = tool_ask(t, &q, &r);
        *ret = rc == 0 && r.status != NULL && r.status->leader != NULL ? r.status->leader : "";
        return rc;
}

int tool_transfer(struct tool *t)
{
        struct admin_request q = { 0 };
        struct admin_reply r;
        const char *before, *now = "", *to = t->args_n == 1 ? t->args[0] : NULL;
        if (t->args_n > 1) return tool_usage("transfer takes one name at most");
        int rc = ask_leader(t, &before);
        SET(&q, admin_request, verb, admin_verb_TRANSFER);
        if (to != NULL) SET(&q, admin_request, name, to);
        if (rc == 0) rc = tool_ask(t, &q, &r);
        for (unsigned ms = 0; rc == 0 && ms < TRANSFER_MS; ms += TRANSFER_STEP_MS) {
                rc = ask_leader(t, &now);
                if (rc == 0 && now[0] != '\0' &&
                        (to != NULL ? strcasecmp(now, to) == 0 : strcmp(now, before) != 0)) {
                        (void)printf("%s leads.\n", now);
                        return TOOL_OK;
                }
                (void)usleep(TRANSFER_STEP_MS * 1000);
        }
        if (rc != 0) return rc;
        return tool_fail(&(struct fail){ .err = E_TIMEOUT,
                .text = "leadership has not moved within 10 s; 'raftctl status' on the leader shows who "
                        "answers and has caught up" });
}
