/* What the operations share: finding objects or refusing, effective properties, writing resources with
 * everything that hangs on them.
 *
 * Threads, ownership, purity: see op.h. Lookups that fail add the error entry themselves. */
#ifndef CONTROLLER_OP_OP_INTERNAL_H
#define CONTROLLER_OP_OP_INTERNAL_H

#include <strings.h>

#include "controller/base/names.h"
#include "controller/base/props.h"
#include "controller/op/op.h"
#include "wire/def/drbd_rules.h"

#define DFLT_RSC_GRP "DfltRscGrp"
#define DFLT_STOR_POOL "DfltStorPool"
#define DFLT_DISKLESS_POOL "DfltDisklessStorPool"
#define PLACE_COUNT_DEFAULT 2
#define VLM_NR_MAX 65534
#define VLM_SIZE_MAX_KIB (UINT64_C(1) << 40) /* 1 PiB */
#define DRBD_MINOR_MAX 1048575
#define SATELLITE_PORT 3366
#define SATELLITE_TLS_PORT 3367

/* Bounds on what one object and one request may hold, so that no request is too much for the leader's memory.
 */
#define PROPS_MAX 4096
#define ADJUST_MAX 200

#define OP_BODY(op, type) ((const struct type *)(op)->body)

static inline bool op_same(const char *a, const char *b) { return strcasecmp(a, b) == 0; }
static inline bool op_given(const char *s) { return s != NULL && s[0] != '\0'; }
static inline const char *op_text(const char *s) { return s != NULL ? s : ""; }
/* Keeps an error report of the controller. exception: the class of the error; message: what, why, what to do. Both
 * must live as long as the operation. */
void op_report(struct op *op, const char *exception, const char *message);
bool op_in_list(const char *name, const char *const *list, uint32_t n); /* any case */

/* ---- finding objects; silent forms: op_find_*, with an error entry: op_need_* ---- */
bool op_find_node(struct op *op, const char *name, struct node *ret);
bool op_find_pool(struct op *op, const char *node, const char *pool, struct stor_pool *ret);
bool op_find_rd(struct op *op, const char *name, struct rsc_dfn *ret);
bool op_find_vd(struct op *op, const char *rsc, uint64_t number, struct vlm_dfn *ret);
bool op_find_rsc(struct op *op, const char *rsc, const char *node, struct rsc *ret);
/* The default group is made when it is not there. */
bool op_find_rg(struct op *op, const char *name, struct rsc_grp *ret);
bool op_need_node(struct op *op, const char *name, struct node *ret);
bool op_need_rd(struct op *op, const char *name, struct rsc_dfn *ret);
bool op_need_vd(struct op *op, const char *rsc, const char *number, struct vlm_dfn *ret);
bool op_need_rg(struct op *op, const char *name, struct rsc_grp *ret);
bool op_need_rsc(struct op *op, const char *rsc, const char *node, struct rsc *ret);
/* A volume number of the path. */
bool op_parse_number(const char *s, uint64_t *ret);
/* Resources of a definition, volume definitions, in key order; the arrays are in the arena. */
uint32_t op_list_rscs(struct op *op, const char *rsc, struct rsc **ret);
uint32_t op_list_vds(struct op *op, const char *rsc, struct vlm_dfn **ret);
uint32_t op_list_rscs_of_node(struct op *op, const char *node, struct rsc **ret);
const struct strmap *op_ctrl_props(struct op *op);
/* What the satellite of the node reported, or false. */
bool op_observed_node(struct op *op, const char *node, struct obs_node *ret);
/* For operations whose outcome depends on it: while the leader has not tried to reach that satellite, the whole operation is
 * evaluated again later (op->early). One that is then refused waits until a satellite that is away has been tried once more. */
bool op_node_online(struct op *op, const char *node);
/* The same for operations that would do less, or harm, if it had just come back: they wait for that try in any case. */
bool op_node_surely_online(struct op *op, const char *node);
bool op_observed_pool(struct op *op, const char *node, const char *pool, struct obs_pool *ret);
bool op_observed_rsc(struct op *op, const char *rsc, const char *node, struct obs_rsc *ret);
bool op_in_use(struct op *op, const struct rsc *r);
/* It is refused for what satellites have said so far. Each member hears them for itself, and whoever asks may have seen or done
 * something newer: the member that was asked tries again for a moment before it says so. */
