/* The autoplacer, see place.h. Property values are numbered first, so that the search compares integers. */
#include "state/place.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "wire/codec/codec.h"

#define RULES_MAX 64
#define VALUE_NONE UINT32_MAX /* the node has no such property */

enum rule_kind { RULE_SAME, RULE_DIFFERENT, RULE_X };
struct rule {
        enum rule_kind kind;
        const char *key;
        size_t key_n;
        const char *value; /* of key=value; NULL: any */
        int64_t max;       /* RULE_X */
        uint32_t *ids;     /* per node: number of its value */
};

struct search {
        struct place_input *in;
        struct rule rules[RULES_MAX];
        uint32_t rules_n;
        uint32_t *deployed; /* nodes with replicas */
        uint32_t deployed_n;
        uint32_t *order; /* usable pools, best first */
        uint32_t order_n;
        double *sums; /* sums[i]: of the scores of order[0..i-1] */
        uint32_t chosen[PLACE_COUNT_MAX], best[PLACE_COUNT_MAX];
        double best_score;
        bool found;
        uint64_t steps;
};

/* ---- kinds ---- */

bool place_is_thin(enum provider_kind kind)
{
        return kind == provider_kind_LVM_THIN || kind == provider_kind_ZFS_THIN ||
               kind == provider_kind_FILE_THIN || kind == provider_kind_STORAGE_SPACES_THIN;
}

/* Kinds of one family round sizes alike. */
static unsigned family(enum provider_kind kind)
{
        switch (kind) {
        case provider_kind_LVM: return 1;
        case provider_kind_LVM_THIN: return 2;
        case provider_kind_ZFS:
        case provider_kind_ZFS_THIN: return 3;
        case provider_kind_FILE:
        case provider_kind_FILE_THIN: return 4;
        case provider_kind_SPDK:
        case provider_kind_REMOTE_SPDK: return 5;
        case provider_kind_EBS_TARGET:
        case provider_kind_EBS_INIT: return 6;
        case provider_kind_STORAGE_SPACES:
        case provider_kind_STORAGE_SPACES_THIN: return 7;
        case provider_kind_DISKLESS:
        case provider_kind_N: break;
        }
        return 0;
}

bool place_kinds_mix(enum provider_kind a, enum provider_kind b)
{
        unsigned fa = family(a), fb = family(b);
        return fa == 0 || fb == 0 || fa == fb;
}

bool place_kinds_can_mix(enum provider_kind a, enum provider_kind b)
{
        static const unsigned blocks = 1U << 1 | 1U << 2 | 1U << 3; /* LVM, LVM_THIN, ZFS */
        return place_kinds_mix(a, b) || ((blocks >> family(a) & 1) != 0 && (blocks >> family(b) & 1) != 0);
}

uint64_t place_estimate(const struct place_pool *p)
{
        if (p->kind == provider_kind_DISKLESS) return UINT64_MAX;
        if (p->free_kib < 0 || p->total_kib < 0) return 0;
        double free_kib = (double)p->free_kib * p->ratio_free - (double)p->pending_kib - (double)p->extra_kib;
        double total = (double)p->total_kib * p->ratio_total - (double)p->reserved_kib - (double)p->extra_kib;
        double least = free_kib < total ? free_kib : total;
        if (least <= 0) return 0;
        return least >= 9e18 ? (uint64_t)INT64_MAX : (uint64_t)least;
}

const char *place_verdict_text(enum place_verdict v)
{
        static const char *const texts[PLACE_VERDICT_N] = {
                [PLACE_OK] = "usable",
                [PLACE_NODE_UNUSABLE] = "node cannot be used",
                [PLACE_NODE_NOT_LISTED] = "node is not among those allowed",
                [PLACE_POOL_NOT_LISTED] = "pool is not among those allowed",
                [PLACE_KIND] = "provider does not fit",
                [PLACE_UNKNOWN_SPACE] = "free space is not known",
                [PLACE_TOO_SMALL] = "not enough free space",
                [PLACE_MIN_FREE] = "thin pool is nearly full",
                [PLACE_RULE] = "rules for the properties of nodes",
        };
        return texts[v];
}

/* ---- rules ---- */

