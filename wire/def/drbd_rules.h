/* What is special about DRBD, in one place: metadata sizes, first generation ids, quorum and tie breakers, node ids and peer slots,
 * and what DRBD 8.4 (the module of Debian's kernels) cannot do. Options have a module of their own: wire/def/drbd_opts.h.
 *
 * Threads, ownership: pure functions of plain values. Sizes are KiB unless the name says otherwise. */
#ifndef WIRE_DEF_DRBD_RULES_H
#define WIRE_DEF_DRBD_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "wire/base/buf.h"
#include "wire/base/err.h"

enum drbd_gen { DRBD_GEN_9, DRBD_GEN_84 };

/* What may be wrong with a resource on a node: bits. */
enum drbd_trouble {
        DRBD_FINE = 0,
        DRBD_SPLIT_BRAIN = 1 << 0,
        DRBD_QUORUM_LOST = 1 << 1,
        DRBD_SUSPENDED = 1 << 2,   /* I/O waits */
        DRBD_OUT_OF_SYNC = 1 << 3, /* connected, no resync under way, and blocks differ */
        DRBD_STANDALONE = 1 << 4,  /* a connection that does not try any more */
        DRBD_NOT_CONNECTED = 1 << 5,
        DRBD_DISK_FAILED = 1 << 6, /* a disk that was not taken away on purpose */
        DRBD_SYNC_PAUSED = 1 << 7,
};

#define DRBD_NODE_IDS 32
#define DRBD_PEERS_MAX 31
#define DRBD_PEER_SLOTS_DEFAULT 7
#define DRBD_BM_BLOCK_DEFAULT 4096 /* bytes of data that one bit of the bitmap stands for */
#define DRBD_GROSS_KIB_MIN 68
#define DRBD_NET_KIB_MIN 4
#define DRBD_KIB_MAX (UINT64_C(1) << 40)
#define DRBD_EXTERNAL_KIB_MIN 1024
#define DRBD_84_DISKFUL_MAX 2

/* ---- metadata: superblock (4), activity log, bitmaps (all peers' together a multiple of 4) ---- */
struct drbd_md {
        enum drbd_gen gen;
        unsigned peers;                     /* slots: 1..31; 0 = the default of 7. 8.4 always has one */
        uint64_t bm_block_bytes;            /* a power of two, 4 KiB to 1 MiB; 0 = 4 KiB. 8.4: 4 KiB only */
        uint64_t al_stripes, al_stripe_kib; /* 0 = 1 stripe of 32 */
};
/* Size of the metadata for a device of data_kib: what lies at the end of a device of that size altogether (internal), or beside it
 * (external, at least DRBD_EXTERNAL_KIB_MIN). E_INVALID: sizes or slots out of bounds. */
int drbd_md_kib(const struct drbd_md *md, uint64_t data_kib, uint64_t *ret) MUST_USE;
int drbd_md_external_kib(const struct drbd_md *md, uint64_t net_kib, uint64_t *ret) MUST_USE;
/* For how much data metadata of meta_kib beside it is enough: at least what drbd_md_external_kib() was asked for. E_TOO_LARGE: none. */
int drbd_external_usable_kib(const struct drbd_md *md, uint64_t meta_kib, uint64_t *ret) MUST_USE;
/* What a device of gross_kib with internal metadata offers. E_TOO_LARGE: the metadata does not fit into it, or it is beyond DRBD. */
int drbd_usable_kib(const struct drbd_md *md, uint64_t gross_kib, uint64_t *ret) MUST_USE;
/* The smallest multiple of granule_kib (0 = 4) that offers at least net_kib. */
int drbd_gross_kib(const struct drbd_md *md, uint64_t net_kib, uint64_t granule_kib, uint64_t *ret) MUST_USE;

