/* Devices that layers need beside the volumes, see op_extra.h. */
#include "controller/op/op_extra.h"

#include <string.h>

#include "state/place.h"

bool op_extra_needed(const char *const *stack, uint32_t n)
{
        for (unsigned e = 0; e < EXTRA_N; e++)
                if (op_has_layer(stack, n,
                            enum_name(&layer_type_enum, layer_extra_desc((enum layer_extra)e)->layer)))
                        return true;
        return false;
}

static const char *value_of(const struct extra_levels *l, const char *key)
{
        const struct strmap *maps[] = { l->vd, l->rd, l->vg, l->rg, l->node, l->ctrl };
        for (size_t i = 0; i < ARRAY_LEN(maps); i++) {
                const char *s = maps[i] == NULL ? NULL : strmap_get(maps[i], key);
                if (op_given(s)) return s;
        }
        return NULL;
}

uint32_t op_extra_wants(const char *const *stack, uint32_t stack_n, const struct extra_levels *l,
        uint64_t data_kib, struct extra_want *out)
{
        uint32_t n = 0;
        uint64_t block = 0;
        const char *text = value_of(l, "Cache/Blocksize");
        if (text != NULL) (void)op_parse_number(text, &block);
        for (unsigned e = 0; e < EXTRA_N; e++) {
                const struct layer_extra_desc *d = layer_extra_desc((enum layer_extra)e);
                if (!op_has_layer(stack, stack_n, enum_name(&layer_type_enum, d->layer))) continue;
                struct extra_want *w = &out[n], *before = n != 0 ? &out[n - 1] : NULL;
                bool same = before != NULL && layer_extra_desc(before->extra)->layer == d->layer;
                *w = (struct extra_want){ .extra = (enum layer_extra)e,
                        .pool_prop = d->pool_prop,
                        .pool = value_of(l, d->pool_prop) };
                if (w->pool == NULL && same) w->pool = before->pool;
                w->size_kib = layer_extra_kib(
                        w->extra, value_of(l, d->size_prop), data_kib, block, same ? before->size_kib : 0);
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

static bool fit_volume(struct op *op, const struct rsc *r, const struct rsc_dfn *rd,
        const struct extra_levels *base, const struct vlm *v, struct vlm *list, uint32_t *n)
{
        struct extra_levels l = *base;
        struct vlm_dfn vd;
        struct vlm_grp vg = { .rsc_grp_name = rd->rsc_grp_name, .volume_number = v->volume_number };
        struct extra_want wants[EXTRA_N];
        if (op_find_vd(op, rd->name, v->volume_number, &vd)) l.vd = &vd.props;
        if (row_get(op->tx, &vlm_grp_type, &vg, op->arena, &vg) == 0) l.vg = &vg.props;
        uint32_t wants_n = op_extra_wants(rd->layer_stack, rd->layer_stack_n, &l, v->size_kib, wants);
        for (uint32_t i = 0; i < wants_n; i++) {
                uint64_t number = EXTRA_NUMBER(wants[i].extra, v->volume_number);
                const struct vlm *old = find(r, number);
                struct stor_pool p;
                if (old != NULL) {
                        list[(*n)++] = *old;
                        continue;
                }
                if (!pool_fits(op, r, &wants[i], &p, taken_kib(r, list, *n, op_text(wants[i].pool))))
                        return false;
                struct vlm *x = &list[(*n)++];
                *x = (struct vlm){ 0 };
                SET(x, vlm, volume_number, number);
                SET(x, vlm, storage_pool_name, p.storage_pool_name);
                SET(x, vlm, provider_kind, p.provider_kind);
                SET(x, vlm, uuid, op_uuid(op));
                SET(x, vlm, size_kib, wants[i].size_kib);
                MARK(x, vlm, props);
        }
        return true;
}

bool op_extra_fit(struct op *op, struct rsc *r)
{
        struct rsc_dfn rd;
        struct rsc_grp rg = { 0 };
        struct node node = { .name = r->node_name };
        uint32_t n = 0;
        if (!op_find_rd(op, r->rsc_name, &rd) || !op_extra_needed(rd.layer_stack, rd.layer_stack_n))
                return true;
        (void)op_find_rg(op, rd.rsc_grp_name, &rg);
        if (row_get(op->tx, &node_type, &node, op->arena, &node) != 0) node = (struct node){ 0 };
        struct extra_levels l = {
                .rd = &rd.props, .rg = &rg.props, .node = &node.props, .ctrl = op_ctrl_props(op)
        };
        struct vlm *list = arena_alloc(op->arena, (r->volumes_n * EXTRA_N + 1) * sizeof *list);
        for (uint32_t i = 0; i < r->volumes_n; i++) {
                const struct vlm *v = &r->volumes[i];
                if ((r->flags & rsc_flag_DISKLESS) != 0 || v->provider_kind == provider_kind_DISKLESS)
                        continue;
                if (!fit_volume(op, r, &rd, &l, v, list, &n)) return false;
        }
        SET_N(r, rsc, extras, list, n);
        return true;
}