static const char *value_of(const struct place_node *n, const struct rule *r, char *key)
{
        memcpy(key, r->key, r->key_n);
        key[r->key_n] = '\0';
        return n->props != NULL ? strmap_get(n->props, key) : NULL;
}

/* Numbers the values of the rule's property: equal values, equal numbers. */
static int number_values(const struct place_input *in, struct rule *r, struct arena *a)
{
        char *key = arena_try(a, r->key_n + 1);
        const char **seen = arena_array(a, const char *, in->nodes_n + 1);
        r->ids = arena_array(a, uint32_t, in->nodes_n + 1);
        if (key == NULL || seen == NULL || r->ids == NULL) return E_LIMIT;
        uint32_t seen_n = 0;
        for (uint32_t i = 0; i < in->nodes_n; i++) {
                const char *v = value_of(&in->nodes[i], r, key);
                r->ids[i] = VALUE_NONE;
                if (v == NULL) continue;
                uint32_t k = 0;
                while (k < seen_n && strcmp(seen[k], v) != 0) k++;
                if (k == seen_n) seen[seen_n++] = v;
                r->ids[i] = k;
        }
        return 0;
}

static int add_rule(struct search *s, enum rule_kind kind, const char *text, int64_t max, struct arena *a)
{
        if (s->rules_n == RULES_MAX) return E_LIMIT;
        struct rule *r = &s->rules[s->rules_n++];
        const char *eq = kind != RULE_X ? strchr(text, '=') : NULL;
        *r = (struct rule){ .kind = kind,
                .key = text,
                .key_n = eq != NULL ? (size_t)(eq - text) : strlen(text),
                .value = eq != NULL ? eq + 1 : NULL,
                .max = max };
        return number_values(s->in, r, a);
}

static int make_rules(struct search *s, struct arena *a)
{
        const struct select_filter *f = s->in->filter;
        int err = 0;
        for (uint32_t i = 0; err == 0 && i < f->replicas_on_same_n; i++)
                err = add_rule(s, RULE_SAME, f->replicas_on_same[i], 0, a);
        for (uint32_t i = 0; err == 0 && i < f->replicas_on_different_n; i++)
                err = add_rule(s, RULE_DIFFERENT, f->replicas_on_different[i], 0, a);
        for (uint32_t i = 0; err == 0 && i < f->x_replicas_on_different.n; i++)
                err = add_rule(
                        s, RULE_X, f->x_replicas_on_different.keys[i], f->x_replicas_on_different.vals[i], a);
        return err;
}

/* Rules that one node keeps or breaks by itself. */
static bool node_keeps(const struct search *s, uint32_t node, struct arena *a)
{
        for (uint32_t i = 0; i < s->rules_n; i++) {
                const struct rule *r = &s->rules[i];
                if (r->kind == RULE_SAME && r->ids[node] == VALUE_NONE) return false;
                if (r->value == NULL) continue;
                char *key = arena_alloc(a, r->key_n + 1);
                const char *v = value_of(&s->in->nodes[node], r, key);
                bool equal = v != NULL && strcmp(v, r->value) == 0;
                if (equal != (r->kind == RULE_SAME)) return false;
        }
        return true;
}

/* Rules between two nodes. A node without the property is in a group with the others that lack it. */
static bool pair_keeps(const struct search *s, uint32_t a, uint32_t b)
{
        for (uint32_t i = 0; i < s->rules_n; i++) {
                const struct rule *r = &s->rules[i];
                if (r->value != NULL || r->kind == RULE_X) continue;
                if ((r->ids[a] == r->ids[b]) != (r->kind == RULE_SAME)) return false;
        }
        return true;
}

/* The i-th replica: those that exist first, then those chosen. */
static uint32_t node_of(const struct search *s, uint32_t i)
{
        return i < s->deployed_n ? s->deployed[i] : s->in->pools[s->order[s->chosen[i - s->deployed_n]]].node;
}

/* At most max replicas for each value, among those there and node. */
static bool x_admits(const struct search *s, uint32_t chosen_n, uint32_t node)
{
        for (uint32_t i = 0; i < s->rules_n; i++) {
                const struct rule *r = &s->rules[i];
                int64_t same = 1;
                if (r->kind != RULE_X) continue;
                for (uint32_t k = 0; k < s->deployed_n + chosen_n; k++)
                        same += r->ids[node_of(s, k)] == r->ids[node];
                if (same > r->max) return false;
        }
        return true;
}

