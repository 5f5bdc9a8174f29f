/* What `drbdsetup events2` prints, line by line, into what is known of DRBD on this node.
 *
 * drbdsetup of DRBD 9 is run with --full (each line has all fields); the one of 8.4 knows no --full, its lines have what changed, no
 * quorum, no scores, and call the peer "peer" with node id 0. Both are taken. Keys, objects and states that are not known are no
 * errors: newer versions may bring them. A line that is none at all is one, and changes nothing.
 *
 * "- skipped N" says that events were lost on their way from the kernel: what is known may be old. Who reads asks anew.
 *
 * A new process begins with what exists, ended by "exists -". drbd_events_restart() before it: what is not among that is dropped
 * then, and until then the old state stands.
 *
 * Threads: pure, of one thread. Ownership: the state owns its objects; names and words are inside of them. */
#ifndef SATELLITE_DRBD_DRBD_EVENTS_H
#define SATELLITE_DRBD_DRBD_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/base/err.h"
#include "wire/base/mem.h"
#include "wire/def/drbd_rules.h"

#define DRBD_WORD 24  /* of a state, with its NUL */
#define DRBD_NAME 256 /* of a resource, a host or a device */
#define DRBD_LINE_MAX 4096
#define DRBD_RESOURCES_MAX 65536
#define DRBD_VOLUMES_MAX 1024 /* of one resource */
#define DRBD_NO_DONE (-1)

/* "" in any word: not said. */
struct drbd_peer_device {
        uint32_t volume;
        bool seen, client;
        char replication[DRBD_WORD], disk[DRBD_WORD], resync_suspended[DRBD_WORD];
        int done; /* hundredths of a percent of a resync or verify that runs; else DRBD_NO_DONE */
        uint64_t out_of_sync_kib;
};
struct drbd_peer {
        uint32_t node_id;
        bool seen;
        bool split_brain; /* DRBD has said so, and they have not been connected since */
        bool gave_up;     /* the connection ends or has ended, by DRBD itself as it seems (drbd_alone.h) */
        uint32_t paths, paths_up;
        char name[DRBD_NAME], connection[DRBD_WORD], role[DRBD_WORD];
        struct drbd_peer_device *devices;
        uint32_t devices_n;
};
struct drbd_device {
        uint32_t volume, minor;
        bool seen, client;
        bool lost; /* the disk has failed, and nobody has tried to attach it since */
        char disk[DRBD_WORD], quorum[DRBD_WORD]; /* quorum: yes, no */
        uint64_t size_kib;
};
struct drbd_resource {
        char name[DRBD_NAME];
        bool seen;
        bool may_promote, has_score; /* of DRBD 9 only */
        bool split_brain;            /* of any peer, also of one whose connection 8.4 has forgotten since */
        int64_t promotion_score;
        char role[DRBD_WORD], suspended[DRBD_WORD]; /* suspended: no, or why */
        struct drbd_device *devices;
        uint32_t devices_n;
        struct drbd_peer *peers;
        uint32_t peers_n;
};
struct drbd_events {
        struct drbd_resource **resources; /* by name */
        uint32_t resources_n;
        bool complete; /* "exists -" has come: what is not here is not there */
        bool missed;   /* events were lost since drbd_events_restart() */
};

/* Zero-initialised is valid and empty. */
void drbd_events_done(struct drbd_events *e);
void drbd_events_restart(struct drbd_events *e);
/* One line, without its newline. *ret_name (or NULL): the resource that it was about, valid until the next call; NULL for none
 * or several. E_PROTOCOL: the line is none, f quotes it; E_LIMIT: more objects than any node can have. Nothing has changed then. */
int drbd_events_line(
        struct drbd_events *e, const char *line, size_t n, const char **ret_name, struct fail *f) MUST_USE;

const struct drbd_resource *drbd_events_find(const struct drbd_events *e, const char *name);
const struct drbd_device *drbd_device_find(const struct drbd_resource *r, uint32_t volume);
const struct drbd_peer_device *drbd_peer_device_find(const struct drbd_peer *p, uint32_t volume);

/* ---- what it means ---- */
/* Bits of enum drbd_trouble. */
unsigned drbd_troubles(const struct drbd_resource *r);
bool drbd_is_syncing(const struct drbd_peer_device *d);
bool drbd_has_disk(const struct drbd_device *d);
/* How many peers are connected. */
uint32_t drbd_connected(const struct drbd_resource *r);
/* Here; here or at a peer that is seen. */
bool drbd_is_primary(const struct drbd_resource *r);
bool drbd_any_primary(const struct drbd_resource *r);
/* Has somebody asked DRBD to suspend its I/O (suspend-io), beside what it suspends by itself? */
bool drbd_is_held(const struct drbd_resource *r);
/* As LINSTOR shows it: all volumes have usable data, here or at a peer that is connected. */
bool drbd_is_ready(const struct drbd_resource *r);

#endif
