/* Automatic placement: gathers nodes, pools and what is provisioned in them for the autoplacer
 * (state/place.h), and creates the resources where it says. */
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "controller/op/op_disk.h"
#include "controller/op/op_extra.h"
#include "controller/op/op_place.h"
#include "wire/def/drbd_rules.h"

#define RATIO_THIN_DEFAULT 20.0
#define MIN_THIN_FREE_DEFAULT "10%"
/* Looking up what is promised but not made yet can rule out a pool; then the search starts anew. */
#define PLACE_ROUNDS_MAX 64

static double to_double(const char *s, double fallback)
{
        char *end;
        if (!op_given(s)) return fallback;
        double d = strtod(s, &end);
        return end != s && d >= 0 && d <= 1e6 ? d : fallback;
}

/* ---- nodes ---- */

static const char *node_refusal(struct op *op, const struct place_ctx *c, const struct node *n)
{
        if (n->type == node_type_CONTROLLER || n->type == node_type_AUXILIARY) return "it is no satellite";
        if ((n->flags & node_flag_DELETE) != 0) return "it is being deleted";
        if ((n->flags & node_flag_EVACUATE) != 0) return "it is being evacuated";
        if (!op_node_online(op, n->name)) return "it is not online";
        const char *lacks = op_layers_lacking(op, n->name, c->stack, c->stack_n);
        return lacks != NULL ? arena_printf(op->arena, "it lacks the layers %s", lacks) : NULL;
}

static void gather_nodes(struct op *op, struct place_ctx *c)
{
        struct node row = { 0 };
        struct row_scan s;
        uint32_t max = (uint32_t)row_count(op->tx, &node_type, &row, 0);
        c->nodes = arena_alloc(op->arena, (max + 1) * sizeof *c->nodes);
        c->rows = arena_alloc(op->arena, (max + 1) * sizeof *c->rows);
        row_scan_open(&s, op->tx, &node_type, &row, 0);
        while (c->nodes_n < max && row_scan_next(&s, op->arena, &c->rows[c->nodes_n])) {
                struct node *n = &c->rows[c->nodes_n];
                c->nodes[c->nodes_n++] = (struct place_node){ .name = n->name,
                        .props = &n->props,
                        .why = node_refusal(op, c, n),
                        .no_mixing = op_has_layer(c->stack, c->stack_n, "DRBD") &&
                                     !op_drbd_joins_sizes(op, n->name) };
        }
        row_scan_close(&s);
}

static struct place_node *find_node(struct place_ctx *c, const char *name)
{
        for (uint32_t i = 0; i < c->nodes_n; i++)
                if (op_same(c->nodes[i].name, name)) return &c->nodes[i];
        return NULL;
}

/* Does it count as a replica? */
bool op_is_replica(const struct rsc *r)
{
        if ((r->flags & (rsc_flag_DELETE | rsc_flag_EVACUATE)) != 0) return false;
        if ((r->flags & rsc_flag_EVICTED) == rsc_flag_EVICTED) return false;
        if ((r->flags & rsc_flag_DISKLESS) != 0 && (r->flags & RSC_ADDING) == 0) return false;
        return !prop_bool(strmap_get(&r->props, PROP_SKIP_DISK), false);
}

/* One without a disk can get one. */
static bool can_be_replica(const struct rsc *r)
{
        return (r->flags & rsc_flag_DRBD_DISKLESS) == rsc_flag_DRBD_DISKLESS &&
               (r->flags & (RSC_ADDING | RSC_REMOVING | rsc_flag_INACTIVE | rsc_flag_EVACUATE)) == 0;
}

/* Replicas that exist count for the rules; on the node of any resource of this name nothing else can be
 * placed. */
static void mark_deployed(struct op *op, struct place_ctx *c, const char *rsc)
{
        struct rsc *rscs;
        uint32_t n = rsc != NULL ? op_list_rscs(op, rsc, &rscs) : 0;
        for (uint32_t i = 0; i < n; i++) {
                struct place_node *node = find_node(c, rscs[i].node_name);
                struct stor_pool p;
                if (node == NULL) continue;
                if (!op_is_replica(&rscs[i])) {
                        if (!c->diskless && can_be_replica(&rscs[i])) continue;
                        node->why = "it has a resource of that name already";
                        continue;
                }
                node->deployed = true;
                for (uint32_t k = 0; k < rscs[i].volumes_n; k++) {
                        node->kinds |= UINT64_C(1) << rscs[i].volumes[k].provider_kind;
                        if (op_find_pool(op, node->name, rscs[i].volumes[k].storage_pool_name, &p) &&
                                op_given(p.shared_space))
                                node->shared = p.shared_space;
                }
        }
}

