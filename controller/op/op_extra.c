/* Devices that layers need beside the volumes, see op_extra.h. */
#include "controller/op/op_extra.h"

#include <string.h>

#include "state/place.h"
#include "wire/def/layer_size.h"

bool op_extra_needed(const char *const *stack, uint32_t n)
{
        for (unsigned e = 0; e < EXTRA_N; e++)
                if (op_has_layer(stack, n,
                            enum_name(&layer_type_enum, layer_extra_desc((enum layer_extra)e)->layer)))
                        return true;
        return false;
}

/* LINSTOR asks in this order for DRBD's metadata; the nearest first. */
static const char *value_of(const struct extra_levels *l, enum layer_extra extra, const char *key)
{
        bool drbd = extra == EXTRA_DRBD_META;
        const struct strmap *maps[] = { l->vd, drbd ? l->vg : l->rsc, drbd ? l->rsc : l->rd,
                drbd ? l->rd : l->vg, l->rg, l->node, l->ctrl };
        for (size_t i = 0; i < ARRAY_LEN(maps); i++) {
                const char *s = maps[i] == NULL ? NULL : strmap_get(maps[i], key);
                if (op_given(s)) return s;
        }
        return NULL;
}

/* The pool for DRBD's metadata; NULL: it goes onto the device below. */
static const char *meta_pool(const struct extra_stack *s, const struct extra_levels *l)
{
        if (!op_has_layer(s->layers, s->n, "DRBD")) return NULL;
        const char *pool = value_of(l, EXTRA_DRBD_META, layer_extra_desc(EXTRA_DRBD_META)->pool_prop);
        return pool == NULL || op_same(pool, DRBD_META_INTERNAL) ? NULL : pool;
}

static uint64_t data_kib(const struct extra_stack *s, bool beside)
{
        return stack_storage_kib(s->layers, s->n, s->net_kib, beside ? SLOTS_ELSEWHERE : s->slots);
}

uint32_t op_extra_wants(const struct extra_stack *s, const struct extra_levels *l, struct extra_want *out,
        uint64_t *ret_data_kib)
{
        uint32_t n = 0;
        const char *meta = meta_pool(s, l), *text = value_of(l, EXTRA_CACHE_DATA, "Cache/Blocksize");
        struct layer_extra_for of = {
                .data_kib = data_kib(s, meta != NULL), .net_kib = s->net_kib, .slots = s->slots
        };
        *ret_data_kib = of.data_kib;
        if (text != NULL) (void)op_parse_number(text, &of.block_sectors);
        for (unsigned e = 0; e < EXTRA_N; e++) {
                const struct layer_extra_desc *d = layer_extra_desc((enum layer_extra)e);
                if (!op_has_layer(s->layers, s->n, enum_name(&layer_type_enum, d->layer))) continue;
                if (e == EXTRA_DRBD_META && meta == NULL) continue;
                struct extra_want *w = &out[n], *before = n != 0 ? &out[n - 1] : NULL;
                bool same = before != NULL && layer_extra_desc(before->extra)->layer == d->layer;
                *w = (struct extra_want){ .extra = (enum layer_extra)e,
                        .pool_prop = d->pool_prop,
                        .pool = value_of(l, (enum layer_extra)e, d->pool_prop) };
                if (w->pool == NULL && same) w->pool = before->pool;
                of.text = value_of(l, (enum layer_extra)e, d->size_prop);
                of.cache_kib = same ? before->size_kib : 0;
                w->size_kib = layer_extra_kib(w->extra, &of);
                n++;
        }
        return n;
}

static bool refuse(struct op *op, const struct rsc *r, const struct extra_want *w, enum apirc_code code,
        const char *what)
{
        struct api_rc *rc =
                op_rc(op, code, "Resource '%s' on node '%s': %s.", r->rsc_name, r->node_name, what);
        op_rc_explain(op, rc,
                arena_printf(op->arena, "Its layer %s needs a device for its %s.",
                        enum_name(&layer_type_enum, layer_extra_desc(w->extra)->layer),
                        layer_extra_desc(w->extra)->part),
                NULL,
                arena_printf(op->arena,
                        "Set the property %s (of the controller, node, resource or volume definition) to a "
                        "pool "
                        "of the node with room for it.",
                        w->pool_prop));
        op_rc_ref(op, rc, "RscDfn", r->rsc_name);
        op_rc_ref(op, rc, "Node", r->node_name);
        return false;
}

