/* Views of what is on its way: for administrators, and for the cluster that sends. */
#include "controller/op/ship.h"
#include "controller/view/view_internal.h"

static const struct obs_ship *seen(struct view *v, const struct ship *s, struct arena *a)
{
        struct obs_ships key = { .node_name = s->node_name }, *all = arena_new(a, struct obs_ships);
        if (!view_observed(v, &obs_ships_type, &key, a, all)) return NULL;
        for (uint32_t i = 0; i < all->ships_n; i++)
                if (strcasecmp(all->ships[i].uuid, s->uuid) == 0) return &all->ships[i];
        return NULL;
}

static void fill(struct view *v, const struct ship *s, struct arena *a, struct shipment_view *ret)
{
        const struct obs_ship *o = seen(v, s, a);
        uint64_t kib = 0;
        *ret = (struct shipment_view){ 0 };
        for (uint32_t i = 0; i < s->volumes_n; i++) kib += s->volumes[i].size_kib;
        SET(ret, shipment_view, uuid, s->uuid);
        SET(ret, shipment_view, kind, s->kind);
        SET(ret, shipment_view, phase, s->phase);
        SET(ret, shipment_view, rsc_name, s->rsc_name);
        SET(ret, shipment_view, snap_name, s->snap_name);
        SET(ret, shipment_view, node_name, s->node_name);
        SET(ret, shipment_view, remote_name, s->remote_name);
        SET(ret, shipment_view, begun_ms, s->begun_ms);
        SET(ret, shipment_view, size_kib, kib);
        if (s->reason != NULL) SET(ret, shipment_view, reason, s->reason);
        if (s->base_id != NULL) SET(ret, shipment_view, base_id, s->base_id);
        if (s->base_snap != NULL) SET(ret, shipment_view, base_snap, s->base_snap);
        if (s->note != NULL) SET(ret, shipment_view, note, s->note);
        if (HAS(s, ship, round)) SET(ret, shipment_view, round, s->round);
        if (o == NULL || o->round != s->round) return;
        SET(ret, shipment_view, done_kib, o->done_kib);
        if (s->kind != ship_kind_RECEIVE || s->phase != ship_phase_RUN || o->port == 0 || o->key == NULL)
                return;
        SET(ret, shipment_view, address, s->address);
        SET(ret, shipment_view, port, o->port);
        SET(ret, shipment_view, key, o->key);
}

void view_shipment_list(struct view *v)
{
        struct view_list l;
        struct ship s;
        list_open(&l, v, &ship_type, NULL, 0);
        while (list_next(&l, &s)) {
                struct shipment_view x;
                if (!list_admits(&l)) continue;
                fill(v, &s, &l.arena, &x);
                list_put(&l, &shipment_view_type, &x);
        }
        list_close(&l);
}

void view_shipment_show(struct view *v)
{
        struct ship key = { .uuid = v->params[0] }, s;
        struct shipment_view x;
        if (!view_row(v, &ship_type, &key, v->arena, &s)) {
                view_refuse(v, RC_FAIL_NOT_FOUND_BACKUP, "There is no such shipment.");
                return;
        }
        fill(v, &s, v->arena, &x);
        view_obj(v, &shipment_view_type, &x);
}