static void refuse_node(struct place_ctx *c, const char *name, const char *why)
{
        struct place_node *n = find_node(c, name);
        if (n != NULL && n->why == NULL && !n->deployed) n->why = why;
}

static void apply_not_with(struct op *op, struct place_ctx *c, const struct select_filter *f)
{
        regex_t re;
        bool has_re = op_given(f->not_place_with_rsc_regex) &&
                      regcomp(&re, f->not_place_with_rsc_regex, REG_EXTENDED | REG_ICASE | REG_NOSUB) == 0;
        struct idx_rsc_node row = { 0 };
        struct row_scan s;
        if (f->not_place_with_rsc_n == 0 && !has_re) return;
        row_scan_open(&s, op->tx, &idx_rsc_node_type, &row, 0);
        while (row_scan_next(&s, op->arena, &row))
                if (op_in_list(row.rsc_name, f->not_place_with_rsc, f->not_place_with_rsc_n) ||
                        (has_re && regexec(&re, row.rsc_name, 0, NULL, 0) == 0))
                        refuse_node(c, row.node_name,
                                arena_printf(op->arena,
                                        "it has resource %s, beside which nothing may be placed",
                                        row.rsc_name));
        row_scan_close(&s);
        if (has_re) regfree(&re);
}

/* ---- pools ---- */

static const struct strmap *spd_props(struct op *op, const char *pool)
{
        struct stor_pool_dfn *d = arena_new(op->arena, struct stor_pool_dfn);
        d->storage_pool_name = pool;
        if (row_get(op->tx, &stor_pool_dfn_type, d, op->arena, d) != 0) d->props.n = 0;
        return &d->props;
}

void place_ratios(const struct stor_pool *p, const struct strmap *spd, const struct strmap *ctrl,
        double *ret_max, double *ret_free, double *ret_total)
{
        double fallback = place_is_thin(p->provider_kind) ? RATIO_THIN_DEFAULT : 1.0;
        *ret_max = *ret_free = *ret_total = fallback;
        if (!place_is_thin(p->provider_kind)) return;
        *ret_max = to_double(op_prop_chain("MaxOversubscriptionRatio", &p->props, spd, ctrl, NULL), fallback);
        *ret_free = to_double(
                op_prop_chain("MaxFreeCapacityOversubscriptionRatio", &p->props, spd, ctrl, NULL), *ret_max);
        *ret_total = to_double(
                op_prop_chain("MaxTotalCapacityOversubscriptionRatio", &p->props, spd, ctrl, NULL), *ret_max);
}

static bool is_target(const struct stor_pool *p, const struct strmap *node, const struct strmap *ctrl)
{
        const char *v = op_prop_chain("AutoplaceTarget", &p->props, node, ctrl, NULL);
        if (v == NULL) v = op_prop_chain("AutoplaceAllowTarget", &p->props, node, ctrl, NULL);
        return prop_bool(v, true);
}

static void fill_pool(
        struct op *op, struct place_ctx *c, uint32_t node, const struct stor_pool *p, struct place_pool *out)
{
        const struct strmap *spd = spd_props(op, p->storage_pool_name), *nprops = &c->rows[node].props;
        struct obs_pool o;
        double max;
        *out = (struct place_pool){ .node = node,
                .name = p->storage_pool_name,
                .kind = p->provider_kind,
                .shared_space = p->shared_space,
                .free_kib = -1,
                .total_kib = -1 };
        if (op_observed_pool(op, p->node_name, p->storage_pool_name, &o) && HAS(&o, obs_pool, free_kib) &&
                HAS(&o, obs_pool, total_kib)) {
                out->free_kib = o.free_kib;
                out->total_kib = o.total_kib;
        }
        struct pool_usage u = { .node_name = p->node_name, .storage_pool_name = p->storage_pool_name };
        if (row_get(op->tx, &pool_usage_type, &u, op->arena, &u) == 0) {
                out->reserved_kib = u.reserved_kib;
                out->volumes = (uint32_t)MIN(u.volumes, UINT32_MAX);
        }
        place_ratios(p, spd, c->ctrl, &max, &out->ratio_free, &out->ratio_total);
        const char *min = op_prop_chain(
                "Autoplacer/MinThinFreeSpace", &p->props, c->rd_props, c->rg_props, nprops, c->ctrl, NULL);
        uint64_t total = out->total_kib > 0 ? (uint64_t)out->total_kib : 0;
        out->min_free_kib = prop_size_kib(min != NULL ? min : MIN_THIN_FREE_DEFAULT, total);
        out->forbidden = !is_target(p, nprops, c->ctrl);
}