/* KiB that the new volumes and devices of the resource take of the pool; what is there already is not in its free space. */
static uint64_t taken_kib(const struct rsc *r, const struct vlm *fresh, uint32_t n, const char *pool)
{
        uint64_t sum = 0;
        for (uint32_t i = 0; i < n; i++)
                if (op_same(fresh[i].storage_pool_name, pool)) sum += fresh[i].size_kib;
        for (uint32_t i = 0; n != 0 && i < r->volumes_n; i++)
                if (op_same(op_text(r->volumes[i].storage_pool_name), pool)) sum += r->volumes[i].size_kib;
        return sum;
}

static bool pool_fits(
        struct op *op, const struct rsc *r, const struct extra_want *w, struct stor_pool *ret, uint64_t taken)
{
        struct obs_pool o;
        if (w->pool == NULL)
                return refuse(op, r, w, RC_FAIL_NOT_FOUND_STOR_POOL,
                        arena_printf(op->arena, "no property %s names a storage pool", w->pool_prop));
        if (!op_find_pool(op, r->node_name, w->pool, ret))
                return refuse(op, r, w, RC_FAIL_NOT_FOUND_STOR_POOL,
                        arena_printf(op->arena,
                                "the property %s names the storage pool '%s', which is not there",
                                w->pool_prop, w->pool));
        if (ret->provider_kind == provider_kind_DISKLESS)
                return refuse(op, r, w, RC_FAIL_INVLD_STOR_DRIVER,
                        arena_printf(op->arena, "the storage pool '%s' of the property %s is diskless",
                                w->pool, w->pool_prop));
        if (op_is_thin(ret->provider_kind) || !op_observed_pool(op, r->node_name, w->pool, &o) ||
                !HAS(&o, obs_pool, free_kib) || o.free_kib < 0)
                return true;
        if ((uint64_t)o.free_kib >= taken + w->size_kib) return true;
        return refuse(op, r, w, RC_FAIL_NOT_ENOUGH_FREE_SPACE,
                arena_printf(op->arena, "the storage pool '%s' has %lld KiB free, %llu KiB are needed",
                        w->pool, (long long)o.free_kib, (unsigned long long)(taken + w->size_kib)));
}

static const struct vlm *find(const struct rsc *r, uint64_t number)
{
        for (uint32_t i = 0; i < r->extras_n; i++)
                if (r->extras[i].volume_number == number) return &r->extras[i];
        return NULL;
}

bool op_extra_has_meta(const struct rsc *r)
{
        for (uint32_t i = 0; i < r->extras_n; i++)
                if (extra_of(r->extras[i].volume_number) == EXTRA_DRBD_META) return true;
        return false;
}

/* Rows that properties are taken from. */
struct level_rows {
        struct rsc_grp rg;
        struct node node;
        struct vlm_grp vg;
        struct extra_levels l;
};
static void load_levels(struct op *op, const struct rsc_dfn *rd, const struct rsc *r, struct level_rows *w)
{
        *w = (struct level_rows){ .node = { .name = r->node_name } };
        (void)op_find_rg(op, rd->rsc_grp_name, &w->rg);
        if (row_get(op->tx, &node_type, &w->node, op->arena, &w->node) != 0) w->node = (struct node){ 0 };
        w->l = (struct extra_levels){ .rsc = &r->props,
                .rd = &rd->props,
                .rg = &w->rg.props,
                .node = &w->node.props,
                .ctrl = op_ctrl_props(op) };
}
static void load_volume(
        struct op *op, const struct rsc_dfn *rd, const struct vlm_dfn *vd, struct level_rows *w)
{
        w->vg = (struct vlm_grp){ .rsc_grp_name = rd->rsc_grp_name, .volume_number = vd->volume_number };
        if (row_get(op->tx, &vlm_grp_type, &w->vg, op->arena, &w->vg) != 0) w->vg = (struct vlm_grp){ 0 };
        w->l.vg = &w->vg.props;
        w->l.vd = &vd->props;
}

static struct extra_stack stack_of(const struct rsc_dfn *rd, const struct vlm_dfn *vd)
{
        return (struct extra_stack){ rd->layer_stack, rd->layer_stack_n, vd->size_kib, RD_SLOTS(rd) };
}

uint64_t op_extra_data_kib(
        struct op *op, const struct rsc_dfn *rd, const struct rsc *r, const struct vlm_dfn *vd, bool fresh)
{
        struct level_rows w;
        const struct extra_stack s = stack_of(rd, vd);
        if (!fresh) return data_kib(&s, find(r, EXTRA_NUMBER(EXTRA_DRBD_META, vd->volume_number)) != NULL);
        load_levels(op, rd, r, &w);
        load_volume(op, rd, vd, &w);
        return data_kib(&s, meta_pool(&s, &w.l) != NULL);
}