/* At most one value may have fewer replicas than it is allowed. */
static bool x_complete(const struct search *s)
{
        uint32_t n = s->deployed_n + s->in->count;
        for (uint32_t i = 0; i < s->rules_n; i++) {
                const struct rule *r = &s->rules[i];
                uint32_t partial = 0;
                if (r->kind != RULE_X) continue;
                for (uint32_t k = 0; k < n; k++) {
                        int64_t same = 0;
                        bool first = true;
                        for (uint32_t m = 0; m < n; m++) {
                                bool equal = r->ids[node_of(s, m)] == r->ids[node_of(s, k)];
                                same += equal;
                                if (equal && m < k) first = false;
                        }
                        if (first && same < r->max) partial++;
                }
                if (partial > 1) return false;
        }
        return true;
}

/* ---- filters ---- */

static bool listed(const char *name, const char *const *list, uint32_t n)
{
        if (n == 0) return true;
        for (uint32_t i = 0; i < n; i++)
                if (strcasecmp(list[i], name) == 0) return true;
        return false;
}

/* May these kinds be on these two nodes, a and b? */
static bool may_mix(
        const struct search *s, uint32_t a, enum provider_kind kind_a, uint32_t b, enum provider_kind kind_b)
{
        if (place_kinds_mix(kind_a, kind_b)) return true;
        return s->in->mixing && place_kinds_can_mix(kind_a, kind_b) && !s->in->nodes[a].no_mixing &&
               !s->in->nodes[b].no_mixing;
}

static bool mixes_with_deployed(const struct search *s, const struct place_pool *p)
{
        for (uint32_t i = 0; i < s->deployed_n; i++)
                for (unsigned k = 0; k < provider_kind_N; k++)
                        if ((s->in->nodes[s->deployed[i]].kinds >> k & 1) != 0 &&
                                !may_mix(s, p->node, p->kind, s->deployed[i], (enum provider_kind)k))
                                return false;
        return true;
}

static bool has_text(const char *s) { return s != NULL && s[0] != '\0'; }

static bool shares_with_deployed(const struct search *s, const struct place_pool *p)
{
        for (uint32_t i = 0; has_text(p->shared_space) && i < s->deployed_n; i++) {
                const char *shared = s->in->nodes[s->deployed[i]].shared;
                if (has_text(shared) && strcasecmp(shared, p->shared_space) == 0) return true;
        }
        return false;
}

static bool kind_fits(const struct search *s, const struct place_pool *p)
{
        const struct select_filter *f = s->in->filter;
        bool diskless = p->kind == provider_kind_DISKLESS;
        if (diskless != s->in->diskless) return false;
        if (!listed(enum_name(&provider_kind_enum, p->kind), f->provider_list, f->provider_list_n))
                return false;
        return diskless || mixes_with_deployed(s, p);
}

static enum place_verdict space_fits(const struct search *s, const struct place_pool *p)
{
        if (p->kind == provider_kind_DISKLESS) return PLACE_OK;
        if (p->free_kib < 0 || p->total_kib < 0) return PLACE_UNKNOWN_SPACE;
        if (p->estimate_kib < s->in->size_kib) return PLACE_TOO_SMALL;
        if (place_is_thin(p->kind) && (uint64_t)p->free_kib < p->min_free_kib) return PLACE_MIN_FREE;
        return PLACE_OK;
}

static enum place_verdict judge(const struct search *s, struct place_pool *p, struct arena *a)
{
        const struct select_filter *f = s->in->filter;
        const struct place_node *n = &s->in->nodes[p->node];
        const char *const *pools = f->storage_pool_list;
        uint32_t pools_n = f->storage_pool_list_n;
        if (s->in->diskless) {
                pools = f->storage_pool_diskless_list;
                pools_n = f->storage_pool_diskless_list_n;
        }
        p->estimate_kib = place_estimate(p);
        p->score = 0;
        if (n->why != NULL || n->deployed || p->forbidden) return PLACE_NODE_UNUSABLE;
        if (!listed(n->name, f->node_name_list, f->node_name_list_n)) return PLACE_NODE_NOT_LISTED;
        if (!listed(p->name, pools, pools_n)) return PLACE_POOL_NOT_LISTED;
        if (!kind_fits(s, p)) return PLACE_KIND;
        if (shares_with_deployed(s, p) || !node_keeps(s, p->node, a) || !x_admits(s, 0, p->node))
                return PLACE_RULE;
        for (uint32_t i = 0; i < s->deployed_n; i++)
                if (!pair_keeps(s, s->deployed[i], p->node)) return PLACE_RULE;
        return space_fits(s, p);
}

