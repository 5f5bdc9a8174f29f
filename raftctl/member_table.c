/* Who the members are: the replicated table, or, before there is one, what joining told. */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "raftctl/member_int.h"
#include "state/table.h"

enum { TABLE_ARENA = 1 << 20 };

static uint32_t from_table(struct local_member *m, struct member_row *ret)
{
        struct tx *tx;
        if (m->store->ops->read_begin(m->store, &tx) != 0) return 0;
        uint32_t n = policy_rows(tx, ret);
        m->store->ops->read_end(m->store, tx);
        return n;
}

uint32_t member_forced(struct local_member *m, uint64_t ret[MEMBER_ROWS_MAX])
{
        struct tx *tx;
        if (m->store->ops->read_begin(m->store, &tx) != 0) return 0;
        uint32_t n = policy_forced(tx, ret, MEMBER_ROWS_MAX);
        m->store->ops->read_end(m->store, tx);
        return n;
}

static void row_from_join(struct member_row *r, const struct join_member *j)
{
        *r = (struct member_row){ .raft_id = j->raft_id, .role = j->role };
        (void)snprintf(r->name, sizeof r->name, "%s", j->name != NULL ? j->name : "");
        (void)snprintf(r->address, sizeof r->address, "%s", j->address != NULL ? j->address : "");
}

uint32_t member_rows(struct local_member *m, struct member_row ret[MEMBER_ROWS_MAX], bool *ret_from_table)
{
        uint32_t n = from_table(m, ret);
        *ret_from_table = n > 0;
        for (uint32_t i = 0; !*ret_from_table && i < m->identity.members_n && n < MEMBER_ROWS_MAX; i++)
                row_from_join(&ret[n++], &m->identity.members[i]);
        return n;
}

static bool same_fingerprint(const char *hex, const struct pki_identity *who)
{
        char own[2 * PKI_PIN_SIZE + 1];
        return hex != NULL &&
               strcmp(hex, sodium_bin2hex(own, sizeof own, who->fingerprint, sizeof who->fingerprint)) == 0;
}

/* Somebody who was removed: by id, by certificate, or by a name that nobody has taken over. */
static bool was_removed(struct local_member *m, uint64_t id, const struct pki_identity *who, bool name_taken)
{
        struct tx *tx;
        struct row_scan s;
        struct arena a;
        struct removed_member r = { 0 };
        bool yes = false;
        if (m->store->ops->read_begin(m->store, &tx) != 0) return false;
        arena_init(&a, TABLE_ARENA);
        row_scan_open(&s, tx, &removed_member_type, &r, 0);
        while (row_scan_next(&s, &a, &r))
                yes |= r.raft_id == id || same_fingerprint(r.fingerprint, who) ||
                       (!name_taken && r.name != NULL && strcasecmp(r.name, who->name) == 0);
        row_scan_close(&s);
        arena_done(&a);
        m->store->ops->read_end(m->store, tx);
        return yes;
}

static bool in_configuration(struct local_member *m, uint64_t id)
{
        struct driver_status s;
        if (m->driver == NULL) return false;
        driver_status(m->driver, &s);
        for (uint32_t i = 0; i < s.members_n; i++)
                if (s.members[i].id == id) return true;
        return false;
}

bool member_removed(void *arg, uint64_t id)
{
        struct local_member *m = arg;
        struct tx *tx;
        if (in_configuration(m, id) || m->store->ops->read_begin(m->store, &tx) != 0) return false;
        bool yes = policy_removed(tx, id);
        m->store->ops->read_end(m->store, tx);
        return yes;
}

/* A removed member keeps its links until the configuration has changed, too: that change may need its vote.
 */
enum transport_known member_check(void *arg, uint64_t id, const struct pki_identity *who)
{
        struct local_member *m = arg;
        struct member_row rows[MEMBER_ROWS_MAX];
        bool table, name_taken = false, id_taken = false, both = false, other = false;
        uint32_t n = member_rows(m, rows, &table);
        for (uint32_t i = 0; i < n; i++) {
                bool name = strcasecmp(rows[i].name, who->name) == 0;
                name_taken |= name;
                id_taken |= rows[i].raft_id == id;
                both |= name && rows[i].raft_id == id;
                /* the same certificate under another id: it came back without its memory, and we have not heard of
                 * it yet. What joining told knows no certificates. */
                other |= name && table && !same_fingerprint(rows[i].fingerprint, who);
        }
        if (!both && (id_taken || other)) return PEER_DENIED;
        if (was_removed(m, id, who, name_taken) && (name_taken || !in_configuration(m, id)))
                return PEER_DENIED;
        return both ? PEER_KNOWN : PEER_UNKNOWN;
}

void member_name_of(struct local_member *m, uint64_t id, char ret[PKI_NAME_MAX + 1])
{
        struct member_row rows[MEMBER_ROWS_MAX];
        bool table;
        uint32_t n = member_rows(m, rows, &table);
        ret[0] = '\0';
        if (id == m->identity.raft_id) (void)snprintf(ret, PKI_NAME_MAX + 1, "%s", m->identity.name);
        for (uint32_t i = 0; i < n; i++)
                if (rows[i].raft_id == id) memcpy(ret, rows[i].name, sizeof rows[i].name);
}

static bool wanted(const struct driver_status *s, const struct member_row *rows, uint32_t n, uint64_t id)
{
        for (uint32_t i = 0; i < s->members_n; i++)
                if (s->members[i].id == id) return true;
        for (uint32_t i = 0; i < n; i++)
                if (rows[i].raft_id == id) return true;
        return false;
}

/* Whoever is in the configuration or in the table is dialed. Others keep a link that they made themselves
 * only while nothing is known of them; ids that were in the configuration or table and are not any more are
 * cut off. */
void member_peers_update(struct local_member *m)
{
        struct member_row rows[MEMBER_ROWS_MAX];
        struct driver_status s;
        uint64_t ids[TRANSPORT_PEERS_MAX];
        bool table;
        uint32_t n = member_rows(m, rows, &table);
        driver_status(m->driver, &s);
        if (table) identity_note_members(m, rows, n);
        for (uint32_t i = 0; i < n; i++) transport_peer_set(m->transport, rows[i].raft_id, rows[i].address);
        for (uint32_t i = 0; i < s.members_n; i++) {
                bool in_table = false;
                for (uint32_t k = 0; k < n; k++) in_table |= rows[k].raft_id == s.members[i].id;
                if (!in_table) transport_peer_set(m->transport, s.members[i].id, s.members[i].address);
        }
        uint32_t peers_n = transport_peers(m->transport, ids, TRANSPORT_PEERS_MAX);
        for (uint32_t i = 0; i < peers_n; i++) {
                bool dialed = transport_peer_dialed(m->transport, ids[i]);
                if (dialed && !wanted(&s, rows, n, ids[i])) transport_peer_remove(m->transport, ids[i]);
        }
        transport_recheck(m->transport);
}
