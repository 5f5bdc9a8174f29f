/* Size queries: how large a volume can be made, how much can be made in total. */
#include <stdlib.h>
#include <string.h>

#include "controller/op/op_place.h"
#include "controller/view/view_internal.h"

#define DEFAULT_RATIO 20.0

/* The part of an operation that placement reads. Nothing is written. */
struct reader {
        struct request req;
        struct reply reply;
        struct op op;
};

static struct op *reader_open(struct view *v, struct reader *r)
{
        *r = (struct reader){ 0 };
        r->op = (struct op){ .tx = v->tx,
                .observed = v->observed,
                .req = &r->req,
                .route = v->route,
                .arena = v->arena,
                .reply = &r->reply };
        r->req.wall_ms = (int64_t)v->wall_ms;
        return &r->op;
}

static void stack_of(const struct select_filter *f, struct place_ctx *c)
{
        static const char *const dflt[] = { "DRBD", "STORAGE" };
        c->stack = f->layer_stack_n != 0 ? f->layer_stack : dflt;
        c->stack_n = f->layer_stack_n != 0 ? f->layer_stack_n : 2;
}

/* ---- of a group ---- */

static int by_size(const void *x, const void *y)
{
        uint64_t a, b;
        memcpy(&a, x, sizeof a);
        memcpy(&b, y, sizeof b);
        return a < b ? 1 : a > b ? -1 : 0;
}

/* Again and again one volume on the count pools that have most: the sum of what fits. */
static uint64_t greedy_sum(const struct place_ctx *c, uint32_t count, bool totals, struct arena *a)
{
        uint64_t *left = arena_alloc(a, (c->pools_n + 1) * sizeof *left), sum = 0;
        uint32_t n = 0;
        for (uint32_t i = 0; i < c->pools_n; i++) {
                const struct place_pool *p = &c->pools[i];
                bool usable = p->verdict == PLACE_OK || p->verdict == PLACE_TOO_SMALL ||
                              p->verdict == PLACE_MIN_FREE;
                int64_t kib = totals ? p->total_kib : p->free_kib;
                if (usable && kib > 0 && p->kind != provider_kind_DISKLESS) left[n++] = (uint64_t)kib;
        }
        for (uint32_t round = 0; n >= count && count > 0 && round < 10000; round++) {
                qsort(left, n, sizeof *left, by_size);
                uint64_t least = left[count - 1];
                if (least == 0) break;
                for (uint32_t i = 0; i < count; i++) left[i] -= least;
                sum += least;
        }
        return sum;
}

static void fill_ratios(
        struct view *v, const struct place_ctx *c, const struct place_pool *p, struct spawn_result_view *ret)
{
        struct stor_pool sp = { .node_name = c->nodes[p->node].name, .storage_pool_name = p->name };
        struct stor_pool_dfn d = { .storage_pool_name = p->name };
        double max = DEFAULT_RATIO, of_free, of_total;
        if (view_row(v, &stor_pool_type, &sp, v->arena, &sp)) {
                if (!view_row(v, &stor_pool_dfn_type, &d, v->arena, &d)) d = (struct stor_pool_dfn){ 0 };
                place_ratios(&sp, &d.props, c->ctrl, &max, &of_free, &of_total);
        }
        SET(ret, spawn_result_view, node_name, c->nodes[p->node].name);
        SET(ret, spawn_result_view, stor_pool_name, p->name);
        SET(ret, spawn_result_view, stor_pool_oversubscription_ratio, max);
        SET(ret, spawn_result_view, stor_pool_free_capacity_oversubscription_ratio, p->ratio_free);
        SET(ret, spawn_result_view, stor_pool_total_capacity_oversubscription_ratio, p->ratio_total);
}

static double ctrl_ratio(const struct place_ctx *c, const char *key, double fallback)
{
        const char *s = strmap_get(c->ctrl, key);
        return view_given(s) ? strtod(s, NULL) : fallback;
}

