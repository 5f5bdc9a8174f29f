/* What is particular to witnesses: a store without the state, on a small disk or, volatile, in memory; coming back
 * under a new id at each start of a volatile one; saying so when one leads and cannot help.
 *
 * A volatile member: a fresh id is drawn in member_open(), the store is empty, so nobody counts on it and it votes for
 * nobody. It asks, by its certificate, to be let in again under that id (rejoin_request), again and again until a
 * member answers; the leader does the rest (reconcile.c). Refused for good: the member stops. */
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raftctl/member_int.h"
#include "raftctl/store_lmdb.h"
#include "raftctl/store_mem.h"
#include "wire/base/log.h"

#define LOG "witness"
enum { AGAIN_MS = 5000, TROUBLE_EVERY_MS = 60000, TRIM_EVERY_MS = 200, SLACK_BYTES = 512 << 10 };

/* ---- stores ---- */

uint64_t witness_log_bytes(const struct local_member *m)
{
        return m->witness_log_bytes != 0 ? m->witness_log_bytes : WITNESS_LOG_BYTES;
}

void witness_store_config(const struct local_member *m, struct store_lmdb_config *c)
{
        c->log_only = true;
        c->map_bytes = 4 * witness_log_bytes(m) + ((uint64_t)32 << 20);
        c->reserve_bytes = (uint64_t)4 << 20;
}

static void on_mem_turn(uv_idle_t *h)
{
        struct local_member *m = h->data;
        if (m->closing || !store_mem_step(m->memory)) (void)uv_idle_stop(h);
}

static void on_mem_wakeup(void *arg)
{
        struct local_member *m = arg;
        if (m->closing) return;
        int rc = uv_idle_start(&m->memory_turn, on_mem_turn);
        assert(rc == 0);
}

void witness_open_memory(struct local_member *m)
{
        m->memory = store_mem_new();
        store_mem_set_log_only(m->memory);
        store_mem_set_wakeup(m->memory, on_mem_wakeup, m);
        m->store = store_mem_store(m->memory);
}

/* ---- coming back ---- */

static void on_again(uv_timer_t *t)
{
        struct local_member *m = t->data;
        if (!m->closing && !m->fatal) witness_come_back(m);
}

static void keep_members(struct local_member *m, const struct join_reply *r)
{
        struct join_member *list = arena_array(&m->members_arena, struct join_member, r->members_n + 1);
        if (list == NULL) return;
        for (uint32_t i = 0; i < r->members_n; i++) {
                SET(&list[i], join_member, name, arena_strdup(&m->members_arena, r->members[i].name));
                SET(&list[i], join_member, raft_id, r->members[i].raft_id);
                SET(&list[i], join_member, address, arena_strdup(&m->members_arena, r->members[i].address));
                SET(&list[i], join_member, role, r->members[i].role);
        }
        SET(&m->identity, member_identity, members, list);
        m->identity.members_n = r->members_n;
}

static void on_answer(void *arg, int err, const struct join_reply *reply, const struct fail *fault)
{
        struct local_member *m = arg;
        m->coming_back = NULL;
        if (!m->closing && err == 0) {
                log_info(LOG, "let in as %016llx; votes once it has caught up",
                        (unsigned long long)m->identity.raft_id);
                keep_members(m, reply);
                m->driver_state_changed = true; /* dial them */
        } else if (!m->closing && err == E_AUTH) {
                (void)snprintf(m->outdated, sizeof m->outdated, "%s", fault->text);
                member_fatal(m, err, m->outdated);
        } else if (!m->closing) {
                log_warn(LOG, "not let in: %s; tried again in %d s", fault->text, AGAIN_MS / 1000);
                int rc = uv_timer_start(&m->come_back, on_again, AGAIN_MS, 0);
                assert(rc == 0);
        }
        member_settle(m);
}

void witness_come_back(struct local_member *m)
{
        struct buf request = { 0 };
        uint32_t n = 0;
        if (m->coming_back != NULL || m->closing) return;
        for (uint32_t i = 0; i < m->identity.members_n && n < ARRAY_LEN(m->come_back_to); i++)
                m->come_back_to[n++] = m->identity.members[i].address;
        if (n == 0 || rejoin_request(&m->identity, cert_role_WITNESS, &request) != 0) {
                buf_done(&request);
                member_fatal(m, E_NOT_FOUND, "the identity does not say where other members are: join anew");
                return;
        }
        m->live++;
        m->coming_back = join_ask_open(m->loop,
                &(struct join_asking){ .addresses = m->come_back_to,
                        .addresses_n = n,
                        .ctx = m->tls,
                        .request = buf_blob(&request),
                        .stranger = "They do not belong to the cluster of this machine's certificate" },
                on_answer, m);
        buf_done(&request);
}

/* ---- staying small ---- */

/* While a log flows through, what is freed lies between what is kept, and the heap does not shrink by itself. */
void witness_trim(struct local_member *m)
{
        uint64_t now = member_now_ms(m);
        if (now - m->trimmed_ms < TRIM_EVERY_MS) return;
        m->trimmed_ms = now;
        struct mallinfo2 heap = mallinfo2();
        bool same = heap.uordblks == m->heap_bytes; /* nothing happened */
        m->heap_bytes = heap.uordblks;
        if (!same && heap.fordblks > SLACK_BYTES) (void)malloc_trim(0);
}

/* ---- looking ---- */

void witness_look(struct local_member *m)
{
        struct driver_status s;
        char name[PKI_NAME_MAX + 1];
        uint64_t now = member_now_ms(m);
        if (now < m->looked_ms) return;
        driver_status(m->driver, &s);
        for (uint32_t i = 0; i < s.members_n; i++) {
                if (!s.members[i].starved) continue;
                member_name_of(m, s.members[i].id, name);
                log_warn(LOG,
                        "'%s' lacks entries that the log of this witness does not hold any more, and nobody "
                        "else is "
                        "there to give them: bring back a controller that has them",
                        name);
                m->looked_ms = now + TROUBLE_EVERY_MS;
        }
        if (m->coming_back != NULL && join_ask_trouble(m->coming_back)[0] != '\0') {
                log_warn(LOG, "still asks to be let in: %s", join_ask_trouble(m->coming_back));
                m->looked_ms = now + TROUBLE_EVERY_MS;
        }
}
