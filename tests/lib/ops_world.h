/* A small cluster for tests of operations and views: wanted and observed state in memory, a clock, and steps
 * in text form that both the unit tests and the fuzz target's corpus use.
 *
 * Threads: one. Ownership: the answer of a step is valid until the next one. */
#ifndef TESTS_LIB_OPS_WORLD_H
#define TESTS_LIB_OPS_WORLD_H

#include "controller/op/reconcile.h"
#include "state/kv_mem.h"
#include "wire/base/buf.h"
#include "wire/def/types.h"

struct ops_world {
        struct kv_mem *wanted, *observed;
        uint64_t index; /* of the last write that took effect */
        uint64_t seed;
        const char *retried; /* node whose satellite the leader is trying once more, NULL = none */
        int64_t later_ms;    /* so much time has passed */
        int64_t jump_ms;     /* by how much the wall clock was put forward */
        struct reconcile_sweep sweep;
        struct reconcile_known known;
        const char *untried; /* node whose satellite the leader has still to try, NULL = none */
        struct arena arena;
        /* of the last step */
        unsigned status;
        struct reply reply; /* of writes */
        struct buf body;    /* JSON, of both */
};

void ops_world_open(struct ops_world *w);
void ops_world_close(struct ops_world *w);
/* One request as the member would carry it out: a write goes through op_evaluate and is kept when it was not
 * refused, a read through its view. path may have a query. Returns what op_evaluate returned, 0 for reads. */
int ops_world_call(struct ops_world *w, const char *method, const char *path, const char *body);
/* What satellites report:
 *   NODE     "n1"       "STORAGE,DRBD" or ""   is online and can do these layers ("STORAGE" when empty); "8.4" among them: so old is its DRBD
 *   OFFLINE  "n1"       ""                     is not
 *   HASHES   "n1"       "a,b"                  what its kernel offers for verification
 *   POOL     "n1/pool"  "free/total"           KiB
 *   DISK     "n1"       "device/GiB"           its only disk that nobody uses
 *   MADE     "n1"       "DONE" | "FAILED"      so ended the phase of the pools that it makes out of disks
 *   RSC      "rsc/n1"   "created" | "in_use"   is there
 *   CONFIRM  "n1"       ""                     has removed everything that it was to remove
 *   SHIP     "n1"       "done" | "failed" | "lost" | "on" the backups that it carries out
 *   OTHER    ""         "ready" | "ready: note" | "based on s1" | "refused" | "done" | "told" another cluster, to all shipments that go there
 *   SAGA     ""         "over" | "fails"       the phase of every long operation
 *   WORK     ""         ""                     whoever is online has carried out everything; new DRBD disks beside others' are Inconsistent
 *   SYNC     ""         ""                     every resync has ended
 *   DISK     "rsc/n1"   "Failed"               the state of its disks; "Lost": DRBD has given them up
 *   PEER     "rsc/n1"   "n2 StandAlone"        its only connection
 *   USE      "rsc/n1"   "yes" | "no"           somebody has its device open
 *   DISCARD  "rsc/n1"   "4096"                 granularity of discards of the devices below DRBD
 *   ORPHAN   "rsc/n1"   "uuid"                 two devices that the cluster does not know; "uuid used": one is in use
 *   FORGET   ""         ""                     a new leader, which has heard of no resource yet
 *   LATER    ""         "60"                   so many seconds have passed
 *   JUMP     ""         "60"                   somebody puts the wall clock forward by so many seconds (or back)
 * and the leader's reconciler looks, and what it proposes is carried out, until it proposes nothing new:
 *   TEND     ""         "" | "twice"           everything is proposed twice, as by a leader that died and its successor
 * false when method is none of these. */
bool ops_world_observe(struct ops_world *w, const char *method, const char *path, const char *body);
/* The parts of it (tests/lib/ops_sats.c). rsc, node NULL: all. */
void ops_sats_work(struct ops_world *w);
void ops_sats_disk(struct ops_world *w, const char *rsc, const char *node, const char *disk);
/* Of all peers the node's DRBD names this one, as Primary. */
void ops_sats_discard(struct ops_world *w, const char *rsc, const char *node, const char *bytes);
void ops_sats_orphan(struct ops_world *w, const char *rsc, const char *node, const char *uuid);
void ops_sats_writer(struct ops_world *w, const char *rsc, const char *node, const char *peer);
void ops_sats_use(struct ops_world *w, const char *rsc, const char *node, bool in_use);
void ops_sats_peer(struct ops_world *w, const char *rsc, const char *node, const char *peer);
void ops_sats_forget(struct ops_world *w);
/* One look of the leader's reconciler at everything, one definition after the other; what it proposes is carried out, or (twice) carried out and then asked for again. Returns how
 * many proposals there were. */
unsigned ops_world_tend(struct ops_world *w, bool twice);
int64_t ops_world_now_ms(const struct ops_world *w);
int64_t ops_world_mono_ms(const struct ops_world *w);
/* Findings of state_check, printed. */
int ops_world_check(struct ops_world *w);

#endif
