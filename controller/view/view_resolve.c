/* What is wrong with DRBD, and what helps: see view_resolve.h. */
#include "controller/view/view_resolve.h"

#include <string.h>

#include "controller/base/apirc.h"
#include "wire/codec/codec.h"
#include "wire/def/drbd_rules.h"

#define RESOLVE \
        "'outrigger resource resolve NAME' shows the nodes, and with --keep NODE it ends the split brain."

/* The first of them that holds gives the remedy of a row. */
static const struct {
        unsigned bit;
        const char *word, *message, *cause, *remedy;
} troubles[] = {
        { DRBD_SPLIT_BRAIN, "split brain", "has a split brain",
                "Two nodes have written while they were not connected. DRBD does not join them by itself, "
                "because the changes of one of them will be lost.",
                RESOLVE },
        { DRBD_STANDALONE, "stands alone", "does not try to connect any more",
                "DRBD has given up a connection: after a split brain or a failure, or because somebody has "
                "told it to.",
                "'outrigger resource resolve NAME --reconnect' tries once more. If it is given up again, it "
                "is a split brain, which --keep NODE ends, or something fails: the kernel's logs say what. "
                "After failures satellites try again by themselves, more and more rarely." },
        { DRBD_QUORUM_LOST, "no quorum", "has lost its quorum",
                "Fewer than a majority of its nodes are connected: one that cannot be seen may have newer "
                "data.",
                "Bring the missing nodes or their links back." },
        { DRBD_SUSPENDED, "I/O waits", "holds I/O back",
                "DRBD was told to, or waits for a peer or for quorum.",
                "Bring the missing nodes or their links back; a snapshot that is being taken lets go by "
                "itself." },
        { DRBD_DISK_FAILED, "disk failed", "has lost its disk", "The device below has failed, or is gone.",
                "Mend the disk, and delete the property DrbdOptions/SkipDisk of the resource; or, when it "
                "was "
                "replaced, take the disk away and add it again (toggle-disk)." },
        { DRBD_OUT_OF_SYNC, "out of sync", "differs from a peer",
                "Blocks are not the same on both, and no resync is under way.",
                "Disconnect and connect the peer that is to get the other's data." },
        { DRBD_SYNC_PAUSED, "sync paused", "has a resync that waits",
                "It was paused, or waits for another resource.",
                "It goes on when that is done, or by 'drbdadm resume-sync'." },
        { DRBD_NOT_CONNECTED, "not connected", NULL, NULL, "Bring the node or the link back." },
};

/* The remedy for this very resource. */
static const char *remedy_for(const char *text, const char *rsc_name, struct arena *a)
{
        const char *at = strstr(text, "NAME");
        if (at == NULL) return text;
        return arena_printf(a, "%.*s%s%s", (int)(at - text), text, rsc_name, at + 4);
}

uint32_t view_drbd_reports(const struct view *v, const struct rsc *r, const struct obs_drbd *o,
        struct arena *a, struct api_rc *list, uint32_t n)
{
        uint64_t bits = HAS(o, obs_drbd, troubles) ? o->troubles : 0;
        for (size_t i = 0; i < ARRAY_LEN(troubles); i++) {
                if ((bits & troubles[i].bit) == 0 || troubles[i].message == NULL) continue;
                struct api_rc *rc = &list[n++];
                apirc_init(rc, RC_WARN_NOT_CONNECTED, RC_OP_NONE, RC_OBJ_NONE,
                        arena_printf(a, "Resource '%s' on node '%s' %s.", r->rsc_name, r->node_name,
                                troubles[i].message),
                        v->wall_ms, a);
                SET(rc, api_rc, cause, troubles[i].cause);
                SET(rc, api_rc, correction, remedy_for(troubles[i].remedy, r->rsc_name, a));
        }
        return n;
}

/* ---- connections of one resource ---- */

/* Of several volumes: the one that is furthest from UpToDate. */
static const char *worst_disk(const struct obs_rsc *o)
{
        const char *worst = NULL;
        for (uint32_t i = 0; i < o->volumes_n; i++) {
                const char *disk = o->volumes[i].disk_state;
                if (view_given(disk) && (worst == NULL || strcmp(worst, "UpToDate") == 0)) worst = disk;
        }
        return worst;
}

