/* The autoplacer: which pools shall hold the replicas of a resource. A pure function of plain structs.
 *
 * It drops the pools that cannot be used, scores the rest, and takes the set with the highest sum of scores
 * that keeps every rule; ties go to the lesser node and pool name. The search is exhaustive up to
 * PLACE_STEPS_MAX steps, then the best set so far counts. Ownership: strings are borrowed, results come from
 * the arena. */
#ifndef STATE_PLACE_H
#define STATE_PLACE_H

#include "wire/base/err.h"
#include "wire/def/types.h"

#define PLACE_COUNT_MAX 32
#define PLACE_STEPS_MAX 2000000

enum place_verdict {
        PLACE_OK,
        PLACE_NODE_UNUSABLE, /* place_node.why */
        PLACE_NODE_NOT_LISTED,
        PLACE_POOL_NOT_LISTED,
        PLACE_KIND, /* diskless or not, provider not listed, mixing */
        PLACE_UNKNOWN_SPACE,
        PLACE_TOO_SMALL,
        PLACE_MIN_FREE, /* thin pool that is nearly full */
        PLACE_RULE,     /* same, different, at most so many */
        PLACE_VERDICT_N
};

struct place_node {
        const char *name;
        const struct strmap *props;
        const char *why;    /* not NULL: cannot be used, and why */
        bool deployed;      /* has a replica that counts for the rules: cannot get another */
        bool no_mixing;     /* its DRBD cannot join what is not of the same size */
        uint64_t kinds;     /* bits (1 << provider_kind) of the volumes of that replica */
        const char *shared; /* space of that replica's pool that is shared with other nodes, or NULL */
};
struct place_pool {
        uint32_t node; /* index */
        const char *name;
        enum provider_kind kind;
        const char *shared_space;       /* NULL or "": its own */
        int64_t free_kib, total_kib;    /* -1 = not known */
        uint64_t pending_kib;           /* promised to volumes that are not made yet: not in free_kib */
        uint64_t extra_kib;             /* that the replica takes here beside its volumes, for caches */
        uint64_t reserved_kib;          /* sum of the sizes of all its volumes */
        double ratio_free, ratio_total; /* oversubscription */
        uint64_t min_free_kib;          /* a thin pool must have that much */
        uint32_t volumes;
        bool forbidden; /* a rule outside of this one */
        /* results */
        enum place_verdict verdict;
        uint64_t estimate_kib;
        double score;
};
struct place_input {
        const struct place_node *nodes;
        uint32_t nodes_n;
        struct place_pool *pools; /* verdict, estimate and score are filled in */
        uint32_t pools_n;
        uint32_t count;    /* replicas wanted */
        uint64_t size_kib; /* of all volumes of one replica together */
        bool diskless;     /* diskless replicas are wanted */
        bool mixing;       /* where nodes can: kinds of different families may be mixed */
        const struct select_filter *
                filter; /* node_name_list, storage_pool_list, provider_list, replicas_on_*, x_replicas_on_* */
        double weight_free, weight_reserved, weight_count;
};
struct place_result {
        uint32_t *pools; /* indexes, in the order of preference */
        uint32_t n;
        double score;
};
/* 0; E_NOT_FOUND: there is no such set (verdicts say what was wrong with each pool); E_INVALID: the replicas
 * that exist contradict the rules already, f says how; E_LIMIT: arena. */
int place_run(struct place_input *in, struct arena *a, struct place_result *ret, struct fail *f) MUST_USE;
/* How many of the filter's rules about nodes the replica on that node (deployed) breaks, by itself or beside the other replicas. */
unsigned place_breaks(const struct place_input *in, uint32_t node, struct arena *a);
/* Scores all pools of nodes with replicas, as if they were to be chosen from. */
void place_scores(struct place_input *in, struct arena *a);
/* min(free × ratio, total × ratio − reserved), 0 when unknown, UINT64_MAX for diskless pools. */
uint64_t place_estimate(const struct place_pool *p);
bool place_is_thin(enum provider_kind kind);
/* May volumes of both kinds belong to one resource? */
bool place_kinds_mix(enum provider_kind a, enum provider_kind b);
/* The same where AllowMixingStoragePoolDriver holds: families of volume groups and ZFS; not those of files. */
bool place_kinds_can_mix(enum provider_kind a, enum provider_kind b);
const char *place_verdict_text(enum place_verdict v);

#endif