/* ---- scores ---- */

static void score(const struct place_input *in, const uint32_t *pools, uint32_t n)
{
        double most_free = 0, most_reserved = 0, most_volumes = 0;
        for (uint32_t i = 0; i < n; i++) {
                const struct place_pool *p = &in->pools[pools[i]];
                most_free = MAX(most_free, (double)p->estimate_kib);
                most_reserved = MAX(most_reserved, (double)p->reserved_kib);
                most_volumes = MAX(most_volumes, (double)p->volumes);
        }
        for (uint32_t i = 0; i < n; i++) {
                struct place_pool *p = &in->pools[pools[i]];
                if (most_free > 0) p->score += in->weight_free * ((double)p->estimate_kib / most_free);
                if (most_reserved > 0)
                        p->score -= in->weight_reserved * ((double)p->reserved_kib / most_reserved);
                if (most_volumes > 0) p->score -= in->weight_count * ((double)p->volumes / most_volumes);
        }
}

static int by_preference(const void *x, const void *y, void *arg)
{
        const struct place_input *in = arg;
        const uint32_t *ix = x, *iy = y;
        const struct place_pool *a = &in->pools[*ix], *b = &in->pools[*iy];
        if (a->score > b->score) return -1;
        if (a->score < b->score) return 1;
        int c = strcasecmp(in->nodes[a->node].name, in->nodes[b->node].name);
        return c != 0 ? c : strcasecmp(a->name, b->name);
}

/* ---- search ---- */

static bool admits(const struct search *s, uint32_t chosen_n, uint32_t at)
{
        const struct place_pool *p = &s->in->pools[s->order[at]];
        for (uint32_t i = 0; i < chosen_n; i++) {
                const struct place_pool *q = &s->in->pools[s->order[s->chosen[i]]];
                if (q->node == p->node || !pair_keeps(s, q->node, p->node)) return false;
                if (!may_mix(s, p->node, p->kind, q->node, q->kind)) return false;
                if (has_text(p->shared_space) && has_text(q->shared_space) &&
                        strcasecmp(p->shared_space, q->shared_space) == 0)
                        return false;
        }
        return x_admits(s, chosen_n, p->node);
}

/* Depth is at most PLACE_COUNT_MAX. Pools come best first, so what can still be gained is a difference of
 * sums. */
static void look(struct search *s, uint32_t chosen_n, uint32_t from, double sum)
{
        uint32_t left = s->in->count - chosen_n;
        if (left == 0) {
                if ((s->found && sum <= s->best_score) || !x_complete(s)) return;
                s->found = true;
                s->best_score = sum;
                memcpy(s->best, s->chosen, sizeof s->best);
                return;
        }
        for (uint32_t i = from; i + left <= s->order_n; i++) {
                if (s->found && sum + s->sums[i + left] - s->sums[i] <= s->best_score) return;
                if (++s->steps > PLACE_STEPS_MAX) return;
                if (!admits(s, chosen_n, i)) continue;
                s->chosen[chosen_n] = i;
                look(s, chosen_n + 1, i + 1, sum + s->in->pools[s->order[i]].score);
        }
}

static int deployed_consistent(const struct search *s, struct fail *f)
{
        for (uint32_t i = 0; i < s->deployed_n; i++)
                for (uint32_t k = i + 1; k < s->deployed_n; k++)
                        if (!pair_keeps(s, s->deployed[i], s->deployed[k]))
                                return fail_set(f, E_INVALID,
                                        "the replicas on nodes %s and %s break the rules for properties of "
                                        "nodes already",
                                        s->in->nodes[s->deployed[i]].name, s->in->nodes[s->deployed[k]].name);
        return 0;
}

