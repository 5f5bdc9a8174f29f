/* Finding the objects that an operation is about, see op_internal.h. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "controller/op/op_internal.h"

bool op_in_list(const char *name, const char *const *list, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++)
                if (op_same(list[i], name)) return true;
        return false;
}

static bool found(struct op *op, const struct type_desc *t, const void *key, void *ret)
{
        return row_get(op->tx, t, key, op->arena, ret) == 0;
}

bool op_find_node(struct op *op, const char *name, struct node *ret)
{
        struct node key = { .name = name };
        return op_given(name) && found(op, &node_type, &key, ret);
}

bool op_find_pool(struct op *op, const char *node, const char *pool, struct stor_pool *ret)
{
        struct stor_pool key = { .node_name = node, .storage_pool_name = pool };
        return op_given(pool) && found(op, &stor_pool_type, &key, ret);
}

bool op_find_rd(struct op *op, const char *name, struct rsc_dfn *ret)
{
        struct rsc_dfn key = { .name = name };
        return op_given(name) && found(op, &rsc_dfn_type, &key, ret);
}

bool op_find_vd(struct op *op, const char *rsc, uint64_t number, struct vlm_dfn *ret)
{
        struct vlm_dfn key = { .rsc_name = rsc, .volume_number = number };
        return found(op, &vlm_dfn_type, &key, ret);
}

bool op_find_rsc(struct op *op, const char *rsc, const char *node, struct rsc *ret)
{
        struct rsc key = { .rsc_name = rsc, .node_name = node };
        return op_given(rsc) && op_given(node) && found(op, &rsc_type, &key, ret);
}

bool op_find_rg(struct op *op, const char *name, struct rsc_grp *ret)
{
        struct rsc_grp key = { .name = name };
        if (!op_given(name)) return false;
        if (found(op, &rsc_grp_type, &key, ret)) return true;
        if (!op_same(name, DFLT_RSC_GRP)) return false;
        *ret = (struct rsc_grp){ 0 };
        struct select_filter *f = arena_new(op->arena, struct select_filter);
        SET(f, select_filter, place_count, PLACE_COUNT_DEFAULT);
        SET(ret, rsc_grp, name, DFLT_RSC_GRP);
        SET(ret, rsc_grp, description, "Default resource group");
        SET(ret, rsc_grp, select_filter, f);
        SET(ret, rsc_grp, uuid, op_uuid(op));
        MARK(ret, rsc_grp, props);
        row_put(op->tx, &rsc_grp_type, ret);
        return true;
}

bool op_need_node(struct op *op, const char *name, struct node *ret)
{
        if (op_find_node(op, name, ret)) return true;
        struct api_rc *rc = op_rc(op, RC_FAIL_NOT_FOUND_NODE, "There is no node '%s'.", op_text(name));
        op_rc_ref(op, rc, "Node", op_text(name));
        return false;
}

bool op_need_rd(struct op *op, const char *name, struct rsc_dfn *ret)
{
        if (op_find_rd(op, name, ret)) return true;
        struct api_rc *rc =
                op_rc(op, RC_FAIL_NOT_FOUND_RSC_DFN, "There is no resource definition '%s'.", op_text(name));
        op_rc_ref(op, rc, "RscDfn", op_text(name));
        return false;
}

bool op_need_rg(struct op *op, const char *name, struct rsc_grp *ret)
{
        if (op_find_rg(op, name, ret)) return true;
        struct api_rc *rc =
                op_rc(op, RC_FAIL_NOT_FOUND_RSC_GRP, "There is no resource group '%s'.", op_text(name));
        op_rc_ref(op, rc, "RscGrp", op_text(name));
        return false;
}

bool op_parse_number(const char *s, uint64_t *ret)
{
        char *end;
        errno = 0;
        if (*s < '0' || *s > '9') return false;
        *ret = strtoull(s, &end, 10);
        return *end == '\0' && errno == 0 && *ret <= VLM_NR_MAX;
}

bool op_need_vd(struct op *op, const char *rsc, const char *number, struct vlm_dfn *ret)
{
        uint64_t n;
        if (!op_parse_number(number, &n)) {
                op_rc(op, RC_FAIL_INVLD_VLM_NR, "'%s' is not a volume number: 0 to %d.", number, VLM_NR_MAX);
                return false;
        }
        if (op_find_vd(op, rsc, n, ret)) return true;
        struct api_rc *rc = op_rc(op, RC_FAIL_NOT_FOUND_VLM_DFN,
                "There is no volume definition %s in resource definition '%s'.", number, rsc);
        op_rc_ref(op, rc, "RscDfn", rsc);
        op_rc_ref(op, rc, "VlmNr", number);
        return false;
}

bool op_need_rsc(struct op *op, const char *rsc, const char *node, struct rsc *ret)
{
        struct rsc_dfn rd;
        struct node n;
        if (op_find_rsc(op, rsc, node, ret)) return true;
        if (!op_need_rd(op, rsc, &rd) || !op_need_node(op, node, &n)) return false;
        struct api_rc *rc =
                op_rc(op, RC_FAIL_NOT_FOUND_RSC, "Resource '%s' is not on node '%s'.", rd.name, n.name);
        op_rc_ref(op, rc, "RscDfn", rd.name);
        op_rc_ref(op, rc, "Node", n.name);
        return false;
}

/* Doubles an array in the arena. */
static void *room(struct arena *a, void *array, uint32_t n, uint32_t *cap, size_t size_bytes)
{
        if (n < *cap) return array;
        *cap = *cap != 0 ? *cap * 2 : 8;
        char *p = arena_alloc(a, *cap * size_bytes);
        if (n != 0) memcpy(p, array, n * size_bytes);
        return p;
}

