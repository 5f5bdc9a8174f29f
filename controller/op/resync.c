/* Chains of resyncs, see resync.h. */
#include "controller/op/resync.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/op/op_internal.h"
#include "state/index.h"

#define PROP_OFF "DrbdOptions/auto-resync-after-disable"

struct chain {
        struct tx *tx;
        struct arena *a, scratch;
        const char *node, *pool;
        struct resync_link *links;
        uint32_t n, max;
};

static bool takes_part(const struct rsc *r)
{
        if ((r->flags & (rsc_flag_DISKLESS | rsc_flag_DELETE | rsc_flag_DRBD_DELETE)) != 0) return false;
        return HAS(r, rsc, drbd_node_id);
}

static bool add_volumes(struct chain *c, const struct rsc *r)
{
        for (uint32_t i = 0; i < r->volumes_n; i++) {
                const struct vlm *v = &r->volumes[i];
                struct vlm_dfn vd, key = { .rsc_name = r->rsc_name, .volume_number = v->volume_number };
                if (v->storage_pool_name == NULL || !op_same(v->storage_pool_name, c->pool)) continue;
                if (row_get(c->tx, &vlm_dfn_type, &key, &c->scratch, &vd) != 0 ||
                        !HAS(&vd, vlm_dfn, drbd_minor))
                        continue;
                if (c->n == c->max) {
                        struct resync_link *more =
                                arena_array(c->a, struct resync_link, 2 * (uint64_t)c->max);
                        if (more == NULL) return false;
                        memcpy(more, c->links, c->n * sizeof *more);
                        c->links = more;
                        c->max *= 2;
                }
                const char *now = strmap_get(&v->props, PROP_RESYNC_AFTER);
                c->links[c->n++] = (struct resync_link){ .minor = (uint64_t)vd.drbd_minor,
                        .volume_number = v->volume_number,
                        .rsc_name = arena_strdup(c->a, r->rsc_name),
                        .now = now != NULL ? arena_strdup(c->a, now) : NULL };
        }
        return true;
}

static int by_minor(const void *a, const void *b)
{
        const struct resync_link *x = a, *y = b;
        return x->minor < y->minor ? -1 : x->minor > y->minor;
}

static bool is_off(struct chain *c)
{
        struct ctrl_props p;
        return row_get_single(c->tx, &ctrl_props_type, &c->scratch, &p) == 0 &&
               prop_bool(strmap_get(&p.props, PROP_OFF), false);
}

int resync_chain(struct tx *tx, const char *node, const char *pool, struct arena *a, struct resync_link **ret,
        uint32_t *ret_n)
{
        struct chain c = { .tx = tx, .a = a, .node = node, .pool = pool, .max = 64 };
        struct idx_pool_rsc at, key = { .node_name = node, .storage_pool_name = pool };
        struct arena row = { 0 };
        struct row_scan s;
        bool fits = true, off = is_off(&c);
        c.links = arena_array(a, struct resync_link, c.max);
        row_scan_open(&s, tx, &idx_pool_rsc_type, &key, 2);
        while (c.links != NULL && fits && row_scan_next(&s, &row, &at)) {
                struct rsc r, rsc_key = { .rsc_name = at.rsc_name, .node_name = node };
                bool live = at.uuid == NULL || at.uuid[0] == '\0'; /* no tombstone */
                if (live && row_get(tx, &rsc_type, &rsc_key, &c.scratch, &r) == 0 && takes_part(&r))
                        fits = add_volumes(&c, &r);
                arena_reset(&c.scratch);
                arena_reset(&row);
        }
        row_scan_close(&s);
        arena_done(&c.scratch);
        arena_done(&row);
        if (c.links == NULL || !fits) return E_LIMIT;
        qsort(c.links, c.n, sizeof *c.links, by_minor);
        for (uint32_t i = 1; i < c.n && !off; i++)
                c.links[i].want = arena_printf(a, "%s/%llu", c.links[i - 1].rsc_name,
                        (unsigned long long)c.links[i - 1].volume_number);
        *ret = c.links;
        *ret_n = c.n;
        return tx->err;
}

