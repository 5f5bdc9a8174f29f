/* Why a node is not ONLINE, for its administrator: cause first, then the command that mends it. */
#include "controller/sat/sat_link_internal.h"
#include "wire/def/versions.h"

static const char *join_hint(struct arena *a, const char *node_name)
{
        return arena_printf(a,
                "If it has not joined this cluster: 'raftctl token create --role satellite --name %s' on a "
                "controller, "
                "then 'outrigger-satellite join TOKEN' on the node",
                node_name);
}

const char *problem_no_address(struct arena *a, const char *node_name)
{
        return arena_printf(a,
                "Node '%s' has no active network interface with an IP address: set one with 'node interface "
                "modify "
                "%s <interface> --active'",
                node_name, node_name);
}

const char *problem_dial(struct arena *a, const struct sat_session *s, int err, const char *fault,
        enum conn_status *ret_status)
{
        *ret_status = conn_status_OFFLINE;
        if (err == E_AUTH) {
                *ret_status = conn_status_AUTHENTICATION_ERROR;
                return arena_printf(a, "The satellite at %s has no certificate of this cluster (%s). %s",
                        s->address_text, fault, join_hint(a, s->node_name));
        }
        if (err == -ECONNREFUSED)
                return arena_printf(a,
                        "Nothing listens at %s. Start it on the node with 'systemctl start "
                        "outrigger-satellite'. %s",
                        s->address_text, join_hint(a, s->node_name));
        if (err == E_TLS || err == E_CLOSED)
                return arena_printf(a, "What answers at %s is no satellite of this cluster (%s). %s",
                        s->address_text, fault, join_hint(a, s->node_name));
        return arena_printf(a, "No answer from %s (%s). Is the node up, and do firewalls let TCP through?",
                s->address_text, fault[0] != '\0' ? fault : err_text(err));
}

const char *problem_name(struct arena *a, const struct sat_session *s, const char *actual)
{
        return arena_printf(a,
                "The satellite at %s has joined as '%s', not as '%s'. Correct the address with 'node "
                "interface modify', "
                "or let it join again under this name: 'raftctl token create --role satellite --name %s'",
                s->address_text, actual, s->node_name, s->node_name);
}

const char *problem_fingerprint(struct arena *a, const struct sat_session *s)
{
        return arena_printf(a,
                "The satellite at %s shows another certificate than the one that '%s' joined with last. If "
                "the machine was "
                "replaced or set up again, let it join again: 'raftctl token create --role satellite --name "
                "%s'",
                s->address_text, s->node_name, s->node_name);
}

const char *problem_refused(
        struct arena *a, const struct sat_session *s, int err, const char *text, enum conn_status *ret_status)
{
        switch (err) {
        case E_AUTH: *ret_status = conn_status_AUTHENTICATION_ERROR; break;
        case E_FORMAT:
        case E_LEVEL:
        case E_UNSUPPORTED: *ret_status = conn_status_VERSION_MISMATCH; break;
        case E_INVALID:
        case E_NOT_FOUND: *ret_status = conn_status_HOSTNAME_MISMATCH; break;
        case E_EXISTS: *ret_status = conn_status_OTHER_CONTROLLER; break;
        default: *ret_status = conn_status_OFFLINE; break;
        }
        return arena_printf(a, "The satellite at %s refuses the session: %s", s->address_text,
                text != NULL && text[0] != '\0' ? text : err_text(err));
}

const char *problem_level(struct arena *a, const struct sat_session *s, const char *version, uint64_t level)
{
        return arena_printf(a,
                "The satellite at %s runs release %s (feature levels up to %llu), which does not work "
                "together with "
                "release %s of the controller (levels %d to %d): install the same release on both",
                s->address_text, version != NULL ? version : "?", (unsigned long long)level, SOFTWARE_VERSION,
                LEVEL_MIN, LEVEL_MAX);
}

const char *problem_lost(struct arena *a, const struct sat_session *s, const char *why)
{
        return arena_printf(
                a, "The connection to %s was lost (%s); it is tried again by itself", s->address_text, why);
}