static struct space_info_view *space_info(struct view *v, struct op *op, struct place_ctx *c, const char *rg,
        const struct place_result *res, uint32_t count)
{
        struct space_info_view *s = arena_new(v->arena, struct space_info_view);
        uint64_t max = res->n != 0 ? UINT64_MAX : 0;
        struct spawn_result_view *next = arena_alloc(v->arena, (res->n + 1) * sizeof *next);
        for (uint32_t i = 0; i < res->n; i++) {
                const struct place_pool *p = &c->pools[res->pools[i]];
                max = MIN(max, place_max_kib(op, c, rg, p));
                fill_ratios(v, c, p, &next[i]);
        }
        double ratio = ctrl_ratio(c, "MaxOversubscriptionRatio", DEFAULT_RATIO);
        SET(s, space_info_view, max_vlm_size_in_kib, (int64_t)MIN(max, (uint64_t)INT64_MAX));
        SET(s, space_info_view, available_size_in_kib, (int64_t)greedy_sum(c, count, false, v->arena));
        SET(s, space_info_view, capacity_in_kib, (int64_t)greedy_sum(c, count, true, v->arena));
        SET(s, space_info_view, default_max_oversubscription_ratio, DEFAULT_RATIO);
        SET(s, space_info_view, max_oversubscription_ratio, ratio);
        SET(s, space_info_view, max_free_capacity_oversubscription_ratio,
                ctrl_ratio(c, "MaxFreeCapacityOversubscriptionRatio", ratio));
        SET(s, space_info_view, max_total_capacity_oversubscription_ratio,
                ctrl_ratio(c, "MaxTotalCapacityOversubscriptionRatio", ratio));
        SET_N(s, space_info_view, next_spawn_result, next, res->n);
        return s;
}

static void fill_size_info(struct view *v, const struct rsc_grp *g, const struct select_filter *request,
        struct size_info_view *ret)
{
        struct reader r;
        struct op *op = reader_open(v, &r);
        struct place_ctx c = { 0 };
        struct place_result res = { 0 };
        struct fail fail = { 0 };
        struct select_filter *f = op_filter_merge(op, g->select_filter, request);
        *ret = (struct size_info_view){ 0 };
        stack_of(f, &c);
        place_gather(op, &c, NULL, g, f);
        place_query(op, &c, g->name);
        int64_t count = HAS(f, select_filter, place_count) ? f->place_count : PLACE_COUNT_DEFAULT;
        if (count < 1 || count > PLACE_COUNT_MAX) count = PLACE_COUNT_DEFAULT;
        if (place_search(op, &c, f, (uint32_t)count, 0, false, &res, &fail) != 0) {
                struct api_rc *rc = arena_new(v->arena, struct api_rc);
                apirc_init(rc, RC_FAIL_NOT_ENOUGH_NODES, RC_OP_NONE, RC_OBJ_RSC_GRP,
                        arena_printf(v->arena, "Not enough available nodes for resource group '%s': %s.",
                                g->name, fail.text),
                        v->wall_ms, v->arena);
                SET(rc, api_rc, details, place_explain(op, &c, f, (uint32_t)count, 0));
                SET_N(ret, size_info_view, reports, rc, 1);
                res.n = 0;
        }
        SET(ret, size_info_view, space_info, space_info(v, op, &c, g->name, &res, (uint32_t)count));
}

void view_rg_size_info(struct view *v)
{
        struct rsc_grp g;
        struct size_info_view out;
        if (!view_need_rg(v, v->params[0], &g)) return;
        fill_size_info(v, &g, VIEW_BODY(v, size_query_body)->select_filter, &out);
        view_obj(v, &size_info_view_type, &out);
}

/* Each group is looked at in memory of its own: there may be many. */
static void put_size_info(struct view *v, const struct rsc_grp *g, bool first)
{
        struct arena scratch = { 0 };
        struct view sub = *v;
        struct size_info_view out;
        sub.arena = &scratch;
        fill_size_info(&sub, g, VIEW_BODY(v, size_query_body)->select_filter, &out);
        if (!first) view_raw(v, ",");
        enc_json_str(g->name, v->out);
        view_raw(v, ":");
        view_obj(v, &size_info_view_type, &out);
        arena_done(&scratch);
}

void view_rg_size_info_all(struct view *v)
{
        struct rsc_grp g;
        struct row_scan s;
        struct arena row = { 0 };
        bool first = true;
        view_default_rg(v, &g);
        view_raw(v, "{\"result\":{");
        if (!row_exists(v->tx, &rsc_grp_type, &g)) {
                put_size_info(v, &g, first);
                first = false;
        }
        row_scan_open(&s, v->tx, &rsc_grp_type, &g, 0);
        while (row_scan_next(&s, &row, &g)) {
                put_size_info(v, &g, first);
                first = false;
                arena_reset(&row);
        }
        row_scan_close(&s);
        arena_done(&row);
        view_raw(v, "}}");
}

