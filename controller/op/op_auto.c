/* Replicas that come and go by themselves, see op_auto.h. */
#include "controller/op/op_auto.h"

#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "controller/op/op_place.h"
#include "controller/op/op_quorum.h"
#include "controller/op/saga.h"

#define PROP_ALLOW_CLEANUP "DrbdOptions/auto-diskful-allow-cleanup"
#define BALANCE_GRACE_S 3600
#define BALANCE_SKIP_DISK_LIMIT 1

static struct api_rc *auto_rc(struct op *op, enum apirc_code code, const struct rsc *r, const char *done)
{
        struct api_rc *rc =
                op_rc(op, code, "Resource '%s' on node '%s' %s.", r->rsc_name, r->node_name, done);
        op_rc_ref(op, rc, "RscDfn", r->rsc_name);
        op_rc_ref(op, rc, "Node", r->node_name);
        return rc;
}

static const struct strmap *rg_props(struct op *op, const struct rsc_dfn *rd)
{
        static const struct strmap none;
        struct rsc_grp *g = arena_new(op->arena, struct rsc_grp);
        return op_find_rg(op, rd->rsc_grp_name, g) ? &g->props : &none;
}

/* ---- which replica goes ---- */

struct unplacing {
        struct place_ctx c;
        struct place_input in;
        const struct select_filter *f;
        struct rsc *rscs;
        uint32_t rscs_n;
};

static bool begin_unplacing(struct op *op, const struct rsc_dfn *rd, struct unplacing *u)
{
        struct select_filter nothing = { 0 };
        struct rsc_grp *g = arena_new(op->arena, struct rsc_grp);
        *u = (struct unplacing){ 0 };
        if (!op_find_rg(op, rd->rsc_grp_name, g)) return false;
        u->f = op_filter_merge(op, g->select_filter, &nothing);
        op_effective_stack(op, rd, &u->c.stack, &u->c.stack_n);
        place_gather(op, &u->c, rd, g, u->f);
        place_input_of(&u->c, u->f, &u->in);
        u->rscs_n = op_list_rscs(op, rd->name, &u->rscs);
        return true;
}

/* Does the node have a resource beside which nothing of the group may be? */
static bool beside(struct op *op, const struct unplacing *u, const struct rsc *r)
{
        struct idx_rsc_node key = { .node_name = r->node_name }, row;
        const struct select_filter *f = u->f;
        struct row_scan s;
        regex_t re;
        bool found = false;
        bool has_re = op_given(f->not_place_with_rsc_regex) &&
                      regcomp(&re, f->not_place_with_rsc_regex, REG_EXTENDED | REG_ICASE | REG_NOSUB) == 0;
        row_scan_open(&s, op->tx, &idx_rsc_node_type, &key, 1);
        while (!found && (has_re || f->not_place_with_rsc_n != 0) && row_scan_next(&s, op->arena, &row)) {
                if (op_same(row.rsc_name, r->rsc_name)) continue;
                found = op_in_list(row.rsc_name, f->not_place_with_rsc, f->not_place_with_rsc_n) ||
                        (has_re && regexec(&re, row.rsc_name, 0, NULL, 0) == 0);
        }
        row_scan_close(&s);
        if (has_re) regfree(&re);
        return found;
}

static bool pools_listed(const struct unplacing *u, const struct rsc *r)
{
        const struct select_filter *f = u->f;
        for (uint32_t i = 0; i < r->volumes_n; i++)
                if (f->storage_pool_list_n != 0 && !op_in_list(op_text(r->volumes[i].storage_pool_name),
                                                           f->storage_pool_list, f->storage_pool_list_n))
                        return false;
        return true;
}

static bool kinds_listed(const struct unplacing *u, const struct rsc *r)
{
        const struct select_filter *f = u->f;
        for (uint32_t i = 0; i < r->volumes_n; i++)
                if (f->provider_list_n != 0 &&
                        !op_in_list(enum_name(&provider_kind_enum, r->volumes[i].provider_kind),
                                f->provider_list, f->provider_list_n))
                        return false;
        return true;
}

