/* The pools that the cluster wants on this node, and what was seen of them.
 *
 * Threads: loop thread. Ownership: the set owns its pools; each has an arena of its own. */
#ifndef SATELLITE_POOL_H
#define SATELLITE_POOL_H

#include "satellite/observe.h"
#include "wire/base/buf.h"
#include "wire/base/list.h"

struct pool {
        struct list link;
        struct arena arena;
        struct sat_pool want; /* copied */
        const char *place;    /* NULL: place_trouble says why */
        struct trouble place_trouble;
        /* The last scan. */
        bool scanned, usable;
        struct trouble scan_trouble;
        struct pool_info info;
        uint64_t low_kib; /* least that was free since those that lack room were tried again last */
        bool scanning, scan_again, late, gone; /* gone: forgotten while a scan runs */
        uint64_t scan_due_ms, scan_began_ms;
        uint64_t list_due_ms; /* a scan from then on looks at the devices, too */
        /* Reporting. */
        struct buf row;
        uint64_t row_gen;
};

struct pool_set {
        struct list pools;
        uint32_t n;
};
void pool_set_init(struct pool_set *s);
void pool_set_done(struct pool_set *s);
/* Takes over the whole list. *ret_removed: a pool of before is no longer there; *ret_changed: a place is new
 * or another. E_TOO_LARGE or 0. */
int pool_set_take(struct pool_set *s, const struct sat_pool *pools, uint32_t n, bool *ret_removed,
        bool *ret_changed) MUST_USE;
/* For planning; in the arena. */
int pool_set_plan(
        const struct pool_set *s, struct arena *a, struct plan_pool **ret, uint32_t *ret_n) MUST_USE;
void pool_free(struct pool *p);

#endif
