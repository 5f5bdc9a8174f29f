/* Shared by check.c (rows), check_refs.c (references) and check_groups.c (what several rows say together).
 * Ownership: a checker lives on the stack of its run. Threads: one. */
#ifndef STATE_CHECK_INTERNAL_H
#define STATE_CHECK_INTERNAL_H

#include "state/check.h"
#include "state/index.h"
#include "wire/codec/codec.h"

struct checker {
        struct tx *tx;
        state_check_report_fn *report;
        void *arg;
        int found; /* findings */
        int err;   /* the state cannot be read: the run ends */
};
/* A row, decoded. */
struct checked_row {
        const struct type_desc *type;
        struct blob key, value;
        void *obj;
};

void check_finding(struct checker *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* A readable form of a key, in the arena. */
const char *check_key_text(struct blob key, struct arena *a);
/* 0, E_NOT_FOUND; damage is reported and gives E_CORRUPT. The view's error never sticks. */
int check_get(struct checker *c, struct blob key, struct blob *ret_value) MUST_USE;
/* Reads and decodes the row under key; *ret_obj is in the arena. As check_get; what cannot be decoded is
 * E_CORRUPT. */
int check_load(struct checker *c, const struct type_desc *t, struct blob key, struct arena *a,
        void **ret_obj) MUST_USE;
/* Every row of a table that can be decoded, optionally those whose first n key fields equal key_obj's. false
 * from fn ends the walk. The arena is the row's. */
typedef bool check_visit_fn(void *arg, struct checked_row *row, struct arena *a);
void check_each(struct checker *c, const struct type_desc *t, const void *key_obj, unsigned n,
        check_visit_fn *fn, void *arg);
/* Fills the key fields of obj (zeroed, of type t) from a stored key, strings in the form that keys have. */
bool check_key_decode(const struct type_desc *t, struct blob key, struct arena *a, void *obj);

/* ---- check_refs.c ---- */
/* Everything that row names exists. */
void check_refs_of(struct checker *c, const struct checked_row *row, struct arena *a);
/* Nobody names the row of type t that was under key. */
void check_refs_to(struct checker *c, const struct type_desc *t, struct blob key);

/* ---- check_groups.c ---- */
/* What row, which exists, shares with others: minors, ports, node ids, ring, sums. key_only: it was deleted.
 */
void check_groups_of(struct checker *c, const struct type_desc *t, const void *obj, bool key_only);
/* The same over everything, each group once, and the counts of the ring. */
void check_groups_all(struct checker *c);

#endif
