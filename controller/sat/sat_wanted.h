/* What a satellite is to have, computed from the replicated state: level-triggered, so that whoever is the
 * leader arrives at the same answer and nothing has to be remembered but what was already sent.
 *
 * Two parts. struct sat_dirty says what of a node may differ from what its satellite was told; it is filled
 * from the keys of applied write-sets. The builders turn a view of the state into a sat_wanted message, whole
 * or as a difference.
 *
 * Pure: no clock, no sockets, no randomness. Messages point into the arena. Threads: one at a time per
 * object. */
#ifndef CONTROLLER_SAT_SAT_WANTED_H
#define CONTROLLER_SAT_SAT_WANTED_H

#include "state/table.h"
#include "wire/def/types.h"

/* More changed resources than that, and everything is sent again. */
#define SAT_DIRTY_MAX 512

/* What one row of an applied entry means to satellites. Strings are borrowed, names in key form (upper case).
 */
enum sat_change_kind {
        SAT_CHANGE_ALL,       /* anything of the node may differ */
        SAT_CHANGE_HEAD,      /* pools or properties of the node itself */
        SAT_CHANGE_RSC,       /* one resource */
        SAT_CHANGE_TOMBSTONE, /* a tombstone came or went */
        SAT_CHANGE_FILES,     /* external files */
        SAT_CHANGE_KIND_N
};
struct sat_change {
        enum sat_change_kind kind;
        const char *node_name; /* NULL: every node */
        const char *rsc_name;  /* RSC, TOMBSTONE */
        const char *uuid;      /* TOMBSTONE */
};
typedef void sat_change_fn(void *arg, const struct sat_change *c);
/* Calls fn for what the key of a stored row stands for; tx is a view in which the change is applied. */
void sat_wanted_key(struct tx *tx, struct blob key, struct arena *a, sat_change_fn *fn, void *arg);
/* The same for each key of an encoded write-set (empty: an entry that is no command). 0 or an error: then
 * take everything as changed. */
int sat_wanted_entry(
        struct tx *tx, struct blob writeset, struct arena *a, sat_change_fn *fn, void *arg) MUST_USE;

/* What of one node may differ from what its satellite was told. Zeroed is valid and clean. */
struct sat_dirty {
        bool all, head, files;
        struct sat_dirty_name {
                char *rsc_name, *uuid; /* uuid: NULL or a tombstone of that name */
        } * names;
        uint32_t names_n, names_cap;
};
void sat_dirty_done(struct sat_dirty *d); /* frees; clean afterwards */
bool sat_dirty_any(const struct sat_dirty *d);
/* c's node is not looked at. */
void sat_dirty_add(struct sat_dirty *d, const struct sat_change *c);
/* Adds what from has to d; from is clean afterwards. */
void sat_dirty_move(struct sat_dirty *d, struct sat_dirty *from);

struct sat_wanted_args {
        const char *node_name;
        uint64_t term;
        uint64_t revision;      /* applied index of the view */
        uint64_t base_revision; /* what the satellite has; for a difference */
};
/* Everything that the node is to have. 0, E_NOT_FOUND when there is no such node, or a storage error. */
int sat_wanted_full(
        struct tx *tx, const struct sat_wanted_args *args, struct arena *a, struct sat_wanted *ret) MUST_USE;
/* Pools, properties, and what d names. E_STALE: a difference cannot express it, send everything. */
int sat_wanted_diff(struct tx *tx, const struct sat_wanted_args *args, const struct sat_dirty *d,
        struct arena *a, struct sat_wanted *ret) MUST_USE;

/* ---- sat_wanted_snap.c ---- */
/* The saga for which the resource's I/O is to be held, or NULL. */
const char *sat_wanted_hold(struct tx *tx, const char *rsc_name, struct arena *a);
/* A snapshot of a node. E_CORRUPT when a row of it is missing. */
int sat_wanted_snap(struct tx *tx, const char *rsc_name, const char *snap_name, const char *node_name,
        struct arena *a, struct sat_snap *ret) MUST_USE;

#endif
