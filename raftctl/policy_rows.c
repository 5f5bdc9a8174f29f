/* The member tables as rows of the policy. */
#include <stdio.h>

#include "raftctl/policy.h"
#include "state/table.h"

enum { TABLE_ARENA = 1 << 20 };

static void copy(char *to, size_t size, const char *from)
{
        (void)snprintf(to, size, "%s", from != NULL ? from : "");
}

static void row_set(struct member_row *r, const struct member *m)
{
        *r = (struct member_row){ .raft_id = m->raft_id,
                .role = m->role,
                .standby = m->standby,
                .held = m->held,
                .forced = m->forced,
                .stayed_away = m->stayed_away,
                .is_volatile = m->is_volatile };
        copy(r->name, sizeof r->name, m->name);
        copy(r->address, sizeof r->address, m->address);
        copy(r->zone, sizeof r->zone, m->zone);
        copy(r->fingerprint, sizeof r->fingerprint, m->fingerprint);
        copy(r->took_over, sizeof r->took_over, m->took_over);
}

uint32_t policy_rows(struct tx *tx, struct member_row ret[MEMBER_ROWS_MAX])
{
        struct row_scan s;
        struct arena a;
        struct member m = { 0 };
        uint32_t n = 0;
        arena_init(&a, TABLE_ARENA);
        row_scan_open(&s, tx, &member_type, &m, 0);
        while (n < MEMBER_ROWS_MAX && row_scan_next(&s, &a, &m)) row_set(&ret[n++], &m);
        row_scan_close(&s);
        arena_done(&a);
        return n;
}

uint32_t policy_forced(struct tx *tx, uint64_t *ret, uint32_t n)
{
        struct row_scan s;
        struct arena a;
        struct removed_member r = { 0 };
        uint32_t k = 0;
        arena_init(&a, TABLE_ARENA);
        row_scan_open(&s, tx, &removed_member_type, &r, 0);
        while (k < n && row_scan_next(&s, &a, &r))
                if (r.forced) ret[k++] = r.raft_id;
        row_scan_close(&s);
        arena_done(&a);
        return k;
}

bool policy_removed(struct tx *tx, uint64_t id)
{
        struct removed_member r = { 0 };
        SET(&r, removed_member, raft_id, id);
        return row_exists(tx, &removed_member_type, &r);
}
