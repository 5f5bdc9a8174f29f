#include "wire/def/drbd_rules.h"

#include <stdio.h>
#include <string.h>

#include "wire/base/macros.h"

#define SUPERBLOCK_KIB 4
#define AL_STRIPE_KIB 32
#define AL_KIB_MAX (UINT64_C(1) << 20)
#define BM_BLOCK_MAX (1 << 20)
#define DRBD_HISTORY_IDS 32
/* Of a superblock's flags. */
#define MDF_CONSISTENT 0x01u
#define MDF_WAS_UP_TO_DATE 0x10u
#define MDF_AL_CLEAN 0x80u

static uint64_t align_up(uint64_t n, uint64_t to) { return (n + to - 1) / to * to; }

/* ---- metadata ---- */

struct layout {
        uint64_t peers, block_kib, al_kib;
};
static int layout_of(const struct drbd_md *md, struct layout *ret)
{
        uint64_t block = md->bm_block_bytes != 0 ? md->bm_block_bytes : DRBD_BM_BLOCK_DEFAULT;
        uint64_t stripes = md->al_stripes != 0 ? md->al_stripes : 1;
        uint64_t stripe = md->al_stripe_kib != 0 ? md->al_stripe_kib : AL_STRIPE_KIB;
        bool old = md->gen == DRBD_GEN_84;
        ret->peers = old ? 1 : md->peers != 0 ? md->peers : DRBD_PEER_SLOTS_DEFAULT;
        if (ret->peers > DRBD_PEERS_MAX) return E_INVALID;
        if (block < DRBD_BM_BLOCK_DEFAULT || block > BM_BLOCK_MAX || (block & (block - 1)) != 0)
                return E_INVALID;
        if (old && block != DRBD_BM_BLOCK_DEFAULT) return E_INVALID;
        if (stripes > AL_KIB_MAX || stripe > AL_KIB_MAX || stripe % 4 != 0 || stripes * stripe > AL_KIB_MAX)
                return E_INVALID;
        ret->block_kib = block / 1024;
        ret->al_kib = stripes * stripe;
        return 0;
}

/* The kernel counts a bit for each block that has begun, words of 64 bits for each peer, and whole pages for all. */
static uint64_t md_of(const struct layout *l, uint64_t data_kib)
{
        uint64_t bits = align_up((data_kib + l->block_kib - 1) / l->block_kib, 64);
        return align_up(bits / 8 * l->peers, 4096) / 1024 + l->al_kib + SUPERBLOCK_KIB;
}

int drbd_md_kib(const struct drbd_md *md, uint64_t data_kib, uint64_t *ret)
{
        struct layout l;
        int err = layout_of(md, &l);
        if (err != 0) return err;
        if (data_kib < DRBD_NET_KIB_MIN || data_kib > DRBD_KIB_MAX) return E_INVALID;
        *ret = md_of(&l, data_kib);
        return 0;
}

int drbd_md_external_kib(const struct drbd_md *md, uint64_t net_kib, uint64_t *ret)
{
        int err = drbd_md_kib(md, net_kib, ret);
        if (err == 0 && *ret < DRBD_EXTERNAL_KIB_MIN) *ret = DRBD_EXTERNAL_KIB_MIN;
        return err;
}

int drbd_external_usable_kib(const struct drbd_md *md, uint64_t meta_kib, uint64_t *ret)
{
        struct layout l;
        int err = layout_of(md, &l);
        if (err != 0) return err;
        if (meta_kib < l.al_kib + SUPERBLOCK_KIB + 4) return E_TOO_LARGE;
        uint64_t bytes = MIN(meta_kib - l.al_kib - SUPERBLOCK_KIB, DRBD_KIB_MAX) / 4 * 4096;
        *ret = MIN(bytes / l.peers / 8 * 64 * l.block_kib, DRBD_KIB_MAX);
        return *ret < DRBD_NET_KIB_MIN ? E_TOO_LARGE : 0;
}