static void gather_pools(struct op *op, struct place_ctx *c)
{
        uint32_t cap = 0;
        struct stor_pool p = { 0 };
        struct row_scan s;
        cap = (uint32_t)row_count(op->tx, &stor_pool_type, &p, 0);
        c->pools = arena_alloc(op->arena, (cap + 1) * sizeof *c->pools);
        row_scan_open(&s, op->tx, &stor_pool_type, &p, 0);
        while (c->pools_n < cap && row_scan_next(&s, op->arena, &p)) {
                struct place_node *n = find_node(c, p.node_name);
                if (n == NULL || n->why != NULL) continue;
                fill_pool(op, c, (uint32_t)(n - c->nodes), &p, &c->pools[c->pools_n]);
                c->pools_n++;
        }
        row_scan_close(&s);
}

/* Volumes that this pool has promised and not made yet: the satellite's free space does not know of them. */
static uint64_t pending_kib(struct op *op, const char *node, const char *pool)
{
        struct idx_pool_rsc key = { .node_name = node, .storage_pool_name = pool }, row;
        struct row_scan s;
        uint64_t sum = 0;
        row_scan_open(&s, op->tx, &idx_pool_rsc_type, &key, 2);
        while (row_scan_next(&s, op->arena, &row)) {
                struct rsc r;
                struct obs_rsc o;
                if (op_given(row.uuid) || !op_find_rsc(op, row.rsc_name, node, &r)) continue;
                bool seen = op_observed_rsc(op, row.rsc_name, node, &o) && o.uuid != NULL && r.uuid != NULL &&
                            strcmp(o.uuid, r.uuid) == 0;
                for (uint32_t i = 0; i < r.volumes_n; i++) {
                        bool made = false;
                        if (!op_same(op_text(r.volumes[i].storage_pool_name), pool)) continue;
                        for (uint32_t k = 0; seen && k < o.volumes_n; k++)
                                made |= o.volumes[k].volume_number == r.volumes[i].volume_number &&
                                        op_given(o.volumes[k].device_path);
                        if (!made) sum += r.volumes[i].size_kib;
                }
                for (uint32_t i = 0; i < r.extras_n; i++) {
                        bool made = false;
                        if (!op_same(op_text(r.extras[i].storage_pool_name), pool)) continue;
                        for (uint32_t k = 0; seen && k < o.extras_n; k++)
                                made |= o.extras[k].volume_number == r.extras[i].volume_number &&
                                        op_given(o.extras[k].device_path);
                        if (!made) sum += r.extras[i].size_kib;
                }
        }
        row_scan_close(&s);
        return sum;
}

/* ---- the search ---- */

void place_gather(struct op *op, struct place_ctx *c, const struct rsc_dfn *rd, const struct rsc_grp *rg,
        const struct select_filter *f)
{
        static const struct strmap none;
        c->ctrl = op_ctrl_props(op);
        c->rd_props = rd != NULL ? &rd->props : &none;
        c->rg_props = rg != NULL ? &rg->props : &none;
        gather_nodes(op, c);
        mark_deployed(op, c, rd != NULL ? rd->name : NULL);
        apply_not_with(op, c, f);
        gather_pools(op, c);
        c->mixing = prop_bool(
                op_prop_chain("AllowMixingStoragePoolDriver", c->rd_props, c->rg_props, c->ctrl, NULL),
                false);
}