/* Is the volume, with storage, just being made? Where DRBD's metadata of others is stays as it was. */
static bool is_fresh(const struct rsc *old, const struct vlm *v)
{
        for (uint32_t i = 0; old != NULL && i < old->volumes_n; i++)
                if (op_same(op_text(old->volumes[i].uuid), op_text(v->uuid))) return false;
        return v->source_id == NULL;
}

static bool may_grow(
        struct op *op, const struct rsc *r, const struct extra_want *w, const struct vlm *was, struct vlm *x)
{
        struct stor_pool p;
        struct extra_want more = *w;
        if (w->extra != EXTRA_DRBD_META || w->size_kib <= was->size_kib) return true;
        more.pool = was->storage_pool_name;
        more.size_kib -= was->size_kib;
        if (!pool_fits(op, r, &more, &p, 0)) return false;
        SET(x, vlm, size_kib, w->size_kib);
        return true;
}

/* was: the one that the volume has; NULL: it is new, and so is everything beside it. */
static bool add_extra(struct op *op, const struct rsc *r, const struct extra_want *w, uint64_t number,
        const struct vlm *was, struct vlm *list, uint32_t *n)
{
        struct stor_pool p;
        struct vlm *x = &list[*n];
        if (was != NULL) {
                *x = *was;
                (*n)++;
                return may_grow(op, r, w, was, x);
        }
        if (!pool_fits(op, r, w, &p, taken_kib(r, list, *n, op_text(w->pool)))) return false;
        (*n)++;
        *x = (struct vlm){ 0 };
        SET(x, vlm, volume_number, number);
        SET(x, vlm, storage_pool_name, p.storage_pool_name);
        SET(x, vlm, provider_kind, p.provider_kind);
        SET(x, vlm, uuid, op_uuid(op));
        SET(x, vlm, size_kib, w->size_kib);
        MARK(x, vlm, props);
        return true;
}

/* The metadata of a volume that is there goes on where it is, whatever the properties say by now. */
static bool keep_meta(struct op *op, const struct rsc *r, const struct extra_stack *s, const struct vlm *v,
        struct vlm *list, uint32_t *n)
{
        uint64_t number = EXTRA_NUMBER(EXTRA_DRBD_META, v->volume_number);
        const struct vlm *was = find(r, number);
        const struct layer_extra_for of = { .net_kib = s->net_kib, .slots = s->slots };
        const struct extra_want w = { .extra = EXTRA_DRBD_META,
                .pool_prop = layer_extra_desc(EXTRA_DRBD_META)->pool_prop,
                .size_kib = layer_extra_kib(EXTRA_DRBD_META, &of) };
        return was == NULL || add_extra(op, r, &w, number, was, list, n);
}

static bool fit_volume(struct op *op, const struct rsc *r, const struct rsc_dfn *rd, struct level_rows *rows,
        const struct vlm *v, bool fresh, struct vlm *list, uint32_t *n)
{
        struct vlm_dfn vd;
        struct extra_want wants[EXTRA_N];
        uint64_t kib;
        if (!op_find_vd(op, rd->name, v->volume_number, &vd)) return true; /* on its way out */
        load_volume(op, rd, &vd, rows);
        const struct extra_stack s = stack_of(rd, &vd);
        uint32_t wants_n = op_extra_wants(&s, &rows->l, wants, &kib);
        for (uint32_t i = 0; i < wants_n; i++) {
                uint64_t number = EXTRA_NUMBER(wants[i].extra, v->volume_number);
                if (wants[i].extra == EXTRA_DRBD_META && !fresh) continue;
                if (!add_extra(op, r, &wants[i], number, fresh ? NULL : find(r, number), list, n))
                        return false;
        }
        return fresh || keep_meta(op, r, &s, v, list, n);
}

bool op_extra_fit(struct op *op, const struct rsc *old, struct rsc *r)
{
        struct rsc_dfn rd;
        struct level_rows rows;
        uint32_t n = 0;
        if (!op_find_rd(op, r->rsc_name, &rd) || !op_extra_needed(rd.layer_stack, rd.layer_stack_n))
                return true;
        load_levels(op, &rd, r, &rows);
        struct vlm *list = arena_alloc(op->arena, (r->volumes_n * EXTRA_N + 1) * sizeof *list);
        for (uint32_t i = 0; i < r->volumes_n; i++) {
                const struct vlm *v = &r->volumes[i];
                if ((r->flags & rsc_flag_DISKLESS) != 0 && (r->flags & (RSC_ADDING | RSC_REMOVING)) == 0)
                        continue;
                if (v->provider_kind == provider_kind_DISKLESS) continue;
                if (!fit_volume(op, r, &rd, &rows, v, is_fresh(old, v), list, &n)) return false;
        }
        if (n != 0 || r->extras_n != 0) SET_N(r, rsc, extras, list, n);
        return true;
}
