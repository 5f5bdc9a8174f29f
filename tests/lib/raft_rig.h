/* A scripted cluster for directed tests of the driver: the test moves the clock, chooses whose timer fires,
 * which links pass frames, and when disks finish. Nothing is random.
 *
 * Ownership: rig_new to rig_free. Threads: one. */
#ifndef TESTS_LIB_RAFT_RIG_H
#define TESTS_LIB_RAFT_RIG_H

#include "raftctl/driver_int.h"
#include "raftctl/store_mem.h"

#define RIG_MAX 6
struct rig_frame {
        struct list node;
        unsigned from, to;
        enum raft_channel channel;
        size_t n;
        uint8_t data[];
};
struct rig_node {
        struct env env;
        struct rig *rig;
        unsigned no; /* and id */
        struct store_mem *store;
        struct driver *driver;
        bool disk_held; /* jobs stay queued until rig_disk */
        bool not_yet;   /* requests that begin with '~' are put off */
        int fatal;
        char address[8];
};
struct rig {
        uint64_t now;
        struct rig_node nodes[RIG_MAX + 1]; /* 1 .. */
        bool allow[RIG_MAX + 1][RIG_MAX + 1];
        struct list frames;
        unsigned sent[raft_frame_N];
        size_t largest[raft_frame_N];        /* frame of that kind since the test cleared it */
        unsigned drop_kinds[RIG_MAX + 1];    /* bits: kinds that do not reach that node */
        unsigned snapshot_entries, trailing; /* of nodes that are booted next */
};
struct rig *rig_new(void);
void rig_free(struct rig *r);
/* Makes node no over a store with this configuration as entry 1 ("v--" style by id: v voter, s standby, p
 * spare; NULL = empty) */
void rig_boot(struct rig *r, unsigned no, const char *roles);
/* The process dies and starts again, with what its disk has. */
void rig_restart(struct rig *r, unsigned no);
/* Groups of nodes that hear each other: "12|345". */
void rig_links(struct rig *r, const char *groups);
/* Frames and disks until nothing moves. */
void rig_pump(struct rig *r);
/* Moves the clock, then lets the timer of one node fire, then pumps. */
void rig_tick(struct rig *r, unsigned no, unsigned ms);
/* The oldest piece of work of a held disk. */
void rig_disk(struct rig *r, unsigned no);
/* A frame as if it came from another member. */
void rig_inject(
        struct rig *r, unsigned to, unsigned from, enum raft_frame kind, const void *msg, uint64_t seq);
struct driver_status rig_status(struct rig *r, unsigned no);

#endif