static bool is_as_wanted(const struct resync_link *l)
{
        if (l->now == NULL || l->want == NULL) return l->now == l->want;
        return strcmp(l->now, l->want) == 0;
}

/* ---- the operation ---- */

static void change(struct op *op, const char *node, const struct resync_link *l)
{
        struct rsc r;
        if (!op_find_rsc(op, l->rsc_name, node, &r)) return;
        struct vlm *vlms = arena_memdup(op->arena, r.volumes, r.volumes_n * sizeof *vlms);
        for (uint32_t i = 0; i < r.volumes_n; i++) {
                if (vlms[i].volume_number != l->volume_number) continue;
                if (l->want != NULL) strmap_set(&vlms[i].props, PROP_RESYNC_AFTER, l->want, op->arena);
                else (void)strmap_del(&vlms[i].props, PROP_RESYNC_AFTER, op->arena);
                MARK(&vlms[i], vlm, props);
        }
        SET_N(&r, rsc, volumes, vlms, r.volumes_n);
        SET(&r, rsc, revision, op->index);
        row_put(op->tx, &rsc_type, &r);
}

void op_int_resync_after(struct op *op)
{
        const struct resync_after_body *b = OP_BODY(op, resync_after_body);
        struct resync_link *links;
        uint32_t n, changed = 0;
        if (resync_chain(op->tx, b->node_name, b->storage_pool_name, op->arena, &links, &n) != 0) return;
        for (uint32_t i = 0; i < n && changed < RESYNC_STEP_MAX; i++) {
                if (is_as_wanted(&links[i])) continue;
                change(op, b->node_name, &links[i]);
                changed++;
        }
        op_rc(op, RC_MODIFIED, "%u resync-after entries in pool '%s' on node '%s'.", changed,
                b->storage_pool_name, b->node_name);
}

/* ---- looking ---- */

static void look_at(struct look *l, const struct stor_pool *p)
{
        struct resync_after_body body = { 0 };
        struct resync_link *links;
        struct arena a = { 0 };
        uint32_t n;
        bool differs = false;
        if (p->provider_kind == provider_kind_DISKLESS) return;
        if (resync_chain(l->args->wanted, p->node_name, p->storage_pool_name, &a, &links, &n) == 0)
                for (uint32_t i = 0; i < n && !differs; i++) differs = !is_as_wanted(&links[i]);
        arena_done(&a);
        if (!differs) return;
        SET(&body, resync_after_body, node_name, p->node_name);
        SET(&body, resync_after_body, storage_pool_name, p->storage_pool_name);
        reconcile_propose(l, "/internal/resync-after", &resync_after_body_type, &body, "resync-after",
                arena_printf(l->arena, "%s/%s", p->node_name, p->storage_pool_name),
                arena_printf(l->arena, "%lld", (long long)l->args->mono_ms));
}

void resync_look(struct look *l)
{
        struct reconcile_sweep *w = l->args->sweep;
        struct stor_pool p, after = { .node_name = w->pool_node, .storage_pool_name = w->pool };
        struct row_scan s;
        bool more = true;
        row_scan_open(&s, l->args->wanted, &stor_pool_type, NULL, 0);
        if (w->pool_node[0] != '\0') row_scan_after(&s, &after, 2);
        for (unsigned i = 0; i < RESYNC_POOLS && look_goes_on(l); i++) {
                more = row_scan_next(&s, l->arena, &p);
                if (!more) break;
                look_at(l, &p);
                snprintf(w->pool_node, sizeof w->pool_node, "%s", p.node_name);
                snprintf(w->pool, sizeof w->pool, "%s", p.storage_pool_name);
        }
        row_scan_close(&s);
        if (!more) w->pool_node[0] = w->pool[0] = '\0';
}