/* ---- the first generation ids, right after create-md (LINSTOR's day0) ---- */
enum drbd_seed {
        DRBD_SEED_NONE,   /* left as create-md made it: a full sync from the first up-to-date peer */
        DRBD_SEED_WINNER, /* its data is what counts: own id new, the others' bitmaps begin at day0 */
        DRBD_SEED_DAY0,   /* its zeros are what everyone began with: only what was written since is sent */
};
struct drbd_seed_input {
        enum drbd_gen gen;
        bool winner;      /* the node that the volume definition names */
        bool initialized; /* some node has been the winner before */
        bool zeroed;      /* every replica's backing begins as zeros: all thin, or all ZFS */
        bool force_sync;  /* DrbdOptions/ForceInitialSync */
        const char *day0; /* DrbdCurrentGi: 16 hexadecimal digits; NULL = none */
};
/* E_NOT_FOUND: day0 is needed and is not there (or is not such an id); f says so. */
int drbd_seed_pick(const struct drbd_seed_input *in, enum drbd_seed *ret, struct fail *f) MUST_USE;
/* For 8.4, which has one slot: the argument of drbdmeta set-gi, or false: the ids are left alone. fresh: 16 random digits, the
 * winner's. */
#define DRBD_GI_SIZE 80
bool drbd_seed_gi(enum drbd_seed seed, const char *day0, const char *fresh, char out[DRBD_GI_SIZE]);
/* For DRBD 9, whose 32 slots would need as many calls: a dump with these ids and an empty bitmap for drbdmeta restore-md, which
 * writes them at once and leaves the bitmaps as create-md made them. Nothing for DRBD_SEED_NONE. slots: those of create-md. */
void drbd_seed_dump(
        enum drbd_seed seed, unsigned slots, const char *day0, const char *fresh, struct buf *out);
bool drbd_gi_valid(const char *gi);

/* ---- who is in it ---- */
struct drbd_members {
        unsigned diskful;      /* that are not on their way out */
        unsigned diskless;     /* that somebody asked for, clients among them, tie breakers not */
        unsigned clients;      /* of these: never count for quorum */
        unsigned tie_breakers; /* that we made */
        bool no_quorum;        /* some node's DRBD knows no quorum (8.4, or 9 before 9.0.18) */
        bool old;              /* some node's DRBD is 8.4 */
};
/* The value of DrbdOptions/Resource/quorum that goes with it, where no user has set one: "majority" or "off". */
const char *drbd_auto_quorum(const struct drbd_members *m);

enum drbd_tb {
        DRBD_TB_KEEP,   /* as it is */
        DRBD_TB_ADD,    /* place a diskless one on another node */
        DRBD_TB_TAKE,   /* the resource that is just being deleted stays as one */
        DRBD_TB_REMOVE, /* (one) is not needed any more */
};
struct drbd_tb_input {
        struct drbd_members m;
        bool enabled;       /* DrbdOptions/auto-add-quorum-tiebreaker */
        const char *quorum; /* what a user set for DrbdOptions/Resource/quorum; NULL = nobody did */
        bool leaving;       /* a resource of it is being deleted on a node that can stay */
        bool hold;          /* the tie breaker's node is away: it is not removed now */
};
enum drbd_tb drbd_tie_breaker(const struct drbd_tb_input *in);

/* Can that be run? E_LIMIT with the reason and remedy in f: 8.4 has two diskful peers at most, and no third node. */
int drbd_members_check(const struct drbd_members *m, struct fail *f) MUST_USE;

/* ---- node ids and peer slots ---- */
/* The lowest id that is not in the bit set; -1 when all 32 are taken. */
int drbd_node_id_free(uint32_t taken);
/* May another member come in? Slots were fixed when the metadata was made: each member needs one for each other member
 * with whom it may exchange data. members counts without the new one. */
bool drbd_slots_fit(unsigned members, unsigned slots);
/* Can this version of DRBD (0x09020c is 9.2.12) join backing devices whose sizes differ a little, as those of different providers do? */
bool drbd_joins_sizes(uint32_t kernel);
/* Are two members joined at all? Two without disk are not. */
bool drbd_are_joined(bool diskless_a, bool diskless_b);

#endif