static bool is_ready(struct op *op, const struct rsc *r)
{
        struct obs_rsc o;
        if (!op_node_online(op, r->node_name) || !op_observed_rsc(op, r->rsc_name, r->node_name, &o))
                return false;
        return o.state != sat_step_state_FAILED && (!HAS(&o, obs_rsc, drbd) || o.drbd->ready);
}

static unsigned faults_of(struct op *op, struct unplacing *u, const struct rsc *r)
{
        unsigned n = 0;
        for (uint32_t i = 0; i < u->c.nodes_n; i++)
                if (op_same(u->c.nodes[i].name, r->node_name)) n = place_breaks(&u->in, i, op->arena);
        n += !pools_listed(u, r) + !kinds_listed(u, r) + beside(op, u, r);
        n += op_layers_lacking(op, r->node_name, u->c.stack, u->c.stack_n) != NULL;
        return n + !op_up_to_date(op, r) + !is_ready(op, r);
}

/* What the autoplacer thinks of the worst of its pools. */
static double score_of(const struct unplacing *u, const struct rsc *r)
{
        double worst = 0;
        bool any = false;
        for (uint32_t i = 0; i < u->c.pools_n; i++)
                for (uint32_t k = 0; k < r->volumes_n; k++) {
                        const struct place_pool *p = &u->c.pools[i];
                        if (!op_same(u->c.nodes[p->node].name, r->node_name) ||
                                !op_same(p->name, op_text(r->volumes[k].storage_pool_name)))
                                continue;
                        if (!any || p->score < worst) worst = p->score;
                        any = true;
                }
        return worst;
}

/* May it go without leaving fewer than wanted that are up to date? */
static bool can_be_missed(struct op *op, const struct unplacing *u, const struct rsc *r, int64_t wanted)
{
        int64_t good = 0;
        for (uint32_t i = 0; i < u->rscs_n; i++)
                good += u->rscs + i != r && op_is_replica(&u->rscs[i]) && op_up_to_date(op, &u->rscs[i]);
        return good >= MAX(wanted, 1) && !op_in_use(op, r);
}

/* The replica that goes first, of those that may(); NULL: none. */
typedef bool may_go_fn(struct op *op, const struct rsc_dfn *rd, const struct rsc *r);
static struct rsc *pick(
        struct op *op, const struct rsc_dfn *rd, struct unplacing *u, int64_t wanted, may_go_fn *may)
{
        const uint64_t not_these = RSC_ADDING | RSC_REMOVING | rsc_flag_DELETE | rsc_flag_INACTIVE;
        struct rsc *worst = NULL;
        unsigned worst_faults = 0;
        double worst_score = 0;
        place_scores(&u->in, op->arena);
        for (uint32_t i = 0; i < u->rscs_n; i++) {
                struct rsc *r = &u->rscs[i];
                if (!op_is_replica(r) || (r->flags & not_these) != 0 || !may(op, rd, r)) continue;
                if (!can_be_missed(op, u, r, wanted)) continue;
                unsigned faults = faults_of(op, u, r);
                double score = score_of(u, r);
                if (worst != NULL &&
                        (faults < worst_faults || (faults == worst_faults && score > worst_score)))
                        continue;
                worst = r;
                worst_faults = faults;
                worst_score = score;
        }
        return worst;
}

/* Removes replicas until there are as many as wanted. Returns how many there are too many still. */
static int64_t unplace(struct op *op, struct rsc_dfn *rd, int64_t wanted, may_go_fn *may)
{
        struct unplacing u;
        int64_t have = 0;
        if (!begin_unplacing(op, rd, &u)) return 0;
        for (uint32_t i = 0; i < u.rscs_n; i++) have += op_is_replica(&u.rscs[i]);
        if (have <= wanted) return 0;
        struct rsc *r = pick(op, rd, &u, wanted, may);
        if (r == NULL) return have - wanted;
        auto_rc(op, RC_DELETED, r, "is a replica too many: deleted");
        if (!op_stays_as_tie_breaker(op, rd, r)) op_drop_rsc(op, rd, r);
        return have - wanted - 1;
}

/* ---- auto-diskful ---- */

