/* The property catalogue (wire/def/props.def): which properties may be set where, and to what.
 *
 * Threads: pure functions over constants. Ownership: results live in the caller's arena or are static. */
#ifndef CONTROLLER_BASE_PROPS_H
#define CONTROLLER_BASE_PROPS_H

#include "wire/base/buf.h"
#include "wire/base/err.h"
#include "wire/codec/codec.h"

enum prop_scope {
        PS_C = 1 << 0,   /* controller */
        PS_N = 1 << 1,   /* node */
        PS_SP = 1 << 2,  /* storage pool */
        PS_SPD = 1 << 3, /* storage pool definition */
        PS_RD = 1 << 4,  /* resource definition, resource group */
        PS_R = 1 << 5,   /* resource */
        PS_VD = 1 << 6,  /* volume definition, volume group */
        PS_V = 1 << 7,   /* volume */
        PS_PX = 1 << 8,  /* DRBD proxy */
        PS_RC = 1 << 9,  /* resource connection */
        PS_NC = 1 << 10, /* node connection */
        PS_KVS = 1 << 11 /* key-value store: everything goes */
};
#define PROP_KEY_MAX 256
#define PROP_VALUE_MAX (64 << 10)

/* Brings a key into its stored form: no leading, trailing or doubled slash. NULL when it is empty or too
 * long. */
const char *prop_key(const char *key, struct arena *a);
/* May key have this value there? *ret_value is the stored form. E_NOT_FOUND: no such property there;
 * E_INVALID: not such a value; f says why. */
int prop_check(enum prop_scope scope, const char *key, const char *value, struct arena *a,
        const char **ret_value, struct fail *f) MUST_USE;
/* Must satellites hear of a change of this property? */
bool prop_matters(const char *key);
/* The documented default, or NULL. */
const char *prop_default(const char *key);
/* {"key": PropsInfo, …} of one scope. */
void props_info(enum prop_scope scope, struct buf *out);
/* Sizes such as "10%", "5GiB", "4096" (KiB) of MinThinFreeSpace: KiB, a percentage taken of total_kib. */
uint64_t prop_size_kib(const char *value, uint64_t total_kib);
/* "true", "yes", "1" in any case. NULL is fallback. */
bool prop_bool(const char *value, bool fallback);
/* The property that says whether this one is set by itself; NULL: it never is. */
const char *prop_auto_of(const char *key);
/* "a-b"; false when it is not a range within 0..max. */
bool prop_range(const char *value, uint64_t max, uint64_t *ret_lo, uint64_t *ret_hi);

#endif