void place_input_of(struct place_ctx *c, const struct select_filter *f, struct place_input *ret)
{
        *ret = (struct place_input){ .nodes = c->nodes,
                .nodes_n = c->nodes_n,
                .pools = c->pools,
                .pools_n = c->pools_n,
                .mixing = c->mixing,
                .filter = f,
                .weight_free = to_double(strmap_get(c->ctrl, "Autoplacer/Weights/MaxFreeSpace"), 1.0),
                .weight_reserved = to_double(strmap_get(c->ctrl, "Autoplacer/Weights/MinReservedSpace"), 0.0),
                .weight_count = to_double(strmap_get(c->ctrl, "Autoplacer/Weights/MinRscCount"), 0.00001) };
}

int place_search(struct op *op, struct place_ctx *c, const struct select_filter *f, uint32_t count,
        uint64_t size_kib, bool diskless, struct place_result *ret, struct fail *fail)
{
        struct place_input in;
        place_input_of(c, f, &in);
        in.count = count;
        in.size_kib = size_kib;
        in.diskless = diskless;
        for (unsigned round = 0; round < PLACE_ROUNDS_MAX; round++) {
                bool again = false;
                int err = place_run(&in, op->arena, ret, fail);
                if (err != 0 || size_kib == 0) return err;
                for (uint32_t i = 0; i < ret->n; i++) {
                        struct place_pool *p = &c->pools[ret->pools[i]];
                        if (place_is_thin(p->kind) || p->kind == provider_kind_DISKLESS ||
                                p->pending_kib != 0)
                                continue;
                        p->pending_kib = pending_kib(op, c->nodes[p->node].name, p->name);
                        again |= p->pending_kib != 0 && place_estimate(p) < size_kib;
                }
                if (!again) return 0;
        }
        return fail_set(fail, E_NOT_FOUND, "no set of pools has enough space that is not promised to others");
}

/* ---- what layers need beside the volumes ---- */

static struct place_pool *find_pool(struct place_ctx *c, uint32_t node, const char *name)
{
        for (uint32_t i = 0; i < c->pools_n; i++)
                if (c->pools[i].node == node && op_same(c->pools[i].name, name)) return &c->pools[i];
        return NULL;
}

/* Where on the node it would go; NULL: nowhere, and the node says why. */
static struct place_pool *room_on(
        struct op *op, struct place_ctx *c, uint32_t node, const struct extra_want *w)
{
        struct place_node *n = &c->nodes[node];
        struct place_pool *p = w->pool != NULL ? find_pool(c, node, w->pool) : NULL;
        if (w->pool == NULL)
                n->why = arena_printf(op->arena, "no property %s names a storage pool", w->pool_prop);
        else if (p == NULL || p->kind == provider_kind_DISKLESS)
                n->why = arena_printf(op->arena, "it has no storage pool '%s' (%s)", w->pool, w->pool_prop);
        else if (place_estimate(p) < w->size_kib)
                n->why = arena_printf(op->arena, "its storage pool '%s' (%s) has no room for %llu KiB",
                        w->pool, w->pool_prop, (unsigned long long)w->size_kib);
        return n->why == NULL ? p : NULL;
}

static uint32_t wants_on(struct op *op, const struct place_ctx *c, const struct vlm_grp *key,
        const struct strmap *vd, uint32_t node, const struct extra_stack *s, struct extra_want *out,
        uint64_t *ret_data_kib)
{
        struct vlm_grp vg = *key;
        if (vg.rsc_grp_name == NULL || row_get(op->tx, &vlm_grp_type, &vg, op->arena, &vg) != 0)
                vg = (struct vlm_grp){ 0 };
        const struct extra_levels l = { .vd = vd,
                .rd = c->rd_props,
                .vg = &vg.props,
                .rg = c->rg_props,
                .node = &c->rows[node].props,
                .ctrl = c->ctrl };
        return op_extra_wants(s, &l, out, ret_data_kib);
}

/* Rules out nodes without pools for what the layers need beside the volumes, and counts that where it goes. Returns how much the
 * volumes take at least; on nodes where it is more (DRBD's metadata is with the data) the difference is counted in every pool. */