void op_auto_diskful(struct op *op, struct rsc_dfn *rd, struct rsc *r)
{
        const uint64_t busy = RSC_ADDING | RSC_REMOVING | rsc_flag_INACTIVE | rsc_flag_EVACUATE;
        struct rsc_grp g;
        const char *nodes[] = { r->node_name };
        struct select_filter nothing = { 0 };
        if ((r->flags & rsc_flag_DRBD_DISKLESS) != rsc_flag_DRBD_DISKLESS || (r->flags & busy) != 0) return;
        if (!op_in_use(op, r) || !op_saga_free(op, rd->name) || !op_find_rg(op, rd->rsc_grp_name, &g)) return;
        /* Where it is used is where it goes: of what the group wants, only pools and providers hold. */
        struct select_filter *f = op_filter_merge(op, g.select_filter, &nothing), here = { 0 };
        SET_N(&here, select_filter, node_name_list, nodes, 1);
        SET_N(&here, select_filter, storage_pool_list, f->storage_pool_list, f->storage_pool_list_n);
        SET_N(&here, select_filter, provider_list, f->provider_list, f->provider_list_n);
        SET(&here, select_filter, additional_place_count, 1);
        if (op_place_rd(op, rd, &here, false) <= 0 || !op_find_rsc(op, rd->name, r->node_name, r)) return;
        strmap_set(&r->props, PROP_DISKFUL_BY, BY_AUTO_DISKFUL, op->arena);
        MARK(r, rsc, props);
        SET(r, rsc, flags, r->flags | rsc_flag_AUTO_DISKFUL);
        row_put(op->tx, &rsc_type, r);
        auto_rc(op, RC_MODIFIED, r, "has been in use for long: it gets a disk");
}

static bool by_itself(const struct rsc *r)
{
        const char *by = strmap_get(&r->props, PROP_DISKFUL_BY);
        return by != NULL && (strcmp(by, BY_AUTO_PLACER) == 0 || strcmp(by, BY_AUTO_DISKFUL) == 0);
}

static bool may_be_cleaned_up(struct op *op, const struct rsc_dfn *rd, const struct rsc *r)
{
        struct node n;
        static const struct strmap none;
        const struct strmap *node = op_find_node(op, r->node_name, &n) ? &n.props : &none;
        return prop_bool(op_prop_chain(PROP_ALLOW_CLEANUP, &r->props, node, &rd->props, rg_props(op, rd),
                                 op_ctrl_props(op), NULL),
                true);
}

static bool goes_for_auto_diskful(struct op *op, const struct rsc_dfn *rd, const struct rsc *r)
{
        if ((r->flags & rsc_flag_AUTO_DISKFUL) != 0) return false;
        return by_itself(r) || may_be_cleaned_up(op, rd, r);
}

void op_auto_diskful_over(struct op *op, struct rsc_dfn *rd, struct rsc *r)
{
        if ((r->flags & rsc_flag_AUTO_DISKFUL) == 0 || !op_up_to_date(op, r)) return;
        if (may_be_cleaned_up(op, rd, r)) {
                if (!op_saga_free(op, rd->name)) return;
                if (unplace(op, rd, op_replicas_wanted(op, rd), goes_for_auto_diskful) != 0) return;
        }
        if (op_failed(op) || !op_find_rsc(op, rd->name, r->node_name, r)) return;
        SET(r, rsc, flags, r->flags & ~(uint64_t)rsc_flag_AUTO_DISKFUL);
        row_put(op->tx, &rsc_type, r);
        auto_rc(op, RC_MODIFIED, r, "is a replica like others now");
}

/* ---- disks that were lost ---- */

bool op_lost_disk(const struct obs_rsc *o)
{
        for (uint32_t i = 0; i < o->volumes_n; i++)
                if (o->volumes[i].disk_lost) return true;
        return false;
}