int drbd_usable_kib(const struct drbd_md *md, uint64_t gross_kib, uint64_t *ret)
{
        struct layout l;
        int err = layout_of(md, &l);
        if (err != 0) return err;
        if (gross_kib < DRBD_GROSS_KIB_MIN || gross_kib > DRBD_KIB_MAX) return E_TOO_LARGE;
        uint64_t need = md_of(&l, gross_kib);
        uint64_t whole = gross_kib / 4 * 4; /* the superblock begins at a multiple of 4 */
        if (whole < need + DRBD_NET_KIB_MIN) return E_TOO_LARGE;
        *ret = whole - need;
        return 0;
}

int drbd_gross_kib(const struct drbd_md *md, uint64_t net_kib, uint64_t granule_kib, uint64_t *ret)
{
        struct layout l;
        int err = layout_of(md, &l);
        uint64_t granule = granule_kib != 0 ? granule_kib : 4, usable = 0;
        if (err != 0) return err;
        if (net_kib < DRBD_NET_KIB_MIN || granule > DRBD_KIB_MAX) return E_INVALID;
        if (net_kib > DRBD_KIB_MAX) return E_TOO_LARGE;
        uint64_t gross = align_up(net_kib + md_of(&l, net_kib), granule);
        if (gross < DRBD_GROSS_KIB_MIN) gross = align_up(DRBD_GROSS_KIB_MIN, granule);
        /* Metadata counts itself as data: a page more may be needed, seldom two. */
        for (err = E_TOO_LARGE; gross <= DRBD_KIB_MAX; gross += granule) {
                err = drbd_usable_kib(md, gross, &usable);
                if (err == 0 && usable >= net_kib) break;
                err = E_TOO_LARGE;
        }
        if (err == 0) *ret = gross;
        return err;
}

/* ---- generation ids ---- */

bool drbd_gi_valid(const char *gi)
{
        return gi != NULL && strlen(gi) == 16 && strspn(gi, "0123456789abcdefABCDEF") == 16 &&
               strspn(gi, "0") < 15; /* 0 is none, and ids below 16 mean something to DRBD */
}

int drbd_seed_pick(const struct drbd_seed_input *in, enum drbd_seed *ret, struct fail *f)
{
        *ret = DRBD_SEED_NONE;
        if (in->winner && !in->initialized) *ret = DRBD_SEED_WINNER;
        /* 8.4 sets all bits when it attaches new metadata for the first time: day0 would save nothing. */
        else if (in->zeroed && !in->force_sync && in->gen != DRBD_GEN_84) *ret = DRBD_SEED_DAY0;
        if (*ret == DRBD_SEED_NONE || drbd_gi_valid(in->day0)) return 0;
        *ret = DRBD_SEED_NONE;
        return fail_set(f, E_NOT_FOUND, "the volume definition's property DrbdCurrentGi is %s",
                in->day0 == NULL ? "missing" : "no generation id (16 hexadecimal digits)");
}

bool drbd_seed_gi(enum drbd_seed seed, const char *day0, const char *fresh, char out[DRBD_GI_SIZE])
{
        static const char flags[] = "1:1:0:0:0:0"; /* consistent, was up to date */
        if (seed == DRBD_SEED_NONE) return false;
        if (seed == DRBD_SEED_DAY0) snprintf(out, DRBD_GI_SIZE, "%s:0:0:0:%s", day0, flags);
        else snprintf(out, DRBD_GI_SIZE, "%s:%s:0:0:%s", fresh, day0, flags);
        return true;
}

