#include "controller/sat/sat_props.h"

#include <string.h>

static bool is_private(const char *key)
{
        return strncmp(key, "encrypted/", 10) == 0 || strncmp(key, "Auth/", 5) == 0;
}

static void drop_private(struct strmap *m, struct arena *a)
{
        for (uint32_t i = 0; i < m->n;) {
                if (is_private(m->kv[2 * i])) strmap_del(m, m->kv[2 * i], a);
                else i++;
        }
}

int sat_props_node(struct tx *tx, const struct node *node, struct arena *a, struct sat_props *ret)
{
        struct ctrl_props c;
        int err = row_get_single(tx, &ctrl_props_type, a, &c);
        if (err != 0) return err;
        ret->node = c.props;
        drop_private(&ret->node, a);
        strmap_merge(&ret->node, &node->props, a);
        return 0;
}

struct strmap sat_props_pool(
        struct tx *tx, const struct sat_props *p, const struct stor_pool *pool, struct arena *a)
{
        struct strmap m = p->node;
        struct stor_pool_dfn spd, key = { .storage_pool_name = pool->storage_pool_name };
        if (row_get(tx, &stor_pool_dfn_type, &key, a, &spd) == 0) strmap_merge(&m, &spd.props, a);
        strmap_merge(&m, &pool->props, a);
        return m;
}

static void merge_group(struct tx *tx, struct strmap *m, const struct rsc_dfn *rd, struct arena *a)
{
        struct rsc_grp g, key = { .name = rd->rsc_grp_name };
        if (rd->rsc_grp_name == NULL) return;
        if (row_get(tx, &rsc_grp_type, &key, a, &g) == 0) strmap_merge(m, &g.props, a);
}

struct strmap sat_props_rsc(struct tx *tx, const struct sat_props *p, const struct rsc_dfn *rd,
        const struct rsc *r, struct arena *a)
{
        struct strmap m = p->node;
        merge_group(tx, &m, rd, a);
        strmap_merge(&m, &rd->props, a);
        strmap_merge(&m, &r->props, a);
        return m;
}

struct strmap sat_props_vlm(struct tx *tx, const struct sat_props *p, const struct rsc_dfn *rd,
        const struct vlm_dfn *vd, const struct rsc *r, const struct vlm *v, struct arena *a)
{
        struct strmap m = p->node;
        merge_group(tx, &m, rd, a);
        strmap_merge(&m, &rd->props, a);
        struct vlm_grp g, key = { .rsc_grp_name = rd->rsc_grp_name, .volume_number = vd->volume_number };
        if (rd->rsc_grp_name != NULL && row_get(tx, &vlm_grp_type, &key, a, &g) == 0)
                strmap_merge(&m, &g.props, a);
        strmap_merge(&m, &vd->props, a);
        strmap_merge(&m, &r->props, a);
        strmap_merge(&m, &v->props, a);
        return m;
}

static void take_limits(struct strmap *m, const struct strmap *from, struct arena *a)
{
        for (uint32_t i = 0; i < from->n; i++) {
                const char *key = from->kv[2 * i];
                if (strncmp(key, "sys/fs/", 7) == 0 && strmap_get(m, key) == NULL)
                        strmap_set(m, key, from->kv[2 * i + 1], a);
        }
}

struct strmap sat_props_throttle(struct tx *tx, const struct rsc_dfn *rd, const struct vlm_dfn *vd,
        const struct rsc *r, const struct vlm *v, struct arena *a)
{
        struct strmap m = { 0 };
        struct vlm_grp vg, vg_key = { .rsc_grp_name = rd->rsc_grp_name, .volume_number = vd->volume_number };
        struct rsc_grp g, g_key = { .name = rd->rsc_grp_name };
        bool grouped = rd->rsc_grp_name != NULL;
        take_limits(&m, &v->props, a);
        take_limits(&m, &vd->props, a);
        if (grouped && row_get(tx, &vlm_grp_type, &vg_key, a, &vg) == 0) take_limits(&m, &vg.props, a);
        take_limits(&m, &r->props, a);
        take_limits(&m, &rd->props, a);
        if (grouped && row_get(tx, &rsc_grp_type, &g_key, a, &g) == 0) take_limits(&m, &g.props, a);
        return m;
}
