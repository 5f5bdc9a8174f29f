#include "controller/op/ship_base.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool ship_shape_of(struct tx *tx, const char *rsc, const char *snap, const char *node, struct arena *a,
        struct ship_shape *ret)
{
        struct snap_dfn d, dkey = { .rsc_name = rsc, .snap_name = snap };
        struct snap x, key = { .rsc_name = rsc, .snap_name = snap, .node_name = node };
        *ret = (struct ship_shape){ 0 };
        if (row_get(tx, &snap_dfn_type, &dkey, a, &d) != 0 || row_get(tx, &snap_type, &key, a, &x) != 0)
                return false;
        ret->volumes = arena_alloc(a, (d.volumes_n + 1) * sizeof *ret->volumes);
        for (uint32_t i = 0; i < d.volumes_n; i++) {
                struct ship_shape_vlm *v = &ret->volumes[ret->n++];
                *v = (struct ship_shape_vlm){ .number = d.volumes[i].volume_number,
                        .size_kib = d.volumes[i].size_kib };
                for (uint32_t k = 0; k < x.volumes_n; k++)
                        if (x.volumes[k].volume_number == v->number) v->pool = x.volumes[k].storage_pool_name;
        }
        return true;
}

bool ship_base_fits(struct tx *tx, const struct snap_dfn *d, const char *node, const struct ship_shape *shape,
        struct arena *a)
{
        struct ship_shape own;
        if ((d->flags & snap_dfn_flag_SUCCESSFUL) == 0 || d->saga != NULL) return false;
        bool same = ship_shape_of(tx, d->rsc_name, d->snap_name, node, a, &own) && own.n == shape->n;
        for (uint32_t i = 0; same && i < own.n; i++) {
                const struct ship_shape_vlm *x = &own.volumes[i], *y = &shape->volumes[i];
                same = x->number == y->number && (y->size_kib == 0 || x->size_kib == y->size_kib) &&
                       x->pool != NULL && y->pool != NULL && strcasecmp(x->pool, y->pool) == 0;
        }
        return same;
}

bool ship_base_is(const struct snap_dfn *d, const char *id)
{
        return (d->uuid != NULL && strcmp(d->uuid, id) == 0) ||
               (d->origin != NULL && strcmp(d->origin, id) == 0);
}

static int newest_first(const void *x, const void *y)
{
        const struct snap_dfn *a = x, *b = y;
        if (a->create_timestamp != b->create_timestamp)
                return a->create_timestamp > b->create_timestamp ? -1 : 1;
        return strcmp(b->snap_name, a->snap_name);
}

uint32_t ship_bases(struct tx *tx, const struct ship *s, struct arena *a, const char ***ret)
{
        struct ship_shape shape;
        struct row_scan scan;
        struct snap_dfn x, key = { .rsc_name = s->rsc_name };
        uint64_t max = row_count(tx, &snap_dfn_type, &key, 1);
        uint32_t n = 0, ids = 0;
        *ret = NULL;
        struct snap_dfn *list = arena_array(a, struct snap_dfn, max + 1);
        if (list == NULL || !ship_shape_of(tx, s->rsc_name, s->snap_name, s->node_name, a, &shape)) return 0;
        row_scan_open(&scan, tx, &snap_dfn_type, &key, 1);
        while (n < max && row_scan_next(&scan, a, &x))
                if (strcasecmp(x.snap_name, s->snap_name) != 0 &&
                        ship_base_fits(tx, &x, s->node_name, &shape, a))
                        list[n++] = x;
        row_scan_close(&scan);
        qsort(list, n, sizeof *list, newest_first);
        *ret = arena_alloc(a, SHIP_BASES_MAX * sizeof **ret);
        for (uint32_t i = 0; i < n && ids + 2 <= SHIP_BASES_MAX; i++) {
                (*ret)[ids++] = list[i].uuid;
                if (list[i].origin != NULL) (*ret)[ids++] = list[i].origin;
        }
        return ids;
}

bool ship_base_find(
        struct tx *tx, const struct ship *s, const char *id, struct arena *a, struct snap_dfn *ret)
{
        struct ship_shape shape;
        struct row_scan scan;
        struct snap_dfn key = { .rsc_name = s->rsc_name };
        bool found = false;
        if (!ship_shape_of(tx, s->rsc_name, s->snap_name, s->node_name, a, &shape)) return false;
        row_scan_open(&scan, tx, &snap_dfn_type, &key, 1);
        while (!found && row_scan_next(&scan, a, ret))
                found = ship_base_is(ret, id) && strcasecmp(ret->snap_name, s->snap_name) != 0 &&
                        ship_base_fits(tx, ret, s->node_name, &shape, a);
        row_scan_close(&scan);
        return found;
}