void op_skip_lost_disk(struct op *op, const struct rsc_dfn *rd, struct rsc *r)
{
        struct obs_rsc o;
        if ((r->flags & rsc_flag_DISKLESS) != 0 || op_skips_disk(op, rd, r)) return;
        if (!op_observed_rsc(op, r->rsc_name, r->node_name, &o) || !op_lost_disk(&o)) return;
        strmap_set(&r->props, PROP_SKIP_DISK, "True", op->arena);
        MARK(r, rsc, props);
        SET(r, rsc, revision, op->index);
        row_put(op->tx, &rsc_type, r);
        auto_rc(op, RC_MODIFIED, r, "has lost its disk: it is skipped");
        op_report(op, "DiskFailed",
                arena_printf(op->arena,
                        "Resource '%s' on node '%s': DRBD has lost its disk after an error. It is skipped "
                        "from "
                        "now on (property %s), and the resource goes on with the data of its peers. When the "
                        "disk works again, or it was no fault of the disk's, delete that property. When it "
                        "was replaced: 'outrigger resource toggle-disk --diskless', and then the same "
                        "without --diskless.",
                        r->rsc_name, r->node_name, PROP_SKIP_DISK));
}

/* ---- balancing ---- */

static int64_t number(struct op *op, const char *key, const struct rsc_dfn *rd, int64_t fallback)
{
        static const struct strmap none;
        const char *s = op_prop_chain(key, rd != NULL ? &rd->props : &none,
                rd != NULL ? rg_props(op, rd) : &none, op_ctrl_props(op), NULL);
        return s != NULL ? strtoll(s, NULL, 10) : fallback;
}

/* Nothing of it moves, or is in doubt, or is new; and it was not placed by hand alone. */
static bool may_be_balanced(struct op *op, const struct rsc_dfn *rd)
{
        const uint64_t moving = RSC_ADDING | RSC_REMOVING | rsc_flag_DELETE | rsc_flag_AUTO_DISKFUL |
                                rsc_flag_EVACUATE | rsc_flag_RESTORE_FROM_SNAPSHOT | rsc_flag_BACKUP_RESTORE;
        int64_t grace_s = number(op, "BalanceResourcesGracePeriod", NULL, BALANCE_GRACE_S), skipped = 0;
        bool placed = false;
        struct rsc *rscs;
        uint32_t n = op_list_rscs(op, rd->name, &rscs);
        const char *on = op_prop_chain(
                "BalanceResourcesEnabled", &rd->props, rg_props(op, rd), op_ctrl_props(op), NULL);
        if (!prop_bool(on, true) || rd->flags != 0 || !RD_HAS_LAYER(rd, "DRBD")) return false;
        for (uint32_t i = 0; i < n; i++) {
                const struct rsc *r = &rscs[i];
                int64_t age_s = (op->req->wall_ms - r->create_timestamp) / 1000;
                if ((r->flags & rsc_flag_EVICTED) == rsc_flag_EVICTED) continue;
                if ((r->flags & moving) != 0 || age_s < grace_s) return false;
                if ((r->flags & rsc_flag_DISKLESS) != 0) continue;
                placed = placed || by_itself(r);
                if (!op_is_replica(r)) skipped++;
                else if (!op_up_to_date(op, r)) return false;
        }
        return placed && skipped <= number(op, "BalanceResourcesSkipDiskLimit", rd, BALANCE_SKIP_DISK_LIMIT);
}

static bool goes_for_balance(struct op *op, const struct rsc_dfn *rd, const struct rsc *r)
{
        (void)op;
        (void)rd;
        return by_itself(r);
}

void op_int_rsc_balance(struct op *op)
{
        const struct rsc_settle *b = OP_BODY(op, rsc_settle);
        struct rsc_dfn rd;
        struct rsc_grp g;
        struct rsc *rscs;
        struct select_filter nothing = { 0 };
        int64_t have = 0;
        if (!op_find_rd(op, b->rsc_name, &rd) || !may_be_balanced(op, &rd) ||
                !op_find_rg(op, rd.rsc_grp_name, &g) || !op_saga_free(op, rd.name))
                return;
        int64_t wanted = op_replicas_wanted(op, &rd);
        uint32_t n = op_list_rscs(op, rd.name, &rscs);
        for (uint32_t i = 0; i < n; i++) have += op_is_replica(&rscs[i]);
        if (have > wanted) {
                (void)unplace(op, &rd, wanted, goes_for_balance);
        } else if (have < wanted) {
                struct select_filter *f = op_filter_merge(op, g.select_filter, &nothing);
                UNSET(f, select_filter, diskless_on_remaining);
                f->diskless_on_remaining = false;
                (void)op_place_rd(op, &rd, f, true);
        }
}
