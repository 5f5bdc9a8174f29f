/* Connects again what DRBD 9 gave up without a split brain (drbd_alone.h): looked at when DRBD tells of a change, and when the time for
 * a try has come, which wakes a round of the resource; that connects (layer_drbd.c).
 *
 * DRBD 8.4 is left out: it forgets connections that it gives up, and does not tell of paths. */
#include <stdlib.h>
#include <string.h>

#include "satellite/drbd/drbd_node.h"
#include "satellite/manager_internal.h"
#include "wire/codec/codec.h"

#define HELD_MS 1000 /* while I/O is suspended nothing is tried */

static const struct sat_drbd_peer *wanted_peer(const struct unit *u, uint32_t node_id)
{
        const struct sat_drbd *d = u->want != NULL && HAS(u->want, sat_rsc, drbd) ? u->want->drbd : NULL;
        if (d == NULL || (HAS(u->want, sat_rsc, flags) && (u->want->flags & rsc_flag_INACTIVE) != 0))
                return NULL;
        for (uint32_t i = 0; i < d->peers_n; i++)
                if (d->peers[i].node_id == node_id)
                        return d->peers[i].leaving || d->peers[i].paths_n == 0 ? NULL : &d->peers[i];
        return NULL;
}

static enum drbd_alone_state state_of(const struct drbd_peer *p, const struct sat_drbd_peer *want)
{
        if (want == NULL) return DRBD_ALONE_LEFT;
        if (strcmp(p->connection, "Connected") == 0) return DRBD_ALONE_CONNECTED;
        if (!drbd_alone_is_over(p->connection)) return DRBD_ALONE_TRYING;
        if (!p->gave_up || p->split_brain) return DRBD_ALONE_LEFT;
        return strcmp(p->connection, "StandAlone") == 0 ? DRBD_ALONE_GIVEN_UP : DRBD_ALONE_TRYING;
}

static struct drbd_alone *find(const struct unit *u, uint32_t node_id)
{
        for (uint32_t i = 0; i < u->alone_n; i++)
                if (u->alone[i].node_id == node_id) return &u->alone[i];
        return NULL;
}

static void object_of(const struct unit *u, uint32_t node_id, char out[64])
{
        snprintf(out, 64, "%.40s %u", u->name, node_id);
}

/* One report for as long as it goes on, and a line in the log for each try. */
static void tell(
        struct manager *m, const struct unit *u, const struct sat_drbd_peer *peer, const struct drbd_alone *a)
{
        struct trouble t;
        char object[64];
        object_of(u, a->node_id, object);
        trouble_set(&t, E_PROTOCOL, TROUBLE_UNKNOWN,
                "Resource %s: DRBD gave its connection to %s up, without a split brain.", u->name,
                peer->node_name);
        trouble_cause(&t,
                "It failed while they shook hands, or when a resync began or ran, and does not try any "
                "more (StandAlone). The kernel's log of this node says what failed.");
        trouble_fix(&t,
                "The satellite connects it again, at first after 10 s, then more and more rarely. 'outrigger "
                "resource resolve %s --reconnect' does so at once.",
                u->name);
        log_warn("drbd",
                "%s It is connected again (try %u; if it is given up again, the next follows after %llu s).",
                t.message, a->tries, (unsigned long long)(a->again_ms - manager_now(m)) / 1000);
        manager_failed(m, "connection", object, &t);
}

static void forget(struct manager *m, struct unit *u, uint32_t at)
{
        char object[64];
        object_of(u, u->alone[at].node_id, object);
        manager_well(m, "connection", object);
        u->alone[at] = u->alone[--u->alone_n];
}

static void look_at(struct manager *m, struct unit *u, const struct drbd_peer *p, uint64_t now)
{
        const struct sat_drbd_peer *want = wanted_peer(u, p->node_id);
        enum drbd_alone_state state = state_of(p, want);
        struct drbd_alone *a = find(u, p->node_id), fresh = { .node_id = p->node_id };
        if (a == NULL && state != DRBD_ALONE_GIVEN_UP) return;
        if (a == NULL) {
                u->alone = xrealloc(u->alone, (u->alone_n + 1) * sizeof *u->alone);
                a = &u->alone[u->alone_n++];
                *a = fresh;
        }
        bool tries = drbd_alone_step(a, state, now);
        if (drbd_alone_is_idle(a)) forget(m, u, (uint32_t)(a - u->alone));
        if (!tries) return;
        tell(m, u, want, a);
        drbd_alone_ask(u->want->rsc_name, p->node_id);
        round_queue(m, u);
}

static bool is_of(const struct drbd_resource *r, uint32_t node_id)
{
        for (uint32_t i = 0; r != NULL && i < r->peers_n; i++)
                if (r->peers[i].node_id == node_id) return true;
        return false;
}

void connected_look(struct manager *m, struct unit *u)
{
        const struct drbd_version *v = drbd_node_version();
        const struct drbd_resource *r = drbd_watch_find(m->drbd, u->name);
        uint64_t now = manager_now(m);
        if (!m->connect_again || v == NULL || v->gen != DRBD_GEN_9) return;
        if (u->held != NULL) {
                u->alone_due_ms = now + HELD_MS;
                return;
        }
        for (uint32_t i = u->alone_n; i-- > 0;)
                if (!is_of(r, u->alone[i].node_id)) forget(m, u, i);
        for (uint32_t i = 0; r != NULL && i < r->peers_n; i++) look_at(m, u, &r->peers[i], now);
        u->alone_due_ms = 0;
        for (uint32_t i = 0; i < u->alone_n; i++) {
                uint64_t due = u->alone[i].due_ms;
                if (due != 0 && (u->alone_due_ms == 0 || due < u->alone_due_ms)) u->alone_due_ms = due;
        }
}
