/* Secondary indexes, declared once in wire/def/index.def. row_put and row_del keep them; nobody else writes
 * them. Read them like any table: row_scan over &idx_rsc_node_type with the node as prefix, row_get on a
 * unique one.
 *
 * Ownership: rows are built in the caller's arena. Threads: pure functions of a tx. */
#ifndef STATE_INDEX_H
#define STATE_INDEX_H

#include "state/tx.h"
#include "wire/codec/schema.h"
#include "wire/def/types.h"

/* ---- resources that are on their way to something else (idx_rsc_busy) ---- */
#define RSC_ADDING (rsc_flag_DISK_ADD_REQUESTED | rsc_flag_DISK_ADDING)
#define RSC_REMOVING (rsc_flag_DISK_REMOVE_REQUESTED | rsc_flag_DISK_REMOVING)
/* Property of a resource: the node whose disk goes when this one's is up to date. */
#define PROP_MIGRATE_FROM "MigrateFrom"
/* A disk comes or goes, or another one is waited for. */
bool rsc_is_busy(const struct rsc *r);

/* One index row in stored form. */
struct index_row {
        const struct type_desc *type;
        struct blob key, value;
};
struct index_rows {
        struct index_row *rows; /* keys are unique */
        uint32_t n, cap;
        int err; /* sticky: an encoding failed, or the arena is full */
};

/* Does any index follow from rows of type t? */
bool index_has(const struct type_desc *t);
/* Is t itself an index? */
bool index_is(const struct type_desc *t);
/* The i-th type that rows of the index follow from, NULL when there are no more. */
const struct type_desc *index_source(const struct type_desc *index, unsigned i);
/* The index rows that follow from obj, of type t, at the feature level of tx, in no particular order. 0, E_LIMIT or an
 * error of encoding. */
int index_extract(struct tx *tx, const struct type_desc *t, const void *obj, struct arena *a,
        struct index_rows *ret) MUST_USE;
/* Does an index of a level above `from` and up to `to` follow from rows of type t? */
bool index_is_new(const struct type_desc *t, unsigned from, unsigned to);
/* Writes the rows of those indexes for one object that exists: for the raise of the level. As index_update. */
int index_catch_up(struct tx *tx, const struct type_desc *t, const void *obj, unsigned from, unsigned to,
        struct arena *a);
/* Replaces the index rows of old (NULL: none) by those of new (NULL: none); rows that stay are not written.
 * E_EXISTS (sticks to tx) when a unique index row belongs to another object. */
int index_update(struct tx *tx, const struct type_desc *t, const void *old, const void *new, struct arena *a);

#endif