/* ---- by pool name ---- */

struct candidate {
        const char *pool;
        uint64_t max_kib;
        bool thin;
        const char **nodes;
        uint32_t nodes_n;
};

static int by_candidate(const void *x, const void *y)
{
        const struct candidate *a = x, *b = y;
        if (a->max_kib != b->max_kib) return a->max_kib < b->max_kib ? 1 : -1;
        return strcasecmp(a->pool, b->pool);
}

/* The best set of pools of this name, or false. */
static bool find_candidate(struct op *op, struct place_ctx *c, const char *rg, const struct select_filter *f,
        uint32_t count, struct candidate *k)
{
        struct place_result res;
        struct fail fail;
        struct select_filter one = *f;
        SET_N(&one, select_filter, storage_pool_list, &k->pool, 1);
        if (place_search(op, c, &one, count, 0, false, &res, &fail) != 0) return false;
        k->nodes = arena_alloc(op->arena, (res.n + 1) * sizeof *k->nodes);
        k->max_kib = UINT64_MAX;
        k->thin = true;
        for (uint32_t i = 0; i < res.n; i++) {
                const struct place_pool *p = &c->pools[res.pools[i]];
                k->max_kib = MIN(k->max_kib, place_max_kib(op, c, rg, p));
                k->thin &= place_is_thin(p->kind);
                k->nodes[k->nodes_n++] = c->nodes[p->node].name;
        }
        return true;
}

static void max_sizes(struct view *v, const struct rsc_grp *g, const struct select_filter *request)
{
        struct reader r;
        struct op *op = reader_open(v, &r);
        struct place_ctx c = { 0 };
        struct select_filter *f = op_filter_merge(op, g != NULL ? g->select_filter : NULL, request);
        stack_of(f, &c);
        place_gather(op, &c, NULL, g, f);
        const char *rg = g != NULL ? g->name : NULL;
        place_query(op, &c, rg);
        int64_t count = HAS(f, select_filter, place_count) ? f->place_count : PLACE_COUNT_DEFAULT;
        if (count < 1 || count > PLACE_COUNT_MAX) count = PLACE_COUNT_DEFAULT;
        struct candidate *all = arena_alloc(v->arena, (c.pools_n + 1) * sizeof *all);
        struct candidate_view *out = arena_alloc(v->arena, (c.pools_n + 1) * sizeof *out);
        uint32_t n = 0;
        for (uint32_t i = 0; i < c.pools_n; i++) {
                struct candidate k = { .pool = c.pools[i].name };
                bool seen = !(f->storage_pool_list_n == 0 ||
                              op_in_list(k.pool, f->storage_pool_list, f->storage_pool_list_n));
                for (uint32_t m = 0; m < i && !seen; m++) seen = op_same(c.pools[m].name, k.pool);
                if (!seen && find_candidate(op, &c, rg, f, (uint32_t)count, &k)) all[n++] = k;
        }
        qsort(all, n, sizeof *all, by_candidate);
        for (uint32_t i = 0; i < n; i++) {
                SET(&out[i], candidate_view, storage_pool, all[i].pool);
                SET(&out[i], candidate_view, max_volume_size_kib,
                        (int64_t)MIN(all[i].max_kib, (uint64_t)INT64_MAX));
                SET_N(&out[i], candidate_view, node_names, all[i].nodes, all[i].nodes_n);
                SET(&out[i], candidate_view, all_thin, all[i].thin);
        }
        struct max_volume_sizes_view sizes = { 0 };
        SET_N(&sizes, max_volume_sizes_view, candidates, out, n);
        SET(&sizes, max_volume_sizes_view, default_max_oversubscription_ratio, DEFAULT_RATIO);
        view_obj(v, &max_volume_sizes_view_type, &sizes);
}

void view_rg_max_volume_size(struct view *v)
{
        struct rsc_grp g;
        if (view_need_rg(v, v->params[0], &g)) max_sizes(v, &g, NULL);
}

void view_max_volume_size(struct view *v) { max_sizes(v, NULL, VIEW_BODY(v, select_filter)); }