void op_ask_again(struct op *op);
/* The node says that somebody uses it, not who: how that is found out there. Asked again for a moment, as above. */
void op_explain_use(struct op *op, struct api_rc *rc, const struct rsc *r);

/* ---- layers, providers ---- */
bool op_has_layer(const char *const *stack, uint32_t n, const char *layer);
#define RD_SLOTS(rd) (HAS(rd, rsc_dfn, drbd_peer_slots) ? (unsigned)(rd)->drbd_peer_slots : 0)
#define RD_HAS_LAYER(rd, layer) op_has_layer((rd)->layer_stack, (rd)->layer_stack_n, layer)
/* Checks a list of layer names and normalises it: upper case, STORAGE at the end (with a warning). false:
 * refused. */
bool op_layer_stack(struct op *op, const char *const *in, uint32_t n, const char ***ret, uint32_t *ret_n);
bool op_is_thin(enum provider_kind kind);
/* May volumes of both kinds belong to one definition? */
bool op_kinds_mix(enum provider_kind a, enum provider_kind b);
/* Which layers of the stack does the node lack? NULL: none, or nothing is known of the node. Else a text with
 * reasons. */
const char *op_layers_lacking(struct op *op, const char *node, const char *const *stack, uint32_t n);

/* ---- properties ---- */
/* Applies a modification to props; false when an entry refuses it. *ret_matters (NULL allowed): satellites
 * must hear. */
bool op_props_modify(struct op *op, enum prop_scope scope, struct strmap *props, const struct prop_mod *mod,
        bool *ret_matters);
/* Checks props of a new object into *ret. */
bool op_props_new(struct op *op, enum prop_scope scope, const struct strmap *in, struct strmap *ret);
/* The part of a modifying body that all have in common. */
#define OP_PROP_MOD(b)                                             \
        ((struct prop_mod){ .override_props = (b)->override_props, \
                .delete_props = (b)->delete_props,                 \
                .delete_props_n = (b)->delete_props_n,             \
                .delete_namespaces = (b)->delete_namespaces,       \
                .delete_namespaces_n = (b)->delete_namespaces_n })
/* First of several maps (NULL-terminated) that has the key, or NULL. */
const char *op_prop_chain(const char *key, ...) __attribute__((sentinel));

/* ---- writing ---- */
/* Flags of a request: "NAME" sets, "-NAME" clears. false: refused. */
bool op_flags_modify(struct op *op, const struct flags_desc *d, uint64_t allowed, const char *const *names,
        uint32_t n, uint64_t *flags);
/* Puts a resource: stamps the revision, keeps the sums of its pools, chooses pools for what its layers need beside its volumes
 * (op_extra.h), which may refuse the operation. old: as stored before, NULL for a new one. */
void op_put_rsc(struct op *op, const struct rsc *old, struct rsc *r);
/* Removes a resource and leaves its tombstone; the answer waits until its node has removed it. */
void op_bury_rsc(struct op *op, const struct rsc_dfn *rd, const struct rsc *r);
/* Adds to (or takes from, sign -1) the sums of pools what these volumes are. */
void op_pool_usage(struct op *op, const char *node, const struct vlm *vlms, uint32_t n, int sign);
/* Satellites of all resources of the definition must look again; the answer waits for them. */
void op_touch_rd(struct op *op, const char *rsc);
/* A new diskful replica v of vd on node; others: diskful ones that are there already. Stores vd; v is the caller's to store. */
void op_drbd_replica(struct op *op, struct vlm_dfn *vd, const char *node, unsigned others, struct vlm *v);
/* Has the node DRBD 8.4 (as its satellite reported)? */
bool op_drbd_old(struct op *op, const char *node);
/* Can the node's DRBD join what different providers make of the same size? Not known: no. */
bool op_drbd_joins_sizes(struct op *op, const char *node);
/* May the node become a member, too, with these flags? 8.4 joins two with disks. false: refused. */
bool op_drbd_admits(struct op *op, const struct rsc_dfn *rd, const char *node, uint64_t flags);
/* How many resources of that name have disks. */
unsigned op_drbd_diskful(struct op *op, const char *rsc_name);
/* Something that peers have to know has changed: of a node, or (with: another node's name) of the connection of two. */
void op_drbd_touch_node(struct op *op, const char *node, const char *with);
/* Removes a resource definition with everything below it. */
void op_remove_rd(struct op *op, const struct rsc_dfn *rd);
/* Removes a node without a trace: rows of the node, its pools and their sums, its connections. */
void op_remove_node(struct op *op, const struct node *n);
/* Makes the definition of a pool name unless it is there. */
void op_ensure_spd(struct op *op, const char *pool);