static uint32_t list(struct op *op, const struct type_desc *t, const void *key, void **ret)
{
        struct row_scan s;
        uint32_t n = 0, cap = 0;
        char *array = room(op->arena, NULL, 0, &cap, t->size);
        row_scan_open(&s, op->tx, t, key, 1);
        while (row_scan_next(&s, op->arena, array + n * t->size)) {
                n++;
                array = room(op->arena, array, n, &cap, t->size);
        }
        row_scan_close(&s);
        *ret = array;
        return n;
}

uint32_t op_list_rscs(struct op *op, const char *rsc, struct rsc **ret)
{
        struct rsc key = { .rsc_name = rsc };
        void *p;
        uint32_t n = list(op, &rsc_type, &key, &p);
        *ret = p;
        return n;
}

uint32_t op_list_vds(struct op *op, const char *rsc, struct vlm_dfn **ret)
{
        struct vlm_dfn key = { .rsc_name = rsc };
        void *p;
        uint32_t n = list(op, &vlm_dfn_type, &key, &p);
        *ret = p;
        return n;
}

const struct strmap *op_ctrl_props(struct op *op)
{
        struct ctrl_props *c = arena_new(op->arena, struct ctrl_props);
        if (row_get_single(op->tx, &ctrl_props_type, op->arena, c) != 0) c->props.n = 0;
        return &c->props;
}

bool op_observed_node(struct op *op, const char *node, struct obs_node *ret)
{
        struct obs_node key = { .node_name = node };
        return op->observed != NULL && row_get(op->observed, &obs_node_type, &key, op->arena, ret) == 0;
}

bool op_node_online(struct op *op, const char *node)
{
        struct obs_node o;
        if (op_observed_node(op, node, &o) && o.connection_status == conn_status_ONLINE) return true;
        if (op->env == NULL) return false;
        if (op->env->untried != NULL && op->env->untried(op->env->arg, node)) op->early = true;
        else if (op->env->retried != NULL && op->env->retried(op->env->arg, node, op->req->wall_ms))
                op->doubtful = true;
        return false;
}

bool op_node_surely_online(struct op *op, const char *node)
{
        if (op_node_online(op, node)) return true;
        if (op->doubtful) op->early = true;
        return false;
}

bool op_observed_pool(struct op *op, const char *node, const char *pool, struct obs_pool *ret)
{
        struct obs_pool key = { .node_name = node, .storage_pool_name = pool };
        return op->observed != NULL && row_get(op->observed, &obs_pool_type, &key, op->arena, ret) == 0;
}

bool op_observed_rsc(struct op *op, const char *rsc, const char *node, struct obs_rsc *ret)
{
        struct obs_rsc key = { .node_name = node, .rsc_name = rsc };
        return op->observed != NULL && row_get(op->observed, &obs_rsc_type, &key, op->arena, ret) == 0;
}

bool op_in_use(struct op *op, const struct rsc *r)
{
        struct obs_rsc o;
        if (!op_observed_rsc(op, r->rsc_name, r->node_name, &o)) return false;
        return o.in_use && (o.uuid == NULL || r->uuid == NULL || strcmp(o.uuid, r->uuid) == 0);
}

void op_ask_again(struct op *op) { SET(op->reply, reply, ask_again, true); }

void op_explain_use(struct op *op, struct api_rc *rc, const struct rsc *r)
{
        op_ask_again(op);
        struct obs_rsc o;
        const char *path = "its device";
        if (op_observed_rsc(op, r->rsc_name, r->node_name, &o))
                for (uint32_t i = o.volumes_n; i-- > 0;)
                        if (op_given(o.volumes[i].device_path)) path = o.volumes[i].device_path;
        op_rc_explain(op, rc,
                arena_printf(op->arena, "On node '%s' %s is mounted, or something has it open.", r->node_name,
                        path),
                NULL,
                arena_printf(op->arena,
                        "On that node 'findmnt %s', 'fuser -v %s' and 'lsblk %s' show what it is. End that, "
                        "and "
                        "repeat this.",
                        path, path, path));
}

const char *op_prop_chain(const char *key, ...)
{
        va_list args;
        const char *value = NULL;
        va_start(args, key);
        for (;;) {
                const struct strmap *m = va_arg(args, const struct strmap *);
                if (m == NULL) break;
                value = strmap_get(m, key);
                if (op_given(value)) break;
                value = NULL;
        }
        va_end(args);
        return value;
}