static uint64_t place_extras(
        struct op *op, struct place_ctx *c, const struct rsc_dfn *rd, const struct vlm_dfn *vds, uint32_t n)
{
        struct extra_want wants[EXTRA_N];
        uint64_t *sums = arena_alloc(op->arena, (c->nodes_n + 1) * sizeof *sums), least = UINT64_MAX;
        for (uint32_t node = 0; node < c->nodes_n; node++) {
                sums[node] = 0;
                for (uint32_t i = 0; i < n; i++) {
                        const struct vlm_grp vg = { .rsc_grp_name = rd->rsc_grp_name,
                                .volume_number = vds[i].volume_number };
                        const struct extra_stack s = { c->stack, c->stack_n, vds[i].size_kib, RD_SLOTS(rd) };
                        uint64_t kib;
                        uint32_t wants_n = wants_on(op, c, &vg, &vds[i].props, node, &s, wants, &kib);
                        sums[node] += kib;
                        for (uint32_t k = 0; k < wants_n; k++) {
                                if (c->nodes[node].why != NULL || c->nodes[node].deployed) break;
                                struct place_pool *p = room_on(op, c, node, &wants[k]);
                                if (p != NULL) p->extra_kib += wants[k].size_kib;
                        }
                }
                least = MIN(least, sums[node]);
        }
        for (uint32_t i = 0; i < c->pools_n; i++) c->pools[i].extra_kib += sums[c->pools[i].node] - least;
        return c->nodes_n != 0 ? least : 0;
}

static uint32_t query_on(
        struct op *op, const struct place_ctx *c, const char *rg, uint32_t node, struct extra_want *wants)
{
        const struct vlm_grp vg = { .rsc_grp_name = rg };
        const struct extra_stack s = { c->stack, c->stack_n, DRBD_NET_KIB_MIN, 0 };
        uint64_t kib;
        return wants_on(op, c, &vg, NULL, node, &s, wants, &kib);
}

void place_query(struct op *op, struct place_ctx *c, const char *rg)
{
        struct extra_want wants[EXTRA_N];
        for (uint32_t node = 0; node < c->nodes_n; node++) {
                uint32_t n = query_on(op, c, rg, node, wants);
                for (uint32_t k = 0; k < n && c->nodes[node].why == NULL; k++)
                        (void)room_on(op, c, node, &wants[k]);
        }
}

uint64_t place_max_kib(struct op *op, struct place_ctx *c, const char *rg, const struct place_pool *p)
{
        struct extra_want wants[EXTRA_N];
        const struct drbd_md md = { .gen = DRBD_GEN_9 };
        uint32_t n = query_on(op, c, rg, p->node, wants);
        uint64_t max = p->estimate_kib, kib = 0;
        for (uint32_t i = 0; i < n; i++) {
                if (wants[i].extra != EXTRA_DRBD_META) continue;
                const struct place_pool *m = find_pool(c, p->node, wants[i].pool);
                if (m == NULL) return 0;
                if (m == p) max -= drbd_md_external_kib(&md, max, &kib) == 0 ? MIN(kib, max) : max;
                else if (drbd_external_usable_kib(&md, place_estimate(m), &kib) == 0) max = MIN(max, kib);
                else max = 0;
        }
        return max;
}

/* ---- explanations ---- */

static void print_list(struct buf *b, const char *what, const char *const *list, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++) buf_printf(b, "%s%s", i == 0 ? what : ", ", list[i]);
        if (n != 0) buf_put_str(b, "\n");
}

static bool is_on_a_node(struct op *op, const char *pool)
{
        struct stor_pool p = { 0 };
        struct row_scan s;
        bool found = false;
        row_scan_open(&s, op->tx, &stor_pool_type, &p, 0);
        while (!found && row_scan_next(&s, op->arena, &p)) found = op_same(p.storage_pool_name, pool);
        row_scan_close(&s);
        return found;
}