/* ---- parts of operations that others use ---- */
struct rd_args {
        const char *name, *external_name, *rg_name;
        const struct strmap *props;
        const char **layer_stack; /* checked */
        uint32_t layer_stack_n;
        int64_t drbd_port, drbd_peer_slots; /* 0 = not given */
        const char *drbd_secret, *drbd_transport;
};
/* Creates the row and its entry. false: refused. */
bool op_make_rd(struct op *op, const struct rd_args *args, struct rsc_dfn *ret);
struct vd_args {
        bool has_number;
        int64_t number;
        int64_t size_kib;
        const struct strmap *props;
        uint64_t flags;
        int64_t minor;          /* -1 = not given */
        const char *passphrase; /* of an encrypted volume; NULL = a random key */
};
bool op_make_vd(struct op *op, struct rsc_dfn *rd, const struct vd_args *args, struct vlm_dfn *ret);
struct rsc_args {
        const char *node;
        const struct strmap *props;
        uint64_t flags;
        const char *pool; /* the autoplacer's choice, overrides the lookup; NULL = look up */
        const char *const *layer_list;
        uint32_t layer_list_n;
        int64_t drbd_node_id;       /* -1 = lowest free */
        const uint64_t *drbd_ports; /* NULL = lowest free */
        uint32_t drbd_ports_n;
        int64_t drbd_port_count;
        bool drbd_client;          /* diskless, and no voter */
        const char *diskful_by;    /* who wanted it to have a disk; NULL = the user */
        const struct snap *source; /* the volumes are made from this snapshot, in its pools; NULL = empty */
        const struct snap_dfn *source_dfn; /* the same */
};
/* Creates a resource on a node. false: refused. */
bool op_make_rsc(struct op *op, struct rsc_dfn *rd, const struct rsc_args *args);
/* The volumes of r, as its definition says, in pools of its node. false: refused. */
bool op_make_volumes(struct op *op, const struct node *n, const struct rsc_dfn *rd,
        const struct rsc_args *args, struct rsc *r);
/* May a resource of the definition be on that node? false: refused. */
bool op_node_ok(struct op *op, const struct node *n, const struct rsc_dfn *rd);
/* Decides the layer stack of a definition that has none yet. false: refused. */
bool op_decide_stack(struct op *op, struct rsc_dfn *rd, const char *const *wanted, uint32_t n);
/* The stack that the definition has or would get. */
void op_effective_stack(struct op *op, const struct rsc_dfn *rd, const char *const **ret, uint32_t *ret_n);
/* Lowest free DRBD minor, or -1 with an error entry. */
int64_t op_free_minor(struct op *op);
bool op_minor_taken(struct op *op, uint64_t minor);

bool op_pool_name_ok(struct op *op, const char *name); /* else an entry */
struct pool_args {
        const char *name;
        enum provider_kind kind;
        const struct strmap *props;
        const char *shared_space; /* NULL = none */
        bool external_locking;
};
/* Checks everything and fills in the row, without storing it. false: refused. */
bool op_pool_new(struct op *op, const struct node *n, const struct pool_args *args, struct stor_pool *ret);
/* Stores it, with the definition of its name. */
void op_pool_put(struct op *op, struct stor_pool *p);

/* ---- autoplacer ---- */
/* Filter of the group with the request's members over it; lists that are empty count as not given. */
struct select_filter *op_filter_merge(
        struct op *op, const struct select_filter *group, const struct select_filter *request);
/* Places what the filter wants. adjust: a failure is a warning and nothing happens. Returns how many were
 * created, -1 when it was refused. */
int op_place_rd(struct op *op, struct rsc_dfn *rd, const struct select_filter *filter, bool adjust);
/* Checks a filter of a request or a group and normalises it in place. false: refused. */
bool op_filter_check(struct op *op, struct select_filter *f);

#endif
