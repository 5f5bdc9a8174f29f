/* Options of DRBD: which there are, where they go in a resource file, and who wins when several levels set one.
 *
 *   resource options, handlers:  controller < node < resource group < resource definition < resource
 *   net, disk of the resource:   controller < group < definition
 *   disk of a volume:            controller < node < group < definition < volume group < volume definition < resource < volume
 *   a connection:                controller < group < node connection < definition < resource connection
 *
 * Threads: pure functions over constants. Ownership: results live in the caller's arena and share strings with the input. */
#ifndef WIRE_DEF_DRBD_OPTS_H
#define WIRE_DEF_DRBD_OPTS_H

#include "wire/codec/codec.h"
#include "wire/def/drbd_rules.h"

enum drbd_ns {
        DRBD_NS_HANDLERS,
        DRBD_NS_OPTIONS, /* DrbdOptions/Resource/ */
        DRBD_NS_NET,
        DRBD_NS_DISK,
        DRBD_NS_PEER_DEVICE,
        DRBD_NS_N,
        DRBD_NS_NONE = DRBD_NS_N
};
/* "DrbdOptions/Net/" and so on. */
const char *drbd_ns_prefix(enum drbd_ns ns);

#define DRBD_NEVER UINT32_MAX /* as `since` */
struct drbd_opt {
        enum drbd_ns ns;
        const char *name;
        uint32_t since;     /* version of drbd-utils, as 0x092200 for 9.34.0 */
        enum drbd_ns ns_84; /* DRBD_NS_NONE: 8.4 does not have it */
};
/* All of them, in the order of their declaration. */
const struct drbd_opt *drbd_opts(size_t *ret_n);
/* By the property's whole key. NULL: no such option. */
const struct drbd_opt *drbd_opt_find(const char *key);
/* Its section with this generation and this version of drbd-utils; DRBD_NS_NONE: it cannot be set there. */
enum drbd_ns drbd_opt_section(const struct drbd_opt *o, enum drbd_gen gen, uint32_t utils);

enum drbd_level {
        DRBD_LEVEL_C,
        DRBD_LEVEL_N,
        DRBD_LEVEL_RG,
        DRBD_LEVEL_RD,
        DRBD_LEVEL_R,
        DRBD_LEVEL_VG,
        DRBD_LEVEL_VD,
        DRBD_LEVEL_V,
        DRBD_LEVEL_NC,
        DRBD_LEVEL_RC,
        DRBD_LEVEL_N_
};
enum drbd_place {
        DRBD_AT_OPTIONS,    /* options and handlers of the resource */
        DRBD_AT_RESOURCE,   /* its net and disk sections, peer-device options among the latter */
        DRBD_AT_VOLUME,     /* the disk section of a volume */
        DRBD_AT_CONNECTION, /* net and disk sections of a connection */
        DRBD_PLACE_N
};
/* What holds at that place, as properties with their whole keys; other properties are left out. levels: NULL where there is none.
 * AT_RESOURCE also has verify-alg as auto-verify-alg of the definition says, when nobody set one. */
void drbd_options_merge(enum drbd_place place, const struct strmap *const levels[DRBD_LEVEL_N_],
        struct arena *a, struct strmap *ret);

#endif
