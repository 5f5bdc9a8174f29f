/* Stacks of layers: how large each device is. The user asks for a net size: what the top device has. Each layer takes something of the device
 * below for its own metadata, so devices get larger downwards. Controllers (is there room?) and satellites (how large is it made?)
 * use the same rules, so that both come to the same size.
 *
 * All sizes in KiB. Pure. Threads: any. */
#ifndef WIRE_DEF_LAYER_SIZE_H
#define WIRE_DEF_LAYER_SIZE_H

#include "wire/def/types.h"

/* A LUKS2 header as libcryptsetup makes it: two copies of the metadata and the area of the keyslots. */
#define LUKS_HEADER_KIB 16384u

/* What lies before the data of a bcache: its superblock, and as much as keeps everything behind it aligned. */
#define BCACHE_OFFSET_KIB 1024u

/* A thick volume of LVM is cloned from a classic snapshot, whose store has room for all of the volume and for what the kernel writes
 * beside that: it can never be full. In chunks of that size. */
#define COW_CHUNK_KIB 64u
uint64_t cow_store_kib(uint64_t volume_kib);

/* For slots: DRBD's metadata is on a device of its own (wire/def/layer_extra.h). */
#define SLOTS_ELSEWHERE UINT32_MAX
/* slots: peers that DRBD's metadata is made for; 0 = DRBD_PEER_SLOTS_DEFAULT. Its metadata is counted as DRBD 9's; that of 8.4 is smaller.
 * Size of the device below that gives `net_kib` in the device of the layer; UINT64_MAX when that cannot be told in 64 bits.
 * A layer without metadata on the device below gives net_kib. */
uint64_t layer_below_kib(enum layer_type type, uint64_t net_kib, unsigned slots);
/* The other way round: what is left of a device of below_kib. 0: nothing. */
uint64_t layer_net_kib(enum layer_type type, uint64_t below_kib, unsigned slots);
/* Through a whole stack, top first, with or without STORAGE at its end: the size of the storage's device. Names that are no layer
 * take nothing. */
uint64_t stack_storage_kib(const char *const *stack, uint32_t n, uint64_t net_kib, unsigned slots);
uint64_t stack_net_kib(const char *const *stack, uint32_t n, uint64_t storage_kib, unsigned slots);
/* Has the stack the layer? */
bool stack_has(const char *const *stack, uint32_t n, enum layer_type type);
/* Have volumes of the two stacks the same data in the same place of their storage? DRBD's metadata lies behind the data and does not count;
 * what any other layer adds or leaves out does. */
bool stacks_share(const char *const *a, uint32_t a_n, const char *const *b, uint32_t b_n);

#endif
