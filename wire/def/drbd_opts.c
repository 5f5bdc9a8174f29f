#include "wire/def/drbd_opts.h"

#include <string.h>
#include <strings.h>

static const char *const prefixes[DRBD_NS_N] = {
        [DRBD_NS_HANDLERS] = "DrbdOptions/Handlers/",
        [DRBD_NS_OPTIONS] = "DrbdOptions/Resource/",
        [DRBD_NS_NET] = "DrbdOptions/Net/",
        [DRBD_NS_DISK] = "DrbdOptions/Disk/",
        [DRBD_NS_PEER_DEVICE] = "DrbdOptions/PeerDevice/",
};
const char *drbd_ns_prefix(enum drbd_ns ns) { return prefixes[ns]; }

#define DRBD_OPT(ns, name, since, ns84) { DRBD_NS_##ns, name, since, DRBD_NS_##ns84 },
static const struct drbd_opt opts[] = {
#include "wire/def/drbd_options.def"
};
#undef DRBD_OPT

const struct drbd_opt *drbd_opts(size_t *ret_n)
{
        *ret_n = ARRAY_LEN(opts);
        return opts;
}

static enum drbd_ns ns_of(const char *key)
{
        for (unsigned ns = 0; ns < DRBD_NS_N; ns++)
                if (strncmp(key, prefixes[ns], strlen(prefixes[ns])) == 0) return (enum drbd_ns)ns;
        return DRBD_NS_NONE;
}

const struct drbd_opt *drbd_opt_find(const char *key)
{
        enum drbd_ns ns = ns_of(key);
        if (ns == DRBD_NS_NONE) return NULL;
        const char *name = key + strlen(prefixes[ns]);
        for (size_t i = 0; i < ARRAY_LEN(opts); i++)
                if (opts[i].ns == ns && strcmp(opts[i].name, name) == 0) return &opts[i];
        return NULL;
}

enum drbd_ns drbd_opt_section(const struct drbd_opt *o, enum drbd_gen gen, uint32_t utils)
{
        if (gen == DRBD_GEN_84) return o->ns_84;
        return utils >= o->since ? o->ns : DRBD_NS_NONE;
}

/* ---- levels ---- */

#define NS(ns) (1U << DRBD_NS_##ns)
static const struct {
        unsigned namespaces;
        enum drbd_level order[DRBD_LEVEL_N_]; /* weakest first */
        unsigned n;
} places[DRBD_PLACE_N] = {
        [DRBD_AT_OPTIONS] = { NS(OPTIONS) | NS(HANDLERS),
                { DRBD_LEVEL_C, DRBD_LEVEL_N, DRBD_LEVEL_RG, DRBD_LEVEL_RD, DRBD_LEVEL_R }, 5 },
        [DRBD_AT_RESOURCE] = { NS(NET) | NS(DISK) | NS(PEER_DEVICE),
                { DRBD_LEVEL_C, DRBD_LEVEL_RG, DRBD_LEVEL_RD }, 3 },
        [DRBD_AT_VOLUME] = { NS(DISK),
                { DRBD_LEVEL_C, DRBD_LEVEL_N, DRBD_LEVEL_RG, DRBD_LEVEL_RD, DRBD_LEVEL_VG, DRBD_LEVEL_VD,
                        DRBD_LEVEL_R, DRBD_LEVEL_V },
                8 },
        [DRBD_AT_CONNECTION] = { NS(NET) | NS(PEER_DEVICE),
                { DRBD_LEVEL_C, DRBD_LEVEL_RG, DRBD_LEVEL_NC, DRBD_LEVEL_RD, DRBD_LEVEL_RC }, 5 },
};

static bool belongs(enum drbd_place place, const char *key)
{
        enum drbd_ns ns = ns_of(key);
        return ns != DRBD_NS_NONE && (places[place].namespaces >> ns & 1) != 0;
}

void drbd_options_merge(enum drbd_place place, const struct strmap *const levels[DRBD_LEVEL_N_],
        struct arena *a, struct strmap *ret)
{
        *ret = (struct strmap){ 0 };
        for (unsigned i = 0; i < places[place].n; i++) {
                const struct strmap *m = levels[places[place].order[i]];
                for (uint32_t k = 0; m != NULL && k < m->n; k++)
                        if (belongs(place, m->kv[2 * k])) strmap_set(ret, m->kv[2 * k], m->kv[2 * k + 1], a);
        }
        const struct strmap *rd = levels[DRBD_LEVEL_RD];
        const char *alg = rd != NULL ? strmap_get(rd, "DrbdOptions/auto-verify-alg") : NULL;
        if (place == DRBD_AT_RESOURCE && alg != NULL && alg[0] != '\0' &&
                strmap_get(ret, "DrbdOptions/Net/verify-alg") == NULL)
                strmap_set(ret, "DrbdOptions/Net/verify-alg", alg, a);
}