static int prepare(struct search *s, struct arena *a, struct fail *f)
{
        struct place_input *in = s->in;
        s->deployed = arena_array(a, uint32_t, in->nodes_n + 1);
        s->order = arena_array(a, uint32_t, in->pools_n + 1);
        s->sums = arena_array(a, double, in->pools_n + 1);
        if (s->deployed == NULL || s->order == NULL || s->sums == NULL) return E_LIMIT;
        int err = make_rules(s, a);
        if (err != 0) return fail_set(f, err, "there are too many rules");
        for (uint32_t i = 0; i < in->nodes_n; i++)
                if (in->nodes[i].deployed) s->deployed[s->deployed_n++] = i;
        err = deployed_consistent(s, f);
        if (err != 0) return err;
        for (uint32_t i = 0; i < in->pools_n; i++) {
                in->pools[i].verdict = judge(s, &in->pools[i], a);
                if (in->pools[i].verdict == PLACE_OK) s->order[s->order_n++] = i;
        }
        score(s->in, s->order, s->order_n);
        qsort_r(s->order, s->order_n, sizeof s->order[0], by_preference, in);
        s->sums[0] = 0;
        for (uint32_t i = 0; i < s->order_n; i++) s->sums[i + 1] = s->sums[i] + in->pools[s->order[i]].score;
        return 0;
}

int place_run(struct place_input *in, struct arena *a, struct place_result *ret, struct fail *f)
{
        static const struct select_filter nothing;
        if (in->filter == NULL) in->filter = &nothing;
        *ret = (struct place_result){ 0 };
        if (in->count > PLACE_COUNT_MAX)
                return fail_set(f, E_INVALID, "more than %d replicas", PLACE_COUNT_MAX);
        struct search *s = arena_new(a, struct search);
        s->in = in;
        int err = prepare(s, a, f);
        if (err != 0) return err;
        look(s, 0, 0, 0);
        if (!s->found) return fail_set(f, E_NOT_FOUND, "no set of pools satisfies the request");
        ret->pools = arena_array(a, uint32_t, in->count + 1);
        if (ret->pools == NULL) return E_LIMIT;
        for (uint32_t i = 0; i < in->count; i++) ret->pools[i] = s->order[s->best[i]];
        ret->n = in->count;
        ret->score = s->best_score;
        return 0;
}

/* ---- replicas that exist ---- */

static bool group_is_full(const struct place_input *in, const struct rule *r, uint32_t node)
{
        int64_t same = 0;
        for (uint32_t k = 0; k < in->nodes_n; k++) same += in->nodes[k].deployed && r->ids[k] == r->ids[node];
        return same > r->max;
}

static bool breaks(const struct place_input *in, const struct rule *r, uint32_t node, struct arena *a)
{
        if (r->kind == RULE_X) return group_is_full(in, r, node);
        if (r->kind == RULE_SAME && r->ids[node] == VALUE_NONE) return true;
        if (r->value != NULL) {
                char *key = arena_alloc(a, r->key_n + 1);
                const char *v = value_of(&in->nodes[node], r, key);
                return (v != NULL && strcmp(v, r->value) == 0) != (r->kind == RULE_SAME);
        }
        for (uint32_t k = 0; k < in->nodes_n; k++)
                if (k != node && in->nodes[k].deployed &&
                        (r->ids[k] == r->ids[node]) != (r->kind == RULE_SAME))
                        return true;
        return false;
}

unsigned place_breaks(const struct place_input *in, uint32_t node, struct arena *a)
{
        struct place_input copy = *in;
        struct search *s = arena_new(a, struct search);
        const struct select_filter *f = in->filter;
        unsigned n = !listed(in->nodes[node].name, f->node_name_list, f->node_name_list_n);
        s->in = &copy;
        if (make_rules(s, a) != 0) return n;
        for (uint32_t i = 0; i < s->rules_n; i++) n += breaks(in, &s->rules[i], node, a);
        return n;
}

void place_scores(struct place_input *in, struct arena *a)
{
        uint32_t *pools = arena_alloc(a, (in->pools_n + 1) * sizeof *pools), n = 0;
        for (uint32_t i = 0; i < in->pools_n; i++) {
                struct place_pool *p = &in->pools[i];
                if (!in->nodes[p->node].deployed || p->kind == provider_kind_DISKLESS) continue;
                p->estimate_kib = place_estimate(p);
                p->score = 0;
                pools[n++] = i;
        }
        score(in, pools, n);
}