const char *place_explain(struct op *op, const struct place_ctx *c, const struct select_filter *f,
        uint32_t count, uint64_t size_kib)
{
        struct buf b = { 0 };
        uint32_t there = 0;
        for (uint32_t i = 0; i < c->nodes_n; i++) there += c->nodes[i].deployed;
        buf_printf(&b, "Replicas wanted: %u", count);
        if (there != 0) buf_printf(&b, " more, beside %u", there);
        buf_printf(&b, "\nSpace needed on each: %llu KiB\n", (unsigned long long)size_kib);
        print_list(&b, "Layers: ", c->stack, c->stack_n);
        print_list(&b, "Only nodes: ", f->node_name_list, f->node_name_list_n);
        print_list(&b, "Only storage pools: ", f->storage_pool_list, f->storage_pool_list_n);
        for (uint32_t i = 0; i < f->storage_pool_list_n; i++)
                if (!is_on_a_node(op, f->storage_pool_list[i]))
                        buf_printf(&b, "No node has a storage pool '%s'.\n", f->storage_pool_list[i]);
        print_list(&b, "Only providers: ", f->provider_list, f->provider_list_n);
        print_list(&b, "Same value of: ", f->replicas_on_same, f->replicas_on_same_n);
        print_list(&b, "Different values of: ", f->replicas_on_different, f->replicas_on_different_n);
        print_list(&b, "Not beside: ", f->not_place_with_rsc, f->not_place_with_rsc_n);
        for (uint32_t i = 0; i < c->nodes_n && b.n < 4096; i++)
                if (c->nodes[i].why != NULL)
                        buf_printf(&b, "Node '%s': %s\n", c->nodes[i].name, c->nodes[i].why);
        for (uint32_t i = 0; i < c->pools_n && b.n < 8192; i++) {
                const struct place_pool *p = &c->pools[i];
                if (c->nodes[p->node].deployed || p->verdict == PLACE_OK || p->kind == provider_kind_DISKLESS)
                        continue;
                buf_printf(&b, "Pool '%s' on node '%s': %s\n", p->name, c->nodes[p->node].name,
                        p->forbidden ? "AutoplaceTarget is false" : place_verdict_text(p->verdict));
        }
        const char *text = arena_strndup(op->arena, (const char *)b.p, b.n);
        buf_done(&b);
        return text;
}

static int refuse(struct op *op, const struct place_ctx *c, const struct select_filter *f,
        const struct rsc_dfn *rd, uint32_t count, uint64_t size_kib, int err, const struct fail *fail,
        bool adjust)
{
        enum apirc_code code = err == E_INVALID ? RC_FAIL_UNDECIDABLE_AUTOPLACMENT : RC_FAIL_NOT_ENOUGH_NODES;
        if (adjust) code = RC_WARN_NO_EFFECT;
        struct api_rc *rc = op_rc_as(op, code, RC_OP_CREATE, RC_OBJ_RSC,
                "Not enough available nodes for resource '%s': %s.", rd->name, fail->text);
        op_rc_explain(op, rc, NULL, place_explain(op, c, f, count, size_kib), NULL);
        op_rc_ref(op, rc, "RscDfn", rd->name);
        return -1;
}

/* ---- placing ---- */

/* How many more are wanted; -1: an entry says that there is nothing to do or why it cannot be. */
static int wanted(struct op *op, const struct select_filter *f, const struct rsc_dfn *rd, bool adjust)
{
        struct rsc *rscs;
        uint32_t deployed = 0, n = op_list_rscs(op, rd->name, &rscs);
        for (uint32_t i = 0; i < n; i++) deployed += op_is_replica(&rscs[i]);
        if (HAS(f, select_filter, additional_place_count) && f->additional_place_count > 0)
                return (int)f->additional_place_count;
        int64_t total = HAS(f, select_filter, place_count) ? f->place_count : PLACE_COUNT_DEFAULT;
        if (total > deployed) return (int)(total - deployed);
        if (total == deployed || adjust) {
                struct api_rc *rc;
                if (adjust) return 0;
                rc = op_rc_as(op, RC_WARN_RSC_ALREADY_DEPLOYED, RC_OP_CREATE, RC_OBJ_RSC,
                        "Resource '%s' has %u replicas already.", rd->name, deployed);
                op_rc_ref(op, rc, "RscDfn", rd->name);
                return 0;
        }
        struct api_rc *rc = op_rc_as(op, RC_FAIL_RSC_ALREADY_DEPLOYED, RC_OP_CREATE, RC_OBJ_RSC,
                "Resource '%s' has %u replicas already: a place count of %lld is too low.", rd->name,
                deployed, (long long)total);
        op_rc_ref(op, rc, "RscDfn", rd->name);
        return -1;
}