/* Each slot of the winner begins at day0, also those of nodes that come later. */
void drbd_seed_dump(enum drbd_seed seed, unsigned slots, const char *day0, const char *fresh, struct buf *out)
{
        bool winner = seed == DRBD_SEED_WINNER;
        if (seed == DRBD_SEED_NONE) return;
        buf_printf(out, "version \"v09\";\nmax-peers %u;\nnode-id -1;\ncurrent-uuid 0x%s;\nflags 0x%08X;\n",
                slots, winner ? fresh : day0, MDF_CONSISTENT | MDF_WAS_UP_TO_DATE | MDF_AL_CLEAN);
        for (unsigned i = 0; i < DRBD_NODE_IDS; i++)
                buf_printf(out,
                        "peer[%u] { bitmap-index -1; bitmap-uuid 0x%s; bitmap-dagtag 0x%016X; flags 0x%08X; "
                        "}\n",
                        i, winner ? day0 : "0000000000000000", 0, 0);
        buf_put_str(out, "history-uuids {");
        for (unsigned i = 0; i < DRBD_HISTORY_IDS; i++) buf_printf(out, " 0x%016X;", 0);
        buf_printf(out,
                " }\nla-size-sect 0;\nbm-byte-per-bit %u;\ndevice-uuid 0x%016X;\nla-peer-max-bio-size 0;\n"
                "al-stripes 1;\nal-stripe-size-4k %u;\n",
                DRBD_BM_BLOCK_DEFAULT, 0, AL_STRIPE_KIB / 4);
        for (unsigned i = 0; i < slots; i++) buf_printf(out, "bitmap[%u] {\n}\n", i);
}

/* ---- who is in it ---- */

const char *drbd_auto_quorum(const struct drbd_members *m)
{
        unsigned voting_diskless = m->diskless - m->clients + m->tie_breakers;
        if (m->no_quorum || m->old) return "off";
        return m->diskful >= 3 || (m->diskful == 2 && voting_diskless > 0) ? "majority" : "off";
}

/* Is one called for, as the members are without any? */
static bool wants_tie_breaker(const struct drbd_tb_input *in)
{
        bool ours = in->quorum == NULL || strcmp(in->quorum, "majority") == 0;
        if (!in->enabled || !ours || in->m.no_quorum || in->m.old) return false;
        return in->m.diskful >= 2 && in->m.diskful % 2 == 0 && in->m.diskless == in->m.clients;
}

enum drbd_tb drbd_tie_breaker(const struct drbd_tb_input *in)
{
        unsigned want = wants_tie_breaker(in) ? 1 : 0;
        if (in->m.tie_breakers > want) return in->hold ? DRBD_TB_KEEP : DRBD_TB_REMOVE;
        if (in->m.tie_breakers == want) return DRBD_TB_KEEP;
        return in->leaving ? DRBD_TB_TAKE : DRBD_TB_ADD;
}

int drbd_members_check(const struct drbd_members *m, struct fail *f)
{
        unsigned all = m->diskful + m->diskless + m->tie_breakers;
        if (!m->old || (all <= DRBD_84_DISKFUL_MAX && m->diskful == all)) return 0;
        if (m->diskful != all)
                return fail_set(f, E_LIMIT,
                        "DRBD 8.4 has no diskless members (install DRBD 9 on the resource's nodes)");
        return fail_set(f, E_LIMIT,
                "DRBD 8.4 joins two nodes at most, and %u are asked for (install DRBD 9 on the resource's "
                "nodes)",
                all);
}

/* ---- node ids ---- */

int drbd_node_id_free(uint32_t taken)
{
        for (int id = 0; id < DRBD_NODE_IDS; id++)
                if ((taken >> id & 1) == 0) return id;
        return -1;
}

bool drbd_slots_fit(unsigned members, unsigned slots) { return members <= slots; }
bool drbd_are_joined(bool diskless_a, bool diskless_b) { return !(diskless_a && diskless_b); }

/* From 9.1.18 on in the line of 9.1, from 9.2.7 on in that of 9.2 and those after it. */
bool drbd_joins_sizes(uint32_t kernel)
{
        return kernel >= 0x090207 || (kernel >= 0x090112 && kernel < 0x090200);
}