static void put_troubles(struct resolve_row *row, unsigned bits, struct arena *a)
{
        const char **words = arena_alloc(a, ARRAY_LEN(troubles) * sizeof *words);
        uint32_t n = 0;
        for (size_t i = 0; i < ARRAY_LEN(troubles); i++) {
                if ((bits & troubles[i].bit) == 0) continue;
                if (n == 0) SET(row, resolve_row, remedy, remedy_for(troubles[i].remedy, row->name, a));
                words[n++] = troubles[i].word;
        }
        SET_N(row, resolve_row, troubles, words, n);
}

/* What concerns one connection only, and not the other ones of the resource. */
#define OF_PEER \
        (DRBD_SPLIT_BRAIN | DRBD_STANDALONE | DRBD_NOT_CONNECTED | DRBD_OUT_OF_SYNC | DRBD_SYNC_PAUSED)

static void put_peer(
        const struct obs_drbd *o, const struct obs_drbd_peer *p, struct arena *a, struct resolve_row *row)
{
        unsigned bits = (unsigned)o->troubles & ~(unsigned)OF_PEER;
        const char *connection = view_text(p->connection), *replication = NULL;
        uint64_t out = 0;
        bool paused = false;
        for (uint32_t i = 0; i < p->volumes_n; i++) {
                const char *now = view_text(p->volumes[i].replication);
                out += p->volumes[i].out_of_sync_kib;
                paused = paused || strncmp(now, "PausedSync", 10) == 0;
                if (replication == NULL || strcmp(replication, "Established") == 0) replication = now;
        }
        if (p->split_brain) bits |= DRBD_SPLIT_BRAIN;
        if (strcmp(connection, "StandAlone") == 0) bits |= DRBD_STANDALONE;
        else if (strcmp(connection, "Connected") != 0) bits |= DRBD_NOT_CONNECTED;
        else if (out > 0 && strcmp(view_text(replication), "Established") == 0) bits |= DRBD_OUT_OF_SYNC;
        if (paused) bits |= DRBD_SYNC_PAUSED;
        SET(row, resolve_row, peer, p->name);
        SET(row, resolve_row, connection, connection);
        if (view_given(replication)) SET(row, resolve_row, replication, replication);
        SET(row, resolve_row, out_of_sync_kib, out);
        put_troubles(row, bits, a);
}

/* One line for each peer, or one alone when nothing is known. */
static void put_rows(struct view_list *l, const struct rsc *r)
{
        struct obs_rsc key = { .node_name = r->node_name, .rsc_name = r->rsc_name }, o;
        struct obs_node n, node_key = { .node_name = r->node_name };
        struct view *v = l->v;
        struct resolve_row row = { 0 };
        bool online = view_observed(v, &obs_node_type, &node_key, &l->arena, &n) &&
                      n.connection_status == conn_status_ONLINE;
        bool known = online && view_observed(v, &obs_rsc_type, &key, &l->arena, &o) && o.uuid != NULL &&
                     r->uuid != NULL && strcmp(o.uuid, r->uuid) == 0;
        SET(&row, resolve_row, name, r->rsc_name);
        SET(&row, resolve_row, node_name, r->node_name);
        SET(&row, resolve_row, online, online);
        if (known && worst_disk(&o) != NULL) SET(&row, resolve_row, disk_state, worst_disk(&o));
        if (!known || !HAS(&o, obs_rsc, drbd)) {
                list_put(l, &resolve_row_type, &row);
                return;
        }
        SET(&row, resolve_row, role, view_text(o.drbd->role));
        if (o.drbd->peers_n == 0) put_troubles(&row, (unsigned)o.drbd->troubles, &l->arena);
        if (o.drbd->peers_n == 0) list_put(l, &resolve_row_type, &row);
        for (uint32_t i = 0; i < o.drbd->peers_n; i++) {
                put_peer(o.drbd, &o.drbd->peers[i], &l->arena, &row);
                list_put(l, &resolve_row_type, &row);
        }
}

void view_rd_resolve_view(struct view *v)
{
        struct rsc_dfn rd;
        struct view_list l;
        struct rsc r;
        if (!view_need_rd(v, v->params[0], &rd)) return;
        struct rsc key = { .rsc_name = rd.name };
        list_open(&l, v, &rsc_type, &key, 1);
        while (list_next(&l, &r))
                if (list_admits(&l)) put_rows(&l, &r);
        list_close(&l);
}