static bool create_all(struct op *op, struct place_ctx *c, struct rsc_dfn *rd, const struct select_filter *f,
        const struct place_result *res)
{
        struct buf names = { 0 };
        for (uint32_t i = 0; i < res->n; i++) {
                const struct place_pool *p = &c->pools[res->pools[i]];
                struct rsc_args args = { .node = c->nodes[p->node].name,
                        .pool = p->name,
                        .drbd_node_id = -1,
                        .diskful_by = BY_AUTO_PLACER,
                        .drbd_port_count = HAS(f, select_filter, port_count) ? f->port_count : 0 };
                if (!op_make_rsc(op, rd, &args)) break;
                buf_printf(&names, "%s'%s (%s)'", i != 0 ? ", " : "", args.node, p->name);
        }
        if (!op_failed(op)) {
                struct api_rc *rc = op_rc_as(op, RC_CREATED, RC_OP_CREATE, RC_OBJ_RSC,
                        "Resource '%s' placed automatically on %u nodes.", rd->name, res->n);
                op_rc_explain(op, rc, NULL,
                        arena_printf(op->arena, "Used nodes (storage pools): %s", buf_cstr(&names)), NULL);
                op_rc_ref(op, rc, "RscDfn", rd->name);
                for (uint32_t i = 0; i < res->n; i++) {
                        const struct place_pool *p = &c->pools[res->pools[i]];
                        op_rc_ref(op, rc, arena_printf(op->arena, "Node/%u", i), c->nodes[p->node].name);
                        op_rc_ref(op, rc, arena_printf(op->arena, "StoragePool/%u/0", i),
                                arena_printf(op->arena, "%s,%s", p->name,
                                        enum_name(&provider_kind_enum, p->kind)));
                }
        }
        buf_done(&names);
        return !op_failed(op);
}

/* Every other node that can take part gets a resource without a disk. */
static bool create_diskless(struct op *op, struct place_ctx *c, struct rsc_dfn *rd)
{
        struct rsc r;
        if (!RD_HAS_LAYER(rd, "DRBD") && !RD_HAS_LAYER(rd, "NVME")) {
                op_rc(op, RC_WARN_NO_EFFECT,
                        "Resource '%s' cannot be used without a disk: no diskless resources were made.",
                        rd->name);
                return true;
        }
        for (uint32_t i = 0; i < c->nodes_n; i++) {
                struct rsc_args args = { .node = c->nodes[i].name,
                        .flags = rsc_flag_DISKLESS,
                        .drbd_node_id = -1,
                        .drbd_client = RD_HAS_LAYER(rd, "DRBD") };
                if (c->nodes[i].why != NULL || op_find_rsc(op, rd->name, args.node, &r)) continue;
                if (!op_make_rsc(op, rd, &args)) return false;
                if (RD_HAS_LAYER(rd, "NVME")) break; /* it has one initiator */
        }
        return true;
}

int op_place_rd(struct op *op, struct rsc_dfn *rd, const struct select_filter *f, bool adjust)
{
        struct place_ctx c = { 0 };
        struct rsc_grp rg = { 0 };
        struct vlm_dfn *vds;
        struct place_result res = { 0 };
        struct fail fail = { 0 };
        int count = wanted(op, f, rd, adjust);
        if (count < 0) return -1;
        if (count == 0 && (adjust || !f->diskless_on_remaining)) return 0;
        op_effective_stack(op, rd, &c.stack, &c.stack_n);
        (void)op_find_rg(op, rd->rsc_grp_name, &rg);
        place_gather(op, &c, rd, &rg, f);
        uint32_t vds_n = op_list_vds(op, rd->name, &vds);
        uint64_t size_kib = place_extras(op, &c, rd, vds, vds_n);
        if (count > 0) {
                int err = place_search(op, &c, f, (uint32_t)count, size_kib, false, &res, &fail);
                if (err != 0) return refuse(op, &c, f, rd, (uint32_t)count, size_kib, err, &fail, adjust);
                if (!op_decide_stack(op, rd, NULL, 0) || !create_all(op, &c, rd, f, &res)) return -1;
        }
        if (f->diskless_on_remaining && !adjust && !create_diskless(op, &c, rd)) return -1;
        return (int)res.n;
}
